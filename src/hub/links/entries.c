#include "hub/links/entries.h"

#include "base/hex.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/time.h"
#include "hub/events/event_id.h"
#include "hub/events/events.h"
#include "hub/hub_private.h"
#include "hub/links/entry_drafts.h"
#include "hub/links/link.h"
#include "hub/operations/integration_view.h"
#include "hub/operations/operation.h"

#include <stdio.h>
#include <stdlib.h>

#define RECORDS_A_TURN  64U
#define PENDING_MAX     512U
#define LINKS_MAX       64U /* of a source, and of a team */
#define USERS_LOOKED    1000U
#define ARENA_BYTES_MAX (32U << 20)
#define RETRY_NS        (5 * NS_PER_SECOND)
#define LATE_NS         (3600 * NS_PER_SECOND)
#define CURSOR_NS       (30 * NS_PER_SECOND)
#define LIST_LOOKED_MAX 20000U

struct pending {
    uint8_t id[16];
    struct slice body, status, user, author, team, canvas, source, link, type;
    char event[EVENT_ID_BYTES + 1];
    const char *state; /* "ready", "unknown-author", "not-a-member" */
    int64_t received_ns;
};

struct entries {
    struct hub *hub;
    struct catalog *catalog;
    struct reader *reader;
    struct event_scan scan;
    bool active, scanning;
    bool started; /* the first look is over */
    int64_t next_ns;
    int64_t cursor_ns; /* when the cursor was stored last */
    struct filter_scratch *scratch;
    struct arena arena; /* of a turn */
    unsigned count;
    struct pending pending[PENDING_MAX];
};

enum bk_err entries_open(struct hub *hub, struct catalog *catalog, struct entries **ret_entries)
{
    struct entries *entries = calloc(1, sizeof *entries);
    if (!entries) {
        return BK_NO_MEMORY;
    }
    entries->hub = hub;
    entries->catalog = catalog;
    arena_init(&entries->arena, ARENA_BYTES_MAX);
    hub->links_changed = true;
    *ret_entries = entries;
    return BK_OK;
}

void entries_close(struct entries *entries)
{
    if (!entries) {
        return;
    }
    if (entries->reader) {
        reader_close(entries->reader);
    }
    if (entries->scratch) {
        filter_scratch_close(entries->scratch);
    }
    arena_fini(&entries->arena);
    free(entries);
}

/* ---- names of links that refer to something */

struct link_names {
    struct arena *arena;
    size_t skip;
    unsigned count;
    struct {
        struct slice canvas, name;
    } at[LINKS_MAX];
};

static struct slice kept(struct arena *arena, struct slice text)
{
    char *copy = text.bytes > 0 ? arena_copy(arena, text.at, text.bytes) : NULL;
    return slice_of(copy, copy ? text.bytes : 0);
}

static bool note_link(void *context, struct slice key, struct slice value)
{
    struct link_names *names = context;
    struct slice canvas, name;
    (void)value;
    if (hub_split(slice_skip(key, names->skip), &canvas, &name)) {
        names->at[names->count].canvas = kept(names->arena, canvas);
        names->at[names->count++].name = kept(names->arena, name);
    }
    return names->count < LINKS_MAX;
}

static enum bk_err links_of(struct store_txn *txn, enum resource_kind kind, struct slice canvas,
                            struct slice name, struct arena *arena, struct link_names *ret_names)
{
    struct key prefix;
    uint8_t user = resource_kind_info(RESOURCE_INTEGRATION_LINK)->key;
    *ret_names = (struct link_names){.arena = arena};
    key_users(&prefix, resource_kind_info(kind)->key, canvas, name);
    key_add(&prefix, &user, 1);
    ret_names->skip = prefix.bytes;
    return store_walk(txn, key_slice(&prefix), SLICE_EMPTY, note_link, ret_names);
}

/* ---- who did it */

struct author_walk {
    struct store_txn *txn;
    const struct entry_draft *draft;
    struct arena *arena;
    size_t skip;
    unsigned looked;
    struct slice user; /* of ours */
};

static bool same_text(struct slice a, struct slice b)
{
    return a.bytes > 0 && slice_equal_nocase(a, b);
}

