/* fan_out.h - does a route want an event? The same answer wherever the event comes from: a frame's
 * memory on a core, or the journal on the control thread.
 *
 * Purpose     The head is parsed, and the filters' view made, when somebody asks for it first.
 * Ownership   Points into the message; lives as long as it.
 * Threads     One at a time; the scratch is the thread's own.
 */
#ifndef BECKET_HUB_FAN_OUT_H
#define BECKET_HUB_FAN_OUT_H

#include "hub/routes/route_table.h"
#include "journal/journal.h"

struct event_view {
    struct journal_position position;
    const struct journal_entry *entry;
    const uint8_t *message;
    const struct http_head *head; /* set by fan_out_head() */
    struct slice source;          /* its source's name, and the event's type: of the route that */
    struct slice type;            /* was asked last */
};

struct fan_out {
    struct event_view view;
    struct http_head head;
    struct filter_event filter;
    struct filter_scratch *scratch;
    bool parsed, filtered, broken;
    uint8_t type_room[EVENT_TYPE_BYTES_MAX]; /* of view.type */
    uint64_t failed;                         /* filters that could not be evaluated */
};

void fan_out_init(struct fan_out *out, struct filter_scratch *scratch,
                  struct journal_position position, const struct journal_entry *entry,
                  const uint8_t *message);
/* Do type and filters of the route let it through? A filter that fails does not. */
bool fan_out_passes(struct fan_out *out, const struct route_target *route);
/* And it is not from before the route began. */
bool fan_out_wants(struct fan_out *out, const struct route_table *table,
                   const struct route_target *route);

/* Set view.head. False: it cannot be parsed (cannot be: only parsed heads are appended). */
bool fan_out_head(struct fan_out *out);

/* The event's type: as the message says, or `constant`, the one that its source's provider always
 * sends (empty = it says). In `room` when the message says it in several places. */
struct slice event_type_of(const struct journal_entry *entry, const uint8_t *message,
                           struct slice constant, uint8_t room[EVENT_TYPE_BYTES_MAX]);

#endif
