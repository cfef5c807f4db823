#include "control/control_private.h"

#include "control/certificates.h"
#include "ring/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

bool snapshot_source(void *context, uint64_t number, struct metrics_source *ret_sum)
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
        if (!snapshot_source(control, number, &sum)) {
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
        [METRICS_DEAD] = status->outcomes[TARGET_DEAD],
        [METRICS_LOST] = status->lost};
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
    snapshot->journal_stalled_ns = ready_flush_ns(control, now_ns);
    snapshot->journal_room_bytes = ready_room_bytes(control);
    snapshot->control_stalled_ns = admin_busy_ns(&control->admin, now_ns);
    snapshot->version = control->config.version;
    snapshot->backend = "io_uring";
    snapshot->durability = control->config.durable ? "fsync" : "none";
    snapshot->start_wall_ns = control->start_wall_ns;
    snapshot->threads = control->core_count;
    snapshot->certificate_expires = certificates_expire(control->config.tls);
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

void snapshot_take(void *context, struct metrics_snapshot *snapshot)
{
    struct control *control = context;
    metrics_of_cores(control, ring_now_ns(control->ring), snapshot);
    struct catalog_stats stats;
    catalog_stats(control->catalog, &stats);
    snapshot->journal_file_bytes = stats.file_bytes;
    snapshot->journal_removed_records = stats.removed_records_total;
    snapshot->journal_removed_owed = stats.removed_owed_total;
    snapshot->journals_held = stats.held;
    metrics_of_sources(control, snapshot);
    metrics_of_deliveries(control, snapshot);
    snapshot->provider_calls = control->provider_calls.counts;
    snapshot->provider_call_count = control->provider_calls.count_count;
}

void snapshot_print_alone(void *context, struct buf *out)
{
    struct control *control = context;
    struct metrics_snapshot snapshot;
    metrics_snapshot_init(&snapshot);
    snapshot.partial = true;
    metrics_of_cores(control, ring_now_ns(control->admin_ring), &snapshot);
    metrics_print(&snapshot, out);
    metrics_snapshot_fini(&snapshot);
}
