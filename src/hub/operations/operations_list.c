#include "hub/operations/operations_private.h"

#include "store/keys.h"

#include <stdio.h>

struct list_walk {
    struct store_txn *txn;
    unsigned left;
    uint64_t last;
    bool more;
    bool filled;
    enum bk_err err;
    struct buf *json;
};

static void list_record(struct list_walk *walk, uint64_t number, struct slice bytes)
{
    struct json_tree tree;
    struct operation operation;
    json_tree_init(&tree);
    walk->err = operation_decode(bytes, &tree, &operation);
    if (walk->err == BK_OK) {
        buf_add_str(walk->json, walk->filled ? "," : "");
        walk->filled = true;
        walk->left--;
        walk->last = number;
        operation_json(&operation, walk->json);
    }
    json_tree_fini(&tree);
}

/* Of "q/": the record; of "O/": nothing, the record is elsewhere. */
static bool list_one(void *context, struct slice key, struct slice value)
{
    struct list_walk *walk = context;
    uint64_t number = key_get_u64(key.at + key.bytes - 8);
    if (walk->left == 0) {
        walk->more = true;
        return false;
    }
    walk->err = value.bytes > 0 ? BK_OK : operation_get(walk->txn, number, &value);
    if (walk->err == BK_OK) {
        list_record(walk, number, value);
    }
    return walk->err == BK_OK;
}

enum bk_err operations_list_json(struct operations *operations, struct slice canvas, unsigned limit,
                                 struct slice cursor, struct buf *json)
{
    struct list_walk walk = {.left = limit, .json = json};
    struct hub_born born;
    struct key prefix, from;
    uint64_t after = 0;
    if (cursor.bytes > 0 && !operation_name_parse(cursor, &after)) {
        return BK_INVALID;
    }
    enum bk_err err = store_read(hub_store(operations->config.hub), &walk.txn);
    if (err != BK_OK) {
        return err;
    }
    after += after < UINT64_MAX ? 1 : 0;
    key_start(&prefix, 'q');
    key_operation(&from, after);
    bool possible = canvas.bytes == 0 || resource_name_valid(canvas);
    if (possible && canvas.bytes > 0) {
        err = hub_born(walk.txn, canvas, &born);
        after = after > born.operation ? after : born.operation + 1;
        key_operations_in(&prefix, canvas);
        key_operation_in(&from, canvas, after);
    }
    buf_add_str(json, "{\"items\":[");
    if (possible && err == BK_OK) {
        err = store_walk(walk.txn, key_slice(&prefix), key_slice(&from), list_one, &walk);
    }
    store_read_end(walk.txn);
    buf_add_byte(json, ']');
    if (walk.more) {
        char name[OPERATION_NAME_BYTES];
        operation_name(walk.last, name);
        buf_printf(json, ",\"next\":\"%s\"", name);
    }
    buf_add_byte(json, '}');
    err = err == BK_OK ? walk.err : err;
    return err == BK_OK && json->overflow ? BK_TOO_LARGE : err;
}

/* One operation as it is stored, while it is looked at. look_end() only after BK_OK. */
struct look {
    struct store_txn *txn;
    struct json_tree tree;
    struct operation operation;
};

static void look_end(struct look *look)
{
    json_tree_fini(&look->tree);
    store_read_end(look->txn);
}

static enum bk_err look_begin(struct operations *operations, uint64_t number, struct look *look)
{
    enum bk_err err = store_read(hub_store(operations->config.hub), &look->txn);
    if (err != BK_OK) {
        return err;
    }
    json_tree_init(&look->tree);
    err = operation_read(look->txn, number, &look->tree, &look->operation);
    if (err != BK_OK) {
        look_end(look);
    }
    return err;
}

enum bk_err operations_canvas(struct operations *operations, uint64_t number,
                              char ret_canvas[NAME_BYTES_MAX + 1])
{
    struct look look;
    struct hub_born born;
    enum bk_err err = look_begin(operations, number, &look);
    if (err != BK_OK) {
        return err;
    }
    struct slice canvas = look.operation.canvas;
    err = hub_born(look.txn, canvas, &born);
    bool before = number <= born.operation;
    snprintf(ret_canvas, NAME_BYTES_MAX + 1, "%.*s", before ? 0 : (int)canvas.bytes,
             (const char *)canvas.at);
    look_end(&look);
    return err;
}

enum bk_err operations_get_json(struct operations *operations, uint64_t number, struct buf *json)
{
    struct look look;
    enum bk_err err = look_begin(operations, number, &look);
    if (err != BK_OK) {
        return err;
    }
    operation_json(&look.operation, json);
    look_end(&look);
    return json->overflow ? BK_TOO_LARGE : BK_OK;
}
