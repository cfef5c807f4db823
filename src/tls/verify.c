#include "tls/private.h"

#include "base/sha256.h"

#include <stdarg.h>
#include <stdio.h>

/* BearSSL's engine verifies the chain; this class stands before it, hands everything on, and adds
 * what it does not look at: names (addresses too), usage, the authority's own time, and words. */

#define DAYS_0_TO_1970 719528U
#define SECONDS_A_DAY  86400

static struct tls_chain *chain_of(const br_x509_class **context)
{
    return (struct tls_chain *)(void *)context;
}

static const br_x509_class **minimal_of(struct tls_chain *chain)
{
    return &chain->minimal.vtable;
}

__attribute__((format(printf, 3, 4))) static unsigned refuse(struct tls_chain *chain,
                                                             unsigned error, const char *format,
                                                             ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(chain->why, TLS_WHY_BYTES, format, arguments);
    va_end(arguments);
    return error;
}

/* ---- words */

static unsigned refuse_time(struct tls_chain *chain, const struct cert_facts *facts,
                            const char *whose)
{
    char day[TLS_DAY_BYTES];
    bool early = facts->not_before > chain->now_seconds;
    tls_day(early ? facts->not_before : facts->not_after, day);
    return refuse(chain, BR_ERR_X509_EXPIRED,
                  early ? "%s is not valid before %s" : "%s expired on %s", whose, day);
}

static unsigned refuse_unsupported(struct tls_chain *chain, const struct cert_facts *facts,
                                   const char *whose)
{
    if (facts->weak_hash) {
        return refuse(chain, BR_ERR_X509_UNSUPPORTED, "%s is signed with %s, which is not accepted",
                      whose, facts->hash);
    }
    if (facts->key != CERT_KEY_RSA && facts->key != CERT_KEY_EC) {
        return refuse(
            chain, BR_ERR_X509_UNSUPPORTED,
            "%s has a key of a kind that is not accepted; RSA, P-256, P-384 and P-521 are", whose);
    }
    return refuse(chain, BR_ERR_X509_UNSUPPORTED, "%s is signed in a way that is not supported",
                  whose);
}

static unsigned refuse_unknown(struct tls_chain *chain)
{
    if (chain->trust->count == 0) {
        return refuse(chain, BR_ERR_X509_NOT_TRUSTED,
                      "there is no store of trusted certificates here");
    }
    if (chain->count == 1 && chain->leaf.self_issued) {
        return refuse(chain, BR_ERR_X509_NOT_TRUSTED,
                      "the certificate is self-signed and not one we trust");
    }
    return refuse(chain, BR_ERR_X509_NOT_TRUSTED,
                  "the certificate is not from an authority that we trust (unknown CA)%s",
                  chain->count == 1 ? "; its issuer's certificate did not come along" : "");
}

static unsigned refuse_by_number(struct tls_chain *chain, unsigned error)
{
    static const struct cert_facts nothing;
    const struct cert_facts *facts = chain->has_culprit ? &chain->culprit : &nothing;
    const char *whose = chain->culprit_at == 0 ? "the certificate" : "a certificate of its issuer";
    switch (error) {
    case BR_ERR_X509_EXPIRED:
        return refuse_time(chain, facts, whose);
    case BR_ERR_X509_NOT_TRUSTED:
        return refuse_unknown(chain);
    case BR_ERR_X509_WEAK_PUBLIC_KEY:
        return refuse(chain, error, "%s has a weak key: RSA with %u bits, at least %u are wanted",
                      whose, facts->rsa_bits, TLS_RSA_BITS_MIN);
    case BR_ERR_X509_UNSUPPORTED:
        return refuse_unsupported(chain, facts, whose);
    case BR_ERR_X509_BAD_SIGNATURE:
        return refuse(chain, error, "a signature in the certificate's chain is wrong");
    case BR_ERR_X509_WRONG_KEY_TYPE:
    case BR_ERR_X509_DN_MISMATCH:
        return refuse(chain, error,
                      "the certificates do not follow each other: the peer must send its own one "
                      "first, then that of its issuer, and so on");
    case BR_ERR_X509_CRITICAL_EXTENSION:
        return refuse(chain, error, "%s has a critical extension that is not known here", whose);
    case BR_ERR_X509_NOT_CA:
        return refuse(chain, error, "the certificate was issued by one that may not issue any");
    case BR_ERR_X509_FORBIDDEN_KEY_USAGE:
        return refuse(chain, error, "%s is not for this use (keyUsage)", whose);
    case BR_ERR_X509_EMPTY_CHAIN:
        return refuse(chain, error, "the peer showed no certificate");
    case BR_ERR_X509_LIMIT_EXCEEDED:
        return refuse(chain, error, "%s has a key or a signature that is too large", whose);
    default:
        return refuse(chain, error, "%s is malformed (%u)", whose, error);
    }
}

