#include "api/web.h"

#include "api/page.h"
#include "hub/hub_private.h"
#include "hub/resources/token_use.h"
#include "base/base64.h"
#include "base/ct.h"
#include "base/hmac.h"
#include "base/log.h"
#include "base/sha256.h"
#include "base/time.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SESSION_NS     (12 * 3600 * NS_PER_SECOND)
#define IDLE_NS        (2 * 3600 * NS_PER_SECOND)
#define KEEP_NS        (600 * NS_PER_SECOND) /* what is kept of a session is so old at most */
#define FORM_BYTES_MAX 65536U

/* ---- secrets */

void page_secret(char ret_text[SECRET_TEXT + 1])
{
    uint8_t random[32];
    ring_entropy(random, sizeof random);
    ret_text[base64_encode(random, sizeof random, BASE64_URL, ret_text)] = '\0';
    bk_wipe(random, sizeof random);
}

void page_hash(struct slice text, uint8_t ret_hash[32])
{
    sha256(text, ret_hash);
}

bool page_same(const uint8_t a[32], const uint8_t b[32])
{
    return bk_ct_equal(a, b, 32);
}

void web_close(struct web *web)
{
    if (web) {
        bk_wipe(web, sizeof *web);
    }
    free(web);
}

/* ---- answers */

static const char style[] =
    ":root{color-scheme:light dark;--line:#8884;--ink:#1d2433;--soft:#5b6577;--paper:#fff;"
    "--card:#f6f7f9;--go:#1f5fbf;--bad:#b3261e;--good:#1b6e3c}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e7e9ee;--soft:#a3abba;--paper:#14171d;"
    "--card:#1d222b;--go:#7fb0ff;--bad:#ff9a92;--good:#7fd6a2}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
    "header,main{max-width:46rem;margin:0 auto;padding:0 1.25rem}"
    "header{display:flex;gap:1.25rem;align-items:center;flex-wrap:wrap;padding-top:1rem;"
    "padding-bottom:1rem;border-bottom:1px solid var(--line)}"
    "header strong{font-size:1.1rem}header form{margin-left:auto}"
    "a{color:var(--go)}h1{font-size:1.6rem;margin:1.75rem 0 .75rem}"
    "h2{font-size:1.15rem;margin:2rem 0 .5rem}p{margin:.5rem 0}"
    "ul.cards{list-style:none;margin:1rem 0;padding:0;display:grid;gap:.75rem}"
    "ul.cards li{background:var(--card);border:1px solid var(--line);border-radius:.6rem;"
    "padding:.9rem 1rem;display:flex;gap:1rem;align-items:center;justify-content:space-between}"
    "ul.cards div{min-width:0;overflow-wrap:anywhere}ul.cards p{color:var(--soft);margin:.15rem 0}"
    "label{display:block;font-weight:600;margin:1rem 0 .25rem}"
    "input,select{font:inherit;color:inherit;background:var(--paper);width:100%;padding:.5rem "
    ".6rem;"
    "border:1px solid var(--soft);border-radius:.4rem}"
    "input[aria-invalid=true]{border-color:var(--bad)}"
    ".hint{color:var(--soft);font-size:.9rem;margin:.2rem 0}.bad{color:var(--bad)}"
    ".good{color:var(--good)}.note{border:1px solid currentColor;border-radius:.4rem;"
    "padding:.6rem .8rem;margin:1rem 0;overflow-wrap:anywhere}"
    "button,.button{font:inherit;font-weight:600;cursor:pointer;border:1px solid var(--go);"
    "background:var(--go);color:var(--paper);border-radius:.4rem;padding:.45rem .9rem;"
    "text-decoration:none;display:inline-block;white-space:nowrap}"
    "button.plain{background:none;color:var(--go)}button.remove{background:none;color:var(--bad);"
    "border-color:var(--bad)}form.wide button{margin-top:1.25rem}"
    ":focus-visible{outline:3px solid var(--go);outline-offset:2px}"
    ".tag{font-size:.8rem;border:1px solid currentColor;border-radius:1rem;padding:.05rem .5rem;"
    "color:var(--soft)}";

