/* connect.c - signing in at a provider: to it with a state, back from it with a code. */
#include "api/page.h"
#include "base/ct.h"
#include "base/percent.h"
#include "base/time.h"
#include "base/url.h"
#include "hub/hub_private.h"
#include "hub/links/link_index.h"
#include "hub/people/people.h"

#include <stdio.h>

#define FLOW_NS      (600 * NS_PER_SECOND)
#define FLOW_SECONDS 600U

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
            percent_add(html, slice_str(named.name));
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
        return connect_failed(page, &flow,
                              arena_printf(arena, "%.*s",
                                           (int)(words.bytes < 200 ? words.bytes : 200),
                                           (const char *)words.at));
    }
    if (!form_field(page->query, "code", arena, &code) || code.bytes == 0) {
        return connect_failed(page, &flow, "the provider sent no code");
    }
    return connect_exchange(page, &flow, code, named);
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
