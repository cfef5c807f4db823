#include "base/json.h"

#include "base/assert.h"
#include "base/json_escape.h"

#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

/* yyjson only ever follows the first member, so a value may be larger than yyjson knows. */
struct json_node {
    yyjson_mut_val value;
    struct json_place place;
};

#define SLAB_NODES 128U
/* Nodes, strings and roots of the largest text that is let in, with room for aliases. */
#define TREE_BYTES_MAX (44U << 20)

void json_tree_init(struct json_tree *tree)
{
    *tree = (struct json_tree){.scale = 1};
    arena_init(&tree->arena, TREE_BYTES_MAX);
}

void json_tree_enlarge(struct json_tree *tree, size_t scale)
{
    bk_assert(tree->nodes == 0 && scale > 0);
    tree->scale = scale;
    arena_fini(&tree->arena);
    arena_init(&tree->arena, scale * TREE_BYTES_MAX);
}

void json_tree_fini(struct json_tree *tree)
{
    free(tree->roots);
    arena_fini(&tree->arena);
    *tree = (struct json_tree){0};
}

bool json_tree_add_root(struct json_tree *tree, yyjson_mut_val *root)
{
    if (tree->count == tree->roots_size) {
        size_t size = tree->roots_size ? tree->roots_size * 2 : 8;
        yyjson_mut_val **roots = size > JSON_DOCUMENTS_MAX * 2U
                                     ? NULL
                                     : realloc(tree->roots, size * sizeof(yyjson_mut_val *));
        if (!roots) {
            return false;
        }
        tree->roots = roots;
        tree->roots_size = size;
    }
    tree->roots[tree->count++] = root;
    return true;
}

yyjson_mut_val *json_new(struct json_tree *tree, struct json_place place)
{
    if (tree->slab_free == 0) {
        if (tree->nodes >= tree->scale * JSON_NODES_MAX) {
            return NULL;
        }
        tree->slab = arena_take(&tree->arena, SLAB_NODES * sizeof(struct json_node));
        if (!tree->slab) {
            return NULL;
        }
        tree->slab_free = SLAB_NODES;
    }
    struct json_node *node = tree->slab++;
    tree->slab_free--;
    tree->nodes++;
    node->place = place;
    unsafe_yyjson_set_null(&node->value);
    return &node->value;
}

struct json_place json_place(yyjson_mut_val *value)
{
    return value ? ((struct json_node *)(void *)value)->place : (struct json_place){0, 0};
}

struct slice json_text(yyjson_mut_val *value)
{
    return yyjson_mut_is_str(value) ? slice_of(yyjson_mut_get_str(value), yyjson_mut_get_len(value))
                                    : SLICE_EMPTY;
}

struct slice json_read_text(yyjson_val *value)
{
    return yyjson_is_str(value) ? slice_of(yyjson_get_str(value), yyjson_get_len(value))
                                : SLICE_EMPTY;
}

static bool set_text(struct json_tree *tree, yyjson_mut_val *value, const char *text, size_t bytes)
{
    char *copy = arena_copy(&tree->arena, text, bytes);
    if (copy) {
        yyjson_mut_set_strn(value, copy, bytes);
    }
    return copy != NULL;
}

yyjson_mut_val *json_new_string(struct json_tree *tree, struct slice text)
{
    yyjson_mut_val *value = json_new(tree, (struct json_place){0, 0});
    if (!value || !set_text(tree, value, (const char *)text.at, text.bytes)) {
        return NULL;
    }
    return value;
}

yyjson_mut_val *json_new_object(struct json_tree *tree)
{
    yyjson_mut_val *value = json_new(tree, (struct json_place){0, 0});
    if (value) {
        yyjson_mut_set_obj(value);
    }
    return value;
}

yyjson_mut_val *json_new_array(struct json_tree *tree)
{
    yyjson_mut_val *value = json_new(tree, (struct json_place){0, 0});
    if (value) {
        yyjson_mut_set_arr(value);
    }
    return value;
}

