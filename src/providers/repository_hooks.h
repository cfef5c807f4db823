/* repository_hooks.h - steps for webhooks of a repository in the way that GitHub invented and Gitea
 * took over: /repos/{owner}/{name}/hooks, a hook being {id, active, events, config: {url,
 * content_type}}.
 *
 * A hook is ours when its config.url is our address. Ensure: look through all pages; make it, or
 * mend what differs. Remove: look, delete, and look again until no hook to our address is left.
 */
#ifndef BECKET_PROVIDERS_REPOSITORY_HOOKS_H
#define BECKET_PROVIDERS_REPOSITORY_HOOKS_H

#include "providers/provider.h"

extern const struct provider_step repository_check_steps[];
extern const struct provider_step repository_hook_ensure_steps[];
extern const struct provider_step repository_hook_remove_steps[];
/* GET /user: login and id. */
extern const struct provider_step user_check_steps[];

#endif
