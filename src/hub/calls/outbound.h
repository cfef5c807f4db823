/* outbound.h - calls to other servers for the control thread, made by a reactor.
 *
 * Purpose     Provider calls, key sets, OAuth: the control thread has no sockets of its own. It
 *             posts a call with everything it needs to the first reactor, whose HTTP client makes
 *             it; the answer comes back by mail and done() runs on the control thread.
 * Ownership   The request is copied: all of it may go when outbound_call() returned. The answer is
 *             valid until done() returns. A call frees itself behind done().
 * Threads     Everything here is for the control thread; done() runs there, from a turn of its
 *             ring, never inside outbound_call().
 * Limits      OUTBOUND_CALLS_MAX at once; a request of at most OUTBOUND_REQUEST_BYTES_MAX. Memory
 *             for the answer (body_bytes_max) is set aside when the call is made, and becomes
 *             resident as the answer fills it.
 * Trust       A call takes a reference of origin.credentials: see http/origin.h. The
 *             simplest is to leave them NULL (the server's own trust).
 * Ending      Calls under way when the reactor drains end by themselves, new ones with
 *             BK_CANCELLED. Close when outbound_idle().
 */
#ifndef BECKET_HUB_OUTBOUND_H
#define BECKET_HUB_OUTBOUND_H

#include "base/err.h"
#include "http/client.h"

#define OUTBOUND_CALLS_MAX         1024U
#define OUTBOUND_REQUEST_BYTES_MAX (8U << 20)
#define OUTBOUND_BODY_BYTES_MAX    (32U << 20)

struct outbound;

struct outbound_answer {
    enum bk_err err;              /* BK_OK: a whole answer, whatever its status */
    enum http_stage stage;        /* where it failed */
    const char *why;              /* one line when err, else "" */
    unsigned status;              /* 0 = no head came */
    const struct http_head *head; /* for http_find(); NULL when err */
    struct slice body;            /* whole: more than asked for is BK_TOO_LARGE */
};

typedef void outbound_done_fn(void *context, const struct outbound_answer *answer);

struct outbound_request {
    const struct http_origin *origin; /* initialised */
    struct slice head;                /* http/write.h builds it, with Host and Content-Length */
    struct slice body;
    bool head_method;
    bool repeatable;         /* see http/client.h */
    uint32_t timeout_ms;     /* 0 = the client's default */
    uint32_t body_bytes_max; /* of the answer; 0 = 1 MiB */
    outbound_done_fn *done;
    void *context;
};

/* `control` is the calling thread's ring, `reactor` and `client` the reactor's. */
enum bk_err outbound_open(struct ring *control, struct ring *reactor, struct http_client *client,
                          struct outbound **ret_outbound) BK_MUST_CHECK;
/* Requires: idle. */
void outbound_close(struct outbound *outbound);
/* No call is under way and no letter of one. */
bool outbound_idle(const struct outbound *outbound);

/* BK_BUSY too many at once, BK_TOO_LARGE, BK_NO_MEMORY: done() will not run. Else it runs once. */
enum bk_err outbound_call(struct outbound *outbound,
                          const struct outbound_request *request) BK_MUST_CHECK;

#endif
