/* semaphore.c - Semaphore CI: a secret and a notification that uses it.
 * https://docs.semaphore.io/reference/api
 *
 * Both have the name facts.hook_name (a UUID would be refused as the name of a secret). The
 * secret's value cannot be compared from outside, so it is made anew unless it is known to be the
 * current one; the source accepts the old key meanwhile.
 */
#include "base/url.h"
#include "providers/provider.h"

#include <yyjson.h>

static const char *const semaphore_headers[] = {"Accept: application/json", NULL};

static struct slice hook_name(struct provider_run *run)
{
    return provider_segment(run, run->facts->hook_name);
}

/* ---- credential and project */

static void projects_ask(struct provider_run *run)
{
    provider_ask(run, HTTP_GET, "/api/v1alpha/projects");
}

/* A list, or one with a name, as its newer APIs answer. */
static const char *projects_take(struct provider_run *run, const struct provider_reply *reply)
{
    return yyjson_mut_is_arr(reply->json) ||
                   yyjson_mut_is_arr(provider_get(reply->json, "projects"))
               ? PROVIDER_END
               : provider_fail(run, PROVIDER_FAULT_ODD,
                               "Semaphore: the list of projects is no list");
}

static const struct provider_step check_steps[] = {
    {.name = "projects", .ask = projects_ask, .take = projects_take},
    {0},
};

static void project_ask(struct provider_run *run)
{
    struct slice name = provider_segment(run, run->facts->resource);
    provider_ask(run, HTTP_GET, "/api/v1alpha/projects/%.*s", (int)name.bytes,
                 (const char *)name.at);
}

static const char *project_take(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice id = provider_text(run, reply->json, "metadata/id");
    if (id.bytes == 0) {
        return provider_fail(run, PROVIDER_FAULT_ODD, "Semaphore: the project has no metadata.id");
    }
    provider_note(run, "resourceId", id);
    provider_note(run, "resourceName", provider_text(run, reply->json, "metadata/name"));
    return PROVIDER_END;
}

static const struct provider_step project_steps[] = {
    {.name = "project", .ask = project_ask, .take = project_take},
    {0},
};

/* ---- ensure: secret, then notification */

static void secret_look_ask(struct provider_run *run)
{
    struct slice name = hook_name(run);
    provider_ask(run, HTTP_GET, "/api/v1beta/secrets/%.*s", (int)name.bytes, (const char *)name.at);
}

static const char *secret_look_take(struct provider_run *run, const struct provider_reply *reply)
{
    if (reply->head->status == 404) {
        return "create secret";
    }
    return run->facts->key_is_current ? "look for notification" : "delete old secret";
}

static void secret_delete_ask(struct provider_run *run)
{
    struct slice name = hook_name(run);
    provider_ask(run, HTTP_DELETE, "/api/v1beta/secrets/%.*s", (int)name.bytes,
                 (const char *)name.at);
}

static const char *old_secret_take(struct provider_run *run, const struct provider_reply *reply)
{
    (void)run;
    (void)reply;
    return "create secret";
}

static void secret_create_ask(struct provider_run *run)
{
    provider_ask(run, HTTP_POST, "/api/v1beta/secrets");
    provider_body(
        run,
        "{\"apiVersion\":\"v1beta\",\"kind\":\"Secret\",\"metadata\":{\"name\":%s},\"data\":"
        "{\"env_vars\":[{\"name\":\"WEBHOOK_SECRET\",\"value\":%s}]}}",
        provider_json(run, run->facts->hook_name), provider_json(run, run->facts->hook_key));
}

static const char *secret_create_take(struct provider_run *run, const struct provider_reply *reply)
{
    provider_note(run, "secretId", provider_text(run, reply->json, "metadata/id"));
    return "look for notification";
}

static void notification_look_ask(struct provider_run *run)
{
    struct slice name = hook_name(run);
    provider_ask(run, HTTP_GET, "/api/v1alpha/notifications/%.*s", (int)name.bytes,
                 (const char *)name.at);
}

/* Whether the first rule of the notification says what we would write. */
static bool notification_is_right(struct provider_run *run, yyjson_mut_val *notification)
{
    yyjson_mut_val *rule = yyjson_mut_arr_get_first(provider_get(notification, "spec/rules"));
    yyjson_mut_val *project = yyjson_mut_arr_get_first(provider_get(rule, "filter/projects"));
    return url_same(provider_text(run, rule, "notify/webhook/endpoint"), run->facts->hook_url) &&
           slice_equal(provider_text(run, rule, "notify/webhook/secret"), run->facts->hook_name) &&
           yyjson_mut_is_str(project) && slice_equal(json_text(project), run->facts->resource);
}

