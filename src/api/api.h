/* api.h - the admin API: requests in, answers out, no sockets.
 *
 * Purpose     Everything below /api/v1, /metrics and /health/… of the admin listener. The server
 *             parses HTTP, copies a request and runs api_handle() on the control thread.
 * Threads     The control thread only (it is the store's writer).
 * Ownership   The request's slices must live until the answer is finished. The response owns its
 *             body and, between API_AGAIN and API_DONE, the state of an unfinished listing.
 * Limits      One call reads at most API_STEP_BYTES of journal; a listing that is not full after
 *             API_LIST_MS answers what it has with `next`.
 * Failure     Never fails: every problem is an answer with {"code","message","details"}.
 */
#ifndef BECKET_API_API_H
#define BECKET_API_API_H

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "http/message.h"
#include "hub/resources/audit.h"
#include "ring/ring.h"

struct catalog;
struct dispatch;
struct route_table;
struct operations;
struct hub;
struct reader;
struct metrics_snapshot;

#define API_STEP_BYTES (4U << 20) /* about 20 ms of reading and filtering */
/* a client waits no longer for the first page of a rare filter */
#define API_LIST_MS 2000U
/* apply of some ten thousand objects; the server answers 413 beyond */
#define API_BODY_BYTES_MAX     (8U << 20)
#define API_RESPONSE_BYTES_MAX (40U << 20) /* an event's body and a page of a list */
#define API_HEADERS_MAX        12U

struct api_request {
    enum http_method method;
    struct slice target;        /* as sent: path and query */
    struct slice host;          /* Host header or authority */
    struct slice authorization; /* header values, empty when absent */
    struct slice cookie;
    struct slice if_match;
    struct slice if_none_match;
    struct slice content_type;
    struct slice content_encoding;
    struct slice accept;
    /* Origin and Sec-Fetch-Site: requests that another site made are refused */
    struct slice origin;
    struct slice sec_fetch_site;
    struct slice last_event_id;
    struct slice body;
    struct ring_address remote;
    int64_t wall_ns; /* set anew before every call of api_handle */
    uint64_t now_ns; /* monotonic, likewise */
};

struct api_header {
    const char *name; /* static */
    char value[1500]; /* the longest is the address of a sign-in */
};

struct outbound;
struct reseal;
struct web_call;
struct web; /* sessions and sign-ins: api/web.h */
struct api_work;   /* an unfinished request */
struct api_stream; /* an answer without an end: api/stream.h */

struct api_response {
    uint16_t status;
    const char *content_type; /* static; NULL = no body */
    /* all but Content-Type, Content-Length, Date, Connection */
    struct api_header headers[API_HEADERS_MAX];
    unsigned header_count;
    struct buf body;     /* empty for HEAD, but body_bytes counts */
    struct slice shared; /* instead of a body: what never changes, and stays until api_fini */
    uint64_t body_bytes; /* value of Content-Length */
    struct api_work *work;
    struct api_stream *stream; /* of a 200: instead of a body */
    char request_id[AUDIT_REQUEST_BYTES]; /* X-Request-Id: in the audit record, and in the log */
};

/* API_WAIT: call again when response->work is woken or its time has come. */
enum api_step { API_DONE, API_AGAIN, API_WAIT };

/* Attempts of one address that failed; see api_handle. */
struct api_guard_slot {
    uint8_t address[16];
    uint32_t failures;
    uint64_t until_ns;
};
#define API_GUARD_SLOTS    256U
#define API_GUARD_FAILURES 20U /* wrong tokens in a row before an address has to wait */
#define API_GUARD_WAIT_S   30U

struct api {
    struct hub *hub;
    struct catalog *catalog;    /* NULL: events answer 503 */
    struct dispatch *dispatch;  /* NULL: deliveries and replays answer 503 */
    const struct route_table *routes;
    struct ring_address listen; /* the admin listener's own address */
    /* Allowed Host names besides IP addresses, localhost and the host of public_url; no port. */
    const char *const *hosts;
    unsigned host_count;
    const char *public_url; /* without a slash at the end */
    void *context;
    /* Fill *ret_snapshot, which comes initialised, by hub/metrics.h. */
    void (*metrics)(void *context, struct metrics_snapshot *ret_snapshot);
    /* True when ready; else *ret_reason is a static text. NULL callback = ready. */
    bool (*ready)(void *context, const char **ret_reason);
    struct list streams; /* those that the control thread has; list_init() before the first */
    unsigned stream_count;
    struct operations *operations; /* NULL: not open yet */
    struct keys *keys;     /* NULL: there is no issuer */
    struct reseal *reseal; /* NULL: not open yet */
    /* web_call_start() with the server's outbound; NULL: nobody is called. */
    enum bk_err (*web_call)(struct outbound *outbound, const struct web_call *call,
                            const char **ret_why);
    struct outbound *outbound;
    const char *admin_url; /* of the pages, without a slash at the end; NULL = by the Host header */
    bool admin_tls;        /* the admin listener has certificates */
    struct web *web;       /* api's own, from the first page to api_fini */
    struct reader *reader; /* api's own, from the first listing to api_fini */
    struct buf openapi;    /* api's own, from the first request for it to api_fini */
    struct api_guard_slot guard[API_GUARD_SLOTS];
};

/* Is this one of the names of the admin listener? Any thread. */
bool api_host_allowed(const struct api *api, struct slice host);

/* Frees what api_handle keeps for itself. After the last response. */
void api_fini(struct api *api);

/* Body buffer ready, nothing else set. */
void api_response_init(struct api_response *response);
/* Also gives up an unfinished request. */
void api_response_fini(struct api_response *response);

/* Work on a request. API_AGAIN: call again with the same request (times renewed) and response,
 * after other work had its turn. API_DONE: the response is complete.
 * Checks, in this order: Host (421), route (404, 405), cross-site (403), token (401, 429), role
 * (403), query and body (400, 413, 415), then the route's own. */
enum api_step api_handle(struct api *api, const struct api_request *request,
                         struct api_response *response);

#endif
