/* stream.h - events as they arrive: GET /api/v1/events/stream, server-sent events.
 *
 * Purpose     Each listener has a place in the journals and one piece under way at most, so that a
 *             slow one costs no more memory than a quick one; the backlog is the journal.
 * Threads     A stream is with the control thread (it may make a piece) or with the admin's
 *             reactor (a piece is on its way), never with both: it travels by its own mail.
 * Resuming    Each event's `id` is a cursor, and one comes ahead of the first event; Last-Event-ID
 *             with it goes on without a gap. An event's own id (evt_…) is taken too, and repeats it
 *             and those of its millisecond.
 * Token       A stream ends with the token that opened it.
 * Limits      API_STREAMS_MAX listeners, STREAM_PIECE_BYTES each, a heartbeat every
 *             STREAM_HEARTBEAT_NS, by which a listener that went away is noticed.
 */
#ifndef BECKET_API_STREAM_H
#define BECKET_API_STREAM_H

#include "api/api.h"
#include "base/arena.h"
#include "base/list.h"
#include "http/server.h"
#include "hub/events/events.h"

#define API_STREAMS_MAX     64U
#define STREAM_PIECE_BYTES  65536U
#define STREAM_POLL_NS      200000000ULL
#define STREAM_HEARTBEAT_NS 15000000000ULL

struct api_stream {
    struct ring_mail mail;
    struct list node; /* of api->streams, while with the control thread */
    struct api *api;
    struct http_exchange *exchange; /* the reactor's; NULL = the listener is gone */
    struct ring *control;
    struct ring *reactor;
    void (*arrive)(struct ring_mail *mail); /* on the reactor */
    struct arena arena;                     /* the filter's texts */
    struct event_scan scan;
    char token[HUB_ID_TEXT_BYTES]; /* whose it is: with it the stream ends */
    uint64_t revoked;              /* tokens, when that was last looked at */
    uint64_t sent_ns;              /* when a piece was last made */
    struct buf piece;
    bool started;
    bool here;   /* with the reactor */
    bool ending; /* the reactor is to close it */
};

/* Control thread. Make what pieces can be made. True: there is more to do at once. `end`: the
 * server stops, close them all. */
bool api_streams_step(struct api *api, uint64_t now_ns, bool end);
/* When (monotonic) the next step is due; UINT64_MAX: no streams. */
uint64_t api_streams_next_ns(const struct api *api, uint64_t now_ns);
/* Reactor: the call's answer is this stream. */
void api_stream_begin(struct api_stream *stream, struct http_exchange *exchange,
                      struct ring *control, struct ring *reactor);
/* Reactor: nobody is there to begin it for. */
void api_stream_refuse(struct api_stream *stream, struct ring *control, struct ring *reactor);
/* Control thread. */
void api_stream_free(struct api_stream *stream);

#endif
