#include "base/hex.h"

#include "base/assert.h"

/* Value of each digit with bit 4 set; 0 for everything else. */
static const uint8_t digit_value[256] = {
    ['0'] = 16, 17, 18, 19, 20, 21,         22, 23, 24, 25, ['A'] = 26,
    27,         28, 29, 30, 31, ['a'] = 26, 27, 28, 29, 30, 31,
};

bool hex_decode(struct slice text, uint8_t *out, size_t bytes)
{
    if (text.bytes != 2 * bytes) {
        return false;
    }
    unsigned good = 16;
    for (size_t i = 0; i < bytes; i++) {
        unsigned high = digit_value[text.at[2 * i]];
        unsigned low = digit_value[text.at[2 * i + 1]];
        good &= high & low;
        out[i] = (uint8_t)(high << 4 | (low & 15));
    }
    return good != 0;
}

void hex_encode(const void *at, size_t bytes, char *out)
{
    bk_assert(bytes == 0 || (at != NULL && out != NULL));
    static const char digits[] = "0123456789abcdef";
    const uint8_t *p = (const uint8_t *)at;
    for (size_t i = 0; i < bytes; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
}
