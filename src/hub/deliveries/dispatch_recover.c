/* dispatch_recover.c - the start: what the journals hold behind the last checkpoint.
 *
 * For each journal the store has `through`: the core had looked at all records below it, and the
 * rows of lanes say what was outstanding then. Behind it the journal itself tells: attempts, what
 * was delivered or failed; accepted records, what is owed. The result is written back as rows in
 * one transaction, so that a start that dies begins from the same place.
 */
#include "base/array.h"
#include "base/assert.h"
#include "base/log.h"
#include "hub/deliveries/dispatch_private.h"
#include "store/keys.h"

#include <stdlib.h>

#define REPORTS_PER_COMMIT 4096U
#define AHEAD_MS           3600000

/* Settled by an attempt that the rows do not know yet. */
struct settled {
    uint64_t destination;
    uint64_t position;
    uint32_t held_number; /* not 0: it is not settled, it had that many tries */
    int64_t due_ms;       /* of the row that was put for it; 0 = none */
};

struct start_lane {
    uint64_t destination;
    uint64_t position;      /* of its cursor: journal and sequence */
    uint64_t held_sequence; /* strict order: the head that failed, and how often; 0 = none */
    uint32_t held_number;
    uint64_t *done;
    size_t done_count, done_max;
};

struct recovery {
    struct dispatch *dispatch;
    enum bk_err err;
    struct start_lane *lanes;
    size_t lane_count, lane_max;
    uint32_t *index; /* by destination and journal: 1 + index of the lane, 0 = none */
    size_t index_size;
    struct settled *settled;
    size_t settled_count, settled_max;
    struct delivery_report *reports;
    size_t report_count;
    unsigned journal_count;
    uint16_t journals[READER_JOURNALS_MAX];
    uint64_t through[READER_JOURNALS_MAX];
    uint64_t tails[READER_JOURNALS_MAX]; /* behind the last record */
    uint64_t attempts, owed;
};

static uint64_t journal_of(uint64_t position)
{
    return journal_position_unpack(position).journal;
}

/* Where a lane's index stands, or would stand. */
static size_t index_slot(const struct recovery *recovery, uint64_t destination, uint64_t journal)
{
    uint64_t hash = (destination << 10 | journal) * 0x9e3779b97f4a7c15ULL;
    size_t at = (size_t)(hash >> 20) & (recovery->index_size - 1);
    for (; recovery->index[at] != 0; at = (at + 1) & (recovery->index_size - 1)) {
        const struct start_lane *lane = &recovery->lanes[recovery->index[at] - 1];
        if (lane->destination == destination && journal_of(lane->position) == journal) {
            break;
        }
    }
    return at;
}

static struct start_lane *lane_find(struct recovery *recovery, uint64_t destination,
                                    uint64_t position)
{
    if (recovery->index_size == 0) {
        return NULL;
    }
    uint32_t index = recovery->index[index_slot(recovery, destination, journal_of(position))];
    return index != 0 ? &recovery->lanes[index - 1] : NULL;
}

static bool index_grow(struct recovery *recovery)
{
    size_t size = recovery->index_size > 0 ? 2 * recovery->index_size : 256;
    uint32_t *index = calloc(size, sizeof *index);
    if (!index) {
        return false;
    }
    free(recovery->index);
    recovery->index = index;
    recovery->index_size = size;
    for (size_t i = 0; i < recovery->lane_count; i++) {
        const struct start_lane *lane = &recovery->lanes[i];
        index[index_slot(recovery, lane->destination, journal_of(lane->position))] =
            (uint32_t)i + 1;
    }
    return true;
}

static struct start_lane *lane_add(struct recovery *recovery, uint64_t destination,
                                   uint64_t position)
{
    if (!array_reserve((void **)&recovery->lanes, &recovery->lane_max, recovery->lane_count + 1,
                       sizeof *recovery->lanes) ||
        (2 * (recovery->lane_count + 1) > recovery->index_size && !index_grow(recovery))) {
        recovery->err = BK_NO_MEMORY;
        return NULL;
    }
    struct start_lane *lane = &recovery->lanes[recovery->lane_count];
    *lane = (struct start_lane){.destination = destination, .position = position};
    recovery->index[index_slot(recovery, destination, journal_of(position))] =
        (uint32_t)++recovery->lane_count;
    return lane;
}

