/* github.c - GitHub: repository webhooks. https://docs.github.com/en/rest/repos/webhooks
 *
 * A fine-grained token needs Webhooks read/write and Metadata read; a classic one admin:repo_hook.
 */
#include "providers/repository_hooks.h"

static const char *const github_headers[] = {"Accept: application/vnd.github+json",
                                             "X-GitHub-Api-Version: 2022-11-28", NULL};
/* What the seed's own integration listens to when the source names no events. */
static const char *const github_events[] = {"create",           "package", "pull_request", "push",
                                            "registry_package", "release", "workflow_run", NULL};

const struct provider provider_github = {
    .name = "github",
    .title = "GitHub",
    .documentation = "https://docs.github.com/en/rest/repos/webhooks",
    .url = "https://github.com",
    .url_host = "github.com",
    .api_url = "https://api.github.com",
    .api_path = "/api/v3",
    .token = {"Authorization", "Bearer "},
    .headers = github_headers,
    .resource_type = "repository",
    .usual_events = github_events,
    .plans =
        {
            [PROVIDER_CHECK] = {user_check_steps},
            [PROVIDER_RESOURCE_CHECK] = {repository_check_steps},
            [PROVIDER_HOOK_ENSURE] = {repository_hook_ensure_steps},
            [PROVIDER_HOOK_REMOVE] = {repository_hook_remove_steps},
        },
};
