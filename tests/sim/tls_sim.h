/* tls_sim.h - the server's end of TLS for receivers of the simulator.
 *
 * Purpose     Plain BearSSL, not src/tls: another one than the client under test. Certificates are
 *             those of tests/vectors/tls, sessions are resumed, randomness is the simulator's, so a
 *             run is repeated by its seed. It does no I/O; its owner moves the bytes, and cuts,
 *             spoils or delays them.
 * Threads     Events of the simulator.
 */
#ifndef SIM_TLS_SIM_H
#define SIM_TLS_SIM_H

#include "base/slice.h"

#include <stdbool.h>

struct tls_peer;

/* What the client has to believe: PEM. The certificate is for 127.0.0.1, from 2026-11-26 on. */
struct slice tls_sim_ca(void);
void tls_sim_begin(void);
void tls_sim_end(void);

struct tls_peer *tls_peer_open(void);
void tls_peer_close(struct tls_peer *peer);
/* Bytes from the client. */
void tls_peer_received(struct tls_peer *peer, const uint8_t *at, size_t bytes);
/* Plain text that came; gone when it is taken. */
struct slice tls_peer_plain(struct tls_peer *peer);
void tls_peer_plain_take(struct tls_peer *peer);
/* Plain text for the client. Returns how much was taken: 0 while something is to be sent. */
size_t tls_peer_write(struct tls_peer *peer, const uint8_t *at, size_t bytes);
/* Bytes for the client; stay until they are sent. May be changed. */
uint8_t *tls_peer_pending(struct tls_peer *peer, size_t *ret_bytes);
void tls_peer_sent(struct tls_peer *peer, size_t bytes);
/* The handshake is over. */
bool tls_peer_ready(const struct tls_peer *peer);
/* Closed by either side, or failed. */
bool tls_peer_over(const struct tls_peer *peer);
/* Say close_notify. */
void tls_peer_goodbye(struct tls_peer *peer);
/* Ask for another handshake (HelloRequest). */
void tls_peer_renegotiate(struct tls_peer *peer);

#endif
