/* link_feed.h - from the cores to the control thread: which events are of sources that a link
 * refers to.
 *
 * Purpose     Entries are made of such events, and of no others. A core looks at each event when it
 *             became durable: one bit, by the number of its source. Where it is set the event's
 *             sequence number goes into a ring; how far it has looked is told as well. So nothing
 *             else is read back from the journal.
 * Full        A ring that is full says so, and the control thread reads the journal once, from
 *             where it is to the end.
 * Bits        LINKED_SOURCES of them, by number modulo: more sources than that share bits, which
 *             costs a look and no more. A bit stays set until the next start.
 * Threads     struct linked_sources: set by the control thread, read by the cores.
 *             struct link_feed: written by its core, taken from by the control thread.
 */
#ifndef BECKET_HUB_LINK_FEED_H
#define BECKET_HUB_LINK_FEED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LINKED_SOURCES    (1U << 20)
#define LINK_FEED_ENTRIES 1024U /* power of two */

struct linked_sources {
    _Atomic uint64_t bits[LINKED_SOURCES / 64];
};

static inline void linked_set(struct linked_sources *sources, uint64_t source)
{
    uint64_t at = source % LINKED_SOURCES;
    atomic_fetch_or_explicit(&sources->bits[at / 64], 1ULL << at % 64, memory_order_release);
}

static inline bool linked_has(const struct linked_sources *sources, uint64_t source)
{
    uint64_t at = source % LINKED_SOURCES;
    return atomic_load_explicit(&sources->bits[at / 64], memory_order_acquire) >> at % 64 & 1;
}

struct link_feed {
    const struct linked_sources *sources;
    _Atomic uint64_t looked; /* the last accepted event that was looked at */
    _Atomic uint64_t tail;   /* the core's */
    _Atomic uint64_t head;   /* the control thread's */
    atomic_bool full;        /* an event was not noted */
    uint64_t entries[LINK_FEED_ENTRIES];
};

/* The core: an accepted event is durable. */
static inline void link_feed_look(struct link_feed *feed, uint64_t sequence, uint64_t source)
{
    if (linked_has(feed->sources, source)) {
        uint64_t tail = atomic_load_explicit(&feed->tail, memory_order_relaxed);
        if (tail - atomic_load_explicit(&feed->head, memory_order_acquire) < LINK_FEED_ENTRIES) {
            feed->entries[tail % LINK_FEED_ENTRIES] = sequence;
            atomic_store_explicit(&feed->tail, tail + 1, memory_order_release);
        } else {
            atomic_store_explicit(&feed->full, true, memory_order_release);
        }
    }
    atomic_store_explicit(&feed->looked, sequence, memory_order_release);
}

/* The control thread: the entry at this place from the oldest on; false = there is none. Take
 * `looked` before: all up to there are among the entries, or the feed is full. */
static inline bool link_feed_peek(const struct link_feed *feed, uint64_t place,
                                  uint64_t *ret_sequence)
{
    uint64_t head = atomic_load_explicit(&feed->head, memory_order_relaxed);
    if (head + place == atomic_load_explicit(&feed->tail, memory_order_acquire)) {
        return false;
    }
    *ret_sequence = feed->entries[(head + place) % LINK_FEED_ENTRIES];
    return true;
}

static inline void link_feed_drop(struct link_feed *feed, uint64_t count)
{
    atomic_fetch_add_explicit(&feed->head, count, memory_order_release);
}

#endif
