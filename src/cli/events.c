/* events, event. */
#include "cli/commands.h"

#include "base/assert.h"
#include "cli/remote.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <yyjson.h>

#define FOLLOW_INTERVAL_MS 300
#define BODY_SHOWN_BYTES   8192U
#define COLUMNS            "RECEIVED@|ID!|SOURCE|TYPE|STATE|SIZE>?"

const struct option cli_events_options[] = {
    {.name = "source",
     .kind = OPTION_TEXT,
     .argument = "NAME",
     .help = "only of this event source"},
    {.name = "canvas",
     .kind = OPTION_TEXT,
     .flags = OPTION_ENV,
     .argument = "NAME",
     .help = "only of sources in this canvas"},
    {.name = "type",
     .kind = OPTION_TEXT,
     .argument = "TYPE",
     .help = "only of this event type; invoice.*: all that begin so"},
    {.name = "delivery",
     .kind = OPTION_TEXT,
     .argument = "ID",
     .help = "only what came with this delivery id of the provider's"},
    {.name = "state",
     .kind = OPTION_CHOICE,
     .argument = "STATE",
     .help = "only in this state",
     .choices = "accepted|rejected|duplicate"},
    {.name = "since", .kind = OPTION_TIME, .argument = "TIME", .help = "received at or after"},
    {.name = "until", .kind = OPTION_TIME, .argument = "TIME", .help = "received before"},
    {.name = "limit",
     .letter = 'n',
     .kind = OPTION_NUMBER,
     .argument = "N",
     .fallback = "100",
     .help = "at most so many",
     .number_min = 1},
    {.name = "follow", .letter = 'f', .kind = OPTION_FLAG, .help = "print events as they arrive"},
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};
const struct option cli_event_options[] = {
    {.name = "body", .kind = OPTION_FLAG, .help = "print the body only, byte for byte"},
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};

/* ---- tables */

static void begin_table(struct table *table)
{
    table_init(table, COLUMNS);
    /* While following, columns keep these widths from page to page. */
    table->widths[0] = 19;
    table->widths[1] = 30;
    table->widths[2] = 12;
    table->widths[3] = 16;
}

static void add_event(struct table *table, yyjson_mut_val *event)
{
    char time_text[32], size_text[16];
    struct slice reason = text_at(event, "reason"), state = text_at(event, "state");
    print_time(text_at(event, "receivedAt"), time_text);
    table_row(table);
    table_cell(table, slice_str(time_text));
    table_cell(table, text_at(event, "id"));
    table_cell(table, text_at(event, "source"));
    table_cell(table, text_at(event, "type"));
    table_cellf(table, "%.*s%s%.*s", (int)state.bytes, (const char *)state.at,
                reason.bytes ? ": " : "", (int)reason.bytes,
                (const char *)(reason.at ? reason.at : (const uint8_t *)""));
    print_bytes_text(yyjson_mut_get_uint(value_at(event, "size")), size_text);
    table_cell(table, slice_str(size_text));
}

static void add_events(struct table *table, yyjson_mut_val *events)
{
    size_t i, count;
    yyjson_mut_val *event;
    yyjson_mut_arr_foreach(events, i, count, event)
    {
        add_event(table, event);
    }
}

void cli_print_events(yyjson_mut_val *events)
{
    struct table table;
    table_init(&table, COLUMNS);
    add_events(&table, events);
    table_print(&table);
    table_fini(&table);
}

/* ---- events */

static const char *const event_filters[] = {"source", "canvas", "type",  "delivery",
                                            "state",  "until",  "since", NULL};
static const struct remote_list events_list = {.path = "/api/v1/events",
                                               .what = "events",
                                               .source = true,
                                               .filters = event_filters,
                                               .columns = COLUMNS,
                                               .add_row = add_event};

/* ---- follow */

