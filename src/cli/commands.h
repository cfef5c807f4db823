/* commands.h - inside of cli/: the commands and their option tables; help is
 * in help.c, dispatch in cli.c. */
#ifndef BECKET_CLI_COMMANDS_H
#define BECKET_CLI_COMMANDS_H

#include "base/json.h"
#include "cli/cli.h"

cli_run_fn cli_apply, cli_diff, cli_get, cli_describe, cli_delete;
cli_run_fn cli_deliveries, cli_replay, cli_listen;
cli_run_fn cli_pause, cli_resume, cli_secrets, cli_retry, cli_reset_key;
cli_run_fn cli_providers, cli_entry, cli_audit, cli_key, cli_help_command;
cli_run_fn cli_backup, cli_restore, cli_status;
cli_run_fn cli_events, cli_event, cli_verify, cli_send, cli_journal, cli_token;

extern const struct option cli_apply_options[], cli_diff_options[], cli_get_options[];
extern const struct option cli_describe_options[], cli_delete_options[];
extern const struct option cli_deliveries_options[], cli_replay_options[], cli_listen_options[];
extern const struct option cli_pause_options[], cli_resume_options[], cli_secrets_options[],
    cli_retry_options[], cli_reset_key_options[];
extern const struct option cli_events_options[], cli_event_options[];
extern const struct option cli_verify_options[], cli_send_options[];
extern const struct option cli_backup_options[], cli_restore_options[], cli_status_options[];
extern const struct option cli_journal_options[], cli_token_options[], cli_audit_options[];
extern const struct option cli_providers_options[], cli_entry_options[], cli_key_options[],
    cli_help_options[];

/* The table itself (cli.c), and what help.c makes of it. */
extern const struct cli_command cli_commands[];
extern const size_t cli_command_count;
const struct cli_command *cli_find_command(const char *name); /* NULL = there is none */
int cli_unknown_command(const char *name);                    /* returns CLI_USAGE */
void cli_help_all(void);

/* Options, then --help or the errors of both steps. True: go on. False: return *ret_code. */
bool cli_begin(struct options *options, const struct option *table, int argc, char **argv,
               int *ret_code);
/* A table of events out of their JSON. */
void cli_print_events(yyjson_mut_val *events);
void cli_print_deliveries(yyjson_mut_val *items);
/* The columns of a table of tokens, and a row of it. */
#define CLI_TOKEN_COLUMNS "NAME!|ROLE|CANVAS|USER|ENDS WITH|CREATED@?|USED@?"
struct table;
void cli_add_token(struct table *table, yyjson_mut_val *token);

#endif
