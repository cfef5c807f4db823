/* operation_waiting.c - what waits at an integration, and goes on when that one is well again. */
#include "hub/operations/operation.h"

#include "hub/hub_private.h"
#include "store/keys.h"

struct waiting_walk {
    size_t prefix_bytes;
    operation_waiting_fn *look;
    void *context;
};

static bool look_at_waiting(void *context, struct slice key, struct slice value)
{
    struct waiting_walk *walk = context;
    if (key.bytes != walk->prefix_bytes + 8 || value.bytes != 2) {
        return true;
    }
    struct operation_waiting waiting = {.number = key_get_u64(key.at + walk->prefix_bytes),
                                        .state = (enum operation_state)value.at[0],
                                        .intent = (enum provider_intent)value.at[1]};
    return walk->look(walk->context, &waiting);
}

enum bk_err operations_waiting(struct store_txn *txn, struct slice canvas, struct slice integration,
                               uint64_t after, operation_waiting_fn *look, void *context)
{
    struct waiting_walk walk = {.look = look, .context = context};
    struct key prefix, from;
    key_waiting_at(&prefix, canvas, integration);
    key_waiting(&from, canvas, integration, after + 1); /* numbers begin at 1 */
    walk.prefix_bytes = prefix.bytes;
    return store_walk(txn, key_slice(&prefix), key_slice(&from), look_at_waiting, &walk);
}

struct resume {
    unsigned count;
    uint64_t last; /* looked at */
    bool more;
    uint64_t numbers[OPERATIONS_RESUMED_MAX];
    bool pending[OPERATIONS_RESUMED_MAX];
};

static bool look_at_resumed(void *context, const struct operation_waiting *waiting)
{
    struct resume *resume = context;
    if (resume->count == OPERATIONS_RESUMED_MAX) {
        resume->more = true;
        return false;
    }
    resume->last = waiting->number;
    resume->pending[resume->count] = waiting->state == OPERATION_PENDING;
    resume->numbers[resume->count++] = waiting->number; /* or failed, or a credential's check */
    return true;
}

enum bk_err operation_make_due(struct store_txn *txn, uint64_t number, int64_t now_ns)
{
    struct json_tree tree;
    struct operation operation;
    json_tree_init(&tree);
    enum bk_err err = operation_read(txn, number, &tree, &operation);
    if (err == BK_OK) {
        operation.due_ns = now_ns - (operation.due_ns == now_ns); /* who carries it out sees it */
        operation.state = OPERATION_PENDING;
        operation.attempts = 0;
        err = operation_put(txn, &operation);
    }
    json_tree_fini(&tree);
    return err;
}

/* Of what is to be done anyway only what may be under way, with what was there before. */
static enum bk_err resume_one(struct store_txn *txn, uint64_t number, bool pending, int64_t now_ns)
{
    int64_t due_ns = 0;
    enum bk_err err = pending ? operation_due(txn, number, &due_ns) : BK_OK;
    return err == BK_OK && due_ns <= now_ns ? operation_make_due(txn, number, now_ns) : err;
}

enum bk_err operations_resume(struct store_txn *txn, struct slice canvas, struct slice integration,
                              uint64_t after, int64_t now_ns)
{
    struct resume resume = {.count = 0};
    struct key key;
    uint8_t at[8];
    enum bk_err err = operations_waiting(txn, canvas, integration, after, look_at_resumed, &resume);
    for (unsigned i = 0; err == BK_OK && i < resume.count; i++) {
        err = resume_one(txn, resume.numbers[i], resume.pending[i], now_ns);
    }
    if (err != BK_OK) {
        return err;
    }
    key_resume(&key, canvas, integration);
    key_put_u64(at, resume.last);
    return resume.more ? store_put(txn, key_slice(&key), slice_of(at, sizeof at))
                       : store_delete(txn, key_slice(&key));
}

struct rest {
    struct key key;
    uint64_t after;
};

static bool take_rest(void *context, struct slice key, struct slice value)
{
    struct rest *rest = context;
    rest->key.bytes = 0;
    key_add(&rest->key, key.at, key.bytes);
    rest->after = value.bytes == 8 ? key_get_u64(value.at) : 0;
    return false;
}

enum bk_err operations_resume_rest(struct store_txn *txn, int64_t now_ns, bool *ret_more)
{
    struct rest rest = {.key = {.bytes = 0}};
    struct key prefix;
    struct slice canvas, name;
    key_start(&prefix, 'Z');
    enum bk_err err = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, take_rest, &rest);
    *ret_more = err == BK_OK && rest.key.bytes > 0;
    if (!*ret_more) {
        return err;
    }
    return hub_split(slice_skip(key_slice(&rest.key), 2), &canvas, &name)
               ? operations_resume(txn, canvas, name, rest.after, now_ns)
               : BK_CORRUPT;
}
