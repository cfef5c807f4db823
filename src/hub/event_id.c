#include "hub/event_id.h"

#include "base/time.h"

static const char alphabet[33] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void event_id_format(struct journal_position position, int64_t received_ns, char ret_text[EVENT_ID_BYTES])
{
    uint64_t high = (uint64_t)(received_ns / NS_PER_MS) << 16 | position.journal;
    uint64_t low = position.sequence;
    memcpy(ret_text, "evt_", 4);
    /* 26 characters hold 130 bits: the first one carries only the top three. Twelve digits are taken
     * from one word each, so that no step waits for the one before. */
    uint64_t middle = low >> 60 | high << 4;
#pragma GCC unroll 12
    for (unsigned i = 0; i < 12; i++) {
        ret_text[EVENT_ID_BYTES - 1 - i] = alphabet[low >> (5 * i) & 31];
        ret_text[EVENT_ID_BYTES - 13 - i] = alphabet[middle >> (5 * i) & 31];
    }
    ret_text[4] = alphabet[high >> 61];
    ret_text[5] = alphabet[high >> 56 & 31];
}

static int digit_of(uint8_t c)
{
    uint8_t upper = (uint8_t)(c >= 'a' && c <= 'z' ? c - 32 : c);
    const char *at = upper ? memchr(alphabet, upper, 32) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

bool event_id_parse(struct slice text, struct journal_position *ret_position, int64_t *ret_received_ms)
{
    if (text.bytes != EVENT_ID_BYTES || memcmp(text.at, "evt_", 4) != 0 || digit_of(text.at[4]) > 7) {
        return false;
    }
    uint64_t high = 0, low = 0;
    for (unsigned i = 4; i < EVENT_ID_BYTES; i++) {
        int digit = digit_of(text.at[i]);
        if (digit < 0) {
            return false;
        }
        high = high << 5 | low >> 59;
        low = low << 5 | (uint64_t)digit;
    }
    if (low == 0 || low >> 48) {
        return false;
    }
    *ret_position = (struct journal_position){(uint16_t)(high & 0xffff), low};
    if (ret_received_ms) {
        *ret_received_ms = (int64_t)(high >> 16);
    }
    return true;
}
