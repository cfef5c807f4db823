/* hooks.h - steps for webhooks of a repository, a project, or of all that an organization has, at
 * the services that keep them as a list of objects: GitHub, Gitea, GitLab.
 *
 * Purpose     What differs is data and four small functions, one struct provider_hooks for each
 *             provider; the steps are the same.
 *             A hook is ours when its url is our address, or when its id is that of the one we made
 *             and its url ends as ours does (our address may have changed since). Ensure: look
 *             through all pages; make it, or mend what differs; a second one is removed. Remove:
 *             look, delete, and look again until no hook of ours is left. Where the list is not to
 *             be found, whether it is the thing or only the right to see its hooks that is missing
 *             is told by a look at the thing: a removal that may not look has removed nothing.
 * Threads     Pure, as providers/provider.h says.
 */
#ifndef BECKET_PROVIDERS_HOOKS_H
#define BECKET_PROVIDERS_HOOKS_H

#include "providers/provider.h"

struct provider_hooks {
    /* Of what the source watches: "/repos/acme/hello", "/orgs/acme". False after provider_fail().
     */
    bool (*place)(struct provider_run *run, struct slice *ret_place);
    const char *name;           /* where the answer to a look at the place has its full name */
    const char *wide_name;      /* the same of an organization; NULL = it has no such hooks */
    const char *page_query;     /* how long a page is: "per_page=100" */
    const char *url;            /* where a hook has its address: "config/url" */
    enum http_method update_by; /* PATCH, PUT */
    /* May the wanted events be asked for? False after provider_fail(). NULL = all may. */
    bool (*events_known)(struct provider_run *run);
    /* Address, key and whether it is current are looked at already. */
    bool (*is_right)(struct provider_run *run, yyjson_mut_val *hook);
    /* provider_body(), of a new one or of an update. */
    void (*body)(struct provider_run *run, bool is_new);
};

/* For plans of a provider that has provider->hooks. */
extern const struct provider_step hooks_resource_steps[];
extern const struct provider_step hooks_ensure_steps[];
extern const struct provider_step hooks_remove_steps[];
/* GET /user: login and id. */
extern const struct provider_step user_check_steps[];
/* Its one step. */
void hooks_user_ask(struct provider_run *run);
const char *hooks_user_take(struct provider_run *run, const struct provider_reply *reply);

/* ---- for the rows */

/* Does the source watch the organization rather than one of its repositories? */
bool hooks_are_wide(const struct provider_run *run);
/* "/repos/owner/name", or "/orgs/name". */
bool hooks_place_of_repository(struct provider_run *run, struct slice *ret_place);
/* {"url","content_type","secret"} as GitHub invented it; `more` goes in behind. */
const char *hooks_config(struct provider_run *run, const char *more);
bool hooks_config_is_json(struct provider_run *run, yyjson_mut_val *hook);

#endif
