/* Description: what becket asks of each provider, step by step, and what it makes of the answers.
 */
#include "http/parse.h"
#include "providers/provider.h"
#include "tap.h"

#define NOW 1767322980 /* Fri, 02 Jan 2026 03:03:00 GMT */
#define URL "https://hooks.example/hooks/abc"

/* One exchange: what must be asked, and what is answered. */
struct exchange {
    const char *method;
    const char *target;
    const char *body;   /* part of it; NULL = no body */
    const char *answer; /* status line, headers and body */
};

static const char *const methods[] = {[HTTP_GET] = "GET",
                                      [HTTP_POST] = "POST",
                                      [HTTP_PUT] = "PUT",
                                      [HTTP_DELETE] = "DELETE",
                                      [HTTP_PATCH] = "PATCH"};

static struct arena arena;
static struct provider_run run;
static const struct slice two_events[] = {SLICE("push"), SLICE("release")};
static struct provider_facts facts;

static void fresh(const char *provider, enum provider_intent intent)
{
    arena_reset(&arena);
    facts = (struct provider_facts){
        .url = SLICE("https://git.example/acme"),
        .resource_type = SLICE("repository"),
        .resource = SLICE("hello"),
        .hook_url = SLICE(URL),
        .hook_key = SLICE("k\"1"),
        .hook_name = SLICE("becket-0011"),
        .events = two_events,
        .event_count = 2,
        .channel = SLICE("C012345678"),
        .text = SLICE("say \"hi\"\n"),
        .once = SLICE("00112233445566778899aabb"),
    };
    run = (struct provider_run){.provider = provider_find(slice_str(provider)),
                                .intent = intent,
                                .facts = &facts,
                                .arena = &arena};
}

static enum provider_next answer(enum provider_next next, const struct exchange *exchange,
                                 const char *what)
{
    if (!ok(next == PROVIDER_SEND, "%s: asks for %s", what, exchange->target)) {
        return next;
    }
    is_str(methods[run.request.method], exchange->method, "%s: method", what);
    char target[512];
    snprintf(target, sizeof target, "%.*s", (int)run.request.target.bytes,
             (const char *)run.request.target.at);
    is_str(target, exchange->target, "%s: target", what);
    if (exchange->body) {
        ok(run.request.body.bytes > 0 && memmem(run.request.body.at, run.request.body.bytes,
                                                exchange->body, strlen(exchange->body)),
           "%s: body has %s", what, exchange->body);
        struct json_tree body;
        struct json_problem problem;
        json_tree_init(&body);
        bool form = run.request.content_type && strstr(run.request.content_type, "urlencoded");
        ok(form || json_parse(run.request.body, &body, &problem) == BK_OK, "%s: body is JSON",
           what);
        json_tree_fini(&body);
    } else {
        is_uint(run.request.body.bytes, 0, "%s: no body", what);
    }
    struct http_head head;
    size_t bytes = strlen(exchange->answer);
    if (http_parse_response((const uint8_t *)exchange->answer, bytes, &head) != HTTP_PARSE_DONE) {
        bail_out("the test's own answer is malformed: %s", exchange->answer);
    }
    /* The tree must outlive the run: its strings are remembered by copy only. */
    static struct json_tree trees[64];
    static unsigned used;
    struct json_tree *tree = &trees[used++ % 64];
    json_tree_fini(tree);
    json_tree_init(tree);
    struct json_problem problem;
    struct slice body = slice_of(exchange->answer + head.head_bytes, bytes - head.head_bytes);
    struct provider_reply reply = {.head = &head, .body = body, .now_seconds = NOW};
    if (json_parse(body, tree, &problem) == BK_OK) {
        reply.json = tree->roots[0];
    }
    return provider_take(&run, &reply);
}

static enum provider_next play(const struct exchange *exchanges, size_t count, const char *what)
{
    enum provider_next next = provider_begin(&run);
    for (size_t i = 0; i < count; i++) {
        next = answer(next, &exchanges[i], what);
    }
    return next;
}
#define PLAY(what, ...)                                                                            \
    play((const struct exchange[]){__VA_ARGS__},                                                   \
         sizeof((const struct exchange[]){__VA_ARGS__}) / sizeof(struct exchange), what)

static void recalled(const char *name, const char *want, const char *what)
{
    struct slice value = provider_recall(&run, name);
    is_bytes(value.at, value.bytes, want, strlen(want), "%s: %s", what, name);
}

#define OK(json)        "HTTP/1.1 200 OK\r\n\r\n" json
#define STATUS(n, json) "HTTP/1.1 " #n " x\r\n\r\n" json
#define HOOKS           "/repos/acme/hello/hooks?per_page=100&page="
#define HOOK(id, url, active, events)                                                              \
    "{\"id\":" #id ",\"active\":" #active ",\"events\":" events ",\"config\":{\"url\":\"" url      \
    "\",\"content_type\":\"json\",\"secret\":\"********\"}}"

