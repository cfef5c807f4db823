/* option_private.h - what the files of option.h share. */
#ifndef BECKET_CLI_OPTION_PRIVATE_H
#define BECKET_CLI_OPTION_PRIVATE_H

#include "cli/option.h"

/* ---- option_value.c */
bool option_parse_number(const char *text, uint64_t *ret_number);
bool option_parse_flag(const char *text, bool *ret_flag);
/* What a value of this option has to be ("choice": one of its choices; "within": between its
 * bounds); NULL when `text` is fine. */
const char *option_value_problem(const struct option *option, const char *text);

/* ---- option.c */
/* Says what is wrong; false. */
__attribute__((format(printf, 2, 3))) bool option_fail(struct options *options, const char *format,
                                                       ...);
/* By name; -1 = the table has none. */
int option_index(const struct options *options, const char *name);
/* `where`: what the user called it. False: the value is not one. */
bool option_set(struct options *options, unsigned index, enum option_source source,
                const char *where, const char *text);

#endif
