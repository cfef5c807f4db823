/* audit: who changed what. */
#include "cli/commands.h"

#include "cli/remote.h"

const struct option cli_audit_options[] = {
    {.name = "limit",
     .letter = 'n',
     .kind = OPTION_NUMBER,
     .argument = "N",
     .fallback = "50",
     .number_min = 1,
     .number_max = 1000,
     .help = "how many, the newest first"},
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

static void print_records(yyjson_mut_val *items)
{
    struct table table;
    size_t i, count;
    yyjson_mut_val *record;
    table_init(&table, "AT@|ACTOR|FROM?|ACTION|KIND|NAME|CHANGED");
    yyjson_mut_arr_foreach(items, i, count, record)
    {
        char at[32];
        struct buf paths;
        print_time(text_at(record, "at"), at);
        buf_init(&paths, 1U << 16);
        add_paths(&paths, value_at(record, "diff"));
        table_row(&table);
        table_cell(&table, slice_str(at));
        table_cell(&table, text_at(record, "actor"));
        table_cell(&table, text_at(record, "remote"));
        table_cell(&table, text_at(record, "action"));
        table_cell(&table, text_at(record, "kind"));
        table_cell(&table, text_at(record, "name"));
        table_cell(&table, buf_slice(&paths));
        buf_fini(&paths);
    }
    table_print(&table);
    table_fini(&table);
}

static int list(struct remote *remote, const struct options *options)
{
    struct client_response response = {0};
    struct json_tree tree;
    enum print_format format = print_format(option_text(options, "output"));
    char target[64];
    int code = CLI_FAILED;
    snprintf(target, sizeof target, "/api/v1/audit?limit=%llu",
             (unsigned long long)option_number(options, "limit"));
    json_tree_init(&tree);
    if (remote_call(remote, "GET", target, NULL, SLICE_EMPTY, &response) &&
        remote_json(&response, &tree)) {
        code = CLI_DONE;
        if (format != PRINT_TABLE) {
            print_value(tree.roots[0], format);
        } else {
            print_records(value_at(tree.roots[0], "items"));
        }
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
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
    if (options.argument_count != 0) {
        code = cli_usage("audit takes no argument \"%s\"", options.arguments[0]);
    } else {
        code = CLI_FAILED;
        if (remote_open(&remote, &options)) {
            code = list(&remote, &options);
        }
        remote_fini(&remote);
    }
    options_fini(&options);
    return code;
}
