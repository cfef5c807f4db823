/* Description: what every implementation of ring/ring.h must do, told by its contract alone. Here
 * it runs against the kernel; tests/sim/scenario_contract.c compiles the same source against the
 * simulator. */
#include "ring/file.h"
#include "ring/ring.h"

#include "base/assert.h"

#ifdef RING_CONTRACT_SIM
#include "sim/contract_host.h"
#define SEND_BIG (1 << 20) /* more than any window */
#else
#include "tap.h"

#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#define SEND_BIG (16 << 20)
#endif

#define MS                     1000000ULL
#define PATIENCE               (10000 * MS)
#define HANDLES_MAX            200U
#define RECV_BUFFER_BYTES_TEST 4096U

static struct ring *ring;
static unsigned done_depth; /* completions never run inside each other */

/* Turn until the condition holds or patience ends; the checks behind it then tell what is missing.
 */
#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        uint64_t until_ns = ring_now_ns(ring) + PATIENCE;                                          \
        while (!(condition) && ring_now_ns(ring) < until_ns) {                                     \
            ring_turn(ring, ring_now_ns(ring) + 20 * MS);                                          \
        }                                                                                          \
    } while (0)

/* ---- one operation whose completions are counted */

struct watch {
    struct ring_op op;
    unsigned completions;
    int32_t value; /* of the last one */
    bool ended;
};

static void watch_done(struct ring_op *op, const struct ring_result *result)
{
    struct watch *watch = bk_container_of(op, struct watch, op);
    bk_assert(done_depth == 0);
    done_depth++;
    bk_assert(!watch->ended);
    bk_assert(ring_op_busy(op) == result->more);
    watch->completions++;
    watch->value = result->value;
    watch->ended = !result->more;
    if (result->has_buffer) {
        ring_buffer_give(ring, result->buffer_id);
    }
    done_depth--;
}

/* ---- a stream of numbered bytes, so that a lost, doubled or moved one is seen */

#define PATTERN_PERIOD 65536U

static uint8_t pattern_byte(uint64_t at)
{
    return (uint8_t)(at * 31 + (at >> 8) * 7 + 1);
}

/* The stream from there on, a period at least. */
static const uint8_t *pattern(uint64_t from)
{
    static uint8_t bytes[2 * PATTERN_PERIOD];
    for (unsigned at = 0; at < sizeof bytes && bytes[sizeof bytes - 1] == 0; at++) {
        bytes[at] = pattern_byte(at);
    }
    return bytes + from % PATTERN_PERIOD;
}

static void pattern_fill(uint8_t *at, size_t bytes, uint64_t from)
{
    for (size_t done = 0, piece; done < bytes; done += piece) {
        piece = bytes - done < PATTERN_PERIOD ? bytes - done : PATTERN_PERIOD;
        memcpy(at + done, pattern(from + done), piece);
    }
}

struct reader {
    struct ring_op op;
    int32_t handle;
    uint64_t bytes;
    bool damaged;
    bool keep; /* do not give buffers back */
    bool stop; /* cancelled: do not arm again */
    bool eof;
    bool ended; /* error, end of stream, or cancelled */
    int32_t error;
    unsigned rearmed;
    unsigned kept_count;
    uint16_t kept[64];
};

static void reader_done(struct ring_op *op, const struct ring_result *result)
{
    struct reader *reader = bk_container_of(op, struct reader, op);
    bk_assert(done_depth == 0);
    done_depth++;
    bk_assert(!reader->ended);
    bk_assert(ring_op_busy(op) == result->more);
    if (result->value > 0) {
        bk_assert(result->has_buffer && result->buffer);
        bk_assert((uint32_t)result->value <= RECV_BUFFER_BYTES_TEST);
        reader->damaged |=
            memcmp(result->buffer, pattern(reader->bytes), (size_t)result->value) != 0;
        reader->bytes += (uint64_t)result->value;
    } else {
        bk_assert(!result->more); /* an error and the end of the stream end a multishot */
    }
    if (result->has_buffer && reader->keep && result->value > 0) {
        bk_assert(reader->kept_count < bk_array_length(reader->kept));
        reader->kept[reader->kept_count++] = result->buffer_id;
    } else if (result->has_buffer) {
        ring_buffer_give(ring, result->buffer_id);
    }
    if (result->value == 0) {
        reader->eof = true;
        reader->ended = true;
    } else if (result->value < 0 && (result->value != -BK_NO_BUFFERS || reader->keep)) {
        reader->error = result->value;
        reader->ended = true;
    } else if (!result->more &&
               reader->stop) { /* it ended by itself, and the cancel found nothing */
        reader->error = -BK_CANCELLED;
        reader->ended = true;
    } else if (!result->more) { /* a multishot may end at any time */
        reader->rearmed++;
        ring_recv(ring, op, reader->handle, reader_done);
    }
    done_depth--;
}

static void reader_start(struct reader *reader, int32_t handle)
{
    memset(reader, 0, sizeof *reader);
    reader->handle = handle;
    ring_recv(ring, &reader->op, handle, reader_done);
}

static void reader_cancel(struct reader *reader)
{
    reader->stop = true;
    ring_cancel(ring, &reader->op);
}

/* Cancel and wait: afterwards the handle may be closed. */
static void reader_stop(struct reader *reader)
{
    if (!reader->ended) {
        reader_cancel(reader);
        UNTIL(reader->ended);
    }
    ok(reader->ended && !ring_op_busy(&reader->op), "a cancelled receive ends");
}

/* ---- listeners and connections */

struct acceptor {
    struct ring_op op;
    int32_t listener;
    int32_t handles[128];
    struct ring_address peers[128];
    unsigned count;
    unsigned rearmed;
    bool stop; /* do not arm again */
    bool ended;
    int32_t error;
};

static void acceptor_done(struct ring_op *op, const struct ring_result *result)
{
    struct acceptor *acceptor = bk_container_of(op, struct acceptor, op);
    bk_assert(done_depth == 0);
    done_depth++;
    bk_assert(!acceptor->ended);
    bk_assert(ring_op_busy(op) == result->more);
    if (result->value >= 0) {
        bk_assert(acceptor->count < bk_array_length(acceptor->handles));
        acceptor->peers[acceptor->count] = result->peer ? *result->peer : (struct ring_address){0};
        acceptor->handles[acceptor->count++] = result->value;
    }
    if (!result->more) {
        if (result->value >= 0 || (result->value == -BK_AGAIN && !acceptor->stop)) {
            acceptor->rearmed++;
            ring_accept(ring, op, acceptor->listener, acceptor_done);
        } else {
            acceptor->ended = true;
            acceptor->error = result->value;
        }
    }
    done_depth--;
}

