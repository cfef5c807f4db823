#include "hub/data_key.h"

#include "base/ct.h"
#include "base/log.h"
#include "base/time.h"
#include "hub/hub_private.h"
#include "journal/format.h"
#include "ring/file.h"
#include "ring/ring.h"

#include <stdio.h>

/* The data key is sealed under the master key as the value of this record and field; the one before
 * it under the data key as that of the other field. */
static const uint8_t data_key_record[16] = "becket data key";
#define DATA_KEY_FIELD   SLICE("key")
#define BEFORE_KEY_FIELD SLICE("before")

#define PATH_BYTES    4096U
#define WRAPPED_BYTES DATA_KEY_WRAPPED_BYTES
#define ID_ROW_BYTES  (MASTER_KEY_ID_BYTES - 1 + 8) /* id, i64: since when */

/* ---- what the store has */

struct wrapped {
    bool has_before;
    uint8_t key[WRAPPED_BYTES];
    uint8_t before[WRAPPED_BYTES];
    char id[MASTER_KEY_ID_BYTES]; /* "" = not noted */
    int64_t since_ns;
};

static enum bk_err get_wrapped(struct store_txn *txn, struct slice key,
                               uint8_t ret_wrapped[WRAPPED_BYTES])
{
    struct slice value;
    enum bk_err err = store_get(txn, key, &value);
    if (err == BK_OK && value.bytes != WRAPPED_BYTES) {
        err = BK_CORRUPT;
    }
    if (err == BK_OK) {
        memcpy(ret_wrapped, value.at, value.bytes);
    }
    return err;
}

/* BK_NOT_FOUND in a new state. */
static enum bk_err read_wrapped(struct store *store, struct wrapped *ret_wrapped)
{
    struct store_txn *txn;
    struct slice value;
    *ret_wrapped = (struct wrapped){.has_before = false};
    enum bk_err err = store_read(store, &txn);
    if (err != BK_OK) {
        return err;
    }
    err = get_wrapped(txn, KEY_DATA_KEY, ret_wrapped->key);
    if (err == BK_OK) {
        enum bk_err before = get_wrapped(txn, KEY_DATA_KEY_BEFORE, ret_wrapped->before);
        ret_wrapped->has_before = before == BK_OK;
        err = before == BK_NOT_FOUND ? BK_OK : before;
    }
    if (err == BK_OK && store_get(txn, KEY_MASTER_KEY_ID, &value) == BK_OK &&
        value.bytes == ID_ROW_BYTES) {
        slice_keep(slice_of(value.at, MASTER_KEY_ID_BYTES - 1), ret_wrapped->id,
                   sizeof ret_wrapped->id);
        ret_wrapped->since_ns = (int64_t)key_get_u64(value.at + MASTER_KEY_ID_BYTES - 1);
    }
    store_read_end(txn);
    return err;
}

static void wrap(const uint8_t by[AEAD_KEY_BYTES], struct slice field,
                 const uint8_t key[AEAD_KEY_BYTES], uint8_t ret_wrapped[WRAPPED_BYTES])
{
    struct seal seal;
    seal_init(&seal, by);
    seal_value(&seal, data_key_record, field, slice_of(key, AEAD_KEY_BYTES), ret_wrapped);
    seal_fini(&seal);
}

static enum bk_err unwrap(const uint8_t by[AEAD_KEY_BYTES], struct slice field,
                          const uint8_t wrapped[WRAPPED_BYTES], uint8_t ret_key[AEAD_KEY_BYTES])
{
    struct seal seal;
    size_t bytes;
    seal_init(&seal, by);
    enum bk_err err =
        seal_open(&seal, data_key_record, field, slice_of(wrapped, WRAPPED_BYTES), ret_key, &bytes);
    seal_fini(&seal);
    return err;
}

enum bk_err data_key_wrapped(struct store *store, uint8_t ret_wrapped[DATA_KEY_WRAPPED_BYTES])
{
    struct wrapped wrapped;
    enum bk_err err = read_wrapped(store, &wrapped);
    if (err == BK_OK) {
        memcpy(ret_wrapped, wrapped.key, DATA_KEY_WRAPPED_BYTES);
    }
    return err;
}

bool data_key_fits(const uint8_t wrapped[DATA_KEY_WRAPPED_BYTES],
                   const uint8_t master[MASTER_KEY_BYTES])
{
    uint8_t key[AEAD_KEY_BYTES];
    enum bk_err err = unwrap(master, DATA_KEY_FIELD, wrapped, key);
    bk_wipe(key, sizeof key);
    return err == BK_OK;
}

