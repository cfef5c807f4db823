/* parse_scalar.c - the head parser, one byte at a time: any machine, and the reference for the
 * others. */
#include "http/parse_internal.h"

static inline const uint8_t *scan_class(const uint8_t *at, const uint8_t *end, uint8_t class)
{
    while (at < end && (http_byte_class[*at] & class)) {
        at++;
    }
    return at;
}

static inline const uint8_t *scan_token(const uint8_t *at, const uint8_t *end)
{
    return scan_class(at, end, HTTP_CLASS_TOKEN);
}

static inline const uint8_t *scan_target(const uint8_t *at, const uint8_t *end)
{
    return scan_class(at, end, HTTP_CLASS_TARGET);
}

static inline const uint8_t *scan_host(const uint8_t *at, const uint8_t *end)
{
    return scan_class(at, end, HTTP_CLASS_HOST);
}

static inline const uint8_t *scan_value(const uint8_t *at, const uint8_t *end)
{
    return scan_class(at, end, HTTP_CLASS_VALUE);
}

struct scan_constants {
    char none;
};

static inline struct scan_constants scan_constants(void)
{
    return (struct scan_constants){0};
}

static inline bool scan_line(const uint8_t *at, const uint8_t *end,
                             const struct scan_constants *constants, struct line_ends *ret_ends)
{
    (void)constants;
    const uint8_t *colon = scan_token(at, end);
    if (end - colon < 3 || *colon != ':') {
        return false;
    }
    const uint8_t *value_end = scan_value(colon + 1, end);
    *ret_ends = (struct line_ends){(size_t)(colon - at), (size_t)(value_end - at)};
    if (ret_ends->name >= HTTP_PARSE_WINDOW_BYTES_MAX || end - value_end < 2) {
        return false;
    }
    return load16(colon) == load16(": ") && load16(value_end) == load16("\r\n") &&
           colon[2] > ' ' && value_end[-1] > ' ';
}

#define SCAN_TARGET
#define HEAD_REQUEST http_parse_request_scalar
#define HEAD_RESPONSE http_parse_response_scalar
#include "http/parse_head.h"
