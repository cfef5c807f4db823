/* The key that wraps all secrets of the data directory. */
#include "api/route.h"

#include "base/json.h"
#include "base/time.h"
#include "hub/data_key.h"
#include "hub/resources/reseal.h"

static const char *const places[] = {
    [MASTER_KEY_IN_DATA] = "data",
    [MASTER_KEY_IN_FILE] = "file",
    [MASTER_KEY_IN_ENVIRONMENT] = "environment",
};

static void add_state(const struct api_call *call)
{
    struct buf *json = &call->response->body;
    struct data_key_state state;
    struct reseal_stats stats = {.running = false};
    data_key_state(call->api->hub, &state);
    if (call->api->reseal != NULL) {
        reseal_stats(call->api->reseal, &stats);
    }
    buf_printf(json, "{\"id\":\"%s\",\"place\":\"%s\"", state.id, places[state.place]);
    if (state.since_ns != 0) {
        char since[25];
        time_format_rfc3339(state.since_ns, since);
        buf_printf(json, ",\"since\":\"%s\"", since);
    }
    buf_printf(json, ",\"sealing\":%s,\"sealed\":%llu,\"looked\":%llu,\"of\":%llu",
               state.before ? "true" : "false", (unsigned long long)stats.done,
               (unsigned long long)stats.looked, (unsigned long long)stats.total);
    if (state.before && stats.err != BK_OK) {
        buf_printf(json, ",\"trouble\":\"%s\"", bk_err_text(stats.err));
    }
}

enum api_step api_master_key_get(struct api_call *call)
{
    add_state(call);
    buf_add_byte(&call->response->body, '}');
    return api_json(call, 200);
}

enum api_step api_master_key_rotate(struct api_call *call)
{
    char why[HUB_WHY_BYTES];
    struct data_key_state before;
    data_key_state(call->api->hub, &before);
    enum bk_err err = data_key_exchange(call->api->hub, call->request->wall_ns, why);
    if (err == BK_BUSY || err == BK_UNSUPPORTED || err == BK_CONFLICT) {
        return api_error(call, 409, "conflict", "%s", why);
    }
    if (err != BK_OK) {
        unsigned status = api_status(err);
        return api_error(call, status < 500 ? 503 : status, "unavailable", "%s", why);
    }
    add_state(call);
    buf_printf(&call->response->body, ",\"before\":\"%s\"", before.id);
    if (why[0] != '\0') {
        buf_add_str(&call->response->body, ",\"warning\":");
        json_add_string(&call->response->body, slice_str(why));
    }
    buf_add_byte(&call->response->body, '}');
    return api_json(call, 200);
}
