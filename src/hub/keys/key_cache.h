/* key_cache.h - keys that others publish, fetched, for lock-free look-up while requests are
 * verified.
 *
 * Purpose     Certificates of SNS and PayPal, JWK sets of issuers. A core finds what is there; what
 *             is not, it asks the control thread for (keys/key_keeper.h), which fetches and puts
 *             the outcome here, good or bad: a failure is remembered too, so that a flood of
 *             requests that name unknown keys costs one look-up each.
 * Threads     One writer (the control thread); any number of readers.
 * Life time   Entries are immutable. A reader may keep what it found until its turn of the loop
 *             ends; what was replaced is freed after a grace period, as in ingress/source_table.h.
 * Limits      KEY_CACHE_WAYS entries in each of KEY_CACHE_BUCKETS: strangers can name as many
 *             addresses as they like on the pinned hosts, but only failures give way to others.
 */
#ifndef BECKET_HUB_KEY_CACHE_H
#define BECKET_HUB_KEY_CACHE_H

#include "base/err.h"
#include "base/jwk.h"
#include "providers/keys.h"

#define KEY_CACHE_BUCKETS 128U
#define KEY_CACHE_WAYS    8U
#define KEY_WHY_BYTES     160U
/* A set is fetched again for a key it does not have, soon the first time (its publisher may just
 * have changed keys), later when that brought nothing new (somebody makes keys up); and a good one
 * when it is this old. */
#define KEY_RETRY_SECONDS     2
#define KEY_RETRY_SECONDS_MAX 60
#define KEY_REFRESH_SECONDS   3600
/* A set that cannot be refreshed is trusted so long, and no longer. */
#define KEY_TRUST_SECONDS 86400

enum key_entry_state { KEY_ENTRY_PENDING, KEY_ENTRY_READY, KEY_ENTRY_FAILED };

struct key_entry {
    uint64_t hash;
    enum key_entry_state state;
    enum key_form form;
    int64_t fetched_seconds;   /* when what is here was fetched */
    int64_t attempted_seconds; /* the last attempt, good or bad */
    int64_t retry_seconds;     /* after a failure: not before */
    int64_t expires_seconds;   /* of READY: not trusted from then on */
    bool attempt_failed;
    unsigned failures;       /* in a row */
    unsigned unchanged;      /* fetches in a row that brought what was there */
    char why[KEY_WHY_BYTES]; /* after a failure, one line */
    struct jwk_set *set;     /* owned; of a certificate one key without an id */
    struct key_entry *retired_next;
    uint16_t url_bytes, name_bytes;
    char text[]; /* url, name */
};

struct key_cache;

enum bk_err key_cache_open(struct key_cache **ret_cache) BK_MUST_CHECK;
/* Requires: no readers. */
void key_cache_close(struct key_cache *cache);

/* Reader. *ret_ask: the control thread should fetch what is wanted (also when a key was found that
 * is old). */
enum key_found key_cache_find(const struct key_cache *cache, const struct key_want *want,
                              const struct public_key **ret_key, bool *ret_ask);

/* ---- writer */
uint64_t key_cache_hash(const struct key_want *want);
/* NULL = none. */
const struct key_entry *key_cache_entry(const struct key_cache *cache, const struct key_want *want);
/* Takes `entry` (malloc'ed, key_entry_new), in place of the one there was. BK_BUSY: there is no
 * room, `entry` was freed. */
enum bk_err key_cache_put(struct key_cache *cache, struct key_entry *entry) BK_MUST_CHECK;
/* Without set and times. NULL = out of memory. */
struct key_entry *key_entry_new(const struct key_want *want, enum key_entry_state state);

/* Everything replaced since the last call; free it once all readers have passed a turn. */
struct key_entry *key_cache_retired(struct key_cache *cache);
void key_cache_free(struct key_entry *retired);

#endif
