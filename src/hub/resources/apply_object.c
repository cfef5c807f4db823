/* apply_object.c - one object: from its document to its record and indexes, whatever its kind. */
#include "base/assert.h"
#include "base/json.h"
#include "hub/links/entry.h"
#include "hub/links/link.h"
#include "hub/resources/apply_build.h"
#include "hub/resources/token.h"

#include <yyjson.h>

/* ---- the kinds */

/* struct hub_born: what was there before it. */
static enum bk_err canvas_build(struct apply *apply, struct apply_work *work)
{
    uint64_t numbers[3] = {apply->number, 0, 0};
    (void)work;
    buf_add_str(&apply->spec, "{}");
    if (apply->existed) {
        buf_add_slice(&apply->compiled, apply->old.compiled);
        return BK_OK;
    }
    enum bk_err err = store_number(apply->txn, KEY_ENTRY_NUMBER, &numbers[1]);
    if (err == BK_OK) {
        err = store_number(apply->txn, KEY_OPERATION_NUMBER, &numbers[2]);
    }
    for (unsigned i = 0; i < bk_array_length(numbers); i++) {
        uint8_t at[8];
        key_put_u64(at, numbers[i]);
        buf_add(&apply->compiled, at, sizeof at);
    }
    return err;
}

/* Its entries were events of a source without an object; another canvas of the name has its own. */
static enum bk_err canvas_unindex(struct apply *apply, struct apply_work *work)
{
    struct key key;
    key_entry_source(&key, work->name);
    return store_delete(apply->txn, key_slice(&key));
}

/* An entry that was on its way out when the one before was deleted may have made another. */
static enum bk_err canvas_index(struct apply *apply, struct apply_work *work, uint64_t number)
{
    (void)number;
    return apply->existed ? BK_OK : canvas_unindex(apply, work);
}

static const struct apply_kind canvas_kind = {
    .build = canvas_build, .index = canvas_index, .unindex = canvas_unindex};

static const struct apply_kind *const kinds[RESOURCE_KIND_COUNT] = {
    [RESOURCE_CANVAS] = &canvas_kind,
    [RESOURCE_SECRET] = &apply_secret_kind,
    [RESOURCE_INTEGRATION] = &apply_integration_kind,
    [RESOURCE_EVENT_SOURCE] = &apply_source_kind,
    [RESOURCE_DESTINATION] = &apply_destination_kind,
    [RESOURCE_ROUTE] = &apply_route_kind,
    [RESOURCE_USER] = &apply_user_kind,
    [RESOURCE_TEAM] = &apply_team_kind,
    [RESOURCE_INTEGRATION_USER] = &apply_person_kind,
    [RESOURCE_INTEGRATION_LINK] = &apply_link_kind,
};

const struct apply_kind *apply_kind_of(enum resource_kind kind)
{
    bk_assert(kinds[kind]);
    return kinds[kind];
}

/* ---- the record before */

static enum bk_err apply_load(struct apply *apply, const struct apply_work *work)
{
    struct key key;
    struct slice value;
    key_object(&key, resource_kind_info(work->kind)->key, work->canvas, work->name);
    enum bk_err err = store_get(apply->txn, key_slice(&key), &value);
    apply->existed = err == BK_OK;
    if (err == BK_NOT_FOUND) {
        apply->old = (struct record){0};
        return BK_OK;
    }
    if (err != BK_OK) {
        return err;
    }
    buf_reset(&apply->old_bytes);
    buf_add_slice(&apply->old_bytes, value);
    return apply->old_bytes.overflow ? BK_TOO_LARGE
                                     : record_decode(buf_slice(&apply->old_bytes), &apply->old);
}
/* ---- putting */

static enum bk_err put_id(struct apply *apply, const struct apply_work *work)
{
    struct key key, value;
    key_id(&key, apply->id);
    return store_put(apply->txn, key_slice(&key),
                     address_value(work, resource_kind_info(work->kind)->key, SLICE_EMPTY, &value));
}

static enum bk_err put_record(struct apply *apply, struct apply_work *work)
{
    const struct apply_kind *kind = apply_kind_of(work->kind);
    struct record record = {.kind = resource_kind_info(work->kind)->key,
                            .slot_count = apply->slot_count,
                            .number = apply->existed   ? apply->old.number
                                      : kind->numbered ? ++apply->number
                                                       : 0,
                            .revision = ++apply->revision,
                            .created_ns =
                                apply->existed ? apply->old.created_ns : apply->options->now_ns,
                            .updated_ns = apply->options->now_ns,
                            .compiled = buf_slice(&apply->compiled),
                            .slots = buf_slice(&apply->slots),
                            .description = work->document->description,
                            .spec = buf_slice(&apply->spec)};
    memcpy(record.id, apply->id, sizeof record.id);
    struct key key;
    buf_reset(&apply->bytes);
    record_encode(&record, &apply->bytes);
    if (apply->bytes.overflow) {
        return BK_TOO_LARGE;
    }
    key_object(&key, record.kind, work->canvas, work->name);
    enum bk_err err = store_put(apply->txn, key_slice(&key), buf_slice(&apply->bytes));
    if (err == BK_OK && !apply->existed) {
        err = put_id(apply, work);
    }
    if (err == BK_OK) {
        err = apply_put_references(apply, work);
    }
    if (err == BK_OK && kind->index) {
        err = kind->index(apply, work, record.number);
    }
    work->changed = true;
    work->result->revision = record.revision;
    return err;
}

