#include "base/ct.h"

#include "base/assert.h"

/* Hides a value from the optimiser, so that it cannot turn the loop into one with an early exit. */
static inline uint64_t hide(uint64_t value)
{
    __asm__("" : "+r"(value));
    return value;
}

bool bk_ct_equal(const void *a, const void *b, size_t bytes)
{
    bk_assert(bytes == 0 || (a != NULL && b != NULL));
    const uint8_t *x = (const uint8_t *)a;
    const uint8_t *y = (const uint8_t *)b;
    uint64_t differ = 0;
    size_t i = 0;
    for (; i + 8 <= bytes; i += 8) {
        uint64_t p, q;
        memcpy(&p, x + i, 8);
        memcpy(&q, y + i, 8);
        differ |= hide(p ^ q);
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
