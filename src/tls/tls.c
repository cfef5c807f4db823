#include "tls/private.h"

#include "base/assert.h"
#include "base/ct.h"
#include "base/sha256.h"

#include <stdio.h>

/* A record of 16 KiB must fit going in: we cannot forbid it. A server's answers are small, and what
 * is larger goes out in several records. */
#define IN_BYTES         BR_SSL_BUFSIZE_INPUT
#define CLIENT_OUT_BYTES BR_SSL_BUFSIZE_OUTPUT
#define SERVER_OUT_BYTES (4096U + 85U)
/* A client's hello is shorter. Behind it nothing goes out before the server's certificates were
 * read, so they lie there. */
#define HELLO_BYTES 1024U

#define RECORD_HEAD_BYTES 5U
#define RECORD_BYTES_MAX  16384U
#define RECORD_ALERT      21
#define RECORD_HANDSHAKE  22
#define ALERT_FATAL       2U

struct tls {
    union {
        br_ssl_engine_context engine; /* the first member of both */
        br_ssl_client_context client;
        br_ssl_server_context server;
    } u;
    struct tls_policy policy;
    struct {
        const br_ssl_session_cache_class *vtable;
        struct tls *tls;
    } cache;
    br_ec_impl curves;
    struct tls_server *server; /* a reference, until the handshake is over */
    int64_t now_seconds;
    bool begun;
    bool is_server;
    bool open;   /* the handshake was completed */
    bool found;  /* server: the client's session was found */
    bool saved;  /* server: a new session was made */
    bool failed; /* by us, not by BearSSL */
    bool http;
    bool within; /* a server, before it heard: the head of a record was read, what is in it not … */
    bool speaks; /* … which is a handshake's */
    bool heard;  /* a server: the client's hello, whole */
    enum bk_err err;
    size_t held_bytes;  /* of a record that has not come whole, in the engine's buffer */
    size_t hello_bytes; /* of a hello that comes in several records, where what goes out will lie */
    int64_t offered_seconds; /* when that session was made */
    uint8_t offered_bytes;
    uint8_t offered[32];
    uint8_t alert[64];       /* room for a sealed record with … */
    const uint8_t *alert_at; /* … the alert that we have for the peer; NULL: none */
    size_t alert_bytes;
    char why[TLS_WHY_BYTES];
    struct tls_chain chain;
    uint8_t buffers[]; /* in, then out */
};

static const uint16_t suites_aes_first[] = {
    BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
};
static const uint16_t suites_chacha_first[] = {
    BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
};

/* The first is preferred. A server also takes a client that offers nothing but the second, as curl
 * --http1.0 does; ours never offers it. */
static const char *protocols[] = {"http/1.1", "http/1.0"};

/* ---- begin and end */

size_t tls_client_bytes(void)
{
    return sizeof(struct tls) + IN_BYTES + CLIENT_OUT_BYTES;
}

size_t tls_server_bytes(void)
{
    return sizeof(struct tls) + IN_BYTES + SERVER_OUT_BYTES;
}

static void fail(struct tls *tls, enum bk_err err, const char *why)
{
    tls->failed = true;
    tls->err = err;
    snprintf(tls->why, sizeof tls->why, "%s", why);
}

