/* http_server_fuzz - any bytes on a connection of the server: however they are cut, the answers are
 * the same, and when the peer is gone everything came back. The first byte chooses the cuts, and
 * whether the peer reads its answers late, so that what follows is gathered. The ring below it is a
 * small one of its own.
 */
#include "base/assert.h"
#include "http/server.h"
#include "ring/timer.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BODY_MAX      20000U
#define OUT_MAX       (1U << 22)
#define INPUT_MAX     40000U
#define PENDING_MAX   64U
#define CONN_HANDLE   5
#define LISTEN_HANDLE 1

/* ---- a ring with one listener and one connection */

struct pending {
    struct ring_op *op;
    int32_t value;
};

struct ring {
    struct ring_op *accept_op, *recv_op;
    struct pending pending[PENDING_MAX];
    unsigned pending_count;
    bool closed, recv_cancelled;
    size_t out_bytes;
    uint8_t out[OUT_MAX];
};

static struct ring the_ring;

static void queue(struct ring *ring, struct ring_op *op, int32_t value)
{
    bk_assert(ring->pending_count < PENDING_MAX);
    ring->pending[ring->pending_count++] = (struct pending){op, value};
}

static void begin(struct ring_op *op, ring_done_fn *done)
{
    bk_assert(!op->inflight);
    op->inflight = 1;
    op->done = done;
}

static void finish(struct ring_op *op, int32_t value)
{
    struct ring_result result = {.value = value};
    op->inflight = 0;
    op->done(op, &result);
}

uint64_t ring_now_ns(const struct ring *ring)
{
    (void)ring;
    return 1000000000;
}

int64_t ring_wall_ns(const struct ring *ring)
{
    (void)ring;
    return 1700000000LL * 1000000000;
}

void ring_entropy(void *at, size_t bytes)
{
    memset(at, 0x5a, bytes);
}

void ring_accept(struct ring *ring, struct ring_op *op, int32_t listener, ring_done_fn *done)
{
    bk_assert(listener == LISTEN_HANDLE);
    begin(op, done);
    ring->accept_op = op;
}

void ring_recv(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    bk_assert(handle == CONN_HANDLE && !ring->closed);
    begin(op, done);
    ring->recv_op = op;
}

void ring_buffer_give(struct ring *ring, uint16_t buffer_id)
{
    (void)ring;
    bk_assert(buffer_id == 0);
}

bool ring_buffers_low(const struct ring *ring)
{
    (void)ring;
    return false;
}

void ring_send(struct ring *ring, struct ring_op *op, int32_t handle, const void *at, size_t bytes,
               ring_done_fn *done)
{
    bk_assert(handle == CONN_HANDLE && !ring->closed && bytes > 0);
    bk_assert(bytes <= OUT_MAX - ring->out_bytes);
    begin(op, done);
    memcpy(ring->out + ring->out_bytes, at, bytes);
    ring->out_bytes += bytes;
    queue(ring, op, (int32_t)bytes);
}

void ring_send_lazy(struct ring *ring, struct ring_op *op, int32_t handle, const void *at,
                    size_t bytes, ring_done_fn *done)
{
    ring_send(ring, op, handle, at, bytes, done);
}

void ring_send_pieces(struct ring *ring, struct ring_op *op, int32_t handle,
                      struct ring_pieces *pieces, ring_done_fn *done)
{
    (void)ring, (void)op, (void)handle, (void)pieces, (void)done;
    bk_never("no TLS here");
}

void ring_shutdown(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    bk_assert(handle == CONN_HANDLE && !ring->closed);
    begin(op, done);
    queue(ring, op, 0);
}

void ring_close_handle(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    begin(op, done);
    ring->closed |= handle == CONN_HANDLE;
    queue(ring, op, 0);
}

void ring_cancel(struct ring *ring, struct ring_op *target)
{
    if (target->inflight && target == ring->recv_op && !ring->recv_cancelled) {
        ring->recv_cancelled = true; /* what the kernel has received by then still comes */
        queue(ring, target, -(int)BK_CANCELLED);
    } else if (target->inflight && target == ring->accept_op) {
        ring->accept_op = NULL;
        queue(ring, target, -(int)BK_CANCELLED);
    }
}

/* ---- a handler that says what it got */

static unsigned requests;

/* A target that nobody has. Who asks first is answered before the body, so its answer depends on
 * how the bytes came: it finds somebody everywhere. */
static bool is_nobody(const struct http_head *head)
{
    return slice_starts(http_target(head), SLICE("/no")) && !head->expect_continue;
}

static void refuse(struct http_exchange *exchange)
{
    http_answer_error(exchange, 404, "not_found", "nobody", SLICE_EMPTY);
}

static uint64_t on_head(void *context, struct http_exchange *exchange, const struct http_head *head)
{
    (void)context;
    if (is_nobody(head) && !exchange->comes_whole) {
        refuse(exchange);
    }
    return is_nobody(head) ? head->content_length : BODY_MAX;
}

static uint32_t sum(struct slice text, uint32_t hash)
{
    for (size_t i = 0; i < text.bytes; i++) {
        hash = (hash ^ text.at[i]) * 16777619U;
    }
    return hash;
}

