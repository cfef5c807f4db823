/* acknowledge.h - exchanges that wait for the disk, and their answers.
 *
 * Purpose     An exchange whose answer is prepared (answer.h) waits for its record, or for the
 *             record of the event that it repeats, here or on another core. ingress_committed()
 *             lets it go: with the 200, or, where the flush failed, with 503 and its claim given
 *             back.
 * Patience    ingress_turn(): a disk that stands still is waited for no longer than
 *             INGRESS_PATIENCE_NS; what such an exchange held is kept until the flush is over.
 * Exchange    While it waits, handler_number is the journal's sequence, handler_pointer its dedupe
 *             slot (with handler_many a struct claims), handler_source the source's number,
 *             handler_buffer what the journal writes from.
 * Threads     One core; foreign waits travel between two by mail.
 */
#ifndef BECKET_HUB_ACKNOWLEDGE_H
#define BECKET_HUB_ACKNOWLEDGE_H

#include "hub/ingress/ingress.h"

/* slot: the claim, or NULL. */
static inline void acknowledge_when_durable(struct ingress *ingress, struct http_exchange *exchange,
                                            uint64_t sequence, uint64_t number,
                                            struct dedupe_slot *slot)
{
    exchange->handler_number = sequence;
    exchange->handler_source = number;
    exchange->handler_pointer = slot;
    ingress->appended = sequence > ingress->appended ? sequence : ingress->appended;
    list_push_back(&ingress->waiting, &exchange->wait);
}

/* The claims of a batch, from malloc(); freed here. */
struct claims {
    bool incomplete; /* it has to come again: some of it could not be taken now */
    unsigned count;
    struct dedupe_slot *slots[];
};
/* sequence: its last event's. */
void acknowledge_batch(struct ingress *ingress, struct http_exchange *exchange, uint64_t sequence,
                       uint64_t number, struct claims *claims);

/* Wait for what another core is writing. Taken before anything is stored; NULL = no memory. */
struct foreign_wait *acknowledge_foreign_take(void);
void acknowledge_when_foreign(struct ingress *ingress, struct http_exchange *exchange,
                              struct journal_position position, uint64_t number,
                              struct foreign_wait *wait);

/* A disk stands still, here or on another core: nothing new is taken, its sender may as well know
 * at once. */
static inline bool acknowledge_never(const struct ingress *ingress)
{
    return atomic_load_explicit(&ingress->stalled_count, memory_order_relaxed) != 0;
}

/* When to look next, for ingress_next_ns(). */
uint64_t acknowledge_next_ns(const struct ingress *ingress);

void acknowledge_init(struct ingress *ingress);
void acknowledge_fini(struct ingress *ingress);

#endif
