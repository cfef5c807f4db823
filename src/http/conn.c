/* conn.c - connections: their pools, deadlines, opening and closing. */
#include "http/conn.h"

#include "base/log.h"

#include <arpa/inet.h>
#include <stdlib.h>

/* Who was refused early may still send for a while and read only then; who sends nothing is not
 * waited for. */
#define LINGER_MS        2000U
#define LINGER_COUNT_MAX 15U
/* Between requests, while all slots are taken. */
#define CROWDED_IDLE_MS 5000U
/* Who resets in the middle of a request is now and then not told of by a receive that is armed
 * (seen on Linux 6.18, once in some ten thousand resets); one that is armed anew says so at once.
 */
#define PROBE_MS 4000U
/* After body_timeout a body must have come at this rate on average, and goes on as long as it does.
 */
#define BODY_BYTES_PER_SECOND 1024U
#define BODY_CHECK_MS         5000U
#define BODY_TOTAL_MS         600000U
#define REPORTS_WINDOW_NS     (1000 * (uint64_t)NS_PER_MS)
#define REPORTS_MAX           8U

/* ---- pools: never-used slots are handed out in order, so that their memory stays untouched till
 * then */

struct http_exchange *exchange_take(struct http_conn *conn)
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
    server->exchanges_out++;
    return exchange;
}

void exchange_give(struct http_server *server, struct http_exchange *exchange)
{
    bk_assert(!list_linked(&exchange->node) && !list_linked(&exchange->wait) && !exchange->body);
    exchange->handler_pointer = server->exchanges_free;
    server->exchanges_free = exchange;
    server->exchanges_out--;
}

/* Of one that is dead nothing is counted any more. */
void exchange_drop_body(struct http_exchange *exchange)
{
    struct http_conn *conn = exchange->conn;
    if (!exchange->body_shared) {
        if (conn->state != CONN_DEAD) {
            conn->answer_bytes -= exchange->body_bytes;
            conn->server->answer_bytes -= exchange->body_bytes;
            if (conn->answer_bytes == 0) {
                list_remove(&conn->answering);
            }
        }
        free(exchange->body);
    }
    exchange->body = NULL;
    exchange->body_bytes = 0;
    exchange->body_shared = false;
}

void exchange_leave(struct http_conn *conn, struct http_exchange *exchange)
{
    if (__builtin_expect(exchange->body != NULL, 0)) {
        exchange_drop_body(exchange);
    }
    list_remove(&exchange->node);
    bk_assert(conn->exchange_count > 0);
    conn->exchange_count--;
    exchange->conn = NULL;
}

struct spill *spill_take(struct http_server *server)
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

void spill_give(struct http_conn *conn)
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

void conn_deadline_reading(struct http_conn *conn)
{
    const struct http_server_config *config = &conn->server->config;
    const struct spill *spill = conn->spill;
    if (ring_op_busy(&conn->send_op)) {
        return; /* its deadline counts, and this one behind it */
    }
    if (!spill && conn->server->crowded && config->idle_timeout_ms > CROWDED_IDLE_MS) {
        conn_deadline_sooner(conn, CROWDED_IDLE_MS);
        return;
    }
    conn_deadline(conn, !spill             ? config->idle_timeout_ms
                        : spill->head_done ? config->body_timeout_ms
                                           : config->head_timeout_ms);
}

/* The timer for the deadline, or for the next look at who has sent half a request. */
static void conn_watch(struct http_conn *conn)
{
    uint64_t probe_ns = ring_now_ns(conn->server->ring) + PROBE_MS * (uint64_t)NS_PER_MS;
    bool gathers = conn->spill && !conn->parked && ring_op_busy(&conn->recv_op);
    uint64_t at_ns = gathers && probe_ns < conn->deadline_ns ? probe_ns : conn->deadline_ns;
    timer_start(conn->server->wheel, &conn->timer, at_ns, conn_timer);
}

/* For a deadline that may be earlier than the timer stands. */
void conn_deadline_sooner(struct http_conn *conn, uint32_t timeout_ms)
{
    conn_deadline(conn, timeout_ms);
    timer_start(conn->server->wheel, &conn->timer, conn->deadline_ns, conn_timer);
}

