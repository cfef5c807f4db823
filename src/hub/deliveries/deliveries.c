#include "hub/deliveries/deliveries.h"

#include "base/array.h"
#include "base/assert.h"
#include "base/base64.h"
#include "base/json.h"
#include "base/time.h"
#include "http/client.h"
#include "hub/deliveries/dispatch_private.h"
#include "hub/deliveries/flow.h"
#include "hub/events/event_id.h"
#include "store/keys.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const state_names[] = {
    [DELIVERY_PENDING] = "pending",
    [DELIVERY_DELIVERED] = "delivered",
    [DELIVERY_FAILED] = "failed",
    [DELIVERY_DEAD] = "dead",
};

bool delivery_state_find(struct slice text, enum delivery_state *ret_state)
{
    for (unsigned i = DELIVERY_PENDING; i <= DELIVERY_DEAD; i++) {
        if (slice_equal(text, slice_str(state_names[i]))) {
            *ret_state = (enum delivery_state)i;
            return true;
        }
    }
    return false;
}

static bool passes(const struct delivery_filter *filter, const struct delivery_item *item)
{
    bool state = filter->state == DELIVERY_ANY || filter->state == item->state;
    bool destination = filter->destination == 0 || filter->destination == item->destination;
    bool event = filter->event == 0 || filter->event == journal_position_pack(item->event);
    bool time = item->ended_ns == 0 ||
                (item->ended_ns >= filter->since_ns && item->ended_ns < filter->until_ns);
    return state && destination && event && time;
}

/* ---- cursors: 'r' and the last row's key, or 'a', the number of journals, and each one's id and
 * next sequence; in base64url. Opaque to users. */

#define CURSOR_JOURNAL   10U
#define CURSOR_BYTES_MAX (2U + READER_JOURNALS_MAX * CURSOR_JOURNAL)

void delivery_walk_cursor(const struct delivery_walk *walk, struct buf *text)
{
    uint8_t raw[CURSOR_BYTES_MAX];
    char encoded[BASE64_ENCODED(CURSOR_BYTES_MAX)];
    size_t bytes = 1;
    raw[0] = walk->rows ? 'r' : 'a';
    if (walk->rows) {
        memcpy(raw + 1, walk->at, walk->at_bytes);
        bytes += walk->at_bytes;
    } else {
        raw[bytes++] = (uint8_t)walk->merge.count;
        for (unsigned i = 0; i < walk->merge.count; i++, bytes += CURSOR_JOURNAL) {
            raw[bytes] = (uint8_t)(walk->merge.walks[i].journal >> 8);
            raw[bytes + 1] = (uint8_t)walk->merge.walks[i].journal;
            key_put_u64(raw + bytes + 2, walk->merge.walks[i].next);
        }
    }
    buf_add(text, encoded, base64_encode(raw, bytes, BASE64_URL, encoded));
}

static bool attempts_from_cursor(struct reader_merge *merge, const uint8_t *raw, size_t bytes)
{
    if (bytes < 2 || raw[1] > READER_JOURNALS_MAX || bytes != 2 + raw[1] * CURSOR_JOURNAL) {
        return false;
    }
    memset(merge, 0, sizeof *merge);
    merge->backward = true;
    merge->count = raw[1];
    for (unsigned i = 0; i < merge->count; i++) {
        const uint8_t *at = raw + 2 + i * CURSOR_JOURNAL;
        uint64_t next = key_get_u64(at + 2);
        reader_walk_begin(&merge->walks[i], (uint16_t)(at[0] << 8 | at[1]), true, next);
        merge->ended[i] = next == 0;
    }
    return true;
}

