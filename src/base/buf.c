#include "base/buf.h"

#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *buf, size_t bytes_max)
{
    *buf = (struct buf){.bytes_max = bytes_max};
}

void buf_fini(struct buf *buf)
{
    if (buf->at) {
        explicit_bzero(buf->at, buf->bytes_size);
        free(buf->at);
    }
    *buf = (struct buf){.bytes_max = buf->bytes_max};
}

void buf_reset(struct buf *buf)
{
    buf->bytes = 0;
    buf->overflow = false;
}

static bool buf_grow(struct buf *buf, size_t bytes_needed)
{
    size_t size = buf->bytes_size ? buf->bytes_size : 256;
    while (size < bytes_needed) {
        size *= 2;
    }
    uint8_t *at = malloc(size);
    if (!at) {
        return false;
    }
    if (buf->at) {
        memcpy(at, buf->at, buf->bytes);
        explicit_bzero(buf->at, buf->bytes_size);
        free(buf->at);
    }
    buf->at = at;
    buf->bytes_size = size;
    return true;
}

uint8_t *buf_reserve(struct buf *buf, size_t bytes)
{
    /* One byte more than asked for, so that buf_text can always terminate. */
    if (bytes > buf->bytes_max || buf->bytes > buf->bytes_max - bytes) {
        buf->overflow = true;
        return NULL;
    }
    if (buf->bytes + bytes + 1 > buf->bytes_size && !buf_grow(buf, buf->bytes + bytes + 1)) {
        buf->overflow = true;
        return NULL;
    }
    return buf->at + buf->bytes;
}

void buf_add(struct buf *buf, const void *at, size_t bytes)
{
    uint8_t *room = bytes ? buf_reserve(buf, bytes) : NULL;
    if (room) {
        memcpy(room, at, bytes);
        buf->bytes += bytes;
    }
}

void buf_add_slice(struct buf *buf, struct slice text)
{
    buf_add(buf, text.at, text.bytes);
}

void buf_add_str(struct buf *buf, const char *text)
{
    buf_add(buf, text, strlen(text));
}

void buf_add_byte(struct buf *buf, uint8_t byte)
{
    buf_add(buf, &byte, 1);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int bytes = vsnprintf(NULL, 0, format, args);
    va_end(args);
    uint8_t *room = bytes < 0 ? NULL : buf_reserve(buf, (size_t)bytes);
    if (room) {
        vsnprintf((char *)room, (size_t)bytes + 1, format, again);
        buf->bytes += (size_t)bytes;
    }
    va_end(again);
}

const char *buf_text(struct buf *buf)
{
    if (!buf->at && !buf_reserve(buf, 0)) {
        return "";
    }
    buf->at[buf->bytes] = 0;
    return (const char *)buf->at;
}