static bool unchanged(const struct apply *apply, const struct apply_work *work)
{
    return apply->existed && slice_equal(apply->old.spec, buf_slice(&apply->spec)) &&
           slice_equal(apply->old.slots, buf_slice(&apply->slots)) &&
           slice_equal(apply->old.compiled, buf_slice(&apply->compiled)) &&
           slice_equal(apply->old.description, work->document->description);
}
static const char *string_json(struct apply *apply, struct slice text)
{
    struct buf json;
    buf_init(&json, 16384);
    json_add_string(&json, text);
    const char *copy = arena_string(apply->arena, buf_text(&json));
    buf_fini(&json);
    return copy;
}

static void describe(struct apply *apply, struct apply_work *work)
{
    struct apply_result *result = work->result;
    struct slice spec = buf_slice(&apply->spec);
    if (!apply->existed) {
        apply_diff_add(apply, "spec", NULL, arena_copy(apply->arena, spec.at, spec.bytes));
    } else if (result->action == APPLY_UPDATED) {
        apply_diff_specs(apply, apply->old.spec, spec);
        struct slice before = apply->old.description, after = work->document->description;
        if (!slice_equal(before, after)) {
            apply_diff_add(apply, "metadata.description",
                           before.bytes ? string_json(apply, before) : NULL,
                           after.bytes ? string_json(apply, after) : NULL);
        }
    }
    result->diffs = apply->diffs;
    result->diff_count = apply->diff_count;
    result->key = apply->key;
    /* A dry run must not tell an unguessable path: the real one will be another. */
    bool invented = work->kind == RESOURCE_EVENT_SOURCE && apply->options->dry_run &&
                    work->path_new && work->document->spec.source.path.bytes == 0;
    if (work->kind == RESOURCE_EVENT_SOURCE && !invented) {
        result->url = arena_printf(apply->arena, "%s/hooks/%.*s", apply->hub->public_url,
                                   (int)work->path.bytes, (const char *)work->path.at);
    }
    hub_id_text(apply->id, result->id);
}

static void scratch_reset(struct apply *apply)
{
    buf_reset(&apply->spec);
    buf_reset(&apply->slots);
    buf_reset(&apply->compiled);
    apply->slot_count = 0;
    apply->reference_count = 0;
    apply->key = NULL;
    apply->diffs = NULL;
    apply->diff_count = apply->diff_size = 0;
}

/* Mode, If-Match and If-None-Match. */
static enum bk_err check_existing(struct apply *apply, const struct apply_work *work)
{
    const struct apply_options *options = apply->options;
    if (work->document->implied) {
        return BK_OK; /* the request was about another */
    }
    const char *kind = resource_kind_info(work->kind)->name;
    int bytes = (int)work->name.bytes;
    const char *name = (const char *)work->name.at;
    if (options->mode == APPLY_CREATE && apply->existed) {
        return apply_fail(apply, BK_EXISTS, "%s \"%.*s\" is already there", kind, bytes, name);
    }
    if (options->mode == APPLY_UPDATE && !apply->existed) {
        return apply_fail(apply, BK_NOT_FOUND, "there is no %s \"%.*s\"", kind, bytes, name);
    }
    return apply_check_revision(apply, work->kind, work->name, apply->old.revision);
}

/* Whose an account or a link is: "user": {"name"} of a spec, or "team": {"name"}; empty = nobody's.
 */
static enum bk_err owner_of(struct apply *apply, struct slice spec, const char *member,
                            struct slice *ret_user)
{
    struct json_tree tree;
    struct json_problem problem;
    *ret_user = SLICE_EMPTY;
    json_tree_init(&tree);
    enum bk_err err = json_parse(spec, &tree, &problem);
    if (err == BK_OK) {
        yyjson_mut_val *user = yyjson_mut_obj_get(tree.roots[0], member);
        struct slice name = json_text(yyjson_mut_obj_get(user, "name"));
        char *copy = arena_copy(apply->arena, name.at, name.bytes);
        *ret_user = slice_of(copy, copy ? name.bytes : 0);
        err = name.bytes > 0 && !copy ? BK_NO_MEMORY : BK_OK;
    }
    json_tree_fini(&tree);
    return err;
}

