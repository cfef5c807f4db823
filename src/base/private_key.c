#include "base/private_key.h"

#include "base/ct.h"
#include "base/der.h"
#include "base/pem.h"
#include "base/sha256.h"

#include <bearssl.h>
#include <sodium.h>

#define KEY_DER_BYTES_MAX 4096U

/* id-Ed25519, 1.3.101.112 */
static const uint8_t ed25519_oid[] = {0x2b, 0x65, 0x70};

/* OneAsymmetricKey with an Ed25519 seed. */
static bool decode_ed25519(struct slice der, struct private_key *key)
{
    struct slice outer, version, algorithm, oid, wrapped, seed;
    if (!der_take(&der, DER_SEQUENCE, &outer) || !der_take(&outer, DER_INTEGER, &version) ||
        !der_take(&outer, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, DER_OID, &oid) ||
        !slice_equal(oid, slice_of(ed25519_oid, sizeof ed25519_oid)) ||
        !der_take(&outer, DER_OCTET_STRING, &wrapped) ||
        !der_take(&wrapped, DER_OCTET_STRING, &seed) || seed.bytes != sizeof key->at.seed) {
        return false;
    }
    key->kind = PUBLIC_KEY_ED25519;
    memcpy(key->at.seed, seed.at, seed.bytes);
    return true;
}

static const char *decode_other(struct slice der, struct private_key *key)
{
    br_skey_decoder_context *decoder = &key->at.decoder;
    br_skey_decoder_init(decoder);
    br_skey_decoder_push(decoder, der.at, der.bytes);
    if (br_skey_decoder_last_error(decoder) != 0) {
        return "the private key cannot be read";
    }
    if (br_skey_decoder_key_type(decoder) == BR_KEYTYPE_RSA) {
        uint32_t bits = br_skey_decoder_get_rsa(decoder)->n_bitlen;
        key->kind = PUBLIC_KEY_RSA;
        return bits < 2048   ? "the RSA key has less than 2048 bits"
               : bits > 4096 ? "the RSA key has more than 4096 bits"
                             : NULL;
    }
    if (br_skey_decoder_get_ec(decoder)->curve != BR_EC_secp256r1) {
        return "of elliptic curves only P-256 and Ed25519 are taken";
    }
    key->kind = PUBLIC_KEY_P256;
    return NULL;
}

static bool ends_with(struct slice text, struct slice end)
{
    return text.bytes >= end.bytes &&
           memcmp(text.at + text.bytes - end.bytes, end.at, end.bytes) == 0;
}

const char *private_key_parse(struct slice pem, struct private_key *ret_key)
{
    uint8_t der[KEY_DER_BYTES_MAX];
    struct slice label;
    size_t bytes;
    const char *why =
        "there is no private key in it (PEM is wanted: -----BEGIN … PRIVATE KEY-----)";
    memset(ret_key, 0, sizeof *ret_key);
    while (pem_next(&pem, &label, der, sizeof der, &bytes)) {
        if (slice_equal(label, SLICE("ENCRYPTED PRIVATE KEY"))) {
            why = "the key is encrypted; decrypt it first (openssl pkey -in OLD -out NEW)";
            break;
        }
        if (ends_with(label, SLICE("PRIVATE KEY"))) {
            struct slice whole = slice_of(der, bytes);
            why = decode_ed25519(whole, ret_key) ? NULL : decode_other(whole, ret_key);
            break;
        }
    }
    bk_wipe(der, sizeof der);
    if (why) {
        private_key_wipe(ret_key);
    }
    return why;
}

void private_key_wipe(struct private_key *key)
{
    bk_wipe(key, sizeof *key);
}

/* ---- signing */

static size_t sign_rsa(const struct private_key *key, const br_hash_class *hash,
                       const unsigned char *oid, struct slice text, uint8_t *ret_signature)
{
    const br_rsa_private_key *rsa = br_skey_decoder_get_rsa(&key->at.decoder);
    br_hash_compat_context context;
    uint8_t digest[64];
    hash->init(&context.vtable);
    hash->update(&context.vtable, text.at, text.bytes);
    hash->out(&context.vtable, digest);
    size_t digest_bytes = (hash->desc >> BR_HASHDESC_OUT_OFF) & BR_HASHDESC_OUT_MASK;
    return br_rsa_pkcs1_sign_get_default()(oid, digest, digest_bytes, rsa, ret_signature) == 1
               ? (rsa->n_bitlen + 7) / 8
               : 0;
}

static size_t sign_p256(const struct private_key *key, bool raw, struct slice text,
                        uint8_t *ret_signature)
{
    const br_ec_private_key *ec = br_skey_decoder_get_ec(&key->at.decoder);
    uint8_t digest[SHA256_BYTES];
    br_ecdsa_sign sign = raw ? br_ecdsa_sign_raw_get_default() : br_ecdsa_sign_asn1_get_default();
    sha256(text, digest);
    return sign(br_ec_get_default(), &br_sha256_vtable, digest, ec, ret_signature);
}

