/* parse_sse42.c - the head parser with 16 bytes a step. Chosen at run time; see parse.c.
 *
 * A class of ASCII characters is a table of 16 bytes: bit h of entry l says whether the character
 * with high nibble h and low nibble l belongs to it. pshufb looks all 16 up at once (Mula's method) and
 * gives 0 for bytes from 0x80 on.
 */
#if defined(__x86_64__)

#include "http/parse_internal.h"

#include <immintrin.h>

#define SCAN_TARGET __attribute__((target("sse4.2")))
#define VECTOR_BYTES 16

_Alignas(16) static const uint8_t token_low[16] = {0xe8, 0xfc, 0xf8, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xf8, 0xf8, 0xf4, 0x54, 0xd0, 0x54, 0xf4, 0x70};
_Alignas(16) static const uint8_t target_low[16] = {0xf8, 0xfc, 0xfc, 0xf8, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0x7c};
_Alignas(16) static const uint8_t high_bit[16] = {1, 2, 4, 8, 16, 32, 64, 128};

/* The vector functions give a mask with a bit for each byte that is *not* of the class. */

static inline SCAN_TARGET uint32_t not_in_table(const uint8_t *at, const uint8_t *low)
{
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at));
    const __m128i lows = _mm_load_si128((const __m128i *)(const void *)low);
    const __m128i highs = _mm_load_si128((const __m128i *)(const void *)high_bit);
    const __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(0x0f));
    const __m128i found =
        _mm_and_si128(_mm_shuffle_epi8(lows, bytes), _mm_shuffle_epi8(highs, high));
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(found, _mm_setzero_si128()));
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
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(at));
    const __m128i control =
        _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
    const __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
    const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    return (uint32_t)_mm_movemask_epi8(
        _mm_or_si128(_mm_andnot_si128(tab, control), del));
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

#define HEAD_REQUEST http_parse_request_sse42
#define HEAD_RESPONSE http_parse_response_sse42
#include "http/parse_head.h"

#endif
