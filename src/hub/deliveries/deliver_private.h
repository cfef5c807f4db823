/* deliver_private.h - what the files of a core's deliveries share; for hub/deliver*.c only. */
#ifndef BECKET_HUB_DELIVER_PRIVATE_H
#define BECKET_HUB_DELIVER_PRIVATE_H

#include "hub/deliveries/deliver.h"
#include "hub/deliveries/flow.h"
#include "hub/deliveries/request.h"
#include "hub/routes/fan_out.h"

/* Deliveries of one lane between the lowest unfinished and the newest one. */
#define WINDOW_ENTRIES 512U
/* Built and waiting in memory, per lane: what a burst of one commit brings, and while most slots
 * are free several times that, for each question to the control thread wakes it. */
#define LANE_QUEUE_MIN   64U
#define LANE_QUEUE_MAX   256U
#define LANE_QUEUE_SHARE 4U /* of the free slots */
/* A lane with so small a part of it left asks for more. */
#define LANE_QUEUE_LOW 4U
#define TARGET_BUCKETS 4096U

struct delivery {
    struct http_call call;
    struct list node; /* free list, its lane's or target's queue, or deliver->unposted */
    struct target *target;
    struct lane *lane; /* NULL: a retry */
    uint64_t position;
    uint64_t source;
    int64_t event_ns;
    int64_t previous_due_ms;
    uint64_t version; /* of the destination that the request was built for */
    uint64_t lifts;   /* flow_lifts() when it was sent */
    uint32_t number;  /* this try's: 1, 2, 3 … */
    uint8_t flags;    /* ATTEMPT_REPLAY, ATTEMPT_KEYED */
    uint16_t bucket;  /* order per key; else ORDER_NO_KEY */
    struct flow_place place;
    bool flying;
    bool in_order; /* counted in order_keys.flying */
    bool first;    /* the only one of a destination that fails, is silent, or was never tried */
    struct list followers; /* order per key: retries that go behind this one, in order */
    uint8_t *at;           /* the request: in the pool, or from `large` */
    uint8_t *pool_at;
    size_t large_bytes; /* 0 = in the pool */
    struct request_layout layout;
    struct http_origin origin;
    struct delivery_report report;
    uint64_t recorded; /* its try is this record of the journal; 0 = it could not be kept */
};

/* Sequences under way, in order, each with whether it is done. */
struct window {
    struct list node; /* the free list */
    uint64_t head, tail;
    uint64_t entries[WINDOW_ENTRIES]; /* sequence << 1 | done */
    int64_t times[WINDOW_ENTRIES];    /* when each event was received */
    uint16_t buckets[WINDOW_ENTRIES]; /* of its key, or ORDER_NO_KEY */
};

#define LANE_LEFT_UNKNOWN 1 /* older than anything */

struct lane {
    struct list node;  /* the target's */
    struct list dirty; /* to be in the next checkpoint */
    struct target *target;
    uint16_t journal;
    bool foreign; /* no core writes that journal any more */
    bool behind;
    bool asked;            /* `want` is with the control thread */
    uint64_t next;         /* behind: the first sequence not looked at */
    uint64_t kept;         /* the store knows of all below that they are settled here */
    uint64_t missed;       /* the newest wanted sequence that was left to the journal */
    uint64_t backlog;      /* how many of them, as far as we know */
    struct window *window; /* NULL: nothing is under way */
    /* Strict order: the head that failed; it is read again when it is due. */
    uint64_t held_sequence;
    uint64_t held_until_ns;
    uint32_t held_number; /* tries made */
    uint64_t look_ns;     /* the journal could not be read: not before */
    uint64_t lost_ns;     /* nothing is read for long: ask again then what retention took */
    int64_t left_ns;      /* behind: when the first event left behind was received, about */
    int64_t told_ns;      /* left_ns is unknown (a start): about when, for people; 0 = unknown */
    int64_t newest_ns;    /* of those in the window, since it was empty */
    struct list queue;    /* built, in order */
    unsigned queued;
    uint64_t *done; /* settled ones from before the start, ascending */
    size_t done_count, done_at;
    struct lane_want want;
};

