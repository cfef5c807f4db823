#include "hub/operations/github_app.h"

#include "base/base64.h"
#include "base/ct.h"
#include "base/private_key.h"

#include <string.h>

#define SKEW_SECONDS     60  /* GitHub's clock may be behind */
#define JWT_SECONDS      540 /* at most 10 minutes */
#define LIVE_SECONDS_MIN 300

static struct slice encoded(struct slice text, struct arena *arena)
{
    char *out = arena_take(arena, BASE64_ENCODED(text.bytes) + 1);
    return slice_of(out, out ? base64_encode(text.at, text.bytes, BASE64_URL, out) : 0);
}

const char *github_app_jwt(struct slice private_key, struct slice app_id, int64_t now_seconds,
                           struct arena *arena, struct slice *ret_jwt)
{
    struct private_key key;
    uint8_t signature[SIGNATURE_BYTES_MAX];
    const char *why = private_key_parse(private_key, &key);
    if (why) {
        return why;
    }
    struct slice head = encoded(SLICE("{\"alg\":\"RS256\",\"typ\":\"JWT\"}"), arena);
    struct slice claims =
        encoded(slice_str(arena_printf(arena, "{\"iat\":%lld,\"exp\":%lld,\"iss\":\"%.*s\"}",
                                       (long long)(now_seconds - SKEW_SECONDS),
                                       (long long)(now_seconds + JWT_SECONDS), (int)app_id.bytes,
                                       (const char *)app_id.at)),
                arena);
    struct slice text =
        slice_str(arena_printf(arena, "%.*s.%.*s", (int)head.bytes, (const char *)head.at,
                               (int)claims.bytes, (const char *)claims.at));
    size_t bytes = private_key_sign(&key, SIGNATURE_RSA_SHA256, text, signature);
    private_key_wipe(&key);
    if (bytes == 0) {
        return "a GitHub App has an RSA key";
    }
    struct slice mac = encoded(slice_of(signature, bytes), arena);
    *ret_jwt = slice_str(arena_printf(arena, "%.*s.%.*s", (int)text.bytes, (const char *)text.at,
                                      (int)mac.bytes, (const char *)mac.at));
    return NULL;
}

/* ---- tokens */

struct slice app_token_find(const struct app_tokens *tokens, const uint8_t integration[16],
                            int64_t now_seconds)
{
    for (unsigned i = 0; i < APP_TOKENS_MAX; i++) {
        const struct app_token *token = &tokens->at[i];
        if (token->expires_seconds > now_seconds + LIVE_SECONDS_MIN &&
            memcmp(token->integration, integration, sizeof token->integration) == 0) {
            return slice_of(token->text, token->bytes);
        }
    }
    return SLICE_EMPTY;
}

void app_token_drop(struct app_tokens *tokens, const uint8_t integration[16])
{
    for (unsigned i = 0; i < APP_TOKENS_MAX; i++) {
        struct app_token *token = &tokens->at[i];
        if (memcmp(token->integration, integration, sizeof token->integration) == 0) {
            bk_wipe(token, sizeof *token);
        }
    }
}

void app_token_keep(struct app_tokens *tokens, const uint8_t integration[16], struct slice text,
                    int64_t expires_seconds)
{
    if (text.bytes > APP_TOKEN_BYTES_MAX) {
        return; /* it serves this once */
    }
    app_token_drop(tokens, integration);
    struct app_token *oldest = &tokens->at[0];
    for (unsigned i = 1; i < APP_TOKENS_MAX; i++) {
        if (tokens->at[i].expires_seconds < oldest->expires_seconds) {
            oldest = &tokens->at[i];
        }
    }
    memcpy(oldest->integration, integration, sizeof oldest->integration);
    memcpy(oldest->text, text.at, text.bytes);
    oldest->bytes = (uint16_t)text.bytes;
    oldest->expires_seconds = expires_seconds;
}
