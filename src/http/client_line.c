/* An established connection: sending, receiving, idling, ending. */
#include "http/client_private.h"

#include <stdio.h>

static void line_timer(struct timer *timer);
static void line_recv_done(struct ring_op *op, const struct ring_result *result);
static void line_send_done(struct ring_op *op, const struct ring_result *result);

/* ---- slots */

struct client_line *line_take(struct client_pool *pool)
{
    struct http_client *client = pool->client;
    struct client_line *line = client->conns_free;

    if (line) {
        client->conns_free = line->next_free;
    } else {
        bk_assert(client->conns_used < client->config.conns_max);
        line = &client->conns[client->conns_used++];
    }
    memset(line, 0, offsetof(struct client_line, head));
    memset(&line->body, 0, sizeof *line - offsetof(struct client_line, body));
    line->client = client;
    line->pool = pool;
    line->handle = -1;
    pool->conn_count++;
    client->conn_count++;
    counter_set(&client->stats.conns_open, client->conn_count);
    return line;
}

static void line_free(struct client_line *line)
{
    struct http_client *client = line->client;
    struct client_pool *pool = line->pool;

    bk_assert(line->state == LINE_DEAD && !line->call && !timer_running(&line->timer));
    bk_assert(pool->conn_count > 0 && client->conn_count > 0);
    line_tls_drop(line);
    line->state = LINE_FREE;
    line->next_free = client->conns_free;
    client->conns_free = line;
    client->conn_count--;
    counter_set(&client->stats.conns_open, client->conn_count);
    pool->conn_count--;
    if (pool->waiting_count > 0) {
        pool_dirty(pool);
    }
    pool_release(pool);
    pools_unblock(client);
}

/* ---- deadlines: a store; the timer moves only when it has to fire sooner than it stands */

void line_deadline(struct client_line *line, uint64_t deadline_ns)
{
    line->deadline_ns = deadline_ns;
    if (!timer_running(&line->timer) || line->timer.due_ns > deadline_ns) {
        timer_start(line->client->wheel, &line->timer, deadline_ns, line_timer);
    }
}

enum http_stage line_stage(const struct client_line *line)
{
    switch ((enum line_state)line->state) {
    case LINE_RESOLVE:
        return HTTP_STAGE_RESOLVE;
    case LINE_CONNECT:
        return HTTP_STAGE_CONNECT;
    case LINE_PROXY:
        return HTTP_STAGE_PROXY;
    case LINE_TLS:
        return HTTP_STAGE_TLS;
    case LINE_BUSY:
        return line->head_done                 ? HTTP_STAGE_BODY
               : line->sent && !line->send_err ? HTTP_STAGE_WAIT
                                               : HTTP_STAGE_SEND;
    case LINE_FREE:
    case LINE_IDLE:
    case LINE_ANSWERED:
    case LINE_DEAD:
    default:
        return HTTP_STAGE_QUEUED;
    }
}

static void line_timed_out(struct client_line *line)
{
    char why[HTTP_CALL_WHY_BYTES];
    enum http_stage stage = line_stage(line);
    uint64_t waited_ms = (line->deadline_ns - line->call->started_ns) / NS_PER_MS;

    snprintf(why, sizeof why, "%s within %llu ms",
             stage == HTTP_STAGE_SEND   ? "the request could not be sent"
             : stage == HTTP_STAGE_WAIT ? "no answer"
                                        : "the answer did not end",
             (unsigned long long)waited_ms);
    line_fail(line, BK_TIMEOUT, why);
}

