/* operation.c - an operation in the store: its record, and the indexes that follow its state. */
#include "hub/operations/operation.h"

#include "base/time.h"
#include "hub/hub_private.h"
#include "store/keys.h"

static enum bk_err put_record(struct store_txn *txn, const struct operation *operation)
{
    struct key key;
    struct buf json;
    buf_init(&json, 1U << 20);
    operation_encode(operation, &json);
    key_operation(&key, operation->number);
    enum bk_err err =
        json.overflow ? BK_TOO_LARGE : store_put(txn, key_slice(&key), buf_slice(&json));
    buf_fini(&json);
    return err;
}

static bool is_waiting(const struct operation *operation)
{
    return operation->state != OPERATION_DONE || operation->intent == PROVIDER_CHECK;
}

enum bk_err operation_put_waiting(struct store_txn *txn, const struct operation *operation)
{
    struct key key;
    uint8_t value[2] = {(uint8_t)operation->state, (uint8_t)operation->intent};
    key_waiting(&key, operation->integration_canvas, operation->integration, operation->number);
    return is_waiting(operation) ? store_put(txn, key_slice(&key), slice_of(value, sizeof value))
                                 : store_delete(txn, key_slice(&key));
}

/* The indexes that follow its state. */
static enum bk_err put_due(struct store_txn *txn, const struct operation *operation)
{
    struct key key;
    enum bk_err err = operation_put_waiting(txn, operation);
    if (err != BK_OK || operation->due_ns == 0) { /* done for good */
        return err;
    }
    key_operation_due(&key, operation->due_ns, operation->number);
    return store_put(txn, key_slice(&key), SLICE_EMPTY);
}

enum bk_err operation_get(struct store_txn *txn, uint64_t number, struct slice *ret_bytes)
{
    struct key key;
    key_operation(&key, number);
    return store_get(txn, key_slice(&key), ret_bytes);
}

enum bk_err operation_read(struct store_txn *txn, uint64_t number, struct json_tree *tree,
                           struct operation *ret_operation)
{
    struct slice bytes;
    enum bk_err err = operation_get(txn, number, &bytes);
    return err == BK_OK ? operation_decode(bytes, tree, ret_operation) : err;
}

enum bk_err operation_due(struct store_txn *txn, uint64_t number, int64_t *ret_due_ns)
{
    struct json_tree tree;
    struct operation operation;
    json_tree_init(&tree);
    enum bk_err err = operation_read(txn, number, &tree, &operation);
    *ret_due_ns = err == BK_OK ? operation.due_ns : 0;
    json_tree_fini(&tree);
    return err;
}

/* With what is stored of it: an index that named something else would never be found again. */
static enum bk_err remove_one(struct store_txn *txn, const struct operation *stored)
{
    struct key keys[5];
    uint64_t number = stored->number;
    enum bk_err err = BK_OK;
    key_operation(&keys[0], number);
    key_operation_due(&keys[1], stored->due_ns, number);
    key_operation_of(&keys[2], stored->object, number);
    key_operation_in(&keys[3], stored->canvas, number);
    key_waiting(&keys[4], stored->integration_canvas, stored->integration, number);
    for (unsigned i = 0; err == BK_OK && i < bk_array_length(keys); i++) {
        err = store_delete(txn, key_slice(&keys[i]));
    }
    return err;
}

