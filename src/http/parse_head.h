/* parse_head.h - the head parser, to be included by one implementation each.
 *
 * The includer defines SCAN_TARGET (an attribute naming the instruction set, or nothing), HEAD_REQUEST
 * and HEAD_RESPONSE (names of the two functions), and
 *     scan_token, scan_target, scan_value(at, end): first byte from `at` that is not of the class, or end.
 * Everything is decided strictly from left to right, so that a prefix never gives another error than
 * the whole.
 */
#include "http/parse_internal.h"

#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define LIKELY(condition) __builtin_expect(!!(condition), 1)

static inline bool is_crlf(const uint8_t *at)
{
    return load16(at) == load16("\r\n");
}

/* CR LF must stand at `at`. DONE, PARTIAL or BAD. */
static inline enum http_parse want_crlf(const uint8_t *at, const uint8_t *end)
{
    if (LIKELY(end - at >= 2)) {
        return LIKELY(is_crlf(at)) ? HTTP_PARSE_DONE : HTTP_PARSE_BAD;
    }
    return at == end || *at == '\r' ? HTTP_PARSE_PARTIAL : HTTP_PARSE_BAD;
}

/* Trim the value and write the index entry. `colon` and `value_end` are its borders. */
static inline void put_header(struct http_header *header, const uint8_t *base, const uint8_t *name,
                              const uint8_t *colon, const uint8_t *value_end)
{
    const uint8_t *value = colon + 1;

    while (*value == ' ' || *value == '\t') { /* the CR at value_end stops it */
        value++;
    }
    while (value_end > value && UNLIKELY(value_end[-1] == ' ' || value_end[-1] == '\t')) {
        value_end--;
    }
    header->name_at = (uint16_t)(name - base);
    header->name_bytes = (uint16_t)(colon - name);
    header->value_at = (uint16_t)(value - base);
    header->value_bytes = (uint16_t)(value_end - value);
}

/* The header section from `at` on, up to and with the empty line. */
static inline SCAN_TARGET enum http_parse head_fields(struct http_head *head, const uint8_t *at,
                                                      const uint8_t *end, unsigned seen)
{
    const uint8_t *const base = head->at;
    struct http_header *header = head->headers;

    head->content_length = 0;
    head->chunked = false;
    head->has_content_length = false;
    head->expect_continue = false;
    head->has_host = false;
    for (;;) {
        const uint8_t *name = at;
        const uint8_t *colon = scan_token(name, end);
        if (UNLIKELY(colon == name)) {
            at = name;
            break;
        }
        if (UNLIKELY(header == head->headers + HTTP_HEADERS_MAX)) {
            return HTTP_PARSE_TOO_LONG;
        }
        if (UNLIKELY(colon == end)) {
            return HTTP_PARSE_PARTIAL;
        }
        if (UNLIKELY(*colon != ':')) {
            return HTTP_PARSE_BAD;
        }
        at = scan_value(colon + 1, end);
        enum http_parse line_end = want_crlf(at, end);
        if (UNLIKELY(line_end != HTTP_PARSE_DONE)) {
            return line_end;
        }
        put_header(header, base, name, colon, at);
        at += 2;
        size_t name_bytes = (size_t)(colon - name);
        if (name_bytes <= HTTP_FRAMING_NAME_BYTES_MAX && (HTTP_FRAMING_LENGTHS >> name_bytes & 1)) {
            enum http_parse framing = http_framing_field(head, header, &seen);
            if (UNLIKELY(framing != HTTP_PARSE_DONE)) {
                return framing;
            }
        }
        header++;
    }

    /* No token here: the empty line, or nothing that could be a field (a folded one, say). */
    enum http_parse empty_line = want_crlf(at, end);
    if (UNLIKELY(empty_line != HTTP_PARSE_DONE)) {
        return empty_line;
    }
    head->head_bytes = (uint32_t)(at + 2 - base);
    head->header_count = (uint16_t)(header - head->headers);
    return http_framing_end(head, seen);
}

/* " HTTP/1.x CR LF" has been reached up to the space; *at moves behind the line. */
static inline enum http_parse request_version(struct http_head *head, const uint8_t **at,
                                              const uint8_t *end, bool *ret_known)
{
    if (LIKELY(end - *at >= 10 && load64(*at) == load64("HTTP/1.1") && is_crlf(*at + 8))) {
        head->minor_version = 1;
        *ret_known = true;
        *at += 10;
        return HTTP_PARSE_DONE;
    }
    enum http_parse version =
        http_version(*at, (size_t)(end - *at), &head->minor_version, ret_known);
    if (version != HTTP_PARSE_DONE) {
        return version;
    }
    version = want_crlf(*at + 8, end);
    *at += 10;
    return version;
}

