/* dispatch_retry.c - loads what is due, fairly, and never more than a destination can take. */
#include "base/assert.h"
#include "base/log.h"
#include "base/time.h"
#include "hub/deliveries/deliver.h"
#include "hub/deliveries/dispatch_private.h"
#include "hub/deliveries/flow.h"
#include "store/keys.h"

#include <stdio.h>

#define LOOK_NS      20000000ULL /* while something is due */
#define SLOTS        (2U * DISPATCH_FLYING_MAX)
#define LOADS_A_STEP 16U /* destinations */
/* A row of a replay at a rate that is later than this is not made up for. */
#define PACED_LATE_MS  1000
#define PACED_BURST_NS (5 * LOOK_NS)
/* In strict order, while a core owes an older one: it is not told when that ends. */
#define PACED_LOOK_MS 100

/* ---- retries that are with the cores */

static unsigned flying_slot(const struct dispatch *dispatch, uint64_t destination,
                            uint64_t position)
{
    uint64_t hash = (position ^ destination << 40) * 0x9e3779b97f4a7c15ULL;
    unsigned at = (unsigned)(hash >> 40) % SLOTS;
    while (dispatch->flying[at].destination != 0 &&
           (dispatch->flying[at].destination != destination ||
            dispatch->flying[at].position != position)) {
        at = (at + 1) % SLOTS;
    }
    return at;
}

/* Order per key: so many of a key are with the cores. None is below 0: one that is not counted
 * went there before there was a key. */
static void count_out(const struct dispatch *dispatch, unsigned at, bool begins)
{
    struct order_keys *keys =
        dispatch->flying[at].keyed ? heads_keys(dispatch, dispatch->flying[at].destination) : NULL;
    uint32_t *out = keys ? &keys->out[dispatch->flying[at].bucket] : NULL;
    if (out && (begins || *out > 0)) {
        *out = begins ? *out + 1 : *out - 1;
    }
}

static void flying_begin(struct dispatch *dispatch, const struct retry_row *row)
{
    unsigned at = flying_slot(dispatch, row->destination, row->position);
    bk_assert(dispatch->flying[at].destination == 0);
    dispatch->flying[at].destination = row->destination;
    dispatch->flying[at].position = row->position;
    dispatch->flying[at].due_ms = row->due_ms;
    dispatch->flying[at].keyed = (row->flags & ATTEMPT_KEYED) != 0;
    dispatch->flying[at].behind = order_is_waiting(row->due_ms);
    dispatch->flying[at].bucket = row->bucket;
    count_out(dispatch, at, true);
    dispatch->flying_count++;
    struct fare *fare = fare_find(dispatch, row->destination);
    fare->flying++;
    fare->behind += order_is_waiting(row->due_ms);
    due_changed(dispatch, fare, 0);
}

void dispatch_flying_end(struct dispatch *dispatch, uint64_t destination, uint64_t position)
{
    unsigned hole = flying_slot(dispatch, destination, position);
    if (dispatch->flying[hole].destination == 0) {
        return;
    }
    count_out(dispatch, hole, false);
    dispatch->flying[hole].destination = 0;
    dispatch->flying_count--;
    struct fare *fare = fare_find(dispatch, destination);
    if (fare && fare->flying > 0) {
        fare->flying--;
        fare->behind -= dispatch->flying[hole].behind && fare->behind > 0;
        due_changed(dispatch, fare, 0);
    }
    /* Close the gap: what comes behind may have been pushed past it. */
    for (unsigned at = (hole + 1) % SLOTS; dispatch->flying[at].destination != 0;
         at = (at + 1) % SLOTS) {
        uint64_t moved = dispatch->flying[at].destination;
        dispatch->flying[at].destination = 0;
        unsigned to = flying_slot(dispatch, moved, dispatch->flying[at].position);
        dispatch->flying[to].destination = moved;
        dispatch->flying[to].position = dispatch->flying[at].position;
        dispatch->flying[to].due_ms = dispatch->flying[at].due_ms;
        dispatch->flying[to].keyed = dispatch->flying[at].keyed;
        dispatch->flying[to].behind = dispatch->flying[at].behind;
        dispatch->flying[to].bucket = dispatch->flying[at].bucket;
    }
}

bool dispatch_is_flying(const struct dispatch *dispatch, uint64_t destination, uint64_t position)
{
    return dispatch->flying[flying_slot(dispatch, destination, position)].destination != 0;
}

