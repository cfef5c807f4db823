/* A receiver of many deliveries that fails until it is told to mend: what came, how often, in which
 * order, and when it was tried meanwhile.
 *
 *   receiver PORT       127.0.0.1 only
 *
 * A line on standard input: "mend" (200 from now on, 500 before), "hang" (no answer to what comes
 * while it fails), anything else only asks; each is answered by a line of JSON about every path.
 * The end of the input ends it. bench/dead reads it. */
#include "clock.h"
#include "hub/events/event_id.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS         1024U
#define BUFFER_BYTES  16384U
#define PATHS         4U
#define SEQUENCES_MAX (16U << 20)
#define KEYS          256U
#define TRIES_KEPT    64U

struct conn {
    int fd;
    size_t bytes;
    char buffer[BUFFER_BYTES];
};

/* What came at one path. */
struct path {
    char name[16];
    uint64_t failed, came, again, disorder;
    uint64_t last_ns;             /* of a try that failed */
    uint64_t gaps_ms[TRIES_KEPT]; /* between those, the latest of them */
    uint64_t newest[KEYS];        /* sequence, by the last two digits of the delivery's id */
    uint8_t seen[SEQUENCES_MAX / 8];
};

static struct conn conns[CONNS];
static unsigned conn_count;
static struct path paths[PATHS];
static unsigned path_count;
static bool mended, hangs;
static int epoll, listener;

static void stop(const char *what)
{
    fprintf(stderr, "receiver: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void watch(int fd, void *data)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        stop("epoll");
    }
}

static struct path *path_of(const char *at, size_t bytes)
{
    bytes = bytes < sizeof paths[0].name ? bytes : sizeof paths[0].name - 1;
    for (unsigned i = 0; i < path_count; i++) {
        if (strlen(paths[i].name) == bytes && memcmp(paths[i].name, at, bytes) == 0) {
            return &paths[i];
        }
    }
    if (path_count == PATHS) {
        stop("too many paths");
    }
    memcpy(paths[path_count].name, at, bytes);
    return &paths[path_count++];
}

/* ---- one delivery */

static void note_failed(struct path *path)
{
    uint64_t now = now_ns();
    if (path->last_ns != 0) {
        path->gaps_ms[path->failed % TRIES_KEPT] = (now - path->last_ns) / 1000000;
    }
    path->last_ns = now;
    path->failed++;
}

static const char *header(const char *head, const char *name)
{
    const char *at = strstr(head, name);
    return at ? at + strlen(name) : NULL;
}

static void note_came(struct path *path, const char *head)
{
    const char *id = header(head, "\r\nwebhook-id: ");
    const char *delivery = header(head, "\r\nX-GitHub-Delivery: ");
    struct journal_position position;
    int64_t received_ms;
    path->came++;
    if (!id || !delivery ||
        !event_id_parse(slice_of((const uint8_t *)id, EVENT_ID_BYTES), &position, &received_ms) ||
        position.sequence >= SEQUENCES_MAX) {
        stop("a request without an id, or one that is out of range");
    }
    uint8_t *seen = &path->seen[position.sequence / 8];
    uint8_t bit = (uint8_t)(1U << position.sequence % 8);
    if (*seen & bit) {
        path->again++;
        return;
    }
    *seen |= bit;
    const char *last = delivery + strcspn(delivery, "\r") - 2;
    char digits[3] = {last[0], last[1], '\0'};
    uint64_t *newest = &path->newest[strtoul(digits, NULL, 16) % KEYS];
    path->disorder += position.sequence < *newest;
    *newest = position.sequence > *newest ? position.sequence : *newest;
}

/* True: a whole request was there. */
static bool take_request(struct conn *conn)
{
    static const char fine[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    static const char fails[] = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    conn->buffer[conn->bytes] = '\0';
    char *end = strstr(conn->buffer, "\r\n\r\n");
    if (!end) {
        return false;
    }
    *end = '\0';
    const char *length = header(conn->buffer, "\r\nContent-Length: ");
    const char *target = strchr(conn->buffer, ' ');
    size_t whole = (size_t)(end + 4 - conn->buffer) + (length ? strtoul(length, NULL, 10) : 0);
    if (!length || !target || whole >= BUFFER_BYTES) {
        stop("a request that is none");
    }
    if (conn->bytes < whole) {
        *end = '\r';
        return false;
    }
    struct path *path = path_of(target + 1, strcspn(target + 1, " ?"));
    mended ? note_came(path, conn->buffer) : note_failed(path);
    const char *reply = mended ? fine : fails;
    if ((mended || !hangs) && send(conn->fd, reply, sizeof fine - 1, MSG_NOSIGNAL) < 0) {
        return false; /* the end is read next */
    }
    conn->bytes -= whole;
    memmove(conn->buffer, conn->buffer + whole, conn->bytes);
    return conn->bytes > 0;
}

/* ---- connections */

static void accept_one(void)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    struct conn *conn = NULL;
    for (unsigned i = 0; i < CONNS && !conn; i++) {
        conn = conns[i].fd == 0 ? &conns[i] : NULL;
    }
    if (fd < 0 || !conn) {
        stop("accept");
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    conn->fd = fd;
    conn->bytes = 0;
    conn_count++;
    watch(fd, conn);
}

static void readable(struct conn *conn)
{
    ssize_t bytes = recv(conn->fd, conn->buffer + conn->bytes, BUFFER_BYTES - 1 - conn->bytes, 0);
    if (bytes <= 0) {
        close(conn->fd);
        conn->fd = 0;
        conn_count--;
        return;
    }
    conn->bytes += (size_t)bytes;
    while (take_request(conn)) {
    }
}

/* ---- what it is told, and tells */

static void tell(void)
{
    printf("{\"connections\":%u", conn_count);
    for (unsigned i = 0; i < path_count; i++) {
        const struct path *path = &paths[i];
        uint64_t count = path->failed < TRIES_KEPT ? path->failed : TRIES_KEPT;
        printf(
            ",\"%s\":{\"failed\":%llu,\"came\":%llu,\"again\":%llu,\"disorder\":%llu,\"gapsMs\":[",
            path->name, (unsigned long long)path->failed, (unsigned long long)path->came,
            (unsigned long long)path->again, (unsigned long long)path->disorder);
        for (uint64_t at = path->failed - count + 1; count > 0 && at < path->failed; at++) {
            printf("%s%llu", at > path->failed - count + 1 ? "," : "",
                   (unsigned long long)path->gaps_ms[at % TRIES_KEPT]);
        }
        printf("]}");
    }
    printf("}\n");
    fflush(stdout);
}

static void listen_to_input(void)
{
    char line[64];
    ssize_t bytes = read(STDIN_FILENO, line, sizeof line - 1);
    if (bytes <= 0) {
        exit(0);
    }
    line[bytes] = '\0';
    mended = mended || strstr(line, "mend");
    hangs = hangs || strstr(line, "hang");
    tell();
}

int main(int argc, char **argv)
{
    int one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (argc != 2) {
        fprintf(stderr, "usage: receiver PORT\n");
        return 2;
    }
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(listener, 1024) != 0) {
        stop("listen");
    }
    watch(listener, &listener);
    watch(STDIN_FILENO, &one);
    for (;;) {
        struct epoll_event events[128];
        int count = epoll_wait(epoll, events, 128, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &listener) {
                accept_one();
            } else if (events[i].data.ptr == &one) {
                listen_to_input();
            } else {
                readable(events[i].data.ptr);
            }
        }
    }
}
