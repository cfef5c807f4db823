/* form.h - fields of a form, of a query and of a Cookie header; pure.
 *
 * Failure     Malformed escapes, NUL bytes, and text that is not UTF-8 make a field absent; of two
 *             fields with one name there is none either: nobody can tell which was meant.
 * Threads     Pure; any.
 */
#ifndef BECKET_API_FORM_H
#define BECKET_API_FORM_H

#include "base/arena.h"
#include "base/buf.h"

/* The decoded field of "a=b&c=d". False when absent. */
bool form_field(struct slice text, const char *name, struct arena *arena, struct slice *ret_value);
/* There is a field of this name, however often and whatever its value. */
bool form_has(struct slice text, const char *name, struct arena *arena);
/* Empty when absent. */
struct slice form_text(struct slice text, const char *name, struct arena *arena);
/* The value of a cookie, as sent; of two with one name there is none. */
bool cookie_find(struct slice header, const char *name, struct slice *ret_value);
/* Where a form may lead afterwards: a path of this server alone ("/settings"), never another host.
 */
bool form_is_own_path(struct slice path);

/* ---- writing HTML: everything from outside goes through html_add */
void html_add(struct buf *html, struct slice text);

#endif
