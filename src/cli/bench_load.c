#include "cli/bench_load.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/time.h"
#include "http/parse.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#define CONNECTING_MAX      64U /* at once, so that the listener's queue does not overflow */
#define CONNECT_SECONDS_MAX 10U
#define RETRY_NS            (10 * NS_PER_MS)
#define DRAIN_NS            (2 * NS_PER_SECOND)
#define WAKE_NS             (100 * NS_PER_MS) /* how late a stop may be seen */
#define HEAD_BYTES_MAX      16384U
#define SEEN_BYTES_MAX      1024U
#define RECV_BYTES          4096U
#define WIRE_BYTES          (40U * 1024) /* TLS: a full record and what came behind it */

enum phase { PHASE_CONNECT, PHASE_WARMUP, PHASE_MEASURE, PHASE_DRAIN, PHASE_CLOSE };

enum connection_state {
    CONNECTION_CLOSED,
    CONNECTION_OPENING,
    CONNECTION_READY,
    CONNECTION_CLOSING
};

struct load_connection {
    struct list node; /* idle, or waiting to connect; else detached */
    struct bench_load_state *state;
    struct ring_op recv;
    struct ring_op send; /* connect and close, too: never at the same time */
    enum connection_state phase;
    int32_t handle;
    bool written;     /* `requests` holds bodies already */
    bool close_after; /* the answer said so */
    bool once_open;
    unsigned outstanding;
    unsigned forged_first; /* index of the next answer in forged */
    uint64_t forged;       /* bit per request of the batch */
    uint64_t number;       /* of the first request of the batch */
    uint64_t sent_ns;      /* open loop: was to be sent */
    uint64_t body_left;
    unsigned answer_status; /* of the answer whose body is being skipped */
    bool answer_keeps;
    size_t head_bytes; /* of a head split over receives, in `head` */
    uint8_t *head;
    uint8_t *requests;
    struct load_secure *secure; /* https */
};

struct load_secure {
    struct tls *tls;
    struct tls_session session;
    const uint8_t *plain; /* of the batch, not in the engine yet */
    size_t plain_bytes;
    size_t record_bytes; /* of the send under way */
    size_t wire_bytes;   /* came, not in the engine yet */
    bool open;
    uint8_t wire[WIRE_BYTES];
};

struct bench_load_state {
    struct bench_load *load;
    const struct bench_plan *plan;
    struct ring *ring;
    struct bench_writer writer;
    struct bench_counts counts; /* of this phase */
    enum phase phase;
    struct load_connection *connections;
    struct list idle;   /* open loop: ready, nothing outstanding */
    struct list closed; /* to connect */
    unsigned open_count;
    unsigned shaking; /* of them, before their TLS handshake is over */
    unsigned opening;
    unsigned busy_handles; /* not CLOSED */
    uint64_t retry_ns;
    uint64_t next_number;
    uint64_t last_answered; /* a number whose request was answered */
    uint64_t outstanding;
    uint64_t quota; /* requests that may still be sent */
    uint64_t phase_end_ns;
    uint64_t phase_begin_ns;
    uint64_t last_answer_ns;
    uint64_t open_begin_ns; /* open loop: request k is due at begin + k * hour / rate_per_hour */
    uint64_t open_sent;
    uint32_t random;
    uint64_t cpu_begin_ns;
    uint64_t enters_begin;
    uint64_t watch_begin_ns[BENCH_WATCH_MAX];
    struct http_head parsed;
    char tls_why[TLS_WHY_BYTES]; /* https: why a handshake failed last */
    size_t seen_bytes;           /* the last answer's head: most are the same */
    unsigned seen_status;
    bool seen_keeps;
    uint64_t seen_body;
    uint8_t seen[SEEN_BYTES_MAX];
};

static void connection_next(struct load_connection *connection);
static void connection_close(struct load_connection *connection);
static void secure_pump(struct load_connection *connection);
static void on_recv(struct ring_op *op, const struct ring_result *result);

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

/* ---- sending */

