/* stream_send.c - the part of a stream that is on the reactor: pieces out, and the way back. */
#include "api/stream.h"

static void back_on_control(struct ring_mail *mail)
{
    struct api_stream *stream = bk_container_of(mail, struct api_stream, mail);
    if (!stream->exchange) {
        api_stream_free(stream);
    } else {
        list_push_back(&stream->api->streams, &stream->node);
    }
}

static void go_back(struct api_stream *stream)
{
    stream->here = false;
    stream->mail.run = back_on_control;
    ring_post(stream->reactor, stream->control, &stream->mail);
}

/* The last piece has left, or the listener has. In the second case the stream may be with the
 * control thread; its next piece then finds nobody. */
static void streamed(struct http_exchange *exchange)
{
    struct api_stream *stream = exchange->handler_pointer;
    if (!stream->here) {
        return;
    }
    if (!exchange->conn) {
        stream->exchange = NULL;
        exchange->handler_pointer = NULL;
        http_stream_end(exchange);
    }
    go_back(stream);
}

static void arrived_on_reactor(struct ring_mail *mail)
{
    struct api_stream *stream = bk_container_of(mail, struct api_stream, mail);
    struct http_exchange *exchange = stream->exchange;
    if (stream->ending || !exchange->conn) {
        stream->exchange = NULL;
        exchange->handler_pointer = NULL;
        http_stream_end(exchange);
        go_back(stream);
        return;
    }
    uint8_t *piece = stream->piece.at;
    size_t bytes = stream->piece.bytes;
    stream->piece.at = NULL; /* the server frees it after the send */
    stream->piece.bytes = stream->piece.bytes_size = 0;
    stream->here = true;
    http_stream_piece(exchange, piece, bytes);
}

void api_stream_refuse(struct api_stream *stream, struct ring *control, struct ring *reactor)
{
    stream->exchange = NULL;
    stream->control = control;
    stream->reactor = reactor;
    go_back(stream);
}

void api_stream_begin(struct api_stream *stream, struct http_exchange *exchange,
                      struct ring *control, struct ring *reactor)
{
    stream->exchange = exchange;
    stream->control = control;
    stream->reactor = reactor;
    stream->here = true;
    stream->arrive = arrived_on_reactor;
    exchange->handler_pointer = stream;
    http_stream(exchange, "text/event-stream",
                SLICE("Cache-Control: no-store\r\nX-Accel-Buffering: no\r\n"), streamed);
}
