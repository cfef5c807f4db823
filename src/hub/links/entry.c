#include "hub/links/entry.h"

#include "base/hex.h"
#include "base/sha256.h"
#include "base/time.h"
#include "hub/links/entry_drafts.h"
#include "hub/links/link.h"
#include "hub/links/link_find.h"
#include "hub/operations/integration_view.h"
#include "hub/operations/operation.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LIST_LOOKED_MAX 20000U

/* ---- teams */

/* Where the team of this name is: in the canvas, or in the default one. */
static enum bk_err find_team(struct store_txn *txn, struct slice *canvas, struct slice team,
                             struct record *ret_record)
{
    enum bk_err err = hub_record(txn, RESOURCE_TEAM, *canvas, team, ret_record);
    if (err == BK_NOT_FOUND) {
        *canvas = SLICE(RESOURCE_CANVAS_DEFAULT);
        err = hub_record(txn, RESOURCE_TEAM, *canvas, team, ret_record);
    }
    return err;
}

bool entry_member(struct store_txn *txn, struct slice canvas, struct slice team, struct slice user)
{
    struct record record;
    struct integration_view view;
    if (find_team(txn, &canvas, team, &record) != BK_OK ||
        integration_view_open(record.spec, &view) != BK_OK) {
        return false;
    }
    yyjson_mut_val *members = provider_get(view.spec, "members"), *item;
    bool found = !yyjson_mut_is_arr(members) || yyjson_mut_arr_size(members) == 0;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(members, &iter);
    while (!found && (item = yyjson_mut_arr_iter_next(&iter)) != NULL) {
        found = slice_equal(json_text(item), user);
    }
    integration_view_close(&view);
    return found;
}

/* ---- storing */

static void add_member(struct buf *json, const char *name, struct slice text)
{
    if (text.bytes > 0) {
        buf_printf(json, ",\"%s\":", name);
        json_add_string(json, text);
    }
}

static void write_json(const struct entry *entry, struct buf *json)
{
    char id[33], stamp[25];
    hex_encode(entry->id, 16, id);
    id[32] = '\0';
    time_format_rfc3339(entry->received_ns, stamp);
    const char *day = entry->occurred_on[0] ? entry->occurred_on : stamp;
    buf_printf(json, "{\"id\":\"%s\"", id);
    add_member(json, "body", entry->body);
    buf_printf(json, ",\"occurredOn\":\"%.10s\"", day);
    add_member(json, "status", entry->status);
    add_member(json, "state", slice_str(entry->state));
    add_member(json, "user", entry->user);
    add_member(json, "author", entry->author);
    add_member(json, "team", entry->team);
    add_member(json, "canvasId", entry->canvas);
    add_member(json, "type", entry->type);
    add_member(json, "source", entry->source);
    add_member(json, "link", entry->link);
    add_member(json, "event", slice_str(entry->event));
    if (entry->hops > 0) {
        buf_printf(json, ",\"hops\":%u", entry->hops);
    }
    add_member(json, "createdAt", slice_str(stamp));
    buf_add_byte(json, '}');
}

static bool wants_status(const struct integration_view *link, struct slice status)
{
    yyjson_mut_val *list = provider_get(link->spec, "statuses"), *item;
    bool wanted = !yyjson_mut_is_arr(list);
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(list, &iter);
    while (!wanted && (item = yyjson_mut_arr_iter_next(&iter)) != NULL) {
        wanted = slice_equal(json_text(item), status);
    }
    return wanted;
}

/* ---- out, through the team's links */

struct way {
    struct hub *hub;
    struct store_txn *txn;
    struct arena *arena;
    const struct entry *entry;
    uint64_t number;
    int64_t now_ns;
};

