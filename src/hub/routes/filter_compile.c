/* filter_compile.c - from an expression's text to its program: precedence climbing in one pass,
 * each operator written out as soon as its operands are. Contract in routes/filter.h. */
#include "base/assert.h"
#include "base/nearest.h"
#include "hub/routes/filter_lex.h"

#include <stdio.h>
#include <stdlib.h>

const char *const filter_function_names[FILTER_FUNCTION_COUNT] = {
    "len", "lower", "upper", "trim", "string", "int", "float"};

/* What is known of a value before any event. */
enum known { KNOWN_NOT, KNOWN_BOOL, KNOWN_NUMBER, KNOWN_TEXT, KNOWN_NIL, KNOWN_LIST, KNOWN_MAP };

struct compile {
    struct filter_lexer lexer;
    enum filter_kind kind;
    unsigned nesting;
    unsigned stack;
    unsigned stack_max;
    uint32_t op_count;
    bool no_memory;
    struct filter_op ops[FILTER_OPS_MAX];
};

/* ---- writing the program */

/* Returns its index; `pushes` is what it adds to the stack, less what it pops. */
static uint32_t emit(struct compile *compile, enum filter_op_code code, int pushes)
{
    if (compile->op_count == FILTER_OPS_MAX) {
        filter_lex_wrong(&compile->lexer, compile->lexer.token.at, "the expression is too long");
    }
    if (compile->lexer.failed) {
        return 0;
    }
    compile->stack = (unsigned)((int)compile->stack + pushes);
    if (compile->stack > compile->stack_max) {
        compile->stack_max = compile->stack;
        if (compile->stack > FILTER_STACK_MAX) {
            filter_lex_wrong(&compile->lexer, compile->lexer.token.at,
                             "the expression is nested too deeply");
        }
    }
    compile->ops[compile->op_count] = (struct filter_op){.code = code};
    return compile->op_count++;
}

static void emit_const(struct compile *compile, struct filter_value value)
{
    uint32_t at = emit(compile, FILTER_OP_CONST, 1);
    if (!compile->lexer.failed) {
        compile->ops[at].value = value;
    }
}

/* The jump at `at` goes to what is written next. */
static void land(struct compile *compile, uint32_t at)
{
    if (!compile->lexer.failed) {
        compile->ops[at].target = compile->op_count;
    }
}

/* ---- parser */

/* How strongly operators bind. */
enum {
    BIND_TERNARY = 1,
    BIND_OR = 10,
    BIND_AND = 15,
    BIND_COMPARE = 20,
    BIND_ADD = 30,
    BIND_NOT = 50,
    BIND_MULTIPLY = 60,
    BIND_NEGATE = 90,
    BIND_ELSE = 500
};

struct operator
{
    const char *text;
    int binds;
    enum filter_op_code code;
};

static const struct operator operators[] = {
    {"or", BIND_OR, FILTER_OP_JUMP_TRUE},
    {"||", BIND_OR, FILTER_OP_JUMP_TRUE},
    {"and", BIND_AND, FILTER_OP_JUMP_FALSE},
    {"&&", BIND_AND, FILTER_OP_JUMP_FALSE},
    {"==", BIND_COMPARE, FILTER_OP_EQUAL},
    {"!=", BIND_COMPARE, FILTER_OP_UNEQUAL},
    {"<", BIND_COMPARE, FILTER_OP_LESS},
    {"<=", BIND_COMPARE, FILTER_OP_LESS_EQUAL},
    {">", BIND_COMPARE, FILTER_OP_MORE},
    {">=", BIND_COMPARE, FILTER_OP_MORE_EQUAL},
    {"in", BIND_COMPARE, FILTER_OP_IN},
    {"contains", BIND_COMPARE, FILTER_OP_CONTAINS},
    {"startsWith", BIND_COMPARE, FILTER_OP_STARTS},
    {"endsWith", BIND_COMPARE, FILTER_OP_ENDS},
    {"matches", BIND_COMPARE, FILTER_OP_MATCHES},
    {"+", BIND_ADD, FILTER_OP_ADD},
    {"-", BIND_ADD, FILTER_OP_SUBTRACT},
    {"*", BIND_MULTIPLY, FILTER_OP_MULTIPLY},
    {"/", BIND_MULTIPLY, FILTER_OP_DIVIDE},
    {"%", BIND_MULTIPLY, FILTER_OP_MODULO},
    {"??", BIND_ELSE, FILTER_OP_JUMP_VALUE},
};

