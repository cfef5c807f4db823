/* Description: OAuth 2 requests as the providers want them, and their answers in all spellings. */
#include "http/parse.h"
#include "providers/oauth2.h"
#include "tests/tap.h"

static struct arena arena;
static const struct oauth2_client client = {.id = SLICE("id&1"),
                                            .secret = SLICE("s:3"),
                                            .redirect_uri =
                                                SLICE("http://127.0.0.1:8081/auth/x/callback")};

static void same(struct slice got, const char *want, const char *what)
{
    is_bytes(got.at, got.bytes, want, strlen(want), "%s", what);
}

static void test_challenge(void)
{
    char challenge[OAUTH2_CHALLENGE_BYTES + 1];
    /* RFC 7636, appendix B */
    oauth2_challenge(SLICE("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), challenge);
    is_str(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

static void test_authorize(void)
{
    struct buf url;
    buf_init(&url, 4096);
    oauth2_authorize_url(oauth2_server_find(SLICE("gitlab")), SLICE("https://git.example"), &client,
                         SLICE("api read_user"), SLICE("st/ate"), SLICE_EMPTY, SLICE("chal"), &url);
    is_str(
        buf_text(&url),
        "https://git.example/oauth/authorize?response_type=code&client_id=id%261&redirect_uri="
        "http%3A%2F%2F127.0.0.1%3A8081%2Fauth%2Fx%2Fcallback&scope=api%20read_user&state=st%2Fate&"
        "code_challenge=chal&code_challenge_method=S256");
    buf_reset(&url);
    oauth2_authorize_url(oauth2_server_find(SLICE("Slack")), SLICE_EMPTY, &client,
                         SLICE("chat:write  commands"), SLICE("s"), SLICE_EMPTY, SLICE("c"), &url);
    ok(strstr(buf_text(&url), "scope=chat%3Awrite%2Ccommands&"), "commas: %s", buf_text(&url));
    ok(!strstr(buf_text(&url), "code_challenge"), "no PKCE where it is not known");
    buf_reset(&url);
    oauth2_authorize_url(oauth2_server_find(SLICE("google")), SLICE_EMPTY, &client, SLICE_EMPTY,
                         SLICE("s"), SLICE_EMPTY, SLICE("c"), &url);
    ok(strstr(buf_text(&url), "scope=openid%20email%20profile") &&
           strstr(buf_text(&url), "&access_type=offline&"),
       "usual scopes and extras: %s", buf_text(&url));
    buf_fini(&url);
    buf_init(&url, 4096);
    oauth2_authorize_url(oauth2_server_find(SLICE("google")), SLICE_EMPTY, &client, SLICE_EMPTY,
                         SLICE("s"), SLICE("n"), SLICE("c"), &url);
    ok(strstr(buf_text(&url), "&state=s&nonce=n&") != NULL, "a nonce: %s", buf_text(&url));
    buf_fini(&url);
    ok(!oauth2_server_find(SLICE("nobody")), "an unknown one");
}

static void test_requests(void)
{
    struct oauth2_request request;
    oauth2_code_request(oauth2_server_find(SLICE("github")), SLICE_EMPTY, &client, SLICE("c+d"),
                        SLICE("ver"), &arena, &request);
    same(request.url, "https://github.com/login/oauth/access_token", "GitHub's token endpoint");
    same(
        request.body,
        "grant_type=authorization_code&code=c%2Bd&redirect_uri=http%3A%2F%2F127.0.0.1%3A8081%2Fauth"
        "%2Fx%2Fcallback&code_verifier=ver&client_id=id%261&client_secret=s%3A3",
        "the form");
    oauth2_refresh_request(oauth2_server_find(SLICE("discord")), SLICE_EMPTY, &client, SLICE("r"),
                           &arena, &request);
    same(request.body, "grant_type=refresh_token&refresh_token=r", "no client in the form");
    ok(memmem(request.headers.at, request.headers.bytes,
              "Authorization: Basic aWQlMjYxOnMlM0Ez\r\n", 39),
       "Basic, both parts form-encoded first");
    oauth2_refresh_request(oauth2_server_find(SLICE("gitlab")), SLICE("https://g"), &client,
                           SLICE("r"), &arena, &request);
    same(request.url, "https://g/oauth/token", "relative");
    ok(memmem(request.body.at, request.body.bytes, "&redirect_uri=", 14), "GitLab wants it again");
    oauth2_revoke_request(oauth2_server_find(SLICE("github")), SLICE_EMPTY, &client, SLICE("t\"k"),
                          &arena, &request);
    is_int(request.method, HTTP_DELETE);
    same(request.url, "https://api.github.com/applications/id%261/grant", "the client in the path");
    same(request.body, "{\"access_token\":\"t\\\"k\"}", "JSON");
}

/* What a server quotes of the request. */
static void test_scrub(void)
{
    static const struct oauth2_client planted = {.id = SLICE("id"), .secret = SLICE("planted+a/b")};
    struct oauth2_request request;
    oauth2_refresh_request(oauth2_server_find(SLICE("discord")), SLICE_EMPTY, &planted, SLICE("r"),
                           &arena, &request);
    char text[400];
    snprintf(text, sizeof text, "planted+a/b %.*s client_secret=planted%%2Ba%%2Fb id",
             (int)request.headers.bytes, (const char *)request.headers.at);
    char *pair = strstr(text, "aWQ6");
    ok(pair != NULL, "the pair is there");
    oauth2_scrub(&planted, text, strlen(text));
    ok(!strstr(text, "planted"), "no secret, plain or form-encoded");
    ok(!strstr(text, "aWQ6"), "nor in a Basic header");
    ok(strstr(text, " client_secret=*") && strstr(text, " id"), "and the rest");
    char kept[] = "planted+a/b";
    oauth2_scrub(&(struct oauth2_client){.id = SLICE("id")}, kept, sizeof kept - 1);
    is_str(kept, "planted+a/b", "a client without a secret");
}

static enum bk_err take(const char *answer, struct json_tree *tree, struct oauth2_tokens *tokens,
                        char why[OAUTH2_WHY_BYTES])
{
    struct http_head head;
    size_t bytes = strlen(answer);
    if (http_parse_response((const uint8_t *)answer, bytes, &head) != HTTP_PARSE_DONE) {
        bail_out("the test's own answer");
    }
    json_tree_init(tree);
    *tokens = (struct oauth2_tokens){0};
    return oauth2_take_tokens(&head, slice_of(answer + head.head_bytes, bytes - head.head_bytes),
                              tree, tokens, why);
}

static void test_answers(void)
{
    static const struct {
        const char *answer;
        enum bk_err err;
        const char *access;
        const char *refresh;
        int64_t expires_in;
    } rows[] = {
        {"HTTP/1.1 200 "
         "x\r\n\r\n{\"access_token\":\"a\",\"token_type\":\"bearer\",\"refresh_token\":\"r\","
         "\"expires_in\":7200,\"scope\":\"api\"}",
         BK_OK, "a", "r", 7200},
        {"HTTP/1.1 200 x\r\n\r\naccess_token=a%2Bb&scope=repo+user&token_type=bearer", BK_OK, "a+b",
         "", 0},
        {"HTTP/1.1 200 x\r\n\r\n{\"access_token\":\"a\",\"expires_in\":\"3600\"}", BK_OK, "a", "",
         3600},
        {"HTTP/1.1 200 "
         "x\r\n\r\n{\"error\":\"bad_verification_code\",\"error_description\":\"expired\"}",
         BK_UNAUTHENTICATED, "", "", 0},
        {"HTTP/1.1 400 x\r\n\r\n{\"error\":\"invalid_grant\"}", BK_UNAUTHENTICATED, "", "", 0},
        {"HTTP/1.1 401 x\r\n\r\n{\"error\":\"invalid_client\"}", BK_FORBIDDEN, "", "", 0},
        {"HTTP/1.1 200 x\r\n\r\n{\"ok\":false,\"error\":\"invalid_code\"}", BK_UNAUTHENTICATED, "",
         "", 0},
        {"HTTP/1.1 200 "
         "x\r\n\r\n{\"ok\":true,\"access_token\":\"xoxb\",\"authed_user\":{\"id\":\"U1\"},"
         "\"team\":{\"id\":\"T1\",\"name\":\"acme\"}}",
         BK_OK, "xoxb", "", 0},
        /* Slack, a user token that rotates: all of it is the user's */
        {"HTTP/1.1 200 x\r\n\r\n{\"ok\":true,\"authed_user\":{\"id\":\"U1\",\"access_token\":"
         "\"xoxe.xoxp\",\"refresh_token\":\"xoxe-1\",\"expires_in\":43200,\"scope\":\"chat:write\"}"
         "}",
         BK_OK, "xoxe.xoxp", "xoxe-1", 43200},
        {"HTTP/1.1 200 x\r\n\r\n{\"ok\":false,\"error\":\"invalid_refresh_token\"}",
         BK_UNAUTHENTICATED, "", "", 0},
        {"HTTP/1.1 200 x\r\n\r\n{\"ok\":false,\"error\":\"bad_client_secret\"}", BK_FORBIDDEN, "",
         "", 0},
        /* GitHub, as a form and as JSON, whatever the status; numbers as texts */
        {"HTTP/1.1 200 x\r\n\r\nerror=bad_refresh_token&error_description=The+refresh+token+is+bad",
         BK_UNAUTHENTICATED, "", "", 0},
        {"HTTP/1.1 200 x\r\n\r\n{\"error\":\"incorrect_client_credentials\"}", BK_FORBIDDEN, "", "",
         0},
        {"HTTP/1.1 200 x\r\n\r\naccess_token=ghu_1&expires_in=28800&refresh_token=ghr_1&"
         "refresh_token_expires_in=15897600&scope=&token_type=bearer",
         BK_OK, "ghu_1", "ghr_1", 28800},
        /* Atlassian and Gitea */
        {"HTTP/1.1 403 x\r\n\r\n{\"error\":\"unauthorized_client\",\"error_description\":"
         "\"refresh_token is invalid\"}",
         BK_UNAUTHENTICATED, "", "", 0},
        {"HTTP/1.1 400 x\r\n\r\n{\"error\":\"unauthorized_client\"}", BK_FORBIDDEN, "", "", 0},
        {"HTTP/1.1 400 x\r\n\r\n{\"error\":\"unauthorized_client\",\"error_description\":\"token "
         "was "
         "already used\"}",
         BK_UNAUTHENTICATED, "", "", 0},
        {"HTTP/1.1 400 x\r\n\r\n{\"error\":\"unauthorized_client\",\"error_description\":\"invalid "
         "client secret\"}",
         BK_FORBIDDEN, "", "", 0},
        /* forms that are none, or are malformed in a field */
        {"HTTP/1.1 200 x\r\n\r\naccess_token=a%2&token_type=bearer", BK_PROTOCOL, "", "", 0},
        {"HTTP/1.1 200 x\r\n\r\naccess_token=a&note=100%", BK_OK, "a", "", 0},
        {"HTTP/1.1 400 x\r\n\r\nerror=invalid_grant&error_description=100%", BK_UNAUTHENTICATED, "",
         "", 0},
        {"HTTP/1.1 200 x\r\n\r\nno form", BK_PROTOCOL, "", "", 0},
        {"HTTP/1.1 200 x\r\n\r\n=a&b", BK_PROTOCOL, "", "", 0},
        {"HTTP/1.1 503 x\r\n\r\n<html>", BK_BUSY, "", "", 0},
        {"HTTP/1.1 429 x\r\n\r\n{}", BK_BUSY, "", "", 0},
        {"HTTP/1.1 200 x\r\n\r\n<html>", BK_PROTOCOL, "", "", 0},
        {"HTTP/1.1 200 x\r\n\r\n{\"token_type\":\"bearer\"}", BK_PROTOCOL, "", "", 0},
        {"HTTP/1.1 200 x\r\n\r\n", BK_PROTOCOL, "", "", 0},
        {"HTTP/1.1 200 x\r\n\r\n[1]", BK_PROTOCOL, "", "", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct json_tree tree;
        struct oauth2_tokens tokens;
        char why[OAUTH2_WHY_BYTES];
        is_int(take(rows[i].answer, &tree, &tokens, why), rows[i].err, "%s", rows[i].answer + 9);
        if (rows[i].err == BK_OK) {
            same(tokens.access_token, rows[i].access, "access token");
            same(tokens.refresh_token, rows[i].refresh, "refresh token");
            is_int(tokens.expires_in, rows[i].expires_in, "expiry");
        } else {
            ok(why[0] != '\0', "why: %s", why);
            bool about_client = strstr(rows[i].answer, "invalid_client") != NULL;
            ok(about_client == (strstr(why, "; see clientId, clientSecret, clientAuth") != NULL),
               "and where to look, if it is about the client");
        }
        json_tree_fini(&tree);
    }
}

static void test_revoked(void)
{
    static const struct {
        const char *answer;
        enum bk_err err;
    } rows[] = {
        {"HTTP/1.1 200 x\r\n\r\n", BK_OK},
        {"HTTP/1.1 204 x\r\n\r\n", BK_OK},
        {"HTTP/1.1 200 x\r\n\r\n{\"ok\":true,\"revoked\":true}", BK_OK},
        {"HTTP/1.1 200 x\r\n\r\n{\"ok\":false,\"error\":\"token_revoked\"}", BK_OK},
        {"HTTP/1.1 200 x\r\n\r\n{\"ok\":false,\"error\":\"ratelimited\"}", BK_BUSY},
        {"HTTP/1.1 200 x\r\n\r\n{\"ok\":false,\"error\":\"missing_scope\"}", BK_FORBIDDEN},
        {"HTTP/1.1 400 x\r\n\r\n{\"error\":\"invalid_token\"}", BK_OK},
        {"HTTP/1.1 404 x\r\n\r\n{\"message\":\"Not Found\"}", BK_OK},
        {"HTTP/1.1 401 x\r\n\r\n{\"error\":\"invalid_client\"}", BK_FORBIDDEN},
        {"HTTP/1.1 422 x\r\n\r\n{}", BK_FORBIDDEN},
        {"HTTP/1.1 429 x\r\n\r\n", BK_BUSY},
        {"HTTP/1.1 503 x\r\n\r\n<html>", BK_BUSY},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_head head;
        char why[OAUTH2_WHY_BYTES];
        size_t bytes = strlen(rows[i].answer);
        if (http_parse_response((const uint8_t *)rows[i].answer, bytes, &head) != HTTP_PARSE_DONE) {
            bail_out("the test's own answer");
        }
        struct slice body = slice_of(rows[i].answer + head.head_bytes, bytes - head.head_bytes);
        is_int(oauth2_take_revoked(&head, body, why), rows[i].err, "%s", rows[i].answer + 9);
    }
}

static void test_identity(void)
{
    struct json_tree tree;
    struct json_problem problem;
    struct oauth2_identity identity;
    json_tree_init(&tree);
    is_int(json_parse(SLICE("{\"id\":583231,\"login\":\"octo\",\"name\":null,\"email\":\"o@x\"}"),
                      &tree, &problem),
           BK_OK);
    is_int(
        oauth2_take_identity(oauth2_server_find(SLICE("github")), tree.roots[0], &arena, &identity),
        BK_OK);
    same(identity.uid, "583231", "uid");
    same(identity.full_name, "octo", "a name that is null falls back");
    same(identity.email, "o@x", "email");
    is_int(
        oauth2_take_identity(oauth2_server_find(SLICE("google")), tree.roots[0], &arena, &identity),
        BK_PROTOCOL, "no uid");
    json_tree_fini(&tree);
}

int main(void)
{
    arena_init(&arena, 1U << 20);
    test_challenge();
    test_authorize();
    test_requests();
    test_scrub();
    test_answers();
    test_revoked();
    test_identity();
    arena_fini(&arena);
    return done_testing();
}
