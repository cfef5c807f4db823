#include "control/control_private.h"

#include "base/log.h"
#include "base/time.h"
#include "hub/calls/web_call.h"
#include "hub/deliveries/deliveries.h"
#include "hub/operations/provider_work.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define CONTROL_RING_ENTRIES 256U

static const char starting[] = "starting";

static bool destination_status(void *context, uint64_t number, struct buf *json)
{
    struct control *control = context;
    const struct destination *destination = route_table_destination(control->routes, number);
    if (!control->dispatch || !destination) {
        return false;
    }
    destination_status_json(control->dispatch, destination, json);
    return true;
}

enum bk_err open_failed(char ret_why[CONTROL_WHY_BYTES], enum bk_err err, const char *what,
                        const char *why)
{
    snprintf(ret_why, CONTROL_WHY_BYTES, "%.60s: %.900s", what, why);
    return err;
}

static void seen(const struct journal_seen *record, void *context)
{
    struct control *control = context;
    dedupe_recover(control->dedupe, record->fingerprint, record->position,
                   record->received_ns / NS_PER_MS);
}

static enum bk_err open_state(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    struct hub_config hub_config = {
        .data_directory = control->config.data_directory,
        .public_url = control->config.public_url,
        .changed = feed_source,
        .destination_changed = feed_destination,
        .route_changed = feed_route,
        .destination_status = destination_status,
        .context = control,
        .now_ns = ring_wall_ns(control->ring),
    };
    char why[HUB_WHY_BYTES];
    enum bk_err err = hub_open(&hub_config, &control->hub, why);
    if (err != BK_OK) {
        return open_failed(ret_why, err, "state", why[0] ? why : bk_err_text(err));
    }
    hub_watch(control->hub, snapshot_source, control);
    err = keys_open(control->hub, control->ring, control->config.public_url, control->config.trust,
                    &control->keys);
    if (err != BK_OK) {
        return open_failed(ret_why, err, "keys", bk_err_text(err));
    }
    hub_issue_by(control->hub, keys_token, control->keys);
    uint64_t fed, failed;
    if (source_table_reserve(control->sources, hub_sources_most(control->hub)) != BK_OK) {
        return open_failed(ret_why, BK_NO_MEMORY, "state", "no memory for the event sources");
    }
    err = hub_feed_all(control->hub, &fed, &failed);
    if (err != BK_OK) {
        return open_failed(ret_why, err, "state", bk_err_text(err));
    }
    if (failed) {
        log_event(LOG_WARN, "objects that cannot be used", LOG_I("count", failed));
    }
    return BK_OK;
}

static enum bk_err open_journals(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    char directory[4096];
    snprintf(directory, sizeof directory, "%s/journal", control->config.data_directory);
    struct catalog_config catalog_config = {
        .directory = directory,
        .journals = (uint16_t)control->config.threads,
        .segment_bytes = control->config.segment_bytes,
        .retain_bytes = control->config.retain_bytes,
        .retain_ns = control->config.retain_ns,
        .accept_damage = control->config.accept_journal_damage,
        .dedupe_window_ns = control->window_max_ns > SOURCE_DEDUPE_WINDOW_DEFAULT_NS
                                ? control->window_max_ns
                                : SOURCE_DEDUPE_WINDOW_DEFAULT_NS,
    };
    enum bk_err err = catalog_open(&catalog_config, ring_wall_ns(control->ring), seen, control,
                                   &control->report, &control->catalog);
    if (err != BK_OK) {
        char text[CONTROL_WHY_BYTES];
        const char *problem = control->report.problem;
        if (err == BK_NO_SPACE) {
            snprintf(text, sizeof text, "%.300s; free some there, or keep less with --retain-bytes",
                     problem);
            problem = text;
        }
        return open_failed(ret_why, err, "journal", problem[0] ? problem : bk_err_text(err));
    }
    if (control->report.segments == 0 && !hub_is_new(control->hub)) {
        log_event(LOG_WARN, "journal_empty", LOG_Z("directory", directory),
                  LOG_Z("effect", "the state is of before, but no event is; if it was not moved "
                                  "away on purpose, stop, and put it back"));
    }
    dedupe_begin(control->dedupe, moment_of(control->ring, ring_wall_ns(control->ring)));
    catalog_start(control->catalog, control->ring);
    return BK_OK;
}

