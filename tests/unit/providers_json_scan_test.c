/* json_scan: what it finds, where it stops, and that it agrees with a full parser (yyjson) on
 * random texts. */
#include "providers/json_scan.h"
#include "tap.h"

#include <yyjson.h>

static uint64_t seed = 0x853c49e6748fea9bU;

static uint32_t below(uint32_t bound)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % bound;
}

struct scan_case {
    const char *text, *pointer;
    enum json_kind kind;
    const char *want;
};

#define LONG "0123456789012345678901234567890123456789012345678901234567890123456789"

static const struct scan_case cases[] = {
    {"{\"id\":\"evt_1\"}", "/id", JSON_STRING, "evt_1"},
    {" \r\n\t{ \"id\" : \"evt_1\" } ", "/id", JSON_STRING, "evt_1"},
    {"{\"a\":1,\"id\":-12.5e3}", "/id", JSON_NUMBER, "-12.5e3"},
    {"{\"id\":null}", "/id", JSON_OTHER, ""},
    {"{\"id\":true,\"b\":2}", "/id", JSON_OTHER, ""},
    {"{\"id\":{}}", "/id", JSON_OTHER, ""},
    {"{\"id\":[1]}", "/id", JSON_OTHER, ""},
    {"{\"id\":\"a\\\"b\"}", "/id", JSON_STRING_ESCAPED, "a\\\"b"},
    {"{\"id\":\"\"}", "/id", JSON_STRING, ""},
    {"{\"a\":{\"id\":\"inner\"},\"id\":\"outer\"}", "/id", JSON_STRING, "outer"},
    {"{\"a\":{\"id\":\"inner\"},\"id\":\"outer\"}", "/a/id", JSON_STRING, "inner"},
    {"{\"a\":\"\\\\\",\"id\":\"x\"}", "/id", JSON_STRING, "x"},
    {"{\"a\":\"}{\\\"id\\\":\",\"id\":\"x\"}", "/id", JSON_STRING, "x"},
    {"{\"a\":[{\"b\":\"]}\"},\"" LONG LONG "\\\"]\"],\"id\":\"x\"}", "/id", JSON_STRING, "x"},
    {"{\"id\":1,\"id\":2}", "/id", JSON_NUMBER, "1"},
    {"{\"a\":{},\"a\":{\"id\":2}}", "/a/id", JSON_ABSENT, ""},
    {"{\"a\":3,\"id\":4}", "/a/id", JSON_ABSENT, ""},
    {"{\"events\":[{\"t\":\"x\"},{\"t\":\"y\"}]}", "/events/1/t", JSON_STRING, "y"},
    {"{\"events\":[{\"t\":\"x\"},{\"t\":\"y\"}]}", "/events/2/t", JSON_ABSENT, ""},
    {"{\"events\":[{\"t\":\"x\"}]}", "/events/00/t", JSON_ABSENT, ""},
    {"{\"events\":[]}", "/events/0/t", JSON_ABSENT, ""},
    {"[\"x\",\"y\"]", "/1", JSON_STRING, "y"},
    {"\"id\"", "/id", JSON_ABSENT, ""},
    {"", "/id", JSON_ABSENT, ""},
    {"{", "/id", JSON_ABSENT, ""},
    {"{\"id", "/id", JSON_ABSENT, ""},
    {"{\"id\"", "/id", JSON_ABSENT, ""},
    {"{\"id\":", "/id", JSON_ABSENT, ""},
    {"{\"id\":\"never ends", "/id", JSON_ABSENT, ""},
    {"{\"id\":\"ends\\", "/id", JSON_ABSENT, ""},
    {"{\"a\":{\"b\":1,\"id\":2", "/id", JSON_ABSENT, ""},
    {"{\"a\" 1,\"id\":2}", "/id", JSON_ABSENT, ""},
    {"{a:1,\"id\":2}", "/id", JSON_ABSENT, ""},
    {"id=1&type=2", "/id", JSON_ABSENT, ""},
    {"{\"\\u0069d\":1}", "/id", JSON_ABSENT, ""},
    {"{\"a\":}", "/a", JSON_OTHER, ""},
};

static void known(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_path path;
        struct json_found found;
        ok(json_path_parse(slice_str(cases[i].pointer), &path));
        json_scan(slice_str(cases[i].text), &path, 1, &found);
        is_int(found.kind, cases[i].kind, "%.60s %s", cases[i].text, cases[i].pointer);
        is_bytes(found.text.at, found.text.bytes, cases[i].want, strlen(cases[i].want));
    }
    struct json_path path;
    static const char *const bad[] = {"", "/", "id", "/a/b/c/d/e", "/a~1b"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ok(!json_path_parse(slice_str(bad[i]), &path), "no pointer: '%s'", bad[i]);
    }
}

/* Early stop: a text that is broken behind the last wanted field is no obstacle. */
static void several(void)
{
    static const char *const pointers[] = {"/event/type", "/type", "/event_id", "/none"};
    struct json_path paths[4];
    struct json_found found[4];
    struct slice text = SLICE("{\"event\":{\"x\":[1,{}],\"type\":\"message\",\"y\":\"}\"},"
                              "\"event_id\":\"Ev1\",\"type\":\"event_callback\"} trailing {{{");
    for (unsigned i = 0; i < 4; i++) {
        ok(json_path_parse(slice_str(pointers[i]), &paths[i]));
    }
    json_scan(text, paths, 4, found);
    is_bytes(found[0].text.at, found[0].text.bytes, "message", 7);
    is_bytes(found[1].text.at, found[1].text.bytes, "event_callback", 14);
    is_bytes(found[2].text.at, found[2].text.bytes, "Ev1", 3);
    is_int(found[3].kind, JSON_ABSENT);
    ok(found[0].text.at > text.at && found[0].text.at < text.at + text.bytes, "a slice of it");
}

