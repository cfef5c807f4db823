/* filter_compile.c - from an expression's text to its program: lexer and precedence climbing in one
 * pass, each operator written out as soon as its operands are. Contract in routes/filter.h. */
#include "base/assert.h"
#include "base/nearest.h"
#include "hub/routes/filter_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

const char *const filter_function_names[FILTER_FUNCTION_COUNT] = {
    "len", "lower", "upper", "trim", "string", "int", "float"};

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_TEXT, TOKEN_SIGN };

struct token {
    enum token_kind kind;
    struct slice text; /* as written; of TOKEN_TEXT the value */
    struct filter_value value;
    size_t at;
};

/* What is known of a value before any event. */
enum known { KNOWN_NOT, KNOWN_BOOL, KNOWN_NUMBER, KNOWN_TEXT, KNOWN_NIL, KNOWN_LIST, KNOWN_MAP };

struct compile {
    struct slice text;
    enum filter_kind kind;
    size_t at; /* of what follows `token` */
    struct token token;
    unsigned nesting;
    unsigned stack;
    unsigned stack_max;
    uint32_t op_count;
    size_t strings; /* bytes of string values so far */
    bool failed;
    bool no_memory;
    size_t error_at;
    struct filter_error *error;
    struct filter_op ops[FILTER_OPS_MAX];
    uint8_t bytes[FILTER_TEXT_BYTES_MAX * 2]; /* of string values, which escapes make no longer */
};

__attribute__((format(printf, 3, 4))) static void wrong(struct compile *compile, size_t at,
                                                        const char *format, ...)
{
    if (compile->failed) {
        return; /* the first one counts */
    }
    va_list args;
    va_start(args, format);
    vsnprintf(compile->error->message, sizeof compile->error->message, format, args);
    va_end(args);
    compile->failed = true;
    compile->error_at = at;
}

/* ---- lexer */

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool starts_name(uint8_t c)
{
    uint8_t lower = ascii_lower(c);
    return (lower >= 'a' && lower <= 'z') || c == '_' || c == '$' || c >= 0x80;
}

static uint8_t peek(const struct compile *compile, size_t ahead)
{
    size_t at = compile->at + ahead;
    return at < compile->text.bytes ? compile->text.at[at] : 0;
}

static void keep_byte(struct compile *compile, uint8_t byte)
{
    bk_assert(compile->strings < sizeof compile->bytes);
    compile->bytes[compile->strings++] = byte;
}

static void keep_rune(struct compile *compile, uint32_t rune)
{
    if (rune < 0x80) {
        keep_byte(compile, (uint8_t)rune);
    } else if (rune < 0x800) {
        keep_byte(compile, (uint8_t)(0xc0 | rune >> 6));
        keep_byte(compile, (uint8_t)(0x80 | (rune & 0x3f)));
    } else {
        keep_byte(compile, (uint8_t)(0xe0 | rune >> 12));
        keep_byte(compile, (uint8_t)(0x80 | (rune >> 6 & 0x3f)));
        keep_byte(compile, (uint8_t)(0x80 | (rune & 0x3f)));
    }
}

/* The digits of \xHH and \uHHHH. */
static void lex_hex(struct compile *compile, unsigned digits)
{
    uint32_t rune = 0;
    for (unsigned i = 0; i < digits; i++) {
        uint8_t c = ascii_lower(peek(compile, 0));
        bool letter = c >= 'a' && c <= 'f';
        if (!letter && !is_digit(c)) {
            wrong(compile, compile->at, "\\%c wants %u hexadecimal digits", digits == 2 ? 'x' : 'u',
                  digits);
            return;
        }
        rune = rune << 4 | (uint32_t)(letter ? c - 'a' + 10 : c - '0');
        compile->at++;
    }
    if (rune >= 0xd800 && rune <= 0xdfff) {
        wrong(compile, compile->at, "\\u is half of a character; write the character itself");
        return;
    }
    keep_rune(compile, rune);
}

static void lex_escape(struct compile *compile)
{
    static const char plain[] = "\\'\"`nrtbfv0", becomes[] = "\\'\"`\n\r\t\b\f\v\0";
    uint8_t c = peek(compile, 0);
    compile->at++;
    const char *found = c ? strchr(plain, c) : NULL;
    if (c == 'x' || c == 'u') {
        lex_hex(compile, c == 'x' ? 2 : 4);
    } else if (found) {
        keep_byte(compile, (uint8_t)becomes[found - plain]);
    } else {
        wrong(compile, compile->at - 2,
              "unknown escape in text; a backslash is written \\\\, or put the text in ` `");
    }
}

