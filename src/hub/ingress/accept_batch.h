/* accept_batch.h - several genuine events in one request (providers/batch.h).
 *
 * Purpose     As many records in one frame of the journal: all of them are durable before the 200,
 *             a crash leaves all or none. Each is claimed by its own delivery id, so of a batch
 *             that comes again only what is new is stored.
 * Limits      What one frame holds, and BATCH_EVENTS_MAX; beyond that 413.
 * Threads     One core. Takes memory while the batch is taken apart.
 */
#ifndef BECKET_HUB_ACCEPT_BATCH_H
#define BECKET_HUB_ACCEPT_BATCH_H

#include "hub/ingress/intake.h"

enum http_outcome accept_batch(struct ingress *ingress, struct http_exchange *exchange,
                               const struct intake *intake);

#endif
