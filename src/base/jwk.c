#include "base/jwk.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/json.h"

#include <stdlib.h>
#include <yyjson.h>

static const struct {
    const char *name;
    enum signature_algorithm algorithm;
} algorithms[] = {
    {"RS256", SIGNATURE_RSA_SHA256}, {"RS384", SIGNATURE_RSA_SHA384},
    {"RS512", SIGNATURE_RSA_SHA512}, {"PS256", SIGNATURE_PSS_SHA256},
    {"PS384", SIGNATURE_PSS_SHA384}, {"PS512", SIGNATURE_PSS_SHA512},
    {"ES256", SIGNATURE_P256_RAW},   {"ES384", SIGNATURE_P384_RAW},
    {"ES512", SIGNATURE_P521_RAW},   {"EdDSA", SIGNATURE_ED25519},
    {"Ed25519", SIGNATURE_ED25519},
};

bool jwk_algorithm(struct slice name, enum signature_algorithm *ret_algorithm)
{
    bk_assert(ret_algorithm != NULL);
    for (size_t i = 0; i < bk_array_length(algorithms); i++) {
        if (slice_equal(name, slice_str(algorithms[i].name))) {
            *ret_algorithm = algorithms[i].algorithm;
            return true;
        }
    }
    return false;
}

static struct slice text_of(yyjson_val *object, const char *name)
{
    return json_read_text(yyjson_obj_get(object, name));
}

/* A base64url member's bytes, at most `room` of them. */
static bool bytes_of(yyjson_val *object, const char *name, uint8_t *out, size_t room,
                     struct slice *ret_bytes)
{
    size_t bytes;
    struct slice text = text_of(object, name);
    if (text.bytes == 0 || !base64_decode(text, BASE64_URL, out, room, &bytes)) {
        return false;
    }
    *ret_bytes = slice_of(out, bytes);
    return true;
}

static bool rsa_parse(yyjson_val *object, struct jwk *jwk)
{
    uint8_t modulus_at[PUBLIC_KEY_RSA_BYTES_MAX + 8], exponent_at[16];
    struct slice modulus, exponent;
    return bytes_of(object, "n", modulus_at, sizeof modulus_at, &modulus) &&
           bytes_of(object, "e", exponent_at, sizeof exponent_at, &exponent) &&
           public_key_rsa(modulus, exponent, &jwk->key);
}

static bool ec_parse(yyjson_val *object, struct jwk *jwk)
{
    uint8_t x_at[66], y_at[66];
    struct slice x, y, name = text_of(object, "crv");
    enum public_key_kind kind = slice_equal(name, SLICE("P-256"))   ? PUBLIC_KEY_P256
                                : slice_equal(name, SLICE("P-384")) ? PUBLIC_KEY_P384
                                : slice_equal(name, SLICE("P-521")) ? PUBLIC_KEY_P521
                                                                    : PUBLIC_KEY_NONE;
    return bytes_of(object, "x", x_at, sizeof x_at, &x) &&
           bytes_of(object, "y", y_at, sizeof y_at, &y) && public_key_ec(kind, x, y, &jwk->key);
}

static bool okp_parse(yyjson_val *object, struct jwk *jwk)
{
    uint8_t x_at[32];
    struct slice x;
    return slice_equal(text_of(object, "crv"), SLICE("Ed25519")) &&
           bytes_of(object, "x", x_at, sizeof x_at, &x) && public_key_ed25519(x, &jwk->key);
}

/* key_ops, where it is there, must have "verify". */
static bool may_verify(yyjson_val *object)
{
    yyjson_val *use = yyjson_obj_get(object, "use"), *ops = yyjson_obj_get(object, "key_ops");
    if (use != NULL && !yyjson_equals_str(use, "sig")) {
        return false;
    }
    size_t index, max;
    yyjson_val *op;
    bool found = ops == NULL;
    yyjson_arr_foreach(ops, index, max, op)
    {
        found |= yyjson_equals_str(op, "verify");
    }
    return found;
}

