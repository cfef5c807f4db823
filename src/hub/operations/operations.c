#include "hub/operations/operations.h"

#include "base/assert.h"
#include "base/list.h"
#include "base/log.h"
#include "base/scrub.h"
#include "base/time.h"
#include "base/url.h"
#include "hub/hub_private.h"
#include "ring/ring.h"
#include "store/keys.h"

#include <stdio.h>
#include <stdlib.h>

#define RUN_BYTES_MAX    (8U << 20) /* of one run's arena */
#define SCAN_MAX         256U       /* due operations looked at per turn */
#define SCAN_PAUSE_NS    (20 * NS_PER_MS)
#define STEP_PAUSE_NS    (20 * NS_PER_MS) /* between steps of what concerns many */
#define STORE_RETRY_NS   (5 * NS_PER_SECOND)
#define PASSES_FIRST_NS  NS_PER_SECOND
#define PASSES_LAST_NS   (300 * NS_PER_SECOND)
#define MENDED_FIRST_NS  (1800 * NS_PER_SECOND)
#define MENDED_LAST_NS   (86400 * NS_PER_SECOND)
#define LIMITED_LEAST_NS (60 * NS_PER_SECOND)
#define RECHECK_NS       (6 * 3600 * NS_PER_SECOND)
#define USER_AGENT       "User-Agent: becket\r\n"
#define WRITES_MAX       32U /* runs stored in one commit: others wait for the thread meanwhile */
#define FEW              4U  /* so few never rest */
#define REST_MAX_NS      (50 * NS_PER_MS)
/* A call that may have been made is looked for only when it must have arrived. */
#define DOUBT_NS (2 * NS_PER_SECOND)

/* Of a running operation. */
enum live_state {
    LIVE_TO_SEND, /* to be stored, then sent */
    LIVE_SENT,
    LIVE_TO_END /* to be stored, then forgotten */
};

struct live {
    struct list node;
    struct operations *operations;
    enum live_state state;
    bool gone; /* the object is: remove the record */
    bool logging_in;
    bool stored; /* in this turn */
    bool again;  /* asked for while it was running: once more from the start */
    struct arena arena;
    struct json_tree record; /* the operation's slices */
    struct json_tree reply;  /* the last answer's */
    struct operation operation;
    int64_t stored_due_ns;
    struct operation_ground ground;
    struct provider_run run;
    struct operation_call call;
    int64_t sent_ns;
    unsigned redirects; /* of this call */
};

/* An integration whose provider asked to slow down: none of its operations is started before. In
 * memory only; whoever is started too soon after a start hears it again. */
#define HOLDS_MAX 64U
struct hold {
    char canvas[NAME_BYTES_MAX + 1], integration[NAME_BYTES_MAX + 1];
    int64_t until_ns;
};

struct operations {
    struct operations_config config;
    struct hold holds[HOLDS_MAX];
    struct list live;
    unsigned live_count;
    bool woken;
    int64_t next_ns;       /* of what is in the store, or of the next try to write */
    int64_t held_ns;       /* of what is due but in doubt or on hold; INT64_MAX = nothing is */
    uint8_t scan_from[18]; /* key behind which to look next; all zero = from the start */
    bool scanning;
    bool resuming; /* more of an integration is to be made due */
    bool leading;  /* more hooks are to be led to another public address */
    bool stepping; /* some of either in this turn */
    struct step {  /* what came of it; counts when it is committed */
        bool resuming, leading;
        uint64_t led;
    } step;
    int64_t step_ns;  /* of such work: not before */
    unsigned written; /* runs, in this turn's commit */
    int64_t wrote_ns; /* a commit of many began then; 0 = the last turn had none */
    int64_t rest_ns;  /* the thread is others' until then */
    int64_t now_ns;   /* of the turn, for what it writes */
    struct operations_stats stats;
};

/* ---- life */

