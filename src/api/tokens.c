#include "api/route.h"

#include "base/ct.h"
#include "base/json.h"

#include <yyjson.h>

/* ---- list: the cursor is the last name given */

struct token_page {
    struct buf *json;
    unsigned left;
    bool more;
    char last[NAME_BYTES_MAX + 1];
};

static bool list_token(void *context, const struct token_info *info)
{
    struct token_page *list = context;
    if (list->left == 0) {
        list->more = true;
        return false;
    }
    if (list->last[0] != '\0') {
        buf_add_byte(list->json, ',');
    }
    list->left--;
    memcpy(list->last, info->name, sizeof list->last);
    token_info_json(info, list->json);
    return true;
}

enum api_step api_tokens_list(struct api_call *call)
{
    struct buf *json = &call->response->body;
    struct token_page list = {.json = json, .left = api_limit(call)};
    struct slice cursor = api_value(call, "cursor");
    if (cursor.bytes != 0 && !resource_name_valid(cursor)) {
        return api_invalid(call, "cursor", "cursor is not one that a list gave; begin without it");
    }
    buf_add_str(json, "{\"items\":[");
    enum bk_err err = token_each(call->api->hub, cursor, list_token, &list);
    if (err != BK_OK) {
        return api_fail(call, err, "tokens");
    }
    buf_add_byte(json, ']');
    if (list.more) {
        buf_add_str(json, ",\"next\":");
        json_add_string(json, slice_str(list.last));
    }
    buf_add_byte(json, '}');
    return api_json(call, 200);
}

static enum api_step no_token(struct api_call *call)
{
    return api_error(call, 404, "not_found", "there is no token %.*s", (int)call->segment.bytes,
                     (const char *)call->segment.at);
}

enum api_step api_tokens_get(struct api_call *call)
{
    struct token_info info;
    enum bk_err err = token_get(call->api->hub, call->segment, &info);
    if (err == BK_NOT_FOUND) {
        return no_token(call);
    }
    if (err != BK_OK) {
        return api_fail(call, err, "token");
    }
    token_info_json(&info, &call->response->body);
    return api_json(call, 200);
}

enum api_step api_me(struct api_call *call)
{
    token_info_json(&call->token, &call->response->body);
    return api_json(call, 200);
}

enum api_step api_tokens_delete(struct api_call *call)
{
    enum bk_err err = token_revoke(call->api->hub, call->segment);
    if (err == BK_NOT_FOUND) {
        return no_token(call);
    }
    if (err == BK_IN_USE) {
        return api_error(call, 409, "conflict",
                         "this is the last admin token; create another one first");
    }
    if (err != BK_OK) {
        return api_fail(call, err, "token");
    }
    call->response->status = 204;
    return API_DONE;
}

/* ---- create */

/* {"name","role","canvas"?,"user"?}. False when the call was answered. */
static bool read_body(struct api_call *call, struct json_tree *tree,
                      struct token_request *ret_request)
{
    struct slice role = SLICE_EMPTY;
    struct json_problem problem;
    if (json_parse(call->request->body, tree, &problem) != BK_OK) {
        api_error(call, 400, "invalid", "line %u, column %u: %s", problem.place.line,
                  problem.place.column, problem.message);
        return false;
    }
    if (!yyjson_mut_is_obj(tree->roots[0])) {
        api_error(call, 400, "invalid",
                  "the body must be {\"name\": \"…\", \"role\": \"admin|write|read\"}, with "
                  "\"canvas\" for one that is good there only, and \"user\" for a person's");
        return false;
    }
    size_t i, count;
    yyjson_mut_val *key, *value;
    yyjson_mut_obj_foreach(tree->roots[0], i, count, key, value)
    {
        struct slice name = json_text(key);
        struct slice *to = slice_equal(name, SLICE("name"))     ? &ret_request->name
                           : slice_equal(name, SLICE("role"))   ? &role
                           : slice_equal(name, SLICE("canvas")) ? &ret_request->canvas
                           : slice_equal(name, SLICE("user"))   ? &ret_request->user
                                                                : NULL;
        if (!to || !yyjson_mut_is_str(value)) {
            api_invalid(call, yyjson_mut_get_str(key), to ? "must be a string" : "unknown field");
            return false;
        }
        *to = json_text(value);
    }
    if (!resource_name_valid(ret_request->name)) {
        api_invalid(call, "name", "name must be 1 to 63 of a-z, 0-9 and -");
        return false;
    }
    if (!token_role_find(role, &ret_request->role)) {
        api_invalid(call, "role", "role must be admin, write or read");
        return false;
    }
    /* An empty one would be good everywhere, which nobody means by giving it. */
    if (ret_request->canvas.at && !resource_name_valid(ret_request->canvas)) {
        api_invalid(call, "canvas", "canvas must be the name of one");
        return false;
    }
    if (ret_request->user.at && !resource_name_valid(ret_request->user)) {
        api_invalid(call, "user", "user must be the name of one");
        return false;
    }
    return true;
}

enum api_step api_tokens_create(struct api_call *call)
{
    struct json_tree tree;
    struct token_request request = {.name = SLICE_EMPTY};
    struct token_info info;
    const char *missing = NULL;
    char text[TOKEN_TEXT_BYTES];
    json_tree_init(&tree);
    if (!read_body(call, &tree, &request)) {
        json_tree_fini(&tree);
        return API_DONE;
    }
    enum bk_err err =
        token_create(call->api->hub, &request, call->request->wall_ns, &info, text, &missing);
    json_tree_fini(&tree);
    if (err == BK_EXISTS) {
        return api_error(call, 409, "conflict", "there is a token of this name; revoke it first");
    }
    if (err == BK_NOT_FOUND) {
        bool user = strcmp(missing, "user") == 0;
        return api_invalid(call, missing, "there is no %s of this name: apply it first",
                           user ? "User" : "Canvas");
    }
    if (err != BK_OK) {
        return api_fail(call, err, "token");
    }
    struct buf *body = &call->response->body;
    token_info_json(&info, body);
    if (body->bytes != 0) {
        body->bytes--; /* the closing brace */
    }
    buf_add_str(body, ",\"token\":");
    json_add_string(body, slice_str(text));
    buf_add_byte(body, '}');
    bk_wipe(text, sizeof text);
    api_add_header(call->response, "Location", "/api/v1/tokens/%s", info.name);
    return api_json(call, 201);
}
