#include "hub/people/people_keeper.h"

#include "base/list.h"
#include "base/log.h"
#include "base/scrub.h"
#include "base/time.h"
#include "hub/calls/web_call.h"
#include "hub/operations/integration_view.h"
#include "hub/operations/operation.h"
#include "hub/people/people.h"

#include <stdio.h>
#include <stdlib.h>

#define CALLS_MAX        8U
#define REVOKE_TRIES     150U
#define AGAIN_FIRST_NS   (5 * NS_PER_SECOND)
#define AGAIN_LAST_NS    (600 * NS_PER_SECOND)
#define HOLD_FIRST_NS    NS_PER_SECOND
#define HOLD_LAST_NS     (30 * NS_PER_SECOND)
#define ANSWER_BYTES_MAX (256U << 10)
#define ARENA_BYTES_MAX  (1U << 20)

/* One call that is out, or what came of it and is not in the store yet. */
struct job {
    struct list node;
    struct people_keeper *keeper;
    bool revokes;
    uint8_t id[16];  /* of the IntegrationUser */
    uint64_t number; /* of the revocation */
    struct arena arena;
    struct people_grant grant; /* what is to be renewed, texts in the arena */
    struct people_oauth oauth;
    char name[NAME_BYTES_MAX + 1];
    struct slice refresh_token; /* the one that is used */
    struct slice revoked_token; /* of a revocation */
    bool by_query;              /* asked in the other form */
    struct slice canvas;        /* of the integration */
    int64_t begun_ns;           /* an earlier renewal whose outcome is not known; 0 = none */
    int64_t expires_ns;         /* of the access token there is; 0 = never */
    struct json_tree tree;      /* the new tokens */
    bool holding;
    int64_t again_ns, hold_pause_ns;
};

/* Tries of what failed, so that a provider that is down is not asked at every turn. Forgotten with
 * the process: then it is asked once more. Two ids that share a place wait for each other: if one
 * took it from the other, neither would ever wait. */
#define TRIES_KEPT 4096U
struct tries {
    unsigned count;
    int64_t until_ns;
};

struct people_keeper {
    struct hub *hub;
    struct outbound *outbound;
    web_call_fn *call;
    struct list jobs;
    unsigned job_count;
    bool woken;
    int64_t now_ns;
    int64_t next_ns;
    struct tries tries[TRIES_KEPT];
};

enum bk_err people_keeper_open(struct hub *hub, struct outbound *outbound, web_call_fn *call,
                               struct people_keeper **ret_keeper)
{
    struct people_keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper) {
        return BK_NO_MEMORY;
    }
    keeper->hub = hub;
    keeper->outbound = outbound;
    keeper->call = call;
    keeper->woken = true;
    list_init(&keeper->jobs);
    *ret_keeper = keeper;
    return BK_OK;
}

static void job_free(struct job *job)
{
    list_remove(&job->node);
    job->keeper->job_count--;
    job->keeper->woken = true;
    json_tree_fini(&job->tree);
    arena_fini(&job->arena);
    free(job);
}

/* ---- tries */

static struct tries *tries_of(struct people_keeper *keeper, const uint8_t id[16])
{
    uint32_t hash = 2166136261U;
    for (unsigned i = 0; i < 16; i++) {
        hash = (hash ^ id[i]) * 16777619U;
    }
    return &keeper->tries[hash % TRIES_KEPT];
}

static unsigned note_failure(struct people_keeper *keeper, const uint8_t id[16])
{
    struct tries *tries = tries_of(keeper, id);
    int64_t pause_ns = AGAIN_FIRST_NS;
    for (unsigned i = 0; i < tries->count && pause_ns < AGAIN_LAST_NS; i++) {
        pause_ns *= 2;
    }
    tries->until_ns = keeper->now_ns + (pause_ns < AGAIN_LAST_NS ? pause_ns : AGAIN_LAST_NS);
    return ++tries->count;
}

/* ---- writing what became of a renewal */

struct ending {
    struct job *job;
    const char *state; /* NULL: leave the status as it is */
    const char *reason;
    const char *message;
    const char *advice;
    bool known;  /* the outcome: it is not begun any more */
    bool is_end; /* nothing is due any more */
};

