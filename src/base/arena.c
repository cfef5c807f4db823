#include "base/arena.h"

#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct arena_block {
    struct arena_block *next;
    size_t bytes_used;
    size_t bytes_size;
    _Alignas(16) uint8_t data[];
};

#define BLOCK_BYTES_MIN 4096U

void arena_init(struct arena *arena, size_t bytes_max)
{
    *arena = (struct arena){.bytes_max = bytes_max};
}

void arena_fini(struct arena *arena)
{
    struct arena_block *block = arena->blocks;
    while (block) {
        struct arena_block *next = block->next;
        explicit_bzero(block->data, block->bytes_used);
        free(block);
        block = next;
    }
    arena->blocks = NULL;
    arena->bytes_taken = 0;
}

void arena_reset(struct arena *arena)
{
    arena_fini(arena);
    arena->overflow = false;
}

static struct arena_block *block_add(struct arena *arena, size_t bytes)
{
    size_t size = bytes > BLOCK_BYTES_MIN ? bytes : BLOCK_BYTES_MIN;
    struct arena_block *block = malloc(sizeof *block + size);
    if (!block) {
        return NULL;
    }
    block->next = arena->blocks;
    block->bytes_used = 0;
    block->bytes_size = size;
    arena->blocks = block;
    return block;
}

void *arena_take(struct arena *arena, size_t bytes)
{
    size_t rounded = (bytes + 15) & ~(size_t)15;
    if (rounded < bytes || rounded > arena->bytes_max - arena->bytes_taken) {
        arena->overflow = true;
        return NULL;
    }
    struct arena_block *block = arena->blocks;
    if (!block || block->bytes_size - block->bytes_used < rounded) {
        block = block_add(arena, rounded);
        if (!block) {
            arena->overflow = true;
            return NULL;
        }
    }
    void *at = block->data + block->bytes_used;
    block->bytes_used += rounded;
    arena->bytes_taken += rounded;
    bk_assert(block->bytes_used <= block->bytes_size);
    return memset(at, 0, rounded);
}

char *arena_copy(struct arena *arena, const void *at, size_t bytes)
{
    char *copy = arena_take(arena, bytes + 1);
    if (copy && bytes) {
        memcpy(copy, at, bytes);
    }
    return copy;
}

char *arena_string(struct arena *arena, const char *text)
{
    return arena_copy(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int bytes = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = bytes < 0 ? NULL : arena_take(arena, (size_t)bytes + 1);
    if (text) {
        vsnprintf(text, (size_t)bytes + 1, format, again);
    }
    va_end(again);
    return text;
}
