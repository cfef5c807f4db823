/* base64.h - base 64 and its URL alphabet, strict (RFC 4648).
 *
 * Purpose     One text per value: no white space, no other alphabet, no bits left over, padding as
 *             told.
 * Threads     Pure; any. Not constant time: what is decoded on the hot path is public (received
 *             signatures); keys are decoded at set-up only.
 */
#ifndef BECKET_BASE_BASE64_H
#define BECKET_BASE_BASE64_H

#include "base/slice.h"

enum base64_alphabet {
    BASE64_STANDARD, /* + and /, padding required */
    BASE64_URL       /* - and _, padding optional, but then complete */
};

/* Room for the decoded bytes of a text, and for the text of so many bytes. */
#define BASE64_DECODED_MAX(text_bytes) ((text_bytes) / 4 * 3 + 3)
#define BASE64_ENCODED(bytes) (((bytes) + 2) / 3 * 4)

/* *ret_bytes is how many bytes there are. False for anything malformed or over bytes_max; what is
 * at `out` is undefined then. The empty text is zero bytes. */
bool base64_decode(struct slice text, enum base64_alphabet alphabet, uint8_t *out, size_t bytes_max,
                   size_t *ret_bytes);
/* Returns how many characters were written, no NUL. BASE64_URL is written without padding. */
size_t base64_encode(const void *at, size_t bytes, enum base64_alphabet alphabet, char *out);

#endif
