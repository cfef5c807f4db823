#include "base/siphash.h"

#include "base/assert.h"

#include <string.h>

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotate(uint64_t value, int bits)
{
    return value << bits | value >> (64 - bits);
}

static inline uint64_t load64le(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static inline void rounds(struct sip *s, int count)
{
    while (count-- > 0) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 = rotate(s->v2, 32);
    }
}

void siphash128(const uint8_t key[SIPHASH_KEY_BYTES], const void *at, size_t bytes,
                uint64_t ret_hash[2])
{
    bk_assert(key != NULL && (bytes == 0 || at != NULL));
    const uint8_t *p = (const uint8_t *)at;
    uint64_t k0 = load64le(key), k1 = load64le(key + 8);
    struct sip s = {k0 ^ 0x736f6d6570736575U, k1 ^ 0x646f72616e646f6dU ^ 0xee,
                    k0 ^ 0x6c7967656e657261U, k1 ^ 0x7465646279746573U};
    uint64_t last = (uint64_t)bytes << 56;
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint64_t word = load64le(p);
        s.v3 ^= word;
        rounds(&s, 2);
        s.v0 ^= word;
    }
    for (size_t i = 0; i < bytes; i++) {
        last |= (uint64_t)p[i] << 8 * i;
    }
    s.v3 ^= last;
    rounds(&s, 2);
    s.v0 ^= last;
    s.v2 ^= 0xee;
    rounds(&s, 4);
    ret_hash[0] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    s.v1 ^= 0xdd;
    rounds(&s, 4);
    ret_hash[1] = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
