/* entry_hand.c - entries that people and machines write, change and delete; contract in
 * links/entry.h. */
#include "base/hex.h"
#include "base/json.h"
#include "base/time.h"
#include "hub/links/entry_drafts.h"
#include "hub/links/entry_private.h"
#include "hub/links/link_find.h"
#include "hub/operations/integration_view.h"

#include <stdarg.h>
#include <stdio.h>
#include <yyjson.h>

/* One request: of a new entry, or of one that is there. */
struct change {
    struct hub *hub;
    const struct entry_request *request;
    const struct entry_caller *caller; /* of one that is there */
    struct slice id;                   /* likewise */
    uint64_t number;
    struct entry entry;
    int64_t now_ns;
    struct arena arena;
    struct entry_problem *problem;
    struct buf diff; /* of the audit record */
};

__attribute__((format(printf, 3, 4))) static enum bk_err wrong(struct change *change,
                                                               const char *field,
                                                               const char *format, ...)
{
    va_list args;
    va_start(args, format);
    change->problem->field = field;
    vsnprintf(change->problem->message, sizeof change->problem->message, format, args);
    va_end(args);
    return BK_INVALID;
}

/* "2026-02-28" that the calendar has. */
static bool is_day(struct slice text)
{
    char stamp[32], back[25];
    int64_t ns;
    if (text.bytes != 10) {
        return false;
    }
    snprintf(stamp, sizeof stamp, "%.10sT00:00:00Z", (const char *)text.at);
    if (time_parse_rfc3339(slice_str(stamp), &ns) != BK_OK) {
        return false;
    }
    time_format_rfc3339(ns, back);
    return memcmp(back, text.at, 10) == 0;
}

/* What is given must be right; in a new entry body and team must be given. */
static enum bk_err check(struct change *change, struct entry_draft *ret_draft)
{
    const struct entry_request *request = change->request;
    *ret_draft = (struct entry_draft){.body = SLICE_EMPTY};
    if (request->body.bytes > ENTRY_BODY_BYTES) {
        return wrong(change, "body", "is longer than %u bytes", ENTRY_BODY_BYTES);
    }
    entry_draft_text(ret_draft, request->body, &change->arena);
    if (ret_draft->body.bytes == 0 && (!change->caller || request->body.at)) {
        return wrong(change, "body", "is missing: what was done");
    }
    struct slice status = request->status;
    if (status.bytes > 0 && !slice_equal(status, SLICE("done")) &&
        !slice_equal(status, SLICE("goal")) && !slice_equal(status, SLICE("blocked"))) {
        return wrong(change, "status", "must be done, goal or blocked");
    }
    if (request->occurred_on.bytes > 0 && !is_day(request->occurred_on)) {
        return wrong(change, "occurredOn", "must be a day, as in 2026-01-31");
    }
    return BK_OK;
}

/* Who did it must be of the team. */
static enum bk_err check_member(struct change *change, struct store_txn *txn)
{
    const struct entry *entry = &change->entry;
    if (entry->user.bytes == 0 || entry_member(txn, entry->canvas, entry->team, entry->user)) {
        return BK_OK;
    }
    return wrong(change, "user", "\"%.*s\" is no member of Team \"%.*s\"",
                 (int)(entry->user.bytes < 64 ? entry->user.bytes : 64),
                 (const char *)entry->user.at, (int)entry->team.bytes,
                 (const char *)entry->team.at);
}

static enum bk_err audit(struct change *change, struct store_txn *txn, const char *action)
{
    char id[33], canvas[NAME_BYTES_MAX + 1];
    hex_encode(change->entry.id, 16, id);
    id[32] = '\0';
    snprintf(canvas, sizeof canvas, "%.*s", (int)change->entry.canvas.bytes,
             (const char *)change->entry.canvas.at);
    struct audit_change record = {.action = action,
                                  .kind = "Entry",
                                  .name = id,
                                  .canvas = canvas,
                                  .diff = buf_slice(&change->diff),
                                  .now_ns = change->now_ns};
    return change->diff.overflow ? BK_TOO_LARGE : audit_add(change->hub, txn, &record);
}

/* One more of the differences. */
static void differs(struct change *change, const char *member, struct slice before,
                    struct slice after)
{
    struct buf *diff = &change->diff;
    if (slice_equal(before, after)) {
        return;
    }
    if (diff->bytes > 0) {
        diff->bytes--; /* the closing bracket */
    }
    buf_printf(diff, "%s{\"path\":\"%s\",\"before\":", diff->bytes > 0 ? "," : "[", member);
    if (before.bytes > 0) {
        json_add_string(diff, before);
    } else {
        buf_add_str(diff, "null");
    }
    buf_add_str(diff, ",\"after\":");
    if (after.bytes > 0) {
        json_add_string(diff, after);
    } else {
        buf_add_str(diff, "null");
    }
    buf_add_str(diff, "}]");
}

