/* dispatch_fares.c - what is known of each destination: a table by number, and how it fares. */
#include "base/assert.h"
#include "hub/deliveries/dispatch_private.h"

#include <stdlib.h>

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
    uint64_t *cursors = calloc(dispatch->config.cores, sizeof *cursors);
    if (!cores || !cursors) {
        free(cores);
        free(cursors);
        return NULL;
    }
    fare = &dispatch->fares[fare_slot(dispatch, number)];
    *fare = (struct fare){
        .number = number, .next_due_ms = INT64_MAX, .cores = cores, .cursors = cursors};
    dispatch->fare_count++;
    return fare;
}

struct fare *fare_of(struct dispatch *dispatch, uint64_t number)
{
    return route_table_destination(dispatch->config.routes, number) ? fare_take(dispatch, number)
                                                                    : fare_find(dispatch, number);
}

/* Those behind it move up, so that each is still found from its own place on. */
void fare_drop(struct dispatch *dispatch, struct fare *fare)
{
    size_t mask = dispatch->fares_size - 1;
    size_t at = (size_t)(fare - dispatch->fares);
    bk_assert(fare->due_at == 0);
    free(fare->cores);
    free(fare->cursors);
    *fare = (struct fare){0};
    dispatch->fare_count--;
    for (at = (at + 1) & mask; dispatch->fares[at].number != 0; at = (at + 1) & mask) {
        struct fare moved = dispatch->fares[at];
        dispatch->fares[at] = (struct fare){0};
        dispatch->fares[fare_slot(dispatch, moved.number)] = moved;
    }
}

void dispatch_changed(struct dispatch *dispatch, uint64_t destination)
{
    struct fare *fare = fare_find(dispatch, destination);
    if (fare) {
        fare->not_before_ns = 0;
        due_changed(dispatch, fare, 0);
    }
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
