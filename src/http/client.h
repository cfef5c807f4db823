/* client.h - HTTP/1.1 calls to other servers from one core.
 *
 * Purpose     Deliveries and provider calls: resolve, check the address policy, dial (happy
 *             eyeballs), through a proxy where one is set, TLS, send, read the answer. Connections
 *             are kept per origin and used again, the warmest first; one call at a time on each.
 * Life        start -> (wait in the origin's queue, first come first served) -> a connection, idle
 *             or newly dialled -> send -> head -> body -> done(). Calls that are started in a turn
 *             are taken up by http_client_flush(), at its end.
 * Ownership   struct http_call lives in its owner and is busy from http_call_start() until its
 *             done() was called; origin, pieces and what they point to must stay until then, also
 *             after http_call_cancel(). In done() the call may be started again or freed.
 *             The answer's head and body are valid until done() returns.
 * Stale ones  A receive is armed on every idle connection, so one that the peer closed is not
 *             handed out. When a reused one still dies before any byte of an answer came, and the
 *             call is repeatable, it is sent once more, on a new connection.
 * Doubt       After anything unexpected (bytes behind the answer, a malformed head, an answer that
 *             ended early) a connection is closed, never used again.
 * Bounds      Every stage has a deadline and the call one over all; the head HTTP_HEAD_BYTES_MAX,
 *             interim answers HTTP_RESPONSE_INTERIM_MAX, the body body_bytes_max. Redirects are not
 *             followed. Nothing is decoded but the chunked coding.
 * Failure     reply.err (BK_OK: a whole answer came, whatever its status), reply.stage, and
 *             reply.why, one line for people. Nothing is retried but the stale case above.
 *             BK_INVALID     the call or its origin makes no sense
 *             BK_NOT_FOUND, BK_UNREACHABLE, BK_TIMEOUT, BK_REFUSED, BK_RESET   as their names say
 *             BK_FORBIDDEN   the address policy
 *             BK_UNAUTHENTICATED   TLS: the server could not prove who it is; or the proxy's 407
 *             BK_PROTOCOL    the peer broke HTTP or TLS, or closed early
 *             BK_TOO_LARGE   over body_bytes_max; status, head and what was kept of the body are
 *                            set then
 *             BK_BUSY        too many calls waiting, or origins in use
 *             BK_CANCELLED   http_call_cancel(), on_body() said enough, or the client is draining
 * Threads     One core: the ring's owner.
 * Memory      All slots are mapped by http_client_open() and become resident as they are used.
 *             Answers that do not come whole in one receive buffer use http/buffers.h.
 */
#ifndef BECKET_HTTP_CLIENT_H
#define BECKET_HTTP_CLIENT_H

#include "base/list.h"
#include "http/buffers.h"
#include "http/message.h"
#include "http/origin.h"
#include "ring/ring.h"
#include "ring/timer.h"

struct http_client;
struct http_call;
struct http_proxy;
struct resolver;
struct client_line;
struct client_pool;

#define HTTP_CALL_PIECES    4U
#define HTTP_CALL_WHY_BYTES 160U

/* How far a call came. */
enum http_stage {
    HTTP_STAGE_QUEUED,
    HTTP_STAGE_RESOLVE,
    HTTP_STAGE_POLICY,
    HTTP_STAGE_CONNECT,
    HTTP_STAGE_PROXY,
    HTTP_STAGE_TLS,
    HTTP_STAGE_SEND,
    HTTP_STAGE_WAIT, /* for the head of the answer */
    HTTP_STAGE_BODY,
    HTTP_STAGE_DONE
};
/* "connect", "tls", ... */
const char *http_stage_text(enum http_stage stage);

typedef void http_call_done_fn(struct http_call *call);
/* A decoded piece of the body, valid during the call. reply.status and reply.head are set. False =
 * enough: the call ends with BK_CANCELLED. Must not start or cancel this call. */
typedef bool http_call_body_fn(struct http_call *call, struct slice piece);

struct http_reply {
    enum bk_err err;
    enum http_stage stage;         /* where it failed; HTTP_STAGE_DONE */
    char why[HTTP_CALL_WHY_BYTES]; /* one line when err, else empty */
    uint16_t status;               /* 0 = no head came */
    const struct http_head *head;  /* NULL unless BK_OK or BK_TOO_LARGE (or in on_body) */
    struct slice body;             /* the first keep_body_bytes of it */
    uint64_t body_bytes;           /* all of it */
    bool body_cut;                 /* body is not all of it */
    bool reused;                   /* on a connection that had served before */
    struct ring_address peer;      /* family 0 = never connected */
    uint64_t total_ns;             /* from http_call_start() */
};