void conn_deadline_gathering(struct http_conn *conn, uint32_t timeout_ms)
{
    if (!ring_op_busy(&conn->send_op)) {
        conn_deadline(conn, timeout_ms);
    }
    conn_watch(conn);
}

void conns_crowded(struct http_server *server)
{
    uint64_t now_ns = ring_now_ns(server->ring);
    uint64_t until_ns = now_ns + CROWDED_IDLE_MS * (uint64_t)NS_PER_MS;
    server->crowded = true;
    if (now_ns - server->crowded_ns < (uint64_t)NS_PER_SECOND) {
        return; /* all were looked at a moment ago */
    }
    server->crowded_ns = now_ns;
    for (unsigned i = 0; i < server->conns_used; i++) {
        struct http_conn *conn = &server->conns[i];
        if (conn->state == CONN_OPEN && conn->exchange_count == 0 && !conn->spill &&
            !conn->parked && conn->deadline_ns > until_ns) {
            conn_deadline_sooner(conn, CROWDED_IDLE_MS);
        }
    }
}

/* ---- timeouts */

/* A body that keeps coming has longer, but not for ever. */
static bool body_keeps_coming(const struct http_conn *conn)
{
    const struct spill *spill = conn->spill;
    if (!spill || !spill->head_done) {
        return false;
    }
    uint64_t since_ms =
        (ring_now_ns(conn->server->ring) - spill->body_since_ns) / (uint64_t)NS_PER_MS;
    return since_ms < BODY_TOTAL_MS && spill->bytes >= since_ms * BODY_BYTES_PER_SECOND / 1000;
}

static bool linger_longer(struct http_conn *conn)
{
    const struct http_server *server = conn->server;
    if (conn->state != CONN_LINGER || !conn->lingers_on || conn->linger_count >= LINGER_COUNT_MAX ||
        server->draining || server->crowded) {
        return false;
    }
    conn->lingers_on = false;
    conn->linger_count++;
    return true;
}

void conn_timer(struct timer *timer)
{
    struct http_conn *conn = bk_container_of(timer, struct http_conn, timer);
    struct http_server *server = conn->server;
    bool waits_for_us = conn->exchange_count > 0 && !ring_op_busy(&conn->send_op) &&
                        !conn->parked && conn->state != CONN_LINGER;
    if (waits_for_us) {
        conn_deadline(conn, server->config.idle_timeout_ms);
    }
    if (ring_now_ns(server->ring) < conn->deadline_ns) {
        if (conn->spill && conn_may_read(conn)) {
            ring_cancel(server->ring, &conn->recv_op); /* and it is armed anew */
        }
        conn_watch(conn);
        return;
    }
    if (conn->state == CONN_OPEN && !conn->parked && conn->exchange_count == 0 &&
        body_keeps_coming(conn)) {
        conn_deadline_sooner(conn, BODY_CHECK_MS);
        return;
    }
    if (linger_longer(conn)) {
        conn_deadline_sooner(conn, LINGER_MS);
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
            http_answer_error(exchange, 503, conn->spill->later_code, conn->spill->later_message,
                              SLICE("Retry-After: 1\r\n"));
            return;
        }
    } else if (conn->state == CONN_OPEN && conn->spill && conn->exchange_count == 0) {
        conn_deadline_sooner(conn, server->config.write_timeout_ms);
        conn_fail(conn, NULL, 408, "the request took too long to arrive");
        return;
    } else if (conn->state == CONN_OPEN && !conn->spill && conn->exchange_count == 0 &&
               conn_secure_leave(conn)) {
        conn_deadline_sooner(conn, LINGER_MS);
        return;
    }
    conn_kill(conn);
}

/* ---- what single connections are ended for */