/* For suggestions. */
static const char *const words[] = {"or",      "and",        "not",      "in", "contains",
                                    "matches", "startsWith", "endsWith", NULL};

static enum known parse(struct compile *compile, int binds_min);

static const struct operator* find_operator(const struct filter_token *token)
{
    for (size_t i = 0; i < bk_array_length(operators); i++) {
        if ((token->kind == TOKEN_SIGN || token->kind == TOKEN_NAME) &&
            slice_equal(token->text, slice_str(operators[i].text))) {
            return &operators[i];
        }
    }
    return NULL;
}

static void want_condition(struct compile *compile, enum known known, size_t at)
{
    static const char *const names[] = {"", "", "a number", "text", "nothing", "a list", "a map"};
    if (known != KNOWN_NOT && known != KNOWN_BOOL) {
        filter_lex_wrong(&compile->lexer, at,
                         "this is %s, where true or false is wanted: is a comparison missing?",
                         names[known]);
    }
}

/* name(argument) */
static enum known parse_call(struct compile *compile, struct slice name, size_t at)
{
    static const enum known gives[FILTER_FUNCTION_COUNT] = {
        [FILTER_LEN] = KNOWN_NUMBER,     [FILTER_LOWER] = KNOWN_TEXT,
        [FILTER_UPPER] = KNOWN_TEXT,     [FILTER_TRIM] = KNOWN_TEXT,
        [FILTER_TO_STRING] = KNOWN_TEXT, [FILTER_TO_INT] = KNOWN_NUMBER,
        [FILTER_TO_FLOAT] = KNOWN_NUMBER};
    unsigned function = 0;
    while (function < FILTER_FUNCTION_COUNT &&
           !slice_equal(name, slice_str(filter_function_names[function]))) {
        function++;
    }
    if (function == FILTER_FUNCTION_COUNT) {
        filter_lex_wrong(
            &compile->lexer, at,
            "there is no function %.*s; there are len, lower, upper, trim, string, int, float",
            (int)(name.bytes > 40 ? 40 : name.bytes), (const char *)name.at);
        return KNOWN_NOT;
    }
    filter_lex_next(&compile->lexer);
    parse(compile, 0);
    if (filter_lex_is_sign(&compile->lexer, ",")) {
        filter_lex_wrong(&compile->lexer, compile->lexer.token.at, "%s takes one argument",
                         filter_function_names[function]);
    }
    filter_lex_want_sign(&compile->lexer, ")", "after the argument");
    uint32_t op = emit(compile, FILTER_OP_CALL, 0);
    compile->ops[op].count = function;
    return gives[function];
}

static void emit_field(struct compile *compile, struct slice name)
{
    struct slice kept = filter_lex_keep(&compile->lexer, name);
    uint32_t op = emit(compile, FILTER_OP_FIELD, 0);
    if (!compile->lexer.failed) {
        compile->ops[op].value = (struct filter_value){.type = FILTER_STRING, .as.text = kept};
    }
}