/* ---- loading */

struct load {
    struct dispatch *dispatch;
    int64_t now_ms;
    int64_t next_due_ms;
    unsigned count, count_max;
    uint64_t now_ns;
    uint64_t paced_ns; /* the fare's, from here on */
    bool strict;       /* the destination has an order, */
    bool whole;        /* one for all, */
    bool taken;        /* in which somebody stands */
    bool twice;        /* another row of an event that is under way was left */
    bool owed;         /* one that a core owes as well was left */
    struct retry_row rows[DISPATCH_FLYING_EACH];
    /* Order per key: what waits behind a head goes with it, in order. */
    unsigned behind_count, behind_max;
    struct {
        unsigned head; /* of rows[] */
        struct retry_row row;
    } behind[DISPATCH_BEHIND_EACH];
};

/* One event has two rows after a crash between the commit of one and the record of its attempt, or
 * by a replay: one after the other. In order per key it has one that moves when it becomes the
 * head.
 */
static bool is_under_way(struct load *load, const struct retry_row *row)
{
    const struct dispatch *dispatch = load->dispatch;
    unsigned at = flying_slot(dispatch, row->destination, row->position);
    if (dispatch->flying[at].destination != 0) {
        bool moved = dispatch->flying[at].keyed && (row->flags & ATTEMPT_KEYED) != 0;
        load->twice |= dispatch->flying[at].due_ms != row->due_ms && !moved;
        return true;
    }
    for (unsigned i = 0; i < load->count; i++) {
        if (load->rows[i].position == row->position) {
            load->twice = true;
            return true;
        }
    }
    for (unsigned i = 0; i < load->behind_count; i++) {
        if (load->behind[i].row.position == row->position) {
            return true;
        }
    }
    return false;
}

/* Order per key: after a crash what is in the store may be owed by a lane as well. Its lane sends
 * it there, where it is already, before it goes. And what was put in front of those that go behind
 * a head waits for these. */
static bool is_in_lane(struct load *load, const struct retry_row *row)
{
    bool keyed = (row->flags & ATTEMPT_KEYED) != 0 && row->due_ms <= load->now_ms;
    const struct order_keys *keys = keyed ? heads_keys(load->dispatch, row->destination) : NULL;
    bool owed = keyed && ((keys && keys->out[row->bucket] > 0) ||
                          heads_owed(load->dispatch, row->destination, row->bucket, row->event_ns));
    load->owed |= owed;
    return owed;
}

static bool pick(void *context, struct slice key, struct slice value)
{
    struct load *load = context;
    struct retry_row row;
    if (!retry_row_decode(key, value, &row) || is_under_way(load, &row) || is_in_lane(load, &row)) {
        return true;
    }
    if (row.due_ms >= RETRY_PACED_MS) {
        return false; /* pick_paced() */
    }
    if (row.due_ms > load->now_ms || load->count == load->count_max) {
        load->next_due_ms = row.due_ms;
        return false;
    }
    load->rows[load->count++] = row;
    return true;
}

/* ---- replays at a rate */

/* When the row may go, by the clock of due times: those that are late keep their distance. */
static int64_t paced_due_ms(const struct load *load, const struct retry_row *row)
{
    int64_t due_ms = retry_due_ms(row->due_ms);
    bool early = load->paced_ns > load->now_ns && due_ms <= load->now_ms - PACED_LATE_MS;
    return early ? load->now_ms + (int64_t)((load->paced_ns - load->now_ns) / NS_PER_MS) + 1
                 : due_ms;
}

/* In order: while what came before waits, and is about to go without a rate. With one order for all
 * those of the replay, too, wait here for each other, so that they go on at their rate behind one
 * that fails; where keys go by themselves, they wait behind those of their key. */
static bool waits_for_older(const struct load *load, const struct retry_row *row)
{
    return load->strict &&
           ((load->whole && load->taken) ||
            heads_owed(load->dispatch, row->destination, row->bucket, row->event_ns));
}

