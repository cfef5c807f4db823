#include "api/access.h"

#include "api/query.h"
#include "base/hex.h"
#include "base/time.h"
#include "hub/hub_private.h"
#include "hub/resources/token_known.h"
#include "hub/resources/token_use.h"

#define WRONG_TOKEN "this token is not valid: it was revoked, or is another server's"

/* ---- hosts and tokens */

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
    api_add_header(call->response, "WWW-Authenticate", ACCESS_CHALLENGE);
    return api_error(call, 401, "unauthenticated", "%s", why);
}

static bool bearer_token(struct slice authorization, struct slice *ret_token)
{
    bool bearer = slice_starts_nocase(authorization, SLICE("Bearer "));
    *ret_token = bearer ? slice_trim(slice_skip(authorization, 7)) : SLICE_EMPTY;
    return bearer;
}

const char *access_why_not(const struct api *api, struct slice authorization)
{
    struct slice token;
    if (authorization.bytes == 0) {
        return "a token is needed: send the header Authorization: Bearer TOKEN; the first one is "
               "in admin.token of the data directory";
    }
    if (!bearer_token(authorization, &token)) {
        return "only the header Authorization: Bearer TOKEN is understood";
    }
    return token_known(api->hub, token) ? NULL : WRONG_TOKEN;
}

/* True when the caller has a good token. A good one is never held up by others' failures; 256
 * random
 * bits cannot be guessed, the limit only keeps guessers from costing anything. */
static bool authenticate(struct api_call *call)
{
    struct api *api = call->api;
    struct slice token;
    if (!bearer_token(call->request->authorization, &token)) {
        refuse_token(call, access_why_not(api, call->request->authorization));
        return false;
    }
    enum bk_err err = token_check(api->hub, token, &call->token);
    if (err != BK_OK && err != BK_UNAUTHENTICATED) {
        api_fail(call, err, "token");
        return false;
    }
    if (!api_guard(call, err)) {
        return false;
    }
    if (err == BK_OK) {
        token_used(api->hub, &call->token, call->request->wall_ns);
    } else {
        refuse_token(call, WRONG_TOKEN);
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

bool access_allowed(struct api_call *call)
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

/* The name of the canvas that a parameter names, perhaps by its id. BK_NOT_FOUND: there is none; it
 * is in ret_name all the same where it could be one's name. */
static enum bk_err find_canvas(struct api_call *call, struct slice given,
                               char ret_name[NAME_BYTES_MAX + 1])
{
    struct store_txn *txn;
    struct record record;
    enum bk_err err = store_read(hub_store(call->api->hub), &txn);
    ret_name[0] = '\0';
    if (err != BK_OK) {
        return err;
    }
    err = hub_canvas(txn, given, ret_name);
    if (err == BK_OK && strcmp(ret_name, RESOURCE_CANVAS_DEFAULT) != 0) {
        err = hub_record(txn, RESOURCE_CANVAS, SLICE_EMPTY, slice_str(ret_name), &record);
    }
    store_read_end(txn);
    return err == BK_INVALID ? BK_NOT_FOUND : err;
}

static bool is_own_canvas(struct api_call *call, struct slice given)
{
    char name[NAME_BYTES_MAX + 1];
    enum bk_err err = find_canvas(call, given, name);
    return (err == BK_OK || err == BK_NOT_FOUND) && strcmp(name, call->token.canvas) == 0;
}

/* An empty list of a canvas that is not there would hide a spelling mistake. Documents may bring
 * theirs along. False when the call was answered. */
static bool name_canvas(struct api_call *call, struct slice *value)
{
    char name[NAME_BYTES_MAX + 1];
    if (value->bytes == 0 || call->route->body == API_BODY_DOCUMENTS) {
        return true;
    }
    enum bk_err err = find_canvas(call, *value, name);
    if (err == BK_NOT_FOUND) {
        api_error(call, 404, "not_found", "there is no Canvas %.*s",
                  (int)(value->bytes < 100 ? value->bytes : 100), (const char *)value->at);
        return false;
    }
    const char *copy = err == BK_OK ? arena_copy(&call->arena, name, strlen(name)) : NULL;
    if (copy == NULL) {
        api_fail(call, err == BK_OK ? BK_NO_MEMORY : err, "canvas");
        return false;
    }
    *value = slice_str(copy);
    return true;
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

bool access_bind_canvas(struct api_call *call)
{
    const struct api_route *route = call->route;
    struct slice own = slice_str(call->token.canvas);
    int index = query_index(route, SLICE("canvas"));
    if (route->role == 0) {
        return true;
    }
    if (own.bytes == 0) {
        return index < 0 || name_canvas(call, &call->values[index]);
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
        if (!name_canvas(call, &call->values[index])) {
            return false;
        }
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