/* A bare name: a word of the language, what the kind of filter sees, or a field of the body. */
static enum known parse_name(struct compile *compile)
{
    struct slice name = compile->lexer.token.text;
    size_t at = compile->lexer.token.at;
    bool data = compile->kind == FILTER_DATA;
    filter_lex_next(&compile->lexer);
    if (filter_lex_is_sign(&compile->lexer, "(")) {
        return parse_call(compile, name, at);
    }
    if (slice_equal(name, SLICE("true")) || slice_equal(name, SLICE("false"))) {
        emit_const(compile,
                   (struct filter_value){.type = FILTER_BOOL, .as.truth = name.bytes == 4});
        return KNOWN_BOOL;
    }
    if (slice_equal(name, SLICE("nil")) || slice_equal(name, SLICE("null"))) {
        emit_const(compile, (struct filter_value){.type = FILTER_NIL});
        return KNOWN_NIL;
    }
    if (slice_equal(name, SLICE("$headers")) || (!data && slice_equal(name, SLICE("headers")))) {
        emit(compile, FILTER_OP_HEADERS, 1);
        return KNOWN_MAP;
    }
    if (slice_equal(name, SLICE("$type")) || (!data && slice_equal(name, SLICE("type")))) {
        emit(compile, FILTER_OP_TYPE, 1);
        return KNOWN_TEXT;
    }
    if (slice_equal(name, SLICE("$source")) || (!data && slice_equal(name, SLICE("source")))) {
        emit(compile, FILTER_OP_SOURCE, 1);
        return KNOWN_TEXT;
    }
    if (slice_equal(name, SLICE("$")) || slice_equal(name, SLICE("$env"))) {
        if (!data) {
            filter_lex_wrong(&compile->lexer, at,
                             "$ is the body: a condition on it is a filter of FILTER_TYPE_DATA");
        }
        emit(compile, FILTER_OP_BODY, 1);
        return KNOWN_NOT;
    }
    if (name.at[0] == '$') {
        filter_lex_wrong(&compile->lexer, at,
                         "unknown name %.*s; there are $, $headers, $type and $source; a field "
                         "of the body is $.%.*s",
                         (int)(name.bytes > 40 ? 40 : name.bytes), (const char *)name.at,
                         (int)(name.bytes > 40 ? 39 : name.bytes - 1), (const char *)name.at + 1);
    } else if (!data) {
        filter_lex_wrong(&compile->lexer, at,
                         "unknown name %.*s; a header filter sees headers, type and source; a "
                         "name with - stands in brackets: headers['X-Name']",
                         (int)(name.bytes > 40 ? 40 : name.bytes), (const char *)name.at);
    }
    emit(compile, FILTER_OP_BODY, 1);
    emit_field(compile, name);
    return KNOWN_NOT;
}

static enum known parse_list(struct compile *compile)
{
    size_t at = compile->lexer.token.at;
    uint32_t count = 0;
    filter_lex_next(&compile->lexer);
    while (!compile->lexer.failed && !filter_lex_is_sign(&compile->lexer, "]")) {
        parse(compile, 0);
        count++;
        if (!filter_lex_take_sign(&compile->lexer, ",")) {
            break;
        }
    }
    if (count > FILTER_LIST_ITEMS_MAX) {
        filter_lex_wrong(&compile->lexer, at, "a list has at most %u items", FILTER_LIST_ITEMS_MAX);
    }
    filter_lex_want_sign(&compile->lexer, "]", "at the end of the list");
    uint32_t op = emit(compile, FILTER_OP_LIST, 1 - (int)count);
    compile->ops[op].count = count;
    return KNOWN_LIST;
}

static enum known parse_unary(struct compile *compile, bool negation)
{
    size_t at = compile->lexer.token.at;
    filter_lex_next(&compile->lexer);
    enum known known = parse(compile, negation ? BIND_NOT : BIND_NEGATE);
    if (negation) {
        want_condition(compile, known, at);
    }
    emit(compile, negation ? FILTER_OP_NOT : FILTER_OP_NEGATE, 0);
    return negation ? KNOWN_BOOL : KNOWN_NUMBER;
}

static enum known parse_first(struct compile *compile)
{
    const struct filter_token token = compile->lexer.token;
    char text[64];
    enum known known;
    switch (token.kind) {
    case TOKEN_NUMBER:
        filter_lex_next(&compile->lexer);
        emit_const(compile, token.value);
        return KNOWN_NUMBER;
    case TOKEN_TEXT:
        filter_lex_next(&compile->lexer);
        emit_const(compile, (struct filter_value){.type = FILTER_STRING, .as.text = token.text});
        return KNOWN_TEXT;
    case TOKEN_NAME:
        if (filter_lex_is_word(&compile->lexer, "not")) {
            return parse_unary(compile, true);
        }
        if (!find_operator(&token)) {
            return parse_name(compile);
        }
        break;
    case TOKEN_SIGN:
        if (filter_lex_is_sign(&compile->lexer, "!") || filter_lex_is_sign(&compile->lexer, "-")) {
            return parse_unary(compile, filter_lex_is_sign(&compile->lexer, "!"));
        }
        if (filter_lex_is_sign(&compile->lexer, "[")) {
            return parse_list(compile);
        }
        if (filter_lex_take_sign(&compile->lexer, "(")) {
            known = parse(compile, 0);
            if (filter_lex_is_sign(&compile->lexer, ",")) {
                filter_lex_wrong(&compile->lexer, compile->lexer.token.at,
                                 "a list stands in [ ]: $.a in ['b', 'c']");
            }
            filter_lex_want_sign(&compile->lexer, ")", "to close the bracket");
            return known;
        }
        break;
    case TOKEN_END:
        break;
    }
    filter_lex_wrong(&compile->lexer, token.at, "expected a value, found %s%s",
                     filter_lex_token_name(&compile->lexer, text),
                     token.kind == TOKEN_NAME ? ", which stands between two: $.a contains 'b'"
                                              : "");
    return KNOWN_NOT;
}

