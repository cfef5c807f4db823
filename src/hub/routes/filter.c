/* filter.c - running a compiled expression on an event; contract in routes/filter.h. */
#include "base/assert.h"
#include "hub/routes/filter_private.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <yyjson.h>

#define TEXT_MEMORY_BYTES (1U << 20)
/* Containers are compared this deep. */
#define EQUAL_DEPTH_MAX 64U
/* Beyond it, what a large body took is given back to the system. */
#define KEEP_BYTES (4U << 20)

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

/* ---- scratch */

enum bk_err filter_scratch_open(size_t bytes, struct filter_scratch **ret_scratch)
{
    size_t fixed = 4096 + FILTER_REGEX_MEMORY_BYTES + TEXT_MEMORY_BYTES;
    bk_assert(bytes >= fixed + (1U << 20));
    /* Pages cost memory when they are touched, so the room for a large body is free. */
    uint8_t *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        return BK_NO_MEMORY;
    }
    struct filter_scratch *scratch = (struct filter_scratch *)(void *)at;
    scratch->bytes = bytes;
    scratch->regex = filter_regex_open(at + 4096);
    scratch->text = at + 4096 + FILTER_REGEX_MEMORY_BYTES;
    scratch->json = at + fixed;
    scratch->json_bytes = bytes - fixed;
    bk_assert(scratch->regex);
    *ret_scratch = scratch;
    return BK_OK;
}

void filter_scratch_close(struct filter_scratch *scratch)
{
    if (scratch) {
        munmap(scratch, scratch->bytes);
    }
}

static void *scratch_take(struct filter_scratch *scratch, size_t bytes)
{
    size_t rounded = (bytes + 15U) / 16U * 16U;
    if (bytes > TEXT_MEMORY_BYTES || rounded > TEXT_MEMORY_BYTES - scratch->text_used) {
        return NULL;
    }
    void *at = scratch->text + scratch->text_used;
    scratch->text_used += rounded;
    return at;
}

void filter_event_init(struct filter_event *event, struct filter_scratch *scratch,
                       const struct http_head *head, struct slice body, struct slice type,
                       struct slice source)
{
    if (scratch->json_used > KEEP_BYTES) {
        madvise(scratch->json, scratch->json_bytes, MADV_DONTNEED);
    }
    scratch->json_used = 0;
    scratch->text_used = 0;
    event->head = head;
    event->body = body;
    event->type = type;
    event->source = source;
    event->why[0] = '\0';
    event->scratch = scratch;
    event->steps_left = FILTER_EVENT_STEPS_MAX;
    event->json_state = JSON_UNREAD;
    event->json_root = NULL;
}

/* ---- a run */

struct run {
    struct filter_event *event;
    uint64_t steps_left;
    uint32_t depth;
    struct filter_value stack[FILTER_STACK_MAX];
};

__attribute__((format(printf, 2, 3))) static bool fail(struct run *run, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(run->event->why, sizeof run->event->why, format, args);
    va_end(args);
    return false;
}

static bool charge(struct run *run, uint64_t steps)
{
    if (steps > run->steps_left) {
        run->steps_left = 0;
        return fail(run, "the expression takes too many steps on this event");
    }
    run->steps_left -= steps;
    return true;
}

static const char *type_name(const struct filter_value *value)
{
    static const char *const names[] = {"nothing", "a truth value", "a number", "a number",
                                        "text",    "a list",        "a map"};
    return names[value->type];
}

static struct filter_value of_bool(bool truth)
{
    return (struct filter_value){.type = FILTER_BOOL, .as.truth = truth};
}

static struct filter_value of_int(int64_t integer)
{
    return (struct filter_value){.type = FILTER_INT, .as.integer = integer};
}

static struct filter_value of_real(double real)
{
    return (struct filter_value){.type = FILTER_FLOAT, .as.real = real};
}

static struct filter_value of_text(struct slice text)
{
    return (struct filter_value){.type = FILTER_STRING, .as.text = text};
}

static struct filter_value of_json(yyjson_val *json)
{
    struct filter_value value = {.type = FILTER_NIL};
    switch (yyjson_get_type(json)) {
    case YYJSON_TYPE_BOOL:
        return of_bool(yyjson_get_bool(json));
    case YYJSON_TYPE_NUM:
        if (yyjson_is_sint(json)) {
            return of_int(yyjson_get_sint(json));
        }
        if (yyjson_is_uint(json) && yyjson_get_uint(json) <= INT64_MAX) {
            return of_int((int64_t)yyjson_get_uint(json));
        }
        return of_real(yyjson_is_uint(json) ? (double)yyjson_get_uint(json)
                                            : yyjson_get_real(json));
    case YYJSON_TYPE_RAW: /* a number that fits no 64 bits */
        return of_real(strtod(yyjson_get_raw(json), NULL));
    case YYJSON_TYPE_STR:
        return of_text(slice_of(yyjson_get_str(json), yyjson_get_len(json)));
    case YYJSON_TYPE_ARR:
    case YYJSON_TYPE_OBJ:
        value.type = yyjson_is_arr(json) ? FILTER_LIST : FILTER_MAP;
        value.as.json = json;
        return value;
    default:
        return value;
    }
}

