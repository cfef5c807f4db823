/* connect_exchange.c - what a provider gave at the sign-in: the code becomes tokens, these tell who
 * it is, and that becomes an account. */
#include "api/keys.h"
#include "api/page.h"
#include "base/json.h"
#include "base/log.h"
#include "base/percent.h"
#include "base/scrub.h"
#include "base/time.h"
#include "base/url.h"
#include "hub/calls/web_call.h"
#include "hub/hub_private.h"
#include "hub/links/link.h"
#include "hub/people/people.h"
#include "hub/people/people_index.h"
#include "providers/id_token.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

#define ANSWER_BYTES_MAX (1U << 20)
#define WORK_BYTES_MAX   (4U << 20)
#define KEYS_WAIT_NS     (10 * (uint64_t)NS_PER_SECOND)
#define KEYS_POLL_NS     (50 * (uint64_t)NS_PER_MS)

struct connect {
    struct api_work work;
    bool abandoned; /* the request is over; the call is still out */
    bool out;
    struct api *api;
    uint8_t session[32];
    struct sign_in flow;
    struct arena arena;
    struct people_oauth oauth;
    struct json_tree tree, identity_tree, id_tree; /* the provider's answers */
    struct people_grant grant;
    struct slice code;
    bool asks_metadata; /* is what `out` is about */
    bool by_query;      /* the code was sent in the other form */
    bool has_tokens;
    bool forgets;              /* is what `out` is about: the tokens came to nothing */
    struct slice forgotten;    /* the one that `out` revokes */
    bool has_identity;         /* or it is being asked for */
    yyjson_mut_val *claims;    /* of an ID token that was checked */
    uint64_t keys_deadline_ns; /* for the keys it is checked with; 0 = not wanted yet */
    bool failed;
    char why[400];
};

static void connect_drop(struct connect *connect)
{
    arena_fini(&connect->arena);
    json_tree_fini(&connect->tree);
    json_tree_fini(&connect->identity_tree);
    json_tree_fini(&connect->id_tree);
    explicit_bzero(connect, sizeof *connect);
    free(connect);
}

static void connect_free(struct api_work *work)
{
    struct connect *connect = bk_container_of(work, struct connect, work);
    connect->abandoned = true;
    if (!connect->out) {
        connect_drop(connect);
    }
}

__attribute__((format(printf, 2, 3))) static void connect_fail(struct connect *connect,
                                                               const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(connect->why, sizeof connect->why, format, args);
    va_end(args);
    connect->failed = true;
}

static void answered(void *context, const struct outbound_answer *answer);

static void send(struct connect *connect, const struct web_call *call)
{
    const char *why = "out of memory";
    struct web_call web = *call;
    web.allow_private = connect->oauth.allow_private;
    web.body_bytes_max = ANSWER_BYTES_MAX;
    web.done = answered;
    web.context = connect;
    if (connect->arena.overflow || !connect->api->web_call ||
        connect->api->web_call(connect->api->outbound, &web, &why) != BK_OK) {
        connect_fail(connect, "the provider cannot be called: %s", why);
        return;
    }
    connect->out = true;
}

/* Who it is, where the tokens' answer says so. */
static bool identity_of_tokens(struct connect *connect)
{
    struct people_grant *grant = &connect->grant;
    if (grant->tokens.user_id.bytes > 0 && slice_equal(connect->oauth.type, SLICE("slack"))) {
        grant->identity.uid = grant->tokens.user_id;
        grant->workspace = grant->tokens.team_id;
        grant->workspace_name = grant->tokens.team_name;
        return true;
    }
    return connect->claims && oauth2_take_identity(&connect->oauth.server, connect->claims,
                                                   &connect->arena, &grant->identity) == BK_OK;
}

