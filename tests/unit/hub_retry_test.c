/* Description: retry schedule, jitter, Retry-After, and attempts as bytes. */
#include "hub/events/attempt.h"
#include "hub/deliveries/retry.h"

#include "tap.h"

static void test_verdicts(void)
{
    static const struct {
        uint16_t status;
        enum retry_verdict verdict;
    } cases[] = {{0, RETRY_AGAIN},       {200, RETRY_DELIVERED}, {204, RETRY_DELIVERED},
                 {299, RETRY_DELIVERED}, {199, RETRY_AGAIN},     {301, RETRY_AGAIN},
                 {307, RETRY_AGAIN},     {400, RETRY_AGAIN},     {404, RETRY_AGAIN},
                 {410, RETRY_GONE},      {429, RETRY_AGAIN},     {500, RETRY_AGAIN},
                 {503, RETRY_AGAIN},     {999, RETRY_AGAIN}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        is_int(retry_verdict(cases[i].status), cases[i].verdict, "status %u", cases[i].status);
    }
}

static void test_schedule(void)
{
    static const uint32_t delays[] = {5000, 30000, 86400000};
    struct retry_schedule schedule = {delays, 3, 0};
    uint64_t delay = 0;
    ok(retry_delay(&schedule, 1, 0, 7, &delay) && delay == 5000, "the first delay");
    ok(retry_delay(&schedule, 3, 0, 7, &delay) && delay == 86400000, "the last one");
    ok(!retry_delay(&schedule, 4, 0, 7, &delay), "then no more");
    schedule.jitter_permille = 200;
    uint64_t low = UINT64_MAX, high = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        ok(retry_delay(&schedule, 2, 0, i * 4294967U, &delay));
        low = delay < low ? delay : low;
        high = delay > high ? delay : high;
    }
    ok(low >= 24000 && low < 24100 && high <= 36000 && high > 35900, "spread over 80 to 120 %%");
    ok(retry_delay(&schedule, 1, 60000, 0, &delay) && delay == 60000, "Retry-After is later");
    ok(retry_delay(&schedule, 1, 60000, UINT32_MAX, &delay) && delay > 60000 && delay <= 66000,
       "and spread, too");
    ok(retry_delay(&schedule, 1, 1000, UINT32_MAX / 2, &delay) && delay >= 4900,
       "the schedule is later");
    ok(!retry_delay(&schedule, 4, 60000, 0, &delay), "Retry-After makes no schedule longer");
    schedule.count = 0;
    ok(!retry_delay(&schedule, 1, 0, 0, &delay), "an empty schedule: one try");
}