/* JSON: one object a line, so that a reader can go along. YAML: one document each. */
static void print_followed(struct table *table, yyjson_mut_val *events, enum print_format format)
{
    size_t i, count;
    yyjson_mut_val *event;
    if (format == PRINT_TABLE) {
        add_events(table, events);
        table_print(table);
        return;
    }
    yyjson_mut_arr_foreach(events, i, count, event)
    {
        if (format == PRINT_YAML) {
            print_bytes(SLICE("---\n"));
            print_value(event, format);
            continue;
        }
        struct buf line;
        buf_init(&line, 16U << 20);
        json_add_value(&line, event);
        buf_add_byte(&line, '\n');
        print_bytes(buf_slice(&line));
        buf_fini(&line);
    }
}

static int follow_events(struct remote *remote, const struct options *options,
                         enum print_format format)
{
    const struct timespec interval = {0, FOLLOW_INTERVAL_MS * 1000000L};
    /* Of the list's filters all but the last: `since` holds for the first page only. */
    static const char *const filters[] = {"source", "canvas", "type", "delivery",
                                          "state",  "until",  NULL};
    struct remote_list list = events_list;
    struct table table;
    char cursor[REMOTE_CURSOR_BYTES] = "";
    const char *since = option_text(options, "since");
    bool limited = option_given(options, "limit"), done = true;
    uint64_t left = limited ? option_number(options, "limit") : UINT64_MAX;
    remote_until_ended();
    list.filters = filters;
    begin_table(&table);
    while (!remote_ended() && left != 0) {
        struct json_tree page;
        /* The cursor says where to go on; "now" would be another one at each poll. */
        const char *from = cursor[0] != '\0' ? NULL : since ? since : "0s";
        const char *const more[] = {"order", "asc", from ? "since" : NULL, from, NULL};
        done = remote_page(remote, options, &list, more, left, cursor, &page);
        remote->follows |= done;
        yyjson_mut_val *events = done ? value_at(page.roots[0], "items") : NULL;
        size_t count = yyjson_mut_arr_size(events);
        if (count != 0) {
            print_followed(&table, events, format);
            left -= count;
        }
        json_tree_fini(&page);
        if (!done || ferror(stdout) || cursor[0] == '\0') {
            break; /* refused; nobody reads us any more; --until has passed */
        }
        if (count == 0) {
            nanosleep(&interval, NULL); /* a signal ends it early */
        }
    }
    table_fini(&table);
    return done || remote_ended() ? CLI_DONE : CLI_FAILED;
}

/* Who waits for events of a source that is not there is told. */
static bool note_source(struct remote *remote, const struct options *options)
{
    const char *source = option_text(options, "source");
    return source == NULL || !option_flag(options, "follow") ||
           remote_note_source(remote, source, option_text(options, "canvas"));
}

int cli_events(int argc, char **argv)
{
    struct options options;
    struct remote remote;
    int code;
    if (!cli_begin(&options, cli_events_options, argc, argv, &code)) {
        return code;
    }
    if (options.argument_count != 0) {
        code = cli_usage("events takes no arguments; one event is printed by `becket event ID`");
    } else if (!remote_open(&remote, &options) || !note_source(&remote, &options)) {
        code = CLI_FAILED;
        remote_fini(&remote);
    } else {
        enum print_format format = print_format(option_text(&options, "output"));
        code = option_flag(&options, "follow")
                   ? follow_events(&remote, &options, format)
                   : remote_print_list(&remote, &options, &events_list,
                                       option_number(&options, "limit"));
        remote_fini(&remote);
    }
    options_fini(&options);
    return code;
}

/* ---- event */

static void print_field(struct buf *out, const char *name, struct slice text)
{
    if (text.bytes != 0) {
        buf_printf(out, "%-12s ", name);
        print_safe(out, text, false);
        buf_add_byte(out, '\n');
    }
}

