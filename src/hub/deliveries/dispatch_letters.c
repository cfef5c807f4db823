/* dispatch_letters.c - what the cores tell, in its order: gathered, committed, sent home. */
#include "base/log.h"
#include "base/time.h"
#include "hub/deliveries/deliver.h"
#include "hub/deliveries/dispatch_private.h"
#include "hub/deliveries/flow.h"

#include <stdlib.h>

#define LETTERS_PER_COMMIT 4096U
#define STORE_LAST_NS      200000000ULL /* while it stops: once more, then no more */
#define KEY_COMMIT_NS      1000000ULL

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

bool dispatch_queue_own(struct dispatch *dispatch, const struct delivery_report *report)
{
    struct delivery_report *own = malloc(sizeof *own);
    if (!own) {
        return false;
    }
    *own = *report;
    own->letter.checkpoint = false;
    own->letter.own = true;
    letter_push(dispatch, &own->letter);
    if (own->kind == REPORT_PROMOTE) {
        commit_soon(dispatch); /* its key waits for it */
    }
    return true;
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

struct commit {
    struct dispatch *dispatch;
    size_t count;
};

/* Somebody mended the destination while this was under way: due now, with one try less on its
 * count, as what was in the store (dispatch_hurry). */
static void hurry(const struct dispatch *dispatch, const struct letter *letter,
                  const struct destination *destination)
{
    struct delivery_report *report = bk_container_of(letter, struct delivery_report, letter);
    int64_t now_ms = dispatch_now_ms(dispatch);
    if (destination && !letter->own && report->kind == REPORT_AGAIN && report->due_ms > now_ms &&
        report->lifts != flow_lifts((struct flow_shared *)(void *)destination->state->words)) {
        report->due_ms = now_ms;
        report->number -= report->number > 0;
    }
}

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
        hurry(dispatch, letter, destination);
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
    /* Nothing waits behind it any more: what comes at a rate may. */
    int64_t due_ms = report->promoted               ? 1
                     : report->kind == REPORT_AGAIN ? report->due_ms
                     : !report->blocks              ? dispatch_now_ms(dispatch)
                                                    : INT64_MAX;
    fare->next_due_ms = due_ms < fare->next_due_ms ? due_ms : fare->next_due_ms;
    due_changed(dispatch, fare, 0);
    if (report->headless && heads_reserve(dispatch, 1)) { /* else the next start finds it */
        heads_expect(dispatch, fare->number, report->bucket);
    }
}

/* The more retries a destination took in a row, the more of them its cores have at hand. */
static void report_ahead(struct fare *fare, const struct delivery_report *report)
{
    bool retry = report->previous_due_ms != 0;
    if (report->kind == REPORT_AGAIN || report->kind == REPORT_DEAD ||
        report->kind == REPORT_REFUSED) {
        fare->ahead = 0;
    } else if (report->kind == REPORT_SETTLED && retry && fare->ahead < DISPATCH_FLYING_EACH) {
        fare->ahead++;
    }
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
    report_ahead(fare, report);
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
        int64_t due_ms = retry_due_ms(report->due_ms);
        fare->next_due_ms = due_ms < fare->next_due_ms ? due_ms : fare->next_due_ms;
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
    dispatch->through[checkpoint->core] = checkpoint->through;
    for (size_t i = 0; i < checkpoint->lane_count; i++) {
        const struct checkpoint_lane *lane = &checkpoint->lanes[i];
        struct fare *fare = fare_find(dispatch, lane->destination);
        if (fare && lane->journal == checkpoint->core) {
            fare->cursors[checkpoint->core] = lane->cursor;
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
    bool gone =
        report->gone && running &&
        report->lifts == flow_lifts((struct flow_shared *)(void *)destination->state->words);
    if (gone && dispatch->config.gone) {
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

void letters_step(struct dispatch *dispatch, uint64_t now_ns)
{
    if (dispatch->early) {
        take_early(dispatch);
    }
    if (dispatch->commit_due_ns != 0 &&
        (now_ns >= dispatch->commit_due_ns ||
         (dispatch->letter_count >= LETTERS_PER_COMMIT / 8 && !dispatch->store_failing))) {
        (void)commit(dispatch);
    }
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
