/* aead.h - AES-256-GCM for what is sealed on disk: secret values, tokens.
 *
 * Purpose     Seal and open short values in place, with additional data that ties a value to its
 *             record. The best code the CPU has is used (AES-NI and PCLMULQDQ, else constant-time
 *             64-bit code).
 * Ownership   The key context is the caller's; it holds the key schedule, so wipe it.
 * Threads     A key is read-only after aead_key_init: any number of threads may use it.
 * Limits      A nonce must never repeat under one key. With random nonces stay far below 2^32
 *             values a key.
 * Source      NIST SP 800-38D; BearSSL.
 */
#ifndef BECKET_BASE_AEAD_H
#define BECKET_BASE_AEAD_H

#include "base/err.h"
#include "base/slice.h"

#include <bearssl_block.h>
#include <bearssl_hash.h>

#define AEAD_KEY_BYTES 32U
#define AEAD_NONCE_BYTES 12U
#define AEAD_TAG_BYTES 16U

struct aead_key {
    br_aes_gen_ctr_keys aes;
    br_ghash ghash;
    uint8_t h[16]; /* GHASH key: E(0) */
};

/* Which code; for tests. AEAD_AUTO is what everybody else wants. */
enum aead_implementation { AEAD_AUTO, AEAD_PORTABLE };

void aead_key_init(struct aead_key *ret_key, const uint8_t key[AEAD_KEY_BYTES]);
void aead_key_init_with(struct aead_key *ret_key, const uint8_t key[AEAD_KEY_BYTES],
                        enum aead_implementation implementation);
void aead_key_wipe(struct aead_key *key);

/* Encrypt `bytes` bytes at `data` in place and write the tag. */
void aead_seal(const struct aead_key *key, const uint8_t nonce[AEAD_NONCE_BYTES], struct slice aad,
               uint8_t *data, size_t bytes, uint8_t ret_tag[AEAD_TAG_BYTES]);
/* Decrypt in place. False, and `data` is all zeros, when key, nonce, aad, data or tag is not the
 * one sealed. */
bool aead_open(const struct aead_key *key, const uint8_t nonce[AEAD_NONCE_BYTES], struct slice aad,
               uint8_t *data, size_t bytes, const uint8_t tag[AEAD_TAG_BYTES]) BK_MUST_CHECK;

#endif