static bool chance(struct bench_load_state *state, unsigned percent)
{
    if (percent == 0) {
        return false;
    }
    state->random ^= state->random << 13;
    state->random ^= state->random >> 17;
    state->random ^= state->random << 5;
    return state->random % 100 < percent;
}

static void send_finish(struct ring_op *op, const struct ring_result *result)
{
    struct load_connection *connection = bk_container_of(op, struct load_connection, send);
    if (connection->phase == CONNECTION_CLOSING || result->value < 0) {
        connection_close(connection);
    } else if (connection->outstanding == 0) {
        connection_next(connection); /* the answer was faster than the completion of the send */
    }
}

static void send_batch(struct load_connection *connection, unsigned count, uint64_t intended_ns)
{
    struct bench_load_state *state = connection->state;
    struct bench_counts *counts = &state->counts;
    int64_t seconds = ring_wall_ns(state->ring) / NS_PER_SECOND;
    size_t bytes = state->writer.request_bytes;
    bk_assert(connection->outstanding == 0 && count > 0 && count <= BENCH_PIPELINE_MAX);
    connection->forged = 0;
    connection->forged_first = 0;
    for (unsigned i = 0; i < count; i++) {
        bool forged = chance(state, state->plan->forged_percent);
        bool again = state->last_answered && chance(state, state->plan->duplicates_percent);
        uint64_t number = again ? state->last_answered : ++state->next_number;
        bench_writer_put(&state->writer, connection->requests + i * bytes, number, forged,
                         connection->written, seconds);
        connection->forged |= (uint64_t)forged << i;
        counts->forged_sent += forged;
        counts->duplicates_sent += again && !forged;
        if (i == 0) {
            connection->number = number;
        }
    }
    connection->written |= count == state->plan->pipeline;
    connection->outstanding = count;
    connection->sent_ns = intended_ns;
    state->outstanding += count;
    state->quota -= count;
    if (connection->secure) {
        connection->secure->plain = connection->requests;
        connection->secure->plain_bytes = count * bytes;
        secure_pump(connection);
        return;
    }
    ring_send(state->ring, &connection->send, connection->handle, connection->requests,
              count * bytes, send_finish);
}

static bool may_send(const struct bench_load_state *state)
{
    return (state->phase == PHASE_WARMUP || state->phase == PHASE_MEASURE) && state->quota > 0;
}

/* Nothing is outstanding: send on, wait in line, or go. */
static void connection_next(struct load_connection *connection)
{
    struct bench_load_state *state = connection->state;
    bool shaking = connection->secure && !connection->secure->open;
    if (connection->phase != CONNECTION_READY || ring_op_busy(&connection->send) || shaking) {
        return;
    }
    if (connection->close_after) {
        connection_close(connection);
    } else if (state->plan->rate_per_hour) {
        if (!list_linked(&connection->node)) {
            list_push_back(&state->idle, &connection->node);
        }
    } else if (may_send(state)) {
        unsigned count = state->plan->pipeline;
        send_batch(connection, state->quota < count ? (unsigned)state->quota : count,
                   ring_now_ns(state->ring));
    }
}

static uint64_t open_due_ns(const struct bench_load_state *state)
{
    unsigned __int128 hour_ns = (unsigned __int128)3600 * (uint64_t)NS_PER_SECOND;
    return state->open_begin_ns +
           (uint64_t)(hour_ns * state->open_sent / state->plan->rate_per_hour);
}

/* How many requests should have been sent by now. */
static uint64_t open_due_count(const struct bench_load_state *state)
{
    unsigned __int128 hour_ns = (unsigned __int128)3600 * (uint64_t)NS_PER_SECOND;
    uint64_t passed_ns = ring_now_ns(state->ring) - state->open_begin_ns;
    return (uint64_t)((unsigned __int128)passed_ns * state->plan->rate_per_hour / hour_ns) + 1;
}

