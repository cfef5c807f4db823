/* Description: breaker, slow start, window, concurrency, rate and Retry-After of a destination. */
#include "hub/deliveries/flow.h"

#include "tap.h"

#include <string.h>

#define SECOND 1000000000ULL

static struct flow flows[2];
static struct flow_shared shared;
static struct flow_limits limits;
static struct flow_place place; /* what was taken last */
static uint64_t now, at;

static void fresh(uint32_t concurrency, uint32_t per_second)
{
    memset(flows, 0, sizeof flows);
    memset(&shared, 0, sizeof shared);
    limits = (struct flow_limits){concurrency, per_second};
    now = 1000 * SECOND;
    at = 0;
}

static enum flow_answer take(unsigned core)
{
    return flow_take(&flows[core], &shared, &limits, now, &place, &at);
}

static bool give_after(unsigned core, enum flow_outcome outcome, bool probe, uint64_t hold_ns,
                       uint64_t took_ns)
{
    struct flow_place given = {flows[core].begun, probe};
    return flow_give(&flows[core], &shared, &given, outcome, hold_ns, took_ns, now);
}

static bool give(unsigned core, enum flow_outcome outcome, bool probe)
{
    return give_after(core, outcome, probe, 0, 0);
}

static unsigned take_all(unsigned core)
{
    unsigned count = 0;
    while (take(core) == FLOW_GO) {
        count++;
    }
    return count;
}

static void give_all(unsigned core, unsigned count, enum flow_outcome outcome)
{
    while (count-- > 0) {
        (void)give(core, outcome, false);
    }
}

static void test_concurrency(void)
{
    fresh(16, 0);
    is_uint(take_all(0), 16, "as many as the limit");
    is_int(take(0), FLOW_FULL);
    is_int(take(1), FLOW_LATER, "over all cores");
    is_uint(at, now + FLOW_LOOK_NS, "another core's end wakes nobody: look again");
    (void)give(0, FLOW_GOOD, false);
    is_int(take(1), FLOW_GO, "one is free");
    is_uint(flow_room(&flows[0], &shared, &limits, now, &at), 1);
    is_uint(at, 0);
    give_all(0, 15, FLOW_CANCELLED);
    (void)give(1, FLOW_CANCELLED, false);
    is_uint(shared.inflight, 0, "all came back");
    is_int(take(0), FLOW_GO);
    is_uint(take_all(1), 15);
    is_int(take(0), FLOW_LATER, "nor is this core's end waited for, where others have the rest");
    is_uint(at, now + FLOW_LOOK_NS);
    give_all(1, 15, FLOW_CANCELLED);
    (void)give(0, FLOW_CANCELLED, false);
    is_uint(shared.failures, 0, "cancelled says nothing");
}

static void test_window(void)
{
    fresh(16, 0);
    is_uint(take_all(0), 16);
    (void)give(0, FLOW_BAD, false);
    give_all(0, 15, FLOW_GOOD);
    unsigned halved = take_all(0);
    is_uint(halved, 9, "half after a failure, and one more by the successes behind it");
    give_all(0, halved, FLOW_GOOD);
    ok(take_all(0) == 10, "then one more per window of successes");
    give_all(0, 10, FLOW_GOOD);
    for (unsigned i = 0; i < 12; i++) {
        give_all(0, take_all(0), FLOW_GOOD);
    }
    is_uint(take_all(0), 16, "up to the limit");
    (void)give(0, FLOW_BAD, false);
    give_all(0, 7, FLOW_BAD);
    is_uint(flows[0].window / 256, 8, "failures of one window halve it once");
}

static void trip(void)
{
    for (unsigned i = 0; i < FLOW_TRIP; i++) {
        ok(!flow_is_open(&shared));
        is_int(take(i % 2), FLOW_GO);
        ok(!give(i % 2, FLOW_BAD, false));
    }
    ok(flow_is_open(&shared), "failures in a row on both cores open it");
}

