/* status.c - what becket says of itself: health, figures, providers. */
#include "api/route.h"
#include "providers/scheme.h"

#include "base/json.h"
#include "hub/metrics.h"

enum api_step api_metrics(struct api_call *call)
{
    struct metrics_snapshot snapshot;
    metrics_snapshot_init(&snapshot);
    if (call->api->metrics != NULL) {
        call->api->metrics(call->api->context, &snapshot);
    }
    metrics_print(&snapshot, &call->response->body);
    metrics_snapshot_fini(&snapshot);
    call->response->status = 200;
    call->response->content_type = METRICS_CONTENT_TYPE;
    return API_DONE;
}

enum api_step api_providers(struct api_call *call)
{
    scheme_catalogue_json(&call->response->body);
    return api_json(call, 200);
}

enum api_step api_live(struct api_call *call)
{
    buf_add_str(&call->response->body, "{\"status\":\"ok\"}");
    return api_json(call, 200);
}

enum api_step api_ready(struct api_call *call)
{
    const char *reason = "";
    if (call->api->ready == NULL || call->api->ready(call->api->context, &reason)) {
        buf_add_str(&call->response->body, "{\"status\":\"ok\"}");
        return api_json(call, 200);
    }
    api_add_header(call->response, "Retry-After", "1");
    return api_error(call, 503, "unavailable", "%s", reason);
}
