/* hmac.h - HMAC with any of the hashes that webhooks use.
 *
 * Purpose     One key type over SHA-256 (base/sha256.h) and SHA-1, SHA-384, SHA-512 (BearSSL). Keys
 *             are midstates: the secret is not kept.
 * Ownership   Keys are the caller's plain structs; wipe them with bk_wipe.
 * Threads     Pure; a key may be used by any number of threads.
 */
#ifndef BECKET_BASE_HMAC_H
#define BECKET_BASE_HMAC_H

#include "base/sha256.h"

#include <bearssl_hmac.h>

enum hmac_algorithm { HMAC_SHA256, HMAC_SHA1, HMAC_SHA384, HMAC_SHA512 };

#define HMAC_BYTES_MAX 64U

struct hmac_key {
    enum hmac_algorithm algorithm;
    union {
        struct hmac_sha256_key sha256;
        br_hmac_key_context other;
    };
};

/* Size of the MAC in bytes: 20, 32, 48 or 64. */
size_t hmac_bytes(enum hmac_algorithm algorithm);
void hmac_key_init(struct hmac_key *ret_key, enum hmac_algorithm algorithm, struct slice secret);
/* Over the parts one after the other, without joining them. Gives hmac_bytes(). */
size_t hmac(const struct hmac_key *key, const struct slice *parts, unsigned part_count,
            uint8_t ret_mac[HMAC_BYTES_MAX]);

#endif