static bool pick_paced(void *context, struct slice key, struct slice value)
{
    struct load *load = context;
    struct retry_row row;
    if (!retry_row_decode(key, value, &row)) {
        return true;
    }
    if (!retry_is_paced(row.due_ms)) {
        return false; /* order per key: behind a head */
    }
    if (is_under_way(load, &row)) {
        return true;
    }
    int64_t due_ms = paced_due_ms(load, &row);
    if (due_ms <= load->now_ms && waits_for_older(load, &row)) {
        due_ms = load->now_ms + PACED_LOOK_MS;
    }
    if (due_ms > load->now_ms || load->count == load->count_max) {
        load->next_due_ms = due_ms < load->next_due_ms ? due_ms : load->next_due_ms;
        return false;
    }
    if (retry_due_ms(row.due_ms) <= load->now_ms - PACED_LATE_MS) {
        uint64_t least_ns = load->now_ns > PACED_BURST_NS ? load->now_ns - PACED_BURST_NS : 0;
        load->paced_ns =
            (load->paced_ns > least_ns ? load->paced_ns : least_ns) + row.pace_us * UINT64_C(1000);
    }
    load->taken = true;
    load->rows[load->count++] = row;
    return true;
}

/* One order for all: does any row stand in it? */
static bool is_taken(struct store_txn *txn, uint64_t number)
{
    uint64_t head = 0;
    struct retry_row row;
    return rows_head(txn, number, 0, &head) != BK_OK || head != 0 ||
           (rows_waiting(txn, number, 0, &row) == BK_OK && row.bucket == 0);
}

/* ---- order per key: what waits behind a head */

/* A try is recorded by the core that makes it, and a start reads that core's journal from its own
 * checkpoint on. So another core's event may go with it only when the store knows of that event's
 * lane that it is settled there: else a crash may forget the try and not the debt. */
static bool may_go_abroad(const struct dispatch *dispatch, const struct retry_row *head,
                          const struct retry_row *row)
{
    uint16_t cores = dispatch->config.cores;
    struct journal_position at = journal_position_unpack(row->position);
    if (at.journal % cores == journal_position_unpack(head->position).journal % cores) {
        return true;
    }
    const struct fare *fare = fare_find(dispatch, row->destination);
    if (!fare || at.journal >= cores) {
        return false;
    }
    uint64_t cursor = fare->cursors[at.journal];
    return at.sequence < (cursor ? cursor : dispatch->through[at.journal]);
}

/* What was put in by hand may be younger than those of its key that are on their way here. */
static bool is_overtaking(const struct dispatch *dispatch, const struct retry_row *row)
{
    struct order_keys *keys = row->pace_us != 0 ? heads_keys(dispatch, row->destination) : NULL;
    return keys && atomic_load(&keys->mail[row->bucket]) > 0;
}

struct train {
    struct load *load;
    unsigned head; /* of load->rows */
    unsigned max;
};

static bool pick_behind(void *context, struct slice key, struct slice value)
{
    struct train *train = context;
    struct load *load = train->load;
    const struct retry_row *head = &load->rows[train->head];
    struct retry_row row;
    if (train->max == 0 || !retry_row_decode(key, value, &row) || row.bucket != head->bucket ||
        (row.flags & ATTEMPT_KEYED) == 0 || is_under_way(load, &row) ||
        !may_go_abroad(load->dispatch, head, &row) || is_overtaking(load->dispatch, &row) ||
        heads_owed(load->dispatch, row.destination, row.bucket, row.event_ns)) {
        return false; /* whatever comes behind it has to wait for it */
    }
    load->behind[load->behind_count].head = train->head;
    load->behind[load->behind_count++].row = row;
    train->max--;
    return true;
}

/* Only behind one that was never tried: a receiver that failed its head may well fail again. */
static bool has_train(const struct retry_row *row)
{
    return (row->flags & ATTEMPT_KEYED) != 0 && row->number == 0 && !order_is_waiting(row->due_ms);
}

static void pick_trains(struct load *load, struct store_txn *txn, const struct slice *prefix)
{
    unsigned trains = 0;
    for (unsigned i = 0; i < load->count; i++) {
        trains += has_train(&load->rows[i]);
    }
    for (unsigned i = 0; i < load->count && trains > 0; i++) {
        if (!has_train(&load->rows[i])) {
            continue;
        }
        struct train train = {load, i, (load->behind_max - load->behind_count) / trains--};
        struct key from;
        key_retry(&from, load->rows[i].destination,
                  (uint64_t)order_waiting_ms(load->rows[i].bucket, 0), 0);
        (void)!store_walk(txn, *prefix, key_slice(&from), pick_behind, &train);
    }
}