static enum bk_err write_status(struct store_txn *txn, const struct ending *ending)
{
    struct buf members;
    struct key key;
    buf_init(&members, 65536);
    buf_printf(&members, "\"state\":\"%s\",\"reason\":\"%s\",\"message\":", ending->state,
               ending->reason);
    json_add_string(&members, slice_str(ending->message));
    buf_add_str(&members, ",\"advice\":");
    json_add_string(&members, slice_str(ending->advice));
    key_status(&key, ending->job->id);
    enum bk_err err = store_put(txn, key_slice(&key), buf_slice(&members));
    buf_fini(&members);
    return err;
}

static enum bk_err write_ending(struct store_txn *txn, void *context)
{
    const struct ending *ending = context;
    struct job *job = ending->job;
    struct key key;
    struct slice value;
    key_id(&key, job->id);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err != BK_OK) {
        return err == BK_NOT_FOUND ? BK_OK : err; /* disconnected meanwhile */
    }
    if (ending->state) {
        err = write_status(txn, ending);
    }
    if (err == BK_OK && ending->is_end && ending->state &&
        job->canvas.bytes > 0) { /* who works with it is to say so */
        err = operations_resume(txn, job->canvas, job->grant.integration, 0, job->keeper->now_ns);
        job->keeper->hub->work_added = true;
    }
    if (err == BK_OK && ending->known) {
        err = people_put_begun(txn, job->id, 0);
    }
    return err == BK_OK && ending->is_end ? people_put_due(txn, job->id, 0) : err;
}

static enum bk_err write_end(struct ending *ending)
{
    return store_update(ending->job->keeper->hub->store, write_ending, ending);
}

static const char *connect_again(const struct job *job, char advice[200])
{
    snprintf(advice, 200, "connect again: open /auth/%.*s on the admin address",
             (int)job->grant.integration.bytes, (const char *)job->grant.integration.at);
    return advice;
}

static void time_text(int64_t time_ns, char text[25])
{
    time_format_rfc3339(time_ns, text);
}

/* The person has to connect again. */
static void end_refused(struct job *job, const char *why)
{
    char message[PROVIDER_WHY_BYTES + 200], advice[200], begun[25];
    if (job->begun_ns != 0) {
        time_text(job->begun_ns, begun);
        snprintf(message, sizeof message,
                 "the answer to the token's renewal of %s was lost, and the old refresh token is "
                 "not taken again: %s",
                 begun, why);
    } else {
        snprintf(message, sizeof message, "%s", why);
    }
    struct ending ending = {.job = job,
                            .state = "error",
                            .reason = "auth",
                            .message = message,
                            .advice = connect_again(job, advice),
                            .known = true,
                            .is_end = true};
    enum bk_err err = write_end(&ending);
    log_event(LOG_WARN, "a token cannot be renewed", LOG_Z("user", job->name),
              LOG_Z("why", err == BK_OK ? message : bk_err_text(err)));
    if (err != BK_OK) {
        note_failure(job->keeper, job->id);
    }
}

/* Becket itself is refused: its people can do nothing about it. */
static void end_forbidden(struct job *job, const char *why)
{
    char advice[200];
    struct ending ending = {.job = job,
                            .state = "error",
                            .reason = "client",
                            .message = why,
                            .advice = advice,
                            .known = true};
    snprintf(advice, sizeof advice,
             "mend clientId and clientSecret of Integration %.*s; it is tried again by itself",
             (int)job->grant.integration.bytes, (const char *)job->grant.integration.at);
    if (write_end(&ending) == BK_OK) {
        log_event(LOG_WARN, "a token cannot be renewed", LOG_Z("user", job->name),
                  LOG_Z("why", why));
    }
    note_failure(job->keeper, job->id);
    tries_of(job->keeper, job->id)->until_ns = job->keeper->now_ns + AGAIN_LAST_NS;
}