static void lex_text(struct compile *compile, struct token *token)
{
    uint8_t quote = peek(compile, 0);
    size_t start = compile->strings;
    compile->at++;
    while (!compile->failed && peek(compile, 0) != quote) {
        uint8_t c = peek(compile, 0);
        if (compile->at >= compile->text.bytes) {
            wrong(compile, token->at, "the text that begins here has no closing %c", quote);
            return;
        }
        compile->at++;
        if (c == '\\' && quote != '`') {
            lex_escape(compile);
        } else {
            keep_byte(compile, c);
        }
    }
    compile->at++;
    token->kind = TOKEN_TEXT;
    token->text = slice_of(compile->bytes + start, compile->strings - start);
}

/* 12, 1_000, 0x1f, 1.5, .5, 1e3 */
static void lex_number(struct compile *compile, struct token *token)
{
    char text[64], *end;
    size_t bytes = 0;
    bool hex = peek(compile, 0) == '0' && ascii_lower(peek(compile, 1)) == 'x', real = false;
    for (;; compile->at++) {
        uint8_t c = peek(compile, 0), lower = ascii_lower(c);
        bool sign = (c == '+' || c == '-') && !hex && bytes > 0 &&
                    ascii_lower((uint8_t)text[bytes - 1]) == 'e';
        bool dot = c == '.' && !hex && is_digit(peek(compile, 1));
        if (c == '_' && bytes > 0) {
            continue;
        }
        if (!(is_digit(c) || sign || dot || (lower >= 'a' && lower <= 'z'))) {
            break;
        }
        if (bytes == sizeof text - 1) {
            wrong(compile, token->at, "the number is too long");
            return;
        }
        real |= dot || (!hex && lower == 'e');
        text[bytes++] = (char)c;
    }
    text[bytes] = '\0';
    errno = 0;
    token->kind = TOKEN_NUMBER;
    if (real) {
        token->value = (struct filter_value){.type = FILTER_FLOAT, .as.real = strtod(text, &end)};
    } else {
        token->value = (struct filter_value){.type = FILTER_INT,
                                             .as.integer = strtoll(text, &end, hex ? 16 : 10)};
    }
    if (*end != '\0') {
        wrong(compile, token->at, "\"%s\" is no number; text stands in quotes", text);
    } else if (errno == ERANGE) {
        wrong(compile, token->at, "the number does not fit 64 bits");
    }
}

static void lex_sign(struct compile *compile, struct token *token)
{
    static const char *const signs[] = {"==", "!=", "<=", ">=", "&&", "||", "??", "?.", "?[", "<",
                                        ">",  "!",  "(",  ")",  "[",  "]",  ".",  ",",  ":",  "?",
                                        "+",  "-",  "*",  "/",  "%"};
    struct slice rest = slice_skip(compile->text, compile->at);
    token->kind = TOKEN_SIGN;
    for (size_t i = 0; i < bk_array_length(signs); i++) {
        if (slice_starts(rest, slice_str(signs[i]))) {
            token->text = slice_of(rest.at, strlen(signs[i]));
            compile->at += token->text.bytes;
            return;
        }
    }
    uint8_t c = rest.at[0];
    if (c == '=') {
        wrong(compile, token->at, "= alone means nothing; to compare write ==");
    } else if (c == '&' || c == '|') {
        wrong(compile, token->at, "%c alone means nothing; write %c%c or %s", c, c, c,
              c == '&' ? "and" : "or");
    } else if (c == '{') {
        wrong(compile, token->at, "maps cannot be written in an expression");
    } else if (c >= 0x20 && c < 0x7f) {
        wrong(compile, token->at, "unexpected character %c", c);
    } else {
        wrong(compile, token->at, "unexpected byte 0x%02x", c);
    }
}

