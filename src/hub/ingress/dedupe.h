/* dedupe.h - which deliveries were seen already: one table for all cores, without locks.
 *
 * Purpose     A provider's retry, or the same delivery on two connections, becomes one event. A
 *             claim is made before the event is appended and confirmed when it is durable, so a
 *             duplicate that overtakes its first is answered only after the first is safe.
 * Key         128 bits: the first half of SHA-256 over source number and delivery id. No full
 *             compare is needed.
 * Shape       Generations of open-addressing tables. New claims go to the newest one, until it is
 *             two thirds full (the first: half); a probe asks all. Old generations are dropped
 *             whole when nothing in them can be inside any window, or when bytes_max is reached
 *             (then the window is effectively shorter: dedupe_horizon_ms tells).
 * Windows     go by a clock that nobody sets (moments.h), over a restart, too: a wall clock that is
 *             set makes no duplicate new, and none a duplicate for ever.
 * Threads     claim/confirm/release: any reactor. grow/drop: the control thread. Dropped
 *             generations are freed after a grace period: every reactor has passed a turn, and has
 *             confirmed or released what it had claimed before (reactor_when_settled).
 * Cost        48 B per delivery; a claim touches a cache line or two per generation.
 */
#ifndef BECKET_HUB_DEDUPE_H
#define BECKET_HUB_DEDUPE_H

#include "base/err.h"
#include "hub/ingress/moments.h"
#include "journal/journal.h"

#include <stdatomic.h>

struct dedupe;

/* 32 bytes: two share a cache line. meta: 2 bits state | 46 bits sequence | 16 bits journal. */
struct dedupe_slot {
    uint64_t fingerprint[2];
    _Atomic uint64_t meta;
    _Atomic uint64_t received; /* moments.h */
};

enum dedupe_outcome {
    DEDUPE_NEW,     /* claimed: confirm or release it */
    DEDUPE_PENDING, /* a first one is on its way to the disk */
    DEDUPE_DURABLE, /* a first one is safe */
    DEDUPE_FULL     /* no room until the control thread grew the table: answer 503 */
};

struct dedupe_claim {
    struct dedupe_slot *slot;      /* NEW */
    struct journal_position first; /* PENDING, DURABLE */
    int64_t first_received_ms;
};

enum bk_err dedupe_open(size_t bytes_max, struct dedupe **ret_dedupe) BK_MUST_CHECK;
void dedupe_close(struct dedupe *dedupe);

void dedupe_fingerprint(uint64_t source, struct slice delivery_id, uint64_t ret_fingerprint[2]);
/* Of an id that is unique only within something of the source's. */
void dedupe_fingerprint_within(uint64_t source, struct slice within, struct slice delivery_id,
                               uint64_t ret_fingerprint[2]);
/* Fetch the cache lines that a claim will want; do something else meanwhile. */
void dedupe_prefetch(const struct dedupe *dedupe, const uint64_t fingerprint[2]);
enum dedupe_outcome dedupe_claim(struct dedupe *dedupe, const uint64_t fingerprint[2],
                                 struct moment now, int64_t window_ms,
                                 struct dedupe_claim *ret_claim);
/* The claimed event has this position but is not durable yet. Soon after the claim: others spin
 * meanwhile. */
void dedupe_pending(struct dedupe *dedupe, struct dedupe_slot *slot,
                    struct journal_position position, struct moment now);
void dedupe_durable(struct dedupe_slot *slot);
/* The event was not stored: the next delivery with this id is a first one again. */
void dedupe_release(struct dedupe_slot *slot);

/* Start-up, before any reactor runs: an event that recovery found. Oldest first, one journal after
 * the other; then dedupe_begin(). */
void dedupe_recover(struct dedupe *dedupe, const uint64_t fingerprint[2],
                    struct journal_position position, int64_t received_ms);
void dedupe_begin(struct dedupe *dedupe, struct moment now);

/* Control thread: true when dedupe_grow should be called (any thread may ask; one relaxed load). */
bool dedupe_wants_growth(const struct dedupe *dedupe);
struct dedupe_garbage;
/* Add a generation when the newest is full enough, drop those that are over; *ret_garbage (or NULL)
 * is to be freed after a grace period. window_max_ms: the longest window of any source. */
enum bk_err dedupe_grow(struct dedupe *dedupe, struct moment now, int64_t window_max_ms,
                        struct dedupe_garbage **ret_garbage) BK_MUST_CHECK;
void dedupe_free(struct dedupe_garbage *garbage);

struct dedupe_stats {
    uint64_t entries;
    uint64_t bytes;
    unsigned generations;
    int64_t horizon_ms; /* deliveries older than this may have been forgotten; 0 = nothing was */
};
void dedupe_stats(const struct dedupe *dedupe, struct dedupe_stats *ret_stats);

#endif
