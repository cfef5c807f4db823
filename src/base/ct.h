/* ct.h - comparing and erasing bytes that must stay secret.
 *
 * Purpose     Time depends on the length only, never on the content, and neither call is optimised
 *             away.
 * Threads     Pure; any.
 */
#ifndef BECKET_BASE_CT_H
#define BECKET_BASE_CT_H

#include "base/slice.h"

/* Are the `bytes` bytes at a and b the same? Zero bytes are. */
bool bk_ct_equal(const void *a, const void *b, size_t bytes);
/* The same for slices; lengths are public, so different lengths answer at once. */
static inline bool bk_ct_equal_slice(struct slice a, struct slice b)
{
    return a.bytes == b.bytes && bk_ct_equal(a.at, b.at, a.bytes);
}
/* Overwrite with zeros, also when the memory is dead afterwards. NULL with 0 bytes is fine. */
void bk_wipe(void *at, size_t bytes);

#endif