enum bk_err delivery_walk_begin(struct delivery_walk *walk, struct reader *reader,
                                const struct delivery_filter *filter, struct slice cursor)
{
    uint8_t raw[BASE64_DECODED_MAX(BASE64_ENCODED(CURSOR_BYTES_MAX))];
    size_t bytes = 0;
    memset(walk, 0, sizeof *walk);
    walk->filter = *filter;
    walk->rows = filter->state == DELIVERY_PENDING || filter->state == DELIVERY_DEAD;
    if (cursor.bytes == 0) {
        return walk->rows ? BK_OK
                          : reader_merge_begin(reader, &walk->merge, true, filter->until_ns);
    }
    if (cursor.bytes > BASE64_ENCODED(CURSOR_BYTES_MAX) ||
        !base64_decode(cursor, BASE64_URL, raw, sizeof raw, &bytes) || bytes < 1 ||
        raw[0] != (walk->rows ? 'r' : 'a')) {
        return BK_INVALID;
    }
    if (!walk->rows) {
        return attempts_from_cursor(&walk->merge, raw, bytes) ? BK_OK : BK_INVALID;
    }
    char prefix = filter->state == DELIVERY_PENDING ? 'd' : 'x';
    if (bytes < 3 || bytes - 1 > sizeof walk->at || raw[1] != (uint8_t)prefix || raw[2] != '/') {
        return BK_INVALID;
    }
    walk->at_bytes = bytes - 1;
    memcpy(walk->at, raw + 1, walk->at_bytes);
    return BK_OK;
}

/* ---- rows of the store */

#define ROWS_LOOKED_AT 4096U

struct row_search {
    struct delivery_walk *walk;
    struct delivery_item *item;
    char *why;
    unsigned looked_at;
    bool found;
};

static bool row_item(struct slice key, struct slice value, struct delivery_item *ret_item,
                     char why[ATTEMPT_WHY_BYTES_MAX])
{
    struct retry_row retry;
    struct dead_row dead;
    if (retry_row_decode(key, value, &retry)) {
        *ret_item = (struct delivery_item){
            .state = DELIVERY_PENDING,
            .destination = retry.destination,
            .source = retry.source,
            .event = journal_position_unpack(retry.position),
            .event_ns = retry.event_ns,
            .number = retry.number,
            .replay = (retry.flags & ATTEMPT_REPLAY) != 0,
            .status = retry.status,
            .next_due_ms = order_is_waiting(retry.due_ms) ? 0 : retry_due_ms(retry.due_ms)};
        return true;
    }
    if (!dead_row_decode(key, value, &dead)) {
        return false;
    }
    size_t bytes = dead.why.bytes < ATTEMPT_WHY_BYTES_MAX ? dead.why.bytes : ATTEMPT_WHY_BYTES_MAX;
    memcpy(why, dead.why.at, bytes);
    *ret_item = (struct delivery_item){.state = DELIVERY_DEAD,
                                       .destination = dead.destination,
                                       .source = dead.source,
                                       .event = journal_position_unpack(dead.position),
                                       .event_ns = dead.event_ns,
                                       .number = dead.number,
                                       .replay = (dead.flags & ATTEMPT_REPLAY) != 0,
                                       .status = dead.status,
                                       .ended_ns = dead.ended_ns,
                                       .why = slice_of(why, bytes)};
    return true;
}

static bool look_at_row(void *context, struct slice key, struct slice value)
{
    struct row_search *search = context;
    struct delivery_walk *walk = search->walk;
    bool same = walk->at_bytes == key.bytes && memcmp(walk->at, key.at, key.bytes) == 0;
    if (same || key.bytes > sizeof walk->at) {
        return true; /* the one that was given last */
    }
    memcpy(walk->at, key.at, key.bytes);
    walk->at_bytes = key.bytes;
    struct delivery_item item;
    search->found = row_item(key, value, &item, search->why) && passes(&walk->filter, &item);
    if (search->found) {
        *search->item = item;
    }
    return !search->found && ++search->looked_at < ROWS_LOOKED_AT;
}

