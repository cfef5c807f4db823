/* x509.h - certificates as carriers of a public key.
 *
 * Purpose     Providers publish the keys they sign with as certificates. What is wanted of one: its
 *             key, when it is valid, and where its issuer's certificate is, for publishers that do
 *             not send it along. Whom to trust is asked of tls/tls.h (tls_trust_check).
 * Threads     Pure; any. No allocation.
 * Limits      X509_CHAIN_MAX certificates, X509_CERTIFICATE_BYTES_MAX each.
 * Source      RFC 5280.
 */
#ifndef BECKET_BASE_X509_H
#define BECKET_BASE_X509_H

#include "base/public_key.h"

#define X509_CHAIN_MAX             6U
#define X509_CERTIFICATE_BYTES_MAX 8192U

struct x509_certificate {
    struct public_key key;
    int64_t not_before_seconds; /* since 1970 UTC */
    int64_t not_after_seconds;
};

/* From the bytes of a certificate. False: not one, or its key is not taken. Nothing is checked but
 * the form. */
bool x509_parse(struct slice der, struct x509_certificate *ret_certificate);
bool x509_public_key(struct slice der, struct public_key *ret_key);

/* The leaf first, then whatever came with it. */
struct x509_chain {
    unsigned count;
    size_t bytes[X509_CHAIN_MAX];
    uint8_t der[X509_CHAIN_MAX][X509_CERTIFICATE_BYTES_MAX];
};

/* The certificates of a PEM text, as many as there is room for. NULL, or what is wrong (static). */
const char *x509_chain_read(struct slice pem, struct x509_chain *ret_chain);
/* One more at its end, as DER or PEM. False: it is none, or there is no room. */
bool x509_chain_add(struct x509_chain *chain, struct slice text);
struct slice x509_chain_at(const struct x509_chain *chain, unsigned index);
/* The leaf's key and dates, which must hold now. NULL, or what is wrong (static). */
const char *x509_chain_leaf(const struct x509_chain *chain, int64_t now_seconds,
                            struct x509_certificate *ret_certificate);
/* Where the issuer's certificate is said to be (authorityInfoAccess, caIssuers): the first http or
 * https URL, a slice of `der`. */
bool x509_issuer_url(struct slice der, struct slice *ret_url);

#endif
