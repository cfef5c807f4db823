#include "hub/metrics.h"

#include "base/array.h"
#include "base/assert.h"

#include <inttypes.h>
#include <stdlib.h>

struct metrics_destination {
    char name[2 * NAME_BYTES_MAX + 2];
    uint64_t outcomes[METRICS_DELIVERY_COUNT];
    int64_t lag_ns;
};

struct metrics_named {
    char name[2 * NAME_BYTES_MAX + 2]; /* canvas/source */
    struct metrics_source counters;
};

static const unsigned codes[METRICS_CODE_COUNT] = {
#define X(code) [METRICS_CODE_##code] = code,
    METRICS_CODES
#undef X
};

static const char *const event_names[METRICS_EVENT_COUNT] = {"accepted", "rejected", "duplicate"};

void metrics_snapshot_init(struct metrics_snapshot *snapshot)
{
    memset(snapshot, 0, sizeof *snapshot);
    snapshot->version = snapshot->backend = snapshot->durability = "";
}

void metrics_snapshot_fini(struct metrics_snapshot *snapshot)
{
    free(snapshot->named);
    free(snapshot->destinations);
    snapshot->named = NULL;
    snapshot->named_count = snapshot->named_size = 0;
}

void metrics_add_buckets(struct metrics_histogram *histogram, const uint64_t *buckets, size_t count,
                         uint64_t sum)
{
    for (size_t i = 0; i < count; i++) {
        size_t bucket = i < METRICS_BUCKETS ? i : METRICS_BUCKETS - 1;
        histogram->buckets[bucket] += metrics_read(&buckets[i]);
    }
    histogram->sum += sum;
}

static void add_histogram(struct metrics_histogram *sum, const struct metrics_histogram *histogram)
{
    metrics_add_buckets(sum, histogram->buckets, METRICS_BUCKETS, metrics_read(&histogram->sum));
}

void metrics_sum_source(struct metrics_source *sum, const struct metrics_source *counters)
{
    for (size_t i = 0; i < METRICS_CODE_COUNT; i++) {
        sum->answers[i] += metrics_read(&counters->answers[i]);
    }
    for (size_t i = 0; i < METRICS_EVENT_COUNT; i++) {
        sum->events[i] += metrics_read(&counters->events[i]);
    }
    uint64_t accepted_ns = metrics_read(&counters->accepted_ns);
    uint64_t refused_ns = metrics_read(&counters->refused_ns);
    sum->accepted_ns = accepted_ns > sum->accepted_ns ? accepted_ns : sum->accepted_ns;
    if (refused_ns > sum->refused_ns) {
        sum->refused_ns = refused_ns;
        sum->refused_reason = metrics_read(&counters->refused_reason);
    }
}

void metrics_add_reactor(struct metrics_snapshot *snapshot, const struct metrics_reactor *reactor)
{
    struct metrics_reactor *sum = &snapshot->reactors;
    add_histogram(&sum->ack_ns, &reactor->ack_ns);
    add_histogram(&sum->turn_ns, &reactor->turn_ns);
    metrics_sum_source(&sum->none, &reactor->none);
    sum->connections_ingress += metrics_read(&reactor->connections_ingress);
    sum->connections_admin += metrics_read(&reactor->connections_admin);
    for (unsigned i = 0; i < METRICS_TLS_COUNT; i++) {
        sum->tls_handshakes[i] += metrics_read(&reactor->tls_handshakes[i]);
    }
    sum->ring_enters += metrics_read(&reactor->ring_enters);
    sum->recv_no_buffers += metrics_read(&reactor->recv_no_buffers);
    sum->request_bytes += metrics_read(&reactor->request_bytes);
    sum->quarantine_dropped += metrics_read(&reactor->quarantine_dropped);
}

static bool source_is_idle(const struct metrics_source *source)
{
    uint64_t total = 0;
    for (size_t i = 0; i < METRICS_CODE_COUNT; i++) {
        total |= source->answers[i];
    }
    for (size_t i = 0; i < METRICS_EVENT_COUNT; i++) {
        total |= source->events[i];
    }
    return total == 0;
}

/* Room for one more element of `each` bytes, where there may be `most`. */
static bool room_for_one(void **at, size_t *size, size_t count, size_t most, size_t each)
{
    return count < most && array_reserve(at, size, count + 1, each);
}

