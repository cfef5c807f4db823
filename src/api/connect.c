/* connect.c - signing in at a provider: to it with a state, back from it with a code. */
#include "api/keys.h"
#include "api/page.h"
#include "base/ct.h"
#include "base/json.h"
#include "base/log.h"
#include "base/scrub.h"
#include "base/time.h"
#include "base/url.h"
#include "hub/calls/web_call.h"
#include "hub/hub_private.h"
#include "hub/links/link.h"
#include "hub/links/link_index.h"
#include "hub/operations/integration_view.h"
#include "hub/people/people.h"
#include "hub/resources/apply.h"
#include "providers/id_token.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FLOW_NS          (600 * NS_PER_SECOND)
#define FLOW_SECONDS     600U
#define ANSWER_BYTES_MAX (1U << 20)
#define WORK_BYTES_MAX   (4U << 20)
#define KEYS_WAIT_NS     (10 * (uint64_t)NS_PER_SECOND)
#define KEYS_POLL_NS     (50 * (uint64_t)NS_PER_MS)

/* ---- which integration is meant: by its name, or the only one of a type */

struct named {
    char canvas[NAME_BYTES_MAX + 1];
    char name[NAME_BYTES_MAX + 1];
};

struct of_type {
    struct store_txn *txn;
    struct named *named;
    bool shared; /* only what the canvas shares */
};

/* The first that may be used. */
static bool first_of_type(void *context, struct slice name)
{
    const struct of_type *of_type = context;
    struct named *named = of_type->named;
    struct record record;
    enum bk_err err =
        hub_record(of_type->txn, RESOURCE_INTEGRATION, slice_str(named->canvas), name, &record);
    if (err != BK_OK || (of_type->shared && !hub_is_shared(RESOURCE_INTEGRATION, &record))) {
        return true;
    }
    snprintf(named->name, sizeof named->name, "%.*s", (int)name.bytes, (const char *)name.at);
    return false;
}

static enum bk_err find_in(struct store_txn *txn, struct slice canvas, struct slice name_or_type,
                           bool shared, struct named *ret_named)
{
    struct of_type of_type = {txn, ret_named, shared};
    snprintf(ret_named->canvas, sizeof ret_named->canvas, "%.*s", (int)canvas.bytes,
             (const char *)canvas.at);
    ret_named->name[0] = '\0';
    if (resource_name_valid(name_or_type) && !first_of_type(&of_type, name_or_type)) {
        return BK_OK;
    }
    enum bk_err err =
        name_or_type.bytes <= NAME_BYTES_MAX
            ? type_index_integrations(txn, canvas, name_or_type, first_of_type, &of_type)
            : BK_NOT_FOUND;
    return err == BK_OK && !ret_named->name[0] ? BK_NOT_FOUND : err;
}

/* In the canvas of the page, then in the default one, whose integrations are everybody's. */
static enum bk_err find_integration(struct page *page, struct store_txn *txn,
                                    struct slice name_or_type, struct named *ret_named)
{
    static const struct slice shared = SLICE(RESOURCE_CANVAS_DEFAULT);
    struct slice canvas = page->canvas.bytes > 0 ? page->canvas : shared;
    enum bk_err err = find_in(txn, canvas, name_or_type, false, ret_named);
    return err == BK_NOT_FOUND && !slice_equal(canvas, shared)
               ? find_in(txn, shared, name_or_type, true, ret_named)
               : err;
}

/* ---- to the provider */

static const char *browser_cookie(const struct page *page)
{
    return page_cookie_name(page, "__Host-becket-signin", "becket-signin");
}

