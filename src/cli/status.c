/* status: is the server well, and what asks for somebody? */
#include "cli/commands.h"

#include "cli/remote.h"
#include "cli/trouble.h"

#include <yyjson.h>

const struct option cli_status_options[] = {OUTPUT_OPTION, REMOTE_OPTIONS, OPTIONS_END};

#define DEAD_COUNTED_MAX 20000U /* well within a second: it may be a health check */

struct looking {
    struct remote *remote;
    const struct options *options;
    struct table table;     /* of what was found … */
    struct json_tree found; /* … or as JSON */
    yyjson_mut_val *items;
    size_t count;
    bool failed; /* in one of the canvases; said already */
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

/* The objects of one list, and what is said of each. */
struct objects {
    struct looking *looking;
    trouble_fn *trouble;
};

static bool visit_object(void *context, yyjson_mut_val *object)
{
    const struct objects *objects = context;
    struct buf text;
    buf_init(&text, 1U << 16);
    objects->trouble(&text, object);
    if (text.bytes != 0) {
        note_trouble(objects->looking, object, buf_text(&text));
    }
    buf_fini(&text);
    return true;
}

/* All objects of a kind in a canvas (NULL: the kind is in none). False after an error. */
static bool look_at(struct looking *looking, const char *path, const char *canvas,
                    trouble_fn *trouble)
{
    const struct remote_list list = {.path = path};
    const char *const more[] = {canvas ? "canvas" : NULL, canvas, NULL};
    struct objects objects = {looking, trouble};
    return remote_each(looking->remote, looking->options, &list, more, UINT64_MAX, visit_object,
                       &objects);
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

/* Those of one destination, as far as they were seen. */
struct dead {
    struct looking *looking;
    char destination[NAME_BYTES_MAX + 1], canvas[NAME_BYTES_MAX + 1];
    uint64_t count, all;
    bool more; /* there are more than are counted */
};

static void note_dead(const struct dead *dead)
{
    char what[200];
    if (dead->count == 0) {
        return;
    }
    snprintf(what, sizeof what,
             "given up: %llu%s; `becket deliveries --state dead` says why, `becket replay --state "
             "dead` sends them again",
             (unsigned long long)dead->count, dead->more ? " or more" : "");
    note(dead->looking, SLICE("Destination"), slice_str(dead->canvas), slice_str(dead->destination),
         what);
}

static bool visit_dead(void *context, yyjson_mut_val *item)
{
    struct dead *dead = context;
    struct slice destination = text_at(item, "destination"), canvas = text_at(item, "canvasId");
    if (canvas.bytes == 0) {
        return true; /* the destination was deleted just now: they go with it */
    }
    dead->more = dead->all == DEAD_COUNTED_MAX;
    bool same = slice_equal(destination, slice_str(dead->destination)) &&
                slice_equal(canvas, slice_str(dead->canvas));
    if (!dead->more && !same) {
        note_dead(dead);
        slice_keep(destination, dead->destination, sizeof dead->destination);
        slice_keep(canvas, dead->canvas, sizeof dead->canvas);
        dead->count = 0;
    }
    dead->count += !dead->more;
    dead->all += !dead->more;
    return !dead->more;
}

/* Of all canvases that the token is good for: a destination's stand together. */
static bool look_at_dead(struct looking *looking)
{
    static const char *const state[] = {"state", "dead", NULL};
    static const struct remote_list list = {.path = "/api/v1/deliveries"};
    struct dead dead = {.looking = looking};
    bool done =
        remote_each(looking->remote, looking->options, &list, state, UINT64_MAX, visit_dead, &dead);
    note_dead(&dead);
    return done;
}

static bool visit_canvas(void *context, yyjson_mut_val *canvas)
{
    struct looking *looking = context;
    char name[NAME_BYTES_MAX + 1];
    slice_keep(text_at(canvas, "metadata.name"), name, sizeof name);
    looking->failed = !look_at_canvas(looking, name);
    return !looking->failed;
}

static bool look_at_canvases(struct looking *looking)
{
    static const struct remote_list list = {.path = "/api/v1/canvases"};
    return remote_each(looking->remote, looking->options, &list, NULL, UINT64_MAX, visit_canvas,
                       looking) &&
           !looking->failed;
}

static bool look_at_all(struct looking *looking)
{
    char only[NAME_BYTES_MAX + 1];
    return ask_canvas(looking->remote, only) &&
           (only[0] != '\0' ? look_at_canvas(looking, only) : look_at_canvases(looking)) &&
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
