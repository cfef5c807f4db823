/* receive.c - from bytes to whole requests.
 *
 * Most requests come whole in one receive buffer and are handled where they lie (conn_whole).
 * Others are gathered in a buffer of their own, a struct spill, which also holds what comes while
 * the pipeline is full or the handler said "later".
 */
#include "http/conn.h"

#define SPILL_AHEAD 4U /* a body's buffer is at most so many times what has come of it */

/* ---- refusing, passing on */

void conn_fail(struct http_conn *conn, struct http_exchange *exchange, unsigned status,
               const char *message)
{
    conn->server->stats.bad_requests++;
    if (!exchange) {
        exchange = exchange_take(conn);
    }
    conn_no_more_requests(conn);
    if (!exchange) {
        conn_kill(conn);
        return;
    }
    exchange->close_after = true;
    exchange->minor_version = 1;
    const char *code = status == 413 ? "too_large" : status == 503 ? "unavailable" : "invalid";
    http_answer_error(exchange, status, code, message,
                      status == 503 ? SLICE("Retry-After: 1\r\n") : SLICE_EMPTY);
}

static void conn_fail_parse(struct http_conn *conn, enum http_parse result)
{
    unsigned status = result == HTTP_PARSE_TOO_LONG          ? 431
                      : result == HTTP_PARSE_URI_TOO_LONG    ? 414
                      : result == HTTP_PARSE_BAD_VERSION     ? 505
                      : result == HTTP_PARSE_NOT_IMPLEMENTED ? 501
                                                             : 400;
    conn_fail(conn, NULL, status, http_parse_text(result));
}

void exchange_describe(struct http_exchange *exchange, const struct http_head *head)
{
    exchange->head_only = head->method == HTTP_HEAD;
    exchange->keep_alive = head->keep_alive;
    exchange->minor_version = head->minor_version;
}

enum http_outcome http_later(struct http_exchange *exchange, const char *code, const char *message)
{
    exchange->server->later_code = code;
    exchange->server->later_message = message;
    return HTTP_LATER;
}

static void conn_park(struct http_conn *conn, struct list *where, const char *code,
                      const char *message)
{
    conn->parked = true;
    conn->spill->later_code = code;
    conn->spill->later_message = message;
    if (list_linked(&conn->waiting)) {
        list_remove(&conn->waiting); /* it was starved */
    }
    list_push_back(where, &conn->waiting);
    ring_cancel(conn->server->ring, &conn->recv_op);
    conn_deadline_sooner(conn, conn->server->config.parked_timeout_ms);
}

/* What the handler made of a whole request. */
static void request_done(struct http_conn *conn, const struct http_message *message,
                         enum http_outcome outcome)
{
    if (outcome == HTTP_TAKEN) {
        conn->server->stats.requests++;
        if (!message->head->keep_alive) {
            conn_no_more_requests(conn);
        }
        conn_deadline(conn, conn->server->config.idle_timeout_ms);
    }
}

/* ---- the split path: gather the request in a buffer of its own */

/* The buffer for a message of that size, with room behind it. */
static uint64_t spill_buffer_bytes(uint64_t message_bytes)
{
    return HTTP_BUFFER_MESSAGE_AT + message_bytes + 4096;
}

static bool spill_room(struct http_conn *conn, size_t bytes_more)
{
    struct spill *spill = conn->spill;
    size_t needed = (size_t)spill_buffer_bytes(spill->bytes + bytes_more);
    if (needed <= spill->buffer_bytes) {
        return true;
    }
    /* Room for the announced body, but not much more than what has come: memory is for those who
     * send. */
    if (spill->head_done && spill->head.content_length > spill->bytes) {
        uint64_t whole = spill_buffer_bytes(spill->head.head_bytes + spill->head.content_length);
        uint64_t ahead = (uint64_t)needed * SPILL_AHEAD;
        ahead = ahead < whole ? ahead : whole;
        needed = ahead > needed ? (size_t)ahead : needed;
    }
    size_t size;
    uint8_t *buffer = buffers_take(conn->server->buffers, needed, &size);
    if (!buffer) {
        return false;
    }
    if (spill->buffer) {
        memcpy(buffer + HTTP_BUFFER_MESSAGE_AT, spill->buffer + HTTP_BUFFER_MESSAGE_AT,
               spill->bytes);
        buffers_give(conn->server->buffers, spill->buffer, spill->buffer_bytes);
    }
    spill->buffer = buffer;
    spill->buffer_bytes = size;
    spill->head.at = buffer + HTTP_BUFFER_MESSAGE_AT;
    return true;
}

