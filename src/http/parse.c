/* parse.c - the choice of implementation, and all of the head parser that is not about bytes in bulk. */
#include "http/parse.h"

#include "base/assert.h"
#include "http/parse_internal.h"

_Static_assert(HTTP_HEAD_BYTES_MAX <= UINT16_MAX, "offsets of struct http_head have 16 bits");
_Static_assert(HTTP_TARGET_BYTES_MAX < HTTP_HEAD_BYTES_MAX, "414 must come before 431");

/* Sums of HTTP_CLASS_*, 16 characters a row. */
const uint8_t http_byte_class[256] = {
    0,  0,  0,  0,  0,  0,  0,  0,  0,  2,  0,  0,  0,  0,  0,  0,
    0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
    2,  15, 6,  3,  15, 7,  15, 15, 14, 14, 15, 15, 14, 15, 15, 6,
    31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 6,  14, 6,  14, 6,  6,
    6,  31, 31, 31, 31, 31, 31, 15, 15, 15, 15, 15, 15, 15, 15, 15,
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 6,  6,  6,  7,  15,
    7,  31, 31, 31, 31, 31, 31, 15, 15, 15, 15, 15, 15, 15, 15, 15,
    15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 6,  7,  6,  15, 0,
    2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
    2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
    2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
    2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
    2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
    2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
    2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
    2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,  2,
};

/* ---- choice of the implementation */

static http_parse_fn *request_fn = http_parse_request_scalar;
static http_parse_fn *response_fn = http_parse_response_scalar;
static size_t vector_bytes; /* below that many the scalar version works */

enum http_parse_isa http_parse_select(enum http_parse_isa isa)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    bool any = isa == HTTP_PARSE_AUTO;
    if ((any || isa == HTTP_PARSE_AVX2) && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("bmi")) {
        request_fn = http_parse_request_avx2;
        response_fn = http_parse_response_avx2;
        vector_bytes = 32;
        return HTTP_PARSE_AVX2;
    }
    if ((any || isa >= HTTP_PARSE_SSE42) && __builtin_cpu_supports("sse4.2")) {
        request_fn = http_parse_request_sse42;
        response_fn = http_parse_response_sse42;
        vector_bytes = 16;
        return HTTP_PARSE_SSE42;
    }
#else
    (void)isa;
#endif
    request_fn = http_parse_request_scalar;
    response_fn = http_parse_response_scalar;
    vector_bytes = 0;
    return HTTP_PARSE_SCALAR;
}

__attribute__((constructor)) static void select_at_start(void)
{
    http_parse_select(HTTP_PARSE_AUTO);
}

enum http_parse http_parse_request(const uint8_t *at, size_t bytes, struct http_head *ret_head)
{
    return bytes >= vector_bytes ? request_fn(at, bytes, ret_head)
                                 : http_parse_request_scalar(at, bytes, ret_head);
}

enum http_parse http_parse_response(const uint8_t *at, size_t bytes, struct http_head *ret_head)
{
    return bytes >= vector_bytes ? response_fn(at, bytes, ret_head)
                                 : http_parse_response_scalar(at, bytes, ret_head);
}

const char *http_parse_text(enum http_parse result)
{
    switch (result) {
    case HTTP_PARSE_DONE:
        return "complete";
    case HTTP_PARSE_PARTIAL:
        return "incomplete message";
    case HTTP_PARSE_BAD:
        return "malformed HTTP message";
    case HTTP_PARSE_TOO_LONG:
        return "header section too long";
    case HTTP_PARSE_URI_TOO_LONG:
        return "request target too long";
    case HTTP_PARSE_BAD_VERSION:
        return "HTTP version not supported";
    case HTTP_PARSE_NOT_IMPLEMENTED:
        return "method or transfer coding not implemented";
    }
    bk_never("a result without a text");
}

/* ---- request line */

enum http_parse http_version(const uint8_t *at, size_t bytes, uint8_t *ret_minor, bool *ret_known)
{
    static const char form[] = "HTTP/1.1";

