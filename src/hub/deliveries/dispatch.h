/* dispatch.h - the control thread's part of deliveries: what blocks, and what must outlive a crash.
 *
 * Purpose     Persists retries, dead letters and cursors, in batches; loads what is due; reads
 *             journals back for lanes that are behind; knows how each destination fares.
 * Commits     Letters from the cores (reports and checkpoints) are kept in the order of their
 *             arrival and committed together, at the latest DISPATCH_COMMIT_NS after the first one;
 *             each goes home only when it is durable. So a cursor is never ahead of the retries it
 *             relies on, and a full disk slows failing deliveries down instead of losing them.
 * Retries     Keys by destination, then due time: a destination that is down costs one look at its
 *             first key, a million pending retries cost no memory.
 * Clock       Due times are of a clock that runs with the monotonic one. At a start it begins at
 *             the wall clock, or where it was when a due time was kept last if that is later. So a
 *             wall clock that is set while the server runs moves no retry; one that was set back
 *             between stop and start lets none wait longer than it was to; one that was set
 *             forward makes them due, no more; one that was far ahead when a due time was kept
 *             stays in the due times alone: people see them by the wall clock as it is
 *             (dispatch_wall_ms). Hold (Retry-After), breaker and rate limit go by the monotonic
 *             clock alone, and end with the process.
 * Start       dispatch_recover() reads what the journals hold behind the last checkpoint: attempts
 *             say what was delivered, records what is still owed.
 * Threads     The control thread; the *_arrived and *_back functions run on it by mail.
 */
#ifndef BECKET_HUB_DISPATCH_H
#define BECKET_HUB_DISPATCH_H

#include "hub/deliveries/deliver_mail.h"
#include "hub/deliveries/order.h"
#include "hub/hub.h"
#include "hub/routes/route_table.h"
#include "journal/catalog.h"

#define DISPATCH_COMMIT_NS 25000000ULL

struct dispatch_config {
    struct hub *hub;
    struct catalog *catalog;
    const struct route_table *routes;
    struct ring *ring;
    uint16_t cores;
    int64_t clock_ms; /* of dispatch_clock_begin(); as deliver_config has it */
    /* A destination answered 410: pause it (DESTINATION_PAUSED_BY_GONE). May be NULL. */
    void (*gone)(void *context, uint64_t destination);
    void *context;
};

/* The clock of due times minus the monotonic one, at a start. */
enum bk_err dispatch_clock_begin(struct hub *hub, int64_t wall_ms, uint64_t now_ns,
                                 int64_t *ret_clock_ms) BK_MUST_CHECK;
enum bk_err dispatch_open(const struct dispatch_config *config,
                          struct dispatch **ret_dispatch) BK_MUST_CHECK;
void dispatch_close(struct dispatch *dispatch);

/* Before the cores open, after the routes were fed: applies what the journals know beyond the last
 * checkpoint, and finds the lanes to begin with. Blocking. */
enum bk_err dispatch_recover(struct dispatch *dispatch) BK_MUST_CHECK;
/* Lanes of a core; valid until dispatch_started(). */
size_t dispatch_lanes(const struct dispatch *dispatch, uint16_t core,
                      const struct lane_start **ret_lanes);
/* All cores have opened: `delivers` and `rings` by core. */
void dispatch_started(struct dispatch *dispatch, struct deliver *const *delivers,
                      struct ring *const *rings);

/* One bounded step: at most 1 MiB of reading or one commit. True: there is more. */
bool dispatch_step(struct dispatch *dispatch);
/* When (monotonic) the next step is due; UINT64_MAX: after mail. */
uint64_t dispatch_next_ns(const struct dispatch *dispatch);
/* The cores are draining: send them no more retries, and do not make them wait for a store that
 * takes nothing: what it would have kept is found by the next start, as after a crash. */
void dispatch_drain(struct dispatch *dispatch);
/* Commit what has arrived (the end of a stop). */
void dispatch_flush(struct dispatch *dispatch);

/* A destination was deleted: its retries, dead letters and cursors go, bit by bit. */
void dispatch_removed(struct dispatch *dispatch, uint64_t destination);
/* It was applied, paused or resumed: what is due is looked at again. */
void dispatch_changed(struct dispatch *dispatch, uint64_t destination);
/* Somebody mended the destination, paused or not, and does not wait for hours: its breaker and what
 * it asked for (Retry-After) are lifted, and what failed is due now, not at its time; in order per
 * key the heads, for the rest goes behind them; what is under way, too, should it fail. Not a
 * replay that was not tried yet, for its rate was asked for; HURRIED_MAX rows at once, those that
 * were due first. An error of the store: no row has changed. */