static void test_breaker(void)
{
    fresh(16, 0);
    for (unsigned i = 0; i < 100; i++) {
        is_int(take(0), FLOW_GO);
        ok(!give(0, i % FLOW_TRIP == FLOW_TRIP - 1 ? FLOW_GOOD : FLOW_BAD, false));
    }
    ok(!flow_is_open(&shared), "a success in between keeps it closed");
    fresh(16, 0);
    for (unsigned i = 0; i < 100; i++) {
        is_int(take(0), FLOW_GO);
        ok(!give(0, FLOW_BAD, false));
        now += 2 * SECOND;
    }
    ok(!flow_is_open(&shared), "failures far apart are a schedule's retries, not a flood");
    fresh(16, 0);
    trip();
    uint64_t interval = FLOW_INTERVAL_FIRST_NS;
    unsigned told = 0;
    for (unsigned i = 0; i < 14; i++) {
        is_int(take(0), FLOW_LATER, "open: nothing");
        is_uint(at, now + interval, "until the next probe");
        is_uint(flow_room(&flows[1], &shared, &limits, now, &at), 0);
        is_uint(at, now + interval);
        now += interval;
        is_uint(flow_room(&flows[1], &shared, &limits, now, &at), 1);
        is_int(take(i % 2), FLOW_PROBE, "one probe");
        is_int(take(0), FLOW_LATER, "only one");
        is_int(take(1), FLOW_LATER, "on all cores");
        told += give(i % 2, FLOW_BAD, true);
        interval = interval * 2 < FLOW_INTERVAL_LAST_NS ? interval * 2 : FLOW_INTERVAL_LAST_NS;
    }
    is_uint(interval, FLOW_INTERVAL_LAST_NS, "the interval grows up to its limit");
    is_uint(told, 1, "that it is failing is told once");
    ok(flow_is_failing(&shared));
    now += interval;
    is_int(take(0), FLOW_PROBE);
    ok(!give(0, FLOW_GOOD, true));
    ok(!flow_is_open(&shared), "a success closes it");
    is_uint(shared.failures, 0);
    is_uint(take_all(0), 1, "slow start on this core");
    is_uint(take_all(1), 1, "and on the other");
    give_all(0, 1, FLOW_GOOD);
    give_all(1, 1, FLOW_GOOD);
    is_uint(take_all(0), 2, "doubling");
    give_all(0, 2, FLOW_GOOD);
    is_uint(take_all(0), 4);
    give_all(0, 4, FLOW_GOOD);
    is_uint(take_all(0), 8);
    (void)give(0, FLOW_BAD, false);
    give_all(0, 7, FLOW_GOOD);
    ok(take_all(0) < 7, "until the first failure");
}

static void test_late_ends(void)
{
    fresh(16, 0);
    is_uint(take_all(0), 16);
    for (unsigned i = 0; i < 16; i++) {
        (void)give(0, FLOW_BAD, false);
    }
    is_int(take(0), FLOW_LATER);
    is_uint(at, now + FLOW_INTERVAL_FIRST_NS,
            "what was under way when it opened does not open it again");
    fresh(16, 0);
    is_uint(take_all(0), 16);
    for (unsigned i = 0; i < 15; i++) {
        (void)give(0, FLOW_BAD, false);
    }
    (void)give(0, FLOW_GOOD, false);
    ok(!flow_is_open(&shared), "a late success closes it as well as a probe");
    now += SECOND;
    is_int(take(0), FLOW_GO);
    (void)give(0, FLOW_CANCELLED, false);
    fresh(4, 0);
    trip();
    now += SECOND;
    is_int(take(0), FLOW_PROBE);
    (void)give(0, FLOW_CANCELLED, true);
    now += SECOND;
    is_int(take(1), FLOW_PROBE, "a cancelled probe is followed by another");
}

static void test_rate(void)
{
    fresh(1000, 10);
    is_uint(take_all(0), 10, "a second's worth may come at once");
    is_int(take(1), FLOW_LATER, "on all cores together");
    is_uint(at, now + SECOND / 10);
    is_uint(shared.inflight, 10, "a refused one is not counted");
    unsigned count = 0;
    for (unsigned i = 0; i < 1000; i++) {
        now += SECOND / 100;
        count += take(i % 2) == FLOW_GO;
    }
    is_uint(count, 100, "then as many as said: 10 s, 10/s");
    fresh(1000, 1);
    is_uint(take_all(0), 1);
    now += SECOND;
    is_uint(take_all(0), 1);
}