static void open_send_due(struct bench_load_state *state)
{
    uint64_t now_ns = ring_now_ns(state->ring);
    while (may_send(state) && !list_empty(&state->idle)) {
        uint64_t due_ns = open_due_ns(state);
        if (due_ns > now_ns) {
            return;
        }
        struct list *node = list_pop_front(&state->idle);
        struct load_connection *connection = bk_container_of(node, struct load_connection, node);
        state->open_sent++;
        bench_histogram_add(&state->counts.send_lag, now_ns - due_ns);
        send_batch(connection, 1, due_ns);
    }
}

/* ---- answers */

static void answer_done(struct load_connection *connection, unsigned status, bool keeps)
{
    struct bench_load_state *state = connection->state;
    struct bench_counts *counts = &state->counts;
    bool forged = connection->forged >> connection->forged_first & 1;
    bool good = status >= 200 && status < 300;
    bool refused = status == 401 || status == 403 || status == 400;
    uint64_t now_ns = ring_now_ns(state->ring);
    bk_assert(connection->outstanding > 0);
    if (good && connection->forged_first == 0) {
        state->last_answered = connection->number;
    }
    connection->forged_first++;
    connection->outstanding--;
    state->outstanding--;
    connection->close_after |= !keeps;
    counts->answered++;
    counts->status[status < BENCH_STATUS_MAX ? status : 0]++;
    counts->forged_accepted += forged && good;
    counts->unexpected += forged ? !refused : !good;
    bench_histogram_add(&counts->latency,
                        now_ns > connection->sent_ns ? now_ns - connection->sent_ns : 0);
    state->last_answer_ns = now_ns;
    state->load->total_answered++;
    if (connection->outstanding == 0) {
        connection_next(connection);
    }
}

/* Remember what this head means, for the next answer that has the same. */
static void seen_set(struct bench_load_state *state, const uint8_t *at, size_t bytes)
{
    const struct http_head *head = &state->parsed;
    bool bodiless = head->status == 204 || head->status == 304;
    state->seen_status = head->status;
    state->seen_keeps = head->keep_alive;
    state->seen_body = bodiless ? 0 : head->content_length;
    state->seen_bytes = bytes <= SEEN_BYTES_MAX ? bytes : 0;
    if (state->seen_bytes) {
        memcpy(state->seen, at, bytes);
    }
}

/* The head of an answer at `at`; *ret_bytes = 0 when it is not complete. Sets seen_*. False: not
 * framed. */
static bool head_read(struct bench_load_state *state, const uint8_t *at, size_t bytes,
                      size_t *ret_bytes)
{
    if (state->seen_bytes && bytes >= state->seen_bytes &&
        memcmp(at, state->seen, state->seen_bytes) == 0) {
        *ret_bytes = state->seen_bytes;
        return true;
    }
    enum http_parse parsed = http_parse_response(at, bytes, &state->parsed);
    *ret_bytes = 0;
    if (parsed == HTTP_PARSE_PARTIAL) {
        return bytes < HEAD_BYTES_MAX;
    }
    const struct http_head *head = &state->parsed;
    bool bodiless = parsed == HTTP_PARSE_DONE &&
                    (head->status < 200 || head->status == 204 || head->status == 304);
    if (parsed != HTTP_PARSE_DONE || head->chunked || (!head->has_content_length && !bodiless)) {
        return false;
    }
    *ret_bytes = head->head_bytes;
    seen_set(state, at, head->head_bytes);
    return true;
}

/* Continue a head of which a part is kept; returns how many of `bytes` belong to it, or SIZE_MAX.
 */
static size_t head_continue(struct load_connection *connection, const uint8_t *at, size_t bytes)
{
    size_t kept = connection->head_bytes;
    size_t room = HEAD_BYTES_MAX - kept;
    size_t add = bytes < room ? bytes : room;
    size_t head_bytes;
    if (!connection->head) {
        connection->head = malloc(HEAD_BYTES_MAX);
        if (!connection->head) {
            return SIZE_MAX;
        }
    }
    memcpy(connection->head + kept, at, add);
    if (!head_read(connection->state, connection->head, kept + add, &head_bytes)) {
        return SIZE_MAX;
    }
    connection->head_bytes = head_bytes ? 0 : kept + add;
    bk_assert(head_bytes == 0 || head_bytes > kept);
    return head_bytes ? head_bytes - kept : SIZE_MAX - 1;
}

