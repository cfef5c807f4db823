/* private.h - what the files of tls/ share. Not for others. */
#ifndef BECKET_TLS_PRIVATE_H
#define BECKET_TLS_PRIVATE_H

#include "tls/cert.h"
#include "tls/tls.h"

#include <bearssl.h>

/* RSA keys below it are refused. */
#define TLS_RSA_BITS_MIN 2048U
/* Signatures must fit BearSSL's buffers. */
#define TLS_RSA_BITS_MAX 4096U

/* ---- trust.c */

/* What a trust holds: counted, for handshakes go on with the one they began with. */
struct tls_anchors {
    uint32_t references;
    br_x509_trust_anchor *anchors; /* keys and names are malloc'ed each */
    struct tls_anchor_note {
        int64_t not_before, not_after;
        uint8_t name_hash[32];            /* BearSSL's: with its header */
        uint8_t subject[CERT_HASH_BYTES]; /* ours: what is in it */
        struct slice constrained; /* the certificate, malloc'ed, where it has nameConstraints */
    } * notes;                    /* of the same index */
    unsigned count;
    unsigned room;
    uint8_t digest[32]; /* of all certificates, in their order */
};

struct tls_trust {
    struct tls_anchors *set; /* a reference */
    uint8_t busy;            /* two instructions long, so a flag is enough */
};

/* One reference more, and one less. */
struct tls_anchors *tls_trust_take(const struct tls_trust *trust);
void tls_anchors_give(struct tls_anchors *set);

/* Is one of the authorities of this name within its time? */
bool tls_anchors_current(const struct tls_anchors *set, const uint8_t name_hash[32],
                         int64_t now_seconds);

/* May all authorities of this name, for all their nameConstraints say, issue for that one? */
bool tls_anchors_permit(const struct tls_anchors *set, const uint8_t name_hash[32],
                        const struct cert_name *want);

/* ---- identity.c */

#define TLS_CHAIN_MAX 8U

struct tls_identity {
    br_x509_certificate chain[TLS_CHAIN_MAX];
    unsigned chain_count;
    bool ec;
    unsigned issuer_key_type; /* BR_KEYTYPE_EC or _RSA: how the leaf was signed */
    int64_t not_after;
    br_rsa_private_key rsa;
    br_ec_private_key ec_key;
    uint8_t *key_at; /* the bytes both point to */
    size_t key_bytes;
};

/* ---- sent.c: the certificates of a server as they came */

#define TLS_SENT_MAX 16U /* more than any chain has; then they are taken as they came */

struct tls_sent {
    uint8_t *at; /* the caller's room */
    size_t room, bytes;
    size_t begins[TLS_SENT_MAX];
    unsigned count;
    bool over; /* they were more, or larger */
};

void tls_sent_begin(struct tls_sent *sent, uint8_t *room, size_t bytes);
/* A certificate begins; some of it. */
void tls_sent_next(struct tls_sent *sent);
void tls_sent_add(struct tls_sent *sent, const uint8_t *at, size_t bytes);
/* The first one and those that follow it by their names, for nothing else is looked at: how many,
 * or 0 where that is how they came. Of several ways, the shortest to somebody we believe. */
unsigned tls_sent_order(const struct tls_sent *sent, const struct tls_anchors *trust,
                        struct slice ret_path[TLS_SENT_MAX]);

/* ---- verify.c: the chain a peer shows */

struct tls_chain {
    const br_x509_class *vtable; /* first: BearSSL holds a pointer to it */
    br_x509_minimal_context minimal;
    struct cert_scan scan;
    struct cert_name want;
    struct cert_facts leaf;
    struct cert_facts culprit; /* the certificate at which BearSSL gave up */
    struct tls_anchors *trust; /* a reference; NULL before begin and behind end */
    struct tls_sent sent;      /* without room: their order counts */
    int64_t now_seconds;
    unsigned count;      /* certificates begun */
    unsigned used;       /* those of them that counted */
    unsigned culprit_at; /* its index */
    bool of_server;      /* the peer is a server */
    bool relevant;       /* the certificate that is read counts */
    bool wrong_usage;    /* one of them is for something else */
    bool forbidden;      /* an issuer may not issue for whom we want */
    bool malformed;
    bool has_culprit;
    char *why; /* TLS_WHY_BYTES, filled on refusal */
};

/* Requires: engine's implementations are set. */
void tls_chain_begin(struct tls_chain *chain, br_ssl_engine_context *engine,
                     const struct tls_trust *trust, const struct cert_name *want, bool of_server,
                     int64_t now_seconds, char *why);
void tls_chain_end(struct tls_chain *chain);

/* ---- server.c */

struct tls_server {
    uint32_t references;
    unsigned identity_count;
    struct tls_identity **identities;
    struct tls_trust *client_trust;
    struct tls_sessions *sessions;
};

/* ---- sessions.c: what clients may resume, shared by all cores without a lock */

struct tls_sessions;
/* NULL when out of memory. */
struct tls_sessions *tls_sessions_open(unsigned count_max);
void tls_sessions_close(struct tls_sessions *sessions);
/* `name`: whom the client asked for. */
void tls_sessions_put(struct tls_sessions *sessions, const br_ssl_session_parameters *session,
                      struct slice name, int64_t now_seconds);
/* By the id in *session; false when it is not there, made for another name (RFC 6066 3), or older
 * than TLS_SESSION_SECONDS_MAX. */
bool tls_sessions_find(struct tls_sessions *sessions, br_ssl_session_parameters *session,
                       struct slice name, int64_t now_seconds);

/* ---- hello.c */

/* `rest` is what has come of a client's hello from its suites on. Would a protocol of that name be
 * chosen, or did it ask for none (RFC 7301)? False also when the hello goes on in another record.
 */
bool tls_hello_speaks(struct slice rest, struct slice name);
/* A hello that came whole, in one record. */
struct tls_hello {
    unsigned version;
    struct slice session;
    struct slice rest; /* from its suites on */
};
bool tls_hello_read(struct slice bytes, struct tls_hello *ret_hello);
/* What is in the record: the beginning of a hello, which goes on in another one? */
bool tls_hello_goes_on(struct slice record);
/* From what is in the record. */
bool tls_hello_parse(struct slice record, struct tls_hello *ret_hello);
bool tls_hello_offers(const struct tls_hello *hello, unsigned suite);

/* What is malformed in a client's hello, from its suites on, and BearSSL passes over: the alert for
 * it (RFC 5246 7.4.1, RFC 6066 3, RFC 7301, RFC 8422 5.1), or 0. */
unsigned tls_hello_fault(struct slice rest);
/* Whom it asks for, SLICE_EMPTY: nobody. */
struct slice tls_hello_name(struct slice rest);

/* ---- curves.c: ECDHE */

void tls_curves_init(br_ec_impl *curves);
/* Since it was last asked on this thread: was there a key of a peer that cannot be? */
bool tls_curves_refused(void);

/* ---- policy.c: BearSSL asks which certificate, and for signatures */

struct tls_policy {
    const br_ssl_server_policy_class *vtable; /* first */
    const struct tls_server *server;
    const struct tls_identity *chosen;
};
extern const br_ssl_server_policy_class tls_policy_class;

#endif
