/* store_sim.c - src/store/store.h without LMDB. A write transaction works on a copy of the map,
 * which takes the map's place when it is committed. After sim_disk_cut() the dying program still
 * sees what it commits, but store_sim_crash() goes back to what was there at the cut. */
#include "store_sim.h"
#include "sim.h"

#include "store/keys.h"

#include <stdlib.h>

struct row {
    unsigned references;
    size_t key_bytes, value_bytes;
    uint8_t at[];
};

struct map {
    size_t count, size;
    struct row **rows; /* by key */
};

struct store_txn {
    struct map map;
    bool writes, failed;
};

struct store {
    struct map now;
    struct map durable; /* when the power is off */
    bool cut;
    struct store_txn reading;
    bool busy;
    uint32_t no_space, commit_us;
    uint64_t commits;
};

static struct store the_store;

/* ---- maps */

static void row_give(struct row *row)
{
    if (--row->references == 0) {
        free(row);
    }
}

static void map_free(struct map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        row_give(map->rows[i]);
    }
    free(map->rows);
    *map = (struct map){0};
}

static struct map map_copy(const struct map *map)
{
    struct map copy = {map->count, map->count + 16, malloc((map->count + 16) * sizeof *copy.rows)};
    bk_assert(copy.rows);
    for (size_t i = 0; i < map->count; i++) {
        copy.rows[i] = map->rows[i];
        copy.rows[i]->references++;
    }
    return copy;
}

static struct slice key_of(const struct row *row)
{
    return slice_of(row->at, row->key_bytes);
}

