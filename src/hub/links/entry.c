#include "hub/links/entry_private.h"

#include "base/hex.h"
#include "base/sha256.h"
#include "base/time.h"
#include "hub/links/link.h"
#include "hub/links/link_find.h"
#include "hub/operations/integration_view.h"
#include "hub/operations/operation.h"

#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

#define WAY_BYTES_MAX (1U << 20) /* names of LINKS_OF_ONE_MAX links */

/* ---- teams */

enum bk_err entry_find_team(struct store_txn *txn, struct slice *canvas, struct slice team,
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
    if (entry_find_team(txn, &canvas, team, &record) != BK_OK ||
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

void entry_write_json(const struct entry *entry, struct buf *json)
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
    if (entry->updated_ns != 0) {
        time_format_rfc3339(entry->updated_ns, stamp);
        add_member(json, "updatedAt", slice_str(stamp));
    }
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

/* The object of the operation that posts this entry through this link. */
static void post_id(const uint8_t entry[16], const uint8_t link[16], uint8_t ret_id[16])
{
    uint8_t digest[SHA256_BYTES], text[32];
    memcpy(text, entry, 16);
    memcpy(text + 16, link, 16);
    sha256(slice_of(text, sizeof text), digest);
    memcpy(ret_id, digest, 16);
}

/* A message in the link's channel: an operation of its own, for this entry and this link. */
static enum bk_err post(const struct entry_way *way, const struct link_type *type,
                        const struct record *link, struct slice canvas, struct slice name,
                        struct slice integration)
{
    struct record record;
    struct slice place = canvas;
    enum bk_err err = hub_record(way->txn, RESOURCE_INTEGRATION, place, integration, &record);
    if (err == BK_NOT_FOUND) {
        place = SLICE(RESOURCE_CANVAS_DEFAULT);
        err = hub_record(way->txn, RESOURCE_INTEGRATION, place, integration, &record);
    }
    if (err != BK_OK) {
        return err == BK_NOT_FOUND ? BK_OK : err;
    }
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
    post_id(way->entry->id, link->id, operation.object);
    way->hub->work_added = true;
    return operation_add(way->txn, &operation);
}

/* An event for the link's destination. */
static enum bk_err hand_out(const struct entry_way *way, struct slice canvas,
                            struct slice destination)
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

static enum bk_err send_through(const struct entry_way *way, struct slice canvas, struct slice name)
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

static enum bk_err send_to_team(const struct entry_way *way)
{
    const struct entry *entry = way->entry;
    struct link_names links;
    struct record team;
    struct slice canvas = entry->canvas;
    enum bk_err err = entry_find_team(way->txn, &canvas, entry->team, &team);
    if (err == BK_OK) {
        err = links_out_of(way->txn, canvas, entry->team, way->arena, &links);
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

enum bk_err entry_send_out(struct entry_way *way)
{
    struct arena arena;
    if (way->entry->team.bytes == 0 || strcmp(way->entry->state, "ready") != 0) {
        return BK_OK;
    }
    arena_init(&arena, WAY_BYTES_MAX);
    way->arena = &arena;
    enum bk_err err = send_to_team(way);
    err = err == BK_OK && arena.overflow ? BK_NO_MEMORY : err;
    way->arena = NULL;
    arena_fini(&arena);
    return err;
}

enum bk_err entry_put(struct hub *hub, struct store_txn *txn, const struct entry *entry,
                      int64_t now_ns)
{
    struct entry_way way = {hub, txn, entry, 0, now_ns, NULL};
    struct key key;
    struct slice value;
    struct buf json;
    uint8_t at[8];
    key_entry_id(&key, entry->id);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err != BK_NOT_FOUND) {
        return err; /* it is there already, or was deleted */
    }
    err = store_next_number(txn, KEY_ENTRY_NUMBER, &way.number);
    if (err != BK_OK) {
        return err;
    }
    key_put_u64(at, way.number);
    err = store_put(txn, key_slice(&key), slice_of(at, sizeof at));
    buf_init(&json, 65536);
    entry_write_json(entry, &json);
    key_entry(&key, way.number);
    if (err == BK_OK) {
        err = json.overflow ? BK_TOO_LARGE : store_put(txn, key_slice(&key), buf_slice(&json));
    }
    if (err == BK_OK) {
        err = entry_index_put(txn, way.number, buf_slice(&json));
    }
    buf_fini(&json);
    return err == BK_OK ? entry_send_out(&way) : err;
}

/* ---- reading */

enum bk_err entry_stored(struct store_txn *txn, uint64_t number, struct slice *ret_json)
{
    struct key key;
    key_entry(&key, number);
    return store_get(txn, key_slice(&key), ret_json);
}

/* What was written for one team and one link goes nowhere else, whatever is called so now. */
static bool goes_by(const struct integration_view *entry, const uint8_t post[16],
                    const struct entry_link *link)
{
    uint8_t id[16], wanted[16];
    if (!hex_decode(integration_text(entry, "id"), id, sizeof id)) {
        return false;
    }
    post_id(id, link->id, wanted);
    return memcmp(wanted, post, sizeof wanted) == 0 &&
           slice_equal(integration_text(entry, "team"), link->team);
}

enum bk_err entries_message(struct store_txn *txn, uint64_t number, const uint8_t post[16],
                            const struct entry_link *link, struct arena *arena,
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
    if (!goes_by(&entry, post, link)) {
        integration_view_close(&entry);
        return BK_NOT_FOUND;
    }
    struct slice user = integration_text(&entry, "user"), body = integration_text(&entry, "body");
    user = user.bytes > 0 ? user : integration_text(&entry, "author");
    struct slice status = integration_text(&entry, "status");
    bool done = slice_equal(status, SLICE("done"));
    bool bare = done && user.bytes == 0; /* of nobody: its text is all there is to say */
    *ret_text = slice_str(arena_printf(arena, "%.*s%s%.*s%s%s%.*s", (int)user.bytes,
                                       (const char *)user.at, done ? "" : user.bytes ? " (" : "(",
                                       (int)(done ? 0 : status.bytes), (const char *)status.at,
                                       done ? "" : ")", bare ? "" : ": ", (int)body.bytes,
                                       (const char *)body.at));
    integration_view_close(&entry);
    return arena->overflow ? BK_NO_MEMORY : BK_OK;
}
