/* apply, diff. */
#include "cli/commands.h"

#include "cli/files.h"
#include "cli/remote.h"
#include "hub/resources/resource.h"

#include <yyjson.h>

#define PRUNE_OPTION                                                                               \
    {                                                                                              \
        .name = "prune", .kind = OPTION_FLAG,                                                      \
        .help = "delete what the files do not name, of their kinds and canvases"                   \
    }

const struct option cli_apply_options[] = {
    FILE_OPTION,
    RECURSIVE_OPTION,
    {.name = "dry-run", .kind = OPTION_FLAG, .help = "check and show, change nothing"},
    PRUNE_OPTION,
    CANVAS_OPTION,
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};
const struct option cli_diff_options[] = {
    FILE_OPTION,
    RECURSIVE_OPTION,
    PRUNE_OPTION,
    {.name = "exit-code", .kind = OPTION_FLAG, .help = "exit with 1 when there are differences"},
    CANVAS_OPTION,
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};
static void print_results(yyjson_mut_val *results, bool dry_run)
{
    struct table table;
    size_t i, count;
    yyjson_mut_val *result;
    table_init(&table, dry_run ? "WOULD BE|KIND|NAME!|URL!" : "ACTION|KIND|NAME!|URL!");
    yyjson_mut_arr_foreach(results, i, count, result)
    {
        table_row(&table);
        table_cell(&table, text_at(result, "action"));
        table_cell(&table, text_at(result, "kind"));
        table_cell(&table, text_at(result, "name"));
        table_cell(&table, text_at(result, "url"));
    }
    table_print(&table);
    table_fini(&table);
    yyjson_mut_arr_foreach(results, i, count, result)
    {
        struct slice key = text_at(result, "key"), name = text_at(result, "name");
        if (key.bytes != 0 && !dry_run) {
            struct buf line;
            buf_init(&line, 4096);
            struct slice canvas = text_at(result, "canvasId");
            bool elsewhere = canvas.bytes != 0 && !slice_equal(canvas, SLICE("default"));
            buf_printf(&line, "\nsigning key of %.*s: %.*s (`becket secrets %.*s",
                       (int)name.bytes, (const char *)name.at, (int)key.bytes, (const char *)key.at,
                       (int)name.bytes, (const char *)name.at);
            buf_add_str(&line, elsewhere ? " --canvas " : "");
            buf_add_slice(&line, elsewhere ? canvas : SLICE_EMPTY);
            buf_add_str(&line, "` shows it again)");
            print_line(buf_slice(&line));
            buf_fini(&line);
        }
    }
}

static void add_json(struct buf *text, yyjson_mut_val *value)
{
    if (value == NULL || yyjson_mut_is_null(value)) {
        return;
    }
    if (yyjson_mut_is_str(value)) {
        buf_add_slice(text, json_text(value));
    } else {
        json_add_value(text, value);
    }
}

/* "+ spec.path: x", "- spec.path: x", "  spec.path: x -> y". */
static void print_diff_line(struct buf *text, yyjson_mut_val *diff)
{
    yyjson_mut_val *before = value_at(diff, "before"), *after = value_at(diff, "after");
    bool added = before == NULL || yyjson_mut_is_null(before);
    bool removed = after == NULL || yyjson_mut_is_null(after);
    buf_add_str(text, added ? "    + " : removed ? "    - " : "    ~ ");
    buf_add_slice(text, text_at(diff, "path"));
    buf_add_str(text, ": ");
    add_json(text, added ? after : before);
    if (!added && !removed) {
        buf_add_str(text, " -> ");
        add_json(text, after);
    }
    buf_add_byte(text, '\n');
}

/* Returns how many objects differ. */
static size_t print_diffs(yyjson_mut_val *results)
{
    size_t i, count, j, diffs, differing = 0;
    yyjson_mut_val *result, *diff;
    struct buf text, safe;
    buf_init(&text, 64U << 20);
    buf_init(&safe, 128U << 20);
    yyjson_mut_arr_foreach(results, i, count, result)
    {
        struct slice action = text_at(result, "action");
        if (slice_equal(action, SLICE("unchanged"))) {
            continue;
        }
        differing++;
        buf_add_str(&text, slice_equal(action, SLICE("created"))   ? "+ "
                           : slice_equal(action, SLICE("deleted")) ? "- "
                                                                   : "~ ");
        buf_add_slice(&text, text_at(result, "kind"));
        buf_add_byte(&text, ' ');
        buf_add_slice(&text, text_at(result, "name"));
        buf_add_byte(&text, '\n');
        yyjson_mut_arr_foreach(value_at(result, "diff"), j, diffs, diff)
        {
            print_diff_line(&text, diff);
        }
    }
    print_safe(&safe, buf_slice(&text), true);
    print_bytes(buf_slice(&safe));
    buf_fini(&text);
    buf_fini(&safe);
    return differing;
}

