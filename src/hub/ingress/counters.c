#include "hub/ingress/counters.h"

#include <sys/mman.h>

struct metrics_source *counters_make(struct ingress *ingress, uint64_t chunk)
{
    struct metrics_source *counters =
        mmap(NULL, COUNTER_CHUNK * sizeof *counters, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (counters == MAP_FAILED) {
        return NULL;
    }
    __atomic_store_n(&ingress->counters[chunk], counters, __ATOMIC_RELEASE);
    return counters;
}

const struct metrics_source *counters_read(const struct ingress *ingress, uint64_t number)
{
    uint64_t chunk = number / COUNTER_CHUNK;
    if (chunk >= COUNTER_CHUNKS) {
        return NULL;
    }
    const struct metrics_source *counters =
        __atomic_load_n(&ingress->counters[chunk], __ATOMIC_ACQUIRE);
    return counters ? &counters[number % COUNTER_CHUNK] : NULL;
}

void counters_free(struct ingress *ingress)
{
    for (unsigned i = 0; i < COUNTER_CHUNKS; i++) {
        if (ingress->counters[i]) {
            munmap(ingress->counters[i], COUNTER_CHUNK * sizeof(struct metrics_source));
        }
    }
}
