/* keys.h - joins the keys that others publish with cores and network, and publishes becket's own.
 *
 * Purpose     Letters from cores that want a key; the keeper (hub/keys/key_keeper.h) on the control
 *             thread; its GETs on the HTTP client of the first core. And the OIDC issuer, whose
 *             first key is made when somebody asks for the documents: a fifth of a second.
 * Threads     The control thread, but for keys_want, keys_confirm, keys_want_documents and
 *             keys_documents, which any core may call.
 */
#ifndef BECKET_API_KEYS_H
#define BECKET_API_KEYS_H

#include "hub/keys/key_keeper.h"
#include "hub/keys/oidc_issuer.h"
#include "hub/reactor.h"

struct keys;

/* `trust`: whom published certificates must lead to; NULL = nobody. Must stay. */
enum bk_err keys_open(struct hub *hub, struct ring *control_ring, const char *public_url,
                      const struct tls_trust *trust, struct keys **ret_keys) BK_MUST_CHECK;
/* The core whose client makes the calls. */
void keys_start(struct keys *keys, struct reactor *reactor);
void keys_close(struct keys *keys);
struct key_cache *keys_cache(struct keys *keys);
/* Something changed since the last call: cores should look again at requests that wait. */
bool keys_changed(struct keys *keys);
/* A new key for the issuer. BK_BUSY: too many are still published. */
enum bk_err keys_rotate(struct keys *keys) BK_MUST_CHECK;
struct oidc_issuer *keys_issuer(struct keys *keys);
/* The first key, where there is none. */
void keys_want_issuer(struct keys *keys);
/* For hub_issue_by(); context: the keys. */
oidc_token_fn keys_token;
/* A finder (providers/keys.h) for the control thread; context: the keys. What is not there is
 * fetched: KEY_LATER. */
enum key_found keys_find(void *context, const struct key_want *want,
                         const struct public_key **ret_key);

/* ---- any core */
void keys_want(struct keys *keys, struct ring *ring, const struct key_want *want);
void keys_confirm(struct keys *keys, struct ring *ring, struct slice url);
/* NULL: not there yet, ask for them. */
const struct oidc_documents *keys_documents(const struct keys *keys);
void keys_want_documents(struct keys *keys, struct ring *ring);

#endif
