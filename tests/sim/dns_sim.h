/* dns_sim.h - the names of the simulated world, for scenarios. */
#ifndef SIM_DNS_SIM_H
#define SIM_DNS_SIM_H

#include "net/address.h"

/* From now on `name` has these addresses (ports do not matter); with err it fails. Names that were
 * never set do not exist. Forgotten when the last resolver closes. */
void sim_dns_set(const char *name, const struct ring_address *addresses, unsigned count,
                 enum bk_err err);
/* A lookup of a name takes up to so long; every second one is answered at once, as from a cache. */
void sim_dns_delay(uint32_t delay_us);

#endif
