/* answer.c - answers: their heads, the order in which they leave, sending. */
#include "http/conn.h"

#include <stdio.h>
#include <stdlib.h>

#define ANSWER_TYPE_BYTES_MAX 64U
/* So much of a long answer leaves in one send, so that it is seen whether its reader reads. */
#define SEND_BYTES_MAX (256U << 10)

/* ---- answers */

static const char *http_status_text(unsigned status)
{
    switch (status) {
    case 100:
        return "Continue";
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 202:
        return "Accepted";
    case 204:
        return "No Content";
    case 302:
        return "Found";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 411:
        return "Length Required";
    case 412:
        return "Precondition Failed";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 415:
        return "Unsupported Media Type";
    case 417:
        return "Expectation Failed";
    case 421:
        return "Misdirected Request";
    case 422:
        return "Unprocessable Content";
    case 428:
        return "Precondition Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 501:
        return "Not Implemented";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    case 507:
        return "Insufficient Storage";
    case 508:
        return "Loop Detected";
    default:
        return "Status";
    }
}

static bool status_closes(unsigned status)
{
    return status == 400 || status == 408 || status == 413 || status == 414 || status == 431 ||
           status == 501 || status == 505;
}

static void date_refresh(struct http_server *server)
{
    int64_t second = ring_wall_ns(server->ring) / NS_PER_SECOND;
    if (second != server->date_second) {
        server->date_second = second;
        char date[30];
        time_format_http(second, date);
        memcpy(server->date_line, "Date: ", 6);
        memcpy(server->date_line + 6, date, 29);
        memcpy(server->date_line + 35, "\r\n", 3);
    }
}

struct writer {
    uint8_t *at;
    size_t bytes;
};

static inline void put(struct writer *writer, const void *at, size_t bytes)
{
    memcpy(writer->at + writer->bytes, at, bytes);
    writer->bytes += bytes;
}

static void put_str(struct writer *writer, const char *text)
{
    put(writer, text, strlen(text));
}

static void put_number(struct writer *writer, uint64_t number)
{
    uint8_t digits[20];
    unsigned count = 0;
    do {
        digits[count++] = (uint8_t)('0' + number % 10);
        number /= 10;
    } while (number);
    while (count) {
        writer->at[writer->bytes++] = digits[--count];
    }
}

#define ANSWER_HEAD_FIXED_BYTES 256U /* everything but caller's headers and content type */
#define ANSWER_HEAD_BYTES_MAX   4096U

#define BODY_BYTES_OPEN SIZE_MAX /* until the connection closes */

static size_t answer_head(struct http_exchange *exchange, uint8_t *at, unsigned status,
                          const char *content_type, struct slice headers, size_t body_bytes)
{
    struct writer writer = {at, 0};
    if (status == 200) {
        put(&writer, "HTTP/1.1 200 OK\r\n", 17);
    } else {
        put(&writer, "HTTP/1.1 ", 9);
        put_number(&writer, status);
        put(&writer, " ", 1);
        put_str(&writer, http_status_text(status));
        put(&writer, "\r\n", 2);
    }
    date_refresh(exchange->server);
    put(&writer, exchange->server->date_line, DATE_LINE_BYTES);
    if (content_type) {
        put(&writer, "Content-Type: ", 14);
        put_str(&writer, content_type);
        put(&writer, "\r\n", 2);
    }
    if (status != 204 && body_bytes != BODY_BYTES_OPEN) {
        put(&writer, "Content-Length: ", 16);
        put_number(&writer, body_bytes);
        put(&writer, "\r\n", 2);
    }
    if (exchange->close_after) {
        put(&writer, "Connection: close\r\n", 19);
    } else if (exchange->minor_version == 0) {
        put(&writer, "Connection: keep-alive\r\n", 24);
    }
    if (headers.bytes) {
        put(&writer, headers.at, headers.bytes);
    }
    put(&writer, "\r\n", 2);
    return writer.bytes;
}

static void answer_begin(struct http_exchange *exchange, unsigned status)
{
    bk_assert(!exchange->ready && exchange->inline_bytes == 0);
    /* Not while later requests of the connection are under way: they are answered first. */
    bool newest = exchange->conn && exchange->node.next == &exchange->conn->exchanges;
    if (newest && (exchange->server->draining || status_closes(status))) {
        exchange->close_after = true;
    }
    exchange->close_after |= !exchange->keep_alive;
    if (exchange->close_after && exchange->conn) {
        conn_no_more_requests(exchange->conn);
    }
    exchange->server->stats.answers_by_class[status / 100 < 6 ? status / 100 : 0]++;
}

/* The head of a plain 200 is the same for all answers of one second that have the same type and
 * length, as acknowledgements have: kept, and copied. */
