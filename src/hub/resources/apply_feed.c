/* apply_feed.c - what the cores get to see of an apply: compiled before the commit, fed after it.
 */
#include "base/array.h"
#include "hub/resources/apply_build.h"

#include <stdlib.h>

/* ---- changes */

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
    to->path = apply_copy_slice(apply, change->path);
    to->name = apply_copy_slice(apply, change->name);
    to->canvas = apply_copy_slice(apply, change->canvas);
    to->type = apply_copy_slice(apply, change->type);
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

void apply_drop_changes(struct apply *apply)
{
    for (size_t i = 0; i < apply->target_count; i++) {
        destination_free(apply->targets[i].destination);
        route_change_drop(&apply->targets[i].route);
    }
    apply->target_count = 0;
    for (size_t i = 0; i < apply->change_count; i++) {
        if (apply->changes[i].scheme) {
            filter_sets_free(apply->changes[i].events, apply->changes[i].event_count);
            scheme_wipe(apply->changes[i].scheme);
            free(apply->changes[i].scheme);
        }
    }
    apply->change_count = 0;
}

/* ---- compiling what changed, and what refers to it */

static enum bk_err compile_users(struct apply *apply)
{
    enum bk_err err = BK_OK;
    qsort(apply->users, apply->user_count, sizeof *apply->users, apply_compare_users);
    for (size_t i = 0; err == BK_OK && i < apply->user_count; i++) {
        const struct apply_user *user = &apply->users[i];
        const struct apply_kind *kind = apply_kind_of(user->kind);
        /* Of one that is in the set with a mistake of its own nobody knows what it is to be. */
        if (!kind->compile || (i > 0 && apply_compare_users(user, user - 1) == 0) ||
            apply_is_doubtful(apply, user->kind, user->canvas, user->name)) {
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

enum bk_err apply_compile(struct apply *apply)
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

/* ---- feeding */

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
void apply_feed(struct apply *apply)
{
    feed_destinations(apply, false);
    feed_sources(apply);
    feed_routes(apply);
    feed_destinations(apply, true);
}
