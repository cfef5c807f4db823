/* Description: the admin API without sockets: who may come in, routes, queries, bodies, objects,
 * tokens, and that the OpenAPI document is true. */
#include "api/api.h"
#include "base/json.h"
#include "base/time.h"
#include "hub/hub.h"
#include "hub/metrics.h"
#include "hub/resources/token.h"
#include "directory.h"

#include <stdio.h>
#include <unistd.h>
#include <yyjson.h>

static char directory[] = "/tmp/becket-api-XXXXXX";
static struct api api;
static char admin[TOKEN_TEXT_BYTES], writer[TOKEN_TEXT_BYTES], reader[TOKEN_TEXT_BYTES];
static int64_t wall_ns = 1700000000LL * 1000000000;
static uint64_t now_ns = 1000000000;

struct ask {
    enum http_method method;
    const char *target, *token, *type, *body, *host, *origin, *site, *if_match, *if_none_match,
        *coding, *cookie;
    uint8_t remote;
};

/* The answer of the last call; text() is its body. */
static struct api_response answer;

static const char *text(void)
{
    return buf_text(&answer.body);
}

static unsigned ask_for(const struct ask *ask)
{
    char authorization[100] = "";
    if (ask->token != NULL) {
        snprintf(authorization, sizeof authorization, "Bearer %s", ask->token);
    }
    struct api_request request = {.method = ask->method,
                                  .target = slice_str(ask->target),
                                  .host = slice_str(ask->host ? ask->host : "127.0.0.1:8081"),
                                  .authorization = slice_str(authorization),
                                  .if_match = slice_str(ask->if_match),
                                  .if_none_match = slice_str(ask->if_none_match),
                                  .content_type = slice_str(ask->type),
                                  .content_encoding = slice_str(ask->coding),
                                  .cookie = slice_str(ask->cookie),
                                  .origin = slice_str(ask->origin),
                                  .sec_fetch_site = slice_str(ask->site),
                                  .body = slice_str(ask->body),
                                  .remote = {.family = 4, .at = {10, 0, 0, ask->remote}},
                                  .wall_ns = wall_ns,
                                  .now_ns = now_ns};
    api_response_fini(&answer);
    api_response_init(&answer);
    while (api_handle(&api, &request, &answer) == API_AGAIN) {
    }
    return answer.status;
}
#define ASK(method_, target_, ...)                                                                 \
    ask_for(&(struct ask){.method = (method_), .target = (target_), ##__VA_ARGS__})

static const char *header(const char *name)
{
    for (unsigned i = 0; i < answer.header_count; i++) {
        if (strcmp(answer.headers[i].name, name) == 0) {
            return answer.headers[i].value;
        }
    }
    return NULL;
}

static bool has(const char *part)
{
    bool found = strstr(text(), part) != NULL;
    if (!found) {
        diag("%s is not in %.500s", part, text());
    }
    return found;
}

static void start(void)
{
    char why[HUB_WHY_BYTES], path[200];
    struct hub *hub;
    struct token_info info;
    if (mkdtemp(directory) == NULL) {
        bail_out("no directory for tests");
    }
    struct hub_config config = {.data_directory = directory,
                                .public_url = "https://hooks.example.com:8443/x",
                                .now_ns = wall_ns};
    if (hub_open(&config, &hub, why) != BK_OK) {
        bail_out("hub_open: %s", why);
    }
    api.hub = hub;
    api.public_url = config.public_url;
    snprintf(path, sizeof path, "%s/admin.token", directory);
    FILE *file = fopen(path, "r");
    if (file == NULL || fgets(admin, sizeof admin, file) == NULL) {
        bail_out("no admin token");
    }
    fclose(file);
    admin[strcspn(admin, "\n")] = '\0';
    const char *missing;
    struct token_request request = {.name = SLICE("w"), .role = TOKEN_WRITE};
    is_int(token_create(hub, &request, wall_ns, &info, writer, &missing), BK_OK);
    request = (struct token_request){.name = SLICE("r"), .role = TOKEN_READ};
    is_int(token_create(hub, &request, wall_ns, &info, reader, &missing), BK_OK);
}

static void test_host(void)
{
    static const char *const good[] = {
        "127.0.0.1",     "127.0.0.1:8081", "localhost",         "LocalHost:9",
        "[::1]:8081",    "10.1.2.3:80",    "hooks.example.com", "hooks.example.com:8443",
        "a.localhost:1", "localhost."};
    static const char *const bad[] = {"evil.example",
                                      "",
                                      "hooks.example.com.evil.example",
                                      "1.2.3.4.evil",
                                      "localhost.evil",
                                      "xlocalhost",
                                      "1.2.3",
                                      "127.0.0.1.",
                                      "[evil]:1",
                                      "..."};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        is_uint(ASK(HTTP_GET, "/health/live", .host = good[i]), 200, "host %s", good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        unsigned status = ASK(HTTP_GET, "/health/live", .host = bad[i]);
        ok(status == 421 || (status == 200 && strcmp(bad[i], "127.0.0.1.") == 0), "host \"%s\" %u",
           bad[i], status);
    }
    is_uint(ASK(HTTP_GET, "/health/live", .host = "becket.internal"), 421);
    is_uint(ASK(HTTP_GET, "/login", .host = "becket.internal"), 421, "nor the pages");
    is_uint(ASK(HTTP_GET, "/login"), 200);
    const char *hosts[] = {"becket.internal"};
    api.hosts = hosts;
    api.host_count = 1;
    is_uint(ASK(HTTP_GET, "/health/live", .host = "becket.internal:8081"), 200,
            "a configured host");
    api.host_count = 0;
}

static void test_admission(void)
{
    is_uint(ASK(HTTP_GET, "/api/v1/secrets"), 401);
    ok(has("\"code\":\"unauthenticated\""));
    is_str(header("WWW-Authenticate"), "Bearer realm=\"becket\"");
    is_str(header("Cache-Control"), "no-store");
    is_str(header("X-Content-Type-Options"), "nosniff");
    is_uint(ASK(HTTP_GET, "/api/v1/secrets", .token = "nonsense"), 401);
    is_uint(ASK(HTTP_GET, "/api/v1/secrets", .token = reader), 200);
    is_uint(
        ASK(HTTP_POST, "/api/v1/apply", .token = reader, .type = "application/json", .body = "{}"),
        403);
    ok(has("\"code\":\"forbidden\"") && has("role write"));
    is_uint(ASK(HTTP_GET, "/api/v1/tokens", .token = writer), 403, "tokens are the admin's");
    is_uint(ASK(HTTP_GET, "/api/v1/tokens", .token = admin), 200);
    is_uint(ASK(HTTP_DELETE, "/api/v1/secrets/x", .token = admin, .origin = "https://evil.example"),
            403);
    is_uint(ASK(HTTP_DELETE, "/api/v1/secrets/x", .token = admin, .site = "cross-site"), 403);
    is_uint(
        ASK(HTTP_DELETE, "/api/v1/secrets/x", .token = admin, .origin = "http://127.0.0.1:8081"),
        404, "our own page may");
    is_uint(ASK(HTTP_GET, "/api/v1/secrets", .token = admin, .origin = "https://evil.example"), 200,
            "reading changes nothing");
    unsigned statuses[3] = {0};
    for (unsigned i = 0; i < API_GUARD_FAILURES + 10; i++) {
        unsigned status = ASK(HTTP_GET, "/api/v1/secrets", .token = "guess", .remote = 9);
        statuses[status == 401 ? 0 : status == 429 ? 1 : 2]++;
    }
    is_uint(statuses[0], API_GUARD_FAILURES, "guesses");
    is_uint(statuses[1], 10, "then wait");
    is_uint(ASK(HTTP_GET, "/api/v1/secrets", .token = "guess", .remote = 10), 401,
            "others need not");
    is_uint(ASK(HTTP_GET, "/api/v1/secrets", .token = reader, .remote = 9), 200,
            "nor does a good token");
    is_uint(ASK(HTTP_GET, "/api/v1/secrets", .token = "guess", .remote = 9), 401,
            "which clears the count");
    for (unsigned i = 0; i < API_GUARD_FAILURES; i++) {
        (void)ASK(HTTP_GET, "/api/v1/secrets", .token = "guess", .remote = 11);
    }
    now_ns += (API_GUARD_WAIT_S - 1) * (uint64_t)NS_PER_SECOND;
    is_uint(ASK(HTTP_GET, "/api/v1/secrets", .token = "guess", .remote = 11), 429, "it is waited,");
    now_ns += 2 * (uint64_t)NS_PER_SECOND;
    is_uint(ASK(HTTP_GET, "/api/v1/secrets", .token = "guess", .remote = 11), 401, "and over");
}

static void test_routes(void)
{
    is_uint(ASK(HTTP_GET, "/api/v1/nothing", .token = admin), 404);
    is_uint(ASK(HTTP_GET, "/api/v1/stages", .token = admin), 404);
    ok(has("stages are not part of this version"));
    is_uint(ASK(HTTP_GET, "/api/v1/deliveries/x", .token = admin), 404);
    ok(has("no such path"), "deliveries are, this is not");
    is_uint(ASK(HTTP_GET, "/api/v1/secrets/x/y", .token = admin), 404);
    ok(has("no such path"), "nor below what is there");
    is_uint(ASK(HTTP_PATCH, "/api/v1/secrets", .token = admin), 405);
    is_str(header("Allow"), "OPTIONS, GET, HEAD, POST");
    is_uint(ASK(HTTP_OPTIONS, "/api/v1/secrets/x"), 204);
    is_str(header("Allow"), "OPTIONS, GET, HEAD, PUT, DELETE");
    is_uint(ASK(HTTP_HEAD, "/health/live"), 200);
    ok(answer.body.bytes == 0 && answer.body_bytes == 15, "HEAD has the length only");
    is_uint(ASK(HTTP_GET, "/health/ready"), 200);
    is_uint(ASK(HTTP_GET, "/metrics"), 200);
    is_uint(ASK(HTTP_GET, "/api/v1/secrets/", .token = admin), 404);
    is_uint(ASK(HTTP_GET, "/api/v1/secrets/a/b", .token = admin), 404);
    is_uint(ASK(HTTP_GET, "/api/v1/secrets/%zz", .token = admin), 400);
    is_uint(ASK(HTTP_GET, "/api/v1/secrets/a%00b", .token = admin), 400);
    is_uint(ASK(HTTP_GET, "/api/v1/events", .token = reader), 503, "no journal here");
}

static void test_queries(void)
{
    static const char *const bad[] = {"limit=0",         "limit=1001",        "limit=x",
                                      "limit=1&limit=2", "limit=99999999999", "nonsense",
                                      "foo=1",           "cursor=%",          "cursor=%zz"};
    char target[100];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(target, sizeof target, "/api/v1/secrets?%s", bad[i]);
        is_uint(ASK(HTTP_GET, target, .token = reader), 400, "?%s", bad[i]);
        ok(has("\"code\":\"invalid\""));
    }
    is_uint(ASK(HTTP_GET, "/api/v1/secrets?foo=1", .token = reader), 400);
    ok(has("\"details\":[{\"field\":\"foo\",\"message\":\"unknown query parameter foo\"}]"));
    is_uint(ASK(HTTP_GET, "/api/v1/secrets?limit=1000&&cursor=&canvas=default", .token = reader),
            200);
    is_uint(ASK(HTTP_GET, "/api/v1/events?state=lost", .token = reader), 400);
    ok(has("accepted|rejected|duplicate"));
    is_uint(ASK(HTTP_GET, "/api/v1/events?since=yesterday", .token = reader), 400);
    is_uint(ASK(HTTP_GET, "/api/v1/events?since=2026-01-02T03:04:05+02:00", .token = reader), 503,
            "an unescaped + of an offset");
    is_uint(ASK(HTTP_POST, "/api/v1/apply?dryRun=yes", .token = writer, .type = "application/json",
                .body = "{}"),
            400);
}

static void test_bodies(void)
{
    static const char *const refused[] = {"application/x-www-form-urlencoded",
                                          "text/plain",
                                          "multipart/form-data",
                                          "",
                                          "application/jsonx",
                                          "text/html"};
    static const char *const taken[] = {"application/json", "application/json; charset=utf-8",
                                        "Application/YAML", "text/yaml", "application/x-yaml"};
    const char *document = "{\"kind\":\"Canvas\",\"metadata\":{\"name\":\"c\"}}";
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        is_uint(
            ASK(HTTP_POST, "/api/v1/apply", .token = writer, .type = refused[i], .body = document),
            415, "\"%s\"", refused[i]);
    }
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        is_uint(
            ASK(HTTP_POST, "/api/v1/apply", .token = writer, .type = taken[i], .body = document),
            200, "%s", taken[i]);
    }
    is_uint(
        ASK(HTTP_POST, "/api/v1/apply", .token = writer, .type = "application/json", .body = ""),
        400);
    is_uint(
        ASK(HTTP_GET, "/api/v1/secrets", .token = writer, .type = "application/json", .body = "{}"),
        400, "a body where there is none");
    is_uint(ASK(HTTP_POST, "/api/v1/tokens", .token = admin, .type = "application/yaml",
                .body = "name: x"),
            415, "tokens are JSON");
}

