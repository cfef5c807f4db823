#include "base/pages.h"

#include <stdint.h>
#include <sys/mman.h>

#define HUGE_BYTES ((size_t)2 << 20)
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

static size_t rounded(size_t bytes)
{
    return (bytes + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1);
}

/* A huge page must be aligned to its size, which mmap does not promise: map more, and give back
 * what is before and behind. */
void *pages_map(size_t bytes)
{
    size_t wanted = rounded(bytes);
    uint8_t *map = mmap(NULL, wanted + HUGE_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        return NULL;
    }
    size_t before = (HUGE_BYTES - (uintptr_t)map % HUGE_BYTES) % HUGE_BYTES;
    if (before != 0) {
        (void)munmap(map, before);
    }
    (void)munmap(map + before + wanted, HUGE_BYTES - before);
    (void)madvise(map + before, wanted, MADV_HUGEPAGE);
    return map + before;
}

void pages_unmap(void *at, size_t bytes)
{
    (void)munmap(at, rounded(bytes));
}

void pages_populate(void *at, size_t bytes)
{
    (void)madvise(at, bytes, MADV_POPULATE_WRITE);
}
