/* gitlab.c - GitLab: project webhooks. https://docs.gitlab.com/api/project_webhooks/
 *
 * The token needs the scope `api` and the Maintainer role. A hook is ours when its url is our
 * address. GitLab never shows the token of a hook, so it is written again unless it is known to be
 * the current one.
 */
#include "providers/provider.h"
#include "providers/repository_hooks.h"

/* Names as in the X-Gitlab-Event payload's object_kind, and the field that switches each on. push
 * is on by default, so every field is always sent. */
static const struct {
    const char *event;
    const char *field;
} fields[] = {
    {"push", "push_events"},
    {"tag_push", "tag_push_events"},
    {"merge_request", "merge_requests_events"},
    {"note", "note_events"},
    {"issue", "issues_events"},
    {"confidential_issue", "confidential_issues_events"},
    {"pipeline", "pipeline_events"},
    {"build", "job_events"},
    {"wiki_page", "wiki_page_events"},
    {"deployment", "deployment_events"},
    {"release", "releases_events"},
};

static const char *const gitlab_headers[] = {"Accept: application/json", NULL};
static const char *const gitlab_events[] = {"push",     "tag_push", "merge_request",
                                            "pipeline", "release",  NULL};

static struct slice project(struct provider_run *run)
{
    struct slice name = run->facts->resource;
    struct slice path;
    bool number = name.bytes > 0;
    for (size_t i = 0; i < name.bytes; i++) {
        number = number && name.at[i] >= '0' && name.at[i] <= '9';
    }
    if (number) {
        return name;
    }
    if (slice_find(name, '/') < name.bytes) {
        return provider_segment(run, name); /* a whole path, groups included */
    }
    if (provider_owner_and_name(run, &path)) {
        return provider_segment(run, path);
    }
    return provider_segment(run, name);
}

static void project_ask(struct provider_run *run)
{
    struct slice id = project(run);
    provider_ask(run, HTTP_GET, "/projects/%.*s", (int)id.bytes, (const char *)id.at);
}

static const char *project_take(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice id = provider_text(run, reply->json, "id");
    if (id.bytes == 0) {
        return provider_fail(run, PROVIDER_FAULT_ODD, "GitLab: the project has no id");
    }
    provider_note(run, "resourceId", id);
    provider_note(run, "resourceName", provider_text(run, reply->json, "path_with_namespace"));
    return PROVIDER_END;
}

static const struct provider_step project_steps[] = {
    {.name = "project", .ask = project_ask, .take = project_take},
    {0},
};

/* ---- hooks */

static bool event_wanted(const struct provider_run *run, size_t field)
{
    struct slice events[PROVIDER_EVENTS_MAX];
    unsigned count = provider_events(run, events);
    for (unsigned i = 0; i < count; i++) {
        if (slice_equal(events[i], slice_str(fields[field].event)) ||
            slice_equal(events[i], slice_str(fields[field].field))) {
            return true;
        }
    }
    return false;
}

static bool events_known(struct provider_run *run)
{
    struct slice events[PROVIDER_EVENTS_MAX];
    unsigned count = provider_events(run, events);
    for (unsigned i = 0; i < count; i++) {
        bool known = false;
        for (size_t f = 0; f < sizeof fields / sizeof fields[0]; f++) {
            known = known || slice_equal(events[i], slice_str(fields[f].event)) ||
                    slice_equal(events[i], slice_str(fields[f].field));
        }
        if (!known) {
            provider_fail(run, PROVIDER_FAULT_REFUSED, "GitLab has no event %.*s",
                          (int)events[i].bytes, (const char *)events[i].at);
            return false;
        }
    }
    return true;
}

static void look_ask(struct provider_run *run)
{
    struct slice id = project(run), page = provider_recall(run, "page");
    if (run->intent == PROVIDER_HOOK_ENSURE && !events_known(run)) {
        return;
    }
    if (page.bytes == 0) {
        page = SLICE("1");
    }
    provider_ask(run, HTTP_GET, "/projects/%.*s/hooks?per_page=100&page=%.*s", (int)id.bytes,
                 (const char *)id.at, (int)page.bytes, (const char *)page.at);
}

/* The hook to our address on this page; turns the page when there is another. */
static yyjson_mut_val *look(struct provider_run *run, const struct provider_reply *reply,
                            bool *ret_more)
{
    *ret_more = false;
    if (!yyjson_mut_is_arr(reply->json)) {
        provider_fail(run, PROVIDER_FAULT_ODD, "GitLab: the list of hooks is no list");
        return NULL;
    }
    yyjson_mut_val *hook;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(reply->json, &iter);
    while ((hook = yyjson_mut_arr_iter_next(&iter))) {
        if (slice_equal(provider_text(run, hook, "url"), run->facts->hook_url) ||
            (run->facts->hook_id.bytes > 0 &&
             slice_equal(provider_text(run, hook, "id"), run->facts->hook_id))) {
            provider_forget(run, "page");
            provider_note(run, "hookId", provider_text(run, hook, "id"));
            return hook;
        }
    }
    const struct http_header *next = http_find(reply->head, SLICE("x-next-page"), NULL);
    *ret_more = next && next->value_bytes > 0;
    if (*ret_more) {
        provider_note(run, "page", http_header_value(reply->head, next));
    } else {
        provider_forget(run, "page");
    }
    return NULL;
}

