/* entries.c - what people did, as the API shows it. */
#include "api/route.h"
#include "hub/links/entries.h"

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
    enum bk_err err = entries_get_json(call->api->hub, call->segment, &call->response->body);
    return err == BK_OK ? api_json(call, 200) : api_fail(call, err, "entry");
}
