/* link_pages.c - the catalogue, and the forms of links. */
#include "api/page_objects.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/time.h"
#include "hub/hub_private.h"
#include "hub/links/entry.h"
#include "hub/links/link.h"
#include "hub/links/link_index.h"
#include "hub/people/people_index.h"
#include "hub/resources/apply.h"
#include "providers/provider.h"

#include <stdio.h>
#include <stdlib.h>

#define OF_TYPE_MAX   16U
#define COUNT_MAX     1000U
#define MADE_WAIT_NS  (25 * (uint64_t)NS_PER_SECOND)
#define MADE_POLL_NS  (50 * (uint64_t)NS_PER_MS)
#define TITLE_BYTES   80U
#define MESSAGE_BYTES 400U

/* ---- integrations of a type: those of the canvas, and of the default one, whose are everybody's
 */

struct of_type {
    struct arena *arena;
    unsigned count;
    bool more;
    struct slice canvas; /* that is looked at */
    struct store_txn *txn;
    bool shared; /* only what it shares */
    struct slice names[OF_TYPE_MAX];
    struct slice canvases[OF_TYPE_MAX];
    bool signs_in[OF_TYPE_MAX];
    bool connected[OF_TYPE_MAX];
};

static bool add_of_type(void *context, struct slice name)
{
    struct of_type *of_type = context;
    for (unsigned i = 0; i < of_type->count; i++) {
        if (slice_equal(of_type->names[i], name)) {
            return true; /* the canvas has one of the same name */
        }
    }
    struct record record;
    if (of_type->shared &&
        (hub_record(of_type->txn, RESOURCE_INTEGRATION, of_type->canvas, name, &record) != BK_OK ||
         !hub_is_shared(RESOURCE_INTEGRATION, &record))) {
        return true;
    }
    of_type->more = of_type->count == OF_TYPE_MAX;
    char *copy = of_type->more ? NULL : arena_copy(of_type->arena, name.at, name.bytes);
    if (copy) {
        of_type->canvases[of_type->count] = of_type->canvas;
        of_type->names[of_type->count++] = slice_of(copy, name.bytes);
    }
    return !of_type->more;
}

static void look_at_integration(struct page *page, struct of_type *of_type, unsigned i)
{
    struct object object;
    struct store_txn *txn;
    if (object_open_in(page, RESOURCE_INTEGRATION, of_type->canvases[i], of_type->names[i],
                       &object)) {
        of_type->signs_in[i] =
            slice_equal(object_text(&object, "spec/auth/use"), SLICE("AUTH_TYPE_OAUTH"));
    }
    object_close(&object);
    if (store_read(page->call->api->hub->store, &txn) == BK_OK) {
        of_type->connected[i] =
            people_index_anybody(txn, of_type->canvases[i], of_type->names[i], page->canvas);
        store_read_end(txn);
    }
}

static void find_of_type(struct page *page, const struct link_type *type, struct of_type *ret)
{
    struct store_txn *txn;
    static const struct slice shared = SLICE(RESOURCE_CANVAS_DEFAULT);
    *ret = (struct of_type){.arena = &page->call->arena, .canvas = page->canvas};
    if (store_read(page->call->api->hub->store, &txn) != BK_OK) {
        return;
    }
    ret->txn = txn;
    enum bk_err err =
        type_index_integrations(txn, page->canvas, slice_str(type->name), add_of_type, ret);
    if (err == BK_OK && !ret->more && !slice_equal(page->canvas, shared)) {
        ret->canvas = shared;
        ret->shared = true;
        err = type_index_integrations(txn, shared, slice_str(type->name), add_of_type, ret);
    }
    store_read_end(txn);
    if (err != BK_OK) {
        ret->count = 0;
    }
    for (unsigned i = 0; i < ret->count; i++) {
        look_at_integration(page, ret, i);
    }
}

/* ---- the catalogue */

