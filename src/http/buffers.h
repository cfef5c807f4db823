/* buffers.h - body buffers of one core, in power-of-two classes.
 *
 * Purpose     A request that does not fit one receive buffer is gathered here; a large one is later
 *             written to the journal straight from it, so buffers are 4 KiB aligned.
 * Ownership   taken by a connection, may pass to the journal, given back here.
 * Threads     One core.
 * Limits      bytes_max of address space in all; beyond it take() returns NULL and the caller
 *             sheds.
 * Memory      mmap on first use, then kept on a free list. Back to the kernel goes what is over 1
 *             MiB, what would make the free ones more than a quarter of bytes_max, and free ones of
 *             other classes when the limit is reached.
 */
#ifndef BECKET_HTTP_BUFFERS_H
#define BECKET_HTTP_BUFFERS_H

#include "base/slice.h"

#define BUFFER_CLASS_MIN_BITS 15U /* 32 KiB */
#define BUFFER_CLASSES        12U /* up to 64 MiB */

struct buffers {
    size_t bytes_max;
    size_t bytes_taken; /* out or on a free list */
    size_t bytes_free;  /* on a free list */
    void *free[BUFFER_CLASSES];
};

void buffers_init(struct buffers *buffers, size_t bytes_max);
void buffers_fini(struct buffers *buffers);
/* At least `bytes`; *ret_bytes is the class's size. NULL when over the limit or too large. */
uint8_t *buffers_take(struct buffers *buffers, size_t bytes, size_t *ret_bytes);
/* Would `bytes` ever fit, if nobody else had any: in a buffer that grows by at most `ahead` times,
 * the one before being held until its contents are in the next? */
bool buffers_could_hold(const struct buffers *buffers, uint64_t bytes, unsigned ahead);
/* `bytes` as returned by take. */
void buffers_give(struct buffers *buffers, uint8_t *buffer, size_t bytes);

#endif
