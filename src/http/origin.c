#include "http/origin.h"

#include "base/siphash.h"
#include "tls/credentials.h"

void http_origin_from_url(struct http_origin *ret_origin, const struct url *url)
{
    *ret_origin = (struct http_origin){.tls = url->tls, .port = url->port};
    _Static_assert(sizeof url->host <= sizeof ret_origin->host, "a URL's host fits");
    memcpy(ret_origin->host, url->host, sizeof url->host);
}

void http_origin_init(struct http_origin *origin)
{
    /* Not secret: http_origin_equal() decides, this only spreads. */
    static const uint8_t key[SIPHASH_KEY_BYTES] = "becket's origins";
    struct {
        uint64_t credentials;
        uint16_t port;
        uint8_t tls, allow_private;
        char host[sizeof origin->host];
    } packed = {(uint64_t)(uintptr_t)origin->credentials,
                origin->port,
                origin->tls,
                origin->allow_private,
                ""};
    size_t host_bytes = strnlen(origin->host, sizeof origin->host);
    uint64_t hash[2];

    memcpy(packed.host, origin->host, host_bytes);
    siphash128(key, &packed, (size_t)(packed.host - (char *)&packed) + host_bytes, hash);
    origin->key = hash[0];
}

void http_origin_take(struct http_origin *ret_copy, const struct http_origin *origin)
{
    *ret_copy = *origin;
    (void)tls_credentials_take(origin->credentials);
}

void http_origin_give(struct http_origin *copy)
{
    tls_credentials_give(copy->credentials);
    copy->credentials = NULL;
}

bool http_origin_equal(const struct http_origin *a, const struct http_origin *b)
{
    return a->key == b->key && a->tls == b->tls && a->allow_private == b->allow_private &&
           a->port == b->port && a->credentials == b->credentials &&
           strncmp(a->host, b->host, sizeof a->host) == 0;
}