/* What stands in the brackets: an index or [from:to]. */
static enum known parse_index(struct compile *compile, enum known of)
{
    bool from = !filter_lex_is_sign(&compile->lexer, ":");
    if (from) {
        parse(compile, 0);
    }
    if (!filter_lex_take_sign(&compile->lexer, ":")) {
        emit(compile, FILTER_OP_INDEX, -1);
        filter_lex_want_sign(&compile->lexer, "]", "after the index");
        return KNOWN_NOT;
    }
    if (!from) {
        emit_const(compile, (struct filter_value){.type = FILTER_NIL});
    }
    if (filter_lex_is_sign(&compile->lexer, "]")) {
        emit_const(compile, (struct filter_value){.type = FILTER_NIL});
    } else {
        parse(compile, 0);
    }
    emit(compile, FILTER_OP_SLICE, -2);
    filter_lex_want_sign(&compile->lexer, "]", "after the bounds");
    return of == KNOWN_TEXT || of == KNOWN_LIST ? of : KNOWN_NOT;
}

static void parse_member(struct compile *compile)
{
    char text[64];
    if (compile->lexer.token.kind == TOKEN_NAME) {
        emit_field(compile, compile->lexer.token.text);
        filter_lex_next(&compile->lexer);
    } else {
        filter_lex_wrong(
            &compile->lexer, compile->lexer.token.at,
            "expected a field's name after the dot, found %s; odd names stand in brackets: "
            "$['a b']",
            filter_lex_token_name(&compile->lexer, text));
    }
}

/* A value and the .name, ?.name, [index], [from:to] behind it. A ?. jumps over the whole rest. */
static enum known parse_chain(struct compile *compile)
{
    uint32_t jumps[FILTER_DEPTH_MAX];
    unsigned count = 0;
    enum known known = parse_first(compile);
    while (!compile->lexer.failed) {
        bool optional =
            filter_lex_is_sign(&compile->lexer, "?.") || filter_lex_is_sign(&compile->lexer, "?[");
        bool brackets =
            filter_lex_is_sign(&compile->lexer, "[") || filter_lex_is_sign(&compile->lexer, "?[");
        if (!optional && !brackets && !filter_lex_is_sign(&compile->lexer, ".")) {
            break;
        }
        if (optional) {
            if (count == FILTER_DEPTH_MAX) {
                filter_lex_wrong(&compile->lexer, compile->lexer.token.at,
                                 "too many ?. in one value");
                break;
            }
            jumps[count++] = emit(compile, FILTER_OP_JUMP_NIL, 0);
        }
        filter_lex_next(&compile->lexer);
        if (brackets) {
            known = parse_index(compile, optional ? KNOWN_NOT : known);
        } else {
            parse_member(compile);
            known = KNOWN_NOT;
        }
    }
    while (count > 0) {
        land(compile, jumps[--count]);
    }
    return known;
}

/* The pattern must be written out: it is compiled now, not on a reactor. */
static enum known parse_matches(struct compile *compile)
{
    const struct filter_token token = compile->lexer.token;
    char why[FILTER_WHY_BYTES];
    size_t at = 0;
    if (token.kind != TOKEN_TEXT) {
        filter_lex_wrong(&compile->lexer, token.at,
                         "matches wants its pattern written out in quotes");
        return KNOWN_BOOL;
    }
    filter_lex_next(&compile->lexer);
    uint32_t op = emit(compile, FILTER_OP_MATCHES, 0);
    if (compile->lexer.failed) {
        return KNOWN_BOOL;
    }
    pcre2_code *regex = filter_regex_compile(token.text, &at, why);
    if (!regex) {
        filter_lex_wrong(&compile->lexer, token.at + 1 + at, "%s", why);
    }
    compile->ops[op].regex = regex;
    return KNOWN_BOOL;
}

