/* Description: the expression language: every operator, what fails and how it says so, where a
 * mistake stands, and that neither a hostile pattern nor a hostile body costs much. */
#include "base/assert.h"
#include "base/buf.h"
#include "http/parse.h"
#include "hub/routes/filter.h"
#include "tap.h"

#include <stdlib.h>
#include <time.h>

static struct filter_scratch *scratch;
static struct http_head head;

static const char body[] =
    "{\"type\":\"invoice.paid\",\"ref\":\"refs/heads/main\",\"amount\":120,\"rate\":1.5,"
    "\"paid\":true,\"nothing\":null,\"big\":9007199254740993,\"huge\":1e400,"
    "\"a\":{\"b\":[10,{\"c\":\"deep\"},[1,2]],\"b c\":\"odd\"},\"tags\":[\"x\",\"y\"],"
    "\"text\":\"Gr\\u00fc\\u00dfe\",\"commit_sha\":\"0123456789abcdef\",\"empty\":{},"
    "\"dup\":1,\"dup\":2,\"n\":-3}";

static const char request[] = "POST /hooks/a HTTP/1.1\r\nHost: a\r\nX-GitHub-Event: push\r\n"
                              "X-Twice: one\r\nX-Twice: two\r\nContent-Length: 0\r\n\r\n";

static struct filter *compile(const char *text, enum filter_kind kind, bool want_bool)
{
    struct filter *filter = NULL;
    struct filter_error error;
    enum bk_err err = filter_compile(slice_str(text), kind, want_bool, &filter, &error);
    if (err != BK_OK) {
        diag("%s: %u:%u: %s", text, error.line, error.column, error.message);
    }
    return err == BK_OK ? filter : NULL;
}

static void event_init(struct filter_event *event, struct slice text)
{
    filter_event_init(event, scratch, &head, text, SLICE("push"), SLICE("repo"));
}

/* The value as text, or "! why". */
static const char *value_of(const char *text, enum filter_kind kind)
{
    static char answer[512];
    struct filter *filter = compile(text, kind, false);
    struct filter_event event;
    struct filter_value value;
    struct slice as_text;
    if (!filter) {
        return "does not compile";
    }
    event_init(&event, slice_of(body, sizeof body - 1));
    if (!filter_evaluate(filter, &event, &value)) {
        snprintf(answer, sizeof answer, "! %s", event.why);
    } else if (value.type == FILTER_NIL) {
        snprintf(answer, sizeof answer, "nil");
    } else if (filter_value_text(&event, &value, &as_text)) {
        snprintf(answer, sizeof answer, "%.*s", (int)as_text.bytes, (const char *)as_text.at);
    } else {
        snprintf(answer, sizeof answer, "%s", value.type == FILTER_LIST ? "list" : "map");
    }
    filter_free(filter);
    return answer;
}

