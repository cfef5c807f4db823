#include "api/route.h"

#include "base/json.h"
#include "hub/hub_private.h"
#include "hub/resources/etag.h"

/* The canvas that the query names; `default` else. */
static struct slice canvas_of(const struct api_call *call)
{
    if (!resource_kind_info(call->route->kind)->in_canvas) {
        return SLICE_EMPTY;
    }
    return api_canvas(call);
}

static void add_etag(struct api_response *response, uint64_t revision)
{
    api_add_header(response, "ETag", "\"%llu\"", (unsigned long long)revision);
}

/* Which of the two conditions on a revision is malformed; NULL: none. */
static const char *malformed_condition(const struct api_call *call)
{
    return !etag_list_valid(call->request->if_match)        ? "If-Match"
           : !etag_list_valid(call->request->if_none_match) ? "If-None-Match"
                                                            : NULL;
}

static enum api_step no_condition(struct api_call *call, const char *header)
{
    return api_invalid(call, header, "%s must be an ETag as GET gives it, a list of them, or *",
                       header);
}

/* The only canvas there is for a token that is bound to one. */
static enum api_step list_own_canvas(struct api_call *call)
{
    struct buf *json = &call->response->body;
    buf_add_str(json, "{\"items\":[");
    enum bk_err err = hub_get_json(call->api->hub, RESOURCE_CANVAS, SLICE_EMPTY,
                                   slice_str(call->token.canvas), json, NULL);
    buf_add_str(json, "]}");
    return err == BK_OK || err == BK_NOT_FOUND ? api_json(call, 200) : api_fail(call, err, "list");
}

enum api_step api_objects_list(struct api_call *call)
{
    if (call->route->kind == RESOURCE_CANVAS && call->token.canvas[0] != '\0') {
        return list_own_canvas(call);
    }
    struct slice cursor = api_value(call, "cursor");
    enum bk_err err =
        hub_list_json(call->api->hub, call->route->kind, canvas_of(call), api_limit(call), cursor,
                      api_person(call), &call->response->body);
    if (err == BK_INVALID) {
        return api_invalid(call, "cursor", "cursor is not one that a list gave; begin without it");
    }
    return err == BK_OK ? api_json(call, 200) : api_fail(call, err, "list");
}

static enum api_step no_object(struct api_call *call, struct slice name)
{
    const struct resource_kind_info *info = resource_kind_info(call->route->kind);
    struct slice canvas = canvas_of(call);
    if (!info->in_canvas) {
        return api_error(call, 404, "not_found", "there is no %s %.*s", info->name, (int)name.bytes,
                         (const char *)name.at);
    }
    return api_error(call, 404, "not_found", "there is no %s %.*s in canvas %.*s", info->name,
                     (int)name.bytes, (const char *)name.at, (int)canvas.bytes,
                     (const char *)canvas.at);
}

/* By name or id. */
static bool is_own_canvas(const struct api_call *call)
{
    struct hub_address address;
    struct store_txn *txn;
    if (call->token.canvas[0] == '\0') {
        return true;
    }
    if (store_read(hub_store(call->api->hub), &txn) != BK_OK) {
        return false;
    }
    enum bk_err err = hub_find(txn, RESOURCE_CANVAS, SLICE_EMPTY, call->segment, &address);
    store_read_end(txn);
    return err == BK_OK && api_may_see(call, slice_str(address.name));
}

enum api_step api_objects_get(struct api_call *call)
{
    uint64_t revision = 0;
    struct slice person = api_person(call);
    if ((call->route->kind == RESOURCE_CANVAS && !is_own_canvas(call)) ||
        (person.bytes > 0 && hub_is_of_another(call->api->hub, call->route->kind, canvas_of(call),
                                               call->segment, person))) {
        return no_object(call, call->segment);
    }
    enum bk_err err = hub_get_json(call->api->hub, call->route->kind, canvas_of(call),
                                   call->segment, &call->response->body, &revision);
    if (err == BK_NOT_FOUND) {
        return no_object(call, call->segment);
    }
    if (err != BK_OK) {
        return api_fail(call, err, resource_kind_info(call->route->kind)->name);
    }
    add_etag(call->response, revision);
    return api_json(call, 200);
}

/* ---- changing */