static const char secret[] =
    "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"data\":{\"k\":\"topsecret\"}}}";

/* RFC 9110 13.1.1, 13.1.2: lists, in which foreign tags are none of ours. */
static void conditions(const char *revision)
{
    static const char *const malformed[] = {"soon",        "",         ",", "\"1",
                                            "\"1\" \"2\"", "*, \"1\"", "W/"};
    char lists[][128] = {"", "", "", ""};
    snprintf(lists[0], sizeof lists[0], "\"999\", %s", revision);
    snprintf(lists[1], sizeof lists[1], "%s ,\t\"a,b\"", revision);
    snprintf(lists[2], sizeof lists[2], " ,,W/%s,", revision);
    snprintf(lists[3], sizeof lists[3], "*");
    for (size_t i = 0; i < sizeof malformed / sizeof malformed[0]; i++) {
        is_uint(ASK(HTTP_DELETE, "/api/v1/secrets/s", .token = writer, .if_match = malformed[i]),
                400, "If-Match: %s", malformed[i]);
        is_uint(ASK(HTTP_PUT, "/api/v1/secrets/s", .token = writer, .type = "application/json",
                    .body = secret, .if_none_match = malformed[i]),
                400, "If-None-Match: %s", malformed[i]);
    }
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        is_uint(ASK(HTTP_PUT, "/api/v1/secrets/s", .token = writer, .type = "application/json",
                    .body = secret, .if_match = lists[i]),
                200, "If-Match: %s", lists[i]);
        is_uint(ASK(HTTP_PUT, "/api/v1/secrets/s", .token = writer, .type = "application/json",
                    .body = secret, .if_none_match = lists[i]),
                412, "If-None-Match: %s", lists[i]);
        is_uint(ASK(HTTP_DELETE, "/api/v1/secrets/s", .token = writer, .if_none_match = lists[i]),
                412);
    }
    is_uint(ASK(HTTP_PUT, "/api/v1/secrets/s", .token = writer, .type = "application/json",
                .body = secret, .if_match = "\"998\", \"999\", \"x\""),
            412);
    is_uint(ASK(HTTP_PUT, "/api/v1/secrets/s", .token = writer, .type = "application/json",
                .body = secret, .if_none_match = "\"998\", \"x\""),
            200);
}

