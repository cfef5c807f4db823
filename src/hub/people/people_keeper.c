#include "hub/people/people_keeper.h"

#include "base/list.h"
#include "base/log.h"
#include "base/time.h"
#include "hub/calls/web_call.h"
#include "hub/operations/integration_view.h"
#include "hub/people/people.h"

#include <stdio.h>
#include <stdlib.h>

#define CALLS_MAX        8U
#define REVOKE_TRIES     8U
#define AGAIN_FIRST_NS   (5 * NS_PER_SECOND)
#define AGAIN_LAST_NS    (600 * NS_PER_SECOND)
#define ANSWER_BYTES_MAX (256U << 10)
#define ARENA_BYTES_MAX  (1U << 20)

/* One call that is out. */
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
    struct list jobs;
    unsigned job_count;
    bool woken;
    int64_t now_ns;
    int64_t next_ns;
    struct tries tries[TRIES_KEPT];
};

enum bk_err people_keeper_open(struct hub *hub, struct outbound *outbound,
                               struct people_keeper **ret_keeper)
{
    struct people_keeper *keeper = calloc(1, sizeof *keeper);
    if (!keeper) {
        return BK_NO_MEMORY;
    }
    keeper->hub = hub;
    keeper->outbound = outbound;
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
    arena_fini(&job->arena);
    free(job);
}

void people_keeper_close(struct people_keeper *keeper)
{
    if (!keeper) {
        return;
    }
    while (!list_empty(&keeper->jobs)) {
        job_free(bk_container_of(keeper->jobs.next, struct job, node));
    }
    free(keeper);
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

/* ---- ends */

struct ending {
    struct job *job;
    const char *why; /* NULL: nothing to say */
};

static enum bk_err write_refused(struct store_txn *txn, void *context)
{
    const struct ending *ending = context;
    struct key key;
    struct slice value;
    struct buf members;
    key_id(&key, ending->job->id);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err != BK_OK) {
        return err == BK_NOT_FOUND ? BK_OK : err; /* disconnected meanwhile */
    }
    buf_init(&members, 65536);
    buf_add_str(&members, "\"state\":\"error\",\"reason\":\"auth\",\"message\":");
    json_add_string(&members, slice_str(ending->why));
    buf_add_str(&members, ",\"advice\":\"connect again: open /auth/");
    buf_add_slice(&members, ending->job->grant.integration);
    buf_add_str(&members, " on the admin address\"");
    key_status(&key, ending->job->id);
    err = store_put(txn, key_slice(&key), buf_slice(&members));
    buf_fini(&members);
    return err == BK_OK ? people_put_due(txn, ending->job->id, 0) : err;
}

static enum bk_err write_revoked(struct store_txn *txn, void *context)
{
    const struct ending *ending = context;
    struct key key;
    key_revocation(&key, ending->job->number);
    return store_delete(txn, key_slice(&key));
}

static void end_refused(struct job *job, const char *why)
{
    struct ending ending = {job, why};
    enum bk_err err = store_update(job->keeper->hub->store, write_refused, &ending);
    log_event(LOG_WARN, "a token cannot be renewed", LOG_Z("user", job->name),
              LOG_Z("why", err == BK_OK ? why : bk_err_text(err)));
    if (err != BK_OK) {
        note_failure(job->keeper, job->id);
    }
}

static void end_revoked(struct job *job)
{
    struct ending ending = {job, NULL};
    if (store_update(job->keeper->hub->store, write_revoked, &ending) != BK_OK) {
        note_failure(job->keeper, job->id);
    }
}

static void end_renewal(struct job *job, const struct http_head *head, struct slice body)
{
    char why[PROVIDER_WHY_BYTES];
    struct json_tree tree;
    struct oauth2_tokens tokens;
    json_tree_init(&tree);
    enum bk_err err = oauth2_take_tokens(head, body, &tree, &tokens, why);
    if (err == BK_OK) {
        job->grant.tokens = tokens;
        job->grant.now_ns = job->keeper->now_ns;
        err = people_store(job->keeper->hub, &job->grant, why);
        if (err == BK_OK) {
            *tries_of(job->keeper, job->id) = (struct tries){0};
            log_event(LOG_INFO, "a token was renewed", LOG_Z("user", job->name));
        } else {
            log_event(LOG_ERROR, "a renewed token cannot be stored", LOG_Z("user", job->name),
                      LOG_Z("why", why));
            note_failure(job->keeper, job->id);
        }
    } else if (err == BK_UNAUTHENTICATED || err == BK_FORBIDDEN) {
        end_refused(job, why);
    } else {
        unsigned count = note_failure(job->keeper, job->id);
        log_event(LOG_WARN, "a token could not be renewed yet", LOG_Z("user", job->name),
                  LOG_Z("why", why), LOG_I("tries", count));
    }
    json_tree_fini(&tree);
}

