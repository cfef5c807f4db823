#include "base/rsa_pss.h"

#include "base/assert.h"

#define HASH_BYTES_MAX    64U
#define MODULUS_BYTES_MAX 512U

static size_t output_bytes(const br_hash_class *hash)
{
    return hash->desc >> BR_HASHDESC_OUT_OFF & BR_HASHDESC_OUT_MASK;
}

/* XOR the mask that MGF1 makes of `seed` over the bytes (RFC 8017 B.2.1). */
static void unmask(const br_hash_class *hash, struct slice seed, uint8_t *at, size_t bytes)
{
    size_t step = output_bytes(hash);
    uint8_t count[4] = {0}, block[HASH_BYTES_MAX];
    br_hash_compat_context context;
    for (size_t done = 0; done < bytes; done += step) {
        hash->init(&context.vtable);
        hash->update(&context.vtable, seed.at, seed.bytes);
        hash->update(&context.vtable, count, sizeof count);
        hash->out(&context.vtable, block);
        count[3]++; /* 512 bytes take 16 blocks of SHA-256 at most */
        for (size_t i = 0; i < step && done + i < bytes; i++) {
            at[done + i] ^= block[i];
        }
    }
}

/* RFC 8017 9.1.2 over the encoded message, whose first `top_bits` bits must be zero. */
static bool is_encoded(const br_hash_class *hash, const uint8_t *digest, uint8_t *message,
                       size_t bytes, unsigned top_bits)
{
    static const uint8_t zeros[8];
    size_t hash_bytes = output_bytes(hash), salt_bytes = hash_bytes;
    uint8_t found[HASH_BYTES_MAX];
    br_hash_compat_context context;
    if (bytes < hash_bytes + salt_bytes + 2 || message[bytes - 1] != 0xbc) {
        return false;
    }
    size_t block_bytes = bytes - hash_bytes - 1;
    const uint8_t *hashed = message + block_bytes;
    uint8_t top = (uint8_t)(0xff00U >> top_bits);
    if (message[0] & top) {
        return false;
    }
    unmask(hash, slice_of(hashed, hash_bytes), message, block_bytes);
    message[0] &= (uint8_t)~top;
    size_t zero_bytes = block_bytes - salt_bytes - 1;
    for (size_t i = 0; i < zero_bytes; i++) {
        if (message[i] != 0) {
            return false;
        }
    }
    if (message[zero_bytes] != 1) {
        return false;
    }
    hash->init(&context.vtable);
    hash->update(&context.vtable, zeros, sizeof zeros);
    hash->update(&context.vtable, digest, hash_bytes);
    hash->update(&context.vtable, message + block_bytes - salt_bytes, salt_bytes);
    hash->out(&context.vtable, found);
    return memcmp(found, hashed, hash_bytes) == 0;
}

bool rsa_pss_verify(const br_rsa_public_key *key, const br_hash_class *hash, const uint8_t *digest,
                    struct slice signature)
{
    uint8_t message[MODULUS_BYTES_MAX];
    bk_assert(key->nlen > 0 && key->nlen <= sizeof message && key->n[0] != 0);
    if (signature.bytes != key->nlen) {
        return false;
    }
    memcpy(message, signature.at, signature.bytes);
    if (br_rsa_public_get_default()(message, signature.bytes, key) != 1) {
        return false;
    }
    /* One bit less than the modulus has: of its first byte, or of the byte behind it. */
    unsigned unused = (unsigned)__builtin_clz(key->n[0]) - 24U + 1U;
    if (unused == 8) {
        return message[0] == 0 && is_encoded(hash, digest, message + 1, signature.bytes - 1, 0);
    }
    return is_encoded(hash, digest, message, signature.bytes, unused);
}
