/* net_sim.c - the simulated network: listeners, connections, streams of bytes with windows and
 * latency.
 *
 * A connection is two sockets; each holds the bytes on their way to it. Bytes keep their order and
 * arrive in segments; the end of a stream comes after its bytes, a reset may overtake them and then
 * they are lost. Closing a socket with unread bytes resets the connection, as the kernel does. */
#include "sim_internal.h"

#include <stdlib.h>

#define LISTENERS_MAX 64U
#define BACKLOG_MAX   1024U

struct connection;

struct sim_socket {
    struct sim_socket *other;
    struct connection *connection;
    struct ring_address local;
    struct ring_address remote;
    /* Bytes on the way to this socket: [taken, sent), readable up to `arrived`. */
    uint8_t *bytes;
    size_t bytes_size;
    uint64_t sent, arrived, taken;
    uint64_t last_arrival_ns;
    bool fin_sent, fin_arrived;
    bool reset;
    bool closed;
    bool write_shut;
    uint64_t accepted_ns;
    size_t vain_bytes; /* written after the other end was closed */
    net_notify_fn *notify;
    void *notify_context;
};

struct connection {
    unsigned references; /* the two owners, events under way */
    struct sim_socket ends[2];
};

struct sim_listener {
    struct ring_address address;
    bool reuse_port;
    unsigned references;
    unsigned backlog;
    struct sim_socket *waiting[BACKLOG_MAX];
    unsigned waiting_count;
    net_notify_fn *notify;
    void *notify_context;
};

struct connecting {
    struct ring_address from, to;
    net_connected_fn *connected;
    void *context;
    uint64_t number;
    struct sim_socket *socket;
    enum bk_err err;
};

static struct {
    struct sim_listener *listeners[LISTENERS_MAX];
    unsigned listener_count;
    uint16_t next_port;
    uint16_t next_listen_port;
    uint64_t connections;
} net;

static uint32_t window_bytes(void)
{
    return sim_config()->window_bytes ? sim_config()->window_bytes : 65536;
}

static uint64_t latency_ns(void)
{
    return sim_between(1, sim_config()->latency_us + 1) * US;
}

/* ---- sockets */

static struct connection *connection_make(const struct ring_address *client,
                                          const struct ring_address *server)
{
    struct connection *connection = calloc(1, sizeof *connection);
    bk_assert(connection);
    connection->references = 2;
    for (unsigned i = 0; i < 2; i++) {
        struct sim_socket *socket = &connection->ends[i];
        socket->connection = connection;
        socket->other = &connection->ends[1 - i];
        socket->local = i == 0 ? *client : *server;
        socket->remote = i == 0 ? *server : *client;
    }
    net.connections++;
    return connection;
}

static void socket_release(struct sim_socket *socket)
{
    struct connection *connection = socket->connection;
    bk_assert(connection->references > 0);
    if (--connection->references == 0) {
        for (unsigned i = 0; i < 2; i++) {
            bk_assert(connection->ends[i].closed);
            free(connection->ends[i].bytes);
        }
        free(connection);
        net.connections--;
    }
}

static void event_for(struct sim_socket *socket, uint64_t at_ns, sim_event_fn *run, uint64_t number)
{
    socket->connection->references++;
    sim_at(at_ns, run, socket, number);
}

static void tell(struct sim_socket *socket)
{
    sim_touch();
    if (socket->notify && !socket->closed) {
        socket->notify(socket->notify_context);
    }
}

static void tell_event(void *context, uint64_t number)
{
    (void)number;
    tell(context);
    socket_release(context);
}

/* A reset arrives at `socket`; half of the time it takes unread bytes with it. */
static void reset_arrives(void *context, uint64_t number)
{
    struct sim_socket *socket = context;
    if (!socket->reset) {
        socket->reset = true;
        if (number & 1) {
            socket->taken = socket->arrived;
        }
        tell(socket);
    }
    socket_release(socket);
}

static void reset_send(struct sim_socket *target)
{
    uint64_t at_ns = sim_now_ns() + latency_ns();
    if (sim_below(2) && target->last_arrival_ns > at_ns) {
        at_ns = target->last_arrival_ns; /* in order this time */
    }
    event_for(target, at_ns, reset_arrives, sim_random());
}

