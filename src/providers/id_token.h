/* id_token.h - who signed in, by the ID token of an OpenID provider.
 *
 * Purpose     A token endpoint's `id_token` is believed only when its issuer signed it, for this
 *             client, for this sign-in, and not long ago. Issuer and client come from
 *             configuration, the nonce from the sign-in; nothing of that from the token.
 * Keys        Those that the issuer publishes; asked for through a finder, as webhooks' tokens are
 *             (keys.h).
 * Threads     Pure; any.
 * Source      OpenID Connect Core 1.0, 3.1.3.7.
 */
#ifndef BECKET_PROVIDERS_ID_TOKEN_H
#define BECKET_PROVIDERS_ID_TOKEN_H

#include "base/json.h"
#include "providers/scheme.h"

struct id_token_rules {
    const char *issuer; /* letter by letter */
    const char *client_id;
    struct slice nonce; /* that was sent with the request */
    bool allow_private; /* the issuer may be at a private address */
    int64_t now_seconds;
    const struct key_finder *keys;
};

/* SCHEME_GENUINE: *ret_claims is an object of the tree. SCHEME_KEY_WANTED: its key is being
 * fetched, ask again. Else *ret_why is a line of words, static. */
enum scheme_verdict id_token_check(struct slice token, const struct id_token_rules *rules,
                                   struct json_tree *tree, yyjson_mut_val **ret_claims,
                                   const char **ret_why);

#endif