static void lane_done(struct recovery *recovery, struct start_lane *lane, uint64_t sequence)
{
    if (!array_reserve((void **)&lane->done, &lane->done_max, lane->done_count + 1,
                       sizeof *lane->done)) {
        recovery->err = BK_NO_MEMORY;
        return;
    }
    lane->done[lane->done_count++] = sequence;
}

/* ---- rows */

static bool read_lane(void *context, struct slice key, struct slice value)
{
    struct recovery *recovery = context;
    struct dispatch *dispatch = recovery->dispatch;
    struct lane_row row;
    if (!lane_row_decode(key, value, &row)) {
        return true;
    }
    if (!route_table_destination(dispatch->config.routes, row.destination)) {
        dispatch_removed(dispatch, row.destination);
        return true;
    }
    struct journal_position cursor = {row.journal, row.cursor};
    struct start_lane *lane = lane_add(recovery, row.destination, journal_position_pack(cursor));
    if (lane) {
        lane->held_sequence = row.held_sequence;
        lane->held_number = row.held_number;
    }
    for (size_t i = 0; lane && i < row.done_count; i++) {
        lane_done(recovery, lane, key_get_u64(row.done + 8 * i));
    }
    return recovery->err == BK_OK;
}

static bool read_count(void *context, struct slice key, struct slice value)
{
    struct recovery *recovery = context;
    struct dispatch *dispatch = recovery->dispatch;
    if (key.bytes != 10 || value.bytes != 8) {
        return true;
    }
    struct fare *fare = fare_take(dispatch, key_get_u64(key.at + 2));
    if (!fare) {
        recovery->err = BK_NO_MEMORY;
        return false;
    }
    fare->retries = key_get_u64(value.at);
    fare->next_due_ms = INT64_MIN;
    dispatch->retries_total += fare->retries;
    if (!route_table_destination(dispatch->config.routes, fare->number)) {
        dispatch_removed(dispatch, fare->number);
    }
    due_changed(dispatch, fare, 0);
    return true;
}

static void read_rows(struct recovery *recovery)
{
    struct store_txn *txn;
    recovery->err = store_read(hub_store(recovery->dispatch->config.hub), &txn);
    if (recovery->err != BK_OK) {
        return;
    }
    enum bk_err err = store_walk(txn, SLICE("l/"), SLICE_EMPTY, read_lane, recovery);
    for (unsigned i = 0; err == BK_OK && i < recovery->journal_count; i++) {
        err = rows_through(txn, recovery->journals[i], &recovery->through[i]);
        if (err == BK_NOT_FOUND) { /* before there were deliveries: nothing was owed */
            recovery->through[i] = recovery->tails[i];
            err = BK_OK;
        }
    }
    store_read_end(txn);
    recovery->err = recovery->err == BK_OK ? err : recovery->err;
}

/* Order per key: the store has some of this one. */
static bool read_bucket(void *context, struct slice key, struct slice value)
{
    const struct recovery *recovery = context;
    (void)value;
    if (key.bytes != 12) {
        return true;
    }
    const struct destination *destination =
        route_table_destination(recovery->dispatch->config.routes, key_get_u64(key.at + 2));
    struct order_keys *keys = destination ? atomic_load(&destination->state->keys) : NULL;
    unsigned bucket = (unsigned)(key.at[10] << 8 | key.at[11]);
    if (keys && bucket < ORDER_BUCKETS) {
        atomic_store(&keys->rows[bucket], true);
    }
    return true;
}