static void line_timer(struct timer *timer)
{
    struct client_line *line = bk_container_of(timer, struct client_line, timer);

    if (ring_now_ns(line->client->ring) < line->deadline_ns) {
        line_deadline(line, line->deadline_ns);
        return;
    }
    switch ((enum line_state)line->state) {
    case LINE_RESOLVE:
    case LINE_CONNECT:
    case LINE_PROXY:
    case LINE_TLS:
        dial_deadline(line);
        break;
    case LINE_BUSY:
        if (line->send_err != BK_OK) {
            line_fail(line, line->send_err, bk_err_text(line->send_err));
        } else {
            line_timed_out(line);
        }
        break;
    case LINE_IDLE:
    case LINE_ANSWERED:
        line_kill(line);
        break;
    case LINE_DEAD:
        ring_cancel(line->client->ring, &line->send_op); /* a goodbye */
        break;
    case LINE_FREE:
    default:
        bk_never("a timer of no connection");
    }
}

/* ---- ending */

static void line_close_done(struct ring_op *op, const struct ring_result *result)
{
    struct client_line *line = bk_container_of(op, struct client_line, close_op);
    (void)result;
    line->handle = -1;
    line_free(line);
}

void line_try_close(struct client_line *line)
{
    if (line->state != LINE_DEAD || ring_op_busy(&line->recv_op) || ring_op_busy(&line->send_op) ||
        ring_op_busy(&line->close_op) || dial_under_way(line)) {
        return;
    }
    timer_stop(line->client->wheel, &line->timer);
    if (line->handle >= 0) {
        ring_close_handle(line->client->ring, &line->close_op, line->handle, line_close_done);
    } else {
        line_free(line);
    }
}

/* No operation reads the call's bytes any more: it goes back to the queue, or is over. */
static void line_let_go(struct client_line *line)
{
    struct http_call *call = line->call;

    line->call = NULL;
    call->line = NULL;
    if (line->again) {
        call->repeated = true;
        counter_add(&line->client->stats.repeated, 1);
        pool_queue(call, true);
    } else {
        call_finish_later(call);
    }
}

void line_kill(struct client_line *line)
{
    struct http_client *client = line->client;
    bool says_goodbye = false;

    if (line->state == LINE_DEAD) {
        return;
    }
    if (line->state == LINE_IDLE) {
        line_unidle(line);
        says_goodbye = line->tls && line_tls_goodbye(line);
    } else if (line->state <= LINE_TLS) {
        dial_cancel(line);
    }
    line->state = LINE_DEAD;
    timer_stop(client->wheel, &line->timer);
    if (list_linked(&line->starved)) {
        list_remove(&line->starved);
    }
    enum bk_err err = line->call ? line->call->reply.err : BK_CANCELLED;
    if ((err == BK_OK || err == BK_TOO_LARGE) && !line->again) {
        /* Its answer is here; what was gathered of it stays till done(). */
        line->call->kept = line->gathered;
        line->call->kept_bytes = line->gathered_size;
        line->gathered = NULL;
    }
    reply_drop(line);
    line_tls_let_go(line);
    ring_cancel(client->ring, &line->recv_op);
    if (says_goodbye) { /* but a peer that reads nothing may keep it from leaving */
        line_deadline(line, ring_now_ns(client->ring) + LAST_WORDS_MS * (uint64_t)NS_PER_MS);
    } else {
        ring_cancel(client->ring, &line->send_op);
    }
    if (line->call) {
        line->call->state = CALL_ENDING;
        if (!ring_op_busy(&line->send_op)) {
            line_let_go(line);
        }
    }
    line_try_close(line);
}

/* The peer had closed it before the call reached it; nothing says that it was read. */
static bool line_was_stale(const struct client_line *line, enum bk_err err)
{
    const struct http_call *call = line->call;
    return line->used && !line->begun && call->repeatable && !call->repeated &&
           (err == BK_RESET || err == BK_CLOSED || err == BK_PROTOCOL);
}

void line_fail(struct client_line *line, enum bk_err err, const char *why)
{
    struct http_call *call = line->call;

    if (line->state == LINE_BUSY) {
        if (line_was_stale(line, err)) {
            line->again = true;
        } else {
            call->reply.err = err;
            call->reply.stage = line_stage(line);
            call->reply.head = NULL;
            call->reply.body = SLICE_EMPTY;
            snprintf(call->reply.why, sizeof call->reply.why, "%s", why);
        }
    }
    line_kill(line);
}

