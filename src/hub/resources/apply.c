#include "hub/resources/apply.h"

#include "base/assert.h"
#include "base/yaml.h"
#include "hub/resources/apply_build.h"
#include "hub/resources/etag.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* Texts of the largest set, and what a change of a secret that a million sources use needs. */
#define OUTCOME_BYTES_MAX (1ULL << 30)
#define RECORD_BYTES_MAX  (16U << 20)

/* ---- failing */

void apply_wrong(struct apply *apply, struct apply_work *work, struct json_place place,
                 const char *field, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    work->failed = true;
    resource_problem_add(&apply->outcome->problems, work->document ? work->document->index : 0,
                         apply_place(work, place, field), field, "%s", text);
}

enum bk_err apply_fail(struct apply *apply, enum bk_err err, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!apply->outcome->message) {
        apply->outcome->message = arena_string(apply->arena, text);
    }
    return err;
}

void apply_outcome_fini(struct apply_outcome *outcome)
{
    arena_fini(&outcome->arena);
    *outcome = (struct apply_outcome){0};
}

/* ---- lists */

struct slice apply_copy_slice(struct apply *apply, struct slice text)
{
    char *copy = arena_copy(apply->arena, text.at, text.bytes);
    return slice_of(copy, copy ? text.bytes : 0);
}

struct apply_result *apply_new_result(struct apply *apply, enum resource_kind kind,
                                      struct slice canvas, struct slice name)
{
    struct apply_result *result = arena_take(apply->arena, sizeof *result);
    if (result) {
        result->kind = kind;
        result->name = arena_copy(apply->arena, name.at, name.bytes);
        result->canvas = arena_copy(apply->arena, canvas.at, canvas.bytes);
    }
    return result && result->name && result->canvas ? result : NULL;
}

/* ---- order */

