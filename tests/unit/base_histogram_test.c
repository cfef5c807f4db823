/* Description: log buckets: bounds, recording, quantiles. */
#include "base/histogram.h"
#include "tap.h"

static void test_buckets(void)
{
    static const unsigned shifts[] = {0, 3, 14};
    unsigned bad = 0;
    for (unsigned s = 0; s < 3; s++) {
        for (unsigned i = 0; i < 20; i++) {
            uint64_t bound = histogram_bound(24, shifts[s], i);
            bad += bound != 1ULL << (shifts[s] + i);
            bad += histogram_bucket(24, shifts[s], bound) != i;         /* included */
            bad += histogram_bucket(24, shifts[s], bound + 1) != i + 1; /* not included */
        }
        bad += histogram_bucket(24, shifts[s], 0) != 0;
        bad += histogram_bucket(24, shifts[s], UINT64_MAX) != 23;
        bad += histogram_bound(24, shifts[s], 23) != UINT64_MAX;
    }
    is_uint(bad, 0, "a value lies in the first bucket whose bound it does not exceed");
    is_uint(histogram_bucket(16, 0, 1), 0);
    is_uint(histogram_bucket(16, 0, 2), 1);
    is_uint(histogram_bucket(16, 0, 3), 2);
    is_uint(histogram_bucket(16, 0, 4), 2);
    is_uint(histogram_bucket(1, 0, 99), 0, "one bucket takes all");
}

static void test_quantiles(void)
{
    uint64_t buckets[24] = {0};
    is_uint(histogram_quantile(buckets, 24, 0, 0.5), 0, "nothing recorded");
    for (uint64_t i = 1; i <= 1000; i++) {
        histogram_record(buckets, 24, 0, i);
    }
    is_uint(histogram_total(buckets, 24), 1000);
    for (unsigned percent = 1; percent <= 100; percent++) {
        uint64_t exact = percent * 10;
        uint64_t got = histogram_quantile(buckets, 24, 0, percent / 100.0);
        if (got * 2 < exact || got > exact * 2 + 1) {
            ok(false, "p%u is %u", percent, (unsigned)got);
        }
    }
    uint64_t p99 = histogram_quantile(buckets, 24, 0, 0.99);
    ok(p99 > 900 && p99 <= 1024, "p99 of 1 to 1000 is %u", (unsigned)p99);
    uint64_t more[24] = {[23] = 5};
    is_uint(histogram_quantile(more, 24, 0, 0.5), 1U << 22,
            "beyond the last bound: its lower bound");
}

int main(void)
{
    test_buckets();
    test_quantiles();
    return done_testing();
}