enum bk_err operations_open(const struct operations_config *config,
                            struct operations **ret_operations)
{
    struct operations *operations = calloc(1, sizeof *operations);
    if (!operations) {
        return BK_NO_MEMORY;
    }
    operations->config = *config;
    operations->woken = true;
    list_init(&operations->live);
    *ret_operations = operations;
    return BK_OK;
}

static void live_free(struct live *live)
{
    list_remove(&live->node);
    live->operations->live_count--;
    arena_fini(&live->arena);
    json_tree_fini(&live->record);
    json_tree_fini(&live->reply);
    free(live);
}

void operations_close(struct operations *operations)
{
    while (!list_empty(&operations->live)) {
        live_free(bk_container_of(operations->live.next, struct live, node));
    }
    free(operations);
}

void operations_wake(struct operations *operations)
{
    operations->woken = true;
}

int64_t operations_next_ns(const struct operations *operations)
{
    int64_t next_ns = operations->woken || operations->wrote_ns ? 0 : operations->next_ns;
    return next_ns > operations->rest_ns ? next_ns : operations->rest_ns;
}

void operations_stats(const struct operations *operations, struct operations_stats *ret_stats)
{
    *ret_stats = operations->stats;
    ret_stats->running = operations->live_count;
}

/* ---- what comes back of what was sent */

#define SENT_SECRETS 4U

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

/* ---- limits */

static bool is_hold_of(const struct hold *hold, const struct operation *operation)
{
    return slice_equal(operation->integration, slice_str(hold->integration)) &&
           slice_equal(operation->integration_canvas, slice_str(hold->canvas));
}

/* 0 = it may start. */
static int64_t held_until(const struct operations *operations, const struct operation *operation,
                          int64_t now_ns)
{
    for (size_t i = 0; i < HOLDS_MAX; i++) {
        const struct hold *hold = &operations->holds[i];
        if (hold->until_ns > now_ns && is_hold_of(hold, operation)) {
            return hold->until_ns;
        }
    }
    return 0;
}

/* In its own place, else in that of the one that ends soonest. */
static void hold_integration(struct operations *operations, const struct operation *operation,
                             int64_t until_ns)
{
    struct hold *hold = &operations->holds[0];
    for (size_t i = 0; i < HOLDS_MAX; i++) {
        struct hold *at = &operations->holds[i];
        if (is_hold_of(at, operation)) {
            hold = at;
            break;
        }
        hold = at->until_ns < hold->until_ns ? at : hold;
    }
    snprintf(hold->canvas, sizeof hold->canvas, "%.*s", (int)operation->integration_canvas.bytes,
             (const char *)operation->integration_canvas.at);
    snprintf(hold->integration, sizeof hold->integration, "%.*s", (int)operation->integration.bytes,
             (const char *)operation->integration.at);
    hold->until_ns = until_ns;
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
        operation->step = SLICE_EMPTY; /* what was found before the refusal may have changed */
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
    live->operations->stats.faults++;
    scrub_why(live);
    operation->fault = run->fault;
    operation->why = slice_str(arena_string(&live->arena, run->why));
    /* A refusal is certain: the call did nothing. After anything else it may have. */
    bool certain = run->fault != PROVIDER_FAULT_DOWN && run->fault != PROVIDER_FAULT_ODD;
    operation->in_doubt = operation->in_doubt && !certain;
    operation->updated_ns = now_ns;
    schedule(live, now_ns);
}

