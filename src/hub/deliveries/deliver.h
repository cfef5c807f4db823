/* deliver.h - the deliveries of one core.
 *
 * Purpose     When a record became durable the journal hands it over (deliver_consume). For each
 *             destination that a route leads to there is a *lane*, per journal and destination.
 *             A lane is LIVE: the event is copied once, from the frame into a slot, and its call
 *             starts in the same turn; or BEHIND: nothing is kept in memory, the backlog is the
 *             journal, and the control thread reads it back piece by piece as there is room.
 * Memory      Slots are one fixed pool per core. A destination that fails, hangs or is slow holds
 *             at most what its window allows, and never more than its share of the pool.
 * Settled     A lane's cursor: every event below it is delivered, dead, not wanted, or persisted as
 *             a retry. `through` of a core: so far all records of its journal were looked at, and
 *             a lane that is not in the checkpoint has nothing outstanding below it. Both go to the
 *             control thread about twice a second, when something changed (deliveries/dispatch.h).
 * Crash       What was in flight is delivered again, under the same webhook-id; nothing else is.
 * Threads     One core. Nothing here blocks, locks or reads the database; memory is taken at open,
 *             when a destination is first seen, and for a checkpoint.
 * See also    deliveries/flow.h (how much at once), deliveries/retry.h (when again),
 *             deliveries/README.md.
 */
#ifndef BECKET_HUB_DELIVER_H
#define BECKET_HUB_DELIVER_H

#include "http/client.h"
#include "hub/deliveries/deliver_mail.h"
#include "hub/metrics.h"
#include "hub/routes/route_table.h"
#include "journal/journal.h"
#include "ring/timer.h"

#define DELIVER_SLOTS_DEFAULT 1024U
#define DELIVER_SLOT_BYTES    8192U
/* After so many records that no route wanted there is a checkpoint, too: a start after a crash
 * reads the journal from the last one on. */
#define DELIVER_THROUGH_RECORDS 16384U
/* Events over a slot's size; address space, resident as used. */
#define DELIVER_LARGE_BYTES_MAX (128U << 20)

struct deliver_config {
    uint16_t core;
    uint16_t cores;
    struct ring *ring;
    struct timer_wheel *wheel;
    struct journal *journal;
    struct http_client *client;
    const struct route_table *routes;
    struct filter_scratch *scratch;
    struct ring *control;
    struct dispatch *dispatch;
    struct deliver **peers;         /* every core's, by id */
    int64_t clock_ms;               /* of due times, minus the monotonic one: dispatch.h */
    const struct lane_start *lanes; /* of this core */
    size_t lane_count;
    unsigned slots;
    const struct http_proxy
        *proxy; /* the client's: what it may send back is a secret. NULL = none */
};

struct deliver_stats {
    uint64_t wanted;              /* event and destination: a delivery is owed */
    uint64_t filters_failed;      /* an expression could not be evaluated: not wanted */
    uint64_t attempts_unrecorded; /* the journal had no room for them */
    uint64_t slots_free;
    struct metrics_histogram delivered_ns; /* first tries: from receipt to the receiver's 2xx */
};

enum bk_err deliver_open(const struct deliver_config *config,
                         struct deliver **ret_deliver) BK_MUST_CHECK;
/* Requires: deliver_idle(). */
void deliver_close(struct deliver *deliver);

/* journal_durable_fn. */
void deliver_consume(void *context, uint64_t sequence, const struct journal_entry *entry,
                     const uint8_t *message);
/* Once per loop turn, before http_client_flush(). */
void deliver_turn(struct deliver *deliver);

/* So many answers are worth waiting for together; 0: they come too slowly. */
unsigned deliver_gather(const struct deliver *deliver);

/* Start nothing more; what is in flight may end, and is cancelled at deadline_ns. */
void deliver_drain(struct deliver *deliver, uint64_t deadline_ns);
/* Nothing is in flight, and the last checkpoint is with the control thread. */
bool deliver_idle(const struct deliver *deliver);
uint16_t deliver_core(const struct deliver *deliver); /* any thread */
const struct deliver_stats *deliver_stats(const struct deliver *deliver);

/* ---- by mail, on the core's thread */
void deliver_want_back(struct ring_mail *mail);       /* struct lane_want */
void deliver_retries_arrived(struct ring_mail *mail); /* struct event_chunk */
void deliver_report_back(struct ring_mail *mail);     /* struct delivery_report */
void deliver_checkpoint_back(struct ring_mail *mail); /* struct checkpoint */

#endif