static void add_headers(struct api_response *response)
{
    api_add_header(response, "Content-Security-Policy",
                   "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors "
                   "'none'; base-uri 'none'");
    /* not "no-referrer": browsers then say Origin: null in our own forms */
    api_add_header(response, "Referrer-Policy", "same-origin");
}

static void add_flash(struct page *page, struct buf *html)
{
    struct session *session = page->session;
    if (session && session->flash[0]) {
        buf_printf(html, "<p class=\"note %s\" role=\"%s\">", session->flash_bad ? "bad" : "good",
                   session->flash_bad ? "alert" : "status");
        html_add(html, slice_str(session->flash));
        buf_add_str(html, "</p>");
        session->flash[0] = '\0';
    }
}

struct buf *page_begin(struct page *page, const char *title)
{
    struct buf *html = &page->call->response->body;
    buf_reset(html);
    buf_add_str(html, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
                      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                      "<link rel=\"stylesheet\" href=\"/style.css\"><title>");
    html_add(html, slice_str(title));
    buf_add_str(html, " · becket</title></head><body><header><strong>becket</strong>");
    if (page->session) {
        buf_add_str(html, "<nav><a href=\"/integrations\">Integrations</a> · "
                          "<a href=\"/settings\">Settings</a></nav>"
                          "<form method=\"post\" action=\"/logout\">");
        page_csrf(page, html);
        if (page->user.bytes > 0 && !slice_equal(page->user, token_user(&page->session->token))) {
            buf_add_str(html, "<span class=\"tag\">for ");
            html_add(html, page->user);
            buf_add_str(html, "</span> ");
        }
        if (page->canvas.bytes > 0 && !slice_equal(page->canvas, SLICE(RESOURCE_CANVAS_DEFAULT))) {
            buf_add_str(html, "<span class=\"tag\">canvas ");
            html_add(html, page->canvas);
            buf_add_str(html, "</span> ");
        }
        buf_add_str(html, "<button class=\"plain\">Log out ");
        html_add(html, slice_str(page->session->token.name));
        buf_add_str(html, "</button></form>");
    }
    buf_add_str(html, "</header><main><h1>");
    html_add(html, slice_str(title));
    buf_add_str(html, "</h1>");
    add_flash(page, html);
    return html;
}

enum api_step page_end(struct page *page, unsigned status)
{
    struct api_response *response = page->call->response;
    buf_add_str(&response->body, "</main></body></html>\n");
    response->status = (uint16_t)status;
    response->content_type = "text/html; charset=utf-8";
    add_headers(response);
    return API_DONE;
}

enum api_step page_says(struct page *page, unsigned status, const char *title, const char *format,
                        ...)
{
    char text[800];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct buf *html = page_begin(page, title);
    buf_printf(html, "<p%s>", status >= 400 ? " role=\"alert\"" : "");
    html_add(html, slice_str(text));
    buf_add_str(html, "</p>");
    if (page->session) {
        buf_add_str(html, "<p><a href=\"/integrations\">Back to the integrations</a></p>");
    }
    return page_end(page, status);
}

enum api_step page_redirect(struct page *page, const char *location)
{
    struct api_response *response = page->call->response;
    if (strlen(location) >= sizeof response->headers[0].value) {
        return page_says(page, 500, "Too long", "the address to go on to is too long");
    }
    buf_reset(&response->body);
    response->status = 302;
    add_headers(response);
    api_add_header(response, "Location", "%s", location);
    return API_DONE;
}

enum api_step page_move(struct page *page, const char *location)
{
    if (strncmp(location, "/auth/", 6) != 0 && strncmp(location, "/slack", 6) != 0) {
        return page_redirect(page, location);
    }
    struct buf *html = page_begin(page, "One moment");
    buf_add_str(html, "<meta http-equiv=\"refresh\" content=\"0;url=");
    html_add(html, slice_str(location));
    buf_add_str(html, "\"><p><a class=\"button\" href=\"");
    html_add(html, slice_str(location));
    buf_add_str(html, "\">Go on</a></p>");
    return page_end(page, 200);
}

