/* dispatch.c - letters and their commits, what is known of destinations, steps and life cycle. */
#include "hub/deliveries/dispatch.h"

#include "base/array.h"
#include "base/assert.h"
#include "base/log.h"
#include "base/time.h"
#include "hub/deliveries/deliver.h"
#include "hub/deliveries/dispatch_private.h"
#include "store/keys.h"

#include <stdlib.h>

#define LETTERS_PER_COMMIT 4096U
#define STORE_RETRY_NS     1000000000ULL
#define STORE_LAST_NS      200000000ULL /* while it stops: once more, then no more */
#define KEY_COMMIT_NS      1000000ULL

/* ---- destinations */

static size_t fare_slot(const struct dispatch *dispatch, uint64_t number)
{
    size_t at = (size_t)(number * 0x9e3779b97f4a7c15ULL >> 20) & (dispatch->fares_size - 1);
    while (dispatch->fares[at].number != 0 && dispatch->fares[at].number != number) {
        at = (at + 1) & (dispatch->fares_size - 1);
    }
    return at;
}

struct fare *fare_find(const struct dispatch *dispatch, uint64_t number)
{
    if (dispatch->fares_size == 0) {
        return NULL;
    }
    struct fare *fare = &dispatch->fares[fare_slot(dispatch, number)];
    return fare->number != 0 ? fare : NULL;
}

static bool fares_grow(struct dispatch *dispatch)
{
    size_t old_size = dispatch->fares_size;
    struct fare *old = dispatch->fares;
    size_t size = old_size > 0 ? 2 * old_size : 64;
    struct fare *fares = calloc(size, sizeof *fares);
    if (!fares) {
        return false;
    }
    dispatch->fares = fares;
    dispatch->fares_size = size;
    for (size_t i = 0; i < old_size; i++) {
        if (old[i].number != 0) {
            fares[fare_slot(dispatch, old[i].number)] = old[i];
        }
    }
    free(old);
    return true;
}

struct fare *fare_take(struct dispatch *dispatch, uint64_t number)
{
    struct fare *fare = fare_find(dispatch, number);
    if (fare) {
        return fare;
    }
    if ((2 * (dispatch->fare_count + 1) > dispatch->fares_size && !fares_grow(dispatch)) ||
        !due_reserve(dispatch, dispatch->fare_count + 1)) {
        return NULL;
    }
    struct target_status *cores = calloc(dispatch->config.cores, sizeof *cores);
    uint64_t *covered = calloc(dispatch->config.cores, sizeof *covered);
    if (!cores || !covered) {
        free(cores);
        free(covered);
        return NULL;
    }
    fare = &dispatch->fares[fare_slot(dispatch, number)];
    *fare = (struct fare){
        .number = number, .next_due_ms = INT64_MAX, .cores = cores, .covered = covered};
    dispatch->fare_count++;
    return fare;
}

/* None is made for one that was deleted. */
static struct fare *fare_of(struct dispatch *dispatch, uint64_t number)
{
    return route_table_destination(dispatch->config.routes, number) ? fare_take(dispatch, number)
                                                                    : fare_find(dispatch, number);
}

/* Those behind it move up, so that each is still found from its own place on. */
static void fare_drop(struct dispatch *dispatch, struct fare *fare)
{
    size_t mask = dispatch->fares_size - 1;
    size_t at = (size_t)(fare - dispatch->fares);
    bk_assert(fare->due_at == 0);
    free(fare->cores);
    free(fare->covered);
    *fare = (struct fare){0};
    dispatch->fare_count--;
    for (at = (at + 1) & mask; dispatch->fares[at].number != 0; at = (at + 1) & mask) {
        struct fare moved = dispatch->fares[at];
        dispatch->fares[at] = (struct fare){0};
        dispatch->fares[fare_slot(dispatch, moved.number)] = moved;
    }
}

