/* Description: options from line, environment, file and table, in that order; errors in words. */
#include "cli/option.h"
#include "ring/file.h"
#include "tap.h"

#include <unistd.h>

static const struct option table[] = {
    {.name = "data",
     .letter = 'd',
     .kind = OPTION_TEXT,
     .flags = OPTION_ENV | OPTION_FILE,
     .argument = "DIR",
     .fallback = "./here"},
    {.name = "threads",
     .kind = OPTION_NUMBER,
     .flags = OPTION_ENV | OPTION_FILE,
     .argument = "N",
     .number_min = 1,
     .number_max = 64},
    {.name = "log-level",
     .kind = OPTION_CHOICE,
     .flags = OPTION_ENV | OPTION_FILE,
     .argument = "L",
     .fallback = "info",
     .choices = "error|warn|info"},
    {.name = "wait", .kind = OPTION_DURATION, .argument = "TIME", .fallback = "20s"},
    {.name = "patience", .kind = OPTION_DURATION, .argument = "TIME", .number_min = 1},
    {.name = "since", .kind = OPTION_TIME, .argument = "TIME"},
    {.name = "day", .kind = OPTION_DAY, .argument = "YYYY-MM-DD"},
    {.name = "room", .kind = OPTION_BYTES, .flags = OPTION_FILE, .argument = "BYTES"},
    {.name = "force", .letter = 'F', .kind = OPTION_FLAG, .flags = OPTION_FILE},
    {.name = "header",
     .letter = 'H',
     .kind = OPTION_TEXT,
     .flags = OPTION_LIST | OPTION_FILE,
     .argument = "H"},
    {.name = "server",
     .kind = OPTION_TEXT,
     .flags = OPTION_ENV,
     .argument = "URL",
     .environment = "BECKET_TEST_URL"},
    {.kind = OPTION_END},
};

#define PARSE(options, ...)                                                                        \
    options_parse(options, table,                                                                  \
                  (int)(sizeof((const char *[]){"test", __VA_ARGS__}) / sizeof(char *)),           \
                  (char **)(uintptr_t)(const char *[]){"test", __VA_ARGS__, NULL})

static void test_line(void)
{
    struct options options;
    ok(PARSE(&options, "a", "--data", "x", "--threads=3", "-F", "-HA: b", "-H", "C: d", "b", "--",
             "--data"));
    is_str(option_text(&options, "data"), "x");
    is_uint(option_number(&options, "threads"), 3);
    ok(option_flag(&options, "force"));
    is_uint(option_list_count(&options, "header"), 2);
    is_str(option_list_at(&options, "header", 0), "A: b");
    is_str(option_list_at(&options, "header", 1), "C: d");
    ok(option_list_at(&options, "header", 2) == NULL);
    is_uint(options.argument_count, 3);
    is_str(options.arguments[0], "a");
    is_str(options.arguments[1], "b");
    is_str(options.arguments[2], "--data", "behind -- everything is an argument");
    ok(option_given(&options, "data") && !option_given(&options, "log-level"));
    is_str(option_text(&options, "log-level"), "info", "default");
    is_int(option_duration_ns(&options, "wait"), 20000000000LL);
    ok(option_text(&options, "server") == NULL, "no default");
    options_fini(&options);
    ok(PARSE(&options, "--force=false", "-"));
    ok(!option_flag(&options, "force") && option_given(&options, "force"));
    is_str(options.arguments[0], "-", "a single dash is an argument");
    options_fini(&options);
    ok(PARSE(&options, "--nonsense", "--help") == false);
    options_fini(&options);
    ok(PARSE(&options, "--help", "--nonsense") && options.help);
    options_fini(&options);
}

static void refuses(const char *one, const char *two, const char *error)
{
    struct options options;
    const char *argv[] = {"test", one, two, NULL};
    bool parsed = options_parse(&options, table, two ? 3 : 2, (char **)(uintptr_t)argv);
    ok(!parsed, "%s %s is refused", one, two ? two : "");
    is_str(options.error, error);
    options_fini(&options);
}

