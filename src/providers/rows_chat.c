/* Chat, meetings and communities: a row for each (README.md, rows.h). */
#include "providers/rows.h"

#include "base/assert.h"

/* ---- acknowledgements */

static const struct scheme_answer discord_204 = {
    .status = 204, .headers = {(const uint8_t *)"Content-Type: application/json\r\n", 32}};
static const struct scheme_answer discord_deferred = {
    .status = 200,
    .content_type = "application/json",
    .body = {(const uint8_t *)"{\"type\":5}", 10}};

/* ---- handshakes */

static const struct row_handshake slack_handshakes[ROW_HANDSHAKES_MAX] = {
    {.is_unsigned = true, .when = "?ssl_check", .equals = "1"},
    {.when = "/type",
     .equals = "url_verification",
     .content_type = "text/plain",
     .answer = "${/challenge}"},
};

static const struct row_handshake discord_handshakes[ROW_HANDSHAKES_MAX] = {
    {.when = "/type", .equals = "1", .content_type = "application/json", .answer = "{\"type\":1}"},
};

static const struct row_handshake discord_events_handshakes[ROW_HANDSHAKES_MAX] = {
    {.when = "/type",
     .equals = "0",
     .status = 204,
     .headers = "Content-Type: application/json\r\n"},
};

static const struct row_handshake zoom_handshakes[ROW_HANDSHAKES_MAX] = {
    {.when = "/event",
     .equals = "endpoint.url_validation",
     .content_type = "application/json",
     .answer = "{\"plainToken\":\"${/payload/plainToken}\","
               "\"encryptedToken\":\"${hmac-hex:/payload/plainToken}\"}"},
};

static const struct row_handshake x_handshakes[ROW_HANDSHAKES_MAX] = {
    {.is_unsigned = true,
     .methods = GET,
     .when = "?crc_token",
     .content_type = "application/json",
     .answer = "{\"response_token\":\"sha256=${hmac-base64:?crc_token}\"}"},
};

static const struct row_handshake twitch_handshakes[ROW_HANDSHAKES_MAX] = {
    {.when = "Twitch-Eventsub-Message-Type",
     .equals = "webhook_callback_verification",
     .content_type = "text/plain",
     .answer = "${/challenge}"},
};

static const struct row_handshake discourse_handshakes[ROW_HANDSHAKES_MAX] = {
    {.when = "X-Discourse-Event", .equals = "ping"},
};

/* ---- other ways of signing */

static const struct scheme_row mattermost_form = {
    .name = "mattermost", .kind = ROW_TOKEN, .header = "?token"};

/* Where a rule sends the webhook, instead of an application. */
static const struct scheme_row front_rule = {
    .name = "front", .algorithm = HMAC_SHA1, .header = "X-Front-Signature", .format = "{base64}"};

static const struct row_handshake front_handshakes[ROW_HANDSHAKES_MAX] = {
    {.when = "X-Front-Challenge", .content_type = "text/plain", .answer = "${X-Front-Challenge}"},
};

static const struct row_handshake viber_handshakes[ROW_HANDSHAKES_MAX] = {
    {.when = "/event", .equals = "webhook"},
};

static const struct row_handshake linkedin_handshakes[ROW_HANDSHAKES_MAX] = {
    {.is_unsigned = true,
     .methods = GET,
     .when = "?challengeCode",
     .content_type = "application/json",
     .answer = "{\"challengeCode\":\"${?challengeCode}\","
               "\"challengeResponse\":\"${hmac-hex:?challengeCode}\"}"},
};

static const struct row_handshake strava_handshakes[ROW_HANDSHAKES_MAX] = {
    {.is_unsigned = true,
     .methods = GET,
     .when = "?hub.challenge",
     .must = "?hub.verify_token",
     .content_type = "application/json",
     .answer = "{\"hub.challenge\":\"${?hub.challenge}\"}"},
};

/* ---- the rows */

