/* Description: operations against a small GitHub that fails at every call in every way, and with a
 * kill at every point: in the end there is exactly one hook, or none, and the record says so. */
#include "base/time.h"
#include "http/parse.h"
#include "hub/hub_private.h"
#include "hub/operations/operations.h"
#include "tests/directory.h"

#include <unistd.h>

#define NOW 1767225600000000000LL
#define URL "https://hooks.example/hooks/abc"

/* ---- a GitHub with one repository */

#define HOOKS_MAX 8U

static struct {
    unsigned hooks[HOOKS_MAX]; /* ids of hooks to our address */
    unsigned hook_count;
    unsigned next_id;
    unsigned calls;
    unsigned creations;
} github;

enum fault { FAULT_NONE, FAULT_LOST, FAULT_CUT, FAULT_503, FAULT_429, FAULT_COUNT };

static char answer_text[8192];

static const char *list_hooks(void)
{
    size_t at = (size_t)snprintf(answer_text, sizeof answer_text, "HTTP/1.1 200 OK\r\n\r\n[");
    for (unsigned i = 0; i < github.hook_count; i++) {
        at += (size_t)snprintf(answer_text + at, sizeof answer_text - at,
                               "%s{\"id\":%u,\"active\":true,\"events\":[\"push\"],\"config\":{"
                               "\"url\":\"" URL "\",\"content_type\":\"json\"}}",
                               i ? "," : "", github.hooks[i]);
    }
    snprintf(answer_text + at, sizeof answer_text - at, "]");
    return answer_text;
}

static const char *create_hook(void)
{
    if (github.hook_count > 0) {
        return "HTTP/1.1 422 x\r\n\r\n{\"message\":\"Hook already exists on this repository\"}";
    }
    github.creations++;
    github.hooks[github.hook_count++] = ++github.next_id;
    snprintf(answer_text, sizeof answer_text, "HTTP/1.1 201 x\r\n\r\n{\"id\":%u}", github.next_id);
    return answer_text;
}

static const char *delete_hook(unsigned id)
{
    for (unsigned i = 0; i < github.hook_count; i++) {
        if (github.hooks[i] == id) {
            github.hooks[i] = github.hooks[--github.hook_count];
            return "HTTP/1.1 204 x\r\n\r\n";
        }
    }
    return "HTTP/1.1 404 x\r\n\r\n{}";
}

static const char *serve(const struct operation_call *call)
{
    char url[512];
    snprintf(url, sizeof url, "%.*s", (int)call->url.bytes, (const char *)call->url.at);
    const char *hooks = strstr(url, "/repos/acme/hello/hooks");
    github.calls++;
    if (!hooks) {
        return "HTTP/1.1 404 x\r\n\r\n{}";
    }
    if (call->method == HTTP_GET) {
        return list_hooks();
    }
    if (call->method == HTTP_POST) {
        return create_hook();
    }
    if (call->method == HTTP_DELETE) {
        return delete_hook((unsigned)strtoul(hooks + strlen("/repos/acme/hello/hooks/"), NULL, 10));
    }
    return "HTTP/1.1 200 x\r\n\r\n{}";
}

/* ---- the world of one run */

static const char *public_url;
static char directory[200];
static struct hub *hub;
static struct operations *operations;
static struct operation_call *out; /* the one that was sent and not answered */
static bool object_exists;
static unsigned settled;
static enum operation_state settled_state;
static char settled_why[256];
static int64_t now_ns;
static const uint8_t object[16] = {1, 2, 3};

static bool silent;            /* nobody answers */
static const char *load_lacks; /* what an operation needs and is not there */

static void send_call(void *context, struct operation_call *call)
{
    (void)context;
    if (silent) {
        return;
    }
    if (out) {
        bail_out("two calls for one object at once");
    }
    out = call;
}

