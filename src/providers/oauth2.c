#include "providers/oauth2.h"

#include "base/base64.h"
#include "base/ct.h"
#include "base/percent.h"
#include "base/scrub.h"
#include "base/sha256.h"

#include <stdio.h>
#include <yyjson.h>

/* ---- the servers */

static const struct oauth2_server servers[] = {
    {.name = "atlassian",
     .documentation = "https://developer.atlassian.com/cloud/jira/platform/oauth-2-3lo-apps/",
     .authorize = "https://auth.atlassian.com/authorize",
     .token = "https://auth.atlassian.com/oauth/token",
     .identity = "https://api.atlassian.com/me",
     .extra = "audience=api.atlassian.com&prompt=consent",
     .scopes = "read:me offline_access",
     .scope_separator = ' ',
     .uid = "account_id",
     .nickname = "nickname name",
     .full_name = "name",
     .email = "email"},
    {.name = "discord",
     .documentation = "https://discord.com/developers/docs/topics/oauth2",
     .authorize = "https://discord.com/oauth2/authorize",
     .token = "https://discord.com/api/oauth2/token",
     .revoke = "https://discord.com/api/oauth2/token/revoke",
     .identity = "https://discord.com/api/v10/users/@me",
     .scopes = "identify email",
     .agent = "DiscordBot",
     .scope_separator = ' ',
     .client_auth = OAUTH2_BASIC,
     .pkce = true,
     .uid = "id",
     .nickname = "username",
     .full_name = "global_name username",
     .email = "email"},
    {.name = "gitea",
     .documentation = "https://docs.gitea.com/development/oauth2-provider",
     .authorize = "/login/oauth/authorize",
     .token = "/login/oauth/access_token",
     .identity = "/api/v1/user",
     .scope_separator = ' ',
     .pkce = true,
     .uid = "id",
     .nickname = "login",
     .full_name = "full_name login",
     .email = "email"},
    {.name = "github",
     .documentation = "https://docs.github.com/en/apps/oauth-apps/building-oauth-apps",
     .authorize = "https://github.com/login/oauth/authorize",
     .token = "https://github.com/login/oauth/access_token",
     .revoke = "https://api.github.com/applications/{client_id}/grant",
     .identity = "https://api.github.com/user",
     .scopes = "repo admin:repo_hook user:email",
     .scope_separator = ' ',
     .pkce = true,
     .revoke_by_delete = true,
     .revoke_access_only = true,
     .uid = "id",
     .nickname = "login",
     .full_name = "name login",
     .email = "email"},
    {.name = "gitlab",
     .documentation = "https://docs.gitlab.com/api/oauth2/",
     .authorize = "/oauth/authorize",
     .token = "/oauth/token",
     .revoke = "/oauth/revoke",
     .identity = "/api/v4/user",
     .scopes = "api",
     .scope_separator = ' ',
     .pkce = true,
     .redirect_on_refresh = true,
     .uid = "id",
     .nickname = "username",
     .full_name = "name username",
     .email = "email"},
    {.name = "google",
     .documentation = "https://developers.google.com/identity/protocols/oauth2/web-server",
     .authorize = "https://accounts.google.com/o/oauth2/v2/auth",
     .token = "https://oauth2.googleapis.com/token",
     .revoke = "https://oauth2.googleapis.com/revoke",
     .identity = "https://openidconnect.googleapis.com/v1/userinfo",
     .extra = "access_type=offline&prompt=consent&include_granted_scopes=true",
     .scopes = "openid email profile",
     .scope_separator = ' ',
     .pkce = true,
     .uid = "sub",
     .nickname = "email",
     .full_name = "name email",
     .email = "email"},
    {.name = "slack",
     .documentation = "https://api.slack.com/authentication/oauth-v2",
     .authorize = "https://slack.com/oauth/v2/authorize",
     .token = "https://slack.com/api/oauth.v2.access",
     .revoke = "https://slack.com/api/auth.revoke",
     .scopes = "chat:write,commands,channels:read",
     .revoke_access_only = true,
     .revoke_bare = true,
     .by_query = true,
     .client_auth = OAUTH2_BASIC, /* which it asks for, where possible */
     .scope_separator = ','},
};

const struct oauth2_server *oauth2_server_find(struct slice name)
{
    for (size_t i = 0; i < sizeof servers / sizeof servers[0]; i++) {
        if (slice_equal_nocase(name, slice_str(servers[i].name))) {
            return &servers[i];
        }
    }
    return NULL;
}

