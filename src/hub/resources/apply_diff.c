/* apply_diff.c - what changed, as text; and the JSON answers of apply. */
#include "base/assert.h"
#include "base/json.h"
#include "hub/resources/apply_private.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

#define DIFF_MAX 200U

void apply_diff_add(struct apply *apply, const char *path, const char *before, const char *after)
{
    if (apply->diff_count == DIFF_MAX) {
        return;
    }
    if (apply->diff_count == apply->diff_size) {
        size_t size = apply->diff_size ? apply->diff_size * 2 : 4;
        struct apply_diff *diffs = arena_take(apply->arena, size * sizeof *diffs);
        if (!diffs) {
            return;
        }
        if (apply->diff_count > 0) {
            memcpy(diffs, apply->diffs, apply->diff_count * sizeof *diffs);
        }
        apply->diffs = diffs;
        apply->diff_size = size;
    }
    apply->diffs[apply->diff_count++] = (struct apply_diff){path, before, after};
}

void apply_add_attempt(struct buf *json, const char *path, struct slice before, struct slice after)
{
    buf_printf(json, "%s{\"path\":\"%s\",\"before\":", json->bytes > 0 ? "," : "[", path);
    json_add_string(json, before);
    buf_add_str(json, ",\"after\":");
    json_add_string(json, after);
    buf_add_byte(json, '}');
}

enum bk_err apply_refuse(struct apply *apply, const struct apply_work *work, struct buf *json,
                         const char *format, ...)
{
    va_list arguments;
    char message[500];
    buf_add_byte(json, ']');
    char *diff = json->overflow ? NULL : arena_copy(apply->arena, json->at, json->bytes);
    apply->outcome->refused = work->result;
    apply->outcome->refused_diff = slice_of(diff, diff ? json->bytes : 0);
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return apply_fail(apply, BK_FORBIDDEN, "%s", message);
}

static const char *value_text(struct apply *apply, yyjson_val *value)
{
    if (!value) {
        return NULL;
    }
    size_t bytes = 0;
    char *text = yyjson_val_write(value, YYJSON_WRITE_NOFLAG, &bytes);
    const char *copy = text ? arena_copy(apply->arena, text, bytes) : NULL;
    free(text);
    return copy;
}

static const char *inner_path(struct apply *apply, const char *path, yyjson_val *key)
{
    const char *name = yyjson_get_str(key);
    const char *inner = name ? arena_printf(apply->arena, "%s.%s", path, name) : NULL;
    return inner ? inner : path;
}

/* Specs are built by becket itself, so they are shallow. */
static void diff_values(struct apply *apply, const char *path, yyjson_val *before,
                        yyjson_val *after)
{
    if (before && after && yyjson_equals(before, after)) {
        return;
    }
    if (!yyjson_is_obj(before) || !yyjson_is_obj(after)) {
        apply_diff_add(apply, path, value_text(apply, before), value_text(apply, after));
        return;
    }
    size_t index, max;
    yyjson_val *key, *item;
    yyjson_obj_foreach(before, index, max, key, item)
    {
        yyjson_val *other = yyjson_obj_getn(after, yyjson_get_str(key), yyjson_get_len(key));
        diff_values(apply, inner_path(apply, path, key), item, other);
    }
    yyjson_obj_foreach(after, index, max, key, item)
    {
        if (!yyjson_obj_getn(before, yyjson_get_str(key), yyjson_get_len(key))) {
            diff_values(apply, inner_path(apply, path, key), NULL, item);
        }
    }
}

void apply_diff_specs(struct apply *apply, struct slice before, struct slice after)
{
    yyjson_doc *old = yyjson_read((const char *)before.at, before.bytes, 0);
    yyjson_doc *new = yyjson_read((const char *)after.at, after.bytes, 0);
    diff_values(apply, "spec", yyjson_doc_get_root(old), yyjson_doc_get_root(new));
    yyjson_doc_free(old);
    yyjson_doc_free(new);
}

/* ---- answers */