    for (size_t i = 0; i < 8; i++) {
        if (i == bytes) {
            return HTTP_PARSE_PARTIAL;
        }
        bool digit = i == 5 || i == 7;
        if (digit ? (unsigned)at[i] - '0' > 9 : at[i] != (uint8_t)form[i]) {
            return HTTP_PARSE_BAD;
        }
    }
    *ret_known = at[5] == '1';
    *ret_minor = at[7] != '0';
    return HTTP_PARSE_DONE;
}

void http_method_known(struct http_head *head)
{
    static const struct {
        char name[8];
        enum http_method method;
    } methods[] = {
        {"POST", HTTP_POST},       {"GET", HTTP_GET},         {"HEAD", HTTP_HEAD},
        {"PUT", HTTP_PUT},         {"DELETE", HTTP_DELETE},   {"PATCH", HTTP_PATCH},
        {"OPTIONS", HTTP_OPTIONS}, {"CONNECT", HTTP_CONNECT}, {"TRACE", HTTP_TRACE},
    };
    char name[8] = {0};

    head->method = HTTP_METHOD_OTHER;
    if (head->method_bytes >= sizeof name) {
        return;
    }
    memcpy(name, head->at + head->method_at, head->method_bytes);
    for (size_t i = 0; i < bk_array_length(methods); i++) {
        if (load64(name) == load64(methods[i].name)) {
            head->method = methods[i].method;
            return;
        }
    }
}

static bool all_of_class(struct slice text, uint8_t class)
{
    for (size_t i = 0; i < text.bytes; i++) {
        if (!(http_byte_class[text.at[i]] & class)) {
            return false;
        }
    }
    return true;
}

/* The part of uri-host in brackets: an IPv6 address, checked for its characters only. */
static bool is_ip_literal(struct slice text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.at[i];
        if (!(http_byte_class[c] & HTTP_CLASS_HEX) && c != ':' && c != '.') {
            return false;
        }
    }
    return text.bytes >= 2;
}

/* reg-name or IPv4address of RFC 3986. */
static bool is_reg_name(struct slice text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        if (http_byte_class[text.at[i]] & HTTP_CLASS_HOST) {
            continue;
        }
        if (text.at[i] != '%' || text.bytes - i < 3 ||
            !all_of_class(slice_of(text.at + i + 1, 2), HTTP_CLASS_HEX)) {
            return false;
        }
        i += 2;
    }
    return true;
}

static bool is_port(struct slice text)
{
    unsigned port = 0;
    if (text.bytes > 5) {
        return false;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        unsigned digit = (unsigned)text.at[i] - '0';
        if (digit > 9) {
            return false;
        }
        port = port * 10 + digit;
    }
    return port <= UINT16_MAX;
}

/* uri-host [":" port] (RFC 9110 4.2.1, without user information), the host not empty. */
static bool is_host_and_port(struct slice text, bool port_wanted)
{
    size_t host_bytes;

    if (text.bytes > 0 && text.at[0] == '[') {
        size_t close = slice_find(text, ']');
        if (close == text.bytes || !is_ip_literal(slice_of(text.at + 1, close - 1))) {
            return false;
        }
        host_bytes = close + 1;
    } else {
        host_bytes = slice_find(text, ':');
        if (host_bytes == 0 || !is_reg_name(slice_of(text.at, host_bytes))) {
            return false;
        }
    }
    if (host_bytes == text.bytes) {
        return !port_wanted;
    }
    struct slice port = slice_skip(text, host_bytes + 1);
    return text.at[host_bytes] == ':' && is_port(port) && (port.bytes > 0 || !port_wanted);
}

/* Length of "http://" or "https://" at the start, else 0. */
static size_t scheme_bytes(struct slice target)
{
    static const struct slice schemes[] = {SLICE("http://"), SLICE("https://")};

    for (size_t i = 0; i < bk_array_length(schemes); i++) {
        size_t bytes = schemes[i].bytes;
        if (target.bytes >= bytes && slice_equal_nocase(slice_of(target.at, bytes), schemes[i])) {
            return bytes;
        }
    }
    return 0;
}

/* How many bytes come before the path of an absolute-form target. */
static size_t authority_end(struct slice target, size_t scheme)
{
    size_t i = scheme;
    while (i < target.bytes && target.at[i] != '/' && target.at[i] != '?') {
        i++;
    }
    return i;
}

