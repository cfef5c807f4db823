/* bench_connection.c - a connection: opened, its requests sent when they are due, closed. */
#include "cli/bench_load_private.h"

#include "base/assert.h"

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
    struct bench_connection *connection = bk_container_of(op, struct bench_connection, send);
    if (connection->phase == CONNECTION_CLOSING || result->value < 0) {
        bench_connection_close(connection);
    } else if (connection->outstanding == 0) {
        /* The answer was faster than the completion of the send. */
        bench_connection_next(connection);
    }
}

static void send_batch(struct bench_connection *connection, unsigned count, uint64_t intended_ns)
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
        bench_secure_pump(connection);
        return;
    }
    ring_send(state->ring, &connection->send, connection->handle, connection->requests,
              count * bytes, send_finish);
}

bool bench_may_send(const struct bench_load_state *state)
{
    return (state->phase == PHASE_WARMUP || state->phase == PHASE_MEASURE) && state->quota > 0;
}

void bench_connection_next(struct bench_connection *connection)
{
    struct bench_load_state *state = connection->state;
    bool shaking = connection->secure && !connection->secure->open;
    if (connection->phase != CONNECTION_READY || ring_op_busy(&connection->send) || shaking) {
        return;
    }
    if (connection->close_after) {
        bench_connection_close(connection);
    } else if (state->plan->rate_per_hour) {
        if (!list_linked(&connection->node)) {
            list_push_back(&state->idle, &connection->node);
        }
    } else if (bench_may_send(state)) {
        unsigned count = state->plan->pipeline;
        send_batch(connection, state->quota < count ? (unsigned)state->quota : count,
                   ring_now_ns(state->ring));
    }
}

uint64_t bench_open_due_ns(const struct bench_load_state *state)
{
    unsigned __int128 hour_ns = (unsigned __int128)3600 * (uint64_t)NS_PER_SECOND;
    return state->open_begin_ns +
           (uint64_t)(hour_ns * state->open_sent / state->plan->rate_per_hour);
}

uint64_t bench_open_due_count(const struct bench_load_state *state)
{
    unsigned __int128 hour_ns = (unsigned __int128)3600 * (uint64_t)NS_PER_SECOND;
    uint64_t passed_ns = ring_now_ns(state->ring) - state->open_begin_ns;
    return (uint64_t)((unsigned __int128)passed_ns * state->plan->rate_per_hour / hour_ns) + 1;
}

void bench_open_send_due(struct bench_load_state *state)
{
    uint64_t now_ns = ring_now_ns(state->ring);
    while (bench_may_send(state) && !list_empty(&state->idle)) {
        uint64_t due_ns = bench_open_due_ns(state);
        if (due_ns > now_ns) {
            return;
        }
        struct list *node = list_pop_front(&state->idle);
        struct bench_connection *connection = bk_container_of(node, struct bench_connection, node);
        state->open_sent++;
        bench_histogram_add(&state->counts.send_lag, now_ns - due_ns);
        send_batch(connection, 1, due_ns);
    }
}

/* ---- receiving */

static void on_recv(struct ring_op *op, const struct ring_result *result)
{
    struct bench_connection *connection = bk_container_of(op, struct bench_connection, recv);
    struct bench_load_state *state = connection->state;
    bool framed = true;
    if (result->has_buffer) {
        if (result->value > 0) {
            state->counts.received_bytes += (uint64_t)result->value;
            framed = connection->secure
                         ? bench_secure_read(connection, result->buffer, (size_t)result->value)
                         : bench_answers_read(connection, result->buffer, (size_t)result->value);
        }
        ring_buffer_give(state->ring, result->buffer_id);
    }
    state->counts.malformed += !framed;
    bool no_buffers = result->value == -(int)BK_NO_BUFFERS;
    bool ended = !framed || result->value == 0 || (result->value < 0 && !no_buffers);
    if (ended || connection->phase == CONNECTION_CLOSING) {
        bench_connection_close(connection);
    } else if (!result->more) {
        ring_recv(state->ring, &connection->recv, connection->handle, on_recv);
    }
}

/* ---- opening and closing */

static void on_closed(struct ring_op *op, const struct ring_result *result)
{
    struct bench_connection *connection = bk_container_of(op, struct bench_connection, send);
    struct bench_load_state *state = connection->state;
    (void)result;
    connection->phase = CONNECTION_CLOSED;
    state->busy_handles--;
    list_push_back(&state->closed, &connection->node);
}

void bench_connection_close(struct bench_connection *connection)
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
    struct bench_connection *connection = bk_container_of(op, struct bench_connection, send);
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
        bench_connection_close(connection);
    } else if (connection->secure) {
        bench_secure_begin(connection);
    } else if (state->phase != PHASE_CONNECT || state->plan->rate_per_hour) {
        bench_connection_next(connection);
    }
}

void bench_connect_some(struct bench_load_state *state)
{
    if (state->phase >= PHASE_DRAIN || ring_now_ns(state->ring) < state->retry_ns) {
        return;
    }
    while (state->opening < CONNECTING_MAX && !list_empty(&state->closed)) {
        struct list *node = list_pop_front(&state->closed);
        struct bench_connection *connection = bk_container_of(node, struct bench_connection, node);
        connection->phase = CONNECTION_OPENING;
        state->opening++;
        state->busy_handles++;
        ring_connect(state->ring, &connection->send, &state->plan->target, &connection->handle,
                     on_connected);
    }
}