static void test_github(void)
{
    fresh("TYPE_GITHUB", PROVIDER_CHECK);
    is_int(PLAY("check", {"GET", "/user", NULL, OK("{\"login\":\"octo\",\"id\":7}")}),
           PROVIDER_DONE);
    recalled("account", "octo", "check");

    fresh("github", PROVIDER_RESOURCE_CHECK);
    facts.resource = SLICE("we ird/na me");
    is_int(PLAY("encoded", {"GET", "/repos/we%20ird/na%20me", NULL, OK("{\"id\":9}")}),
           PROVIDER_DONE);
    recalled("resourceId", "9", "resource");

    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(PLAY("create",
                {"GET", HOOKS "1", NULL,
                 "HTTP/1.1 200 OK\r\nLink: <x?page=2>; rel=\"next\"\r\n\r\n[" HOOK(
                     1, "https://other.example", true, "[\"push\"]") "]"},
                {"GET", HOOKS "2", NULL, OK("[]")},
                {"POST", "/repos/acme/hello/hooks", "\"secret\":\"k\\\"1\"",
                 STATUS(201, "{\"id\":12345}")}),
           PROVIDER_DONE);
    recalled("hookId", "12345", "create");
    ok(!run.request.repeatable, "a call that makes a hook is not repeated blindly");

    fresh("github", PROVIDER_HOOK_ENSURE);
    facts.key_is_current = true;
    is_int(PLAY("nothing to do",
                {"GET", HOOKS "1", NULL, OK("[" HOOK(5, URL, true, "[\"release\",\"push\"]") "]")}),
           PROVIDER_DONE, "a right hook is left alone");

    fresh("github", PROVIDER_HOOK_ENSURE);
    facts.key_is_current = true;
    is_int(PLAY("drift",
                {"GET", HOOKS "1", NULL, OK("[" HOOK(5, URL, false, "[\"release\",\"push\"]") "]")},
                {"PATCH", "/repos/acme/hello/hooks/5", "\"active\":true", STATUS(404, "{}")},
                {"GET", HOOKS "1", NULL, OK("[]")},
                {"POST", "/repos/acme/hello/hooks", "\"name\":\"web\"", STATUS(201, "{\"id\":6}")}),
           PROVIDER_DONE, "a hook that was switched off, and deleted meanwhile");
    recalled("hookId", "6", "drift");

    fresh("github", PROVIDER_HOOK_ENSURE);
    facts.key_is_current = true;
    facts.hook_id = SLICE("5");
    is_int(
        PLAY("moved",
             {"GET", HOOKS "1", NULL,
              OK("[" HOOK(5, "https://old.example/hooks/abc", true, "[\"release\",\"push\"]") "]")},
             {"PATCH", "/repos/acme/hello/hooks/5", "\"url\":\"" URL "\"", OK("{}")}),
        PROVIDER_DONE, "our address changed: the hook follows");

    fresh("github", PROVIDER_HOOK_ENSURE);
    facts.hook_id = SLICE("5");
    is_int(
        PLAY("another server",
             {"GET", HOOKS "1", NULL,
              OK("[" HOOK(5, "https://other.example/hooks/xyz", true, "[\"push\"]") "]")},
             {"POST", "/repos/acme/hello/hooks", "\"url\":\"" URL "\"", STATUS(201, "{\"id\":9}")}),
        PROVIDER_DONE, "a stranger's hook of the same number is left alone");
    recalled("hookId", "9", "another server");

    fresh("github", PROVIDER_HOOK_ENSURE);
    facts.key_is_current = true;
    is_int(PLAY("spelling", {"GET", HOOKS "1", NULL,
                             OK("[" HOOK(5, "https://Hooks.Example:443/hooks/abc", true,
                                         "[\"release\",\"push\"]") "]")}),
           PROVIDER_DONE, "our address as the provider spells it is ours, and right");
    recalled("hookId", "5", "spelling");
    fresh("github", PROVIDER_HOOK_ENSURE);
    facts.key_is_current = true;
    is_int(
        PLAY("slash",
             {"GET", HOOKS "1", NULL, OK("[" HOOK(5, URL "/", true, "[\"release\",\"push\"]") "]")},
             {"PATCH", "/repos/acme/hello/hooks/5", "\"url\":\"" URL "\"", OK("{}")}),
        PROVIDER_DONE, "with a slash behind it it is ours, and mended");

    fresh("github", PROVIDER_HOOK_REMOVE);
    is_int(PLAY("remove",
                {"GET", HOOKS "1", NULL,
                 OK("[" HOOK(5, URL, true, "[]") "," HOOK(6, URL, true, "[]") "]")},
                {"DELETE", "/repos/acme/hello/hooks/5", NULL, STATUS(204, "")},
                {"GET", HOOKS "1", NULL, OK("[" HOOK(6, URL, true, "[]") "]")},
                {"DELETE", "/repos/acme/hello/hooks/6", NULL, STATUS(404, "{}")},
                {"GET", HOOKS "1", NULL, OK("[]")}),
           PROVIDER_DONE, "no hook of ours is left");
    fresh("github", PROVIDER_HOOK_REMOVE);
    is_int(PLAY("gone", {"GET", HOOKS "1", NULL, STATUS(404, "{}")},
                {"GET", "/repos/acme/hello", NULL, STATUS(404, "{}")}),
           PROVIDER_DONE, "the repository is gone");
}

/* What is not to be found may only be hidden; what is full or there already is told as that. */
/* A list ends where its pages lead no further, whatever they say; as made from a description, which
 * has one example for all of them. */