/* Up to COUNT_MAX. */
static unsigned count_links(struct page *page, const struct link_type *type)
{
    struct store_txn *txn;
    unsigned count = 0;
    if (store_read(page->call->api->hub->store, &txn) != BK_OK) {
        return 0;
    }
    enum bk_err err = type_index_count(txn, page->canvas, slice_str(type->name), COUNT_MAX, &count);
    store_read_end(txn);
    return err == BK_OK ? count : 0;
}

enum api_step page_catalogue(struct page *page)
{
    struct buf *html = page_begin(page, "Integrations");
    buf_add_str(html, "<ul class=\"cards\">");
    for (size_t i = 0; i < link_type_count; i++) {
        const struct link_type *type = &link_types[i];
        struct of_type integrations;
        find_of_type(page, type, &integrations);
        unsigned links = count_links(page, type);
        bool possible = !type->integration || integrations.count > 0;
        buf_printf(html, "<li><div><strong>%s</strong> <span class=\"tag\">", type->title);
        if (links > 0) {
            buf_printf(html, "added, %u%s link%s", links, links == COUNT_MAX ? " or more" : "",
                       links > 1 ? "s" : "");
        } else {
            buf_add_str(html, possible ? "not added" : "not set up");
        }
        buf_printf(html, "</span><p>%s</p></div>", type->about);
        if (possible) {
            buf_printf(html,
                       "<a class=\"button\" href=\"/integrations/%s/link\" aria-label=\"Add %s%s\">"
                       "Add %s</a>",
                       type->name, type->title, links > 0 ? " again" : " to becket",
                       links > 0 ? "another" : "to becket");
        } else {
            buf_printf(html, "<p class=\"hint\">needs an Integration of type %s</p>", type->name);
        }
        buf_add_str(html, "</li>");
    }
    buf_add_str(html, "</ul>");
    return page_end(page, 200);
}

/* ---- the form */

/* What was wrong with it: of the whole, and by field ("settings.channel", "team"). */
struct wrongs {
    const char *message; /* NULL = nothing */
    unsigned count;
    struct {
        const char *field, *message;
    } at[16];
};

static const char *wrong_of(const struct wrongs *wrongs, const char *field)
{
    for (unsigned i = 0; wrongs && i < wrongs->count; i++) {
        if (strcmp(wrongs->at[i].field, field) == 0) {
            return wrongs->at[i].message;
        }
    }
    return NULL;
}

static void add_input(struct page *page, struct buf *html, const struct link_field *field,
                      const struct wrongs *wrongs)
{
    char path[64];
    snprintf(path, sizeof path, "settings.%s", field->name);
    const char *wrong = wrong_of(wrongs, path);
    buf_printf(
        html,
        "<label for=\"%s\">%s</label><p class=\"hint\" id=\"%s-hint\">%s</p>"
        "<input id=\"%s\" name=\"%s\" maxlength=\"%u\"%s aria-describedby=\"%s-hint%s%s%s\"%s"
        " value=\"",
        field->name, field->label, field->name, field->hint, field->name, field->name,
        LINK_SETTING_BYTES_MAX, field->wanted ? " required" : "", field->name, wrong ? " " : "",
        wrong ? field->name : "", wrong ? "-wrong" : "", wrong ? " aria-invalid=\"true\"" : "");
    html_add(html, form_text(page->form, field->name, &page->call->arena));
    buf_add_str(html, "\">");
    page_wrong(html, field->name, wrong);
}