/* When the attempts were applied. */
static void read_counts(struct recovery *recovery)
{
    struct store_txn *txn;
    recovery->err = store_read(hub_store(recovery->dispatch->config.hub), &txn);
    if (recovery->err == BK_OK) {
        enum bk_err err = store_walk(txn, SLICE("D/"), SLICE_EMPTY, read_count, recovery);
        if (err == BK_OK) {
            err = store_walk(txn, SLICE("b/"), SLICE_EMPTY, read_bucket, recovery);
        }
        store_read_end(txn);
        recovery->err = recovery->err == BK_OK ? err : recovery->err;
    }
}

/* ---- journals */

static void note_tail(const struct catalog_segment *segment, void *context)
{
    struct recovery *recovery = context;
    for (unsigned i = 0; i < recovery->journal_count; i++) {
        if (recovery->journals[i] == segment->journal &&
            segment->last_sequence >= recovery->tails[i]) {
            recovery->tails[i] = segment->last_sequence + 1;
        }
    }
}

static enum bk_err apply_reports(struct store_txn *txn, void *context)
{
    struct recovery *recovery = context;
    enum bk_err err = BK_OK;
    for (size_t i = 0; err == BK_OK && i < recovery->report_count; i++) {
        err = rows_apply_report(txn, &recovery->reports[i]);
    }
    return err;
}

static void commit_reports(struct recovery *recovery)
{
    if (recovery->report_count > 0 && recovery->err == BK_OK) {
        recovery->err =
            store_update(hub_store(recovery->dispatch->config.hub), apply_reports, recovery);
        recovery->report_count = 0;
    }
}

/* Tries of an event are in its own journal, in their order. In order per key one may be made by
 * another core, behind one of that core's; it comes before those that are made once the event is
 * its key's head, so these others are applied first. */
static bool is_abroad(const struct recovery *recovery, const struct journal_record *record,
                      const struct attempt *attempt)
{
    uint16_t cores = recovery->dispatch->config.cores;
    return (attempt->flags & ATTEMPT_KEYED) != 0 &&
           attempt->event.journal % cores != record->position.journal % cores;
}

/* The clock that it was of may have been far ahead, and not be kept: then it is the delay that it
 * was given, from now on. */
static int64_t due_of(const struct dispatch *dispatch, const struct attempt *attempt)
{
    int64_t delay_ms = attempt->next_due_ms - attempt->ended_ns / 1000000;
    int64_t latest_ms = dispatch_now_ms(dispatch) + (delay_ms > 0 ? delay_ms : 0);
    return attempt->next_due_ms > latest_ms + AHEAD_MS ? latest_ms : attempt->next_due_ms;
}

static void take_attempt(struct recovery *recovery, const struct journal_record *record,
                         bool abroad)
{
    struct attempt attempt;
    if (!attempt_decode(&record->entry, record->message, &attempt) ||
        is_abroad(recovery, record, &attempt) != abroad ||
        !route_table_destination(recovery->dispatch->config.routes, attempt.destination)) {
        return;
    }
    recovery->attempts++;
    if (!array_reserve((void **)&recovery->settled, &recovery->settled_max,
                       recovery->settled_count + 1, sizeof *recovery->settled)) {
        recovery->err = BK_NO_MEMORY;
        return;
    }
    recovery->settled[recovery->settled_count++] = (struct settled){
        attempt.destination, journal_position_pack(attempt.event),
        (attempt.flags & ATTEMPT_HELD) != 0 ? attempt.number : 0,
        attempt.outcome == ATTEMPT_FAILED ? due_of(recovery->dispatch, &attempt) : 0};
    if ((attempt.flags & ATTEMPT_HELD) != 0) {
        return; /* only its lane knows of it */
    }
    if (attempt.outcome == ATTEMPT_DELIVERED && attempt.previous_due_ms == 0) {
        return;
    }
    struct delivery_report *report = &recovery->reports[recovery->report_count++];
    *report = (struct delivery_report){.kind = attempt.outcome == ATTEMPT_DELIVERED ? REPORT_SETTLED
                                               : attempt.outcome == ATTEMPT_FAILED  ? REPORT_AGAIN
                                                                                    : REPORT_DEAD,
                                       .recovered = true,
                                       .flags = attempt.flags & (ATTEMPT_REPLAY | ATTEMPT_KEYED),
                                       .bucket = attempt.bucket % ORDER_BUCKETS,
                                       .status = attempt.status,
                                       .number = attempt.number,
                                       .destination = attempt.destination,
                                       .source = attempt.source,
                                       .position = journal_position_pack(attempt.event),
                                       .event_ns = attempt.event_ns,
                                       .due_ms = due_of(recovery->dispatch, &attempt),
                                       .previous_due_ms = attempt.previous_due_ms,
                                       .ended_ns = attempt.ended_ns};
    size_t why =
        attempt.why.bytes < sizeof report->why - 1 ? attempt.why.bytes : sizeof report->why - 1;
    memcpy(report->why, attempt.why.at, why);
    if (recovery->report_count == REPORTS_PER_COMMIT) {
        commit_reports(recovery);
    }
}

