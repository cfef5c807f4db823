/* parse.h - sans-I/O HTTP/1.1 head parser and chunked decoder.
 *
 * Purpose     Bytes in, an index of the head out. No state, no allocation, no I/O.
 *             Vector (AVX2/SSE4.2) and scalar versions give identical results; the
 *             CPU decides once at start-up.
 * Strictness  RFC 9112: everything that two readers could take differently is refused: bare CR or
 *             LF, obs-fold, white space before the colon or around the method, names that are not
 *             tokens, control bytes in values, Content-Length with anything but digits, more than
 *             one Content-Length (also equal ones), Content-Length with Transfer-Encoding, codings
 *             other than exactly `chunked`, Transfer-Encoding in HTTP/1.0, missing or doubled Host
 *             in HTTP/1.1, a Host that is not host[:port]. One empty line before a request line is
 *             allowed (9112 2.2). A fragment, white space, controls and bytes above 0x7e are
 *             refused in a target; so is each target form where it does not belong (9112 3.2).
 * Prefixes    For any input, each prefix is PARTIAL or has the result of the whole; an error may be
 *             told late (at the end of its line), never later than HTTP_HEAD_BYTES_MAX.
 * Memory      Not one byte outside at[0 .. bytes) is read.
 * Threads     Any; http_parse_select() only while no other thread parses.
 */
#ifndef BECKET_HTTP_PARSE_H
#define BECKET_HTTP_PARSE_H

#include "http/message.h"

enum http_parse {
    HTTP_PARSE_DONE,
    HTTP_PARSE_PARTIAL,        /* well-formed so far, more bytes wanted */
    HTTP_PARSE_BAD,            /* 400 */
    HTTP_PARSE_TOO_LONG,       /* 431: head, header count, trailers */
    HTTP_PARSE_URI_TOO_LONG,   /* 414 */
    HTTP_PARSE_BAD_VERSION,    /* 505: well-formed, but not HTTP/1.x */
    HTTP_PARSE_NOT_IMPLEMENTED /* 501: a transfer coding we do not know, a method above 32 bytes */
};

/* Parse one request head from the first `bytes` bytes at `at`. On DONE *ret_head is complete and
 * head->head_bytes says where the body starts (a leading empty line is counted in and `at` of the
 * index is `at` itself). Else *ret_head is undefined. */
enum http_parse http_parse_request(const uint8_t *at, size_t bytes, struct http_head *ret_head);
/* The same for a response head (status line). Used by clients. keep_alive says what version and
 * Connection say: the caller, who knows the request, must also close after a body that only ends
 * with the connection. An empty reason phrase may come without its space. */
enum http_parse http_parse_response(const uint8_t *at, size_t bytes, struct http_head *ret_head);

/* For tests: force an implementation. Where the CPU (or the build) lacks it, the next lower one is
 * taken; the answer is the one in use from now on. */
enum http_parse_isa {
    HTTP_PARSE_AUTO,
    HTTP_PARSE_SCALAR,
    HTTP_PARSE_SSE42,
    HTTP_PARSE_AVX2,
    HTTP_PARSE_AVX512
};
enum http_parse_isa http_parse_select(enum http_parse_isa isa);

/* Static one-line reason for a kind of failure, for the answer's body. */
const char *http_parse_text(enum http_parse result);

/* ---- chunked transfer coding (RFC 9112 7.1), decoded in place
 *
 * Chunk extensions are skipped, trailers are checked for form and dropped. Limits: 4 KiB for a size
 * line, HTTP_TRAILER_BYTES_MAX for the trailers, and lines may not outweigh the data by more than
 * 16 KiB in all (many one-byte chunks are fine, many extensions on them are not). */
struct http_chunked {
    uint64_t chunk_left;
    uint32_t state;
    uint32_t line_bytes;   /* of the size line or the trailers so far: bounded */
    uint32_t excess_bytes; /* by which size lines outweigh the data so far: bounded */
};

void http_chunked_init(struct http_chunked *chunked);
/* Consume *bytes raw bytes at `at` and leave the decoded bytes at the front of `at`. *bytes becomes
 * the decoded length, *ret_consumed how many raw bytes were used (less than given only on DONE: the
 * rest belongs to the next message, and BAD: where it went wrong). PARTIAL: give more. BAD:
 * malformed (400), TOO_LONG: trailers (431); both stay. Split-invariant. */
enum http_parse http_chunked_decode(struct http_chunked *chunked, uint8_t *at, size_t *bytes,
                                    size_t *ret_consumed);

#endif