/* One head, or a part of it. Returns the bytes used, SIZE_MAX when the answer cannot be framed. */
static size_t head_take(struct load_connection *connection, const uint8_t *at, size_t bytes)
{
    struct bench_load_state *state = connection->state;
    size_t used = 0;
    if (connection->head_bytes == 0 && !head_read(state, at, bytes, &used)) {
        return SIZE_MAX;
    }
    if (used == 0) {
        used = head_continue(connection, at, bytes);
        if (used >= SIZE_MAX - 1) {
            return used == SIZE_MAX ? SIZE_MAX : bytes;
        }
    }
    if (state->seen_status < 200) {
        return used; /* interim: the answer follows */
    }
    if (connection->outstanding == 0) {
        return SIZE_MAX; /* nobody asked */
    }
    connection->answer_status = state->seen_status;
    connection->answer_keeps = state->seen_keeps;
    connection->body_left = state->seen_body;
    if (state->seen_body == 0) {
        answer_done(connection, connection->answer_status, connection->answer_keeps);
    }
    return used;
}

static bool answers_read(struct load_connection *connection, const uint8_t *at, size_t bytes)
{
    static const char told[] = "\"duplicate\":true";
    struct bench_load_state *state = connection->state;
    while (bytes > 0 && connection->phase == CONNECTION_READY) {
        size_t used;
        if (connection->body_left) {
            used = bytes < connection->body_left ? bytes : (size_t)connection->body_left;
            if (state->plan->duplicates_percent) {
                state->counts.duplicates_told += memmem(at, used, told, sizeof told - 1) != NULL;
            }
            connection->body_left -= used;
            if (connection->body_left == 0) {
                answer_done(connection, connection->answer_status, connection->answer_keeps);
            }
        } else {
            used = head_take(connection, at, bytes);
            if (used == SIZE_MAX) {
                return false;
            }
        }
        at += used;
        bytes -= used;
    }
    return true;
}

/* ---- TLS: between the bytes above and the ring */

static bool secure_take(struct load_connection *connection);

static void secure_sent(struct ring_op *op, const struct ring_result *result)
{
    struct load_connection *connection = bk_container_of(op, struct load_connection, send);
    if (connection->phase == CONNECTION_CLOSING || result->value < 0) {
        connection_close(connection);
        return;
    }
    tls_send_record_ack(connection->secure->tls, connection->secure->record_bytes);
    if (!secure_take(connection)) {
        connection_close(connection);
        return;
    }
    secure_pump(connection);
    if (connection->outstanding == 0) {
        connection_next(connection);
    }
}

/* The next record onto the wire, from plain text where there is some. */
static void secure_pump(struct load_connection *connection)
{
    struct load_secure *secure = connection->secure;
    const uint8_t *record;
    size_t bytes;
    if (ring_op_busy(&connection->send) || connection->phase != CONNECTION_READY) {
        return;
    }
    while (!(record = tls_send_record_buf(secure->tls, &bytes)) && secure->plain_bytes) {
        uint8_t *room = tls_send_app_buf(secure->tls, &bytes);
        if (!room) {
            return;
        }
        bytes = bytes < secure->plain_bytes ? bytes : secure->plain_bytes;
        memcpy(room, secure->plain, bytes);
        tls_send_app_ack(secure->tls, bytes);
        secure->plain += bytes;
        secure->plain_bytes -= bytes;
        if (secure->plain_bytes == 0) {
            tls_flush(secure->tls);
        }
    }
    if (record) {
        secure->record_bytes = bytes;
        ring_send(connection->state->ring, &connection->send, connection->handle, record, bytes,
                  secure_sent);
    }
}

