#include "http/server.h"

#include "base/time.h"
#include "http/parse.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define LISTENERS_MAX         4U
#define LINGER_MS             2000U
#define SPILL_AHEAD           4U /* a body's buffer is at most so many times what has come of it */
#define ACCEPT_RETRY_MS       100U
#define ANSWER_KEPT_BYTES_MAX 256U
#define ANSWER_TYPE_BYTES_MAX 64U
#define DATE_LINE_BYTES       37U /* "Date: <29>\r\n" */

enum conn_state {
    CONN_FREE,
    CONN_OPEN,
    CONN_LAST,   /* reads no more requests; answers what it has, then half-closes */
    CONN_LINGER, /* half-closed: reads and drops until the peer closes, so that the answer is not
                    reset away */
    CONN_DEAD    /* waits for its operations, then its handle is closed */
};

/* A request that did not come whole in one receive buffer. The message starts at
 * buffer + HTTP_BUFFER_MESSAGE_AT; `bytes` raw bytes are there. */
struct spill {
    struct spill *next_free;
    uint8_t *buffer;
    size_t buffer_bytes;
    size_t bytes;
    size_t scanned; /* raw bytes that the chunked decoder has seen, from the message's start */
    size_t decoded; /* decoded body bytes */
    struct http_exchange *exchange;
    uint64_t body_max;
    struct http_chunked chunked;
    bool head_done;
    bool complete;
    struct http_head head;
};

struct http_conn {
    struct ring_op recv_op;
    struct ring_op send_op;
    struct ring_op close_op;
    struct list dirty;   /* has something to send or to resume */
    struct list waiting; /* parked, or starved of receive buffers */
    struct list exchanges;
    struct timer timer;
    uint64_t deadline_ns;
    struct http_server *server;
    struct spill *spill;
    struct http_conn *next_free;
    uint8_t *out; /* several answers in one send */
    size_t out_bytes;
    int32_t handle;
    uint16_t exchange_count;
    uint16_t sending_count; /* at the front of `exchanges` */
    uint8_t state;
    bool sending_body;
    bool parked;
    bool starved;
    bool peer_done;
    bool pausing;
    struct ring_address peer;
};

struct listener {
    struct ring_op op;
    struct timer retry;
    struct http_server *server;
    int32_t handle;
    bool stopped;
    bool closed; /* by a drain */
};

struct http_server {
    struct ring *ring;
    struct timer_wheel *wheel;
    struct buffers *buffers;
    struct http_server_config config;
    struct http_handler handler;
    struct http_server_stats stats;
    struct list dirty;
    struct list parked;
    struct list starved;
    struct http_conn *conns;
    struct http_conn *conns_free;
    struct http_exchange *exchanges;
    struct http_exchange *exchanges_free;
    struct spill *spills;
    struct spill *spills_free;
    unsigned conns_used, exchanges_used, spills_used;
    size_t map_bytes;
    struct listener listeners[LISTENERS_MAX];
    unsigned listener_count;
    bool draining;
    int64_t date_second;
    char date_line[DATE_LINE_BYTES + 1];
    int64_t kept_second; /* see answer_head_kept */
    const char *kept_type;
    size_t kept_body_bytes;
    size_t kept_bytes;
    uint8_t kept[ANSWER_KEPT_BYTES_MAX];
};

const struct http_server_config http_server_defaults = {
    .conns_max = 16384,
    .exchanges_max = 32768,
    .idle_timeout_ms = 75000,
    .head_timeout_ms = 10000,
    .body_timeout_ms = 60000,
    .write_timeout_ms = 30000,
    .parked_timeout_ms = 5000,
};

static void conn_recv_done(struct ring_op *op, const struct ring_result *result);
static void conn_send_done(struct ring_op *op, const struct ring_result *result);
static void conn_input(struct http_conn *conn, uint8_t *at, size_t bytes);
static void conn_run_spill(struct http_conn *conn);

/* ---- pools: never-used slots are handed out in order, so that their memory stays untouched till
 * then */

