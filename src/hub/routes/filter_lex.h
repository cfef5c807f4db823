/* filter_lex.h - an expression's text as tokens: names, numbers, texts and signs.
 *
 * Purpose     For filter_compile.c. One token ahead; the first thing that is wrong is kept with its
 *             place, and everything after it is the end.
 * Ownership   Token texts point into the expression, string values into the lexer.
 */
#ifndef BECKET_HUB_FILTER_LEX_H
#define BECKET_HUB_FILTER_LEX_H

#include "hub/routes/filter_private.h"

enum token_kind { TOKEN_END, TOKEN_NAME, TOKEN_NUMBER, TOKEN_TEXT, TOKEN_SIGN };

struct filter_token {
    enum token_kind kind;
    struct slice text; /* as written; of TOKEN_TEXT the value */
    struct filter_value value;
    size_t at;
};

struct filter_lexer {
    struct slice text;
    size_t at; /* of what follows `token` */
    struct filter_token token;
    bool failed;
    size_t error_at;
    struct filter_error *error;
    size_t strings;                           /* bytes of string values so far */
    uint8_t bytes[FILTER_TEXT_BYTES_MAX * 2]; /* of string values, which escapes make no longer */
};

/* Only the first one counts. */
__attribute__((format(printf, 3, 4))) void filter_lex_wrong(struct filter_lexer *lexer, size_t at,
                                                            const char *format, ...);
void filter_lex_next(struct filter_lexer *lexer);

bool filter_lex_is_sign(const struct filter_lexer *lexer, const char *sign);
bool filter_lex_is_word(const struct filter_lexer *lexer, const char *word);
/* Goes on behind it when it is there. */
bool filter_lex_take_sign(struct filter_lexer *lexer, const char *sign);
/* Wrong when it is not there. */
void filter_lex_want_sign(struct filter_lexer *lexer, const char *sign, const char *for_what);
/* The token as messages call it; may use `text`. */
const char *filter_lex_token_name(const struct filter_lexer *lexer, char text[64]);
/* A copy of a text that is a value. */
struct slice filter_lex_keep(struct filter_lexer *lexer, struct slice text);

#endif