static enum bk_err refuse_others(struct apply *apply, const struct apply_work *work,
                                 struct slice owner)
{
    return apply_fail(apply, BK_FORBIDDEN,
                      "%s \"%.*s\" is %.*s's: that needs their token, or one of role admin",
                      resource_kind_info(work->kind)->name, (int)work->name.bytes,
                      (const char *)work->name.at, (int)owner.bytes, (const char *)owner.at);
}

/* What is a team's changes by its members. */
static enum bk_err check_member(struct apply *apply, const struct apply_work *work,
                                struct slice team)
{
    struct slice user = apply->options->only_user;
    if (team.bytes == 0 || entry_member(apply->txn, work->canvas, team, user)) {
        return BK_OK;
    }
    return apply_fail(
        apply, BK_FORBIDDEN, "%s \"%.*s\" is Team \"%.*s\"'s, and %.*s is no member of it",
        resource_kind_info(work->kind)->name, (int)work->name.bytes, (const char *)work->name.at,
        (int)team.bytes, (const char *)team.at, (int)user.bytes, (const char *)user.at);
}

/* The source that becket made for a link is whose the link is. */
static enum bk_err check_link_of(struct apply *apply, const struct apply_work *work)
{
    struct slice link = slice_skip(work->name, sizeof LINK_SOURCE_PREFIX - 1), user, team;
    struct record record;
    if (!link_owns(apply->txn, work->canvas, work->name)) {
        return BK_OK;
    }
    enum bk_err err =
        hub_record(apply->txn, RESOURCE_INTEGRATION_LINK, work->canvas, link, &record);
    if (err == BK_OK) {
        err = owner_of(apply, record.spec, "user", &user);
    }
    if (err == BK_OK) {
        err = owner_of(apply, record.spec, "team", &team);
    }
    if (err == BK_OK && user.bytes > 0 && !slice_equal(user, apply->options->only_user)) {
        return refuse_others(apply, work, user);
    }
    return err == BK_OK ? check_member(apply, work, team) : err;
}

struct others {
    struct apply *apply;
    size_t skip;
    bool found;
};

static bool look_for_others(void *context, struct slice key, struct slice value)
{
    struct others *others = context;
    struct slice canvas, name, user;
    struct record record;
    (void)value;
    others->found =
        hub_split(slice_skip(key, others->skip), &canvas, &name) &&
        hub_record(others->apply->txn, RESOURCE_INTEGRATION_USER, canvas, name, &record) == BK_OK &&
        owner_of(others->apply, record.spec, "user", &user) == BK_OK && user.bytes > 0 &&
        !slice_equal(user, others->apply->options->only_user);
    return !others->found;
}

/* Where an integration leads, the tokens of all go who are connected by it. */
static enum bk_err check_connected(struct apply *apply, const struct apply_work *work)
{
    struct others others = {.apply = apply};
    struct key prefix;
    uint8_t kind = resource_kind_info(RESOURCE_INTEGRATION_USER)->key;
    key_users(&prefix, resource_kind_info(RESOURCE_INTEGRATION)->key, work->canvas, work->name);
    key_add(&prefix, &kind, 1);
    others.skip = prefix.bytes;
    enum bk_err err =
        store_walk(apply->txn, key_slice(&prefix), SLICE_EMPTY, look_for_others, &others);
    return err == BK_OK && others.found
               ? apply_fail(apply, BK_FORBIDDEN,
                            "others are connected by Integration \"%.*s\": to change it needs a "
                            "token of role admin",
                            (int)work->name.bytes, (const char *)work->name.at)
               : err;
}

/* What only people have to heed, not the machines that keep a set of documents: apply.h, `person`.
 */
static enum bk_err check_person(struct apply *apply, const struct apply_work *work,
                                struct slice spec, bool put)
{
    struct slice team = SLICE_EMPTY;
    enum bk_err err = BK_OK;
    switch ((int)work->kind) {
    case RESOURCE_USER:
        return slice_equal(work->name, apply->options->only_user)
                   ? BK_OK
                   : refuse_others(apply, work, work->name);
    case RESOURCE_TEAM:
        return apply->existed ? check_member(apply, work, work->name) : BK_OK;
    case RESOURCE_INTEGRATION:
        return apply->existed ? check_connected(apply, work) : BK_OK;
    case RESOURCE_EVENT_SOURCE:
        return check_link_of(apply, work);
    case RESOURCE_INTEGRATION_LINK:
        err = owner_of(apply, spec, "team", &team);
        return err == BK_OK ? check_member(apply, work, team) : err;
    case RESOURCE_INTEGRATION_USER:
        return put ? apply_fail(apply, BK_FORBIDDEN,
                                "an account is connected by signing in: open /auth/NAME on the "
                                "admin address; a document needs a token of role admin")
                   : BK_OK;
    default:
        return BK_OK;
    }
}

