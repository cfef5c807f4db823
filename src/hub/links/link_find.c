#include "hub/links/link_find.h"

#include "base/log.h"
#include "hub/links/link.h"
#include "hub/links/link_feed.h"

struct slice link_kept(struct arena *arena, struct slice text)
{
    char *copy = text.bytes > 0 ? arena_copy(arena, text.at, text.bytes) : NULL;
    return slice_of(copy, copy ? text.bytes : 0);
}

static bool note_link(void *context, struct slice key, struct slice value)
{
    struct link_names *names = context;
    struct slice canvas, name;
    (void)value;
    if (names->count == LINKS_OF_ONE_MAX) {
        names->more = true;
        return false;
    }
    if (hub_split(slice_skip(key, names->skip), &canvas, &name)) {
        names->at[names->count].canvas = link_kept(names->arena, canvas);
        names->at[names->count++].name = link_kept(names->arena, name);
    }
    return true;
}

static enum bk_err walk_links(struct store_txn *txn, const struct key *prefix, struct slice of,
                              struct arena *arena, struct link_names *ret_names)
{
    *ret_names = (struct link_names){.arena = arena, .skip = prefix->bytes};
    enum bk_err err = store_walk(txn, key_slice(prefix), SLICE_EMPTY, note_link, ret_names);
    if (err == BK_OK && ret_names->more) {
        log_event(LOG_WARN, "some links do nothing: there are too many of one", LOG_S("of", of),
                  LOG_I("most", LINKS_OF_ONE_MAX));
    }
    return err;
}

enum bk_err links_of_source(struct store_txn *txn, struct slice canvas, struct slice source,
                            struct arena *arena, struct link_names *ret_names)
{
    struct key prefix;
    uint8_t user = resource_kind_info(RESOURCE_INTEGRATION_LINK)->key;
    key_users(&prefix, resource_kind_info(RESOURCE_EVENT_SOURCE)->key, canvas, source);
    key_add(&prefix, &user, 1);
    return walk_links(txn, &prefix, source, arena, ret_names);
}

enum bk_err links_out_of(struct store_txn *txn, struct slice canvas, struct slice team,
                         struct arena *arena, struct link_names *ret_names)
{
    struct key prefix;
    key_ways_out(&prefix, canvas, team);
    return walk_links(txn, &prefix, team, arena, ret_names);
}

bool links_exist(struct hub *hub)
{
    struct store_txn *txn;
    struct key prefix;
    bool found = false;
    if (store_read(hub->store, &txn) != BK_OK) {
        return false;
    }
    key_kind(&prefix, resource_kind_info(RESOURCE_INTEGRATION_LINK)->key);
    bool walked = store_any(txn, key_slice(&prefix), &found) == BK_OK;
    store_read_end(txn);
    return walked && found;
}

/* ---- for the cores */

void link_note_source(struct hub *hub, uint64_t number)
{
    linked_set(hub->linked, number);
    hub->links_changed = true;
}

bool link_source_is_wide(struct slice type, struct slice path)
{
    const struct link_type *row = link_type_find(type);
    return row && row->makes_hook && slice_equal(slice_str(row->name), path);
}

enum bk_err link_note_source_of(struct hub *hub, struct store_txn *txn, struct slice canvas,
                                struct slice source)
{
    struct record record;
    enum bk_err err = hub_record(txn, RESOURCE_EVENT_SOURCE, canvas, source, &record);
    if (err == BK_NOT_FOUND) {
        err =
            hub_record(txn, RESOURCE_EVENT_SOURCE, SLICE(RESOURCE_CANVAS_DEFAULT), source, &record);
    }
    if (err == BK_OK) {
        link_note_source(hub, record.number);
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

struct all_walk {
    struct hub *hub;
    struct store_txn *txn;
    enum bk_err err;
};

/* "R/" link canvas \0 link \0, then what it uses: kind, canvas \0 name. */
static bool note_use(void *context, struct slice key, struct slice value)
{
    struct all_walk *walk = context;
    struct slice rest = slice_skip(key, 3), canvas, name;
    (void)value;
    rest = slice_skip(rest, slice_find(rest, 0) + 1);
    rest = slice_skip(rest, slice_find(rest, 0) + 1);
    bool source = rest.bytes > 1 && rest.at[0] == resource_kind_info(RESOURCE_EVENT_SOURCE)->key &&
                  hub_split(slice_skip(rest, 1), &canvas, &name);
    if (source) {
        walk->err = link_note_source_of(walk->hub, walk->txn, canvas, name);
    }
    return walk->err == BK_OK;
}

static enum bk_err note_wide(struct hub *hub, struct store_txn *txn, const struct link_type *type)
{
    struct slice value, canvas, name;
    struct key key;
    key_path(&key, slice_str(type->name));
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err == BK_OK && hub_split(value, &canvas, &name)) {
        err = link_note_source_of(hub, txn, canvas, name);
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err link_note_all(struct hub *hub)
{
    struct all_walk walk = {.hub = hub, .err = BK_OK};
    uint8_t kind = resource_kind_info(RESOURCE_INTEGRATION_LINK)->key;
    struct key prefix;
    enum bk_err err = store_read(hub->store, &walk.txn);
    if (err != BK_OK) {
        return err;
    }
    key_start(&prefix, 'R');
    key_add(&prefix, &kind, 1);
    err = store_walk(walk.txn, key_slice(&prefix), SLICE_EMPTY, note_use, &walk);
    err = err == BK_OK ? walk.err : err;
    for (size_t i = 0; err == BK_OK && i < link_type_count; i++) {
        err = link_types[i].makes_hook ? note_wide(hub, walk.txn, &link_types[i]) : BK_OK;
    }
    store_read_end(walk.txn);
    return err;
}
