/* dispatch_private.h - what dispatch*.c share. */
#ifndef BECKET_HUB_DISPATCH_PRIVATE_H
#define BECKET_HUB_DISPATCH_PRIVATE_H

#include "base/limits.h"
#include "hub/deliveries/dispatch.h"
#include "hub/routes/fan_out.h"
#include "journal/reader.h"
#include "store/keys.h"

#define DISPATCH_CHUNKS      16U     /* on their way at once */
#define DISPATCH_CHUNK_BYTES 524288U /* or one larger event */
#define DISPATCH_READ_BYTES  1048576U
#define DISPATCH_FLYING_MAX  2048U /* retries that are with the cores */
#define DISPATCH_FLYING_EACH 64U   /* of one destination, and */
#define DISPATCH_BEHIND_EACH 128U  /* those of its keys that go behind one of these */
#define DISPATCH_NAMES       256U
#define STORE_RETRY_NS       1000000000ULL  /* after the store failed */
#define UNREADABLE_NS        30000000000ULL /* between two words, and two looks at one retry */

/* A destination that has retries or was heard of. */
struct fare {
    uint64_t number; /* 0 = unused */
    uint64_t retries;
    int64_t next_due_ms;    /* nothing is due before; INT64_MIN = unknown */
    uint64_t not_before_ns; /* no room, paused: look again then */
    uint64_t paced_ns;      /* no replay at a rate that is late goes before */
    size_t due_at;          /* its place in the heap, from 1; 0 = not there */
    unsigned flying;
    unsigned behind;   /* of these: behind another one of their key */
    unsigned ahead;    /* so many retries went well in a row, DISPATCH_FLYING_EACH at most */
    bool removed;      /* its rows are being deleted */
    bool retry_probed; /* the last probe of an open breaker was a retry */
    struct target_status *cores; /* one for each */
    /* Of each core's journal: its lane's, as the store has it; 0 = none is there, nothing is owed
     * of what the core has looked at. */
    uint64_t *cursors;
};

/* dispatch_owed.c: one question at a time. */
struct owed_look {
    enum { OWED_NONE, OWED_LANES, OWED_RETRIES, OWED_ANSWERED } at;
    uint16_t journal;
    uint64_t through;
    bool found;
    struct key next; /* the walk goes on here */
};

struct headless {
    uint64_t destination;
    uint16_t bucket;
};

/* dispatch_due.c */
struct due {
    uint64_t ns; /* of the ring's clock: look at this destination then */
    uint64_t number;
};

struct source_name {
    uint64_t number; /* 0 = unused */
    struct hub_source_name name;
    struct slice constant_type; /* of all its events; empty = they say */
};

struct dispatch {
    struct dispatch_config config;
    struct reader *reader;
    struct filter_scratch *scratch;
    struct deliver *delivers[CORES_MAX];
    struct ring *rings[CORES_MAX];
    int64_t wall_offset_ms; /* the wall clock minus the monotonic one, as it was set last */
    bool started;

    struct list wants;
    struct list chunks; /* free */
    struct event_chunk *all_chunks[DISPATCH_CHUNKS];
    unsigned chunk_count;

    /* To be committed, in the order of arrival. */
    struct letter *letters_first, **letters_last;
    size_t letter_count;
    struct letter *early;   /* that come before their turn */
    uint64_t commit_due_ns; /* 0 = nothing to commit */
    bool store_failing;
    bool draining;
    bool given_up; /* the store failed while it drained: nothing is kept any more */

    struct fare *fares; /* open addressing, a power of two */
    size_t fares_size, fare_count;
    uint64_t retries_total;
    struct due *due; /* a heap, the soonest first */
    size_t due_count, due_size;
    uint64_t load_due_ns;
    uint64_t *removals; /* destinations whose rows are being deleted */
    size_t removal_count, removals_size;
    uint64_t remove_at_ns;
    struct headless *headless; /* keys that have no head yet: dispatch_heads.c */
    size_t headless_count, headless_size;
    size_t heads_next; /* the next one to be looked at */
    uint64_t heads_at_ns;
    uint64_t heads_pause_ns; /* between two looks at all of them, longer while … */
    bool heads_moved;        /* … none got a head, or went, since the last one */