static void test_pages(void)
{
#define LINK(next) "HTTP/1.1 200 OK\r\nLink: " next "\r\n\r\n[" HOOK(1, "https://x", true, "[]") "]"
#define SECOND     LINK("<https://x/r?page=2>; rel=\"next\", <https://x/r?page=5>; rel=\"last\"")
    static const char made[] = "HTTP/1.1 201 Created\r\n\r\n{\"id\":-41}";
    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(PLAY("next is always 2", {"GET", HOOKS "1", NULL, SECOND},
                {"GET", HOOKS "2", NULL, SECOND},
                {"POST", "/repos/acme/hello/hooks", "\"web\"", made}),
           PROVIDER_DONE);
    recalled("hookId", "-41", "a number below zero");

    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(PLAY("the link's own page",
                {"GET", HOOKS "1", NULL, LINK("<x?per_page=100&page=3&x=page=9>; rel=next")},
                {"GET", HOOKS "3", NULL, LINK("<x?page=4>; rel=\"prev\"; rel=\"last\"")},
                {"POST", "/repos/acme/hello/hooks", "\"web\"", made}),
           PROVIDER_DONE);

    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(PLAY("a link without a number",
                {"GET", HOOKS "1", NULL, LINK("<x?per_page=100&cursor=page>; rel=\"next\"")},
                {"GET", HOOKS "2", NULL, OK("[]")},
                {"POST", "/repos/acme/hello/hooks", "\"web\"", made}),
           PROVIDER_DONE);

    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(PLAY("X-Next-Page",
                {"GET", HOOKS "1", NULL, "HTTP/1.1 200 OK\r\nX-Next-Page: 2\r\n\r\n[]"},
                {"GET", HOOKS "2", NULL, "HTTP/1.1 200 OK\r\nX-Next-Page: 2\r\n\r\n[]"},
                {"POST", "/repos/acme/hello/hooks", "\"web\"", made}),
           PROVIDER_DONE);
#undef SECOND
#undef LINK
    static const char none[] = "HTTP/1.1 204 No Content\r\n\r\n";
    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(PLAY("made without a word", {"GET", HOOKS "1", NULL, OK("[]")},
                {"POST", "/repos/acme/hello/hooks", "\"web\"", none},
                {"GET", HOOKS "1", NULL, OK("[" HOOK(5, URL, true, "[\"push\",\"release\"]") "]")},
                {"PATCH", "/repos/acme/hello/hooks/5", "\"active\":true", none}),
           PROVIDER_DONE);
    recalled("hookId", "5", "the list tells its id");
    for (unsigned i = 0; i < 2; i++) {
        fresh("github", i ? PROVIDER_HOOK_REMOVE : PROVIDER_HOOK_ENSURE);
        is_int(
            PLAY("a hook without an id",
                 {"GET", HOOKS "1", NULL, OK("[{\"id\":null,\"config\":{\"url\":\"" URL "\"}}]")}),
            PROVIDER_FAILED);
        is_int(run.fault, PROVIDER_FAULT_ODD, "%s", run.why);
    }
    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(PLAY("made and not there", {"GET", HOOKS "1", NULL, OK("[]")},
                {"POST", "/repos/acme/hello/hooks", "\"web\"", OK("{\"id\":null}")},
                {"GET", HOOKS "1", NULL, OK("[]")}),
           PROVIDER_FAILED);
    is_int(run.fault, PROVIDER_FAULT_ODD, "%s", run.why);
    is_int(provider_begin(&run), PROVIDER_SEND, "by hand it begins anew");
}

static void test_not_shown(void)
{
    static const char hidden[] = "GitHub shows hello to this token, but not its webhooks (404)";
    static const enum provider_intent intents[] = {PROVIDER_HOOK_ENSURE, PROVIDER_HOOK_REMOVE};
    for (unsigned i = 0; i < 2; i++) {
        fresh("github", intents[i]);
        is_int(PLAY("hidden", {"GET", HOOKS "1", NULL, STATUS(404, "{\"message\":\"Not Found\"}")},
                    {"GET", "/repos/acme/hello", NULL, OK("{\"id\":9}")}),
               PROVIDER_FAILED, "the hooks of what is there are not shown");
        is_int(run.fault, PROVIDER_FAULT_FORBIDDEN, "a right is missing");
        is_str(run.why, hidden, "in words");
    }
    fresh("github", PROVIDER_CHECK);
    is_int(PLAY("packed", {"GET", "/user", NULL,
                           "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b"}),
           PROVIDER_FAILED, "what is packed although that was declined");
    is_str(run.why, "GitHub answered 200 with something packed (Content-Encoding), not with JSON",
           "in words");

    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(PLAY("absent", {"GET", HOOKS "1", NULL, STATUS(404, "{}")},
                {"GET", "/repos/acme/hello", NULL, STATUS(404, "{\"message\":\"Not Found\"}")}),
           PROVIDER_FAILED, "neither is to be found");
    is_int(run.fault, PROVIDER_FAULT_NOT_FOUND);
    is_str(run.why, "GitHub does not know hello (404): Not Found", "in words");

    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(PLAY("exists", {"GET", HOOKS "1", NULL, OK("[]")},
                {"POST", "/repos/acme/hello/hooks", "\"active\":true",
                 STATUS(422, "{\"message\":\"Validation Failed\",\"errors\":[{\"message\":\"Hook "
                             "already exists on this repository\"}]}")}),
           PROVIDER_FAILED, "it is there and was not listed");
    ok(provider_fault_passes(run.fault), "it is looked for again: %s", run.why);
    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(PLAY("full", {"GET", HOOKS "1", NULL, OK("[]")},
                {"POST", "/repos/acme/hello/hooks", "\"active\":true",
                 STATUS(422, "{\"message\":\"Validation Failed\",\"errors\":[{\"message\":\"The "
                             "\\\"push\\\" event cannot have more than 20 hooks\"}]}")}),
           PROVIDER_FAILED, "there is no room");
    is_int(run.fault, PROVIDER_FAULT_REFUSED);
    is_str(
        run.why,
        "GitHub refuses it (422): Validation Failed, The \"push\" event cannot have more than 20 "
        "hooks: remove one there that nobody needs",
        "and what to do");
    fresh("gitlab", PROVIDER_HOOK_ENSURE);
    facts.resource_type = SLICE("project");
    facts.event_count = 1;
    is_int(PLAY("full", {"GET", "/projects/acme%2Fhello/hooks?per_page=100&page=1", NULL, OK("[]")},
                {"POST", "/projects/acme%2Fhello/hooks", "\"push_events\":true",
                 STATUS(422, "{\"message\":{\"base\":[\"Maximum number of project webhooks (100) "
                             "exceeded\"]}}")}),
           PROVIDER_FAILED, "nor there");
    is_str(run.why,
           "GitLab refuses it (422): Maximum number of project webhooks (100) exceeded: remove one "
           "there that nobody needs",
           "the same");
    fresh("gitlab", PROVIDER_HOOK_ENSURE);
    facts.resource_type = SLICE("project");
    facts.event_count = 1;
    is_int(PLAY("refused",
                {"GET", "/projects/acme%2Fhello/hooks?per_page=100&page=1", NULL, OK("[]")},
                {"POST", "/projects/acme%2Fhello/hooks", "\"push_events\":true",
                 STATUS(422, "{\"error\":\"Invalid url given\"}")}),
           PROVIDER_FAILED, "another 422");
    is_str(run.why, "GitLab refuses it (422): Invalid url given", "as it is");
}

