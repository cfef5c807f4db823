/* sink_sim.c - receivers of deliveries; see sink_sim.h. */
#include "sink_sim.h"
#include "sim_internal.h"
#include "tls_sim.h"

#include "http/parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MS 1000000ULL

struct sink {
    struct sink_config config;
    struct sim_listener *listener;
    uint32_t failing;
    bool down, closed;
    unsigned references; /* connections and its owner */
};

/* What is wrong with a handshake. */
enum fault {
    FAULT_NONE,
    FAULT_CUT,     /* the stream ends in this flight, */
    FAULT_RESET,   /* or is reset, */
    FAULT_SPOILED, /* or one bit of it is another one */
    FAULT_SLOW,
    FAULT_SILENT,
    FAULTS
};

struct server {
    struct sink *sink;
    struct tls_peer *tls; /* NULL: plain */
    enum fault fault;
    unsigned fault_flight; /* 1: the next one */
    size_t fault_left;     /* of the flight, before it is cut */
    bool in_flight, leaving;
    unsigned references;
    struct sim_socket *socket;
    uint8_t *in;
    size_t in_bytes, in_size, request_bytes;
    uint8_t *out;
    size_t out_size, out_bytes, out_at, out_end;
    enum sink_treat treat;
    bool answering, waiting;
    bool fails_early; /* resets before the request is whole */
    size_t fails_at;
};

static unsigned connections;

static void server_step(struct server *server);

static void sink_release(struct sink *sink)
{
    if (--sink->references == 0) {
        free(sink);
    }
}

static void server_release(struct server *server)
{
    if (--server->references == 0) {
        sink_release(server->sink);
        if (server->tls) {
            tls_peer_close(server->tls);
        }
        free(server->in);
        free(server->out);
        free(server);
    }
}

static void server_end(struct server *server, bool abort)
{
    if (server->socket) {
        net_notify(server->socket, NULL, NULL);
        net_close(server->socket, abort);
        server->socket = NULL;
        connections--;
        server_release(server);
    }
}

static void put(struct server *server, const void *at, size_t bytes)
{
    if (!server->out || server->out_bytes + bytes > server->out_size) {
        server->out_size = 2 * (server->out_bytes + bytes) + 1;
        server->out = realloc(server->out, server->out_size);
        bk_assert(server->out);
    }
    memcpy(server->out + server->out_bytes, at, bytes);
    server->out_bytes += bytes;
}

__attribute__((format(printf, 2, 3))) static void say(struct server *server, const char *format,
                                                      ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    int bytes = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(server, text, (size_t)bytes);
}

static void say_refusal(struct server *server)
{
    static const char *const heads[SINK_TREATS] = {
        [SINK_500] = "500 Oh\r\n",
        [SINK_404] = "404 No\r\n",
        [SINK_302] = "302 There\r\nLocation: http://127.0.0.1:1/\r\n",
        [SINK_BUSY] = "503 Busy\r\nRetry-After: 1\r\n",
        [SINK_THROTTLED] = "429 Slow\r\nRetry-After: 3\r\n",
        [SINK_GONE] = "410 Gone\r\n",
    };
    say(server, "HTTP/1.1 %sContent-Length: 3\r\n\r\nno\n", heads[server->treat]);
}

