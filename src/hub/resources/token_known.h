/* token_known.h - could this be a token? For who must not read the store.
 *
 * Purpose     A caller of the API is refused by the head of its request when its token cannot be
 *             one, so that its body is neither read nor carried to the control thread.
 * How         A Bloom filter: a token sets eight bits, named by the eight words of its SHA-256. Who
 *             misses one is not a token. Who has all is looked for in the store as ever: of random
 *             texts that is 1 of 10^12 beside a thousand tokens, 1 of 40,000 beside ten thousand.
 * Threads     token_known(): any. All else: the control thread. A bit of a token that is there is
 *             never 0 meanwhile; a new one's are set before anybody is told of it.
 * Limits      Many more tokens only let more wrong ones through, to the store.
 */
#ifndef BECKET_HUB_RESOURCES_TOKEN_KNOWN_H
#define BECKET_HUB_RESOURCES_TOKEN_KNOWN_H

#include "base/err.h"
#include "base/sha256.h"
#include "base/slice.h"

#include <stdatomic.h>

struct hub;

#define TOKEN_KNOWN_BITS (1U << 18)

struct token_known {
    _Atomic uint64_t words[TOKEN_KNOWN_BITS / 64];
};

/* False: certainly none of this server's. */
bool token_known(const struct hub *hub, struct slice text);

void token_known_add(struct hub *hub, const uint8_t hash[SHA256_BYTES]);
/* Anew from the store: when it was opened, and when tokens were revoked. On a failure those of
 * before stay. */
enum bk_err token_known_fill(struct hub *hub) BK_MUST_CHECK;

#endif