bool json_set(struct json_tree *tree, yyjson_mut_val *object, const char *key,
              yyjson_mut_val *value)
{
    yyjson_mut_val *name = value ? json_new_string(tree, slice_str(key)) : NULL;
    return name && yyjson_mut_obj_add(object, name, value);
}

/* Depth is bounded: whatever is in a tree passed JSON_DEPTH_MAX. */
yyjson_mut_val *json_copy(struct json_tree *tree, yyjson_mut_val *value)
{
    yyjson_mut_val *copy = json_new(tree, json_place(value));
    if (!copy) {
        return NULL;
    }
    if (yyjson_mut_is_str(value)) {
        /* The text itself may be shared: it lives as long as the tree that both are in. */
        return set_text(tree, copy, yyjson_mut_get_str(value), yyjson_mut_get_len(value)) ? copy
                                                                                          : NULL;
    }
    size_t index, max;
    yyjson_mut_val *key, *item;
    if (yyjson_mut_is_obj(value)) {
        yyjson_mut_set_obj(copy);
        yyjson_mut_obj_foreach(value, index, max, key, item)
        {
            yyjson_mut_val *key_copy = json_copy(tree, key);
            yyjson_mut_val *item_copy = key_copy ? json_copy(tree, item) : NULL;
            if (!item_copy || !yyjson_mut_obj_add(copy, key_copy, item_copy)) {
                return NULL;
            }
        }
    } else if (yyjson_mut_is_arr(value)) {
        yyjson_mut_set_arr(copy);
        yyjson_mut_arr_foreach(value, index, max, item)
        {
            yyjson_mut_val *item_copy = json_copy(tree, item);
            if (!item_copy || !yyjson_mut_arr_append(copy, item_copy)) {
                return NULL;
            }
        }
    } else {
        copy->tag = value->tag;
        copy->uni = value->uni;
    }
    return copy;
}

static int compare_keys(const void *a, const void *b)
{
    yyjson_mut_val *const *left = a, *const *right = b;
    size_t left_bytes = yyjson_mut_get_len(*left), right_bytes = yyjson_mut_get_len(*right);
    if (left_bytes != right_bytes) {
        return left_bytes < right_bytes ? -1 : 1;
    }
    int order = memcmp(yyjson_mut_get_str(*left), yyjson_mut_get_str(*right), left_bytes);
    if (order != 0) {
        return order;
    }
    struct json_place l = json_place(*left), r = json_place(*right);
    return l.line != r.line ? (l.line < r.line ? -1 : 1) : (l.column < r.column ? -1 : 1);
}

/* Sorted, not hashed: nobody can choose keys that make it slow. */
yyjson_mut_val *json_duplicate_key(yyjson_mut_val *object)
{
    size_t count = yyjson_mut_obj_size(object);
    yyjson_mut_val *few[32], *found = NULL;
    yyjson_mut_val **keys = count <= bk_array_length(few) ? few : malloc(count * sizeof *keys);
    if (count < 2 || !keys) {
        return NULL;
    }
    size_t index, max;
    yyjson_mut_val *key, *item;
    yyjson_mut_obj_foreach(object, index, max, key, item)
    {
        (void)item;
        keys[index] = key;
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    for (size_t i = 1; i < count && !found; i++) {
        if (slice_equal(json_text(keys[i - 1]), json_text(keys[i]))) {
            found = keys[i];
        }
    }
    if (keys != few) {
        free(keys);
    }
    return found;
}

/* ---- reading */

static enum bk_err fail(struct json_problem *problem, struct json_place place, enum bk_err err,
                        const char *message)
{
    problem->place = place;
    snprintf(problem->message, sizeof problem->message, "%s", message);
    return err;
}

/* Line and column (in characters) of a byte of the text. */
static struct json_place place_at(struct slice text, size_t at)
{
    struct json_place place = {1, 1};
    for (size_t i = 0; i < at && i < text.bytes; i++) {
        if (text.at[i] == '\n') {
            place.line++;
            place.column = 1;
        } else if ((text.at[i] & 0xc0) != 0x80) {
            place.column++;
        }
    }
    return place;
}

/* Depth and size before anything is built; does not care whether the text is valid. */
static enum bk_err check_bounds(struct slice text, size_t nodes_max, struct json_problem *problem)
{
    size_t depth = 0, nodes = 1;
    bool in_string = false;
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.at[i];
        if (in_string) {
            i += c == '\\';
            in_string = c != '"';
            continue;
        }
        if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            nodes++;
            if (++depth > JSON_DEPTH_MAX) {
                return fail(problem, place_at(text, i), BK_TOO_LARGE,
                            "nested too deeply (limit 64)");
            }
        } else if ((c == ']' || c == '}') && depth > 0) {
            depth--;
        } else if (c == ',' || c == ':') {
            nodes++;
        }
    }
    if (nodes > nodes_max) {
        return fail(problem, place_at(text, 0), BK_TOO_LARGE, "too many values (limit 1000000)");
    }
    return BK_OK;
}