static struct ring_address loopback4(uint16_t port)
{
    return (struct ring_address){.family = 4, .port = port, .at = {127, 0, 0, 1}};
}

static struct ring_address loopback6(uint16_t port)
{
    struct ring_address address = {.family = 6, .port = port};
    address.at[15] = 1;
    return address;
}

static bool acceptor_start(struct acceptor *acceptor, struct ring_address *address)
{
    memset(acceptor, 0, sizeof *acceptor);
    enum bk_err err = ring_listen(ring, address, false, 256, &acceptor->listener);
    if (err != BK_OK) {
        return false;
    }
    ring_accept(ring, &acceptor->op, acceptor->listener, acceptor_done);
    return true;
}

static void close_handle(int32_t handle, const char *what)
{
    struct watch closed = {.ended = false};
    ring_close_handle(ring, &closed.op, handle, watch_done);
    UNTIL(closed.ended);
    ok(closed.ended && closed.value == 0, "close: %s", what);
}

static void acceptor_end(struct acceptor *acceptor)
{
    acceptor->stop = true;
    if (!acceptor->ended) {
        ring_cancel(ring, &acceptor->op);
        UNTIL(acceptor->ended);
        ok(acceptor->ended, "a cancelled accept ends");
    }
}

static void acceptor_stop(struct acceptor *acceptor)
{
    acceptor_end(acceptor);
    close_handle(acceptor->listener, "listener");
}

struct pair {
    int32_t client;
    int32_t server;
    struct ring_address peer;
};

static bool pair_make(struct acceptor *acceptor, const struct ring_address *address,
                      struct pair *ret_pair)
{
    struct watch connected = {.ended = false};
    unsigned before = acceptor->count;
    int32_t client = -1;
    ring_connect(ring, &connected.op, address, &client, watch_done);
    UNTIL(connected.ended && acceptor->count > before);
    if (!connected.ended || connected.value != 0 || acceptor->count != before + 1) {
        return false;
    }
    *ret_pair = (struct pair){client, acceptor->handles[before], acceptor->peers[before]};
    return true;
}

static void pair_close(const struct pair *pair)
{
    close_handle(pair->client, "client side");
    close_handle(pair->server, "server side");
}

static bool send_all(int32_t handle, const void *at, size_t bytes)
{
    struct watch sent = {.ended = false};
    ring_send(ring, &sent.op, handle, at, bytes, watch_done);
    UNTIL(sent.ended);
    return sent.ended && sent.completions == 1 && sent.value == (int32_t)bytes;
}

static void open_ring(struct ring_config config)
{
    const char *why = "";
    enum bk_err err = ring_open(&config, &ring, &why);
    if (err != BK_OK) {
        bail_out("ring_open: %s", why);
    }
}

static const struct ring_config usual = {
    .entries = 64,
    .handles_max = HANDLES_MAX,
    .recv_buffers = 32,
    .recv_buffer_bytes = RECV_BUFFER_BYTES_TEST,
    .cpu = -1,
};

/* ---- the tests */

static void test_clock_and_entropy(void)
{
    uint64_t first = ring_now_ns(ring);
    ok(ring_features(ring) && ring_features(ring)[0] != '\0', "features have names: %s",
       ring_features(ring));
    ring_turn(ring, 0);
    uint64_t start = ring_now_ns(ring);
    ok(start >= first, "the clock does not go back");
    ring_turn(ring, start + 50 * MS);
    uint64_t waited = ring_now_ns(ring) - start;
    ok(waited >= 50 * MS, "a deadline is never early (%llu us)", (unsigned long long)waited / 1000);
    ok(waited < 250 * MS, "nor much too late (%llu us)", (unsigned long long)waited / 1000);
    start = ring_now_ns(ring);
    ring_turn(ring, start > 1000 * MS ? start - 1000 * MS : 1);
    ring_turn(ring, 0);
    ok(ring_now_ns(ring) - start < 40 * MS, "a deadline of 0 or in the past does not wait");
    ok(ring_wall_ns(ring) > 1500000000LL * 1000000000LL, "wall time is after 2017");

    uint8_t one[32] = {0}, two[32] = {0};
    ring_entropy(one, sizeof one);
    ring_entropy(two, sizeof two);
    ok(memcmp(one, two, sizeof one) != 0, "entropy differs");
}

static void test_accept_and_streams(void)
{
    struct acceptor acceptor;
    struct ring_address address = loopback4(0);
    struct pair pair;
    ok(acceptor_start(&acceptor, &address), "listen on 127.0.0.1");
    ok(address.port != 0, "the port is told");
    if (!ok(pair_make(&acceptor, &address, &pair), "connect and accept")) {
        return;
    }
    ok(pair.peer.family == 4 && pair.peer.port != 0 && memcmp(pair.peer.at, address.at, 4) == 0,
       "the peer's address comes with the connection");
    ok(pair.peer.port != address.port, "and is not our own");

    static uint8_t data[100000];
    pattern_fill(data, sizeof data, 0);
    struct reader server, client;
    reader_start(&server, pair.server);
    reader_start(&client, pair.client);
    ok(send_all(pair.client, data, 1), "send one byte");
    UNTIL(server.bytes == 1);
    ok(send_all(pair.client, data + 1, sizeof data - 1), "send many");
    ok(send_all(pair.server, data, 5000), "and the other way");
    UNTIL(server.bytes == sizeof data && client.bytes == 5000);
    ok(server.bytes == sizeof data && !server.damaged, "all bytes arrive, in order");
    ok(client.bytes == 5000 && !client.damaged, "in both directions");

    struct watch half = {.ended = false};
    ring_shutdown(ring, &half.op, pair.client, watch_done);
    UNTIL(half.ended && server.eof);
    ok(half.value == 0 && server.eof && !ring_op_busy(&server.op),
       "shutdown gives the peer the end of the stream");
    ok(send_all(pair.server, data + 5000, 3000), "which may still send");
    UNTIL(client.bytes == 8000);
    ok(client.bytes == 8000 && !client.damaged, "and be heard");
    reader_stop(&client);
    ok(client.error == -BK_CANCELLED, "a quiet receive is cancelled: %s",
       bk_err_name((enum bk_err) - client.error));
    pair_close(&pair);
    acceptor_stop(&acceptor);
    ok(acceptor.error == -BK_CANCELLED, "a quiet accept is cancelled");
}

