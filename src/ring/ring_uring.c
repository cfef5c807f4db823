/* ring_uring.c - ring.h on io_uring: operations, completions, the turn. Opening a ring is in
 * ring_uring_open.c. */
#include "ring/ring_uring.h"

#include "base/assert.h"
#include "base/pages.h"
#include "ring/file_magic.h"
#include "ring/socket.h"
#include "ring/socket_os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef IORING_FILE_INDEX_ALLOC
#define IORING_FILE_INDEX_ALLOC (~0U)
#endif
#define MESSAGE_SEND_FD 1 /* of a message: a descriptor, … */
#define MESSAGE_QUIET   1 /* … and no completion over there */

#define ACCEPT_ARMED        ((uint64_t)1 << 32)
#define REAP_BATCH          128U
#define ACCEPTS_PLAIN       32U /* without a table: armed at once, and what one turn can bring */
#define BUFFERS_OFFERED_MIN 64U
#define LAZY_US             100U /* how long completions of lazy sends alone may wait */

enum op_kind {
    OP_PLAIN,
    OP_ACCEPT,
    OP_RECV,
    OP_SEND,
    OP_CONNECT_INSTALL,
    OP_CONNECT,
    OP_CLOSE,
    OP_PASS,
    OP_POLL,
    OP_SIGNALS
};

/* ---- submission queue */

void ring_submit(struct ring *ring)
{
    if (io_uring_sq_ready(&ring->uring) == 0) {
        return;
    }
    ring->stats.enters++;
    int rc = io_uring_submit(&ring->uring);
    bk_assert(rc >= 0 || rc == -EBUSY || rc == -EAGAIN || rc == -EINTR);
    ring->connect_count = 0;
    ring->lazy_sends = 0;
}

struct io_uring_sqe *ring_sqe_take(struct ring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    /* A full queue is normal in a burst: submit what is there. Under completion back-pressure
     * (-EBUSY) the kernel needs us to reap first; get_events lets it flush. */
    for (unsigned tries = 0; !sqe; tries++) {
        bk_assert(tries < 1000);
        ring_submit(ring);
        sqe = io_uring_get_sqe(&ring->uring);
        if (!sqe) {
            io_uring_get_events(&ring->uring);
        }
    }
    ring->stats.submitted++;
    return sqe;
}

static void op_begin(struct ring_op *op, ring_done_fn *done, enum op_kind kind)
{
    bk_assert(op->inflight == 0);
    bk_assert(done);
    op->done = done;
    op->inflight = 1;
    op->kind = kind;
}

static void sqe_bind(struct io_uring_sqe *sqe, struct ring_op *op)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)op);
}

/* ---- clock and entropy */

void ring_clock_read(struct ring *ring)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    ring->now_ns = (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
    clock_gettime(CLOCK_REALTIME, &now);
    ring->wall_ns = (int64_t)now.tv_sec * 1000000000LL + now.tv_nsec;
}

uint64_t ring_now_ns(const struct ring *ring)
{
    return ring->now_ns;
}

int64_t ring_wall_ns(const struct ring *ring)
{
    return ring->wall_ns;
}

