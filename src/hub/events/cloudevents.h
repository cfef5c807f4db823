/* cloudevents.h - an event written as a CloudEvent, for destinations with such a spec.format.
 *
 * Purpose     Two pure writers into memory of the caller's: header lines for binary mode, where the
 *             body goes as it is, and a whole JSON body for structured mode.
 * Attributes  id is becket's event id, so that it stays the same over all attempts; source is
 *             "/event-sources/" and the source's name; type is what happened in the provider's own
 *             words, or CLOUDEVENTS_TYPE where it says nothing, for there must be one.
 * Threads     Pure; any. No allocation.
 * Source      CloudEvents 1.0, HTTP protocol binding and JSON format.
 */
#ifndef BECKET_HUB_CLOUDEVENTS_H
#define BECKET_HUB_CLOUDEVENTS_H

#include "base/slice.h"

/* In small letters: the SDK for JavaScript knows no others. */
#define CLOUDEVENTS_STRUCTURED "application/cloudevents+json; charset=utf-8"
#define CLOUDEVENTS_TYPE       "event"

struct cloudevent {
    struct slice id;
    struct slice source;       /* its name */
    struct slice type;         /* as the provider names it; may be empty */
    struct slice content_type; /* of the body; empty = none was given */
    int64_t received_ns;
    struct slice body;
};

/* "ce-…: …\r\n" lines; Content-Type and body are the caller's as they were. Bytes written, 0 =
 * there is not enough room: cloudevents_headers_max() always is. */
size_t cloudevents_headers(const struct cloudevent *event, uint8_t *out, size_t room);
size_t cloudevents_headers_max(const struct cloudevent *event);
/* The body of structured mode: data as JSON where the body is JSON, else in base 64. Bytes written,
 * 0 = not enough room: cloudevents_structured_max() always is. */
size_t cloudevents_structured(const struct cloudevent *event, uint8_t *out, size_t room);
size_t cloudevents_structured_max(const struct cloudevent *event);

#endif