/* ---- writing */

/* application/x-www-form-urlencoded, appended: "name=value", with '&' in front when it is not the
 * first. */
static void oauth2_form_add(struct buf *form, const char *name, struct slice value)
{
    if (form->bytes > 0 && form->at[form->bytes - 1] != '?' && form->at[form->bytes - 1] != '&') {
        buf_add_byte(form, '&');
    }
    buf_printf(form, "%s=", name);
    percent_add(form, value);
}

void oauth2_challenge(struct slice verifier, char ret_challenge[OAUTH2_CHALLENGE_BYTES + 1])
{
    uint8_t digest[SHA256_BYTES];
    sha256(verifier, digest);
    size_t bytes = base64_encode(digest, sizeof digest, BASE64_URL, ret_challenge);
    ret_challenge[bytes] = '\0';
}

/* An endpoint, relative ones behind base; {client_id} filled in. */
static void add_endpoint(struct buf *url, const char *endpoint, struct slice base,
                         struct slice client_id)
{
    static const struct slice hole = SLICE("{client_id}");
    if (endpoint[0] == '/') {
        buf_add_slice(url, base);
    }
    const char *at = strstr(endpoint, (const char *)hole.at);
    if (!at) {
        buf_add_str(url, endpoint);
        return;
    }
    buf_add(url, endpoint, (size_t)(at - endpoint));
    percent_add(url, client_id);
    buf_add_str(url, at + hole.bytes);
}

/* Scopes are given with spaces or commas; the server wants its own separator. */
static struct slice separated(struct slice scopes, char separator, char *out, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < scopes.bytes && count < size; i++) {
        bool gap = scopes.at[i] == ' ' || scopes.at[i] == ',';
        if (!gap) {
            out[count++] = (char)scopes.at[i];
        } else if (count > 0 && out[count - 1] != separator) {
            out[count++] = separator;
        }
    }
    return slice_of(out, count);
}

void oauth2_authorize_url(const struct oauth2_server *server, struct slice base,
                          const struct oauth2_client *client, struct slice scopes,
                          struct slice state, struct slice nonce, struct slice challenge,
                          struct buf *url)
{
    char text[1024];
    struct slice wanted = separated(scopes.bytes ? scopes : slice_str(server->scopes),
                                    server->scope_separator, text, sizeof text);
    add_endpoint(url, server->authorize, base, client->id);
    buf_add_str(url, memchr(url->at, '?', url->bytes) ? "&" : "?");
    oauth2_form_add(url, "response_type", SLICE("code"));
    oauth2_form_add(url, "client_id", client->id);
    oauth2_form_add(url, "redirect_uri", client->redirect_uri);
    if (wanted.bytes > 0) {
        oauth2_form_add(url, "scope", wanted);
    }
    oauth2_form_add(url, "state", state);
    if (nonce.bytes > 0) {
        oauth2_form_add(url, "nonce", nonce);
    }
    if (server->pkce) {
        oauth2_form_add(url, "code_challenge", challenge);
        oauth2_form_add(url, "code_challenge_method", SLICE("S256"));
    }
    if (server->extra) {
        buf_printf(url, "&%s", server->extra);
    }
}

static struct slice keep(struct arena *arena, struct buf *text)
{
    char *copy = text->overflow ? NULL : arena_copy(arena, text->at, text->bytes);
    struct slice result = slice_of(copy, copy ? text->bytes : 0);
    arena->overflow = arena->overflow || !copy;
    buf_fini(text);
    return result;
}

#define PAIR_BYTES 8192U

/* user:password, both form-encoded first (RFC 6749 2.3.1). Wipe the text. */
static size_t basic_pair(const struct oauth2_client *client,
                         char ret_text[BASE64_ENCODED(PAIR_BYTES)])
{
    struct buf pair;
    buf_init(&pair, PAIR_BYTES);
    percent_add(&pair, client->id);
    buf_add_byte(&pair, ':');
    percent_add(&pair, client->secret);
    size_t bytes =
        pair.overflow ? 0 : base64_encode(pair.at, pair.bytes, BASE64_STANDARD, ret_text);
    bk_wipe(pair.at, pair.bytes);
    buf_fini(&pair);
    return bytes;
}