/* ---- idling */

void line_idle(struct client_line *line)
{
    struct http_client *client = line->client;
    uint32_t idle_ms = client->config.idle_timeout_ms;

    bk_assert(!line->call && !list_linked(&line->node));
    bk_assert(line->tls || !ring_op_busy(&line->send_op)); /* the handshake's last record */
    if (line->keep_alive_ms > 0 && line->keep_alive_ms < idle_ms) {
        idle_ms = line->keep_alive_ms;
    }
    line->state = LINE_IDLE;
    list_push_back(&line->pool->idle, &line->node);
    list_push_back(&client->idle, &line->lru);
    counter_add(&client->stats.conns_idle, 1);
    line_deadline(line, ring_now_ns(client->ring) + idle_ms * (uint64_t)NS_PER_MS);
    pools_unblock(client); /* who waits for a connection slot comes before our own queue */
    if (line->pool->waiting_count > 0) {
        pool_dirty(line->pool);
    } else if (client->draining || pool_retired(line->pool)) {
        line_kill(line);
    }
}

void line_unidle(struct client_line *line)
{
    bk_assert(line->state == LINE_IDLE);
    list_remove(&line->node);
    list_remove(&line->lru);
    counter_set(&line->client->stats.conns_idle, line->client->stats.conns_idle - 1);
}

/* ---- sending */

/* The pieces of the request; for a proxy the target becomes a whole URL, and the proxy's own header
 * comes behind the request line. */
static bool gather_request(struct client_line *line, const struct http_call *call)
{
    const struct http_proxy_server *proxy = line->pool->origin.tls ? NULL : line->pool->proxy;
    struct ring_pieces *pieces = &line->pieces;
    struct slice head = call->pieces[0];

    pieces->count = 0;
    if (proxy) {
        size_t method = slice_find(head, ' ') + 1;
        size_t end = slice_find(head, '\n') + 1;
        if (method >= end || end > head.bytes || head.at[method] != '/') {
            return false;
        }
        pieces->at[pieces->count++] = slice_of(head.at, method);
        pieces->at[pieces->count++] = slice_str(line->pool->url_start);
        pieces->at[pieces->count++] = slice_of(head.at + method, end - method);
        if (proxy->authorization_bytes > 0) {
            pieces->at[pieces->count++] = SLICE("Proxy-Authorization: ");
            pieces->at[pieces->count++] =
                slice_of(proxy->authorization, proxy->authorization_bytes);
            pieces->at[pieces->count++] = SLICE("\r\n");
        }
        head = slice_skip(head, end);
    }
    pieces->at[pieces->count++] = head;
    for (unsigned i = 1; i < call->piece_count; i++) {
        pieces->at[pieces->count++] = call->pieces[i];
    }
    return true;
}

static void send_request(struct client_line *line)
{
    struct ring *ring = line->client->ring;

    if (line->tls) {
        line_tls_request(line);
    } else if (line->pieces.count == 1) {
        ring_send(ring, &line->send_op, line->handle, line->pieces.at[0].at,
                  line->pieces.at[0].bytes, line_send_done);
    } else {
        ring_send_pieces(ring, &line->send_op, line->handle, &line->pieces, line_send_done);
    }
}

void line_start_call(struct client_line *line, struct http_call *call)
{
    struct http_reply *reply = &call->reply;

    bk_assert(!line->call && line->state == LINE_IDLE && !line->peer_done);
    line->state = LINE_BUSY;
    line->call = call;
    line->sent = false;
    line->begun = false;
    line->head_done = false;
    line->send_err = BK_OK;
    call->state = CALL_ACTIVE;
    call->line = line;
    reply->peer = line->peer;
    reply->reused = line->used;
    if (line->used) {
        counter_add(&line->client->stats.reused, 1);
    }
    reply_begin(line);
    line_deadline(line, call->deadline_ns);
    if (gather_request(line, call)) {
        send_request(line);
    } else {
        line_fail(line, BK_INVALID, "the request line is malformed");
    }
}