/* ---- writing */

struct writing {
    struct hub *hub;
    int64_t now_ns;
    bool is_new; /* with the default canvas, without an audit record */
    bool has_before;
    uint8_t key[WRAPPED_BYTES];
    uint8_t before[WRAPPED_BYTES];
    char id[MASTER_KEY_ID_BYTES];
};

static enum bk_err put_default_canvas(struct store_txn *txn, int64_t now_ns)
{
    struct record record = {.kind = resource_kind_info(RESOURCE_CANVAS)->key,
                            .created_ns = now_ns,
                            .updated_ns = now_ns,
                            .spec = SLICE("{}")};
    struct key key, id_key;
    struct buf bytes, value;
    hub_id_make(record.id);
    enum bk_err err = store_next_number(txn, KEY_REVISION, &record.revision);
    if (err != BK_OK) {
        return err;
    }
    buf_init(&bytes, 4096);
    buf_init(&value, 4096);
    record_encode(&record, &bytes);
    buf_add_byte(&value, record.kind);
    buf_add_byte(&value, 0);
    buf_add_str(&value, RESOURCE_CANVAS_DEFAULT);
    key_object(&key, record.kind, SLICE_EMPTY, slice_str(RESOURCE_CANVAS_DEFAULT));
    key_id(&id_key, record.id);
    err = bytes.overflow || value.overflow ? BK_NO_MEMORY
                                           : store_put(txn, key_slice(&key), buf_slice(&bytes));
    if (err == BK_OK) {
        err = store_put(txn, key_slice(&id_key), buf_slice(&value));
    }
    buf_fini(&bytes);
    buf_fini(&value);
    return err;
}

static enum bk_err note_exchange(struct store_txn *txn, const struct writing *writing)
{
    char diff[120];
    snprintf(diff, sizeof diff, "[{\"path\":\"id\",\"before\":\"%s\",\"after\":\"%s\"}]",
             writing->hub->master_key_id, writing->id);
    struct audit_change change = {.action = "rotated",
                                  .kind = "MasterKey",
                                  .name = writing->id,
                                  .canvas = "",
                                  .diff = slice_str(diff),
                                  .now_ns = writing->now_ns};
    return audit_add(writing->hub, txn, &change);
}

static enum bk_err write_keys(struct store_txn *txn, void *context)
{
    const struct writing *writing = context;
    uint8_t row[ID_ROW_BYTES];
    memcpy(row, writing->id, MASTER_KEY_ID_BYTES - 1);
    key_put_u64(row + MASTER_KEY_ID_BYTES - 1, (uint64_t)writing->now_ns);
    enum bk_err err = store_put(txn, KEY_DATA_KEY, slice_of(writing->key, WRAPPED_BYTES));
    if (err == BK_OK && writing->has_before) {
        err = store_put(txn, KEY_DATA_KEY_BEFORE, slice_of(writing->before, WRAPPED_BYTES));
    }
    if (err == BK_OK) {
        err = store_put(txn, KEY_MASTER_KEY_ID, slice_of(row, sizeof row));
    }
    if (err != BK_OK) {
        return err;
    }
    return writing->is_new ? put_default_canvas(txn, writing->now_ns) : note_exchange(txn, writing);
}

/* A data key of its own for a new state, and for each new master key: the one before may be known
 * to who knows the master key before. */
static enum bk_err write_new(struct hub *hub, const uint8_t master[MASTER_KEY_BYTES],
                             const uint8_t *before, int64_t now_ns, uint8_t ret_key[AEAD_KEY_BYTES])
{
    struct writing writing = {.hub = hub, .now_ns = now_ns, .is_new = !before};
    ring_entropy(ret_key, AEAD_KEY_BYTES);
    wrap(master, DATA_KEY_FIELD, ret_key, writing.key);
    if (before) {
        wrap(ret_key, BEFORE_KEY_FIELD, before, writing.before);
        writing.has_before = true;
    }
    master_key_id(master, writing.id);
    enum bk_err err = store_update(hub->store, write_keys, &writing);
    if (err == BK_OK) {
        memcpy(hub->master_key_id, writing.id, sizeof hub->master_key_id);
        hub->master_key_since_ns = now_ns;
    }
    return err;
}

/* ---- opening */

/* Which of the keys wraps it. */
enum fit { FIT_NONE, FIT_KEY, FIT_NEXT, FIT_BEFORE };

