#include "providers/batch.h"

#include "base/assert.h"
#include "base/json_check.h"
#include "providers/json_scan.h"

#include <string.h>

static const char batch_type[] = "application/cloudevents-batch+json";
static const char event_type[] = "application/cloudevents+json";
_Static_assert(sizeof event_type < sizeof batch_type, "it is written in the other's place");

enum { AT_ID, AT_TYPE, AT_SOURCE, AT_VERSION, AT_COUNT };

static void scan(struct slice event, struct json_found found[AT_COUNT])
{
    static const struct json_path paths[AT_COUNT] = {
        {.steps = {{(const uint8_t *)"id", 2}}, .step_count = 1},
        {.steps = {{(const uint8_t *)"type", 4}}, .step_count = 1},
        {.steps = {{(const uint8_t *)"source", 6}}, .step_count = 1},
        {.steps = {{(const uint8_t *)"specversion", 11}}, .step_count = 1},
    };
    json_scan(event, paths, AT_COUNT, found);
}

/* The header's value without what follows a semicolon. */
static struct slice media_type(const struct http_head *head, const struct http_header *header)
{
    struct slice value = http_header_value(head, header);
    return slice_trim(slice_of(value.at, slice_find(value, ';')));
}

bool batch_is(const struct http_head *head)
{
    const struct http_header *header = http_find(head, SLICE("content-type"), NULL);
    return header != NULL && slice_equal_nocase(media_type(head, header), slice_str(batch_type));
}

static bool event_is_good(struct slice event)
{
    struct json_found found[AT_COUNT];
    scan(event, found);
    for (unsigned i = 0; i < AT_COUNT; i++) {
        bool text = found[i].kind == JSON_STRING || found[i].kind == JSON_STRING_ESCAPED;
        if (!text || found[i].text.bytes == 0) {
            return false;
        }
    }
    return true;
}

bool batch_measure(struct slice body, struct batch_size *ret_size)
{
    struct slice event;
    bool good = false;
    size_t blank = 0;
    *ret_size = (struct batch_size){0};
    while (blank < body.bytes && memchr(" \t\r\n", body.at[blank], 4) != NULL) {
        blank++;
    }
    if (blank == body.bytes || body.at[blank] != '[') {
        return false;
    }
    while (json_check_element(&body, &event, &good)) {
        if (event.at[0] != '{' || !event_is_good(event)) {
            return false;
        }
        ret_size->count++;
        ret_size->event_bytes += event.bytes;
        ret_size->largest_bytes =
            event.bytes > ret_size->largest_bytes ? event.bytes : ret_size->largest_bytes;
    }
    return good;
}

bool batch_next(struct slice *rest, struct slice *ret_event)
{
    bool good;
    return json_check_element(rest, ret_event, &good);
}

void batch_identify(struct slice event, struct scheme_identity *ret_identity)
{
    struct json_found found[AT_COUNT];
    scan(event, found);
    *ret_identity = (struct scheme_identity){.type = found[AT_TYPE].text,
                                             .delivery_id = found[AT_ID].text,
                                             .within = found[AT_SOURCE].text};
}

/* Digits of the same count, zeros first: a length may be written so. */
static void write_length(uint8_t *at, size_t digits, size_t length)
{
    for (size_t i = digits; i > 0; i--) {
        at[i - 1] = (uint8_t)('0' + length % 10);
        length /= 10;
    }
    bk_assert(length == 0);
}

/* The shorter type; what followed the longer one moves up, blanks fill the line. */
static void write_type(uint8_t *at, struct slice value)
{
    size_t bytes = sizeof event_type - 1;
    struct slice after = slice_skip(value, slice_find(value, ';'));
    memcpy(at, event_type, bytes);
    if (after.bytes != 0) {
        memcpy(at + bytes, after.at, after.bytes);
    }
    memset(at + bytes + after.bytes, ' ', value.bytes - bytes - after.bytes);
}

void batch_head(const struct http_head *head, size_t event_bytes, uint8_t *out)
{
    memcpy(out, head->at, head->head_bytes);
    for (unsigned i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        struct slice name = http_header_name(head, header);
        if (slice_equal_nocase(name, SLICE("content-length"))) {
            write_length(out + header->value_at, header->value_bytes, event_bytes);
        } else if (slice_equal_nocase(name, SLICE("content-type")) &&
                   slice_equal_nocase(media_type(head, header), slice_str(batch_type))) {
            write_type(out + header->value_at, http_header_value(head, header));
        }
    }
}