static void test_objects(void)
{
    char revision[100];
    is_uint(ASK(HTTP_POST, "/api/v1/secrets", .token = writer, .type = "application/json",
                .body = secret),
            201);
    ok(has("\"kind\":\"Secret\"") && has("\"***\"") && strstr(text(), "topsecret") == NULL,
       "values never leave");
    is_str(header("Location"), "/api/v1/secrets/s");
    snprintf(revision, sizeof revision, "%s", header("ETag") ? header("ETag") : "");
    is_uint(ASK(HTTP_POST, "/api/v1/secrets", .token = writer, .type = "application/json",
                .body = secret),
            409);
    ok(has("\"code\":\"conflict\""));
    is_uint(ASK(HTTP_GET, "/api/v1/secrets/s", .token = reader), 200);
    is_str(header("ETag"), revision);
    is_uint(ASK(HTTP_PUT, "/api/v1/secrets/s", .token = writer, .type = "application/json",
                .body = secret, .coding = "gzip"),
            415, "what is packed is not read");
    is_str(header("Accept-Encoding"), "identity");
    is_uint(ASK(HTTP_PUT, "/api/v1/secrets/s", .token = writer, .type = "application/json",
                .body = secret, .if_match = "\"999\"", .coding = "Identity"),
            412);
    ok(has("\"code\":\"conflict\""));
    is_uint(ASK(HTTP_PUT, "/api/v1/secrets/s", .token = writer, .type = "application/json",
                .body = secret, .if_match = "soon"),
            400);
    is_uint(ASK(HTTP_PUT, "/api/v1/secrets/s", .token = writer, .type = "application/json",
                .body = secret, .if_match = ""),
            400, "a condition that says nothing is none that holds");
    conditions(revision);
    is_uint(ASK(HTTP_PUT, "/api/v1/secrets/s", .token = writer, .type = "application/json",
                .body = "{\"spec\":{\"data\":{\"k\":\"another\"}}}", .if_match = revision),
            200, "the name comes from the path");
    ok(header("ETag") != NULL && strcmp(header("ETag"), revision) != 0, "a new revision");
    is_uint(ASK(HTTP_PUT, "/api/v1/secrets/absent", .token = writer, .type = "application/json",
                .body = "{\"spec\":{\"data\":{\"k\":\"v\"}}}"),
            404);
    is_uint(ASK(HTTP_POST, "/api/v1/event-sources", .token = writer, .type = "application/yaml",
                .body = "metadata: {name: plain}\nspec: {type: generic, path: plain}\n"),
            201, "YAML, kind from the path");
    ok(has("\"key\":\""), "a generated key is shown once");
    is_uint(ASK(HTTP_GET, "/api/v1/event-sources/plain", .token = admin), 200);
    ok(strstr(text(), "\"key\"") == NULL, "and only once");
    is_uint(ASK(HTTP_POST, "/api/v1/event-sources", .token = writer, .type = "application/yaml",
                .body = "metadata: {name: x}\nspec: {tipe: generic, path: 7}\n"),
            400);
    ok(has("\"line\":2") && has("\"field\":\"spec.tipe\""), "mistakes have places");
    is_uint(ASK(HTTP_GET, "/api/v1/secrets/absent", .token = reader), 404);
    is_uint(ASK(HTTP_GET, "/api/v1/secrets?canvas=absent", .token = reader), 404);
    is_uint(ASK(HTTP_DELETE, "/api/v1/secrets/s", .token = writer, .if_match = "\"999\""), 412);
    is_uint(ASK(HTTP_DELETE, "/api/v1/secrets/s", .token = writer), 204);
    ok(answer.body.bytes == 0 && answer.content_type == NULL);
    is_uint(ASK(HTTP_DELETE, "/api/v1/secrets/s", .token = writer), 404);
}