/* What becomes of a row whose event cannot be had. False: no memory, it stays as it is. */
static bool queue_instead(struct dispatch *dispatch, const struct retry_row *row,
                          enum report_kind kind, int64_t due_ms, const char *why)
{
    struct delivery_report report = {.kind = kind,
                                     .due_ms = due_ms,
                                     .flags = row->flags,
                                     .bucket = row->bucket,
                                     .status = row->status,
                                     .number = row->number,
                                     .destination = row->destination,
                                     .source = row->source,
                                     .position = row->position,
                                     .event_ns = row->event_ns,
                                     .previous_due_ms = row->due_ms,
                                     .ended_ns = ring_wall_ns(dispatch->config.ring),
                                     .pace_us = row->pace_us};
    snprintf(report.why, sizeof report.why, "%s", why);
    bool queued = dispatch_queue_own(dispatch, &report);
    if (queued) {
        flying_begin(dispatch, row);
    }
    return queued;
}

/* The event is not there any more: the retry ends, loudly. */
static bool event_lost(struct dispatch *dispatch, const struct retry_row *row, bool damaged,
                       const struct destination *destination)
{
    const char *why =
        damaged ? "the event is damaged in the journal" : "the event was removed by retention";
    bool queued = queue_instead(dispatch, row, REPORT_DEAD, 0, why);
    if (queued) {
        log_event(LOG_ERROR, "an event is lost before it could be delivered",
                  LOG_S("destination", destination->name), LOG_I("tries", row->number),
                  LOG_Z("why", damaged ? reader_problem(dispatch->reader) : why));
    }
    return queued;
}

/* It may be there another time, and must not keep those behind it waiting. */
static bool event_unreadable(struct dispatch *dispatch, const struct retry_row *row,
                             enum bk_err err)
{
    dispatch_unreadable(dispatch, row->destination, err);
    int64_t due_ms = dispatch_now_ms(dispatch) + (int64_t)(UNREADABLE_NS / NS_PER_MS);
    due_ms += retry_is_paced(row->due_ms) ? RETRY_PACED_MS : 0;
    return queue_instead(dispatch, row, REPORT_AGAIN, due_ms, "");
}

static void send_chunk(struct dispatch *dispatch, struct event_chunk *chunk, unsigned core)
{
    chunk->home = dispatch->delivers[core];
    chunk->mail.run = deliver_retries_arrived;
    ring_post(dispatch->config.ring, dispatch->rings[core], &chunk->mail);
}

static void event_fill(struct chunk_event *event, const struct retry_row *row)
{
    event->destination = row->destination;
    event->due_ms = row->due_ms;
    event->number = row->number;
    event->flags = row->flags;
    event->bucket = row->bucket;
}

/* ---- replays at a rate, in order: from here on they wait for each other, and for all that is
 * older */

/* Those of one load that take their places. */
struct entries {
    unsigned count;
    struct retry_row from[DISPATCH_FLYING_EACH], to[DISPATCH_FLYING_EACH];
};

static enum bk_err drop_paced(struct store_txn *txn, void *context)
{
    const struct entries *entries = context;
    enum bk_err err = BK_OK;
    for (unsigned i = 0; err == BK_OK && i < entries->count; i++) {
        err = rows_drop_retry(txn, &entries->from[i]);
    }
    return err;
}

static void entries_add(struct dispatch *dispatch, struct entries *entries,
                        const struct retry_row *row, const struct journal_record *record)
{
    entries->from[entries->count] = entries->to[entries->count] = *row;
    dispatch_in_order(dispatch, &record->entry, record->message, &entries->to[entries->count++]);
}

/* ---- sending */

enum sent { SENT, SENT_NOT, SENT_NO_ROOM };

/* One row into the chunk of its core; sends full ones. No room: no chunk is free, or no memory. */
static enum sent send_row(struct dispatch *dispatch, struct event_chunk **chunks,
                          struct entries *entries, const struct retry_row *row,
                          const struct destination *destination)
{
    struct journal_record record;
    struct journal_position position = journal_position_unpack(row->position);
    unsigned core = position.journal % dispatch->config.cores;
    enum bk_err err = reader_get(dispatch->reader, position, &record);
    if (err == BK_NOT_FOUND || err == BK_CORRUPT) {
        return event_lost(dispatch, row, err == BK_CORRUPT, destination) ? SENT_NOT : SENT_NO_ROOM;
    }
    if (err != BK_OK) {
        return event_unreadable(dispatch, row, err) ? SENT_NOT : SENT_NO_ROOM;
    }
    if (destination->strict && retry_is_paced(row->due_ms)) {
        entries_add(dispatch, entries, row, &record);
        return SENT_NOT;
    }
    for (unsigned tries = 0; tries < 2; tries++) {
        if (!chunks[core]) {
            chunks[core] = chunk_take(dispatch);
        }
        struct chunk_event *event =
            chunks[core] ? chunk_add(dispatch, chunks[core], &record) : NULL;
        if (event) {
            event_fill(event, row);
            flying_begin(dispatch, row);
            return SENT;
        }
        if (!chunks[core]) {
            break;
        }
        if (chunks[core]->count == 0) { /* no memory */
            chunk_give(dispatch, chunks[core]);
            chunks[core] = NULL;
            break;
        }
        send_chunk(dispatch, chunks[core], core);
        chunks[core] = NULL;
    }
    return SENT_NO_ROOM;
}

