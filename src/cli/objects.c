/* apply, diff, get, describe, delete. */
#include "cli/commands.h"

#include "base/assert.h"
#include "base/time.h"
#include "base/yaml.h"
#include "cli/files.h"
#include "cli/remote.h"
#include "hub/resources/resource.h"

#include <stdlib.h>
#include <time.h>

#define FILE_OPTION                                                                                \
    {                                                                                              \
        .name = "file", .letter = 'f', .kind = OPTION_TEXT, .flags = OPTION_LIST,                  \
        .argument = "FILE|DIR|-", .help = "documents, YAML or JSON; - is standard input"           \
    }
#define PRUNE_OPTION                                                                               \
    {                                                                                              \
        .name = "prune", .kind = OPTION_FLAG,                                                      \
        .help = "delete what the files do not name, of their kinds and canvases"                   \
    }

const struct option cli_apply_options[] = {
    FILE_OPTION,
    {.name = "dry-run", .kind = OPTION_FLAG, .help = "check and show, change nothing"},
    PRUNE_OPTION,
    CANVAS_OPTION,
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};
const struct option cli_diff_options[] = {
    FILE_OPTION,
    PRUNE_OPTION,
    {.name = "exit-code", .kind = OPTION_FLAG, .help = "exit with 1 when there are differences"},
    CANVAS_OPTION,
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};
const struct option cli_get_options[] = {CANVAS_OPTION, OUTPUT_OPTION, REMOTE_OPTIONS, OPTIONS_END};
const struct option cli_describe_options[] = {CANVAS_OPTION, REMOTE_OPTIONS, OPTIONS_END};
const struct option cli_delete_options[] = {FILE_OPTION, CANVAS_OPTION, REMOTE_OPTIONS,
                                            OPTIONS_END};

/* ---- apply, diff */

/* "github.yaml:4:3: spec.tipe: unknown field", by itself or as one of several. */
static void print_mistake(struct files *files, yyjson_mut_val *detail, bool only)
{
    struct slice field = text_at(detail, "field"), message = text_at(detail, "message");
    unsigned line = (unsigned)yyjson_mut_get_uint(value_at(detail, "line"));
    unsigned column = (unsigned)yyjson_mut_get_uint(value_at(detail, "column"));
    struct buf text, safe;
    buf_init(&text, 1U << 16);
    buf_init(&safe, 1U << 18);
    if (line != 0) {
        buf_printf(&text, "%s:%u: ", files_place(files, line), column);
    }
    buf_add_slice(&text, field);
    buf_add_str(&text, field.bytes != 0 ? ": " : "");
    buf_add_slice(&text, message);
    print_safe(&safe, buf_slice(&text), false);
    if (only) {
        cli_error("%s", buf_text(&safe));
    } else {
        fprintf(stderr, "  %s\n", buf_text(&safe));
    }
    buf_fini(&text);
    buf_fini(&safe);
}

/* "invalid" answers name lines of the joined text: say them as lines of the user's files. */
static int print_invalid(struct files *files, const struct client_response *response)
{
    struct json_tree tree;
    struct json_problem problem;
    json_tree_init(&tree);
    yyjson_mut_val *details = NULL;
    if (json_parse(buf_slice(&response->body), &tree, &problem) == BK_OK) {
        details = value_at(tree.roots[0], "details");
    }
    size_t i, count;
    yyjson_mut_val *detail;
    if (yyjson_mut_arr_size(details) == 0 ||
        value_at(yyjson_mut_arr_get_first(details), "line") == NULL) {
        bool nothing = response->status == 400 && yyjson_mut_arr_size(details) == 0;
        struct slice message = nothing ? text_at(tree.roots[0], "message") : SLICE_EMPTY;
        if (message.bytes > 0) { /* of the text as a whole */
            cli_error("%s: %.*s", files->count == 1 ? files->parts[0].path : "the files",
                      (int)message.bytes, (const char *)message.at);
        } else {
            remote_refused(response);
        }
        json_tree_fini(&tree);
        return CLI_FAILED;
    }
    size_t dropped = (size_t)yyjson_mut_get_uint(value_at(tree.roots[0], "more"));
    size_t mistakes = yyjson_mut_arr_size(details) + dropped;
    if (mistakes > 1) {
        cli_error("%zu mistakes, nothing was changed:", mistakes);
    }
    yyjson_mut_arr_foreach(details, i, count, detail)
    {
        print_mistake(files, detail, mistakes == 1);
    }
    if (dropped > 0) {
        fprintf(stderr, "  and %zu more\n", dropped);
    }
    json_tree_fini(&tree);
    return CLI_FAILED;
}

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
            buf_printf(&line, "\nsigning key of %.*s: %.*s (`becket secrets %.*s` shows it again)",
                       (int)name.bytes, (const char *)name.at, (int)key.bytes, (const char *)key.at,
                       (int)name.bytes, (const char *)name.at);
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