static void next(struct compile *compile)
{
    while (compile->at < compile->text.bytes) {
        uint8_t c = peek(compile, 0);
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            break;
        }
        compile->at++;
    }
    struct token *token = &compile->token;
    *token = (struct token){.kind = TOKEN_END, .at = compile->at};
    if (compile->failed || compile->at >= compile->text.bytes) {
        return;
    }
    uint8_t c = peek(compile, 0);
    if (starts_name(c)) {
        size_t start = compile->at;
        while (starts_name(peek(compile, 0)) || is_digit(peek(compile, 0))) {
            compile->at++;
        }
        token->kind = TOKEN_NAME;
        token->text = slice_of(compile->text.at + start, compile->at - start);
    } else if (is_digit(c) || (c == '.' && is_digit(peek(compile, 1)))) {
        lex_number(compile, token);
    } else if (c == '\'' || c == '"' || c == '`') {
        lex_text(compile, token);
    } else {
        lex_sign(compile, token);
    }
}

static bool at_sign(const struct compile *compile, const char *sign)
{
    return compile->token.kind == TOKEN_SIGN &&
           slice_equal(compile->token.text, slice_str(sign));
}

static bool at_word(const struct compile *compile, const char *word)
{
    return compile->token.kind == TOKEN_NAME &&
           slice_equal(compile->token.text, slice_str(word));
}

static bool take_sign(struct compile *compile, const char *sign)
{
    if (!at_sign(compile, sign)) {
        return false;
    }
    next(compile);
    return true;
}

static const char *token_name(const struct compile *compile, char text[64])
{
    const struct token *token = &compile->token;
    if (token->kind == TOKEN_END) {
        return "the end";
    }
    if (token->kind == TOKEN_TEXT || token->kind == TOKEN_NUMBER) {
        return token->kind == TOKEN_TEXT ? "a text" : "a number";
    }
    snprintf(text, 64, "\"%.*s\"", (int)(token->text.bytes > 40 ? 40 : token->text.bytes),
             (const char *)token->text.at);
    return text;
}

static void want_sign(struct compile *compile, const char *sign, const char *for_what)
{
    char text[64];
    if (!take_sign(compile, sign)) {
        wrong(compile, compile->token.at, "expected %s %s, found %s", sign, for_what,
              token_name(compile, text));
    }
}

/* ---- writing the program */

/* Returns its index; `pushes` is what it adds to the stack, less what it pops. */
static uint32_t emit(struct compile *compile, enum filter_op_code code, int pushes)
{
    if (compile->op_count == FILTER_OPS_MAX) {
        wrong(compile, compile->token.at, "the expression is too long");
    }
    if (compile->failed) {
        return 0;
    }
    compile->stack = (unsigned)((int)compile->stack + pushes);
    if (compile->stack > compile->stack_max) {
        compile->stack_max = compile->stack;
        if (compile->stack > FILTER_STACK_MAX) {
            wrong(compile, compile->token.at, "the expression is nested too deeply");
        }
    }
    compile->ops[compile->op_count] = (struct filter_op){.code = code};
    return compile->op_count++;
}

static void emit_const(struct compile *compile, struct filter_value value)
{
    uint32_t at = emit(compile, FILTER_OP_CONST, 1);
    if (!compile->failed) {
        compile->ops[at].value = value;
    }
}

