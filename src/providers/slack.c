/* slack.c - Slack: who we are, whether a channel is there, and messages.
 * https://api.slack.com/web
 *
 * Slack answers 200 to nearly everything; the truth is in `ok` and `error`. Scopes: chat:write, and
 * channels:read to look a channel up, groups:read for a private one.
 *
 * Slack has no key that makes a message unique. The id of its one block names it, and in doubt
 * whether it was posted it is looked for in the channel's history. That needs the scope
 * channels:history (groups:history in a private channel); without it a message is posted again.
 */
#include "providers/provider.h"

#include <yyjson.h>

static const char *const slack_headers[] = {"Accept: application/json", NULL};

/* Its words, what they mean, and what to do where that is not said by the fault alone. */
static const struct slack_error {
    const char *error;
    enum provider_fault fault;
    const char *advice;
} errors[] = {
    {"invalid_auth", PROVIDER_FAULT_AUTH, NULL},
    {"not_authed", PROVIDER_FAULT_AUTH, NULL},
    {"token_revoked", PROVIDER_FAULT_AUTH, NULL},
    {"token_expired", PROVIDER_FAULT_AUTH, NULL},
    {"account_inactive", PROVIDER_FAULT_AUTH, NULL},
    {"not_allowed_token_type", PROVIDER_FAULT_AUTH, "a bot token (xoxb-) is needed"},
    {"missing_scope", PROVIDER_FAULT_FORBIDDEN, "add this scope to the app and install it again"},
    {"not_in_channel", PROVIDER_FAULT_FORBIDDEN,
     "invite the app there (/invite @app), or give it chat:write.public"},
    {"no_permission", PROVIDER_FAULT_FORBIDDEN, "invite the app into the channel"},
    {"restricted_action", PROVIDER_FAULT_FORBIDDEN, "a setting of the workspace forbids it"},
    {"restricted_action_read_only_channel", PROVIDER_FAULT_FORBIDDEN,
     "only some may post in this channel"},
    {"access_denied", PROVIDER_FAULT_FORBIDDEN, NULL},
    {"team_access_not_granted", PROVIDER_FAULT_FORBIDDEN,
     "the app is not installed in this workspace"},
    {"channel_not_found", PROVIDER_FAULT_NOT_FOUND,
     "a private channel is there only for an app that was invited"},
    {"is_archived", PROVIDER_FAULT_NOT_FOUND, "the channel is archived"},
    {"ratelimited", PROVIDER_FAULT_LIMITED, NULL},
    {"rate_limited", PROVIDER_FAULT_LIMITED, NULL},
    {"internal_error", PROVIDER_FAULT_DOWN, NULL},
    {"fatal_error", PROVIDER_FAULT_DOWN, NULL},
    {"request_timeout", PROVIDER_FAULT_DOWN, NULL},
    {"service_unavailable", PROVIDER_FAULT_DOWN, NULL},
};

static const struct slack_error *find_error(struct slice error)
{
    static const struct slack_error other = {"", PROVIDER_FAULT_REFUSED, NULL};
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        if (slice_equal(error, slice_str(errors[i].error))) {
            return &errors[i];
        }
    }
    return &other;
}

/* Where the history may not be read, or a link left a channel that is gone, there is no look into
 * it: better twice than never. */
static bool may_not_look(const struct provider_run *run, struct slice error)
{
    enum provider_fault fault = find_error(error)->fault;
    bool left = !slice_equal(provider_posted_channel(run), run->facts->channel);
    return run->step->in_doubt_only &&
           (fault == PROVIDER_FAULT_FORBIDDEN || (left && fault == PROVIDER_FAULT_NOT_FOUND));
}

#define PUBLIC_ONLY "publicOnly" /* the note that private channels may not be listed */

/* Both kinds of channels are asked for; who may see one kind only is refused both. */
static bool may_not_list_private(const struct provider_run *run, struct slice error)
{
    return strcmp(run->step->name, "channel") == 0 && slice_equal(error, SLICE("missing_scope")) &&
           slice_find(run->request.target, ',') < run->request.target.bytes;
}