static bool read_files(struct files *files, const struct options *options)
{
    unsigned count = option_list_count(options, "file");
    for (unsigned i = 0; i < count; i++) {
        if (!files_add(files, option_list_at(options, "file", i))) {
            return false;
        }
    }
    if (files->text.bytes == 0) {
        cli_error("%s is empty: there is no document in it",
                  files->count == 1 ? files->parts[0].path : "each of the files");
        return false;
    }
    return true;
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
            code = print_invalid(files, &response);
        } else if (remote_json(&response, &tree)) {
            code = show_applied(options, tree.roots[0], diff, dry_run);
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
    code = read_files(&files, &options) ? apply_files(&options, &files, diff) : CLI_FAILED;
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

/* ---- kinds */

/* "source" is the end of "event-source", "links" of "integration-links". */
static const char *ending_in(const char *text)
{
    size_t bytes = strlen(text);
    for (unsigned kind = 0; bytes > 2 && kind < RESOURCE_KIND_COUNT; kind++) {
        const struct resource_kind_info *info = resource_kind_info((enum resource_kind)kind);
        const char *const names[] = {info->singular, info->plural};
        for (unsigned i = 0; info->supported && i < bk_array_length(names); i++) {
            size_t length = strlen(names[i]);
            if (length > bytes &&
                slice_equal_nocase(slice_str(text), slice_str(names[i] + length - bytes))) {
                return names[i];
            }
        }
    }
    return NULL;
}

/* The plural for the URL: of a kind, or "tokens", "events". NULL after an error was printed. */
static const char *plural_of(const char *text, bool *ret_in_canvas)
{
    enum resource_kind kind;
    *ret_in_canvas = false;
    if (resource_kind_find(slice_str(text), &kind)) {
        *ret_in_canvas = resource_kind_info(kind)->in_canvas;
        return resource_kind_info(kind)->plural;
    }
    if (slice_equal_nocase(slice_str(text), SLICE("token")) ||
        slice_equal_nocase(slice_str(text), SLICE("tokens"))) {
        return "tokens";
    }
    if (slice_equal_nocase(slice_str(text), SLICE("entry")) ||
        slice_equal_nocase(slice_str(text), SLICE("entries"))) {
        *ret_in_canvas = true;
        return "entries";
    }
    static const char *const lists[] = {"event", "events", "delivery", "deliveries"};
    for (size_t i = 0; i < bk_array_length(lists); i++) {
        if (slice_equal_nocase(slice_str(text), slice_str(lists[i]))) {
            cli_usage("%s are listed by `becket %s`, and are no objects",
                      i < 2 ? "events" : "deliveries", i < 2 ? "events" : "deliveries");
            return NULL;
        }
    }
    const char *near = ending_in(text);
    near = near ? near : option_nearest(text, resource_kind_names);
    cli_usage("there is no kind %s; %s%s%s", text,
              near ? "did you mean " : "there are Entry, Operation, Token, " RESOURCE_KINDS,
              near ? near : "", near ? "?" : "");
    return NULL;
}

static void object_target(struct buf *target, const struct options *options, const char *plural,
                          bool in_canvas, const char *name)
{
    buf_printf(target, "/api/v1/%s", plural);
    if (name != NULL) {
        buf_add_byte(target, '/');
        remote_segment(target, name);
    }
    if (in_canvas) {
        remote_query(target, "canvas", option_text(options, "canvas"));
    }
}

/* ---- get */

static void secret_keys(struct buf *text, yyjson_mut_val *object)
{
    yyjson_mut_val *data = value_at(object, "spec.local.data");
    data = data ? data : value_at(object, "spec.data");
    size_t i, count;
    yyjson_mut_val *key, *value;
    yyjson_mut_obj_foreach(data, i, count, key, value)
    {
        buf_add_str(text, i == 0 ? "" : ", ");
        buf_add_slice(text, json_text(key));
    }
}

static const char *columns_of(const char *plural)
{
    static const struct {
        const char *plural, *columns;
    } known[] = {
        {"secrets", "NAME!|KEYS|UPDATED@?"},
        {"integrations", "NAME!|TYPE|STATE|ACCOUNT|URL|WHAT TO DO"},
        {"integration-links", "NAME!|TYPE|FOR|STATE|WHAT IT DOES|WHAT TO DO"},
        {"integration-users", "NAME!|INTEGRATION|USER|UID|NICKNAME|UPDATED@?"},
        {"teams", "NAME!|TITLE|MEMBERS|UPDATED@?"},
        {"users", "NAME!|FULL NAME|EMAIL|UPDATED@?"},
        {"entries", "ID!|DAY!|WHO|STATUS|TEAM|STATE|WHAT"},
        {"operations", "NAME!|WHAT|OBJECT!|STATE|TRIES>?|NEXT@?|WHY"},
        {"event-sources", "NAME!|TYPE|STATE|URL!|UPDATED@?|WHAT TO DO"},
        {"destinations", "NAME!|STATE|URL!|UPDATED@?|WHY"},
        {"routes", "NAME!|FROM|TO|FILTERS|UPDATED@?"},
        {"tokens", CLI_TOKEN_COLUMNS},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].plural, plural) == 0) {
            return known[i].columns;
        }
    }
    return "NAME|UPDATED";
}

