/* json_scan.h - find a few fields in a JSON text without parsing it.
 *
 * Purpose     Ids and event types of webhooks: fields near the top, in a text of which the rest is
 *             skipped, 64 bytes a step. What is not asked for is not looked at, so this validates
 *             nothing: for routing and labels only, never for trust.
 * Truth       For a valid text the answer is that of a full parser: the first member of a name
 *             counts, strings are given as written between their quotes, numbers as written. For an
 *             invalid text the answer is some slice of it, or nothing.
 * Limits      JSON_PATH_STEPS_MAX, JSON_PATHS_MAX; names with escapes in the text never match.
 * Threads     Pure; any. No allocation, bounded stack; time grows with the bytes up to the last
 *             field.
 * Source      RFC 8259, RFC 6901.
 */
#ifndef BECKET_PROVIDERS_JSON_SCAN_H
#define BECKET_PROVIDERS_JSON_SCAN_H

#include "base/slice.h"

#define JSON_PATH_STEPS_MAX 4U
#define JSON_PATHS_MAX      8U

/* A compiled JSON pointer. A step names a member, or an element where the text has an array. */
struct json_path {
    struct slice steps[JSON_PATH_STEPS_MAX];
    unsigned step_count;
};

enum json_kind {
    JSON_ABSENT,
    JSON_STRING,
    JSON_STRING_ESCAPED, /* has backslashes: the text is not the value */
    JSON_NUMBER,
    JSON_OTHER /* true, false, null, an object or an array: no text. `at` is behind the bracket. */
};

struct json_found {
    enum json_kind kind;
    struct slice text;
};

/* ret_found[i] is what paths[i] leads to. */
void json_scan(struct slice text, const struct json_path *paths, unsigned path_count,
               struct json_found *ret_found);

/* For each element of the list that `list` leads to: what `inner` leads to in it. Ends when visit()
 * says so. True when the list is there and was visited to its end. */
bool json_each(struct slice text, const struct json_path *list, const struct json_path *inner,
               bool (*visit)(void *context, const struct json_found *found), void *context);

/* "/a/b": steps point into `pointer`, so ~0 and ~1 cannot be written. False when it is none, or
 * longer than JSON_PATH_STEPS_MAX. */
bool json_path_parse(struct slice pointer, struct json_path *ret_path);

/* For tests: where the object or array that begins at text.at[0] ends (one past its bracket), 0 =
 * it does not. The best code of this CPU, the code every x86-64 can run, and the plain code. */
size_t json_skip(struct slice text);
size_t json_skip_sse2(struct slice text);
size_t json_skip_portable(struct slice text);

#endif
