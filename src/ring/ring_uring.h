/* ring_uring.h - the io_uring ring as its parts see it: for src/ring/ring_uring*.c only.
 *
 * Facts about each feature: io_uring_setup(2), io_uring_enter(2) and the liburing manual pages.
 * Works with liburing 2.3 and later; what its headers may lack is defined here and probed when the
 * ring opens (ring_uring_open.c). */
#ifndef BECKET_RING_URING_H
#define BECKET_RING_URING_H

#include "ring/ring.h"

#include <liburing.h>
#include <stdatomic.h>
#include <sys/socket.h>

/* Newer than the headers of liburing 2.3. */
#if defined(IO_URING_VERSION_MAJOR) && (IO_URING_VERSION_MAJOR > 2 || IO_URING_VERSION_MINOR >= 8)
#define HAVE_MIN_TIMEOUT 1
#else
#define HAVE_MIN_TIMEOUT 0
#endif
#define OP_SOCKET                 45
#define OP_URING_CMD              46
#define SOCKET_COMMAND_GETSOCKOPT 2
#define SO_PEERNAME_OPTION        28

/* The first handles are ours to place (listeners, journal files, the signal descriptor); the kernel
 * allocates accepted and connected sockets from the rest. */
#define HANDLES_RESERVED  64U
#define CONNECT_ADDRESSES 64U
#define PEER_LOOKUPS      256U
#define BUFFER_GROUP      0
/* The first bytes of all buffers would compete for a few places of the caches without it. */
#define BUFFER_GAP_BYTES 64U

/* user_data: a ring_op, or one of these, or a peer lookup (tag in the low bits). */
#define DATA_IGNORED  2ULL
#define DATA_DOORBELL 4ULL
#define DATA_PEER_TAG 1ULL

/* One accepted connection whose peer address is being asked for. */
struct peer_lookup {
    struct peer_lookup *next_free;
    struct ring_op *op;
    int32_t handle;
    int os_fd; /* without RING_FEATURE_PEER_COMMAND: to close once installed */
    struct sockaddr_storage address;
};

/* What a core's ring counts for in RLIMIT_MEMLOCK, at most. */
#define RING_LOCKED_BYTES (512U << 10)

struct ring {
    struct io_uring uring;
    struct ring_config config;
    struct ring_stats stats;
    uint64_t now_ns;
    int64_t wall_ns;
    _Atomic(struct ring_mail *) mailbox;
    bool table;                         /* ring_has_table(), and not told to do without */
    uint8_t table_flag;                 /* of every operation on a handle */
    unsigned handles_max;               /* without a table: sockets at once, … */
    _Atomic unsigned handles_used;      /* … which ring_pass() of another thread counts, too */
    uint64_t reserved_used;             /* bit per reserved handle */
    int32_t reserved[HANDLES_RESERVED]; /* without a table: which those are */
    struct io_uring_buf_ring *buffer_ring;
    uint8_t *buffers;
    uint16_t *buffers_stack; /* free ones that the kernel has not, the one used last on top */
    unsigned buffers_stacked;
    unsigned buffers_offered; /* to the kernel */
    unsigned receives;        /* armed */
    uint8_t *write_buffers;
    size_t write_buffers_bytes;
    bool write_buffers_pinned;
    bool files_known; /* a file was attached: */
    bool files_block; /* their file system keeps who submits a write until it is done */
    bool peer_command;
    bool min_timeout;
    bool restricted;
    unsigned gather_count;
    unsigned gather_us;
    unsigned lazy_sends; /* queued since the last enter */
    unsigned connect_count;
    struct sockaddr_storage connect_addresses[CONNECT_ADDRESSES];
    struct peer_lookup lookups[PEER_LOOKUPS];
    struct peer_lookup *lookups_free;
    int signal_fd;
    char features[160];
};

/* ---- ring_uring.c */

struct io_uring_sqe *ring_sqe_take(struct ring *ring);
void ring_clock_read(struct ring *ring);
void ring_prepare_peer_command(struct io_uring_sqe *sqe, int32_t handle, void *address,
                               uint32_t bytes);
/* A reserved handle for a descriptor; false = all are used. */
bool ring_reserved_install(struct ring *ring, int os_fd, int32_t *ret_handle);
void ring_reserved_remove(struct ring *ring, int32_t handle);

static inline uint8_t *ring_buffer_at(const struct ring *ring, unsigned buffer_id)
{
    return ring->buffers + (size_t)buffer_id * (ring->config.recv_buffer_bytes + BUFFER_GAP_BYTES);
}

#endif