/* Who hangs has few calls under way, and each for long. */
static void test_hanging(void)
{
    fresh(16, 0);
    for (unsigned i = 0; i < 3; i++) {
        ok(!flow_is_open(&shared), "a timeout or two");
        is_int(take(0), FLOW_GO);
        now += 20 * SECOND;
        (void)give_after(0, FLOW_BAD, false, 0, 20 * SECOND);
    }
    ok(flow_is_open(&shared), "three timeouts in a row open it, however long they took");
    now += FLOW_INTERVAL_FIRST_NS;
    is_int(take(0), FLOW_PROBE);
    now += 20 * SECOND;
    ok(give_after(0, FLOW_BAD, true, 0, 20 * SECOND), "it is failing");
    is_int(take(0), FLOW_LATER);
    is_uint(at, now + 20 * SECOND, "and rests as long as its probe took");

    /* One probe, however long it takes; and its place counts. */
    fresh(4, 0);
    for (unsigned i = 0; i < 4; i++) {
        is_int(take(i % 2), FLOW_GO);
    }
    now += 20 * SECOND;
    for (unsigned i = 0; i < 3; i++) {
        (void)give_after(i % 2, FLOW_BAD, false, 0, 20 * SECOND);
    }
    ok(flow_is_open(&shared), "three timeouts");
    is_int(take(1), FLOW_LATER, "a probe waits its interval");
    now += FLOW_INTERVAL_FIRST_NS;
    is_int(take(1), FLOW_PROBE);
    is_uint(shared.inflight, 2);
    for (unsigned i = 0; i < 100; i++) {
        now += SECOND / 10;
        is_int(take(i % 2), FLOW_LATER, "none beside it");
        ok(at > now && at <= now + SECOND, "but looked at again");
        is_uint(flow_room(NULL, &shared, &limits, now, &at), 0);
        ok(at > now && at <= now + SECOND);
    }
    (void)give_after(1, FLOW_CANCELLED, true, 0, 0);
    is_int(take(0), FLOW_PROBE, "one that was cancelled gives its place");
    is_int(take(1), FLOW_LATER);
    is_uint(shared.inflight, 2);
    flow_lift(&shared);
    ok(!flow_is_open(&shared), "lifted");
    (void)give_after(0, FLOW_GOOD, true, 0, SECOND);
    is_uint(shared.inflight, 1);
    is_int(take(0), FLOW_GO, "and goes on");

    /* Resumed while a probe hangs: the next does not wait for its end; then a slow start. */
    fresh(16, 0);
    for (unsigned i = 0; i < 8; i++) {
        is_int(take(0), FLOW_GO);
        (void)give(0, FLOW_BAD, false);
    }
    now += FLOW_INTERVAL_FIRST_NS;
    is_int(take(0), FLOW_PROBE);
    struct flow_place hanging = place;
    flow_lift(&shared);
    is_uint(take_all(0), 1, "beside a probe of before");
    (void)give(0, FLOW_GOOD, false);
    is_uint(take_all(0), 2, "and slowly more");
    give_all(0, 2, FLOW_GOOD);
    is_uint(take_all(0), 4);
    give_all(0, 4, FLOW_BAD);
    now += FLOW_INTERVAL_FIRST_NS;
    is_int(take(0), FLOW_GO, "a failure then does not make room for what hangs");
    (void)give(0, FLOW_BAD, false);
    is_int(take(0), FLOW_GO);
    (void)give(0, FLOW_GOOD, false);
    uint32_t window = flows[0].window;
    hanging.probe = false;
    (void)flow_give(&flows[0], &shared, &hanging, FLOW_BAD, 0, 20 * SECOND, now);
    is_uint(flows[0].window, window, "nor does its end say anything of what may go now");
    is_uint(flows[0].inflight + flows[0].before, 0);

    /* So where the breaker was closed: two timeouts, and a third try hangs. */
    fresh(16, 0);
    for (unsigned i = 0; i < 2; i++) {
        is_int(take(0), FLOW_GO);
        now += 20 * SECOND;
        (void)give_after(0, FLOW_BAD, false, 0, 20 * SECOND);
    }
    is_int(take(0), FLOW_GO);
    hanging = place;
    is_int(take(0), FLOW_FULL);
    flow_lift(&shared);
    is_int(take(0), FLOW_GO, "what hangs since before the resume takes no part of the window");
    flow_forget(&flows[0], &hanging);
    is_int(take(0), FLOW_FULL);
    (void)give(0, FLOW_GOOD, false);

    /* What hangs takes all places: no probe beyond them. */
    fresh(2, 0);
    for (unsigned i = 0; i < 8; i++) {
        is_int(take(0), FLOW_GO);
        (void)give(0, FLOW_BAD, false);
    }
    ok(flow_is_open(&shared));
    now += FLOW_INTERVAL_FIRST_NS;
    atomic_store(&shared.inflight, 2); /* another core's */
    is_int(take(0), FLOW_LATER, "a probe is one of those that may be under way");
    atomic_store(&shared.inflight, 1);
    is_int(take(0), FLOW_PROBE);
    fresh(16, 0);
    for (unsigned i = 0; i < 10; i++) {
        is_int(take(0), FLOW_GO);
        (void)give_after(0, FLOW_BAD, false, 0, 2 * SECOND);
        now += 30 * SECOND;
    }
    ok(!flow_is_open(&shared), "timeouts far apart do not");
}

static void test_hold(void)
{
    fresh(16, 0);
    is_int(take(0), FLOW_GO);
    (void)give_after(0, FLOW_BAD, false, now + 5 * SECOND, 0);
    is_int(take(1), FLOW_LATER, "Retry-After holds back all");
    is_uint(at, now + 5 * SECOND);
    is_uint(flow_room(NULL, &shared, &limits, now, &at), 0);
    now += 5 * SECOND;
    is_int(take(1), FLOW_GO);
    (void)give_after(1, FLOW_BAD, false, now + 5 * SECOND, 0);
    (void)flow_room(NULL, &shared, &limits, now, &at);
    is_uint(at, now + 5 * SECOND);
    is_uint(flow_lifts(&shared), 0);
    flow_lift(&shared);
    is_uint(flow_lifts(&shared), 1);
    is_int(take(0), FLOW_GO, "unless it is lifted");
}

int main(void)
{
    test_concurrency();
    test_window();
    test_breaker();
    test_late_ends();
    test_rate();
    test_hanging();
    test_hold();
    return done_testing();
}
