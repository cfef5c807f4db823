/* percent.h - %XX, as URLs, queries and forms have it (RFC 3986 2.1; HTML forms).
 *
 * Threads     Pure; any. Not constant time.
 */
#ifndef BECKET_BASE_PERCENT_H
#define BECKET_BASE_PERCENT_H

#include "base/buf.h"
#include "base/slice.h"

/* Into `out`, which has room for text.bytes and may be text.at. `plus`: '+' is a space, as in
 * forms. False for a '%' without two digits behind it; what is at `out` is undefined then. Any byte
 * may come out, also NUL. */
bool percent_decode(struct slice text, bool plus, uint8_t *out, size_t *ret_bytes);
/* As whoever receives a form reads it (URL Standard, 5.1): '+' is a space, and a '%' without two
 * digits behind it is one. `out` as above. Returns how many bytes that are. */
size_t percent_decode_form(struct slice text, uint8_t *out);

/* What stays as it is. */
typedef bool percent_plain(uint8_t c);
/* Letters, digits and "-._~": parts of URLs, forms. */
percent_plain percent_unreserved;
/* ASCII that is seen, but for % and ": values of header lines that anybody may have named. */
percent_plain percent_visible;

/* All else as %XX. `out` has room for 3 * text.bytes. Returns how many bytes that are; no NUL. */
size_t percent_encode(struct slice text, percent_plain *plain, void *out);
/* Appended: all but what is unreserved; all but what is visible. */
void percent_add(struct buf *buf, struct slice text);
void percent_add_visible(struct buf *buf, struct slice text);

#endif
