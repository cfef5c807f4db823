/* parse_vector.h - scanning by windows of two vectors, or one of 64 bytes, to be included by one
 * implementation each.
 *
 * The includer defines SCAN_TARGET, VECTOR_BYTES and, for VECTOR_BYTES bytes at `at`, masks with a
 * bit for each byte that is not of a class: not_token(at), not_target(at), not_host(at),
 * not_value(at). For the usual line there are quicker ones, given constants that stay in registers:
 * name_stops(at, k) is not_token(), value_stops(at, k) is not_value() and also HTAB and bytes from
 * 0x80 on, which are rare and cheaper to look at twice.
 *
 * The input has at least WINDOW_BYTES bytes. So the last ones are read together with what stands
 * before them, and that is shifted out: nothing behind `end` is touched.
 */
#include "http/parse_internal.h"

#define WINDOW_BYTES (VECTOR_BYTES == 64U ? 64U : 2U * VECTOR_BYTES)

_Static_assert(WINDOW_BYTES <= HTTP_PARSE_WINDOW_BYTES_MAX, "masks have 64 bits");

/* The second vector of a window; there is none in one of 64 bytes. */
#define BEHIND(mask_of_second)                                                                     \
    (WINDOW_BYTES > VECTOR_BYTES ? (uint64_t)(mask_of_second) << VECTOR_BYTES % 64U : 0)
#define WINDOW_MASK(at, mask_of) ((uint64_t)mask_of(at) | BEHIND(mask_of((at) + VECTOR_BYTES)))

/* First byte from `at` on in a class, given by its complement. */
#define SCAN_WINDOWS(at, end, not_in_class)                                                        \
    for (size_t left; (left = (size_t)((end) - (at))) != 0; (at) += WINDOW_BYTES) {                \
        bool whole = left >= WINDOW_BYTES;                                                         \
        const uint8_t *from = whole ? (at) : (end)-WINDOW_BYTES;                                   \
        uint64_t mask = WINDOW_MASK(from, not_in_class) >> (whole ? 0 : WINDOW_BYTES - left);      \
        if (mask != 0) {                                                                           \
            return (at) + (unsigned)__builtin_ctzll(mask);                                         \
        }                                                                                          \
        if (!whole) {                                                                              \
            break;                                                                                 \
        }                                                                                          \
    }                                                                                              \
    return (end)

static inline SCAN_TARGET const uint8_t *scan_token(const uint8_t *at, const uint8_t *end)
{
    SCAN_WINDOWS(at, end, not_token);
}

static inline SCAN_TARGET const uint8_t *scan_target(const uint8_t *at, const uint8_t *end)
{
    SCAN_WINDOWS(at, end, not_target);
}

static inline SCAN_TARGET const uint8_t *scan_host(const uint8_t *at, const uint8_t *end)
{
    SCAN_WINDOWS(at, end, not_host);
}

static __attribute__((noinline)) SCAN_TARGET const uint8_t *scan_value(const uint8_t *at,
                                                                       const uint8_t *end)
{
    SCAN_WINDOWS(at, end, not_value);
}

/* The ends of a field line when it has the usual form and is there with its CR LF. */
static inline SCAN_TARGET bool scan_line(const uint8_t *at, const uint8_t *end,
                                         const struct scan_constants *k, struct line_ends *ret_ends)
{
    if (__builtin_expect((size_t)(end - at) <= WINDOW_BYTES, 0)) {
        return false;
    }
    uint64_t names = name_stops(at, k);
    uint64_t values = value_stops(at, k) | BEHIND(value_stops(at + VECTOR_BYTES, k));
    if (__builtin_expect(names == 0, 0)) {
        names = BEHIND(name_stops(at + VECTOR_BYTES, k));
        if (names == 0) {
            return false;
        }
    }
    ret_ends->name = (unsigned)__builtin_ctzll(names);
    if (__builtin_expect(values != 0, 1)) {
        ret_ends->value = (unsigned)__builtin_ctzll(values);
    } else {
        const uint8_t *more = at + WINDOW_BYTES;
        if ((size_t)(end - more) > WINDOW_BYTES) {
            values = value_stops(more, k) | BEHIND(value_stops(more + VECTOR_BYTES, k));
        }
        more = values != 0 ? more + (unsigned)__builtin_ctzll(values) : scan_value(more, end);
        ret_ends->value = (size_t)(more - at);
        if ((size_t)(end - at) - ret_ends->value < 2) {
            return false;
        }
    }
    /* The colon comes before the end of the value, for what ends a value is no token either. */
    return __builtin_expect(load16(at + ret_ends->name) == load16(": ") &&
                                load16(at + ret_ends->value) == load16("\r\n") &&
                                at[ret_ends->name + 2] > ' ' && at[ret_ends->value - 1] > ' ',
                            1);
}
