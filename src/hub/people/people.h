/* people.h - identities at providers: their tokens, and when these have to be renewed.
 *
 * Purpose     An IntegrationUser is an object like others; its tokens are sealed slots of it. Here
 *             is what else there is to it: the index of what is due, and what an OAuth call needs.
 * Store       "e/" i64 due, id: the token of this IntegrationUser is to be renewed then. "E/" id:
 *             that time. "f/" id: a renewal was begun, its outcome is not known here. "y/" u64
 *             number: a token to be revoked, sealed.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_PEOPLE_H
#define BECKET_HUB_PEOPLE_H

#include "hub/resources/apply_private.h"
#include "providers/oauth2.h"
#include "providers/provider.h"

#define PEOPLE_ACCESS  "accessToken" /* slots */
#define PEOPLE_REFRESH "refreshToken"

/* record.compiled of an IntegrationUser */
struct people_input {
    struct slice integration_canvas;
    int64_t expires_ns;
    bool refreshes;
};
void people_input_encode(const struct people_input *input, struct buf *bytes);
enum bk_err people_input_decode(struct slice bytes, struct people_input *ret_input) BK_MUST_CHECK;

/* ---- from apply */
enum bk_err people_changed(struct apply *apply, const struct apply_work *work) BK_MUST_CHECK;
enum bk_err people_removed(struct apply *apply, const struct apply_work *work) BK_MUST_CHECK;
enum bk_err people_link_changed(struct apply *apply, const struct apply_work *work) BK_MUST_CHECK;
enum bk_err people_link_removed(struct apply *apply, const struct apply_work *work) BK_MUST_CHECK;

/* ---- OAuth of an integration; everything in the arena */
struct people_oauth {
    struct oauth2_server server;
    struct slice base;
    struct oauth2_client client; /* redirect_uri is the caller's to set */
    struct slice scopes;
    struct slice type;
    bool allow_private;
};
/* BK_NOT_FOUND: no such integration. BK_INVALID: why: it is not connected by sign-in, or its secret
 * is gone. */
enum bk_err people_oauth(struct hub *hub, struct store_txn *txn, struct slice canvas,
                         struct slice integration, struct arena *arena,
                         struct people_oauth *ret_oauth,
                         char why[PROVIDER_WHY_BYTES]) BK_MUST_CHECK;

/* The access token of who has connected an integration, the one last changed if there are several:
 * of the canvas `own`, whose work it is, else of the integration's. BK_NOT_FOUND: nobody has. */
enum bk_err people_token(struct hub *hub, struct store_txn *txn, struct slice canvas,
                         struct slice integration, struct slice own, struct arena *arena,
                         struct slice *ret_token) BK_MUST_CHECK;

/* ---- what is due */
enum bk_err people_put_due(struct store_txn *txn, const uint8_t id[16],
                           int64_t due_ns) BK_MUST_CHECK;

/* A renewal begins, or (0) its outcome is known. */
enum bk_err people_put_begun(struct store_txn *txn, const uint8_t id[16],
                             int64_t begun_ns) BK_MUST_CHECK;

/* A token that the provider is to be told to forget. */
struct people_revocation {
    const uint8_t *id;   /* of the IntegrationUser, 16 bytes */
    struct slice field;  /* PEOPLE_ACCESS or PEOPLE_REFRESH */
    struct slice sealed; /* under id and field */
    struct slice canvas; /* of the integration */
    struct slice spec;   /* of the IntegrationUser */
};
enum bk_err people_put_revocation(struct store_txn *txn,
                                  const struct people_revocation *revocation) BK_MUST_CHECK;

/* Who it is and what the provider gave, into the object. Empty tokens are kept as they are. */
struct people_grant {
    struct slice canvas, integration, type;
    struct slice user; /* of ours; made when it is not there; empty = as it was, or none */
    struct oauth2_identity identity;
    struct slice workspace, workspace_name;
    struct slice redirect_uri; /* that the sign-in came back to: GitLab wants it at renewals, too */
    struct oauth2_tokens tokens;
    int64_t now_ns;
};
/* BK_CONFLICT: it is another user's. */
enum bk_err people_store(struct hub *hub, const struct people_grant *grant,
                         char why[PROVIDER_WHY_BYTES]) BK_MUST_CHECK;

#endif
