/* dispatch.c - steps and life cycle. What the steps do: dispatch_*.c. */
#include "hub/deliveries/dispatch.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/time.h"
#include "hub/deliveries/dispatch_private.h"

#include <stdlib.h>

/* ---- the wall clock */

#define CLOCK_SET_MS 100 /* less is what lay between reading the one clock and the other */

static int64_t wall_offset_ms(const struct ring *ring)
{
    return (ring_wall_ns(ring) - (int64_t)ring_now_ns(ring)) / (int64_t)NS_PER_MS;
}

/* So a due time is told as the same, however often one asks. */
static void wall_follow(struct dispatch *dispatch)
{
    int64_t offset_ms = wall_offset_ms(dispatch->config.ring);
    int64_t set_ms = offset_ms - dispatch->wall_offset_ms;
    if (set_ms > CLOCK_SET_MS || set_ms < -CLOCK_SET_MS) {
        dispatch->wall_offset_ms = offset_ms;
    }
}

int64_t dispatch_wall_ms(const struct dispatch *dispatch, int64_t due_ms)
{
    return due_ms - dispatch->config.clock_ms + dispatch->wall_offset_ms;
}

/* ---- steps */

bool dispatch_step(struct dispatch *dispatch)
{
    uint64_t now_ns = ring_now_ns(dispatch->config.ring);
    wall_follow(dispatch);
    letters_step(dispatch, now_ns);
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
    if (dispatch->started && now_ns >= dispatch->dead_at_ns) {
        dead_sweep(dispatch);
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
    if (dispatch->started && dispatch->dead_at_ns < next_ns) {
        next_ns = dispatch->dead_at_ns;
    }
    if (dispatch->commit_due_ns != 0 && dispatch->commit_due_ns < next_ns) {
        next_ns = dispatch->commit_due_ns;
    }
    return next_ns;
}

int64_t dispatch_clock_ms(const struct dispatch *dispatch)
{
    return dispatch_now_ms(dispatch);
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
    dispatch->wall_offset_ms = wall_offset_ms(config->ring);
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
        free(dispatch->fares[i].cursors);
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
