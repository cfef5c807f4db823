/* gitea.c - Gitea and Forgejo: repository webhooks. https://docs.gitea.com/development/api-usage */
#include "providers/repository_hooks.h"

static const char *const gitea_headers[] = {"Accept: application/json", NULL};
static const char *const gitea_events[] = {"create", "push", "pull_request", "release", NULL};

const struct provider provider_gitea = {
    .name = "gitea",
    .title = "Gitea",
    .documentation = "https://docs.gitea.com/api",
    .api_path = "/api/v1",
    .takes_issued = true,
    .token = {"Authorization", "token "},
    .oauth = {"Authorization", "Bearer "},
    .headers = gitea_headers,
    .resource_type = "repository",
    .usual_events = gitea_events,
    .plans =
        {
            [PROVIDER_CHECK] = {user_check_steps},
            [PROVIDER_RESOURCE_CHECK] = {repository_check_steps},
            [PROVIDER_HOOK_ENSURE] = {repository_hook_ensure_steps},
            [PROVIDER_HOOK_REMOVE] = {repository_hook_remove_steps},
        },
};
