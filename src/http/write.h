/* write.h - request heads built safely from outside data.
 *
 * Purpose     No byte of an event, a secret or a template can end a line, start another header or
 *             change the target: every value is checked where it is written, and one bad value
 *             spoils the whole head, which then is never sent.
 * Use         http_write_init, http_write_request, headers, http_write_end; check its result once.
 * Ownership   The memory is the caller's, fixed in size; slices are copied.
 * Failure     Sticky: BK_INVALID (a value with CR, LF, NUL or another byte that must not be there)
 *             or BK_TOO_LARGE; nothing is written afterwards.
 * Threads     Pure; any.
 */
#ifndef BECKET_HTTP_WRITE_H
#define BECKET_HTTP_WRITE_H

#include "base/err.h"
#include "base/slice.h"
#include "http/origin.h"

struct http_write {
    uint8_t *at;
    size_t bytes;
    size_t bytes_max;
    enum bk_err err;
};

void http_write_init(struct http_write *write, void *at, size_t bytes_max);
/* "METHOD path?query HTTP/1.1" and Host. method: a token. path begins with '/', query with '?' or
 * is empty; both in the characters of RFC 3986 (url_parse() gives such ones). */
void http_write_request(struct http_write *write, struct slice method,
                        const struct http_origin *origin, struct slice path, struct slice query);
/* "Name: value". name: a token; value: visible ASCII, and spaces and tabs inside. */
void http_write_header(struct http_write *write, struct slice name, struct slice value);
void http_write_header_number(struct http_write *write, struct slice name, uint64_t number);
/* The empty line. BK_OK: *ret_head is the whole head, in the caller's memory. */
enum bk_err http_write_end(struct http_write *write, struct slice *ret_head) BK_MUST_CHECK;

/* For those who keep header lines prepared. */
bool http_write_name_fits(struct slice name);
bool http_write_value_fits(struct slice value);

#endif
