/* event_id.h - the public name of an event: "evt_" and 26 characters of Crockford's base32.
 *
 * Purpose     128 bits: 48 bit received time in ms | 16 bit journal | 64 bit sequence. Sorts by
 *             time and leads straight to the record; no index is needed.
 */
#ifndef BECKET_HUB_EVENT_ID_H
#define BECKET_HUB_EVENT_ID_H

#include "base/slice.h"
#include "journal/journal.h"

#define EVENT_ID_BYTES 30U

/* Writes EVENT_ID_BYTES characters, no NUL. */
void event_id_format(struct journal_position position, int64_t received_ns,
                     char ret_text[EVENT_ID_BYTES]);
/* False when it is not an id. Letters in any case; ret_received_ms may be NULL. */
bool event_id_parse(struct slice text, struct journal_position *ret_position,
                    int64_t *ret_received_ms);

#endif
