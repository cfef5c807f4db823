#include "hub/operations/operations_private.h"

#include "base/log.h"
#include "base/scrub.h"
#include "base/url.h"
#include "ring/ring.h"

#include <stdio.h>

#define PASSES_FIRST_NS  NS_PER_SECOND
#define PASSES_LAST_NS   (300 * NS_PER_SECOND)
#define MENDED_FIRST_NS  (1800 * NS_PER_SECOND)
#define MENDED_LAST_NS   (86400 * NS_PER_SECOND)
#define LIMITED_LEAST_NS (60 * NS_PER_SECOND)
#define RECHECK_NS       (6 * 3600 * NS_PER_SECOND)
#define USER_AGENT       "User-Agent: becket\r\n"
#define REDIRECTS_MAX    3U
#define SENT_SECRETS     4U

/* ---- what comes back of what was sent */

static void sent_secrets(const struct live *live, struct slice ret_secrets[SENT_SECRETS])
{
    const struct operation_ground *ground = &live->ground;
    ret_secrets[0] = ground->credential;
    ret_secrets[1] = ground->secret;
    ret_secrets[2] = ground->login.bearer;
    ret_secrets[3] = ground->facts.hook_key;
    scrub_order(ret_secrets, SENT_SECRETS);
}

/* What a provider sends back of what it was sent: in a copy, and only where there is something. */
static struct slice scrubbed(struct live *live, struct slice body)
{
    struct slice secrets[SENT_SECRETS];
    uint8_t *copy = NULL;
    sent_secrets(live, secrets);
    for (size_t i = 0; i < SENT_SECRETS; i++) {
        if (!copy && scrub_finds(body, secrets[i])) {
            copy = (uint8_t *)arena_copy(&live->arena, body.at, body.bytes);
            body = slice_of(copy, copy ? body.bytes : 0);
        }
        if (copy) {
            scrub(copy, body.bytes, secrets[i]);
        }
    }
    return body;
}

/* Words of the answer that are in run->why: short secrets, too. */
static void scrub_why(struct live *live)
{
    struct slice secrets[SENT_SECRETS];
    sent_secrets(live, secrets);
    for (size_t i = 0; i < SENT_SECRETS; i++) {
        scrub_shown(live->run.why, strlen(live->run.why), secrets[i]);
    }
}

/* ---- the run ends */

/* base * 2^n up to last, of that a random half to whole. */
static int64_t back_off(unsigned n, int64_t first_ns, int64_t last_ns)
{
    int64_t pause_ns = first_ns;
    while (n-- > 0 && pause_ns < last_ns) {
        pause_ns *= 2;
    }
    pause_ns = pause_ns < last_ns ? pause_ns : last_ns;
    uint64_t random;
    ring_entropy(&random, sizeof random);
    return pause_ns / 2 + (int64_t)(random % (uint64_t)(pause_ns / 2 + 1));
}

static void schedule(struct live *live, int64_t now_ns)
{
    struct operation *operation = &live->operation;
    const struct provider_run *run = &live->run;
    int64_t told_ns = (int64_t)run->retry_after_seconds * NS_PER_SECOND;
    unsigned before = operation->attempts;
    operation->attempts = before < 1000 ? before + 1 : before;
    if (!provider_fault_passes(run->fault)) {
        operation->state = OPERATION_FAILED;
        if (!operation->in_doubt) { /* what was found before the refusal may have changed */
            operation->step = SLICE_EMPTY;
        }
        operation->due_ns = now_ns + back_off(before, MENDED_FIRST_NS, MENDED_LAST_NS);
        return;
    }
    operation->state = OPERATION_PENDING;
    int64_t pause_ns = back_off(before, PASSES_FIRST_NS, PASSES_LAST_NS);
    if (run->fault == PROVIDER_FAULT_LIMITED) {
        int64_t least_ns = told_ns > 0 ? told_ns : LIMITED_LEAST_NS;
        hold_integration(live->operations, operation, now_ns + least_ns);
        pause_ns += least_ns;
    } else if (told_ns > pause_ns) {
        pause_ns = told_ns;
    }
    operation->due_ns = now_ns + pause_ns;
}

