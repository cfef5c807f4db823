/* oidc_issuer.h - becket as issuer of OIDC tokens, for providers that trust it instead of a secret.
 *
 * Purpose     Short-lived RS256 tokens for calls to a provider (AWS, Azure, GCP and whoever else
 *             takes web identities), and the two documents by which it checks them:
 *             /.well-known/openid-configuration and /.well-known/jwks.json. The issuer is the
 *             public URL, without a slash at the end.
 * Keys        RSA 2048, private parts sealed in the store. A new key is published
 *             OIDC_PUBLISH_SECONDS before it signs, and stays published OIDC_KEEP_SECONDS after the
 *             next one took over: who keeps a copy of the set never meets a key it lacks, and
 *             tokens outlive no key.
 * Threads     The control thread; oidc_key_make() any (it takes a second of computing), and the
 *             documents may be read by any core: they are immutable and stay until the process
 *             ends, as there is one more of them with each rotation only.
 * Source      OpenID Connect Discovery 1.0, RFC 7517, RFC 7519.
 */
#ifndef BECKET_HUB_OIDC_ISSUER_H
#define BECKET_HUB_OIDC_ISSUER_H

#include "base/buf.h"
#include "base/secret.h"
#include "hub/hub.h"

#define OIDC_PUBLISH_SECONDS 600
#define OIDC_KEEP_SECONDS    86400
#define OIDC_TOKEN_SECONDS   300
#define OIDC_KEYS_MAX        8U
#define OIDC_AUDIENCE        "superplane" /* when a token names none */

struct oidc_issuer;

struct oidc_documents {
    struct slice configuration; /* JSON */
    struct slice keys;          /* JSON */
    struct oidc_documents *older;
};

/* Reads the keys of the store; makes none. */
enum bk_err oidc_issuer_open(struct hub *hub, const char *public_url, int64_t now_seconds,
                             struct oidc_issuer **ret_issuer) BK_MUST_CHECK;
void oidc_issuer_close(struct oidc_issuer *issuer);

/* A new private key, as PKCS#1 DER. Pure but for the system's entropy. */
enum bk_err oidc_key_make(struct secret *ret_key) BK_MUST_CHECK;
/* Keep it, durably, and publish it. The first signs at once, others OIDC_PUBLISH_SECONDS later.
 * BK_INVALID: not an RSA key; BK_BUSY: too many keys are still published. */
enum bk_err oidc_issuer_add(struct oidc_issuer *issuer, struct slice key,
                            int64_t now_seconds) BK_MUST_CHECK;
/* Forget keys whose time is over. */
enum bk_err oidc_issuer_expire(struct oidc_issuer *issuer, int64_t now_seconds) BK_MUST_CHECK;
unsigned oidc_issuer_key_count(const struct oidc_issuer *issuer);
/* Never NULL; without a key the set is empty. */
const struct oidc_documents *oidc_issuer_documents(const struct oidc_issuer *issuer);

struct oidc_token {
    struct slice subject;     /* "app-installation:<id>" for a call of an integration */
    struct slice audience;    /* empty = OIDC_AUDIENCE */
    struct slice claims;      /* more members, "\"a\":1,\"b\":2"; empty = none */
    int64_t lifetime_seconds; /* 0 = OIDC_TOKEN_SECONDS */
};
/* Appends the token. BK_NOT_FOUND: there is no key yet. */
enum bk_err oidc_issuer_token(struct oidc_issuer *issuer, const struct oidc_token *token,
                              int64_t now_seconds, struct buf *text) BK_MUST_CHECK;

#endif
