#include "hub/resources/decode.h"

#include "base/assert.h"
#include "base/time.h"
#include "store/seal.h"

#include <stdarg.h>
#include <stdio.h>
#include <yyjson.h>

void resource_problems_init(struct resource_problems *problems, struct arena *arena)
{
    *problems = (struct resource_problems){.arena = arena};
}

static struct resource_problem *problem_take(struct resource_problems *problems)
{
    if (!problems->at) {
        problems->at = arena_take(problems->arena, RESOURCE_PROBLEMS_MAX * sizeof *problems->at);
    }
    if (!problems->at || problems->count == RESOURCE_PROBLEMS_MAX) {
        problems->dropped++;
        return NULL;
    }
    return &problems->at[problems->count++];
}

__attribute__((format(printf, 5, 0))) static void problem_add_va(struct resource_problems *problems,
                                                                 size_t document,
                                                                 struct json_place place,
                                                                 const char *field,
                                                                 const char *format, va_list args)
{
    char text[512];
    struct resource_problem *problem = problem_take(problems);
    if (!problem) {
        return;
    }
    vsnprintf(text, sizeof text, format, args);
    const char *message = arena_string(problems->arena, text);
    const char *where = arena_string(problems->arena, field);
    *problem =
        (struct resource_problem){document, where ? where : "", message ? message : "wrong", place};
}

void resource_problem_add(struct resource_problems *problems, size_t document,
                          struct json_place place, const char *field, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    problem_add_va(problems, document, place, field, format, args);
    va_end(args);
}

#define PATH_BYTES_MAX 512U

static void path_add(char path[PATH_BYTES_MAX], const char *name)
{
    size_t at = strlen(path);
    snprintf(path + at, PATH_BYTES_MAX - at, "%s%s", at > 0 && name[0] != '[' ? "." : "", name);
}

/* "spec.verification.secrets[0].value" */
static void path_of(const struct decode_object *object, const char *name,
                    char ret_path[PATH_BYTES_MAX])
{
    const struct decode_object *chain[8];
    unsigned depth = 0;
    ret_path[0] = '\0';
    for (; object->parent; object = object->parent) {
        bk_assert(depth < bk_array_length(chain));
        chain[depth++] = object;
    }
    while (depth > 0) {
        path_add(ret_path, chain[--depth]->name);
    }
    if (name) {
        path_add(ret_path, name);
    }
}

static struct json_place place_of_field(const struct decode_object *object, const char *name)
{
    yyjson_mut_val *value = object->value && name ? yyjson_mut_obj_get(object->value, name) : NULL;
    return value ? json_place(value) : object->place;
}

void decode_wrong(struct decoder *decoder, const struct decode_object *object, const char *name,
                  const char *format, ...)
{
    char path[PATH_BYTES_MAX];
    va_list args;
    path_of(object, name, path);
    va_start(args, format);
    problem_add_va(decoder->problems, decoder->document, place_of_field(object, name), path, format,
                   args);
    va_end(args);
}

void decode_known(struct decoder *decoder, const struct decode_object *object,
                  const char *const *known)
{
    if (!object->value) {
        return;
    }
    size_t index, max;
    yyjson_mut_val *key, *item;
    yyjson_mut_obj_foreach(object->value, index, max, key, item)
    {
        (void)item;
        bool found = false;
        for (size_t i = 0; known[i] && !found; i++) {
            found = slice_equal(json_text(key), slice_str(known[i]));
        }
        if (found) {
            continue;
        }
        const char *nearest = nearest_word(json_text(key), known);
        char path[PATH_BYTES_MAX];
        path_of(object, yyjson_mut_get_str(key), path);
        resource_problem_add(decoder->problems, decoder->document, json_place(key), path,
                             "unknown field%s%s%s", nearest ? "; did you mean " : "",
                             nearest ? nearest : "", nearest ? "?" : "");
    }
}

yyjson_mut_val *decode_field(const struct decode_object *object, const char *name)
{
    yyjson_mut_val *value = object->value ? yyjson_mut_obj_get(object->value, name) : NULL;
    return value && !yyjson_mut_is_null(value) ? value : NULL;
}

struct decode_object decode_inner(struct decoder *decoder, const struct decode_object *object,
                                  const char *name)
{
    yyjson_mut_val *value = decode_field(object, name);
    struct decode_object inner = {NULL, object, name, place_of_field(object, name)};
    if (value && !yyjson_mut_is_obj(value)) {
        decode_wrong(decoder, object, name, "must be a map");
    } else {
        inner.value = value;
    }
    return inner;
}

