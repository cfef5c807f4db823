/* http_head_fuzz - any bytes as a request and as a response: the implementations agree, no prefix
 * contradicts the whole, the index points into the head, and what was parsed, written in the usual
 * form and parsed again says the same. The first byte chooses where the input is cut. */
#include "base/assert.h"
#include "http/parse.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef enum http_parse parse_fn(const uint8_t *at, size_t bytes, struct http_head *head);

static bool same_meaning(const struct http_head *a, const struct http_head *b)
{
    return a->method == b->method && a->status == b->status &&
           a->minor_version == b->minor_version && a->keep_alive == b->keep_alive &&
           a->chunked == b->chunked && a->has_content_length == b->has_content_length &&
           a->content_length == b->content_length && a->expect_continue == b->expect_continue &&
           a->has_host == b->has_host && a->header_count == b->header_count &&
           slice_equal(http_method_text(a), http_method_text(b)) &&
           slice_equal(http_target(a), http_target(b));
}

static bool same_index(const struct http_head *a, const struct http_head *b)
{
    return same_meaning(a, b) && a->head_bytes == b->head_bytes &&
           memcmp(a->headers, b->headers, a->header_count * sizeof a->headers[0]) == 0;
}

/* Each implementation on its own copy, so that a sanitizer sees a byte too many. */
static enum http_parse parse_all(parse_fn *parse, const uint8_t *data, size_t size,
                                 struct http_head *ret_head)
{
    static struct http_head head;
    enum http_parse result = HTTP_PARSE_BAD;

    for (int isa = HTTP_PARSE_SCALAR; isa <= HTTP_PARSE_AVX512; isa++) {
        http_parse_select((enum http_parse_isa)isa);
        uint8_t *copy = malloc(size + (size == 0));
        bk_assert(copy != NULL);
        memcpy(copy, data, size);
        enum http_parse got = parse(copy, size, &head);
        head.at = data; /* offsets hold for any copy of the bytes */
        if (isa == HTTP_PARSE_SCALAR) {
            result = got;
            *ret_head = head;
        }
        bk_assert(got == result);
        bk_assert(got != HTTP_PARSE_DONE || same_index(&head, ret_head));
        free(copy);
    }
    return result;
}

static void check_index(const struct http_head *head, size_t size)
{
    bk_assert(head->head_bytes <= size && head->head_bytes <= HTTP_HEAD_BYTES_MAX);
    bk_assert(memcmp(head->at + head->head_bytes - 4, "\r\n\r\n", 4) == 0);
    bk_assert(!head->chunked || !head->has_content_length);
    uint32_t last = 0;
    for (unsigned i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        uint32_t value_end = (uint32_t)header->value_at + header->value_bytes;
        bk_assert(header->name_bytes > 0 && header->name_at > last);
        bk_assert(header->value_at > header->name_at + header->name_bytes);
        bk_assert(value_end < head->head_bytes);
        struct slice value = http_header_value(head, header);
        bk_assert(slice_equal(slice_trim(value), value));
        last = value_end;
    }
}

static size_t put(uint8_t *to, size_t bytes, struct slice text)
{
    if (text.bytes > 0) {
        memcpy(to + bytes, text.at, text.bytes);
    }
    return bytes + text.bytes;
}

/* The head in the usual form: it must mean the same. */
static void check_rewritten(parse_fn *parse, const struct http_head *head)
{
    static uint8_t text[2 * HTTP_HEAD_BYTES_MAX];
    static struct http_head again;
    struct slice version = head->minor_version ? SLICE("HTTP/1.1") : SLICE("HTTP/1.0");
    size_t bytes = 0;

    if (head->status != 0) {
        uint8_t status[3] = {(uint8_t)('0' + head->status / 100),
                             (uint8_t)('0' + head->status / 10 % 10),
                             (uint8_t)('0' + head->status % 10)};
        bytes = put(text, put(text, bytes, version), SLICE(" "));
        bytes = put(text, put(text, bytes, slice_of(status, 3)), SLICE(" "));
        bytes = put(text, bytes, http_target(head));
    } else {
        bytes = put(text, put(text, bytes, http_method_text(head)), SLICE(" "));
        bytes = put(text, put(text, bytes, http_target(head)), SLICE(" "));
        bytes = put(text, bytes, version);
    }
    bytes = put(text, bytes, SLICE("\r\n"));
    for (unsigned i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        bytes = put(text, put(text, bytes, http_header_name(head, header)), SLICE(": "));
        bytes = put(text, bytes, http_header_value(head, header));
        bytes = put(text, bytes, SLICE("\r\n"));
    }
    bytes = put(text, bytes, SLICE("\r\n"));
    if (bytes > HTTP_HEAD_BYTES_MAX) { /* spaces that were not there */
        return;
    }
    bk_assert(parse(text, bytes, &again) == HTTP_PARSE_DONE);
    bk_assert(same_meaning(&again, head));
    for (unsigned i = 0; i < head->header_count; i++) {
        bk_assert(slice_equal(http_header_name(head, &head->headers[i]),
                              http_header_name(&again, &again.headers[i])));
        bk_assert(slice_equal(http_header_value(head, &head->headers[i]),
                              http_header_value(&again, &again.headers[i])));
    }
}

static void check(parse_fn *parse, const uint8_t *data, size_t size, size_t cut)
{
    static struct http_head head, early;
    enum http_parse result = parse_all(parse, data, size, &head);

    if (cut < size) {
        enum http_parse prefix = parse_all(parse, data, cut, &early);
        bk_assert(prefix == HTTP_PARSE_PARTIAL || prefix == result);
        bk_assert(result != HTTP_PARSE_DONE ||
                  (prefix == HTTP_PARSE_DONE) == (cut >= head.head_bytes));
    }
    if (result == HTTP_PARSE_DONE) {
        check_index(&head, size);
        check_rewritten(parse, &head);
        if (head.status == 0) {
            struct slice path, query;
            http_split_target(&head, &path, &query);
            bk_assert(path.bytes + query.bytes <= (size_t)head.target_bytes + 1);
        }
    } else if (size >= HTTP_HEAD_BYTES_MAX) {
        bk_assert(result != HTTP_PARSE_PARTIAL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t cut = ((size_t)data[0] << 8 | data[1]) % size;
    check(http_parse_request, data + 2, size - 2, cut);
    check(http_parse_response, data + 2, size - 2, cut);
    return 0;
}
