/* origin.h - where an HTTP call goes, and how its connections are made.
 *
 * Purpose     Two calls share connections when, and only when, all of this is the same: scheme,
 *             host, port, address policy, trust and client certificate. So a call that may not
 *             reach private addresses never rides on a connection of one that may.
 * Ownership   The caller's; immutable between http_origin_init() and the last use. trust and
 *             identity are the caller's too: they must outlive every connection made with them
 *             (http_client_forget(), or the client's end).
 * Threads     Immutable, so any.
 */
#ifndef BECKET_HTTP_ORIGIN_H
#define BECKET_HTTP_ORIGIN_H

#include "base/url.h"

struct tls_trust;
struct tls_identity;

struct http_origin {
    bool tls;
    bool allow_private; /* else net/policy.h refuses private, loopback, link-local, ... addresses */
    uint16_t port;
    char host[256];                      /* as base/url.h normalises it: lower case, no brackets */
    const struct tls_trust *trust;       /* NULL = the client's default trust */
    const struct tls_identity *identity; /* client certificate; NULL = none */
    uint64_t key;                        /* of all the above; http_origin_init() computes it */
};

/* The scheme, host and port of a parsed URL; the rest zero. Call http_origin_init() when the other
 * fields are set. */
void http_origin_from_url(struct http_origin *ret_origin, const struct url *url);
void http_origin_init(struct http_origin *origin);
/* All fields, not the key alone. */
bool http_origin_equal(const struct http_origin *a, const struct http_origin *b);

#endif
