/* cidr.h - blocks of addresses, for lists of who may do something.
 *
 * Purpose     "192.30.252.0/22", "2606:50c0::/32", or one address. An IPv4 address that came as
 *             IPv6 (::ffff:a.b.c.d) is the IPv4 address.
 * Source      RFC 4632, RFC 4291 2.5.5.2.
 */
#ifndef BECKET_BASE_CIDR_H
#define BECKET_BASE_CIDR_H

#include "base/slice.h"

struct cidr {
    uint8_t family; /* 4 or 6 */
    uint8_t bits;
    uint8_t at[16];
};

/* False: not an address, more bits than it has, or bits set behind the prefix. */
bool cidr_parse(struct slice text, struct cidr *ret_cidr);
/* Is the address (4 or 16 bytes, by its family) in the block? */
bool cidr_contains(const struct cidr *cidr, uint8_t family, const uint8_t *address);

#endif