static void change_init(struct change *change, struct entry_problem *ret_problem)
{
    *ret_problem = (struct entry_problem){NULL, ""};
    change->problem = ret_problem;
    arena_init(&change->arena, 1U << 20);
    buf_init(&change->diff, 1U << 18);
}

/* The entry as it is now, behind the change. */
static enum bk_err change_end(struct change *change, enum bk_err err, struct buf *json)
{
    char id[33];
    if (err == BK_OK && json) {
        hex_encode(change->entry.id, 16, id);
        err = entries_get_json(change->hub, slice_of(id, 32), SLICE_EMPTY, json);
    }
    buf_fini(&change->diff);
    arena_fini(&change->arena);
    return err;
}

/* ---- a new one */

static enum bk_err fill(struct change *change)
{
    const struct entry_request *request = change->request;
    struct entry *entry = &change->entry;
    struct entry_draft draft;
    enum bk_err err = check(change, &draft);
    if (err != BK_OK) {
        return err;
    }
    if (request->team.bytes == 0) {
        return wrong(change, "team", "is missing: the name of a Team");
    }
    if (request->occurred_on.bytes > 0) {
        memcpy(entry->occurred_on, request->occurred_on.at, request->occurred_on.bytes);
    }
    hub_id_make(entry->id);
    entry->body = draft.body;
    entry->status = request->status.bytes > 0 ? request->status : draft.status;
    entry->team = request->team;
    entry->user = request->user;
    entry->author = request->author;
    entry->type = SLICE("api");
    entry->state = "ready";
    entry->received_ns = change->now_ns;
    return BK_OK;
}

static enum bk_err create(struct store_txn *txn, void *context)
{
    struct change *change = context;
    struct entry *entry = &change->entry;
    char canvas[NAME_BYTES_MAX + 1];
    struct record record;
    enum bk_err err = hub_canvas(txn, change->request->canvas, canvas);
    if (err == BK_INVALID) {
        return wrong(change, "canvas", "is no name of a canvas");
    }
    entry->canvas = slice_str(canvas);
    struct slice place = entry->canvas;
    if (err == BK_OK) {
        err = entry_find_team(txn, &place, entry->team, &record);
    }
    if (err == BK_OK && change->request->only_canvas && !slice_equal(place, entry->canvas)) {
        err = BK_NOT_FOUND;
    }
    if (err == BK_NOT_FOUND) {
        return wrong(change, "team", "there is no Team \"%.*s\"",
                     (int)(entry->team.bytes < 64 ? entry->team.bytes : 64),
                     (const char *)entry->team.at);
    }
    err = err == BK_OK ? check_member(change, txn) : err;
    if (err == BK_OK) {
        err = entry_put(change->hub, txn, entry, change->now_ns);
    }
    differs(change, "body", SLICE_EMPTY, entry->body);
    return err == BK_OK ? audit(change, txn, "created") : err;
}

enum bk_err entry_create(struct hub *hub, const struct entry_request *request, int64_t now_ns,
                         struct entry_problem *ret_problem, struct buf *json)
{
    struct change change = {.hub = hub, .request = request, .now_ns = now_ns};
    change_init(&change, ret_problem);
    enum bk_err err = fill(&change);
    if (err == BK_OK) {
        err = store_update(hub->store, create, &change);
    }
    return change_end(&change, err, json);
}

/* ---- one that is there */

/* "ready" and so on, as they are written here. */
static const char *state_of(struct slice text)
{
    static const char *const states[] = {"unknown-author", "not-a-member"};
    for (unsigned i = 0; i < bk_array_length(states); i++) {
        if (slice_equal(text, slice_str(states[i]))) {
            return states[i];
        }
    }
    return "ready";
}

/* From what is stored; in the arena. */
static enum bk_err take_stored(struct change *change, struct slice json)
{
    struct entry *entry = &change->entry;
    struct integration_view view;
    enum bk_err err = integration_view_open(json, &view);
    if (err != BK_OK) {
        return err;
    }
    const struct {
        struct slice *to;
        const char *member;
    } texts[] = {
        {&entry->body, "body"},     {&entry->status, "status"}, {&entry->user, "user"},
        {&entry->author, "author"}, {&entry->team, "team"},     {&entry->canvas, "canvasId"},
        {&entry->source, "source"}, {&entry->link, "link"},     {&entry->type, "type"}};
    for (unsigned i = 0; i < bk_array_length(texts); i++) {
        *texts[i].to = link_kept(&change->arena, integration_text(&view, texts[i].member));
    }
    struct slice event = integration_text(&view, "event");
    struct slice day = integration_text(&view, "occurredOn");
    snprintf(entry->event, sizeof entry->event, "%.*s", (int)event.bytes, (const char *)event.at);
    snprintf(entry->occurred_on, sizeof entry->occurred_on, "%.*s", (int)day.bytes,
             (const char *)day.at);
    entry->hops = (unsigned)yyjson_mut_get_uint(provider_get(view.spec, "hops"));
    entry->state = state_of(integration_text(&view, "state"));
    bool good =
        hex_decode(integration_text(&view, "id"), entry->id, sizeof entry->id) &&
        time_parse_rfc3339(integration_text(&view, "createdAt"), &entry->received_ns) == BK_OK;
    integration_view_close(&view);
    return change->arena.overflow ? BK_NO_MEMORY : good ? BK_OK : BK_CORRUPT;
}

