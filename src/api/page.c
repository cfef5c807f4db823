/* page.c - how a page looks, and what an answer carries: frame, cookies, redirects. */
#include "api/page.h"

#include "base/base64.h"
#include "base/ct.h"
#include "base/sha256.h"

#include <stdarg.h>
#include <stdio.h>

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
    "padding:.9rem 1rem;display:flex;flex-wrap:wrap;gap:.6rem 1rem;align-items:center;"
    "justify-content:space-between}main{overflow-wrap:anywhere}"
    "ul.cards div{flex:1 1 15rem;min-width:0}ul.cards p{color:var(--soft);margin:.15rem 0}"
    "ul.cards p.bad{color:var(--bad)}"
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
    ".tag{display:inline-block;white-space:nowrap;font-size:.8rem;border:1px solid currentColor;"
    "border-radius:1rem;padding:.05rem .5rem;"
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

enum api_step page_style(struct page *page)
{
    struct api_response *response = page->call->response;
    response->shared = slice_of(style, sizeof style - 1);
    response->status = 200;
    response->content_type = "text/css; charset=utf-8";
    return API_DONE;
}
