/* CloudEvents out, and the strict JSON check behind them. */
#include "base/json_check.h"
#include "hub/events/cloudevents.h"
#include "tap.h"

#include <yyjson.h>

#define NS 1767225600000000000LL

static void test_check(void)
{
    static const char *const good[] = {"0",
                                       "-1.5e+3",
                                       "\"\"",
                                       "[]",
                                       "{}",
                                       "true",
                                       " null ",
                                       "[1,[2,[]]]",
                                       "{\"a\":{\"b\":[1]}}",
                                       "\"\\ud83d\\ude00\"",
                                       "\"\xc3\xa9\"",
                                       "[ 1 , 2 ]"};
    static const char *const bad[] = {"",
                                      "01",
                                      "1.",
                                      "-",
                                      "\"",
                                      "[1,]",
                                      "{1:2}",
                                      "[1 2]",
                                      "{\"a\"}",
                                      "nul",
                                      "1 2",
                                      "\"\\x\"",
                                      "]",
                                      "\"\\ud83d\"",
                                      "\"\xff\"",
                                      "\"\xed\xa0\x80\"",
                                      "{\"a\":1,}",
                                      "\"\n\"",
                                      "[",
                                      "{\"a\":",
                                      "'a'",
                                      "+1",
                                      "\xef\xbb\xbf{}"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        ok(json_check(slice_str(good[i])), "good: number %zu", i);
        yyjson_doc *doc = yyjson_read(good[i], strlen(good[i]), 0);
        ok(doc != NULL, "the parser agrees");
        yyjson_doc_free(doc);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ok(!json_check(slice_str(bad[i])), "bad number %zu", i);
    }
    char deep[300];
    memset(deep, '[', 64);
    memset(deep + 64, ']', 64);
    ok(json_check(slice_of(deep, 128)), "64 deep");
    memset(deep, '[', 66);
    memset(deep + 66, ']', 66);
    ok(!json_check(slice_of(deep, 132)), "66 deep");
}

static void test_elements(void)
{
    static const struct {
        const char *text;
        int count; /* -1 = not one whole array */
    } cases[] = {{"[]", 0},    {" [ {} ] ", 1}, {"[{\"a\":1},{\"b\":[2]}]", 2},
                 {"[1,2", -1}, {"[1,]", -1},    {"[1 2]", -1},
                 {"{}", -1},   {"[1]x", -1},    {"[1],[2]", -1},
                 {"", -1},     {"[", -1},       {"[,1]", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct slice rest = slice_str(cases[i].text), element;
        bool good = false;
        int count = 0;
        if (rest.bytes != 0 && cases[i].text[0] != '[' && cases[i].text[0] != ' ') {
            is_int(-1, cases[i].count, "not an array"); /* the caller looks for [ */
            continue;
        }
        while (json_check_element(&rest, &element, &good)) {
            count++;
        }
        is_int(good ? count : -1, cases[i].count, "%s", cases[i].text);
    }
}

static void test_write(void)
{
    struct cloudevent event = {.id = SLICE("evt_1"),
                               .source = SLICE("a b"),
                               .type = SLICE("push"),
                               .content_type = SLICE("application/json"),
                               .received_ns = NS,
                               .body = SLICE("{\"n\":1}")};
    uint8_t out[2000];
    size_t bytes = cloudevents_headers(&event, out, sizeof out);
    static const char want[] = "ce-specversion: 1.0\r\nce-id: evt_1\r\n"
                               "ce-source: /event-sources/a%20b\r\nce-type: push\r\n"
                               "ce-time: 2026-01-01T00:00:00.000Z\r\n";
    is_bytes(out, bytes, want, sizeof want - 1);
    ok(bytes <= cloudevents_headers_max(&event), "fits");
    for (size_t room = 0; room < bytes; room++) {
        if (cloudevents_headers(&event, out, room) != 0) {
            ok(false, "too little room");
        }
    }
    bytes = cloudevents_structured(&event, out, sizeof out);
    ok(bytes != 0 && bytes <= cloudevents_structured_max(&event), "fits");
    yyjson_doc *doc = yyjson_read((char *)out, bytes, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    is_str(yyjson_get_str(yyjson_obj_get(root, "id")), "evt_1");
    is_str(yyjson_get_str(yyjson_obj_get(root, "type")), "push");
    is_int(yyjson_get_int(yyjson_obj_get(yyjson_obj_get(root, "data"), "n")), 1);
    ok(yyjson_obj_get(root, "data_base64") == NULL);
    yyjson_doc_free(doc);
    for (size_t room = 0; room < bytes; room++) {
        if (cloudevents_structured(&event, out, room) != 0) {
            ok(false, "too little room");
        }
    }
    event.body = SLICE("a=b\xff");
    event.type = SLICE("x\"\r\ny\xc3\xa9\xff");
    bytes = cloudevents_structured(&event, out, sizeof out);
    doc = yyjson_read((char *)out, bytes, 0);
    root = yyjson_doc_get_root(doc);
    is_str(yyjson_get_str(yyjson_obj_get(root, "data_base64")), "YT1i/w==");
    is_str(yyjson_get_str(yyjson_obj_get(root, "type")), "x\"\r\ny\xc3\xa9\xef\xbf\xbd");
    yyjson_doc_free(doc);
    bytes = cloudevents_headers(&event, out, sizeof out);
    ok(memmem(out, bytes, "x%22%0D%0Ay%C3%A9%FF\r\n", 22) != NULL, "no line can be ended");
    ok(bytes <= cloudevents_headers_max(&event), "fits");
    event.type = SLICE_EMPTY;
    bytes = cloudevents_headers(&event, out, sizeof out);
    ok(memmem(out, bytes, "ce-type: event\r\n", 16) != NULL, "there must be a type");
}

int main(void)
{
    test_check();
    test_elements();
    test_write();
    return done_testing();
}