static void values(void)
{
    static const struct {
        const char *text;
        const char *want;
    } cases[] = {
        {"$.type", "invoice.paid"},
        {"type", "invoice.paid"},
        {"$.type startsWith 'invoice.'", "true"},
        {"$.type endsWith \"paid\"", "true"},
        {"$.type contains `voice`", "true"},
        {"$.type contains 'x'", "false"},
        {"'' + $.type contains ''", "true"},
        {"$.type matches '^invoice\\\\.(paid|void)$'", "true"},
        {"$.type matches `^paid`", "false"},
        {"$.ref == 'refs/heads/main'", "true"},
        {"$.ref != 'refs/heads/main'", "false"},
        {"$.amount > 100 and $.amount <= 120", "true"},
        {"$.amount < 100 || $.paid", "true"},
        {"not ($.amount < 100)", "true"},
        {"!$.paid", "false"},
        {"$.a.b[0]", "10"},
        {"$.a.b[1].c", "deep"},
        {"$.a.b[-1][1]", "2"},
        {"$['a']['b c']", "odd"},
        {"$.a['b' + ' c']", "odd"},
        {"$.missing", "nil"},
        {"$.missing == nil", "true"},
        {"$.nothing == null", "true"},
        {"$.missing.more", "! cannot take \"more\" of nothing"},
        {"$.missing?.more", "nil"},
        {"$.missing?.more.and.more[1]", "nil"},
        {"$.missing?[1]", "nil"},
        {"($.missing?.more).less", "! cannot take \"less\" of nothing"},
        {"$.missing ?? 'default'", "default"},
        {"$.missing?.x ?? $.a?.none ?? 7", "7"},
        {"$.type ?? 'default'", "invoice.paid"},
        {"$.paid ? 'yes' : 'no'", "yes"},
        {"$.amount > 500 ? 'a' : $.amount > 100 ? 'b' : 'c'", "b"},
        {"commit_sha[0:7]", "0123456"},
        {"commit_sha[7:]", "789abcdef"},
        {"commit_sha[:3]", "012"},
        {"commit_sha[-3:]", "def"},
        {"commit_sha[10:2]", ""},
        {"$.a.b[1:][0].c", "deep"},
        {"len(tags[1:5])", "1"},
        {"len($.text)", "5"},
        {"len(tags) + len($.a)", "4"},
        {"len($)", "16"},
        {"'x' in tags", "true"},
        {"'z' not in tags", "true"},
        {"'x' not in tags", "false"},
        {"$.amount in [1, 120.0, 'a']", "true"},
        {"$.a.b[2] == [1, 2.0]", "true"},
        {"$.a.b[2] in [[1], [1,2]]", "true"},
        {"$.empty == {}['x']", "does not compile"},
        {"$.a == $.a", "true"},
        {"$.a == $.empty", "false"},
        {"'type' in $", "true"},
        {"'typo' in $", "false"},
        {"1 in nil", "false"},
        {"'a' in 'abc'", "! `in` wants a list or a map; for text write: text contains part"},
        {"tags contains 'x'", "! contains wants two texts, not a list and text; for a list write: "
                              "item in list"},
        {"1 + 2 * 3 - 4", "3"},
        {"(1 + 2) * 3", "9"},
        {"7 / 2", "3.5"},
        {"7 % 4", "3"},
        {"7 % 0", "! % wants two whole numbers, the second not 0"},
        {"1 / 0", "! division by 0"},
        {"-$.n", "3"},
        {"-2 - -3", "1"},
        {"9223372036854775807 + 1", "! the number does not fit 64 bits"},
        {"$.big == 9007199254740993", "true"},
        {"$.big == 9007199254740992.0", "false"},
        {"$.big > 9007199254740992.0", "true"},
        {"$.huge > 1e308", "true"},
        {"$.rate > 1 and 1 < $.rate and $.rate != 1 and -1.5 < -1 and not (-1.5 == -1)", "true"},
        {"-9223372036854775808.0 == -9223372036854775807 - 1", "true"},
        {"-9223372036854777856.0 < -9223372036854775807 - 1", "true"},
        {"(-9223372036854775807 - 1) % -1", "0"},
        {"(-9223372036854775807 - 1) * -1", "! the number does not fit 64 bits"},
        {"'abc'[-9:2] + 'abc'[-2:] + 'abc'[2:9] + 'abc'[2:1]", "abbcc"},
        {"[1,2,3][-9:][0]", "1"},
        {"$.huge > 9223372036854775807", "true"},
        {"0x1f + 1_000", "1031"},
        {".5 + 1e1", "10.5"},
        {"0.1 + 0.2", "0.30000000000000004"},
        {"'a' < 'b'", "true"},
        {"'a' < 1", "! cannot tell which is more: text and a number"},
        {"'1' == 1", "false"},
        {"lower('ÄbC') + upper('x') + trim('  y ')", "ÄbcXy"},
        {"string(12) + string(true) + string(1.5) + string(nil)", "12true1.5"},
        {"int('42') + int(1.9)", "43"},
        {"int('x')", "! int: the text is no number"},
        {"float('1e2')", "100"},
        {"'\\u00e4\\x41\\n'", "äA\n"},
        {"$.dup", "2"},
        {"1 and true", "does not compile"},
        {"$.amount and true", "! a condition must be true or false, not a number"},
        {"true and $.amount", "! a condition must be true or false, not a number"},
        {"false and $.missing.more", "false"},
        {"true or $.missing.more", "true"},
        {"false or true and false", "false"},
        {"true or false and false", "true"},
        {"not false and false", "false"},
        {"$.a.b[7]", "! there is no element 7 in a list of 3"},
        {"$.a['b'].c", "! cannot take \"c\" of a list"},
        {"$.a[1]", "! a field's name must be text, not a number"},
        {"tags['x']", "! a list's index must be a whole number, not text"},
        {"$headers['host'] + $type + $source", "apushrepo"},
        {"$", "map"},
        {"[1,2,3]", "list"},
        {"[1,2,3][1]", "2"},
        {"[1,2,3][1:][0]", "2"},
        {"$.ref not startsWith 'refs/tags/'", "true"},
    };
    for (size_t i = 0; i < bk_array_length(cases); i++) {
        is_str(value_of(cases[i].text, FILTER_DATA), cases[i].want, "%s", cases[i].text);
    }
    static const struct {
        const char *text;
        const char *want;
    } header_cases[] = {
        {"headers['X-GitHub-Event'] == 'push'", "true"},
        {"headers['x-github-event'] == 'push'", "true"},
        {"headers.host", "a"},
        {"headers['X-Twice']", "one"},
        {"headers['none']", "nil"},
        {"'HOST' in headers", "true"},
        {"'none' in headers", "false"},
        {"len(headers)", "5"},
        {"type == 'push' and source == 'repo'", "true"},
    };
    for (size_t i = 0; i < bk_array_length(header_cases); i++) {
        is_str(value_of(header_cases[i].text, FILTER_HEADER), header_cases[i].want, "%s",
               header_cases[i].text);
    }
}

