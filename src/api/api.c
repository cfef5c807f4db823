#include "api/route.h"
#include "api/stream.h"
#include "api/web.h"

#include "base/assert.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/log.h"
#include "base/percent.h"
#include "base/time.h"
#include "hub/hub_private.h"
#include "hub/resources/audit.h"
#include "journal/reader.h"
#include "ring/ring.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CALL_ARENA_BYTES (4U << 20)

/* ---- answers */

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

void api_fini(struct api *api)
{
    if (api->reader != NULL) {
        reader_close(api->reader);
        api->reader = NULL;
    }
    web_close(api->web);
    api->web = NULL;
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

/* ---- query */

bool api_decode(struct arena *arena, struct slice text, bool plus, struct slice *ret_text)
{
    uint8_t *out = (uint8_t *)arena_copy(arena, text.at, text.bytes);
    size_t bytes = 0;
    if (out == NULL || !percent_decode(text, plus, out, &bytes) || memchr(out, '\0', bytes)) {
        return false;
    }
    out[bytes] = '\0';
    *ret_text = slice_of(out, bytes);
    return true;
}

static int param_index(const struct api_route *route, struct slice name)
{
    for (int i = 0; route->params != NULL && route->params[i].name != NULL; i++) {
        bk_assert(i < (int)API_PARAMS_MAX);
        if (slice_equal(slice_str(route->params[i].name), name)) {
            return i;
        }
    }
    return -1;
}

struct slice api_value(const struct api_call *call, const char *name)
{
    int index = param_index(call->route, slice_str(name));
    bk_assert(index >= 0);
    return call->values[index];
}

struct slice api_canvas(const struct api_call *call)
{
    struct slice canvas = api_value(call, "canvas");
    return canvas.bytes != 0 ? canvas : SLICE(RESOURCE_CANVAS_DEFAULT);
}

bool api_flag(const struct api_call *call, const char *name)
{
    return slice_equal(api_value(call, name), SLICE("true"));
}

static bool parse_limit(struct slice text, unsigned *ret_limit)
{
    unsigned limit = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9' || i == 4) {
            return false;
        }
        limit = limit * 10 + (unsigned)(text.at[i] - '0');
    }
    *ret_limit = limit;
    return limit >= 1 && limit <= API_LIMIT_MAX;
}

unsigned api_limit(const struct api_call *call)
{
    unsigned limit = API_LIMIT_DEFAULT;
    struct slice text = api_value(call, "limit");
    return text.at == NULL || !parse_limit(text, &limit) ? API_LIMIT_DEFAULT : limit;
}

/* The + of an offset ("…T00:00:00+02:00") arrives as a space when the client did not escape it. */
static bool parse_time(struct slice text, int64_t now_ns, int64_t *ret_ns)
{
    char copy[64];
    if (text.bytes >= sizeof copy) {
        return false;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        copy[i] = (char)(text.at[i] == ' ' ? '+' : text.at[i]);
    }
    return time_parse_since(slice_of(copy, text.bytes), now_ns, ret_ns) == BK_OK;
}

int64_t api_time(const struct api_call *call, const char *name, int64_t absent)
{
    int64_t time_ns = absent;
    struct slice text = api_value(call, name);
    if (text.at != NULL && !parse_time(text, call->request->wall_ns, &time_ns)) {
        return absent;
    }
    return time_ns;
}

static bool is_choice(const char *choices, struct slice text)
{
    for (const char *at = choices; *at != '\0';) {
        size_t bytes = strcspn(at, "|");
        if (slice_equal(slice_of(at, bytes), text)) {
            return true;
        }
        at += bytes + (at[bytes] == '|');
    }
    return false;
}

/* What a value has to be; NULL when it is. */
static const char *value_problem(const struct api_call *call, const struct api_param *param,
                                 struct slice value)
{
    unsigned limit;
    int64_t time_ns;
    switch (param->kind) {
    case API_PARAM_TEXT:
        return NULL;
    case API_PARAM_FLAG:
        return slice_equal(value, SLICE("true")) || slice_equal(value, SLICE("false"))
                   ? NULL
                   : "true or false";
    case API_PARAM_LIMIT:
        return parse_limit(value, &limit) ? NULL : "a number from 1 to 1000";
    case API_PARAM_TIME:
        return parse_time(value, call->request->wall_ns, &time_ns)
                   ? NULL
                   : "a time: 2026-01-02T03:04:05Z, 2026-01-02, seconds since 1970, or a duration "
                     "before now such as 1h";
    case API_PARAM_CHOICE:
        return is_choice(param->choices, value) ? NULL : param->choices;
    }
    return NULL;
}

