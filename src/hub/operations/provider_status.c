/* provider_status.c - the status that an operation gives the object it is for, in the store. */
#include "base/hex.h"
#include "base/sha256.h"
#include "base/time.h"
#include "hub/operations/provider_work_private.h"
#include "store/keys.h"

#include <yyjson.h>

enum bk_err work_put_status(struct store_txn *txn, const uint8_t id[16], const struct buf *members)
{
    struct key key;
    key_status(&key, id);
    return members->overflow ? BK_TOO_LARGE : store_put(txn, key_slice(&key), buf_slice(members));
}

/* What was known before and stays true. */
static const char *const lasting[] = {"hookId",     "keyFingerprint", "account",
                                      "accountId",  "provisionedAt",  "checkedAt",
                                      "resourceId", "resourceName",   "notice"};

/* The stored members as an object of the tree; NULL = there are none. */
yyjson_mut_val *work_read_status(struct store_txn *txn, const uint8_t id[16],
                                 struct json_tree *tree)
{
    struct key key;
    struct slice members;
    struct json_problem problem;
    struct buf text;
    yyjson_mut_val *object = NULL;
    key_status(&key, id);
    if (store_get(txn, key_slice(&key), &members) != BK_OK) {
        return NULL;
    }
    buf_init(&text, 65536);
    buf_add_byte(&text, '{');
    buf_add_slice(&text, members);
    buf_add_byte(&text, '}');
    if (!text.overflow && json_parse(buf_slice(&text), tree, &problem) == BK_OK) {
        object = tree->roots[0];
    }
    buf_fini(&text);
    return object;
}

void work_add_lasting(struct buf *members, yyjson_mut_val *before)
{
    for (size_t i = 0; before && i < sizeof lasting / sizeof lasting[0]; i++) {
        yyjson_mut_val *value = yyjson_mut_obj_get(before, lasting[i]);
        if (yyjson_mut_is_str(value)) {
            json_add_member(members, lasting[i], json_text(value));
        }
    }
}

void work_add_time(struct buf *members, const char *name, int64_t wall_ns)
{
    char text[25];
    time_format_rfc3339(wall_ns, text);
    json_add_member(members, name, slice_str(text));
}

/* A key of 256 random bits says nothing of itself through this. */
void work_fingerprint(struct slice key, char ret_text[17])
{
    uint8_t digest[SHA256_BYTES];
    sha256(key, digest);
    hex_encode(digest, 8, ret_text);
    ret_text[16] = '\0';
}

enum bk_err work_status_pending(struct store_txn *txn, const struct operation *operation)
{
    char name[OPERATION_NAME_BYTES];
    struct buf members;
    struct json_tree tree;
    buf_init(&members, 65536);
    json_tree_init(&tree);
    operation_name(operation->number, name);
    json_add_member(&members, "state", SLICE("pending"));
    json_add_member(&members, "operation", slice_str(name));
    work_add_lasting(&members, work_read_status(txn, operation->object, &tree));
    enum bk_err err = work_put_status(txn, operation->object, &members);
    json_tree_fini(&tree);
    buf_fini(&members);
    return err;
}
