/* counters.h - what a core counts of each source; for the files of ingress/, and for who sums them.
 *
 * Purpose     One struct metrics_source by a source's number (hub/metrics.h). They come a thousand
 *             at once, at the first request for any of these, and stay.
 * Threads     Written on the core; read from any.
 * Failure     Without memory, and for a number beyond COUNTER_CHUNKS, the counters of "no source".
 */
#ifndef BECKET_HUB_COUNTERS_H
#define BECKET_HUB_COUNTERS_H

#include "hub/ingress/ingress.h"

/* Core: makes the thousand that has no counters yet. */
struct metrics_source *counters_make(struct ingress *ingress, uint64_t chunk);
static inline struct metrics_source *counters_of(struct ingress *ingress, uint64_t number)
{
    uint64_t chunk = number / COUNTER_CHUNK;
    if (number == 0 || chunk >= COUNTER_CHUNKS) {
        return &ingress->metrics->none;
    }
    struct metrics_source *counters = __atomic_load_n(&ingress->counters[chunk], __ATOMIC_ACQUIRE);
    counters = counters ? counters : counters_make(ingress, chunk);
    return counters ? &counters[number % COUNTER_CHUNK] : &ingress->metrics->none;
}
/* Any thread: NULL = nothing was counted yet. */
const struct metrics_source *counters_read(const struct ingress *ingress, uint64_t number);
void counters_free(struct ingress *ingress);

static inline void count_answer(struct ingress *ingress, uint64_t number, unsigned status)
{
    counter_add(&counters_of(ingress, number)->answers[metrics_code(status)], 1);
}

/* An event that was stored: accepted, or kept as rejected for its `reason`. */
static inline void count_stored(struct metrics_source *counters, uint16_t reason, int64_t wall_ns)
{
    counter_add(&counters->events[reason ? METRICS_REJECTED : METRICS_ACCEPTED], 1);
    if (!reason) {
        counter_set(&counters->accepted_ns, (uint64_t)wall_ns);
    }
}

#endif