static enum bk_err load(void *context, struct store_txn *txn, struct operation *operation,
                        int64_t at_ns, struct arena *arena, struct operation_ground *ground)
{
    static const struct slice push[] = {SLICE("push")};
    (void)context;
    (void)txn;
    (void)at_ns;
    (void)arena;
    if (!object_exists && operation->intent != PROVIDER_HOOK_REMOVE) {
        return BK_NOT_FOUND;
    }
    if (load_lacks) {
        snprintf(ground->why, sizeof ground->why, "%s", load_lacks);
        return BK_INVALID;
    }
    *ground = (struct operation_ground){.provider = provider_find(operation->provider),
                                        .facts = operation->facts,
                                        .base = SLICE("https://api.github.com"),
                                        .credential = SLICE("ghp_planted_secret"),
                                        .auth = {"Authorization", "Bearer "}};
    ground->facts.hook_key = SLICE("key");
    ground->facts.channel = SLICE("C0123456789");
    ground->facts.text = SLICE("done");
    ground->facts.once = SLICE("0123456789abcdef01234567");
    ground->facts.events = push;
    ground->facts.event_count = 1;
    return BK_OK;
}

static enum bk_err settle(void *context, struct store_txn *txn, const struct operation *operation)
{
    (void)context;
    (void)txn;
    settled++;
    settled_state = operation->state;
    snprintf(settled_why, sizeof settled_why, "%.*s", (int)operation->why.bytes,
             (const char *)operation->why.at);
    return BK_OK;
}

static void open_all(void)
{
    char why[HUB_WHY_BYTES];
    struct hub_config hub_config = {
        .data_directory = directory, .public_url = public_url, .now_ns = NOW};
    if (hub_open(&hub_config, &hub, why) != BK_OK) {
        bail_out("%s", why);
    }
    struct operations_config config = {
        .hub = hub, .send = send_call, .load = load, .settle = settle};
    if (operations_open(&config, &operations) != BK_OK) {
        bail_out("operations");
    }
    out = NULL;
}

/* As kill -9 does: nothing is written any more, what was sent is on its way. */
static void kill_all(void)
{
    operations_close(operations);
    hub_close(hub);
    out = NULL;
}

static void fresh(void)
{
    test_directory(directory, sizeof directory, false);
    memset(&github, 0, sizeof github);
    public_url = "https://hooks.example";
    object_exists = true;
    settled = 0;
    now_ns = NOW;
    open_all();
}

static void finish(void)
{
    kill_all();
    test_directory_drop(directory);
}

static enum bk_err add_one(struct store_txn *txn, void *context)
{
    const enum provider_intent *intent = context;
    struct operation operation = {.intent = *intent,
                                  .kind = RESOURCE_EVENT_SOURCE,
                                  .canvas = SLICE("default"),
                                  .name = SLICE("repo"),
                                  .integration_canvas = SLICE("default"),
                                  .integration = SLICE("hub"),
                                  .provider =
                                      *intent == PROVIDER_POST ? SLICE("slack") : SLICE("github"),
                                  .facts = {.url = SLICE("https://github.com/acme"),
                                            .resource = SLICE("hello"),
                                            .hook_url = SLICE(URL)},
                                  .created_ns = now_ns,
                                  .due_ns = now_ns};
    memcpy(operation.object, object, sizeof object);
    return operation_add(txn, &operation);
}

static void add(enum provider_intent intent)
{
    if (store_update(hub_store(hub), add_one, &intent) != BK_OK) {
        bail_out("operation_add");
    }
    operations_wake(operations);
}

/* Answer the call that is out: with what GitHub says, or a fault. */
static void reply(enum fault fault)
{
    struct operation_call *call = out;
    struct operation_answer answer = {.arrived = true};
    struct http_head head;
    const char *text = "";
    out = NULL;
    if (fault == FAULT_LOST) { /* never arrived */
        answer = (struct operation_answer){.why = "connection refused"};
    } else if (fault == FAULT_503 || fault == FAULT_429) {
        text = fault == FAULT_503 ? "HTTP/1.1 503 x\r\n\r\noops"
                                  : "HTTP/1.1 429 x\r\nRetry-After: 7\r\n\r\n{}";
    } else {
        text = serve(call);
        if (fault == FAULT_CUT) { /* done there, but we do not hear of it */
            answer = (struct operation_answer){.why = "connection reset"};
        }
    }
    if (answer.arrived) {
        if (http_parse_response((const uint8_t *)text, strlen(text), &head) != HTTP_PARSE_DONE) {
            bail_out("the test's own answer");
        }
        answer.head = &head;
        answer.body = slice_of(text + head.head_bytes, strlen(text) - head.head_bytes);
    }
    operations_answered(operations, call, &answer, now_ns);
}

