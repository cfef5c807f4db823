#include "hub/people/people_keeper.h"

#include "base/log.h"
#include "hub/people/people_job.h"

#include <stdlib.h>

#define CALLS_MAX        8U
#define AGAIN_FIRST_NS   (5 * NS_PER_SECOND)
#define ANSWER_BYTES_MAX (256U << 10)

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

struct tries *tries_of(struct people_keeper *keeper, const uint8_t id[16])
{
    uint32_t hash = 2166136261U;
    for (unsigned i = 0; i < 16; i++) {
        hash = (hash ^ id[i]) * 16777619U;
    }
    return &keeper->tries[hash % TRIES_KEPT];
}

unsigned note_failure(struct people_keeper *keeper, const uint8_t id[16])
{
    struct tries *tries = tries_of(keeper, id);
    int64_t pause_ns = AGAIN_FIRST_NS;
    for (unsigned i = 0; i < tries->count && pause_ns < JOB_AGAIN_LAST_NS; i++) {
        pause_ns *= 2;
    }
    tries->until_ns =
        keeper->now_ns + (pause_ns < JOB_AGAIN_LAST_NS ? pause_ns : JOB_AGAIN_LAST_NS);
    return ++tries->count;
}

/* ---- jobs */

struct job *job_make(struct people_keeper *keeper, const uint8_t id[16], bool revokes)
{
    struct job *job = calloc(1, sizeof *job);
    if (job) {
        job->keeper = keeper;
        job->revokes = revokes;
        memcpy(job->id, id, 16);
        arena_init(&job->arena, JOB_ARENA_BYTES_MAX);
        json_tree_init(&job->tree);
        list_push_back(&keeper->jobs, &job->node);
        keeper->job_count++;
    }
    return job;
}

void job_free(struct job *job)
{
    list_remove(&job->node);
    job->keeper->job_count--;
    job->keeper->woken = true;
    json_tree_fini(&job->tree);
    arena_fini(&job->arena);
    free(job);
}

struct slice job_kept(struct job *job, struct slice text)
{
    char *copy = arena_copy(&job->arena, text.at, text.bytes);
    return slice_of(copy, copy ? text.bytes : 0);
}

void job_fill_grant(struct job *job, const struct integration_view *person, struct slice canvas)
{
    job->grant = (struct people_grant){
        .canvas = job_kept(job, canvas),
        .integration = job_kept(job, integration_text(person, "integration/name")),
        .identity = {.uid = job_kept(job, integration_text(person, "uid")),
                     .nickname = job_kept(job, integration_text(person, "nickname")),
                     .full_name = job_kept(job, integration_text(person, "fullName")),
                     .email = job_kept(job, integration_text(person, "email"))},
        .workspace = job_kept(job, integration_text(person, "workspace")),
        .workspace_name = job_kept(job, integration_text(person, "workspaceName")),
        .redirect_uri = job_kept(job, integration_text(person, "redirectUri")),
        .tokens = {.scope = job_kept(job, integration_text(person, "scopes"))}};
}

static void answered(void *context, const struct outbound_answer *answer)
{
    struct job *job = context;
    if (job->revokes ? revocation_end(job, answer) : renewal_end(job, answer)) {
        job_free(job);
    }
}

enum bk_err job_call(struct job *job, const struct oauth2_request *request, const char **ret_why)
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

/* Calls that are still out are not answered any more; what is held has a last chance. */
void people_keeper_close(struct people_keeper *keeper)
{
    if (!keeper) {
        return;
    }
    while (!list_empty(&keeper->jobs)) {
        struct job *job = bk_container_of(keeper->jobs.next, struct job, node);
        if (job->holding && !renewal_settle(job)) {
            log_event(LOG_ERROR, "a renewed token is lost: it could not be stored",
                      LOG_Z("user", job->name));
        }
        job_free(job);
    }
    free(keeper);
}

/* ---- what is due */