void page_flash(struct page *page, bool bad, const char *format, ...)
{
    va_list args;
    if (!page->session) {
        return;
    }
    va_start(args, format);
    vsnprintf(page->session->flash, sizeof page->session->flash, format, args);
    va_end(args);
    page->session->flash_bad = bad;
}

void page_csrf(struct page *page, struct buf *html)
{
    buf_printf(html, "<input type=\"hidden\" name=\"csrf\" value=\"%s\">",
               page->session ? page->session->csrf : "");
    if (page->canvas.bytes > 0) { /* another window may choose another one meanwhile */
        buf_add_str(html, "<input type=\"hidden\" name=\"canvas\" value=\"");
        html_add(html, page->canvas);
        buf_add_str(html, "\">");
    }
    if (page->user.bytes > 0) {
        buf_add_str(html, "<input type=\"hidden\" name=\"for\" value=\"");
        html_add(html, page->user);
        buf_add_str(html, "\">");
    }
}

const char *page_cookie_name(const struct page *page, const char *https, const char *http)
{
    return page->https ? https : http;
}

void page_cookie(struct page *page, const char *name, const char *value, unsigned seconds)
{
    api_add_header(page->call->response, "Set-Cookie",
                   "%s=%s; Path=/; Max-Age=%u; HttpOnly; SameSite=Lax%s", name, value, seconds,
                   page->https ? "; Secure" : "");
}

bool page_cookie_value(const struct page *page, const char *name, struct slice *ret_value)
{
    return cookie_find(page->call->request->cookie, name, ret_value);
}

void page_base(const struct page *page, struct buf *text)
{
    const struct api *api = page->call->api;
    if (api->admin_url) {
        buf_add_str(text, api->admin_url);
    } else {
        struct slice host = page->call->request->host;
        buf_printf(text, "http%s://%.*s", api->admin_tls ? "s" : "", (int)host.bytes,
                   (const char *)host.at);
    }
}

/* ---- sessions */

static const char *session_cookie(const struct page *page)
{
    return page_cookie_name(page, "__Host-becket", "becket-session");
}

/* From memory only. */
static void session_forget(struct session *session)
{
    bk_wipe(session, sizeof *session);
}

/* For good. */
static enum bk_err session_end(struct page *page, struct session *session)
{
    enum bk_err err = session_drop(page->call->api->hub, session->hash);
    if (err == BK_OK) {
        session_forget(session);
    }
    return err;
}

/* Forms carry it: who has the cookie can make it, nobody else. */
static void make_csrf(struct slice secret, char ret_csrf[SECRET_TEXT + 1])
{
    static const struct slice word = SLICE("becket forms");
    struct hmac_sha256_key key;
    uint8_t mac[SHA256_BYTES];
    hmac_sha256_key_init(&key, secret);
    hmac_sha256(&key, &word, 1, mac);
    ret_csrf[base64_encode(mac, sizeof mac, BASE64_URL, ret_csrf)] = '\0';
    bk_wipe(&key, sizeof key);
}

/* The store follows, now and then; when it takes no writes, the session is as long as it was. */
static void session_store(struct page *page, struct session *session)
{
    struct session_record record = {.end_ns = session->end_ns, .idle_ns = session->idle_ns};
    memcpy(record.token, session->token.id, sizeof record.token);
    memcpy(record.canvas, session->canvas, sizeof record.canvas);
    memcpy(record.user, session->user, sizeof record.user);
    enum bk_err err =
        session_keep(page->call->api->hub, session->hash, &record, page->call->request->wall_ns);
    if (err == BK_OK) {
        session->kept_idle_ns = session->idle_ns;
    } else {
        log_event(LOG_WARN, "a session is not kept over a restart",
                  LOG_Z("token", session->token.name), LOG_Z("why", bk_err_text(err)));
    }
}

