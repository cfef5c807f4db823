#include "base/ct.h"

#include "base/assert.h"

/* Hides a value from the optimiser, so that it cannot turn the loop into one with an early exit. */
static inline uint64_t hide(uint64_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

static inline uint64_t differ8(const uint8_t *x, const uint8_t *y)
{
    uint64_t p, q;
    memcpy(&p, x, 8);
    memcpy(&q, y, 8);
    return hide(p ^ q);
}

bool bk_ct_equal(const void *a, const void *b, size_t bytes)
{
    bk_assert(bytes == 0 || (a != NULL && b != NULL));
    const uint8_t *x = (const uint8_t *)a;
    const uint8_t *y = (const uint8_t *)b;
    uint64_t differ = 0;
    size_t i = 0;
    for (; i + 32 <= bytes; i += 32) { /* a SHA-256 */
        differ |= differ8(x + i, y + i) | differ8(x + i + 8, y + i + 8) |
                  differ8(x + i + 16, y + i + 16) | differ8(x + i + 24, y + i + 24);
    }
    for (; i + 8 <= bytes; i += 8) {
        differ |= differ8(x + i, y + i);
    }
    for (; i < bytes; i++) {
        differ |= hide((uint64_t)(x[i] ^ y[i]));
    }
    return hide(differ) == 0;
}

void bk_wipe(void *at, size_t bytes)
{
    if (bytes != 0) {
        bk_assert(at != NULL);
        explicit_bzero(at, bytes);
    }
}