static void mistakes(void)
{
    static const struct {
        enum filter_kind kind;
        const char *text;
        unsigned line, column;
        const char *word; /* in the message */
    } cases[] = {
        {FILTER_DATA, "", 1, 1, "empty"},
        {FILTER_DATA, "  ", 1, 3, "empty"},
        {FILTER_DATA, "$.a = 1", 1, 5, "=="},
        {FILTER_DATA, "$.a & true", 1, 5, "&& or and"},
        {FILTER_DATA, "$.a ==", 1, 7, "the end"},
        {FILTER_DATA, "$.a\n  == 'x", 2, 6, "no closing '"},
        {FILTER_DATA, "($.a == 1", 1, 10, "close the bracket"},
        {FILTER_DATA, "$.a == 1)", 1, 9, "\")\""},
        {FILTER_DATA, "$.a contain 'x'", 1, 5, "did you mean contains"},
        {FILTER_DATA, "$.a + 1", 1, 1, "is a comparison missing"},
        {FILTER_DATA, "$.a == 1 and 'x'", 1, 14, "this is text"},
        {FILTER_DATA, "len($.a, 2) == 1", 1, 8, "one argument"},
        {FILTER_DATA, "lenn($.a) == 1", 1, 1, "no function lenn"},
        {FILTER_DATA, "$.a matches '('", 1, 15, "regular expression"},
        {FILTER_DATA, "$.a matches $.b", 1, 13, "in quotes"},
        {FILTER_DATA, "$.a matches `(a)\\1`", 1, 14, "back references"},
        {FILTER_DATA, "$a == 1", 1, 1, "$.a"},
        {FILTER_DATA, "$.a == 12abc", 1, 8, "no number"},
        {FILTER_DATA, "$.a == 99999999999999999999", 1, 8, "64 bits"},
        {FILTER_DATA, "$.a == '\\q'", 1, 9, "escape"},
        {FILTER_DATA, "$. == 1", 1, 4, "after the dot"},
        {FILTER_DATA, "$.a == #", 1, 8, "character #"},
        {FILTER_DATA, "$.a[1 == 2", 1, 11, "expected ]"},
        {FILTER_DATA, "true ? 1", 1, 9, "expected :"},
        {FILTER_DATA, "not $.a contains 'x'", 1, 1, "not (a contains b)"},
        {FILTER_DATA, "$.a.startsWith('b')", 1, 15, "nothing is called with a dot"},
        {FILTER_DATA, "contains($.a, 'b')", 1, 1, "stands between two"},
        {FILTER_DATA, "$.a in ('b', 'c')", 1, 12, "a list stands in [ ]"},
        {FILTER_DATA, "$.a =~ 'b'", 1, 5, "matches"},
        {FILTER_DATA, "$.a <> 1", 1, 5, "!="},
        {FILTER_DATA, "$.a IS null", 1, 5, "did you mean ==?"},
        {FILTER_HEADER, "headers.X-Event == 'a'", 1, 11, "headers['X-Name']"},
        {FILTER_HEADER, "$.a == 1", 1, 1, "FILTER_TYPE_DATA"},
        {FILTER_HEADER, "header.x == 1", 1, 1, "headers, type and source"},
    };
    for (size_t i = 0; i < bk_array_length(cases); i++) {
        struct filter *filter = NULL;
        struct filter_error error;
        enum bk_err err =
            filter_compile(slice_str(cases[i].text), cases[i].kind, true, &filter, &error);
        is_int(err, BK_INVALID, "refused: %s", cases[i].text);
        ok(error.line == cases[i].line && error.column == cases[i].column, "at %u:%u (%u:%u)",
           cases[i].line, cases[i].column, error.line, error.column);
        ok(strstr(error.message, cases[i].word) != NULL, "says %s: %s", cases[i].word,
           error.message);
    }
    char deep[2048];
    struct filter *filter;
    struct filter_error error;
    memset(deep, '(', sizeof deep);
    is_int(filter_compile(slice_of(deep, sizeof deep), FILTER_DATA, true, &filter, &error),
           BK_INVALID, "two thousand brackets");
    memset(deep, '!', sizeof deep);
    is_int(filter_compile(slice_of(deep, sizeof deep), FILTER_DATA, true, &filter, &error),
           BK_INVALID, "two thousand negations");
    for (size_t i = 0; i < sizeof deep; i += 2) {
        memcpy(deep + i, "1+", 2);
    }
    deep[sizeof deep - 1] = '1';
    is_int(filter_compile(slice_of(deep, sizeof deep), FILTER_DATA, false, &filter, &error),
           BK_INVALID, "too many operators");
    ok(strstr(error.message, "too long") != NULL, "says so: %s", error.message);
}

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* `text` as a JSON string is the body; the sanitizers make it slower. */
static void hostile_pattern(const char *pattern, const char *unit, size_t times, bool may_match)
{
    char expression[256];
    size_t bytes = strlen(unit) * times;
    char *text = malloc(bytes + 32);
    struct filter_event event;
    text[0] = '"';
    for (size_t i = 0; i < times; i++) {
        memcpy(text + 1 + i * strlen(unit), unit, strlen(unit));
    }
    memcpy(text + 1 + bytes, "!\"", 3);
    snprintf(expression, sizeof expression, "$ matches `%s`", pattern);
    struct filter *filter = compile(expression, FILTER_DATA, true);
    event_init(&event, slice_of(text, bytes + 3));
    uint64_t before = cpu_ns();
    enum filter_result result = filter_test(filter, &event);
    uint64_t took = cpu_ns() - before;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    bool quick = took < 1000000000U;
#else
    bool quick = took < 100000000U;
#endif
    ok(quick, "%s on %zu bytes: %.2f ms, %s", pattern, bytes, (double)took / 1e6,
       result == FILTER_FAILED ? event.why : "done");
    ok(may_match || result != FILTER_TRUE, "does not match");
    filter_free(filter);
    free(text);
}