static enum api_step go(struct page *page, const struct people_oauth *oauth, struct sign_in *flow)
{
    char state[SECRET_TEXT + 1], browser[SECRET_TEXT + 1];
    char challenge[OAUTH2_CHALLENGE_BYTES + 1];
    struct slice cookie;
    struct buf url;
    uint8_t hash[32];
    page_secret(state);
    state[22] = '\0'; /* 128 bits and more */
    page_hash(slice_str(state), hash);
    /* Several windows may sign in at once: they share the browser's cookie. */
    if (page_cookie_value(page, browser_cookie(page), &cookie) && cookie.bytes == SECRET_TEXT) {
        snprintf(browser, sizeof browser, "%.*s", (int)cookie.bytes, (const char *)cookie.at);
    } else {
        page_secret(browser);
    }
    page_hash(slice_str(browser), flow->browser);
    page_secret(flow->verifier);
    if (oauth->server.issuer) {
        page_secret(flow->nonce);
    }
    memcpy(flow->session, page->session->hash, sizeof flow->session);
    oauth2_challenge(slice_str(flow->verifier), challenge);
    struct oauth2_client client = oauth->client;
    client.redirect_uri = slice_str(flow->redirect_uri);
    buf_init(&url, 8192);
    oauth2_authorize_url(&oauth->server, oauth->base, &client, oauth->scopes, slice_str(state),
                         slice_str(flow->nonce), slice_str(challenge), &url);
    page_cookie(page, browser_cookie(page), browser, FLOW_SECONDS);
    enum bk_err err = sign_in_keep(page->call->api->hub, hash, flow, page->call->request->wall_ns);
    if (err != BK_OK) { /* what would come back could not be stored either */
        buf_fini(&url);
        return page_says(page, 503, "Not now", "The store takes no writes now: %s.",
                         bk_err_text(err));
    }
    enum api_step step = page_redirect(page, url.overflow ? "/auth/failure" : buf_text(&url));
    buf_fini(&url);
    return step;
}

static enum api_step begin(struct page *page, struct slice name_or_type, bool slack)
{
    struct api_call *call = page->call;
    struct store_txn *txn;
    struct people_oauth oauth;
    struct buf redirect;
    struct named named;
    char why[PROVIDER_WHY_BYTES] = "";
    enum bk_err err = store_read(call->api->hub->store, &txn);
    if (err != BK_OK) {
        return page_says(page, 503, "Not now", "%s", bk_err_text(err));
    }
    err = find_integration(page, txn, name_or_type, &named);
    if (err == BK_OK) {
        err = people_oauth(call->api->hub, txn, slice_str(named.canvas), slice_str(named.name),
                           &call->arena, &oauth, why);
    }
    store_read_end(txn);
    if (err == BK_NOT_FOUND) {
        return page_says(page, 404, "No such integration",
                         "There is no Integration \"%.*s\", by name or type: apply one with auth "
                         "AUTH_TYPE_OAUTH first.",
                         (int)name_or_type.bytes, (const char *)name_or_type.at);
    }
    if (err != BK_OK) {
        return page_says(page, err == BK_INVALID ? 409 : 503, "Not possible", "%s",
                         why[0] ? why : bk_err_text(err));
    }
    if (slice_equal(call->request->sec_fetch_site, SLICE("cross-site"))) {
        /* Nobody else's page begins a sign-in here. */
        struct buf *html = page_begin(page, "Connect");
        buf_add_str(html, "<p>Another site's page wants you to connect ");
        html_add(html, slice_str(named.name));
        buf_add_str(html, ".</p><p><a class=\"button\" href=\"");
        buf_add_str(html, slack ? "/slack" : "/auth/");
        if (!slack) {
            url_add(html, slice_str(named.name));
        }
        buf_add_str(html, "\">Connect</a></p>");
        return page_end(page, 200);
    }
    struct sign_in flow = {.end_ns = call->request->wall_ns + FLOW_NS, .slack = slack};
    buf_init(&redirect, sizeof flow.redirect_uri - 1);
    page_base(page, &redirect);
    if (slack) {
        buf_add_str(&redirect, "/slack/signin");
    } else {
        buf_printf(&redirect, "/auth/%s/callback", named.name);
    }
    snprintf(flow.redirect_uri, sizeof flow.redirect_uri, "%s", buf_text(&redirect));
    buf_fini(&redirect);
    snprintf(flow.canvas, sizeof flow.canvas, "%.*s", (int)page->canvas.bytes,
             (const char *)page->canvas.at);
    snprintf(flow.integration_canvas, sizeof flow.integration_canvas, "%s", named.canvas);
    snprintf(flow.integration, sizeof flow.integration, "%s", named.name);
    struct slice user = form_text(page->form, "user", &call->arena); /* a link says it for nobody */
    bool given = resource_name_valid(user) && page->session->token.role == TOKEN_ADMIN;
    snprintf(flow.user, sizeof flow.user, "%.*s", (int)(given ? user.bytes : page->user.bytes),
             (const char *)(given ? user.at : page->user.at));
    enum api_step step = go(page, &oauth, &flow);
    bk_wipe(&flow, sizeof flow);
    return step;
}

