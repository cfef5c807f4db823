/* batch.h - the events of a request that carries several: CloudEvents' batched content mode.
 *
 * Purpose     Take a batch apart and write each event as the request that would have brought it
 *             alone, in structured mode: the same head, with another type and length.
 * Truth       A batch is good as a whole or not at all: an array of objects, valid JSON, each with
 *             the four attributes that CloudEvents 1.0 demands.
 * Threads     Pure; any. No allocation.
 * Source      CloudEvents 1.0: HTTP protocol binding 3.3, JSON batch format.
 */
#ifndef BECKET_PROVIDERS_BATCH_H
#define BECKET_PROVIDERS_BATCH_H

#include "http/message.h"
#include "providers/scheme.h"

/* Is this what its Content-Type says? */
bool batch_is(const struct http_head *head);

struct batch_size {
    unsigned count;       /* of events */
    size_t event_bytes;   /* of all events together */
    size_t largest_bytes; /* of one */
};
/* False: not a good batch. An empty one is good. */
bool batch_measure(struct slice body, struct batch_size *ret_size);

/* One event after the other: *rest is the body at first. False: no more. Of a good batch only. */
bool batch_next(struct slice *rest, struct slice *ret_event);
/* What the event says about itself; slices point into it. */
void batch_identify(struct slice event, struct scheme_identity *ret_identity);

/* The batch's head becomes the head of one event: same length, same headers at the same places. */
void batch_head(const struct http_head *head, size_t event_bytes, uint8_t *out);

#endif