/* ---- random valid texts; names without escapes */

static char text[200000];
static size_t used;

static void put(const char *s)
{
    size_t n = strlen(s);
    if (used + n < sizeof text) {
        memcpy(text + used, s, n);
        used += n;
    }
}

static void put_blank(void)
{
    static const char *const blanks[] = {"", "", "", "", " ", "\n", "\t ", "\r\n    "};
    put(blanks[below(8)]);
}

static void put_string(bool escapes)
{
    static const char *const pieces[] = {"a",   "id",      "}",        "{",   "]",    "[",
                                         ",",   ":",       "\xc3\xa9", "0",   "\\\"", "\\\\",
                                         "\\n", "\\u00e9", "\\/",      "type"};
    put("\"");
    for (uint32_t n = below(8) == 0 ? below(100) : below(6); n != 0; n--) {
        put(pieces[below(escapes ? 16 : 10)]);
    }
    put("\"");
}

static void put_value(unsigned depth)
{
    static const char *const names[] = {"\"id\"", "\"type\"", "\"event\"", "\"0\"", "\"1\""};
    static const char *const scalars[] = {"0", "-1.5", "true", "false", "null", "12e+3"};
    uint32_t what = depth > 5 ? below(4) : below(8);
    put_blank();
    if (what < 2) {
        put_string(true);
    } else if (what < 4) {
        put(scalars[below(6)]);
    } else {
        bool object = what < 7;
        put(object ? "{" : "[");
        for (uint32_t n = below(5), i = 0; i < n; i++) {
            if (i != 0) {
                put(",");
            }
            if (object) {
                put_blank();
                if (below(2)) {
                    put(names[below(5)]);
                } else {
                    put_string(false);
                }
                put_blank();
                put(":");
            }
            put_value(depth + 1);
        }
        put_blank();
        put(object ? "}" : "]");
    }
    put_blank();
}

static const char *const wanted[JSON_PATHS_MAX] = {
    "/id", "/type", "/event/type", "/0", "/1/id", "/event/0/id", "/event", "/0/1/id/type"};

static bool agrees(const struct json_found *found, yyjson_val *value)
{
    if (value == NULL) {
        return found->kind == JSON_ABSENT;
    }
    if (yyjson_is_raw(value)) {
        return found->kind == JSON_NUMBER &&
               slice_equal(found->text, slice_of(yyjson_get_raw(value), yyjson_get_len(value)));
    }
    if (!yyjson_is_str(value)) {
        return found->kind == JSON_OTHER;
    }
    if (memchr(found->text.at, '\\', found->text.bytes) != NULL) {
        return found->kind == JSON_STRING_ESCAPED;
    }
    return found->kind == JSON_STRING &&
           slice_equal(found->text, slice_of(yyjson_get_str(value), yyjson_get_len(value)));
}

static void random_texts(void)
{
    struct json_path paths[JSON_PATHS_MAX];
    unsigned differ = 0, invalid = 0, present = 0, skips = 0;
    for (unsigned i = 0; i < JSON_PATHS_MAX; i++) {
        ok(json_path_parse(slice_str(wanted[i]), &paths[i]));
    }
    for (unsigned round = 0; round < 20000; round++) {
        used = 0;
        put_value(0);
        yyjson_doc *doc = yyjson_read(text, used, YYJSON_READ_NUMBER_AS_RAW);
        invalid += doc == NULL;
        struct json_found all[JSON_PATHS_MAX], one;
        char *exact = malloc(used);
        if (exact == NULL || doc == NULL) {
            break;
        }
        memcpy(exact, text, used);
        json_scan(slice_of(exact, used), paths, JSON_PATHS_MAX, all);
        for (unsigned i = 0; i < JSON_PATHS_MAX; i++) {
            json_scan(slice_of(exact, used), &paths[i], 1, &one);
            yyjson_val *value = yyjson_doc_ptr_get(doc, wanted[i]);
            differ += !agrees(&all[i], value) || !agrees(&one, value);
            present += value != NULL;
        }
        for (size_t i = 0; i < used; i++) {
            if (exact[i] == '{' || exact[i] == '[') {
                struct slice rest = slice_of(exact + i, used - i);
                skips += json_skip(rest) != json_skip_portable(rest);
                skips += json_skip_sse2(rest) != json_skip_portable(rest);
            }
        }
        /* Cut anywhere it must not read beyond the end. */
        size_t cut = below((uint32_t)used + 1);
        char *part = malloc(cut + 1);
        if (part != NULL) {
            memcpy(part + 1, exact, cut);
            json_scan(slice_of(part + 1, cut), paths, JSON_PATHS_MAX, all);
        }
        free(part);
        free(exact);
        yyjson_doc_free(doc);
    }
    is_uint(invalid, 0, "the texts are valid");
    ok(present > 5000, "with fields to find: %u", present);
    is_uint(differ, 0, "a full parser finds the same");
    is_uint(skips, 0, "the vector code skips as the plain code does");
}

int main(void)
{
    known();
    several();
    random_texts();
    return done_testing();
}
