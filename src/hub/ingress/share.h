/* share.h - fairness among sources: none may have the journal for itself.
 *
 * Rule        One source may fill three quarters of a frame, several share these; while half of it
 *             is free nobody has to wait. Who is over waits unread until the next frame begins.
 *             Who has nothing in the frame is never refused, so a body of any size comes in.
 * Threads     One core, as the frame is.
 */
#ifndef BECKET_HUB_SHARE_H
#define BECKET_HUB_SHARE_H

#include "hub/ingress/ingress.h"

#define SHARE_REQUEST_BYTES 512U /* what a request costs besides its bytes */

static inline uint64_t share_cost(const struct http_message *message)
{
    return message->head->head_bytes + message->body.bytes + SHARE_REQUEST_BYTES;
}

/* What this source has in the frame that is filling. */
static inline void share_open(struct ingress *ingress, struct metrics_source *own)
{
    uint64_t frame = journal_filling_from(ingress->journal);
    if (ingress->share_frame != frame) {
        ingress->share_frame = frame;
        ingress->share_bytes = 0;
        ingress->share_sources = 0;
    }
    if (own->share_frame != frame) {
        own->share_frame = frame;
        own->share_bytes = 0;
    }
}

/* When half of the frame is taken. */
bool share_of_full(struct ingress *ingress, uint64_t number, uint64_t cost);

/* Before anything is computed for it: may this source append such a request now? */
static inline bool share_is_left(struct ingress *ingress, uint64_t number,
                                 const struct http_message *message)
{
    uint64_t cost = share_cost(message);
    return ingress->share_frame != journal_filling_from(ingress->journal) ||
           ingress->share_bytes + cost <= JOURNAL_FRAME_BYTES / 2 ||
           share_of_full(ingress, number, cost);
}

/* Once it is appended: that may have begun the next frame. */
static inline void share_take(struct ingress *ingress, struct metrics_source *own,
                              const struct http_message *message)
{
    share_open(ingress, own);
    uint64_t cost = share_cost(message);
    ingress->share_sources += own->share_bytes == 0;
    ingress->share_bytes += cost;
    own->share_bytes += cost;
}

#endif
