/* discord.c - Discord: the bot's account, a channel, messages.
 * https://discord.com/developers/docs/resources/channel, /resources/message
 *
 * A message's nonce makes it one for "the past few minutes"; Discord does not say how many. So in
 * doubt whether it was posted, it is looked for first, among what came since it was to be posted.
 * Messages of before come without their nonce: ours is a bot's that says the same. Who may not read
 * the history is shown none of it; then the nonce alone counts.
 */
#include "providers/provider.h"

#include <string.h>
#include <yyjson.h>

static const char *const discord_headers[] = {"Accept: application/json", NULL};

static void me_ask(struct provider_run *run)
{
    provider_ask(run, HTTP_GET, "/users/@me");
}

static const char *me_take(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice id = provider_text(run, reply->json, "id");
    if (id.bytes == 0) {
        return provider_fail(run, PROVIDER_FAULT_ODD, "Discord: /users/@me has no id");
    }
    provider_note(run, "account", provider_text(run, reply->json, "username"));
    provider_note(run, "accountId", id);
    return PROVIDER_END;
}

static const struct provider_step check_steps[] = {
    {.name = "me", .ask = me_ask, .take = me_take},
    {0},
};

static void channel_ask(struct provider_run *run)
{
    struct slice id = provider_segment(run, run->facts->resource);
    provider_ask(run, HTTP_GET, "/channels/%.*s", (int)id.bytes, (const char *)id.at);
}

static const char *channel_take(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice id = provider_text(run, reply->json, "id");
    if (id.bytes == 0) {
        return provider_fail(run, PROVIDER_FAULT_ODD, "Discord: the channel has no id");
    }
    provider_note(run, "resourceId", id);
    provider_note(run, "resourceName", provider_text(run, reply->json, "name"));
    return PROVIDER_END;
}

static const struct provider_step channel_steps[] = {
    {.name = "channel", .ask = channel_ask, .take = channel_take},
    {0},
};

#define TEXT_BYTES_MAX 2000U

/* What is posted: as it is, or cut to what Discord takes. */
static struct slice post_text(struct provider_run *run)
{
    struct slice text = run->facts->text;
    if (text.bytes <= TEXT_BYTES_MAX) {
        return text;
    }
    text.bytes = TEXT_BYTES_MAX - 3;
    while (text.bytes > 0 && (text.at[text.bytes] & 0xc0) == 0x80) {
        text.bytes--; /* not in the middle of a character */
    }
    return slice_str(arena_printf(run->arena, "%.*s...", (int)text.bytes, (const char *)text.at));
}

/* ---- looking for it */

#define EPOCH_MS      1420070400000LL /* of Discord's ids: their upper bits are a time */
#define SKEW_SECONDS  60
#define HISTORY_LIMIT 100U
#define HISTORY_PAGES 5U

static void history_ask(struct provider_run *run)
{
    struct slice id = provider_segment(run, provider_posted_channel(run));
    struct slice cursor = provider_recall(run, "cursor");
    int64_t ms = (run->facts->since_seconds - SKEW_SECONDS) * 1000 - EPOCH_MS;
    const char *after = arena_printf(run->arena, "%llu", ms > 0 ? (unsigned long long)ms << 22 : 0);
    if (cursor.bytes == 0) {
        cursor = slice_str(after);
    }
    provider_ask(run, HTTP_GET, "/channels/%.*s/messages?limit=%u&after=%.*s", (int)id.bytes,
                 (const char *)id.at, HISTORY_LIMIT, (int)cursor.bytes, (const char *)cursor.at);
}

/* Discord takes white space off both ends. */
static struct slice bare(struct slice text)
{
    while (text.bytes > 0 && text.at[text.bytes - 1] <= ' ') {
        text.bytes--;
    }
    while (text.bytes > 0 && text.at[0] <= ' ') {
        text = slice_skip(text, 1);
    }
    return text;
}

static bool is_ours(struct provider_run *run, yyjson_mut_val *message, struct slice text)
{
    struct slice nonce = provider_text(run, message, "nonce");
    if (nonce.bytes > 0) {
        return slice_equal(nonce, run->facts->once);
    }
    return yyjson_mut_is_true(provider_get(message, "author/bot")) &&
           slice_equal(bare(provider_text(run, message, "content")), text);
}

static bool is_later(struct slice id, struct slice other)
{
    return id.bytes != other.bytes ? id.bytes > other.bytes
                                   : id.bytes > 0 && memcmp(id.at, other.at, id.bytes) > 0;
}

static const char *history_take(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice last = SLICE_EMPTY, text = bare(post_text(run));
    size_t count = 0;
    yyjson_mut_val *message;
    yyjson_mut_arr_iter iter;
    yyjson_mut_arr_iter_init(reply->json, &iter);
    while ((message = yyjson_mut_arr_iter_next(&iter))) {
        struct slice id = provider_text(run, message, "id");
        if (is_ours(run, message, text)) {
            provider_forget(run, "cursor");
            provider_note(run, "messageId", id);
            return PROVIDER_END;
        }
        last = is_later(id, last) ? id : last;
        count++;
    }
    if (count < HISTORY_LIMIT || last.bytes == 0 || run->calls >= HISTORY_PAGES) {
        provider_forget(run, "cursor");
        return "message";
    }
    provider_note(run, "cursor", last);
    return "look for it";
}

/* ---- posting */

/* The text may be anybody's: it must not ring a whole channel. */
static void post_ask(struct provider_run *run)
{
    struct slice id = provider_segment(run, provider_post_channel(run));
    provider_ask(run, HTTP_POST, "/channels/%.*s/messages", (int)id.bytes, (const char *)id.at);
    provider_body(run,
                  "{\"content\":%s,\"allowed_mentions\":{\"parse\":[]},\"nonce\":%s,"
                  "\"enforce_nonce\":true}",
                  provider_json(run, post_text(run)), provider_json(run, run->facts->once));
}

static const char *post_take(struct provider_run *run, const struct provider_reply *reply)
{
    struct slice id = provider_text(run, reply->json, "id");
    if (id.bytes == 0) {
        return provider_fail(run, PROVIDER_FAULT_ODD, "Discord: the message has no id");
    }
    provider_note(run, "messageId", id);
    return PROVIDER_END;
}

static const struct provider_step post_steps[] = {
    {.name = "look for it",
     .in_doubt_only = true,
     .ask = history_ask,
     .take = history_take,
     .also = {403, 404}},
    {.name = "message", .makes = true, .ask = post_ask, .take = post_take},
    {0},
};

const struct provider provider_discord = {
    .name = "discord",
    .title = "Discord",
    .documentation = "https://discord.com/developers/docs",
    .url = "https://discord.com",
    .api_path = "/api/v10",
    .rights =
        "give the bot View Channel, Send Messages and Read Message History in this channel; it "
        "must be a member of the server",
    .token = {"Authorization", "Bot "},
    .oauth = {"Authorization", "Bearer "},
    .headers = discord_headers,
    .agent = "DiscordBot",
    .resource_type = "channel",
    .plans =
        {
            [PROVIDER_CHECK] = {check_steps},
            [PROVIDER_RESOURCE_CHECK] = {channel_steps},
            [PROVIDER_POST] = {post_steps},
        },
};