static int compare_text(struct slice a, struct slice b)
{
    size_t bytes = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = bytes ? memcmp(a.at, b.at, bytes) : 0;
    return order ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int compare_objects(enum resource_kind kind_a, struct slice canvas_a, struct slice name_a,
                           enum resource_kind kind_b, struct slice canvas_b, struct slice name_b)
{
    if (kind_a != kind_b) {
        return kind_a < kind_b ? -1 : 1;
    }
    int order = compare_text(canvas_a, canvas_b);
    return order ? order : compare_text(name_a, name_b);
}

int apply_compare(const struct apply_work *a, const struct apply_work *b)
{
    return compare_objects(a->kind, a->canvas, a->name, b->kind, b->canvas, b->name);
}

static int compare_works(const void *a, const void *b)
{
    const struct apply_work *left = *(struct apply_work *const *)a;
    const struct apply_work *right = *(struct apply_work *const *)b;
    int order = apply_compare(left, right);
    return order ? order : (left > right) - (left < right);
}

struct slice apply_keep(struct apply *apply, struct slice text)
{
    const char *copy = arena_copy(apply->arena, text.at, text.bytes);
    return slice_of(copy, copy ? text.bytes : 0);
}

struct apply_work *apply_find_work(const struct apply *apply, enum resource_kind kind,
                                   struct slice canvas, struct slice name)
{
    size_t low = 0, high = apply->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        struct apply_work *work = apply->sorted[middle];
        int order = compare_objects(work->kind, work->canvas, work->name, kind, canvas, name);
        if (order == 0) {
            return work;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

int apply_compare_users(const void *a, const void *b)
{
    const struct apply_user *left = a, *right = b;
    return compare_objects(left->kind, left->canvas, left->name, right->kind, right->canvas,
                           right->name);
}

/* ---- the steps of a run */

enum bk_err apply_check_canvas(struct apply *apply, enum resource_kind kind, struct slice canvas,
                               struct slice name)
{
    struct slice only = apply->options->only_canvas;
    if (only.bytes == 0 || slice_equal(only, canvas)) {
        return BK_OK;
    }
    return apply_fail(apply, BK_FORBIDDEN,
                      "%s \"%.*s\" is not in canvas \"%.*s\", and your token is "
                      "for that one only",
                      resource_kind_info(kind)->name, (int)name.bytes, (const char *)name.at,
                      (int)only.bytes, (const char *)only.at);
}

enum bk_err apply_check_revision(struct apply *apply, enum resource_kind kind, struct slice name,
                                 uint64_t revision)
{
    const struct apply_options *options = apply->options;
    bool demanded = options->if_match.at == NULL || etag_list_names(options->if_match, revision);
    if (demanded &&
        (options->if_none_match.at == NULL || !etag_list_names(options->if_none_match, revision))) {
        return BK_OK;
    }
    return apply_fail(apply, BK_CONFLICT,
                      "%s \"%.*s\" is at revision %llu, which %s: read it again",
                      resource_kind_info(kind)->name, (int)name.bytes, (const char *)name.at,
                      (unsigned long long)revision,
                      demanded ? "If-None-Match excludes" : "If-Match does not name");
}

/* Everything of an earlier run in a smaller map is forgotten. */
static enum bk_err start_run(struct apply *apply)
{
    apply_drop_changes(apply);
    apply->removal_count = apply->user_count = apply->waiting_count = 0;
    apply->outcome->problems.count = apply->decoded_count;
    apply->outcome->problems.dropped = apply->decoded_dropped;
    apply->outcome->message = NULL;
    apply->in_use = NULL;
    for (size_t i = 0; i < apply->count; i++) {
        struct apply_work *work = &apply->works[i];
        const struct resource_document *document = work->document;
        char canvas[NAME_BYTES_MAX + 1] = "";
        enum bk_err err = resource_kind_info(document->kind)->in_canvas
                              ? hub_canvas(apply->txn, document->canvas, canvas)
                              : BK_OK;
        if (err == BK_OK) {
            err = apply_check_canvas(apply, document->kind, slice_str(canvas), document->name);
        }
        if (err != BK_OK) {
            return err;
        }
        struct apply_result *result =
            apply_new_result(apply, document->kind, slice_str(canvas), document->name);
        if (!result) {
            return BK_NO_MEMORY;
        }
        *work = (struct apply_work){.document = document,
                                    .kind = document->kind,
                                    .canvas = slice_str(result->canvas),
                                    .name = slice_str(result->name),
                                    .failed = document->broken,
                                    .result = result};
        apply->sorted[i] = work;
    }
    if (apply->count > 1) {
        qsort(apply->sorted, apply->count, sizeof *apply->sorted, compare_works);
    }
    for (size_t i = 1; i < apply->count; i++) {
        struct apply_work *work = apply->sorted[i], *before = apply->sorted[i - 1];
        if (compare_objects(work->kind, work->canvas, work->name, before->kind, before->canvas,
                            before->name) == 0) {
            apply_wrong(apply, work, work->document->place, "metadata.name",
                        "%s \"%s\" is there twice", resource_kind_info(work->kind)->name,
                        work->result->name);
        }
    }
    enum bk_err err = store_number(apply->txn, KEY_REVISION, &apply->revision);
    return err == BK_OK ? store_number(apply->txn, KEY_NUMBER, &apply->number) : err;
}

/* Secrets before what refers to them: the kinds are in that order. */
static enum bk_err put_all(struct apply *apply)
{
    for (unsigned kind = 0; kind < RESOURCE_KIND_COUNT; kind++) {
        for (size_t i = 0; i < apply->count; i++) {
            struct apply_work *work = &apply->works[i];
            if ((unsigned)work->kind != kind || (work->failed && !work->document->broken)) {
                continue;
            }
            enum bk_err err =
                work->document->broken ? apply_look(apply, work) : apply_put(apply, work);
            if (err != BK_OK) {
                return err;
            }
        }
    }
    return BK_OK;
}

/* After all old paths were given up, so that two sources may exchange theirs. */
static enum bk_err claim_paths(struct apply *apply)
{
    for (size_t i = 0; i < apply->count; i++) {
        struct apply_work *work = &apply->works[i];
        if (work->failed || !work->changed || !work->path_new) {
            continue;
        }
        struct key key, value = {.bytes = 0};
        struct slice owner, canvas, name;
        key_path(&key, work->path);
        enum bk_err err = store_get(apply->txn, key_slice(&key), &owner);
        if (err == BK_OK && hub_split(owner, &canvas, &name)) {
            if (apply_is_doubtful(apply, RESOURCE_EVENT_SOURCE, canvas, name)) {
                continue; /* it may be about to give it up */
            }
            apply_wrong(apply, work, work->document->spec_place, "spec.path",
                        "EventSource \"%.*s\" of canvas \"%.*s\" has this path already",
                        (int)name.bytes, (const char *)name.at, (int)canvas.bytes,
                        (const char *)canvas.at);
            continue;
        }
        if (err != BK_NOT_FOUND) {
            return err == BK_OK ? BK_CORRUPT : err;
        }
        key_add_name(&value, work->canvas);
        key_add(&value, work->name.at, work->name.bytes);
        err = store_put(apply->txn, key_slice(&key), key_slice(&value));
        if (err != BK_OK) {
            return err;
        }
    }
    return BK_OK;
}

/* ---- one run, and the whole */

static enum bk_err put_counter(struct apply *apply, struct slice key, uint64_t number)
{
    uint8_t text[8];
    key_put_u64(text, number);
    return store_put(apply->txn, key, slice_of(text, sizeof text));
}

/* Beside mistakes it is one more of them. */
static enum bk_err refuse_removals(struct apply *apply)
{
    struct resource_problems *problems = &apply->outcome->problems;
    if (problems->count == 0) {
        return apply_fail(apply, BK_IN_USE, "%s", apply->in_use);
    }
    resource_problem_add(problems, 0, (struct json_place){0}, "", "%s", apply->in_use);
    return apply->decoded_count > 0 ? BK_INVALID : apply_say_problems(apply);
}

/* With mistakes in the set nothing will be, but whether all could go is told in the same round;
 * unless of a document not even the name is known: it may stand for what seems to be gone. */
static enum bk_err remove_all(struct apply *apply)
{
    bool wrong = apply->outcome->problems.count > 0;
    enum bk_err err = BK_OK;
    if (wrong && apply->nameless) {
        apply->removal_count = 0;
        return BK_OK;
    }
    if (apply->options->prune) {
        err = apply_find_pruned(apply);
    }
    if (err == BK_OK) {
        err = apply_remove_all(apply);
    }
    if (err == BK_IN_USE && wrong) {
        apply->in_use = apply->outcome->message;
        apply->outcome->message = NULL;
        err = apply->in_use ? refuse_removals(apply) : BK_NO_MEMORY;
    }
    return err;
}

static enum bk_err run_steps(struct apply *apply)
{
    enum bk_err err = put_all(apply);
    if (err == BK_OK) {
        err = remove_all(apply);
    }
    if (err == BK_OK) {
        err = claim_paths(apply);
    }
    if (err == BK_OK) {
        err = apply_check_references(apply);
    }
    if (err == BK_OK && apply->in_use) {
        return refuse_removals(apply); /* what used them would not compile */
    }
    if (err == BK_OK) {
        err = apply_compile(apply);
    }
    if (err == BK_OK) {
        err = apply->decoded_count > 0 ? BK_INVALID : apply_say_problems(apply);
    }
    return err;
}

/* An untouched store is not written at all. */
static bool anything_changed(const struct apply *apply)
{
    bool changed = apply->removal_count > apply->waiting_count;
    for (size_t i = 0; i < apply->count && !changed; i++) {
        changed = apply->works[i].changed;
    }
    return changed;
}

static enum bk_err audit_one(struct apply *apply, const struct apply_result *result)
{
    struct buf diff;
    buf_init(&diff, OUTCOME_BYTES_MAX);
    apply_diffs_json(result, &diff);
    struct audit_change change = {.action = apply_action_name(result->action),
                                  .kind = resource_kind_info(result->kind)->name,
                                  .name = result->name,
                                  .canvas = result->canvas,
                                  .diff = buf_slice(&diff),
                                  .now_ns = apply->options->now_ns};
    enum bk_err err = diff.overflow ? BK_NO_MEMORY : audit_add(apply->hub, apply->txn, &change);
    buf_fini(&diff);
    return err;
}

static enum bk_err audit_all(struct apply *apply)
{
    enum bk_err err = BK_OK;
    for (size_t i = 0; i < apply->count && err == BK_OK; i++) {
        if (apply->works[i].changed) {
            err = audit_one(apply, apply->works[i].result);
        }
    }
    for (size_t i = 0; i < apply->removal_count && err == BK_OK; i++) {
        err = apply->removals[i].waits ? BK_OK : audit_one(apply, apply->removals[i].result);
    }
    return err;
}

static enum bk_err run(struct store_txn *txn, void *context)
{
    struct apply *apply = context;
    apply->txn = txn;
    enum bk_err err = start_run(apply);
    if (err == BK_OK) {
        err = apply_find_wanted(apply);
    }
    if (err == BK_OK) {
        err = run_steps(apply);
    }
    if (err != BK_OK) {
        return err;
    }
    if (apply->options->dry_run || !anything_changed(apply)) {
        return BK_CANCELLED; /* undone, and that is what was wanted */
    }
    err = put_counter(apply, KEY_REVISION, apply->revision);
    if (err == BK_OK) {
        err = put_counter(apply, KEY_NUMBER, apply->number);
    }
    return err == BK_OK ? audit_all(apply) : err;
}

static enum bk_err collect_results(struct apply *apply)
{
    struct apply_outcome *outcome = apply->outcome;
    size_t count = apply->count + apply->removal_count;
    outcome->results = arena_take(apply->arena, (count ? count : 1) * sizeof *outcome->results);
    if (!outcome->results) {
        return BK_NO_MEMORY;
    }
    for (size_t i = 0; i < apply->count; i++) {
        outcome->results[outcome->count++] = *apply->works[i].result;
    }
    for (size_t i = 0; i < apply->removal_count; i++) {
        outcome->results[outcome->count++] = *apply->removals[i].result;
    }
    return BK_OK;
}

static enum bk_err execute(struct apply *apply)
{
    enum bk_err err = store_update(apply->hub->store, run, apply);
    bool committed = err == BK_OK;
    if (apply->decoded_count > 0 && err != BK_NO_MEMORY) {
        bk_assert(!committed);
        apply->outcome->message = NULL; /* mistakes of the text before whatever else */
        err = apply_say_problems(apply);
    }
    if (err == BK_CANCELLED) {
        err = BK_OK;
    }
    if (committed) {
        apply_feed(apply);
    }
    if (err == BK_OK) {
        err = collect_results(apply);
    } else if (err == BK_NO_SPACE) {
        apply_fail(apply, err, "the disk is full, nothing was changed");
    } else {
        apply_fail(apply, err, "%s, nothing was changed", bk_err_text(err));
    }
    return err;
}

static void apply_init(struct apply *apply, struct hub *hub, const struct apply_options *options,
                       struct apply_outcome *outcome)
{
    *apply = (struct apply){.hub = hub, .options = options, .outcome = outcome};
    *outcome = (struct apply_outcome){0};
    arena_init(&outcome->arena, OUTCOME_BYTES_MAX);
    resource_problems_init(&outcome->problems, &outcome->arena);
    apply->arena = &outcome->arena;
    buf_init(&apply->old_bytes, RECORD_BYTES_MAX);
    buf_init(&apply->spec, RECORD_BYTES_MAX);
    buf_init(&apply->slots, RECORD_BYTES_MAX);
    buf_init(&apply->compiled, RECORD_BYTES_MAX);
    buf_init(&apply->bytes, RECORD_BYTES_MAX);
}

static void apply_fini(struct apply *apply)
{
    apply_drop_changes(apply);
    buf_fini(&apply->old_bytes);
    buf_fini(&apply->spec);
    buf_fini(&apply->slots);
    buf_fini(&apply->compiled);
    buf_fini(&apply->bytes);
    free(apply->works);
    free(apply->sorted);
    free(apply->removals);
    free(apply->wanted);
    free(apply->unread);
    free(apply->users);
    free(apply->changes);
    free(apply->targets);
}

enum bk_err apply_text(struct hub *hub, struct slice text, const struct apply_options *options,
                       struct apply_outcome *ret_outcome)
{
    struct apply apply;
    struct json_tree tree;
    struct json_problem problem;
    apply_init(&apply, hub, options, ret_outcome);
    json_tree_init(&tree);
    enum bk_err err = options->json ? json_parse(text, &tree, &problem)
                                    : yaml_or_json_parse(text, &tree, &problem);
    if (err != BK_OK) {
        resource_problem_add(&ret_outcome->problems, 0, problem.place, "", "%s", problem.message);
        apply_fail(&apply, err, "line %u, column %u: %s", problem.place.line, problem.place.column,
                   problem.message);
    } else {
        err = apply_decode_all(&apply, &tree);
    }
    if (err == BK_OK) {
        err = execute(&apply);
    }
    apply_fini(&apply);
    json_tree_fini(&tree);
    return err;
}

enum bk_err apply_delete(struct hub *hub, enum resource_kind kind, struct slice name,
                         const struct apply_options *options, struct apply_outcome *ret_outcome)
{
    struct apply apply;
    struct store_txn *txn;
    struct hub_address address;
    struct record record;
    apply_init(&apply, hub, options, ret_outcome);
    enum bk_err err = store_read(hub->store, &txn);
    if (err == BK_OK) {
        err = hub_find_record(txn, kind, options->canvas, name, &address, &record);
        if (err == BK_OK) {
            err = apply_check_revision(&apply, kind, slice_str(address.name), record.revision);
        }
        store_read_end(txn);
    }
    if (err == BK_NOT_FOUND) {
        apply_fail(&apply, err, "there is no %s \"%.*s\"", resource_kind_info(kind)->name,
                   (int)name.bytes, (const char *)name.at);
    } else if (err == BK_OK) {
        err = apply_check_canvas(&apply, kind, slice_str(address.canvas), slice_str(address.name));
    }
    apply.wanted = err == BK_OK ? calloc(1, sizeof *apply.wanted) : NULL;
    if (err == BK_OK && !apply.wanted) {
        err = BK_NO_MEMORY;
    }
    if (err == BK_OK) {
        apply.wanted[apply.wanted_count++] =
            (struct apply_wanted){kind, slice_str(address.canvas), slice_str(address.name)};
        err = execute(&apply);
    }
    apply_fini(&apply);
    return err;
}
