/* pack.h - numbers and texts in the binary parts of records: written in order, read back in order.
 *
 * Numbers are big-endian; a text is a u16 of its bytes and the bytes. The readers return false, and
 * change nothing, when there is not enough. Texts point into what they were read from.
 */
#ifndef BECKET_HUB_PACK_H
#define BECKET_HUB_PACK_H

#include "base/assert.h"
#include "base/buf.h"
#include "store/keys.h"

static inline void pack_u64(struct buf *bytes, uint64_t number)
{
    uint8_t at[8];
    key_put_u64(at, number);
    buf_add(bytes, at, sizeof at);
}

static inline void pack_text(struct buf *bytes, struct slice text)
{
    bk_assert(text.bytes <= UINT16_MAX);
    buf_add_byte(bytes, (uint8_t)(text.bytes >> 8));
    buf_add_byte(bytes, (uint8_t)text.bytes);
    buf_add_slice(bytes, text);
}

static inline bool unpack_byte(struct slice *rest, uint8_t *ret_byte)
{
    if (rest->bytes < 1) {
        return false;
    }
    *ret_byte = rest->at[0];
    *rest = slice_of(rest->at + 1, rest->bytes - 1);
    return true;
}

static inline bool unpack_u64(struct slice *rest, uint64_t *ret_number)
{
    if (rest->bytes < 8) {
        return false;
    }
    *ret_number = key_get_u64(rest->at);
    *rest = slice_of(rest->at + 8, rest->bytes - 8);
    return true;
}

static inline bool unpack_text(struct slice *rest, size_t bytes_max, struct slice *ret_text)
{
    if (rest->bytes < 2) {
        return false;
    }
    size_t bytes = (size_t)rest->at[0] << 8 | rest->at[1];
    if (bytes > rest->bytes - 2 || bytes > bytes_max) {
        return false;
    }
    *ret_text = slice_of(rest->at + 2, bytes);
    *rest = slice_of(rest->at + 2 + bytes, rest->bytes - 2 - bytes);
    return true;
}

#endif
