/* operation.h - one piece of work at a provider, as it lies in the store.
 *
 * Purpose     Making and removing hooks, checking credentials: whatever needs calls to an outside
 *             service. An operation is added in the same transaction as the change that wants it,
 *             so it is never forgotten; operations/operations.h carries it out.
 * Order       Per object one at a time. A new operation takes the place of older ones of its object
 *             that are not finished, and of finished ones of its intent.
 * Late        A call that makes a hook, whose answer did not come (lost, over our time, a kill),
 *             may do its work there when somebody has looked already. So what is done is looked at
 *             once more behind `late_ns`, by whatever operation the object has then.
 * Store       "q/" number: the record (JSON). "Q/" due time, number: what is to be done when. "u/"
 *             id of the object, number: by object. See store/keys.h.
 * Secrets     None is in it: keys and tokens are looked up when a call is made. Only what is to be
 *             undone where an integration led before has that one's credential, sealed.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_OPERATION_H
#define BECKET_HUB_OPERATION_H

#include "hub/resources/resource.h"
#include "providers/provider.h"
#include "store/store.h"

enum operation_state {
    OPERATION_PENDING, /* to be done, or under way */
    OPERATION_DONE,
    OPERATION_FAILED /* a person has to mend something; tried again rarely */
};

#define OPERATION_CALLS_KEPT 16U
#define OPERATION_LATE_NS    (60 * NS_PER_SECOND) /* a call's own limit, and some more */
#define OPERATION_FORMER     "former"
#define OPERATION_NAME_BYTES 24U /* "op-18446744073709551615" */

struct operation_call_log {
    int64_t at_ns;
    struct slice method;
    struct slice target;
    uint16_t status; /* 0 = no answer */
    uint32_t took_ms;
    struct slice why; /* empty = fine */
};

struct operation {
    uint64_t number;
    enum provider_intent intent;
    enum operation_state state;
    enum resource_kind kind; /* of the object it is for */
    uint8_t object[16];
    struct slice canvas;
    struct slice name;
    struct slice integration_canvas;
    struct slice integration;
    struct slice provider;
    /* Snapshot for objects that are gone: key, channel and text are not part of it. */
    struct provider_facts facts;
    /* What is to be undone where the integration led before: its spec of then, the base of its API,
     * and what it called with, sealed for `object` and field OPERATION_FORMER, in base64; empty =
     * where it leads now, as it is now. */
    struct slice former_spec, former_base, former_credential;
    struct slice step; /* empty = the first */
    bool in_doubt;     /* the step's call may have been made */
    bool made;         /* something may be at the provider, of this or of what it took over */
    int64_t late_ns;   /* a call without an answer may do its work until then; 0 = there is none */
    struct provider_memory memory;
    enum provider_fault fault;
    struct slice why;
    unsigned attempts; /* runs that ended in a fault, since the last success or retry */
    int64_t created_ns;
    int64_t updated_ns;
    int64_t due_ns; /* 0 = never again */
    unsigned call_count;
    struct operation_call_log calls[OPERATION_CALLS_KEPT]; /* the last ones, oldest first */
};

/* "hook-ensure"; static. */
const char *operation_intent_name(enum provider_intent intent);
void operation_name(uint64_t number, char ret_name[OPERATION_NAME_BYTES]);
/* "op-12"; false when it is not such a name. */
bool operation_name_parse(struct slice name, uint64_t *ret_number);

void operation_encode(const struct operation *operation, struct buf *json);
/* Slices point into the tree, which the caller inits and keeps. BK_CORRUPT. */
enum bk_err operation_decode(struct slice bytes, struct json_tree *tree,
                             struct operation *ret_operation) BK_MUST_CHECK;

