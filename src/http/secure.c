/* secure.c - TLS between the ring and the parser.
 *
 * A connection of a server with certificates gets an engine when its first bytes come, from a pool
 * made at the start. Plain text lies in the engine's own buffer while the parser looks at it;
 * answers are copied into it, and leave from there: one record, one send. What comes before the
 * handshake is done waits in a buffer for its turn (handshakes.h), as does what the engine cannot
 * take because a record of its own is still under way. Meanwhile it is read on, up to a limit, to
 * see who has gone.
 */
#include "http/conn.h"

#include "base/ct.h"

/* A step costs up to some milliseconds (RSA), a turn some microseconds; requests of others come in
 * between. */
#define STEPS_PER_TURN 1U
/* So much of a peer waits at most, and what one receive brings. */
#define STASH_BYTES_MAX 16384U
/* Of these there are some for everybody, so that handshakes need no memory of requests: a hello, or
 * what follows it without a certificate. */
#define STASH_OWN_BYTES 2048U

struct conn_secure {
    struct conn_secure *next_free;
    struct http_conn *conn;
    struct handshake handshake;
    struct tls *tls;      /* behind this struct */
    const uint8_t *plain; /* an answer's bytes that are not in the engine yet */
    size_t plain_bytes;
    size_t record_bytes; /* of the send under way */
    uint8_t *stash;      /* bytes of the peer that the engine could not take yet */
    size_t stash_bytes, stash_room;
    bool answering; /* conn_sent() is to be told when all has left */
    bool closing;   /* close_notify was said */
    bool open;      /* the handshake was completed */
    bool spoken;    /* an alert of our own leaves, the engine is dead */
    uint8_t own[STASH_OWN_BYTES];
};

static size_t slot_bytes(void)
{
    size_t head =
        (sizeof(struct conn_secure) + TLS_ALIGN_BYTES - 1) / TLS_ALIGN_BYTES * TLS_ALIGN_BYTES;
    return (head + tls_server_bytes() + 63) / 64 * 64;
}

size_t http_secure_pool_bytes(const struct http_server_config *config)
{
    return config->tls ? slot_bytes() * config->tls_conns_max : 0;
}

/* ---- the pool */

static struct conn_secure *secure_take(struct http_server *server)
{
    struct conn_secure *secure = server->secure_free;
    if (secure) {
        server->secure_free = secure->next_free;
    } else if (server->secure_used < server->config.tls_conns_max) {
        secure =
            (struct conn_secure *)(void *)(server->secure + slot_bytes() * server->secure_used++);
        size_t head = (sizeof *secure + TLS_ALIGN_BYTES - 1) / TLS_ALIGN_BYTES * TLS_ALIGN_BYTES;
        secure->tls = (struct tls *)(void *)((uint8_t *)secure + head);
    } else {
        return NULL;
    }
    struct tls *tls = secure->tls;
    memset(secure, 0, offsetof(struct conn_secure, own));
    secure->tls = tls;
    return secure;
}

static void stash_give(struct http_conn *conn)
{
    struct conn_secure *secure = conn->secure;
    if (secure->stash && secure->stash != secure->own) {
        buffers_give(conn->server->buffers, secure->stash, secure->stash_room);
    }
    secure->stash = NULL;
    secure->stash_bytes = 0;
    secure->stash_room = 0;
}

void conn_secure_give(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    struct conn_secure *secure = conn->secure;
    if (!secure) {
        return;
    }
    stash_give(conn);
    handshake_end(&server->handshakes, &secure->handshake);
    tls_end(secure->tls);
    secure->next_free = server->secure_free;
    server->secure_free = secure;
    conn->secure = NULL;
}

static void report(struct http_conn *conn, const char *why)
{
    conn->server->stats.tls_failed++; /* becket_tls_handshakes_total counts them all */
    conn_report(conn, "tls refused", why);
}

/* There are as many handshakes as may be: the one that got no further for longest makes room. */
static void make_room(struct http_server *server)
{
    struct handshake *oldest = handshakes_oldest(&server->handshakes);
    if (oldest && server->handshakes.count >= server->config.tls_handshakes_max) {
        struct http_conn *conn = bk_container_of(oldest, struct conn_secure, handshake)->conn;
        report(conn, "made room for others: too many handshakes at once");
        conn_kill(conn);
    }
}

static bool secure_begin(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    uint8_t entropy[32];
    conn->secure = secure_take(server);
    if (!conn->secure) {
        return false;
    }
    make_room(server);
    conn->secure->conn = conn;
    handshake_begin(&server->handshakes, &conn->secure->handshake, &conn->peer);
    struct tls_server *identities = tls_slot_take(server->config.tls);
    ring_entropy(entropy, sizeof entropy);
    tls_server_begin(conn->secure->tls, identities, ring_wall_ns(server->ring) / NS_PER_SECOND,
                     entropy);
    tls_server_give(identities); /* the engine has its own */
    bk_wipe(entropy, sizeof entropy);
    return true;
}

