/* private_key.h - signing with a key of ours that people give as PEM: RSA, ECDSA P-256, Ed25519.
 *
 * Purpose     JWTs of GitHub Apps and test signatures of providers that sign with public keys.
 * Keys        "RSA PRIVATE KEY", "EC PRIVATE KEY", "PRIVATE KEY" (PKCS#8, also Ed25519); not
 *             encrypted. RSA of 2048 to 4096 bits.
 * Ownership   The struct holds everything; private_key_wipe() when it is no longer needed.
 * Threads     Pure; any. No allocation.
 * Source      RFC 5958, RFC 8017, RFC 5915, RFC 8410; BearSSL, libsodium.
 */
#ifndef BECKET_BASE_PRIVATE_KEY_H
#define BECKET_BASE_PRIVATE_KEY_H

#include "base/public_key.h"

#include <bearssl_x509.h>

struct private_key {
    uint8_t kind; /* enum public_key_kind */
    union {
        br_skey_decoder_context decoder; /* RSA and P-256: its keys point into itself */
        uint8_t seed[32];                /* Ed25519 */
    } at;
};

/* NULL, or what is wrong with it (static). The struct must not be copied afterwards. */
const char *private_key_parse(struct slice pem, struct private_key *ret_key);
void private_key_wipe(struct private_key *key);

/* The signature over the text; how many bytes. 0: the algorithm is not one of this key, or one that
 * only others sign with (PSS, P-384, P-521). */
size_t private_key_sign(const struct private_key *key, enum signature_algorithm algorithm,
                        struct slice text, uint8_t ret_signature[SIGNATURE_BYTES_MAX]);

/* The public half. False: it cannot be computed. */
bool private_key_public(const struct private_key *key, struct public_key *ret_public);
/* The modulus, big-endian without zeros before it; how many bytes. 0: larger than ours may be. */
size_t private_key_modulus(const br_rsa_private_key *rsa,
                           uint8_t ret_modulus[PUBLIC_KEY_RSA_BYTES_MAX]);
/* An Ed25519 key from its seed. */
void private_key_ed25519(const uint8_t seed[32], struct private_key *ret_key);

#endif
