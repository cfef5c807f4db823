#include "hub/routes/fan_out.h"

#include "http/parse.h"
#include "providers/scheme.h"

void fan_out_init(struct fan_out *out, struct filter_scratch *scratch,
                  struct journal_position position, const struct journal_entry *entry,
                  const uint8_t *message)
{
    /* Not all of it: the head and the filters' view are large, and often not needed. */
    out->view = (struct event_view){.position = position, .entry = entry, .message = message};
    out->scratch = scratch;
    out->parsed = out->filtered = out->broken = false;
    out->failed = 0;
}

bool fan_out_head(struct fan_out *out)
{
    if (!out->parsed) {
        out->parsed = true;
        out->broken = http_parse_request(out->view.message, out->view.entry->head_bytes,
                                         &out->head) != HTTP_PARSE_DONE;
        out->view.head = &out->head;
    }
    return !out->broken; /* cannot be: only parsed heads are appended */
}

struct slice event_type_of(const struct journal_entry *entry, const uint8_t *message,
                           struct slice constant, uint8_t room[EVENT_TYPE_BYTES_MAX])
{
    return entry->type_bytes > 0 ? journal_event_type(entry, message, room) : constant;
}

bool fan_out_wants(struct fan_out *out, const struct route_table *table,
                   const struct route_target *route)
{
    return out->view.entry->received_ns >= route_table_since_ns(table, route) &&
           fan_out_passes(out, route);
}

bool fan_out_passes(struct fan_out *out, const struct route_target *route)
{
    struct event_view *view = &out->view;
    const struct filter_set *filters = route_target_filters(route);
    view->source = route_target_source(route);
    view->type = event_type_of(view->entry, view->message, route_target_constant_type(route),
                               out->type_room);
    if (filters->count == 0 && filters->type_count == 0) {
        return true;
    }
    if (!fan_out_head(out)) {
        return false;
    }
    if (!out->filtered) {
        out->filtered = true;
        filter_event_init(
            &out->filter, out->scratch, &out->head,
            slice_of(view->message + view->entry->head_bytes, view->entry->body_bytes), view->type,
            view->source);
    }
    enum filter_result result = filter_set_test(filters, &out->filter);
    out->failed += result == FILTER_FAILED;
    return result == FILTER_TRUE;
}
