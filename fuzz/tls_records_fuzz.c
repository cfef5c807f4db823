/* Bytes of a stranger into both ends of TLS. The first byte says which end, and how the rest is
 * cut.
 *
 * Properties: nothing is taken after the end; a closed engine stays closed and has words, or was
 * closed cleanly; without a handshake there is never plain text; the same bytes cut otherwise end
 * an engine, or open it, just the same. */
#include "base/assert.h"
#include "fuzz/tls_vectors.h"
#include "tls/private.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1900000000LL

static struct tls_server *server;
static struct tls_trust *trust;

static void set_up(void)
{
    struct tls_identity *identity;
    char why[TLS_WHY_BYTES];
    bk_assert(tls_identity_open_pem("c", slice_str(vector_server_pem), "k",
                                    slice_str(vector_server_key), true, &identity, why) == BK_OK);
    bk_assert(tls_server_open(&identity, 1, NULL, 16, &server) == BK_OK);
    bk_assert(tls_trust_open(&trust) == BK_OK &&
              tls_trust_add_pem(trust, "ca", slice_str(vector_ca_pem), why) == BK_OK);
    /* One that the corpus asks for. */
    br_ssl_session_parameters session = {.session_id = "a session that strangers know of",
                                         .session_id_len = 32,
                                         .version = BR_TLS12,
                                         .cipher_suite =
                                             BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256};
    tls_sessions_put(server->sessions, &session, SLICE_EMPTY, NOW);
}

static void drain(struct tls *tls)
{
    size_t bytes;
    while (tls_recv_app_buf(tls, &bytes)) {
        bk_assert(tls_is_open(tls));
        tls_recv_app_ack(tls, bytes);
    }
    while (tls_send_record_buf(tls, &bytes)) {
        tls_send_record_ack(tls, bytes);
    }
}

struct end {
    unsigned state;
    enum bk_err err;
    bool open, clean;
};

static struct end run(bool as_server, const uint8_t *data, size_t size, size_t piece)
{
    static const uint8_t entropy[32] = {1};
    struct tls *tls = calloc(1, as_server ? tls_server_bytes() : tls_client_bytes());
    bk_assert(tls);
    if (as_server) {
        tls_server_begin(tls, server, NOW, entropy);
    } else {
        tls_client_begin(tls, trust, NULL, "a.example", NULL, NOW, entropy);
    }
    drain(tls);
    size_t at = 0;
    while (at < size) {
        size_t count = size - at < piece ? size - at : piece;
        size_t used = tls_recv_record(tls, data + at, count);
        bk_assert(used <= count);
        drain(tls);
        at += used;
        if (tls_state(tls) == TLS_CLOSED) {
            bk_assert(tls_recv_record(tls, data, size) == 0);
            bk_assert(tls_why(tls) ? tls_err(tls) != BK_OK : tls_clean(tls));
            break;
        }
        if (used == 0) {
            break;
        }
    }
    struct end end = {tls_state(tls), tls_err(tls), tls_is_open(tls), tls_clean(tls)};
    tls_recv_end(tls);
    bk_assert(tls_state(tls) == TLS_CLOSED || tls_clean(tls));
    tls_end(tls);
    free(tls);
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!server) {
        set_up();
    }
    if (size == 0) {
        return 0;
    }
    bool as_server = data[0] & 1;
    size_t piece = (size_t)(data[0] >> 1) + 1;
    struct end cut = run(as_server, data + 1, size - 1, piece);
    struct end whole = run(as_server, data + 1, size - 1, SIZE_MAX);
    /* Not the reason: of two alerts in one record the first may already end it. */
    bk_assert(cut.state == whole.state && cut.open == whole.open);
    return 0;
}
