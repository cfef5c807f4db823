/* scrub.h - what others send back of our secrets must not be kept.
 *
 * Purpose     An answer or a message of an error may quote what was sent: a provider that says "bad
 *             token ghp_…", a receiver that echoes its headers. Before such text is stored, logged
 *             or shown, the secrets that were in the request are overwritten with asterisks.
 * Forms       As it is; with any of its bytes escaped as in URLs (%41, twice too), JSON and
 *             JavaScript (\u0041, \x41, \/) or HTML (&#65;); in hex; in base64 of either alphabet,
 *             also where it is only a part of what was encoded ("user:secret").
 * Failure     None. scrub() leaves a secret shorter than SCRUB_BYTES_MIN: it might be any word of a
 *             text that is still to be read. scrub_shown() is for what people read: there it takes
 *             such a one too, from SCRUB_WORD_MIN on, where no letter or digit is beside it.
 * Several     The longest first (scrub_order): where one is a part of another, the rest of that
 *             other would stay.
 * Cost        A few passes over the text for each secret, whatever the text is.
 * Threads     Pure; any.
 */
#ifndef BECKET_BASE_SCRUB_H
#define BECKET_BASE_SCRUB_H

#include "base/slice.h"

#define SCRUB_BYTES_MIN 8U
#define SCRUB_WORD_MIN  3U

/* Is the secret in the text? */
bool scrub_finds(struct slice text, struct slice secret);
/* Every place of it, in place; how many there were. */
unsigned scrub(void *at, size_t bytes, struct slice secret);
unsigned scrub_shown(void *at, size_t bytes, struct slice secret);
/* Puts the longest first. */
void scrub_order(struct slice *secrets, size_t count);

#endif
