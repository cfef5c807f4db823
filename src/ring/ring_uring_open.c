/* ring_uring_open.c - opening and closing an io_uring ring: what the kernel can do, what a ring of
 * ours may do, descriptors, receive buffers. */
#include "base/assert.h"
#include "base/pages.h"
#include "ring/ring_uring.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define FEATURE_MIN_TIMEOUT   (1U << 15)
#define COMPLETIONS_PER_ENTRY 8U

static _Thread_local char why_text[512];

static const char mend_locked[] = "raise RLIMIT_MEMLOCK (ulimit -l, LimitMEMLOCK=) to 1 MiB and "
                                  "512 KiB a thread, or lower --threads";

static enum bk_err open_failed(const char **ret_why, int errno_value)
{
    enum bk_err err = bk_err_from_errno(errno_value);
    const char *mend = "see the kernel log";
    if (errno_value == EPERM || errno_value == ENOSYS || errno_value == EACCES) {
        mend = "this host forbids io_uring: set sysctl kernel.io_uring_disabled=0, or run the "
               "container with a seccomp profile that allows io_uring_setup, io_uring_enter and "
               "io_uring_register";
        err = BK_PERMISSION;
    } else if (errno_value == ENOMEM) {
        mend = mend_locked;
    } else if (errno_value == EMFILE || errno_value == ENFILE) {
        mend = "raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE=)";
    } else if (errno_value == EINVAL) {
        mend = "becket needs Linux 6.1 or newer";
        err = BK_UNSUPPORTED;
    }
    snprintf(why_text, sizeof why_text, "io_uring_setup: %s; %s", strerror(errno_value), mend);
    *ret_why = why_text;
    return err;
}

static enum bk_err step_failed(const char **ret_why, const char *step, int errno_value,
                               const char *mend)
{
    snprintf(why_text, sizeof why_text, "%s: %s; %s", step, strerror(errno_value), mend);
    *ret_why = why_text;
    return bk_err_from_errno(errno_value);
}

/* What a ring of ours may be asked to do, whoever asks (io_uring_register(2),
 * IORING_REGISTER_RESTRICTIONS): seccomp cannot see it. No opening, reading, linking or removing of
 * files, no splicing. */
static const uint8_t opcodes[] = {
    IORING_OP_NOP,          IORING_OP_WRITE_FIXED, IORING_OP_POLL_ADD,     IORING_OP_POLL_REMOVE,
    IORING_OP_SENDMSG,      IORING_OP_RECVMSG,     IORING_OP_TIMEOUT,      IORING_OP_TIMEOUT_REMOVE,
    IORING_OP_LINK_TIMEOUT, IORING_OP_ACCEPT,      IORING_OP_ASYNC_CANCEL, IORING_OP_CONNECT,
    IORING_OP_CLOSE,        IORING_OP_WRITE,       IORING_OP_FILES_UPDATE, IORING_OP_SEND,
    IORING_OP_RECV,         IORING_OP_SHUTDOWN,    IORING_OP_MSG_RING,     OP_SOCKET,
    OP_URING_CMD,
};

static const uint8_t registrations[] = {
    IORING_REGISTER_BUFFERS,          IORING_UNREGISTER_BUFFERS,
    IORING_REGISTER_FILES_UPDATE,     IORING_REGISTER_FILES2,
    IORING_REGISTER_FILES_UPDATE2,    IORING_UNREGISTER_FILES,
    IORING_REGISTER_ENABLE_RINGS,     IORING_REGISTER_IOWQ_MAX_WORKERS,
    IORING_REGISTER_RING_FDS,         IORING_UNREGISTER_RING_FDS,
    IORING_REGISTER_PBUF_RING,        IORING_UNREGISTER_PBUF_RING,
    IORING_REGISTER_FILE_ALLOC_RANGE,
};

static bool restrict_operations(struct ring *ring)
{
    struct io_uring_restriction list[bk_array_length(opcodes) + bk_array_length(registrations) + 1];
    unsigned count = 0;
    memset(list, 0, sizeof list);
    for (size_t i = 0; i < bk_array_length(opcodes); i++, count++) {
        list[count].opcode = IORING_RESTRICTION_SQE_OP;
        list[count].sqe_op = opcodes[i];
    }
    for (size_t i = 0; i < bk_array_length(registrations); i++, count++) {
        list[count].opcode = IORING_RESTRICTION_REGISTER_OP;
        list[count].register_op = registrations[i];
    }
    list[count].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    list[count++].sqe_flags = IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS |
                              IOSQE_IO_LINK | IOSQE_IO_HARDLINK | IOSQE_ASYNC;
    return io_uring_register_restrictions(&ring->uring, list, count) == 0;
}

