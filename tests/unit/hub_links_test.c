/* Description: links made and removed, entries sent out, against small services that fail at every
 * call in every way, and with a kill at every point: in the end the service has what we say it has,
 * once. BECKET_SWEEP=1 for all types. */
#include "base/percent.h"
#include "base/time.h"
#include "http/parse.h"
#include "hub/hub_private.h"
#include "hub/links/entry.h"
#include "hub/operations/operations.h"
#include "hub/operations/provider_work.h"
#include "hub/resources/apply.h"
#include "tests/directory.h"

#include <unistd.h>

#define PUBLIC "https://hooks.example"
#define CALLS  16U

enum fault {
    FAULT_NONE,
    FAULT_LOST, /* never arrives */
    FAULT_CUT,  /* done there, but we do not hear of it */
    FAULT_503,
    FAULT_429,
    FAULT_ODD,      /* an answer of something else */
    FAULT_401,      /* waits for a new token */
    FAULT_422,      /* waits for a person */
    KILL_BEFORE,    /* the call was stored and never made */
    KILL_UNDER_WAY, /* it arrives, its answer does not */
    KILL_ANSWERED,  /* the answer came, and was not stored */
    KILL_AHEAD,     /* it arrives when the next start has begun */
    FAULT_COUNT
};

/* ---- the services: hooks by address, messages by text */

#define THINGS_MAX 64U

static struct {
    unsigned count, next_id;
    struct thing {
        unsigned id;
        char text[200]; /* of a hook its address, of a message what names it */
    } at[THINGS_MAX];
    unsigned made; /* so far, also what is gone again */
} service;

static char answer_text[65536];

static const char *say(unsigned status, const char *json)
{
    snprintf(answer_text, sizeof answer_text, "HTTP/1.1 %u x\r\n\r\n%s", status, json);
    return answer_text;
}

/* What stands behind a word in the body, up to the quote. */
static void word_behind(const struct operation_call *call, const char *mark, char ret_word[200])
{
    const uint8_t *at = memmem(call->body.at, call->body.bytes, mark, strlen(mark));
    ret_word[0] = '\0';
    if (at) {
        size_t bytes = 0;
        at += strlen(mark);
        while (at + bytes < call->body.at + call->body.bytes && at[bytes] != '"' &&
               at[bytes] != '%' && bytes < 199) {
            bytes++;
        }
        memcpy(ret_word, at, bytes);
        ret_word[bytes] = '\0';
    }
}

static unsigned add_thing(const char *text)
{
    bk_assert(service.count < THINGS_MAX);
    struct thing *thing = &service.at[service.count++];
    thing->id = ++service.next_id;
    service.made++;
    snprintf(thing->text, sizeof thing->text, "%s", text);
    return thing->id;
}

static const char *list(bool gitlab)
{
    size_t at = (size_t)snprintf(answer_text, sizeof answer_text, "HTTP/1.1 200 OK\r\n\r\n[");
    for (unsigned i = 0; i < service.count; i++) {
        at += (size_t)snprintf(answer_text + at, sizeof answer_text - at,
                               gitlab ? "%s{\"id\":%u,\"url\":\"%s\"}"
                                      : "%s{\"id\":%u,\"active\":true,\"events\":[],\"config\":{"
                                        "\"url\":\"%s\",\"content_type\":\"json\"}}",
                               i ? "," : "", service.at[i].id, service.at[i].text);
    }
    snprintf(answer_text + at, sizeof answer_text - at, "]");
    return answer_text;
}

static const char *of_hooks(const struct operation_call *call, const char *hooks, bool gitlab)
{
    char text[200], json[300];
    unsigned id = hooks[6] == '/' ? (unsigned)strtoul(hooks + 7, NULL, 10) : 0;
    if (call->method == HTTP_GET) {
        return list(gitlab);
    }
    if (call->method == HTTP_POST) { /* these two let one address have two hooks */
        word_behind(call, "\"url\":\"", text);
        snprintf(json, sizeof json, "{\"id\":%u}", add_thing(text));
        return say(201, json);
    }
    for (unsigned i = 0; i < service.count; i++) {
        if (service.at[i].id == id && call->method == HTTP_DELETE) {
            service.at[i] = service.at[--service.count];
            return say(204, "");
        }
        if (service.at[i].id == id) {
            return say(200, "{}");
        }
    }
    return say(404, "{}");
}

