/* YAML into trees: the core schema, its limits, places, and writing. */
#include "base/yaml.h"
#include "tests/tap.h"

#include <sys/resource.h>
#include <time.h>

static struct json_tree tree;
static struct json_problem problem;

static enum bk_err parse_slice(struct slice text)
{
    json_tree_fini(&tree);
    json_tree_init(&tree);
    return yaml_parse(text, &tree, &problem);
}

static enum bk_err parse(const char *text)
{
    return parse_slice(slice_str(text));
}

static const char *as_json(size_t index)
{
    static char text[65536];
    struct buf buf;
    buf_init(&buf, 1 << 20);
    if (index < tree.count) {
        json_add_value(&buf, tree.roots[index]);
    }
    snprintf(text, sizeof text, "%s", buf_text(&buf));
    buf_fini(&buf);
    return text;
}

static void means(const char *yaml, const char *json)
{
    if (is_int(parse(yaml), BK_OK, "accepted: %.70s", yaml)) {
        is_str(as_json(0), json, "means %s", json);
    } else {
        diag("%u:%u %s", problem.place.line, problem.place.column, problem.message);
    }
}

static void refused(const char *yaml, enum bk_err err, unsigned line, unsigned column,
                    const char *part)
{
    is_int(parse(yaml), err, "refused: %.70s", yaml);
    is_uint(problem.place.line, line, "  line");
    is_uint(problem.place.column, column, "  column");
    ok(strstr(problem.message, part) != NULL, "  says '%s': %s", part, problem.message);
}

static void test_schema(void)
{
    means("[true, false, True, FALSE]", "[true,false,true,false]");
    means("[on, off, yes, no, y, n, On]", "[\"on\",\"off\",\"yes\",\"no\",\"y\",\"n\",\"On\"]");
    means("[null, ~, Null]", "[null,null,null]");
    means("a:\nb: ''\n", "{\"a\":null,\"b\":\"\"}");
    means("[1, -2, +3, 0x1F, 0o17, 007, 1_000]", "[1,-2,3,31,15,7,\"1_000\"]");
    means("[1.5, .5, 1., 1e3, 1.2.3, 12:30, 2026-01-02]",
          "[1.5,0.5,1.0,1000.0,\"1.2.3\",\"12:30\",\"2026-01-02\"]");
    means("['1', \"true\", 'null', \"0x10\"]", "[\"1\",\"true\",\"null\",\"0x10\"]");
    means("[18446744073709551615, -9223372036854775808]",
          "[18446744073709551615,-9223372036854775808]");
    means("[!!str 1, !!int \"7\", !!bool 'true', !!null '', !!float 1.5]",
          "[\"1\",7,true,null,1.5]");
    means("{1: a, true: b, ~: c}", "{\"1\":\"a\",\"true\":\"b\",\"~\":\"c\"}");
    means("text: |\n  two\n  lines\nfolded: >-\n  one\n  line\n",
          "{\"text\":\"two\\nlines\\n\",\"folded\":\"one line\"}");
    means("\xef\xbb\xbf"
          "a: 1\n",
          "{\"a\":1}");
}

static void test_anchors(void)
{
    means("a: &x {k: [1, 2]}\nb: *x\nc: &s text\nd: *s\n",
          "{\"a\":{\"k\":[1,2]},\"b\":{\"k\":[1,2]},\"c\":\"text\",\"d\":\"text\"}");
    means("- &x 1\n- *x\n- &x 2\n- *x\n", "[1,1,2,2]");
    refused("a: *nope\n", BK_INVALID, 1, 4, "no anchor");
    refused("a: 1\nb: 2\n\xc3\xa4: \"x\ay\"\n", BK_INVALID, 3, 6, "control characters");
    refused("a: 1\nb: \xff\n", BK_INVALID, 2, 4, "UTF-8");
    refused("\xef\xbb\xbf"
            "a: \a\n",
            BK_INVALID, 1, 4, "control characters");
    refused("a: &x [*x]\n", BK_INVALID, 1, 8, "no anchor");
    refused("a: &x 1\n---\nb: *x\n", BK_INVALID, 3, 4, "no anchor");
    refused("x: &a {k: 1}\ny:\n  <<: *a\n", BK_INVALID, 3, 3, "merge keys");
    refused("a: &x k\n*x : 2\n", BK_INVALID, 2, 1, "alias");
}