static enum bk_err next_row(struct delivery_walk *walk, struct hub *hub,
                            struct delivery_item *ret_item)
{
    static char why[ATTEMPT_WHY_BYTES_MAX]; /* the control thread's */
    struct row_search search = {.walk = walk, .item = ret_item, .why = why};
    struct store_txn *txn;
    struct key prefix = {.bytes = 0};
    key_start(&prefix, walk->filter.state == DELIVERY_PENDING ? 'd' : 'x');
    if (walk->filter.destination != 0) {
        key_add_u64(&prefix, walk->filter.destination);
    }
    enum bk_err err = store_read(hub_store(hub), &txn);
    if (err != BK_OK) {
        return err;
    }
    err = store_walk(txn, key_slice(&prefix), slice_of(walk->at, walk->at_bytes), look_at_row,
                     &search);
    store_read_end(txn);
    if (err != BK_OK || search.found) {
        return err;
    }
    return search.looked_at == ROWS_LOOKED_AT ? BK_AGAIN : BK_NOT_FOUND;
}

/* ---- attempts in the journals */

static bool attempt_item(const struct journal_record *record, struct delivery_item *ret_item)
{
    struct attempt attempt;
    if (!attempt_decode(&record->entry, record->message, &attempt)) {
        return false;
    }
    *ret_item =
        (struct delivery_item){.state = attempt.outcome == ATTEMPT_DELIVERED ? DELIVERY_DELIVERED
                                        : attempt.outcome == ATTEMPT_FAILED  ? DELIVERY_FAILED
                                                                             : DELIVERY_DEAD,
                               .destination = attempt.destination,
                               .source = attempt.source,
                               .event = attempt.event,
                               .event_ns = attempt.event_ns,
                               .number = attempt.number,
                               .replay = (attempt.flags & ATTEMPT_REPLAY) != 0,
                               .status = attempt.status,
                               .stage = attempt.stage,
                               .took_us = attempt.took_us,
                               .ended_ns = attempt.ended_ns,
                               .next_due_ms = attempt.next_due_ms,
                               .peer = attempt.peer,
                               .why = attempt.why,
                               .answer = attempt.answer,
                               .answer_cut = (attempt.flags & ATTEMPT_ANSWER_CUT) != 0};
    return true;
}

static enum bk_err next_attempt(struct delivery_walk *walk, struct reader *reader, size_t *budget,
                                struct delivery_item *ret_item)
{
    struct journal_record record;
    for (;;) {
        enum bk_err err = reader_merge_next(reader, &walk->merge, budget, &record);
        if (err == BK_CORRUPT) {
            walk->damaged++;
            continue;
        }
        if (err != BK_OK) {
            return err;
        }
        if (walk->filter.since_ns != INT64_MIN &&
            record.entry.received_ns < walk->filter.since_ns - EVENT_CLOCK_SLACK_NS) {
            return BK_NOT_FOUND;
        }
        /* No attempt is older than its event. */
        bool event = walk->filter.event != 0 && record.entry.type == JOURNAL_ACCEPTED &&
                     journal_position_pack(record.position) == walk->filter.event;
        if (event) {
            return BK_NOT_FOUND;
        }
        struct delivery_item item;
        if (record.entry.type == JOURNAL_ATTEMPT && attempt_item(&record, &item) &&
            passes(&walk->filter, &item)) {
            *ret_item = item;
            return BK_OK;
        }
    }
}

static bool is_of_canvas(struct delivery_walk *walk, struct hub *hub, uint64_t destination)
{
    struct hub_target_name name;
    if (walk->filter.canvas[0] == '\0') {
        return true;
    }
    if (walk->last != destination) {
        walk->last = destination;
        walk->last_own = hub_target_name(hub, destination, &name) == BK_OK &&
                         strcmp(name.canvas, walk->filter.canvas) == 0;
    }
    return walk->last_own;
}

/* Looked at in one step at most, where most are another canvas's. */
#define FOREIGN_MAX 1000U

enum bk_err delivery_walk_next(struct delivery_walk *walk, struct hub *hub, struct reader *reader,
                               size_t *budget, struct delivery_item *ret_item)
{
    for (unsigned foreign = 0; foreign < FOREIGN_MAX; foreign++) {
        enum bk_err err = walk->rows ? next_row(walk, hub, ret_item)
                                     : next_attempt(walk, reader, budget, ret_item);
        if (err != BK_OK || is_of_canvas(walk, hub, ret_item->destination)) {
            return err;
        }
    }
    return BK_AGAIN;
}

