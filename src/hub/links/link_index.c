#include "hub/links/link_index.h"

#include "base/sha256.h"
#include "hub/links/link.h"
#include "hub/operations/integration_view.h"
#include "hub/people/people_index.h"

#include <ctype.h>
#include <stdio.h>

#define HASH_BYTES 16U

static void repository_hash(struct slice text, uint8_t ret_hash[HASH_BYTES])
{
    uint8_t digest[SHA256_BYTES], lower[1024];
    size_t bytes = text.bytes < sizeof lower ? text.bytes : sizeof lower;
    memset(ret_hash, 0, HASH_BYTES);
    if (bytes == 0) {
        return;
    }
    for (size_t i = 0; i < bytes; i++) {
        lower[i] = (uint8_t)tolower(text.at[i]);
    }
    sha256(slice_of(lower, bytes), digest);
    memcpy(ret_hash, digest, HASH_BYTES);
}

/* BK_NOT_FOUND: it has no type that could be a key. */
static enum bk_err row_of(enum resource_kind kind, struct slice canvas, struct slice name,
                          struct slice spec, struct key *ret_key)
{
    struct integration_view view;
    uint8_t hash[HASH_BYTES];
    enum bk_err err = integration_view_open(spec, &view);
    if (err != BK_OK) {
        return err;
    }
    struct slice type = integration_text(&view, "type");
    struct slice repository = integration_text(&view, "settings/repository");
    if (repository.bytes == 0) {
        repository = integration_text(&view, "settings/project");
    }
    if (type.bytes > NAME_BYTES_MAX) {
        err = BK_NOT_FOUND;
    } else if (kind == RESOURCE_INTEGRATION) {
        key_integrations(ret_key, canvas, type);
    } else {
        repository_hash(repository, hash);
        key_links_to(ret_key, canvas, type, hash);
    }
    if (err == BK_OK) {
        key_add(ret_key, name.at, name.bytes);
    }
    integration_view_close(&view);
    return err;
}