static int queue_open(struct ring *ring)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE |
                 IORING_SETUP_CLAMP,
        .cq_entries = ring->config.entries * COMPLETIONS_PER_ENTRY,
    };
    int rc = io_uring_queue_init_params(ring->config.entries, &ring->uring, &params);
    if (rc < 0) {
        return rc;
    }
    ring->restricted = restrict_operations(ring);
    rc = io_uring_enable_rings(&ring->uring);
    if (rc < 0) {
        io_uring_queue_exit(&ring->uring);
    }
    return rc;
}

static enum bk_err too_few(const char **ret_why, unsigned handles)
{
    snprintf(why_text, sizeof why_text,
             "RLIMIT_NOFILE is below the %u descriptors this core may use; raise it (ulimit -n, "
             "LimitNOFILE=) or lower --connections",
             handles);
    *ret_why = why_text;
    return BK_NO_DESCRIPTORS;
}

/* As many as the spare ones allow; the limit is raised to `wished`. */
static unsigned handles_allowed(unsigned needed, unsigned spare, rlim_t wished)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return needed;
    }
    struct rlimit raised = {wished < limit.rlim_max ? wished : limit.rlim_max, limit.rlim_max};
    if (raised.rlim_cur > limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &raised) == 0) {
        limit = raised;
    }
    return limit.rlim_cur < needed + spare ? (unsigned)limit.rlim_cur : needed + spare;
}

static enum bk_err table_open(struct ring *ring, const char **ret_why)
{
    unsigned needed = ring->config.handles_max + HANDLES_RESERVED;
    unsigned spare = ring->config.handles_spare;
    unsigned allowed = handles_allowed(needed, spare, needed + spare);
    unsigned handles = allowed > needed ? allowed : needed;
    int rc = io_uring_register_files_sparse(&ring->uring, handles);
    if (rc == -EMFILE) {
        return too_few(ret_why, handles);
    }
    if (rc == 0) {
        rc = io_uring_register_file_alloc_range(&ring->uring, HANDLES_RESERVED,
                                                handles - HANDLES_RESERVED);
    }
    return rc == 0 ? BK_OK
                   : step_failed(ret_why, "registering descriptors", -rc,
                                 "becket needs Linux 6.1 or newer");
}

/* The process's descriptors, which are of all rings together. */
static enum bk_err handles_open(struct ring *ring, const char **ret_why)
{
    unsigned needed = ring->config.handles_max + HANDLES_RESERVED;
    if (ring->table) {
        return table_open(ring, ret_why);
    }
    if (handles_allowed(needed, 0, RLIM_INFINITY) < needed) {
        return too_few(ret_why, needed);
    }
    ring->handles_max = ring->config.handles_max;
    return BK_OK;
}

static size_t buffers_bytes(const struct ring_config *config)
{
    return (size_t)config->recv_buffers * (config->recv_buffer_bytes + BUFFER_GAP_BYTES);
}

static enum bk_err buffers_open(struct ring *ring, const char **ret_why)
{
    unsigned count = ring->config.recv_buffers;
    if (!count) {
        return BK_OK;
    }
    bk_assert((count & (count - 1)) == 0 && count <= 32768);
    ring->buffers = pages_map(buffers_bytes(&ring->config));
    ring->buffers_stack = calloc(count, sizeof ring->buffers_stack[0]);
    void *ring_map = mmap(NULL, count * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring_map == MAP_FAILED || !ring->buffers || !ring->buffers_stack) {
        return step_failed(ret_why, "receive buffers", ENOMEM, "give the process more memory");
    }
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)ring_map,
        .ring_entries = count,
        .bgid = BUFFER_GROUP,
    };
    int rc = io_uring_register_buf_ring(&ring->uring, &registration, 0);
    if (rc < 0) {
        return step_failed(ret_why, "registering receive buffers", -rc,
                           mend_locked);
    }
    ring->buffer_ring = ring_map;
    io_uring_buf_ring_init(ring->buffer_ring);
    for (unsigned i = count; i > 0; i--) {
        ring_buffer_give(ring, (uint16_t)(i - 1));
    }
    return BK_OK;
}