static void test_retry_after(void)
{
    static const struct {
        const char *text;
        uint32_t ms;
    } cases[] = {{"120", 120000},
                 {" 7 ", 7000},
                 {"0", 0},
                 {"", 0},
                 {"-1", 0},
                 {"1.5", 0},
                 {"12x", 0},
                 {"99999999999999999999999", RETRY_AFTER_MS_MAX},
                 {"86401", RETRY_AFTER_MS_MAX},
                 {"Sun, 06 Nov 1994 08:49:37 GMT", 17000},
                 {"Sun, 06 Nov 1994 08:49:20 GMT", 0},
                 {"Sun, 06 Nov 1994 08:49:19 GMT", 0},
                 {"Mon, 06 Nov 2094 08:49:37 GMT", RETRY_AFTER_MS_MAX},
                 {"Sun, 06 Nop 1994 08:49:37 GMT", 0},
                 {"Sun, 06 Nov 1994 25:49:37 GMT", 0},
                 {"Sun, 06 Nov 1994 08:49:37 UTC", 0},
                 {"Sunday, 06-Nov-94 08:49:37 GMT", 17000},
                 {"Sunday, 06-Nov-94 08:49:20 GMT", 0},
                 {"Sunday, 06 Nov-94 08:49:37 GMT", 0},
                 {"Sunday, 06-Nov-9x 08:49:37 GMT", 0},
                 {"Sunday,", 0},
                 {"Sun Nov  6 08:49:37 1994", 17000},
                 {"Sun Nov 06 08:49:37 1994", 17000},
                 {"Sun Nov  6 08:49:37 19x4", 0},
                 {"Sun Nov  6 08:49:37_1994", 0}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        is_uint(retry_after_ms(slice_str(cases[i].text), SLICE_EMPTY, 784111760), cases[i].ms,
                "Retry-After: %s", cases[i].text);
    }
    is_uint(retry_after_ms(SLICE("Thu, 01 Mar 2096 00:00:10 GMT"), SLICE_EMPTY, 3981398400), 10000,
            "behind a 29 February");
    struct slice at = SLICE("Sun, 06 Nov 1994 08:49:37 GMT");
    is_uint(retry_after_ms(at, SLICE("Sun, 06 Nov 1994 08:49:07 GMT"), 4000000000), 30000,
            "by the receiver's clock, which is years behind ours");
    is_uint(retry_after_ms(at, SLICE("Sun, 06 Nov 1994 08:49:38 GMT"), 0), 0, "or ahead of it");
    is_uint(retry_after_ms(at, SLICE("yesterday"), 784111760), 17000, "no date: by ours");
    is_uint(retry_after_ms(SLICE("7"), SLICE("Sun, 06 Nov 1994 08:49:07 GMT"), 0), 7000,
            "seconds are seconds");
    /* Two digits of a year: at most 50 years ahead. */
    is_uint(retry_after_ms(SLICE("Sunday, 06-Nov-44 08:49:37 GMT"), SLICE_EMPTY, 784111760),
            RETRY_AFTER_MS_MAX, "2044");
    is_uint(retry_after_ms(SLICE("Monday, 06-Nov-45 08:49:37 GMT"), SLICE_EMPTY, 784111760), 0,
            "1945");
    is_uint(retry_after_ms(SLICE("Friday, 01-Jan-00 00:00:05 GMT"), SLICE_EMPTY, 946684799), 6000,
            "the turn of a century");
}

static void test_attempts(void)
{
    static uint8_t message[ATTEMPT_MESSAGE_BYTES_MAX], long_answer[5000];
    struct journal_entry entry;
    struct attempt attempt = {.outcome = ATTEMPT_FAILED,
                              .stage = 5,
                              .flags = ATTEMPT_REPLAY,
                              .status = 503,
                              .number = 3,
                              .took_us = 1234567,
                              .destination = 99,
                              .source = 7,
                              .event = {3, 123456789},
                              .event_ns = 1700000000000000001,
                              .ended_ns = 1700000000000000002,
                              .previous_due_ms = 1700000000001,
                              .next_due_ms = 1700000000002,
                              .peer = {.family = 4, .port = 443, .at = {1, 2, 3, 4}},
                              .why = SLICE("no"),
                              .answer = slice_of(long_answer, sizeof long_answer)};
    struct attempt back;
    memset(long_answer, 'a', sizeof long_answer);
    is_uint(attempt_encode(&attempt, &entry, message), ATTEMPT_HEAD_BYTES + 2 + 4096);
    is_int(entry.type, JOURNAL_ATTEMPT);
    ok(attempt_decode(&entry, message, &back), "reads back");
    ok(back.outcome == ATTEMPT_FAILED && back.stage == 5 && back.status == 503 &&
           back.number == 3 && back.took_us == 1234567 && back.destination == 99 &&
           back.source == 7 && back.event.journal == 3 && back.event.sequence == 123456789 &&
           back.event_ns == attempt.event_ns && back.ended_ns == attempt.ended_ns &&
           back.previous_due_ms == attempt.previous_due_ms &&
           back.next_due_ms == attempt.next_due_ms && back.peer.port == 443,
       "with all it had");
    is_int(back.flags, ATTEMPT_REPLAY | ATTEMPT_ANSWER_CUT, "and says that the answer was cut");
    ok(slice_equal(back.why, attempt.why) && back.answer.bytes == ATTEMPT_ANSWER_BYTES_MAX);
    message[0] = 9;
    ok(!attempt_decode(&entry, message, &back), "another version is not read");
    message[0] = 1;
    message[1] = 4;
    ok(!attempt_decode(&entry, message, &back), "nor an outcome that is none");
    entry.head_bytes = ATTEMPT_HEAD_BYTES - 1;
    message[1] = 1;
    ok(!attempt_decode(&entry, message, &back), "nor a short head");
}

int main(void)
{
    test_verdicts();
    test_schedule();
    test_retry_after();
    test_attempts();
    return done_testing();
}
