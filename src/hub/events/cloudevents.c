#include "hub/events/cloudevents.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/json_check.h"
#include "base/json_escape.h"
#include "base/percent.h"
#include "base/time.h"

#define SOURCES "/event-sources/"

/* Memory that may run out: then `full`, and nothing more is written. */
struct writer {
    uint8_t *at;
    size_t bytes, room;
    bool full;
};

static bool has_room(struct writer *w, size_t bytes)
{
    w->full |= bytes > w->room - w->bytes;
    return !w->full;
}

static void put(struct writer *w, const void *at, size_t bytes)
{
    if (has_room(w, bytes) && bytes != 0) {
        memcpy(w->at + w->bytes, at, bytes);
        w->bytes += bytes;
    }
}

static void put_text(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static struct slice type_of(const struct cloudevent *event)
{
    return event->type.bytes != 0 ? event->type : SLICE(CLOUDEVENTS_TYPE);
}

/* All but printable ASCII as %XX, and blank, " and %, too (HTTP binding 3.1.3.2). */
static void put_header(struct writer *w, const char *name, struct slice value)
{
    put_text(w, name);
    if (has_room(w, 3 * value.bytes)) {
        w->bytes += percent_encode(value, percent_visible, w->at + w->bytes);
    }
    put_text(w, "\r\n");
}

size_t cloudevents_headers(const struct cloudevent *event, uint8_t *out, size_t room)
{
    bk_assert(event != NULL && out != NULL);
    struct writer w = {.at = out, .room = room};
    char time[25];
    time_format_rfc3339(event->received_ns, time);
    put_text(&w, "ce-specversion: 1.0\r\n");
    put_header(&w, "ce-id: ", event->id);
    put_header(&w, "ce-source: " SOURCES, event->source);
    put_header(&w, "ce-type: ", type_of(event));
    put_text(&w, "ce-time: ");
    put_text(&w, time);
    put_text(&w, "\r\n");
    return w.full ? 0 : w.bytes;
}

size_t cloudevents_headers_max(const struct cloudevent *event)
{
    return 128 + sizeof SOURCES +
           3 * (event->id.bytes + event->source.bytes + type_of(event).bytes);
}

static void put_member(struct writer *w, const char *begin, struct slice text)
{
    put_text(w, begin);
    if (has_room(w, JSON_ESCAPED_MAX * text.bytes)) {
        w->bytes += json_escape(text, w->at + w->bytes);
    }
    put_text(w, "\",");
}

static void put_data(struct writer *w, const struct cloudevent *event)
{
    if (json_check(event->body)) {
        put_text(w, "\"data\":");
        put(w, event->body.at, event->body.bytes);
        return;
    }
    size_t bytes = BASE64_ENCODED(event->body.bytes);
    put_text(w, "\"data_base64\":\"");
    if (has_room(w, bytes)) {
        w->bytes += base64_encode(event->body.at, event->body.bytes, BASE64_STANDARD,
                                  (char *)w->at + w->bytes);
    }
    put_text(w, "\"");
}

size_t cloudevents_structured(const struct cloudevent *event, uint8_t *out, size_t room)
{
    bk_assert(event != NULL && out != NULL);
    struct writer w = {.at = out, .room = room};
    char time[25];
    time_format_rfc3339(event->received_ns, time);
    put_text(&w, "{\"specversion\":\"1.0\",");
    put_member(&w, "\"id\":\"", event->id);
    put_member(&w, "\"source\":\"" SOURCES, event->source);
    put_member(&w, "\"type\":\"", type_of(event));
    put_text(&w, "\"time\":\"");
    put_text(&w, time);
    put_text(&w, "\",");
    if (event->content_type.bytes != 0) {
        put_member(&w, "\"datacontenttype\":\"", event->content_type);
    }
    put_data(&w, event);
    put_text(&w, "}");
    return w.full ? 0 : w.bytes;
}

size_t cloudevents_structured_max(const struct cloudevent *event)
{
    return 256 +
           JSON_ESCAPED_MAX * (event->id.bytes + event->source.bytes + type_of(event).bytes +
                               event->content_type.bytes) +
           BASE64_ENCODED(event->body.bytes);
}
