/* ring_never.h - the functions of ring.h that a small fake of it does not have, for tests which
 * link code that could call them and never does. A fake must define all of ring.h, or the linker
 * takes the real one beside it.
 */
#ifndef TESTS_UNIT_RING_NEVER_H
#define TESTS_UNIT_RING_NEVER_H

#include "base/assert.h"
#include "ring/ring.h"

void ring_accept(struct ring *ring, struct ring_op *op, int32_t listener, ring_done_fn *done)
{
    (void)ring;
    (void)op;
    (void)listener;
    (void)done;
    bk_never("not part of this test");
}

enum bk_err ring_address_probe(const struct ring_address *address)
{
    (void)address;
    bk_never("not part of this test");
}

void ring_buffer_give(struct ring *ring, uint16_t buffer_id)
{
    (void)ring;
    (void)buffer_id;
    bk_never("not part of this test");
}

bool ring_buffers_low(const struct ring *ring)
{
    (void)ring;
    bk_never("not part of this test");
}

void ring_cancel(struct ring *ring, struct ring_op *target)
{
    (void)ring;
    (void)target;
    bk_never("not part of this test");
}

uint64_t ring_clock_ns(const struct ring *ring)
{
    (void)ring;
    bk_never("not part of this test");
}

void ring_close(struct ring *ring)
{
    (void)ring;
    bk_never("not part of this test");
}

void ring_connect(struct ring *ring, struct ring_op *op, const struct ring_address *address,
                  int32_t *ret_handle, ring_done_fn *done)
{
    (void)ring;
    (void)op;
    (void)address;
    (void)ret_handle;
    (void)done;
    bk_never("not part of this test");
}

const char *ring_features(const struct ring *ring)
{
    (void)ring;
    bk_never("not part of this test");
}

void ring_submit(struct ring *ring)
{
    (void)ring;
    bk_never("not part of this test");
}

bool ring_behind(const struct ring *ring)
{
    (void)ring;
    bk_never("not part of this test");
}

void ring_gather(struct ring *ring, unsigned completions, unsigned wait_us)
{
    (void)ring;
    (void)completions;
    (void)wait_us;
    bk_never("not part of this test");
}

enum bk_err ring_listen(struct ring *ring, struct ring_address *address, bool reuse_port,
                        unsigned backlog, int32_t *ret_handle)
{
    (void)ring;
    (void)address;
    (void)reuse_port;
    (void)backlog;
    (void)ret_handle;
    bk_never("not part of this test");
}

enum bk_err ring_listen_on(struct ring *ring, int socket, int32_t *ret_handle)
{
    (void)ring;
    (void)socket;
    (void)ret_handle;
    bk_never("not part of this test");
}

enum bk_err ring_open(const struct ring_config *config, struct ring **ret_ring,
                      const char **ret_why)
{
    (void)config;
    (void)ret_ring;
    (void)ret_why;
    bk_never("not part of this test");
}

void ring_poll(struct ring *ring, struct ring_op *op, int os_fd, unsigned events,
               ring_done_fn *done)
{
    (void)ring;
    (void)op;
    (void)os_fd;
    (void)events;
    (void)done;
    bk_never("not part of this test");
}

void ring_recv(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    (void)ring;
    (void)op;
    (void)handle;
    (void)done;
    bk_never("not part of this test");
}

void ring_send(struct ring *ring, struct ring_op *op, int32_t handle, const void *at, size_t bytes,
               ring_done_fn *done)
{
    (void)ring;
    (void)op;
    (void)handle;
    (void)at;
    (void)bytes;
    (void)done;
    bk_never("not part of this test");
}

void ring_send_lazy(struct ring *ring, struct ring_op *op, int32_t handle, const void *at,
                    size_t bytes, ring_done_fn *done)
{
    ring_send(ring, op, handle, at, bytes, done);
}

void ring_send_pieces(struct ring *ring, struct ring_op *op, int32_t handle,
                      struct ring_pieces *pieces, ring_done_fn *done)
{
    (void)ring;
    (void)op;
    (void)handle;
    (void)pieces;
    (void)done;
    bk_never("not part of this test");
}

void ring_pass(struct ring *ring, struct ring_op *op, int32_t handle, struct ring *target,
               ring_done_fn *done)
{
    (void)ring;
    (void)op;
    (void)handle;
    (void)target;
    (void)done;
    bk_never("not part of this test");
}

void ring_shutdown(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    (void)ring;
    (void)op;
    (void)handle;
    (void)done;
    bk_never("not part of this test");
}

enum bk_err ring_signals(struct ring *ring, struct ring_op *op, const int *signals, unsigned count,
                         ring_done_fn *done)
{
    (void)ring;
    (void)op;
    (void)signals;
    (void)count;
    (void)done;
    bk_never("not part of this test");
}

const struct ring_stats *ring_stats(const struct ring *ring)
{
    (void)ring;
    bk_never("not part of this test");
}

void ring_turn(struct ring *ring, uint64_t deadline_ns)
{
    (void)ring;
    (void)deadline_ns;
    bk_never("not part of this test");
}

#endif