static struct slice text_of(struct decoder *decoder, const struct decode_object *object,
                            const char *name, const char *when_empty)
{
    yyjson_mut_val *value = decode_field(object, name);
    if (!value) {
        return SLICE_EMPTY;
    }
    if (yyjson_mut_is_num(value) || yyjson_mut_is_bool(value)) {
        decode_wrong(decoder, object, name, "must be text; put it in quotes");
        return SLICE_EMPTY;
    }
    if (!yyjson_mut_is_str(value)) {
        decode_wrong(decoder, object, name, "must be text");
        return SLICE_EMPTY;
    }
    struct slice text = json_text(value);
    if (text.bytes == 0) {
        decode_wrong(decoder, object, name, "%s", when_empty);
    }
    return text;
}

struct slice decode_text(struct decoder *decoder, const struct decode_object *object,
                         const char *name)
{
    return text_of(decoder, object, name, "must not be empty");
}

enum resource_domain decode_domain(struct decoder *decoder, const struct decode_object *object)
{
    struct slice domain = decode_text(decoder, object, "domainType");
    if (slice_equal(domain, SLICE("DOMAIN_TYPE_ORGANIZATION"))) {
        return RESOURCE_DOMAIN_ORGANIZATION;
    }
    if (slice_equal(domain, SLICE("DOMAIN_TYPE_CANVAS"))) {
        return RESOURCE_DOMAIN_CANVAS;
    }
    if (domain.bytes > 0 && !slice_equal(domain, SLICE("DOMAIN_TYPE_UNSPECIFIED"))) {
        decode_wrong(decoder, object, "domainType",
                     "must be DOMAIN_TYPE_ORGANIZATION or DOMAIN_TYPE_CANVAS");
    }
    return RESOURCE_DOMAIN_ABSENT;
}

struct slice decode_secret_text(struct decoder *decoder, const struct decode_object *object,
                                const char *name)
{
    struct slice text = text_of(decoder, object, name, "an empty secret protects nothing");
    if (text.bytes > SEAL_VALUE_BYTES_MAX) {
        decode_wrong(decoder, object, name, "longer than %u bytes", SEAL_VALUE_BYTES_MAX);
        return SLICE_EMPTY;
    }
    return text;
}

bool decode_number(struct decoder *decoder, const struct decode_object *object, const char *name,
                   uint64_t min, uint64_t max, uint64_t *ret_number)
{
    yyjson_mut_val *value = decode_field(object, name);
    if (!value) {
        return false;
    }
    /* Whole numbers that do not fit 64 bits are doubles here, and negative ones are signed. */
    if (!yyjson_mut_is_uint(value) || yyjson_mut_get_uint(value) < min ||
        yyjson_mut_get_uint(value) > max) {
        decode_wrong(decoder, object, name, "must be a whole number from %llu to %llu",
                     (unsigned long long)min, (unsigned long long)max);
        return false;
    }
    *ret_number = yyjson_mut_get_uint(value);
    return true;
}

bool decode_duration(struct decoder *decoder, const struct decode_object *object, const char *name,
                     int64_t min_ns, int64_t max_ns, int64_t *ret_ns, struct slice *ret_text)
{
    yyjson_mut_val *value = decode_field(object, name);
    if (!value) {
        return false;
    }
    const char *text = NULL;
    if (yyjson_mut_is_uint(value)) {
        text = arena_printf(&decoder->tree->arena, "%llus",
                            (unsigned long long)yyjson_mut_get_uint(value));
    } else if (yyjson_mut_is_str(value)) {
        text = yyjson_mut_get_str(value);
    }
    int64_t ns = 0;
    if (!text || time_parse_duration(slice_str(text), &ns) != BK_OK) {
        decode_wrong(decoder, object, name, "must be a duration such as 300s, 5m or 24h");
        return false;
    }
    if (ns < min_ns || ns > max_ns) {
        decode_wrong(decoder, object, name, "must be from %llds to %llds",
                     (long long)(min_ns / NS_PER_SECOND), (long long)(max_ns / NS_PER_SECOND));
        return false;
    }
    *ret_ns = ns;
    *ret_text = slice_str(text);
    return true;
}
