/* public_key.h - public keys of others, and what they signed: RSA, ECDSA, Ed25519.
 *
 * Purpose     One form for keys from configuration, certificates and key sets, whichever way they
 *             are written, and one call that checks a signature over a text in pieces.
 * Keys        RSA with 2048 to 4096 bits and an odd exponent from 3 to 2^32 - 1; P-256, P-384 and
 *             P-521 as an uncompressed point that lies on the curve; Ed25519. Written as PEM
 *             ("PUBLIC KEY", "RSA PUBLIC KEY", "CERTIFICATE"), as DER SubjectPublicKeyInfo in base
 *             64 or as bytes, or as JWK. A private key is refused: it has no place here.
 * ECDSA       DER signatures must be DER (minimal integers, nothing behind); raw ones are r and s,
 *             each as long as the curve. Either s or its negative is accepted, as every provider's
 *             own library does: a signature is no id.
 * RSA         PKCS#1's padding is compared as a whole, with the hash's parameters there or left
 *             out; PSS is in base/rsa_pss.h.
 * Threads     Pure; any. No allocation.
 * Source      RFC 5480, RFC 8017, RFC 8032, RFC 7517, RFC 7518; BearSSL, libsodium.
 */
#ifndef BECKET_BASE_PUBLIC_KEY_H
#define BECKET_BASE_PUBLIC_KEY_H

#include "base/slice.h"

#include <bearssl_hash.h>

#define PUBLIC_KEY_RSA_BYTES_MIN 256U
#define PUBLIC_KEY_RSA_BYTES_MAX 512U
#define PUBLIC_KEY_P256_BYTES    65U
#define PUBLIC_KEY_P384_BYTES    97U
#define PUBLIC_KEY_P521_BYTES    133U
/* No signature of these keys is longer. */
#define SIGNATURE_BYTES_MAX PUBLIC_KEY_RSA_BYTES_MAX

enum public_key_kind {
    PUBLIC_KEY_NONE,
    PUBLIC_KEY_RSA,
    PUBLIC_KEY_P256,
    PUBLIC_KEY_P384,
    PUBLIC_KEY_P521,
    PUBLIC_KEY_ED25519
};

struct public_key {
    uint8_t kind; /* enum public_key_kind */
    uint8_t exponent_bytes;
    uint16_t bytes; /* of the modulus, point or key at `at` */
    uint8_t exponent[4];
    uint8_t at[PUBLIC_KEY_RSA_BYTES_MAX];
};

/* What a key of this kind takes when the rest of `at` is left out. */
size_t public_key_bytes(enum public_key_kind kind);

/* As people configure one: PEM, or base 64 of a SubjectPublicKeyInfo, or a JWK. NULL, or what is
 * wrong with it (static). */
const char *public_key_parse(struct slice text, struct public_key *ret_key);
/* From the bytes of a SubjectPublicKeyInfo. False: not one, or a key that is not taken. */
bool public_key_spki(struct slice der, struct public_key *ret_key);
/* A big-endian number without its leading zeros. */
struct slice public_key_number(struct slice number);
/* From a modulus and an exponent, leading zeros or not. */
bool public_key_rsa(struct slice modulus, struct slice exponent, struct public_key *ret_key);
/* From the coordinates of a point on P-256, P-384 or P-521, each as long as the curve. */
bool public_key_ec(enum public_key_kind kind, struct slice x, struct slice y,
                   struct public_key *ret_key);
bool public_key_ed25519(struct slice bytes, struct public_key *ret_key);
/* The bytes of its SubjectPublicKeyInfo. */
#define PUBLIC_KEY_SPKI_BYTES_MAX 600U
size_t public_key_write_spki(const struct public_key *key, uint8_t out[PUBLIC_KEY_SPKI_BYTES_MAX]);
bool public_key_equal(const struct public_key *a, const struct public_key *b);

enum signature_algorithm {
    SIGNATURE_RSA_SHA1, /* SNS's first version and Travis CI only */
    SIGNATURE_RSA_SHA256,
    SIGNATURE_RSA_SHA384,
    SIGNATURE_RSA_SHA512,
    SIGNATURE_PSS_SHA256,
    SIGNATURE_PSS_SHA384,
    SIGNATURE_PSS_SHA512,
    SIGNATURE_P256_DER, /* with SHA-256 */
    SIGNATURE_P256_RAW,
    SIGNATURE_P384_RAW, /* with SHA-384 */
    SIGNATURE_P521_RAW, /* with SHA-512 */
    SIGNATURE_ED25519
};
/* The kind of key it needs. */
enum public_key_kind signature_key_kind(enum signature_algorithm algorithm);

/* Is it the key's signature over the parts, one after the other? False for a key of another kind:
 * the algorithm is never taken from the key or the signature. */
bool public_key_verify(const struct public_key *key, enum signature_algorithm algorithm,
                       const struct slice *parts, unsigned part_count, struct slice signature);

/* The same for a text that comes bit by bit; not with Ed25519, which hashes the signature first. */
struct signature_digest {
    enum signature_algorithm algorithm;
    br_hash_compat_context hash;
};
void signature_digest_init(struct signature_digest *digest, enum signature_algorithm algorithm);
void signature_digest_add(struct signature_digest *digest, struct slice part);
bool public_key_verify_digest(const struct public_key *key, const struct signature_digest *digest,
                              struct slice signature);

#endif