    struct {
        uint64_t destination, position;
        int64_t due_ms;
        uint16_t bucket;
        bool keyed, behind;
    } flying[2 * DISPATCH_FLYING_MAX];
    unsigned flying_count;

    struct owed_look owed;
    uint64_t unreadable_told_ns; /* not said again before */
    struct key dead_next;        /* dispatch_dead.c goes on here, */
    uint64_t dead_at_ns;         /* then */

    struct source_name names[DISPATCH_NAMES];

    uint64_t through[CORES_MAX]; /* what the cores have looked at, as the store has it */

    /* start-up only */
    struct lane_start *starts[CORES_MAX];
    size_t start_counts[CORES_MAX];
    uint64_t *start_done;
};

static inline int64_t dispatch_now_ms(const struct dispatch *dispatch)
{
    return dispatch->config.clock_ms + (int64_t)(ring_now_ns(dispatch->config.ring) / 1000000);
}

/* ---- dispatch_store.c: rows, in transactions */
struct dead_row {
    uint64_t destination, position, source;
    uint32_t number;
    uint8_t flags;
    uint16_t status;
    int64_t event_ns, ended_ns;
    struct slice why;
};
struct lane_row {
    uint64_t destination;
    uint16_t journal;
    uint64_t cursor;
    uint64_t held_sequence; /* strict order: the head that failed; 0 = none */
    uint32_t held_number;
    size_t done_count;
    const uint8_t *done; /* numbers of the store: key_get_u64() */
};
/* Fills what the report has for the commit's. */
enum bk_err rows_apply_report(struct store_txn *txn, struct delivery_report *report) BK_MUST_CHECK;
enum bk_err rows_apply_checkpoint(struct store_txn *txn, const struct checkpoint *checkpoint,
                                  const struct route_table *routes) BK_MUST_CHECK;
enum bk_err rows_put_retry(struct store_txn *txn, const struct retry_row *row) BK_MUST_CHECK;
/* It is due at another time. Where the event has a row of that time already, one is left. */
enum bk_err rows_move_retry(struct store_txn *txn, const struct retry_row *row,
                            int64_t due_ms) BK_MUST_CHECK;
enum bk_err rows_drop_retry(struct store_txn *txn, const struct retry_row *row) BK_MUST_CHECK;
/* cursor 0: nothing is outstanding, no row. */
enum bk_err rows_put_lane(struct store_txn *txn, const struct lane_row *row,
                          const uint64_t *done) BK_MUST_CHECK;
enum bk_err rows_put_through(struct store_txn *txn, uint16_t journal,
                             uint64_t through) BK_MUST_CHECK;
enum bk_err rows_put_clock(struct store_txn *txn, int64_t now_ms) BK_MUST_CHECK;
/* 0: never written. */
enum bk_err rows_clock(struct store_txn *txn, int64_t *ret_ms) BK_MUST_CHECK;
/* BK_NOT_FOUND: never written. */
enum bk_err rows_through(struct store_txn *txn, uint16_t journal,
                         uint64_t *ret_through) BK_MUST_CHECK;
/* Delete some rows of a destination; *ret_done: none is left. */
enum bk_err rows_remove(struct store_txn *txn, uint64_t destination, bool *ret_done) BK_MUST_CHECK;
/* Order per key: the oldest one that waits in this bucket, or the first of a later bucket;
 * BK_NOT_FOUND. And a bucket's head; 0 = none. */
enum bk_err rows_waiting(struct store_txn *txn, uint64_t destination, unsigned bucket,
                         struct retry_row *ret_row) BK_MUST_CHECK;
enum bk_err rows_head(struct store_txn *txn, uint64_t destination, uint16_t bucket,
                      uint64_t *ret_position) BK_MUST_CHECK;
bool retry_row_decode(struct slice key, struct slice value, struct retry_row *ret_row);
bool dead_row_decode(struct slice key, struct slice value, struct dead_row *ret_row);
bool lane_row_decode(struct slice key, struct slice value, struct lane_row *ret_row);