/* ---- JSON */

static void add_field(struct buf *json, const char *name, struct slice text)
{
    buf_printf(json, ",\"%s\":", name);
    json_add_string(json, text);
}

static void add_time(struct buf *json, const char *name, int64_t wall_ns)
{
    char text[25];
    if (wall_ns > 0) {
        time_format_rfc3339(wall_ns, text);
        add_field(json, name, slice_str(text));
    }
}

static void add_peer(struct buf *json, const struct ring_address *peer)
{
    char host[INET6_ADDRSTRLEN];
    int family = peer->family == 4 ? AF_INET : AF_INET6;
    if (peer->family != 0 && inet_ntop(family, peer->at, host, sizeof host)) {
        bool six = peer->family == 6;
        buf_printf(json, ",\"remote\":\"%s%s%s:%u\"", six ? "[" : "", host, six ? "]" : "",
                   peer->port);
    }
}

/* Why it was not delivered yet: a row says no more than the last try's status. */
static void pending_why(const struct delivery_item *item, const struct destination *destination,
                        char why[ATTEMPT_WHY_BYTES_MAX])
{
    const char *text = item->next_due_ms == 0 ? "an older one goes first"
                       : item->number == 0    ? "not tried yet"
                                              : "no answer came";
    if (destination && destination->pause != DESTINATION_RUNNING) {
        text = "its destination is paused";
    } else if (item->next_due_ms != 0 && item->number > 0 && item->status != 0) {
        snprintf(why, ATTEMPT_WHY_BYTES_MAX, "the answer %u is no success", item->status);
        return;
    }
    snprintf(why, ATTEMPT_WHY_BYTES_MAX, "%s", text);
}

void delivery_json(struct hub *hub, const struct route_table *routes,
                   const struct delivery_item *item, struct buf *json)
{
    char id[EVENT_ID_BYTES], why[ATTEMPT_WHY_BYTES_MAX] = "";
    struct hub_source_name source;
    const struct destination *destination = route_table_destination(routes, item->destination);
    event_id_format(item->event, item->event_ns, id);
    buf_printf(json, "{\"event\":\"%.*s\"", (int)sizeof id, id);
    if (destination) {
        add_field(json, "destination", destination->name);
        add_field(json, "canvasId", destination->canvas);
    } else {
        buf_printf(json, ",\"destination\":\"%llu\"", (unsigned long long)item->destination);
    }
    if (hub && hub_source_name(hub, item->source, &source) == BK_OK) {
        add_field(json, "source", slice_str(source.name));
    }
    buf_printf(json, ",\"state\":\"%s\",\"attempt\":%u", state_names[item->state], item->number);
    if (item->status != 0) {
        buf_printf(json, ",\"status\":%u", item->status);
    }
    if (item->state == DELIVERY_PENDING) {
        pending_why(item, destination, why);
    }
    struct slice reason = item->state == DELIVERY_PENDING ? slice_str(why) : item->why;
    if (reason.bytes > 0) {
        add_field(json, "reason", reason);
    }
    if (item->status == 0 && item->stage != 0 && item->state != DELIVERY_DELIVERED) {
        add_field(json, "stage", slice_str(http_stage_text((enum http_stage)item->stage)));
    }
    if (item->took_us > 0) {
        buf_printf(json, ",\"durationMs\":%.3f", item->took_us / 1000.0);
    }
    add_time(json, "endedAt", item->ended_ns);
    add_time(json, "nextAttemptAt", item->next_due_ms * NS_PER_MS);
    add_peer(json, &item->peer);
    if (item->answer.bytes > 0) {
        add_field(json, "answer", item->answer);
    }
    if (item->answer_cut) {
        buf_add_str(json, ",\"answerCut\":true");
    }
    if (item->replay) {
        buf_add_str(json, ",\"replay\":true");
    }
    buf_add_byte(json, '}');
}

