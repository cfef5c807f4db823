/* status: is the server well, and what asks for somebody? */
#include "cli/commands.h"

#include "cli/remote.h"
#include "cli/trouble.h"

const struct option cli_status_options[] = {OUTPUT_OPTION, REMOTE_OPTIONS, OPTIONS_END};

#define PAGE_ITEMS 1000U

struct looking {
    struct remote *remote;
    const struct options *options;
    struct table table;     /* of what was found … */
    struct json_tree found; /* … or as JSON */
    yyjson_mut_val *items;
    size_t count;
};

static void note(struct looking *looking, struct slice kind, struct slice canvas, struct slice name,
                 const char *what)
{
    looking->count++;
    table_row(&looking->table);
    table_cell(&looking->table, kind);
    table_cell(&looking->table, canvas);
    table_cell(&looking->table, name);
    table_cell(&looking->table, slice_str(what));
    yyjson_mut_val *item = json_new_object(&looking->found);
    json_set(&looking->found, item, "kind", json_new_string(&looking->found, kind));
    json_set(&looking->found, item, "canvasId", json_new_string(&looking->found, canvas));
    json_set(&looking->found, item, "name", json_new_string(&looking->found, name));
    json_set(&looking->found, item, "what", json_new_string(&looking->found, slice_str(what)));
    yyjson_mut_arr_append(looking->items, item);
}

static void note_trouble(struct looking *looking, yyjson_mut_val *object, const char *what)
{
    note(looking, text_at(object, "kind"), text_at(object, "metadata.canvasId"),
         text_at(object, "metadata.name"), what);
}

typedef void trouble_fn(struct buf *text, yyjson_mut_val *object);

/* What waits has a reason; what is on its way, or looked at now and then, has none. */
static void trouble_of_operation(struct buf *text, yyjson_mut_val *object)
{
    if (text_at(object, "status.reason").bytes != 0) {
        trouble_advice(text, object);
    }
}

/* `get` has a column for the state. */
static void trouble_of_target(struct buf *text, yyjson_mut_val *object)
{
    if (slice_equal(text_at(object, "status.state"), SLICE("paused"))) {
        buf_add_str(text, "paused: ");
    }
    trouble_of_destination(text, object);
}

typedef bool visit_fn(struct looking *looking, yyjson_mut_val *object, trouble_fn *trouble);

/* All objects of a kind in a canvas (NULL: the kind is in none), until one visit gives false. False
 * then, and after an error. */
static bool each_object(struct looking *looking, const char *path, const char *canvas,
                        visit_fn *visit, trouble_fn *trouble)
{
    static const char *const no_filters[] = {NULL};
    const struct remote_list list = {.path = path, .filters = no_filters};
    const char *const more[] = {canvas ? "canvas" : NULL, canvas, NULL};
    char cursor[REMOTE_CURSOR_BYTES] = "";
    bool done;
    do {
        struct json_tree page;
        size_t i, count;
        yyjson_mut_val *object;
        done =
            remote_page(looking->remote, looking->options, &list, more, PAGE_ITEMS, cursor, &page);
        yyjson_mut_arr_foreach(done ? value_at(page.roots[0], "items") : NULL, i, count, object)
        {
            done = done && visit(looking, object, trouble);
        }
        json_tree_fini(&page);
    } while (done && cursor[0] != '\0');
    return done;
}

static bool visit_object(struct looking *looking, yyjson_mut_val *object, trouble_fn *trouble)
{
    struct buf text;
    buf_init(&text, 1U << 16);
    trouble(&text, object);
    if (text.bytes != 0) {
        note_trouble(looking, object, buf_text(&text));
    }
    buf_fini(&text);
    return true;
}

static bool look_at(struct looking *looking, const char *path, const char *canvas,
                    trouble_fn *trouble)
{
    return each_object(looking, path, canvas, visit_object, trouble);
}

static bool look_at_canvas(struct looking *looking, const char *canvas)
{
    return look_at(looking, "/api/v1/integrations", canvas, trouble_advice) &&
           look_at(looking, "/api/v1/event-sources", canvas, trouble_of_source) &&
           look_at(looking, "/api/v1/destinations", canvas, trouble_of_target) &&
           look_at(looking, "/api/v1/integration-links", canvas, trouble_advice);
}

/* The canvas that the token is bound to; "" = to none. False after an error. */
static bool ask_canvas(struct remote *remote, char ret_canvas[NAME_BYTES_MAX + 1])
{
    struct client_response response = {0};
    struct json_tree tree;
    json_tree_init(&tree);
    bool done = remote_call(remote, "GET", "/api/v1/me", NULL, SLICE_EMPTY, &response) &&
                remote_json(&response, &tree);
    struct slice canvas = done ? text_at(tree.roots[0], "canvas") : SLICE_EMPTY;
    snprintf(ret_canvas, NAME_BYTES_MAX + 1, "%.*s", (int)canvas.bytes,
             (const char *)(canvas.at ? canvas.at : (const uint8_t *)""));
    json_tree_fini(&tree);
    client_response_fini(&response);
    return done;
}

/* ---- dead letters */

