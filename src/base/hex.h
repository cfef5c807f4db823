/* hex.h - base 16, strict.
 *
 * Threads     Pure; any. Not constant time: what is decoded here is public (received signatures).
 *             Keys are decoded at set-up only.
 */
#ifndef BECKET_BASE_HEX_H
#define BECKET_BASE_HEX_H

#include "base/slice.h"

/* Exactly `bytes` bytes from exactly 2 * bytes digits, upper or lower case. False, and what is at
 * `out` is undefined, for another length or anything but a digit. */
bool hex_decode(struct slice text, uint8_t *out, size_t bytes);
/* The value of one digit, upper or lower case; -1 for anything else. */
int hex_digit(uint8_t c);
/* 2 * bytes lower-case digits, no NUL. */
void hex_encode(const void *at, size_t bytes, char *out);

#endif
