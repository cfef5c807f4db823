/* bench_load.h - one thread of the load generator: its connections, its ring, its counts.
 *
 * Purpose     Closed loop: each connection sends its next request(s) when the last are answered.
 *             Open loop: requests have a time at which they are meant to be sent, and latency
 *             counts from it, whether a connection was free or not: a server that stalls cannot
 *             hide it.
 * Phases      connect, warm-up, measure, drain; nothing is counted but in `measure` (and
 *             `total_*`).
 * Ownership   The plan outlives the load; bench_load_fini() frees the rest.
 * Threads     bench_load_run() is a thread's body; the owner reads results after joining it, and
 *             `progress` any time.
 * Bounds      Ends after duration_ns or `requests`, patience_ns without an answer, or when *stop is
 *             set.
 */
#ifndef BECKET_CLI_BENCH_LOAD_H
#define BECKET_CLI_BENCH_LOAD_H

#include "cli/bench_histogram.h"
#include "cli/bench_request.h"
#include "ring/ring.h"
#include "tls/tls.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#define BENCH_PIPELINE_MAX    64U
#define BENCH_CONNECTIONS_MAX 60000U
#define BENCH_STATUS_MAX      600U
#define BENCH_WATCH_MAX       64U

struct bench_plan {
    struct ring_address target;
    const struct tls_trust *trust; /* https: whom to believe; NULL = http */
    const char *name;              /* https: whom the certificate must name */
    bool resume;                   /* https: a reconnect resumes its last session */
    unsigned connections;
    unsigned pipeline;
    uint64_t warmup_ns;
    uint64_t duration_ns;   /* 0 = until `requests` are answered */
    uint64_t requests;      /* 0 = until duration_ns is over; the warm-up's are not counted */
    uint64_t rate_per_hour; /* open loop; 0 = closed. An hour, so that whole numbers divide among
                               threads */
    uint64_t patience_ns;
    unsigned duplicates_percent;
    unsigned forged_percent;
    int cpu; /* -1 = anywhere */
    struct bench_request_config request;
    const pid_t *watch; /* CPU time of these is read at both ends of `measure` */
    unsigned watch_count;
    pthread_barrier_t *connected; /* all threads begin together */
    const volatile int *stop;
};

struct bench_counts {
    uint64_t answered;
    uint64_t status[BENCH_STATUS_MAX];
    uint64_t unexpected; /* neither 2xx, nor a refused forgery */
    uint64_t duplicates_sent;
    uint64_t duplicates_told; /* answers with "duplicate":true */
    uint64_t forged_sent;
    uint64_t forged_accepted;
    uint64_t connect_errors;
    uint64_t lost;      /* sent, but the connection ended first */
    uint64_t malformed; /* an answer this client cannot frame */
    uint64_t reconnects;
    uint64_t overdue; /* open loop: meant to be sent, but no connection was free until the end */
    uint64_t received_bytes;
    struct bench_histogram latency;
    struct bench_histogram send_lag; /* open loop: how late requests were sent */
};

struct bench_load {
    const struct bench_plan *plan;
    struct bench_load_state *state;
    struct bench_counts counts;
    uint64_t measured_ns;
    uint64_t cpu_ns;                    /* this thread's, while measuring */
    uint64_t enters;                    /* this ring's, while measuring */
    uint64_t watch_ns[BENCH_WATCH_MAX]; /* UINT64_MAX = the process is gone */
    uint64_t total_answered;            /* of all phases */
    uint64_t unanswered;                /* given up at the end */
    bool stalled;
    _Atomic uint64_t progress; /* answered so far */
    _Atomic bool finished;
    enum bk_err failed; /* BK_OK, or why it could not run … */
    char why[512];      /* … in words */
};

/* The body of a thread; argument: struct bench_load with `plan` set, all else zero. */
void *bench_load_run(void *load);
void bench_counts_merge(struct bench_counts *into, const struct bench_counts *from);

#endif