static void test_faults(void)
{
    static const struct {
        const char *answer;
        enum provider_fault fault;
        unsigned retry_after;
    } rows[] = {
        {STATUS(401, "{\"message\":\"Bad credentials\"}"), PROVIDER_FAULT_AUTH, 0},
        {STATUS(403, "{\"message\":\"Resource not accessible\"}"), PROVIDER_FAULT_FORBIDDEN, 0},
        {"HTTP/1.1 403 x\r\nX-RateLimit-Remaining: 0\r\nX-RateLimit-Reset: 1767323040\r\n\r\n{}",
         PROVIDER_FAULT_LIMITED, 60},
        {"HTTP/1.1 403 x\r\nX-RateLimit-Remaining: 12\r\nX-RateLimit-Reset: 1767323040\r\n\r\n"
         "{\"message\":\"You have exceeded a secondary rate limit. Please wait.\"}",
         PROVIDER_FAULT_LIMITED, 60},
        {"HTTP/1.1 429 x\r\nRetry-After: Fri, 02 Jan 2026 03:04:05 GMT\r\n\r\n{}",
         PROVIDER_FAULT_LIMITED, 65},
        {"HTTP/1.1 429 x\r\nRetry-After: Fri, 02 Jan 2026 03:00:05 GMT\r\n\r\n{}",
         PROVIDER_FAULT_LIMITED, 0},
        {"HTTP/1.1 429 x\r\nRetry-After: 0.65\r\n\r\n{}", PROVIDER_FAULT_LIMITED, 1},
        {"HTTP/1.1 429 x\r\nRetry-After: soon\r\nRateLimit-Reset: 7\r\n\r\n{}",
         PROVIDER_FAULT_LIMITED, 7},
        {"HTTP/1.1 429 x\r\nX-RateLimit-Reset: 1767323040.5\r\nX-RateLimit-Reset-After: 1.337\r\n"
         "\r\n{}",
         PROVIDER_FAULT_LIMITED, 2},
        {"HTTP/1.1 429 x\r\nRetry-After: 99999999999999999999\r\n\r\n{}", PROVIDER_FAULT_LIMITED,
         86400},
        /* its window ends in an hour, but that is not what is wrong */
        {"HTTP/1.1 502 x\r\nX-RateLimit-Remaining: 4999\r\nX-RateLimit-Reset: 1767326580\r\n\r\n{}",
         PROVIDER_FAULT_DOWN, 0},
        {"HTTP/1.1 503 x\r\nRetry-After: 20\r\n\r\n{}", PROVIDER_FAULT_DOWN, 20},
        {"HTTP/1.1 403 x\r\nRetry-After: 30\r\n\r\n{}", PROVIDER_FAULT_LIMITED, 30},
        {"HTTP/1.1 429 x\r\n\r\n{}", PROVIDER_FAULT_LIMITED, 0},
        {STATUS(404, "{}"), PROVIDER_FAULT_NOT_FOUND, 0},
        {STATUS(409, "{}"), PROVIDER_FAULT_REFUSED, 0},
        {STATUS(451, "{\"message\":\"Repository access blocked\"}"), PROVIDER_FAULT_REFUSED, 0},
        {STATUS(422, "{\"message\":\"Validation Failed\"}"), PROVIDER_FAULT_REFUSED, 0},
        {STATUS(422, "{\"message\":{\"base\":[\"no\"]}}"), PROVIDER_FAULT_REFUSED, 0},
        {STATUS(422, "{\"message\":[[[[[[\"deep\"]]]]]],\"errors\":{}}"), PROVIDER_FAULT_REFUSED,
         0},
        {STATUS(500, "oops"), PROVIDER_FAULT_DOWN, 0},
        {STATUS(503, ""), PROVIDER_FAULT_DOWN, 0},
        {STATUS(301, ""), PROVIDER_FAULT_ODD, 0},
        {OK("<html>"), PROVIDER_FAULT_ODD, 0},
        {OK("{}"), PROVIDER_FAULT_ODD, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fresh("github", PROVIDER_CHECK);
        enum provider_next next =
            answer(provider_begin(&run), &(struct exchange){"GET", "/user", NULL, rows[i].answer},
                   "fault");
        is_int(next, PROVIDER_FAILED, "%.20s", rows[i].answer);
        is_int(run.fault, rows[i].fault, "%.20s is %s: %s", rows[i].answer,
               provider_fault_name(run.fault), run.why);
        is_uint(run.retry_after_seconds, rows[i].retry_after, "retry after");
        ok(run.why[0] != '\0', "it says why");
    }
    fresh("github", PROVIDER_CHECK);
    is_int(answer(provider_begin(&run),
                  &(struct exchange){
                      "GET", "/user", NULL,
                      STATUS(422, "{\"message\":\"Validation Failed\",\"errors\":[{\"resource\":"
                                  "\"Hook\",\"message\":\"no event pushh\"}]}")},
                  "details"),
           PROVIDER_FAILED);
    is_str(run.why, "GitHub refuses it (422): Validation Failed, no event pushh", "all it said");
    for (int fault = PROVIDER_FAULT_AUTH; fault < PROVIDER_FAULT_COUNT; fault++) {
        ok(provider_fault_name((enum provider_fault)fault)[0] &&
               provider_fault_advice(NULL, (enum provider_fault)fault)[0],
           "fault %d has a name and an advice", fault);
    }
    fresh("github", PROVIDER_POST);
    is_int(provider_begin(&run), PROVIDER_FAILED, "GitHub has no channel to post to");
    fresh("github", PROVIDER_RESOURCE_CHECK);
    facts.resource = SLICE("../a.b");
    is_int(provider_begin(&run), PROVIDER_SEND, "a name of dots");
    char target[64];
    snprintf(target, sizeof target, "%.*s", (int)run.request.target.bytes,
             (const char *)run.request.target.at);
    is_str(target, "/repos/%2E%2E/a.b", "is no step in the path");
    fresh("github", PROVIDER_HOOK_ENSURE);
    facts.url = SLICE("https://github.com");
    is_int(provider_begin(&run), PROVIDER_FAILED, "no owner");
    diag("%s", run.why);
}

static void test_doubt(void)
{
    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(provider_resume(&run, SLICE("create"), true), PROVIDER_SEND);
    is_str(run.step->name, "look", "in doubt it looks before it makes");
    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(provider_resume(&run, SLICE("create"), false), PROVIDER_SEND);
    is_str(run.step->name, "create", "without doubt it goes on");
    fresh("github", PROVIDER_HOOK_ENSURE);
    is_int(provider_resume(&run, SLICE("a step of another version"), false), PROVIDER_SEND);
    is_str(run.step->name, "look");
    is_int(provider_no_reply(&run, PROVIDER_FAULT_DOWN, "connection refused"), PROVIDER_FAILED);
    is_int(run.fault, PROVIDER_FAULT_DOWN);
    ok(provider_fault_passes(run.fault), "worth another try");
}

/* All that an organization or a group has, by one hook. */
static void test_wide(void)
{
    static const struct slice issues[] = {SLICE("issues"), SLICE("push")};
    static const struct slice subgroups[] = {SLICE("push"), SLICE("subgroup")};
    fresh("github", PROVIDER_RESOURCE_CHECK);
    facts.resource_type = SLICE("organization");
    facts.resource = SLICE("acme");
    is_int(PLAY("organization", {"GET", "/orgs/acme", NULL, OK("{\"id\":4,\"login\":\"acme\"}")}),
           PROVIDER_DONE);
    recalled("resourceName", "acme", "organization");
    fresh("github", PROVIDER_HOOK_ENSURE);
    facts.resource_type = SLICE("organization");
    facts.resource = SLICE("acme");
    is_int(PLAY("organization hook",
                {"GET", "/orgs/acme/hooks?per_page=100&page=1", NULL, OK("[]")},
                {"POST", "/orgs/acme/hooks", "{\"name\":\"web\",\"active\":true",
                 STATUS(201, "{\"id\":8}")}),
           PROVIDER_DONE);
    recalled("hookId", "8", "organization hook");
    fresh("github", PROVIDER_HOOK_REMOVE);
    facts.resource_type = SLICE("organization");
    facts.resource = SLICE("acme");
    is_int(PLAY("organization hook goes",
                {"GET", "/orgs/acme/hooks?per_page=100&page=1", NULL,
                 OK("[" HOOK(8, URL, true, "[]") "]")},
                {"DELETE", "/orgs/acme/hooks/8", NULL, STATUS(204, "")},
                {"GET", "/orgs/acme/hooks?per_page=100&page=1", NULL, OK("[]")}),
           PROVIDER_DONE);
    fresh("github", PROVIDER_HOOK_ENSURE);
    facts.resource_type = SLICE("organization");
    facts.resource = SLICE("acme/hello");
    is_int(provider_begin(&run), PROVIDER_FAILED, "no organization");
    is_int(run.fault, PROVIDER_FAULT_REFUSED, "%s", run.why);

    fresh("gitea", PROVIDER_HOOK_ENSURE);
    facts.resource_type = SLICE("organization");
    facts.resource = SLICE("acme");
    facts.events = issues;
    facts.key_is_current = true;
    is_int(
        PLAY("gitea", {"GET", "/orgs/acme/hooks?limit=50&page=1", NULL,
                       OK("[" HOOK(8, URL, true,
                                   "[\"push\",\"issues\",\"issue_assign\",\"issue_label\"]") "]")}),
        PROVIDER_DONE, "it tells the parts of an event as well");
    fresh("gitea", PROVIDER_HOOK_ENSURE);
    facts.key_is_current = true;
    is_int(
        PLAY("gitea parts",
             {"GET", "/repos/acme/hello/hooks?limit=50&page=1", NULL,
              OK("[" HOOK(8, URL, true, "[\"push\",\"release\",\"issue_assign\"]") "]")},
             {"PATCH", "/repos/acme/hello/hooks/8", "\"events\":[\"push\",\"release\"]", OK("{}")}),
        PROVIDER_DONE, "parts of what is not wanted are too much");

    fresh("gitlab", PROVIDER_RESOURCE_CHECK);
    facts.resource_type = SLICE("group");
    facts.resource = SLICE("acme/platform");
    is_int(PLAY("group", {"GET", "/groups/acme%2Fplatform", NULL,
                          OK("{\"id\":4,\"full_path\":\"acme/platform\"}")}),
           PROVIDER_DONE);
    recalled("resourceName", "acme/platform", "group");
    fresh("gitlab", PROVIDER_HOOK_ENSURE);
    facts.resource_type = SLICE("group");
    facts.resource = SLICE("acme");
    facts.events = subgroups;
    is_int(
        PLAY("group hook", {"GET", "/groups/acme/hooks?per_page=100&page=1", NULL, OK("[]")},
             {"POST", "/groups/acme/hooks", "\"subgroup_events\":true", STATUS(201, "{\"id\":8}")}),
        PROVIDER_DONE);
    fresh("gitlab", PROVIDER_HOOK_ENSURE);
    facts.events = subgroups;
    is_int(provider_begin(&run), PROVIDER_FAILED, "a project has no subgroups");
    is_int(run.fault, PROVIDER_FAULT_REFUSED, "%s", run.why);
}

static void test_gitlab(void)
{
    fresh("gitlab", PROVIDER_CHECK);
    is_int(PLAY("gitlab without /user", {"GET", "/user", NULL, STATUS(404, "{}")},
                {"GET", "/version", NULL, OK("{\"version\":\"15.5\",\"revision\":\"c41\"}")}),
           PROVIDER_DONE);
    recalled("account", "", "it does not say whose");
    fresh("gitlab", PROVIDER_CHECK);
    is_int(PLAY("another server", {"GET", "/user", NULL, STATUS(404, "{}")},
                {"GET", "/version", NULL, STATUS(404, "{}")}),
           PROVIDER_FAILED);
    is_int(run.fault, PROVIDER_FAULT_NOT_FOUND, "%s", run.why);
    fresh("gitlab", PROVIDER_CHECK);
    is_int(PLAY("another API", {"GET", "/user", NULL, STATUS(404, "{}")},
                {"GET", "/version", NULL, OK("{}")}),
           PROVIDER_FAILED);
    is_int(run.fault, PROVIDER_FAULT_ODD, "%s", run.why);

    fresh("gitlab", PROVIDER_HOOK_ENSURE);
    is_int(PLAY("gitlab",
                {"GET", "/projects/acme%2Fhello/hooks?per_page=100&page=1", NULL,
                 "HTTP/1.1 200 OK\r\nX-Next-Page: 2\r\n\r\n[]"},
                {"GET", "/projects/acme%2Fhello/hooks?per_page=100&page=2", NULL,
                 "HTTP/1.1 200 OK\r\nX-Next-Page: \r\n\r\n[]"},
                {"POST", "/projects/acme%2Fhello/hooks", "\"merge_requests_events\":false",
                 STATUS(201, "{\"id\":3}")}),
           PROVIDER_DONE);
    recalled("hookId", "3", "gitlab");
    fresh("gitlab", PROVIDER_HOOK_ENSURE);
    facts.key_is_current = true;
    is_int(PLAY("gitlab disabled",
                {"GET", "/projects/acme%2Fhello/hooks?per_page=100&page=1", NULL,
                 OK("[{\"id\":3,\"url\":\"" URL "\",\"push_events\":true,\"releases_events\":true,"
                    "\"alert_status\":\"disabled\"}]")},
                {"PUT", "/projects/acme%2Fhello/hooks/3", "\"push_events\":true", OK("{}")}),
           PROVIDER_DONE, "a disabled hook is written again");
    static const struct slice odd[] = {SLICE("nonsense")};
    fresh("gitlab", PROVIDER_HOOK_ENSURE);
    facts.events = odd;
    facts.event_count = 1;
    is_int(provider_begin(&run), PROVIDER_FAILED);
    is_int(run.fault, PROVIDER_FAULT_REFUSED, "%s", run.why);
}

static void test_semaphore(void)
{
    static const struct {
        const char *json;
        enum provider_next next;
    } lists[] = {{OK("[]"), PROVIDER_DONE},
                 {OK("{\"projects\":[],\"next_page_token\":\"\"}"), PROVIDER_DONE},
                 {OK("{\"projects\":null}"), PROVIDER_FAILED}};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        fresh("semaphore", PROVIDER_CHECK);
        is_int(PLAY("projects", {"GET", "/api/v1alpha/projects", NULL, lists[i].json}),
               lists[i].next, "%s", lists[i].json);
    }
    fresh("semaphore", PROVIDER_HOOK_ENSURE);
    is_int(PLAY("semaphore", {"GET", "/api/v1beta/secrets/becket-0011", NULL, STATUS(404, "")},
                {"POST", "/api/v1beta/secrets", "\"name\":\"WEBHOOK_SECRET\",\"value\":\"k\\\"1\"",
                 OK("{\"metadata\":{\"id\":\"s-1\"}}")},
                {"GET", "/api/v1alpha/notifications/becket-0011", NULL, STATUS(404, "")},
                {"POST", "/api/v1alpha/notifications", "\"slack\":{}",
                 OK("{\"metadata\":{\"id\":\"n-1\"}}")}),
           PROVIDER_DONE);
    recalled("hookId", "n-1", "semaphore");
    fresh("semaphore", PROVIDER_HOOK_ENSURE);
    is_int(
        PLAY("rotation", {"GET", "/api/v1beta/secrets/becket-0011", NULL, OK("{}")},
             {"DELETE", "/api/v1beta/secrets/becket-0011", NULL, OK("")},
             {"POST", "/api/v1beta/secrets", "WEBHOOK_SECRET", OK("{}")},
             {"GET", "/api/v1alpha/notifications/becket-0011", NULL,
              OK("{\"metadata\":{\"id\":\"n-1\"},\"spec\":{\"rules\":[{\"filter\":{\"projects\":["
                 "\"hello\"]},\"notify\":{\"webhook\":{\"endpoint\":"
                 "\"https://HOOKS.example:443/hooks/abc\",\"secret\":\"becket-0011\"}}}]}}")}),
        PROVIDER_DONE, "a new key replaces the secret and leaves the notification");
    fresh("semaphore", PROVIDER_HOOK_REMOVE);
    is_int(PLAY("semaphore remove",
                {"GET", "/api/v1alpha/notifications/becket-0011", NULL,
                 OK("{\"metadata\":{\"id\":\"n-1\"}}")},
                {"DELETE", "/api/v1alpha/notifications/n-1", NULL, STATUS(404, "")},
                {"DELETE", "/api/v1beta/secrets/becket-0011", NULL, OK("")}),
           PROVIDER_DONE);
}

