/* pause, resume, secrets, retry: what is asked of one object besides reading and changing it. */
#include "cli/commands.h"

#include "cli/remote.h"
#include "hub/resources/resource.h"

#include <stdio.h>
#include <yyjson.h>

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
    uint64_t retries = yyjson_mut_get_uint(value_at(object, "status.delivery.retries"));
    if (slice_equal(state, SLICE("ready")) && retries > 0) {
        buf_printf(&line,
                   "; %llu pending: what failed is tried now (`becket deliveries --destination "
                   "%.*s --state pending`)",
                   (unsigned long long)retries, (int)name.bytes, (const char *)name.at);
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

/* 1 or 0: is there an object of this kind and name? -1 after an error was printed. */
static int exists(struct remote *remote, const struct options *options, const char *plural,
                  const char *name)
{
    struct client_response response = {0};
    struct buf target;
    int found = -1;
    buf_init(&target, 8192);
    buf_printf(&target, "/api/v1/%s/", plural);
    remote_segment(&target, name);
    remote_query(&target, "canvas", option_text(options, "canvas"));
    if (remote_try(remote, "GET", buf_text(&target), NULL, SLICE_EMPTY, &response)) {
        found = response.status == 404 ? 0 : response.status < 300 ? 1 : -1;
        if (found < 0) {
            remote_refused(&response);
        }
    }
    client_response_fini(&response);
    buf_fini(&target);
    return found;
}

/* Whose secrets are meant, when only a name is given; NULL after an error was printed. */
static const char *guess(const struct options *options)
{
    const char *name = options->arguments[0], *plural = NULL;
    struct remote remote;
    int source = -1, destination = -1;
    if (remote_open(&remote, options)) {
        source = exists(&remote, options, "event-sources", name);
        destination = source < 0 ? -1 : exists(&remote, options, "destinations", name);
    }
    remote_fini(&remote);
    if (source == 1 && destination == 1) {
        cli_error("both an EventSource and a Destination are called %s; say which: becket secrets "
                  "event-source %s",
                  name, name);
    } else if (source == 0 && destination == 0) {
        cli_error("there is no EventSource or Destination %s", name);
    } else if (destination >= 0) {
        plural = source == 1 ? "event-sources" : "destinations";
    }
    return plural;
}

/* METHOD /api/v1/PLURAL/NAME/VERB, where NAME is the first argument. */
static int ask_one(const struct options *options, const char *plural, const char *verb,
                   const char *method, void (*print)(yyjson_mut_val *object))
{
    struct remote remote;
    struct client_response response = {0};
    struct json_tree tree;
    struct buf target;
    int code = CLI_FAILED;
    buf_init(&target, 8192);
    buf_printf(&target, "/api/v1/%s/", plural);
    remote_segment(&target, options->arguments[0]);
    buf_printf(&target, "/%s", verb);
    if (strcmp(plural, "operations") != 0) {
        remote_query(&target, "canvas", option_text(options, "canvas"));
    }
    if (strcmp(verb, "reset-key") == 0 && option_flag(options, "now")) {
        remote_query(&target, "now", "true");
    }
    json_tree_init(&tree);
    if (remote_open(&remote, options) &&
        remote_call(&remote, method, buf_text(&target), NULL, SLICE_EMPTY, &response) &&
        remote_json(&response, &tree)) {
        enum print_format format = print_format(option_text(options, "output"));
        code = CLI_DONE;
        if (format != PRINT_TABLE) {
            print_value(tree.roots[0], format);
        } else {
            print(tree.roots[0]);
        }
        if (strcmp(verb, "reset-key") == 0 && format == PRINT_TABLE) {
            fprintf(stderr, "the new key; the one before is %s\n",
                    option_flag(options, "now") ? "refused from now on"
                                                : "accepted until the next reset-key");
        }
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    remote_fini(&remote);
    buf_fini(&target);
    return code;
}

static int ask(int argc, char **argv, const struct option *table, const char *plural,
               const char *method, void (*print)(yyjson_mut_val *object))
{
    struct options options;
    int code;
    if (!cli_begin(&options, table, argc, argv, &code)) {
        return code;
    }
    if (options.argument_count != 1) {
        code = cli_usage("%s takes one name; `becket get %s` lists them", argv[0], plural);
    } else {
        code = ask_one(&options, plural, argv[0], method, print);
    }
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
    struct options options;
    enum resource_kind kind;
    int code;
    if (!cli_begin(&options, cli_secrets_options, argc, argv, &code)) {
        return code;
    }
    const char *plural = NULL;
    code = CLI_FAILED;
    if (options.argument_count == 1) {
        plural = guess(&options);
    } else if (options.argument_count == 2 &&
               resource_kind_find(slice_str(options.arguments[0]), &kind) &&
               (kind == RESOURCE_EVENT_SOURCE || kind == RESOURCE_DESTINATION)) {
        plural = resource_kind_info(kind)->plural;
        options.arguments[0] = options.arguments[1];
    } else {
        code = cli_usage("secrets takes the name of an event source or a destination, with its "
                         "kind before it where both have that name");
    }
    if (plural) {
        code = ask_one(&options, plural, "secrets", "GET", print_secrets);
    }
    options_fini(&options);
    return code;
}

int cli_retry(int argc, char **argv)
{
    return ask(argc, argv, cli_retry_options, "operations", "POST", print_operation);
}

int cli_reset_key(int argc, char **argv)
{
    return ask(argc, argv, cli_reset_key_options, "event-sources", "POST", print_key);
}