/* It is tried again. in_doubt: the provider may have renewed it. */
static void end_later(struct job *job, const char *why, bool in_doubt)
{
    char message[PROVIDER_WHY_BYTES + 200], advice[300], connect[200];
    struct people_keeper *keeper = job->keeper;
    bool over = job->expires_ns != 0 && job->expires_ns <= keeper->now_ns;
    bool doubt = in_doubt || job->begun_ns != 0;
    snprintf(message, sizeof message, "the token could not be renewed yet%s: %s",
             doubt ? ", and the answer was lost" : "", why);
    snprintf(advice, sizeof advice, "it is tried again by itself; if it stays so, %s",
             connect_again(job, connect));
    struct ending ending = {.job = job,
                            .state = over ? "error" : "ready",
                            .reason = doubt ? "renewal-in-doubt" : "renewal",
                            .message = message,
                            .advice = advice,
                            .known = !doubt};
    unsigned count = note_failure(keeper, job->id);
    if (write_end(&ending) != BK_OK && count == 1) {
        log_event(LOG_WARN, "a status cannot be written", LOG_Z("user", job->name));
    }
    log_event(LOG_WARN, "a token could not be renewed yet", LOG_Z("user", job->name),
              LOG_Z("why", why), LOG_I("tries", count));
}

/* ---- new tokens into the store */

enum wanted { WANTED, WANTED_GONE, WANTED_REPLACED, WANTED_UNKNOWN };

/* Is the IntegrationUser still the one whose token was renewed? */
static enum wanted is_wanted(struct job *job)
{
    struct hub *hub = job->keeper->hub;
    struct hub_address address;
    struct record record;
    struct arena arena;
    struct slice token;
    struct store_txn *txn;
    char id[HUB_ID_TEXT_BYTES];
    hub_id_text(job->id, id);
    if (store_read(hub->store, &txn) != BK_OK) {
        return WANTED_UNKNOWN;
    }
    arena_init(&arena, ARENA_BYTES_MAX);
    enum bk_err err =
        hub_find(txn, RESOURCE_INTEGRATION_USER, SLICE_EMPTY, slice_str(id), &address);
    bool found = err == BK_OK;
    if (err == BK_OK) {
        err = hub_record(txn, RESOURCE_INTEGRATION_USER, slice_str(address.canvas),
                         slice_str(address.name), &record);
    }
    if (err == BK_OK) {
        err = integration_open_slot(hub, &record, SLICE(PEOPLE_REFRESH), &arena, &token);
    }
    enum wanted wanted = err == BK_OK
                             ? slice_equal(token, job->refresh_token) ? WANTED : WANTED_REPLACED
                         : err != BK_NOT_FOUND ? WANTED_UNKNOWN
                         : found               ? WANTED_REPLACED
                                               : WANTED_GONE;
    store_read_end(txn);
    arena_fini(&arena);
    return wanted;
}

static enum bk_err put_one(struct job *job, struct store_txn *txn, struct slice field,
                           struct slice token)
{
    struct buf spec;
    uint8_t *sealed = arena_take(&job->arena, token.bytes + SEAL_OVERHEAD_BYTES);
    if (token.bytes == 0) {
        return BK_OK;
    }
    if (!sealed) {
        return BK_NO_MEMORY;
    }
    seal_value(&job->keeper->hub->seal, job->id, field, token, sealed);
    buf_init(&spec, 65536);
    buf_add_str(&spec, "{\"integration\":{\"name\":");
    json_add_string(&spec, job->grant.integration);
    buf_add_str(&spec, "},\"uid\":");
    json_add_string(&spec, job->grant.identity.uid);
    buf_add_byte(&spec, '}');
    struct people_revocation revocation = {.id = job->id,
                                           .field = field,
                                           .sealed =
                                               slice_of(sealed, token.bytes + SEAL_OVERHEAD_BYTES),
                                           .canvas = job->canvas,
                                           .spec = buf_slice(&spec)};
    enum bk_err err = people_put_revocation(txn, &revocation);
    buf_fini(&spec);
    return err;
}

static enum bk_err write_unwanted(struct store_txn *txn, void *context)
{
    struct job *job = context;
    enum bk_err err = put_one(job, txn, SLICE(PEOPLE_REFRESH), job->grant.tokens.refresh_token);
    return err == BK_OK ? put_one(job, txn, SLICE(PEOPLE_ACCESS), job->grant.tokens.access_token)
                        : err;
}

