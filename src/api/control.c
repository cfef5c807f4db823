#include "api/control.h"

#include "api/admin.h"
#include "api/guard.h"
#include "api/keys.h"
#include "api/stream.h"
#include "base/log.h"
#include "base/time.h"
#include "hub/calls/outbound.h"
#include "hub/calls/web_call.h"
#include "hub/deliveries/deliveries.h"
#include "hub/deliveries/dispatch.h"
#include "hub/links/entries.h"
#include "hub/links/outbox.h"
#include "hub/operations/provider_calls.h"
#include "hub/operations/provider_work.h"
#include "hub/people/people_keeper.h"
#include "net/dns.h"
#include "ring/file.h"
#include "ring/socket.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CONTROL_RING_ENTRIES 256U
#define REACTOR_STACK_BYTES  (1U << 20)
#define ADDRESS_WAIT_NS      (800 * (uint64_t)NS_PER_MS)
#define ADDRESS_STEP_NS      (20 * (uint64_t)NS_PER_MS)
/* A webhook waits longer for a flush, but who sends it here should know by then. */
#define FLUSH_PATIENCE_NS (5 * (uint64_t)NS_PER_SECOND)
#define WHY_BYTES         80U

/* A letter to one reactor and back, for everything that has to happen on its thread. */
struct errand {
    struct ring_mail mail;
    struct control *control;
    struct core *core;
    void (*there)(struct core *core);    /* on the reactor's thread */
    void (*back)(struct errand *errand); /* on the control thread */
    bool settling;
    struct grace *grace;
    struct ingress_settled settled; /* on the reactor */
};

struct core {
    struct control *control;
    struct reactor *reactor;
    struct ring *ring; /* the reactor's */
    pthread_t thread;
    bool running;
    struct errand drain, exit, growth, stopped, pulse, dns;
    struct ring_mail guard_drain; /* the same as `drain`, when the control thread stands */
    atomic_bool growth_out;       /* its letter is on its way to the control thread */
    bool dns_out, dns_again; /* a reload of the resolver is on its way; and one more is wanted */
    int sockets[CORES_MAX];
    char why_text[WHY_BYTES]; /* why it is not ready, for who asks on this core */
};

/* What was replaced, until every reactor has passed a turn since. */
struct grace {
    struct source_garbage *sources;
    struct route_garbage *routes;
    struct key_entry *keys;
    struct dedupe_garbage *dedupe;
    unsigned open;
    struct errand errands[];
};

static const char starting[] = "starting";

struct control {
    struct control_config config;
    struct hub *hub;
    struct catalog *catalog;
    struct journal_report report;
    struct source_table *sources;
    struct route_table *routes;
    struct dispatch *dispatch;
    struct outbound *outbound;     /* calls to other servers, by the first core */
    struct operations *operations; /* work at providers */
    struct provider_calls provider_calls;
    struct link_feed *feeds[CORES_MAX];  /* of the cores: events that may become entries */
    struct entries *entries;             /* made of events of links */
    struct outbox *outbox;               /* entries on their way to destinations */
    struct people_keeper *keeper;        /* renews and revokes tokens */
    struct deliver *delivers[CORES_MAX]; /* set by the reactors as they open */
    int64_t clock_ms; /* wall minus monotonic clock at the start: what retries are due by */
    struct dedupe *dedupe;
    struct keys *keys;
    struct ring *ring;
    struct api api;
    struct admin admin;
    struct grace *grace;
    int64_t window_max_ns;
    bool growth_wanted;
    bool draining;
    unsigned stopped_count;
    bool done;
    struct guard *guard;
    const struct guard_stop *_Atomic stop; /* the guard's; NULL = nobody said so */
    atomic_bool running;                   /* all cores are there */
    atomic_bool drain_sent;                /* by the control thread, or the guard */
    uint64_t address_until_ns;             /* start-up only */
    uint64_t pulse_ns;                     /* the next one */
    unsigned pulses_out;
    char why_text[WHY_BYTES]; /* why it is not ready, for the control thread */
    int64_t start_wall_ns;
    uint64_t start_took_ns;
    const char *_Atomic not_ready;
    const char *disk_trouble; /* as it was logged */
    /* start-up only */
    pthread_mutex_t lock;
    pthread_cond_t opened;
    unsigned opened_count;
    enum bk_err open_err;
    const char *open_why;
    char open_why_text[CONTROL_WHY_BYTES];
    struct ring *admin_ring;
    struct ingress *peers[CORES_MAX];
    unsigned core_count;
    struct core cores[CORES_MAX];
};

/* ---- errands */

static void errand_back(struct ring_mail *mail)
{
    struct errand *errand = bk_container_of(mail, struct errand, mail);
    errand->back(errand);
}

static void errand_there(struct ring_mail *mail)
{
    struct errand *errand = bk_container_of(mail, struct errand, mail);
    if (errand->there) {
        errand->there(errand->core);
    }
    if (errand->back) {
        mail->run = errand_back;
        ring_post(errand->core->ring, errand->control->ring, mail);
    }
}

static void errand_settled(struct ingress_settled *settled)
{
    struct errand *errand = bk_container_of(settled, struct errand, settled);
    errand->mail.run = errand_back;
    ring_post(errand->core->ring, errand->control->ring, &errand->mail);
}

/* The same, but it goes back when no exchange from before waits for the disk any more. */
static void errand_there_settling(struct ring_mail *mail)
{
    struct errand *errand = bk_container_of(mail, struct errand, mail);
    errand->there(errand->core);
    reactor_when_settled(errand->core->reactor, &errand->settled, errand_settled);
}

/* From the control thread to the reactor, and back. */
static void errand_send(struct errand *errand, struct core *core, void (*there)(struct core *),
                        void (*back)(struct errand *))
{
    errand->control = core->control;
    errand->core = core;
    errand->there = there;
    errand->back = back;
    errand->mail.run = errand->settling ? errand_there_settling : errand_there;
    ring_post(core->control->ring, core->ring, &errand->mail);
}

