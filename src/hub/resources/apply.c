#include "hub/resources/apply.h"

#include "base/array.h"
#include "base/assert.h"
#include "base/yaml.h"
#include "hub/links/link.h"
#include "hub/resources/apply_build.h"
#include "hub/resources/token.h"

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

static struct slice copy_slice(struct apply *apply, struct slice text)
{
    char *copy = arena_copy(apply->arena, text.at, text.bytes);
    return slice_of(copy, copy ? text.bytes : 0);
}

enum bk_err apply_add_change(struct apply *apply, const struct source_change *change)
{
    void *at = apply->changes;
    bool grown = array_reserve(&at, &apply->change_size, apply->change_count + 1, sizeof *change);
    apply->changes = at;
    if (!grown) {
        return BK_NO_MEMORY;
    }
    struct source_change *to = &apply->changes[apply->change_count];
    *to = *change;
    to->path = copy_slice(apply, change->path);
    to->name = copy_slice(apply, change->name);
    to->canvas = copy_slice(apply, change->canvas);
    to->type = copy_slice(apply, change->type);
    apply->change_count++;
    return apply->arena->overflow ? BK_NO_MEMORY : BK_OK;
}

struct apply_target *apply_add_target(struct apply *apply)
{
    void *at = apply->targets;
    bool grown =
        array_reserve(&at, &apply->target_size, apply->target_count + 1, sizeof *apply->targets);
    apply->targets = at;
    if (!grown) {
        return NULL;
    }
    struct apply_target *target = &apply->targets[apply->target_count++];
    *target = (struct apply_target){0};
    return target;
}

static void drop_changes(struct apply *apply)
{
    for (size_t i = 0; i < apply->target_count; i++) {
        destination_free(apply->targets[i].destination);
        route_change_drop(&apply->targets[i].route);
    }
    apply->target_count = 0;
    for (size_t i = 0; i < apply->change_count; i++) {
        if (apply->changes[i].scheme) {
            source_events_free(apply->changes[i].events, apply->changes[i].event_count);
            scheme_wipe(apply->changes[i].scheme);
            free(apply->changes[i].scheme);
        }
    }
    apply->change_count = 0;
}

