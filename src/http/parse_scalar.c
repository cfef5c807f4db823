/* parse_scalar.c - the head parser, one byte at a time: any machine, and the reference for the others. */
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

static inline const uint8_t *scan_value(const uint8_t *at, const uint8_t *end)
{
    return scan_class(at, end, HTTP_CLASS_VALUE);
}

#define SCAN_TARGET
#define HEAD_REQUEST http_parse_request_scalar
#define HEAD_RESPONSE http_parse_response_scalar
#include "http/parse_head.h"
