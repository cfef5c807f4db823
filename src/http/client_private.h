/* client_private.h - what the parts of the client share. Only for src/http/client*.c.
 *
 * client.c          open and close, calls from start to done()
 * client_pool.c     origins, their queues, who gets which connection
 * client_dial.c     from nothing to a connection: DNS, policy, happy eyeballs, proxy, TLS
 * client_line.c     an established connection: sending, receiving, idling, ending
 * client_reply.c   the answer on it: gather, keep, hand over
 * client_tls.c      records between the TLS engine and the ring
 */
#ifndef BECKET_HTTP_CLIENT_PRIVATE_H
#define BECKET_HTTP_CLIENT_PRIVATE_H

#include "base/counter.h"
#include "base/ct.h"
#include "base/time.h"
#include "http/client.h"
#include "http/proxy.h"
#include "http/response.h"
#include "net/dns.h"
#include "net/policy.h"
#include "tls/credentials.h"
#include "tls/tls.h"

/* Addresses that are being connected to at once: the second after EYEBALLS_MS, ... (RFC 8305). */
#define CLIENT_TRIES_MAX 4U
#define EYEBALLS_MS      250U
/* So long a dial counts among dials_max. */
#define YOUNG_MS 250U
/* The answer is here, the request not yet sent whole: how long the rest may take. */
#define ANSWERED_SEND_MS 1000U
/* Our send failed: how long an answer that says why may take. */
#define LAST_WORDS_MS 1000U
/* Received bytes that the TLS engine cannot take before its own are sent. */
#define CLIENT_HELD_MAX 4U

enum call_state {
    CALL_NONE,
    CALL_QUEUED,  /* in its pool's queue */
    CALL_ACTIVE,  /* on a connection */
    CALL_ENDING,  /* its connection died, but its bytes are still being sent */
    CALL_FINISHED /* in client->finished: done() is next */
};

enum line_state {
    LINE_FREE,
    LINE_RESOLVE,
    LINE_CONNECT,
    LINE_PROXY,
    LINE_TLS,
    LINE_IDLE,
    LINE_BUSY,     /* a call is on it */
    LINE_ANSWERED, /* its answer is here, the request is still being sent */
    LINE_DEAD      /* waits for its operations, then its handle is closed */
};

struct line_try {
    struct ring_op op; /* connect, then the close of a loser */
    struct client_line *line;
    int32_t handle;
    uint8_t number; /* of the address */
    bool closing;
};

/* Received bytes that wait for the TLS engine. */
struct held {
    const uint8_t *at;
    size_t bytes;
    uint16_t buffer_id;
    bool lent; /* the buffer is the receiving function's still */
};

struct client_line {
    struct ring_op recv_op;
    struct ring_op send_op;
    struct ring_op close_op;
    struct list node;    /* of the pool: idle, or dialling */
    struct list lru;     /* of the client: idle, oldest first */
    struct list starved; /* of the client: wants to receive, but there were no buffers */
    struct list young;   /* of the client: dialling since a moment ago */
    struct timer timer;  /* lazy: fires at or before deadline_ns */
    uint64_t deadline_ns;
    struct http_client *client;
    struct client_pool *pool;
    struct client_line *next_free;
    struct http_call *call;
    int32_t handle; /* -1 = none */
    uint8_t state;
    bool used;      /* has served a call before this one */
    bool peer_done; /* the stream from the peer ended */
    bool again;     /* the call on it goes back to the queue */
    bool sent;      /* the request, all of it */
    bool begun;     /* a byte of the answer came */
    bool head_done;
    enum bk_err send_err; /* the send failed, but an answer may still come */
    /* -- sending */
    struct ring_pieces pieces;
    uint32_t keep_alive_ms; /* what the peer said; 0 = nothing */
    /* -- the answer */
    struct http_response response;
    struct http_head head;
    struct slice body; /* kept so far; in the bytes being received, or in `gathered` */
    uint8_t *gathered; /* head, then kept body, when an answer comes in parts; NULL = not yet */
    size_t gathered_size;
    size_t gathered_bytes;
    /* -- dialling */
    struct dns_lookup lookup;
    struct line_try tries[CLIENT_TRIES_MAX];
    unsigned next_address;
    uint64_t dial_ns, next_try_ns, dial_deadline_ns;
    struct ring_address peer;
    char why[HTTP_CALL_WHY_BYTES];
    enum bk_err why_err;
    /* -- TLS */
    struct tls *tls;       /* NULL = plain */
    unsigned piece_number; /* of the request: next to be given to the engine */
    size_t piece_at;
    size_t record_bytes; /* being sent */
    struct held held[CLIENT_HELD_MAX];
    unsigned held_count;
};

/* All connections to one origin. */
struct client_pool {
    struct http_client *client;
    struct http_origin origin;
    const struct http_proxy_server *proxy; /* NULL = directly */
    struct client_pool *next;              /* of its bucket */
    struct list lru;                       /* of the client: without call and connection */
    struct list dirty;                     /* of the client: dirty, or blocked */
    bool blocked;
    char url_start[URL_AUTHORITY_BYTES_MAX + 8]; /* "http://host:port", for a proxy */
    struct list idle;                            /* the warmest last */
    struct list dialling;
    struct list waiting; /* calls, first come first */
    unsigned waiting_count;
    unsigned conn_count; /* of any state */
    unsigned dial_count;
    bool came;                  /* the last dial that ended brought a connection */
    unsigned call_count;        /* not yet FINISHED */
    struct tls_session session; /* zero = none */
};

