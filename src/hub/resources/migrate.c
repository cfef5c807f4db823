/* migrate.c - what an older state lacks is added when it is opened; contract in hub/hub_private.h.
 */
#include "hub/hub_private.h"
#include "hub/links/entry.h"
#include "hub/links/link_index.h"
#include "hub/operations/operation.h"
#include "hub/resources/token.h"

/* References were kept from the used object's side only ("r/"). Add the user's side ("R/"). */

#define BATCH 256U

struct batch {
    unsigned count;
    struct key keys[BATCH]; /* "r/…" */
};

static bool take_key(void *context, struct slice key, struct slice value)
{
    struct batch *batch = context;
    (void)value;
    struct key *to = &batch->keys[batch->count++];
    to->bytes = 0;
    key_add(to, key.at, key.bytes);
    return batch->count < BATCH;
}

/* kind canvas \0 name \0 at *rest, which moves behind it; the last name has no zero byte. */
static bool take_object(struct slice *rest, uint8_t *ret_kind, struct slice *ret_canvas,
                        struct slice *ret_name)
{
    if (rest->bytes < 2) {
        return false;
    }
    *ret_kind = rest->at[0];
    *rest = slice_skip(*rest, 1);
    size_t end = slice_find(*rest, '\0');
    *ret_canvas = slice_of(rest->at, end);
    *rest = slice_skip(*rest, end + 1);
    end = slice_find(*rest, '\0');
    *ret_name = slice_of(rest->at, end);
    *rest = slice_skip(*rest, end + 1);
    return ret_name->bytes > 0;
}

static enum bk_err add_use(struct store_txn *txn, const struct key *key)
{
    struct slice rest = slice_skip(key_slice(key), 2), canvas, name, user_canvas, user_name;
    uint8_t kind, user_kind;
    struct key use;
    if (!take_object(&rest, &kind, &canvas, &name) ||
        !take_object(&rest, &user_kind, &user_canvas, &user_name)) {
        return BK_CORRUPT;
    }
    key_uses(&use, user_kind, user_canvas, user_name);
    key_add_used(&use, kind, canvas, name);
    return store_put(txn, key_slice(&use), SLICE_EMPTY);
}

static enum bk_err add_uses(struct store_txn *txn, void *context)
{
    struct batch *batch = context;
    struct slice value;
    struct key prefix, from = {.bytes = 0};
    enum bk_err err = store_get(txn, KEY_USES, &value);
    if (err != BK_NOT_FOUND) {
        return err == BK_OK ? BK_CANCELLED : err; /* done already */
    }
    key_start(&prefix, 'r');
    do {
        batch->count = 0;
        err = store_walk(txn, key_slice(&prefix), key_slice(&from), take_key, batch);
        for (unsigned i = 0; err == BK_OK && i < batch->count; i++) {
            err = add_use(txn, &batch->keys[i]);
        }
        if (batch->count > 0) { /* behind the last one */
            from = batch->keys[batch->count - 1];
            key_add(&from, "", 1);
        }
    } while (err == BK_OK && batch->count == BATCH);
    return err == BK_OK ? store_put(txn, KEY_USES, SLICE("1")) : err;
}

/* Each says itself that it has been done; an update that puts nothing costs nothing. */
static enum bk_err add_indexes(struct store_txn *txn, void *context)
{
    (void)context;
    enum bk_err err = operations_index_all(txn);
    if (err == BK_OK) {
        err = token_index_fill(txn);
    }
    if (err == BK_OK) {
        err = entry_index_fill(txn);
    }
    return err == BK_OK ? object_indexes_fill(txn) : err;
}

static enum bk_err drop_rows(struct store_txn *txn, char prefix_letter, struct batch *batch)
{
    struct key prefix;
    enum bk_err err;
    key_start(&prefix, prefix_letter);
    do {
        batch->count = 0;
        err = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, take_key, batch);
        for (unsigned i = 0; err == BK_OK && i < batch->count; i++) {
            err = store_delete(txn, key_slice(&batch->keys[i]));
        }
    } while (err == BK_OK && batch->count == BATCH);
    return err;
}

/* An older becket wrote here, perhaps after a newer one: the rows of then say nothing any more. */
static enum bk_err forget_indexes(struct store_txn *txn, void *context)
{
    static const char rows[] = "ROzghHIcXY";
    static const struct slice done[] = {KEY_USES, KEY_OPERATION_INDEXES, KEY_OBJECT_INDEXES,
                                        KEY_TOKEN_INDEXES, KEY_ENTRY_INDEXES};
    enum bk_err err = BK_OK;
    for (const char *at = rows; err == BK_OK && *at != '\0'; at++) {
        err = drop_rows(txn, *at, context);
    }
    for (unsigned i = 0; err == BK_OK && i < bk_array_length(done); i++) {
        err = store_delete(txn, done[i]);
    }
    return err;
}

enum bk_err hub_migrate(struct store *store)
{
    static struct batch batch;
    bool older = store_format(store) < STORE_FORMAT;
    enum bk_err err = older ? store_update(store, forget_indexes, &batch) : BK_OK;
    if (err == BK_OK) {
        err = store_update(store, add_uses, &batch);
        err = err == BK_CANCELLED ? BK_OK : err;
    }
    if (err == BK_OK) {
        err = store_update(store, add_indexes, NULL);
    }
    return err == BK_OK && older ? store_format_raise(store) : err;
}

/* ---- what a newer version left here */

struct looking {
    enum resource_kind kind;
    uint8_t newest;
    char *why; /* HUB_WHY_BYTES; "" = nothing was found */
};

static bool look_at(void *context, struct slice key, struct slice value)
{
    const struct looking *looking = context;
    struct record record;
    struct slice canvas, name;
    enum bk_err err = record_decode(value, &record);
    bool newer = err == BK_VERSION || (err == BK_OK && record.compiled.bytes > 0 &&
                                       record.compiled.at[0] > looking->newest);
    if (newer && hub_split(slice_skip(key, 3), &canvas, &name)) {
        hub_refuse(looking->why, BK_VERSION,
                   "%s %.*s of canvas %.*s was written by a newer becket, and would do something "
                   "else here; start the newer version",
                   resource_kind_info(looking->kind)->name, (int)name.bytes, (const char *)name.at,
                   (int)canvas.bytes, (const char *)canvas.at);
    }
    return !newer;
}

enum bk_err hub_look_newer(struct store *store, char *ret_why)
{
    static const struct {
        enum resource_kind kind;
        uint8_t newest;
    } kinds[] = {{RESOURCE_EVENT_SOURCE, SOURCE_INPUT_NEWEST},
                 {RESOURCE_DESTINATION, DESTINATION_INPUT_NEWEST},
                 {RESOURCE_ROUTE, ROUTE_INPUT_NEWEST}};
    struct store_txn *txn;
    enum bk_err err = store_read(store, &txn);
    if (err != BK_OK) {
        return err;
    }
    ret_why[0] = '\0';
    for (unsigned i = 0; err == BK_OK && ret_why[0] == '\0' && i < bk_array_length(kinds); i++) {
        struct looking looking = {kinds[i].kind, kinds[i].newest, ret_why};
        struct key prefix;
        key_kind(&prefix, resource_kind_info(looking.kind)->key);
        err = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, look_at, &looking);
    }
    store_read_end(txn);
    return err == BK_OK && ret_why[0] != '\0' ? BK_VERSION : err;
}