static void ask_identity(struct connect *connect)
{
    struct oauth2_tokens *tokens = &connect->grant.tokens;
    const char *identity = connect->oauth.server.identity;
    connect->has_identity = true;
    if (!identity) {
        if (!identity_of_tokens(connect)) {
            connect_fail(connect,
                         connect->oauth.server.issuer
                             ? "the provider sent no ID token: is openid among the scopes?"
                             : "the provider does not say who signed in: give identityUrl");
        }
        return;
    }
    struct slice base = identity[0] == '/' ? connect->oauth.base : SLICE_EMPTY;
    struct arena *arena = &connect->arena;
    struct slice token = tokens->access_token;
    for (size_t i = 0; i < token.bytes; i++) {
        if (token.at[i] < 0x21 || token.at[i] > 0x7e) {
            connect_fail(connect, "the provider's token has bytes that no token has");
            return;
        }
    }
    const char *agent = connect->oauth.server.agent;
    const char *name = agent
                           ? arena_printf(arena, "%s (%s, becket)", agent,
                                          connect->api->public_url ? connect->api->public_url : "")
                           : "becket";
    struct web_call call = {
        .method = HTTP_GET,
        .url = slice_str(arena_printf(arena, "%.*s%s", (int)base.bytes,
                                      (const char *)(base.at ? base.at : (const uint8_t *)""),
                                      identity)),
        .headers = slice_str(arena_printf(arena,
                                          "User-Agent: %s\r\nAccept: application/json\r\n"
                                          "Authorization: Bearer %.*s\r\n",
                                          name, (int)token.bytes, (const char *)token.at)),
        .repeatable = true};
    send(connect, &call);
}

/* True: asked once more, in the other form. */
static bool ask_by_query(struct connect *connect, unsigned status)
{
    struct oauth2_request request;
    if (connect->by_query ||
        !oauth2_code_query(&connect->oauth.server, connect->oauth.base, &connect->oauth.client,
                           status, connect->code, &connect->arena, &request)) {
        return false;
    }
    struct web_call call = {
        .method = request.method, .url = request.url, .headers = request.headers};
    connect->by_query = true;
    send(connect, &call);
    return true;
}

static void take_tokens(struct connect *connect, const struct outbound_answer *answer)
{
    char why[OAUTH2_WHY_BYTES];
    if (ask_by_query(connect, answer->status)) {
        return;
    }
    struct slice body = slice_of(arena_copy(&connect->arena, answer->body.at, answer->body.bytes),
                                 answer->body.bytes);
    oauth2_scrub(&connect->oauth.client, (uint8_t *)(uintptr_t)body.at, body.at ? body.bytes : 0);
    if (!body.at || oauth2_take_tokens(answer->head, body, &connect->tree, &connect->grant.tokens,
                                       why) != BK_OK) {
        connect_fail(connect, "%s", body.at ? why : "out of memory");
        return;
    }
    connect->has_tokens = true; /* what follows wants to know the time: connect_resume() */
}

/* The ID token, where the integration names an issuer. False: its keys are on their way. */
static bool check_id_token(struct connect *connect, const struct api_request *request)
{
    struct slice token = connect->grant.tokens.id_token;
    struct slice client = connect->oauth.client.id;
    struct key_finder finder = {keys_find, connect->api->keys};
    struct id_token_rules rules = {
        .issuer = connect->oauth.server.issuer,
        .client_id =
            arena_printf(&connect->arena, "%.*s", (int)client.bytes, (const char *)client.at),
        .nonce = slice_str(connect->flow.nonce),
        .allow_private = connect->oauth.allow_private,
        .now_seconds = request->wall_ns / NS_PER_SECOND,
        .keys = connect->api->keys ? &finder : NULL};
    const char *why = NULL;
    if (!rules.issuer || token.bytes == 0 || connect->claims) {
        return true;
    }
    enum scheme_verdict verdict =
        id_token_check(token, &rules, &connect->id_tree, &connect->claims, &why);
    if (verdict == SCHEME_KEY_WANTED && connect->keys_deadline_ns == 0) {
        connect->keys_deadline_ns = request->now_ns + KEYS_WAIT_NS;
    }
    if (verdict == SCHEME_KEY_WANTED && request->now_ns < connect->keys_deadline_ns) {
        connect->work.wake_ns = request->now_ns + KEYS_POLL_NS;
        return false;
    }
    if (verdict != SCHEME_GENUINE) {
        connect_fail(connect, "%s", why);
    }
    return true;
}

