/* x509.h - certificates as carriers of a public key.
 *
 * Purpose     Providers publish the keys they sign with as certificates. What is wanted of one: its
 *             key, when it is valid, and, where there are trust anchors, that a chain leads to one
 *             of them and that it is made out to the right name.
 * Threads     Pure; any. No allocation.
 * Limits      X509_CHAIN_MAX certificates, X509_CERTIFICATE_BYTES_MAX each.
 * Source      RFC 5280; BearSSL's minimal engine checks chains.
 */
#ifndef BECKET_BASE_X509_H
#define BECKET_BASE_X509_H

#include "base/public_key.h"

#include <bearssl.h>

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

/* Which names and anchors a certificate has to stand up to. */
struct x509_policy {
    const br_x509_trust_anchor *anchors; /* NULL: the chain is not checked */
    size_t anchor_count;
    const char *name; /* DNS name it must be made out to; NULL = any. Needs anchors. */
    int64_t now_seconds;
};

/* The first certificate of a PEM text, with the others as its chain. NULL, or what is wrong
 * (static). Validity of the first is always checked. */
const char *x509_pem(struct slice text, const struct x509_policy *policy,
                     struct x509_certificate *ret_certificate);

#endif
