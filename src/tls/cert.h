/* cert.h - what a certificate says of itself, read while it streams by.
 *
 * Purpose     BearSSL checks signatures and dates of a chain, but looks neither at the extended key
 *             usage nor at addresses, and its errors are numbers. This reads the same bytes beside
 *             it and keeps the few facts that are needed to refuse, and to say why.
 * Ownership   Plain structs of the caller; `want` must stay while the scan runs.
 * Threads     Pure; any.
 * Limits      Nesting, and bytes kept of one value, are constants. Nothing is allocated.
 * Trust       None: facts count only after BearSSL has verified the chain.
 * Source      RFC 5280 4.1 and 4.2, RFC 6125 6.4, ITU-T X.690 (DER).
 */
#ifndef BECKET_TLS_CERT_H
#define BECKET_TLS_CERT_H

#include "base/slice.h"

#include <bearssl_hash.h>

#define CERT_DEPTH_MAX  12U
#define CERT_KEEP_BYTES 256U
#define CERT_NAME_BYTES 254U
#define CERT_HASH_BYTES 32U

/* Whom a certificate must name. */
struct cert_name {
    bool any;     /* nobody in particular */
    bool address; /* 4 or 16 bytes of an address, else a DNS name in lower case */
    uint8_t bytes;
    uint8_t at[CERT_NAME_BYTES];
};

/* From a host name (a final dot is dropped) or an address literal without brackets. False when it
 * is neither. */
bool cert_name_from(const char *text, struct cert_name *ret_name);

/* RFC 5280 4.2.1.10: is it within this subtree, a DNS name or an address and its mask? */
bool cert_name_within(const struct cert_name *name, struct slice subtree);

enum cert_key { CERT_KEY_OTHER, CERT_KEY_RSA, CERT_KEY_EC, CERT_KEY_EC_OTHER };

struct cert_facts {
    bool whole;               /* read to the end, and well-formed as far as we looked */
    bool self_issued;         /* issuer and subject are the same */
    bool has_basic, is_ca;    /* basicConstraints */
    bool has_key_usage;       /* keyUsage, and its bits that matter */
    bool may_sign, may_issue; /* digitalSignature, keyCertSign */
    bool has_extended_usage;  /* extendedKeyUsage */
    bool for_servers, for_clients;
    bool named;       /* it names whom we want */
    bool constrained; /* nameConstraints */
    bool forbids;     /* an issuer: its nameConstraints exclude whom we want */
    bool weak_hash;   /* signed with MD2, MD5 or SHA-1 */
    enum cert_key key;
    uint32_t rsa_bits;
    uint32_t name_count;           /* DNS names and addresses */
    int64_t not_before, not_after; /* seconds since 1970 */
    const char *hash;              /* "MD5", "SHA-1" when weak */
    char first_name[64];           /* one of its DNS names, for the words; printable */
    uint8_t issuer[CERT_HASH_BYTES], subject[CERT_HASH_BYTES]; /* their names' hashes */
};

struct cert_scan {
    struct cert_facts facts;
    const struct cert_name *want; /* NULL = do not look */
    uint32_t left[CERT_DEPTH_MAX];
    uint8_t node[CERT_DEPTH_MAX];
    uint8_t child[CERT_DEPTH_MAX];
    uint8_t depth;
    uint8_t tag;
    uint8_t header_bytes; /* of the element that begins; 0 = none yet */
    uint8_t length_bytes; /* still to come of its length */
    uint8_t value;        /* node of the value that is read, 0 = none */
    uint8_t extension;
    uint8_t seen;                    /* bits: extensions that came */
    bool permits_some, permits_ours; /* nameConstraints, for the kind of name we want */
    bool bad, done;
    uint32_t length;
    uint32_t value_left;
    uint32_t kept; /* bytes of the value in `keep` */
    uint8_t keep[CERT_KEEP_BYTES];
    br_sha256_context hash;
};

void cert_scan_begin(struct cert_scan *scan, const struct cert_name *want);
void cert_scan_add(struct cert_scan *scan, const uint8_t *at, size_t bytes);
/* The facts; `whole` is false when the certificate was cut or malformed. */
const struct cert_facts *cert_scan_end(struct cert_scan *scan);
/* NULL, or what is wrong with it whatever it is for: malformed, or its key. */
const char *cert_unusable(const struct cert_facts *facts);
/* In one call. */
void cert_scan_all(struct slice der, const struct cert_name *want, struct cert_facts *ret_facts);

#endif