uint64_t ring_clock_ns(const struct ring *ring)
{
    (void)ring;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

void ring_entropy(void *at, size_t bytes)
{
    uint8_t *next = at;
    while (bytes) {
        ssize_t got = getrandom(next, bytes, 0);
        bk_assert(got > 0 || errno == EINTR);
        if (got > 0) {
            next += got;
            bytes -= (size_t)got;
        }
    }
}

/* ---- handles: places in the table, or the descriptors themselves (ring_uring.h) */

static void handle_uncount(struct ring *ring)
{
    atomic_fetch_sub_explicit(&ring->handles_used, 1, memory_order_relaxed);
}

static bool handle_count(struct ring *ring)
{
    if (atomic_fetch_add_explicit(&ring->handles_used, 1, memory_order_relaxed) <
        ring->handles_max) {
        return true;
    }
    handle_uncount(ring);
    return false;
}

static bool reserved_fill(struct ring *ring, unsigned place, int os_fd)
{
    if (ring->table) {
        ring->reserved[place] = (int32_t)place;
        return io_uring_register_files_update(&ring->uring, place, &os_fd, 1) == 1;
    }
    ring->reserved[place] = fcntl(os_fd, F_DUPFD_CLOEXEC, 0);
    return ring->reserved[place] >= 0;
}

bool ring_reserved_install(struct ring *ring, int os_fd, int32_t *ret_handle)
{
    for (unsigned i = 0; i < HANDLES_RESERVED; i++) {
        if (!(ring->reserved_used >> i & 1)) {
            if (!reserved_fill(ring, i, os_fd)) {
                return false;
            }
            ring->reserved_used |= 1ULL << i;
            *ret_handle = ring->reserved[i];
            return true;
        }
    }
    return false;
}

void ring_reserved_remove(struct ring *ring, int32_t handle)
{
    int none = -1;
    (void)io_uring_register_files_update(&ring->uring, (unsigned)handle, &none, 1);
    ring->reserved_used &= ~(1ULL << handle);
}

/* Where a reserved handle is; HANDLES_RESERVED for any other. Asked before it is closed: behind
 * that, its number may be somebody else's. */
static unsigned reserved_place_of(const struct ring *ring, int32_t handle)
{
    if (ring->table) {
        return handle < (int32_t)HANDLES_RESERVED ? (unsigned)handle : HANDLES_RESERVED;
    }
    unsigned place = 0;
    while (place < HANDLES_RESERVED &&
           !(ring->reserved_used >> place & 1 && ring->reserved[place] == handle)) {
        place++;
    }
    return place;
}

/* It was closed. */
static void handle_forget(struct ring *ring, unsigned place)
{
    if (place < HANDLES_RESERVED) {
        ring->reserved_used &= ~(1ULL << place);
    } else if (!ring->table) {
        handle_uncount(ring);
    }
}

/* ---- listening and accepting */

/* Written by offset: the fields have no name in liburing 2.3's header. */
void ring_prepare_peer_command(struct io_uring_sqe *sqe, int32_t handle, void *address,
                               uint32_t bytes)
{
    memset(sqe, 0, sizeof *sqe);
    sqe->opcode = OP_URING_CMD;
    sqe->fd = handle;
    sqe->flags = IOSQE_FIXED_FILE;
    sqe->off = SOCKET_COMMAND_GETSOCKOPT;
    sqe->addr = (uint64_t)SOL_SOCKET | (uint64_t)SO_PEERNAME_OPTION << 32;
    uint64_t option_value = (uint64_t)(uintptr_t)address;
    memcpy((uint8_t *)sqe + 44, &bytes, sizeof bytes);
    memcpy((uint8_t *)sqe + 48, &option_value, sizeof option_value);
}

enum bk_err ring_listen_on(struct ring *ring, int socket, int32_t *ret_handle)
{
    /* Inherited by accepted sockets. Who vanished without a word is noticed after 20 s + 3 * 5 s
     * of silence. */
    int on = 1, idle_s = 20, between_s = 5, probes = 3;
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    (void)setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &between_s, sizeof between_s);
    (void)setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    return ring_reserved_install(ring, socket, ret_handle) ? BK_OK : BK_NO_DESCRIPTORS;
}

enum bk_err ring_listen(struct ring *ring, struct ring_address *address, bool reuse_port,
                        unsigned backlog, int32_t *ret_handle)
{
    int socket;
    enum bk_err err = socket_listen(address, reuse_port, backlog, &socket);
    if (err == BK_OK) {
        err = ring_listen_on(ring, socket, ret_handle);
        socket_close(socket); /* the handle keeps it open */
    }
    return err;
}

