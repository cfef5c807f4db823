/* json.h - trees of JSON and YAML documents that remember where each value stood, and JSON text.
 *
 * Purpose     Configuration comes in as JSON or YAML; both become yyjson mutable values, so that
 *             one decoder serves them. Every value knows its line and column for error messages.
 * Ownership   All values and strings of a tree live in its arena until json_tree_fini, which wipes
 *             them (they may hold secrets). Strings are NUL-terminated; their length counts.
 * Limits      JSON_DEPTH_MAX, JSON_TEXT_BYTES_MAX, JSON_NODES_MAX. Duplicate keys are errors. Text
 *             must be UTF-8. Numbers beyond 64 bits become doubles, infinities are errors.
 * Threads     One at a time. Control plane only.
 * Source      RFC 8259; yyjson.
 */
#ifndef BECKET_BASE_JSON_H
#define BECKET_BASE_JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* <yyjson.h>, which is long to compile, is for those that look into values. */
typedef struct yyjson_val yyjson_val;
typedef struct yyjson_mut_val yyjson_mut_val;

#define JSON_DEPTH_MAX      64U
#define JSON_TEXT_BYTES_MAX (8U << 20)
#define JSON_NODES_MAX      1000000U
#define JSON_DOCUMENTS_MAX  200000U

struct json_place {
    uint32_t line; /* from 1; 0 = unknown */
    uint32_t column;
};

struct json_problem {
    struct json_place place;
    char message[160];
};

struct json_node; /* a yyjson_mut_val and its place */

struct json_tree {
    struct arena arena;
    yyjson_mut_val **roots; /* one per document */
    size_t count;
    size_t roots_size; /* json.c's and yaml.c's */
    size_t nodes;
    size_t scale; /* times the limits */
    struct json_node *slab;
    size_t slab_free;
};

void json_tree_init(struct json_tree *tree);
void json_tree_fini(struct json_tree *tree);
/* Of a fresh tree: so many times the limits on text and nodes. For what a program of ours answered,
 * which may be longer than what it was sent. */
void json_tree_enlarge(struct json_tree *tree, size_t scale);

/* Parse one JSON text into tree->roots[0]. BK_INVALID or BK_TOO_LARGE with *ret_problem filled. */
enum bk_err json_parse(struct slice text, struct json_tree *tree,
                       struct json_problem *ret_problem) BK_MUST_CHECK;
/* Where a value (not a key) of a tree stood. Only for values of a json_tree. */
struct json_place json_place(yyjson_mut_val *value);

/* ---- building values inside a tree (place unknown unless given). NULL when out of memory. */
yyjson_mut_val *json_new(struct json_tree *tree, struct json_place place);
yyjson_mut_val *json_new_string(struct json_tree *tree, struct slice text);
yyjson_mut_val *json_new_object(struct json_tree *tree);
yyjson_mut_val *json_new_array(struct json_tree *tree);
/* Adds a copy of the key. */
bool json_set(struct json_tree *tree, yyjson_mut_val *object, const char *key,
              yyjson_mut_val *value);
/* Deep copy of a value of a json_tree into this tree, places included. */
yyjson_mut_val *json_copy(struct json_tree *tree, yyjson_mut_val *value);
/* The later of two equal keys of an object, or NULL. */
yyjson_mut_val *json_duplicate_key(yyjson_mut_val *object);
/* Append a document. False when there are too many. */
bool json_tree_add_root(struct json_tree *tree, yyjson_mut_val *root);

/* Empty unless it is a string: yyjson's length of an array is the count of its members. */
struct slice json_text(yyjson_mut_val *value);
/* The same of a document that is only read. */
struct slice json_read_text(yyjson_val *value);

/* ---- writing JSON text into a buf */
/* "text" with quotes and escapes, also of what is no visible text: controls, separators, marks of
 * direction. Bytes that are not UTF-8 become U+FFFD. */
void json_add_string(struct buf *buf, struct slice text);
/* "name": and the comma before it, unless it is the first of its object. */
void json_add_name(struct buf *buf, const char *name);
/* The same with a text; nothing where that is empty. */
void json_add_member(struct buf *buf, const char *name, struct slice text);
/* A whole value, minified. */
void json_add_value(struct buf *buf, yyjson_mut_val *value);

#endif
