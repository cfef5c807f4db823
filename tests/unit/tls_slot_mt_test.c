/* tls: many threads shake hands while the certificates are replaced, and share one table of
 * sessions: nobody meets a server that is gone. */
#include "fuzz/tls_vectors.h"
#include "tls/tls.h"
#include "tap.h"

#include <pthread.h>
#include <time.h>

#define NOW        1900000000LL
#define THREADS    3
#define HANDSHAKES 25

static struct tls_slot *slot;
static struct tls_trust *trust;
static unsigned opened, resumed, threads_left = THREADS;

static struct tls_server *server_make(void)
{
    struct tls_identity *identity;
    struct tls_server *server;
    char why[TLS_WHY_BYTES] = "";
    if (tls_identity_open_pem("c", slice_str(vector_server_pem), "k", slice_str(vector_server_key),
                              true, &identity, why) != BK_OK ||
        tls_server_open(&identity, 1, NULL, 16, &server) != BK_OK) {
        bail_out("no server: %s", why);
    }
    return server;
}

static void carry(struct tls *from, struct tls *to)
{
    const uint8_t *at;
    size_t bytes;
    while ((at = tls_send_record_buf(from, &bytes))) {
        tls_send_record_ack(from, tls_recv_record(to, at, bytes));
    }
}

static void *shake(void *context)
{
    uint8_t entropy[32] = {*(const uint8_t *)context};
    struct tls *client = calloc(1, tls_client_bytes()), *server = calloc(1, tls_server_bytes());
    struct tls_session session = {0};
    for (unsigned i = 0; client && server && i < HANDSHAKES; i++) {
        entropy[1] = (uint8_t)i;
        entropy[2] = 0;
        tls_client_begin(client, trust, NULL, "a.example", &session, NOW, entropy);
        entropy[2] = 1;
        struct tls_server *current = tls_slot_take(slot);
        tls_server_begin(server, current, NOW, entropy);
        tls_server_give(current);
        for (unsigned round = 0; round < 4; round++) {
            carry(client, server);
            carry(server, client);
        }
        __atomic_add_fetch(&opened, tls_is_open(client) && tls_is_open(server), __ATOMIC_RELAXED);
        __atomic_add_fetch(&resumed, tls_resumed(client), __ATOMIC_RELAXED);
        tls_session_get(client, &session);
        tls_end(client);
        tls_end(server);
    }
    free(client);
    free(server);
    __atomic_sub_fetch(&threads_left, 1, __ATOMIC_RELEASE);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    uint8_t numbers[THREADS];
    unsigned replaced = 0;
    char why[TLS_WHY_BYTES] = "";
    ok(tls_trust_open(&trust) == BK_OK &&
           tls_trust_add_pem(trust, "ca", slice_str(vector_ca_pem), why) == BK_OK,
       "trust %s", why);
    is_int(tls_slot_open(server_make(), &slot), BK_OK, "a slot");
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = (uint8_t)(i + 1);
        if (pthread_create(&threads[i], NULL, shake, &numbers[i]) != 0) {
            bail_out("no thread");
        }
    }
    while (__atomic_load_n(&threads_left, __ATOMIC_ACQUIRE) && replaced < 2000) {
        tls_slot_put(slot, server_make());
        replaced++;
        struct timespec pause = {.tv_nsec = 3000000};
        nanosleep(&pause, NULL);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    is_uint(opened, THREADS * HANDSHAKES, "every handshake, over %u reloads", replaced);
    diag("%u were short", resumed);
    tls_slot_close(slot);
    tls_trust_close(trust);
    return done_testing();
}