static void hold(struct job *job, const char *why)
{
    int64_t pause_ns = job->hold_pause_ns ? job->hold_pause_ns : HOLD_FIRST_NS;
    log_event(job->holding ? LOG_DEBUG : LOG_ERROR, "a renewed token cannot be stored yet",
              LOG_Z("user", job->name), LOG_Z("why", why),
              LOG_Z("effect", "it is held in memory and tried again"));
    job->holding = true;
    job->again_ns = job->keeper->now_ns + pause_ns;
    job->hold_pause_ns = pause_ns * 2 < HOLD_LAST_NS ? pause_ns * 2 : HOLD_LAST_NS;
}

/* True when there is nothing left to do: else it is held. */
static bool settle_wanted(struct job *job)
{
    char why[PROVIDER_WHY_BYTES], words[PROVIDER_WHY_BYTES + 64];
    enum bk_err err = people_store(job->keeper->hub, &job->grant, why);
    if (err == BK_OK) {
        *tries_of(job->keeper, job->id) = (struct tries){0};
        log_event(LOG_INFO, "a token was renewed", LOG_Z("user", job->name));
        return true;
    }
    if (err == BK_INVALID || err == BK_TOO_LARGE || err == BK_UNSUPPORTED) {
        snprintf(words, sizeof words, "the renewed token is not one that can be kept: %s", why);
        end_refused(job, words);
        return true;
    }
    hold(job, why[0] ? why : bk_err_text(err));
    return false;
}

static bool settle(struct job *job)
{
    struct hub *hub = job->keeper->hub;
    switch (is_wanted(job)) {
    case WANTED:
        return settle_wanted(job);
    case WANTED_REPLACED:
        log_event(LOG_INFO, "a renewed token is not needed: its user has connected again",
                  LOG_Z("user", job->name));
        return true;
    case WANTED_GONE: {
        enum bk_err err = store_update(hub->store, write_unwanted, job);
        if (err == BK_OK) {
            log_event(LOG_INFO, "a renewed token will be revoked: its user has disconnected",
                      LOG_Z("user", job->name));
            return true;
        }
        hold(job, bk_err_text(err));
        return false;
    }
    case WANTED_UNKNOWN:
        break;
    }
    hold(job, "the store cannot be read");
    return false;
}

/* ---- answers */

/* True when the job is over. */
static bool end_renewal(struct job *job, const struct outbound_answer *answer)
{
    char why[PROVIDER_WHY_BYTES];
    struct slice body =
        slice_of(arena_copy(&job->arena, answer->body.at, answer->body.bytes), answer->body.bytes);
    struct oauth2_tokens tokens;
    if (!body.at) {
        end_later(job, "out of memory", true);
        return true;
    }
    oauth2_scrub(&job->oauth.client, (uint8_t *)(uintptr_t)body.at, body.bytes);
    if (answer->status != 200) {
        scrub((uint8_t *)(uintptr_t)body.at, body.bytes, job->refresh_token);
    }
    enum bk_err err = oauth2_take_tokens(answer->head, body, &job->tree, &tokens, why);
    if (err == BK_OK) {
        struct slice scope = job->grant.tokens.scope; /* as before, where it is not told */
        job->grant.tokens = tokens;
        job->grant.tokens.scope = tokens.scope.bytes > 0 ? tokens.scope : scope;
        job->grant.now_ns = job->keeper->now_ns;
        return settle(job);
    }
    scrub_shown(why, strlen(why), job->refresh_token); /* a 200 may give the same one again */
    scrub_shown(why, strlen(why), job->oauth.client.secret);
    if (err == BK_UNAUTHENTICATED) {
        end_refused(job, why);
    } else if (err == BK_FORBIDDEN) {
        end_forbidden(job, why);
    } else { /* a limit is certain: nothing was done */
        end_later(job, why, answer->status != 429);
    }
    return true;
}

static enum bk_err write_revoked(struct store_txn *txn, void *context)
{
    const struct job *job = context;
    struct key key;
    key_revocation(&key, job->number);
    return store_delete(txn, key_slice(&key));
}

static void end_revoked(struct job *job)
{
    if (store_update(job->keeper->hub->store, write_revoked, job) != BK_OK) {
        note_failure(job->keeper, job->id);
    }
}