static bool spill_append(struct http_conn *conn, const uint8_t *at, size_t bytes)
{
    if (!conn->spill) {
        conn->spill = spill_take(conn->server);
        if (!conn->spill) {
            return false;
        }
        conn_deadline_gathering(conn, conn->server->config.head_timeout_ms);
    }
    if (!spill_room(conn, bytes)) {
        return false;
    }
    memcpy(conn->spill->buffer + HTTP_BUFFER_MESSAGE_AT + conn->spill->bytes, at, bytes);
    conn->spill->bytes += bytes;
    return true;
}

static void send_continue(struct http_conn *conn)
{
    /* Only straight away: behind an unanswered request the client has to wait (RFC 9110 10.1.1 lets
     * it send the body after a while anyway). */
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http_exchange *exchange = exchange_take(conn);
    if (exchange) {
        memcpy(exchange->inline_at, text, sizeof text - 1);
        exchange->inline_bytes = sizeof text - 1;
        http_ready(exchange);
    }
}

/* `bytes` is at least the head. Written so that no length, however large, overflows. */
static bool body_is_here(const struct http_head *head, size_t bytes)
{
    return head->content_length <= bytes - head->head_bytes;
}

/* Whether it waits for our word before it sends its body. It is answered by its head (RFC 9110
 * 10.1.1), also when the body came along: who could not know that must not read another answer. */
static inline bool asks_first(const struct http_head *head)
{
    return head->expect_continue && (head->chunked || head->content_length > 0);
}

/* It could have come whole in one receive buffer. So that its answer does not depend on how the
 * network cuts it, it is gathered first: an answer before the body would end the connection. */
static bool comes_whole(const struct http_head *head)
{
    _Static_assert(HTTP_HEAD_BYTES_MAX <= RECV_BUFFER_BYTES, "a head fits");
    return !head->chunked && body_is_here(head, RECV_BUFFER_BYTES) && !asks_first(head);
}

/* The head is there: ask how much body is wanted. False = answered or dead. */
static bool spill_head_done(struct http_conn *conn)
{
    struct spill *spill = conn->spill;
    struct http_server *server = conn->server;
    spill->head_done = true;
    spill->body_since_ns = ring_now_ns(server->ring);
    spill->scanned = spill->head.head_bytes;
    http_chunked_init(&spill->chunked);
    bool whole = comes_whole(&spill->head);
    if (whole && body_is_here(&spill->head, spill->bytes)) {
        spill->body_max = spill->head.content_length;
        return true;
    }
    struct http_exchange *exchange = exchange_take(conn);
    if (!exchange) {
        conn_kill(conn);
        return false;
    }
    exchange_describe(exchange, &spill->head);
    exchange->comes_whole = whole;
    exchange->close_after = true; /* an answer before the body was read ends the connection */
    spill->body_max = server->handler.on_head(server->handler.context, exchange, &spill->head);
    if (exchange->ready || exchange->inline_bytes) {
        conn_no_more_requests(conn);
        return false;
    }
    if (spill->head.content_length > spill->body_max) {
        conn_fail(conn, exchange, 413, "the body is over the limit of this address");
        return false;
    }
    /* Not needed until the body is here; taken again then, so that the order of answers stays. */
    exchange->close_after = false;
    exchange_leave(conn, exchange);
    exchange_give(server, exchange);
    if (asks_first(&spill->head) && spill->bytes == spill->head.head_bytes) {
        send_continue(conn);
    }
    conn_deadline_gathering(conn, server->config.body_timeout_ms);
    return true;
}