static int compare(struct slice a, struct slice b)
{
    size_t both = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = both > 0 ? memcmp(a.at, b.at, both) : 0;
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* The first row that is not before the key. */
static size_t map_at(const struct map *map, struct slice key)
{
    size_t low = 0, high = map->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (compare(key_of(map->rows[middle]), key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool map_has(const struct map *map, size_t at, struct slice key)
{
    return at < map->count && slice_equal(key_of(map->rows[at]), key);
}

static void map_remove(struct map *map, size_t at)
{
    row_give(map->rows[at]);
    map->count--;
    memmove(&map->rows[at], &map->rows[at + 1], (map->count - at) * sizeof *map->rows);
}

static void map_insert(struct map *map, size_t at, struct slice key, struct slice value)
{
    struct row *row = malloc(sizeof *row + key.bytes + value.bytes);
    bk_assert(row);
    *row = (struct row){1, key.bytes, value.bytes};
    memcpy(row->at, key.at, key.bytes);
    if (value.bytes > 0) {
        memcpy(row->at + key.bytes, value.at, value.bytes);
    }
    if (map->count == map->size) {
        map->size = map->size > 0 ? 2 * map->size : 16;
        map->rows = realloc(map->rows, map->size * sizeof *map->rows);
        bk_assert(map->rows);
    }
    memmove(&map->rows[at + 1], &map->rows[at], (map->count - at) * sizeof *map->rows);
    map->rows[at] = row;
    map->count++;
}

/* ---- for scenarios */

void store_sim_begin(void)
{
    bk_assert(!the_store.busy);
    store_sim_end();
}

void store_sim_end(void)
{
    map_free(&the_store.now);
    map_free(&the_store.durable);
    the_store = (struct store){0};
}

struct store *store_sim(void)
{
    return &the_store;
}

void store_sim_faults(uint32_t no_space, uint32_t commit_us)
{
    the_store.no_space = no_space;
    the_store.commit_us = commit_us;
}

void store_sim_crash(void)
{
    bk_assert(!the_store.busy);
    if (the_store.cut) {
        map_free(&the_store.now);
        the_store.now = the_store.durable;
        the_store.durable = (struct map){0};
        the_store.cut = false;
    }
}

/* ---- src/store/store.h */

enum bk_err store_open(const char *data_directory, const struct store_options *options,
                       struct store **ret_store, char ret_why[STORE_WHY_BYTES])
{
    (void)data_directory, (void)options, (void)ret_why;
    *ret_store = &the_store;
    return BK_OK;
}

void store_close(struct store *store)
{
    bk_assert(!store->busy);
}

/* A commit during which the power fails may count or not. */
static void commit(struct store *store, struct map *map)
{
    if (!store->cut && sim_disk_dead()) {
        store->cut = true;
        store->durable = map_copy(sim_below(2) ? map : &store->now);
    }
    map_free(&store->now);
    store->now = *map;
    store->commits++;
}

enum bk_err store_update(struct store *store, store_update_fn *update, void *context)
{
    bk_assert(!store->busy);
    store->busy = true;
    if (!store->cut && sim_disk_dead()) {
        store->cut = true;
        store->durable = map_copy(&store->now);
    }
    struct store_txn txn = {.map = map_copy(&store->now), .writes = true};
    enum bk_err err = update(&txn, context);
    err = err == BK_OK && txn.failed ? BK_IO : err;
    if (store->commit_us > 0) {
        sim_sleep(sim_below(store->commit_us) * 1000);
    }
    if (err == BK_OK && sim_chance(store->no_space)) {
        err = BK_NO_SPACE;
    }
    if (err == BK_OK) {
        commit(store, &txn.map);
    } else {
        map_free(&txn.map);
    }
    store->busy = false;
    return err;
}

enum bk_err store_read(struct store *store, struct store_txn **ret_txn)
{
    bk_assert(!store->busy);
    store->busy = true;
    store->reading = (struct store_txn){.map = store->now};
    *ret_txn = &store->reading;
    return BK_OK;
}

void store_read_end(struct store_txn *txn)
{
    bk_assert(txn == &the_store.reading && the_store.busy);
    the_store.busy = false;
}

enum bk_err store_get(struct store_txn *txn, struct slice key, struct slice *ret_value)
{
    size_t at = map_at(&txn->map, key);
    if (!map_has(&txn->map, at, key)) {
        return BK_NOT_FOUND;
    }
    const struct row *row = txn->map.rows[at];
    *ret_value = slice_of(row->at + row->key_bytes, row->value_bytes);
    return BK_OK;
}

enum bk_err store_put(struct store_txn *txn, struct slice key, struct slice value)
{
    bk_assert(txn->writes && key.bytes > 0 && key.bytes <= STORE_KEY_BYTES_MAX);
    size_t at = map_at(&txn->map, key);
    bool before = map_has(&txn->map, at, key);
    map_insert(&txn->map, at, key, value); /* the value may lie in the row that goes */
    if (before) {
        map_remove(&txn->map, at + 1);
    }
    return BK_OK;
}

enum bk_err store_delete(struct store_txn *txn, struct slice key)
{
    bk_assert(txn->writes);
    size_t at = map_at(&txn->map, key);
    if (map_has(&txn->map, at, key)) {
        map_remove(&txn->map, at);
    }
    return BK_OK;
}

enum bk_err store_walk(struct store_txn *txn, struct slice prefix, struct slice from,
                       store_walk_fn *walk, void *context)
{
    size_t at = map_at(&txn->map, compare(from, prefix) > 0 ? from : prefix);
    for (; at < txn->map.count; at++) {
        const struct row *row = txn->map.rows[at];
        if (!slice_starts(key_of(row), prefix) ||
            !walk(context, key_of(row), slice_of(row->at + row->key_bytes, row->value_bytes))) {
            break;
        }
    }
    return BK_OK;
}

static bool found_one(void *context, struct slice key, struct slice value)
{
    (void)key, (void)value;
    *(bool *)context = true;
    return false;
}

enum bk_err store_any(struct store_txn *txn, struct slice prefix, bool *ret_any)
{
    *ret_any = false;
    return store_walk(txn, prefix, SLICE_EMPTY, found_one, ret_any);
}

enum bk_err store_number(struct store_txn *txn, struct slice key, uint64_t *ret_number)
{
    struct slice value;
    enum bk_err err = store_get(txn, key, &value);
    *ret_number = err == BK_OK ? key_get_u64(value.at) : 0;
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err store_next_number(struct store_txn *txn, struct slice key, uint64_t *ret_number)
{
    uint8_t at[8];
    enum bk_err err = store_number(txn, key, ret_number);
    key_put_u64(at, ++*ret_number);
    return err == BK_OK ? store_put(txn, key, slice_of(at, sizeof at)) : err;
}

unsigned store_format(const struct store *store)
{
    (void)store;
    return STORE_FORMAT;
}

enum bk_err store_format_raise(struct store *store)
{
    (void)store;
    return BK_OK;
}

void store_stats(struct store *store, struct store_stats *ret_stats)
{
    *ret_stats = (struct store_stats){.entries = store->now.count, .commits = store->commits};
}

enum bk_err store_copy(struct store *store, const char *directory)
{
    (void)store, (void)directory;
    return BK_UNSUPPORTED;
}