enum bk_err dispatch_hurry(struct dispatch *dispatch, uint64_t destination) BK_MUST_CHECK;
/* An event source was applied: its type may be another one. */
void dispatch_source_changed(struct dispatch *dispatch, uint64_t source);

/* ---- how a destination fares */
struct dispatch_status {
    uint64_t outcomes[TARGET_OUTCOMES];
    uint64_t took_us;
    uint64_t backlog; /* known to wait in the journals, beyond what is under way */
    uint64_t lost;    /* records that retention removed before they could be delivered */
    uint64_t retries; /* persisted */
    uint32_t inflight;
    uint32_t queued;
    bool behind;
    bool open;
    int64_t oldest_ns;     /* received: the oldest first try that is owed; 0 = none */
    int64_t next_retry_ms; /* wall clock; 0 = none known */
    int64_t last_ns;
    uint32_t last_number;
    uint16_t last_status;
    uint8_t last_outcome; /* enum attempt_outcome; 0 = none since the start */
    char last_why[ATTEMPT_WHY_BYTES_MAX];
};
/* False: nothing is known of it yet (all zero then). At most half a second old. */
bool dispatch_status(const struct dispatch *dispatch, uint64_t destination,
                     struct dispatch_status *ret_status);
/* All destinations that anything is known of. */
typedef void dispatch_each_fn(void *context, uint64_t destination,
                              const struct dispatch_status *status);
void dispatch_each(const struct dispatch *dispatch, dispatch_each_fn *each, void *context);
uint64_t dispatch_retries(const struct dispatch *dispatch); /* pending, of all destinations */

/* For catalog_guard(), with the dispatch as its context: is any destination that exists owed an
 * event of this journal up to there? It is looked for in the steps. */
enum catalog_owed dispatch_owed(void *context, uint16_t journal, uint64_t through);

/* ---- the store's rows, for deliveries/deliveries.h */
struct retry_row {
    uint64_t destination;
    int64_t due_ms;
    uint64_t position;
    uint32_t number; /* tries made; 0 = a replay that was not tried yet */
    uint8_t flags;   /* ATTEMPT_REPLAY, ATTEMPT_KEYED */
    uint16_t bucket; /* with ATTEMPT_KEYED */
    uint16_t status; /* of the last try; 0 = no answer */
    int64_t event_ns;
    uint64_t source;
    /* A replay at a rate: so far apart, also when all of them are late. One that is in order: when
     * it was asked for, in ms of the wall clock, the lower bits. */
    uint32_t pace_us;
};
/* Rows of a replay at a rate stand by themselves, behind those that failed: where they are late (an
 * outage, a pause), they go on at their rate, and what failed does not wait for them. */
#define RETRY_PACED_MS (INT64_C(1) << 61)
static inline bool retry_is_paced(int64_t due_ms)
{
    return due_ms >= RETRY_PACED_MS && !order_is_waiting(due_ms) && due_ms != INT64_MAX;
}
/* When it is due. */
static inline int64_t retry_due_ms(int64_t due_ms)
{
    return retry_is_paced(due_ms) ? due_ms - RETRY_PACED_MS : due_ms;
}
/* Put retries in (replays): due when they say. Rows that are there already stay as they are. */
enum bk_err dispatch_add(struct dispatch *dispatch, const struct retry_row *rows,
                         size_t count) BK_MUST_CHECK;
/* The same, and in the same transaction what the caller has to say about it. */
enum bk_err dispatch_add_with(struct dispatch *dispatch, const struct retry_row *rows, size_t count,
                              store_update_fn *also, void *context) BK_MUST_CHECK;
/* Where the row's destination has an order, it takes its place in it: behind older ones of its key,
 * and only when no core owes an older one. Else it stays as it is. */
void dispatch_in_order(struct dispatch *dispatch, const struct journal_entry *entry,
                       const uint8_t *message, struct retry_row *row);
/* When a due time is by the wall clock, as it is set now. */
int64_t dispatch_wall_ms(const struct dispatch *dispatch, int64_t due_ms);
/* The clock that due_ms is of. */
int64_t dispatch_clock_ms(const struct dispatch *dispatch);

/* ---- mail */
void dispatch_want_arrived(struct ring_mail *mail);       /* struct lane_want */
void dispatch_chunk_back(struct ring_mail *mail);         /* struct event_chunk */
void dispatch_report_arrived(struct ring_mail *mail);     /* struct delivery_report */
void dispatch_checkpoint_arrived(struct ring_mail *mail); /* struct checkpoint */

#endif
