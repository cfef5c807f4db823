/* pages_sim.c - base/pages.h in the simulator: a server is opened several times in a run, and huge
 * pages that the kernel clears each time were a tenth of its cost.
 *
 * What is no larger than one is filled as a rule: such maps are kept, and cleared here. Of a larger
 * one, a table, a run touches little: it is mapped in small pages, and never populated. Nobody can
 * touch a map that was given back. */
#include "sim_internal.h"

#include "base/pages.h"

#include <sys/mman.h>

#define KEPT_BYTES  ((size_t)2 << 20)
#define KEPT_MAX    8U
#define SLACK_BYTES 65536U

static void *kept[KEPT_MAX];
static unsigned kept_count;

static void *map(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

/* One huge page if there is one: cheap to protect. */
static void *map_aligned(void)
{
    uint8_t *at = map(2 * KEPT_BYTES);
    if (at) {
        size_t before = KEPT_BYTES - (uintptr_t)at % KEPT_BYTES;
        (void)munmap(at, before);
        at += before;
        if (before < KEPT_BYTES) {
            (void)munmap(at + KEPT_BYTES, KEPT_BYTES - before);
        }
        (void)madvise(at, KEPT_BYTES, MADV_HUGEPAGE);
    }
    return at;
}

/* Up to where there may be anything but zeros. What is in there are blocks of files, of which most
 * sectors begin with something; they end long before the map does. */
static size_t used_bytes(const uint8_t *at)
{
    size_t used = KEPT_BYTES;
    while (used > 0 && sector_word(at + used - SECTOR) == 0) {
        used -= SECTOR;
    }
    return used + SLACK_BYTES < KEPT_BYTES ? used + SLACK_BYTES : KEPT_BYTES;
}

void *pages_map(size_t bytes)
{
    if (bytes > KEPT_BYTES) {
        return map(bytes);
    }
    if (kept_count == 0) {
        return map_aligned();
    }
    void *at = kept[--kept_count];
    if (mprotect(at, KEPT_BYTES, PROT_READ | PROT_WRITE) != 0) {
        return NULL;
    }
    memset(at, 0, used_bytes(at));
    return at;
}

void pages_unmap(void *at, size_t bytes)
{
    if (bytes > KEPT_BYTES || kept_count == KEPT_MAX) {
        (void)munmap(at, bytes > KEPT_BYTES ? bytes : KEPT_BYTES);
    } else if (mprotect(at, KEPT_BYTES, PROT_NONE) == 0) {
        kept[kept_count++] = at;
    }
}

void pages_populate(void *at, size_t bytes)
{
    (void)at, (void)bytes;
}