/* One name=value. False when the call was answered. */
static bool take_parameter(struct api_call *call, struct slice pair)
{
    size_t name_bytes = slice_find(pair, '=');
    struct slice name, value;
    if (!api_decode(&call->arena, slice_of(pair.at, name_bytes), true, &name) ||
        !api_decode(&call->arena, slice_skip(pair, name_bytes + 1), true, &value)) {
        api_error(call, 400, "invalid", "the query string is malformed");
        return false;
    }
    int index = param_index(call->route, name);
    if (index < 0) {
        api_invalid(call, (const char *)name.at, "unknown query parameter %.60s",
                    (const char *)name.at);
        return false;
    }
    const struct api_param *param = &call->route->params[index];
    if (call->values[index].at != NULL) {
        api_invalid(call, param->name, "%s is given twice", param->name);
        return false;
    }
    const char *problem = value_problem(call, param, value);
    if (problem != NULL) {
        api_invalid(call, param->name, "%s must be %s%s", param->name,
                    param->kind == API_PARAM_CHOICE ? "one of " : "", problem);
        return false;
    }
    call->values[index] = value.bytes == 0 ? SLICE_EMPTY : value; /* "?cursor=" is no cursor */
    return true;
}

static bool take_query(struct api_call *call, struct slice query)
{
    while (query.bytes != 0) {
        size_t bytes = slice_find(query, '&');
        if (bytes != 0 && !take_parameter(call, slice_of(query.at, bytes))) {
            return false;
        }
        query = slice_skip(query, bytes + 1);
    }
    return true;
}

/* ---- who may come in */

/* An address can name only this server. A name could be anybody's that points here (DNS rebinding).
 * */
static bool is_address(struct slice host)
{
    bool colon = false, digit = false;
    if (host.bytes >= 2 && host.at[0] == '[' && host.at[host.bytes - 1] == ']') {
        host = slice_of(host.at + 1, host.bytes - 2);
        colon = slice_find(host, ':') < host.bytes;
        for (size_t i = 0; i < host.bytes; i++) {
            if (hex_digit(host.at[i]) < 0 && host.at[i] != ':' && host.at[i] != '.') {
                return false;
            }
        }
        return colon;
    }
    unsigned dots = 0;
    for (size_t i = 0; i < host.bytes; i++) {
        dots += host.at[i] == '.';
        digit = host.at[i] >= '0' && host.at[i] <= '9';
        if (!digit && host.at[i] != '.') {
            return false;
        }
    }
    return dots == 3 && digit;
}

/* Without port, and without the dot of an absolute name. */
static struct slice host_name(struct slice host)
{
    size_t end = host.bytes;
    if (end != 0 && host.at[0] == '[') {
        end = slice_find(host, ']');
        return end == host.bytes ? host : slice_of(host.at, end + 1);
    }
    end = slice_find(host, ':');
    end -= end != 0 && host.at[end - 1] == '.';
    return slice_of(host.at, end);
}

static bool is_host_of(struct slice name, const char *text)
{
    struct slice url = slice_str(text);
    size_t at = 0;
    while (at + 3 <= url.bytes && memcmp(url.at + at, "://", 3) != 0) {
        at++;
    }
    struct slice authority = slice_skip(url, at + 3);
    return slice_equal_nocase(name, host_name(slice_of(authority.at, slice_find(authority, '/'))));
}

bool api_host_allowed(const struct api *api, struct slice host)
{
    struct slice name = host_name(host);
    if (name.bytes == 0 || is_address(name) || slice_equal_nocase(name, SLICE("localhost"))) {
        return name.bytes != 0;
    }
    if (name.bytes > 10 &&
        slice_equal_nocase(slice_of(name.at + name.bytes - 10, 10), SLICE(".localhost"))) {
        return true;
    }
    for (unsigned i = 0; i < api->host_count; i++) {
        if (slice_equal_nocase(name, slice_str(api->hosts[i]))) {
            return true;
        }
    }
    return is_host_of(name, api->public_url) ||
           (api->admin_url && is_host_of(name, api->admin_url));
}

static bool changes_state(enum http_method method)
{
    return method != HTTP_GET && method != HTTP_HEAD && method != HTTP_OPTIONS;
}

