#include "cli/files.h"

#include "base/ct.h"
#include "cli/cli.h"
#include "cli/remote.h"
#include "ring/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

/* All that comes until its end. */
static bool read_stream(int stream, const char *name, size_t bytes_max, char **ret_text,
                        size_t *ret_bytes)
{
    size_t size = 65536, used = 0;
    char *text = malloc(size + 1);
    while (text != NULL) {
        ssize_t bytes = read(stream, text + used, size - used);
        if (bytes < 0 && errno == EINTR) {
            continue;
        }
        if (bytes < 0) {
            cli_error("cannot read %s: %s", name, strerror(errno));
            break;
        }
        used += (size_t)bytes;
        if (used > bytes_max) {
            cli_error("%s is over %zu MiB, which is the most at once; split it", name,
                      bytes_max >> 20);
            break;
        }
        if (bytes == 0) {
            text[used] = '\0';
            *ret_text = text;
            *ret_bytes = used;
            return true;
        }
        if (used == size) {
            char *grown = realloc(text, size * 2 + 1);
            if (grown == NULL) {
                break;
            }
            text = grown;
            size *= 2;
        }
    }
    free(text);
    return false;
}

static bool is_pipe(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISFIFO(status.st_mode);
}

bool file_or_stdin(const char *path, size_t bytes_max, char **ret_text, size_t *ret_bytes)
{
    if (strcmp(path, "-") == 0) {
        if (isatty(STDIN_FILENO) == 1) {
            fprintf(stderr,
                    "reading from the terminal; Ctrl-D at the beginning of a line ends it\n");
        }
        return read_stream(STDIN_FILENO, "standard input", bytes_max, ret_text, ret_bytes);
    }
    int pipe = is_pipe(path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (pipe >= 0) {
        bool read = read_stream(pipe, path, bytes_max, ret_text, ret_bytes);
        close(pipe);
        return read;
    }
    struct stat status;
    enum bk_err err = file_read_all(path, bytes_max, ret_text, ret_bytes);
    if (err == BK_OK) {
        return true;
    }
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        cli_error("%s is a directory", path);
    } else if (err == BK_TOO_LARGE) {
        cli_error("%s is over %zu MiB, which is the most at once; split it", path, bytes_max >> 20);
    } else if (strstr(path, "://") != NULL) {
        cli_error("%s is no file; pipe it in with curl -fsS URL | and give - instead", path);
    } else {
        cli_error("cannot read %s: %s", path, bk_err_text(err));
    }
    return false;
}

void files_init(struct files *files)
{
    memset(files, 0, sizeof *files);
    arena_init(&files->arena, 16U << 20);
    buf_init(&files->text, FILES_BYTES_MAX);
}

void files_fini(struct files *files)
{
    free(files->parts);
    buf_fini(&files->text);
    arena_fini(&files->arena);
}

static unsigned line_count(struct slice text)
{
    unsigned lines = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        lines += text.at[i] == '\n';
    }
    return lines;
}

static bool add_part(struct files *files, const char *path)
{
    if (files->count == files->size) {
        unsigned size = files->size == 0 ? 16 : files->size * 2;
        struct file_part *parts = realloc(files->parts, size * sizeof *parts);
        if (parts == NULL) {
            cli_error("out of memory");
            return false;
        }
        files->parts = parts;
        files->size = size;
    }
    const char *name =
        strcmp(path, "-") == 0 ? "standard input" : arena_string(&files->arena, path);
    files->parts[files->count++] =
        (struct file_part){name, line_count(buf_slice(&files->text)) + 1};
    return true;
}

static bool add_file(struct files *files, const char *path)
{
    char *text;
    size_t bytes;
    if (!file_or_stdin(path, FILES_BYTES_MAX, &text, &bytes)) {
        return false;
    }
    if (files->count != 0) {
        bool ended = files->text.bytes == 0 || files->text.at[files->text.bytes - 1] == '\n';
        buf_add_str(&files->text, ended ? "---\n" : "\n---\n");
    }
    struct slice content = slice_of(text, bytes);
    if (slice_starts(content, SLICE("\xef\xbb\xbf"))) {
        content = slice_skip(content, 3);
    }
    bool added = add_part(files, path);
    buf_add_slice(&files->text, content);
    bk_wipe(text, bytes);
    free(text);
    if (added && files->text.overflow) {
        cli_error(
            "the documents are over %u MiB together, which is the most at once; apply them in "
            "parts",
            FILES_BYTES_MAX >> 20);
        return false;
    }
    return added;
}

