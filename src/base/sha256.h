/* sha256.h - SHA-256 and HMAC-SHA-256, the work of almost every verification.
 *
 * Purpose     SHA-NI where the CPU has it, else BearSSL's portable code. A key is two midstates
 *             (the state after the ipad block and after the opad block): an HMAC over n bytes costs
 *             (n + 9 + 63) / 64 + 1 blocks, and the secret itself is not kept.
 * Ownership   Keys and contexts are the caller's plain structs; wipe what came from a secret.
 * Threads     Pure; a key may be used by any number of threads. The CPU is looked at once, before
 *             main.
 * BearSSL     sha256_class is a br_hash_class over br_sha256_context: usable wherever BearSSL wants
 *             a hash (TLS engine, X.509, HKDF, PRF).
 * Source      FIPS 180-4, RFC 2104.
 */
#ifndef BECKET_BASE_SHA256_H
#define BECKET_BASE_SHA256_H

#include "base/slice.h"

#include <bearssl_hash.h>

#define SHA256_BYTES       32U
#define SHA256_BLOCK_BYTES 64U

extern const br_hash_class sha256_class;

void sha256_init(br_sha256_context *context);
void sha256_update(br_sha256_context *context, const void *at, size_t bytes);
/* The context is not changed: more may be added afterwards. */
void sha256_out(const br_sha256_context *context, uint8_t ret_digest[SHA256_BYTES]);
/* What is in the context with the parts behind it. It is not changed: it may be the beginning of
 * many texts. */
void sha256_out_with(const br_sha256_context *context, const struct slice *parts,
                     unsigned part_count, uint8_t ret_digest[SHA256_BYTES]);
/* In one call. */
void sha256(struct slice text, uint8_t ret_digest[SHA256_BYTES]);

/* The compression function over whole blocks. */
void sha256_blocks(uint32_t state[8], const uint8_t *at, size_t blocks);
/* The same over as many blocks of another message: with SHA-NI both take little longer than one. */
void sha256_blocks_two(uint32_t state_a[8], const uint8_t *a, uint32_t state_b[8], const uint8_t *b,
                       size_t blocks);

struct hmac_sha256_key {
    uint32_t inner[8];
    uint32_t outer[8];
};

void hmac_sha256_key_init(struct hmac_sha256_key *ret_key, struct slice secret);
/* Over the parts one after the other, without joining them. */
void hmac_sha256(const struct hmac_sha256_key *key, const struct slice *parts, unsigned part_count,
                 uint8_t ret_mac[SHA256_BYTES]);

/* Two of any lengths in one pass: as long as both have blocks left, two are hashed at once. */
struct hmac_sha256_text {
    const struct hmac_sha256_key *key;
    const struct slice *parts;
    unsigned part_count;
};
void hmac_sha256_two(const struct hmac_sha256_text texts[2], uint8_t ret_mac_a[SHA256_BYTES],
                     uint8_t ret_mac_b[SHA256_BYTES]);

/* For tests and benchmarks: false forces the portable code, true the best there is. Not while other
 * threads hash. */
void sha256_accelerate(bool on);
bool sha256_accelerated(void);

#endif