static void hostile(void)
{
    hostile_pattern("(a+)+$", "a", 50000, false);
    hostile_pattern("^(a|aa)+$", "a", 50000, false);
    hostile_pattern("(.*)*x", "a", 50000, false);
    hostile_pattern("a*a*a*a*a*x$", "a", 50000, false);
    hostile_pattern("x.*y", "x", 50000, false);
    hostile_pattern("(?=(a+))a*b", "a", 50000, false);
    hostile_pattern("[a-z]+[0-9]+$", "ab", 500000, false);
    hostile_pattern("!$", "a", 1000000, true);
    /* One event with many filters has one budget. */
    struct filter *filter = compile("$ matches `(a+)+$`", FILTER_DATA, true);
    static char text[20003];
    struct filter_event event;
    memset(text, 'a', sizeof text);
    text[0] = text[sizeof text - 1] = '"';
    text[sizeof text - 2] = '!';
    event_init(&event, slice_of(text, sizeof text));
    uint64_t before = cpu_ns();
    for (unsigned i = 0; i < 10000; i++) {
        bk_assert(filter_test(filter, &event) == FILTER_FAILED);
    }
    diag("ten thousand hostile filters on one event: %.2f ms", (double)(cpu_ns() - before) / 1e6);
    ok(cpu_ns() - before < 2000000000U, "ten thousand of them for one event: one budget");
    filter_free(filter);
}