static void test_refusals(void)
{
    refused("a: 1\nb: 2\na: 3\n", BK_INVALID, 3, 1, "\"a\" is there twice");
    refused("{\"a\": 1, a: 2}", BK_INVALID, 1, 10, "twice");
    refused("a: !!python/object x\n", BK_INVALID, 1, 4, "python");
    refused("a: !thing {b: 1}\n", BK_INVALID, 1, 4, "not allowed");
    refused("a: !!int x\n", BK_INVALID, 1, 4, "tag");
    refused("a: .inf\n", BK_INVALID, 1, 4, "infinity");
    refused("a: -.INF\n", BK_INVALID, 1, 4, "infinity");
    refused("a: 1e999\n", BK_INVALID, 1, 4, "range");
    refused("? [a, b]\n: 1\n", BK_INVALID, 1, 3, "key");
    refused("a: [1, 2\nb: 3\n", BK_INVALID, 1, 4, "this [ is not closed");
    refused("a: {b: 1\nc: 3\n", BK_INVALID, 1, 4, "this { is not closed");
    refused("a: 'open\n", BK_INVALID, 1, 4, "this quote is not closed");
    refused("a: 1\nb: \"open\n---\nc: 1\n", BK_INVALID, 2, 4, "this quote is not closed");
    refused("a: @b\n", BK_INVALID, 1, 4, "put it in quotes");
    refused("a: %b\n", BK_INVALID, 1, 4, "put it in quotes");
    refused("a: b: c\n", BK_INVALID, 1, 5, "a second `: `");
    refused("a:\n  b: 1\n c: 2\n", BK_INVALID, 3, 2, "the indentation does not fit");
    refused("a:\n  - b\n c\n", BK_INVALID, 3, 2, "the indentation");
    refused("a: |\nb\nc: 1\n", BK_INVALID, 2, 1, "is a colon missing");
    refused("a: 1\nb\n", BK_INVALID, 2, 1, "is a colon missing");
    refused("a: [1, ]]\n", BK_INVALID, 1, 9, "the indentation does not fit");
    refused("a: {{ .x }}\n", BK_INVALID, 1, 5, "template");
    refused("a: \"\\d\"\n", BK_INVALID, 1, 5, "escape");
    refused("a: *\n", BK_INVALID, 1, 4, "quotes");
    refused("- a\nb: 1\n", BK_INVALID, 2, 1, "the indentation");
    refused("a: - b\n", BK_INVALID, 1, 4, "a line of its own");
    refused("a:\n\t- b\n", BK_INVALID, 2, 1, "a tab");
    ok(parse("a: \xff\n") == BK_INVALID, "bytes that are no UTF-8");
    ok(parse_slice(SLICE("a: \0\n")) == BK_INVALID, "a zero byte");
    ok(parse_slice(SLICE("\xff\xfe"
                         "a\0:\0 \0b\0")) == BK_INVALID,
       "UTF-16");
}

static void test_documents(void)
{
    is_int(parse("---\n# nothing\n---\nkind: A\n---\n---\nkind: B\n...\n"), BK_OK);
    is_uint(tree.count, 2, "empty documents are left out");
    is_str(as_json(1), "{\"kind\":\"B\"}");
    is_uint(json_place(tree.roots[1]).line, 7, "lines count through all documents");
    struct buf many; /* nothing at all, but each is work */
    buf_init(&many, 4U << 20);
    for (unsigned i = 0; i < JSON_DOCUMENTS_MAX + 1; i++) {
        buf_add_str(&many, "---\n");
    }
    is_int(parse_slice(slice_of(many.at, many.bytes)), BK_TOO_LARGE, "too many empty documents");
    ok(strstr(problem.message, "documents (limit") != NULL, "says so");
    is_int(parse_slice(slice_of(many.at, many.bytes - 4)), BK_OK, "as many as may be");
    buf_fini(&many);
    is_int(parse(""), BK_OK, "an empty stream");
    is_uint(tree.count, 0, "has no document");
}