enum bk_err type_index_put(struct store_txn *txn, enum resource_kind kind, struct slice canvas,
                           struct slice name, struct slice spec)
{
    struct key key;
    enum bk_err err = row_of(kind, canvas, name, spec, &key);
    err = err == BK_OK ? store_put(txn, key_slice(&key), SLICE_EMPTY) : err;
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err type_index_drop(struct store_txn *txn, enum resource_kind kind, struct slice canvas,
                            struct slice name, struct slice spec)
{
    struct key key;
    enum bk_err err = row_of(kind, canvas, name, spec, &key);
    err = err == BK_OK ? store_delete(txn, key_slice(&key)) : err;
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* ---- looking up */

struct type_walk {
    size_t skip;
    type_index_fn *found;
    void *context;
    unsigned count, most;
};

static bool give_name(void *context, struct slice key, struct slice value)
{
    const struct type_walk *walk = context;
    (void)value;
    return walk->found(walk->context, slice_skip(key, walk->skip));
}

static enum bk_err give_names(struct store_txn *txn, const struct key *prefix, type_index_fn *found,
                              void *context)
{
    struct type_walk walk = {.skip = prefix->bytes, .found = found, .context = context};
    return store_walk(txn, key_slice(prefix), SLICE_EMPTY, give_name, &walk);
}

enum bk_err type_index_integrations(struct store_txn *txn, struct slice canvas, struct slice type,
                                    type_index_fn *found, void *context)
{
    struct key prefix;
    key_integrations(&prefix, canvas, type);
    return give_names(txn, &prefix, found, context);
}

enum bk_err type_index_links_to(struct store_txn *txn, struct slice canvas, struct slice type,
                                struct slice repository, type_index_fn *found, void *context)
{
    struct key prefix;
    uint8_t hash[HASH_BYTES];
    if (repository.bytes == 0) {
        return BK_OK;
    }
    repository_hash(repository, hash);
    key_links_to(&prefix, canvas, type, hash);
    return give_names(txn, &prefix, found, context);
}

static bool count_one(void *context, struct slice key, struct slice value)
{
    struct type_walk *walk = context;
    (void)key;
    (void)value;
    return ++walk->count < walk->most;
}

enum bk_err type_index_count(struct store_txn *txn, struct slice canvas, struct slice type,
                             unsigned most, unsigned *ret_count)
{
    struct type_walk walk = {.most = most};
    struct key prefix;
    key_links(&prefix, canvas, type);
    enum bk_err err = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, count_one, &walk);
    *ret_count = walk.count;
    return err;
}

/* ---- what an older version stored */

#define FILL_BATCH 64U

struct fill_batch {
    unsigned count;
    struct key keys[FILL_BATCH];
};

static bool take_key(void *context, struct slice key, struct slice value)
{
    struct fill_batch *batch = context;
    struct key *to = &batch->keys[batch->count++];
    (void)value;
    to->bytes = 0;
    key_add(to, key.at, key.bytes);
    return batch->count < FILL_BATCH;
}

struct team_walk {
    size_t skip;
    bool found;
    struct hub_address address;
};

/* Of what a link uses: its team. */
static bool take_team(void *context, struct slice key, struct slice value)
{
    struct team_walk *walk = context;
    struct slice rest = slice_skip(key, walk->skip), canvas, name;
    (void)value;
    walk->found = rest.bytes > 1 && rest.at[0] == resource_kind_info(RESOURCE_TEAM)->key &&
                  hub_split(slice_skip(rest, 1), &canvas, &name);
    if (walk->found) {
        snprintf(walk->address.canvas, sizeof walk->address.canvas, "%.*s", (int)canvas.bytes,
                 (const char *)canvas.at);
        snprintf(walk->address.name, sizeof walk->address.name, "%.*s", (int)name.bytes,
                 (const char *)name.at);
    }
    return !walk->found;
}

/* resources/apply_build.c keeps it from then on. */
static enum bk_err fill_way_out(struct store_txn *txn, struct slice canvas, struct slice name,
                                struct slice spec)
{
    struct integration_view view;
    struct team_walk walk = {.found = false};
    struct key key;
    enum bk_err err = integration_view_open(spec, &view);
    if (err != BK_OK) {
        return err;
    }
    const struct link_type *type = link_type_find(integration_text(&view, "type"));
    bool out = (type && type->posts) || integration_text(&view, "destination/name").bytes > 0;
    integration_view_close(&view);
    key_uses(&key, resource_kind_info(RESOURCE_INTEGRATION_LINK)->key, canvas, name);
    walk.skip = key.bytes;
    err = out ? store_walk(txn, key_slice(&key), SLICE_EMPTY, take_team, &walk) : BK_OK;
    if (err != BK_OK || !walk.found) {
        return err;
    }
    key_ways_out(&key, slice_str(walk.address.canvas), slice_str(walk.address.name));
    key_add_address(&key, canvas, name);
    return store_put(txn, key_slice(&key), SLICE_EMPTY);
}

/* The value is copied: the map moves under writes. */
static enum bk_err fill_one(struct store_txn *txn, enum resource_kind kind, const struct key *key,
                            struct buf *copy)
{
    struct slice value, canvas, name;
    struct record record;
    enum bk_err err = store_get(txn, key_slice(key), &value);
    if (err != BK_OK || !hub_split(slice_skip(key_slice(key), 3), &canvas, &name)) {
        return err == BK_OK ? BK_CORRUPT : err;
    }
    buf_reset(copy);
    buf_add_slice(copy, value);
    if (copy->overflow || record_decode(buf_slice(copy), &record) != BK_OK) {
        return BK_OK; /* whoever reads it says so */
    }
    err = kind == RESOURCE_INTEGRATION_USER ? people_index_put(txn, canvas, name, &record)
                                            : type_index_put(txn, kind, canvas, name, record.spec);
    if (err == BK_OK && kind == RESOURCE_INTEGRATION_LINK) {
        err = fill_way_out(txn, canvas, name, record.spec);
    }
    return err == BK_CORRUPT ? BK_OK : err;
}

static enum bk_err fill_kind(struct store_txn *txn, enum resource_kind kind, struct buf *copy)
{
    struct fill_batch batch = {.count = 0};
    struct key prefix, from = {.bytes = 0};
    enum bk_err err;
    key_kind(&prefix, resource_kind_info(kind)->key);
    do {
        batch.count = 0;
        err = store_walk(txn, key_slice(&prefix), key_slice(&from), take_key, &batch);
        for (unsigned i = 0; err == BK_OK && i < batch.count; i++) {
            err = fill_one(txn, kind, &batch.keys[i], copy);
        }
        if (batch.count > 0) { /* behind the last one */
            from = batch.keys[batch.count - 1];
            key_add(&from, "", 1);
        }
    } while (err == BK_OK && batch.count == FILL_BATCH);
    return err;
}

enum bk_err object_indexes_fill(struct store_txn *txn)
{
    static const enum resource_kind kinds[] = {RESOURCE_INTEGRATION, RESOURCE_INTEGRATION_LINK,
                                               RESOURCE_INTEGRATION_USER};
    struct slice value;
    struct buf copy;
    enum bk_err err = store_get(txn, KEY_OBJECT_INDEXES, &value);
    if (err != BK_NOT_FOUND) {
        return err;
    }
    buf_init(&copy, 16U << 20);
    err = BK_OK;
    for (unsigned i = 0; err == BK_OK && i < bk_array_length(kinds); i++) {
        err = fill_kind(txn, kinds[i], &copy);
    }
    buf_fini(&copy);
    return err == BK_OK ? store_put(txn, KEY_OBJECT_INDEXES, SLICE("1")) : err;
}