/* Decode what came since the last call, right behind what is decoded. */
static bool spill_decode(struct http_conn *conn, bool *ret_complete)
{
    struct spill *spill = conn->spill;
    uint8_t *message = spill->buffer + HTTP_BUFFER_MESSAGE_AT;
    size_t bytes = spill->bytes - spill->scanned, consumed = 0;
    enum http_parse result = HTTP_PARSE_PARTIAL;
    size_t decoded = bytes;
    if (bytes) {
        result =
            http_chunked_decode(&spill->chunked, message + spill->scanned, &decoded, &consumed);
    }
    if (result != HTTP_PARSE_DONE && result != HTTP_PARSE_PARTIAL) {
        conn_fail_parse(conn, result);
        return false;
    }
    size_t target = spill->head.head_bytes + spill->decoded;
    if (decoded) {
        memmove(message + target, message + spill->scanned, decoded);
    }
    spill->decoded += decoded;
    if (spill->decoded > spill->body_max) {
        conn_fail(conn, NULL, 413, "the body is over the limit of this address");
        return false;
    }
    /* Close the gap, so that raw bytes that follow land right behind the decoded ones. */
    size_t rest_at = spill->scanned + (bytes ? consumed : 0);
    size_t rest = spill->bytes - rest_at;
    if (rest) {
        memmove(message + target + decoded, message + rest_at, rest);
    }
    spill->scanned = target + decoded;
    spill->bytes = spill->scanned + rest;
    *ret_complete = result == HTTP_PARSE_DONE;
    return true;
}

/* Pass the complete message on; what follows it becomes the next spill. False = stop. */
static bool spill_deliver(struct http_conn *conn, size_t body_bytes)
{
    struct spill *spill = conn->spill;
    struct http_exchange *exchange = exchange_take(conn);
    if (!exchange) {
        conn_park(conn, &conn->server->parked, "unavailable",
                  "too many requests are under way, try again");
        return false;
    }
    spill->exchange = exchange;
    spill->head.at = spill->buffer + HTTP_BUFFER_MESSAGE_AT;
    size_t message_bytes = spill->head.head_bytes + body_bytes;
    struct http_message message = {
        .head = &spill->head,
        .body = slice_of(spill->head.at + spill->head.head_bytes, body_bytes),
        .decoded = spill->head.chunked,
        .peer = conn->peer,
    };
    /* The tail is copied out first: the handler may take the buffer. */
    size_t tail_bytes = spill->bytes - message_bytes;
    struct spill *next = NULL;
    if (tail_bytes) {
        conn->spill = NULL;
        if (!spill_append(conn, spill->head.at + message_bytes, tail_bytes)) {
            spill_give(conn);
            conn->spill = spill;
            conn_fail(conn, exchange, 503, "no memory for this request now, try again");
            return false;
        }
        next = conn->spill;
        conn->spill = spill;
    }
    exchange_describe(exchange, &spill->head);
    enum http_outcome outcome =
        conn->server->handler.on_request(conn->server->handler.context, exchange, &message);
    request_done(conn, &message, outcome);
    if (outcome == HTTP_LATER) {
        spill->exchange = NULL;
        exchange_leave(conn, exchange);
        exchange_give(conn->server, exchange);
        if (next) {
            conn->spill = next;
            spill_give(conn);
            conn->spill = spill;
        }
        conn_park(conn, &conn->server->parked, conn->server->later_code,
                  conn->server->later_message);
        return false;
    }
    bk_assert(conn->state != CONN_DEAD);
    spill_give(conn);
    conn->spill = next;
    if (next) {
        conn_deadline_reading(conn);
    }
    return next != NULL;
}

static bool spill_step(struct http_conn *conn)
{
    struct spill *spill = conn->spill;
    if (!spill->head_done) {
        enum http_parse result =
            http_parse_request(spill->buffer + HTTP_BUFFER_MESSAGE_AT, spill->bytes, &spill->head);
        if (result == HTTP_PARSE_PARTIAL) {
            return false;
        }
        if (result != HTTP_PARSE_DONE) {
            conn_fail_parse(conn, result);
            return false;
        }
        if (!spill_head_done(conn)) {
            return false;
        }
    }
    if (spill->head.chunked) {
        if (!spill->complete && !spill_decode(conn, &spill->complete)) {
            return false;
        }
        return spill->complete && spill_deliver(conn, spill->decoded);
    }
    return body_is_here(&spill->head, spill->bytes) &&
           spill_deliver(conn, (size_t)spill->head.content_length);
}

