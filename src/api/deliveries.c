/* deliveries.c - what became of events, and sending them again. */
#include "api/listing.h"

#include "base/log.h"
#include "base/time.h"
#include "hub/deliveries/deliveries.h"
#include "hub/events/event_id.h"
#include "hub/resources/audit.h"

#include <stdio.h>
#include <stdlib.h>

/* The number of the destination that a parameter names; 0 when it is not given. False when the call
 * was answered. */
static bool find_destination(struct api_call *call, const char *name, uint64_t *ret_number)
{
    struct slice text = api_value(call, name);
    *ret_number = 0;
    if (text.bytes == 0) {
        return true;
    }
    enum bk_err err =
        api_is_elsewhere(call, RESOURCE_DESTINATION, text)
            ? BK_NOT_FOUND
            : hub_number(call->api->hub, RESOURCE_DESTINATION, api_canvas(call), text, ret_number);
    if (err == BK_NOT_FOUND) {
        api_invalid(call, name, "there is no Destination %.*s in canvas %.*s", (int)text.bytes,
                    (const char *)text.at, (int)api_canvas(call).bytes,
                    (const char *)api_canvas(call).at);
    } else if (err != BK_OK) {
        api_fail(call, err, "destination");
    }
    return err == BK_OK;
}

static bool take_reader(struct api_call *call, struct reader **ret_reader)
{
    enum bk_err err = call->api->dispatch ? api_reader(call->api, ret_reader) : BK_BUSY;
    if (err != BK_OK) {
        api_fail(call, err, "deliveries");
    }
    return err == BK_OK;
}

/* ---- GET /api/v1/deliveries */

struct delivery_listing {
    struct api_listing listing;
    struct delivery_walk walk;
};

static void free_work(struct api_work *work)
{
    free(work);
}

static enum bk_err next_delivery(struct api_call *call, struct api_listing *listing, size_t *budget)
{
    struct delivery_listing *deliveries = (struct delivery_listing *)(void *)listing;
    struct delivery_item item;
    enum bk_err err =
        delivery_walk_next(&deliveries->walk, call->api->hub, call->api->reader, budget, &item);
    if (err != BK_OK) {
        return err;
    }
    api_listing_row(call, listing);
    if (item.state == DELIVERY_PENDING && item.next_due_ms != 0) {
        item.next_due_ms = dispatch_wall_ms(call->api->dispatch, item.next_due_ms);
    }
    delivery_json(call->api->hub, call->api->routes, &item, &call->response->body);
    return BK_OK;
}

static bool deliveries_cursor(struct api_call *call, struct api_listing *listing, bool more)
{
    struct delivery_listing *deliveries = (struct delivery_listing *)(void *)listing;
    if (deliveries->walk.damaged != 0) {
        log_event(LOG_WARN, "journal_damaged", LOG_I("places", deliveries->walk.damaged));
    }
    if (more) {
        delivery_walk_cursor(&deliveries->walk, &call->response->body);
    }
    return more;
}

/* Of destinations in the token's canvas, or the one asked for. False when the call was answered. */
static bool read_filter(struct api_call *call, struct delivery_filter *ret_filter)
{
    *ret_filter = (struct delivery_filter){.since_ns = api_time(call, "since", INT64_MIN),
                                           .until_ns = api_time(call, "until", INT64_MAX)};
    slice_keep(call->token.canvas[0] != '\0' ? slice_str(call->token.canvas)
                                             : api_value(call, "canvas"),
               ret_filter->canvas, sizeof ret_filter->canvas);
    return find_destination(call, "destination", &ret_filter->destination);
}

enum api_step api_deliveries_list(struct api_call *call)
{
    struct reader *reader;
    struct delivery_filter filter;
    struct slice state = api_value(call, "state"), event = api_value(call, "event");
    struct journal_position position;
    if (!take_reader(call, &reader) || !read_filter(call, &filter)) {
        return API_DONE;
    }
    if (state.bytes != 0 && !delivery_state_find(state, &filter.state)) {
        return api_invalid(call, "state", "must be pending, delivered, failed or dead");
    }
    if (event.bytes != 0) {
        int64_t received_ms;
        if (!event_id_parse(event, &position, &received_ms)) {
            return api_invalid(call, "event", "%.*s is not an event's id: evt_ and 26 characters",
                               (int)(event.bytes < 60 ? event.bytes : 60), (const char *)event.at);
        }
        filter.event = journal_position_pack(position);
    }
    struct delivery_listing *listing = calloc(1, sizeof *listing);
    if (listing == NULL) {
        return api_fail(call, BK_NO_MEMORY, "deliveries");
    }
    listing->listing = (struct api_listing){
        .work = {.free_work = free_work}, .next = next_delivery, .cursor = deliveries_cursor};
    api_listing_begin(call, &listing->listing);
    return api_listing_run(
        call, &listing->listing,
        delivery_walk_begin(&listing->walk, reader, &filter, api_value(call, "cursor")));
}

