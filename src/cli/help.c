/* help: what every command says about itself, out of the table of commands and their options: on a
 * terminal, as the manual page becket(1), and as words for a shell to complete. */
#include "cli/commands.h"

#include "base/assert.h"
#include "base/buf.h"
#include "cli/print.h"
#include "hub/resources/resource.h"

#include <stdio.h>

const struct option cli_help_options[] = {
    {.name = "man",
     .kind = OPTION_FLAG,
     .help = "the manual page, for man: becket help --man > becket.1"},
    {.name = "completion",
     .kind = OPTION_CHOICE,
     .argument = "SHELL",
     .choices = "bash|zsh",
     .help = "completion for a shell: source <(becket help --completion bash)"},
    {.kind = OPTION_END},
};

#define TITLE "webhooks in, verified, once, on disk"
#define CODES "0 done, 1 failed or refused, 2 wrong usage"
/* For commands with options of a configuration file: only serve has any. */
#define FILE_RULE                                                                                  \
    "Every option can also be set as BECKET_<OPTION> in the environment (--log-level: "            \
    "BECKET_LOG_LEVEL) and, but for --config, as `option: value` in the configuration file. The "  \
    "command line beats the environment, the environment beats the file. SIGHUP reads the file "   \
    "again: log-level and log-format change at once, for others it says that a restart is "        \
    "needed."

/* ---- what there is to say */

static bool is_shown(const struct option *option)
{
    return (option->flags & OPTION_HIDDEN) == 0;
}

/* Are its options those of a configuration file? */
static bool has_file(const struct cli_command *command)
{
    for (const struct option *option = command->options; option->kind != OPTION_END; option++) {
        if ((option->flags & OPTION_FILE) != 0) {
            return true;
        }
    }
    return false;
}

/* "becket get KIND [NAME] [OPTIONS]" */
static void add_usage(struct buf *out, const struct cli_command *command)
{
    buf_printf(out, "becket %s%s%s%s", command->name, command->usage && *command->usage ? " " : "",
               command->usage ? command->usage : "",
               command->options->kind != OPTION_END ? " [OPTIONS]" : "");
}

/* "how to print it: table|json|yaml [table] ($BECKET_OUTPUT)" */
static void add_meaning(struct buf *out, const struct option *option)
{
    buf_add_str(out, option->help);
    if (option->choices != NULL) {
        buf_printf(out, ": %s", option->choices);
    }
    if (option->fallback != NULL) {
        buf_printf(out, " [%s]", option->fallback);
    }
    if ((option->flags & OPTION_LIST) != 0) {
        buf_add_str(out, " (may be repeated)");
    }
    /* For options of the file, one sentence at the end tells the rule. */
    if ((option->flags & OPTION_ENV) != 0 && (option->flags & OPTION_FILE) == 0) {
        char name[80];
        option_environment_name(option, name);
        buf_printf(out, " ($%s)", name);
    }
}

/* ---- on a terminal */

#define LEFT_COLUMNS 29U

/* The width of the terminal up to what is good to read; without one, what fits anywhere. */
static unsigned page_width(void)
{
    unsigned width = print_terminal_width();
    return width == 0 ? 80 : width > 100 ? 100 : width;
}

/* Paragraphs have "\n\n" between. */
static void add_paragraphs(struct buf *out, const char *text)
{
    for (struct slice rest = slice_str(text); rest.bytes > 0;) {
        const char *end = strstr((const char *)rest.at, "\n\n");
        size_t bytes = end ? (size_t)(end - (const char *)rest.at) : rest.bytes;
        print_wrapped(out, slice_of(rest.at, bytes), 0, 0, page_width());
        rest = slice_skip(rest, bytes + 2);
        buf_add_str(out, rest.bytes > 0 ? "\n" : "");
    }
}