static void cell_time(struct table *table, struct slice rfc3339)
{
    char text[32];
    print_time(rfc3339, text);
    table_cell(table, slice_str(text));
}

/* One field of each element of a list: "payments, shop". */
static void list_cell(struct table *table, yyjson_mut_val *list, const char *field)
{
    struct buf text;
    size_t i, count;
    yyjson_mut_val *item;
    buf_init(&text, 1U << 20);
    yyjson_mut_arr_foreach(list, i, count, item)
    {
        buf_add_str(&text, i == 0 ? "" : ", ");
        buf_add_slice(&text, text_at(item, field));
    }
    table_cell(table, buf_slice(&text));
    buf_fini(&text);
}

static void route_cells(struct table *table, yyjson_mut_val *object)
{
    char filters[32];
    list_cell(table, value_at(object, "spec.from"), "source");
    list_cell(table, value_at(object, "spec.to"), "destination");
    snprintf(filters, sizeof filters, "%zu", yyjson_mut_arr_size(value_at(object, "spec.filters")));
    table_cell(table, slice_str(filters));
}

/* "what is wrong; what to do" */
static void advice_cell(struct table *table, yyjson_mut_val *object)
{
    struct buf text;
    struct slice message = text_at(object, "status.message"),
                 advice = text_at(object, "status.advice");
    buf_init(&text, 1U << 16);
    buf_add_slice(&text, message);
    buf_add_str(&text, message.bytes != 0 && advice.bytes != 0 ? "; " : "");
    buf_add_slice(&text, advice);
    table_cell(table, buf_slice(&text));
    buf_fini(&text);
}

