#include "cli/option.h"

#include "base/nearest.h"
#include "base/assert.h"
#include "base/ct.h"
#include "base/json.h"
#include "base/time.h"
#include "base/yaml.h"
#include "ring/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define OPTIONS_ARENA_BYTES (1U << 20)

__attribute__((format(printf, 2, 3))) static bool fail(struct options *options, const char *format,
                                                       ...)
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

static int index_of(const struct options *options, const char *name)
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
    int index = index_of(options, name);
    bk_assert(index >= 0);
    return (unsigned)index;
}

/* ---- values */

bool option_parse_bytes(const char *text, uint64_t *ret_bytes)
{
    static const char *const units[] = {"", "k", "m", "g", "t"};
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (number > (UINT64_MAX >> 1) / 10) {
            return false;
        }
        number = number * 10 + (uint64_t)(*at - '0');
    }
    if (at == text) {
        return false;
    }
    size_t unit = 0;
    if (*at != '\0' && *at != 'B') {
        for (unit = 1; unit < bk_array_length(units) && ascii_lower((uint8_t)*at) != units[unit][0];
             unit++) {
        }
        if (unit == bk_array_length(units)) {
            return false;
        }
        at += 1 + (at[1] == 'i');
    }
    at += *at == 'B';
    if (*at != '\0' || number > (UINT64_MAX >> 1) >> (10 * unit)) {
        return false;
    }
    *ret_bytes = number << (10 * unit);
    return true;
}

static bool parse_number(const char *text, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (number > UINT64_MAX / 10 - 1) {
            return false;
        }
        number = number * 10 + (uint64_t)(*at - '0');
    }
    *ret_number = number;
    return at != text && *at == '\0';
}

static bool parse_flag(const char *text, bool *ret_flag)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0", ""};
    struct slice given = slice_str(text);
    for (size_t i = 0; i < bk_array_length(yes); i++) {
        if (slice_equal_nocase(given, slice_str(yes[i]))) {
            *ret_flag = true;
            return true;
        }
    }
    for (size_t i = 0; i < bk_array_length(no); i++) {
        if (slice_equal_nocase(given, slice_str(no[i]))) {
            *ret_flag = false;
            return true;
        }
    }
    return false;
}

static bool is_choice(const char *choices, const char *text)
{
    for (const char *at = choices; *at != '\0';) {
        size_t bytes = strcspn(at, "|");
        if (slice_equal(slice_of(at, bytes), slice_str(text))) {
            return true;
        }
        at += bytes + (at[bytes] == '|');
    }
    return false;
}

static bool number_fits(const struct option *option, uint64_t number)
{
    return number >= option->number_min &&
           (option->number_max == 0 || number <= option->number_max);
}

/* What a value of this option has to be; NULL when `text` is fine. */
static const char *value_problem(const struct option *option, const char *text)
{
    uint64_t number = 0;
    int64_t duration_ns, time_ns;
    bool flag;
    switch (option->kind) {
    case OPTION_TEXT:
        return NULL;
    case OPTION_FLAG:
        return parse_flag(text, &flag) ? NULL : "true or false";
    case OPTION_NUMBER:
        if (!parse_number(text, &number)) {
            return "a number";
        }
        return number_fits(option, number) ? NULL : "within";
    case OPTION_BYTES:
        if (!option_parse_bytes(text, &number)) {
            return "a size such as 65536, 64K or 16M";
        }
        return number_fits(option, number) ? NULL : "within";
    case OPTION_DURATION:
        /* "5" of days or of seconds? Only of nothing it does not matter. */
        if (parse_number(text, &number) && number != 0) {
            return "a duration with its unit, such as 20s, 5m or 24h";
        }
        if (time_parse_duration(slice_str(text), &duration_ns) != BK_OK) {
            return "a duration such as 20s, 5m or 24h";
        }
        return option->number_min > 0 && duration_ns < NS_PER_MS ? "a time of 1ms or more" : NULL;
    case OPTION_TIME:
        return time_parse_since(slice_str(text), INT64_MAX, &time_ns) == BK_OK
                   ? NULL
                   : "a time: 2026-01-02T03:04:05Z, 2026-01-02, seconds since 1970, or a duration "
                     "before now such as 1h";
    case OPTION_DAY:
        return strlen(text) == 10 && text[4] == '-' &&
                       time_parse_since(slice_str(text), 0, &time_ns) == BK_OK
                   ? NULL
                   : "a day such as 2026-01-31";
    case OPTION_CHOICE:
        return is_choice(option->choices, text) ? NULL : "choice";
    case OPTION_END:
        break;
    }
    bk_never("an option without a kind");
}

