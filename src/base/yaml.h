/* yaml.h - YAML (several documents) into the same trees as JSON, and trees out as YAML.
 *
 * Purpose     The core schema of YAML 1.2 and nothing more: `true` and `false` (also True, TRUE)
 *             are the only booleans, so `on`, `off`, `yes`, `no` stay strings; null, ~ or nothing
 *             is null; decimal, 0x and 0o integers; floats. Quoted scalars are always strings.
 * Refused     Tags other than !!str !!int !!float !!bool !!null !!map !!seq; merge keys (<<); keys
 *             that are no scalars; duplicate keys; .inf and .nan; text that is not UTF-8.
 * Limits      As in json.h. Aliases are expanded, each copy counts towards YAML_ALIAS_NODES_MAX, so
 *             a few lines cannot become gigabytes.
 * Source      YAML 1.2.2 section 10.3; libyaml.
 */
#ifndef BECKET_BASE_YAML_H
#define BECKET_BASE_YAML_H

#include "base/json.h"

#define YAML_ALIAS_NODES_MAX 10000U

/* Parse all documents of a stream; empty documents (only `---` or comments) are left out.
 * BK_INVALID or BK_TOO_LARGE with *ret_problem filled. */
enum bk_err yaml_parse(struct slice text, struct json_tree *tree,
                       struct json_problem *ret_problem) BK_MUST_CHECK;
/* Either: text that begins with { or [ and is JSON is read as JSON, all else as YAML. */
enum bk_err yaml_or_json_parse(struct slice text, struct json_tree *tree,
                               struct json_problem *ret_problem) BK_MUST_CHECK;

/* Block style, strings quoted where a reader could take them for something else. Ends with a line
 * feed, has no `---`. yaml_parse() of it gives an equal value. */
void yaml_add_value(struct buf *buf, yyjson_mut_val *value);

#endif
