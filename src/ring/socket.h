/* socket.h - listening sockets of the operating system: made, looked at, handed on.
 *
 * Purpose     A listener outlives a process when its socket is handed to the next one (socket
 *             activation, `serve --take-over`): connections then wait in its queue, none is
 *             refused. ring_listen_on() puts one to work.
 * Ownership   A socket is a plain descriptor of the caller's; a ring keeps its own reference.
 * Threads     Any; blocking, for start-up.
 */
#ifndef BECKET_RING_SOCKET_H
#define BECKET_RING_SOCKET_H

#include "ring/ring.h"

/* Bind and listen. reuse_port: one socket per core on one address. *address gets the port when it
 * was 0. BK_BUSY address in use, BK_PERMISSION, BK_INVALID. */
enum bk_err socket_listen(struct ring_address *address, bool reuse_port, unsigned backlog,
                          int *ret_socket) BK_MUST_CHECK;
/* Where an inherited socket listens. BK_INVALID: it is no listening TCP socket. */
enum bk_err socket_address(int socket, struct ring_address *ret_address) BK_MUST_CHECK;
void socket_close(int socket);
/* For an address that may become free in a moment. */
void socket_pause(unsigned ms);

#endif