static void operation_cells(struct table *table, yyjson_mut_val *object)
{
    struct slice next = text_at(object, "status.nextAttemptAt");
    char text[32];
    table_cell(table, text_at(object, "spec.intent"));
    table_cell(table, text_at(object, "spec.object.name"));
    table_cell(table, text_at(object, "status.state"));
    snprintf(text, sizeof text, "%u",
             (unsigned)yyjson_mut_get_uint(value_at(object, "status.attempts")));
    table_cell(table, slice_str(text));
    cell_time(table, next.bytes != 0 ? next : text_at(object, "status.nextCheckAt"));
    advice_cell(table, object);
}

static void names_cell(struct table *table, yyjson_mut_val *list)
{
    struct buf text;
    size_t i, count;
    yyjson_mut_val *item;
    buf_init(&text, 1U << 20);
    yyjson_mut_arr_foreach(list, i, count, item)
    {
        buf_add_str(&text, i == 0 ? "" : ", ");
        buf_add_slice(&text, yyjson_mut_is_str(item) ? json_text(item) : SLICE_EMPTY);
    }
    table_cell(table, buf_slice(&text));
    buf_fini(&text);
}

static void link_cells(struct table *table, yyjson_mut_val *object)
{
    struct slice team = text_at(object, "spec.team.name");
    table_cell(table, text_at(object, "spec.type"));
    table_cell(table, team.bytes != 0 ? team : text_at(object, "spec.user.name"));
    table_cell(table, text_at(object, "status.state"));
    table_cell(table, text_at(object, "status.summary"));
    advice_cell(table, object);
}

/* Whoever it is not of ours: as the provider calls them. */
static void entry_cells(struct table *table, yyjson_mut_val *entry)
{
    struct slice user = text_at(entry, "user");
    table_cell(table, text_at(entry, "id"));
    table_cell(table, text_at(entry, "occurredOn"));
    table_cell(table, user.bytes != 0 ? user : text_at(entry, "author"));
    table_cell(table, text_at(entry, "status"));
    table_cell(table, text_at(entry, "team"));
    table_cell(table, text_at(entry, "state"));
    table_cell(table, text_at(entry, "body"));
}

static void object_row(struct table *table, const char *plural, yyjson_mut_val *object)
{
    if (strcmp(plural, "tokens") == 0) {
        cli_add_token(table, object);
        return;
    }
    table_row(table);
    if (strcmp(plural, "entries") == 0) {
        entry_cells(table, object);
        return;
    }
    table_cell(table, text_at(object, "metadata.name"));
    if (strcmp(plural, "secrets") == 0) {
        struct buf keys;
        buf_init(&keys, 1U << 20);
        secret_keys(&keys, object);
        table_cell(table, buf_slice(&keys));
        buf_fini(&keys);
    } else if (strcmp(plural, "integrations") == 0) {
        table_cell(table, text_at(object, "spec.type"));
        table_cell(table, text_at(object, "status.state"));
        table_cell(table, text_at(object, "status.account"));
        table_cell(table, text_at(object, "spec.url"));
        advice_cell(table, object);
        return;
    } else if (strcmp(plural, "operations") == 0) {
        operation_cells(table, object);
        return;
    } else if (strcmp(plural, "integration-links") == 0) {
        link_cells(table, object);
        return;
    } else if (strcmp(plural, "integration-users") == 0) {
        table_cell(table, text_at(object, "spec.integration.name"));
        table_cell(table, text_at(object, "spec.user.name"));
        table_cell(table, text_at(object, "spec.uid"));
        table_cell(table, text_at(object, "spec.nickname"));
    } else if (strcmp(plural, "teams") == 0) {
        table_cell(table, text_at(object, "spec.title"));
        names_cell(table, value_at(object, "spec.members"));
    } else if (strcmp(plural, "users") == 0) {
        table_cell(table, text_at(object, "spec.fullName"));
        table_cell(table, text_at(object, "spec.email"));
    } else if (strcmp(plural, "event-sources") == 0) {
        struct slice url = text_at(object, "status.url"), type = text_at(object, "spec.type");
        table_cell(table, type.bytes != 0 ? type : text_at(object, "spec.integration.name"));
        table_cell(table, text_at(object, "status.state"));
        table_cell(table, url.bytes != 0 ? url : text_at(object, "status.path"));
    } else if (strcmp(plural, "destinations") == 0) {
        table_cell(table, text_at(object, "status.state"));
        table_cell(table, text_at(object, "spec.url"));
    } else if (strcmp(plural, "routes") == 0) {
        route_cells(table, object);
    }
    cell_time(table, text_at(object, "metadata.updatedAt"));
    if (strcmp(plural, "event-sources") == 0) {
        advice_cell(table, object);
    } else if (strcmp(plural, "destinations") == 0) {
        table_cell(table, text_at(object, "status.reason"));
    }
}

