/* key_wait.h - requests that wait for a key with which they are verified.
 *
 * Purpose     The cache of keys (hub/keys/key_cache.h) is asked without locks. What is not there is
 *             asked for by one letter, however many want it; the requests are parked, and looked
 *             at again when keys changed (ingress_keys_changed()) or their time is over. Then:
 *             rejected, with 503.
 * Limits      INGRESS_KEY_WAITS requests wait, for INGRESS_KEYS_ASKED keys; who comes beyond that
 *             is rejected.
 * Threads     One core.
 */
#ifndef BECKET_HUB_KEY_WAIT_H
#define BECKET_HUB_KEY_WAIT_H

#include "hub/ingress/intake.h"

/* key_finder's find(); context = struct ingress. */
enum key_found key_wait_find(void *context, const struct key_want *want,
                             const struct public_key **ret_key);

struct ingress_key_wait *key_wait_look(struct ingress *ingress,
                                       const struct http_exchange *exchange,
                                       const struct intake *intake);
/* The wait of a request that came before; NULL = it comes for the first time. */
static inline struct ingress_key_wait *key_wait_of(struct ingress *ingress,
                                                   const struct http_exchange *exchange,
                                                   const struct intake *intake)
{
    return ingress->key_wait_count == 0 ? NULL : key_wait_look(ingress, exchange, intake);
}

/* Nothing changed since it was looked at: key_wait_later(). */
bool key_wait_goes_on(const struct ingress *ingress, const struct ingress_key_wait *wait);
enum http_outcome key_wait_later(struct http_exchange *exchange);

/* SCHEME_KEY_WANTED: the request is parked until its key is there, or its time is over. wait: its
 * own, or NULL. */
enum http_outcome key_wait_begin(struct ingress *ingress, struct http_exchange *exchange,
                                 const struct intake *intake, struct ingress_key_wait *wait);
/* Any other verdict. wait may be NULL. */
static inline void key_wait_end(struct ingress *ingress, struct ingress_key_wait *wait)
{
    if (wait != NULL) {
        wait->conn = NULL;
        ingress->key_wait_count--;
    }
}

/* Who waits for a key is asked again when that wait is over, also where nothing else happens. For
 * ingress_next_ns(). */
uint64_t key_wait_earliest_ns(const struct ingress *ingress);
static inline uint64_t key_wait_next_ns(const struct ingress *ingress)
{
    return ingress->key_wait_count == 0 ? UINT64_MAX : key_wait_earliest_ns(ingress);
}

#endif
