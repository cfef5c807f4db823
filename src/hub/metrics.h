/* metrics.h - counters of the hot path, and their sum as Prometheus text.
 *
 * Purpose     Reactors count into plain structs of their own (struct metrics_reactor, struct
 *             metrics_source): no atomics, no sharing. /metrics sums them racily into a snapshot
 *             and prints it; a counter read in the middle of an update is one event behind, never
 *             wrong for good.
 * Threads     A counter struct: one writer; any thread may read it with metrics_read().
 * Ownership   The snapshot copies everything but what its comments call static.
 * Limits      METRICS_SOURCES_MAX label values for `source`: the first that are added; all further
 *             ones are summed under source="_other". Requests for no source: source="_none".
 * Source      Prometheus text exposition format 0.0.4.
 */
#ifndef BECKET_HUB_METRICS_H
#define BECKET_HUB_METRICS_H

#include "base/buf.h"
#include "base/histogram.h"
#include "base/limits.h"

#define METRICS_BUCKETS 24U
/* first bound of times: 2^14 ns = 16.4 us, the last but one 69 s */
#define METRICS_TIME_SHIFT       14U
#define METRICS_SOURCES_MAX      1000U
#define METRICS_DESTINATIONS_MAX 1000U

/* Buckets as in base/histogram.h. */
struct metrics_histogram {
    uint64_t buckets[METRICS_BUCKETS];
    uint64_t sum;
};

static inline void metrics_observe(struct metrics_histogram *histogram, uint64_t value,
                                   unsigned shift)
{
    histogram_record(histogram->buckets, METRICS_BUCKETS, shift, value);
    counter_add(&histogram->sum, value);
}

static inline uint64_t metrics_read(const uint64_t *counter)
{
    return counter_read(counter);
}

/* Status codes of hook answers that get a label of their own. */
#define METRICS_CODES                                                                              \
    X(200)                                                                                         \
    X(201)                                                                                         \
    X(202)                                                                                         \
    X(204)                                                                                         \
    X(400)                                                                                         \
    X(401)                                                                                         \
    X(403)                                                                                         \
    X(404)                                                                                         \
    X(405) X(408) X(411) X(413) X(414) X(415) X(422) X(429) X(431) X(500) X(501) X(503) X(505)
enum metrics_code {
#define X(code) METRICS_CODE_##code,
    METRICS_CODES
#undef X
        METRICS_CODE_OTHER,
    METRICS_CODE_COUNT
};
static inline enum metrics_code metrics_code(unsigned status)
{
    switch (status) {
#define X(code)                                                                                    \
    case code:                                                                                     \
        return METRICS_CODE_##code;
        METRICS_CODES
#undef X
    default:
        return METRICS_CODE_OTHER;
    }
}

enum metrics_event { METRICS_ACCEPTED, METRICS_REJECTED, METRICS_DUPLICATE, METRICS_EVENT_COUNT };

/* Per source and reactor. */
struct metrics_source {
    uint64_t answers[METRICS_CODE_COUNT];
    uint64_t events[METRICS_EVENT_COUNT];
    /* For the source's status, not for /metrics: the last of each, on the wall clock, and why. */
    uint64_t accepted_ns;
    uint64_t refused_ns;
    uint64_t refused_reason;
    /* For its core alone: what it has in the journal's frame that begins there (ingress/). */
    uint64_t share_frame;
    uint64_t share_bytes;
    /* Likewise: what it took of the quarantine, less what was refilled since. */
    uint64_t quarantine_bytes;
    uint64_t quarantine_ns;
};

enum { METRICS_TLS_FULL, METRICS_TLS_RESUMED, METRICS_TLS_FAILED, METRICS_TLS_COUNT };

/* Per reactor. */
struct metrics_reactor {
    struct metrics_histogram ack_ns;  /* whole request received until its answer is queued */
    struct metrics_histogram turn_ns; /* one turn of the loop, without the wait */
    struct metrics_source none;       /* requests that belong to no source */
    uint64_t connections_ingress;     /* open now */
    uint64_t connections_admin;
    uint64_t tls_handshakes[METRICS_TLS_COUNT]; /* of both listeners */
    uint64_t ring_enters;
    uint64_t recv_no_buffers;
    uint64_t request_bytes;      /* memory taken for requests that do not come whole */
    uint64_t quarantine_dropped; /* refused requests that were not kept */
};