static void add_basic(struct buf *headers, const struct oauth2_client *client)
{
    char text[BASE64_ENCODED(PAIR_BYTES) + 4];
    size_t bytes = basic_pair(client, text);
    headers->overflow = headers->overflow || bytes == 0;
    while (bytes % 4 != 0) {
        text[bytes++] = '=';
    }
    buf_printf(headers, "Authorization: Basic %.*s\r\n", (int)bytes, text);
    bk_wipe(text, sizeof text);
}

/* The pair as a whole first: what is left of it when only the secret within is taken out tells the
 * client. */
void oauth2_scrub(const struct oauth2_client *client, void *at, size_t bytes)
{
    char text[BASE64_ENCODED(PAIR_BYTES)];
    if (client->secret.bytes == 0) {
        return;
    }
    size_t pair_bytes = basic_pair(client, text);
    while (pair_bytes > 0 && text[pair_bytes - 1] == '=') {
        pair_bytes--;
    }
    scrub(at, bytes, slice_of(text, pair_bytes));
    scrub(at, bytes, client->secret);
    bk_wipe(text, sizeof text);
}

static void add_agent(const struct oauth2_server *server, const struct oauth2_client *client,
                      struct buf *headers)
{
    if (server->agent && client->address.bytes > 0) {
        buf_printf(headers, "User-Agent: %s (%.*s, becket)\r\n", server->agent,
                   (int)client->address.bytes, (const char *)client->address.at);
    } else {
        buf_add_str(headers, "User-Agent: becket\r\n");
    }
}

static void begin_request(const struct oauth2_server *server, const struct oauth2_client *client,
                          struct buf *headers, const char *content_type)
{
    buf_init(headers, 32768);
    add_agent(server, client, headers);
    buf_printf(headers, "Accept: application/json\r\nContent-Type: %s\r\n", content_type);
}

/* The client's proof of itself, in the form or as a header. */
static void add_client(const struct oauth2_server *server, const struct oauth2_client *client,
                       struct buf *form, struct buf *headers)
{
    if (server->client_auth == OAUTH2_BASIC && client->secret.bytes > 0) {
        add_basic(headers, client);
        return;
    }
    oauth2_form_add(form, "client_id", client->id);
    if (client->secret.bytes > 0) {
        oauth2_form_add(form, "client_secret", client->secret);
    }
}

static void end_request(const char *endpoint, struct slice base, const struct oauth2_client *client,
                        struct buf *form, struct buf *headers, struct arena *arena,
                        struct oauth2_request *ret_request)
{
    struct buf url;
    buf_init(&url, 8192);
    add_endpoint(&url, endpoint, base, client->id);
    *ret_request = (struct oauth2_request){.method = HTTP_POST,
                                           .url = keep(arena, &url),
                                           .headers = keep(arena, headers),
                                           .body = keep(arena, form)};
}

#define FORM "application/x-www-form-urlencoded"

void oauth2_code_request(const struct oauth2_server *server, struct slice base,
                         const struct oauth2_client *client, struct slice code,
                         struct slice verifier, struct arena *arena,
                         struct oauth2_request *ret_request)
{
    struct buf form, headers;
    buf_init(&form, 32768);
    begin_request(server, client, &headers, FORM);
    oauth2_form_add(&form, "grant_type", SLICE("authorization_code"));
    oauth2_form_add(&form, "code", code);
    oauth2_form_add(&form, "redirect_uri", client->redirect_uri);
    if (server->pkce) {
        oauth2_form_add(&form, "code_verifier", verifier);
    }
    add_client(server, client, &form, &headers);
    end_request(server->token, base, client, &form, &headers, arena, ret_request);
}

void oauth2_refresh_request(const struct oauth2_server *server, struct slice base,
                            const struct oauth2_client *client, struct slice refresh_token,
                            struct arena *arena, struct oauth2_request *ret_request)
{
    struct buf form, headers;
    buf_init(&form, 32768);
    begin_request(server, client, &headers, FORM);
    oauth2_form_add(&form, "grant_type", SLICE("refresh_token"));
    oauth2_form_add(&form, "refresh_token", refresh_token);
    if (server->redirect_on_refresh && client->redirect_uri.bytes > 0) {
        oauth2_form_add(&form, "redirect_uri", client->redirect_uri);
    }
    add_client(server, client, &form, &headers);
    end_request(server->token, base, client, &form, &headers, arena, ret_request);
}

