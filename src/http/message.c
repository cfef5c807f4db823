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

/* Same length is known. The last eight bytes overlap those before, so there is no tail loop. */
static bool same_name(const uint8_t *name, const uint8_t *lower, size_t bytes)
{
    if (bytes < 8) {
        for (size_t i = 0; i < bytes; i++) {
            if (ascii_lower(name[i]) != lower[i]) {
                return false;
            }
        }
        return true;
    }
    for (size_t i = 0; i + 8 < bytes; i += 8) {
        if (lower8(load64(name + i)) != load64(lower + i)) {
            return false;
        }
    }
    return lower8(load64(name + bytes - 8)) == load64(lower + bytes - 8);
}

/* Index of the first header at or behind `from` whose name has this length; header_count = none. */
static unsigned next_of_length(const struct http_head *head, unsigned from, uint16_t bytes)
{
#if defined(__SSE2__)
    /* Two headers at a time: their name_bytes are words 1 and 5. The array is larger than the count,
     * so the pair behind the last header may be loaded. */
    _Static_assert(HTTP_HEADERS_MAX % 2 == 0 && sizeof(struct http_header) == 8, "pairs of 16 bytes");
    const __m128i wanted = _mm_set1_epi16((short)bytes);
    unsigned lengths = from & 1 ? 0x0c00 : 0x0c0c;
    for (unsigned i = from & ~1U; i < head->header_count; i += 2) {
        __m128i pair = _mm_loadu_si128((const __m128i *)(const void *)&head->headers[i]);
        unsigned same = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi16(pair, wanted)) & lengths;
        if (same != 0) {
            unsigned index = i + ((same & 0x0c) == 0);
            return index < head->header_count ? index : head->header_count;
        }
        lengths = 0x0c0c;
    }
    return head->header_count;
#else
    while (from < head->header_count && head->headers[from].name_bytes != bytes) {
        from++;
    }
    return from;
#endif
}

const struct http_header *http_next(const struct http_head *head, struct slice lower_name,
                                    const struct http_header *after)
{
    bk_assert(lower_name.bytes != 0 && lower_name.bytes <= UINT16_MAX);
    uint16_t bytes = (uint16_t)lower_name.bytes;
    unsigned index = after != NULL ? (unsigned)(after - head->headers) + 1 : 0;
    while ((index = next_of_length(head, index, bytes)) < head->header_count) {
        const struct http_header *header = &head->headers[index];
        if (same_name(head->at + header->name_at, lower_name.at, bytes)) {
            return header;
        }
        index++;
    }
    return NULL;
}

const struct http_header *http_find(const struct http_head *head, struct slice lower_name,
                                    unsigned *ret_count)
{
    const struct http_header *found = http_next(head, lower_name, NULL);
    if (ret_count != NULL) {
        *ret_count = 0;
        for (const struct http_header *one = found; one != NULL;
             one = http_next(head, lower_name, one)) {
            ++*ret_count;
        }
    }
    return found;
}
