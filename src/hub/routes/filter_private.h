/* filter_private.h - the program of a filter; for filter*.c only. */
#ifndef BECKET_HUB_FILTER_PRIVATE_H
#define BECKET_HUB_FILTER_PRIVATE_H

#define PCRE2_CODE_UNIT_WIDTH 8

#include "hub/routes/filter.h"

#include <pcre2.h>

/* A stack machine. "pops a, b" means b was on top. */
enum filter_op_code {
    FILTER_OP_CONST,      /* pushes `value` */
    FILTER_OP_BODY,       /* pushes the JSON body */
    FILTER_OP_HEADERS,    /* pushes the headers */
    FILTER_OP_TYPE,       /* pushes the event's type */
    FILTER_OP_SOURCE,     /* pushes the event source's name */
    FILTER_OP_FIELD,      /* pops a map, pushes its member `value` (text) */
    FILTER_OP_INDEX,      /* pops what, index */
    FILTER_OP_SLICE,      /* pops what, from, to; nil = open */
    FILTER_OP_LIST,       /* pops `count` values, pushes them as a list */
    FILTER_OP_EQUAL,
    FILTER_OP_UNEQUAL,
    FILTER_OP_LESS,
    FILTER_OP_LESS_EQUAL,
    FILTER_OP_MORE,
    FILTER_OP_MORE_EQUAL,
    FILTER_OP_IN,
    FILTER_OP_CONTAINS,
    FILTER_OP_STARTS,
    FILTER_OP_ENDS,
    FILTER_OP_MATCHES,    /* pops a text; `regex` */
    FILTER_OP_NOT,
    FILTER_OP_NEGATE,
    FILTER_OP_ADD,
    FILTER_OP_SUBTRACT,
    FILTER_OP_MULTIPLY,
    FILTER_OP_DIVIDE,
    FILTER_OP_MODULO,
    FILTER_OP_CALL,       /* pops one argument; `count` is enum filter_function */
    FILTER_OP_BOOL,       /* the top must be true or false */
    FILTER_OP_JUMP,       /* to `target`; targets are always ahead, so every program ends */
    FILTER_OP_JUMP_FALSE, /* when the top is false: jump and leave it; else pop it */
    FILTER_OP_JUMP_TRUE,
    FILTER_OP_JUMP_NIL,   /* when the top is nil: jump and leave it; else leave it */
    FILTER_OP_JUMP_VALUE, /* when the top is not nil: jump and leave it; else pop it */
    FILTER_OP_BRANCH,     /* pops a condition; jumps when it is false */
};

enum filter_function {
    FILTER_LEN,
    FILTER_LOWER,
    FILTER_UPPER,
    FILTER_TRIM,
    FILTER_TO_STRING,
    FILTER_TO_INT,
    FILTER_TO_FLOAT,
    FILTER_FUNCTION_COUNT
};

/* What an operator is called in messages. */
extern const char *const filter_function_names[FILTER_FUNCTION_COUNT];

struct filter_op {
    enum filter_op_code code;
    uint32_t count;
    uint32_t target;
    struct filter_value value;
    pcre2_code *regex; /* owned */
};

#define FILTER_STACK_MAX 128U
#define FILTER_LIST_ITEMS_MAX 64U

struct filter {
    uint32_t op_count;
    uint32_t stack_max;
    struct filter_op *ops; /* in this block, as are the texts behind them */
};

/* ---- filter_regex.c */

struct filter_regex; /* per core: match data and its memory */

/* A pattern that can only match in bounded steps. NULL: *ret_error_at and ret_why are set. */
pcre2_code *filter_regex_compile(struct slice pattern, size_t *ret_error_at,
                                 char ret_why[FILTER_WHY_BYTES]);
#define FILTER_REGEX_MEMORY_BYTES (4U << 20)
/* `memory` is FILTER_REGEX_MEMORY_BYTES, for all that PCRE2 takes in matches. NULL = too little. */
struct filter_regex *filter_regex_open(void *memory);
/* 1 matches, 0 does not, -1 failed (ret_why). *ret_steps: what it cost, at most a little more than
 * steps_max. */
int filter_regex_match(struct filter_regex *regex, const pcre2_code *code, struct slice text,
                       uint64_t steps_max, uint64_t *ret_steps, char ret_why[FILTER_WHY_BYTES]);

#endif