static void test_times(void)
{
    static const char *const times[] = {"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.5+02:00",
                                        "2026-01-02", "1700000000", "0", "1h", "30d"};
    struct options options;
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        ok(PARSE(&options, "--since", times[i]), "--since %s", times[i]);
        options_fini(&options);
    }
    ok(PARSE(&options, "--day", "2024-02-29", "--patience", "1ms"));
    options_fini(&options);
}

static void test_errors(void)
{
    refuses("--dat", "x", "unknown option --dat; did you mean --data?");
    refuses("--tread=1", NULL, "unknown option --tread; did you mean --threads?");
    refuses("--zzzzzzzz", NULL, "unknown option --zzzzzzzz");
    refuses("-x", NULL, "unknown option -x");
    refuses("--data", NULL, "--data wants a value: --data DIR");
    refuses("-d", NULL, "-d wants a value: -d DIR");
    refuses("--threads", "0", "--threads must be between 1 and 64, not 0");
    refuses("--threads", "65", "--threads must be between 1 and 64, not 65");
    refuses("--threads", "-1", "--threads must be a number, not \"-1\"");
    refuses("--threads", "1x", "--threads must be a number, not \"1x\"");
    refuses("--threads", "99999999999999999999999",
            "--threads must be a number, not \"99999999999999999999999\"");
    refuses("--log-level", "loud", "--log-level must be one of error|warn|info, not \"loud\"");
    refuses("--log-level", "error|warn",
            "--log-level must be one of error|warn|info, not \"error|warn\"");
    refuses("--log-level", "", "--log-level is empty; it wants a value: L");
    refuses("--data", "", "--data is empty; it wants a value: DIR");
    refuses("--data=", NULL, "--data is empty; it wants a value: DIR");
    refuses("-d=", NULL, "-d is empty; it wants a value: DIR");
    refuses("--patience", "0", "--patience must be a time of 1ms or more, not \"0\"");
    refuses("--since", "5x",
            "--since must be a time: 2026-01-02T03:04:05Z, 2026-01-02, seconds since 1970, or a "
            "duration before now such as 1h, not \"5x\"");
    refuses("--day", "1700000000", "--day must be a day such as 2026-01-31, not \"1700000000\"");
    refuses("--day", "2026-02-31", "--day must be a day such as 2026-01-31, not \"2026-02-31\"");
    refuses("--wait", "soon", "--wait must be a duration such as 20s, 5m or 24h, not \"soon\"");
    refuses("--room", "12X", "--room must be a size such as 65536, 64K or 16M, not \"12X\"");
    refuses("--force=maybe", NULL, "--force must be true or false, not \"maybe\"");
    struct options options;
    static const struct option required[] = {
        {.name = "file", .kind = OPTION_TEXT, .flags = OPTION_REQUIRED, .argument = "F"},
        {.kind = OPTION_END}};
    char name[] = "test";
    ok(options_parse(&options, required, 1, (char *[]){name, NULL}) && !options_complete(&options));
    is_str(options.error, "--file F is missing");
    options_fini(&options);
}

static void test_bytes(void)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t bytes;
    } cases[] = {
        {"0", true, 0},
        {"65536", true, 65536},
        {"64K", true, 65536},
        {"64k", true, 65536},
        {"64KiB", true, 65536},
        {"64KB", true, 65536},
        {"16M", true, 16 << 20},
        {"1G", true, 1 << 30},
        {"3T", true, 3ULL << 40},
        {"12B", true, 12},
        {"8388607T", true, 8388607ULL << 40},
        {"", false, 0},
        {"K", false, 0},
        {"-1", false, 0},
        {"1.5G", false, 0},
        {"8388608T", false, 0},
        {"18446744073709551616", false, 0},
        {"1Kx", false, 0},
        {"1 K", false, 0},
        {"9223372036854775808", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t bytes = 0;
        ok(option_parse_bytes(cases[i].text, &bytes) == cases[i].good && bytes == cases[i].bytes,
           "size \"%s\"", cases[i].text);
    }
}