#define HISTORY "/conversations.history?channel=C012345678&limit=100"
#define MESSAGE(ts, once)                                                                          \
    "{\"ts\":\"" ts                                                                                \
    "\",\"text\":\"x\",\"blocks\":[{\"type\":\"section\",\"block_id\":\"becket-" once "\"}]}"
#define POST                                                                                       \
    {                                                                                              \
        "POST", "/chat.postMessage", "becket-00112233445566778899aabb",                            \
            OK("{\"ok\":true,\"ts\":\"9.9\"}")                                                     \
    }

/* The posting's answer was lost: has it been posted? */
static enum provider_next in_doubt(const struct exchange *exchanges, size_t count)
{
    fresh("slack", PROVIDER_POST);
    enum provider_next next = provider_resume(&run, SLICE("chat.postMessage"), true);
    for (size_t i = 0; i < count; i++) {
        next = answer(next, &exchanges[i], "doubt");
    }
    return next;
}
#define DOUBT(...)                                                                                 \
    in_doubt((const struct exchange[]){__VA_ARGS__},                                               \
             sizeof((const struct exchange[]){__VA_ARGS__}) / sizeof(struct exchange))

static void test_slack_doubt(void)
{
    is_int(
        DOUBT({"GET", HISTORY, NULL,
               OK("{\"ok\":true,\"messages\":[{\"ts\":\"1\"}," MESSAGE(
                   "2", "other") "],"
                                 "\"response_metadata\":{\"next_cursor\":\"a=\"}}")},
              {"GET", HISTORY "&cursor=a%3D", NULL,
               OK("{\"ok\":true,\"messages\":[" MESSAGE("7.5", "00112233445566778899aabb") "]}")}),
        PROVIDER_DONE, "it was: nothing is posted");
    recalled("messageId", "7.5", "doubt");
    is_int(DOUBT({"GET", HISTORY, NULL, OK("{\"ok\":true,\"messages\":[]}")}, POST), PROVIDER_DONE,
           "it was not");
    recalled("messageId", "9.9", "doubt");
    is_int(DOUBT({"GET", HISTORY, NULL,
                  OK("{\"ok\":false,\"error\":\"missing_scope\",\"needed\":\"channels:history\"}")},
                 POST),
           PROVIDER_DONE, "it may not look: better twice than never");
    is_int(DOUBT({"GET", HISTORY, NULL, OK("{\"ok\":false,\"error\":\"token_revoked\"}")}),
           PROVIDER_FAILED);
    is_int(run.fault, PROVIDER_FAULT_AUTH, "the look may fail");
    struct provider_memory memory = run.memory;
    run = (struct provider_run){.provider = run.provider,
                                .intent = PROVIDER_POST,
                                .facts = &facts,
                                .arena = &arena,
                                .memory = memory};
    is_int(provider_begin(&run), PROVIDER_SEND);
    is_str(run.step->name, "look for it", "and the doubt lasts, also when it begins anew");
    fresh("slack", PROVIDER_POST);
    is_int(provider_begin(&run), PROVIDER_SEND);
    is_str(run.step->name, "chat.postMessage", "without doubt there is no look");
    is_int(provider_no_reply(&run, PROVIDER_FAULT_DOWN, "cut"), PROVIDER_FAILED);
}