static bool slack_judge(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice error = provider_text(run, reply->json, "error");
    if (reply->head->status != 200 || may_not_look(run, error) ||
        may_not_list_private(run, error)) {
        return false;
    }
    yyjson_mut_val *good = provider_get(reply->json, "ok");
    if (!yyjson_mut_is_bool(good)) {
        provider_fail(run, PROVIDER_FAULT_ODD, "Slack: the answer has no ok");
    } else if (!yyjson_mut_get_bool(good)) {
        struct slice needed = provider_text(run, reply->json, "needed");
        const struct slack_error *known = find_error(error);
        provider_fail(run, known->fault, "Slack says %.*s%s%.*s%s%s",
                      (int)(error.bytes < 60 ? error.bytes : 60), (const char *)error.at,
                      needed.bytes ? ", needed: " : "",
                      (int)(needed.bytes < 80 ? needed.bytes : 80), (const char *)needed.at,
                      known->advice ? ": " : "", known->advice ? known->advice : "");
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

/* 200 are what Slack recommends; a workspace that has more may have very many, and is asked for 20
 * pages a minute at most. */
static void channel_ask(struct provider_run *run)
{
    struct slice name = channel_name(run);
    if (is_channel_id(name)) {
        provider_ask(run, HTTP_GET, "/conversations.info?channel=%.*s", (int)name.bytes,
                     (const char *)name.at);
        return;
    }
    struct slice cursor = provider_segment(run, provider_recall(run, "cursor"));
    bool both = provider_recall(run, PUBLIC_ONLY).bytes == 0;
    provider_ask(run, HTTP_GET,
                 "/conversations.list?exclude_archived=true&limit=%s&types=public_channel%s%s%.*s",
                 cursor.bytes ? "999" : "200", both ? ",private_channel" : "",
                 cursor.bytes ? "&cursor=" : "", (int)cursor.bytes, (const char *)cursor.at);
}

/* Has the token this scope? What it has stands in a header, where it is told at all. */
static bool has_scope(const struct provider_reply *reply, const char *scope)
{
    const struct http_header *header = http_find(reply->head, SLICE("x-oauth-scopes"), NULL);
    struct slice rest = header ? http_header_value(reply->head, header) : SLICE_EMPTY;
    while (rest.bytes > 0) {
        size_t end = slice_find(rest, ',');
        if (slice_equal(slice_trim(slice_of(rest.at, end)), slice_str(scope))) {
            return true;
        }
        rest = slice_skip(rest, end + 1);
    }
    return !header;
}

/* What will be wanted later is said now. */
static const char *channel_found(struct provider_run *run, const struct provider_reply *reply,
                                 yyjson_mut_val *channel)
{
    bool is_private = yyjson_mut_get_bool(provider_get(channel, "is_private"));
    const char *history = is_private ? "groups:history" : "channels:history";
    provider_forget(run, "cursor");
    provider_forget(run, PUBLIC_ONLY);
    provider_forget(run, "notice");
    if (!has_scope(reply, "chat:write")) {
        return provider_fail(run, PROVIDER_FAULT_FORBIDDEN,
                             "the app may not post in Slack: add the scope chat:write and install "
                             "it again");
    }
    if (!has_scope(reply, history)) {
        provider_note(run, "notice",
                      slice_str(arena_printf(run->arena,
                                             "without the scope %s a message whose answer was lost "
                                             "is posted again",
                                             history)));
    }
    provider_note(run, "resourceId", provider_text(run, channel, "id"));
    provider_note(run, "resourceName", provider_text(run, channel, "name"));
    return PROVIDER_END;
}

static const char *channel_take(struct provider_run *run, const struct provider_reply *reply)
{
    yyjson_mut_val *good = provider_get(reply->json, "ok");
    if (yyjson_mut_is_bool(good) && !yyjson_mut_get_bool(good)) {
        provider_forget(run, "cursor");
        provider_note(run, PUBLIC_ONLY, SLICE("yes"));
        return "channel";
    }
    yyjson_mut_val *one = provider_get(reply->json, "channel");
    if (one) {
        return channel_found(run, reply, one);
    }
    struct slice name = channel_name(run);
    yyjson_mut_val *item;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(provider_get(reply->json, "channels"), &iter);
    while ((item = yyjson_mut_arr_iter_next(&iter))) {
        if (slice_equal(provider_text(run, item, "name"), name)) {
            return channel_found(run, reply, item);
        }
    }
    struct slice cursor = provider_text(run, reply->json, "response_metadata/next_cursor");
    if (cursor.bytes == 0) {
        bool some = provider_recall(run, PUBLIC_ONLY).bytes > 0;
        provider_forget(run, "cursor");
        provider_forget(run, PUBLIC_ONLY);
        return provider_fail(run, PROVIDER_FAULT_NOT_FOUND,
                             "Slack has no channel #%.*s that the app sees%s", (int)name.bytes,
                             (const char *)name.at,
                             some ? "; private ones it sees with the scope groups:read" : "");
    }
    provider_note(run, "cursor", cursor);
    return "channel";
}

static const struct provider_step channel_steps[] = {
    {.name = "channel", .ask = channel_ask, .take = channel_take},
    {0},
};

/* ---- messages */

#define BLOCK          "becket-" /* and facts.once: the id of the message's block */
#define HISTORY_PAGES  5U
#define TEXT_BYTES_MAX 2900U /* a block takes 3000 characters */

static void history_ask(struct provider_run *run)
{
    struct slice channel = provider_segment(run, provider_posted_channel(run));
    struct slice cursor = provider_segment(run, provider_recall(run, "cursor"));
    provider_ask(run, HTTP_GET, "/conversations.history?channel=%.*s&limit=100%s%.*s",
                 (int)channel.bytes, (const char *)channel.at, cursor.bytes ? "&cursor=" : "",
                 (int)cursor.bytes, (const char *)cursor.at);
}

static bool is_ours(struct provider_run *run, yyjson_mut_val *message)
{
    yyjson_mut_val *block = yyjson_mut_arr_get_first(provider_get(message, "blocks"));
    struct slice id = provider_text(run, block, "block_id"), prefix = SLICE(BLOCK);
    return slice_starts(id, prefix) && slice_equal(slice_skip(id, prefix.bytes), run->facts->once);
}

/* Among the newest messages, HISTORY_PAGES of them. */
static const char *history_take(struct provider_run *run, const struct provider_reply *reply)
{
    yyjson_mut_val *message;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(provider_get(reply->json, "messages"), &iter);
    while ((message = yyjson_mut_arr_iter_next(&iter))) {
        if (is_ours(run, message)) {
            provider_forget(run, "cursor");
            provider_note(run, "messageId", provider_text(run, message, "ts"));
            return PROVIDER_END;
        }
    }
    struct slice cursor = provider_text(run, reply->json, "response_metadata/next_cursor");
    if (cursor.bytes == 0 || run->calls >= HISTORY_PAGES) {
        provider_forget(run, "cursor");
        return "chat.postMessage";
    }
    provider_note(run, "cursor", cursor);
    return "look for it";
}

/* What Slack would read as a link, a mention or a call to a whole channel is plain text here: &, <
 * and > are written as Slack wants them. Cut to what a block takes. */
static struct slice plain(struct provider_run *run, struct slice text)
{
    struct buf out;
    buf_init(&out, TEXT_BYTES_MAX + 64);
    for (size_t i = 0; i < text.bytes; i++) {
        bool first = (text.at[i] & 0xc0) != 0x80; /* of a character */
        if (first && out.bytes > TEXT_BYTES_MAX - 8) {
            buf_add_str(&out, "...");
            break;
        }
        const char *name = text.at[i] == '&'   ? "&amp;"
                           : text.at[i] == '<' ? "&lt;"
                           : text.at[i] == '>' ? "&gt;"
                                               : NULL;
        if (name) {
            buf_add_str(&out, name);
        } else {
            buf_add_byte(&out, text.at[i]);
        }
    }
    char *copy = arena_copy(run->arena, out.at, out.bytes);
    struct slice result = slice_of(copy, copy ? out.bytes : 0);
    buf_fini(&out);
    return result;
}

/* A form: what Slack's description of its API has. */
static void post_ask(struct provider_run *run)
{
    struct slice once = run->facts->once, text = plain(run, run->facts->text);
    const char *blocks = arena_printf(
        run->arena,
        "[{\"type\":\"section\",\"block_id\":\"" BLOCK "%.*s\",\"text\":{\"type\":\"mrkdwn\","
        "\"text\":%s}}]",
        (int)once.bytes, (const char *)once.at, provider_json(run, text));
    struct slice channel = provider_segment(run, provider_post_channel(run));
    struct slice block = provider_segment(run, slice_str(blocks ? blocks : ""));
    text = provider_segment(run, text);
    provider_ask(run, HTTP_POST, "/chat.postMessage");
    run->request.body =
        slice_str(arena_printf(run->arena, "channel=%.*s&text=%.*s&blocks=%.*s", (int)channel.bytes,
                               (const char *)channel.at, (int)text.bytes, (const char *)text.at,
                               (int)block.bytes, (const char *)block.at));
    run->request.content_type = "application/x-www-form-urlencoded";
}

static const char *post_take(struct provider_run *run, const struct provider_reply *reply)
{
    provider_note(run, "messageId", provider_text(run, reply->json, "ts"));
    return PROVIDER_END;
}

static const struct provider_step post_steps[] = {
    {.name = "look for it", .in_doubt_only = true, .ask = history_ask, .take = history_take},
    {.name = "chat.postMessage", .makes = true, .ask = post_ask, .take = post_take},
    {0},
};

const struct provider provider_slack = {
    .name = "slack",
    .title = "Slack",
    .documentation = "https://api.slack.com/web",
    .url = "https://slack.com",
    .api_path = "/api",
    .rights = "do what the message says at https://api.slack.com/apps; a scope that was added "
              "counts when the app is installed again",
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
