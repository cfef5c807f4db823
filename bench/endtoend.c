/* From POST to the destination, against the disk's own flush: slices of flushes and of webhooks in
 * turn, so that both see the same disk. One thread is the sender, at an open loop's pace, and the
 * destination; each webhook carries the time when it was due, and the destination says how long ago
 * that was.
 *
 *   endtoend DIRECTORY FRAME_BYTES HOOK_PORT SINK_PORT RATE SLICES SECONDS SECRET PID
 *
 * RATE 0: one after the other, the next one up to 20 ms after the last was delivered. RATE below 0:
 * as fast as it goes, with so many posted and not yet delivered: the peak of the whole path, unless
 * this program is the limit, which its share of a core tells. PID: whose CPU time is ours too. One
 * line of JSON per slice; bench/endtoend reads them. */
#include "base/hex.h"
#include "base/hmac.h"
#include "cli/bench_histogram.h"
#include "clock.h"
#include "durable_write.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define CONNS        256U
#define SINK_CONNS   1024U
#define BUFFER_BYTES 16384U
#define BODY_BYTES   1024U
#define DUE_MAX      65536U
#define FILE_BYTES   (16U << 20)
#define PAUSE_NS_MAX 20000000U
#define WARM_NS      50000000U
#define DRAIN_NS     5000000000ULL

struct conn {
    int fd;
    bool sink;
    bool busy;
    uint64_t due_ns; /* of what is under way */
    size_t bytes;
    char buffer[BUFFER_BYTES];
};

struct slice_result {
    struct bench_histogram ack, delivered;
    uint64_t sent, answered, arrived, wrong;
    uint64_t in_time; /* arrived before the slice was over */
};

struct flushes {
    struct bench_histogram by_ring, by_call;
};

static struct conn conns[CONNS + SINK_CONNS];
static unsigned conn_count;
static unsigned idle[CONNS];
static unsigned idle_count;
static uint64_t due[DUE_MAX]; /* webhooks that wait for a connection */
static uint64_t due_head, due_tail;
static struct slice_result result;
static uint64_t measure_from_ns; /* what was due before does not count */
static uint64_t sent_number, last_arrived_ns;
static struct hmac_key key;
static bool one_by_one; /* nothing waits: what counts is when it was sent */
static uint64_t most;   /* posted and not yet delivered; 0 = an open loop */
static int epoll, listener;

static void stop(const char *what)
{
    fprintf(stderr, "endtoend: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(struct conn *conn)
{
    int one = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = conn};
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, conn->fd, &event) != 0) {
        stop("epoll");
    }
}

static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void listen_at(int port)
{
    struct sockaddr_in address = local(port);
    int one = 1;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 1024) != 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) != 0) {
        stop("the destination's port");
    }
}

static void connect_all(int port)
{
    struct sockaddr_in address = local(port);
    for (unsigned i = 0; i < CONNS; i++) {
        conns[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(conns[i].fd, (struct sockaddr *)&address, sizeof address) != 0) {
            stop("connect");
        }
        watch(&conns[i]);
        idle[idle_count++] = i;
    }
    conn_count = CONNS;
}

/* ---- flushes */

static int flush_file(const char *directory, const void *block, size_t bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/flush-probe-%d", directory, (int)getpid());
    int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT | O_CLOEXEC, 0600);
    if (file < 0) {
        stop(path);
    }
    (void)unlink(path);
    for (off_t at = 0; at < (off_t)FILE_BYTES; at += (off_t)bytes) {
        if (pwrite(file, block, bytes, at) != (ssize_t)bytes) {
            stop("preparing the file");
        }
    }
    (void)fsync(file);
    return file;
}

static void move_to(const cpu_set_t *cpus)
{
    if (sched_setaffinity(0, sizeof *cpus, cpus) != 0) {
        stop("sched_setaffinity");
    }
}

/* On the server's core, where the journal's are made: the disk's interrupt comes to one core, and
 * from another a flush takes half as long again. */