/* Until nothing is left to do. fault_at: the number of the call that fails; kill_at: the number of
 * the call before (late == false) or behind (true) whose arrival at GitHub the process is killed.
 */
static unsigned run(unsigned fault_at, enum fault fault, unsigned kill_at, bool late)
{
    unsigned count = 0;
    for (unsigned turn = 0; turn < 500; turn++) {
        operations_run(operations, now_ns);
        if (out) {
            count++;
            if (count == kill_at) {
                if (late) {
                    serve(out);
                }
                kill_all();
                open_all();
            } else {
                reply(count == fault_at ? fault : FAULT_NONE);
            }
            continue;
        }
        int64_t next_ns = operations_next_ns(operations);
        if (next_ns == INT64_MAX || next_ns > now_ns + 10 * 60 * NS_PER_SECOND) {
            return count;
        }
        now_ns = next_ns > now_ns ? next_ns : now_ns;
    }
    bail_out("it never ends");
    return 0;
}

static void test_sweep(enum provider_intent intent, unsigned hooks_before, unsigned hooks_after)
{
    fresh();
    github.hook_count = hooks_before;
    github.hooks[0] = github.next_id = hooks_before;
    add(intent);
    unsigned calls = run(0, FAULT_NONE, 0, false);
    ok(calls > 0 && settled_state == OPERATION_DONE, "%s: %u calls", operation_intent_name(intent),
       calls);
    finish();
    for (unsigned at = 1; at <= calls; at++) {
        for (int fault = FAULT_LOST; fault < FAULT_COUNT + 2; fault++) {
            fresh();
            github.hook_count = hooks_before;
            github.hooks[0] = github.next_id = hooks_before;
            add(intent);
            if (fault < FAULT_COUNT) {
                run(at, (enum fault)fault, 0, false);
            } else {
                run(0, FAULT_NONE, at, fault > FAULT_COUNT);
            }
            bool right = github.hook_count == hooks_after && settled > 0 &&
                         settled_state == OPERATION_DONE && github.creations <= 1;
            ok(right, "%s, call %u, fault %d: %u hooks, %u made, state %d",
               operation_intent_name(intent), at, fault, github.hook_count, github.creations,
               (int)settled_state);
            finish();
        }
    }
}

static void set_back(int64_t *began_ns)
{
    static const int64_t by_ns = 7 * 3600 * NS_PER_SECOND;
    now_ns -= by_ns;
    *began_ns -= by_ns;
    operations_clock_was_set(operations, now_ns + by_ns, now_ns);
}

/* The call is given up here and does its work there while somebody has looked already: what it made
 * is found behind that, once; also where the clock is set back in between. */
enum clock { CLOCK_RIGHT, CLOCK_SET_BEFORE, CLOCK_SET_DURING, CLOCK_SET_BEHIND };

