/* pinned.h - may a key be fetched from this URL? Pure. */
#ifndef BECKET_PROVIDERS_PINNED_H
#define BECKET_PROVIDERS_PINNED_H

#include "base/slice.h"

#define PINNED_REGION_BYTES_MAX 40U

/* sns.<region>.amazonaws.com, or the same below .cn; the region. */
bool pinned_sns(struct slice url, struct slice *ret_region, bool *ret_china);
/* One of the hosts, which are separated by blanks. */
bool pinned_one_of(struct slice url, const char *hosts);

#endif
