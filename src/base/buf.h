/* buf.h - a growable byte buffer with a maximum, for the control plane.
 *
 * Ownership   The buffer owns its bytes until buf_fini or buf_detach.
 * Failure     Over bytes_max or out of memory: the append is dropped whole and
 *             `overflow` stays set; check it once at the end.
 */
#ifndef BECKET_BASE_BUF_H
#define BECKET_BASE_BUF_H

#include "base/slice.h"

struct buf {
    uint8_t *at;
    size_t bytes;
    size_t bytes_size;
    size_t bytes_max;
    bool overflow;
};

void buf_init(struct buf *buf, size_t bytes_max);
/* Wipes and frees. */
void buf_fini(struct buf *buf);
void buf_reset(struct buf *buf);
void buf_add(struct buf *buf, const void *at, size_t bytes);
void buf_add_slice(struct buf *buf, struct slice text);
void buf_add_str(struct buf *buf, const char *text);
void buf_add_byte(struct buf *buf, uint8_t byte);
__attribute__((format(printf, 2, 3))) void buf_printf(struct buf *buf, const char *format, ...);
/* Room for `bytes` more, not yet counted; NULL on overflow. Add to buf->bytes what was used. */
uint8_t *buf_reserve(struct buf *buf, size_t bytes);
/* NUL-terminated view, valid until the next change. Never NULL. */
const char *buf_text(struct buf *buf);
static inline struct slice buf_slice(const struct buf *buf)
{
    return slice_of(buf->at, buf->bytes);
}

#endif
