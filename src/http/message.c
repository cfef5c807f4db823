#include "http/message.h"

#include "base/assert.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* Folds ASCII upper case in eight bytes at once; other bytes keep their value. */
static inline uint64_t lower8(uint64_t text)
{
    const uint64_t ones = 0x0101010101010101U, high = 0x80 * ones;
    uint64_t seven = text & ~high;
    uint64_t from_a = seven + (0x80 - 'A') * ones;
    uint64_t past_z = seven + (0x80 - 'Z' - 1) * ones;
    return text | ((from_a & ~past_z & ~text & high) >> 2);
}

static inline uint64_t load64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

#if defined(__SSE2__)
/* The same for sixteen bytes, compared with a lower-case name: all ones where they are equal. */
static inline __m128i same(__m128i text, __m128i want)
{
    __m128i letter = _mm_sub_epi8(text, _mm_set1_epi8('A'));
    __m128i upper = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8('Z' - 'A')), letter);
    return _mm_cmpeq_epi8(_mm_or_si128(text, _mm_and_si128(upper, _mm_set1_epi8(0x20))), want);
}

static inline __m128i same16(const uint8_t *name, const uint8_t *lower)
{
    return same(_mm_loadu_si128((const __m128i *)(const void *)name),
                _mm_loadu_si128((const __m128i *)(const void *)lower));
}

/* The first and the last eight bytes of 8 to 16. */
static inline __m128i ends8(const uint8_t *at, size_t bytes)
{
    return _mm_set_epi64x((long long)load64(at + bytes - 8), (long long)load64(at));
}
#endif

/* Same length is known. The last eight bytes overlap those before, so there is no tail loop; they
 * come first, for names of one sender differ at their ends. */
static inline bool same_name(const uint8_t *name, const uint8_t *lower, size_t bytes)
{
#if defined(__SSE2__)
    if (bytes >= 16 && bytes <= 32) {
        __m128i both =
            _mm_and_si128(same16(name + bytes - 16, lower + bytes - 16), same16(name, lower));
        return _mm_movemask_epi8(both) == 0xffff;
    }
    if (bytes >= 8 && bytes < 16) {
        return _mm_movemask_epi8(same(ends8(name, bytes), ends8(lower, bytes))) == 0xffff;
    }
#endif
    if (bytes < 8) {
        return slice_equal_nocase(slice_of(name, bytes), slice_of(lower, bytes));
    }
    if (lower8(load64(name + bytes - 8)) != load64(lower + bytes - 8)) {
        return false;
    }
    for (size_t i = 0; i + 8 < bytes; i += 8) {
        if (lower8(load64(name + i)) != load64(lower + i)) {
            return false;
        }
    }
    return true;
}

/* Bit i: header from + i may have this tag. `from` is a multiple of 16. */
static unsigned tagged(const struct http_head *head, unsigned from, uint8_t tag)
{
    unsigned mask = 0;
#if defined(__SSE2__)
    __m128i tags = _mm_loadu_si128((const __m128i *)(const void *)&head->tags[from]);
    mask = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8((char)tag)));
#else
    for (unsigned i = 0; i < 16; i++) {
        mask |= (unsigned)(head->tags[from + i] == tag) << i;
    }
#endif
    unsigned left = head->header_count - from;
    return left < 16 ? mask & ((1U << left) - 1) : mask;
}

const struct http_header *http_next(const struct http_head *head, struct slice lower_name,
                                    const struct http_header *after)
{
    bk_assert(lower_name.bytes != 0);
    uint8_t tag = http_name_tag(lower_name.at, lower_name.bytes);
    unsigned index = after != NULL ? (unsigned)(after - head->headers) + 1 : 0;
    unsigned passed = (1U << index % 16) - 1;
    for (unsigned from = index & ~15U; from < head->header_count; from += 16) {
        for (unsigned mask = tagged(head, from, tag) & ~passed; mask != 0; mask &= mask - 1) {
            const struct http_header *header = &head->headers[from + (unsigned)__builtin_ctz(mask)];
            if (header->name_bytes == lower_name.bytes &&
                same_name(head->at + header->name_at, lower_name.at, lower_name.bytes)) {
                return header;
            }
        }
        passed = 0;
    }
    return NULL;
}

_Static_assert(HTTP_HEADERS_MAX < 255, "http_locate counts from 1 in a byte");

/* Bit i: header from + i may have this tag, where `tags` are those of headers from to from + 15. */
#if defined(__SSE2__)
#define TAGS_LOAD(at) _mm_loadu_si128((const __m128i *)(const void *)(at))
#define TAGS_EQUAL(tags, t) (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(tags, TAGS_LOAD(t)))
typedef __m128i tags16;
#else
#define TAGS_LOAD(at)       (at)
#define TAGS_EQUAL(tags, t) tags_equal(tags, *(t))
typedef const uint8_t *tags16;
static unsigned tags_equal(const uint8_t *tags, uint8_t tag)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < 16; i++) {
        mask |= (unsigned)(tags[i] == tag) << i;
    }
    return mask;
}
#endif

uint32_t http_locate(const struct http_head *head, const struct slice *names,
                     const uint8_t (*tags)[16], unsigned count, uint8_t *ret_at)
{
    uint32_t found = 0;
    bk_assert(count <= 16);
    memset(ret_at, 0, count);
    for (unsigned from = 0; from < head->header_count; from += 16) {
        tags16 here = TAGS_LOAD(&head->tags[from]);
        unsigned left = head->header_count - from;
        unsigned there = left < 16 ? (1U << left) - 1 : 0xffffU;
        for (unsigned i = 0; i < count; i++) {
            for (unsigned mask = TAGS_EQUAL(here, tags[i]) & there; mask != 0; mask &= mask - 1) {
                unsigned index = from + (unsigned)__builtin_ctz(mask);
                const struct http_header *header = &head->headers[index];
                if (header->name_bytes != names[i].bytes ||
                    !same_name(head->at + header->name_at, names[i].at, names[i].bytes)) {
                    continue;
                }
                if (ret_at[i] != 0) {
                    found |= 1U << (16 + i);
                    continue;
                }
                found |= 1U << i;
                ret_at[i] = (uint8_t)(index + 1);
            }
        }
    }
    return found;
}

const struct http_header *http_find(const struct http_head *head, struct slice lower_name,
                                    unsigned *ret_count)
{
    bk_assert(lower_name.bytes != 0);
    const struct http_header *found = NULL;
    unsigned count = 0;
    uint8_t tag = http_name_tag(lower_name.at, lower_name.bytes);
    for (unsigned from = 0; from < head->header_count; from += 16) {
        for (unsigned mask = tagged(head, from, tag); mask != 0; mask &= mask - 1) {
            const struct http_header *header = &head->headers[from + (unsigned)__builtin_ctz(mask)];
            if (header->name_bytes == lower_name.bytes &&
                same_name(head->at + header->name_at, lower_name.at, lower_name.bytes)) {
                found = found != NULL ? found : header;
                count++;
            }
        }
    }
    if (ret_count != NULL) {
        *ret_count = count;
    }
    return found;
}