/* ---- the body */

static void read_body(struct filter_event *event)
{
    struct filter_scratch *scratch = event->scratch;
    yyjson_alc pool;
    yyjson_read_err error;
    event->json_state = JSON_WRONG;
    if (event->body.bytes == 0) {
        snprintf(event->why, sizeof event->why, "the body is empty, not JSON");
        return;
    }
    yyjson_alc_pool_init(&pool, scratch->json, scratch->json_bytes);
    scratch->json_used = event->body.bytes * 4; /* the text's copy, and values */
    yyjson_doc *doc = yyjson_read_opts((char *)(uintptr_t)event->body.at, event->body.bytes,
                                       YYJSON_READ_BIGNUM_AS_RAW, &pool, &error);
    if (!doc) {
        bool large = error.code == YYJSON_READ_ERROR_MEMORY_ALLOCATION;
        snprintf(event->why, sizeof event->why,
                 large ? "the body is too large for expressions"
                       : "the body is not JSON: %s, byte %zu",
                 error.msg, error.pos);
        return;
    }
    event->json_state = JSON_READ;
    event->json_root = yyjson_doc_get_root(doc);
}

static bool push_body(struct run *run, struct filter_value *to)
{
    struct filter_event *event = run->event;
    if (event->json_state == JSON_WRONG) {
        return fail(run, "the body is not JSON");
    }
    if (event->json_state == JSON_UNREAD) {
        read_body(event);
        if (event->json_state == JSON_WRONG) {
            return false;
        }
    }
    *to = of_json((yyjson_val *)(uintptr_t)event->json_root);
    return true;
}

/* ---- looking things up */

static bool is_headers(const struct filter_value *value)
{
    return value->type == FILTER_MAP && !value->as.json;
}

static yyjson_val *json_of(const struct filter_value *value)
{
    return (yyjson_val *)(uintptr_t)value->as.json;
}

/* The first header of this name, in any case. */
static struct filter_value header_value(const struct filter_event *event, struct slice name)
{
    uint8_t lower[256];
    struct filter_value none = {.type = FILTER_NIL};
    if (!event->head || name.bytes == 0 || name.bytes > sizeof lower) {
        return none;
    }
    for (size_t i = 0; i < name.bytes; i++) {
        lower[i] = ascii_lower(name.at[i]);
    }
    const struct http_header *header =
        http_find(event->head, slice_of(lower, name.bytes), NULL);
    return header ? of_text(http_header_value(event->head, header)) : none;
}

static bool member(struct run *run, const struct filter_value *map, struct slice name,
                   struct filter_value *ret_value)
{
    if (map->type != FILTER_MAP) {
        return fail(run, "cannot take \"%.*s\" of %s", (int)(name.bytes > 60 ? 60 : name.bytes),
                    (const char *)name.at, type_name(map));
    }
    if (is_headers(map)) {
        *ret_value = header_value(run->event, name);
        return charge(run, 4);
    }
    yyjson_val *json = json_of(map);
    if (!charge(run, yyjson_obj_size(json) / 8)) {
        return false;
    }
    *ret_value = of_json(yyjson_obj_getn(json, (const char *)name.at, name.bytes));
    return true;
}

static size_t list_count(const struct filter_value *list)
{
    return list->literal ? list->as.list.count : yyjson_arr_size(json_of(list));
}

static struct filter_value list_item(const struct filter_value *list, size_t index)
{
    return list->literal ? list->as.list.items[index]
                         : of_json(yyjson_arr_get(json_of(list), index));
}

static bool op_index(struct run *run, struct filter_value *what, const struct filter_value *index)
{
    if (what->type == FILTER_MAP) {
        if (index->type != FILTER_STRING) {
            return fail(run, "a field's name must be text, not %s", type_name(index));
        }
        return member(run, what, index->as.text, what);
    }
    if (what->type != FILTER_LIST) {
        return fail(run, "cannot take an element of %s", type_name(what));
    }
    if (index->type != FILTER_INT) {
        return fail(run, "a list's index must be a whole number, not %s", type_name(index));
    }
    int64_t count = (int64_t)list_count(what), at = index->as.integer;
    at += at < 0 ? count : 0;
    if (at < 0 || at >= count) {
        return fail(run, "there is no element %lld in a list of %lld",
                    (long long)index->as.integer, (long long)count);
    }
    /* A list of scalars is found at once, another is walked. */
    if (!charge(run, (uint64_t)at / 8)) {
        return false;
    }
    *what = list_item(what, (size_t)at);
    return true;
}

