/* operations_private.h - what the files that carry out operations share; for operations*.c only.
 *
 * Order       operations.c finds what is due, stores where each run is, and sends; operations_run.c
 *             is one run, from its ground to its end; operations_hold.c holds what a provider asked
 *             to wait; operations_list.c shows them.
 */
#ifndef BECKET_HUB_OPERATIONS_PRIVATE_H
#define BECKET_HUB_OPERATIONS_PRIVATE_H

#include "base/assert.h"
#include "base/list.h"
#include "base/time.h"
#include "hub/hub_private.h"
#include "hub/operations/operations.h"

#define RUN_BYTES_MAX (8U << 20) /* of one run's arena */

/* Of a running operation. */
enum live_state {
    LIVE_TO_SEND, /* to be stored, then sent */
    LIVE_SENT,
    LIVE_TO_END /* to be stored, then forgotten */
};

struct live {
    struct list node;
    struct operations *operations;
    enum live_state state;
    bool gone; /* the object is: remove the record */
    bool logging_in;
    bool stored; /* in this turn */
    bool again;  /* asked for while it was running: once more from the start */
    bool asked;  /* a step's call was made in this run */
    struct arena arena;
    struct json_tree record; /* the operation's slices */
    struct json_tree reply;  /* the last answer's */
    struct operation operation;
    int64_t stored_due_ns;
    int64_t late_before_ns; /* the operation's late_ns before this call */
    struct operation_ground ground;
    struct provider_run run;
    struct operation_call call;
    int64_t sent_ns;
    unsigned redirects; /* of this call */
};

/* An integration whose provider asked to slow down: none of its operations is started before. In
 * memory only; whoever is started too soon after a start hears it again. */
#define HOLDS_MAX 64U
struct hold {
    char canvas[NAME_BYTES_MAX + 1], integration[NAME_BYTES_MAX + 1];
    int64_t until_ns;
};

struct operations {
    struct operations_config config;
    struct hold holds[HOLDS_MAX];
    struct list live;
    unsigned live_count;
    bool woken;
    int64_t next_ns;       /* of what is in the store, or of the next try to write */
    int64_t held_ns;       /* of what is due but in doubt or on hold; INT64_MAX = nothing is */
    uint8_t scan_from[18]; /* key behind which to look next; all zero = from the start */
    bool scanning;
    bool resuming; /* more of an integration is to be made due */
    bool leading;  /* more hooks are to be led to another public address */
    bool stepping; /* some of either in this turn */
    struct step {  /* what came of it; counts when it is committed */
        bool resuming, leading;
        uint64_t led;
    } step;
    bool unstored;    /* the last commit failed, and the log says so */
    int64_t step_ns;  /* of such work: not before */
    unsigned written; /* runs, in this turn's commit */
    int64_t wrote_ns; /* a commit of many began then; 0 = the last turn had none */
    int64_t rest_ns;  /* the thread is others' until then */
    int64_t now_ns;   /* of the turn, for what it writes */
};

/* ---- operations_run.c */
/* The first call of a run, or its end. */
void run_begin(struct live *live, struct store_txn *txn, int64_t now_ns);

/* ---- operations_hold.c */
/* 0 = it may start. */
int64_t held_until(const struct operations *operations, const struct operation *operation,
                   int64_t now_ns);
void hold_integration(struct operations *operations, const struct operation *operation,
                      int64_t until_ns);

#endif