static void end_revocation(struct job *job, const struct outbound_answer *answer)
{
    char why[OAUTH2_WHY_BYTES];
    uint8_t *copy = (uint8_t *)arena_copy(&job->arena, answer->body.at, answer->body.bytes);
    struct slice body = slice_of(copy, copy ? answer->body.bytes : 0);
    oauth2_scrub(&job->oauth.client, copy, body.bytes);
    scrub(copy, body.bytes, job->revoked_token);
    enum bk_err err = answer->err == BK_OK ? oauth2_take_revoked(answer->head, body, why) : BK_BUSY;
    if (answer->err != BK_OK) {
        snprintf(why, sizeof why, "%s", answer->why);
    }
    if (err == BK_BUSY && note_failure(job->keeper, job->id) < REVOKE_TRIES) {
        return;
    }
    if (err == BK_OK) {
        *tries_of(job->keeper, job->id) = (struct tries){0};
        log_event(LOG_INFO, "a token was revoked", LOG_Z("user", job->name));
    } else {
        log_event(LOG_WARN, "a token was not revoked", LOG_Z("user", job->name), LOG_Z("why", why));
    }
    end_revoked(job);
}

static enum bk_err call(struct job *job, const struct oauth2_request *request,
                        const char **ret_why);

/* True: asked once more, in the other form. */
static bool revoke_by_query(struct job *job, const struct outbound_answer *answer)
{
    struct oauth2_request request;
    const char *why;
    if (job->by_query || answer->err != BK_OK ||
        !oauth2_revoke_query(&job->oauth.server, job->oauth.base, &job->oauth.client,
                             answer->status, job->revoked_token, &job->arena, &request)) {
        return false;
    }
    job->by_query = true;
    return call(job, &request, &why) == BK_OK;
}

static void answered(void *context, const struct outbound_answer *answer)
{
    struct job *job = context;
    if (job->revokes && revoke_by_query(job, answer)) {
        return;
    }
    if (job->revokes) {
        end_revocation(job, answer);
    } else if (answer->err != BK_OK) {
        end_later(job, answer->why, answer->stage >= HTTP_STAGE_SEND);
    } else if (!end_renewal(job, answer)) {
        return; /* held */
    }
    job_free(job);
}

/* Calls that are still out are not answered any more; what is held has a last chance. */
void people_keeper_close(struct people_keeper *keeper)
{
    if (!keeper) {
        return;
    }
    while (!list_empty(&keeper->jobs)) {
        struct job *job = bk_container_of(keeper->jobs.next, struct job, node);
        if (job->holding && !settle(job)) {
            log_event(LOG_ERROR, "a renewed token is lost: it could not be stored",
                      LOG_Z("user", job->name));
        }
        job_free(job);
    }
    free(keeper);
}

/* ---- beginnings */

static bool is_out(const struct people_keeper *keeper, const uint8_t id[16])
{
    for (struct list *node = keeper->jobs.next; node != &keeper->jobs; node = node->next) {
        if (memcmp(bk_container_of(node, struct job, node)->id, id, 16) == 0) {
            return true;
        }
    }
    return false;
}

static struct slice kept(struct job *job, struct slice text)
{
    char *copy = arena_copy(&job->arena, text.at, text.bytes);
    return slice_of(copy, copy ? text.bytes : 0);
}

/* Of the stored spec: everything that a renewal leaves as it is. */
static void fill_grant(struct job *job, const struct integration_view *person, struct slice canvas)
{
    job->grant = (struct people_grant){
        .canvas = kept(job, canvas),
        .integration = kept(job, integration_text(person, "integration/name")),
        .identity = {.uid = kept(job, integration_text(person, "uid")),
                     .nickname = kept(job, integration_text(person, "nickname")),
                     .full_name = kept(job, integration_text(person, "fullName")),
                     .email = kept(job, integration_text(person, "email"))},
        .workspace = kept(job, integration_text(person, "workspace")),
        .workspace_name = kept(job, integration_text(person, "workspaceName")),
        .redirect_uri = kept(job, integration_text(person, "redirectUri")),
        .tokens = {.scope = kept(job, integration_text(person, "scopes"))}};
}

