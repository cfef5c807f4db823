/* Records between the TLS engine and the ring. One function, pump(), moves everything that can be
 * moved; whoever gives it something new to move calls it. */
#include "http/client_private.h"

#include <stdio.h>

/* ---- engines */

static struct tls *engine_take(struct http_client *client)
{
    uint8_t *engine = client->engines_free;

    if (engine) {
        memcpy(&client->engines_free, engine, sizeof client->engines_free);
        memset(engine, 0, client->engine_bytes);
    } else {
        bk_assert(client->engines_used < client->config.conns_max);
        engine = client->engines + client->engines_used++ * client->engine_bytes;
    }
    return (struct tls *)(void *)engine;
}

void line_tls_drop(struct client_line *line)
{
    struct http_client *client = line->client;

    if (!line->tls) {
        return;
    }
    tls_end(line->tls);
    memcpy(line->tls, &client->engines_free, sizeof client->engines_free);
    client->engines_free = (uint8_t *)line->tls;
    line->tls = NULL;
}

/* ---- received bytes that the engine has not taken yet */

void line_tls_let_go(struct client_line *line)
{
    for (unsigned i = 0; i < line->held_count; i++) {
        if (!line->held[i].lent) {
            ring_buffer_give(line->client->ring, line->held[i].buffer_id);
        }
    }
    line->held_count = 0;
}

/* Returns whether the engine took some. */
static bool feed(struct client_line *line)
{
    if (line->held_count == 0) {
        return false;
    }
    struct held *first = &line->held[0];
    size_t taken = tls_recv_record(line->tls, first->at, first->bytes);
    first->at += taken;
    first->bytes -= taken;
    if (first->bytes == 0) {
        if (!first->lent) {
            ring_buffer_give(line->client->ring, first->buffer_id);
        }
        line->held_count--;
        memmove(&line->held[0], &line->held[1], line->held_count * sizeof line->held[0]);
    }
    return taken > 0;
}

/* ---- moving everything that can be moved */

static void send_record(struct client_line *line)
{
    size_t bytes;
    const uint8_t *at = tls_send_record_buf(line->tls, &bytes);

    line->record_bytes = bytes;
    line_send(line, at, bytes);
}

/* The peer reads no more. The engine takes no input before its own is out of the way, and what the
 * peer said last (an alert, an answer) is to be heard. */
static void drop_record(struct client_line *line)
{
    size_t bytes;
    (void)tls_send_record_buf(line->tls, &bytes);
    tls_send_record_ack(line->tls, bytes);
    line->record_bytes = 0;
}

static void handshake_done(struct client_line *line)
{
    tls_session_get(line->tls, &line->pool->session);
    dial_done(line);
}

/* The next part of the request, as much as one record takes. */
static void give_request(struct client_line *line)
{
    struct ring_pieces *pieces = &line->pieces;
    size_t room;
    uint8_t *to = tls_send_app_buf(line->tls, &room);
    size_t used = 0;

    while (used < room && line->piece_number < pieces->count) {
        struct slice left = slice_skip(pieces->at[line->piece_number], line->piece_at);
        size_t now = left.bytes < room - used ? left.bytes : room - used;
        if (now > 0) {
            memcpy(to + used, left.at, now);
        }
        used += now;
        line->piece_at += now;
        if (now == left.bytes) {
            line->piece_number++;
            line->piece_at = 0;
        }
    }
    tls_send_app_ack(line->tls, used);
    if (line->piece_number == pieces->count) {
        tls_flush(line->tls);
    }
}

static bool request_left(const struct client_line *line)
{
    return line->state == LINE_BUSY && line->send_err == BK_OK &&
           line->piece_number < line->pieces.count;
}

static void take_plain(struct client_line *line)
{
    size_t bytes;
    uint8_t *at = tls_recv_app_buf(line->tls, &bytes);

    line_plain(line, at, bytes);
    if (line->state != LINE_DEAD) {
        tls_recv_app_ack(line->tls, bytes);
    }
}

/* The engine is closed, or the peer said goodbye. */
static void ended(struct client_line *line)
{
    const char *why = tls_why(line->tls);
    enum bk_err err = tls_err(line->tls);

    if (line->state == LINE_TLS) {
        memset(&line->pool->session, 0, sizeof line->pool->session);
        snprintf(line->why, sizeof line->why, "%s",
                 why ? why : "the peer closed the connection in the handshake");
        dial_fail(line, err != BK_OK ? err : BK_PROTOCOL, HTTP_STAGE_TLS);
    } else if (tls_clean(line->tls)) {
        line->peer_done = true;
        line_plain_end(line);
    } else if (line->state == LINE_BUSY) {
        line_fail(line, line->peer_done && !line->begun ? BK_CLOSED : BK_PROTOCOL,
                  why ? why : "the peer closed the connection");
    } else {
        line_lost(line, BK_CLOSED);
    }
}