static size_t answer_head_kept(struct http_exchange *exchange, const char *content_type,
                               size_t body_bytes)
{
    struct http_server *server = exchange->server;
    int64_t second = ring_wall_ns(server->ring) / NS_PER_SECOND;
    if (server->kept_second != second || server->kept_type != content_type ||
        server->kept_body_bytes != body_bytes) {
        server->kept_bytes =
            answer_head(exchange, server->kept, 200, content_type, SLICE_EMPTY, body_bytes);
        server->kept_second = second;
        server->kept_type = content_type;
        server->kept_body_bytes = body_bytes;
    }
    memcpy(exchange->inline_at, server->kept, ANSWER_KEPT_BYTES_MAX);
    return server->kept_bytes;
}

static bool answer_acknowledges(const struct http_exchange *exchange, unsigned status,
                                const char *content_type, struct slice headers, struct slice body)
{
    return status == 200 && content_type && headers.bytes == 0 && !exchange->close_after &&
           !exchange->head_only && exchange->minor_version == 1 &&
           body.bytes <= HTTP_ANSWER_INLINE_BYTES - ANSWER_KEPT_BYTES_MAX &&
           (content_type == exchange->server->kept_type ||
            strlen(content_type) <= ANSWER_TYPE_BYTES_MAX);
}

enum body_kind {
    BODY_COPIED,
    BODY_OWNED, /* malloc'ed; it becomes the exchange's */
    BODY_SHARED /* neither */
};

/* What is malloc'ed is counted: who asked for it may never read it. Requires: a connection. */
static void body_set(struct http_exchange *exchange, uint8_t *body, size_t bytes,
                     enum body_kind kind)
{
    struct http_conn *conn = exchange->conn;
    exchange->body = body;
    exchange->body_bytes = bytes;
    exchange->body_shared = kind == BODY_SHARED;
    if (kind == BODY_SHARED) {
        return;
    }
    conn->answer_bytes += bytes;
    conn->server->answer_bytes += bytes;
    if (!list_linked(&conn->answering)) {
        list_push_back(&conn->server->answering, &conn->answering);
    }
}

static void answer_build(struct http_exchange *exchange, unsigned status, const char *content_type,
                         struct slice headers, struct slice body, enum body_kind kind)
{
    answer_begin(exchange, status);
    if (kind == BODY_COPIED && answer_acknowledges(exchange, status, content_type, headers, body)) {
        size_t bytes = answer_head_kept(exchange, content_type, body.bytes);
        if (body.bytes) {
            memcpy(exchange->inline_at + bytes, body.at, body.bytes);
        }
        exchange->inline_bytes = (uint16_t)(bytes + body.bytes);
        return;
    }
    uint8_t head[ANSWER_HEAD_BYTES_MAX];
    size_t type_bytes = content_type ? strlen(content_type) : 0;
    bk_assert(headers.bytes + type_bytes + ANSWER_HEAD_FIXED_BYTES <= ANSWER_HEAD_BYTES_MAX);
    size_t head_bytes = answer_head(exchange, head, status, content_type, headers, body.bytes);
    size_t body_bytes = exchange->head_only ? 0 : body.bytes;
    if (kind == BODY_COPIED && head_bytes + body_bytes <= HTTP_ANSWER_INLINE_BYTES) {
        memcpy(exchange->inline_at, head, head_bytes);
        if (body_bytes) {
            memcpy(exchange->inline_at + head_bytes, body.at, body_bytes);
        }
        exchange->inline_bytes = (uint16_t)(head_bytes + body_bytes);
        return;
    }
    /* Control plane only: head and body go out as one malloc'ed block, or as two. */
    uint8_t *owned = kind == BODY_COPIED ? NULL : (uint8_t *)(uintptr_t)body.at;
    bool gone = !exchange->conn; /* then nobody waits for it */
    if (!gone && head_bytes <= HTTP_ANSWER_INLINE_BYTES && (owned || !body_bytes)) {
        memcpy(exchange->inline_at, head, head_bytes);
        exchange->inline_bytes = (uint16_t)head_bytes;
        if (body_bytes) {
            body_set(exchange, owned, body_bytes, kind);
            return;
        }
    } else if (!gone) {
        uint8_t *block = malloc(head_bytes + body_bytes);
        if (block) {
            memcpy(block, head, head_bytes);
            if (body_bytes) {
                memcpy(block + head_bytes, body.at, body_bytes);
            }
            body_set(exchange, block, head_bytes + body_bytes, BODY_OWNED);
        } else {
            exchange->close_after = true; /* no memory for the answer: the peer sees a close */
        }
    }
    if (kind == BODY_OWNED) {
        free(owned);
    }
}

void http_prepare(struct http_exchange *exchange, unsigned status, const char *content_type,
                  struct slice headers, struct slice body)
{
    answer_build(exchange, status, content_type, headers, body, BODY_COPIED);
}

