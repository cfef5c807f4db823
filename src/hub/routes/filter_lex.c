/* filter_lex.c - the words of an expression, one at a time. */
#include "base/assert.h"
#include "hub/routes/filter_lex.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void filter_lex_wrong(struct filter_lexer *lexer, size_t at, const char *format, ...)
{
    if (lexer->failed) {
        return; /* the first one counts */
    }
    va_list args;
    va_start(args, format);
    vsnprintf(lexer->error->message, sizeof lexer->error->message, format, args);
    va_end(args);
    lexer->failed = true;
    lexer->error_at = at;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool starts_name(uint8_t c)
{
    uint8_t lower = ascii_lower(c);
    return (lower >= 'a' && lower <= 'z') || c == '_' || c == '$' || c >= 0x80;
}

static uint8_t peek(const struct filter_lexer *lexer, size_t ahead)
{
    size_t at = lexer->at + ahead;
    return at < lexer->text.bytes ? lexer->text.at[at] : 0;
}

static void keep_byte(struct filter_lexer *lexer, uint8_t byte)
{
    bk_assert(lexer->strings < sizeof lexer->bytes);
    lexer->bytes[lexer->strings++] = byte;
}

struct slice filter_lex_keep(struct filter_lexer *lexer, struct slice text)
{
    size_t start = lexer->strings;
    for (size_t i = 0; i < text.bytes; i++) {
        keep_byte(lexer, text.at[i]);
    }
    return slice_of(lexer->bytes + start, text.bytes);
}

static void keep_rune(struct filter_lexer *lexer, uint32_t rune)
{
    if (rune < 0x80) {
        keep_byte(lexer, (uint8_t)rune);
    } else if (rune < 0x800) {
        keep_byte(lexer, (uint8_t)(0xc0 | rune >> 6));
        keep_byte(lexer, (uint8_t)(0x80 | (rune & 0x3f)));
    } else {
        keep_byte(lexer, (uint8_t)(0xe0 | rune >> 12));
        keep_byte(lexer, (uint8_t)(0x80 | (rune >> 6 & 0x3f)));
        keep_byte(lexer, (uint8_t)(0x80 | (rune & 0x3f)));
    }
}

/* The digits of \xHH and \uHHHH. */
static void lex_hex(struct filter_lexer *lexer, unsigned digits)
{
    uint32_t rune = 0;
    for (unsigned i = 0; i < digits; i++) {
        uint8_t c = ascii_lower(peek(lexer, 0));
        bool letter = c >= 'a' && c <= 'f';
        if (!letter && !is_digit(c)) {
            filter_lex_wrong(lexer, lexer->at, "\\%c wants %u hexadecimal digits",
                             digits == 2 ? 'x' : 'u', digits);
            return;
        }
        rune = rune << 4 | (uint32_t)(letter ? c - 'a' + 10 : c - '0');
        lexer->at++;
    }
    if (rune >= 0xd800 && rune <= 0xdfff) {
        filter_lex_wrong(lexer, lexer->at,
                         "\\u is half of a character; write the character itself");
        return;
    }
    keep_rune(lexer, rune);
}

static void lex_escape(struct filter_lexer *lexer)
{
    static const char plain[] = "\\'\"`nrtbfv0", becomes[] = "\\'\"`\n\r\t\b\f\v\0";
    uint8_t c = peek(lexer, 0);
    lexer->at++;
    const char *found = c ? strchr(plain, c) : NULL;
    if (c == 'x' || c == 'u') {
        lex_hex(lexer, c == 'x' ? 2 : 4);
    } else if (found) {
        keep_byte(lexer, (uint8_t)becomes[found - plain]);
    } else {
        filter_lex_wrong(
            lexer, lexer->at - 2,
            "unknown escape in text; a backslash is written \\\\, or put the text in ` `");
    }
}

static void lex_text(struct filter_lexer *lexer, struct filter_token *token)
{
    uint8_t quote = peek(lexer, 0);
    size_t start = lexer->strings;
    lexer->at++;
    while (!lexer->failed && peek(lexer, 0) != quote) {
        uint8_t c = peek(lexer, 0);
        if (lexer->at >= lexer->text.bytes) {
            filter_lex_wrong(lexer, token->at, "the text that begins here has no closing %c",
                             quote);
            return;
        }
        lexer->at++;
        if (c == '\\' && quote != '`') {
            lex_escape(lexer);
        } else {
            keep_byte(lexer, c);
        }
    }
    lexer->at++;
    token->kind = TOKEN_TEXT;
    token->text = slice_of(lexer->bytes + start, lexer->strings - start);
}

/* 12, 1_000, 0x1f, 1.5, .5, 1e3 */
static void lex_number(struct filter_lexer *lexer, struct filter_token *token)
{
    char text[64], *end;
    size_t bytes = 0;
    bool hex = peek(lexer, 0) == '0' && ascii_lower(peek(lexer, 1)) == 'x', real = false;
    for (;; lexer->at++) {
        uint8_t c = peek(lexer, 0), lower = ascii_lower(c);
        bool sign = (c == '+' || c == '-') && !hex && bytes > 0 &&
                    ascii_lower((uint8_t)text[bytes - 1]) == 'e';
        bool dot = c == '.' && !hex && is_digit(peek(lexer, 1));
        if (c == '_' && bytes > 0) {
            continue;
        }
        if (!(is_digit(c) || sign || dot || (lower >= 'a' && lower <= 'z'))) {
            break;
        }
        if (bytes == sizeof text - 1) {
            filter_lex_wrong(lexer, token->at, "the number is too long");
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
        filter_lex_wrong(lexer, token->at, "\"%s\" is no number; text stands in quotes", text);
    } else if (errno == ERANGE) {
        filter_lex_wrong(lexer, token->at, "the number does not fit 64 bits");
    }
}

static void lex_sign(struct filter_lexer *lexer, struct filter_token *token)
{
    static const char *const signs[] = {"==", "!=", "<=", ">=", "&&", "||", "??", "?.", "?[",
                                        "<",  ">",  "!",  "(",  ")",  "[",  "]",  ".",  ",",
                                        ":",  "?",  "+",  "-",  "*",  "/",  "%"};
    struct slice rest = slice_skip(lexer->text, lexer->at);
    token->kind = TOKEN_SIGN;
    if (slice_starts(rest, SLICE("<>"))) {
        filter_lex_wrong(lexer, token->at, "<> is written !=");
        return;
    }
    for (size_t i = 0; i < bk_array_length(signs); i++) {
        if (slice_starts(rest, slice_str(signs[i]))) {
            token->text = slice_of(rest.at, strlen(signs[i]));
            lexer->at += token->text.bytes;
            return;
        }
    }
    uint8_t c = rest.at[0];
    if (slice_starts(rest, SLICE("=~"))) {
        filter_lex_wrong(lexer, token->at, "=~ is written matches: $.a matches '^b'");
    } else if (c == '=') {
        filter_lex_wrong(lexer, token->at, "= alone means nothing; to compare write ==");
    } else if (c == '&' || c == '|') {
        filter_lex_wrong(lexer, token->at, "%c alone means nothing; write %c%c or %s", c, c, c,
                         c == '&' ? "and" : "or");
    } else if (c == '{') {
        filter_lex_wrong(lexer, token->at, "maps cannot be written in an expression");
    } else if (c >= 0x20 && c < 0x7f) {
        filter_lex_wrong(lexer, token->at, "unexpected character %c", c);
    } else {
        filter_lex_wrong(lexer, token->at, "unexpected byte 0x%02x", c);
    }
}

void filter_lex_next(struct filter_lexer *lexer)
{
    while (lexer->at < lexer->text.bytes) {
        uint8_t c = peek(lexer, 0);
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r') {
            break;
        }
        lexer->at++;
    }
    struct filter_token *token = &lexer->token;
    *token = (struct filter_token){.kind = TOKEN_END, .at = lexer->at};
    if (lexer->failed || lexer->at >= lexer->text.bytes) {
        return;
    }
    uint8_t c = peek(lexer, 0);
    if (starts_name(c)) {
        size_t start = lexer->at;
        while (starts_name(peek(lexer, 0)) || is_digit(peek(lexer, 0))) {
            lexer->at++;
        }
        token->kind = TOKEN_NAME;
        token->text = slice_of(lexer->text.at + start, lexer->at - start);
    } else if (is_digit(c) || (c == '.' && is_digit(peek(lexer, 1)))) {
        lex_number(lexer, token);
    } else if (c == '\'' || c == '"' || c == '`') {
        lex_text(lexer, token);
    } else {
        lex_sign(lexer, token);
    }
}

bool filter_lex_is_sign(const struct filter_lexer *lexer, const char *sign)
{
    return lexer->token.kind == TOKEN_SIGN && slice_equal(lexer->token.text, slice_str(sign));
}

bool filter_lex_is_word(const struct filter_lexer *lexer, const char *word)
{
    return lexer->token.kind == TOKEN_NAME && slice_equal(lexer->token.text, slice_str(word));
}

bool filter_lex_take_sign(struct filter_lexer *lexer, const char *sign)
{
    if (!filter_lex_is_sign(lexer, sign)) {
        return false;
    }
    filter_lex_next(lexer);
    return true;
}

const char *filter_lex_token_name(const struct filter_lexer *lexer, char text[64])
{
    const struct filter_token *token = &lexer->token;
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

void filter_lex_want_sign(struct filter_lexer *lexer, const char *sign, const char *for_what)
{
    char text[64];
    if (!filter_lex_take_sign(lexer, sign)) {
        filter_lex_wrong(lexer, lexer->token.at, "expected %s %s, found %s", sign, for_what,
                         filter_lex_token_name(lexer, text));
    }
}