/* ---- replay */

#define REPLAY_ROWS 256U /* in one transaction, but for an event that goes to more */

/* Of the events of one step; one event may go to any number of destinations. */
struct replay_rows {
    size_t count, size;
    struct retry_row *rows;
    size_t target_count, targets_size;
    uint64_t *targets; /* of one event */
};

static void rows_fini(struct replay_rows *rows)
{
    free(rows->rows);
    free(rows->targets);
}

static int64_t due_of(const struct dispatch *dispatch, const struct replay *replay)
{
    if (replay->per_second == 0) {
        return dispatch_now_ms(dispatch);
    }
    return RETRY_PACED_MS + replay->first_due_ms +
           (int64_t)(replay->deliveries * 1000 / replay->per_second);
}

/* Where an event goes to several, each of them has its part of the rate. */
static uint32_t pace_of(const struct replay *replay, size_t targets)
{
    uint64_t us = replay->per_second > 0 ? targets * 1000000 / replay->per_second : 0;
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

static enum bk_err add_row(struct dispatch *dispatch, struct replay *replay,
                           struct replay_rows *rows, const struct journal_record *record,
                           uint64_t destination, size_t targets)
{
    if (!array_reserve((void **)&rows->rows, &rows->size, rows->count + 1, sizeof *rows->rows)) {
        return BK_NO_MEMORY;
    }
    struct retry_row *row = &rows->rows[rows->count++];
    *row = (struct retry_row){.destination = destination,
                              .due_ms = due_of(dispatch, replay),
                              .position = journal_position_pack(record->position),
                              .flags = ATTEMPT_REPLAY,
                              .event_ns = record->entry.received_ns,
                              .source = record->entry.source,
                              .pace_us = pace_of(replay, targets)};
    if (replay->per_second == 0) { /* what waits behind others cannot go by a clock */
        dispatch_in_order(dispatch, &record->entry, record->message, row);
    }
    replay->deliveries++;
    return BK_OK;
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

/* The destinations that want it, each once, whatever the number of routes that lead there. Whoever
 * asks for it by hand also means events from before the route. */
static enum bk_err find_targets(struct dispatch *dispatch, struct replay *replay,
                                struct replay_rows *rows, const struct journal_record *record)
{
    struct fan_out out;
    rows->target_count = 0;
    fan_out_init(&out, dispatch->scratch, record->position, &record->entry, record->message);
    const struct route_target *route =
        route_table_first(dispatch->config.routes, record->entry.source);
    for (; route; route = route_target_next(route)) {
        const struct destination *destination = route_target_destination(route);
        uint64_t failed = out.failed;
        replay->routed |= destination != NULL;
        if (!destination || !fan_out_passes(&out, route)) {
            if (out.failed > failed) {
                memcpy(replay->why, out.filter.why, sizeof replay->why);
            }
            continue;
        }
        if (!array_reserve((void **)&rows->targets, &rows->targets_size, rows->target_count + 1,
                           sizeof *rows->targets)) {
            return BK_NO_MEMORY;
        }
        rows->targets[rows->target_count++] = destination->number;
    }
    if (rows->target_count > 1) {
        qsort(rows->targets, rows->target_count, sizeof *rows->targets, by_number);
    }
    size_t count = 0;
    for (size_t i = 0; i < rows->target_count; i++) {
        if (i == 0 || rows->targets[i] != rows->targets[i - 1]) {
            rows->targets[count++] = rows->targets[i];
        }
    }
    rows->target_count = count;
    return BK_OK;
}

/* The rows of one event. */
static enum bk_err add_event(struct dispatch *dispatch, struct replay *replay,
                             struct replay_rows *rows, const struct journal_record *record)
{
    uint64_t before = replay->deliveries;
    if (replay->to != 0) {
        replay->events++;
        return add_row(dispatch, replay, rows, record, replay->to, 1);
    }
    enum bk_err err = find_targets(dispatch, replay, rows, record);
    for (size_t i = 0; err == BK_OK && i < rows->target_count; i++) {
        err = add_row(dispatch, replay, rows, record, rows->targets[i], rows->target_count);
    }
    replay->events += replay->deliveries > before;
    return err;
}

enum bk_err replay_event(struct dispatch *dispatch, struct replay *replay,
                         const struct journal_record *record)
{
    struct replay_rows rows = {0};
    if (replay->to != 0 && !route_table_destination(dispatch->config.routes, replay->to)) {
        return BK_NOT_FOUND;
    }
    replay->first_due_ms = dispatch_now_ms(dispatch);
    enum bk_err err = add_event(dispatch, replay, &rows, record);
    if (err == BK_OK && rows.count == 0) {
        err = BK_NOT_FOUND;
    }
    if (err == BK_OK && !replay->dry_run) {
        err = dispatch_add(dispatch, rows.rows, rows.count);
    }
    replay->targets = rows.targets; /* the caller's now */
    replay->target_count = rows.target_count;
    rows.targets = NULL;
    rows_fini(&rows);
    return err;
}

enum bk_err replay_begin(struct replay *replay, struct dispatch *dispatch, struct catalog *catalog,
                         struct reader *reader, const struct event_filter *filter)
{
    struct event_filter accepted = *filter;
    accepted.states = EVENT_STATE(JOURNAL_ACCEPTED);
    replay->events = replay->deliveries = 0;
    replay->first_due_ms = dispatch_now_ms(dispatch);
    if (replay->to != 0 && !route_table_destination(dispatch->config.routes, replay->to)) {
        return BK_NOT_FOUND;
    }
    return event_scan_begin(&replay->scan, catalog, reader, &accepted, true, SLICE_EMPTY);
}

enum bk_err replay_letters(struct replay *replay, struct dispatch *dispatch, struct reader *reader,
                           const struct delivery_filter *filter, struct slice cursor)
{
    struct delivery_filter dead = *filter;
    dead.state = DELIVERY_DEAD;
    replay->letters = true;
    replay->events = replay->deliveries = replay->gone = 0;
    replay->first_due_ms = dispatch_now_ms(dispatch);
    return delivery_walk_begin(&replay->walk, reader, &dead, cursor);
}

static bool may_be_seen(const struct replay *replay, struct hub *hub, uint64_t source)
{
    struct hub_source_name name;
    return replay->sources_canvas.bytes == 0 ||
           (hub_source_name(hub, source, &name) == BK_OK &&
            slice_equal(slice_str(name.canvas), replay->sources_canvas));
}

#define LETTER_COST 4096U /* of the budget: somewhere in a journal, alone */

static enum bk_err add_letter(struct replay *replay, struct dispatch *dispatch,
                              struct reader *reader, size_t *budget, struct replay_rows *rows)
{
    struct delivery_item item;
    struct journal_record record;
    if (replay->left == 0) {
        return BK_NOT_FOUND;
    }
    if (*budget < LETTER_COST) {
        return BK_AGAIN;
    }
    *budget -= LETTER_COST;
    enum bk_err err =
        delivery_walk_next(&replay->walk, dispatch->config.hub, reader, budget, &item);
    if (err != BK_OK) {
        return err;
    }
    replay->left--;
    uint64_t to = replay->to ? replay->to : item.destination;
    if (!route_table_destination(dispatch->config.routes, to)) {
        return BK_OK; /* it was deleted just now, and they go with it */
    }
    err = reader_get(reader, item.event, &record);
    if (err == BK_NOT_FOUND || err == BK_CORRUPT ||
        (err == BK_OK &&
         (record.entry.type != JOURNAL_ACCEPTED || record.entry.received_ns != item.event_ns ||
          !may_be_seen(replay, dispatch->config.hub, record.entry.source)))) {
        replay->gone++;
        return BK_OK;
    }
    replay->events += err == BK_OK;
    return err == BK_OK ? add_row(dispatch, replay, rows, &record, to, 1) : err;
}

static enum bk_err add_next(struct replay *replay, struct dispatch *dispatch, struct reader *reader,
                            size_t *budget, struct replay_rows *rows)
{
    struct journal_record record;
    if (replay->letters) {
        return add_letter(replay, dispatch, reader, budget, rows);
    }
    enum bk_err err = event_scan_next(&replay->scan, dispatch->config.hub, reader, budget, &record);
    return err == BK_OK ? add_event(dispatch, replay, rows, &record) : err;
}

enum bk_err replay_step(struct replay *replay, struct dispatch *dispatch, struct reader *reader,
                        size_t budget)
{
    struct replay_rows rows = {0};
    enum bk_err err = BK_OK;
    while (err == BK_OK && rows.count < REPLAY_ROWS / 2) {
        err = add_next(replay, dispatch, reader, &budget, &rows);
    }
    bool end = err == BK_NOT_FOUND;
    if ((err == BK_OK || err == BK_AGAIN || end) && rows.count > 0 && !replay->dry_run) {
        enum bk_err add_err = dispatch_add(dispatch, rows.rows, rows.count);
        err = add_err == BK_OK ? err : add_err;
        end &= add_err == BK_OK;
    }
    rows_fini(&rows);
    return end ? BK_OK : err == BK_OK ? BK_AGAIN : err;
}

/* ---- status */

/* When something may go again: what is due earlier waits for the brakes. 0: nothing is to go, or it
 * is not known. */
static int64_t next_retry_ms(const struct dispatch *dispatch, const struct destination *destination,
                             const struct dispatch_status *status)
{
    if (destination->pause != DESTINATION_RUNNING || status->retries + status->backlog == 0) {
        return 0;
    }
    struct flow_shared *shared = (struct flow_shared *)(void *)destination->state->words;
    int64_t brake_ms =
        dispatch->config.clock_ms + (int64_t)(flow_brake_ns(shared) / (uint64_t)NS_PER_MS);
    bool holds = brake_ms > dispatch_now_ms(dispatch);
    int64_t at_ms = holds ? dispatch_wall_ms(dispatch, brake_ms) : 0;
    return at_ms > status->next_retry_ms ? at_ms : status->next_retry_ms;
}

void destination_status_json(const struct dispatch *dispatch, const struct destination *destination,
                             struct buf *json)
{
    struct dispatch_status status;
    (void)dispatch_status(dispatch, destination->number, &status);
    const char *state = destination->pause != DESTINATION_RUNNING ? "paused"
                        : status.open                             ? "failing"
                        : status.behind                           ? "behind"
                                                                  : "live";
    buf_printf(json,
               "{\"state\":\"%s\",\"inflight\":%u,\"queued\":%u,\"backlog\":%llu,\"retries\":%llu,"
               "\"delivered\":%llu,\"failed\":%llu,\"dead\":%llu,\"lost\":%llu",
               state, status.inflight, status.queued, (unsigned long long)status.backlog,
               (unsigned long long)status.retries,
               (unsigned long long)status.outcomes[TARGET_DELIVERED],
               (unsigned long long)status.outcomes[TARGET_FAILED],
               (unsigned long long)status.outcomes[TARGET_DEAD], (unsigned long long)status.lost);
    add_time(json, "oldestUndelivered", status.oldest_ns);
    add_time(json, "nextRetryAt", next_retry_ms(dispatch, destination, &status) * NS_PER_MS);
    if (status.last_outcome != 0) {
        char at[25];
        time_format_rfc3339(status.last_ns, at);
        buf_printf(json, ",\"lastAttempt\":{\"at\":\"%s\",\"attempt\":%u,\"outcome\":\"%s\"", at,
                   status.last_number,
                   attempt_outcome_text((enum attempt_outcome)status.last_outcome));
        if (status.last_status != 0) {
            buf_printf(json, ",\"status\":%u", status.last_status);
        }
        if (status.last_why[0] != '\0') {
            add_field(json, "reason", slice_str(status.last_why));
        }
        buf_add_byte(json, '}');
    }
    buf_add_byte(json, '}');
}