static void flush_slice(int file, void *block, size_t bytes, double seconds, pid_t server,
                        struct flushes *flushes)
{
    static off_t at;
    cpu_set_t own, its;
    if (sched_getaffinity(0, sizeof own, &own) != 0 ||
        sched_getaffinity(server, sizeof its, &its) != 0) {
        stop("sched_getaffinity");
    }
    move_to(&its);
    uint64_t before_ns = now_ns(), end_ns = before_ns + (uint64_t)(seconds * 1e9);
    for (bool by_call = false; before_ns < end_ns; by_call = !by_call) {
        if (!(by_call ? durable_write_by_call : durable_write_by_ring)(file, block, bytes, at)) {
            stop("write");
        }
        uint64_t after_ns = now_ns();
        bench_histogram_add(by_call ? &flushes->by_call : &flushes->by_ring,
                            after_ns - before_ns);
        before_ns = after_ns;
        at = (at + (off_t)bytes) % (off_t)FILE_BYTES;
    }
    move_to(&own);
}

/* ---- the sender */

static void post(struct conn *conn, uint64_t due_ns)
{
    char body[BODY_BYTES], request[BODY_BYTES + 1024], hex[2 * SHA256_BYTES];
    uint8_t mac[HMAC_BYTES_MAX];
    int head = snprintf(body, sizeof body, "{\"due\":\"%020llu\",\"filler\":\"",
                        (unsigned long long)due_ns);
    memset(body + head, 'x', sizeof body - (size_t)head - 2);
    memcpy(body + sizeof body - 2, "\"}", 2);
    struct slice part = slice_of((const uint8_t *)body, sizeof body);
    (void)hmac(&key, &part, 1, mac);
    hex_encode(mac, SHA256_BYTES, hex);
    int bytes = snprintf(
        request, sizeof request,
        "POST /hooks/bench HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nContent-Type: "
        "application/json\r\nUser-Agent: GitHub-Hookshot/2cd1f0a\r\nX-GitHub-Delivery: "
        "%08x-0000-4000-8000-%012llu\r\nX-GitHub-Event: push\r\nX-GitHub-Hook-ID: 292430182\r\n"
        "X-GitHub-Hook-Installation-Target-ID: 79929171\r\n"
        "X-GitHub-Hook-Installation-Target-Type: repository\r\n"
        "X-Hub-Signature-256: sha256=%.*s\r\nContent-Length: %u\r\n\r\n%.*s",
        (unsigned)getpid(), (unsigned long long)++sent_number, (int)sizeof hex, hex, BODY_BYTES,
        (int)sizeof body, body);
    conn->busy = true;
    conn->due_ns = due_ns;
    if (send(conn->fd, request, (size_t)bytes, MSG_NOSIGNAL) != bytes) {
        stop("send");
    }
    result.sent++;
}

static void post_what_is_due(void)
{
    while (due_head != due_tail && idle_count > 0) {
        uint64_t due_ns = due[due_head++ % DUE_MAX];
        post(&conns[idle[--idle_count]], one_by_one ? now_ns() : due_ns);
    }
}

static void answered(struct conn *conn)
{
    if (!memmem(conn->buffer, conn->bytes, "\r\n\r\n", 4)) {
        return;
    }
    if (memcmp(conn->buffer, "HTTP/1.1 200", 12) != 0) {
        result.wrong++;
    }
    if (conn->due_ns >= measure_from_ns) {
        bench_histogram_add(&result.ack, now_ns() - conn->due_ns);
    }
    result.answered++;
    conn->busy = false;
    conn->bytes = 0;
    idle[idle_count++] = (unsigned)(conn - conns);
}

/* ---- the destination: whole requests only */

