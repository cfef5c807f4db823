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

/* Four characters at a time. */
bool pem_decode(struct slice text, uint8_t *out, size_t bytes_max, size_t *ret_bytes)
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

/* What stands where the body ends: its own END line, or why not. */
static enum pem_found find_end(struct slice rest, struct pem_place *place, struct slice *ret_rest)
{
    size_t at = find_text(rest, end), nested = find_text(rest, begin);
    if (nested < at) {
        place->fault = rest.at + nested;
        return PEM_NESTED;
    }
    if (at == rest.bytes) {
        return PEM_NO_END;
    }
    place->body = slice_of(rest.at, at);
    struct slice tail = slice_skip(rest, at + sizeof end - 1);
    if (!slice_starts(tail, place->label) ||
        !slice_starts(slice_skip(tail, place->label.bytes), slice_str(dashes))) {
        place->fault = rest.at + at;
        return PEM_OTHER_END;
    }
    *ret_rest = slice_skip(tail, place->label.bytes + sizeof dashes - 1);
    return PEM_BLOCK;
}

enum pem_found pem_find(struct slice *text, struct pem_place *ret_place)
{
    bk_assert(text != NULL && ret_place != NULL);
    size_t at = find_text(*text, begin);
    if (at == text->bytes) {
        return PEM_NONE;
    }
    *ret_place = (struct pem_place){.begin = text->at + at, .fault = text->at + at};
    struct slice rest = slice_skip(*text, at + sizeof begin - 1);
    struct slice label = slice_of(rest.at, find_text(rest, dashes));
    if (label.bytes == rest.bytes || label.bytes > PEM_LABEL_MAX ||
        slice_find(label, '\n') < label.bytes) {
        return PEM_BAD_LABEL;
    }
    ret_place->label = label;
    return find_end(slice_skip(rest, label.bytes + sizeof dashes - 1), ret_place, text);
}

bool pem_next(struct slice *text, struct slice *ret_label, uint8_t *out, size_t bytes_max,
              size_t *ret_bytes)
{
    struct slice rest = *text;
    struct pem_place place;
    if (pem_find(&rest, &place) != PEM_BLOCK ||
        !pem_decode(place.body, out, bytes_max, ret_bytes)) {
        return false;
    }
    *ret_label = place.label;
    *text = rest;
    return true;
}