/* A browser says whose page made it ask. */
bool api_from_another_site(const struct api_request *request)
{
    if (slice_equal(request->sec_fetch_site, SLICE("cross-site"))) {
        return true;
    }
    struct slice origin = request->origin;
    if (origin.bytes == 0) {
        return false;
    }
    struct slice rest = slice_starts(origin, SLICE("https://"))  ? slice_skip(origin, 8)
                        : slice_starts(origin, SLICE("http://")) ? slice_skip(origin, 7)
                                                                 : SLICE_EMPTY;
    return !slice_equal_nocase(rest, request->host);
}

static struct api_guard_slot *guard_slot(struct api *api, const struct ring_address *remote)
{
    uint32_t hash = 2166136261U;
    for (size_t i = 0; i < sizeof remote->at; i++) {
        hash = (hash ^ remote->at[i]) * 16777619U;
    }
    struct api_guard_slot *slot = &api->guard[hash % API_GUARD_SLOTS];
    if (memcmp(slot->address, remote->at, sizeof slot->address) != 0) {
        memset(slot, 0, sizeof *slot); /* two that share a slot push each other out */
        memcpy(slot->address, remote->at, sizeof slot->address);
    }
    return slot;
}

static enum api_step refuse_token(struct api_call *call, const char *why)
{
    api_add_header(call->response, "WWW-Authenticate", "Bearer realm=\"becket\"");
    return api_error(call, 401, "unauthenticated", "%s", why);
}

/* True when the caller has a good token. A good one is never held up by others' failures; 256
 * random
 * bits cannot be guessed, the limit only keeps guessers from costing anything. */
static bool authenticate(struct api_call *call)
{
    struct api *api = call->api;
    struct slice given = call->request->authorization;
    if (given.bytes == 0) {
        refuse_token(call,
                     "a token is needed: send \"Authorization: Bearer TOKEN\"; the first one is in "
                     "admin.token of the data directory");
        return false;
    }
    if (given.bytes < 7 || !slice_equal_nocase(slice_of(given.at, 7), SLICE("Bearer "))) {
        refuse_token(call, "only \"Authorization: Bearer TOKEN\" is understood");
        return false;
    }
    enum bk_err err = token_check(api->hub, slice_trim(slice_skip(given, 7)), &call->token);
    if (err != BK_OK && err != BK_UNAUTHENTICATED) {
        api_fail(call, err, "token");
        return false;
    }
    if (!api_guard(call, err)) {
        return false;
    }
    if (err != BK_OK) {
        refuse_token(call, "this token is not valid; see `becket token list`");
    }
    return err == BK_OK;
}

bool api_guard(struct api_call *call, enum bk_err err)
{
    struct api_guard_slot *slot = guard_slot(call->api, &call->request->remote);
    if (err == BK_OK) {
        slot->failures = 0;
        return true;
    }
    uint64_t now_ns = call->request->now_ns;
    if (slot->failures >= API_GUARD_FAILURES && now_ns < slot->until_ns) {
        api_add_header(call->response, "Retry-After", "%u", API_GUARD_WAIT_S);
        api_error(call, 429, "unauthenticated",
                  "too many wrong tokens from this address; wait %u s", API_GUARD_WAIT_S);
        return false;
    }
    slot->failures = slot->failures >= API_GUARD_FAILURES ? 1 : slot->failures + 1;
    slot->until_ns = now_ns + API_GUARD_WAIT_S * (uint64_t)NS_PER_SECOND;
    return true;
}

static bool authorized(struct api_call *call)
{
    if (call->route->role == 0) {
        return true;
    }
    if (!authenticate(call)) {
        return false;
    }
    if ((int)call->token.role < call->route->role) {
        api_error(call, 403, "forbidden", "this needs a token of role %s, yours is %s",
                  token_role_name((enum token_role)call->route->role),
                  token_role_name(call->token.role));
        return false;
    }
    return true;
}

/* ---- canvases */

bool api_may_see(const struct api_call *call, struct slice canvas)
{
    return call->token.canvas[0] == '\0' || slice_equal(canvas, slice_str(call->token.canvas));
}

bool api_is_elsewhere(struct api_call *call, enum resource_kind kind, struct slice name_or_id)
{
    struct hub_address address;
    struct store_txn *txn;
    struct slice canvas = slice_str(call->token.canvas);
    if (canvas.bytes == 0 || store_read(hub_store(call->api->hub), &txn) != BK_OK) {
        return canvas.bytes != 0;
    }
    enum bk_err err = hub_find(txn, kind, canvas, name_or_id, &address);
    store_read_end(txn);
    return err == BK_OK && !slice_equal(slice_str(address.canvas), canvas);
}

