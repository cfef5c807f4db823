/* ring.h - the seam: all socket I/O, durable writes, clocks, entropy and mail between threads.
 *
 * Purpose     One thread owns one ring and runs everything it does from ring_turn().
 *             Two implementations of this header: ring_uring.c (Linux io_uring) and
 *             tests/sim/ring_sim.c (deterministic). Nothing above knows an sqe, a cqe
 *             or an errno.
 * Ownership   A struct ring_op lives inside its owner and is busy from the call that
 *             queued it until its last completion (result->more == false). Its
 *             memory, and all memory the operation points to, must stay until then.
 *             A cancelled operation still completes, perhaps with success.
 * Threads     Everything but ring_post() is for the owning thread only.
 * Batching    Calls only queue; ring_turn() submits what is queued, waits, and runs
 *             completions one after the other, never recursively.
 * Failure     A completion's value is >= 0, or -(int)enum bk_err.
 * Handles     `handle` is this ring's own name of a socket or file: an index of its table
 *             where the kernel has a good one, else a descriptor; no other call takes
 *             it (ring_poll takes a descriptor, of a library).
 */
#ifndef BECKET_RING_RING_H
#define BECKET_RING_RING_H

#include "base/err.h"
#include "base/slice.h"

struct ring;
struct ring_op;

/* An IPv4 or IPv6 address and port; v4-mapped addresses are stored as IPv4. */
struct ring_address {
    uint8_t family; /* 4 or 6; 0 = unknown */
    uint16_t port;
    uint8_t at[16];
};

struct ring_result {
    int32_t value;                   /* >= 0, or -(int)enum bk_err */
    bool more;                       /* the operation is still armed and will complete again */
    bool has_buffer;                 /* a receive buffer came with it: give it back */
    uint16_t buffer_id;              /* for ring_buffer_give() */
    uint8_t *buffer;                 /* its first byte; value says how many are filled */
    const struct ring_address *peer; /* ring_accept only; valid during the call */
};

typedef void ring_done_fn(struct ring_op *op, const struct ring_result *result);

struct ring_op {
    ring_done_fn *done;
    uint32_t inflight; /* 1 while busy; asserts misuse */
    uint32_t kind;     /* the implementation's */
    uint64_t private_[2];
};

static inline bool ring_op_busy(const struct ring_op *op)
{
    return op->inflight != 0;
}

struct ring_config {
    unsigned entries;       /* submission queue; completions are 8 times that */
    unsigned handles_max;   /* sockets at once; size of the descriptor table */
    unsigned handles_spare; /* so many more, as far as RLIMIT_NOFILE allows; with a table only */
    unsigned recv_buffers;  /* power of two; 0 = this ring receives nothing */
    unsigned recv_buffer_bytes;
    int cpu;               /* pin the calling thread, -1 = do not */
    unsigned rings;        /* that share RLIMIT_MEMLOCK, of the same size; 0 = this one alone */
    unsigned features_off; /* enum ring_feature bits to do without: tests of the other paths */
};

enum ring_feature {
    RING_FEATURE_PEER_COMMAND =
        1, /* peer address by a socket command (6.7); else accept, getpeername, install */
    RING_FEATURE_MIN_TIMEOUT = 2, /* wait for several completions for a while (6.12) */
    RING_FEATURE_TABLE = 4        /* a table of descriptors that closes at once (6.13); else the
                                     process's descriptors */
};

/* Counters since ring_open(); read by the owning thread (or racily for metrics). */
struct ring_stats {
    uint64_t enters;
    uint64_t submitted;
    uint64_t completed;
    uint64_t cq_overflows; /* a sizing bug when not 0 */
    uint64_t recv_no_buffers;
    uint64_t mails;
};

/* Open on the thread that will use it. *ret_why (static or thread-local text, one line: what
 * failed, which setting forbids it, how to mend it) is set on failure.
 * BK_PERMISSION/BK_UNSUPPORTED: the kernel or a seccomp profile refuses io_uring; BK_NO_MEMORY:
 * RLIMIT_MEMLOCK; BK_NO_DESCRIPTORS: RLIMIT_NOFILE below handles_max. */