static void bytes_arrive(void *context, uint64_t number)
{
    struct sim_socket *socket = context;
    if (socket->closed) {
        if (!socket->reset) {
            reset_send(socket->other); /* nobody is here any more */
            socket->reset = true;
        }
    } else if (!socket->reset && number > socket->arrived) {
        bk_assert(number <= socket->sent);
        socket->arrived = number;
        tell(socket);
    }
    socket_release(socket);
}

static void fin_arrives(void *context, uint64_t number)
{
    struct sim_socket *socket = context;
    (void)number;
    if (!socket->reset && !socket->closed) {
        bk_assert(socket->arrived == socket->sent);
        socket->fin_arrived = true;
        tell(socket);
    }
    socket_release(socket);
}

/* ---- streams */

size_t net_available(const struct sim_socket *socket)
{
    return (size_t)(socket->arrived - socket->taken);
}

/* Where a byte of the stream lies in the ring, and how many of `bytes` lie together there. */
static uint8_t *ring_at(const struct sim_socket *socket, uint64_t number, size_t bytes,
                        size_t *ret_together)
{
    size_t at = (size_t)(number % socket->bytes_size), left = socket->bytes_size - at;
    *ret_together = bytes < left ? bytes : left;
    return socket->bytes + at;
}

size_t net_read(struct sim_socket *socket, void *at, size_t bytes)
{
    size_t available = net_available(socket);
    size_t count = bytes < available ? bytes : available;
    uint8_t *target = at;
    for (size_t done = 0, together; done < count; done += together) {
        const uint8_t *from = ring_at(socket, socket->taken + done, count - done, &together);
        memcpy(target + done, from, together);
    }
    socket->taken += count;
    if (count && !socket->other->closed) {
        event_for(socket->other, sim_now_ns(), tell_event, 0);
    }
    sim_touch();
    return count;
}

bool net_eof(const struct sim_socket *socket)
{
    return socket->fin_arrived && socket->taken == socket->sent;
}

bool net_reset(const struct sim_socket *socket)
{
    return socket->reset && net_available(socket) == 0;
}

bool net_broken(const struct sim_socket *socket)
{
    return socket->reset || socket->write_shut || socket->closed;
}

size_t net_room(const struct sim_socket *socket)
{
    const struct sim_socket *other = socket->other;
    if (net_broken(socket)) {
        return 0;
    }
    if (other->closed) {
        /* Goes nowhere, and a reset will come back; until then the sender's own buffer fills. */
        return socket->vain_bytes < window_bytes() ? window_bytes() - socket->vain_bytes : 0;
    }
    uint64_t used = other->sent - other->taken;
    uint64_t window = other->bytes ? other->bytes_size : window_bytes();
    return used < window ? (size_t)(window - used) : 0;
}

static size_t segment_size(size_t bytes)
{
    const struct sim_config *config = sim_config();
    size_t most = config->segment_bytes ? config->segment_bytes : 65536;
    if (sim_chance(config->dribble)) {
        most = (size_t)sim_between(1, 3);
    }
    return bytes < most ? bytes : most;
}

void net_write(struct sim_socket *socket, const void *at, size_t bytes)
{
    struct sim_socket *other = socket->other;
    bk_assert(!net_broken(socket));
    bk_assert(!other->fin_sent && bytes <= net_room(socket));
    const uint8_t *source = at;
    if (!other->bytes) {
        other->bytes_size = window_bytes();
        other->bytes = malloc(other->bytes_size);
        bk_assert(other->bytes);
    }
    if (other->closed) {
        socket->vain_bytes += bytes;
        event_for(other, sim_now_ns() + latency_ns(), bytes_arrive, 0);
        return;
    }
    for (size_t done = 0, together; done < bytes; done += together) {
        uint8_t *to = ring_at(other, other->sent + done, bytes - done, &together);
        memcpy(to, source + done, together);
    }
    uint64_t from = other->sent;
    other->sent += bytes;
    while (from < other->sent) {
        from += segment_size((size_t)(other->sent - from));
        uint64_t at_ns = sim_now_ns() + latency_ns();
        other->last_arrival_ns = at_ns > other->last_arrival_ns ? at_ns : other->last_arrival_ns;
        event_for(other, other->last_arrival_ns, bytes_arrive, from);
    }
}

