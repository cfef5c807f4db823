/* server.c - what concerns all connections of a server at once. */
#include "http/conn.h"

#include <sys/mman.h>

const struct http_server_config http_server_defaults = {
    .conns_max = 16384,
    .held_max = 4096,
    .exchanges_max = 32768,
    .answers_bytes_max = 2U << 20,
    .idle_timeout_ms = 75000,
    .head_timeout_ms = 10000,
    .body_timeout_ms = 20000,
    .write_timeout_ms = 30000,
    .parked_timeout_ms = 5000,
    .tls_conns_max = 16384,
    .tls_handshakes_max = 512,
    .tls_handshake_timeout_ms = 10000,
};

size_t http_server_bytes(const struct http_server_config *config)
{
    return config->conns_max * (sizeof(struct http_conn) + sizeof(struct spill)) +
           config->exchanges_max * sizeof(struct http_exchange) +
           config->held_max * sizeof(struct held) + refusals_max(config) * sizeof(struct refusal) +
           http_secure_pool_bytes(config) + config->answers_bytes_max;
}

static void *carve(uint8_t **at, size_t bytes)
{
    void *part = *at;
    *at += bytes;
    return part;
}

enum bk_err http_server_open(struct ring *ring, struct timer_wheel *wheel, struct buffers *buffers,
                             const struct http_server_config *config,
                             const struct http_handler *handler, struct http_server **ret_server)
{
    size_t conns_bytes = config->conns_max * sizeof(struct http_conn);
    size_t exchanges_bytes = config->exchanges_max * sizeof(struct http_exchange);
    size_t spills_bytes = config->conns_max * sizeof(struct spill);
    size_t held_bytes = config->held_max * sizeof(struct held);
    size_t refusals_bytes = refusals_max(config) * sizeof(struct refusal);
    size_t server_bytes = (sizeof(struct http_server) + 63) & ~(size_t)63;
    size_t plain_bytes = (server_bytes + conns_bytes + exchanges_bytes + spills_bytes + held_bytes +
                          refusals_bytes + 63) &
                         ~(size_t)63;
    size_t total = plain_bytes + http_secure_pool_bytes(config);
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
    server->exchanges_shared = config->exchanges_max / 2;
    server->date_second = -1;
    server->kept_second = -1;
    list_init(&server->dirty);
    list_init(&server->parked);
    list_init(&server->starved);
    list_init(&server->answering);
    if (config->tls) {
        uint8_t key[SIPHASH_KEY_BYTES];
        ring_entropy(key, sizeof key);
        handshakes_init(&server->handshakes, key);
    }
    uint8_t *at = map + server_bytes;
    server->conns = carve(&at, conns_bytes);
    server->exchanges = carve(&at, exchanges_bytes);
    server->spills = carve(&at, spills_bytes);
    server->held = carve(&at, held_bytes);
    server->refusals = carve(&at, refusals_bytes);
    server->secure = map + plain_bytes;
    if (!addresses_open(server)) {
        munmap(map, total);
        return BK_NO_MEMORY;
    }
    *ret_server = server;
    return BK_OK;
}

bool http_server_has_work(const struct http_server *server)
{
    return server->config.tls && handshakes_wait(&server->handshakes);
}

void http_server_flush(struct http_server *server)
{
    struct list now;
    if (__builtin_expect(server->answer_bytes > server->config.answers_bytes_max, 0)) {
        conns_make_room(server);
    }
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
        if (done && conn->peer_done && (conn->state == CONN_OPEN || conn->state == CONN_LAST) &&
            !conn_secure_waits(conn)) {
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

void http_server_compute(struct http_server *server)
{
    if (http_server_has_work(server)) {
        http_secure_compute(server);
        http_server_flush(server);
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
            /* A request may be under way: it is answered, and told to close. */
            conn_deadline_sooner(conn, DRAIN_IDLE_MS);
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
    addresses_close(server);
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
