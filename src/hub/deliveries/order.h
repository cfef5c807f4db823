/* order.h - order per key: what all cores and the control thread know of a destination's keys. Data
 * only; atomics, any thread.
 *
 * Purpose     A key is told by its bucket, a hash: two keys in one bucket are kept in one order,
 *             which is stronger than asked. An event is on one of two ways:
 *                 its lane     from the journal; `oldest_ns` tells, per core and bucket, when the
 *                              oldest one that a core owes was received
 *                 the rows     its key's head failed, so it waits in the store behind the head
 *                              (deliveries/dispatch_store.c); `mail` counts those on their way
 *                              there, `rows` tells whether the store has any. What is replayed is
 *                              put there, too; where one order is for all, into bucket 0
 *             Nobody starts an event from its lane while an older one of its bucket is owed or
 *             anything of its bucket is on the rows' way; then it is sent there as well, in order.
 * Order       Who sends one counts it in `mail` before its lane settles it; the control thread sets
 *             `rows` before it counts the letter out. Read `oldest_ns`, then `mail`, then `rows`.
 *             Who starts one from its lane counts it in `flying`, then looks at `mail` and `rows`
 *             once more; who makes one that waits the head sets `rows`, then looks at `flying`.
 *             So letters of a bucket are sent in the order of their events' age, but those of
 *             several cores overtake each other on the way: each has a number, from `sent`, and the
 *             control thread takes them in the order of these (deliveries/dispatch_letters.c).
 * Changes     When an apply names another key, or none, what is under way or in the rows keeps the
 *             order in which it was put there; all else, also what waits in the journal, goes by
 *             the new one. Between the two there is no order.
 * Memory      One for each destination with ordering.key, resident as far as there are cores.
 */
#ifndef BECKET_HUB_ORDER_H
#define BECKET_HUB_ORDER_H

#include "base/limits.h"
#include "base/slice.h"

#include <stdatomic.h>
#include <stdbool.h>

#define ORDER_BUCKETS 1024U
#define ORDER_NO_KEY  UINT16_MAX

struct order_keys {
    _Atomic uint32_t mail[ORDER_BUCKETS];
    _Atomic uint32_t sent[ORDER_BUCKETS]; /* letters numbered so far */
    uint32_t taken[ORDER_BUCKETS];        /* the control thread's: so many of them came, in order */
    uint32_t out[ORDER_BUCKETS];          /* the control thread's: rows that are with the cores */
    _Atomic bool rows[ORDER_BUCKETS];
    _Atomic uint32_t flying[ORDER_BUCKETS];              /* from lanes, under way */
    _Atomic int64_t oldest_ns[CORES_MAX][ORDER_BUCKETS]; /* 0 = none */
};

/* The same for ever: rows in the store carry it. FNV-1a, and its upper bits. */
static inline uint16_t order_bucket(struct slice key)
{
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (size_t i = 0; i < key.bytes; i++) {
        hash = (hash ^ key.at[i]) * 0x100000001b3ULL;
    }
    return (uint16_t)((hash ^ hash >> 32) * 0x9e3779b97f4a7c15ULL >> 54);
}

/* A waiting row stands among the retries, where no clock gets to: by bucket, then by age. */
#define ORDER_WAITING_MS (INT64_C(1) << 62)

static inline int64_t order_waiting_ms(uint16_t bucket, int64_t event_ns)
{
    int64_t us = event_ns > 0 ? event_ns / 1000 & ((INT64_C(1) << 52) - 1) : 0;
    return ORDER_WAITING_MS | (int64_t)bucket << 52 | us;
}

static inline bool order_is_waiting(int64_t due_ms)
{
    return due_ms >= ORDER_WAITING_MS && due_ms != INT64_MAX;
}

#endif
