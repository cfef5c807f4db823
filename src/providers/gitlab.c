/* gitlab.c - GitLab: webhooks of projects and groups.
 * https://docs.gitlab.com/api/project_webhooks/, https://docs.gitlab.com/api/group_webhooks/
 *
 * The token needs the scope `api` and the Maintainer role, for a group the Owner role. GitLab never
 * shows the token of a hook, so it is written again unless it is known to be the current one.
 */
#include "providers/hooks.h"

#include <yyjson.h>

/* Events by their object_kind, the X-Gitlab-Event that their webhooks have, and the field that
 * switches each on. push is on by default, so every field is sent; those that came later only where
 * they are wanted or to be switched off, for older servers do not know them. */
static const struct {
    const char *event;
    const char *type;
    const char *field;
    bool wide; /* of groups only */
    bool late;
} fields[] = {
    {"push", "Push Hook", "push_events", false, false},
    {"tag_push", "Tag Push Hook", "tag_push_events", false, false},
    {"merge_request", "Merge Request Hook", "merge_requests_events", false, false},
    {"note", "Note Hook", "note_events", false, false},
    {"issue", "Issue Hook", "issues_events", false, false},
    {"confidential_issue", "Confidential Issue Hook", "confidential_issues_events", false, false},
    {"pipeline", "Pipeline Hook", "pipeline_events", false, false},
    {"build", "Job Hook", "job_events", false, false},
    {"wiki_page", "Wiki Page Hook", "wiki_page_events", false, false},
    {"deployment", "Deployment Hook", "deployment_events", false, false},
    {"release", "Release Hook", "releases_events", false, false},
    {"subgroup", "Subgroup Hook", "subgroup_events", true, false},
    {"confidential_note", "Confidential Note Hook", "confidential_note_events", false, true},
    {"feature_flag", "Feature Flag Hook", "feature_flag_events", false, true},
    {"milestone", "Milestone Hook", "milestone_events", false, true},
    {"emoji", "Emoji Hook", "emoji_events", false, true},
    {"access_token", "Resource Access Token Hook", "resource_access_token_events", false, true},
    {"vulnerability", "Vulnerability Hook", "vulnerability_events", false, true},
    {"member", "Member Hook", "member_events", true, true},
    {"project", "Project Hook", "project_events", true, true},
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
           slice_equal(event, slice_str(fields[field].field)) ||
           slice_equal(event, slice_str(fields[field].type));
}

static struct slice event_type(struct slice event)
{
    for (size_t f = 0; f < FIELDS; f++) {
        if (is_named(event, f)) {
            return slice_str(fields[f].type);
        }
    }
    return event;
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

/* Of the late ones those that are on and not wanted: an update names them. */
static void remember_extra(struct provider_run *run, yyjson_mut_val *hook)
{
    for (size_t f = 0; f < FIELDS; f++) {
        bool extra = fields[f].late && yyjson_mut_get_bool(provider_get(hook, fields[f].field)) &&
                     !event_wanted(run, f);
        if (extra) {
            provider_note(run, fields[f].field, SLICE("on"));
        } else {
            provider_forget(run, fields[f].field);
        }
    }
}

static bool is_right(struct provider_run *run, yyjson_mut_val *hook)
{
    remember_extra(run, hook);
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
    for (size_t f = 0; f < FIELDS && events; f++) {
        bool told = !fields[f].late || event_wanted(run, f) ||
                    (!is_new && provider_recall(run, fields[f].field).bytes > 0);
        if (told && exists_here(run, f)) {
            events = arena_printf(run->arena, "%s,\"%s\":%s", events, fields[f].field,
                                  event_wanted(run, f) ? "true" : "false");
        }
    }
    provider_body(run, "{\"url\":%s,\"token\":%s,\"enable_ssl_verification\":true%s}",
                  provider_json(run, run->facts->hook_url),
                  provider_json(run, run->facts->hook_key), events ? events : "");
}

/* GitLab's description of its API leaves /user out. What is made from that still tells by /version,
 * which GitLab answers to who is signed in alone, whether it takes the credential; not whose it is.
 */
static const char *user_take(struct provider_run *run, const struct provider_reply *reply)
{
    return reply->head->status == 404 ? "version" : hooks_user_take(run, reply);
}

static void version_ask(struct provider_run *run)
{
    provider_ask(run, HTTP_GET, "/version");
}

static const char *version_take(struct provider_run *run, const struct provider_reply *reply)
{
    if (provider_text(run, reply->json, "version").bytes == 0) {
        return provider_fail(run, PROVIDER_FAULT_ODD, "GitLab: /version has no version");
    }
    provider_forget(run, "account");
    provider_forget(run, "accountId");
    return PROVIDER_END;
}

static const struct provider_step check_steps[] = {
    {.name = "user", .ask = hooks_user_ask, .take = user_take, .also = {404}},
    {.name = "version", .ask = version_ask, .take = version_take},
    {0},
};

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
    .rights = "the token needs the scope api, and the Maintainer role in the project, for a group "
              "the Owner role: a token of a project or a group has the role it was made with",
    .takes_issued = true,
    .token = {"PRIVATE-TOKEN", ""},
    .oauth = {"Authorization", "Bearer "},
    .headers = gitlab_headers,
    .resource_type = "project",
    .wide_type = "group",
    .hooks = &gitlab_hooks,
    .usual_events = gitlab_events,
    .event_type = event_type,
    .plans =
        {
            [PROVIDER_CHECK] = {check_steps},
            [PROVIDER_RESOURCE_CHECK] = {hooks_resource_steps},
            [PROVIDER_HOOK_ENSURE] = {hooks_ensure_steps},
            [PROVIDER_HOOK_REMOVE] = {hooks_remove_steps},
        },
};