static bool look_at_author(void *context, struct slice key, struct slice value)
{
    struct author_walk *walk = context;
    struct slice canvas, name;
    struct record record;
    struct integration_view person;
    (void)value;
    if (!hub_split(slice_skip(key, walk->skip), &canvas, &name) ||
        hub_record(walk->txn, RESOURCE_INTEGRATION_USER, canvas, name, &record) != BK_OK ||
        integration_view_open(record.spec, &person) != BK_OK) {
        return true;
    }
    const struct entry_draft *draft = walk->draft;
    struct slice uid = integration_text(&person, "uid");
    bool same = (draft->uid.bytes > 0 && slice_equal(draft->uid, uid)) ||
                same_text(draft->nickname, integration_text(&person, "nickname")) ||
                same_text(draft->email, integration_text(&person, "email"));
    if (same) {
        walk->user = kept(walk->arena, integration_text(&person, "user/name"));
    }
    integration_view_close(&person);
    return !same && ++walk->looked < USERS_LOOKED;
}

static struct slice find_author(struct store_txn *txn, struct slice canvas,
                                struct slice integration, const struct entry_draft *draft,
                                struct arena *arena)
{
    struct author_walk walk = {.txn = txn, .draft = draft, .arena = arena};
    struct record record;
    struct key prefix;
    uint8_t kind = resource_kind_info(RESOURCE_INTEGRATION_USER)->key;
    if (integration.bytes == 0) { /* a generic link: a user of ours by name */
        return draft->uid.bytes > 0 &&
                       hub_record(txn, RESOURCE_USER, canvas, draft->uid, &record) == BK_OK
                   ? draft->uid
                   : SLICE_EMPTY;
    }
    if (hub_record(txn, RESOURCE_INTEGRATION, canvas, integration, &record) != BK_OK) {
        canvas = SLICE(RESOURCE_CANVAS_DEFAULT);
    }
    key_users(&prefix, resource_kind_info(RESOURCE_INTEGRATION)->key, canvas, integration);
    key_add(&prefix, &kind, 1);
    walk.skip = prefix.bytes;
    return store_walk(txn, key_slice(&prefix), SLICE_EMPTY, look_at_author, &walk) == BK_OK
               ? walk.user
               : SLICE_EMPTY;
}

