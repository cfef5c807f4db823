/* peer_sim.c - scripted HTTP clients on the simulated network; see peer_sim.h. */
#include "peer_sim.h"

#include "sim_internal.h"

#include "http/parse.h"

#include <stdlib.h>

#define ANSWER_BYTES_MAX (1U << 20)

struct client {
    struct peer_client_config config;
    struct sim_socket *socket;
    unsigned references; /* events under way and the client itself */
    unsigned sending;    /* the request that is being written */
    size_t sent_bytes;   /* of it */
    unsigned answered;
    unsigned interim; /* 100 Continue */
    bool writing;     /* an event for the next piece is under way */
    bool reading;
    bool over;
    bool told; /* "close" */
    uint64_t active_ns;
    uint64_t *sent_ns; /* of each request */
    uint8_t *input;
    size_t input_bytes;
};

static unsigned clients;

unsigned peer_clients(void)
{
    return clients;
}

static void client_release(struct client *client)
{
    bk_assert(client->references > 0);
    if (--client->references == 0) {
        free(client->input);
        if (!client->config.ret_sent_ns) {
            free(client->sent_ns);
        }
        free(client);
    }
}

static void client_event(struct client *client, uint64_t delay_ns, sim_event_fn *run)
{
    client->references++;
    sim_at(sim_now_ns() + delay_ns, run, client, 0);
}

static void client_end(struct client *client, enum bk_err err, bool abort)
{
    if (client->over) {
        return;
    }
    client->over = true;
    clients--;
    uint64_t accepted_ns = client->socket ? net_accepted_ns(client->socket) : 0;
    if (client->socket) {
        net_notify(client->socket, NULL, NULL);
        net_close(client->socket, abort);
        client->socket = NULL;
    }
    for (unsigned i = client->answered; i < client->config.count; i++) {
        bool sent = i < client->sending;
        if (client->config.lost) {
            struct peer_lost lost = {sent, client->sent_ns[i], accepted_ns, err};
            client->config.lost(client->config.context, i, &lost);
        }
        client->config.answer(client->config.context, i, 0, SLICE_EMPTY, sent);
    }
    client->config.ended(client->config.context, err);
    client_release(client);
}

/* ---- sending */

static void write_more(struct client *client);

static void write_event(void *context, uint64_t number)
{
    struct client *client = context;
    (void)number;
    client->writing = false;
    if (!client->over) {
        write_more(client);
    }
    client_release(client);
}

static bool may_send(const struct client *client)
{
    return client->sending < client->config.count && !client->told &&
           (client->sent_bytes > 0 || client->sending - client->answered < client->config.pipeline);
}

static void write_piece(struct client *client)
{
    const struct peer_request *request = &client->config.requests[client->sending];
    size_t left = request->bytes - client->sent_bytes;
    size_t piece =
        client->config.piece_bytes ? (size_t)sim_between(1, client->config.piece_bytes) : left;
    size_t room = net_room(client->socket);
    piece = piece < left ? piece : left;
    piece = piece < room ? piece : room;
    net_write(client->socket, request->at + client->sent_bytes, piece);
    client->sent_bytes += piece;
    client->active_ns = sim_now_ns();
    if (client->sent_bytes == request->bytes) {
        client->sent_ns[client->sending] = sim_now_ns();
        client->sending++;
        client->sent_bytes = 0;
        if (client->sending == client->config.count && client->config.half_close) {
            net_shutdown(client->socket);
        }
    }
}

static void write_more(struct client *client)
{
    while (!client->writing && may_send(client) && !net_broken(client->socket) &&
           net_room(client->socket) > 0) {
        if (sim_chance(client->config.reset)) {
            client_end(client, BK_RESET, true);
            return;
        }
        write_piece(client);
        if (client->config.pause_us) {
            client->writing = true;
            client_event(client, sim_below(client->config.pause_us * US), write_event);
        }
    }
}

/* ---- reading */

static void answer_take(struct client *client, const struct http_head *head, size_t body_bytes)
{
    sim_check(client->answered < client->sending ||
                  (client->answered == client->sending && client->sent_bytes > 0),
              "an answer without a request: %u", head->status);
    unsigned request = client->answered++;
    client->active_ns = sim_now_ns();
    client->told |= client->config.polite && !head->keep_alive;
    sim_check(head->status != 503 || http_find(head, SLICE("retry-after"), NULL),
              "503 without Retry-After");
    struct slice body = slice_of(client->input + head->head_bytes, body_bytes);
    client->config.answer(client->config.context, request, head->status, body,
                          request < client->sending);
}