/* Two columns; where the left one is too wide or the terminal too narrow, one below the other. */
static void add_pair(struct buf *out, const char *left, struct slice right, unsigned left_columns)
{
    unsigned width = page_width(), used = print_width(slice_str(left)) + 2;
    bool below = used >= left_columns || width < left_columns + 30;
    unsigned indent = width < left_columns + 30 ? 8 : left_columns;
    buf_printf(out, "  %s", left);
    if (below) {
        buf_add_byte(out, '\n');
    }
    print_wrapped(out, right, indent, below ? 0 : used, width);
}

static void add_option(struct buf *out, const struct option *option)
{
    char left[120];
    struct buf meaning;
    buf_init(&meaning, 8192);
    snprintf(left, sizeof left, "%c%c%s --%s%s%s", option->letter ? '-' : ' ',
             option->letter ? option->letter : ' ', option->letter ? "," : " ", option->name,
             option->argument ? " " : "", option->argument ? option->argument : "");
    add_meaning(&meaning, option);
    add_pair(out, left, buf_slice(&meaning), LEFT_COLUMNS);
    buf_fini(&meaning);
}

void cli_help_all(void)
{
    struct buf out;
    buf_init(&out, 1U << 20);
    add_paragraphs(&out, "becket: " TITLE ".");
    buf_add_str(&out, "\nusage: becket COMMAND [OPTIONS]\n\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        add_pair(&out, cli_commands[i].name, slice_str(cli_commands[i].summary), 13);
    }
    buf_add_byte(&out, '\n');
    add_paragraphs(&out, "`becket help COMMAND` tells more. Exit codes: " CODES ".");
    print_bytes(buf_slice(&out));
    buf_fini(&out);
}

void cli_help(const char *name)
{
    const struct cli_command *command = cli_find_command(name);
    struct buf out;
    if (command == NULL) {
        return;
    }
    buf_init(&out, 1U << 20);
    char title[200];
    snprintf(title, sizeof title, "becket %s - %s", command->name, command->summary);
    add_paragraphs(&out, title);
    buf_add_str(&out, "\nusage: ");
    add_usage(&out, command);
    buf_add_byte(&out, '\n');
    if (command->more != NULL) {
        buf_add_byte(&out, '\n');
        add_paragraphs(&out, command->more);
    }
    if (command->options->kind != OPTION_END) {
        buf_add_str(&out, "\noptions:\n");
    }
    for (const struct option *option = command->options; option->kind != OPTION_END; option++) {
        if (is_shown(option)) {
            add_option(&out, option);
        }
    }
    if (has_file(command)) {
        buf_add_byte(&out, '\n');
        add_paragraphs(&out, FILE_RULE);
    }
    print_bytes(buf_slice(&out));
    buf_fini(&out);
}

/* ---- as a manual page */

/* Text that roff takes for text: no requests, no escapes, quotes and hyphens as they are typed. */
static void add_roff(struct buf *out, struct slice text)
{
    while (text.bytes > 0) {
        uint32_t point;
        size_t bytes = print_decode(text, &point);
        bool first = out->bytes == 0 || out->at[out->bytes - 1] == '\n';
        if (first && (point == '.' || point == '\'')) {
            buf_add_str(out, "\\&");
        }
        if (point == '\\') {
            buf_add_str(out, "\\e");
        } else if (point == '-') {
            buf_add_str(out, "\\-");
        } else if (point == '\'') {
            buf_add_str(out, "\\(aq");
        } else if (point == '`') {
            buf_add_str(out, "\\(ga");
        } else if (point > 0x7e) {
            buf_printf(out, "\\[u%04X]", point);
        } else {
            buf_add(out, text.at, bytes);
        }
        text = slice_skip(text, bytes ? bytes : 1);
    }
}

/* A line behind a macro: in quotes, for it is one argument. */
static void add_macro(struct buf *out, const char *macro, const char *text)
{
    struct buf line;
    buf_init(&line, 8192);
    add_roff(&line, slice_str(text));
    buf_printf(out, ".%s \"", macro);
    for (const char *c = buf_text(&line); *c != '\0'; c++) {
        buf_printf(out, *c == '"' ? "\\(dq" : "%c", *c);
    }
    buf_add_str(out, "\"\n");
    buf_fini(&line);
}

