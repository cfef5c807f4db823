/* http_cases_test.c - runs the cases written down in tests/http (the format is in its README.md).
 *
 * Each message is parsed by each implementation, and each prefix of it must be PARTIAL or have the
 * same result as the whole.
 */
#include "http/parse.h"

#include "tests/tap.h"

#include <dirent.h>

#define TEXT_BYTES_MAX 65536U
#define LINES_MAX 40U

struct test_case {
    char file[256];
    unsigned line; /* of the message block */
    char title[200];
    char kind[16]; /* request, response, chunked */
    uint8_t text[TEXT_BYTES_MAX];
    size_t bytes;
    char expect[LINES_MAX][300];
    unsigned expect_count;
};

static const char *const result_names[] = {"DONE",         "PARTIAL",     "BAD",
                                           "TOO_LONG",     "URI_TOO_LONG", "BAD_VERSION",
                                           "NOT_IMPLEMENTED"};
static unsigned case_count;

/* ---- reading */

/* One escape, *from behind its backslash; \{N*TEXT} repeats TEXT. */
static size_t put_escape(const char **from, uint8_t *to, size_t space);

static size_t unescape(const char *from, size_t bytes, uint8_t *to, size_t space)
{
    const char *end = from + bytes;
    size_t out = 0;

    while (from < end && out < space) {
        if (*from == '\\') {
            from++;
            out += put_escape(&from, to + out, space - out);
        } else {
            to[out++] = (uint8_t)*from++;
        }
    }
    return out;
}

static size_t put_escape(const char **from, uint8_t *to, size_t space)
{
    char c = *(*from)++;

    if (c == '{') {
        char *text;
        unsigned long times = strtoul(*from, &text, 10);
        const char *close = strchr(text, '}');
        if (*text != '*' || close == NULL || times > TEXT_BYTES_MAX) {
            bail_out("a repetition is written \\{N*TEXT}");
        }
        size_t out = 0;
        while (times-- > 0 && out < space) {
            out += unescape(text + 1, (size_t)(close - text - 1), to + out, space - out);
        }
        *from = close + 1;
        return out;
    }
    if (c == 'x') {
        char digits[3] = {(*from)[0], (*from)[0] != '\0' ? (*from)[1] : '\0', '\0'};
        *to = (uint8_t)strtoul(digits, NULL, 16);
        *from += 2;
    } else {
        *to = (uint8_t)(c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : c);
    }
    return 1;
}

/* ---- checking */

static bool yes_or_no(const char *want, bool got)
{
    return strcmp(want, got ? "yes" : "no") == 0;
}

static bool same_text(const char *want, struct slice got)
{
    uint8_t text[300];
    return slice_equal(slice_of(text, unescape(want, strlen(want), text, sizeof text)), got);
}

/* "name: value", with the number of headers of that name never above one. */
static bool has_header(const struct http_head *head, const char *want)
{
    char name[300];
    unsigned count;
    size_t name_bytes = strcspn(want, ":");

    memcpy(name, want, name_bytes);
    const struct http_header *header = http_find(head, slice_of(name, name_bytes), &count);
    const char *value = want + name_bytes + 1;
    return header != NULL && count == 1 &&
           same_text(value + (*value == ' '), http_header_value(head, header));
}

/* One line of what is expected of a complete head. */
static bool head_has(const struct http_head *head, size_t bytes, const char *line)
{
    char key[32] = "";
    struct slice path, query;
    size_t key_bytes = strcspn(line, " ");
    const char *want = line[key_bytes] == ' ' ? line + key_bytes + 1 : line + key_bytes;

    memcpy(key, line, key_bytes < sizeof key ? key_bytes : sizeof key - 1);
    if (strcmp(key, "method") == 0) {
        return same_text(want, http_method_text(head));
    }
    if (strcmp(key, "known-method") == 0) {
        return yes_or_no(want, head->method != HTTP_METHOD_OTHER);
    }
    if (strcmp(key, "target") == 0 || strcmp(key, "reason") == 0) {
        return same_text(want, http_target(head));
    }
    if (strcmp(key, "path") == 0) {
        http_split_target(head, &path, &query);
        return same_text(want, path);
    }
    if (strcmp(key, "query") == 0) {
        http_split_target(head, &path, &query);
        return same_text(want, query);
    }
    if (strcmp(key, "version") == 0) {
        return strtoul(want, NULL, 10) == head->minor_version;
    }
    if (strcmp(key, "status") == 0) {
        return strtoul(want, NULL, 10) == head->status;
    }
    if (strcmp(key, "headers") == 0) {
        return strtoul(want, NULL, 10) == head->header_count;
    }
    if (strcmp(key, "header") == 0) {
        return has_header(head, want);
    }
    if (strcmp(key, "keep-alive") == 0) {
        return yes_or_no(want, head->keep_alive);
    }
    if (strcmp(key, "chunked") == 0) {
        return yes_or_no(want, head->chunked);
    }
    if (strcmp(key, "expect-continue") == 0) {
        return yes_or_no(want, head->expect_continue);
    }
    if (strcmp(key, "host") == 0) {
        return yes_or_no(want, head->has_host);
    }
    if (strcmp(key, "length") == 0) {
        return strcmp(want, "none") == 0 ? !head->has_content_length && head->content_length == 0
                                         : head->has_content_length &&
                                               strtoull(want, NULL, 10) == head->content_length;
    }
    if (strcmp(key, "rest") == 0) {
        return strtoul(want, NULL, 10) == bytes - head->head_bytes;
    }
    diag("unknown line: %s", line);
    return false;
}