/* Order per key: the oldest event of a bucket that this core owes, as far as it is in memory. */
struct bucket_first {
    const struct lane *lane; /* NULL: none */
    uint64_t sequence;
};

/* A destination as this core sees it. */
struct target {
    struct target *bucket_next;
    struct list node; /* all of them */
    struct list pump; /* to be looked at in this turn */
    struct deliver *deliver;
    uint64_t number;
    uint64_t last_sequence; /* of the event that went to it last: two routes deliver once */
    struct list lanes;
    struct lane *own; /* of this core's journal */
    struct list retries;
    unsigned retry_count; /* in the list */
    unsigned slots;
    size_t large_bytes;          /* out, for events that do not fit a slot */
    uint64_t no_large_before_ns; /* there was no more: the journal is not read again before */
    bool retry_turn;             /* lanes and retries take turns */
    bool well;                   /* its last try was a success */
    bool hung;                   /* its last try failed and took long */
    uint64_t silent_since_ns;    /* nothing came of what is under way; 0 = nothing is */
    bool strict;                 /* in order */
    uint64_t order_version;      /* of the destination that told the order */
    struct bucket_first *firsts; /* in order per key: ORDER_BUCKETS of them; else NULL */
    struct target_wake {
        struct ring_mail mail;
        struct target *home;
        struct deliver *peer;
        uint64_t number;
        bool out, again;
    } wake;
    uint64_t lifts; /* flow_lifts() as it was seen last */
    bool changed;   /* its status */
    struct flow flow;
    struct timer timer;
    struct target_status status;
};

struct deliver {
    struct deliver_config config;
    struct deliver_stats stats;
    struct buffers large;
    struct delivery *slots;
    uint8_t *pool;
    struct list free;
    unsigned free_count;
    unsigned first_count; /* slots that are such a one's */
    struct window *windows;
    struct list windows_free;
    struct target *buckets[TARGET_BUCKETS];
    struct list targets;
    struct list pumps;
    struct list dirty;
    struct timer checkpoint_timer;
    struct timer drain_timer;
    struct list unposted; /* deliveries whose report waits for the record of their try */
    struct timer unposted_timer;
    struct checkpoint checkpoint;
    bool checkpoint_out;   /* with the control thread */
    uint64_t through_sent; /* of the last checkpoint */
    uint64_t start_tail;   /* of the journal, when it started */
    bool watching;         /* some lane is behind: a pause may end */
    bool draining;
    bool drained;         /* the last checkpoint was sent */
    uint64_t through_max; /* 0; else an event that had no memory is here: a start finds it again */
    uint64_t filters_told_ns; /* not again before */
    unsigned wants_out, reports_out, wakes_out, flying;
    /* The pace of answers: how many since when, and what was found the last time. */
    uint64_t pace_from_ns;
    unsigned pace_count;
    bool pace_fast;
    uint64_t random;
};

static inline struct flow_shared *shared_of(const struct destination *destination)
{
    return (struct flow_shared *)(void *)destination->state->words;
}

static inline struct flow_limits limits_of(const struct destination *destination)
{
    return (struct flow_limits){destination_concurrency(destination), destination->per_second};
}

static inline const struct destination *destination_of(const struct target *target)
{
    return route_table_destination(target->deliver->config.routes, target->number);
}

static inline int64_t deliver_now_ms(const struct deliver *deliver)
{
    return deliver->config.clock_ms + (int64_t)(ring_now_ns(deliver->config.ring) / 1000000);
}

/* ---- deliver.c */
struct target *target_take(struct deliver *deliver, uint64_t number); /* NULL: no memory */
void target_changed(struct target *target);
void target_pump_later(struct target *target);
void lane_changed(struct lane *lane);
uint32_t deliver_random(struct deliver *deliver);
/* A destination's turn may have come (deliver_order.c). */
void deliver_wake(struct deliver *deliver, uint64_t number);

