/* jwk.h - JSON Web Keys: the public keys that issuers of tokens publish.
 *
 * Purpose     A key or a set of keys out of JSON. A set keeps the keys that can be used to verify
 *             signatures and skips all others, as RFC 7517 section 5 wants; symmetric keys
 *             (`oct`) are never taken.
 * Ownership   A set is one malloc'ed block, immutable; free() ends it.
 * Threads     Pure; any thread may read a set.
 * Limits      JWK_TEXT_BYTES_MAX of text, and as many keys as that holds; JWK_KID_BYTES_MAX for a
 *             key's id.
 * Source      RFC 7517, RFC 7518, RFC 8037.
 */
#ifndef BECKET_BASE_JWK_H
#define BECKET_BASE_JWK_H

#include "base/err.h"
#include "base/public_key.h"

#define JWK_TEXT_BYTES_MAX 131072U
#define JWK_KID_BYTES_MAX  128U

struct jwk {
    enum signature_algorithm algorithm; /* the only one it may be used with */
    bool any_algorithm;                 /* its publisher does not say: all of its kind */
    uint8_t kid_bytes;
    char kid[JWK_KID_BYTES_MAX]; /* no NUL; kid_bytes 0 = it has none */
    struct public_key key;
};

struct jwk_set {
    unsigned count;
    struct jwk keys[];
};

/* "RS256" and so on; false for what is not taken, `none` and HS256 among it. */
bool jwk_algorithm(struct slice name, enum signature_algorithm *ret_algorithm);
/* One key. False: malformed, not for signatures, or of a kind that is not taken. */
bool jwk_parse(struct slice text, struct jwk *ret_jwk);
/* {"keys":[…]}. BK_INVALID when it is not that or has no usable key, BK_NO_MEMORY. */
enum bk_err jwk_set_parse(struct slice text, struct jwk_set **ret_set) BK_MUST_CHECK;
/* The key for this algorithm with this id; NULL = none, or several. The empty id is any. */
const struct jwk *jwk_set_find(const struct jwk_set *set, struct slice kid,
                               enum signature_algorithm algorithm);

#endif
