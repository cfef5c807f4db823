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
#define STREAM_WORDS_MAX  128U
#define STREAMS_BYTES_MIN 192U

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

/* ---- 64 bytes a step, where there are carry-less products of four lanes at once
 *
 * Four accumulators of four lanes each. To go on by D bits, a lane's halves are multiplied by
 * x^(D + 64) and x^D, and what stands there is added. A lane, at last, has the CRC of its 16 bytes.
 */

#define FOLD           __attribute__((target("sse4.2,pclmul,avx512f,avx512vl,vpclmulqdq")))
#define FOLD_BYTES_MIN 512U

static uint64_t by_2048[8] __attribute__((aligned(64)));
static uint64_t by_512[8] __attribute__((aligned(64)));
static uint64_t to_last[8] __attribute__((aligned(64))); /* of each lane, to the last one */
static bool have_fold;

static void fold_init(void)
{
    for (unsigned lane = 0; lane < 4; lane++) {
        for (unsigned half = 0; half < 2; half++) {
            unsigned more = 1 - half;
            by_2048[2 * lane + half] = shift[2048 / 64 + more];
            by_512[2 * lane + half] = shift[512 / 64 + more];
            to_last[2 * lane + half] = lane < 3 ? shift[2 * (3 - lane) + more] : 0;
        }
    }
}

FOLD static inline __m512i fold_load(const void *at)
{
    return _mm512_loadu_si512(at);
}

FOLD static inline __m512i folded(__m512i lanes, __m512i by, __m512i next)
{
    return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(lanes, by, 0x00),
                                     _mm512_clmulepi64_epi128(lanes, by, 0x11), next, 0x96);
}

/* Of whole steps, at least four. */
FOLD static __attribute__((noinline)) uint64_t crc_of_steps(uint64_t crc, const uint8_t *at,
                                                            const uint8_t *end)
{
    __m512i by = fold_load(by_2048);
    __m512i a =
        _mm512_xor_si512(fold_load(at), _mm512_zextsi128_si512(_mm_cvtsi64_si128((long long)crc)));
    __m512i b = fold_load(at + 64), c = fold_load(at + 128), d = fold_load(at + 192);
    for (at += 256; end - at >= 256; at += 256) {
        a = folded(a, by, fold_load(at));
        b = folded(b, by, fold_load(at + 64));
        c = folded(c, by, fold_load(at + 128));
        d = folded(d, by, fold_load(at + 192));
    }
    by = fold_load(by_512);
    d = folded(folded(folded(a, by, b), by, c), by, d);
    for (; at != end; at += 64) {
        d = folded(d, by, fold_load(at));
    }
    __m512i last = folded(d, fold_load(to_last), _mm512_setzero_si512());
    __m256i two =
        _mm256_xor_si256(_mm512_castsi512_si256(last), _mm512_extracti64x4_epi64(last, 1));
    __m128i one = _mm_xor_si128(_mm256_castsi256_si128(two), _mm256_extracti128_si256(two, 1));
    one = _mm_xor_si128(one, _mm512_extracti32x4_epi32(d, 3));
    return _mm_crc32_u64(_mm_crc32_u64(0, (uint64_t)_mm_cvtsi128_si64(one)),
                         (uint64_t)_mm_extract_epi64(one, 1));
}

/* Three streams of so many words, one behind the other. */
SSE42 static __attribute__((noinline)) uint64_t crc_of_streams(uint64_t crc, const uint8_t *p,
                                                               size_t words)
{
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
    return third ^ _mm_crc32_u64(0, moved(crc, shift[2 * words]) ^ moved(second, shift[words]));
}

SSE42 static inline uint32_t crc_of_few(uint64_t crc, const uint8_t *p, size_t bytes)
{
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
    return crc32;
}

SSE42 static __attribute__((noinline)) uint32_t crc_of_many(uint64_t crc, const uint8_t *p,
                                                            size_t bytes)
{
    if (bytes >= FOLD_BYTES_MIN && have_fold) {
        const uint8_t *end = p + (bytes & ~(size_t)63);
        return crc_of_few(crc_of_steps(crc, p, end), end, bytes & 63);
    }
    while (bytes >= STREAMS_BYTES_MIN) {
        size_t words = bytes / 24 < STREAM_WORDS_MAX ? bytes / 24 : STREAM_WORDS_MAX;
        crc = crc_of_streams(crc, p, words);
        p += 24 * words;
        bytes -= 24 * words;
    }
    return crc_of_few(crc, p, bytes);
}

SSE42 static uint32_t crc32c_sse42(uint32_t seed, const uint8_t *p, size_t bytes)
{
    return ~(bytes >= STREAMS_BYTES_MIN ? crc_of_many(~seed, p, bytes)
                                        : crc_of_few(~seed, p, bytes));
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
    fold_init();
    have_fold = have_crc32 && __builtin_cpu_supports("avx512f") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("vpclmulqdq");
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