static void secure_opened(struct load_connection *connection)
{
    struct bench_load_state *state = connection->state;
    connection->secure->open = true;
    state->shaking--;
    if (state->plan->resume) {
        tls_session_get(connection->secure->tls, &connection->secure->session);
    }
    if (state->phase != PHASE_CONNECT || state->plan->rate_per_hour) {
        connection_next(connection);
    }
}

/* What waits on the wire, into the engine; plain text out of it. False = the connection is over. */
static bool secure_take(struct load_connection *connection)
{
    struct load_secure *secure = connection->secure;
    size_t used = 0, step, bytes;
    const uint8_t *plain;
    do {
        step = tls_recv_record(secure->tls, secure->wire + used, secure->wire_bytes - used);
        used += step;
        while ((plain = tls_recv_app_buf(secure->tls, &bytes))) {
            bool framed = answers_read(connection, plain, bytes);
            tls_recv_app_ack(secure->tls, bytes);
            if (!framed) {
                return false;
            }
        }
        if (!secure->open && tls_is_open(secure->tls)) {
            secure_opened(connection);
        }
    } while (step);
    secure->wire_bytes -= used;
    memmove(secure->wire, secure->wire + used, secure->wire_bytes);
    if (!secure->open && tls_state(secure->tls) == TLS_CLOSED) {
        connection->state->counts.connect_errors++;
        const char *why = tls_why(secure->tls);
        snprintf(connection->state->tls_why, TLS_WHY_BYTES, "%s", why ? why : "closed");
    }
    return tls_state(secure->tls) != TLS_CLOSED;
}

static bool secure_read(struct load_connection *connection, const uint8_t *at, size_t bytes)
{
    struct load_secure *secure = connection->secure;
    if (secure->wire_bytes + bytes > sizeof secure->wire) {
        return false;
    }
    memcpy(secure->wire + secure->wire_bytes, at, bytes);
    secure->wire_bytes += bytes;
    if (!secure_take(connection)) {
        connection_close(connection);
        return true; /* closed is not malformed */
    }
    secure_pump(connection);
    return true;
}

static void secure_begin(struct load_connection *connection)
{
    struct bench_load_state *state = connection->state;
    struct load_secure *secure = connection->secure;
    uint8_t entropy[32];
    ring_entropy(entropy, sizeof entropy);
    tls_end(secure->tls);
    tls_client_begin(secure->tls, state->plan->trust, NULL, state->plan->name, &secure->session,
                     ring_wall_ns(state->ring) / NS_PER_SECOND, entropy);
    secure->open = false;
    state->shaking++;
    secure->plain_bytes = 0;
    secure->wire_bytes = 0;
    secure_pump(connection);
}

static bool secure_make(struct load_connection *connection)
{
    connection->secure = calloc(1, sizeof *connection->secure);
    if (connection->secure) {
        connection->secure->tls = calloc(1, tls_client_bytes());
    }
    return connection->secure && connection->secure->tls;
}

static void secure_free(struct load_connection *connection)
{
    if (connection->secure && connection->secure->tls) {
        tls_end(connection->secure->tls);
        free(connection->secure->tls);
    }
    free(connection->secure);
}

static void on_recv(struct ring_op *op, const struct ring_result *result)
{
    struct load_connection *connection = bk_container_of(op, struct load_connection, recv);
    struct bench_load_state *state = connection->state;
    bool framed = true;
    if (result->has_buffer) {
        if (result->value > 0) {
            state->counts.received_bytes += (uint64_t)result->value;
            framed = connection->secure
                         ? secure_read(connection, result->buffer, (size_t)result->value)
                         : answers_read(connection, result->buffer, (size_t)result->value);
        }
        ring_buffer_give(state->ring, result->buffer_id);
    }
    state->counts.malformed += !framed;
    bool no_buffers = result->value == -(int)BK_NO_BUFFERS;
    bool ended = !framed || result->value == 0 || (result->value < 0 && !no_buffers);
    if (ended || connection->phase == CONNECTION_CLOSING) {
        connection_close(connection);
    } else if (!result->more) {
        ring_recv(state->ring, &connection->recv, connection->handle, on_recv);
    }
}