/* All pages, joined into `all`'s array "items". */
static bool get_pages(struct remote *remote, const char *target, struct json_tree *all,
                      yyjson_mut_val *items)
{
    char cursor[2048] = "";
    do {
        struct client_response response = {0};
        struct json_tree page;
        struct buf full;
        buf_init(&full, 8192);
        buf_add_str(&full, target);
        remote_query(&full, "limit", "1000");
        remote_query(&full, "cursor", cursor);
        json_tree_init(&page);
        bool done = remote_call(remote, "GET", buf_text(&full), NULL, SLICE_EMPTY, &response) &&
                    remote_json(&response, &page);
        size_t i, count;
        yyjson_mut_val *item;
        yyjson_mut_arr_foreach(done ? value_at(page.roots[0], "items") : NULL, i, count, item)
        {
            yyjson_mut_arr_append(items, json_copy(all, item));
        }
        struct slice next = done ? text_at(page.roots[0], "next") : SLICE_EMPTY;
        snprintf(cursor, sizeof cursor, "%.*s", (int)next.bytes,
                 (const char *)(next.at ? next.at : (const uint8_t *)""));
        json_tree_fini(&page);
        buf_fini(&full);
        client_response_fini(&response);
        if (!done) {
            return false;
        }
        if (cursor[0] != '\0') {
            remote_progress("%zu so far ", yyjson_mut_arr_size(items));
        }
    } while (cursor[0] != '\0');
    remote_progress(NULL);
    return true;
}

/* "no secrets in canvas default" */
static int say_none(struct remote *remote, const struct options *options, const char *plural,
                    bool in_canvas)
{
    char what[200];
    const char *canvas = option_text(options, "canvas");
    int code = remote_empty(remote, options, NULL);
    if (code == CLI_DONE) {
        snprintf(what, sizeof what, "%s%s%s", plural, in_canvas ? " in canvas " : "",
                 !in_canvas ? ""
                 : canvas   ? canvas
                            : "default");
        remote_nothing(what, PRINT_TABLE);
    }
    return code;
}

static int get_list(struct remote *remote, const struct options *options, const char *target,
                    const char *plural, bool in_canvas)
{
    enum print_format format = print_format(option_text(options, "output"));
    struct json_tree all;
    json_tree_init(&all);
    yyjson_mut_val *items = json_new_array(&all), *list = json_new_object(&all);
    int code = CLI_FAILED;
    if (items != NULL && list != NULL && get_pages(remote, target, &all, items)) {
        code = CLI_DONE;
        if (yyjson_mut_arr_size(items) == 0 && format == PRINT_TABLE) {
            code = say_none(remote, options, plural, in_canvas);
        } else if (format != PRINT_TABLE) {
            json_set(&all, list, "items", items);
            print_value(list, format);
        } else {
            struct table table;
            size_t i, count;
            yyjson_mut_val *item;
            table_init(&table, columns_of(plural));
            yyjson_mut_arr_foreach(items, i, count, item)
            {
                object_row(&table, plural, item);
            }
            table_print(&table);
            table_fini(&table);
        }
    }
    json_tree_fini(&all);
    return code;
}

