#include "control/control_private.h"

#include "api/stream.h"
#include "base/log.h"
#include "base/time.h"
#include "control/certificates.h"
#include "hub/calls/outbound.h"
#include "hub/resources/token_use.h"

#include <stdlib.h>

int64_t control_wall_ns(const struct control *control)
{
    return ring_wall_ns(control->ring);
}

uint64_t control_start_ms(const struct control *control)
{
    return control->start_took_ns / (uint64_t)NS_PER_MS;
}

struct hub *control_hub(struct control *control)
{
    return control->hub;
}

const char *control_ring_features(const struct control *control)
{
    return ring_features(control->cores[0].ring);
}

const struct journal_report *control_report(const struct control *control)
{
    return &control->report;
}

/* ---- what is due */

static uint64_t sooner(uint64_t one_ns, uint64_t other_ns)
{
    return one_ns < other_ns ? one_ns : other_ns;
}

static int64_t earlier(int64_t one_ns, int64_t other_ns)
{
    return one_ns < other_ns ? one_ns : other_ns;
}

static int64_t operations_step(struct control *control, int64_t now_ns)
{
    if (hub_take_issuer_wanted(control->hub)) {
        keys_want_issuer(control->keys);
    }
    if (hub_take_work(control->hub)) {
        operations_wake(control->operations);
    }
    operations_run(control->operations, now_ns);
    return operations_next_ns(control->operations);
}

static int64_t certificates_step(struct control *control, int64_t now_ns)
{
    int64_t seconds = certificates_watch(control->config.tls, &control->certificates_seconds,
                                         now_ns / NS_PER_SECOND);
    return seconds > INT64_MAX / NS_PER_SECOND ? INT64_MAX : seconds * NS_PER_SECOND;
}

#define CLOCK_SET_NS NS_PER_SECOND /* further apart than clocks that are disciplined drift */

/* Who waits for a time of day would wait for hours when the clock was set back by so much: all look
 * again at once. What they have stored keeps its time. */
static void clock_watch(struct control *control, int64_t now_ns)
{
    int64_t offset_ns = now_ns - (int64_t)ring_now_ns(control->ring);
    int64_t set_ns = offset_ns - control->wall_offset_ns;
    bool first = control->wall_offset_ns == 0;
    control->wall_offset_ns = offset_ns;
    if (first || (set_ns < CLOCK_SET_NS && set_ns > -CLOCK_SET_NS)) {
        return;
    }
    log_event(LOG_INFO, "the wall clock was set", LOG_I("bySeconds", set_ns / NS_PER_SECOND));
    struct clock_sets sets = hub_clock_was_set(control->hub, now_ns - set_ns, now_ns);
    route_table_clock_was_set(control->routes, sets);
    operations_clock_was_set(control->operations, now_ns - set_ns, now_ns);
    people_keeper_clock_was_set(control->keeper, now_ns - set_ns, now_ns);
    control->certificates_seconds = 0;
}

/* What counts by the wall clock, for it outlives the process: entries, tokens, operations. Gives
 * when to come again. */
static uint64_t timed_step(struct control *control)
{
    if (control->draining) {
        return UINT64_MAX;
    }
    int64_t now_ns = ring_wall_ns(control->ring);
    clock_watch(control, now_ns);
    int64_t next_ns = entries_run(control->entries, now_ns);
    next_ns = earlier(next_ns, outbox_run(control->outbox, now_ns));
    next_ns = earlier(next_ns, people_keeper_run(control->keeper, now_ns));
    next_ns = earlier(next_ns, token_uses_run(control->hub, now_ns));
    next_ns = earlier(next_ns, reseal_run(control->reseal, now_ns));
    next_ns = earlier(next_ns, operations_step(control, now_ns));
    next_ns = earlier(next_ns, certificates_step(control, now_ns));
    if (next_ns == INT64_MAX) {
        return UINT64_MAX;
    }
    return ring_now_ns(control->ring) + (next_ns > now_ns ? (uint64_t)(next_ns - now_ns) : 0);
}

/* ---- the watchdog: alive is who turns, on every thread */

static void core_pulse(struct core *core)
{
    (void)core; /* to get here is all */
}

static void pulse_back(struct errand *errand)
{
    errand->control->pulses_out--;
}

static void pulse_step(struct control *control)
{
    uint64_t now_ns = ring_now_ns(control->ring);
    if (!control->config.watchdog_ns || now_ns < control->pulse_ns) {
        return;
    }
    control->pulse_ns = now_ns + (uint64_t)control->config.watchdog_ns / 2;
    if (control->pulses_out > 0) {
        return; /* a reactor hangs */
    }
    control->config.alive(control->config.context);
    control->pulses_out = control->core_count;
    for (unsigned i = 0; i < control->core_count; i++) {
        errand_send(&control->cores[i].pulse, &control->cores[i], core_pulse, pulse_back);
    }
}

