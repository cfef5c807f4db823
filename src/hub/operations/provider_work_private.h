/* provider_work_private.h - what the files of operations/provider_work.h share: provider_work.c
 * (what is wanted), provider_load.c (what it needs), provider_settle.c (what comes of it) and
 * provider_status.c. Threads: the control thread.
 */
#ifndef BECKET_HUB_PROVIDER_WORK_PRIVATE_H
#define BECKET_HUB_PROVIDER_WORK_PRIVATE_H

#include "base/json.h"
#include "hub/operations/provider_work.h"

/* ---- provider_status.c: members of an object, without its braces */

/* The stored ones as an object of the tree, which the caller inits and keeps; NULL = there are
 * none. */
yyjson_mut_val *work_read_status(struct store_txn *txn, const uint8_t id[16],
                                 struct json_tree *tree);
enum bk_err work_put_status(struct store_txn *txn, const uint8_t id[16],
                            const struct buf *members) BK_MUST_CHECK;
/* To be done, with what stays true of the status before. */
enum bk_err work_status_pending(struct store_txn *txn,
                                const struct operation *operation) BK_MUST_CHECK;
void work_add_time(struct buf *members, const char *name, int64_t wall_ns);
/* Of a status before, what was known and stays true. */
void work_add_lasting(struct buf *members, yyjson_mut_val *before);
/* A key of 256 random bits says nothing of itself through this. */
void work_fingerprint(struct slice key, char ret_text[17]);

/* ---- provider_load.c */

/* Key, events and hook of its source, as they are now. */
enum bk_err work_load_source(struct hub *hub, struct store_txn *txn,
                             const struct operation *operation, struct arena *arena,
                             struct operation_ground *ground) BK_MUST_CHECK;
/* A note of its memory; empty = there is none. */
struct slice work_recall(const struct operation *operation, const char *name);
enum bk_err work_integration_of(struct store_txn *txn, const struct operation *operation,
                                struct record *ret_record) BK_MUST_CHECK;
/* Under what a token that was bought is kept: the one for a former address is another one. */
const uint8_t *work_bought_for(const struct operation *operation, const struct record *record);

#endif