static struct http_exchange *exchange_take(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    struct http_exchange *exchange = server->exchanges_free;
    if (exchange) {
        server->exchanges_free = exchange->handler_pointer;
    } else if (server->exchanges_used < server->config.exchanges_max) {
        exchange = &server->exchanges[server->exchanges_used++];
    } else {
        return NULL;
    }
    memset(exchange, 0, offsetof(struct http_exchange, inline_at));
    exchange->conn = conn;
    exchange->server = server;
    exchange->started_ns = ring_now_ns(server->ring);
    list_push_back(&conn->exchanges, &exchange->node);
    conn->exchange_count++;
    return exchange;
}

static void exchange_give(struct http_server *server, struct http_exchange *exchange)
{
    bk_assert(!list_linked(&exchange->node) && !list_linked(&exchange->wait));
    free(exchange->body);
    exchange->body = NULL;
    exchange->handler_pointer = server->exchanges_free;
    server->exchanges_free = exchange;
}

static void exchange_leave(struct http_conn *conn, struct http_exchange *exchange)
{
    list_remove(&exchange->node);
    bk_assert(conn->exchange_count > 0);
    conn->exchange_count--;
    exchange->conn = NULL;
}

static struct spill *spill_take(struct http_server *server)
{
    struct spill *spill = server->spills_free;
    if (spill) {
        server->spills_free = spill->next_free;
    } else if (server->spills_used < server->config.conns_max) {
        spill = &server->spills[server->spills_used++];
    } else {
        return NULL;
    }
    memset(spill, 0, offsetof(struct spill, head));
    return spill;
}

static void spill_give(struct http_conn *conn)
{
    struct spill *spill = conn->spill;
    if (!spill) {
        return;
    }
    if (spill->buffer) {
        buffers_give(conn->server->buffers, spill->buffer, spill->buffer_bytes);
        spill->buffer = NULL;
    }
    spill->next_free = conn->server->spills_free;
    conn->server->spills_free = spill;
    conn->spill = NULL;
}

/* A dead one is in no list: its memory may be another connection before the turn ends. */
static void conn_dirty(struct http_conn *conn)
{
    if (conn->state != CONN_DEAD && !list_linked(&conn->dirty)) {
        list_push_back(&conn->server->dirty, &conn->dirty);
    }
}

static void conn_unlist(struct http_conn *conn)
{
    if (list_linked(&conn->dirty)) {
        list_remove(&conn->dirty);
    }
    if (list_linked(&conn->waiting)) {
        list_remove(&conn->waiting);
    }
    conn->parked = false;
    conn->starved = false;
}

/* ---- deadlines */

static void conn_timer(struct timer *timer);

static void conn_deadline(struct http_conn *conn, uint32_t timeout_ms)
{
    conn->deadline_ns = ring_now_ns(conn->server->ring) + timeout_ms * (uint64_t)NS_PER_MS;
}

/* Until more of the request that is half here must have come, or the next one. */
static void conn_deadline_reading(struct http_conn *conn)
{
    const struct http_server_config *config = &conn->server->config;
    const struct spill *spill = conn->spill;
    conn_deadline(conn, !spill             ? config->idle_timeout_ms
                        : spill->head_done ? config->body_timeout_ms
                                           : config->head_timeout_ms);
}

/* For a deadline that may be earlier than the timer stands. */
static void conn_deadline_sooner(struct http_conn *conn, uint32_t timeout_ms)
{
    conn_deadline(conn, timeout_ms);
    timer_start(conn->server->wheel, &conn->timer, conn->deadline_ns, conn_timer);
}

/* ---- closing */

static void conn_close_done(struct ring_op *op, const struct ring_result *result)
{
    (void)result;
    struct http_conn *conn = bk_container_of(op, struct http_conn, close_op);
    struct http_server *server = conn->server;
    bk_assert(conn->state == CONN_DEAD && conn->exchange_count == 0);
    conn->state = CONN_FREE;
    conn->next_free = server->conns_free;
    server->conns_free = conn;
    bk_assert(server->stats.conns_open > 0);
    server->stats.conns_open--;
    for (unsigned i = 0; i < server->listener_count && !server->draining; i++) {
        struct listener *listener = &server->listeners[i];
        if (listener->stopped) {
            listener->stopped = false;
            http_server_accept(server, listener->handle);
        }
    }
}

static void conn_try_close(struct http_conn *conn)
{
    if (conn->state != CONN_DEAD || ring_op_busy(&conn->recv_op) || ring_op_busy(&conn->send_op) ||
        ring_op_busy(&conn->close_op)) {
        return;
    }
    ring_close_handle(conn->server->ring, &conn->close_op, conn->handle, conn_close_done);
}

