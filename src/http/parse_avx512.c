/* parse_avx512.c - the head parser with 64 bytes a step, a whole window. Chosen at run time; see
 * parse.c.
 *
 * A class of ASCII characters is a table of 16 bytes: bit h of entry l says whether the character
 * with high nibble h and low nibble l belongs to it. vpshufb looks all 64 up at once and gives 0
 * for bytes from 0x80 on.
 */
#if defined(__x86_64__)

#include "http/parse_internal.h"

#include <immintrin.h>

#define SCAN_TARGET __attribute__((target("avx512f,avx512bw,bmi")))
#define VECTOR_BYTES 64U

_Alignas(16) static const uint8_t token_low[16] = {0xe8, 0xfc, 0xf8, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc,
                                               0xf8, 0xf8, 0xf4, 0x54, 0xd0, 0x54, 0xf4, 0x70};
_Alignas(16) static const uint8_t target_low[16] = {0xf8, 0xfc, 0xfc, 0xf8, 0xfc, 0xfc, 0xfc, 0xfc,
                                                0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0xfc, 0x7c};
_Alignas(16) static const uint8_t host_low[16] = {0xa8, 0xfc, 0xf8, 0xf8, 0xfc, 0xf8, 0xfc, 0xfc,
                                              0xfc, 0xfc, 0xf4, 0x5c, 0x54, 0x5c, 0xd4, 0x70};
_Alignas(16) static const uint8_t high_bit[16] = {1, 2, 4, 8, 16, 32, 64, 128};

static inline SCAN_TARGET __m512i load(const uint8_t *at)
{
    return _mm512_loadu_si512(at);
}

static inline SCAN_TARGET __m512i table(const uint8_t entries[16])
{
    return _mm512_broadcast_i32x4(_mm_load_si128((const __m128i *)(const void *)entries));
}

static inline SCAN_TARGET uint64_t not_in_table(__m512i bytes, __m512i low, __m512i high,
                                                __m512i nibbles)
{
    const __m512i above = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), nibbles);
    return _cvtmask64_u64(_mm512_testn_epi8_mask(_mm512_shuffle_epi8(low, bytes),
                                                 _mm512_shuffle_epi8(high, above)));
}

static inline SCAN_TARGET uint64_t not_token(const uint8_t *at)
{
    return not_in_table(load(at), table(token_low), table(high_bit), _mm512_set1_epi8(0x0f));
}

static inline SCAN_TARGET uint64_t not_target(const uint8_t *at)
{
    return not_in_table(load(at), table(target_low), table(high_bit), _mm512_set1_epi8(0x0f));
}

static inline SCAN_TARGET uint64_t not_host(const uint8_t *at)
{
    return not_in_table(load(at), table(host_low), table(high_bit), _mm512_set1_epi8(0x0f));
}

/* Controls but HTAB, and DEL. */
static inline SCAN_TARGET uint64_t not_value(const uint8_t *at)
{
    const __m512i bytes = load(at);
    const uint64_t control = _cvtmask64_u64(_mm512_cmple_epu8_mask(bytes, _mm512_set1_epi8(0x1f)));
    const uint64_t tab = _cvtmask64_u64(_mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8('\t')));
    const uint64_t del = _cvtmask64_u64(_mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(0x7f)));
    return (control & ~tab) | del;
}

struct scan_constants {
    __m512i low;
    __m512i high;
    __m512i nibbles;
    __m512i one;
    __m512i plain;
};

/* A compiler that sees the values builds them anew in each round; so it must not. */
static inline SCAN_TARGET struct scan_constants scan_constants(void)
{
    struct scan_constants k = {table(token_low), table(high_bit), _mm512_set1_epi8(0x0f),
                               _mm512_set1_epi8(1), _mm512_set1_epi8(0x21)};
    __asm__("" : "+v"(k.low), "+v"(k.high), "+v"(k.nibbles), "+v"(k.one), "+v"(k.plain));
    return k;
}

static inline SCAN_TARGET uint64_t name_stops(const uint8_t *at, const struct scan_constants *k)
{
    return not_in_table(load(at), k->low, k->high, k->nibbles);
}

/* With one added, everything but 0x20 to 0x7e is below 0x21 as a signed number. */
static inline SCAN_TARGET uint64_t value_stops(const uint8_t *at, const struct scan_constants *k)
{
    return _cvtmask64_u64(_mm512_cmpgt_epi8_mask(k->plain, _mm512_add_epi8(load(at), k->one)));
}

#include "http/parse_vector.h"

#define HEAD_REQUEST http_parse_request_avx512
#define HEAD_RESPONSE http_parse_response_avx512
#include "http/parse_head.h"

#endif
