/* json_check.h - is it JSON, and where does a value end? Without building anything.
 *
 * Purpose     Bodies of strangers that are put into other JSON texts, or taken apart, byte for
 *             byte. Strict: RFC 8259, valid UTF-8, whole surrogate pairs, at most JSON_CHECK_DEPTH
 *             deep.
 * Threads     Pure; any. No allocation, no recursion, linear time.
 */
#ifndef BECKET_BASE_JSON_CHECK_H
#define BECKET_BASE_JSON_CHECK_H

#include "base/slice.h"

#define JSON_CHECK_DEPTH 64U

/* One value with nothing but blanks around it? */
bool json_check(struct slice text);
/* The elements of an array, one after the other: *rest is the text behind what was given, at first
 * the whole text. False: no more; *ret_good tells whether the text was one whole array. */
bool json_check_element(struct slice *rest, struct slice *ret_element, bool *ret_good);

#endif
