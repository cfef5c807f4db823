#include "hub/events/event_id.h"

#include "base/time.h"

static const char alphabet[33] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
static char pairs[1024][2];

__attribute__((constructor)) static void pairs_init(void)
{
    for (unsigned i = 0; i < 1024; i++) {
        pairs[i][0] = alphabet[i >> 5];
        pairs[i][1] = alphabet[i & 31];
    }
}

void event_id_format(struct journal_position position, int64_t received_ns,
                     char ret_text[EVENT_ID_BYTES])
{
    uint64_t high = (uint64_t)(received_ns / NS_PER_MS) << 16 | position.journal;
    uint64_t low = position.sequence;
    memcpy(ret_text, "evt_", 4);
    /* 26 characters hold 130 bits: the first one carries only the top three. Pairs come from a
     * table, twelve characters from one word each, so that no step waits for the one before. */
    uint64_t middle = low >> 60 | high << 4;
    char *end = ret_text + EVENT_ID_BYTES;
#pragma GCC unroll 6
    for (unsigned i = 0; i < 6; i++) {
        memcpy(end - 2 - 2 * i, pairs[low >> (10 * i) & 1023], 2);
        memcpy(end - 14 - 2 * i, pairs[middle >> (10 * i) & 1023], 2);
    }
    memcpy(ret_text + 4, pairs[high >> 56], 2);
}

static int digit_of(uint8_t c)
{
    uint8_t upper = (uint8_t)(c >= 'a' && c <= 'z' ? c - 32 : c);
    const char *at = upper ? memchr(alphabet, upper, 32) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

bool event_id_parse(struct slice text, struct journal_position *ret_position,
                    int64_t *ret_received_ms)
{
    if (text.bytes != EVENT_ID_BYTES || memcmp(text.at, "evt_", 4) != 0 ||
        digit_of(text.at[4]) > 7) {
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
