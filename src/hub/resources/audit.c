#include "hub/resources/audit.h"

#include "base/json.h"
#include "base/time.h"
#include "hub/hub_private.h"

#include <arpa/inet.h>

#define RECORD_MAX (AUDIT_DIFF_BYTES_MAX + 4096U)

void audit_actor_set(struct hub *hub, const struct audit_actor *actor)
{
    hub->actor = actor;
}

static void audit_key(struct key *key, uint64_t number)
{
    uint8_t bytes[8];
    key_start(key, 'a');
    key_put_u64(bytes, number);
    key_add(key, bytes, sizeof bytes);
}

static void add_text(struct buf *json, const char *name, const char *text)
{
    buf_add_str(json, ",\""); /* many times in a large apply: no printf */
    buf_add_str(json, name);
    buf_add_str(json, "\":");
    json_add_string(json, slice_str(text));
}

static void add_remote(struct buf *json, const struct ring_address *remote)
{
    char host[INET6_ADDRSTRLEN];
    if (remote->family &&
        inet_ntop(remote->family == 6 ? AF_INET6 : AF_INET, remote->at, host, sizeof host)) {
        add_text(json, "remote", host);
    }
}

static void record_json(const struct hub *hub, uint64_t number, const struct audit_change *change,
                        struct buf *json)
{
    const struct audit_actor *actor = hub->actor;
    char stamp[25];
    time_format_rfc3339(actor ? actor->now_ns : change->now_ns, stamp);
    buf_printf(json, "{\"id\":\"%llu\",\"at\":\"%s\"", (unsigned long long)number, stamp);
    add_text(json, "actor", actor ? actor->token : "becket");
    if (actor) {
        add_text(json, "role", actor->role);
        if (actor->user[0] != '\0') {
            add_text(json, "user", actor->user);
        }
        add_text(json, "requestId", actor->request_id);
        add_remote(json, &actor->remote);
    }
    add_text(json, "action", change->action);
    add_text(json, "kind", change->kind);
    add_text(json, "name", change->name);
    if (change->canvas[0] != '\0') {
        add_text(json, "canvasId", change->canvas);
    }
    if (change->diff.bytes > AUDIT_DIFF_BYTES_MAX) {
        buf_add_str(json, ",\"cut\":true");
    } else if (change->diff.bytes) {
        buf_add_str(json, ",\"diff\":");
        buf_add_slice(json, change->diff);
    }
    buf_add_byte(json, '}');
}

enum bk_err audit_add(struct hub *hub, struct store_txn *txn, const struct audit_change *change)
{
    uint64_t number;
    struct key key;
    struct buf json;
    enum bk_err err = store_next_number(txn, KEY_AUDIT_NUMBER, &number);
    if (err != BK_OK) {
        return err;
    }
    buf_init(&json, RECORD_MAX);
    record_json(hub, number, change, &json);
    audit_key(&key, number);
    err = json.overflow ? BK_NO_MEMORY : store_put(txn, key_slice(&key), buf_slice(&json));
    buf_fini(&json);
    if (err == BK_OK && number > AUDIT_RECORDS_MAX) {
        audit_key(&key, number - AUDIT_RECORDS_MAX);
        err = store_delete(txn, key_slice(&key));
    }
    return err;
}

const char *audit_kind(struct slice text)
{
    static const char *const others[][2] = {{"Token", "tokens"},         {"Entry", "entries"},
                                            {"Event", "events"},         {"Session", "sessions"},
                                            {"MasterKey", "master-key"}, {"OidcKey", "oidc-key"}};
    enum resource_kind kind;
    if (resource_kind_find(text, &kind)) {
        return resource_kind_info(kind)->name;
    }
    for (size_t i = 0; i < bk_array_length(others); i++) {
        if (slice_equal_nocase(text, slice_str(others[i][0])) ||
            slice_equal_nocase(text, slice_str(others[i][1]))) {
            return others[i][0];
        }
    }
    return NULL;
}

#define LOOKED_AT_MAX 10000U

/* The members of a record that are asked for, as record_json() writes them: a quote inside of a
 * text is never bare, so that nothing else looks like one. */
struct wanted {
    const struct audit_query *query;
    struct buf members[3];
};