typedef enum http_parse parse_fn(const uint8_t *at, size_t bytes, struct http_head *head);

static bool check_head(const struct test_case *test, parse_fn *parse)
{
    struct http_head head;
    bool good = true;
    enum http_parse result = parse(test->text, test->bytes, &head);

    if (strcmp(result_names[result], test->expect[0]) != 0) {
        diag("got %s, want %s", result_names[result], test->expect[0]);
        return false;
    }
    for (unsigned i = 1; i < test->expect_count && result == HTTP_PARSE_DONE; i++) {
        if (!head_has(&head, test->bytes, test->expect[i])) {
            diag("not so: %s", test->expect[i]);
            good = false;
        }
    }
    size_t whole = result == HTTP_PARSE_DONE ? head.head_bytes : test->bytes;
    for (size_t cut = 0; cut < whole; cut++) {
        enum http_parse early = parse(test->text, cut, &head);
        if (early != HTTP_PARSE_PARTIAL && (early != result || early == HTTP_PARSE_DONE)) {
            diag("the first %zu bytes are %s", cut, result_names[early]);
            good = false;
        }
    }
    return good;
}

static bool check_chunked(const struct test_case *test)
{
    static uint8_t body[TEXT_BYTES_MAX];
    struct http_chunked chunked;
    size_t bytes = test->bytes;
    size_t used;
    bool good = true;

    memcpy(body, test->text, bytes);
    http_chunked_init(&chunked);
    enum http_parse result = http_chunked_decode(&chunked, body, &bytes, &used);
    if (strcmp(result_names[result], test->expect[0]) != 0) {
        diag("got %s, want %s", result_names[result], test->expect[0]);
        return false;
    }
    for (unsigned i = 1; i < test->expect_count; i++) {
        const char *line = test->expect[i];
        bool so = strncmp(line, "data", 4) == 0
                      ? same_text(line + 4 + (line[4] == ' '), slice_of(body, bytes))
                      : strncmp(line, "rest ", 5) == 0 &&
                            strtoul(line + 5, NULL, 10) == test->bytes - used;
        if (!so) {
            diag("not so: %s", line);
            good = false;
        }
    }
    return good;
}

static void run(const struct test_case *test)
{
    bool good = true;

    case_count++;
    if (test->expect_count == 0) {
        good = false;
        diag("nothing is expected");
    } else if (strcmp(test->kind, "chunked") == 0) {
        good = check_chunked(test);
    } else {
        parse_fn *parse =
            strcmp(test->kind, "request") == 0 ? http_parse_request : http_parse_response;
        for (int isa = HTTP_PARSE_SCALAR; isa <= HTTP_PARSE_AVX512; isa++) {
            http_parse_select((enum http_parse_isa)isa);
            good &= check_head(test, parse);
        }
    }
    ok(good, "%s:%u: %s", test->file, test->line, test->title);
}

/* ---- files */

static bool is_kind(const char *text)
{
    return strcmp(text, "request") == 0 || strcmp(text, "response") == 0 ||
           strcmp(text, "chunked") == 0;
}

static void run_file(const char *folder, const char *name)
{
    static struct test_case test;
    char path[1024], line[8192];
    enum { OUTSIDE, MESSAGE, EXPECT } where = OUTSIDE;
    unsigned number = 0;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        bail_out("cannot read %s", path);
    }
    memset(&test, 0, sizeof test);
    snprintf(test.file, sizeof test.file, "%s", name);
    while (fgets(line, sizeof line, file) != NULL) {
        number++;
        line[strcspn(line, "\n")] = '\0';
        if (where == OUTSIDE && strncmp(line, "## ", 3) == 0) {
            snprintf(test.title, sizeof test.title, "%.190s", line + 3);
            test.bytes = 0;
            test.kind[0] = '\0';
        } else if (where == OUTSIDE && strncmp(line, "```", 3) == 0) {
            if (strcmp(line, "```expect") == 0) {
                where = EXPECT;
                test.expect_count = 0;
            } else if (is_kind(line + 3)) {
                where = MESSAGE;
                snprintf(test.kind, sizeof test.kind, "%.15s", line + 3);
                test.line = number;
                test.bytes = 0;
            } else {
                bail_out("%s:%u: a block is request, response, chunked or expect", name, number);
            }
        } else if (where != OUTSIDE && strcmp(line, "```") == 0) {
            if (where == EXPECT) {
                run(&test);
            }
            where = OUTSIDE;
        } else if (where == MESSAGE) {
            test.bytes += unescape(line, strlen(line), test.text + test.bytes,
                                   sizeof test.text - test.bytes);
        } else if (where == EXPECT && test.expect_count < LINES_MAX) {
            snprintf(test.expect[test.expect_count++], sizeof test.expect[0], "%.299s", line);
        }
    }
    fclose(file);
    ok(where == OUTSIDE, "%s ends outside a block", name);
}

static int is_case_file(const struct dirent *entry)
{
    size_t bytes = strlen(entry->d_name);
    return bytes > 3 && strcmp(entry->d_name + bytes - 3, ".md") == 0 &&
           strcmp(entry->d_name, "README.md") != 0;
}

int main(void)
{
    char folder[512];
    struct dirent **entries;
    const char *root = getenv("BECKET_ROOT");

    snprintf(folder, sizeof folder, "%s/tests/http", root != NULL ? root : ".");
    int count = scandir(folder, &entries, is_case_file, alphasort);
    if (count < 1) {
        bail_out("no cases in %s", folder);
    }
    for (int i = 0; i < count; i++) {
        run_file(folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    ok(case_count > 100, "there are %u cases", case_count);
    return done_testing();
}