static const struct scheme_row rows[] = {
    {.name = "slack",
     .title = "Slack",
     .documentation = "https://docs.slack.dev/authentication/verifying-requests-from-slack",
     .needs = "The app's signing secret",
     .header = "X-Slack-Signature",
     .format = "v0={hex}",
     .timestamp = "X-Slack-Request-Timestamp",
     .signed_template = "v0:{timestamp}:{body}",
     .id = "/event_id",
     .type = "/event/type /type",
     .account = "/team_id ?team_id",
     .resource = "/event/channel ?channel_id",
     .detect = "X-Slack-Signature",
     .handshakes = slack_handshakes,
     .acknowledgement = &empty_200,
     .methods = GET},
    {.name = "discord-events",
     .title = "Discord events",
     .body_is_id = true,
     .documentation = "https://discord.com/developers/docs/events/webhook-events",
     .needs = "The application's public key",
     .kind = ROW_ED25519,
     .secret = SECRET_KEY,
     .header = "X-Signature-Ed25519",
     .timestamp = "X-Signature-Timestamp",
     .signed_template = "{timestamp}{body}",
     .type = "/event/type",
     .account = "/application_id",
     .handshakes = discord_events_handshakes,
     .acknowledgement = &discord_204},
    {.name = "discord",
     .title = "Discord interactions",
     .documentation = "https://discord.com/developers/docs/interactions/overview",
     .needs = "The application's public key",
     .kind = ROW_ED25519,
     .secret = SECRET_KEY,
     .header = "X-Signature-Ed25519",
     .timestamp = "X-Signature-Timestamp",
     .signed_template = "{timestamp}{body}",
     .id = "/id",
     .type = "/type",
     .account = "/guild_id /application_id",
     .resource = "/channel_id",
     .detect = "X-Signature-Ed25519",
     .handshakes = discord_handshakes,
     .acknowledgement = &discord_deferred},
    {.name = "microsoft-teams",
     .title = "Microsoft Teams outgoing webhooks",
     .aliases = "teams",
     .documentation = "https://learn.microsoft.com/microsoftteams/platform/"
                      "webhooks-and-connectors/how-to/add-outgoing-webhook",
     .needs = "The security token that Teams shows when the outgoing webhook is made",
     .secret = SECRET_BASE64,
     .header = "Authorization",
     .format = "HMAC {base64}",
     .id = "/id",
     .type = "/type",
     .account = "/conversation/tenantId",
     .resource = "/conversation/id"},
    {.name = "zoom",
     .title = "Zoom",
     .body_is_id = true,
     .documentation = "https://developers.zoom.us/docs/api/webhooks/",
     .needs = "The app's secret token",
     .header = "x-zm-signature",
     .format = "v0={hex}",
     .timestamp = "x-zm-request-timestamp",
     .signed_template = "v0:{timestamp}:{body}",
     .type = "/event",
     .account = "/payload/account_id",
     .resource = "/payload/object/id",
     .detect = "x-zm-signature",
     .handshakes = zoom_handshakes,
     .acknowledgement = &empty_204},
    {.name = "webex",
     .title = "Webex",
     .documentation = "https://developer.webex.com/messaging/docs/api/guides/webhooks",
     .needs = "The webhook's secret",
     .algorithm = HMAC_SHA1,
     .header = "X-Spark-Signature",
     .type = "{/resource}.{/event}",
     .account = "/orgId",
     .resource = "/data/id",
     .detect = "X-Spark-Signature"},
    {.name = "mattermost",
     .title = "Mattermost outgoing webhooks",
     .documentation = "https://developers.mattermost.com/integrate/webhooks/outgoing/",
     .needs = "The webhook's token",
     .kind = ROW_TOKEN,
     .header = "/token",
     .id = "/post_id ?post_id",
     .type = "=post",
     .account = "/team_id ?team_id",
     .resource = "/channel_id ?channel_id",
     .acknowledgement = &empty_200,
     .otherwise = &mattermost_form},
    {.name = "discourse",
     .title = "Discourse",
     .documentation = "https://meta.discourse.org/t/configure-webhooks-that-trigger-on-discourse-"
                      "events/49045",
     .needs = "The webhook's secret",
     .header = "X-Discourse-Event-Signature",
     .format = "sha256={hex}",
     .id = "X-Discourse-Event-Id",
     .type = "X-Discourse-Event",
     .account = "X-Discourse-Instance",
     .resource = "/topic/id /post/topic_id",
     .detect = "X-Discourse-Event-Signature X-Discourse-Event",
     .sample_type = "post_created",
     .handshakes = discourse_handshakes},
    {.name = "twitch",
     .title = "Twitch EventSub",
     .documentation = "https://dev.twitch.tv/docs/eventsub/handling-webhook-events/",
     .needs = "The subscription's secret",
     .header = "Twitch-Eventsub-Message-Signature",
     .format = "sha256={hex}",
     .timestamp = "Twitch-Eventsub-Message-Timestamp",
     .unit = UNIT_RFC3339,
     .tolerance_seconds = 600,
     .signed_template = "{id}{timestamp}{body}",
     .id = "Twitch-Eventsub-Message-Id",
     .type = "Twitch-Eventsub-Subscription-Type",
     .account = "/subscription/condition/broadcaster_user_id",
     .resource = "/subscription/id",
     .detect = "Twitch-Eventsub-Message-Signature",
     .sample_type = "channel.follow",
     .handshakes = twitch_handshakes,
     .acknowledgement = &empty_204},
    {.name = "x-twitter",
     .title = "X",
     .aliases = "x twitter",
     .body_is_id = true,
     .documentation = "https://docs.x.com/x-api/webhooks/introduction",
     .needs = "The app's consumer secret",
     .header = "x-twitter-webhooks-signature",
     .format = "sha256={base64}",
     .type = "=account_activity",
     .account = "/for_user_id",
     .detect = "x-twitter-webhooks-signature",
     .handshakes = x_handshakes,
     .acknowledgement = &empty_200,
     .methods = GET},
    {.name = "front",
     .title = "Front",
     .documentation = "https://dev.frontapp.com/docs/application-webhooks",
     .needs = "The application's signing key; of rules, the API secret",
     .header = "X-Front-Signature",
     .format = "{base64}",
     .timestamp = "X-Front-Request-Timestamp",
     .unit = UNIT_MS,
     .signed_template = "{timestamp}:{body}",
     .select = "X-Front-Request-Timestamp",
     .otherwise = &front_rule,
     .id = "/payload/id /id",
     .type = "/type",
     .account = "/authorization/id",
     .handshakes = front_handshakes,
     .detect = "X-Front-Signature"},
    {.name = "viber",
     .title = "Viber bots",
     .documentation = "https://developers.viber.com/docs/api/rest-bot-api/#callbacks",
     .needs = "The bot's authentication token",
     .header = "X-Viber-Content-Signature",
     .id = "/message_token",
     .type = "/event",
     .handshakes = viber_handshakes,
     .detect = "X-Viber-Content-Signature"},
    {.name = "linkedin",
     .title = "LinkedIn",
     .documentation = "https://learn.microsoft.com/linkedin/shared/api-guide/webhook-validation",
     .needs = "The app's client secret",
     .header = "X-LI-Signature",
     .format = "[hmacsha256=]{hex}",
     .signed_template = "hmacsha256={body}",
     .type = "/type",
     .handshakes = linkedin_handshakes,
     .methods = GET,
     .detect = "X-LI-Signature"},
    {.name = "tiktok",
     .title = "TikTok",
     .documentation = "https://developers.tiktok.com/doc/webhooks-verification/",
     .needs = "The app's client secret",
     .header = "TikTok-Signature",
     .format = "t={timestamp},s={hex}",
     .signed_template = "{timestamp}.{body}",
     .type = "/event",
     .account = "/user_openid",
     .detect = "TikTok-Signature"},
    {.name = "strava",
     .title = "Strava",
     .documentation = "https://developers.strava.com/docs/webhooks/",
     .needs = "A secret of your choice, as `?token=` of the callback's URL; `verifyToken` is the "
              "subscription's verify_token",
     .kind = ROW_TOKEN,
     .header = "?token",
     .type = "{/object_type}.{/aspect_type}",
     .account = "/owner_id",
     .resource = "/object_id",
     .handshakes = strava_handshakes,
     .methods = GET,
     .acknowledgement = &empty_200},
};

const struct row_table rows_chat = {"Chat, meetings, communities", rows, bk_array_length(rows)};