/* A token that was revoked, or whose role changed. */
static bool session_lives(struct page *page, struct session *session)
{
    struct token_info token;
    int64_t now_ns = page->call->request->wall_ns;
    bool over = now_ns >= session->idle_ns || now_ns >= session->end_ns;
    enum bk_err err = token_get(page->call->api->hub, slice_str(session->token.id), &token);
    if (over || err != BK_OK) {
        if (err == BK_OK || err == BK_NOT_FOUND) {
            enum bk_err dropped = session_end(page, session);
            (void)dropped; /* over by itself, or by its token, whatever is kept of it */
        }
        session_forget(session);
        return false;
    }
    session->token = token;
    token_used(page->call->api->hub, &token, now_ns);
    session->idle_ns = now_ns + IDLE_NS;
    if (session->idle_ns - session->kept_idle_ns > KEEP_NS) {
        session_store(page, session);
    }
    return true;
}

/* A place for a new one: a free one, else the one that was silent longest; the store has it. */
static struct session *take_session(struct web *web)
{
    struct session *oldest = &web->sessions[0];
    for (unsigned i = 0; i < SESSIONS_MAX; i++) {
        struct session *session = &web->sessions[i];
        if (!session->used) {
            return session;
        }
        oldest = session->idle_ns < oldest->idle_ns ? session : oldest;
    }
    session_forget(oldest);
    return oldest;
}

/* One that began before a restart, or had to make room. */
static struct session *session_from_store(struct page *page, const uint8_t hash[32])
{
    struct session_record record;
    struct token_info token;
    struct hub *hub = page->call->api->hub;
    if (session_load(hub, hash, page->call->request->wall_ns, &record) != BK_OK ||
        token_get(hub, slice_str(record.token), &token) != BK_OK) {
        return NULL;
    }
    struct session *session = take_session(page->web);
    *session = (struct session){.used = true,
                                .token = token,
                                .idle_ns = record.idle_ns,
                                .end_ns = record.end_ns,
                                .kept_idle_ns = record.idle_ns};
    memcpy(session->hash, hash, sizeof session->hash);
    memcpy(session->canvas, record.canvas, sizeof session->canvas);
    memcpy(session->user, record.user, sizeof session->user);
    return session;
}

static struct session *find_session(struct page *page, const uint8_t hash[32])
{
    struct slice cookie;
    uint8_t own[32];
    struct session *found = NULL;
    for (unsigned i = 0; i < SESSIONS_MAX && !found; i++) {
        struct session *session = &page->web->sessions[i];
        found = session->used && page_same(session->hash, hash) ? session : NULL;
    }
    found = found ? found : session_from_store(page, hash);
    if (!found || !session_lives(page, found)) {
        return NULL;
    }
    if (!found->csrf[0] && page_cookie_value(page, session_cookie(page), &cookie)) {
        page_hash(cookie, own);
        if (page_same(own, hash)) {
            make_csrf(cookie, found->csrf);
        }
    }
    return found;
}

static void look_for_session(struct page *page)
{
    struct slice cookie;
    uint8_t hash[32];
    if (page_cookie_value(page, session_cookie(page), &cookie)) {
        page_hash(cookie, hash);
        page->session = find_session(page, hash);
    }
}

static void session_begin(struct page *page, const struct token_info *token)
{
    char secret[SECRET_TEXT + 1];
    int64_t now_ns = page->call->request->wall_ns;
    if (page->session && session_end(page, page->session) != BK_OK) { /* never the id of before */
        session_forget(page->session);
    }
    struct session *session = take_session(page->web);
    page_secret(secret);
    *session = (struct session){
        .used = true, .token = *token, .idle_ns = now_ns + IDLE_NS, .end_ns = now_ns + SESSION_NS};
    page_hash(slice_str(secret), session->hash);
    make_csrf(slice_str(secret), session->csrf);
    session_store(page, session);
    page_cookie(page, session_cookie(page), secret, (unsigned)(SESSION_NS / NS_PER_SECOND));
    bk_wipe(secret, sizeof secret);
    page->session = session;
}

void page_apply_as(const struct page *page, struct apply_options *options)
{
    api_apply_as(&page->session->token, options);
}

void page_actor(const struct page *page, struct audit_actor *ret_actor)
{
    const struct token_info *token = &page->session->token;
    bool chosen = !slice_equal(page->user, token_user(token));
    const char *user = token->user;
    if (chosen) {
        user = arena_printf(&page->call->arena, "%.*s", (int)page->user.bytes,
                            (const char *)page->user.at);
    }
    *ret_actor = (struct audit_actor){.token = token->name,
                                      .role = token_role_name(token->role),
                                      .user = user ? user : "",
                                      .request_id = page->call->response->request_id,
                                      .remote = page->call->request->remote,
                                      .now_ns = page->call->request->wall_ns};
}