/* For each destination that wants it and has no lane yet: here it begins. */
static void take_event(struct recovery *recovery, const struct journal_record *record)
{
    struct dispatch *dispatch = recovery->dispatch;
    const struct route_target *route =
        route_table_first(dispatch->config.routes, record->entry.source);
    struct fan_out out;
    if (!route) {
        return;
    }
    fan_out_init(&out, dispatch->scratch, record->position, &record->entry, record->message);
    for (; route; route = route_target_next(route)) {
        const struct destination *destination = route_target_destination(route);
        uint64_t position = journal_position_pack(record->position);
        if (destination && fan_out_wants(&out, dispatch->config.routes, route)) {
            recovery->owed++;
            if (!lane_find(recovery, destination->number, position)) {
                (void)lane_add(recovery, destination->number, position);
            }
        }
    }
}

/* Twice: events and the attempts abroad, then the others. */
static void scan(struct recovery *recovery, bool first)
{
    for (unsigned i = 0; recovery->err == BK_OK && i < recovery->journal_count; i++) {
        struct reader_walk walk;
        struct journal_record record;
        size_t budget = SIZE_MAX;
        enum bk_err err = BK_OK;
        reader_walk_begin(&walk, recovery->journals[i], false, recovery->through[i]);
        while (recovery->err == BK_OK && (err == BK_OK || err == BK_CORRUPT)) {
            err = reader_next(recovery->dispatch->reader, &walk, &budget, &record);
            if (err == BK_OK && record.entry.type == JOURNAL_ATTEMPT) {
                take_attempt(recovery, &record, first);
            } else if (err == BK_OK && first && record.entry.type == JOURNAL_ACCEPTED) {
                take_event(recovery, &record);
            }
        }
        if (err != BK_NOT_FOUND && recovery->err == BK_OK) {
            recovery->err = err;
        }
    }
    commit_reports(recovery);
}

/* ---- lanes, and the retries that the store has */