const struct hub_source_name *dispatch_source(struct dispatch *dispatch, uint64_t number)
{
    struct source_name *slot = &dispatch->names[number % DISPATCH_NAMES];
    if (slot->number != number) {
        if (hub_source_name(dispatch->config.hub, number, &slot->name) != BK_OK) {
            memset(&slot->name, 0, sizeof slot->name);
        }
        slot->number = number;
    }
    return &slot->name;
}

void dispatch_source_changed(struct dispatch *dispatch, uint64_t source)
{
    struct source_name *slot = &dispatch->names[source % DISPATCH_NAMES];
    if (slot->number == source) {
        slot->number = 0;
    }
}

/* ---- chunks */

struct event_chunk *chunk_take(struct dispatch *dispatch)
{
    struct list *node = list_pop_front(&dispatch->chunks);
    struct event_chunk *chunk = node ? bk_container_of(node, struct event_chunk, node) : NULL;
    if (!chunk && dispatch->chunk_count < DISPATCH_CHUNKS) {
        chunk = calloc(1, sizeof *chunk);
        if (chunk) {
            dispatch->all_chunks[dispatch->chunk_count++] = chunk;
        }
    }
    if (chunk) {
        chunk->dispatch = dispatch;
        chunk->count = 0;
        chunk->bytes = 0;
    }
    return chunk;
}

void chunk_give(struct dispatch *dispatch, struct event_chunk *chunk)
{
    if (chunk->bytes_max > DISPATCH_CHUNK_BYTES) { /* one large event should not stay for ever */
        free(chunk->at);
        chunk->at = NULL;
        chunk->bytes_max = 0;
    }
    list_push_back(&dispatch->chunks, &chunk->node);
}

static bool chunk_reserve(struct event_chunk *chunk, size_t bytes)
{
    if (chunk->bytes + bytes <= chunk->bytes_max) {
        return true;
    }
    if (chunk->count > 0) {
        return false;
    }
    free(chunk->at);
    chunk->bytes_max = bytes > DISPATCH_CHUNK_BYTES ? bytes : DISPATCH_CHUNK_BYTES;
    chunk->at = malloc(chunk->bytes_max);
    chunk->bytes_max = chunk->at ? chunk->bytes_max : 0;
    return chunk->at != NULL;
}

static uint32_t chunk_put(struct event_chunk *chunk, const void *at, size_t bytes)
{
    size_t to = chunk->bytes;
    if (bytes > 0) {
        memcpy(chunk->at + to, at, bytes);
    }
    chunk->bytes += bytes;
    return (uint32_t)to;
}

struct chunk_event *chunk_add(struct dispatch *dispatch, struct event_chunk *chunk,
                              const struct journal_record *record)
{
    const struct hub_source_name *source = dispatch_source(dispatch, record->entry.source);
    struct slice type = event_type_of(&record->entry, record->message, slice_str(source->type));
    size_t message = (size_t)record->entry.head_bytes + record->entry.body_bytes;
    size_t name = strlen(source->name);
    if (chunk->count == CHUNK_EVENTS_MAX || !chunk_reserve(chunk, message + name + type.bytes)) {
        return NULL;
    }
    struct chunk_event *event = &chunk->events[chunk->count++];
    *event = (struct chunk_event){.position = journal_position_pack(record->position),
                                  .entry = record->entry,
                                  .message_at = chunk_put(chunk, record->message, message),
                                  .source_at = chunk_put(chunk, source->name, name),
                                  .source_bytes = (uint32_t)name,
                                  .type_at = chunk_put(chunk, type.at, type.bytes),
                                  .type_bytes = (uint32_t)type.bytes};
    return event;
}

/* ---- letters */

static void letter_push(struct dispatch *dispatch, struct letter *letter)
{
    letter->next = NULL;
    *dispatch->letters_last = letter;
    dispatch->letters_last = &letter->next;
    dispatch->letter_count++;
    if (dispatch->commit_due_ns == 0) {
        dispatch->commit_due_ns = ring_now_ns(dispatch->config.ring) + DISPATCH_COMMIT_NS;
    }
}