/* One answer from the front of the input. False: not there yet. */
static bool answer_parse(struct client *client)
{
    struct http_head head;
    enum http_parse parsed = http_parse_response(client->input, client->input_bytes, &head);
    if (parsed == HTTP_PARSE_PARTIAL) {
        return false;
    }
    sim_check(parsed == HTTP_PARSE_DONE, "a malformed answer: %.*s",
              (int)(client->input_bytes < 200 ? client->input_bytes : 200),
              (const char *)client->input);
    size_t body_bytes = 0;
    if (head.status >= 200) {
        sim_check(head.has_content_length || head.status == 204, "answer %u has no length",
                  head.status);
        bool head_only = client->answered < client->config.count &&
                         client->config.requests[client->answered].head_only;
        body_bytes = head_only ? 0 : (size_t)head.content_length;
        if (client->input_bytes - head.head_bytes < body_bytes) {
            return false;
        }
        sim_check(client->answered < client->config.count, "more answers than requests: %u",
                  head.status);
        answer_take(client, &head, body_bytes);
    } else {
        sim_check(head.status == 100 && ++client->interim <= client->config.count,
                  "interim answer %u", head.status);
    }
    size_t used = head.head_bytes + body_bytes;
    memmove(client->input, client->input + used, client->input_bytes - used);
    client->input_bytes -= used;
    return true;
}

static void read_more(struct client *client);

static void read_event(void *context, uint64_t number)
{
    struct client *client = context;
    (void)number;
    client->reading = false;
    if (!client->over) {
        read_more(client);
    }
    if (!client->over) {
        write_more(client); /* an answer makes room for the next request */
    }
    client_release(client);
}

static void stream_over(struct client *client)
{
    if (net_reset(client->socket)) {
        client_end(client, BK_RESET, false);
        return;
    }
    sim_check(client->input_bytes == 0, "the connection ends within an answer: %.*s",
              (int)(client->input_bytes < 200 ? client->input_bytes : 200),
              (const char *)client->input);
    client_end(client, BK_OK, false);
}

static void read_more(struct client *client)
{
    while (!client->reading && !client->over && net_available(client->socket) > 0) {
        size_t room = ANSWER_BYTES_MAX - client->input_bytes;
        sim_check(room > 0, "an answer is larger than %u bytes", ANSWER_BYTES_MAX);
        size_t most = client->config.read_bytes && client->config.read_bytes < room
                          ? client->config.read_bytes
                          : room;
        client->input_bytes += net_read(client->socket, client->input + client->input_bytes, most);
        while (!client->over && answer_parse(client)) {
        }
        if (client->config.read_pause_us) {
            client->reading = true;
            client_event(client, sim_below(client->config.read_pause_us * US), read_event);
        }
    }
    if (client->over || client->reading) {
        return;
    }
    if (net_eof(client->socket) || net_reset(client->socket)) {
        stream_over(client);
    } else if (client->answered == client->config.count && client->input_bytes == 0) {
        client_end(client, BK_OK, false); /* all is said */
    }
}

/* ---- life */

static void client_notified(void *context)
{
    struct client *client = context;
    client->references++;
    read_more(client);
    if (!client->over) {
        write_more(client);
    }
    client_release(client);
}

static void patience_event(void *context, uint64_t number)
{
    struct client *client = context;
    (void)number;
    if (!client->over) {
        uint64_t end_ns = client->active_ns + client->config.patience_ns;
        sim_check(sim_now_ns() < end_ns,
                  "no answer to request %u of %u, and no end of the connection", client->answered,
                  client->config.count);
        client_event(client, end_ns - sim_now_ns(), patience_event);
    }
    client_release(client);
}

static void client_connected(void *context, uint64_t number, struct sim_socket *socket,
                             enum bk_err err)
{
    struct client *client = context;
    (void)number;
    if (err != BK_OK) {
        client_end(client, err, false);
        return;
    }
    client->socket = socket;
    client->active_ns = sim_now_ns();
    net_notify(socket, client_notified, client);
    client_event(client, client->config.patience_ns, patience_event);
    client_notified(client);
}

void peer_client_start(const struct peer_client_config *config)
{
    struct client *client = calloc(1, sizeof *client);
    bk_assert(client && config->count > 0 && config->pipeline > 0);
    client->config = *config;
    client->references = 1;
    client->input = malloc(ANSWER_BYTES_MAX);
    client->sent_ns =
        config->ret_sent_ns ? config->ret_sent_ns : calloc(config->count, sizeof *client->sent_ns);
    bk_assert(client->input && client->sent_ns);
    clients++;
    net_connect(config->from, &config->to, client_connected, client, 0);
}
