/* array.h - an array on the heap that grows by doubling.
 *
 * Purpose     The one growth rule of the control plane's and the checkpoints' lists.
 * Ownership   The caller's: free() it. It moves when it grows, so no pointer into it is kept.
 * Errors      false: there is no memory; the array is as it was.
 * Threads     One at a time. Allocates: not for what runs once per webhook.
 */
#ifndef BECKET_BASE_ARRAY_H
#define BECKET_BASE_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#define ARRAY_FIRST 16U

/* Room for `wanted` elements of `each` bytes; *size is for how many there is room. */
static inline bool array_reserve(void **at, size_t *size, size_t wanted, size_t each)
{
    if (wanted <= *size) {
        return true;
    }
    size_t larger = *size > 0 ? 2 * *size : ARRAY_FIRST;
    larger = larger > wanted ? larger : wanted;
    void *moved = realloc(*at, larger * each);
    if (!moved) {
        return false;
    }
    *at = moved;
    *size = larger;
    return true;
}

#endif