/* The peer of a closed connection sees the end; a handle is closed after its receive was cancelled.
 */
static void test_close_after_cancel(void)
{
    struct acceptor acceptor;
    struct ring_address address = loopback4(0);
    struct pair pair;
    ok(acceptor_start(&acceptor, &address), "listen");
    for (unsigned i = 0; i < 20; i++) {
        if (!pair_make(&acceptor, &address, &pair)) {
            ok(false, "connect %u", i);
            return;
        }
        struct reader server, client;
        reader_start(&server, pair.server);
        reader_start(&client, pair.client);
        if (i % 2) {
            ring_turn(ring, 0); /* once armed in the kernel, once still in the queue */
        }
        reader_cancel(&server);
        UNTIL(server.ended);
        bk_assert(server.ended && server.error == -BK_CANCELLED);
        struct watch closed = {.ended = false};
        ring_close_handle(ring, &closed.op, pair.server, watch_done);
        UNTIL(closed.ended && client.ended);
        if (closed.value != 0 || !client.eof) {
            ok(false, "round %u: close %d, peer's end %d", i, closed.value, client.eof);
            return;
        }
        closed = (struct watch){.ended = false};
        ring_close_handle(ring, &closed.op, pair.client, watch_done);
        UNTIL(closed.ended);
    }
    ok(true, "twenty times: cancel, close, the peer sees the end");
    acceptor_stop(&acceptor);
}

/* Rule one: a cancelled operation still completes, once, perhaps with success. */
static void test_cancel_races(void)
{
    struct acceptor acceptor;
    struct ring_address address = loopback4(0);
    struct pair pair;
    uint8_t data[64];
    pattern_fill(data, sizeof data, 0);
    ok(acceptor_start(&acceptor, &address), "listen");
    unsigned lost = 0, won = 0;
    for (unsigned i = 0; i < 100; i++) {
        if (!pair_make(&acceptor, &address, &pair)) {
            ok(false, "connect %u", i);
            return;
        }
        struct reader server;
        struct watch sent = {.ended = false};
        reader_start(&server, pair.server);
        ring_turn(ring, 0);
        ring_send(ring, &sent.op, pair.client, data, sizeof data, watch_done);
        if (i % 2) {
            ring_turn(ring, 0);
        }
        reader_cancel(&server);
        reader_cancel(&server); /* twice is no harm */
        UNTIL(server.ended && sent.ended);
        bk_assert(server.ended && server.error == -BK_CANCELLED && sent.ended);
        bk_assert(!server.damaged && (server.bytes == 0 || server.bytes <= sizeof data));
        lost += server.bytes > 0;
        won += server.bytes == 0;
        reader_stop(&server);
        struct watch closed[2] = {{.ended = false}, {.ended = false}};
        ring_close_handle(ring, &closed[0].op, pair.client, watch_done);
        ring_close_handle(ring, &closed[1].op, pair.server, watch_done);
        UNTIL(closed[0].ended && closed[1].ended);
    }
    ok(won + lost == 100, "each completes exactly once (%u cancelled first, %u received first)",
       won, lost);

    struct watch idle = {.ended = false};
    ring_cancel(ring, &idle.op);
    ring_turn(ring, 0);
    ok(idle.completions == 0 && !ring_op_busy(&idle.op),
       "cancelling an idle operation does nothing");

    int32_t handle = -1;
    struct watch connected = {.ended = false};
    ring_connect(ring, &connected.op, &address, &handle, watch_done);
    ring_cancel(ring, &connected.op);
    UNTIL(connected.ended);
    ok(connected.ended && connected.completions == 1, "a cancelled connect completes: %d",
       connected.value);
    if (connected.ended && connected.value == 0) {
        close_handle(handle, "the connect that won");
    }
    acceptor_end(&acceptor);
    for (unsigned i = 100; i < acceptor.count; i++) {
        close_handle(acceptor.handles[i], "what was accepted of it");
    }
    acceptor_stop(&acceptor);
}

/* Rule two: a multishot receive without buffers ends, and goes on once it is armed again. */
static void test_buffers_used_up(void)
{
    struct ring *outer = ring;
    struct ring_config config = usual;
    config.recv_buffers = 8;
    open_ring(config);
    struct acceptor acceptor;
    struct ring_address address = loopback4(0);
    struct pair pair;
    ok(acceptor_start(&acceptor, &address), "listen");
    if (!ok(pair_make(&acceptor, &address, &pair), "connect")) {
        return;
    }
    static uint8_t data[64 * 1024];
    pattern_fill(data, sizeof data, 0);
    struct reader server;
    reader_start(&server, pair.server);
    server.keep = true;
    ok(!ring_buffers_low(ring), "all buffers are there");
    struct watch sent = {.ended = false};
    ring_send(ring, &sent.op, pair.client, data, sizeof data, watch_done);
    UNTIL(server.ended);
    is_int(server.error, -BK_NO_BUFFERS, "ends with NO_BUFFERS");
    is_uint(server.kept_count, 8, "after all buffers were used");
    ok(ring_buffers_low(ring), "buffers are low");
    ok(ring_stats(ring)->recv_no_buffers > 0, "and it is counted");
    ok(!server.damaged && server.bytes > 0, "what came is whole");
    unsigned rounds = 0;
    while (server.bytes < sizeof data && rounds++ < 10000) {
        for (unsigned i = 0; i < server.kept_count; i++) {
            ring_buffer_give(ring, server.kept[i]);
        }
        server.kept_count = 0;
        server.ended = false;
        ring_recv(ring, &server.op, server.handle, reader_done);
        UNTIL(server.ended || server.bytes == sizeof data);
    }
    is_uint(server.bytes, sizeof data, "armed again, everything arrives");
    ok(!server.damaged, "and in order");
    for (unsigned i = 0; i < server.kept_count; i++) {
        ring_buffer_give(ring, server.kept[i]);
    }
    server.kept_count = 0;
    server.keep = false;
    ok(!ring_buffers_low(ring), "buffers are back");
    UNTIL(sent.ended);
    is_int(sent.value, sizeof data, "the sender is done");
    reader_stop(&server);
    pair_close(&pair);
    acceptor_stop(&acceptor);
    ring_close(ring);
    ring = outer;
}