/* From the reactor to the control thread only. */
static void errand_report(struct errand *errand, struct core *core, void (*back)(struct errand *))
{
    errand->control = core->control;
    errand->core = core;
    errand->back = back;
    errand->mail.run = errand_back;
    ring_post(core->ring, core->control->ring, &errand->mail);
}

/* ---- grace periods */

static void grace_begin(struct control *control, struct dedupe_garbage *dedupe,
                        void (*there)(struct core *));

/* Every grace period also ends what goes on with credentials that were replaced. */
static void core_forget(struct core *core)
{
    reactor_forget(core->reactor);
}

static void core_resume(struct core *core)
{
    reactor_resume(core->reactor);
    core_forget(core);
}

static void grow(struct control *control)
{
    control->growth_wanted = false;
    struct dedupe_garbage *garbage = NULL;
    enum bk_err err = BK_OK;
    /* Several cores ask at once: the first one's growth serves them all. */
    if (dedupe_wants_growth(control->dedupe)) {
        err = dedupe_grow(control->dedupe, ring_wall_ns(control->ring) / NS_PER_MS,
                          control->window_max_ns / NS_PER_MS, &garbage);
    }
    if (err != BK_OK) {
        log_event(LOG_WARN, "no memory for the dedupe table",
                  LOG_Z("effect", "new deliveries may have to wait"));
    }
    grace_begin(control, garbage, core_resume);
}

static void grace_end(struct grace *grace)
{
    key_cache_free(grace->keys);
    if (grace->sources) {
        source_table_free(grace->sources);
    }
    if (grace->routes) {
        route_table_free(grace->routes);
    }
    if (grace->dedupe) {
        dedupe_free(grace->dedupe);
    }
    free(grace);
}

static void grace_errand_back(struct errand *errand)
{
    struct control *control = errand->control;
    struct grace *grace = errand->grace;
    bk_assert(control->grace == grace && grace->open > 0);
    if (--grace->open > 0) {
        return;
    }
    control->grace = NULL;
    grace_end(grace);
    if (control->growth_wanted) {
        grow(control);
    }
}

/* One at a time: what is replaced meanwhile is collected by the next one. */
static void grace_begin(struct control *control, struct dedupe_garbage *dedupe,
                        void (*there)(struct core *))
{
    bk_assert(!control->grace);
    struct source_garbage *sources = source_table_retired(control->sources);
    struct route_garbage *routes = route_table_retired(control->routes);
    struct key_entry *keys = key_cache_retired(keys_cache(control->keys));
    if (!sources && !routes && !keys && !dedupe && !there) {
        return;
    }
    struct grace *grace = calloc(1, sizeof *grace + control->core_count * sizeof(struct errand));
    bk_assert(grace);
    grace->sources = sources;
    grace->routes = routes;
    grace->keys = keys;
    grace->dedupe = dedupe;
    grace->open = control->core_count;
    control->grace = grace;
    for (unsigned i = 0; i < control->core_count; i++) {
        grace->errands[i].grace = grace;
        grace->errands[i].settling = dedupe != NULL; /* exchanges hold slots while they wait */
        errand_send(&grace->errands[i], &control->cores[i], there ? there : core_forget,
                    grace_errand_back);
    }
}

/* ---- what reactors ask for (called on their threads) */

/* For how long the oldest flush of all cores has been under way; 0: there is none. Any thread. */
static uint64_t flush_ns(const struct control *control, uint64_t now_ns)
{
    uint64_t longest_ns = 0;
    for (unsigned i = 0; i < control->core_count; i++) {
        uint64_t since_ns = journal_writing_since_ns(reactor_journal(control->cores[i].reactor));
        uint64_t lasts_ns = since_ns && now_ns > since_ns ? now_ns - since_ns : 0;
        longest_ns = lasts_ns > longest_ns ? lasts_ns : longest_ns;
    }
    return longest_ns;
}

/* Of the core that has least. */
static uint64_t room_bytes(const struct control *control)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < control->core_count; i++) {
        uint64_t bytes = journal_room_bytes(reactor_journal(control->cores[i].reactor));
        least = bytes < least ? bytes : least;
    }
    return least;
}

/* Why the server takes no webhooks now; NULL: it does. Any thread, also while the control thread
 * stands still. */
static const char *why_not_ready(const struct control *control, uint64_t now_ns,
                                 char text[WHY_BYTES])
{
    const char *why = atomic_load(&control->not_ready); /* NULL: all cores are counted */
    if (why) {
        return why;
    }
    for (unsigned i = 0; i < control->core_count; i++) {
        enum bk_err err = journal_refuses(reactor_journal(control->cores[i].reactor), now_ns);
        if (err != BK_OK) {
            return err == BK_NO_SPACE ? "disk full: there is no room for another event"
                                      : "the journal's disk fails";
        }
    }
    uint64_t longest_ns = flush_ns(control, now_ns);
    if (longest_ns >= FLUSH_PATIENCE_NS) {
        snprintf(text, WHY_BYTES, "the journal has not flushed for %u s",
                 (unsigned)(longest_ns / NS_PER_SECOND));
        return text;
    }
    uint64_t busy_ns = admin_busy_ns(&control->admin, now_ns);
    if (busy_ns >= ADMIN_PATIENCE_NS) {
        snprintf(text, WHY_BYTES, "the disk has not answered for %u s",
                 (unsigned)(busy_ns / NS_PER_SECOND));
        return text;
    }
    return NULL;
}

static bool is_ready(void *context, const char **ret_why)
{
    struct core *core = context;
    *ret_why = why_not_ready(core->control, ring_now_ns(core->ring), core->why_text);
    return *ret_why == NULL;
}

