/* Description: the dedupe table gives each delivery to exactly one claimant, on one thread and on
 * several, while it grows under them; windows, releases and recovery behave. */
#include "hub/ingress/dedupe.h"
#include "tap.h"

#include <pthread.h>
#include <stdlib.h>

#define THREADS 4U
#define IDS     60000U
/* TSan's shadow of a generation is four times as large as that. */
#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN      true
#define GROWTHS         7U
#define GROWTH_PAUSE_NS 10000000
#else
#define UNDER_TSAN      false
#define GROWTHS         12U
#define GROWTH_PAUSE_NS 2000000
#endif

static struct moment at(int64_t ms)
{
    return (struct moment){ms, ms};
}

static void grow_now(struct dedupe *dedupe, int64_t now_ms)
{
    struct dedupe_garbage *garbage;
    if (dedupe_grow(dedupe, at(now_ms), 86400000, &garbage) == BK_OK && garbage) {
        dedupe_free(garbage);
    }
}

static void one_thread(void)
{
    struct dedupe *dedupe;
    ok(dedupe_open(64U << 20, &dedupe) == BK_OK, "opens");
    uint64_t fingerprint[2], other[2];
    dedupe_fingerprint(1, SLICE("delivery-1"), fingerprint);
    dedupe_fingerprint(2, SLICE("delivery-1"), other);
    ok(fingerprint[0] != other[0], "the same id at another source is another delivery");
    struct dedupe_claim claim;
    is_int(dedupe_claim(dedupe, fingerprint, at(1000), 500, &claim), DEDUPE_NEW,
           "the first is new");
    dedupe_pending(dedupe, claim.slot, (struct journal_position){3, 42}, at(1000));
    struct dedupe_claim again;
    is_int(dedupe_claim(dedupe, fingerprint, at(1100), 500, &again), DEDUPE_PENDING,
           "the second waits for it");
    dedupe_durable(claim.slot);
    is_int(dedupe_claim(dedupe, fingerprint, at(1500), 500, &again), DEDUPE_DURABLE,
           "and is told once it is safe");
    ok(again.first.journal == 3 && again.first.sequence == 42 && again.first_received_ms == 1000,
       "with the first one's position and time");
    is_int(dedupe_claim(dedupe, fingerprint, at(1501), 500, &claim), DEDUPE_NEW,
           "behind the window it is new again");
    dedupe_release(claim.slot);
    is_int(dedupe_claim(dedupe, fingerprint, at(1501), 500, &claim), DEDUPE_NEW,
           "a released one is new again");
    dedupe_pending(dedupe, claim.slot, (struct journal_position){3, 43}, at(1501));
    dedupe_durable(claim.slot);
    grow_now(dedupe, 1502);
    is_int(dedupe_claim(dedupe, fingerprint, at(1502), 500, &again), DEDUPE_DURABLE,
           "found in an older generation");
    ok(again.first.sequence == 43, "the newest one");
    is_int(dedupe_claim(dedupe, fingerprint, at(1502), 500, &again), DEDUPE_DURABLE,
           "and found again");
    dedupe_recover(dedupe, other, (struct journal_position){1, 7}, 900);
    is_int(dedupe_claim(dedupe, other, at(1000), 500, &again), DEDUPE_DURABLE,
           "a recovered one is a first");
    dedupe_close(dedupe);
}

static void forgets(void)
{
    struct dedupe *dedupe;
    ok(dedupe_open(5U << 20, &dedupe) == BK_OK, "a small table opens");
    uint64_t fingerprint[2];
    unsigned lost = 0;
    for (uint64_t i = 0; i < 300000; i++) {
        dedupe_fingerprint(1, slice_of(&i, sizeof i), fingerprint);
        struct dedupe_claim claim;
        if (dedupe_wants_growth(dedupe)) {
            grow_now(dedupe, (int64_t)i);
        }
        if (dedupe_claim(dedupe, fingerprint, at((int64_t)i), 86400000, &claim) != DEDUPE_NEW) {
            lost++;
            continue;
        }
        dedupe_pending(dedupe, claim.slot, (struct journal_position){0, i + 1}, at((int64_t)i));
        dedupe_durable(claim.slot);
    }
    is_int(lost, 0, "a full budget never refuses a new delivery");
    struct dedupe_stats stats;
    dedupe_stats(dedupe, &stats);
    ok(stats.horizon_ms > 0, "but tells from when on it remembers");
    dedupe_close(dedupe);
}