static void test_late(bool killed, enum provider_intent then, unsigned hooks_after,
                      enum clock clock)
{
    struct operation_answer nothing = {.why = "no answer within 30000 ms"};
    fresh();
    add(PROVIDER_HOOK_ENSURE);
    for (operations_run(operations, now_ns); out->method != HTTP_POST;
         operations_run(operations, now_ns)) {
        reply(FAULT_NONE);
    }
    struct operation_call *late = out;
    out = NULL;
    if (killed) {
        kill_all();
        open_all();
    } else {
        operations_answered(operations, late, &nothing, now_ns);
        operations_run(operations, now_ns);
    }
    if (then == PROVIDER_HOOK_REMOVE) {
        add(then);
    }
    int64_t began_ns = now_ns;
    if (clock == CLOCK_SET_BEFORE) {
        set_back(&began_ns);
    }
    for (bool during = clock == CLOCK_SET_DURING;
         settled == 0 || settled_state != OPERATION_DONE;) {
        operations_run(operations, now_ns);
        if (out && during) {
            set_back(&began_ns);
            during = false;
        }
        int64_t next_ns = operations_next_ns(operations);
        if (out) {
            reply(FAULT_NONE);
        } else if (next_ns > now_ns && next_ns < INT64_MAX) {
            now_ns = next_ns;
        }
    }
    bool soon = now_ns < began_ns + 20 * NS_PER_SECOND;
    github.hooks[github.hook_count++] = ++github.next_id; /* what was late */
    unsigned before = github.hook_count;
    if (clock == CLOCK_SET_BEHIND) {
        set_back(&began_ns);
    }
    run(0, FAULT_NONE, 0, false);
    ok(soon && before == hooks_after + 1 && github.hook_count == hooks_after &&
           settled_state == OPERATION_DONE && now_ns < began_ns + 120 * NS_PER_SECOND,
       "%s, %s, clock %d: %u hooks, then %u after %d s", killed ? "killed" : "no answer",
       operation_intent_name(then), (int)clock, before, github.hook_count,
       (int)((now_ns - began_ns) / NS_PER_SECOND));
    int64_t next_ns = operations_next_ns(operations);
    ok(next_ns > now_ns + 3600 * NS_PER_SECOND, "and that was all");
    finish();
}

static void json_of(uint64_t number, struct buf *json)
{
    buf_reset(json);
    is_int(operations_get_json(operations, number, json), BK_OK);
}

static void test_refused(void)
{
    struct buf json;
    buf_init(&json, 1U << 20);
    fresh();
    github.hook_count = 0;
    add(PROVIDER_RESOURCE_CHECK); /* this GitHub has no such address: 404 */
    run(0, FAULT_NONE, 0, false);
    is_int(settled_state, OPERATION_FAILED, "a refusal waits for a person: %s", settled_why);
    json_of(1, &json);
    ok(strstr(buf_text(&json), "\"reason\":\"not_found\""), "%s", buf_text(&json));
    ok(strstr(buf_text(&json), "\"advice\":\"check the name"), "it says what to do");
    ok(!strstr(buf_text(&json), "ghp_planted"), "no secret");
    unsigned calls = github.calls;
    is_int(operations_retry(operations, 1, now_ns), BK_OK);
    run(0, FAULT_NONE, 0, false);
    is_uint(github.calls, calls + 1, "tried again by hand");
    is_int(operations_retry(operations, 99, now_ns), BK_NOT_FOUND);
    is_int(operations_retry(operations, 1, now_ns), BK_OK);
    operations_run(operations, now_ns);
    is_int(operations_retry(operations, 1, now_ns), BK_OK, "asked for while its call is out");
    reply(FAULT_NONE); /* the 404 of before somebody mended it */
    operations_run(operations, now_ns);
    operations_run(operations, now_ns);
    ok(out != NULL, "it is made again at once, though this one was refused");
    run(0, FAULT_NONE, 0, false);
    object_exists = false;
    is_int(operations_retry(operations, 1, now_ns), BK_OK);
    run(0, FAULT_NONE, 0, false);
    buf_reset(&json);
    is_int(operations_get_json(operations, 1, &json), BK_NOT_FOUND, "its object is gone, so is it");
    finish();
    buf_fini(&json);
}

/* What the call that is out is answered, whatever it is. */
static void reply_with(const char *text)
{
    struct operation_call *call = out;
    struct operation_answer answer = {.why = "connection reset"};
    struct http_head head;
    out = NULL;
    if (text) {
        is_int(http_parse_response((const uint8_t *)text, strlen(text), &head), HTTP_PARSE_DONE);
        answer = (struct operation_answer){.arrived = true, .head = &head};
        answer.body = slice_of(text + head.head_bytes, strlen(text) - head.head_bytes);
    }
    operations_answered(operations, call, &answer, now_ns);
    operations_run(operations, now_ns);
}

static bool asks_for(const char *what)
{
    for (unsigned turn = 0; turn < 100 && !out; turn++) {
        now_ns += NS_PER_SECOND / 2;
        operations_run(operations, now_ns);
    }
    return out && memmem(out->url.at, out->url.bytes, what, strlen(what));
}

