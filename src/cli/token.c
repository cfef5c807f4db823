/* token create, list, revoke. */
#include "cli/commands.h"

#include "cli/remote.h"

const struct option cli_token_options[] = {
    {.name = "role",
     .kind = OPTION_CHOICE,
     .argument = "ROLE",
     .fallback = "read",
     .choices = "admin|write|read",
     .help = "create: what it allows"},
    {.name = "canvas",
     .kind = OPTION_TEXT,
     .argument = "CANVAS",
     .help = "create: good for this canvas only"},
    {.name = "user",
     .kind = OPTION_TEXT,
     .argument = "USER",
     .help = "create: a person's, who is this User"},
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};

static int create(struct remote *remote, const struct options *options, const char *name)
{
    struct client_response response = {0};
    struct json_tree tree;
    struct buf body;
    enum print_format format = print_format(option_text(options, "output"));
    int code = CLI_FAILED;
    buf_init(&body, 4096);
    buf_add_str(&body, "{\"name\":");
    json_add_string(&body, slice_str(name));
    buf_printf(&body, ",\"role\":\"%s\"", option_text(options, "role"));
    if (option_text(options, "canvas") != NULL) {
        buf_add_str(&body, ",\"canvas\":");
        json_add_string(&body, slice_str(option_text(options, "canvas")));
    }
    if (option_text(options, "user") != NULL) {
        buf_add_str(&body, ",\"user\":");
        json_add_string(&body, slice_str(option_text(options, "user")));
    }
    buf_add_byte(&body, '}');
    json_tree_init(&tree);
    if (remote_call(remote, "POST", "/api/v1/tokens", "application/json", buf_slice(&body),
                    &response) &&
        remote_json(&response, &tree)) {
        code = CLI_DONE;
        if (format != PRINT_TABLE) {
            print_value(tree.roots[0], format);
        } else {
            /* Only the token on standard output, so that it can be put into a file or variable. */
            print_line(text_at(tree.roots[0], "token"));
            fprintf(stderr, "this is the only time it is shown\n");
        }
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    buf_fini(&body);
    return code;
}

void cli_add_token(struct table *table, yyjson_mut_val *token)
{
    char created[32], used[32] = "-";
    struct slice canvas = text_at(token, "canvas"), user = text_at(token, "user");
    print_time(text_at(token, "createdAt"), created);
    table_row(table);
    table_cell(table, text_at(token, "name"));
    table_cell(table, text_at(token, "role"));
    table_cell(table, canvas.bytes > 0 ? canvas : SLICE("all"));
    table_cell(table, user.bytes > 0 ? user : SLICE("-"));
    table_cell(table, text_at(token, "last4"));
    table_cell(table, slice_str(created));
    if (text_at(token, "lastUsedAt").bytes > 0) {
        print_time(text_at(token, "lastUsedAt"), used);
    }
    table_cell(table, slice_str(used));
}

/* All of them, as `becket get tokens` has them. */
static int list(struct remote *remote, const struct options *options)
{
    static const struct remote_list tokens = {.path = "/api/v1/tokens",
                                              .what = "tokens",
                                              .columns = CLI_TOKEN_COLUMNS,
                                              .add_row = cli_add_token};
    return remote_print_list(remote, options, &tokens, UINT64_MAX);
}

/* Whose token this is, and what it allows. */
static int show(struct remote *remote, const struct options *options)
{
    struct client_response response = {0};
    struct json_tree tree;
    enum print_format format = print_format(option_text(options, "output"));
    int code = CLI_FAILED;
    json_tree_init(&tree);
    if (remote_call(remote, "GET", "/api/v1/me", NULL, SLICE_EMPTY, &response) &&
        remote_json(&response, &tree)) {
        struct slice canvas = text_at(tree.roots[0], "canvas");
        struct slice user = text_at(tree.roots[0], "user");
        struct buf line;
        code = CLI_DONE;
        buf_init(&line, 4096);
        buf_add_str(&line, "token ");
        buf_add_slice(&line, text_at(tree.roots[0], "name"));
        buf_add_str(&line, ", role ");
        buf_add_slice(&line, text_at(tree.roots[0], "role"));
        buf_add_str(&line, canvas.bytes > 0 ? ", canvas " : ", all canvases");
        buf_add_slice(&line, canvas);
        buf_add_str(&line, user.bytes > 0 ? ", user " : ", a machine's");
        buf_add_slice(&line, user);
        if (format != PRINT_TABLE) {
            print_value(tree.roots[0], format);
        } else {
            print_line(buf_slice(&line));
        }
        buf_fini(&line);
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    return code;
}

static int revoke(struct remote *remote, const struct options *options, const char *name)
{
    struct buf target;
    buf_init(&target, 4096);
    buf_add_str(&target, "/api/v1/tokens/");
    remote_segment(&target, name);
    int code = remote_remove(remote, options, buf_text(&target), "Token", name, "revoked");
    buf_fini(&target);
    return code;
}

static int run(const struct options *options, const char *verb, const char *name)
{
    struct remote remote;
    int code = CLI_FAILED;
    if (remote_open(&remote, options)) {
        code = strcmp(verb, "create") == 0 ? create(&remote, options, name)
               : strcmp(verb, "list") == 0 ? list(&remote, options)
               : strcmp(verb, "show") == 0 ? show(&remote, options)
                                           : revoke(&remote, options, name);
    }
    remote_fini(&remote);
    return code;
}

int cli_token(int argc, char **argv)
{
    struct options options;
    int code;
    if (!cli_begin(&options, cli_token_options, argc, argv, &code)) {
        return code;
    }
    const char *verb = options.argument_count != 0 ? options.arguments[0] : "";
    bool named = strcmp(verb, "create") == 0 || strcmp(verb, "revoke") == 0;
    bool known = named || strcmp(verb, "list") == 0 || strcmp(verb, "show") == 0;
    if (!known || options.argument_count != (named ? 2U : 1U)) {
        code = cli_usage("token takes: create NAME --role ROLE, list, show, or revoke NAME");
    } else if (strcmp(verb, "create") != 0 &&
               (option_given(&options, "role") || option_given(&options, "canvas") ||
                option_given(&options, "user"))) {
        code = cli_usage("--role, --canvas and --user go with token create");
    } else {
        code = run(&options, verb, named ? options.arguments[1] : NULL);
    }
    options_fini(&options);
    return code;
}
