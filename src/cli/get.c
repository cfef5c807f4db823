/* get, describe. */
#include "cli/commands.h"

#include "base/assert.h"
#include "base/time.h"
#include "base/yaml.h"
#include "cli/kind.h"
#include "cli/remote.h"
#include "cli/trouble.h"

#include <stdlib.h>
#include <time.h>
#include <yyjson.h>

const struct option cli_get_options[] = {CANVAS_OPTION, OUTPUT_OPTION, REMOTE_OPTIONS, OPTIONS_END};
const struct option cli_describe_options[] = {CANVAS_OPTION, OUTPUT_OPTION, REMOTE_OPTIONS,
                                              OPTIONS_END};

/* ---- what both commands are asked for */

struct asked {
    const struct options *options;
    const char *target, *plural;
    bool in_canvas;
};

/* A kind, and a name where `arguments_min` is 2. */
static int on_objects(int argc, char **argv, const struct option *rows, size_t arguments_min,
                      const char *usage,
                      int (*run)(struct remote *remote, const struct asked *asked))
{
    struct options options;
    struct remote remote;
    struct buf target;
    struct asked asked = {.options = &options};
    int code;
    if (!cli_begin(&options, rows, argc, argv, &code)) {
        return code;
    }
    code = CLI_USAGE;
    if (options.argument_count < arguments_min || options.argument_count > 2) {
        cli_usage("%s", usage);
    } else {
        asked.plural = kind_plural(options.arguments[0], &asked.in_canvas);
    }
    if (asked.plural != NULL) {
        buf_init(&target, 8192);
        kind_target(&target, &options, asked.plural, asked.in_canvas,
                    options.argument_count == 2 ? options.arguments[1] : NULL);
        asked.target = buf_text(&target);
        code = remote_open(&remote, &options) ? run(&remote, &asked) : CLI_FAILED;
        remote_fini(&remote);
        buf_fini(&target);
    }
    options_fini(&options);
    return code;
}

/* ---- rows of a table */

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
        {"integrations", "NAME!|TYPE|STATE|ACCOUNT|URL|WHAT TO DO~"},
        {"integration-links", "NAME!|TYPE|FOR|STATE|WHAT IT DOES|WHAT TO DO~"},
        {"integration-users", "NAME!|INTEGRATION|USER|UID|NICKNAME|UPDATED@?"},
        {"teams", "NAME!|TITLE|MEMBERS|UPDATED@?"},
        {"users", "NAME!|FULL NAME|EMAIL|UPDATED@?"},
        {"entries", "ID!|DAY!|WHO|STATUS|TEAM|STATE|WHAT"},
        {"operations", "NAME!|WHAT|OBJECT!|STATE|TRIES>?|NEXT@?|WHY~"},
        {"event-sources", "NAME!|TYPE|STATE|URL!|UPDATED@?|WHAT TO DO~"},
        {"destinations", "NAME!|STATE|URL|UPDATED@?|WHY~"},
        {"routes", "NAME!|FROM|TO|FILTERS|UPDATED@?"},
        {"tokens", CLI_TOKEN_COLUMNS},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i].plural, plural) == 0) {
            return known[i].columns;
        }
    }
    return "NAME!|UPDATED@?";
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

static void trouble_cell(struct table *table, yyjson_mut_val *object,
                         void (*trouble)(struct buf *text, yyjson_mut_val *object))
{
    struct buf text;
    buf_init(&text, 1U << 16);
    trouble(&text, object);
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
    trouble_cell(table, object, trouble_advice);
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
    trouble_cell(table, object, trouble_advice);
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
        trouble_cell(table, object, trouble_advice);
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
        trouble_cell(table, object, trouble_of_source);
    } else if (strcmp(plural, "destinations") == 0) {
        trouble_cell(table, object, trouble_of_destination);
    }
}

/* The list as one value. */
struct gathered {
    struct json_tree all;
    yyjson_mut_val *items;
};