/* Walks the text in step with the parsed values. The text is known to be valid JSON. */
struct cursor {
    struct json_tree *tree;
    struct slice text;
    size_t at;
    struct json_place place;
    struct json_problem *problem;
    enum bk_err err;
};

static uint8_t peek(const struct cursor *cursor)
{
    return cursor->at < cursor->text.bytes ? cursor->text.at[cursor->at] : 0;
}

static void step(struct cursor *cursor)
{
    uint8_t c = peek(cursor);
    cursor->at++;
    if (c == '\n') {
        cursor->place.line++;
        cursor->place.column = 1;
    } else if ((c & 0xc0) != 0x80) {
        cursor->place.column++;
    }
}

static void skip_blank_and(struct cursor *cursor, uint8_t separator_a, uint8_t separator_b)
{
    for (;;) {
        uint8_t c = peek(cursor);
        if (c == 0 || (c != ' ' && c != '\t' && c != '\n' && c != '\r' && c != separator_a &&
                       c != separator_b)) {
            return;
        }
        step(cursor);
    }
}

static void skip_scalar(struct cursor *cursor)
{
    if (peek(cursor) != '"') {
        while (cursor->at < cursor->text.bytes && !strchr(",:]} \t\r\n", peek(cursor))) {
            step(cursor);
        }
        return;
    }
    for (step(cursor); peek(cursor) != '"' && cursor->at < cursor->text.bytes; step(cursor)) {
        if (peek(cursor) == '\\') {
            step(cursor);
        }
    }
    step(cursor);
}

static yyjson_mut_val *out_of_room(struct cursor *cursor)
{
    cursor->err = fail(cursor->problem, cursor->place, BK_TOO_LARGE,
                       "from here on it is too much at once; apply it in parts");
    return NULL;
}

static yyjson_mut_val *convert_scalar(struct cursor *cursor, yyjson_val *from, yyjson_mut_val *to)
{
    if (yyjson_is_str(from)) {
        if (!set_text(cursor->tree, to, yyjson_get_str(from), yyjson_get_len(from))) {
            return out_of_room(cursor);
        }
    } else {
        to->tag = from->tag;
        to->uni = from->uni;
    }
    skip_scalar(cursor);
    return to;
}

static yyjson_mut_val *convert(struct cursor *cursor, yyjson_val *from);

static bool convert_object(struct cursor *cursor, yyjson_val *from, yyjson_mut_val *to)
{
    yyjson_mut_set_obj(to);
    size_t index, max;
    yyjson_val *key, *item;
    yyjson_obj_foreach(from, index, max, key, item)
    {
        skip_blank_and(cursor, ',', ',');
        yyjson_mut_val *new_key = convert(cursor, key);
        skip_blank_and(cursor, ':', ':');
        yyjson_mut_val *new_item = new_key ? convert(cursor, item) : NULL;
        if (!new_item || !yyjson_mut_obj_add(to, new_key, new_item)) {
            return false;
        }
    }
    yyjson_mut_val *twice = json_duplicate_key(to);
    if (twice) {
        cursor->err = fail(cursor->problem, json_place(twice), BK_INVALID, "");
        snprintf(cursor->problem->message, sizeof cursor->problem->message,
                 "key \"%.60s\" is there twice", yyjson_mut_get_str(twice));
    }
    return twice == NULL;
}