static enum api_step apply_refused(struct api_call *call, const struct apply_options *options,
                                   const struct apply_outcome *outcome, enum bk_err err)
{
    struct api_response *response = call->response;
    unsigned status = err == BK_CONFLICT && (options->if_match.at || options->if_none_match.at)
                          ? 412
                          : api_status(err);
    if (status == 503) {
        api_add_header(response, "Retry-After", "5");
    }
    if (outcome->refused && !options->dry_run) {
        api_note_diff(call, "refused", resource_kind_info(outcome->refused->kind)->name,
                      slice_str(outcome->refused->name), outcome->refused_diff);
    }
    buf_reset(&response->body);
    apply_error_json(outcome, err, &response->body);
    return api_json(call, status);
}

/* The object as it is now, and the key that was made for it, which is shown this once. */
static enum api_step answer_object(struct api_call *call, const struct apply_result *result,
                                   unsigned status)
{
    struct buf *body = &call->response->body;
    uint64_t revision = 0;
    enum bk_err err = hub_get_json(call->api->hub, result->kind, slice_str(result->canvas),
                                   slice_str(result->name), body, &revision);
    if (err != BK_OK) {
        return api_fail(call, err, "the object was stored, but cannot be read back");
    }
    if (result->key != NULL && body->bytes != 0 && body->at[body->bytes - 1] == '}') {
        body->bytes--;
        buf_add_str(body, ",\"key\":");
        json_add_string(body, slice_str(result->key));
        buf_add_byte(body, '}');
    }
    add_etag(call->response, revision);
    if (status == 201) {
        const struct resource_kind_info *info = resource_kind_info(result->kind);
        bool elsewhere = info->in_canvas &&
                         !slice_equal(slice_str(result->canvas), SLICE(RESOURCE_CANVAS_DEFAULT));
        api_add_header(call->response, "Location", "/api/v1/%s/%s%s%s", info->plural, result->name,
                       elsewhere ? "?canvas=" : "", elsewhere ? result->canvas : "");
    }
    return api_json(call, status);
}

static enum api_step change_object(struct api_call *call, enum apply_mode mode, unsigned status)
{
    struct apply_options options = {.mode = mode,
                                    .canvas = canvas_of(call),
                                    .one = true,
                                    .kind = call->route->kind,
                                    .name = call->segment,
                                    .json = api_sent_json(call),
                                    .now_ns = call->request->wall_ns};
    api_apply_as(&call->token, &options);
    if (mode == APPLY_UPDATE) {
        const char *malformed = malformed_condition(call);
        if (malformed) {
            return no_condition(call, malformed);
        }
        options.if_match = call->request->if_match;
        options.if_none_match = call->request->if_none_match;
    }
    struct apply_outcome outcome;
    enum bk_err err = apply_text(call->api->hub, call->request->body, &options, &outcome);
    enum api_step step;
    if (err != BK_OK) {
        step = apply_refused(call, &options, &outcome, err);
    } else if (outcome.count == 0) { /* what it implies is behind it */
        step = api_error(call, 500, "internal", "one document gave %zu results", outcome.count);
    } else {
        step = answer_object(call, &outcome.results[0], status);
    }
    apply_outcome_fini(&outcome);
    return step;
}

enum api_step api_objects_create(struct api_call *call)
{
    return change_object(call, APPLY_CREATE, 201);
}

enum api_step api_objects_update(struct api_call *call)
{
    if (!resource_name_valid(call->segment)) {
        return no_object(call, call->segment);
    }
    return change_object(call, APPLY_UPDATE, 200);
}

/* Of an event source or a destination. */
enum api_step api_objects_secrets(struct api_call *call)
{
    enum bk_err err =
        hub_reveal(call->api->hub, call->route->kind, canvas_of(call), call->segment,
                   slice_str(call->token.canvas), call->request->wall_ns, &call->response->body);
    if (err == BK_FORBIDDEN) {
        return api_error(call, 403, "forbidden",
                         "its secret is a Secret's of another canvas, and your token is for canvas "
                         "%s only",
                         call->token.canvas);
    }
    if (err == BK_NOT_FOUND) {
        return no_object(call, call->segment);
    }
    api_add_header(call->response, "Cache-Control", "no-store");
    return err == BK_OK ? api_json(call, 200)
                        : api_fail(call, err, resource_kind_info(call->route->kind)->name);
}

