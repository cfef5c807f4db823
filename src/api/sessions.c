/* sessions.c - who is at the pages, and for whom. */
#include "api/page.h"

#include "base/base64.h"
#include "base/ct.h"
#include "base/hmac.h"
#include "base/log.h"
#include "base/time.h"
#include "hub/hub_private.h"
#include "hub/resources/token_use.h"

#include <stdio.h>

#define SESSION_NS (12 * 3600 * NS_PER_SECOND)
#define IDLE_NS    (2 * 3600 * NS_PER_SECOND)
#define KEEP_NS    (600 * NS_PER_SECOND) /* what is kept of a session is so old at most */

static const char *session_cookie(const struct page *page)
{
    return page_cookie_name(page, "__Host-becket", "becket-session");
}

/* From memory only. */
static void session_forget(struct session *session)
{
    bk_wipe(session, sizeof *session);
}

enum bk_err session_end(struct page *page, struct session *session)
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

void session_find(struct page *page)
{
    struct slice cookie;
    uint8_t hash[32];
    if (page_cookie_value(page, session_cookie(page), &cookie)) {
        page_hash(cookie, hash);
        page->session = find_session(page, hash);
    }
}

void session_begin(struct page *page, const struct token_info *token)
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

bool page_choose(struct page *page)
{
    return choose_canvas(page) && choose_user(page);
}

void session_cookie_clear(struct page *page)
{
    page_cookie(page, session_cookie(page), "", 0);
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
