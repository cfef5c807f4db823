/* outbox.h - entries that go to a Destination, each as an event of our own and a delivery of it.
 *
 * Purpose     From there on it is like any other delivery: the destination's signature, schedule,
 *             limits, pause and dead letters, `becket deliveries`, `becket replay`. The event's
 *             type is entry.created, its body the entry as the API shows it, its delivery id the
 *             entry's id, its source OUTBOX_SOURCE of the entry's canvas, which no EventSource can
 *             be called. It carries the hops of the event that the entry was made of
 *             (deliveries/request.h).
 * Once        A row of the outbox is put with its entry. The first core appends the event, whose
 *             target names the destination; when it is durable one transaction puts the delivery
 *             and takes the row away. kill -9 in between leaves the row: the next start finds the
 *             event in the journal, by entry and destination, and goes on with it. So there is one
 *             event and one delivery for each row, under one webhook-id.
 * Store       "v/" number, destination: the rows. "V/" canvas: the number of the source.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_OUTBOX_H
#define BECKET_HUB_OUTBOX_H

#include "hub/deliveries/dispatch.h"
#include "hub/reactor.h"

#define OUTBOX_SOURCE  "becket.entries"
#define OUTBOX_TYPE    "entry.created"
#define OUTBOX_PARCELS 32U /* events under way to the journal */

struct outbox;
struct catalog;

struct outbox_config {
    struct hub *hub;
    struct dispatch *dispatch;
    const struct route_table *routes;
    struct catalog *catalog;
    struct ring *control;
    struct ring *ring; /* the reactor's */
    struct reactor *reactor;
};

enum bk_err outbox_open(const struct outbox_config *config,
                        struct outbox **ret_outbox) BK_MUST_CHECK;
/* Parcels that are still out must not come back any more. */
void outbox_close(struct outbox *outbox);
/* Once per turn; when (wall clock) it wants to be called again. */
int64_t outbox_run(struct outbox *outbox, int64_t now_ns);

#endif
