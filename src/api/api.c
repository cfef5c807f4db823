#include "api/access.h"
#include "api/query.h"
#include "api/stream.h"
#include "api/web.h"

#include "base/assert.h"
#include "base/hex.h"
#include "base/log.h"
#include "hub/resources/audit.h"
#include "journal/reader.h"
#include "ring/ring.h"

#include <stdio.h>

#define CALL_ARENA_BYTES (4U << 20)

void api_fini(struct api *api)
{
    if (api->reader != NULL) {
        reader_close(api->reader);
        api->reader = NULL;
    }
    web_close(api->web);
    api->web = NULL;
    buf_fini(&api->openapi);
}

static bool changes_state(enum http_method method)
{
    return method != HTTP_GET && method != HTTP_HEAD && method != HTTP_OPTIONS;
}

/* ---- body */

static struct slice media_type(const struct api_call *call)
{
    struct slice type = call->request->content_type;
    return slice_trim(slice_of(type.at, slice_find(type, ';')));
}

bool api_sent_json(const struct api_call *call)
{
    return slice_equal_nocase(media_type(call), SLICE("application/json"));
}

/* A form or plain text can be sent by any web page; JSON and YAML cannot without asking first. */
static bool content_type_allowed(const struct api_call *call)
{
    static const char *const documents[] = {"application/json", "application/yaml",
                                            "application/x-yaml", "text/yaml", "text/x-yaml"};
    struct slice type = media_type(call);
    size_t count = call->route->body == API_BODY_JSON ? 1 : bk_array_length(documents);
    for (size_t i = 0; i < count; i++) {
        if (slice_equal_nocase(type, slice_str(documents[i]))) {
            return true;
        }
    }
    return false;
}

static bool body_allowed(struct api_call *call)
{
    size_t bytes = call->request->body.bytes;
    if (bytes > API_BODY_BYTES_MAX) {
        api_error(call, 413, "too_large", "the body is over %u bytes; apply it in parts",
                  API_BODY_BYTES_MAX);
        return false;
    }
    if (call->route->body == API_BODY_NONE) {
        if (bytes != 0) {
            api_error(call, 400, "invalid", "this request takes no body");
        }
        return bytes == 0;
    }
    struct slice coding = call->request->content_encoding;
    if (coding.bytes != 0 && !slice_equal_nocase(coding, SLICE("identity"))) {
        api_add_header(call->response, "Accept-Encoding", "identity");
        api_error(call, 415, "unsupported_media_type",
                  "the body is packed (Content-Encoding); send it as it is");
        return false;
    }
    if (!content_type_allowed(call)) {
        api_error(call, 415, "unsupported_media_type", "Content-Type must be application/json%s",
                  call->route->body == API_BODY_JSON ? "" : " or application/yaml");
        return false;
    }
    if (bytes == 0) {
        api_error(call, 400, "invalid", "the body is empty");
    }
    return bytes != 0;
}

/* ---- routing */

/* Does `path` look like this route's? {name} stands for one segment, still escaped. */
bool api_path_matches(const char *pattern, struct slice path, struct slice *ret_segment)
{
    size_t at = 0;
    *ret_segment = SLICE_EMPTY;
    for (; *pattern != '\0'; pattern++) {
        if (*pattern != '{') {
            if (at == path.bytes || path.at[at] != (uint8_t)*pattern) {
                return false;
            }
            at++;
            continue;
        }
        size_t begin = at;
        while (at < path.bytes && path.at[at] != '/') {
            at++;
        }
        *ret_segment = slice_of(path.at + begin, at - begin);
        if (ret_segment->bytes == 0) {
            return false;
        }
        pattern = strchr(pattern, '}');
    }
    return at == path.bytes;
}

static enum http_method route_method(enum http_method method)
{
    return method == HTTP_HEAD ? HTTP_GET : method;
}

static const char *method_text(enum http_method method)
{
    switch ((int)method) {
    case HTTP_GET:
        return "GET, HEAD";
    case HTTP_POST:
        return "POST";
    case HTTP_PUT:
        return "PUT";
    case HTTP_DELETE:
        return "DELETE";
    default:
        return "OPTIONS";
    }
}

/* A kind that this version knows by name alone. */
static bool is_to_come(struct slice plural)
{
    for (int i = 0; i < RESOURCE_KIND_COUNT; i++) {
        const struct resource_kind_info *info = resource_kind_info((enum resource_kind)i);
        if (slice_equal(slice_str(info->plural), plural)) {
            return !info->supported;
        }
    }
    return false;
}

static enum api_step no_route(struct api_call *call, struct slice path)
{
    struct slice rest = slice_starts(path, SLICE("/api/v1/")) ? slice_skip(path, 8) : SLICE_EMPTY;
    struct slice plural = slice_of(rest.at, rest.bytes ? slice_find(rest, '/') : 0);
    if (is_to_come(plural)) {
        return api_error(call, 404, "not_found", "%.*s are not part of this version of becket",
                         (int)plural.bytes, (const char *)plural.at);
    }
    if (web_wants_page(call->request)) {
        return web_handle(call);
    }
    return api_error(call, 404, "not_found",
                     "no such path; GET /api/v1/openapi.json lists what there is");
}

