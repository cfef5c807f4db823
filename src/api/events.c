#include "api/listing.h"

#include "base/log.h"
#include "hub/events/events.h"

#include <stdlib.h>

/* The control thread's only reader; listings hold no pointers into it between their steps. */
enum bk_err api_reader(struct api *api, struct reader **ret_reader)
{
    enum bk_err err = BK_OK;
    if (api->catalog == NULL) {
        return BK_BUSY;
    }
    if (api->reader == NULL) {
        err = reader_open(api->catalog, &api->reader);
    }
    *ret_reader = api->reader;
    return err;
}

/* ---- list */

struct event_listing {
    struct api_listing listing;
    struct arena arena; /* the filter's texts */
    struct event_scan scan;
    bool forward;
};

static void free_listing(struct api_work *work)
{
    struct event_listing *events = (struct event_listing *)(void *)work;
    arena_fini(&events->arena);
    free(events);
}

static enum bk_err next_event(struct api_call *call, struct api_listing *listing, size_t *budget)
{
    struct event_listing *events = (struct event_listing *)(void *)listing;
    struct journal_record record;
    enum bk_err err =
        event_scan_next(&events->scan, call->api->hub, call->api->reader, budget, &record);
    if (err == BK_OK) {
        api_listing_row(call, listing);
        event_json(call->api->hub, &record, &call->response->body);
    }
    return err;
}

/* A forward list always has a next: what comes later is there. */
static bool events_cursor(struct api_call *call, struct api_listing *listing, bool more)
{
    struct event_listing *events = (struct event_listing *)(void *)listing;
    if (events->scan.damaged != 0) {
        log_event(LOG_WARN, "journal_damaged", LOG_I("places", events->scan.damaged),
                  LOG_Z("first", reader_problem(call->api->reader)));
    }
    if (!more && (!events->forward || events->scan.passed_until)) {
        return false;
    }
    event_scan_cursor(&events->scan, &call->response->body);
    return true;
}

static struct slice keep(struct event_listing *listing, struct slice text)
{
    const char *copy = arena_copy(&listing->arena, text.at, text.bytes);
    return copy ? slice_of(copy, text.bytes) : SLICE_EMPTY;
}

static unsigned states_of(struct slice text)
{
    enum journal_record_type type;
    return event_state_find(text, &type) ? EVENT_STATE(type) : 0;
}

enum api_step api_events_list(struct api_call *call)
{
    struct reader *reader;
    enum bk_err err = api_reader(call->api, &reader);
    struct event_listing *listing = err == BK_OK ? calloc(1, sizeof *listing) : NULL;
    if (listing == NULL) {
        return api_fail(call, err == BK_OK ? BK_NO_MEMORY : err, "events");
    }
    arena_init(&listing->arena, 1U << 16);
    listing->listing = (struct api_listing){
        .work = {.free_work = free_listing}, .next = next_event, .cursor = events_cursor};
    listing->forward = slice_equal(api_value(call, "order"), SLICE("asc"));
    struct event_filter filter = {.canvas = keep(listing, api_value(call, "canvas")),
                                  .source = keep(listing, api_value(call, "source")),
                                  .type = keep(listing, api_value(call, "type")),
                                  .delivery = keep(listing, api_value(call, "delivery")),
                                  .states = states_of(api_value(call, "state")),
                                  .since_ns = api_time(call, "since", INT64_MIN),
                                  .until_ns = api_time(call, "until", INT64_MAX)};
    api_listing_begin(call, &listing->listing);
    if (listing->arena.overflow) {
        return api_error(call, 400, "invalid", "the query is too long");
    }
    err = event_scan_begin(&listing->scan, call->api->catalog, reader, &filter, listing->forward,
                           api_value(call, "cursor"));
    return api_listing_run(call, &listing->listing, err);
}

/* ---- one */

bool api_may_see_event(struct api_call *call, const struct journal_record *record)
{
    struct hub_source_name source;
    return call->token.canvas[0] == '\0' ||
           (hub_source_name(call->api->hub, record->entry.source, &source) == BK_OK &&
            api_may_see(call, slice_str(source.canvas)));
}

/* False when the call was answered. */
static bool find_event(struct api_call *call, struct journal_record *ret_record)
{
    struct reader *reader;
    enum bk_err err = api_reader(call->api, &reader);
    if (err == BK_OK) {
        err = event_get(reader, call->segment, ret_record);
    }
    if (err == BK_OK && !api_may_see_event(call, ret_record)) {
        err = BK_NOT_FOUND;
    }
    if (err == BK_INVALID) {
        api_error(call, 404, "not_found", "%.*s is not an event's id: evt_ and 26 characters",
                  (int)(call->segment.bytes < 60 ? call->segment.bytes : 60),
                  (const char *)call->segment.at);
    } else if (err == BK_NOT_FOUND) {
        api_error(call, 404, "not_found", "no such event; it may be older than what is kept");
    } else if (err != BK_OK) {
        api_fail(call, err, "reading the journal");
    }
    return err == BK_OK;
}

enum api_step api_events_get(struct api_call *call)
{
    struct journal_record record;
    if (!find_event(call, &record)) {
        return API_DONE;
    }
    event_json(call->api->hub, &record, &call->response->body);
    return api_json(call, 200);
}

/* Whatever was sent, a browser must not run it. */
enum api_step api_events_body(struct api_call *call)
{
    struct journal_record record;
    if (!find_event(call, &record)) {
        return API_DONE;
    }
    buf_add_slice(&call->response->body, event_body(&record));
    if (call->response->body.overflow) {
        return api_fail(call, BK_NO_MEMORY, "body");
    }
    api_add_header(call->response, "Content-Disposition", "attachment; filename=\"%.*s.body\"",
                   (int)call->segment.bytes, (const char *)call->segment.at);
    api_add_header(call->response, "Content-Security-Policy", "default-src 'none'; sandbox");
    call->response->status = 200;
    call->response->content_type = "application/octet-stream";
    return API_DONE;
}
