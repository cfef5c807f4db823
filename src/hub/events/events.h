/* events.h - finding events in the journals, and an event as JSON.
 *
 * Purpose     What `GET /api/v1/events` and the CLI's journal commands share: a filtered walk over
 *             all journals that can stop anywhere and go on later, from a cursor or from the same
 *             struct.
 * Order       Newest first (backward) or oldest first (forward), merged over the journals by the
 *             time of receipt. Following (forward) loses nothing: a cursor holds each journal's own
 *             position.
 * Clock       `since` and `until` are compared with each event's own time. A wall clock that was
 *             set back by more than EVENT_CLOCK_SLACK_NS can hide events from a search by time.
 * Threads     The reader's owner.
 */
#ifndef BECKET_HUB_EVENTS_H
#define BECKET_HUB_EVENTS_H

#include "base/buf.h"
#include "hub/hub.h"
#include "journal/reader.h"

#define EVENT_CLOCK_SLACK_NS (60LL * 1000000000)

#define EVENT_NAMES 64U /* power of two */

/* Bit of an event's state. */
#define EVENT_STATE(type) (1U << (type))

struct event_filter {
    struct slice canvas; /* empty = all */
    struct slice source; /* name; empty = all; deleted sources keep theirs */
    struct slice type;   /* as the provider names it, "invoice.*": all that begin so; empty = all */
    struct slice delivery; /* the provider's id of it; empty = all */
    unsigned states;       /* EVENT_STATE bits; 0 = all */
    int64_t since_ns;      /* included; INT64_MIN = no limit */
    int64_t until_ns;      /* excluded; INT64_MAX = no limit */
};

/* Holds no pointers but the filter's slices. */
struct event_scan {
    struct event_filter filter;
    bool passed_until; /* a forward walk that need not go on, ever */
    struct reader_merge merge;
    uint64_t damaged; /* places that could not be read */
    /* Sources seen lately: events of many arrive mixed. */
    struct {
        uint64_t number; /* 0 = unused */
        struct hub_source_name name;
    } names[EVENT_NAMES];
};

/* "accepted", "rejected", "duplicate". */
bool event_state_find(struct slice text, enum journal_record_type *ret_type);

/* cursor: empty, or what event_scan_cursor gave for the same order. BK_INVALID: it is none. */
enum bk_err event_scan_begin(struct event_scan *scan, struct catalog *catalog,
                             struct reader *reader, const struct event_filter *filter, bool forward,
                             struct slice cursor) BK_MUST_CHECK;
/* The next event that passes the filter; valid until the reader is used again. BK_AGAIN: *budget is
 * used up. BK_NOT_FOUND: the end; a forward scan may be called again when more became durable.
 * BK_IO: the disk. Damaged places are passed over and counted. hub may be NULL when neither canvas
 * nor source is asked for. */
enum bk_err event_scan_next(struct event_scan *scan, struct hub *hub, struct reader *reader,
                            size_t *budget, struct journal_record *ret_record) BK_MUST_CHECK;
/* Text that continues behind the last event given. */
void event_scan_cursor(const struct event_scan *scan, struct buf *text);

/* By its public id. BK_INVALID: not an id. BK_NOT_FOUND. */
enum bk_err event_get(struct reader *reader, struct slice id,
                      struct journal_record *ret_record) BK_MUST_CHECK;

/* {"id","source","canvasId","provider","type","deliveryId","account","resource","receivedAt",
 * "state","reason","message","duplicateOf","method","target","headers":{…},"headerLines":[…],
 * "contentType","size","remote"}. Empty where it is not known: provider, type, deliveryId, reason,
 * contentType, remote; else left out; headerLines only where a name is there twice. hub may be
 * NULL: then `source` is the source's number as text. */
void event_json(struct hub *hub, const struct journal_record *record, struct buf *json);
/* Of a record read back: the body, as received. */
struct slice event_body(const struct journal_record *record);

#endif
