/* dispatch_asked.c - what somebody asks to be done with a destination's rows: none any more, more
 * of them, at once. */
#include "base/array.h"
#include "base/time.h"
#include "hub/deliveries/dispatch_private.h"
#include "hub/deliveries/event_key.h"
#include "hub/deliveries/flow.h"
#include "hub/deliveries/order.h"

#include <stdlib.h>

/* ---- deleted destinations */

struct removal {
    uint64_t destination;
    bool done;
};

static enum bk_err remove_rows(struct store_txn *txn, void *context)
{
    struct removal *removal = context;
    return rows_remove(txn, removal->destination, &removal->done);
}

void dispatch_removed(struct dispatch *dispatch, uint64_t destination)
{
    struct fare *fare = fare_take(dispatch, destination);
    if (!fare || fare->removed) {
        return;
    }
    if (!array_reserve((void **)&dispatch->removals, &dispatch->removals_size,
                       dispatch->removal_count + 1, sizeof *dispatch->removals)) {
        return; /* the next start finds rows of nobody, and tries again */
    }
    dispatch->removals[dispatch->removal_count++] = destination;
    dispatch->remove_at_ns = 0;
    fare->removed = true;
    due_changed(dispatch, fare, 0);
}

static void remove_done(struct dispatch *dispatch, struct fare *fare)
{
    dispatch->retries_total -= fare->retries;
    fare->retries = 0;
    fare->removed = false;
    fare->next_due_ms = INT64_MAX;
    memset(fare->cores, 0, dispatch->config.cores * sizeof *fare->cores);
    dispatch->removal_count--;
    if (fare->flying == 0) {
        fare_drop(dispatch, fare);
    }
}

void remove_some(struct dispatch *dispatch)
{
    struct removal removal = {dispatch->removals[dispatch->removal_count - 1], false};
    if (store_update(hub_store(dispatch->config.hub), remove_rows, &removal) != BK_OK) {
        dispatch->remove_at_ns = ring_now_ns(dispatch->config.ring) + STORE_RETRY_NS;
    } else if (removal.done) {
        remove_done(dispatch, fare_find(dispatch, removal.destination));
    }
}

/* ---- replays */

struct addition {
    const struct dispatch *dispatch;
    const struct retry_row *rows;
    size_t count;
    store_update_fn *also; /* may be NULL */
    void *context;
};

static bool is_in_order(const struct retry_row *row)
{
    return (row->flags & ATTEMPT_KEYED) != 0;
}

/* In order, one that is the first of its key already is tried as that. */
static enum bk_err add_row(struct store_txn *txn, const struct retry_row *row)
{
    uint64_t head = 0;
    enum bk_err err =
        is_in_order(row) ? rows_head(txn, row->destination, row->bucket, &head) : BK_OK;
    return err == BK_OK && head != row->position ? rows_put_retry(txn, row) : err;
}

static enum bk_err add_rows(struct store_txn *txn, void *context)
{
    const struct addition *addition = context;
    enum bk_err err = BK_OK;
    for (size_t i = 0; err == BK_OK && i < addition->count; i++) {
        err = add_row(txn, &addition->rows[i]);
    }
    if (err == BK_OK) {
        err = rows_put_clock(txn, dispatch_now_ms(addition->dispatch));
    }
    return err == BK_OK && addition->also ? addition->also(txn, addition->context) : err;
}

