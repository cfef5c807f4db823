#include "cli/remote.h"

#include "base/ct.h"
#include "base/percent.h"
#include "ring/file.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <yyjson.h>

#define ANSWER_BYTES_MAX (256U << 20)
#define TOKEN_FILE_BYTES 4096U

/* Where the token was read; "" = it was given. For who is told that it is not valid. */
static char token_path[1024];

/* The token's text, NULL after an error was printed. Kept in `options`' arena or in `file`. */
static const char *find_token(const struct options *options, char file[TOKEN_FILE_BYTES])
{
    const char *token = option_text(options, "token");
    token_path[0] = '\0';
    if (token != NULL) {
        return token;
    }
    char *text;
    size_t bytes;
    snprintf(token_path, sizeof token_path, "%s/admin.token", option_text(options, "data"));
    enum bk_err err = file_read_all(token_path, TOKEN_FILE_BYTES - 1, &text, &bytes);
    if (err != BK_OK) {
        cli_error("no token: give --token, set BECKET_TOKEN, or name the data directory with "
                  "--data (%s: %s)",
                  token_path, bk_err_text(err));
        return NULL;
    }
    snprintf(file, TOKEN_FILE_BYTES, "%.*s", (int)strcspn(text, "\r\n"), text);
    bk_wipe(text, bytes);
    free(text);
    return file;
}

static bool is_token(const char *token)
{
    for (const char *c = token; *c != '\0'; c++) {
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 0x7f) {
            return false;
        }
    }
    return *token != '\0';
}

bool remote_open(struct remote *remote, const struct options *options)
{
    char error[CLIENT_ERROR_BYTES];
    char file[TOKEN_FILE_BYTES] = "";
    memset(remote, 0, sizeof *remote);
    buf_init(&remote->headers, 2 * TOKEN_FILE_BYTES);
    if (!client_url_parse(option_text(options, "server"), &remote->url, error)) {
        cli_error("--server: %s", error);
        return false;
    }
    remote->ca_file = option_text(options, "ca-file");
    int64_t timeout_ms = option_duration_ns(options, "timeout") / 1000000;
    remote->timeout_ms = timeout_ms > 86400000 ? 86400000U
                         : timeout_ms < 1      ? 1U
                                               : (unsigned)timeout_ms;
    const char *token = find_token(options, file);
    if (token == NULL) {
        return false;
    }
    bool good = is_token(token);
    if (good) {
        buf_printf(&remote->headers, "Authorization: Bearer %s\r\n", token);
    } else {
        cli_error("the token is empty or has spaces or control characters in it");
    }
    bk_wipe(file, sizeof file);
    return good;
}

void remote_fini(struct remote *remote)
{
    buf_fini(&remote->headers);
}

/* ---- who has to wait sees why */

static bool progress_shown;

void remote_progress(const char *format, ...)
{
    if (isatty(STDERR_FILENO) != 1 || (format == NULL && !progress_shown)) {
        return;
    }
    fprintf(stderr, "\r\033[K"); /* to the line's start, and nothing behind it */
    if (format != NULL) {
        va_list args;
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
    }
    progress_shown = format != NULL;
    fflush(stderr);
}

#define BAR 30U

static void show_sending(const struct client_watch *watch)
{
    char bar[BAR + 1];
    unsigned filled = (unsigned)(watch->sent * BAR / (watch->to_send ? watch->to_send : 1));
    for (unsigned i = 0; i < BAR; i++) {
        bar[i] = i < filled ? '#' : '.';
    }
    bar[BAR] = '\0';
    remote_progress("[%s] sent %.1f of %.1f MiB ", bar, (double)watch->sent / 1048576,
                    (double)watch->to_send / 1048576);
}

static void show_call(const struct client_watch *watch)
{
    if (watch->sent < watch->to_send) {
        show_sending(watch);
    } else if (watch->received > 0) {
        remote_progress("received %.1f MiB, %u s ", (double)watch->received / 1048576,
                        watch->waited_ms / 1000);
    } else {
        remote_progress("the server is at it, %u s ", watch->waited_ms / 1000);
    }
}

static volatile sig_atomic_t ended;

static void note_end(int signal_number)
{
    (void)signal_number;
    ended = 1;
}

