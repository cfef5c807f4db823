#include "tls/pem_file.h"

#include "base/base64.h"
#include "base/ct.h"
#include "ring/file.h"
#include "tls/tls.h"

#include <stdio.h>
#include <stdlib.h>

#define BEGIN  SLICE("-----BEGIN ")
#define END    SLICE("-----END ")
#define DASHES SLICE("-----")

void pem_file_begin(struct pem_reader *reader, const char *name, struct slice text)
{
    *reader = (struct pem_reader){.name = name, .rest = text, .line = 1};
}

static struct slice next_line(struct pem_reader *reader)
{
    size_t bytes = slice_find(reader->rest, '\n');
    struct slice line = slice_of(reader->rest.at, bytes);
    reader->rest = slice_skip(reader->rest, bytes + 1);
    reader->line++;
    while (line.bytes && (line.at[line.bytes - 1] == '\r' || line.at[line.bytes - 1] == ' ' ||
                          line.at[line.bytes - 1] == '\t')) {
        line.bytes--;
    }
    return line;
}

/* The label between `head` and the dashes; empty when the line is something else. */
static struct slice label_of(struct slice line, struct slice head)
{
    if (!slice_starts(line, head) || line.bytes < head.bytes + DASHES.bytes) {
        return SLICE_EMPTY;
    }
    struct slice tail = slice_skip(line, line.bytes - DASHES.bytes);
    return slice_equal(tail, DASHES)
               ? slice_of(line.at + head.bytes, line.bytes - head.bytes - DASHES.bytes)
               : SLICE_EMPTY;
}

static enum bk_err fail(const struct pem_reader *reader, unsigned line, const char *what,
                        char *ret_why)
{
    snprintf(ret_why, TLS_WHY_BYTES, "%s:%u: %s", reader->name, line, what);
    return BK_INVALID;
}

/* Gathers the text between the dashes; the buffer has room for all that is left. */
static enum bk_err gather(struct pem_reader *reader, struct slice label, struct pem_block *block,
                          char *text, size_t *ret_bytes, char *ret_why)
{
    size_t bytes = 0;
    while (reader->rest.bytes) {
        unsigned line_number = reader->line;
        struct slice line = next_line(reader);
        struct slice ended = label_of(line, END);
        if (ended.bytes) {
            *ret_bytes = bytes;
            return slice_equal(ended, label)
                       ? BK_OK
                       : fail(reader, line_number, "the block ends with another name", ret_why);
        }
        if (slice_starts(line, DASHES)) {
            return fail(reader, line_number, "a block begins before the last one has ended",
                        ret_why);
        }
        if (slice_find(line, ':') < line.bytes) {
            block->encrypted |= slice_starts(line, SLICE("Proc-Type: 4,ENCRYPTED"));
            continue;
        }
        memcpy(text + bytes, line.at, line.bytes);
        bytes += line.bytes;
    }
    return fail(reader, block->line, "the block has no end", ret_why);
}

static enum bk_err decode(struct pem_reader *reader, struct pem_block *block, struct slice label,
                          char *ret_why)
{
    size_t room = reader->rest.bytes + 1, bytes = 0;
    char *text = malloc(room);
    uint8_t *der = malloc(BASE64_DECODED_MAX(room));
    enum bk_err err =
        text && der ? gather(reader, label, block, text, &bytes, ret_why) : BK_NO_MEMORY;
    if (err == BK_NO_MEMORY) {
        snprintf(ret_why, TLS_WHY_BYTES, "%s: out of memory", reader->name);
    }
    if (err == BK_OK && !block->encrypted &&
        (!base64_decode(slice_of(text, bytes), BASE64_STANDARD, der, BASE64_DECODED_MAX(room),
                        &block->bytes) ||
         block->bytes == 0)) {
        err = fail(reader, block->line, "what is between the dashes is not base 64", ret_why);
    }
    if (text) {
        bk_wipe(text, bytes);
    }
    free(text);
    if (err == BK_OK) {
        block->at = der;
    } else {
        free(der);
    }
    return err;
}

enum bk_err pem_file_next(struct pem_reader *reader, struct pem_block *ret_block, char *ret_why)
{
    while (reader->rest.bytes) {
        struct pem_block block = {.line = reader->line};
        struct slice label = label_of(next_line(reader), BEGIN);
        if (label.bytes == 0) {
            continue;
        }
        if (label.bytes >= sizeof block.label) {
            return fail(reader, block.line, "the block's name is too long", ret_why);
        }
        memcpy(block.label, label.at, label.bytes);
        enum bk_err err = decode(reader, &block, label, ret_why);
        if (err == BK_OK) {
            *ret_block = block;
        }
        return err;
    }
    return BK_NOT_FOUND;
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
