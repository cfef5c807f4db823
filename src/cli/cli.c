#include "cli/commands.h"

#include "base/nearest.h"
#include "base/buf.h"
#include "cli/print.h"
#include "hub/routes/filter.h"
#include "net/dns.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium/version.h>
#include <stdarg.h>
#include <stdio.h>
#include <yaml.h>
#include <yyjson.h>

#if __has_include(<liburing/io_uring_version.h>) /* since 2.4 */
#include <liburing/io_uring_version.h>
#else
#define IO_URING_VERSION_MAJOR 2
#define IO_URING_VERSION_MINOR 3
#endif

#ifndef BEARSSL_VERSION
#define BEARSSL_VERSION "of the system" /* its headers do not say */
#endif

static int version(int argc, char **argv);

static const struct option no_options[] = {{.kind = OPTION_END}};

const struct cli_command cli_commands[] = {
    {"serve", cli_serve, NULL, "run the server",
     "SIGTERM or SIGINT (Ctrl-C) ends it: what is under way is finished, and whatever was "
     "acknowledged is on disk. A second one ends it at once. The data directory holds everything: "
     "admin.token and master.key, made at the first start, state and journal.",
     cli_serve_options},
    {"apply", cli_apply, "-f FILE|DIR|- [--dry-run] [--prune]",
     "create or change what files declare",
     "All or nothing: one mistake anywhere and nothing changes. A directory stands for its *.yaml, "
     "*.yml and *.json files; with --recursive of those below it, too. With --prune, objects of "
     "the kinds and canvases in the files that the files do not name are deleted.",
     cli_apply_options},
    {"diff", cli_diff, "-f FILE|DIR|-", "show what apply would change", NULL, cli_diff_options},
    {"get", cli_get, "KIND [NAME]", "list objects, or print one",
     "KIND is Secret, EventSource, Destination, Route, Integration, User, Team, IntegrationUser, "
     "IntegrationLink, Canvas, Entry, Operation or Token, in any spelling: event-source, "
     "EventSources "
     "… Events are not objects: `becket events`.",
     cli_get_options},
    {"describe", cli_describe, "KIND NAME", "an object, and what happened to it lately", NULL,
     cli_describe_options},
    {"delete", cli_delete, "KIND NAME | -f FILE|DIR|- [--dry-run]",
     "delete an object, or those that files declare",
     "With -f, all goes or nothing does; what is gone already is passed over. Integrations whose "
     "hooks "
     "are still to be removed at the provider are waited for. `delete operation op-4` gives up a "
     "removal or a message that cannot be done.",
     cli_delete_options},
    {"pause", cli_pause, "DESTINATION", "stop deliveries to a destination; its events wait", NULL,
     cli_pause_options},
    {"resume", cli_resume, "DESTINATION", "go on with deliveries to a destination",
     "Also after it answered 410, which pauses it. What failed is tried again now, not at its time "
     "(but for what is in order).",
     cli_resume_options},
    {"secrets", cli_secrets, "[KIND] NAME",
     "what a source verifies with, or a destination's requests are signed with",
     "In clear, one a line, also those that becket made or that a provider brought. Needs a token "
     "of role admin and leaves an audit record. KIND, event-source or destination, is needed "
     "where both have that name.",
     cli_secrets_options},
    {"retry", cli_retry, "OPERATION", "try work at a provider again, now",
     "What waits is listed by `becket get operations`, why by `becket describe operation op-1`.",
     cli_retry_options},
    {"reset-key", cli_reset_key, "SOURCE [--now]", "a new signing key for a source",
     "Of keys that becket made. The one before is accepted until the next reset, so that nothing "
     "is "
     "lost meanwhile; with --now it is refused at once. A hook that becket made gets the new one. "
     "What a destination's requests are signed with is changed by its spec.signing.secrets.",
     cli_reset_key_options},
    {"status", cli_status, "", "is the server well, and what asks for somebody?",
     "Refused senders, destinations that fail, what was given up, integrations and work at "
     "providers that wait, of all canvases that the token is good for. Exit code 0: it takes "
     "events; 1: it does not.",
     cli_status_options},
    {"events", cli_events, NULL, "search the events that were received",
     "Newest first. --since and --until take RFC 3339, a day (UTC), unix seconds, or a duration "
     "before now (1h).\n\n"
     "--follow prints events as they arrive, from now or from --since on, also behind a restart of "
     "the server; end it with Ctrl-C.",
     cli_events_options},
    {"event", cli_event, "ID", "one event: headers and body", NULL, cli_event_options},
    {"deliveries", cli_deliveries, NULL, "what became of events",
     "Without --state, the tries that were made, newest first.", cli_deliveries_options},
    {"replay", cli_replay, "ID | --since TIME | --state dead", "deliver events again",
     "With the same webhook-id. Events go where routes lead now, or --to one destination; dead "
     "letters go to where they were to go. --dry-run tells how many they would be, of one event "
     "also where to.",
     cli_replay_options},
    {"listen", cli_listen, "SOURCE --forward URL", "forward events to a local program",
     "For development: each event is posted as a delivery would look, and its answer is printed.",
     cli_listen_options},
    {"verify", cli_verify, NULL, "is a webhook genuine? Off line, as the server would check it",
     "Exit code 0: genuine; 1: not, and why. A source of your own scheme is checked with --type "
     "generic "
     "and --scheme … --signed, or with the file that declares it: -f source.yaml. What a server "
     "refused is asked of it by --event ID, and judged as of when it came.",
     cli_verify_options},
    {"send", cli_send, "URL", "sign a webhook as the provider would, and post it",
     "Exit code 0 when the answer is 2xx. Without --type it is sent unsigned.", cli_send_options},
    {"providers", cli_providers, "[TYPE]", "what a source's type may be, and what each needs",
     "Off line. -o markdown makes the page src/providers/CATALOGUE.md.", cli_providers_options},
    {"journal", cli_journal, "check|dump",
     "verify every checksum of the journal; print its records",
     "Off line: it reads DIR/journal itself, and may do so while the server runs. dump prints one "
     "JSON object a line, or with -o yaml one document each.",
     cli_journal_options},
    {"backup", cli_backup, "DIR", "copy a data directory, beside a server that runs",
     "Off line: it reads the files itself. DIR then holds everything as it was at one moment, "
     "every checksum verified, with master.key where that is a file.",
     cli_backup_options},
    {"restore", cli_restore, "DIR", "make a data directory out of a backup",
     "What was delivered after the backup was made is delivered again, with the same webhook-id; "
     "what came in after it is not there.",
     cli_restore_options},
    {"token", cli_token, "create NAME | list | show | revoke NAME", "who may use the admin API",
     "Roles: read (see everything but secrets), write (also diff and change objects), admin (also "
     "tokens). --user makes a person's token: what it connects, links and writes is that User's. "
     "`show` tells about the token that is in use.",
     cli_token_options},
    {"entry", cli_entry, "create TEXT --team TEAM | update ID | delete ID",
     "what somebody did, written, changed or deleted by hand",
     "It goes out through the team's links when it is made. What has gone out is neither recalled "
     "nor sent again. `becket get entries` lists them.",
     cli_entry_options},
    {"key", cli_key, "rotate [--oidc] | show", "a new master key for the secrets",
     "`rotate` gives the running server a new master key, destroys the one before and waits until "
     "all secrets are sealed anew; nobody is refused meanwhile. That is for a key in the data "
     "directory. One that comes from BECKET_MASTER_KEY or BECKET_MASTER_KEY_FILE is changed there, "
     "with the old one as BECKET_MASTER_KEY_BEFORE or BECKET_MASTER_KEY_BEFORE_FILE at one start. "
     "`show` tells which key it is, not the key.\n\n"
     "With --oidc, a new key to sign tokens for providers with: it is published at once and signs "
     "ten minutes later, when all who keep a copy of the key set have seen it.",
     cli_key_options},
    {"audit", cli_audit, "[KIND [NAME]]", "who changed what, the newest first",
     "Needs a token of role admin. --since and --until take times as `becket events` does. -o json "
     "has the values before and after, without secrets.",
     cli_audit_options},
    {"bench", cli_bench, "URL", "measure a server: open or closed loop, signed bodies", NULL,
     cli_bench_options},
    {"help", cli_help_command, "[COMMAND]", "this, or all about one command", NULL,
     cli_help_options},
    {"version", version, "", "version of becket and of its libraries", NULL, no_options},
};
#define COMMAND_COUNT (sizeof cli_commands / sizeof cli_commands[0])
const size_t cli_command_count = COMMAND_COUNT;