static void wanted_text(const struct cert_name *want, char ret_text[CERT_NAME_BYTES])
{
    size_t bytes = want->bytes < 100 ? want->bytes : 100;
    if (!want->address) {
        memcpy(ret_text, want->at, bytes);
        ret_text[bytes] = 0;
    } else {
        snprintf(ret_text, CERT_NAME_BYTES, "this address");
    }
}

static unsigned refuse_name(struct tls_chain *chain)
{
    char wanted[CERT_NAME_BYTES];
    wanted_text(&chain->want, wanted);
    const struct cert_facts *leaf = &chain->leaf;
    if (leaf->is_ca && leaf->name_count == 0 && chain->count > 1) {
        return refuse(chain, BR_ERR_X509_BAD_SERVER_NAME,
                      "the first certificate that came is an authority's: the peer's own one must "
                      "come before it");
    }
    if (leaf->name_count == 0) {
        return refuse(chain, BR_ERR_X509_BAD_SERVER_NAME,
                      "the certificate is not for %s: it names nobody", wanted);
    }
    return refuse(chain, BR_ERR_X509_BAD_SERVER_NAME, "the certificate is not for %s%s%s%s", wanted,
                  leaf->first_name[0] ? " but for " : "", leaf->first_name,
                  leaf->name_count > 1 ? " and others" : "");
}

/* ---- what BearSSL does not look at */

static unsigned check_usage(struct tls_chain *chain)
{
    const struct cert_facts *leaf = &chain->leaf;
    const char *role = chain->of_server ? "server" : "client";
    if (chain->wrong_usage) {
        return refuse(chain, BR_ERR_X509_FORBIDDEN_KEY_USAGE,
                      "the certificate is not for a %s (wrong usage: extendedKeyUsage)", role);
    }
    if (leaf->has_key_usage && !leaf->may_sign) {
        return refuse(chain, BR_ERR_X509_FORBIDDEN_KEY_USAGE,
                      "the certificate's key is not for signatures (wrong usage: keyUsage)");
    }
    /* One that was made by hand for one server, and is believed itself, often says it is a CA. */
    bool by_hand = leaf->self_issued && chain->used == 1;
    if (leaf->is_ca && !by_hand) {
        return refuse(
            chain, BR_ERR_X509_FORBIDDEN_KEY_USAGE,
            "the certificate is an authority's own, not a %s's (wrong usage: basicConstraints)",
            role);
    }
    return 0;
}

/* BearSSL refuses an issuer's nameConstraints where they are critical, and passes over all others.
 * Of the names that the certificate has, the one that we want is what counts here. */
static unsigned check_constraints(struct tls_chain *chain)
{
    char wanted[CERT_NAME_BYTES];
    if (!chain->forbidden &&
        tls_anchors_permit(chain->trust, chain->minimal.saved_dn_hash, &chain->want)) {
        return 0;
    }
    wanted_text(&chain->want, wanted);
    return refuse(chain, BR_ERR_X509_BAD_SERVER_NAME,
                  "an authority of the certificate may not issue any for %s (nameConstraints)",
                  wanted);
}

static unsigned check_key(struct tls_chain *chain)
{
    /* BearSSL knows only three curves; its lengths were checked. */
    bool known = chain->leaf.key == CERT_KEY_RSA || chain->leaf.key == CERT_KEY_EC;
    return known ? 0 : refuse_unsupported(chain, &chain->leaf, "the certificate");
}

