/* ed25519.h - Ed25519 over a message in pieces.
 *
 * Threads     Pure; any. No allocation.
 * Source      RFC 8032; libsodium.
 */
#ifndef BECKET_BASE_ED25519_H
#define BECKET_BASE_ED25519_H

#include "base/slice.h"

#define ED25519_SIGNATURE_BYTES 64U
#define ED25519_KEY_BYTES       32U

/* Is the signature over the parts, one after the other, genuine? Also false for a key that is no
 * point of the curve or has a small order. */
bool ed25519_verify(const uint8_t signature[ED25519_SIGNATURE_BYTES],
                    const uint8_t public_key[ED25519_KEY_BYTES], const struct slice *parts,
                    unsigned part_count);

#endif
