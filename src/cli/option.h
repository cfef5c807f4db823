/* option.h - options of a command line, its environment and its configuration file, from one table.
 *
 * Purpose     Each command describes its options once, in a constant table; parsing, checking,
 *             `becket help COMMAND` and the nearest-name suggestion all come from it.
 * Spelling    `--name value`, `--name=value`, `-f value`, `-fvalue`, `-f=value`; a FLAG takes no
 *             value but may be given as `--name=true|false`. An empty value is refused: `--to
 *             "$unset"` is a mistake, not all there is. `--` ends the options. Options and
 *             arguments may be mixed.
 * Precedence  command line, then environment (OPTION_ENV: BECKET_<NAME>, upper case, '-' is '_'),
 *             then configuration file (OPTION_FILE: the option's name as YAML key), then the
 *             table's default.
 * Ownership   Values point into argv, the environment, the table, or `options` itself (file): keep
 *             all of them. options_fini() wipes and frees.
 * Failure     Every function that can fail gives false and leaves one line in options->error: what
 *             is wrong and how to mend it. cli_usage_error() prints it; the exit code is 2.
 */
#ifndef BECKET_CLI_OPTION_H
#define BECKET_CLI_OPTION_H

#include "base/arena.h"
#include "base/slice.h"

enum option_kind {
    OPTION_END = 0, /* ends the table */
    OPTION_TEXT,
    OPTION_URL,      /* http:// or https:// and something behind it, no query */
    OPTION_FLAG,     /* true or false */
    OPTION_NUMBER,   /* decimal, between number_min and number_max */
    OPTION_DURATION, /* "20s", "1m30s", "24h", see base/time.h; number_min 1: not none at all */
    OPTION_TIME,     /* a point in time: RFC 3339, a day, unix seconds, "1h" before now */
    OPTION_DAY,      /* "2026-01-31" */
    OPTION_BYTES,    /* "65536", "64K", "16M", "1G" (powers of 1024) */
    OPTION_CHOICE    /* one of `choices` */
};

enum {
    OPTION_ENV = 1,  /* also BECKET_<NAME> */
    OPTION_FILE = 2, /* also in the configuration file */
    OPTION_LIST = 4, /* may be given several times (command line) or as a list (file) */
    OPTION_REQUIRED = 8,
    OPTION_HIDDEN = 16 /* not in the help */
};

struct option {
    const char *name; /* without "--" */
    char letter;      /* 'f' for -f, 0 = none */
    enum option_kind kind;
    unsigned flags;
    const char *argument;            /* how the help calls the value: "DIR"; NULL for a FLAG */
    const char *fallback;            /* default as text; NULL = none */
    const char *help;                /* one line, no full stop */
    const char *choices;             /* OPTION_CHOICE: "text|json" */
    uint64_t number_min, number_max; /* OPTION_NUMBER, OPTION_BYTES; max 0 = no limit */
    const char *environment;         /* with OPTION_ENV: another name than BECKET_<NAME> */
};

#define OPTIONS_MAX          64U
#define OPTION_VALUES_MAX    256U /* of all OPTION_LIST options together */
#define OPTION_ARGUMENTS_MAX 256U

struct options {
    const struct option *table;
    const char *values[OPTIONS_MAX];          /* last one given; NULL = none */
    unsigned char sources[OPTIONS_MAX];       /* enum option_source */
    const char *list[OPTION_VALUES_MAX];      /* values of OPTION_LIST options, in order … */
    unsigned char list_of[OPTION_VALUES_MAX]; /* … and the table index of each */
    unsigned list_count;
    const char *arguments[OPTION_ARGUMENTS_MAX];
    unsigned argument_count;
    bool help; /* --help or -h was given */
    struct arena arena;
    char error[512];
};

enum option_source { OPTION_FROM_DEFAULT, OPTION_FROM_FILE, OPTION_FROM_ENV, OPTION_FROM_LINE };

/* Parse argv[1..argc-1] (argv[0] is the command's name), then the environment for what was not
 * given.
 * Values are checked against their kind. options_fini() is needed after a failure too. */
bool options_parse(struct options *options, const struct option *table, int argc, char **argv);
/* Read a YAML file of `option-name: value` lines for what neither line nor environment gave.
 * Unknown keys
 * are errors with line and column. */
bool options_file(struct options *options, const char *path);
/* Checks OPTION_REQUIRED; call after options_file(). */
bool options_complete(struct options *options);
void options_fini(struct options *options);

/* Values by name; the name must be in the table (asserted). */
/* NULL = not given, no default */
const char *option_text(const struct options *options, const char *name);
bool option_flag(const struct options *options, const char *name);
/* NUMBER and BYTES; 0 when absent */
uint64_t option_number(const struct options *options, const char *name);
int64_t option_duration_ns(const struct options *options, const char *name); /* 0 when absent */
/* from line, environment or file */
bool option_given(const struct options *options, const char *name);
unsigned option_list_count(const struct options *options, const char *name);
const char *option_list_at(const struct options *options, const char *name, unsigned index);

/* What an OPTION_ENV option is called in the environment: at most 79 characters. */
void option_environment_name(const struct option *option, char ret_name[80]);
/* "65536", "64K", "16MiB" …; false when malformed or over 2^63. */
bool option_parse_bytes(const char *text, uint64_t *ret_bytes);

#endif
