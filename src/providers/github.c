/* github.c - GitHub: webhooks of repositories and organizations.
 * https://docs.github.com/en/rest/repos/webhooks, https://docs.github.com/en/rest/orgs/webhooks
 *
 * A fine-grained token needs Webhooks read/write and Metadata read; a classic one admin:repo_hook,
 * for an organization admin:org_hook.
 */
#include "providers/hooks.h"

#include <yyjson.h>

/* The type that GitHub recommends, and the one that its description of the API has for answers. */
static const char *const github_headers[] = {
    "Accept: application/vnd.github+json, application/json", "X-GitHub-Api-Version: 2022-11-28",
    NULL};
/* What the seed's own integration listens to when the source names no events. */
static const char *const github_events[] = {"create",           "package", "pull_request", "push",
                                            "registry_package", "release", "workflow_run", NULL};

static bool is_right(struct provider_run *run, yyjson_mut_val *hook)
{
    return yyjson_mut_get_bool(provider_get(hook, "active")) &&
           provider_same_events(run, provider_get(hook, "events")) &&
           hooks_config_is_json(run, hook);
}

static void body(struct provider_run *run, bool is_new)
{
    provider_body(run, "{%s\"active\":true,\"events\":%s,\"config\":%s}",
                  is_new ? "\"name\":\"web\"," : "", provider_json_events(run),
                  hooks_config(run, ",\"insecure_ssl\":\"0\""));
}

static const struct provider_hooks github_hooks = {
    .place = hooks_place_of_repository,
    .name = "full_name",
    .wide_name = "login",
    .page_query = "per_page=100",
    .url = "config/url",
    .update_by = HTTP_PATCH,
    .is_right = is_right,
    .body = body,
};

const struct provider provider_github = {
    .name = "github",
    .title = "GitHub",
    .documentation = "https://docs.github.com/en/rest/repos/webhooks",
    .url = "https://github.com",
    .url_host = "github.com",
    .api_url = "https://api.github.com",
    .api_path = "/api/v3",
    .rights = "a fine-grained token needs Webhooks: read and write, a classic one admin:repo_hook, "
              "for an organization admin:org_hook; and its owner must be an administrator there",
    .token = {"Authorization", "Bearer "},
    .headers = github_headers,
    .resource_type = "repository",
    .wide_type = "organization",
    .hooks = &github_hooks,
    .usual_events = github_events,
    .plans =
        {
            [PROVIDER_CHECK] = {user_check_steps},
            [PROVIDER_RESOURCE_CHECK] = {hooks_resource_steps},
            [PROVIDER_HOOK_ENSURE] = {hooks_ensure_steps},
            [PROVIDER_HOOK_REMOVE] = {hooks_remove_steps},
        },
};
