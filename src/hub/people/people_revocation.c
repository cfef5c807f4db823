/* people_revocation.c - tokens that nobody needs any more are revoked at the provider. */
#include "base/log.h"
#include "base/scrub.h"
#include "hub/people/people_job.h"

#include <stdio.h>

#define REVOKE_TRIES 150U

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
    return job_call(job, &request, &why) == BK_OK;
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

bool revocation_end(struct job *job, const struct outbound_answer *answer)
{
    if (revoke_by_query(job, answer)) {
        return false;
    }
    end_revocation(job, answer);
    return true;
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
    job_fill_grant(job, &person, canvas);
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

void revocation_begin(struct people_keeper *keeper, uint64_t number)
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
    if (job_call(job, &request, &why) != BK_OK) {
        if (note_failure(keeper, job->id) >= REVOKE_TRIES) {
            end_revoked(job);
        }
        job_free(job);
    }
}
