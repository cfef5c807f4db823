/* deliveries, replay: what became of events, and sending them again. */
#include "cli/commands.h"

#include "base/assert.h"
#include "cli/clock.h"
#include "cli/remote.h"
#include "hub/events/event_id.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#include <yyjson.h>

/* Without one all canvases are looked in, but a name alone is one of `default`. */
#define CANVASES_OPTION(which, named)                                                              \
    {                                                                                              \
        .name = "canvas", .kind = OPTION_TEXT, .flags = OPTION_ENV, .argument = "NAME",            \
        .help = which " in this canvas; default: all, and " named " is one of `default`"           \
    }

const struct option cli_deliveries_options[] = {
    {.name = "destination", .kind = OPTION_TEXT, .argument = "NAME", .help = "only to this one"},
    {.name = "event", .kind = OPTION_TEXT, .argument = "ID", .help = "only of this event"},
    {.name = "state",
     .kind = OPTION_CHOICE,
     .argument = "STATE",
     .help = "pending: will be tried again; dead: given up; else tries that were made",
     .choices = "pending|delivered|failed|dead"},
    {.name = "since", .kind = OPTION_TIME, .argument = "TIME", .help = "tried at or after"},
    {.name = "until", .kind = OPTION_TIME, .argument = "TIME", .help = "tried before"},
    {.name = "limit",
     .letter = 'n',
     .kind = OPTION_NUMBER,
     .argument = "N",
     .fallback = "100",
     .help = "at most so many",
     .number_min = 1},
    CANVASES_OPTION("only to destinations", "--destination"),
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};
const struct option cli_replay_options[] = {
    {.name = "source", .kind = OPTION_TEXT, .argument = "NAME", .help = "events of this source"},
    {.name = "type",
     .kind = OPTION_TEXT,
     .argument = "TYPE",
     .help = "only of this event type; invoice.*: all that begin so"},
    {.name = "since",
     .kind = OPTION_TIME,
     .argument = "TIME",
     .help = "received at or after; with --state: given up at or after"},
    {.name = "until", .kind = OPTION_TIME, .argument = "TIME", .help = "before that; now else"},
    {.name = "state",
     .kind = OPTION_CHOICE,
     .argument = "STATE",
     .help = "dead: what was given up, each to where it was to go",
     .choices = "dead"},
    {.name = "destination",
     .kind = OPTION_TEXT,
     .argument = "NAME",
     .help = "with --state: only what was to go to this one"},
    {.name = "to",
     .kind = OPTION_TEXT,
     .argument = "DESTINATION",
     .help = "only to this destination; else to where routes lead now"},
    {.name = "rate",
     .kind = OPTION_NUMBER,
     .argument = "N",
     .help = "deliveries a second at most",
     .number_min = 1,
     .number_max = 1000000},
    {.name = "dry-run", .kind = OPTION_FLAG, .help = "count only"},
    CANVASES_OPTION("only of sources (with --state: to destinations)", "--to"),
    OUTPUT_OPTION,
    REMOTE_OPTIONS,
    OPTIONS_END,
};

/* ---- deliveries */

#define COLUMNS "WHEN@|EVENT!|DESTINATION|STATE|TRY>?|STATUS?|TOOK>?|REASON~"

