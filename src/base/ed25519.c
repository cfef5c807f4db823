/* Ed25519 over a message in pieces.
 *
 * libsodium wants the message in one piece. Most webhooks fit on the stack; for larger ones the
 * check of RFC 8032 5.1.7, S B = R + k A, is put together from libsodium's group operations, with k
 * hashed piece by piece.
 */
#include "base/ed25519.h"

#include "base/assert.h"
#include "base/ct.h"

#include <sodium.h>

#define JOINED_BYTES_MAX 8192U

static bool verify_joined(const uint8_t signature[64], const uint8_t public_key[32],
                          const struct slice *parts, unsigned part_count)
{
    uint8_t message[JOINED_BYTES_MAX];
    size_t bytes = 0;
    for (unsigned i = 0; i < part_count; i++) {
        if (parts[i].bytes != 0) {
            memcpy(message + bytes, parts[i].at, parts[i].bytes);
            bytes += parts[i].bytes;
        }
    }
    return crypto_sign_verify_detached(signature, message, bytes, public_key) == 0;
}

/* S must be below the group's order, or one signature could be written in two ways. */
static bool scalar_is_reduced(const uint8_t scalar[32])
{
    uint8_t wide[64] = {0}, reduced[32];
    memcpy(wide, scalar, 32);
    crypto_core_ed25519_scalar_reduce(reduced, wide);
    return memcmp(reduced, scalar, 32) == 0;
}

static bool verify_split(const uint8_t signature[64], const uint8_t public_key[32],
                         const struct slice *parts, unsigned part_count)
{
    crypto_hash_sha512_state state;
    uint8_t digest[64], k[32], ka[32], sb[32], r[32];
    if (!scalar_is_reduced(signature + 32)) {
        return false;
    }
    crypto_hash_sha512_init(&state);
    crypto_hash_sha512_update(&state, signature, 32);
    crypto_hash_sha512_update(&state, public_key, 32);
    for (unsigned i = 0; i < part_count; i++) {
        if (parts[i].bytes != 0) {
            crypto_hash_sha512_update(&state, parts[i].at, parts[i].bytes);
        }
    }
    crypto_hash_sha512_final(&state, digest);
    crypto_core_ed25519_scalar_reduce(k, digest);
    if (crypto_scalarmult_ed25519_noclamp(ka, k, public_key) != 0 ||
        crypto_scalarmult_ed25519_base_noclamp(sb, signature + 32) != 0 ||
        crypto_core_ed25519_sub(r, sb, ka) != 0) {
        return false;
    }
    return bk_ct_equal(r, signature, 32);
}

bool ed25519_verify(const uint8_t signature[64], const uint8_t public_key[32],
                    const struct slice *parts, unsigned part_count)
{
    bk_assert(signature != NULL && public_key != NULL && (part_count == 0 || parts != NULL));
    uint64_t bytes = 0;
    for (unsigned i = 0; i < part_count; i++) {
        bytes += parts[i].bytes;
    }
    return bytes <= JOINED_BYTES_MAX ? verify_joined(signature, public_key, parts, part_count)
                                     : verify_split(signature, public_key, parts, part_count);
}
