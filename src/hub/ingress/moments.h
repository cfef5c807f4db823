/* moments.h - when something was received, by a clock that nobody sets.
 *
 * Purpose     A window must not end because the wall clock was set forward, nor last because it was
 *             set back. Yet what was received keeps its wall time, for its id holds it. So a moment
 *             is both: the wall time, and the number of an epoch, in which the wall clock was not
 *             set. An epoch knows by how much wall and monotonic clock differ in it.
 * Past        What a start finds in the journals has wall times alone. Between two records of a
 *             journal, and between the last one and the start, there was no less than nothing and
 *             no more than MOMENTS_GAP_MS: so a clock that was set makes no difference, and who
 *             was stopped for longer than that remembers for longer.
 * Threads     now: any. past and begin: one thread, before any other.
 * Cost        Two loads. An epoch is added when the clock was set; with MOMENTS_EPOCHS of them no
 *             more are, and the wall clock counts.
 */
#ifndef BECKET_HUB_MOMENTS_H
#define BECKET_HUB_MOMENTS_H

#include "ring/ring.h"

#include <stdatomic.h>
#include <stdint.h>

#define MOMENTS_EPOCHS  4096U
#define MOMENTS_SAME_MS 100 /* clocks that are disciplined, read one after the other */
#define MOMENTS_GAP_MS  3600000

/* By both clocks. */
struct moment {
    int64_t wall_ms;
    int64_t steady_ms;
};

struct moments {
    _Atomic uint32_t current; /* epoch; MOMENTS_EPOCHS = none yet */
    _Atomic uint32_t count;
    atomic_flag adding;
    _Atomic int64_t offsets[MOMENTS_EPOCHS]; /* wall minus steady */
    /* Of epochs of the past, until moments_begin. */
    int64_t first_ms[MOMENTS_EPOCHS], last_ms[MOMENTS_EPOCHS];
    uint16_t journals[MOMENTS_EPOCHS];
};

void moments_init(struct moments *moments);
/* A record of a journal that a start found: oldest first, one journal after the other. */
uint64_t moments_past(struct moments *moments, uint16_t journal, int64_t wall_ms);
/* All were found: the past ends now. */
void moments_begin(struct moments *moments, struct moment now);
/* What to keep of now: 48 bits of wall time, 16 bits of epoch. */
uint64_t moments_now(struct moments *moments, struct moment now);

/* When this ring's wall clock said so, lately. */
static inline struct moment moment_of(const struct ring *ring, int64_t wall_ns)
{
    int64_t ago_ns = ring_wall_ns(ring) - wall_ns;
    return (struct moment){wall_ns / 1000000, ((int64_t)ring_now_ns(ring) - ago_ns) / 1000000};
}

static inline int64_t moment_wall_ms(uint64_t kept)
{
    return (int64_t)(kept & 0xffffffffffffULL);
}

static inline int64_t moment_steady_ms(const struct moments *moments, uint64_t kept)
{
    return moment_wall_ms(kept) -
           atomic_load_explicit(&moments->offsets[kept >> 48], memory_order_relaxed);
}

#endif
