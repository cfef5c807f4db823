/* Description: a ring does what the server does, and nothing else: operations inside of it are not
 * seen by seccomp. Each that the kernel knows is tried with nothing in it. */
#include "base/assert.h"
#include "ring/ring_uring.h"

#include "tests/tap.h"

#include <errno.h>

/* Newer ones than these have no name in all headers: they are tried, too. */
#define OPERATIONS 64U

/* Files, other processes, memory of others: what a server's ring must never do. */
static const struct {
    uint8_t operation;
    const char *name;
} forbidden[] = {
    {IORING_OP_READV, "readv"},
    {IORING_OP_WRITEV, "writev"},
    {IORING_OP_FSYNC, "fsync"},
    {IORING_OP_READ_FIXED, "read_fixed"},
    {IORING_OP_READ, "read"},
    {IORING_OP_OPENAT, "openat"},
    {IORING_OP_OPENAT2, "openat2"},
    {IORING_OP_STATX, "statx"},
    {IORING_OP_FALLOCATE, "fallocate"},
    {IORING_OP_FADVISE, "fadvise"},
    {IORING_OP_MADVISE, "madvise"},
    {IORING_OP_EPOLL_CTL, "epoll_ctl"},
    {IORING_OP_SPLICE, "splice"},
    {IORING_OP_TEE, "tee"},
    {IORING_OP_RENAMEAT, "renameat"},
    {IORING_OP_UNLINKAT, "unlinkat"},
    {IORING_OP_MKDIRAT, "mkdirat"},
    {IORING_OP_SYMLINKAT, "symlinkat"},
    {IORING_OP_LINKAT, "linkat"},
    {IORING_OP_FSETXATTR, "fsetxattr"},
    {IORING_OP_SETXATTR, "setxattr"},
    {IORING_OP_GETXATTR, "getxattr"},
    {IORING_OP_PROVIDE_BUFFERS, "provide_buffers"},
};

/* What the kernel says to it: 0 or more when it was done. */
static int try(struct ring *ring, uint8_t operation)
{
    struct io_uring_cqe *cqe = NULL;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
    if (!sqe) {
        bail_out("the ring is full");
    }
    io_uring_prep_rw(operation, sqe, -1, NULL, 0, 0);
    if (io_uring_submit_and_wait(&ring->uring, 1) != 1 ||
        io_uring_wait_cqe(&ring->uring, &cqe) != 0) {
        bail_out("the ring takes nothing");
    }
    int result = cqe->res;
    io_uring_cqe_seen(&ring->uring, cqe);
    return result;
}

int main(void)
{
    struct ring_config config = {.entries = 16, .handles_max = 16, .cpu = -1};
    struct ring *ring;
    const char *why = "";
    unsigned refused = 0;
    if (ring_open(&config, &ring, &why) != BK_OK) {
        skip_all("%s", why);
    }
    if (!ring->restricted) {
        skip_all("this kernel has no restrictions for rings");
    }
    is_int(try(ring, IORING_OP_NOP), 0, "a ring works");
    for (size_t i = 0; i < bk_array_length(forbidden); i++) {
        is_int(try(ring, forbidden[i].operation), -EACCES, "%s", forbidden[i].name);
    }
    for (unsigned operation = OP_URING_CMD + 1; operation < OPERATIONS; operation++) {
        int result = try(ring, (uint8_t)operation);
        refused += result == -EACCES || result == -EINVAL;
    }
    is_uint(refused, OPERATIONS - OP_URING_CMD - 1, "what came to the kernel later");
    is_int(io_uring_register_eventfd(&ring->uring, 0), -EACCES, "nor is anything else registered");
    ring_close(ring);
    return done_testing();
}
