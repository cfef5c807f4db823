/* Description: the dedupe table gives each delivery to exactly one claimant, on one thread and on
 * several, while it grows under them; windows, releases and recovery behave. */
#include "hub/ingress/dedupe.h"
#include "tap.h"

#include <pthread.h>
#include <stdlib.h>

#define THREADS 4U
#define IDS     60000U

static void grow_now(struct dedupe *dedupe, int64_t now_ms)
{
    struct dedupe_garbage *garbage;
    if (dedupe_grow(dedupe, now_ms, 86400000, &garbage) == BK_OK && garbage) {
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
    is_int(dedupe_claim(dedupe, fingerprint, 1000, 500, &claim), DEDUPE_NEW, "the first is new");
    dedupe_pending(claim.slot, (struct journal_position){3, 42}, 1000);
    struct dedupe_claim again;
    is_int(dedupe_claim(dedupe, fingerprint, 1100, 500, &again), DEDUPE_PENDING,
           "the second waits for it");
    dedupe_durable(claim.slot);
    is_int(dedupe_claim(dedupe, fingerprint, 1500, 500, &again), DEDUPE_DURABLE,
           "and is told once it is safe");
    ok(again.first.journal == 3 && again.first.sequence == 42 && again.first_received_ms == 1000,
       "with the first one's position and time");
    is_int(dedupe_claim(dedupe, fingerprint, 1501, 500, &claim), DEDUPE_NEW,
           "behind the window it is new again");
    dedupe_release(claim.slot);
    is_int(dedupe_claim(dedupe, fingerprint, 1501, 500, &claim), DEDUPE_NEW,
           "a released one is new again");
    dedupe_pending(claim.slot, (struct journal_position){3, 43}, 1501);
    dedupe_durable(claim.slot);
    grow_now(dedupe, 1502);
    is_int(dedupe_claim(dedupe, fingerprint, 1502, 500, &again), DEDUPE_DURABLE,
           "found in an older generation");
    ok(again.first.sequence == 43, "the newest one");
    is_int(dedupe_claim(dedupe, fingerprint, 1502, 500, &again), DEDUPE_DURABLE, "and found again");
    dedupe_recover(dedupe, other, (struct journal_position){1, 7}, 900);
    is_int(dedupe_claim(dedupe, other, 1000, 500, &again), DEDUPE_DURABLE,
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
        if (dedupe_claim(dedupe, fingerprint, (int64_t)i, 86400000, &claim) != DEDUPE_NEW) {
            lost++;
            continue;
        }
        dedupe_pending(claim.slot, (struct journal_position){0, i + 1}, (int64_t)i);
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
    is_int(dedupe_claim(dedupe, fingerprint, 1000, window_ms, &claim), DEDUPE_NEW, "new");
    dedupe_pending(claim.slot, (struct journal_position){0, 1}, 1000);
    dedupe_durable(claim.slot);
    is_int(dedupe_claim(dedupe, fingerprint, later_ms, window_ms, &claim), DEDUPE_NEW,
           "new, days later");
    dedupe_pending(claim.slot, (struct journal_position){0, 2}, later_ms);
    dedupe_durable(claim.slot);
    grow_now(dedupe, later_ms + 1);
    is_int(dedupe_claim(dedupe, fingerprint, later_ms + 2, window_ms, &second), DEDUPE_DURABLE,
           "and known after a growth");
    ok(second.slot == NULL && second.first.sequence == 2, "as what came last");
    dedupe_close(dedupe);
}

/* All threads claim all ids, each in its own order; a grower replaces generations meanwhile. */
static struct dedupe *shared;
static _Atomic unsigned owners[IDS];
static _Atomic bool stop;
static struct dedupe_garbage *garbage_kept[1000];

static void *claimer(void *context)
{
    uint64_t seed = (uint64_t)(uintptr_t)context * 2654435761U;
    for (uint64_t i = 0; i < IDS; i++) {
        uint64_t id = (i * 7919 + seed) % IDS;
        uint64_t fingerprint[2];
        dedupe_fingerprint(9, slice_of(&id, sizeof id), fingerprint);
        struct dedupe_claim claim;
        enum dedupe_outcome outcome = dedupe_claim(shared, fingerprint, 5000, 86400000, &claim);
        if (outcome == DEDUPE_NEW) {
            if (i % 97 == 0) {
                dedupe_release(
                    claim.slot); /* its append failed: somebody else, or nobody, gets it */
                continue;
            }
            atomic_fetch_add(&owners[id], 1);
            dedupe_pending(claim.slot, (struct journal_position){1, id + 1}, 5000);
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
    for (unsigned i = 0; i < 12 && !atomic_load(&stop); i++) {
        struct dedupe_garbage *garbage;
        if (dedupe_grow(shared, 5000, 86400000, &garbage) == BK_OK) {
            garbage_kept[i] = garbage; /* the grace period: until all threads are done */
        }
        struct timespec pause = {0, 2000000};
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
    for (unsigned i = 0; i < 12; i++) {
        if (garbage_kept[i]) {
            dedupe_free(garbage_kept[i]);
        }
    }
    dedupe_close(shared);
}

int main(void)
{
    one_thread();
    forgets();
    comes_again();
    many_threads();
    return done_testing();
}