static const char *of_slack(const struct operation_call *call, const char *url)
{
    char text[200];
    if (strstr(url, "/conversations.history")) {
        size_t at = (size_t)snprintf(answer_text, sizeof answer_text,
                                     "HTTP/1.1 200 OK\r\n\r\n{\"ok\":true,\"messages\":[");
        for (unsigned i = 0; i < service.count; i++) {
            at += (size_t)snprintf(answer_text + at, sizeof answer_text - at,
                                   "%s{\"ts\":\"1.%u\",\"blocks\":[{\"block_id\":\"becket-%s\"}]}",
                                   i ? "," : "", service.at[i].id, service.at[i].text);
        }
        snprintf(answer_text + at, sizeof answer_text - at, "]}");
        return answer_text;
    }
    if (strstr(url, "/chat.postMessage")) {
        word_behind(call, "becket-", text);
        add_thing(text);
        return say(200, "{\"ok\":true,\"ts\":\"1.1\"}");
    }
    return say(200, "{\"ok\":true,\"channel\":{\"id\":\"C0123456789\",\"name\":\"general\"}}");
}

static const char *of_discord(const struct operation_call *call, const char *url)
{
    char text[200];
    if (!strstr(url, "/messages")) {
        return say(200, "{\"id\":\"41771983423143937\",\"name\":\"general\"}");
    }
    if (call->method == HTTP_GET) {
        size_t at = (size_t)snprintf(answer_text, sizeof answer_text, "HTTP/1.1 200 OK\r\n\r\n[");
        for (unsigned i = 0; i < service.count; i++) {
            at += (size_t)snprintf(answer_text + at, sizeof answer_text - at,
                                   "%s{\"id\":\"1\",\"nonce\":\"%s\"}", i ? "," : "",
                                   service.at[i].text);
        }
        snprintf(answer_text + at, sizeof answer_text - at, "]");
        return answer_text;
    }
    word_behind(call, "\"nonce\":\"", text);
    for (unsigned i = 0; i < service.count; i++) {
        if (strcmp(service.at[i].text, text) == 0) {
            return say(200, "{\"id\":\"1\"}");
        }
    }
    add_thing(text);
    return say(200, "{\"id\":\"1\"}");
}

static const char *serve(const struct operation_call *call)
{
    char url[600];
    snprintf(url, sizeof url, "%.*s", (int)call->url.bytes, (const char *)call->url.at);
    const char *hooks = strstr(url, "/hooks");
    return strstr(url, "//slack.")     ? of_slack(call, url)
           : strstr(url, "//discord.") ? of_discord(call, url)
           : hooks                     ? of_hooks(call, hooks, strstr(url, "//gitlab.") != NULL)
                                       : say(200, "{\"id\":1}");
}

/* ---- the world */

static char directory[200];
static struct hub *hub;
static struct operations *operations;
static struct operation_call *out[CALLS];
static unsigned out_count;
static int64_t now_ns = 1767225600LL * 1000000000LL;

/* What left before a kill and arrives a second later. */
static struct {
    bool flies;
    int64_t arrives_ns;
    struct operation_call call;
    char url[600], body[8192];
} letter;

static void fly(const struct operation_call *call)
{
    letter.call = *call;
    bk_assert(call->url.bytes < sizeof letter.url && call->body.bytes < sizeof letter.body);
    memcpy(letter.url, call->url.at, call->url.bytes);
    letter.call.url = slice_of(letter.url, call->url.bytes);
    if (call->body.bytes > 0) {
        memcpy(letter.body, call->body.at, call->body.bytes);
    }
    letter.call.body = slice_of(letter.body, call->body.bytes);
    letter.arrives_ns = now_ns + NS_PER_SECOND;
    letter.flies = true;
}

static void send_call(void *context, struct operation_call *call)
{
    (void)context;
    bk_assert(out_count < CALLS);
    out[out_count++] = call;
}

static void open_all(void)
{
    char why[HUB_WHY_BYTES];
    struct hub_config hub_config = {
        .data_directory = directory, .public_url = PUBLIC, .now_ns = now_ns};
    if (hub_open(&hub_config, &hub, why) != BK_OK) {
        bail_out("%s", why);
    }
    struct operations_config config = {.hub = hub,
                                       .send = send_call,
                                       .load = provider_work_load,
                                       .logged_in = provider_work_logged_in,
                                       .settle = provider_work_settle,
                                       .context = hub};
    if (operations_open(&config, &operations) != BK_OK) {
        bail_out("operations");
    }
    out_count = 0;
}