void oauth2_revoke_request(const struct oauth2_server *server, struct slice base,
                           const struct oauth2_client *client, struct slice token,
                           struct arena *arena, struct oauth2_request *ret_request)
{
    struct buf form, headers;
    buf_init(&form, 32768);
    begin_request(server, client, &headers, server->revoke_by_delete ? "application/json" : FORM);
    if (server->revoke_by_delete) {
        add_basic(&headers, client);
        buf_add_str(&form, "{\"access_token\":");
        json_add_string(&form, token);
        buf_add_byte(&form, '}');
    } else {
        oauth2_form_add(&form, "token", token);
        if (!server->revoke_bare) {
            add_client(server, client, &form, &headers);
        }
    }
    end_request(server->revoke, base, client, &form, &headers, arena, ret_request);
    if (server->revoke_by_delete) {
        ret_request->method = HTTP_DELETE;
    }
}

/* False: this answer asks for no query. */
static bool begin_query(const struct oauth2_server *server, unsigned status, struct buf *query)
{
    if (!server->by_query || (status != 404 && status != 405)) {
        return false;
    }
    buf_init(query, 32768);
    return true;
}

/* Takes what is in query. */
static void query_request(const struct oauth2_server *server, const char *endpoint,
                          struct slice base, const struct oauth2_client *client, struct buf *query,
                          struct arena *arena, struct oauth2_request *ret_request)
{
    struct buf url, headers;
    buf_init(&url, 32768);
    buf_init(&headers, 1024);
    add_endpoint(&url, endpoint, base, client->id);
    buf_add_byte(&url, memchr(url.at, '?', url.bytes) ? '&' : '?');
    buf_add_slice(&url, buf_slice(query));
    url.overflow = url.overflow || query->overflow;
    add_agent(server, client, &headers);
    buf_add_str(&headers, "Accept: application/json\r\n");
    *ret_request = (struct oauth2_request){
        .method = HTTP_GET, .url = keep(arena, &url), .headers = keep(arena, &headers)};
    bk_wipe(query->at, query->bytes);
    buf_fini(query);
}

bool oauth2_code_query(const struct oauth2_server *server, struct slice base,
                       const struct oauth2_client *client, unsigned status, struct slice code,
                       struct arena *arena, struct oauth2_request *ret_request)
{
    struct buf query;
    if (!begin_query(server, status, &query)) {
        return false;
    }
    oauth2_form_add(&query, "code", code);
    oauth2_form_add(&query, "redirect_uri", client->redirect_uri);
    oauth2_form_add(&query, "client_id", client->id);
    if (client->secret.bytes > 0) {
        oauth2_form_add(&query, "client_secret", client->secret);
    }
    query_request(server, server->token, base, client, &query, arena, ret_request);
    return true;
}

bool oauth2_revoke_query(const struct oauth2_server *server, struct slice base,
                         const struct oauth2_client *client, unsigned status, struct slice token,
                         struct arena *arena, struct oauth2_request *ret_request)
{
    struct buf query;
    if (!begin_query(server, status, &query)) {
        return false;
    }
    oauth2_form_add(&query, "token", token);
    query_request(server, server->revoke, base, client, &query, arena, ret_request);
    return true;
}

/* ---- reading */

static struct slice text_at(yyjson_mut_val *object, const char *name)
{
    yyjson_mut_val *value = yyjson_mut_is_obj(object) ? yyjson_mut_obj_get(object, name) : NULL;
    return yyjson_mut_is_str(value) ? json_text(value) : SLICE_EMPTY;
}

/* One field of a form into the object. One that is malformed is as good as none: a token would not
 * be what was given, and the other fields may say what is wrong. False: no memory. */
static bool add_form_field(struct json_tree *tree, yyjson_mut_val *object, struct slice pair)
{
    size_t equals = slice_find(pair, '='), bytes = 0, name_bytes = 0;
    uint8_t *text = arena_take(&tree->arena, pair.bytes + 1);
    uint8_t name[64];
    if (!text) {
        return false;
    }
    if (equals == 0 || equals >= sizeof name ||
        !percent_decode(slice_of(pair.at, equals), true, name, &name_bytes) ||
        memchr(name, 0, name_bytes) ||
        !percent_decode(slice_skip(pair, equals + 1), true, text, &bytes)) {
        return true;
    }
    name[name_bytes] = 0;
    return json_set(tree, object, (const char *)name, json_new_string(tree, slice_of(text, bytes)));
}

