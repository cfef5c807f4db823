/* discord.c - Discord: the bot's account, a channel, messages.
 * https://discord.com/developers/docs/resources/channel
 */
#include "providers/provider.h"

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

/* The text may be anybody's: it must not ring a whole channel. */
static void post_ask(struct provider_run *run)
{
    struct slice id = provider_segment(run, run->facts->channel);
    struct slice text = run->facts->text;
    if (text.bytes > 2000) {
        text.bytes = 1997;
        while (text.bytes > 0 && (text.at[text.bytes] & 0xc0) == 0x80) {
            text.bytes--; /* not in the middle of a character */
        }
        text =
            slice_str(arena_printf(run->arena, "%.*s...", (int)text.bytes, (const char *)text.at));
    }
    provider_ask(run, HTTP_POST, "/channels/%.*s/messages", (int)id.bytes, (const char *)id.at);
    /* The same nonce gives the message that is there, for a few minutes. */
    provider_body(run,
                  "{\"content\":%s,\"allowed_mentions\":{\"parse\":[]},\"nonce\":%s,"
                  "\"enforce_nonce\":true}",
                  provider_json(run, text), provider_json(run, run->facts->once));
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
    {.name = "message", .ask = post_ask, .take = post_take},
    {0},
};

const struct provider provider_discord = {
    .name = "discord",
    .title = "Discord",
    .documentation = "https://discord.com/developers/docs",
    .url = "https://discord.com",
    .api_path = "/api/v10",
    .rights = "give the bot View Channel and Send Messages in this channel; it must be a member of "
              "the server",
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