struct slice api_person(const struct api_call *call)
{
    bool person = call->token.role != TOKEN_ADMIN && call->token.user[0] != '\0';
    return person ? slice_str(call->token.user) : SLICE_EMPTY;
}

void api_apply_as(const struct token_info *token, struct apply_options *options)
{
    options->only_canvas = slice_str(token->canvas);
    options->only_user = token->role == TOKEN_ADMIN ? SLICE_EMPTY : token_user(token);
    options->person = token->role != TOKEN_ADMIN && token->user[0] != '\0';
    options->below_admin = token->role != TOKEN_ADMIN;
}

/* The name of the canvas that a parameter names, perhaps by its id. */
static bool is_own_canvas(struct api_call *call, struct slice given)
{
    char name[NAME_BYTES_MAX + 1] = "";
    struct store_txn *txn;
    if (store_read(hub_store(call->api->hub), &txn) != BK_OK) {
        return false;
    }
    enum bk_err err = hub_canvas(txn, given, name);
    store_read_end(txn);
    return err == BK_OK && slice_equal(slice_str(name), slice_str(call->token.canvas));
}

static bool is_by_canvas(const struct api_route *route)
{
    const char *const *id = api_routes_by_canvas;
    while (*id != NULL && strcmp(*id, route->id) != 0) {
        id++;
    }
    return *id != NULL;
}

static bool refuse_canvas(struct api_call *call)
{
    api_error(call, 403, "forbidden", "your token is for canvas %s only", call->token.canvas);
    return false;
}

/* For tokens that are bound to a canvas. False when the call was answered. */
static bool bind_canvas(struct api_call *call)
{
    const struct api_route *route = call->route;
    struct slice own = slice_str(call->token.canvas);
    int index = param_index(route, SLICE("canvas"));
    if (route->role == 0 || own.bytes == 0) {
        return true;
    }
    if (index < 0 && !is_by_canvas(route)) {
        api_error(call, 403, "forbidden",
                  "your token is for canvas %s only, and this is about the whole server",
                  call->token.canvas);
        return false;
    }
    if (index >= 0 && call->values[index].bytes > 0 && !is_own_canvas(call, call->values[index])) {
        return refuse_canvas(call);
    }
    if (index >= 0) {
        char *copy = arena_copy(&call->arena, own.at, own.bytes);
        if (!copy) {
            return refuse_canvas(call);
        }
        call->values[index] = slice_of(copy, own.bytes);
    }
    if (route->kind != RESOURCE_KIND_COUNT && resource_kind_info(route->kind)->in_canvas &&
        call->segment.bytes > 0 && api_is_elsewhere(call, route->kind, call->segment)) {
        api_error(call, 404, "not_found", "there is no %s %.*s in canvas %s",
                  resource_kind_info(route->kind)->name, (int)call->segment.bytes,
                  (const char *)call->segment.at, call->token.canvas);
        return false;
    }
    return true;
}

/* ---- body */

/* A form or plain text can be sent by any web page; JSON and YAML cannot without asking first. */
static bool content_type_allowed(const struct api_call *call)
{
    static const char *const documents[] = {"application/json", "application/yaml",
                                            "application/x-yaml", "text/yaml", "text/x-yaml"};
    struct slice type = call->request->content_type;
    type = slice_trim(slice_of(type.at, slice_find(type, ';')));
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

static bool plural_is_known(struct slice plural, const char **ret_name)
{
    for (int i = 0; i < RESOURCE_KIND_COUNT; i++) {
        const struct resource_kind_info *info = resource_kind_info((enum resource_kind)i);
        if (slice_equal(slice_str(info->plural), plural)) {
            *ret_name = info->plural;
            return true;
        }
    }
    *ret_name = "deliveries";
    return slice_equal(plural, SLICE("deliveries"));
}

static enum api_step no_route(struct api_call *call, struct slice path)
{
    struct slice rest = slice_starts(path, SLICE("/api/v1/")) ? slice_skip(path, 8) : SLICE_EMPTY;
    const char *name;
    if (rest.bytes != 0 && plural_is_known(slice_of(rest.at, slice_find(rest, '/')), &name)) {
        return api_error(call, 404, "not_found", "%s are not part of this version of becket", name);
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
    return authorized(call) && decode_segment(call) &&
           take_query(call, slice_skip(request->target, path_bytes + 1)) && bind_canvas(call) &&
           body_allowed(call);
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
    response->body_bytes = response->body.bytes;
    if (call->request->method == HTTP_HEAD) {
        buf_reset(&response->body);
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
