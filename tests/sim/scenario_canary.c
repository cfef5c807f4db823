/* Canaries: small programs with a planted bug each. A run that does not find it is a failed run,
 * for then the machinery that should find bugs is broken. */
#include "scenario.h"

#include <stdlib.h>

static struct ring *ring;

static void open_ring(void)
{
    const char *why = "";
    struct ring_config config = {
        .entries = 16, .handles_max = 16, .recv_buffers = 4, .recv_buffer_bytes = 512, .cpu = -1};
    bk_assert(ring_open(&config, &ring, &why) == BK_OK);
}

void canary_configure(struct sim_config *config)
{
    config->op_delay_us = 100;
    config->latency_us = 100;
    config->disk_us_min = 50;
    config->disk_us_max = 500;
}

struct counted {
    struct ring_op op;
    unsigned completions;
    int32_t value;
};

static void counted_done(struct ring_op *op, const struct ring_result *result)
{
    struct counted *counted = bk_container_of(op, struct counted, op);
    counted->completions += !result->more;
    counted->value = result->value;
}

static void counted_wait(struct counted *counted)
{
    while (!counted->completions) {
        ring_turn(ring, UINT64_MAX);
    }
}

/* A log that acknowledges a record when its write completed, but never flushed it. It lies in a
 * file that came through a crash: what was on the disk then has to stay there until a flush. */
void canary_flush_run(void)
{
    enum { RECORDS = 8, BLOCK = 4096 };
    int file = -1;
    int32_t handle = -1;
    uint8_t *block = aligned_alloc(4096, BLOCK);
    bk_assert(block);
    open_ring();
    bk_assert(file_open("log", FILE_READ | FILE_WRITE | FILE_CREATE | FILE_DIRECT, &file) == BK_OK);
    memset(block, 255, BLOCK);
    for (unsigned i = 0; i < RECORDS; i++) {
        bk_assert(file_write(file, block, BLOCK, i * BLOCK) == BK_OK);
    }
    bk_assert(file_sync(file) == BK_OK && directory_sync(".") == BK_OK);
    file_close(file);
    sim_disk_crash();
    bk_assert(file_open("log", FILE_READ | FILE_WRITE | FILE_DIRECT, &file) == BK_OK);
    bk_assert(ring_file_attach(ring, file, &handle) == BK_OK);
    unsigned acknowledged = 0;
    for (unsigned i = 0; i < RECORDS; i++) {
        struct counted write = {.completions = 0};
        memset(block, (int)i + 1, BLOCK);
        ring_write(ring, &write.op, handle, block, BLOCK, i * BLOCK, -1, false /* the bug */,
                   counted_done);
        counted_wait(&write);
        acknowledged += write.value == BLOCK;
    }
    struct counted closed = {.completions = 0};
    ring_close_handle(ring, &closed.op, handle, counted_done);
    counted_wait(&closed);
    file_close(file);
    ring_close(ring);
    sim_disk_crash();
    bk_assert(file_open("log", FILE_READ | FILE_DIRECT, &file) == BK_OK);
    for (unsigned i = 0; i < acknowledged; i++) {
        size_t bytes = 0;
        bk_assert(file_read(file, block, BLOCK, i * BLOCK, &bytes) == BK_OK);
        for (size_t at = 0; at < BLOCK; at++) {
            sim_check(block[at] == i + 1, "acknowledged record %u is not on the disk", i);
        }
    }
    file_close(file);
    free(block);
}

/* Two streams that meet the ring; what each canary does wrong is up to it. */
static int32_t listener, client, server;

static void accepted(struct ring_op *op, const struct ring_result *result)
{
    struct counted *counted = bk_container_of(op, struct counted, op);
    counted->completions += !result->more;
    if (result->value >= 0) {
        server = result->value;
    }
}

static void pair_open(void)
{
    struct ring_address address = {.family = 4, .at = {127, 0, 0, 1}};
    struct counted accept = {.completions = 0}, connect = {.completions = 0};
    open_ring();
    server = -1;
    bk_assert(ring_listen(ring, &address, false, 4, &listener) == BK_OK);
    ring_accept(ring, &accept.op, listener, accepted);
    ring_connect(ring, &connect.op, &address, &client, counted_done);
    counted_wait(&connect);
    while (server < 0) {
        ring_turn(ring, UINT64_MAX);
    }
    ring_cancel(ring, &accept.op);
    counted_wait(&accept);
}

static void close_wait(int32_t handle)
{
    struct counted closed = {.completions = 0};
    ring_close_handle(ring, &closed.op, handle, counted_done);
    counted_wait(&closed);
}

static void pair_close(void)
{
    close_wait(client);
    close_wait(server);
    close_wait(listener);
    ring_close(ring);
}

static uint8_t *kept;
static uint16_t kept_id;

static void keep_done(struct ring_op *op, const struct ring_result *result)
{
    struct counted *counted = bk_container_of(op, struct counted, op);
    counted->completions += !result->more;
    if (result->has_buffer) {
        kept = result->buffer;
        kept_id = result->buffer_id;
    }
}

static void receive_something(void)
{
    struct counted received = {.completions = 0}, sent = {.completions = 0};
    pair_open();
    ring_recv(ring, &received.op, server, keep_done);
    ring_send(ring, &sent.op, client, "hello", 5, counted_done);
    counted_wait(&sent);
    while (!kept) {
        ring_turn(ring, UINT64_MAX);
    }
    ring_cancel(ring, &received.op);
    counted_wait(&received);
}

/* A receive buffer is never given back. */
void canary_leak_run(void)
{
    receive_something();
    pair_close();
}

/* A receive buffer is read after it was given back. */
void canary_stale_run(void)
{
    receive_something();
    ring_buffer_give(ring, kept_id);
    sim_check(kept[0] == 'h', "what was read is garbage");
    pair_close();
}

/* A handle is closed while a receive is armed on it. */
void canary_close_run(void)
{
    struct counted received = {.completions = 0};
    pair_open();
    ring_recv(ring, &received.op, server, counted_done);
    close_wait(server);
    close_wait(client);
    close_wait(listener);
    ring_close(ring);
}

/* The bytes of a send are changed before it completes. */
void canary_send_run(void)
{
    static uint8_t text[100000];
    struct counted sent = {.completions = 0};
    pair_open();
    memset(text, 'a', sizeof text);
    ring_send(ring, &sent.op, client, text, sizeof text, counted_done);
    ring_turn(ring, 0);
    memset(text, 'b', sizeof text);
    struct counted received = {.completions = 0};
    ring_recv(ring, &received.op, server, keep_done);
    while (!sent.completions) {
        ring_turn(ring, ring_now_ns(ring) + 1000000);
        if (kept) {
            ring_buffer_give(ring, kept_id);
            kept = NULL;
        }
        if (received.completions) {
            received.completions = 0;
            ring_recv(ring, &received.op, server, keep_done);
        }
    }
    ring_cancel(ring, &received.op);
    counted_wait(&received);
    pair_close();
}

/* Two threads, each waiting for the other's letter. */
static void lazy_main(void *context)
{
    struct ring **own = context;
    const char *why = "";
    struct ring_config config = {.entries = 16, .handles_max = 16, .cpu = -1};
    bk_assert(ring_open(&config, own, &why) == BK_OK);
    ring_turn(*own, UINT64_MAX);
    ring_close(*own);
}

void canary_sleep_run(void)
{
    struct ring *other = NULL;
    struct sim_thread *thread = sim_spawn("lazy", lazy_main, &other);
    open_ring();
    ring_turn(ring, UINT64_MAX); /* nobody has posted anything */
    ring_close(ring);
    sim_join(thread);
}