static void answered(void *context, const struct outbound_answer *answer)
{
    struct job *job = context;
    bool arrived = answer->err == BK_OK;
    if (job->revokes) {
        bool later = !arrived || answer->status == 429 || answer->status >= 500;
        if (!later || note_failure(job->keeper, job->id) >= REVOKE_TRIES) {
            if (later || answer->status >= 300) {
                log_event(LOG_WARN, "a token was not revoked", LOG_Z("user", job->name),
                          LOG_I("status", answer->status));
            }
            end_revoked(job);
        }
    } else if (!arrived) {
        unsigned count = note_failure(job->keeper, job->id);
        log_event(LOG_WARN, "a token could not be renewed yet", LOG_Z("user", job->name),
                  LOG_Z("why", answer->why), LOG_I("tries", count));
    } else {
        end_renewal(job, answer->head, answer->body);
    }
    job_free(job);
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
        .workspace_name = kept(job, integration_text(person, "workspaceName"))};
}

/* BK_NOT_FOUND: there is nothing to do. */
static enum bk_err load_renewal(struct job *job, struct store_txn *txn,
                                struct slice *ret_refresh_token, char why[PROVIDER_WHY_BYTES])
{
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
    err =
        integration_open_slot(hub, &record, SLICE(PEOPLE_REFRESH), &job->arena, ret_refresh_token);
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
                               : web_call_start(job->keeper->outbound, &web, ret_why);
}

static struct job *job_make(struct people_keeper *keeper, const uint8_t id[16], bool revokes)
{
    struct job *job = calloc(1, sizeof *job);
    if (job) {
        job->keeper = keeper;
        job->revokes = revokes;
        memcpy(job->id, id, 16);
        arena_init(&job->arena, ARENA_BYTES_MAX);
        list_push_back(&keeper->jobs, &job->node);
        keeper->job_count++;
    }
    return job;
}

static void renew(struct people_keeper *keeper, const uint8_t id[16])
{
    char why[PROVIDER_WHY_BYTES] = "it has no refresh token";
    const char *call_why = "out of memory";
    struct slice refresh_token;
    struct store_txn *txn;
    struct oauth2_request request;
    struct job *job = job_make(keeper, id, false);
    if (!job) {
        return;
    }
    enum bk_err err = store_read(keeper->hub->store, &txn);
    if (err == BK_OK) {
        err = load_renewal(job, txn, &refresh_token, why);
        store_read_end(txn);
    }
    if (err != BK_OK) {
        if (err == BK_NOT_FOUND || err == BK_INVALID) {
            end_refused(job, why);
        } else {
            note_failure(keeper, id);
        }
        job_free(job);
        return;
    }
    oauth2_refresh_request(&job->oauth.server, job->oauth.base, &job->oauth.client, refresh_token,
                           &job->arena, &request);
    if (call(job, &request, &call_why) != BK_OK) {
        log_event(LOG_WARN, "a token could not be renewed yet", LOG_Z("user", job->name),
                  LOG_Z("why", call_why));
        note_failure(keeper, id);
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
    return people_oauth(hub, txn, job->grant.canvas, job->grant.integration, &job->arena,
                        &job->oauth, why) == BK_OK &&
           job->oauth.server.revoke != NULL;
}

static void revoke(struct people_keeper *keeper, uint64_t number)
{
    struct store_txn *txn;
    struct slice value, token;
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
    store_read_end(txn);
    if (!possible) { /* the integration is gone, or its provider cannot revoke */
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
    if (!is_out(keeper, value.at)) {
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

int64_t people_keeper_run(struct people_keeper *keeper, int64_t now_ns)
{
    struct due_walk walk;
    keeper->now_ns = now_ns;
    if (!keeper->woken && !keeper->hub->people_changed && now_ns < keeper->next_ns) {
        return keeper->next_ns;
    }
    keeper->woken = keeper->hub->people_changed = false;
    keeper->next_ns = INT64_MAX;
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