static void engine_begin(struct tls *tls, uint32_t flags, const uint8_t entropy[32])
{
    br_ssl_engine_context *engine = &tls->u.engine;
    bool hardware = br_aes_x86ni_ctr_get_vtable() != NULL;
    br_ssl_engine_set_versions(engine, BR_TLS12, BR_TLS12);
    br_ssl_engine_set_suites(engine, hardware ? suites_aes_first : suites_chacha_first,
                             sizeof suites_aes_first / sizeof suites_aes_first[0]);
    br_ssl_engine_set_hash(engine, br_sha256_ID, &sha256_class);
    br_ssl_engine_set_hash(engine, br_sha384_ID, &br_sha384_vtable);
    br_ssl_engine_set_hash(engine, br_sha512_ID, &br_sha512_vtable);
    br_ssl_engine_set_prf_sha256(engine, br_tls12_sha256_prf);
    br_ssl_engine_set_prf_sha384(engine, br_tls12_sha384_prf);
    br_ssl_engine_set_default_rsavrfy(engine);
    br_ssl_engine_set_default_ecdsa(engine);
    tls_curves_init(&tls->curves);
    br_ssl_engine_set_ec(engine, &tls->curves);
    br_ssl_engine_set_default_aes_gcm(engine);
    br_ssl_engine_set_default_chapol(engine);
    br_ssl_engine_set_protocol_names(engine, protocols, tls->is_server ? 2 : 1);
    br_ssl_engine_set_all_flags(engine, BR_OPT_NO_RENEGOTIATION | flags);
    size_t out_bytes = tls->is_server ? SERVER_OUT_BYTES : CLIENT_OUT_BYTES;
    br_ssl_engine_set_buffers_bidi(engine, tls->buffers, IN_BYTES, tls->buffers + IN_BYTES,
                                   out_bytes);
    br_ssl_engine_inject_entropy(engine, entropy, 32);
    /* The caller's entropy is enough: no system call on a reactor, and the same run in a test. */
    engine->rng_os_rand_done = 1;
}

static void set_client_identity(struct tls *tls, const struct tls_identity *identity)
{
    br_ssl_client_context *client = &tls->u.client;
    if (identity->ec) {
        br_ssl_client_set_single_ec(client, identity->chain, identity->chain_count,
                                    &identity->ec_key, BR_KEYTYPE_SIGN, identity->issuer_key_type,
                                    br_ec_get_default(), br_ecdsa_sign_asn1_get_default());
    } else {
        br_ssl_client_set_single_rsa(client, identity->chain, identity->chain_count, &identity->rsa,
                                     br_rsa_pkcs1_sign_get_default());
    }
}

static void set_client_session(struct tls *tls, const struct tls_session *session)
{
    int64_t age = tls->now_seconds - session->made_seconds;
    if (session->made_seconds == 0 || session->id_bytes == 0 || session->id_bytes > 32 || age < 0 ||
        age >= TLS_SESSION_SECONDS_MAX ||
        memcmp(session->trust, tls->chain.trust->digest, sizeof session->trust) != 0) {
        return;
    }
    br_ssl_session_parameters parameters = {
        .session_id_len = session->id_bytes,
        .version = session->version,
        .cipher_suite = session->suite,
    };
    memcpy(parameters.session_id, session->id, sizeof parameters.session_id);
    memcpy(parameters.master_secret, session->master, sizeof parameters.master_secret);
    br_ssl_engine_set_session_parameters(&tls->u.engine, &parameters);
    bk_wipe(&parameters, sizeof parameters);
    tls->offered_seconds = session->made_seconds;
    tls->offered_bytes = session->id_bytes;
    memcpy(tls->offered, session->id, sizeof tls->offered);
}

void tls_client_begin(struct tls *tls, const struct tls_trust *trust,
                      const struct tls_identity *identity, const char *name,
                      const struct tls_session *resume, int64_t now_seconds,
                      const uint8_t entropy[32])
{
    memset(tls, 0, sizeof *tls);
    tls->begun = true;
    tls->now_seconds = now_seconds;
    struct cert_name want;
    if (!cert_name_from(name, &want)) {
        fail(tls, BK_INVALID, "the host's name is no name that a certificate can have");
        return;
    }
    engine_begin(tls, 0, entropy);
    br_ssl_client_set_default_rsapub(&tls->u.client);
    tls_chain_begin(&tls->chain, &tls->u.engine, trust, &want, true, now_seconds, tls->why);
    tls_sent_begin(&tls->chain.sent, tls->buffers + IN_BYTES + HELLO_BYTES,
                   CLIENT_OUT_BYTES - HELLO_BYTES);
    if (identity) {
        set_client_identity(tls, identity);
    }
    if (resume) {
        set_client_session(tls, resume);
    }
    char asked[CERT_NAME_BYTES + 1];
    memcpy(asked, want.at, want.bytes);
    asked[want.address ? 0 : want.bytes] = 0; /* an address is not asked for (RFC 6066 3) */
    if (!br_ssl_client_reset(&tls->u.client, asked, 1)) {
        fail(tls, BK_PROTOCOL, "the TLS engine could not be started");
    }
}

