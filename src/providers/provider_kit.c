/* provider_kit.c - what several providers' steps need: requests, JSON, memory. */
#include "base/assert.h"
#include "base/percent.h"
#include "providers/provider.h"

#include <stdarg.h>
#include <stdio.h>
#include <yyjson.h>

/* ---- memory */

static struct provider_note *note_named(const struct provider_run *run, const char *name)
{
    for (unsigned i = 0; i < run->memory.count; i++) {
        if (slice_equal(run->memory.notes[i].name, slice_str(name))) {
            return (struct provider_note *)(uintptr_t)&run->memory.notes[i];
        }
    }
    return NULL;
}

void provider_note(struct provider_run *run, const char *name, struct slice value)
{
    struct provider_note *note = note_named(run, name);
    char *copy = arena_copy(run->arena, value.at, value.bytes);
    if (!copy) {
        return; /* arena->overflow fails the run */
    }
    if (!note) {
        bk_assert(run->memory.count < PROVIDER_MEMORY_MAX);
        note = &run->memory.notes[run->memory.count++];
        note->name = slice_str(arena_string(run->arena, name));
    }
    note->value = slice_of(copy, value.bytes);
}

void provider_forget(struct provider_run *run, const char *name)
{
    struct provider_note *note = note_named(run, name);
    if (note) {
        *note = run->memory.notes[--run->memory.count];
    }
}

struct slice provider_recall(const struct provider_run *run, const char *name)
{
    const struct provider_note *note = note_named(run, name);
    return note ? note->value : SLICE_EMPTY;
}

#define POSTED_IN "postedIn"

struct slice provider_post_channel(struct provider_run *run)
{
    provider_note(run, POSTED_IN, run->facts->channel);
    return run->facts->channel;
}

struct slice provider_posted_channel(const struct provider_run *run)
{
    struct slice posted = provider_recall(run, POSTED_IN);
    return posted.bytes > 0 ? posted : run->facts->channel;
}

/* ---- requests */

/* "." and ".." mean a step in a path, and are escaped as no encoder does by itself. */
struct slice provider_segment(struct provider_run *run, struct slice text)
{
    if (slice_equal(text, SLICE(".")) || slice_equal(text, SLICE(".."))) {
        return text.bytes == 1 ? SLICE("%2E") : SLICE("%2E%2E");
    }
    char *at = arena_take(run->arena, text.bytes * 3 + 1);
    return at ? slice_of(at, percent_encode(text, percent_unreserved, at)) : SLICE_EMPTY;
}

__attribute__((format(printf, 2, 0))) static struct slice format_into(struct provider_run *run,
                                                                      const char *format,
                                                                      va_list args)
{
    va_list again;
    va_copy(again, args);
    int bytes = vsnprintf(NULL, 0, format, again);
    va_end(again);
    bk_assert(bytes >= 0);
    char *text = arena_take(run->arena, (size_t)bytes + 1);
    if (!text) {
        return SLICE_EMPTY;
    }
    vsnprintf(text, (size_t)bytes + 1, format, args);
    return slice_of(text, (size_t)bytes);
}

void provider_ask(struct provider_run *run, enum http_method method, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    run->request.method = method;
    run->request.target = format_into(run, format, args);
    va_end(args);
}

void provider_body(struct provider_run *run, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    run->request.body = format_into(run, format, args);
    run->request.content_type = "application/json";
    va_end(args);
}

static const char *from_buf(struct provider_run *run, struct buf *buf)
{
    char *text = buf->overflow ? NULL : arena_copy(run->arena, buf->at, buf->bytes);
    if (!text) {
        run->arena->overflow = true;
    }
    buf_fini(buf);
    return text ? text : "\"\"";
}

const char *provider_json(struct provider_run *run, struct slice text)
{
    struct buf buf;
    buf_init(&buf, 1U << 20);
    json_add_string(&buf, text);
    return from_buf(run, &buf);
}

const char *provider_json_events(struct provider_run *run)
{
    struct slice events[PROVIDER_EVENTS_MAX];
    unsigned count = provider_events(run, events);
    struct buf buf;
    buf_init(&buf, 1U << 16);
    buf_add_byte(&buf, '[');
    for (unsigned i = 0; i < count; i++) {
        if (i > 0) {
            buf_add_byte(&buf, ',');
        }
        json_add_string(&buf, events[i]);
    }
    buf_add_byte(&buf, ']');
    return from_buf(run, &buf);
}

/* ---- answers */

yyjson_mut_val *provider_get(yyjson_mut_val *value, const char *path)
{
    struct slice rest = slice_str(path);
    while (value && rest.bytes > 0) {
        size_t end = slice_find(rest, '/');
        value = yyjson_mut_is_obj(value) ? yyjson_mut_obj_getn(value, (const char *)rest.at, end)
                                         : NULL;
        rest = slice_skip(rest, end + 1);
    }
    return value;
}