static unsigned check(struct tls_chain *chain)
{
    if (chain->malformed) {
        return refuse(chain, BR_ERR_X509_UNEXPECTED, "the certificate is malformed");
    }
    if (!tls_anchors_current(chain->trust, chain->minimal.saved_dn_hash, chain->now_seconds)) {
        return refuse(chain, BR_ERR_X509_EXPIRED,
                      "the authority's own certificate is out of its time (expired)");
    }
    unsigned error = check_key(chain);
    if (!error && !chain->leaf.named) {
        error = refuse_name(chain);
    }
    if (!error) {
        error = check_constraints(chain);
    }
    return error ? error : check_usage(chain);
}

/* ---- the class */

static void start_chain(const br_x509_class **context, const char *server_name)
{
    (void)server_name; /* chain->want has it */
    struct tls_chain *chain = chain_of(context);
    chain->minimal.vtable->start_chain(minimal_of(chain), NULL);
}

static void cert_begin(struct tls_chain *chain, uint32_t length)
{
    chain->relevant = chain->minimal.err == 0;
    chain->used += chain->relevant;
    cert_scan_begin(&chain->scan, &chain->want);
    chain->count++;
    chain->minimal.vtable->start_cert(minimal_of(chain), length);
}

static void cert_add(struct tls_chain *chain, const uint8_t *at, size_t bytes)
{
    if (chain->relevant) {
        cert_scan_add(&chain->scan, at, bytes);
    }
    chain->minimal.vtable->append(minimal_of(chain), at, bytes);
}

static void cert_end(struct tls_chain *chain)
{
    chain->minimal.vtable->end_cert(minimal_of(chain));
    if (!chain->relevant) {
        return;
    }
    const struct cert_facts *facts = cert_scan_end(&chain->scan);
    bool fits =
        !facts->has_extended_usage || (chain->of_server ? facts->for_servers : facts->for_clients);
    chain->wrong_usage |= !fits;
    chain->malformed |= !facts->whole;
    chain->forbidden |= chain->count > 1 && facts->forbids;
    if (chain->count == 1) {
        chain->leaf = *facts;
    }
    if (chain->minimal.err != 0 && chain->minimal.err != BR_ERR_X509_OK) {
        chain->culprit = *facts;
        chain->culprit_at = chain->count - 1;
        chain->has_culprit = true;
    }
}

/* BearSSL's judgement of these. */
static unsigned judge(struct tls_chain *chain, const struct slice *certificates, unsigned count)
{
    chain->minimal.vtable->start_chain(minimal_of(chain), NULL);
    chain->count = chain->used = 0;
    chain->wrong_usage = chain->malformed = chain->forbidden = chain->has_culprit = false;
    for (unsigned i = 0; i < count; i++) {
        cert_begin(chain, (uint32_t)certificates[i].bytes);
        cert_add(chain, certificates[i].at, certificates[i].bytes);
        cert_end(chain);
    }
    return chain->minimal.vtable->end_chain(minimal_of(chain));
}

static unsigned conclude(struct tls_chain *chain, unsigned error)
{
    return error ? refuse_by_number(chain, error) : check(chain);
}

static void start_cert(const br_x509_class **context, uint32_t length)
{
    struct tls_chain *chain = chain_of(context);
    tls_sent_next(&chain->sent);
    cert_begin(chain, length);
}

static void append(const br_x509_class **context, const unsigned char *at, size_t bytes)
{
    struct tls_chain *chain = chain_of(context);
    tls_sent_add(&chain->sent, at, bytes);
    cert_add(chain, at, bytes);
}

static void end_cert(const br_x509_class **context)
{
    cert_end(chain_of(context));
}

static unsigned end_chain(const br_x509_class **context)
{
    struct tls_chain *chain = chain_of(context);
    struct slice path[TLS_SENT_MAX];
    unsigned error = chain->minimal.vtable->end_chain(minimal_of(chain));
    unsigned count = error ? tls_sent_order(&chain->sent, chain->trust, path) : 0;
    return conclude(chain, count ? judge(chain, path, count) : error);
}