void metrics_add_source(struct metrics_snapshot *snapshot, struct slice name,
                        const struct metrics_source *sum)
{
    if (source_is_idle(sum)) {
        return;
    }
    if (!room_for_one((void **)&snapshot->named, &snapshot->named_size, snapshot->named_count,
                      METRICS_SOURCES_MAX, sizeof *snapshot->named)) {
        metrics_sum_source(&snapshot->other, sum);
        return;
    }
    struct metrics_named *named = &snapshot->named[snapshot->named_count++];
    slice_keep(name, named->name, sizeof named->name);
    named->counters = *sum;
}

void metrics_add_destination(struct metrics_snapshot *snapshot, struct slice name,
                             const uint64_t outcomes[METRICS_DELIVERY_COUNT], int64_t lag_ns)
{
    if (!room_for_one((void **)&snapshot->destinations, &snapshot->destination_size,
                      snapshot->destination_count, METRICS_DESTINATIONS_MAX,
                      sizeof *snapshot->destinations)) {
        for (unsigned i = 0; i < METRICS_DELIVERY_COUNT; i++) {
            snapshot->other_deliveries[i] += outcomes[i];
        }
        return;
    }
    struct metrics_destination *to = &snapshot->destinations[snapshot->destination_count++];
    slice_keep(name, to->name, sizeof to->name);
    memcpy(to->outcomes, outcomes, sizeof to->outcomes);
    to->lag_ns = lag_ns > 0 ? lag_ns : 0;
}

/* ---- text */

static void print_label(struct buf *out, const char *value)
{
    buf_add_byte(out, '"');
    for (; *value != '\0'; value++) {
        if (*value == '\n') {
            buf_add_str(out, "\\n");
            continue;
        }
        if (*value == '"' || *value == '\\') {
            buf_add_byte(out, '\\');
        }
        buf_add_byte(out, (uint8_t)*value);
    }
    buf_add_byte(out, '"');
}

static void print_type(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void print_one(struct buf *out, const char *name, const char *type, const char *help,
                      uint64_t value)
{
    print_type(out, name, type, help);
    buf_printf(out, "%s %" PRIu64 "\n", name, value);
}

/* Buckets are cumulative in the text. `unit` scales to the base unit. */
static void print_histogram(struct buf *out, const char *name, const char *help,
                            const struct metrics_histogram *histogram, unsigned shift, double unit)
{
    uint64_t total = 0;
    print_type(out, name, "histogram", help);
    for (unsigned i = 0; i < METRICS_BUCKETS - 1; i++) {
        total += histogram->buckets[i];
        buf_printf(out, "%s_bucket{le=\"%.12g\"} %" PRIu64 "\n", name,
                   (double)(1ULL << (shift + i)) * unit, total);
    }
    total += histogram->buckets[METRICS_BUCKETS - 1];
    buf_printf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, total);
    buf_printf(out, "%s_sum %.12g\n%s_count %" PRIu64 "\n", name, (double)histogram->sum * unit,
               name, total);
}

static void print_answers(struct buf *out, const char *source,
                          const struct metrics_source *counters)
{
    for (size_t i = 0; i < METRICS_CODE_COUNT; i++) {
        if (counters->answers[i] == 0) {
            continue;
        }
        buf_add_str(out, "becket_ingress_requests_total{source=");
        print_label(out, source);
        if (i == METRICS_CODE_OTHER) {
            buf_printf(out, ",code=\"other\"} %" PRIu64 "\n", counters->answers[i]);
        } else {
            buf_printf(out, ",code=\"%u\"} %" PRIu64 "\n", codes[i], counters->answers[i]);
        }
    }
}

static void print_events(struct buf *out, const char *source, const struct metrics_source *counters)
{
    for (size_t i = 0; i < METRICS_EVENT_COUNT; i++) {
        if (counters->events[i] == 0) {
            continue;
        }
        buf_add_str(out, "becket_events_total{source=");
        print_label(out, source);
        buf_printf(out, ",state=\"%s\"} %" PRIu64 "\n", event_names[i], counters->events[i]);
    }
}

static void print_sources(const struct metrics_snapshot *snapshot, struct buf *out,
                          void (*print)(struct buf *, const char *, const struct metrics_source *))
{
    for (size_t i = 0; i < snapshot->named_count; i++) {
        print(out, snapshot->named[i].name, &snapshot->named[i].counters);
    }
    print(out, "_other", &snapshot->other);
    print(out, "_none", &snapshot->reactors.none);
}

