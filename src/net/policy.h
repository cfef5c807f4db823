/* policy.h - may we connect to this address?
 *
 * Purpose     Destinations and providers are named by users, and DNS by anybody. This is asked for
 *             the very address that is connected to, after resolution, so neither an odd spelling
 *             nor a name that changes its answer leads into the host's own network.
 * Rule        Refused unless private addresses are allowed: everything that the registries of RFC
 *             6890 do not call globally reachable (loopback, private, link-local with the cloud's
 *             metadata address, CGNAT, documentation, reserved, unique local ...), and IPv6 forms
 *             that carry an IPv4 address (v4-mapped, v4-compatible, NAT64, 6to4, Teredo), whatever
 *             the inner one is. Refused always: multicast and broadcast, also as an inner address,
 *             for no TCP connection can go there.
 * Threads     Pure; any.
 */
#ifndef BECKET_NET_POLICY_H
#define BECKET_NET_POLICY_H

#include "net/address.h"

#define POLICY_WHY_BYTES 256U

/* BK_OK, or BK_FORBIDDEN with one line of words: the address, what it is, what would allow it. */
enum bk_err policy_check(const struct ring_address *address, bool allow_private,
                         char ret_why[POLICY_WHY_BYTES]) BK_MUST_CHECK;
/* Keep those that may be connected to, in their order. Returns how many are left; when none is,
 * ret_why says why the first was refused. */
unsigned policy_filter(struct ring_address *addresses, unsigned count, bool allow_private,
                       char ret_why[POLICY_WHY_BYTES]);

#endif
