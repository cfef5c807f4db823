/* delivery_fuzz - any request that was taken in becomes exactly one well-formed request to a
 * destination, with our own headers once and nothing of the sender's that must not go on; a type of
 * any bytes injects nothing; Retry-After and attempts of any bytes stay in bounds. */
#include "base/assert.h"
#include "http/parse.h"
#include "hub/events/attempt.h"
#include "hub/deliveries/request.h"
#include "hub/deliveries/retry.h"

#include <stdlib.h>

static const char *const once[] = {"host",         "content-length", "webhook-id",
                                   "webhook-timestamp", "webhook-signature", "becket-source",
                                   "becket-attempt", "traceparent", "x-env"};
static const char *const never[] = {"authorization", "cookie",           "connection", "te",
                                    "upgrade",       "transfer-encoding", "expect",
                                    "keep-alive",    "proxy-authorization"};

static void check_built(const uint8_t *at, const struct request_layout *layout, struct slice body)
{
    struct http_head out;
    unsigned count = 0;
    bk_assert(http_parse_request(at, layout->bytes, &out) == HTTP_PARSE_DONE);
    bk_assert(out.head_bytes == layout->head_bytes);
    bk_assert(out.method == HTTP_POST && out.content_length == body.bytes && !out.chunked);
    bk_assert(slice_equal(http_target(&out), SLICE("/in?x=1")));
    bk_assert(slice_equal(slice_of(at + layout->head_bytes, layout->bytes - layout->head_bytes),
                          body));
    for (unsigned i = 0; i < bk_array_length(once); i++) {
        http_find(&out, slice_str(once[i]), &count);
        bk_assert(count == 1);
    }
    for (unsigned i = 0; i < bk_array_length(never); i++) {
        bk_assert(!http_find(&out, slice_str(never[i]), NULL));
    }
}

static void build(const uint8_t *data, size_t size)
{
    static struct destination destination;
    struct http_head head;
    struct request_layout layout;
    size_t type = size > 0 && data[0] < size ? data[0] : 0;
    struct slice rest = slice_skip(slice_of(data, size), 1 + type);
    if (rest.bytes == 0 || http_parse_request(rest.at, rest.bytes, &head) != HTTP_PARSE_DONE ||
        head.header_count > HTTP_HEADERS_MAX - 10) {
        return;
    }
    destination.target = SLICE("/in?x=1");
    destination.host_header = SLICE("app.example");
    destination.header_lines = SLICE("X-Env: prod\r\n");
    destination.secret_count = 2;
    struct request request = {.destination = &destination,
                              .head = &head,
                              .body = slice_skip(rest, head.head_bytes),
                              .source = SLICE("repo"),
                              .type = slice_of(data + 1, type),
                              .event = {1, 2},
                              .received_ns = 3,
                              .attempt = 4};
    if (head.head_bytes > HTTP_HEAD_BYTES_MAX - 1600) {
        return; /* what comes out may be longer than what our own parser takes */
    }
    uint8_t *at = malloc(request_bytes_max(&request));
    bk_assert(at);
    request_build(&request, at, &layout);
    check_built(at, &layout, request.body);
    request_sign(at, &layout, &destination, 1700000000);
    check_built(at, &layout, request.body);
    free(at);
}

static void read_attempt(const uint8_t *data, size_t size)
{
    struct attempt attempt;
    struct journal_entry entry = {.type = JOURNAL_ATTEMPT,
                                  .head_bytes = (uint32_t)(size < 40 ? size : 40),
                                  .body_bytes = (uint32_t)(size < 40 ? 0 : size - 40)};
    if (attempt_decode(&entry, data, &attempt)) {
        uint8_t again[ATTEMPT_MESSAGE_BYTES_MAX];
        struct journal_entry other;
        size_t bytes = attempt_encode(&attempt, &other, again);
        bk_assert(bytes <= sizeof again && other.head_bytes == entry.head_bytes);
    }
}

/* Alone, and the first line beside the answer's date behind it. */
static void read_retry_after(struct slice data)
{
    size_t line = slice_find(data, '\n');
    struct slice value = slice_of(data.at, line);
    struct slice date = slice_skip(data, line < data.bytes ? line + 1 : line);
    bk_assert(retry_after_ms(data, SLICE_EMPTY, 1700000000) <= RETRY_AFTER_MS_MAX);
    bk_assert(retry_after_ms(value, date, 1700000000) <= RETRY_AFTER_MS_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_retry_after(slice_of(data, size));
    build(data, size);
    read_attempt(data, size);
    return 0;
}
