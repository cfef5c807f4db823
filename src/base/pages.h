/* pages.h - much memory at once, on huge pages where the system has them.
 *
 * Purpose     What is touched at random, or is given to the kernel: a table in pages of 4 KiB costs
 *             a walk through the page tables for nearly each access, twice as long in a virtual
 *             machine.
 * Ownership   The caller's, until pages_unmap() with the same size.
 * Limits      Rounded up to 2 MiB; resident as touched, 2 MiB at a time.
 */
#ifndef BECKET_BASE_PAGES_H
#define BECKET_BASE_PAGES_H

#include <stddef.h>

/* Zeroed; NULL = no memory. */
void *pages_map(size_t bytes);
void pages_unmap(void *at, size_t bytes);
/* Make all of it resident now, rather than piece by piece in the middle of other work. */
void pages_populate(void *at, size_t bytes);

#endif