/* A form's fields as an object of the tree, decoded. NULL: it is no form. */
static yyjson_mut_val *form_object(struct slice body, struct json_tree *tree)
{
    yyjson_mut_val *object = slice_find(body, '=') < body.bytes ? json_new_object(tree) : NULL;
    while (object && body.bytes > 0) {
        size_t end = slice_find(body, '&');
        if (!add_form_field(tree, object, slice_of(body.at, end))) {
            return NULL;
        }
        body = slice_skip(body, end + 1);
    }
    return object;
}

/* Atlassian and Gitea call a refresh token that is used up or not known an unauthorized client; the
 * words say what they mean. */
static bool is_about_token(struct slice code, struct slice words)
{
    return words.bytes > 0 && slice_equal(code, SLICE("unauthorized_client")) &&
           memmem(words.at, words.bytes, "token", 5) != NULL;
}

/* An error code of RFC 6749 5.2, or of the providers that have their own words. */
static enum bk_err error_of(struct slice code, struct slice words)
{
    static const char *const dead[] = {
        "invalid_grant",     "bad_verification_code", "bad_refresh_token",     "invalid_code",
        "code_already_used", "code_expired",          "invalid_refresh_token", "token_expired",
        "token_revoked",     "invalid_auth"};
    static const char *const later[] = {"slow_down", "temporarily_unavailable", "server_error",
                                        "ratelimited", "internal_error"};
    if (is_about_token(code, words)) {
        return BK_UNAUTHENTICATED;
    }
    for (size_t i = 0; i < sizeof dead / sizeof dead[0]; i++) {
        if (slice_equal(code, slice_str(dead[i]))) {
            return BK_UNAUTHENTICATED;
        }
    }
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        if (slice_equal(code, slice_str(later[i]))) {
            return BK_BUSY;
        }
    }
    return BK_FORBIDDEN;
}

static void printable(struct slice text, char *out, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < text.bytes && count + 1 < size; i++) {
        out[count++] = text.at[i] >= 0x20 && text.at[i] < 0x7f ? (char)text.at[i] : '?';
    }
    out[count] = '\0';
}

static int64_t seconds_at(yyjson_mut_val *object, const char *name)
{
    yyjson_mut_val *value = yyjson_mut_obj_get(object, name);
    if (yyjson_mut_is_num(value)) {
        double seconds = yyjson_mut_get_num(value);
        return seconds > 0 && seconds < 4e9 ? (int64_t)seconds : 0;
    }
    struct slice text = text_at(object, name);
    int64_t seconds = 0;
    for (size_t i = 0; i < text.bytes && i < 10; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return 0;
        }
        seconds = seconds * 10 + (text.at[i] - '0');
    }
    return seconds;
}

static enum bk_err refusal(unsigned status, yyjson_mut_val *object, char why[OAUTH2_WHY_BYTES])
{
    char code[64], words[112];
    struct slice error = text_at(object, "error");
    bool client = slice_equal(error, SLICE("invalid_client"));
    printable(error, code, sizeof code);
    printable(text_at(object, "error_description"), words, sizeof words);
    snprintf(why, OAUTH2_WHY_BYTES, "the token endpoint says %s (%u)%s%s%s", code[0] ? code : "no",
             status, words[0] ? ": " : "", words,
             client ? "; see clientId, clientSecret, clientAuth" : "");
    if (status == 429 || status >= 500) {
        return BK_BUSY;
    }
    return error.bytes > 0 ? error_of(error, text_at(object, "error_description"))
           : status == 401 ? BK_FORBIDDEN
                           : BK_PROTOCOL;
}