enum bk_err ring_address_probe(const struct ring_address *address)
{
    struct sockaddr_storage os;
    socklen_t os_bytes = address_to_os(address, &os);
    int fd = socket(os.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0) {
        return bk_err_from_errno(errno);
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    bool free = bind(fd, (struct sockaddr *)&os, os_bytes) == 0 && listen(fd, 1) == 0;
    enum bk_err err = free ? BK_OK : bk_err_from_errno(errno);
    close(fd);
    return err;
}

static void accept_submit(struct ring *ring, struct ring_op *op, int32_t listener)
{
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    if (!ring->table) {
        io_uring_prep_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    } else if (ring->peer_command) {
        io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
    } else {
        io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    }
    sqe->flags |= ring->table_flag;
    sqe_bind(sqe, op);
}

static uint64_t accepts_armed(const struct ring_op *op)
{
    return op->private_[0] / ACCEPT_ARMED;
}

/* Without a table, as many as there is room for: a multishot would go on when there is no more. */
static void accepts_arm(struct ring *ring, struct ring_op *op)
{
    uint64_t used = atomic_load_explicit(&ring->handles_used, memory_order_relaxed);
    while (accepts_armed(op) < ACCEPTS_PLAIN && used + (accepts_armed(op)) < ring->handles_max) {
        op->private_[0] += ACCEPT_ARMED;
        accept_submit(ring, op, (int32_t)(uint32_t)op->private_[0]);
    }
}

/* With a table, private_[0] counts lookups under way; private_[1] holds the final result (plus one,
 * as it is negative or zero) until they are done, so that `more == false` always comes last.
 * Without one, private_[0] is the listener and, above it, how many are armed, which private_[1]
 * waits for in the same way. */
void ring_accept(struct ring *ring, struct ring_op *op, int32_t listener, ring_done_fn *done)
{
    op_begin(op, done, OP_ACCEPT);
    op->private_[0] = ring->table ? 0 : (uint64_t)listener + ACCEPT_ARMED;
    op->private_[1] = 0;
    accept_submit(ring, op, listener);
    if (!ring->table) {
        accepts_arm(ring, op);
    }
}

static void accept_finish(struct ring_op *op)
{
    struct ring_result result = {.value = (int32_t)(int64_t)op->private_[1]};
    op->inflight = 0;
    op->done(op, &result);
}

static void accept_deliver(struct ring_op *op, int32_t handle, const struct sockaddr_storage *os)
{
    struct ring_address peer = os ? address_from_os(os) : (struct ring_address){.family = 0};
    struct ring_result result = {.value = handle, .more = true, .peer = &peer};
    op->done(op, &result);
}

/* Learn the peer's address; without a free lookup slot the connection goes on without it. */
static void accept_lookup(struct ring *ring, struct ring_op *op, int value)
{
    struct peer_lookup *lookup = ring->lookups_free;
    if (!ring->peer_command && !lookup) {
        close(value); /* cannot be installed now; the peer will try again */
        return;
    }
    if (!lookup) {
        accept_deliver(op, value, NULL);
        return;
    }
    ring->lookups_free = lookup->next_free;
    lookup->op = op;
    lookup->handle = value;
    memset(&lookup->address, 0, sizeof lookup->address);
    op->private_[0]++;
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    if (ring->peer_command) {
        /* IPv6 sockets answer 28 bytes, IPv4 ones 16; asking IPv4's length first works for both
         * only on IPv4, so ask for what the family needs: try 28, fall back in the completion. */
        ring_prepare_peer_command(sqe, value, &lookup->address, sizeof(struct sockaddr_in));
    } else {
        socklen_t bytes = sizeof lookup->address;
        (void)getpeername(value, (struct sockaddr *)&lookup->address, &bytes);
        lookup->os_fd = value;
        io_uring_prep_files_update(sqe, &lookup->handle, 1, (int)IORING_FILE_INDEX_ALLOC);
    }
    io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)lookup | DATA_PEER_TAG);
}

static void lookup_complete(struct ring *ring, struct peer_lookup *lookup, int value)
{
    struct ring_op *op = lookup->op;
    if (ring->peer_command) {
        if (value == (int)sizeof(struct sockaddr_in) && lookup->address.ss_family == AF_INET6) {
            /* The first 16 bytes of an IPv6 name: ask again for all of it. */
            lookup->address.ss_family = AF_UNSPEC;
            struct io_uring_sqe *sqe = ring_sqe_take(ring);
            ring_prepare_peer_command(sqe, lookup->handle, &lookup->address,
                                      sizeof(struct sockaddr_in6));
            io_uring_sqe_set_data64(sqe, (uint64_t)(uintptr_t)lookup | DATA_PEER_TAG);
            return;
        }
        accept_deliver(op, lookup->handle, value > 0 ? &lookup->address : NULL);
    } else {
        if (value == 1) {
            accept_deliver(op, lookup->handle, &lookup->address);
        }
        close(lookup->os_fd);
    }
    lookup->next_free = ring->lookups_free;
    ring->lookups_free = lookup;
    bk_assert(op->private_[0] > 0);
    op->private_[0]--;
    if (op->private_[0] == 0 && op->private_[1] != 0) {
        accept_finish(op);
    }
}

static void cancel_submit(struct ring *ring, const struct ring_op *op, int flags)
{
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, flags);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = DATA_IGNORED;
}

/* The others are asked for before this one is told, so that a cancel finds them. */
static void accept_complete_plain(struct ring *ring, struct ring_op *op, int value)
{
    op->private_[0] -= ACCEPT_ARMED;
    enum bk_err end = value < 0 ? bk_err_from_errno(-value) : BK_OK;
    if (end == BK_OK) {
        struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
        socklen_t bytes = sizeof address;
        atomic_fetch_add_explicit(&ring->handles_used, 1, memory_order_relaxed);
        if (op->private_[1] == 0) {
            accepts_arm(ring, op);
        }
        (void)getpeername(value, (struct sockaddr *)&address, &bytes);
        accept_deliver(op, value, &address);
        end = accepts_armed(op) == 0 ? BK_NO_DESCRIPTORS : BK_OK;
    }
    if (end != BK_OK && op->private_[1] == 0) {
        op->private_[1] = (uint64_t)(int64_t)(-(int)end);
        if (accepts_armed(op) != 0) {
            cancel_submit(ring, op, IORING_ASYNC_CANCEL_ALL);
        }
    }
    if (accepts_armed(op) == 0) {
        accept_finish(op);
    }
}

