#include "providers/repository_hooks.h"

/* ---- whose credential */

static void user_ask(struct provider_run *run)
{
    provider_ask(run, HTTP_GET, "/user");
}

static const char *user_take(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice login = provider_text(run, reply->json, "login");
    if (login.bytes == 0) {
        login = provider_text(run, reply->json, "username"); /* GitLab's word */
    }
    if (login.bytes == 0) {
        return provider_fail(run, PROVIDER_FAULT_ODD, "%s: /user has no login",
                             run->provider->title);
    }
    provider_note(run, "account", login);
    provider_note(run, "accountId", provider_text(run, reply->json, "id"));
    return PROVIDER_END;
}

const struct provider_step user_check_steps[] = {
    {.name = "user", .ask = user_ask, .take = user_take},
    {0},
};

/* ---- the repository */

static bool repository(struct provider_run *run, struct slice *ret_path)
{
    if (provider_owner_and_name(run, ret_path)) {
        return true;
    }
    provider_fail(
        run, PROVIDER_FAULT_REFUSED,
        "no owner for repository %.*s: write owner/name, or end the integration's url with "
        "the owner",
        (int)run->facts->resource.bytes, (const char *)run->facts->resource.at);
    return false;
}

static void repository_ask(struct provider_run *run)
{
    struct slice path;
    if (repository(run, &path)) {
        provider_ask(run, HTTP_GET, "/repos/%.*s", (int)path.bytes, (const char *)path.at);
    }
}

static const char *repository_take(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice id = provider_text(run, reply->json, "id");
    if (id.bytes == 0) {
        return provider_fail(run, PROVIDER_FAULT_ODD, "%s: the repository has no id",
                             run->provider->title);
    }
    provider_note(run, "resourceId", id);
    provider_note(run, "resourceName", provider_text(run, reply->json, "full_name"));
    return PROVIDER_END;
}

const struct provider_step repository_check_steps[] = {
    {.name = "repository", .ask = repository_ask, .take = repository_take},
    {0},
};

/* ---- hooks */

static void hooks_ask(struct provider_run *run)
{
    struct slice path, page = provider_recall(run, "page");
    if (page.bytes == 0) {
        page = SLICE("1");
    }
    if (repository(run, &path)) {
        /* Neither knows the other's name for the size of a page. */
        bool github = slice_equal(slice_str(run->provider->name), SLICE("github"));
        provider_ask(run, HTTP_GET, "/repos/%.*s/hooks?%s=50&page=%.*s", (int)path.bytes,
                     (const char *)path.at, github ? "per_page" : "limit", (int)page.bytes,
                     (const char *)page.at);
    }
}

static yyjson_mut_val *our_hook(struct provider_run *run, yyjson_mut_val *list)
{
    yyjson_mut_val *hook;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(list, &iter);
    while ((hook = yyjson_mut_arr_iter_next(&iter))) {
        if (slice_equal(provider_text(run, hook, "config/url"), run->facts->hook_url) ||
            (run->facts->hook_id.bytes > 0 &&
             slice_equal(provider_text(run, hook, "id"), run->facts->hook_id))) {
            return hook;
        }
    }
    return NULL;
}

static void turn_page(struct provider_run *run)
{
    struct slice page = provider_recall(run, "page");
    unsigned number = page.bytes == 0 ? 1 : 0;
    for (size_t i = 0; i < page.bytes; i++) {
        number = number * 10 + (unsigned)(page.at[i] - '0');
    }
    provider_note(run, "page", slice_str(arena_printf(run->arena, "%u", number + 1)));
}

/* NULL with *ret_more: not on this page. */
static yyjson_mut_val *hooks_find(struct provider_run *run, const struct provider_reply *reply,
                                  bool *ret_more)
{
    *ret_more = false;
    if (!yyjson_mut_is_arr(reply->json)) {
        provider_fail(run, PROVIDER_FAULT_ODD, "%s: the list of hooks is no list",
                      run->provider->title);
        return NULL;
    }
    yyjson_mut_val *hook = our_hook(run, reply->json);
    *ret_more = !hook && provider_has_next_page(reply);
    if (*ret_more) {
        turn_page(run);
    } else {
        provider_forget(run, "page");
    }
    return hook;
}

