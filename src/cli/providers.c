/* providers: what spec.type may be, and what each needs. Off line: it is this binary's own table.
 */
#include "cli/commands.h"

#include "base/nearest.h"
#include "cli/print.h"
#include "providers/scheme.h"

#include <limits.h>
#include <yyjson.h>

const struct option cli_providers_options[] = {
    {.name = "output",
     .letter = 'o',
     .kind = OPTION_CHOICE,
     .argument = "FORMAT",
     .fallback = "table",
     .choices = "table|json|yaml|markdown",
     .help = "how to print it"},
    {.kind = OPTION_END},
};

#define TYPES_MAX 512U

/* Of a terminal so wide that all four columns can be read. */
#define WIDE 160U

static void print_table(void)
{
    struct table table;
    struct buf text;
    unsigned width = print_terminal_width();
    bool narrow = width != 0 && width < WIDE;
    table_init(&table, narrow ? "TYPE!|PROVIDER|NEEDS" : "TYPE!|PROVIDER|VERIFIED BY|NEEDS");
    buf_init(&text, 1U << 16);
    for (size_t i = 0; i < scheme_row_count(); i++) {
        const struct scheme_row *row = scheme_row_at(i);
        buf_reset(&text);
        scheme_row_verification(row, &text);
        table_row(&table);
        table_cell(&table, slice_str(scheme_row_name(row)));
        table_cell(&table, slice_str(scheme_row_title(row)));
        if (!narrow) {
            table_cell(&table, buf_slice(&text));
        }
        table_cell(&table, slice_str(scheme_row_needs(row)));
    }
    table_print(&table);
    if (narrow) {
        fprintf(stderr, "`becket providers TYPE` tells all about one\n");
    }
    table_fini(&table);
    buf_fini(&text);
}

/* Of everybody's own installations: whose tokens are to be taken? */
static bool wants_issuer(const struct scheme_row *row)
{
    struct scheme_custom custom = {.scheme = SLICE("jwt"), .base = slice_str(scheme_row_name(row))};
    struct scheme_row *own = NULL;
    const char *field = NULL, *message = NULL;
    enum bk_err err = scheme_row_custom(&custom, &own, &field, &message);
    scheme_row_free(own);
    return err != BK_OK && field && strcmp(field, "issuer") == 0;
}

/* What to apply, so that nobody has to look for it. */
static void add_example(struct buf *text, const struct scheme_row *row)
{
    const char *name = scheme_row_name(row);
    bool secret = scheme_row_needs_secret(row) && !scheme_row_learns(row);
    buf_add_str(text, "\nto apply (then `becket get event-sources`: its address)\n\n");
    if (secret) {
        buf_printf(text,
                   "  kind: Secret\n  metadata: {name: %s}\n"
                   "  spec: {data: {key: PUT-IT-HERE}}\n  ---\n",
                   name);
    }
    buf_printf(text, "  kind: EventSource\n  metadata: {name: %s}\n  spec:\n    type: %s\n", name,
               name);
    if (secret) {
        buf_printf(text,
                   "    verification:\n"
                   "      secrets: [{valueFrom: {secret: {name: %s, key: key}}}]\n",
                   name);
    } else if (scheme_row_takes_claims(row)) {
        buf_printf(text, "    verification: {%saudience: PUT-IT-HERE}\n",
                   wants_issuer(row) ? "issuer: https://PUT-IT-HERE, " : "");
    }
}

/* No provider: what one writes oneself, as a beginning. */
static bool print_generic(void)
{
    return print_bytes(
        SLICE("type         generic\n"
              "provider     a sender of your own\n"
              "verified by  what spec.verification says; all of it: src/guides/receive.md\n"
              "\n"
              "to apply (then `becket get event-sources`: its address)\n"
              "\n"
              "  kind: EventSource\n"
              "  metadata: {name: inhouse}\n"
              "  spec:\n"
              "    type: generic\n"
              "    verification:\n"
              "      scheme: hmac\n"
              "      algorithm: sha256\n"
              "      signature: {header: X-Signature, format: \"{hex}\"}\n"
              "      timestamp: {header: X-Timestamp}\n"
              "      signed: \"{timestamp}.{body}\"\n"
              "      secrets: [{value: PUT-IT-HERE}]\n"));
}

