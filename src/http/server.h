/* server.h - HTTP/1.1 connections of one core: from accepted sockets to whole requests, and back.
 *
 * Purpose     Joins the ring with the sans-I/O parser. A handler gets whole requests (head and
 *             decoded body, contiguous) and answers each exchange when it likes; answers leave in
 *             request order.
 * Ownership   Connections and exchanges live in pools of the server. A message's bytes are valid
 *             only during on_request(), unless the handler takes the buffer (http_take_buffer).
 * Threads     One core: the ring's owner.
 * Life cycle  accept -> read <-> answer -> (half-close, drain) -> close. A connection's memory is
 *             reused only when no operation is in flight on it.
 * Limits      PIPELINE_DEPTH_MAX unanswered requests, then the connection is not read (while half
 *             of exchanges_max are in use: one, so that who reads no answers takes no place of
 *             others); conns_max, then nothing is accepted (what a burst brings beyond waits,
 *             held_max); buffers (http/buffers.h) for split and large requests;
 *             answers_bytes_max of large answers that are not read.
 * Time        Deadlines for idle, head, body and write; lazy: a deadline is one store, a timer
 *             moves only when it fires.
 * Hot path    A request that arrives in one receive buffer is parsed, handled and answered without
 *             a copy, an allocation or a timer operation.
 */
#ifndef BECKET_HTTP_SERVER_H
#define BECKET_HTTP_SERVER_H

#include "base/list.h"
#include "http/buffers.h"
#include "http/message.h"
#include "ring/ring.h"
#include "ring/timer.h"

struct http_conn;
struct http_server;

#define HTTP_ANSWER_INLINE_BYTES 384U

/* One request and its answer. Fields for the handler are marked; the rest is the server's. */
struct http_exchange {
    struct list node;       /* in the connection's order */
    struct list wait;       /* handler: whatever queue it waits in */
    struct http_conn *conn; /* NULL once the connection is gone; answering is still allowed */
    struct http_server *server;
    uint64_t handler_number; /* handler: e.g. a journal sequence */
    uint64_t started_ns;     /* when its bytes were here (monotonic) */
    void *handler_pointer;   /* handler: a buffer it took, … */
    uint64_t handler_source;
    uint8_t *handler_buffer; /* handler: taken with http_take_buffer */
    size_t handler_buffer_bytes;
    uint8_t *body; /* malloc'ed, freed after the send, or shared; NULL = all inline */
    size_t body_bytes;
    /* Of an answer that comes in pieces; see http_stream(). */
    void (*streamed)(struct http_exchange *exchange);
    uint16_t inline_bytes;
    bool ready;
    bool handler_many; /* handler: handler_pointer is something else this time */
    bool close_after;
    bool comes_whole; /* during on_head: see there */
    bool head_only;   /* HEAD: no body in the answer */
    bool keep_alive;
    bool body_shared; /* body is somebody else's, and stays */
    uint8_t minor_version;
    uint8_t inline_at[HTTP_ANSWER_INLINE_BYTES];
};

struct http_message {
    const struct http_head
        *head; /* head->at is the first byte of the message; the body follows the head */
    struct slice body;
    bool decoded; /* the body came chunked */
    struct ring_address peer;
};

enum http_outcome {
    HTTP_TAKEN, /* answered, or will be */
    HTTP_LATER  /* cannot take it now: ask again after http_server_resume(); see http_later() */
};

struct http_handler {
    void *context;
    /* The head is complete but the body is not: return the largest body wanted, or answer now (then
     * the return value does not matter and the connection closes after the answer). Where
     * exchange->comes_whole is set the body is small and on its way: an answer that would keep the
     * connection if the request came whole, at once, has to wait for on_request. */
    uint64_t (*on_head)(void *context, struct http_exchange *exchange,
                        const struct http_head *head);
    /* A whole request. */
    enum http_outcome (*on_request)(void *context, struct http_exchange *exchange,
                                    const struct http_message *message);
    /* Two of them, of different connections, for a handler that needs less time for both at once.
     * Those of one turn are paired in the order in which they come. NULL = one by one. */
    void (*on_two)(void *context, struct http_exchange *const exchanges[2],
                   const struct http_message *const messages[2], enum http_outcome ret_outcomes[2]);
};

struct tls_slot;

struct http_server_config {
    unsigned conns_max;
    unsigned conns_per_address; /* 0 = not limited */
    unsigned held_max;          /* accepted beyond conns_max; they wait, unread, for a slot */
    unsigned exchanges_max;     /* twice conns_max: of half of them each connection has one */
    /* Of malloc'ed answers that nobody has read yet. Beyond it connections are closed, first the
     * one that has read nothing for longest. */
    size_t answers_bytes_max;
    uint32_t idle_timeout_ms;
    uint32_t head_timeout_ms;
    uint32_t body_timeout_ms;
    uint32_t write_timeout_ms;
    uint32_t parked_timeout_ms;
    /* TLS: who we are, NULL = plain. Engines come from a pool of tls_conns_max (about 32 KiB each,
     * resident as used); beyond tls_handshakes_max handshakes the oldest makes room. */
    struct tls_slot *tls;
    unsigned tls_conns_max;
    unsigned tls_handshakes_max;
    uint32_t tls_handshake_timeout_ms;
    /* May take an accepted connection for another server (http_server_adopt); false: it stays. */
    bool (*place)(void *context, int32_t handle, const struct ring_address *peer);
    void *place_context;
};
extern const struct http_server_config http_server_defaults;

