/* filter_arithmetic.c - + - * / % on numbers, + on texts */
#include "hub/routes/filter_run.h"

static bool join(struct filter_run *run, struct filter_value *a, const struct filter_value *b)
{
    size_t bytes = a->as.text.bytes + b->as.text.bytes;
    uint8_t *text = filter_scratch_take(run->event->scratch, bytes + 1);
    if (!text) {
        return filter_fail(run, "the expression needs too much memory on this event");
    }
    if (a->as.text.bytes > 0) {
        memcpy(text, a->as.text.at, a->as.text.bytes);
    }
    if (b->as.text.bytes > 0) {
        memcpy(text + a->as.text.bytes, b->as.text.at, b->as.text.bytes);
    }
    *a = filter_of_text(slice_of(text, bytes));
    return filter_charge(run, bytes / 16);
}

static bool op_integers(struct filter_run *run, enum filter_op_code code, struct filter_value *a,
                        const struct filter_value *b)
{
    int64_t x = a->as.integer, y = b->as.integer, result = 0;
    bool overflow = code == FILTER_OP_ADD        ? __builtin_add_overflow(x, y, &result)
                    : code == FILTER_OP_SUBTRACT ? __builtin_sub_overflow(x, y, &result)
                                                 : __builtin_mul_overflow(x, y, &result);
    if (overflow) {
        return filter_fail(run, "the number does not fit 64 bits");
    }
    *a = filter_of_int(result);
    return true;
}

bool filter_arithmetic(struct filter_run *run, enum filter_op_code code, struct filter_value *a,
                       const struct filter_value *b)
{
    static const char signs[] = {'+', '-', '*', '/', '%'};
    if (code == FILTER_OP_ADD && a->type == FILTER_STRING && b->type == FILTER_STRING) {
        return join(run, a, b);
    }
    if (!filter_is_number(a) || !filter_is_number(b)) {
        return filter_fail(run, "cannot calculate %s %c %s", filter_type_name(a),
                           signs[code - FILTER_OP_ADD], filter_type_name(b));
    }
    if (code == FILTER_OP_MODULO) {
        if (a->type != FILTER_INT || b->type != FILTER_INT || b->as.integer == 0) {
            return filter_fail(run, "%% wants two whole numbers, the second not 0");
        }
        *a = filter_of_int(b->as.integer == -1 ? 0 : a->as.integer % b->as.integer);
        return true;
    }
    if (code != FILTER_OP_DIVIDE && a->type == FILTER_INT && b->type == FILTER_INT) {
        return op_integers(run, code, a, b);
    }
    double x = filter_real_of(a), y = filter_real_of(b);
    if (code == FILTER_OP_DIVIDE && y == 0) {
        return filter_fail(run, "division by 0");
    }
    *a = filter_of_real(code == FILTER_OP_ADD        ? x + y
                        : code == FILTER_OP_SUBTRACT ? x - y
                        : code == FILTER_OP_MULTIPLY ? x * y
                                                     : x / y);
    return true;
}

bool filter_negate(struct filter_run *run, struct filter_value *a)
{
    if (a->type == FILTER_FLOAT) {
        a->as.real = -a->as.real;
        return true;
    }
    if (a->type != FILTER_INT || a->as.integer == INT64_MIN) {
        return filter_fail(run, "cannot take the negative of %s", filter_type_name(a));
    }
    a->as.integer = -a->as.integer;
    return true;
}
