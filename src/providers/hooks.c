#include "providers/hooks.h"

#include "base/url.h"

#include <stdio.h>
#include <yyjson.h>

/* ---- whose credential */

void hooks_user_ask(struct provider_run *run)
{
    provider_ask(run, HTTP_GET, "/user");
}

const char *hooks_user_take(struct provider_run *run, const struct provider_reply *reply)
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
    {.name = "user", .ask = hooks_user_ask, .take = hooks_user_take},
    {0},
};

/* ---- what is watched */

bool hooks_are_wide(const struct provider_run *run)
{
    const char *wide = run->provider->wide_type;
    return wide && slice_equal(run->facts->resource_type, slice_str(wide));
}

bool hooks_place_of_repository(struct provider_run *run, struct slice *ret_place)
{
    struct slice path, name = run->facts->resource;
    bool wide = hooks_are_wide(run);
    if (wide && slice_find(name, '/') < name.bytes) {
        provider_fail(run, PROVIDER_FAULT_REFUSED, "%.*s is no name of an organization",
                      (int)name.bytes, (const char *)name.at);
        return false;
    }
    if (wide) {
        path = provider_segment(run, name);
    } else if (!provider_owner_and_name(run, &path)) {
        provider_fail(run, PROVIDER_FAULT_REFUSED,
                      "no owner for repository %.*s: write owner/name, or end the integration's "
                      "url with the owner",
                      (int)name.bytes, (const char *)name.at);
        return false;
    }
    *ret_place = slice_str(arena_printf(run->arena, "%s/%.*s", wide ? "/orgs" : "/repos",
                                        (int)path.bytes, (const char *)path.at));
    return true;
}

static void place_ask(struct provider_run *run)
{
    struct slice place;
    if (run->provider->hooks->place(run, &place)) {
        provider_ask(run, HTTP_GET, "%.*s", (int)place.bytes, (const char *)place.at);
    }
}

static const char *place_take(struct provider_run *run, const struct provider_reply *reply)
{
    const struct provider_hooks *hooks = run->provider->hooks;
    bool wide = hooks_are_wide(run);
    struct slice id = provider_text(run, reply->json, "id");
    if (id.bytes == 0) {
        return provider_fail(run, PROVIDER_FAULT_ODD, "%s: the %s has no id", run->provider->title,
                             wide ? run->provider->wide_type : run->provider->resource_type);
    }
    provider_note(run, "resourceId", id);
    provider_note(run, "resourceName",
                  provider_text(run, reply->json, wide ? hooks->wide_name : hooks->name));
    return PROVIDER_END;
}

const struct provider_step hooks_resource_steps[] = {
    {.name = "look at it", .ask = place_ask, .take = place_take},
    {0},
};

/* ---- finding ours */

static void look_ask(struct provider_run *run)
{
    const struct provider_hooks *hooks = run->provider->hooks;
    struct slice place, page = provider_recall(run, "page");
    bool known =
        run->intent != PROVIDER_HOOK_ENSURE || !hooks->events_known || hooks->events_known(run);
    if (page.bytes == 0) {
        page = SLICE("1");
    }
    if (known && hooks->place(run, &place)) {
        provider_ask(run, HTTP_GET, "%.*s/hooks?%s&page=%.*s", (int)place.bytes,
                     (const char *)place.at, hooks->page_query, (int)page.bytes,
                     (const char *)page.at);
    }
}

/* Same path below /hooks/: what becket made when its public address was another one. */
static bool same_path(struct slice url, struct slice ours)
{
    static const char mark[] = "/hooks/";
    struct slice path = SLICE_EMPTY;
    for (size_t at = 0; at + sizeof mark - 1 < ours.bytes; at++) {
        if (memcmp(ours.at + at, mark, sizeof mark - 1) == 0) {
            path = slice_skip(ours, at);
        }
    }
    return path.bytes > 0 && url.bytes >= path.bytes &&
           slice_equal(slice_skip(url, url.bytes - path.bytes), path);
}

/* A provider, or who edits a hook there, may spell our address in another way: without the port,
 * with a slash behind it. That one leads nowhere here, but is found. */
static bool is_ours(const struct provider_run *run, struct slice url)
{
    url.bytes -= url.bytes > 0 && url.at[url.bytes - 1] == '/';
    return url_same(url, run->facts->hook_url);
}

/* The id alone is not enough: another server, to which the integration leads now, gives out the
 * same numbers. */