static enum filter_result test_body(const char *expression, struct slice text, char *ret_why)
{
    struct filter *filter = compile(expression, FILTER_DATA, true);
    struct filter_event event;
    event_init(&event, text);
    enum filter_result result = filter_test(filter, &event);
    snprintf(ret_why, FILTER_WHY_BYTES, "%s", event.why);
    filter_free(filter);
    return result;
}

static enum filter_result test_form(const char *expression, const char *type, const char *text,
                                    char *ret_why)
{
    char text_of_head[200];
    struct http_head form;
    struct filter_event event;
    struct filter *filter = compile(expression, FILTER_DATA, true);
    int bytes = snprintf(text_of_head, sizeof text_of_head,
                         "POST /hooks/a HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\n\r\n", type);
    bk_assert(http_parse_request((const uint8_t *)text_of_head, (size_t)bytes, &form) ==
              HTTP_PARSE_DONE);
    filter_event_init(&event, scratch, &form, slice_str(text), SLICE("x"), SLICE("y"));
    enum filter_result result = filter_test(filter, &event);
    snprintf(ret_why, FILTER_WHY_BYTES, "%s", event.why);
    filter_free(filter);
    return result;
}

/* Of a form its fields, each a text. */
static void forms(void)
{
    static const char form[] = "application/x-www-form-urlencoded";
    static const struct {
        const char *expression, *text;
        enum filter_result result;
    } cases[] = {
        {"$.command == '/deploy' and $.text == 'web now'", "command=%2Fdeploy&text=web+now",
         FILTER_TRUE},
        {"$.From == '+14158675309' and $.n == '1' and $.n != 1", "n=1&From=%2B14158675309",
         FILTER_TRUE},
        {"$.a == 'x\"\\\\y\\n' and $['b c'] == ''", "a=x%22%5Cy%0a&b+c&&", FILTER_TRUE},
        {"$.a == '2' and $.a == $['a']", "a=1&a=2", FILTER_TRUE},
        {"$.payload == '{}' and $.b == '='", "payload=%7B%7D&b==", FILTER_TRUE},
        {"$.a == 'ü'", "a=%C3%BC", FILTER_TRUE},
        {"$.a == nil", "=", FILTER_TRUE},
        {"$.a == nil", "&", FILTER_TRUE},
        {"$.a == 1", "payload=%7B%22a%22:1}", FILTER_TRUE},
        {"$.a == '\\x00'", "a=%00", FILTER_TRUE},
        {"$.a == '\xef\xbf\xbd'", "a=%ff", FILTER_TRUE},
        /* A '%' that is none of an escape: as in the URL Standard, Python, PHP, querystring. */
        {"$.a == '100%' and $.b == '%f'", "a=100%&b=%f", FILTER_TRUE},
        {"$.a == '%zz x%4' and $['%'] == '1'", "a=%zz%20x%4&%=1", FILTER_TRUE},
        {"$.a == '%%41%'", "a=%%%341%", FILTER_TRUE},
    };
    char why[FILTER_WHY_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        is_int(test_form(cases[i].expression, form, cases[i].text, why), cases[i].result,
               "%s of %s: %s", cases[i].expression, cases[i].text, why);
    }
    is_int(test_form("$.a == '1'", "Application/X-WWW-form-urlencoded ; charset=UTF-8", "a=1", why),
           FILTER_TRUE, "in any case: %s", why);
    is_int(test_form("$.a == '1'", "text/plain", "a=1", why), FILTER_FAILED, "said to be one: %s",
           why);
}