static void test_apply(void)
{
    const char *both =
        "kind: Secret\nmetadata: {name: a1}\nspec: {data: {k: v}}\n---\n"
        "kind: EventSource\nmetadata: {name: a2}\nspec: {type: github, path: a2, verification: "
        "{secrets: [{valueFrom: {secret: {name: a1, key: k}}}]}}\n";
    is_uint(ASK(HTTP_POST, "/api/v1/apply?dryRun=true", .token = writer, .type = "text/yaml",
                .body = both),
            200);
    ok(has("\"action\":\"created\""));
    is_uint(ASK(HTTP_GET, "/api/v1/secrets/a1", .token = reader), 404, "a dry run changes nothing");
    is_uint(ASK(HTTP_POST, "/api/v1/apply", .token = writer, .type = "text/yaml", .body = both),
            200);
    is_uint(ASK(HTTP_POST, "/api/v1/apply", .token = writer, .type = "text/yaml", .body = both),
            200);
    ok(has("\"action\":\"unchanged\"") && strstr(text(), "created") == NULL, "again: unchanged");
    is_uint(ASK(HTTP_DELETE, "/api/v1/secrets/a1", .token = writer), 409, "still in use");
    is_uint(ASK(HTTP_POST, "/api/v1/apply", .token = writer, .type = "text/yaml", .body = "a: [\n"),
            400);
    ok(has("\"line\":"), "YAML errors have places");
}

