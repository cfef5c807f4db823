/* people_renewal.c - a person's token is renewed before it ends: asked for, and its answer stored.
 */
#include "base/log.h"
#include "base/scrub.h"
#include "hub/operations/operation.h"
#include "hub/people/people_job.h"

#include <stdio.h>

#define HOLD_FIRST_NS NS_PER_SECOND
#define HOLD_LAST_NS  (30 * NS_PER_SECOND)

/* ---- writing what became of it */

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

/* The person has to connect again. */
static void end_refused(struct job *job, const char *why)
{
    char message[PROVIDER_WHY_BYTES + 200], advice[200], begun[25];
    if (job->begun_ns != 0) {
        time_format_rfc3339(job->begun_ns, begun);
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
    tries_of(job->keeper, job->id)->until_ns = job->keeper->now_ns + JOB_AGAIN_LAST_NS;
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
    arena_init(&arena, JOB_ARENA_BYTES_MAX);
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

bool renewal_settle(struct job *job)
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

/* ---- its answer */

bool renewal_end(struct job *job, const struct outbound_answer *answer)
{
    char why[PROVIDER_WHY_BYTES];
    if (answer->err != BK_OK) {
        end_later(job, answer->why, answer->stage >= HTTP_STAGE_SEND);
        return true;
    }
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
        return renewal_settle(job);
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

/* ---- its beginning */

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
    enum bk_err err = hub_find_record(txn, RESOURCE_INTEGRATION_USER, SLICE_EMPTY, slice_str(id),
                                      &address, &record);
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
    job_fill_grant(job, &person, slice_str(address.canvas));
    integration_view_close(&person);
    job->expires_ns = input.expires_ns;
    job->canvas = job_kept(job, input.integration_canvas);
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

void renewal_begin(struct people_keeper *keeper, const uint8_t id[16])
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
    } else if (job_call(job, &request, &call_why) != BK_OK) {
        end_later(job, call_why, false);
        job_free(job);
    }
}
