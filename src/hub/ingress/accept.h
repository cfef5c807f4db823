/* accept.h - a genuine event: claimed by its delivery id, chosen by the source's filters, appended.
 *
 * Purpose     New ones become a record of the journal and are answered when that is durable
 *             (acknowledge.h); duplicates get the first one's id, once that one is safe. An event
 *             that no entry of spec.events takes is kept as rejected, and answered alike.
 * Threads     One core.
 */
#ifndef BECKET_HUB_ACCEPT_H
#define BECKET_HUB_ACCEPT_H

#include "hub/ingress/intake.h"

/* dedupes: intake->fingerprint was set. HTTP_LATER: the journal, or the table, is full. */
enum http_outcome accept_event(struct ingress *ingress, struct http_exchange *exchange,
                               const struct intake *intake, bool dedupes);

/* 0 = the source wants this event; else an enum event_reason. */
uint16_t accept_reason(struct ingress *ingress, const struct intake *intake);
/* After a claim: the table may want to grow. */
void accept_ask_for_growth(struct ingress *ingress);

#endif