static void secure_sent(struct ring_op *op, const struct ring_result *result);

/* The engine is done, well or not. Requires: no send under way. */
static void secure_over(struct http_conn *conn)
{
    struct conn_secure *secure = conn->secure;
    handshake_end(&conn->server->handshakes, &secure->handshake);
    const char *why = tls_why(secure->tls);
    size_t bytes;
    const uint8_t *words = tls_last_words(secure->tls, &bytes);
    if (why && !secure->open) {
        report(conn, why);
    }
    if (!words) {
        conn_kill(conn);
        return;
    }
    secure->spoken = true;
    secure->closing = true;
    ring_send(conn->server->ring, &conn->send_op, conn->handle, words, bytes, secure_sent);
}

/* ---- out */

/* Moves plain text into the engine and the next record onto the wire. */
static void secure_pump(struct http_conn *conn)
{
    struct conn_secure *secure = conn->secure;
    struct tls *tls = secure->tls;
    size_t bytes;
    if (ring_op_busy(&conn->send_op)) {
        return;
    }
    const uint8_t *record;
    while (!(record = tls_send_record_buf(tls, &bytes)) && secure->plain_bytes) {
        uint8_t *room = tls_send_app_buf(tls, &bytes);
        if (!room) {
            break; /* closed */
        }
        bytes = bytes < secure->plain_bytes ? bytes : secure->plain_bytes;
        memcpy(room, secure->plain, bytes);
        tls_send_app_ack(tls, bytes);
        secure->plain += bytes;
        secure->plain_bytes -= bytes;
        if (secure->plain_bytes == 0) {
            tls_flush(tls);
        }
    }
    if (record) {
        handshake_answered(&conn->server->handshakes, &secure->handshake);
        secure->record_bytes = bytes;
        ring_send(conn->server->ring, &conn->send_op, conn->handle, record, bytes, secure_sent);
    } else if (tls_state(tls) == TLS_CLOSED && !secure->closing) {
        secure_over(conn);
    } else if (secure->closing) {
        conn_linger(conn);
    } else if (secure->answering) {
        secure->answering = false;
        conn_sent(conn);
    }
}

void conn_secure_send(struct http_conn *conn, const void *at, size_t bytes)
{
    struct conn_secure *secure = conn->secure;
    bk_assert(secure && secure->plain_bytes == 0);
    secure->plain = at;
    secure->plain_bytes = bytes;
    secure->answering = true;
    secure_pump(conn);
}

bool conn_secure_goodbye(struct http_conn *conn)
{
    struct conn_secure *secure = conn->secure;
    size_t bytes;
    if (!secure || secure->closing) {
        return false;
    }
    secure->closing = true;
    tls_close(secure->tls);
    if (!tls_send_record_buf(secure->tls, &bytes)) {
        return false;
    }
    secure_pump(conn);
    return true;
}

bool conn_secure_leave(struct http_conn *conn)
{
    if (!conn->secure || !conn->secure->open || ring_op_busy(&conn->send_op)) {
        return false;
    }
    conn->peer_done = true; /* nobody waits for the peer's */
    conn_no_more_requests(conn);
    return conn_secure_goodbye(conn);
}

/* ---- in */

static void handshake_done(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    struct conn_secure *secure = conn->secure;
    if (!secure->open && tls_is_open(secure->tls)) {
        secure->open = true;
        handshake_end(&server->handshakes, &secure->handshake);
        server->stats.tls_handshakes++;
        server->stats.tls_resumed += tls_resumed(secure->tls);
        conn_deadline_sooner(conn,
                             server->draining ? DRAIN_IDLE_MS : server->config.idle_timeout_ms);
    }
}

/* Plain text to the parser. */
static void secure_deliver(struct http_conn *conn)
{
    struct tls *tls = conn->secure->tls;
    size_t bytes;
    uint8_t *plain;
    while (conn->state != CONN_DEAD && (plain = tls_recv_app_buf(tls, &bytes))) {
        conn_input_plain(conn, plain, bytes);
        if (conn->state != CONN_DEAD) {
            tls_recv_app_ack(tls, bytes);
        }
    }
}

/* Into the engine, as much as it takes. Returns how many bytes that were. */
static size_t secure_feed(struct http_conn *conn, const uint8_t *at, size_t bytes)
{
    struct tls *tls = conn->secure->tls;
    size_t total = 0, used;
    do {
        used = tls_recv_record(tls, at + total, bytes - total);
        total += used;
        handshake_done(conn);
        secure_deliver(conn);
    } while (used && total < bytes && conn->state != CONN_DEAD);
    return total;
}