/* Negative counts from the end; what is beyond is cut. */
static bool bound(struct run *run, const struct filter_value *value, int64_t open, int64_t count,
                  int64_t *ret_bound)
{
    if (value->type == FILTER_NIL) {
        *ret_bound = open;
        return true;
    }
    if (value->type != FILTER_INT) {
        return fail(run, "bounds must be whole numbers, not %s", type_name(value));
    }
    int64_t at = value->as.integer;
    at = at < -count ? 0 : at < 0 ? at + count : at > count ? count : at;
    *ret_bound = at;
    return true;
}

static bool slice_list(struct run *run, struct filter_value *what, int64_t from, int64_t to)
{
    uint32_t count = (uint32_t)(to - from);
    if (!charge(run, (uint64_t)to)) {
        return false;
    }
    struct filter_value *items = scratch_take(run->event->scratch, (count + 1) * sizeof *items);
    if (!items) {
        return fail(run, "the expression needs too much memory on this event");
    }
    if (what->literal) {
        memcpy(items, what->as.list.items + from, count * sizeof *items);
    } else {
        size_t index, max, put = 0;
        yyjson_val *item;
        yyjson_arr_foreach(json_of(what), index, max, item)
        {
            if ((int64_t)index >= from && (int64_t)index < to) {
                items[put++] = of_json(item);
            }
        }
    }
    *what = (struct filter_value){.type = FILTER_LIST, .literal = true,
                                  .as.list = {.items = items, .count = count}};
    return true;
}

static bool op_slice(struct run *run, struct filter_value *what, const struct filter_value *bounds)
{
    int64_t count, from = 0, to = 0;
    if (what->type == FILTER_STRING) {
        count = (int64_t)what->as.text.bytes;
    } else if (what->type == FILTER_LIST) {
        count = (int64_t)list_count(what);
    } else {
        return fail(run, "cannot take a part of %s", type_name(what));
    }
    if (!bound(run, &bounds[0], 0, count, &from) || !bound(run, &bounds[1], count, count, &to)) {
        return false;
    }
    from = from > to ? to : from;
    if (what->type == FILTER_STRING) {
        what->as.text = slice_of(what->as.text.at + from, (size_t)(to - from));
        return true;
    }
    return slice_list(run, what, from, to);
}

/* ---- comparing */

static bool is_number(const struct filter_value *value)
{
    return value->type == FILTER_INT || value->type == FILTER_FLOAT;
}

static double real_of(const struct filter_value *value)
{
    return value->type == FILTER_INT ? (double)value->as.integer : value->as.real;
}

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
        return isunordered(real, b->as.real) ? 2
                                             : (real > b->as.real) - (real < b->as.real);
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

static bool equal(struct run *run, const struct filter_value *a, const struct filter_value *b,
                  unsigned depth, bool *ret_equal);

static bool equal_lists(struct run *run, const struct filter_value *a,
                        const struct filter_value *b, unsigned depth, bool *ret_equal)
{
    size_t count = list_count(a);
    *ret_equal = count == list_count(b);
    yyjson_arr_iter walk_a, walk_b;
    if (!a->literal) {
        yyjson_arr_iter_init(json_of(a), &walk_a);
    }
    if (!b->literal) {
        yyjson_arr_iter_init(json_of(b), &walk_b);
    }
    for (size_t i = 0; *ret_equal && i < count; i++) {
        struct filter_value left = a->literal ? a->as.list.items[i]
                                              : of_json(yyjson_arr_iter_next(&walk_a));
        struct filter_value right = b->literal ? b->as.list.items[i]
                                               : of_json(yyjson_arr_iter_next(&walk_b));
        if (!equal(run, &left, &right, depth + 1, ret_equal)) {
            return false;
        }
    }
    return true;
}

static bool equal_maps(struct run *run, const struct filter_value *a, const struct filter_value *b,
                       unsigned depth, bool *ret_equal)
{
    if (is_headers(a) || is_headers(b)) {
        *ret_equal = is_headers(a) && is_headers(b);
        return true;
    }
    size_t index, max;
    yyjson_val *key, *item;
    *ret_equal = yyjson_obj_size(json_of(a)) == yyjson_obj_size(json_of(b));
    if (!*ret_equal) {
        return true;
    }
    yyjson_obj_foreach(json_of(a), index, max, key, item)
    {
        struct filter_value left = of_json(item), right;
        yyjson_val *other =
            yyjson_obj_getn(json_of(b), yyjson_get_str(key), yyjson_get_len(key));
        right = of_json(other);
        *ret_equal = other != NULL;
        if (!charge(run, 1 + max / 8) ||
            (other && !equal(run, &left, &right, depth + 1, ret_equal))) {
            return false;
        }
        if (!*ret_equal) {
            return true;
        }
    }
    return true;
}