static bool hook_is_right(struct provider_run *run, yyjson_mut_val *hook)
{
    yyjson_mut_val *verify = provider_get(hook, "enable_ssl_verification");
    bool right = run->facts->key_is_current && (!verify || yyjson_mut_get_bool(verify)) &&
                 slice_equal(provider_text(run, hook, "url"), run->facts->hook_url);
    /* GitLab switches a hook off that failed too often; writing it again switches it on. */
    yyjson_mut_val *alert = provider_get(hook, "alert_status");
    right =
        right && (!yyjson_mut_is_str(alert) || slice_equal(json_text(alert), SLICE("executable")));
    for (size_t f = 0; f < sizeof fields / sizeof fields[0] && right; f++) {
        yyjson_mut_val *value = provider_get(hook, fields[f].field);
        right = value ? yyjson_mut_get_bool(value) == event_wanted(run, f) : !event_wanted(run, f);
    }
    return right;
}

static const char *ensure_look_take(struct provider_run *run, const struct provider_reply *reply)
{
    bool more;
    yyjson_mut_val *hook = look(run, reply, &more);
    if (run->fault != PROVIDER_FAULT_NONE) {
        return NULL;
    }
    if (!hook) {
        return more ? "look" : "create";
    }
    return hook_is_right(run, hook) ? PROVIDER_END : "update";
}

static void hook_body(struct provider_run *run)
{
    const char *events = "";
    for (size_t f = 0; f < sizeof fields / sizeof fields[0] && events; f++) {
        events = arena_printf(run->arena, "%s,\"%s\":%s", events, fields[f].field,
                              event_wanted(run, f) ? "true" : "false");
    }
    provider_body(run, "{\"url\":%s,\"token\":%s,\"enable_ssl_verification\":true%s}",
                  provider_json(run, run->facts->hook_url),
                  provider_json(run, run->facts->hook_key), events ? events : "");
}

static void create_ask(struct provider_run *run)
{
    struct slice id = project(run);
    provider_ask(run, HTTP_POST, "/projects/%.*s/hooks", (int)id.bytes, (const char *)id.at);
    hook_body(run);
}

static const char *create_take(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice id = provider_text(run, reply->json, "id");
    if (id.bytes == 0) {
        return provider_fail(run, PROVIDER_FAULT_ODD, "GitLab: the new hook has no id");
    }
    provider_note(run, "hookId", id);
    return PROVIDER_END;
}

static void of_hook_ask(struct provider_run *run, enum http_method method)
{
    struct slice id = project(run), hook = provider_segment(run, provider_recall(run, "hookId"));
    provider_ask(run, method, "/projects/%.*s/hooks/%.*s", (int)id.bytes, (const char *)id.at,
                 (int)hook.bytes, (const char *)hook.at);
}

static void update_ask(struct provider_run *run)
{
    of_hook_ask(run, HTTP_PUT);
    hook_body(run);
}

static const char *update_take(struct provider_run *run, const struct provider_reply *reply)
{
    (void)run;
    return reply->head->status == 404 ? "look" : PROVIDER_END;
}

static const struct provider_step ensure_steps[] = {
    {.name = "look", .ask = look_ask, .take = ensure_look_take},
    {.name = "create", .makes = true, .ask = create_ask, .take = create_take},
    {.name = "update", .ask = update_ask, .take = update_take, .also = {404}},
    {0},
};

static const char *remove_look_take(struct provider_run *run, const struct provider_reply *reply)
{
    bool more = false;
    yyjson_mut_val *hook = reply->head->status == 404 ? NULL : look(run, reply, &more);
    if (run->fault != PROVIDER_FAULT_NONE) {
        return NULL;
    }
    if (hook) {
        return "delete";
    }
    provider_forget(run, "hookId");
    return more ? "look" : PROVIDER_END;
}

static void delete_ask(struct provider_run *run)
{
    of_hook_ask(run, HTTP_DELETE);
}

static const char *delete_take(struct provider_run *run, const struct provider_reply *reply)
{
    (void)reply;
    provider_forget(run, "hookId");
    return "look";
}

static const struct provider_step remove_steps[] = {
    {.name = "look", .ask = look_ask, .take = remove_look_take, .also = {404}},
    {.name = "delete", .ask = delete_ask, .take = delete_take, .also = {404}},
    {0},
};

const struct provider provider_gitlab = {
    .name = "gitlab",
    .title = "GitLab",
    .documentation = "https://docs.gitlab.com/api/project_webhooks/",
    .url = "https://gitlab.com",
    .api_path = "/api/v4",
    .takes_issued = true,
    .token = {"PRIVATE-TOKEN", ""},
    .oauth = {"Authorization", "Bearer "},
    .headers = gitlab_headers,
    .resource_type = "project",
    .usual_events = gitlab_events,
    .plans =
        {
            [PROVIDER_CHECK] = {user_check_steps},
            [PROVIDER_RESOURCE_CHECK] = {project_steps},
            [PROVIDER_HOOK_ENSURE] = {ensure_steps},
            [PROVIDER_HOOK_REMOVE] = {remove_steps},
        },
};