static void print_journal(const struct metrics_snapshot *snapshot, struct buf *out)
{
    const double ns = 1e-9;
    print_histogram(out, "becket_journal_commit_seconds", "Time from a frame's write to its flush.",
                    &snapshot->commit_ns, METRICS_TIME_SHIFT, ns);
    print_histogram(out, "becket_journal_batch_records", "Records that one flush made durable.",
                    &snapshot->batch_records, 0, 1);
    print_one(out, "becket_journal_written_bytes_total", "counter",
              "Bytes written to the journals.", snapshot->journal_bytes);
    print_one(out, "becket_journal_failures_total", "counter",
              "Flushes that failed; their records were refused.", snapshot->journal_failures);
    if (!snapshot->partial) {
        print_one(out, "becket_journal_file_bytes", "gauge", "Size of all journal files.",
                  snapshot->journal_file_bytes);
        print_one(out, "becket_journal_removed_records_total", "counter",
                  "Records that retention removed.", snapshot->journal_removed_records);
        print_one(out, "becket_journal_removed_owed_total", "counter",
                  "Segments that --retain-bytes removed although a destination was owed some of "
                  "their events.",
                  snapshot->journal_removed_owed);
        print_one(out, "becket_journal_held", "gauge",
                  "Journals that keep what is beyond --retain-age, for it is owed.",
                  snapshot->journals_held);
    }
    print_one(out, "becket_journal_room_bytes", "gauge",
              "Bytes that fit without a new segment, on the core that has least.",
              snapshot->journal_room_bytes);
    print_one(out, "becket_journal_pending_bytes", "gauge", "Bytes appended and not yet durable.",
              snapshot->journal_pending_bytes);
}

static void print_outcomes(struct buf *out, const char *destination,
                           const uint64_t outcomes[METRICS_DELIVERY_COUNT])
{
    static const char *const names[METRICS_DELIVERY_COUNT] = {"delivered", "failed", "dead",
                                                              "lost"};
    for (unsigned i = 0; i < METRICS_DELIVERY_COUNT; i++) {
        if (outcomes[i] != 0) {
            buf_add_str(out, "becket_deliveries_total{destination=");
            print_label(out, destination);
            buf_printf(out, ",outcome=\"%s\"} %" PRIu64 "\n", names[i], outcomes[i]);
        }
    }
}

static void print_provider_calls(const struct metrics_snapshot *snapshot, struct buf *out)
{
    print_type(out, "becket_provider_calls_total", "counter",
               "Calls to providers by what they are for; code 0: no answer came.");
    for (size_t i = 0; i < snapshot->provider_call_count; i++) {
        const struct metrics_provider_calls *calls = &snapshot->provider_calls[i];
        buf_printf(out,
                   "becket_provider_calls_total{type=\"%s\",operation=\"%s\",code=\"%u\"} %" PRIu64
                   "\n",
                   calls->type, calls->operation, calls->code, calls->count);
    }
}

static void print_deliveries(const struct metrics_snapshot *snapshot, struct buf *out)
{
    print_type(
        out, "becket_deliveries_total", "counter",
        "Tries to deliver: delivered, failed (tried again), dead (given up); and lost: events "
        "that --retain-bytes removed before their first.");
    for (size_t i = 0; i < snapshot->destination_count; i++) {
        print_outcomes(out, snapshot->destinations[i].name, snapshot->destinations[i].outcomes);
    }
    print_outcomes(out, "_other", snapshot->other_deliveries);
    print_type(out, "becket_delivery_lag_seconds", "gauge",
               "Age of the oldest event that a destination is owed; retries not counted.");
    for (size_t i = 0; i < snapshot->destination_count; i++) {
        buf_add_str(out, "becket_delivery_lag_seconds{destination=");
        print_label(out, snapshot->destinations[i].name);
        buf_printf(out, "} %.3f\n", (double)snapshot->destinations[i].lag_ns * 1e-9);
    }
    print_histogram(out, "becket_delivery_seconds",
                    "Time from an event's receipt to the 2xx of its first try.",
                    &snapshot->delivered_ns, METRICS_TIME_SHIFT, 1e-9);
    print_one(out, "becket_retry_pending", "gauge", "Deliveries that wait for another try.",
              snapshot->retries_pending);
    print_one(out, "becket_delivery_unrecorded_total", "counter",
              "Tries that the journal had no room to record.", snapshot->attempts_unrecorded);
    print_one(out, "becket_filter_failures_total", "counter",
              "Events that a filter could not be applied to.", snapshot->filters_failed);
}

