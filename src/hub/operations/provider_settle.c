/* provider_settle.c - what comes of an operation: the status of its object, and what follows. */
#include "base/time.h"
#include "hub/operations/integration_view.h"
#include "hub/operations/provider_work_private.h"
#include "store/keys.h"

#include <yyjson.h>

/* The source may have a newer key than the one that the hook got: then it is not current. */
static void add_key(struct hub *hub, struct store_txn *txn, const struct operation *operation,
                    struct buf *members)
{
    struct arena arena;
    struct operation_ground ground = {.why = ""};
    char print[17];
    arena_init(&arena, 1U << 20);
    if (work_load_source(hub, txn, operation, &arena, &ground) == BK_OK) {
        work_fingerprint(ground.facts.hook_key, print);
        json_add_member(members, "keyFingerprint", slice_str(print));
    }
    arena_fini(&arena);
}

static void add_done(struct hub *hub, struct store_txn *txn, const struct operation *operation,
                     struct buf *members)
{
    json_add_member(members, "state", SLICE("ready"));
    if (operation->intent == PROVIDER_RESOURCE_CHECK) {
        json_add_member(members, "resourceId", work_recall(operation, "resourceId"));
        json_add_member(members, "resourceName", work_recall(operation, "resourceName"));
        json_add_member(members, "notice", work_recall(operation, "notice"));
        work_add_time(members, "checkedAt", operation->updated_ns);
    } else if (operation->intent == PROVIDER_CHECK) {
        json_add_member(members, "account", work_recall(operation, "account"));
        json_add_member(members, "accountId", work_recall(operation, "accountId"));
        work_add_time(members, "checkedAt", operation->updated_ns);
    } else {
        json_add_member(members, "hookId", work_recall(operation, "hookId"));
        add_key(hub, txn, operation, members);
        work_add_time(members, "checkedAt", operation->updated_ns);
    }
}

static void add_fault(struct store_txn *txn, const struct operation *operation, struct buf *members)
{
    struct json_tree tree;
    json_add_member(members, "state",
                    operation->state == OPERATION_FAILED ? SLICE("error") : SLICE("pending"));
    json_add_member(members, "reason", slice_str(provider_fault_name(operation->fault)));
    json_add_member(members, "message", operation->why);
    json_add_member(
        members, "advice",
        slice_str(provider_fault_advice(provider_find(operation->provider), operation->fault)));
    work_add_time(members, "nextAttemptAt", operation->due_ns);
    json_tree_init(&tree);
    work_add_lasting(members, work_read_status(txn, operation->object, &tree));
    json_tree_fini(&tree);
}

/* Does the status tell of a message that was to go out after this one? Answers may cross. */
static bool tells_of_a_later_one(yyjson_mut_val *status, const struct operation *operation)
{
    yyjson_mut_val *name = yyjson_mut_obj_get(status, "operation");
    uint64_t number;
    return yyjson_mut_is_str(name) && operation_name_parse(json_text(name), &number) &&
           number > operation->number;
}

static struct slice text_in(yyjson_mut_val *status, const char *name)
{
    yyjson_mut_val *value = status ? yyjson_mut_obj_get(status, name) : NULL;
    return yyjson_mut_is_str(value) ? json_text(value) : SLICE_EMPTY;
}

/* The channel may be another one by now: the credential is another workspace's, or the old channel
 * went and a new one is called so. It is looked for again; has been found while this was posted. */