/* Rule three: more operations than the submission queue holds, in one turn. */
static void test_full_queue(void)
{
    enum { COUNT = 96 };
    struct ring *outer = ring;
    struct ring_config config = usual;
    config.entries = 8;
    config.recv_buffers = 128;
    open_ring(config);
    struct acceptor acceptor;
    struct ring_address address = loopback4(0);
    static struct watch connected[COUNT], sent[COUNT], closed[2 * COUNT];
    static struct reader readers[COUNT];
    static int32_t clients[COUNT];
    static uint8_t data[3000];
    memset(connected, 0, sizeof connected);
    memset(sent, 0, sizeof sent);
    memset(closed, 0, sizeof closed);
    pattern_fill(data, sizeof data, 0);
    ok(acceptor_start(&acceptor, &address), "listen");
    unsigned good = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        ring_connect(ring, &connected[i].op, &address, &clients[i], watch_done);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        UNTIL(connected[i].ended && acceptor.count == COUNT);
        good += connected[i].ended && connected[i].value == 0;
    }
    if (!ok(good == COUNT && acceptor.count == COUNT,
            "%u connects in a queue of 8: %u, accepted %u", COUNT, good, acceptor.count)) {
        return;
    }
    for (unsigned i = 0; i < COUNT; i++) {
        reader_start(&readers[i], acceptor.handles[i]);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        ring_send(ring, &sent[i].op, clients[i], data, sizeof data, watch_done);
    }
    good = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        UNTIL(sent[i].ended && readers[i].bytes == sizeof data);
        good += sent[i].value == (int32_t)sizeof data && readers[i].bytes == sizeof data &&
                !readers[i].damaged;
    }
    ok(good == COUNT, "and as many sends and receives: %u", good);
    for (unsigned i = 0; i < COUNT; i++) {
        reader_cancel(&readers[i]);
    }
    good = 0;
    for (unsigned i = 0; i < COUNT; i++) {
        UNTIL(readers[i].ended);
        good += readers[i].ended && readers[i].error == -BK_CANCELLED;
    }
    ok(good == COUNT, "and as many cancels: %u", good);
    for (unsigned i = 0; i < COUNT; i++) {
        ring_close_handle(ring, &closed[2 * i].op, clients[i], watch_done);
        ring_close_handle(ring, &closed[2 * i + 1].op, acceptor.handles[i], watch_done);
    }
    good = 0;
    for (unsigned i = 0; i < 2 * COUNT; i++) {
        UNTIL(closed[i].ended);
        good += closed[i].ended && closed[i].value == 0;
    }
    ok(good == 2 * COUNT, "and twice as many closes: %u", good);
    acceptor_stop(&acceptor);
    ring_close(ring);
    ring = outer;
}

static void test_table_full(void)
{
    struct ring *outer = ring;
    struct ring_config config = usual;
    config.handles_max = 8;
    open_ring(config);
    struct acceptor acceptor;
    struct ring_address address = loopback4(0);
    ok(acceptor_start(&acceptor, &address), "listen");
    int32_t clients[16];
    unsigned open = 0;
    struct ring *server_ring = ring;
    ring = outer; /* clients live in the other ring, so that only accepts fill the small table */
    struct watch connected[16];
    memset(connected, 0, sizeof connected);
    for (unsigned i = 0; i < 16 && !acceptor.ended; i++, open++) {
        ring_connect(outer, &connected[i].op, &address, &clients[i], watch_done);
        uint64_t end = ring_now_ns(outer) + PATIENCE;
        unsigned before = acceptor.count;
        while (ring_now_ns(outer) < end &&
               (!connected[i].ended || (acceptor.count == before && !acceptor.ended))) {
            ring_turn(outer, ring_now_ns(outer) + MS);
            ring = server_ring;
            ring_turn(server_ring, ring_now_ns(server_ring) + MS);
            ring = outer;
        }
    }
    ring = server_ring;
    ok(acceptor.ended && acceptor.error == -BK_NO_DESCRIPTORS, "a full table ends the accept: %s",
       bk_err_name((enum bk_err) - acceptor.error));
    is_uint(acceptor.count, 8, "after all handles are used");
    unsigned taken = acceptor.count;
    if (taken) {
        close_handle(acceptor.handles[0], "one of them");
        acceptor.ended = false;
        ring_accept(ring, &acceptor.op, acceptor.listener, acceptor_done);
        struct watch again = {.ended = false};
        int32_t client = -1;
        ring = outer;
        ring_connect(outer, &again.op, &address, &client, watch_done);
        UNTIL(again.ended);
        ring = server_ring;
        UNTIL(acceptor.count > taken || acceptor.ended);
        ok(acceptor.count == taken + 1, "armed again after a close, it accepts again");
        ring = outer;
        if (again.value == 0) {
            close_handle(client, "client");
        }
        for (unsigned i = 0; i < open; i++) {
            if (connected[i].value == 0) {
                close_handle(clients[i], "client");
            }
        }
        ring = server_ring;
    }
    for (unsigned i = 1; i < acceptor.count; i++) {
        close_handle(acceptor.handles[i], "server side");
    }
    acceptor_stop(&acceptor);
    ring_close(ring);
    ring = outer;
}

