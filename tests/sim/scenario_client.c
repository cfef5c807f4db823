/* Calls to scripted servers, through faults. Checked:
 *   - each call is over once, in time, and not a byte of its request is read afterwards;
 *   - an answer that is called whole is the one that was sent to this very request, byte for byte,
 * whatever came before or behind it on that connection;
 *   - what a server receives is what was to be sent, byte for byte; a call that is not repeatable
 * arrives once at most, the others twice at most;
 *   - when nothing fails, every call is answered;
 *   - caps hold; in the end every connection, buffer, handle and operation was given back. */
#include "scenario.h"
#include "sim_internal.h"

#include "base/list.h"
#include "http/client.h"
#include "http/parse.h"
#include "http/write.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CALLS_MAX   200U
#define PORTS       2U
#define SECOND      1000000000ULL
#define MS          1000000ULL
#define BODY_MAX    40000U
#define HEAD_ROOM   256U
#define POISON_BODY "poison"

enum kind { /* how the server treats a request */
            KIND_LENGTH,
            KIND_CHUNKED,
            KIND_EMPTY, /* 204 */
            KIND_INTERIM,
            KIND_CLOSE, /* says Connection: close */
            KIND_UNTIL_CLOSE,
            KIND_EARLY,                   /* answers when only the head is here */
            KIND_GOOD,                    /* -- those above are answered */
            KIND_EARLY_CLOSE = KIND_GOOD, /* answers, and closes without reading the body */
            KIND_BYE,                     /* answers, then closes without having said so */
            KIND_CUT,                     /* closes in the middle */
            KIND_RESET,                   /* resets in the middle */
            KIND_EXTRA,                   /* another answer behind the answer */
            KIND_GARBAGE,
            KIND_SILENT,
            KIND_COUNT
};

struct order {
    struct http_call call;
    unsigned number;
    enum kind kind;
    bool done;
    bool cancelled;
    unsigned received; /* heads that a server saw */
    uint8_t *memory;   /* of the request: freed in done() */
    size_t head_bytes, body_bytes;
    size_t answer_bytes;
    uint64_t start_ns;
    uint32_t timeout_ms;
};

static struct {
    struct ring *ring;
    struct timer_wheel wheel;
    struct buffers buffers;
    struct http_client *client;
    struct http_client_config config;
    struct http_origin origins[4];
    struct sim_listener *listeners[PORTS];
    unsigned servers; /* connections they have */
    bool serving;
    bool calm;
    unsigned done, good;
    unsigned spoiled; /* answers with another one behind them */
} world;

static struct order orders[CALLS_MAX];

/* A body is letters that depend on the call, the direction and the place. */
struct pattern {
    unsigned letter, column;
};

static struct pattern pattern_at(unsigned number, bool answer, size_t at)
{
    return (struct pattern){(unsigned)((number * 7 + (answer ? 13 : 0) + at * 3 + at / 251) % 26),
                            (unsigned)(at % 251)};
}

static uint8_t pattern_next(struct pattern *pattern)
{
    uint8_t byte = (uint8_t)('a' + pattern->letter);
    pattern->letter += 3;
    if (++pattern->column == 251) {
        pattern->column = 0;
        pattern->letter++;
    }
    pattern->letter -= pattern->letter >= 26 ? 26 : 0;
    return byte;
}

static struct pattern pattern_fill(struct pattern pattern, uint8_t *at, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        at[i] = pattern_next(&pattern);
    }
    return pattern;
}

/* The first byte that is another one; else `bytes`. */
static size_t pattern_differs(struct pattern pattern, const uint8_t *at, size_t bytes)
{
    size_t i = 0;
    while (i < bytes && at[i] == pattern_next(&pattern)) {
        i++;
    }
    return i;
}

/* ---- servers */

struct server {
    unsigned references;
    struct sim_socket *socket;
    uint8_t *in;
    size_t in_bytes, in_size;
    size_t checked;      /* of the body of the request that is there */
    struct order *order; /* being answered */
    uint8_t *out;
    size_t out_size, out_bytes, out_at, out_end;
    bool head_seen, waiting, ends, aborts;
    bool spoiled; /* said more than it was asked for */
};

