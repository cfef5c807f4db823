/* pem_file.h - blocks of a PEM text, with the line where each begins.
 *
 * Purpose     Certificates and keys come as PEM; what is wrong with a file must be said with file
 *             and line. Text outside of blocks is skipped, as everybody does.
 * Ownership   A block's bytes are malloc'ed; pem_block_free() wipes and frees them.
 * Threads     Pure; any.
 * Limits      PEM_FILE_BYTES_MAX a text.
 * Source      RFC 7468 (lax about line lengths and white space at line ends).
 */
#ifndef BECKET_TLS_PEM_FILE_H
#define BECKET_TLS_PEM_FILE_H

#include "base/err.h"
#include "base/slice.h"

#define PEM_FILE_BYTES_MAX  (4U << 20)
#define PEM_LABEL_BYTES_MAX 40U

struct pem_reader {
    const char *name; /* of the file, for the words */
    struct slice rest;
    unsigned line; /* of the first byte of rest */
};

struct pem_block {
    char label[PEM_LABEL_BYTES_MAX]; /* "CERTIFICATE" */
    unsigned line;
    bool encrypted; /* the old kind, by header lines */
    uint8_t *at;
    size_t bytes;
};

void pem_file_begin(struct pem_reader *reader, const char *name, struct slice text);
/* BK_OK with a block, BK_NOT_FOUND at the end; else ret_why (TLS_WHY_BYTES) says what. */
enum bk_err pem_file_next(struct pem_reader *reader, struct pem_block *ret_block,
                          char *ret_why) BK_MUST_CHECK;
void pem_block_free(struct pem_block *block);

/* A PEM file as text, malloc'ed; wipe and free it. ret_why as above. `secret`: refused when others
 * may read the file. */
enum bk_err pem_file_read(const char *path, bool secret, char **ret_text, size_t *ret_bytes,
                          char *ret_why) BK_MUST_CHECK;

#endif
