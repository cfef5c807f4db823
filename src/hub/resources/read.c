/* read.c - objects as JSON, names of sources, counts; contract in hub/hub.h. */
#include "base/assert.h"
#include "base/json.h"
#include "base/time.h"
#include "hub/hub_private.h"
#include "hub/links/link.h"
#include "hub/metrics.h"
#include "hub/operations/integration_view.h"
#include "hub/people/people_index.h"
#include "providers/scheme.h"

#include <stdio.h>

static void add_field(struct buf *json, const char *name, struct slice text)
{
    buf_add_byte(json, '"');
    buf_add_str(json, name);
    buf_add_str(json, "\":");
    json_add_string(json, text);
}

static void add_time(struct buf *json, const char *name, int64_t wall_ns)
{
    char text[25];
    time_format_rfc3339(wall_ns, text);
    buf_add_byte(json, ',');
    add_field(json, name, slice_str(text));
}

static void add_time_text(struct buf *json, int64_t wall_ns)
{
    char text[25];
    time_format_rfc3339(wall_ns, text);
    json_add_string(json, slice_str(text));
}

/* The last request that was taken and the last that was not, since the server started. */
static void add_activity(struct hub *hub, struct buf *json, const struct record *record)
{
    struct metrics_source sum = {0};
    if (!hub->activity || !hub->activity(hub->activity_context, record->number, &sum)) {
        return;
    }
    if (sum.accepted_ns != 0) {
        buf_add_str(json, ",\"lastAccepted\":{\"at\":");
        add_time_text(json, (int64_t)sum.accepted_ns);
        buf_add_byte(json, '}');
    }
    if (sum.refused_ns != 0) {
        enum scheme_verdict verdict = (enum scheme_verdict)sum.refused_reason;
        buf_add_str(json, ",\"lastRefused\":{\"at\":");
        add_time_text(json, (int64_t)sum.refused_ns);
        buf_add_byte(json, ',');
        add_field(json, "reason", slice_str(scheme_verdict_name(verdict)));
        buf_add_byte(json, ',');
        add_field(json, "message", slice_str(scheme_verdict_text(verdict)));
        buf_add_byte(json, '}');
    }
}

/* Of a source whose provider brings the secret: does it still wait, or was one brought, which a
 * person has to type in there? ,"state":… ; false of all others. */
static bool add_learned_status(struct buf *json, const struct source_input *input,
                               struct slice canvas, struct slice name)
{
    const struct scheme_row *row = input->custom ? NULL : scheme_row_find(input->type);
    bool waits = row && scheme_row_learns(row), brought = false;
    for (unsigned i = 0; i < input->secret_count; i++) {
        waits = waits && input->secrets[i].is_verify_token;
        brought = brought || slice_equal(input->secrets[i].field, LEARNED_FIELD);
    }
    if (waits) {
        buf_add_str(json, "\"state\":\"waiting\",\"reason\":\"the provider brings the secret when "
                          "the hook is set up there\"");
        return true;
    }
    if (!brought || !row || !scheme_row_shows_learned(row)) {
        return false;
    }
    bool elsewhere = !slice_equal(canvas, SLICE(RESOURCE_CANVAS_DEFAULT));
    buf_printf(json,
               "\"state\":\"ready\",\"message\":\"%s brought its verification token\","
               "\"advice\":\"if %s asks for it: `becket secrets event-source %.*s%s%.*s` shows it "
               "to administrators\"",
               scheme_row_title(row), scheme_row_title(row), (int)name.bytes, (const char *)name.at,
               elsewhere ? " --canvas " : "", elsewhere ? (int)canvas.bytes : 0,
               (const char *)canvas.at);
    return true;
}

/* What a provider had to say: ,"state":… ; false when nothing is known. */
static bool add_stored_status(struct store_txn *txn, struct buf *json, const uint8_t id[16])
{
    struct key key;
    struct slice members;
    key_status(&key, id);
    if (store_get(txn, key_slice(&key), &members) != BK_OK || members.bytes == 0) {
        return false;
    }
    buf_add_slice(json, members);
    return true;
}