static void test_tokens(void)
{
    is_uint(ASK(HTTP_POST, "/api/v1/tokens", .token = admin, .type = "application/json",
                .body = "{\"name\":\"ci\",\"role\":\"read\"}"),
            201);
    ok(has("\"token\":\"bkt_") && has("\"role\":\"read\""));
    is_uint(ASK(HTTP_POST, "/api/v1/tokens", .token = admin, .type = "application/json",
                .body = "{\"name\":\"ci\",\"role\":\"read\"}"),
            409);
    static const char *const bad[] = {"{\"name\":\"Ci\",\"role\":\"read\"}",
                                      "{\"name\":\"x\",\"role\":\"root\"}",
                                      "{\"name\":\"x\"}",
                                      "[]",
                                      "{\"name\":1,\"role\":\"read\"}",
                                      "{",
                                      "{\"name\":\"x\",\"role\":\"read\",\"more\":1}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        is_uint(ASK(HTTP_POST, "/api/v1/tokens", .token = admin, .type = "application/json",
                    .body = bad[i]),
                400, "%s", bad[i]);
    }
    unsigned pages = 0, items = 0;
    char target[200] = "/api/v1/tokens?limit=1";
    for (bool more = true; more && pages < 10; pages++) {
        is_uint(ASK(HTTP_GET, target, .token = admin), 200);
        ok(strstr(text(), "bkt_") == NULL, "a list shows no token");
        items += strstr(text(), "\"name\"") != NULL;
        const char *next = strstr(text(), "\"next\":\"");
        more = next != NULL;
        if (more) {
            snprintf(target, sizeof target, "/api/v1/tokens?limit=1&cursor=%.*s",
                     (int)strcspn(next + 8, "\""), next + 8);
        }
    }
    is_uint(items, 4, "page by page: admin, ci, r, w");
    is_uint(pages, 4);
    is_uint(ASK(HTTP_DELETE, "/api/v1/tokens/ci", .token = admin), 204);
    is_uint(ASK(HTTP_GET, "/api/v1/tokens/ci", .token = admin), 404);
    is_uint(ASK(HTTP_DELETE, "/api/v1/tokens/admin", .token = admin), 409,
            "the last admin token stays");
}

