/* apply_users.c - who refers to what was changed or goes. */
#include "base/array.h"
#include "hub/resources/apply_private.h"

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
        user.canvas = apply_copy_slice(apply, user.canvas);
        user.name = apply_copy_slice(apply, user.name);
        user.keys = apply_copy_slice(apply, value);
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

#define IN_USE_SHOWN 5U

/* Of a document with mistakes it is not known whether it uses the same as before. */
static void drop_doubtful(struct apply *apply, size_t from)
{
    size_t count = from;
    for (size_t i = from; i < apply->user_count; i++) {
        const struct apply_user user = apply->users[i];
        if (!apply_is_doubtful(apply, user.kind, user.canvas, user.name)) {
            apply->users[count++] = user;
        }
    }
    apply->user_count = count;
}

/* All that is to go and is still used, in one line: apply->in_use. */
static enum bk_err check_removals(struct apply *apply)
{
    enum bk_err err = BK_OK;
    size_t count = 0;
    struct buf text;
    buf_init(&text, 8192);
    for (size_t i = 0; err == BK_OK && i < apply->removal_count; i++) {
        struct apply_work *work = &apply->removals[i];
        size_t from = apply->user_count;
        err = work->waits ? BK_OK : apply_find_users(apply, work);
        drop_doubtful(apply, from);
        if (err == BK_OK && apply->user_count > from && ++count <= IN_USE_SHOWN) {
            buf_printf(&text, "%s%s \"%s\" is still used by %s", count > 1 ? "; " : "",
                       resource_kind_info(work->kind)->name, work->result->name,
                       name_users(apply, from));
        }
        apply->user_count = from;
    }
    if (count > IN_USE_SHOWN) {
        buf_printf(&text, "; and %zu more", count - IN_USE_SHOWN);
    }
    if (count > 0 && apply->options->prune) {
        buf_printf(&text, "; pruning would delete %s, which the documents do not name",
                   count > 1 ? "these" : "it");
    }
    if (count > 0) {
        apply->in_use = arena_string(apply->arena, buf_text(&text));
        err = apply->in_use ? err : BK_NO_MEMORY;
    }
    buf_fini(&text);
    return err;
}

enum bk_err apply_check_references(struct apply *apply)
{
    enum bk_err err = check_removals(apply);
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
