/* JSON text into trees with places, and back. */
#include "base/assert.h"
#include "base/json.h"
#include "base/json_escape.h"
#include "tests/tap.h"

#include <yyjson.h>

static struct json_tree tree;
static struct json_problem problem;

static enum bk_err parse(const char *text)
{
    json_tree_fini(&tree);
    json_tree_init(&tree);
    return json_parse(slice_str(text), &tree, &problem);
}

static const char *written(void)
{
    static char text[4096];
    struct buf buf;
    buf_init(&buf, 1 << 20);
    json_add_value(&buf, tree.roots[0]);
    snprintf(text, sizeof text, "%s", buf_text(&buf));
    buf_fini(&buf);
    return text;
}

static void round_trip(const char *text, const char *want)
{
    if (is_int(parse(text), BK_OK, "%s is accepted", text)) {
        is_str(written(), want ? want : text, "%s is written", text);
    }
}

static void refused(const char *text, enum bk_err err, unsigned line, unsigned column)
{
    is_int(parse(text), err, "refused: %.60s", text);
    is_uint(problem.place.line, line, "  line of %.60s", text);
    is_uint(problem.place.column, column, "  column of %.60s", text);
    ok(problem.message[0] != '\0', "  says why: %s", problem.message);
}

static void test_values(void)
{
    round_trip("{\"a\":[1,-2,3.5,true,false,null,\"x\"],\"b\":{}}", NULL);
    round_trip(" [ ] ", "[]");
    round_trip("\"\\u00e9\\ud83d\\ude00\"", "\"\xc3\xa9\xf0\x9f\x98\x80\"");
    round_trip("\"a\\u0000b\\n\\\"\\\\\"", "\"a\\u0000b\\n\\\"\\\\\"");
    round_trip("18446744073709551615", NULL);
    round_trip("9007199254740993", NULL);
    round_trip("-9223372036854775808", NULL);
}

static void test_refusals(void)
{
    refused("{\"a\":1,\"a\":2}", BK_INVALID, 1, 8);
    refused("{\n \"a\": nope}", BK_INVALID, 2, 7);
    refused("[1,]", BK_INVALID, 1, 3);
    refused("1e400", BK_INVALID, 1, 1);
    refused("[NaN]", BK_INVALID, 1, 2);
    refused("\"\\ud800\"", BK_INVALID, 1, 8);
    refused("\"\xff\"", BK_INVALID, 1, 2);
    refused("{} x", BK_INVALID, 1, 4);
    refused("", BK_INVALID, 1, 1);
}

static void test_depth(void)
{
    char *deep = malloc(100001);
    memset(deep, '[', 100000);
    deep[100000] = '\0';
    is_int(parse(deep), BK_TOO_LARGE, "100000 brackets");
    is_uint(problem.place.column, 65, "  at the first one too many");
    memset(deep + 64, ']', 64);
    deep[128] = '\0';
    is_int(parse(deep), BK_OK, "64 levels are fine");
    free(deep);
    is_int(parse("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[\""),
           BK_OK, "brackets in a string do not count");
}

static void test_places(void)
{
    is_int(parse("{\n  \"name\": \"x\",\n  \"list\": [1,\n    {\"\xc3\xa9\": true}]\n}"), BK_OK);
    yyjson_mut_val *list = yyjson_mut_obj_get(tree.roots[0], "list");
    yyjson_mut_val *inner = yyjson_mut_obj_get(yyjson_mut_arr_get(list, 1), "\xc3\xa9");
    is_uint(json_place(list).line, 3, "line of the list");
    is_uint(json_place(list).column, 11, "column of the list");
    is_uint(json_place(yyjson_mut_arr_get(list, 1)).line, 4, "line of the object in it");
    is_uint(json_place(inner).line, 4, "line of its value");
    is_uint(json_place(inner).column, 11, "columns count characters");
}

static void test_sizes(void)
{
    size_t bytes = (8U << 20) + 1;
    char *text = malloc(bytes + 1);
    memset(text, ' ', bytes);
    text[bytes] = '\0';
    text[0] = '1';
    is_int(parse(text), BK_TOO_LARGE, "over 8 MiB");
    memset(text, ',', bytes);
    text[0] = '[';
    text[bytes - 1] = '\0';
    is_int(parse(text), BK_TOO_LARGE, "over a million values");
    memset(text, ' ', bytes);
    text[0] = '1';
    json_tree_fini(&tree);
    json_tree_init(&tree);
    json_tree_enlarge(&tree, 2);
    is_int(json_parse(slice_of(text, bytes), &tree, &problem), BK_OK, "over 8 MiB, where it may");
    text[0] = '[';
    for (unsigned i = 1; i < 2 * 1100000; i += 2) {
        memcpy(text + i, "1,", 2);
    }
    memcpy(text + 2 * 1100000, "1]", 2);
    json_tree_fini(&tree);
    json_tree_init(&tree);
    json_tree_enlarge(&tree, 2);
    is_int(json_parse(slice_of(text, bytes), &tree, &problem), BK_OK,
           "over a million values, where there may be: %s", problem.message);
    free(text);
}

static void test_many_keys(void)
{
    struct buf buf;
    buf_init(&buf, 8U << 20);
    buf_add_str(&buf, "{");
    for (unsigned i = 0; i < 100000; i++) {
        buf_printf(&buf, "\"k%u\":1,", i);
    }
    buf_add_str(&buf, "\"k5\":2}");
    is_int(parse(buf_text(&buf)), BK_INVALID, "the one duplicate among 100000 keys is found");
    ok(strstr(problem.message, "\"k5\"") != NULL, "and named: %s", problem.message);
    buf_fini(&buf);
}

static void test_string_writer(void)
{
    struct buf buf;
    buf_init(&buf, 4096);
    json_add_string(&buf, SLICE("a\xff\xed\xa0\x80\xc0\x80\x1b\x7f\xe2\x82\xac"));
    is_str(buf_text(&buf),
           "\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
           "\\u001b\\u007f\xe2\x82\xac\"",
           "bytes that are no UTF-8 become U+FFFD, controls are escaped");
    buf_fini(&buf);
}

/* Where room is known and nothing is hidden. */
static void test_escape(void)
{
    static const struct {
        struct slice text, escaped;
    } cases[] = {
        {SLICE(""), SLICE("")},
        {SLICE("plain \xc3\xa9 \xf0\x9f\x90\x9f"), SLICE("plain \xc3\xa9 \xf0\x9f\x90\x9f")},
        {SLICE("\"\\/"), SLICE("\\\"\\\\/")},
        {SLICE("\0\n\x1f\x7f"), SLICE("\\u0000\\u000a\\u001f\\u007f")},
        {SLICE("\xff"
               "a\xc3"),
         SLICE("\xef\xbf\xbd"
               "a\xef\xbf\xbd")},
        {SLICE("\xed\xa0\x80"), SLICE("\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd")},
    };
    for (size_t i = 0; i < bk_array_length(cases); i++) {
        uint8_t out[JSON_ESCAPED_MAX * 16];
        size_t bytes = json_escape(cases[i].text, out);
        ok(slice_equal(slice_of(out, bytes), cases[i].escaped), "%.*s", (int)bytes,
           (const char *)out);
    }
}

int main(void)
{
    test_values();
    test_refusals();
    test_depth();
    test_places();
    test_sizes();
    test_many_keys();
    test_string_writer();
    json_tree_fini(&tree);
    test_escape();
    return done_testing();
}