/* False = failed. Values of different kinds are different. */
static bool equal(struct run *run, const struct filter_value *a, const struct filter_value *b,
                  unsigned depth, bool *ret_equal)
{
    *ret_equal = false;
    if (depth > EQUAL_DEPTH_MAX) {
        return fail(run, "nested too deeply to be compared");
    }
    if (!charge(run, 1)) {
        return false;
    }
    if (is_number(a) && is_number(b)) {
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
        return charge(run, *ret_equal ? a->as.text.bytes / 16 : 0);
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

static bool op_order(struct run *run, enum filter_op_code code, struct filter_value *a,
                     const struct filter_value *b)
{
    int order;
    if (is_number(a) && is_number(b)) {
        order = order_numbers(a, b);
    } else if (a->type == FILTER_STRING && b->type == FILTER_STRING) {
        order = order_texts(a->as.text, b->as.text);
    } else {
        return fail(run, "cannot tell which is more: %s and %s", type_name(a), type_name(b));
    }
    bool truth = order != 2 && (code == FILTER_OP_LESS         ? order < 0
                                : code == FILTER_OP_LESS_EQUAL ? order <= 0
                                : code == FILTER_OP_MORE       ? order > 0
                                                               : order >= 0);
    *a = of_bool(truth);
    return true;
}

static bool op_in(struct run *run, struct filter_value *a, const struct filter_value *b)
{
    bool found = false;
    if (b->type == FILTER_MAP) {
        struct filter_value value = {.type = FILTER_NIL};
        if (a->type != FILTER_STRING) {
            return fail(run, "only text can be a field of a map, not %s", type_name(a));
        }
        if (is_headers(b)) {
            value = header_value(run->event, a->as.text);
            found = value.type != FILTER_NIL;
        } else {
            found = yyjson_obj_getn(json_of(b), (const char *)a->as.text.at, a->as.text.bytes);
        }
        *a = of_bool(found);
        return charge(run, is_headers(b) ? 4 : yyjson_obj_size(json_of(b)) / 8);
    }
    if (b->type == FILTER_STRING) {
        return fail(run, "`in` wants a list or a map; for text write: text contains part");
    }
    if (b->type != FILTER_LIST) {
        if (b->type != FILTER_NIL) {
            return fail(run, "`in` wants a list or a map, not %s", type_name(b));
        }
        *a = of_bool(false);
        return true;
    }
    size_t count = list_count(b);
    yyjson_arr_iter walk;
    if (!b->literal) {
        yyjson_arr_iter_init(json_of(b), &walk);
    }
    for (size_t i = 0; !found && i < count; i++) {
        struct filter_value item = b->literal ? b->as.list.items[i]
                                              : of_json(yyjson_arr_iter_next(&walk));
        if (!equal(run, a, &item, 0, &found)) {
            return false;
        }
    }
    *a = of_bool(found);
    return true;
}

static bool op_text(struct run *run, enum filter_op_code code, struct filter_value *a,
                    const struct filter_value *b)
{
    static const char *const names[] = {"contains", "startsWith", "endsWith"};
    if (a->type != FILTER_STRING || b->type != FILTER_STRING) {
        const char *hint = code == FILTER_OP_CONTAINS && a->type == FILTER_LIST
                               ? "; for a list write: item in list"
                               : "";
        return fail(run, "%s wants two texts, not %s and %s%s", names[code - FILTER_OP_CONTAINS],
                    type_name(a), type_name(b), hint);
    }
    struct slice text = a->as.text, part = b->as.text;
    bool truth = part.bytes <= text.bytes;
    if (truth && part.bytes > 0) {
        const uint8_t *end = text.at + text.bytes - part.bytes;
        truth = code == FILTER_OP_CONTAINS
                    ? memmem(text.at, text.bytes, part.at, part.bytes) != NULL
                    : memcmp(code == FILTER_OP_STARTS ? text.at : end, part.at, part.bytes) == 0;
    }
    *a = of_bool(truth);
    return charge(run, (code == FILTER_OP_CONTAINS ? text.bytes : part.bytes) / 16);
}

static bool op_matches(struct run *run, const struct filter_op *op, struct filter_value *a)
{
    uint64_t steps = 0;
    if (a->type != FILTER_STRING) {
        return fail(run, "matches wants text, not %s", type_name(a));
    }
    int found = filter_regex_match(run->event->scratch->regex, op->regex, a->as.text,
                                   run->steps_left / 4, &steps, run->event->why);
    run->steps_left -= steps * 4 > run->steps_left ? run->steps_left : steps * 4;
    if (found < 0) {
        return false;
    }
    *a = of_bool(found == 1);
    return true;
}

/* ---- arithmetic */

static bool join(struct run *run, struct filter_value *a, const struct filter_value *b)
{
    size_t bytes = a->as.text.bytes + b->as.text.bytes;
    uint8_t *text = scratch_take(run->event->scratch, bytes + 1);
    if (!text) {
        return fail(run, "the expression needs too much memory on this event");
    }
    if (a->as.text.bytes > 0) {
        memcpy(text, a->as.text.at, a->as.text.bytes);
    }
    if (b->as.text.bytes > 0) {
        memcpy(text + a->as.text.bytes, b->as.text.at, b->as.text.bytes);
    }
    *a = of_text(slice_of(text, bytes));
    return charge(run, bytes / 16);
}

static bool op_integers(struct run *run, enum filter_op_code code, struct filter_value *a,
                        const struct filter_value *b)
{
    int64_t x = a->as.integer, y = b->as.integer, result = 0;
    bool overflow = code == FILTER_OP_ADD        ? __builtin_add_overflow(x, y, &result)
                    : code == FILTER_OP_SUBTRACT ? __builtin_sub_overflow(x, y, &result)
                                                 : __builtin_mul_overflow(x, y, &result);
    if (overflow) {
        return fail(run, "the number does not fit 64 bits");
    }
    *a = of_int(result);
    return true;
}

static bool op_arithmetic(struct run *run, enum filter_op_code code, struct filter_value *a,
                          const struct filter_value *b)
{
    static const char signs[] = {'+', '-', '*', '/', '%'};
    if (code == FILTER_OP_ADD && a->type == FILTER_STRING && b->type == FILTER_STRING) {
        return join(run, a, b);
    }
    if (!is_number(a) || !is_number(b)) {
        return fail(run, "cannot calculate %s %c %s", type_name(a), signs[code - FILTER_OP_ADD],
                    type_name(b));
    }
    if (code == FILTER_OP_MODULO) {
        if (a->type != FILTER_INT || b->type != FILTER_INT || b->as.integer == 0) {
            return fail(run, "%% wants two whole numbers, the second not 0");
        }
        *a = of_int(b->as.integer == -1 ? 0 : a->as.integer % b->as.integer);
        return true;
    }
    if (code != FILTER_OP_DIVIDE && a->type == FILTER_INT && b->type == FILTER_INT) {
        return op_integers(run, code, a, b);
    }
    double x = real_of(a), y = real_of(b);
    if (code == FILTER_OP_DIVIDE && y == 0) {
        return fail(run, "division by 0");
    }
    *a = of_real(code == FILTER_OP_ADD        ? x + y
                 : code == FILTER_OP_SUBTRACT ? x - y
                 : code == FILTER_OP_MULTIPLY ? x * y
                                              : x / y);
    return true;
}

static bool op_negate(struct run *run, struct filter_value *a)
{
    if (a->type == FILTER_FLOAT) {
        a->as.real = -a->as.real;
        return true;
    }
    if (a->type != FILTER_INT || a->as.integer == INT64_MIN) {
        return fail(run, "cannot take the negative of %s", type_name(a));
    }
    a->as.integer = -a->as.integer;
    return true;
}

/* ---- functions */

static bool call_len(struct run *run, struct filter_value *a)
{
    size_t count = 0;
    if (a->type == FILTER_STRING) {
        for (size_t i = 0; i < a->as.text.bytes; i++) { /* of characters, not of bytes */
            count += (a->as.text.at[i] & 0xc0) != 0x80;
        }
        if (!charge(run, a->as.text.bytes / 16)) {
            return false;
        }
    } else if (a->type == FILTER_LIST) {
        count = list_count(a);
    } else if (is_headers(a)) {
        count = run->event->head ? run->event->head->header_count : 0;
    } else if (a->type == FILTER_MAP) {
        count = yyjson_obj_size(json_of(a));
    } else {
        return fail(run, "len wants text, a list or a map, not %s", type_name(a));
    }
    *a = of_int((int64_t)count);
    return true;
}

static bool call_case(struct run *run, struct filter_value *a, enum filter_function function)
{
    struct slice text = a->as.text;
    uint8_t *copy = scratch_take(run->event->scratch, text.bytes + 1);
    if (!copy) {
        return fail(run, "the expression needs too much memory on this event");
    }
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = ascii_lower(text.at[i]);
        bool upper = function == FILTER_UPPER;
        copy[i] = upper && c >= 'a' && c <= 'z' ? (uint8_t)(c - 32) : upper ? text.at[i] : c;
    }
    *a = of_text(slice_of(copy, text.bytes));
    return charge(run, text.bytes / 4);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool call_trim(struct run *run, struct filter_value *a)
{
    struct slice *text = &a->as.text;
    size_t before = text->bytes;
    while (text->bytes > 0 && is_space(text->at[0])) {
        text->at++;
        text->bytes--;
    }
    while (text->bytes > 0 && is_space(text->at[text->bytes - 1])) {
        text->bytes--;
    }
    return charge(run, (before - text->bytes) / 16);
}

/* Numbers and texts that are numbers as a whole. */
static bool call_number(struct run *run, struct filter_value *a, bool whole)
{
    if (a->type == FILTER_STRING) {
        char text[64], *end = text;
        size_t bytes = a->as.text.bytes;
        bool plain = bytes > 0 && bytes < sizeof text;
        for (size_t i = 0; plain && i < bytes; i++) {
            uint8_t c = a->as.text.at[i];
            plain = (c >= '0' && c <= '9') || strchr(whole ? "+-" : "+-.eE", c);
            text[i] = (char)c;
        }
        text[plain ? bytes : 0] = '\0';
        if (plain && whole) {
            errno = 0;
            long long integer = strtoll(text, &end, 10);
            if (errno == ERANGE) {
                return fail(run, "the number does not fit 64 bits");
            }
            *a = of_int(integer);
        } else if (plain) {
            *a = of_real(strtod(text, &end));
        }
        return plain && end != text && *end == '\0'
                   ? true
                   : fail(run, "%s: the text is no number", whole ? "int" : "float");
    }
    if (!is_number(a)) {
        return fail(run, "%s wants a number or text, not %s", whole ? "int" : "float",
                    type_name(a));
    }
    if (!whole) {
        *a = of_real(real_of(a));
        return true;
    }
    if (a->type == FILTER_FLOAT) {
        double real = a->as.real;
        if (!(real > -9223372036854775808.0 && real < 9223372036854775808.0)) {
            return fail(run, "the number does not fit 64 bits");
        }
        *a = of_int((int64_t)real);
    }
    return true;
}

static bool op_call(struct run *run, enum filter_function function, struct filter_value *a)
{
    struct slice text;
    switch (function) {
    case FILTER_LEN:
        return call_len(run, a);
    case FILTER_LOWER:
    case FILTER_UPPER:
    case FILTER_TRIM:
        if (a->type != FILTER_STRING) {
            return fail(run, "%s wants text, not %s", filter_function_names[function],
                        type_name(a));
        }
        return function == FILTER_TRIM ? call_trim(run, a) : call_case(run, a, function);
    case FILTER_TO_INT:
    case FILTER_TO_FLOAT:
        return call_number(run, a, function == FILTER_TO_INT);
    case FILTER_TO_STRING:
        if (!filter_value_text(run->event, a, &text)) {
            return fail(run, "string wants a simple value, not %s", type_name(a));
        }
        *a = of_text(text);
        return true;
    case FILTER_FUNCTION_COUNT:
        break;
    }
    bk_never("no such function");
}

/* ---- the machine */

static bool want_bool(struct run *run, const struct filter_value *value)
{
    return value->type == FILTER_BOOL ||
           fail(run, "a condition must be true or false, not %s", type_name(value));
}

static bool op_list(struct run *run, const struct filter_op *op)
{
    bk_assert(op->count <= run->depth);
    struct filter_value *items =
        scratch_take(run->event->scratch, (op->count + 1) * sizeof *items);
    if (!items) {
        return fail(run, "the expression needs too much memory on this event");
    }
    run->depth -= op->count;
    memcpy(items, &run->stack[run->depth], op->count * sizeof *items);
    run->stack[run->depth++] = (struct filter_value){
        .type = FILTER_LIST, .literal = true, .as.list = {.items = items, .count = op->count}};
    return true;
}

/* Values that come from nowhere else. */
static bool op_push(struct run *run, const struct filter_op *op)
{
    bk_assert(run->depth < FILTER_STACK_MAX);
    struct filter_value *to = &run->stack[run->depth++];
    switch ((int)op->code) {
    case FILTER_OP_CONST:
        *to = op->value;
        return true;
    case FILTER_OP_BODY:
        return push_body(run, to);
    case FILTER_OP_HEADERS:
        *to = (struct filter_value){.type = FILTER_MAP};
        return true;
    default:
        *to = of_text(op->code == FILTER_OP_TYPE ? run->event->type : run->event->source);
        return true;
    }
}

static bool op_unary(struct run *run, const struct filter_op *op)
{
    bk_assert(run->depth >= 1);
    struct filter_value *a = &run->stack[run->depth - 1];
    switch ((int)op->code) {
    case FILTER_OP_FIELD:
        return member(run, a, op->value.as.text, a);
    case FILTER_OP_MATCHES:
        return op_matches(run, op, a);
    case FILTER_OP_NOT:
        if (!want_bool(run, a)) {
            return false;
        }
        a->as.truth = !a->as.truth;
        return true;
    case FILTER_OP_NEGATE:
        return op_negate(run, a);
    case FILTER_OP_CALL:
        return op_call(run, (enum filter_function)op->count, a);
    default:
        return want_bool(run, a);
    }
}

static bool op_binary(struct run *run, const struct filter_op *op)
{
    bk_assert(run->depth >= 2);
    struct filter_value *b = &run->stack[--run->depth], *a = b - 1;
    bool same;
    switch ((int)op->code) {
    case FILTER_OP_INDEX:
        return op_index(run, a, b);
    case FILTER_OP_EQUAL:
    case FILTER_OP_UNEQUAL:
        if (!equal(run, a, b, 0, &same)) {
            return false;
        }
        *a = of_bool(same == (op->code == FILTER_OP_EQUAL));
        return true;
    case FILTER_OP_LESS:
    case FILTER_OP_LESS_EQUAL:
    case FILTER_OP_MORE:
    case FILTER_OP_MORE_EQUAL:
        return op_order(run, op->code, a, b);
    case FILTER_OP_IN:
        return op_in(run, a, b);
    case FILTER_OP_CONTAINS:
    case FILTER_OP_STARTS:
    case FILTER_OP_ENDS:
        return op_text(run, op->code, a, b);
    default:
        return op_arithmetic(run, op->code, a, b);
    }
}

/* Where to go on: `next`, or the jump's target. */
static bool op_jump(struct run *run, const struct filter_op *op, uint32_t next, uint32_t *ret_next)
{
    bool jump = true, pop = false;
    if (op->code != FILTER_OP_JUMP) {
        bk_assert(run->depth >= 1);
        const struct filter_value *a = &run->stack[run->depth - 1];
        bool nil = a->type == FILTER_NIL;
        if (op->code == FILTER_OP_JUMP_NIL || op->code == FILTER_OP_JUMP_VALUE) {
            jump = nil == (op->code == FILTER_OP_JUMP_NIL);
            pop = op->code == FILTER_OP_JUMP_VALUE && !jump;
        } else if (!want_bool(run, a)) {
            return false;
        } else {
            jump = a->as.truth == (op->code == FILTER_OP_JUMP_TRUE);
            pop = op->code == FILTER_OP_BRANCH || !jump;
        }
    }
    run->depth -= pop ? 1 : 0;
    *ret_next = jump ? op->target : next;
    return true;
}

static bool step(struct run *run, const struct filter_op *op, uint32_t next, uint32_t *ret_next)
{
    *ret_next = next;
    switch (op->code) {
    case FILTER_OP_CONST:
    case FILTER_OP_BODY:
    case FILTER_OP_HEADERS:
    case FILTER_OP_TYPE:
    case FILTER_OP_SOURCE:
        return op_push(run, op);
    case FILTER_OP_LIST:
        return op_list(run, op);
    case FILTER_OP_SLICE:
        bk_assert(run->depth >= 3);
        run->depth -= 2;
        return op_slice(run, &run->stack[run->depth - 1], &run->stack[run->depth]);
    case FILTER_OP_FIELD:
    case FILTER_OP_MATCHES:
    case FILTER_OP_NOT:
    case FILTER_OP_NEGATE:
    case FILTER_OP_CALL:
    case FILTER_OP_BOOL:
        return op_unary(run, op);
    case FILTER_OP_INDEX:
    case FILTER_OP_EQUAL:
    case FILTER_OP_UNEQUAL:
    case FILTER_OP_LESS:
    case FILTER_OP_LESS_EQUAL:
    case FILTER_OP_MORE:
    case FILTER_OP_MORE_EQUAL:
    case FILTER_OP_IN:
    case FILTER_OP_CONTAINS:
    case FILTER_OP_STARTS:
    case FILTER_OP_ENDS:
    case FILTER_OP_ADD:
    case FILTER_OP_SUBTRACT:
    case FILTER_OP_MULTIPLY:
    case FILTER_OP_DIVIDE:
    case FILTER_OP_MODULO:
        return op_binary(run, op);
    case FILTER_OP_JUMP:
    case FILTER_OP_JUMP_FALSE:
    case FILTER_OP_JUMP_TRUE:
    case FILTER_OP_JUMP_NIL:
    case FILTER_OP_JUMP_VALUE:
    case FILTER_OP_BRANCH:
        return op_jump(run, op, next, ret_next);
    }
    bk_never("no such operation");
}

bool filter_evaluate(const struct filter *filter, struct filter_event *event,
                     struct filter_value *ret_value)
{
    struct run run;
    uint64_t budget = event->steps_left < FILTER_STEPS_MAX ? event->steps_left : FILTER_STEPS_MAX;
    run.event = event;
    run.steps_left = budget;
    run.depth = 0;
    bool good = true;
    for (uint32_t at = 0; good && at < filter->op_count;) {
        uint32_t next = at + 1;
        good = charge(&run, 1) && step(&run, &filter->ops[at], next, &next);
        bk_assert(next > at);
        at = next;
    }
    event->steps_left -= budget - run.steps_left;
    if (good) {
        bk_assert(run.depth == 1);
        *ret_value = run.stack[0];
    }
    return good;
}

enum filter_result filter_test(const struct filter *filter, struct filter_event *event)
{
    struct filter_value value;
    if (!filter_evaluate(filter, event, &value)) {
        return FILTER_FAILED;
    }
    if (value.type != FILTER_BOOL) {
        snprintf(event->why, sizeof event->why, "the expression gives %s, not true or false",
                 type_name(&value));
        return FILTER_FAILED;
    }
    return value.as.truth ? FILTER_TRUE : FILTER_FALSE;
}

bool filter_value_text(struct filter_event *event, const struct filter_value *value,
                       struct slice *ret_text)
{
    char text[40];
    int bytes = 0;
    switch (value->type) {
    case FILTER_STRING:
        *ret_text = value->as.text;
        return true;
    case FILTER_NIL:
        *ret_text = SLICE_EMPTY;
        return true;
    case FILTER_BOOL:
        *ret_text = value->as.truth ? SLICE("true") : SLICE("false");
        return true;
    case FILTER_INT:
        bytes = snprintf(text, sizeof text, "%lld", (long long)value->as.integer);
        break;
    case FILTER_FLOAT:
        bytes = snprintf(text, sizeof text, "%.15g", value->as.real);
        if (strtod(text, NULL) != value->as.real) {
            bytes = snprintf(text, sizeof text, "%.17g", value->as.real);
        }
        break;
    case FILTER_LIST:
    case FILTER_MAP:
        return false;
    }
    char *copy = scratch_take(event->scratch, sizeof text);
    if (!copy) {
        return false;
    }
    memcpy(copy, text, (size_t)bytes);
    *ret_text = slice_of(copy, (size_t)bytes);
    return true;
}

/* ---- sets */

static bool type_wanted(const struct filter_set *set, struct slice type)
{
    for (unsigned i = 0; i < set->type_count; i++) {
        struct slice want = set->types[i];
        bool open = want.bytes > 0 && want.at[want.bytes - 1] == '*';
        if (open ? slice_starts(type, slice_of(want.at, want.bytes - 1))
                 : slice_equal(type, want)) {
            return true;
        }
    }
    return set->type_count == 0;
}

enum filter_result filter_set_test(const struct filter_set *set, struct filter_event *event)
{
    if (!type_wanted(set, event->type)) {
        return FILTER_FALSE;
    }
    for (unsigned i = 0; i < set->count; i++) {
        enum filter_result result = filter_test(set->filters[i], event);
        if (result == FILTER_FAILED || (result == FILTER_TRUE) == set->any) {
            return result;
        }
    }
    return set->count == 0 || !set->any ? FILTER_TRUE : FILTER_FALSE;
}

struct filter_set *filter_set_make(struct filter *const *filters, unsigned count, bool any,
                                   const struct slice *types, unsigned type_count)
{
    size_t bytes = sizeof(struct filter_set) + count * sizeof(struct filter *) +
                   type_count * sizeof *types;
    size_t text = bytes;
    for (unsigned i = 0; i < type_count; i++) {
        bytes += types[i].bytes;
    }
    struct filter_set *set = calloc(1, bytes);
    if (!set) {
        return NULL;
    }
    uint8_t *at = (uint8_t *)set + text;
    set->types = (struct slice *)(void *)(set + 1);
    set->filters = (struct filter **)(void *)(set->types + type_count);
    set->count = count;
    set->any = any;
    set->type_count = type_count;
    if (count > 0) {
        memcpy(set->filters, filters, count * sizeof(struct filter *));
    }
    for (unsigned i = 0; i < type_count; i++) {
        memcpy(at, types[i].at, types[i].bytes);
        set->types[i] = slice_of(at, types[i].bytes);
        at += types[i].bytes;
    }
    return set;
}

void filter_set_free(struct filter_set *set)
{
    for (unsigned i = 0; set && i < set->count; i++) {
        filter_free(set->filters[i]);
    }
    free(set);
}