struct slice provider_text(struct provider_run *run, yyjson_mut_val *value, const char *path)
{
    yyjson_mut_val *found = provider_get(value, path);
    if (yyjson_mut_is_str(found)) {
        return json_text(found);
    }
    if (yyjson_mut_is_uint(found)) {
        char *text =
            arena_printf(run->arena, "%llu", (unsigned long long)yyjson_mut_get_uint(found));
        return slice_str(text);
    }
    if (yyjson_mut_is_sint(found)) {
        return slice_str(arena_printf(run->arena, "%lld", (long long)yyjson_mut_get_sint(found)));
    }
    return SLICE_EMPTY;
}

/* The link with rel="next", or as RFC 8288 also allows it rel=next: what stands between < and >.
 */
static struct slice next_link(struct slice links)
{
    static const char *const forms[] = {"rel=\"next\"", "rel=next"};
    while (links.bytes > 0) {
        size_t begin = slice_find(links, '<') + 1, end = slice_find(links, '>');
        struct slice rest = slice_skip(links, end);
        struct slice parameters = slice_of(rest.at, slice_find(rest, '<'));
        for (size_t i = 0; i < bk_array_length(forms) && begin <= end; i++) {
            if (memmem(parameters.at, parameters.bytes, forms[i], strlen(forms[i]))) {
                return slice_of(links.at + begin, end - begin);
            }
        }
        links = slice_skip(rest, parameters.bytes);
    }
    return SLICE_EMPTY;
}

/* 0 = it is none. */
static unsigned number_in(struct slice digits)
{
    unsigned number = 0;
    for (size_t i = 0; i < digits.bytes; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9' || i == 9) {
            return 0;
        }
        number = number * 10 + (unsigned)(digits.at[i] - '0');
    }
    return number;
}

/* 0 = there is none. */
static unsigned page_of(struct slice url)
{
    for (struct slice rest = slice_skip(url, slice_find(url, '?') + 1); rest.bytes > 0;
         rest = slice_skip(rest, slice_find(rest, '&') + 1)) {
        struct slice pair = slice_of(rest.at, slice_find(rest, '&')), name = SLICE("page=");
        if (slice_starts(pair, name)) {
            return number_in(slice_skip(pair, name.bytes));
        }
    }
    return 0;
}

unsigned provider_next_page(const struct provider_reply *reply, unsigned page)
{
    const struct http_header *header = http_find(reply->head, SLICE("x-next-page"), NULL);
    const struct http_header *link = http_find(reply->head, SLICE("link"), NULL);
    unsigned next = 0;
    if (header) {
        next = number_in(http_header_value(reply->head, header));
    } else if (link) {
        struct slice url = next_link(http_header_value(reply->head, link));
        next = page_of(url);
        next = next == 0 && url.bytes > 0 ? page + 1 : next;
    }
    return next > page ? next : 0;
}

unsigned provider_events(const struct provider_run *run,
                         struct slice ret_events[PROVIDER_EVENTS_MAX])
{
    unsigned count = 0;
    for (unsigned i = 0; i < run->facts->event_count && count < PROVIDER_EVENTS_MAX; i++) {
        ret_events[count++] = run->facts->events[i];
    }
    if (count > 0) {
        return count;
    }
    const char *const *usual = run->provider->usual_events;
    while (usual && *usual && count < PROVIDER_EVENTS_MAX) {
        ret_events[count++] = slice_str(*usual++);
    }
    return count;
}

bool provider_same_events(const struct provider_run *run, yyjson_mut_val *list)
{
    struct slice events[PROVIDER_EVENTS_MAX];
    unsigned count = provider_events(run, events);
    if (!yyjson_mut_is_arr(list) || yyjson_mut_arr_size(list) != count) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        bool found = false;
        yyjson_mut_val *item;
        yyjson_mut_arr_iter iter;
        yyjson_mut_arr_iter_init(list, &iter);
        while (!found && (item = yyjson_mut_arr_iter_next(&iter))) {
            found = yyjson_mut_is_str(item) && slice_equal(json_text(item), events[i]);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

/* The last segment(s) of the path of https://host/owner. */
static struct slice url_path(struct slice url)
{
    struct slice separator = SLICE("://");
    const uint8_t *found =
        url.bytes > 0 ? memmem(url.at, url.bytes, separator.at, separator.bytes) : NULL;
    struct slice rest = found ? slice_skip(url, (size_t)(found - url.at) + 3) : url;
    rest = slice_skip(rest, slice_find(rest, '/') + 1);
    while (rest.bytes > 0 && rest.at[rest.bytes - 1] == '/') {
        rest.bytes--;
    }
    return rest;
}

bool provider_owner_and_name(struct provider_run *run, struct slice *ret_path)
{
    struct slice name = run->facts->resource;
    size_t slash = slice_find(name, '/');
    struct slice owner = slash < name.bytes ? slice_of(name.at, slash) : url_path(run->facts->url);
    struct slice base = slash < name.bytes ? slice_skip(name, slash + 1) : name;
    if (owner.bytes == 0 || base.bytes == 0 || slice_find(base, '/') < base.bytes ||
        slice_find(owner, '/') < owner.bytes) {
        return false;
    }
    struct slice left = provider_segment(run, owner), right = provider_segment(run, base);
    *ret_path =
        slice_str(arena_printf(run->arena, "%.*s/%.*s", (int)left.bytes, (const char *)left.at,
                               (int)right.bytes, (const char *)right.at));
    return true;
}
