/* response.h - reads one answer of a server, without I/O: bytes in, head and pieces of body out.
 *
 * Purpose     Everything that RFC 9112 says about where an answer ends: interim answers, HEAD, 204,
 *             304, CONNECT, Content-Length, chunked, and until the end of the connection; and
 *             whether the connection may serve another call. Strict as http/parse.h is.
 * Leniency    A length or a coding on 204, 304 and 1xx is passed over, as RFC 9110 6.4.1 says that
 *             these have no content: it fails no answer, but keep_alive is false then, for a body
 *             may follow that would be taken for the next answer.
 * Bounds      The head HTTP_HEAD_BYTES_MAX; interim answers HTTP_RESPONSE_INTERIM_MAX; the body
 *             body_bytes_max, refused at the head where its length is announced.
 * Failure     Sticky: err and why (static text).
 * Memory      None but the struct; pieces lie in the caller's bytes. Threads: any.
 */
#ifndef BECKET_HTTP_RESPONSE_H
#define BECKET_HTTP_RESPONSE_H

#include "base/err.h"
#include "http/parse.h"

#define HTTP_RESPONSE_INTERIM_MAX 16U

enum http_response_state {
    HTTP_RESPONSE_HEAD,
    HTTP_RESPONSE_LENGTH,
    HTTP_RESPONSE_CHUNKED,
    HTTP_RESPONSE_UNTIL_CLOSE,
    HTTP_RESPONSE_DONE,
    HTTP_RESPONSE_FAILED
};

struct http_response {
    uint8_t state;
    bool head_method;    /* the request was HEAD */
    bool connect_method; /* the request was CONNECT: a 2xx has no body, the tunnel begins */
    bool keep_alive;     /* once DONE: another request may follow on this connection */
    bool doubt;          /* a head said that a body comes where none can: the last answer here */
    bool malformed;      /* FAILED by the head where it stands: http/explain.h says why */
    uint8_t interim_count;
    enum bk_err err;
    const char *why;
    uint64_t body_bytes_max;
    uint64_t body_bytes; /* decoded so far */
    uint64_t left;       /* of a Content-Length */
    struct http_chunked chunked;
};

enum http_step {
    HTTP_STEP_MORE,  /* all that could be used was; see below */
    HTTP_STEP_HEAD,  /* *ret_head is the final head, its `at` the first byte of it */
    HTTP_STEP_PIECE, /* *ret_piece is the next piece of the body */
    HTTP_STEP_DONE,  /* the answer is whole; bytes behind *ret_used are not part of it */
    HTTP_STEP_FAILED
};

/* body_bytes_max: 0 = none may come. The other fields may be set behind it. */
void http_response_init(struct http_response *response, uint64_t body_bytes_max);
/* Look at `bytes` bytes at `at` (chunks are decoded in place). *ret_used says how many are done
 * with; call again with the rest until MORE, DONE or FAILED. On MORE in HTTP_RESPONSE_HEAD what was
 * not used must come again, with more behind it; else all were used. */
enum http_step http_response_step(struct http_response *response, uint8_t *at, size_t bytes,
                                  size_t *ret_used, struct http_head *ret_head,
                                  struct slice *ret_piece);
/* The connection ended in good order. DONE or FAILED. */
enum http_step http_response_end(struct http_response *response);

#endif
