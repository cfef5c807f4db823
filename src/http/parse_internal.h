/* parse_internal.h - what the three versions of the head parser share. Only for src/http/parse*.c.
 *
 * parse_head.h is the parser itself, written once; parse_scalar.c, parse_sse42.c, parse_avx2.c and
 * parse_avx512.c each include it with their own way to find the end of a token, a target and a
 * value. What is not about bytes in bulk (framing headers, Host, target forms) is in parse.c,
 * compiled once.
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

/* Most bytes that a vector version looks at in one go, and so the fewest it can be given. */
#define HTTP_PARSE_WINDOW_BYTES_MAX 64U

/* Of a field line: its colon and its CR, counted from the start of the line. */
struct line_ends {
    size_t name;
    size_t value;
};

/* Headers that decide about framing and the connection are picked by the low bits of the tag of
 * their name while parsing, and judged when all are there. */
#define HTTP_FRAMING_TAG(bytes, last) (1ULL << (((bytes) + ((size_t)(last) << 3)) & 63))
#define HTTP_FRAMING_TAGS                                                                          \
    (HTTP_FRAMING_TAG(4, 't') | /* host */                                                         \
     HTTP_FRAMING_TAG(6, 't') | /* expect */                                                       \
     HTTP_FRAMING_TAG(10, 'n') | /* connection */                                                  \
     HTTP_FRAMING_TAG(14, 'h') | /* content-length */                                              \
     HTTP_FRAMING_TAG(17, 'g')) /* transfer-encoding */

struct http_framing {
    const uint8_t *suspects; /* numbers of the headers with such a tag */
    unsigned suspect_count;
    bool response;
    size_t host_bytes; /* how many bytes of the first suspect are of HTTP_CLASS_HOST */
};

/* The head is complete: judge the suspects, and the whole. */
enum http_parse http_framing(struct http_head *head, const struct http_framing *framing);

/* "HTTP/d.d" at `at`, of which `bytes` are there; PARTIAL when that is a true prefix of one.
 * The minor version goes to *ret_minor (as in struct http_head), major 1 or not to *ret_known. */
enum http_parse http_version(const uint8_t *at, size_t bytes, uint8_t *ret_minor, bool *ret_known);
/* The method of this name. */
enum http_method http_method_known(const uint8_t *at, size_t bytes);
/* Whether a target that does not start with '/' has the form that its method wants. */
bool http_target_fits(const struct http_head *head);

/* One per implementation. A vector version wants at least its window of input. */
typedef enum http_parse http_parse_fn(const uint8_t *at, size_t bytes, struct http_head *head);
http_parse_fn http_parse_request_scalar;
http_parse_fn http_parse_response_scalar;
#if defined(__x86_64__)
http_parse_fn http_parse_request_sse42;
http_parse_fn http_parse_response_sse42;
http_parse_fn http_parse_request_avx2;
http_parse_fn http_parse_response_avx2;
http_parse_fn http_parse_request_avx512;
http_parse_fn http_parse_response_avx512;
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
