/* oauth2.h - OAuth 2 authorization code flow with PKCE, refresh and revocation, as text in and text
 * out.
 *
 * Purpose     Who signs in at a provider gives becket a token. Here are the endpoints of the
 *             providers and what their servers want written and answer; hub keeps states, stores
 *             tokens and has the requests made.
 * State       Made and checked by the caller: random, used once, bound to the browser.
 * Errors      A token endpoint may say no with any status, 200 included (GitHub, Slack), in JSON or
 *             as a form: oauth2_take_tokens() reads them all.
 * Threads     Pure; any.
 * Source      RFC 6749, RFC 7636 (PKCE S256), RFC 7009 (revocation), RFC 9207 (iss); the provider's
 *             page is named in its row.
 */
#ifndef BECKET_PROVIDERS_OAUTH2_H
#define BECKET_PROVIDERS_OAUTH2_H

#include "base/arena.h"
#include "base/json.h"
#include "http/message.h"

enum oauth2_client_auth {
    OAUTH2_IN_BODY, /* client_id and client_secret among the form's fields */
    OAUTH2_BASIC    /* Authorization: Basic */
};

/* Where a provider's OAuth server is and what it is particular about. URLs that begin with '/' are
 * behind the integration's url. */
struct oauth2_server {
    const char *name; /* "github" */
    const char *documentation;
    const char *authorize;
    const char *token;
    const char *revoke;   /* NULL = it has none */
    const char *identity; /* GET with the token: who it is; NULL = the token answer says it */
    const char *issuer;   /* of ID tokens (id_token.h); NULL = none is looked at */
    const char *extra;    /* more of the authorize query: "prompt=consent"; NULL = none */
    const char *scopes;   /* usual ones, separated by spaces */
    const char *agent;    /* "User-Agent: agent (our address, becket)"; NULL = becket */
    char scope_separator; /* ' ' or ',' */
    enum oauth2_client_auth client_auth;
    bool pkce;
    bool redirect_on_refresh; /* redirect_uri is wanted there, too */
    bool revoke_by_delete;    /* GitHub: DELETE with Basic and a JSON body */
    bool revoke_access_only;  /* it takes no refresh tokens there */
    bool revoke_bare;         /* the token alone, without the client's proof of itself */
    bool by_query;            /* its description knows GET alone: oauth2_code_query() */
    const char *uid; /* places in the identity's JSON, first that is there; separated by ' ' */
    const char *nickname;
    const char *full_name;
    const char *email;
};

/* NULL = not in the table: the endpoints come from YAML then. */
const struct oauth2_server *oauth2_server_find(struct slice name);

struct oauth2_client {
    struct slice id;
    struct slice secret; /* empty: a public client, which has PKCE only */
    struct slice redirect_uri;
    struct slice address; /* ours, for a server's `agent` */
};

#define OAUTH2_VERIFIER_BYTES  43U /* base64url of 32 random bytes, without a NUL */
#define OAUTH2_CHALLENGE_BYTES 43U

/* code_challenge of S256. */
void oauth2_challenge(struct slice verifier, char ret_challenge[OAUTH2_CHALLENGE_BYTES + 1]);

/* Where to send the browser. base: the integration's url, for rows of relative endpoints. nonce:
 * for the ID token; empty = none. */
void oauth2_authorize_url(const struct oauth2_server *server, struct slice base,
                          const struct oauth2_client *client, struct slice scopes,
                          struct slice state, struct slice nonce, struct slice challenge,
                          struct buf *url);

struct oauth2_request {
    enum http_method method;
    struct slice url;
    struct slice headers; /* whole lines; hold the client's secret */
    struct slice body;
};

/* All slices of the result are in the arena; arena->overflow says it was too much. */
void oauth2_code_request(const struct oauth2_server *server, struct slice base,
                         const struct oauth2_client *client, struct slice code,
                         struct slice verifier, struct arena *arena,
                         struct oauth2_request *ret_request);
void oauth2_refresh_request(const struct oauth2_server *server, struct slice base,
                            const struct oauth2_client *client, struct slice refresh_token,
                            struct arena *arena, struct oauth2_request *ret_request);
/* server->revoke is not NULL. */
void oauth2_revoke_request(const struct oauth2_server *server, struct slice base,
                           const struct oauth2_client *client, struct slice token,
                           struct arena *arena, struct oauth2_request *ret_request);

/* Where the server does not know the POST (404, 405), so that code and token are as they were: the
 * same as the query of a GET, as Slack describes its API. Slack itself takes both, and what is in a
 * body stays out of logs, so that comes first. False: this server has no such form. */
bool oauth2_code_query(const struct oauth2_server *server, struct slice base,
                       const struct oauth2_client *client, unsigned status, struct slice code,
                       struct arena *arena, struct oauth2_request *ret_request);
bool oauth2_revoke_query(const struct oauth2_server *server, struct slice base,
                         const struct oauth2_client *client, unsigned status, struct slice token,
                         struct arena *arena, struct oauth2_request *ret_request);

struct oauth2_tokens {
    struct slice access_token;
    struct slice refresh_token; /* empty = none; after a refresh: keep the old one */
    struct slice scope;
    struct slice id_token;
    int64_t expires_in; /* seconds; 0 = it does not expire, or is not told */
    /* Slack: whose sign-in it was, and in which workspace. */
    struct slice user_id;
    struct slice team_id, team_name;
};

#define OAUTH2_WHY_BYTES 256U

/* An answer may quote the request: the client's secret goes, however it was written there: plain,
 * form-encoded, in a Basic header. */
void oauth2_scrub(const struct oauth2_client *client, void *at, size_t bytes);

/* BK_OK. BK_UNAUTHENTICATED: the grant is dead (invalid_grant and the like), the user must connect
 * again. BK_FORBIDDEN: the client's id, secret or redirect is wrong (invalid_client, …). BK_BUSY:
 * 429 or 5xx, later. BK_PROTOCOL: no answer of a token endpoint. ret_why never repeats a token.
 * Slices point into the body or the tree. */
enum bk_err oauth2_take_tokens(const struct http_head *head, struct slice body,
                               struct json_tree *tree, struct oauth2_tokens *ret_tokens,
                               char ret_why[OAUTH2_WHY_BYTES]) BK_MUST_CHECK;

/* What a revocation was answered with. BK_OK: the token is good for nothing now. BK_BUSY: later.
 * BK_FORBIDDEN: it was refused, and would be again. */
enum bk_err oauth2_take_revoked(const struct http_head *head, struct slice body,
                                char ret_why[OAUTH2_WHY_BYTES]) BK_MUST_CHECK;

struct oauth2_identity {
    struct slice uid; /* a number becomes its text */
    struct slice nickname;
    struct slice full_name;
    struct slice email;
};
/* BK_PROTOCOL: there is no uid in it. */
enum bk_err oauth2_take_identity(const struct oauth2_server *server, yyjson_mut_val *json,
                                 struct arena *arena,
                                 struct oauth2_identity *ret_identity) BK_MUST_CHECK;

#endif