static int show_applied(const struct options *options, yyjson_mut_val *answer, bool diff,
                        bool dry_run)
{
    enum print_format format = print_format(option_text(options, "output"));
    yyjson_mut_val *results = value_at(answer, "results");
    size_t differing = 0;
    if (format != PRINT_TABLE) {
        print_value(answer, format);
        size_t i, count;
        yyjson_mut_val *result;
        yyjson_mut_arr_foreach(results, i, count, result)
        {
            differing += !slice_equal(text_at(result, "action"), SLICE("unchanged"));
        }
    } else if (diff) {
        differing = print_diffs(results);
    } else {
        print_results(results, dry_run);
    }
    return diff && option_flag(options, "exit-code") && differing != 0 ? CLI_FAILED : CLI_DONE;
}

#define CANVASES_NOTED 4U

/* Is each canvas that something was put into there? Its name may be mistyped. */
static void note_canvases(struct remote *remote, yyjson_mut_val *results)
{
    char seen[CANVASES_NOTED][NAME_BYTES_MAX + 1];
    size_t i, count, known = 0;
    yyjson_mut_val *result;
    yyjson_mut_arr_foreach(results, i, count, result)
    {
        struct slice canvas = text_at(result, "canvasId");
        bool again = canvas.bytes == 0 || canvas.bytes > NAME_BYTES_MAX ||
                     slice_equal(canvas, SLICE(RESOURCE_CANVAS_DEFAULT)) ||
                     known == CANVASES_NOTED ||
                     slice_equal(text_at(result, "action"), SLICE("deleted"));
        for (size_t k = 0; !again && k < known; k++) {
            again = slice_equal(canvas, slice_str(seen[k]));
        }
        if (!again) {
            snprintf(seen[known], sizeof seen[known], "%.*s", (int)canvas.bytes,
                     (const char *)canvas.at);
            remote_note_canvas(remote, seen[known++]);
        }
    }
}

static int apply_files(const struct options *options, struct files *files, bool diff)
{
    struct remote remote;
    struct client_response response = {0};
    struct json_tree tree;
    struct buf target;
    bool dry_run = diff || option_flag(options, "dry-run");
    int code = CLI_FAILED;
    buf_init(&target, 4096);
    buf_add_str(&target, "/api/v1/apply");
    remote_query(&target, "dryRun", dry_run ? "true" : NULL);
    remote_query(&target, "prune", option_flag(options, "prune") ? "true" : NULL);
    remote_query(&target, "canvas", option_text(options, "canvas"));
    json_tree_init(&tree);
    if (remote_open(&remote, options) &&
        remote_try(&remote, "POST", buf_text(&target), "application/yaml", buf_slice(&files->text),
                   &response)) {
        if (response.status >= 300) {
            code = files_invalid(files, &response);
        } else if (remote_json(&response, &tree)) {
            code = show_applied(options, tree.roots[0], diff, dry_run);
            if (!dry_run && code == CLI_DONE) {
                note_canvases(&remote, value_at(tree.roots[0], "results"));
            }
        }
    }
    client_response_fini(&response);
    remote_fini(&remote);
    json_tree_fini(&tree);
    buf_fini(&target);
    return code;
}

static int apply_or_diff(int argc, char **argv, const struct option *table, bool diff)
{
    struct options options;
    struct files files;
    int code;
    if (!cli_begin(&options, table, argc, argv, &code)) {
        return code;
    }
    if (option_list_count(&options, "file") == 0 || options.argument_count != 0) {
        code = cli_usage("%s takes its documents with -f: becket %s -f %s", argv[0], argv[0],
                         options.argument_count > 0 ? options.arguments[0] : "FILE");
        options_fini(&options);
        return code;
    }
    files_init(&files);
    code = files_read(&files, &options, option_flag(&options, "prune"))
               ? apply_files(&options, &files, diff)
               : CLI_FAILED;
    files_fini(&files);
    options_fini(&options);
    return code;
}

int cli_apply(int argc, char **argv)
{
    return apply_or_diff(argc, argv, cli_apply_options, false);
}

int cli_diff(int argc, char **argv)
{
    return apply_or_diff(argc, argv, cli_diff_options, true);
}