/* BK_NOT_FOUND: there is nothing to do. */
static enum bk_err load_renewal(struct job *job, struct store_txn *txn,
                                char why[PROVIDER_WHY_BYTES])
{
    struct slice begun;
    struct key key;
    struct hub *hub = job->keeper->hub;
    struct hub_address address;
    struct record record;
    struct integration_view person;
    struct people_input input;
    char id[HUB_ID_TEXT_BYTES];
    hub_id_text(job->id, id);
    enum bk_err err =
        hub_find(txn, RESOURCE_INTEGRATION_USER, SLICE_EMPTY, slice_str(id), &address);
    if (err == BK_OK) {
        err = hub_record(txn, RESOURCE_INTEGRATION_USER, slice_str(address.canvas),
                         slice_str(address.name), &record);
    }
    if (err == BK_OK) {
        err = people_input_decode(record.compiled, &input);
    }
    if (err == BK_OK) {
        err = integration_view_open(record.spec, &person);
    }
    if (err != BK_OK) {
        return err;
    }
    snprintf(job->name, sizeof job->name, "%s", address.name);
    fill_grant(job, &person, slice_str(address.canvas));
    integration_view_close(&person);
    job->expires_ns = input.expires_ns;
    job->canvas = kept(job, input.integration_canvas);
    key_renewal_begun(&key, job->id);
    err = store_get(txn, key_slice(&key), &begun);
    if (err == BK_OK && begun.bytes == 8) {
        job->begun_ns = (int64_t)key_get_u64(begun.at);
    } else if (err != BK_OK && err != BK_NOT_FOUND) {
        return err;
    }
    err = integration_open_slot(hub, &record, SLICE(PEOPLE_REFRESH), &job->arena,
                                &job->refresh_token);
    return err == BK_OK ? people_oauth(hub, txn, input.integration_canvas, job->grant.integration,
                                       &job->arena, &job->oauth, why)
                        : err;
}

static enum bk_err call(struct job *job, const struct oauth2_request *request, const char **ret_why)
{
    struct web_call web = {.method = request->method,
                           .url = request->url,
                           .headers = request->headers,
                           .body = request->body,
                           .allow_private = job->oauth.allow_private,
                           .body_bytes_max = ANSWER_BYTES_MAX,
                           .done = answered,
                           .context = job};
    return job->arena.overflow ? BK_NO_MEMORY
                               : job->keeper->call(job->keeper->outbound, &web, ret_why);
}

static struct job *job_make(struct people_keeper *keeper, const uint8_t id[16], bool revokes)
{
    struct job *job = calloc(1, sizeof *job);
    if (job) {
        job->keeper = keeper;
        job->revokes = revokes;
        memcpy(job->id, id, 16);
        arena_init(&job->arena, ARENA_BYTES_MAX);
        json_tree_init(&job->tree);
        list_push_back(&keeper->jobs, &job->node);
        keeper->job_count++;
    }
    return job;
}

/* Before the call: who finds this and no new tokens knows that there may have been some. */
static enum bk_err write_begun(struct store_txn *txn, void *context)
{
    const struct job *job = context;
    return people_put_begun(txn, job->id, job->keeper->now_ns);
}

static void end_unable(struct job *job, enum bk_err err, const char *why)
{
    if (err == BK_NOT_FOUND) {
        end_refused(job, why);
    } else if (err == BK_INVALID) {
        end_forbidden(job, why);
    } else {
        note_failure(job->keeper, job->id);
    }
    job_free(job);
}

static void renew(struct people_keeper *keeper, const uint8_t id[16])
{
    char why[PROVIDER_WHY_BYTES] = "it has no refresh token";
    const char *call_why = "out of memory";
    struct store_txn *txn;
    struct oauth2_request request;
    struct job *job = job_make(keeper, id, false);
    if (!job) {
        return;
    }
    enum bk_err err = store_read(keeper->hub->store, &txn);
    if (err == BK_OK) {
        err = load_renewal(job, txn, why);
        store_read_end(txn);
    }
    if (err != BK_OK) {
        end_unable(job, err, why);
        return;
    }
    job->oauth.client.redirect_uri = job->grant.redirect_uri;
    oauth2_refresh_request(&job->oauth.server, job->oauth.base, &job->oauth.client,
                           job->refresh_token, &job->arena, &request);
    err = job->begun_ns == 0 ? store_update(keeper->hub->store, write_begun, job) : BK_OK;
    if (err != BK_OK) { /* what cannot be stored is better not asked for */
        unsigned count = note_failure(keeper, id);
        log_event(count == 1 ? LOG_ERROR : LOG_DEBUG,
                  "a token is not renewed while the store takes no writes",
                  LOG_Z("user", job->name), LOG_Z("why", bk_err_text(err)));
        job_free(job);
    } else if (call(job, &request, &call_why) != BK_OK) {
        end_later(job, call_why, false);
        job_free(job);
    }
}