static enum api_step show_form(struct page *page, const struct link_type *type, unsigned status,
                               const struct wrongs *wrongs)
{
    char title[TITLE_BYTES];
    struct of_type integrations;
    const struct names *teams = names_of_kind(page, RESOURCE_TEAM, SLICE_EMPTY);
    snprintf(title, sizeof title, "Link %s", type->title);
    find_of_type(page, type, &integrations);
    struct buf *html = page_begin(page, title);
    buf_printf(html, "<p>%s</p>", type->about);
    if (type->for_team && !type->for_user && names_count(teams) == 0) {
        buf_add_str(html, "<p class=\"note bad\">There is no team yet: apply one first, "
                          "<code>kind: Team</code> with a name.</p>");
    }
    if (wrongs && wrongs->message) {
        buf_add_str(html, "<p class=\"note bad\" role=\"alert\">");
        html_add(html, slice_str(wrongs->message));
        buf_add_str(html, "</p>");
    }
    buf_printf(html, "<form class=\"wide\" method=\"post\" action=\"/integrations/%s/link\">",
               type->name);
    page_csrf(page, html);
    if (type->integration) {
        page_choice_of(page, html, "integration", "Integration", integrations.names,
                       integrations.count, integrations.more, NULL,
                       wrong_of(wrongs, "integration"));
    }
    if (type->for_team) {
        page_choice(page, html, "team", "Team", RESOURCE_TEAM,
                    type->for_user ? "none: for me alone" : NULL, wrong_of(wrongs, "team"));
    }
    for (const struct link_field *field = type->fields; field->name; field++) {
        add_input(page, html, field, wrongs);
    }
    if (!type->makes_hook) {
        page_choice(page, html, "source", "Entries come in from", RESOURCE_EVENT_SOURCE, "nowhere",
                    wrong_of(wrongs, "source"));
    }
    page_choice(page, html, "destination", "Entries of the team go to", RESOURCE_DESTINATION,
                "no destination", wrong_of(wrongs, "destination"));
    if (!type->integration) {
        static const struct link_field expressions[] = {
            {"body", "Text of an entry", "an expression, such as $.message", false},
            {"author", "Author",
             "an expression for the name of a User, such as $.user; none: nobody's", false},
        };
        for (unsigned i = 0; i < 2; i++) {
            add_input(page, html, &expressions[i], wrongs);
        }
    }
    buf_printf(html, "<button>Link %s</button></form>", type->title);
    return page_end(page, status);
}

static const struct link_type *type_of(struct page *page)
{
    const struct link_type *type = link_type_find(page->segment);
    if (!type) {
        page_says(page, 404, "No such integration", "There is no integration of type \"%.*s\".",
                  (int)(page->segment.bytes < 100 ? page->segment.bytes : 100),
                  (const char *)page->segment.at);
    }
    return type;
}

/* False when it was answered: nothing is set up, or nobody has signed in yet. */
static bool ready_for(struct page *page, const struct link_type *type)
{
    struct of_type integrations;
    char location[NAME_BYTES_MAX + 16];
    if (!type->integration) {
        return true;
    }
    find_of_type(page, type, &integrations);
    if (integrations.count == 0) {
        page_says(page, 404, "Not set up",
                  "There is no Integration of type %s: somebody has to apply one first.",
                  type->name);
        return false;
    }
    for (unsigned i = 0; i < integrations.count; i++) {
        if (!integrations.signs_in[i] || integrations.connected[i]) {
            return true;
        }
    }
    snprintf(location, sizeof location, "/auth/%.*s", (int)integrations.names[0].bytes,
             (const char *)integrations.names[0].at);
    if (page->call->request->method == HTTP_POST) {
        page_move(page, location);
    } else {
        page_redirect(page, location);
    }
    return false;
}

enum api_step page_link_form(struct page *page)
{
    const struct link_type *type = type_of(page);
    return type && ready_for(page, type) ? show_form(page, type, 200, NULL) : API_DONE;
}

/* ---- making one */

static void add_ref(struct buf *json, const char *name, struct slice value)
{
    if (value.bytes > 0) {
        buf_printf(json, ",\"%s\":{\"name\":", name);
        json_add_string(json, value);
        buf_add_byte(json, '}');
    }
}

static void add_text(struct buf *json, const char *name, struct slice value, bool *filled)
{
    if (value.bytes > 0) {
        buf_printf(json, "%s\"%s\":", *filled ? "," : "", name);
        json_add_string(json, value);
        *filled = true;
    }
}