static enum http_outcome on_request(void *context, struct http_exchange *exchange,
                                    const struct http_message *message)
{
    char text[80];
    (void)context;
    if (is_nobody(message->head)) {
        refuse(exchange);
        return HTTP_TAKEN;
    }
    if (message->body.bytes > BODY_MAX) { /* as the server answers one that comes in pieces */
        http_answer_error(exchange, 413, "too_large", "the body is over the limit of this address",
                          SLICE_EMPTY);
        return HTTP_TAKEN;
    }
    requests++;
    uint32_t head = sum(http_target(message->head), sum(http_method_text(message->head), 1));
    int bytes = snprintf(text, sizeof text, "%u %zu %08x %08x", requests, message->body.bytes, head,
                         sum(message->body, 2));
    http_answer(exchange, 200, "text/plain", SLICE_EMPTY, slice_of(text, (size_t)bytes));
    return HTTP_TAKEN;
}

/* With it the bytes of one connection wait till the turn's end, or for those of another. */
static void on_two(void *context, struct http_exchange *const exchanges[2],
                   const struct http_message *const messages[2], enum http_outcome ret_outcomes[2])
{
    for (unsigned i = 0; i < 2; i++) {
        ret_outcomes[i] = on_request(context, exchanges[i], messages[i]);
    }
}

/* ---- one connection's life */

static void settle(struct ring *ring, struct http_server *server)
{
    for (unsigned turn = 0; turn < 100000; turn++) {
        http_server_flush(server);
        if (ring->pending_count == 0) {
            return;
        }
        struct pending first = ring->pending[0];
        memmove(ring->pending, ring->pending + 1, --ring->pending_count * sizeof first);
        if (first.op == ring->recv_op) {
            ring->recv_op = NULL;
            ring->recv_cancelled = false;
        }
        finish(first.op, first.value);
    }
    bk_never("it does not come to rest");
}

/* Each piece in memory of its own, so that a sanitizer sees a byte too many. */
static void deliver(struct ring *ring, struct http_server *server, const uint8_t *at, size_t bytes)
{
    if (!ring->recv_op) { /* no more is read before the answers are */
        settle(ring, server);
    }
    struct ring_op *op = ring->recv_op;
    if (!op || ring->closed) {
        return;
    }
    uint8_t *piece = malloc(bytes ? bytes : 1);
    bk_assert(piece);
    if (bytes) {
        memcpy(piece, at, bytes);
    }
    struct ring_result result = {
        .value = (int32_t)bytes, .more = bytes > 0, .has_buffer = bytes > 0, .buffer = piece};
    if (!result.more) {
        op->inflight = 0;
        ring->recv_op = NULL;
    }
    op->done(op, &result);
    http_server_received(server);
    free(piece);
}

/* What is not about how the bytes came: interim answers depend on it. */
static size_t without_continue(uint8_t *at, size_t bytes)
{
    static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";
    size_t length = sizeof interim - 1, out = 0;
    for (size_t i = 0; i < bytes;) {
        if (bytes - i >= length && memcmp(at + i, interim, length) == 0) {
            i += length;
        } else {
            at[out++] = at[i++];
        }
    }
    return out;
}

static size_t live(const uint8_t *data, size_t size, uint8_t cuts, uint8_t *ret_out)
{
    struct ring *ring = &the_ring;
    struct timer_wheel wheel;
    struct buffers buffers;
    struct http_server *server;
    struct http_server_config config = http_server_defaults;
    struct http_handler handler = {NULL, on_head, on_request, cuts % 2 ? on_two : NULL};
    config.conns_max = 4;
    config.exchanges_max = 64;
    memset(ring, 0, offsetof(struct ring, out));
    requests = 0;
    timer_wheel_init(&wheel, ring_now_ns(ring));
    buffers_init(&buffers, 64U << 20);
    bk_assert(http_server_open(ring, &wheel, &buffers, &config, &handler, &server) == BK_OK);
    http_server_accept(server, LISTEN_HANDLE);
    struct ring_address peer = {.family = 4, .at = {127, 0, 0, 1}};
    struct ring_result accepted = {.value = CONN_HANDLE, .more = true, .peer = &peer};
    ring->accept_op->done(ring->accept_op, &accepted);
    uint32_t random = cuts;
    for (size_t at = 0; at < size;) {
        size_t bytes = size - at < 16384 ? size - at : 16384;
        if (cuts) {
            random = random * 1103515245U + 12345;
            size_t wanted = 1 + (random >> 16) % (cuts < 64 ? 1U + cuts : 40U * cuts);
            bytes = wanted < bytes ? wanted : bytes;
        }
        deliver(ring, server, data + at, bytes);
        bool late = cuts % 4 >= 2 && ring->pending_count < PENDING_MAX / 2;
        if (!late || (random >> 8) % 4 == 0) {
            settle(ring, server);
        }
        at += bytes;
    }
    settle(ring, server);
    deliver(ring, server, NULL, 0);
    settle(ring, server);
    bk_assert(ring->closed);
    http_server_drain(server);
    settle(ring, server);
    bk_assert(http_server_idle(server));
    http_server_close(server);
    buffers_fini(&buffers); /* asserts that all came back */
    size_t bytes = without_continue(ring->out, ring->out_bytes);
    memcpy(ret_out, ring->out, bytes);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t whole[OUT_MAX], cut[OUT_MAX];
    if (size < 2 || size > INPUT_MAX) {
        return 0;
    }
    uint8_t cuts = data[0] ? data[0] : 1;
    size_t whole_bytes = live(data + 1, size - 1, 0, whole);
    unsigned whole_requests = requests;
    size_t cut_bytes = live(data + 1, size - 1, cuts, cut);
    bk_assert(requests == whole_requests);
    bk_assert(cut_bytes == whole_bytes && memcmp(whole, cut, cut_bytes) == 0);
    return 0;
}
