#include "base/base64.h"

#include "base/assert.h"

/* Value of each character with bit 6 set; 0 for everything else. */
#define LETTERS                                                                                    \
    ['A'] = 64, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84,    \
    85, 86, 87, 88, 89, ['a'] = 90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 100, 101, 102, 103, 104,   \
    105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115, ['0'] = 116, 117, 118, 119, 120, 121,   \
    122, 123, 124, 125

static const uint8_t values[2][256] = {
    [BASE64_STANDARD] = {LETTERS, ['+'] = 126, ['/'] = 127},
    [BASE64_URL] = {LETTERS, ['-'] = 126, ['_'] = 127},
};

static const char digits[2][65] = {
    [BASE64_STANDARD] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
    [BASE64_URL] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_",
};

/* The text without its padding; false when the padding is not what the alphabet asks for. */
static bool strip(struct slice *text, enum base64_alphabet alphabet)
{
    size_t padding = 0;
    while (padding < 2 && text->bytes > padding && text->at[text->bytes - 1 - padding] == '=') {
        padding++;
    }
    bool whole = text->bytes % 4 == 0;
    if (!whole && (alphabet == BASE64_STANDARD || padding != 0)) {
        return false;
    }
    text->bytes -= padding;
    return text->bytes % 4 != 1;
}

bool base64_decode(struct slice text, enum base64_alphabet alphabet, uint8_t *out, size_t bytes_max,
                   size_t *ret_bytes)
{
    bk_assert(ret_bytes != NULL);
    const uint8_t *value = values[alphabet];
    unsigned good = 64;
    if (!strip(&text, alphabet) || text.bytes / 4 * 3 + text.bytes % 4 * 3 / 4 > bytes_max) {
        return false;
    }
    const uint8_t *p = text.at;
    uint8_t *to = out;
    size_t left = text.bytes;
    for (; left >= 4; left -= 4, p += 4, to += 3) {
        unsigned a = value[p[0]], b = value[p[1]], c = value[p[2]], d = value[p[3]];
        good &= a & b & c & d;
        uint32_t word = (a & 63) << 18 | (b & 63) << 12 | (c & 63) << 6 | (d & 63);
        to[0] = (uint8_t)(word >> 16);
        to[1] = (uint8_t)(word >> 8);
        to[2] = (uint8_t)word;
    }
    if (left != 0) {
        unsigned a = value[p[0]], b = value[p[1]], c = left == 3 ? value[p[2]] : 64;
        good &= a & b & c;
        uint32_t word = (a & 63) << 18 | (b & 63) << 12 | (c & 63) << 6;
        *to++ = (uint8_t)(word >> 16);
        if (left == 3) {
            *to++ = (uint8_t)(word >> 8);
        }
        /* Bits beyond the last byte must be zero, else two texts would mean the same. */
        good &= (word & (left == 3 ? 0xffU : 0xffffU)) == 0 ? 64 : 0;
    }
    *ret_bytes = (size_t)(to - out);
    return good != 0;
}

size_t base64_encode(const void *at, size_t bytes, enum base64_alphabet alphabet, char *out)
{
    bk_assert(out != NULL && (bytes == 0 || at != NULL));
    const char *digit = digits[alphabet];
    const uint8_t *p = (const uint8_t *)at;
    char *to = out;
    for (; bytes >= 3; bytes -= 3, p += 3) {
        *to++ = digit[p[0] >> 2];
        *to++ = digit[(p[0] & 3) << 4 | p[1] >> 4];
        *to++ = digit[(p[1] & 15) << 2 | p[2] >> 6];
        *to++ = digit[p[2] & 63];
    }
    if (bytes != 0) {
        *to++ = digit[p[0] >> 2];
        *to++ = digit[(p[0] & 3) << 4 | (bytes == 2 ? p[1] >> 4 : 0)];
        if (bytes == 2) {
            *to++ = digit[(p[1] & 15) << 2];
        }
        for (size_t i = bytes; alphabet == BASE64_STANDARD && i < 3; i++) {
            *to++ = '=';
        }
    }
    return (size_t)(to - out);
}
