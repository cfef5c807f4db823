/* entry create, update, delete: what people did, by hand. */
#include "cli/commands.h"

#include "cli/remote.h"

const struct option cli_entry_options[] = {
    {.name = "team", .kind = OPTION_TEXT, .argument = "TEAM", .help = "create: whose it is"},
    {.name = "body", .kind = OPTION_TEXT, .argument = "TEXT", .help = "update: the new text"},
    {.name = "user", .kind = OPTION_TEXT, .argument = "USER", .help = "who did it"},
    {.name = "status",
     .kind = OPTION_CHOICE,
     .argument = "STATUS",
     .choices = "done|goal|blocked",
     .help = "else as the text says: [] in front is a goal, ! is blocked"},
    {.name = "day",
     .kind = OPTION_DAY,
     .argument = "YYYY-MM-DD",
     .help = "when; today where nothing is said"},
    {.name = "canvas",
     .kind = OPTION_TEXT,
     .argument = "CANVAS",
     .help = "create: canvas of the team"},
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};

static void write_request(const struct options *options, const char *body, struct buf *json)
{
    buf_add_byte(json, '{');
    json_add_member(json, "team", slice_str(option_text(options, "team")));
    json_add_member(json, "body", slice_str(body));
    json_add_member(json, "user", slice_str(option_text(options, "user")));
    json_add_member(json, "status", slice_str(option_text(options, "status")));
    json_add_member(json, "occurredOn", slice_str(option_text(options, "day")));
    buf_add_byte(json, '}');
}

/* The entry in the answer; as a table only its id, for the next command. */
static int change(struct remote *remote, const struct options *options, const char *method,
                  const char *target, const char *body)
{
    struct client_response response = {0};
    struct json_tree tree;
    struct buf json;
    enum print_format format = print_format(option_text(options, "output"));
    int code = CLI_FAILED;
    buf_init(&json, 65536);
    write_request(options, body, &json);
    json_tree_init(&tree);
    if (remote_call(remote, method, target, "application/json", buf_slice(&json), &response) &&
        remote_json(&response, &tree)) {
        code = CLI_DONE;
        if (format != PRINT_TABLE) {
            print_value(tree.roots[0], format);
        } else {
            print_line(text_at(tree.roots[0], "id"));
        }
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    buf_fini(&json);
    return code;
}

static int run(const struct options *options, const char *verb, const char *argument)
{
    struct remote remote;
    struct buf target;
    int code = CLI_FAILED;
    bool creates = strcmp(verb, "create") == 0;
    buf_init(&target, 4096);
    buf_add_str(&target, "/api/v1/entries");
    if (!creates) {
        buf_add_byte(&target, '/');
        remote_segment(&target, argument);
    } else {
        remote_query(&target, "canvas", option_text(options, "canvas"));
    }
    if (remote_open(&remote, options)) {
        code = creates ? change(&remote, options, "POST", buf_text(&target), argument)
               : strcmp(verb, "update") == 0 ? change(&remote, options, "PUT", buf_text(&target),
                                                      option_text(options, "body"))
                                             : remote_remove(&remote, options, buf_text(&target),
                                                             "Entry", argument, "deleted entry");
    }
    remote_fini(&remote);
    buf_fini(&target);
    return code;
}

/* Which options go with which verb. */
static int check(const struct options *options)
{
    const char *verb = options->argument_count == 2 ? options->arguments[0] : "";
    bool team = option_given(options, "team"), body = option_given(options, "body");
    bool canvas = option_given(options, "canvas");
    bool more = option_given(options, "user") || option_given(options, "status") ||
                option_given(options, "day");
    if (strcmp(verb, "create") == 0) {
        return !team  ? cli_usage("entry create wants --team TEAM: whose it is")
               : body ? cli_usage("entry create takes the text as an argument; --body goes with "
                                  "entry update")
                      : CLI_DONE;
    }
    if (strcmp(verb, "update") == 0) {
        return team || canvas ? cli_usage("--team and --canvas go with entry create")
               : body || more ? CLI_DONE
                              : cli_usage("entry update wants what to change: --body, --user, "
                                          "--status or --day");
    }
    if (strcmp(verb, "delete") == 0) {
        return team || body || canvas || more
                   ? cli_usage("entry delete takes none of the entry's options")
                   : CLI_DONE;
    }
    return cli_usage("entry takes: create TEXT --team TEAM, update ID, or delete ID");
}

int cli_entry(int argc, char **argv)
{
    struct options options;
    int code;
    if (!cli_begin(&options, cli_entry_options, argc, argv, &code)) {
        return code;
    }
    code = check(&options);
    if (code == CLI_DONE) {
        code = run(&options, options.arguments[0], options.arguments[1]);
    }
    options_fini(&options);
    return code;
}
