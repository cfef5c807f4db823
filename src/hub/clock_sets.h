/* clock_sets.h - how far the wall clock was set back, all sets in one; 0 0 = never.
 *
 * Purpose     A route and a link are for events that come after them, and both have wall times.
 *             What was made before the clock was set back says that it is younger than events that
 *             came later: it counts as made when the clock was set. Kept over starts (hub/hub.h).
 */
#ifndef BECKET_HUB_CLOCK_SETS_H
#define BECKET_HUB_CLOCK_SETS_H

#include <stdint.h>

struct clock_sets {
    int64_t low_ns, high_ns;
};

/* When what was made then began, for events that came later. */
static inline int64_t clock_since_ns(struct clock_sets sets, int64_t made_ns)
{
    return made_ns > sets.low_ns && made_ns <= sets.high_ns ? sets.low_ns : made_ns;
}

#endif