static void cache_save(const br_ssl_session_cache_class **context, br_ssl_server_context *server,
                       const br_ssl_session_parameters *session);
static int cache_load(const br_ssl_session_cache_class **context, br_ssl_server_context *server,
                      br_ssl_session_parameters *session);

static const br_ssl_session_cache_class cache_class = {
    .context_size = sizeof(((struct tls *)NULL)->cache),
    .save = cache_save,
    .load = cache_load,
};

/* When the session began, for its hour: it ends no later than the certificate that was shown. */
static int64_t session_made(const struct tls *tls)
{
    const struct cert_facts *shown = &tls->chain.leaf;
    int64_t latest = shown->not_after - TLS_SESSION_SECONDS_MAX;
    return shown->whole && latest < tls->now_seconds ? latest : tls->now_seconds;
}

static struct tls *tls_of_cache(const br_ssl_session_cache_class **context)
{
    return bk_container_of(context, struct tls, cache.vtable);
}

static void cache_save(const br_ssl_session_cache_class **context, br_ssl_server_context *server,
                       const br_ssl_session_parameters *session)
{
    struct tls *tls = tls_of_cache(context);
    struct slice name = slice_str(br_ssl_engine_get_server_name(&server->eng));
    tls->saved = true;
    tls_sessions_put(tls->server->sessions, session, name, session_made(tls));
}

static bool speaks_ours(struct slice rest)
{
    return tls_hello_speaks(rest, slice_str(protocols[0])) ||
           tls_hello_speaks(rest, slice_str(protocols[1]));
}

static int cache_load(const br_ssl_session_cache_class **context, br_ssl_server_context *server,
                      br_ssl_session_parameters *session)
{
    struct tls *tls = tls_of_cache(context);
    struct slice rest = slice_of(server->eng.hbuf_in, server->eng.hlen_in);
    if (!speaks_ours(rest)) {
        return 0; /* and what is wrong with the protocols is said by a full handshake */
    }
    tls->found =
        tls_sessions_find(tls->server->sessions, session, tls_hello_name(rest), tls->now_seconds);
    return tls->found;
}

bool tls_would_resume(const struct tls *tls, const uint8_t *at, size_t bytes)
{
    struct tls_hello hello;
    br_ssl_session_parameters session = {.session_id_len = sizeof session.session_id};
    if (!tls->server || !tls_hello_read(slice_of(at, bytes), &hello) ||
        hello.session.bytes != sizeof session.session_id || !speaks_ours(hello.rest)) {
        return false;
    }
    memcpy(session.session_id, hello.session.at, sizeof session.session_id);
    bool found = tls_sessions_find(tls->server->sessions, &session, tls_hello_name(hello.rest),
                                   tls->now_seconds) &&
                 hello.version >= session.version && tls_hello_offers(&hello, session.cipher_suite);
    bk_wipe(&session, sizeof session);
    return found;
}

void tls_server_begin(struct tls *tls, struct tls_server *server, int64_t now_seconds,
                      const uint8_t entropy[32])
{
    memset(tls, 0, sizeof *tls);
    tls->begun = true;
    tls->is_server = true;
    tls->now_seconds = now_seconds;
    tls->server = tls_server_take(server);
    engine_begin(tls, BR_OPT_ENFORCE_SERVER_PREFERENCES | BR_OPT_FAIL_ON_ALPN_MISMATCH, entropy);
    br_ssl_server_context *context = &tls->u.server;
    tls->policy = (struct tls_policy){.vtable = &tls_policy_class, .server = server};
    br_ssl_server_set_policy(context, &tls->policy.vtable);
    tls->cache.vtable = &cache_class;
    tls->cache.tls = tls;
    br_ssl_server_set_cache(context, &tls->cache.vtable);
    if (server->client_trust) {
        static const struct cert_name anybody = {.any = true};
        tls_chain_begin(&tls->chain, &tls->u.engine, server->client_trust, &anybody, false,
                        now_seconds, tls->why);
        br_ssl_server_set_trust_anchor_names_alt(context, tls->chain.trust->anchors,
                                                 tls->chain.trust->count);
    }
    if (!br_ssl_server_reset(context)) {
        fail(tls, BK_PROTOCOL, "the TLS engine could not be started");
    }
}

