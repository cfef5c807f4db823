/* entries.c - what people did, as the API shows it, and entries by hand. */
#include "api/route.h"

#include "base/json.h"
#include "hub/links/entry.h"

#include <yyjson.h>

enum api_step api_entries_list(struct api_call *call)
{
    struct slice cursor = api_value(call, "cursor");
    struct entries_query query = {.team = api_value(call, "team"),
                                  .user = api_value(call, "user"),
                                  .status = api_value(call, "status"),
                                  .canvas = api_value(call, "canvas"),
                                  .limit = api_limit(call)};
    for (size_t i = 0; i < cursor.bytes; i++) {
        if (cursor.at[i] < '0' || cursor.at[i] > '9' || i == 18) {
            return api_invalid(call, "cursor", "cursor is not one that a list gave");
        }
        query.before = query.before * 10 + (uint64_t)(cursor.at[i] - '0');
    }
    enum bk_err err = entries_list_json(call->api->hub, &query, &call->response->body);
    return err == BK_OK ? api_json(call, 200) : api_fail(call, err, "entries");
}

enum api_step api_entries_get(struct api_call *call)
{
    enum bk_err err = entries_get_json(call->api->hub, call->segment, slice_str(call->token.canvas),
                                       &call->response->body);
    if (err == BK_NOT_FOUND) {
        return api_error(call, 404, "not_found", "there is no entry %.*s", (int)call->segment.bytes,
                         (const char *)call->segment.at);
    }
    return err == BK_OK ? api_json(call, 200) : api_fail(call, err, "entry");
}

/* ---- by hand */

/* In this API's spelling, and in that of I Done This. */
static const struct {
    const char *name, *other;
    size_t at; /* in struct entry_request */
} request_fields[] = {
    {"body", NULL, offsetof(struct entry_request, body)},
    {"team", "team_id", offsetof(struct entry_request, team)},
    {"user", NULL, offsetof(struct entry_request, user)},
    {"status", NULL, offsetof(struct entry_request, status)},
    {"occurredOn", "occurred_on", offsetof(struct entry_request, occurred_on)},
};

static struct slice *field_of(struct entry_request *request, struct slice name)
{
    for (size_t i = 0; i < bk_array_length(request_fields); i++) {
        const char *other = request_fields[i].other;
        if (slice_equal(name, slice_str(request_fields[i].name)) ||
            (other && slice_equal(name, slice_str(other)))) {
            return (struct slice *)(void *)((char *)request + request_fields[i].at);
        }
    }
    return NULL;
}

/* False when the call was answered. */
static bool read_body(struct api_call *call, struct json_tree *tree, struct entry_request *request)
{
    struct json_problem problem;
    if (json_parse(call->request->body, tree, &problem) != BK_OK) {
        api_error(call, 400, "invalid", "line %u, column %u: %s", problem.place.line,
                  problem.place.column, problem.message);
        return false;
    }
    if (!yyjson_mut_is_obj(tree->roots[0])) {
        api_error(call, 400, "invalid", "the body must be {\"team\": \"…\", \"body\": \"…\"}");
        return false;
    }
    size_t i, count;
    yyjson_mut_val *key, *value;
    yyjson_mut_obj_foreach(tree->roots[0], i, count, key, value)
    {
        struct slice *field = field_of(request, json_text(key));
        if (!field) {
            api_invalid(call, yyjson_mut_get_str(key), "unknown field");
            return false;
        }
        if (!yyjson_mut_is_str(value)) {
            api_invalid(call, yyjson_mut_get_str(key), "must be a string");
            return false;
        }
        *field = json_text(value);
    }
    return true;
}

/* A person writes their own entries. False when the call was answered. */
static bool is_for_oneself(struct api_call *call, struct entry_request *request)
{
    struct slice person = api_person(call);
    if (person.bytes > 0 && request->user.bytes > 0 && !slice_equal(request->user, person)) {
        api_error(call, 403, "forbidden", "your token is %s's: it writes no entries of others",
                  call->token.user);
        return false;
    }
    /* an administrator who is somebody may write for nobody, too: "user": "" */
    if (!request->user.at && call->token.user[0] != '\0') {
        request->user = slice_str(call->token.user);
    } else if (request->user.bytes == 0 && person.bytes > 0) {
        request->user = person;
    }
    return true;
}

enum api_step api_entries_create(struct api_call *call)
{
    struct json_tree tree;
    struct entry_request request = {.canvas = api_value(call, "canvas"),
                                    .author = slice_str(call->token.name),
                                    .only_canvas = call->token.canvas[0] != '\0'};
    struct entry_problem problem;
    struct buf *body = &call->response->body;
    json_tree_init(&tree);
    if (!read_body(call, &tree, &request)) {
        json_tree_fini(&tree);
        return API_DONE;
    }
    if (!is_for_oneself(call, &request)) {
        json_tree_fini(&tree);
        return API_DONE;
    }
    enum bk_err err =
        entry_create(call->api->hub, &request, call->request->wall_ns, &problem, body);
    json_tree_fini(&tree);
    if (err == BK_INVALID && problem.field) {
        return api_invalid(call, problem.field, "%s: %s", problem.field, problem.message);
    }
    if (err != BK_OK) {
        return api_fail(call, err, "entry");
    }
    return api_json(call, 201);
}

/* ---- changing one */

static struct entry_caller caller_of(const struct api_call *call)
{
    return (struct entry_caller){slice_str(call->token.canvas), api_person(call)};
}

static enum api_step refuse(struct api_call *call, enum bk_err err)
{
    if (err == BK_NOT_FOUND) {
        return api_error(call, 404, "not_found", "there is no entry %.*s", (int)call->segment.bytes,
                         (const char *)call->segment.at);
    }
    return err == BK_FORBIDDEN
               ? api_error(call, 403, "forbidden",
                           "your token is %s's, and the entry is not: that needs a token of role "
                           "admin, or theirs",
                           call->token.user)
               : api_fail(call, err, "entry");
}

/* False when the call was answered. */
static bool may_ask(struct api_call *call, const struct entry_request *request)
{
    struct slice person = api_person(call);
    if (request->team.at) {
        api_invalid(call, "team", "an entry stays its team's: delete it, and write another one");
        return false;
    }
    if (person.bytes > 0 && request->user.at && !slice_equal(request->user, person)) {
        api_error(call, 403, "forbidden", "your token is %s's: it gives no entry to others",
                  call->token.user);
        return false;
    }
    return true;
}

enum api_step api_entries_update(struct api_call *call)
{
    struct json_tree tree;
    struct entry_request request = {.body = SLICE_EMPTY};
    struct entry_problem problem;
    struct entry_caller caller = caller_of(call);
    enum bk_err err = BK_OK;
    json_tree_init(&tree);
    bool good = read_body(call, &tree, &request) && may_ask(call, &request);
    if (good) {
        err = entry_update(call->api->hub, call->segment, &request, &caller, call->request->wall_ns,
                           &problem, &call->response->body);
    }
    json_tree_fini(&tree);
    if (!good) {
        return API_DONE;
    }
    if (err == BK_INVALID && problem.field) {
        return api_invalid(call, problem.field, "%s: %s", problem.field, problem.message);
    }
    return err == BK_OK ? api_json(call, 200) : refuse(call, err);
}

enum api_step api_entries_delete(struct api_call *call)
{
    struct entry_caller caller = caller_of(call);
    enum bk_err err = entry_delete(call->api->hub, call->segment, &caller, call->request->wall_ns);
    if (err != BK_OK) {
        return refuse(call, err);
    }
    call->response->status = 204;
    return API_DONE;
}
