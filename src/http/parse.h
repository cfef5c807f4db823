/* parse.h - sans-I/O HTTP/1.1 head parser and chunked decoder.
 *
 * Purpose     Bytes in, an index of the head out. No state, no allocation, no I/O.
 *             Vector (AVX2/SSE4.2) and scalar versions give identical results; the
 *             CPU decides once at start-up.
 * Strictness  RFC 9112: everything that two readers could take differently is refused: bare CR
 *             or LF, obs-fold, white space before the colon or around the method, names that are not
 *             tokens, control bytes in values, Content-Length with anything but digits, several
 *             differing Content-Length, Content-Length with Transfer-Encoding, codings other
 *             than exactly `chunked`, Transfer-Encoding in HTTP/1.0, missing or doubled Host in
 *             HTTP/1.1. One empty line before a request line is allowed (9112 2.2).
 */
#ifndef BECKET_HTTP_PARSE_H
#define BECKET_HTTP_PARSE_H

#include "http/message.h"

enum http_parse {
    HTTP_PARSE_DONE,
    HTTP_PARSE_PARTIAL,       /* well-formed so far, more bytes wanted */
    HTTP_PARSE_BAD,           /* 400 */
    HTTP_PARSE_TOO_LONG,      /* 431: head, header count */
    HTTP_PARSE_URI_TOO_LONG,  /* 414 */
    HTTP_PARSE_BAD_VERSION,   /* 505: well-formed, but not HTTP/1.x */
    HTTP_PARSE_NOT_IMPLEMENTED /* 501: a transfer coding we do not know */
};

/* Parse one request head from the first `bytes` bytes at `at`. On DONE *ret_head is complete and
 * head->head_bytes says where the body starts (a leading empty line is counted in and `at` of the
 * index is `at` itself). Else *ret_head is undefined. */
enum http_parse http_parse_request(const uint8_t *at, size_t bytes, struct http_head *ret_head);
/* The same for a response head (status line). Used by clients. */
enum http_parse http_parse_response(const uint8_t *at, size_t bytes, struct http_head *ret_head);

/* For tests: force an implementation. */
enum http_parse_isa { HTTP_PARSE_AUTO, HTTP_PARSE_SCALAR, HTTP_PARSE_SSE42, HTTP_PARSE_AVX2 };
void http_parse_select(enum http_parse_isa isa);

/* Static one-line reason for the last kind of failure, for the answer's body. */
const char *http_parse_text(enum http_parse result);

/* ---- chunked transfer coding (RFC 9112 7.1), decoded in place */
struct http_chunked {
    uint64_t chunk_left;
    uint32_t state;
    uint32_t line_bytes; /* of the size line or the trailers so far: bounded */
};

void http_chunked_init(struct http_chunked *chunked);
/* Consume *bytes raw bytes at `at` and leave the decoded bytes at the front of `at`.
 * *bytes becomes the decoded length, *ret_consumed how many raw bytes were used (less than given only on
 * DONE: the rest belongs to the next message). PARTIAL: give more. BAD: malformed (400). Split-invariant. */
enum http_parse http_chunked_decode(struct http_chunked *chunked, uint8_t *at, size_t *bytes, size_t *ret_consumed);

#endif
