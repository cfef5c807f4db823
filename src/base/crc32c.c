#include "base/crc32c.h"

#include "base/assert.h"

#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78U

static uint32_t table[8][256];

/* Eight bytes a step ("slicing by 8"): table[k][b] is the CRC of byte b followed by k zero bytes.
 */
static void table_init(void)
{
    for (uint32_t b = 0; b < 256; b++) {
        uint32_t crc = b;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) ? POLYNOMIAL : 0);
        }
        table[0][b] = crc;
    }
    for (int k = 1; k < 8; k++) {
        for (uint32_t b = 0; b < 256; b++) {
            uint32_t before = table[k - 1][b];
            table[k][b] = (before >> 8) ^ table[0][before & 0xff];
        }
    }
}

uint32_t crc32c_portable(uint32_t seed, const void *at, size_t bytes)
{
    bk_assert(bytes == 0 || at != NULL);
    const uint8_t *p = (const uint8_t *)at;
    uint32_t crc = ~seed;
    for (; bytes >= 8; bytes -= 8, p += 8) {
        uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                              (uint32_t)p[3] << 24);
        crc = table[7][low & 0xff] ^ table[6][low >> 8 & 0xff] ^ table[5][low >> 16 & 0xff] ^
              table[4][low >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^
              table[0][p[7]];
    }
    for (; bytes != 0; bytes--, p++) {
        crc = (crc >> 8) ^ table[0][(crc ^ *p) & 0xff];
    }
    return ~crc;
}

#if defined(__x86_64__)

#include <immintrin.h>

#define SSE42 __attribute__((target("sse4.2,pclmul")))

/* Words of 8 bytes per stream and round. 128 makes 3 KiB a round: the joining is then below 2 %. */
#define STREAM_WORDS_MAX 128U

/* shift[n] = x^(64 n - 33) mod P, reflected: multiplying a CRC by it without carry and taking the
 * crc32 instruction over the 64-bit product moves the CRC past n words of zeros. */
static uint32_t shift[2 * STREAM_WORDS_MAX + 1];
static bool have_crc32;

static void shift_init(void)
{
    /* Reflected, 1 is x^31; each step is one power more. */
    uint32_t power = 1;
    for (unsigned n = 1, exponent = 31; n < bk_array_length(shift); n++) {
        for (; exponent < 64 * n - 33; exponent++) {
            power = (power >> 1) ^ ((power & 1) ? POLYNOMIAL : 0);
        }
        shift[n] = power;
    }
}

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t word;
    memcpy(&word, p, 8);
    return word;
}

SSE42 static inline uint64_t moved(uint64_t crc, uint32_t by)
{
    __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc),
                                           _mm_cvtsi64_si128((long long)by), 0);
    return (uint64_t)_mm_cvtsi128_si64(product);
}

SSE42 static uint32_t crc32c_sse42(uint32_t seed, const uint8_t *p, size_t bytes)
{
    uint64_t crc = ~seed;
    while (bytes >= 192) {
        size_t words = bytes / 24 < STREAM_WORDS_MAX ? bytes / 24 : STREAM_WORDS_MAX;
        const size_t q = 8 * words, r = 16 * words;
        const uint8_t *end = p + q;
        uint64_t second = 0, third = 0;
        for (const uint8_t *most = p + (q & ~(size_t)31); p != most; p += 32) {
            for (size_t i = 0; i < 32; i += 8) { /* unrolled */
                crc = _mm_crc32_u64(crc, load64(p + i));
                second = _mm_crc32_u64(second, load64(p + q + i));
                third = _mm_crc32_u64(third, load64(p + r + i));
            }
        }
        for (; p != end; p += 8) {
            crc = _mm_crc32_u64(crc, load64(p));
            second = _mm_crc32_u64(second, load64(p + q));
            third = _mm_crc32_u64(third, load64(p + r));
        }
        crc = third ^ _mm_crc32_u64(0, moved(crc, shift[2 * words]) ^ moved(second, shift[words]));
        p += r;
        bytes -= q + r;
    }
    for (; bytes >= 8; bytes -= 8, p += 8) {
        crc = _mm_crc32_u64(crc, load64(p));
    }
    uint32_t crc32 = (uint32_t)crc;
    if (bytes & 4) {
        uint32_t word;
        memcpy(&word, p, 4);
        crc32 = _mm_crc32_u32(crc32, word);
        p += 4;
    }
    for (bytes &= 3; bytes != 0; bytes--, p++) {
        crc32 = _mm_crc32_u8(crc32, *p);
    }
    return ~crc32;
}

uint32_t crc32c(uint32_t seed, const void *at, size_t bytes)
{
    bk_assert(bytes == 0 || at != NULL);
    return have_crc32 ? crc32c_sse42(seed, (const uint8_t *)at, bytes)
                      : crc32c_portable(seed, at, bytes);
}

__attribute__((constructor)) static void crc32c_start(void)
{
    table_init();
    shift_init();
    __builtin_cpu_init();
    have_crc32 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

#else

uint32_t crc32c(uint32_t seed, const void *at, size_t bytes)
{
    return crc32c_portable(seed, at, bytes);
}

__attribute__((constructor)) static void crc32c_start(void)
{
    table_init();
}

#endif