static void growth_arrived(struct errand *errand)
{
    struct control *control = errand->control;
    atomic_store(&errand->core->growth_out, false);
    if (control->grace) {
        control->growth_wanted = true;
    } else if (!control->draining) {
        grow(control);
    }
}

static void growth_asked(void *context)
{
    struct core *core = context;
    /* A resume that was sent before the letter arrived (new keys, another core's growth) makes the
     * reactor ask again: the one on its way does for both. */
    if (!atomic_exchange(&core->growth_out, true)) {
        errand_report(&core->growth, core, growth_arrived);
    }
}

/* A secret that a provider brought: here and back again. */
static void learn_returned(struct ring_mail *mail)
{
    struct learn_request *request = bk_container_of(mail, struct learn_request, mail);
    request->done(request);
}

static void learn_arrived(struct ring_mail *mail)
{
    struct learn_request *request = bk_container_of(mail, struct learn_request, mail);
    struct control *control = request->control;
    request->err =
        hub_learn(control->hub, request->source, slice_of(request->secret, request->secret_bytes),
                  ring_wall_ns(control->ring));
    mail->run = learn_returned;
    ring_post(control->ring, request->home, mail);
}

static void learn_asked(void *context, struct learn_request *request)
{
    struct core *core = context;
    request->control = core->control;
    request->mail.run = learn_arrived;
    ring_post(core->ring, core->control->ring, &request->mail);
}

static void key_wanted(void *context, const struct key_want *want)
{
    struct core *core = context;
    keys_want(core->control->keys, core->ring, want);
}

static void confirm_wanted(void *context, struct slice url)
{
    struct core *core = context;
    keys_confirm(core->control->keys, core->ring, url);
}

static const struct oidc_documents *documents(void *context)
{
    struct core *core = context;
    const struct oidc_documents *found = keys_documents(core->control->keys);
    if (found == NULL) {
        keys_want_documents(core->control->keys, core->ring);
    }
    return found;
}

static void core_stopped(struct errand *errand)
{
    errand->control->stopped_count++;
}

static void reactor_stopped(void *context, struct reactor *reactor)
{
    (void)reactor;
    struct core *core = context;
    errand_report(&core->stopped, core, core_stopped);
}

static void reactor_opened(void *context, struct reactor *reactor, enum bk_err err, const char *why)
{
    struct core *core = context;
    struct control *control = core->control;
    pthread_mutex_lock(&control->lock);
    core->ring = reactor_ring(reactor);
    if (core == &control->cores[0]) {
        control->admin_ring = core->ring; /* on the thread that serves the first request */
    }
    if (err != BK_OK && control->open_err == BK_OK) {
        control->open_err = err;
        snprintf(control->open_why_text, sizeof control->open_why_text, "%s", why);
    }
    control->opened_count++;
    pthread_cond_signal(&control->opened);
    pthread_mutex_unlock(&control->lock);
}

/* ---- what the API asks for (control thread) */

static bool api_ready(void *context, const char **ret_reason)
{
    struct control *control = context;
    *ret_reason = why_not_ready(control, ring_now_ns(control->ring), control->why_text);
    return *ret_reason == NULL;
}