static void commit_soon(struct dispatch *dispatch)
{
    uint64_t at_ns = ring_now_ns(dispatch->config.ring) + KEY_COMMIT_NS;
    if (!dispatch->store_failing && at_ns < dispatch->commit_due_ns) {
        dispatch->commit_due_ns = at_ns;
    }
}

/* Order per key: letters of a key that several cores sent came in another order than they were sent
 * in. The one that is missing is on its way. */
static bool is_early(const struct dispatch *dispatch, const struct delivery_report *report)
{
    const struct destination *destination =
        route_table_destination(dispatch->config.routes, report->destination);
    struct order_keys *keys = destination ? atomic_load(&destination->state->keys) : NULL;
    if (!keys || !report->counted) {
        return false;
    }
    uint32_t *taken = &keys->taken[report->bucket];
    bool early = report->turn != *taken + 1;
    *taken += !early;
    return early;
}

/* A checkpoint is, while a report that its core sent before it is: it relies on that one. */
static bool relies_on_early(const struct dispatch *dispatch, const struct checkpoint *checkpoint)
{
    for (const struct letter *at = dispatch->early; at; at = at->next) {
        if (!at->checkpoint &&
            bk_container_of(at, const struct delivery_report, letter)->home == checkpoint->home) {
            return true;
        }
    }
    return false;
}

/* Those whose turn has come; also those of a destination that was deleted. */
static void take_early(struct dispatch *dispatch)
{
    struct letter **at = &dispatch->early;
    while (*at) {
        struct letter *letter = *at;
        if (letter->checkpoint
                ? relies_on_early(dispatch, bk_container_of(letter, struct checkpoint, letter))
                : is_early(dispatch, bk_container_of(letter, struct delivery_report, letter))) {
            at = &letter->next;
            continue;
        }
        *at = letter->next;
        letter_push(dispatch, letter);
        at = &dispatch->early; /* one that was passed over may be the next */
    }
}

void dispatch_report_arrived(struct ring_mail *mail)
{
    struct delivery_report *report = bk_container_of(mail, struct delivery_report, mail);
    struct dispatch *dispatch = report->dispatch;
    report->letter.checkpoint = false;
    report->letter.own = false;
    if (is_early(dispatch, report)) {
        report->letter.next = dispatch->early;
        dispatch->early = &report->letter;
        return;
    }
    letter_push(dispatch, &report->letter);
    if (dispatch->early) {
        take_early(dispatch);
    }
    if ((report->flags & ATTEMPT_KEYED) != 0 && report->previous_due_ms != 0 && !report->more) {
        commit_soon(report->dispatch); /* its key waits for it */
    }
}

void dispatch_queue_own(struct dispatch *dispatch, const struct delivery_report *report)
{
    struct delivery_report *own = malloc(sizeof *own);
    if (!own) {
        return; /* the row stays, and is looked at again */
    }
    *own = *report;
    own->letter.checkpoint = false;
    own->letter.own = true;
    letter_push(dispatch, &own->letter);
}

/* What it tells is true at once; what it asks to keep waits for the commit. */
void dispatch_checkpoint_arrived(struct ring_mail *mail)
{
    struct checkpoint *checkpoint = bk_container_of(mail, struct checkpoint, mail);
    struct dispatch *dispatch = checkpoint->dispatch;
    for (size_t i = 0; i < checkpoint->status_count; i++) {
        struct fare *fare = fare_of(dispatch, checkpoint->status[i].destination);
        if (fare) {
            fare->cores[checkpoint->core] = checkpoint->status[i];
        }
    }
    checkpoint->letter.checkpoint = true;
    if (relies_on_early(dispatch, checkpoint)) {
        checkpoint->letter.next = dispatch->early;
        dispatch->early = &checkpoint->letter;
    } else {
        letter_push(dispatch, &checkpoint->letter);
    }
}

