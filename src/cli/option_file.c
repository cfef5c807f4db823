/* option_file.c - options out of a configuration file: what neither line nor environment gave. */
#include "cli/option_private.h"

#include "base/ct.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/yaml.h"
#include "ring/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

#define CONFIG_BYTES_MAX (1U << 20)

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The text of a scalar, NULL for anything else. */
static const char *scalar_text(struct options *options, yyjson_mut_val *value)
{
    if (yyjson_mut_is_str(value)) {
        struct slice text = json_text(value);
        return memchr(text.at, '\0', text.bytes) ? NULL
                                                 : arena_copy(&options->arena, text.at, text.bytes);
    }
    if (yyjson_mut_is_bool(value)) {
        return yyjson_mut_get_bool(value) ? "true" : "false";
    }
    if (yyjson_mut_is_uint(value)) {
        return arena_printf(&options->arena, "%llu",
                            (unsigned long long)yyjson_mut_get_uint(value));
    }
    if (yyjson_mut_is_num(value)) {
        return arena_printf(&options->arena, "%g", yyjson_mut_get_num(value));
    }
    return NULL;
}

static bool file_scalar(struct options *options, const char *path, unsigned index,
                        yyjson_mut_val *value)
{
    struct json_place place = json_place(value);
    const char *name = options->table[index].name;
    const char *text = scalar_text(options, value);
    char where[300];
    snprintf(where, sizeof where, "%.150s:%u: %s", base_name(path), place.line, name);
    if (text == NULL) {
        return option_fail(options, "%s must be one value", where);
    }
    return option_set(options, index, OPTION_FROM_FILE, where, text);
}

static bool file_entry(struct options *options, const char *path, yyjson_mut_val *key,
                       yyjson_mut_val *value)
{
    struct json_place place = json_place(value);
    int index = option_index(options, yyjson_mut_get_str(key));
    if (index < 0 || (options->table[index].flags & OPTION_FILE) == 0) {
        const char *names[OPTIONS_MAX + 1];
        unsigned count = 0;
        for (unsigned i = 0; options->table[i].kind != OPTION_END; i++) {
            if ((options->table[i].flags & OPTION_FILE) != 0) {
                names[count++] = options->table[i].name;
            }
        }
        names[count] = NULL;
        const char *near = nearest_word(slice_str(yyjson_mut_get_str(key)), names);
        return option_fail(options, "%.150s:%u:%u: unknown setting %.60s%s%s%s", base_name(path),
                           place.line, place.column, yyjson_mut_get_str(key),
                           near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    if (options->sources[index] > OPTION_FROM_FILE || yyjson_mut_is_null(value)) {
        return true;
    }
    if (!yyjson_mut_is_arr(value)) {
        return file_scalar(options, path, (unsigned)index, value);
    }
    if ((options->table[index].flags & OPTION_LIST) == 0) {
        return option_fail(options, "%.150s:%u: %s takes one value, not a list", base_name(path),
                           place.line, options->table[index].name);
    }
    size_t i, count;
    yyjson_mut_val *item;
    yyjson_mut_arr_foreach(value, i, count, item)
    {
        if (!file_scalar(options, path, (unsigned)index, item)) {
            return false;
        }
    }
    return true;
}

static bool file_tree(struct options *options, const char *path, const struct json_tree *tree)
{
    if (tree->count == 0) {
        return true;
    }
    if (tree->count > 1 || !yyjson_mut_is_obj(tree->roots[0])) {
        return option_fail(
            options, "%.300s: a configuration is one document of \"name: value\" lines", path);
    }
    size_t i, count;
    yyjson_mut_val *key, *value;
    yyjson_mut_obj_foreach(tree->roots[0], i, count, key, value)
    {
        if (!file_entry(options, path, key, value)) {
            return false;
        }
    }
    return true;
}

bool options_file(struct options *options, const char *path)
{
    char *text;
    size_t bytes;
    enum bk_err err = file_read_all(path, CONFIG_BYTES_MAX, &text, &bytes);
    if (err != BK_OK) {
        return option_fail(options, "cannot read the configuration file %.300s: %s", path,
                           bk_err_text(err));
    }
    struct json_tree tree;
    struct json_problem problem;
    json_tree_init(&tree);
    bool done;
    if (yaml_or_json_parse(slice_of(text, bytes), &tree, &problem) == BK_OK) {
        done = file_tree(options, path, &tree);
    } else {
        done = option_fail(options, "%.200s:%u:%u: %s", base_name(path), problem.place.line,
                           problem.place.column, problem.message);
    }
    json_tree_fini(&tree);
    bk_wipe(text, bytes);
    free(text);
    return done;
}