void conn_report(struct http_conn *conn, const char *event, const char *why)
{
    struct http_server *server = conn->server;
    uint64_t now_ns = ring_now_ns(server->ring);
    char peer[64] = "";
    if (now_ns - server->reports_since_ns > REPORTS_WINDOW_NS) {
        server->reports_since_ns = now_ns;
        server->reports = 0;
    }
    if (++server->reports > REPORTS_MAX) {
        return;
    }
    inet_ntop(conn->peer.family == 6 ? AF_INET6 : AF_INET, conn->peer.at, peer, sizeof peer);
    log_event(LOG_INFO, event, LOG_Z("peer", peer), LOG_Z("why", why));
    if (server->reports == REPORTS_MAX) {
        log_event(LOG_INFO, event, LOG_Z("more", "are not logged in this second"));
    }
}

void conns_make_room(struct http_server *server)
{
    while (server->answer_bytes > server->config.answers_bytes_max) {
        struct http_conn *conn =
            bk_container_of(server->answering.next, struct http_conn, answering);
        conn_report(conn, "answer dropped", "it is not read, and others need the room");
        conn_kill(conn);
    }
}

/* ---- opening */

bool conns_left(const struct http_server *server)
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

void conn_open(struct http_server *server, int32_t handle, const struct ring_address *peer)
{
    struct http_conn *conn =
        conns_left(server) && address_enter(server, peer) ? conn_take(server) : NULL;
    if (!conn) {
        server->stats.refused++;
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
    conn_deadline_sooner(conn, server->config.tls ? server->config.tls_handshake_timeout_ms
                               : server->draining ? DRAIN_IDLE_MS
                                                  : server->config.idle_timeout_ms);
    ring_recv(server->ring, &conn->recv_op, handle, conn_recv_done);
}

/* ---- closing */

static void conn_close_done(struct ring_op *op, const struct ring_result *result)
{
    (void)result;
    struct http_conn *conn = bk_container_of(op, struct http_conn, close_op);
    struct http_server *server = conn->server;
    bk_assert(conn->state == CONN_DEAD && conn->exchange_count == 0);
    conn_secure_give(conn);
    address_leave(server, &conn->peer);
    conn->state = CONN_FREE;
    conn->next_free = server->conns_free;
    server->conns_free = conn;
    bk_assert(server->stats.conns_open > 0);
    server->stats.conns_open--;
    listeners_wake(server);
}

void conn_try_close(struct http_conn *conn)
{
    if (conn->state != CONN_DEAD || ring_op_busy(&conn->recv_op) || ring_op_busy(&conn->send_op) ||
        ring_op_busy(&conn->close_op)) {
        return;
    }
    ring_close_handle(conn->server->ring, &conn->close_op, conn->handle, conn_close_done);
}

void conn_pop_sent(struct http_conn *conn)
{
    while (conn->sending_count > 0) {
        struct http_exchange *exchange =
            bk_container_of(conn->exchanges.next, struct http_exchange, node);
        conn->sending_count--;
        exchange_leave(conn, exchange);
        if (exchange->streamed) {
            exchange_streamed(exchange); /* its handler gives it back */
        } else {
            exchange_give(conn->server, exchange);
        }
    }
    if (conn->out) {
        buffers_give(conn->server->buffers, conn->out, conn->out_bytes);
        conn->out = NULL;
    }
}

/* Drop the connection now. Exchanges that the handler still holds live on without it. */
void conn_kill(struct http_conn *conn)
{
    if (conn->state == CONN_DEAD) {
        return;
    }
    conn->state = CONN_DEAD;
    if (conn->server->first.conn == conn) {
        received_drop(conn->server);
    }
    conn_unlist(conn);
    if (list_linked(&conn->answering)) {
        list_remove(&conn->answering);
        conn->server->answer_bytes -= conn->answer_bytes;
    }
    conn_secure_dead(conn);
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
        if (exchange->streamed) {
            exchange_streamed(exchange);
        } else if (exchange->ready || exchange == half_read) {
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

void conn_linger(struct http_conn *conn)
{
    bk_assert(!ring_op_busy(&conn->send_op));
    if (conn->peer_done) {
        conn_kill(conn);
        return;
    }
    conn_no_more_requests(conn);
    if (conn_secure_goodbye(conn)) {
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