static void conn_pop_sent(struct http_conn *conn)
{
    while (conn->sending_count > 0) {
        struct http_exchange *exchange =
            bk_container_of(conn->exchanges.next, struct http_exchange, node);
        conn->sending_count--;
        exchange_leave(conn, exchange);
        exchange_give(conn->server, exchange);
    }
    if (conn->out) {
        buffers_give(conn->server->buffers, conn->out, conn->out_bytes);
        conn->out = NULL;
    }
}

/* Drop the connection now. Exchanges that the handler still holds live on without it. */
static void conn_kill(struct http_conn *conn)
{
    if (conn->state == CONN_DEAD) {
        return;
    }
    conn->state = CONN_DEAD;
    conn_unlist(conn);
    timer_stop(conn->server->wheel, &conn->timer);
    struct http_exchange *half_read = conn->spill ? conn->spill->exchange : NULL;
    spill_give(conn);
    unsigned index = 0;
    for (struct list *node = conn->exchanges.next, *next; node != &conn->exchanges; node = next) {
        next = node->next;
        struct http_exchange *exchange = bk_container_of(node, struct http_exchange, node);
        if (index++ < conn->sending_count) {
            continue; /* its bytes belong to the send under way */
        }
        exchange_leave(conn, exchange);
        if (exchange->ready || exchange == half_read) {
            exchange_give(conn->server, exchange);
        }
    }
    if (!ring_op_busy(&conn->send_op)) {
        conn_pop_sent(conn);
    }
    ring_cancel(conn->server->ring, &conn->recv_op);
    ring_cancel(conn->server->ring, &conn->send_op);
    conn_try_close(conn);
}

static void conn_shutdown_done(struct ring_op *op, const struct ring_result *result)
{
    (void)result;
    struct http_conn *conn = bk_container_of(op, struct http_conn, send_op);
    if (conn->state == CONN_DEAD) {
        conn_try_close(conn);
    } else if (conn->peer_done) {
        conn_kill(conn);
    }
}

static void conn_linger(struct http_conn *conn)
{
    bk_assert(!ring_op_busy(&conn->send_op));
    if (conn->peer_done) {
        conn_kill(conn);
        return;
    }
    conn->state = CONN_LINGER;
    conn_unlist(conn);
    spill_give(conn);
    conn_deadline_sooner(conn, LINGER_MS);
    ring_shutdown(conn->server->ring, &conn->send_op, conn->handle, conn_shutdown_done);
    if (!ring_op_busy(&conn->recv_op)) {
        ring_recv(conn->server->ring, &conn->recv_op, conn->handle, conn_recv_done);
    }
}

static void conn_no_more_requests(struct http_conn *conn)
{
    if (conn->state == CONN_OPEN) {
        conn->state = CONN_LAST;
    }
}

/* ---- answers */