/* ---- one turn */

/* No deadline while there is nothing to wait for: an idle server does not wake up. */
static uint64_t segments_next_ns(struct control *control)
{
    if (control->draining) {
        const struct guard_stop *stop = atomic_load(&control->stop);
        return atomic_load(&control->drain_sent) ? stop->deadline_ns : stop->drain_ns;
    }
    struct catalog_stats stats;
    catalog_stats(control->catalog, &stats);
    if (stats.maker_err != BK_OK) {
        return ring_now_ns(control->ring) + (uint64_t)NS_PER_SECOND;
    }
    return UINT64_MAX;
}

/* Who looks after the disk shall know before events are refused. */
static void watch_disk(struct control *control)
{
    struct catalog_stats stats;
    catalog_stats(control->catalog, &stats);
    const char *trouble = stats.maker_err == BK_OK         ? NULL
                          : stats.maker_err == BK_NO_SPACE ? "disk full"
                                                           : "the journal's disk fails";
    if (control->draining || trouble == control->disk_trouble) {
        return;
    }
    control->disk_trouble = trouble;
    uint64_t room = ready_room_bytes(control);
    log_event(trouble ? LOG_ERROR : LOG_INFO, trouble ? "no new segment" : "segments again",
              LOG_Z("why", trouble ? trouble : "the disk works"),
              LOG_Z("effect", trouble ? "events are refused when the last one is full" : "none"),
              LOG_I("roomBytes", room));
}

/* A bounded step of each. True: somebody has more to do at once. */
static bool work_step(struct control *control)
{
    bool more = admin_step(&control->admin);
    more |= catalog_step(control->catalog, ring_wall_ns(control->ring));
    more |= dispatch_step(control->dispatch);
    more |= api_streams_step(&control->api, ring_now_ns(control->ring), control->draining);
    if (!more) {
        watch_disk(control);
    }
    grace_step(control);
    return more;
}

static uint64_t work_next_ns(struct control *control)
{
    uint64_t next_ns = sooner(segments_next_ns(control), catalog_next_ns(control->catalog));
    if (control->config.watchdog_ns) {
        next_ns = sooner(next_ns, control->pulse_ns);
    }
    next_ns = sooner(next_ns, admin_next_ns(&control->admin));
    next_ns = sooner(next_ns, dispatch_next_ns(control->dispatch));
    return sooner(next_ns, api_streams_next_ns(&control->api, ring_now_ns(control->ring)));
}

/* Until the mail comes. Meanwhile the control thread is not at any step (admin.h). */
static void wait_for_mail(struct control *control, uint64_t until_ns)
{
    atomic_store_explicit(&control->admin.busy_since_ns, 0, memory_order_relaxed);
    ring_turn(control->ring, until_ns);
    atomic_store_explicit(&control->admin.busy_since_ns, ring_now_ns(control->ring),
                          memory_order_relaxed);
}

void control_run(struct control *control)
{
    atomic_store(&control->running, true);
    /* Also the guard's letter comes, if it was the guard that stopped them. */
    while (control->stopped_count < control->core_count || !control->draining) {
        bool more = work_step(control);
        uint64_t timed_ns = timed_step(control);
        wait_for_mail(control, more ? 0 : sooner(timed_ns, work_next_ns(control)));
        pulse_step(control);
        if (control->draining && stop_step(control)) {
            dispatch_flush(control->dispatch);
            return;
        }
    }
    dispatch_flush(control->dispatch);
    control->done = true;
}

void control_close(struct control *control)
{
    if (!control->done) {
        hub_close(control->hub); /* the reactors still run; the process ends now */
        return;
    }
    cores_close(control);
    admin_fini(&control->admin);
    api_fini(&control->api);
    operations_close(control->operations);
    people_keeper_close(control->keeper);
    reseal_close(control->reseal);
    entries_close(control->entries);
    outbox_close(control->outbox);
    if (outbound_idle(control->outbound)) { /* else a letter was lost with its core: leave it */
        outbound_close(control->outbound);
    }
    dispatch_close(control->dispatch);
    catalog_close(control->catalog);
    hub_close(control->hub);
    grace_fini(control);
    keys_close(control->keys);
    source_table_close(control->sources);
    route_table_close(control->routes);
    dedupe_close(control->dedupe);
    ring_close(control->ring);
    free(control);
}