static void bodies(void)
{
    char why[FILTER_WHY_BYTES];
    is_int(test_body("$.a == 1", SLICE("{\"a\":1"), why), FILTER_FAILED, "cut JSON");
    ok(strstr(why, "not JSON"), "says so: %s", why);
    is_int(test_body("$.a == 1", SLICE_EMPTY, why), FILTER_FAILED, "no body: %s", why);
    is_int(test_body("true", SLICE("nonsense"), why), FILTER_TRUE, "a body nobody asks for");
    is_int(test_body("$ == 5", SLICE(" 5 "), why), FILTER_TRUE, "a scalar");
    is_int(test_body("$ == 5", SLICE("NaN"), why), FILTER_FAILED, "NaN: %s", why);
    is_int(test_body("$.a == 5", SLICE("\xef\xbb\xbf{}"), why), FILTER_FAILED, "BOM: %s", why);
    /* What the receiver's parser keeps of a name that is there twice. */
    is_int(test_body("$.a == 2", SLICE("{\"a\":1,\"b\":3,\"a\":2}"), why), FILTER_TRUE, "twice");
    is_int(test_body("$['a'].b ?? 0 == 0", SLICE("{\"a\":{\"b\":1},\"\\u0061\":{}}"), why),
           FILTER_TRUE, "twice, once escaped: %s", why);
    is_int(test_body("$.p == $.q", SLICE("{\"p\":{\"a\":1,\"a\":2},\"q\":{\"a\":2,\"a\":2}}"), why),
           FILTER_TRUE, "and in maps that are compared");
    /* A form's one field `payload`. */
    is_int(test_body("$.a == 'b c+'", SLICE("payload=%7B%22a%22%3a%22b+c%2B%22}"), why),
           FILTER_TRUE, "a form: %s", why);
    is_int(test_body("a == 'b'", SLICE("payload={\"a\":\"b\"}"), why), FILTER_TRUE, "all plain");
    is_int(test_body("$.a == 1", SLICE("payload=%7b%22a%22:1}&b=1"), why), FILTER_FAILED, "two: %s",
           why);
    forms();
    is_int(test_body("$.a == '5%'", SLICE("payload={%22a%22:\"5%\"}"), why), FILTER_TRUE,
           "a %% alone: %s", why);
    is_int(test_body("$ == ''", SLICE("payload="), why), FILTER_FAILED, "of nothing: %s", why);
    is_int(test_body("$ == 1", SLICE("payload=%00"), why), FILTER_FAILED, "a NUL: %s", why);
    is_int(test_body("$ == '\\u0000'", SLICE("\"\\u0000\""), why), FILTER_TRUE, "a NUL in text");
    is_int(test_body("$ == 'x'", SLICE("\"\\ud800\""), why), FILTER_FAILED, "half a surrogate");
    static char deep[200000];
    memset(deep, '[', sizeof deep);
    is_int(test_body("$ == 1", slice_of(deep, sizeof deep), why), FILTER_FAILED, "deep, cut: %s",
           why);
    memset(deep + sizeof deep / 2, ']', sizeof deep / 2);
    is_int(test_body("$ == $", slice_of(deep, sizeof deep), why), FILTER_FAILED,
           "a hundred thousand deep, compared: %s", why);
    is_int(test_body("len($) == 1", slice_of(deep, sizeof deep), why), FILTER_TRUE,
           "and only looked at");
    size_t bytes = 32U << 20;
    char *large = malloc(bytes);
    memset(large, '[', bytes);
    memset(large + bytes / 2, ']', bytes / 2);
    is_int(test_body("len($) == 1", slice_of(large, bytes), why), FILTER_FAILED, "32 MiB of [: %s",
           why);
    free(large);
}