/* Discord's history: what came since a minute before it was to be posted. */
static void test_discord_doubt(void)
{
#define LOOK  "/channels/C012345678/messages?limit=100&after="
#define SINCE "1435825770332160000" /* (1762398000 - 60) * 1000 ms behind 2015, << 22 */
#define SAID(id, who, text)                                                                        \
    "{\"id\":\"" id "\",\"author\":{\"id\":\"8\"" who "},\"content\":\"" text "\"}"
#define SEND                                                                                       \
    {                                                                                              \
        "POST", "/channels/C012345678/messages", "\"nonce\":\"00112233445566778899aabb\"",         \
            OK("{\"id\":\"99\"}")                                                                  \
    }
    static const struct {
        const char *history;
        const char *id;
        const char *what;
    } looks[] = {
        {OK("[" SAID("7", "", "say \\\"hi\\\"") "," SAID("6", ",\"bot\":true",
                                                         "say \\\"hi\\\"") "]"),
         "6", "a bot says so, and what is at the ends does not count"},
        {OK("[" SAID("7", "", "say \\\"hi\\\"") "]"), "99", "a person says so"},
        {OK("[" SAID("7", ",\"bot\":true", "say") "]"), "99", "a bot says something else"},
        {OK("[{\"id\":\"5\",\"nonce\":\"00112233445566778899aabb\",\"content\":\"\"}]"), "5",
         "its nonce is shown"},
        {OK("[{\"id\":\"5\",\"nonce\":1,\"author\":{\"bot\":true},\"content\":\"say "
            "\\\"hi\\\"\"}]"),
         "99", "another nonce is"},
        {OK("[]"), "99", "nothing is shown"},
        {OK("{\"messages\":[]}"), "99", "nor in another form"},
        {STATUS(403, "{\"code\":50001}"), "99", "it may not look"},
    };
    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
        fresh("discord", PROVIDER_POST);
        facts.since_seconds = 1762398000;
        enum provider_next next = provider_resume(&run, SLICE("message"), true);
        next = answer(next, &(struct exchange){"GET", LOOK SINCE, NULL, looks[i].history},
                      looks[i].what);
        if (strcmp(looks[i].id, "99") == 0) {
            next = answer(next, &(struct exchange)SEND, looks[i].what);
        }
        is_int(next, PROVIDER_DONE, "%s", looks[i].what);
        recalled("messageId", looks[i].id, looks[i].what);
    }
    static char page[20000];
    size_t at = (size_t)snprintf(page, sizeof page, "HTTP/1.1 200 OK\r\n\r\n[");
    for (unsigned i = 0; i < 100; i++) {
        at +=
            (size_t)snprintf(page + at, sizeof page - at,
                             "%s{\"id\":\"%u\",\"author\":{\"bot\":true}}", i ? "," : "", 109 - i);
    }
    snprintf(page + at, sizeof page - at, "]");
    static char long_text[60000];
    memset(long_text, 'x', sizeof long_text);
    fresh("discord", PROVIDER_POST);
    facts.text = slice_of(long_text, sizeof long_text);
    size_t taken = arena.bytes_taken;
    enum provider_next next = provider_resume(&run, SLICE("message"), true);
    next = answer(next, &(struct exchange){"GET", LOOK "0", NULL, page}, "a full page");
    for (unsigned i = 0; i < 4; i++) {
        next = answer(next, &(struct exchange){"GET", LOOK "109", NULL, page}, "the newest of it");
    }
    ok(arena.bytes_taken - taken < 60000, "a look takes little: %zu", arena.bytes_taken - taken);
    is_int(answer(next, &(struct exchange)SEND, "and no more pages"), PROVIDER_DONE);