static bool is_out(const struct people_keeper *keeper, const uint8_t id[16])
{
    for (struct list *node = keeper->jobs.next; node != &keeper->jobs; node = node->next) {
        if (memcmp(bk_container_of(node, struct job, node)->id, id, 16) == 0) {
            return true;
        }
    }
    return false;
}

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
        if (job->holding && job->again_ns <= keeper->now_ns && renewal_settle(job)) {
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
            renewal_begin(keeper, walk.ids[i]);
        }
    }
    if (find_due(keeper, 'y', look_at_revocation, &walk)) {
        for (unsigned i = 0; i < walk.count; i++) {
            revocation_begin(keeper, walk.numbers[i]);
        }
    }
    return keeper->woken ? now_ns : keeper->next_ns;
}

/* ---- the wall clock was set */

struct shift {
    const struct people_keeper *keeper;
    int64_t from_ns, to_ns;
    unsigned count;
    struct {
        int64_t due_ns;
        uint8_t id[16];
    } due[PEOPLE_SHIFT_MAX];
};

static bool shift_note(void *context, struct slice key, struct slice value)
{
    struct shift *shift = context;
    (void)value;
    if (key.bytes == 26 && (int64_t)key_get_u64(key.at + 2) > shift->to_ns &&
        !is_out(shift->keeper, key.at + 10)) {
        shift->due[shift->count].due_ns = (int64_t)key_get_u64(key.at + 2);
        memcpy(shift->due[shift->count++].id, key.at + 10, 16);
    }
    return shift->count < PEOPLE_SHIFT_MAX;
}

/* Was it changed at a time that has not come yet? */
static enum bk_err noted_ahead(struct store_txn *txn, const uint8_t id[16], int64_t now_ns,
                               bool *ret_ahead)
{
    struct hub_address address;
    struct record record;
    char text[HUB_ID_TEXT_BYTES];
    hub_id_text(id, text);
    enum bk_err err = hub_find_record(txn, RESOURCE_INTEGRATION_USER, SLICE_EMPTY, slice_str(text),
                                      &address, &record);
    *ret_ahead = err == BK_OK && record.updated_ns > now_ns;
    return err == BK_NOT_FOUND ? BK_OK : err;
}

static enum bk_err shift_all(struct store_txn *txn, void *context)
{
    struct shift *shift = context;
    struct key key;
    bool ahead = false;
    key_start(&key, 'e');
    shift->count = 0;
    enum bk_err err = store_walk(txn, key_slice(&key), SLICE_EMPTY, shift_note, shift);
    for (unsigned i = 0; err == BK_OK && i < shift->count; i++) {
        err = noted_ahead(txn, shift->due[i].id, shift->to_ns, &ahead);
        if (err == BK_OK && ahead) {
            int64_t due_ns = shift->due[i].due_ns - (shift->from_ns - shift->to_ns);
            due_ns = due_ns > shift->to_ns ? due_ns : shift->to_ns;
            err = people_put_due(txn, shift->due[i].id, due_ns);
        }
    }
    return err;
}

void people_keeper_clock_was_set(struct people_keeper *keeper, int64_t from_ns, int64_t to_ns)
{
    static struct shift shift; /* the control thread's */
    for (unsigned i = 0; i < TRIES_KEPT; i++) {
        keeper->tries[i].until_ns += keeper->tries[i].count > 0 ? to_ns - from_ns : 0;
    }
    for (struct list *node = keeper->jobs.next; node != &keeper->jobs; node = node->next) {
        bk_container_of(node, struct job, node)->again_ns += to_ns - from_ns;
    }
    keeper->woken = true;
    if (to_ns >= from_ns) {
        return;
    }
    shift = (struct shift){.keeper = keeper, .from_ns = from_ns, .to_ns = to_ns};
    enum bk_err err = store_update(keeper->hub->store, shift_all, &shift);
    if (err != BK_OK) {
        log_event(LOG_WARN, "renewals of tokens wait for a time of day that is far away",
                  LOG_Z("why", bk_err_text(err)));
    }
}