static bool stash_grow(struct http_conn *conn, size_t bytes)
{
    struct conn_secure *secure = conn->secure;
    size_t room = sizeof secure->own, kept = secure->stash_bytes;
    uint8_t *larger = secure->own;
    if (bytes > room) {
        larger = buffers_take(conn->server->buffers, bytes, &room);
    }
    if (!larger) {
        return false;
    }
    if (kept) {
        memcpy(larger, secure->stash, kept);
    }
    stash_give(conn);
    secure->stash = larger;
    secure->stash_bytes = kept;
    secure->stash_room = room;
    return true;
}

static bool stash_add(struct http_conn *conn, const uint8_t *at, size_t bytes)
{
    struct conn_secure *secure = conn->secure;
    size_t wanted = secure->stash_bytes + bytes;
    if (wanted > secure->stash_room && !stash_grow(conn, wanted)) {
        return false;
    }
    memcpy(secure->stash + secure->stash_bytes, at, bytes);
    secure->stash_bytes = wanted;
    return true;
}

/* What waited, now that its turn has come. */
static void stash_run(struct http_conn *conn)
{
    struct conn_secure *secure = conn->secure;
    size_t used = secure_feed(conn, secure->stash, secure->stash_bytes);
    if (conn->state == CONN_DEAD) {
        return; /* the stash went with it, or goes soon */
    }
    secure->stash_bytes -= used;
    memmove(secure->stash, secure->stash + used, secure->stash_bytes);
    if (secure->stash_bytes == 0) {
        stash_give(conn);
    }
    conn_dirty(conn); /* to read again, or to close behind what was read */
}

/* The same, as soon as it may be. */
static void stash_wait(struct http_conn *conn)
{
    struct conn_secure *secure = conn->secure;
    if (secure->open) {
        stash_run(conn);
    } else if (list_linked(&secure->handshake.node)) {
        if (!secure->handshake.answered && !secure->handshake.resumes &&
            tls_would_resume(secure->tls, secure->stash, secure->stash_bytes)) {
            handshake_resumes(&conn->server->handshakes, &secure->handshake);
        }
        handshake_wait(&conn->server->handshakes, &secure->handshake);
    }
}

void conn_secure_input(struct http_conn *conn, const uint8_t *at, size_t bytes)
{
    if (conn->state == CONN_LINGER || (conn->secure && conn->secure->closing)) {
        conn->lingers_on = true;
        return; /* dropped */
    }
    if (!conn->secure && !secure_begin(conn)) {
        report(conn, "too many connections at once");
        conn_kill(conn);
        return;
    }
    struct conn_secure *secure = conn->secure;
    size_t used = secure->open && secure->stash_bytes == 0 ? secure_feed(conn, at, bytes) : 0;
    if (conn->state == CONN_DEAD) {
        return;
    }
    if (used < bytes && tls_state(secure->tls) != TLS_CLOSED) {
        if (!stash_add(conn, at + used, bytes - used)) {
            conn_kill(conn);
            return;
        }
        if (conn_secure_full(conn)) {
            ring_cancel(conn->server->ring, &conn->recv_op); /* let TCP push back */
        }
        if (!secure->open) {
            stash_wait(conn);
        }
    }
    secure_pump(conn);
}

/* One step of one handshake: then the others of this core are looked after. */
void http_secure_compute(struct http_server *server)
{
    for (unsigned i = 0; i < STEPS_PER_TURN; i++) {
        struct handshake *handshake = handshakes_next(&server->handshakes);
        if (!handshake) {
            return;
        }
        struct http_conn *conn = bk_container_of(handshake, struct conn_secure, handshake)->conn;
        bk_assert(conn->state != CONN_DEAD && conn->secure->stash_bytes > 0);
        stash_run(conn);
        if (conn->state != CONN_DEAD) {
            secure_pump(conn);
        }
    }
}

bool conn_secure_waits(const struct http_conn *conn)
{
    return conn->secure && conn->secure->stash_bytes > 0;
}

bool conn_secure_full(const struct http_conn *conn)
{
    return conn->secure && conn->secure->stash_bytes >= STASH_BYTES_MAX;
}

/* Before our hello nobody can have said all. */
bool conn_secure_hopeless(const struct http_conn *conn)
{
    return conn->secure && !conn->secure->open && !conn->secure->handshake.answered;
}

void conn_secure_dead(struct http_conn *conn)
{
    if (conn->secure) {
        handshake_end(&conn->server->handshakes, &conn->secure->handshake);
    }
}

static void secure_sent(struct ring_op *op, const struct ring_result *result)
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
    if (!conn->secure->spoken) {
        tls_send_record_ack(conn->secure->tls, conn->secure->record_bytes);
        handshake_done(conn);
    }
    if (conn->secure->stash_bytes && !conn->secure->closing) {
        stash_wait(conn);
    }
    if (conn->state != CONN_DEAD) {
        secure_pump(conn);
    }
}