static yyjson_mut_val *our_hook(struct provider_run *run, yyjson_mut_val *list)
{
    yyjson_mut_val *hook;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(list, &iter);
    while ((hook = yyjson_mut_arr_iter_next(&iter))) {
        struct slice url = provider_text(run, hook, run->provider->hooks->url);
        if (is_ours(run, url) ||
            (run->facts->hook_id.bytes > 0 && same_path(url, run->facts->hook_url) &&
             slice_equal(provider_text(run, hook, "id"), run->facts->hook_id))) {
            return hook;
        }
    }
    return NULL;
}

/* Another one to our address on the same page: made by a call that came through after it was given
 * up. Not the one that is known, whose key is. */
static struct slice second_hook(struct provider_run *run, yyjson_mut_val *list, struct slice id)
{
    struct slice known = run->facts->hook_id, second = SLICE_EMPTY;
    yyjson_mut_val *hook;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(list, &iter);
    while ((hook = yyjson_mut_arr_iter_next(&iter))) {
        struct slice other = provider_text(run, hook, "id");
        if (other.bytes > 0 && !slice_equal(other, id) &&
            is_ours(run, provider_text(run, hook, run->provider->hooks->url))) {
            second = other;
        }
    }
    return second.bytes > 0 && slice_equal(second, known) ? id : second;
}

/* False: there is no further page. */
static bool turn_page(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice page = provider_recall(run, "page");
    unsigned number = page.bytes == 0 ? 1 : 0;
    for (size_t i = 0; i < page.bytes; i++) {
        number = number * 10 + (unsigned)(page.at[i] - '0');
    }
    number = provider_next_page(reply, number);
    if (number > 0) {
        provider_note(run, "page", slice_str(arena_printf(run->arena, "%u", number)));
    }
    return number > 0;
}

/* Ours on this page, its id remembered. NULL with *ret_more: it may be on the next one. */
static yyjson_mut_val *find(struct provider_run *run, const struct provider_reply *reply,
                            bool *ret_more)
{
    *ret_more = false;
    if (!yyjson_mut_is_arr(reply->json)) {
        provider_fail(run, PROVIDER_FAULT_ODD, "%s: the list of hooks is no list",
                      run->provider->title);
        return NULL;
    }
    yyjson_mut_val *hook = our_hook(run, reply->json);
    *ret_more = !hook && turn_page(run, reply);
    if (!*ret_more) {
        provider_forget(run, "page");
    }
    struct slice id = provider_text(run, hook, "id");
    if (hook && id.bytes == 0) {
        provider_fail(run, PROVIDER_FAULT_ODD, "%s: our hook in the list has no id",
                      run->provider->title);
        return NULL;
    }
    if (hook) {
        provider_note(run, "hookId", id);
    } else {
        provider_forget(run, "hookId");
    }
    return hook;
}

/* ---- one hook */

static void hook_ask(struct provider_run *run, enum http_method method)
{
    struct slice place;
    if (run->provider->hooks->place(run, &place)) {
        struct slice id = provider_segment(run, provider_recall(run, "hookId"));
        provider_ask(run, method, "%.*s/hooks/%.*s", (int)place.bytes, (const char *)place.at,
                     (int)id.bytes, (const char *)id.at);
    }
}

const char *hooks_config(struct provider_run *run, const char *more)
{
    const char *text = arena_printf(
        run->arena, "{\"url\":%s,\"content_type\":\"json\",\"secret\":%s%s}",
        provider_json(run, run->facts->hook_url), provider_json(run, run->facts->hook_key), more);
    return text ? text : "{}";
}

bool hooks_config_is_json(struct provider_run *run, yyjson_mut_val *hook)
{
    return slice_equal(provider_text(run, hook, "config/content_type"), SLICE("json"));
}

/* ---- a list that is not shown */

/* 404 is also the answer to a token that may not see the hooks of what it may see otherwise; then
 * they are not gone. Else it is what the first answer said. */
static const char *seen_without_hooks(struct provider_run *run)
{
    struct slice name = run->facts->resource;
    return provider_fail(run, PROVIDER_FAULT_FORBIDDEN,
                         "%s shows %.*s to this token, but not its webhooks (404)",
                         run->provider->title, (int)name.bytes, (const char *)name.at);
}

#define IS_IT_THERE "is it there"

/* ---- ensure */

static const char *ensure_look_take(struct provider_run *run, const struct provider_reply *reply)
{
    const struct provider_hooks *hooks = run->provider->hooks;
    bool more;
    if (reply->head->status == 404) {
        return IS_IT_THERE;
    }
    yyjson_mut_val *hook = find(run, reply, &more);
    if (run->fault != PROVIDER_FAULT_NONE) {
        return NULL;
    }
    if (!hook && !more && provider_recall(run, PROVIDER_MADE).bytes > 0) {
        return provider_fail(run, PROVIDER_FAULT_ODD,
                             "%s took the new hook, but neither tells its id nor lists it",
                             run->provider->title);
    }
    if (!hook) {
        return more ? "look" : "create";
    }
    provider_forget(run, PROVIDER_MADE);
    struct slice second = second_hook(run, reply->json, provider_text(run, hook, "id"));
    if (second.bytes > 0) {
        provider_note(run, "hookId", second);
        return "delete second";
    }
    bool right = hooks->is_right(run, hook) && run->facts->key_is_current &&
                 url_same(provider_text(run, hook, hooks->url), run->facts->hook_url);
    return right ? PROVIDER_END : "update";
}