/* A message whose answer told nothing is looked for before it is posted again, whatever else goes
 * wrong in between. */
static void test_doubt(void)
{
    static const char *const answers[] = {NULL, "HTTP/1.1 200 x\r\n\r\n<html>a proxy's page"};
    for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        for (unsigned lacks = 0; lacks < 2; lacks++) {
            fresh();
            add(PROVIDER_POST);
            ok(asks_for("/chat.postMessage"), "posted at once");
            reply_with(answers[i]);
            if (lacks) {
                load_lacks = "nobody is connected";
                is_int(operations_retry(operations, 1, now_ns), BK_OK);
                operations_run(operations, now_ns += 5 * NS_PER_SECOND);
                is_int(settled_state, OPERATION_FAILED, "%s", settled_why);
                load_lacks = NULL;
            }
            is_int(operations_retry(operations, 1, now_ns), BK_OK);
            ok(asks_for("/conversations.history"), "looked for, then");
            reply_with("HTTP/1.1 200 x\r\n\r\n{\"ok\":true,\"messages\":[]}");
            ok(asks_for("/chat.postMessage"), "posted, as it was not there");
            finish();
        }
    }
}

/* Set back, a clock does not keep what is tried again from its time; set forward, neither. */
static void test_clock(void)
{
    static const int64_t hours[] = {-7, 5};
    for (unsigned i = 0; i < sizeof hours / sizeof hours[0]; i++) {
        fresh();
        add(PROVIDER_HOOK_ENSURE);
        operations_run(operations, now_ns);
        reply(FAULT_503);
        operations_run(operations, now_ns);
        int64_t before_ns = now_ns;
        now_ns += hours[i] * 3600 * NS_PER_SECOND;
        operations_clock_was_set(operations, before_ns, now_ns);
        operations_run(operations, now_ns);
        int64_t wait_ns = out ? 0 : operations_next_ns(operations) - now_ns;
        ok(wait_ns <= 2 * NS_PER_SECOND, "a clock set by %d h: another try after %d ms",
           (int)hours[i], (int)(wait_ns / 1000000));
        run(0, FAULT_NONE, 0, false);
        ok(settled_state == OPERATION_DONE && github.creations == 1, "and it is done once");
        finish();
    }
}

static enum bk_err resume(struct store_txn *txn, void *context)
{
    (void)context;
    return operations_resume(txn, SLICE("default"), SLICE("hub"), 0, now_ns);
}

/* A credential that changes while the call with the old one is out. */
static void test_credential(void)
{
    fresh();
    add(PROVIDER_RESOURCE_CHECK);
    run(0, FAULT_NONE, 0, false);
    is_int(settled_state, OPERATION_FAILED);
    now_ns += 86400 * NS_PER_SECOND;
    operations_run(operations, now_ns); /* by itself, after a day */
    ok(out != NULL, "its call is out");
    now_ns += NS_PER_SECOND;
    is_int(store_update(hub_store(hub), resume, NULL), BK_OK);
    reply(FAULT_NONE);
    unsigned calls = github.calls;
    operations_run(operations, now_ns);
    operations_run(operations, now_ns);
    ok(out != NULL, "it is made again with the new one");
    reply(FAULT_NONE);
    for (unsigned i = 0; i < 10; i++) {
        operations_run(operations, now_ns);
        ok(out == NULL, "and then no more");
    }
    is_uint(github.calls, calls + 1);
    finish();
    fresh();
    add(PROVIDER_RESOURCE_CHECK);
    operations_run(operations, now_ns);
    ok(out != NULL, "its first call is out");
    is_int(store_update(hub_store(hub), resume, NULL), BK_OK);
    operations_wake(operations);
    reply(FAULT_NONE);
    operations_run(operations, now_ns);
    operations_run(operations, now_ns);
    ok(out != NULL, "refused with the old credential, it is made again with the new one");
    finish();
}

#define MANY 1000U

