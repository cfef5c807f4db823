/* compile.h - from a stored event source to what the hot path needs, and the feed of changes.
 *
 * Purpose     After each commit the callback gets one change per touched source, in a form that
 *             needs no store: compiled scheme, limits, path. The control thread puts it into the
 *             source table (one writer) and mails the reactors.
 * Ownership   change->scheme is the receiver's: scheme_wipe(), then free(). All slices are valid
 *             only during the call.
 * Order       A source that moved to another path comes as one change with the new path: the
 *             receiver finds the old entry by `number`. When two sources swap paths in one commit,
 *             the one that gives a path up may come after the one that takes it: removals come
 *             first, then the rest; so remove by number, and let the newest owner of a path win.
 */
#ifndef BECKET_HUB_COMPILE_H
#define BECKET_HUB_COMPILE_H

#include "hub/routes/route_table.h"
#include "providers/scheme.h"

struct source_change {
    bool removed;              /* then only number, id, path, name, canvas are set */
    uint64_t number;           /* the journal's `source`; never reused */
    uint8_t id[16];            /* metadata.id */
    struct slice path;         /* /hooks/{path} */
    struct slice name;
    struct slice canvas;
    struct slice type;         /* "github", "generic", … */
    struct scheme *scheme;     /* one malloc'ed block of scheme_bytes */
    size_t scheme_bytes;
    uint64_t body_bytes_max;
    uint32_t per_second;       /* 0 = no limit */
    int64_t dedupe_window_ns;  /* 0 = off */
    /* spec.events, taken over as the scheme is: an event is taken when one of them lets it through;
     * none = all are. */
    struct filter_set **events;
    unsigned event_count;
};

typedef void source_change_fn(void *context, const struct source_change *change);

/* A destination: taken over by the receiver; NULL = removed. */
typedef void destination_change_fn(void *context, uint64_t number, struct destination *destination);
/* How deliveries to a destination go, as a JSON object. False: nothing is known. */
typedef bool destination_status_fn(void *context, uint64_t number, struct buf *json);
/* A route: the filters of change->from are taken over, all else is valid during the call. Comes
 * after the destinations and sources it names, and before they are removed. */
typedef void route_change_fn(void *context, const struct route_change *change);

#define SOURCE_PATH_BYTES_MAX 128U
#define SOURCE_DEDUPE_WINDOW_DEFAULT_NS (24LL * 3600 * 1000000000)

#endif
