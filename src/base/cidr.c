#include "base/cidr.h"

#include <arpa/inet.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool parse_bits(struct slice text, unsigned most, uint8_t *ret_bits)
{
    unsigned bits = 0;
    if (text.bytes == 0 || text.bytes > 3 || (text.bytes > 1 && text.at[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
        bits = bits * 10 + (unsigned)(text.at[i] - '0');
    }
    *ret_bits = (uint8_t)bits;
    return bits <= most;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    uint8_t mask = (uint8_t)(0xff00U >> rest);
    return memcmp(a, b, whole) == 0 && (rest == 0 || ((a[whole] ^ b[whole]) & mask) == 0);
}

bool cidr_parse(struct slice text, struct cidr *ret_cidr)
{
    char address[46];
    static const uint8_t zero[16];
    size_t bytes = slice_find(text, '/');
    *ret_cidr = (struct cidr){0};
    if (bytes == 0 || bytes >= sizeof address || memchr(text.at, 0, bytes) != NULL) {
        return false;
    }
    memcpy(address, text.at, bytes);
    address[bytes] = 0;
    bool four = inet_pton(AF_INET, address, ret_cidr->at) == 1;
    if (!four && inet_pton(AF_INET6, address, ret_cidr->at) != 1) {
        return false;
    }
    unsigned most = four ? 32 : 128;
    ret_cidr->family = four ? 4 : 6;
    ret_cidr->bits = (uint8_t)most;
    if (bytes < text.bytes && !parse_bits(slice_skip(text, bytes + 1), most, &ret_cidr->bits)) {
        return false;
    }
    /* What is behind the prefix must be zero: a block that is written otherwise is a slip. */
    for (unsigned bit = ret_cidr->bits; bit < most; bit++) {
        if (ret_cidr->at[bit / 8] >> (7 - bit % 8) & 1) {
            return false;
        }
    }
    if (!four && ret_cidr->bits >= 96 && memcmp(ret_cidr->at, mapped, sizeof mapped) == 0) {
        memmove(ret_cidr->at, ret_cidr->at + 12, 4);
        memcpy(ret_cidr->at + 4, zero, 12);
        ret_cidr->family = 4;
        ret_cidr->bits = (uint8_t)(ret_cidr->bits - 96);
    }
    return true;
}

bool cidr_contains(const struct cidr *cidr, uint8_t family, const uint8_t *address)
{
    if (family == 6 && memcmp(address, mapped, sizeof mapped) == 0) {
        family = 4;
        address += 12;
    }
    return family == cidr->family && same_bits(cidr->at, address, cidr->bits);
}