void metrics_print(const struct metrics_snapshot *snapshot, struct buf *out)
{
    const double ns = 1e-9;
    const struct metrics_reactor *sum = &snapshot->reactors;
    print_type(out, "becket_info", "gauge", "Always 1; what runs here.");
    buf_add_str(out, "becket_info{version=");
    print_label(out, snapshot->version);
    buf_add_str(out, ",backend=");
    print_label(out, snapshot->backend);
    buf_add_str(out, ",durability=");
    print_label(out, snapshot->durability);
    buf_add_str(out, "} 1\n");
    if (!snapshot->partial) {
        print_type(out, "becket_ingress_requests_total", "counter",
                   "Hook requests by source and status code.");
        print_sources(snapshot, out, print_answers);
        print_type(out, "becket_events_total", "counter", "Events kept, by source and state.");
        print_sources(snapshot, out, print_events);
    }
    print_histogram(out, "becket_ack_seconds", "Time from a whole hook request to its durable 2xx.",
                    &sum->ack_ns, METRICS_TIME_SHIFT, ns);
    print_journal(snapshot, out);
    if (!snapshot->partial) {
        print_deliveries(snapshot, out);
        print_provider_calls(snapshot, out);
    }
    print_type(
        out, "becket_stalled_seconds", "gauge",
        "How long the oldest flush of a journal, and the control thread's present step, have "
        "lasted.");
    buf_printf(out, "becket_stalled_seconds{what=\"journal\"} %.3f\n",
               (double)snapshot->journal_stalled_ns * ns);
    buf_printf(out, "becket_stalled_seconds{what=\"control\"} %.3f\n",
               (double)snapshot->control_stalled_ns * ns);
    print_type(out, "becket_connections", "gauge", "Open connections.");
    buf_printf(out, "becket_connections{listener=\"ingress\"} %" PRIu64 "\n",
               sum->connections_ingress);
    buf_printf(out, "becket_connections{listener=\"admin\"} %" PRIu64 "\n", sum->connections_admin);
    static const char *const outcomes[METRICS_TLS_COUNT] = {"full", "resumed", "failed"};
    print_type(out, "becket_tls_handshakes_total", "counter", "TLS handshakes with clients.");
    for (unsigned i = 0; i < METRICS_TLS_COUNT; i++) {
        buf_printf(out, "becket_tls_handshakes_total{outcome=\"%s\"} %" PRIu64 "\n", outcomes[i],
                   sum->tls_handshakes[i]);
    }
    print_type(out, "becket_tls_certificate_expiry_timestamp_seconds", "gauge",
               "When the first certificate of the listeners ends, in seconds since 1970.");
    if (snapshot->certificate_expires != 0) {
        buf_printf(out, "becket_tls_certificate_expiry_timestamp_seconds %" PRId64 "\n",
                   snapshot->certificate_expires);
    }
    print_histogram(out, "becket_loop_turn_seconds",
                    "Work of one turn of an event loop, without its wait.", &sum->turn_ns,
                    METRICS_TIME_SHIFT, ns);
    print_one(out, "becket_ring_enters_total", "counter", "System calls into the ring.",
              sum->ring_enters);
    print_one(out, "becket_recv_no_buffers_total", "counter", "Receives that found no free buffer.",
              sum->recv_no_buffers);
    print_one(out, "becket_request_memory_bytes", "gauge",
              "Memory for requests that do not come whole, kept or in use; --request-memory a "
              "thread at most.",
              sum->request_bytes);
    print_one(out, "becket_quarantine_dropped_total", "counter",
              "Refused requests that were not kept: over the quarantine's budget, or the journal "
              "was busy.",
              sum->quarantine_dropped);
    print_one(out, "becket_threads", "gauge", "Event loops.", snapshot->threads);
    print_one(out, "becket_sources", "gauge", "Event sources that are configured.",
              snapshot->sources);
    if (snapshot->resident_bytes != 0) {
        print_one(out, "becket_resident_bytes", "gauge", "Resident memory of the process.",
                  snapshot->resident_bytes);
    }
    if (snapshot->start_wall_ns != 0) {
        print_type(out, "becket_start_time_seconds", "gauge",
                   "When the process started, seconds since 1970.");
        buf_printf(out, "becket_start_time_seconds %.3f\n", (double)snapshot->start_wall_ns * ns);
    }
}