static uint64_t resident_bytes(void)
{
    char *text;
    size_t bytes;
    uint64_t pages = 0;
    if (file_read_all("/proc/self/statm", 4096, &text, &bytes) == BK_OK) {
        const char *second = strchr(text, ' ');
        pages = second ? strtoull(second, NULL, 10) : 0;
        free(text);
    }
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* source_activity_fn */
static bool activity_of(void *context, uint64_t number, struct metrics_source *ret_sum)
{
    struct control *control = context;
    bool any = false;
    for (unsigned i = 0; i < control->core_count; i++) {
        const struct metrics_source *counters =
            reactor_source_metrics(control->cores[i].reactor, number);
        if (counters) {
            metrics_sum_source(ret_sum, counters);
            any = true;
        }
    }
    return any;
}

static void metrics_of_sources(struct control *control, struct metrics_snapshot *snapshot)
{
    for (uint64_t number = 1; number < (uint64_t)COUNTER_CHUNK * COUNTER_CHUNKS; number++) {
        struct metrics_source sum = {0};
        if (!activity_of(control, number, &sum)) {
            number |= COUNTER_CHUNK - 1; /* nothing in this thousand */
            continue;
        }
        static const struct metrics_source none;
        if (memcmp(&sum, &none, sizeof sum) == 0) {
            continue; /* a million silent ones cost no look-up of their names */
        }
        struct hub_source_name name;
        char label[2 * NAME_BYTES_MAX + 2];
        if (hub_source_name(control->hub, number, &name) != BK_OK) {
            continue;
        }
        bool plain = strcmp(name.canvas, "default") == 0;
        snprintf(label, sizeof label, "%s%s%s", plain ? "" : name.canvas, plain ? "" : "/",
                 name.name);
        metrics_add_source(snapshot, slice_str(label), &sum);
    }
}

struct destination_metrics {
    struct control *control;
    struct metrics_snapshot *snapshot;
};

static void add_destination(void *context, uint64_t number, const struct dispatch_status *status)
{
    struct destination_metrics *metrics = context;
    const struct destination *destination =
        route_table_destination(metrics->control->routes, number);
    char label[2 * NAME_BYTES_MAX + 2];
    if (!destination) {
        return; /* deleted: its counters end */
    }
    bool plain = slice_equal(destination->canvas, SLICE("default"));
    snprintf(label, sizeof label, "%.*s%s%.*s", plain ? 0 : (int)destination->canvas.bytes,
             (const char *)destination->canvas.at, plain ? "" : "/", (int)destination->name.bytes,
             (const char *)destination->name.at);
    uint64_t outcomes[METRICS_DELIVERY_COUNT] = {
        [METRICS_DELIVERED] = status->outcomes[TARGET_DELIVERED],
        [METRICS_DELIVERY_FAILED] = status->outcomes[TARGET_FAILED],
        [METRICS_DEAD] = status->outcomes[TARGET_DEAD]};
    int64_t lag_ns =
        status->oldest_ns != 0 ? ring_wall_ns(metrics->control->ring) - status->oldest_ns : 0;
    metrics_add_destination(metrics->snapshot, slice_str(label), outcomes, lag_ns);
}

static void metrics_of_deliveries(struct control *control, struct metrics_snapshot *snapshot)
{
    struct destination_metrics metrics = {control, snapshot};
    dispatch_each(control->dispatch, add_destination, &metrics);
    snapshot->retries_pending = dispatch_retries(control->dispatch);
    for (unsigned i = 0; i < control->core_count; i++) {
        const struct deliver *deliver = reactor_deliver(control->cores[i].reactor);
        if (deliver) {
            snapshot->attempts_unrecorded +=
                counter_read(&deliver_stats(deliver)->attempts_unrecorded);
            const struct metrics_histogram *delivered = &deliver_stats(deliver)->delivered_ns;
            metrics_add_buckets(&snapshot->delivered_ns, delivered->buckets, METRICS_BUCKETS,
                                counter_read(&delivered->sum));
            snapshot->filters_failed += counter_read(&deliver_stats(deliver)->filters_failed);
        }
    }
}

/* What any thread can say. */
static void metrics_of_cores(struct control *control, uint64_t now_ns,
                             struct metrics_snapshot *snapshot)
{
    snapshot->journal_stalled_ns = flush_ns(control, now_ns);
    snapshot->journal_room_bytes = room_bytes(control);
    snapshot->control_stalled_ns = admin_busy_ns(&control->admin, now_ns);
    snapshot->version = control->config.version;
    snapshot->backend = "io_uring";
    snapshot->durability = control->config.durable ? "fsync" : "none";
    snapshot->start_wall_ns = control->start_wall_ns;
    snapshot->threads = control->core_count;
    snapshot->sources = source_table_count(control->sources);
    snapshot->resident_bytes = resident_bytes();
    for (unsigned i = 0; i < control->core_count; i++) {
        struct reactor *reactor = control->cores[i].reactor;
        metrics_add_reactor(snapshot, reactor_metrics(reactor));
        const struct journal_stats *stats = journal_stats(reactor_journal(reactor));
        metrics_add_buckets(&snapshot->commit_ns, stats->commit_ns_buckets,
                            bk_array_length(stats->commit_ns_buckets),
                            counter_read(&stats->commit_ns_sum));
        metrics_add_buckets(&snapshot->batch_records, stats->batch_records_buckets,
                            bk_array_length(stats->batch_records_buckets),
                            counter_read(&stats->records));
        snapshot->journal_bytes += counter_read(&stats->bytes);
        snapshot->journal_failures += counter_read(&stats->failures);
        snapshot->journal_pending_bytes += journal_pending_bytes(reactor_journal(reactor));
    }
}

static void api_metrics(void *context, struct metrics_snapshot *snapshot)
{
    struct control *control = context;
    metrics_of_cores(control, ring_now_ns(control->ring), snapshot);
    struct catalog_stats stats;
    catalog_stats(control->catalog, &stats);
    snapshot->journal_file_bytes = stats.file_bytes;
    metrics_of_sources(control, snapshot);
    metrics_of_deliveries(control, snapshot);
    snapshot->provider_calls = control->provider_calls.counts;
    snapshot->provider_call_count = control->provider_calls.count_count;
}

/* On the reactor, while the control thread stands still: without what only that one knows, the
 * names of sources and destinations first of all. */
static void metrics_alone(void *context, struct buf *out)
{
    struct control *control = context;
    struct metrics_snapshot snapshot;
    metrics_snapshot_init(&snapshot);
    snapshot.partial = true;
    metrics_of_cores(control, ring_now_ns(control->admin_ring), &snapshot);
    metrics_print(&snapshot, out);
    metrics_snapshot_fini(&snapshot);
}

static void source_changed(void *context, const struct source_change *change)
{
    struct control *control = context;
    if (!change->removed && change->dedupe_window_ns > control->window_max_ns) {
        control->window_max_ns = change->dedupe_window_ns;
    }
    if (control->dispatch) {
        dispatch_source_changed(control->dispatch, change->number);
    }
    if (source_table_change(control->sources, change) != BK_OK) {
        log_event(LOG_ERROR, "no memory for an event source", LOG_S("source", change->name));
    }
}

static void destination_changed(void *context, uint64_t number, struct destination *destination)
{
    struct control *control = context;
    if (!destination) {
        route_table_remove_destination(control->routes, number);
        dispatch_removed(control->dispatch, number);
        return;
    }
    if (route_table_put_destination(control->routes, destination) != BK_OK) {
        log_event(LOG_ERROR, "no memory for a destination", LOG_I("number", number));
    }
    if (control->dispatch) {
        dispatch_changed(control->dispatch, number);
    }
}

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

static void route_changed(void *context, const struct route_change *change)
{
    struct control *control = context;
    if (route_table_change_route(control->routes, change) != BK_OK) {
        log_event(LOG_ERROR, "no memory for a route", LOG_I("number", change->number));
    }
}

/* ---- opening */

static enum bk_err fail(char ret_why[CONTROL_WHY_BYTES], enum bk_err err, const char *what,
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
        .changed = source_changed,
        .destination_changed = destination_changed,
        .route_changed = route_changed,
        .destination_status = destination_status,
        .context = control,
        .now_ns = ring_wall_ns(control->ring),
    };
    char why[HUB_WHY_BYTES];
    enum bk_err err = hub_open(&hub_config, &control->hub, why);
    if (err != BK_OK) {
        return fail(ret_why, err, "state", why);
    }
    hub_watch(control->hub, activity_of, control);
    err = keys_open(control->hub, control->ring, control->config.public_url, control->config.trust,
                    &control->keys);
    if (err != BK_OK) {
        return fail(ret_why, err, "keys", bk_err_text(err));
    }
    hub_issue_by(control->hub, keys_token, control->keys);
    uint64_t fed, failed;
    if (source_table_reserve(control->sources, hub_sources_most(control->hub)) != BK_OK) {
        return fail(ret_why, BK_NO_MEMORY, "state", "no memory for the event sources");
    }
    err = hub_feed_all(control->hub, &fed, &failed);
    if (err != BK_OK) {
        return fail(ret_why, err, "state", bk_err_text(err));
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
        return fail(ret_why, err, "journal", problem[0] ? problem : bk_err_text(err));
    }
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

static enum bk_err open_dispatch(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    struct dispatch_config config = {.hub = control->hub,
                                     .catalog = control->catalog,
                                     .routes = control->routes,
                                     .ring = control->ring,
                                     .cores = (uint16_t)control->config.threads,
                                     .clock_ms = control->clock_ms,
                                     .gone = destination_gone,
                                     .context = control};
    enum bk_err err = dispatch_open(&config, &control->dispatch);
    if (err == BK_OK) {
        err = dispatch_recover(control->dispatch);
    }
    return err == BK_OK ? BK_OK : fail(ret_why, err, "deliveries", bk_err_text(err));
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
    enum bk_err err = outbound_open(control->ring, first->ring, reactor_client(first->reactor),
                                    &control->outbound);
    return err == BK_OK ? BK_OK : fail(ret_why, err, "start", bk_err_text(err));
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
    control->provider_calls.operations = control->operations;
    control->api.operations = control->operations;
    control->api.web_call = web_call_start;
    control->api.outbound = control->outbound;
    if (err == BK_OK && operations_check_address(control->operations) != BK_OK) {
        log_event(LOG_WARN, "hooks at providers could not be looked at for another public address");
    }
    if (err == BK_OK) {
        err = people_keeper_open(control->hub, control->outbound, web_call_start, &control->keeper);
    }
    if (err == BK_OK) {
        err = entries_open(control->hub, control->catalog, control->feeds, control->core_count,
                           &control->entries);
    }
    if (err == BK_OK) {
        struct outbox_config outbox = {.hub = control->hub,
                                       .dispatch = control->dispatch,
                                       .routes = control->routes,
                                       .catalog = control->catalog,
                                       .control = control->ring,
                                       .ring = control->cores[0].ring,
                                       .reactor = control->cores[0].reactor};
        err = outbox_open(&outbox, &control->outbox);
    }
    return err == BK_OK ? BK_OK : fail(ret_why, err, "start", bk_err_text(err));
}

/* Tokens end by the wall clock, too. */
static uint64_t entries_step(struct control *control)
{
    if (control->draining) {
        return UINT64_MAX;
    }
    int64_t now_ns = ring_wall_ns(control->ring);
    int64_t next_ns = entries_run(control->entries, now_ns);
    int64_t outbox_ns = outbox_run(control->outbox, now_ns);
    next_ns = outbox_ns < next_ns ? outbox_ns : next_ns;
    if (next_ns == INT64_MAX) {
        return UINT64_MAX;
    }
    return ring_now_ns(control->ring) + (next_ns > now_ns ? (uint64_t)(next_ns - now_ns) : 0);
}

static uint64_t keeper_step(struct control *control)
{
    if (control->draining) {
        return UINT64_MAX;
    }
    int64_t now_ns = ring_wall_ns(control->ring);
    int64_t next_ns = people_keeper_run(control->keeper, now_ns);
    if (next_ns == INT64_MAX) {
        return UINT64_MAX;
    }
    return ring_now_ns(control->ring) + (next_ns > now_ns ? (uint64_t)(next_ns - now_ns) : 0);
}

/* Operations count by the wall clock, for they outlive the process. */
static uint64_t operations_step(struct control *control)
{
    if (control->draining) {
        return UINT64_MAX;
    }
    if (hub_take_issuer_wanted(control->hub)) {
        keys_want_issuer(control->keys);
    }
    if (hub_take_work(control->hub)) {
        operations_wake(control->operations);
    }
    int64_t now_ns = ring_wall_ns(control->ring);
    operations_run(control->operations, now_ns);
    int64_t next_ns = operations_next_ns(control->operations);
    if (next_ns == INT64_MAX) {
        return UINT64_MAX;
    }
    return ring_now_ns(control->ring) + (next_ns > now_ns ? (uint64_t)(next_ns - now_ns) : 0);
}

/* What a killed server had in its rings is closed by the kernel a moment after it ended; who starts
 * it again at once finds the address still taken. False: that has lasted too long for this. */
static bool wait_for_address(struct control *control)
{
    uint64_t now_ns = ring_clock_ns(control->ring);
    if (!control->address_until_ns) {
        control->address_until_ns = now_ns + ADDRESS_WAIT_NS;
    }
    ring_turn(control->ring, now_ns + ADDRESS_STEP_NS);
    return now_ns < control->address_until_ns;
}

/* The reactors share their address (SO_REUSEPORT), and so could another server of the same user.
 * Asking for it alone first finds that out. */
static enum bk_err probe_address(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    enum bk_err err = ring_address_probe(&control->config.listen);
    while (err == BK_BUSY && wait_for_address(control)) {
        err = ring_address_probe(&control->config.listen);
    }
    if (err == BK_BUSY) {
        return fail(ret_why, err, "start",
                    "the --listen address is in use: is another server running? choose another "
                    "--listen");
    }
    return BK_OK; /* anything else is told by the reactor that listens */
}

/* One socket per core on one address, unless the caller has brought them. */
static enum bk_err open_sockets(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    struct control_sockets *sockets = control->config.sockets;
    enum bk_err err = sockets->ingress_count ? BK_OK : probe_address(control, ret_why);
    if (err != BK_OK) {
        return err;
    }
    if (!sockets->ingress_count) {
        while (err == BK_OK && sockets->ingress_count < control->config.threads) {
            err = socket_listen(&control->config.listen, true, REACTOR_BACKLOG,
                                &sockets->ingress[sockets->ingress_count]);
            sockets->ingress_count += err == BK_OK;
        }
    }
    if (err == BK_OK && !sockets->admin_count) {
        do {
            err = socket_listen(&control->config.admin_listen, false, REACTOR_BACKLOG,
                                &sockets->admin[0]);
        } while (err == BK_BUSY && wait_for_address(control));
        sockets->admin_count = err == BK_OK;
    }
    return err == BK_OK ? BK_OK : fail(ret_why, err, "start", reactor_listen_text(err));
}

/* Every socket has its core, and every core a socket: with fewer sockets than cores they share. */
static unsigned sockets_of(const struct control *control, unsigned index, int *ret_sockets)
{
    const struct control_sockets *sockets = control->config.sockets;
    unsigned count = 0;
    for (unsigned i = index % sockets->ingress_count; i < sockets->ingress_count;
         i += control->config.threads) {
        ret_sockets[count++] = sockets->ingress[i];
    }
    return count;
}

static void *core_main(void *context)
{
    struct core *core = context;
    reactor_run(core->reactor);
    return NULL;
}

static bool core_start(struct control *control, unsigned index)
{
    struct core *core = &control->cores[index];
    core->control = control;
    control->feeds[index] = calloc(1, sizeof *control->feeds[index]);
    if (!control->feeds[index]) {
        return false;
    }
    control->feeds[index]->sources = hub_linked(control->hub);
    struct reactor_config config = {
        .ingress = {.id = (uint16_t)index,
                    .sources = control->sources,
                    .dedupe = control->dedupe,
                    .peers = control->peers,
                    .peer_count = control->config.threads,
                    .ready = is_ready,
                    .growth = growth_asked,
                    .public_url = slice_str(control->config.public_url),
                    .learn = learn_asked,
                    .keys = keys_cache(control->keys),
                    .want_key = key_wanted,
                    .confirm = confirm_wanted,
                    .documents = documents,
                    .context = core},
        .peers = control->peers,
        .cpu = control->config.cpus ? control->config.cpus[index] : -1,
        .durable = control->config.durable,
        .catalog = control->catalog,
        .feed = control->feeds[index],
        .listen = control->config.listen,
        .sockets = core->sockets,
        .socket_count = sockets_of(control, index, core->sockets),
        .admin = index == 0,
        .admin_listen = control->config.admin_listen,
        .admin_sockets = control->config.sockets->admin,
        .admin_socket_count = control->config.sockets->admin_count,
        .tls = control->config.tls,
        .admin_tls = control->config.admin_tls ? control->config.tls : NULL,
        .trust = control->config.trust,
        .proxy = control->config.proxy,
        .admin_handler = admin_handler(&control->admin),
        .watch = index == 0 ? admin_watch : NULL,
        .conns_max = control->config.conns_max,
        .conns_per_address = control->config.conns_per_address,
        .idle_timeout_ms = control->config.idle_timeout_ms,
        .head_timeout_ms = control->config.head_timeout_ms,
        .buffers_bytes_max = control->config.buffers_bytes_max,
        .deliver = {.core = (uint16_t)index,
                    .cores = (uint16_t)control->config.threads,
                    .routes = control->routes,
                    .control = control->ring,
                    .dispatch = control->dispatch,
                    .peers = control->delivers,
                    .clock_ms = control->clock_ms,
                    .slots = DELIVER_SLOTS_DEFAULT},
        .dns_servers = control->config.dns_servers,
        .dns_server_count = control->config.dns_server_count,
        .opened = reactor_opened,
        .stopped = reactor_stopped,
        .context = core,
    };
    config.deliver.lane_count =
        dispatch_lanes(control->dispatch, (uint16_t)index, &config.deliver.lanes);
    core->reactor = reactor_make(&config);
    if (!core->reactor) {
        return false;
    }
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, REACTOR_STACK_BYTES);
    core->running = pthread_create(&core->thread, &attributes, core_main, core) == 0;
    pthread_attr_destroy(&attributes);
    return core->running;
}

