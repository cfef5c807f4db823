#include "base/der.h"

#include "base/assert.h"

bool der_take(struct slice *rest, uint8_t tag, struct slice *ret_value)
{
    bk_assert(rest != NULL && ret_value != NULL);
    if (rest->bytes < 2 || rest->at[0] != tag) {
        return false;
    }
    size_t bytes = rest->at[1], header = 2;
    if (bytes >= 0x80) {
        size_t count = bytes & 0x7f;
        if (count == 0 || count > 3 || rest->bytes < 2 + count) {
            return false;
        }
        bytes = 0;
        for (size_t i = 0; i < count; i++) {
            bytes = bytes << 8 | rest->at[2 + i];
        }
        header += count;
        /* The shortest form is the only one. */
        if (bytes < 0x80 || (count > 1 && bytes >> 8 * (count - 1) == 0)) {
            return false;
        }
    }
    if (bytes > rest->bytes - header) {
        return false;
    }
    *ret_value = slice_of(rest->at + header, bytes);
    *rest = slice_of(rest->at + header + bytes, rest->bytes - header - bytes);
    return true;
}

bool der_take_any(struct slice *rest, uint8_t *ret_tag, struct slice *ret_value)
{
    *ret_tag = rest->bytes != 0 ? rest->at[0] : 0;
    return (*ret_tag & 0x1f) != 0x1f && der_take(rest, *ret_tag, ret_value);
}

bool der_take_unsigned(struct slice *rest, struct slice *ret_number)
{
    struct slice value;
    if (!der_take(rest, DER_INTEGER, &value) || value.bytes == 0 || value.at[0] >= 0x80) {
        return false;
    }
    if (value.bytes > 1 && value.at[0] == 0) {
        if (value.at[1] < 0x80) {
            return false;
        }
        value = slice_of(value.at + 1, value.bytes - 1);
    }
    *ret_number = value;
    return true;
}

bool der_take_bits(struct slice *rest, struct slice *ret_bytes)
{
    struct slice value;
    if (!der_take(rest, DER_BIT_STRING, &value) || value.bytes == 0 || value.at[0] != 0) {
        return false;
    }
    *ret_bytes = slice_of(value.at + 1, value.bytes - 1);
    return true;
}