static void note_dead(struct looking *looking, yyjson_mut_val *item, size_t count, bool more)
{
    char what[200];
    snprintf(what, sizeof what,
             "given up: %zu%s; `becket deliveries --state dead` says why, `becket replay --state "
             "dead` sends them again",
             count, more ? " or more" : "");
    note(looking, SLICE("Destination"), text_at(item, "canvasId"), text_at(item, "destination"),
         what);
}

/* One page, of all canvases that the token is good for: a destination's stand together. Where there
 * are more, the last one has that many or more. */
static bool look_at_dead(struct looking *looking)
{
    static const char *const no_filters[] = {NULL};
    static const char *const dead[] = {"state", "dead", NULL};
    const struct remote_list list = {.path = "/api/v1/deliveries", .filters = no_filters};
    char cursor[REMOTE_CURSOR_BYTES] = "";
    struct json_tree page;
    bool done =
        remote_page(looking->remote, looking->options, &list, dead, PAGE_ITEMS, cursor, &page);
    size_t i, count, same = 0;
    yyjson_mut_val *item, *before = NULL;
    yyjson_mut_arr_foreach(done ? value_at(page.roots[0], "items") : NULL, i, count, item)
    {
        if (text_at(item, "canvasId").bytes == 0) {
            continue; /* the destination was deleted just now: they go with it */
        }
        bool other =
            before && !(slice_equal(text_at(item, "destination"), text_at(before, "destination")) &&
                        slice_equal(text_at(item, "canvasId"), text_at(before, "canvasId")));
        if (other) {
            note_dead(looking, before, same, false);
        }
        same = other ? 1 : same + 1;
        before = item;
    }
    if (before) {
        note_dead(looking, before, same, cursor[0] != '\0');
    }
    json_tree_fini(&page);
    return done;
}

static bool visit_canvas(struct looking *looking, yyjson_mut_val *canvas, trouble_fn *trouble)
{
    (void)trouble;
    char name[NAME_BYTES_MAX + 1];
    slice_keep(text_at(canvas, "metadata.name"), name, sizeof name);
    return look_at_canvas(looking, name);
}

static bool look_at_all(struct looking *looking)
{
    char only[NAME_BYTES_MAX + 1];
    return ask_canvas(looking->remote, only) &&
           (only[0] != '\0' ? look_at_canvas(looking, only)
                            : each_object(looking, "/api/v1/canvases", NULL, visit_canvas, NULL)) &&
           look_at_dead(looking) &&
           look_at(looking, "/api/v1/operations", NULL, trouble_of_operation);
}

/* What /health/ready says. False after an error: nobody answers. */
static bool ask_ready(struct remote *remote, bool *ret_ready, char ret_why[256])
{
    struct client_response response = {0};
    struct json_tree tree;
    json_tree_init(&tree);
    bool done = remote_try(remote, "GET", "/health/ready", NULL, SLICE_EMPTY, &response) &&
                remote_json(&response, &tree);
    *ret_ready = done && response.status == 200;
    struct buf why;
    buf_init(&why, 4096);
    if (done && !*ret_ready) {
        print_safe(&why, text_at(tree.roots[0], "message"), false);
    }
    slice_keep(buf_slice(&why), ret_why, 256);
    buf_fini(&why);
    json_tree_fini(&tree);
    client_response_fini(&response);
    return done;
}

static void print_status(struct looking *looking, bool ready, const char *why)
{
    enum print_format format = print_format(option_text(looking->options, "output"));
    if (format != PRINT_TABLE) {
        yyjson_mut_val *value = json_new_object(&looking->found);
        yyjson_mut_val *flag = json_new(&looking->found, (struct json_place){0});
        if (flag) {
            yyjson_mut_set_bool(flag, ready);
        }
        json_set(&looking->found, value, "ready", flag);
        json_set(&looking->found, value, "reason",
                 json_new_string(&looking->found, slice_str(why)));
        json_set(&looking->found, value, "items", looking->items);
        print_value(value, format);
        return;
    }
    printf("%s%s%s\n", ready ? "ready" : "not ready: ", ready ? "" : why,
           looking->count == 0 ? "; nothing asks for attention" : "");
    if (looking->count > 0) {
        table_print(&looking->table);
    }
}

int cli_status(int argc, char **argv)
{
    struct options options;
    struct remote remote;
    struct looking looking = {.remote = &remote, .options = &options};
    int code;
    bool ready = false;
    char why[256];
    if (!cli_begin(&options, cli_status_options, argc, argv, &code)) {
        return code;
    }
    if (options.argument_count != 0) {
        code = cli_usage("status takes no arguments; `becket describe` tells about one object");
        options_fini(&options);
        return code;
    }
    table_init(&looking.table, "KIND|CANVAS?|NAME!|WHAT~");
    json_tree_init(&looking.found);
    looking.items = json_new_array(&looking.found);
    code = CLI_FAILED;
    /* A server that is not ready may yet be able to say more; if not, its reason is what counts. */
    if (remote_open(&remote, &options) && ask_ready(&remote, &ready, why) &&
        (look_at_all(&looking) || !ready)) {
        print_status(&looking, ready, why);
        code = ready ? CLI_DONE : CLI_FAILED;
    }
    remote_fini(&remote);
    table_fini(&looking.table);
    json_tree_fini(&looking.found);
    options_fini(&options);
    return code;
}