/* One after the other, and each waited for: a failure is reported once, and nothing serves half
 * started. */
static enum bk_err open_cores(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    for (unsigned i = 0; i < control->config.threads; i++) {
        if (!core_start(control, i)) {
            return fail(ret_why, BK_NO_MEMORY, "threads",
                        "no memory for another reactor: lower --threads");
        }
        pthread_mutex_lock(&control->lock);
        while (control->opened_count <= i) {
            pthread_cond_wait(&control->opened, &control->lock);
        }
        pthread_mutex_unlock(&control->lock);
        if (control->open_err != BK_OK) {
            return fail(ret_why, control->open_err, "start", control->open_why_text);
        }
        control->core_count++;
    }
    return BK_OK;
}

static enum bk_err open_ring(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    struct ring_config config = {.entries = CONTROL_RING_ENTRIES, .handles_max = 64, .cpu = -1};
    const char *why = "";
    enum bk_err err = ring_open(&config, &control->ring, &why);
    return err == BK_OK ? BK_OK : fail(ret_why, err, "start", why);
}

static void guard_stopping(void *context, const struct guard_stop *stop);
static bool guard_drain(void *context, struct ring *guard);
static void stop_begin(void *context, const struct guard_stop *stop);
static void hang_up(void *context);

static enum bk_err open_guard(struct control *control, char ret_why[CONTROL_WHY_BYTES])
{
    struct guard_config config = {
        .control = control->ring,
        .drain_timeout_ns = control->config.drain_timeout_ns,
        .drain_delay_ns = control->config.drain_delay_ns,
        .stopping = guard_stopping,
        .drain = guard_drain,
        .stop = stop_begin,
        .hang_up = hang_up,
        .context = control,
    };
    const char *why = "";
    control->guard = guard_open(&config, &why);
    return control->guard ? BK_OK : fail(ret_why, BK_NO_MEMORY, "start", why);
}

