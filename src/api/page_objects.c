#include "api/page_objects.h"

#include "hub/hub_private.h"
#include "hub/links/entry.h"
#include "providers/provider.h"

#include <yyjson.h>

/* ---- names out of the store */

static bool add_name(void *context, struct slice key, struct slice value)
{
    struct names *names = context;
    struct slice canvas, name = slice_skip(key, names->skip);
    (void)value;
    if (names->canvas.bytes > 0 &&
        (!hub_split(name, &canvas, &name) || !slice_equal(canvas, names->canvas))) {
        return true;
    }
    if (slice_equal(name, names->behind)) {
        return true;
    }
    names->more = names->count == names->most;
    char *copy = names->more ? NULL : arena_copy(names->arena, name.at, name.bytes);
    if (copy) {
        names->at[names->count++] = slice_of(copy, name.bytes);
    }
    return !names->more;
}

void names_walk(struct page *page, const struct key *prefix, const struct key *from,
                struct names *names)
{
    struct store_txn *txn;
    if (store_read(page->call->api->hub->store, &txn) != BK_OK) {
        return;
    }
    names->skip = prefix->bytes;
    if (store_walk(txn, key_slice(prefix), key_slice(from), add_name, names) != BK_OK) {
        names->count = 0;
    }
    store_read_end(txn);
}

struct names *names_of_kind(struct page *page, enum resource_kind kind, struct slice behind)
{
    struct names *names = arena_take(&page->call->arena, sizeof *names);
    struct key prefix, from;
    if (names) {
        names->arena = &page->call->arena;
        names->most = NAMES_MAX;
        key_canvas(&prefix, resource_kind_info(kind)->key, page->canvas);
        from = prefix;
        if (resource_name_valid(behind)) {
            names->behind = behind;
            key_add(&from, behind.at, behind.bytes);
        }
        names_walk(page, &prefix, &from, names);
    }
    return names;
}

struct names *names_of_users(struct page *page, enum resource_kind used, struct slice name,
                             enum resource_kind kind, struct slice behind)
{
    struct names *names = arena_take(&page->call->arena, sizeof *names);
    struct key prefix, from;
    uint8_t user = resource_kind_info(kind)->key;
    if (names) {
        names->arena = &page->call->arena;
        names->canvas = page->canvas;
        names->most = PAGE_NAMES;
        key_users(&prefix, resource_kind_info(used)->key, page->canvas, name);
        key_add(&prefix, &user, 1);
        from = prefix;
        if (resource_name_valid(behind)) {
            names->behind = behind;
            key_add_address(&from, page->canvas, behind);
        }
        names_walk(page, &prefix, &from, names);
    }
    return names;
}

/* ---- an object as the API shows it */

bool object_open_in(struct page *page, enum resource_kind kind, struct slice canvas,
                    struct slice name, struct object *ret_object)
{
    struct json_problem problem;
    struct buf json;
    json_tree_init(&ret_object->tree);
    buf_init(&json, PAGE_OBJECT_BYTES);
    ret_object->root = NULL;
    if (hub_get_json(page->call->api->hub, kind, canvas, name, &json, NULL) == BK_OK &&
        json_parse(buf_slice(&json), &ret_object->tree, &problem) == BK_OK) {
        yyjson_mut_val *found = provider_get(ret_object->tree.roots[0], "metadata/canvasId");
        /* an id finds objects of other canvases, too */
        ret_object->root = slice_equal(json_text(found), canvas) ? ret_object->tree.roots[0] : NULL;
    }
    buf_fini(&json);
    return ret_object->root != NULL;
}

bool object_open(struct page *page, enum resource_kind kind, struct slice name,
                 struct object *ret_object)
{
    return object_open_in(page, kind, page->canvas, name, ret_object);
}

void object_close(struct object *object)
{
    json_tree_fini(&object->tree);
}

struct slice object_text(const struct object *object, const char *path)
{
    yyjson_mut_val *value = provider_get(object->root, path);
    return yyjson_mut_is_str(value) ? json_text(value) : SLICE_EMPTY;
}