/* "y/": id, field \0, u32 bytes, sealed token, canvas \0, spec */
static bool load_revocation(struct job *job, struct store_txn *txn, struct slice value,
                            struct slice *ret_token)
{
    struct hub *hub = job->keeper->hub;
    struct integration_view person;
    char why[PROVIDER_WHY_BYTES];
    size_t bytes = 0;
    struct slice rest = slice_skip(value, 16);
    size_t end = slice_find(rest, 0);
    struct slice field = slice_of(rest.at, end);
    rest = slice_skip(rest, end + 1);
    if (rest.bytes < 4) {
        return false;
    }
    size_t sealed_bytes =
        (size_t)rest.at[0] << 24 | (size_t)rest.at[1] << 16 | (size_t)rest.at[2] << 8 | rest.at[3];
    rest = slice_skip(rest, 4);
    if (sealed_bytes < SEAL_OVERHEAD_BYTES || sealed_bytes > rest.bytes) {
        return false;
    }
    uint8_t *token = arena_take(&job->arena, sealed_bytes + 1);
    if (!token || seal_open(&hub->seal, job->id, field, slice_of(rest.at, sealed_bytes), token,
                            &bytes) != BK_OK) {
        return false;
    }
    *ret_token = slice_of(token, bytes);
    rest = slice_skip(rest, sealed_bytes);
    end = slice_find(rest, 0);
    struct slice canvas = slice_of(rest.at, end);
    if (integration_view_open(slice_skip(rest, end + 1), &person) != BK_OK) {
        return false;
    }
    fill_grant(job, &person, canvas);
    snprintf(job->name, sizeof job->name, "%.*s", (int)job->grant.identity.uid.bytes,
             (const char *)job->grant.identity.uid.at);
    integration_view_close(&person);
    if (people_oauth(hub, txn, job->grant.canvas, job->grant.integration, &job->arena, &job->oauth,
                     why) != BK_OK) {
        log_event(LOG_WARN, "a token was not revoked", LOG_Z("user", job->name),
                  LOG_Z("why", "its integration is gone, or is not connected by sign-in any more"));
        return false;
    }
    return job->oauth.server.revoke != NULL &&
           !(job->oauth.server.revoke_access_only && slice_equal(field, SLICE(PEOPLE_REFRESH)));
}

static void revoke(struct people_keeper *keeper, uint64_t number)
{
    struct store_txn *txn;
    struct slice value, token = SLICE_EMPTY;
    struct oauth2_request request;
    const char *why = "";
    struct key key;
    key_revocation(&key, number);
    if (store_read(keeper->hub->store, &txn) != BK_OK) {
        return;
    }
    if (store_get(txn, key_slice(&key), &value) != BK_OK || value.bytes < 16) {
        store_read_end(txn);
        return;
    }
    struct job *job = job_make(keeper, value.at, true);
    if (!job) {
        store_read_end(txn);
        return;
    }
    job->number = number;
    bool possible = load_revocation(job, txn, value, &token);
    job->revoked_token = token;
    store_read_end(txn);
    if (!possible) { /* the integration is gone, or its provider does not revoke such a one */
        end_revoked(job);
        job_free(job);
        return;
    }
    oauth2_revoke_request(&job->oauth.server, job->oauth.base, &job->oauth.client, token,
                          &job->arena, &request);
    if (call(job, &request, &why) != BK_OK) {
        if (note_failure(keeper, job->id) >= REVOKE_TRIES) {
            end_revoked(job);
        }
        job_free(job);
    }
}

/* ---- what is due */

struct due_walk {
    struct people_keeper *keeper;
    int64_t next_ns;
    unsigned count;
    uint8_t ids[CALLS_MAX][16];
    uint64_t numbers[CALLS_MAX];
};

