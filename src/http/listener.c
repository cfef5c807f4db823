/* listener.c - accepting, and not accepting when something is short. */
#include "http/conn.h"

#define ACCEPT_RETRY_MS 100U
/* What a ring may hold beside connections and those that wait for a slot, and more. */
#define REFUSALS_BESIDE 8192U

static void listener_accept_done(struct ring_op *op, const struct ring_result *result);

static void listener_arm(struct listener *listener)
{
    ring_accept(listener->server->ring, &listener->op, listener->handle, listener_accept_done);
}

static void close_refused(struct ring_op *op, const struct ring_result *result)
{
    (void)result;
    struct refusal *refusal = bk_container_of(op, struct refusal, op);
    refusal->next_free = refusal->server->refusals_free;
    refusal->server->refusals_free = refusal;
}

/* What a burst brings between the last slot and the cancelled accept. False: there are too many. */
static bool hold(struct http_server *server, int32_t handle, const struct ring_address *peer)
{
    if (server->held_count == server->config.held_max) {
        return false;
    }
    unsigned at = (server->held_from + server->held_count++) % server->config.held_max;
    server->held[at] = (struct held){*peer, handle};
    return true;
}

/* Those who wait come first, in their order. */
static void open_held(struct http_server *server)
{
    while (server->held_count && conns_left(server)) {
        const struct held held = server->held[server->held_from];
        server->held_from = (server->held_from + 1) % server->config.held_max;
        server->held_count--;
        conn_open(server, held.handle, &held.peer);
    }
}

unsigned refusals_max(const struct http_server_config *config)
{
    return config->conns_max + config->held_max + REFUSALS_BESIDE;
}

void conn_refuse(struct http_server *server, int32_t handle)
{
    struct refusal *refusal = server->refusals_free;
    if (refusal) {
        server->refusals_free = refusal->next_free;
    } else {
        bk_assert(server->refusals_used < refusals_max(&server->config));
        refusal = &server->refusals[server->refusals_used++];
        refusal->server = server;
    }
    ring_close_handle(server->ring, &refusal->op, handle, close_refused);
}

static void listener_closed(struct ring_op *op, const struct ring_result *result)
{
    (void)op;
    (void)result;
}

/* Who waits in its queue is told by a reset, and goes to another server. */
void listener_close(struct listener *listener)
{
    if (!ring_op_busy(&listener->op) && !listener->closed) {
        listener->closed = true;
        ring_close_handle(listener->server->ring, &listener->op, listener->handle, listener_closed);
    }
}

static void listener_retry(struct timer *timer)
{
    struct listener *listener = bk_container_of(timer, struct listener, retry);
    if (listener->stopped && conns_left(listener->server)) {
        listener->stopped = false;
        http_server_accept(listener->server, listener->handle);
    }
}

void http_server_adopt(struct http_server *server, int32_t handle, const struct ring_address *peer)
{
    if (conns_left(server) || !hold(server, handle, peer)) {
        conn_open(server, handle, peer);
    }
    if (!conns_left(server)) {
        conns_crowded(server); /* also for those that another core has accepted */
    }
}

static void listener_accept_done(struct ring_op *op, const struct ring_result *result)
{
    struct listener *listener = bk_container_of(op, struct listener, op);
    struct http_server *server = listener->server;
    if (result->value >= 0 && result->peer) {
        /* Also while the accept is cancelled. */
        bool taken =
            server->config.place && !server->draining &&
            server->config.place(server->config.place_context, result->value, result->peer);
        if (!taken) {
            http_server_adopt(server, result->value, result->peer);
        }
    }
    if (!conns_left(server) && result->more) {
        ring_cancel(server->ring, op);
    }
    if (result->more) {
        return;
    }
    if (server->draining) {
        listener_close(listener);
        return;
    }
    /* Ended: out of slots, or descriptors, or memory, or just the end of a multishot. Stopped, it
     * is armed again when a connection closes; what is short may be the whole machine's, so also
     * after a while. */
    bool failed =
        result->value < 0 && result->value != -(int)BK_AGAIN && result->value != -(int)BK_CANCELLED;
    listener->stopped = !conns_left(server) || failed;
    if (!listener->stopped) {
        listener_arm(listener);
    } else if (failed) {
        timer_start(server->wheel, &listener->retry,
                    ring_now_ns(server->ring) + ACCEPT_RETRY_MS * 1000000ULL, listener_retry);
    }
}

void http_server_accept(struct http_server *server, int32_t handle)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        if (server->listeners[i].handle == handle) {
            if (!ring_op_busy(&server->listeners[i].op)) {
                listener_arm(&server->listeners[i]);
            }
            return;
        }
    }
    bk_assert(server->listener_count < LISTENERS_MAX);
    struct listener *listener = &server->listeners[server->listener_count++];
    listener->server = server;
    listener->handle = handle;
    listener_arm(listener);
}

void listeners_wake(struct http_server *server)
{
    open_held(server);
    if (!conns_left(server)) {
        return;
    }
    server->crowded = false;
    for (unsigned i = 0; i < server->listener_count && !server->draining; i++) {
        struct listener *listener = &server->listeners[i];
        if (listener->stopped) {
            listener->stopped = false;
            http_server_accept(server, listener->handle);
        }
    }
}
