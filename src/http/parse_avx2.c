/* parse_avx2.c - the head parser with 32 bytes a step. Chosen at run time; see parse.c.
 *
 * A class of ASCII characters is a table of 16 bytes: bit h of entry l says whether the character
 * with high nibble h and low nibble l belongs to it. pshufb looks all 32 up at once (Mula's method) and
 * gives 0 for bytes from 0x80 on.
 */
#if defined(__x86_64__)

#include "http/parse_internal.h"

#include <immintrin.h>

#define SCAN_TARGET __attribute__((target("avx2,bmi")))
#define VECTOR_BYTES 32

_Alignas(16) static const uint8_t token_low[16] = {0xe8, 0xfc, 0xf8, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xf8, 0xf8, 0xf4, 0x54, 0xd0, 0x54, 0xf4, 0x70};
_Alignas(16) static const uint8_t target_low[16] = {0xf8, 0xfc, 0xfc, 0xf8, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0x7c};
_Alignas(16) static const uint8_t high_bit[16] = {1, 2, 4, 8, 16, 32, 64, 128};

/* The vector functions give a mask with a bit for each byte that is *not* of the class. */

static inline SCAN_TARGET uint32_t not_in_table(const uint8_t *at, const uint8_t *low)
{
    const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(at));
    const __m256i lows = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)low));
    const __m256i highs = _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)high_bit));
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi8(0x0f));
    const __m256i found =
        _mm256_and_si256(_mm256_shuffle_epi8(lows, bytes), _mm256_shuffle_epi8(highs, high));
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(found, _mm256_setzero_si256()));
}

static inline SCAN_TARGET uint32_t not_token(const uint8_t *at)
{
    return not_in_table(at, token_low);
}

static inline SCAN_TARGET uint32_t not_target(const uint8_t *at)
{
    return not_in_table(at, target_low);
}

/* Controls but HTAB, and DEL. */
static inline SCAN_TARGET uint32_t not_value(const uint8_t *at)
{
    const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)(at));
    const __m256i control =
        _mm256_cmpeq_epi8(_mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f)), bytes);
    const __m256i tab = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\t'));
    const __m256i del = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
    return (uint32_t)_mm256_movemask_epi8(
        _mm256_or_si256(_mm256_andnot_si256(tab, control), del));
}

/* `end` is at least one vector behind the start of the input, so the last bytes are read together with
 * what stands before `at`, and that is shifted out. */
#define SCAN(at, end, not_in_class)                                                                \
    for (;;) {                                                                                     \
        size_t left = (size_t)((end) - (at));                                                      \
        uint32_t mask;                                                                             \
        if (__builtin_expect(left >= VECTOR_BYTES, 1)) {                                           \
            mask = not_in_class(at);                                                               \
            if (__builtin_expect(mask != 0, 1)) {                                                  \
                return (at) + (unsigned)__builtin_ctz(mask);                                       \
            }                                                                                      \
            (at) += VECTOR_BYTES;                                                                  \
        } else if (left == 0) {                                                                    \
            return (end);                                                                          \
        } else {                                                                                   \
            mask = not_in_class((end) - VECTOR_BYTES) >> (VECTOR_BYTES - left);                    \
            return mask != 0 ? (at) + (unsigned)__builtin_ctz(mask) : (end);                       \
        }                                                                                          \
    }

static inline SCAN_TARGET const uint8_t *scan_token(const uint8_t *at, const uint8_t *end)
{
    SCAN(at, end, not_token)
}

static inline SCAN_TARGET const uint8_t *scan_target(const uint8_t *at, const uint8_t *end)
{
    SCAN(at, end, not_target)
}

static inline SCAN_TARGET const uint8_t *scan_value(const uint8_t *at, const uint8_t *end)
{
    SCAN(at, end, not_value)
}

#define HEAD_REQUEST http_parse_request_avx2
#define HEAD_RESPONSE http_parse_response_avx2
#include "http/parse_head.h"

#endif
