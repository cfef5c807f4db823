/* github_app.h - GitHub Apps: a signed JWT buys a token of an hour for one installation.
 *
 * Purpose     The JWT, and the tokens that were bought, kept in memory only, until five minutes
 *             before they expire. One that is refused (401) is forgotten, so that the next run buys
 *             another.
 * Threads     The control thread.
 * Source      https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app
 */
#ifndef BECKET_HUB_GITHUB_APP_H
#define BECKET_HUB_GITHUB_APP_H

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

#define APP_TOKENS_MAX      64U /* the longest unused one makes room */
#define APP_TOKEN_BYTES_MAX 512U

struct app_tokens {
    struct app_token {
        uint8_t integration[16];
        int64_t expires_seconds; /* 0 = none */
        uint16_t bytes;
        char text[APP_TOKEN_BYTES_MAX];
    } at[APP_TOKENS_MAX];
};

/* In the arena. NULL, or what is wrong with the key (static). */
const char *github_app_jwt(struct slice private_key, struct slice app_id, int64_t now_seconds,
                           struct arena *arena, struct slice *ret_jwt);

/* Empty = none that lives long enough. Valid until the next call. */
struct slice app_token_find(const struct app_tokens *tokens, const uint8_t integration[16],
                            int64_t now_seconds);
void app_token_keep(struct app_tokens *tokens, const uint8_t integration[16], struct slice text,
                    int64_t expires_seconds);
void app_token_drop(struct app_tokens *tokens, const uint8_t integration[16]);

#endif
