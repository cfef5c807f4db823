/* reason.h - why a genuine event is kept as rejected: in a record's `reason`, above every verdict
 * of the schemes (providers/scheme.h). */
#ifndef BECKET_HUB_REASON_H
#define BECKET_HUB_REASON_H

enum event_reason {
    EVENT_FILTERED = 1000, /* no entry of spec.events takes it */
    EVENT_FILTER_FAILED    /* an expression failed, and no other entry takes it */
};

#endif
