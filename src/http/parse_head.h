/* parse_head.h - the head parser, to be included by one implementation each.
 *
 * The includer defines SCAN_TARGET (an attribute naming the instruction set, or nothing),
 * HEAD_REQUEST and HEAD_RESPONSE (names of the two functions), and
 *     scan_token, scan_target, scan_host, scan_value(at, end)
 *         First byte from `at` on that is not of the class, or end.
 *     scan_line(at, end, &constants, &ends)
 *         Whether a whole field line of the usual form is there (a name of less than 64 bytes, one
 *         space behind the colon, a value that is not empty, no white space behind it), and where
 *         its parts end. It may say no to any line; scan_odd_line() below then looks closely.
 *     scan_constants()
 *         What scan_line() wants to have prepared once.
 * Everything is decided strictly from left to right, and what the headers mean when the last one is
 * there, so a prefix never gives another error than the whole.
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

/* The index entry of a field line of the usual form, as a single store: offsets are 16 bit, so none
 * carries into the next. */
static inline void put_line(struct http_header *header, size_t line_at, struct line_ends ends)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    _Static_assert(sizeof *header == 8 && offsetof(struct http_header, name_bytes) == 2 &&
                       offsetof(struct http_header, value_at) == 4 &&
                       offsetof(struct http_header, value_bytes) == 6,
                   "struct http_header is four uint16_t in this order");
    const uint64_t of_line = 1 + (1ULL << 32);
    const uint64_t of_name = (1ULL << 16) + (1ULL << 32) - (1ULL << 48);
    const uint64_t of_space = 2 * (1ULL << 32) - 2 * (1ULL << 48);
    uint64_t entry = line_at * of_line + ends.name * of_name + (ends.value << 48) + of_space;
    memcpy(header, &entry, sizeof entry);
#else
    header->name_at = (uint16_t)line_at;
    header->name_bytes = (uint16_t)ends.name;
    header->value_at = (uint16_t)(line_at + ends.name + 2);
    header->value_bytes = (uint16_t)(ends.value - ends.name - 2);
#endif
}

