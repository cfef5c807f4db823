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

size_t percent_encode(struct slice text, char *out)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t bytes = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.at[i];
        bool plain = ascii_is_alphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~';
        if (plain) {
            out[bytes++] = (char)c;
        } else {
            out[bytes++] = '%';
            out[bytes++] = digits[c >> 4];
            out[bytes++] = digits[c & 15];
        }
    }
    return bytes;
}