static void write_document(struct page *page, const struct link_type *type, const char *name,
                           struct buf *json)
{
    struct arena *arena = &page->call->arena;
    struct slice form = page->form, team = form_text(form, "team", arena);
    bool filled = false;
    buf_printf(json,
               "{\"kind\":\"IntegrationLink\",\"metadata\":{\"name\":\"%s\"},\"spec\":{"
               "\"type\":\"%s\"",
               name, type->name);
    if (type->integration) {
        add_ref(json, "integration", form_text(form, "integration", arena));
    }
    add_ref(json, "team", team);
    if (team.bytes == 0 && type->for_user) {
        add_ref(json, "user", page->user);
    }
    if (!type->makes_hook) {
        add_ref(json, "source", form_text(form, "source", arena));
    }
    add_ref(json, "destination", form_text(form, "destination", arena));
    if (!type->integration) {
        buf_add_str(json, ",\"entry\":{");
        add_text(json, "body", form_text(form, "body", arena), &filled);
        add_text(json, "author", form_text(form, "author", arena), &filled);
        buf_add_byte(json, '}');
    }
    buf_add_str(json, ",\"settings\":{");
    filled = false;
    for (const struct link_field *field = type->fields; field->name; field++) {
        add_text(json, field->name, slice_trim(form_text(form, field->name, arena)), &filled);
    }
    buf_add_str(json, "}}}");
}

/* Does the form show what is wrong with it beside the field? */
static bool is_shown(const char *field)
{
    static const char *const shown[] = {"integration", "team", "source", "destination"};
    bool found = strncmp(field, "settings.", 9) == 0;
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        found = found || strcmp(field, shown[i]) == 0;
    }
    return found;
}

/* "spec.settings.channel" → "settings.channel"; "spec.team.name" → "team" */
static void take_wrongs(struct page *page, const struct apply_outcome *outcome,
                        struct wrongs *ret_wrongs)
{
    struct arena *arena = &page->call->arena;
    bool all_shown = true;
    *ret_wrongs = (struct wrongs){.message = "This could not be linked: see below."};
    for (size_t i = 0; i < outcome->problems.count && ret_wrongs->count < 16; i++) {
        const struct resource_problem *problem = &outcome->problems.at[i];
        const char *field =
            strncmp(problem->field, "spec.", 5) == 0 ? problem->field + 5 : problem->field;
        char *copy = arena_string(arena, field);
        char *message = arena_printf(arena, "%s", problem->message);
        if (copy && strncmp(copy, "settings.", 9) != 0) {
            char *entry = strncmp(copy, "entry.", 6) == 0
                              ? arena_printf(arena, "settings.%s", copy + 6)
                              : NULL;
            copy[strcspn(copy, ".")] = '\0';
            copy = entry ? entry : copy;
        }
        all_shown = all_shown && copy && is_shown(copy);
        if (copy && message) {
            ret_wrongs->at[ret_wrongs->count].field = copy;
            ret_wrongs->at[ret_wrongs->count++].message = message;
        }
    }
    if (ret_wrongs->count == 0 || outcome->problems.count == 0) {
        char *message = arena_string(arena, outcome->message ? outcome->message : "it failed");
        ret_wrongs->message = message;
    } else if (outcome->message && !all_shown) { /* the first in full */
        ret_wrongs->message = arena_printf(arena, "%s", outcome->message);
    }
}

/* The link is stored; is it made at the provider? */
struct making {
    struct api_work work;
    uint8_t session[32];
    const struct link_type *type;
    uint64_t end_ns;
    char canvas[NAME_BYTES_MAX + 1];
    char name[NAME_BYTES_MAX + 1];
    char owner[NAME_BYTES_MAX + 1];
    bool for_team;
    size_t form_bytes;
    uint8_t form[];
};

static void making_free(struct api_work *work)
{
    free(bk_container_of(work, struct making, work));
}

