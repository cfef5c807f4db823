/* parse_avx2.c - the head parser with 32 bytes a step. Chosen at run time; see parse.c.
 *
 * A class of ASCII characters is a table of 16 bytes: bit h of entry l says whether the character
 * with high nibble h and low nibble l belongs to it. pshufb looks all 32 up at once and gives 0 for
 * bytes from 0x80 on.
 */
#if defined(__x86_64__)

#include "http/parse_internal.h"

#include <immintrin.h>

#define SCAN_TARGET __attribute__((target("avx2,bmi")))
#define VECTOR_BYTES 32U

_Alignas(16) static const uint8_t token_low[16] = {0xe8, 0xfc, 0xf8, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc,
                                               0xf8, 0xf8, 0xf4, 0x54, 0xd0, 0x54, 0xf4, 0x70};
_Alignas(16) static const uint8_t target_low[16] = {0xf8, 0xfc, 0xfc, 0xf8, 0xfc, 0xfc, 0xfc, 0xfc,
                                                0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0x7c};
_Alignas(16) static const uint8_t host_low[16] = {0xa8, 0xfc, 0xf8, 0xf8, 0xfc, 0xf8, 0xfc, 0xfc,
                                              0xfc, 0xfc, 0xf4, 0x5c, 0x54, 0x5c, 0xd4, 0x70};
_Alignas(16) static const uint8_t high_bit[16] = {1, 2, 4, 8, 16, 32, 64, 128};

static inline SCAN_TARGET __m256i load(const uint8_t *at)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)at);
}

static inline SCAN_TARGET __m256i table(const uint8_t entries[16])
{
    return _mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(const void *)entries));
}

static inline SCAN_TARGET uint32_t not_in_table(__m256i bytes, __m256i low, __m256i high,
                                                __m256i nibbles)
{
    const __m256i above = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), nibbles);
    const __m256i found =
        _mm256_and_si256(_mm256_shuffle_epi8(low, bytes), _mm256_shuffle_epi8(high, above));
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(found, _mm256_setzero_si256()));
}

static inline SCAN_TARGET uint32_t not_token(const uint8_t *at)
{
    return not_in_table(load(at), table(token_low), table(high_bit), _mm256_set1_epi8(0x0f));
}

static inline SCAN_TARGET uint32_t not_target(const uint8_t *at)
{
    return not_in_table(load(at), table(target_low), table(high_bit), _mm256_set1_epi8(0x0f));
}

static inline SCAN_TARGET uint32_t not_host(const uint8_t *at)
{
    return not_in_table(load(at), table(host_low), table(high_bit), _mm256_set1_epi8(0x0f));
}

/* Controls but HTAB, and DEL. */
static inline SCAN_TARGET uint32_t not_value(const uint8_t *at)
{
    const __m256i bytes = load(at);
    const __m256i low = _mm256_min_epu8(bytes, _mm256_set1_epi8(0x1f));
    const __m256i control = _mm256_cmpeq_epi8(low, bytes);
    const __m256i tab = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8('\t'));
    const __m256i del = _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(0x7f));
    return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(_mm256_andnot_si256(tab, control), del));
}

struct scan_constants {
    __m256i low;
    __m256i high;
    __m256i nibbles;
    __m256i one;
    __m256i plain;
};

/* A compiler that sees the values builds them anew in each round; so it must not. */
static inline SCAN_TARGET struct scan_constants scan_constants(void)
{
    struct scan_constants k = {table(token_low), table(high_bit), _mm256_set1_epi8(0x0f),
                               _mm256_set1_epi8(1), _mm256_set1_epi8(0x21)};
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
    return (uint32_t)_mm256_movemask_epi8(
        _mm256_cmpgt_epi8(k->plain, _mm256_add_epi8(load(at), k->one)));
}

#include "http/parse_vector.h"

#define HEAD_REQUEST http_parse_request_avx2
#define HEAD_RESPONSE http_parse_response_avx2
#include "http/parse_head.h"

#endif