/* The route for method and path; NULL when the call was answered with 404, 405 or OPTIONS' 204. */
static const struct api_route *find_route(struct api_call *call, struct slice path)
{
    char allow[80] = "OPTIONS";
    bool found = false;
    enum http_method method = route_method(call->request->method);
    for (size_t i = 0; i < api_route_count; i++) {
        const struct api_route *route = &api_routes[i];
        struct slice segment;
        if (!api_path_matches(route->path, path, &segment)) {
            continue;
        }
        if (route->method == method) {
            call->segment = segment;
            return route;
        }
        found = true;
        size_t used = strlen(allow);
        snprintf(allow + used, sizeof allow - used, ", %s", method_text(route->method));
    }
    if (!found) {
        no_route(call, path);
        return NULL;
    }
    api_add_header(call->response, "Allow", "%s", allow);
    if (method == HTTP_OPTIONS) {
        call->response->status = 204;
        return NULL;
    }
    api_error(call, 405, "method_not_allowed", "this path takes %s", allow);
    return NULL;
}

static bool decode_segment(struct api_call *call)
{
    if (api_decode(&call->arena, call->segment, false, &call->segment)) {
        return true;
    }
    api_error(call, 400, "invalid", "the path is malformed");
    return false;
}

static bool host_known(struct api_call *call)
{
    bool known = api_host_allowed(call->api, call->request->host);
    if (!known) {
        api_error(call, 421, "forbidden",
                  "the Host header names another server; use the address, localhost or the public "
                  "URL's host");
    }
    return known;
}

/* Everything before the route's own handler. False when the call was answered. */
static bool admit(struct api_call *call)
{
    const struct api_request *request = call->request;
    if (!host_known(call)) {
        return false;
    }
    size_t path_bytes = slice_find(request->target, '?');
    call->path = slice_of(request->target.at, path_bytes);
    call->route = find_route(call, call->path);
    if (call->route == NULL) {
        return false;
    }
    if (changes_state(request->method) && api_from_another_site(request)) {
        api_error(call, 403, "forbidden", "requests made by another site's pages are refused");
        return false;
    }
    return access_allowed(call) && decode_segment(call) &&
           query_take(call, slice_skip(request->target, path_bytes + 1)) &&
           access_bind_canvas(call) && body_allowed(call);
}

/* Shown to the caller, in the audit record and in the log, so that the three can be found together.
 */
static void name_request(struct api_response *response)
{
    uint8_t random[(AUDIT_REQUEST_BYTES - 1) / 2];
    ring_entropy(random, sizeof random);
    hex_encode(random, sizeof random, response->request_id);
    response->request_id[AUDIT_REQUEST_BYTES - 1] = '\0';
    api_add_header(response, "X-Request-Id", "%s", response->request_id);
}

static enum api_step run_route(struct api_call *call)
{
    const struct api_request *request = call->request;
    struct audit_actor actor = {.token = call->token.name,
                                .role = token_role_name(call->token.role),
                                .user = call->token.user,
                                .request_id = call->response->request_id,
                                .remote = request->remote,
                                .now_ns = request->wall_ns};
    audit_actor_set(call->api->hub, call->route->role != 0 ? &actor : NULL);
    enum api_step step = call->route->run(call);
    audit_actor_set(call->api->hub, NULL);
    if (changes_state(request->method)) {
        log_event(LOG_INFO, "api", LOG_Z("request", call->response->request_id),
                  LOG_Z("actor", actor.token), LOG_Z("method", method_text(request->method)),
                  LOG_S("path", call->path), LOG_I("status", call->response->status));
    }
    return step;
}

static void finish(struct api_call *call)
{
    struct api_response *response = call->response;
    response->body_bytes = response->shared.at ? response->shared.bytes : response->body.bytes;
    if (call->request->method == HTTP_HEAD) {
        buf_reset(&response->body);
        response->shared = SLICE_EMPTY;
    }
    api_add_header(response, "Cache-Control", "no-store");
    api_add_header(response, "X-Content-Type-Options", "nosniff");
}

enum api_step api_handle(struct api *api, const struct api_request *request,
                         struct api_response *response)
{
    bk_assert(api->hub != NULL);
    struct api_call call = {.api = api, .request = request, .response = response};
    arena_init(&call.arena, CALL_ARENA_BYTES);
    enum api_step step = API_DONE;
    if (response->work != NULL) {
        step = response->work->resume(&call);
    } else {
        name_request(response);
        if (web_owns(request)) {
            step = host_known(&call) ? web_handle(&call) : API_DONE;
        } else if (admit(&call)) {
            step = run_route(&call);
        }
    }
    if (step == API_DONE) {
        if (response->work != NULL) {
            response->work->free_work(response->work);
            response->work = NULL;
        }
        finish(&call);
    }
    arena_fini(&call.arena);
    return step;
}
