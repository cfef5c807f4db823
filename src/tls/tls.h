/* tls.h - TLS 1.2 as an engine without I/O: bytes and time in, bytes and wants out.
 *
 * Purpose     Wraps BearSSL for both ends of a connection. Only TLS 1.2, only ECDHE with AES-GCM or
 *             ChaCha20-Poly1305, ALPN "http/1.1", no renegotiation. What the peer shows is checked
 *             here: chain, name, time, usage, strength of keys and hashes; tls_why() says in words
 *             what was wrong.
 * Ownership   The caller gives zeroed memory of tls_client_bytes() or tls_server_bytes() bytes,
 *             aligned to 16. Trust, identities and servers must stay while an engine that began
 *             with them has not ended (tls_server is counted, see tls_server_give).
 * Threads     An engine belongs to one thread at a time. Trust and identities, once built: any
 *             number of threads. Building reads files and calls malloc: not on a
 *             reactor.
 * Memory      Nothing is allocated between begin and end.
 * Failure     Sticky: after an error tls_state() is TLS_CLOSED, tls_err() and tls_why() say why.
 * Cost        A full handshake is one to three milliseconds of computing inside one
 *             tls_recv_record_ack(); see README.md.
 * See also    RFC 5246, 5280, 5289, 6125, 7301, 7905; src/tls/README.md.
 */
#ifndef BECKET_TLS_TLS_H
#define BECKET_TLS_TLS_H

#include "base/err.h"
#include "base/slice.h"

struct tls;          /* one connection's engine with its record buffers */
struct tls_trust;    /* whom we believe: a set of certificates; tls_trust_put() changes it whole */
struct tls_identity; /* who we are: a certificate chain and its key */
struct tls_server;   /* what a listener needs: identities by name, sessions, trust for clients */

#define TLS_WHY_BYTES   200U
#define TLS_NAME_BYTES  254U
#define TLS_ALIGN_BYTES 16U
/* A session is offered again this long, but no longer than the certificate was valid that the peer
 * showed; then it shows one anew. */
#define TLS_SESSION_SECONDS_MAX 3600

/* ---- whom we believe (blocking, start-up or control thread)
 * ret_why, where there is one, has TLS_WHY_BYTES and gets "file:line: what" on failure. */

/* Empty: believes nobody. BK_NO_MEMORY. */
enum bk_err tls_trust_open(struct tls_trust **ret_trust) BK_MUST_CHECK;
/* The file SSL_CERT_FILE names, else the first of the usual places. A certificate in it that we
 * cannot use is left out. BK_NOT_FOUND: there is none (then HTTPS calls fail, saying so). */
enum bk_err tls_trust_add_system(struct tls_trust *trust, char *ret_why) BK_MUST_CHECK;
/* All certificates of a PEM file or text; every one must be usable. `name` is for the words. On
 * failure nothing was added. BK_INVALID, BK_NOT_FOUND, BK_PERMISSION, BK_NO_MEMORY. */
enum bk_err tls_trust_add_file(struct tls_trust *trust, const char *path,
                               char *ret_why) BK_MUST_CHECK;
enum bk_err tls_trust_add_pem(struct tls_trust *trust, const char *name, struct slice pem,
                              char *ret_why) BK_MUST_CHECK;
unsigned tls_trust_count(const struct tls_trust *trust);
/* Does this chain, DER, the leaf first, lead to somebody we believe, as a server's would: dates,
 * usage, strength, and one of `names` (DNS, separated by blanks) on the leaf? For certificates that
 * come otherwise than in a handshake. BK_NOT_FOUND: it ends before one we believe, so that one more
 * certificate may mend it; BK_INVALID: it does not hold. Any thread; milliseconds. */
enum bk_err tls_trust_check(const struct tls_trust *trust, const struct slice *chain,
                            unsigned count, const char *names, int64_t now_seconds,
                            char *ret_why) BK_MUST_CHECK;
void tls_trust_close(struct tls_trust *trust);
/* From now on it believes whom `fresh` believes, which is used up; engines that began go on with
 * whom they began with, and no session of before is offered. False: these are the same
 * certificates, and nothing changed. Any thread, one at a time. */
bool tls_trust_put(struct tls_trust *trust, struct tls_trust *fresh);

/* ---- who we are (blocking, start-up or control thread) */

/* PEM: the leaf first, then what lies between it and the root; the key is RSA or EC (PKCS#1, SEC1
 * or PKCS#8, not encrypted) and must be the leaf's. `for_server` asks for that usage, else for
 * that of a client. The key file must not be readable by others. Errors as for trust. */
enum bk_err tls_identity_open_files(const char *certificate_path, const char *key_path,
                                    bool for_server, struct tls_identity **ret_identity,
                                    char *ret_why) BK_MUST_CHECK;
enum bk_err tls_identity_open_pem(const char *certificate_name, struct slice certificate,
                                  const char *key_name, struct slice key, bool for_server,
                                  struct tls_identity **ret_identity, char *ret_why) BK_MUST_CHECK;
/* Seconds since 1970 at which its leaf is no longer valid. */
int64_t tls_identity_expires(const struct tls_identity *identity);
/* Wipes the key. */
void tls_identity_close(struct tls_identity *identity);

/* "2026-12-31", also for times far beyond 2262. */
#define TLS_DAY_BYTES 11U
void tls_day(int64_t seconds, char ret_text[TLS_DAY_BYTES]);

/* ---- a listener's side */

/* Identities are chosen by the name the client asks for (the first that fits) and by
 * what it can verify; the first one serves who asks for no name or an unknown one. `client_trust`
 * not NULL: clients must show a certificate of it. The server owns identities and trust from now
 * on, also on failure. BK_INVALID no identity, BK_NO_MEMORY. */