/* Accounts and links of people are theirs, and administrators'. spec: as it is, or as it is to be;
 * empty = there is none. */
static enum bk_err check_owner(struct apply *apply, const struct apply_work *work,
                               struct slice spec, bool put)
{
    struct slice only = apply->options->only_user, owner = SLICE_EMPTY;
    bool of_people =
        work->kind == RESOURCE_INTEGRATION_USER || work->kind == RESOURCE_INTEGRATION_LINK;
    if (only.bytes == 0 || spec.bytes == 0) {
        return BK_OK;
    }
    enum bk_err err = of_people ? owner_of(apply, spec, "user", &owner) : BK_OK;
    if (err == BK_OK && owner.bytes > 0 && !slice_equal(owner, only)) {
        return refuse_others(apply, work, owner);
    }
    return err == BK_OK && apply->options->person ? check_person(apply, work, spec, put) : err;
}

enum bk_err apply_put(struct apply *apply, struct apply_work *work)
{
    scratch_reset(apply);
    enum bk_err err = apply_load(apply, work);
    if (err == BK_OK) {
        err = check_existing(apply, work);
    }
    if (err != BK_OK) {
        return err;
    }
    if (apply->existed) {
        memcpy(apply->id, apply->old.id, sizeof apply->id);
        work->result->revision = apply->old.revision;
    } else {
        hub_id_make(apply->id);
    }
    err = apply_kind_of(work->kind)->build(apply, work);
    if (err != BK_OK || work->failed) {
        return err;
    }
    if (apply->spec.overflow || apply->slots.overflow || apply->compiled.overflow) {
        return apply_fail(apply, BK_TOO_LARGE, "%s \"%.*s\" is too large",
                          resource_kind_info(work->kind)->name, (int)work->name.bytes,
                          (const char *)work->name.at);
    }
    if (unchanged(apply, work)) {
        work->result->action = APPLY_UNCHANGED;
    } else {
        work->result->action = apply->existed ? APPLY_UPDATED : APPLY_CREATED;
        err = check_owner(apply, work, apply->existed ? apply->old.spec : SLICE_EMPTY, true);
        err = err == BK_OK ? check_owner(apply, work, buf_slice(&apply->spec), true) : err;
        err = err == BK_OK ? put_record(apply, work) : err;
    }
    describe(apply, work);
    return err;
}

enum bk_err apply_look(struct apply *apply, struct apply_work *work)
{
    const struct apply_kind *kind = apply_kind_of(work->kind);
    scratch_reset(apply);
    return kind->refer ? kind->refer(apply, work) : BK_OK;
}

/* ---- removing */

/* A person's token would be nobody's. */
static enum bk_err check_tokens(struct apply *apply, const struct apply_work *work)
{
    bool any = false;
    enum bk_err err = work->kind == RESOURCE_USER
                          ? token_of_user(apply->txn, work->canvas, work->name, &any)
                          : BK_OK;
    return err == BK_OK && any
               ? apply_fail(apply, BK_IN_USE, "User \"%.*s\" still has tokens: revoke them first",
                            (int)work->name.bytes, (const char *)work->name.at)
               : err;
}

enum bk_err apply_remove(struct apply *apply, struct apply_work *work)
{
    const struct apply_kind *kind = apply_kind_of(work->kind);
    struct key key;
    scratch_reset(apply);
    enum bk_err err = apply_load(apply, work);
    if (err != BK_OK) {
        return err;
    }
    bk_assert(apply->existed);
    err = check_owner(apply, work, apply->old.spec, false);
    if (err == BK_OK) {
        err = check_tokens(apply, work);
    }
    if (err == BK_OK) {
        err = apply_drop_references(apply, work);
    }
    if (err == BK_OK && kind->unindex) {
        err = kind->unindex(apply, work);
    }
    if (err == BK_OK) {
        key_id(&key, apply->old.id);
        err = store_delete(apply->txn, key_slice(&key));
    }
    if (err == BK_OK) {
        key_object(&key, resource_kind_info(work->kind)->key, work->canvas, work->name);
        err = store_delete(apply->txn, key_slice(&key));
    }
    work->changed = true;
    work->result->action = APPLY_DELETED;
    work->result->revision = apply->old.revision;
    hub_id_text(apply->old.id, work->result->id);
    apply_diff_add(apply, "spec",
                   arena_copy(apply->arena, apply->old.spec.at, apply->old.spec.bytes), NULL);
    work->result->diffs = apply->diffs;
    work->result->diff_count = apply->diff_count;
    return err;
}