static void end_failed(struct live *live, int64_t now_ns)
{
    struct operation *operation = &live->operation;
    const struct provider_run *run = &live->run;
    live->state = LIVE_TO_END;
    scrub_why(live);
    operation->fault = run->fault;
    operation->why = slice_str(arena_string(&live->arena, run->why));
    /* A refusal is certain: the call did nothing. After anything else it may have. Where none was
     * made, what an earlier run left in doubt is so still. */
    bool certain =
        live->asked && run->fault != PROVIDER_FAULT_DOWN && run->fault != PROVIDER_FAULT_ODD;
    operation->in_doubt = operation->in_doubt && !certain;
    operation->updated_ns = now_ns;
    schedule(live, now_ns);
}

/* Not later than it can be: the clock may have been set back since. */
static void look_at_late(struct operation *operation, int64_t now_ns)
{
    int64_t last_ns = now_ns + OPERATION_LATE_NS;
    operation->late_ns = operation->late_ns < last_ns ? operation->late_ns : last_ns;
}

static void end_done(struct live *live, int64_t now_ns)
{
    struct operation *operation = &live->operation;
    look_at_late(operation, now_ns);
    live->state = LIVE_TO_END;
    operation->state = OPERATION_DONE;
    operation->fault = PROVIDER_FAULT_NONE;
    operation->why = SLICE_EMPTY;
    operation->attempts = 0;
    operation->in_doubt = false;
    operation->made = operation->intent == PROVIDER_HOOK_ENSURE;
    operation->step = SLICE_EMPTY;
    operation->memory = live->run.memory;
    operation->updated_ns = now_ns;
    operation->due_ns = operation->intent == PROVIDER_HOOK_ENSURE
                            ? now_ns + back_off(0, 2 * RECHECK_NS, 2 * RECHECK_NS)
                            : 0;
    if (operation->late_ns != 0) { /* what may still come is looked for when it must have come */
        operation->due_ns =
            operation->late_ns > now_ns ? operation->late_ns : now_ns + NS_PER_SECOND;
    }
}

/* ---- a step's call */

static const char *method_name(enum http_method method)
{
    static const char *const names[] = {
        [HTTP_GET] = "GET",    [HTTP_HEAD] = "HEAD",     [HTTP_POST] = "POST",
        [HTTP_PUT] = "PUT",    [HTTP_DELETE] = "DELETE", [HTTP_OPTIONS] = "OPTIONS",
        [HTTP_PATCH] = "PATCH"};
    return names[method];
}

static struct slice headers_of(struct live *live)
{
    const struct operation_ground *ground = &live->ground;
    struct buf lines;
    buf_init(&lines, 32768);
    if (ground->provider->agent_alone) {
        buf_printf(&lines, "User-Agent: %s\r\n", ground->provider->agent);
    } else if (ground->provider->agent) {
        buf_printf(&lines, "User-Agent: %s (%s, becket)\r\n", ground->provider->agent,
                   live->operations->config.hub->public_url);
    } else {
        buf_add_str(&lines, USER_AGENT);
    }
    const char *const *header = ground->provider->headers;
    while (header && *header) {
        buf_printf(&lines, "%s\r\n", *header++);
    }
    if (ground->credential.bytes > 0) {
        buf_printf(&lines, "%s: %s%.*s\r\n", ground->auth.header, ground->auth.prefix,
                   (int)ground->credential.bytes, (const char *)ground->credential.at);
    }
    const struct provider_auth *also = &ground->provider->also;
    if (ground->credential.bytes > 0 && also->header) {
        buf_printf(&lines, "%s: %s%.*s\r\n", also->header, also->prefix,
                   (int)ground->credential.bytes, (const char *)ground->credential.at);
    }
    const char *content_type = live->run.request.content_type ? live->run.request.content_type
                                                              : ground->provider->content_type;
    if (content_type) {
        buf_printf(&lines, "Content-Type: %s\r\n", content_type);
    }
    char *copy = arena_copy(&live->arena, lines.at, lines.bytes);
    struct slice result = slice_of(copy, copy ? lines.bytes : 0);
    buf_fini(&lines);
    return result;
}

