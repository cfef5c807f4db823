/* crc32c: known values (RFC 3720 B.4), vector code against the table on every length, alignment and
 * split. */
#include "base/crc32c.h"
#include "tap.h"

static uint64_t state = 0x9e3779b97f4a7c15U;

static uint64_t next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Bit by bit: the definition. */
static uint32_t slow(uint32_t seed, const uint8_t *p, size_t bytes)
{
    uint32_t crc = ~seed;
    for (; bytes != 0; bytes--, p++) {
        crc ^= *p;
        for (int bit = 0; bit < 8; bit++) {
            crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78U : 0);
        }
    }
    return ~crc;
}

static void known(void)
{
    uint8_t bytes[32];
    is_uint(crc32c(0, NULL, 0), 0);
    is_uint(crc32c(0, "123456789", 9), 0xe3069283U);
    memset(bytes, 0, sizeof bytes);
    is_uint(crc32c(0, bytes, 32), 0x8a9136aaU);
    memset(bytes, 0xff, sizeof bytes);
    is_uint(crc32c(0, bytes, 32), 0x62a8ab43U);
    for (unsigned i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)i;
    }
    is_uint(crc32c(0, bytes, 32), 0x46dd794eU);
    for (unsigned i = 0; i < 32; i++) {
        bytes[i] = (uint8_t)(31 - i);
    }
    is_uint(crc32c(0, bytes, 32), 0x113fdb5cU);
}

int main(void)
{
    static uint8_t bytes[20000];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)next();
    }
    known();

    unsigned wrong = 0;
    for (size_t n = 0; n < 7000; n += 1 + n / 300) {
        size_t at = next() % 64;
        uint32_t seed = (uint32_t)next();
        uint32_t want = slow(seed, bytes + at, n);
        wrong += crc32c(seed, bytes + at, n) != want;
        wrong += crc32c_portable(seed, bytes + at, n) != want;
    }
    is_uint(wrong, 0, "every length and any alignment equals the definition");

    wrong = 0;
    uint32_t whole = crc32c(0, bytes, sizeof bytes);
    for (int round = 0; round < 2000; round++) {
        size_t a = next() % sizeof bytes, b = a + next() % (sizeof bytes - a);
        uint32_t crc =
            crc32c(crc32c(crc32c(0, bytes, a), bytes + a, b - a), bytes + b, sizeof bytes - b);
        wrong += crc != whole;
    }
    is_uint(wrong, 0, "chained over any split");

    wrong = 0;
    for (size_t bit = 0; bit < 8 * 1024; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        wrong += crc32c(0, bytes, sizeof bytes) == whole;
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    is_uint(wrong, 0, "every flipped bit is seen");
    return done_testing();
}