static bool signs_in(const struct record *integration)
{
    static const char by[] = "\"use\":\"AUTH_TYPE_OAUTH\"";
    return memmem(integration->spec.at, integration->spec.bytes, by, sizeof by - 1) != NULL;
}

static void add_disconnected(struct buf *json, struct slice integration)
{
    buf_add_str(json, "\"state\":\"error\",\"reason\":\"disconnected\",\"message\":"
                      "\"nobody has connected the integration\",\"advice\":\"open /auth/");
    buf_add_slice(json, integration);
    buf_add_str(json, " on the admin address\"");
}

static void add_integration_status(struct store_txn *txn, struct buf *json, struct slice canvas,
                                   struct slice name, const struct record *record)
{
    buf_add_str(json, ",\"status\":{");
    if (signs_in(record) && !people_index_anybody(txn, canvas, name, canvas)) {
        add_disconnected(json, name);
    } else if (!add_stored_status(txn, json, record->id)) {
        buf_add_str(json, "\"state\":\"ready\"");
    }
    buf_add_byte(json, '}');
}

/* ---- links */

struct link_view {
    struct integration_view view;
};

static struct slice link_value(void *context, const char *name)
{
    const struct link_view *link = context;
    char path[80];
    bool ref = strcmp(name, "source") == 0 || strcmp(name, "destination") == 0;
    snprintf(path, sizeof path, ref ? "%s/name" : "settings/%s", name);
    return integration_text(&link->view, path);
}

/* Does the integration of the link still have somebody who signed in? */
static bool link_is_connected(struct store_txn *txn, struct slice canvas, struct slice integration)
{
    struct record record;
    struct slice own = canvas;
    if (integration.bytes == 0) {
        return true;
    }
    enum bk_err err = hub_record(txn, RESOURCE_INTEGRATION, canvas, integration, &record);
    if (err == BK_NOT_FOUND) {
        canvas = SLICE(RESOURCE_CANVAS_DEFAULT);
        err = hub_record(txn, RESOURCE_INTEGRATION, canvas, integration, &record);
    }
    return err != BK_OK || !signs_in(&record) ||
           people_index_anybody(txn, canvas, integration, own);
}

static bool add_source_status(struct store_txn *txn, struct buf *json, struct slice canvas,
                              struct slice link)
{
    char name[NAME_BYTES_MAX + 1];
    struct record source;
    return link_source_name(link, name) &&
           hub_record(txn, RESOURCE_EVENT_SOURCE, canvas, slice_str(name), &source) == BK_OK &&
           add_stored_status(txn, json, source.id);
}

static void add_link_status(struct store_txn *txn, struct buf *json, struct slice canvas,
                            struct slice name, const struct record *record)
{
    struct link_view link;
    buf_add_str(json, ",\"status\":{");
    if (integration_view_open(record->spec, &link.view) != BK_OK) {
        buf_add_str(json, "\"state\":\"error\"}");
        return;
    }
    const struct link_type *type = link_type_find(integration_text(&link.view, "type"));
    struct slice team = integration_text(&link.view, "team/name");
    struct slice user = integration_text(&link.view, "user/name");
    struct slice integration = integration_text(&link.view, "integration/name");
    struct buf summary;
    buf_init(&summary, 8192);
    if (type) {
        add_field(json, "shortName", slice_str(type->title));
        link_summary(type, team.bytes > 0 ? team : user, link_value, &link, &summary);
    }
    buf_add_str(json, ",");
    add_field(json, "summary", buf_slice(&summary));
    buf_add_str(json, ",");
    buf_fini(&summary);
    if (!link_is_connected(txn, canvas, integration)) {
        add_disconnected(json, integration);
    } else if (!(type && type->makes_hook ? add_source_status(txn, json, canvas, name)
                                          : add_stored_status(txn, json, record->id))) {
        buf_add_str(json, "\"state\":\"ready\"");
    }
    integration_view_close(&link.view);
    buf_add_byte(json, '}');
}

