/* siphash.h - SipHash-2-4 with 128 bits of output: keyed fingerprints that a sender cannot aim.
 *
 * Purpose     Deduplication keys (delivery ids, bodies) and hash tables fed by strangers. Whoever
 *             does not know the key cannot make two inputs collide.
 * Threads     Pure; any.
 * Source      Aumasson and Bernstein, SipHash, 2012; the 128-bit variant of the reference code.
 */
#ifndef BECKET_BASE_SIPHASH_H
#define BECKET_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_BYTES 16U

/* ret_hash[0] is the first eight bytes of the reference's output, little-endian. */
void siphash128(const uint8_t key[SIPHASH_KEY_BYTES], const void *at, size_t bytes,
                uint64_t ret_hash[2]);

#endif