static size_t sign_ed25519(const struct private_key *key, struct slice text, uint8_t *ret_signature)
{
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES], secret_key[crypto_sign_SECRETKEYBYTES];
    crypto_sign_seed_keypair(public_key, secret_key, key->at.seed);
    crypto_sign_detached(ret_signature, NULL, text.at, text.bytes, secret_key);
    bk_wipe(secret_key, sizeof secret_key);
    return crypto_sign_BYTES;
}

size_t private_key_sign(const struct private_key *key, enum signature_algorithm algorithm,
                        struct slice text, uint8_t ret_signature[SIGNATURE_BYTES_MAX])
{
    if (key->kind != signature_key_kind(algorithm)) {
        return 0;
    }
    switch (algorithm) {
    case SIGNATURE_RSA_SHA1:
        return sign_rsa(key, &br_sha1_vtable, BR_HASH_OID_SHA1, text, ret_signature);
    case SIGNATURE_RSA_SHA256:
        return sign_rsa(key, &br_sha256_vtable, BR_HASH_OID_SHA256, text, ret_signature);
    case SIGNATURE_RSA_SHA384:
        return sign_rsa(key, &br_sha384_vtable, BR_HASH_OID_SHA384, text, ret_signature);
    case SIGNATURE_RSA_SHA512:
        return sign_rsa(key, &br_sha512_vtable, BR_HASH_OID_SHA512, text, ret_signature);
    case SIGNATURE_P256_DER:
        return sign_p256(key, false, text, ret_signature);
    case SIGNATURE_P256_RAW:
        return sign_p256(key, true, text, ret_signature);
    case SIGNATURE_ED25519:
        return sign_ed25519(key, text, ret_signature);
    case SIGNATURE_PSS_SHA256:
    case SIGNATURE_PSS_SHA384:
    case SIGNATURE_PSS_SHA512:
    case SIGNATURE_P384_RAW:
    case SIGNATURE_P521_RAW:
        break; /* of others only */
    }
    return 0;
}

/* ---- the public half */

/* By hand: br_rsa_compute_modulus() has no room for the product of two primes of 2,048 bits. */
size_t private_key_modulus(const br_rsa_private_key *rsa,
                           uint8_t ret_modulus[PUBLIC_KEY_RSA_BYTES_MAX])
{
    uint8_t product[PUBLIC_KEY_RSA_BYTES_MAX] = {0};
    struct slice p = public_key_number(slice_of(rsa->p, rsa->plen));
    struct slice q = public_key_number(slice_of(rsa->q, rsa->qlen));
    if (p.bytes + q.bytes > sizeof product) {
        return 0;
    }
    for (size_t i = p.bytes; i-- > 0;) {
        uint32_t carry = 0;
        for (size_t j = q.bytes; j-- > 0; carry >>= 8) {
            carry += product[i + j + 1] + (uint32_t)p.at[i] * q.at[j];
            product[i + j + 1] = (uint8_t)carry;
        }
        product[i] = (uint8_t)carry;
    }
    struct slice modulus = public_key_number(slice_of(product, p.bytes + q.bytes));
    memcpy(ret_modulus, modulus.at, modulus.bytes);
    return modulus.bytes;
}

/* The exponent is nearly always this one; what is made of it is tried, so another one does no harm.
 */
static bool public_rsa(const struct private_key *key, struct public_key *ret_public)
{
    static const uint8_t exponent[] = {1, 0, 1};
    const br_rsa_private_key *rsa = br_skey_decoder_get_rsa(&key->at.decoder);
    uint8_t modulus[PUBLIC_KEY_RSA_BYTES_MAX], signature[SIGNATURE_BYTES_MAX];
    struct slice text = SLICE("a text");
    size_t bytes = private_key_modulus(rsa, modulus);
    size_t count = private_key_sign(key, SIGNATURE_RSA_SHA256, text, signature);
    return public_key_rsa(slice_of(modulus, bytes), slice_of(exponent, sizeof exponent),
                          ret_public) &&
           public_key_verify(ret_public, SIGNATURE_RSA_SHA256, &text, 1,
                             slice_of(signature, count));
}

bool private_key_public(const struct private_key *key, struct public_key *ret_public)
{
    uint8_t point[BR_EC_KBUF_PUB_MAX_SIZE], secret_key[crypto_sign_SECRETKEYBYTES];
    switch (key->kind) {
    case PUBLIC_KEY_RSA:
        return public_rsa(key, ret_public);
    case PUBLIC_KEY_P256:
        return br_ec_compute_pub(br_ec_get_default(), NULL, point,
                                 br_skey_decoder_get_ec(&key->at.decoder)) ==
                   PUBLIC_KEY_P256_BYTES &&
               public_key_ec(PUBLIC_KEY_P256, slice_of(point + 1, 32), slice_of(point + 33, 32),
                             ret_public);
    case PUBLIC_KEY_ED25519:
        crypto_sign_seed_keypair(point, secret_key, key->at.seed);
        bk_wipe(secret_key, sizeof secret_key);
        return public_key_ed25519(slice_of(point, 32), ret_public);
    default:
        return false;
    }
}

void private_key_ed25519(const uint8_t seed[32], struct private_key *ret_key)
{
    memset(ret_key, 0, sizeof *ret_key);
    ret_key->kind = PUBLIC_KEY_ED25519;
    memcpy(ret_key->at.seed, seed, sizeof ret_key->at.seed);
}