const struct cli_command *cli_find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(cli_commands[i].name, name) == 0) {
            return &cli_commands[i];
        }
    }
    return NULL;
}

/* ---- errors */

/* Nothing that came from outside may drive the terminal. */
__attribute__((format(printf, 1, 0))) static void print_error(const char *format, va_list args)
{
    char text[2048];
    struct buf safe;
    vsnprintf(text, sizeof text, format, args);
    buf_init(&safe, 1U << 16);
    print_safe(&safe, slice_str(text), false);
    fflush(stdout);
    fprintf(stderr, "becket: %s\n", buf_text(&safe));
    buf_fini(&safe);
}

int cli_error(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error(format, args);
    va_end(args);
    return CLI_FAILED;
}

int cli_usage(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print_error(format, args);
    va_end(args);
    return CLI_USAGE;
}

int cli_usage_error(const char *command, const struct options *options)
{
    return cli_usage("%s: %s (see `becket help %s`)", command, options->error, command);
}

int cli_unknown_command(const char *name)
{
    const char *names[COMMAND_COUNT + 1];
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        names[i] = cli_commands[i].name;
    }
    names[COMMAND_COUNT] = NULL;
    const char *near = nearest_word(slice_str(name), names);
    if (near != NULL) {
        return cli_usage("there is no command %s; did you mean %s?", name, near);
    }
    return cli_usage("there is no command %s; `becket help` lists them", name);
}