enum bk_err tls_server_open(struct tls_identity **identities, unsigned count,
                            struct tls_trust *client_trust, unsigned sessions_max,
                            struct tls_server **ret_server) BK_MUST_CHECK;
/* One reference more; any thread. */
struct tls_server *tls_server_take(struct tls_server *server);
/* One less; the last one frees. Engines hold one from begin until the handshake is over. */
void tls_server_give(struct tls_server *server);
/* How many identities, and when the first of them expires. */
unsigned tls_server_identities(const struct tls_server *server);
int64_t tls_server_expires(const struct tls_server *server);

/* Where a listener's server is while it may be replaced. Any thread; a replaced one lives on in
 * handshakes that began with it. */
struct tls_slot;
/* Takes over the caller's reference. BK_NO_MEMORY: it is given back. */
enum bk_err tls_slot_open(struct tls_server *server, struct tls_slot **ret_slot) BK_MUST_CHECK;
struct tls_server *tls_slot_take(struct tls_slot *slot);
void tls_slot_put(struct tls_slot *slot, struct tls_server *server);
void tls_slot_close(struct tls_slot *slot);

/* ---- sessions */

/* What a client needs to resume; plain bytes, holds a secret (bk_wipe). Zeroed = none. Use it only
 * for the very same origin, trust and client certificate. */
struct tls_session {
    int64_t made_seconds; /* when the peer showed its certificate; 0 = none */
    uint8_t trust[8];     /* who was believed then */
    uint16_t version;
    uint16_t suite;
    uint8_t id_bytes;
    uint8_t id[32];
    uint8_t master[48];
};

/* ---- one connection */

size_t tls_client_bytes(void);
size_t tls_server_bytes(void);

/* `name` is asked for (SNI) and must be named by the certificate; an IPv4 or IPv6 literal (no
 * brackets) must be there as an address. `identity` and `resume` may be NULL; entropy must be
 * fresh. Not valid names fail later, with words, like everything else. */
void tls_client_begin(struct tls *tls, const struct tls_trust *trust,
                      const struct tls_identity *identity, const char *name,
                      const struct tls_session *resume, int64_t now_seconds,
                      const uint8_t entropy[32]);
/* Takes a reference of `server`. */
void tls_server_begin(struct tls *tls, struct tls_server *server, int64_t now_seconds,
                      const uint8_t entropy[32]);
/* Wipes keys and lets go of what begin took. Once after each begin; zeroed memory is fine too. */
void tls_end(struct tls *tls);

enum tls_want {
    TLS_CLOSED = 1,      /* and nothing else: over, see tls_why() */
    TLS_SEND_RECORD = 2, /* there are bytes for the peer */
    TLS_RECV_RECORD = 4, /* bytes from the peer may come */
    TLS_SEND_APP = 8,    /* the handshake is done, plain text may be given */
    TLS_RECV_APP = 16    /* there is plain text from the peer */
};

/* Bits of enum tls_want. A getter below is allowed when its bit is set; bytes of an ack are at most
 * what the buffer had. */
unsigned tls_state(const struct tls *tls);

/* Bytes for the peer. They stay where they are until the ack, even if other calls come between. */
const uint8_t *tls_send_record_buf(const struct tls *tls, size_t *ret_bytes);
void tls_send_record_ack(struct tls *tls, size_t bytes);
/* A server: are these first bytes a whole hello that will resume a session, which costs little? */
bool tls_would_resume(const struct tls *tls, const uint8_t *at, size_t bytes);
/* Bytes from the peer: copied in, as many as the engine wants now; how many that were. 0: plain
 * text must be taken or records sent first (or it is closed). */
size_t tls_recv_record(struct tls *tls, const uint8_t *at, size_t bytes);
/* The stream ended. Without close_notify before it that is an error (a cut). */
void tls_recv_end(struct tls *tls);
/* Room for plain text of one record; what was acked leaves with tls_flush(), or when it is full. */
uint8_t *tls_send_app_buf(const struct tls *tls, size_t *ret_bytes);
void tls_send_app_ack(struct tls *tls, size_t bytes);
void tls_flush(struct tls *tls);
/* Plain text from the peer; it may be changed in place, and stays until the ack. */
uint8_t *tls_recv_app_buf(const struct tls *tls, size_t *ret_bytes);
void tls_recv_app_ack(struct tls *tls, size_t bytes);

/* Say close_notify: it is then in the bytes for the peer. Plain text that came is dropped. */
void tls_close(struct tls *tls);

/* True from the end of the handshake on. */
bool tls_is_open(const struct tls *tls);
/* The handshake was a short one. */
bool tls_resumed(const struct tls *tls);
/* The peer said close_notify. */
bool tls_clean(const struct tls *tls);
/* BK_OK; BK_UNAUTHENTICATED the peer's certificate was refused; BK_PROTOCOL everything else. */
enum bk_err tls_err(const struct tls *tls);
/* One line in words: "certificate expired on 2024-05-01", …; NULL = no error. Lives in `tls`. */
const char *tls_why(const struct tls *tls);
/* After a refusal: the alert that tells the peer, to be sent before the connection is closed and
 * behind what is on its way. NULL: there is nothing to say, or nobody who would understand. */
const uint8_t *tls_last_words(const struct tls *tls, size_t *ret_bytes);
/* Name of the suite, "ECDHE-RSA-AES128-GCM-SHA256"; "" before the handshake is done. */
const char *tls_suite(const struct tls *tls);
/* After the handshake. Zeroed where the peer does not resume. */
void tls_session_get(const struct tls *tls, struct tls_session *ret_session);

#endif
