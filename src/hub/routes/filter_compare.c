/* filter_compare.c - which values are equal, more, in one another; what a pattern matches */
#include "base/assert.h"
#include "hub/routes/filter_run.h"

#include <math.h>
#include <yyjson.h>

/* Containers are compared this deep. */
#define EQUAL_DEPTH_MAX 64U

/* -1, 0, 1; 2 = no order (NaN). Exact also where an integer has more than 53 bits. */
static int order_numbers(const struct filter_value *a, const struct filter_value *b)
{
    if (a->type == FILTER_INT && b->type == FILTER_INT) {
        return (a->as.integer > b->as.integer) - (a->as.integer < b->as.integer);
    }
    if (a->type == FILTER_INT) {
        int order = order_numbers(b, a);
        return order == 2 ? 2 : -order;
    }
    double real = a->as.real;
    if (b->type == FILTER_FLOAT) {
        return isunordered(real, b->as.real) ? 2 : (real > b->as.real) - (real < b->as.real);
    }
    if (isnan(real)) {
        return 2;
    }
    if (real >= 9223372036854775808.0) {
        return 1;
    }
    if (real < -9223372036854775808.0) {
        return -1;
    }
    int64_t whole = (int64_t)real;
    if (whole != b->as.integer) {
        return whole > b->as.integer ? 1 : -1;
    }
    double rest = real - (double)whole;
    return (rest > 0) - (rest < 0);
}

