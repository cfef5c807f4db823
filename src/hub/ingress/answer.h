/* answer.h - what senders of webhooks are told.
 *
 * Purpose     Each answer is counted at its source (`number`; 0 = it is for none) in the same
 *             place where it is made.
 * Threads     One core.
 */
#ifndef BECKET_HUB_ANSWER_H
#define BECKET_HUB_ANSWER_H

#include "hub/ingress/intake.h"

/* An error, now; `headers` as http_answer_error() wants them. */
void answer_refuse(struct ingress *ingress, struct http_exchange *exchange, uint64_t number,
                   unsigned status, const char *code, const char *message, struct slice headers);
/* 503: nothing was stored. */
void answer_busy(struct ingress *ingress, struct http_exchange *exchange, uint64_t number);
/* 405; `methods` has a bit for each enum http_method that the address takes. */
void answer_method(struct ingress *ingress, struct http_exchange *exchange, uint64_t number,
                   unsigned methods);
/* The request waits unread until the journal has room. */
enum http_outcome answer_later(struct http_exchange *exchange);

/* The 200 of an event, to be sent when it is durable (acknowledge.h): what the spelling of its
 * address or its provider wants, else our {"id"}. */
void answer_prepare(const struct intake *intake, struct http_exchange *exchange,
                    struct journal_position position, int64_t received_ns, bool duplicate);

#endif