/* "--threads", "BECKET_THREADS" or "threads in becket.yaml", as the user wrote it. */
static bool check_value(struct options *options, unsigned index, const char *where,
                        const char *text)
{
    const struct option *option = &options->table[index];
    if (*text == '\0' && option->kind != OPTION_FLAG) {
        return fail(options, "%s is empty; it wants a value: %s", where, option->argument);
    }
    const char *problem = value_problem(option, text);
    if (problem == NULL) {
        return true;
    }
    if (strcmp(problem, "choice") == 0) {
        return fail(options, "%s must be one of %s, not \"%.100s\"", where, option->choices, text);
    }
    if (strcmp(problem, "within") == 0) {
        if (option->number_max == 0) {
            return fail(options, "%s must be at least %llu, not %.40s", where,
                        (unsigned long long)option->number_min, text);
        }
        return fail(options, "%s must be between %llu and %llu, not %.40s", where,
                    (unsigned long long)option->number_min, (unsigned long long)option->number_max,
                    text);
    }
    return fail(options, "%s must be %s, not \"%.100s\"", where, problem, text);
}

static bool set_value(struct options *options, unsigned index, enum option_source source,
                      const char *where, const char *text)
{
    if (!check_value(options, index, where, text)) {
        return false;
    }
    if ((options->table[index].flags & OPTION_LIST) != 0) {
        if (options->list_count == OPTION_VALUES_MAX) {
            return fail(options, "%s is given too often, %u values are the most", where,
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
        return fail(options, "unknown option %s; did you mean --%s?", name, near);
    }
    return fail(options, "unknown option %s", name);
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
    int index = index_of(options, name + 2);
    if (index < 0) {
        return unknown_option(options, argument, name_bytes);
    }
    if (value == NULL && options->table[index].kind == OPTION_FLAG) {
        value = "true";
    } else if (value == NULL) {
        if (*at + 1 >= argc) {
            return fail(options, "%s wants a value: %s %s", name, name,
                        options->table[index].argument);
        }
        value = argv[++*at];
    }
    return set_value(options, (unsigned)index, OPTION_FROM_LINE, name, value);
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
                return fail(options, "%s wants a value: %s %s", name, name, option->argument);
            }
            value = argv[++*at];
        }
        return set_value(options, i, OPTION_FROM_LINE, name, value);
    }
    return unknown_option(options, argument, strlen(argument));
}

