#include "http/buffers.h"

#include "base/assert.h"

#include <sys/mman.h>

#define KEEP_BYTES_MAX (1U << 20)

void buffers_init(struct buffers *buffers, size_t bytes_max)
{
    *buffers = (struct buffers){.bytes_max = bytes_max};
}

static size_t class_bytes(unsigned class)
{
    return (size_t)1 << (BUFFER_CLASS_MIN_BITS + class);
}

static unsigned class_of(size_t bytes)
{
    unsigned class = 0;
    while (class < BUFFER_CLASSES && class_bytes(class) < bytes) {
        class++;
    }
    return class;
}

/* A free buffer holds the address of the next one. */
static void *free_pop(struct buffers *buffers, unsigned class)
{
    void *buffer = buffers->free[class];
    if (buffer) {
        memcpy(&buffers->free[class], buffer, sizeof(void *));
        buffers->bytes_free -= class_bytes(class);
    }
    return buffer;
}

/* Unmap free buffers, large ones first, until `bytes` more may be taken. */
static bool make_room(struct buffers *buffers, size_t bytes)
{
    for (unsigned class = BUFFER_CLASSES; class-- > 0;) {
        while (bytes > buffers->bytes_max - buffers->bytes_taken) {
            void *buffer = free_pop(buffers, class);
            if (!buffer) {
                break;
            }
            munmap(buffer, class_bytes(class));
            buffers->bytes_taken -= class_bytes(class);
        }
    }
    return bytes <= buffers->bytes_max - buffers->bytes_taken;
}

void buffers_fini(struct buffers *buffers)
{
    buffers->bytes_max = buffers->bytes_taken;
    (void)make_room(buffers, SIZE_MAX); /* all of them */
    bk_assert(buffers->bytes_taken == 0); /* every buffer came back */
}

uint8_t *buffers_take(struct buffers *buffers, size_t bytes, size_t *ret_bytes)
{
    unsigned class = class_of(bytes);
    if (class == BUFFER_CLASSES) {
        return NULL;
    }
    size_t size = class_bytes(class);
    void *buffer = free_pop(buffers, class);
    if (!buffer) {
        if (!make_room(buffers, size)) {
            return NULL;
        }
        buffer = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (buffer == MAP_FAILED) {
            return NULL;
        }
        buffers->bytes_taken += size;
    }
    *ret_bytes = size;
    return buffer;
}

bool buffers_could_hold(const struct buffers *buffers, uint64_t bytes, unsigned ahead)
{
    size_t size = class_bytes(0);
    while (size < bytes) {
        uint64_t next = (uint64_t)size * ahead + 1;
        unsigned class = class_of(next < bytes ? (size_t)next : (size_t)bytes);
        if (class == BUFFER_CLASSES || size + class_bytes(class) > buffers->bytes_max) {
            return false;
        }
        size = class_bytes(class);
    }
    return true;
}

void buffers_give(struct buffers *buffers, uint8_t *buffer, size_t bytes)
{
    unsigned class = class_of(bytes);
    bk_assert(class < BUFFER_CLASSES && class_bytes(class) == bytes);
    if (bytes > KEEP_BYTES_MAX || buffers->bytes_free + bytes > buffers->bytes_max / 4) {
        munmap(buffer, bytes);
        buffers->bytes_taken -= bytes;
        return;
    }
    memcpy(buffer, &buffers->free[class], sizeof(void *));
    buffers->free[class] = buffer;
    buffers->bytes_free += bytes;
}