static void delete_ask(struct provider_run *run)
{
    hook_ask(run, HTTP_DELETE);
}

static const char *delete_take(struct provider_run *run, const struct provider_reply *reply)
{
    (void)reply;
    provider_forget(run, "hookId");
    return "look";
}

static void create_ask(struct provider_run *run)
{
    struct slice place;
    if (run->provider->hooks->place(run, &place)) {
        provider_ask(run, HTTP_POST, "%.*s/hooks", (int)place.bytes, (const char *)place.at);
        run->provider->hooks->body(run, true);
    }
}

/* A hook to our address is there but was not listed: one whose making got no answer. It is looked
 * for again. Where there is room for no more, somebody has to make some. */
static const char *not_created(struct provider_run *run, const struct provider_reply *reply)
{
    provider_refused(run, reply);
    bool exists = strstr(run->why, "already exists") != NULL;
    bool full = strstr(run->why, "more than") || strstr(run->why, "aximum number");
    char why[PROVIDER_WHY_BYTES];
    snprintf(why, sizeof why, "%s", run->why);
    if (exists) {
        return provider_fail(run, PROVIDER_FAULT_DOWN, "%.180s; it is not listed yet", why);
    }
    return full ? provider_fail(run, PROVIDER_FAULT_REFUSED,
                                "%.180s: remove one there that nobody needs", why)
                : NULL;
}

static const char *create_take(struct provider_run *run, const struct provider_reply *reply)
{
    if (reply->head->status == 422) {
        return not_created(run, reply);
    }
    struct slice id = provider_text(run, reply->json, "id");
    if (id.bytes == 0) { /* 204, or a body that does not say: the list does */
        provider_note(run, PROVIDER_MADE, SLICE("yes"));
        return "look";
    }
    provider_note(run, "hookId", id);
    return PROVIDER_END;
}

static void update_ask(struct provider_run *run)
{
    hook_ask(run, run->provider->hooks->update_by);
    run->provider->hooks->body(run, false);
}

/* 404: somebody deleted it between the two calls. */
static const char *update_take(struct provider_run *run, const struct provider_reply *reply)
{
    (void)run;
    return reply->head->status == 404 ? "look" : PROVIDER_END;
}

static const char *ensure_there_take(struct provider_run *run, const struct provider_reply *reply)
{
    if (reply->head->status == 404) {
        provider_refused(run, reply);
        return NULL;
    }
    return seen_without_hooks(run);
}

const struct provider_step hooks_ensure_steps[] = {
    {.name = "look", .ask = look_ask, .take = ensure_look_take, .also = {404}},
    {.name = IS_IT_THERE, .ask = place_ask, .take = ensure_there_take, .also = {404}},
    {.name = "delete second", .ask = delete_ask, .take = delete_take, .also = {404, 410}},
    {.name = "create", .makes = true, .ask = create_ask, .take = create_take, .also = {422}},
    {.name = "update", .ask = update_ask, .take = update_take, .also = {404}},
    {0},
};

/* ---- remove */

static const char *remove_look_take(struct provider_run *run, const struct provider_reply *reply)
{
    bool more = false;
    unsigned status = reply->head->status;
    if (status == 404 || status == 410) {
        return IS_IT_THERE;
    }
    yyjson_mut_val *hook = find(run, reply, &more);
    if (run->fault != PROVIDER_FAULT_NONE) {
        return NULL;
    }
    return hook ? "delete" : more ? "look" : PROVIDER_END;
}

/* What it watched is gone, and its hooks with it. */
static const char *remove_there_take(struct provider_run *run, const struct provider_reply *reply)
{
    unsigned status = reply->head->status;
    if (status != 404 && status != 410) {
        return seen_without_hooks(run);
    }
    provider_forget(run, "hookId");
    return PROVIDER_END;
}

const struct provider_step hooks_remove_steps[] = {
    {.name = "look", .ask = look_ask, .take = remove_look_take, .also = {404, 410}},
    {.name = IS_IT_THERE, .ask = place_ask, .take = remove_there_take, .also = {404, 410}},
    {.name = "delete", .ask = delete_ask, .take = delete_take, .also = {404, 410}},
    {0},
};