/* One step; false = nothing can be moved now. */
static bool pump_step(struct client_line *line)
{
    unsigned state = tls_state(line->tls);

    if (state & TLS_SEND_RECORD && !ring_op_busy(&line->send_op)) {
        if (line->send_err == BK_OK) {
            send_record(line);
        } else {
            drop_record(line);
        }
        return true;
    }
    if (line->state == LINE_TLS && tls_is_open(line->tls) && line->send_err == BK_OK) {
        handshake_done(line);
        return true;
    }
    if (state & TLS_RECV_APP) {
        take_plain(line);
        return true;
    }
    if (state & TLS_CLOSED || tls_clean(line->tls)) {
        ended(line);
        return false;
    }
    if (state & TLS_SEND_APP && request_left(line)) {
        give_request(line);
        return true;
    }
    if (feed(line)) {
        return true;
    }
    if (line->peer_done && line->held_count == 0) {
        tls_recv_end(line->tls);
        return true;
    }
    return false;
}

static void pump(struct client_line *line)
{
    while (line->state != LINE_DEAD && pump_step(line)) {
    }
    bool all_given = line->piece_number == line->pieces.count;
    if (line->state == LINE_BUSY && all_given && !line->sent && line->send_err == BK_OK &&
        !ring_op_busy(&line->send_op) && !(tls_state(line->tls) & TLS_SEND_RECORD)) {
        line_sent(line);
    }
}

/* ---- what happens */

void line_tls_begin(struct client_line *line)
{
    struct http_client *client = line->client;
    struct client_pool *pool = line->pool;
    const struct tls_credentials *credentials = pool->origin.credentials;
    const struct tls_trust *trust = tls_credentials_trust(credentials);
    uint8_t entropy[32];

    trust = trust ? trust : client->config.trust;
    if (!trust || tls_trust_count(trust) == 0) {
        snprintf(line->why, sizeof line->why,
                 "no certificate authorities are known: install ca-certificates or give --ca-file");
        dial_fail(line, BK_UNAUTHENTICATED, HTTP_STAGE_TLS);
        return;
    }
    line->state = LINE_TLS;
    line->tls = engine_take(client);
    line->dial_deadline_ns =
        ring_now_ns(client->ring) + client->config.tls_timeout_ms * (uint64_t)NS_PER_MS;
    line_deadline(line, line->dial_deadline_ns);
    ring_entropy(entropy, sizeof entropy);
    tls_client_begin(line->tls, trust, tls_credentials_identity(credentials), pool->origin.host,
                     pool->session.made_seconds != 0 ? &pool->session : NULL,
                     ring_wall_ns(client->ring) / NS_PER_SECOND, entropy);
    bk_wipe(entropy, sizeof entropy);
    pump(line);
}

void line_tls_request(struct client_line *line)
{
    line->piece_number = 0;
    line->piece_at = 0;
    pump(line);
}

bool line_tls_received(struct client_line *line, uint8_t *at, size_t bytes, uint16_t buffer_id)
{
    if (line->held_count == CLIENT_HELD_MAX) {
        line_lost(line, BK_PROTOCOL);
        return false;
    }
    line->held[line->held_count++] =
        (struct held){.at = at, .bytes = bytes, .buffer_id = buffer_id, .lent = true};
    pump(line);
    if (line->state == LINE_DEAD || line->held_count == 0) {
        return false;
    }
    struct held *last = &line->held[line->held_count - 1];
    bool kept = last->lent;
    last->lent = false;
    return kept;
}

void line_tls_ended(struct client_line *line)
{
    pump(line); /* peer_done is set: the engine is told once it has all bytes */
}

void line_tls_send_failed(struct client_line *line)
{
    pump(line);
}

void line_tls_send_done(struct client_line *line)
{
    tls_send_record_ack(line->tls, line->record_bytes);
    line->record_bytes = 0;
    pump(line);
}

/* One small record: it fits the buffer of a socket on which nothing else is under way, so the close
 * that waits for it comes at once. */
bool line_tls_goodbye(struct client_line *line)
{
    unsigned state = tls_state(line->tls);
    if (!tls_is_open(line->tls) || state & (TLS_CLOSED | TLS_SEND_RECORD) || line->peer_done ||
        ring_op_busy(&line->send_op)) {
        return false;
    }
    tls_close(line->tls);
    if (tls_state(line->tls) & TLS_SEND_RECORD) {
        send_record(line);
    }
    return ring_op_busy(&line->send_op);
}
