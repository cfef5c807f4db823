/* kind.h - kinds as a person writes them, and where the API has their objects. */
#ifndef BECKET_CLI_KIND_H
#define BECKET_CLI_KIND_H

#include "base/buf.h"
#include "cli/option.h"

/* The plural for the URL: of a kind, or "tokens", "entries". NULL after an error was printed. */
const char *kind_plural(const char *text, bool *ret_in_canvas);
/* "/api/v1/{plural}[/{name}]", in the canvas of the options. name may be NULL. */
void kind_target(struct buf *target, const struct options *options, const char *plural,
                 bool in_canvas, const char *name);

#endif