static enum bk_err add_failed(struct store_txn *txn, void *context)
{
    enum bk_err err = BK_OK;
    (void)context;
    for (unsigned i = 0; err == BK_OK && i < MANY; i++) {
        struct operation operation = {.intent = PROVIDER_HOOK_ENSURE,
                                      .state = OPERATION_FAILED,
                                      .kind = RESOURCE_EVENT_SOURCE,
                                      .canvas = SLICE("default"),
                                      .name = SLICE("repo"),
                                      .integration_canvas = SLICE("default"),
                                      .integration = SLICE("hub"),
                                      .provider = SLICE("github"),
                                      .facts = {.url = SLICE("https://github.com/acme"),
                                                .resource = SLICE("hello"),
                                                .hook_url = SLICE(URL)},
                                      .fault = PROVIDER_FAULT_AUTH,
                                      .why = SLICE("401"),
                                      .due_ns = now_ns + 86400 * NS_PER_SECOND};
        memcpy(operation.object, &i, sizeof i);
        err = operation_add(txn, &operation);
    }
    return err;
}

static unsigned count_state(const char *state)
{
    struct buf json;
    char mark[32];
    unsigned count = 0;
    snprintf(mark, sizeof mark, "\"state\":\"%s\"", state);
    buf_init(&json, 16U << 20);
    is_int(operations_list_json(operations, SLICE_EMPTY, 2 * MANY, SLICE_EMPTY, &json), BK_OK);
    struct slice rest = buf_slice(&json);
    const uint8_t *at; /* memmem: under ASan strstr measures all of the text each time */
    while ((at = memmem(rest.at, rest.bytes, mark, strlen(mark))) != NULL) {
        rest = slice_skip(rest, (size_t)(at - rest.at) + 1);
        count++;
    }
    buf_fini(&json);
    return count;
}

/* As time goes on, until nothing is left to do soon. */
static unsigned steps(void)
{
    unsigned turns = 0;
    while (turns < 100 && operations_next_ns(operations) <= now_ns + NS_PER_SECOND) {
        int64_t next_ns = operations_next_ns(operations);
        now_ns = next_ns > now_ns ? next_ns : now_ns;
        operations_run(operations, now_ns);
        turns++;
    }
    return turns;
}

/* A new credential wakes all that waits for it, some at a time, also over a kill. */
static void test_many(void)
{
    fresh();
    silent = true;
    is_int(store_update(hub_store(hub), add_failed, NULL), BK_OK);
    operations_run(operations, now_ns);
    is_uint(count_state("failed"), MANY);
    is_int(store_update(hub_store(hub), resume, NULL), BK_OK);
    is_uint(count_state("pending"), OPERATIONS_RESUMED_MAX, "the first ones at once");
    operations_wake(operations);
    operations_run(operations, now_ns);
    is_uint(count_state("pending"), 2 * OPERATIONS_RESUMED_MAX, "a turn takes no more than that");
    operations_wake(operations);
    operations_run(operations, now_ns);
    is_uint(count_state("pending"), 2 * OPERATIONS_RESUMED_MAX, "nor does the next one at once");
    kill_all();
    open_all();
    unsigned turns = steps();
    is_uint(count_state("pending"), MANY, "then all of them, after %u turns", turns);
    is_uint(count_state("failed"), 0, "none is left");
    silent = false;
    finish();
}

static bool is_leading(void)
{
    struct store_txn *txn;
    struct slice value;
    if (store_read(hub_store(hub), &txn) != BK_OK) {
        bail_out("store_read");
    }
    bool found = store_get(txn, KEY_LEADING, &value) == BK_OK;
    store_read_end(txn);
    return found;
}

static void start_at(const char *url)
{
    kill_all();
    public_url = url;
    open_all();
    is_int(operations_check_address(operations), BK_OK, "started at %s", url);
}