static inline SCAN_TARGET enum http_parse request_line(struct http_head *head, const uint8_t **at,
                                                       const uint8_t *end)
{
    const uint8_t *method = *at;
    const uint8_t *target = scan_token(method, end);
    size_t method_bytes = (size_t)(target - method);
    if (UNLIKELY(method_bytes > HTTP_METHOD_BYTES_MAX)) {
        return HTTP_PARSE_NOT_IMPLEMENTED;
    }
    if (UNLIKELY(target == end)) {
        return HTTP_PARSE_PARTIAL;
    }
    if (UNLIKELY(*target != ' ' || method_bytes == 0)) {
        return HTTP_PARSE_BAD;
    }
    head->method_at = (uint16_t)(method - head->at);
    head->method_bytes = (uint16_t)method_bytes;

    target++;
    const uint8_t *version = scan_target(target, end);
    size_t target_bytes = (size_t)(version - target);
    if (UNLIKELY(target_bytes > HTTP_TARGET_BYTES_MAX)) {
        return HTTP_PARSE_URI_TOO_LONG;
    }
    if (UNLIKELY(version == end)) {
        return HTTP_PARSE_PARTIAL;
    }
    if (UNLIKELY(*version != ' ' || target_bytes == 0)) {
        return HTTP_PARSE_BAD;
    }
    head->target_at = (uint16_t)(target - head->at);
    head->target_bytes = (uint16_t)target_bytes;

    bool known;
    *at = version + 1;
    enum http_parse result = request_version(head, at, end, &known);
    if (UNLIKELY(result != HTTP_PARSE_DONE)) {
        return result;
    }
    if (UNLIKELY(!known)) {
        return HTTP_PARSE_BAD_VERSION;
    }
    http_method_known(head);
    return LIKELY(http_target_fits(head)) ? HTTP_PARSE_DONE : HTTP_PARSE_BAD;
}

/* What PARTIAL means when all that a head may have has been given. */
static inline enum http_parse head_result(enum http_parse result, size_t bytes)
{
    return result == HTTP_PARSE_PARTIAL && bytes >= HTTP_HEAD_BYTES_MAX ? HTTP_PARSE_TOO_LONG
                                                                        : result;
}

SCAN_TARGET enum http_parse HEAD_REQUEST(const uint8_t *at, size_t bytes, struct http_head *head)
{
    const uint8_t *end = at + (bytes < HTTP_HEAD_BYTES_MAX ? bytes : HTTP_HEAD_BYTES_MAX);

    head->at = at;
    head->status = 0;
    if (UNLIKELY(at < end && *at == '\r')) {
        enum http_parse empty_line = want_crlf(at, end);
        if (empty_line != HTTP_PARSE_DONE) {
            return empty_line;
        }
        at += 2;
    }
    enum http_parse result = request_line(head, &at, end);
    if (LIKELY(result == HTTP_PARSE_DONE)) {
        result = head_fields(head, at, end, 0);
    }
    return head_result(result, bytes);
}

/* HTTP/1.x SP 3DIGIT [SP reason] CR LF. */
static inline SCAN_TARGET enum http_parse status_line(struct http_head *head, const uint8_t **at,
                                                      const uint8_t *end)
{
    const uint8_t *next = *at;
    bool known;
    enum http_parse result =
        http_version(next, (size_t)(end - next), &head->minor_version, &known);
    if (UNLIKELY(result != HTTP_PARSE_DONE)) {
        return result;
    }
    next += 8;
    unsigned status = 0;
    for (unsigned i = 0; i < 4; i++, next++) {
        if (UNLIKELY(next == end)) {
            return HTTP_PARSE_PARTIAL;
        }
        unsigned digit = (unsigned)*next - '0';
        if (UNLIKELY(i == 0 ? *next != ' ' : digit > 9 || (i == 1 && digit == 0))) {
            return HTTP_PARSE_BAD;
        }
        status = i == 0 ? 0 : status * 10 + digit;
    }
    head->status = (uint16_t)status;

    if (LIKELY(next < end && *next == ' ')) {
        next++;
    } else if (next < end && *next != '\r') {
        return HTTP_PARSE_BAD;
    }
    const uint8_t *reason_end = scan_value(next, end);
    head->target_at = (uint16_t)(next - head->at);
    head->target_bytes = (uint16_t)(reason_end - next);
    result = want_crlf(reason_end, end);
    if (UNLIKELY(result != HTTP_PARSE_DONE)) {
        return result;
    }
    *at = reason_end + 2;
    return LIKELY(known) ? HTTP_PARSE_DONE : HTTP_PARSE_BAD_VERSION;
}

SCAN_TARGET enum http_parse HEAD_RESPONSE(const uint8_t *at, size_t bytes, struct http_head *head)
{
    const uint8_t *end = at + (bytes < HTTP_HEAD_BYTES_MAX ? bytes : HTTP_HEAD_BYTES_MAX);

    head->at = at;
    head->method = HTTP_METHOD_OTHER;
    head->method_at = 0;
    head->method_bytes = 0;
    enum http_parse result = status_line(head, &at, end);
    if (LIKELY(result == HTTP_PARSE_DONE)) {
        result = head_fields(head, at, end, HTTP_SEEN_RESPONSE);
    }
    return head_result(result, bytes);
}