static enum fit find_fit(const struct master_keys *keys, const struct wrapped *wrapped,
                         uint8_t ret_key[AEAD_KEY_BYTES])
{
    return keys->has_key && unwrap(keys->key, DATA_KEY_FIELD, wrapped->key, ret_key) == BK_OK
               ? FIT_KEY
           : keys->has_next && unwrap(keys->next, DATA_KEY_FIELD, wrapped->key, ret_key) == BK_OK
               ? FIT_NEXT
           : keys->has_before &&
                   unwrap(keys->before, DATA_KEY_FIELD, wrapped->key, ret_key) == BK_OK
               ? FIT_BEFORE
               : FIT_NONE;
}

static enum bk_err does_not_fit(const char *data_directory, const struct master_keys *keys,
                                const struct wrapped *wrapped, char *ret_why)
{
    char id[MASTER_KEY_ID_BYTES], since[25];
    master_key_id(keys->has_key ? keys->key : keys->next, id);
    if (wrapped->id[0] == '\0') {
        return hub_refuse(
            ret_why, BK_SEALED,
            "%s: the master key (%s) is not the one that its secrets are sealed under; "
            "bring back the right master.key (or BECKET_MASTER_KEY)",
            data_directory, id);
    }
    time_format_rfc3339(wrapped->since_ns, since);
    return hub_refuse(
        ret_why, BK_SEALED,
        "%s: the master key (%s) is not the one that its secrets are sealed under (%s, "
        "since %s); bring back that master.key (or BECKET_MASTER_KEY); a backup needs "
        "the key of its own time",
        data_directory, id, wrapped->id, since);
}

/* In the data directory: what a crash left of an exchange. */
static void end_exchange(struct hub *hub, const struct master_keys *keys, enum fit fit)
{
    char why[MASTER_KEY_WHY_BYTES] = "";
    if (keys->place != MASTER_KEY_IN_DATA) {
        return;
    }
    enum bk_err err = fit == FIT_NEXT ? master_key_next_take(hub->data_directory, why)
                                      : master_key_next_drop(hub->data_directory, why);
    if (err != BK_OK) {
        log_event(LOG_WARN, "a change of the master key could not be ended", LOG_Z("why", why));
    } else if (fit == FIT_NEXT) {
        log_event(LOG_INFO, "a change of the master key was ended; the old one is gone",
                  LOG_Z("id", hub->master_key_id));
    }
}

static enum bk_err open_before(struct hub *hub, const struct wrapped *wrapped,
                               const uint8_t key[AEAD_KEY_BYTES], char *ret_why)
{
    uint8_t before[AEAD_KEY_BYTES];
    if (!wrapped->has_before) {
        return BK_OK;
    }
    enum bk_err err = unwrap(key, BEFORE_KEY_FIELD, wrapped->before, before);
    if (err == BK_OK) {
        seal_init_before(&hub->seal, before);
    } else {
        hub_refuse(ret_why, err, "%s: the data key before (m/key-before) is damaged",
                   hub->data_directory);
    }
    bk_wipe(before, sizeof before);
    return err;
}

/* The environment names another key than the one that wraps, and that one as the one before. */
static enum bk_err exchange_at_start(struct hub *hub, const struct master_keys *keys,
                                     const struct wrapped *wrapped,
                                     const uint8_t key[AEAD_KEY_BYTES], int64_t now_ns,
                                     char *ret_why)
{
    uint8_t fresh[AEAD_KEY_BYTES];
    if (wrapped->has_before) {
        return hub_refuse(
            ret_why, BK_BUSY,
            "%s: the secrets are not yet all under the master key of the last change "
            "(%s); start with that one once more and wait until `becket key show` says "
            "so",
            hub->data_directory, wrapped->id);
    }
    master_key_id(keys->before, hub->master_key_id); /* for the audit record */
    enum bk_err err = write_new(hub, keys->key, key, now_ns, fresh);
    if (err == BK_OK) {
        seal_replace(&hub->seal, fresh);
        log_event(LOG_INFO, "the master key was changed; the one before is not needed any more",
                  LOG_Z("id", hub->master_key_id));
    } else {
        hub_refuse(ret_why, err, "%s: cannot write the store: %s", hub->data_directory,
                   bk_err_text(err));
    }
    bk_wipe(fresh, sizeof fresh);
    return err;
}