/* What goes on for ever is said again by server_step(). */
static void say_doubt(struct server *server)
{
    switch ((int)server->treat) {
    case SINK_SILENT:
    case SINK_RESET_BEFORE_ANSWER:
        break;
    case SINK_ENDLESS_HEAD:
        say(server, "HTTP/1.1 200 OK\r\n");
        break;
    case SINK_ENDLESS_1XX:
        break;
    case SINK_ENDLESS_BODY:
        say(server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        break;
    case SINK_TOO_LONG:
        say(server, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort");
        break;
    case SINK_BOTH:
        say(server, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "0\r\n\r\n");
        break;
    case SINK_NO_GOODBYE:
        if (server->tls) {
            say(server, "HTTP/1.1 200 OK\r\n\r\nis this all?");
        } else {
            say(server, "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n%040d", 8);
        }
        break;
    case SINK_LENGTHS:
        say(server, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc");
        break;
    case SINK_GARBAGE:
        say(server, "ICY 200 OK\r\n\r\n");
        break;
    default:
        say(server, "HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n%040d", 7);
        break;
    }
}

static void say_taken(struct server *server)
{
    switch ((int)server->treat) {
    case SINK_NO_CONTENT:
        say(server, "HTTP/1.1 204 No Content\r\n\r\n");
        break;
    case SINK_CHUNKED:
        say(server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n"
                    "0\r\nX-Trailer: t\r\n\r\n");
        break;
    case SINK_UNTIL_CLOSE:
        say(server, "HTTP/1.0 200 OK\r\n\r\nok");
        break;
    default:
        for (uint64_t i = server->treat == SINK_INTERIM ? sim_between(1, 5) : 0; i > 0; i--) {
            say(server, "HTTP/1.1 10%u Wait\r\nA: b\r\n\r\n", sim_below(2) ? 0 : 3);
        }
        say(server, "HTTP/1.1 202 OK\r\n%sContent-Length: 2\r\n\r\nok",
            server->treat == SINK_CLOSE ? "Connection: close\r\n" : "");
        break;
    }
}

static void answer(struct server *server)
{
    server->answering = true;
    server->out_bytes = server->out_at = 0;
    if (server->treat < SINK_TAKEN) {
        say_taken(server);
    } else if (server->treat < SINK_DOUBT) {
        say_doubt(server);
    } else {
        say_refusal(server);
    }
    server->out_end = server->out_bytes;
    bool spoils = server->treat >= SINK_SPOILED && server->treat < SINK_DOUBT;
    if (server->treat == SINK_CUT || server->treat == SINK_RESET_ANSWER ||
        (spoils && !server->tls)) {
        server->out_end = (size_t)sim_below(server->out_bytes);
    }
    if (server->treat == SINK_RENEGOTIATES && server->tls) {
        tls_peer_renegotiate(server->tls);
    }
}

/* A whole request is there: it is told, and answered. */
static bool server_request(struct server *server)
{
    static struct http_head head;
    if (server->in_bytes == 0) {
        return false;
    }
    enum http_parse parsed = http_parse_request(server->in, server->in_bytes, &head);
    if (parsed == HTTP_PARSE_PARTIAL) {
        return false;
    }
    sim_check(parsed == HTTP_PARSE_DONE && head.has_content_length, "a receiver got nonsense");
    size_t whole = head.head_bytes + (size_t)head.content_length;
    if (server->in_bytes < whole) {
        return false;
    }
    server->request_bytes = whole;
    server->treat = server->sink->config.request(
        server->sink->config.context, &head,
        slice_of(server->in + head.head_bytes, (size_t)head.content_length));
    return true;
}

static uint8_t *room_for(struct server *server, size_t bytes)
{
    if (server->in_bytes + bytes > server->in_size) {
        server->in_size = 2 * (server->in_bytes + bytes);
        server->in = realloc(server->in, server->in_size);
        bk_assert(server->in);
    }
    return server->in + server->in_bytes;
}

static void server_read(struct server *server)
{
    size_t bytes = net_available(server->socket);
    if (!server->tls) {
        server->in_bytes += net_read(server->socket, room_for(server, bytes), bytes);
        return;
    }
    uint8_t *raw = malloc(bytes);
    bk_assert(raw);
    tls_peer_received(server->tls, raw, net_read(server->socket, raw, bytes));
    free(raw);
    struct slice plain = tls_peer_plain(server->tls);
    if (plain.bytes > 0) {
        memcpy(room_for(server, plain.bytes), plain.at, plain.bytes);
        server->in_bytes += plain.bytes;
        tls_peer_plain_take(server->tls);
    }
}

static void server_wakes(void *context, uint64_t number)
{
    struct server *server = context;
    (void)number;
    server->waiting = false;
    server_step(server);
    server_release(server);
}

static void server_wait(struct server *server, uint64_t ns)
{
    server->waiting = true;
    server->references++;
    sim_at(sim_now_ns() + ns, server_wakes, server, 0);
}

/* More of what never ends. */
static void say_on(struct server *server)
{
    server->out_bytes = server->out_at = 0;
    switch ((int)server->treat) {
    case SINK_ENDLESS_HEAD:
        for (unsigned i = 0; i < 10; i++) {
            say(server, "X-More: %0200d\r\n", 0);
        }
        break;
    case SINK_ENDLESS_1XX:
        say(server, "HTTP/1.1 102 Processing\r\n\r\n");
        break;
    case SINK_ENDLESS_BODY:
        for (unsigned i = 0; i < 4; i++) {
            say(server, "c8\r\n%0200d\r\n", 0);
        }
        break;
    default:
        break;
    }
    server->out_end = server->out_bytes;
}

/* Behind the header of the first record, so that it is one still. */
static void spoil_answer(struct server *server)
{
    size_t bytes;
    uint8_t *at = tls_peer_pending(server->tls, &bytes);
    if (server->treat == SINK_SPOILED && bytes > 5) {
        at[sim_between(5, bytes - 1)] ^= (uint8_t)(1U << sim_below(8));
    }
}

/* A flight of the handshake begins. True: it ends here. */
static bool flight_fails(struct server *server, uint8_t *at, size_t bytes)
{
    if (server->fault == FAULT_NONE || tls_peer_ready(server->tls) || --server->fault_flight > 0) {
        return false;
    }
    if (server->fault == FAULT_SPOILED) {
        at[sim_below(bytes)] ^= (uint8_t)(1U << sim_below(8));
    }
    server->fault_left = (size_t)sim_below(bytes);
    return server->fault == FAULT_CUT || server->fault == FAULT_RESET;
}

/* Records to the client. True: there is nothing more to send, and the connection is there. */
static bool server_send_records(struct server *server)
{
    size_t bytes, room = net_room(server->socket);
    uint8_t *at = tls_peer_pending(server->tls, &bytes);
    bool cut = false;
    if (bytes == 0) {
        server->in_flight = false;
        return true;
    }
    if (server->fault == FAULT_SILENT) {
        return false; /* the client ends it */
    }
    if (!server->in_flight) {
        server->in_flight = true;
        cut = flight_fails(server, at, bytes);
    }
    bool slow = server->fault == FAULT_SLOW && !tls_peer_ready(server->tls);
    size_t piece = cut            ? server->fault_left
                   : slow         ? 1 + (size_t)sim_below(40)
                   : sim_below(4) ? bytes
                                  : (size_t)sim_between(1, bytes);
    piece = piece < bytes ? piece : bytes;
    piece = piece < room ? piece : room;
    if (piece > 0) {
        net_write(server->socket, at, piece);
        tls_peer_sent(server->tls, piece);
    }
    if (cut) {
        server_end(server, server->fault == FAULT_RESET);
    } else if (net_eof(server->socket) && net_room(server->socket) == 0) {
        server_end(server, true);
    } else if (net_room(server->socket) > 0) {
        server_wait(server, slow ? sim_between(1, 900) * MS : sim_below(400 * US));
    }
    return false;
}

static void server_write(struct server *server)
{
    bool trickles = server->treat == SINK_TRICKLE;
    size_t room = net_room(server->socket), left = server->out_end - server->out_at;
    size_t piece = trickles ? 1 : sim_below(3) ? left : (size_t)sim_between(1, 100);
    piece = piece < left ? piece : left;
    piece = piece < room ? piece : room;
    if (piece > 0 && server->tls) {
        server->out_at += tls_peer_write(server->tls, server->out + server->out_at, piece);
        spoil_answer(server);
    } else if (piece > 0) {
        net_write(server->socket, server->out + server->out_at, piece);
        server->out_at += piece;
    }
    if (net_eof(server->socket) && net_room(server->socket) == 0) {
        server_end(server, true);
    } else if (net_room(server->socket) > 0) {
        server_wait(server, trickles ? 900 * MS : sim_below(400 * US));
    }
}

/* The answer is said. */
static void server_answered(struct server *server)
{
    switch (server->treat) {
    case SINK_OK:
    case SINK_NO_CONTENT:
    case SINK_CHUNKED:
    case SINK_INTERIM:
    case SINK_500:
    case SINK_404:
    case SINK_302:
    case SINK_BUSY:
    case SINK_THROTTLED:
    case SINK_GONE:
        server->in_bytes -= server->request_bytes;
        memmove(server->in, server->in + server->request_bytes, server->in_bytes);
        server->answering = false;
        server_step(server);
        break;
    case SINK_CLOSE:
    case SINK_UNTIL_CLOSE:
    case SINK_BYE:
        if (server->tls && (server->treat == SINK_UNTIL_CLOSE || sim_below(2))) {
            server->leaving = true;
            tls_peer_goodbye(server->tls);
            server_step(server);
            break;
        }
        server_end(server, false);
        break;
    case SINK_CUT:
    case SINK_TOO_LONG:
    case SINK_NO_GOODBYE:
        server_end(server, false);
        break;
    case SINK_RESET_ANSWER:
    case SINK_RESET_BEFORE_ANSWER:
        server_end(server, true);
        break;
    case SINK_ENDLESS_HEAD:
    case SINK_ENDLESS_1XX:
    case SINK_ENDLESS_BODY:
        say_on(server);
        server_wait(server, sim_between(1, 200) * MS);
        break;
    case SINK_SILENT:
    case SINK_TRICKLE:
    case SINK_BOTH:
    case SINK_LENGTHS:
    case SINK_GARBAGE:
    case SINK_SPOILED:
    case SINK_RENEGOTIATES:
        break; /* the sender ends it */
    case SINK_TREATS:
    default:
        bk_never("a treatment");
    }
}

static void server_step(struct server *server)
{
    if (!server->socket || server->waiting) {
        return;
    }
    if (net_available(server->socket) > 0) {
        server_read(server);
    }
    bool reset = server->fails_early && server->in_bytes >= server->fails_at;
    if (reset || net_reset(server->socket) || net_broken(server->socket) ||
        (net_eof(server->socket) && (!server->answering || server->out_at == server->out_end))) {
        server_end(server, reset);
        return;
    }
    if (server->tls && !server_send_records(server)) {
        return;
    }
    if (server->leaving || (server->tls && tls_peer_over(server->tls))) {
        server_end(server, false);
        return;
    }
    if (!server->answering) {
        if (!server_request(server)) {
            return;
        }
        answer(server);
    }
    if (server->out_at < server->out_end) {
        server_write(server);
    } else {
        server_answered(server);
    }
}

static void server_notified(void *context)
{
    server_step(context);
}

static void server_begin(struct sink *sink, struct sim_socket *socket)
{
    struct server *server = calloc(1, sizeof *server);
    bk_assert(server);
    server->sink = sink;
    server->references = 2;
    server->socket = socket;
    sink->references++;
    connections++;
    net_notify(socket, server_notified, server);
    server->fails_early = sim_chance(sink->failing);
    server->fails_at = server->fails_early ? (size_t)sim_below(900) : 0;
    if (sink->config.tls) {
        server->tls = tls_peer_open();
        server->fault = sim_chance(sink->failing) ? (enum fault)sim_below(FAULTS) : FAULT_NONE;
        server->fault_flight = (unsigned)sim_between(1, 2);
    }
    if (sink->down) {
        server_end(server, true);
    } else {
        server_step(server);
    }
    server_release(server);
}

static void sink_accept(void *context)
{
    struct sink *sink = context;
    struct sim_socket *socket;
    while (!sink->closed && (socket = net_accept(sink->listener)) != NULL) {
        server_begin(sink, socket);
    }
}

struct sink *sink_open(const struct sink_config *config)
{
    struct ring_address address = {.family = 4, .port = config->port, .at = {127, 0, 0, 1}};
    struct sink *sink = calloc(1, sizeof *sink);
    enum bk_err err = BK_OK;
    bk_assert(sink);
    sink->config = *config;
    sink->references = 1;
    sink->listener = net_listen(&address, false, 64, &err);
    bk_assert(sink->listener && err == BK_OK);
    net_listener_notify(sink->listener, sink_accept, sink);
    return sink;
}

void sink_failing(struct sink *sink, uint32_t permille)
{
    sink->failing = permille;
}

void sink_down(struct sink *sink, bool down)
{
    sink->down = down;
}

static void sink_gone(void *context, uint64_t number)
{
    (void)number;
    sink_release(context);
}

void sink_close(struct sink *sink)
{
    net_listener_close(sink->listener);
    sink->closed = true;
    sim_at(sim_now_ns() + MS, sink_gone, sink, 0); /* behind a notice that is under way */
}

unsigned sinks_connections(void)
{
    return connections;
}
