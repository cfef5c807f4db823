/* The floor: a bare io_uring responder. It reads HTTP requests without understanding them and sends
 * a constant reply, with the ring flags becket uses: multishot accept into direct descriptors,
 * multishot receive from provided buffers, one enter per turn. What it costs per request is the
 * kernel's TCP and ring; whatever a real server adds comes on top.
 *
 *   responder PORT      127.0.0.1 only; ends with SIGTERM
 *
 * The only thing it learns is how long a request is, from the first one of each connection
 * (Content-Length); all others of that connection must have the same length. */
#include <arpa/inet.h>
#include <errno.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HANDLES      16384U
#define ENTRIES      1024U
#define BUFFERS      1024U
#define BUFFER_BYTES 16384U
#define BATCH        256U
#define PIPELINE     64U

enum { DATA_ACCEPT = 1, DATA_SEND = 2, DATA_RECV = 3, DATA_OTHER = 4 };

/* Index is the direct descriptor. */
static struct connection {
    uint64_t request_bytes; /* 0 until the first request has come */
    uint64_t bytes;         /* received of the current one */
} connections[HANDLES];

static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                            "Content-Length: 40\r\n\r\n"
                            "{\"id\":\"evt_00000000000000000000000000\"}\n";
static char replies[PIPELINE * (sizeof reply - 1)];

static struct io_uring ring;
static struct io_uring_buf_ring *buffer_ring;
static uint8_t *buffers;
static int listener;

static void stop(const char *what, int rc)
{
    fprintf(stderr, "responder: %s: %s\n", what, strerror(rc < 0 ? -rc : rc));
    exit(1);
}

static struct io_uring_sqe *take(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    while (!sqe) {
        io_uring_submit(&ring);
        sqe = io_uring_get_sqe(&ring);
    }
    return sqe;
}

static void data_set(struct io_uring_sqe *sqe, uint64_t kind, int handle)
{
    io_uring_sqe_set_data64(sqe, kind << 32 | (uint32_t)handle);
}

static void arm_accept(void)
{
    struct io_uring_sqe *sqe = take();
    io_uring_prep_multishot_accept_direct(sqe, listener, NULL, NULL, 0);
    data_set(sqe, DATA_ACCEPT, 0);
}

static void arm_recv(int handle)
{
    struct io_uring_sqe *sqe = take();
    io_uring_prep_recv_multishot(sqe, handle, NULL, 0, 0);
    sqe->flags |= IOSQE_FIXED_FILE | IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    data_set(sqe, DATA_RECV, handle);
}

static void send_replies(int handle, unsigned count)
{
    struct io_uring_sqe *sqe = take();
    io_uring_prep_send(sqe, handle, replies, count * (sizeof reply - 1),
                       MSG_NOSIGNAL | MSG_WAITALL);
    sqe->flags |= IOSQE_FIXED_FILE;
    data_set(sqe, DATA_SEND, handle);
}

static void drop(int handle)
{
    connections[handle] = (struct connection){0};
    struct io_uring_sqe *sqe = take();
    io_uring_prep_close_direct(sqe, (unsigned)handle);
    data_set(sqe, DATA_OTHER, handle);
}

static uint64_t request_length(const uint8_t *at, size_t bytes)
{
    static const char name[] = "\r\nContent-Length:"; /* as the generators here write it */
    const uint8_t *end = memmem(at, bytes, "\r\n\r\n", 4);
    if (!end) {
        return 0;
    }
    size_t head = (size_t)(end - at) + 4;
    const uint8_t *field = memmem(at, head, name, sizeof name - 1);
    return head + (field ? strtoull((const char *)field + sizeof name - 1, NULL, 10) : 0);
}

