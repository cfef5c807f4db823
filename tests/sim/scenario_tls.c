/* Senders over TLS, with plain BearSSL at their end. Checked:
 *   - whoever behaves, with or without a session to resume, has an answer to each request, in
 * order, over however cut records, and an end with close_notify;
 *   - who falls silent at any byte, of the handshake or behind it, is closed in time;
 *   - who resets, or spoils a byte, hurts nobody else; everything is given back. */
#include "scenario.h"
#include "server_sim.h"

#include "../../fuzz/tls_vectors.h"
#include "http/parse.h"
#include "hub/ingress/source_table.h"
#include "tls/private.h"

#include <stdio.h>
#include <stdlib.h>

#define PEERS_MAX    20U
#define REQUESTS_MAX 5U
#define ANSWER_BYTES 8192U
#define SECRET       "it is a secret"
/* Longer than any of the listener's times. */
#define PATIENCE_NS (120 * SECOND)
#define DAY_2030    741442U

enum manner { GOOD, QUITS, SILENT, SPOILS };

struct peer {
    br_ssl_client_context client;
    br_x509_minimal_context x509;
    uint8_t buffer[BR_SSL_BUFSIZE_BIDI];
    struct sim_socket *socket;
    enum manner manner;
    bool resumes, paused, over;
    bool told; /* its last request says "close": the server ends it */
    unsigned number, requests, begun, answered, pipeline;
    unsigned statuses[REQUESTS_MAX];
    struct buf request;
    size_t request_at;
    uint64_t written, odd_at; /* raw bytes; where its manner shows */
    uint64_t over_ns;
    size_t piece_max;
    size_t answer_bytes;
    uint8_t answer[ANSWER_BYTES];
};

static struct peer *peers[PEERS_MAX];
static unsigned peer_count, deliveries;
static struct tls_trust *trust;
static struct scheme *signer;
static br_ssl_session_parameters kept; /* of somebody who behaved */

/* ---- requests and answers */

static void request_make(struct peer *peer)
{
    unsigned *status = &peer->statuses[peer->begun++];
    const char *close = peer->told && peer->begun == peer->requests ? "Connection: close\r\n" : "";
    buf_fini(&peer->request);
    buf_init(&peer->request, 1 << 20);
    peer->request_at = 0;
    *status = sim_below(4) ? 200 : 404;
    if (*status == 404 || sim_below(3) == 0) {
        buf_printf(&peer->request, "GET %s HTTP/1.1\r\nHost: sim\r\n%s\r\n",
                   *status == 404 ? "/nothing" : "/health/live", close);
        return;
    }
    static uint8_t body[40000];
    char id[24];
    size_t bytes = (size_t)sim_between(1, sim_below(3) ? 600 : sizeof body);
    server_sim_body(sim_random(), body, bytes);
    snprintf(id, sizeof id, "d-%u", deliveries++);
    server_sim_sign(&peer->request, signer, "alpha", slice_str(id), slice_of(body, bytes));
    buf_printf(&peer->request, "Content-Length: %zu\r\n%s\r\n", bytes, close);
    buf_add(&peer->request, body, bytes);
}

static bool answer_take(struct peer *peer)
{
    struct http_head head;
    enum http_parse parsed = http_parse_response(peer->answer, peer->answer_bytes, &head);
    if (parsed == HTTP_PARSE_PARTIAL) {
        return false;
    }
    sim_check(parsed == HTTP_PARSE_DONE && head.has_content_length, "a malformed answer");
    size_t bytes = head.head_bytes + (size_t)head.content_length;
    if (peer->answer_bytes < bytes) {
        return false;
    }
    sim_check(peer->answered < peer->begun || peer->manner != GOOD, "an answer without a request");
    if (peer->answered == REQUESTS_MAX) {
        sim_fail("more answers than requests");
    }
    sim_check(peer->manner != GOOD || head.status == peer->statuses[peer->answered],
              "peer %u, request %u: %u, not %u", peer->number, peer->answered, head.status,
              peer->statuses[peer->answered]);
    peer->answered++;
    peer->answer_bytes -= bytes;
    memmove(peer->answer, peer->answer + bytes, peer->answer_bytes);
    return true;
}

/* ---- moving bytes */

static void peer_end(struct peer *peer, bool abort)
{
    bool good = peer->manner == GOOD;
    sim_check(!good || br_ssl_engine_last_error(&peer->client.eng) == BR_ERR_OK,
              "peer %u: TLS ends with %d", peer->number,
              br_ssl_engine_last_error(&peer->client.eng));
    sim_check(!good || peer->client.eng.shutdown_recv,
              "peer %u: the connection ends without close_notify", peer->number);
    sim_check(!good || peer->answered == peer->requests, "peer %u: %u answers of %u", peer->number,
              peer->answered, peer->requests);
    peer->over = true;
    peer->over_ns = sim_now_ns();
    net_notify(peer->socket, NULL, NULL);
    net_close(peer->socket, abort);
    if (good) {
        br_ssl_engine_get_session_parameters(&peer->client.eng, &kept);
    }
}

