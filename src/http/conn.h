/* conn.h - private to the server: connections, exchanges, and what its files do for each other.
 *
 * Purpose     conn.c: life cycle, deadlines, pools. receive.c: from bytes to whole requests.
 *             answer.c: heads, order, sending. secure.c: TLS between ring and parser.
 *             handshakes.c: in which order. listener.c: accepting. server.c: the rest.
 * Threads     One core.
 * Invariants  A connection is reused only when no operation is in flight on it. A dead one is in
 *             no list. The exchanges of a connection are in the order of its requests; the first
 *             sending_count of them belong to the send under way.
 */
#ifndef BECKET_HTTP_CONN_H
#define BECKET_HTTP_CONN_H

#include "base/time.h"
#include "http/handshakes.h"
#include "http/parse.h"
#include "http/server.h"
#include "tls/tls.h"

#define LISTENERS_MAX         CORES_MAX
#define ANSWER_KEPT_BYTES_MAX 256U
/* How long a connection that is not told "close" yet may send another request during a drain. */
#define DRAIN_IDLE_MS   300U
#define DATE_LINE_BYTES 37U /* "Date: <29>\r\n" */

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
    size_t done;    /* of them, handled: requests of a pipeline in front of what is gathered */
    size_t scanned; /* raw bytes that the chunked decoder has seen, from the message's start */
    size_t decoded; /* decoded body bytes */
    struct http_exchange *exchange;
    uint64_t body_max;
    uint64_t body_since_ns; /* head_done */
    struct http_chunked chunked;
    const char *later_code, *later_message; /* why its connection is parked */
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
    struct list answering; /* has answer_bytes */
    struct list exchanges;
    struct timer timer;
    uint64_t deadline_ns;
    struct http_server *server;
    struct spill *spill;
    struct http_conn *next_free;
    struct conn_secure *secure; /* TLS, from the first bytes on */
    uint8_t *out;               /* several answers in one send */
    size_t out_bytes;
    size_t answer_bytes; /* malloc'ed for its answers */
    size_t body_sent;    /* of the first answer's body, and what the send under way has of it */
    int32_t handle;
    uint16_t exchange_count;
    uint16_t sending_count; /* at the front of `exchanges` */
    uint8_t state;
    bool parked;
    bool starved;
    bool peer_done;
    bool lingers_on; /* CONN_LINGER: bytes came since its deadline was set */
    uint8_t linger_count;
    struct ring_address peer;
};

/* What came in one receive buffer. */
struct received {
    struct http_conn *conn;
    uint8_t *at;
    size_t bytes;
    uint16_t buffer_id;
};

/* An accepted connection that waits for a slot: as if it were not accepted yet. */
struct held {
    struct ring_address peer;
    int32_t handle;
};

/* One that is closed without a slot. */
struct refusal {
    struct ring_op op;
    struct http_server *server;
    struct refusal *next_free;
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
    struct list answering; /* who has read nothing for longest comes first */
    size_t answer_bytes;   /* of all of them */
    struct http_conn *conns;
    struct http_conn *conns_free;
    struct http_exchange *exchanges;
    struct http_exchange *exchanges_free;
    struct spill *spills;
    struct spill *spills_free;
    unsigned conns_used, exchanges_used, spills_used;
    unsigned exchanges_out; /* not in exchanges_free, of those that were used; from so many … */
    unsigned exchanges_shared; /* … on a connection has one at a time, so that each can have one */
    struct held *held;         /* a queue of config.held_max */
    unsigned held_from, held_count;
    struct refusal *refusals; /* as many as could be open at once, so one is always free */
    struct refusal *refusals_free;
    unsigned refusals_used;
    /* Not looked at yet, so that it may be handled with another one of this turn; no conn = none.
     */
    struct received first;
    bool crowded;        /* no slot is left */
    uint64_t crowded_ns; /* when idle connections were last told to hurry */
    size_t map_bytes;
    struct listener listeners[LISTENERS_MAX];
    unsigned listener_count;
    struct addresses *addresses;            /* NULL: connections per address are not limited */
    const char *later_code, *later_message; /* of the request at hand; see http_later() */
    bool draining;
    struct handshakes handshakes; /* TLS */
    unsigned secure_used;
    uint8_t *secure; /* the pool */
    struct conn_secure *secure_free;
    uint64_t reports_since_ns;
    unsigned reports;
    int64_t date_second;
    char date_line[DATE_LINE_BYTES + 1];
    int64_t kept_second; /* see answer_head_kept */
    const char *kept_type;
    size_t kept_body_bytes;
    size_t kept_bytes;
    uint8_t kept[ANSWER_KEPT_BYTES_MAX];
};

/* ---- small things that all use */

/* A dead one is in no list: its memory may be another connection before the turn ends. */
static inline void conn_dirty(struct http_conn *conn)
{
    if (conn->state != CONN_DEAD && !list_linked(&conn->dirty)) {
        list_push_back(&conn->server->dirty, &conn->dirty);
    }
}

static inline void conn_deadline(struct http_conn *conn, uint32_t timeout_ms)
{
    conn->deadline_ns = ring_now_ns(conn->server->ring) + timeout_ms * (uint64_t)NS_PER_MS;
}