void dispatch_chunk_back(struct ring_mail *mail)
{
    struct event_chunk *chunk = bk_container_of(mail, struct event_chunk, mail);
    struct dispatch *dispatch = chunk->dispatch;
    for (unsigned i = 0; i < chunk->count; i++) {
        const struct chunk_event *event = &chunk->events[i];
        if (event->destination != 0 && event->refused) {
            struct fare *fare = fare_find(dispatch, event->destination);
            dispatch_flying_end(dispatch, event->destination, event->position);
            if (fare) {
                fare->next_due_ms = INT64_MIN;
                fare->not_before_ns =
                    ring_now_ns(dispatch->config.ring) + 100 * (uint64_t)NS_PER_MS;
                due_changed(dispatch, fare, 0);
            }
        }
    }
    chunk_give(dispatch, chunk);
}

/* ---- commits */

struct commit {
    struct dispatch *dispatch;
    size_t count;
};

static enum bk_err apply(struct store_txn *txn, void *context)
{
    struct commit *commit = context;
    struct dispatch *dispatch = commit->dispatch;
    struct letter *letter = dispatch->letters_first;
    enum bk_err err = BK_OK;
    for (size_t i = 0; err == BK_OK && i < commit->count; i++, letter = letter->next) {
        if (letter->checkpoint) {
            err =
                rows_apply_checkpoint(txn, bk_container_of(letter, const struct checkpoint, letter),
                                      dispatch->config.routes);
            continue;
        }
        struct delivery_report *report = bk_container_of(letter, struct delivery_report, letter);
        enum report_kind kind = report->kind;
        const struct destination *destination =
            route_table_destination(dispatch->config.routes, report->destination);
        if (!destination) { /* deleted meanwhile: nothing is kept for it */
            report->kind = kind == REPORT_PROMOTE ? REPORT_REFUSED : REPORT_SETTLED;
        }
        err = rows_apply_report(txn, report);
        report->kind = kind;
        owed_note(dispatch, report->position);
        if (report->promoted) {
            owed_note(dispatch, report->promoted_position);
        }
    }
    return err == BK_OK ? rows_put_clock(txn, dispatch_now_ms(dispatch)) : err;
}

/* The cores learn that the store has some of its key before the letter is counted out. */
static void report_key(struct dispatch *dispatch, const struct delivery_report *report)
{
    const struct destination *destination =
        route_table_destination(dispatch->config.routes, report->destination);
    struct order_keys *keys = destination ? atomic_load(&destination->state->keys) : NULL;
    if (!keys || (report->flags & ATTEMPT_KEYED) == 0 || report->kind == REPORT_REFUSED) {
        return;
    }
    atomic_store(&keys->rows[report->bucket], report->blocks);
    if (report->counted) {
        atomic_fetch_sub(&keys->mail[report->bucket], 1);
    }
}

static void report_counts_keyed(struct dispatch *dispatch, struct fare *fare,
                                const struct delivery_report *report)
{
    fare->retries += (uint64_t)(int64_t)report->rows_change;
    dispatch->retries_total += (uint64_t)(int64_t)report->rows_change;
    int64_t due_ms = report->promoted               ? 1
                     : report->kind == REPORT_AGAIN ? report->due_ms
                                                    : INT64_MAX;
    fare->next_due_ms = due_ms < fare->next_due_ms ? due_ms : fare->next_due_ms;
    due_changed(dispatch, fare, 0);
}

/* In memory, what the commit made true. */
static void report_counts(struct dispatch *dispatch, const struct delivery_report *report)
{
    struct fare *fare = fare_of(dispatch, report->destination);
    if (report->previous_due_ms != 0) {
        dispatch_flying_end(dispatch, report->destination, report->position);
    }
    if (!fare || fare->removed ||
        !route_table_destination(dispatch->config.routes, report->destination)) {
        return;
    }
    if ((report->flags & ATTEMPT_KEYED) != 0 && report->kind != REPORT_REFUSED) {
        report_counts_keyed(dispatch, fare, report);
        return;
    }
    bool was = report->previous_due_ms != 0 && report->kind != REPORT_REFUSED;
    if (was && fare->retries > 0) {
        fare->retries--;
        dispatch->retries_total--;
    }
    if (report->kind == REPORT_AGAIN) {
        fare->retries++;
        dispatch->retries_total++;
        fare->next_due_ms = report->due_ms < fare->next_due_ms ? report->due_ms : fare->next_due_ms;
    }
    if (report->kind == REPORT_REFUSED) {
        fare->next_due_ms = INT64_MIN;
        fare->not_before_ns = ring_now_ns(dispatch->config.ring) + 100 * (uint64_t)NS_PER_MS;
    }
    due_changed(dispatch, fare, 0);
}

