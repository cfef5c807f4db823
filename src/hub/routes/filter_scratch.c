/* filter_scratch.c - the memory of a core's runs, and the event that runs look at */
#include "base/assert.h"
#include "base/json_escape.h"
#include "base/percent.h"
#include "hub/routes/filter_run.h"

#include <stdio.h>
#include <sys/mman.h>
#include <yyjson.h>

#define TEXT_MEMORY_BYTES (1U << 20)
/* Beyond it, what a large body took is given back to the system. */
#define KEEP_BYTES (4U << 20)

enum bk_err filter_scratch_open(size_t bytes, struct filter_scratch **ret_scratch)
{
    size_t fixed = 4096 + FILTER_REGEX_MEMORY_BYTES + TEXT_MEMORY_BYTES;
    bk_assert(bytes >= fixed + (1U << 20));
    /* Pages cost memory when they are touched, so the room for a large body is free. */
    uint8_t *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        return BK_NO_MEMORY;
    }
    struct filter_scratch *scratch = (struct filter_scratch *)(void *)at;
    scratch->bytes = bytes;
    scratch->regex = filter_regex_open(at + 4096);
    scratch->text = at + 4096 + FILTER_REGEX_MEMORY_BYTES;
    scratch->json = at + fixed;
    scratch->json_bytes = bytes - fixed;
    bk_assert(scratch->regex);
    *ret_scratch = scratch;
    return BK_OK;
}

void filter_scratch_close(struct filter_scratch *scratch)
{
    if (scratch) {
        munmap(scratch, scratch->bytes);
    }
}

void *filter_scratch_take(struct filter_scratch *scratch, size_t bytes)
{
    size_t rounded = (bytes + 15U) / 16U * 16U;
    if (bytes > TEXT_MEMORY_BYTES || rounded > TEXT_MEMORY_BYTES - scratch->text_used) {
        return NULL;
    }
    void *at = scratch->text + scratch->text_used;
    scratch->text_used += rounded;
    return at;
}

void filter_event_init(struct filter_event *event, struct filter_scratch *scratch,
                       const struct http_head *head, struct slice body, struct slice type,
                       struct slice source)
{
    if (scratch->json_used > KEEP_BYTES) {
        madvise(scratch->json, scratch->json_bytes, MADV_DONTNEED);
    }
    scratch->json_used = 0;
    scratch->text_used = 0;
    event->head = head;
    event->body = body;
    event->type = type;
    event->source = source;
    event->why[0] = '\0';
    event->scratch = scratch;
    event->steps_left = FILTER_EVENT_STEPS_MAX;
    event->json_state = JSON_UNREAD;
    event->json_root = NULL;
}

/* ---- the body */

static bool say_too_large(struct filter_event *event)
{
    snprintf(event->why, sizeof event->why, "the body is too large for expressions");
    return false;
}

static bool is_form(const struct filter_event *event)
{
    const struct http_header *type =
        event->head ? http_find(event->head, SLICE("content-type"), NULL) : NULL;
    struct slice value = type ? http_header_value(event->head, type) : SLICE_EMPTY;
    return slice_equal_nocase(slice_trim(slice_of(value.at, slice_find(value, ';'))),
                              SLICE("application/x-www-form-urlencoded"));
}

/* A name or a value as a JSON string, decoded at `room` before. */
static uint8_t *put_string(uint8_t *at, struct slice text, uint8_t *room)
{
    size_t bytes = percent_decode_form(text, room);
    *at++ = '"';
    at += json_escape(slice_of(room, bytes), at);
    *at++ = '"';
    return at;
}

/* A form as the JSON object of its fields, in front of the room for the tree. */
static bool form_json(struct filter_event *event, struct slice *ret_text, size_t *ret_used)
{
    struct filter_scratch *scratch = event->scratch;
    struct slice rest = event->body;
    /* Of a byte at most six, of a field its marks, too; what is decoded lies behind it. */
    size_t room = (rest.bytes * 7 + 64) / 16 * 16;
    if (room + rest.bytes >= scratch->json_bytes) {
        return say_too_large(event);
    }
    uint8_t *at = scratch->json, *decoded = scratch->json + room;
    *at++ = '{';
    while (rest.bytes > 0) {
        struct slice pair = slice_of(rest.at, slice_find(rest, '&'));
        struct slice name = slice_of(pair.at, slice_find(pair, '='));
        rest = slice_skip(rest, pair.bytes + (pair.bytes < rest.bytes));
        if (pair.bytes == 0) {
            continue;
        }
        if (at > scratch->json + 1) {
            *at++ = ',';
        }
        at = put_string(at, name, decoded);
        *at++ = ':';
        at = put_string(at, slice_skip(pair, name.bytes + (name.bytes < pair.bytes)), decoded);
    }
    *at++ = '}';
    *ret_text = slice_of(scratch->json, (size_t)(at - scratch->json));
    *ret_used = room;
    return true;
}

/* Its JSON: all of it; or what a form of the one field `payload` has, or a form's fields, which is
 * put in front of the room for the tree; *ret_used bytes of that are taken. False: `why` says what
 * is wrong. */
static bool find_json(struct filter_event *event, struct slice *ret_text, size_t *ret_used)
{
    static const struct slice name = SLICE("payload=");
    struct filter_scratch *scratch = event->scratch;
    *ret_text = event->body;
    *ret_used = 0;
    if (event->body.bytes == 0) {
        snprintf(event->why, sizeof event->why, "the body is empty, not JSON");
        return false;
    }
    struct slice value = slice_skip(event->body, name.bytes);
    size_t room = (value.bytes + 15U) / 16U * 16U;
    if (!slice_starts(event->body, name) || slice_find(value, '&') < value.bytes) {
        return !is_form(event) || form_json(event, ret_text, ret_used);
    }
    if (room >= scratch->json_bytes) {
        return say_too_large(event);
    }
    *ret_text = slice_of(scratch->json, percent_decode_form(value, scratch->json));
    *ret_used = room;
    return true;
}

static void read_body(struct filter_event *event)
{
    struct filter_scratch *scratch = event->scratch;
    struct slice text;
    size_t used;
    yyjson_alc pool;
    yyjson_read_err error;
    event->json_state = JSON_WRONG;
    if (!find_json(event, &text, &used)) {
        return;
    }
    yyjson_alc_pool_init(&pool, scratch->json + used, scratch->json_bytes - used);
    scratch->json_used = used + event->body.bytes * 4; /* the text's copy, and values */
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)text.at, text.bytes,
                                       YYJSON_READ_BIGNUM_AS_RAW, &pool, &error);
    if (!doc) {
        bool large = error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION;
        snprintf(event->why, sizeof event->why,
                 large ? "the body is too large for expressions"
                       : "the body is not JSON: %s, byte %zu",
                 error.msg, error.pos);
        return;
    }
    event->json_state = JSON_READ;
    event->json_root = yyjson_doc_get_root(doc);
}

bool filter_push_body(struct filter_run *run, struct filter_value *to)
{
    struct filter_event *event = run->event;
    if (event->json_state == JSON_WRONG) {
        return filter_fail(run, "the body is not JSON");
    }
    if (event->json_state == JSON_UNREAD) {
        read_body(event);
        if (event->json_state == JSON_WRONG) {
            return false;
        }
    }
    *to = filter_of_json((yyjson_val *)(uintptr_t)event->json_root);
    return true;
}