static const char *ensure_look_take(struct provider_run *run, const struct provider_reply *reply)
{
    bool more;
    yyjson_mut_val *hook = hooks_find(run, reply, &more);
    if (run->fault != PROVIDER_FAULT_NONE) {
        return NULL;
    }
    if (!hook) {
        return more ? "look" : "create";
    }
    provider_note(run, "hookId", provider_text(run, hook, "id"));
    bool right = run->facts->key_is_current &&
                 slice_equal(provider_text(run, hook, "config/url"), run->facts->hook_url) &&
                 yyjson_mut_get_bool(provider_get(hook, "active")) &&
                 provider_same_events(run, provider_get(hook, "events")) &&
                 slice_equal(provider_text(run, hook, "config/content_type"), SLICE("json"));
    return right ? PROVIDER_END : "update";
}

static const char *hook_config(struct provider_run *run)
{
    const char *text = arena_printf(
        run->arena, "{\"url\":%s,\"content_type\":\"json\",\"secret\":%s%s}",
        provider_json(run, run->facts->hook_url), provider_json(run, run->facts->hook_key),
        slice_equal(slice_str(run->provider->name), SLICE("github")) ? ",\"insecure_ssl\":\"0\""
                                                                     : "");
    return text ? text : "{}";
}

static void create_ask(struct provider_run *run)
{
    struct slice path;
    bool github = slice_equal(slice_str(run->provider->name), SLICE("github"));
    if (repository(run, &path)) {
        provider_ask(run, HTTP_POST, "/repos/%.*s/hooks", (int)path.bytes, (const char *)path.at);
        provider_body(run, "{%s,\"active\":true,\"events\":%s,\"config\":%s}",
                      github ? "\"name\":\"web\"" : "\"type\":\"gitea\"", provider_json_events(run),
                      hook_config(run));
    }
}

static const char *create_take(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice id = provider_text(run, reply->json, "id");
    if (id.bytes == 0) {
        return provider_fail(run, PROVIDER_FAULT_ODD, "%s: the new hook has no id",
                             run->provider->title);
    }
    provider_note(run, "hookId", id);
    return PROVIDER_END;
}

static void update_ask(struct provider_run *run)
{
    struct slice path, id = provider_recall(run, "hookId");
    if (repository(run, &path)) {
        struct slice segment = provider_segment(run, id);
        provider_ask(run, HTTP_PATCH, "/repos/%.*s/hooks/%.*s", (int)path.bytes,
                     (const char *)path.at, (int)segment.bytes, (const char *)segment.at);
        provider_body(run, "{\"active\":true,\"events\":%s,\"config\":%s}",
                      provider_json_events(run), hook_config(run));
    }
}

/* 404: somebody deleted it between the two calls. */
static const char *update_take(struct provider_run *run, const struct provider_reply *reply)
{
    (void)run;
    return reply->head->status == 404 ? "look" : PROVIDER_END;
}

const struct provider_step repository_hook_ensure_steps[] = {
    {.name = "look", .ask = hooks_ask, .take = ensure_look_take},
    {.name = "create", .makes = true, .ask = create_ask, .take = create_take},
    {.name = "update", .ask = update_ask, .take = update_take, .also = {404}},
    {0},
};

static const char *remove_look_take(struct provider_run *run, const struct provider_reply *reply)
{
    if (reply->head->status == 404) { /* the repository is gone, and its hooks with it */
        provider_forget(run, "hookId");
        return PROVIDER_END;
    }
    bool more;
    yyjson_mut_val *hook = hooks_find(run, reply, &more);
    if (run->fault != PROVIDER_FAULT_NONE) {
        return NULL;
    }
    if (!hook) {
        provider_forget(run, "hookId");
        return more ? "look" : PROVIDER_END;
    }
    provider_note(run, "hookId", provider_text(run, hook, "id"));
    return "delete";
}

static void delete_ask(struct provider_run *run)
{
    struct slice path, id = provider_recall(run, "hookId");
    if (repository(run, &path)) {
        struct slice segment = provider_segment(run, id);
        provider_ask(run, HTTP_DELETE, "/repos/%.*s/hooks/%.*s", (int)path.bytes,
                     (const char *)path.at, (int)segment.bytes, (const char *)segment.at);
    }
}

static const char *delete_take(struct provider_run *run, const struct provider_reply *reply)
{
    (void)reply;
    provider_forget(run, "hookId");
    return "look";
}

const struct provider_step repository_hook_remove_steps[] = {
    {.name = "look", .ask = hooks_ask, .take = remove_look_take, .also = {404, 410}},
    {.name = "delete", .ask = delete_ask, .take = delete_take, .also = {404, 410}},
    {0},
};