static void test_environment(void)
{
    struct options options;
    setenv("BECKET_LOG_LEVEL", "warn", 1);
    setenv("BECKET_THREADS", "", 1);
    setenv("BECKET_DATA", "/env", 1);
    setenv("BECKET_TEST_URL", "http://x", 1);
    setenv("BECKET_WAIT", "5s", 1);
    ok(PARSE(&options, "--data", "line"));
    is_str(option_text(&options, "log-level"), "warn");
    is_str(option_text(&options, "data"), "line", "the line beats the environment");
    ok(!option_given(&options, "threads"), "an empty variable is none");
    is_str(option_text(&options, "server"), "http://x", "a name of its own");
    is_str(option_text(&options, "wait"), "20s", "only options that say so read it");
    options_fini(&options);
    setenv("BECKET_LOG_LEVEL", "loud", 1);
    ok(!PARSE(&options, "a"));
    is_str(options.error, "BECKET_LOG_LEVEL must be one of error|warn|info, not \"loud\"");
    options_fini(&options);
    unsetenv("BECKET_LOG_LEVEL");
    unsetenv("BECKET_DATA");
}

/* Writes the file, parses `--threads 2`, then the file. */
static bool with_file(struct options *options, const char *text)
{
    char path[] = "/tmp/becket-option-XXXXXX";
    int file = mkstemp(path);
    bool read = false;
    if (file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text)) {
        read = PARSE(options, "--threads", "2") && options_file(options, path);
    }
    close(file);
    unlink(path);
    return read;
}

static const char *after_colon(const char *error)
{
    const char *colon = strchr(error, ':');
    return colon ? colon + 1 : error;
}

static void test_file(void)
{
    struct options options;
    ok(with_file(
        &options,
        "# c\ndata: /file\nthreads: 9\nroom: 4096\nforce: true\nheader: [a, b]\nlog-level:\n"));
    is_str(option_text(&options, "data"), "/file");
    is_uint(option_number(&options, "threads"), 2, "the line beats the file");
    is_uint(option_number(&options, "room"), 4096, "a YAML number");
    ok(option_flag(&options, "force"), "a YAML boolean");
    is_uint(option_list_count(&options, "header"), 2);
    is_str(option_text(&options, "log-level"), "info", "null is nothing");
    options_fini(&options);
    ok(!with_file(&options, "data: x\ntreads: 1\n"));
    is_str(after_colon(options.error), "2:9: unknown setting treads; did you mean threads?");
    options_fini(&options);
    ok(!with_file(&options, "wait: 5s\n"), "an option that is not for files");
    options_fini(&options);
    ok(!with_file(&options, "room: 5Q\n"));
    is_str(after_colon(options.error),
           "1: room must be a size such as 65536, 64K or 16M, not \"5Q\"");
    options_fini(&options);
    ok(!with_file(&options, "data: [a, b]\n"));
    is_str(after_colon(options.error), "1: data takes one value, not a list");
    options_fini(&options);
    ok(!with_file(&options, "data: {a: b}\n"));
    options_fini(&options);
    ok(!with_file(&options, "- data\n"));
    options_fini(&options);
    ok(!with_file(&options, "data: \"x\n"));
    options_fini(&options);
    ok(with_file(&options, "# only a comment\n"), "an empty file");
    options_fini(&options);
    ok(PARSE(&options, "a") && !options_file(&options, "/nonexistent/becket.yaml"));
    is_str(options.error, "cannot read the configuration file /nonexistent/becket.yaml: not found");
    options_fini(&options);
}

int main(void)
{
    test_line();
    test_times();
    test_errors();
    test_bytes();
    test_environment();
    test_file();
    return done_testing();
}
