/* disconnect_pages.c - an account at a provider is given up. */
#include "api/page.h"
#include "hub/hub_private.h"
#include "hub/operations/integration_view.h"
#include "hub/resources/apply.h"

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
