#include "hub/ingress/share.h"

#include "hub/ingress/counters.h"

bool share_of_full(struct ingress *ingress, uint64_t number, uint64_t cost)
{
    struct metrics_source *own = counters_of(ingress, number);
    share_open(ingress, own);
    return own->share_bytes == 0 ||
           own->share_bytes + cost <= JOURNAL_FRAME_BYTES / 4 * 3 / ingress->share_sources;
}