static void add_status(struct hub *hub, struct store_txn *txn, struct buf *json,
                       struct slice canvas, struct slice name, const struct record *record)
{
    struct source_input input;
    if (source_input_decode(record->compiled, &input) != BK_OK) {
        buf_add_str(json, ",\"status\":{\"state\":\"error\"}");
        return;
    }
    buf_add_str(json, ",\"status\":{");
    add_field(json, "path", input.path);
    buf_printf(json, ",\"url\":\"%s/hooks/%.*s\",", hub->public_url, (int)input.path.bytes,
               (const char *)input.path.at);
    if (!add_learned_status(json, &input, canvas, name) &&
        !add_stored_status(txn, json, record->id)) {
        buf_add_str(json, "\"state\":\"ready\"");
    }
    add_activity(hub, json, record);
    buf_add_byte(json, '}');
}

static void add_destination_status(struct hub *hub, struct store_txn *txn, struct buf *json,
                                   const struct record *record)
{
    static const char *const reasons[] = {[DESTINATION_RUNNING] = "",
                                          [DESTINATION_PAUSED_BY_SPEC] = "spec.paused",
                                          [DESTINATION_PAUSED_BY_HAND] = "by hand",
                                          [DESTINATION_PAUSED_BY_GONE] = "it answered 410"};
    struct destination_input input;
    struct pause pause;
    if (destination_input_decode(record->compiled, &input) != BK_OK ||
        pause_read(txn, record->number, &pause) != BK_OK) {
        buf_add_str(json, ",\"status\":{\"state\":\"error\"}");
        return;
    }
    enum destination_pause reason = input.paused ? DESTINATION_PAUSED_BY_SPEC : pause.pause;
    buf_printf(json, ",\"status\":{\"state\":\"%s\"", reason ? "paused" : "ready");
    if (reason != DESTINATION_RUNNING) {
        buf_add_byte(json, ',');
        add_field(json, "reason", slice_str(reasons[reason]));
        add_time(json, "since", input.paused ? record->updated_ns : pause.since_ns);
    }
    size_t before = json->bytes;
    buf_add_str(json, ",\"delivery\":");
    if (!hub->destination_status || !hub->destination_status(hub->context, record->number, json)) {
        json->bytes = before;
    }
    buf_add_byte(json, '}');
}

static void add_object(struct hub *hub, struct store_txn *txn, struct buf *json,
                       enum resource_kind kind, struct slice canvas, struct slice name,
                       const struct record *record)
{
    char id[HUB_ID_TEXT_BYTES];
    hub_id_text(record->id, id);
    buf_printf(json, "{\"apiVersion\":\"v1\",\"kind\":\"%s\",\"metadata\":{",
               resource_kind_info(kind)->name);
    add_field(json, "name", name);
    if (canvas.bytes > 0) {
        buf_add_byte(json, ',');
        add_field(json, "canvasId", canvas);
    }
    buf_add_byte(json, ',');
    add_field(json, "id", slice_str(id));
    if (record->description.bytes > 0) {
        buf_add_byte(json, ',');
        add_field(json, "description", record->description);
    }
    add_time(json, "createdAt", record->created_ns);
    add_time(json, "updatedAt", record->updated_ns);
    if (!hub_is_shared(kind, record)) {
        buf_add_str(json, ",\"domainType\":\"DOMAIN_TYPE_CANVAS\"");
    }
    buf_printf(json, ",\"revision\":%llu},\"spec\":", (unsigned long long)record->revision);
    buf_add_slice(json, record->spec);
    if (kind == RESOURCE_EVENT_SOURCE) {
        add_status(hub, txn, json, canvas, name, record);
    } else if (kind == RESOURCE_INTEGRATION) {
        add_integration_status(txn, json, canvas, name, record);
    } else if (kind == RESOURCE_INTEGRATION_USER) {
        buf_add_str(json, ",\"status\":{");
        if (!add_stored_status(txn, json, record->id)) {
            buf_add_str(json, "\"state\":\"ready\"");
        }
        buf_add_byte(json, '}');
    } else if (kind == RESOURCE_INTEGRATION_LINK) {
        add_link_status(txn, json, canvas, name, record);
    } else if (kind == RESOURCE_DESTINATION) {
        add_destination_status(hub, txn, json, record);
    }
    buf_add_byte(json, '}');
}