void remote_until_ended(void)
{
    struct sigaction action = {.sa_handler = note_end};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool remote_ended(void)
{
    return ended != 0;
}

/* Whoever follows goes on behind a restart. */
static bool has_to_wait(struct remote *remote, bool answered, unsigned status, const char *error)
{
    const struct timespec pause = {1, 0};
    if (!remote->follows || remote_ended()) {
        return false;
    }
    if (answered && status != 503) {
        if (remote->waiting) {
            fprintf(stderr, "note: it answers again\n");
        }
        remote->waiting = false;
        return false;
    }
    if (!remote->waiting) {
        fprintf(stderr, "note: %s; waiting for the server, Ctrl-C ends that\n",
                answered ? "503" : error);
    }
    remote->waiting = true;
    nanosleep(&pause, NULL); /* a signal ends it early */
    return !remote_ended();
}

/* Of somebody who says 200 to whatever is asked: what was to be deleted is still there. */
static bool is_page(const struct client_response *response)
{
    const struct http_header *type = http_find(&response->head, SLICE("content-type"), NULL);
    struct slice text = type ? http_header_value(&response->head, type) : SLICE_EMPTY;
    return response->status < 300 && slice_starts_nocase(text, SLICE("text/html"));
}

bool remote_try(struct remote *remote, const char *method, const char *target,
                const char *content_type, struct slice body, struct client_response *ret_response)
{
    char error[CLIENT_ERROR_BYTES];
    struct buf headers;
    struct buf full;
    buf_init(&headers, 4 * TOKEN_FILE_BYTES);
    buf_init(&full, HTTP_TARGET_BYTES_MAX);
    buf_add_slice(&headers, buf_slice(&remote->headers));
    buf_add_str(&headers, "Accept: application/json\r\n");
    if (content_type != NULL) {
        buf_printf(&headers, "Content-Type: %s\r\n", content_type);
    }
    /* A server behind a path of a reverse proxy: --server http://host/becket */
    size_t base = strlen(remote->url.path);
    base -= base != 0 && remote->url.path[base - 1] == '/';
    buf_add(&full, remote->url.path, base);
    buf_add_str(&full, target);
    struct client_request request = {.method = method,
                                     .url = &remote->url,
                                     .target = buf_text(&full),
                                     .headers = buf_slice(&headers),
                                     .body = body,
                                     .ca_file = remote->ca_file,
                                     .timeout_ms = remote->timeout_ms,
                                     .body_bytes_max = ANSWER_BYTES_MAX,
                                     .watch = isatty(STDERR_FILENO) == 1 ? show_call : NULL};
    bool answered = client_call(&request, ret_response, error);
    while (has_to_wait(remote, answered, ret_response->status, error)) {
        client_response_fini(ret_response);
        *ret_response = (struct client_response){0};
        answered = client_call(&request, ret_response, error);
    }
    remote_progress(NULL);
    if (!answered && !(remote->follows && remote_ended())) {
        bool refused = strstr(error, "refused") != NULL;
        cli_error("%s%s", error,
                  refused ? "; is `becket serve` running? Its address is given by --server" : "");
    }
    buf_fini(&headers);
    buf_fini(&full);
    if (answered && is_page(ret_response)) {
        cli_error("the answer is a web page; is --server the admin address of becket, and what is "
                  "before it not in the way?");
        return false;
    }
    return answered;
}

bool remote_call(struct remote *remote, const char *method, const char *target,
                 const char *content_type, struct slice body, struct client_response *ret_response)
{
    if (!remote_try(remote, method, target, content_type, body, ret_response)) {
        return false;
    }
    if (ret_response->status >= 300) {
        remote_refused(ret_response);
        return false;
    }
    return true;
}

/* ---- is it there? */

enum presence { THERE, NOT_THERE, NOT_ASKED /* said already */ };

/* What the caller may not see is taken as there: nothing is known against it. */
static enum presence look_for(struct remote *remote, const char *plural, const char *name,
                              const char *canvas)
{
    struct client_response response = {0};
    struct buf target;
    buf_init(&target, 8192);
    buf_printf(&target, "/api/v1/%s/", plural);
    remote_segment(&target, name);
    remote_query(&target, "canvas", canvas);
    bool answered = remote_try(remote, "GET", buf_text(&target), NULL, SLICE_EMPTY, &response);
    enum presence presence = !answered ? NOT_ASKED : response.status == 404 ? NOT_THERE : THERE;
    client_response_fini(&response);
    buf_fini(&target);
    return presence;
}

static enum presence look_for_source(struct remote *remote, const char *source, const char *canvas)
{
    return look_for(remote, "event-sources", source, canvas);
}

bool remote_note_source(struct remote *remote, const char *source, const char *canvas)
{
    enum presence presence = look_for_source(remote, source, canvas);
    if (presence == NOT_THERE) {
        fprintf(stderr,
                "note: there is no EventSource %s in canvas %s now; `becket get "
                "event-sources` lists them\n",
                source, canvas ? canvas : "default");
    }
    return presence != NOT_ASKED;
}

int remote_empty(struct remote *remote, const struct options *options, const char *source)
{
    const char *canvas = option_text(options, "canvas");
    enum presence presence = canvas ? look_for(remote, "canvases", canvas, NULL) : THERE;
    if (presence == NOT_THERE) {
        return cli_error("there is no Canvas %s; `becket get canvases` lists them", canvas);
    }
    if (presence == THERE && source) {
        presence = look_for_source(remote, source, canvas);
    }
    if (presence == NOT_THERE) {
        return cli_error("there is no EventSource %s in canvas %s; `becket get event-sources` "
                         "lists them",
                         source, canvas ? canvas : "default");
    }
    return presence == THERE ? CLI_DONE : CLI_FAILED;
}

void remote_note_canvas(struct remote *remote, const char *canvas)
{
    if (look_for(remote, "canvases", canvas, NULL) == NOT_THERE) {
        fprintf(stderr,
                "note: there is no Canvas %s; what is in it is not listed until one is "
                "applied (kind: Canvas)\n",
                canvas);
    }
}

void remote_nothing(const char *what, enum print_format format)
{
    if (format == PRINT_TABLE) {
        fprintf(stderr, "no %s\n", what);
    }
}

int remote_remove(struct remote *remote, const struct options *options, const char *target,
                  const char *kind, const char *name, const char *said)
{
    struct client_response response = {0};
    enum print_format format = print_format(option_text(options, "output"));
    struct buf text;
    buf_init(&text, 4096);
    bool done = remote_call(remote, "DELETE", target, NULL, SLICE_EMPTY, &response);
    if (done && format == PRINT_TABLE) {
        buf_printf(&text, "%s %s", said, name);
        print_line(buf_slice(&text));
    } else if (done) {
        buf_add_byte(&text, '{');
        json_add_member(&text, "kind", slice_str(kind));
        json_add_member(&text, "name", slice_str(name));
        json_add_member(&text, "action", SLICE("deleted"));
        buf_add_byte(&text, '}');
        print_json(buf_slice(&text), format);
    }
    client_response_fini(&response);
    buf_fini(&text);
    return done ? CLI_DONE : CLI_FAILED;
}

bool remote_json(const struct client_response *response, struct json_tree *tree)
{
    struct json_problem problem;
    json_tree_enlarge(tree, 1 + ANSWER_BYTES_MAX / JSON_TEXT_BYTES_MAX);
    enum bk_err err = json_parse(buf_slice(&response->body), tree, &problem);
    if (err == BK_OK) {
        return true;
    }
    cli_error(err == BK_INVALID
                  ? "the answer is not JSON; is --server the admin address of becket?"
                  : "the answer is too large to be read here; what was asked for may be done");
    return false;
}

static void print_details(yyjson_mut_val *details)
{
    size_t i, count;
    yyjson_mut_val *detail;
    yyjson_mut_arr_foreach(details, i, count, detail)
    {
        struct slice field = text_at(detail, "field");
        struct slice message = text_at(detail, "message");
        yyjson_mut_val *line = value_at(detail, "line");
        struct buf text, safe;
        buf_init(&text, 1U << 16);
        buf_init(&safe, 1U << 18);
        if (yyjson_mut_get_uint(line) != 0) {
            buf_printf(&text, "line %llu: ", (unsigned long long)yyjson_mut_get_uint(line));
        }
        buf_add_slice(&text, field);
        buf_add_str(&text, field.bytes != 0 ? ": " : "");
        buf_add_slice(&text, message);
        print_safe(&safe, buf_slice(&text), false);
        fprintf(stderr, "  %s\n", buf_text(&safe));
        buf_fini(&text);
        buf_fini(&safe);
    }
}

/* "is missing", "must be …": what this is about is in the field. */
static bool begins_small(struct slice message)
{
    return slice_starts(message, SLICE("must ")) || slice_starts(message, SLICE("is ")) ||
           slice_starts(message, SLICE("has "));
}

int remote_refused(const struct client_response *response)
{
    struct json_tree tree;
    struct json_problem problem;
    json_tree_init(&tree);
    if (json_parse(buf_slice(&response->body), &tree, &problem) == BK_OK &&
        text_at(tree.roots[0], "message").bytes != 0) {
        struct slice message = text_at(tree.roots[0], "message");
        yyjson_mut_val *details = value_at(tree.roots[0], "details");
        /* Each refusal of the API has details; the listener for hooks has none. */
        /* One that only says the same again is left out; "must be text" needs its field. */
        yyjson_mut_val *first = yyjson_mut_arr_get_first(details);
        bool same =
            yyjson_mut_arr_size(details) <= 1 && slice_equal(text_at(first, "message"), message);
        struct slice field = same && begins_small(message) ? text_at(first, "field") : SLICE_EMPTY;
        bool elsewhere = response->status == 404 && details == NULL;
        bool stranger = response->status == 401 && token_path[0] != '\0';
        cli_error("%.*s%s%.*s%s%s%s", (int)field.bytes,
                  (const char *)(field.at ? field.at : message.at), field.bytes ? ": " : "",
                  (int)message.bytes, (const char *)message.at,
                  elsewhere  ? "; is --server the admin address of becket?"
                  : stranger ? "; it comes from "
                             : "",
                  stranger ? token_path : "",
                  stranger ? ": name this server's --data, or give its --token" : "");
        if (!same) {
            print_details(details);
        }
    } else {
        cli_error("the server answered %u; is --server the admin address of becket?",
                  response->status);
    }
    json_tree_fini(&tree);
    return CLI_FAILED;
}

/* ---- targets */

void remote_query(struct buf *target, const char *name, const char *value)
{
    if (value == NULL || *value == '\0') {
        return;
    }
    bool first = target->bytes == 0 || memchr(target->at, '?', target->bytes) == NULL;
    buf_printf(target, "%c%s=", first ? '?' : '&', name);
    percent_add(target, slice_str(value));
}

void remote_segment(struct buf *target, const char *text)
{
    percent_add(target, slice_str(text));
}

/* ---- values */

yyjson_mut_val *value_at(yyjson_mut_val *object, const char *path)
{
    while (object != NULL && *path != '\0') {
        size_t bytes = strcspn(path, ".");
        object = yyjson_mut_obj_getn(object, path, bytes);
        path += bytes + (path[bytes] == '.');
    }
    return object;
}

struct slice text_at(yyjson_mut_val *object, const char *path)
{
    yyjson_mut_val *value = value_at(object, path);
    return yyjson_mut_is_str(value) ? json_text(value) : SLICE_EMPTY;
}

/* ---- lists */

#define PAGE_ITEMS_MAX 1000U

static void keep_cursor(char cursor[REMOTE_CURSOR_BYTES], struct slice next)
{
    size_t bytes = next.bytes < REMOTE_CURSOR_BYTES - 1 ? next.bytes : REMOTE_CURSOR_BYTES - 1;
    memcpy(cursor, bytes ? next.at : (const uint8_t *)"", bytes);
    cursor[bytes] = '\0';
}

static bool has_no_end(const struct remote_list *list)
{
    cli_error("%s has no end: behind this page comes this page again; is --server the admin "
              "address of becket?",
              list->path);
    return false;
}

bool remote_page(struct remote *remote, const struct options *options,
                 const struct remote_list *list, const char *const *more, uint64_t limit,
                 char cursor[REMOTE_CURSOR_BYTES], struct json_tree *ret_page)
{
    char before[REMOTE_CURSOR_BYTES];
    struct client_response response = {0};
    struct buf target;
    char limit_text[24];
    snprintf(limit_text, sizeof limit_text, "%llu",
             (unsigned long long)(limit > PAGE_ITEMS_MAX ? PAGE_ITEMS_MAX : limit));
    buf_init(&target, 16384);
    buf_add_str(&target, list->path);
    for (const char *const *filter = list->filters; filter && *filter; filter++) {
        remote_query(&target, *filter, option_text(options, *filter));
    }
    for (; more && *more; more += 2) {
        remote_query(&target, more[0], more[1]);
    }
    remote_query(&target, "limit", limit_text);
    remote_query(&target, "cursor", cursor);
    json_tree_init(ret_page);
    bool done = remote_call(remote, "GET", buf_text(&target), NULL, SLICE_EMPTY, &response) &&
                remote_json(&response, ret_page);
    memcpy(before, cursor, sizeof before);
    keep_cursor(cursor, done ? text_at(ret_page->roots[0], "next") : SLICE_EMPTY);
    client_response_fini(&response);
    buf_fini(&target);
    bool again = done && cursor[0] != '\0' && strcmp(cursor, before) == 0 &&
                 yyjson_mut_arr_size(value_at(ret_page->roots[0], "items")) > 0;
    return again ? has_no_end(list) : done;
}

static bool filters_by(const struct remote_list *list, const char *name)
{
    const char *const *filter = list->filters;
    while (filter && *filter && strcmp(*filter, name) != 0) {
        filter++;
    }
    return filter && *filter;
}

bool remote_each(struct remote *remote, const struct options *options,
                 const struct remote_list *list, const char *const *more, uint64_t limit,
                 remote_visit_fn *visit, void *context)
{
    char cursor[REMOTE_CURSOR_BYTES] = "", before[REMOTE_CURSOR_BYTES];
    uint64_t count = 0;
    bool done, wanted = limit > 0;
    do {
        struct json_tree page;
        size_t i, items;
        yyjson_mut_val *item;
        memcpy(before, cursor, sizeof before);
        done = remote_page(remote, options, list, more, limit - count, cursor, &page);
        yyjson_mut_arr_foreach(done ? value_at(page.roots[0], "items") : NULL, i, items, item)
        {
            wanted = wanted && visit(context, item) && ++count < limit;
        }
        json_tree_fini(&page);
        if (done && wanted && cursor[0] != '\0' && strcmp(cursor, before) == 0) {
            done = has_no_end(list);
        }
        if (done && wanted && cursor[0] != '\0') {
            remote_progress("%llu so far ", (unsigned long long)count);
        }
    } while (done && wanted && cursor[0] != '\0');
    remote_progress(NULL);
    return done;
}

/* A table is printed as a whole, for its widths; JSON and YAML come as one value. */
struct printed {
    const struct remote_list *list;
    enum print_format format;
    struct table table;
    struct json_tree all;
    yyjson_mut_val *items;
    bool any;
};

static bool print_item(void *context, yyjson_mut_val *item)
{
    struct printed *printed = context;
    printed->any = true;
    if (printed->format == PRINT_TABLE) {
        printed->list->add_row(&printed->table, item);
    } else {
        yyjson_mut_arr_append(printed->items, json_copy(&printed->all, item));
    }
    return true;
}

int remote_print_list(struct remote *remote, const struct options *options,
                      const struct remote_list *list, uint64_t limit)
{
    struct printed printed = {.list = list, .format = print_format(option_text(options, "output"))};
    json_tree_init(&printed.all);
    yyjson_mut_val *value = json_new_object(&printed.all);
    printed.items = json_new_array(&printed.all);
    table_init(&printed.table, list->columns);
    bool done = remote_each(remote, options, list, NULL, limit, print_item, &printed);
    int code = done ? CLI_DONE : CLI_FAILED;
    if (done && !printed.any && filters_by(list, "canvas")) {
        code = remote_empty(remote, options, list->source ? option_text(options, "source") : NULL);
    }
    if (code == CLI_DONE && printed.format != PRINT_TABLE) {
        json_set(&printed.all, value, "items", printed.items);
        print_value(value, printed.format);
    } else if (code == CLI_DONE && printed.any) {
        table_print(&printed.table);
    } else if (code == CLI_DONE) {
        remote_nothing(list->what, printed.format);
    }
    table_fini(&printed.table);
    json_tree_fini(&printed.all);
    return code;
}
