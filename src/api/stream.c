#include "api/stream.h"

#include "api/route.h"
#include "base/time.h"
#include "hub/events/event_id.h"
#include "hub/hub_private.h"

#include <stdlib.h>

void api_stream_free(struct api_stream *stream)
{
    stream->api->stream_count--;
    arena_fini(&stream->arena);
    buf_fini(&stream->piece);
    free(stream);
}

/* ---- on the control thread */

static void send(struct api_stream *stream, uint64_t now_ns)
{
    stream->sent_ns = now_ns;
    list_remove(&stream->node);
    stream->mail.run = stream->arrive;
    ring_post(stream->control, stream->reactor, &stream->mail);
}

/* True: there may be more to read at once. */
static bool fill(struct api_stream *stream)
{
    struct api *api = stream->api;
    struct buf *piece = &stream->piece;
    size_t budget = API_STEP_BYTES / 4;
    if (!stream->started) {
        stream->started = true;
        buf_add_str(piece, "retry: 1000\nid: ");
        event_scan_cursor(&stream->scan, piece);
        buf_add_str(piece, "\n\n"); /* so nothing is missed by who is cut off before an event */
    }
    while (piece->bytes < STREAM_PIECE_BYTES) {
        struct journal_record record;
        enum bk_err err = event_scan_next(&stream->scan, api->hub, api->reader, &budget, &record);
        if (err != BK_OK) {
            stream->ending = err != BK_NOT_FOUND && err != BK_AGAIN;
            return err == BK_AGAIN;
        }
        buf_add_str(piece, "id: ");
        event_scan_cursor(&stream->scan, piece);
        buf_add_str(piece, "\ndata: ");
        event_json(api->hub, &record, piece);
        buf_add_str(piece, "\n\n");
    }
    return true;
}

static bool is_revoked(struct api_stream *stream)
{
    struct hub *hub = stream->api->hub;
    struct token_info token;
    if (stream->revoked == hub->revoked) {
        return false;
    }
    stream->revoked = hub->revoked;
    return token_get(hub, slice_str(stream->token), &token) != BK_OK;
}

bool api_streams_step(struct api *api, uint64_t now_ns, bool end)
{
    bool more = false;
    struct list *next;
    for (struct list *node = api->streams.next; node != &api->streams; node = next) {
        struct api_stream *stream = bk_container_of(node, struct api_stream, node);
        next = node->next;
        stream->ending |= end || is_revoked(stream);
        if (!stream->ending) {
            more |= fill(stream);
        }
        if (!stream->ending && stream->piece.bytes == 0 &&
            now_ns - stream->sent_ns >= STREAM_HEARTBEAT_NS) {
            buf_add_str(&stream->piece, ":\n\n");
        }
        if (stream->ending || stream->piece.bytes > 0) {
            send(stream, now_ns);
        }
    }
    return more;
}

uint64_t api_streams_next_ns(const struct api *api, uint64_t now_ns)
{
    return list_empty(&api->streams) ? UINT64_MAX : now_ns + STREAM_POLL_NS;
}

/* ---- the request */

static struct slice keep(struct api_stream *stream, struct slice text)
{
    const char *copy = arena_copy(&stream->arena, text.at, text.bytes);
    return copy ? slice_of(copy, text.bytes) : SLICE_EMPTY;
}

enum api_step api_events_stream(struct api_call *call)
{
    struct api *api = call->api;
    struct reader *reader;
    enum journal_record_type type;
    struct slice last = call->request->last_event_id, cursor = last;
    struct journal_position position;
    int64_t last_ms;
    enum bk_err err = api_reader(api, &reader);
    if (err != BK_OK) {
        return api_fail(call, err, "events");
    }
    if (api->stream_count == API_STREAMS_MAX) {
        api_add_header(call->response, "Retry-After", "5");
        return api_error(call, 503, "unavailable", "%u streams are open already", API_STREAMS_MAX);
    }
    struct api_stream *stream = calloc(1, sizeof *stream);
    if (!stream) {
        return api_fail(call, BK_NO_MEMORY, "stream");
    }
    stream->api = api;
    stream->revoked = api->hub->revoked;
    memcpy(stream->token, call->token.id, sizeof stream->token);
    api->stream_count++;
    arena_init(&stream->arena, 1U << 16);
    buf_init(&stream->piece, 4U << 20);
    struct event_filter filter = {
        .canvas = keep(stream, api_value(call, "canvas")),
        .source = keep(stream, api_value(call, "source")),
        .type = keep(stream, api_value(call, "type")),
        .states = event_state_find(api_value(call, "state"), &type) ? EVENT_STATE(type) : 0,
        .since_ns = api_time(call, "since", call->request->wall_ns),
        .until_ns = INT64_MAX};
    if (event_id_parse(last, &position, &last_ms)) {
        filter.since_ns = last_ms * NS_PER_MS;
        cursor = SLICE_EMPTY;
    }
    if (cursor.bytes > 0) {
        filter.since_ns = INT64_MIN;
    }
    err = event_scan_begin(&stream->scan, api->catalog, reader, &filter, true, cursor);
    if (err != BK_OK || stream->arena.overflow || call->request->method == HTTP_HEAD) {
        api_stream_free(stream);
        return err == BK_INVALID ? api_invalid(call, "Last-Event-ID",
                                               "Last-Event-ID is not one that this stream gave")
               : err != BK_OK    ? api_fail(call, err, "reading the journal")
                                 : api_error(call, 400, "invalid", "the query is too long");
    }
    call->response->stream = stream;
    call->response->status = 200;
    return API_DONE;
}