const char *apply_action_name(enum apply_action action)
{
    static const char *const names[] = {"created", "updated", "unchanged", "deleted", "waiting"};
    bk_assert((unsigned)action < bk_array_length(names));
    return names[action];
}

static void add_text_field(struct buf *json, const char *name, const char *text)
{
    buf_add_str(json, ",\""); /* many times in a large apply: no printf */
    buf_add_str(json, name);
    buf_add_str(json, "\":");
    json_add_string(json, slice_str(text));
}

void apply_diffs_json(const struct apply_result *result, struct buf *json)
{
    buf_add_byte(json, '[');
    for (size_t i = 0; i < result->diff_count; i++) {
        const struct apply_diff *diff = &result->diffs[i];
        buf_add_str(json, i > 0 ? ",{\"path\":" : "{\"path\":");
        json_add_string(json, slice_str(diff->path));
        buf_printf(json, ",\"before\":%s,\"after\":%s}", diff->before ? diff->before : "null",
                   diff->after ? diff->after : "null");
    }
    buf_add_byte(json, ']');
}

static void add_result(struct buf *json, const struct apply_result *result)
{
    buf_printf(json, "{\"kind\":\"%s\"", resource_kind_info(result->kind)->name);
    add_text_field(json, "name", result->name);
    if (result->canvas[0] != '\0') {
        add_text_field(json, "canvasId", result->canvas);
    }
    add_text_field(json, "id", result->id);
    add_text_field(json, "action", apply_action_name(result->action));
    buf_printf(json, ",\"revision\":%llu,\"diff\":", (unsigned long long)result->revision);
    apply_diffs_json(result, json);
    if (result->url) {
        add_text_field(json, "url", result->url);
    }
    if (result->key) {
        add_text_field(json, "key", result->key);
    }
    buf_add_byte(json, '}');
}

void apply_results_json(const struct apply_outcome *outcome, struct buf *json)
{
    buf_add_str(json, "{\"results\":[");
    for (size_t i = 0; i < outcome->count; i++) {
        if (i > 0) {
            buf_add_byte(json, ',');
        }
        add_result(json, &outcome->results[i]);
    }
    buf_add_str(json, "]}");
}

/* One of the API's few codes. */
static const char *error_code(enum bk_err err)
{
    if (err == BK_FORBIDDEN) {
        return "forbidden";
    }
    if (err == BK_EXISTS || err == BK_CONFLICT || err == BK_IN_USE) {
        return "conflict";
    }
    if (err == BK_INVALID || err == BK_UNSUPPORTED) {
        return "invalid";
    }
    if (err == BK_NOT_FOUND || err == BK_TOO_LARGE) {
        return err == BK_NOT_FOUND ? "not_found" : "too_large";
    }
    enum bk_err_class class = bk_err_class(err);
    return class == BK_CLASS_DISK || class == BK_CLASS_LIMIT ? "unavailable" : "internal";
}

void apply_error_json(const struct apply_outcome *outcome, enum bk_err err, struct buf *json)
{
    const struct resource_problems *problems = &outcome->problems;
    buf_printf(json, "{\"code\":\"%s\"", error_code(err));
    add_text_field(json, "message", outcome->message ? outcome->message : bk_err_text(err));
    buf_add_str(json, ",\"details\":[");
    for (size_t i = 0; i < problems->count; i++) {
        const struct resource_problem *problem = &problems->at[i];
        buf_add_str(json, i > 0 ? ",{\"field\":" : "{\"field\":");
        json_add_string(json, slice_str(problem->field));
        add_text_field(json, "message", problem->message);
        buf_printf(json, ",\"document\":%zu", problem->document);
        if (problem->place.line > 0) {
            buf_printf(json, ",\"line\":%u,\"column\":%u", problem->place.line,
                       problem->place.column);
        }
        buf_add_byte(json, '}');
    }
    buf_add_byte(json, ']');
    if (problems->dropped > 0) {
        buf_printf(json, ",\"more\":%zu", problems->dropped);
    }
    buf_add_byte(json, '}');
}