enum bk_err operation_drop(struct store_txn *txn, uint64_t number)
{
    struct json_tree tree;
    struct operation stored;
    json_tree_init(&tree);
    enum bk_err err = operation_read(txn, number, &tree, &stored);
    if (err == BK_OK) {
        err = remove_one(txn, &stored);
    }
    json_tree_fini(&tree);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

#define OPERATIONS_OF_ONE_MAX 32U

struct of_object {
    unsigned count;
    uint64_t numbers[OPERATIONS_OF_ONE_MAX];
};

static bool note_number(void *context, struct slice key, struct slice value)
{
    struct of_object *found = context;
    (void)value;
    found->numbers[found->count++] = key_get_u64(key.at + key.bytes - 8);
    return found->count < OPERATIONS_OF_ONE_MAX;
}

static enum bk_err numbers_of(struct store_txn *txn, const uint8_t object[16],
                              struct of_object *ret_found)
{
    struct key prefix;
    *ret_found = (struct of_object){0};
    key_operations_of(&prefix, object);
    return store_walk(txn, key_slice(&prefix), SLICE_EMPTY, note_number, ret_found);
}

/* Remove one older operation of the object where `by` takes its place (NULL: in any case). */
static enum bk_err supersede(struct store_txn *txn, uint64_t number, struct operation *by)
{
    struct json_tree tree;
    struct operation old;
    json_tree_init(&tree);
    enum bk_err err = operation_read(txn, number, &tree, &old);
    if (err == BK_OK && by && old.late_ns > by->late_ns) {
        by->late_ns = old.late_ns;
    }
    bool goes = err == BK_OK && (!by || old.state != OPERATION_DONE || old.intent == by->intent);
    if (goes) {
        if (by && old.in_doubt && old.state == OPERATION_PENDING) {
            /* Its call may still be on its way: look only when it has arrived. */
            by->due_ns += 2 * NS_PER_SECOND;
        }
        if (by) {
            by->made = by->made || old.made;
        }
        err = remove_one(txn, &old);
    }
    json_tree_fini(&tree);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err operation_add(struct store_txn *txn, struct operation *operation)
{
    struct of_object older;
    struct key key;
    enum bk_err err = numbers_of(txn, operation->object, &older);
    for (unsigned i = 0; err == BK_OK && i < older.count; i++) {
        err = supersede(txn, older.numbers[i], operation);
    }
    if (err == BK_OK) {
        err = store_next_number(txn, KEY_OPERATION_NUMBER, &operation->number);
    }
    if (err == BK_OK) {
        err = put_record(txn, operation);
    }
    if (err == BK_OK) {
        err = put_due(txn, operation);
    }
    if (err == BK_OK) {
        key_operation_of(&key, operation->object, operation->number);
        err = store_put(txn, key_slice(&key), SLICE_EMPTY);
    }
    if (err == BK_OK) {
        key_operation_in(&key, operation->canvas, operation->number);
        err = store_put(txn, key_slice(&key), SLICE_EMPTY);
    }
    return err;
}

/* The credential lies in the store as it was sealed last, perhaps after this operation was read. */
static enum bk_err put_as_sealed(struct store_txn *txn, const struct operation *operation)
{
    struct json_tree tree;
    struct operation stored, now = *operation;
    struct slice bytes;
    if (operation->former_credential.bytes == 0) {
        return put_record(txn, operation);
    }
    json_tree_init(&tree);
    enum bk_err err = operation_get(txn, operation->number, &bytes);
    if (err == BK_OK) {
        err = operation_decode(bytes, &tree, &stored);
    }
    if (err == BK_OK) {
        now.former_credential = stored.former_credential;
        err = put_record(txn, &now);
    }
    json_tree_fini(&tree);
    return err;
}

static bool at_same(const struct operation *one, const struct operation *other)
{
    return slice_equal(one->integration, other->integration) &&
           slice_equal(one->integration_canvas, other->integration_canvas);
}

enum bk_err operation_put(struct store_txn *txn, const struct operation *operation)
{
    struct json_tree tree;
    struct operation old;
    struct key key;
    json_tree_init(&tree);
    enum bk_err err = operation_read(txn, operation->number, &tree, &old);
    if (err == BK_OK && old.due_ns != operation->due_ns) {
        key_operation_due(&key, old.due_ns, operation->number);
        err = store_delete(txn, key_slice(&key));
    }
    if (err == BK_OK && !at_same(&old, operation)) {
        key_waiting(&key, old.integration_canvas, old.integration, old.number);
        err = store_delete(txn, key_slice(&key));
    }
    json_tree_fini(&tree);
    if (err == BK_OK) {
        err = put_as_sealed(txn, operation);
    }
    return err == BK_OK ? put_due(txn, operation) : err;
}

enum bk_err operation_find(struct store_txn *txn, const uint8_t object[16],
                           enum provider_intent intent, struct json_tree *tree,
                           struct operation *ret_operation)
{
    struct of_object found;
    enum bk_err err = numbers_of(txn, object, &found);
    for (unsigned i = 0; err == BK_OK && i < found.count; i++) {
        err = operation_read(txn, found.numbers[i], tree, ret_operation);
        if (err == BK_OK && ret_operation->intent == intent) {
            return BK_OK;
        }
        json_tree_fini(tree);
        json_tree_init(tree);
    }
    return err == BK_OK ? BK_NOT_FOUND : err;
}

enum bk_err operation_forget(struct store_txn *txn, const uint8_t object[16])
{
    struct of_object found;
    enum bk_err err = numbers_of(txn, object, &found);
    for (unsigned i = 0; err == BK_OK && i < found.count; i++) {
        err = supersede(txn, found.numbers[i], NULL);
    }
    return err;
}