void line_sent(struct client_line *line)
{
    const struct http_call *call = line->call;
    uint64_t wait_until_ns =
        ring_now_ns(line->client->ring) + call->first_byte_timeout_ms * (uint64_t)NS_PER_MS;

    line->sent = true;
    if (!line->begun && wait_until_ns < line->deadline_ns) {
        line_deadline(line, wait_until_ns);
    }
}

/* The peer does not read any more. It may have said why before (413 and a reset): wait for that. */
static void line_send_failed(struct client_line *line, enum bk_err err)
{
    if (!ring_op_busy(&line->recv_op)) {
        line_fail(line, err, bk_err_text(err));
        return;
    }
    uint64_t until_ns = ring_now_ns(line->client->ring) + LAST_WORDS_MS * (uint64_t)NS_PER_MS;
    line->send_err = err;
    line_deadline(line, until_ns < line->deadline_ns ? until_ns : line->deadline_ns);
    if (line->tls) {
        line_tls_send_failed(line);
    }
}

/* The same in the handshake: an alert that says why may lie there, unread, also in held bytes that
 * the engine could not take yet. */
static void handshake_send_failed(struct client_line *line, enum bk_err err)
{
    line->send_err = err;
    line_tls_send_failed(line);
    if (line->state != LINE_TLS) {
        return; /* it was heard */
    }
    if (!ring_op_busy(&line->recv_op)) {
        line_lost(line, err);
        return;
    }
    uint64_t until_ns = ring_now_ns(line->client->ring) + LAST_WORDS_MS * (uint64_t)NS_PER_MS;
    line->why_err = err;
    snprintf(line->why, sizeof line->why, "%s", bk_err_text(err));
    if (until_ns < line->dial_deadline_ns) {
        line->dial_deadline_ns = until_ns;
        line_deadline(line, until_ns);
    }
}

/* Nothing more can be received, but what came before is held while a record is being sent. */
static bool handshake_hears(struct client_line *line, enum bk_err err)
{
    if (line->state != LINE_TLS || line->held_count == 0) {
        return false;
    }
    if (ring_op_busy(&line->send_op)) {
        line->send_err = err; /* go on when it has failed */
    } else {
        handshake_send_failed(line, err);
    }
    return true;
}

static void line_send_done(struct ring_op *op, const struct ring_result *result)
{
    struct client_line *line = bk_container_of(op, struct client_line, send_op);
    enum bk_err err = result->value < 0 ? (enum bk_err) - result->value : BK_OK;

    switch ((enum line_state)line->state) {
    case LINE_DEAD:
        if (line->call) {
            line_let_go(line);
        }
        line_try_close(line);
        return;
    case LINE_ANSWERED:
        if (err != BK_OK) {
            line->response.keep_alive = false;
        }
        reply_deliver(line);
        return;
    case LINE_BUSY:
        if (err != BK_OK) {
            line_send_failed(line, err);
        } else if (line->tls) {
            line_tls_send_done(line);
        } else {
            line_sent(line);
        }
        return;
    case LINE_PROXY:
        if (err != BK_OK) {
            snprintf(line->why, sizeof line->why, "the proxy closed the connection");
            dial_fail(line, err, HTTP_STAGE_PROXY);
        }
        return;
    case LINE_TLS:
        if (err != BK_OK || line->send_err != BK_OK) {
            handshake_send_failed(line, err != BK_OK ? err : line->send_err);
        } else {
            line_tls_send_done(line);
        }
        return;
    case LINE_IDLE:
        if (err != BK_OK) {
            line_lost(line, err);
        } else {
            line_tls_send_done(line);
        }
        return;
    case LINE_FREE:
    case LINE_RESOLVE:
    case LINE_CONNECT:
    default:
        bk_never("a send in this state");
    }
}

