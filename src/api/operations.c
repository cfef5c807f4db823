/* operations.c - work at providers: look at it, and try it again. */
#include "api/route.h"
#include "hub/operations/operations.h"

static enum api_step no_operation(struct api_call *call)
{
    return api_error(call, 404, "not_found",
                     "there is no operation %.*s: `becket get operations` lists them",
                     (int)call->segment.bytes, (const char *)call->segment.at);
}

enum api_step api_operations_list(struct api_call *call)
{
    struct api *api = call->api;
    if (!api->operations) {
        return api_fail(call, BK_BUSY, "operations");
    }
    enum bk_err err =
        operations_list_json(api->operations, api_value(call, "canvas"), api_limit(call),
                             api_value(call, "cursor"), &call->response->body);
    if (err == BK_INVALID) {
        return api_invalid(call, "cursor", "cursor is not one that a list gave; begin without it");
    }
    return err == BK_OK ? api_json(call, 200) : api_fail(call, err, "operations");
}

/* Of an object of another canvas: not there for who is bound to one. */
static bool may_see(struct api_call *call, uint64_t number)
{
    char canvas[NAME_BYTES_MAX + 1];
    return call->token.canvas[0] == '\0' ||
           (operations_canvas(call->api->operations, number, canvas) == BK_OK &&
            api_may_see(call, slice_str(canvas)));
}

static enum api_step get(struct api_call *call, uint64_t number)
{
    enum bk_err err = operations_get_json(call->api->operations, number, &call->response->body);
    if (err == BK_NOT_FOUND) {
        return no_operation(call);
    }
    return err == BK_OK ? api_json(call, 200) : api_fail(call, err, "operation");
}

enum api_step api_operations_get(struct api_call *call)
{
    uint64_t number;
    if (!call->api->operations || !operation_name_parse(call->segment, &number) ||
        !may_see(call, number)) {
        return no_operation(call);
    }
    return get(call, number);
}

enum api_step api_operations_delete(struct api_call *call)
{
    uint64_t number;
    if (!call->api->operations || !operation_name_parse(call->segment, &number) ||
        !may_see(call, number)) {
        return no_operation(call);
    }
    enum bk_err err = operations_give_up(call->api->operations, number);
    if (err == BK_NOT_FOUND) {
        return no_operation(call);
    }
    if (err == BK_CONFLICT) {
        return api_error(call, 409, "conflict",
                         "operation %.*s is for an object that is there: delete that",
                         (int)call->segment.bytes, (const char *)call->segment.at);
    }
    if (err != BK_OK) {
        return api_fail(call, err, "operation");
    }
    api_note(call, "deleted", "Operation", call->segment);
    call->response->status = 204;
    return API_DONE;
}

enum api_step api_operations_retry(struct api_call *call)
{
    uint64_t number;
    if (!call->api->operations || !operation_name_parse(call->segment, &number) ||
        !may_see(call, number)) {
        return no_operation(call);
    }
    enum bk_err err = operations_retry(call->api->operations, number, call->request->wall_ns);
    if (err == BK_NOT_FOUND) {
        return no_operation(call);
    }
    if (err == BK_CONFLICT) {
        return api_error(call, 409, "conflict", "operation %.*s is done", (int)call->segment.bytes,
                         (const char *)call->segment.at);
    }
    if (err != BK_OK) {
        return api_fail(call, err, "operation");
    }
    api_note(call, "retried", "Operation", call->segment);
    return get(call, number);
}
