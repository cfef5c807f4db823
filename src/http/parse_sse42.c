/* parse_sse42.c - the head parser with 16 bytes a step. Chosen at run time; see parse.c.
 *
 * A class of ASCII characters is a table of 16 bytes: bit h of entry l says whether the character
 * with high nibble h and low nibble l belongs to it. pshufb looks all 16 up at once and gives 0 for
 * bytes from 0x80 on.
 */
#if defined(__x86_64__)

#include "http/parse_internal.h"

#include <immintrin.h>

#define SCAN_TARGET __attribute__((target("sse4.2")))
#define VECTOR_BYTES 16U

_Alignas(16) static const uint8_t token_low[16] = {0xe8, 0xfc, 0xf8, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc,
                                               0xf8, 0xf8, 0xf4, 0x54, 0xd0, 0x54, 0xf4, 0x70};
_Alignas(16) static const uint8_t target_low[16] = {0xf8, 0xfc, 0xfc, 0xf8, 0xfc, 0xfc, 0xfc, 0xfc,
                                                0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0x7c};
_Alignas(16) static const uint8_t host_low[16] = {0xa8, 0xfc, 0xf8, 0xf8, 0xfc, 0xf8, 0xfc, 0xfc,
                                              0xfc, 0xfc, 0xf4, 0x5c, 0x54, 0x5c, 0xd4, 0x70};
_Alignas(16) static const uint8_t high_bit[16] = {1, 2, 4, 8, 16, 32, 64, 128};

static inline SCAN_TARGET __m128i load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

static inline SCAN_TARGET __m128i table(const uint8_t entries[16])
{
    return _mm_load_si128((const __m128i *)(const void *)entries);
}

static inline SCAN_TARGET uint32_t not_in_table(__m128i bytes, __m128i low, __m128i high,
                                                __m128i nibbles)
{
    const __m128i above = _mm_and_si128(_mm_srli_epi16(bytes, 4), nibbles);
    const __m128i found =
        _mm_and_si128(_mm_shuffle_epi8(low, bytes), _mm_shuffle_epi8(high, above));
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(found, _mm_setzero_si128()));
}

static inline SCAN_TARGET uint32_t not_token(const uint8_t *at)
{
    return not_in_table(load(at), table(token_low), table(high_bit), _mm_set1_epi8(0x0f));
}

static inline SCAN_TARGET uint32_t not_target(const uint8_t *at)
{
    return not_in_table(load(at), table(target_low), table(high_bit), _mm_set1_epi8(0x0f));
}

static inline SCAN_TARGET uint32_t not_host(const uint8_t *at)
{
    return not_in_table(load(at), table(host_low), table(high_bit), _mm_set1_epi8(0x0f));
}

/* Controls but HTAB, and DEL. */
static inline SCAN_TARGET uint32_t not_value(const uint8_t *at)
{
    const __m128i bytes = load(at);
    const __m128i low = _mm_min_epu8(bytes, _mm_set1_epi8(0x1f));
    const __m128i control = _mm_cmpeq_epi8(low, bytes);
    const __m128i tab = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\t'));
    const __m128i del = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    return (uint32_t)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, control), del));
}

struct scan_constants {
    __m128i low;
    __m128i high;
    __m128i nibbles;
    __m128i one;
    __m128i plain;
};

/* A compiler that sees the values builds them anew in each round; so it must not. */
static inline SCAN_TARGET struct scan_constants scan_constants(void)
{
    struct scan_constants k = {table(token_low), table(high_bit), _mm_set1_epi8(0x0f),
                               _mm_set1_epi8(1), _mm_set1_epi8(0x21)};
    __asm__("" : "+x"(k.low), "+x"(k.high), "+x"(k.nibbles), "+x"(k.one), "+x"(k.plain));
    return k;
}

static inline SCAN_TARGET uint32_t name_stops(const uint8_t *at, const struct scan_constants *k)
{
    return not_in_table(load(at), k->low, k->high, k->nibbles);
}

/* With one added, everything but 0x20 to 0x7e is below 0x21 as a signed number. */
static inline SCAN_TARGET uint32_t value_stops(const uint8_t *at, const struct scan_constants *k)
{
    return (uint32_t)_mm_movemask_epi8(
        _mm_cmpgt_epi8(k->plain, _mm_add_epi8(load(at), k->one)));
}

#include "http/parse_vector.h"

#define HEAD_REQUEST http_parse_request_sse42
#define HEAD_RESPONSE http_parse_response_sse42
#include "http/parse_head.h"

#endif