void line_send(struct client_line *line, const void *at, size_t bytes)
{
    ring_send(line->client->ring, &line->send_op, line->handle, at, bytes, line_send_done);
}

/* ---- receiving */

void line_receive(struct client_line *line)
{
    ring_recv(line->client->ring, &line->recv_op, line->handle, line_recv_done);
}

/* The connection ended while no answer was awaited on it. */
void line_lost(struct client_line *line, enum bk_err err)
{
    switch ((enum line_state)line->state) {
    case LINE_PROXY:
    case LINE_TLS:
        snprintf(line->why, sizeof line->why, "%s",
                 err == BK_CLOSED ? "the peer closed the connection" : bk_err_text(err));
        dial_fail(line, err == BK_CLOSED ? BK_PROTOCOL : err, line_stage(line));
        return;
    case LINE_IDLE:
        counter_add(&line->client->stats.stale_closed, 1);
        if (!line->used) {
            /* Closed before its first call: else a peer that always does so would be dialled
             * again and again. */
            snprintf(line->why, sizeof line->why, "the peer closed the connection at once");
            dial_fail(line, BK_RESET, HTTP_STAGE_SEND);
            return;
        }
        line_kill(line);
        return;
    case LINE_BUSY:
        line_fail(line, err, bk_err_text(err));
        return;
    case LINE_ANSWERED:
        line_kill(line);
        return;
    case LINE_FREE:
    case LINE_RESOLVE:
    case LINE_CONNECT:
    case LINE_DEAD:
    default:
        bk_never("nothing is received in this state");
    }
}

void line_plain(struct client_line *line, uint8_t *at, size_t bytes)
{
    switch ((enum line_state)line->state) {
    case LINE_BUSY:
        reply_input(line, at, bytes);
        break;
    case LINE_ANSWERED:
        line->response.keep_alive = false; /* more than the answer */
        break;
    case LINE_PROXY:
        dial_proxy_received(line, at, bytes);
        break;
    case LINE_IDLE:
        line_lost(line, BK_PROTOCOL); /* nobody asked */
        break;
    case LINE_FREE:
    case LINE_RESOLVE:
    case LINE_CONNECT:
    case LINE_TLS:
    case LINE_DEAD:
    default:
        break;
    }
}

void line_plain_end(struct client_line *line)
{
    if (line->state == LINE_BUSY) {
        reply_end(line);
    } else {
        line_lost(line, BK_CLOSED);
    }
}

static void line_recv_ended(struct client_line *line, int32_t value)
{
    if (value > 0) {
        line_receive(line);
    } else if (value == 0) {
        line->peer_done = true;
        if (line->tls) {
            line_tls_ended(line);
        } else {
            line_plain_end(line);
        }
    } else if (value != -BK_NO_BUFFERS) {
        enum bk_err err = (enum bk_err) - value;
        if (handshake_hears(line, err)) {
            return;
        }
        line_lost(line, line->send_err != BK_OK && err != BK_CANCELLED ? line->send_err : err);
    } else if (line->state == LINE_IDLE) {
        line_kill(line); /* it could die unseen */
    } else {
        list_push_back(&line->client->starved, &line->starved);
    }
}

static void line_recv_done(struct ring_op *op, const struct ring_result *result)
{
    struct client_line *line = bk_container_of(op, struct client_line, recv_op);
    struct ring *ring = line->client->ring;
    bool kept = false;

    if (result->value > 0 && line->state != LINE_DEAD) {
        if (line->tls) {
            kept =
                line_tls_received(line, result->buffer, (size_t)result->value, result->buffer_id);
        } else {
            line_plain(line, result->buffer, (size_t)result->value);
        }
    }
    if (result->has_buffer && !kept) {
        ring_buffer_give(ring, result->buffer_id);
    }
    if (result->more) {
        return;
    }
    if (line->state == LINE_DEAD) {
        line_try_close(line);
    } else if (line->state != LINE_FREE) {
        line_recv_ended(line, result->value);
    }
}
