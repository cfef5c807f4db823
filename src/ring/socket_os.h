/* socket_os.h - private to ring/: addresses as the operating system has them. */
#ifndef BECKET_RING_SOCKET_OS_H
#define BECKET_RING_SOCKET_OS_H

#include "ring/ring.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

socklen_t address_to_os(const struct ring_address *address, struct sockaddr_storage *ret_os);
/* family 0: neither IPv4 nor IPv6. A v4-mapped address becomes IPv4. */
struct ring_address address_from_os(const struct sockaddr_storage *os);

#endif