static enum bk_err open_with(struct hub *hub, const struct master_keys *keys,
                             const struct wrapped *wrapped, int64_t now_ns, char *ret_why)
{
    uint8_t key[AEAD_KEY_BYTES];
    if (hub->is_new) {
        enum bk_err err = write_new(hub, keys->has_key ? keys->key : keys->next, NULL, now_ns, key);
        if (err != BK_OK) {
            return hub_refuse(ret_why, err, "%s: cannot write the store: %s", hub->data_directory,
                              bk_err_text(err));
        }
        seal_init(&hub->seal, key);
        end_exchange(hub, keys, keys->has_key ? FIT_KEY : FIT_NEXT);
        bk_wipe(key, sizeof key);
        return BK_OK;
    }
    enum fit fit = find_fit(keys, wrapped, key);
    if (fit == FIT_NONE) {
        return does_not_fit(hub->data_directory, keys, wrapped, ret_why);
    }
    seal_init(&hub->seal, key);
    master_key_id(fit == FIT_NEXT ? keys->next : keys->key, hub->master_key_id);
    hub->master_key_since_ns = wrapped->since_ns;
    enum bk_err err = fit == FIT_BEFORE
                          ? exchange_at_start(hub, keys, wrapped, key, now_ns, ret_why)
                          : open_before(hub, wrapped, key, ret_why);
    if (err == BK_OK) {
        end_exchange(hub, keys, fit);
    }
    bk_wipe(key, sizeof key);
    return err;
}

static void note_segment(const char *name, void *context)
{
    bool *any = context;
    uint16_t journal;
    uint64_t number;
    *any = *any || format_name_parse(name, ".log", &journal, &number);
}

/* A new state beside a journal: there was another one, with sources, keys and tokens. To begin anew
 * would answer 404 to all senders, and give numbers a second time. */
static enum bk_err check_is_new(const struct hub *hub, char *ret_why)
{
    char path[PATH_BYTES];
    bool any = false;
    snprintf(path, sizeof path, "%s/journal", hub->data_directory);
    enum bk_err err = directory_list(path, note_segment, &any);
    if (err == BK_NOT_FOUND || !any) {
        return BK_OK;
    }
    return hub_refuse(
        ret_why, BK_CORRUPT,
        "%s/state is missing or empty, but %s has events of before: put a copy of the "
        "data directory in its place, or move %s away to begin anew",
        hub->data_directory, path, path);
}

enum bk_err data_key_open(struct hub *hub, int64_t now_ns, char ret_why[HUB_WHY_BYTES])
{
    struct master_keys keys;
    struct wrapped wrapped;
    enum bk_err err = read_wrapped(hub->store, &wrapped);
    hub->is_new = err == BK_NOT_FOUND;
    if (err != BK_OK && !hub->is_new) {
        return hub_refuse(ret_why, err, "%s: cannot read the keys of the store: %s",
                          hub->data_directory, bk_err_text(err));
    }
    err = hub->is_new ? check_is_new(hub, ret_why) : BK_OK;
    if (err != BK_OK) {
        return err;
    }
    err = master_keys_load(hub->data_directory, hub->is_new, &keys, ret_why);
    if (err == BK_OK) {
        hub->master_key_place = keys.place;
        err = open_with(hub, &keys, &wrapped, now_ns, ret_why);
    }
    master_keys_wipe(&keys);
    return err;
}

static enum bk_err look(const char *data_directory, const struct wrapped *wrapped, char *ret_why)
{
    struct master_keys keys;
    uint8_t key[AEAD_KEY_BYTES];
    enum bk_err err = master_keys_look(data_directory, &keys, ret_why);
    if (err == BK_OK && find_fit(&keys, wrapped, key) == FIT_NONE) {
        err = does_not_fit(data_directory, &keys, wrapped, ret_why);
    }
    master_keys_wipe(&keys);
    bk_wipe(key, sizeof key);
    return err;
}

enum bk_err data_key_look(const char *data_directory, char ret_why[HUB_WHY_BYTES])
{
    struct store *store;
    struct wrapped wrapped;
    enum bk_err err =
        store_open(data_directory, &(struct store_options){.shared = true}, &store, ret_why);
    if (err != BK_OK) {
        return err;
    }
    err = hub_look_newer(store, ret_why);
    if (err == BK_VERSION) {
        store_close(store);
        return err;
    }
    err = err == BK_OK ? read_wrapped(store, &wrapped) : err;
    store_close(store);
    if (err == BK_OK) {
        return look(data_directory, &wrapped, ret_why);
    }
    return hub_refuse(ret_why, err, "%s: cannot read the keys of the store: %s", data_directory,
                      bk_err_text(err));
}

/* ---- while it runs */

