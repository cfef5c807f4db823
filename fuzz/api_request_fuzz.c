/* Requests to the admin API: what anybody who reaches the listener can send.
 *
 * Input: one byte method, one byte with bits for the token, then lines: target, Host, Content-Type,
 * If-Match, Origin; the rest is the body.
 *
 * Properties: every request gets a whole answer; refusals are JSON with one of the documented
 * codes; 2xx without a token only where a route is open; header values never break their line; a
 * HEAD has no body. */
#include "api/api.h"
#include "base/assert.h"
#include "base/json.h"
#include "hub/hub.h"
#include "hub/resources/token.h"
#include "journal/catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct api api;
static char tokens[3][TOKEN_TEXT_BYTES + 7]; /* read, write, admin, each behind "Bearer " */
static char directory[64] = "/dev/shm/becket-fuzz-XXXXXX";

static void clean(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    if (system(command) != 0) {
        perror(command);
    }
}

static void start(void)
{
    static const enum token_role roles[] = {TOKEN_READ, TOKEN_WRITE, TOKEN_ADMIN};
    static const char *const names[] = {"r", "w", "a"};
    char why[HUB_WHY_BYTES], journal[100];
    struct token_info info;
    struct journal_report report;
    if (access("/dev/shm", W_OK) != 0) {
        snprintf(directory, sizeof directory, "/tmp/becket-fuzz-XXXXXX");
    }
    bk_assert(mkdtemp(directory) != NULL);
    atexit(clean);
    struct hub_config config = {
        .data_directory = directory, .public_url = "http://hooks.example", .now_ns = 1};
    enum bk_err err = hub_open(&config, &api.hub, why);
    bk_assert(err == BK_OK);
    for (size_t i = 0; i < 3; i++) {
        memcpy(tokens[i], "Bearer ", 7);
        const char *missing;
        err = token_create(api.hub,
                           &(struct token_request){.name = slice_str(names[i]), .role = roles[i]},
                           1, &info, tokens[i] + 7, &missing);
        bk_assert(err == BK_OK);
    }
    snprintf(journal, sizeof journal, "%s/journal", directory);
    bk_assert(mkdir(journal, 0700) == 0 || access(journal, W_OK) == 0);
    struct catalog_config events = {.directory = journal, .read_only = true};
    err = catalog_open(&events, 1, NULL, NULL, &report, &api.catalog);
    bk_assert(err == BK_OK);
    api.public_url = config.public_url;
}

static struct slice take_line(struct slice *rest)
{
    size_t bytes = slice_find(*rest, '\n');
    struct slice line = slice_of(rest->at, bytes);
    *rest = slice_skip(*rest, bytes + 1);
    return line;
}

static bool is_code(struct slice code)
{
    static const char *const codes[] = {
        "invalid",   "unauthenticated",        "forbidden",          "not_found",   "conflict",
        "too_large", "unsupported_media_type", "method_not_allowed", "unavailable", "internal"};
    for (size_t i = 0; i < bk_array_length(codes); i++) {
        if (slice_equal(code, slice_str(codes[i]))) {
            return true;
        }
    }
    return false;
}

static struct slice said(const struct api_response *response)
{
    return response->shared.at ? response->shared : buf_slice(&response->body);
}

static void check_json(const struct api_response *response)
{
    struct json_tree tree;
    struct json_problem problem;
    json_tree_init(&tree);
    enum bk_err err = json_parse(said(response), &tree, &problem);
    bk_assert(err == BK_OK);
    if (response->status >= 400) {
        yyjson_mut_val *root = tree.roots[0];
        bk_assert(is_code(json_text(yyjson_mut_obj_get(root, "code"))));
        bk_assert(yyjson_mut_get_len(yyjson_mut_obj_get(root, "message")) != 0);
        bk_assert(yyjson_mut_is_arr(yyjson_mut_obj_get(root, "details")));
        bk_assert(response->status != 500);
    }
    json_tree_fini(&tree);
}

static bool is_open(struct slice target)
{
    struct slice path = slice_of(target.at, slice_find(target, '?'));
    return slice_equal(path, SLICE("/metrics")) || slice_starts(path, SLICE("/health/")) ||
           slice_equal(path, SLICE("/api/v1/openapi.json")) ||
           slice_starts(path, SLICE("/.well-known/")) || slice_equal(path, SLICE("/login")) ||
           slice_equal(path, SLICE("/style.css"));
}

/* A page sends who is nobody yet to the login, or on to the provider. */
static bool is_redirect(const struct api_response *response)
{
    return response->status == 302 || response->status == 303;
}

static void check(const struct api_request *request, const struct api_response *response)
{
    bk_assert(response->status >= 200 && response->status < 600 && response->work == NULL);
    if (request->method == HTTP_HEAD) {
        bk_assert(response->body.bytes == 0 && response->shared.bytes == 0);
    } else {
        bk_assert(response->body_bytes == said(response).bytes);
        bk_assert(response->content_type != NULL || said(response).bytes == 0);
    }
    bk_assert(response->status != 204 || response->body_bytes == 0);
    bk_assert(request->authorization.bytes != 0 || response->status >= 400 ||
              response->status == 204 || is_redirect(response) || is_open(request->target));
    bk_assert(request->authorization.bytes != 0 || request->method == HTTP_OPTIONS ||
              response->status != 204);
    for (unsigned i = 0; i < response->header_count; i++) {
        bk_assert(strpbrk(response->headers[i].value, "\r\n") == NULL);
    }
    bool json =
        response->content_type != NULL && strcmp(response->content_type, "application/json") == 0;
    if (json && request->method != HTTP_HEAD) {
        check_json(response);
    }
    /* Pages are told in words, the API always in JSON. */
    bk_assert(response->status < 400 || json || !slice_starts(request->target, SLICE("/api/")));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int64_t now_ns = 1;
    if (size < 2) {
        return 0;
    }
    if (api.hub == NULL) {
        start();
    }
    struct slice rest = slice_of(data + 2, size - 2);
    struct api_request request = {.method = (enum http_method)(data[0] % (HTTP_METHOD_OTHER + 1)),
                                  .target = take_line(&rest),
                                  .host = take_line(&rest),
                                  .content_type = take_line(&rest),
                                  .if_match = take_line(&rest),
                                  .origin = take_line(&rest),
                                  .remote = {.family = 4, .at = {127, 0, 0, 1}},
                                  .wall_ns = now_ns,
                                  .now_ns = (uint64_t)now_ns};
    request.host = request.host.bytes != 0 ? request.host : SLICE("localhost");
    request.body = rest;
    if (data[1] % 4 != 0) {
        request.authorization = slice_str(tokens[data[1] % 4 - 1]);
    }
    now_ns += 1000000;
    struct api_response response;
    api_response_init(&response);
    while (api_handle(&api, &request, &response) == API_AGAIN) {
    }
    check(&request, &response);
    api_response_fini(&response);
    return 0;
}
