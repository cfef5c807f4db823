/* request.h - an event as the request that a destination receives. Pure.
 *
 * Purpose     Built once, when a delivery gets its memory; timestamp and signature are filled in
 *             when it is sent, at places that do not move. Head and body lie behind each other, so
 *             that one send takes both.
 * Headers     Host, Content-Length, webhook-id, webhook-timestamp, webhook-signature,
 *             becket-source, becket-type, becket-attempt, becket-hops, traceparent; those of a
 *             CloudEvent (events/cloudevents.h); the destination's own lines; then the provider's
 *             as it sent them, without: hop-by-hop ones (also those that its Connection names),
 *             Host, Authorization, Cookie, Content-Length, Expect, names that we or the destination
 *             send, values that the journal blanked ("***"), and beside a CloudEvent ce-… and what
 *             is said of a body that is not sent.
 * Injection   The provider's lines were taken by the parser, which lets no control byte into a
 *             value; names of sources are checked when applied; an event's type may hold anything
 *             and is escaped.
 * Loops       becket-hops is one more than the event had when it came. Who comes with
 *             REQUEST_HOPS_MAX is refused (ingress/ingress.c), so routes that lead an event back to
 *             where it came from end.
 * Signature   Standard Webhooks: HMAC-SHA-256 over "id.timestamp.body", one for each secret.
 * Threads     Pure; any.
 */
#ifndef BECKET_HUB_REQUEST_H
#define BECKET_HUB_REQUEST_H

#include "http/message.h"
#include "hub/events/event_id.h"
#include "hub/routes/destination.h"

struct request {
    const struct destination *destination;
    const struct http_head *head; /* as received */
    struct slice body;
    struct slice source; /* name */
    struct slice type;   /* may be empty */
    struct journal_position event;
    int64_t received_ns;
    uint32_t attempt; /* 1, 2, 3 … */
};

/* Where things are in the built bytes. */
struct request_layout {
    uint32_t bytes; /* head and body */
    uint32_t head_bytes;
    uint32_t timestamp_at;
    uint32_t signature_at; /* 0 = not signed */
    uint32_t id_at;
    unsigned secret_count;
};

#define REQUEST_TIMESTAMP_BYTES 10U
#define REQUEST_SIGNATURE_BYTES 47U /* "v1," and 44 of base64 */

#define REQUEST_HOPS_MAX 16U

/* How often a request was a delivery of becket's already, at most REQUEST_HOPS_MAX; what is no
 * number counts as that. */
unsigned request_hops(const struct http_head *head);
/* Of that header's value; empty = 0. */
unsigned request_hops_of(struct slice value);
/* No request is longer than this. */
size_t request_bytes_max(const struct request *request);
/* Requires: room for request_bytes_max(). */
void request_build(const struct request *request, uint8_t *at, struct request_layout *ret_layout);
/* Fill in time and signatures; may be done again for the same bytes. Requires: the destination has
 * as many secrets as it had when it was built. */
void request_sign(uint8_t *at, const struct request_layout *layout,
                  const struct destination *destination, int64_t now_seconds);

#endif