/* ---- deliver_lane.c */
struct lane *lane_take(struct target *target, uint16_t journal); /* NULL: no memory */
void lane_offer(struct lane *lane, const struct destination *destination,
                const struct event_view *event);
void lane_settle(struct lane *lane, uint64_t sequence);
/* The lowest sequence that is not settled; 0 = nothing is under way or left behind. */
uint64_t lane_cursor(const struct lane *lane);
/* Does the store know that this one is settled in its lane? */
bool lane_is_kept(const struct target *target, uint64_t position);
/* Behind: what is left came after all that is in the window, also where the wall clock was set back
 * between the two. Else two cores would wait for each other: each for what the other left. */
int64_t lane_left_ns(const struct lane *lane);
/* What people are told of the oldest event that it owes; 0 = nothing, or not known yet. */
int64_t lane_told_ns(const struct lane *lane);
/* When the event there was received, about; 0 = none. */
int64_t lane_oldest_ns(const struct lane *lane);
void target_pump(struct target *target);
/* Strict order: the head failed and stays the head, until due_ns. */
void lane_hold(struct lane *lane, uint64_t sequence, uint32_t number, uint64_t due_ns);
/* False: others are in flight or were settled around it, from before the order became strict. */
bool lane_may_hold(const struct lane *lane, uint64_t sequence);
/* The oldest of a bucket that is in memory: when it was received; 0 = none. */
int64_t lane_bucket_oldest(const struct lane *lane, uint16_t bucket, uint64_t *ret_sequence);
/* Another ordering: what is built is built anew, from the journal. */
void target_rebuild(struct target *target);

/* ---- deliver_order.c: strict order over all cores */
/* The destination's ordering, which an apply may change at any time. */
void order_set(struct target *target, const struct destination *destination);
/* Tell the other cores what this one still owes. */
void order_publish(struct target *target);
/* May this one go now? Its lane's head is the oldest of all cores, and nothing is in flight. */
bool order_allows(const struct target *target, const struct delivery *delivery);
/* The head of the lane that owes the oldest event; NULL: it is not in memory. */
struct delivery *order_next(const struct target *target);
/* Something was settled: whose turn is it now? */
void order_pass_on(struct target *target, uint16_t bucket);

/* Order per key. */
uint16_t order_bucket_of(const struct target *target, const struct destination *destination,
                         const struct event_view *event);
/* One from a lane begins, or ended. False: the store has some of its key by now. */
bool order_begin(struct delivery *delivery, const struct destination *destination);
void order_end(const struct destination *destination, uint16_t bucket);
/* What a core owes of this bucket changed. */
void order_bucket_changed(struct target *target, uint16_t bucket);
/* The next one of the lanes that may go; those whose key's head failed are sent to the store. NULL:
 * none; *ret_waits: some wait for others. */
struct delivery *order_next_of_keys(struct target *target, bool *ret_waits);

/* ---- deliver_call.c */
/* A built request in a slot, counted to its target; NULL: no room. */
struct delivery *delivery_take(struct target *target, const struct destination *destination,
                               const struct event_view *event, uint32_t number);
void delivery_give(struct delivery *delivery);
/* There is no slot for it now: look again after so long; else 0. */
uint64_t delivery_no_room_ns(const struct target *target);
/* False: the destination changed since it was built: address, headers, secrets. */
bool delivery_start(struct delivery *delivery, const struct destination *destination);
/* Reports whose tries are durable in the journal go to the control thread; with `all`, all do. */
void deliver_post_reports(struct deliver *deliver, bool all);
/* A retry that is not tried now. */
void delivery_refuse(struct delivery *delivery);
/* Order per key: its key's head failed; it is persisted behind that one, and its lane goes on. Out
 * of its queue. */
void delivery_wait(struct delivery *delivery);

#endif