static bool later(struct due_walk *walk, int64_t at_ns)
{
    walk->next_ns = at_ns < walk->next_ns ? at_ns : walk->next_ns;
    return true;
}

static bool look_at_renewal(void *context, struct slice key, struct slice value)
{
    struct due_walk *walk = context;
    struct people_keeper *keeper = walk->keeper;
    (void)value;
    if (key.bytes != 26) {
        return true;
    }
    int64_t due_ns = (int64_t)key_get_u64(key.at + 2);
    const uint8_t *id = key.at + 10;
    if (due_ns > keeper->now_ns) {
        later(walk, due_ns);
        return false;
    }
    const struct tries *tries = tries_of(keeper, id);
    if (tries->until_ns > keeper->now_ns) {
        return later(walk, tries->until_ns);
    }
    if (!is_out(keeper, id)) {
        memcpy(walk->ids[walk->count++], id, 16);
    }
    return keeper->job_count + walk->count < CALLS_MAX;
}

static bool look_at_revocation(void *context, struct slice key, struct slice value)
{
    struct due_walk *walk = context;
    struct people_keeper *keeper = walk->keeper;
    if (key.bytes != 10 || value.bytes < 16) {
        return true;
    }
    const struct tries *tries = tries_of(keeper, value.at);
    if (tries->until_ns > keeper->now_ns) {
        return later(walk, tries->until_ns);
    }
    bool out = is_out(keeper, value.at); /* those of one user go one after the other */
    for (unsigned i = 0; i < walk->count; i++) {
        out = out || memcmp(walk->ids[i], value.at, 16) == 0;
    }
    if (!out) {
        memcpy(walk->ids[walk->count], value.at, 16);
        walk->numbers[walk->count++] = key_get_u64(key.at + 2);
    }
    return keeper->job_count + walk->count < CALLS_MAX;
}

static bool find_due(struct people_keeper *keeper, char prefix, store_walk_fn *look,
                     struct due_walk *walk)
{
    struct store_txn *txn;
    struct key key;
    *walk = (struct due_walk){.keeper = keeper, .next_ns = INT64_MAX};
    if (keeper->job_count >= CALLS_MAX) {
        return false; /* the end of one wakes us */
    }
    if (store_read(keeper->hub->store, &txn) != BK_OK) {
        int64_t again_ns = keeper->now_ns + AGAIN_FIRST_NS;
        keeper->next_ns = again_ns < keeper->next_ns ? again_ns : keeper->next_ns;
        return false;
    }
    key_start(&key, prefix);
    bool found = store_walk(txn, key_slice(&key), SLICE_EMPTY, look, walk) == BK_OK;
    store_read_end(txn);
    keeper->next_ns = walk->next_ns < keeper->next_ns ? walk->next_ns : keeper->next_ns;
    return found;
}

/* What is held and whose time has come. */
static void settle_held(struct people_keeper *keeper)
{
    struct list *next;
    for (struct list *node = keeper->jobs.next; node != &keeper->jobs; node = next) {
        struct job *job = bk_container_of(node, struct job, node);
        next = node->next;
        if (job->holding && job->again_ns <= keeper->now_ns && settle(job)) {
            job_free(job);
        } else if (job->holding && job->again_ns < keeper->next_ns) {
            keeper->next_ns = job->again_ns;
        }
    }
}

int64_t people_keeper_run(struct people_keeper *keeper, int64_t now_ns)
{
    struct due_walk walk;
    keeper->now_ns = now_ns;
    if (!keeper->woken && !keeper->hub->people_changed && now_ns < keeper->next_ns) {
        return keeper->next_ns;
    }
    keeper->woken = keeper->hub->people_changed = false;
    keeper->next_ns = INT64_MAX;
    settle_held(keeper);
    if (find_due(keeper, 'e', look_at_renewal, &walk)) {
        for (unsigned i = 0; i < walk.count; i++) {
            renew(keeper, walk.ids[i]);
        }
    }
    if (find_due(keeper, 'y', look_at_revocation, &walk)) {
        for (unsigned i = 0; i < walk.count; i++) {
            revoke(keeper, walk.numbers[i]);
        }
    }
    return keeper->woken ? now_ns : keeper->next_ns;
}