static void prepare_call(struct live *live, int64_t now_ns)
{
    const struct provider_request *request = &live->run.request;
    struct slice base = live->ground.base;
    struct operation *operation = &live->operation;
    live->state = LIVE_TO_SEND;
    live->asked = true;
    live->redirects = 0;
    live->call = (struct operation_call){
        .method = request->method,
        .url =
            slice_str(arena_printf(&live->arena, "%.*s%.*s", (int)base.bytes, (const char *)base.at,
                                   (int)request->target.bytes, (const char *)request->target.at)),
        .headers = headers_of(live),
        .body = request->body,
        .allow_private = live->ground.allow_private,
        .repeatable = request->repeatable,
        .provider = slice_str(live->ground.provider->name),
        .operation = operation_intent_name(operation->intent),
    };
    operation->step = slice_str(live->run.step->name);
    operation->in_doubt = live->run.step->makes;
    live->late_before_ns = operation->late_ns;
    if (live->run.step->makes && operation->intent == PROVIDER_HOOK_ENSURE) {
        operation->late_ns = now_ns + OPERATION_LATE_NS;
    }
    operation->made = operation->made || live->run.step->makes;
    operation->memory = live->run.memory;
    operation->updated_ns = now_ns;
}

static void go_on(struct live *live, enum provider_next next, int64_t now_ns)
{
    if (next == PROVIDER_SEND) {
        prepare_call(live, now_ns);
        if (!live->arena.overflow) {
            return;
        }
        provider_fail(&live->run, PROVIDER_FAULT_REFUSED, "the request to %s is too large",
                      live->ground.provider->title);
        next = PROVIDER_FAILED;
    }
    if (next == PROVIDER_DONE) {
        end_done(live, now_ns);
    } else {
        end_failed(live, now_ns);
    }
}

static void log_call(struct live *live, const struct operation_answer *answer, int64_t now_ns)
{
    struct operation *operation = &live->operation;
    if (operation->call_count == OPERATION_CALLS_KEPT) {
        operation->call_count--;
        memmove(&operation->calls[0], &operation->calls[1],
                operation->call_count * sizeof operation->calls[0]);
    }
    const char *why = answer->arrived ? "" : arena_string(&live->arena, answer->why);
    operation->calls[operation->call_count++] = (struct operation_call_log){
        .at_ns = live->sent_ns,
        .method = slice_str(method_name(live->call.method)),
        .target = live->run.request.target,
        .status = answer->arrived ? answer->head->status : 0,
        .took_ms = (uint32_t)((now_ns - live->sent_ns) / NS_PER_MS),
        .why = slice_str(why),
    };
}

static void start_run(struct live *live, int64_t now_ns)
{
    const struct operation *operation = &live->operation;
    struct provider_run *run = &live->run;
    go_on(live,
          operation->step.bytes > 0 ? provider_resume(run, operation->step, operation->in_doubt)
                                    : provider_begin(run),
          now_ns);
}

/* ---- buying a token first */

static void login(struct live *live)
{
    struct operation_ground *ground = &live->ground;
    struct slice base = ground->base;
    live->logging_in = true;
    live->state = LIVE_TO_SEND;
    live->run.request =
        (struct provider_request){.method = HTTP_POST, .target = ground->login.target};
    ground->credential = ground->login.bearer;
    live->call = (struct operation_call){
        .method = HTTP_POST,
        .url = slice_str(arena_printf(&live->arena, "%.*s%.*s", (int)base.bytes,
                                      (const char *)base.at, (int)ground->login.target.bytes,
                                      (const char *)ground->login.target.at)),
        .headers = headers_of(live),
        .allow_private = ground->allow_private,
        .repeatable = true,
        .provider = slice_str(ground->provider->name),
        .operation = "login",
    };
    ground->credential = SLICE_EMPTY;
}

/* That it can be bought is all that a check wants to know. */
static void logged_in(struct live *live, const struct provider_reply *reply, int64_t now_ns)
{
    const struct operations_config *config = &live->operations->config;
    struct provider_run *run = &live->run;
    live->logging_in = false;
    if (reply->head->status < 200 || reply->head->status > 299) {
        provider_refused(run, reply);
        end_failed(live, now_ns);
        return;
    }
    enum bk_err err = config->logged_in(config->context, &live->operation, reply->json, now_ns,
                                        &live->arena, &live->ground);
    if (err != BK_OK) {
        provider_fail(run, PROVIDER_FAULT_ODD, "%s: the answer to the login has no token",
                      run->provider->title);
        end_failed(live, now_ns);
    } else if (run->intent == PROVIDER_CHECK) {
        end_done(live, now_ns);
    } else {
        start_run(live, now_ns);
    }
}

/* ---- a thing that was renamed or moved */

/* Where it is now, whole; empty when it is not at this very server, to which the credential may go.
 */