/* The jump at `at` goes to what is written next. */
static void land(struct compile *compile, uint32_t at)
{
    if (!compile->failed) {
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

struct operator {
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
static const char *const words[] = {"or",       "and",        "not",      "in",    "contains",
                                    "matches",  "startsWith", "endsWith", NULL};

static enum known parse(struct compile *compile, int binds_min);

static const struct operator *find_operator(const struct token *token)
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
        wrong(compile, at, "this is %s, where true or false is wanted: is a comparison missing?",
              names[known]);
    }
}

/* name(argument) */
static enum known parse_call(struct compile *compile, struct slice name, size_t at)
{
    static const enum known gives[FILTER_FUNCTION_COUNT] = {
        [FILTER_LEN] = KNOWN_NUMBER,       [FILTER_LOWER] = KNOWN_TEXT,
        [FILTER_UPPER] = KNOWN_TEXT,       [FILTER_TRIM] = KNOWN_TEXT,
        [FILTER_TO_STRING] = KNOWN_TEXT,   [FILTER_TO_INT] = KNOWN_NUMBER,
        [FILTER_TO_FLOAT] = KNOWN_NUMBER};
    unsigned function = 0;
    while (function < FILTER_FUNCTION_COUNT &&
           !slice_equal(name, slice_str(filter_function_names[function]))) {
        function++;
    }
    if (function == FILTER_FUNCTION_COUNT) {
        wrong(compile, at,
              "there is no function %.*s; there are len, lower, upper, trim, string, int, float",
              (int)(name.bytes > 40 ? 40 : name.bytes), (const char *)name.at);
        return KNOWN_NOT;
    }
    next(compile);
    parse(compile, 0);
    if (at_sign(compile, ",")) {
        wrong(compile, compile->token.at, "%s takes one argument", filter_function_names[function]);
    }
    want_sign(compile, ")", "after the argument");
    uint32_t op = emit(compile, FILTER_OP_CALL, 0);
    compile->ops[op].count = function;
    return gives[function];
}

static void emit_field(struct compile *compile, struct slice name)
{
    size_t start = compile->strings;
    for (size_t i = 0; i < name.bytes; i++) {
        keep_byte(compile, name.at[i]);
    }
    uint32_t op = emit(compile, FILTER_OP_FIELD, 0);
    if (!compile->failed) {
        compile->ops[op].value = (struct filter_value){
            .type = FILTER_STRING, .as.text = slice_of(compile->bytes + start, name.bytes)};
    }
}

/* A bare name: a word of the language, what the kind of filter sees, or a field of the body. */
static enum known parse_name(struct compile *compile)
{
    struct slice name = compile->token.text;
    size_t at = compile->token.at;
    bool data = compile->kind == FILTER_DATA;
    next(compile);
    if (at_sign(compile, "(")) {
        return parse_call(compile, name, at);
    }
    if (slice_equal(name, SLICE("true")) || slice_equal(name, SLICE("false"))) {
        emit_const(compile, (struct filter_value){.type = FILTER_BOOL,
                                                  .as.truth = name.bytes == 4});
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
            wrong(compile, at, "$ is the body: a condition on it is a filter of FILTER_TYPE_DATA");
        }
        emit(compile, FILTER_OP_BODY, 1);
        return KNOWN_NOT;
    }
    if (name.at[0] == '$') {
        wrong(compile, at, "unknown name %.*s; there are $, $headers, $type and $source; a field "
              "of the body is $.%.*s", (int)(name.bytes > 40 ? 40 : name.bytes),
              (const char *)name.at, (int)(name.bytes > 40 ? 39 : name.bytes - 1),
              (const char *)name.at + 1);
    } else if (!data) {
        wrong(compile, at, "unknown name %.*s; a header filter sees headers, type and source",
              (int)(name.bytes > 40 ? 40 : name.bytes), (const char *)name.at);
    }
    emit(compile, FILTER_OP_BODY, 1);
    emit_field(compile, name);
    return KNOWN_NOT;
}

static enum known parse_list(struct compile *compile)
{
    size_t at = compile->token.at;
    uint32_t count = 0;
    next(compile);
    while (!compile->failed && !at_sign(compile, "]")) {
        parse(compile, 0);
        count++;
        if (!take_sign(compile, ",")) {
            break;
        }
    }
    if (count > FILTER_LIST_ITEMS_MAX) {
        wrong(compile, at, "a list has at most %u items", FILTER_LIST_ITEMS_MAX);
    }
    want_sign(compile, "]", "at the end of the list");
    uint32_t op = emit(compile, FILTER_OP_LIST, 1 - (int)count);
    compile->ops[op].count = count;
    return KNOWN_LIST;
}

static enum known parse_unary(struct compile *compile, bool negation)
{
    size_t at = compile->token.at;
    next(compile);
    enum known known = parse(compile, negation ? BIND_NOT : BIND_NEGATE);
    if (negation) {
        want_condition(compile, known, at);
    }
    emit(compile, negation ? FILTER_OP_NOT : FILTER_OP_NEGATE, 0);
    return negation ? KNOWN_BOOL : KNOWN_NUMBER;
}