void net_shutdown(struct sim_socket *socket)
{
    struct sim_socket *other = socket->other;
    if (socket->write_shut || socket->reset) {
        socket->write_shut = true;
        return;
    }
    socket->write_shut = true;
    other->fin_sent = true;
    uint64_t at_ns = sim_now_ns() + latency_ns();
    other->last_arrival_ns = at_ns > other->last_arrival_ns ? at_ns : other->last_arrival_ns;
    event_for(other, other->last_arrival_ns, fin_arrives, 0);
}

void net_close(struct sim_socket *socket, bool abort)
{
    bk_assert(!socket->closed);
    if (!socket->reset && (abort || net_available(socket) > 0)) {
        reset_send(socket->other);
        socket->reset = true;
    } else if (!socket->reset) {
        net_shutdown(socket);
    }
    socket->closed = true;
    socket->notify = NULL;
    sim_touch();
    socket_release(socket);
}

void net_notify(struct sim_socket *socket, net_notify_fn *notify, void *context)
{
    socket->notify = notify;
    socket->notify_context = context;
}

struct ring_address net_peer(const struct sim_socket *socket)
{
    return socket->remote;
}

uint64_t net_accepted_ns(const struct sim_socket *socket)
{
    return socket->other->accepted_ns;
}

/* ---- listeners and connecting */

struct notice {
    net_notify_fn *notify;
    void *context;
};

static void notice_event(void *context, uint64_t number)
{
    struct notice *notice = context;
    (void)number;
    notice->notify(notice->context);
    free(notice);
}

static void listener_tell(struct sim_listener *listener)
{
    struct notice *notice = calloc(1, sizeof *notice);
    bk_assert(notice);
    *notice = (struct notice){listener->notify, listener->notify_context};
    sim_at(sim_now_ns(), notice_event, notice, 0);
}

void net_listener_notify(struct sim_listener *listener, net_notify_fn *notify, void *context)
{
    listener->notify = notify;
    listener->notify_context = context;
}

static bool address_any(const struct ring_address *address)
{
    for (unsigned i = 0; i < (address->family == 6 ? 16U : 4U); i++) {
        if (address->at[i]) {
            return false;
        }
    }
    return true;
}

static bool listener_wants(const struct sim_listener *listener, const struct ring_address *to)
{
    const struct ring_address *own = &listener->address;
    if (own->port != to->port) {
        return false;
    }
    if (address_any(own)) {
        return own->family == 6 || own->family == to->family;
    }
    return own->family == to->family && memcmp(own->at, to->at, own->family == 6 ? 16 : 4) == 0;
}

struct sim_listener *net_listen(struct ring_address *address, bool reuse_port, unsigned backlog,
                                enum bk_err *ret_err)
{
    if (address->port == 0) {
        address->port = net.next_listen_port++;
    }
    for (unsigned i = 0; i < net.listener_count; i++) {
        const struct sim_listener *taken = net.listeners[i];
        if (taken->address.port == address->port && taken->address.family == address->family &&
            memcmp(taken->address.at, address->at, 16) == 0 && !(reuse_port && taken->reuse_port)) {
            *ret_err = BK_BUSY;
            return NULL;
        }
    }
    bk_assert(net.listener_count < LISTENERS_MAX);
    struct sim_listener *listener = calloc(1, sizeof *listener);
    bk_assert(listener);
    listener->address = *address;
    listener->reuse_port = reuse_port;
    listener->references = 1;
    listener->backlog = backlog < BACKLOG_MAX ? backlog : BACKLOG_MAX;
    net.listeners[net.listener_count++] = listener;
    *ret_err = BK_OK;
    return listener;
}

void net_listener_share(struct sim_listener *listener)
{
    listener->references++;
}

void net_listener_close(struct sim_listener *listener)
{
    if (--listener->references > 0) {
        return;
    }
    for (unsigned i = 0; i < listener->waiting_count; i++) {
        net_close(listener->waiting[i], true);
    }
    for (unsigned i = 0; i < net.listener_count; i++) {
        if (net.listeners[i] == listener) {
            net.listeners[i] = net.listeners[--net.listener_count];
            break;
        }
    }
    free(listener);
    sim_touch();
}

