/* ring_timer_test.c - the timer wheel against a naive model: a list of timers and a clock.
 *
 * After each run exactly those timers must have fired whose tick has come: never early, at most one
 * tick late, and the next expiry that the wheel reports must never be later than the first one due.
 */
#include "ring/timer.h"

#include "tests/tap.h"
#include "tests/unit/http_guard.h"

#define TIMERS 300U
#define TICK TIMER_TICK_NS
#define NEVER UINT64_MAX

static struct timer_wheel wheel;
static struct timer timers[TIMERS];
/* The model: when a timer must have fired; NEVER for one that does not run. */
static uint64_t due_by_ns[TIMERS];
static uint64_t now_ns, last_run_ns;
static uint64_t seed = 0x6265636b65740003ULL;
static unsigned fired, early, unexpected, from_fire;

/* The first tick's time at or after a time, but after the last run. */
static uint64_t model_due(uint64_t due_ns)
{
    uint64_t tick = due_ns / TICK + (due_ns % TICK != 0);
    uint64_t next = last_run_ns / TICK + 1;
    tick = tick > next ? tick : next;
    return tick > NEVER / TICK ? NEVER - 1 : tick * TICK;
}

static uint64_t random_delay_ns(void)
{
    static const uint64_t spans[] = {1,          2 * TICK,          256 * TICK,       300 * TICK,
                                     65536 * TICK, 70000 * TICK, 16777216 * TICK, 20000000 * TICK,
                                     TICK << 32, TICK << 34};
    uint64_t span = spans[random_below(&seed, sizeof spans / sizeof spans[0])];
    return random_below(&seed, 4) ? random_next(&seed) % (span + TICK) : span;
}

static void on_fire(struct timer *timer);

static void start(unsigned i, uint64_t due_ns)
{
    timer_start(&wheel, &timers[i], due_ns, on_fire);
    due_by_ns[i] = model_due(due_ns);
}

static void stop(unsigned i)
{
    timer_stop(&wheel, &timers[i]);
    due_by_ns[i] = NEVER;
}

/* Now and then a timer starts itself or another one again, or stops one. */
static void on_fire(struct timer *timer)
{
    unsigned i = (unsigned)(timer - timers);

    fired++;
    early += timer->due_ns > now_ns;
    unexpected += due_by_ns[i] == NEVER || timer_running(timer);
    due_by_ns[i] = NEVER;
    if (random_below(&seed, 8) == 0) {
        uint64_t saved_ns = last_run_ns;
        /* A start inside a run counts from the tick that runs, which the model knows by its timer.
         */
        last_run_ns = wheel.tick * TICK;
        start(random_below(&seed, 2) ? i : random_below(&seed, TIMERS), now_ns + random_delay_ns());
        last_run_ns = saved_ns;
        from_fire++;
    }
    if (random_below(&seed, 8) == 0) {
        stop(random_below(&seed, TIMERS));
    }
}

static uint64_t first_due_ns(void)
{
    uint64_t first_ns = NEVER;
    for (unsigned i = 0; i < TIMERS; i++) {
        first_ns = due_by_ns[i] < first_ns ? due_by_ns[i] : first_ns;
    }
    return first_ns;
}

/* Let time pass, run, compare. */
static unsigned advance(uint64_t by_ns)
{
    unsigned wrong = 0, running = 0;

    now_ns += by_ns;
    timer_wheel_run(&wheel, now_ns);
    last_run_ns = now_ns;
    for (unsigned i = 0; i < TIMERS; i++) {
        wrong += timer_running(&timers[i]) != (due_by_ns[i] != NEVER);
        wrong += due_by_ns[i] <= now_ns; /* should have fired */
        running += timer_running(&timers[i]);
    }
    wrong += running != wheel.count;
    uint64_t next_ns = timer_wheel_next_ns(&wheel);
    wrong += next_ns > first_due_ns() || next_ns <= now_ns;
    wrong += (next_ns == NEVER) != (running == 0);
    return wrong;
}

static void reset(uint64_t start_ns)
{
    now_ns = start_ns;
    last_run_ns = start_ns;
    timer_wheel_init(&wheel, start_ns);
    memset(timers, 0, sizeof timers);
    memset(due_by_ns, 0xff, sizeof due_by_ns);
    fired = early = unexpected = from_fire = 0;
}