/* ---- for whom */

static struct slice session_user(const struct session *session)
{
    bool chosen = session->token.role == TOKEN_ADMIN && session->user[0] != '\0';
    return chosen ? slice_str(session->user) : token_user(&session->token);
}

/* False when it was answered. A form says for whom it was made: another window may have chosen
 * somebody else meanwhile. */
static bool choose_user(struct page *page)
{
    const struct session *session = page->session;
    struct slice given = form_text(page->form, "for", &page->call->arena);
    page->user = session_user(session);
    if (given.bytes == 0 || slice_equal(given, page->user)) {
        return true;
    }
    if (session->token.role != TOKEN_ADMIN || !resource_name_valid(given)) {
        page_says(page, 403, "Not allowed", "This form was made for somebody else.");
        return false;
    }
    page->user = given;
    return true;
}

static bool user_is_there(struct page *page, struct slice user)
{
    struct store_txn *txn;
    struct record record;
    if (!resource_name_valid(user) || store_read(hub_store(page->call->api->hub), &txn) != BK_OK) {
        return false;
    }
    enum bk_err err = hub_record(txn, RESOURCE_USER, page->canvas, user, &record);
    store_read_end(txn);
    return err == BK_OK;
}

/* An administrator acts for somebody, by their own choice alone. */
enum api_step page_act_for(struct page *page)
{
    struct session *session = page->session;
    struct slice user = slice_trim(form_text(page->form, "user", &page->call->arena));
    bool own = user.bytes == 0 || slice_equal(user, token_user(&session->token));
    if (!own && !user_is_there(page, user)) {
        page_flash(page, true, "There is no User \"%.*s\" in canvas %.*s.",
                   (int)(user.bytes < 64 ? user.bytes : 64), (const char *)user.at,
                   (int)page->canvas.bytes, (const char *)page->canvas.at);
        return page_redirect(page, "/settings");
    }
    snprintf(session->user, sizeof session->user, "%.*s", own ? 0 : (int)user.bytes,
             (const char *)user.at);
    session_store(page, session);
    if (own) {
        page_flash(page, false, "You act for yourself.");
    } else {
        page_flash(page, false, "You act for %s now.", session->user);
    }
    return page_redirect(page, "/settings");
}

/* False when it was answered: a canvas that is not there, or is not the token's. */
static bool choose_canvas(struct page *page)
{
    struct session *session = page->session;
    struct arena *arena = &page->call->arena;
    struct hub_address address;
    struct store_txn *txn;
    struct slice given = form_text(page->form, "canvas", arena);
    given = given.bytes > 0 ? given : form_text(page->query, "canvas", arena);
    struct slice own = slice_str(session->token.canvas);
    if (own.bytes > 0 && given.bytes > 0 && !slice_equal(given, own)) {
        page->canvas = own;
        page_says(page, 403, "Not allowed", "Your token is for canvas %s only.",
                  session->token.canvas);
        return false;
    }
    if (own.bytes > 0 || given.bytes == 0) {
        struct slice chosen = slice_str(session->canvas);
        page->canvas = own.bytes > 0      ? own
                       : chosen.bytes > 0 ? chosen
                                          : SLICE(RESOURCE_CANVAS_DEFAULT);
        return true;
    }
    enum bk_err err = store_read(hub_store(page->call->api->hub), &txn);
    if (err == BK_OK) {
        err = hub_find(txn, RESOURCE_CANVAS, SLICE_EMPTY, given, &address);
        store_read_end(txn);
    }
    if (err != BK_OK) {
        page->canvas = SLICE(RESOURCE_CANVAS_DEFAULT);
        page_says(page, 404, "Not found", "There is no canvas of this name.");
        return false;
    }
    /* Another site's link shows a canvas; it chooses none for what comes after. */
    bool chooses = !slice_equal(page->call->request->sec_fetch_site, SLICE("cross-site"));
    if (chooses && strcmp(session->canvas, address.name) != 0) {
        memcpy(session->canvas, address.name, sizeof session->canvas);
        session_store(page, session);
    }
    const char *kept = arena_string(arena, address.name);
    page->canvas = slice_str(kept ? kept : RESOURCE_CANVAS_DEFAULT);
    return true;
}