static int order_texts(struct slice a, struct slice b)
{
    size_t bytes = a.bytes < b.bytes ? a.bytes : b.bytes;
    int order = bytes ? memcmp(a.at, b.at, bytes) : 0;
    return order ? (order > 0) - (order < 0) : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static bool equal_lists(struct filter_run *run, const struct filter_value *a,
                        const struct filter_value *b, unsigned depth, bool *ret_equal)
{
    size_t count = filter_list_count(a);
    *ret_equal = count == filter_list_count(b);
    yyjson_arr_iter walk_a, walk_b;
    if (!a->literal) {
        yyjson_arr_iter_init(filter_json_of(a), &walk_a);
    }
    if (!b->literal) {
        yyjson_arr_iter_init(filter_json_of(b), &walk_b);
    }
    for (size_t i = 0; *ret_equal && i < count; i++) {
        struct filter_value left =
            a->literal ? a->as.list.items[i] : filter_of_json(yyjson_arr_iter_next(&walk_a));
        struct filter_value right =
            b->literal ? b->as.list.items[i] : filter_of_json(yyjson_arr_iter_next(&walk_b));
        if (!filter_equal(run, &left, &right, depth + 1, ret_equal)) {
            return false;
        }
    }
    return true;
}

static bool equal_maps(struct filter_run *run, const struct filter_value *a,
                       const struct filter_value *b, unsigned depth, bool *ret_equal)
{
    if (filter_is_headers(a) || filter_is_headers(b)) {
        *ret_equal = filter_is_headers(a) && filter_is_headers(b);
        return true;
    }
    size_t index, max;
    yyjson_val *key, *item;
    *ret_equal = yyjson_obj_size(filter_json_of(a)) == yyjson_obj_size(filter_json_of(b));
    if (!*ret_equal) {
        return true;
    }
    yyjson_obj_foreach(filter_json_of(a), index, max, key, item)
    {
        struct slice name = slice_of(yyjson_get_str(key), yyjson_get_len(key));
        yyjson_val *other = filter_member(filter_json_of(b), name);
        struct filter_value left = filter_of_json(filter_member(filter_json_of(a), name));
        struct filter_value right = filter_of_json(other);
        *ret_equal = other != NULL;
        if (!filter_charge(run, 1 + max / 8) ||
            (other && !filter_equal(run, &left, &right, depth + 1, ret_equal))) {
            return false;
        }
        if (!*ret_equal) {
            return true;
        }
    }
    return true;
}

/* False = failed. Values of different kinds are different. */
bool filter_equal(struct filter_run *run, const struct filter_value *a,
                  const struct filter_value *b, unsigned depth, bool *ret_equal)
{
    *ret_equal = false;
    if (depth > EQUAL_DEPTH_MAX) {
        return filter_fail(run, "nested too deeply to be compared");
    }
    if (!filter_charge(run, 1)) {
        return false;
    }
    if (filter_is_number(a) && filter_is_number(b)) {
        *ret_equal = order_numbers(a, b) == 0;
        return true;
    }
    if (a->type != b->type) {
        return true;
    }
    switch (a->type) {
    case FILTER_NIL:
        *ret_equal = true;
        return true;
    case FILTER_BOOL:
        *ret_equal = a->as.truth == b->as.truth;
        return true;
    case FILTER_STRING:
        *ret_equal = slice_equal(a->as.text, b->as.text);
        return filter_charge(run, *ret_equal ? a->as.text.bytes / 16 : 0);
    case FILTER_LIST:
        return equal_lists(run, a, b, depth, ret_equal);
    case FILTER_MAP:
        return equal_maps(run, a, b, depth, ret_equal);
    case FILTER_INT:
    case FILTER_FLOAT:
        break;
    }
    bk_never("numbers were compared above");
}

bool filter_order(struct filter_run *run, enum filter_op_code code, struct filter_value *a,
                  const struct filter_value *b)
{
    int order;
    if (filter_is_number(a) && filter_is_number(b)) {
        order = order_numbers(a, b);
    } else if (a->type == FILTER_STRING && b->type == FILTER_STRING) {
        order = order_texts(a->as.text, b->as.text);
    } else {
        return filter_fail(run, "cannot tell which is more: %s and %s", filter_type_name(a),
                           filter_type_name(b));
    }
    bool truth = order != 2 && (code == FILTER_OP_LESS         ? order < 0
                                : code == FILTER_OP_LESS_EQUAL ? order <= 0
                                : code == FILTER_OP_MORE       ? order > 0
                                                               : order >= 0);
    *a = filter_of_bool(truth);
    return true;
}

bool filter_in(struct filter_run *run, struct filter_value *a, const struct filter_value *b)
{
    bool found = false;
    if (b->type == FILTER_MAP) {
        struct filter_value value = {.type = FILTER_NIL};
        if (a->type != FILTER_STRING) {
            return filter_fail(run, "only text can be a field of a map, not %s",
                               filter_type_name(a));
        }
        if (filter_is_headers(b)) {
            value = filter_header_value(run->event, a->as.text);
            found = value.type != FILTER_NIL;
        } else {
            found = filter_member(filter_json_of(b), a->as.text) != NULL;
        }
        *a = filter_of_bool(found);
        return filter_charge(run,
                             filter_is_headers(b) ? 4 : yyjson_obj_size(filter_json_of(b)) / 8);
    }
    if (b->type == FILTER_STRING) {
        return filter_fail(run, "`in` wants a list or a map; for text write: text contains part");
    }
    if (b->type != FILTER_LIST) {
        if (b->type != FILTER_NIL) {
            return filter_fail(run, "`in` wants a list or a map, not %s", filter_type_name(b));
        }
        *a = filter_of_bool(false);
        return true;
    }
    size_t count = filter_list_count(b);
    yyjson_arr_iter walk;
    if (!b->literal) {
        yyjson_arr_iter_init(filter_json_of(b), &walk);
    }
    for (size_t i = 0; !found && i < count; i++) {
        struct filter_value item =
            b->literal ? b->as.list.items[i] : filter_of_json(yyjson_arr_iter_next(&walk));
        if (!filter_equal(run, a, &item, 0, &found)) {
            return false;
        }
    }
    *a = filter_of_bool(found);
    return true;
}

bool filter_text_test(struct filter_run *run, enum filter_op_code code, struct filter_value *a,
                      const struct filter_value *b)
{
    static const char *const names[] = {"contains", "startsWith", "endsWith"};
    if (a->type != FILTER_STRING || b->type != FILTER_STRING) {
        const char *hint = code == FILTER_OP_CONTAINS && a->type == FILTER_LIST
                               ? "; for a list write: item in list"
                               : "";
        return filter_fail(run, "%s wants two texts, not %s and %s%s",
                           names[code - FILTER_OP_CONTAINS], filter_type_name(a),
                           filter_type_name(b), hint);
    }
    struct slice text = a->as.text, part = b->as.text;
    bool truth = part.bytes <= text.bytes;
    if (truth && part.bytes > 0) {
        const uint8_t *end = text.at + text.bytes - part.bytes;
        truth = code == FILTER_OP_CONTAINS
                    ? memmem(text.at, text.bytes, part.at, part.bytes) != NULL
                    : memcmp(code == FILTER_OP_STARTS ? text.at : end, part.at, part.bytes) == 0;
    }
    *a = filter_of_bool(truth);
    return filter_charge(run, (code == FILTER_OP_CONTAINS ? text.bytes : part.bytes) / 16);
}

bool filter_matches(struct filter_run *run, const struct filter_op *op, struct filter_value *a)
{
    uint64_t steps = 0;
    if (a->type != FILTER_STRING) {
        return filter_fail(run, "matches wants text, not %s", filter_type_name(a));
    }
    int found = filter_regex_match(run->event->scratch->regex, op->regex, a->as.text,
                                   run->steps_left / 4, &steps, run->event->why);
    run->steps_left -= steps * 4 > run->steps_left ? run->steps_left : steps * 4;
    if (found < 0) {
        return false;
    }
    *a = filter_of_bool(found == 1);
    return true;
}
