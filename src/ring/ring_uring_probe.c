/* ring_uring_probe.c - may sockets and files lie in a ring's own table? */
#include "ring/ring_uring.h"

#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

/* What is taken out of a table is closed when all operations that began before have ended, those on
 * other descriptors, too (Linux 6.1 to 6.12: io_uring/rsrc.c, nodes are put "in order"). An accept
 * that stays armed would then keep every socket that is closed afterwards, and every file. */

enum { HELD, CLOSED, SLOTS }; /* places in the table */

#define POLL_DATA 1U

/* Completions come and are forgotten; false: not so many, or the last one failed. */
static bool reap(struct io_uring *uring, unsigned count)
{
    struct io_uring_cqe *cqe;
    int value = -1;
    if (io_uring_submit_and_wait(uring, count) < 0) {
        return false;
    }
    for (; count > 0 && io_uring_peek_cqe(uring, &cqe) == 0; count--) {
        value = cqe->res;
        io_uring_cqe_seen(uring, cqe);
    }
    return count == 0 && value >= 0;
}

/* While something waits for the held one, the other is taken out: does its peer see that? */
static bool peer_sees_close(struct io_uring *uring, int peer)
{
    char byte;
    struct io_uring_sqe *sqe = io_uring_get_sqe(uring);
    io_uring_prep_poll_add(sqe, HELD, POLLIN);
    sqe->flags |= IOSQE_FIXED_FILE;
    sqe->user_data = POLL_DATA;
    io_uring_prep_close_direct(io_uring_get_sqe(uring), CLOSED);
    bool sees = reap(uring, 1) && recv(peer, &byte, 1, MSG_DONTWAIT) == 0;
    /* Nothing may be left: what ends by itself later would interrupt this thread's system calls. */
    io_uring_prep_cancel64(io_uring_get_sqe(uring), POLL_DATA, 0);
    (void)reap(uring, 2);
    return sees;
}

/* The table then has the only descriptor of `closed`, which is closed here. */
static bool try_table(int held, int closed, int peer)
{
    struct io_uring uring;
    struct io_uring_params params = {.flags =
                                         IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN};
    const int files[SLOTS] = {held, closed};
    bool opened = io_uring_queue_init_params(4, &uring, &params) == 0;
    bool registered = opened && io_uring_register_files(&uring, files, SLOTS) == 0;
    (void)close(closed);
    bool works = registered && peer_sees_close(&uring, peer);
    if (opened) {
        io_uring_queue_exit(&uring);
    }
    return works;
}

static bool probe(void)
{
    int held[2], closed[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, held) != 0) {
        return false;
    }
    bool works = false;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, closed) == 0) {
        works = try_table(held[0], closed[0], closed[1]);
        (void)close(closed[1]);
    }
    (void)close(held[0]);
    (void)close(held[1]);
    return works;
}

bool ring_has_table(void)
{
    static _Atomic int known; /* 0 = not yet, 1 = no, 2 = yes: the same whoever asks first */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (answer == 0) {
        int found = probe() ? 2 : 1;
        /* Two may ask at once: all go by the answer that was there first. */
        answer = atomic_compare_exchange_strong(&known, &answer, found) ? found : answer;
    }
    return answer == 2;
}
