#include "api/form.h"

#include "base/percent.h"

/* The length of a UTF-8 character at the start of the text; 0 = there is none. */
static size_t utf8_bytes(struct slice text)
{
    uint8_t c = text.at[0];
    size_t bytes = c < 0x80                ? 1
                   : c >= 0xc2 && c < 0xe0 ? 2
                   : c >= 0xe0 && c < 0xf0 ? 3
                   : c >= 0xf0 && c < 0xf5 ? 4
                                           : 0;
    if (bytes == 0 || bytes > text.bytes) {
        return 0;
    }
    for (size_t i = 1; i < bytes; i++) {
        if ((text.at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (c == 0xe0 && text.at[1] < 0xa0) || (c == 0xf0 && text.at[1] < 0x90);
    bool beyond = (c == 0xed && text.at[1] > 0x9f) || (c == 0xf4 && text.at[1] > 0x8f);
    return overlong || beyond ? 0 : bytes;
}

static bool is_utf8(struct slice text)
{
    while (text.bytes > 0) {
        size_t bytes = utf8_bytes(text);
        if (bytes == 0) {
            return false;
        }
        text = slice_skip(text, bytes);
    }
    return true;
}

static bool decode(struct slice text, struct arena *arena, struct slice *ret_text)
{
    uint8_t *out = arena_take(arena, text.bytes + 1);
    size_t bytes = 0;
    if (!out || !percent_decode(text, true, out, &bytes) || memchr(out, '\0', bytes)) {
        return false;
    }
    *ret_text = slice_of(out, bytes);
    return is_utf8(*ret_text);
}

bool form_field(struct slice text, const char *name, struct arena *arena, struct slice *ret_value)
{
    struct slice wanted = slice_str(name);
    bool found = false;
    while (text.bytes > 0) {
        size_t end = slice_find(text, '&');
        struct slice pair = slice_of(text.at, end), key;
        size_t equals = slice_find(pair, '=');
        text = slice_skip(text, end + 1);
        if (!decode(slice_of(pair.at, equals), arena, &key) || !slice_equal(key, wanted)) {
            continue;
        }
        if (found || !decode(slice_skip(pair, equals + 1), arena, ret_value)) {
            return false;
        }
        found = true;
    }
    return found;
}

bool form_has(struct slice text, const char *name, struct arena *arena)
{
    struct slice wanted = slice_str(name), key;
    while (text.bytes > 0) {
        size_t end = slice_find(text, '&');
        struct slice pair = slice_of(text.at, end);
        text = slice_skip(text, end + 1);
        if (decode(slice_of(pair.at, slice_find(pair, '=')), arena, &key) &&
            slice_equal(key, wanted)) {
            return true;
        }
    }
    return false;
}

struct slice form_text(struct slice text, const char *name, struct arena *arena)
{
    struct slice value;
    return form_field(text, name, arena, &value) ? value : SLICE_EMPTY;
}

bool cookie_find(struct slice header, const char *name, struct slice *ret_value)
{
    struct slice wanted = slice_str(name);
    bool found = false;
    while (header.bytes > 0) {
        size_t end = slice_find(header, ';');
        struct slice pair = slice_trim(slice_of(header.at, end));
        size_t equals = slice_find(pair, '=');
        header = slice_skip(header, end + 1);
        if (equals == pair.bytes || !slice_equal(slice_of(pair.at, equals), wanted)) {
            continue;
        }
        if (found) {
            return false;
        }
        *ret_value = slice_skip(pair, equals + 1);
        found = true;
    }
    return found;
}

bool form_is_own_path(struct slice path)
{
    if (path.bytes == 0 || path.bytes > 300 || path.at[0] != '/' ||
        (path.bytes > 1 && (path.at[1] == '/' || path.at[1] == '\\'))) {
        return false;
    }
    for (size_t i = 0; i < path.bytes; i++) {
        if (path.at[i] <= ' ' || path.at[i] >= 0x7f || path.at[i] == '\\') {
            return false;
        }
    }
    return true;
}

void html_add(struct buf *html, struct slice text)
{
    while (text.bytes > 0) {
        uint8_t c = text.at[0];
        size_t bytes = utf8_bytes(text);
        if (bytes == 0 || (c < ' ' && c != '\n' && c != '\t') || c == 0x7f) {
            buf_add_str(html, "\xef\xbf\xbd");
            bytes = 1;
        } else if (c == '&') {
            buf_add_str(html, "&amp;");
        } else if (c == '<') {
            buf_add_str(html, "&lt;");
        } else if (c == '>') {
            buf_add_str(html, "&gt;");
        } else if (c == '"') {
            buf_add_str(html, "&quot;");
        } else if (c == '\'') {
            buf_add_str(html, "&#39;");
        } else {
            buf_add(html, text.at, bytes);
        }
        text = slice_skip(text, bytes);
    }
}