void tls_end(struct tls *tls)
{
    if (tls->begun) {
        tls_server_give(tls->server);
        tls_chain_end(&tls->chain);
        bk_wipe(tls, sizeof *tls);
    }
}

/* ---- state */

static void learn(struct tls *tls);
static void refuse(struct tls *tls, uint8_t alert, const char *why);

/* Once after everything that may have moved the engine. */
static void look(struct tls *tls)
{
    if (!tls->open && (tls->u.engine.application_data & 1)) {
        tls->open = true;
        tls_server_give(tls->server);
        tls->server = NULL;
    }
    bool refused = tls_curves_refused();
    if (br_ssl_engine_current_state(&tls->u.engine) == BR_SSL_CLOSED) {
        learn(tls);
    } else if (refused) {
        refuse(tls, BR_ALERT_ILLEGAL_PARAMETER, "the peer's key of ECDHE is none of its curve");
    }
}

unsigned tls_state(const struct tls *tls)
{
    _Static_assert((int)TLS_CLOSED == BR_SSL_CLOSED && (int)TLS_SEND_RECORD == BR_SSL_SENDREC &&
                       (int)TLS_RECV_RECORD == BR_SSL_RECVREC &&
                       (int)TLS_SEND_APP == BR_SSL_SENDAPP && (int)TLS_RECV_APP == BR_SSL_RECVAPP,
                   "the bits are BearSSL's");
    return tls->failed ? TLS_CLOSED : br_ssl_engine_current_state(&tls->u.engine);
}

const uint8_t *tls_send_record_buf(const struct tls *tls, size_t *ret_bytes)
{
    *ret_bytes = 0;
    return tls->failed ? NULL : br_ssl_engine_sendrec_buf(&tls->u.engine, ret_bytes);
}

void tls_send_record_ack(struct tls *tls, size_t bytes)
{
    br_ssl_engine_sendrec_ack(&tls->u.engine, bytes);
    look(tls);
}

/* A piece of a hello, put behind those before it. Nothing goes out before a hello was read, so they
 * lie where that will. */
static bool hello_gather(struct tls *tls, struct slice piece, struct slice *ret_hello)
{
    uint8_t *at = tls->buffers + IN_BYTES;
    if (piece.bytes > SERVER_OUT_BYTES - tls->hello_bytes) {
        refuse(tls, BR_ALERT_ILLEGAL_PARAMETER, "the client's hello is too long for its pieces");
        return false;
    }
    memcpy(at + tls->hello_bytes, piece.at, piece.bytes);
    tls->hello_bytes += piece.bytes;
    *ret_hello = slice_of(at, tls->hello_bytes);
    return true;
}

/* A record, its head and then what is in it: is it, or does it end, a client's hello that BearSSL
 * should not have passed over? Records that are empty, or warnings, it passes over, too. */
static bool hear(struct tls *tls, const uint8_t *at, size_t bytes)
{
    struct slice record = slice_of(at, bytes);
    struct tls_hello hello;
    unsigned alert = 0;
    if (!tls->is_server || tls->heard) {
        return true;
    }
    if (!tls->within) {
        bk_assert(bytes == RECORD_HEAD_BYTES);
        tls->within = (at[3] | at[4]) != 0;
        tls->speaks = at[0] == RECORD_HANDSHAKE;
        return true;
    }
    tls->within = false;
    if (!tls->speaks) {
        return true;
    }
    if ((tls->hello_bytes > 0 || tls_hello_goes_on(record)) &&
        !hello_gather(tls, record, &record)) {
        return false;
    }
    tls->heard = !tls_hello_goes_on(record);
    if (tls->heard && tls_hello_parse(record, &hello)) {
        alert = tls_hello_fault(hello.rest);
    }
    if (alert) {
        refuse(tls, (uint8_t)alert, "the client's hello is malformed");
    }
    return !alert;
}

