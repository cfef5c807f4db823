/* operation_all.c - what goes through all operations, in batches: the indexes that an older version
 * did not have, and another public address, to which every hook is led. */
#include "hub/operations/operation.h"

#include "store/keys.h"

/* ---- what an older version stored */

#define BATCH 64U
_Static_assert(OPERATIONS_LED_MAX == BATCH, "one batch is what a step takes");

struct batch {
    unsigned count;
    uint64_t numbers[BATCH];
};

static bool take_number(void *context, struct slice key, struct slice value)
{
    struct batch *batch = context;
    (void)value;
    batch->numbers[batch->count++] = key_get_u64(key.at + 2);
    return batch->count < BATCH;
}

/* The next ones of all operations, in order of number. */
static enum bk_err batch_behind(struct store_txn *txn, uint64_t after, struct batch *ret_batch)
{
    struct key prefix, from;
    ret_batch->count = 0;
    key_start(&prefix, 'q');
    key_operation(&from, after + 1);
    return store_walk(txn, key_slice(&prefix), key_slice(&from), take_number, ret_batch);
}

static enum bk_err index_one(struct store_txn *txn, uint64_t number)
{
    struct json_tree tree;
    struct operation operation;
    struct key key;
    json_tree_init(&tree);
    enum bk_err err = operation_read(txn, number, &tree, &operation);
    if (err == BK_OK) {
        key_operation_in(&key, operation.canvas, number);
        err = operation_put_waiting(txn, &operation);
        err = err == BK_OK ? store_put(txn, key_slice(&key), SLICE_EMPTY) : err;
    }
    json_tree_fini(&tree);
    return err == BK_CORRUPT ? BK_OK : err; /* told when it is due */
}

enum bk_err operations_index_all(struct store_txn *txn)
{
    struct slice value;
    enum bk_err err = store_get(txn, KEY_OPERATION_INDEXES, &value);
    if (err != BK_NOT_FOUND) {
        return err;
    }
    struct batch batch;
    uint64_t after = 0;
    do {
        err = batch_behind(txn, after, &batch);
        for (unsigned i = 0; err == BK_OK && i < batch.count; i++) {
            after = batch.numbers[i];
            err = index_one(txn, after);
        }
    } while (err == BK_OK && batch.count == BATCH);
    return err == BK_OK ? store_put(txn, KEY_OPERATION_INDEXES, SLICE("1")) : err;
}

/* ---- another public address */

/* "m/leading": how far, how many hooks, where to. "m/public-url" follows when all are led. */
struct leading {
    uint64_t after, count;
    struct slice public_url; /* as read it is the store's: until the next write */
};

static enum bk_err leading_get(struct store_txn *txn, struct leading *ret_leading)
{
    struct slice value;
    enum bk_err err = store_get(txn, KEY_LEADING, &value);
    if (err == BK_OK && value.bytes < 16) {
        err = BK_CORRUPT;
    }
    if (err == BK_OK) {
        *ret_leading = (struct leading){.after = key_get_u64(value.at),
                                        .count = key_get_u64(value.at + 8),
                                        .public_url = slice_skip(value, 16)};
    }
    return err;
}

static enum bk_err leading_put(struct store_txn *txn, const struct leading *leading)
{
    uint8_t numbers[16];
    struct buf value;
    buf_init(&value, 65536);
    key_put_u64(numbers, leading->after);
    key_put_u64(numbers + 8, leading->count);
    buf_add(&value, numbers, sizeof numbers);
    buf_add_slice(&value, leading->public_url);
    enum bk_err err =
        value.overflow ? BK_TOO_LARGE : store_put(txn, KEY_LEADING, buf_slice(&value));
    buf_fini(&value);
    return err;
}

enum bk_err operations_address(struct store_txn *txn, struct slice public_url, bool *ret_leading)
{
    struct leading leading = {.count = 0};
    enum bk_err err = leading_get(txn, &leading);
    *ret_leading = err == BK_OK;
    struct slice known = leading.public_url;
    if (err == BK_NOT_FOUND) {
        err = store_get(txn, KEY_PUBLIC_URL, &known);
    }
    if (err == BK_NOT_FOUND) { /* the first start: no hook is anywhere */
        return store_put(txn, KEY_PUBLIC_URL, public_url);
    }
    if (err != BK_OK || slice_equal(known, public_url)) {
        return err;
    }
    *ret_leading = true;
    leading = (struct leading){.public_url = public_url};
    return leading_put(txn, &leading);
}

static enum bk_err lead_one(struct store_txn *txn, uint64_t number, int64_t now_ns, uint64_t *count)
{
    struct json_tree tree;
    struct operation operation;
    json_tree_init(&tree);
    enum bk_err err = operation_read(txn, number, &tree, &operation);
    bool hook = err == BK_OK && operation.intent == PROVIDER_HOOK_ENSURE; /* refused ones, too */
    json_tree_fini(&tree);
    *count += hook;
    err = hook ? operation_make_due(txn, number, now_ns) : err;
    return err == BK_CORRUPT ? BK_OK : err; /* told when it is due */
}

/* The text is kept over the writes. */
static enum bk_err lead_batch(struct store_txn *txn, const struct batch *batch, int64_t now_ns,
                              struct leading *leading)
{
    enum bk_err err = BK_OK;
    struct buf url;
    buf_init(&url, 65536);
    buf_add_slice(&url, leading->public_url);
    leading->public_url = buf_slice(&url);
    for (unsigned i = 0; err == BK_OK && i < batch->count; i++) {
        leading->after = batch->numbers[i];
        err = lead_one(txn, leading->after, now_ns, &leading->count);
    }
    if (err == BK_OK && batch->count == BATCH) {
        err = leading_put(txn, leading);
    } else if (err == BK_OK) {
        err = store_put(txn, KEY_PUBLIC_URL, leading->public_url);
        err = err == BK_OK ? store_delete(txn, KEY_LEADING) : err;
    }
    err = err == BK_OK && url.overflow ? BK_TOO_LARGE : err;
    buf_fini(&url);
    return err;
}

enum bk_err operations_lead(struct store_txn *txn, int64_t now_ns, bool *ret_more,
                            uint64_t *ret_count)
{
    struct leading leading = {.count = 0};
    struct batch batch = {.count = 0};
    enum bk_err err = leading_get(txn, &leading);
    if (err == BK_OK) {
        err = batch_behind(txn, leading.after, &batch);
    }
    if (err == BK_OK) {
        err = lead_batch(txn, &batch, now_ns, &leading);
    }
    *ret_more = err == BK_OK && batch.count == BATCH;
    *ret_count = leading.count;
    return err == BK_NOT_FOUND ? BK_OK : err;
}
