/* session.h - who is logged in at the pages, and who is on the way to a provider, over a restart.
 *
 * Purpose     A browser's session is found by SHA-256 of its cookie; the cookie itself is nowhere.
 *             A sign-in that was begun is found by SHA-256 of its state, sealed (it has PKCE's
 *             verifier), and is good for one taking.
 * Store       "j/" 32 bytes of hash: a session. "J/" 32 bytes of hash: a sign-in.
 * Bounds      SESSIONS_KEPT_MAX and SIGN_INS_KEPT_MAX; those that are over are dropped when a new
 *             one is kept, then the ones that would end first.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_SESSION_H
#define BECKET_HUB_SESSION_H

#include "hub/hub.h"

#define SESSIONS_KEPT_MAX 4096U
#define SIGN_INS_KEPT_MAX 512U
#define SESSION_TEXT      43U /* base64url of 32 bytes */

/* Wall clock: it outlives the process. */
struct session_record {
    int64_t end_ns;                  /* over then, whatever is done */
    int64_t idle_ns;                 /* over then, unless something is done */
    char token[HUB_ID_TEXT_BYTES];   /* id of the token that it began with */
    char canvas[NAME_BYTES_MAX + 1]; /* chosen; empty: the default one */
    char user[NAME_BYTES_MAX + 1];   /* whom an administrator acts for; empty: the token's user */
};

enum bk_err session_keep(struct hub *hub, const uint8_t hash[32],
                         const struct session_record *session, int64_t now_ns) BK_MUST_CHECK;
/* BK_NOT_FOUND: none, or it is over. */
enum bk_err session_load(struct hub *hub, const uint8_t hash[32], int64_t now_ns,
                         struct session_record *ret_session) BK_MUST_CHECK;
/* BK_OK also when there was none. */
enum bk_err session_drop(struct hub *hub, const uint8_t hash[32]) BK_MUST_CHECK;

/* A sign-in at a provider that is under way. */
struct sign_in {
    uint8_t browser[32]; /* SHA-256 of the browser's cookie, of the session's */
    uint8_t session[32];
    int64_t end_ns;
    bool slack; /* Gitploy's addresses */
    char verifier[SESSION_TEXT + 1];
    char nonce[SESSION_TEXT + 1];    /* of the ID token; empty: none was asked for */
    char canvas[NAME_BYTES_MAX + 1]; /* where who signs in will be */
    char integration_canvas[NAME_BYTES_MAX + 1];
    char integration[NAME_BYTES_MAX + 1];
    char user[NAME_BYTES_MAX + 1];
    char redirect_uri[512];
};

enum bk_err sign_in_keep(struct hub *hub, const uint8_t state[32], const struct sign_in *sign_in,
                         int64_t now_ns) BK_MUST_CHECK;
/* It is gone then, durably: nobody takes it twice. BK_NOT_FOUND: none, or it is over. */
enum bk_err sign_in_take(struct hub *hub, const uint8_t state[32], int64_t now_ns,
                         struct sign_in *ret_sign_in) BK_MUST_CHECK;

#endif