bool page_resume(struct api_call *call, const uint8_t session[32], const char *canvas,
                 struct page *ret_page)
{
    struct api *api = call->api;
    *ret_page = (struct page){
        .call = call,
        .web = api->web,
        .https = api->admin_tls || (api->admin_url && strncmp(api->admin_url, "https:", 6) == 0)};
    ret_page->session = find_session(ret_page, session);
    ret_page->canvas = slice_str(canvas);
    ret_page->user = ret_page->session ? session_user(ret_page->session) : SLICE_EMPTY;
    return ret_page->session != NULL;
}

/* ---- login */

/* Who used a token at the pages; a store that takes no writes keeps nobody out. */
static void note_session(struct page *page, const char *action)
{
    struct audit_actor actor;
    struct audit_change change = {.action = action,
                                  .kind = "Session",
                                  .name = page->session->token.name,
                                  .canvas = page->session->token.canvas,
                                  .now_ns = page->call->request->wall_ns};
    page->user = page->user.bytes > 0 ? page->user : token_user(&page->session->token);
    page_actor(page, &actor);
    audit_actor_set(page->call->api->hub, &actor);
    enum bk_err err = audit_note(page->call->api->hub, &change);
    audit_actor_set(page->call->api->hub, NULL);
    if (err != BK_OK) {
        log_event(LOG_WARN, "a session is not in the audit records",
                  LOG_Z("token", page->session->token.name), LOG_Z("why", bk_err_text(err)));
    }
}

static struct slice next_of(struct page *page, struct slice text)
{
    struct slice next = form_text(text, "next", &page->call->arena);
    return form_is_own_path(next) ? next : SLICE("/integrations");
}

static enum api_step show_login(struct page *page, struct slice next, unsigned status,
                                const char *wrong)
{
    struct buf *html = page_begin(page, "Log in");
    buf_add_str(html, "<form class=\"wide\" method=\"post\" action=\"/login\">");
    buf_add_str(html, "<input type=\"hidden\" name=\"next\" value=\"");
    html_add(html, next);
    buf_printf(
        html,
        "\"><label for=\"token\">API token</label><p class=\"hint\" id=\"hint\">The first one "
        "is in admin.token of the data directory; <code>becket token create</code> makes "
        "more.</p><input id=\"token\" name=\"token\" type=\"password\" required "
        "autocomplete=\"current-password\" autofocus aria-describedby=\"hint%s",
        wrong ? " wrong\" aria-invalid=\"true\">" : "\">");
    if (wrong) {
        buf_add_str(html, "<p id=\"wrong\" class=\"bad\" role=\"alert\">");
        html_add(html, slice_str(wrong));
        buf_add_str(html, "</p>");
    }
    buf_add_str(html, "<button>Log in</button></form>");
    return page_end(page, status);
}

static enum api_step page_login(struct page *page)
{
    return show_login(page, next_of(page, page->query), 200, NULL);
}

static enum api_step page_login_post(struct page *page)
{
    struct api_call *call = page->call;
    struct token_info token;
    struct slice next = next_of(page, page->form);
    struct slice text = slice_trim(form_text(page->form, "token", &call->arena));
    enum bk_err err = token_check(call->api->hub, text, &token);
    if (err != BK_OK && err != BK_UNAUTHENTICATED) {
        return page_says(page, 503, "Not now", "%s", bk_err_text(err));
    }
    if (!api_guard(call, err)) {
        return show_login(page, next, 429,
                          "Too many wrong tokens from this address: wait a while.");
    }
    if (err != BK_OK) {
        return show_login(page, next, 403, "This token is not valid.");
    }
    session_begin(page, &token);
    note_session(page, "logged-in");
    log_event(LOG_INFO, "login", LOG_Z("token", token.name));
    return page_move(page, (const char *)arena_copy(&call->arena, next.at, next.bytes));
}