/* An expired id that comes again is as young as a new one: its generation is not over. */
static void comes_again(void)
{
    struct dedupe *dedupe;
    const int64_t window_ms = 86400000, later_ms = 3 * window_ms;
    ok(dedupe_open(64U << 20, &dedupe) == BK_OK, "opens");
    uint64_t fingerprint[2];
    dedupe_fingerprint(1, SLICE("again"), fingerprint);
    struct dedupe_claim claim, second;
    is_int(dedupe_claim(dedupe, fingerprint, at(1000), window_ms, &claim), DEDUPE_NEW, "new");
    dedupe_pending(dedupe, claim.slot, (struct journal_position){0, 1}, at(1000));
    dedupe_durable(claim.slot);
    is_int(dedupe_claim(dedupe, fingerprint, at(later_ms), window_ms, &claim), DEDUPE_NEW,
           "new, days later");
    dedupe_pending(dedupe, claim.slot, (struct journal_position){0, 2}, at(later_ms));
    dedupe_durable(claim.slot);
    grow_now(dedupe, later_ms + 1);
    is_int(dedupe_claim(dedupe, fingerprint, at(later_ms + 2), window_ms, &second), DEDUPE_DURABLE,
           "and known after a growth");
    ok(second.slot == NULL && second.first.sequence == 2, "as what came last");
    dedupe_close(dedupe);
}

/* The newest generation may be claimed in while a growth judges it: it stays, whatever it holds. */
static void nothing_came(void)
{
    struct dedupe *dedupe;
    struct dedupe_stats stats;
    ok(dedupe_open(64U << 20, &dedupe) == BK_OK, "opens");
    for (unsigned i = 0; i < 3; i++) {
        grow_now(dedupe, 1000);
        dedupe_stats(dedupe, &stats);
        is_uint(stats.generations, 2, "the new one, and the one before it though it is empty");
    }
    dedupe_close(dedupe);
}

static enum dedupe_outcome claim_of(struct dedupe *dedupe, uint64_t id, struct moment now,
                                    int64_t window_ms)
{
    uint64_t fingerprint[2];
    struct dedupe_claim claim;
    dedupe_fingerprint(5, slice_of(&id, sizeof id), fingerprint);
    enum dedupe_outcome outcome = dedupe_claim(dedupe, fingerprint, now, window_ms, &claim);
    if (outcome == DEDUPE_NEW) {
        dedupe_pending(dedupe, claim.slot, (struct journal_position){0, id + 1}, now);
        dedupe_durable(claim.slot);
    } else {
        ok(claim.first.sequence == id + 1, "it is that one");
    }
    return outcome;
}

#define HOUR_MS 3600000LL
#define DAY_MS  (24 * HOUR_MS)
#define YEAR_MS (365 * DAY_MS)

/* A window of 1,000 s, and a wall clock that is set by years. */
static void clock_is_set(void)
{
    struct dedupe *dedupe;
    int64_t wall_ms = 50 * YEAR_MS;
    ok(dedupe_open(64U << 20, &dedupe) == BK_OK, "opens");
    for (int64_t s = 0; s < 100; s++) {
        is_int(
            claim_of(dedupe, (uint64_t)s, (struct moment){wall_ms + s * 1000, s * 1000}, 1000000),
            DEDUPE_NEW);
    }
    wall_ms += 10 * YEAR_MS; /* forward */
    for (int64_t s = 100; s < 500; s++) {
        is_int(
            claim_of(dedupe, (uint64_t)s, (struct moment){wall_ms + s * 1000, s * 1000}, 1000000),
            DEDUPE_NEW);
    }
    is_int(claim_of(dedupe, 0, (struct moment){wall_ms + 500000, 500000}, 1000000), DEDUPE_DURABLE,
           "set forward: a duplicate is one still");
    wall_ms -= 30 * YEAR_MS; /* and back, further */
    is_int(claim_of(dedupe, 0, (struct moment){wall_ms + 1000000, 1000000}, 1000000),
           DEDUPE_DURABLE, "set back: also at the window's end");
    is_int(claim_of(dedupe, 450, (struct moment){wall_ms + 1000000, 1000000}, 1000000),
           DEDUPE_DURABLE);
    is_int(claim_of(dedupe, 0, (struct moment){wall_ms + 1001001, 1001001}, 1000000), DEDUPE_NEW,
           "and no longer");
    is_int(claim_of(dedupe, 450, (struct moment){wall_ms + 1452000, 1452000}, 1000000), DEDUPE_NEW,
           "also what came while it was ahead");
    for (int64_t i = 0; i < 10000; i++) { /* set all the time: nothing breaks */
        (void)claim_of(dedupe, (uint64_t)(1000 + i), (struct moment){wall_ms + i * 1000, 1500000},
                       1000000);
    }
    is_int(claim_of(dedupe, 450, (struct moment){wall_ms + 1600000, 1600000}, 1000000),
           DEDUPE_DURABLE);
    dedupe_close(dedupe);
}

static void recover_one(struct dedupe *dedupe, uint16_t journal, uint64_t id, int64_t wall_ms)
{
    uint64_t fingerprint[2];
    dedupe_fingerprint(5, slice_of(&id, sizeof id), fingerprint);
    dedupe_recover(dedupe, fingerprint, (struct journal_position){journal, id + 1}, wall_ms);
}