/* Until more of the request that is half here must have come, or the next one. */

static inline void conn_no_more_requests(struct http_conn *conn)
{
    if (conn->state == CONN_OPEN) {
        conn->state = CONN_LAST;
    }
}

static inline bool conn_may_read(const struct http_conn *conn)
{
    const struct http_server *server = conn->server;
    return conn->state == CONN_OPEN && !conn->parked &&
           (conn->exchange_count == 0 || (conn->exchange_count < PIPELINE_DEPTH_MAX &&
                                          server->exchanges_out < server->exchanges_shared));
}

/* ---- conn.c */

/* NULL: all are in use. */
struct http_exchange *exchange_take(struct http_conn *conn);
void exchange_give(struct http_server *server, struct http_exchange *exchange);
void exchange_leave(struct http_conn *conn, struct http_exchange *exchange);
/* Its body has left, or never will. Requires: there is one. */
void exchange_drop_body(struct http_exchange *exchange);
struct spill *spill_take(struct http_server *server);
void spill_give(struct http_conn *conn);
/* Until more of the request that is half here must have come, or the next one. */
void conn_deadline_reading(struct http_conn *conn);
/* For a deadline that may be earlier than the timer stands. */
void conn_deadline_sooner(struct http_conn *conn, uint32_t timeout_ms);
/* The same for the rest of a request that is half here: meanwhile it is looked whether its sender
 * still is. */
void conn_deadline_gathering(struct http_conn *conn, uint32_t timeout_ms);
void conn_timer(struct timer *timer);
bool conns_left(const struct http_server *server);
/* All slots are taken: who is idle makes room soon, for others may wait to be accepted. */
void conns_crowded(struct http_server *server);
void conn_open(struct http_server *server, int32_t handle, const struct ring_address *peer);
/* Answers that nobody reads are more than may be: who has read nothing for longest goes. */
void conns_make_room(struct http_server *server);
/* Logs why it is ended, as `event`, a few lines a second. */
void conn_report(struct http_conn *conn, const char *event, const char *why);
/* Drop the connection now. Exchanges that the handler still holds live on without it. */
void conn_kill(struct http_conn *conn);
void conn_try_close(struct http_conn *conn);
void conn_pop_sent(struct http_conn *conn);
/* Half-close, then read and drop until the peer closes. */
void conn_linger(struct http_conn *conn);

/* ---- address.c */

bool addresses_open(struct http_server *server);
void addresses_close(struct http_server *server);
/* False: this address has as many connections as it may. */
bool address_enter(struct http_server *server, const struct ring_address *peer);
void address_leave(struct http_server *server, const struct ring_address *peer);

/* ---- receive.c */

void conn_recv_done(struct ring_op *op, const struct ring_result *result);
/* What waits for a second one is of a connection that is dead. */
void received_drop(struct http_server *server);
void conn_read_again(struct http_conn *conn);
void conn_run_spill(struct http_conn *conn);
/* Answer `status` and close; `exchange` may be NULL. */
void conn_fail(struct http_conn *conn, struct http_exchange *exchange, unsigned status,
               const char *message);
void exchange_describe(struct http_exchange *exchange, const struct http_head *head);

/* Plain text of a TLS connection. */
void conn_input_plain(struct http_conn *conn, uint8_t *at, size_t bytes);

/* ---- answer.c */

void conn_send_ready(struct http_conn *conn);
/* Of an answer in pieces: the piece is gone; tell its handler. */
void exchange_streamed(struct http_exchange *exchange);
/* What was sent last has left. */
void conn_sent(struct http_conn *conn);

/* ---- secure.c */

struct conn_secure;
size_t http_secure_pool_bytes(const struct http_server_config *config);
/* Bytes from the wire. */
void conn_secure_input(struct http_conn *conn, const uint8_t *at, size_t bytes);
/* An answer's bytes, which stay until conn_sent(). */
void conn_secure_send(struct http_conn *conn, const void *at, size_t bytes);
/* True: close_notify is on its way, conn_linger() is called again when it has left. */
bool conn_secure_goodbye(struct http_conn *conn);
/* The same of one that is idle, and is ended by us: it ends when that has left. */
bool conn_secure_leave(struct http_conn *conn);
/* Steps of handshakes, as many as one turn may have. */
void http_secure_compute(struct http_server *server);
/* Bytes wait for the engine. */
bool conn_secure_waits(const struct http_conn *conn);
/* So many that no more are read now. */
bool conn_secure_full(const struct http_conn *conn);
/* A peer who says no more now cannot complete the handshake. */
bool conn_secure_hopeless(const struct http_conn *conn);
/* Nothing more is computed for it. */
void conn_secure_dead(struct http_conn *conn);
/* Requires: no operation in flight. */
void conn_secure_give(struct http_conn *conn);

/* ---- listener.c */

/* A slot is free again: for who was accepted already, then for those who were not. */
void listeners_wake(struct http_server *server);
/* Who waits in its queue is told by a reset, and goes to another server. */
void listener_close(struct listener *listener);
/* How many conn_refuse() may need at once. */
unsigned refusals_max(const struct http_server_config *config);
/* No slot, and none to wait for: close at once. */
void conn_refuse(struct http_server *server, int32_t handle);

#endif