static const br_x509_pkey *get_pkey(const br_x509_class *const *context, unsigned *ret_usages)
{
    const struct tls_chain *chain = (const struct tls_chain *)(const void *)context;
    return chain->minimal.vtable->get_pkey(&chain->minimal.vtable, ret_usages);
}

static const br_x509_class chain_class = {
    .context_size = sizeof(struct tls_chain),
    .start_chain = start_chain,
    .start_cert = start_cert,
    .append = append,
    .end_cert = end_cert,
    .end_chain = end_chain,
    .get_pkey = get_pkey,
};

/* The signature checks are still to be set. */
static void chain_init(struct tls_chain *chain, const struct tls_trust *trust,
                       const struct cert_name *want, bool of_server, int64_t now_seconds, char *why)
{
    memset(chain, 0, sizeof *chain);
    chain->vtable = &chain_class;
    chain->trust = tls_trust_take(trust);
    chain->want = *want;
    chain->of_server = of_server;
    chain->now_seconds = now_seconds;
    chain->why = why;
    br_x509_minimal_context *minimal = &chain->minimal;
    br_x509_minimal_init(minimal, &sha256_class, chain->trust->anchors, chain->trust->count);
    br_x509_minimal_set_hash(minimal, br_sha256_ID, &sha256_class);
    br_x509_minimal_set_hash(minimal, br_sha384_ID, &br_sha384_vtable);
    br_x509_minimal_set_hash(minimal, br_sha512_ID, &br_sha512_vtable);
    br_x509_minimal_set_minrsa(minimal, TLS_RSA_BITS_MIN / 8);
    br_x509_minimal_set_time(minimal, (uint32_t)(now_seconds / SECONDS_A_DAY) + DAYS_0_TO_1970,
                             (uint32_t)(now_seconds % SECONDS_A_DAY));
}

void tls_chain_begin(struct tls_chain *chain, br_ssl_engine_context *engine,
                     const struct tls_trust *trust, const struct cert_name *want, bool of_server,
                     int64_t now_seconds, char *why)
{
    chain_init(chain, trust, want, of_server, now_seconds, why);
    br_x509_minimal_set_rsa(&chain->minimal, br_ssl_engine_get_rsavrfy(engine));
    br_x509_minimal_set_ecdsa(&chain->minimal, br_ssl_engine_get_ec(engine),
                              br_ssl_engine_get_ecdsa(engine));
    br_ssl_engine_set_x509(engine, &chain->vtable);
}

void tls_chain_end(struct tls_chain *chain)
{
    tls_anchors_give(chain->trust);
    chain->trust = NULL;
}

/* ---- outside of a handshake */

static unsigned check_for(struct tls_chain *chain, const struct slice *certificates, unsigned count)
{
    br_x509_minimal_set_rsa(&chain->minimal, br_rsa_pkcs1_vrfy_get_default());
    br_x509_minimal_set_ecdsa(&chain->minimal, br_ec_get_default(),
                              br_ecdsa_vrfy_asn1_get_default());
    return conclude(chain, judge(chain, certificates, count));
}

enum bk_err tls_trust_check(const struct tls_trust *trust, const struct slice *chain,
                            unsigned count, const char *names, int64_t now_seconds, char *ret_why)
{
    struct tls_chain check;
    struct cert_name want;
    char name[CERT_NAME_BYTES];
    unsigned error = BR_ERR_X509_BAD_SERVER_NAME;
    snprintf(ret_why, TLS_WHY_BYTES, "no name is given");
    for (size_t bytes; error == BR_ERR_X509_BAD_SERVER_NAME && *names != 0;
         names += bytes + (names[bytes] == ' ')) {
        bytes = strcspn(names, " ");
        snprintf(name, sizeof name, "%.*s", (int)bytes, names);
        if (cert_name_from(name, &want)) {
            chain_init(&check, trust, &want, true, now_seconds, ret_why);
            error = check_for(&check, chain, count);
            tls_chain_end(&check);
        }
    }
    return error == 0 ? BK_OK : error == BR_ERR_X509_NOT_TRUSTED ? BK_NOT_FOUND : BK_INVALID;
}