const char *http_status_text(unsigned status)
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
    if (status != 204) {
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

/* `owned` is malloc'ed and becomes the exchange's, or NULL: then `body` is copied. */
static void answer_build(struct http_exchange *exchange, unsigned status, const char *content_type,
                         struct slice headers, struct slice body, uint8_t *owned)
{
    answer_begin(exchange, status);
    if (!owned && answer_acknowledges(exchange, status, content_type, headers, body)) {
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
    if (!owned && head_bytes + body_bytes <= HTTP_ANSWER_INLINE_BYTES) {
        memcpy(exchange->inline_at, head, head_bytes);
        if (body_bytes) {
            memcpy(exchange->inline_at + head_bytes, body.at, body_bytes);
        }
        exchange->inline_bytes = (uint16_t)(head_bytes + body_bytes);
        return;
    }
    /* Control plane only: head and body go out as one malloc'ed block, or as two. */
    if (head_bytes <= HTTP_ANSWER_INLINE_BYTES && (owned || !body_bytes)) {
        memcpy(exchange->inline_at, head, head_bytes);
        exchange->inline_bytes = (uint16_t)head_bytes;
        exchange->body = owned;
        exchange->body_bytes = body_bytes;
        return;
    }
    uint8_t *block = malloc(head_bytes + body_bytes);
    if (block) {
        memcpy(block, head, head_bytes);
        if (body_bytes) {
            memcpy(block + head_bytes, body.at, body_bytes);
        }
        exchange->body_bytes = head_bytes + body_bytes;
    } else {
        exchange->close_after = true; /* no memory for the answer: the peer sees a close */
    }
    free(owned);
    exchange->body = block;
}

void http_prepare(struct http_exchange *exchange, unsigned status, const char *content_type,
                  struct slice headers, struct slice body)
{
    answer_build(exchange, status, content_type, headers, body, NULL);
}

void http_unprepare(struct http_exchange *exchange)
{
    bk_assert(!exchange->ready);
    free(exchange->body);
    exchange->body = NULL;
    exchange->body_bytes = 0;
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
    answer_build(exchange, status, content_type, headers, body, NULL);
    http_ready(exchange);
}

void http_answer_owned(struct http_exchange *exchange, unsigned status, const char *content_type,
                       struct slice headers, uint8_t *body, size_t body_bytes)
{
    answer_build(exchange, status, content_type, headers, slice_of(body, body_bytes), body);
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

/* ---- sending */

static void conn_send(struct http_conn *conn, const void *at, size_t bytes)
{
    conn_deadline(conn, conn->server->config.write_timeout_ms);
    ring_send(conn->server->ring, &conn->send_op, conn->handle, at, bytes, conn_send_done);
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
    conn_send(conn, conn->out, bytes);
}

static unsigned conn_count_ready(struct http_conn *conn)
{
    unsigned count = 0;
    size_t bytes = 0;
    for (struct list *node = conn->exchanges.next; node != &conn->exchanges; node = node->next) {
        struct http_exchange *exchange = bk_container_of(node, struct http_exchange, node);
        bytes += exchange->inline_bytes;
        if (!exchange->ready || exchange->body || bytes > (1U << BUFFER_CLASS_MIN_BITS)) {
            break;
        }
        count++;
        if (exchange->close_after) {
            break;
        }
    }
    return count;
}

static void conn_send_ready(struct http_conn *conn)
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
        conn_send(conn, first->inline_at, first->inline_bytes);
    } else if (first->body_bytes) {
        conn->sending_body = true;
        conn_send(conn, first->body, first->body_bytes);
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
    struct http_exchange *first = bk_container_of(conn->exchanges.next, struct http_exchange, node);
    if (first->body && first->body_bytes && !conn->sending_body) {
        conn->sending_body = true;
        conn_send(conn, first->body, first->body_bytes);
        return;
    }
    conn->sending_body = false;
    bool last = conn_sent_last(conn);
    conn_pop_sent(conn);
    bool nothing = conn->exchange_count == 0;
    bool over = conn->state == CONN_LAST || (conn->server->draining && !conn->spill);
    if (last || (nothing && over)) {
        conn_linger(conn);
        return;
    }
    conn_deadline_reading(conn);
    if (!nothing || conn->spill || conn->peer_done || !ring_op_busy(&conn->recv_op)) {
        conn_dirty(conn); /* more to send, or reading had stopped for a full pipeline */
    }
}

/* ---- reading */

static bool conn_may_read(const struct http_conn *conn)
{
    return conn->state == CONN_OPEN && !conn->parked && conn->exchange_count < PIPELINE_DEPTH_MAX;
}

static void conn_fail(struct http_conn *conn, struct http_exchange *exchange, unsigned status,
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

static void exchange_describe(struct http_exchange *exchange, const struct http_head *head)
{
    exchange->head_only = head->method == HTTP_HEAD;
    exchange->keep_alive = head->keep_alive;
    exchange->minor_version = head->minor_version;
}

static void conn_park(struct http_conn *conn, struct list *where)
{
    conn->parked = true;
    if (list_linked(&conn->waiting)) {
        list_remove(&conn->waiting); /* it was starved */
    }
    list_push_back(where, &conn->waiting);
    ring_cancel(conn->server->ring, &conn->recv_op);
    conn_deadline_sooner(conn, conn->server->config.parked_timeout_ms);
}

/* Hand a whole request to the handler. */
static enum http_outcome conn_request(struct http_conn *conn, struct http_exchange *exchange,
                                      const struct http_message *message)
{
    exchange_describe(exchange, message->head);
    exchange->started_ns = ring_now_ns(conn->server->ring);
    enum http_outcome outcome =
        conn->server->handler.on_request(conn->server->handler.context, exchange, message);
    if (outcome == HTTP_TAKEN) {
        conn->server->stats.requests++;
        if (!message->head->keep_alive) {
            conn_no_more_requests(conn);
        }
        conn_deadline(conn, conn->server->config.idle_timeout_ms);
    }
    return outcome;
}

/* ---- the split path: gather the request in a buffer of its own */

static bool spill_room(struct http_conn *conn, size_t bytes_more)
{
    struct spill *spill = conn->spill;
    size_t needed = HTTP_BUFFER_MESSAGE_AT + spill->bytes + bytes_more + 4096;
    if (needed <= spill->buffer_bytes) {
        return true;
    }
    /* Room for the announced body, but not much more than what has come: memory is for those who
     * send. */
    if (spill->head_done && spill->head.content_length > spill->bytes) {
        uint64_t whole =
            HTTP_BUFFER_MESSAGE_AT + spill->head.head_bytes + spill->head.content_length + 4096;
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
        conn_deadline_sooner(conn, conn->server->config.head_timeout_ms);
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

/* The head is there but the body is not: ask how much body is wanted. False = answered or dead. */
static bool spill_head_done(struct http_conn *conn)
{
    struct spill *spill = conn->spill;
    struct http_server *server = conn->server;
    spill->head_done = true;
    spill->scanned = spill->head.head_bytes;
    http_chunked_init(&spill->chunked);
    if (!spill->head.chunked && body_is_here(&spill->head, spill->bytes)) {
        spill->body_max = spill->head.content_length;
        return true;
    }
    struct http_exchange *exchange = exchange_take(conn);
    if (!exchange) {
        conn_kill(conn);
        return false;
    }
    exchange_describe(exchange, &spill->head);
    exchange->close_after = true; /* an answer before the body was read ends the connection */
    spill->body_max = server->handler.on_head(server->handler.context, exchange, &spill->head);
    if (exchange->ready || exchange->inline_bytes) {
        conn_no_more_requests(conn);
        return false;
    }
    if (spill->head.content_length > spill->body_max) {
        conn_fail(conn, exchange, 413, "body is over this source's limit");
        return false;
    }
    /* Not needed until the body is here; taken again then, so that the order of answers stays. */
    exchange->close_after = false;
    exchange_leave(conn, exchange);
    exchange_give(server, exchange);
    if (spill->head.expect_continue && spill->head.minor_version >= 1 &&
        spill->bytes == spill->head.head_bytes) {
        send_continue(conn);
    }
    conn_deadline_sooner(conn, server->config.body_timeout_ms);
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
        conn_fail(conn, NULL, 413, "body is over this source's limit");
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
        conn_park(conn, &conn->server->parked);
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
    enum http_outcome outcome = conn_request(conn, exchange, &message);
    if (outcome == HTTP_LATER) {
        spill->exchange = NULL;
        exchange_leave(conn, exchange);
        exchange_give(conn->server, exchange);
        if (next) {
            conn->spill = next;
            spill_give(conn);
            conn->spill = spill;
        }
        conn_park(conn, &conn->server->parked);
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

static void conn_run_spill(struct http_conn *conn)
{
    while (conn_may_read(conn) && conn->spill && spill_step(conn)) {
    }
}

static void conn_spill(struct http_conn *conn, const uint8_t *at, size_t bytes)
{
    bool first = !conn->spill;
    if (!spill_append(conn, at, bytes)) {
        /* Out of buffers: shed this connection, with a reason where that is possible. */
        conn_fail(conn, NULL, 503, "no memory for this request now, try again");
        return;
    }
    struct spill *spill = conn->spill;
    /* A head that dribbles in is parsed again only when a line ended (or it got too long). */
    bool worthwhile =
        first || spill->head_done || spill->bytes > HTTP_HEAD_BYTES_MAX || memchr(at, '\n', bytes);
    if (worthwhile) {
        conn_run_spill(conn);
    }
}

/* ---- the whole path: a request inside one receive buffer */

/* Returns the bytes used; 0 = the rest has to be gathered (or the connection failed). */
static size_t conn_whole(struct http_conn *conn, const uint8_t *at, size_t bytes)
{
    struct http_head head;
    enum http_parse result = http_parse_request(at, bytes, &head);
    if (result == HTTP_PARSE_PARTIAL) {
        return 0;
    }
    if (result != HTTP_PARSE_DONE) {
        conn_fail_parse(conn, result);
        return bytes;
    }
    if (head.chunked || !body_is_here(&head, bytes)) {
        return 0;
    }
    struct http_exchange *exchange = exchange_take(conn);
    if (!exchange) {
        return 0;
    }
    struct http_message message = {
        .head = &head,
        .body = slice_of(at + head.head_bytes, (size_t)head.content_length),
        .peer = conn->peer,
    };
    if (conn_request(conn, exchange, &message) == HTTP_LATER) {
        exchange_leave(conn, exchange);
        exchange_give(conn->server, exchange);
        return 0;
    }
    return head.head_bytes + (size_t)head.content_length;
}

static void conn_input(struct http_conn *conn, uint8_t *at, size_t bytes)
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
    /* A half-closed peer still gets answers to all it has sent. */
    if (conn->exchange_count == 0 && !conn->parked) {
        conn_dirty(conn); /* the flush runs what was gathered, then closes */
    }
}

static void conn_read_again(struct http_conn *conn)
{
    if (conn->state == CONN_DEAD || conn->peer_done || ring_op_busy(&conn->recv_op)) {
        return;
    }
    bool wanted = conn_may_read(conn) || conn->state == CONN_LINGER || conn->state == CONN_LAST;
    if (!wanted) {
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

static void conn_recv_done(struct ring_op *op, const struct ring_result *result)
{
    struct http_conn *conn = bk_container_of(op, struct http_conn, recv_op);
    if (result->has_buffer) {
        if (conn->state != CONN_DEAD && result->value > 0) {
            conn_input(conn, result->buffer, (size_t)result->value);
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

/* ---- timeouts */

static void conn_timer(struct timer *timer)
{
    struct http_conn *conn = bk_container_of(timer, struct http_conn, timer);
    struct http_server *server = conn->server;
    bool waits_for_us = conn->exchange_count > 0 && !ring_op_busy(&conn->send_op) &&
                        !conn->parked && conn->state != CONN_LINGER;
    if (waits_for_us) {
        conn_deadline(conn, server->config.idle_timeout_ms);
    }
    if (ring_now_ns(server->ring) < conn->deadline_ns) {
        timer_start(server->wheel, &conn->timer, conn->deadline_ns, conn_timer);
        return;
    }
    server->stats.timeouts++;
    if (conn->parked && conn->state == CONN_OPEN) {
        list_remove(&conn->waiting);
        conn->parked = false;
        conn_deadline_sooner(conn, server->config.write_timeout_ms);
        conn_no_more_requests(conn);
        struct http_exchange *exchange = exchange_take(conn);
        if (exchange) {
            exchange_describe(exchange, &conn->spill->head);
            exchange->close_after = true;
            http_answer_error(exchange, 503, "unavailable",
                              "the journal cannot take this now, try again",
                              SLICE("Retry-After: 1\r\n"));
            return;
        }
    } else if (conn->state == CONN_OPEN && conn->spill && conn->exchange_count == 0) {
        conn_deadline_sooner(conn, server->config.write_timeout_ms);
        conn_fail(conn, NULL, 408, "the request took too long to arrive");
        return;
    }
    conn_kill(conn);
}

/* ---- accepting */

static void listener_accept_done(struct ring_op *op, const struct ring_result *result);

static void listener_arm(struct listener *listener)
{
    ring_accept(listener->server->ring, &listener->op, listener->handle, listener_accept_done);
}

static void close_refused(struct ring_op *op, const struct ring_result *result)
{
    (void)result;
    free(op);
}

/* No slot: close at once. Rare (a burst between the last slot and the cancelled accept). */
static void conn_refuse(struct http_server *server, int32_t handle)
{
    struct ring_op *op = calloc(1, sizeof *op);
    if (op) {
        ring_close_handle(server->ring, op, handle, close_refused);
    }
}

static bool conns_left(const struct http_server *server)
{
    return server->conns_free || server->conns_used < server->config.conns_max;
}

static struct http_conn *conn_take(struct http_server *server)
{
    struct http_conn *conn = server->conns_free;
    if (conn) {
        server->conns_free = conn->next_free;
    } else if (server->conns_used < server->config.conns_max) {
        conn = &server->conns[server->conns_used++];
    }
    return conn;
}

static void conn_open(struct http_server *server, int32_t handle, const struct ring_address *peer)
{
    struct http_conn *conn = conn_take(server);
    if (!conn) {
        conn_refuse(server, handle);
        return;
    }
    memset(conn, 0, sizeof *conn);
    list_init(&conn->exchanges);
    conn->server = server;
    conn->handle = handle;
    conn->state = CONN_OPEN;
    conn->peer = *peer;
    server->stats.accepted++;
    server->stats.conns_open++;
    conn_deadline_sooner(conn, server->config.idle_timeout_ms);
    ring_recv(server->ring, &conn->recv_op, handle, conn_recv_done);
}

static void listener_closed(struct ring_op *op, const struct ring_result *result)
{
    (void)op;
    (void)result;
}

/* Who waits in its queue is told by a reset, and goes to another server. */
static void listener_close(struct listener *listener)
{
    if (!ring_op_busy(&listener->op) && !listener->closed) {
        listener->closed = true;
        ring_close_handle(listener->server->ring, &listener->op, listener->handle, listener_closed);
    }
}

static void listener_retry(struct timer *timer)
{
    struct listener *listener = bk_container_of(timer, struct listener, retry);
    if (listener->stopped && conns_left(listener->server)) {
        listener->stopped = false;
        http_server_accept(listener->server, listener->handle);
    }
}

static void listener_accept_done(struct ring_op *op, const struct ring_result *result)
{
    struct listener *listener = bk_container_of(op, struct listener, op);
    struct http_server *server = listener->server;
    if (result->value >= 0 && result->peer) {
        if (server->draining) {
            conn_refuse(server, result->value);
        } else {
            conn_open(server, result->value, result->peer);
        }
    }
    if (!conns_left(server) && result->more) {
        ring_cancel(server->ring, op);
    }
    if (result->more) {
        return;
    }
    if (server->draining) {
        listener_close(listener);
        return;
    }
    /* Ended: out of slots, or descriptors, or memory, or just the end of a multishot. Stopped, it
     * is armed again when a connection closes; what is short may be the whole machine's, so also
     * after a while. */
    bool failed =
        result->value < 0 && result->value != -(int)BK_AGAIN && result->value != -(int)BK_CANCELLED;
    listener->stopped = !conns_left(server) || failed;
    if (!listener->stopped) {
        listener_arm(listener);
    } else if (failed) {
        timer_start(server->wheel, &listener->retry,
                    ring_now_ns(server->ring) + ACCEPT_RETRY_MS * 1000000ULL, listener_retry);
    }
}

void http_server_accept(struct http_server *server, int32_t handle)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        if (server->listeners[i].handle == handle) {
            if (!ring_op_busy(&server->listeners[i].op)) {
                listener_arm(&server->listeners[i]);
            }
            return;
        }
    }
    bk_assert(server->listener_count < LISTENERS_MAX);
    struct listener *listener = &server->listeners[server->listener_count++];
    listener->server = server;
    listener->handle = handle;
    listener_arm(listener);
}

/* ---- the server */

enum bk_err http_server_open(struct ring *ring, struct timer_wheel *wheel, struct buffers *buffers,
                             const struct http_server_config *config,
                             const struct http_handler *handler, struct http_server **ret_server)
{
    size_t conns_bytes = config->conns_max * sizeof(struct http_conn);
    size_t exchanges_bytes = config->exchanges_max * sizeof(struct http_exchange);
    size_t spills_bytes = config->conns_max * sizeof(struct spill);
    size_t server_bytes = (sizeof(struct http_server) + 63) & ~(size_t)63;
    size_t total = server_bytes + conns_bytes + exchanges_bytes + spills_bytes;
    uint8_t *map = mmap(NULL, total, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        return BK_NO_MEMORY;
    }
    struct http_server *server = (struct http_server *)(void *)map;
    server->map_bytes = total;
    server->ring = ring;
    server->wheel = wheel;
    server->buffers = buffers;
    server->config = *config;
    server->handler = *handler;
    server->date_second = -1;
    server->kept_second = -1;
    list_init(&server->dirty);
    list_init(&server->parked);
    list_init(&server->starved);
    server->conns = (struct http_conn *)(void *)(map + server_bytes);
    server->exchanges = (struct http_exchange *)(void *)(map + server_bytes + conns_bytes);
    server->spills = (struct spill *)(void *)(map + server_bytes + conns_bytes + exchanges_bytes);
    *ret_server = server;
    return BK_OK;
}

void http_server_flush(struct http_server *server)
{
    struct list now;
    list_init(&now);
    list_splice_back(&now, &server->dirty);
    struct list *node;
    while ((node = list_pop_front(&now))) {
        struct http_conn *conn = bk_container_of(node, struct http_conn, dirty);
        if (conn->spill && conn->state == CONN_OPEN && conn_may_read(conn)) {
            conn_run_spill(conn);
        }
        if (conn->state == CONN_OPEN || conn->state == CONN_LAST) {
            conn_send_ready(conn);
            conn_read_again(conn);
        }
        bool done = conn->exchange_count == 0 && !conn->parked;
        if (done && conn->peer_done && (conn->state == CONN_OPEN || conn->state == CONN_LAST)) {
            conn_kill(conn);
        }
    }
    while (!list_empty(&server->starved) && !ring_buffers_low(server->ring)) {
        node = list_pop_front(&server->starved);
        struct http_conn *conn = bk_container_of(node, struct http_conn, waiting);
        conn->starved = false;
        conn_read_again(conn);
    }
}

void http_server_resume(struct http_server *server)
{
    struct list now;
    list_init(&now);
    list_splice_back(&now, &server->parked);
    struct list *node;
    while ((node = list_pop_front(&now))) {
        struct http_conn *conn = bk_container_of(node, struct http_conn, waiting);
        uint64_t deadline_ns = conn->deadline_ns, requests = server->stats.requests;
        conn->parked = false;
        conn_deadline_reading(conn);
        conn_run_spill(conn);
        if (conn->parked && server->stats.requests == requests) {
            /* Nothing was gained: it has no more time than before. */
            conn->deadline_ns = deadline_ns;
            timer_start(server->wheel, &conn->timer, deadline_ns, conn_timer);
        }
        conn_dirty(conn);
    }
}

bool http_server_has_parked(const struct http_server *server)
{
    return !list_empty(&server->parked);
}

void http_server_drain(struct http_server *server)
{
    server->draining = true;
    for (unsigned i = 0; i < server->listener_count; i++) {
        struct listener *listener = &server->listeners[i];
        timer_stop(server->wheel, &listener->retry);
        ring_cancel(server->ring, &listener->op);
        listener_close(listener); /* unless it has to end first */
    }
    for (unsigned i = 0; i < server->conns_used; i++) {
        struct http_conn *conn = &server->conns[i];
        if (conn->state == CONN_OPEN && conn->exchange_count == 0 && !conn->spill) {
            conn_kill(conn);
        }
    }
}

bool http_server_idle(const struct http_server *server)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        if (server->draining && ring_op_busy(&server->listeners[i].op)) {
            return false; /* its cancel is under way */
        }
    }
    return server->stats.conns_open == 0;
}

void http_server_close(struct http_server *server)
{
    bk_assert(http_server_idle(server));
    munmap(server, server->map_bytes);
}

const struct http_server_stats *http_server_stats(const struct http_server *server)
{
    return &server->stats;
}

uint8_t *http_take_buffer(struct http_exchange *exchange, size_t *ret_bytes)
{
    struct http_conn *conn = exchange->conn;
    struct spill *spill = conn ? conn->spill : NULL;
    if (!spill || spill->exchange != exchange) {
        return NULL;
    }
    uint8_t *buffer = spill->buffer;
    *ret_bytes = spill->buffer_bytes;
    spill->buffer = NULL;
    return buffer;
}

void http_return_buffer(struct http_exchange *exchange, uint8_t *buffer, size_t bytes)
{
    struct spill *spill = exchange->conn->spill;
    bk_assert(spill && spill->exchange == exchange && !spill->buffer &&
              spill->buffer_bytes == bytes);
    spill->buffer = buffer;
}

struct buffers *http_buffers(struct http_server *server)
{
    return server->buffers;
}