bool http_target_fits(const struct http_head *head)
{
    struct slice target = http_target(head);

    if (head->method == HTTP_CONNECT) {
        return is_host_and_port(target, true);
    }
    if (target.at[0] == '/') {
        return true;
    }
    if (target.bytes == 1 && target.at[0] == '*') {
        return head->method == HTTP_OPTIONS;
    }
    size_t scheme = scheme_bytes(target);
    if (scheme == 0) {
        return false;
    }
    size_t end = authority_end(target, scheme);
    return is_host_and_port(slice_of(target.at + scheme, end - scheme), false);
}

void http_split_target(const struct http_head *head, struct slice *ret_path,
                       struct slice *ret_query)
{
    struct slice target = http_target(head);

    *ret_query = SLICE_EMPTY;
    if (head->method == HTTP_CONNECT) {
        *ret_path = SLICE_EMPTY;
        return;
    }
    size_t scheme = scheme_bytes(target);
    if (scheme > 0) {
        target = slice_skip(target, authority_end(target, scheme));
    }
    size_t path_bytes = slice_find(target, '?');
    *ret_query = slice_skip(target, path_bytes + 1);
    *ret_path = path_bytes > 0 ? slice_of(target.at, path_bytes) : SLICE("/");
}

/* ---- headers that decide about framing and the connection */

/* The next element of a comma-separated list, trimmed; false at the end. */
static bool next_element(struct slice *list, struct slice *ret_element)
{
    if (list->at == NULL) {
        return false;
    }
    size_t comma = slice_find(*list, ',');
    *ret_element = slice_trim(slice_of(list->at, comma));
    *list = comma < list->bytes ? slice_of(list->at + comma + 1, list->bytes - comma - 1)
                                : SLICE_EMPTY;
    return true;
}

static enum http_parse on_connection(struct slice value, unsigned *seen)
{
    struct slice option;

    while (next_element(&value, &option)) {
        if (slice_equal_nocase(option, SLICE("close"))) {
            *seen |= HTTP_SEEN_CLOSE;
        } else if (slice_equal_nocase(option, SLICE("keep-alive"))) {
            *seen |= HTTP_SEEN_KEEP_ALIVE;
        }
    }
    return HTTP_PARSE_DONE;
}

static enum http_parse on_content_length(struct http_head *head, struct slice value)
{
    uint64_t length = 0;

    if (head->has_content_length || value.bytes == 0) {
        return HTTP_PARSE_BAD;
    }
    for (size_t i = 0; i < value.bytes; i++) {
        unsigned digit = (unsigned)value.at[i] - '0';
        if (digit > 9 || length > (UINT64_MAX - digit) / 10) {
            return HTTP_PARSE_BAD;
        }
        length = length * 10 + digit;
    }
    head->content_length = length;
    head->has_content_length = true;
    return HTTP_PARSE_DONE;
}

/* Exactly "chunked" is what we can read. A list of other codings is 501, anything that is no list of
 * codings, or has chunked twice or not at its end, is malformed. */
static enum http_parse on_transfer_encoding(struct http_head *head, struct slice value,
                                            unsigned *seen)
{
    if (*seen & HTTP_SEEN_TRANSFER_ENCODING) {
        return HTTP_PARSE_BAD;
    }
    *seen |= HTTP_SEEN_TRANSFER_ENCODING;
    if (slice_equal_nocase(value, SLICE("chunked"))) {
        head->chunked = true;
        return HTTP_PARSE_DONE;
    }
    struct slice coding;
    bool chunked = false;
    while (next_element(&value, &coding)) {
        struct slice name = slice_trim(slice_of(coding.at, slice_find(coding, ';')));
        if (chunked || name.bytes == 0 || !all_of_class(name, HTTP_CLASS_TOKEN)) {
            return HTTP_PARSE_BAD;
        }
        chunked = slice_equal_nocase(name, SLICE("chunked"));
        if (chunked && name.bytes != coding.bytes) { /* chunked has no parameters */
            return HTTP_PARSE_BAD;
        }
    }
    return HTTP_PARSE_NOT_IMPLEMENTED;
}

static enum http_parse on_host(struct http_head *head, struct slice value)
{
    if (head->has_host || (value.bytes > 0 && !is_host_and_port(value, false))) {
        return HTTP_PARSE_BAD;
    }
    head->has_host = true;
    return HTTP_PARSE_DONE;
}