static int compare_numbers(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

static void tidy_done(struct start_lane *lane)
{
    size_t kept = 0;
    uint64_t cursor = journal_position_unpack(lane->position).sequence;
    if (lane->done_count > 0) {
        qsort(lane->done, lane->done_count, sizeof *lane->done, compare_numbers);
    }
    for (size_t i = 0; i < lane->done_count; i++) {
        bool again = kept > 0 && lane->done[kept - 1] == lane->done[i];
        if (lane->done[i] >= cursor && !again) {
            lane->done[kept++] = lane->done[i];
        }
    }
    lane->done_count = kept;
}

static void spread_settled(struct recovery *recovery)
{
    for (size_t i = 0; recovery->err == BK_OK && i < recovery->settled_count; i++) {
        const struct settled *settled = &recovery->settled[i];
        struct start_lane *lane = lane_find(recovery, settled->destination, settled->position);
        if (lane && settled->held_number > 0) {
            lane->held_sequence = journal_position_unpack(settled->position).sequence;
            lane->held_number = settled->held_number;
        } else if (lane) {
            lane_done(recovery, lane, journal_position_unpack(settled->position).sequence);
        }
    }
}

/* A row that the store took may be ahead of the journals: a resume moved it, an event went behind
 * its key's head without a try, or a disk lost the record of the try. What has a row no lane owes
 * any more. And a record of before may have put a row again where the event had one, beside the one
 * that it has: that goes. */

struct tried {
    struct retry_row row;
    bool recorded; /* as a record has it */
};

struct retries {
    struct recovery *recovery;
    struct tried *tried; /* of events that have a record */
    size_t count, max;
};

static int compare_pairs(uint64_t a, uint64_t a_position, uint64_t b, uint64_t b_position)
{
    return a != b ? compare_numbers(&a, &b) : compare_numbers(&a_position, &b_position);
}

static int compare_events(const void *a, const void *b)
{
    const struct settled *left = a, *right = b;
    return compare_pairs(left->destination, left->position, right->destination, right->position);
}

static int compare_settled(const void *a, const void *b)
{
    const struct settled *left = a, *right = b;
    int order = compare_events(a, b);
    return order != 0 ? order : (left->due_ms > right->due_ms) - (left->due_ms < right->due_ms);
}

/* An event's rows are beside each other, the one that went on before those of records. */
static int compare_tried(const void *a, const void *b)
{
    const struct tried *left = a, *right = b;
    int order = compare_pairs(left->row.destination, left->row.position, right->row.destination,
                              right->row.position);
    return order != 0 ? order : left->recorded - right->recorded;
}

static void note_tried(struct retries *retries, const struct retry_row *row)
{
    struct recovery *recovery = retries->recovery;
    const struct settled *settled = recovery->settled;
    struct settled event = {row->destination, row->position, 0, row->due_ms};
    size_t count = recovery->settled_count;
    if (count == 0 || !bsearch(&event, settled, count, sizeof event, compare_events)) {
        return;
    }
    if (!array_reserve((void **)&retries->tried, &retries->max, retries->count + 1,
                       sizeof *retries->tried)) {
        recovery->err = BK_NO_MEMORY;
        return;
    }
    bool recorded = bsearch(&event, settled, count, sizeof event, compare_settled) != NULL;
    retries->tried[retries->count++] = (struct tried){*row, recorded};
}

/* A replay may have several rows, and in order per key a row has its place by its key. */
static bool note_retry(void *context, struct slice key, struct slice value)
{
    struct retries *retries = context;
    struct recovery *recovery = retries->recovery;
    struct retry_row row;
    if (!retry_row_decode(key, value, &row) || (row.flags & ATTEMPT_REPLAY) != 0) {
        return true;
    }
    struct start_lane *lane = lane_find(recovery, row.destination, row.position);
    uint64_t sequence = journal_position_unpack(row.position).sequence;
    if (lane && sequence >= journal_position_unpack(lane->position).sequence) {
        lane_done(recovery, lane, sequence);
    }
    if ((row.flags & ATTEMPT_KEYED) == 0) {
        note_tried(retries, &row);
    }
    return recovery->err == BK_OK;
}

static enum bk_err join_tried(struct store_txn *txn, void *context)
{
    const struct retries *retries = context;
    enum bk_err err = BK_OK;
    for (size_t i = 1, first = 0; i < retries->count && err == BK_OK; i++) {
        const struct retry_row *stays = &retries->tried[first].row, *row = &retries->tried[i].row;
        if (row->destination == stays->destination && row->position == stays->position) {
            err = rows_move_retry(txn, row, stays->due_ms); /* where one is left */
        } else {
            first = i;
        }
    }
    return err;
}

struct lane_of {
    struct recovery *recovery;
    struct start_lane *lane;
};

static bool note_dead(void *context, struct slice key, struct slice value)
{
    const struct lane_of *of = context;
    struct dead_row row;
    if (!dead_row_decode(key, value, &row)) {
        return true;
    }
    bool ours = journal_of(row.position) == journal_of(of->lane->position);
    if (ours && (row.flags & ATTEMPT_REPLAY) == 0) {
        lane_done(of->recovery, of->lane, journal_position_unpack(row.position).sequence);
    }
    return ours && of->recovery->err == BK_OK;
}

/* Nor does one owe what is a dead letter: those from its cursor on. */
static enum bk_err spread_dead(struct recovery *recovery, struct store_txn *txn)
{
    enum bk_err err = BK_OK;
    for (size_t i = 0; err == BK_OK && i < recovery->lane_count; i++) {
        struct lane_of of = {recovery, &recovery->lanes[i]};
        struct key prefix, from;
        key_of_destination(&prefix, 'x', of.lane->destination);
        key_dead(&from, of.lane->destination, of.lane->position);
        err = store_walk(txn, key_slice(&prefix), key_slice(&from), note_dead, &of);
    }
    return err;
}

/* The settled are in another order behind this. */
static void spread_retries(struct recovery *recovery)
{
    struct retries retries = {.recovery = recovery};
    struct store_txn *txn;
    if (recovery->lane_count == 0 && recovery->settled_count == 0) {
        return;
    }
    recovery->err = store_read(hub_store(recovery->dispatch->config.hub), &txn);
    if (recovery->err != BK_OK) {
        return;
    }
    if (recovery->settled_count > 0) {
        qsort(recovery->settled, recovery->settled_count, sizeof *recovery->settled,
              compare_settled);
    }
    enum bk_err err = store_walk(txn, SLICE("d/"), SLICE_EMPTY, note_retry, &retries);
    err = err == BK_OK ? spread_dead(recovery, txn) : err;
    store_read_end(txn);
    recovery->err = recovery->err == BK_OK ? err : recovery->err;
    if (recovery->err == BK_OK && retries.count > 1) {
        qsort(retries.tried, retries.count, sizeof *retries.tried, compare_tried);
        recovery->err =
            store_update(hub_store(recovery->dispatch->config.hub), join_tried, &retries);
    }
    free(retries.tried);
}

/* ---- the result */

static enum bk_err write_lanes(struct store_txn *txn, void *context)
{
    const struct recovery *recovery = context;
    enum bk_err err = BK_OK;
    for (size_t i = 0; err == BK_OK && i < recovery->lane_count; i++) {
        const struct start_lane *lane = &recovery->lanes[i];
        struct journal_position cursor = journal_position_unpack(lane->position);
        struct lane_row row = {.destination = lane->destination,
                               .journal = cursor.journal,
                               .cursor = cursor.sequence,
                               .held_sequence = lane->held_sequence,
                               .held_number = lane->held_number,
                               .done_count = lane->done_count};
        err = rows_put_lane(txn, &row, lane->done);
    }
    for (unsigned i = 0; err == BK_OK && i < recovery->journal_count; i++) {
        err = rows_put_through(txn, recovery->journals[i], recovery->tails[i]);
    }
    return err;
}

/* Strict order: what a core owes is told before any core runs, so that none takes itself for the
 * first while another one still opens. */
static void tell_owed(const struct dispatch *dispatch, uint64_t number, unsigned core)
{
    const struct destination *destination =
        route_table_destination(dispatch->config.routes, number);
    if (destination && destination->strict) {
        atomic_store(&destination->state->oldest_ns[core], 1);
    }
}

/* What the store knows to be settled, for trains: dispatch_retry.c. */
static bool tell_covered(const struct recovery *recovery)
{
    struct dispatch *dispatch = recovery->dispatch;
    for (unsigned i = 0; i < recovery->journal_count; i++) {
        if (recovery->journals[i] < CORES_MAX) {
            dispatch->through[recovery->journals[i]] = recovery->tails[i];
        }
    }
    for (size_t i = 0; i < recovery->lane_count; i++) {
        const struct start_lane *lane = &recovery->lanes[i];
        struct journal_position cursor = journal_position_unpack(lane->position);
        struct fare *fare = fare_take(dispatch, lane->destination);
        if (!fare) {
            return false;
        }
        if (cursor.journal < dispatch->config.cores) {
            fare->cursors[cursor.journal] = cursor.sequence;
        }
    }
    return true;
}

static bool hand_out(struct recovery *recovery)
{
    struct dispatch *dispatch = recovery->dispatch;
    uint16_t cores = dispatch->config.cores;
    size_t done_total = 0, done_at = 0;
    for (size_t i = 0; i < recovery->lane_count; i++) {
        dispatch->start_counts[journal_of(recovery->lanes[i].position) % cores]++;
        done_total += recovery->lanes[i].done_count;
    }
    dispatch->start_done = malloc((done_total + 1) * sizeof *dispatch->start_done);
    bool all = dispatch->start_done != NULL && tell_covered(recovery);
    for (unsigned core = 0; core < cores; core++) {
        dispatch->starts[core] =
            calloc(dispatch->start_counts[core] + 1, sizeof *dispatch->starts[core]);
        all = all && dispatch->starts[core];
        dispatch->start_counts[core] = 0;
    }
    for (size_t i = 0; all && i < recovery->lane_count; i++) {
        const struct start_lane *lane = &recovery->lanes[i];
        struct journal_position cursor = journal_position_unpack(lane->position);
        unsigned core = cursor.journal % cores;
        tell_owed(dispatch, lane->destination, core);
        if (lane->done_count > 0) {
            memcpy(dispatch->start_done + done_at, lane->done,
                   lane->done_count * sizeof *lane->done);
        }
        dispatch->starts[core][dispatch->start_counts[core]++] =
            (struct lane_start){.journal = cursor.journal,
                                .foreign = cursor.journal >= cores,
                                .destination = lane->destination,
                                .cursor = cursor.sequence,
                                .held_sequence = lane->held_sequence,
                                .held_number = lane->held_number,
                                .done_count = lane->done_count,
                                .done = dispatch->start_done + done_at};
        done_at += lane->done_count;
    }
    return all;
}

static void recovery_fini(struct recovery *recovery)
{
    for (size_t i = 0; i < recovery->lane_count; i++) {
        free(recovery->lanes[i].done);
    }
    free(recovery->lanes);
    free(recovery->index);
    free(recovery->settled);
    free(recovery->reports);
}

enum bk_err dispatch_recover(struct dispatch *dispatch)
{
    struct recovery recovery = {.dispatch = dispatch};
    recovery.reports = calloc(REPORTS_PER_COMMIT, sizeof *recovery.reports);
    if (!recovery.reports) {
        return BK_NO_MEMORY;
    }
    unsigned count =
        catalog_journals(dispatch->config.catalog, recovery.journals, READER_JOURNALS_MAX);
    recovery.journal_count = count < READER_JOURNALS_MAX ? count : READER_JOURNALS_MAX;
    for (unsigned i = 0; i < recovery.journal_count; i++) {
        recovery.tails[i] = 1;
    }
    catalog_each(dispatch->config.catalog, note_tail, &recovery);
    read_rows(&recovery);
    /* Without a destination nothing is owed, and nothing read. */
    bool any = route_table_destinations(dispatch->config.routes) > 0;
    if (recovery.err == BK_OK && any) {
        scan(&recovery, true);
    }
    if (recovery.err == BK_OK && any) {
        scan(&recovery, false);
    }
    if (recovery.err == BK_OK) {
        spread_settled(&recovery);
    }
    if (recovery.err == BK_OK) {
        spread_retries(&recovery);
    }
    for (size_t i = 0; i < recovery.lane_count; i++) {
        tidy_done(&recovery.lanes[i]);
    }
    if (recovery.err == BK_OK) {
        recovery.err = store_update(hub_store(dispatch->config.hub), write_lanes, &recovery);
    }
    if (recovery.err == BK_OK) {
        read_counts(&recovery);
    }
    if (recovery.err == BK_OK) {
        recovery.err = heads_find(dispatch);
    }
    if (recovery.err == BK_OK && !hand_out(&recovery)) {
        recovery.err = BK_NO_MEMORY;
    }
    if (recovery.lane_count > 0 || recovery.attempts > 0) {
        log_event(LOG_INFO, "deliveries go on", LOG_I("lanes", recovery.lane_count),
                  LOG_I("attempts_since_checkpoint", recovery.attempts),
                  LOG_I("retries", dispatch->retries_total));
    }
    recovery_fini(&recovery);
    return recovery.err;
}
