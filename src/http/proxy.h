/* proxy.h - which calls go through an HTTP proxy, and which.
 *
 * Purpose     The settings of HTTP_PROXY, HTTPS_PROXY and NO_PROXY, read once, asked for each
 *             origin. https goes through CONNECT, http with its whole URL in the request line.
 * Note        A proxy resolves names itself, so the address policy can only look at origins that
 *             are literal addresses; what names may lead to is the proxy's business then. The
 *             proxy's own address is the operator's choice and not checked.
 * Threads     Immutable once made; any.
 */
#ifndef BECKET_HTTP_PROXY_H
#define BECKET_HTTP_PROXY_H

#include "http/origin.h"

#define HTTP_PROXY_AUTHORIZATION_BYTES 1400U
#define HTTP_PROXY_EXCEPT_BYTES        4096U

struct http_proxy_server {
    bool set;
    uint16_t port;
    char host[256];
    /* Value of Proxy-Authorization; 0 bytes = none. A secret. */
    char authorization[HTTP_PROXY_AUTHORIZATION_BYTES];
    size_t authorization_bytes;
};

struct http_proxy {
    struct http_proxy_server http;
    struct http_proxy_server https;
    char except[HTTP_PROXY_EXCEPT_BYTES]; /* as given */
};

/* http_url, https_url: http://[user:password@]host[:port], NULL or empty = none (user and password
 * may hold %XX). except: names (and all below them), addresses and networks (10.0.0.0/8), each
 * perhaps with :port, separated by commas or blanks, or "*" for all; NULL = none. localhost and
 * loopback addresses never go through a proxy.
 * BK_INVALID: *ret_why says what is wrong (static text, without what was given). */
enum bk_err http_proxy_init(struct http_proxy *ret_proxy, const char *http_url,
                            const char *https_url, const char *except,
                            const char **ret_why) BK_MUST_CHECK;
void http_proxy_fini(struct http_proxy *proxy); /* wipes */
/* NULL = directly. */
const struct http_proxy_server *http_proxy_for(const struct http_proxy *proxy,
                                               const struct http_origin *origin);

#endif
