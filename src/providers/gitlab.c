/* gitlab.c - GitLab: webhooks of projects and groups.
 * https://docs.gitlab.com/api/project_webhooks/, https://docs.gitlab.com/api/group_webhooks/
 *
 * The token needs the scope `api` and the Maintainer role, for a group the Owner role. GitLab never
 * shows the token of a hook, so it is written again unless it is known to be the current one.
 */
#include "providers/hooks.h"

/* Names as in the X-Gitlab-Event payload's object_kind, and the field that switches each on. push
 * is on by default, so every field is always sent. */
static const struct {
    const char *event;
    const char *field;
    bool wide; /* of groups only */
} fields[] = {
    {"push", "push_events", false},
    {"tag_push", "tag_push_events", false},
    {"merge_request", "merge_requests_events", false},
    {"note", "note_events", false},
    {"issue", "issues_events", false},
    {"confidential_issue", "confidential_issues_events", false},
    {"pipeline", "pipeline_events", false},
    {"build", "job_events", false},
    {"wiki_page", "wiki_page_events", false},
    {"deployment", "deployment_events", false},
    {"release", "releases_events", false},
    {"subgroup", "subgroup_events", true},
};
#define FIELDS (sizeof fields / sizeof fields[0])

static const char *const gitlab_headers[] = {"Accept: application/json", NULL};
static const char *const gitlab_events[] = {"push",     "tag_push", "merge_request",
                                            "pipeline", "release",  NULL};

/* By number, or by the whole path as one segment: groups included. */
static bool place(struct provider_run *run, struct slice *ret_place)
{
    struct slice name = run->facts->resource, path;
    bool number = name.bytes > 0, wide = hooks_are_wide(run);
    for (size_t i = 0; i < name.bytes; i++) {
        number = number && name.at[i] >= '0' && name.at[i] <= '9';
    }
    bool whole = number || wide || slice_find(name, '/') < name.bytes;
    if (!whole && provider_owner_and_name(run, &path)) {
        name = path;
    }
    path = number ? name : provider_segment(run, name);
    *ret_place = slice_str(arena_printf(run->arena, "%s/%.*s", wide ? "/groups" : "/projects",
                                        (int)path.bytes, (const char *)path.at));
    return true;
}

static bool is_named(struct slice event, size_t field)
{
    return slice_equal(event, slice_str(fields[field].event)) ||
           slice_equal(event, slice_str(fields[field].field));
}

static bool exists_here(const struct provider_run *run, size_t field)
{
    return !fields[field].wide || hooks_are_wide(run);
}

static bool event_wanted(const struct provider_run *run, size_t field)
{
    struct slice events[PROVIDER_EVENTS_MAX];
    unsigned count = provider_events(run, events);
    for (unsigned i = 0; i < count; i++) {
        if (is_named(events[i], field)) {
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
        for (size_t f = 0; f < FIELDS; f++) {
            known = known || (is_named(events[i], f) && exists_here(run, f));
        }
        if (!known) {
            provider_fail(run, PROVIDER_FAULT_REFUSED, "GitLab has no event %.*s for a %s",
                          (int)events[i].bytes, (const char *)events[i].at,
                          hooks_are_wide(run) ? "group" : "project");
            return false;
        }
    }
    return true;
}

static bool is_right(struct provider_run *run, yyjson_mut_val *hook)
{
    yyjson_mut_val *verify = provider_get(hook, "enable_ssl_verification");
    bool right = !verify || yyjson_mut_get_bool(verify);
    /* GitLab switches a hook off that failed too often; writing it again switches it on. */
    yyjson_mut_val *alert = provider_get(hook, "alert_status");
    right =
        right && (!yyjson_mut_is_str(alert) || slice_equal(json_text(alert), SLICE("executable")));
    for (size_t f = 0; f < FIELDS && right; f++) {
        yyjson_mut_val *value = provider_get(hook, fields[f].field);
        right = value ? yyjson_mut_get_bool(value) == event_wanted(run, f) : !event_wanted(run, f);
    }
    return right;
}

static void body(struct provider_run *run, bool is_new)
{
    const char *events = "";
    (void)is_new;
    for (size_t f = 0; f < FIELDS && events; f++) {
        if (exists_here(run, f)) {
            events = arena_printf(run->arena, "%s,\"%s\":%s", events, fields[f].field,
                                  event_wanted(run, f) ? "true" : "false");
        }
    }
    provider_body(run, "{\"url\":%s,\"token\":%s,\"enable_ssl_verification\":true%s}",
                  provider_json(run, run->facts->hook_url),
                  provider_json(run, run->facts->hook_key), events ? events : "");
}

static const struct provider_hooks gitlab_hooks = {
    .place = place,
    .name = "path_with_namespace",
    .wide_name = "full_path",
    .page_query = "per_page=100",
    .url = "url",
    .update_by = HTTP_PUT,
    .events_known = events_known,
    .is_right = is_right,
    .body = body,
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
    .wide_type = "group",
    .hooks = &gitlab_hooks,
    .usual_events = gitlab_events,
    .plans =
        {
            [PROVIDER_CHECK] = {user_check_steps},
            [PROVIDER_RESOURCE_CHECK] = {hooks_resource_steps},
            [PROVIDER_HOOK_ENSURE] = {hooks_ensure_steps},
            [PROVIDER_HOOK_REMOVE] = {hooks_remove_steps},
        },
};