static bool add_argument(struct options *options, const char *argument)
{
    if (options->argument_count == OPTION_ARGUMENTS_MAX) {
        return fail(options, "too many arguments, %u are the most", OPTION_ARGUMENTS_MAX);
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
            !set_value(options, i, OPTION_FROM_ENV, name, value)) {
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
            return fail(options, "--%s %s is missing", option->name,
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
    return text != NULL && parse_flag(text, &flag) && flag;
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
                      : parse_number(options->values[index], &number);
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

/* ---- configuration file */

#define CONFIG_BYTES_MAX (1U << 20)

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The text of a scalar, NULL for anything else. */
static const char *scalar_text(struct options *options, yyjson_mut_val *value)
{
    if (yyjson_mut_is_str(value)) {
        struct slice text = json_text(value);
        return memchr(text.at, '\0', text.bytes) ? NULL
                                                 : arena_copy(&options->arena, text.at, text.bytes);
    }
    if (yyjson_mut_is_bool(value)) {
        return yyjson_mut_get_bool(value) ? "true" : "false";
    }
    if (yyjson_mut_is_uint(value)) {
        return arena_printf(&options->arena, "%llu",
                            (unsigned long long)yyjson_mut_get_uint(value));
    }
    if (yyjson_mut_is_num(value)) {
        return arena_printf(&options->arena, "%g", yyjson_mut_get_num(value));
    }
    return NULL;
}

static bool file_scalar(struct options *options, const char *path, unsigned index,
                        yyjson_mut_val *value)
{
    struct json_place place = json_place(value);
    const char *name = options->table[index].name;
    const char *text = scalar_text(options, value);
    char where[300];
    snprintf(where, sizeof where, "%.150s:%u: %s", base_name(path), place.line, name);
    if (text == NULL) {
        return fail(options, "%s must be one value", where);
    }
    return set_value(options, index, OPTION_FROM_FILE, where, text);
}

static bool file_entry(struct options *options, const char *path, yyjson_mut_val *key,
                       yyjson_mut_val *value)
{
    struct json_place place = json_place(value);
    int index = index_of(options, yyjson_mut_get_str(key));
    if (index < 0 || (options->table[index].flags & OPTION_FILE) == 0) {
        const char *names[OPTIONS_MAX + 1];
        unsigned count = 0;
        for (unsigned i = 0; options->table[i].kind != OPTION_END; i++) {
            if ((options->table[i].flags & OPTION_FILE) != 0) {
                names[count++] = options->table[i].name;
            }
        }
        names[count] = NULL;
        const char *near = nearest_word(slice_str(yyjson_mut_get_str(key)), names);
        return fail(options, "%.150s:%u:%u: unknown setting %.60s%s%s%s", base_name(path),
                    place.line, place.column, yyjson_mut_get_str(key),
                    near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    if (options->sources[index] > OPTION_FROM_FILE || yyjson_mut_is_null(value)) {
        return true;
    }
    if (!yyjson_mut_is_arr(value)) {
        return file_scalar(options, path, (unsigned)index, value);
    }
    if ((options->table[index].flags & OPTION_LIST) == 0) {
        return fail(options, "%.150s:%u: %s takes one value, not a list", base_name(path),
                    place.line, options->table[index].name);
    }
    size_t i, count;
    yyjson_mut_val *item;
    yyjson_mut_arr_foreach(value, i, count, item)
    {
        if (!file_scalar(options, path, (unsigned)index, item)) {
            return false;
        }
    }
    return true;
}

static bool file_tree(struct options *options, const char *path, const struct json_tree *tree)
{
    if (tree->count == 0) {
        return true;
    }
    if (tree->count > 1 || !yyjson_mut_is_obj(tree->roots[0])) {
        return fail(options, "%.300s: a configuration is one document of \"name: value\" lines",
                    path);
    }
    size_t i, count;
    yyjson_mut_val *key, *value;
    yyjson_mut_obj_foreach(tree->roots[0], i, count, key, value)
    {
        if (!file_entry(options, path, key, value)) {
            return false;
        }
    }
    return true;
}

bool options_file(struct options *options, const char *path)
{
    char *text;
    size_t bytes;
    enum bk_err err = file_read_all(path, CONFIG_BYTES_MAX, &text, &bytes);
    if (err != BK_OK) {
        return fail(options, "cannot read the configuration file %.300s: %s", path,
                    bk_err_text(err));
    }
    struct json_tree tree;
    struct json_problem problem;
    json_tree_init(&tree);
    bool done;
    if (yaml_or_json_parse(slice_of(text, bytes), &tree, &problem) == BK_OK) {
        done = file_tree(options, path, &tree);
    } else {
        done = fail(options, "%.200s:%u:%u: %s", base_name(path), problem.place.line,
                    problem.place.column, problem.message);
    }
    json_tree_fini(&tree);
    bk_wipe(text, bytes);
    free(text);
    return done;
}