#undef SEND
#undef SAID
#undef SINCE
#undef LOOK
}

static void test_chat(void)
{
    test_discord_doubt();
    fresh("slack", PROVIDER_CHECK);
    is_int(
        PLAY("slack", {"GET", "/auth.test", NULL, OK("{\"ok\":false,\"error\":\"invalid_auth\"}")}),
        PROVIDER_FAILED);
    is_int(run.fault, PROVIDER_FAULT_AUTH, "%s", run.why);
    fresh("slack", PROVIDER_RESOURCE_CHECK);
    facts.resource = SLICE("#general");
    is_int(PLAY("slack channel",
                {"GET",
                 "/conversations.list?exclude_archived=true&limit=200&types=public_channel,private_"
                 "channel",
                 NULL,
                 OK("{\"ok\":true,\"channels\":[{\"id\":\"C1\",\"name\":\"random\"}],\"response_"
                    "metadata\":{\"next_cursor\":\"a=\"}}")},
                {"GET",
                 "/conversations.list?exclude_archived=true&limit=999&types=public_channel,private_"
                 "channel&cursor=a%3D",
                 NULL, OK("{\"ok\":true,\"channels\":[{\"id\":\"C2\",\"name\":\"general\"}]}")}),
           PROVIDER_DONE);
    recalled("resourceId", "C2", "slack channel");
    fresh("slack", PROVIDER_POST);
    is_int(PLAY("slack post",
                {"POST", "/chat.postMessage", "channel=C012345678&text=say%20%22hi%22%0A",
                 OK("{\"ok\":true,\"ts\":\"1.2\"}")}),
           PROVIDER_DONE);
    test_slack_doubt();
    fresh("slack", PROVIDER_POST);
    facts.text = SLICE("<!channel> a&b");
    is_int(PLAY("slack text",
                {"POST", "/chat.postMessage",
                 "channel=C012345678&text=%26lt%3B%21channel%26gt%3B%20a%26amp%3Bb&blocks=%5B%7B",
                 OK("{\"ok\":true,\"ts\":\"1.2\"}")}),
           PROVIDER_DONE, "a text rings nobody");
    static char long_text[4000];
    memset(long_text, '<', sizeof long_text);
    fresh("slack", PROVIDER_POST);
    facts.text = slice_of(long_text, sizeof long_text);
    is_int(provider_begin(&run), PROVIDER_SEND);
    ok(run.request.body.bytes < 3 * 2 * 3000 + 500, "and is cut to what a block takes: %zu",
       run.request.body.bytes);
    fresh("discord", PROVIDER_POST);
    is_int(PLAY("discord post",
                {"POST", "/channels/C012345678/messages",
                 "\"allowed_mentions\":{\"parse\":[]},\"nonce\":\"00112233445566778899aabb\","
                 "\"enforce_nonce\":true}",
                 OK("{\"id\":\"99\"}")}),
           PROVIDER_DONE);
    recalled("messageId", "99", "discord post");
}