static void arrived(struct conn *conn)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    char *end = memmem(conn->buffer, conn->bytes, "\r\n\r\n", 4);
    char *length = end ? memmem(conn->buffer, conn->bytes, "Content-Length: ", 16) : NULL;
    size_t whole = length ? (size_t)(end + 4 - conn->buffer) + strtoul(length + 16, NULL, 10) : 0;
    if (!length || conn->bytes < whole) {
        return;
    }
    char *stamp = memmem(end, conn->bytes - (size_t)(end - conn->buffer), "\"due\":\"", 7);
    uint64_t due_ns = stamp ? strtoull(stamp + 7, NULL, 10) : 0;
    last_arrived_ns = now_ns();
    if (due_ns >= measure_from_ns) {
        bench_histogram_add(&result.delivered, last_arrived_ns - due_ns);
    }
    result.arrived++;
    conn->bytes = 0;
    if (send(conn->fd, reply, sizeof reply - 1, MSG_NOSIGNAL) != (ssize_t)sizeof reply - 1) {
        stop("the destination's answer");
    }
}

static void accept_one(void)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0 || conn_count == CONNS + SINK_CONNS) {
        stop("accept");
    }
    struct conn *conn = &conns[conn_count++];
    *conn = (struct conn){.fd = fd, .sink = true};
    watch(conn);
}

static void readable(struct conn *conn)
{
    ssize_t bytes = recv(conn->fd, conn->buffer + conn->bytes, BUFFER_BYTES - conn->bytes, 0);
    if (bytes <= 0) {
        if (!conn->sink) {
            stop("a connection to becket ended");
        }
        close(conn->fd); /* the client lets idle ones go */
        return;
    }
    conn->bytes += (size_t)bytes;
    (conn->sink ? arrived : answered)(conn);
}

static void turn(uint64_t until_ns)
{
    struct epoll_event events[128];
    uint64_t now = now_ns();
    uint64_t wait_ns = until_ns > now ? until_ns - now : 0;
    struct timespec wait = {(time_t)(wait_ns / 1000000000ULL), (long)(wait_ns % 1000000000ULL)};
    int count = epoll_pwait2(epoll, events, 128, &wait, NULL);
    for (int i = 0; i < count; i++) {
        struct conn *conn = events[i].data.ptr;
        if (conn) {
            readable(conn);
        } else {
            accept_one();
        }
    }
}

/* ---- slices */

static uint64_t pause_ns(double rate)
{
    double part = (double)(random() + 1) / ((double)RAND_MAX + 2);
    return (uint64_t)(rate > 0 ? -log(part) / rate * 1e9 : part * PAUSE_NS_MAX);
}

static bool is_ready(double rate)
{
    if (most > 0) {
        return result.sent - result.arrived + (due_tail - due_head) < most && idle_count > 0;
    }
    return rate > 0 || (result.arrived == result.sent && result.answered == result.sent);
}

static void load_slice(double rate, double seconds)
{
    uint64_t next_ns = now_ns(), end_ns = next_ns + (uint64_t)(seconds * 1e9);
    memset(&result, 0, sizeof result);
    measure_from_ns = next_ns + WARM_NS;
    for (uint64_t now = next_ns; now < end_ns; now = now_ns()) {
        bool ready = is_ready(rate);
        while (ready && next_ns <= now && due_tail - due_head < DUE_MAX) {
            due[due_tail++ % DUE_MAX] = next_ns;
            next_ns = most > 0 ? now : next_ns + pause_ns(rate);
            post_what_is_due();
            ready = (rate > 0 || most > 0) && is_ready(rate);
        }
        post_what_is_due();
        turn(rate > 0 || (ready && most == 0) ? next_ns : end_ns);
        if (rate == 0 && last_arrived_ns > next_ns) {
            next_ns = last_arrived_ns + pause_ns(rate);
        }
    }
    result.in_time = result.arrived;
    for (uint64_t now = end_ns; now < end_ns + DRAIN_NS; now = now_ns()) {
        if (due_head == due_tail && result.answered == result.sent &&
            result.arrived >= result.sent) {
            return;
        }
        post_what_is_due();
        turn(now + 1000000);
    }
    fprintf(stderr, "endtoend: of %llu sent %llu were answered and %llu delivered\n",
            (unsigned long long)result.sent, (unsigned long long)result.answered,
            (unsigned long long)result.arrived);
    exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* CPU time of this program, and of becket. */
static uint64_t own_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

static uint64_t server_ns(pid_t server)
{
    clockid_t clock;
    return clock_getcpuclockid(server, &clock) == 0 ? clock_ns(clock) : 0;
}

/* Nanoseconds that all CPUs were busy, less ours: what somebody else used. */
static uint64_t foreign_ns(pid_t server)
{
    unsigned long long j[8] = {0};
    FILE *file = fopen("/proc/stat", "r");
    if (!file ||
        fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &j[0], &j[1], &j[2], &j[3],
               &j[4], &j[5], &j[6], &j[7]) != 8) {
        stop("/proc/stat");
    }
    fclose(file);
    uint64_t busy = j[0] + j[1] + j[2] + j[5] + j[6] + j[7];
    return busy * (uint64_t)(1000000000L / sysconf(_SC_CLK_TCK)) - own_ns() - server_ns(server);
}

