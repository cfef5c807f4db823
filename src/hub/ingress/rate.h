/* rate.h - a source's rate limit, over all cores (GCRA).
 *
 * Threads     Any; struct source_state is shared by cores and by the versions of a source.
 */
#ifndef BECKET_HUB_RATE_H
#define BECKET_HUB_RATE_H

#include "base/time.h"
#include "hub/ingress/source_table.h"

#define RATE_BURST 1 /* seconds of a source's rate that may come at once */

/* An event is allowed when its theoretical arrival is not further ahead than the burst. */
static inline bool rate_allows(const struct source *source, uint64_t now_ns)
{
    if (!source->interval_ns) {
        return true;
    }
    uint64_t arrival = atomic_load_explicit(&source->state->arrival_ns, memory_order_relaxed);
    uint64_t next;
    do {
        uint64_t base = arrival > now_ns ? arrival : now_ns;
        if (base - now_ns > RATE_BURST * (uint64_t)NS_PER_SECOND - source->interval_ns) {
            return false;
        }
        next = base + source->interval_ns;
    } while (!atomic_compare_exchange_weak_explicit(&source->state->arrival_ns, &arrival, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

/* Take back what rate_allows took, for a request that will be asked again. */
static inline void rate_refund(const struct source *source)
{
    if (source->interval_ns) {
        atomic_fetch_sub_explicit(&source->state->arrival_ns, source->interval_ns,
                                  memory_order_relaxed);
    }
}

#endif