/* What goes behind a head: in its chunk, to its core, as far as it fits. What is lost is found out
 * when it is the head. */
static void send_train(struct dispatch *dispatch, struct event_chunk **chunks,
                       const struct load *load, unsigned head)
{
    unsigned core =
        journal_position_unpack(load->rows[head].position).journal % dispatch->config.cores;
    for (unsigned i = 0; i < load->behind_count; i++) {
        const struct retry_row *row = &load->behind[i].row;
        struct journal_record record;
        if (load->behind[i].head != head) {
            continue;
        }
        if (reader_get(dispatch->reader, journal_position_unpack(row->position), &record) !=
            BK_OK) {
            return;
        }
        struct chunk_event *event = chunk_add(dispatch, chunks[core], &record);
        if (!event) {
            return;
        }
        event_fill(event, row);
        event->follows = true;
        flying_begin(dispatch, row);
    }
}

static void load_rows(struct dispatch *dispatch, struct fare *fare, struct load *load,
                      const struct destination *destination)
{
    struct event_chunk *chunks[CORES_MAX] = {NULL};
    struct entries entries = {0};
    for (unsigned i = 0; i < load->count; i++) {
        enum sent sent = send_row(dispatch, chunks, &entries, &load->rows[i], destination);
        if (sent == SENT) {
            send_train(dispatch, chunks, load, i);
        }
        if (sent == SENT_NO_ROOM) {
            fare->next_due_ms = retry_due_ms(load->rows[i].due_ms);
            fare->not_before_ns = ring_now_ns(dispatch->config.ring) + LOOK_NS;
            break;
        }
    }
    for (unsigned core = 0; core < dispatch->config.cores; core++) {
        if (chunks[core]) {
            send_chunk(dispatch, chunks[core], core);
        }
    }
    if (entries.count > 0 &&
        dispatch_add_with(dispatch, entries.to, entries.count, drop_paced, &entries) != BK_OK) {
        fare->next_due_ms = INT64_MIN;
        fare->not_before_ns = ring_now_ns(dispatch->config.ring) + STORE_RETRY_NS;
    }
}

/* How many it may have now; 0: look again at fare->not_before_ns. */
static unsigned room_of(struct dispatch *dispatch, struct fare *fare,
                        const struct destination *destination)
{
    struct flow_limits limits = {destination_concurrency(destination), destination->per_second};
    uint64_t now_ns = ring_now_ns(dispatch->config.ring), at_ns = 0;
    if (destination->pause != DESTINATION_RUNNING) {
        fare->not_before_ns = UINT64_MAX; /* dispatch_changed() */
        return 0;
    }
    struct flow_shared *shared = (struct flow_shared *)(void *)destination->state->words;
    uint32_t room = flow_room(NULL, shared, &limits, now_ns, &at_ns);
    unsigned free_count = DISPATCH_FLYING_MAX - dispatch->flying_count;
    unsigned flying = fare->flying - fare->behind;
    unsigned each = flying < DISPATCH_FLYING_EACH ? DISPATCH_FLYING_EACH - flying : 0;
    /* More than can start at once, so that the cores need not wait for this thread: it rests
     * between two loads, and a commit is between them. */
    if (at_ns == 0 && !flow_is_open(shared)) {
        unsigned ahead = flying < fare->ahead ? fare->ahead - flying : 0;
        room = 2 * room > ahead ? 2 * room : ahead;
    }
    room = room < each ? room : each;
    room = room < free_count ? room : free_count;
    if (room == 0) {
        fare->not_before_ns = at_ns > now_ns ? at_ns : now_ns + LOOK_NS;
    }
    return room;
}