static void pump(void *context);

static void go_on(void *context, uint64_t number)
{
    struct peer *peer = context;
    (void)number;
    peer->paused = false;
    if (!peer->over) {
        pump(peer);
    }
}

static bool odd_now(const struct peer *peer, size_t bytes)
{
    return peer->manner != GOOD && peer->written + bytes > peer->odd_at;
}

static bool record_out(struct peer *peer)
{
    size_t bytes, room = net_room(peer->socket);
    unsigned char *at = br_ssl_engine_sendrec_buf(&peer->client.eng, &bytes);
    if (!at || peer->paused || !room || net_broken(peer->socket)) {
        return false;
    }
    size_t piece = (size_t)sim_between(1, peer->piece_max);
    piece = piece < bytes ? piece : bytes;
    piece = piece < room ? piece : room;
    if (odd_now(peer, piece) && peer->manner == SILENT) {
        return false;
    }
    if (odd_now(peer, piece) && peer->manner == QUITS) {
        peer_end(peer, true);
        return false;
    }
    if (odd_now(peer, piece) && peer->odd_at >= peer->written) { /* spoils one byte */
        at[peer->odd_at - peer->written] ^= (unsigned char)(1U << sim_below(8));
    }
    net_write(peer->socket, at, piece);
    peer->written += piece;
    br_ssl_engine_sendrec_ack(&peer->client.eng, piece);
    if (sim_below(4) == 0) {
        peer->paused = true;
        sim_at(sim_now_ns() + sim_below(3 * MS), go_on, peer, 0);
    }
    return true;
}

static bool record_in(struct peer *peer)
{
    size_t bytes, there = net_available(peer->socket);
    unsigned char *at = br_ssl_engine_recvrec_buf(&peer->client.eng, &bytes);
    if (!at || !there) {
        return false;
    }
    bytes = net_read(peer->socket, at, bytes < there ? bytes : there);
    br_ssl_engine_recvrec_ack(&peer->client.eng, bytes);
    return true;
}

static bool plain_in(struct peer *peer)
{
    size_t bytes;
    const unsigned char *at = br_ssl_engine_recvapp_buf(&peer->client.eng, &bytes);
    if (!at) {
        return false;
    }
    sim_check(peer->answer_bytes + bytes <= sizeof peer->answer, "too large an answer");
    memcpy(peer->answer + peer->answer_bytes, at, bytes);
    peer->answer_bytes += bytes;
    br_ssl_engine_recvapp_ack(&peer->client.eng, bytes);
    while (answer_take(peer)) {
    }
    return true;
}

static bool plain_out(struct peer *peer)
{
    br_ssl_engine_context *engine = &peer->client.eng;
    size_t bytes;
    unsigned char *at = br_ssl_engine_sendapp_buf(engine, &bytes);
    if (!at) {
        return false;
    }
    if (peer->request_at == peer->request.bytes) {
        if (peer->answered == peer->requests && !peer->told) {
            br_ssl_engine_close(engine);
            return true;
        }
        if (peer->begun == peer->requests || peer->begun - peer->answered >= peer->pipeline) {
            return false;
        }
        request_make(peer);
    }
    size_t left = peer->request.bytes - peer->request_at;
    size_t piece = (size_t)sim_between(1, left);
    piece = piece < bytes ? piece : bytes;
    memcpy(at, peer->request.at + peer->request_at, piece);
    peer->request_at += piece;
    br_ssl_engine_sendapp_ack(engine, piece);
    if (sim_below(2) || peer->request_at == peer->request.bytes) {
        br_ssl_engine_flush(engine, 0);
    }
    return true;
}

static void pump(void *context)
{
    struct peer *peer = context;
    bool moved = true;
    while (moved && !peer->over) {
        moved = record_out(peer) || (!peer->over && (plain_in(peer) || record_in(peer)));
        moved = moved || (!peer->over && plain_out(peer));
    }
    if (peer->over) {
        return;
    }
    bool ended =
        net_available(peer->socket) == 0 && (net_eof(peer->socket) || net_reset(peer->socket));
    if (ended || br_ssl_engine_current_state(&peer->client.eng) == BR_SSL_CLOSED) {
        peer_end(peer, peer->manner != GOOD);
    }
}

/* ---- life */

static void connected(void *context, uint64_t number, struct sim_socket *socket, enum bk_err err)
{
    struct peer *peer = context;
    (void)number;
    sim_check(err == BK_OK, "cannot connect: %s", bk_err_name(err));
    peer->socket = socket;
    net_notify(socket, pump, peer);
    pump(peer);
}

