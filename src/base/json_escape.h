/* json_escape.h - texts of strangers inside JSON strings, in memory that the caller has.
 *
 * Purpose     What is made on a core, without malloc. json_add_string (json.h) is for the rest, and
 *             also hides what a terminal would take for something else than text.
 * Threads     Pure; any.
 */
#ifndef BECKET_BASE_JSON_ESCAPE_H
#define BECKET_BASE_JSON_ESCAPE_H

#include "base/slice.h"

/* Of a byte become so many at most. */
#define JSON_ESCAPED_MAX 6U

/* Of the UTF-8 character at `at`, which has so many bytes at most; 0 = it is none. */
size_t json_utf8_bytes(const uint8_t *at, size_t bytes);
/* The inside of a string, without its quotes. `out` has room for JSON_ESCAPED_MAX * text.bytes and
 * is not text.at. Bytes that are not UTF-8 become U+FFFD. Returns how many bytes that are. */
size_t json_escape(struct slice text, uint8_t *out);

#endif