void data_key_state(const struct hub *hub, struct data_key_state *ret_state)
{
    *ret_state = (struct data_key_state){.place = hub->master_key_place,
                                         .since_ns = hub->master_key_since_ns,
                                         .before = hub->seal.has_before};
    memcpy(ret_state->id, hub->master_key_id, sizeof ret_state->id);
}

static enum bk_err may_exchange(const struct hub *hub, char *ret_why)
{
    if (hub->seal.has_before) {
        return hub_refuse(
            ret_why, BK_BUSY,
            "the secrets are still being sealed anew after the last change of the master "
            "key; `becket key show` tells when that is done");
    }
    if (hub->master_key_place != MASTER_KEY_IN_DATA) {
        const char *name = hub->master_key_place == MASTER_KEY_IN_FILE ? "BECKET_MASTER_KEY_FILE"
                                                                       : "BECKET_MASTER_KEY";
        return hub_refuse(
            ret_why, BK_UNSUPPORTED,
            "the master key comes from %s, which the server cannot change: give it a new "
            "one there and the old one as BECKET_MASTER_KEY_BEFORE%s, and start it anew",
            name, hub->master_key_place == MASTER_KEY_IN_FILE ? "_FILE" : "");
    }
    return master_key_may_change(hub->data_directory, ret_why);
}

/* The present data key, by the master key as it lies there now. */
static enum bk_err read_data_key(struct hub *hub, uint8_t ret_key[AEAD_KEY_BYTES], char *ret_why)
{
    char path[PATH_BYTES];
    uint8_t master[MASTER_KEY_BYTES];
    struct wrapped wrapped;
    snprintf(path, sizeof path, "%s/" MASTER_KEY_FILE, hub->data_directory);
    enum bk_err err = master_key_read(path, master, ret_why);
    if (err != BK_OK) {
        return err;
    }
    err = read_wrapped(hub->store, &wrapped);
    if (err == BK_OK) {
        err = unwrap(master, DATA_KEY_FIELD, wrapped.key, ret_key);
    }
    bk_wipe(master, sizeof master);
    return err == BK_OK
               ? err
               : hub_refuse(ret_why, BK_CONFLICT,
                            "%s is not the key that the server started with; bring that one "
                            "(%s) back",
                            path, hub->master_key_id);
}

static enum bk_err exchange(struct hub *hub, const uint8_t master[MASTER_KEY_BYTES],
                            const uint8_t key[AEAD_KEY_BYTES], int64_t now_ns, char *ret_why)
{
    uint8_t fresh[AEAD_KEY_BYTES];
    char why[MASTER_KEY_WHY_BYTES];
    enum bk_err err = master_key_next_write(hub->data_directory, master, ret_why);
    if (err != BK_OK) {
        return err;
    }
    err = write_new(hub, master, key, now_ns, fresh);
    if (err == BK_OK) {
        seal_replace(&hub->seal, fresh);
    } else {
        hub_refuse(ret_why, err, "%s: cannot write the store: %s", hub->data_directory,
                   bk_err_text(err));
        /* A failed flush may have put it on the disk, or not: then both keys are needed. */
        if (err != BK_IO && master_key_next_drop(hub->data_directory, why) != BK_OK) {
            log_event(LOG_WARN, "the new master key, which is not used, could not be removed",
                      LOG_Z("why", why));
        }
    }
    bk_wipe(fresh, sizeof fresh);
    return err;
}

enum bk_err data_key_exchange(struct hub *hub, int64_t now_ns, char ret_why[HUB_WHY_BYTES])
{
    uint8_t master[MASTER_KEY_BYTES], key[AEAD_KEY_BYTES];
    ret_why[0] = '\0';
    enum bk_err err = may_exchange(hub, ret_why);
    if (err == BK_OK) {
        err = read_data_key(hub, key, ret_why);
    }
    if (err == BK_OK) {
        ring_entropy(master, sizeof master);
        err = exchange(hub, master, key, now_ns, ret_why);
        bk_wipe(master, sizeof master);
        bk_wipe(key, sizeof key);
    }
    if (err == BK_OK && master_key_next_take(hub->data_directory, ret_why) != BK_OK) {
        log_event(LOG_ERROR, "the old master key is still there; the next start removes it",
                  LOG_Z("why", ret_why));
    }
    return err;
}

static enum bk_err drop_before(struct store_txn *txn, void *context)
{
    (void)context;
    return store_delete(txn, KEY_DATA_KEY_BEFORE);
}

enum bk_err data_key_forget_before(struct hub *hub)
{
    enum bk_err err = store_update(hub->store, drop_before, NULL);
    if (err == BK_OK) {
        seal_forget_before(&hub->seal);
    }
    return err;
}
