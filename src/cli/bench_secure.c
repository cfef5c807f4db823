/* bench_secure.c - TLS of a connection: between answers and requests, and the ring. */
#include "cli/bench_load_private.h"

#include <stdio.h>
#include <stdlib.h>

static bool secure_take(struct bench_connection *connection);

static void secure_sent(struct ring_op *op, const struct ring_result *result)
{
    struct bench_connection *connection = bk_container_of(op, struct bench_connection, send);
    if (connection->phase == CONNECTION_CLOSING || result->value < 0) {
        bench_connection_close(connection);
        return;
    }
    tls_send_record_ack(connection->secure->tls, connection->secure->record_bytes);
    if (!secure_take(connection)) {
        bench_connection_close(connection);
        return;
    }
    bench_secure_pump(connection);
    if (connection->outstanding == 0) {
        bench_connection_next(connection);
    }
}

void bench_secure_pump(struct bench_connection *connection)
{
    struct bench_secure *secure = connection->secure;
    const uint8_t *record;
    size_t bytes;
    if (ring_op_busy(&connection->send) || connection->phase != CONNECTION_READY) {
        return;
    }
    while (!(record = tls_send_record_buf(secure->tls, &bytes)) && secure->plain_bytes) {
        uint8_t *room = tls_send_app_buf(secure->tls, &bytes);
        if (!room) {
            return;
        }
        bytes = bytes < secure->plain_bytes ? bytes : secure->plain_bytes;
        memcpy(room, secure->plain, bytes);
        tls_send_app_ack(secure->tls, bytes);
        secure->plain += bytes;
        secure->plain_bytes -= bytes;
        if (secure->plain_bytes == 0) {
            tls_flush(secure->tls);
        }
    }
    if (record) {
        secure->record_bytes = bytes;
        ring_send(connection->state->ring, &connection->send, connection->handle, record, bytes,
                  secure_sent);
    }
}

static void secure_opened(struct bench_connection *connection)
{
    struct bench_load_state *state = connection->state;
    connection->secure->open = true;
    state->shaking--;
    if (state->plan->resume) {
        tls_session_get(connection->secure->tls, &connection->secure->session);
    }
    if (state->phase != PHASE_CONNECT || state->plan->rate_per_hour) {
        bench_connection_next(connection);
    }
}

/* What waits on the wire, into the engine; plain text out of it. False = the connection is over. */
static bool secure_take(struct bench_connection *connection)
{
    struct bench_secure *secure = connection->secure;
    size_t used = 0, step, bytes;
    const uint8_t *plain;
    do {
        step = tls_recv_record(secure->tls, secure->wire + used, secure->wire_bytes - used);
        used += step;
        while ((plain = tls_recv_app_buf(secure->tls, &bytes))) {
            bool framed = bench_answers_read(connection, plain, bytes);
            tls_recv_app_ack(secure->tls, bytes);
            if (!framed) {
                return false;
            }
        }
        if (!secure->open && tls_is_open(secure->tls)) {
            secure_opened(connection);
        }
    } while (step);
    secure->wire_bytes -= used;
    memmove(secure->wire, secure->wire + used, secure->wire_bytes);
    if (!secure->open && tls_state(secure->tls) == TLS_CLOSED) {
        connection->state->counts.connect_errors++;
        const char *why = tls_why(secure->tls);
        snprintf(connection->state->tls_why, TLS_WHY_BYTES, "%s", why ? why : "closed");
    }
    return tls_state(secure->tls) != TLS_CLOSED;
}

bool bench_secure_read(struct bench_connection *connection, const uint8_t *at, size_t bytes)
{
    struct bench_secure *secure = connection->secure;
    if (secure->wire_bytes + bytes > sizeof secure->wire) {
        return false;
    }
    memcpy(secure->wire + secure->wire_bytes, at, bytes);
    secure->wire_bytes += bytes;
    if (!secure_take(connection)) {
        bench_connection_close(connection);
        return true; /* closed is not malformed */
    }
    bench_secure_pump(connection);
    return true;
}

void bench_secure_begin(struct bench_connection *connection)
{
    struct bench_load_state *state = connection->state;
    struct bench_secure *secure = connection->secure;
    uint8_t entropy[32];
    ring_entropy(entropy, sizeof entropy);
    tls_end(secure->tls);
    tls_client_begin(secure->tls, state->plan->trust, NULL, state->plan->name, &secure->session,
                     ring_wall_ns(state->ring) / NS_PER_SECOND, entropy);
    secure->open = false;
    state->shaking++;
    secure->plain_bytes = 0;
    secure->wire_bytes = 0;
    bench_secure_pump(connection);
}

bool bench_secure_make(struct bench_connection *connection)
{
    connection->secure = calloc(1, sizeof *connection->secure);
    if (connection->secure) {
        connection->secure->tls = calloc(1, tls_client_bytes());
    }
    return connection->secure && connection->secure->tls;
}

void bench_secure_free(struct bench_connection *connection)
{
    if (connection->secure && connection->secure->tls) {
        tls_end(connection->secure->tls);
        free(connection->secure->tls);
    }
    free(connection->secure);
}
