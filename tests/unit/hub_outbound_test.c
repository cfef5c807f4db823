/* Description: calls of the control thread through a reactor's client: answers come back whole,
 * refused ones too, and nothing is left. Both rings are turned by this thread. */
#include "http/write.h"
#include "hub/calls/outbound.h"
#include "tap.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define MS 1000000ULL

static struct ring *control, *reactor;
static struct timer_wheel wheel;
static struct buffers buffers;
static struct http_client *client;
static struct outbound *outbound;

struct result {
    unsigned runs;
    enum bk_err err;
    unsigned status;
    size_t body_bytes;
    char body[64];
    char header[64];
    char why[HTTP_CALL_WHY_BYTES];
};

static void call_done(void *context, const struct outbound_answer *answer)
{
    struct result *result = context;
    result->runs++;
    result->err = answer->err;
    result->status = answer->status;
    result->body_bytes = answer->body.bytes;
    snprintf(result->why, sizeof result->why, "%s", answer->why);
    snprintf(result->body, sizeof result->body, "%.*s", (int)(answer->body.bytes % 60),
             (const char *)answer->body.at);
    if (answer->head) {
        const struct http_header *header = http_find(answer->head, SLICE("x-test"), NULL);
        struct slice value = header ? http_header_value(answer->head, header) : SLICE_EMPTY;
        snprintf(result->header, sizeof result->header, "%.*s", (int)value.bytes,
                 (const char *)value.at);
    }
}

static void turn(void)
{
    ring_turn(reactor, ring_now_ns(reactor) + MS);
    timer_wheel_run(&wheel, ring_now_ns(reactor));
    http_client_flush(client);
    ring_turn(control, ring_now_ns(control) + MS);
}

static void wait_for(const unsigned *runs, unsigned count)
{
    uint64_t until_ns = ring_now_ns(control) + 5000 * MS;
    while (*runs < count && ring_now_ns(control) < until_ns) {
        turn();
    }
}

static enum bk_err start(uint16_t port, size_t body_bytes, uint32_t answer_max,
                         struct result *result)
{
    static uint8_t body[OUTBOUND_REQUEST_BYTES_MAX + 1];
    uint8_t room[512];
    struct http_write write;
    struct http_origin origin = {.port = port, .host = "127.0.0.1", .allow_private = true};
    struct outbound_request request = {.origin = &origin,
                                       .body = slice_of(body, body_bytes),
                                       .body_bytes_max = answer_max,
                                       .done = call_done,
                                       .context = result};
    http_origin_init(&origin);
    http_write_init(&write, room, sizeof room);
    http_write_request(&write, SLICE("POST"), &origin, SLICE("/"), SLICE(""));
    http_write_header_number(&write, SLICE("Content-Length"), body_bytes);
    if (http_write_end(&write, &request.head) != BK_OK) {
        bail_out("head");
    }
    enum bk_err err = outbound_call(outbound, &request);
    memset(room, 0, sizeof room); /* all of it was copied */
    return err;
}

/* ---- a server that answers each connection once, and one that never does */

static int listen_on(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bk_assert(bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 64) == 0);
    bk_assert(getsockname(fd, (struct sockaddr *)&address, &bytes) == 0);
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static void *server_main(void *context)
{
    int listener = *(int *)context, fd;
    static const char answer[] = "HTTP/1.1 202 Accepted\r\nX-Test: yes\r\nConnection: close\r\n"
                                 "Content-Length: 100\r\n\r\n";
    char text[65536];
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        size_t left = SIZE_MAX;
        for (ssize_t got; left > 0 && (got = read(fd, text, sizeof text - 1)) > 0;) {
            text[got] = '\0';
            const char *end = strstr(text, "\r\n\r\n"), *at = strstr(text, "Content-Length: ");
            left = left == SIZE_MAX
                       ? strtoul(at + 16, NULL, 10) + (size_t)(end + 4 - text) - (size_t)got
                       : left - (size_t)got;
        }
        bk_assert(write(fd, answer, sizeof answer - 1) > 0);
        memset(text, 'b', 100);
        bk_assert(write(fd, text, 100) == 100);
        close(fd);
    }
    return NULL;
}

int main(void)
{
    struct ring_config config = {.entries = 64, .handles_max = 64, .cpu = -1};
    const char *why = "";
    enum bk_err err = ring_open(&config, &control, &why);
    if (err == BK_PERMISSION) {
        skip_all("%s", why);
    }
    config.recv_buffers = 64;
    config.recv_buffer_bytes = 16384;
    config.handles_max = 2048;
    bk_assert(err == BK_OK && ring_open(&config, &reactor, &why) == BK_OK);
    timer_wheel_init(&wheel, ring_now_ns(reactor));
    buffers_init(&buffers, 64U << 20);
    bk_assert(http_client_open(reactor, &wheel, &buffers, &http_client_defaults, &client) == BK_OK);
    bk_assert(outbound_open(control, reactor, client, &outbound) == BK_OK);
    uint16_t port;
    int listener = listen_on(&port);
    pthread_t thread;
    bk_assert(pthread_create(&thread, NULL, server_main, &listener) == 0);

    static struct result result, many[50];
    is_int(start(port, 1000, 0, &result), BK_OK, "a call");
    is_uint(result.runs, 0, "is not done at once");
    wait_for(&result.runs, 1);
    ok(result.err == BK_OK && result.status == 202 && result.body_bytes == 100,
       "its answer comes back: %s", result.why);
    is_str(result.header, "yes", "with its head");
    result = (struct result){0};
    is_int(start(port, 5, 99, &result), BK_OK, "an answer larger than wanted");
    wait_for(&result.runs, 1);
    ok(result.err == BK_TOO_LARGE && result.status == 202, "is refused: %s", result.why);
    is_int(start(port, OUTBOUND_REQUEST_BYTES_MAX + 1, 0, &result), BK_TOO_LARGE,
           "a request that is too large");
    for (unsigned i = 0; i < 50; i++) {
        bk_assert(start(port, i * 10000, 0, &many[i]) == BK_OK);
    }
    unsigned good = 0;
    for (unsigned i = 0; i < 50; i++) {
        wait_for(&many[i].runs, 1);
        good += many[i].runs == 1 && many[i].err == BK_OK;
    }
    is_uint(good, 50, "fifty at once");
    http_client_drain(client);
    result = (struct result){0};
    is_int(start(port, 1, 0, &result), BK_OK, "a call to a reactor that drains");
    wait_for(&result.runs, 1);
    is_int(result.err, BK_CANCELLED, "is cancelled");
    for (unsigned i = 0; i < 1000 && !(http_client_idle(client) && outbound_idle(outbound)); i++) {
        turn();
    }
    ok(http_client_idle(client) && outbound_idle(outbound), "nothing is left");
    turn();
    outbound_close(outbound);
    http_client_close(client);
    buffers_fini(&buffers);
    ring_close(control);
    ring_close(reactor);
    shutdown(listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(listener);
    return done_testing();
}
