/* rsa_pss.h - RSASSA-PSS signatures of others, which BearSSL 0.6 does not know.
 *
 * Purpose     PS256, PS384 and PS512 of tokens: MGF1 with the same hash and a salt as long as the
 *             hash, as RFC 7518 3.5 wants, and no other.
 * Threads     Pure; any. No allocation.
 * Source      RFC 8017 8.1.2, 9.1.2 and B.2.1; the public operation is BearSSL's.
 */
#ifndef BECKET_BASE_RSA_PSS_H
#define BECKET_BASE_RSA_PSS_H

#include "base/slice.h"

#include <bearssl_hash.h>
#include <bearssl_rsa.h>

/* `digest` is the text's, by `hash`. The modulus has no leading zero and at most 512 bytes. */
bool rsa_pss_verify(const br_rsa_public_key *key, const br_hash_class *hash, const uint8_t *digest,
                    struct slice signature);

#endif
