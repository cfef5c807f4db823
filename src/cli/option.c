#include "cli/option_private.h"

#include "base/nearest.h"
#include "base/assert.h"
#include "base/time.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define OPTIONS_ARENA_BYTES (1U << 20)

bool option_fail(struct options *options, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(options->error, sizeof options->error, format, args);
    va_end(args);
    return false;
}

static unsigned table_count(const struct option *table)
{
    unsigned count = 0;
    while (table[count].kind != OPTION_END) {
        count++;
    }
    bk_assert(count <= OPTIONS_MAX);
    return count;
}

int option_index(const struct options *options, const char *name)
{
    for (unsigned i = 0; options->table[i].kind != OPTION_END; i++) {
        if (strcmp(options->table[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* The option that a reader of values asks for: a name that the table lacks is a bug. */
static unsigned known(const struct options *options, const char *name)
{
    int index = option_index(options, name);
    bk_assert(index >= 0);
    return (unsigned)index;
}

/* ---- values */

/* "--threads", "BECKET_THREADS" or "threads in becket.yaml", as the user wrote it. */
static bool check_value(struct options *options, unsigned index, const char *where,
                        const char *text)
{
    const struct option *option = &options->table[index];
    if (*text == '\0' && option->kind != OPTION_FLAG) {
        return option_fail(options, "%s is empty; it wants a value: %s", where, option->argument);
    }
    const char *problem = option_value_problem(option, text);
    if (problem == NULL) {
        return true;
    }
    if (strcmp(problem, "choice") == 0) {
        return option_fail(options, "%s must be one of %s, not \"%.100s\"", where, option->choices,
                           text);
    }
    if (strcmp(problem, "within") == 0) {
        if (option->number_max == 0) {
            return option_fail(options, "%s must be at least %llu, not %.40s", where,
                               (unsigned long long)option->number_min, text);
        }
        return option_fail(options, "%s must be between %llu and %llu, not %.40s", where,
                           (unsigned long long)option->number_min,
                           (unsigned long long)option->number_max, text);
    }
    return option_fail(options, "%s must be %s, not \"%.100s\"", where, problem, text);
}

bool option_set(struct options *options, unsigned index, enum option_source source,
                const char *where, const char *text)
{
    if (!check_value(options, index, where, text)) {
        return false;
    }
    if ((options->table[index].flags & OPTION_LIST) != 0) {
        if (options->list_count == OPTION_VALUES_MAX) {
            return option_fail(options, "%s is given too often, %u values are the most", where,
                               OPTION_VALUES_MAX);
        }
        options->list[options->list_count] = text;
        options->list_of[options->list_count++] = (unsigned char)index;
    }
    options->values[index] = text;
    options->sources[index] = (unsigned char)source;
    return true;
}

/* ---- command line */

static bool unknown_option(struct options *options, const char *argument, size_t name_bytes)
{
    const char *names[OPTIONS_MAX + 2];
    unsigned count = 0;
    for (unsigned i = 0; options->table[i].kind != OPTION_END; i++) {
        if ((options->table[i].flags & OPTION_HIDDEN) == 0) {
            names[count++] = options->table[i].name;
        }
    }
    names[count++] = "help";
    names[count] = NULL;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(name_bytes < 60 ? name_bytes : 60), argument);
    const char *near = nearest_word(slice_str(name + strspn(name, "-")), names);
    if (near != NULL && name[0] == '-' && name[1] == '-') {
        return option_fail(options, "unknown option %s; did you mean --%s?", name, near);
    }
    return option_fail(options, "unknown option %s", name);
}

/* `--name`, `--name=value`, `--name value`: argv[*at], moved to the last one used. */
static bool parse_long(struct options *options, int argc, char **argv, int *at)
{
    char *argument = argv[*at];
    size_t name_bytes = strcspn(argument, "=");
    const char *value = argument[name_bytes] == '=' ? argument + name_bytes + 1 : NULL;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(name_bytes < 60 ? name_bytes : 60), argument);
    if (strcmp(name, "--help") == 0 && value == NULL) {
        options->help = true;
        return true;
    }
    int index = option_index(options, name + 2);
    if (index < 0) {
        return unknown_option(options, argument, name_bytes);
    }
    if (value == NULL && options->table[index].kind == OPTION_FLAG) {
        value = "true";
    } else if (value == NULL) {
        if (*at + 1 >= argc) {
            return option_fail(options, "%s wants a value: %s %s", name, name,
                               options->table[index].argument);
        }
        value = argv[++*at];
    }
    return option_set(options, (unsigned)index, OPTION_FROM_LINE, name, value);
}

/* `-f value`, `-fvalue`. */
static bool parse_short(struct options *options, int argc, char **argv, int *at)
{
    const char *argument = argv[*at];
    if (argument[1] == 'h' && argument[2] == '\0') {
        options->help = true;
        return true;
    }
    for (unsigned i = 0; options->table[i].kind != OPTION_END; i++) {
        const struct option *option = &options->table[i];
        if (option->letter != argument[1]) {
            continue;
        }
        char name[3] = {'-', option->letter, '\0'};
        const char *value = argument[2] == '='    ? argument + 3
                            : argument[2] != '\0' ? argument + 2
                                                  : NULL;
        if (option->kind == OPTION_FLAG && value == NULL) {
            value = "true";
        } else if (option->kind == OPTION_FLAG) {
            break;
        } else if (value == NULL) {
            if (*at + 1 >= argc) {
                return option_fail(options, "%s wants a value: %s %s", name, name,
                                   option->argument);
            }
            value = argv[++*at];
        }
        return option_set(options, i, OPTION_FROM_LINE, name, value);
    }
    return unknown_option(options, argument, strlen(argument));
}

static bool add_argument(struct options *options, const char *argument)
{
    if (*argument == '\0') { /* it must not go for all there is, or for another path of the API */
        return option_fail(options, "an argument is empty: a variable that is not set?");
    }
    if (options->argument_count == OPTION_ARGUMENTS_MAX) {
        return option_fail(options, "too many arguments, %u are the most", OPTION_ARGUMENTS_MAX);
    }
    options->arguments[options->argument_count++] = argument;
    return true;
}

static bool parse_line(struct options *options, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool done;
        if (strcmp(argv[i], "--") == 0) {
            while (++i < argc) {
                if (!add_argument(options, argv[i])) {
                    return false;
                }
            }
            return true;
        }
        if (argv[i][0] == '-' && argv[i][1] == '-') {
            done = parse_long(options, argc, argv, &i);
        } else if (argv[i][0] == '-' && argv[i][1] != '\0') {
            done = parse_short(options, argc, argv, &i);
        } else {
            done = add_argument(options, argv[i]);
        }
        if (!done || options->help) {
            return done;
        }
    }
    return true;
}

/* ---- environment */

void option_environment_name(const struct option *option, char ret_name[80])
{
    if (option->environment != NULL) {
        snprintf(ret_name, 80, "%s", option->environment);
        return;
    }
    snprintf(ret_name, 80, "BECKET_%s", option->name);
    for (char *c = ret_name; *c != '\0'; c++) {
        *c = (char)(*c == '-' ? '_' : *c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    }
}

static bool parse_environment(struct options *options)
{
    for (unsigned i = 0; options->table[i].kind != OPTION_END; i++) {
        const struct option *option = &options->table[i];
        if ((option->flags & OPTION_ENV) == 0 || options->sources[i] != OPTION_FROM_DEFAULT) {
            continue;
        }
        char name[80];
        option_environment_name(option, name);
        const char *value = getenv(name);
        /* An empty variable is an unset one: container files can then name all of them. */
        if (value != NULL && *value != '\0' &&
            !option_set(options, i, OPTION_FROM_ENV, name, value)) {
            return false;
        }
    }
    return true;
}

bool options_parse(struct options *options, const struct option *table, int argc, char **argv)
{
    bk_assert(argc >= 1);
    memset(options, 0, sizeof *options);
    options->table = table;
    arena_init(&options->arena, OPTIONS_ARENA_BYTES);
    unsigned count = table_count(table);
    for (unsigned i = 0; i < count; i++) {
        options->values[i] = table[i].fallback;
    }
    return parse_line(options, argc, argv) && (options->help || parse_environment(options));
}

bool options_complete(struct options *options)
{
    for (unsigned i = 0; options->table[i].kind != OPTION_END; i++) {
        const struct option *option = &options->table[i];
        if ((option->flags & OPTION_REQUIRED) != 0 && options->values[i] == NULL) {
            return option_fail(options, "--%s %s is missing", option->name,
                               option->argument ? option->argument : "");
        }
    }
    return true;
}

void options_fini(struct options *options)
{
    arena_fini(&options->arena);
}

/* ---- reading */

const char *option_text(const struct options *options, const char *name)
{
    return options->values[known(options, name)];
}

bool option_flag(const struct options *options, const char *name)
{
    bool flag = false;
    const char *text = option_text(options, name);
    return text != NULL && option_parse_flag(text, &flag) && flag;
}

uint64_t option_number(const struct options *options, const char *name)
{
    unsigned index = known(options, name);
    uint64_t number = 0;
    if (options->values[index] == NULL) {
        return 0;
    }
    bool parsed = options->table[index].kind == OPTION_BYTES
                      ? option_parse_bytes(options->values[index], &number)
                      : option_parse_number(options->values[index], &number);
    return parsed ? number : 0;
}

int64_t option_duration_ns(const struct options *options, const char *name)
{
    int64_t duration_ns = 0;
    const char *text = option_text(options, name);
    return text != NULL && time_parse_duration(slice_str(text), &duration_ns) == BK_OK ? duration_ns
                                                                                       : 0;
}

bool option_given(const struct options *options, const char *name)
{
    return options->sources[known(options, name)] != OPTION_FROM_DEFAULT;
}

unsigned option_list_count(const struct options *options, const char *name)
{
    unsigned index = known(options, name);
    unsigned count = 0;
    for (unsigned i = 0; i < options->list_count; i++) {
        count += options->list_of[i] == index;
    }
    return count;
}

const char *option_list_at(const struct options *options, const char *name, unsigned index)
{
    unsigned option = known(options, name);
    for (unsigned i = 0; i < options->list_count; i++) {
        if (options->list_of[i] == option && index-- == 0) {
            return options->list[i];
        }
    }
    return NULL;
}