static void open_api(struct control *control)
{
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
    control->api.metrics = api_metrics;
    control->api.ready = api_ready;
    admin_init(&control->admin, &control->api, control->ring, &control->admin_ring);
    control->admin.metrics = metrics_alone;
    control->admin.context = control;
}

enum bk_err control_open(const struct control_config *config, struct control **ret_control,
                         char ret_why[CONTROL_WHY_BYTES])
{
    bk_assert(config->threads > 0 && config->threads <= CORES_MAX);
    struct control *control = calloc(1, sizeof *control);
    if (!control) {
        return fail(ret_why, BK_NO_MEMORY, "start", "out of memory");
    }
    control->config = *config;
    pthread_mutex_init(&control->lock, NULL);
    pthread_cond_init(&control->opened, NULL);
    atomic_init(&control->not_ready, starting);
    signal(SIGPIPE, SIG_IGN);
    *ret_control = control;
    enum bk_err err = open_ring(control, ret_why);
    err = err == BK_OK ? open_guard(control, ret_why) : err;
    if (err == BK_OK) {
        control->start_wall_ns = ring_wall_ns(control->ring);
        control->clock_ms = control->start_wall_ns / NS_PER_MS -
                            (int64_t)(ring_now_ns(control->ring) / (uint64_t)NS_PER_MS);
        err = source_table_open(&control->sources) == BK_OK &&
                      route_table_open(&control->routes) == BK_OK &&
                      dedupe_open(config->dedupe_bytes_max, &control->dedupe) == BK_OK
                  ? BK_OK
                  : fail(ret_why, BK_NO_MEMORY, "start", "out of memory");
    }
    if (err == BK_OK) {
        err = open_state(control, ret_why);
    }
    if (err == BK_OK) {
        err = open_journals(control, ret_why);
    }
    if (err == BK_OK) {
        err = open_dispatch(control, ret_why);
    }
    if (err == BK_OK) {
        open_api(control);
        err = open_sockets(control, ret_why);
    }
    if (err == BK_OK) {
        err = open_cores(control, ret_why);
    }
    if (err == BK_OK) {
        start_dispatch(control);
        err = open_outbound(control, ret_why);
        err = err == BK_OK ? open_operations(control, ret_why) : err;
        keys_start(control->keys, control->cores[0].reactor);
        const char *was = starting; /* else it is to stop already */
        (void)atomic_compare_exchange_strong(&control->not_ready, &was, NULL);
        control->start_took_ns = ring_clock_ns(control->ring) - ring_now_ns(control->ring);
    }
    /* On failure the process ends: what was opened needs no orderly close, as nothing was
     * acknowledged. */
    return err;
}

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