static void print_event(yyjson_mut_val *event)
{
    struct buf out;
    char time_text[32], size_text[16];
    size_t i, count;
    yyjson_mut_val *key, *value;
    buf_init(&out, 1U << 20);
    print_time(text_at(event, "receivedAt"), time_text);
    print_bytes_text(yyjson_mut_get_uint(value_at(event, "size")), size_text);
    print_field(&out, "id", text_at(event, "id"));
    print_field(&out, "received", slice_str(time_text));
    print_field(&out, "source", text_at(event, "source"));
    print_field(&out, "provider", text_at(event, "provider"));
    print_field(&out, "type", text_at(event, "type"));
    print_field(&out, "delivery id", text_at(event, "deliveryId"));
    print_field(&out, "account", text_at(event, "account"));
    print_field(&out, "resource", text_at(event, "resource"));
    print_field(&out, "state", text_at(event, "state"));
    print_field(&out, "reason", text_at(event, "message"));
    print_field(&out, "duplicate of", text_at(event, "duplicateOf"));
    print_field(&out, "from", text_at(event, "remote"));
    print_field(&out, "size", slice_str(size_text));
    buf_add_byte(&out, '\n');
    print_safe(&out, text_at(event, "method"), false);
    buf_add_byte(&out, ' ');
    print_safe(&out, text_at(event, "target"), false);
    buf_add_byte(&out, '\n');
    yyjson_mut_obj_foreach(value_at(event, "headers"), i, count, key, value)
    {
        print_safe(&out, json_text(key), false);
        buf_add_str(&out, ": ");
        print_safe(&out, json_text(value), false);
        buf_add_byte(&out, '\n');
    }
    buf_add_byte(&out, '\n');
    print_bytes(buf_slice(&out));
    buf_fini(&out);
}

static bool looks_binary(struct slice body)
{
    return body.bytes != 0 && memchr(body.at, '\0', body.bytes) != NULL;
}

/* What a person wants to see of it. */
static void print_body(struct slice body)
{
    if (looks_binary(body)) {
        printf("(%zu bytes, not text; `becket event ID --body` writes them)\n", body.bytes);
    } else if (body.bytes > BODY_SHOWN_BYTES) {
        print_line(slice_of(body.at, BODY_SHOWN_BYTES));
        printf("(%zu bytes more; `becket event ID --body` prints all)\n",
               body.bytes - BODY_SHOWN_BYTES);
    } else if (body.bytes != 0) {
        print_line(body);
    }
}

static bool get_body(struct remote *remote, const char *target, bool raw)
{
    struct client_response response = {0};
    struct buf full;
    buf_init(&full, 4096);
    buf_printf(&full, "%s/body", target);
    bool done = remote_call(remote, "GET", buf_text(&full), NULL, SLICE_EMPTY, &response);
    if (done && raw && !print_is_terminal()) {
        done = print_bytes(buf_slice(&response.body));
    } else if (done && raw) {
        print_line(buf_slice(&response.body));
    } else if (done) {
        print_body(buf_slice(&response.body));
    }
    client_response_fini(&response);
    buf_fini(&full);
    return done;
}

static bool get_event(struct remote *remote, const char *target, enum print_format format)
{
    struct client_response response = {0};
    struct json_tree tree;
    json_tree_init(&tree);
    bool done = remote_call(remote, "GET", target, NULL, SLICE_EMPTY, &response) &&
                remote_json(&response, &tree);
    if (done && format != PRINT_TABLE) {
        print_value(tree.roots[0], format);
    } else if (done) {
        print_event(tree.roots[0]);
        done = get_body(remote, target, false);
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    return done;
}

int cli_event(int argc, char **argv)
{
    struct options options;
    struct remote remote;
    int code;
    if (!cli_begin(&options, cli_event_options, argc, argv, &code)) {
        return code;
    }
    if (options.argument_count != 1) {
        code = cli_usage("event takes one id: becket event evt_…; `becket events` lists them");
        options_fini(&options);
        return code;
    }
    struct buf target;
    buf_init(&target, 4096);
    buf_add_str(&target, "/api/v1/events/");
    remote_segment(&target, options.arguments[0]);
    bool done =
        remote_open(&remote, &options) &&
        (option_flag(&options, "body") ? get_body(&remote, buf_text(&target), true)
                                       : get_event(&remote, buf_text(&target),
                                                   print_format(option_text(&options, "output"))));
    remote_fini(&remote);
    buf_fini(&target);
    options_fini(&options);
    return done ? CLI_DONE : CLI_FAILED;
}