static enum known parse_first(struct compile *compile)
{
    const struct token token = compile->token;
    char text[64];
    enum known known;
    switch (token.kind) {
    case TOKEN_NUMBER:
        next(compile);
        emit_const(compile, token.value);
        return KNOWN_NUMBER;
    case TOKEN_TEXT:
        next(compile);
        emit_const(compile, (struct filter_value){.type = FILTER_STRING, .as.text = token.text});
        return KNOWN_TEXT;
    case TOKEN_NAME:
        if (at_word(compile, "not")) {
            return parse_unary(compile, true);
        }
        if (!find_operator(&token)) {
            return parse_name(compile);
        }
        break;
    case TOKEN_SIGN:
        if (at_sign(compile, "!") || at_sign(compile, "-")) {
            return parse_unary(compile, at_sign(compile, "!"));
        }
        if (at_sign(compile, "[")) {
            return parse_list(compile);
        }
        if (take_sign(compile, "(")) {
            known = parse(compile, 0);
            want_sign(compile, ")", "to close the bracket");
            return known;
        }
        break;
    case TOKEN_END:
        break;
    }
    wrong(compile, token.at, "expected a value, found %s", token_name(compile, text));
    return KNOWN_NOT;
}

/* What stands in the brackets: an index or [from:to]. */
static enum known parse_index(struct compile *compile, enum known of)
{
    bool from = !at_sign(compile, ":");
    if (from) {
        parse(compile, 0);
    }
    if (!take_sign(compile, ":")) {
        emit(compile, FILTER_OP_INDEX, -1);
        want_sign(compile, "]", "after the index");
        return KNOWN_NOT;
    }
    if (!from) {
        emit_const(compile, (struct filter_value){.type = FILTER_NIL});
    }
    if (at_sign(compile, "]")) {
        emit_const(compile, (struct filter_value){.type = FILTER_NIL});
    } else {
        parse(compile, 0);
    }
    emit(compile, FILTER_OP_SLICE, -2);
    want_sign(compile, "]", "after the bounds");
    return of == KNOWN_TEXT || of == KNOWN_LIST ? of : KNOWN_NOT;
}

static void parse_member(struct compile *compile)
{
    char text[64];
    if (compile->token.kind == TOKEN_NAME) {
        emit_field(compile, compile->token.text);
        next(compile);
    } else {
        wrong(compile, compile->token.at,
              "expected a field's name after the dot, found %s; odd names stand in brackets: "
              "$['a b']",
              token_name(compile, text));
    }
}