/* Names are kept and shown: a server that sends the token back as one gives none. */
static void take_identity(struct connect *connect, const struct outbound_answer *answer)
{
    struct json_problem problem;
    uint8_t *body = (uint8_t *)arena_copy(&connect->arena, answer->body.at, answer->body.bytes);
    size_t bytes = body ? answer->body.bytes : 0;
    struct slice tokens[] = {connect->grant.tokens.access_token,
                             connect->grant.tokens.refresh_token};
    scrub_order(tokens, bk_array_length(tokens));
    scrub(body, bytes, tokens[0]);
    scrub(body, bytes, tokens[1]);
    oauth2_scrub(&connect->oauth.client, body, bytes);
    if (answer->status != 200 ||
        json_parse(slice_of(body, bytes), &connect->identity_tree, &problem) != BK_OK ||
        oauth2_take_identity(&connect->oauth.server, connect->identity_tree.roots[0],
                             &connect->arena, &connect->grant.identity) != BK_OK) {
        connect_fail(connect, "the provider does not say who signed in (it answered %u)",
                     answer->status);
        return;
    }
    struct slice subject = json_text(yyjson_mut_obj_get(connect->claims, "sub"));
    if (connect->claims && !slice_equal(connect->grant.identity.uid, subject)) {
        connect_fail(connect, "the provider's ID token and its identityUrl tell of two people");
    }
}

static void ask_tokens(struct connect *connect)
{
    struct oauth2_request request;
    oauth2_code_request(&connect->oauth.server, connect->oauth.base, &connect->oauth.client,
                        connect->code, slice_str(connect->flow.verifier), &connect->arena,
                        &request);
    struct web_call call = {.method = request.method,
                            .url = request.url,
                            .headers = request.headers,
                            .body = request.body};
    send(connect, &call);
}

/* RFC 9207, 2.4: an answer that names no issuer is refused where the provider says that it always
 * names itself. Asked before the code goes anywhere. */
static void ask_metadata(struct connect *connect)
{
    struct slice issuer = slice_str(connect->oauth.server.issuer);
    issuer.bytes -= issuer.bytes > 0 && issuer.at[issuer.bytes - 1] == '/';
    struct web_call call = {
        .method = HTTP_GET,
        .url = slice_str(arena_printf(&connect->arena, "%.*s/.well-known/openid-configuration",
                                      (int)issuer.bytes, (const char *)issuer.at)),
        .headers = SLICE("User-Agent: becket\r\nAccept: application/json\r\n"),
        .repeatable = true};
    connect->asks_metadata = true;
    send(connect, &call);
}

static void take_metadata(struct connect *connect, const struct outbound_answer *answer)
{
    struct json_tree tree;
    struct json_problem problem;
    json_tree_init(&tree);
    bool names_itself =
        answer->status == 200 && json_parse(answer->body, &tree, &problem) == BK_OK &&
        yyjson_mut_is_true(
            yyjson_mut_obj_get(tree.roots[0], "authorization_response_iss_parameter_supported"));
    json_tree_fini(&tree);
    connect->asks_metadata = false;
    if (names_itself) {
        connect_fail(connect,
                     "the answer does not say which provider it is from (iss), though this "
                     "one always does: it may be another's");
    } else {
        ask_tokens(connect);
    }
}

/* ---- tokens that came to nothing */

static bool forget_next(struct connect *connect)
{
    const struct oauth2_server *server = &connect->oauth.server;
    struct oauth2_tokens *tokens = &connect->grant.tokens;
    /* The refresh token first: it could make another access token. */
    struct slice *next = tokens->refresh_token.bytes > 0 && !server->revoke_access_only
                             ? &tokens->refresh_token
                             : &tokens->access_token;
    struct oauth2_request request;
    if (next->bytes == 0) {
        return false;
    }
    connect->forgotten = *next;
    *next = SLICE_EMPTY;
    connect->by_query = false;
    oauth2_revoke_request(server, connect->oauth.base, &connect->oauth.client, connect->forgotten,
                          &connect->arena, &request);
    send(connect, &(struct web_call){.method = request.method,
                                     .url = request.url,
                                     .headers = request.headers,
                                     .body = request.body});
    return connect->out;
}

/* What the provider gave is in nobody's hands any more: it is told to forget it, once, for nothing
 * of it is kept. Not while somebody is connected: some take back all that the application was ever
 * given by who signed in, or by their workspace. True: it is told. */