enum bk_err hub_get_json(struct hub *hub, enum resource_kind kind, struct slice canvas,
                         struct slice name, struct buf *json, uint64_t *ret_revision)
{
    struct store_txn *txn;
    struct hub_address address;
    struct record record;
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    err = hub_find_record(txn, kind, canvas, name, &address, &record);
    if (err == BK_OK) {
        add_object(hub, txn, json, kind, slice_str(address.canvas), slice_str(address.name),
                   &record);
        if (ret_revision) {
            *ret_revision = record.revision;
        }
        err = json->overflow ? BK_TOO_LARGE : BK_OK;
    }
    store_read_end(txn);
    return err;
}

/* ---- whose */

bool hub_is_shared(enum resource_kind kind, const struct record *record)
{
    return (kind != RESOURCE_SECRET && kind != RESOURCE_INTEGRATION) ||
           !slice_equal(record->compiled, HUB_OWN_CANVAS);
}

static bool is_of_another(enum resource_kind kind, const struct record *record, struct slice person)
{
    struct integration_view view;
    if (kind != RESOURCE_INTEGRATION_USER && kind != RESOURCE_INTEGRATION_LINK) {
        return false;
    }
    if (integration_view_open(record->spec, &view) != BK_OK) {
        return true;
    }
    struct slice owner = integration_text(&view, "user/name");
    bool another = owner.bytes > 0 && !slice_equal(owner, person);
    integration_view_close(&view);
    return another;
}

bool hub_is_of_another(struct hub *hub, enum resource_kind kind, struct slice canvas,
                       struct slice name_or_id, struct slice person)
{
    struct store_txn *txn;
    struct hub_address address;
    struct record record;
    if (store_read(hub->store, &txn) != BK_OK) {
        return true;
    }
    enum bk_err err = hub_find_record(txn, kind, canvas, name_or_id, &address, &record);
    bool another = err == BK_OK ? is_of_another(kind, &record, person) : err != BK_NOT_FOUND;
    store_read_end(txn);
    return another;
}

/* ---- lists */

#define LIST_LOOKED_MAX 10000U     /* with most of them another's */
#define LIST_BYTES_MAX  (8U << 20) /* a page that is this large ends, however few are in it */

struct list_walk {
    struct hub *hub;
    struct store_txn *txn;
    enum resource_kind kind;
    struct buf *json;
    unsigned left;
    bool first;
    enum bk_err err;
    struct slice skip;   /* the cursor's own key */
    struct slice person; /* empty = everybody's are shown */
    unsigned looked;
    char last[NAME_BYTES_MAX + 1];
    bool more;
};

static bool list_one(void *context, struct slice key, struct slice value)
{
    struct list_walk *walk = context;
    struct record record;
    struct slice canvas, name;
    if (slice_equal(key, walk->skip)) {
        return true;
    }
    if (walk->left == 0 || walk->looked == LIST_LOOKED_MAX || walk->json->bytes > LIST_BYTES_MAX) {
        walk->more = true;
        return false;
    }
    walk->err =
        hub_split(slice_skip(key, 3), &canvas, &name) ? record_decode(value, &record) : BK_CORRUPT;
    if (walk->err != BK_OK) {
        return false;
    }
    memcpy(walk->last, name.at, name.bytes);
    walk->last[name.bytes] = '\0';
    walk->looked++;
    if (walk->person.bytes > 0 && is_of_another(walk->kind, &record, walk->person)) {
        return true;
    }
    if (!walk->first) {
        buf_add_byte(walk->json, ',');
    }
    walk->first = false;
    walk->left--;
    add_object(walk->hub, walk->txn, walk->json, walk->kind, canvas, name, &record);
    return true;
}

