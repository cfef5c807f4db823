/* The answer on a connection. When all of it lies in one received piece, head and body are handed
 * over where they lie; else they are gathered in a buffer of their own. */
#include "http/client_private.h"
#include "http/explain.h"

#include <stdio.h>

#define GATHER_FIRST_BYTES 16384U

void reply_begin(struct client_line *line)
{
    const struct http_call *call = line->call;

    http_response_init(&line->response, call->body_bytes_max);
    line->response.head_method = call->head_method;
    line->body = SLICE_EMPTY;
    bk_assert(!line->gathered);
}

void reply_drop(struct client_line *line)
{
    if (line->gathered) {
        buffers_give(line->client->buffers, line->gathered, line->gathered_size);
        line->gathered = NULL;
    }
    line->gathered_bytes = 0;
    line->body = SLICE_EMPTY;
}

static void no_memory(struct client_line *line)
{
    line_fail(line, BK_NO_MEMORY, "no memory for the answer");
}

/* ---- gathering */

static bool in_gathered(const struct client_line *line, const uint8_t *at)
{
    return line->gathered && at >= line->gathered && at <= line->gathered + line->gathered_size;
}

/* Room for so many bytes in all; the head and the kept body move along. */
static bool gather_room(struct client_line *line, size_t bytes)
{
    size_t size;

    if (line->gathered && bytes <= line->gathered_size) {
        return true;
    }
    uint8_t *buffer = buffers_take(line->client->buffers, bytes, &size);
    if (!buffer) {
        return false;
    }
    if (line->gathered) {
        memcpy(buffer, line->gathered, line->gathered_bytes);
        if (line->head_done) {
            line->head.at = buffer;
            line->body.at = buffer + line->head.head_bytes;
        }
        buffers_give(line->client->buffers, line->gathered, line->gathered_size);
    }
    line->gathered = buffer;
    line->gathered_size = size;
    return true;
}

static bool gather(struct client_line *line, const uint8_t *at, size_t bytes)
{
    size_t needed = line->gathered_bytes + bytes;

    if (!gather_room(line, needed < GATHER_FIRST_BYTES ? GATHER_FIRST_BYTES : needed)) {
        return false;
    }
    if (bytes > 0) {
        memmove(line->gathered + line->gathered_bytes, at, bytes);
    }
    line->gathered_bytes += bytes;
    return true;
}

/* The bytes that are being received go away, and the answer is not whole: head and kept body move
 * into a buffer. */
static bool secure(struct client_line *line)
{
    if (!line->head_done || in_gathered(line, line->head.at)) {
        return true;
    }
    const uint8_t *head = line->head.at;
    struct slice body = line->body;
    line->gathered_bytes = 0;
    if (!gather(line, head, line->head.head_bytes) || !gather(line, body.at, body.bytes)) {
        return false;
    }
    line->head.at = line->gathered;
    line->body = slice_of(line->gathered + line->head.head_bytes, body.bytes);
    return true;
}

/* ---- what the answer says */

/* "timeout=5, max=100": a second before the peer closes, we do. */
static uint32_t keep_alive_ms(const struct http_head *head)
{
    const struct http_header *header = http_find(head, SLICE("keep-alive"), NULL);
    struct slice value = header ? http_header_value(head, header) : SLICE_EMPTY;
    static const struct slice name = SLICE("timeout=");
    uint32_t seconds = 0;

    for (size_t i = 0; i + name.bytes < value.bytes; i++) {
        if (slice_equal_nocase(slice_of(value.at + i, name.bytes), name)) {
            for (i += name.bytes;
                 i < value.bytes && value.at[i] >= '0' && value.at[i] <= '9' && seconds < 100000;
                 i++) {
                seconds = seconds * 10 + (uint32_t)(value.at[i] - '0');
            }
            return seconds > 1 ? (seconds - 1) * 1000 : 500;
        }
    }
    return 0;
}

static void reply_head(struct client_line *line)
{
    struct http_call *call = line->call;

    line->head_done = true;
    line->keep_alive_ms = keep_alive_ms(&line->head);
    call->reply.status = line->head.status;
    call->reply.head = &line->head;
    line_deadline(line, call->deadline_ns);
}

/* Returns whether reading goes on. */
static bool reply_piece(struct client_line *line, struct slice piece)
{
    struct http_call *call = line->call;

    if (call->on_body && !call->on_body(call, piece)) {
        line_fail(line, BK_CANCELLED, "the rest of the answer was not wanted");
        return false;
    }
    size_t room = call->keep_body_bytes - line->body.bytes;
    size_t keep = piece.bytes < room ? piece.bytes : room;
    call->reply.body_cut |= keep < piece.bytes;
    if (keep == 0) {
        return true;
    }
    if (line->body.bytes == 0 && !in_gathered(line, line->head.at)) {
        line->body = slice_of(piece.at, keep);
        return true;
    }
    if (!secure(line) || !gather(line, piece.at, keep)) {
        no_memory(line);
        return false;
    }
    line->body = slice_of(line->gathered + line->head.head_bytes, line->body.bytes + keep);
    return true;
}

/* ---- the end */

void reply_deliver(struct client_line *line)
{
    struct http_call *call = line->call;
    bool reusable = line->response.keep_alive && !line->peer_done && line->send_err == BK_OK &&
                    !list_linked(&line->starved) && line->held_count == 0;

    call->kept = line->gathered;
    call->kept_bytes = line->gathered_size;
    line->gathered = NULL;
    line->gathered_bytes = 0;
    line->body = SLICE_EMPTY;
    line->call = NULL;
    line->used = true;
    call->line = NULL;
    if (reusable) {
        line_idle(line);
    } else {
        line_kill(line);
    }
    call_finish(call); /* last: it may start others, and end this one */
}

