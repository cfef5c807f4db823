/* client.h - a blocking HTTP/1.1 client for commands: one request, one connection.
 *
 * Purpose     The commands talk to a running server, and `becket send` to any hook, without the
 *             event loop.
 * TLS         https:// by tls/tls.h: the system's authorities, and those of ca_file.
 * Limits      Bodies up to body_bytes_max.
 * Time        timeout_ms bounds the whole call.
 * Failure     false, with one line in `error`: what happened, in the user's words.
 */
#ifndef BECKET_CLI_CLIENT_H
#define BECKET_CLI_CLIENT_H

#include "base/buf.h"
#include "http/message.h"

#define CLIENT_ERROR_BYTES 400U

struct client_url {
    bool tls;
    char host[256]; /* without brackets; small letters */
    char port[6];
    char authority[300]; /* for the Host header */
    const char *path;    /* of the text given: "/hooks/a?b"; "" = "/" */
};

/* The URL's text must outlive *ret_url. */
bool client_url_parse(const char *text, struct client_url *ret_url, char error[CLIENT_ERROR_BYTES]);

#define CLIENT_WATCH_MS 1000

struct client_watch {
    unsigned waited_ms;
    size_t sent, to_send; /* bytes of the body, and what was sent before it */
    size_t received;
};

struct client_request {
    const char *method;
    const struct client_url *url;
    const char *target;   /* instead of url->path; NULL = that */
    struct slice headers; /* whole lines; without Host, Content-Length, Connection */
    struct slice body;
    const char *ca_file; /* NULL = the system's authorities alone */
    unsigned timeout_ms;
    size_t body_bytes_max;
    /* For whoever watches a long call: about four times a second, from CLIENT_WATCH_MS on. NULL =
     * nobody does. */
    void (*watch)(const struct client_watch *watch);
};

struct client_response {
    uint16_t status;
    struct buf raw; /* the head; owner of what `head` points to */
    struct http_head head;
    struct buf body;
};

bool client_call(const struct client_request *request, struct client_response *ret_response,
                 char error[CLIENT_ERROR_BYTES]);
/* Also after a failed call. */
void client_response_fini(struct client_response *response);

#endif
