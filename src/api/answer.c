#include "api/route.h"
#include "api/stream.h"

#include "base/assert.h"
#include "base/json.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void api_response_init(struct api_response *response)
{
    memset(response, 0, sizeof *response);
    buf_init(&response->body, API_RESPONSE_BYTES_MAX);
}

void api_response_fini(struct api_response *response)
{
    if (response->work != NULL) {
        response->work->free_work(response->work);
        response->work = NULL;
    }
    if (response->stream != NULL) {
        api_stream_free(response->stream);
        response->stream = NULL;
    }
    buf_fini(&response->body);
}

void api_add_header(struct api_response *response, const char *name, const char *format, ...)
{
    bk_assert(response->header_count < API_HEADERS_MAX);
    struct api_header *header = &response->headers[response->header_count++];
    header->name = name;
    va_list args;
    va_start(args, format);
    vsnprintf(header->value, sizeof header->value, format, args);
    va_end(args);
    for (char *c = header->value; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f) {
            *c = '?'; /* a header value never breaks its line */
        }
    }
}

enum api_step api_json(struct api_call *call, unsigned status)
{
    if (call->response->body.overflow) {
        return api_error(call, 500, "internal",
                         "the answer is too large; ask for less with ?limit=");
    }
    call->response->status = (uint16_t)status;
    call->response->content_type = "application/json";
    return API_DONE;
}

static void begin_error(struct api_call *call, unsigned status, const char *code,
                        const char *message)
{
    struct buf *body = &call->response->body;
    buf_reset(body);
    call->response->status = (uint16_t)status;
    call->response->content_type = "application/json";
    buf_printf(body, "{\"code\":\"%s\",\"message\":", code);
    json_add_string(body, slice_str(message));
}

enum api_step api_error(struct api_call *call, unsigned status, const char *code,
                        const char *format, ...)
{
    char message[400];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    begin_error(call, status, code, message);
    buf_add_str(&call->response->body, ",\"details\":[]}");
    return API_DONE;
}

enum api_step api_invalid(struct api_call *call, const char *field, const char *format, ...)
{
    char message[400];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    begin_error(call, 400, "invalid", message);
    struct buf *body = &call->response->body;
    buf_add_str(body, ",\"details\":[{\"field\":");
    json_add_string(body, slice_str(field));
    buf_add_str(body, ",\"message\":");
    json_add_string(body, slice_str(message));
    buf_add_str(body, "}]}");
    return API_DONE;
}

unsigned api_status(enum bk_err err)
{
    switch (bk_err_class(err)) {
    case BK_CLASS_OK:
        return 200;
    case BK_CLASS_AUTH:
        return err == BK_UNAUTHENTICATED ? 401 : err == BK_FORBIDDEN ? 403 : 500;
    case BK_CLASS_CONFIG:
        switch ((int)err) {
        case BK_NOT_FOUND:
            return 404;
        case BK_EXISTS:
        case BK_CONFLICT:
        case BK_IN_USE:
            return 409;
        case BK_PERMISSION:
            return 503;
        default:
            return 400;
        }
    case BK_CLASS_LIMIT:
        return err == BK_TOO_LARGE ? 413 : 503;
    case BK_CLASS_DISK:
        return err == BK_CORRUPT || err == BK_VERSION ? 500 : 503;
    case BK_CLASS_AGAIN:
    case BK_CLASS_PEER:
    case BK_CLASS_GONE:
        return 503;
    }
    return 500;
}

static const char *status_code(unsigned status)
{
    switch (status) {
    case 400:
        return "invalid";
    case 401:
        return "unauthenticated";
    case 403:
        return "forbidden";
    case 404:
        return "not_found";
    case 409:
        return "conflict";
    case 413:
        return "too_large";
    case 503:
        return "unavailable";
    default:
        return "internal";
    }
}

enum api_step api_fail(struct api_call *call, enum bk_err err, const char *what)
{
    unsigned status = api_status(err);
    if (status == 503) {
        api_add_header(call->response, "Retry-After", "5");
    }
    if (err == BK_NO_SPACE) { /* as an apply says it */
        return api_error(call, status, status_code(status), "%s",
                         "the disk is full, nothing was changed");
    }
    return api_error(call, status, status_code(status), "%s: %s", what, bk_err_text(err));
}

void api_note(const struct api_call *call, const char *action, const char *kind, struct slice name)
{
    api_note_diff(call, action, kind, name, SLICE_EMPTY);
}

void api_note_diff(const struct api_call *call, const char *action, const char *kind,
                   struct slice name, struct slice diff)
{
    char text[80];
    snprintf(text, sizeof text, "%.*s", (int)(name.bytes < 79 ? name.bytes : 79),
             (const char *)(name.at ? name.at : (const uint8_t *)""));
    struct audit_change change = {.action = action,
                                  .kind = kind,
                                  .name = text,
                                  .canvas = "",
                                  .diff = diff,
                                  .now_ns = call->request->wall_ns};
    if (audit_note(call->api->hub, &change) != BK_OK) {
        log_event(LOG_WARN, "a change is not in the audit records", LOG_Z("action", action),
                  LOG_Z("kind", kind), LOG_Z("name", text));
    }
}