/* ---- POST /api/v1/events/{id}/replay */

/* `what`: an event's id, or a source's name, or "" for a query over all. */
static enum api_step answer_replay(struct api_call *call, const struct replay *replay,
                                   struct slice what)
{
    if (!replay->dry_run) {
        api_note(call, "replayed", "Event", what);
    }
    struct buf *json = &call->response->body;
    buf_printf(json, "{\"events\":%llu,\"deliveries\":%llu,\"dryRun\":%s",
               (unsigned long long)replay->events, (unsigned long long)replay->deliveries,
               replay->dry_run ? "true" : "false");
    for (size_t i = 0; i < replay->target_count; i++) {
        const struct destination *destination =
            route_table_destination(call->api->routes, replay->targets[i]);
        if (destination) {
            buf_add_str(json, i == 0 ? ",\"destinations\":[" : ",");
            json_add_string(json, destination->name);
        }
    }
    buf_add_str(json, replay->target_count > 0 ? "]" : "");
    if (replay->gone > 0) {
        buf_printf(json, ",\"gone\":%llu", (unsigned long long)replay->gone);
    }
    if (replay->letters && replay->left == 0) {
        buf_add_str(json, ",\"next\":\"");
        delivery_walk_cursor(&replay->walk, json);
        buf_add_byte(json, '"');
    }
    buf_add_byte(json, '}');
    return api_json(call, replay->dry_run ? 200 : 202);
}

static enum api_step answer_unwanted(struct api_call *call, const struct replay *replay)
{
    if (replay->why[0] != '\0') {
        return api_error(call, 409, "conflict",
                         "no route wants this event, a filter fails on it: %s; name a "
                         "destination: `to` (--to)",
                         replay->why);
    }
    return api_error(call, 409, "conflict", "%s; name a destination: `to` (--to)",
                     replay->routed ? "no route wants this event, by its type or their filters"
                                    : "no route leads anywhere from this event's source");
}

enum api_step api_events_replay(struct api_call *call)
{
    struct reader *reader;
    struct journal_record record;
    struct replay *replay = arena_take(&call->arena, sizeof *replay);
    if (replay == NULL) {
        return api_fail(call, BK_NO_MEMORY, "replay");
    }
    replay->dry_run = api_flag(call, "dryRun");
    if (!take_reader(call, &reader) || !find_destination(call, "to", &replay->to)) {
        return API_DONE;
    }
    enum bk_err err = event_get(reader, call->segment, &record);
    if (err == BK_OK && !api_may_see_event(call, &record)) {
        err = BK_NOT_FOUND;
    }
    if (err == BK_INVALID) {
        return api_error(call, 404, "not_found",
                         "%.*s is not an event's id: evt_ and 26 characters",
                         (int)(call->segment.bytes < 60 ? call->segment.bytes : 60),
                         (const char *)call->segment.at);
    }
    if (err == BK_NOT_FOUND) {
        return api_error(call, 404, "not_found",
                         "no such event; it may be older than what is kept");
    }
    if (err != BK_OK) {
        return api_fail(call, err, "reading the journal");
    }
    if (record.entry.type == JOURNAL_DUPLICATE) {
        return api_error(call, 409, "conflict",
                         "a duplicate has no body of its own: replay the event it repeats");
    }
    if ((record.entry.flags & JOURNAL_CUT) != 0) {
        return api_error(call, 409, "conflict", "only the beginning of its body was kept");
    }
    err = replay_event(call->api->dispatch, replay, &record);
    enum api_step step = err == BK_OK          ? answer_replay(call, replay, call->segment)
                         : err == BK_NOT_FOUND ? answer_unwanted(call, replay)
                                               : api_fail(call, err, "replay");
    free(replay->targets);
    return step;
}

/* ---- POST /api/v1/replay */

struct replaying {
    struct api_work work;
    struct arena arena; /* the filter's texts */
    struct replay replay;
};

static void free_replaying(struct api_work *work)
{
    struct replaying *replaying = (struct replaying *)(void *)work;
    arena_fini(&replaying->arena);
    free(replaying);
}

static enum api_step replay_go_on(struct api_call *call)
{
    struct replaying *replaying = (struct replaying *)(void *)call->response->work;
    enum bk_err err =
        replay_step(&replaying->replay, call->api->dispatch, call->api->reader, API_STEP_BYTES);
    if (err == BK_AGAIN) {
        return API_AGAIN;
    }
    return err == BK_OK
               ? answer_replay(call, &replaying->replay, replaying->replay.scan.filter.source)
               : api_fail(call, err, "replay");
}

