/* cli.h - the command line of becket: a table of commands.
 *
 * Purpose     main() calls cli_main(), which finds the command and runs it. A command's usage text,
 *             options and help come from the same table (struct cli_command).
 * Exit codes  0 done, 1 what was asked for failed or was refused, 2 usage.
 * Errors      One line on stderr: "becket: what; how to mend it".
 */
#ifndef BECKET_CLI_CLI_H
#define BECKET_CLI_CLI_H

#include "cli/option.h"

#define BECKET_VERSION "0.1.0"

enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2 };

/* argv[0] is the command's name ("serve"), argv[argc] is NULL. Returns the exit code. */
typedef int cli_run_fn(int argc, char **argv);

struct cli_command {
    const char *name;
    cli_run_fn *run;
    /* behind the name: "[--config FILE] [--data DIR]"; NULL = made from the options */
    const char *usage;
    const char *summary; /* one line, no full stop */
    const char *more;    /* paragraphs for `becket help COMMAND`; NULL = none */
    const struct option *options;
};

int cli_main(int argc, char **argv);

/* Written elsewhere in this folder: the server and the load generator, with their option tables. */
int cli_serve(int argc, char **argv);
extern const struct option cli_serve_options[];
int cli_bench(int argc, char **argv);
extern const struct option cli_bench_options[];

/* Print the help of a command on stdout. */
void cli_help(const char *name);
/* "becket serve: unknown option --lisen; did you mean --listen? See `becket help serve`". Returns
 * CLI_USAGE. */
int cli_usage_error(const char *command, const struct options *options);
/* "becket: …", one line on stderr, control characters escaped. Returns CLI_FAILED. */
__attribute__((format(printf, 1, 2))) int cli_error(const char *format, ...);
/* The same, returns CLI_USAGE. */
__attribute__((format(printf, 1, 2))) int cli_usage(const char *format, ...);

#endif