/* Order per key: how many may go behind others of their key; also when the order is another one by
 * now. */
static unsigned behind_room(const struct dispatch *dispatch, const struct fare *fare,
                            const struct destination *destination)
{
    struct flow_shared *shared = (struct flow_shared *)(void *)destination->state->words;
    unsigned room = fare->behind < DISPATCH_BEHIND_EACH ? DISPATCH_BEHIND_EACH - fare->behind : 0;
    unsigned free_count = DISPATCH_FLYING_MAX - dispatch->flying_count;
    /* Those in front of them come out of the same places. */
    free_count = free_count > DISPATCH_FLYING_EACH ? free_count - DISPATCH_FLYING_EACH : 0;
    room = room < free_count ? room : free_count;
    return flow_is_open(shared) ? 0 : room;
}

static bool load_of(struct dispatch *dispatch, struct fare *fare)
{
    const struct destination *destination =
        route_table_destination(dispatch->config.routes, fare->number);
    if (!destination) {
        fare->next_due_ms = INT64_MAX; /* its rows are on their way out */
        return false;
    }
    struct load load = {.dispatch = dispatch,
                        .now_ms = dispatch_now_ms(dispatch),
                        .next_due_ms = INT64_MAX,
                        .now_ns = ring_now_ns(dispatch->config.ring),
                        .paced_ns = fare->paced_ns,
                        .strict = destination->strict,
                        .whole = destination->strict && !destination->order_key,
                        .count_max = room_of(dispatch, fare, destination)};
    load.behind_max = behind_room(dispatch, fare, destination);
    struct store_txn *txn;
    struct key prefix, paced;
    if (load.count_max == 0 || store_read(hub_store(dispatch->config.hub), &txn) != BK_OK) {
        return false;
    }
    key_of_destination(&prefix, 'd', fare->number);
    struct slice all = key_slice(&prefix);
    key_retry(&paced, fare->number, RETRY_PACED_MS, 0);
    load.taken = load.whole && is_taken(txn, fare->number);
    (void)!store_walk(txn, all, SLICE_EMPTY, pick, &load);
    (void)!store_walk(txn, all, key_slice(&paced), pick_paced, &load);
    pick_trains(&load, txn, &all);
    store_read_end(txn);
    fare->next_due_ms = load.next_due_ms;
    fare->paced_ns = load.paced_ns;
    if (load.twice) {
        fare->next_due_ms = INT64_MIN;
        fare->not_before_ns = ring_now_ns(dispatch->config.ring) + 5 * LOOK_NS;
    }
    if (load.owed) {
        fare->next_due_ms = INT64_MIN;
        fare->not_before_ns = ring_now_ns(dispatch->config.ring) + LOOK_NS / 4;
    }
    load_rows(dispatch, fare, &load, destination);
    return true;
}

bool dispatch_probe_by_retry(struct dispatch *dispatch, uint64_t number)
{
    struct fare *fare = fare_find(dispatch, number);
    const struct destination *destination =
        route_table_destination(dispatch->config.routes, number);
    if (!fare || !destination || !dispatch->started) {
        return false;
    }
    struct flow_shared *shared = (struct flow_shared *)(void *)destination->state->words;
    bool due = fare->retries > fare->flying && fare->next_due_ms <= dispatch_now_ms(dispatch);
    if (!flow_is_open(shared) || !due || fare->retry_probed) {
        fare->retry_probed = false;
        return false;
    }
    unsigned flying = fare->flying;
    (void)load_of(dispatch, fare);
    due_changed(dispatch, fare, 0);
    fare->retry_probed = fare->flying > flying;
    return fare->retry_probed;
}

/* Whoever was served goes behind all others that are due, so that each has its turn. */
void dispatch_load_retries(struct dispatch *dispatch)
{
    uint64_t now_ns = ring_now_ns(dispatch->config.ring);
    uint64_t rest_ns = now_ns + LOOK_NS / 4;
    unsigned loads = 0;
    struct fare *fare = NULL;
    while (loads < LOADS_A_STEP && (fare = due_first(dispatch, now_ns)) != NULL) {
        loads += load_of(dispatch, fare);
        due_changed(dispatch, fare, rest_ns);
    }
    uint64_t next_ns = due_next_ns(dispatch);
    dispatch->load_due_ns = loads == LOADS_A_STEP || next_ns > rest_ns ? next_ns : rest_ns;
}