static enum bk_err delete_link(struct page *page, struct slice name, char message[MESSAGE_BYTES])
{
    struct apply_outcome outcome;
    struct apply_options options = {.canvas = page->canvas, .now_ns = page->call->request->wall_ns};
    page_apply_as(page, &options);
    enum bk_err err =
        apply_delete(page->call->api->hub, RESOURCE_INTEGRATION_LINK, name, &options, &outcome);
    snprintf(message, MESSAGE_BYTES, "%s", outcome.message ? outcome.message : bk_err_text(err));
    apply_outcome_fini(&outcome);
    return err;
}

static enum api_step to_settings(struct page *page, bool team, const char *owner)
{
    char location[NAME_BYTES_MAX + 32];
    snprintf(location, sizeof location, "/%s/%s/settings", team ? "teams" : "users", owner);
    return page_redirect(page, location);
}

static void act_as(struct page *page, struct audit_actor *actor)
{
    page_actor(page, actor);
    audit_actor_set(page->call->api->hub, actor);
}

static enum api_step undo(struct page *page, struct making *making, const struct object *link)
{
    struct arena *arena = &page->call->arena;
    char message[MESSAGE_BYTES];
    struct audit_actor actor;
    struct slice told = object_text(link, "status/message");
    struct slice advice = object_text(link, "status/advice");
    struct wrongs wrongs = {.message = arena_printf(arena, "%s did not agree: %.*s; %.*s",
                                                    making->type->title, (int)told.bytes,
                                                    (const char *)told.at, (int)advice.bytes,
                                                    (const char *)advice.at)};
    act_as(page, &actor);
    enum bk_err err = delete_link(page, slice_str(making->name), message);
    audit_actor_set(page->call->api->hub, NULL);
    if (err != BK_OK) {
        wrongs.message =
            arena_printf(arena, "%s (and the link is still there: %s)", wrongs.message, message);
    }
    page->form = slice_of(making->form, making->form_bytes);
    return show_form(page, making->type, 422, &wrongs);
}

static enum api_step making_resume(struct api_call *call)
{
    struct making *making = bk_container_of(call->response->work, struct making, work);
    struct page page;
    struct object link;
    bool there = page_resume(call, making->session, making->canvas, &page);
    if (!there) {
        return page_says(&page, 403, "Logged out", "You were logged out; the link is kept.");
    }
    if (!object_open(&page, RESOURCE_INTEGRATION_LINK, slice_str(making->name), &link)) {
        object_close(&link);
        return page_says(&page, 409, "Gone", "Somebody has removed the link meanwhile.");
    }
    struct slice state = object_text(&link, "status/state");
    bool pending =
        slice_equal(state, SLICE("pending")) && object_text(&link, "status/reason").bytes == 0;
    enum api_step step;
    if (pending && call->request->now_ns < making->end_ns) {
        making->work.wake_ns = call->request->now_ns + MADE_POLL_NS;
        step = API_WAIT;
    } else if (pending || slice_equal(state, SLICE("ready"))) {
        page_flash(&page, false, "%s is %s.", making->type->title,
                   pending ? "being linked; it takes longer than usual" : "linked");
        step = to_settings(&page, making->for_team, making->owner);
    } else {
        step = undo(&page, making, &link);
    }
    object_close(&link);
    return step;
}

static enum api_step wait_for(struct page *page, const struct link_type *type, const char *name)
{
    struct making *making = calloc(1, sizeof *making + page->form.bytes);
    struct slice team = form_text(page->form, "team", &page->call->arena);
    if (!making) {
        return page_redirect(page, "/settings");
    }
    uint64_t now_ns = page->call->request->now_ns;
    *making = (struct making){.work = {.resume = making_resume, .free_work = making_free},
                              .type = type,
                              .end_ns = now_ns + MADE_WAIT_NS,
                              .for_team = team.bytes > 0,
                              .form_bytes = page->form.bytes};
    memcpy(making->session, page->session->hash, sizeof making->session);
    memcpy(making->form, page->form.at, page->form.bytes);
    snprintf(making->canvas, sizeof making->canvas, "%.*s", (int)page->canvas.bytes,
             (const char *)page->canvas.at);
    snprintf(making->name, sizeof making->name, "%s", name);
    snprintf(making->owner, sizeof making->owner, "%.*s",
             (int)(team.bytes > 0 ? team.bytes : page->user.bytes),
             (const char *)(team.bytes > 0 ? team.at : page->user.at));
    making->work.wake_ns = now_ns + MADE_POLL_NS;
    page->call->response->work = &making->work;
    return API_WAIT;
}