/* What was looked at before costs an event nothing; a look at a map costs by its size. */
static void steps(void)
{
    static char text[1000000];
    char why[FILTER_WHY_BYTES];
    struct buf map, many;
    memset(text, 'a', sizeof text);
    text[0] = text[sizeof text - 1] = '"';
    text[sizeof text - 2] = 'b';
    is_int(test_body("$ matches 'b'", slice_of(text, sizeof text), why), FILTER_TRUE,
           "a long text");
    is_int(test_body("$ matches 'a'", SLICE("\"a\""), why), FILTER_TRUE, "then a short one: %s",
           why);
    buf_init(&map, 8U << 20);
    buf_init(&many, 4096);
    buf_add_str(&map, "{\"x\":0");
    for (unsigned i = 0; i < 300000; i++) {
        buf_printf(&map, ",\"k%u\":0", i);
    }
    buf_add_byte(&map, '}');
    buf_add_str(&many, "$.x == 0");
    is_int(test_body(buf_text(&many), buf_slice(&map), why), FILTER_TRUE, "a large map: %s", why);
    for (unsigned i = 0; i < 30; i++) {
        buf_add_str(&many, " and $.x == 0");
    }
    is_int(test_body(buf_text(&many), buf_slice(&map), why), FILTER_FAILED, "thirty times: %s",
           why);
    buf_fini(&many);
    buf_fini(&map);
}

static void sets(void)
{
    struct filter *filters[2] = {
        compile("$.amount > 1000", FILTER_DATA, true),
        compile("headers['x-github-event'] == 'push'", FILTER_HEADER, true)};
    struct slice types[2] = {SLICE("issue.*"), SLICE("push")};
    struct filter_set *set = filter_set_make(filters, 2, true, types, 2);
    struct filter_event event;
    event_init(&event, slice_of(body, sizeof body - 1));
    is_int(filter_set_test(set, &event), FILTER_TRUE, "any of two");
    set->any = false;
    is_int(filter_set_test(set, &event), FILTER_FALSE, "all of two");
    event.type = SLICE("issue.opened");
    set->any = true;
    is_int(filter_set_test(set, &event), FILTER_TRUE, "a type with a star");
    event.type = SLICE("issue");
    is_int(filter_set_test(set, &event), FILTER_FALSE, "another type");
    filter_set_free(set);
    for (unsigned any = 0; any < 2; any++) {
        set = filter_set_make(NULL, 0, any, NULL, 0);
        is_int(filter_set_test(set, &event), FILTER_TRUE, "nothing asked");
        filter_set_free(set);
        filters[0] = compile("$.missing.more == 1", FILTER_DATA, true);
        filters[1] = compile("true", FILTER_DATA, true);
        set = filter_set_make(filters, 2, any, NULL, 0);
        is_int(filter_set_test(set, &event), FILTER_FAILED, "the first failure is the result");
        filter_set_free(set);
    }
}

static void cost(void)
{
    struct filter *filter =
        compile("$.type startsWith 'invoice.' and $.amount > 100", FILTER_DATA, true);
    struct filter_event event;
    event_init(&event, slice_of(body, sizeof body - 1));
    bk_assert(filter_test(filter, &event) == FILTER_TRUE);
    uint64_t before = cpu_ns();
    for (unsigned i = 0; i < 100000; i++) {
        event.steps_left = FILTER_EVENT_STEPS_MAX;
        filter_test(filter, &event);
    }
    diag("two conditions on a parsed body: %.0f ns", (double)(cpu_ns() - before) / 1e5);
    before = cpu_ns();
    for (unsigned i = 0; i < 100000; i++) {
        event_init(&event, slice_of(body, sizeof body - 1));
        filter_test(filter, &event);
    }
    diag("with parsing %zu bytes: %.0f ns", sizeof body - 1, (double)(cpu_ns() - before) / 1e5);
    filter_free(filter);
}

int main(void)
{
    bk_assert(http_parse_request((const uint8_t *)request, sizeof request - 1, &head) ==
              HTTP_PARSE_DONE);
    ok(filter_scratch_open(FILTER_SCRATCH_BYTES, &scratch) == BK_OK, "scratch opens");
    values();
    mistakes();
    hostile();
    bodies();
    steps();
    sets();
    cost();
    filter_scratch_close(scratch);
    return done_testing();
}