bool page_may_change(const struct page *page, struct slice owner)
{
    const struct token_info *token = &page->session->token;
    return token->role == TOKEN_ADMIN ||
           (token->role == TOKEN_WRITE && (owner.bytes == 0 || slice_equal(owner, page->user)));
}

bool page_may_change_team(const struct page *page, struct slice team)
{
    const struct token_info *token = &page->session->token;
    struct store_txn *txn;
    if (token->role != TOKEN_WRITE || token->user[0] == '\0' || team.bytes == 0) {
        return token->role >= TOKEN_WRITE;
    }
    if (store_read(page->call->api->hub->store, &txn) != BK_OK) {
        return false;
    }
    bool member = entry_member(txn, page->canvas, team, page->user);
    store_read_end(txn);
    return member;
}

/* ---- a choice */

void page_wrong(struct buf *html, const char *id, const char *wrong)
{
    if (wrong) {
        buf_printf(html, "<p class=\"bad\" id=\"%s-wrong\" role=\"alert\">", id);
        html_add(html, slice_str(wrong));
        buf_add_str(html, "</p>");
    }
}

static struct slice chosen_of(struct page *page, const char *id)
{
    struct slice chosen = form_text(page->form, id, &page->call->arena);
    return chosen.bytes > 0 ? chosen : form_text(page->query, id, &page->call->arena);
}

/* Too many to choose from: the first ones are proposed while a name is typed. */
static void add_typed(struct page *page, struct buf *html, const char *id, const char *label,
                      const struct slice *names, unsigned count, const char *none,
                      const char *wrong)
{
    buf_printf(html,
               "<label for=\"%s\">%s</label><p class=\"hint\" id=\"%s-hint\">its name%s%s</p>"
               "<input id=\"%s\" name=\"%s\" list=\"%s-names\" maxlength=\"%u\" "
               "aria-describedby=\"%s-hint\"%s value=\"",
               id, label, id, none ? "; left empty: " : "", none ? none : "", id, id, id,
               NAME_BYTES_MAX, id, none ? "" : " required");
    html_add(html, chosen_of(page, id));
    buf_printf(html, "\"><datalist id=\"%s-names\">", id);
    for (unsigned i = 0; i < count; i++) {
        buf_add_str(html, "<option value=\"");
        html_add(html, names[i]);
        buf_add_str(html, "\">");
    }
    buf_add_str(html, "</datalist>");
    page_wrong(html, id, wrong);
}

static void add_select(struct page *page, struct buf *html, const char *id, const char *label,
                       const struct slice *names, unsigned count, const char *none,
                       const char *wrong)
{
    struct slice chosen = chosen_of(page, id);
    buf_printf(html, "<label for=\"%s\">%s</label><select id=\"%s\" name=\"%s\">", id, label, id,
               id);
    if (none) {
        buf_printf(html, "<option value=\"\">%s</option>", none);
    }
    for (unsigned i = 0; i < count; i++) {
        buf_add_str(html, "<option value=\"");
        html_add(html, names[i]);
        buf_printf(html, "\"%s>", slice_equal(names[i], chosen) ? " selected" : "");
        html_add(html, names[i]);
        buf_add_str(html, "</option>");
    }
    buf_add_str(html, "</select>");
    page_wrong(html, id, wrong);
}

void page_choice_of(struct page *page, struct buf *html, const char *id, const char *label,
                    const struct slice *names, unsigned count, bool more, const char *none,
                    const char *wrong)
{
    (more ? add_typed : add_select)(page, html, id, label, names, count, none, wrong);
}

void page_choice(struct page *page, struct buf *html, const char *id, const char *label,
                 enum resource_kind kind, const char *none, const char *wrong)
{
    const struct names *names = names_of_kind(page, kind, SLICE_EMPTY);
    page_choice_of(page, html, id, label, names ? names->at : NULL, names_count(names),
                   names && names->more, none, wrong);
}
