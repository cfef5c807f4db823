/* bench_load.c - the thread: its phases, its loop, what it measures. */
#include "cli/bench_load_private.h"

#include "base/assert.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#define CONNECT_SECONDS_MAX 10U
#define DRAIN_NS            (2 * NS_PER_SECOND)
#define WAKE_NS             (100 * NS_PER_MS) /* how late a stop may be seen */
#define RECV_BYTES          4096U

/* ---- clocks */

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    if (clock_gettime(clock, &now) != 0) {
        return UINT64_MAX;
    }
    return (uint64_t)now.tv_sec * (uint64_t)NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* CPU time of all threads of a process, those that ended too; UINT64_MAX when there is none. */
static uint64_t process_cpu_ns(pid_t pid)
{
    clockid_t clock;
    return clock_getcpuclockid(pid, &clock) == 0 ? clock_ns(clock) : UINT64_MAX;
}

/* ---- phases */

static void watch_read(const struct bench_load_state *state, uint64_t *ret_ns)
{
    for (unsigned i = 0; i < state->plan->watch_count; i++) {
        ret_ns[i] = process_cpu_ns(state->plan->watch[i]);
    }
}

static void measure_begin(struct bench_load_state *state)
{
    memset(&state->counts, 0, sizeof state->counts);
    state->cpu_begin_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    state->enters_begin = ring_stats(state->ring)->enters;
    watch_read(state, state->watch_begin_ns);
}

static void measure_end(struct bench_load_state *state)
{
    struct bench_load *load = state->load;
    uint64_t end_ns[BENCH_WATCH_MAX];
    watch_read(state, end_ns);
    for (unsigned i = 0; i < state->plan->watch_count; i++) {
        bool known = end_ns[i] != UINT64_MAX && state->watch_begin_ns[i] != UINT64_MAX;
        load->watch_ns[i] = known ? end_ns[i] - state->watch_begin_ns[i] : UINT64_MAX;
    }
    load->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - state->cpu_begin_ns;
    load->enters = ring_stats(state->ring)->enters - state->enters_begin;
    load->measured_ns = ring_now_ns(state->ring) - state->phase_begin_ns;
    if (state->plan->rate_per_hour && state->quota) {
        uint64_t due = bench_open_due_count(state);
        state->counts.overdue = due > state->open_sent ? due - state->open_sent : 0;
    }
    load->counts = state->counts;
}

static void phase_enter(struct bench_load_state *state, enum phase phase)
{
    const struct bench_plan *plan = state->plan;
    uint64_t now_ns = ring_now_ns(state->ring);
    bool first = state->phase == PHASE_CONNECT;
    state->phase = phase;
    state->phase_begin_ns = now_ns;
    state->last_answer_ns = now_ns;
    state->phase_end_ns = UINT64_MAX;
    if (phase == PHASE_WARMUP) {
        state->phase_end_ns = now_ns + plan->warmup_ns;
    } else if (phase == PHASE_MEASURE) {
        state->phase_end_ns = plan->duration_ns ? now_ns + plan->duration_ns : UINT64_MAX;
        state->quota = plan->requests ? plan->requests : UINT64_MAX;
        measure_begin(state);
    } else {
        state->phase_end_ns = now_ns + (uint64_t)DRAIN_NS;
    }
    if (first && phase < PHASE_DRAIN) {
        state->open_begin_ns = now_ns;
        for (unsigned i = 0; i < plan->connections; i++) {
            if (state->connections[i].outstanding == 0) {
                bench_connection_next(&state->connections[i]);
            }
        }
    }
}

static bool measured_enough(const struct bench_load_state *state)
{
    uint64_t now_ns = ring_now_ns(state->ring);
    return now_ns >= state->phase_end_ns || (state->quota == 0 && state->outstanding == 0);
}