static void test_table(void)
{
    for (size_t i = 0; i < provider_count; i++) {
        const struct provider *p = providers[i];
        ok(i == 0 || strcmp(providers[i - 1]->name, p->name) < 0, "%s stands in order", p->name);
        ok(p->title && p->documentation && p->token.header, "%s is complete", p->name);
        ok(p->plans[PROVIDER_CHECK].steps != NULL, "%s can check a credential", p->name);
        for (int intent = 0; intent < PROVIDER_INTENT_COUNT; intent++) {
            const struct provider_step *step = p->plans[intent].steps;
            ok(!step || !step->makes, "%s, intent %d: the first step looks", p->name, intent);
            ok(!step || !step->in_doubt_only || step[1].name, "and is not all there is");
        }
    }
    ok(!provider_find(SLICE("nobody")), "an unknown one");
    ok(provider_find(SLICE("TYPE_SEMAPHORE")) == provider_find(SLICE("semaphore")),
       "both spellings");
}

int main(void)
{
    arena_init(&arena, 1U << 20);
    test_table();
    test_github();
    test_pages();
    test_not_shown();
    test_faults();
    test_doubt();
    test_wide();
    test_gitlab();
    test_semaphore();
    test_chat();
    arena_fini(&arena);
    return done_testing();
}
