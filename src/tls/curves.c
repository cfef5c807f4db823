#include "tls/private.h"

/* BearSSL's server hides a key of ECDHE that cannot be: it goes on with another secret, and the
 * peer's Finished is wrong then. That is right for RSA, where an attacker learns from it; here the
 * key is used once. And nobody looks whether X25519 gave nothing but zeros (RFC 7748 6.1, RFC 8422
 * 5.11), as it does for a few points whose secret anybody knows. */

static __thread bool refused;

static uint32_t multiply(unsigned char *point, size_t bytes, const unsigned char *key,
                         size_t key_bytes, int curve)
{
    uint32_t good = br_ec_get_default()->mul(point, bytes, key, key_bytes, curve);
    unsigned char all = 0;
    for (size_t i = 0; i < bytes; i++) {
        all |= point[i];
    }
    good &= all != 0;
    refused |= !good;
    return good;
}

void tls_curves_init(br_ec_impl *curves)
{
    *curves = *br_ec_get_default();
    curves->mul = multiply;
}

bool tls_curves_refused(void)
{
    bool was = refused;
    refused = false;
    return was;
}