static struct slice new_place(struct live *live, const struct http_head *head)
{
    const struct http_header *header = http_find(head, SLICE("location"), NULL);
    struct slice text = header ? http_header_value(head, header) : SLICE_EMPTY;
    struct url from, to;
    const char *why;
    if (url_parse(live->call.url, &from, &why) != BK_OK) {
        return SLICE_EMPTY;
    }
    if (text.bytes > 1 && text.at[0] == '/' && text.at[1] != '/') {
        char authority[URL_AUTHORITY_BYTES_MAX];
        url_authority(from.host, from.port, from.tls, false, authority);
        text = slice_str(arena_printf(&live->arena, "http%s://%s%.*s", from.tls ? "s" : "",
                                      authority, (int)text.bytes, (const char *)text.at));
    }
    bool same = text.bytes > 0 && url_parse(text, &to, &why) == BK_OK && to.tls == from.tls &&
                to.port == from.port && strcmp(to.host, from.host) == 0;
    char *copy = same ? arena_copy(&live->arena, text.at, text.bytes) : NULL;
    return slice_of(copy, copy ? text.bytes : 0);
}

/* The same request once more where the provider says; GitHub does so for a repository that has a
 * new name. Only what keeps its method by the status. */
static bool follow(struct live *live, const struct http_head *head)
{
    unsigned status = head->status;
    bool keeps = status == 307 || status == 308 ||
                 ((status == 301 || status == 302) && live->call.method == HTTP_GET);
    struct slice place = keeps && !live->logging_in && live->redirects < REDIRECTS_MAX
                             ? new_place(live, head)
                             : SLICE_EMPTY;
    if (place.bytes == 0) {
        return false;
    }
    live->redirects++;
    live->call.url = place;
    live->state = LIVE_TO_SEND;
    return true;
}

/* ---- its begin, and its answers */

void run_begin(struct live *live, struct store_txn *txn, int64_t now_ns)
{
    struct operations *operations = live->operations;
    struct operation *operation = &live->operation;
    struct provider_run *run = &live->run;
    look_at_late(operation, now_ns);
    if (now_ns >= operation->late_ns) {
        operation->late_ns = 0;
    }
    live->late_before_ns = operation->late_ns;
    *run = (struct provider_run){
        .intent = operation->intent, .arena = &live->arena, .memory = operation->memory};
    enum bk_err err = operations->config.load(operations->config.context, txn, operation, now_ns,
                                              &live->arena, &live->ground);
    run->provider = live->ground.provider;
    run->facts = &live->ground.facts;
    if (err == BK_NOT_FOUND) {
        live->gone = true;
        live->state = LIVE_TO_END;
        return;
    }
    if (err != BK_OK) {
        provider_fail(run, err == BK_INVALID ? PROVIDER_FAULT_SETUP : PROVIDER_FAULT_DOWN, "%s",
                      err == BK_INVALID ? live->ground.why : bk_err_text(err));
        end_failed(live, now_ns);
        return;
    }
    if (live->ground.login.target.bytes > 0) {
        login(live);
    } else {
        start_run(live, now_ns);
    }
}

void operations_answered(struct operations *operations, struct operation_call *call,
                         const struct operation_answer *answer, int64_t now_ns)
{
    struct live *live = bk_container_of(call, struct live, call);
    bk_assert(live->state == LIVE_SENT && live->operations == operations);
    log_call(live, answer, now_ns);
    operations->woken = true;
    if (!answer->arrived) {
        provider_no_reply(&live->run, answer->fault ? answer->fault : PROVIDER_FAULT_DOWN,
                          answer->why);
        end_failed(live, now_ns);
        return;
    }
    if (live->ground.provider->api_path && follow(live, answer->head)) {
        return;
    }
    if (answer->head->status < 500) { /* what this call did is certain */
        live->operation.late_ns = live->late_before_ns;
    }
    struct provider_reply reply = {.head = answer->head,
                                   .body = scrubbed(live, answer->body),
                                   .now_seconds = now_ns / NS_PER_SECOND};
    struct json_problem problem;
    uint32_t pause_seconds = provider_pause_seconds(&reply);
    if (pause_seconds > 0) {
        hold_integration(operations, &live->operation, now_ns + pause_seconds * NS_PER_SECOND);
    }
    json_tree_fini(&live->reply);
    json_tree_init(&live->reply);
    if (reply.body.bytes > 0 && json_parse(reply.body, &live->reply, &problem) == BK_OK) {
        reply.json = live->reply.roots[0];
    }
    if (live->logging_in) {
        logged_in(live, &reply, now_ns);
    } else {
        go_on(live, provider_take(&live->run, &reply), now_ns);
    }
}