/* Another canvas's is not there; another person's is not theirs to change. */
static enum bk_err find(struct change *change, struct store_txn *txn, struct slice *ret_json)
{
    const struct entry_caller *caller = change->caller;
    enum bk_err err = entry_find(txn, change->id, &change->number, ret_json);
    if (err == BK_OK) {
        err = take_stored(change, *ret_json);
    }
    if (err == BK_OK && caller->canvas.bytes > 0 &&
        !entry_is_of(txn, change->number, change->entry.canvas, caller->canvas)) {
        return BK_NOT_FOUND;
    }
    return err == BK_OK && caller->person.bytes > 0 &&
                   !slice_equal(caller->person, change->entry.user)
               ? BK_FORBIDDEN
               : err;
}

/* What is asked for; the differences. */
static enum bk_err alter(struct change *change, struct store_txn *txn)
{
    const struct entry_request *request = change->request;
    struct entry *entry = &change->entry, before = change->entry;
    struct entry_draft draft;
    enum bk_err err = check(change, &draft);
    if (err != BK_OK) {
        return err;
    }
    if (request->body.at) {
        entry->body = draft.body;
        bool marked = !slice_equal(draft.status, SLICE("done"));
        entry->status = marked ? draft.status : entry->status;
    }
    entry->status = request->status.bytes > 0 ? request->status : entry->status;
    if (request->occurred_on.bytes > 0) {
        memcpy(entry->occurred_on, request->occurred_on.at, request->occurred_on.bytes);
    }
    if (request->user.at) {
        entry->user = request->user;
        entry->state = request->user.bytes > 0 ? "ready" : entry->state;
        err = check_member(change, txn);
    }
    differs(change, "body", before.body, entry->body);
    differs(change, "status", before.status, entry->status);
    differs(change, "user", before.user, entry->user);
    differs(change, "occurredOn", slice_str(before.occurred_on), slice_str(entry->occurred_on));
    return err;
}

static enum bk_err update(struct store_txn *txn, void *context)
{
    struct change *change = context;
    struct entry *entry = &change->entry;
    struct slice stored;
    struct key key;
    struct buf json;
    enum bk_err err = find(change, txn, &stored);
    bool was_ready = err == BK_OK && strcmp(entry->state, "ready") == 0;
    if (err == BK_OK) {
        err = alter(change, txn);
    }
    if (err != BK_OK || change->diff.bytes == 0) {
        return err; /* nothing is another */
    }
    entry->updated_ns = change->now_ns;
    err = entry_index_drop(txn, change->number, stored);
    buf_init(&json, 65536);
    entry_write_json(entry, &json);
    key_entry(&key, change->number);
    if (err == BK_OK) {
        err = json.overflow ? BK_TOO_LARGE : store_put(txn, key_slice(&key), buf_slice(&json));
    }
    if (err == BK_OK) {
        err = entry_index_put(txn, change->number, buf_slice(&json));
    }
    buf_fini(&json);
    if (err == BK_OK && !was_ready) { /* it has been nowhere yet */
        struct entry_way way = {change->hub, txn, entry, change->number, change->now_ns, NULL};
        err = entry_send_out(&way);
    }
    return err == BK_OK ? audit(change, txn, "updated") : err;
}

enum bk_err entry_update(struct hub *hub, struct slice id, const struct entry_request *request,
                         const struct entry_caller *caller, int64_t now_ns,
                         struct entry_problem *ret_problem, struct buf *json)
{
    struct change change = {
        .hub = hub, .request = request, .caller = caller, .id = id, .now_ns = now_ns};
    change_init(&change, ret_problem);
    return change_end(&change, store_update(hub->store, update, &change), json);
}

/* Its id stays known: the same commit in another event does not bring it back. */
static enum bk_err remove_entry(struct store_txn *txn, void *context)
{
    struct change *change = context;
    struct slice stored;
    struct key key;
    enum bk_err err = find(change, txn, &stored);
    if (err == BK_OK) {
        err = entry_index_drop(txn, change->number, stored);
    }
    key_entry(&key, change->number);
    if (err == BK_OK) {
        err = store_delete(txn, key_slice(&key));
    }
    differs(change, "body", change->entry.body, SLICE_EMPTY);
    return err == BK_OK ? audit(change, txn, "deleted") : err;
}

enum bk_err entry_delete(struct hub *hub, struct slice id, const struct entry_caller *caller,
                         int64_t now_ns)
{
    struct entry_problem problem;
    struct change change = {.hub = hub, .caller = caller, .id = id, .now_ns = now_ns};
    change_init(&change, &problem);
    return change_end(&change, store_update(hub->store, remove_entry, &change), NULL);
}
