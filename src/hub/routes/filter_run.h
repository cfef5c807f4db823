/* filter_run.h - one run of an expression: its values, its budget, and the parts that compute.
 *
 * Purpose     For src/hub/routes/filter*.c only. filter.c is the machine; each other file is one
 *             family of operations on the values at the top of its stack.
 * Ownership   Texts and lists that a run makes lie in the core's scratch until the next event.
 * Threads     One core's.
 * Errors      What returns bool: false = the run failed, event->why says why.
 */
#ifndef BECKET_HUB_FILTER_RUN_H
#define BECKET_HUB_FILTER_RUN_H

#include "base/json.h"
#include "hub/routes/filter_private.h"

enum { JSON_UNREAD, JSON_READ, JSON_WRONG };

/* One mapping: this, what PCRE2 takes, texts and lists of a run, the JSON tree. */
struct filter_scratch {
    size_t bytes;
    struct filter_regex *regex;
    uint8_t *text;
    size_t text_used;
    uint8_t *json;
    size_t json_bytes;
    size_t json_used; /* at least so much was touched, about */
};

struct filter_run {
    struct filter_event *event;
    uint64_t steps_left;
    uint32_t depth;
    struct filter_value stack[FILTER_STACK_MAX];
};

/* Says why, and is false. */
__attribute__((format(printf, 2, 3))) bool filter_fail(struct filter_run *run, const char *format,
                                                       ...);
/* False: more than is left. */
bool filter_charge(struct filter_run *run, uint64_t steps);
/* For messages: "a number". */
const char *filter_type_name(const struct filter_value *value);

/* ---- values */

static inline struct filter_value filter_of_bool(bool truth)
{
    return (struct filter_value){.type = FILTER_BOOL, .as.truth = truth};
}

static inline struct filter_value filter_of_int(int64_t integer)
{
    return (struct filter_value){.type = FILTER_INT, .as.integer = integer};
}

static inline struct filter_value filter_of_real(double real)
{
    return (struct filter_value){.type = FILTER_FLOAT, .as.real = real};
}

static inline struct filter_value filter_of_text(struct slice text)
{
    return (struct filter_value){.type = FILTER_STRING, .as.text = text};
}

struct filter_value filter_of_json(yyjson_val *json);
/* The last one of this name, for that is the one that parsers of JSON keep, with few exceptions: a
 * filter must see what the receiver of the event will see. NULL: there is none. */
yyjson_val *filter_member(yyjson_val *object, struct slice name);

static inline bool filter_is_number(const struct filter_value *value)
{
    return value->type == FILTER_INT || value->type == FILTER_FLOAT;
}

static inline double filter_real_of(const struct filter_value *value)
{
    return value->type == FILTER_INT ? (double)value->as.integer : value->as.real;
}

/* The headers are a map without JSON. */
static inline bool filter_is_headers(const struct filter_value *value)
{
    return value->type == FILTER_MAP && !value->as.json;
}

static inline yyjson_val *filter_json_of(const struct filter_value *value)
{
    return (yyjson_val *)(uintptr_t)value->as.json;
}

/* ---- filter_scratch.c */

/* NULL: more than a run may have. */
void *filter_scratch_take(struct filter_scratch *scratch, size_t bytes);
/* The JSON body, read when the first expression asks for it. */
bool filter_push_body(struct filter_run *run, struct filter_value *to);

/* ---- filter_lookup.c */

/* The first header of this name, in any case; nil when there is none. */
struct filter_value filter_header_value(const struct filter_event *event, struct slice name);
size_t filter_list_count(const struct filter_value *list);
bool filter_take_member(struct filter_run *run, const struct filter_value *map, struct slice name,
                        struct filter_value *ret_value);
bool filter_take_index(struct filter_run *run, struct filter_value *what,
                       const struct filter_value *index);
/* bounds[0] to before bounds[1]; nil = open. */
bool filter_take_slice(struct filter_run *run, struct filter_value *what,
                       const struct filter_value *bounds);

/* ---- filter_compare.c: the result is in *a */

/* Values of different kinds are different. `depth` is 0 outside of the function itself. */
bool filter_equal(struct filter_run *run, const struct filter_value *a,
                  const struct filter_value *b, unsigned depth, bool *ret_equal);
bool filter_order(struct filter_run *run, enum filter_op_code code, struct filter_value *a,
                  const struct filter_value *b);
bool filter_in(struct filter_run *run, struct filter_value *a, const struct filter_value *b);
/* contains, startsWith, endsWith */
bool filter_text_test(struct filter_run *run, enum filter_op_code code, struct filter_value *a,
                      const struct filter_value *b);
bool filter_matches(struct filter_run *run, const struct filter_op *op, struct filter_value *a);

/* ---- filter_arithmetic.c */

bool filter_arithmetic(struct filter_run *run, enum filter_op_code code, struct filter_value *a,
                       const struct filter_value *b);
bool filter_negate(struct filter_run *run, struct filter_value *a);

/* ---- filter_functions.c */

bool filter_call(struct filter_run *run, enum filter_function function, struct filter_value *a);

#endif
