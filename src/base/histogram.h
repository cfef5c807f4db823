/* histogram.h - counts in buckets whose bounds double, for latencies and sizes.
 *
 * Purpose     Recording is one increment and finding the bucket one bit scan, so the hot path can
 *             afford it. Bucket i counts values <= unit * 2^i that no smaller bucket took; the
 *             last one takes all the rest. The caller owns the array (so that it can lie inside
 *             any statistics struct).
 * Threads     One writer. Others may read racily: a scrape may miss what is being added right
 *             now.
 * Accuracy    A quantile is exact to its bucket; inside, it is interpolated linearly (error below
 *             a factor of 2).
 */
#ifndef BECKET_BASE_HISTOGRAM_H
#define BECKET_BASE_HISTOGRAM_H

#include "base/assert.h"
#include "base/counter.h"

/* Which bucket: unit is a power of two given as its exponent (2^14 ns = 16.4 us, 2^0 = 1 record).
 */
static inline unsigned histogram_bucket(unsigned count, unsigned unit_shift, uint64_t value)
{
    uint64_t above =
        value <= 1 ? 0 : (value - 1) >> unit_shift; /* values up to the unit itself: 0 */
    unsigned index = above == 0 ? 0 : 64U - (unsigned)__builtin_clzll(above);
    return index < count ? index : count - 1;
}

static inline void histogram_record(uint64_t *buckets, unsigned count, unsigned unit_shift,
                                    uint64_t value)
{
    counter_add(&buckets[histogram_bucket(count, unit_shift, value)], 1);
}

/* Upper bound of bucket i, included; UINT64_MAX for the last one. */
uint64_t histogram_bound(unsigned count, unsigned unit_shift, unsigned index);
uint64_t histogram_total(const uint64_t *buckets, unsigned count);
/* 0 <= quantile <= 1; 0 when nothing was recorded; the last bucket gives its lower bound. */
uint64_t histogram_quantile(const uint64_t *buckets, unsigned count, unsigned unit_shift,
                            double quantile);

#endif