/* Ask a Unix socket pair for its peer's name: an unnamed one has two bytes (the family). */
static bool probe_peer_command(struct ring *ring)
{
    int pair[2];
    int32_t handle;
    if (!ring->table || ring->config.features_off & RING_FEATURE_PEER_COMMAND ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return false;
    }
    bool works = false;
    if (ring_reserved_install(ring, pair[0], &handle)) {
        struct sockaddr_storage address;
        struct io_uring_sqe *sqe = ring_sqe_take(ring);
        ring_prepare_peer_command(sqe, handle, &address, sizeof(sa_family_t));
        sqe->user_data = DATA_IGNORED;
        struct io_uring_cqe *cqe;
        if (io_uring_submit_and_wait(&ring->uring, 1) >= 0 &&
            io_uring_peek_cqe(&ring->uring, &cqe) == 0) {
            works = cqe->res == (int)sizeof(sa_family_t);
            io_uring_cqe_seen(&ring->uring, cqe);
        }
        ring_reserved_remove(ring, handle);
    }
    close(pair[0]);
    close(pair[1]);
    return works;
}

static void limit_workers(struct ring *ring)
{
    /* Nothing on the hot path may need a worker; a runaway must not start hundreds. */
    unsigned workers[2] = {2, 4};
    (void)io_uring_register_iowq_max_workers(&ring->uring, workers);
}

static void pin(int cpu)
{
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((unsigned)cpu, &set);
        (void)sched_setaffinity(0, sizeof set, &set);
    }
}

enum bk_err ring_open(const struct ring_config *config, struct ring **ret_ring,
                      const char **ret_why)
{
    struct ring *ring =
        mmap(NULL, sizeof *ring, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED) {
        return step_failed(ret_why, "ring memory", ENOMEM, "give the process more memory");
    }
    ring->config = *config;
    ring->signal_fd = -1;
    ring->table = !(config->features_off & RING_FEATURE_TABLE) && ring_has_table();
    ring->table_flag = ring->table ? IOSQE_FIXED_FILE : 0;
    pin(config->cpu);
    int rc = queue_open(ring);
    if (rc < 0) {
        munmap(ring, sizeof *ring);
        return open_failed(ret_why, -rc);
    }
    bool registered = io_uring_register_ring_fd(&ring->uring) == 1;
    enum bk_err err = handles_open(ring, ret_why);
    if (err == BK_OK) {
        err = buffers_open(ring, ret_why);
    }
    if (err != BK_OK) {
        io_uring_queue_exit(&ring->uring);
        munmap(ring, sizeof *ring);
        return err;
    }
    limit_workers(ring);
    for (unsigned i = 0; i < PEER_LOOKUPS; i++) {
        ring->lookups[i].next_free = ring->lookups_free;
        ring->lookups_free = &ring->lookups[i];
    }
    ring->peer_command = probe_peer_command(ring);
    ring->min_timeout = HAVE_MIN_TIMEOUT && ring->uring.features & FEATURE_MIN_TIMEOUT &&
                        !(config->features_off & RING_FEATURE_MIN_TIMEOUT);
    snprintf(ring->features, sizeof ring->features,
             "single-issuer defer-taskrun multishot%s buffer-ring%s%s%s%s",
             ring->table ? " direct-descriptors" : "", registered ? " ring-fd" : "",
             ring->peer_command ? " peer-command" : "", ring->min_timeout ? " min-timeout" : "",
             ring->restricted ? " restricted" : "");
    ring_clock_read(ring);
    *ret_ring = ring;
    return BK_OK;
}

void ring_close(struct ring *ring)
{
    io_uring_queue_exit(&ring->uring);
    if (ring->buffer_ring) {
        munmap(ring->buffer_ring, ring->config.recv_buffers * sizeof(struct io_uring_buf));
        pages_unmap(ring->buffers, buffers_bytes(&ring->config));
        free(ring->buffers_stack);
    }
    if (ring->write_buffers) {
        pages_unmap(ring->write_buffers, ring->write_buffers_bytes);
    }
    if (ring->signal_fd >= 0) {
        close(ring->signal_fd);
    }
    for (unsigned i = 0; i < HANDLES_RESERVED && !ring->table; i++) {
        if (ring->reserved_used >> i & 1) {
            close(ring->reserved[i]);
        }
    }
    munmap(ring, sizeof *ring);
}

const char *ring_features(const struct ring *ring)
{
    return ring->features;
}

const struct ring_stats *ring_stats(const struct ring *ring)
{
    return &ring->stats;
}
