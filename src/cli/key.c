/* key: new keys. */
#include "cli/commands.h"

#include "cli/remote.h"

#include <time.h>

const struct option cli_key_options[] = {
    {.name = "oidc",
     .kind = OPTION_FLAG,
     .help = "the key that tokens for providers are signed with"},
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};

/* What happens when; nobody has to do anything meanwhile. */
static void say(uint64_t signs_in_seconds)
{
    char from[32];
    time_t at = time(NULL) + (time_t)signs_in_seconds;
    struct tm local;
    if (signs_in_seconds == 0) {
        puts("made the first key; it is published and signs from now on");
        return;
    }
    from[strftime(from, sizeof from, "%H:%M:%S", localtime_r(&at, &local))] = '\0';
    printf("made a new key; it is published now and signs from %s on (in %llu minutes)\n"
           "the key before signs until then, and stays published for a day after it\n",
           from, (unsigned long long)(signs_in_seconds / 60));
}

static int rotate(struct remote *remote, const struct options *options)
{
    struct client_response response = {0};
    struct json_tree tree;
    enum print_format format = print_format(option_text(options, "output"));
    int code = CLI_FAILED;
    json_tree_init(&tree);
    if (remote_call(remote, "POST", "/api/v1/oidc/rotate", NULL, SLICE_EMPTY, &response) &&
        remote_json(&response, &tree)) {
        code = CLI_DONE;
        if (format != PRINT_TABLE) {
            print_value(tree.roots[0], format);
        } else {
            say(yyjson_mut_get_uint(value_at(tree.roots[0], "signsInSeconds")));
        }
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    return code;
}

int cli_key(int argc, char **argv)
{
    struct options options;
    struct remote remote;
    int code;
    if (!cli_begin(&options, cli_key_options, argc, argv, &code)) {
        return code;
    }
    if (options.argument_count != 1 || strcmp(options.arguments[0], "rotate") != 0 ||
        !option_flag(&options, "oidc")) {
        code =
            cli_usage("write `becket key rotate --oidc`: it is the only key that can be changed");
    } else {
        code = CLI_FAILED;
        if (remote_open(&remote, &options)) {
            code = rotate(&remote, &options);
        }
        remote_fini(&remote);
    }
    options_fini(&options);
    return code;
}