/* A message in the link's channel: an operation of its own, for this entry and this link. */
static enum bk_err post(const struct way *way, const struct link_type *type,
                        const struct record *link, struct slice canvas, struct slice name,
                        struct slice integration)
{
    struct record record;
    struct slice place = canvas;
    uint8_t digest[SHA256_BYTES], text[32];
    enum bk_err err = hub_record(way->txn, RESOURCE_INTEGRATION, place, integration, &record);
    if (err == BK_NOT_FOUND) {
        place = SLICE(RESOURCE_CANVAS_DEFAULT);
        err = hub_record(way->txn, RESOURCE_INTEGRATION, place, integration, &record);
    }
    if (err != BK_OK) {
        return err == BK_NOT_FOUND ? BK_OK : err;
    }
    memcpy(text, way->entry->id, 16);
    memcpy(text + 16, link->id, 16);
    sha256(slice_of(text, sizeof text), digest);
    char *shown = arena_printf(way->arena, "%llu", (unsigned long long)way->number);
    struct operation operation = {
        .intent = PROVIDER_POST,
        .kind = RESOURCE_INTEGRATION_LINK,
        .canvas = canvas,
        .name = name,
        .integration_canvas = place,
        .integration = integration,
        .provider = slice_str(type->name),
        .memory = {.count = 1, .notes = {{SLICE("entry"), slice_str(shown)}}},
        .created_ns = way->now_ns,
        .updated_ns = way->now_ns,
        .due_ns = way->now_ns};
    memcpy(operation.object, digest, sizeof operation.object);
    way->hub->work_added = true;
    return operation_add(way->txn, &operation);
}

/* An event for the link's destination. */
static enum bk_err hand_out(const struct way *way, struct slice canvas, struct slice destination)
{
    struct record record;
    struct key key;
    enum bk_err err = hub_record(way->txn, RESOURCE_DESTINATION, canvas, destination, &record);
    if (err == BK_NOT_FOUND) {
        canvas = SLICE(RESOURCE_CANVAS_DEFAULT);
        err = hub_record(way->txn, RESOURCE_DESTINATION, canvas, destination, &record);
    }
    if (err != BK_OK) {
        return err == BK_NOT_FOUND ? BK_OK : err;
    }
    key_outbox(&key, way->number, record.number);
    way->hub->outbox_filled = true;
    return store_put(way->txn, key_slice(&key), SLICE_EMPTY);
}

static enum bk_err send_through(const struct way *way, struct slice canvas, struct slice name)
{
    struct record record;
    struct integration_view link;
    enum bk_err err = hub_record(way->txn, RESOURCE_INTEGRATION_LINK, canvas, name, &record);
    if (err == BK_OK) {
        err = integration_view_open(record.spec, &link);
    }
    if (err != BK_OK) {
        return err;
    }
    const struct link_type *type = link_type_find(integration_text(&link, "type"));
    bool wanted = type && wants_status(&link, way->entry->status);
    struct slice destination = integration_text(&link, "destination/name");
    if (wanted && type->posts) {
        err = post(way, type, &record, canvas, name,
                   link_kept(way->arena, integration_text(&link, "integration/name")));
    }
    if (err == BK_OK && wanted && destination.bytes > 0) {
        err = hand_out(way, canvas, destination);
    }
    integration_view_close(&link);
    return err;
}

