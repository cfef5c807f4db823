/* sim_internal.h - what the parts of the simulator tell each other. Not for scenarios. */
#ifndef SIM_SIM_INTERNAL_H
#define SIM_SIM_INTERNAL_H

#include "sim.h"

#define SIM_NEVER UINT64_MAX
#define US        1000ULL
#define SECTOR    512U

/* Frames and blocks of files are written from the beginning of a sector on: by its first word one
 * that was used is told from one that was not. */
static inline uint64_t sector_word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

#if defined(__SANITIZE_ADDRESS__)
#define SIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIM_ASAN 1
#endif
#endif
#ifndef SIM_ASAN
#define SIM_ASAN 0
#endif

/* Wait until `due(context)` is at most now, or the deadline. */
typedef uint64_t sim_due_fn(void *context);
void sim_wait(sim_due_fn *due, void *context, uint64_t deadline_ns);
void sim_advance(uint64_t ns);
/* Changes with every event and every operation; what was computed under an older epoch is stale. */
uint64_t sim_epoch(void);
void sim_touch(void);
void sim_trace(uint64_t word);
int64_t sim_wall_ns(void);

/* ---- network (net_sim.c): sockets are ends of connections, used by rings and by scripted peers */
struct sim_socket;
struct sim_listener;

struct sim_listener *net_listen(struct ring_address *address, bool reuse_port, unsigned backlog,
                                enum bk_err *ret_err);
/* Another reference, as of a descriptor that was handed on: the last one closes it. */
void net_listener_share(struct sim_listener *listener);
void net_listener_close(struct sim_listener *listener);
/* NULL when nothing waits. The caller owns the socket. */
struct sim_socket *net_accept(struct sim_listener *listener);
bool net_accept_ready(const struct sim_listener *listener);

/* Runs as an event: socket != NULL once connected, else the error. */
typedef void net_connected_fn(void *context, uint64_t number, struct sim_socket *socket,
                              enum bk_err err);
void net_connect(const struct ring_address *from, const struct ring_address *to,
                 net_connected_fn *connected, void *context, uint64_t number);

/* The owner is told (as an event) when something arrived or room was made. */
typedef void net_notify_fn(void *context);
/* The same for a listener: somebody waits to be accepted. Its context must outlive the event. */
void net_listener_notify(struct sim_listener *listener, net_notify_fn *notify, void *context);
void net_notify(struct sim_socket *socket, net_notify_fn *notify, void *context);
struct ring_address net_peer(const struct sim_socket *socket);
/* When the other end was accepted; 0 = it was not. */
uint64_t net_accepted_ns(const struct sim_socket *socket);
size_t net_available(const struct sim_socket *socket);
size_t net_read(struct sim_socket *socket, void *at, size_t bytes);
bool net_eof(const struct sim_socket *socket);
bool net_reset(const struct sim_socket *socket);  /* and nothing left to read */
bool net_broken(const struct sim_socket *socket); /* writing is in vain */
size_t net_room(const struct sim_socket *socket);
void net_write(struct sim_socket *socket, const void *at, size_t bytes);
void net_shutdown(struct sim_socket *socket);
/* The owner lets go; abort = with a reset. */
void net_close(struct sim_socket *socket, bool abort);
void net_begin(void);
void net_end(void);

/* ---- disk */
struct disk_write;
bool disk_writable(int file);
int disk_file_share(int file); /* another reference, for a ring's table */
void disk_file_release(int file);
struct disk_write *disk_write_begin(int file, const void *at, size_t bytes, uint64_t offset,
                                    bool durable);
/* When it will complete, and the end of it: value as in ring_write. */
uint64_t disk_write_due(const struct disk_write *write);
int32_t disk_write_finish(struct disk_write *write, const void *at);
void disk_write_abandon(struct disk_write *write);
void disk_begin(void);
void disk_end(void);

/* ---- rings */
void rings_end(void);

#endif