/* Another public address wakes every hook, some at a time, also over a kill, and back again. */
static void test_address(void)
{
    fresh();
    silent = true;
    is_int(operations_check_address(operations), BK_OK);
    is_int(store_update(hub_store(hub), add_failed, NULL), BK_OK);
    start_at(public_url);
    steps();
    is_uint(count_state("failed"), MANY, "the same address: nothing is done");
    start_at("https://elsewhere.example");
    ok(is_leading(), "it is noted");
    is_uint(count_state("failed"), MANY, "a start does not wait for it");
    operations_run(operations, now_ns);
    operations_wake(operations);
    operations_run(operations, now_ns);
    is_uint(count_state("pending"), OPERATIONS_LED_MAX, "a turn takes no more than that");
    start_at(public_url);
    steps();
    ok(!is_leading(), "it ends");
    is_uint(count_state("pending"), MANY, "then all of them");
    start_at(public_url);
    silent = false;
    ok(operations_next_ns(operations) <= now_ns, "they are due");
    finish();

    fresh();
    silent = true;
    is_int(operations_check_address(operations), BK_OK);
    is_int(store_update(hub_store(hub), add_failed, NULL), BK_OK);
    start_at("https://elsewhere.example");
    operations_run(operations, now_ns);
    start_at("https://hooks.example");
    steps();
    ok(!is_leading(), "it ends");
    is_uint(count_state("pending"), MANY, "back before all were led away: all are led back");
    start_at("https://hooks.example");
    silent = false;
    finish();
}

/* Deleting the source while its hook is being made. */
static void test_superseded(void)
{
    for (unsigned arrived = 0; arrived < 2; arrived++) {
        fresh();
        add(PROVIDER_HOOK_ENSURE);
        operations_run(operations, now_ns);
        reply(FAULT_NONE);
        operations_run(operations, now_ns);
        is_int(out->method, HTTP_POST, "the hook is being made");
        object_exists = false;
        add(PROVIDER_HOOK_REMOVE);
        operations_run(operations, now_ns);
        reply(arrived ? FAULT_NONE : FAULT_CUT);
        run(0, FAULT_NONE, 0, false);
        is_uint(github.hook_count, 0, "nothing is left behind");
        is_int(settled_state, OPERATION_DONE);
        finish();
    }
}

static void test_list(void)
{
    struct buf json;
    buf_init(&json, 1U << 20);
    fresh();
    add(PROVIDER_HOOK_ENSURE);
    run(0, FAULT_NONE, 0, false);
    is_int(operations_list_json(operations, SLICE_EMPTY, 10, SLICE_EMPTY, &json), BK_OK);
    ok(strstr(buf_text(&json), "\"state\":\"done\"") && strstr(buf_text(&json), "\"hookId\":\"1\""),
       "%s", buf_text(&json));
    buf_reset(&json);
    is_int(operations_list_json(operations, SLICE("other"), 10, SLICE_EMPTY, &json), BK_OK);
    is_str(buf_text(&json), "{\"items\":[]}", "another canvas");
    buf_reset(&json);
    static const char far_too_long[5000];
    buf_reset(&json);
    is_int(operations_list_json(operations, slice_of(far_too_long, sizeof far_too_long), 10,
                                SLICE_EMPTY, &json),
           BK_OK);
    is_str(buf_text(&json), "{\"items\":[]}", "what cannot be a canvas");
    buf_reset(&json);
    is_int(operations_list_json(operations, SLICE("default"), 10, SLICE_EMPTY, &json), BK_OK);
    ok(strstr(buf_text(&json), "op-1"), "its own");
    is_int(operations_list_json(operations, SLICE_EMPTY, 10, SLICE("x"), &json), BK_INVALID);
    finish();
    buf_fini(&json);
}

int main(void)
{
    test_sweep(PROVIDER_HOOK_ENSURE, 0, 1);
    test_sweep(PROVIDER_HOOK_ENSURE, 1, 1);
    test_sweep(PROVIDER_HOOK_REMOVE, 1, 0);
    for (int killed = 0; killed < 2; killed++) {
        for (int clock = CLOCK_RIGHT; clock <= CLOCK_SET_BEHIND; clock++) {
            test_late(killed, PROVIDER_HOOK_ENSURE, 1, (enum clock)clock);
            test_late(killed, PROVIDER_HOOK_REMOVE, 0, (enum clock)clock);
        }
    }
    test_refused();
    test_doubt();
    test_clock();
    test_credential();
    test_superseded();
    test_list();
    test_many();
    test_address();
    return done_testing();
}