static void on_recv(int handle, const struct io_uring_cqe *cqe)
{
    struct connection *connection = &connections[handle];
    bool ended = cqe->res <= 0 && cqe->res != -ENOBUFS;
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        unsigned id = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
        uint8_t *at = buffers + (size_t)id * BUFFER_BYTES;
        if (cqe->res > 0) {
            if (!connection->request_bytes) {
                connection->request_bytes = request_length(at, (size_t)cqe->res);
            }
            connection->bytes += (uint64_t)cqe->res;
            ended = !connection->request_bytes;
        }
        io_uring_buf_ring_add(buffer_ring, at, BUFFER_BYTES, (unsigned short)id,
                              io_uring_buf_ring_mask(BUFFERS), 0);
        io_uring_buf_ring_advance(buffer_ring, 1);
    }
    if (ended) {
        if (cqe->flags & IORING_CQE_F_MORE) {
            struct io_uring_sqe *sqe = take();
            io_uring_prep_cancel64(sqe, (uint64_t)DATA_RECV << 32 | (uint32_t)handle, 0);
            data_set(sqe, DATA_OTHER, handle);
        } else {
            drop(handle);
        }
        return;
    }
    unsigned count = 0;
    while (connection->request_bytes && connection->bytes >= connection->request_bytes &&
           count < PIPELINE) {
        connection->bytes -= connection->request_bytes;
        count++;
    }
    if (count) {
        send_replies(handle, count);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE)) {
        arm_recv(handle);
    }
}

static void on_entry(const struct io_uring_cqe *cqe)
{
    int handle = (int)(uint32_t)cqe->user_data;
    switch (cqe->user_data >> 32) {
    case DATA_ACCEPT:
        if (cqe->res >= 0) {
            connections[cqe->res] = (struct connection){0};
            arm_recv(cqe->res);
        }
        if (!(cqe->flags & IORING_CQE_F_MORE)) {
            arm_accept();
        }
        break;
    case DATA_RECV:
        on_recv(handle, cqe);
        break;
    default:
        break;
    }
}

static void open_listener(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 4096) != 0) {
        stop("listen", errno);
    }
}

static void open_ring(void)
{
    struct io_uring_params params = {
        .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE,
        .cq_entries = ENTRIES * 8,
    };
    int rc = io_uring_queue_init_params(ENTRIES, &ring, &params);
    if (rc < 0) {
        stop("io_uring_setup", rc);
    }
    (void)io_uring_register_ring_fd(&ring);
    rc = io_uring_register_files_sparse(&ring, HANDLES);
    if (rc < 0) {
        stop("registering descriptors", rc);
    }
    void *map = mmap(NULL, BUFFERS * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    buffers = aligned_alloc(4096, (size_t)BUFFERS * BUFFER_BYTES);
    struct io_uring_buf_reg registration = {.ring_addr = (uint64_t)(uintptr_t)map,
                                            .ring_entries = BUFFERS};
    if (map == MAP_FAILED || !buffers) {
        stop("receive buffers", ENOMEM);
    }
    rc = io_uring_register_buf_ring(&ring, &registration, 0);
    if (rc < 0) {
        stop("registering receive buffers", rc);
    }
    buffer_ring = map;
    io_uring_buf_ring_init(buffer_ring);
    for (unsigned i = 0; i < BUFFERS; i++) {
        io_uring_buf_ring_add(buffer_ring, buffers + (size_t)i * BUFFER_BYTES, BUFFER_BYTES,
                              (unsigned short)i, io_uring_buf_ring_mask(BUFFERS), (int)i);
    }
    io_uring_buf_ring_advance(buffer_ring, BUFFERS);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: responder PORT\n");
        return 2;
    }
    for (unsigned i = 0; i < PIPELINE; i++) {
        memcpy(replies + i * (sizeof reply - 1), reply, sizeof reply - 1);
    }
    open_listener((unsigned)strtoul(argv[1], NULL, 10));
    open_ring();
    arm_accept();
    for (;;) {
        struct io_uring_cqe *at[BATCH];
        io_uring_submit_and_wait(&ring, 1);
        unsigned count = io_uring_peek_batch_cqe(&ring, at, BATCH);
        for (unsigned i = 0; i < count; i++) {
            on_entry(at[i]);
        }
        io_uring_cq_advance(&ring, count);
    }
}