/* ---- running */

static void core_drain(struct core *core)
{
    const struct guard_stop *stop = atomic_load(&core->control->stop);
    reactor_drain(core->reactor, stop->deliver_until_ns, stop->answer_until_ns);
}

static void core_exit(struct core *core)
{
    reactor_exit(core->reactor);
}

static void sockets_close(struct control_sockets *sockets)
{
    while (sockets->ingress_count) {
        socket_close(sockets->ingress[--sockets->ingress_count]);
    }
    while (sockets->admin_count) {
        socket_close(sockets->admin[--sockets->admin_count]);
    }
}

/* The control thread's part of a stop. The reactors stop accepting when that it is not ready had
 * time to spread. */
static void stop_begin(void *context, const struct guard_stop *stop)
{
    struct control *control = context;
    log_event(LOG_INFO, stop->handing_over ? "handing over" : "stopping",
              LOG_Z("signal", stop->signal == SIGTERM ? "SIGTERM" : "SIGINT"));
    control->draining = true;
    dispatch_drain(control->dispatch);
}

static void drain_step(struct control *control)
{
    if (ring_now_ns(control->ring) < atomic_load(&control->stop)->drain_ns ||
        atomic_exchange(&control->drain_sent, true)) {
        return;
    }
    sockets_close(control->config.sockets); /* and the reactors close theirs */
    for (unsigned i = 0; i < control->core_count; i++) {
        errand_send(&control->cores[i].drain, &control->cores[i], core_drain, NULL);
    }
}

/* ---- what the guard does by itself: on its thread */

/* First it is not ready, so that who sends requests here looks for another. */
static void guard_stopping(void *context, const struct guard_stop *stop)
{
    struct control *control = context;
    const struct control_config *config = &control->config;
    atomic_store(&control->stop, stop);
    atomic_store(&control->not_ready, "stopping");
    if (config->stopping && !stop->handing_over) {
        config->stopping(config->context); /* else the service goes on, elsewhere */
    }
}

static void guard_drain_arrived(struct ring_mail *mail)
{
    core_drain(bk_container_of(mail, struct core, guard_drain));
}

static bool guard_drain(void *context, struct ring *guard)
{
    struct control *control = context;
    if (!atomic_load(&control->running) || atomic_exchange(&control->drain_sent, true)) {
        return false;
    }
    sockets_close(control->config.sockets);
    for (unsigned i = 0; i < control->core_count; i++) {
        control->cores[i].guard_drain.run = guard_drain_arrived;
        ring_post(guard, control->cores[i].ring, &control->cores[i].guard_drain);
    }
    return true;
}

void control_hand_over(struct control *control)
{
    guard_hand_over(control->guard);
}

/* ---- SIGHUP */

static void core_reload_dns(struct core *core)
{
    resolver_reload(reactor_resolver(core->reactor));
}

static void dns_reloaded(struct errand *errand)
{
    errand->core->dns_out = false;
    if (errand->core->dns_again && !atomic_load(&errand->control->drain_sent)) {
        errand->core->dns_again = false;
        errand->core->dns_out = true;
        errand_send(&errand->core->dns, errand->core, core_reload_dns, dns_reloaded);
    }
}

