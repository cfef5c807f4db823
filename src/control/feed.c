#include "control/control_private.h"

#include "base/log.h"

void feed_source(void *context, const struct source_change *change)
{
    struct control *control = context;
    if (!change->removed && change->dedupe_window_ns > control->window_max_ns) {
        control->window_max_ns = change->dedupe_window_ns;
    }
    if (control->dispatch) {
        dispatch_source_changed(control->dispatch, change->number);
    }
    if (source_table_change(control->sources, change) != BK_OK) {
        log_event(LOG_ERROR, "no memory for an event source", LOG_S("source", change->name));
    }
}

void feed_destination(void *context, uint64_t number, struct destination *destination)
{
    struct control *control = context;
    if (!destination) {
        route_table_remove_destination(control->routes, number);
        dispatch_removed(control->dispatch, number);
        return;
    }
    if (route_table_put_destination(control->routes, destination) != BK_OK) {
        log_event(LOG_ERROR, "no memory for a destination", LOG_I("number", number));
    }
    if (control->dispatch) {
        dispatch_changed(control->dispatch, number);
    }
}

void feed_route(void *context, const struct route_change *change)
{
    struct control *control = context;
    if (route_table_change_route(control->routes, change) != BK_OK) {
        log_event(LOG_ERROR, "no memory for a route", LOG_I("number", change->number));
    }
}