size_t tls_recv_record(struct tls *tls, const uint8_t *at, size_t bytes)
{
    br_ssl_engine_context *engine = &tls->u.engine;
    size_t used = 0;
    while (used < bytes && !tls->failed) {
        size_t room;
        uint8_t *buffer = br_ssl_engine_recvrec_buf(engine, &room);
        if (!buffer || br_ssl_engine_current_state(engine) == BR_SSL_CLOSED) {
            break;
        }
        /* Plain text may follow a client's Finished at once (false start, RFC 7918); BearSSL takes
         * it only after its own Finished was written, which waits for the record before it. */
        size_t pending;
        if (!tls->open && br_ssl_engine_sendrec_buf(engine, &pending)) {
            break;
        }
        size_t wanted = room - tls->held_bytes;
        size_t count = bytes - used < wanted ? bytes - used : wanted;
        memcpy(buffer + tls->held_bytes, at + used, count);
        used += count;
        tls->held_bytes += count;
        /* BearSSL reads a plain record as it comes. A hello is looked at from its middle on
         * (hello.c): what we find there must not depend on how the network cuts it. */
        if (tls->held_bytes == room) {
            tls->held_bytes = 0;
            if (hear(tls, buffer, room)) {
                br_ssl_engine_recvrec_ack(engine, room);
                look(tls);
            }
        }
    }
    return used;
}

void tls_recv_end(struct tls *tls)
{
    if (tls_state(tls) != TLS_CLOSED && !tls_clean(tls)) {
        fail(tls, BK_PROTOCOL,
             tls->open ? "the connection was cut: it ended without TLS's close_notify"
                       : "the peer closed the connection during the TLS handshake");
    }
}

uint8_t *tls_send_app_buf(const struct tls *tls, size_t *ret_bytes)
{
    *ret_bytes = 0;
    return tls->failed ? NULL : br_ssl_engine_sendapp_buf(&tls->u.engine, ret_bytes);
}

void tls_send_app_ack(struct tls *tls, size_t bytes)
{
    br_ssl_engine_sendapp_ack(&tls->u.engine, bytes);
}

void tls_flush(struct tls *tls)
{
    br_ssl_engine_flush(&tls->u.engine, 0);
}

uint8_t *tls_recv_app_buf(const struct tls *tls, size_t *ret_bytes)
{
    *ret_bytes = 0;
    return tls->failed ? NULL : br_ssl_engine_recvapp_buf(&tls->u.engine, ret_bytes);
}

void tls_recv_app_ack(struct tls *tls, size_t bytes)
{
    br_ssl_engine_recvapp_ack(&tls->u.engine, bytes);
}

void tls_close(struct tls *tls)
{
    size_t bytes;
    if (tls->failed || !tls->open) {
        return;
    }
    while (tls_recv_app_buf(tls, &bytes)) {
        tls_recv_app_ack(tls, bytes);
    }
    br_ssl_engine_close(&tls->u.engine);
    look(tls);
}

bool tls_is_open(const struct tls *tls)
{
    return tls->open;
}

bool tls_resumed(const struct tls *tls)
{
    if (tls->is_server) {
        return tls->open && tls->found && !tls->saved;
    }
    const br_ssl_session_parameters *session = &tls->u.engine.session;
    return tls->open && tls->offered_bytes && session->session_id_len == tls->offered_bytes &&
           memcmp(session->session_id, tls->offered, tls->offered_bytes) == 0;
}

bool tls_clean(const struct tls *tls)
{
    return tls->u.engine.shutdown_recv != 0;
}

