/* keys.h - keys that others publish and that must be at hand while a request is verified.
 *
 * Purpose     Verification does no I/O: it asks a finder for a key and takes what is there. Who
 *             runs the finder (hub/keys/key_cache.h) fetches what is wanted and asks again; here it
 *             is only said which key, from where. A want is never made from an address that the
 *             provider's rule does not pin.
 * Life time   A found key is valid until the call of scheme_verify() returns.
 */
#ifndef BECKET_PROVIDERS_KEYS_H
#define BECKET_PROVIDERS_KEYS_H

#include "base/public_key.h"

enum key_form {
    KEY_CERTIFICATE, /* a PEM certificate at `url` */
    KEY_SET,         /* a JWK set at `url` */
    KEY_ISSUER       /* an issuer whose discovery document tells where its JWK set is */
};

#define KEY_URL_BYTES_MAX 512U

struct key_want {
    enum key_form form;
    struct slice url;
    struct slice name;                  /* of the certificate; empty = any */
    struct slice kid;                   /* in a set */
    enum signature_algorithm algorithm; /* what the key must be for */
    bool allow_private;                 /* it may be at a private address */
    int64_t now_seconds;
};

enum key_found {
    KEY_FOUND,
    KEY_LATER,       /* it is being fetched: ask again */
    KEY_UNAVAILABLE, /* it could not be fetched */
    KEY_UNKNOWN      /* its publisher has no such key */
};

struct key_finder {
    enum key_found (*find)(void *context, const struct key_want *want,
                           const struct public_key **ret_key);
    void *context;
};

#endif
