/* event_key.h - order per key: which bucket of order.h an event is in, by its destination's key.
 *
 * Threads     One at a time; the scratch is the thread's own, and is reset.
 * Failure     An event whose key cannot be evaluated has the empty key.
 */
#ifndef BECKET_HUB_EVENT_KEY_H
#define BECKET_HUB_EVENT_KEY_H

#include "hub/routes/fan_out.h"

/* Requires: the event's head, source and type are there. */
uint16_t event_key_bucket(const struct filter *key, struct filter_scratch *scratch,
                          const struct event_view *event);

#endif
