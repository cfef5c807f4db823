/* clock.h - the clocks, for commands that have no ring. */
#ifndef BECKET_CLI_CLOCK_H
#define BECKET_CLI_CLOCK_H

#include "base/time.h"

#include <time.h>

static inline int64_t clock_read_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

/* Since 1970. */
static inline int64_t clock_wall_ns(void)
{
    return clock_read_ns(CLOCK_REALTIME);
}

/* It never goes back. */
static inline int64_t clock_steady_ms(void)
{
    return clock_read_ns(CLOCK_MONOTONIC) / NS_PER_MS;
}

#endif