static yyjson_mut_val *convert(struct cursor *cursor, yyjson_val *from)
{
    skip_blank_and(cursor, ' ', ' ');
    yyjson_mut_val *to = json_new(cursor->tree, cursor->place);
    if (!to) {
        return out_of_room(cursor);
    }
    if (!yyjson_is_ctn(from)) {
        return convert_scalar(cursor, from, to);
    }
    step(cursor);
    if (yyjson_is_obj(from)) {
        if (!convert_object(cursor, from, to)) {
            return NULL;
        }
    } else {
        yyjson_mut_set_arr(to);
        size_t index, max;
        yyjson_val *item;
        yyjson_arr_foreach(from, index, max, item)
        {
            skip_blank_and(cursor, ',', ',');
            yyjson_mut_val *new_item = convert(cursor, item);
            if (!new_item || !yyjson_mut_arr_append(to, new_item)) {
                return NULL;
            }
        }
    }
    skip_blank_and(cursor, ' ', ' ');
    step(cursor);
    return to;
}

static void *wiping_malloc(void *context, size_t bytes)
{
    (void)context;
    size_t *at = malloc(bytes + 16);
    if (!at) {
        return NULL;
    }
    *at = bytes;
    return at + 2;
}

static void wiping_free(void *context, void *at)
{
    (void)context;
    if (at) {
        size_t *block = (size_t *)at - 2;
        explicit_bzero(at, *block);
        free(block);
    }
}

static void *wiping_realloc(void *context, void *at, size_t old_bytes, size_t bytes)
{
    void *to = wiping_malloc(context, bytes);
    if (to) {
        memcpy(to, at, old_bytes < bytes ? old_bytes : bytes);
        wiping_free(context, at);
    }
    return to;
}

/* yyjson copies the text, and the text may hold secrets. */
static const yyjson_alc wiping = {wiping_malloc, wiping_realloc, wiping_free, NULL};

enum bk_err json_parse(struct slice text, struct json_tree *tree, struct json_problem *ret_problem)
{
    *ret_problem = (struct json_problem){0};
    if (text.bytes > tree->scale * JSON_TEXT_BYTES_MAX) {
        return fail(ret_problem, (struct json_place){1, 1}, BK_TOO_LARGE, "larger than 8 MiB");
    }
    if (slice_starts(text, SLICE("\xef\xbb\xbf"))) {
        text = slice_skip(text, 3);
    }
    enum bk_err err = check_bounds(text, tree->scale * JSON_NODES_MAX, ret_problem);
    if (err != BK_OK) {
        return err;
    }
    if (text.bytes == 0) {
        return fail(ret_problem, (struct json_place){1, 1}, BK_INVALID, "empty");
    }
    yyjson_read_err why = {0};
    /* Without YYJSON_READ_INSITU the text is not written to. */
    yyjson_doc *doc =
        yyjson_read_opts((char *)(uintptr_t)text.at, text.bytes, YYJSON_READ_NOFLAG, &wiping, &why);
    if (!doc) {
        const char *says =
            why.code == YYJSON_READ_ERROR_UNEXPECTED_CONTENT
                ? "a second value; several make a list, [one, two], or have lines of --- between"
            : why.code == YYJSON_READ_ERROR_UNEXPECTED_END ? "it ends too early: is } or ] missing?"
                                                           : why.msg;
        return fail(ret_problem, place_at(text, why.pos),
                    why.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION ? BK_NO_MEMORY : BK_INVALID,
                    says ? says : "not JSON");
    }
    struct cursor cursor = {tree, text, 0, {1, 1}, ret_problem, BK_OK};
    yyjson_mut_val *root = convert(&cursor, yyjson_doc_get_root(doc));
    yyjson_doc_free(doc);
    if (!root) {
        return cursor.err;
    }
    if (!json_tree_add_root(tree, root)) {
        return fail(ret_problem, cursor.place, BK_TOO_LARGE, "too many documents");
    }
    return BK_OK;
}

/* ---- writing */

