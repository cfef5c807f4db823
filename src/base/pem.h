/* pem.h - the blocks of a PEM text.
 *
 * Purpose     Certificates and keys as people paste them: -----BEGIN LABEL-----, base 64 in lines,
 *             -----END LABEL-----. Text between the blocks is skipped; no encrypted blocks.
 * Threads     Pure; any. Time is linear in the text.
 * Source      RFC 7468.
 */
#ifndef BECKET_BASE_PEM_H
#define BECKET_BASE_PEM_H

#include "base/slice.h"

/* The next block of *text, which moves behind it: its label (into the text) and its bytes at `out`.
 * False: there is no further block, or it is malformed or over bytes_max. */
bool pem_next(struct slice *text, struct slice *ret_label, uint8_t *out, size_t bytes_max,
              size_t *ret_bytes);
/* Does the text hold a block at all? */
bool pem_looks(struct slice text);

#endif