static bool gather(void *context, yyjson_mut_val *item)
{
    struct gathered *gathered = context;
    yyjson_mut_arr_append(gathered->items, json_copy(&gathered->all, item));
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

static int get_list(struct remote *remote, const struct asked *asked)
{
    enum print_format format = print_format(option_text(asked->options, "output"));
    const struct remote_list list = {.path = asked->target};
    struct gathered gathered;
    json_tree_init(&gathered.all);
    gathered.items = json_new_array(&gathered.all);
    yyjson_mut_val *value = json_new_object(&gathered.all);
    int code = CLI_FAILED;
    if (remote_each(remote, asked->options, &list, NULL, UINT64_MAX, gather, &gathered)) {
        code = CLI_DONE;
        if (yyjson_mut_arr_size(gathered.items) == 0 && format == PRINT_TABLE) {
            code = say_none(remote, asked->options, asked->plural, asked->in_canvas);
        } else if (format != PRINT_TABLE) {
            json_set(&gathered.all, value, "items", gathered.items);
            print_value(value, format);
        } else {
            struct table table;
            size_t i, count;
            yyjson_mut_val *item;
            table_init(&table, columns_of(asked->plural));
            yyjson_mut_arr_foreach(gathered.items, i, count, item)
            {
                object_row(&table, asked->plural, item);
            }
            table_print(&table);
            table_fini(&table);
        }
    }
    json_tree_fini(&gathered.all);
    return code;
}

static int get_one(struct remote *remote, const struct asked *asked)
{
    struct client_response response = {0};
    struct json_tree tree;
    enum print_format format = print_format(option_text(asked->options, "output"));
    int code = CLI_FAILED;
    json_tree_init(&tree);
    if (remote_call(remote, "GET", asked->target, NULL, SLICE_EMPTY, &response) &&
        remote_json(&response, &tree)) {
        code = CLI_DONE;
        if (format != PRINT_TABLE) {
            print_value(tree.roots[0], format);
        } else {
            struct table table;
            table_init(&table, columns_of(asked->plural));
            object_row(&table, asked->plural, tree.roots[0]);
            table_print(&table);
            table_fini(&table);
        }
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    return code;
}

static int get(struct remote *remote, const struct asked *asked)
{
    return asked->options->argument_count == 2 ? get_one(remote, asked) : get_list(remote, asked);
}

int cli_get(int argc, char **argv)
{
    return on_objects(argc, argv, cli_get_options, 1,
                      "get takes a kind and perhaps a name: becket get event-sources", get);
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
    buf_printf(&safe, *heading ? "\n%s\n" : "%s\n", heading);
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

/* The newest few of `path` whose `filter` is this object. */
static void print_recent(struct remote *remote, yyjson_mut_val *object, const char *path,
                         const char *filter, const char *heading,
                         void (*print)(yyjson_mut_val *items))
{
    struct client_response response = {0};
    struct json_tree tree;
    struct buf target;
    struct slice name = text_at(object, "metadata.name"),
                 canvas = text_at(object, "metadata.canvasId");
    char text[256];
    buf_init(&target, 4096);
    buf_printf(&target, "%s?limit=5", path);
    snprintf(text, sizeof text, "%.*s", (int)name.bytes, (const char *)name.at);
    remote_query(&target, filter, text);
    snprintf(text, sizeof text, "%.*s", (int)canvas.bytes,
             (const char *)(canvas.at ? canvas.at : (const uint8_t *)""));
    remote_query(&target, "canvas", text);
    json_tree_init(&tree);
    if (remote_call(remote, "GET", buf_text(&target), NULL, SLICE_EMPTY, &response) &&
        remote_json(&response, &tree)) {
        yyjson_mut_val *items = value_at(tree.roots[0], "items");
        printf("\n%s\n", heading);
        if (yyjson_mut_arr_size(items) > 0) {
            print(items);
        } else {
            puts("  none yet");
        }
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    buf_fini(&target);
}

static int describe(struct remote *remote, const struct asked *asked)
{
    if (print_format(option_text(asked->options, "output")) != PRINT_TABLE) {
        return get_one(remote, asked); /* for programs it is the same */
    }
    struct client_response response = {0};
    struct json_tree tree;
    int code = CLI_FAILED;
    json_tree_init(&tree);
    if (remote_call(remote, "GET", asked->target, NULL, SLICE_EMPTY, &response) &&
        remote_json(&response, &tree)) {
        yyjson_mut_val *object = tree.roots[0];
        struct slice kind = text_at(object, "kind"), name = text_at(object, "metadata.name");
        bool enveloped = value_at(object, "metadata") != NULL;
        bool token = strcmp(asked->plural, "tokens") == 0;
        kind = enveloped ? kind : token ? SLICE("Token") : SLICE("Entry");
        name = enveloped ? name : text_at(object, token ? "name" : "id");
        struct buf title;
        buf_init(&title, 4096);
        buf_add_slice(&title, kind);
        buf_add_str(&title, kind.bytes != 0 ? " " : "");
        buf_add_slice(&title, name);
        print_line(buf_slice(&title));
        buf_fini(&title);
        print_part(object, "metadata", "metadata");
        print_part(object, "spec", "spec");
        print_part(object, "status", "status");
        if (!enveloped) {
            print_part(object, "", "");
        }
        if (strcmp(asked->plural, "event-sources") == 0) {
            print_recent(remote, object, "/api/v1/events", "source", "latest events",
                         cli_print_events);
        } else if (strcmp(asked->plural, "destinations") == 0) {
            print_recent(remote, object, "/api/v1/deliveries", "destination", "latest deliveries",
                         cli_print_deliveries);
        }
        code = CLI_DONE;
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    return code;
}

int cli_describe(int argc, char **argv)
{
    return on_objects(argc, argv, cli_describe_options, 2,
                      "describe takes a kind and a name: becket describe event-source payments",
                      describe);
}
