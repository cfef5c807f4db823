/* Text to documents: what an administrator (or somebody with a token) can send to apply.
 *
 * Properties: written as JSON or YAML and read again, a tree means the same; decoding a document
 * gives either a document or a mistake with a message, the same each time; every place lies in the
 * text; limits hold. */
#include "base/yaml.h"
#include "hub/resources/resource.h"

#include "base/assert.h"

#include <stdlib.h>
#include <yyjson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned depth_of(yyjson_mut_val *value)
{
    unsigned below = 0;
    size_t index, max;
    yyjson_mut_val *key, *item;
    if (yyjson_mut_is_obj(value)) {
        yyjson_mut_obj_foreach(value, index, max, key, item)
        {
            (void)key;
            unsigned depth = depth_of(item);
            below = depth > below ? depth : below;
        }
        return below + 1;
    }
    if (yyjson_mut_is_arr(value)) {
        yyjson_mut_arr_foreach(value, index, max, item)
        {
            unsigned depth = depth_of(item);
            below = depth > below ? depth : below;
        }
        return below + 1;
    }
    return 0;
}

static void written_again(yyjson_mut_val *root, bool yaml)
{
    struct buf first, second;
    struct json_tree tree;
    struct json_problem problem;
    buf_init(&first, 64U << 20);
    buf_init(&second, 64U << 20);
    json_tree_init(&tree);
    if (yaml) {
        yaml_add_value(&first, root);
    } else {
        json_add_value(&first, root);
    }
    enum bk_err err = yaml ? yaml_parse(buf_slice(&first), &tree, &problem)
                           : json_parse(buf_slice(&first), &tree, &problem);
    bk_assert(err == BK_OK || err == BK_TOO_LARGE);
    if (err == BK_OK) {
        bk_assert(tree.count == 1);
        buf_reset(&first);
        json_add_value(&first, root);
        json_add_value(&second, tree.roots[0]);
        bk_assert(slice_equal(buf_slice(&first), buf_slice(&second)));
    }
    json_tree_fini(&tree);
    buf_fini(&first);
    buf_fini(&second);
}

static unsigned lines_of(const uint8_t *data, size_t size)
{
    unsigned lines = 1;
    for (size_t i = 0; i < size; i++) {
        /* YAML also breaks lines at CR, NEL, LS and PS. */
        lines += data[i] == '\n' || data[i] == '\r' || data[i] == 0x85 || data[i] == 0xa8 ||
                 data[i] == 0xa9;
    }
    return lines;
}

static size_t decode(struct json_tree *tree, size_t index, unsigned lines)
{
    struct arena arena;
    struct resource_problems problems;
    struct resource_document document;
    struct resource_expect expect = {.canvas = SLICE("default")};
    arena_init(&arena, 16U << 20);
    resource_problems_init(&problems, &arena);
    bool good = resource_decode(tree, index, tree->roots[index], &expect, &document, &problems);
    size_t count = problems.count + problems.dropped;
    bk_assert(good == (count == 0));
    for (size_t i = 0; i < problems.count; i++) {
        bk_assert(problems.at[i].message[0] != '\0');
        bk_assert(problems.at[i].place.line <= lines + 1);
    }
    if (good) {
        bk_assert(resource_name_valid(document.name));
        bk_assert(document.kind == RESOURCE_CANVAS || resource_name_valid(document.canvas));
    }
    arena_fini(&arena);
    return count;
}

static void check(const uint8_t *data, size_t size, bool json)
{
    struct json_tree tree;
    struct json_problem problem;
    struct slice text = slice_of(data, size);
    json_tree_init(&tree);
    enum bk_err err = json ? json_parse(text, &tree, &problem)
                           : yaml_or_json_parse(text, &tree, &problem);
    if (err != BK_OK) {
        bk_assert(err == BK_INVALID || err == BK_TOO_LARGE);
        bk_assert(problem.message[0] != '\0');
    }
    unsigned lines = lines_of(data, size);
    for (size_t i = 0; err == BK_OK && i < tree.count; i++) {
        bk_assert(depth_of(tree.roots[i]) <= JSON_DEPTH_MAX);
        bk_assert(json_place(tree.roots[i]).line <= lines + 1);
        bk_assert(decode(&tree, i, lines) == decode(&tree, i, lines));
        written_again(tree.roots[i], false);
        if (!yyjson_mut_is_null(tree.roots[i])) { /* an empty YAML document */
            written_again(tree.roots[i], true);
        }
    }
    json_tree_fini(&tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check(data, size, false);
    check(data, size, true);
    return 0;
}
