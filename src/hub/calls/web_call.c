#include "hub/calls/web_call.h"

#include "base/url.h"
#include "http/write.h"

#include <stdlib.h>

#define HEAD_BYTES_MAX  32768U
#define CALL_TIMEOUT_MS 30000U

struct pending {
    outbound_done_fn *done;
    void *context;
    struct http_origin origin; /* lives as long as the call */
    uint8_t head[HEAD_BYTES_MAX];
};

static void pending_free(struct pending *pending)
{
    explicit_bzero(pending->head, sizeof pending->head); /* the credential was in it */
    free(pending);
}

static void done(void *context, const struct outbound_answer *answer)
{
    struct pending *pending = context;
    pending->done(pending->context, answer);
    pending_free(pending);
}

static struct slice method_text(enum http_method method)
{
    switch (method) {
    case HTTP_GET:
        return SLICE("GET");
    case HTTP_POST:
        return SLICE("POST");
    case HTTP_PUT:
        return SLICE("PUT");
    case HTTP_PATCH:
        return SLICE("PATCH");
    case HTTP_DELETE:
        return SLICE("DELETE");
    case HTTP_HEAD:
    case HTTP_OPTIONS:
    case HTTP_CONNECT:
    case HTTP_TRACE:
    case HTTP_METHOD_OTHER:
        break;
    }
    return SLICE("HEAD");
}

/* "Name: value\r\n" each. */
static void write_lines(struct http_write *write, struct slice lines)
{
    while (lines.bytes > 0) {
        size_t end = slice_find(lines, '\r');
        struct slice line = slice_of(lines.at, end);
        size_t colon = slice_find(line, ':');
        http_write_header(write, slice_of(line.at, colon), slice_trim(slice_skip(line, colon + 1)));
        lines = slice_skip(lines, end + 2);
    }
}

static enum bk_err start(struct outbound *outbound, struct pending *pending,
                         const struct web_call *call, const char **ret_why)
{
    struct http_write write;
    struct slice head;
    struct url url;
    *ret_why = "the address cannot be called";
    enum bk_err err = url_parse(call->url, &url, ret_why);
    if (err != BK_OK) {
        return err;
    }
    http_origin_from_url(&pending->origin, &url);
    pending->origin.allow_private = call->allow_private;
    http_origin_init(&pending->origin);
    http_write_init(&write, pending->head, sizeof pending->head);
    http_write_request(&write, method_text(call->method), &pending->origin, url.path, url.query);
    /* Who is told nothing may pack its answer. */
    http_write_header(&write, SLICE("Accept-Encoding"), SLICE("identity"));
    write_lines(&write, call->headers);
    if (call->body.bytes > 0 || call->method == HTTP_POST || call->method == HTTP_PUT ||
        call->method == HTTP_PATCH) {
        http_write_header_number(&write, SLICE("Content-Length"), call->body.bytes);
    }
    err = http_write_end(&write, &head);
    if (err != BK_OK) {
        *ret_why = "the request holds bytes that no header may have";
        return err;
    }
    struct outbound_request request = {.origin = &pending->origin,
                                       .head = head,
                                       .body = call->body,
                                       .head_method = call->method == HTTP_HEAD,
                                       .repeatable = call->repeatable,
                                       .timeout_ms = CALL_TIMEOUT_MS,
                                       .body_bytes_max = call->body_bytes_max,
                                       .done = done,
                                       .context = pending};
    err = outbound_call(outbound, &request);
    *ret_why = bk_err_text(err);
    return err;
}

enum bk_err web_call_start(struct outbound *outbound, const struct web_call *call,
                           const char **ret_why)
{
    struct pending *pending = calloc(1, sizeof *pending);
    if (!pending) {
        *ret_why = "out of memory";
        return BK_NO_MEMORY;
    }
    pending->done = call->done;
    pending->context = call->context;
    enum bk_err err = start(outbound, pending, call, ret_why);
    if (err != BK_OK) {
        pending_free(pending);
    }
    return err;
}