/* A destination says that it is gone (410). */
static void destination_gone(void *context, uint64_t destination)
{
    struct control *control = context;
    struct hub_target_name name = {.name = ""};
    enum bk_err err = hub_destination_pause(control->hub, destination, DESTINATION_PAUSED_BY_GONE,
                                            ring_wall_ns(control->ring));
    if (err == BK_NOT_FOUND || hub_target_name(control->hub, destination, &name) != BK_OK) {
        return; /* it was deleted meanwhile */
    }
    log_event(LOG_WARN, "a destination says it is gone", LOG_Z("destination", name.name),
              LOG_Z("canvas", name.canvas),
              LOG_Z("effect", err == BK_OK ? "paused; becket resume ends it"
                                           : "it could not be paused: the store failed"));
}

/* Does anybody still want something of this segment? Links before destinations: entries go to
 * those. */
static enum catalog_owed is_owed(void *context, uint16_t journal, uint64_t through)
{
    const struct control *control = context;
    if (control->entries && entries_owed(control->entries, journal, through)) {
        return CATALOG_OWED;
    }
    return dispatch_owed(control->dispatch, journal, through);
}

static enum bk_err open_dispatch(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    int64_t wall_ns = ring_wall_ns(control->ring);
    enum bk_err err = dispatch_clock_begin(control->hub, wall_ns / NS_PER_MS,
                                           ring_now_ns(control->ring), &control->clock_ms);
    int64_t clock_ns = control->clock_ms * NS_PER_MS + (int64_t)ring_now_ns(control->ring);
    struct clock_sets sets =
        hub_clock_begin(control->hub, clock_ns > wall_ns + NS_PER_SECOND ? clock_ns : 0, wall_ns);
    route_table_clock_was_set(control->routes, sets);
    struct dispatch_config config = {.hub = control->hub,
                                     .catalog = control->catalog,
                                     .routes = control->routes,
                                     .ring = control->ring,
                                     .cores = (uint16_t)control->config.threads,
                                     .clock_ms = control->clock_ms,
                                     .gone = destination_gone,
                                     .context = control};
    if (err == BK_OK) {
        err = dispatch_open(&config, &control->dispatch);
    }
    if (err == BK_OK) {
        err = dispatch_recover(control->dispatch);
    }
    if (err == BK_OK) {
        catalog_guard(control->catalog, is_owed, control);
    }
    return err == BK_OK ? BK_OK : open_failed(ret_why, err, "deliveries", bk_err_text(err));
}

/* All cores run: the control thread may send them letters. */
static void start_dispatch(struct control *control)
{
    struct ring *rings[CORES_MAX];
    for (unsigned i = 0; i < control->core_count; i++) {
        rings[i] = control->cores[i].ring;
    }
    dispatch_started(control->dispatch, control->delivers, rings);
}

static enum bk_err open_outbound(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    const struct core *first = &control->cores[0];
    start_dispatch(control);
    enum bk_err err = outbound_open(control->ring, first->ring, reactor_client(first->reactor),
                                    &control->outbound);
    return err == BK_OK ? BK_OK : open_failed(ret_why, err, "start", bk_err_text(err));
}

static int64_t wall_now(void *context)
{
    const struct control *control = context;
    return ring_wall_ns(control->ring);
}

static enum bk_err open_operations(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    control->provider_calls = (struct provider_calls){
        .outbound = control->outbound, .now_ns = wall_now, .context = control};
    struct operations_config config = {.hub = control->hub,
                                       .send = provider_calls_send,
                                       .send_context = &control->provider_calls,
                                       .load = provider_work_load,
                                       .logged_in = provider_work_logged_in,
                                       .settle = provider_work_settle,
                                       .context = control->hub};
    enum bk_err err = operations_open(&config, &control->operations);
    if (err != BK_OK) {
        return open_failed(ret_why, err, "start", bk_err_text(err));
    }
    control->provider_calls.operations = control->operations;
    control->api.operations = control->operations;
    control->api.web_call = web_call_start;
    control->api.outbound = control->outbound;
    if (operations_check_address(control->operations) != BK_OK) {
        log_event(LOG_WARN, "hooks at providers could not be looked at for another public address");
    }
    return BK_OK;
}

