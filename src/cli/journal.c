/* journal check, dump: off line. */
#include "cli/commands.h"

#include "cli/clock.h"
#include "cli/print.h"
#include "cli/remote.h"
#include "hub/events/events.h"
#include "journal/check.h"

#include <unistd.h>

const struct option cli_journal_options[] = {
    {.name = "data",
     .letter = 'd',
     .kind = OPTION_TEXT,
     .flags = OPTION_ENV,
     .argument = "DIR",
     .fallback = "./becket-data",
     .help = "data directory"},
    {.name = "bodies",
     .kind = OPTION_FLAG,
     .help = "dump: with bodies, as text where they are UTF-8"},
    {.name = "limit",
     .letter = 'n',
     .kind = OPTION_NUMBER,
     .argument = "N",
     .number_min = 1,
     .help = "dump: at most so many records"},
    OUTPUT_OPTION,
    OPTIONS_END,
};

struct walk {
    bool progress; /* standard error is a terminal, and records are not printed there */
    uint64_t records;
    int64_t shown_ms;
    enum print_format format;
    bool bodies;
    uint64_t left;
    uint64_t problems;
};

static void print_problem(const struct check_problem *problem, void *context)
{
    struct walk *walk = context;
    walk->problems++;
    cli_error("%s at %llu: %s (%s)", problem->path, (unsigned long long)problem->offset,
              problem->what, bk_err_text(problem->err));
}

static bool count_record(const struct journal_record *record, void *context)
{
    struct walk *walk = context;
    (void)record;
    if (++walk->records % 1024 == 0 && walk->progress &&
        clock_steady_ms() - walk->shown_ms >= 200) {
        walk->shown_ms = clock_steady_ms();
        fprintf(stderr, "\r%llu records", (unsigned long long)walk->records);
    }
    return true;
}

/* One JSON object a line. */
static bool print_record(const struct journal_record *record, void *context)
{
    struct walk *walk = context;
    struct buf line;
    buf_init(&line, 256U << 20);
    event_json(NULL, record, &line);
    if (walk->bodies && line.bytes != 0) {
        line.bytes--; /* the closing brace */
        buf_add_str(&line, ",\"body\":");
        json_add_string(&line, event_body(record));
        buf_add_byte(&line, '}');
    }
    if (walk->format == PRINT_JSON) {
        buf_add_byte(&line, '\n');
        print_bytes(buf_slice(&line));
    } else {
        print_bytes(SLICE("---\n"));
        print_json(buf_slice(&line), PRINT_YAML);
    }
    buf_fini(&line);
    return --walk->left != 0 && !ferror(stdout);
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static void print_totals(const struct check_totals *totals)
{
    char text[16];
    printf("%s, %u segment%s of %u journal%s, %llu record%s: %llu accepted, %llu rejected, %llu "
           "duplicates, %llu attempts\n",
           print_bytes_text(totals->bytes, text), totals->segments, plural(totals->segments),
           totals->journals, plural(totals->journals), (unsigned long long)totals->records,
           plural(totals->records), (unsigned long long)totals->accepted,
           (unsigned long long)totals->rejected, (unsigned long long)totals->duplicates,
           (unsigned long long)totals->attempts);
    if (totals->torn_frames != 0 || totals->torn_bytes != 0) {
        printf("unfinished commits at the ends: %llu (%llu bytes), never acknowledged; the next "
               "start cuts them off\n",
               (unsigned long long)totals->torn_frames, (unsigned long long)totals->torn_bytes);
    }
}

static void print_totals_json(const struct check_totals *totals, enum print_format format)
{
    struct buf json;
    buf_init(&json, 4096);
    buf_printf(&json,
               "{\"journals\":%u,\"segments\":%u,\"sidecars\":%u,\"spares\":%u,\"bytes\":%llu,"
               "\"frames\":%llu,"
               "\"records\":%llu,\"accepted\":%llu,\"rejected\":%llu,\"duplicates\":%llu,"
               "\"attempts\":%llu,\"tornFrames\":%llu,"
               "\"tornBytes\":%llu,\"problems\":%llu}",
               totals->journals, totals->segments, totals->sidecars, totals->spares,
               (unsigned long long)totals->bytes, (unsigned long long)totals->frames,
               (unsigned long long)totals->records, (unsigned long long)totals->accepted,
               (unsigned long long)totals->rejected, (unsigned long long)totals->duplicates,
               (unsigned long long)totals->attempts, (unsigned long long)totals->torn_frames,
               (unsigned long long)totals->torn_bytes, (unsigned long long)totals->problems);
    print_json(buf_slice(&json), format);
    buf_fini(&json);
}

static int walk_journal(const struct options *options, bool dump)
{
    struct check_totals totals = {0};
    enum print_format format = print_format(option_text(options, "output"));
    struct walk walk = {.format = format == PRINT_YAML ? PRINT_YAML : PRINT_JSON,
                        .bodies = option_flag(options, "bodies"),
                        .progress = isatty(STDERR_FILENO) == 1,
                        .shown_ms = clock_steady_ms(),
                        .left = option_given(options, "limit") ? option_number(options, "limit")
                                                               : UINT64_MAX};
    char directory[4096];
    snprintf(directory, sizeof directory, "%s/journal", option_text(options, "data"));
    enum bk_err err =
        journal_check(directory, print_problem, dump ? print_record : count_record, &walk, &totals);
    if (!dump && walk.progress) {
        fputs("\r\033[K", stderr);
    }
    if (err != BK_OK) {
        return cli_error("cannot read the journal in %s: %s; --data names the data directory",
                         directory, bk_err_text(err));
    }
    if (!dump && format == PRINT_TABLE) {
        print_totals(&totals);
    } else if (!dump) {
        print_totals_json(&totals, format);
    }
    if (walk.problems != 0) {
        return cli_error("%llu problem%s; what is damaged cannot be restored from this directory",
                         (unsigned long long)walk.problems, plural(walk.problems));
    }
    return CLI_DONE;
}

int cli_journal(int argc, char **argv)
{
    struct options options;
    int code;
    if (!cli_begin(&options, cli_journal_options, argc, argv, &code)) {
        return code;
    }
    const char *verb = options.argument_count == 1 ? options.arguments[0] : "";
    bool dump = strcmp(verb, "dump") == 0;
    if (!dump && strcmp(verb, "check") != 0) {
        code = cli_usage("journal takes: check, or dump");
    } else {
        code = walk_journal(&options, dump);
    }
    options_fini(&options);
    return code;
}