bool net_accept_ready(const struct sim_listener *listener)
{
    return listener->waiting_count > 0;
}

struct sim_socket *net_accept(struct sim_listener *listener)
{
    if (!listener->waiting_count) {
        return NULL;
    }
    struct sim_socket *socket = listener->waiting[0];
    listener->waiting_count--;
    memmove(&listener->waiting[0], &listener->waiting[1],
            listener->waiting_count * sizeof listener->waiting[0]);
    socket->accepted_ns = sim_now_ns();
    return socket;
}

static void connection_cut(void *context, uint64_t number)
{
    struct sim_socket *socket = context;
    if (!socket->closed && !socket->other->closed) {
        reset_send(socket);
        reset_send(socket->other);
    }
    (void)number;
    socket_release(socket);
}

static void connected_event(void *context, uint64_t number)
{
    struct connecting *connecting = context;
    (void)number;
    sim_touch();
    connecting->connected(connecting->context, connecting->number, connecting->socket,
                          connecting->err);
    free(connecting);
}

static struct sim_listener *listener_choose(const struct ring_address *to)
{
    struct sim_listener *fit[LISTENERS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < net.listener_count; i++) {
        if (listener_wants(net.listeners[i], to)) {
            fit[count++] = net.listeners[i];
        }
    }
    return count ? fit[sim_below(count)] : NULL;
}

/* The handshake is done or refused at the listener; the client learns of it later. */
static void handshake_event(void *context, uint64_t number)
{
    struct connecting *connecting = context;
    struct sim_listener *listener = listener_choose(&connecting->to);
    uint64_t answer_ns = sim_now_ns() + latency_ns();
    (void)number;
    sim_touch();
    if (!listener) {
        connecting->err = BK_REFUSED;
    } else if (listener->waiting_count >= listener->backlog) {
        connecting->err = BK_TIMEOUT;
        answer_ns += 1000000000ULL * sim_between(1, 60);
    } else if (sim_chance(sim_config()->connect_fail)) {
        static const enum bk_err errs[] = {BK_REFUSED, BK_TIMEOUT, BK_UNREACHABLE};
        connecting->err = errs[sim_below(3)];
        answer_ns += connecting->err == BK_TIMEOUT ? 1000000000ULL * sim_between(1, 60) : 0;
    } else {
        struct connection *connection = connection_make(&connecting->from, &connecting->to);
        struct sim_socket *client = &connection->ends[0];
        connecting->socket = client;
        listener->waiting[listener->waiting_count++] = &connection->ends[1];
        if (listener->notify) {
            listener_tell(listener);
        }
        if (sim_chance(sim_config()->connection_reset)) {
            event_for(client, sim_now_ns() + sim_below(50000) * US, connection_cut, 0);
        }
    }
    sim_at(answer_ns, connected_event, connecting, 0);
}

void net_connect(const struct ring_address *from, const struct ring_address *to,
                 net_connected_fn *connected, void *context, uint64_t number)
{
    struct connecting *connecting = calloc(1, sizeof *connecting);
    bk_assert(connecting);
    connecting->to = *to;
    if (from) {
        connecting->from = *from;
    } else {
        connecting->from = *to; /* loopback: the same host */
        if (address_any(to)) {
            connecting->from.at[to->family == 6 ? 15 : 0] = to->family == 6 ? 1 : 127;
        }
    }
    connecting->from.port = net.next_port++;
    if (net.next_port < 32768) {
        net.next_port = 32768;
    }
    connecting->connected = connected;
    connecting->context = context;
    connecting->number = number;
    sim_at(sim_now_ns() + latency_ns(), handshake_event, connecting, 0);
}

/* ---- a run */

void net_begin(void)
{
    memset(&net, 0, sizeof net);
    net.next_port = 32768;
    net.next_listen_port = 20000;
}

void net_end(void)
{
    sim_check(net.listener_count == 0, "%u listeners are still open", net.listener_count);
    sim_check(net.connections == 0, "%llu connections are still open",
              (unsigned long long)net.connections);
}
