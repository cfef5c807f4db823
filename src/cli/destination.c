/* pause, resume, secrets, retry: what is asked of one object besides reading and changing it. */
#include "cli/commands.h"

#include "cli/remote.h"

#include <stdio.h>

const struct option cli_pause_options[] = {CANVAS_OPTION, OUTPUT_OPTION, REMOTE_OPTIONS,
                                           OPTIONS_END};
const struct option cli_resume_options[] = {CANVAS_OPTION, OUTPUT_OPTION, REMOTE_OPTIONS,
                                            OPTIONS_END};
const struct option cli_secrets_options[] = {CANVAS_OPTION, OUTPUT_OPTION, REMOTE_OPTIONS,
                                             OPTIONS_END};

const struct option cli_reset_key_options[] = {
    {.name = "now", .kind = OPTION_FLAG, .help = "refuse the key before at once"},
    CANVAS_OPTION,
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END};
const struct option cli_retry_options[] = {OUTPUT_OPTION, REMOTE_OPTIONS, OPTIONS_END};

static void print_state(yyjson_mut_val *object)
{
    struct slice name = text_at(object, "metadata.name"), state = text_at(object, "status.state"),
                 reason = text_at(object, "status.reason");
    struct buf line;
    buf_init(&line, 4096);
    buf_printf(&line, "Destination %.*s is %.*s", (int)name.bytes, (const char *)name.at,
               (int)state.bytes, (const char *)state.at);
    if (reason.bytes > 0) {
        buf_printf(&line, " (%.*s)", (int)reason.bytes, (const char *)reason.at);
    }
    print_line(buf_slice(&line));
    buf_fini(&line);
}

static void print_operation(yyjson_mut_val *object)
{
    struct slice name = text_at(object, "metadata.name"), state = text_at(object, "status.state");
    struct buf line;
    buf_init(&line, 4096);
    buf_printf(&line, "%.*s is tried now; it was %.*s", (int)name.bytes, (const char *)name.at,
               (int)state.bytes, (const char *)state.at);
    print_line(buf_slice(&line));
    buf_fini(&line);
}

static void print_key(yyjson_mut_val *object)
{
    print_line(text_at(object, "key"));
}

static void print_secrets(yyjson_mut_val *object)
{
    size_t i, count;
    yyjson_mut_val *secret;
    yyjson_mut_arr_foreach(value_at(object, "secrets"), i, count, secret)
    {
        print_line(json_text(secret));
    }
}

static int ask(int argc, char **argv, const struct option *table, const char *kind,
               const char *method, void (*print)(yyjson_mut_val *object))
{
    struct options options;
    struct remote remote;
    struct client_response response = {0};
    struct json_tree tree;
    struct buf target;
    int code;
    if (!cli_begin(&options, table, argc, argv, &code)) {
        return code;
    }
    if (options.argument_count != 1) {
        code = cli_usage("%s takes the name of one of the %s", argv[0], kind);
        options_fini(&options);
        return code;
    }
    code = CLI_FAILED;
    buf_init(&target, 8192);
    buf_printf(&target, "/api/v1/%s/", kind);
    remote_segment(&target, options.arguments[0]);
    buf_printf(&target, "/%s", argv[0]);
    if (strcmp(kind, "operations") != 0) {
        remote_query(&target, "canvas", option_text(&options, "canvas"));
    }
    if (strcmp(argv[0], "reset-key") == 0 && option_flag(&options, "now")) {
        remote_query(&target, "now", "true");
    }
    json_tree_init(&tree);
    if (remote_open(&remote, &options) &&
        remote_call(&remote, method, buf_text(&target), NULL, SLICE_EMPTY, &response) &&
        remote_json(&response, &tree)) {
        enum print_format format = print_format(option_text(&options, "output"));
        code = CLI_DONE;
        if (format != PRINT_TABLE) {
            print_value(tree.roots[0], format);
        } else {
            print(tree.roots[0]);
        }
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    remote_fini(&remote);
    buf_fini(&target);
    options_fini(&options);
    return code;
}

int cli_pause(int argc, char **argv)
{
    return ask(argc, argv, cli_pause_options, "destinations", "POST", print_state);
}

int cli_resume(int argc, char **argv)
{
    return ask(argc, argv, cli_resume_options, "destinations", "POST", print_state);
}

int cli_secrets(int argc, char **argv)
{
    return ask(argc, argv, cli_secrets_options, "destinations", "GET", print_secrets);
}

int cli_retry(int argc, char **argv)
{
    return ask(argc, argv, cli_retry_options, "operations", "POST", print_operation);
}

int cli_reset_key(int argc, char **argv)
{
    return ask(argc, argv, cli_reset_key_options, "event-sources", "POST", print_key);
}
