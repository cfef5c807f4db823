/* pem.h - the blocks of a PEM text.
 *
 * Purpose     Certificates and keys as people paste them: -----BEGIN LABEL-----, base 64 in lines,
 *             -----END LABEL-----. Text between the blocks is skipped. Who has to say what is
 *             wrong, and where (tls/pem_file.h), takes pem_find(); who only wants good ones,
 *             pem_next().
 * Threads     Pure; any. Time is linear in the text.
 * Source      RFC 7468.
 */
#ifndef BECKET_BASE_PEM_H
#define BECKET_BASE_PEM_H

#include "base/slice.h"

#define PEM_LABEL_MAX 64U

enum pem_found {
    PEM_NONE, /* no further block */
    PEM_BLOCK,
    PEM_NO_END,
    PEM_NESTED,    /* another block begins before this one has ended */
    PEM_OTHER_END, /* it ends with another label */
    PEM_BAD_LABEL  /* over PEM_LABEL_MAX, or not closed in its line */
};

/* Parts of the text. */
struct pem_place {
    struct slice label;
    struct slice body;    /* between the dashes; header lines of the old encryption as well */
    const uint8_t *begin; /* where the block begins */
    const uint8_t *fault; /* where it went wrong; `begin` when that is all there is to say */
};

/* The next block of *text, which moves behind it when it is one. */
enum pem_found pem_find(struct slice *text, struct pem_place *ret_place);
/* Base 64 with line breaks. False: it is none, empty, or over bytes_max. */
bool pem_decode(struct slice body, uint8_t *out, size_t bytes_max, size_t *ret_bytes);

/* Both at once: the label (into the text) and the bytes at `out`. False: there is no further block,
 * or it is malformed, encrypted or over bytes_max. */
bool pem_next(struct slice *text, struct slice *ret_label, uint8_t *out, size_t bytes_max,
              size_t *ret_bytes);
/* Does the text hold a block at all? */
bool pem_looks(struct slice text);

#endif