static enum api_step page_logout(struct page *page)
{
    note_session(page, "logged-out");
    enum bk_err err = session_end(page, page->session);
    if (err != BK_OK) { /* or else a restart would log the cookie's owner in again */
        return page_says(page, 503, "Not logged out",
                         "The store takes no writes now (%s): try again, or revoke the token.",
                         bk_err_text(err));
    }
    page->session = NULL;
    page_cookie(page, session_cookie(page), "", 0);
    return page_redirect(page, "/login");
}

/* ---- small ones */

static enum api_step page_style(struct page *page)
{
    struct api_response *response = page->call->response;
    buf_add_str(&response->body, style);
    response->status = 200;
    response->content_type = "text/css; charset=utf-8";
    return API_DONE;
}

static enum api_step page_root(struct page *page)
{
    return page_redirect(page, "/integrations");
}

/* ---- the table */

struct page_route {
    enum http_method method;
    const char *path;
    int role; /* of the session's token; 0 = open */
    page_fn *run;
    bool form; /* has the session's CSRF token */
};

static const struct page_route routes[] = {
    {HTTP_GET, "/", TOKEN_READ, page_root, false},
    {HTTP_GET, "/style.css", 0, page_style, false},
    {HTTP_GET, "/login", 0, page_login, false},
    {HTTP_POST, "/login", 0, page_login_post, false},
    {HTTP_POST, "/logout", TOKEN_READ, page_logout, true},
    {HTTP_GET, "/auth/failure", TOKEN_READ, page_failure, false},
    {HTTP_GET, "/auth/{integration}", TOKEN_WRITE, page_connect, false},
    {HTTP_POST, "/auth/{integration}", TOKEN_WRITE, page_connect, true},
    {HTTP_GET, "/auth/{integration}/callback", 0, page_callback, false},
    {HTTP_POST, "/auth/{user}/disconnect", TOKEN_WRITE, page_disconnect, true},
    {HTTP_GET, "/slack", 0, page_slack, false},
    {HTTP_GET, "/slack/signin", 0, page_slack_signin, false},
    {HTTP_GET, "/slack/signout", TOKEN_WRITE, page_slack_signout, false},
    {HTTP_POST, "/slack/signout", TOKEN_WRITE, page_slack_signout, true},
    {HTTP_GET, "/integrations", TOKEN_READ, page_catalogue, false},
    {HTTP_GET, "/integrations/{type}/link", TOKEN_WRITE, page_link_form, false},
    {HTTP_POST, "/integrations/{type}/link", TOKEN_WRITE, page_link_create, true},
    {HTTP_DELETE, "/integrations/{type}/link", TOKEN_WRITE, page_link_delete, true},
    {HTTP_GET, "/settings", TOKEN_READ, page_settings, false},
    {HTTP_POST, "/settings/user", TOKEN_ADMIN, page_act_for, true},
    {HTTP_GET, "/teams/{name}/settings", TOKEN_READ, page_team, false},
    {HTTP_GET, "/users/{name}/settings", TOKEN_READ, page_user, false},
};

static struct slice path_of(const struct api_request *request)
{
    return slice_of(request->target.at, slice_find(request->target, '?'));
}

bool web_owns(const struct api_request *request)
{
    struct slice path = path_of(request), segment;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (api_path_matches(routes[i].path, path, &segment)) {
            return true;
        }
    }
    return false;
}

static const struct page_route *find_route(struct page *page, enum http_method method,
                                           char allow[64])
{
    static const char *const names[] = {
        [HTTP_GET] = "GET, HEAD", [HTTP_POST] = "POST", [HTTP_DELETE] = "DELETE"};
    allow[0] = '\0';
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        struct slice segment;
        if (!api_path_matches(routes[i].path, page->path, &segment)) {
            continue;
        }
        if (routes[i].method == method) {
            page->segment = segment;
            return &routes[i];
        }
        size_t used = strlen(allow);
        if (!strstr(allow, names[routes[i].method])) {
            snprintf(allow + used, 64 - used, "%s%s", used ? ", " : "", names[routes[i].method]);
        }
    }
    return NULL;
}

