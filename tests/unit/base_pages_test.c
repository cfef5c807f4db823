/* Description: memory on huge pages is aligned to them, zeroed, and goes back whole. */
#include "base/pages.h"

#include "tap.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static unsigned long mapped_kib(void)
{
    char line[256];
    unsigned long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status)) {
        (void)sscanf(line, "VmSize: %lu", &kib);
    }
    if (status) {
        fclose(status);
    }
    return kib;
}

static void test_round_trip(size_t bytes)
{
    unsigned long before = mapped_kib();
    uint8_t *at = pages_map(bytes);
    if (!ok(at != NULL, "%zu bytes", bytes)) {
        return;
    }
    ok((uintptr_t)at % (2U << 20) == 0, "aligned to 2 MiB");
    pages_populate(at, bytes);
    size_t other = 0;
    for (size_t i = 0; i < bytes; i++) {
        other += at[i] != 0;
    }
    is_uint(other, 0, "zeroed");
    memset(at, 0xff, bytes);
    pages_unmap(at, bytes);
    ok(mapped_kib() < before + 1024, "nothing stays mapped");
}

int main(void)
{
    (void)mapped_kib(); /* what stdio takes once */
    test_round_trip(1);
    test_round_trip(2U << 20);
    test_round_trip((5U << 20) + 1);
    ok(pages_map((size_t)1 << 60) == NULL, "more than there is");
    return done_testing();
}
