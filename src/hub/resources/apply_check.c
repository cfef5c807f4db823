/* apply_check.c - a set with mistakes: all of them in one round, each where it stands, and none
 * that is only the consequence of another. */
#include "hub/resources/apply_build.h"

#include <stdlib.h>
#include <yyjson.h>

/* ---- where */

/* The next step of "spec.to[1].destination": a name, or an index with its brackets. */
static struct slice next_step(const char **field)
{
    const char *at = *field + (**field == '.');
    size_t bytes = *at == '[' ? strcspn(at, "]") + (strchr(at, ']') != NULL) : strcspn(at, ".[");
    *field = at + bytes;
    return slice_of(at, bytes);
}

static yyjson_mut_val *member(yyjson_mut_val *value, struct slice step)
{
    if (step.bytes == 0 || step.at[0] != '[') {
        return yyjson_mut_obj_getn(value, (const char *)step.at, step.bytes);
    }
    size_t index = 0;
    for (size_t i = 1; i < step.bytes && step.at[i] >= '0' && step.at[i] <= '9'; i++) {
        index = index * 10 + (size_t)(step.at[i] - '0');
    }
    return yyjson_mut_arr_get(value, index);
}

struct json_place apply_place(const struct apply_work *work, struct json_place place,
                              const char *field)
{
    const struct resource_document *document = work->document;
    bool vague =
        document && document->root && !document->implied &&
        (place.line == 0 ||
         (place.line == document->place.line && place.column == document->place.column) ||
         (place.line == document->spec_place.line && place.column == document->spec_place.column));
    yyjson_mut_val *value = vague ? document->root : NULL;
    while (value && *field) {
        value = member(value, next_step(&field));
        if (value && json_place(value).line != 0) {
            place = json_place(value);
        }
    }
    return place;
}

/* ---- consequences */

static bool has_failed(const struct apply *apply, enum resource_kind kind, struct slice canvas,
                       struct slice name)
{
    const struct apply_work *work = apply_find_work(apply, kind, canvas, name);
    return work && work->failed;
}

static int compare_names(const void *a, const void *b)
{
    const struct slice *left = a, *right = b;
    size_t bytes = left->bytes < right->bytes ? left->bytes : right->bytes;
    int order = bytes > 0 ? memcmp(left->at, right->at, bytes) : 0;
    return order != 0 ? order : (left->bytes > right->bytes) - (left->bytes < right->bytes);
}

void apply_sort_unread(struct apply *apply)
{
    if (apply->unread_count > 1) {
        qsort(apply->unread, apply->unread_count, sizeof *apply->unread, compare_names);
    }
}

bool apply_is_doubtful(const struct apply *apply, enum resource_kind kind, struct slice canvas,
                       struct slice name)
{
    return has_failed(apply, kind, canvas, name) ||
           has_failed(apply, kind, slice_str(RESOURCE_CANVAS_DEFAULT), name) ||
           (apply->unread_count > 0 && bsearch(&name, apply->unread, apply->unread_count,
                                               sizeof *apply->unread, compare_names));
}

enum bk_err apply_look_object(struct apply *apply, struct apply_work *work, enum resource_kind kind,
                              struct slice name, struct json_place place, const char *path)
{
    struct slice canvas;
    if (!resource_name_valid(name)) {
        return BK_OK; /* said already, or not given */
    }
    enum bk_err err = apply_refer(apply, work, kind, name, place, path, &canvas, NULL);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err apply_look_secret(struct apply *apply, struct apply_work *work,
                              const struct resource_source_secret *secret, const char *path)
{
    struct source_secret found;
    if (secret->inline_value || !resource_name_valid(secret->ref.name) ||
        secret->ref.key.bytes == 0) {
        return BK_OK;
    }
    return apply_secret_source(apply, work, secret, "", path, &found);
}

/* ---- telling */

static bool is_behind(const struct resource_problem *a, const struct resource_problem *b)
{
    uint32_t left = a->place.line ? a->place.line : UINT32_MAX;
    uint32_t right = b->place.line ? b->place.line : UINT32_MAX;
    return left != right ? left > right : a->place.column > b->place.column;
}

static bool is_same(const struct resource_problem *a, const struct resource_problem *b)
{
    return a->place.line == b->place.line && a->place.column == b->place.column &&
           strcmp(a->message, b->message) == 0 && strcmp(a->field, b->field) == 0;
}

/* There are few: RESOURCE_PROBLEMS_MAX. */
static void put_in_order(struct resource_problems *problems)
{
    size_t kept = 0;
    for (size_t i = 0; i < problems->count; i++) {
        struct resource_problem problem = problems->at[i];
        size_t at = kept;
        while (at > 0 && is_behind(&problems->at[at - 1], &problem)) {
            problems->at[at] = problems->at[at - 1];
            at--;
        }
        problems->at[at] = problem;
        bool again = at > 0 && is_same(&problems->at[at - 1], &problem);
        for (size_t k = at; again && k < kept; k++) {
            problems->at[k] = problems->at[k + 1];
        }
        kept += !again;
    }
    problems->count = kept;
}

enum bk_err apply_say_problems(struct apply *apply)
{
    struct resource_problems *problems = &apply->outcome->problems;
    put_in_order(problems);
    size_t count = problems->count + problems->dropped;
    if (count == 0) {
        return BK_OK;
    }
    return apply_fail(apply, BK_INVALID, "%zu mistake%s, nothing was changed; the first: %s%s%s",
                      count, count > 1 ? "s" : "", problems->at[0].field,
                      problems->at[0].field[0] ? ": " : "", problems->at[0].message);
}