static int get_one(struct remote *remote, const char *target, const char *plural,
                   enum print_format format)
{
    struct client_response response = {0};
    struct json_tree tree;
    int code = CLI_FAILED;
    json_tree_init(&tree);
    if (remote_call(remote, "GET", target, NULL, SLICE_EMPTY, &response) &&
        remote_json(&response, &tree)) {
        code = CLI_DONE;
        if (format != PRINT_TABLE) {
            print_value(tree.roots[0], format);
        } else {
            struct table table;
            table_init(&table, columns_of(plural));
            object_row(&table, plural, tree.roots[0]);
            table_print(&table);
            table_fini(&table);
        }
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    return code;
}

int cli_get(int argc, char **argv)
{
    struct options options;
    struct remote remote;
    struct buf target;
    int code;
    bool in_canvas;
    if (!cli_begin(&options, cli_get_options, argc, argv, &code)) {
        return code;
    }
    code = CLI_USAGE;
    const char *plural = NULL;
    if (options.argument_count < 1 || options.argument_count > 2) {
        cli_usage("get takes a kind and perhaps a name: becket get event-sources");
    } else {
        plural = plural_of(options.arguments[0], &in_canvas);
    }
    if (plural != NULL) {
        enum print_format format = print_format(option_text(&options, "output"));
        const char *name = options.argument_count == 2 ? options.arguments[1] : NULL;
        buf_init(&target, 8192);
        object_target(&target, &options, plural, in_canvas, name);
        code = !remote_open(&remote, &options) ? CLI_FAILED
               : name != NULL                  ? get_one(&remote, buf_text(&target), plural, format)
                              : get_list(&remote, &options, buf_text(&target), plural, in_canvas);
        remote_fini(&remote);
        buf_fini(&target);
    }
    options_fini(&options);
    return code;
}

/* ---- describe */

static void print_part(yyjson_mut_val *object, const char *heading, const char *name)
{
    yyjson_mut_val *part = value_at(object, name);
    if (part == NULL || yyjson_mut_obj_size(part) == 0) {
        return;
    }
    struct buf yaml, safe;
    buf_init(&yaml, 16U << 20);
    buf_init(&safe, 32U << 20);
    yaml_add_value(&yaml, part);
    buf_printf(&safe, "\n%s\n", heading);
    struct slice rest = buf_slice(&yaml);
    while (rest.bytes != 0) {
        size_t bytes = slice_find(rest, '\n');
        buf_add_str(&safe, "  ");
        print_safe(&safe, slice_of(rest.at, bytes), false);
        buf_add_byte(&safe, '\n');
        rest = slice_skip(rest, bytes + 1);
    }
    print_bytes(buf_slice(&safe));
    buf_fini(&yaml);
    buf_fini(&safe);
}

static void print_recent(struct remote *remote, yyjson_mut_val *object)
{
    struct client_response response = {0};
    struct json_tree tree;
    struct buf target;
    struct slice name = text_at(object, "metadata.name"),
                 canvas = text_at(object, "metadata.canvasId");
    char text[256];
    buf_init(&target, 4096);
    buf_add_str(&target, "/api/v1/events?limit=5");
    snprintf(text, sizeof text, "%.*s", (int)name.bytes, (const char *)name.at);
    remote_query(&target, "source", text);
    snprintf(text, sizeof text, "%.*s", (int)canvas.bytes,
             (const char *)(canvas.at ? canvas.at : (const uint8_t *)""));
    remote_query(&target, "canvas", text);
    json_tree_init(&tree);
    if (remote_call(remote, "GET", buf_text(&target), NULL, SLICE_EMPTY, &response) &&
        remote_json(&response, &tree)) {
        puts("\nlatest events");
        cli_print_events(value_at(tree.roots[0], "items"));
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    buf_fini(&target);
}

static int describe(struct remote *remote, const char *target, const char *plural)
{
    struct client_response response = {0};
    struct json_tree tree;
    int code = CLI_FAILED;
    json_tree_init(&tree);
    if (remote_call(remote, "GET", target, NULL, SLICE_EMPTY, &response) &&
        remote_json(&response, &tree)) {
        yyjson_mut_val *object = tree.roots[0];
        struct slice kind = text_at(object, "kind"), name = text_at(object, "metadata.name");
        struct buf title;
        buf_init(&title, 4096);
        buf_add_slice(&title, kind);
        buf_add_str(&title, kind.bytes != 0 ? " " : "");
        buf_add_slice(&title, name.bytes != 0 ? name : text_at(object, "name"));
        print_line(buf_slice(&title));
        buf_fini(&title);
        print_part(object, "metadata", "metadata");
        print_part(object, "spec", "spec");
        print_part(object, "status", "status");
        if (strcmp(plural, "event-sources") == 0) {
            print_recent(remote, object);
        }
        code = CLI_DONE;
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    return code;
}

int cli_describe(int argc, char **argv)
{
    struct options options;
    struct remote remote;
    struct buf target;
    int code;
    bool in_canvas;
    if (!cli_begin(&options, cli_describe_options, argc, argv, &code)) {
        return code;
    }
    code = CLI_USAGE;
    const char *plural = NULL;
    if (options.argument_count != 2) {
        cli_usage("describe takes a kind and a name: becket describe event-source payments");
    } else {
        plural = plural_of(options.arguments[0], &in_canvas);
    }
    if (plural != NULL) {
        buf_init(&target, 8192);
        object_target(&target, &options, plural, in_canvas, options.arguments[1]);
        code = remote_open(&remote, &options) ? describe(&remote, buf_text(&target), plural)
                                              : CLI_FAILED;
        remote_fini(&remote);
        buf_fini(&target);
    }
    options_fini(&options);
    return code;
}

/* ---- delete */

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
        code = print_invalid(files, &response);
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

/* What was deleted, or at the end what was not. */
static void print_deleted(const struct json_tree *tree, const char *action)
{
    size_t i, count;
    yyjson_mut_val *result;
    yyjson_mut_arr_foreach(value_at(tree->roots[0], "results"), i, count, result)
    {
        struct slice kind = text_at(result, "kind"), name = text_at(result, "name");
        if (slice_equal(text_at(result, "action"), slice_str(action))) {
            struct buf line;
            buf_init(&line, 4096);
            buf_printf(&line, "%s %.*s %.*s", action, (int)kind.bytes, (const char *)kind.at,
                       (int)name.bytes, (const char *)name.at);
            print_line(buf_slice(&line));
            buf_fini(&line);
        }
    }
}

#define WAITING_POLL_MS 300

/* Integrations wait until the hooks that were made with them are removed at the provider. */
static int delete_until_gone(struct remote *remote, struct files *files, const char *target)
{
    struct json_tree tree;
    size_t waiting;
    int code;
    unsigned waited_ms = 0;
    for (;;) {
        json_tree_init(&tree);
        code = delete_set(remote, files, target, &tree, &waiting);
        if (code == CLI_DONE) {
            print_deleted(&tree, "deleted");
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
        print_deleted(&tree, "waiting");
        code = cli_error("hooks made with them are still to be removed at the provider: see "
                         "`becket get operations`, then run this again, or give the removal up "
                         "with `becket delete operation NAME`");
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
    buf_add_str(&target, "/api/v1/apply?delete=true");
    remote_query(&target, "canvas", option_text(options, "canvas"));
    if (read_files(&files, options)) {
        code = remote_open(&remote, options) ? delete_until_gone(&remote, &files, buf_text(&target))
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
    } else if (by_file) {
        code = delete_files(&options);
    } else {
        const char *plural = plural_of(options.arguments[0], &in_canvas);
        code = CLI_USAGE;
        if (plural != NULL) {
            struct remote remote;
            struct buf target;
            buf_init(&target, 8192);
            object_target(&target, &options, plural, in_canvas, options.arguments[1]);
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