/* The person behind the session has an object of its own, once it owns something. */
static void ensure_user(struct page *page)
{
    struct apply_outcome outcome;
    struct buf json;
    struct apply_options options = {
        .mode = APPLY_CREATE, .canvas = page->canvas, .now_ns = page->call->request->wall_ns};
    buf_init(&json, 1024);
    buf_printf(&json, "{\"kind\":\"User\",\"metadata\":{\"name\":\"%.*s\"},\"spec\":{}}",
               (int)page->user.bytes, (const char *)page->user.at);
    enum bk_err err = apply_text(page->call->api->hub, buf_slice(&json), &options, &outcome);
    (void)err; /* it is there already; or else the link says what is missing */
    apply_outcome_fini(&outcome);
    buf_fini(&json);
}

enum api_step page_link_create(struct page *page)
{
    const struct link_type *type = type_of(page);
    struct apply_outcome outcome;
    struct wrongs wrongs;
    struct buf json;
    uint8_t random[5];
    char hex[11], name[NAME_BYTES_MAX + 1];
    if (!type || !ready_for(page, type)) {
        return API_DONE;
    }
    ring_entropy(random, sizeof random);
    hex_encode(random, sizeof random, hex);
    hex[10] = '\0';
    snprintf(name, sizeof name, "%s-%s", type->name, hex);
    if (type->for_user) {
        ensure_user(page);
    }
    buf_init(&json, PAGE_OBJECT_BYTES);
    write_document(page, type, name, &json);
    struct apply_options options = {.mode = APPLY_CREATE,
                                    .canvas = page->canvas,
                                    .one = true,
                                    .kind = RESOURCE_INTEGRATION_LINK,
                                    .now_ns = page->call->request->wall_ns};
    page_apply_as(page, &options);
    enum bk_err err = apply_text(page->call->api->hub, buf_slice(&json), &options, &outcome);
    buf_fini(&json);
    if (err != BK_OK) {
        take_wrongs(page, &outcome, &wrongs);
    }
    apply_outcome_fini(&outcome);
    return err == BK_OK ? wait_for(page, type, name) : show_form(page, type, 422, &wrongs);
}

/* ---- removing one */

enum api_step page_link_delete(struct page *page)
{
    const struct link_type *type = type_of(page);
    struct arena *arena = &page->call->arena;
    struct object link;
    char message[MESSAGE_BYTES], owner[NAME_BYTES_MAX + 1];
    if (!type) {
        return API_DONE;
    }
    struct slice name = form_text(page->form, "name", arena);
    name = name.bytes > 0 ? name : form_text(page->query, "name", arena);
    bool there = object_open(page, RESOURCE_INTEGRATION_LINK, name, &link) &&
                 slice_equal(object_text(&link, "spec/type"), slice_str(type->name));
    if (!there) {
        object_close(&link);
        return page_says(page, 404, "No such link", "This link is not there any more.");
    }
    struct slice team = object_text(&link, "spec/team/name");
    struct slice user = object_text(&link, "spec/user/name");
    struct slice own = team.bytes > 0 ? team : user;
    bool for_team = team.bytes > 0;
    snprintf(owner, sizeof owner, "%.*s", (int)own.bytes, (const char *)own.at);
    object_close(&link);
    enum bk_err err = delete_link(page, name, message);
    if (err == BK_FORBIDDEN) {
        return page_says(page, 403, "Not allowed", "%s.", message);
    }
    page_flash(page, err != BK_OK, "%s%s", err == BK_OK ? "Removed." : "It could not be removed: ",
               err == BK_OK ? "" : message);
    return to_settings(page, for_team, owner);
}