enum metrics_delivery {
    METRICS_DELIVERED,
    METRICS_DELIVERY_FAILED, /* and tried again */
    METRICS_DEAD,
    METRICS_LOST, /* events that went by --retain-bytes before their first try */
    METRICS_DELIVERY_COUNT
};

/* Calls to providers; texts are static. */
struct metrics_provider_calls {
    const char *type;      /* "github" */
    const char *operation; /* "hook-ensure" */
    unsigned code;         /* HTTP status; 0 = no answer */
    uint64_t count;
};

struct metrics_snapshot {
    const char *version;    /* static */
    const char *backend;    /* static: "io_uring" */
    const char *durability; /* static: "fsync", "none" */
    int64_t start_wall_ns;  /* of the process; 0 = leave out */
    bool partial; /* without sources, destinations and the sizes of files: they are not known now */
    uint64_t journal_stalled_ns; /* age of the oldest flush under way; 0 = none */
    uint64_t control_stalled_ns; /* of the control thread's present step */
    unsigned threads;
    int64_t certificate_expires;            /* seconds since 1970; 0 = leave out */
    struct metrics_reactor reactors;        /* the sum */
    struct metrics_histogram commit_ns;     /* shift METRICS_TIME_SHIFT */
    struct metrics_histogram batch_records; /* shift 0 */
    uint64_t journal_bytes;                 /* written */
    uint64_t journal_failures;
    uint64_t journal_file_bytes;           /* on disk */
    uint64_t journal_removed_records;      /* by retention */
    uint64_t journal_removed_owed;         /* segments, although something in them was owed */
    unsigned journals_held;                /* beyond their age, for what is owed */
    uint64_t journal_pending_bytes;        /* not yet durable */
    uint64_t journal_room_bytes;           /* without a new segment, of the core that has least */
    uint64_t sources;                      /* configured */
    uint64_t resident_bytes;               /* 0 = leave out */
    struct metrics_histogram delivered_ns; /* shift METRICS_TIME_SHIFT */
    uint64_t retries_pending;
    uint64_t attempts_unrecorded; /* tries that the journal had no room for */
    uint64_t filters_failed;
    const struct metrics_provider_calls *provider_calls; /* the caller's */
    size_t provider_call_count;
    /* metrics_add_destination()'s. */
    uint64_t other_deliveries[METRICS_DELIVERY_COUNT];
    struct metrics_destination *destinations;
    size_t destination_count, destination_size;
    /* The rest is metrics_add_source()'s. */
    struct metrics_source other;
    struct metrics_named *named;
    size_t named_count, named_size;
};

void metrics_snapshot_init(struct metrics_snapshot *snapshot);
void metrics_snapshot_fini(struct metrics_snapshot *snapshot);
/* Add one reactor's counters to the sum. */
void metrics_add_reactor(struct metrics_snapshot *snapshot, const struct metrics_reactor *reactor);
/* Add to *sum, counter by counter. */
void metrics_sum_source(struct metrics_source *sum, const struct metrics_source *counters);
/* One source, summed over all reactors. `name` is the label: "payments", or "canvas/payments".
 * Sources
 * without any request are left out. */
void metrics_add_source(struct metrics_snapshot *snapshot, struct slice name,
                        const struct metrics_source *sum);
/* Deliveries of one destination, over all reactors; lag: age of the oldest event it is owed. */
void metrics_add_destination(struct metrics_snapshot *snapshot, struct slice name,
                             const uint64_t outcomes[METRICS_DELIVERY_COUNT], int64_t lag_ns);
/* Add buckets counted elsewhere (journal_stats); further ones than METRICS_BUCKETS go into the
 * last. */
void metrics_add_buckets(struct metrics_histogram *histogram, const uint64_t *buckets, size_t count,
                         uint64_t sum);

/* The whole page. */
#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"
void metrics_print(const struct metrics_snapshot *snapshot, struct buf *out);

#endif