static void add_roff_paragraphs(struct buf *out, const char *text)
{
    for (struct slice rest = slice_str(text); rest.bytes > 0;) {
        const char *end = strstr((const char *)rest.at, "\n\n");
        size_t bytes = end ? (size_t)(end - (const char *)rest.at) : rest.bytes;
        buf_add_str(out, ".PP\n");
        add_roff(out, slice_of(rest.at, bytes));
        buf_add_byte(out, '\n');
        rest = slice_skip(rest, bytes + 2);
    }
}

static void add_roff_option(struct buf *out, const struct option *option)
{
    struct buf text;
    buf_init(&text, 8192);
    if (option->letter) {
        buf_printf(&text, "-%c, ", option->letter);
    }
    buf_printf(&text, "--%s", option->name);
    buf_add_str(out, ".TP\n");
    add_macro(out, option->argument ? "BI" : "B", buf_text(&text));
    if (option->argument) { /* the same line: the bold name, then the value */
        out->bytes--;
        buf_add_str(out, " \" ");
        add_roff(out, slice_str(option->argument));
        buf_add_str(out, "\"\n");
    }
    buf_reset(&text);
    add_meaning(&text, option);
    add_roff(out, buf_slice(&text));
    buf_add_byte(out, '\n');
    buf_fini(&text);
}

static void add_roff_command(struct buf *out, const struct cli_command *command)
{
    struct buf usage;
    buf_init(&usage, 8192);
    add_usage(&usage, command);
    add_macro(out, "SS", buf_text(&usage));
    add_roff(out, slice_str(command->summary));
    buf_add_str(out, ".\n");
    if (command->more != NULL) {
        add_roff_paragraphs(out, command->more);
    }
    for (const struct option *option = command->options; option->kind != OPTION_END; option++) {
        if (is_shown(option)) {
            add_roff_option(out, option);
        }
    }
    if (has_file(command)) {
        add_roff_paragraphs(out, FILE_RULE);
    }
    buf_fini(&usage);
}

static void print_manual(void)
{
    struct buf out;
    buf_init(&out, 4U << 20);
    buf_add_str(&out, ".\\\" Made by `becket help --man`.\n"
                      ".TH BECKET 1 \"\" \"becket " BECKET_VERSION "\" \"User Commands\"\n"
                      ".SH NAME\nbecket \\- " TITLE "\n"
                      ".SH SYNOPSIS\n.B becket\n.I COMMAND\n[\\fIOPTIONS\\fR]\n"
                      ".SH COMMANDS\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        add_roff_command(&out, &cli_commands[i]);
    }
    buf_add_str(&out, ".SH EXIT STATUS\n" CODES ".\n");
    print_bytes(buf_slice(&out));
    buf_fini(&out);
}

/* ---- as words for a shell */

/* "a|b|c" with blanks between. */
static void add_choices(struct buf *out, const char *choices)
{
    for (const char *c = choices; *c != '\0'; c++) {
        buf_add_byte(out, *c == '|' ? ' ' : (uint8_t)*c);
    }
}

/* What may stand behind an option: one of few words; else files, which is bash's default. */
static void add_values(struct buf *out, const struct cli_command *command)
{
    for (const struct option *option = command->options; option->kind != OPTION_END; option++) {
        if (is_shown(option) && option->choices != NULL) {
            buf_printf(out, "        %s:--%s", command->name, option->name);
            if (option->letter) {
                buf_printf(out, " | %s:-%c", command->name, option->letter);
            }
            buf_add_str(out, ") words='");
            add_choices(out, option->choices);
            buf_add_str(out, "' ;;\n");
        } else if (is_shown(option) && option->kind != OPTION_FLAG) {
            buf_printf(out, "        %s:--%s", command->name, option->name);
            if (option->letter) {
                buf_printf(out, " | %s:-%c", command->name, option->letter);
            }
            buf_add_str(out, ") return ;;\n");
        }
    }
}