/* What a terminal, a browser or YAML would take for something else than text: controls of the
 * second kind, line separators, marks of direction, byte order marks, noncharacters. 0 = none of
 * these. */
static unsigned disguised(const uint8_t *at, size_t bytes)
{
    if (bytes == 2 && at[0] == 0xc2 && at[1] < 0xa0) {
        return at[1];
    }
    if (bytes != 3 || (at[0] != 0xe2 && at[0] != 0xef)) {
        return 0;
    }
    unsigned c = (unsigned)(at[0] & 0xf) << 12 | (unsigned)(at[1] & 0x3f) << 6 | (at[2] & 0x3f);
    bool is = c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
              (c >= 0x2066 && c <= 0x2069) || c == 0xfeff || c == 0xfffe || c == 0xffff;
    return is ? c : 0;
}

static void add_escape(struct buf *buf, uint8_t c)
{
    switch (c) {
    case '"':
        buf_add(buf, "\\\"", 2);
        return;
    case '\\':
        buf_add(buf, "\\\\", 2);
        return;
    case '\n':
        buf_add(buf, "\\n", 2);
        return;
    case '\r':
        buf_add(buf, "\\r", 2);
        return;
    case '\t':
        buf_add(buf, "\\t", 2);
        return;
    default:
        buf_printf(buf, "\\u%04x", c);
        return;
    }
}

void json_add_string(struct buf *buf, struct slice text)
{
    buf_add_byte(buf, '"');
    size_t from = 0, at = 0;
    while (at < text.bytes) {
        uint8_t c = text.at[at];
        size_t whole = json_utf8_bytes(text.at + at, text.bytes - at);
        unsigned hidden = whole > 1 ? disguised(text.at + at, whole) : 0;
        if (whole != 0 && !hidden && c >= 0x20 && c != '"' && c != '\\' && c != 0x7f) {
            at += whole;
            continue;
        }
        buf_add(buf, text.at + from, at - from);
        if (whole == 0) {
            buf_add(buf, "\xef\xbf\xbd", 3);
        } else if (hidden) {
            buf_printf(buf, "\\u%04x", hidden);
        } else {
            add_escape(buf, c);
        }
        at += whole ? whole : 1;
        from = at;
    }
    if (at > from) {
        buf_add(buf, text.at + from, at - from);
    }
    buf_add_byte(buf, '"');
}

void json_add_name(struct buf *buf, const char *name)
{
    bool first = buf->bytes == 0 || buf->at[buf->bytes - 1] == '{';
    buf_printf(buf, "%s\"%s\":", first ? "" : ",", name);
}

void json_add_member(struct buf *buf, const char *name, struct slice text)
{
    if (text.bytes > 0) {
        json_add_name(buf, name);
        json_add_string(buf, text);
    }
}

static void add_scalar(struct buf *buf, yyjson_mut_val *value)
{
    if (yyjson_mut_is_str(value)) {
        json_add_string(buf, json_text(value));
        return;
    }
    char *text = yyjson_mut_val_write(value, YYJSON_WRITE_INF_AND_NAN_AS_NULL, NULL);
    buf_add_str(buf, text ? text : "null");
    free(text);
}

void json_add_value(struct buf *buf, yyjson_mut_val *value)
{
    size_t index, max;
    yyjson_mut_val *key, *item;
    if (yyjson_mut_is_obj(value)) {
        buf_add_byte(buf, '{');
        yyjson_mut_obj_foreach(value, index, max, key, item)
        {
            if (index > 0) {
                buf_add_byte(buf, ',');
            }
            json_add_string(buf, json_text(key));
            buf_add_byte(buf, ':');
            json_add_value(buf, item);
        }
        buf_add_byte(buf, '}');
    } else if (yyjson_mut_is_arr(value)) {
        buf_add_byte(buf, '[');
        yyjson_mut_arr_foreach(value, index, max, item)
        {
            if (index > 0) {
                buf_add_byte(buf, ',');
            }
            json_add_value(buf, item);
        }
        buf_add_byte(buf, ']');
    } else {
        add_scalar(buf, value);
    }
}