static void post_home(struct dispatch *dispatch, struct letter *letter)
{
    if (letter->checkpoint) {
        struct checkpoint *checkpoint = bk_container_of(letter, struct checkpoint, letter);
        checkpoint->mail.run = deliver_checkpoint_back;
        ring_post(dispatch->config.ring, dispatch->rings[checkpoint->core], &checkpoint->mail);
        return;
    }
    struct delivery_report *report = bk_container_of(letter, struct delivery_report, letter);
    if (letter->own) {
        free(report);
        return;
    }
    report->mail.run = deliver_report_back;
    ring_post(dispatch->config.ring, dispatch->rings[deliver_core(report->home)], &report->mail);
}

static void checkpoint_covers(struct dispatch *dispatch, const struct checkpoint *checkpoint)
{
    for (size_t i = 0; i < checkpoint->lane_count; i++) {
        const struct checkpoint_lane *lane = &checkpoint->lanes[i];
        struct fare *fare = fare_find(dispatch, lane->destination);
        if (fare && lane->journal == checkpoint->core) {
            fare->covered[checkpoint->core] = lane->cursor ? lane->cursor : checkpoint->through;
        }
    }
}

/* What it asked to keep is kept. */
static void send_home(struct dispatch *dispatch, struct letter *letter)
{
    if (letter->checkpoint) {
        checkpoint_covers(dispatch, bk_container_of(letter, const struct checkpoint, letter));
        post_home(dispatch, letter);
        return;
    }
    struct delivery_report *report = bk_container_of(letter, struct delivery_report, letter);
    report_counts(dispatch, report);
    report_key(dispatch, report);
    const struct destination *destination =
        route_table_destination(dispatch->config.routes, report->destination);
    bool running = destination && destination->pause == DESTINATION_RUNNING;
    if (report->gone && running && dispatch->config.gone) {
        dispatch->config.gone(dispatch->config.context, report->destination);
    }
    post_home(dispatch, letter);
}

static struct letter *letter_pop(struct dispatch *dispatch)
{
    struct letter *letter = dispatch->letters_first;
    dispatch->letters_first = letter->next;
    dispatch->letter_count--;
    if (!dispatch->letters_first) {
        dispatch->letters_last = &dispatch->letters_first;
        dispatch->commit_due_ns = 0;
    }
    return letter;
}

/* A stop does not wait for a store that takes nothing. From here on nothing is kept any more, also
 * when it could be again: a checkpoint that comes later relies on what is let go here. The next
 * start finds it in the journal, or delivers again. */
static void give_up(struct dispatch *dispatch)
{
    if (!dispatch->given_up) {
        log_event(LOG_WARN,
                  "the store takes nothing: the stop does not wait for it, the next start "
                  "finds what became of deliveries in the journal");
    }
    dispatch->given_up = true;
    while (dispatch->letters_first) {
        post_home(dispatch, letter_pop(dispatch));
    }
}

static void commit_failed(struct dispatch *dispatch, enum bk_err err)
{
    if (dispatch->draining && dispatch->store_failing) {
        give_up(dispatch);
        return;
    }
    dispatch->commit_due_ns =
        ring_now_ns(dispatch->config.ring) + (dispatch->draining ? STORE_LAST_NS : STORE_RETRY_NS);
    if (!dispatch->store_failing) {
        dispatch->store_failing = true;
        log_event(LOG_ERROR, "cannot keep what became of deliveries: failing ones wait",
                  LOG_Z("error", bk_err_text(err)));
    }
}