/* Out of buffers: shed this connection. Who would never fit must not try again. */
static void spill_fail(struct http_conn *conn, size_t bytes_more)
{
    const struct spill *spill = conn->spill;
    uint64_t bytes = 0;
    if (spill && spill->head_done) {
        bytes = spill_buffer_bytes(spill->head.chunked
                                       ? spill->bytes + bytes_more
                                       : spill->head.head_bytes + spill->head.content_length);
    }
    if (buffers_could_hold(conn->server->buffers, bytes, SPILL_AHEAD)) {
        conn_fail(conn, NULL, 503, "no memory for this request now, try again");
    } else {
        conn_fail(conn, NULL, 413, "the body is too large for this server's --request-memory");
    }
}

/* ---- the whole path: a request inside one receive buffer */

struct whole {
    struct http_exchange *exchange; /* NULL = there is none */
    struct http_head head;
    struct http_message message;
};

/* Returns the bytes used; 0 = the rest has to be gathered. Without an exchange the connection
 * failed. */
static inline size_t whole_read(struct http_conn *conn, const uint8_t *at, size_t bytes,
                                struct whole *whole)
{
    whole->exchange = NULL;
    enum http_parse result = http_parse_request(at, bytes, &whole->head);
    if (result == HTTP_PARSE_PARTIAL) {
        return 0;
    }
    if (result != HTTP_PARSE_DONE) {
        conn_fail_parse(conn, result);
        return bytes;
    }
    if (whole->head.chunked || asks_first(&whole->head) || !body_is_here(&whole->head, bytes)) {
        return 0;
    }
    whole->exchange = exchange_take(conn);
    if (!whole->exchange) {
        return 0;
    }
    exchange_describe(whole->exchange, &whole->head);
    size_t body_bytes = (size_t)whole->head.content_length;
    whole->message = (struct http_message){
        .head = &whole->head,
        .body = slice_of(at + whole->head.head_bytes, body_bytes),
        .peer = conn->peer,
    };
    return whole->head.head_bytes + body_bytes;
}

/* False: it could not be taken now, and is to be gathered. */
static inline bool whole_done(struct http_conn *conn, const struct whole *whole,
                              enum http_outcome outcome)
{
    request_done(conn, &whole->message, outcome);
    if (outcome == HTTP_LATER) {
        exchange_leave(conn, whole->exchange);
        exchange_give(conn->server, whole->exchange);
        return false;
    }
    return true;
}

static inline enum http_outcome whole_ask(struct http_server *server, const struct whole *whole)
{
    return server->handler.on_request(server->handler.context, whole->exchange, &whole->message);
}

/* Returns the bytes used; 0 = the rest has to be gathered (or the connection failed). */
static size_t conn_whole(struct http_conn *conn, const uint8_t *at, size_t bytes)
{
    struct whole whole;
    size_t used = whole_read(conn, at, bytes, &whole);
    if (whole.exchange && !whole_done(conn, &whole, whole_ask(conn->server, &whole))) {
        used = 0;
    }
    return used;
}

/* Of a long pipeline that is gathered, the requests in front that could have come whole are handled
 * where they lie, for to copy what follows, for each of them, would take the square of its length.
 * What is left begins the buffer again, unless it only waits for answers to go out. */
static void spill_run_whole(struct http_conn *conn)
{
    struct spill *spill = conn->spill;
    uint8_t *message = spill->buffer + HTTP_BUFFER_MESSAGE_AT;
    size_t used = 1;
    if (spill->head_done || (spill->bytes <= RECV_BUFFER_BYTES && spill->done == 0)) {
        return;
    }
    conn->spill = NULL; /* as for bytes that come in */
    while (used && spill->bytes - spill->done > RECV_BUFFER_BYTES && conn_may_read(conn)) {
        used = conn_whole(conn, message + spill->done, RECV_BUFFER_BYTES);
        spill->done += used;
    }
    conn->spill = spill;
    if (conn->state != CONN_OPEN) {
        spill_give(conn);
        return;
    }
    conn_deadline_reading(conn);
    if (conn_may_read(conn)) {
        spill->bytes -= spill->done;
        memmove(message, message + spill->done, spill->bytes);
        spill->done = 0;
    }
}

