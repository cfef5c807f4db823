/* tls_sim.c - see tls_sim.h. */
#include "tls_sim.h"

#include "sim.h"

#include "../../fuzz/tls_vectors.h"
#include "base/assert.h"
#include "base/pem.h"

#include <bearssl.h>
#include <stdlib.h>
#include <string.h>

#define CHAIN_MAX      4U
#define DER_BYTES_MAX  2048U
#define SESSIONS_BYTES 4096U

struct bytes {
    uint8_t *at;
    size_t bytes, size;
};

struct tls_peer {
    br_ssl_server_context server;
    uint8_t buffer[BR_SSL_BUFSIZE_BIDI];
    struct bytes raw;   /* from the client, not yet taken */
    struct bytes plain; /* from the client */
    struct bytes out;   /* for the client */
    bool ready;
};

static uint8_t chain_bytes[CHAIN_MAX][DER_BYTES_MAX];
static br_x509_certificate chain[CHAIN_MAX];
static size_t chain_count;
static br_skey_decoder_context key;
static br_ssl_session_cache_lru sessions;
static uint8_t sessions_memory[SESSIONS_BYTES];

struct slice tls_sim_ca(void)
{
    return slice_str(vector_ca_pem);
}

void tls_sim_begin(void)
{
    struct slice pem = slice_str(vector_server_pem), label;
    uint8_t der[DER_BYTES_MAX];
    size_t bytes;
    chain_count = 0;
    while (chain_count < CHAIN_MAX &&
           pem_next(&pem, &label, chain_bytes[chain_count], DER_BYTES_MAX, &bytes)) {
        chain[chain_count] =
            (br_x509_certificate){.data = chain_bytes[chain_count], .data_len = bytes};
        chain_count++;
    }
    pem = slice_str(vector_server_key);
    bool found = pem_next(&pem, &label, der, sizeof der, &bytes);
    bk_assert(found && chain_count == 2);
    br_skey_decoder_init(&key);
    br_skey_decoder_push(&key, der, bytes);
    bk_assert(br_skey_decoder_key_type(&key) == BR_KEYTYPE_EC);
    br_ssl_session_cache_lru_init(&sessions, sessions_memory, sizeof sessions_memory);
}

void tls_sim_end(void)
{
    memset(sessions_memory, 0, sizeof sessions_memory);
}

struct tls_peer *tls_peer_open(void)
{
    struct tls_peer *peer = calloc(1, sizeof *peer);
    uint64_t seed[4];
    bk_assert(peer);
    for (unsigned i = 0; i < bk_array_length(seed); i++) {
        seed[i] = sim_random();
    }
    br_ssl_server_init_full_ec(&peer->server, chain, chain_count, BR_KEYTYPE_EC,
                               br_skey_decoder_get_ec(&key));
    br_ssl_engine_set_versions(&peer->server.eng, BR_TLS12, BR_TLS12);
    br_ssl_engine_set_buffer(&peer->server.eng, peer->buffer, sizeof peer->buffer, 1);
    br_ssl_server_set_cache(&peer->server, &sessions.vtable);
    br_ssl_engine_inject_entropy(&peer->server.eng, seed, sizeof seed);
    int begun = br_ssl_server_reset(&peer->server);
    bk_assert(begun);
    return peer;
}

void tls_peer_close(struct tls_peer *peer)
{
    free(peer->raw.at);
    free(peer->plain.at);
    free(peer->out.at);
    free(peer);
}

static void add(struct bytes *to, const uint8_t *at, size_t bytes)
{
    if (to->bytes + bytes > to->size) {
        to->size = 2 * (to->bytes + bytes);
        to->at = realloc(to->at, to->size);
        bk_assert(to->at);
    }
    memcpy(to->at + to->bytes, at, bytes);
    to->bytes += bytes;
}

static void drop(struct bytes *from, size_t bytes)
{
    from->bytes -= bytes;
    memmove(from->at, from->at + bytes, from->bytes);
}

/* Everything that can be moved. */
static void pump(struct tls_peer *peer)
{
    br_ssl_engine_context *engine = &peer->server.eng;
    size_t bytes;
    for (;;) {
        unsigned state = br_ssl_engine_current_state(engine);
        peer->ready |= (state & BR_SSL_SENDAPP) != 0;
        if ((state & BR_SSL_CLOSED) == 0 && (state & BR_SSL_SENDREC) != 0) {
            const uint8_t *at = br_ssl_engine_sendrec_buf(engine, &bytes);
            add(&peer->out, at, bytes);
            br_ssl_engine_sendrec_ack(engine, bytes);
        } else if ((state & BR_SSL_CLOSED) == 0 && (state & BR_SSL_RECVAPP) != 0) {
            const uint8_t *at = br_ssl_engine_recvapp_buf(engine, &bytes);
            add(&peer->plain, at, bytes);
            br_ssl_engine_recvapp_ack(engine, bytes);
        } else if ((state & BR_SSL_CLOSED) == 0 && (state & BR_SSL_RECVREC) != 0 &&
                   peer->raw.bytes > 0) {
            uint8_t *at = br_ssl_engine_recvrec_buf(engine, &bytes);
            bytes = bytes < peer->raw.bytes ? bytes : peer->raw.bytes;
            memcpy(at, peer->raw.at, bytes);
            drop(&peer->raw, bytes);
            br_ssl_engine_recvrec_ack(engine, bytes);
        } else {
            return;
        }
    }
}

void tls_peer_received(struct tls_peer *peer, const uint8_t *at, size_t bytes)
{
    add(&peer->raw, at, bytes);
    pump(peer);
}

struct slice tls_peer_plain(struct tls_peer *peer)
{
    return slice_of(peer->plain.at, peer->plain.bytes);
}

void tls_peer_plain_take(struct tls_peer *peer)
{
    peer->plain.bytes = 0;
}

size_t tls_peer_write(struct tls_peer *peer, const uint8_t *at, size_t bytes)
{
    br_ssl_engine_context *engine = &peer->server.eng;
    size_t room;
    if (peer->out.bytes > 0 || (br_ssl_engine_current_state(engine) & BR_SSL_SENDAPP) == 0) {
        return 0;
    }
    uint8_t *to = br_ssl_engine_sendapp_buf(engine, &room);
    bytes = bytes < room ? bytes : room;
    memcpy(to, at, bytes);
    br_ssl_engine_sendapp_ack(engine, bytes);
    br_ssl_engine_flush(engine, 0);
    pump(peer);
    return bytes;
}

uint8_t *tls_peer_pending(struct tls_peer *peer, size_t *ret_bytes)
{
    pump(peer);
    *ret_bytes = peer->out.bytes;
    return peer->out.at;
}

void tls_peer_sent(struct tls_peer *peer, size_t bytes)
{
    drop(&peer->out, bytes);
}

bool tls_peer_ready(const struct tls_peer *peer)
{
    return peer->ready;
}

bool tls_peer_over(const struct tls_peer *peer)
{
    return br_ssl_engine_current_state(&peer->server.eng) == BR_SSL_CLOSED;
}

void tls_peer_goodbye(struct tls_peer *peer)
{
    br_ssl_engine_close(&peer->server.eng);
    pump(peer);
}

void tls_peer_renegotiate(struct tls_peer *peer)
{
    (void)br_ssl_engine_renegotiate(&peer->server.eng);
    pump(peer);
}
