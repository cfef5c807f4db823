/* token_use.h - when a token was last used, to the hour.
 *
 * Purpose     Who keeps tokens wants to know which ones nobody needs any more.
 * Cost        A use looks at what is known of its token. What is more than TOKEN_USE_NS old is
 *             noted in memory, and stored with all that was noted in the two seconds since: no
 *             request waits for it, and a token costs at most one write an hour.
 * Failure     What cannot be noted or stored is so at a later use.
 * Store       "U/" id of the token: u64, wall clock.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_TOKEN_USE_H
#define BECKET_HUB_TOKEN_USE_H

#include "hub/resources/token.h"

#define TOKEN_USE_NS       (3600 * INT64_C(1000000000))
#define TOKEN_USES_PENDING 64U

struct token_uses {
    unsigned count;
    int64_t due_ns; /* to be stored then */
    struct token_use {
        uint8_t id[16];
        int64_t used_ns;
    } at[TOKEN_USES_PENDING];
};

/* It let somebody in just now. */
void token_used(struct hub *hub, const struct token_info *info, int64_t now_ns);
/* Store what is due; gives when to come again, INT64_MAX = nothing is noted. */
int64_t token_uses_run(struct hub *hub, int64_t now_ns);

/* 0 = never, as far as the store knows. */
int64_t token_use_get(struct store_txn *txn, const uint8_t id[16]);
enum bk_err token_use_drop(struct store_txn *txn, const uint8_t id[16]) BK_MUST_CHECK;

#endif