struct http_call {
    /* -- the request: set all of it (zero is a default where it says so) before each start */
    const struct http_origin *origin;
    /* From the request line to the last byte of the body; http/write.h builds heads. The target is
     * in origin form, also when a proxy will be used. Host and Content-Length are the caller's. */
    struct slice pieces[HTTP_CALL_PIECES];
    unsigned piece_count;
    bool head_method; /* HEAD: the answer has no body */
    bool repeatable;  /* idempotent, or recognised by the receiver when it comes twice */
    /* 0 = the client's default; never more than it. */
    uint32_t timeout_ms; /* over all */
    uint32_t connect_timeout_ms;
    uint32_t first_byte_timeout_ms;
    uint32_t keep_body_bytes;   /* up to so much is kept in reply.body, the rest read and dropped */
    uint64_t body_bytes_max;    /* 0 = the client's default */
    http_call_body_fn *on_body; /* NULL, or each piece as it comes */
    http_call_done_fn *done;
    void *context;
    /* -- the answer, valid in done() */
    struct http_reply reply;
    /* -- the client's; zero before the first start */
    struct list node;
    struct timer timer;
    struct http_client *client;
    struct client_pool *pool;
    struct client_line *line;
    uint64_t started_ns, deadline_ns;
    uint8_t *kept; /* memory of an answer that outlives its connection */
    size_t kept_bytes;
    uint8_t state;
    bool repeated; /* sent once more: wants a new connection */
};

struct http_client_config {
    unsigned conns_max;            /* open or being opened, all origins */
    unsigned conns_per_origin_max; /* of these */
    /* Being opened (DNS to TLS) at once. Those that take longer than a moment do not count: a
     * server that hangs keeps no other one waiting. */
    unsigned dials_max;
    unsigned dials_per_origin_max;
    unsigned origins_max; /* remembered or in use */
    unsigned waiting_max; /* calls without a connection */
    uint32_t idle_timeout_ms;
    uint32_t timeout_ms;         /* of a call, over all */
    uint32_t connect_timeout_ms; /* DNS included */
    uint32_t proxy_timeout_ms;
    uint32_t tls_timeout_ms;
    uint32_t first_byte_timeout_ms;
    uint64_t body_bytes_max;
    const struct tls_trust *trust;  /* for origins that name none; NULL = https fails */
    const struct http_proxy *proxy; /* http/proxy.h; NULL = none. Outlives the client */
    /* net/dns.h, outlives the client. NULL: literal addresses and "localhost" only. */
    struct resolver *resolver;
};
extern const struct http_client_config http_client_defaults;

/* Written by the owning thread, read racily for metrics. */
struct http_client_stats {
    uint64_t calls, answers, failures, repeated;
    uint64_t dials, dials_failed, reused, stale_closed;
    uint64_t conns_open, conns_idle, waiting;
};

enum bk_err http_client_open(struct ring *ring, struct timer_wheel *wheel, struct buffers *buffers,
                             const struct http_client_config *config,
                             struct http_client **ret_client) BK_MUST_CHECK;
/* Queue a call. done() is never run from in here, but by a later turn or flush. */
void http_call_start(struct http_client *client, struct http_call *call);
/* done() runs soon with BK_CANCELLED, or whatever won the race. Nothing when it is not busy. */
void http_call_cancel(struct http_client *client, struct http_call *call);
static inline bool http_call_busy(const struct http_call *call)
{
    return call->state != 0;
}
/* Give queued calls to connections, end those that failed. Once per turn, last, before the next
 * ring_turn(). */
void http_client_flush(struct http_client *client);
/* Credentials were retired (tls/credentials.h): close the idle connections that were made with
 * them. Calls under way go on; what they leave behind goes with the last of them. */
void http_client_forget(struct http_client *client);
/* Close idle connections; calls under way go on, new ones fail with BK_CANCELLED. */
void http_client_drain(struct http_client *client);
/* No call and no connection is left. */
bool http_client_idle(const struct http_client *client);
/* Requires: idle, and one more turn of the ring. */
void http_client_close(struct http_client *client);
const struct http_client_stats *http_client_stats(const struct http_client *client);

#endif
