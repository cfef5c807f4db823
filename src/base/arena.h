/* arena.h - forward allocation for the control plane, freed as a whole.
 *
 * Purpose     API handlers, the CLI and apply build many small objects with one
 *             life time. Not for the hot path: blocks come from malloc.
 * Ownership   Everything taken lives until arena_fini or arena_reset.
 * Threads     One at a time.
 * Limits      bytes_max given at init; beyond it arena_take returns NULL and
 *             `overflow` stays set until reset: check it once at the end.
 */
#ifndef BECKET_BASE_ARENA_H
#define BECKET_BASE_ARENA_H

#include "base/slice.h"

struct arena_block;

struct arena {
    struct arena_block *blocks;
    size_t bytes_taken;
    size_t bytes_max;
    bool overflow;
};

void arena_init(struct arena *arena, size_t bytes_max);
/* Wipes (the arena may have held secrets) and frees all. */
void arena_fini(struct arena *arena);
void arena_reset(struct arena *arena);

/* Zeroed, aligned to 16. NULL when over bytes_max or out of memory. */
void *arena_take(struct arena *arena, size_t bytes);
/* Copy of the bytes with a NUL behind them. NULL as above. */
char *arena_copy(struct arena *arena, const void *at, size_t bytes);
char *arena_string(struct arena *arena, const char *text);
/* printf into the arena. NULL as above. */
__attribute__((format(printf, 2, 3))) char *arena_printf(struct arena *arena, const char *format,
                                                         ...);

#endif