static const char *notification_look_take(struct provider_run *run,
                                          const struct provider_reply *reply)
{
    if (reply->head->status == 404) {
        return "create notification";
    }
    provider_note(run, "hookId", provider_text(run, reply->json, "metadata/id"));
    return notification_is_right(run, reply->json) ? PROVIDER_END : "delete old notification";
}

static void notification_delete_ask(struct provider_run *run)
{
    struct slice id = provider_recall(run, "hookId");
    struct slice name = id.bytes ? provider_segment(run, id) : hook_name(run);
    provider_ask(run, HTTP_DELETE, "/api/v1alpha/notifications/%.*s", (int)name.bytes,
                 (const char *)name.at);
}

static const char *old_notification_take(struct provider_run *run,
                                         const struct provider_reply *reply)
{
    (void)reply;
    provider_forget(run, "hookId");
    return "create notification";
}

static void notification_create_ask(struct provider_run *run)
{
    struct slice resource = run->facts->resource;
    const char *rule = arena_printf(run->arena, "webhook-for-%.*s", (int)resource.bytes,
                                    (const char *)resource.at);
    provider_ask(run, HTTP_POST, "/api/v1alpha/notifications");
    /* Without the empty slack object the API misbehaves. */
    provider_body(
        run,
        "{\"apiVersion\":\"v1alpha\",\"kind\":\"Notification\",\"metadata\":{\"name\":%s},"
        "\"spec\":{\"rules\":[{\"name\":%s,\"filter\":{\"branches\":[],\"pipelines\":[],"
        "\"projects\":[%s],\"results\":[]},\"notify\":{\"webhook\":{\"endpoint\":%s,"
        "\"secret\":%s},\"slack\":{}}}]}}",
        provider_json(run, run->facts->hook_name), provider_json(run, slice_str(rule)),
        provider_json(run, resource), provider_json(run, run->facts->hook_url),
        provider_json(run, run->facts->hook_name));
}

static const char *notification_create_take(struct provider_run *run,
                                            const struct provider_reply *reply)
{
    struct slice id = provider_text(run, reply->json, "metadata/id");
    provider_note(run, "hookId", id.bytes ? id : run->facts->hook_name);
    return PROVIDER_END;
}

static const struct provider_step ensure_steps[] = {
    {.name = "look for secret", .ask = secret_look_ask, .take = secret_look_take, .also = {404}},
    {.name = "delete old secret", .ask = secret_delete_ask, .take = old_secret_take, .also = {404}},
    {.name = "create secret", .makes = true, .ask = secret_create_ask, .take = secret_create_take},
    {.name = "look for notification",
     .ask = notification_look_ask,
     .take = notification_look_take,
     .also = {404}},
    {.name = "delete old notification",
     .ask = notification_delete_ask,
     .take = old_notification_take,
     .also = {404}},
    {.name = "create notification",
     .makes = true,
     .ask = notification_create_ask,
     .take = notification_create_take},
    {0},
};

/* ---- remove: notification first, for it uses the secret */

static const char *notification_gone_take(struct provider_run *run,
                                          const struct provider_reply *reply)
{
    (void)reply;
    provider_forget(run, "hookId");
    return "delete secret";
}

static const char *secret_gone_take(struct provider_run *run, const struct provider_reply *reply)
{
    (void)reply;
    provider_forget(run, "secretId");
    return PROVIDER_END;
}

static const char *remove_look_take(struct provider_run *run, const struct provider_reply *reply)
{
    if (reply->head->status == 404) {
        return "delete secret";
    }
    provider_note(run, "hookId", provider_text(run, reply->json, "metadata/id"));
    return "delete notification";
}

static const struct provider_step remove_steps[] = {
    {.name = "look for notification",
     .ask = notification_look_ask,
     .take = remove_look_take,
     .also = {404}},
    {.name = "delete notification",
     .ask = notification_delete_ask,
     .take = notification_gone_take,
     .also = {404}},
    {.name = "delete secret", .ask = secret_delete_ask, .take = secret_gone_take, .also = {404}},
    {0},
};

const struct provider provider_semaphore = {
    .name = "semaphore",
    .title = "Semaphore",
    .documentation = "https://docs.semaphore.io/reference/api",
    .api_path = "",
    .takes_issued = true,
    .token = {"Authorization", "Token "},
    .headers = semaphore_headers,
    .content_type = "application/json",
    .agent = "SemaphoreCI v2.0 Client", /* its reference: all requests must have this one */
    .agent_alone = true,
    .resource_type = "project",
    .plans =
        {
            [PROVIDER_CHECK] = {check_steps},
            [PROVIDER_RESOURCE_CHECK] = {project_steps},
            [PROVIDER_HOOK_ENSURE] = {ensure_steps},
            [PROVIDER_HOOK_REMOVE] = {remove_steps},
        },
};