void http_unprepare(struct http_exchange *exchange)
{
    bk_assert(!exchange->ready);
    if (exchange->body) {
        exchange_drop_body(exchange);
    }
    exchange->inline_bytes = 0;
}

void http_ready(struct http_exchange *exchange)
{
    bk_assert(!exchange->ready);
    exchange->ready = true;
    struct http_conn *conn = exchange->conn;
    if (!conn) {
        exchange_give(exchange->server, exchange); /* the peer went away before its answer */
    } else {
        conn_dirty(conn);
    }
}

void http_answer(struct http_exchange *exchange, unsigned status, const char *content_type,
                 struct slice headers, struct slice body)
{
    answer_build(exchange, status, content_type, headers, body, BODY_COPIED);
    http_ready(exchange);
}

void http_answer_owned(struct http_exchange *exchange, unsigned status, const char *content_type,
                       struct slice headers, uint8_t *body, size_t body_bytes)
{
    if (body_bytes > exchange->server->config.answers_bytes_max) {
        free(body);
        http_answer_error(exchange, 500, "internal", "the answer is too large; ask for less",
                          SLICE_EMPTY);
        return;
    }
    answer_build(exchange, status, content_type, headers, slice_of(body, body_bytes), BODY_OWNED);
    http_ready(exchange);
}

void http_answer_shared(struct http_exchange *exchange, unsigned status, const char *content_type,
                        struct slice headers, struct slice body)
{
    answer_build(exchange, status, content_type, headers, body, BODY_SHARED);
    http_ready(exchange);
}

void http_answer_error(struct http_exchange *exchange, unsigned status, const char *code,
                       const char *message, struct slice headers)
{
    char body[512];
    int bytes = snprintf(body, sizeof body, "{\"code\":\"%s\",\"message\":\"%s\"}", code, message);
    bk_assert(bytes > 0 && (size_t)bytes < sizeof body);
    http_answer(exchange, status, "application/json", headers, slice_of(body, (size_t)bytes));
}

/* ---- answers in pieces */

void http_stream(struct http_exchange *exchange, const char *content_type, struct slice headers,
                 void (*streamed)(struct http_exchange *exchange))
{
    uint8_t head[ANSWER_HEAD_BYTES_MAX];
    bk_assert(headers.bytes + strlen(content_type) + ANSWER_HEAD_FIXED_BYTES <=
              HTTP_ANSWER_INLINE_BYTES);
    exchange->keep_alive = false;
    answer_begin(exchange, 200);
    exchange->inline_bytes =
        (uint16_t)answer_head(exchange, head, 200, content_type, headers, BODY_BYTES_OPEN);
    memcpy(exchange->inline_at, head, exchange->inline_bytes);
    exchange->streamed = streamed;
    if (exchange->conn) {
        exchange->ready = true;
        conn_dirty(exchange->conn);
    } else {
        streamed(exchange); /* the peer went away before its answer */
    }
}

void http_stream_piece(struct http_exchange *exchange, uint8_t *piece, size_t bytes)
{
    bk_assert(exchange->conn && !exchange->ready && !exchange->body && bytes > 0);
    body_set(exchange, piece, bytes, BODY_OWNED);
    exchange->ready = true;
    conn_dirty(exchange->conn);
}

void http_stream_end(struct http_exchange *exchange)
{
    bk_assert(!exchange->ready);
    exchange->streamed = NULL;
    if (exchange->conn) {
        exchange->ready = true; /* killing the connection gives it back */
        conn_kill(exchange->conn);
    } else {
        exchange_give(exchange->server, exchange);
    }
}

/* What was given has left, or never will. */
void exchange_streamed(struct http_exchange *exchange)
{
    if (exchange->body) {
        exchange_drop_body(exchange);
    }
    exchange->inline_bytes = 0;
    exchange->ready = false;
    exchange->streamed(exchange);
}

/* ---- sending */

static void conn_send_done(struct ring_op *op, const struct ring_result *result);

/* Is there nothing to be done once the bytes have left but giving their memory back? `behind`: of
 * the exchange that comes after what is sent. */
static bool send_is_last(const struct http_conn *conn, const struct list *behind)
{
    return conn->state == CONN_OPEN && !conn->spill && !conn->peer_done &&
           ring_op_busy(&conn->recv_op) &&
           (behind == &conn->exchanges ||
            !bk_container_of(behind, const struct http_exchange, node)->ready);
}

static void conn_send(struct http_conn *conn, const void *at, size_t bytes, bool last)
{
    conn_deadline(conn, conn->server->config.write_timeout_ms);
    if (__builtin_expect(conn->secure != NULL, 0)) {
        conn_secure_send(conn, at, bytes);
        return;
    }
    if (last) {
        ring_send_lazy(conn->server->ring, &conn->send_op, conn->handle, at, bytes, conn_send_done);
    } else {
        ring_send(conn->server->ring, &conn->send_op, conn->handle, at, bytes, conn_send_done);
    }
}