/* The same over a restart: what was found has the times of a clock that was set meanwhile. */
static void clock_was_set(int64_t ahead_ms, const char *what)
{
    struct dedupe *dedupe;
    int64_t wall_ms = 50 * YEAR_MS;
    ok(dedupe_open(64U << 20, &dedupe) == BK_OK, "opens");
    recover_one(dedupe, 0, 1, wall_ms - 20 * HOUR_MS);
    recover_one(dedupe, 0, 2, wall_ms - 19 * HOUR_MS);
    recover_one(dedupe, 0, 3, wall_ms - 18 * HOUR_MS + 5 * YEAR_MS); /* it was ahead for a while */
    recover_one(dedupe, 0, 4, wall_ms - 17 * HOUR_MS + 5 * YEAR_MS);
    recover_one(dedupe, 0, 5, wall_ms - 16 * HOUR_MS - 7 * YEAR_MS); /* and behind */
    recover_one(dedupe, 0, 6, wall_ms - HOUR_MS);
    recover_one(dedupe, 1, 7, wall_ms - 2 * HOUR_MS);
    struct moment now = {wall_ms + ahead_ms, 77};
    dedupe_begin(dedupe, now);
    for (uint64_t id = 1; id < 8; id++) {
        is_int(claim_of(dedupe, id, now, DAY_MS), DEDUPE_DURABLE, "%s: a duplicate is one", what);
    }
    now = (struct moment){now.wall_ms + DAY_MS + 1, now.steady_ms + DAY_MS + 1};
    for (uint64_t id = 1; id < 8; id++) {
        is_int(claim_of(dedupe, id, now, DAY_MS), DEDUPE_NEW, "%s: no longer than a window", what);
    }
    dedupe_close(dedupe);
}

/* All threads claim all ids, each in its own order; a grower replaces generations meanwhile. */
static struct dedupe *shared;
static _Atomic unsigned owners[IDS];
static _Atomic bool stop;
static struct dedupe_garbage *garbage_kept[GROWTHS];

static void *claimer(void *context)
{
    uint64_t seed = (uint64_t)(uintptr_t)context * 2654435761U;
    for (uint64_t i = 0; i < IDS; i++) {
        uint64_t id = (i * 7919 + seed) % IDS;
        uint64_t fingerprint[2];
        dedupe_fingerprint(9, slice_of(&id, sizeof id), fingerprint);
        struct dedupe_claim claim;
        enum dedupe_outcome outcome = dedupe_claim(shared, fingerprint, at(5000), 86400000, &claim);
        if (outcome == DEDUPE_NEW) {
            if (i % 97 == 0) {
                dedupe_release(
                    claim.slot); /* its append failed: somebody else, or nobody, gets it */
                continue;
            }
            atomic_fetch_add(&owners[id], 1);
            dedupe_pending(shared, claim.slot, (struct journal_position){1, id + 1}, at(5000));
            dedupe_durable(claim.slot);
        } else if (outcome != DEDUPE_FULL && claim.first.sequence != id + 1) {
            atomic_fetch_add(&owners[id], 100);
        }
    }
    return NULL;
}

static void *grower(void *context)
{
    (void)context;
    for (unsigned i = 0; i < GROWTHS && !atomic_load(&stop); i++) {
        struct dedupe_garbage *garbage;
        if (dedupe_grow(shared, at(5000), 86400000, &garbage) == BK_OK) {
            garbage_kept[i] = garbage; /* the grace period: until all threads are done */
        }
        struct timespec pause = {0, GROWTH_PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static void many_threads(void)
{
    ok(dedupe_open(1U << 30, &shared) == BK_OK, "a shared table opens");
    pthread_t threads[THREADS + 1];
    for (uintptr_t i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, claimer, (void *)i);
    }
    pthread_create(&threads[THREADS], NULL, grower, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    atomic_store(&stop, true);
    pthread_join(threads[THREADS], NULL);
    unsigned doubled = 0, wrong = 0, none = 0;
    for (unsigned i = 0; i < IDS; i++) {
        unsigned count = atomic_load(&owners[i]);
        doubled += count > 1 && count < 100;
        wrong += count >= 100;
        none += count == 0;
    }
    is_int(doubled, 0, "no delivery was accepted twice");
    is_int(wrong, 0, "no duplicate was told another delivery's position");
    ok(none < IDS / 50, "nearly all were accepted (%u were released by every thread)", none);
    for (unsigned i = 0; i < GROWTHS; i++) {
        if (garbage_kept[i]) {
            dedupe_free(garbage_kept[i]);
        }
    }
    dedupe_close(shared);
}

int main(void)
{
    one_thread();
    if (!UNDER_TSAN) { /* one thread, and much to claim: nothing that TSan could see */
        forgets();
        clock_is_set();
    }
    comes_again();
    nothing_came();
    clock_was_set(0, "right");
    clock_was_set(-20 * YEAR_MS, "a start behind");
    clock_was_set(20 * YEAR_MS, "a start ahead");
    many_threads();
    return done_testing();
}
