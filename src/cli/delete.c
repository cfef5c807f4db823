/* delete. */
#include "cli/commands.h"

#include "base/time.h"
#include "cli/files.h"
#include "cli/kind.h"
#include "cli/remote.h"

#include <time.h>
#include <yyjson.h>

#define WAITING_POLL_MS 300

const struct option cli_delete_options[] = {
    FILE_OPTION,
    RECURSIVE_OPTION,
    {.name = "dry-run", .kind = OPTION_FLAG, .help = "with -f: show what would go, delete nothing"},
    CANVAS_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END};

static int delete_one(struct remote *remote, const char *target, const char *what, const char *name)
{
    struct client_response response = {0};
    bool done = remote_try(remote, "DELETE", target, NULL, SLICE_EMPTY, &response);
    if (done && response.status >= 300) {
        remote_refused(&response);
        done = false;
    }
    client_response_fini(&response);
    if (done) {
        struct buf line;
        buf_init(&line, 4096);
        buf_printf(&line, "deleted %s %s", what, name);
        print_line(buf_slice(&line));
        buf_fini(&line);
    }
    return done ? CLI_DONE : CLI_FAILED;
}

/* One request: all that can go goes, or nothing. *ret_waiting: what is there until its hooks at the
 * provider are removed. */
static int delete_set(struct remote *remote, struct files *files, const char *target,
                      struct json_tree *tree, size_t *ret_waiting)
{
    struct client_response response = {0};
    int code = CLI_FAILED;
    *ret_waiting = 0;
    if (!remote_try(remote, "POST", target, "application/yaml", buf_slice(&files->text),
                    &response)) {
        code = CLI_FAILED;
    } else if (response.status >= 300) {
        code = files_invalid(files, &response);
    } else if (remote_json(&response, tree)) {
        size_t i, count;
        yyjson_mut_val *result;
        yyjson_mut_arr_foreach(value_at(tree->roots[0], "results"), i, count, result)
        {
            *ret_waiting += slice_equal(text_at(result, "action"), SLICE("waiting"));
        }
        code = CLI_DONE;
    }
    client_response_fini(&response);
    return code;
}

/* What was deleted, or at the end what was not, in the words of `said`. How many. */
static size_t print_deleted(const struct json_tree *tree, const char *action, const char *said)
{
    size_t i, count, printed = 0;
    yyjson_mut_val *result;
    yyjson_mut_arr_foreach(value_at(tree->roots[0], "results"), i, count, result)
    {
        struct slice kind = text_at(result, "kind"), name = text_at(result, "name");
        if (slice_equal(text_at(result, "action"), slice_str(action))) {
            struct buf line;
            buf_init(&line, 4096);
            buf_printf(&line, "%s %.*s %.*s", said, (int)kind.bytes, (const char *)kind.at,
                       (int)name.bytes, (const char *)name.at);
            print_line(buf_slice(&line));
            printed++;
            buf_fini(&line);
        }
    }
    return printed;
}

/* Integrations wait until the hooks that were made with them are removed at the provider. */
static int delete_until_gone(struct remote *remote, struct files *files, const char *target,
                             bool dry_run)
{
    struct json_tree tree;
    size_t waiting;
    int code;
    unsigned waited_ms = 0;
    size_t deleted = 0;
    for (;;) {
        json_tree_init(&tree);
        code = delete_set(remote, files, target, &tree, &waiting);
        if (code == CLI_DONE) {
            deleted += print_deleted(&tree, "deleted", dry_run ? "would be deleted:" : "deleted");
        }
        if (code == CLI_DONE && dry_run) {
            deleted += print_deleted(&tree, "waiting", "would be deleted:");
            waiting = 0;
        }
        if (code != CLI_DONE || waiting == 0 || waited_ms >= remote->timeout_ms) {
            break;
        }
        json_tree_fini(&tree);
        remote_progress("%zu objects wait until hooks at the provider are removed: %u s", waiting,
                        waited_ms / 1000);
        struct timespec pause = {0, WAITING_POLL_MS * NS_PER_MS};
        nanosleep(&pause, NULL);
        waited_ms += WAITING_POLL_MS;
    }
    remote_progress(NULL);
    if (code == CLI_DONE && waiting > 0) {
        (void)print_deleted(&tree, "waiting", "waiting");
        code = cli_error("hooks made with them are still to be removed at the provider: see "
                         "`becket get operations`, then run this again, or give the removal up "
                         "with `becket delete operation NAME`");
    }
    if (code == CLI_DONE && deleted == 0) {
        fprintf(stderr, "note: nothing to delete, what the documents name is not there\n");
    }
    json_tree_fini(&tree);
    return code;
}

static int delete_files(const struct options *options)
{
    struct files files;
    struct remote remote;
    struct buf target;
    int code = CLI_FAILED;
    files_init(&files);
    buf_init(&target, 4096);
    bool dry_run = option_flag(options, "dry-run");
    buf_add_str(&target, "/api/v1/apply?delete=true");
    remote_query(&target, "dryRun", dry_run ? "true" : NULL);
    remote_query(&target, "canvas", option_text(options, "canvas"));
    if (files_read(&files, options, false)) {
        code = remote_open(&remote, options)
                   ? delete_until_gone(&remote, &files, buf_text(&target), dry_run)
                   : CLI_FAILED;
        remote_fini(&remote);
    }
    buf_fini(&target);
    files_fini(&files);
    return code;
}

int cli_delete(int argc, char **argv)
{
    struct options options;
    int code;
    bool in_canvas;
    if (!cli_begin(&options, cli_delete_options, argc, argv, &code)) {
        return code;
    }
    bool by_file = option_list_count(&options, "file") != 0;
    if (by_file ? options.argument_count != 0 : options.argument_count != 2) {
        code = cli_usage("delete takes a kind and a name, or -f FILE: becket delete secret github");
    } else if (!by_file && option_flag(&options, "dry-run")) {
        code = cli_usage("--dry-run goes with -f; `becket describe` shows one object");
    } else if (by_file) {
        code = delete_files(&options);
    } else {
        const char *plural = kind_plural(options.arguments[0], &in_canvas);
        code = CLI_USAGE;
        if (plural != NULL) {
            struct remote remote;
            struct buf target;
            buf_init(&target, 8192);
            kind_target(&target, &options, plural, in_canvas, options.arguments[1]);
            code = remote_open(&remote, &options)
                       ? delete_one(&remote, buf_text(&target), options.arguments[0],
                                    options.arguments[1])
                       : CLI_FAILED;
            remote_fini(&remote);
            buf_fini(&target);
        }
    }
    options_fini(&options);
    return code;
}
