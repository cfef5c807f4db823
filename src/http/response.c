#include "http/response.h"

#include "base/assert.h"

void http_response_init(struct http_response *response, uint64_t body_bytes_max)
{
    *response =
        (struct http_response){.state = HTTP_RESPONSE_HEAD, .body_bytes_max = body_bytes_max};
    http_chunked_init(&response->chunked);
}

static enum http_step fail(struct http_response *response, enum bk_err err, const char *why)
{
    response->state = HTTP_RESPONSE_FAILED;
    response->keep_alive = false;
    response->err = err;
    response->why = why;
    return HTTP_STEP_FAILED;
}

static enum http_step fail_parse(struct http_response *response, enum http_parse result)
{
    response->malformed = result == HTTP_PARSE_BAD || result == HTTP_PARSE_TOO_LONG;
    return fail(response, BK_PROTOCOL,
                result == HTTP_PARSE_TOO_LONG          ? "the head of the answer is too long"
                : result == HTTP_PARSE_BAD_VERSION     ? "the answer is not HTTP/1.x"
                : result == HTTP_PARSE_NOT_IMPLEMENTED ? "the answer has a transfer coding that "
                                                         "nobody asked for"
                                                       : "the head of the answer is malformed");
}

static enum http_step done(struct http_response *response)
{
    response->state = HTTP_RESPONSE_DONE;
    return HTTP_STEP_DONE;
}

/* Where there can be none (1xx, 204), or nobody asked whether something changed (304). */
static bool says_body(const struct http_head *head)
{
    return head->chunked || head->content_length > 0;
}

/* The final head is here: how its body ends (RFC 9112 6.3). */
static enum http_step frame(struct http_response *response, const struct http_head *head)
{
    bool tunnel = response->connect_method && head->status / 100 == 2;

    if (head->status == 204 || head->status == 304) {
        response->doubt |= says_body(head);
    }
    response->keep_alive = head->keep_alive && !response->doubt;
    if (tunnel || response->head_method || head->status == 204 || head->status == 304) {
        response->state = HTTP_RESPONSE_LENGTH;
        response->left = 0;
    } else if (head->chunked) {
        response->state = HTTP_RESPONSE_CHUNKED;
    } else if (head->has_content_length) {
        response->state = HTTP_RESPONSE_LENGTH;
        response->left = head->content_length;
    } else {
        response->state = HTTP_RESPONSE_UNTIL_CLOSE;
        response->keep_alive = false;
    }
    if (response->state == HTTP_RESPONSE_LENGTH && response->left > response->body_bytes_max) {
        return fail(response, BK_TOO_LARGE, "the body of the answer is over the limit");
    }
    return HTTP_STEP_HEAD;
}

static enum http_step step_head(struct http_response *response, uint8_t *at, size_t bytes,
                                size_t *ret_used, struct http_head *ret_head)
{
    enum http_parse result = http_parse_response(at, bytes, ret_head);

    if (result == HTTP_PARSE_PARTIAL) {
        return HTTP_STEP_MORE;
    }
    if (result != HTTP_PARSE_DONE) {
        return fail_parse(response, result);
    }
    *ret_used = ret_head->head_bytes;
    if (ret_head->status >= 200) {
        return ret_head->status < 600
                   ? frame(response, ret_head)
                   : fail(response, BK_PROTOCOL, "the answer has a status above 599");
    }
    if (ret_head->status == 101) {
        return fail(response, BK_PROTOCOL, "the server switched to a protocol nobody asked for");
    }
    response->doubt |= says_body(ret_head);
    if (++response->interim_count > HTTP_RESPONSE_INTERIM_MAX) {
        return fail(response, BK_PROTOCOL, "too many interim answers (1xx)");
    }
    return HTTP_STEP_MORE;
}

static enum http_step give_piece(struct http_response *response, const uint8_t *at, size_t bytes,
                                 struct slice *ret_piece)
{
    if (bytes > response->body_bytes_max - response->body_bytes) {
        return fail(response, BK_TOO_LARGE, "the body of the answer is over the limit");
    }
    response->body_bytes += bytes;
    *ret_piece = slice_of(at, bytes);
    return HTTP_STEP_PIECE;
}

static enum http_step step_chunked(struct http_response *response, uint8_t *at, size_t bytes,
                                   size_t *ret_used, struct slice *ret_piece)
{
    size_t decoded = bytes;
    enum http_parse result = http_chunked_decode(&response->chunked, at, &decoded, ret_used);

    /* The limit first: what is told must not depend on how much came at once. */
    if (decoded > response->body_bytes_max - response->body_bytes) {
        return fail(response, BK_TOO_LARGE, "the body of the answer is over the limit");
    }
    if (result != HTTP_PARSE_DONE && result != HTTP_PARSE_PARTIAL) {
        return fail(response, BK_PROTOCOL, "the chunks of the answer are malformed");
    }
    if (decoded > 0) {
        enum http_step step = give_piece(response, at, decoded, ret_piece);
        if (result == HTTP_PARSE_DONE && step == HTTP_STEP_PIECE) {
            response->state = HTTP_RESPONSE_LENGTH; /* the next step says DONE */
            response->left = 0;
        }
        return step;
    }
    return result == HTTP_PARSE_DONE ? done(response) : HTTP_STEP_MORE;
}

enum http_step http_response_step(struct http_response *response, uint8_t *at, size_t bytes,
                                  size_t *ret_used, struct http_head *ret_head,
                                  struct slice *ret_piece)
{
    *ret_used = 0;
    for (;;) {
        size_t used = 0;
        switch ((enum http_response_state)response->state) {
        case HTTP_RESPONSE_HEAD: {
            enum http_step step = step_head(response, at, bytes, &used, ret_head);
            *ret_used += used;
            at += used;
            bytes -= used;
            if (step == HTTP_STEP_MORE && used > 0) {
                continue; /* behind an interim answer */
            }
            return step;
        }
        case HTTP_RESPONSE_LENGTH:
            if (response->left == 0) {
                return done(response);
            }
            if (bytes == 0) {
                return HTTP_STEP_MORE;
            }
            used = bytes < response->left ? bytes : (size_t)response->left;
            response->left -= used;
            *ret_used = used;
            return give_piece(response, at, used, ret_piece);
        case HTTP_RESPONSE_CHUNKED:
            return bytes == 0 ? HTTP_STEP_MORE
                              : step_chunked(response, at, bytes, ret_used, ret_piece);
        case HTTP_RESPONSE_UNTIL_CLOSE:
            *ret_used = bytes;
            return bytes == 0 ? HTTP_STEP_MORE : give_piece(response, at, bytes, ret_piece);
        case HTTP_RESPONSE_DONE:
            return HTTP_STEP_DONE;
        case HTTP_RESPONSE_FAILED:
            return HTTP_STEP_FAILED;
        default:
            bk_never("a state of an answer");
        }
    }
}

enum http_step http_response_end(struct http_response *response)
{
    switch ((enum http_response_state)response->state) {
    case HTTP_RESPONSE_UNTIL_CLOSE:
    case HTTP_RESPONSE_DONE:
        return done(response);
    case HTTP_RESPONSE_FAILED:
        return HTTP_STEP_FAILED;
    case HTTP_RESPONSE_HEAD:
        return fail(response, BK_PROTOCOL, "the connection was closed before an answer came");
    case HTTP_RESPONSE_LENGTH:
    case HTTP_RESPONSE_CHUNKED:
    default:
        return fail(response, BK_PROTOCOL, "the connection was closed in the middle of the answer");
    }
}