static void wanted_init(struct wanted *wanted, const struct audit_query *query)
{
    const struct slice values[] = {query->actor, query->kind, query->name};
    static const char *const names[] = {"actor", "kind", "name"};
    wanted->query = query;
    for (size_t i = 0; i < bk_array_length(names); i++) {
        buf_init(&wanted->members[i], 65536);
        if (values[i].bytes) {
            buf_printf(&wanted->members[i], ",\"%s\":", names[i]);
            json_add_string(&wanted->members[i], values[i]);
        }
    }
}

static void wanted_fini(struct wanted *wanted)
{
    for (size_t i = 0; i < bk_array_length(wanted->members); i++) {
        buf_fini(&wanted->members[i]);
    }
}

static bool has_members(const struct wanted *wanted, struct slice record)
{
    static const char diff[] = ",\"diff\":"; /* has objects of its own */
    const uint8_t *end = memmem(record.at, record.bytes, diff, sizeof diff - 1);
    size_t bytes = end ? (size_t)(end - record.at) : record.bytes;
    bool has = true;
    for (size_t i = 0; has && i < bk_array_length(wanted->members); i++) {
        const struct buf *member = &wanted->members[i];
        has = member->bytes == 0 || memmem(record.at, bytes, member->at, member->bytes);
    }
    return has;
}

/* The time of a record: behind its number, as record_json() has it. The wall clock may have been
 * set, so they are not in order. */
static bool is_wanted(const struct wanted *wanted, struct slice record)
{
    static const char name[] = ",\"at\":\"";
    const struct audit_query *query = wanted->query;
    size_t at = slice_find(record, ',');
    int64_t made_ns;
    if (!has_members(wanted, record)) {
        return false;
    }
    if (query->since_ns == INT64_MIN && query->until_ns == INT64_MAX) {
        return true;
    }
    struct slice text = slice_of(slice_skip(record, at + sizeof name - 1).at, 24);
    return record.bytes > at + sizeof name + 24 && time_parse_rfc3339(text, &made_ns) == BK_OK &&
           made_ns >= query->since_ns && made_ns < query->until_ns;
}

static enum bk_err list_in(struct store_txn *txn, uint64_t from, const struct wanted *wanted,
                           struct buf *json)
{
    struct key key;
    struct slice value;
    uint64_t number = from;
    unsigned count = 0;
    buf_add_str(json, "{\"items\":[");
    for (unsigned looked = 0; number > 0 && count < wanted->query->limit && looked < LOOKED_AT_MAX;
         number--, looked++) {
        audit_key(&key, number);
        enum bk_err err = store_get(txn, key_slice(&key), &value);
        if (err == BK_NOT_FOUND) {
            number = 0; /* older ones are not kept */
            break;
        }
        if (err != BK_OK) {
            return err;
        }
        if (is_wanted(wanted, value)) {
            if (count++ > 0) {
                buf_add_byte(json, ',');
            }
            buf_add_slice(json, value);
        }
    }
    buf_add_byte(json, ']');
    if (number > 0) {
        buf_printf(json, ",\"next\":\"%llu\"", (unsigned long long)number + 1);
    }
    buf_add_byte(json, '}');
    return json->overflow ? BK_NO_MEMORY : BK_OK;
}

enum bk_err audit_list_json(struct hub *hub, const struct audit_query *query, struct buf *json)
{
    struct store_txn *txn;
    uint64_t newest = 0;
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    err = store_number(txn, KEY_AUDIT_NUMBER, &newest);
    if (err == BK_OK) {
        bool inside = query->before != 0 && query->before <= newest;
        struct wanted wanted;
        wanted_init(&wanted, query);
        err = list_in(txn, inside ? query->before - 1 : newest, &wanted, json);
        wanted_fini(&wanted);
    }
    store_read_end(txn);
    return err;
}

struct note {
    struct hub *hub;
    const struct audit_change *change;
};

static enum bk_err write_note(struct store_txn *txn, void *context)
{
    struct note *note = context;
    return audit_add(note->hub, txn, note->change);
}

enum bk_err audit_note(struct hub *hub, const struct audit_change *change)
{
    struct note note = {hub, change};
    return store_update(hub->store, write_note, &note);
}
