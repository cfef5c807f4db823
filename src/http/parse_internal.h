/* parse_internal.h - what the three versions of the head parser share. Only for src/http/parse*.c.
 *
 * parse_head.h is the parser itself, written once; parse_scalar.c, parse_sse42.c and parse_avx2.c each
 * include it with their own way to find the end of a token, a target and a value. What is not about
 * bytes in bulk (framing headers, Host, target forms) is in parse.c, compiled once.
 */
#ifndef BECKET_HTTP_PARSE_INTERNAL_H
#define BECKET_HTTP_PARSE_INTERNAL_H

#include "http/parse.h"

#define HTTP_METHOD_BYTES_MAX 32U

/* Bits of http_byte_class. */
enum {
    HTTP_CLASS_TOKEN = 1,  /* RFC 9110 5.6.2 */
    HTTP_CLASS_VALUE = 2,  /* VCHAR, obs-text, SP, HTAB */
    HTTP_CLASS_TARGET = 4, /* visible ASCII but '#' */
    HTTP_CLASS_HOST = 8,   /* unreserved and sub-delims of RFC 3986 */
    HTTP_CLASS_HEX = 16
};

extern const uint8_t http_byte_class[256];

/* What has been seen in a head, besides what struct http_head says. */
enum {
    HTTP_SEEN_CLOSE = 1,
    HTTP_SEEN_KEEP_ALIVE = 2,
    HTTP_SEEN_TRANSFER_ENCODING = 4,
    HTTP_SEEN_RESPONSE = 8 /* given: this head is a response */
};

/* Lengths of host, expect, connection, content-length, transfer-encoding, as bits. */
#define HTTP_FRAMING_NAME_BYTES_MAX 17U
#define HTTP_FRAMING_LENGTHS (1U << 4 | 1U << 6 | 1U << 10 | 1U << 14 | 1U << 17)

/* Judge a header whose name has one of these lengths; DONE when there is nothing against it. */
enum http_parse http_framing_field(struct http_head *head, const struct http_header *header,
                                   unsigned *seen);
/* All headers are there: what only the whole can tell. */
enum http_parse http_framing_end(struct http_head *head, unsigned seen);

/* "HTTP/d.d" at `at`, of which `bytes` are there; PARTIAL when that is a true prefix of one.
 * The minor version goes to *ret_minor (as in struct http_head), major 1 or not to *ret_known. */
enum http_parse http_version(const uint8_t *at, size_t bytes, uint8_t *ret_minor, bool *ret_known);
/* The name of the method is known: set head->method. */
void http_method_known(struct http_head *head);
/* Whether the target has the form that its method wants. */
bool http_target_fits(const struct http_head *head);

/* One per implementation. A vector version wants at least one vector of input. */
typedef enum http_parse http_parse_fn(const uint8_t *at, size_t bytes, struct http_head *head);
http_parse_fn http_parse_request_scalar;
http_parse_fn http_parse_response_scalar;
#if defined(__x86_64__)
http_parse_fn http_parse_request_sse42;
http_parse_fn http_parse_response_sse42;
http_parse_fn http_parse_request_avx2;
http_parse_fn http_parse_response_avx2;
#endif

static inline uint64_t load64(const void *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint32_t load32(const void *at)
{
    uint32_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline uint16_t load16(const void *at)
{
    uint16_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

#endif
