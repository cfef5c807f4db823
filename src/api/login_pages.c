/* login_pages.c - in with a token, and out. */
#include "api/page.h"

#include "base/log.h"
#include "hub/hub_private.h"

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

enum api_step page_login(struct page *page)
{
    return show_login(page, next_of(page, page->query), 200, NULL);
}

enum api_step page_login_post(struct page *page)
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

enum api_step page_logout(struct page *page)
{
    note_session(page, "logged-out");
    enum bk_err err = session_end(page, page->session);
    if (err != BK_OK) { /* or else a restart would log the cookie's owner in again */
        return page_says(page, 503, "Not logged out",
                         "The store takes no writes now (%s): try again, or revoke the token.",
                         bk_err_text(err));
    }
    page->session = NULL;
    session_cookie_clear(page);
    return page_redirect(page, "/login");
}