static struct slice keep(struct replaying *replaying, struct slice text)
{
    const char *copy = arena_copy(&replaying->arena, text.at, text.bytes);
    return copy ? slice_of(copy, text.bytes) : SLICE_EMPTY;
}

/* A whole number without a sign; absent = 0. False when the call was answered. */
static bool number_of(struct api_call *call, const char *name, uint32_t max, uint32_t *ret_number)
{
    struct slice text = api_value(call, name);
    uint64_t number = 0;
    bool good = text.bytes <= 10;
    for (size_t i = 0; good && i < text.bytes; i++) {
        good = text.at[i] >= '0' && text.at[i] <= '9';
        number = number * 10 + (uint64_t)(text.at[i] - '0');
    }
    if (!good || number > max) {
        api_invalid(call, name, "must be a whole number up to %u", max);
        return false;
    }
    *ret_number = (uint32_t)number;
    return true;
}

/* Parameters of the one kind of query that say nothing to the other. */
static bool goes_together(struct api_call *call, bool letters)
{
    static const char *const names[2][5] = {{"destination", "limit", "cursor", NULL},
                                            {"source", "type", NULL}};
    for (const char *const *name = names[letters]; *name; name++) {
        if (api_value(call, *name).bytes > 0) {
            api_invalid(call, *name, letters ? "does not go with `state`" : "goes with `state`");
            return false;
        }
    }
    if (!letters && api_value(call, "since").bytes == 0) {
        api_invalid(call, "since", "is missing: from when on to replay");
        return false;
    }
    return true;
}

static enum bk_err begin_letters(struct api_call *call, struct replaying *replaying,
                                 struct reader *reader, const struct delivery_filter *filter)
{
    struct replay *replay = &replaying->replay;
    struct delivery_filter dead = *filter;
    /* Never what is given up while it runs. */
    dead.until_ns = api_time(call, "until", call->request->wall_ns);
    replay->left = api_value(call, "limit").bytes > 0 ? api_limit(call) : UINT64_MAX;
    replay->sources_canvas = keep(replaying, slice_str(call->token.canvas));
    return replay_letters(replay, call->api->dispatch, reader, &dead, api_value(call, "cursor"));
}

static enum bk_err begin_events(struct api_call *call, struct replaying *replaying,
                                struct reader *reader)
{
    struct event_filter filter = {.canvas = keep(replaying, api_value(call, "canvas")),
                                  .source = keep(replaying, api_value(call, "source")),
                                  .type = keep(replaying, api_value(call, "type")),
                                  .since_ns = api_time(call, "since", INT64_MIN),
                                  /* Never what arrives while it runs. */
                                  .until_ns = api_time(call, "until", call->request->wall_ns)};
    return replay_begin(&replaying->replay, call->api->dispatch, call->api->catalog, reader,
                        &filter);
}

enum api_step api_replay(struct api_call *call)
{
    struct reader *reader;
    struct delivery_filter filter;
    uint64_t to;
    uint32_t rate, delay_seconds;
    bool letters = api_value(call, "state").bytes > 0;
    if (!goes_together(call, letters) || !take_reader(call, &reader) ||
        !find_destination(call, "to", &to) || !read_filter(call, &filter) ||
        !number_of(call, "rate", 1000000, &rate) ||
        !number_of(call, "delaySeconds", 31536000, &delay_seconds)) {
        return API_DONE;
    }
    struct replaying *replaying = calloc(1, sizeof *replaying);
    if (replaying == NULL) {
        return api_fail(call, BK_NO_MEMORY, "replay");
    }
    arena_init(&replaying->arena, 1U << 16);
    replaying->work = (struct api_work){.resume = replay_go_on, .free_work = free_replaying};
    call->response->work = &replaying->work; /* freed with the response from here on */
    struct replay *replay = &replaying->replay;
    replay->to = to;
    replay->per_second = rate;
    replay->dry_run = api_flag(call, "dryRun");
    enum bk_err err = letters ? begin_letters(call, replaying, reader, &filter)
                              : begin_events(call, replaying, reader);
    if (replaying->arena.overflow) {
        return api_error(call, 400, "invalid", "the query is too long");
    }
    if (err == BK_INVALID && letters) {
        return api_invalid(call, "cursor", "is not one that this replay gave");
    }
    if (err != BK_OK) {
        return api_fail(call, err, "replay");
    }
    replay->first_due_ms += delay_seconds * 1000LL;
    return replay_go_on(call);
}
