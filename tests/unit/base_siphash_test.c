/* siphash128: first values of the reference's list, and libsodium's on every length. */
#include "base/siphash.h"
#include "tap.h"

#include <sodium.h>

static void as_bytes(const uint64_t hash[2], uint8_t out[16])
{
    for (int i = 0; i < 16; i++) {
        out[i] = (uint8_t)(hash[i / 8] >> 8 * (i % 8));
    }
}

int main(void)
{
    static const uint8_t first[3][16] = {
        {0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02,
         0x93},
        {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc,
         0x45},
        {0x81, 0x77, 0x22, 0x8d, 0xa4, 0xa4, 0x5d, 0xc7, 0xfc, 0xa3, 0x8b, 0xde, 0xf6, 0x0a, 0xff,
         0xe4},
    };
    uint8_t key[16], in[256], got[16], want[16];
    uint64_t hash[2];
    for (unsigned i = 0; i < 256; i++) {
        in[i] = (uint8_t)i;
        key[i % 16] = (uint8_t)(i % 16);
    }
    for (size_t n = 0; n < 3; n++) {
        siphash128(key, in, n, hash);
        as_bytes(hash, got);
        is_mem(got, first[n], 16, "reference value %zu", n);
    }
    unsigned wrong = 0;
    for (size_t n = 0; n < 256; n++) {
        key[n % 16] ^= (uint8_t)(n * 3);
        siphash128(key, in, n, hash);
        as_bytes(hash, got);
        crypto_shorthash_siphashx24(want, in, n, key);
        wrong += memcmp(got, want, 16) != 0;
    }
    is_uint(wrong, 0, "every length equals libsodium's");
    return done_testing();
}
