#include "base/x509.h"

#include "base/assert.h"
#include "base/der.h"
#include "base/pem.h"
#include "base/time.h"

#include <stdio.h>

#define DER_UTC_TIME         0x17U
#define DER_GENERALIZED_TIME 0x18U
#define DER_VERSION          0xa0U
#define DER_EXTENSIONS       0xa3U
#define DER_URI              0x86U

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

/* The body of a certificate, after its subject; its validity. */
static bool open_body(struct slice der, struct slice *ret_body, struct slice *ret_validity)
{
    struct slice certificate, body, part;
    if (!der_take(&der, DER_SEQUENCE, &certificate) || der.bytes != 0 ||
        !der_take(&certificate, DER_SEQUENCE, &body)) {
        return false;
    }
    if (body.bytes != 0 && body.at[0] == DER_VERSION && !der_take(&body, DER_VERSION, &part)) {
        return false;
    }
    if (!der_take(&body, DER_INTEGER, &part) ||         /* serial */
        !der_take(&body, DER_SEQUENCE, &part) ||        /* algorithm */
        !der_take(&body, DER_SEQUENCE, &part) ||        /* issuer */
        !der_take(&body, DER_SEQUENCE, ret_validity) || /* not before, not after */
        !der_take(&body, DER_SEQUENCE, &part)) {        /* subject */
        return false;
    }
    *ret_body = body;
    return true;
}

bool x509_parse(struct slice der, struct x509_certificate *ret_certificate)
{
    bk_assert(ret_certificate != NULL);
    struct slice body, part, validity, key;
    uint8_t tag;
    if (!open_body(der, &body, &validity)) {
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

/* ---- extensions */

/* id-pe-authorityInfoAccess and id-ad-caIssuers */
static const uint8_t oid_access[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01};
static const uint8_t oid_issuers[] = {0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02};

/* The value of the extension with this OID. */
static bool find_extension(struct slice body, struct slice oid, struct slice *ret_value)
{
    struct slice part, list, extension, name;
    uint8_t tag = 0;
    while (tag != DER_EXTENSIONS) {
        if (!der_take_any(&body, &tag, &part)) {
            return false;
        }
    }
    if (!der_take(&part, DER_SEQUENCE, &list)) {
        return false;
    }
    while (der_take(&list, DER_SEQUENCE, &extension) && der_take(&extension, DER_OID, &name)) {
        while (slice_equal(name, oid) && der_take_any(&extension, &tag, ret_value)) {
            if (tag == DER_OCTET_STRING) {
                return true;
            }
        }
    }
    return false;
}

bool x509_issuer_url(struct slice der, struct slice *ret_url)
{
    struct slice body, validity, value, list, access, method;
    if (!open_body(der, &body, &validity) ||
        !find_extension(body, slice_of(oid_access, sizeof oid_access), &value) ||
        !der_take(&value, DER_SEQUENCE, &list)) {
        return false;
    }
    while (der_take(&list, DER_SEQUENCE, &access) && der_take(&access, DER_OID, &method)) {
        if (slice_equal(method, slice_of(oid_issuers, sizeof oid_issuers)) &&
            der_take(&access, DER_URI, ret_url) &&
            (slice_starts(*ret_url, SLICE("http://")) ||
             slice_starts(*ret_url, SLICE("https://")))) {
            return true;
        }
    }
    return false;
}

/* ---- chains */

const char *x509_chain_read(struct slice pem, struct x509_chain *ret_chain)
{
    struct slice label;
    unsigned count = 0;
    while (count < X509_CHAIN_MAX &&
           pem_next(&pem, &label, ret_chain->der[count], X509_CERTIFICATE_BYTES_MAX,
                    &ret_chain->bytes[count])) {
        if (slice_equal(label, SLICE("CERTIFICATE"))) {
            count++;
        } else if (count == 0) {
            return "not a certificate";
        }
    }
    ret_chain->count = count;
    return count != 0 ? NULL : "not a certificate in PEM";
}

bool x509_chain_add(struct x509_chain *chain, struct slice text)
{
    struct slice label, body, validity;
    unsigned at = chain->count;
    if (at == X509_CHAIN_MAX) {
        return false;
    }
    if (pem_looks(text)) {
        if (!pem_next(&text, &label, chain->der[at], X509_CERTIFICATE_BYTES_MAX,
                      &chain->bytes[at]) ||
            !slice_equal(label, SLICE("CERTIFICATE"))) {
            return false;
        }
    } else if (text.bytes <= X509_CERTIFICATE_BYTES_MAX && open_body(text, &body, &validity)) {
        memcpy(chain->der[at], text.at, text.bytes);
        chain->bytes[at] = text.bytes;
    } else {
        return false;
    }
    chain->count++;
    return true;
}

struct slice x509_chain_at(const struct x509_chain *chain, unsigned index)
{
    bk_assert(index < chain->count);
    return slice_of(chain->der[index], chain->bytes[index]);
}

const char *x509_chain_leaf(const struct x509_chain *chain, int64_t now_seconds,
                            struct x509_certificate *ret_certificate)
{
    bk_assert(ret_certificate != NULL);
    if (!x509_parse(x509_chain_at(chain, 0), ret_certificate)) {
        return "the certificate is malformed, or its key is not RSA with 2048 to 4096 bits or "
               "ECDSA P-256";
    }
    if (now_seconds < ret_certificate->not_before_seconds) {
        return "the certificate is not valid yet";
    }
    if (now_seconds > ret_certificate->not_after_seconds) {
        return "the certificate has expired";
    }
    return NULL;
}
