/* settings_pages.c - accounts and links of a person or a team, as lists. */
#include "api/page_objects.h"
#include "base/percent.h"
#include "hub/links/link.h"

#include <stdio.h>

/* A name that people chose: marks of another direction of writing end with it. */
static void add_name(struct buf *html, struct slice name)
{
    buf_add_str(html, "<bdi>");
    html_add(html, name);
    buf_add_str(html, "</bdi>");
}

/* What is not well with an object, and what to do. */
static void add_fault(struct buf *html, const struct object *object)
{
    if (!slice_equal(object_text(object, "status/state"), SLICE("ready"))) {
        buf_add_str(html, "<p class=\"bad\">");
        struct slice advice = object_text(object, "status/advice");
        html_add(html, object_text(object, "status/message"));
        buf_add_str(html, advice.bytes > 0 ? "; " : "");
        html_add(html, advice);
        buf_add_str(html, "</p>");
    }
}

static void add_link(struct page *page, struct buf *html, struct slice name)
{
    struct object link;
    if (!object_open(page, RESOURCE_INTEGRATION_LINK, name, &link)) {
        object_close(&link);
        return;
    }
    const struct link_type *type = link_type_find(object_text(&link, "spec/type"));
    buf_add_str(html, "<li><div><strong>");
    html_add(html, object_text(&link, "status/shortName"));
    buf_add_str(html, "</strong> <span class=\"tag\">");
    html_add(html, object_text(&link, "status/state"));
    buf_add_str(html, "</span><p id=\"");
    html_add(html, name); /* what the button removes, for who does not see the card */
    buf_add_str(html, "\">");
    html_add(html, object_text(&link, "status/summary"));
    buf_add_str(html, "</p>");
    add_fault(html, &link);
    if (!page_may_change(page, object_text(&link, "spec/user/name")) ||
        !page_may_change_team(page, object_text(&link, "spec/team/name"))) {
        buf_add_str(html, "</div></li>");
        object_close(&link);
        return;
    }
    buf_printf(html, "</div><form method=\"post\" action=\"/integrations/%s/link\">",
               type ? type->name : "");
    page_csrf(page, html);
    buf_add_str(html, "<input type=\"hidden\" name=\"_method\" value=\"delete\">"
                      "<input type=\"hidden\" name=\"name\" value=\"");
    html_add(html, name);
    buf_add_str(html, "\"><button class=\"remove\" aria-label=\"Remove ");
    html_add(html, object_text(&link, "status/shortName"));
    buf_add_str(html, "\" aria-describedby=\"");
    html_add(html, name);
    buf_add_str(html, "\">Remove</button></form></li>");
    object_close(&link);
}

/* What did not fit is behind a link that begins there. */
static void add_more(struct buf *html, const struct names *names, const char *list)
{
    if (names->more && names->count > 0) {
        buf_printf(html, "<p><a href=\"?%s=", list);
        percent_add(html, names->at[names->count - 1]);
        buf_printf(html, "\">More %s</a></p>", list);
    }
}

static void add_links(struct page *page, struct buf *html, enum resource_kind kind,
                      struct slice owner)
{
    struct slice behind = form_text(page->query, "links", &page->call->arena);
    const struct names *names =
        names_of_users(page, kind, owner, RESOURCE_INTEGRATION_LINK, behind);
    buf_add_str(html, "<h2>Links</h2>");
    if (names_count(names) == 0) {
        buf_add_str(html, "<p>None yet. <a href=\"/integrations\">Add one</a>.</p>");
        return;
    }
    buf_add_str(html, "<ul class=\"cards\">");
    for (unsigned i = 0; i < names_count(names); i++) {
        add_link(page, html, names->at[i]);
    }
    buf_add_str(html, "</ul>");
    add_more(html, names, "links");
}

static void add_account(struct page *page, struct buf *html, struct slice name)
{
    struct object person;
    if (object_open(page, RESOURCE_INTEGRATION_USER, name, &person)) {
        struct slice shown = object_text(&person, "spec/nickname");
        buf_add_str(html, "<li><div><strong>");
        html_add(html, object_text(&person, "spec/integration/name"));
        buf_add_str(html, "</strong> <span class=\"tag\">");
        html_add(html, object_text(&person, "status/state"));
        buf_add_str(html, "</span><p>");
        add_name(html, shown.bytes > 0 ? shown : object_text(&person, "spec/uid"));
        buf_add_str(html, " ");
        add_name(html, object_text(&person, "spec/fullName"));
        buf_add_str(html, "</p>");
        add_fault(html, &person);
        buf_add_str(html, "</div>");
        if (page_may_change(page, object_text(&person, "spec/user/name"))) {
            buf_add_str(html, "<form method=\"post\" action=\"/auth/");
            percent_add(html, name);
            buf_add_str(html, "/disconnect\">");
            page_csrf(page, html);
            buf_add_str(html, "<button class=\"remove\" aria-label=\"Disconnect ");
            html_add(html, object_text(&person, "spec/integration/name"));
            buf_add_str(html, "\">Disconnect</button></form>");
        }
        buf_add_str(html, "</li>");
    }
    object_close(&person);
}