enum bk_err hub_list_json(struct hub *hub, enum resource_kind kind, struct slice canvas,
                          unsigned limit, struct slice cursor, struct slice person,
                          struct buf *json)
{
    const struct resource_kind_info *info = resource_kind_info(kind);
    struct store_txn *txn;
    struct list_walk walk = {
        .hub = hub, .kind = kind, .json = json, .left = limit, .first = true, .person = person};
    char name[NAME_BYTES_MAX + 1] = "";
    struct key prefix, from;
    if (cursor.bytes > 0 && !resource_name_valid(cursor)) {
        return BK_INVALID;
    }
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    walk.txn = txn;
    if (info->in_canvas) {
        err = hub_canvas(txn, canvas, name);
    }
    buf_add_str(json, "{\"items\":[");
    if (err == BK_OK && info->key != 0) {
        key_canvas(&prefix, info->key, slice_str(name));
        from = prefix;
        key_add(&from, cursor.at, cursor.bytes);
        walk.skip = cursor.bytes > 0 ? key_slice(&from) : SLICE_EMPTY;
        err = store_walk(txn, key_slice(&prefix), key_slice(&from), list_one, &walk);
    }
    buf_add_byte(json, ']');
    if (walk.more) {
        buf_add_byte(json, ',');
        add_field(json, "next", slice_str(walk.last));
    }
    buf_add_byte(json, '}');
    store_read_end(txn);
    err = err == BK_OK ? walk.err : err;
    return err == BK_OK && json->overflow ? BK_TOO_LARGE : err;
}

/* ---- canvases that were made again */

enum bk_err hub_born(struct store_txn *txn, struct slice canvas, struct hub_born *ret_born)
{
    struct record record;
    *ret_born = (struct hub_born){0};
    if (slice_equal(canvas, SLICE(RESOURCE_CANVAS_DEFAULT))) {
        return BK_OK;
    }
    enum bk_err err = hub_record(txn, RESOURCE_CANVAS, SLICE_EMPTY, canvas, &record);
    if (err == BK_OK && record.compiled.bytes == 24) {
        *ret_born =
            (struct hub_born){key_get_u64(record.compiled.at), key_get_u64(record.compiled.at + 8),
                              key_get_u64(record.compiled.at + 16)};
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* ---- sources by number */

enum bk_err hub_source_name(struct hub *hub, uint64_t number, struct hub_source_name *ret_name)
{
    struct store_txn *txn;
    struct key key;
    struct slice value, canvas, rest;
    struct hub_born born;
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    key_number(&key, number);
    err = store_get(txn, key_slice(&key), &value);
    size_t at = err == BK_OK ? slice_find(value, 0) : 0;
    if (err == BK_OK) {
        canvas = slice_of(value.at, at);
        rest = slice_skip(slice_skip(value, at), 1);
        at = slice_find(rest, 0);
        slice_keep(canvas, ret_name->canvas, sizeof ret_name->canvas);
        slice_keep(slice_of(rest.at, at), ret_name->name, sizeof ret_name->name);
        err = hub_born(txn, canvas, &born);
        ret_name->canvas[0] = number <= born.number ? '\0' : ret_name->canvas[0];
        slice_keep(slice_skip(rest, at + 1), ret_name->type, sizeof ret_name->type);
    }
    store_read_end(txn);
    return err;
}

enum bk_err hub_number(struct hub *hub, enum resource_kind kind, struct slice canvas,
                       struct slice name, uint64_t *ret_number)
{
    struct store_txn *txn;
    struct hub_address address;
    struct record record;
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    err = hub_find_record(txn, kind, canvas, name, &address, &record);
    if (err == BK_OK) {
        *ret_number = record.number;
    }
    store_read_end(txn);
    return err;
}
