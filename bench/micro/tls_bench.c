/* tls_bench - what TLS costs, both ends in one thread, without a kernel.
 *
 * Handshakes: microseconds of the client's and of the server's end for each kind. Requests: on a
 * warm connection, a request of 1.5 KiB and an answer of 200 bytes: nanoseconds at the server's
 * end, and how many bytes a second go through for full records. The fastest of many rounds: the
 * machine is noisy. */
#include "fuzz/tls_vectors.h"
#include "tls/tls.h"

#include <bearssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NOW 1900000000LL
#define WHY(call_)                                                                                 \
    do {                                                                                           \
        if ((call_) != BK_OK) {                                                                    \
            fprintf(stderr, "tls_bench: %s\n", why);                                               \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static char why[TLS_WHY_BYTES];

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

struct pair {
    struct tls *client, *server;
    double client_us, server_us;
};

/* All that `from` has to say, to the other end; the time is the receiver's, for that is where the
 * work is. */
static bool carry(struct tls *from, struct tls *to, double *us)
{
    bool moved = false;
    const uint8_t *at;
    size_t bytes;
    while ((at = tls_send_record_buf(from, &bytes))) {
        double began = now_us();
        size_t used = tls_recv_record(to, at, bytes);
        *us += now_us() - began;
        tls_send_record_ack(from, used);
        moved = true;
        if (used == 0) {
            break;
        }
    }
    return moved;
}

static void pump(struct pair *pair)
{
    bool moved = true;
    while (moved) {
        moved = carry(pair->client, pair->server, &pair->server_us);
        moved = carry(pair->server, pair->client, &pair->client_us) || moved;
    }
}

static void shake(struct pair *pair, struct tls_trust *trust, struct tls_server *server,
                  const struct tls_session *session, unsigned number)
{
    uint8_t entropy[32] = {(uint8_t)number, (uint8_t)(number >> 8)};
    pair->client_us = pair->server_us = 0;
    double began = now_us();
    tls_client_begin(pair->client, trust, NULL, "a.example", session, NOW, entropy);
    pair->client_us += now_us() - began;
    entropy[2] = 1;
    began = now_us();
    tls_server_begin(pair->server, server, NOW, entropy);
    pair->server_us += now_us() - began;
    pump(pair);
    if (!tls_is_open(pair->client) || !tls_is_open(pair->server)) {
        fprintf(stderr, "tls_bench: %s\n", tls_why(pair->client) ? tls_why(pair->client) : "?");
        exit(1);
    }
}

static void handshakes(struct pair *pair, struct tls_trust *trust, struct tls_server *server,
                       const char *name)
{
    double client[2] = {1e18, 1e18}, both[2] = {1e18, 1e18};
    struct tls_session session = {0};
    for (unsigned i = 0; i < 60; i++) {
        bool resume = i & 1;
        shake(pair, trust, server, resume ? &session : NULL, i + 1);
        if (tls_resumed(pair->client) != resume) {
            fprintf(stderr, "tls_bench: not resumed\n");
            exit(1);
        }
        client[resume] = pair->client_us < client[resume] ? pair->client_us : client[resume];
        both[resume] = pair->server_us < both[resume] ? pair->server_us : both[resume];
        tls_session_get(pair->client, &session);
        tls_end(pair->client);
        tls_end(pair->server);
    }
    printf("%-34s client %8.0f us   server %8.0f us\n", name, client[0], both[0]);
    printf("%-34s client %8.0f us   server %8.0f us\n", "  resumed", client[1], both[1]);
}

static void put(struct tls *tls, size_t bytes)
{
    while (bytes) {
        size_t room;
        uint8_t *at = tls_send_app_buf(tls, &room);
        if (!at) {
            return;
        }
        room = room < bytes ? room : bytes;
        memset(at, 'x', room);
        tls_send_app_ack(tls, room);
        bytes -= room;
    }
    tls_flush(tls);
}

static void take(struct tls *tls)
{
    size_t bytes;
    while (tls_recv_app_buf(tls, &bytes)) {
        tls_recv_app_ack(tls, bytes);
    }
}

static double exchange(struct pair *pair, size_t request, size_t answer, unsigned count)
{
    double began = now_us();
    for (unsigned i = 0; i < count; i++) {
        put(pair->client, request);
        size_t bytes;
        const uint8_t *at;
        while ((at = tls_send_record_buf(pair->client, &bytes))) {
            tls_send_record_ack(pair->client, tls_recv_record(pair->server, at, bytes));
            take(pair->server);
        }
        put(pair->server, answer);
        while ((at = tls_send_record_buf(pair->server, &bytes))) {
            tls_send_record_ack(pair->server, tls_recv_record(pair->client, at, bytes));
            take(pair->client);
        }
    }
    return (now_us() - began) / count;
}

/* Both ends together: each byte is sealed once and opened once. */
static void requests(struct pair *pair, struct tls_trust *trust, struct tls_server *server)
{
    double best = 1e18, bulk = 1e18;
    shake(pair, trust, server, NULL, 7);
    for (unsigned round = 0; round < 60; round++) {
        double us = exchange(pair, 1536, 200, 500);
        best = us < best ? us : best;
        us = exchange(pair, 16000, 1, 50);
        bulk = us < bulk ? us : bulk;
    }
    printf("%-34s both ends %5.0f ns   (%s)\n", "request 1536 B, answer 200 B", best * 1e3,
           tls_suite(pair->server));
    printf("%-34s both ends %5.0f MB/s\n", "records of 16 KB", 16000 / bulk);
    tls_end(pair->client);
    tls_end(pair->server);
}

int main(void)
{
    struct tls_identity *identity;
    struct tls_server *server;
    struct tls_trust *trust;
    struct pair pair = {.client = calloc(1, tls_client_bytes()),
                        .server = calloc(1, tls_server_bytes())};
    printf("engines: client %zu bytes, server %zu bytes\n", tls_client_bytes(), tls_server_bytes());
    WHY(tls_trust_open(&trust));
    WHY(tls_trust_add_pem(trust, "ca", slice_str(vector_ca_pem), why));
    WHY(tls_identity_open_pem("c", slice_str(vector_server_pem), "k", slice_str(vector_server_key),
                              true, &identity, why));
    WHY(tls_server_open(&identity, 1, NULL, 64, &server));
    handshakes(&pair, trust, server, "P-256 leaf and intermediate");
    requests(&pair, trust, server);
    tls_server_give(server);
    WHY(tls_trust_add_pem(trust, "ca", slice_str(vector_rsa_ca_pem), why));
    WHY(tls_identity_open_pem("c", slice_str(vector_server_rsa_pem), "k",
                              slice_str(vector_server_rsa_key), true, &identity, why));
    WHY(tls_server_open(&identity, 1, NULL, 64, &server));
    handshakes(&pair, trust, server, "RSA 2048");
    tls_server_give(server);
    tls_trust_close(trust);
    free(pair.client);
    free(pair.server);
    return 0;
}
