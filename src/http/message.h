/* message.h - what a parsed HTTP/1.1 message head looks like. Data only.
 *
 * Purpose     The parser writes it, verification and providers read it. Names and
 *             values are offsets into the head's own bytes, so that the same index
 *             still holds for a copy of those bytes (the journal's).
 * Ownership   `at` belongs to the caller of the parser; the index dies with it.
 * Limits      HTTP_HEAD_BYTES_MAX (offsets are 16 bit), HTTP_HEADERS_MAX.
 * Source      RFC 9110 section 5, RFC 9112 sections 2 to 7.
 */
#ifndef BECKET_HTTP_MESSAGE_H
#define BECKET_HTTP_MESSAGE_H

#include "base/limits.h"
#include "base/slice.h"

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_PATCH,
    HTTP_CONNECT,
    HTTP_TRACE,
    HTTP_METHOD_OTHER /* a valid token we do not know */
};

struct http_header {
    uint16_t name_at;
    uint16_t name_bytes;
    uint16_t value_at; /* without surrounding white space */
    uint16_t value_bytes;
};

/* Rounded up, so that sixteen tags can be compared at once. */
#define HTTP_TAGS_MAX ((HTTP_HEADERS_MAX + 15U) / 16U * 16U)

struct http_head {
    const uint8_t *at;       /* first byte of the message */
    uint32_t head_bytes;     /* up to and with the empty line */
    enum http_method method; /* requests; HTTP_METHOD_OTHER in a response */
    uint16_t status;         /* responses, 100 to 999; 0 in a request */
    uint8_t minor_version;   /* HTTP/1.x: 0, or 1 for everything later */
    bool keep_alive;         /* after RFC 9112 9.3 */
    bool chunked;
    bool has_content_length;
    bool expect_continue;
    bool has_host;
    uint64_t content_length; /* 0 unless has_content_length */
    uint16_t method_at;      /* 0, or 2 after a leading empty line */
    uint16_t method_bytes;
    uint16_t target_at; /* request-target as sent; the reason phrase of a response */
    uint16_t target_bytes;
    uint16_t header_count;
    struct http_header headers[HTTP_HEADERS_MAX];
    uint8_t tags[HTTP_TAGS_MAX]; /* http_name_tag() of each header's name */
};

/* A hash of a header name, the same in any case, that tells nearly all names of one message apart.
 */
static inline uint8_t http_name_tag(const uint8_t *name, size_t bytes)
{
    return (uint8_t)(bytes + ((size_t)(name[bytes - 1] | 0x20) << 3));
}

static inline struct slice http_header_name(const struct http_head *head,
                                            const struct http_header *header)
{
    return slice_of(head->at + header->name_at, header->name_bytes);
}

static inline struct slice http_header_value(const struct http_head *head,
                                             const struct http_header *header)
{
    return slice_of(head->at + header->value_at, header->value_bytes);
}

static inline struct slice http_method_text(const struct http_head *head)
{
    return slice_of(head->at + head->method_at, head->method_bytes);
}

static inline struct slice http_target(const struct http_head *head)
{
    return slice_of(head->at + head->target_at, head->target_bytes);
}

/* First header with this name (given in lower case), or NULL. ret_count, when not NULL, is how many
 * headers carry the name: a doubled signature header must be refused. */
const struct http_header *http_find(const struct http_head *head, struct slice lower_name,
                                    unsigned *ret_count);
/* The same for several names in one pass over the head. ret_at[i] is 1 + the index of the first
 * header with names[i], 0 = there is none. Of the result, bit i: there is one; bit 16 + i: there is
 * another. `tags` are http_name_tag() of the names, sixteen times each; at most 16 of them. */
uint32_t http_locate(const struct http_head *head, const struct slice *names,
                     const uint8_t (*tags)[16], unsigned count, uint8_t *ret_at);
/* The next header with this name behind `after` (NULL = the first); NULL = no more. */
const struct http_header *http_next(const struct http_head *head, struct slice lower_name,
                                    const struct http_header *after);

/* The target of a request taken apart: the path as sent ("/" when an absolute-form target has none,
 * "*" for the asterisk form, empty for CONNECT) and what follows the first '?' (empty when there is
 * none). Nothing is decoded. The slices live as long as head->at, "/" is static. */
void http_split_target(const struct http_head *head, struct slice *ret_path,
                       struct slice *ret_query);
/* Whom the request is for: the authority of an absolute-form target, else the value of Host (RFC
 * 9112 3.2.2: Host does not count then); empty when there is none. */
struct slice http_authority(const struct http_head *head);
/* The target without scheme and authority. */
struct slice http_origin_form(const struct http_head *head);

#endif
