#include "tls/pem_file.h"

#include "base/base64.h"
#include "base/ct.h"
#include "base/pem.h"
#include "ring/file.h"
#include "tls/tls.h"

#include <stdio.h>
#include <stdlib.h>

void pem_file_begin(struct pem_reader *reader, const char *name, struct slice text)
{
    *reader = (struct pem_reader){.name = name, .rest = text, .line = 1};
}

static enum bk_err fail(const struct pem_reader *reader, unsigned line, const char *what,
                        char *ret_why)
{
    snprintf(ret_why, TLS_WHY_BYTES, "%s:%u: %s", reader->name, line, what);
    return BK_INVALID;
}

/* The number of the line that `at` is in. */
static unsigned line_of(const struct pem_reader *reader, const uint8_t *at)
{
    unsigned line = reader->line;
    for (const uint8_t *c = reader->rest.at; c < at; c++) {
        line += *c == '\n';
    }
    return line;
}

/* The old encryption says so in lines "Name: value" before the base 64. */
static struct slice skip_headers(struct slice body, struct pem_block *block)
{
    for (;;) {
        struct slice line = slice_of(body.at, slice_find(body, '\n'));
        bool empty = line.bytes == 0 || (line.bytes == 1 && line.at[0] == '\r');
        bool named = slice_find(line, ':') < line.bytes;
        if (line.bytes == body.bytes || (!empty && !named)) {
            return body;
        }
        block->encrypted |= slice_starts(line, SLICE("Proc-Type: 4,ENCRYPTED"));
        body = slice_skip(body, line.bytes + 1);
    }
}

static enum bk_err decode(struct pem_reader *reader, struct pem_block *block, struct slice body,
                          char *ret_why)
{
    body = skip_headers(body, block);
    if (block->encrypted) {
        return BK_OK; /* said by who wants a key */
    }
    size_t room = BASE64_DECODED_MAX(body.bytes + 1);
    uint8_t *der = malloc(room);
    if (!der) {
        snprintf(ret_why, TLS_WHY_BYTES, "%s: out of memory", reader->name);
        return BK_NO_MEMORY;
    }
    if (!pem_decode(body, der, room, &block->bytes)) {
        bk_wipe(der, room);
        free(der);
        return fail(reader, block->line, "what is between the dashes is not base 64", ret_why);
    }
    block->at = der;
    return BK_OK;
}

enum bk_err pem_file_next(struct pem_reader *reader, struct pem_block *ret_block, char *ret_why)
{
    static const char *const faults[] = {
        [PEM_NO_END] = "the block has no end",
        [PEM_NESTED] = "a block begins before the last one has ended",
        [PEM_OTHER_END] = "the block ends with another name",
        [PEM_BAD_LABEL] = "the block's name is too long, or has no dashes behind it"};
    struct slice rest = reader->rest;
    struct pem_place place;
    enum pem_found found = pem_find(&rest, &place);
    if (found == PEM_NONE) {
        return BK_NOT_FOUND;
    }
    if (found != PEM_BLOCK || place.label.bytes >= PEM_LABEL_BYTES_MAX) {
        const char *what = faults[found == PEM_BLOCK ? PEM_BAD_LABEL : found];
        return fail(reader, line_of(reader, place.fault), what, ret_why);
    }
    struct pem_block block = {.line = line_of(reader, place.begin)};
    if (place.label.bytes > 0) {
        memcpy(block.label, place.label.at, place.label.bytes);
    }
    enum bk_err err = decode(reader, &block, place.body, ret_why);
    if (err == BK_OK) {
        reader->line = line_of(reader, rest.at);
        reader->rest = rest;
        *ret_block = block;
    }
    return err;
}

void pem_block_free(struct pem_block *block)
{
    if (block->at) {
        bk_wipe(block->at, block->bytes);
    }
    free(block->at);
    block->at = NULL;
}

enum bk_err pem_file_read(const char *path, bool secret, char **ret_text, size_t *ret_bytes,
                          char *ret_why)
{
    unsigned mode;
    enum bk_err err = file_mode(path, &mode);
    if (err == BK_OK && secret && (mode & 0006)) {
        snprintf(ret_why, TLS_WHY_BYTES, "%s: others may read or write this key; chmod 600 it",
                 path);
        return BK_PERMISSION;
    }
    if (err == BK_OK) {
        err = file_read_all(path, PEM_FILE_BYTES_MAX, ret_text, ret_bytes);
    }
    if (err != BK_OK) {
        snprintf(ret_why, TLS_WHY_BYTES, "%s: %s", path, bk_err_text(err));
    }
    return err;
}
