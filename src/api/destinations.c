/* destinations.c - what is asked of a destination besides reading and changing it. */
#include "api/route.h"
#include "hub/deliveries/dispatch.h"

static enum api_step no_destination(struct api_call *call)
{
    struct slice canvas = api_canvas(call);
    return api_error(call, 404, "not_found", "there is no Destination %.*s in canvas %.*s",
                     (int)call->segment.bytes, (const char *)call->segment.at, (int)canvas.bytes,
                     (const char *)canvas.at);
}

static enum api_step set_pause(struct api_call *call, enum destination_pause pause)
{
    struct hub *hub = call->api->hub;
    uint64_t number = 0;
    enum bk_err err =
        hub_number(hub, RESOURCE_DESTINATION, api_canvas(call), call->segment, &number);
    if (err == BK_OK) {
        err = hub_destination_pause(hub, number, pause, call->request->wall_ns);
    }
    if (err == BK_OK && pause == DESTINATION_RUNNING && call->api->dispatch) {
        err = dispatch_hurry(call->api->dispatch, number);
    }
    if (err == BK_OK) {
        err = hub_get_json(hub, RESOURCE_DESTINATION, api_canvas(call), call->segment,
                           &call->response->body, NULL);
    }
    if (err == BK_NOT_FOUND) {
        return no_destination(call);
    }
    if (err == BK_CONFLICT) {
        return api_error(call, 409, "conflict",
                         "spec.paused is true: apply the destination with paused: false");
    }
    return err == BK_OK ? api_json(call, 200) : api_fail(call, err, "destination");
}

enum api_step api_destinations_pause(struct api_call *call)
{
    return set_pause(call, DESTINATION_PAUSED_BY_HAND);
}

enum api_step api_destinations_resume(struct api_call *call)
{
    return set_pause(call, DESTINATION_RUNNING);
}