/* False once everything is closed. */
static bool phase_step(struct bench_load_state *state)
{
    uint64_t now_ns = ring_now_ns(state->ring);
    bool stop = *state->plan->stop != 0;
    switch (state->phase) {
    case PHASE_WARMUP:
        if (stop || now_ns >= state->phase_end_ns) {
            phase_enter(state, PHASE_MEASURE);
        }
        break;
    case PHASE_MEASURE:
        state->load->stalled = now_ns > state->last_answer_ns + state->plan->patience_ns;
        if (stop || state->load->stalled || measured_enough(state)) {
            measure_end(state);
            phase_enter(state, PHASE_DRAIN);
        }
        break;
    case PHASE_DRAIN:
        if (state->outstanding == 0 || now_ns >= state->phase_end_ns) {
            state->load->unanswered = state->outstanding;
            phase_enter(state, PHASE_CLOSE);
            for (unsigned i = 0; i < state->plan->connections; i++) {
                if (state->connections[i].phase == CONNECTION_READY) {
                    bench_connection_close(&state->connections[i]);
                }
            }
        }
        break;
    case PHASE_CLOSE:
        return state->busy_handles > 0 && now_ns < state->phase_end_ns;
    case PHASE_CONNECT:
    default:
        bk_never("not a phase of the loop");
    }
    return true;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void loop(struct bench_load_state *state)
{
    while (phase_step(state)) {
        uint64_t deadline_ns =
            earlier(ring_now_ns(state->ring) + (uint64_t)WAKE_NS, state->phase_end_ns);
        bench_connect_some(state);
        if (state->plan->rate_per_hour && bench_may_send(state)) {
            bench_open_send_due(state);
            deadline_ns = list_empty(&state->idle) ? deadline_ns
                                                   : earlier(deadline_ns, bench_open_due_ns(state));
            /* The kernel's worker that ends a flush may wait for this CPU until we sleep: a server
             * on a disk must not look slower for who measures it. */
            (void)sched_yield();
        }
        if (!list_empty(&state->closed) && state->retry_ns > ring_now_ns(state->ring)) {
            deadline_ns = earlier(deadline_ns, state->retry_ns);
        }
        ring_turn(state->ring, deadline_ns);
        atomic_store_explicit(&state->load->progress, state->load->total_answered,
                              memory_order_relaxed);
    }
}

static void connect_all(struct bench_load_state *state)
{
    unsigned wanted = state->plan->connections;
    uint64_t end_ns = ring_now_ns(state->ring) + CONNECT_SECONDS_MAX * (uint64_t)NS_PER_SECOND;
    unsigned errors_max = wanted < 16 ? wanted : 16;
    while (state->open_count - state->shaking < wanted && ring_now_ns(state->ring) < end_ns &&
           state->counts.connect_errors < errors_max && !*state->plan->stop) {
        bench_connect_some(state);
        ring_turn(state->ring, ring_now_ns(state->ring) + (uint64_t)RETRY_NS);
    }
    unsigned ready = state->open_count - state->shaking;
    if (ready < wanted && !*state->plan->stop) {
        state->load->failed = BK_REFUSED;
        snprintf(state->load->why, sizeof state->load->why,
                 "only %u of %u connections could be opened; %s%s", ready, wanted,
                 state->tls_why[0] ? "TLS: " : "is a server listening there?", state->tls_why);
    }
}

/* ---- the thread */

static unsigned power_of_two(unsigned least, unsigned most, unsigned wanted)
{
    unsigned value = least;
    while (value < wanted && value < most) {
        value *= 2;
    }
    return value;
}

static bool fail(struct bench_load *load, enum bk_err err, const char *why)
{
    load->failed = err;
    snprintf(load->why, sizeof load->why, "%s", why ? why : bk_err_text(err));
    return false;
}

static bool connections_make(struct bench_load_state *state)
{
    unsigned count = state->plan->connections;
    size_t bytes = state->writer.request_bytes * state->plan->pipeline;
    state->connections = calloc(count, sizeof *state->connections);
    if (!state->connections) {
        return false;
    }
    for (unsigned i = 0; i < count; i++) {
        struct bench_connection *connection = &state->connections[i];
        connection->state = state;
        connection->handle = -1;
        connection->requests = malloc(bytes);
        if (!connection->requests || (state->plan->trust && !bench_secure_make(connection))) {
            return false;
        }
        list_push_back(&state->closed, &connection->node);
    }
    return true;
}

static bool state_make(struct bench_load_state *state)
{
    const struct bench_plan *plan = state->plan;
    struct ring_config config = {
        .entries = power_of_two(256, 4096, plan->connections * 2),
        .handles_max = plan->connections + CONNECTING_MAX,
        .recv_buffers = power_of_two(256, 8192, plan->connections * 2),
        .recv_buffer_bytes = RECV_BYTES,
        .cpu = plan->cpu,
    };
    const char *why = NULL;
    list_init(&state->idle);
    list_init(&state->closed);
    enum bk_err err = ring_open(&config, &state->ring, &why);
    if (err != BK_OK) {
        state->ring = NULL;
        return fail(state->load, err, why);
    }
    err = bench_writer_init(&state->writer, &plan->request,
                            ring_wall_ns(state->ring) / NS_PER_SECOND, &why);
    if (err != BK_OK) {
        return fail(state->load, err, why);
    }
    if (plan->forged_percent && !state->writer.forge_at) {
        return fail(state->load, BK_UNSUPPORTED,
                    "nothing signs the body, so nothing can be forged; give --type");
    }
    /* Within 1 ns of the intended time, not the usual 50 us. */
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    state->random = 2463534242U + plan->request.thread;
    return connections_make(state) ||
           fail(state->load, BK_NO_MEMORY, "out of memory for the connections");
}

static void state_free(struct bench_load_state *state)
{
    for (unsigned i = 0; state->connections && i < state->plan->connections; i++) {
        free(state->connections[i].requests);
        free(state->connections[i].head);
        bench_secure_free(&state->connections[i]);
    }
    free(state->connections);
    bench_writer_fini(&state->writer);
    if (state->ring) {
        ring_close(state->ring);
    }
    free(state);
}

void *bench_load_run(void *argument)
{
    struct bench_load *load = argument;
    struct bench_load_state *state = calloc(1, sizeof *state);
    if (!state) {
        (void)fail(load, BK_NO_MEMORY, NULL);
    } else {
        state->load = load;
        state->plan = load->plan;
        state->quota = UINT64_MAX;
        if (state_make(state)) {
            connect_all(state);
        }
    }
    pthread_barrier_wait(load->plan->connected);
    if (state && state->ring && state->connections) {
        ring_turn(state->ring, 0);
        enum phase first = load->plan->warmup_ns ? PHASE_WARMUP : PHASE_MEASURE;
        phase_enter(state, load->failed == BK_OK ? first : PHASE_DRAIN);
        loop(state);
    }
    if (state && state->busy_handles == 0) {
        state_free(state);
    } /* else something is still in flight and points into it: the process ends soon */
    atomic_store(&load->finished, true);
    return NULL;
}

void bench_counts_merge(struct bench_counts *into, const struct bench_counts *from)
{
    into->answered += from->answered;
    for (unsigned i = 0; i < BENCH_STATUS_MAX; i++) {
        into->status[i] += from->status[i];
    }
    into->unexpected += from->unexpected;
    into->duplicates_sent += from->duplicates_sent;
    into->duplicates_told += from->duplicates_told;
    into->forged_sent += from->forged_sent;
    into->forged_accepted += from->forged_accepted;
    into->connect_errors += from->connect_errors;
    into->lost += from->lost;
    into->malformed += from->malformed;
    into->reconnects += from->reconnects;
    into->overdue += from->overdue;
    into->received_bytes += from->received_bytes;
    bench_histogram_merge(&into->latency, &from->latency);
    bench_histogram_merge(&into->send_lag, &from->send_lag);
}
