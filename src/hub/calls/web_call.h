/* web_call.h - one call to another server, told as method, URL and header lines.
 *
 * Purpose     Takes the URL apart, writes the head with every byte checked, hands it to
 *             calls/outbound.h. For OAuth and provider calls.
 * Ownership   The request is copied. A record per call frees itself, wiped, behind done().
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_WEB_CALL_H
#define BECKET_HUB_WEB_CALL_H

#include "hub/calls/outbound.h"

struct web_call {
    enum http_method method;
    struct slice url;
    struct slice headers; /* whole lines, each with CR LF; may hold credentials */
    struct slice body;
    bool allow_private;
    bool repeatable;
    uint32_t body_bytes_max; /* of the answer */
    outbound_done_fn *done;
    void *context;
};

/* As web_call_start(): for who is tested without a network. */
typedef enum bk_err web_call_fn(struct outbound *outbound, const struct web_call *call,
                                const char **ret_why);

/* An error: done() will not run; *ret_why says in one line why. */
enum bk_err web_call_start(struct outbound *outbound, const struct web_call *call,
                           const char **ret_why) BK_MUST_CHECK;

#endif