/* The answer is here, as far as it is wanted. */
static void reply_over(struct client_line *line)
{
    struct http_call *call = line->call;

    call->reply.body = line->body;
    call->reply.body_bytes = line->response.body_bytes;
    if (!ring_op_busy(&line->send_op) && (line->sent || line->send_err != BK_OK)) {
        reply_deliver(line);
        return;
    }
    /* Answered before the request was sent whole: its bytes are still in use. */
    if (!secure(line)) {
        no_memory(line);
        return;
    }
    call->reply.body = line->body;
    line->state = LINE_ANSWERED;
    uint64_t until_ns = ring_now_ns(line->client->ring) + ANSWERED_SEND_MS * (uint64_t)NS_PER_MS;
    line_deadline(line, until_ns);
    if (!line->sent && line->tls) {
        line->response.keep_alive = false;
        line_kill(line);
    }
}

/* The answer is whole. `rest`: bytes came behind it. */
static void reply_done(struct client_line *line, size_t rest)
{
    if (rest > 0) {
        line->response.keep_alive = false;
    }
    line->call->reply.err = BK_OK;
    line->call->reply.stage = HTTP_STAGE_DONE;
    reply_over(line);
}

/* Its body is over the limit. What was said before that counts, and nothing more is read. */
static void reply_too_large(struct client_line *line)
{
    struct http_reply *reply = &line->call->reply;

    line->head_done = true; /* its length alone may be too much */
    line->response.keep_alive = false;
    reply->err = BK_TOO_LARGE;
    reply->stage = HTTP_STAGE_BODY;
    reply->status = line->head.status;
    reply->head = &line->head;
    reply->body_cut = true;
    snprintf(reply->why, sizeof reply->why, "%s", line->response.why);
    reply_over(line);
}

void reply_end(struct client_line *line)
{
    if (http_response_end(&line->response) == HTTP_STEP_DONE) {
        reply_done(line, 0);
    } else {
        line_fail(line, line->send_err != BK_OK ? line->send_err : line->response.err,
                  line->response.why);
    }
}

/* ---- input */

/* A head that dribbles in is looked at again only when a line ended. */
static bool gather_head(struct client_line *line, uint8_t **at, size_t *bytes)
{
    bool newline = memchr(*at, '\n', *bytes) != NULL;

    if (!gather(line, *at, *bytes)) {
        no_memory(line);
        return false;
    }
    *at = line->gathered;
    *bytes = line->gathered_bytes;
    return newline || line->gathered_bytes > HTTP_HEAD_BYTES_MAX;
}

/* The head lies in the gathered bytes: it moves to their front, the rest is raw and will be
 * compacted behind it. Returns where the rest is. */
static uint8_t *head_to_front(struct client_line *line, size_t rest)
{
    size_t interim = (size_t)(line->head.at - line->gathered);
    if (interim > 0) {
        memmove(line->gathered, line->head.at, line->head.head_bytes + rest);
        line->head.at = line->gathered;
    }
    line->gathered_bytes = line->head.head_bytes;
    line->body = slice_of(line->gathered + line->gathered_bytes, 0);
    return line->gathered + line->gathered_bytes;
}

/* All that came was looked at, and it goes away now. */
static void reply_wait(struct client_line *line, const uint8_t *at, size_t bytes)
{
    if (line->head_done) {
        if (!secure(line)) {
            no_memory(line);
        }
        return;
    }
    if (at == line->gathered && line->gathered) {
        return;
    }
    line->gathered_bytes = 0; /* what was used were interim answers */
    if (!gather(line, at, bytes)) {
        no_memory(line);
    }
}

/* `at`: the head that is no good, as far as it came. */
static void reply_malformed(struct client_line *line, const uint8_t *at, size_t bytes)
{
    char where[HTTP_EXPLAIN_BYTES], why[HTTP_CALL_WHY_BYTES];

    http_explain_response(at, bytes, where);
    snprintf(why, sizeof why, "%s: %s", line->response.why, where);
    line_fail(line, line->response.err, why);
}

void reply_input(struct client_line *line, uint8_t *at, size_t bytes)
{
    struct http_call *call = line->call;

    if (!line->begun && !line->sent && line->used && call->repeatable && !call->repeated) {
        /* Perhaps bytes behind the answer before. Who answers early, before a large request was
         * sent whole, is believed on a connection of its own: the call is made again there. */
        line_fail(line, BK_PROTOCOL, "an answer came before the request was sent");
        return;
    }
    line->begun = true;
    if (!line->head_done && line->gathered && !gather_head(line, &at, &bytes)) {
        return;
    }
    for (;;) {
        size_t used;
        struct slice piece;
        enum http_step step =
            http_response_step(&line->response, at, bytes, &used, &line->head, &piece);
        at += used;
        bytes -= used;
        switch (step) {
        case HTTP_STEP_HEAD:
            if (in_gathered(line, at)) {
                at = head_to_front(line, bytes);
            }
            reply_head(line);
            break;
        case HTTP_STEP_PIECE:
            if (!reply_piece(line, piece)) {
                return;
            }
            break;
        case HTTP_STEP_MORE:
            reply_wait(line, at, bytes);
            return;
        case HTTP_STEP_DONE:
            reply_done(line, bytes);
            return;
        case HTTP_STEP_FAILED:
            if (line->response.err == BK_TOO_LARGE) {
                reply_too_large(line);
            } else if (line->response.malformed) {
                reply_malformed(line, at, bytes);
            } else {
                line_fail(line, line->response.err, line->response.why);
            }
            return;
        default:
            bk_never("a step of an answer");
        }
    }
}
