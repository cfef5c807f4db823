/* gitea.c - Gitea and Forgejo: webhooks of repositories and organizations.
 * https://docs.gitea.com/api
 */
#include "providers/hooks.h"

#include <yyjson.h>

static const char *const gitea_headers[] = {"Accept: application/json", NULL};
static const char *const gitea_events[] = {"create", "push", "pull_request", "release", NULL};

/* It answers with the parts of an event beside the whole: pull_request_label, issue_assign. */
static bool is_part(struct provider_run *run, struct slice event)
{
    static const struct {
        const char *whole, *part;
    } parts[] = {{"pull_request", "pull_request_"}, {"issues", "issue_"}};
    struct slice events[PROVIDER_EVENTS_MAX];
    unsigned count = provider_events(run, events);
    for (unsigned i = 0; i < count; i++) {
        for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
            if (slice_equal(events[i], slice_str(parts[p].whole)) &&
                slice_starts(event, slice_str(parts[p].part))) {
                return true;
            }
        }
    }
    return false;
}

static bool same_events(struct provider_run *run, yyjson_mut_val *list)
{
    struct slice events[PROVIDER_EVENTS_MAX];
    unsigned count = provider_events(run, events), found = 0;
    yyjson_mut_val *item;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(list, &iter);
    while ((item = yyjson_mut_arr_iter_next(&iter))) {
        struct slice event = yyjson_mut_is_str(item) ? json_text(item) : SLICE_EMPTY;
        bool wanted = false;
        for (unsigned i = 0; i < count; i++) {
            wanted = wanted || slice_equal(event, events[i]);
        }
        found += wanted;
        if (!wanted && !is_part(run, event)) {
            return false;
        }
    }
    return found == count;
}

static bool is_right(struct provider_run *run, yyjson_mut_val *hook)
{
    return yyjson_mut_get_bool(provider_get(hook, "active")) &&
           same_events(run, provider_get(hook, "events")) && hooks_config_is_json(run, hook);
}

static void body(struct provider_run *run, bool is_new)
{
    provider_body(run, "{%s\"active\":true,\"events\":%s,\"config\":%s}",
                  is_new ? "\"type\":\"gitea\"," : "", provider_json_events(run),
                  hooks_config(run, ""));
}

static const struct provider_hooks gitea_hooks = {
    .place = hooks_place_of_repository,
    .name = "full_name",
    .wide_name = "username",
    .page_query = "limit=50",
    .url = "config/url",
    .update_by = HTTP_PATCH,
    .is_right = is_right,
    .body = body,
};

const struct provider provider_gitea = {
    .name = "gitea",
    .title = "Gitea",
    .documentation = "https://docs.gitea.com/api",
    .api_path = "/api/v1",
    .rights = "the token needs the scope write:repository, for an organization write:organization, "
              "and its owner must be an administrator there",
    .takes_issued = true,
    .token = {"Authorization", "token "},
    .oauth = {"Authorization", "Bearer "},
    .headers = gitea_headers,
    .resource_type = "repository",
    .wide_type = "organization",
    .hooks = &gitea_hooks,
    .usual_events = gitea_events,
    .plans =
        {
            [PROVIDER_CHECK] = {user_check_steps},
            [PROVIDER_RESOURCE_CHECK] = {hooks_resource_steps},
            [PROVIDER_HOOK_ENSURE] = {hooks_ensure_steps},
            [PROVIDER_HOOK_REMOVE] = {hooks_remove_steps},
        },
};
