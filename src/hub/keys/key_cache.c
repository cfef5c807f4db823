#include "hub/keys/key_cache.h"

#include "base/assert.h"
#include "base/siphash.h"
#include "ring/ring.h"

#include <stdatomic.h>
#include <stdlib.h>

#define SET_BACK_SECONDS 60

struct key_cache {
    _Atomic(struct key_entry *) at[KEY_CACHE_BUCKETS][KEY_CACHE_WAYS];
    struct key_entry *retired;
};

/* Strangers choose addresses: they must not know which bucket they fall into. */
static uint8_t hash_key[SIPHASH_KEY_BYTES];

enum bk_err key_cache_open(struct key_cache **ret_cache)
{
    *ret_cache = calloc(1, sizeof **ret_cache);
    if (*ret_cache == NULL) {
        return BK_NO_MEMORY;
    }
    ring_entropy(hash_key, sizeof hash_key);
    return BK_OK;
}

void key_cache_close(struct key_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    key_cache_free(cache->retired);
    for (unsigned b = 0; b < KEY_CACHE_BUCKETS; b++) {
        for (unsigned w = 0; w < KEY_CACHE_WAYS; w++) {
            key_cache_free(atomic_load(&cache->at[b][w]));
        }
    }
    free(cache);
}

uint64_t key_cache_hash(const struct key_want *want)
{
    uint8_t text[1 + KEY_URL_BYTES_MAX + 256];
    size_t bytes = 1;
    uint64_t hash[2];
    bk_assert(want->url.bytes <= KEY_URL_BYTES_MAX && want->name.bytes < 256);
    text[0] = (uint8_t)(want->form << 1 | want->allow_private);
    memcpy(text + bytes, want->url.at, want->url.bytes);
    bytes += want->url.bytes;
    if (want->name.bytes != 0) {
        memcpy(text + bytes, want->name.at, want->name.bytes);
        bytes += want->name.bytes;
    }
    siphash128(hash_key, text, bytes, hash);
    return hash[0];
}

static bool is_it(const struct key_entry *entry, const struct key_want *want, uint64_t hash)
{
    return entry != NULL && entry->hash == hash && entry->form == want->form &&
           slice_equal(slice_of(entry->text, entry->url_bytes), want->url) &&
           slice_equal(slice_of(entry->text + entry->url_bytes, entry->name_bytes), want->name);
}

static const struct key_entry *find_entry(const struct key_cache *cache,
                                          const struct key_want *want, uint64_t hash)
{
    for (unsigned w = 0; w < KEY_CACHE_WAYS; w++) {
        const struct key_entry *entry =
            atomic_load_explicit(&cache->at[hash % KEY_CACHE_BUCKETS][w], memory_order_acquire);
        if (is_it(entry, want, hash)) {
            return entry;
        }
    }
    return NULL;
}

const struct key_entry *key_cache_entry(const struct key_cache *cache, const struct key_want *want)
{
    return find_entry(cache, want, key_cache_hash(want));
}

/* A failure counts by itself: the keys may have changed just before it, and all that is signed
 * with a new one waits for the next attempt. */
static int64_t pause_of(const struct key_entry *entry)
{
    unsigned doubled = entry->unchanged < 6 ? entry->unchanged : 6;
    int64_t pause = entry->attempt_failed ? entry->retry_seconds - entry->attempted_seconds
                                          : (int64_t)KEY_RETRY_SECONDS << doubled;
    return pause > KEY_RETRY_SECONDS_MAX ? KEY_RETRY_SECONDS_MAX : pause;
}

/* What happened at a time that has not come yet was noted by a clock that is set back now; seconds
 * may be a matter of two cores. How long ago it was nobody knows: long ago, so that nothing waits
 * for that time. */
static bool was_set_back(int64_t now_seconds, int64_t then_seconds)
{
    return now_seconds < then_seconds - SET_BACK_SECONDS;
}

static int64_t since(int64_t now_seconds, int64_t then_seconds)
{
    return was_set_back(now_seconds, then_seconds) ? INT64_MAX : now_seconds - then_seconds;
}

static bool may_retry(const struct key_entry *entry, int64_t now_seconds)
{
    return now_seconds >= entry->retry_seconds ||
           was_set_back(now_seconds, entry->attempted_seconds);
}

