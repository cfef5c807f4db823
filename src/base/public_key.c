#include "base/public_key.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/der.h"
#include "base/ed25519.h"
#include "base/jwk.h"
#include "base/pem.h"
#include "base/rsa_pss.h"
#include "base/sha256.h"
#include "base/x509.h"

#include <bearssl.h>

#define KEY_TEXT_BYTES_MAX 16384U /* a certificate with a chain fits */

static const uint8_t oid_rsa[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01};
static const uint8_t oid_ec[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};
static const uint8_t oid_p256[] = {0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t oid_p384[] = {0x2b, 0x81, 0x04, 0x00, 0x22};
static const uint8_t oid_p521[] = {0x2b, 0x81, 0x04, 0x00, 0x23};
static const uint8_t oid_ed25519[] = {0x2b, 0x65, 0x70};

#define SCALAR_BYTES_MAX 66U
#define POINT_BYTES_MAX  PUBLIC_KEY_P521_BYTES

static const struct curve {
    enum public_key_kind kind;
    int id; /* BearSSL's */
    size_t scalar_bytes;
    struct slice oid;
} curves[] = {
    {PUBLIC_KEY_P256, BR_EC_secp256r1, 32, {oid_p256, sizeof oid_p256}},
    {PUBLIC_KEY_P384, BR_EC_secp384r1, 48, {oid_p384, sizeof oid_p384}},
    {PUBLIC_KEY_P521, BR_EC_secp521r1, SCALAR_BYTES_MAX, {oid_p521, sizeof oid_p521}},
};

/* NULL = a key of this kind is on none. */
static const struct curve *curve_of(enum public_key_kind kind)
{
    for (size_t i = 0; i < bk_array_length(curves); i++) {
        if (curves[i].kind == kind) {
            return &curves[i];
        }
    }
    return NULL;
}

size_t public_key_bytes(enum public_key_kind kind)
{
    static const size_t bytes[] = {0,
                                   PUBLIC_KEY_RSA_BYTES_MAX,
                                   PUBLIC_KEY_P256_BYTES,
                                   PUBLIC_KEY_P384_BYTES,
                                   PUBLIC_KEY_P521_BYTES,
                                   ED25519_KEY_BYTES};
    bk_assert((unsigned)kind < bk_array_length(bytes));
    return offsetof(struct public_key, at) + bytes[kind];
}

/* ---- making keys */

struct slice public_key_number(struct slice number)
{
    while (number.bytes > 0 && number.at[0] == 0) {
        number = slice_skip(number, 1);
    }
    return number;
}

bool public_key_rsa(struct slice modulus, struct slice exponent, struct public_key *ret_key)
{
    bk_assert(ret_key != NULL);
    modulus = public_key_number(modulus);
    exponent = public_key_number(exponent);
    if (modulus.bytes < PUBLIC_KEY_RSA_BYTES_MIN || modulus.bytes > PUBLIC_KEY_RSA_BYTES_MAX ||
        !(modulus.at[modulus.bytes - 1] & 1) || exponent.bytes == 0 ||
        exponent.bytes > sizeof ret_key->exponent || !(exponent.at[exponent.bytes - 1] & 1) ||
        (exponent.bytes == 1 && exponent.at[0] < 3)) {
        return false;
    }
    ret_key->kind = PUBLIC_KEY_RSA;
    ret_key->bytes = (uint16_t)modulus.bytes;
    ret_key->exponent_bytes = (uint8_t)exponent.bytes;
    memset(ret_key->exponent, 0, sizeof ret_key->exponent);
    memcpy(ret_key->exponent, exponent.at, exponent.bytes);
    memcpy(ret_key->at, modulus.at, modulus.bytes);
    return true;
}

/* One times the point: BearSSL refuses what is not on the curve. */
static bool is_on_curve(const struct curve *curve, struct slice point)
{
    uint8_t copy[POINT_BYTES_MAX];
    static const uint8_t one[] = {1};
    memcpy(copy, point.at, point.bytes);
    return br_ec_get_default()->mul(copy, point.bytes, one, sizeof one, curve->id) == 1;
}

static bool ec_point(const struct curve *curve, struct slice point, struct public_key *ret_key)
{
    if (point.bytes != 1 + 2 * curve->scalar_bytes || point.at[0] != 4 ||
        !is_on_curve(curve, point)) {
        return false;
    }
    *ret_key = (struct public_key){.kind = (uint8_t)curve->kind, .bytes = (uint16_t)point.bytes};
    memcpy(ret_key->at, point.at, point.bytes);
    return true;
}

bool public_key_ec(enum public_key_kind kind, struct slice x, struct slice y,
                   struct public_key *ret_key)
{
    bk_assert(ret_key != NULL);
    const struct curve *curve = curve_of(kind);
    uint8_t point[POINT_BYTES_MAX] = {4};
    if (curve == NULL || x.bytes != curve->scalar_bytes || y.bytes != curve->scalar_bytes) {
        return false;
    }
    memcpy(point + 1, x.at, x.bytes);
    memcpy(point + 1 + x.bytes, y.at, y.bytes);
    return ec_point(curve, slice_of(point, 1 + 2 * x.bytes), ret_key);
}

bool public_key_ed25519(struct slice bytes, struct public_key *ret_key)
{
    bk_assert(ret_key != NULL);
    if (bytes.bytes != ED25519_KEY_BYTES) {
        return false;
    }
    *ret_key = (struct public_key){.kind = PUBLIC_KEY_ED25519, .bytes = ED25519_KEY_BYTES};
    memcpy(ret_key->at, bytes.at, bytes.bytes);
    return true;
}

/* ---- reading keys */

static bool pkcs1_parse(struct slice der, struct public_key *ret_key)
{
    struct slice inner, modulus, exponent;
    return der_take(&der, DER_SEQUENCE, &inner) && der.bytes == 0 &&
           der_take_unsigned(&inner, &modulus) && der_take_unsigned(&inner, &exponent) &&
           inner.bytes == 0 && public_key_rsa(modulus, exponent, ret_key);
}

bool public_key_spki(struct slice der, struct public_key *ret_key)
{
    bk_assert(ret_key != NULL);
    struct slice inner, algorithm, oid, parameters, key;
    if (!der_take(&der, DER_SEQUENCE, &inner) || der.bytes != 0 ||
        !der_take(&inner, DER_SEQUENCE, &algorithm) || !der_take_bits(&inner, &key) ||
        inner.bytes != 0 || !der_take(&algorithm, DER_OID, &oid)) {
        return false;
    }
    if (slice_equal(oid, slice_of(oid_rsa, sizeof oid_rsa))) {
        return der_take(&algorithm, DER_NULL, &parameters) && parameters.bytes == 0 &&
               algorithm.bytes == 0 && pkcs1_parse(key, ret_key);
    }
    if (slice_equal(oid, slice_of(oid_ec, sizeof oid_ec))) {
        if (!der_take(&algorithm, DER_OID, &parameters) || algorithm.bytes != 0) {
            return false;
        }
        for (size_t i = 0; i < bk_array_length(curves); i++) {
            if (slice_equal(parameters, curves[i].oid)) {
                return ec_point(&curves[i], key, ret_key);
            }
        }
        return false;
    }
    return slice_equal(oid, slice_of(oid_ed25519, sizeof oid_ed25519)) && algorithm.bytes == 0 &&
           public_key_ed25519(key, ret_key);
}

static const char wrong_key[] =
    "not a key that is taken: RSA with 2048 to 4096 bits, ECDSA P-256, P-384, P-521 or Ed25519";

static const char *pem_parse(struct slice text, struct public_key *ret_key)
{
    uint8_t der[KEY_TEXT_BYTES_MAX];
    struct slice label;
    size_t bytes;
    if (!pem_next(&text, &label, der, sizeof der, &bytes)) {
        return "the PEM text is damaged";
    }
    struct slice block = slice_of(der, bytes);
    if (slice_equal(label, SLICE("PUBLIC KEY"))) {
        return public_key_spki(block, ret_key) ? NULL : wrong_key;
    }
    if (slice_equal(label, SLICE("RSA PUBLIC KEY"))) {
        return pkcs1_parse(block, ret_key) ? NULL : wrong_key;
    }
    if (slice_equal(label, SLICE("CERTIFICATE"))) {
        return x509_public_key(block, ret_key) ? NULL : wrong_key;
    }
    return "a PEM text with a public key or a certificate is wanted";
}

const char *public_key_parse(struct slice text, struct public_key *ret_key)
{
    bk_assert(ret_key != NULL);
    uint8_t der[2 * PUBLIC_KEY_SPKI_BYTES_MAX];
    size_t bytes;
    while (text.bytes != 0 && (text.at[0] == ' ' || text.at[0] == '\n' || text.at[0] == '\r')) {
        text = slice_of(text.at + 1, text.bytes - 1);
    }
    while (text.bytes != 0 && (text.at[text.bytes - 1] == ' ' || text.at[text.bytes - 1] == '\n' ||
                               text.at[text.bytes - 1] == '\r')) {
        text.bytes--;
    }
    if (text.bytes > KEY_TEXT_BYTES_MAX) {
        return "the key is too long";
    }
    if (pem_looks(text)) {
        return pem_parse(text, ret_key);
    }
    if (text.bytes != 0 && text.at[0] == '{') {
        struct jwk jwk;
        if (!jwk_parse(text, &jwk)) {
            return wrong_key;
        }
        *ret_key = jwk.key;
        return NULL;
    }
    if (!base64_decode(text, BASE64_STANDARD, der, sizeof der, &bytes)) {
        return "a public key is PEM, a JWK, or base64 of a SubjectPublicKeyInfo";
    }
    return public_key_spki(slice_of(der, bytes), ret_key) ? NULL : wrong_key;
}

/* ---- writing */

static size_t put_header(uint8_t *out, uint8_t tag, size_t bytes)
{
    out[0] = tag;
    if (bytes < 0x80) {
        out[1] = (uint8_t)bytes;
        return 2;
    }
    if (bytes < 0x100) {
        out[1] = 0x81;
        out[2] = (uint8_t)bytes;
        return 3;
    }
    out[1] = 0x82;
    out[2] = (uint8_t)(bytes >> 8);
    out[3] = (uint8_t)bytes;
    return 4;
}

static size_t header_bytes(size_t bytes)
{
    return bytes < 0x80 ? 2 : bytes < 0x100 ? 3 : 4;
}

static size_t put_bytes(uint8_t *out, const void *at, size_t bytes)
{
    memcpy(out, at, bytes);
    return bytes;
}

static size_t put_unsigned(uint8_t *out, struct slice number)
{
    size_t pad = number.at[0] >= 0x80;
    size_t used = put_header(out, DER_INTEGER, number.bytes + pad);
    if (pad) {
        out[used++] = 0;
    }
    return used + put_bytes(out + used, number.at, number.bytes);
}

/* What the BIT STRING holds. */
static size_t put_key(const struct public_key *key, uint8_t *out)
{
    if (key->kind != PUBLIC_KEY_RSA) {
        return put_bytes(out, key->at, key->bytes);
    }
    uint8_t inner[PUBLIC_KEY_SPKI_BYTES_MAX];
    size_t bytes = put_unsigned(inner, slice_of(key->at, key->bytes));
    bytes += put_unsigned(inner + bytes, slice_of(key->exponent, key->exponent_bytes));
    size_t used = put_header(out, DER_SEQUENCE, bytes);
    return used + put_bytes(out + used, inner, bytes);
}

static size_t put_algorithm(const struct public_key *key, uint8_t *out)
{
    uint8_t inner[32];
    size_t bytes = 0;
    const struct curve *curve = curve_of((enum public_key_kind)key->kind);
    if (key->kind == PUBLIC_KEY_RSA) {
        bytes += put_header(inner, DER_OID, sizeof oid_rsa);
        bytes += put_bytes(inner + bytes, oid_rsa, sizeof oid_rsa);
        bytes += put_header(inner + bytes, DER_NULL, 0);
    } else if (curve != NULL) {
        bk_assert(curve->oid.bytes <= sizeof oid_p256); /* none is longer; gcc 14 warns without */
        bytes += put_header(inner, DER_OID, sizeof oid_ec);
        bytes += put_bytes(inner + bytes, oid_ec, sizeof oid_ec);
        bytes += put_header(inner + bytes, DER_OID, curve->oid.bytes);
        bytes += put_bytes(inner + bytes, curve->oid.at, curve->oid.bytes);
    } else {
        bytes += put_header(inner, DER_OID, sizeof oid_ed25519);
        bytes += put_bytes(inner + bytes, oid_ed25519, sizeof oid_ed25519);
    }
    size_t used = put_header(out, DER_SEQUENCE, bytes);
    return used + put_bytes(out + used, inner, bytes);
}

size_t public_key_write_spki(const struct public_key *key, uint8_t out[PUBLIC_KEY_SPKI_BYTES_MAX])
{
    bk_assert(key != NULL && key->kind != PUBLIC_KEY_NONE);
    uint8_t algorithm[40], bits[PUBLIC_KEY_SPKI_BYTES_MAX];
    size_t algorithm_bytes = put_algorithm(key, algorithm);
    bits[0] = 0; /* no unused bits */
    size_t bits_bytes = 1 + put_key(key, bits + 1);
    size_t inner = algorithm_bytes + header_bytes(bits_bytes) + bits_bytes;
    bk_assert(header_bytes(inner) + inner <= PUBLIC_KEY_SPKI_BYTES_MAX);
    size_t used = put_header(out, DER_SEQUENCE, inner);
    used += put_bytes(out + used, algorithm, algorithm_bytes);
    used += put_header(out + used, DER_BIT_STRING, bits_bytes);
    return used + put_bytes(out + used, bits, bits_bytes);
}

bool public_key_equal(const struct public_key *a, const struct public_key *b)
{
    return a->kind == b->kind && a->bytes == b->bytes && a->exponent_bytes == b->exponent_bytes &&
           memcmp(a->exponent, b->exponent, a->exponent_bytes) == 0 &&
           memcmp(a->at, b->at, a->bytes) == 0;
}

/* ---- verifying */

enum public_key_kind signature_key_kind(enum signature_algorithm algorithm)
{
    switch (algorithm) {
    case SIGNATURE_RSA_SHA1:
    case SIGNATURE_RSA_SHA256:
    case SIGNATURE_RSA_SHA384:
    case SIGNATURE_RSA_SHA512:
    case SIGNATURE_PSS_SHA256:
    case SIGNATURE_PSS_SHA384:
    case SIGNATURE_PSS_SHA512:
        return PUBLIC_KEY_RSA;
    case SIGNATURE_P256_DER:
    case SIGNATURE_P256_RAW:
        return PUBLIC_KEY_P256;
    case SIGNATURE_P384_RAW:
        return PUBLIC_KEY_P384;
    case SIGNATURE_P521_RAW:
        return PUBLIC_KEY_P521;
    case SIGNATURE_ED25519:
        return PUBLIC_KEY_ED25519;
    }
    bk_never("unknown algorithm");
}

/* How BearSSL wants a hash's object id: its length, then its bytes. */
struct digest_kind {
    const br_hash_class *hash;
    const uint8_t *oid;
    bool pss;
};

static struct digest_kind digest_kind_of(enum signature_algorithm algorithm)
{
    bool pss = algorithm == SIGNATURE_PSS_SHA256 || algorithm == SIGNATURE_PSS_SHA384 ||
               algorithm == SIGNATURE_PSS_SHA512;
    switch (algorithm) {
    case SIGNATURE_RSA_SHA1:
        return (struct digest_kind){&br_sha1_vtable, BR_HASH_OID_SHA1, pss};
    case SIGNATURE_RSA_SHA384:
    case SIGNATURE_PSS_SHA384:
    case SIGNATURE_P384_RAW:
        return (struct digest_kind){&br_sha384_vtable, BR_HASH_OID_SHA384, pss};
    case SIGNATURE_RSA_SHA512:
    case SIGNATURE_PSS_SHA512:
    case SIGNATURE_P521_RAW:
        return (struct digest_kind){&br_sha512_vtable, BR_HASH_OID_SHA512, pss};
    case SIGNATURE_RSA_SHA256:
    case SIGNATURE_PSS_SHA256:
    case SIGNATURE_P256_DER:
    case SIGNATURE_P256_RAW:
    case SIGNATURE_ED25519:
        break;
    }
    return (struct digest_kind){&sha256_class, BR_HASH_OID_SHA256, pss};
}

static bool rsa_verify(const struct public_key *key, const struct digest_kind *kind,
                       const uint8_t *digest, size_t digest_bytes, struct slice signature)
{
    uint8_t found[64], modulus[PUBLIC_KEY_RSA_BYTES_MAX], exponent[4];
    if (signature.bytes != key->bytes) {
        return false;
    }
    /* BearSSL's structure points to bytes that are not const. */
    memcpy(modulus, key->at, key->bytes);
    memcpy(exponent, key->exponent, sizeof exponent);
    br_rsa_public_key rsa = {modulus, key->bytes, exponent, key->exponent_bytes};
    if (kind->pss) {
        return rsa_pss_verify(&rsa, kind->hash, digest, signature);
    }
    return br_rsa_pkcs1_vrfy_get_default()(signature.at, signature.bytes, kind->oid, digest_bytes,
                                           &rsa, found) == 1 &&
           memcmp(found, digest, digest_bytes) == 0;
}

static bool put_scalar(struct slice number, uint8_t *out, size_t bytes)
{
    if (number.bytes > bytes) {
        return false;
    }
    memset(out, 0, bytes);
    memcpy(out + bytes - number.bytes, number.at, number.bytes);
    return true;
}

/* r and s out of DER; only the one right spelling. */
static bool der_signature(struct slice der, uint8_t *raw, size_t scalar_bytes)
{
    struct slice inner, r, s;
    return der_take(&der, DER_SEQUENCE, &inner) && der.bytes == 0 &&
           der_take_unsigned(&inner, &r) && der_take_unsigned(&inner, &s) && inner.bytes == 0 &&
           put_scalar(r, raw, scalar_bytes) && put_scalar(s, raw + scalar_bytes, scalar_bytes);
}

static bool is_zero(const uint8_t *scalar, size_t bytes)
{
    static const uint8_t zero[SCALAR_BYTES_MAX];
    return memcmp(scalar, zero, bytes) == 0;
}

static bool ec_verify(const struct public_key *key, bool der, const uint8_t *digest,
                      size_t digest_bytes, struct slice signature)
{
    const struct curve *curve = curve_of((enum public_key_kind)key->kind);
    uint8_t raw[2 * SCALAR_BYTES_MAX], point[POINT_BYTES_MAX];
    size_t half = curve->scalar_bytes;
    if (der ? !der_signature(signature, raw, half) : signature.bytes != 2 * half) {
        return false;
    }
    if (!der) {
        memcpy(raw, signature.at, signature.bytes);
    }
    if (is_zero(raw, half) || is_zero(raw + half, half)) {
        return false;
    }
    memcpy(point, key->at, key->bytes);
    br_ec_public_key ec = {curve->id, point, key->bytes};
    return br_ecdsa_vrfy_raw_get_default()(br_ec_get_default(), digest, digest_bytes, &ec, raw,
                                           2 * half) == 1;
}

void signature_digest_init(struct signature_digest *digest, enum signature_algorithm algorithm)
{
    bk_assert(digest != NULL && algorithm != SIGNATURE_ED25519);
    digest->algorithm = algorithm;
    digest_kind_of(algorithm).hash->init(&digest->hash.vtable);
}

void signature_digest_add(struct signature_digest *digest, struct slice part)
{
    if (part.bytes != 0) {
        digest->hash.vtable->update(&digest->hash.vtable, part.at, part.bytes);
    }
}

bool public_key_verify_digest(const struct public_key *key, const struct signature_digest *digest,
                              struct slice signature)
{
    bk_assert(key != NULL && digest != NULL);
    uint8_t bytes[64];
    if (key->kind != signature_key_kind(digest->algorithm)) {
        return false;
    }
    struct digest_kind kind = digest_kind_of(digest->algorithm);
    kind.hash->out(&digest->hash.vtable, bytes);
    size_t count = kind.hash->desc >> BR_HASHDESC_OUT_OFF & BR_HASHDESC_OUT_MASK;
    bool der = digest->algorithm == SIGNATURE_P256_DER;
    return key->kind == PUBLIC_KEY_RSA ? rsa_verify(key, &kind, bytes, count, signature)
                                       : ec_verify(key, der, bytes, count, signature);
}

bool public_key_verify(const struct public_key *key, enum signature_algorithm algorithm,
                       const struct slice *parts, unsigned part_count, struct slice signature)
{
    bk_assert(key != NULL && (part_count == 0 || parts != NULL));
    if (key->kind != signature_key_kind(algorithm)) {
        return false;
    }
    if (algorithm == SIGNATURE_ED25519) {
        return signature.bytes == ED25519_SIGNATURE_BYTES &&
               ed25519_verify(signature.at, key->at, parts, part_count);
    }
    struct signature_digest digest;
    signature_digest_init(&digest, algorithm);
    for (unsigned i = 0; i < part_count; i++) {
        signature_digest_add(&digest, parts[i]);
    }
    return public_key_verify_digest(key, &digest, signature);
}