static void end_done(struct live *live, int64_t now_ns)
{
    struct operation *operation = &live->operation;
    live->state = LIVE_TO_END;
    live->operations->stats.done++;
    operation->state = OPERATION_DONE;
    operation->fault = PROVIDER_FAULT_NONE;
    operation->why = SLICE_EMPTY;
    operation->attempts = 0;
    operation->in_doubt = false;
    operation->step = SLICE_EMPTY;
    operation->memory = live->run.memory;
    operation->updated_ns = now_ns;
    operation->due_ns = operation->intent == PROVIDER_HOOK_ENSURE
                            ? now_ns + back_off(0, 2 * RECHECK_NS, 2 * RECHECK_NS)
                            : 0;
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
    if (ground->provider->agent) {
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
    if (live->run.request.content_type) {
        buf_printf(&lines, "Content-Type: %s\r\n", live->run.request.content_type);
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

#define REDIRECTS_MAX 3U

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

/* ---- starting */

static bool may_run(const struct operations *operations, const struct operation *operation)
{
    unsigned same = 0;
    for (struct list *node = operations->live.next; node != &operations->live; node = node->next) {
        const struct live *live = bk_container_of(node, struct live, node);
        const struct operation *other = &live->operation;
        if (memcmp(other->object, operation->object, 16) == 0) {
            return false;
        }
        same += slice_equal(other->integration, operation->integration) &&
                slice_equal(other->integration_canvas, operation->integration_canvas);
    }
    return same < OPERATIONS_PER_INTEGRATION;
}

static void begin(struct live *live, struct store_txn *txn, int64_t now_ns)
{
    struct operations *operations = live->operations;
    struct operation *operation = &live->operation;
    struct provider_run *run = &live->run;
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

/* True when it runs now. */
static bool start(struct operations *operations, struct store_txn *txn, uint64_t number,
                  int64_t now_ns)
{
    struct slice bytes;
    struct live *live = calloc(1, sizeof *live);
    if (!live) {
        return false;
    }
    live->operations = operations;
    arena_init(&live->arena, RUN_BYTES_MAX);
    json_tree_init(&live->record);
    json_tree_init(&live->reply);
    list_push_back(&operations->live, &live->node);
    operations->live_count++;
    if (operation_get(txn, number, &bytes) != BK_OK ||
        operation_decode(bytes, &live->record, &live->operation) != BK_OK) {
        log_event(LOG_ERROR, "an operation cannot be read", LOG_I("number", number));
        live_free(live);
        return false;
    }
    int64_t arrived_ns = live->operation.in_doubt ? live->operation.updated_ns + DOUBT_NS : now_ns;
    bool held = arrived_ns > now_ns && arrived_ns <= now_ns + DOUBT_NS;
    int64_t hold_ns = held_until(operations, &live->operation, now_ns);
    if (hold_ns > 0) {
        held = true;
        arrived_ns = hold_ns;
    }
    if (held && arrived_ns < operations->held_ns) {
        operations->held_ns = arrived_ns;
    }
    list_remove(&live->node); /* it must not be in its own way */
    bool runs = !held && may_run(operations, &live->operation);
    list_push_back(&operations->live, &live->node);
    if (!runs) {
        live_free(live);
        return false;
    }
    live->stored_due_ns = live->operation.due_ns;
    begin(live, txn, now_ns);
    return true;
}

static struct live *find_live(const struct operations *operations, uint64_t number)
{
    for (struct list *node = operations->live.next; node != &operations->live; node = node->next) {
        struct live *live = bk_container_of(node, struct live, node);
        if (live->operation.number == number) {
            return live;
        }
    }
    return NULL;
}

struct scan {
    const struct operations *operations;
    int64_t now_ns;
    int64_t next_ns;
    unsigned looked;
    unsigned count;
    uint64_t numbers[OPERATIONS_RUNNING_MAX];
    uint8_t last[18];
    bool more;
};

static bool scan_one(void *context, struct slice key, struct slice value)
{
    struct scan *scan = context;
    (void)value;
    int64_t due_ns = (int64_t)key_get_u64(key.at + 2);
    uint64_t number = key_get_u64(key.at + 10);
    if (due_ns > scan->now_ns) {
        scan->next_ns = due_ns;
        return false;
    }
    if (scan->looked++ == SCAN_MAX || scan->count == bk_array_length(scan->numbers)) {
        scan->more = true;
        return false;
    }
    memcpy(scan->last, key.at, sizeof scan->last);
    if (!find_live(scan->operations, number)) {
        scan->numbers[scan->count++] = number;
    }
    return true;
}

static bool found_rest(void *context, struct slice key, struct slice value)
{
    (void)key;
    (void)value;
    *(bool *)context = true;
    return false;
}

/* Start what is due, from where the last look ended: a queue before one busy integration does not
 * stand in the way of others for ever. */
static void start_due(struct operations *operations, int64_t now_ns)
{
    struct store_txn *txn;
    struct key prefix;
    struct scan scan = {.operations = operations, .now_ns = now_ns, .next_ns = INT64_MAX};
    if (store_read(hub_store(operations->config.hub), &txn) != BK_OK) {
        operations->next_ns = now_ns + STORE_RETRY_NS;
        return;
    }
    key_operations_due(&prefix);
    struct slice from = operations->scanning
                            ? slice_of(operations->scan_from, sizeof operations->scan_from)
                            : SLICE_EMPTY;
    bool walked = store_walk(txn, key_slice(&prefix), from, scan_one, &scan) == BK_OK;
    bool any = false;
    key_start(&prefix, 'Z');
    walked = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, found_rest, &operations->resuming) ==
                 BK_OK &&
             walked;
    operations->held_ns = INT64_MAX;
    for (unsigned i = 0; walked && i < scan.count; i++) {
        if (operations->live_count >= OPERATIONS_RUNNING_MAX) {
            break; /* an answer will wake us */
        }
        any = start(operations, txn, scan.numbers[i], now_ns) || any;
    }
    store_read_end(txn);
    operations->scanning = scan.more;
    memcpy(operations->scan_from, scan.last, sizeof scan.last);
    operations->next_ns = scan.next_ns < operations->held_ns ? scan.next_ns : operations->held_ns;
    bool rest = from.bytes > 0 || scan.more; /* not all that is due was looked at */
    if (rest && operations->live_count < OPERATIONS_RUNNING_MAX) {
        operations->next_ns = any ? now_ns : now_ns + SCAN_PAUSE_NS;
    }
}

/* ---- storing and sending */

/* Asked for in the meantime, perhaps because the cause of what went wrong is mended. */
static void once_more(struct operation *operation)
{
    if (operation->state == OPERATION_DONE && operation->due_ns == 0) {
        return;
    }
    if (operation->state != OPERATION_DONE) {
        operation->state = OPERATION_PENDING;
        operation->attempts = 0;
    }
    operation->due_ns = operation->updated_ns;
}

static enum bk_err write_one(struct store_txn *txn, struct live *live)
{
    struct operations *operations = live->operations;
    int64_t due_ns = 0;
    if (live->gone) {
        return operation_drop(txn, live->operation.number);
    }
    enum bk_err err = operation_due(txn, live->operation.number, &due_ns);
    if (err == BK_OK && due_ns != live->stored_due_ns) {
        live->again = true; /* an apply has made it due */
    }
    if (err == BK_OK && live->again && live->state == LIVE_TO_END) {
        once_more(&live->operation);
    }
    err = err == BK_OK ? operation_put(txn, &live->operation) : err;
    if (err == BK_NOT_FOUND) {
        live->gone = true; /* superseded: its answer is all that was waited for */
        live->state = LIVE_TO_END;
        return BK_OK;
    }
    if (err == BK_OK && live->state == LIVE_TO_END && operations->config.settle) {
        err = operations->config.settle(operations->config.context, txn, &live->operation);
    }
    return err;
}

/* Of a new credential's or address's work, as much as holds up nobody. */
static enum bk_err write_step(struct operations *operations, struct store_txn *txn)
{
    enum bk_err err = BK_OK;
    struct step *step = &operations->step;
    *step = (struct step){.resuming = false};
    if (operations->resuming) {
        err = operations_resume_rest(txn, operations->now_ns, &step->resuming);
    }
    if (err == BK_OK && operations->leading) {
        err = operations_lead(txn, operations->now_ns, &step->leading, &step->led);
    }
    return err;
}

static enum bk_err write_all(struct store_txn *txn, void *context)
{
    struct operations *operations = context;
    operations->written = 0;
    enum bk_err err = operations->stepping ? write_step(operations, txn) : BK_OK;
    for (struct list *node = operations->live.next; err == BK_OK && node != &operations->live;
         node = node->next) {
        struct live *live = bk_container_of(node, struct live, node);
        live->stored = live->state != LIVE_SENT && operations->written < WRITES_MAX;
        if (live->stored) {
            operations->written++;
            err = write_one(txn, live);
        }
    }
    return err;
}

static void say_fault(const struct operation *operation)
{
    if (operation->fault == PROVIDER_FAULT_NONE) {
        return;
    }
    char name[OPERATION_NAME_BYTES];
    operation_name(operation->number, name);
    log_event(LOG_WARN, "provider", LOG_Z("operation", name),
              LOG_Z("intent", operation_intent_name(operation->intent)),
              LOG_S("object", operation->name), LOG_S("message", operation->why),
              LOG_Z("advice",
                    provider_fault_advice(provider_find(operation->provider), operation->fault)));
}

static void step_done(struct operations *operations, int64_t now_ns)
{
    const struct step *step = &operations->step;
    if (operations->leading && !step->leading) {
        log_event(LOG_INFO, "hooks at providers are all on their way to another public address",
                  LOG_I("hooks", step->led),
                  LOG_Z("publicUrl", operations->config.hub->public_url));
    }
    operations->resuming = step->resuming;
    operations->leading = step->leading;
    operations->step_ns = now_ns + STEP_PAUSE_NS;
    operations->next_ns = now_ns; /* what is due now */
}

static void store_and_send(struct operations *operations, int64_t now_ns)
{
    int64_t wait_ns = operations->step_ns - now_ns; /* the clock may have been set back */
    bool stepping =
        (operations->resuming || operations->leading) && (wait_ns <= 0 || wait_ns > STORE_RETRY_NS);
    bool any = stepping;
    operations->stepping = stepping;
    operations->now_ns = now_ns;
    for (struct list *node = operations->live.next; node != &operations->live; node = node->next) {
        any = any || bk_container_of(node, struct live, node)->state != LIVE_SENT;
    }
    if (!any) {
        return;
    }
    enum bk_err err = store_update(hub_store(operations->config.hub), write_all, operations);
    if (err != BK_OK) {
        log_event(LOG_ERROR, "operations cannot be stored", LOG_Z("message", bk_err_text(err)),
                  LOG_Z("effect", "no provider is called until they can"));
        operations->next_ns = now_ns + STORE_RETRY_NS;
        operations->step_ns = operations->next_ns;
        return;
    }
    operations->wrote_ns = stepping || operations->written > FEW ? now_ns : 0;
    if (stepping) {
        step_done(operations, now_ns);
    }
    struct list *node = operations->live.next;
    while (node != &operations->live) {
        struct live *live = bk_container_of(node, struct live, node);
        node = node->next;
        if (!live->stored) {
            operations->woken = operations->woken || live->state != LIVE_SENT;
        } else if (live->state == LIVE_TO_END) {
            if (!live->gone) {
                say_fault(&live->operation);
                if (operations->config.settled) {
                    operations->config.settled(operations->config.context, &live->operation);
                }
            }
            live_free(live);
            operations->woken = true; /* somebody may have waited for it */
        } else if (live->state == LIVE_TO_SEND) {
            live->state = LIVE_SENT;
            live->stored_due_ns = live->operation.due_ns;
            live->sent_ns = now_ns;
            operations->stats.calls++;
            operations->config.send(operations->config.send_context, &live->call);
        }
    }
}

/* Half of the time is others', if there is much to store: what a commit took is taken off. False:
 * not now. */
static bool rested(struct operations *operations, int64_t now_ns)
{
    if (operations->wrote_ns > 0) {
        int64_t took_ns = now_ns - operations->wrote_ns;
        took_ns = took_ns < 0 ? 0 : took_ns;
        operations->rest_ns = now_ns + (took_ns < REST_MAX_NS ? took_ns : REST_MAX_NS);
        operations->wrote_ns = 0;
    }
    if (operations->rest_ns - now_ns > REST_MAX_NS) {
        operations->rest_ns = 0; /* the clock was set back */
    }
    return now_ns >= operations->rest_ns;
}

void operations_run(struct operations *operations, int64_t now_ns)
{
    if (!rested(operations, now_ns)) {
        return;
    }
    if (!operations->woken && now_ns < operations->next_ns) {
        return;
    }
    operations->woken = false;
    operations->next_ns = INT64_MAX;
    if (operations->live_count < OPERATIONS_RUNNING_MAX) {
        start_due(operations, now_ns);
    }
    store_and_send(operations, now_ns);
    if ((operations->resuming || operations->leading) &&
        operations->step_ns < operations->next_ns) {
        operations->next_ns = operations->step_ns;
    }
}

/* ---- another public address */

static enum bk_err note_address(struct store_txn *txn, void *context)
{
    struct operations *operations = context;
    return operations_address(txn, slice_str(operations->config.hub->public_url),
                              &operations->leading);
}

enum bk_err operations_check_address(struct operations *operations)
{
    enum bk_err err = store_update(hub_store(operations->config.hub), note_address, operations);
    operations->leading = operations->leading && err == BK_OK;
    if (operations->leading) {
        log_event(LOG_INFO, "hooks at providers are led to another public address",
                  LOG_Z("publicUrl", operations->config.hub->public_url));
    }
    return err;
}

/* ---- by hand */

struct retry {
    uint64_t number;
    int64_t now_ns;
};

static enum bk_err retry_one(struct store_txn *txn, void *context)
{
    const struct retry *retry = context;
    struct slice bytes;
    struct json_tree tree;
    struct operation operation;
    enum bk_err err = operation_get(txn, retry->number, &bytes);
    if (err != BK_OK) {
        return err;
    }
    json_tree_init(&tree);
    err = operation_decode(bytes, &tree, &operation);
    if (err == BK_OK && operation.due_ns == 0) {
        err = BK_CONFLICT;
    }
    if (err == BK_OK) {
        operation.due_ns = retry->now_ns;
        operation.state = OPERATION_PENDING;
        operation.attempts = 0;
        err = operation_put(txn, &operation);
    }
    json_tree_fini(&tree);
    return err;
}

enum bk_err operations_retry(struct operations *operations, uint64_t number, int64_t now_ns)
{
    struct retry retry = {number, now_ns};
    struct live *live = find_live(operations, number);
    memset(operations->holds, 0, sizeof operations->holds); /* somebody knows better */
    if (live) {
        live->again = true;
        return BK_OK;
    }
    operations->woken = true;
    return store_update(hub_store(operations->config.hub), retry_one, &retry);
}

static enum bk_err give_up_one(struct store_txn *txn, void *context)
{
    const uint64_t *number = context;
    struct slice bytes;
    struct json_tree tree;
    struct operation operation;
    enum bk_err err = operation_get(txn, *number, &bytes);
    if (err != BK_OK) {
        return err;
    }
    json_tree_init(&tree);
    err = operation_decode(bytes, &tree, &operation);
    if (err == BK_OK && operation.intent != PROVIDER_HOOK_REMOVE &&
        operation.intent != PROVIDER_POST) {
        err = BK_CONFLICT;
    }
    json_tree_fini(&tree);
    return err == BK_OK ? operation_drop(txn, *number) : err;
}

/* One that is under way finds its record gone, and ends. */
enum bk_err operations_give_up(struct operations *operations, uint64_t number)
{
    operations->woken = true;
    return store_update(hub_store(operations->config.hub), give_up_one, &number);
}

/* ---- lists */

struct list_walk {
    struct store_txn *txn;
    unsigned left;
    uint64_t last;
    bool more;
    bool filled;
    enum bk_err err;
    struct buf *json;
};

static void list_record(struct list_walk *walk, uint64_t number, struct slice bytes)
{
    struct json_tree tree;
    struct operation operation;
    json_tree_init(&tree);
    walk->err = operation_decode(bytes, &tree, &operation);
    if (walk->err == BK_OK) {
        buf_add_str(walk->json, walk->filled ? "," : "");
        walk->filled = true;
        walk->left--;
        walk->last = number;
        operation_json(&operation, walk->json);
    }
    json_tree_fini(&tree);
}

/* Of "q/": the record; of "O/": nothing, the record is elsewhere. */
static bool list_one(void *context, struct slice key, struct slice value)
{
    struct list_walk *walk = context;
    uint64_t number = key_get_u64(key.at + key.bytes - 8);
    if (walk->left == 0) {
        walk->more = true;
        return false;
    }
    walk->err = value.bytes > 0 ? BK_OK : operation_get(walk->txn, number, &value);
    if (walk->err == BK_OK) {
        list_record(walk, number, value);
    }
    return walk->err == BK_OK;
}

enum bk_err operations_list_json(struct operations *operations, struct slice canvas, unsigned limit,
                                 struct slice cursor, struct buf *json)
{
    struct list_walk walk = {.left = limit, .json = json};
    struct hub_born born;
    struct key prefix, from;
    uint64_t after = 0;
    if (cursor.bytes > 0 && !operation_name_parse(cursor, &after)) {
        return BK_INVALID;
    }
    enum bk_err err = store_read(hub_store(operations->config.hub), &walk.txn);
    if (err != BK_OK) {
        return err;
    }
    after += after < UINT64_MAX ? 1 : 0;
    key_start(&prefix, 'q');
    key_operation(&from, after);
    bool possible = canvas.bytes == 0 || resource_name_valid(canvas);
    if (possible && canvas.bytes > 0) {
        err = hub_born(walk.txn, canvas, &born);
        after = after > born.operation ? after : born.operation + 1;
        key_operations_in(&prefix, canvas);
        key_operation_in(&from, canvas, after);
    }
    buf_add_str(json, "{\"items\":[");
    if (possible && err == BK_OK) {
        err = store_walk(walk.txn, key_slice(&prefix), key_slice(&from), list_one, &walk);
    }
    store_read_end(walk.txn);
    buf_add_byte(json, ']');
    if (walk.more) {
        char name[OPERATION_NAME_BYTES];
        operation_name(walk.last, name);
        buf_printf(json, ",\"next\":\"%s\"", name);
    }
    buf_add_byte(json, '}');
    err = err == BK_OK ? walk.err : err;
    return err == BK_OK && json->overflow ? BK_TOO_LARGE : err;
}

enum bk_err operations_canvas(struct operations *operations, uint64_t number,
                              char ret_canvas[NAME_BYTES_MAX + 1])
{
    struct store_txn *txn;
    struct slice bytes;
    struct json_tree tree;
    struct operation operation;
    struct hub_born born;
    enum bk_err err = store_read(hub_store(operations->config.hub), &txn);
    if (err != BK_OK) {
        return err;
    }
    json_tree_init(&tree);
    err = operation_get(txn, number, &bytes);
    if (err == BK_OK) {
        err = operation_decode(bytes, &tree, &operation);
    }
    if (err == BK_OK) {
        err = hub_born(txn, operation.canvas, &born);
        bool before = number <= born.operation;
        snprintf(ret_canvas, NAME_BYTES_MAX + 1, "%.*s", before ? 0 : (int)operation.canvas.bytes,
                 (const char *)operation.canvas.at);
    }
    json_tree_fini(&tree);
    store_read_end(txn);
    return err;
}

enum bk_err operations_get_json(struct operations *operations, uint64_t number, struct buf *json)
{
    struct store_txn *txn;
    struct slice bytes;
    struct json_tree tree;
    struct operation operation;
    enum bk_err err = store_read(hub_store(operations->config.hub), &txn);
    if (err != BK_OK) {
        return err;
    }
    json_tree_init(&tree);
    err = operation_get(txn, number, &bytes);
    if (err == BK_OK) {
        err = operation_decode(bytes, &tree, &operation);
    }
    if (err == BK_OK) {
        operation_json(&operation, json);
        err = json->overflow ? BK_TOO_LARGE : BK_OK;
    }
    json_tree_fini(&tree);
    store_read_end(txn);
    return err;
}
