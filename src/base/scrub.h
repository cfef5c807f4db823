/* scrub.h - what others send back of our secrets must not be kept.
 *
 * Purpose     An answer or a message of an error may quote what was sent: a provider that says "bad
 *             token ghp_…", a receiver that echoes its headers. Before such text is stored, logged
 *             or shown, the secrets that were in the request are overwritten with asterisks.
 * Failure     None. A secret shorter than SCRUB_BYTES_MIN is left: it might be any word.
 * Threads     Pure; any.
 */
#ifndef BECKET_BASE_SCRUB_H
#define BECKET_BASE_SCRUB_H

#include "base/slice.h"

#define SCRUB_BYTES_MIN 8U

/* Is the secret in the text? */
bool scrub_finds(struct slice text, struct slice secret);
/* Every place of it, in place; how many there were. */
unsigned scrub(void *at, size_t bytes, struct slice secret);

#endif