static void print(const char *name, const struct bench_histogram *histogram)
{
    printf("\"%s\":{\"count\":%llu,\"p50\":%llu,\"p90\":%llu,\"p99\":%llu},", name,
           (unsigned long long)histogram->count,
           (unsigned long long)bench_histogram_quantile(histogram, 500000),
           (unsigned long long)bench_histogram_quantile(histogram, 900000),
           (unsigned long long)bench_histogram_quantile(histogram, 990000));
}

int main(int argc, char **argv)
{
    static struct flushes flush, next_flush;
    if (argc != 10) {
        fprintf(stderr, "usage: see the first lines of bench/endtoend.c\n");
        return 2;
    }
    size_t bytes = strtoul(argv[2], NULL, 10);
    double rate = strtod(argv[5], NULL), seconds = strtod(argv[7], NULL);
    unsigned slices = (unsigned)strtoul(argv[6], NULL, 10);
    pid_t server = (pid_t)strtol(argv[9], NULL, 10);
    void *block = bytes > 0 && bytes % 4096 == 0 && FILE_BYTES % bytes == 0
                      ? aligned_alloc(4096, bytes)
                      : NULL;
    if (!block) {
        return 2;
    }
    memset(block, 0xa5, bytes);
    int file = flush_file(argv[1], block, bytes);
    hmac_key_init(&key, HMAC_SHA256, slice_str(argv[8]));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    listen_at(atoi(argv[4]));
    connect_all(atoi(argv[3]));
    one_by_one = rate == 0;
    most = rate < 0 ? (uint64_t)-rate : 0;
    load_slice(rate > 0 ? rate : 100, 0.3); /* connections, memory */
    flush_slice(file, block, bytes, seconds / 2, server, &flush);
    for (unsigned i = 0; i < slices; i++) {
        uint64_t begin_ns = now_ns(), foreign = foreign_ns(server);
        uint64_t own = own_ns(), its = server_ns(server), load_ns = now_ns();
        load_slice(rate, seconds);
        load_ns = now_ns() - load_ns;
        own = own_ns() - own;
        its = server_ns(server) - its;
        memset(&next_flush, 0, sizeof next_flush);
        flush_slice(file, block, bytes, seconds / 2, server, &next_flush);
        double foreign_core =
            (double)(int64_t)(foreign_ns(server) - foreign) / (double)(now_ns() - begin_ns);
        bench_histogram_merge(&flush.by_ring, &next_flush.by_ring); /* before and behind */
        bench_histogram_merge(&flush.by_call, &next_flush.by_call);
        printf("{");
        print("flush", &flush.by_ring);
        print("flushByCall", &flush.by_call);
        print("ack", &result.ack);
        print("delivered", &result.delivered);
        printf("\"perSecond\":%.0f,\"own\":%.3f,\"server\":%.3f,", (double)result.in_time / seconds,
               (double)own / (double)load_ns, (double)its / (double)load_ns);
        printf("\"wrong\":%llu,\"foreign\":%.3f}\n", (unsigned long long)result.wrong,
               foreign_core);
        fflush(stdout);
        flush = next_flush;
    }
    return 0;
}