enum bk_err ring_open(const struct ring_config *config, struct ring **ret_ring,
                      const char **ret_why) BK_MUST_CHECK;
/* Requires: no operation in flight. */
void ring_close(struct ring *ring);
/* Have rings tables of their own (RING_FEATURE_TABLE)? Else all their handles count against
 * RLIMIT_NOFILE together. Any thread; the kernel is asked once. */
bool ring_has_table(void);
/* Space-separated names of the features in use, for the `ready` line. */
const char *ring_features(const struct ring *ring);
const struct ring_stats *ring_stats(const struct ring *ring);

/* Submit what is queued, wait until something completes or deadline_ns (monotonic, UINT64_MAX =
 * no deadline, 0 = do not wait), run completions and mail. Returns when at least one ran or the
 * deadline passed. */
void ring_turn(struct ring *ring, uint64_t deadline_ns);

/* Submit what is queued now: for who computes for long before the next turn. Runs no completion. */
void ring_submit(struct ring *ring);

/* Completions are there that the last turn did not run. */
bool ring_behind(const struct ring *ring);

/* A hint: from the next turn on, while nothing but gathering can be done anyway (a commit is held
 * back), wait up to wait_us for `completions` of them, lazy sends not counted, instead of waking
 * for each. 0, 0 = off. Where the kernel cannot (before 6.12) it does nothing. */
void ring_gather(struct ring *ring, unsigned completions, unsigned wait_us);

/* ---- clock and entropy (cached once per turn, so free on the hot path) */
uint64_t ring_now_ns(const struct ring *ring);   /* monotonic */
int64_t ring_wall_ns(const struct ring *ring);   /* since 1970 UTC */
uint64_t ring_clock_ns(const struct ring *ring); /* monotonic, read now: for measuring a turn */
void ring_entropy(void *at, size_t bytes);       /* never fails; any thread */

/* ---- sockets */
/* Bind and listen (blocking, start-up). reuse_port: one listener per core on one address.
 * *address gets the port when it was 0. BK_BUSY address in use, BK_PERMISSION, BK_INVALID. */
enum bk_err ring_listen(struct ring *ring, struct ring_address *address, bool reuse_port,
                        unsigned backlog, int32_t *ret_handle) BK_MUST_CHECK;
/* Accept from a listening socket (socket.h) that the caller keeps. */
enum bk_err ring_listen_on(struct ring *ring, int socket, int32_t *ret_handle) BK_MUST_CHECK;
/* BK_BUSY when somebody listens there already, also with reuse_port (blocking, start-up, any
 * thread). */
enum bk_err ring_address_probe(const struct ring_address *address) BK_MUST_CHECK;
/* Multishot: one completion per connection, value = its handle. Ends (more == false) on error,
 * e.g. -BK_NO_DESCRIPTORS when the table is full: arm again when a handle was closed. */
void ring_accept(struct ring *ring, struct ring_op *op, int32_t listener, ring_done_fn *done);
/* value = 0 once connected; the new handle is in *ret_handle, written before done runs. */
void ring_connect(struct ring *ring, struct ring_op *op, const struct ring_address *address,
                  int32_t *ret_handle, ring_done_fn *done);
/* Multishot: one completion per filled receive buffer, value = bytes, 0 = end of stream.
 * -BK_NO_BUFFERS ends it: arm again once buffers came back (ring_buffers_low()). */
void ring_recv(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done);
void ring_buffer_give(struct ring *ring, uint16_t buffer_id);
/* True while less than half of the receive buffers are free. */
bool ring_buffers_low(const struct ring *ring);
/* All bytes or an error; one send in flight per handle. */
void ring_send(struct ring *ring, struct ring_op *op, int32_t handle, const void *at, size_t bytes,
               ring_done_fn *done);
/* The same, when its completion only gives memory back: that alone is no reason to wake soon. */
void ring_send_lazy(struct ring *ring, struct ring_op *op, int32_t handle, const void *at,
                    size_t bytes, ring_done_fn *done);