/* The next part of the first answer's body; the one before has left. */
static void conn_send_body(struct http_conn *conn, const struct http_exchange *first)
{
    size_t from = conn->body_sent, bytes = first->body_bytes - from;
    bytes = bytes < SEND_BYTES_MAX ? bytes : SEND_BYTES_MAX;
    conn->body_sent += bytes;
    if (list_linked(&conn->answering)) {
        list_remove(&conn->answering);
        list_push_back(&conn->server->answering, &conn->answering);
    }
    conn_send(conn, first->body + from, bytes, false);
}

/* Several small answers at the front leave in one send. */
static void conn_send_many(struct http_conn *conn, unsigned count)
{
    size_t bytes = 0;
    struct list *node = conn->exchanges.next;
    for (unsigned i = 0; i < count; i++, node = node->next) {
        struct http_exchange *exchange = bk_container_of(node, struct http_exchange, node);
        memcpy(conn->out + bytes, exchange->inline_at, exchange->inline_bytes);
        bytes += exchange->inline_bytes;
    }
    conn->sending_count = (uint16_t)count;
    conn_send(conn, conn->out, bytes, send_is_last(conn, node));
}

static unsigned conn_count_ready(struct http_conn *conn)
{
    unsigned count = 0;
    size_t bytes = 0;
    for (struct list *node = conn->exchanges.next; node != &conn->exchanges; node = node->next) {
        struct http_exchange *exchange = bk_container_of(node, struct http_exchange, node);
        bytes += exchange->inline_bytes;
        if (!exchange->ready || exchange->body || exchange->streamed ||
            bytes > (1U << BUFFER_CLASS_MIN_BITS)) {
            break;
        }
        count++;
        if (exchange->close_after) {
            break;
        }
    }
    return count;
}

void conn_send_ready(struct http_conn *conn)
{
    if (ring_op_busy(&conn->send_op) || list_empty(&conn->exchanges)) {
        return;
    }
    struct http_exchange *first = bk_container_of(conn->exchanges.next, struct http_exchange, node);
    if (!first->ready) {
        return;
    }
    unsigned count = conn_count_ready(conn);
    if (count > 1) {
        conn->out =
            buffers_take(conn->server->buffers, 1U << BUFFER_CLASS_MIN_BITS, &conn->out_bytes);
        if (conn->out) {
            conn_send_many(conn, count);
            return;
        }
    }
    conn->sending_count = 1;
    if (first->inline_bytes) {
        bool last = !first->body && !first->streamed && send_is_last(conn, first->node.next);
        conn_send(conn, first->inline_at, first->inline_bytes, last);
    } else if (first->body_bytes) {
        conn_send_body(conn, first);
    } else {
        conn_kill(conn); /* an answer that could not be built */
    }
}

static bool conn_sent_last(struct http_conn *conn)
{
    bool last = false;
    struct list *node = conn->exchanges.next;
    for (unsigned i = 0; i < conn->sending_count; i++, node = node->next) {
        last |= bk_container_of(node, struct http_exchange, node)->close_after;
    }
    return last;
}

static inline __attribute__((always_inline)) void sent(struct http_conn *conn)
{
    struct http_exchange *first = bk_container_of(conn->exchanges.next, struct http_exchange, node);
    if (__builtin_expect(first->body_bytes > conn->body_sent, 0)) {
        conn_send_body(conn, first);
        return;
    }
    conn->body_sent = 0;
    if (__builtin_expect(first->streamed != NULL, 0)) {
        conn->sending_count = 0;
        exchange_streamed(first);
        return;
    }
    bool last = conn_sent_last(conn);
    conn_pop_sent(conn);
    bool nothing = conn->exchange_count == 0;
    if (last || (nothing && conn->state == CONN_LAST)) {
        conn_linger(conn);
        return;
    }
    if (conn->server->draining && !conn->spill) {
        conn_deadline_sooner(conn, DRAIN_IDLE_MS); /* this answer did not say "close" */
    } else {
        conn_deadline_reading(conn);
    }
    if (!nothing || conn->spill || conn->peer_done || !ring_op_busy(&conn->recv_op)) {
        conn_dirty(conn); /* more to send, or reading had stopped for a full pipeline */
    }
}

static void conn_send_done(struct ring_op *op, const struct ring_result *result)
{
    struct http_conn *conn = bk_container_of(op, struct http_conn, send_op);
    if (conn->state == CONN_DEAD) {
        conn_pop_sent(conn);
        conn_try_close(conn);
        return;
    }
    if (result->value < 0) {
        conn_kill(conn);
        return;
    }
    sent(conn);
}

void conn_sent(struct http_conn *conn)
{
    sent(conn);
}