/* and, or, ??: the right side runs only when it decides. */
static enum known parse_lazy(struct compile *compile, const struct operator* operator,
                             enum known left, size_t at)
{
    bool condition = operator->code != FILTER_OP_JUMP_VALUE;
    if (condition) {
        want_condition(compile, left, at);
    }
    uint32_t jump = emit(compile, operator->code, -1);
    at = compile->lexer.token.at;
    enum known right = parse(compile, operator->binds + 1);
    if (condition) {
        want_condition(compile, right, at);
        if (right != KNOWN_BOOL) {
            emit(compile, FILTER_OP_BOOL, 0);
        }
    }
    land(compile, jump);
    return condition ? KNOWN_BOOL : left == right ? left : KNOWN_NOT;
}

static enum known parse_operator(struct compile *compile, const struct operator* operator,
                                 enum known left, size_t at)
{
    filter_lex_next(&compile->lexer);
    if (left == KNOWN_BOOL &&
        operator->binds == BIND_COMPARE && operator->code >= FILTER_OP_LESS && operator->code !=
        FILTER_OP_IN) {
        filter_lex_wrong(&compile->lexer, at,
                         "the left side of %s is true or false; to deny the whole write "
                         "not (a %s b)",
                         operator->text, operator->text);
    }
    if (operator->code == FILTER_OP_JUMP_TRUE || operator->code == FILTER_OP_JUMP_FALSE ||
        operator->code == FILTER_OP_JUMP_VALUE) {
        return parse_lazy(compile, operator, left, at);
    }
    if (operator->code == FILTER_OP_MATCHES) {
        return parse_matches(compile);
    }
    enum known right = parse(compile, operator->binds + 1);
    emit(compile, operator->code, -1);
    if (operator->binds == BIND_COMPARE) {
        return KNOWN_BOOL;
    }
    return operator->code != FILTER_OP_ADD || left == KNOWN_NUMBER || right == KNOWN_NUMBER
               ? KNOWN_NUMBER
           : left == KNOWN_TEXT || right == KNOWN_TEXT ? KNOWN_TEXT
                                                       : KNOWN_NOT;
}

static enum known parse_ternary(struct compile *compile, enum known condition, size_t at)
{
    filter_lex_next(&compile->lexer);
    want_condition(compile, condition, at);
    uint32_t branch = emit(compile, FILTER_OP_BRANCH, -1);
    enum known left = parse(compile, 0);
    filter_lex_want_sign(&compile->lexer, ":", "between the two results of ?");
    uint32_t jump = emit(compile, FILTER_OP_JUMP, -1);
    land(compile, branch);
    enum known right = parse(compile, 0);
    land(compile, jump);
    return left == right ? left : KNOWN_NOT;
}

/* `not` before a comparing word: a not in b. */
static const struct operator* find_negated(struct compile *compile)
{
    struct filter_token kept = compile->lexer.token;
    size_t at = compile->lexer.at;
    filter_lex_next(&compile->lexer);
    const struct operator* found = find_operator(&compile->lexer.token);
    bool good = found && found->binds == BIND_COMPARE && compile->lexer.token.kind == TOKEN_NAME;
    if (!good) {
        compile->lexer.token = kept;
        compile->lexer.at = at;
    }
    return good ? found : NULL;
}

static enum known parse_rest(struct compile *compile, enum known known, int binds_min, size_t at)
{
    while (!compile->lexer.failed) {
        bool negated = false;
        const struct operator* operator= find_operator(&compile->lexer.token);
        if (filter_lex_is_word(&compile->lexer, "not") && binds_min <= BIND_COMPARE) {
            operator= find_negated(compile);
            negated = operator!= NULL;
        }
        if (operator&& operator->binds >= binds_min) {
            known = parse_operator(compile, operator, known, at);
            if (negated) {
                emit(compile, FILTER_OP_NOT, 0);
            }
        } else if (filter_lex_is_sign(&compile->lexer, "?") && binds_min <= BIND_TERNARY) {
            known = parse_ternary(compile, known, at);
        } else {
            break;
        }
    }
    return known;
}

static enum known parse(struct compile *compile, int binds_min)
{
    if (compile->nesting == FILTER_DEPTH_MAX) {
        filter_lex_wrong(&compile->lexer, compile->lexer.token.at,
                         "the expression is nested too deeply");
    }
    if (compile->lexer.failed) {
        return KNOWN_NOT;
    }
    size_t at = compile->lexer.token.at;
    compile->nesting++;
    enum known known = parse_chain(compile);
    known = parse_rest(compile, known, binds_min, at);
    compile->nesting--;
    return known;
}

/* ---- the whole */