/* Every path and method of the document is answered by something else than 404 or 405. */
/* ---- sessions of the pages */

static char cookie[200];

static void log_in(void)
{
    char form[200];
    snprintf(form, sizeof form, "token=%s", admin);
    is_uint(ASK(HTTP_POST, "/login", .type = "application/x-www-form-urlencoded", .body = form),
            302, "logged in");
    const char *set = header("Set-Cookie");
    snprintf(cookie, sizeof cookie, "%.*s", set ? (int)strcspn(set, ";") : 0, set ? set : "");
}

static unsigned settings(const char *with)
{
    return ASK(HTTP_GET, "/settings", .cookie = with);
}

static void test_sessions(void)
{
    const int64_t minute_ns = 60 * NS_PER_SECOND;
    char first[sizeof cookie];
    is_uint(settings(""), 302, "to the login");
    log_in();
    is_uint(settings(cookie), 200);
    wall_ns += 119 * minute_ns;
    is_uint(settings(cookie), 200, "after two hours, nearly, without a request");
    wall_ns += 121 * minute_ns;
    is_uint(settings(cookie), 302, "not after more");
    wall_ns -= 121 * minute_ns;
    is_uint(settings(cookie), 302, "and it stays over");
    log_in();
    for (unsigned hours = 0; hours < 11; hours++) {
        wall_ns += 60 * minute_ns;
        is_uint(settings(cookie), 200, "in use after %u hours", hours + 1);
    }
    wall_ns += 61 * minute_ns;
    is_uint(settings(cookie), 302, "twelve are the end of it");
    log_in();
    snprintf(first, sizeof first, "%s", cookie);
    char form[200];
    snprintf(form, sizeof form, "token=%s", admin);
    is_uint(ASK(HTTP_POST, "/login", .type = "application/x-www-form-urlencoded", .body = form,
                .cookie = first),
            302, "logged in again");
    is_uint(settings(first), 302, "the session of before is over");
    log_in();
    wall_ns += 100 * minute_ns;
    is_uint(settings(cookie), 200);
    api_fini(&api); /* a restart */
    wall_ns += 100 * minute_ns;
    is_uint(settings(cookie), 200, "over a restart two hours count from when it was last used");
    wall_ns += 121 * minute_ns;
    is_uint(settings(cookie), 302);
}

