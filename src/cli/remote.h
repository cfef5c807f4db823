/* remote.h - commands that talk to a running server: where it is, who we are, what it said.
 *
 * Purpose     Finds URL and token by the documented rules (--server/BECKET_URL;
 *             --token/BECKET_TOKEN, else <data>/admin.token), sends a request, and turns refusals
 *             into one line on stderr.
 */
#ifndef BECKET_CLI_REMOTE_H
#define BECKET_CLI_REMOTE_H

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/print.h"

/* Rows for a command's option table. */
#define CA_FILE_OPTION                                                                             \
    {                                                                                              \
        .name = "ca-file", .kind = OPTION_TEXT, .flags = OPTION_ENV, .argument = "FILE",           \
        .help = "for https: believe the authorities of this PEM file too"                          \
    }
#define REMOTE_OPTIONS                                                                             \
    {.name = "server",                                                                             \
     .letter = 's',                                                                                \
     .kind = OPTION_URL,                                                                           \
     .flags = OPTION_ENV,                                                                          \
     .argument = "URL",                                                                            \
     .fallback = "http://127.0.0.1:8081",                                                          \
     .help = "admin address of the server",                                                        \
     .environment = "BECKET_URL"},                                                                 \
        {.name = "token",                                                                          \
         .kind = OPTION_TEXT,                                                                      \
         .flags = OPTION_ENV,                                                                      \
         .argument = "TOKEN",                                                                      \
         .help = "what to authenticate with; else DIR/admin.token is read"},                       \
        {.name = "data",                                                                           \
         .letter = 'd',                                                                            \
         .kind = OPTION_TEXT,                                                                      \
         .flags = OPTION_ENV,                                                                      \
         .argument = "DIR",                                                                        \
         .fallback = "./becket-data",                                                              \
         .help = "data directory, for the token"},                                                 \
        CA_FILE_OPTION,                                                                            \
    {                                                                                              \
        .name = "timeout", .kind = OPTION_DURATION, .argument = "TIME", .fallback = "60s",         \
        .number_min = 1, .help = "how long the server may take to answer"                          \
    }
#define OUTPUT_OPTION                                                                              \
    {                                                                                              \
        .name = "output", .letter = 'o', .kind = OPTION_CHOICE, .argument = "FORMAT",              \
        .fallback = "table", .choices = "table|json|yaml", .help = "how to print it"               \
    }
#define CANVAS_OPTION                                                                              \
    {                                                                                              \
        .name = "canvas", .kind = OPTION_TEXT, .flags = OPTION_ENV, .argument = "NAME",            \
        .help = "canvas to look in; default: the canvas `default`"                                 \
    }
#define OPTIONS_END                                                                                \
    {                                                                                              \
        .kind = OPTION_END                                                                         \
    }

struct remote {
    struct client_url url;
    struct buf headers; /* Authorization */
    const char *ca_file;
    unsigned timeout_ms;
    bool follows; /* a server that cannot be reached, or answers 503, is being restarted: it is
                     waited for until remote_ended() */
    bool waiting; /* that was said */
};

/* For commands that follow: SIGINT and SIGTERM do not kill from now on, but make remote_ended()
 * true and end a sleep early. */
void remote_until_ended(void);
bool remote_ended(void);

/* False after an error was printed. remote_fini() in any case. */
bool remote_open(struct remote *remote, const struct options *options);
void remote_fini(struct remote *remote);

/* One request; `target` begins with "/api/…". content_type NULL = no body. False after an error was
 * printed:
 * no answer, or a refusal (4xx, 5xx). client_response_fini() in any case. */
bool remote_call(struct remote *remote, const char *method, const char *target,
                 const char *content_type, struct slice body, struct client_response *ret_response);
/* The same, but refusals are the caller's: check the status; print them with remote_refused(). */
bool remote_try(struct remote *remote, const char *method, const char *target,
                const char *content_type, struct slice body, struct client_response *ret_response);
/* The refusal in words: message, then one indented line per detail. Returns CLI_FAILED. */
int remote_refused(const struct client_response *response);
/* DELETE of target, and "SAID NAME", or what -o wants, of what is gone. Returns the exit code. */
int remote_remove(struct remote *remote, const struct options *options, const char *target,
                  const char *kind, const char *name, const char *said);
/* The answer as JSON into `tree`; roots[0] is it. */
bool remote_json(const struct client_response *response, struct json_tree *tree);

/* A line on standard error that is written over, when that is a terminal; NULL takes it away. What
 * a single request has to wait for is shown by itself (remote_try). */
__attribute__((format(printf, 1, 2))) void remote_progress(const char *format, ...);

/* ---- lists, page by page */
struct remote_list {
    const char *path;           /* "/api/v1/events"; may have parameters */
    const char *what;           /* "events" */
    bool source;                /* option "source" names an EventSource */
    const char *const *filters; /* options that are parameters as well; NULL ends. NULL = none */
    const char *columns;        /* as table_init() takes them */
    void (*add_row)(struct table *table, yyjson_mut_val *item);
};
#define REMOTE_CURSOR_BYTES 2048U
/* The page behind cursor ("" = the first), of at most `limit` items; more: further parameters as
 * name, value, … NULL. The cursor goes on, "" = there is no more; the same = nothing is behind it
 * yet. ret_page is initialised in any case. False after an error was printed. */
bool remote_page(struct remote *remote, const struct options *options,
                 const struct remote_list *list, const char *const *more, uint64_t limit,
                 char cursor[REMOTE_CURSOR_BYTES], struct json_tree *ret_page);
/* False ends the walk. The item is gone with its page: copy what is kept. */
typedef bool remote_visit_fn(void *context, yyjson_mut_val *item);
/* Every item of the list, at most `limit` (UINT64_MAX = all), page after page, until one visit
 * gives false. False after an error was printed: an answer, or a list without an end. */
bool remote_each(struct remote *remote, const struct options *options,
                 const struct remote_list *list, const char *const *more, uint64_t limit,
                 remote_visit_fn *visit, void *context);
/* At most `limit` of it, printed as option "output" wants; of an empty one remote_empty(). Returns
 * the exit code. */
int remote_print_list(struct remote *remote, const struct options *options,
                      const struct remote_list *list, uint64_t limit);

/* Append "name=value" with the right separator and escapes to a target. NULL or empty value:
 * nothing. */
void remote_query(struct buf *target, const char *name, const char *value);
/* Escaped path segment. */
void remote_segment(struct buf *target, const char *text);
/* Says on standard error when there is no such source: its events would be waited for in silence.
 * No refusal: it may come, or have been deleted. False when the server cannot be asked (said
 * already). */
bool remote_note_source(struct remote *remote, const char *source, const char *canvas);
/* Nothing was found. Is what was asked for by name there at all? Looked at in this order: option
 * "canvas", then the source (NULL = none was named). CLI_DONE, or CLI_FAILED after it was said that
 * there is no such thing, or the server could not be asked. */
int remote_empty(struct remote *remote, const struct options *options, const char *source);
/* Says on standard error when there is no such Canvas: what is in it is not listed. */
void remote_note_canvas(struct remote *remote, const char *canvas);
/* "no events" on standard error, where standard output has nothing for people. */
void remote_nothing(const char *what, enum print_format format);

/* ---- reading answers */
/* "metadata.name"; NULL = none */
yyjson_mut_val *value_at(yyjson_mut_val *object, const char *path);
struct slice text_at(yyjson_mut_val *object, const char *path); /* empty when it is no text */

#endif
