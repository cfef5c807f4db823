/* http_guard.h - input whose neighbours must not be touched, and a random source with a seed. */
#ifndef TESTS_UNIT_HTTP_GUARD_H
#define TESTS_UNIT_HTTP_GUARD_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUARD_BYTES 65536U

/* GUARD_BYTES bytes with a page before and behind that may not be read. */
static inline uint8_t *guard_new(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t bytes = GUARD_BYTES + 2 * page;
    uint8_t *map = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED || mprotect(map + page, GUARD_BYTES, PROT_READ | PROT_WRITE) != 0) {
        abort();
    }
    return map + page;
}

/* The bytes right behind the first guard page, or right in front of the second. */
static inline uint8_t *guard_low(uint8_t *guard, const void *bytes, size_t count)
{
    return memcpy(guard, bytes, count);
}

static inline uint8_t *guard_high(uint8_t *guard, const void *bytes, size_t count)
{
    return memcpy(guard + GUARD_BYTES - count, bytes, count);
}

/* xorshift64*: the same numbers everywhere. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

static inline unsigned random_below(uint64_t *state, unsigned bound)
{
    return (unsigned)((random_next(state) >> 33) % bound);
}

#endif
