#include "hub/links/link_find.h"

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
    if (hub_split(slice_skip(key, names->skip), &canvas, &name)) {
        names->at[names->count].canvas = link_kept(names->arena, canvas);
        names->at[names->count++].name = link_kept(names->arena, name);
    }
    return names->count < LINKS_OF_ONE_MAX;
}

enum bk_err links_of(struct store_txn *txn, enum resource_kind kind, struct slice canvas,
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

static bool found_link(void *context, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    *(bool *)context = true;
    return false;
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
    bool walked = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, found_link, &found) == BK_OK;
    store_read_end(txn);
    return walked && found;
}
