/* Description: durations and points in time, as people, YAML and servers write them. */
#include "base/time.h"
#include "tap.h"

#include <stdlib.h>
#include <string.h>

#define REFUSED (-1)

struct reading {
    const char *text;
    int64_t ns; /* REFUSED: BK_INVALID */
};

static const struct reading durations[] = {
    {"0", 0},
    {"0s", 0},
    {"300", 300 * NS_PER_SECOND},
    {"300s", 300 * NS_PER_SECOND},
    {"150ms", 150 * NS_PER_MS},
    {"1m30s", 90 * NS_PER_SECOND},
    {"24h", 86400 * NS_PER_SECOND},
    {"7d", 7 * 86400 * NS_PER_SECOND},
    {"1h1h", 7200 * NS_PER_SECOND},
    {"0.3s", 300 * NS_PER_MS},
    {"0.5", 500 * NS_PER_MS},
    {"1.5h", 5400 * NS_PER_SECOND},
    {"1h0.5m", 3630 * NS_PER_SECOND},
    {"0.25ms", 250000},
    {"0.123456789s", 123456789},
    {"0.000001ms", 1},
    {"0.0000001ms", 0}, /* nothing is finer than a nanosecond */
    {"36499d", 36499 * (86400 * NS_PER_SECOND)},
    {"36499.999999999d", 36499 * (86400 * NS_PER_SECOND) + 86399999913600},
    {"36500d", REFUSED},
    {"36499d24h", REFUSED},
    {"36499.5d12h", REFUSED},
    {"999999999999d", REFUSED},
    {"1000000000000s", REFUSED},
    {"0000000000001s", REFUSED}, /* more digits than a number has */
    {"0.1234567891s", REFUSED},
    {"", REFUSED},
    {"s", REFUSED},
    {".5s", REFUSED},
    {"1.", REFUSED},
    {"1.s", REFUSED},
    {"1.5.5s", REFUSED},
    {"1,5s", REFUSED},
    {"1m30", REFUSED}, /* thirty of what? */
    {"1m0.5", REFUSED},
    {"-1s", REFUSED},
    {"+1s", REFUSED},
    {"1 s", REFUSED},
    {" 1s", REFUSED},
    {"1s ", REFUSED},
    {"1S", REFUSED},
    {"1w", REFUSED},
    {"1e3s", REFUSED},
    {"0x10s", REFUSED},
    {"inf", REFUSED},
};

#define NOW_NS (INT64_C(1767323045) * NS_PER_SECOND) /* 2026-01-02T03:04:05Z */

static const struct reading times[] = {
    {"2026-01-02T03:04:05Z", NOW_NS},
    {"2026-01-02T04:04:05.25+01:00", NOW_NS + 250 * NS_PER_MS},
    {"2026-01-02", NOW_NS - (3 * 3600 + 4 * 60 + 5) * NS_PER_SECOND},
    {"1767323045", NOW_NS},
    {"1h", NOW_NS - 3600 * NS_PER_SECOND},
    {"0.5h", NOW_NS - 1800 * NS_PER_SECOND},
    {"2026-13-02", REFUSED},
    {"2026-02-30", REFUSED},
    {"yesterday", REFUSED},
    {"", REFUSED},
};

static int64_t duration_of(const char *text)
{
    int64_t ns = REFUSED;
    /* Not one byte behind the text is anybody's business. */
    char *copy = malloc(strlen(text) + 1);
    memcpy(copy, text, strlen(text));
    enum bk_err err = time_parse_duration(slice_of(copy, strlen(text)), &ns);
    free(copy);
    return err == BK_OK ? ns : REFUSED;
}

static int64_t time_of(const char *text)
{
    int64_t ns;
    return time_parse_since(slice_str(text), NOW_NS, &ns) == BK_OK ? ns : REFUSED;
}

int main(void)
{
    for (size_t i = 0; i < sizeof durations / sizeof durations[0]; i++) {
        is_int(duration_of(durations[i].text), durations[i].ns, "duration \"%s\"",
               durations[i].text);
    }
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        is_int(time_of(times[i].text), times[i].ns, "time \"%s\"", times[i].text);
    }
    return done_testing();
}