struct http_client {
    struct ring *ring;
    struct timer_wheel *wheel;
    struct buffers *buffers;
    struct http_client_config config;
    struct http_client_stats stats;
    struct list dirty;    /* pools with calls that may find a connection */
    struct list blocked;  /* pools that wait for a cap of the client */
    struct list finished; /* calls whose done() is next */
    struct list idle;     /* connections, oldest first */
    struct list starved;
    struct list unused; /* pools, oldest first */
    struct timer wake;  /* something was left for the next turn */
    struct client_line *conns, *conns_free;
    struct client_pool *pools;
    struct client_pool **buckets;
    unsigned bucket_count;
    unsigned conns_used, pools_used; /* never-used slots are handed out in order */
    unsigned conn_count, call_count, waiting_count;
    unsigned dial_count; /* with the young ones */
    struct list young;   /* dials, the oldest first */
    unsigned young_count;
    struct timer young_timer;
    unsigned credentials_count; /* pools that hold some */
    size_t map_bytes;
    uint8_t *engines, *engines_free;
    unsigned engines_used;
    size_t engine_bytes;
    bool draining;
};

/* ---- client.c: calls */

/* The call is over; done() runs in the next flush. why: printf. */
__attribute__((format(printf, 4, 5))) void call_fail(struct http_call *call, enum bk_err err,
                                                     enum http_stage stage, const char *why, ...);
/* reply is filled (but for times): done() runs in the next flush. */
void call_finish_later(struct http_call *call);
/* The same now: the last thing that the caller does. */
void call_finish(struct http_call *call);

/* ---- client_pool.c */
/* An origin's pool, made where there is none. BK_BUSY all are in use, BK_INVALID no host. */
enum bk_err pool_take(struct http_client *client, const struct http_origin *origin,
                      struct client_pool **ret_pool) BK_MUST_CHECK;
void pool_queue(struct http_call *call, bool front);
/* Take a waiting call out. */
void pool_unqueue(struct http_call *call);
/* To be dispatched in the next flush. */
void pool_dirty(struct client_pool *pool);
/* Its credentials are: no connection is kept. */
bool pool_retired(const struct client_pool *pool);
/* Let go of its session and credentials; if it had some, no origin finds it again. Nothing uses it
 * any more. */
void pool_forget(struct client_pool *pool);
/* Of a connection or a call less. */
void pool_release(struct client_pool *pool);
/* Give waiting calls to connections, open more. */
void pool_dispatch(struct client_pool *pool);
/* Give up dials, the oldest first, that no call waits for. */
void pool_trim(struct client_pool *pool);
void pools_unblock(struct http_client *client);

/* ---- client_dial.c */
/* Requires: there is room for one more connection. May have failed when it returns. */
void dial_start(struct client_pool *pool, uint32_t connect_timeout_ms);
void dial_deadline(struct client_line *line);
/* Cancel what is under way; line is dead. */
void dial_cancel(struct client_line *line);
bool dial_under_way(const struct client_line *line);
/* Bytes from the proxy. */
void dial_proxy_received(struct client_line *line, uint8_t *at, size_t bytes);
/* The first call that waits gets line->why; the connection is dropped. */
void dial_fail(struct client_line *line, enum bk_err err, enum http_stage stage);
/* The connection is ready for calls. */
void dial_done(struct client_line *line);

/* ---- client_line.c */
struct client_line *line_take(struct client_pool *pool);
void line_start_call(struct client_line *line, struct http_call *call);
void line_idle(struct client_line *line);
/* Not idle any more: for a call, or its end. */
void line_unidle(struct client_line *line);
/* Its call, if any, ends with err, or goes back to the queue. */
void line_fail(struct client_line *line, enum bk_err err, const char *why);
/* Drop it now. */
void line_kill(struct client_line *line);
void line_try_close(struct client_line *line);
void line_deadline(struct client_line *line, uint64_t deadline_ns);
void line_receive(struct client_line *line);
void line_send(struct client_line *line, const void *at, size_t bytes);
/* The stream ended or broke (BK_CLOSED: in good order) while no answer ends by that. */
void line_lost(struct client_line *line, enum bk_err err);
/* The request is with the kernel (or the engine), all of it. */
void line_sent(struct client_line *line);
/* Plain text from the peer, valid during the call. */
void line_plain(struct client_line *line, uint8_t *at, size_t bytes);
void line_plain_end(struct client_line *line);
enum http_stage line_stage(const struct client_line *line);

/* ---- client_reply.c */
void reply_begin(struct client_line *line);
void reply_input(struct client_line *line, uint8_t *at, size_t bytes);
void reply_end(struct client_line *line);
/* The send is over too. */
void reply_deliver(struct client_line *line);
void reply_drop(struct client_line *line);

/* ---- client_tls.c */
void line_tls_begin(struct client_line *line);
/* A call's request; pieces are set. */
void line_tls_request(struct client_line *line);
/* Returns whether the receive buffer was kept. */
bool line_tls_received(struct client_line *line, uint8_t *at, size_t bytes, uint16_t buffer_id);
void line_tls_ended(struct client_line *line);
void line_tls_send_done(struct client_line *line);
/* line->send_err is set: hear what the peer still said. */
void line_tls_send_failed(struct client_line *line);
/* The connection is dead: give held buffers back. */
void line_tls_let_go(struct client_line *line);
/* Say close_notify (RFC 5246 7.2.1). False: not now (something else is being sent), or over. */
bool line_tls_goodbye(struct client_line *line);
/* Give the engine back; the connection is about to be free. */
void line_tls_drop(struct client_line *line);

#endif
