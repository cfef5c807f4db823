#include "api/route.h"

#include "hub/resources/audit.h"

/* The number of the last record given; 0 = malformed. */
static uint64_t cursor_number(struct slice text)
{
    uint64_t number = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9' || i == 18) {
            return 0;
        }
        number = number * 10 + (uint64_t)(text.at[i] - '0');
    }
    return number;
}

enum api_step api_audit_list(struct api_call *call)
{
    struct slice cursor = api_value(call, "cursor");
    uint64_t before = cursor_number(cursor);
    if (cursor.bytes != 0 && before == 0) {
        return api_invalid(call, "cursor", "cursor is not one that a list gave; begin without it");
    }
    struct slice kind = api_value(call, "kind");
    const char *named = kind.bytes ? audit_kind(kind) : "";
    if (!named) {
        return api_invalid(call, "kind",
                           "there is no kind %.*s; there are Token, Entry, Event, Session, "
                           "MasterKey, OidcKey, " RESOURCE_KINDS,
                           (int)(kind.bytes < 100 ? kind.bytes : 100), (const char *)kind.at);
    }
    struct audit_query query = {.before = before,
                                .limit = api_limit(call),
                                .since_ns = api_time(call, "since", INT64_MIN),
                                .until_ns = api_time(call, "until", INT64_MAX),
                                .actor = api_value(call, "actor"),
                                .kind = slice_str(named),
                                .name = api_value(call, "name")};
    enum bk_err err = audit_list_json(call->api->hub, &query, &call->response->body);
    return err == BK_OK ? api_json(call, 200) : api_fail(call, err, "audit");
}
