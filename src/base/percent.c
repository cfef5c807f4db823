#include "base/percent.h"

#include "base/hex.h"

bool percent_decode(struct slice text, bool plus, uint8_t *out, size_t *ret_bytes)
{
    size_t bytes = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.at[i];
        if (c == '%') {
            if (text.bytes - i < 3 || !hex_decode(slice_of(text.at + i + 1, 2), &c, 1)) {
                return false;
            }
            i += 2;
        } else if (c == '+' && plus) {
            c = ' ';
        }
        out[bytes++] = c;
    }
    *ret_bytes = bytes;
    return true;
}

size_t percent_decode_form(struct slice text, uint8_t *out)
{
    size_t bytes = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.at[i] == '+' ? ' ' : text.at[i], escaped;
        if (c == '%' && text.bytes - i >= 3 &&
            hex_decode(slice_of(text.at + i + 1, 2), &escaped, 1)) {
            c = escaped;
            i += 2;
        }
        out[bytes++] = c;
    }
    return bytes;
}

bool percent_unreserved(uint8_t c)
{
    return ascii_is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~';
}

bool percent_visible(uint8_t c)
{
    return c > ' ' && c < 0x7f && c != '"' && c != '%';
}

size_t percent_encode(struct slice text, percent_plain *plain, void *out)
{
    static const char digits[] = "0123456789ABCDEF";
    char *to = out;
    size_t bytes = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.at[i];
        if (plain(c)) {
            to[bytes++] = (char)c;
        } else {
            to[bytes++] = '%';
            to[bytes++] = digits[c >> 4];
            to[bytes++] = digits[c & 15];
        }
    }
    return bytes;
}

static void add(struct buf *buf, struct slice text, percent_plain *plain)
{
    void *at = buf_reserve(buf, 3 * text.bytes);
    if (at) {
        buf->bytes += percent_encode(text, plain, at);
    }
}

void percent_add(struct buf *buf, struct slice text)
{
    add(buf, text, percent_unreserved);
}

void percent_add_visible(struct buf *buf, struct slice text)
{
    add(buf, text, percent_visible);
}