#ifndef RING_CONTRACT_SIM
/* Who waits in a listener's queue for one turn each is dropped from it in a flood. */
static void test_accepts_in_a_turn(void)
{
    enum { COUNT = 24 };
    struct acceptor acceptor;
    struct ring_address address = loopback4(0);
    ok(acceptor_start(&acceptor, &address), "listen");
    ring_turn(ring, ring_now_ns(ring));
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons(address.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int clients[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bk_assert(connect(clients[i], (struct sockaddr *)&to, sizeof to) == 0);
    }
    unsigned turns = 0;
    for (; acceptor.count < COUNT && turns < COUNT; turns++) {
        ring_turn(ring, ring_now_ns(ring) + 20 * MS);
    }
    ok(acceptor.count == COUNT && turns <= COUNT / 4, "%u that wait are accepted in %u turns",
       acceptor.count, turns);
    for (unsigned i = 0; i < acceptor.count; i++) {
        close_handle(acceptor.handles[i], "server side");
    }
    for (unsigned i = 0; i < COUNT; i++) {
        close(clients[i]);
    }
    acceptor_stop(&acceptor);
}
#endif

static void test_refused(void)
{
    struct acceptor acceptor;
    struct ring_address address = loopback4(0);
    ok(acceptor_start(&acceptor, &address), "listen");
    struct ring_address second = address;
    int32_t handle = -1;
    is_int(ring_listen(ring, &second, false, 8, &handle), BK_BUSY, "an address in use is BUSY");
    acceptor_stop(&acceptor);
    unsigned refused = 0;
    for (unsigned i = 0; i < 2 * HANDLES_MAX;
         i++) { /* more than the table holds: nothing may leak */
        struct watch connected = {.ended = false};
        ring_connect(ring, &connected.op, &address, &handle, watch_done);
        UNTIL(connected.ended);
        refused += connected.ended && connected.value == -BK_REFUSED;
    }
    is_uint(refused, 2 * HANDLES_MAX, "connecting to nobody is REFUSED");

    struct ring_address shared = loopback4(0);
    int32_t one = -1, two = -1;
    is_int(ring_listen(ring, &shared, true, 8, &one), BK_OK, "reuse_port: the first");
    is_int(ring_listen(ring, &shared, true, 8, &two), BK_OK,
           "reuse_port: the second on the same port");
    close_handle(one, "first");
    close_handle(two, "second");
}

static void test_ipv6(void)
{
    struct acceptor acceptor;
    struct ring_address address = loopback6(0);
    struct pair pair;
    if (!acceptor_start(&acceptor, &address)) {
        skip("no IPv6 here");
        return;
    }
    if (ok(pair_make(&acceptor, &address, &pair), "connect over IPv6")) {
        ok(pair.peer.family == 6 && pair.peer.port != 0 &&
               memcmp(pair.peer.at, address.at, 16) == 0,
           "the peer's address is ::1");
        ok(send_all(pair.client, "\x01", 1), "send");
        pair_close(&pair);
    }
    acceptor_stop(&acceptor);

    struct ring_address any = {.family = 6};
    struct ring_address mapped;
    if (!acceptor_start(&acceptor, &any)) {
        skip("cannot listen on ::");
        return;
    }
    mapped = loopback4(any.port);
    if (ok(pair_make(&acceptor, &mapped, &pair), "an IPv4 client of a listener on ::")) {
        ok(pair.peer.family == 4 && memcmp(pair.peer.at, mapped.at, 4) == 0, "is reported as IPv4");
        pair_close(&pair);
    }
    acceptor_stop(&acceptor);
}

/* "All bytes or an error": never a short count. */
static void test_send_whole(void)
{
    enum { BIG = SEND_BIG };
    struct acceptor acceptor;
    struct ring_address address = loopback4(0);
    struct pair pair;
    uint8_t *data = malloc(BIG);
    bk_assert(data);
    pattern_fill(data, BIG, 0);
    ok(acceptor_start(&acceptor, &address), "listen");
    if (ok(pair_make(&acceptor, &address, &pair), "connect")) {
        struct watch sent = {.ended = false};
        ring_send(ring, &sent.op, pair.client, data, BIG, watch_done);
        ring_turn(ring, ring_now_ns(ring) + 20 * MS);
        ok(!sent.ended, "a send larger than the window waits");
        struct reader server;
        reader_start(&server, pair.server);
        UNTIL(sent.ended && server.bytes == BIG);
        is_int(sent.value, BIG, "and completes whole when the peer reads");
        ok(server.bytes == BIG && !server.damaged, "every byte in order");
        reader_stop(&server);
        pair_close(&pair);
    }
    if (ok(pair_make(&acceptor, &address, &pair), "connect")) {
        struct watch sent = {.ended = false};
        ring_send(ring, &sent.op, pair.client, data, BIG, watch_done);
        ring_turn(ring, ring_now_ns(ring) + 20 * MS);
        close_handle(pair.server, "a peer that has not read");
        UNTIL(sent.ended);
        is_int(sent.value, -BK_RESET, "a peer that closes half-way makes it RESET");
        close_handle(pair.client, "client");
    }
    if (ok(pair_make(&acceptor, &address, &pair), "connect")) {
        struct watch sent = {.ended = false};
        ring_send(ring, &sent.op, pair.client, data, BIG, watch_done);
        ring_turn(ring, ring_now_ns(ring) + 20 * MS);
        ring_cancel(ring, &sent.op);
        UNTIL(sent.ended);
        ok(sent.ended && (sent.value < 0 || sent.value == BIG),
           "a send cancelled half-way is an error: %d", sent.value);
        struct reader server;
        reader_start(&server, pair.server);
        close_handle(pair.client, "client");
        UNTIL(server.ended);
        ok(server.ended, "the peer sees its end");
        close_handle(pair.server, "server");
    }
    if (ok(pair_make(&acceptor, &address, &pair), "connect")) {
        close_handle(pair.server, "server");
        int32_t last = 0;
        for (unsigned i = 0; i < 100 && last >= 0; i++) {
            struct watch sent = {.ended = false};
            ring_send(ring, &sent.op, pair.client, data, 1000, watch_done);
            UNTIL(sent.ended);
            bk_assert(sent.value < 0 || sent.value == 1000);
            last = sent.value;
            ring_turn(ring, ring_now_ns(ring) + MS);
        }
        is_int(last, -BK_RESET, "sending to a closed peer fails in the end");
        close_handle(pair.client, "client");
    }
    acceptor_stop(&acceptor);
    free(data);
}

/* Pieces of every size, empty ones among them, arrive as one stream; also when the peer reads late.
 */
static void test_send_pieces(void)
{
    enum { BIG = SEND_BIG };
    struct acceptor acceptor;
    struct ring_address address = loopback4(0);
    struct pair pair;
    uint8_t *data = malloc(BIG);
    bk_assert(data);
    pattern_fill(data, BIG, 0);
    ok(acceptor_start(&acceptor, &address), "listen");
    if (ok(pair_make(&acceptor, &address, &pair), "connect")) {
        static const size_t cuts[RING_PIECES_MAX] = {0,    1,    1,    3,       700,     5000,
                                                     5000, 5001, 9000, BIG / 2, BIG - 1, BIG};
        struct watch sent = {.ended = false};
        struct ring_pieces pieces = {.count = RING_PIECES_MAX};
        size_t from = 0;
        for (unsigned i = 0; i < RING_PIECES_MAX; i++) {
            pieces.at[i] = slice_of(data + from, cuts[i] - from);
            from = cuts[i];
        }
        ring_send_pieces(ring, &sent.op, pair.client, &pieces, watch_done);
        ring_turn(ring, ring_now_ns(ring) + 20 * MS);
        ok(!sent.ended, "more than the window waits");
        struct reader server;
        reader_start(&server, pair.server);
        UNTIL(sent.ended && server.bytes == BIG);
        is_int(sent.value, BIG, "all pieces were sent");
        ok(server.bytes == BIG && !server.damaged, "every byte in order");
        reader_stop(&server);
        pair_close(&pair);
    }
    if (ok(pair_make(&acceptor, &address, &pair), "connect")) {
        struct watch sent = {.ended = false};
        struct ring_pieces pieces = {.count = 2, .at = {{data, 10}, {data + 10, BIG - 10}}};
        ring_send_pieces(ring, &sent.op, pair.client, &pieces, watch_done);
        ring_turn(ring, ring_now_ns(ring) + 20 * MS);
        close_handle(pair.server, "a peer that has not read");
        UNTIL(sent.ended);
        is_int(sent.value, -BK_RESET, "a peer that closes half-way makes it RESET");
        close_handle(pair.client, "client");
    }
    acceptor_stop(&acceptor);
    free(data);
}

/* An operation may be queued again from its own completion; that does not run inside it. */
struct chain {
    struct ring_op op;
    int32_t handle;
    unsigned left;
    uint8_t byte;
    uint64_t sent;
};

static void chain_done(struct ring_op *op, const struct ring_result *result)
{
    struct chain *chain = bk_container_of(op, struct chain, op);
    bk_assert(done_depth == 0);
    done_depth++;
    bk_assert(result->value == 1 && !result->more);
    if (--chain->left > 0) {
        chain->sent++;
        chain->byte = pattern_byte(chain->sent);
        ring_send(ring, op, chain->handle, &chain->byte, 1, chain_done);
    }
    done_depth--;
}

static void test_chain(void)
{
    struct acceptor acceptor;
    struct ring_address address = loopback4(0);
    struct pair pair;
    ok(acceptor_start(&acceptor, &address), "listen");
    if (!ok(pair_make(&acceptor, &address, &pair), "connect")) {
        return;
    }
    struct reader server;
    reader_start(&server, pair.server);
    struct chain chain = {.handle = pair.client, .left = 1000, .byte = pattern_byte(0)};
    ring_send(ring, &chain.op, chain.handle, &chain.byte, 1, chain_done);
    UNTIL(chain.left == 0 && server.bytes == 1000);
    ok(chain.left == 0 && server.bytes == 1000 && !server.damaged,
       "a thousand sends, each from the one before");
    reader_stop(&server);
    pair_close(&pair);
    acceptor_stop(&acceptor);
}

/* Lazy sends complete like others, and what was sent in earlier turns is not waited for. */
static void test_lazy(void)
{
    struct acceptor acceptor;
    struct ring_address address = loopback4(0);
    struct pair pair;
    uint8_t bytes[101];
    pattern_fill(bytes, sizeof bytes, 0);
    ok(acceptor_start(&acceptor, &address), "listen");
    if (!ok(pair_make(&acceptor, &address, &pair), "connect")) {
        return;
    }
    struct reader server;
    reader_start(&server, pair.server);
    unsigned good = 0;
    for (unsigned i = 0; i < 100; i++) {
        struct watch sent = {.ended = false};
        ring_send_lazy(ring, &sent.op, pair.client, bytes + i, 1, watch_done);
        ring_turn(ring, ring_now_ns(ring) + PATIENCE);
        UNTIL(sent.ended);
        good += sent.ended && sent.value == 1;
    }
    is_uint(good, 100, "lazy sends complete, though nothing else happens");
    UNTIL(server.bytes == 100);
    uint64_t before_ns = ring_clock_ns(ring);
    (void)before_ns;
    struct watch last = {.ended = false};
    ring_gather(ring, 2, 2000000);
    ring_send(ring, &last.op, pair.client, bytes + 100, 1, watch_done);
    while (!last.ended || server.bytes != 101) {
        ring_turn(ring, ring_now_ns(ring) + PATIENCE);
    }
    ring_gather(ring, 0, 0);
#ifndef RING_CONTRACT_SIM /* whose network may take its time */
    ok(ring_clock_ns(ring) - before_ns < 1000 * MS, "two completions are soon gathered");
#endif
    ok(!server.damaged, "and all bytes came");
    reader_stop(&server);
    pair_close(&pair);
    acceptor_stop(&acceptor);
}

static void test_durable_write(void)
{
    enum { BLOCK = 65536 };
    struct ring *outer = ring;
    open_ring(usual);
    char path[64];
    snprintf(path, sizeof path, "ring-contract-%ld.tmp", (long)getpid());
    int file = -1;
    int32_t handle = -1;
    uint8_t *buffers = NULL;
    uint64_t bytes = 0;
    if (!ok(file_open(path, FILE_READ | FILE_WRITE | FILE_CREATE | FILE_DIRECT, &file) == BK_OK,
            "create a file")) {
        ring_close(ring);
        ring = outer;
        return;
    }
    ok(file_allocate(file, 8 * BLOCK) == BK_OK, "allocate");
    ok(file_bytes(file, &bytes) == BK_OK && bytes == 8 * BLOCK, "its size");
    is_int(ring_file_attach(ring, file, &handle), BK_OK, "attach it");
    is_int(ring_write_buffers(ring, 2, BLOCK, &buffers), BK_OK, "write buffers");
    ok(((uintptr_t)buffers & 4095) == 0, "are aligned");
    pattern_fill(buffers, 2 * BLOCK, 0);
    struct watch written[3] = {{.ended = false}, {.ended = false}, {.ended = false}};
    uint8_t *own = aligned_alloc(4096, BLOCK);
    bk_assert(own);
    pattern_fill(own, BLOCK, 2 * BLOCK);
    ring_write(ring, &written[0].op, handle, buffers, BLOCK, 0, 0, true, watch_done);
    ring_write(ring, &written[1].op, handle, buffers + BLOCK, BLOCK, BLOCK, 1, true, watch_done);
    ring_write(ring, &written[2].op, handle, own, BLOCK, 2 * BLOCK, -1, false, watch_done);
    UNTIL(written[0].ended && written[1].ended && written[2].ended);
    is_int(written[0].value, BLOCK, "a durable write");
    is_int(written[1].value, BLOCK, "and another beside it");
    is_int(written[2].value, BLOCK, "one from memory that is not pinned, without the flush");
    uint8_t *back = aligned_alloc(4096, 4 * BLOCK);
    bk_assert(back);
    size_t got = 0;
    ok(file_read(file, back, 3 * BLOCK, 0, &got) == BK_OK && got == 3 * BLOCK, "read it back");
    bool same = true;
    for (size_t i = 0; i < 3 * BLOCK; i++) {
        same &= back[i] == pattern_byte(i);
    }
    ok(same, "the same bytes");
    close_handle(handle, "file handle");
    file_close(file);

    ok(file_open(path, FILE_READ | FILE_DIRECT, &file) == BK_OK, "open it read-only");
    is_int(ring_file_attach(ring, file, &handle), BK_OK, "attach it");
    written[0] = (struct watch){.ended = false};
    ring_write(ring, &written[0].op, handle, own, BLOCK, 0, -1, true, watch_done);
    UNTIL(written[0].ended);
    ok(written[0].value < 0, "a write to it fails: %s",
       bk_err_name((enum bk_err) - written[0].value));
    close_handle(handle, "file handle");
    file_close(file);
    ok(file_unlink(path) == BK_OK, "remove the file");
    free(back);
    free(own);
    ring_close(ring);
    ring = outer;
}

/* ---- mail. A party is another thread with its own ring (in the simulator: another ring). */

#ifndef RING_CONTRACT_SIM
struct party {
    struct ring *ring;
    struct ring_config config;
    pthread_t thread;
    atomic_bool open;
    atomic_bool stop;
};

static void *party_main(void *context)
{
    struct party *party = context;
    const char *why = "";
    bk_assert(ring_open(&party->config, &party->ring, &why) == BK_OK);
    atomic_store(&party->open, true);
    while (!atomic_load(&party->stop)) {
        ring_turn(party->ring, UINT64_MAX);
    }
    ring_close(party->ring);
    return NULL;
}

static void party_start(struct party *party)
{
    bk_assert(pthread_create(&party->thread, NULL, party_main, party) == 0);
    while (!atomic_load(&party->open)) {
        usleep(100);
    }
}

static void party_stop_mail(struct ring_mail *mail)
{
    (void)mail;
}

static void party_stop(struct party *party)
{
    static struct ring_mail last;
    last.run = party_stop_mail;
    atomic_store(&party->stop, true);
    ring_post(ring, party->ring, &last);
    ring_turn(ring, 0);
    pthread_join(party->thread, NULL);
}

static uint64_t thread_now(void)
{
    return (uint64_t)pthread_self();
}
#endif

struct letter {
    struct ring_mail mail;
    unsigned number;
    uint64_t run_on;
};

#define LETTERS 100000U
static struct letter *letters;
static struct party other;
static unsigned there, back_again;
static struct {
    bool out_of_order, wrong_thread;
} main_saw, other_saw; /* one for each thread */
static uint64_t main_thread;

static void letter_back(struct ring_mail *mail)
{
    struct letter *letter = bk_container_of(mail, struct letter, mail);
    main_saw.out_of_order |= letter->number != back_again;
    main_saw.wrong_thread |= thread_now() != main_thread;
    back_again++;
}

static void letter_there(struct ring_mail *mail)
{
    struct letter *letter = bk_container_of(mail, struct letter, mail);
    other_saw.out_of_order |= letter->number != there;
    other_saw.wrong_thread |= thread_now() == main_thread;
    there++;
    letter->mail.run = letter_back;
    ring_post(other.ring, ring, mail); /* posted from inside run(): the letter is ours again */
}

static void test_mail(unsigned count)
{
    letters = calloc(count, sizeof *letters);
    bk_assert(letters);
    there = back_again = 0;
    memset(&main_saw, 0, sizeof main_saw);
    memset(&other_saw, 0, sizeof other_saw);
    main_thread = thread_now();
    memset(&other, 0, sizeof other);
    other.config = (struct ring_config){.entries = 64, .handles_max = 8, .cpu = -1};
    party_start(&other);

    /* It sleeps without a deadline; one letter must wake it, and the answer must wake us. */
    ring_turn(ring, ring_now_ns(ring) + 30 * MS);
    letters[0].mail.run = letter_there;
    ring_post(ring, other.ring, &letters[0].mail);
    uint64_t start = ring_now_ns(ring);
    while (back_again == 0 && ring_now_ns(ring) < start + PATIENCE) {
        ring_turn(ring, start + PATIENCE);
    }
    uint64_t took = ring_now_ns(ring) - start;
    ok(back_again == 1 && took < PATIENCE / 2,
       "a letter wakes a sleeper, its answer wakes us (%llu us)", (unsigned long long)took / 1000);

    unsigned sent = 1;
    unsigned batch = 1;
    while (sent < count) {
        for (unsigned i = 0; i < batch && sent < count; i++, sent++) {
            letters[sent].number = sent;
            letters[sent].mail.run = letter_there;
            ring_post(ring, other.ring, &letters[sent].mail);
        }
        batch = batch % 997 + 7;
        ring_turn(ring, 0);
    }
    UNTIL(back_again == count);
    is_uint(back_again, count, "%u letters there and back", count);
    ok(!main_saw.out_of_order && !other_saw.out_of_order, "in order");
    ok(!main_saw.wrong_thread && !other_saw.wrong_thread, "each run on the thread of its receiver");
    party_stop(&other);
    free(letters);
    letters = NULL;
}

static void self_run(struct ring_mail *mail)
{
    there++;
    (void)mail;
}

static void test_mail_to_self(void)
{
    struct ring_mail mail = {.run = self_run};
    there = 0;
    ring_post(ring, ring, &mail);
    ok(there == 0, "a letter to oneself does not run inside ring_post");
    uint64_t start = ring_now_ns(ring);
    while (there == 0 && ring_now_ns(ring) < start + PATIENCE) {
        ring_turn(ring, start + PATIENCE);
    }
    ok(there == 1 && ring_now_ns(ring) - start < PATIENCE / 2,
       "but in the next turn, without sleeping");
}

/* Two senders to one receiver: order holds for each. */
static struct party senders[2];
static unsigned heard[2];
static struct letter *volleys[2];

static void volley_heard(struct ring_mail *mail)
{
    struct letter *letter = bk_container_of(mail, struct letter, mail);
    unsigned who = (unsigned)letter->run_on;
    main_saw.out_of_order |= letter->number != heard[who];
    heard[who]++;
}

struct volley {
    struct ring_mail mail;
    unsigned who;
    unsigned count;
};

static void volley_fire(struct ring_mail *mail)
{
    struct volley *volley = bk_container_of(mail, struct volley, mail);
    for (unsigned i = 0; i < volley->count; i++) {
        struct letter *letter = &volleys[volley->who][i];
        *letter =
            (struct letter){.mail = {.run = volley_heard}, .number = i, .run_on = volley->who};
        ring_post(senders[volley->who].ring, ring, &letter->mail);
    }
}

static void test_mail_from_two(unsigned count)
{
    static struct volley start[2];
    memset(&main_saw, 0, sizeof main_saw);
    memset(senders, 0, sizeof senders);
    for (unsigned i = 0; i < 2; i++) {
        heard[i] = 0;
        volleys[i] = calloc(count, sizeof(struct letter));
        bk_assert(volleys[i]);
        senders[i].config = (struct ring_config){.entries = 16, .handles_max = 8, .cpu = -1};
        party_start(&senders[i]);
    }
    for (unsigned i = 0; i < 2; i++) {
        start[i] = (struct volley){.mail = {.run = volley_fire}, .who = i, .count = count};
        ring_post(ring, senders[i].ring, &start[i].mail);
    }
    UNTIL(heard[0] == count && heard[1] == count);
    ok(heard[0] == count && heard[1] == count, "two senders, %u letters each", count);
    ok(!main_saw.out_of_order, "in order for each sender");
    for (unsigned i = 0; i < 2; i++) {
        party_stop(&senders[i]);
        free(volleys[i]);
    }
}

#ifndef RING_CONTRACT_SIM
static void raise_signal(int number)
{
    bk_assert(kill(getpid(), number) == 0);
}
#endif

static void test_signals(void)
{
    struct ring *outer = ring;
    open_ring(usual);
    struct watch signals = {.ended = false};
    const int wanted[] = {SIGUSR1, SIGUSR2};
    is_int(ring_signals(ring, &signals.op, wanted, 2, watch_done), BK_OK);
    ring_turn(ring, 0);
    raise_signal(SIGUSR1);
    UNTIL(signals.completions == 1);
    ok(signals.completions == 1 && signals.value == SIGUSR1 && !signals.ended,
       "a signal completes");
    raise_signal(SIGUSR2);
    UNTIL(signals.completions == 2);
    ok(signals.completions == 2 && signals.value == SIGUSR2 && !signals.ended, "and the next one");
    ring_cancel(ring, &signals.op);
    UNTIL(signals.ended);
    ok(signals.ended && !ring_op_busy(&signals.op), "waiting for signals can be cancelled");
    ring_close(ring);
    ring = outer;
}

#ifndef RING_CONTRACT_SIM
/* A descriptor as a library would have it: always writable, readable once filled. */
static int foreign_make(void)
{
    int os_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bk_assert(os_fd >= 0);
    return os_fd;
}

static void foreign_fill(int os_fd)
{
    bk_assert(eventfd_write(os_fd, 1) == 0);
}

static void foreign_drain(int os_fd)
{
    eventfd_t value;
    bk_assert(eventfd_read(os_fd, &value) == 0);
}

static void foreign_end(int os_fd)
{
    bk_assert(close(os_fd) == 0);
}
#endif

static void test_poll(void)
{
    int os_fd = foreign_make();
    struct watch watch = {.ended = false};
    ring_poll(ring, &watch.op, os_fd, RING_POLL_READ, watch_done);
    uint64_t start_ns = ring_now_ns(ring);
    ring_turn(ring, start_ns + 30 * MS);
    ok(!watch.ended && ring_op_busy(&watch.op), "a quiet descriptor does not complete");
    foreign_fill(os_fd);
    UNTIL(watch.ended);
    ok(watch.ended && watch.completions == 1 && watch.value == RING_POLL_READ,
       "it does, once, when it can be read");

    watch = (struct watch){.ended = false};
    ring_poll(ring, &watch.op, os_fd, RING_POLL_READ | RING_POLL_WRITE, watch_done);
    UNTIL(watch.ended);
    is_int(watch.value, RING_POLL_READ | RING_POLL_WRITE, "asked again, it still is (by level)");
    foreign_drain(os_fd);
    watch = (struct watch){.ended = false};
    ring_poll(ring, &watch.op, os_fd, RING_POLL_READ | RING_POLL_WRITE, watch_done);
    UNTIL(watch.ended);
    is_int(watch.value, RING_POLL_WRITE, "only what is ready is told");

    watch = (struct watch){.ended = false};
    ring_poll(ring, &watch.op, os_fd, RING_POLL_READ, watch_done);
    ring_turn(ring, 0);
    ring_cancel(ring, &watch.op);
    UNTIL(watch.ended);
    ok(watch.ended && watch.value == -BK_CANCELLED && !ring_op_busy(&watch.op),
       "waiting can be cancelled");

    /* As a library does: it says that it closes, we cancel, it closes, all in one turn. */
    struct watch gone = {.ended = false};
    watch = (struct watch){.ended = false};
    ring_poll(ring, &watch.op, os_fd, RING_POLL_READ, watch_done);
    ring_turn(ring, 0);
    ring_poll(ring, &gone.op, os_fd, RING_POLL_READ, watch_done);
    ring_cancel(ring, &watch.op);
    ring_cancel(ring, &gone.op);
    foreign_end(os_fd);
    UNTIL(watch.ended && gone.ended);
    ok(watch.ended && gone.ended, "cancel and close in one turn: both end");
    watch = (struct watch){.ended = false};
    ring_poll(ring, &watch.op, os_fd, RING_POLL_READ, watch_done);
    UNTIL(watch.ended);
    is_int(watch.value, -BK_CLOSED, "a descriptor that is not open");
}

static void all_tests(struct ring_config config)
{
    open_ring(config);
#ifndef RING_CONTRACT_MAIL_ONLY
    test_clock_and_entropy();
    test_accept_and_streams();
    test_close_after_cancel();
    test_cancel_races();
#ifndef RING_CONTRACT_SIM
    test_accepts_in_a_turn();
#endif
    test_refused();
    test_ipv6();
    test_send_whole();
    test_send_pieces();
    test_chain();
    test_lazy();
    test_buffers_used_up();
    test_full_queue();
    test_table_full();
    test_durable_write();
    test_poll();
    test_signals();
#endif
    test_mail_to_self();
#ifdef RING_CONTRACT_SIM
    test_mail(1000);
    test_mail_from_two(200);
#else
    test_mail(LETTERS);
    test_mail_from_two(20000);
#endif
    ok(ring_stats(ring)->cq_overflows == 0, "no completion queue overflow");
    ring_close(ring);
    ring = NULL;
}

#ifndef RING_CONTRACT_SIM
int main(void)
{
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigaddset(&blocked, SIGUSR2);
    bk_assert(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
    struct ring *probe = NULL;
    const char *why = "";
    struct ring_config config = usual;
    if (ring_open(&config, &probe, &why) == BK_PERMISSION) {
        skip_all("%s", why);
    }
    ring_close(probe);
    all_tests(usual);
    config.features_off = RING_FEATURE_PEER_COMMAND;
    diag("again without the socket command");
    all_tests(config);
    config.features_off = RING_FEATURE_TABLE;
    diag("again without a table of descriptors");
    all_tests(config);
    return done_testing();
}
#endif
