#include "cli/bench_histogram.h"

#include "base/assert.h"

#define SUB_COUNT (1U << BENCH_HISTOGRAM_SUB_BITS)

/* Values below 128 have a slot each; above, the 7 bits below the leading one choose it. */
static unsigned slot_of(uint64_t value)
{
    if (value < SUB_COUNT) {
        return (unsigned)value;
    }
    unsigned top = 63U - (unsigned)__builtin_clzll(value);
    unsigned shift = top - BENCH_HISTOGRAM_SUB_BITS;
    return ((shift + 1) << BENCH_HISTOGRAM_SUB_BITS) + ((unsigned)(value >> shift) - SUB_COUNT);
}

/* The middle of a slot. */
static uint64_t value_of(unsigned slot)
{
    if (slot < SUB_COUNT) {
        return slot;
    }
    unsigned shift = (slot >> BENCH_HISTOGRAM_SUB_BITS) - 1;
    uint64_t low = (uint64_t)((slot & (SUB_COUNT - 1)) + SUB_COUNT) << shift;
    return low + ((1ULL << shift) >> 1);
}

void bench_histogram_add(struct bench_histogram *histogram, uint64_t value_ns)
{
    uint64_t limit = (1ULL << BENCH_HISTOGRAM_BITS_MAX) - 1;
    unsigned slot = slot_of(value_ns < limit ? value_ns : limit);
    bk_assert(slot < BENCH_HISTOGRAM_SLOTS);
    histogram->slots[slot]++;
    histogram->count++;
    histogram->sum_ns += value_ns;
    if (value_ns > histogram->max_ns) {
        histogram->max_ns = value_ns;
    }
}

void bench_histogram_merge(struct bench_histogram *into, const struct bench_histogram *from)
{
    into->count += from->count;
    into->sum_ns += from->sum_ns;
    into->max_ns = from->max_ns > into->max_ns ? from->max_ns : into->max_ns;
    for (unsigned i = 0; i < BENCH_HISTOGRAM_SLOTS; i++) {
        into->slots[i] += from->slots[i];
    }
}

uint64_t bench_histogram_quantile(const struct bench_histogram *histogram, uint32_t per_million)
{
    bk_assert(per_million <= 1000000);
    if (histogram->count == 0) {
        return 0;
    }
    /* Nearest rank: the smallest value with at least this many values at or below it. */
    uint64_t rank =
        (uint64_t)(((unsigned __int128)histogram->count * per_million + 999999U) / 1000000U);
    uint64_t seen = 0;
    for (unsigned i = 0; i < BENCH_HISTOGRAM_SLOTS; i++) {
        seen += histogram->slots[i];
        if (seen >= rank && seen > 0) {
            uint64_t value = value_of(i);
            return value < histogram->max_ns ? value : histogram->max_ns;
        }
    }
    return histogram->max_ns;
}
