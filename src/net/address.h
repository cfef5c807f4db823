/* address.h - IP addresses as text: strict reading, canonical writing.
 *
 * Purpose     One reading of an address for policy, resolver and configuration. Only the usual
 *             forms count: four decimal numbers without leading zeros, or IPv6 as RFC 4291 writes
 *             it. What inet_aton() would also take (127.1, 0x7f.1, 0177.0.0.1, 2130706433) is no
 *             address here, so that nobody reads the same text in two ways.
 * Threads     Pure; any.
 */
#ifndef BECKET_NET_ADDRESS_H
#define BECKET_NET_ADDRESS_H

#include "ring/ring.h"

#define ADDRESS_TEXT_BYTES 48U /* longest IPv6 text and its zero */

/* An address without brackets, port or zone; v4-mapped IPv6 becomes IPv4, as struct ring_address
 * wants it. port is left 0. false: it is none, *ret_address is untouched. */
bool address_parse(struct slice text, struct ring_address *ret_address);
/* ADDR, ADDR:PORT, V6, [V6] or [V6]:PORT; port_default where none is given. Port 0 is refused. */
bool address_parse_port(struct slice text, uint16_t port_default, struct ring_address *ret_address);
/* 127.0.0.0/8 or ::1. A host that may be a name: dns_is_loopback(). */
bool address_is_loopback(const struct ring_address *address);
/* RFC 5952, without port; "?" for an unknown family. */
void address_format(const struct ring_address *address, char ret_text[ADDRESS_TEXT_BYTES]);

#endif
