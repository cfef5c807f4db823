#include "base/json_escape.h"

#include "base/hex.h"

size_t json_utf8_bytes(const uint8_t *at, size_t bytes)
{
    uint8_t c = at[0];
    size_t want = c < 0x80                 ? 1
                  : c >= 0xc2 && c <= 0xdf ? 2
                  : (c & 0xf0) == 0xe0     ? 3
                  : c >= 0xf0 && c <= 0xf4 ? 4
                                           : 0;
    if (want == 0 || want > bytes) {
        return 0;
    }
    for (size_t i = 1; i < want; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (c == 0xe0 && at[1] < 0xa0) || (c == 0xf0 && at[1] < 0x90);
    bool surrogate = c == 0xed && at[1] >= 0xa0;
    bool beyond = c == 0xf4 && at[1] >= 0x90;
    return overlong || surrogate || beyond ? 0 : want;
}

size_t json_escape(struct slice text, uint8_t *out)
{
    size_t bytes = 0;
    for (size_t at = 0; at < text.bytes;) {
        uint8_t c = text.at[at];
        size_t whole = json_utf8_bytes(text.at + at, text.bytes - at);
        if (whole == 0) {
            memcpy(out + bytes, "\xef\xbf\xbd", 3);
            bytes += 3;
            at++;
        } else if (c < 0x20 || c == 0x7f) {
            memcpy(out + bytes, "\\u00", 4);
            hex_encode(&c, 1, (char *)out + bytes + 4);
            bytes += 6;
            at++;
        } else {
            if (c == '"' || c == '\\') {
                out[bytes++] = '\\';
            }
            memcpy(out + bytes, text.at + at, whole);
            bytes += whole;
            at += whole;
        }
    }
    return bytes;
}