static bool commit(struct dispatch *dispatch)
{
    if (dispatch->given_up) {
        give_up(dispatch);
        return true;
    }
    struct commit now = {dispatch, dispatch->letter_count < LETTERS_PER_COMMIT
                                       ? dispatch->letter_count
                                       : LETTERS_PER_COMMIT};
    enum bk_err err = store_update(hub_store(dispatch->config.hub), apply, &now);
    if (err != BK_OK) {
        commit_failed(dispatch, err);
        return false;
    }
    if (dispatch->store_failing) {
        dispatch->store_failing = false;
        log_event(LOG_INFO, "what became of deliveries is kept again");
    }
    for (size_t i = 0; i < now.count; i++) {
        send_home(dispatch, letter_pop(dispatch));
    }
    return true;
}

void dispatch_drain(struct dispatch *dispatch)
{
    dispatch->started = false;
    dispatch->draining = true;
    if (dispatch->store_failing && dispatch->commit_due_ns != 0) {
        dispatch->commit_due_ns = ring_now_ns(dispatch->config.ring);
    }
}

void dispatch_flush(struct dispatch *dispatch)
{
    while (dispatch->letters_first && commit(dispatch)) {
    }
}

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

void dispatch_changed(struct dispatch *dispatch, uint64_t destination)
{
    struct fare *fare = fare_find(dispatch, destination);
    if (fare) {
        fare->not_before_ns = 0;
        due_changed(dispatch, fare, 0);
    }
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

/* A bounded part of it. */
static void remove_some(struct dispatch *dispatch)
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

static enum bk_err add_rows(struct store_txn *txn, void *context)
{
    const struct addition *addition = context;
    enum bk_err err = BK_OK;
    for (size_t i = 0; err == BK_OK && i < addition->count; i++) {
        err = rows_put_retry(txn, &addition->rows[i]);
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

int64_t dispatch_wall_ms(const struct dispatch *dispatch, int64_t due_ms)
{
    return due_ms - dispatch_now_ms(dispatch) +
           ring_wall_ns(dispatch->config.ring) / (int64_t)NS_PER_MS;
}

int64_t dispatch_clock_ms(const struct dispatch *dispatch)
{
    return dispatch_now_ms(dispatch);
}

enum bk_err dispatch_add(struct dispatch *dispatch, const struct retry_row *rows, size_t count)
{
    return dispatch_add_with(dispatch, rows, count, NULL, NULL);
}

enum bk_err dispatch_add_with(struct dispatch *dispatch, const struct retry_row *rows, size_t count,
                              store_update_fn *also, void *context)
{
    struct addition addition = {dispatch, rows, count, also, context};
    for (size_t i = 0; i < count; i++) { /* what was committed can no longer fail */
        if (!fare_take(dispatch, rows[i].destination)) {
            return BK_NO_MEMORY;
        }
        owed_note(dispatch, rows[i].position);
    }
    enum bk_err err = store_update(hub_store(dispatch->config.hub), add_rows, &addition);
    for (size_t i = 0; err == BK_OK && i < count; i++) {
        struct fare *fare = fare_find(dispatch, rows[i].destination);
        bool last = i + 1 == count || rows[i + 1].destination != rows[i].destination;
        fare->next_due_ms = rows[i].due_ms < fare->next_due_ms ? rows[i].due_ms : fare->next_due_ms;
        uint64_t now = fare->retries;
        if (last && count_rows(dispatch, fare->number, &now) == BK_OK) {
            dispatch->retries_total += now - fare->retries;
            fare->retries = now;
            due_changed(dispatch, fare, 0);
        }
    }
    return err;
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
    if (retry_row_decode(key, value, &row) && row.due_ms > hurry->now_ms &&
        (row.flags & ATTEMPT_KEYED) == 0 &&
        !dispatch_is_flying(hurry->dispatch, row.destination, row.position)) {
        /* An extra try, so that nobody makes dead letters by looking whether it is up again. */
        row.number -= row.number > 1;
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

enum bk_err dispatch_hurry(struct dispatch *dispatch, uint64_t destination)
{
    struct fare *fare = fare_find(dispatch, destination);
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

/* ---- steps */

bool dispatch_step(struct dispatch *dispatch)
{
    uint64_t now_ns = ring_now_ns(dispatch->config.ring);
    if (dispatch->early) {
        take_early(dispatch);
    }
    if (dispatch->commit_due_ns != 0 &&
        (now_ns >= dispatch->commit_due_ns ||
         (dispatch->letter_count >= LETTERS_PER_COMMIT / 8 && !dispatch->store_failing))) {
        (void)commit(dispatch);
    }
    bool more = dispatch_serve_want(dispatch);
    more |= owed_step(dispatch);
    if (dispatch->started && now_ns >= dispatch->load_due_ns) {
        dispatch_load_retries(dispatch);
    }
    if (dispatch->started && dispatch->headless_count > 0 && now_ns >= dispatch->heads_at_ns) {
        heads_mend(dispatch);
    }
    if (dispatch->started && dispatch->removal_count > 0 && now_ns >= dispatch->remove_at_ns) {
        remove_some(dispatch);
        more |= dispatch->removal_count > 0 && dispatch->remove_at_ns <= now_ns;
    }
    return more;
}

uint64_t dispatch_next_ns(const struct dispatch *dispatch)
{
    uint64_t next_ns = dispatch->started ? dispatch->load_due_ns : UINT64_MAX;
    if (dispatch->started && dispatch->headless_count > 0 && dispatch->heads_at_ns < next_ns) {
        next_ns = dispatch->heads_at_ns;
    }
    if (dispatch->started && dispatch->removal_count > 0 && dispatch->remove_at_ns < next_ns) {
        next_ns = dispatch->remove_at_ns;
    }
    if (dispatch->commit_due_ns != 0 && dispatch->commit_due_ns < next_ns) {
        next_ns = dispatch->commit_due_ns;
    }
    return next_ns;
}

/* ---- how destinations fare */

static void add_core(struct dispatch_status *sum, const struct target_status *core)
{
    for (unsigned i = 0; i < TARGET_OUTCOMES; i++) {
        sum->outcomes[i] += core->outcomes[i];
    }
    sum->took_us += core->took_us;
    sum->backlog += core->backlog;
    sum->lost += core->lost;
    sum->inflight += core->inflight;
    sum->queued += core->queued;
    sum->behind |= core->behind;
    sum->open |= core->open;
    if (core->oldest_ns != 0 && (sum->oldest_ns == 0 || core->oldest_ns < sum->oldest_ns)) {
        sum->oldest_ns = core->oldest_ns;
    }
    if (core->last_ns > sum->last_ns) {
        sum->last_ns = core->last_ns;
        sum->last_number = core->last_number;
        sum->last_status = core->last_status;
        sum->last_outcome = core->last_outcome;
        memcpy(sum->last_why, core->last_why, sizeof sum->last_why);
    }
}

static void fare_status(const struct dispatch *dispatch, const struct fare *fare,
                        struct dispatch_status *ret_status)
{
    *ret_status = (struct dispatch_status){.retries = fare->retries};
    for (unsigned i = 0; i < dispatch->config.cores; i++) {
        add_core(ret_status, &fare->cores[i]);
    }
    if (fare->retries > 0 && fare->next_due_ms > 0 && fare->next_due_ms < ORDER_WAITING_MS) {
        ret_status->next_retry_ms = dispatch_wall_ms(dispatch, fare->next_due_ms);
    }
}

bool dispatch_status(const struct dispatch *dispatch, uint64_t destination,
                     struct dispatch_status *ret_status)
{
    const struct fare *fare = fare_find(dispatch, destination);
    memset(ret_status, 0, sizeof *ret_status);
    if (fare) {
        fare_status(dispatch, fare, ret_status);
    }
    return fare != NULL;
}

void dispatch_each(const struct dispatch *dispatch, dispatch_each_fn *each, void *context)
{
    struct dispatch_status status;
    for (size_t i = 0; i < dispatch->fares_size; i++) {
        if (dispatch->fares[i].number != 0) {
            fare_status(dispatch, &dispatch->fares[i], &status);
            each(context, dispatch->fares[i].number, &status);
        }
    }
}

uint64_t dispatch_retries(const struct dispatch *dispatch)
{
    return dispatch->retries_total;
}

/* ---- life cycle */

enum bk_err dispatch_clock_begin(struct hub *hub, int64_t wall_ms, uint64_t now_ns,
                                 int64_t *ret_clock_ms)
{
    struct store_txn *txn;
    int64_t kept_ms = 0;
    enum bk_err err = store_read(hub_store(hub), &txn);
    if (err == BK_OK) {
        err = rows_clock(txn, &kept_ms);
        store_read_end(txn);
    }
    if (kept_ms > wall_ms) {
        log_event(LOG_WARN, "the wall clock was set back since the last run",
                  LOG_I("seconds", (kept_ms - wall_ms) / 1000),
                  LOG_Z("deliveries", "are tried again when they would have been"));
    }
    *ret_clock_ms = (kept_ms > wall_ms ? kept_ms : wall_ms) - (int64_t)(now_ns / NS_PER_MS);
    return err;
}

enum bk_err dispatch_open(const struct dispatch_config *config, struct dispatch **ret_dispatch)
{
    bk_assert(config->cores > 0 && config->cores <= CORES_MAX);
    struct dispatch *dispatch = calloc(1, sizeof *dispatch);
    if (!dispatch) {
        return BK_NO_MEMORY;
    }
    dispatch->config = *config;
    dispatch->letters_last = &dispatch->letters_first;
    list_init(&dispatch->wants);
    list_init(&dispatch->chunks);
    enum bk_err err = reader_open(config->catalog, &dispatch->reader);
    if (err == BK_OK) {
        err = filter_scratch_open(FILTER_SCRATCH_BYTES, &dispatch->scratch);
    }
    if (err != BK_OK) {
        dispatch_close(dispatch);
        return err;
    }
    *ret_dispatch = dispatch;
    return BK_OK;
}

static void starts_free(struct dispatch *dispatch)
{
    for (unsigned i = 0; i < CORES_MAX; i++) {
        free(dispatch->starts[i]);
        dispatch->starts[i] = NULL;
        dispatch->start_counts[i] = 0;
    }
    free(dispatch->start_done);
    dispatch->start_done = NULL;
}

void dispatch_close(struct dispatch *dispatch)
{
    for (unsigned i = 0; i < dispatch->chunk_count; i++) { /* also those that are out */
        free(dispatch->all_chunks[i]->at);
        free(dispatch->all_chunks[i]);
    }
    for (size_t i = 0; i < dispatch->fares_size; i++) {
        free(dispatch->fares[i].cores);
        free(dispatch->fares[i].covered);
    }
    free(dispatch->fares);
    free(dispatch->due);
    free(dispatch->removals);
    free(dispatch->headless);
    starts_free(dispatch);
    if (dispatch->scratch) {
        filter_scratch_close(dispatch->scratch);
    }
    if (dispatch->reader) {
        reader_close(dispatch->reader);
    }
    free(dispatch);
}

size_t dispatch_lanes(const struct dispatch *dispatch, uint16_t core,
                      const struct lane_start **ret_lanes)
{
    *ret_lanes = dispatch->starts[core];
    return dispatch->start_counts[core];
}

void dispatch_started(struct dispatch *dispatch, struct deliver *const *delivers,
                      struct ring *const *rings)
{
    for (unsigned i = 0; i < dispatch->config.cores; i++) {
        dispatch->delivers[i] = delivers[i];
        dispatch->rings[i] = rings[i];
    }
    starts_free(dispatch);
    dispatch->started = true;
}