/* A team without members is everybody's. */
static bool is_member(struct store_txn *txn, struct slice canvas, struct slice team,
                      struct slice user)
{
    struct record record;
    struct integration_view view;
    if (hub_record(txn, RESOURCE_TEAM, canvas, team, &record) != BK_OK) {
        canvas = SLICE(RESOURCE_CANVAS_DEFAULT);
        if (hub_record(txn, RESOURCE_TEAM, canvas, team, &record) != BK_OK) {
            return false;
        }
    }
    if (integration_view_open(record.spec, &view) != BK_OK) {
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

/* ---- from an event to what is pending */

static bool evaluate(struct entries *entries, struct slice expression, struct slice body,
                     struct slice type, struct slice source, struct slice *ret_text)
{
    struct filter *filter;
    struct filter_error error;
    struct filter_event event;
    struct filter_value value;
    struct slice text;
    if (!entries->scratch &&
        filter_scratch_open(FILTER_SCRATCH_BYTES, &entries->scratch) != BK_OK) {
        return false;
    }
    if (filter_compile(expression, FILTER_DATA, false, &filter, &error) != BK_OK) {
        return false;
    }
    filter_event_init(&event, entries->scratch, NULL, body, type, source);
    bool good = filter_evaluate(filter, &event, &value) && filter_value_text(&event, &value, &text);
    *ret_text = good ? kept(&entries->arena, text) : SLICE_EMPTY;
    filter_free(filter);
    return good;
}

static void read_generic(struct entries *entries, const struct integration_view *link,
                         struct slice type, struct slice source, struct slice body,
                         struct entry_drafts *drafts)
{
    struct slice when = integration_text(link, "entry/when");
    struct slice author = integration_text(link, "entry/author");
    struct slice expression = integration_text(link, "entry/body"), text;
    drafts->count = 0;
    if (when.bytes > 0 && (!evaluate(entries, when, body, type, source, &text) ||
                           !slice_equal(text, SLICE("true")))) {
        return;
    }
    if (expression.bytes == 0 || !evaluate(entries, expression, body, type, source, &text) ||
        text.bytes == 0) {
        return;
    }
    struct entry_draft *draft = &drafts->at[drafts->count++];
    *draft = (struct entry_draft){.body = SLICE_EMPTY};
    entry_draft_text(draft, text, &entries->arena);
    if (author.bytes > 0 && evaluate(entries, author, body, type, source, &text)) {
        draft->uid = draft->nickname = draft->email = text;
    }
    drafts->count -= draft->body.bytes == 0;
}

/* The same commit, or the same part of the same event, is the same entry of a team. */
static void make_id(const struct pending *pending, const struct entry_draft *draft, unsigned index,
                    uint8_t ret_id[16])
{
    struct buf text;
    uint8_t digest[SHA256_BYTES];
    buf_init(&text, 16384);
    buf_add_slice(&text, pending->canvas);
    buf_add_byte(&text, 0);
    buf_add_slice(&text, pending->team.bytes > 0 ? pending->team : pending->user);
    buf_add_byte(&text, pending->team.bytes > 0 ? 'T' : 'U');
    if (draft->part.bytes > 0) {
        buf_add_slice(&text, draft->part);
    } else {
        buf_printf(&text, "%s/%u", pending->event, index);
    }
    sha256(buf_slice(&text), digest);
    memcpy(ret_id, digest, 16);
    buf_fini(&text);
}

static void add_pending(struct entries *entries, struct store_txn *txn,
                        const struct integration_view *link, const struct pending *common,
                        const struct entry_draft *draft, unsigned index)
{
    if (entries->count == PENDING_MAX) {
        return; /* not reached: a turn ends before */
    }
    struct pending *pending = &entries->pending[entries->count];
    struct arena *arena = &entries->arena;
    *pending = *common;
    pending->body = draft->body;
    pending->status = draft->status;
    struct slice user = integration_text(link, "user/name");
    pending->user =
        find_author(txn, pending->canvas, integration_text(link, "integration/name"), draft, arena);
    if (pending->user.bytes == 0 && user.bytes > 0) {
        pending->user = kept(arena, user);
    }
    pending->author = draft->nickname.bytes > 0 ? draft->nickname
                      : draft->email.bytes > 0  ? draft->email
                                                : draft->uid;
    pending->state = "ready";
    if (pending->user.bytes == 0) {
        pending->state = "unknown-author";
    } else if (pending->team.bytes > 0 &&
               !is_member(txn, pending->canvas, pending->team, pending->user)) {
        pending->state = "not-a-member";
    }
    make_id(pending, draft, index, pending->id);
    entries->count++;
}

static void take_link(struct entries *entries, struct store_txn *txn, struct slice canvas,
                      struct slice name, const struct journal_record *record, struct slice type,
                      struct slice source)
{
    struct entry_drafts *drafts = arena_take(&entries->arena, sizeof *drafts);
    struct integration_view link;
    struct record stored;
    struct slice body = event_body(record);
    if (!drafts || hub_record(txn, RESOURCE_INTEGRATION_LINK, canvas, name, &stored) != BK_OK ||
        record->entry.received_ns < stored.created_ns ||
        integration_view_open(stored.spec, &link) != BK_OK) {
        return; /* a link is for what comes after it */
    }
    struct slice kind = integration_text(&link, "type");
    if (slice_equal(kind, SLICE("generic"))) {
        read_generic(entries, &link, type, source, body, drafts);
    } else {
        entry_drafts_read(kind, type, body, &entries->arena, drafts);
    }
    struct pending common = {.team = kept(&entries->arena, integration_text(&link, "team/name")),
                             .canvas = canvas,
                             .source = source,
                             .link = name,
                             .type = kept(&entries->arena, kind),
                             .received_ns = record->entry.received_ns};
    event_id_format(record->position, record->entry.received_ns, common.event);
    for (unsigned i = 0; i < drafts->count; i++) {
        add_pending(entries, txn, &link, &common, &drafts->at[i], i);
    }
    integration_view_close(&link);
}

/* ---- which links are meant */

/* Of a Slack command: the links of the channel it was written in, if there are any. */
static void choose_channel(struct store_txn *txn, const struct journal_record *record,
                           struct link_names *links)
{
    static const char field[] = "channel_id=";
    struct slice body = event_body(record);
    const uint8_t *at = memmem(body.at, body.bytes, field, sizeof field - 1);
    struct link_names chosen = {.count = 0};
    char wanted[80];
    if (!at) {
        return;
    }
    struct slice rest = slice_skip(body, (size_t)(at - body.at) + sizeof field - 1);
    struct slice channel = slice_of(rest.at, slice_find(rest, '&'));
    int bytes = snprintf(wanted, sizeof wanted, "\"resourceId\":\"%.*s\"",
                         (int)(channel.bytes < 40 ? channel.bytes : 40), (const char *)channel.at);
    for (unsigned i = 0; i < links->count; i++) {
        struct record link;
        struct slice status;
        struct key key;
        if (hub_record(txn, RESOURCE_INTEGRATION_LINK, links->at[i].canvas, links->at[i].name,
                       &link) != BK_OK) {
            continue;
        }
        key_status(&key, link.id);
        if (store_get(txn, key_slice(&key), &status) == BK_OK &&
            memmem(status.at, status.bytes, wanted, (size_t)bytes)) {
            chosen.at[chosen.count++] = links->at[i];
        }
    }
    if (chosen.count > 0) {
        *links = chosen;
    }
}

struct wide_walk {
    struct entries *entries;
    struct link_names *links;
    struct slice type;
    struct slice full, name; /* of the repository that the payload names */
    unsigned looked;
};

static bool look_at_wide(void *context, struct slice key, struct slice value)
{
    struct wide_walk *walk = context;
    struct slice canvas, name;
    struct record record;
    struct integration_view link;
    if (!hub_split(slice_skip(key, 3), &canvas, &name) || record_decode(value, &record) != BK_OK ||
        integration_view_open(record.spec, &link) != BK_OK) {
        return true;
    }
    struct slice repository = integration_text(&link, "settings/repository");
    repository = repository.bytes > 0 ? repository : integration_text(&link, "settings/project");
    if (slice_equal(integration_text(&link, "type"), walk->type) && repository.bytes > 0 &&
        (slice_equal_nocase(repository, walk->full) ||
         slice_equal_nocase(repository, walk->name))) {
        walk->links->at[walk->links->count].canvas = kept(&walk->entries->arena, canvas);
        walk->links->at[walk->links->count++].name = kept(&walk->entries->arena, name);
    }
    integration_view_close(&link);
    return walk->links->count < LINKS_MAX && ++walk->looked < USERS_LOOKED;
}

/* The provider-wide address (/integrations/{type}/hook): a source whose path is its type. The
 * payload says which repository it is about, and so which links. */
static void find_wide(struct entries *entries, struct store_txn *txn,
                      const struct hub_source_name *source, const struct journal_record *record,
                      struct link_names *links)
{
    struct record stored;
    struct source_input input;
    struct integration_view body;
    struct key prefix;
    struct wide_walk walk = {.entries = entries, .links = links, .type = slice_str(source->type)};
    const struct link_type *type = link_type_find(walk.type);
    if (!type || !type->makes_hook ||
        hub_record(txn, RESOURCE_EVENT_SOURCE, slice_str(source->canvas), slice_str(source->name),
                   &stored) != BK_OK ||
        source_input_decode(stored.compiled, &input) != BK_OK ||
        !slice_equal(input.path, walk.type) ||
        integration_view_open(event_body(record), &body) != BK_OK) {
        return;
    }
    walk.full = integration_text(&body, "repository/full_name");
    walk.full =
        walk.full.bytes > 0 ? walk.full : integration_text(&body, "project/path_with_namespace");
    walk.name = integration_text(&body, "repository/name");
    key_canvas(&prefix, resource_kind_info(RESOURCE_INTEGRATION_LINK)->key,
               slice_str(source->canvas));
    if (store_walk(txn, key_slice(&prefix), SLICE_EMPTY, look_at_wide, &walk) != BK_OK) {
        links->count = 0;
    }
    integration_view_close(&body);
}

static void consider(struct entries *entries, const struct journal_record *record)
{
    struct hub_source_name source;
    struct store_txn *txn;
    struct link_names links;
    if (hub_source_name(entries->hub, record->entry.source, &source) != BK_OK ||
        store_read(entries->hub->store, &txn) != BK_OK) {
        return;
    }
    struct slice canvas = slice_str(source.canvas), name = slice_str(source.name);
    if (links_of(txn, RESOURCE_EVENT_SOURCE, canvas, name, &entries->arena, &links) == BK_OK) {
        if (links.count == 0) {
            find_wide(entries, txn, &source, record, &links);
        } else if (links.count > 1) {
            choose_channel(txn, record, &links);
        }
        struct slice type =
            slice_of(record->message + record->entry.type_at, record->entry.type_bytes);
        name = kept(&entries->arena, name);
        for (unsigned i = 0; i < links.count; i++) {
            take_link(entries, txn, links.at[i].canvas, links.at[i].name, record, type, name);
        }
    }
    store_read_end(txn);
}

/* ---- storing */

static void add_member(struct buf *json, const char *name, struct slice text)
{
    if (text.bytes > 0) {
        buf_printf(json, ",\"%s\":", name);
        json_add_string(json, text);
    }
}

static void write_json(const struct pending *pending, struct buf *json)
{
    char id[33], stamp[25];
    hex_encode(pending->id, 16, id);
    id[32] = '\0';
    time_format_rfc3339(pending->received_ns, stamp);
    buf_printf(json, "{\"id\":\"%s\"", id);
    add_member(json, "body", pending->body);
    buf_printf(json, ",\"occurredOn\":\"%.10s\"", stamp);
    add_member(json, "status", pending->status);
    add_member(json, "state", slice_str(pending->state));
    add_member(json, "user", pending->user);
    add_member(json, "author", pending->author);
    add_member(json, "team", pending->team);
    add_member(json, "canvasId", pending->canvas);
    add_member(json, "type", pending->type);
    add_member(json, "source", pending->source);
    add_member(json, "link", pending->link);
    add_member(json, "event", slice_str(pending->event));
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

/* One message of one link. */
static enum bk_err post(struct entries *entries, struct store_txn *txn,
                        const struct pending *pending, uint64_t number, struct slice canvas,
                        struct slice name, int64_t now_ns)
{
    struct record record, integration;
    struct integration_view link;
    uint8_t digest[SHA256_BYTES], text[16 + 2 * NAME_BYTES_MAX];
    enum bk_err err = hub_record(txn, RESOURCE_INTEGRATION_LINK, canvas, name, &record);
    if (err == BK_OK) {
        err = integration_view_open(record.spec, &link);
    }
    if (err != BK_OK) {
        return err;
    }
    const struct link_type *type = link_type_find(integration_text(&link, "type"));
    bool wanted = type && type->posts && wants_status(&link, pending->status);
    struct slice target = kept(&entries->arena, integration_text(&link, "integration/name"));
    integration_view_close(&link);
    if (!wanted) {
        return BK_OK;
    }
    struct slice place = canvas;
    err = hub_record(txn, RESOURCE_INTEGRATION, place, target, &integration);
    if (err == BK_NOT_FOUND) {
        place = SLICE(RESOURCE_CANVAS_DEFAULT);
        err = hub_record(txn, RESOURCE_INTEGRATION, place, target, &integration);
    }
    if (err != BK_OK) {
        return err == BK_NOT_FOUND ? BK_OK : err;
    }
    memcpy(text, pending->id, 16);
    memcpy(text + 16, record.id, 16);
    sha256(slice_of(text, 32), digest);
    char *shown = arena_printf(&entries->arena, "%llu", (unsigned long long)number);
    struct operation operation = {
        .intent = PROVIDER_POST,
        .kind = RESOURCE_INTEGRATION_LINK,
        .canvas = canvas,
        .name = name,
        .integration_canvas = place,
        .integration = target,
        .provider = slice_str(type->name),
        .memory = {.count = 1, .notes = {{SLICE("entry"), slice_str(shown)}}},
        .created_ns = now_ns,
        .updated_ns = now_ns,
        .due_ns = now_ns};
    memcpy(operation.object, digest, sizeof operation.object);
    entries->hub->work_added = true;
    return operation_add(txn, &operation);
}

static enum bk_err send_out(struct entries *entries, struct store_txn *txn,
                            const struct pending *pending, uint64_t number, int64_t now_ns)
{
    struct link_names links;
    if (pending->team.bytes == 0 || strcmp(pending->state, "ready") != 0) {
        return BK_OK;
    }
    enum bk_err err =
        links_of(txn, RESOURCE_TEAM, pending->canvas, pending->team, &entries->arena, &links);
    for (unsigned i = 0; err == BK_OK && i < links.count; i++) {
        bool back = slice_equal(links.at[i].name, pending->link) &&
                    slice_equal(links.at[i].canvas, pending->canvas);
        if (!back) { /* never through the link it came in by */
            err = post(entries, txn, pending, number, links.at[i].canvas, links.at[i].name, now_ns);
        }
    }
    return err;
}

struct writing {
    struct entries *entries;
    int64_t now_ns;
};

static enum bk_err write_one(struct entries *entries, struct store_txn *txn,
                             const struct pending *pending, int64_t now_ns)
{
    struct key key;
    struct slice value;
    struct buf json;
    uint64_t number;
    uint8_t at[8];
    key_entry_id(&key, pending->id);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err != BK_NOT_FOUND) {
        return err; /* it is there already */
    }
    err = store_next_number(txn, KEY_ENTRY_NUMBER, &number);
    if (err != BK_OK) {
        return err;
    }
    key_put_u64(at, number);
    err = store_put(txn, key_slice(&key), slice_of(at, sizeof at));
    buf_init(&json, 65536);
    write_json(pending, &json);
    key_entry(&key, number);
    if (err == BK_OK) {
        err = json.overflow ? BK_TOO_LARGE : store_put(txn, key_slice(&key), buf_slice(&json));
    }
    buf_fini(&json);
    return err == BK_OK ? send_out(entries, txn, pending, number, now_ns) : err;
}

static enum bk_err write_all(struct store_txn *txn, void *context)
{
    const struct writing *writing = context;
    struct entries *entries = writing->entries;
    struct buf cursor;
    enum bk_err err = BK_OK;
    for (unsigned i = 0; err == BK_OK && i < entries->count; i++) {
        err = write_one(entries, txn, &entries->pending[i], writing->now_ns);
    }
    buf_init(&cursor, 65536);
    event_scan_cursor(&entries->scan, &cursor);
    if (err == BK_OK) {
        err =
            cursor.overflow ? BK_TOO_LARGE : store_put(txn, KEY_ENTRIES_CURSOR, buf_slice(&cursor));
    }
    buf_fini(&cursor);
    return err;
}

/* ---- turns */

static bool found_link(void *context, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    *(bool *)context = true;
    return false;
}

static bool any_link(struct entries *entries)
{
    struct store_txn *txn;
    struct key prefix;
    bool found = false;
    if (store_read(entries->hub->store, &txn) != BK_OK) {
        return false;
    }
    key_kind(&prefix, resource_kind_info(RESOURCE_INTEGRATION_LINK)->key);
    bool walked = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, found_link, &found) == BK_OK;
    store_read_end(txn);
    return walked && found;
}

/* From the stored cursor; without one, from a moment ago. */
static enum bk_err begin(struct entries *entries, int64_t now_ns, bool anew)
{
    struct store_txn *txn;
    struct slice cursor = SLICE_EMPTY;
    struct event_filter filter = {.states = EVENT_STATE(JOURNAL_ACCEPTED),
                                  .since_ns = now_ns - (anew ? NS_PER_SECOND : LATE_NS),
                                  .until_ns = INT64_MAX};
    enum bk_err err = entries->reader ? BK_OK : reader_open(entries->catalog, &entries->reader);
    if (err == BK_OK) {
        err = store_read(entries->hub->store, &txn);
    }
    if (err != BK_OK) {
        return err;
    }
    if (!anew && store_get(txn, KEY_ENTRIES_CURSOR, &cursor) == BK_OK) {
        cursor = kept(&entries->arena, cursor);
        filter.since_ns = INT64_MIN;
    }
    store_read_end(txn);
    err =
        event_scan_begin(&entries->scan, entries->catalog, entries->reader, &filter, true, cursor);
    if (err == BK_INVALID) { /* of other journals: the threads were changed */
        filter.since_ns = now_ns - LATE_NS;
        err = event_scan_begin(&entries->scan, entries->catalog, entries->reader, &filter, true,
                               SLICE_EMPTY);
    }
    return err;
}

static void look_for_links(struct entries *entries, int64_t now_ns)
{
    bool was = entries->active;
    entries->hub->links_changed = false;
    entries->active = any_link(entries);
    if (entries->active && !was) {
        enum bk_err err = begin(entries, now_ns, entries->started);
        entries->scanning = err == BK_OK;
        if (err != BK_OK) {
            log_event(LOG_ERROR, "entries cannot be made", LOG_Z("why", bk_err_text(err)));
            entries->active = false;
            entries->hub->links_changed = true; /* again at the next change or turn */
        }
    }
    entries->started = true;
}

int64_t entries_run(struct entries *entries, int64_t now_ns)
{
    static struct event_scan before; /* the control thread's */
    size_t budget = ENTRIES_STEP_BYTES;
    struct journal_record record;
    enum bk_err err = BK_OK;
    arena_reset(&entries->arena);
    if (entries->hub->links_changed) {
        look_for_links(entries, now_ns);
        entries->next_ns = now_ns;
    }
    if (!entries->active) {
        return INT64_MAX;
    }
    if (now_ns < entries->next_ns) {
        return entries->next_ns;
    }
    before = entries->scan;
    entries->count = 0;
    for (unsigned i = 0; i < RECORDS_A_TURN; i++) {
        if (entries->count + ENTRY_DRAFTS_MAX * 4 > PENDING_MAX) {
            break;
        }
        err = event_scan_next(&entries->scan, NULL, entries->reader, &budget, &record);
        if (err != BK_OK) {
            break;
        }
        if (record.entry.type == JOURNAL_ACCEPTED) {
            consider(entries, &record);
        }
    }
    bool more = err == BK_OK || err == BK_AGAIN;
    entries->next_ns = more ? now_ns : now_ns + ENTRIES_POLL_NS;
    if (entries->count > 0 || now_ns - entries->cursor_ns > CURSOR_NS) {
        struct writing writing = {entries, now_ns};
        err = entries->arena.overflow ? BK_NO_MEMORY
                                      : store_update(entries->hub->store, write_all, &writing);
        if (err != BK_OK) {
            log_event(LOG_ERROR, "entries cannot be stored", LOG_Z("why", bk_err_text(err)));
            entries->scan = before;
            entries->next_ns = now_ns + RETRY_NS;
            return entries->next_ns;
        }
        entries->cursor_ns = now_ns;
    }
    return entries->next_ns;
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

enum bk_err entries_message(struct store_txn *txn, uint64_t number, struct arena *arena,
                            struct slice *ret_text)
{
    struct slice value;
    struct key key;
    struct integration_view entry;
    key_entry(&key, number);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err == BK_OK) {
        err = integration_view_open(value, &entry);
    }
    if (err != BK_OK) {
        return err;
    }
    struct slice user = integration_text(&entry, "user"), body = integration_text(&entry, "body");
    struct slice status = integration_text(&entry, "status");
    bool done = slice_equal(status, SLICE("done"));
    *ret_text = slice_str(arena_printf(arena, "%.*s%s%.*s%s: %.*s", (int)user.bytes,
                                       (const char *)user.at, done ? "" : " (",
                                       (int)(done ? 0 : status.bytes), (const char *)status.at,
                                       done ? "" : ")", (int)body.bytes, (const char *)body.at));
    integration_view_close(&entry);
    return arena->overflow ? BK_NO_MEMORY : BK_OK;
}
