/* slice.h - a view of bytes that somebody else owns.
 *
 * Purpose     Pass bytes without copying them. A slice dies with its owner; each
 *             function that returns one says who that is. Not NUL-terminated.
 */
#ifndef BECKET_BASE_SLICE_H
#define BECKET_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *at;
    size_t bytes;
};

#define SLICE_EMPTY ((struct slice){NULL, 0})
/* From a string literal. */
#define SLICE(literal) ((struct slice){(const uint8_t *)("" literal), sizeof(literal) - 1})

static inline struct slice slice_of(const void *at, size_t bytes)
{
    return (struct slice){(const uint8_t *)at, bytes};
}

/* From a NUL-terminated string; NULL gives the empty slice. */
static inline struct slice slice_str(const char *text)
{
    return (struct slice){(const uint8_t *)text, text ? strlen(text) : 0};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.bytes == b.bytes && (a.bytes == 0 || memcmp(a.at, b.at, a.bytes) == 0);
}

static inline uint8_t ascii_lower(uint8_t c)
{
    return (uint8_t)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

static inline bool ascii_is_alphanumeric(uint8_t c)
{
    uint8_t lower = ascii_lower(c);
    return (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'z');
}

/* ASCII case-insensitive. */
static inline bool slice_equal_nocase(struct slice a, struct slice b)
{
    if (a.bytes != b.bytes) {
        return false;
    }
    for (size_t i = 0; i < a.bytes; i++) {
        if (ascii_lower(a.at[i]) != ascii_lower(b.at[i])) {
            return false;
        }
    }
    return true;
}

static inline bool slice_starts(struct slice text, struct slice prefix)
{
    return text.bytes >= prefix.bytes &&
           (prefix.bytes == 0 || memcmp(text.at, prefix.at, prefix.bytes) == 0);
}

static inline bool slice_starts_nocase(struct slice text, struct slice prefix)
{
    struct slice start = {text.at, prefix.bytes};
    return text.bytes >= prefix.bytes && slice_equal_nocase(start, prefix);
}

static inline struct slice slice_skip(struct slice text, size_t bytes)
{
    return bytes >= text.bytes ? SLICE_EMPTY : slice_of(text.at + bytes, text.bytes - bytes);
}

/* Index of the first `byte`, or text.bytes. */
static inline size_t slice_find(struct slice text, uint8_t byte)
{
    const uint8_t *at = text.bytes ? (const uint8_t *)memchr(text.at, byte, text.bytes) : NULL;
    return at ? (size_t)(at - text.at) : text.bytes;
}

/* As a C string in `room` bytes; the rest is cut off. */
static inline void slice_keep(struct slice text, char *to, size_t room)
{
    size_t bytes = text.bytes < room - 1 ? text.bytes : room - 1;
    if (bytes > 0) {
        memcpy(to, text.at, bytes);
    }
    to[bytes] = '\0';
}

/* Without spaces and tabs at both ends (HTTP's OWS). */
static inline struct slice slice_trim(struct slice text)
{
    while (text.bytes && (text.at[0] == ' ' || text.at[0] == '\t')) {
        text.at++;
        text.bytes--;
    }
    while (text.bytes && (text.at[text.bytes - 1] == ' ' || text.at[text.bytes - 1] == '\t')) {
        text.bytes--;
    }
    return text;
}

#endif