static void test_bombs(void)
{
    struct timespec from, to;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
    struct buf buf;
    buf_init(&buf, 16U << 20);
    buf_add_str(&buf, "a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for (unsigned i = 1; i < 9; i++) {
        buf_printf(&buf, "a%u: &a%u [", i, i);
        for (unsigned k = 0; k < 9; k++) {
            buf_printf(&buf, "%s*a%u", k ? ", " : "", i - 1);
        }
        buf_add_str(&buf, "]\n");
    }
    is_int(parse(buf_text(&buf)), BK_TOO_LARGE, "nine times nine laughs");
    ok(strstr(problem.message, "aliases") != NULL, "  says: %s", problem.message);

    buf_reset(&buf);
    for (unsigned i = 0; i < 100000; i++) {
        buf_add_byte(&buf, '[');
    }
    is_int(parse(buf_text(&buf)), BK_TOO_LARGE, "100000 opening brackets");
    buf_reset(&buf);
    for (unsigned i = 0; i < 100000; i++) {
        buf_add_str(&buf, "- ");
    }
    is_int(parse(buf_text(&buf)), BK_TOO_LARGE, "100000 dashes");
    buf_reset(&buf);
    for (unsigned i = 0; i < 100000; i++) {
        buf_add_str(&buf, "{a: ");
    }
    is_int(parse(buf_text(&buf)), BK_TOO_LARGE, "100000 opening braces");

    buf_reset(&buf);
    buf_add_str(&buf, "[");
    while (buf.bytes < (8U << 20) - 4) {
        buf_add_str(&buf, "1,");
    }
    buf_add_str(&buf, "]");
    is_int(parse(buf_text(&buf)), BK_TOO_LARGE, "8 MiB of small values");
    buf_reset(&buf);
    buf_add_str(&buf, "k: \"");
    while (buf.bytes < (8U << 20) - 4) {
        buf_add_str(&buf, "aaaaaaaaaaaaaaaa");
    }
    buf.bytes = (8U << 20) - 4;
    buf_add_str(&buf, "\"\n");
    is_int(parse(buf_text(&buf)), BK_OK, "one text of 8 MiB");
    buf_add_str(&buf, "more: 1\n");
    is_int(parse(buf_text(&buf)), BK_TOO_LARGE, "more than 8 MiB");

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
    double seconds = (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    diag("all bombs together: %.2f s, largest resident size %ld MiB", seconds,
         usage.ru_maxrss / 1024);
#ifndef __SANITIZE_ADDRESS__
    ok(seconds < 2, "bombs are refused quickly: %.2f s", seconds);
    /* The text itself is in a buffer of this test, 16 MiB. */
    ok(usage.ru_maxrss < (16L + 64) * 1024, "and in little memory: %ld KiB", usage.ru_maxrss);
#endif
    buf_fini(&buf);
}

static void test_either(void)
{
    json_tree_fini(&tree);
    json_tree_init(&tree);
    is_int(yaml_or_json_parse(SLICE(" {\"a\": \"\\u00e9\\/\"}"), &tree, &problem), BK_OK, "JSON");
    is_str(as_json(0), "{\"a\":\"\xc3\xa9/\"}");
    json_tree_fini(&tree);
    json_tree_init(&tree);
    is_int(yaml_or_json_parse(SLICE("{a: 1,\n b: [x]}"), &tree, &problem), BK_OK, "flow YAML");
    is_str(as_json(0), "{\"a\":1,\"b\":[\"x\"]}");
    json_tree_fini(&tree);
    json_tree_init(&tree);
    is_int(yaml_or_json_parse(SLICE("{\"a\": 1,\n \"b\": x}}"), &tree, &problem), BK_INVALID);
    ok(problem.place.line == 2 && problem.place.column == 7,
       "broken JSON is told as JSON: %u:%u %s", problem.place.line, problem.place.column,
       problem.message);
}

static void test_writer(void)
{
    static const char *const texts[] = {
        "{\"kind\":\"Secret\",\"spec\":{\"data\":{\"a\":\"on\",\"b\":\"1\",\"c\":\"x: y\"}}}",
        "[[1,[2]],{\"a\":[{\"b\":1,\"c\":[]},{}]},\"l\\nl\",\"# no\",\"- x\",null,true,1.5,\"~\"]",
        "{\"url\":\"http://127.0.0.1:8080/\",\"f\":\"sha256={hex}\",\"t\":\"{timestamp}.{body}\"}",
        "\"x\"",
        "[]",
        "\"\"",
        "{\"*\":\"***\",\"&a\":\"!b\",\"e\":\"\xc3\xa9\",\"n\":\"null\",\"h\":\"0x10\"}",
    };
    static const char hidden[] =
        "[\"\xc2\x80 \xc2\x85 \xc2\x9b[31m \xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xae\xef\xbb\xbf"
        "\xef\xbf\xbe\xef\xbf\xbf\xc2\xa0\xe2\x82\xac\"]";
    struct buf seen;
    buf_init(&seen, 65536);
    json_tree_fini(&tree);
    json_tree_init(&tree);
    is_int(json_parse(slice_str(hidden), &tree, &problem), BK_OK);
    yaml_add_value(&seen, tree.roots[0]);
    is_str(buf_text(&seen),
           "- \"\\u0080 \\u0085 \\u009b[31m "
           "\\u2028\\u2029\\u202e\\ufeff\\ufffe\\uffff\xc2\xa0\xe2\x82\xac\"\n",
           "what is no text is escaped");
    is_int(parse(buf_text(&seen)), BK_OK, "so that YAML can be read again");
    buf_fini(&seen);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        json_tree_fini(&tree);
        json_tree_init(&tree);
        is_int(json_parse(slice_str(texts[i]), &tree, &problem), BK_OK);
        struct buf buf;
        buf_init(&buf, 65536);
        yaml_add_value(&buf, tree.roots[0]);
        is_int(parse(buf_text(&buf)), BK_OK, "written YAML is read: %s", texts[i]);
        is_str(as_json(0), texts[i], "and means the same");
        buf_fini(&buf);
    }
    for (size_t bytes = 168; bytes <= 2048; bytes += bytes < 172 ? 1 : bytes) {
        char key[2049], text[9000];
        memset(key, '\\', bytes);
        key[bytes & ~(size_t)1] = '\0'; /* each character an escape of two */
        snprintf(text, sizeof text, "[{\"a\":1,\"%s\":{\"%s\":[1,{}]}}]", key, key);
        json_tree_fini(&tree);
        json_tree_init(&tree);
        is_int(json_parse(slice_str(text), &tree, &problem), BK_OK);
        struct buf buf;
        buf_init(&buf, 65536);
        yaml_add_value(&buf, tree.roots[0]);
        is_int(parse(buf_text(&buf)), BK_OK, "a key of %zu bytes is read again", bytes);
        is_str(as_json(0), text, "as it was");
        buf_fini(&buf);
    }
    is_int(parse("{kind: Secret, metadata: {name: a}, list: [{x: 1, w: 2}, z]}"), BK_OK);
    struct buf buf;
    buf_init(&buf, 65536);
    yaml_add_value(&buf, tree.roots[0]);
    is_str(buf_text(&buf), "kind: Secret\nmetadata:\n  name: a\nlist:\n  - x: 1\n    w: 2\n  - z\n",
           "looks like YAML");
    buf_fini(&buf);
}

int main(void)
{
    test_schema();
    test_anchors();
    test_refusals();
    test_documents();
    test_either();
    test_writer();
    test_bombs();
    json_tree_fini(&tree);
    return done_testing();
}