/* The pieces one after the other, without copying them together; else as ring_send(). Empty ones
 * are fine, all of them together are not. *pieces too must stay until done. */
#define RING_PIECES_MAX 12U
struct ring_pieces {
    unsigned count;
    struct slice at[RING_PIECES_MAX];
    uint64_t private_[8]; /* the implementation's */
};
void ring_send_pieces(struct ring *ring, struct ring_op *op, int32_t handle,
                      struct ring_pieces *pieces, ring_done_fn *done);
/* Half-close for writing; value 0. */
void ring_shutdown(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done);
/* The socket `handle` becomes one of `target`, too: value = its handle there, which is the target's
 * thread's from then on; our own is still to be closed. -BK_UNSUPPORTED, -BK_INVALID: this kernel
 * cannot; others pass (-BK_NO_DESCRIPTORS: it has no room). Requires: no operation in flight on it;
 * target stays open until done(). */
void ring_pass(struct ring *ring, struct ring_op *op, int32_t handle, struct ring *target,
               ring_done_fn *done);
/* Close a handle (socket or file). Requires: no other operation in flight on it. */
void ring_close_handle(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done);
/* Ask that `target` ends soon. target->done still runs (-BK_CANCELLED, or whatever won the race).
 * Does nothing when target is not busy. */
void ring_cancel(struct ring *ring, struct ring_op *target);

/* Readiness of a descriptor that belongs to a library which does its own I/O (the resolver's
 * sockets); the only place where an OS descriptor passes this seam. Completes once, with value =
 * the RING_POLL_ bits of `events` that are ready now; after an error or a hang-up all of them are,
 * so that the owner finds out by trying. -BK_CLOSED: not open. The owner may close os_fd at any
 * time, but cancels first; what the completion says then means nothing. */
#define RING_POLL_READ  1U
#define RING_POLL_WRITE 2U
void ring_poll(struct ring *ring, struct ring_op *op, int os_fd, unsigned events,
               ring_done_fn *done);

/* Completes with value = signal number each time one of `signals` (blocked in every thread by the
 * caller before any thread starts) arrives. Multishot. BK_NO_DESCRIPTORS: nothing was begun. */
enum bk_err ring_signals(struct ring *ring, struct ring_op *op, const int *signals, unsigned count,
                         ring_done_fn *done) BK_MUST_CHECK;

/* ---- durable files: opened with file.h, written here */
/* A handle for an open file (file.h, FILE_DIRECT). The caller keeps `file`. */
enum bk_err ring_file_attach(struct ring *ring, int file, int32_t *ret_handle) BK_MUST_CHECK;
/* Memory for writes, pinned once as far as RLIMIT_MEMLOCK allows it: `count` buffers of `bytes`,
 * 4 KiB aligned; owner: the ring. May be called once per ring. BK_NO_MEMORY. */
enum bk_err ring_write_buffers(struct ring *ring, unsigned count, size_t bytes,
                               uint8_t **ret_first) BK_MUST_CHECK;
/* Write all bytes at offset and flush to the device (RWF_DSYNC); value = bytes, or less than asked
 * for or an error: then nothing may be assumed about what is on disk. at, bytes, offset: multiples
 * of 4096. `buffer` = index from ring_write_buffers, or -1 for any other memory. durable=false
 * skips the flush. */
void ring_write(struct ring *ring, struct ring_op *op, int32_t handle, const void *at, size_t bytes,
                uint64_t offset, int buffer, bool durable, ring_done_fn *done);

/* ---- mail between threads */
struct ring_mail;
typedef void ring_mail_fn(struct ring_mail *mail);
struct ring_mail {
    struct ring_mail *next; /* the queue's */
    ring_mail_fn *run;      /* called on the target's thread */
};
/* Queue `mail` for `target` and wake it. `from` is the caller's own ring. The mail belongs to the
 * target until run() was called. Order is kept between one sender and one target. */
void ring_post(struct ring *from, struct ring *target, struct ring_mail *mail);

/* ---- deadlines for the loop: see timer.h */

#endif
