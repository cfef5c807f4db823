/* counter.h - numbers that one thread writes and any thread may read.
 *
 * Purpose     Statistics of a core, read for /metrics while the core goes on. Plain loads and
 *             stores on every machine we know, but told to the compiler, so that no value is torn
 *             and the thread sanitizer stays quiet about them and loud about the rest.
 * Threads     One writer per counter. Two counters read together need not belong together.
 */
#ifndef BECKET_BASE_COUNTER_H
#define BECKET_BASE_COUNTER_H

#include <stdint.h>

static inline void counter_set(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

static inline void counter_add(uint64_t *counter, uint64_t count)
{
    counter_set(counter, *counter + count);
}

static inline uint64_t counter_read(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

#endif