void conn_run_spill(struct http_conn *conn)
{
    while (conn_may_read(conn) && conn->spill) {
        spill_run_whole(conn);
        if (!conn_may_read(conn) || !conn->spill || !spill_step(conn)) {
            return;
        }
    }
}

static void conn_spill(struct http_conn *conn, const uint8_t *at, size_t bytes)
{
    if (!spill_append(conn, at, bytes)) {
        spill_fail(conn, bytes);
        return;
    }
    /* A head that dribbles in is parsed from its start with every piece: what can never become
     * valid is answered at once, and reading 16 KiB again costs less than the packet that brought
     * the piece. */
    conn_run_spill(conn);
}

/* Inlined where plain bytes come in; TLS may pay for a call. */
static inline __attribute__((always_inline)) void conn_input(struct http_conn *conn, uint8_t *at,
                                                             size_t bytes)
{
    while (bytes && conn_may_read(conn) && !conn->spill) {
        size_t used = conn_whole(conn, at, bytes);
        if (!used) {
            conn_spill(conn, at, bytes);
            return;
        }
        at += used;
        bytes -= used;
    }
    if (!bytes) {
        return;
    }
    if (conn_may_read(conn)) {
        conn_spill(conn, at, bytes);
    } else if (conn->state == CONN_OPEN && !spill_append(conn, at, bytes)) {
        conn_kill(conn);
    }
    /* CONN_LAST and CONN_LINGER: dropped. */
    conn->lingers_on = conn->state == CONN_LINGER;
}

void conn_input_plain(struct http_conn *conn, uint8_t *at, size_t bytes)
{
    conn_input(conn, at, bytes);
}

static void conn_end_of_stream(struct http_conn *conn)
{
    conn->peer_done = true;
    if (conn->state == CONN_LINGER) {
        if (!ring_op_busy(&conn->send_op)) {
            conn_kill(conn);
        }
        return;
    }
    if (conn_secure_hopeless(conn)) {
        conn_kill(conn);
        return;
    }
    /* A half-closed peer still gets answers to all it has sent. */
    if (conn->exchange_count == 0 && !conn->parked) {
        conn_dirty(conn); /* the flush runs what was gathered, then closes */
    }
}

void conn_read_again(struct http_conn *conn)
{
    if (conn->state == CONN_DEAD || conn->peer_done || ring_op_busy(&conn->recv_op)) {
        return;
    }
    bool wanted = conn_may_read(conn) || conn->state == CONN_LINGER || conn->state == CONN_LAST;
    if (!wanted || conn_secure_full(conn)) {
        return;
    }
    if (ring_buffers_low(conn->server->ring) && conn->starved) {
        if (!list_linked(&conn->waiting)) {
            list_push_back(&conn->server->starved, &conn->waiting);
        }
        return;
    }
    conn->starved = false;
    ring_recv(conn->server->ring, &conn->recv_op, conn->handle, conn_recv_done);
}

/* ---- requests of two connections at once

   Only bytes wait for a second request, and not beyond the turn. Nothing was looked at yet: what
   happens meanwhile happens as if they had come a little later. */

static bool may_wait(const struct http_conn *conn, const struct ring_result *result)
{
    const struct http_server *server = conn->server;
    return server->handler.on_two && !server->config.tls && result->has_buffer &&
           result->value > 0 && result->more && conn_may_read(conn) && !conn->spill;
}

void received_drop(struct http_server *server)
{
    server->first.conn = NULL;
    ring_buffer_give(server->ring, server->first.buffer_id);
}

