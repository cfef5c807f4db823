/* filter.c - running a compiled expression on an event; contract in routes/filter.h. */
#include "base/assert.h"
#include "hub/routes/filter_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yyjson.h>

/* ---- what every part of a run needs */

bool filter_fail(struct filter_run *run, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(run->event->why, sizeof run->event->why, format, args);
    va_end(args);
    return false;
}

bool filter_charge(struct filter_run *run, uint64_t steps)
{
    if (steps > run->steps_left) {
        run->steps_left = 0;
        return filter_fail(run, "the expression takes too many steps on this event");
    }
    run->steps_left -= steps;
    return true;
}

const char *filter_type_name(const struct filter_value *value)
{
    static const char *const names[] = {"nothing", "a truth value", "a number", "a number",
                                        "text",    "a list",        "a map"};
    return names[value->type];
}

struct filter_value filter_of_json(yyjson_val *json)
{
    struct filter_value value = {.type = FILTER_NIL};
    switch (yyjson_get_type(json)) {
    case YYJSON_TYPE_BOOL:
        return filter_of_bool(yyjson_get_bool(json));
    case YYJSON_TYPE_NUM:
        if (yyjson_is_sint(json)) {
            return filter_of_int(yyjson_get_sint(json));
        }
        if (yyjson_is_uint(json) && yyjson_get_uint(json) <= INT64_MAX) {
            return filter_of_int((int64_t)yyjson_get_uint(json));
        }
        return filter_of_real(yyjson_is_uint(json) ? (double)yyjson_get_uint(json)
                                                   : yyjson_get_real(json));
    case YYJSON_TYPE_RAW: /* a number that fits no 64 bits */
        return filter_of_real(strtod(yyjson_get_raw(json), NULL));
    case YYJSON_TYPE_STR:
        return filter_of_text(slice_of(yyjson_get_str(json), yyjson_get_len(json)));
    case YYJSON_TYPE_ARR:
    case YYJSON_TYPE_OBJ:
        value.type = yyjson_is_arr(json) ? FILTER_LIST : FILTER_MAP;
        value.as.json = json;
        return value;
    default:
        return value;
    }
}

/* ---- the machine */

static bool want_bool(struct filter_run *run, const struct filter_value *value)
{
    return value->type == FILTER_BOOL ||
           filter_fail(run, "a condition must be true or false, not %s", filter_type_name(value));
}

static bool op_list(struct filter_run *run, const struct filter_op *op)
{
    bk_assert(op->count <= run->depth);
    struct filter_value *items =
        filter_scratch_take(run->event->scratch, (op->count + 1) * sizeof *items);
    if (!items) {
        return filter_fail(run, "the expression needs too much memory on this event");
    }
    run->depth -= op->count;
    memcpy(items, &run->stack[run->depth], op->count * sizeof *items);
    run->stack[run->depth++] = (struct filter_value){
        .type = FILTER_LIST, .literal = true, .as.list = {.items = items, .count = op->count}};
    return true;
}

/* Values that come from nowhere else. */
static bool op_push(struct filter_run *run, const struct filter_op *op)
{
    bk_assert(run->depth < FILTER_STACK_MAX);
    struct filter_value *to = &run->stack[run->depth++];
    switch ((int)op->code) {
    case FILTER_OP_CONST:
        *to = op->value;
        return true;
    case FILTER_OP_BODY:
        return filter_push_body(run, to);
    case FILTER_OP_HEADERS:
        *to = (struct filter_value){.type = FILTER_MAP};
        return true;
    default:
        *to = filter_of_text(op->code == FILTER_OP_TYPE ? run->event->type : run->event->source);
        return true;
    }
}

static bool op_unary(struct filter_run *run, const struct filter_op *op)
{
    bk_assert(run->depth >= 1);
    struct filter_value *a = &run->stack[run->depth - 1];
    switch ((int)op->code) {
    case FILTER_OP_FIELD:
        return filter_take_member(run, a, op->value.as.text, a);
    case FILTER_OP_MATCHES:
        return filter_matches(run, op, a);
    case FILTER_OP_NOT:
        if (!want_bool(run, a)) {
            return false;
        }
        a->as.truth = !a->as.truth;
        return true;
    case FILTER_OP_NEGATE:
        return filter_negate(run, a);
    case FILTER_OP_CALL:
        return filter_call(run, (enum filter_function)op->count, a);
    default:
        return want_bool(run, a);
    }
}

static bool op_binary(struct filter_run *run, const struct filter_op *op)
{
    bk_assert(run->depth >= 2);
    struct filter_value *b = &run->stack[--run->depth], *a = b - 1;
    bool same;
    switch ((int)op->code) {
    case FILTER_OP_INDEX:
        return filter_take_index(run, a, b);
    case FILTER_OP_EQUAL:
    case FILTER_OP_UNEQUAL:
        if (!filter_equal(run, a, b, 0, &same)) {
            return false;
        }
        *a = filter_of_bool(same == (op->code == FILTER_OP_EQUAL));
        return true;
    case FILTER_OP_LESS:
    case FILTER_OP_LESS_EQUAL:
    case FILTER_OP_MORE:
    case FILTER_OP_MORE_EQUAL:
        return filter_order(run, op->code, a, b);
    case FILTER_OP_IN:
        return filter_in(run, a, b);
    case FILTER_OP_CONTAINS:
    case FILTER_OP_STARTS:
    case FILTER_OP_ENDS:
        return filter_text_test(run, op->code, a, b);
    default:
        return filter_arithmetic(run, op->code, a, b);
    }
}

/* Where to go on: `next`, or the jump's target. */
static bool op_jump(struct filter_run *run, const struct filter_op *op, uint32_t next,
                    uint32_t *ret_next)
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

static bool step(struct filter_run *run, const struct filter_op *op, uint32_t next,
                 uint32_t *ret_next)
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
        return filter_take_slice(run, &run->stack[run->depth - 1], &run->stack[run->depth]);
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
    struct filter_run run;
    uint64_t budget = event->steps_left < FILTER_STEPS_MAX ? event->steps_left : FILTER_STEPS_MAX;
    run.event = event;
    run.steps_left = budget;
    run.depth = 0;
    bool good = true;
    for (uint32_t at = 0; good && at < filter->op_count;) {
        uint32_t next = at + 1;
        good = filter_charge(&run, 1) && step(&run, &filter->ops[at], next, &next);
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
                 filter_type_name(&value));
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
    char *copy = filter_scratch_take(event->scratch, sizeof text);
    if (!copy) {
        return false;
    }
    memcpy(copy, text, (size_t)bytes);
    *ret_text = slice_of(copy, (size_t)bytes);
    return true;
}
