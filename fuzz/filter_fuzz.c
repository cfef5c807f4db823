/* filter_fuzz - an expression and a body, parted by a zero byte: whatever they are, compiling and
 * running end, in bounded steps; the same event gives the same result twice; a mistake has a place
 * in the text and words. */
#include "base/assert.h"
#include "http/parse.h"
#include "hub/routes/filter.h"

#include <stdlib.h>

static const char request[] = "POST /hooks/a HTTP/1.1\r\nHost: a\r\nX-GitHub-Event: push\r\n"
                              "X-Empty:\r\n\r\n";
static const char form_request[] = "POST /hooks/a HTTP/1.1\r\nHost: a\r\n"
                                   "Content-Type: application/x-www-form-urlencoded\r\n\r\n";

static struct filter_scratch *scratch;
static struct http_head head, form;

static void set_up(void)
{
    bk_assert(filter_scratch_open(16U << 20, &scratch) == BK_OK);
    bk_assert(http_parse_request((const uint8_t *)request, sizeof request - 1, &head) ==
              HTTP_PARSE_DONE);
    bk_assert(http_parse_request((const uint8_t *)form_request, sizeof form_request - 1, &form) ==
              HTTP_PARSE_DONE);
}

static void run(const struct http_head *of, struct slice text, struct slice body,
                enum filter_kind kind, bool want_bool)
{
    struct filter *filter = NULL;
    struct filter_error error;
    enum bk_err err = filter_compile(text, kind, want_bool, &filter, &error);
    if (err != BK_OK) {
        bk_assert(err == BK_INVALID && error.message[0] != '\0' && error.line >= 1 &&
                  error.column >= 1);
        return;
    }
    struct filter_event event;
    struct filter_value value, again;
    struct slice as_text, as_text_again;
    char kept[64];
    filter_event_init(&event, scratch, of, body, SLICE("push"), SLICE("repo"));
    bool good = filter_evaluate(filter, &event, &value);
    uint64_t steps = event.steps_left;
    bk_assert(good || event.why[0] != '\0');
    bool texted = good && filter_value_text(&event, &value, &as_text);
    size_t bytes = texted && as_text.bytes < sizeof kept ? as_text.bytes : 0;
    if (bytes > 0) {
        memcpy(kept, as_text.at, bytes);
    }
    filter_event_init(&event, scratch, of, body, SLICE("push"), SLICE("repo"));
    bk_assert(filter_evaluate(filter, &event, &again) == good && event.steps_left == steps);
    if (good) {
        bk_assert(again.type == value.type);
        bool texted_again = filter_value_text(&event, &again, &as_text_again);
        bk_assert(texted_again == texted);
        bk_assert(!texted || bytes == 0 || memcmp(kept, as_text_again.at, bytes) == 0);
    }
    enum filter_result result = filter_test(filter, &event);
    bk_assert(result == FILTER_FAILED || (good && value.type == FILTER_BOOL));
    filter_free(filter);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!scratch) {
        set_up();
    }
    struct slice all = slice_of(data, size);
    size_t at = slice_find(all, 0);
    /* Exact copies, so that the sanitizer sees a read past either end. */
    struct slice rest = slice_skip(all, at + 1);
    uint8_t *text = malloc(at ? at : 1), *body = malloc(rest.bytes ? rest.bytes : 1);
    bk_assert(text && body);
    if (at > 0) {
        memcpy(text, data, at);
    }
    if (rest.bytes > 0) {
        memcpy(body, rest.at, rest.bytes);
    }
    run(&head, slice_of(text, at), slice_of(body, rest.bytes), FILTER_DATA, false);
    run(&form, slice_of(text, at), slice_of(body, rest.bytes), FILTER_DATA, false);
    run(&head, slice_of(text, at), slice_of(body, rest.bytes), FILTER_HEADER, true);
    free(text);
    free(body);
    return 0;
}