static void test_openapi(void)
{
    struct json_tree tree;
    struct json_problem problem;
    json_tree_init(&tree);
    is_uint(ASK(HTTP_GET, "/api/v1/openapi.json"), 200);
    if (!ok(json_parse(answer.shared, &tree, &problem) == BK_OK, "is JSON")) {
        return;
    }
    yyjson_mut_val *paths = yyjson_mut_obj_get(tree.roots[0], "paths");
    size_t i, count, j, methods, wrong = 0, operations = 0, dangling = 0;
    yyjson_mut_val *path, *operations_of, *method, *operation;
    yyjson_mut_obj_foreach(paths, i, count, path, operations_of)
    {
        yyjson_mut_obj_foreach(operations_of, j, methods, method, operation)
        {
            struct slice name = json_text(method);
            enum http_method wanted = slice_equal(name, SLICE("get"))    ? HTTP_GET
                                      : slice_equal(name, SLICE("post")) ? HTTP_POST
                                      : slice_equal(name, SLICE("put"))  ? HTTP_PUT
                                                                         : HTTP_DELETE;
            char target[200];
            snprintf(target, sizeof target, "%s", yyjson_mut_get_str(path));
            unsigned status = ASK(wanted, target);
            bool open = yyjson_mut_obj_get(operation, "security") != NULL;
            wrong += open ? status != 200 : status != 401;
            operations++;
        }
    }
    ok(operations >= 25, "%zu operations", operations);
    is_uint(wrong, 0, "the document is true");
    is_uint(ASK(HTTP_GET, "/api/v1/openapi.json"), 200);
    yyjson_mut_val *schemas =
        yyjson_mut_obj_get(yyjson_mut_obj_get(tree.roots[0], "components"), "schemas");
    char *all = strndup((const char *)answer.shared.at, answer.shared.bytes);
    for (const char *at = all; (at = strstr(at, "#/components/schemas/")) != NULL; at++) {
        const char *name = at + strlen("#/components/schemas/");
        dangling += yyjson_mut_obj_getn(schemas, name, strcspn(name, "\"")) == NULL;
    }
    free(all);
    is_uint(dangling, 0, "every reference leads somewhere");
    json_tree_fini(&tree);
}

int main(void)
{
    api_response_init(&answer);
    start();
    test_host();
    test_admission();
    test_routes();
    test_queries();
    test_bodies();
    test_objects();
    test_apply();
    test_tokens();
    test_sessions();
    test_openapi();
    api_response_fini(&answer);
    api_fini(&api);
    hub_close(api.hub);
    test_directory_drop(directory);
    return done_testing();
}