enum bk_err oauth2_take_tokens(const struct http_head *head, struct slice body,
                               struct json_tree *tree, struct oauth2_tokens *ret_tokens,
                               char ret_why[OAUTH2_WHY_BYTES])
{
    struct json_problem problem;
    yyjson_mut_val *object = NULL;
    ret_why[0] = '\0';
    if (json_parse(body, tree, &problem) == BK_OK) {
        object = tree->roots[0];
    } else if (body.bytes > 0 && body.bytes < 65536 && body.at[0] != '<') {
        object = form_object(body, tree);
    }
    if (!yyjson_mut_is_obj(object)) {
        snprintf(ret_why, OAUTH2_WHY_BYTES,
                 "the token endpoint answered %u with neither JSON nor a form", head->status);
        return head->status == 429 || head->status >= 500 ? BK_BUSY : BK_PROTOCOL;
    }
    yyjson_mut_val *slack_ok = yyjson_mut_obj_get(object, "ok");
    bool refused = yyjson_mut_is_bool(slack_ok) && !yyjson_mut_get_bool(slack_ok);
    if (refused || text_at(object, "error").bytes > 0 || head->status < 200 || head->status > 299) {
        return refusal(head->status, object, ret_why);
    }
    yyjson_mut_val *user = yyjson_mut_obj_get(object, "authed_user");
    yyjson_mut_val *team = yyjson_mut_obj_get(object, "team");
    *ret_tokens = (struct oauth2_tokens){.access_token = text_at(object, "access_token"),
                                         .refresh_token = text_at(object, "refresh_token"),
                                         .scope = text_at(object, "scope"),
                                         .id_token = text_at(object, "id_token"),
                                         .expires_in = seconds_at(object, "expires_in"),
                                         .user_id = text_at(user, "id"),
                                         .team_id = text_at(team, "id"),
                                         .team_name = text_at(team, "name")};
    if (ret_tokens->access_token.bytes == 0) { /* Slack gives a user token only where asked so */
        ret_tokens->access_token = text_at(user, "access_token");
        ret_tokens->refresh_token = text_at(user, "refresh_token");
        ret_tokens->scope = text_at(user, "scope");
        ret_tokens->expires_in = yyjson_mut_is_obj(user) ? seconds_at(user, "expires_in") : 0;
    }
    if (ret_tokens->access_token.bytes == 0) {
        snprintf(ret_why, OAUTH2_WHY_BYTES, "the token endpoint's answer has no access_token");
        return BK_PROTOCOL;
    }
    return BK_OK;
}

/* Words of a server that means: there is no such token any more. */
static bool is_gone(struct slice code)
{
    static const char *const words[] = {"invalid_token", "token_revoked",    "token_expired",
                                        "invalid_auth",  "account_inactive", "not_authed"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (slice_equal(code, slice_str(words[i]))) {
            return true;
        }
    }
    return false;
}

enum bk_err oauth2_take_revoked(const struct http_head *head, struct slice body,
                                char ret_why[OAUTH2_WHY_BYTES])
{
    struct json_problem problem;
    struct json_tree tree;
    enum bk_err err = BK_OK;
    json_tree_init(&tree);
    yyjson_mut_val *object =
        body.bytes > 0 && json_parse(body, &tree, &problem) == BK_OK ? tree.roots[0] : NULL;
    yyjson_mut_val *ok = yyjson_mut_is_obj(object) ? yyjson_mut_obj_get(object, "ok") : NULL;
    bool refused = yyjson_mut_is_bool(ok) && !yyjson_mut_get_bool(ok);
    ret_why[0] = '\0';
    if (refused || head->status < 200 || head->status > 299) {
        err = refusal(head->status, object, ret_why);
        bool gone = head->status == 404 || is_gone(text_at(object, "error"));
        err = gone ? BK_OK : err == BK_BUSY ? BK_BUSY : BK_FORBIDDEN;
    }
    json_tree_fini(&tree);
    return err;
}

/* The first place of a list ("name login") that has a text or a number. */
static struct slice first_of(yyjson_mut_val *json, const char *places, struct arena *arena)
{
    struct slice rest = slice_str(places);
    while (rest.bytes > 0) {
        size_t end = slice_find(rest, ' ');
        yyjson_mut_val *value = yyjson_mut_obj_getn(json, (const char *)rest.at, end);
        if (yyjson_mut_is_str(value) && yyjson_mut_get_len(value) > 0) {
            return json_text(value);
        }
        if (yyjson_mut_is_uint(value)) {
            return slice_str(
                arena_printf(arena, "%llu", (unsigned long long)yyjson_mut_get_uint(value)));
        }
        rest = slice_skip(rest, end + 1);
    }
    return SLICE_EMPTY;
}

enum bk_err oauth2_take_identity(const struct oauth2_server *server, yyjson_mut_val *json,
                                 struct arena *arena, struct oauth2_identity *ret_identity)
{
    if (!yyjson_mut_is_obj(json)) {
        return BK_PROTOCOL;
    }
    *ret_identity = (struct oauth2_identity){
        .uid = first_of(json, server->uid, arena),
        .nickname = first_of(json, server->nickname, arena),
        .full_name = first_of(json, server->full_name, arena),
        .email = first_of(json, server->email, arena),
    };
    return ret_identity->uid.bytes > 0 ? BK_OK : BK_PROTOCOL;
}