/* ---- connections */

static void on_closed(struct ring_op *op, const struct ring_result *result)
{
    struct load_connection *connection = bk_container_of(op, struct load_connection, send);
    struct bench_load_state *state = connection->state;
    (void)result;
    connection->phase = CONNECTION_CLOSED;
    state->busy_handles--;
    list_push_back(&state->closed, &connection->node);
}

/* Safe to call again until it is closed: each operation that ends calls it. */
static void connection_close(struct load_connection *connection)
{
    struct bench_load_state *state = connection->state;
    bk_assert(connection->phase == CONNECTION_READY || connection->phase == CONNECTION_CLOSING);
    if (connection->phase == CONNECTION_READY) {
        connection->phase = CONNECTION_CLOSING;
        state->shaking -= connection->secure && !connection->secure->open;
        state->open_count--;
        if (list_linked(&connection->node)) {
            list_remove(&connection->node);
        }
        if (state->phase != PHASE_CLOSE) {
            state->counts.lost += connection->outstanding;
        }
        state->outstanding -= connection->outstanding;
        connection->outstanding = 0;
        ring_cancel(state->ring, &connection->recv);
        ring_cancel(state->ring, &connection->send);
    }
    if (!ring_op_busy(&connection->recv) && !ring_op_busy(&connection->send)) {
        ring_close_handle(state->ring, &connection->send, connection->handle, on_closed);
    }
}

static void on_connected(struct ring_op *op, const struct ring_result *result)
{
    struct load_connection *connection = bk_container_of(op, struct load_connection, send);
    struct bench_load_state *state = connection->state;
    state->opening--;
    if (result->value < 0) {
        connection->phase = CONNECTION_CLOSED;
        state->busy_handles--;
        state->counts.connect_errors++;
        state->retry_ns = ring_now_ns(state->ring) + RETRY_NS;
        list_push_back(&state->closed, &connection->node);
        return;
    }
    connection->phase = CONNECTION_READY;
    connection->close_after = false;
    connection->head_bytes = 0;
    connection->body_left = 0;
    state->open_count++;
    state->counts.reconnects += connection->once_open;
    connection->once_open = true;
    ring_recv(state->ring, &connection->recv, connection->handle, on_recv);
    if (state->phase == PHASE_CLOSE) {
        connection_close(connection);
    } else if (connection->secure) {
        secure_begin(connection);
    } else if (state->phase != PHASE_CONNECT || state->plan->rate_per_hour) {
        connection_next(connection);
    }
}

static void connect_some(struct bench_load_state *state)
{
    if (state->phase >= PHASE_DRAIN || ring_now_ns(state->ring) < state->retry_ns) {
        return;
    }
    while (state->opening < CONNECTING_MAX && !list_empty(&state->closed)) {
        struct list *node = list_pop_front(&state->closed);
        struct load_connection *connection = bk_container_of(node, struct load_connection, node);
        connection->phase = CONNECTION_OPENING;
        state->opening++;
        state->busy_handles++;
        ring_connect(state->ring, &connection->send, &state->plan->target, &connection->handle,
                     on_connected);
    }
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
        uint64_t due = open_due_count(state);
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
                connection_next(&state->connections[i]);
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
                    connection_close(&state->connections[i]);
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
        connect_some(state);
        if (state->plan->rate_per_hour && may_send(state)) {
            open_send_due(state);
            deadline_ns =
                list_empty(&state->idle) ? deadline_ns : earlier(deadline_ns, open_due_ns(state));
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
        connect_some(state);
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
        struct load_connection *connection = &state->connections[i];
        connection->state = state;
        connection->handle = -1;
        connection->requests = malloc(bytes);
        if (!connection->requests || (state->plan->trust && !secure_make(connection))) {
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
        secure_free(&state->connections[i]);
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