static void peer_start(void *context, uint64_t number)
{
    static const struct ring_address to = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}};
    struct peer *peer = context;
    br_ssl_engine_context *engine = &peer->client.eng;
    uint64_t entropy[4] = {sim_random(), sim_random(), sim_random(), sim_random()};
    (void)number;
    br_ssl_client_init_full(&peer->client, &peer->x509, trust->set->anchors, trust->set->count);
    br_x509_minimal_set_time(&peer->x509, DAY_2030, 0);
    br_ssl_engine_set_buffer(engine, peer->buffer, sizeof peer->buffer, 1);
    br_ssl_engine_inject_entropy(engine, entropy, sizeof entropy);
    engine->rng_os_rand_done = 1;
    if (peer->resumes && kept.session_id_len) {
        br_ssl_engine_set_session_parameters(engine, &kept);
    }
    bk_assert(br_ssl_client_reset(&peer->client, "a.example", peer->resumes));
    net_connect(NULL, &to, connected, peer, 0);
}

static void peers_start(void)
{
    peer_count = (unsigned)sim_between(1, PEERS_MAX);
    for (unsigned i = 0; i < peer_count; i++) {
        struct peer *peer = peers[i] = calloc(1, sizeof *peer);
        bk_assert(peer);
        peer->number = i;
        peer->manner = sim_below(2) ? GOOD : (enum manner)sim_below(4);
        peer->resumes = sim_below(3) == 0;
        peer->told = sim_below(2);
        peer->requests = (unsigned)sim_between(1, REQUESTS_MAX);
        peer->pipeline = sim_below(2) ? 1 : REQUESTS_MAX;
        peer->odd_at = sim_below(sim_below(2) ? 600 : 6000);
        peer->piece_max = sim_below(3) ? (size_t)sim_between(1, 2000) : 65536;
        sim_at(sim_now_ns() + sim_below(sim_below(2) ? MS : SECOND), peer_start, peer, 0);
    }
}

static bool all_are_over(void)
{
    for (unsigned i = 0; i < peer_count; i++) {
        if (!peers[i]->over) {
            return false;
        }
    }
    return true;
}

static void control_turn(void)
{
    server_sim_turn(ring_now_ns(server.ring) + 20 * MS);
}

static struct tls_slot *slot_make(void)
{
    struct tls_identity *identity;
    struct tls_server *tls;
    struct tls_slot *slot;
    char why[TLS_WHY_BYTES];
    bk_assert(tls_trust_open(&trust) == BK_OK &&
              tls_trust_add_pem(trust, "ca", slice_str(vector_ca_pem), why) == BK_OK);
    bk_assert(tls_identity_open_pem("c", slice_str(vector_server_pem), "k",
                                    slice_str(vector_server_key), true, &identity, why) == BK_OK);
    bk_assert(tls_server_open(&identity, 1, NULL, 64, &tls) == BK_OK);
    bk_assert(tls_slot_open(tls, &slot) == BK_OK);
    return slot;
}

static void server_start(struct tls_slot *slot)
{
    unsigned cores = (unsigned)sim_between(1, CORES);
    server_sim_open(cores, CORES, 24 * HOUR_NS);
    struct source_change change = server_sim_source(1, "alpha", "github", SECRET);
    server_sim_put(&change);
    catalog_start(server.catalog, server.ring);
    for (unsigned i = 0; i < cores; i++) {
        server_sim_start(
            i, (struct reactor_config){
                   .durable = true, .conns_max = 64, .buffers_bytes_max = 16 << 20, .tls = slot});
    }
}

void tls_run(void)
{
    size_t bytes;
    if (sim_below(8)) {
        return; /* of a thousand seeds an eighth is enough */
    }
    memset(&kept, 0, sizeof kept);
    deliveries = 0;
    sim_wall_jump(4 * 365 * 86400 * (int64_t)SECOND); /* the certificates are from a later year */
    bk_assert(directory_make("data") == BK_OK && directory_sync("") == BK_OK);
    signer = server_sim_scheme("github", SECRET, &bytes);
    struct tls_slot *slot = slot_make();
    server_start(slot);
    peers_start();
    uint64_t until_ns = sim_now_ns() + PATIENCE_NS;
    while (!all_are_over()) {
        control_turn();
        sim_check(sim_now_ns() < until_ns, "a connection is not closed in time");
    }
    server_sim_stop(18 * SECOND, SECOND, 8 * SECOND, control_turn);
    server_sim_close();
    for (unsigned i = 0; i < peer_count; i++) {
        buf_fini(&peers[i]->request);
        free(peers[i]);
    }
    tls_slot_close(slot);
    tls_trust_close(trust);
    scheme_wipe(signer);
    free(signer);
}
