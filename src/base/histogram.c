/* histogram.c - reading a histogram; recording is inline. */
#include "base/histogram.h"

uint64_t histogram_bound(unsigned count, unsigned unit_shift, unsigned index)
{
    bk_assert(index < count);
    return index + 1 == count || unit_shift + index > 63 ? UINT64_MAX
                                                         : 1ULL << (unit_shift + index);
}

uint64_t histogram_total(const uint64_t *buckets, unsigned count)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < count; i++) {
        total += buckets[i];
    }
    return total;
}

uint64_t histogram_quantile(const uint64_t *buckets, unsigned count, unsigned unit_shift,
                            double quantile)
{
    bk_assert(count > 0);
    bk_assert(quantile >= 0.0 && quantile <= 1.0);
    uint64_t total = histogram_total(buckets, count);
    if (total == 0) {
        return 0;
    }
    double wanted = quantile * (double)total;
    double below = 0.0;
    for (unsigned i = 0; i < count; i++) {
        double here = (double)buckets[i];
        uint64_t low = i == 0 ? 0 : histogram_bound(count, unit_shift, i - 1);
        if (here > 0.0 && below + here >= wanted) {
            if (i + 1 == count) {
                return low;
            }
            double part = wanted > below ? (wanted - below) / here : 0.0;
            return low + (uint64_t)(part * (double)(histogram_bound(count, unit_shift, i) - low));
        }
        below += here;
    }
    return count > 1 ? histogram_bound(count, unit_shift, count - 2) : 0;
}