static void add_delivery(struct table *table, yyjson_mut_val *item)
{
    char time_text[32] = "";
    struct slice ended = text_at(item, "endedAt"), due = text_at(item, "nextAttemptAt");
    struct slice stage = text_at(item, "stage"), reason = text_at(item, "reason");
    yyjson_mut_val *status = value_at(item, "status"), *took = value_at(item, "durationMs");
    if (ended.bytes + due.bytes > 0) {
        print_time(ended.bytes > 0 ? ended : due, time_text);
    }
    table_row(table);
    table_cell(table, slice_str(time_text));
    table_cell(table, text_at(item, "event"));
    if (text_at(item, "canvasId").bytes > 0) {
        table_cell(table, text_at(item, "destination"));
    } else { /* it was deleted: only its number is known */
        struct slice number = text_at(item, "destination");
        table_cellf(table, "deleted #%.*s", (int)number.bytes, (const char *)number.at);
    }
    table_cell(table, text_at(item, "state"));
    table_cellf(table, "%llu", (unsigned long long)yyjson_mut_get_uint(value_at(item, "attempt")));
    if (status) {
        table_cellf(table, "%llu", (unsigned long long)yyjson_mut_get_uint(status));
    } else {
        table_cell(table, stage);
    }
    if (took) {
        table_cellf(table, "%.1f ms", yyjson_mut_get_num(took));
    } else {
        table_cell(table, SLICE_EMPTY);
    }
    table_cell(table, reason);
}

static const char *const delivery_filters[] = {"destination", "event",  "state", "since",
                                               "until",       "canvas", NULL};
static const struct remote_list deliveries = {.path = "/api/v1/deliveries",
                                              .what = "deliveries",
                                              .filters = delivery_filters,
                                              .columns = COLUMNS,
                                              .add_row = add_delivery};

void cli_print_deliveries(yyjson_mut_val *items)
{
    struct table table;
    size_t i, count;
    yyjson_mut_val *item;
    table_init(&table, COLUMNS);
    yyjson_mut_arr_foreach(items, i, count, item)
    {
        add_delivery(&table, item);
    }
    table_print(&table);
    table_fini(&table);
}

int cli_deliveries(int argc, char **argv)
{
    struct options options;
    struct remote remote;
    int code;
    if (!cli_begin(&options, cli_deliveries_options, argc, argv, &code)) {
        return code;
    }
    struct journal_position position;
    const char *event = option_text(&options, "event");
    if (options.argument_count != 0) {
        code = cli_usage("deliveries takes no arguments; one event's are listed by --event ID");
    } else if (event && !event_id_parse(slice_str(event), &position, NULL)) {
        code = cli_usage("--event takes an event's id, evt_ and 26 characters, not %.100s", event);
    } else {
        struct remote_list list = deliveries;
        if (event && !option_given(&options, "state")) {
            list.what =
                "deliveries of it: no route led it anywhere, or it waits; `becket replay ID "
                "--dry-run` tells where it would go now";
        }
        code = remote_open(&remote, &options)
                   ? remote_print_list(&remote, &options, &list, option_number(&options, "limit"))
                   : CLI_FAILED;
        remote_fini(&remote);
    }
    options_fini(&options);
    return code;
}

/* ---- replay */

struct replayed {
    uint64_t events;
    uint64_t deliveries;
    uint64_t gone;                  /* dead letters without an event */
    char next[REMOTE_CURSOR_BYTES]; /* "" = that was all */
    char to[400];                   /* of one event: the destinations, as far as there is room */
};

static void keep_names(yyjson_mut_val *list, char *text, size_t room)
{
    yyjson_mut_val *item;
    size_t index, max, used = 0;
    yyjson_mut_arr_foreach(list, index, max, item)
    {
        const char *name = yyjson_mut_get_str(item);
        if (name && used + strlen(name) + sizeof ", and more" < room) {
            used += (size_t)snprintf(text + used, room - used, "%s%s", index > 0 ? ", " : "", name);
        } else {
            snprintf(text + used, room - used, ", and more");
            return;
        }
    }
}

/* One call; adds what it did. False after an error was printed. */
static bool call_replay(struct remote *remote, const char *target, struct replayed *sum)
{
    struct client_response response = {0};
    struct json_tree tree;
    json_tree_init(&tree);
    bool done = remote_call(remote, "POST", target, NULL, SLICE_EMPTY, &response) &&
                remote_json(&response, &tree);
    if (done) {
        sum->events += yyjson_mut_get_uint(value_at(tree.roots[0], "events"));
        sum->deliveries += yyjson_mut_get_uint(value_at(tree.roots[0], "deliveries"));
        sum->gone += yyjson_mut_get_uint(value_at(tree.roots[0], "gone"));
        slice_keep(text_at(tree.roots[0], "next"), sum->next, sizeof sum->next);
        keep_names(value_at(tree.roots[0], "destinations"), sum->to, sizeof sum->to);
    }
    json_tree_fini(&tree);
    client_response_fini(&response);
    return done;
}

