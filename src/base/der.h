/* der.h - reading DER, strictly: what keys, certificates and ECDSA signatures are written in.
 *
 * Purpose     A cursor over one level of a DER text. Lengths must be definite and minimal, tags one
 *             byte. Nothing is copied.
 * Failure     A function returns false for what is not there or not DER; the cursor is then
 *             undefined.
 * Threads     Pure; any.
 * Source      ITU-T X.690.
 */
#ifndef BECKET_BASE_DER_H
#define BECKET_BASE_DER_H

#include "base/slice.h"

#define DER_INTEGER      0x02U
#define DER_BIT_STRING   0x03U
#define DER_OCTET_STRING 0x04U
#define DER_NULL         0x05U
#define DER_OID          0x06U
#define DER_SEQUENCE     0x30U

/* The value at the front of *rest, which must have this tag; *rest moves behind it. */
bool der_take(struct slice *rest, uint8_t tag, struct slice *ret_value);
/* The value at the front of *rest with any tag. */
bool der_take_any(struct slice *rest, uint8_t *ret_tag, struct slice *ret_value);
/* A positive INTEGER without its leading zero: minimal, not negative; zero is one byte 0. */
bool der_take_unsigned(struct slice *rest, struct slice *ret_number);
/* A BIT STRING of whole bytes. */
bool der_take_bits(struct slice *rest, struct slice *ret_bytes);

#endif
