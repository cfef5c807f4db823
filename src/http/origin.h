/* origin.h - where an HTTP call goes, and how its connections are made.
 *
 * Purpose     Two calls share connections when, and only when, all of this is the same: scheme,
 *             host, port, address policy, and the very same object of credentials. So a call that
 *             may not reach private addresses never rides on a connection of one that may, and
 *             none rides on a connection to a peer whom its own credentials would not believe.
 * Ownership   The caller's; immutable between http_origin_init() and the last use. Credentials are
 *             counted: who keeps a copy of an origin beyond its turn takes a reference
 *             (http_origin_take). The client holds its own for its connections.
 * Threads     Immutable, so any.
 */
#ifndef BECKET_HTTP_ORIGIN_H
#define BECKET_HTTP_ORIGIN_H

#include "base/url.h"

struct tls_credentials;

struct http_origin {
    bool tls;
    bool allow_private; /* else net/policy.h refuses private, loopback, link-local, ... addresses */
    uint16_t port;
    char host[256];                      /* as base/url.h normalises it: lower case, no brackets */
    /* tls/credentials.h; NULL = the client's default trust, no certificate of ours */
    struct tls_credentials *credentials;
    uint64_t key; /* of all the above; http_origin_init() computes it */
};

/* The scheme, host and port of a parsed URL; the rest zero. Call http_origin_init() when the other
 * fields are set. */
void http_origin_from_url(struct http_origin *ret_origin, const struct url *url);
void http_origin_init(struct http_origin *origin);
/* A copy with a reference of its own, and its end. */
void http_origin_take(struct http_origin *ret_copy, const struct http_origin *origin);
void http_origin_give(struct http_origin *copy);
/* All fields, not the key alone. */
bool http_origin_equal(const struct http_origin *a, const struct http_origin *b);

#endif
