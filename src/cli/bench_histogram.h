/* bench_histogram.h - latencies with a bounded relative error, in constant memory.
 *
 * Purpose     Log-linear: each power of two is cut into 128 slots, so that a value read back is at
 *             most 0.4 % off. Adding is a few instructions and never allocates.
 * Units       Nanoseconds; values over 2^40 (18 minutes) count as 2^40.
 * Threads     One at a time.
 */
#ifndef BECKET_CLI_BENCH_HISTOGRAM_H
#define BECKET_CLI_BENCH_HISTOGRAM_H

#include <stdint.h>

#define BENCH_HISTOGRAM_SUB_BITS 7U
#define BENCH_HISTOGRAM_BITS_MAX 40U
#define BENCH_HISTOGRAM_SLOTS                                                                      \
    ((BENCH_HISTOGRAM_BITS_MAX - BENCH_HISTOGRAM_SUB_BITS + 2U) << BENCH_HISTOGRAM_SUB_BITS)

struct bench_histogram {
    uint64_t count;
    uint64_t sum_ns;
    uint64_t max_ns; /* exact */
    uint64_t slots[BENCH_HISTOGRAM_SLOTS];
};

void bench_histogram_add(struct bench_histogram *histogram, uint64_t value_ns);
void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from);
/* The value below or at which `per_million` of a million values lie (500000 = median, 999000 =
 * p99.9); 0 when empty. Never above max_ns. */
uint64_t bench_histogram_quantile(const struct bench_histogram *histogram, uint32_t per_million);

#endif
