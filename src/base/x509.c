#include "base/x509.h"

#include "base/assert.h"
#include "base/der.h"
#include "base/pem.h"
#include "base/time.h"

#include <stdio.h>

#define DER_UTC_TIME         0x17U
#define DER_GENERALIZED_TIME 0x18U
#define DER_VERSION          0xa0U
#define DAYS_TO_1970         719528U /* as BearSSL counts, from the year 0 */

/* YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ; RFC 5280 allows no other. */
static bool take_time(struct slice *rest, int64_t *ret_seconds)
{
    uint8_t tag;
    struct slice text;
    if (!der_take_any(rest, &tag, &text)) {
        return false;
    }
    char rfc3339[32], digits[16];
    bool two = tag == DER_UTC_TIME && text.bytes == 13;
    bool four = tag == DER_GENERALIZED_TIME && text.bytes == 15;
    if ((!two && !four) || text.at[text.bytes - 1] != 'Z') {
        return false;
    }
    for (size_t i = 0; i + 1 < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
    }
    const char *century = two ? (text.at[0] < '5' ? "20" : "19") : "";
    snprintf(digits, sizeof digits, "%s%.*s", century, (int)text.bytes - 1, (const char *)text.at);
    snprintf(rfc3339, sizeof rfc3339, "%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ", digits, digits + 4,
             digits + 6, digits + 8, digits + 10, digits + 12);
    int64_t ns;
    /* Nanoseconds end in 2262; a certificate "without an end" says 9999. */
    if (strncmp(digits, "2262", 4) >= 0) {
        *ret_seconds = INT64_MAX / NS_PER_SECOND;
        return true;
    }
    if (time_parse_rfc3339(slice_str(rfc3339), &ns) != BK_OK) {
        return false;
    }
    *ret_seconds = ns / NS_PER_SECOND;
    return true;
}

bool x509_parse(struct slice der, struct x509_certificate *ret_certificate)
{
    bk_assert(ret_certificate != NULL);
    struct slice certificate, body, part, validity, key;
    uint8_t tag;
    if (!der_take(&der, DER_SEQUENCE, &certificate) || der.bytes != 0 ||
        !der_take(&certificate, DER_SEQUENCE, &body)) {
        return false;
    }
    if (body.bytes != 0 && body.at[0] == DER_VERSION && !der_take(&body, DER_VERSION, &part)) {
        return false;
    }
    if (!der_take(&body, DER_INTEGER, &part) ||      /* serial */
        !der_take(&body, DER_SEQUENCE, &part) ||     /* algorithm */
        !der_take(&body, DER_SEQUENCE, &part) ||     /* issuer */
        !der_take(&body, DER_SEQUENCE, &validity) || /* not before, not after */
        !der_take(&body, DER_SEQUENCE, &part)) {     /* subject */
        return false;
    }
    const uint8_t *key_at = body.at;
    if (!der_take_any(&body, &tag, &part)) {
        return false;
    }
    key = slice_of(key_at, (size_t)(part.at + part.bytes - key_at));
    return take_time(&validity, &ret_certificate->not_before_seconds) &&
           take_time(&validity, &ret_certificate->not_after_seconds) && validity.bytes == 0 &&
           public_key_spki(key, &ret_certificate->key);
}

bool x509_public_key(struct slice der, struct public_key *ret_key)
{
    struct x509_certificate certificate;
    if (!x509_parse(der, &certificate)) {
        return false;
    }
    *ret_key = certificate.key;
    return true;
}

/* ---- chains */

struct chain {
    unsigned count;
    size_t bytes[X509_CHAIN_MAX];
    uint8_t der[X509_CHAIN_MAX][X509_CERTIFICATE_BYTES_MAX];
};

static const char *chain_read(struct slice text, struct chain *chain)
{
    struct slice label;
    chain->count = 0;
    while (chain->count < X509_CHAIN_MAX &&
           pem_next(&text, &label, chain->der[chain->count], X509_CERTIFICATE_BYTES_MAX,
                    &chain->bytes[chain->count])) {
        if (slice_equal(label, SLICE("CERTIFICATE"))) {
            chain->count++;
        } else if (chain->count == 0) {
            return "not a certificate";
        }
    }
    return chain->count != 0 ? NULL : "not a certificate in PEM";
}

static const char *chain_check(const struct chain *chain, const struct x509_policy *policy)
{
    br_x509_minimal_context context;
    br_x509_minimal_init_full(&context, policy->anchors, policy->anchor_count);
    int64_t days = policy->now_seconds / 86400, seconds = policy->now_seconds % 86400;
    br_x509_minimal_set_time(&context, (uint32_t)(days + DAYS_TO_1970), (uint32_t)seconds);
    const br_x509_class **x509 = &context.vtable;
    (*x509)->start_chain(x509, policy->name);
    for (unsigned i = 0; i < chain->count; i++) {
        (*x509)->start_cert(x509, (uint32_t)chain->bytes[i]);
        (*x509)->append(x509, chain->der[i], chain->bytes[i]);
        (*x509)->end_cert(x509);
    }
    switch ((*x509)->end_chain(x509)) {
    case 0:
        return NULL;
    case BR_ERR_X509_EXPIRED:
        return "a certificate of the chain has expired or is not valid yet";
    case BR_ERR_X509_BAD_SERVER_NAME:
        return "the certificate is made out to another name";
    case BR_ERR_X509_NOT_TRUSTED:
        return "no trusted authority signed the certificate";
    default:
        return "the certificate's chain does not hold";
    }
}

const char *x509_pem(struct slice text, const struct x509_policy *policy,
                     struct x509_certificate *ret_certificate)
{
    bk_assert(policy != NULL && ret_certificate != NULL);
    struct chain chain;
    const char *wrong = chain_read(text, &chain);
    if (wrong != NULL) {
        return wrong;
    }
    if (!x509_parse(slice_of(chain.der[0], chain.bytes[0]), ret_certificate)) {
        return "the certificate is malformed, or its key is not RSA with 2048 to 4096 bits or "
               "ECDSA P-256";
    }
    if (policy->now_seconds < ret_certificate->not_before_seconds) {
        return "the certificate is not valid yet";
    }
    if (policy->now_seconds > ret_certificate->not_after_seconds) {
        return "the certificate has expired";
    }
    return policy->anchors != NULL ? chain_check(&chain, policy) : NULL;
}