static void reload_dns(struct control *control)
{
    for (unsigned i = 0; i < control->core_count && !atomic_load(&control->drain_sent); i++) {
        struct core *core = &control->cores[i];
        core->dns_again = core->dns_out;
        if (!core->dns_out) {
            core->dns_out = true;
            errand_send(&core->dns, core, core_reload_dns, dns_reloaded);
        }
    }
}

static void hang_up(void *context)
{
    struct control *control = context;
    if (control->config.reload) {
        control->config.reload(control->config.context);
    }
    reload_dns(control);
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

/* No deadline while there is nothing to wait for: an idle server does not wake up. */
static uint64_t next_deadline_ns(struct control *control)
{
    if (control->draining) {
        const struct guard_stop *stop = atomic_load(&control->stop);
        return atomic_load(&control->drain_sent) ? stop->deadline_ns : stop->drain_ns;
    }
    struct catalog_stats stats;
    catalog_stats(control->catalog, &stats);
    uint64_t now_ns = ring_now_ns(control->ring);
    if (stats.maker_err != BK_OK) {
        return now_ns + (uint64_t)NS_PER_SECOND;
    }
    if (control->config.retain_ns && stats.oldest_ns) {
        int64_t wait_ns = stats.oldest_ns + control->config.retain_ns - ring_wall_ns(control->ring);
        return now_ns + (uint64_t)(wait_ns > NS_PER_SECOND ? wait_ns : NS_PER_SECOND);
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
    uint64_t room = room_bytes(control);
    log_event(trouble ? LOG_ERROR : LOG_INFO, trouble ? "no new segment" : "segments again",
              LOG_Z("why", trouble ? trouble : "the disk works"),
              LOG_Z("effect", trouble ? "events are refused when the last one is full" : "none"),
              LOG_I("roomBytes", room));
}

void control_run(struct control *control)
{
    atomic_store(&control->running, true);
    /* Also the guard's letter comes, if it was the guard that stopped them. */
    while (control->stopped_count < control->core_count || !control->draining) {
        bool more = admin_step(&control->admin);
        more |= catalog_step(control->catalog, ring_wall_ns(control->ring));
        more |= dispatch_step(control->dispatch);
        more |= api_streams_step(&control->api, ring_now_ns(control->ring), control->draining);
        if (!more) {
            watch_disk(control);
        }
        if (!control->grace && !control->draining) {
            grace_begin(control, NULL, keys_changed(control->keys) ? core_resume : NULL);
        }
        uint64_t deadline_ns = more ? 0 : next_deadline_ns(control);
        uint64_t paced_ns = catalog_next_ns(control->catalog);
        deadline_ns = paced_ns < deadline_ns ? paced_ns : deadline_ns;
        if (control->config.watchdog_ns && control->pulse_ns < deadline_ns) {
            deadline_ns = control->pulse_ns;
        }
        uint64_t admin_ns = admin_next_ns(&control->admin);
        deadline_ns = admin_ns < deadline_ns ? admin_ns : deadline_ns;
        uint64_t entries_ns = entries_step(control);
        deadline_ns = entries_ns < deadline_ns ? entries_ns : deadline_ns;
        uint64_t keeper_ns = keeper_step(control);
        deadline_ns = keeper_ns < deadline_ns ? keeper_ns : deadline_ns;
        uint64_t operations_ns = operations_step(control);
        deadline_ns = operations_ns < deadline_ns ? operations_ns : deadline_ns;
        uint64_t dispatch_ns = dispatch_next_ns(control->dispatch);
        deadline_ns = dispatch_ns < deadline_ns ? dispatch_ns : deadline_ns;
        uint64_t streams_ns = api_streams_next_ns(&control->api, ring_now_ns(control->ring));
        deadline_ns = streams_ns < deadline_ns ? streams_ns : deadline_ns;
        atomic_store_explicit(&control->admin.busy_since_ns, 0, memory_order_relaxed);
        ring_turn(control->ring, deadline_ns);
        atomic_store_explicit(&control->admin.busy_since_ns, ring_now_ns(control->ring),
                              memory_order_relaxed);
        pulse_step(control);
        if (control->draining) {
            drain_step(control);
        }
        if (control->draining &&
            ring_now_ns(control->ring) >= atomic_load(&control->stop)->deadline_ns) {
            log_event(LOG_WARN, "drain timed out",
                      LOG_Z("effect", "open connections are cut; nothing acknowledged is lost"));
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
    for (unsigned i = 0; i < control->core_count; i++) {
        errand_send(&control->cores[i].exit, &control->cores[i], core_exit, NULL);
    }
    ring_turn(control->ring, 0); /* sends the letters */
    for (unsigned i = 0; i < control->core_count; i++) {
        pthread_join(control->cores[i].thread, NULL);
    }
    ring_turn(control->ring, 0); /* the journals' last mail */
    for (unsigned i = 0; i < control->core_count; i++) {
        reactor_free(control->cores[i].reactor);
        free(control->feeds[i]);
    }
    admin_fini(&control->admin);
    api_fini(&control->api);
    operations_close(control->operations);
    people_keeper_close(control->keeper);
    entries_close(control->entries);
    outbox_close(control->outbox);
    if (outbound_idle(control->outbound)) { /* else a letter was lost with its core: leave it */
        outbound_close(control->outbound);
    }
    dispatch_close(control->dispatch);
    catalog_close(control->catalog);
    hub_close(control->hub);
    if (control->grace) {
        grace_end(control->grace); /* its last letters were not answered any more */
    }
    keys_close(control->keys);
    source_table_close(control->sources);
    route_table_close(control->routes);
    dedupe_close(control->dedupe);
    ring_close(control->ring);
    free(control);
}
