/* operations.h - carrying out operations: the provider's steps, one stored state at a time.
 *
 * Purpose     Takes what is due, asks the provider's machine what to send, stores where it is, has
 *             the call made, and goes on with the answer. After kill -9 at any point an operation
 *             is found as it was last stored; a call that may have been made is looked for before
 *             it is made again.
 * Order       State is stored before a call is sent and after its answer came; one commit carries
 *             all that happened in a turn. Per object and per hook one operation at a time, per
 *             integration OPERATIONS_PER_INTEGRATION, in all OPERATIONS_RUNNING_MAX.
 * Others      Who has much to store stores at most 32 runs in one commit, and then leaves the
 *             thread to others for as long as that took.
 * Moved       A redirect at the same server is followed where it keeps the method; nobody else gets
 *             the credential.
 * Limits      An answer that asks to slow down, or says that nothing is left of what the provider
 *             allows, holds all operations of its integration until then; a retry by hand does not
 *             wait.
 * Again       Faults that pass: 1 s doubled up to 5 min, with jitter, or what the provider says.
 *             Others wait for a person (`becket retry`, a new apply), and are looked at again after
 *             30 min, doubled up to a day: somebody may have mended it at the provider.
 * Drift       A hook that is right is looked at again after 6 h, more or less: one that was deleted
 *             or switched off at the provider is mended.
 *             With another public address than at the last start, all of them are led here, in
 *             steps: OPERATIONS_LED_MAX looked at every 20 ms, so that nothing else waits.
 * Threads     The control thread.
 * Failure     A store that cannot take a write: nothing is sent, tried again in 5 s.
 */
#ifndef BECKET_HUB_OPERATIONS_H
#define BECKET_HUB_OPERATIONS_H

#include "hub/hub.h"
#include "hub/operations/operation.h"

#define OPERATIONS_RUNNING_MAX     64U
#define OPERATIONS_PER_INTEGRATION 4U

struct operations;

/* One HTTP call; the operations' until send(), then the sender's until operations_answered(). */
struct operation_call {
    enum http_method method;
    struct slice url;     /* whole */
    struct slice headers; /* whole lines, each with CR LF; hold the credential: never log them */
    struct slice body;
    bool allow_private;
    bool repeatable;
    struct slice provider; /* for metrics */
    const char *operation; /* likewise: the intent's name */
    void *context;         /* the sender's */
};

struct operation_answer {
    bool arrived;
    const char *why;           /* one line, when it did not */
    enum provider_fault fault; /* then; NONE = DOWN */
    const struct http_head *head;
    struct slice body;
};

/* A token has to be bought before the first call: POST to this target of the API with this bearer.
 */
struct operation_login {
    struct slice target; /* empty = none is needed */
    struct slice bearer;
};

/* What an operation needs that is not in its record: looked up afresh at each start, in the arena.
 */
struct operation_ground {
    const struct provider *provider;
    struct provider_facts facts;
    struct slice base;       /* of the API, without a slash at the end */
    struct slice credential; /* empty = none is sent */
    struct slice secret;     /* what the credential was made of, if it is not that itself */
    struct provider_auth auth;
    struct operation_login login;
    bool allow_private;
    char why[PROVIDER_WHY_BYTES]; /* after BK_INVALID: what is missing */
};

struct operations_config {
    struct hub *hub;
    void (*send)(void *send_context, struct operation_call *call);
    void *send_context;
    /* BK_NOT_FOUND: the object is gone, and nothing is left to do. BK_INVALID: ground->why. May say
     * that the integration is another one by now. */
    enum bk_err (*load)(void *context, struct store_txn *txn, struct operation *operation,
                        int64_t now_ns, struct arena *arena, struct operation_ground *ret_ground);
    /* The answer to ground->login: the credential in it, in the arena. BK_PROTOCOL: there is none.
     */
    enum bk_err (*logged_in)(void *context, const struct operation *operation, yyjson_mut_val *json,
                             int64_t now_ns, struct arena *arena, struct operation_ground *ground);
    /* In the transaction that ends a run, well or not: write what the object's status tells. */
    enum bk_err (*settle)(void *context, struct store_txn *txn, const struct operation *operation);
    /* After that commit. */
    void (*settled)(void *context, const struct operation *operation);
    void *context;
};

enum bk_err operations_open(const struct operations_config *config,
                            struct operations **ret_operations) BK_MUST_CHECK;
/* Calls that are still out must not be answered any more. */
void operations_close(struct operations *operations);

/* At a start: is the public address another one than before? The work itself comes in steps of
 * operations_run(), and goes on after a restart. */
enum bk_err operations_check_address(struct operations *operations) BK_MUST_CHECK;

/* Once per turn of the control thread: start what is due, store, send. now_ns: wall clock. */
void operations_run(struct operations *operations, int64_t now_ns);
/* The wall clock was set. Where it was set back, what waits for another try waits as long as it
 * did: the first OPERATIONS_SHIFT_MAX that are due soon; a recheck of what is well can wait. */
#define OPERATIONS_SHIFT_MAX 1024U
void operations_clock_was_set(struct operations *operations, int64_t from_ns, int64_t to_ns);
/* When operations_run() has something to do by itself (wall clock); INT64_MAX = nothing. */
int64_t operations_next_ns(const struct operations *operations);
/* Something was added or changed behind its back. */
void operations_wake(struct operations *operations);
void operations_answered(struct operations *operations, struct operation_call *call,
                         const struct operation_answer *answer, int64_t now_ns);
/* Due now, whatever it waits for. BK_NOT_FOUND. One that is done for good: BK_CONFLICT. */
enum bk_err operations_retry(struct operations *operations, uint64_t number,
                             int64_t now_ns) BK_MUST_CHECK;

/* What cannot be done any more, and need not: a hook to be removed where nobody may enter, a
 * message. BK_NOT_FOUND. What an object that is there wants: BK_CONFLICT. */
enum bk_err operations_give_up(struct operations *operations, uint64_t number) BK_MUST_CHECK;

/* ---- for the API: {"items":[…],"next":…}, in order of number */
enum bk_err operations_list_json(struct operations *operations, struct slice canvas, unsigned limit,
                                 struct slice cursor, struct buf *json) BK_MUST_CHECK;
enum bk_err operations_canvas(struct operations *operations, uint64_t number,
                              char ret_canvas[NAME_BYTES_MAX + 1]) BK_MUST_CHECK;
enum bk_err operations_get_json(struct operations *operations, uint64_t number,
                                struct buf *json) BK_MUST_CHECK;

#endif
