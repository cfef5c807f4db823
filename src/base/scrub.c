#include "base/scrub.h"

#include <string.h>

bool scrub_finds(struct slice text, struct slice secret)
{
    return secret.bytes >= SCRUB_BYTES_MIN && text.bytes >= secret.bytes &&
           memmem(text.at, text.bytes, secret.at, secret.bytes) != NULL;
}

unsigned scrub(void *at, size_t bytes, struct slice secret)
{
    uint8_t *rest = at;
    unsigned count = 0;
    while (scrub_finds(slice_of(rest, bytes), secret)) {
        uint8_t *found = memmem(rest, bytes, secret.at, secret.bytes);
        memset(found, '*', secret.bytes);
        bytes -= (size_t)(found - rest) + secret.bytes;
        rest = found + secret.bytes;
        count++;
    }
    return count;
}