static inline bool is_white(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* The same for any white space around the value. */
static void put_odd_line(struct http_header *header, size_t line_at, const uint8_t *line,
                         struct line_ends ends)
{
    size_t value = ends.name + 1;
    size_t value_end = ends.value;

    while (is_white(line[value])) { /* the CR at value_end stops it */
        value++;
    }
    while (value_end > value && is_white(line[value_end - 1])) {
        value_end--;
    }
    header->name_at = (uint16_t)line_at;
    header->name_bytes = (uint16_t)ends.name;
    header->value_at = (uint16_t)(line_at + value);
    header->value_bytes = (uint16_t)(value_end - value);
}

/* The same as scan_line() for any line that starts with a token, and why not. */
static SCAN_TARGET enum http_parse scan_odd_line(const uint8_t *at, const uint8_t *end,
                                                 struct line_ends *ret_ends)
{
    const uint8_t *colon = scan_token(at, end);
    if (colon == end) {
        return HTTP_PARSE_PARTIAL;
    }
    if (*colon != ':') {
        return HTTP_PARSE_BAD;
    }
    const uint8_t *value_end = scan_value(colon + 1, end);
    *ret_ends = (struct line_ends){(size_t)(colon - at), (size_t)(value_end - at)};
    return want_crlf(value_end, end);
}

/* All headers are there, and end in front of the empty line. */
static inline SCAN_TARGET enum http_parse head_end(struct http_head *head, const uint8_t *end,
                                                   struct http_framing *framing)
{
    framing->host_bytes = 0;
    if (LIKELY(framing->suspect_count > 0)) {
        const uint8_t *value = head->at + head->headers[framing->suspects[0]].value_at;
        framing->host_bytes = (size_t)(scan_host(value, end) - value);
    }
    return http_framing(head, framing);
}

/* The header section from `at` on, up to and with the empty line. */
static inline SCAN_TARGET enum http_parse head_fields(struct http_head *head, const uint8_t *at,
                                                      const uint8_t *end, bool response)
{
    const struct scan_constants constants = scan_constants();
    const uint8_t *const base = head->at;
    uint8_t suspects[HTTP_HEADERS_MAX];
    size_t suspect_count = 0;
    size_t count = 0;
    struct line_ends ends;

    for (;;) {
        if (UNLIKELY(count == HTTP_HEADERS_MAX)) {
            break;
        }
        if (LIKELY(scan_line(at, end, &constants, &ends) && ends.name != 0)) {
            put_line(&head->headers[count], (size_t)(at - base), ends);
        } else {
            if (at == end || !(http_byte_class[*at] & HTTP_CLASS_TOKEN)) {
                break;
            }
            enum http_parse line = scan_odd_line(at, end, &ends);
            if (line != HTTP_PARSE_DONE) {
                return line;
            }
            put_odd_line(&head->headers[count], (size_t)(at - base), at, ends);
        }
        uint8_t tag = http_name_tag(at, ends.name);
        head->tags[count] = tag;
        suspects[suspect_count] = (uint8_t)count;
        suspect_count += HTTP_FRAMING_TAGS >> (tag & 63) & 1;
        at += ends.value + 2;
        count++;
    }
    if (UNLIKELY(count == HTTP_HEADERS_MAX && at < end &&
                 (http_byte_class[*at] & HTTP_CLASS_TOKEN))) {
        return HTTP_PARSE_TOO_LONG;
    }

    /* No token here: the empty line, or nothing that could be a field (a folded one, say). */
    enum http_parse empty_line = want_crlf(at, end);
    if (UNLIKELY(empty_line != HTTP_PARSE_DONE)) {
        return empty_line;
    }
    head->head_bytes = (uint32_t)(at + 2 - base);
    head->header_count = (uint16_t)count;
    struct http_framing framing = {
        .suspects = suspects, .suspect_count = (unsigned)suspect_count, .response = response};
    return head_end(head, end, &framing);
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
    bool post = end - method > 5 && load32(method) == load32("POST") && method[4] == ' ';
    const uint8_t *target = LIKELY(post) ? method + 4 : scan_token(method, end);
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
    head->method = LIKELY(post) ? HTTP_POST : http_method_known(method, method_bytes);
    if (LIKELY(*target == '/' && head->method != HTTP_CONNECT)) {
        return HTTP_PARSE_DONE;
    }
    return http_target_fits(head) ? HTTP_PARSE_DONE : HTTP_PARSE_BAD;
}

/* What PARTIAL means when all that a head may have has been given. */
static inline enum http_parse head_result(enum http_parse result, size_t bytes)
{
    return result == HTTP_PARSE_PARTIAL && bytes >= HTTP_HEAD_BYTES_MAX ? HTTP_PARSE_TOO_LONG
                                                                        : result;
}

SCAN_TARGET enum http_parse HEAD_REQUEST(const uint8_t *at, size_t bytes, struct http_head *head)
{
    if (UNLIKELY(bytes == 0)) {
        return HTTP_PARSE_PARTIAL; /* `at` may be NULL, which cannot be added to */
    }
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
        result = head_fields(head, at, end, false);
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
    if (UNLIKELY(bytes == 0)) {
        return HTTP_PARSE_PARTIAL; /* `at` may be NULL, which cannot be added to */
    }
    const uint8_t *end = at + (bytes < HTTP_HEAD_BYTES_MAX ? bytes : HTTP_HEAD_BYTES_MAX);

    head->at = at;
    head->method = HTTP_METHOD_OTHER;
    head->method_at = 0;
    head->method_bytes = 0;
    enum http_parse result = status_line(head, &at, end);
    if (LIKELY(result == HTTP_PARSE_DONE)) {
        result = head_fields(head, at, end, true);
    }
    return head_result(result, bytes);
}