/* As kill -9 does. */
static void kill_all(void)
{
    operations_close(operations);
    hub_close(hub);
    open_all();
}

static void apply(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void apply(const char *format, ...)
{
    static char text[4096];
    struct apply_outcome outcome;
    struct apply_options options = {.mode = APPLY_SET, .now_ns = now_ns};
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (apply_text(hub, slice_str(text), &options, &outcome) != BK_OK) {
        bail_out("%s\n%s", outcome.message, text);
    }
    apply_outcome_fini(&outcome);
}

static void delete (enum resource_kind kind, const char *name)
{
    struct apply_outcome outcome;
    struct apply_options options = {.now_ns = now_ns};
    if (apply_delete(hub, kind, slice_str(name), &options, &outcome) != BK_OK) {
        bail_out("%s", outcome.message);
    }
    apply_outcome_fini(&outcome);
}

/* Answer the oldest call. */
static void reply(enum fault fault)
{
    static const char *const texts[FAULT_COUNT] = {
        [FAULT_503] = "HTTP/1.1 503 x\r\n\r\noops",
        [FAULT_429] = "HTTP/1.1 429 x\r\nRetry-After: 7\r\n\r\n{}",
        [FAULT_ODD] = "HTTP/1.1 200 x\r\n\r\n<html>",
        [FAULT_401] = "HTTP/1.1 401 x\r\n\r\n{\"message\":\"Bad credentials\"}",
        [FAULT_422] = "HTTP/1.1 422 x\r\n\r\n{\"message\":\"no\"}"};
    struct operation_call *call = out[0];
    struct operation_answer answer = {.why = "connection reset"};
    struct http_head head;
    memmove(out, out + 1, --out_count * sizeof out[0]);
    const char *text = texts[fault];
    if (fault == FAULT_NONE || fault == FAULT_CUT || fault == KILL_ANSWERED) {
        text = serve(call);
    }
    if (text && fault != FAULT_CUT) {
        if (http_parse_response((const uint8_t *)text, strlen(text), &head) != HTTP_PARSE_DONE) {
            bail_out("the test's own answer");
        }
        answer = (struct operation_answer){
            .arrived = true,
            .head = &head,
            .body = slice_of(text + head.head_bytes, strlen(text) - head.head_bytes)};
    }
    operations_answered(operations, call, &answer, now_ns);
}

/* Until nothing is left to do for now; the call with this number fails so. */
static unsigned run(unsigned fault_at, enum fault fault)
{
    unsigned count = 0;
    for (unsigned turn = 0; turn < 1000; turn++) {
        if (letter.flies && now_ns >= letter.arrives_ns) {
            letter.flies = false;
            serve(&letter.call);
        }
        if (hub_take_work(hub)) {
            operations_wake(operations);
        }
        operations_run(operations, now_ns);
        if (out_count > 0) {
            bool now = ++count == fault_at;
            if (now && (fault == KILL_BEFORE || fault == KILL_UNDER_WAY || fault == KILL_AHEAD)) {
                if (fault == KILL_UNDER_WAY) {
                    serve(out[0]);
                } else if (fault == KILL_AHEAD) {
                    fly(out[0]);
                }
                kill_all();
                continue;
            }
            reply(now ? fault : FAULT_NONE);
            if (now && fault == KILL_ANSWERED) {
                kill_all();
            }
            continue;
        }
        int64_t next_ns = operations_next_ns(operations);
        if (letter.flies && letter.arrives_ns < next_ns) {
            now_ns = letter.arrives_ns;
            continue;
        }
        if (next_ns == INT64_MAX || next_ns > now_ns + 10 * 60 * NS_PER_SECOND) {
            return count;
        }
        now_ns = next_ns > now_ns ? next_ns : now_ns;
    }
    bail_out("it never ends");
    return 0;
}

static bool status_has(const char *link, const char *text)
{
    struct buf json;
    buf_init(&json, 1U << 20);
    enum bk_err err = hub_get_json(hub, RESOURCE_INTEGRATION_LINK, SLICE("default"),
                                   slice_str(link), &json, NULL);
    bool has = err == BK_OK && strstr(buf_text(&json), text);
    if (!has) {
        diag("%s: %s", link, err == BK_OK ? buf_text(&json) : "not there");
    }
    buf_fini(&json);
    return has;
}

static unsigned unfinished(void)
{
    struct buf json;
    unsigned count = 0;
    buf_init(&json, 8U << 20);
    if (operations_list_json(operations, SLICE_EMPTY, 1000, SLICE_EMPTY, &json) != BK_OK) {
        bail_out("list");
    }
    for (const char *at = buf_text(&json); (at = strstr(at, "\"state\":\"")) != NULL; at += 9) {
        count += strncmp(at + 9, "done", 4) != 0;
    }
    buf_fini(&json);
    return count;
}

static unsigned token_number;

static void new_token(const char *kind)
{
    apply(
        "kind: Integration\nmetadata: {name: %s}\nspec: {type: %s, url: \"https://%s.test/acme\", "
        "apiUrl: \"https://%s.test\", check: false, auth: {use: AUTH_TYPE_TOKEN, token: {value: "
        "token-%u}}}",
        kind, kind, kind, kind, ++token_number);
}

/* A refusal is told, waits, and goes on with a new token. */
static void mend(const char *kind, const char *link, bool gone, enum fault fault)
{
    if (fault != FAULT_401 && fault != FAULT_422 && fault != FAULT_ODD) {
        return;
    }
    if (fault == FAULT_ODD && unfinished() == 0) {
        return; /* a removal looks whether it is gone, whatever it was told */
    }
    ok(unfinished() > 0, "it waits for a person");
    if (!gone) {
        ok(status_has(link, "\"state\":\"error\"") && status_has(link, "\"advice\":\""),
           "and says what is wrong");
    }
    new_token(kind);
    run(0, FAULT_NONE);
}

static unsigned names;

static unsigned one_life(const char *kind, unsigned create_at, unsigned remove_at, enum fault fault,
                         unsigned *ret_removing)
{
    char name[40];
    const char *what = strcmp(kind, "gitlab") == 0 ? "project" : "repository";
    snprintf(name, sizeof name, "l%u", names++);
    apply("kind: IntegrationLink\nmetadata: {name: %s}\nspec: {type: %s, integration: {name: %s}, "
          "team: {name: core}, settings: {%s: hello}}",
          name, kind, kind, what);
    unsigned creating = run(create_at, fault);
    mend(kind, name, false, create_at ? fault : FAULT_NONE);
    bool right = service.count == 1 && status_has(name, "\"state\":\"ready\"") && unfinished() == 0;
    ok(right, "%s: fault %d at call %u of making: %u hooks, %u open", kind, fault, create_at,
       service.count, unfinished());
    delete (RESOURCE_INTEGRATION_LINK, name);
    *ret_removing = run(remove_at, fault);
    mend(kind, name, true, remove_at ? fault : FAULT_NONE);
    ok(service.count == 0 && unfinished() == 0,
       "%s: fault %d at call %u of removing: %u hooks, %u open", kind, fault, remove_at,
       service.count, unfinished());
    service.count = 0;
    return creating;
}

static bool all; /* BECKET_SWEEP */

/* What ends as another fault does is left to the whole sweep. */
static bool is_swept(int fault)
{
    return all || (fault != FAULT_503 && fault != FAULT_429 && fault != FAULT_422);
}

static void sweep_hooks(const char *kind)
{
    unsigned removing, others;
    unsigned creating = one_life(kind, 0, 0, FAULT_NONE, &removing);
    ok(creating >= 2 && removing >= 2, "%s: %u calls to make, %u to remove", kind, creating,
       removing);
    for (int fault = FAULT_LOST; fault < FAULT_COUNT; fault++) {
        for (unsigned at = 1; at <= creating && is_swept(fault); at++) {
            one_life(kind, at, 0, (enum fault)fault, &others);
        }
        for (unsigned at = 1; at <= removing && is_swept(fault); at++) {
            one_life(kind, 0, at, (enum fault)fault, &others);
        }
    }
}

/* Removed while it is being made, at each call. */
static void sweep_superseded(const char *kind)
{
    for (int arrives = 0; arrives < 3; arrives++) {
        for (unsigned at = 1; at <= 2; at++) {
            char name[40];
            snprintf(name, sizeof name, "s%u", names++);
            apply("kind: IntegrationLink\nmetadata: {name: %s}\nspec: {type: %s, integration: "
                  "{name: %s}, team: {name: core}, settings: {%s: hello}}",
                  name, kind, kind, strcmp(kind, "gitlab") == 0 ? "project" : "repository");
            hub_take_work(hub);
            operations_wake(operations);
            operations_run(operations, now_ns);
            for (unsigned i = 1; i < at; i++) {
                reply(FAULT_NONE);
                operations_run(operations, now_ns);
            }
            delete (RESOURCE_INTEGRATION_LINK, name);
            if (arrives == 2) {
                serve(out[0]);
                kill_all();
            } else {
                reply(arrives ? FAULT_CUT : FAULT_LOST);
            }
            run(0, FAULT_NONE);
            ok(service.count == 0 && unfinished() == 0,
               "%s: removed while call %u of its making is out (%d): %u hooks", kind, at, arrives,
               service.count);
            service.count = 0;
        }
    }
}

static void write_entry(void)
{
    char body[40];
    struct entry_problem problem;
    struct buf json;
    snprintf(body, sizeof body, "thing %u", names++);
    buf_init(&json, 1U << 20);
    struct entry_request request = {.team = SLICE("core"), .body = slice_str(body)};
    if (entry_create(hub, &request, now_ns, &problem, &json) != BK_OK) {
        bail_out("entry: %s", problem.message);
    }
    buf_fini(&json);
}

/* The answer to the newer message comes first, and is a refusal. */
static void test_crossed(const char *kind)
{
    write_entry();
    write_entry();
    hub_take_work(hub);
    operations_wake(operations);
    operations_run(operations, now_ns);
    if (!is_uint(out_count, 2, "two messages are out")) {
        return;
    }
    struct operation_call *older = out[0];
    out[0] = out[1];
    out[1] = older;
    reply(FAULT_401);
    operations_run(operations, now_ns);
    reply(FAULT_NONE);
    operations_run(operations, now_ns);
    ok(status_has(kind, "\"state\":\"error\"") && status_has(kind, "\"reason\":\"auth\""),
       "%s: an older message's success does not hide it", kind);
    write_entry();
    hub_take_work(hub);
    operations_wake(operations);
    operations_run(operations, now_ns);
    reply(FAULT_NONE);
    operations_run(operations, now_ns);
    ok(status_has(kind, "\"state\":\"ready\""), "a newer one's ends it");
    new_token(kind);
    run(0, FAULT_NONE);
    is_uint(service.made, 3, "and all go out");
    service.made = service.count = 0;
}

/* An entry by hand, and its message. */
static unsigned one_entry(const char *kind, unsigned at, enum fault fault)
{
    write_entry();
    unsigned calls = run(at, fault);
    mend(kind, kind, false, at ? fault : FAULT_NONE);
    ok(service.made == 1 && unfinished() == 0 && status_has(kind, "\"state\":\"ready\""),
       "%s: fault %d at call %u of a message: %u messages, %u open", kind, fault, at, service.made,
       unfinished());
    service.made = service.count = 0;
    return calls;
}

static void sweep_entries(const char *kind, const char *channel)
{
    apply("kind: IntegrationLink\nmetadata: {name: %s}\nspec: {type: %s, integration: {name: %s}, "
          "team: {name: core}, settings: {channel: \"%s\"}}",
          kind, kind, kind, channel);
    run(0, FAULT_NONE);
    service.made = service.count = 0;
    ok(status_has(kind, "\"resourceId\""), "%s: the channel is found", kind);
    is_uint(one_entry(kind, 0, FAULT_NONE), 1, "a message is one call");
    for (int fault = FAULT_LOST; fault < FAULT_COUNT; fault++) {
        one_entry(kind, 1, (enum fault)fault);
    }
    test_crossed(kind);
    delete (RESOURCE_INTEGRATION_LINK, kind);
    run(0, FAULT_NONE);
}

int main(void)
{
    static const char *const kinds[] = {"gitlab", "github", "gitea", "slack", "discord"};
    all = getenv("BECKET_SWEEP") != NULL;
    test_directory(directory, sizeof directory, false);
    open_all();
    apply("kind: Team\nmetadata: {name: core}\nspec: {}");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        new_token(kinds[i]);
    }
    run(0, FAULT_NONE);
    for (size_t i = 0; i < (all ? 3 : 1); i++) {
        sweep_hooks(kinds[i]);
        sweep_superseded(kinds[i]);
    }
    sweep_entries("slack", "C0123456789");
    sweep_entries("discord", "41771983423143937");
    operations_close(operations);
    hub_close(hub);
    test_directory_drop(directory);
    return done_testing();
}