struct http_server_stats {
    uint64_t refused; /* no slot, or too many of one address */
    uint64_t accepted, requests, answers_by_class[6], bad_requests, timeouts;
    uint64_t tls_handshakes, tls_resumed, tls_failed;
    unsigned conns_open;
};

enum bk_err http_server_open(struct ring *ring, struct timer_wheel *wheel, struct buffers *buffers,
                             const struct http_server_config *config,
                             const struct http_handler *handler,
                             struct http_server **ret_server) BK_MUST_CHECK;
/* Add a listening handle and start accepting. At most CORES_MAX per server. */
void http_server_accept(struct http_server *server, int32_t listener);
/* A connection that another ring accepted is ours now. */
void http_server_adopt(struct http_server *server, int32_t handle, const struct ring_address *peer);
/* No more is received in this turn: handle the request that waits for a second one. Once per turn,
 * after the ring's, of a server whose handler has on_two. */
void http_server_received(struct http_server *server);
/* Send what became ready since the last call. Once per turn. */
void http_server_flush(struct http_server *server);
/* There is something to compute: do not wait in the next turn. Only with TLS. */
bool http_server_has_work(const struct http_server *server);
/* Compute some of it, up to a few milliseconds, then flush. Once per turn, when all else of it was
 * submitted. */
void http_server_compute(struct http_server *server);
/* Ask parked connections again (after a journal commit). */
void http_server_resume(struct http_server *server);
bool http_server_has_parked(const struct http_server *server);
/* Drain: close the listeners, finish exchanges under way, close idle connections. */
void http_server_drain(struct http_server *server);
/* True when no connection is left, and after a drain no listener. */
bool http_server_idle(const struct http_server *server);
/* Requires: idle, and one more turn of the ring. */
void http_server_close(struct http_server *server);
/* Address space for its connections when all are in use, and for answers that are not read. */
size_t http_server_bytes(const struct http_server_config *config);
const struct http_server_stats *http_server_stats(const struct http_server *server);

/* During on_request, for its return value: HTTP_LATER. When the connection's time is over before
 * the request is taken, its answer is 503 with these words, which are static. */
enum http_outcome http_later(struct http_exchange *exchange, const char *code, const char *message);

/* ---- answering (any time after on_head/on_request, once per exchange, on the server's thread) */

/* Build the answer now, send it when http_ready() is called. `headers` are whole lines ("A: b\r\n")
 * or empty. */
void http_prepare(struct http_exchange *exchange, unsigned status, const char *content_type,
                  struct slice headers, struct slice body);
/* Forget what was prepared; answer anew. */
void http_unprepare(struct http_exchange *exchange);
void http_ready(struct http_exchange *exchange);
/* Both at once. */
void http_answer(struct http_exchange *exchange, unsigned status, const char *content_type,
                 struct slice headers, struct slice body);
/* The same with a malloc'ed body that the server frees; one over answers_bytes_max is answered 500.
 */
void http_answer_owned(struct http_exchange *exchange, unsigned status, const char *content_type,
                       struct slice headers, uint8_t *body, size_t body_bytes);
/* The same with a body that never changes, and stays as long as the server does. */
void http_answer_shared(struct http_exchange *exchange, unsigned status, const char *content_type,
                        struct slice headers, struct slice body);
/* {"code","message"} with the right status text; also closes for 400, 408, 413, 414, 431, 501, 505.
 */
void http_answer_error(struct http_exchange *exchange, unsigned status, const char *code,
                       const char *message, struct slice headers);
/* An answer without an end in sight: the head now, then pieces, and the connection's close is its
 * end. streamed() is called on this core whenever what was given last has left, and when the
 * connection is gone (exchange->conn is NULL then). The exchange is the handler's until
 * http_stream_end(). */
void http_stream(struct http_exchange *exchange, const char *content_type, struct slice headers,
                 void (*streamed)(struct http_exchange *exchange));
/* Requires: streamed() was called since the last piece, and there is a connection. `piece` is
 * malloc'ed and becomes the server's. */
void http_stream_piece(struct http_exchange *exchange, uint8_t *piece, size_t bytes);
/* Requires: as above, or no connection. streamed() is not called any more. */
void http_stream_end(struct http_exchange *exchange);

/* During on_request: take the 4 KiB aligned buffer that holds the message (message starts at
 * buffer + HTTP_BUFFER_MESSAGE_AT). NULL when the message is in a shared receive buffer. Give it
 * back with buffers_give(). */
#define HTTP_BUFFER_MESSAGE_AT 192U
uint8_t *http_take_buffer(struct http_exchange *exchange, size_t *ret_bytes);

/* Give it back instead, before on_request() returns HTTP_LATER: the message is as it was. */
void http_return_buffer(struct http_exchange *exchange, uint8_t *buffer, size_t bytes);
/* The server's own buffers (for http_take_buffer's). */
struct buffers *http_buffers(struct http_server *server);

#endif