static enum bk_err find_channel_again(struct store_txn *txn, const struct operation *post,
                                      const uint8_t link[16])
{
    struct json_tree tree;
    struct operation check;
    json_tree_init(&tree);
    struct slice known = text_in(work_read_status(txn, link, &tree), "resourceId");
    bool found = known.bytes > 0 && !slice_equal(known, work_recall(post, "postedIn"));
    json_tree_fini(&tree);
    if (found) {
        return operation_make_due(txn, post->number, post->updated_ns);
    }
    json_tree_init(&tree);
    enum bk_err err = operation_find(txn, link, PROVIDER_RESOURCE_CHECK, &tree, &check);
    if (err == BK_OK && check.state == OPERATION_DONE) {
        err = operation_make_due(txn, check.number, post->updated_ns);
    }
    json_tree_fini(&tree);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* A message that went out leaves nothing behind; one that cannot is told by its link. */
static enum bk_err settle_post(struct store_txn *txn, const struct operation *operation)
{
    struct record record;
    struct buf members;
    struct json_tree tree;
    enum bk_err err =
        hub_record(txn, RESOURCE_INTEGRATION_LINK, operation->canvas, operation->name, &record);
    buf_init(&members, 65536);
    if (err == BK_OK && operation->state == OPERATION_DONE) {
        json_tree_init(&tree);
        yyjson_mut_val *before = work_read_status(txn, record.id, &tree);
        yyjson_mut_val *state = before ? yyjson_mut_obj_get(before, "state") : NULL;
        if (yyjson_mut_is_str(state) && !slice_equal(json_text(state), SLICE("ready")) &&
            !tells_of_a_later_one(before, operation)) {
            json_add_member(&members, "state", SLICE("ready"));
            work_add_lasting(&members, before);
        }
        json_tree_fini(&tree);
    } else if (err == BK_OK) {
        struct operation of_link = *operation;
        memcpy(of_link.object, record.id, sizeof of_link.object);
        char number[OPERATION_NAME_BYTES];
        operation_name(operation->number, number);
        add_fault(txn, &of_link, &members);
        json_add_member(&members, "operation", slice_str(number));
    }
    if (err == BK_OK && members.bytes > 0) {
        err = work_put_status(txn, record.id, &members);
    }
    if (err == BK_OK && operation->fault == PROVIDER_FAULT_NOT_FOUND) {
        err = find_channel_again(txn, operation, record.id);
    }
    buf_fini(&members);
    err = err == BK_NOT_FOUND ? BK_OK : err;
    return err == BK_OK && operation->state == OPERATION_DONE
               ? operation_drop(txn, operation->number)
               : err;
}

/* The old and the new address may be the same server's, and a source may be made again, or go back
 * to where it was, before its removal was done: what was removed then is made again. */
static enum bk_err look_again(struct store_txn *txn, const struct operation *removal)
{
    struct record record;
    struct json_tree tree;
    struct operation ensure;
    json_tree_init(&tree);
    enum bk_err err =
        hub_record(txn, RESOURCE_EVENT_SOURCE, removal->canvas, removal->name, &record);
    if (err == BK_OK) {
        err = operation_find(txn, record.id, PROVIDER_HOOK_ENSURE, &tree, &ensure);
    }
    if (err == BK_OK) {
        err = operation_make_due(txn, ensure.number, removal->updated_ns);
    }
    json_tree_fini(&tree);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* A credential that was good when it was checked is not taken any more: the integration is to say
 * so. */
static enum bk_err check_again(struct store_txn *txn, const struct operation *refused)
{
    struct record record;
    struct json_tree tree;
    struct operation check;
    json_tree_init(&tree);
    enum bk_err err = work_integration_of(txn, refused, &record);
    if (err == BK_OK) {
        err = operation_find(txn, record.id, PROVIDER_CHECK, &tree, &check);
    }
    if (err == BK_OK && check.state == OPERATION_DONE) {
        err = operation_make_due(txn, check.number, refused->updated_ns);
    }
    json_tree_fini(&tree);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* What a look at a link's channel changes. */
enum found {
    FOUND_IT,     /* as before */
    FOUND_ANEW,   /* as another, or for the first time: what waits may go now */
    FOUND_IN_VAIN /* as before, while a message cannot be posted there: that stays told */
};

static enum found what_was_found(struct store_txn *txn, const struct operation *operation,
                                 const char *name)
{
    struct json_tree tree;
    if (operation->intent != PROVIDER_RESOURCE_CHECK || operation->state != OPERATION_DONE) {
        return FOUND_IT;
    }
    json_tree_init(&tree);
    yyjson_mut_val *before = work_read_status(txn, operation->object, &tree);
    struct slice state = text_in(before, "state");
    struct slice known = text_in(before, "resourceId");
    bool failed = slice_equal(state, SLICE("error"));
    bool same = slice_equal(known, work_recall(operation, "resourceId"));
    bool own = slice_equal(text_in(before, "operation"), slice_str(name));
    enum found found = !same && (failed || known.bytes > 0) ? FOUND_ANEW
                       : same && failed && !own             ? FOUND_IN_VAIN
                                                            : FOUND_IT;
    json_tree_fini(&tree);
    return found;
}

static enum bk_err settle(struct hub *hub, struct store_txn *txn, const struct operation *operation)
{
    if (operation->intent == PROVIDER_POST) {
        return settle_post(txn, operation);
    }
    if (operation->intent == PROVIDER_HOOK_REMOVE && operation->state == OPERATION_DONE) {
        return look_again(txn, operation);
    }
    struct slice value;
    struct key key;
    struct record record;
    if (operation->fault == PROVIDER_FAULT_AUTH &&
        work_integration_of(txn, operation, &record) == BK_OK) {
        app_token_drop(&hub->app_tokens, work_bought_for(operation, &record));
    }
    key_id(&key, operation->object);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err != BK_OK) { /* the object is gone: nobody looks at its status */
        return err == BK_NOT_FOUND ? BK_OK : err;
    }
    char name[OPERATION_NAME_BYTES];
    struct buf members;
    operation_name(operation->number, name);
    enum found found = what_was_found(txn, operation, name);
    if (found == FOUND_IN_VAIN) {
        return BK_OK;
    }
    buf_init(&members, 65536);
    if (operation->state == OPERATION_DONE) {
        add_done(hub, txn, operation, &members);
    } else {
        add_fault(txn, operation, &members);
    }
    json_add_member(&members, "operation", slice_str(name));
    err = work_put_status(txn, operation->object, &members);
    buf_fini(&members);
    return err == BK_OK && found == FOUND_ANEW
               ? operations_resume(txn, operation->integration_canvas, operation->integration, 0,
                                   operation->updated_ns)
               : err;
}

enum bk_err provider_work_settle(void *context, struct store_txn *txn,
                                 const struct operation *operation)
{
    bool doubted = operation->fault == PROVIDER_FAULT_AUTH && operation->intent != PROVIDER_CHECK &&
                   operation->former_spec.bytes == 0;
    enum bk_err err = settle(context, txn, operation);
    return err == BK_OK && doubted ? check_again(txn, operation) : err;
}