static bool from_object(yyjson_val *object, struct jwk *jwk)
{
    struct slice kty = text_of(object, "kty"), kid = text_of(object, "kid");
    memset(jwk, 0, sizeof *jwk);
    /* A key that brings its private part was published by mistake, or is not a key to trust. */
    if (!yyjson_is_obj(object) || !may_verify(object) || kid.bytes > JWK_KID_BYTES_MAX ||
        yyjson_obj_get(object, "d") != NULL) {
        return false;
    }
    bool good = slice_equal(kty, SLICE("RSA"))   ? rsa_parse(object, jwk)
                : slice_equal(kty, SLICE("EC"))  ? ec_parse(object, jwk)
                : slice_equal(kty, SLICE("OKP")) ? okp_parse(object, jwk)
                                                 : false;
    enum signature_algorithm said;
    struct slice alg = text_of(object, "alg");
    if (!good ||
        (alg.bytes != 0 && (!jwk_algorithm(alg, &said) ||
                            signature_key_kind(said) != (enum public_key_kind)jwk->key.kind))) {
        return false;
    }
    jwk->any_algorithm = alg.bytes == 0;
    jwk->algorithm = alg.bytes != 0 ? said : SIGNATURE_ED25519;
    jwk->kid_bytes = (uint8_t)kid.bytes;
    if (kid.bytes != 0) {
        memcpy(jwk->kid, kid.at, kid.bytes);
    }
    return true;
}

bool jwk_parse(struct slice text, struct jwk *ret_jwk)
{
    bk_assert(ret_jwk != NULL);
    if (text.bytes > JWK_TEXT_BYTES_MAX) {
        return false;
    }
    yyjson_doc *doc = yyjson_read((const char *)text.at, text.bytes, 0);
    bool good = doc != NULL && from_object(yyjson_doc_get_root(doc), ret_jwk);
    yyjson_doc_free(doc);
    return good;
}

enum bk_err jwk_set_parse(struct slice text, struct jwk_set **ret_set)
{
    bk_assert(ret_set != NULL);
    if (text.bytes > JWK_TEXT_BYTES_MAX) {
        return BK_INVALID;
    }
    yyjson_doc *doc = yyjson_read((const char *)text.at, text.bytes, 0);
    yyjson_val *keys = yyjson_obj_get(yyjson_doc_get_root(doc), "keys"), *key;
    size_t count = 0, index, max;
    struct jwk jwk;
    yyjson_arr_foreach(keys, index, max, key)
    {
        count += from_object(key, &jwk);
    }
    struct jwk_set *set = malloc(sizeof *set + count * sizeof set->keys[0]);
    if (set == NULL) {
        yyjson_doc_free(doc);
        return BK_NO_MEMORY;
    }
    set->count = 0;
    yyjson_arr_foreach(keys, index, max, key)
    {
        if (set->count < count) { /* all that can be used */
            set->count += from_object(key, &set->keys[set->count]);
        }
    }
    yyjson_doc_free(doc);
    if (set->count == 0) {
        free(set);
        return BK_INVALID;
    }
    *ret_set = set;
    return BK_OK;
}

const struct jwk *jwk_set_find(const struct jwk_set *set, struct slice kid,
                               enum signature_algorithm algorithm)
{
    bk_assert(set != NULL);
    const struct jwk *found = NULL;
    for (unsigned i = 0; i < set->count; i++) {
        const struct jwk *jwk = &set->keys[i];
        bool named = slice_equal(slice_of(jwk->kid, jwk->kid_bytes), kid);
        bool fits = jwk->any_algorithm
                        ? signature_key_kind(algorithm) == (enum public_key_kind)jwk->key.kind
                        : jwk->algorithm == algorithm;
        if (!fits || (kid.bytes != 0 && !named)) {
            continue;
        }
        if (found != NULL) {
            return NULL;
        }
        found = jwk;
    }
    return found;
}
