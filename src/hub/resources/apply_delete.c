/* apply_delete.c - what goes: what documents name, what the set does not name any more, and what
 * goes with it. All in one transaction.
 *
 * What uses others goes before them. An integration through which hooks are still to be removed at
 * the provider waits for that, and so does what it needs: its Secret, its canvas. These stay, and
 * the result says so; who asks again later finds only them.
 */
#include "base/array.h"
#include "hub/links/link.h"
#include "hub/operations/provider_work.h"
#include "hub/resources/apply_build.h"
#include "hub/resources/token.h"

#include <stdlib.h>

/* ---- what goes */

static enum bk_err add_removal(struct apply *apply, enum resource_kind kind, struct slice canvas,
                               struct slice name)
{
    void *at = apply->removals;
    bool grown =
        array_reserve(&at, &apply->removal_size, apply->removal_count + 1, sizeof *apply->removals);
    apply->removals = at;
    struct apply_result *result = grown ? apply_new_result(apply, kind, canvas, name) : NULL;
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

struct prune_walk {
    struct apply *apply;
    enum resource_kind kind;
    enum bk_err err;
};

enum bk_err apply_find_wanted(struct apply *apply)
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
            err = apply_check_canvas(apply, wanted->kind, slice_str(canvas), wanted->name);
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

static bool prune_one(void *context, struct slice key, struct slice value)
{
    struct prune_walk *walk = context;
    struct slice canvas, name;
    (void)value;
    if (!hub_split(slice_skip(key, 3), &canvas, &name)) {
        walk->err = BK_CORRUPT;
    } else if (walk->kind == RESOURCE_EVENT_SOURCE && link_owns(walk->apply->txn, canvas, name)) {
        walk->err = BK_OK; /* it goes with its link */
    } else if (!apply_find_work(walk->apply, walk->kind, canvas, name) &&
               !apply_is_doubtful(walk->apply, walk->kind, canvas, name)) {
        walk->err = add_removal(walk->apply, walk->kind, canvas, name);
    }
    return walk->err == BK_OK;
}

enum bk_err apply_find_pruned(struct apply *apply)
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

/* ---- in which order */

/* In the order in which they go. */
static int compare_removals(const void *a, const void *b)
{
    const struct apply_work *left = a, *right = b;
    if (left->kind != right->kind) {
        return left->kind > right->kind ? -1 : 1; /* what is referred to comes first in the list */
    }
    return apply_compare(left, right);
}

static void order_removals(struct apply *apply)
{
    struct apply_work *at = apply->removals;
    size_t count = 0;
    if (apply->removal_count > 1) {
        qsort(at, apply->removal_count, sizeof *at, compare_removals);
    }
    for (size_t i = 0; i < apply->removal_count; i++) {
        if (count == 0 || compare_removals(&at[count - 1], &at[i]) != 0) {
            at[count++] = at[i];
        }
    }
    apply->removal_count = count;
}

/* ---- waiting */

static bool waits_already(const struct apply *apply, enum resource_kind kind, struct slice canvas,
                          struct slice name)
{
    for (size_t i = 0; i < apply->removal_count; i++) {
        const struct apply_work *work = &apply->removals[i];
        if (work->waits && work->kind == kind && slice_equal(work->canvas, canvas) &&
            slice_equal(work->name, name)) {
            return true;
        }
    }
    return false;
}

/* Is it in use by what waits? In use by anything else is an error of its own, later. */
static enum bk_err used_by_waiting(struct apply *apply, struct apply_work *work)
{
    size_t from = apply->user_count;
    enum bk_err err = apply_find_users(apply, work);
    for (size_t i = from; err == BK_OK && i < apply->user_count && !work->waits; i++) {
        const struct apply_user *user = &apply->users[i];
        work->waits = waits_already(apply, user->kind, user->canvas, user->name);
    }
    apply->user_count = from;
    return err;
}

static void in_canvas_of_waiting(const struct apply *apply, struct apply_work *work)
{
    for (size_t i = 0; i < apply->removal_count && !work->waits; i++) {
        work->waits =
            apply->removals[i].waits && slice_equal(apply->removals[i].canvas, work->name);
    }
}

/* Sets work->waits where it has to stay for now. All that goes before it is gone. */
static enum bk_err must_wait(struct apply *apply, struct apply_work *work)
{
    enum bk_err err = BK_OK;
    if (work->kind == RESOURCE_INTEGRATION) {
        err = provider_work_hooks_left(apply->txn, work->canvas, work->name, &work->waits);
    } else if (work->kind == RESOURCE_CANVAS && apply->waiting_count > 0) {
        in_canvas_of_waiting(apply, work);
    } else if (apply->waiting_count > 0) {
        err = used_by_waiting(apply, work);
    }
    if (err == BK_OK && work->waits) {
        work->result->action = APPLY_WAITING;
        apply->waiting_count++;
    }
    return err;
}

/* ---- going */

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

enum bk_err apply_remove_all(struct apply *apply)
{
    enum bk_err implied = imply_removals(apply);
    if (implied != BK_OK) {
        return implied;
    }
    if (apply->options->remove) {
        order_removals(apply);
    }
    for (size_t i = 0; i < apply->removal_count; i++) {
        struct apply_work *work = &apply->removals[i];
        enum bk_err err = apply->options->remove ? must_wait(apply, work) : BK_OK;
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
