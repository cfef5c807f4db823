#include "http/message.h"

#include "base/assert.h"

/* Folds ASCII upper case in eight bytes at once; other bytes keep their value. */
static inline uint64_t lower8(uint64_t text)
{
    const uint64_t ones = 0x0101010101010101U, high = 0x80 * ones;
    uint64_t seven = text & ~high;
    uint64_t from_a = seven + (0x80 - 'A') * ones;
    uint64_t past_z = seven + (0x80 - 'Z' - 1) * ones;
    return text | ((from_a & ~past_z & ~text & high) >> 2);
}

static inline uint64_t load64(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, 8);
    return word;
}

/* Same length is known. The last eight bytes overlap those before, so there is no tail loop. */
static bool same_name(const uint8_t *name, const uint8_t *lower, size_t bytes)
{
    if (bytes < 8) {
        for (size_t i = 0; i < bytes; i++) {
            if (ascii_lower(name[i]) != lower[i]) {
                return false;
            }
        }
        return true;
    }
    for (size_t i = 0; i + 8 < bytes; i += 8) {
        if (lower8(load64(name + i)) != load64(lower + i)) {
            return false;
        }
    }
    return lower8(load64(name + bytes - 8)) == load64(lower + bytes - 8);
}

const struct http_header *http_find(const struct http_head *head, struct slice lower_name,
                                    unsigned *ret_count)
{
    bk_assert(head != NULL && lower_name.bytes != 0);
    const struct http_header *found = NULL;
    unsigned count = 0;
    for (unsigned i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        if (header->name_bytes == lower_name.bytes &&
            same_name(head->at + header->name_at, lower_name.at, lower_name.bytes)) {
            found = found != NULL ? found : header;
            count++;
            if (ret_count == NULL) {
                break;
            }
        }
    }
    if (ret_count != NULL) {
        *ret_count = count;
    }
    return found;
}
