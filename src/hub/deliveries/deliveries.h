/* deliveries.h - finding what became of events, and sending them again.
 *
 * Purpose     What `GET /api/v1/deliveries`, `becket deliveries` and `becket replay` are built on.
 * Sources     State `pending`: the store's retries, by due time within a destination. `dead`: its
 *             dead letters. Else the attempts in the journals, newest first: one item per try, for
 *             `delivered` and `failed` those with this outcome, else all.
 * Steps       A walk can stop anywhere (BK_AGAIN when the budget is used up) and go on later, from
 *             the same struct or from a cursor.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_DELIVERIES_H
#define BECKET_HUB_DELIVERIES_H

#include "hub/deliveries/dispatch.h"
#include "hub/events/events.h"

enum delivery_state {
    DELIVERY_ANY,
    DELIVERY_PENDING,
    DELIVERY_DELIVERED,
    DELIVERY_FAILED,
    DELIVERY_DEAD
};
/* "pending", "delivered", "failed", "dead"; false for any other text. */
bool delivery_state_find(struct slice text, enum delivery_state *ret_state);

struct delivery_filter {
    enum delivery_state state;
    uint64_t destination;            /* number; 0 = all */
    uint64_t event;                  /* journal_position_pack(); 0 = all */
    int64_t since_ns;                /* when the try ended, included; INT64_MIN = no limit */
    int64_t until_ns;                /* excluded; INT64_MAX = no limit */
    char canvas[NAME_BYTES_MAX + 1]; /* of the destination; empty = all */
};

/* One item. Slices are valid until the next call with the same walk or reader. */
struct delivery_item {
    enum delivery_state state; /* never DELIVERY_ANY */
    uint64_t destination;
    uint64_t source;
    struct journal_position event;
    int64_t event_ns;
    uint32_t number; /* tries made, or this try's number */
    bool replay;
    uint16_t status; /* 0 = no answer */
    uint8_t stage;   /* enum http_stage: how far it came; attempts only */
    uint32_t took_us;
    int64_t ended_ns;    /* 0 = not known (pending) */
    int64_t next_due_ms; /* 0 = none */
    struct ring_address peer;
    struct slice why;
    struct slice answer;
    bool answer_cut;
};

struct delivery_walk {
    struct delivery_filter filter;
    bool rows;     /* of the store */
    uint64_t last; /* the destination whose canvas was looked up last, and the outcome */
    bool last_own;
    struct reader_merge merge;
    uint8_t at[32]; /* the last row's key */
    size_t at_bytes;
    uint64_t damaged;
};

/* cursor: empty, or what delivery_walk_cursor gave for the same filter. BK_INVALID: it is none. */
enum bk_err delivery_walk_begin(struct delivery_walk *walk, struct reader *reader,
                                const struct delivery_filter *filter,
                                struct slice cursor) BK_MUST_CHECK;
/* BK_NOT_FOUND: the end. BK_AGAIN: *budget (bytes of journal) is used up. */
enum bk_err delivery_walk_next(struct delivery_walk *walk, struct hub *hub, struct reader *reader,
                               size_t *budget, struct delivery_item *ret_item) BK_MUST_CHECK;
/* Text that continues behind the last item given. */
void delivery_walk_cursor(const struct delivery_walk *walk, struct buf *text);
/* {"event","destination","source","state","attempt","status","reason","durationMs","endedAt",
 * "nextAttemptAt","remote","answer","replay"}; absent ones are left out. */
void delivery_json(struct hub *hub, const struct route_table *routes,
                   const struct delivery_item *item, struct buf *json);

/* ---- replay: the chosen events as retries that are due now, or at a rate */

struct replay {
    /* The caller's. */
    uint64_t to;         /* a destination's number; 0 = all to which the event's routes lead now */
    uint32_t per_second; /* 0 = as fast as the destinations take them */
    bool dry_run;        /* count only */
    /* So far; gone: dead letters whose events are not kept any more, or not shown to the caller. */
    uint64_t events, deliveries, gone;
    /* Of dead letters. */
    uint64_t left; /* so many more are looked at; 0: delivery_walk_cursor(&walk) */
    struct delivery_walk walk;
    struct slice sources_canvas; /* only events of its sources; empty = all */
    /* Of one event: the destinations it goes to; is there a route at all, and why one of their
     * filters failed ("" = none did). */
    uint64_t *targets;
    size_t target_count;
    bool routed;
    char why[FILTER_WHY_BYTES];
    /* deliveries.c's */
    struct event_scan scan;
    bool letters;
    int64_t first_due_ms;
};

/* One event; free(replay->targets) behind it. BK_NOT_FOUND: no such destination, or no route wants
 * it. */
enum bk_err replay_event(struct dispatch *dispatch, struct replay *replay,
                         const struct journal_record *record) BK_MUST_CHECK;
/* A query: accepted events that pass the filter, oldest first. Set the caller's fields before. */
enum bk_err replay_begin(struct replay *replay, struct dispatch *dispatch, struct catalog *catalog,
                         struct reader *reader, const struct event_filter *filter) BK_MUST_CHECK;
/* Dead letters that pass the filter, each to where it was to go, or to `to`. Also set `left` and
 * `sources_canvas` before. */
enum bk_err replay_letters(struct replay *replay, struct dispatch *dispatch, struct reader *reader,
                           const struct delivery_filter *filter, struct slice cursor) BK_MUST_CHECK;
/* Some of it: BK_AGAIN: call again; BK_OK: done, all of it is persisted. What was added before an
 * error stays. */
enum bk_err replay_step(struct replay *replay, struct dispatch *dispatch, struct reader *reader,
                        size_t budget) BK_MUST_CHECK;

/* ---- a destination's `status`, as JSON: {"state":"live|behind|paused|failing","inflight",
 * "queued","backlog","retries","delivered","failed","dead","lost","oldestUndelivered",
 * "nextRetryAt","lastAttempt":{"at","attempt","outcome","status","reason"}} */
void destination_status_json(const struct dispatch *dispatch, const struct destination *destination,
                             struct buf *json);

#endif