const char *tls_suite(const struct tls *tls)
{
    if (!tls->open) {
        return "";
    }
    switch (tls->u.engine.session.cipher_suite) {
    case BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:
        return "ECDHE-ECDSA-AES128-GCM-SHA256";
    case BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:
        return "ECDHE-RSA-AES128-GCM-SHA256";
    case BR_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:
        return "ECDHE-ECDSA-AES256-GCM-SHA384";
    case BR_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:
        return "ECDHE-RSA-AES256-GCM-SHA384";
    case BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256:
        return "ECDHE-ECDSA-CHACHA20-POLY1305";
    default:
        return "ECDHE-RSA-CHACHA20-POLY1305";
    }
}

void tls_session_get(const struct tls *tls, struct tls_session *ret_session)
{
    const br_ssl_session_parameters *session = &tls->u.engine.session;
    memset(ret_session, 0, sizeof *ret_session);
    if (!tls->open || session->session_id_len == 0) {
        return;
    }
    ret_session->made_seconds = tls_resumed(tls) ? tls->offered_seconds : session_made(tls);
    memcpy(ret_session->trust, tls->chain.trust->digest, sizeof ret_session->trust);
    ret_session->version = session->version;
    ret_session->suite = session->cipher_suite;
    ret_session->id_bytes = session->session_id_len;
    memcpy(ret_session->id, session->session_id, sizeof ret_session->id);
    memcpy(ret_session->master, session->master_secret, sizeof ret_session->master);
}

/* ---- what went wrong, in words */

static const char *alert_text(int alert)
{
    switch (alert) {
    case BR_ALERT_HANDSHAKE_FAILURE:
        return "no common version or suite, or no certificate that fits (handshake_failure)";
    case BR_ALERT_PROTOCOL_VERSION:
        return "TLS 1.2 is not spoken by both (protocol_version)";
    case BR_ALERT_BAD_CERTIFICATE:
        return "bad certificate";
    case BR_ALERT_UNSUPPORTED_CERTIFICATE:
        return "unsupported certificate";
    case BR_ALERT_CERTIFICATE_REVOKED:
        return "certificate revoked";
    case BR_ALERT_CERTIFICATE_EXPIRED:
        return "certificate expired";
    case BR_ALERT_CERTIFICATE_UNKNOWN:
        return "certificate not accepted";
    case BR_ALERT_UNKNOWN_CA:
        return "unknown CA";
    case BR_ALERT_ACCESS_DENIED:
        return "access denied";
    case BR_ALERT_DECRYPT_ERROR:
        return "a signature or a checksum was wrong (decrypt_error)";
    case BR_ALERT_INSUFFICIENT_SECURITY:
        return "insufficient security";
    case BR_ALERT_INTERNAL_ERROR:
        return "internal error";
    case BR_ALERT_USER_CANCELED:
        return "cancelled";
    case BR_ALERT_NO_RENEGOTIATION:
        return "no renegotiation";
    case 112:
        return "unrecognized name";
    case BR_ALERT_NO_APPLICATION_PROTOCOL:
        return "http/1.1 is not among the protocols offered (no_application_protocol)";
    case 86:
        return "a downgrade was tried (inappropriate_fallback)";
    case 116:
        return "a client certificate is required";
    default:
        return NULL;
    }
}

static bool looks_like_http(const struct tls *tls)
{
    const uint8_t *at = tls->buffers;
    static const char starts[][6] = {"GET /", "POST ", "PUT /", "HEAD ", "DELET",
                                     "OPTIO", "PATCH", "CONNE", "HTTP/"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        if (memcmp(at, starts[i], 5) == 0) {
            return true;
        }
    }
    return false;
}

static const char *version_text(const struct tls *tls)
{
    if (tls->http) {
        return tls->is_server ? "the peer speaks plain HTTP, this port speaks TLS (https://)"
                              : "the peer speaks plain HTTP on this port, not TLS";
    }
    /* A record of TLS, so it is the version that was chosen. */
    if (tls->buffers[0] >= 20 && tls->buffers[0] <= 23 && tls->buffers[1] == 3) {
        return "the peer chose a version older than TLS 1.2, which is not accepted";
    }
    return "the peer does not speak TLS";
}

