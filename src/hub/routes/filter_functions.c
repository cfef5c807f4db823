/* filter_functions.c - len, lower, upper, trim, string, int, float */
#include "base/assert.h"
#include "hub/routes/filter_run.h"

#include <errno.h>
#include <stdlib.h>
#include <yyjson.h>

static bool call_len(struct filter_run *run, struct filter_value *a)
{
    size_t count = 0;
    if (a->type == FILTER_STRING) {
        for (size_t i = 0; i < a->as.text.bytes; i++) { /* of characters, not of bytes */
            count += (a->as.text.at[i] & 0xc0) != 0x80;
        }
        if (!filter_charge(run, a->as.text.bytes / 16)) {
            return false;
        }
    } else if (a->type == FILTER_LIST) {
        count = filter_list_count(a);
    } else if (filter_is_headers(a)) {
        count = run->event->head ? run->event->head->header_count : 0;
    } else if (a->type == FILTER_MAP) {
        count = yyjson_obj_size(filter_json_of(a));
    } else {
        return filter_fail(run, "len wants text, a list or a map, not %s", filter_type_name(a));
    }
    *a = filter_of_int((int64_t)count);
    return true;
}

static bool call_case(struct filter_run *run, struct filter_value *a, enum filter_function function)
{
    struct slice text = a->as.text;
    uint8_t *copy = filter_scratch_take(run->event->scratch, text.bytes + 1);
    if (!copy) {
        return filter_fail(run, "the expression needs too much memory on this event");
    }
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = ascii_lower(text.at[i]);
        bool upper = function == FILTER_UPPER;
        copy[i] = upper && c >= 'a' && c <= 'z' ? (uint8_t)(c - 32) : upper ? text.at[i] : c;
    }
    *a = filter_of_text(slice_of(copy, text.bytes));
    return filter_charge(run, text.bytes / 4);
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool call_trim(struct filter_run *run, struct filter_value *a)
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
    return filter_charge(run, (before - text->bytes) / 16);
}

/* Numbers and texts that are numbers as a whole. */
static bool call_number(struct filter_run *run, struct filter_value *a, bool whole)
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
                return filter_fail(run, "the number does not fit 64 bits");
            }
            *a = filter_of_int(integer);
        } else if (plain) {
            *a = filter_of_real(strtod(text, &end));
        }
        return plain && end != text && *end == '\0'
                   ? true
                   : filter_fail(run, "%s: the text is no number", whole ? "int" : "float");
    }
    if (!filter_is_number(a)) {
        return filter_fail(run, "%s wants a number or text, not %s", whole ? "int" : "float",
                           filter_type_name(a));
    }
    if (!whole) {
        *a = filter_of_real(filter_real_of(a));
        return true;
    }
    if (a->type == FILTER_FLOAT) {
        double real = a->as.real;
        if (!(real > -9223372036854775808.0 && real < 9223372036854775808.0)) {
            return filter_fail(run, "the number does not fit 64 bits");
        }
        *a = filter_of_int((int64_t)real);
    }
    return true;
}

bool filter_call(struct filter_run *run, enum filter_function function, struct filter_value *a)
{
    struct slice text;
    switch (function) {
    case FILTER_LEN:
        return call_len(run, a);
    case FILTER_LOWER:
    case FILTER_UPPER:
    case FILTER_TRIM:
        if (a->type != FILTER_STRING) {
            return filter_fail(run, "%s wants text, not %s", filter_function_names[function],
                               filter_type_name(a));
        }
        return function == FILTER_TRIM ? call_trim(run, a) : call_case(run, a, function);
    case FILTER_TO_INT:
    case FILTER_TO_FLOAT:
        return call_number(run, a, function == FILTER_TO_INT);
    case FILTER_TO_STRING:
        if (!filter_value_text(run->event, a, &text)) {
            return filter_fail(run, "string wants a simple value, not %s", filter_type_name(a));
        }
        *a = filter_of_text(text);
        return true;
    case FILTER_FUNCTION_COUNT:
        break;
    }
    bk_never("no such function");
}