static void server_step(struct server *server);

static void server_event(struct server *server, uint64_t delay_ns, sim_event_fn *run)
{
    server->references++;
    sim_at(sim_now_ns() + delay_ns, run, server, 0);
}

static void server_release(struct server *server)
{
    if (--server->references == 0) {
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
        world.servers--;
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

static void put_body(struct server *server, const struct order *order, size_t from, size_t bytes)
{
    uint8_t text[512];
    struct pattern pattern = pattern_at(order->number, true, from);
    for (size_t piece; bytes > 0; bytes -= piece) {
        piece = bytes < sizeof text ? bytes : sizeof text;
        pattern = pattern_fill(pattern, text, piece);
        put(server, text, piece);
    }
}

static void put_chunks(struct server *server, const struct order *order)
{
    say(server, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0; at < order->answer_bytes;) {
        size_t now = (size_t)sim_between(1, 5000);
        now = now < order->answer_bytes - at ? now : order->answer_bytes - at;
        say(server, "%zx%s\r\n", now, sim_below(3) ? "" : ";x=y");
        put_body(server, order, at, now);
        say(server, "\r\n");
        at += now;
    }
    say(server, "0\r\n%s\r\n", sim_below(2) ? "" : "X-Trailer: t\r\n");
}

/* The text of the answer, and what happens behind it. */
static void answer(struct server *server)
{
    const struct order *order = server->order;
    server->out_bytes = server->out_at = 0;
    server->ends = server->aborts = false;
    switch ((int)order->kind) {
    case KIND_EMPTY:
        say(server, "HTTP/1.1 204 No Content\r\n\r\n");
        break;
    case KIND_CHUNKED:
        put_chunks(server, order);
        break;
    case KIND_UNTIL_CLOSE:
        say(server, "HTTP/1.%u 200 OK\r\n\r\n", (unsigned)sim_below(2));
        put_body(server, order, 0, order->answer_bytes);
        server->ends = true;
        break;
    case KIND_GARBAGE:
        say(server, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc");
        break;
    case KIND_SILENT:
        break;
    default:
        for (uint64_t i = order->kind == KIND_INTERIM ? sim_between(1, 5) : 0; i > 0; i--) {
            say(server, "HTTP/1.1 10%u Wait\r\nA: b\r\n\r\n", sim_below(2) ? 0 : 3);
        }
        server->ends =
            order->kind == KIND_CLOSE || order->kind == KIND_EARLY_CLOSE || order->kind == KIND_BYE;
        say(server, "HTTP/1.1 200 OK\r\n%sContent-Length: %zu\r\n\r\n",
            server->ends && order->kind != KIND_BYE ? "Connection: close\r\n" : "",
            order->answer_bytes);
        put_body(server, order, 0, order->answer_bytes);
        break;
    }
    if (order->kind == KIND_EXTRA) {
        server->spoiled = true;
        world.spoiled++;
        say(server, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n" POISON_BODY);
    }
    server->out_end = server->out_bytes;
    if (order->kind == KIND_CUT || order->kind == KIND_RESET) {
        server->out_end = (size_t)sim_below(server->out_bytes);
        server->ends = true;
        server->aborts = order->kind == KIND_RESET;
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

/* Gone while nothing is asked of it: the client should see that in time. */
static void server_leaves(void *context, uint64_t number)
{
    struct server *server = context;
    (void)number;
    if (server->socket && !server->order && server->in_bytes == 0 &&
        net_available(server->socket) == 0) {
        server_end(server, sim_below(4) == 0);
    }
    server_release(server);
}

static void take_input(struct server *server, size_t bytes)
{
    server->in_bytes -= bytes;
    memmove(server->in, server->in + bytes, server->in_bytes);
}

/* Whether a request is there to be answered now. */
static bool server_request(struct server *server)
{
    static struct http_head head;
    if (server->in_bytes == 0 ||
        http_parse_request(server->in, server->in_bytes, &head) == HTTP_PARSE_PARTIAL) {
        return false;
    }
    struct slice target = http_target(&head);
    unsigned number = 0;
    for (size_t i = 1; i < target.bytes; i++) {
        number = number * 10 + (unsigned)(target.at[i] - '0');
    }
    sim_check(number < CALLS_MAX && head.has_content_length, "a server received nonsense");
    struct order *order = &orders[number];
    sim_check(head.content_length == order->body_bytes, "call %u came with another length", number);
    if (!server->head_seen) {
        server->head_seen = true;
        order->received++;
        sim_check(order->received <= (order->call.repeatable ? 2U : 1U),
                  "call %u was received %u times", number, order->received);
    }
    bool early = order->kind == KIND_EARLY || order->kind == KIND_EARLY_CLOSE;
    size_t body = server->in_bytes - head.head_bytes;
    size_t seen = body < order->body_bytes ? body : order->body_bytes;
    server->checked +=
        pattern_differs(pattern_at(number, false, server->checked),
                        server->in + head.head_bytes + server->checked, seen - server->checked);
    sim_check(server->checked == seen, "byte %zu of the body of call %u is another one",
              server->checked, number);
    if (!early && body < order->body_bytes) {
        return false;
    }
    sim_check(body <= order->body_bytes, "bytes came behind the request of call %u", number);
    server->order = order;
    return true;
}

static void server_read(struct server *server)
{
    size_t bytes = net_available(server->socket);
    if (server->in_bytes + bytes > server->in_size) {
        server->in_size = 2 * (server->in_bytes + bytes);
        server->in = realloc(server->in, server->in_size);
        bk_assert(server->in);
    }
    server->in_bytes += net_read(server->socket, server->in + server->in_bytes, bytes);
}

static void server_write(struct server *server)
{
    size_t room = net_room(server->socket), left = server->out_end - server->out_at;
    size_t piece = sim_below(3) ? left : (size_t)sim_between(1, 100);
    piece = piece < left ? piece : left;
    piece = piece < room ? piece : room;
    if (piece > 0) {
        net_write(server->socket, server->out + server->out_at, piece);
        server->out_at += piece;
    }
}

/* The answer is sent whole: the rest of an early answered request is read before the next. */
static void server_next(struct server *server)
{
    struct order *order = server->order;
    size_t whole = order->head_bytes + order->body_bytes;
    if (server->in_bytes < whole) {
        return;
    }
    take_input(server, whole);
    server->order = NULL;
    server->head_seen = false;
    server->checked = 0;
    if (!world.calm && sim_below(4) == 0) {
        server_event(server, sim_below(50) * MS, server_leaves);
    }
    server_step(server); /* the next request may have come behind an early answered one */
}

static void server_step(struct server *server)
{
    if (!server->socket || server->waiting) {
        return;
    }
    if (net_available(server->socket) > 0 &&
        !(server->order && server->order->kind == KIND_EARLY_CLOSE)) {
        server_read(server);
    }
    if (net_reset(server->socket) || (net_eof(server->socket) && !server->order) ||
        net_broken(server->socket)) {
        server_end(server, false);
        return;
    }
    if (server->spoiled && !server->order && server->in_bytes > 0) {
        server_end(server, false); /* what it said already may be taken for the answer to this */
        return;
    }
    if (!server->order) {
        if (!server_request(server)) {
            return;
        }
        answer(server);
    }
    if (server->out_at < server->out_end) {
        server_write(server);
        if (net_eof(server->socket) && server->out_at < server->out_end &&
            net_room(server->socket) == 0) {
            server_end(server, true);
            return;
        }
        if (net_room(server->socket) > 0) {
            server->waiting = true;
            server_event(server, sim_below(400 * US), server_wakes);
        }
        return;
    }
    if (server->ends) {
        server_end(server, server->aborts);
    } else if (net_eof(server->socket)) {
        server_end(server, false);
    } else if (server->order->kind != KIND_SILENT) {
        server_next(server);
    }
}

static void server_notified(void *context)
{
    server_step(context);
}

static void servers_accept(void *context, uint64_t number)
{
    (void)context, (void)number;
    if (!world.serving) {
        return;
    }
    for (unsigned i = 0; i < PORTS; i++) {
        struct sim_socket *socket;
        while ((socket = net_accept(world.listeners[i])) != NULL) {
            struct server *server = calloc(1, sizeof *server);
            bk_assert(server);
            server->references = 1;
            server->socket = socket;
            world.servers++;
            net_notify(socket, server_notified, server);
            if (!world.calm && sim_below(20) == 0) {
                server_end(server, true);
            } else {
                server->references++;
                server_step(server);
                server_release(server);
            }
        }
    }
    sim_at(sim_now_ns() + 100 * US, servers_accept, NULL, 0);
}

/* ---- calls */

/* A server that sends two answers to one request, the second while the next request is on its way:
 * nothing in HTTP/1.1 tells that from an answer. It fools its own callers only. */
static bool is_fooled(const struct http_reply *reply)
{
    return world.spoiled > 0 && reply->reused && reply->status == 200 &&
           reply->body_bytes == sizeof POISON_BODY - 1 && reply->body.bytes <= reply->body_bytes &&
           memcmp(reply->body.at ? (const void *)reply->body.at : "", POISON_BODY,
                  reply->body.bytes) == 0;
}

static void check_answer(const struct order *order, const struct http_reply *reply)
{
    if (is_fooled(reply)) {
        sim_log("call %u took the second answer to the call before it", order->number);
        return;
    }
    size_t want = order->kind == KIND_EMPTY ? 0 : order->answer_bytes;
    sim_check(order->kind != KIND_GARBAGE && order->kind != KIND_SILENT,
              "call %u was answered, but it cannot be", order->number);
    sim_check(reply->status == (order->kind == KIND_EMPTY ? 204 : 200) && reply->head &&
                  reply->head->status == reply->status,
              "call %u has status %u", order->number, reply->status);
    bool cut = order->kind == KIND_CUT || order->kind == KIND_UNTIL_CLOSE;
    sim_check(cut ? reply->body_bytes <= want : reply->body_bytes == want,
              "call %u has an answer of %" PRIu64 " bytes, %zu were sent", order->number,
              reply->body_bytes, want);
    size_t kept = order->call.keep_body_bytes;
    kept = kept < reply->body_bytes ? kept : (size_t)reply->body_bytes;
    sim_check(reply->body.bytes == kept && reply->body_cut == (kept < reply->body_bytes),
              "call %u kept %zu of %zu bytes", order->number, reply->body.bytes, kept);
    size_t same =
        pattern_differs(pattern_at(order->number, true, 0), reply->body.at, reply->body.bytes);
    sim_check(same == reply->body.bytes, "byte %zu of the answer to call %u is another one", same,
              order->number);
}

static void order_done(struct http_call *call)
{
    struct order *order = call->context;
    const struct http_reply *reply = &call->reply;
    sim_check(!order->done, "call %u is over twice", order->number);
    order->done = true;
    world.done++;
    sim_log("call %u kind %u: %s at %s, %s", order->number, order->kind, bk_err_name(reply->err),
            http_stage_text(reply->stage), reply->why);
    uint64_t took_ms = (sim_now_ns() - order->start_ns) / MS;
    sim_check(took_ms <= order->timeout_ms + 1100U, "call %u took %" PRIu64 " ms, not %u",
              order->number, took_ms, order->timeout_ms);
    if (reply->err == BK_OK) {
        world.good++;
        check_answer(order, reply);
    } else {
        sim_check(reply->why[0] != '\0' && !reply->head, "call %u says nothing", order->number);
        sim_check(!world.calm || order->cancelled, "nothing failed, but call %u: %s", order->number,
                  reply->why);
    }
    sim_check(world.client && http_client_stats(world.client)->conns_open <= world.config.conns_max,
              "too many connections");
    memset(order->memory, 0xdb, order->head_bytes + order->body_bytes);
    free(order->memory);
    order->memory = NULL;
}

static void order_start(unsigned number)
{
    struct order *order = &orders[number];
    const struct http_origin *origin = &world.origins[sim_below(4)];
    struct http_write write;
    struct slice head;
    char target[16];

    order->number = number;
    order->kind = (enum kind)sim_below(world.calm || sim_below(2) ? KIND_GOOD : KIND_COUNT);
    order->body_bytes = (size_t)sim_below(sim_below(3) ? 300 : BODY_MAX);
    order->answer_bytes = (size_t)sim_below(sim_below(3) ? 300 : BODY_MAX);
    order->memory = malloc(HEAD_ROOM + order->body_bytes);
    bk_assert(order->memory);
    snprintf(target, sizeof target, "/%u", number);
    http_write_init(&write, order->memory, HEAD_ROOM);
    http_write_request(&write, SLICE("POST"), origin, slice_str(target), SLICE(""));
    http_write_header_number(&write, SLICE("Content-Length"), order->body_bytes);
    bk_assert(http_write_end(&write, &head) == BK_OK);
    order->head_bytes = head.bytes;
    pattern_fill(pattern_at(number, false, 0), order->memory + head.bytes, order->body_bytes);
    order->timeout_ms = world.calm ? 3600000 : (uint32_t)sim_between(1, 5000);
    order->start_ns = sim_now_ns();
    size_t cut = (size_t)sim_below(order->body_bytes + 1);
    order->call = (struct http_call){
        .origin = origin,
        .pieces = {head, slice_of(order->memory + head.bytes, cut),
                   slice_of(order->memory + head.bytes + cut, order->body_bytes - cut)},
        .piece_count = 3,
        .repeatable = world.calm || sim_below(2),
        .timeout_ms = order->timeout_ms,
        .first_byte_timeout_ms = world.calm ? 0 : (uint32_t)sim_between(1, 5000),
        .keep_body_bytes = (uint32_t)sim_below(2) * (uint32_t)sim_below(2 * BODY_MAX),
        .done = order_done,
        .context = order,
    };
    http_call_start(world.client, &order->call);
}

static void maybe_cancel(unsigned started)
{
    struct order *order = &orders[sim_below(started)];
    if (!order->done && sim_below(10) == 0) {
        order->cancelled = true;
        http_call_cancel(world.client, &order->call);
    }
}

/* ---- a run */

static void turn(uint64_t deadline_ns)
{
    uint64_t next_ns = timer_wheel_next_ns(&world.wheel);
    ring_turn(world.ring, next_ns < deadline_ns ? next_ns : deadline_ns);
    timer_wheel_run(&world.wheel, ring_now_ns(world.ring));
    http_client_flush(world.client);
}

static void open_world(void)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "localhost", "::1"};
    struct ring_config ring_config = {
        .entries = 64, .handles_max = 64, .recv_buffers = 64, .recv_buffer_bytes = 4096, .cpu = -1};
    const char *why = "";
    enum bk_err err = BK_OK;
    memset(orders, 0, sizeof orders);
    memset(&world, 0, sizeof world);
    world.calm = sim_below(3) == 0;
    bk_assert(ring_open(&ring_config, &world.ring, &why) == BK_OK);
    timer_wheel_init(&world.wheel, ring_now_ns(world.ring));
    buffers_init(&world.buffers, 64U << 20);
    world.config = http_client_defaults;
    world.config.conns_max = (unsigned)sim_between(1, 12);
    world.config.conns_per_origin_max = (unsigned)sim_between(1, 6);
    world.config.dials_max = (unsigned)sim_between(1, 4);
    world.config.dials_per_origin_max = (unsigned)sim_between(1, 3);
    world.config.origins_max = world.calm ? 4 : (unsigned)sim_between(1, 5);
    world.config.idle_timeout_ms = (uint32_t)sim_between(1, 3000);
    world.config.connect_timeout_ms = world.calm ? 600000 : (uint32_t)sim_between(1, 3000);
    world.config.timeout_ms = 3600000;
    world.config.first_byte_timeout_ms = 3600000;
    bk_assert(http_client_open(world.ring, &world.wheel, &world.buffers, &world.config,
                               &world.client) == BK_OK);
    for (unsigned i = 0; i < PORTS; i++) { /* the second answers on IPv6 only */
        struct ring_address address = {.family = i == 0 ? 4 : 6, .port = (uint16_t)(9000 + i)};
        address.at[i == 0 ? 0 : 15] = i == 0 ? 127 : 1;
        address.at[3] = i == 0 ? 1 : 0;
        world.listeners[i] = net_listen(&address, false, 64, &err);
        bk_assert(err == BK_OK);
    }
    for (unsigned i = 0; i < 4; i++) {
        struct http_origin *origin = &world.origins[i];
        *origin = (struct http_origin){.allow_private = true, .port = i < 2 ? 9000 : 9001};
        snprintf(origin->host, sizeof origin->host, "%s", hosts[i]);
        http_origin_init(origin);
    }
    world.serving = true;
    servers_accept(NULL, 0);
}

static void close_world(void)
{
    http_client_drain(world.client);
    uint64_t until_ns = sim_now_ns() + 10 * SECOND;
    while (!http_client_idle(world.client) && sim_now_ns() < until_ns) {
        turn(ring_now_ns(world.ring) + 100 * MS);
    }
    sim_check(http_client_idle(world.client), "the client keeps a call or a connection");
    turn(ring_now_ns(world.ring) + 10 * MS);
    http_client_close(world.client);
    buffers_fini(&world.buffers);
    ring_close(world.ring);
    while (world.servers > 0 && sim_now_ns() < until_ns + 20 * SECOND) {
        sim_sleep(10 * MS);
    }
    sim_check(world.servers == 0, "%u servers still have a connection", world.servers);
    world.serving = false;
    for (unsigned i = 0; i < PORTS; i++) {
        net_listener_close(world.listeners[i]);
    }
    sim_sleep(SECOND);
}

void client_run(void)
{
    open_world();
    if (world.calm) {
        sim_config()->connection_reset = 0;
        sim_config()->connect_fail = 0;
    }
    unsigned count = (unsigned)sim_between(1, CALLS_MAX), started = 0;
    uint64_t next_ns = sim_now_ns();
    bool cancels = sim_below(3) == 0;
    uint64_t until_ns = sim_now_ns() + 120 * SECOND;
    uint64_t stop_ns = sim_below(4) ? UINT64_MAX : next_ns + sim_below(100 * MS);
    while (world.done < count && sim_now_ns() < until_ns) {
        while (started < count && sim_now_ns() >= next_ns) {
            order_start(started++);
            next_ns += sim_below(3) ? 0 : sim_below(50) * MS;
        }
        if (sim_now_ns() >= stop_ns) { /* with calls that wait beside idle connections */
            http_client_drain(world.client);
            count = started;
            for (unsigned i = 0; i < started; i++) {
                maybe_cancel(started);
            }
        }
        if (cancels && started > 0) {
            maybe_cancel(started);
        }
        http_client_flush(world.client);
        uint64_t turn_ns = started < count ? next_ns : until_ns;
        turn_ns = turn_ns < stop_ns ? turn_ns : stop_ns;
        turn(turn_ns > sim_now_ns() ? turn_ns : sim_now_ns() + MS);
    }
    sim_check(world.done == count, "%u of %u calls never ended", count - world.done, count);
    sim_log("%u of %u calls were answered%s", world.good, count, world.calm ? ", calm" : "");
    close_world();
}

void client_configure(struct sim_config *config)
{
    config->op_delay_us = (uint32_t)sim_below(100);
    config->turn_batch = (uint32_t)sim_below(6);
    config->multishot_end = sim_below(2) ? 30 : 0;
    config->cancel_delay_us = (uint32_t)sim_below(300);
    config->latency_us = (uint32_t)sim_below(500);
    config->window_bytes = 1U << sim_between(10, 17);
    config->segment_bytes = 1U << sim_between(6, 16);
    config->dribble = sim_below(3) ? 0 : 100;
    config->receive_cut = sim_below(3) ? 0 : 200;
    config->connection_reset = sim_below(2) ? 0 : 100;
    config->connect_fail = sim_below(2) ? 0 : 50;
    config->receive_no_buffers = sim_below(3) ? 0 : 50;
    config->recv_buffers_max = 1U << sim_between(1, 6);
}
