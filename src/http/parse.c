/* parse.c - the choice of implementation, and all of the head parser that is not about bytes in
 * bulk. */
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
    if ((any || isa == HTTP_PARSE_AVX512) && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("bmi")) {
        request_fn = http_parse_request_avx512;
        response_fn = http_parse_response_avx512;
        vector_bytes = 64;
        return HTTP_PARSE_AVX512;
    }
    if ((any || isa >= HTTP_PARSE_AVX2) && __builtin_cpu_supports("avx2") &&
        __builtin_cpu_supports("bmi")) {
        request_fn = http_parse_request_avx2;
        response_fn = http_parse_response_avx2;
        vector_bytes = 64;
        return HTTP_PARSE_AVX2;
    }
    if ((any || isa >= HTTP_PARSE_SSE42) && __builtin_cpu_supports("sse4.2")) {
        request_fn = http_parse_request_sse42;
        response_fn = http_parse_response_sse42;
        vector_bytes = 32;
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

enum http_method http_method_known(const uint8_t *at, size_t bytes)
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

    if (bytes >= sizeof name) {
        return HTTP_METHOD_OTHER;
    }
    memcpy(name, at, bytes);
    for (size_t i = 0; i < bk_array_length(methods); i++) {
        if (load64(name) == load64(methods[i].name)) {
            return methods[i].method;
        }
    }
    return HTTP_METHOD_OTHER;
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

/* How many bytes of reg-name (or IPv4address) of RFC 3986 the text starts with. */
static size_t reg_name_bytes(struct slice text)
{
    const uint8_t *at = text.at;
    size_t i = 0;

    for (;;) {
        while (text.bytes - i >= 4 &&
               (http_byte_class[at[i]] & http_byte_class[at[i + 1]] & http_byte_class[at[i + 2]] &
                http_byte_class[at[i + 3]] & HTTP_CLASS_HOST)) {
            i += 4;
        }
        while (i < text.bytes && (http_byte_class[at[i]] & HTTP_CLASS_HOST)) {
            i++;
        }
        if (text.bytes - i < 3 || at[i] != '%' ||
            !all_of_class(slice_of(at + i + 1, 2), HTTP_CLASS_HEX)) {
            return i;
        }
        i += 3;
    }
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
        host_bytes = reg_name_bytes(text);
        if (host_bytes == 0) {
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
    if (target.at[0] != '/') {
        size_t scheme = scheme_bytes(target);
        if (scheme > 0) {
            target = slice_skip(target, authority_end(target, scheme));
        }
    }
    size_t path_bytes = slice_find(target, '?');
    *ret_query = slice_skip(target, path_bytes + 1);
    *ret_path = path_bytes > 0 ? slice_of(target.at, path_bytes) : SLICE("/");
}

struct slice http_authority(const struct http_head *head)
{
    struct slice target = http_target(head);
    size_t scheme = head->method == HTTP_CONNECT ? 0 : scheme_bytes(target);
    if (scheme > 0) {
        return slice_of(target.at + scheme, authority_end(target, scheme) - scheme);
    }
    const struct http_header *host = http_find(head, SLICE("host"), NULL);
    return host ? http_header_value(head, host) : SLICE_EMPTY;
}

struct slice http_origin_form(const struct http_head *head)
{
    struct slice target = http_target(head);
    size_t scheme = head->method == HTTP_CONNECT ? 0 : scheme_bytes(target);
    if (scheme == 0) {
        return target;
    }
    struct slice rest = slice_skip(target, authority_end(target, scheme));
    /* "http://host?query" is rare enough to lose its query, which no route of ours has at "/". */
    return rest.bytes > 0 && rest.at[0] == '/' ? rest : SLICE("/");
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

/* What the headers say, besides what is in struct http_head. */
struct verdict {
    bool close;
    bool keep_alive;
    bool transfer_encoding;
};

static enum http_parse on_connection(struct verdict *verdict, struct slice value)
{
    struct slice option;

    while (next_element(&value, &option)) {
        verdict->close |= slice_equal_nocase(option, SLICE("close"));
        verdict->keep_alive |= slice_equal_nocase(option, SLICE("keep-alive"));
    }
    return HTTP_PARSE_DONE;
}

static enum http_parse on_content_length(struct http_head *head, struct slice value)
{
    uint64_t length = 0;

    if (head->has_content_length || value.bytes == 0) {
        return HTTP_PARSE_BAD;
    }
    const uint8_t *end = value.at + value.bytes;
    for (const uint8_t *at = value.at; at < end; at++) {
        unsigned digit = (unsigned)*at - '0';
        if (digit > 9 || length > (UINT64_MAX - 9) / 10) {
            return HTTP_PARSE_BAD;
        }
        length = length * 10 + digit;
    }
    head->content_length = length;
    head->has_content_length = true;
    return HTTP_PARSE_DONE;
}

/* Exactly "chunked" is what we can read. A list of other codings is 501, anything that is no list
 * of codings, or has chunked twice or not at its end, is malformed. */
static enum http_parse on_transfer_encoding(struct http_head *head, struct verdict *verdict,
                                            struct slice value)
{
    if (verdict->transfer_encoding) {
        return HTTP_PARSE_BAD;
    }
    verdict->transfer_encoding = true;
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

/* `good_bytes` at the start are known to be good for a host. */
static enum http_parse on_host(struct http_head *head, struct slice value, size_t good_bytes)
{
    if (head->has_host) {
        return HTTP_PARSE_BAD;
    }
    bool plain = good_bytes > 0 && good_bytes < value.bytes && value.at[good_bytes] == ':' &&
                 is_port(slice_skip(value, good_bytes + 1));
    if (good_bytes < value.bytes && !plain && !is_host_and_port(value, false)) {
        return HTTP_PARSE_BAD;
    }
    head->has_host = true;
    return HTTP_PARSE_DONE;
}

/* Names are tokens, and among tokens OR 0x20 maps only letters onto the letters and hyphens here.
 */
#define FOLD64 0x2020202020202020ULL
#define FOLD32 0x20202020U

/* Whether a name of `bytes` bytes, at least 8, is `lower`; the first 4 are known to be equal. */
static inline bool is_name(const uint8_t *name, size_t name_bytes, const char *lower, size_t bytes)
{
    if (name_bytes != bytes) {
        return false;
    }
    for (size_t i = 4; i + 8 < bytes; i += 8) {
        if ((load64(name + i) | FOLD64) != load64(lower + i)) {
            return false;
        }
    }
    return (load64(name + bytes - 8) | FOLD64) == load64(lower + bytes - 8);
}

/* `host_bytes` at the start of the value are known to be good for a host; a response has none. */
static enum http_parse judge(struct http_head *head, unsigned number, size_t host_bytes,
                             bool response, struct verdict *verdict)
{
    const struct http_header *header = &head->headers[number];
    const uint8_t *name = head->at + header->name_at;
    size_t bytes = header->name_bytes;
    uint32_t start = load32(name) | FOLD32;

    if (start == load32("host")) {
        return bytes == 4 && !response
                   ? on_host(head, http_header_value(head, header), host_bytes)
                   : HTTP_PARSE_DONE;
    }
    if (start == load32("content-length")) {
        return is_name(name, bytes, "content-length", 14)
                   ? on_content_length(head, http_header_value(head, header))
                   : HTTP_PARSE_DONE;
    }
    if (start == load32("connection")) {
        return is_name(name, bytes, "connection", 10)
                   ? on_connection(verdict, http_header_value(head, header))
                   : HTTP_PARSE_DONE;
    }
    if (start == load32("transfer-encoding")) {
        return is_name(name, bytes, "transfer-encoding", 17)
                   ? on_transfer_encoding(head, verdict, http_header_value(head, header))
                   : HTTP_PARSE_DONE;
    }
    if (start == load32("expect") && bytes == 6 && (load32(name + 2) | FOLD32) == load32("pect")) {
        head->expect_continue |=
            slice_equal_nocase(http_header_value(head, header), SLICE("100-continue"));
    }
    return HTTP_PARSE_DONE;
}

enum http_parse http_framing(struct http_head *head, const struct http_framing *framing)
{
    struct verdict verdict = {0};
    bool version_1_0 = head->minor_version == 0;
    size_t host_bytes = framing->host_bytes;

    head->content_length = 0;
    head->chunked = false;
    head->has_content_length = false;
    head->expect_continue = false;
    head->has_host = false;
    for (unsigned i = 0; i < framing->suspect_count; i++) {
        enum http_parse result =
            judge(head, framing->suspects[i], host_bytes, framing->response, &verdict);
        if (result != HTTP_PARSE_DONE) {
            return result;
        }
        host_bytes = 0;
    }
    if (!head->has_host && !version_1_0 && !framing->response) {
        return HTTP_PARSE_BAD;
    }
    if (head->chunked && (head->has_content_length || version_1_0)) {
        return HTTP_PARSE_BAD;
    }
    head->keep_alive = !verdict.close && (!version_1_0 || verdict.keep_alive);
    head->expect_continue &= !version_1_0;
    return HTTP_PARSE_DONE;
}