static const char *engine_text(const struct tls *tls, int error)
{
    switch (error) {
    case BR_ERR_UNSUPPORTED_VERSION:
        return version_text(tls);
    case BR_ERR_BAD_VERSION:
        return "the peer changed or chose a version that is not accepted (TLS 1.2 only)";
    case BR_ERR_BAD_LENGTH:
    case BR_ERR_TOO_LARGE:
        return "the peer sent a record that is too large";
    case BR_ERR_BAD_MAC:
        return "a record was altered on its way (bad MAC)";
    case BR_ERR_BAD_SIGNATURE:
        return "the peer's signature is wrong";
    case BR_ERR_BAD_FINISHED:
        return "the handshake was altered on its way (bad Finished)";
    case BR_ERR_BAD_CIPHER_SUITE:
        return "the peer chose a suite that was not offered";
    case BR_ERR_RESUME_MISMATCH:
        return "the peer resumed a session with other parameters";
    case BR_ERR_BAD_SECRENEG:
        return "the peer's renegotiation data is wrong";
    case BR_ERR_WRONG_KEY_USAGE:
        return "the certificate's key is not for this use (wrong usage: keyUsage)";
    case BR_ERR_NO_CLIENT_AUTH:
        return "the client showed no certificate, one is required";
    case BR_ERR_UNEXPECTED:
    case BR_ERR_UNKNOWN_TYPE:
    case BR_ERR_BAD_CCS:
    case BR_ERR_BAD_ALERT:
    case BR_ERR_BAD_HANDSHAKE:
        return "the peer broke the TLS protocol";
    default:
        return NULL;
    }
}

/* As its head says, which is the last that was read. */
static unsigned record_bytes(const struct tls *tls)
{
    return (unsigned)tls->buffers[3] << 8 | tls->buffers[4];
}

static uint8_t alert_for(const struct tls *tls, int error)
{
    switch (error) {
    case BR_ERR_X509_EXPIRED:
        return BR_ALERT_CERTIFICATE_EXPIRED;
    case BR_ERR_X509_NOT_TRUSTED:
        return BR_ALERT_UNKNOWN_CA;
    case BR_ERR_X509_UNSUPPORTED:
    case BR_ERR_X509_WEAK_PUBLIC_KEY:
    case BR_ERR_X509_FORBIDDEN_KEY_USAGE:
        return BR_ALERT_UNSUPPORTED_CERTIFICATE;
    case BR_ERR_UNSUPPORTED_VERSION:
    case BR_ERR_BAD_VERSION:
        return BR_ALERT_PROTOCOL_VERSION;
    case BR_ERR_UNKNOWN_TYPE:
    case BR_ERR_UNEXPECTED:
    case BR_ERR_BAD_CCS:
        return BR_ALERT_UNEXPECTED_MESSAGE;
    case BR_ERR_BAD_LENGTH: /* too long, or too short for what is added to a sealed one */
        return record_bytes(tls) < RECORD_BYTES_MAX ? BR_ALERT_BAD_RECORD_MAC
                                                    : BR_ALERT_RECORD_OVERFLOW;
    case BR_ERR_TOO_LARGE:
        return BR_ALERT_RECORD_OVERFLOW;
    case BR_ERR_BAD_MAC:
        return BR_ALERT_BAD_RECORD_MAC;
    case BR_ERR_BAD_PARAM: /* an element beyond its end */
    case BR_ERR_BAD_ALERT:
    case BR_ERR_BAD_HANDSHAKE:
    case BR_ERR_OVERSIZED_ID:
    case BR_ERR_BAD_SNI:
    case BR_ERR_BAD_HELLO_DONE:
        return BR_ALERT_DECODE_ERROR;
    case BR_ERR_BAD_CIPHER_SUITE:
    case BR_ERR_BAD_COMPRESSION:
    case BR_ERR_BAD_FRAGLEN:
    case BR_ERR_RESUME_MISMATCH:
    case BR_ERR_INVALID_ALGORITHM:
        return BR_ALERT_ILLEGAL_PARAMETER;
    case BR_ERR_EXTRA_EXTENSION:
        return BR_ALERT_UNSUPPORTED_EXTENSION;
    case BR_ERR_BAD_FINISHED:
    case BR_ERR_BAD_SIGNATURE:
        return BR_ALERT_DECRYPT_ERROR;
    default:
        return tls->err == BK_UNAUTHENTICATED && error != BR_ERR_NO_CLIENT_AUTH
                   ? BR_ALERT_BAD_CERTIFICATE
                   : BR_ALERT_HANDSHAKE_FAILURE;
    }
}