static void received_end(const struct received *received)
{
    struct http_conn *conn = received->conn;
    ring_buffer_give(conn->server->ring, received->buffer_id);
    if (conn->state == CONN_OPEN && !conn_may_read(conn)) {
        ring_cancel(conn->server->ring, &conn->recv_op); /* full pipeline: let TCP push back */
    }
}

static void received_alone(const struct received *received)
{
    conn_input(received->conn, received->at, received->bytes);
    received_end(received);
}

/* Both were read as far as `used`; 0 = the first request has to be gathered. */
static void received_rest(const struct received *received, size_t used)
{
    if (used) {
        conn_input(received->conn, received->at + used, received->bytes - used);
    } else {
        conn_spill(received->conn, received->at, received->bytes);
    }
    received_end(received);
}

static void ask_two(struct http_server *server, const struct whole wholes[2],
                    enum http_outcome ret_outcomes[2])
{
    if (wholes[0].exchange && wholes[1].exchange) {
        struct http_exchange *exchanges[2] = {wholes[0].exchange, wholes[1].exchange};
        const struct http_message *messages[2] = {&wholes[0].message, &wholes[1].message};
        server->handler.on_two(server->handler.context, exchanges, messages, ret_outcomes);
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        if (wholes[i].exchange) {
            ret_outcomes[i] = whole_ask(server, &wholes[i]);
        }
    }
}

static void received_two(struct http_server *server, const struct received two[2])
{
    struct whole wholes[2];
    size_t used[2];
    enum http_outcome outcomes[2];
    for (unsigned i = 0; i < 2; i++) {
        used[i] = whole_read(two[i].conn, two[i].at, two[i].bytes, &wholes[i]);
    }
    ask_two(server, wholes, outcomes);
    for (unsigned i = 0; i < 2; i++) {
        if (wholes[i].exchange && !whole_done(two[i].conn, &wholes[i], outcomes[i])) {
            used[i] = 0;
        }
        received_rest(&two[i], used[i]);
    }
}

void http_server_received(struct http_server *server)
{
    if (server->first.conn) {
        struct received alone = server->first;
        server->first.conn = NULL;
        received_alone(&alone);
    }
}

/* It waits, or goes with the one that does. */
static void received(struct http_conn *conn, const struct ring_result *result)
{
    struct http_server *server = conn->server;
    struct received second = {conn, result->buffer, (size_t)result->value, result->buffer_id};
    struct http_conn *waits = server->first.conn;
    if (waits && conn_may_read(waits) && !waits->spill) {
        struct received two[2] = {server->first, second};
        server->first.conn = NULL;
        received_two(server, two);
        return;
    }
    http_server_received(server); /* an answer has ended its connection meanwhile */
    server->first = second;
}

void conn_recv_done(struct ring_op *op, const struct ring_result *result)
{
    struct http_conn *conn = bk_container_of(op, struct http_conn, recv_op);
    if (conn->server->first.conn == conn) {
        http_server_received(conn->server);
    }
    if (may_wait(conn, result)) {
        received(conn, result);
        return;
    }
    if (result->has_buffer) {
        if (conn->state != CONN_DEAD && result->value > 0) {
            if (__builtin_expect(conn->server->config.tls != NULL, 0)) {
                conn_secure_input(conn, result->buffer, (size_t)result->value);
            } else {
                conn_input(conn, result->buffer, (size_t)result->value);
            }
        }
        ring_buffer_give(conn->server->ring, result->buffer_id);
    }
    if (conn->state == CONN_DEAD) {
        conn_try_close(conn);
        return;
    }
    if (result->value == 0) {
        conn_end_of_stream(conn);
    } else if (result->value < 0 && result->value != -(int)BK_NO_BUFFERS &&
               result->value != -(int)BK_CANCELLED && result->value != -(int)BK_AGAIN) {
        conn_kill(conn);
    } else if (!result->more) {
        conn->starved = result->value == -(int)BK_NO_BUFFERS;
        conn_read_again(conn);
    } else if (!conn_may_read(conn) && conn->state == CONN_OPEN) {
        ring_cancel(conn->server->ring, &conn->recv_op); /* full pipeline: let TCP push back */
    }
}
