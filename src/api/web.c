#include "api/web.h"

#include "api/page.h"
#include "base/ct.h"
#include "base/percent.h"
#include "hub/hub_private.h"

#include <stdio.h>
#include <stdlib.h>

#define FORM_BYTES_MAX 65536U

void web_close(struct web *web)
{
    if (web) {
        bk_wipe(web, sizeof *web);
    }
    free(web);
}

static enum api_step page_root(struct page *page)
{
    return page_redirect(page, "/integrations");
}

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

bool web_wants_page(const struct api_request *request)
{
    struct slice accept = request->accept;
    return accept.bytes > 0 && memmem(accept.at, accept.bytes, "text/html", 9) != NULL &&
           !slice_starts(request->target, SLICE("/api/"));
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
    char allow[64];
    bool form = page->call->request->method != HTTP_GET; /* then to where it was filled in */
    buf_init(&location, 2048);
    buf_add_str(&location, "/login");
    if (!form || find_route(page, HTTP_GET, allow)) {
        buf_add_str(&location, "?next=");
        percent_add(&location, form ? page->path : page->call->request->target);
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
    if (page->session && !page_choose(page)) {
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
    session_find(&page);
    enum http_method method = request->method == HTTP_HEAD ? HTTP_GET : request->method;
    if (method == HTTP_POST && /* browsers' forms have no DELETE */
        slice_equal_nocase(form_text(request->body, "_method", &call->arena), SLICE("delete"))) {
        method = HTTP_DELETE;
    }
    const struct page_route *route = find_route(&page, method, allow);
    if (!route && allow[0] == '\0') {
        return page_says(&page, 404, "No such page", "There is nothing at this address.");
    }
    if (!route) {
        api_add_header(call->response, "Allow", "%s", allow);
        return page_says(&page, 405, "Not so", "This address takes %s.", allow);
    }
    return run(&page, route);
}