static void add_kinds(struct buf *out)
{
    for (unsigned kind = 0; kind < RESOURCE_KIND_COUNT; kind++) {
        const struct resource_kind_info *info = resource_kind_info((enum resource_kind)kind);
        if (info->supported) {
            buf_printf(out, " %s %s", info->singular, info->plural);
        }
    }
    buf_add_str(out, " entries operations tokens");
}

/* zsh runs what is made for bash. */
static void print_completion(bool zsh)
{
    struct buf out;
    buf_init(&out, 1U << 20);
    if (zsh) {
        buf_add_str(&out, "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"
                          "autoload -Uz bashcompinit && bashcompinit\n");
    }
    buf_add_str(&out,
                "# Made by `becket help --completion bash`.\n"
                "_becket() {\n"
                "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}\n"
                "    local command=${COMP_WORDS[1]} words=\n"
                "    COMPREPLY=()\n"
                "    [ \"$COMP_CWORD\" = 1 ] && command=\n"
                "    case $command:$before in\n"
                "        help:*) words='");
    for (size_t i = 0; i < cli_command_count; i++) {
        buf_printf(&out, "%s%s", i > 0 ? " " : "", cli_commands[i].name);
    }
    buf_add_str(&out, " --man --completion' ;;\n"
                      "        get:get | describe:describe | delete:delete) words='-f --file");
    add_kinds(&out);
    buf_add_str(&out, "' ;;\n        token:token) words='create list show revoke' ;;\n"
                      "        journal:journal) words='check dump' ;;\n"
                      "        entry:entry) words='create update delete' ;;\n"
                      "        key:key) words='rotate show' ;;\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        if (strcmp(cli_commands[i].name, "help") != 0) {
            add_values(&out, &cli_commands[i]);
        }
    }
    buf_add_str(&out, "    esac\n    [ -n \"$words\" ] || case $command in\n        '') words='");
    for (size_t i = 0; i < cli_command_count; i++) {
        buf_printf(&out, "%s%s", i > 0 ? " " : "", cli_commands[i].name);
    }
    buf_add_str(&out, "' ;;\n");
    for (size_t i = 0; i < cli_command_count; i++) {
        buf_printf(&out, "        %s) words='", cli_commands[i].name);
        for (const struct option *option = cli_commands[i].options; option->kind != OPTION_END;
             option++) {
            if (is_shown(option)) {
                buf_printf(&out, "--%s ", option->name);
            }
        }
        buf_add_str(&out, "--help' ;;\n");
    }
    buf_add_str(&out, "    esac\n"
                      "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
                      "}\n"
                      "complete -o default -F _becket becket\n");
    print_bytes(buf_slice(&out));
    buf_fini(&out);
}

/* ---- the command */

int cli_help_command(int argc, char **argv)
{
    struct options options;
    int code;
    argv[0] = (char *)"help"; /* it may have been called --help */
    if (!cli_begin(&options, cli_help_options, argc, argv, &code)) {
        return code;
    }
    const char *name = options.argument_count > 0 ? options.arguments[0] : NULL;
    code = CLI_DONE;
    if (option_flag(&options, "man")) {
        print_manual();
    } else if (option_given(&options, "completion")) {
        print_completion(strcmp(option_text(&options, "completion"), "zsh") == 0);
    } else if (options.argument_count > 1) {
        code = cli_usage("help takes the name of one command; `becket help` lists them");
    } else if (name == NULL) {
        cli_help_all();
    } else if (cli_find_command(name) == NULL) {
        code = cli_unknown_command(name);
    } else {
        cli_help(name);
    }
    options_fini(&options);
    return code;
}