static enum bk_err open_links(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    struct outbox_config outbox = {.hub = control->hub,
                                   .dispatch = control->dispatch,
                                   .routes = control->routes,
                                   .catalog = control->catalog,
                                   .control = control->ring,
                                   .ring = control->cores[0].ring,
                                   .reactor = control->cores[0].reactor};
    enum bk_err err =
        people_keeper_open(control->hub, control->outbound, web_call_start, &control->keeper);
    if (err == BK_OK) {
        err = entries_open(control->hub, control->catalog, control->feeds, control->core_count,
                           &control->entries);
    }
    if (err == BK_OK) {
        err = outbox_open(&outbox, &control->outbox);
    }
    if (err == BK_OK) {
        err = reseal_open(control->hub, &control->reseal);
        control->api.reseal = control->reseal;
    }
    return err == BK_OK ? BK_OK : open_failed(ret_why, err, "start", bk_err_text(err));
}

static bool is_ready(void *context, const char **ret_reason)
{
    struct control *control = context;
    *ret_reason = ready_why_not(control, ring_now_ns(control->ring), control->why_text);
    return *ret_reason == NULL;
}

static enum bk_err open_ring(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    struct ring_config config = {.entries = CONTROL_RING_ENTRIES, .handles_max = 64, .cpu = -1};
    const char *why = "";
    enum bk_err err = ring_open(&config, &control->ring, &why);
    return err == BK_OK ? BK_OK : open_failed(ret_why, err, "start", why);
}

static enum bk_err open_guard(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    struct guard_config config = {
        .control = control->ring,
        .drain_timeout_ns = control->config.drain_timeout_ns,
        .drain_delay_ns = control->config.drain_delay_ns,
        .stopping = stop_heard,
        .drain = stop_drain_alone,
        .stop = stop_begin,
        .hang_up = reload_heard,
        .context = control,
    };
    const char *why = "";
    control->guard = guard_open(&config, &why);
    return control->guard ? BK_OK : open_failed(ret_why, BK_NO_MEMORY, "start", why);
}

static enum bk_err open_api(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    (void)ret_why;
    control->api.hub = control->hub;
    control->api.catalog = control->catalog;
    list_init(&control->api.streams);
    control->api.dispatch = control->dispatch;
    control->api.keys = control->keys;
    control->api.routes = control->routes;
    control->api.listen = control->config.admin_listen;
    control->api.hosts = control->config.admin_hosts;
    control->api.host_count = control->config.admin_host_count;
    control->api.public_url = control->config.public_url;
    control->api.admin_url = control->config.admin_url;
    control->api.admin_tls = control->config.admin_tls;
    control->api.context = control;
    control->api.metrics = snapshot_take;
    control->api.ready = is_ready;
    admin_init(&control->admin, &control->api, control->ring, &control->admin_ring);
    control->admin.metrics = snapshot_print_alone;
    control->admin.context = control;
    return BK_OK;
}

static enum bk_err open_tables(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    control->start_wall_ns = ring_wall_ns(control->ring);
    bool opened = source_table_open(&control->sources) == BK_OK &&
                  route_table_open(&control->routes) == BK_OK &&
                  dedupe_open(control->config.dedupe_bytes_max, &control->dedupe) == BK_OK;
    return opened ? BK_OK : open_failed(ret_why, BK_NO_MEMORY, "start", "out of memory");
}

/* In this order, as each needs those before it. */
static enum bk_err (*const steps[])(struct control *control, char ret_why[CONTROL_WHY_BYTES]) = {
    open_ring, open_guard,   open_tables, open_state,    open_journals,   open_dispatch,
    open_api,  sockets_open, cores_open,  open_outbound, open_operations, open_links,
};

enum bk_err control_open(const struct control_config *config, struct control **ret_control,
                         char ret_why[CONTROL_WHY_BYTES])
{
    bk_assert(config->threads > 0 && config->threads <= CORES_MAX);
    struct control *control = calloc(1, sizeof *control);
    if (!control) {
        return open_failed(ret_why, BK_NO_MEMORY, "start", "out of memory");
    }
    control->config = *config;
    pthread_mutex_init(&control->lock, NULL);
    pthread_cond_init(&control->opened, NULL);
    atomic_init(&control->not_ready, starting);
    signal(SIGPIPE, SIG_IGN);
    *ret_control = control;
    for (size_t i = 0; i < bk_array_length(steps); i++) {
        enum bk_err err = steps[i](control, ret_why);
        if (err != BK_OK) {
            /* The process ends: what was opened needs no orderly close, as nothing was
             * acknowledged. */
            return err;
        }
    }
    keys_start(control->keys, control->cores[0].reactor);
    const char *was = starting; /* else it is to stop already */
    (void)atomic_compare_exchange_strong(&control->not_ready, &was, NULL);
    control->start_took_ns = ring_clock_ns(control->ring) - ring_now_ns(control->ring);
    return BK_OK;
}
