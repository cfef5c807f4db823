#include "hub/deliveries/event_key.h"

#include "hub/deliveries/order.h"

uint16_t event_key_bucket(const struct filter *key, struct filter_scratch *scratch,
                          const struct event_view *event)
{
    struct filter_event view;
    struct filter_value value;
    struct slice text = SLICE_EMPTY;
    filter_event_init(&view, scratch, event->head,
                      slice_of(event->message + event->entry->head_bytes, event->entry->body_bytes),
                      event->type, event->source);
    if (!filter_evaluate(key, &view, &value) || !filter_value_text(&view, &value, &text)) {
        text = SLICE_EMPTY; /* those without a key are in order among themselves */
    }
    return order_bucket(text);
}
