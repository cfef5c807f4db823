/* Description: event ids carry time, journal and sequence, sort by time, and refuse everything
 * else. */
#include "base/assert.h"
#include "hub/events/event_id.h"
#include "tap.h"

static void round_trips(void)
{
    struct journal_position positions[] = {
        {0, 1}, {1, 2}, {1023, 0xffffffffffffULL}, {7, 123456789}};
    int64_t times_ns[] = {0, 1767225600123000000LL, 4102444800000000000LL};
    bool all = true;
    for (size_t i = 0; i < bk_array_length(positions); i++) {
        for (size_t j = 0; j < bk_array_length(times_ns); j++) {
            char text[EVENT_ID_BYTES];
            struct journal_position back;
            int64_t ms;
            event_id_format(positions[i], times_ns[j], text);
            all = all && event_id_parse(slice_of(text, sizeof text), &back, &ms);
            all = all && back.journal == positions[i].journal &&
                  back.sequence == positions[i].sequence;
            all = all && ms == times_ns[j] / 1000000;
        }
    }
    ok(all, "formatted ids parse to what went in");
}

static void sorts(void)
{
    char a[EVENT_ID_BYTES], b[EVENT_ID_BYTES];
    event_id_format((struct journal_position){9, 99999}, 1767225600123000000LL, a);
    event_id_format((struct journal_position){0, 1}, 1767225600124000000LL, b);
    ok(memcmp(a, b, sizeof a) < 0, "a later millisecond sorts behind an earlier one");
}

static void refuses(void)
{
    static const char *const bad[] = {
        "",
        "evt_",
        "evt_00000000000000000000000000",
        "evt_0000000000000000000000000U",
        "evt_8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "evx_01KDVDNA3R00000000000000001",
        "evt_01KDVDNA3R0000000000000001X",
        "evt_01KDVDNA3R000000000000000-",
    };
    struct journal_position position;
    bool none = true;
    for (size_t i = 0; i < bk_array_length(bad); i++) {
        none = none && !event_id_parse(slice_str(bad[i]), &position, NULL);
    }
    ok(none, "malformed ids, sequence 0 and too large numbers are refused");
    char text[EVENT_ID_BYTES];
    event_id_format((struct journal_position){3, 77}, 1767225600123000000LL, text);
    for (size_t i = 4; i < sizeof text; i++) {
        text[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    }
    ok(event_id_parse(slice_of(text, sizeof text), &position, NULL) && position.sequence == 77,
       "lower case is understood");
}

int main(void)
{
    round_trips();
    sorts();
    refuses();
    return done_testing();
}