static void parse_all(struct compile *compile, bool want_bool)
{
    char text[64];
    filter_lex_next(&compile->lexer);
    if (!compile->lexer.failed && compile->lexer.token.kind == TOKEN_END) {
        filter_lex_wrong(&compile->lexer, compile->lexer.token.at, "the expression is empty");
        return;
    }
    size_t at = compile->lexer.token.at;
    enum known known = parse(compile, 0);
    if (!compile->lexer.failed && compile->lexer.token.kind != TOKEN_END) {
        const char *nearest = compile->lexer.token.kind == TOKEN_NAME
                                  ? nearest_word(compile->lexer.token.text, words)
                                  : NULL;
        bool is = nearest && compile->lexer.token.text.bytes == 2 && nearest[0] == 'i' &&
                  ascii_lower(compile->lexer.token.text.at[1]) == 's';
        filter_lex_wrong(&compile->lexer, compile->lexer.token.at,
                         "expected an operator or the end, found %s%s%s%s%s",
                         filter_lex_token_name(&compile->lexer, text),
                         nearest ? "; did you mean " : "",
                         is        ? "=="
                         : nearest ? nearest
                                   : "",
                         nearest ? "?" : "",
                         filter_lex_is_sign(&compile->lexer, "(")
                             ? "; nothing is called with a dot: $.a startsWith 'b', len($.a)"
                             : "");
    }
    if (want_bool) {
        want_condition(compile, known, at);
    }
    bk_assert(compile->lexer.failed || compile->stack == 1);
}

static void place_error(struct compile *compile)
{
    uint32_t line = 1, column = 1;
    for (size_t i = 0; i < compile->lexer.error_at && i < compile->lexer.text.bytes; i++) {
        uint8_t c = compile->lexer.text.at[i];
        if (c == '\n') {
            line++;
            column = 1;
        } else if ((c & 0xc0) != 0x80) {
            column++;
        }
    }
    compile->lexer.error->line = line;
    compile->lexer.error->column = column;
}

/* Program and texts in one block. */
static struct filter *finish(struct compile *compile)
{
    size_t ops = compile->op_count * sizeof(struct filter_op);
    struct filter *filter = calloc(1, sizeof *filter + ops + compile->lexer.strings);
    if (!filter) {
        return NULL;
    }
    filter->ops = (struct filter_op *)(void *)(filter + 1);
    uint8_t *strings = (uint8_t *)filter->ops + ops;
    memcpy(filter->ops, compile->ops, ops);
    memcpy(strings, compile->lexer.bytes, compile->lexer.strings);
    for (uint32_t i = 0; i < compile->op_count; i++) {
        struct filter_value *value = &filter->ops[i].value;
        if (value->type == FILTER_STRING) {
            value->as.text.at = strings + (value->as.text.at - compile->lexer.bytes);
        }
    }
    filter->op_count = compile->op_count;
    filter->stack_max = compile->stack_max;
    return filter;
}

enum bk_err filter_compile(struct slice text, enum filter_kind kind, bool want_bool,
                           struct filter **ret_filter, struct filter_error *ret_error)
{
    *ret_error = (struct filter_error){.line = 1, .column = 1};
    if (text.bytes > FILTER_TEXT_BYTES_MAX) {
        snprintf(ret_error->message, sizeof ret_error->message, "longer than %u bytes",
                 FILTER_TEXT_BYTES_MAX);
        return BK_INVALID;
    }
    struct compile *compile = calloc(1, sizeof *compile);
    if (!compile) {
        return BK_NO_MEMORY;
    }
    compile->lexer.text = text;
    compile->kind = kind;
    compile->lexer.error = ret_error;
    parse_all(compile, want_bool);
    struct filter *filter = compile->lexer.failed ? NULL : finish(compile);
    enum bk_err err = compile->lexer.failed ? BK_INVALID : filter ? BK_OK : BK_NO_MEMORY;
    if (compile->lexer.failed) {
        place_error(compile);
    }
    for (uint32_t i = 0; !filter && i < compile->op_count; i++) {
        pcre2_code_free(compile->ops[i].regex);
    }
    free(compile);
    if (filter) {
        *ret_filter = filter;
    }
    return err;
}

void filter_free(struct filter *filter)
{
    if (!filter) {
        return;
    }
    for (uint32_t i = 0; i < filter->op_count; i++) {
        pcre2_code_free(filter->ops[i].regex);
    }
    free(filter);
}