/* A value and the .name, ?.name, [index], [from:to] behind it. A ?. jumps over the whole rest. */
static enum known parse_chain(struct compile *compile)
{
    uint32_t jumps[FILTER_DEPTH_MAX];
    unsigned count = 0;
    enum known known = parse_first(compile);
    while (!compile->failed) {
        bool optional = at_sign(compile, "?.") || at_sign(compile, "?[");
        bool brackets = at_sign(compile, "[") || at_sign(compile, "?[");
        if (!optional && !brackets && !at_sign(compile, ".")) {
            break;
        }
        if (optional) {
            if (count == FILTER_DEPTH_MAX) {
                wrong(compile, compile->token.at, "too many ?. in one value");
                break;
            }
            jumps[count++] = emit(compile, FILTER_OP_JUMP_NIL, 0);
        }
        next(compile);
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
    const struct token token = compile->token;
    char why[FILTER_WHY_BYTES];
    size_t at = 0;
    if (token.kind != TOKEN_TEXT) {
        wrong(compile, token.at, "matches wants its pattern written out in quotes");
        return KNOWN_BOOL;
    }
    next(compile);
    uint32_t op = emit(compile, FILTER_OP_MATCHES, 0);
    if (compile->failed) {
        return KNOWN_BOOL;
    }
    pcre2_code *regex = filter_regex_compile(token.text, &at, why);
    if (!regex) {
        wrong(compile, token.at + 1 + at, "%s", why);
    }
    compile->ops[op].regex = regex;
    return KNOWN_BOOL;
}

/* and, or, ??: the right side runs only when it decides. */
static enum known parse_lazy(struct compile *compile, const struct operator *operator,
                             enum known left, size_t at)
{
    bool condition = operator->code != FILTER_OP_JUMP_VALUE;
    if (condition) {
        want_condition(compile, left, at);
    }
    uint32_t jump = emit(compile, operator->code, -1);
    at = compile->token.at;
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

static enum known parse_operator(struct compile *compile, const struct operator *operator,
                                 enum known left, size_t at)
{
    next(compile);
    if (left == KNOWN_BOOL && operator->binds == BIND_COMPARE &&
        operator->code >= FILTER_OP_LESS && operator->code != FILTER_OP_IN) {
        wrong(compile, at, "the left side of %s is true or false; to deny the whole write "
              "not (a %s b)", operator->text, operator->text);
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
    next(compile);
    want_condition(compile, condition, at);
    uint32_t branch = emit(compile, FILTER_OP_BRANCH, -1);
    enum known left = parse(compile, 0);
    want_sign(compile, ":", "between the two results of ?");
    uint32_t jump = emit(compile, FILTER_OP_JUMP, -1);
    land(compile, branch);
    enum known right = parse(compile, 0);
    land(compile, jump);
    return left == right ? left : KNOWN_NOT;
}

/* `not` before a comparing word: a not in b. */
static const struct operator *find_negated(struct compile *compile)
{
    struct compile *ahead = compile;
    struct token kept = compile->token;
    size_t at = compile->at;
    next(ahead);
    const struct operator *found = find_operator(&compile->token);
    bool good = found && found->binds == BIND_COMPARE && compile->token.kind == TOKEN_NAME;
    if (!good) {
        compile->token = kept;
        compile->at = at;
    }
    return good ? found : NULL;
}

static enum known parse_rest(struct compile *compile, enum known known, int binds_min, size_t at)
{
    while (!compile->failed) {
        bool negated = false;
        const struct operator *operator = find_operator(&compile->token);
        if (at_word(compile, "not") && binds_min <= BIND_COMPARE) {
            operator = find_negated(compile);
            negated = operator != NULL;
        }
        if (operator && operator->binds >= binds_min) {
            known = parse_operator(compile, operator, known, at);
            if (negated) {
                emit(compile, FILTER_OP_NOT, 0);
            }
        } else if (at_sign(compile, "?") && binds_min <= BIND_TERNARY) {
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
        wrong(compile, compile->token.at, "the expression is nested too deeply");
    }
    if (compile->failed) {
        return KNOWN_NOT;
    }
    size_t at = compile->token.at;
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
    next(compile);
    if (!compile->failed && compile->token.kind == TOKEN_END) {
        wrong(compile, compile->token.at, "the expression is empty");
        return;
    }
    size_t at = compile->token.at;
    enum known known = parse(compile, 0);
    if (!compile->failed && compile->token.kind != TOKEN_END) {
        const char *nearest = compile->token.kind == TOKEN_NAME
                                  ? nearest_word(compile->token.text, words)
                                  : NULL;
        wrong(compile, compile->token.at, "expected an operator or the end, found %s%s%s%s",
              token_name(compile, text), nearest ? "; did you mean " : "", nearest ? nearest : "",
              nearest ? "?" : "");
    }
    if (want_bool) {
        want_condition(compile, known, at);
    }
    bk_assert(compile->failed || compile->stack == 1);
}

static void place_error(struct compile *compile)
{
    uint32_t line = 1, column = 1;
    for (size_t i = 0; i < compile->error_at && i < compile->text.bytes; i++) {
        uint8_t c = compile->text.at[i];
        if (c == '\n') {
            line++;
            column = 1;
        } else if ((c & 0xc0) != 0x80) {
            column++;
        }
    }
    compile->error->line = line;
    compile->error->column = column;
}

/* Program and texts in one block. */
static struct filter *finish(struct compile *compile)
{
    size_t ops = compile->op_count * sizeof(struct filter_op);
    struct filter *filter = calloc(1, sizeof *filter + ops + compile->strings);
    if (!filter) {
        return NULL;
    }
    filter->ops = (struct filter_op *)(void *)(filter + 1);
    uint8_t *strings = (uint8_t *)filter->ops + ops;
    memcpy(filter->ops, compile->ops, ops);
    memcpy(strings, compile->bytes, compile->strings);
    for (uint32_t i = 0; i < compile->op_count; i++) {
        struct filter_value *value = &filter->ops[i].value;
        if (value->type == FILTER_STRING) {
            value->as.text.at = strings + (value->as.text.at - compile->bytes);
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
    compile->text = text;
    compile->kind = kind;
    compile->error = ret_error;
    parse_all(compile, want_bool);
    struct filter *filter = compile->failed ? NULL : finish(compile);
    enum bk_err err = compile->failed ? BK_INVALID : filter ? BK_OK : BK_NO_MEMORY;
    if (compile->failed) {
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