/* ---- directories */

#define DEPTH_MAX 16U

struct names {
    char **at;
    size_t count, size;
    bool failed;
};

static bool ends_with(const char *name, const char *end)
{
    size_t bytes = strlen(name), end_bytes = strlen(end);
    return bytes > end_bytes && strcmp(name + bytes - end_bytes, end) == 0;
}

static bool is_document(const char *name)
{
    return ends_with(name, ".yaml") || ends_with(name, ".yml") || ends_with(name, ".json");
}

static void take_name(const char *name, void *context)
{
    struct names *names = context;
    if (name[0] == '.') {
        return;
    }
    if (names->count == names->size) {
        size_t size = names->size == 0 ? 32 : names->size * 2;
        char **at = realloc(names->at, size * sizeof *at);
        names->failed = names->failed || at == NULL;
        if (at == NULL) {
            return;
        }
        names->at = at;
        names->size = size;
    }
    names->at[names->count] = strdup(name);
    names->failed = names->failed || names->at[names->count] == NULL;
    names->count += names->at[names->count] != NULL;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* What is in it, by name. free_names() in any case. */
static bool list_names(const char *path, struct names *ret_names)
{
    *ret_names = (struct names){0};
    bool listed = directory_list(path, take_name, ret_names) == BK_OK && !ret_names->failed;
    if (listed && ret_names->count > 0) {
        qsort(ret_names->at, ret_names->count, sizeof *ret_names->at, compare_names);
    }
    return listed;
}

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->at[i]);
    }
    free(names->at);
}

