#include "base/pem.h"

#include "base/assert.h"
#include "base/base64.h"

static const char begin[] = "-----BEGIN ", end[] = "-----END ", dashes[] = "-----";

static size_t find_text(struct slice text, const char *word)
{
    const uint8_t *at = text.bytes ? memmem(text.at, text.bytes, word, strlen(word)) : NULL;
    return at ? (size_t)(at - text.at) : text.bytes;
}

bool pem_looks(struct slice text)
{
    return find_text(text, begin) != text.bytes;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Base 64 with line breaks, four characters at a time. */
static bool decode(struct slice text, uint8_t *out, size_t bytes_max, size_t *ret_bytes)
{
    uint8_t four[4];
    unsigned held = 0;
    size_t used = 0;
    bool padded = false;
    for (size_t i = 0; i < text.bytes; i++) {
        if (is_blank(text.at[i])) {
            continue;
        }
        four[held++] = text.at[i];
        if (held < 4) {
            continue;
        }
        size_t bytes;
        if (padded || !base64_decode(slice_of(four, 4), BASE64_STANDARD, out + used,
                                     bytes_max - used, &bytes)) {
            return false;
        }
        padded = bytes != 3;
        used += bytes;
        held = 0;
    }
    *ret_bytes = used;
    return held == 0 && used != 0;
}

bool pem_next(struct slice *text, struct slice *ret_label, uint8_t *out, size_t bytes_max,
              size_t *ret_bytes)
{
    bk_assert(text != NULL && ret_label != NULL && out != NULL && ret_bytes != NULL);
    size_t at = find_text(*text, begin);
    if (at == text->bytes) {
        return false;
    }
    struct slice rest = slice_skip(*text, at + sizeof begin - 1);
    struct slice label = slice_of(rest.at, find_text(rest, dashes));
    if (label.bytes == rest.bytes || label.bytes > 64) {
        return false;
    }
    rest = slice_skip(rest, label.bytes + sizeof dashes - 1);
    struct slice body = slice_of(rest.at, find_text(rest, end));
    if (body.bytes == rest.bytes || !decode(body, out, bytes_max, ret_bytes)) {
        return false;
    }
    rest = slice_skip(rest, body.bytes + sizeof end - 1);
    if (!slice_starts(rest, label) ||
        !slice_starts(slice_skip(rest, label.bytes), SLICE("-----"))) {
        return false;
    }
    *ret_label = label;
    *text = slice_skip(rest, label.bytes + sizeof dashes - 1);
    return true;
}
