/* A batch of CloudEvents taken apart: heads, bounds, what is refused. */
#include "base/assert.h"
#include "http/parse.h"
#include "providers/batch.h"
#include "unit/providers_request.h"

#include <stdlib.h>

static struct http_head parse(const char *text)
{
    struct http_head head;
    enum http_parse got = http_parse_request((const uint8_t *)text, strlen(text), &head);
    ok(got == HTTP_PARSE_DONE, "a head");
    return head;
}

static void heads(void)
{
    static const char *const types[] = {"application/cloudevents-batch+json",
                                        "Application/CloudEvents-Batch+JSON;charset=utf-8",
                                        "application/cloudevents-batch+json ; a=b; c=\"d\""};
    for (size_t i = 0; i < bk_array_length(types); i++) {
        char text[512];
        snprintf(text, sizeof text,
                 "POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: 1000\r\n"
                 "X-Last: 1\r\n\r\n",
                 types[i]);
        struct http_head head = parse(text), one;
        uint8_t *out = malloc(head.head_bytes);
        ok(batch_is(&head), "%s", types[i]);
        batch_head(&head, 7, out);
        ok(http_parse_request(out, head.head_bytes, &one) == HTTP_PARSE_DONE);
        ok(one.head_bytes == head.head_bytes && one.content_length == 7 && !batch_is(&one));
        struct slice type = http_header_value(&one, http_find(&one, SLICE("content-type"), NULL));
        ok(slice_starts(type, SLICE("application/cloudevents+json")));
        struct slice after = slice_skip(type, slice_find(type, ';'));
        const char *want = strchr(types[i], ';');
        is_bytes(after.at, after.bytes, want ? want : "", want ? strlen(want) : 0);
        free(out);
    }
    struct http_head head = parse("POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: "
                                  "application/cloudevents+json\r\n\r\n");
    ok(!batch_is(&head), "one event is no batch");
    head = parse("POST /x HTTP/1.1\r\nHost: a\r\n\r\n");
    ok(!batch_is(&head), "no type");
}

#define EVENT "{\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\",\"specversion\":\"1.0\"}"

static void bodies(void)
{
    static const char *const good[] = {"[]", " [ ] ", "[" EVENT "]",
                                       "\r\n[" EVENT " ,\t" EVENT "]\n"};
    static const unsigned counts[] = {0, 0, 1, 2};
    struct batch_size size;
    for (size_t i = 0; i < bk_array_length(good); i++) {
        ok(batch_measure(slice_str(good[i]), &size) && size.count == counts[i], "text %zu", i);
        struct slice rest = slice_str(good[i]), event;
        unsigned count = 0;
        while (batch_next(&rest, &event)) {
            struct scheme_identity identity;
            batch_identify(event, &identity);
            count += slice_equal(identity.within, SLICE("/s")) &&
                     slice_equal(identity.type, SLICE("t")) &&
                     slice_equal(identity.delivery_id, SLICE("1"));
        }
        ok(count == counts[i], "so many are given");
    }
    ok(size.event_bytes == 2 * (sizeof EVENT - 1) && size.largest_bytes == sizeof EVENT - 1);
    static const char *const bad[] = {"",
                                      " ",
                                      "{}",
                                      EVENT,
                                      "[",
                                      "[" EVENT,
                                      "[" EVENT ",]",
                                      "[,]",
                                      "[" EVENT "]x",
                                      "x" EVENT "]",
                                      "[1]",
                                      "[{}]",
                                      "[null]"};
    for (size_t i = 0; i < bk_array_length(bad); i++) {
        ok(!batch_measure(slice_str(bad[i]), &size), "refused: %s", bad[i]);
    }
    /* Every beginning of a good one is bad. */
    struct slice whole = slice_str(good[3]);
    for (size_t bytes = 0; bytes + 1 < whole.bytes; bytes++) {
        char *part = malloc(bytes + 1);
        memcpy(part, whole.at, bytes);
        bool taken = batch_measure(slice_of(part, bytes), &size);
        free(part);
        if (!ok(!taken, "cut after %zu", bytes)) {
            break;
        }
    }
}

int main(void)
{
    heads();
    bodies();
    return done_testing();
}