/* A query in this span of time, in nanoseconds of the wall clock. */
struct span {
    int64_t since_ns; /* INT64_MIN = no limit */
    int64_t until_ns;
};

/* Letters: at most so many, behind sum->next; 0 = all that the query finds. */
static bool replay_span(struct remote *remote, const struct options *options,
                        const struct span *span, bool dry_run, unsigned letters,
                        struct replayed *sum)
{
    static const char *const filters[] = {"source", "type", "state", "destination", "to", "canvas"};
    uint64_t rate = option_given(options, "rate") ? option_number(options, "rate") : 0;
    struct buf target;
    char text[32];
    buf_init(&target, 8192);
    buf_add_str(&target, "/api/v1/replay");
    for (size_t i = 0; i < bk_array_length(filters); i++) {
        remote_query(&target, filters[i], option_text(options, filters[i]));
    }
    if (span->since_ns != INT64_MIN) {
        time_format_rfc3339(span->since_ns, text);
        remote_query(&target, "since", text);
    }
    time_format_rfc3339(span->until_ns, text);
    remote_query(&target, "until", text);
    if (rate > 0) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)rate);
        remote_query(&target, "rate", text);
    }
    if (rate > 0 && sum->deliveries >= rate) {
        snprintf(text, sizeof text, "%llu", (unsigned long long)(sum->deliveries / rate));
        remote_query(&target, "delaySeconds", text);
    }
    if (letters > 0) {
        snprintf(text, sizeof text, "%u", letters);
        remote_query(&target, "limit", text);
        remote_query(&target, "cursor", sum->next);
    }
    remote_query(&target, "dryRun", dry_run ? "true" : NULL);
    bool done = call_replay(remote, buf_text(&target), sum);
    buf_fini(&target);
    return done;
}

/* A line that is written over. */
static void show_progress(uint64_t done, uint64_t all)
{
    char bar[41];
    unsigned filled = all ? (unsigned)(done * 40 / all) : 40;
    for (unsigned i = 0; i < 40; i++) {
        bar[i] = i < filled ? '#' : '.';
    }
    bar[40] = '\0';
    fprintf(stderr, "\r[%s] %llu of %llu deliveries ", bar, (unsigned long long)done,
            (unsigned long long)all);
}

/* What the server has taken goes on without us: whoever ends us is told. Two lines, so that the one
 * that is shown is whole. */
static char told[2][300];
static volatile sig_atomic_t told_now;

static void interrupted(int number)
{
    const char *line = told[told_now];
    (void)!write(STDERR_FILENO, line, strlen(line));
    (void)raise(number); /* SA_RESETHAND: this one ends us */
}

