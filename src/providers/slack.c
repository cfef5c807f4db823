/* slack.c - Slack: who we are, whether a channel is there, and messages.
 * https://api.slack.com/web
 *
 * Slack answers 200 to nearly everything; the truth is in `ok` and `error`. Scopes: chat:write, and
 * channels:read to look a channel up.
 */
#include "providers/provider.h"

static const char *const slack_headers[] = {"Accept: application/json", NULL};

static enum provider_fault fault_of(struct slice error)
{
    static const struct {
        const char *error;
        enum provider_fault fault;
    } known[] = {
        {"invalid_auth", PROVIDER_FAULT_AUTH},
        {"not_authed", PROVIDER_FAULT_AUTH},
        {"token_revoked", PROVIDER_FAULT_AUTH},
        {"token_expired", PROVIDER_FAULT_AUTH},
        {"account_inactive", PROVIDER_FAULT_AUTH},
        {"missing_scope", PROVIDER_FAULT_FORBIDDEN},
        {"not_in_channel", PROVIDER_FAULT_FORBIDDEN},
        {"restricted_action", PROVIDER_FAULT_FORBIDDEN},
        {"channel_not_found", PROVIDER_FAULT_NOT_FOUND},
        {"is_archived", PROVIDER_FAULT_NOT_FOUND},
        {"ratelimited", PROVIDER_FAULT_LIMITED},
        {"rate_limited", PROVIDER_FAULT_LIMITED},
        {"internal_error", PROVIDER_FAULT_DOWN},
        {"fatal_error", PROVIDER_FAULT_DOWN},
        {"service_unavailable", PROVIDER_FAULT_DOWN},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (slice_equal(error, slice_str(known[i].error))) {
            return known[i].fault;
        }
    }
    return PROVIDER_FAULT_REFUSED;
}

static bool slack_judge(struct provider_run *run, const struct provider_reply *reply)
{
    if (reply->head->status != 200) {
        return false;
    }
    yyjson_mut_val *good = provider_get(reply->json, "ok");
    if (!yyjson_mut_is_bool(good)) {
        provider_fail(run, PROVIDER_FAULT_ODD, "Slack: the answer has no ok");
    } else if (!yyjson_mut_get_bool(good)) {
        struct slice error = provider_text(run, reply->json, "error");
        struct slice needed = provider_text(run, reply->json, "needed");
        provider_fail(run, fault_of(error), "Slack says %.*s%s%.*s", (int)error.bytes,
                      (const char *)error.at, needed.bytes ? ", needed: " : "", (int)needed.bytes,
                      (const char *)needed.at);
    }
    return true;
}

static void test_ask(struct provider_run *run)
{
    provider_ask(run, HTTP_GET, "/auth.test");
}

static const char *test_take(struct provider_run *run, const struct provider_reply *reply)
{
    provider_note(run, "account", provider_text(run, reply->json, "team"));
    provider_note(run, "accountId", provider_text(run, reply->json, "team_id"));
    provider_note(run, "botId", provider_text(run, reply->json, "user_id"));
    return PROVIDER_END;
}

static const struct provider_step check_steps[] = {
    {.name = "auth.test", .ask = test_ask, .take = test_take},
    {0},
};

/* ---- a channel, by id or by name */

static bool is_channel_id(struct slice name)
{
    bool id = name.bytes >= 9 && (name.at[0] == 'C' || name.at[0] == 'G' || name.at[0] == 'D');
    for (size_t i = 1; id && i < name.bytes; i++) {
        id = (name.at[i] >= 'A' && name.at[i] <= 'Z') || (name.at[i] >= '0' && name.at[i] <= '9');
    }
    return id;
}

static struct slice channel_name(const struct provider_run *run)
{
    struct slice name = run->facts->resource;
    return name.bytes > 0 && name.at[0] == '#' ? slice_skip(name, 1) : name;
}

static void channel_ask(struct provider_run *run)
{
    struct slice name = channel_name(run);
    if (is_channel_id(name)) {
        provider_ask(run, HTTP_GET, "/conversations.info?channel=%.*s", (int)name.bytes,
                     (const char *)name.at);
        return;
    }
    struct slice cursor = provider_segment(run, provider_recall(run, "cursor"));
    provider_ask(run, HTTP_GET,
                 "/conversations.list?exclude_archived=true&limit=200&types=public_channel,"
                 "private_channel%s%.*s",
                 cursor.bytes ? "&cursor=" : "", (int)cursor.bytes, (const char *)cursor.at);
}

static const char *channel_found(struct provider_run *run, yyjson_mut_val *channel)
{
    provider_forget(run, "cursor");
    provider_note(run, "resourceId", provider_text(run, channel, "id"));
    provider_note(run, "resourceName", provider_text(run, channel, "name"));
    return PROVIDER_END;
}

static const char *channel_take(struct provider_run *run, const struct provider_reply *reply)
{
    yyjson_mut_val *one = provider_get(reply->json, "channel");
    if (one) {
        return channel_found(run, one);
    }
    struct slice name = channel_name(run);
    yyjson_mut_val *item;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(provider_get(reply->json, "channels"), &iter);
    while ((item = yyjson_mut_arr_iter_next(&iter))) {
        if (slice_equal(provider_text(run, item, "name"), name)) {
            return channel_found(run, item);
        }
    }
    struct slice cursor = provider_text(run, reply->json, "response_metadata/next_cursor");
    if (cursor.bytes == 0) {
        provider_forget(run, "cursor");
        return provider_fail(run, PROVIDER_FAULT_NOT_FOUND,
                             "Slack has no channel #%.*s that the app sees", (int)name.bytes,
                             (const char *)name.at);
    }
    provider_note(run, "cursor", cursor);
    return "channel";
}

static const struct provider_step channel_steps[] = {
    {.name = "channel", .ask = channel_ask, .take = channel_take},
    {0},
};

/* ---- messages */

static void post_ask(struct provider_run *run)
{
    struct slice channel = provider_segment(run, run->facts->channel);
    struct slice text = provider_segment(run, run->facts->text);
    provider_ask(run, HTTP_POST, "/chat.postMessage");
    run->request.body = slice_str(arena_printf(run->arena, "channel=%.*s&text=%.*s",
                                               (int)channel.bytes, (const char *)channel.at,
                                               (int)text.bytes, (const char *)text.at));
    run->request.content_type = "application/x-www-form-urlencoded";
}

static const char *post_take(struct provider_run *run, const struct provider_reply *reply)
{
    provider_note(run, "messageId", provider_text(run, reply->json, "ts"));
    return PROVIDER_END;
}

static const struct provider_step post_steps[] = {
    {.name = "chat.postMessage", .makes = true, .ask = post_ask, .take = post_take},
    {0},
};

const struct provider provider_slack = {
    .name = "slack",
    .title = "Slack",
    .documentation = "https://api.slack.com/web",
    .url = "https://slack.com",
    .api_path = "/api",
    .token = {"Authorization", "Bearer "},
    .also = {"token", ""}, /* what Slack's description of its API asks for */
    .headers = slack_headers,
    .resource_type = "channel",
    .plans =
        {
            [PROVIDER_CHECK] = {check_steps},
            [PROVIDER_RESOURCE_CHECK] = {channel_steps},
            [PROVIDER_POST] = {post_steps},
        },
    .judge = slack_judge,
};