/* Names are tokens, and among tokens OR 0x20 maps only letters onto the letters and hyphens here. */
#define FOLD64 0x2020202020202020ULL
#define FOLD32 0x20202020U

enum http_parse http_framing_field(struct http_head *head, const struct http_header *header,
                                   unsigned *seen)
{
    const uint8_t *name = head->at + header->name_at;
    struct slice value = http_header_value(head, header);

    switch (header->name_bytes) {
    case 4:
        if ((load32(name) | FOLD32) == load32("host") && !(*seen & HTTP_SEEN_RESPONSE)) {
            return on_host(head, value);
        }
        break;
    case 6:
        if ((load32(name) | FOLD32) == load32("expect") &&
            (load32(name + 2) | FOLD32) == load32("pect")) {
            head->expect_continue |= slice_equal_nocase(value, SLICE("100-continue"));
        }
        break;
    case 10:
        if ((load64(name) | FOLD64) == load64("connection") &&
            (load64(name + 2) | FOLD64) == load64("nnection")) {
            return on_connection(value, seen);
        }
        break;
    case 14:
        if ((load64(name) | FOLD64) == load64("content-length") &&
            (load64(name + 6) | FOLD64) == load64("t-length")) {
            return on_content_length(head, value);
        }
        break;
    case 17:
        if ((load64(name) | FOLD64) == load64("transfer-encoding") &&
            (load64(name + 8) | FOLD64) == load64("-encodin") && (name[16] | 0x20) == 'g') {
            return on_transfer_encoding(head, value, seen);
        }
        break;
    default:
        break;
    }
    return HTTP_PARSE_DONE;
}

enum http_parse http_framing_end(struct http_head *head, unsigned seen)
{
    bool version_1_0 = head->minor_version == 0;

    if (!(seen & HTTP_SEEN_RESPONSE) && !head->has_host && !version_1_0) {
        return HTTP_PARSE_BAD;
    }
    if (head->chunked && (head->has_content_length || version_1_0)) {
        return HTTP_PARSE_BAD;
    }
    head->keep_alive = !(seen & HTTP_SEEN_CLOSE) && (!version_1_0 || (seen & HTTP_SEEN_KEEP_ALIVE));
    head->expect_continue &= !version_1_0;
    return HTTP_PARSE_DONE;
}

/* ---- search */

/* ASCII upper case letters of 8 bytes to lower case, the rest unchanged. */
static uint64_t lower64(uint64_t word)
{
    const uint64_t ones = 0x0101010101010101ULL;
    uint64_t seven = word & 0x7f * ones;
    uint64_t from_a = seven + (0x80 - 'A') * ones;
    uint64_t above_z = seven + (0x7f - 'Z') * ones;
    uint64_t upper = (from_a ^ above_z) & ~word & 0x80 * ones;
    return word | upper >> 2;
}

static bool name_equal(const uint8_t *name, const uint8_t *lower, size_t bytes)
{
    if (bytes >= 8) {
        for (size_t i = 0; i + 8 < bytes; i += 8) {
            if (lower64(load64(name + i)) != load64(lower + i)) {
                return false;
            }
        }
        return lower64(load64(name + bytes - 8)) == load64(lower + bytes - 8);
    }
    for (size_t i = 0; i < bytes; i++) {
        if (ascii_lower(name[i]) != lower[i]) {
            return false;
        }
    }
    return true;
}

const struct http_header *http_find(const struct http_head *head, struct slice lower_name,
                                    unsigned *ret_count)
{
    const struct http_header *found = NULL;
    unsigned count = 0;

    bk_assert(lower_name.bytes > 0);
    bk_assert(head->header_count <= HTTP_HEADERS_MAX);
    for (unsigned i = 0; i < head->header_count; i++) {
        const struct http_header *header = &head->headers[i];
        if (header->name_bytes != lower_name.bytes ||
            !name_equal(head->at + header->name_at, lower_name.at, lower_name.bytes)) {
            continue;
        }
        if (found == NULL) {
            found = header;
        }
        count++;
        if (ret_count == NULL) {
            break;
        }
    }
    if (ret_count != NULL) {
        *ret_count = count;
    }
    return found;
}
