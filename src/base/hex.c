#include "base/hex.h"

#include "base/assert.h"

/* Value of each digit with bit 4 set; 0 for everything else. */
static const uint8_t digit_value[256] = {
    ['0'] = 16, 17, 18, 19, 20, 21,         22, 23, 24, 25, ['A'] = 26,
    27,         28, 29, 30, 31, ['a'] = 26, 27, 28, 29, 30, 31,
};

int hex_digit(uint8_t c)
{
    return digit_value[c] != 0 ? digit_value[c] - 16 : -1;
}

static bool decode_portable(const uint8_t *text, uint8_t *out, size_t bytes)
{
    unsigned good = 16;
    for (size_t i = 0; i < bytes; i++) {
        unsigned high = digit_value[text[2 * i]];
        unsigned low = digit_value[text[2 * i + 1]];
        good &= high & low;
        out[i] = (uint8_t)(high << 4 | (low & 15));
    }
    return good != 0;
}

#if defined(__SSE2__)

#include <emmintrin.h>

/* Eight bytes from sixteen digits; every byte of *good stays 0xff when all are digits. */
static inline void decode16(const uint8_t *text, uint8_t *out, __m128i *good)
{
    __m128i c = _mm_loadu_si128((const __m128i *)(const void *)text);
    __m128i digit = _mm_sub_epi8(c, _mm_set1_epi8('0'));
    __m128i letter = _mm_sub_epi8(_mm_or_si128(c, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
    /* Unsigned comparison: x <= limit exactly when min(x, limit) == x. */
    __m128i is_digit = _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8(9)), digit);
    __m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);
    /* 'a' ends in 1, so letters are 9 above their low half. */
    __m128i value = _mm_add_epi8(_mm_and_si128(c, _mm_set1_epi8(15)),
                                 _mm_and_si128(is_letter, _mm_set1_epi8(9)));
    *good = _mm_and_si128(*good, _mm_or_si128(is_digit, is_letter));
    /* In each pair the first digit, the low byte, is the high half. */
    __m128i pair = _mm_or_si128(_mm_slli_epi16(value, 4), _mm_srli_epi16(value, 8));
    pair = _mm_and_si128(pair, _mm_set1_epi16(0xff));
    _mm_storel_epi64((__m128i *)(void *)out, _mm_packus_epi16(pair, pair));
}

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))
static bool have_avx2;

__attribute__((constructor)) static void hex_start(void)
{
    __builtin_cpu_init();
    have_avx2 = __builtin_cpu_supports("avx2");
}

/* The same for 32 digits: sixteen values of 16 bits. */
AVX2 static inline __m256i decode32(const uint8_t *text, __m256i *good)
{
    __m256i c = _mm256_loadu_si256((const __m256i *)(const void *)text);
    __m256i digit = _mm256_sub_epi8(c, _mm256_set1_epi8('0'));
    __m256i letter = _mm256_sub_epi8(_mm256_or_si256(c, _mm256_set1_epi8(0x20)),
                                     _mm256_set1_epi8('a'));
    __m256i is_digit = _mm256_cmpeq_epi8(_mm256_min_epu8(digit, _mm256_set1_epi8(9)), digit);
    __m256i is_letter = _mm256_cmpeq_epi8(_mm256_min_epu8(letter, _mm256_set1_epi8(5)), letter);
    __m256i value = _mm256_add_epi8(_mm256_and_si256(c, _mm256_set1_epi8(15)),
                                    _mm256_and_si256(is_letter, _mm256_set1_epi8(9)));
    *good = _mm256_and_si256(*good, _mm256_or_si256(is_digit, is_letter));
    return _mm256_maddubs_epi16(value, _mm256_set1_epi16(0x0110));
}

/* A SHA-256. */
AVX2 static bool decode_64_digits(const uint8_t *text, uint8_t *out)
{
    __m256i good = _mm256_set1_epi8(-1);
    __m256i first = decode32(text, &good), second = decode32(text + 32, &good);
    __m256i both = _mm256_permute4x64_epi64(_mm256_packus_epi16(first, second), 0xd8);
    _mm256_storeu_si256((__m256i *)(void *)out, both);
    return _mm256_movemask_epi8(good) == -1;
}

#else

#define have_avx2 false

static bool decode_64_digits(const uint8_t *text, uint8_t *out)
{
    return decode_portable(text, out, 32);
}

#endif

bool hex_decode(struct slice text, uint8_t *out, size_t bytes)
{
    if (text.bytes != 2 * bytes || bytes == 0) {
        return text.bytes == 2 * bytes;
    }
    if (bytes == 32 && have_avx2) {
        return decode_64_digits(text.at, out);
    }
    __m128i good = _mm_set1_epi8(-1);
    size_t i = 0;
    for (; i + 8 <= bytes; i += 8) {
        decode16(text.at + 2 * i, out + i, &good);
    }
    bool rest = decode_portable(text.at + 2 * i, out + i, bytes - i);
    return rest && _mm_movemask_epi8(good) == 0xffff;
}

#else

bool hex_decode(struct slice text, uint8_t *out, size_t bytes)
{
    return text.bytes == 2 * bytes && decode_portable(text.at, out, bytes);
}

#endif

void hex_encode(const void *at, size_t bytes, char *out)
{
    bk_assert(bytes == 0 || (at != NULL && out != NULL));
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = (const uint8_t *)at;
    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
}