/* One of them in lines, which no terminal is too narrow for. */
static void print_one(const struct scheme_row *row)
{
    unsigned width = print_terminal_width() ? print_terminal_width() : UINT_MAX;
    struct buf text, verification;
    buf_init(&text, 1U << 17);
    buf_init(&verification, 1U << 16);
    scheme_row_verification(row, &verification);
    buf_printf(&text, "type         %s\nprovider     %s\nverified by  ", scheme_row_name(row),
               scheme_row_title(row));
    print_wrapped(&text, buf_slice(&verification), 13, 13, width);
    buf_add_str(&text, "needs        ");
    print_wrapped(&text, slice_str(scheme_row_needs(row)), 13, 13, width);
    add_example(&text, row);
    print_bytes(buf_slice(&text));
    buf_fini(&verification);
    buf_fini(&text);
}

/* The whole list, or the one element that is asked for. */
static int print_list(const char *only, enum print_format format)
{
    struct buf json;
    struct json_tree tree;
    int code = CLI_FAILED;
    buf_init(&json, 4U << 20);
    json_tree_init(&tree);
    scheme_catalogue_json(&json);
    struct json_problem problem;
    if (json_parse(buf_slice(&json), &tree, &problem) == BK_OK) {
        yyjson_mut_val *items = yyjson_mut_obj_get(tree.roots[0], "items"), *item;
        size_t i, count;
        const char *name = only != NULL ? scheme_row_name(scheme_row_find(slice_str(only))) : NULL;
        yyjson_mut_arr_foreach(items, i, count, item)
        {
            if (name != NULL && yyjson_mut_equals_str(yyjson_mut_obj_get(item, "type"), name)) {
                print_value(item, format);
            }
        }
        if (name == NULL) {
            print_value(tree.roots[0], format);
        }
        code = CLI_DONE;
    }
    json_tree_fini(&tree);
    buf_fini(&json);
    return code;
}

static int unknown_type(const char *type)
{
    const char *names[TYPES_MAX + 1];
    size_t count = scheme_row_count() < TYPES_MAX ? scheme_row_count() : TYPES_MAX;
    for (size_t i = 0; i < count; i++) {
        names[i] = scheme_row_name(scheme_row_at(i));
    }
    names[count] = NULL;
    const char *near = nearest_word(slice_str(type), names);
    return near ? cli_usage("there is no provider %s; did you mean %s?", type, near)
                : cli_usage("there is no provider %s; `becket providers` lists them", type);
}

int cli_providers(int argc, char **argv)
{
    struct options options;
    int code;
    if (!cli_begin(&options, cli_providers_options, argc, argv, &code)) {
        return code;
    }
    const char *format = option_text(&options, "output");
    const char *only = options.argument_count != 0 ? options.arguments[0] : NULL;
    if (options.argument_count > 1) {
        code = cli_usage("providers takes one TYPE at most");
    } else if (only != NULL && scheme_is_generic(slice_str(only))) {
        code = strcmp(format, "table") == 0
                   ? print_generic() ? CLI_DONE : CLI_FAILED
                   : cli_usage("generic is no provider: `becket providers generic` prints what to "
                               "apply");
    } else if (only != NULL && scheme_row_find(slice_str(only)) == NULL) {
        code = unknown_type(only);
    } else if (strcmp(format, "markdown") == 0) {
        struct buf text;
        buf_init(&text, 4U << 20);
        scheme_catalogue_markdown(&text);
        code = print_bytes(buf_slice(&text)) ? CLI_DONE : CLI_FAILED;
        buf_fini(&text);
    } else if (print_format(format) == PRINT_TABLE) {
        if (only != NULL) {
            print_one(scheme_row_find(slice_str(only)));
        } else {
            print_table();
        }
    } else {
        code = print_list(only, print_format(format));
    }
    options_fini(&options);
    return code;
}