static bool forget(struct connect *connect)
{
    struct store_txn *txn;
    if (!connect->has_tokens || !connect->oauth.server.revoke ||
        store_read(connect->api->hub->store, &txn) != BK_OK) {
        return false;
    }
    bool alone = !people_index_anywhere(txn, slice_str(connect->flow.integration_canvas),
                                        slice_str(connect->flow.integration));
    store_read_end(txn);
    connect->forgets = alone;
    return alone && forget_next(connect);
}

/* True: asked once more, in the other form. */
static bool forget_by_query(struct connect *connect, const struct outbound_answer *answer)
{
    struct oauth2_request request;
    if (connect->by_query || answer->err != BK_OK ||
        !oauth2_revoke_query(&connect->oauth.server, connect->oauth.base, &connect->oauth.client,
                             answer->status, connect->forgotten, &connect->arena, &request)) {
        return false;
    }
    connect->by_query = true;
    send(connect, &(struct web_call){
                      .method = request.method, .url = request.url, .headers = request.headers});
    return connect->out;
}

static void take_forgotten(struct connect *connect, const struct outbound_answer *answer)
{
    char why[OAUTH2_WHY_BYTES];
    if (forget_by_query(connect, answer)) {
        return;
    }
    uint8_t *copy = (uint8_t *)arena_copy(&connect->arena, answer->body.at, answer->body.bytes);
    struct slice body = slice_of(copy, copy ? answer->body.bytes : 0);
    oauth2_scrub(&connect->oauth.client, copy, body.bytes);
    scrub(copy, body.bytes, connect->forgotten);
    enum bk_err err = answer->err;
    if (err == BK_OK) {
        err = oauth2_take_revoked(answer->head, body, why);
    } else {
        snprintf(why, sizeof why, "%s", answer->why);
    }
    if (err == BK_OK) {
        log_event(LOG_INFO, "a token was revoked", LOG_Z("integration", connect->flow.integration));
    } else {
        log_event(LOG_WARN, "a token was not revoked",
                  LOG_Z("integration", connect->flow.integration), LOG_Z("why", why));
    }
    forget_next(connect);
}

static void answered(void *context, const struct outbound_answer *answer)
{
    struct connect *connect = context;
    connect->out = false;
    if (connect->abandoned) {
        if (connect->forgets) {
            take_forgotten(connect, answer);
        }
        if (!connect->out) {
            connect_drop(connect);
        }
        return;
    }
    if (answer->err != BK_OK) {
        connect_fail(connect, "the provider did not answer: %s", answer->why);
    } else if (connect->asks_metadata) {
        take_metadata(connect, answer);
    } else if (!connect->has_tokens) {
        take_tokens(connect, answer);
    } else {
        take_identity(connect, answer);
    }
    connect->work.woken = !connect->out;
}

enum api_step connect_failed(struct page *page, const struct sign_in *flow, const char *message)
{
    struct buf location;
    buf_init(&location, 1400);
    buf_add_str(&location, "/auth/failure?message=");
    percent_add(&location, slice_str(message));
    buf_printf(&location, "&strategy=%s", flow->integration);
    enum api_step step =
        page_redirect(page, location.overflow ? "/auth/failure" : buf_text(&location));
    buf_fini(&location);
    return step;
}

/* The provider has agreed to something that came to nothing. */
static void add_nothing_kept(struct connect *connect, char *why, size_t why_bytes)
{
    size_t used = strlen(why);
    snprintf(why + used, why_bytes - used, "; nothing was kept here, %s",
             forget(connect) ? "and the provider is told to take back what it gave"
                             : "though the provider may list becket now: connect again, or remove "
                               "it there");
}