static void accept_complete(struct ring *ring, struct ring_op *op, int value, bool more)
{
    if (!ring->table) {
        accept_complete_plain(ring, op, value);
        return;
    }
    if (value >= 0) {
        accept_lookup(ring, op, value);
    }
    if (!more) {
        enum bk_err err = value < 0 ? bk_err_from_errno(-value) : BK_AGAIN;
        op->private_[1] = (uint64_t)(int64_t)(-(int)err);
        if (op->private_[0] == 0) {
            accept_finish(op);
        }
    }
}

/* ---- connecting: an OS socket is made, connected, then installed in the table, if there is one */

void ring_connect(struct ring *ring, struct ring_op *op, const struct ring_address *address,
                  int32_t *ret_handle, ring_done_fn *done)
{
    op_begin(op, done, OP_CONNECT_INSTALL);
    if (ring->connect_count == CONNECT_ADDRESSES) {
        ring_submit(ring);
    }
    struct sockaddr_storage *os = &ring->connect_addresses[ring->connect_count++];
    socklen_t os_bytes = address_to_os(address, os);
    int fd = socket(os->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1, failed = fd < 0 ? errno : 0;
    if (fd >= 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    op->private_[0] = (uint64_t)(uintptr_t)ret_handle;
    *ret_handle = fd;
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    io_uring_prep_connect(sqe, fd, (struct sockaddr *)os, os_bytes);
    op->private_[1] = (uint64_t)(int64_t)(fd >= 0 ? fd : -failed);
    sqe_bind(sqe, op);
}

static bool connect_complete(struct ring *ring, struct ring_op *op, int *value)
{
    int fd = (int)(int64_t)op->private_[1]; /* negative: why there is none */
    int32_t *ret_handle = (int32_t *)(uintptr_t)op->private_[0];
    *value = fd < 0 ? fd : *value;
    if (!ring->table) {
        *value = *value == 0 && !handle_count(ring) ? -ENFILE : *value;
        if (*value != 0 && fd >= 0) {
            close(fd);
        }
        *ret_handle = *value == 0 ? fd : -1;
        return true;
    }
    if (op->kind == OP_CONNECT_INSTALL && *value == 0) {
        op->kind = OP_CONNECT;
        *ret_handle = fd;
        struct io_uring_sqe *sqe = ring_sqe_take(ring);
        io_uring_prep_files_update(sqe, ret_handle, 1, (int)IORING_FILE_INDEX_ALLOC);
        sqe_bind(sqe, op);
        return false;
    }
    if (op->kind == OP_CONNECT) {
        *value = *value == 1 ? 0 : *value < 0 ? *value : -ENFILE;
    }
    if (*value != 0) {
        *ret_handle = -1;
    }
    if (fd >= 0) {
        close(fd);
    }
    return true;
}

/* ---- receiving and sending */

void ring_recv(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    bk_assert(ring->buffer_ring);
    op_begin(op, done, OP_RECV);
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    io_uring_prep_recv_multishot(sqe, handle, NULL, 0, 0);
    sqe->flags |= (uint8_t)(ring->table_flag | IOSQE_BUFFER_SELECT);
    sqe->buf_group = BUFFER_GROUP;
    ring->receives++;
    sqe_bind(sqe, op);
}

void ring_buffer_give(struct ring *ring, uint16_t buffer_id)
{
    bk_assert(buffer_id < ring->config.recv_buffers);
    bk_assert(ring->buffers_stacked + ring->buffers_offered < ring->config.recv_buffers);
    ring->buffers_stack[ring->buffers_stacked++] = buffer_id;
}

/* The kernel gets those that were used last, for they are in the caches, and few more than there
 * are connections: it takes them in turn, so with all of them none would be. */
static void buffers_offer(struct ring *ring)
{
    unsigned wanted = ring->receives + ring->receives / 4 + BUFFERS_OFFERED_MIN;
    unsigned missing = wanted > ring->buffers_offered ? wanted - ring->buffers_offered : 0;
    unsigned count = missing < ring->buffers_stacked ? missing : ring->buffers_stacked;
    for (unsigned i = 0; i < count; i++) {
        uint16_t buffer_id = ring->buffers_stack[--ring->buffers_stacked];
        io_uring_buf_ring_add(ring->buffer_ring, ring_buffer_at(ring, buffer_id),
                              ring->config.recv_buffer_bytes, buffer_id,
                              io_uring_buf_ring_mask(ring->config.recv_buffers), (int)i);
    }
    if (count > 0) {
        io_uring_buf_ring_advance(ring->buffer_ring, (int)count);
        ring->buffers_offered += count;
    }
}

bool ring_buffers_low(const struct ring *ring)
{
    return ring->buffers_stacked + ring->buffers_offered < ring->config.recv_buffers / 2;
}

void ring_send(struct ring *ring, struct ring_op *op, int32_t handle, const void *at, size_t bytes,
               ring_done_fn *done)
{
    bk_assert(bytes > 0 && bytes <= INT32_MAX);
    op_begin(op, done, OP_SEND);
    op->private_[0] = bytes;
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    /* WAITALL: the kernel goes on after a short send, so that a completion means all or an error.
     */
    io_uring_prep_send(sqe, handle, at, bytes, MSG_NOSIGNAL | MSG_WAITALL);
    sqe->flags |= ring->table_flag;
    sqe_bind(sqe, op);
}

void ring_send_lazy(struct ring *ring, struct ring_op *op, int32_t handle, const void *at,
                    size_t bytes, ring_done_fn *done)
{
    ring_send(ring, op, handle, at, bytes, done);
    ring->lazy_sends++;
}

void ring_send_pieces(struct ring *ring, struct ring_op *op, int32_t handle,
                      struct ring_pieces *pieces, ring_done_fn *done)
{
    _Static_assert(sizeof(struct slice) == sizeof(struct iovec) &&
                       offsetof(struct slice, at) == offsetof(struct iovec, iov_base) &&
                       offsetof(struct slice, bytes) == offsetof(struct iovec, iov_len),
                   "a slice is an iovec");
    _Static_assert(sizeof(struct msghdr) <= sizeof pieces->private_, "room for the message header");
    struct msghdr *message = (struct msghdr *)(void *)pieces->private_;
    size_t bytes = 0;
    bk_assert(pieces->count <= RING_PIECES_MAX);
    for (unsigned i = 0; i < pieces->count; i++) {
        bytes += pieces->at[i].bytes;
    }
    bk_assert(bytes > 0 && bytes <= INT32_MAX);
    op_begin(op, done, OP_SEND);
    op->private_[0] = bytes;
    *message =
        (struct msghdr){.msg_iov = (struct iovec *)(void *)pieces->at, .msg_iovlen = pieces->count};
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    io_uring_prep_sendmsg(sqe, handle, message, MSG_NOSIGNAL | MSG_WAITALL);
    sqe->flags |= ring->table_flag;
    sqe_bind(sqe, op);
}

void ring_shutdown(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    op_begin(op, done, OP_PLAIN);
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    io_uring_prep_shutdown(sqe, handle, SHUT_WR);
    sqe->flags |= ring->table_flag;
    sqe_bind(sqe, op);
}

/* Without a table it is done at once, and told later. */
static void pass_plain(struct ring_op *op, int32_t handle, struct ring *target)
{
    bool room = handle_count(target);
    int copy = room ? fcntl(handle, F_DUPFD_CLOEXEC, 0) : -1;
    int value = copy >= 0 ? copy : -ENFILE;
    if (room && copy < 0) {
        handle_uncount(target);
    }
    op->private_[0] = (uint64_t)(int64_t)value;
}

void ring_pass(struct ring *ring, struct ring_op *op, int32_t handle, struct ring *target,
               ring_done_fn *done)
{
    op_begin(op, done, ring->table ? OP_PLAIN : OP_PASS);
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    if (!ring->table) {
        pass_plain(op, handle, target);
        io_uring_prep_nop(sqe);
        sqe_bind(sqe, op);
        return;
    }
    io_uring_prep_msg_ring(sqe, target->uring.ring_fd, 0, 0, MESSAGE_QUIET);
    sqe->addr = MESSAGE_SEND_FD;
    sqe->addr3 = (uint32_t)handle;
    sqe->file_index = IORING_FILE_INDEX_ALLOC;
    sqe_bind(sqe, op);
}

void ring_close_handle(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    bk_assert(handle >= 0);
    op_begin(op, done, OP_CLOSE);
    op->private_[0] = reserved_place_of(ring, handle);
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    if (ring->table) {
        io_uring_prep_close_direct(sqe, (unsigned)handle);
    } else {
        io_uring_prep_close(sqe, handle);
    }
    sqe_bind(sqe, op);
}

void ring_cancel(struct ring *ring, struct ring_op *target)
{
    if (!ring_op_busy(target)) {
        return;
    }
    bool plain_accept = !ring->table && target->kind == OP_ACCEPT;
    if (plain_accept && target->private_[1] == 0) {
        target->private_[1] = (uint64_t)(int64_t)(-(int)BK_CANCELLED);
    }
    cancel_submit(ring, target, plain_accept ? IORING_ASYNC_CANCEL_ALL : 0);
}

/* ---- readiness of descriptors that others own */

void ring_poll(struct ring *ring, struct ring_op *op, int os_fd, unsigned events,
               ring_done_fn *done)
{
    bk_assert(os_fd >= 0);
    bk_assert(events != 0 && (events & ~(RING_POLL_READ | RING_POLL_WRITE)) == 0);
    op_begin(op, done, OP_POLL);
    op->private_[0] = events;
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    io_uring_prep_poll_add(sqe, os_fd,
                           (events & RING_POLL_READ ? (unsigned)POLLIN : 0U) |
                               (events & RING_POLL_WRITE ? (unsigned)POLLOUT : 0U));
    sqe_bind(sqe, op);
}

static int poll_bits(const struct ring_op *op, int revents)
{
    unsigned asked = (unsigned)op->private_[0];
    if (revents & (POLLERR | POLLHUP | POLLNVAL)) {
        return (int)asked;
    }
    unsigned ready =
        (revents & POLLIN ? RING_POLL_READ : 0) | (revents & POLLOUT ? RING_POLL_WRITE : 0);
    return (int)(ready & asked);
}

/* ---- signals */

/* Polled, not read: a read of this descriptor would keep a kernel worker waiting in it for good. */
static void signals_poll(struct ring *ring, struct ring_op *op)
{
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    io_uring_prep_poll_add(sqe, ring->signal_fd, POLLIN);
    sqe_bind(sqe, op);
}

/* The next signal's number; 0 = none: the poll was interrupted, or somebody else's. */
static int signals_take(struct ring *ring)
{
    struct signalfd_siginfo info;
    ssize_t bytes = read(ring->signal_fd, &info, sizeof info);
    return bytes == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

enum bk_err ring_signals(struct ring *ring, struct ring_op *op, const int *signals, unsigned count,
                         ring_done_fn *done)
{
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = 0; i < count; i++) {
        sigaddset(&set, signals[i]);
    }
    int fd = signalfd(ring->signal_fd, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd < 0) {
        return bk_err_from_errno(errno);
    }
    ring->signal_fd = fd;
    op_begin(op, done, OP_SIGNALS);
    signals_poll(ring, op);
    return BK_OK;
}

/* ---- files */

/* Those of other programs and machines write, or flush, while the entry is submitted: when they
 * hang, so would the core. Their writes go to a worker of the kernel. */
static bool blocks_on_write(int file)
{
    static const unsigned long magics[] = {
        FUSE_MAGIC, NFS_SUPER_MAGIC, SMB2_MAGIC, CIFS_MAGIC, NINE_MAGIC, CEPH_MAGIC,
    };
    struct statfs status;
    bool found = false;
    if (fstatfs(file, &status) == 0) {
        for (size_t i = 0; i < bk_array_length(magics); i++) {
            found |= (unsigned long)status.f_type == magics[i];
        }
    }
    return found;
}

enum bk_err ring_file_attach(struct ring *ring, int file, int32_t *ret_handle)
{
    if (!ring->files_known) { /* once, at a start: to ask may hang as well, and all lie together */
        ring->files_known = true;
        ring->files_block = blocks_on_write(file);
    }
    return ring_reserved_install(ring, file, ret_handle) ? BK_OK : BK_NO_DESCRIPTORS;
}

/* Not bounded by RLIMIT_MEMLOCK. */
static bool locks_freely(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    return syscall(SYS_capget, &head, data) == 0 && (data[0].effective >> CAP_IPC_LOCK & 1) != 0;
}

/* What is pinned is charged to the user, as all rings are, and for a moment longer what a
 * process had that was killed: it may take what these leave. What is not pinned for good the kernel
 * pins anew for each write. */
static bool may_pin(const struct ring *ring, size_t bytes)
{
    struct rlimit limit;
    return locks_freely() || getrlimit(RLIMIT_MEMLOCK, &limit) != 0 ||
           limit.rlim_cur / 2 / (RING_LOCKED_BYTES + bytes) >= ring->config.rings;
}

enum bk_err ring_write_buffers(struct ring *ring, unsigned count, size_t bytes, uint8_t **ret_first)
{
    bk_assert(!ring->write_buffers && count > 0 && count <= 16 && bytes % 4096 == 0);
    size_t total = count * bytes;
    void *map = pages_map(total);
    if (!map) {
        return BK_NO_MEMORY;
    }
    struct iovec vectors[16];
    for (unsigned i = 0; i < count; i++) {
        vectors[i] = (struct iovec){(uint8_t *)map + i * bytes, bytes};
    }
    int rc = may_pin(ring, total) ? io_uring_register_buffers(&ring->uring, vectors, count)
                                  : -ENOMEM;
    if (rc != 0 && rc != -ENOMEM) {
        pages_unmap(map, total);
        return BK_NO_MEMORY;
    }
    ring->write_buffers_pinned = rc == 0;
    ring->write_buffers = map;
    ring->write_buffers_bytes = total;
    *ret_first = map;
    return BK_OK;
}

void ring_write(struct ring *ring, struct ring_op *op, int32_t handle, const void *at, size_t bytes,
                uint64_t offset, int buffer, bool durable, ring_done_fn *done)
{
    bk_assert(bytes % 4096 == 0 && offset % 4096 == 0 && (uintptr_t)at % 4096 == 0);
    bk_assert(bytes > 0 && bytes <= INT32_MAX);
    op_begin(op, done, OP_PLAIN);
    struct io_uring_sqe *sqe = ring_sqe_take(ring);
    if (buffer >= 0 && ring->write_buffers_pinned) {
        io_uring_prep_write_fixed(sqe, handle, at, (unsigned)bytes, offset, buffer);
    } else {
        io_uring_prep_write(sqe, handle, at, (unsigned)bytes, offset);
    }
    sqe->rw_flags = durable ? RWF_DSYNC : 0;
    sqe->flags |= (uint8_t)(ring->table_flag | (ring->files_block ? IOSQE_ASYNC : 0));
    sqe_bind(sqe, op);
}

/* ---- mail: a lock-free stack that the owner takes whole and turns around */

void ring_post(struct ring *from, struct ring *target, struct ring_mail *mail)
{
    struct ring_mail *head = atomic_load_explicit(&target->mailbox, memory_order_relaxed);
    do {
        mail->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&target->mailbox, &head, mail,
                                                    memory_order_release, memory_order_relaxed));
    /* Only the first letter rings; whoever empties the box sees all that came after it. */
    if (!head && from != target) {
        struct io_uring_sqe *sqe = ring_sqe_take(from);
        io_uring_prep_msg_ring(sqe, target->uring.ring_fd, 0, DATA_DOORBELL, 0);
        sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
        sqe->user_data = DATA_IGNORED;
    }
}

static bool mail_run(struct ring *ring)
{
    if (!atomic_load_explicit(&ring->mailbox, memory_order_relaxed)) {
        return false;
    }
    struct ring_mail *stack = atomic_exchange_explicit(&ring->mailbox, NULL, memory_order_acquire);
    struct ring_mail *queue = NULL;
    while (stack) {
        struct ring_mail *next = stack->next;
        stack->next = queue;
        queue = stack;
        stack = next;
    }
    while (queue) {
        struct ring_mail *next = queue->next; /* run() may free or post the letter again */
        ring->stats.mails++;
        queue->run(queue);
        queue = next;
    }
    return true;
}

/* ---- the turn */

void ring_gather(struct ring *ring, unsigned completions, unsigned wait_us)
{
    ring->gather_count = completions;
    ring->gather_us = wait_us;
}

static void op_complete(struct ring *ring, struct ring_op *op, int value, uint32_t flags)
{
    bool more = (flags & IORING_CQE_F_MORE) != 0;
    bk_assert(op->inflight == 1);
    struct ring_result result = {.more = more};
    if (flags & IORING_CQE_F_BUFFER) {
        result.has_buffer = true;
        result.buffer_id = (uint16_t)(flags >> IORING_CQE_BUFFER_SHIFT);
        result.buffer = ring_buffer_at(ring, result.buffer_id);
        bk_assert(ring->buffers_offered > 0);
        ring->buffers_offered--;
    }
    switch ((enum op_kind)op->kind) {
    case OP_ACCEPT:
        accept_complete(ring, op, value, more);
        return;
    case OP_CONNECT_INSTALL:
    case OP_CONNECT:
        if (!connect_complete(ring, op, &value)) {
            return;
        }
        break;
    case OP_CLOSE:
        handle_forget(ring, (unsigned)op->private_[0]);
        break;
    case OP_PASS:
        value = (int)(int64_t)op->private_[0];
        break;
    case OP_SIGNALS:
        if (value != -ECANCELED) {
            value = signals_take(ring);
            signals_poll(ring, op);
            if (value == 0) {
                return;
            }
            result.more = true;
        }
        break;
    case OP_POLL:
        value = value >= 0 ? poll_bits(op, value) : value;
        break;
    case OP_RECV:
        /* Else the kernel had only been offered too few: the next turn mends that. */
        ring->stats.recv_no_buffers += value == -ENOBUFS && ring_buffers_low(ring);
        ring->receives -= !more;
        break;
    case OP_SEND:
        /* Cut off after some bytes (reset, cancel) the kernel reports their count. */
        if (value >= 0 && (uint64_t)value < op->private_[0]) {
            value = -ECONNRESET;
        }
        break;
    case OP_PLAIN:
        break;
    default:
        bk_never("unknown operation kind");
    }
    result.value = value >= 0 ? value : -(int)bk_err_from_errno(-value);
    op->inflight = result.more;
    op->done(op, &result);
}

static void entry_complete(struct ring *ring, uint64_t data, int value, uint32_t flags)
{
    ring->stats.completed++;
    if (data & DATA_PEER_TAG) {
        lookup_complete(ring, (struct peer_lookup *)(uintptr_t)(data & ~DATA_PEER_TAG), value);
    } else if (data != DATA_IGNORED && data != DATA_DOORBELL) {
        op_complete(ring, (struct ring_op *)(uintptr_t)data, value, flags);
    }
}

/* One batch is copied out before any of it runs: handlers queue submissions, which may enter the
 * kernel, which may fill the completion queue again. */
static unsigned reap(struct ring *ring)
{
    struct io_uring_cqe *at[REAP_BATCH];
    struct {
        uint64_t data;
        int value;
        uint32_t flags;
    } batch[REAP_BATCH];
    unsigned count = io_uring_peek_batch_cqe(&ring->uring, at, REAP_BATCH);
    for (unsigned i = 0; i < count; i++) {
        batch[i].data = at[i]->user_data;
        batch[i].value = at[i]->res;
        batch[i].flags = at[i]->flags;
    }
    io_uring_cq_advance(&ring->uring, count);
    for (unsigned i = 0; i < count; i++) {
        entry_complete(ring, batch[i].data, batch[i].value, batch[i].flags);
    }
    return count;
}

/* Returns false when the kernel or the library has no such wait. */
static bool enter_gathering(struct ring *ring, uint64_t deadline_ns)
{
#if HAVE_MIN_TIMEOUT
    if (ring->min_timeout && (ring->gather_us || ring->lazy_sends)) {
        struct io_uring_cqe *cqe;
        /* Sends nearly always complete while they are submitted. */
        unsigned count = ring->lazy_sends + (ring->gather_us ? ring->gather_count : 1);
        unsigned least_us = ring->gather_us ? ring->gather_us : LAZY_US;
        uint64_t wait_ns = deadline_ns == UINT64_MAX ? 1000000000ULL : deadline_ns - ring->now_ns;
        struct __kernel_timespec timeout = {.tv_sec = (int64_t)(wait_ns / 1000000000ULL),
                                            .tv_nsec = (long long)(wait_ns % 1000000000ULL)};
        (void)io_uring_submit_and_wait_min_timeout(&ring->uring, &cqe, count, &timeout, least_us,
                                                   NULL);
        return true;
    }
#endif
    (void)ring;
    (void)deadline_ns;
    return false;
}

static void enter(struct ring *ring, uint64_t deadline_ns)
{
    struct io_uring_cqe *cqe;
    ring->stats.enters++;
    if (deadline_ns <= ring->now_ns) {
        (void)io_uring_submit_and_get_events(&ring->uring);
    } else if (enter_gathering(ring, deadline_ns)) {
    } else if (deadline_ns == UINT64_MAX) {
        (void)io_uring_submit_and_wait(&ring->uring, 1);
    } else {
        uint64_t wait_ns = deadline_ns - ring->now_ns;
        struct __kernel_timespec timeout = {.tv_sec = (int64_t)(wait_ns / 1000000000ULL),
                                            .tv_nsec = (long long)(wait_ns % 1000000000ULL)};
        (void)io_uring_submit_and_wait_timeout(&ring->uring, &cqe, 1, &timeout, NULL);
    }
    ring->connect_count = 0;
    ring->lazy_sends = 0;
}

/* Since Linux 6.13 an entry brings some forty completions of sockets, however many wait. */
bool ring_behind(const struct ring *ring)
{
    return io_uring_cq_ready(&ring->uring) > 0 ||
           (__atomic_load_n(ring->uring.sq.kflags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN);
}

void ring_turn(struct ring *ring, uint64_t deadline_ns)
{
    if (ring->buffer_ring) {
        buffers_offer(ring);
    }
    bool mail_waits = atomic_load_explicit(&ring->mailbox, memory_order_relaxed) != NULL;
    bool ready = io_uring_cq_ready(&ring->uring) > 0;
    enter(ring, mail_waits || ready ? 0 : deadline_ns);
    ring_clock_read(ring);
    if (io_uring_cq_has_overflow(&ring->uring)) {
        ring->stats.cq_overflows++;
    }
    /* Everything that is there, but at most a bounded number of batches, so that the caller's own
     * work (journal, timers) gets its turn. */
    for (unsigned i = 0; i < 4 && reap(ring) == REAP_BATCH; i++) {
    }
    mail_run(ring);
}