enum api_step page_connect(struct page *page)
{
    return begin(page, page->segment, false);
}

/* ---- back from it */

struct connect {
    struct api_work work;
    bool abandoned; /* the request is gone; the call is still out */
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

static void answered(void *context, const struct outbound_answer *answer)
{
    struct connect *connect = context;
    connect->out = false;
    if (connect->abandoned) {
        connect_drop(connect);
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

static enum api_step go_to_failure(struct page *page, const struct sign_in *flow,
                                   const char *message)
{
    struct buf location;
    buf_init(&location, 1400);
    buf_add_str(&location, "/auth/failure?message=");
    url_add(&location, slice_str(message));
    buf_printf(&location, "&strategy=%s", flow->integration);
    enum api_step step =
        page_redirect(page, location.overflow ? "/auth/failure" : buf_text(&location));
    buf_fini(&location);
    return step;
}

/* The provider has agreed to something that came to nothing. */
static void add_nothing_kept(char *why, size_t why_bytes)
{
    size_t used = strlen(why);
    snprintf(why + used, why_bytes - used,
             "; nothing was kept here, though the provider may list becket now: connect again, or "
             "remove it there");
}

static enum api_step finish(struct page *page, struct connect *connect)
{
    char why[PROVIDER_WHY_BYTES + 160] = "", location[NAME_BYTES_MAX + 32];
    if (connect->failed) {
        if (connect->has_tokens) {
            add_nothing_kept(connect->why, sizeof connect->why);
        }
        return go_to_failure(page, &connect->flow, connect->why);
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
            add_nothing_kept(why, sizeof why);
        }
        return go_to_failure(page, &connect->flow, why);
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
        return page_says(&page, 400, "Not logged in",
                         "You were logged out while the sign-in went on: log in and begin again.");
    }
    return finish(&page, connect);
}

static enum api_step exchange(struct page *page, const struct sign_in *flow, struct slice code,
                              bool named)
{
    struct api *api = page->call->api;
    struct connect *connect = calloc(1, sizeof *connect);
    struct store_txn *txn;
    char why[PROVIDER_WHY_BYTES] = "";
    if (!connect) {
        return go_to_failure(page, flow, "out of memory");
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
        return go_to_failure(page, flow, why[0] ? why : bk_err_text(err));
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

/* RFC 9207: who says that it answers must be who was asked. Where the integration names no issuer,
 * it must at least be the same server. */
static bool is_issuer(const struct oauth2_server *server, struct slice base, struct slice issuer)
{
    struct url asked, told;
    const char *why;
    struct slice text = server->authorize[0] == '/' ? base : slice_str(server->authorize);
    if (server->issuer) {
        return slice_equal(issuer, slice_str(server->issuer));
    }
    return url_parse(text, &asked, &why) == BK_OK && url_parse(issuer, &told, &why) == BK_OK &&
           asked.tls == told.tls && asked.port == told.port && strcmp(asked.host, told.host) == 0;
}

static bool issuer_is_right(struct page *page, const struct sign_in *flow, struct slice issuer)
{
    struct store_txn *txn;
    struct people_oauth oauth;
    char why[PROVIDER_WHY_BYTES];
    struct hub *hub = page->call->api->hub;
    if (store_read(hub->store, &txn) != BK_OK) {
        return false;
    }
    bool right =
        people_oauth(hub, txn, slice_str(flow->integration_canvas), slice_str(flow->integration),
                     &page->call->arena, &oauth, why) == BK_OK &&
        is_issuer(&oauth.server, oauth.base, issuer);
    store_read_end(txn);
    return right;
}

static enum api_step callback(struct page *page, bool slack)
{
    struct arena *arena = &page->call->arena;
    struct slice state, cookie, code, issuer;
    struct sign_in flow;
    uint8_t browser[32] = {0}, hash[32];
    enum bk_err err = BK_NOT_FOUND;
    if (form_field(page->query, "state", arena, &state)) { /* good for one try, whoever tries */
        page_hash(state, hash);
        err = sign_in_take(page->call->api->hub, hash, page->call->request->wall_ns, &flow);
    }
    if (err != BK_OK && err != BK_NOT_FOUND) {
        return page_says(
            page, 503, "Not now",
            "The store takes no writes now (%s), so nothing that the provider gave could "
            "be kept: the sign-in has not been completed. Load this page again in a while.",
            bk_err_text(err));
    }
    if (page_cookie_value(page, browser_cookie(page), &cookie)) {
        page_hash(cookie, browser);
    }
    if (err != BK_OK || flow.slack != slack ||
        (!slack && !slice_equal(page->segment, slice_str(flow.integration)))) {
        return page_says(page, 400, "This sign-in is over",
                         "Its state is unknown, used or older than ten minutes: begin again from "
                         "the integrations page.");
    }
    if (!page_same(browser, flow.browser) || !page->session ||
        !page_same(page->session->hash, flow.session)) {
        return page_says(page, 400, "Begun elsewhere",
                         "This sign-in was begun in another browser or by somebody else: begin "
                         "again from the integrations page.");
    }
    bool named = form_has(page->query, "iss", arena);
    if (named && (!form_field(page->query, "iss", arena, &issuer) ||
                  !issuer_is_right(page, &flow, issuer))) {
        return page_says(page, 400, "Another provider",
                         "The answer is from another server than the one that was asked.");
    }
    if (form_text(page->query, "error", arena).bytes > 0) {
        struct slice words = form_text(page->query, "error_description", arena);
        words = words.bytes > 0 ? words : form_text(page->query, "error", arena);
        return go_to_failure(page, &flow,
                             arena_printf(arena, "%.*s",
                                          (int)(words.bytes < 200 ? words.bytes : 200),
                                          (const char *)words.at));
    }
    if (!form_field(page->query, "code", arena, &code) || code.bytes == 0) {
        return go_to_failure(page, &flow, "the provider sent no code");
    }
    return exchange(page, &flow, code, named);
}

enum api_step page_callback(struct page *page)
{
    return callback(page, false);
}

enum api_step page_failure(struct page *page)
{
    struct arena *arena = &page->call->arena;
    struct slice message = form_text(page->query, "message", arena);
    struct slice strategy = form_text(page->query, "strategy", arena);
    struct buf *html = page_begin(page, "Not connected");
    buf_add_str(html, "<p class=\"note bad\" role=\"alert\">");
    html_add(html, message.bytes > 0 ? message : SLICE("The sign-in did not work."));
    buf_add_str(html, "</p>");
    if (resource_name_valid(strategy)) {
        buf_printf(html, "<p><a class=\"button\" href=\"/auth/%.*s\">Try again</a></p>",
                   (int)strategy.bytes, (const char *)strategy.at);
    }
    buf_add_str(html, "<p><a href=\"/integrations\">Back to the integrations</a></p>");
    return page_end(page, 200);
}

/* ---- Gitploy's addresses */

static bool slack_is_there(struct page *page)
{
    struct store_txn *txn;
    struct people_oauth oauth;
    struct named named;
    char why[PROVIDER_WHY_BYTES];
    struct hub *hub = page->call->api->hub;
    if (store_read(hub->store, &txn) != BK_OK) {
        return false;
    }
    bool there = find_integration(page, txn, SLICE("slack"), &named) == BK_OK &&
                 people_oauth(hub, txn, slice_str(named.canvas), slice_str(named.name),
                              &page->call->arena, &oauth, why) == BK_OK;
    store_read_end(txn);
    return there;
}

enum api_step page_slack(struct page *page)
{
    bool there = slack_is_there(page);
    if (page->call->request->method == HTTP_HEAD || !there) {
        return page_says(page, there ? 200 : 404, "Slack", "Slack is %s.",
                         there ? "set up"
                               : "not set up: give GITPLOY_SLACK_CLIENT_ID and "
                                 "GITPLOY_SLACK_CLIENT_SECRET, or apply an Integration");
    }
    if (!page->session) {
        return page_redirect(page, "/login?next=%2Fslack");
    }
    if (page->session->token.role < TOKEN_WRITE) {
        return page_says(page, 403, "Not allowed", "This needs a token of role write.");
    }
    return begin(page, SLICE("slack"), true);
}

enum api_step page_slack_signin(struct page *page)
{
    return callback(page, true);
}

/* ---- disconnecting */

static enum api_step disconnect(struct page *page, struct slice name)
{
    struct apply_outcome outcome;
    struct apply_options options = {.canvas = page->canvas, .now_ns = page->call->request->wall_ns};
    page_apply_as(page, &options);
    enum bk_err err =
        apply_delete(page->call->api->hub, RESOURCE_INTEGRATION_USER, name, &options, &outcome);
    if (err == BK_FORBIDDEN) {
        enum api_step step = page_says(page, 403, "Not allowed", "%s.", outcome.message);
        apply_outcome_fini(&outcome);
        return step;
    }
    if (err == BK_OK) {
        page_flash(page, false, "Disconnected.");
    } else {
        page_flash(page, true, "%s", outcome.message ? outcome.message : bk_err_text(err));
    }
    apply_outcome_fini(&outcome);
    return page_redirect(page, "/settings");
}

enum api_step page_disconnect(struct page *page)
{
    return disconnect(page, page->segment);
}

/* The person's account at Slack: few are a person's. */
struct own_walk {
    struct store_txn *txn;
    size_t skip;
    struct hub_address found;
};

static bool look_for_own(void *context, struct slice key, struct slice value)
{
    struct own_walk *walk = context;
    struct integration_view view;
    struct slice canvas, name;
    struct record record;
    (void)value;
    if (!hub_split(slice_skip(key, walk->skip), &canvas, &name) ||
        hub_record(walk->txn, RESOURCE_INTEGRATION_USER, canvas, name, &record) != BK_OK ||
        integration_view_open(record.spec, &view) != BK_OK) {
        return true;
    }
    bool found = slice_equal(integration_text(&view, "provider"), SLICE("slack"));
    integration_view_close(&view);
    if (found) {
        memcpy(walk->found.name, name.at, name.bytes);
        walk->found.name[name.bytes] = '\0';
    }
    return !found;
}

static enum bk_err find_own_slack(const struct page *page, struct hub_address *ret_address)
{
    struct own_walk walk = {.found = {.name = ""}};
    struct key prefix;
    uint8_t kind = resource_kind_info(RESOURCE_INTEGRATION_USER)->key;
    enum bk_err err = store_read(page->call->api->hub->store, &walk.txn);
    if (err != BK_OK) {
        return err;
    }
    key_users(&prefix, resource_kind_info(RESOURCE_USER)->key, page->canvas, page->user);
    key_add(&prefix, &kind, 1);
    walk.skip = prefix.bytes;
    key_add_name(&prefix, page->canvas);
    err = store_walk(walk.txn, key_slice(&prefix), SLICE_EMPTY, look_for_own, &walk);
    store_read_end(walk.txn);
    *ret_address = walk.found;
    return err == BK_OK && walk.found.name[0] == '\0' ? BK_NOT_FOUND : err;
}

/* Gitploy's address signs out at once; here a person says so first: a GET changes nothing,
 * whoever's page made the browser ask. */
enum api_step page_slack_signout(struct page *page)
{
    struct hub_address address;
    enum bk_err err = find_own_slack(page, &address);
    if (err == BK_NOT_FOUND) {
        return page_redirect(page, "/settings");
    }
    if (err != BK_OK) {
        return page_says(page, 503, "Not now", "The store cannot be read: %s.", bk_err_text(err));
    }
    if (page->call->request->method == HTTP_POST) {
        return disconnect(page, slice_str(address.name));
    }
    struct buf *html = page_begin(page, "Disconnect Slack");
    buf_add_str(html, "<p>The account of ");
    html_add(html, page->user);
    buf_add_str(html, " at Slack will be disconnected, and its tokens revoked.</p>"
                      "<form class=\"wide\" method=\"post\" action=\"/slack/signout\">");
    page_csrf(page, html);
    buf_add_str(html, "<button class=\"remove\">Disconnect</button></form>"
                      "<p><a href=\"/settings\">Keep it</a></p>");
    return page_end(page, 200);
}