/* Within a transaction. Gives the number, replaces what it supersedes. */
enum bk_err operation_add(struct store_txn *txn, struct operation *operation) BK_MUST_CHECK;
/* Write a changed one back. BK_NOT_FOUND: another has taken its place meanwhile. */
enum bk_err operation_put(struct store_txn *txn, const struct operation *operation) BK_MUST_CHECK;
/* When it is due, as it is stored. BK_NOT_FOUND. */
enum bk_err operation_due(struct store_txn *txn, uint64_t number,
                          int64_t *ret_due_ns) BK_MUST_CHECK;
/* The value lives as long as store_get's. BK_NOT_FOUND. */
enum bk_err operation_get(struct store_txn *txn, uint64_t number,
                          struct slice *ret_bytes) BK_MUST_CHECK;
/* The same, decoded: its slices point into the tree, which the caller inits and ends. */
enum bk_err operation_read(struct store_txn *txn, uint64_t number, struct json_tree *tree,
                           struct operation *ret_operation) BK_MUST_CHECK;
/* The one of an object with this intent; slices point into the tree, which the caller inits and
 * keeps. BK_NOT_FOUND. */
enum bk_err operation_find(struct store_txn *txn, const uint8_t object[16],
                           enum provider_intent intent, struct json_tree *tree,
                           struct operation *ret_operation) BK_MUST_CHECK;
/* Remove this one; BK_OK when it is not there. */
enum bk_err operation_drop(struct store_txn *txn, uint64_t number) BK_MUST_CHECK;
/* To be done now, whatever it waits for. */
enum bk_err operation_make_due(struct store_txn *txn, uint64_t number,
                               int64_t now_ns) BK_MUST_CHECK;
/* All of an object, finished ones too. */
enum bk_err operation_forget(struct store_txn *txn, const uint8_t object[16]) BK_MUST_CHECK;

/* ---- what waits at an integration: all that is not done, and checks of its credential */
struct operation_waiting {
    uint64_t number;
    enum operation_state state;
    enum provider_intent intent;
};
/* In order of number, behind `after`; false stops. */
typedef bool operation_waiting_fn(void *context, const struct operation_waiting *waiting);
enum bk_err operations_waiting(struct store_txn *txn, struct slice canvas, struct slice integration,
                               uint64_t after, operation_waiting_fn *look,
                               void *context) BK_MUST_CHECK;
/* Make due at once what a new credential may mend, of those behind `after`: at most
 * OPERATIONS_RESUMED_MAX; the rest is noted in the store for operations_resume_rest(). */
enum bk_err operations_resume(struct store_txn *txn, struct slice canvas, struct slice integration,
                              uint64_t after, int64_t now_ns) BK_MUST_CHECK;
/* Some more of what is noted. *ret_more: there may be more still. */
enum bk_err operations_resume_rest(struct store_txn *txn, int64_t now_ns,
                                   bool *ret_more) BK_MUST_CHECK;
#define OPERATIONS_RESUMED_MAX 64U

/* Where providers are to send to. *ret_leading: hooks are to be led there with operations_lead(),
 * for it is another address than they know, or a start before this one was not done with it. */
enum bk_err operations_address(struct store_txn *txn, struct slice public_url,
                               bool *ret_leading) BK_MUST_CHECK;
/* Make some more of them due, by looking at OPERATIONS_LED_MAX operations; where it stands is
 * noted in the store. *ret_more: not all were looked at. *ret_count: hooks since the change. */
enum bk_err operations_lead(struct store_txn *txn, int64_t now_ns, bool *ret_more,
                            uint64_t *ret_count) BK_MUST_CHECK;
#define OPERATIONS_LED_MAX 64U

/* Index what an older version stored; nothing when it has been done. */
enum bk_err operations_index_all(struct store_txn *txn) BK_MUST_CHECK;
/* One of them alone: does it wait at its integration? */
enum bk_err operation_put_waiting(struct store_txn *txn,
                                  const struct operation *operation) BK_MUST_CHECK;

/* The object of the API. */
void operation_json(const struct operation *operation, struct buf *json);

#endif
