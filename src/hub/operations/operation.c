#include "hub/operations/operation.h"

#include "base/assert.h"
#include "base/time.h"
#include "hub/hub_private.h"
#include "store/keys.h"

#include <stdio.h>

static const char *const intent_names[PROVIDER_INTENT_COUNT] = {
    [PROVIDER_CHECK] = "check",
    [PROVIDER_RESOURCE_CHECK] = "resource-check",
    [PROVIDER_HOOK_ENSURE] = "hook-ensure",
    [PROVIDER_HOOK_REMOVE] = "hook-remove",
    [PROVIDER_POST] = "post",
};
static const char *const state_names[] = {
    [OPERATION_PENDING] = "pending", [OPERATION_DONE] = "done", [OPERATION_FAILED] = "failed"};

const char *operation_intent_name(enum provider_intent intent)
{
    return intent_names[intent];
}

const char *operation_state_name(enum operation_state state)
{
    return state_names[state];
}

void operation_name(uint64_t number, char ret_name[OPERATION_NAME_BYTES])
{
    snprintf(ret_name, OPERATION_NAME_BYTES, "op-%llu", (unsigned long long)number);
}

bool operation_name_parse(struct slice name, uint64_t *ret_number)
{
    if (name.bytes < 4 || name.bytes > 23 || memcmp(name.at, "op-", 3) != 0) {
        return false;
    }
    uint64_t number = 0;
    for (size_t i = 3; i < name.bytes; i++) {
        unsigned digit = (unsigned)name.at[i] - '0';
        if (digit > 9 || number > (UINT64_MAX - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *ret_number = number;
    return number > 0;
}

/* ---- as JSON text */

static void add_text(struct buf *json, const char *name, struct slice text)
{
    if (text.bytes > 0) {
        buf_printf(json, ",\"%s\":", name);
        json_add_string(json, text);
    }
}

static void add_memory(struct buf *json, const struct provider_memory *memory)
{
    buf_add_str(json, ",\"memory\":{");
    for (unsigned i = 0; i < memory->count; i++) {
        buf_add_str(json, i > 0 ? "," : "");
        json_add_string(json, memory->notes[i].name);
        buf_add_byte(json, ':');
        json_add_string(json, memory->notes[i].value);
    }
    buf_add_byte(json, '}');
}

static void add_facts(struct buf *json, const struct provider_facts *facts)
{
    buf_printf(json, ",\"facts\":{\"current\":%s", facts->key_is_current ? "true" : "false");
    add_text(json, "url", facts->url);
    add_text(json, "resourceType", facts->resource_type);
    add_text(json, "resource", facts->resource);
    add_text(json, "hookUrl", facts->hook_url);
    add_text(json, "hookName", facts->hook_name);
    add_text(json, "hookId", facts->hook_id);
    buf_add_byte(json, '}');
}

static void add_calls(struct buf *json, const struct operation *operation)
{
    buf_add_str(json, ",\"calls\":[");
    for (unsigned i = 0; i < operation->call_count; i++) {
        const struct operation_call_log *call = &operation->calls[i];
        buf_printf(json, "%s{\"at\":%lld,\"status\":%u,\"ms\":%u", i > 0 ? "," : "",
                   (long long)call->at_ns, call->status, call->took_ms);
        add_text(json, "method", call->method);
        add_text(json, "target", call->target);
        add_text(json, "why", call->why);
        buf_add_byte(json, '}');
    }
    buf_add_byte(json, ']');
}

void operation_encode(const struct operation *operation, struct buf *json)
{
    char id[HUB_ID_TEXT_BYTES];
    hub_id_text(operation->object, id);
    buf_printf(
        json,
        "{\"number\":%llu,\"intent\":%d,\"state\":%d,\"kind\":\"%s\",\"object\":\"%s\","
        "\"doubt\":%s,\"made\":%s,\"fault\":%d,\"attempts\":%u,\"created\":%lld,\"updated\":%lld,"
        "\"due\":%lld",
        (unsigned long long)operation->number, (int)operation->intent, (int)operation->state,
        resource_kind_info(operation->kind)->name, id, operation->in_doubt ? "true" : "false",
        operation->made ? "true" : "false", (int)operation->fault, operation->attempts,
        (long long)operation->created_ns, (long long)operation->updated_ns,
        (long long)operation->due_ns);
    add_text(json, "canvas", operation->canvas);
    add_text(json, "name", operation->name);
    add_text(json, "integrationCanvas", operation->integration_canvas);
    add_text(json, "integration", operation->integration);
    add_text(json, "provider", operation->provider);
    add_text(json, "step", operation->step);
    add_text(json, "why", operation->why);
    add_text(json, "formerSpec", operation->former_spec);
    add_text(json, "formerBase", operation->former_base);
    add_text(json, "formerCredential", operation->former_credential);
    add_facts(json, &operation->facts);
    add_memory(json, &operation->memory);
    add_calls(json, operation);
    buf_add_byte(json, '}');
}

static struct slice text_of(yyjson_mut_val *object, const char *name)
{
    yyjson_mut_val *value = provider_get(object, name);
    return yyjson_mut_is_str(value) ? json_text(value) : SLICE_EMPTY;
}

static int64_t number_of(yyjson_mut_val *object, const char *name)
{
    return yyjson_mut_get_sint(provider_get(object, name));
}

static unsigned index_of(yyjson_mut_val *object, const char *name, unsigned count, bool *good)
{
    int64_t value = number_of(object, name);
    *good = *good && value >= 0 && value < (int64_t)count;
    return *good ? (unsigned)value : 0;
}

static void decode_facts(yyjson_mut_val *from, struct provider_facts *facts)
{
    facts->key_is_current = yyjson_mut_get_bool(provider_get(from, "current"));
    facts->url = text_of(from, "url");
    facts->resource_type = text_of(from, "resourceType");
    facts->resource = text_of(from, "resource");
    facts->hook_url = text_of(from, "hookUrl");
    facts->hook_name = text_of(from, "hookName");
    facts->hook_id = text_of(from, "hookId");
}

static void decode_memory(yyjson_mut_val *from, struct provider_memory *memory)
{
    size_t index, max;
    yyjson_mut_val *key, *value;
    yyjson_mut_obj_foreach(from, index, max, key, value)
    {
        if (memory->count < PROVIDER_MEMORY_MAX && yyjson_mut_is_str(value)) {
            memory->notes[memory->count++] =
                (struct provider_note){json_text(key), json_text(value)};
        }
    }
}

static void decode_calls(yyjson_mut_val *from, struct operation *operation)
{
    yyjson_mut_val *item;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(from, &iter);
    while ((item = yyjson_mut_arr_iter_next(&iter)) &&
           operation->call_count < OPERATION_CALLS_KEPT) {
        operation->calls[operation->call_count++] =
            (struct operation_call_log){.at_ns = number_of(item, "at"),
                                        .method = text_of(item, "method"),
                                        .target = text_of(item, "target"),
                                        .status = (uint16_t)number_of(item, "status"),
                                        .took_ms = (uint32_t)number_of(item, "ms"),
                                        .why = text_of(item, "why")};
    }
}

enum bk_err operation_decode(struct slice bytes, struct json_tree *tree,
                             struct operation *ret_operation)
{
    struct json_problem problem;
    if (json_parse(bytes, tree, &problem) != BK_OK || !yyjson_mut_is_obj(tree->roots[0])) {
        return BK_CORRUPT;
    }
    yyjson_mut_val *root = tree->roots[0];
    bool good = hub_id_parse(text_of(root, "object"), ret_operation->object);
    struct operation operation = {
        .number = yyjson_mut_get_uint(provider_get(root, "number")),
        .intent = (enum provider_intent)index_of(root, "intent", PROVIDER_INTENT_COUNT, &good),
        .state = (enum operation_state)index_of(root, "state", 3, &good),
        .in_doubt = yyjson_mut_get_bool(provider_get(root, "doubt")),
        .made = !yyjson_mut_is_false(provider_get(root, "made")), /* an older one does not say */
        .fault = (enum provider_fault)index_of(root, "fault", PROVIDER_FAULT_COUNT, &good),
        .attempts = (unsigned)number_of(root, "attempts"),
        .created_ns = number_of(root, "created"),
        .updated_ns = number_of(root, "updated"),
        .due_ns = number_of(root, "due"),
        .canvas = text_of(root, "canvas"),
        .name = text_of(root, "name"),
        .integration_canvas = text_of(root, "integrationCanvas"),
        .integration = text_of(root, "integration"),
        .provider = text_of(root, "provider"),
        .step = text_of(root, "step"),
        .why = text_of(root, "why"),
        .former_spec = text_of(root, "formerSpec"),
        .former_base = text_of(root, "formerBase"),
        .former_credential = text_of(root, "formerCredential"),
    };
    good = good && resource_kind_find(text_of(root, "kind"), &operation.kind);
    memcpy(operation.object, ret_operation->object, sizeof operation.object);
    decode_facts(provider_get(root, "facts"), &operation.facts);
    decode_memory(provider_get(root, "memory"), &operation.memory);
    decode_calls(provider_get(root, "calls"), &operation);
    *ret_operation = operation;
    return good && operation.number > 0 ? BK_OK : BK_CORRUPT;
}

/* ---- in the store */

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

static enum bk_err put_waiting(struct store_txn *txn, const struct operation *operation)
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
    enum bk_err err = put_waiting(txn, operation);
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

enum bk_err operation_put(struct store_txn *txn, const struct operation *operation)
{
    int64_t old_due_ns;
    struct key key;
    enum bk_err err = operation_due(txn, operation->number, &old_due_ns);
    if (err == BK_OK && old_due_ns != operation->due_ns) {
        key_operation_due(&key, old_due_ns, operation->number);
        err = store_delete(txn, key_slice(&key));
    }
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

/* ---- what waits at an integration */

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
};

static bool look_at_resumed(void *context, const struct operation_waiting *waiting)
{
    struct resume *resume = context;
    if (resume->count == OPERATIONS_RESUMED_MAX) {
        resume->more = true;
        return false;
    }
    resume->last = waiting->number;
    if (waiting->state != OPERATION_PENDING) { /* failed, or the check of a credential */
        resume->numbers[resume->count++] = waiting->number;
    }
    return true;
}

enum bk_err operation_make_due(struct store_txn *txn, uint64_t number, int64_t now_ns)
{
    struct json_tree tree;
    struct operation operation;
    json_tree_init(&tree);
    enum bk_err err = operation_read(txn, number, &tree, &operation);
    if (err == BK_OK) {
        operation.due_ns = now_ns;
        operation.state = OPERATION_PENDING;
        operation.attempts = 0;
        err = operation_put(txn, &operation);
    }
    json_tree_fini(&tree);
    return err;
}

enum bk_err operations_resume(struct store_txn *txn, struct slice canvas, struct slice integration,
                              uint64_t after, int64_t now_ns)
{
    struct resume resume = {.count = 0};
    struct key key;
    uint8_t at[8];
    enum bk_err err = operations_waiting(txn, canvas, integration, after, look_at_resumed, &resume);
    for (unsigned i = 0; err == BK_OK && i < resume.count; i++) {
        err = operation_make_due(txn, resume.numbers[i], now_ns);
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
        err = put_waiting(txn, &operation);
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
    struct leading leading;
    struct slice known;
    enum bk_err err = leading_get(txn, &leading);
    *ret_leading = err == BK_OK;
    known = leading.public_url;
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

/* ---- for the API */

static void add_time(struct buf *json, const char *name, int64_t wall_ns)
{
    char text[25];
    time_format_rfc3339(wall_ns, text);
    add_text(json, name, slice_str(text));
}

static void add_status(struct buf *json, const struct operation *operation)
{
    buf_printf(json, "\"status\":{\"state\":\"%s\",\"attempts\":%u", state_names[operation->state],
               operation->attempts);
    add_text(json, "step", operation->step);
    if (operation->due_ns != 0) {
        add_time(json, operation->state == OPERATION_DONE ? "nextCheckAt" : "nextAttemptAt",
                 operation->due_ns);
    }
    if (operation->fault != PROVIDER_FAULT_NONE) {
        add_text(json, "reason", slice_str(provider_fault_name(operation->fault)));
        add_text(json, "message", operation->why);
        add_text(
            json, "advice",
            slice_str(provider_fault_advice(provider_find(operation->provider), operation->fault)));
    }
    add_memory(json, &operation->memory);
    buf_add_str(json, ",\"calls\":[");
    for (unsigned i = 0; i < operation->call_count; i++) {
        const struct operation_call_log *call = &operation->calls[i];
        buf_printf(json, "%s{\"status\":%u,\"tookMs\":%u", i > 0 ? "," : "", call->status,
                   call->took_ms);
        add_time(json, "at", call->at_ns);
        add_text(json, "method", call->method);
        add_text(json, "target", call->target);
        add_text(json, "message", call->why);
        buf_add_byte(json, '}');
    }
    buf_add_str(json, "]}");
}

void operation_json(const struct operation *operation, struct buf *json)
{
    char name[OPERATION_NAME_BYTES], id[HUB_ID_TEXT_BYTES];
    operation_name(operation->number, name);
    hub_id_text(operation->object, id);
    buf_printf(json, "{\"apiVersion\":\"v1\",\"kind\":\"Operation\",\"metadata\":{\"name\":\"%s\"",
               name);
    add_text(json, "canvasId", operation->canvas);
    buf_printf(json, ",\"id\":\"%s\"", name);
    add_time(json, "createdAt", operation->created_ns);
    add_time(json, "updatedAt", operation->updated_ns);
    buf_printf(json, "},\"spec\":{\"intent\":\"%s\",\"object\":{\"kind\":\"%s\",\"id\":\"%s\"",
               intent_names[operation->intent], resource_kind_info(operation->kind)->name, id);
    add_text(json, "name", operation->name);
    buf_add_byte(json, '}');
    add_text(json, "integration", operation->integration);
    add_text(json, "provider", operation->provider);
    add_text(json, "resource", operation->facts.resource);
    add_text(json, "formerAddress", operation->former_base);
    buf_add_str(json, "},");
    add_status(json, operation);
    buf_add_byte(json, '}');
}