/* ---- dispatch_fares.c */
struct fare *fare_find(const struct dispatch *dispatch, uint64_t number);
struct fare *fare_take(struct dispatch *dispatch, uint64_t number); /* NULL: no memory */
/* None is made for one that was deleted. */
struct fare *fare_of(struct dispatch *dispatch, uint64_t number);
void fare_drop(struct dispatch *dispatch, struct fare *fare);

/* ---- dispatch_chunks.c */
const struct source_name *dispatch_source(struct dispatch *dispatch, uint64_t number);
struct event_chunk *chunk_take(struct dispatch *dispatch); /* NULL: all are out */
void chunk_give(struct dispatch *dispatch, struct event_chunk *chunk);
/* The event and the names that go with it. NULL: it does not fit any more (never the first). */
struct chunk_event *chunk_add(struct dispatch *dispatch, struct event_chunk *chunk,
                              const struct journal_record *record);

/* ---- dispatch_letters.c */
/* False: no memory; whoever asked looks at the row again. */
bool dispatch_queue_own(struct dispatch *dispatch,
                        const struct delivery_report *report) BK_MUST_CHECK;
/* What may be committed is. */
void letters_step(struct dispatch *dispatch, uint64_t now_ns);

/* ---- dispatch_asked.c */
/* A bounded part of the removals. */
void remove_some(struct dispatch *dispatch);

/* ---- dispatch_dead.c */
void dead_sweep(struct dispatch *dispatch);

/* ---- dispatch_read.c */
bool dispatch_serve_want(struct dispatch *dispatch);
/* The disk did not give what waits for this destination: said, now and then. */
void dispatch_unreadable(struct dispatch *dispatch, uint64_t number, enum bk_err err);
/* The oldest record that a journal still has; 0 = none. */
uint64_t dispatch_oldest(const struct dispatch *dispatch, uint16_t journal);

/* ---- dispatch_due.c: after each change of what a fare has due. It moves to its time in the heap,
 * which is not before not_before_ns. */
void due_changed(struct dispatch *dispatch, struct fare *fare, uint64_t not_before_ns);
/* Whose time has come for the longest; NULL: nobody's. */
struct fare *due_first(const struct dispatch *dispatch, uint64_t now_ns);
uint64_t due_next_ns(const struct dispatch *dispatch);
/* Room for so many fares. */
bool due_reserve(struct dispatch *dispatch, size_t count) BK_MUST_CHECK;

/* ---- dispatch_heads.c: order per key, where some wait and none is the first */
/* What all know of its keys. NULL: its order was never per key since the start, but rows of before
 * may be. */
struct order_keys *heads_keys(const struct dispatch *dispatch, uint64_t number);
/* At the start: find those that a crash left. */
enum bk_err heads_find(struct dispatch *dispatch) BK_MUST_CHECK;
/* Does a core owe this event, or an older one of its bucket? */
bool heads_owed(const struct dispatch *dispatch, uint64_t number, uint16_t bucket,
                int64_t event_ns);
/* Room for so many more keys. False: no memory. */
bool heads_reserve(struct dispatch *dispatch, size_t count) BK_MUST_CHECK;
/* Some of this key were put into the store, and maybe none is the first. Requires: room. */
void heads_expect(struct dispatch *dispatch, uint64_t destination, uint16_t bucket);
/* Make the oldest one the first, once no core owes an older one. A bounded part of them. */
void heads_mend(struct dispatch *dispatch);

/* ---- dispatch_owed.c */
/* A bounded part of it. True: there is more, or an answer. */
bool owed_step(struct dispatch *dispatch);
/* A row of this event is put in: the look may be beyond its place. */
void owed_note(struct dispatch *dispatch, uint64_t position);

/* ---- dispatch_retry.c */
void dispatch_load_retries(struct dispatch *dispatch);
/* A lane of a destination whose breaker is open wants an event for the next probe. True: a retry
 * was sent instead, for both take turns: what fails at first may well succeed the second time. */
bool dispatch_probe_by_retry(struct dispatch *dispatch, uint64_t destination);
void dispatch_flying_end(struct dispatch *dispatch, uint64_t destination, uint64_t position);
bool dispatch_is_flying(const struct dispatch *dispatch, uint64_t destination, uint64_t position);

#endif
