/* durable_write.h - one write that is durable when it returns, in the two ways there are.
 *
 * By a ring: as the journal does it; the kernel's worker sends the flush behind the write. By a
 * blocking call: the thread itself sends both. On a busy machine the worker waits for its turn on
 * the CPU, and the first takes longer by that; acknowledgements are compared with the first. */
#ifndef BECKET_BENCH_DURABLE_WRITE_H
#define BECKET_BENCH_DURABLE_WRITE_H

#include <errno.h>
#include <liburing.h>
#include <stdbool.h>
#include <sys/uio.h>

static inline bool durable_write_by_ring(int file, void *block, size_t bytes, off_t at)
{
    static struct io_uring ring;
    struct io_uring_cqe *cqe;
    if (ring.ring_fd == 0) {
        int rc = io_uring_queue_init(8, &ring,
                                     IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
        if (rc != 0) {
            errno = -rc;
            return false;
        }
    }
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    io_uring_prep_write(sqe, file, block, (unsigned)bytes, (uint64_t)at);
    sqe->rw_flags = RWF_DSYNC;
    if (io_uring_submit_and_wait(&ring, 1) < 0 || io_uring_wait_cqe(&ring, &cqe) != 0) {
        return false;
    }
    int written = cqe->res;
    io_uring_cqe_seen(&ring, cqe);
    errno = written < 0 ? -written : 0;
    return written == (int)bytes;
}

static inline bool durable_write_by_call(int file, void *block, size_t bytes, off_t at)
{
    struct iovec vector = {block, bytes};
    return pwritev2(file, &vector, 1, at, RWF_DSYNC) == (ssize_t)bytes;
}

#endif