bool cli_begin(struct options *options, const struct option *table, int argc, char **argv,
               int *ret_code)
{
    if (!options_parse(options, table, argc, argv)) {
        *ret_code = cli_usage_error(argv[0], options);
    } else if (options->help) {
        cli_help(argv[0]);
        *ret_code = CLI_DONE;
    } else if (!options_complete(options)) {
        *ret_code = cli_usage_error(argv[0], options);
    } else {
        return true;
    }
    options_fini(options);
    return false;
}

static int version(int argc, char **argv)
{
    struct options options;
    int code;
    argv[0] = (char *)"version"; /* it may have been called --version */
    if (!cli_begin(&options, no_options, argc, argv, &code)) {
        return code;
    }
    bool extra = options.argument_count > 0;
    options_fini(&options);
    if (extra) {
        return cli_usage("version takes no argument");
    }
    printf("becket %s (liburing %d.%d, LMDB %s, BearSSL %s, yyjson %s, libyaml %s, libsodium %s, "
           "c-ares %s, PCRE2 %s)\n",
           BECKET_VERSION, IO_URING_VERSION_MAJOR, IO_URING_VERSION_MINOR, store_library_version(),
           BEARSSL_VERSION, YYJSON_VERSION_STRING, yaml_get_version_string(),
           sodium_version_string(), dns_library_version(), filter_library_version());
    return CLI_DONE;
}

static const struct cli_command *spelled(const char *name)
{
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        return cli_find_command("help");
    }
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        return cli_find_command("version");
    }
    return cli_find_command(name);
}

/* Started without some of the standard files, the next ones that are opened would have their
 * numbers, and the log would go into the data directory. */
static void fill_standard_files(void)
{
    for (int file = 0; file <= 2; file++) {
        if (fcntl(file, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) < 0) {
            (void)open("/", O_RDONLY | O_DIRECTORY); /* a container without devices */
        }
    }
}

int cli_main(int argc, char **argv)
{
    fill_standard_files();
    /* A file that may not grow (RLIMIT_FSIZE) is an error like a full disk, not the end. */
    (void)signal(SIGXFSZ, SIG_IGN);
    if (argc < 2) {
        cli_help_all();
        return CLI_USAGE;
    }
    const struct cli_command *command = spelled(argv[1]);
    if (command == NULL && argv[1][0] == '-') {
        return cli_usage("options go behind the command: becket COMMAND %s", argv[1]);
    }
    if (command == NULL) {
        return cli_unknown_command(argv[1]);
    }
    if (argc == 3 && strcmp(argv[2], "help") == 0 && command->run != cli_help_command) {
        cli_help(command->name);
        return CLI_DONE;
    }
    int code = command->run(argc - 1, argv + 1);
    if (!print_flush() && code == CLI_DONE) {
        code = CLI_FAILED;
    }
    return code;
}
