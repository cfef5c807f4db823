#include "hub/events/cloudevents.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/json.h"
#include "base/json_check.h"
#include "base/time.h"

#define SOURCES "/event-sources/"

/* Memory that may run out: then `full`, and nothing more is written. */
struct writer {
    uint8_t *at;
    size_t bytes, room;
    bool full;
};

static void put(struct writer *w, const void *at, size_t bytes)
{
    w->full |= bytes > w->room - w->bytes;
    if (!w->full && bytes != 0) {
        memcpy(w->at + w->bytes, at, bytes);
        w->bytes += bytes;
    }
}

static void put_text(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static const char digits[] = "0123456789ABCDEF";

/* Header values: printable ASCII but blank, " and %, all else as %XX (HTTP binding 3.1.3.2). */
static void put_value(struct writer *w, struct slice text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.at[i];
        char escaped[3] = {'%', digits[c >> 4], digits[c & 15]};
        bool plain = c > ' ' && c < 127 && c != '"' && c != '%';
        put(w, plain ? (const char *)&c : escaped, plain ? 1 : 3);
    }
}

static struct slice type_of(const struct cloudevent *event)
{
    return event->type.bytes != 0 ? event->type : SLICE(CLOUDEVENTS_TYPE);
}

static void put_header(struct writer *w, const char *name, struct slice value)
{
    put_text(w, name);
    put_value(w, value);
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
    put_header(&w, "ce-time: ", slice_str(time));
    return w.full ? 0 : w.bytes;
}

size_t cloudevents_headers_max(const struct cloudevent *event)
{
    return 128 + sizeof SOURCES + sizeof CLOUDEVENTS_TYPE +
           3 * (event->id.bytes + event->source.bytes + event->type.bytes);
}

/* The inside of a JSON string; bytes that are no UTF-8 become U+FFFD. */
static void put_escaped(struct writer *w, struct slice text)
{
    while (text.bytes > 0) {
        uint8_t c = text.at[0];
        size_t bytes = json_utf8_bytes(text.at, text.bytes);
        if (bytes == 0) {
            put_text(w, "\\ufffd");
        } else if (c < ' ' || c == '"' || c == '\\' || c == 0x7f) {
            char escaped[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
            put(w, escaped, sizeof escaped);
        } else {
            put(w, text.at, bytes);
        }
        text = slice_skip(text, bytes > 0 ? bytes : 1);
    }
}

static void put_member(struct writer *w, const char *begin, struct slice text)
{
    put_text(w, begin);
    put_escaped(w, text);
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
    w->full |= bytes > w->room - w->bytes;
    if (!w->full) {
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
    put_member(&w, "\"time\":\"", slice_str(time));
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
           6 * (event->id.bytes + event->source.bytes + event->type.bytes +
                event->content_type.bytes) +
           BASE64_ENCODED(event->body.bytes);
}
