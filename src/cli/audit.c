/* audit: who changed what. */
#include "cli/commands.h"

#include "cli/remote.h"

#include <yyjson.h>

const struct option cli_audit_options[] = {
    {.name = "limit",
     .letter = 'n',
     .kind = OPTION_NUMBER,
     .argument = "N",
     .fallback = "50",
     .number_min = 1,
     .help = "how many, the newest first"},
    {.name = "since", .kind = OPTION_TIME, .argument = "TIME", .help = "made at or after"},
    {.name = "until", .kind = OPTION_TIME, .argument = "TIME", .help = "made before"},
    {.name = "actor", .kind = OPTION_TEXT, .argument = "TOKEN", .help = "only by this token"},
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};

/* "spec.limits.bodyBytes, spec.path" */
static void add_paths(struct buf *text, yyjson_mut_val *diff)
{
    size_t i, count;
    yyjson_mut_val *one;
    yyjson_mut_arr_foreach(diff, i, count, one)
    {
        if (i > 0) {
            buf_add_str(text, ", ");
        }
        buf_add_slice(text, text_at(one, "path"));
    }
}

static void add_record(struct table *table, yyjson_mut_val *record)
{
    char at[32];
    struct buf paths;
    print_time(text_at(record, "at"), at);
    buf_init(&paths, 1U << 16);
    add_paths(&paths, value_at(record, "diff"));
    table_row(table);
    table_cell(table, slice_str(at));
    table_cell(table, text_at(record, "actor"));
    table_cell(table, text_at(record, "remote"));
    table_cell(table, text_at(record, "action"));
    table_cell(table, text_at(record, "kind"));
    table_cell(table, text_at(record, "name"));
    table_cell(table, buf_slice(&paths));
    buf_fini(&paths);
}

static int audit(struct remote *remote, const struct options *options)
{
    static const char *const filters[] = {"since", "until", "actor", NULL};
    struct buf path;
    buf_init(&path, 16384);
    buf_add_str(&path, "/api/v1/audit");
    remote_query(&path, "kind", options->argument_count > 0 ? options->arguments[0] : NULL);
    remote_query(&path, "name", options->argument_count > 1 ? options->arguments[1] : NULL);
    struct remote_list records = {.path = buf_text(&path),
                                  .what = "records",
                                  .filters = filters,
                                  .columns = "AT@|ACTOR|FROM?|ACTION|KIND|NAME|CHANGED",
                                  .add_row = add_record};
    int code = remote_print_list(remote, options, &records, option_number(options, "limit"));
    buf_fini(&path);
    return code;
}

int cli_audit(int argc, char **argv)
{
    struct options options;
    struct remote remote;
    int code;
    if (!cli_begin(&options, cli_audit_options, argc, argv, &code)) {
        return code;
    }
    bool empty = false; /* an unset variable of a script must not mean everything */
    for (unsigned i = 0; i < options.argument_count; i++) {
        empty = empty || options.arguments[i][0] == '\0';
    }
    if (options.argument_count > 2 || empty) {
        code = cli_usage("audit takes at most a kind and a name: becket audit destination app");
    } else {
        code = remote_open(&remote, &options) ? audit(&remote, &options) : CLI_FAILED;
        remote_fini(&remote);
    }
    options_fini(&options);
    return code;
}