static enum bk_err send_out(const struct way *way)
{
    const struct entry *entry = way->entry;
    struct link_names links;
    struct record team;
    struct slice canvas = entry->canvas;
    if (entry->team.bytes == 0 || strcmp(entry->state, "ready") != 0) {
        return BK_OK;
    }
    enum bk_err err = find_team(way->txn, &canvas, entry->team, &team);
    if (err == BK_OK) {
        err = links_of(way->txn, RESOURCE_TEAM, canvas, entry->team, way->arena, &links);
    }
    for (unsigned i = 0; err == BK_OK && i < links.count; i++) {
        bool back = slice_equal(links.at[i].name, entry->link) &&
                    slice_equal(links.at[i].canvas, entry->canvas);
        if (!back) { /* never through the link it came in by */
            err = send_through(way, links.at[i].canvas, links.at[i].name);
        }
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err entry_put(struct hub *hub, struct store_txn *txn, const struct entry *entry,
                      int64_t now_ns, struct arena *arena)
{
    struct way way = {hub, txn, arena, entry, 0, now_ns};
    struct key key;
    struct slice value;
    struct buf json;
    uint8_t at[8];
    key_entry_id(&key, entry->id);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err != BK_NOT_FOUND) {
        return err; /* it is there already */
    }
    err = store_next_number(txn, KEY_ENTRY_NUMBER, &way.number);
    if (err != BK_OK) {
        return err;
    }
    key_put_u64(at, way.number);
    err = store_put(txn, key_slice(&key), slice_of(at, sizeof at));
    buf_init(&json, 65536);
    write_json(entry, &json);
    key_entry(&key, way.number);
    if (err == BK_OK) {
        err = json.overflow ? BK_TOO_LARGE : store_put(txn, key_slice(&key), buf_slice(&json));
    }
    buf_fini(&json);
    return err == BK_OK ? send_out(&way) : err;
}

/* ---- by hand */

struct creation {
    struct hub *hub;
    const struct entry_request *request;
    struct entry entry;
    int64_t now_ns;
    struct arena arena;
    struct entry_problem *problem;
};

__attribute__((format(printf, 3, 4))) static enum bk_err wrong(struct creation *creation,
                                                               const char *field,
                                                               const char *format, ...)
{
    va_list args;
    va_start(args, format);
    creation->problem->field = field;
    vsnprintf(creation->problem->message, sizeof creation->problem->message, format, args);
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

static enum bk_err fill(struct creation *creation)
{
    const struct entry_request *request = creation->request;
    struct entry *entry = &creation->entry;
    struct entry_draft draft = {.body = SLICE_EMPTY};
    if (request->body.bytes > ENTRY_BODY_BYTES) {
        return wrong(creation, "body", "is longer than %u bytes", ENTRY_BODY_BYTES);
    }
    entry_draft_text(&draft, request->body, &creation->arena);
    if (draft.body.bytes == 0) {
        return wrong(creation, "body", "is missing: what was done");
    }
    struct slice status = request->status;
    if (status.bytes > 0 && !slice_equal(status, SLICE("done")) &&
        !slice_equal(status, SLICE("goal")) && !slice_equal(status, SLICE("blocked"))) {
        return wrong(creation, "status", "must be done, goal or blocked");
    }
    if (request->occurred_on.bytes > 0 && !is_day(request->occurred_on)) {
        return wrong(creation, "occurredOn", "must be a day, as in 2026-01-31");
    }
    if (request->team.bytes == 0) {
        return wrong(creation, "team", "is missing: the name of a Team");
    }
    if (request->occurred_on.bytes > 0) {
        memcpy(entry->occurred_on, request->occurred_on.at, request->occurred_on.bytes);
    }
    hub_id_make(entry->id);
    entry->body = draft.body;
    entry->status = status.bytes > 0 ? status : draft.status;
    entry->team = request->team;
    entry->user = request->user;
    entry->author = request->author;
    entry->type = SLICE("api");
    entry->state = "ready";
    entry->received_ns = creation->now_ns;
    return BK_OK;
}

static enum bk_err create(struct store_txn *txn, void *context)
{
    struct creation *creation = context;
    struct entry *entry = &creation->entry;
    char canvas[NAME_BYTES_MAX + 1];
    struct record record;
    enum bk_err err = hub_canvas(txn, creation->request->canvas, canvas);
    if (err == BK_INVALID) {
        return wrong(creation, "canvas", "is no name of a canvas");
    }
    entry->canvas = slice_str(canvas);
    struct slice place = entry->canvas;
    if (err == BK_OK) {
        err = find_team(txn, &place, entry->team, &record);
    }
    if (err == BK_OK && creation->request->only_canvas && !slice_equal(place, entry->canvas)) {
        err = BK_NOT_FOUND;
    }
    if (err == BK_NOT_FOUND) {
        return wrong(creation, "team", "there is no Team \"%.*s\"",
                     (int)(entry->team.bytes < 64 ? entry->team.bytes : 64),
                     (const char *)entry->team.at);
    }
    bool known =
        entry->user.bytes == 0 || entry_member(txn, entry->canvas, entry->team, entry->user);
    if (err == BK_OK && !known) {
        return wrong(creation, "user", "\"%.*s\" is no member of Team \"%.*s\"",
                     (int)(entry->user.bytes < 64 ? entry->user.bytes : 64),
                     (const char *)entry->user.at, (int)entry->team.bytes,
                     (const char *)entry->team.at);
    }
    return err == BK_OK ? entry_put(creation->hub, txn, entry, creation->now_ns, &creation->arena)
                        : err;
}

enum bk_err entry_create(struct hub *hub, const struct entry_request *request, int64_t now_ns,
                         struct entry_problem *ret_problem, struct buf *json)
{
    struct creation creation = {
        .hub = hub, .request = request, .now_ns = now_ns, .problem = ret_problem};
    char id[33];
    *ret_problem = (struct entry_problem){NULL, ""};
    arena_init(&creation.arena, 1U << 20);
    enum bk_err err = fill(&creation);
    if (err == BK_OK) {
        err = store_update(hub->store, create, &creation);
    }
    if (err == BK_OK) {
        hex_encode(creation.entry.id, 16, id);
        err = entries_get_json(hub, slice_of(id, 32), json);
    }
    arena_fini(&creation.arena);
    return err;
}

/* ---- reading */

static bool matches(yyjson_mut_val *entry, const char *name, struct slice wanted)
{
    yyjson_mut_val *value = yyjson_mut_obj_get(entry, name);
    return wanted.bytes == 0 || (yyjson_mut_is_str(value) && slice_equal(json_text(value), wanted));
}

static bool is_wanted(const struct entries_query *query, struct slice text)
{
    struct json_tree tree;
    struct json_problem problem;
    if (query->team.bytes + query->user.bytes + query->status.bytes + query->canvas.bytes == 0) {
        return true;
    }
    json_tree_init(&tree);
    bool wanted = json_parse(text, &tree, &problem) == BK_OK &&
                  matches(tree.roots[0], "team", query->team) &&
                  matches(tree.roots[0], "user", query->user) &&
                  matches(tree.roots[0], "status", query->status) &&
                  matches(tree.roots[0], "canvasId", query->canvas);
    json_tree_fini(&tree);
    return wanted;
}

enum bk_err entries_list_json(struct hub *hub, const struct entries_query *query, struct buf *json)
{
    struct store_txn *txn;
    struct slice value;
    struct key key;
    uint64_t number = 0;
    unsigned found = 0, looked = 0;
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    err = store_number(txn, KEY_ENTRY_NUMBER, &number);
    number = query->before > 0 && query->before <= number ? query->before - 1 : number;
    buf_add_str(json, "{\"items\":[");
    for (; err == BK_OK && number > 0 && found < query->limit && looked < LIST_LOOKED_MAX;
         number--, looked++) {
        key_entry(&key, number);
        if (store_get(txn, key_slice(&key), &value) == BK_OK && is_wanted(query, value)) {
            buf_add_str(json, found++ > 0 ? "," : "");
            buf_add_slice(json, value);
        }
    }
    buf_add_byte(json, ']');
    if (number > 0) {
        buf_printf(json, ",\"next\":\"%llu\"", (unsigned long long)number + 1);
    }
    buf_add_byte(json, '}');
    store_read_end(txn);
    return err == BK_OK && json->overflow ? BK_TOO_LARGE : err;
}

enum bk_err entries_get_json(struct hub *hub, struct slice id, struct buf *json)
{
    struct store_txn *txn;
    struct slice value;
    struct key key;
    uint8_t bytes[16];
    if (!hex_decode(id, bytes, sizeof bytes)) {
        return BK_NOT_FOUND;
    }
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    key_entry_id(&key, bytes);
    err = store_get(txn, key_slice(&key), &value);
    if (err == BK_OK) {
        key_entry(&key, value.bytes == 8 ? key_get_u64(value.at) : 0);
        err = store_get(txn, key_slice(&key), &value);
    }
    if (err == BK_OK) {
        buf_add_slice(json, value);
    }
    store_read_end(txn);
    return err;
}

enum bk_err entry_stored(struct store_txn *txn, uint64_t number, struct slice *ret_json)
{
    struct key key;
    key_entry(&key, number);
    return store_get(txn, key_slice(&key), ret_json);
}

enum bk_err entries_message(struct store_txn *txn, uint64_t number, struct arena *arena,
                            struct slice *ret_text)
{
    struct slice value;
    struct integration_view entry;
    enum bk_err err = entry_stored(txn, number, &value);
    if (err == BK_OK) {
        err = integration_view_open(value, &entry);
    }
    if (err != BK_OK) {
        return err;
    }
    struct slice user = integration_text(&entry, "user"), body = integration_text(&entry, "body");
    user = user.bytes > 0 ? user : integration_text(&entry, "author");
    struct slice status = integration_text(&entry, "status");
    bool done = slice_equal(status, SLICE("done"));
    *ret_text = slice_str(arena_printf(arena, "%.*s%s%.*s%s: %.*s", (int)user.bytes,
                                       (const char *)user.at, done ? "" : " (",
                                       (int)(done ? 0 : status.bytes), (const char *)status.at,
                                       done ? "" : ")", (int)body.bytes, (const char *)body.at));
    integration_view_close(&entry);
    return arena->overflow ? BK_NO_MEMORY : BK_OK;
}