/* A form's body; false when it was answered. */
static bool read_form(struct page *page)
{
    const struct api_request *request = page->call->request;
    struct slice type = request->content_type;
    if (request->body.bytes > FORM_BYTES_MAX) {
        page_says(page, 413, "Too large", "The form is over %u bytes.", FORM_BYTES_MAX);
        return false;
    }
    type = slice_trim(slice_of(type.at, slice_find(type, ';')));
    if (request->body.bytes > 0 &&
        !slice_equal_nocase(type, SLICE("application/x-www-form-urlencoded"))) {
        page_says(page, 415, "Not a form", "This address takes forms only.");
        return false;
    }
    page->form = request->body;
    return true;
}

/* DELETE without a body has its fields in the query, and the CSRF token perhaps in neither. */
static bool csrf_is_right(struct page *page)
{
    struct arena *arena = &page->call->arena;
    struct slice given = form_text(page->form, "csrf", arena);
    if (given.bytes == 0) {
        given = form_text(page->query, "csrf", arena);
    }
    return bk_ct_equal_slice(given, slice_str(page->session->csrf));
}

static enum api_step to_login(struct page *page)
{
    struct buf location;
    buf_init(&location, 2048);
    buf_add_str(&location, "/login");
    if (page->call->request->method == HTTP_GET) {
        buf_add_str(&location, "?next=");
        url_add(&location, page->call->request->target);
    }
    enum api_step step = page_redirect(
        page, location.overflow ? "/login" : arena_string(&page->call->arena, buf_text(&location)));
    buf_fini(&location);
    return step;
}

static enum api_step run(struct page *page, const struct page_route *route)
{
    struct api_call *call = page->call;
    struct audit_actor actor;
    bool changes = route->method != HTTP_GET;
    if (changes && api_from_another_site(call->request)) {
        return page_says(page, 403, "Refused",
                         "Requests made by another site's pages are refused.");
    }
    if (changes && !read_form(page)) {
        return API_DONE;
    }
    if (route->role > 0 && !page->session) {
        return to_login(page);
    }
    if (route->role > 0 && (int)page->session->token.role < route->role) {
        return page_says(page, 403, "Not allowed", "This needs a token of role %s, yours is %s.",
                         token_role_name((enum token_role)route->role),
                         token_role_name(page->session->token.role));
    }
    if (route->form && !csrf_is_right(page)) {
        return page_says(page, 403, "Refused",
                         "The form is too old, or was not made here: load it again.");
    }
    if (page->session && (!choose_canvas(page) || !choose_user(page))) {
        return API_DONE;
    }
    if (!api_decode(&call->arena, page->segment, false, &page->segment)) {
        return page_says(page, 400, "Malformed", "The address is malformed.");
    }
    if (page->session) {
        page_actor(page, &actor);
        audit_actor_set(call->api->hub, &actor);
    }
    enum api_step step = route->run(page);
    audit_actor_set(call->api->hub, NULL);
    return step;
}

enum api_step web_handle(struct api_call *call)
{
    struct api *api = call->api;
    const struct api_request *request = call->request;
    struct page page = {.call = call, .path = path_of(request)};
    char allow[64];
    if (!api->web) {
        api->web = calloc(1, sizeof *api->web);
    }
    if (!api->web) {
        return api_fail(call, BK_NO_MEMORY, "pages");
    }
    page.web = api->web;
    page.query = slice_skip(request->target, page.path.bytes + 1);
    page.https = api->admin_tls || (api->admin_url && strncmp(api->admin_url, "https:", 6) == 0);
    look_for_session(&page);
    enum http_method method = request->method == HTTP_HEAD ? HTTP_GET : request->method;
    if (method == HTTP_POST && /* browsers' forms have no DELETE */
        slice_equal_nocase(form_text(request->body, "_method", &call->arena), SLICE("delete"))) {
        method = HTTP_DELETE;
    }
    const struct page_route *route = find_route(&page, method, allow);
    if (!route) {
        api_add_header(call->response, "Allow", "%s", allow);
        return page_says(&page, 405, "Not so", "This address takes %s.", allow);
    }
    return run(&page, route);
}