/* Whoever looks for it may mean the other thing that has a key. */
static enum api_step no_source_to_reset(struct api_call *call)
{
    struct buf text;
    buf_init(&text, 16U << 20);
    enum bk_err err = hub_get_json(call->api->hub, RESOURCE_DESTINATION, canvas_of(call),
                                   call->segment, &text, NULL);
    buf_fini(&text);
    if (err != BK_OK) {
        return no_object(call, call->segment);
    }
    return api_error(call, 404, "not_found",
                     "%.*s is a Destination: apply its new secret in spec.signing.secrets, beside "
                     "the old one at first",
                     (int)call->segment.bytes, (const char *)call->segment.at);
}

/* A new key for the same source: what is stored is applied again, with another key. */
enum api_step api_sources_reset_key(struct api_call *call)
{
    struct apply_options options = {.mode = APPLY_UPDATE,
                                    .canvas = canvas_of(call),
                                    .one = true,
                                    .kind = RESOURCE_EVENT_SOURCE,
                                    .now_ns = call->request->wall_ns,
                                    .key = api_flag(call, "now") ? APPLY_KEY_REPLACE
                                                                 : APPLY_KEY_ROTATE};
    struct buf text;
    api_apply_as(&call->token, &options);
    buf_init(&text, 16U << 20);
    enum bk_err err = hub_get_json(call->api->hub, RESOURCE_EVENT_SOURCE, options.canvas,
                                   call->segment, &text, NULL);
    if (err != BK_OK) {
        buf_fini(&text);
        return err == BK_NOT_FOUND ? no_source_to_reset(call) : api_fail(call, err, "event source");
    }
    struct apply_outcome outcome;
    enum api_step step;
    err = apply_text(call->api->hub, buf_slice(&text), &options, &outcome);
    if (err != BK_OK) {
        step = apply_refused(call, &options, &outcome, err);
    } else if (!outcome.results[0].key) {
        step = api_error(call, 409, "conflict",
                         "becket did not make the key of this source: change its secret instead");
    } else {
        step = answer_object(call, &outcome.results[0], 200);
        api_add_header(call->response, "Cache-Control", "no-store");
    }
    apply_outcome_fini(&outcome);
    buf_fini(&text);
    return step;
}

enum api_step api_objects_delete(struct api_call *call)
{
    struct apply_options options = {.mode = APPLY_SET,
                                    .canvas = canvas_of(call),
                                    .one = true,
                                    .kind = call->route->kind,
                                    .name = call->segment,
                                    .if_match = call->request->if_match,
                                    .if_none_match = call->request->if_none_match,
                                    .now_ns = call->request->wall_ns};
    const char *malformed = malformed_condition(call);
    if (malformed) {
        return no_condition(call, malformed);
    }
    api_apply_as(&call->token, &options);
    struct apply_outcome outcome;
    enum bk_err err =
        apply_delete(call->api->hub, call->route->kind, call->segment, &options, &outcome);
    enum api_step step = API_DONE;
    if (err == BK_NOT_FOUND) {
        step = no_object(call, call->segment);
    } else if (err != BK_OK) {
        step = apply_refused(call, &options, &outcome, err);
    } else {
        call->response->status = 204;
    }
    apply_outcome_fini(&outcome);
    return step;
}

enum api_step api_apply(struct api_call *call)
{
    struct apply_options options = {.mode = APPLY_SET,
                                    .dry_run = api_flag(call, "dryRun"),
                                    .prune = api_flag(call, "prune"),
                                    .remove = api_flag(call, "delete"),
                                    .json = api_sent_json(call),
                                    .canvas = api_value(call, "canvas"),
                                    .now_ns = call->request->wall_ns};
    api_apply_as(&call->token, &options);
    if (options.prune && options.remove) {
        return api_invalid(call, "prune", "either prune or delete");
    }
    struct apply_outcome outcome;
    enum bk_err err = apply_text(call->api->hub, call->request->body, &options, &outcome);
    enum api_step step;
    if (err == BK_OK) {
        apply_results_json(&outcome, &call->response->body);
        step = api_json(call, 200);
    } else {
        step = apply_refused(call, &options, &outcome, err);
    }
    apply_outcome_fini(&outcome);
    return step;
}
