/* apply_delete.c - deleting what documents name, in one transaction.
 *
 * What uses others goes before them. An integration through which hooks are still to be removed at
 * the provider waits for that, and so does what it needs: its Secret, its canvas. These stay, and
 * the result says so; who asks again later finds only them.
 */
#include "hub/operations/provider_work.h"
#include "hub/resources/apply_build.h"

#include <stdlib.h>

/* In the order in which they go. */
static int compare_removals(const void *a, const void *b)
{
    const struct apply_work *left = a, *right = b;
    if (left->kind != right->kind) {
        return left->kind > right->kind ? -1 : 1; /* what is referred to comes first in the list */
    }
    return apply_compare(left, right);
}

void apply_order_removals(struct apply *apply)
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

enum bk_err apply_must_wait(struct apply *apply, struct apply_work *work)
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