static void add_accounts(struct page *page, struct buf *html, struct slice user)
{
    struct slice behind = form_text(page->query, "accounts", &page->call->arena);
    const struct names *names =
        names_of_users(page, RESOURCE_USER, user, RESOURCE_INTEGRATION_USER, behind);
    buf_add_str(html, "<h2>Accounts</h2>");
    if (names_count(names) == 0) {
        buf_add_str(html, "<p>Nothing is connected.</p>");
        return;
    }
    buf_add_str(html, "<ul class=\"cards\">");
    for (unsigned i = 0; i < names_count(names); i++) {
        add_account(page, html, names->at[i]);
    }
    buf_add_str(html, "</ul>");
    add_more(html, names, "accounts");
}

/* To choose from, for who is bound to none. */
static void add_canvases(struct page *page, struct buf *html)
{
    struct names *names = arena_take(&page->call->arena, sizeof *names);
    struct key prefix;
    if (!names || page->session->token.canvas[0]) {
        return;
    }
    names->arena = &page->call->arena;
    names->most = NAMES_MAX;
    key_canvas(&prefix, resource_kind_info(RESOURCE_CANVAS)->key, SLICE_EMPTY);
    names_walk(page, &prefix, &prefix, names);
    if (names->count < 2) {
        return;
    }
    buf_add_str(html, "<h2>Canvases</h2><ul>");
    for (unsigned i = 0; i < names->count; i++) {
        bool here = slice_equal(names->at[i], page->canvas);
        buf_add_str(html, "<li><a href=\"/settings?canvas=");
        percent_add(html, names->at[i]);
        buf_printf(html, "\"%s>", here ? " aria-current=\"true\"" : "");
        html_add(html, names->at[i]);
        buf_add_str(html, here ? "</a> (this one)</li>" : "</a></li>");
    }
    buf_add_str(html, "</ul>");
}

/* Administrators act for somebody else only when they say so. */
static void add_act_for(struct page *page, struct buf *html)
{
    if (page->session->token.role != TOKEN_ADMIN) {
        return;
    }
    buf_add_str(html, "<h2>Act for somebody</h2><form class=\"wide\" method=\"post\" "
                      "action=\"/settings/user\">");
    page_csrf(page, html);
    page_choice(page, html, "user", "User", RESOURCE_USER, "nobody but me", NULL);
    buf_add_str(html, "<p class=\"hint\">What you connect and link is theirs then.</p>"
                      "<button class=\"plain\">Act for this user</button></form>");
}

/* Below the heading: what the object is called beside its name. */
static void add_called(struct page *page, struct buf *html, enum resource_kind kind,
                       struct slice name, const char *path)
{
    struct object object;
    bool there = object_open(page, kind, name, &object);
    if (there && object_text(&object, path).bytes > 0) {
        buf_add_str(html, "<p class=\"hint\">");
        add_name(html, object_text(&object, path));
        buf_add_str(html, "</p>");
    }
    object_close(&object);
}

static enum api_step show_user(struct page *page, struct slice user, bool teams)
{
    char title[NAME_BYTES_MAX + 16];
    snprintf(title, sizeof title, "Settings of %.*s", (int)user.bytes, (const char *)user.at);
    struct buf *html = page_begin(page, title);
    add_called(page, html, RESOURCE_USER, user, "spec/fullName");
    add_accounts(page, html, user);
    add_links(page, html, RESOURCE_USER, user);
    struct slice behind = form_text(page->query, "teams", &page->call->arena);
    const struct names *names = teams ? names_of_kind(page, RESOURCE_TEAM, behind) : NULL;
    if (names_count(names) > 0) {
        buf_add_str(html, "<h2>Teams</h2><ul>");
        for (unsigned i = 0; i < names->count; i++) {
            buf_add_str(html, "<li><a href=\"/teams/");
            percent_add(html, names->at[i]);
            buf_add_str(html, "/settings\">");
            html_add(html, names->at[i]);
            buf_add_str(html, "</a></li>");
        }
        buf_add_str(html, "</ul>");
        add_more(html, names, "teams");
    }
    if (teams) {
        add_act_for(page, html);
        add_canvases(page, html);
    }
    return page_end(page, 200);
}

enum api_step page_settings(struct page *page)
{
    return show_user(page, page->user, true);
}

static bool is_there(struct page *page, enum resource_kind kind)
{
    struct object object;
    bool there = object_open(page, kind, page->segment, &object);
    object_close(&object);
    if (!there) {
        page_says(page, 404, "Not found", "There is no %s \"%.*s\".",
                  resource_kind_info(kind)->singular,
                  (int)(page->segment.bytes < 100 ? page->segment.bytes : 100),
                  (const char *)page->segment.at);
    }
    return there;
}

enum api_step page_user(struct page *page)
{
    const struct token_info *token = &page->session->token;
    if (token->role != TOKEN_ADMIN && token->user[0] != '\0' &&
        !slice_equal(page->segment, page->user)) {
        return page_says(page, 403, "Not allowed", "Settings of people are theirs alone.");
    }
    return is_there(page, RESOURCE_USER) ? show_user(page, page->segment, false) : API_DONE;
}

enum api_step page_team(struct page *page)
{
    char title[NAME_BYTES_MAX + 24];
    if (!is_there(page, RESOURCE_TEAM)) {
        return API_DONE;
    }
    snprintf(title, sizeof title, "Settings of team %.*s", (int)page->segment.bytes,
             (const char *)page->segment.at);
    struct buf *html = page_begin(page, title);
    add_called(page, html, RESOURCE_TEAM, page->segment, "spec/title");
    add_links(page, html, RESOURCE_TEAM, page->segment);
    return page_end(page, 200);
}