/* The key of a set that is there. */
static enum key_found find_in(const struct key_entry *entry, const struct key_want *want,
                              const struct public_key **ret_key, bool *ret_ask)
{
    bool certificate = want->form == KEY_CERTIFICATE;
    const struct jwk *jwk =
        certificate ? &entry->set->keys[0] : jwk_set_find(entry->set, want->kid, want->algorithm);
    bool may_ask = since(want->now_seconds, entry->attempted_seconds) >= pause_of(entry);
    if (jwk != NULL) {
        *ret_key = &jwk->key;
        *ret_ask =
            may_ask && since(want->now_seconds, entry->fetched_seconds) >= KEY_REFRESH_SECONDS;
        return KEY_FOUND;
    }
    *ret_ask = may_ask; /* its publisher may have a new one */
    return may_ask ? KEY_LATER : entry->attempt_failed ? KEY_UNAVAILABLE : KEY_UNKNOWN;
}

enum key_found key_cache_find(const struct key_cache *cache, const struct key_want *want,
                              const struct public_key **ret_key, bool *ret_ask)
{
    bk_assert(cache != NULL && want != NULL && ret_key != NULL && ret_ask != NULL);
    *ret_ask = false;
    if (want->url.bytes > KEY_URL_BYTES_MAX || want->name.bytes > 255) {
        return KEY_UNKNOWN;
    }
    const struct key_entry *entry = find_entry(cache, want, key_cache_hash(want));
    if (entry == NULL) {
        *ret_ask = true;
        return KEY_LATER;
    }
    switch (entry->state) {
    case KEY_ENTRY_PENDING:
        return KEY_LATER;
    case KEY_ENTRY_FAILED:
        *ret_ask = may_retry(entry, want->now_seconds);
        return *ret_ask ? KEY_LATER : KEY_UNAVAILABLE;
    case KEY_ENTRY_READY:
        break;
    }
    if (want->now_seconds >= entry->expires_seconds) {
        *ret_ask = may_retry(entry, want->now_seconds);
        return *ret_ask ? KEY_LATER : KEY_UNAVAILABLE;
    }
    return find_in(entry, want, ret_key, ret_ask);
}

/* ---- writer */

struct key_entry *key_entry_new(const struct key_want *want, enum key_entry_state state)
{
    struct key_entry *entry = calloc(1, sizeof *entry + want->url.bytes + want->name.bytes);
    if (entry != NULL) {
        entry->hash = key_cache_hash(want);
        entry->state = state;
        entry->form = want->form;
        entry->url_bytes = (uint16_t)want->url.bytes;
        entry->name_bytes = (uint16_t)want->name.bytes;
        memcpy(entry->text, want->url.at, want->url.bytes);
        if (want->name.bytes != 0) {
            memcpy(entry->text + want->url.bytes, want->name.at, want->name.bytes);
        }
    }
    return entry;
}

/* Where it goes: where it was, an empty place, or the oldest failure. */
static _Atomic(struct key_entry *) *place_for(struct key_cache *cache,
                                              const struct key_entry *entry)
{
    struct key_want want = {.form = entry->form,
                            .url = slice_of(entry->text, entry->url_bytes),
                            .name = slice_of(entry->text + entry->url_bytes, entry->name_bytes)};
    _Atomic(struct key_entry *) *bucket = cache->at[entry->hash % KEY_CACHE_BUCKETS], *best = NULL;
    const struct key_entry *victim = NULL;
    for (unsigned w = 0; w < KEY_CACHE_WAYS; w++) {
        if (is_it(atomic_load(&bucket[w]), &want, entry->hash)) {
            return &bucket[w];
        }
    }
    for (unsigned w = 0; w < KEY_CACHE_WAYS; w++) {
        const struct key_entry *there = atomic_load(&bucket[w]);
        if (there == NULL) {
            return &bucket[w];
        }
        if (there->state == KEY_ENTRY_FAILED &&
            (victim == NULL || there->attempted_seconds < victim->attempted_seconds)) {
            victim = there;
            best = &bucket[w];
        }
    }
    return best;
}

enum bk_err key_cache_put(struct key_cache *cache, struct key_entry *entry)
{
    bk_assert(cache != NULL && entry != NULL);
    bk_assert((entry->state == KEY_ENTRY_READY) == (entry->set != NULL));
    _Atomic(struct key_entry *) *place = place_for(cache, entry);
    if (place == NULL) {
        key_cache_free(entry);
        return BK_BUSY;
    }
    struct key_entry *old = atomic_exchange_explicit(place, entry, memory_order_acq_rel);
    if (old != NULL) {
        old->retired_next = cache->retired;
        cache->retired = old;
    }
    return BK_OK;
}

struct key_entry *key_cache_retired(struct key_cache *cache)
{
    struct key_entry *retired = cache->retired;
    cache->retired = NULL;
    return retired;
}

void key_cache_free(struct key_entry *retired)
{
    while (retired != NULL) {
        struct key_entry *next = retired->retired_next;
        free(retired->set);
        free(retired);
        retired = next;
    }
}