static enum api_step finish(struct page *page, struct connect *connect)
{
    char why[PROVIDER_WHY_BYTES + 160] = "", location[NAME_BYTES_MAX + 32];
    if (connect->failed) {
        if (connect->has_tokens) {
            add_nothing_kept(connect, connect->why, sizeof connect->why);
        }
        return connect_failed(page, &connect->flow, connect->why);
    }
    connect->grant.now_ns = page->call->request->wall_ns;
    struct audit_actor actor;
    page->user = slice_str(connect->flow.user);
    page_actor(page, &actor);
    audit_actor_set(connect->api->hub, &actor);
    enum bk_err err = people_store(connect->api->hub, &connect->grant, why);
    audit_actor_set(connect->api->hub, NULL);
    if (err != BK_OK) {
        if (why[0] == '\0') {
            snprintf(why, sizeof why, "%s", bk_err_text(err));
        }
        if (err != BK_CONFLICT) { /* somebody else's account, who has agreed to it */
            add_nothing_kept(connect, why, sizeof why);
        }
        return connect_failed(page, &connect->flow, why);
    }
    const struct link_type *type = link_type_find(connect->oauth.type);
    struct slice shown = connect->grant.identity.nickname.bytes > 0
                             ? connect->grant.identity.nickname
                             : connect->grant.identity.uid;
    log_event(LOG_INFO, "connected", LOG_Z("integration", connect->flow.integration),
              LOG_S("uid", connect->grant.identity.uid), LOG_Z("user", connect->flow.user));
    page_flash(page, false, "%s is connected as %.*s.", connect->flow.integration,
               (int)(shown.bytes < 100 ? shown.bytes : 100), (const char *)shown.at);
    snprintf(location, sizeof location, "/integrations/%s/link", type ? type->name : "");
    return page_redirect(page, connect->flow.slack || !type ? "/settings" : location);
}

static enum api_step connect_resume(struct api_call *call)
{
    struct connect *connect = bk_container_of(call->response->work, struct connect, work);
    struct page page;
    connect->work.woken = false;
    connect->work.wake_ns = UINT64_MAX;
    if (!connect->failed && connect->has_tokens && !connect->has_identity) {
        if (!check_id_token(connect, call->request)) {
            return API_WAIT;
        }
        if (!connect->failed) {
            ask_identity(connect);
        }
        if (connect->out) {
            return API_WAIT;
        }
    }
    if (!page_resume(call, connect->session, connect->flow.canvas, &page)) {
        forget(connect);
        return page_says(&page, 400, "Not logged in",
                         "You were logged out while the sign-in went on: log in and begin again.");
    }
    return finish(&page, connect);
}

enum api_step connect_exchange(struct page *page, const struct sign_in *flow, struct slice code,
                               bool named)
{
    struct api *api = page->call->api;
    struct connect *connect = calloc(1, sizeof *connect);
    struct store_txn *txn;
    char why[PROVIDER_WHY_BYTES] = "";
    if (!connect) {
        return connect_failed(page, flow, "out of memory");
    }
    connect->api = api;
    connect->flow = *flow;
    memcpy(connect->session, page->session->hash, sizeof connect->session);
    arena_init(&connect->arena, WORK_BYTES_MAX);
    json_tree_init(&connect->tree);
    json_tree_init(&connect->identity_tree);
    json_tree_init(&connect->id_tree);
    enum bk_err err = store_read(api->hub->store, &txn);
    if (err == BK_OK) {
        err = people_oauth(api->hub, txn, slice_str(connect->flow.integration_canvas),
                           slice_str(connect->flow.integration), &connect->arena, &connect->oauth,
                           why);
        store_read_end(txn);
    }
    if (err != BK_OK) {
        connect_drop(connect);
        return connect_failed(page, flow, why[0] ? why : bk_err_text(err));
    }
    connect->oauth.client.redirect_uri = slice_str(connect->flow.redirect_uri);
    connect->grant = (struct people_grant){.canvas = slice_str(connect->flow.canvas),
                                           .redirect_uri = connect->oauth.client.redirect_uri,
                                           .integration = slice_str(connect->flow.integration),
                                           .type = connect->oauth.type,
                                           .user = slice_str(connect->flow.user)};
    connect->code = slice_of(arena_copy(&connect->arena, code.at, code.bytes), code.bytes);
    if (!named && connect->oauth.server.issuer) {
        ask_metadata(connect);
    } else {
        ask_tokens(connect);
    }
    connect->work = (struct api_work){.resume = connect_resume,
                                      .free_work = connect_free,
                                      .wake_ns = UINT64_MAX,
                                      .woken = !connect->out};
    page->call->response->work = &connect->work;
    return API_WAIT;
}