/* BearSSL ends most failures without a word. Its engine makes no records any more, but what seals
 * them still works. */
static void make_alert(struct tls *tls, uint8_t alert)
{
    const br_sslrec_out_class **out = &tls->u.engine.out.vtable;
    size_t from = RECORD_HEAD_BYTES, to = sizeof tls->alert, bytes = 2;
    (*out)->max_plaintext(out, &from, &to);
    bk_assert(from + bytes <= to && to <= sizeof tls->alert);
    tls->alert[from] = ALERT_FATAL;
    tls->alert[from + 1] = alert;
    tls->alert_at = (*out)->encrypt(out, RECORD_ALERT, BR_TLS12, tls->alert + from, &bytes);
    tls->alert_bytes = bytes;
}

const uint8_t *tls_last_words(const struct tls *tls, size_t *ret_bytes)
{
    *ret_bytes = tls->alert_bytes;
    return tls->alert_at;
}

/* Fills err and why once, from BearSSL's number. */
static void learn_words(struct tls *tls, int error)
{
    tls->err = BK_PROTOCOL;
    if (tls->why[0] && error >= BR_ERR_X509_OK && error < BR_ERR_RECV_FATAL_ALERT) {
        tls->err = BK_UNAUTHENTICATED; /* verify.c said why */
        return;
    }
    bool sent = error >= BR_ERR_SEND_FATAL_ALERT;
    const char *text = NULL;
    if (error >= BR_ERR_RECV_FATAL_ALERT) {
        int alert = error & 0xff;
        bool again = tls->open && !sent &&
                     (alert == BR_ALERT_HANDSHAKE_FAILURE || alert == BR_ALERT_NO_RENEGOTIATION);
        text = again ? "it asked for another handshake, which is not done: have it ask for a "
                       "client certificate in the first one"
                     : alert_text(alert);
        snprintf(tls->why, sizeof tls->why, "%s: %s",
                 sent        ? "we refused the handshake"
                 : tls->open ? "the peer ended the connection"
                             : "the peer refused the handshake",
                 text ? text : "alert");
        if (!text) {
            snprintf(tls->why, sizeof tls->why, "%s an alert of TLS, number %d",
                     sent ? "we sent" : "the peer sent", alert);
        }
        return;
    }
    tls->http = error == BR_ERR_UNSUPPORTED_VERSION && looks_like_http(tls);
    text = engine_text(tls, error);
    if (text) {
        snprintf(tls->why, sizeof tls->why, "%s", text);
    } else {
        snprintf(tls->why, sizeof tls->why, "the peer broke the TLS protocol (%d)", error);
    }
    if (error == BR_ERR_WRONG_KEY_USAGE || error == BR_ERR_NO_CLIENT_AUTH) {
        tls->err = BK_UNAUTHENTICATED;
    }
}

static void learn(struct tls *tls)
{
    int error = br_ssl_engine_last_error(&tls->u.engine);
    if (tls->err == BK_OK && !tls->failed && error != BR_ERR_OK) {
        learn_words(tls, error);
        if (!tls->http && error < BR_ERR_RECV_FATAL_ALERT) {
            make_alert(tls, alert_for(tls, error));
        }
    }
}

/* What BearSSL would not. */
static void refuse(struct tls *tls, uint8_t alert, const char *why)
{
    fail(tls, BK_PROTOCOL, why);
    make_alert(tls, alert);
}

enum bk_err tls_err(const struct tls *tls)
{
    return tls->err;
}

const char *tls_why(const struct tls *tls)
{
    return tls_err(tls) == BK_OK ? NULL : tls->why;
}
