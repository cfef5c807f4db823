/* oauth2_fuzz - any bytes as what a token endpoint, a revocation or an identity endpoint answered,
 * and as an ID token: tokens are there or an error is told in plain words, a body is never read
 * beyond its end, and nothing is genuine without a key. */
#include "base/assert.h"
#include "providers/id_token.h"
#include "providers/oauth2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_words(const char *why)
{
    size_t bytes = strlen(why);
    bk_assert(bytes > 0 && bytes < OAUTH2_WHY_BYTES);
    for (size_t i = 0; i < bytes; i++) {
        bk_assert(why[i] >= 0x20 && why[i] < 0x7f);
    }
}

static void check_tokens(const struct http_head *head, struct slice body)
{
    struct json_tree tree;
    struct oauth2_tokens tokens;
    char why[OAUTH2_WHY_BYTES];
    json_tree_init(&tree);
    enum bk_err err = oauth2_take_tokens(head, body, &tree, &tokens, why);
    if (err == BK_OK) {
        bk_assert(tokens.access_token.bytes > 0 && tokens.expires_in >= 0);
        bk_assert(head->status >= 200 && head->status < 300);
    } else {
        bk_assert(err == BK_UNAUTHENTICATED || err == BK_FORBIDDEN || err == BK_BUSY ||
                  err == BK_PROTOCOL);
        check_words(why);
    }
    json_tree_fini(&tree);
    err = oauth2_take_revoked(head, body, why);
    bk_assert(err == BK_OK || err == BK_BUSY || err == BK_FORBIDDEN);
}

static void check_identity(struct slice body)
{
    static const char *const names[] = {"github", "google", "atlassian", "discord"};
    struct json_tree tree;
    struct json_problem problem;
    struct arena arena;
    arena_init(&arena, 1U << 20);
    json_tree_init(&tree);
    for (size_t i = 0; i < 4 && json_parse(body, &tree, &problem) == BK_OK; i++) {
        struct oauth2_identity identity;
        if (oauth2_take_identity(oauth2_server_find(slice_str(names[i])), tree.roots[0], &arena,
                                 &identity) == BK_OK) {
            bk_assert(identity.uid.bytes > 0);
        }
        json_tree_fini(&tree);
        json_tree_init(&tree);
    }
    json_tree_fini(&tree);
    arena_fini(&arena);
}

static void check_id_token(struct slice token)
{
    struct json_tree tree;
    yyjson_mut_val *claims = NULL;
    const char *why = NULL;
    struct id_token_rules rules = {.issuer = "https://idp.example",
                                   .client_id = "becket",
                                   .nonce = SLICE("n"),
                                   .now_seconds = 1767225600};
    json_tree_init(&tree);
    bk_assert(id_token_check(token, &rules, &tree, &claims, &why) != SCHEME_GENUINE);
    bk_assert(why && !claims);
    json_tree_fini(&tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t statuses[] = {200, 204, 302, 400, 401, 403, 404, 422, 429, 500, 503};
    if (size == 0) {
        return 0;
    }
    struct http_head head = {.status = statuses[data[0] % (sizeof statuses / sizeof statuses[0])]};
    struct slice body = slice_of(data + 1, size - 1);
    check_tokens(&head, body);
    check_identity(body);
    check_id_token(body);
    return 0;
}