static enum bk_err count_rows(struct dispatch *dispatch, uint64_t destination, uint64_t *ret_count)
{
    struct store_txn *txn;
    struct slice value;
    struct key key;
    enum bk_err err = store_read(hub_store(dispatch->config.hub), &txn);
    if (err != BK_OK) {
        return err;
    }
    key_retry_count(&key, destination);
    err = store_get(txn, key_slice(&key), &value);
    *ret_count = err == BK_OK && value.bytes == 8 ? key_get_u64(value.at) : 0;
    store_read_end(txn);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err dispatch_add(struct dispatch *dispatch, const struct retry_row *rows, size_t count)
{
    return dispatch_add_with(dispatch, rows, count, NULL, NULL);
}

enum bk_err dispatch_add_with(struct dispatch *dispatch, const struct retry_row *rows, size_t count,
                              store_update_fn *also, void *context)
{
    struct addition addition = {dispatch, rows, count, also, context};
    if (!heads_reserve(dispatch, count)) { /* what was committed can no longer fail */
        return BK_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        if (!fare_take(dispatch, rows[i].destination)) {
            return BK_NO_MEMORY;
        }
        owed_note(dispatch, rows[i].position);
    }
    for (size_t i = 0; i < count; i++) {
        struct order_keys *keys =
            is_in_order(&rows[i]) ? heads_keys(dispatch, rows[i].destination) : NULL;
        if (keys) { /* nothing of its key goes ahead of it any more */
            atomic_store(&keys->rows[rows[i].bucket], true);
        }
    }
    enum bk_err err = store_update(hub_store(dispatch->config.hub), add_rows, &addition);
    for (size_t i = 0; err == BK_OK && i < count; i++) {
        struct fare *fare = fare_find(dispatch, rows[i].destination);
        bool last = i + 1 == count || rows[i + 1].destination != rows[i].destination;
        int64_t due_ms = retry_due_ms(rows[i].due_ms);
        fare->next_due_ms = due_ms < fare->next_due_ms ? due_ms : fare->next_due_ms;
        if (is_in_order(&rows[i])) {
            heads_expect(dispatch, fare->number, rows[i].bucket);
        }
        uint64_t now = fare->retries;
        if (last && count_rows(dispatch, fare->number, &now) == BK_OK) {
            dispatch->retries_total += now - fare->retries;
            fare->retries = now;
            due_changed(dispatch, fare, 0);
        }
    }
    return err;
}

void dispatch_in_order(struct dispatch *dispatch, const struct journal_entry *entry,
                       const uint8_t *message, struct retry_row *row)
{
    const struct destination *destination =
        route_table_destination(dispatch->config.routes, row->destination);
    if (!destination || !destination->strict) {
        return;
    }
    struct fan_out out;
    uint8_t room[EVENT_TYPE_BYTES_MAX];
    fan_out_init(&out, dispatch->scratch, journal_position_unpack(row->position), entry, message);
    row->bucket = 0;
    if (destination->order_key && fan_out_head(&out)) {
        const struct source_name *source = dispatch_source(dispatch, entry->source);
        out.view.source = slice_str(source->name.name);
        out.view.type = event_type_of(entry, message, source->constant_type, room);
        row->bucket = event_key_bucket(destination->order_key, dispatch->scratch, &out.view);
    }
    row->flags |= ATTEMPT_KEYED;
    row->due_ms = order_waiting_ms(row->bucket, row->event_ns);
    row->pace_us = (uint32_t)(ring_wall_ns(dispatch->config.ring) / NS_PER_MS);
}

/* ---- at once */

#define HURRIED_MAX 8192U

struct hurry {
    const struct dispatch *dispatch;
    uint64_t destination;
    int64_t now_ms;
    struct retry_row *rows;
    unsigned count;
};

static bool pick_later(void *context, struct slice key, struct slice value)
{
    struct hurry *hurry = context;
    struct retry_row row;
    if (!retry_row_decode(key, value, &row)) {
        return true;
    }
    if (row.due_ms >= RETRY_PACED_MS) { /* not tried yet, and so are all that follow */
        return false;
    }
    bool failed = row.number > 0; /* else a replay that somebody wants slow */
    if (failed && row.due_ms > hurry->now_ms &&
        !dispatch_is_flying(hurry->dispatch, row.destination, row.position)) {
        /* An extra try, so that nobody makes dead letters by looking whether it is up again. */
        row.number--;
        hurry->rows[hurry->count++] = row;
    }
    return hurry->count < HURRIED_MAX;
}

static enum bk_err hurry_rows(struct store_txn *txn, void *context)
{
    struct hurry *hurry = context;
    struct key prefix;
    key_of_destination(&prefix, 'd', hurry->destination);
    hurry->count = 0;
    enum bk_err err = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, pick_later, hurry);
    for (unsigned i = 0; err == BK_OK && i < hurry->count; i++) {
        err = rows_move_retry(txn, &hurry->rows[i], hurry->now_ms);
    }
    return err;
}

/* Also of one that was not paused: it failed, or asked to be left alone for a day. */
static void lift(struct dispatch *dispatch, uint64_t number)
{
    const struct destination *destination =
        route_table_destination(dispatch->config.routes, number);
    if (destination) {
        flow_lift((struct flow_shared *)(void *)destination->state->words);
    }
    dispatch_changed(dispatch, number);
}

enum bk_err dispatch_hurry(struct dispatch *dispatch, uint64_t destination)
{
    struct fare *fare = fare_find(dispatch, destination);
    lift(dispatch, destination);
    if (!fare || fare->removed || fare->retries == 0) {
        return BK_OK;
    }
    struct hurry hurry = {dispatch, destination, dispatch_now_ms(dispatch),
                          malloc(HURRIED_MAX * sizeof *hurry.rows), 0};
    if (!hurry.rows) {
        return BK_NO_MEMORY;
    }
    enum bk_err err = store_update(hub_store(dispatch->config.hub), hurry_rows, &hurry);
    uint64_t now = fare->retries;
    if (err == BK_OK && hurry.count > 0 && count_rows(dispatch, destination, &now) == BK_OK) {
        dispatch->retries_total -= fare->retries - now; /* some were there twice */
        fare->retries = now;
        fare->next_due_ms = hurry.now_ms < fare->next_due_ms ? hurry.now_ms : fare->next_due_ms;
        due_changed(dispatch, fare, 0);
    }
    free(hurry.rows);
    return err;
}