/* "path/name" into `full`; is it a directory? A link to one is none, so there are no circles. */
static bool is_folder(const char *path, const char *name, char full[4096])
{
    struct stat status;
    snprintf(full, 4096, "%s/%s", path, name);
    return lstat(full, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool has_documents(const char *path, unsigned depth)
{
    struct names names;
    bool has = false;
    if (list_names(path, &names)) {
        for (size_t i = 0; !has && i < names.count; i++) {
            char full[4096];
            bool folder = is_folder(path, names.at[i], full);
            has = folder ? depth < DEPTH_MAX && has_documents(full, depth + 1)
                         : is_document(names.at[i]);
        }
    }
    free_names(&names);
    return has;
}

/* A folder that is not looked into, with documents: said, for nobody sees what is missing. */
static bool pass_over(const struct files *files, const char *path)
{
    if (!has_documents(path, 1)) {
        return true;
    }
    if (files->whole) {
        cli_error("%s is not looked into, and --prune would delete what it declares: give "
                  "--recursive, or -f %s, too",
                  path, path);
        return false;
    }
    fprintf(stderr, "note: %s is not looked into; --recursive does\n", path);
    return true;
}

static bool add_directory(struct files *files, const char *path, unsigned depth)
{
    char full[4096];
    struct names names;
    bool added = list_names(path, &names);
    if (!added) {
        cli_error("cannot read the directory %s", path);
    }
    for (size_t i = 0; added && i < names.count; i++) {
        if (is_folder(path, names.at[i], full) || !is_document(names.at[i])) {
            continue;
        }
        added = !is_pipe(full); /* nobody may ever write into one that merely lies there */
        if (!added) {
            cli_error("cannot read %s: %s", full, bk_err_text(BK_NOT_A_FILE));
        }
        added = added && add_file(files, full);
    }
    for (size_t i = 0; added && i < names.count; i++) {
        if (!is_folder(path, names.at[i], full)) {
            continue;
        }
        if (!files->recursive) {
            added = pass_over(files, full);
        } else if (depth < DEPTH_MAX) {
            added = add_directory(files, full, depth + 1);
        } else {
            added = false;
            cli_error("%s lies deeper than %u folders", full, DEPTH_MAX);
        }
    }
    free_names(&names);
    return added;
}

bool files_add(struct files *files, const char *path)
{
    struct stat status;
    if (strcmp(path, "-") != 0 && stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        unsigned before = files->count;
        bool added = add_directory(files, path, 0);
        if (added && files->count == before) {
            cli_error("%s has no *.yaml, *.yml or *.json files in it", path);
        }
        return added && files->count > before;
    }
    return add_file(files, path);
}

const char *files_place(struct files *files, unsigned line)
{
    for (unsigned i = files->count; i-- > 0;) {
        if (files->parts[i].first_line <= line) {
            const char *place = arena_printf(&files->arena, "%s:%u", files->parts[i].path,
                                             line - files->parts[i].first_line + 1);
            return place ? place : "";
        }
    }
    return "";
}

bool files_read(struct files *files, const struct options *options, bool whole)
{
    files->recursive = option_flag(options, "recursive");
    files->whole = whole;
    unsigned count = option_list_count(options, "file");
    for (unsigned i = 0; i < count; i++) {
        if (!files_add(files, option_list_at(options, "file", i))) {
            return false;
        }
    }
    if (files->text.bytes == 0) {
        cli_error("%s is empty: there is no document in it",
                  files->count == 1 ? files->parts[0].path : "each of the files");
        return false;
    }
    return true;
}

/* "github.yaml:4:3: spec.tipe: unknown field", by itself or as one of several. */
static void print_mistake(struct files *files, yyjson_mut_val *detail, bool only)
{
    struct slice field = text_at(detail, "field"), message = text_at(detail, "message");
    unsigned line = (unsigned)yyjson_mut_get_uint(value_at(detail, "line"));
    unsigned column = (unsigned)yyjson_mut_get_uint(value_at(detail, "column"));
    struct buf text, safe;
    buf_init(&text, 1U << 16);
    buf_init(&safe, 1U << 18);
    if (line != 0) {
        buf_printf(&text, "%s:%u: ", files_place(files, line), column);
    }
    buf_add_slice(&text, field);
    buf_add_str(&text, field.bytes != 0 ? ": " : "");
    buf_add_slice(&text, message);
    print_safe(&safe, buf_slice(&text), false);
    if (only) {
        cli_error("%s", buf_text(&safe));
    } else {
        fprintf(stderr, "  %s\n", buf_text(&safe));
    }
    buf_fini(&text);
    buf_fini(&safe);
}

/* "invalid" answers name lines of the joined text: say them as lines of the user's files. */
int files_invalid(struct files *files, const struct client_response *response)
{
    struct json_tree tree;
    struct json_problem problem;
    json_tree_init(&tree);
    yyjson_mut_val *details = NULL;
    if (json_parse(buf_slice(&response->body), &tree, &problem) == BK_OK) {
        details = value_at(tree.roots[0], "details");
    }
    size_t i, count;
    yyjson_mut_val *detail;
    if (yyjson_mut_arr_size(details) == 0 ||
        value_at(yyjson_mut_arr_get_first(details), "line") == NULL) {
        bool nothing = response->status == 400 && yyjson_mut_arr_size(details) == 0;
        struct slice message = nothing ? text_at(tree.roots[0], "message") : SLICE_EMPTY;
        if (message.bytes > 0) { /* of the text as a whole */
            cli_error("%s: %.*s", files->count == 1 ? files->parts[0].path : "the files",
                      (int)message.bytes, (const char *)message.at);
        } else {
            remote_refused(response);
        }
        json_tree_fini(&tree);
        return CLI_FAILED;
    }
    size_t dropped = (size_t)yyjson_mut_get_uint(value_at(tree.roots[0], "more"));
    size_t mistakes = yyjson_mut_arr_size(details) + dropped;
    if (mistakes > 1) {
        cli_error("%zu mistakes, nothing was changed:", mistakes);
    }
    yyjson_mut_arr_foreach(details, i, count, detail)
    {
        print_mistake(files, detail, mistakes == 1);
    }
    if (dropped > 0) {
        fprintf(stderr, "  and %zu more\n", dropped);
    }
    json_tree_fini(&tree);
    return CLI_FAILED;
}