static void tell_when_interrupted(uint64_t done, uint64_t all)
{
    struct sigaction action = {.sa_handler = interrupted, .sa_flags = (int)SA_RESETHAND};
    sig_atomic_t next = !told_now;
    snprintf(
        told[next], sizeof told[next],
        "%sbecket: ended after %llu of %llu deliveries; these, and what was just asked for, go "
        "on: becket deliveries --state pending shows them, becket pause DESTINATION stops "
        "them\n",
        isatty(STDERR_FILENO) == 1 ? "\n" : "", (unsigned long long)done, (unsigned long long)all);
    told_now = next;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

#define PARTS_MAX       40U
#define PART_DELIVERIES 2000U

/* In parts of the time, so that there is something to show; the server counts first. */
static bool replay_parts(struct remote *remote, const struct options *options,
                         const struct span *span, struct replayed *sum)
{
    struct replayed all = {0};
    bool shown = isatty(STDERR_FILENO) == 1;
    if (!replay_span(remote, options, span, true, 0, &all)) {
        return false;
    }
    uint64_t wanted = all.deliveries / PART_DELIVERIES + 1;
    int64_t parts = (int64_t)(wanted > PARTS_MAX ? PARTS_MAX : wanted);
    /* Whole milliseconds: what a time in a query can say. */
    int64_t part_ns = (span->until_ns - span->since_ns) / parts / NS_PER_MS * NS_PER_MS + NS_PER_MS;
    for (int64_t at = span->since_ns; at < span->until_ns; at += part_ns) {
        int64_t end = at + part_ns < span->until_ns ? at + part_ns : span->until_ns;
        struct span part = {at, end};
        tell_when_interrupted(sum->deliveries, all.deliveries);
        if (!replay_span(remote, options, &part, false, 0, sum)) {
            return false;
        }
        if (shown) {
            show_progress(sum->deliveries, all.deliveries);
        }
    }
    if (shown) {
        fprintf(stderr, "\r%80s\r", "");
    }
    return true;
}

/* As the API reads them: RFC 3339, unix seconds, or a duration before now. Whole milliseconds. */
static bool read_time(const char *name, const char *text, int64_t now_ns, int64_t *ret_ns)
{
    int64_t ns;
    if (time_parse_since(slice_str(text), now_ns, &ns) != BK_OK) {
        cli_usage("--%s takes RFC 3339, a day, unix seconds, or a duration before now (1h), not %s",
                  name, text);
        return false;
    }
    *ret_ns = ns / NS_PER_MS * NS_PER_MS;
    return true;
}

static bool read_span(const struct options *options, struct span *ret_span)
{
    int64_t now_ns = clock_wall_ns();
    const char *since = option_text(options, "since"), *until = option_text(options, "until");
    *ret_span = (struct span){INT64_MIN, now_ns / NS_PER_MS * NS_PER_MS + NS_PER_MS};
    return (!since || read_time("since", since, now_ns, &ret_span->since_ns)) &&
           (!until || read_time("until", until, now_ns, &ret_span->until_ns));
}

static int replay_query(struct remote *remote, const struct options *options, struct replayed *sum)
{
    struct span span;
    if (!read_span(options, &span)) {
        return CLI_USAGE;
    }
    bool done = option_flag(options, "dry-run") ? replay_span(remote, options, &span, true, 0, sum)
                                                : replay_parts(remote, options, &span, sum);
    return !done             ? CLI_FAILED
           : sum->events > 0 ? CLI_DONE
                             : remote_empty(remote, options, option_text(options, "source"));
}

static int replay_one(struct remote *remote, const struct options *options, struct replayed *sum)
{
    struct buf target;
    buf_init(&target, 8192);
    buf_add_str(&target, "/api/v1/events/");
    remote_segment(&target, options->arguments[0]);
    buf_add_str(&target, "/replay");
    remote_query(&target, "to", option_text(options, "to"));
    remote_query(&target, "canvas", option_text(options, "canvas"));
    remote_query(&target, "dryRun", option_flag(options, "dry-run") ? "true" : NULL);
    bool done = call_replay(remote, buf_text(&target), sum);
    buf_fini(&target);
    return done ? CLI_DONE : CLI_FAILED;
}

/* ---- replay of dead letters */

#define PART_LETTERS 1000U

/* Those without an event do not hold up the rest. */
static int replay_dead(struct remote *remote, const struct options *options, struct replayed *sum)
{
    struct span span;
    struct replayed all = {0};
    bool dry_run = option_flag(options, "dry-run"), shown = isatty(STDERR_FILENO) == 1;
    if (!read_span(options, &span)) {
        return CLI_USAGE;
    }
    bool done = replay_span(remote, options, &span, true, 0, &all);
    if (dry_run) {
        *sum = all;
    }
    bool more = !dry_run;
    while (done && more && sum->deliveries + sum->gone < all.deliveries + all.gone) {
        char before[REMOTE_CURSOR_BYTES];
        memcpy(before, sum->next, sizeof before);
        tell_when_interrupted(sum->deliveries, all.deliveries);
        done = replay_span(remote, options, &span, false, PART_LETTERS, sum);
        more = sum->next[0] != '\0';
        if (done && more && strcmp(before, sum->next) == 0) {
            cli_error("the replay has no end: behind these letters come these letters again; is "
                      "--server the admin address of becket?");
            done = false;
        }
        if (shown && done) {
            show_progress(sum->deliveries, all.deliveries);
        }
    }
    if (shown) {
        fprintf(stderr, "\r%80s\r", "");
    }
    if (sum->gone > 0) {
        cli_error("%llu dead letter%s cannot be sent again: the journal does not keep the events "
                  "any more",
                  (unsigned long long)sum->gone, sum->gone == 1 ? "" : "s");
    }
    return done && (dry_run || sum->gone == 0) ? CLI_DONE : CLI_FAILED;
}

static void print_replayed(const struct options *options, const struct replayed *sum)
{
    enum print_format format = print_format(option_text(options, "output"));
    bool dry_run = option_flag(options, "dry-run");
    if (format == PRINT_TABLE && sum->deliveries == 0) {
        bool dead = option_given(options, "state");
        printf("nothing to replay: no %s%s\n", dead ? "dead letter" : "accepted event in that time",
               dead || option_given(options, "to") ? "" : " that a route wants now");
        return;
    }
    if (format == PRINT_TABLE) {
        printf("%s %llu event%s as %llu deliver%s%s%s\n", dry_run ? "would replay" : "replaying",
               (unsigned long long)sum->events, sum->events == 1 ? "" : "s",
               (unsigned long long)sum->deliveries, sum->deliveries == 1 ? "y" : "ies",
               sum->to[0] ? ": " : "", sum->to);
        return;
    }
    struct buf text;
    buf_init(&text, 1024);
    buf_printf(&text, "{\"events\":%llu,\"deliveries\":%llu,\"dryRun\":%s}",
               (unsigned long long)sum->events, (unsigned long long)sum->deliveries,
               dry_run ? "true" : "false");
    print_json(buf_slice(&text), format);
    buf_fini(&text);
}

int cli_replay(int argc, char **argv)
{
    struct options options;
    struct remote remote;
    struct replayed sum = {0};
    int code;
    if (!cli_begin(&options, cli_replay_options, argc, argv, &code)) {
        return code;
    }
    bool dead = option_given(&options, "state");
    bool query = !dead && option_text(&options, "since") != NULL;
    if (query || dead ? options.argument_count != 0 : options.argument_count != 1) {
        code = cli_usage("replay takes one event's id, --since or --state dead: becket replay "
                         "evt_…; becket replay --source payments --since 1h; becket replay --state "
                         "dead --destination app");
    } else if (dead && (option_text(&options, "source") || option_text(&options, "type"))) {
        code = cli_usage("--source and --type do not go with --state dead; --destination, --since "
                         "and --until do");
    } else if (!dead && option_text(&options, "destination")) {
        code = cli_usage("--destination goes with --state dead; --to says where to");
    } else if (!query && !dead &&
               (option_text(&options, "source") || option_text(&options, "until") ||
                option_text(&options, "type") || option_given(&options, "rate"))) {
        code = cli_usage("--source, --type, --until and --rate go with --since");
    } else {
        code = !remote_open(&remote, &options) ? CLI_FAILED
               : dead                          ? replay_dead(&remote, &options, &sum)
               : query                         ? replay_query(&remote, &options, &sum)
                                               : replay_one(&remote, &options, &sum);
        remote_fini(&remote);
        if (code == CLI_DONE || sum.deliveries > 0) {
            print_replayed(&options, &sum);
        }
    }
    options_fini(&options);
    return code;
}