static struct apply_result *new_result(struct apply *apply, enum resource_kind kind,
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

static enum bk_err add_removal(struct apply *apply, enum resource_kind kind, struct slice canvas,
                               struct slice name)
{
    void *at = apply->removals;
    bool grown =
        array_reserve(&at, &apply->removal_size, apply->removal_count + 1, sizeof *apply->removals);
    apply->removals = at;
    struct apply_result *result = grown ? new_result(apply, kind, canvas, name) : NULL;
    if (!result) {
        return BK_NO_MEMORY;
    }
    apply->removals[apply->removal_count++] =
        (struct apply_work){.kind = kind,
                            .canvas = slice_str(result->canvas),
                            .name = slice_str(result->name),
                            .result = result};
    return BK_OK;
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

static int compare_users(const void *a, const void *b)
{
    const struct apply_user *left = a, *right = b;
    return compare_objects(left->kind, left->canvas, left->name, right->kind, right->canvas,
                           right->name);
}

/* ---- the steps of a run */

/* Who is bound to a canvas has no part in others, nor in canvases themselves. */
static enum bk_err check_canvas(struct apply *apply, enum resource_kind kind, struct slice canvas,
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

/* Everything of an earlier run in a smaller map is forgotten. */
static enum bk_err start_run(struct apply *apply)
{
    drop_changes(apply);
    apply->removal_count = apply->user_count = apply->waiting_count = 0;
    apply->outcome->problems.count = apply->decoded_count;
    apply->outcome->problems.dropped = apply->decoded_dropped;
    apply->outcome->message = NULL;
    for (size_t i = 0; i < apply->count; i++) {
        struct apply_work *work = &apply->works[i];
        const struct resource_document *document = work->document;
        char canvas[NAME_BYTES_MAX + 1] = "";
        enum bk_err err = resource_kind_info(document->kind)->in_canvas
                              ? hub_canvas(apply->txn, document->canvas, canvas)
                              : BK_OK;
        if (err == BK_OK) {
            err = check_canvas(apply, document->kind, slice_str(canvas), document->name);
        }
        if (err != BK_OK) {
            return err;
        }
        struct apply_result *result =
            new_result(apply, document->kind, slice_str(canvas), document->name);
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

struct prune_walk {
    struct apply *apply;
    enum resource_kind kind;
    enum bk_err err;
};

static bool prune_one(void *context, struct slice key, struct slice value)
{
    struct prune_walk *walk = context;
    struct slice canvas, name;
    (void)value;
    if (!hub_split(slice_skip(key, 3), &canvas, &name)) {
        walk->err = BK_CORRUPT;
    } else if (walk->kind == RESOURCE_EVENT_SOURCE && link_owns(walk->apply->txn, canvas, name)) {
        walk->err = BK_OK; /* it goes with its link */
    } else if (!apply_find_work(walk->apply, walk->kind, canvas, name)) {
        walk->err = add_removal(walk->apply, walk->kind, canvas, name);
    }
    return walk->err == BK_OK;
}

/* What the set does not name, of each kind and canvas that somebody wrote into it: the source that
 * a link implies does not make the set one of sources. */
static enum bk_err find_pruned(struct apply *apply)
{
    enum bk_err err = BK_OK;
    const struct apply_work *walked = NULL;
    for (size_t i = 0; err == BK_OK && i < apply->count; i++) {
        const struct apply_work *work = apply->sorted[i];
        if (work->kind == RESOURCE_CANVAS || work->document->implied ||
            (walked && walked->kind == work->kind && slice_equal(walked->canvas, work->canvas))) {
            continue;
        }
        walked = work;
        struct prune_walk walk = {apply, work->kind, BK_OK};
        struct key prefix;
        key_canvas(&prefix, resource_kind_info(work->kind)->key, work->canvas);
        err = store_walk(apply->txn, key_slice(&prefix), SLICE_EMPTY, prune_one, &walk);
        err = err == BK_OK ? walk.err : err;
    }
    return err;
}

static enum bk_err check_canvas_empty(struct apply *apply, const struct apply_work *work)
{
    bool bound = false;
    if (slice_equal(work->name, slice_str(RESOURCE_CANVAS_DEFAULT))) {
        return apply_fail(apply, BK_IN_USE, "the canvas \"default\" cannot be deleted");
    }
    for (unsigned kind = 0; kind < RESOURCE_KIND_COUNT; kind++) {
        const struct resource_kind_info *info = resource_kind_info((enum resource_kind)kind);
        bool found = false;
        struct key prefix;
        if (!info->in_canvas || info->key == 0) {
            continue;
        }
        key_canvas(&prefix, info->key, work->name);
        enum bk_err err = store_any(apply->txn, key_slice(&prefix), &found);
        if (err != BK_OK) {
            return err;
        }
        if (found) {
            return apply_fail(apply, BK_IN_USE, "canvas \"%s\" still has %s", work->result->name,
                              info->plural);
        }
    }
    enum bk_err err = token_of_canvas(apply->txn, work->name, &bound);
    return err == BK_OK && bound
               ? apply_fail(apply, BK_IN_USE, "canvas \"%s\" still has tokens", work->result->name)
               : err;
}

/* The source of a link goes with it. */
static enum bk_err imply_removals(struct apply *apply)
{
    size_t count = apply->removal_count;
    for (size_t i = 0; i < count; i++) {
        const struct apply_work *work = &apply->removals[i];
        char name[NAME_BYTES_MAX + 1];
        struct record record;
        if (work->kind != RESOURCE_INTEGRATION_LINK || !link_source_name(work->name, name)) {
            continue;
        }
        enum bk_err err =
            hub_record(apply->txn, RESOURCE_EVENT_SOURCE, work->canvas, slice_str(name), &record);
        if (err == BK_OK) {
            err = add_removal(apply, RESOURCE_EVENT_SOURCE, work->canvas, slice_str(name));
        }
        if (err != BK_OK && err != BK_NOT_FOUND) {
            return err;
        }
    }
    return BK_OK;
}

static enum bk_err remove_all(struct apply *apply)
{
    for (size_t i = 0; i < apply->removal_count; i++) {
        struct apply_work *work = &apply->removals[i];
        enum bk_err err = apply->options->remove ? apply_must_wait(apply, work) : BK_OK;
        if (err == BK_OK && work->waits) {
            continue;
        }
        if (err == BK_OK && work->kind == RESOURCE_CANVAS) {
            err = check_canvas_empty(apply, work);
        }
        if (err == BK_OK) {
            err = apply_remove(apply, work);
        }
        if (err != BK_OK) {
            return err;
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

/* ---- users of what changed or goes */

struct user_walk {
    struct apply *apply;
    struct apply_work *used;
    size_t prefix_bytes;
    enum bk_err err;
};

static bool kind_of_key(uint8_t byte, enum resource_kind *ret_kind)
{
    for (unsigned kind = 0; kind < RESOURCE_KIND_COUNT; kind++) {
        if (byte != 0 && resource_kind_info((enum resource_kind)kind)->key == byte) {
            *ret_kind = (enum resource_kind)kind;
            return true;
        }
    }
    return false;
}

static bool user_one(void *context, struct slice key, struct slice value)
{
    struct user_walk *walk = context;
    struct apply *apply = walk->apply;
    struct apply_user user = {.used = walk->used};
    struct slice rest = slice_skip(key, walk->prefix_bytes);
    void *at = apply->users;
    bool grown = array_reserve(&at, &apply->user_size, apply->user_count + 1, sizeof *apply->users);
    apply->users = at;
    if (rest.bytes < 2 || !kind_of_key(rest.at[0], &user.kind) ||
        !hub_split(slice_skip(rest, 1), &user.canvas, &user.name)) {
        walk->err = BK_CORRUPT;
    } else if (!grown) {
        walk->err = BK_NO_MEMORY;
    } else {
        user.canvas = copy_slice(apply, user.canvas);
        user.name = copy_slice(apply, user.name);
        user.keys = copy_slice(apply, value);
        apply->users[apply->user_count++] = user;
        walk->err = apply->arena->overflow ? BK_NO_MEMORY : BK_OK;
    }
    return walk->err == BK_OK;
}

enum bk_err apply_find_users(struct apply *apply, struct apply_work *used)
{
    struct user_walk walk = {apply, used, 0, BK_OK};
    struct key prefix;
    key_users(&prefix, resource_kind_info(used->kind)->key, used->canvas, used->name);
    walk.prefix_bytes = prefix.bytes;
    enum bk_err err = store_walk(apply->txn, key_slice(&prefix), SLICE_EMPTY, user_one, &walk);
    return err == BK_OK ? walk.err : err;
}

/* EventSource "payments", "shop" and 3 more */
static const char *name_users(struct apply *apply, size_t from)
{
    struct buf names;
    buf_init(&names, 4096);
    size_t count = apply->user_count - from, shown = count > 5 ? 5 : count;
    for (size_t i = 0; i < shown; i++) {
        const struct apply_user *user = &apply->users[from + i];
        bool new_kind = i == 0 || user->kind != (user - 1)->kind;
        buf_printf(&names, "%s%s%s\"%.*s\"",
                   i == 0           ? ""
                   : i + 1 == count ? " and "
                                    : ", ",
                   new_kind ? resource_kind_info(user->kind)->name : "", new_kind ? " " : "",
                   (int)user->name.bytes, (const char *)user->name.at);
    }
    if (count > shown) {
        buf_printf(&names, " and %zu more", count - shown);
    }
    const char *text = arena_string(apply->arena, buf_text(&names));
    buf_fini(&names);
    return text ? text : "";
}

/* Does every user of a secret that lost keys still find the one it wants? */
static enum bk_err check_keys(struct apply *apply, struct apply_work *secret, size_t from)
{
    struct record now;
    enum bk_err err = hub_record(apply->txn, RESOURCE_SECRET, secret->canvas, secret->name, &now);
    for (size_t i = from; err == BK_OK && i < apply->user_count; i++) {
        const struct apply_user *user = &apply->users[i];
        if (apply_is_doubtful(apply, user->kind, user->canvas, user->name)) {
            continue;
        }
        struct slice rest = user->keys;
        while (rest.bytes > 0) {
            size_t end = slice_find(rest, '\0');
            struct slice wanted = slice_of(rest.at, end);
            char storage[RESOURCE_SECRET_KEY_BYTES_MAX + 8];
            struct record_slot slot;
            if (!record_slot_find(&now, secret_field(wanted, storage), &slot)) {
                apply_wrong(apply, secret, secret->document->spec_place, "spec.local.data",
                            "key \"%.*s\" is still used by %s \"%.*s\"", (int)wanted.bytes,
                            (const char *)wanted.at, resource_kind_info(user->kind)->name,
                            (int)user->name.bytes, (const char *)user->name.at);
            }
            rest = slice_skip(rest, end + 1);
        }
    }
    return err;
}

/* All objects of the set are written by now, so the references are those of the end. */
static enum bk_err check_references(struct apply *apply)
{
    enum bk_err err = BK_OK;
    for (size_t i = 0; err == BK_OK && i < apply->removal_count; i++) {
        struct apply_work *work = &apply->removals[i];
        size_t from = apply->user_count;
        err = work->waits ? BK_OK : apply_find_users(apply, work);
        if (err == BK_OK && apply->user_count > from) {
            err = apply_fail(apply, BK_IN_USE, "%s \"%s\" is still used by %s",
                             resource_kind_info(work->kind)->name, work->result->name,
                             name_users(apply, from));
        }
    }
    for (size_t i = 0; err == BK_OK && i < apply->count; i++) {
        struct apply_work *work = &apply->works[i];
        if (!work->changed || work->users_indifferent || work->result->action != APPLY_UPDATED) {
            continue;
        }
        size_t from = apply->user_count;
        err = apply_find_users(apply, work);
        if (err == BK_OK && work->keys_dropped) {
            err = check_keys(apply, work, from);
        }
    }
    return err;
}

/* ---- compiling what changed, and what refers to it */

static enum bk_err compile_users(struct apply *apply)
{
    enum bk_err err = BK_OK;
    qsort(apply->users, apply->user_count, sizeof *apply->users, compare_users);
    for (size_t i = 0; err == BK_OK && i < apply->user_count; i++) {
        const struct apply_user *user = &apply->users[i];
        const struct apply_kind *kind = apply_kind_of(user->kind);
        if (!kind->compile || (i > 0 && compare_users(user, user - 1) == 0)) {
            continue;
        }
        const struct apply_work *work =
            apply_find_work(apply, user->kind, user->canvas, user->name);
        if (!work || !work->changed) {
            err = kind->compile(apply, user->canvas, user->name, user->used, false);
        }
    }
    return err;
}

static enum bk_err compile_all(struct apply *apply)
{
    enum bk_err err = compiler_init(&apply->compiler, apply->hub, apply->txn);
    if (err != BK_OK) {
        return err;
    }
    for (size_t i = 0; err == BK_OK && i < apply->count; i++) {
        struct apply_work *work = &apply->works[i];
        const struct apply_kind *kind = apply_kind_of(work->kind);
        if (kind->compile && work->changed && !work->failed) {
            err = kind->compile(apply, work->canvas, work->name, work, true);
        }
    }
    if (err == BK_OK && apply->user_count > 0) {
        err = compile_users(apply);
    }
    compiler_fini(&apply->compiler);
    return err;
}

/* ---- one run, and the whole */

static enum bk_err put_counter(struct apply *apply, struct slice key, uint64_t number)
{
    uint8_t text[8];
    key_put_u64(text, number);
    return store_put(apply->txn, key, slice_of(text, sizeof text));
}

/* With mistakes in it, nothing is removed: what the set does not name any more is not known. */
static enum bk_err run_steps(struct apply *apply)
{
    enum bk_err err = put_all(apply);
    if (err == BK_OK && apply->options->prune && apply->outcome->problems.count == 0) {
        err = find_pruned(apply);
    }
    if (err == BK_OK) {
        err = imply_removals(apply);
    }
    if (err == BK_OK && apply->options->remove) {
        apply_order_removals(apply);
    }
    if (err == BK_OK) {
        err = remove_all(apply);
    }
    if (err == BK_OK) {
        err = claim_paths(apply);
    }
    if (err == BK_OK) {
        err = check_references(apply);
    }
    if (err == BK_OK) {
        err = compile_all(apply);
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

/* Of a set, what is not there need not be deleted. */
static enum bk_err find_wanted(struct apply *apply)
{
    enum bk_err err = BK_OK;
    for (size_t i = 0; err == BK_OK && i < apply->wanted_count; i++) {
        const struct apply_wanted *wanted = &apply->wanted[i];
        char canvas[NAME_BYTES_MAX + 1] = "";
        struct record record;
        err = resource_kind_info(wanted->kind)->in_canvas
                  ? hub_canvas(apply->txn, wanted->canvas, canvas)
                  : BK_OK;
        if (err == BK_INVALID) {
            err = apply_fail(apply, err, "there can be no canvas \"%.*s\"",
                             (int)wanted->canvas.bytes, (const char *)wanted->canvas.at);
        }
        if (err == BK_OK) {
            err = check_canvas(apply, wanted->kind, slice_str(canvas), wanted->name);
        }
        if (err == BK_OK) {
            err = hub_record(apply->txn, wanted->kind, slice_str(canvas), wanted->name, &record);
            err = err == BK_OK ? add_removal(apply, wanted->kind, slice_str(canvas), wanted->name)
                  : err == BK_NOT_FOUND ? BK_OK
                                        : err;
        }
    }
    return err;
}

static enum bk_err run(struct store_txn *txn, void *context)
{
    struct apply *apply = context;
    apply->txn = txn;
    enum bk_err err = start_run(apply);
    if (err == BK_OK) {
        err = find_wanted(apply);
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

static void feed_destinations(struct apply *apply, bool removed)
{
    struct hub *hub = apply->hub;
    for (size_t i = 0; hub->destination_changed && i < apply->target_count; i++) {
        struct apply_target *target = &apply->targets[i];
        if (target->kind == RESOURCE_DESTINATION && target->removed == removed) {
            hub->destination_changed(hub->context, target->number, target->destination);
            target->destination = NULL; /* theirs now */
        }
    }
}

static void feed_routes(struct apply *apply)
{
    struct hub *hub = apply->hub;
    for (size_t i = 0; hub->route_changed && i < apply->target_count; i++) {
        struct apply_target *target = &apply->targets[i];
        if (target->kind == RESOURCE_ROUTE) {
            hub->route_changed(hub->context, &target->route);
            target->route.from_count = 0; /* theirs now */
        }
    }
}

/* Removals first: what takes a path comes after what gave it up. */
static void feed_sources(struct apply *apply)
{
    struct hub *hub = apply->hub;
    for (unsigned pass = 0; hub->changed && pass < 2; pass++) {
        for (size_t i = 0; i < apply->change_count; i++) {
            struct source_change *change = &apply->changes[i];
            if (change->removed == (pass == 0)) {
                hub->changed(hub->context, change);
                change->scheme = NULL; /* theirs now */
            }
        }
    }
}

/* A route comes when all it names is there, and goes before it does. */
static void feed(struct apply *apply)
{
    feed_destinations(apply, false);
    feed_sources(apply);
    feed_routes(apply);
    feed_destinations(apply, true);
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
        for (size_t i = 0; i < apply->count; i++) {
            const struct apply_work *work = &apply->works[i];
            if (work->result->action == APPLY_CREATED) {
                hub_counts_add(apply->hub, work->kind, 1);
            }
        }
        for (size_t i = 0; i < apply->removal_count; i++) {
            hub_counts_add(apply->hub, apply->removals[i].kind, apply->removals[i].waits ? 0 : -1);
        }
        feed(apply);
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

/* What was decoded has mistakes: all else that is wrong with the set is found, too, and nothing
 * done. */
static void apply_look_only(struct apply *apply)
{
    const struct resource_problems *problems = &apply->outcome->problems;
    apply->decoded_count = problems->count;
    apply->decoded_dropped = problems->dropped;
    if (problems->count > 0) {
        apply->look_only = *apply->options;
        apply->look_only.dry_run = true;
        apply->look_only.prune = false;
        apply->options = &apply->look_only;
    }
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
    drop_changes(apply);
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

/* ---- documents */

/* A list, or {"items": […]}, counts as its elements. */
static yyjson_mut_val *list_of(yyjson_mut_val *root)
{
    if (yyjson_mut_is_arr(root)) {
        return root;
    }
    yyjson_mut_val *items = yyjson_mut_is_obj(root) ? yyjson_mut_obj_get(root, "items") : NULL;
    return yyjson_mut_is_arr(items) && !yyjson_mut_obj_get(root, "spec") ? items : NULL;
}

static size_t count_documents(const struct json_tree *tree)
{
    size_t count = 0;
    for (size_t i = 0; i < tree->count; i++) {
        yyjson_mut_val *list = list_of(tree->roots[i]);
        count += list ? yyjson_mut_arr_size(list) : 1;
    }
    return count;
}

/* A link that has a hook at the provider has an event source of its own, which comes and goes with
 * it. Behind the documents that were written. */
static enum bk_err imply_documents(struct apply *apply, struct json_tree *tree,
                                   struct resource_document *documents)
{
    size_t count = apply->count;
    for (size_t i = 0; i < count; i++) {
        const struct resource_document *document = &documents[i];
        if (document->kind != RESOURCE_INTEGRATION_LINK || document->broken ||
            !document->spec.link.type || !document->spec.link.type->makes_hook) {
            continue;
        }
        yyjson_mut_val *root = link_source_document(document, tree);
        struct resource_expect expect = {.canvas = document->canvas};
        size_t index = apply->count;
        if (!root) {
            return BK_NO_MEMORY;
        }
        if (resource_decode(tree, i, root, &expect, &documents[index], &apply->outcome->problems)) {
            documents[index].implied = true;
            apply->works[index].document = &documents[index];
            apply->count++;
        }
    }
    return BK_OK;
}

/* One to delete: it is found as apply would put it. */
static void want_document(struct apply *apply, struct json_tree *tree, yyjson_mut_val *root,
                          const struct resource_expect *expect, size_t number)
{
    struct resource_document document;
    if (resource_decode_address(tree, number, root, expect, &document, &apply->outcome->problems)) {
        apply->wanted[apply->wanted_count++] =
            (struct apply_wanted){document.kind, document.canvas, document.name};
    }
}

static void decode_one(struct apply *apply, struct json_tree *tree, yyjson_mut_val *root,
                       struct resource_document *documents, size_t number)
{
    const struct apply_options *options = apply->options;
    struct resource_expect expect = {options->canvas, options->one, options->kind, options->name};
    if (expect.canvas.bytes == 0) {
        expect.canvas = slice_str(RESOURCE_CANVAS_DEFAULT);
    }
    if (options->remove) {
        want_document(apply, tree, root, &expect, number);
        return;
    }
    struct resource_document *document = &documents[apply->count];
    resource_decode(tree, number, root, &expect, document, &apply->outcome->problems);
    if (document->addressed) {
        apply->works[apply->count++].document = document;
    } else {
        apply->unread[apply->unread_count++] = document->name;
    }
}

/* At most so many documents are implied. */
static size_t count_links(const struct apply *apply, const struct json_tree *tree)
{
    size_t links = apply->options->one && apply->options->kind == RESOURCE_INTEGRATION_LINK;
    for (size_t i = 0; i < tree->count; i++) {
        yyjson_mut_val *list = list_of(tree->roots[i]), *item = tree->roots[i];
        for (size_t k = 0; k < (list ? yyjson_mut_arr_size(list) : 1); k++) {
            item = !list ? item : k == 0 ? yyjson_mut_arr_get_first(list) : item->next;
            yyjson_mut_val *kind =
                yyjson_mut_is_obj(item) ? yyjson_mut_obj_get(item, "kind") : NULL;
            enum resource_kind found;
            links += yyjson_mut_is_str(kind) && resource_kind_find(json_text(kind), &found) &&
                     found == RESOURCE_INTEGRATION_LINK;
        }
    }
    return links;
}

static enum bk_err decode_all(struct apply *apply, struct json_tree *tree)
{
    size_t count = count_documents(tree);
    bool nothing = tree->count == 0; /* an empty list is something: what `get` gives */
    if (nothing || (apply->options->one && count != 1)) {
        return apply_fail(apply, BK_INVALID,
                          nothing ? "there is no document in it"
                                  : "only one document is wanted here");
    }
    size_t links = apply->options->remove ? 0 : count_links(apply, tree), number = 0;
    struct resource_document *documents =
        arena_take(apply->arena, (count + links + 1) * sizeof *documents);
    apply->works = calloc(count + links + 1, sizeof *apply->works);
    apply->sorted = calloc(count + links + 1, sizeof(struct apply_work *));
    apply->wanted = calloc(apply->options->remove ? count + 1 : 1, sizeof *apply->wanted);
    apply->unread = calloc(count + 1, sizeof *apply->unread);
    if (!documents || !apply->works || !apply->sorted || !apply->wanted || !apply->unread) {
        return BK_NO_MEMORY;
    }
    for (size_t i = 0; i < tree->count; i++) {
        yyjson_mut_val *list = list_of(tree->roots[i]), *item;
        size_t index, max;
        if (!list) {
            decode_one(apply, tree, tree->roots[i], documents, number++);
            continue;
        }
        yyjson_mut_arr_foreach(list, index, max, item)
        {
            decode_one(apply, tree, item, documents, number++);
        }
    }
    enum bk_err err = links > 0 ? imply_documents(apply, tree, documents) : BK_OK;
    if (err == BK_OK && (apply->options->remove || apply->count == 0)) {
        err = apply_say_problems(apply);
    }
    apply_look_only(apply);
    return err;
}

enum bk_err apply_text(struct hub *hub, struct slice text, const struct apply_options *options,
                       struct apply_outcome *ret_outcome)
{
    struct apply apply;
    struct json_tree tree;
    struct json_problem problem;
    apply_init(&apply, hub, options, ret_outcome);
    json_tree_init(&tree);
    enum bk_err err = yaml_or_json_parse(text, &tree, &problem);
    if (err != BK_OK) {
        resource_problem_add(&ret_outcome->problems, 0, problem.place, "", "%s", problem.message);
        apply_fail(&apply, err, "line %u, column %u: %s", problem.place.line, problem.place.column,
                   problem.message);
    } else {
        err = decode_all(&apply, &tree);
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
        err = hub_find(txn, kind, options->canvas, name, &address);
        if (err == BK_OK) {
            err =
                hub_record(txn, kind, slice_str(address.canvas), slice_str(address.name), &record);
        }
        if (err == BK_OK && options->if_match_given && record.revision != options->if_match) {
            err = apply_fail(
                &apply, BK_CONFLICT, "%s \"%s\" is at revision %llu, not %llu: read it again",
                resource_kind_info(kind)->name, address.name, (unsigned long long)record.revision,
                (unsigned long long)options->if_match);
        }
        store_read_end(txn);
    }
    if (err == BK_NOT_FOUND) {
        apply_fail(&apply, err, "there is no %s \"%.*s\"", resource_kind_info(kind)->name,
                   (int)name.bytes, (const char *)name.at);
    } else if (err == BK_OK) {
        err = check_canvas(&apply, kind, slice_str(address.canvas), slice_str(address.name));
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