static void test_random(uint64_t start_ns, const char *name)
{
    unsigned wrong = 0;
    const unsigned rounds = 20000;

    reset(start_ns);
    for (unsigned round = 0; round < rounds; round++) {
        for (unsigned n = random_below(&seed, 8); n > 0; n--) {
            unsigned i = random_below(&seed, TIMERS);
            if (random_below(&seed, 4) == 0) {
                stop(i);
            } else if (random_below(&seed, 10) == 0) {
                start(i, now_ns - now_ns % (1 + random_next(&seed) % (TICK * 4)));
            } else {
                start(i, now_ns + random_delay_ns());
            }
        }
        uint64_t next_ns = timer_wheel_next_ns(&wheel);
        uint64_t by_ns = random_below(&seed, 200) ? random_next(&seed) % (4 * TICK)
                                                : random_delay_ns(); /* few, or time runs out */
        if (random_below(&seed, 3) == 0 && next_ns != NEVER && next_ns > now_ns) {
            by_ns = next_ns - now_ns - (random_below(&seed, 2) ? 1 : 0);
        }
        wrong += advance(by_ns);
    }
    is_uint(wrong, 0, "%s: %u rounds like the model", name, rounds);
    is_uint(early, 0, "none of %u was early", fired);
    is_uint(unexpected, 0, "none fired twice or after it was stopped");
    ok(fired > rounds / 4 && from_fire > 100, "enough has happened");
}

/* One timer for each tick around each border of the levels, run tick by tick. */
static void test_borders(void)
{
    static const uint64_t borders[] = {1, 256, 512, 65536, 65792, 131072, 16777216};
    unsigned wrong = 0;

    for (unsigned b = 0; b < sizeof borders / sizeof borders[0]; b++) {
        for (uint64_t offset = 0; offset < 3; offset++) {
            /* The wheel itself starts just before, at and after a border. */
            reset((borders[b] * 2 + offset - 1) * TICK);
            uint64_t from_ns = now_ns;
            for (unsigned i = 0; i < 20; i++) {
                start(i, from_ns + (borders[b] + i) * TICK - 10 * TICK * (borders[b] > 10));
            }
            uint64_t before_ns = borders[b] > 11 ? (borders[b] - 11) * TICK : 0;
            wrong += advance(before_ns) + fired;
            for (unsigned step = 0; step < 64; step++) {
                wrong += advance(TICK / 2);
            }
            wrong += fired < 20 - from_fire;
        }
    }
    is_uint(wrong + early + unexpected, 0, "ticks around the borders of the levels");
}

static unsigned runs;
static void count_fire(struct timer *timer)
{
    (void)timer;
    runs++;
}

static void test_simple(void)
{
    reset(5 * TICK + 3);
    is_uint(timer_wheel_next_ns(&wheel), NEVER, "an empty wheel wants no wake-up");
    timer_start(&wheel, &timers[0], 7 * TICK, count_fire);
    is_uint(timer_wheel_next_ns(&wheel), 7 * TICK);
    timer_wheel_run(&wheel, 7 * TICK - 1);
    is_uint(runs, 0, "not early");
    timer_wheel_run(&wheel, 7 * TICK);
    is_uint(runs, 1, "and not late");
    ok(!timer_running(&timers[0]), "a fired timer has stopped");

    timer_start(&wheel, &timers[0], 9 * TICK, count_fire);
    timer_start(&wheel, &timers[0], 12 * TICK, count_fire);
    is_uint(wheel.count, 1, "starting again moves it");
    timer_wheel_run(&wheel, 11 * TICK);
    is_uint(runs, 1);
    timer_stop(&wheel, &timers[0]);
    timer_stop(&wheel, &timers[0]);
    timer_wheel_run(&wheel, 20 * TICK);
    is_uint(runs, 1, "a stopped timer does not fire");

    timer_start(&wheel, &timers[0], 0, count_fire);
    is_uint(timer_wheel_next_ns(&wheel), 21 * TICK, "one in the past is due at the next tick");
    timer_wheel_run(&wheel, 3 * TICK);
    is_uint(runs, 1, "a clock that goes back runs nothing");
    timer_wheel_run(&wheel, 21 * TICK);
    is_uint(runs, 2);

    timer_start(&wheel, &timers[0], UINT64_MAX, count_fire);
    timer_start(&wheel, &timers[1], 21 * TICK + (TICK << 33), count_fire);
    timer_wheel_run(&wheel, 20 * TICK + (TICK << 33));
    is_uint(runs, 2, "longer than the wheel is not early either");
    timer_wheel_run(&wheel, 21 * TICK + (TICK << 33));
    is_uint(runs, 3);
    ok(timer_running(&timers[0]), "the end of time has not come");
}

int main(void)
{
    test_simple();
    test_borders();
    test_random(0, "from 0");
    test_random(1234567890123456789ULL, "from an odd time");
    test_random((1ULL << 32) * TICK - 5 * TICK, "over the end of the largest level");
    return done_testing();
}
