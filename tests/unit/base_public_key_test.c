/* Keys and signatures of others: tests/vectors/crypto/public_keys.json, flipped bits, certificates.
 */
#include "base/base64.h"
#include "base/buf.h"
#include "base/jwk.h"
#include "base/x509.h"
#include "tap.h"

#include <yyjson.h>

static struct slice member(yyjson_val *object, const char *name)
{
    yyjson_val *value = yyjson_obj_get(object, name);
    return slice_of(yyjson_get_str(value), yyjson_get_len(value));
}

static size_t bytes_of(struct slice text, uint8_t *out, size_t room)
{
    size_t bytes;
    if (!base64_decode(text, BASE64_STANDARD, out, room, &bytes)) {
        bail_out("bad base64 in the vectors");
    }
    return bytes;
}

static enum signature_algorithm algorithm_of(struct slice name)
{
    static const struct {
        const char *name;
        enum signature_algorithm algorithm;
    } names[] = {{"rsa-sha1", SIGNATURE_RSA_SHA1},     {"rsa-sha256", SIGNATURE_RSA_SHA256},
                 {"rsa-sha384", SIGNATURE_RSA_SHA384}, {"rsa-sha512", SIGNATURE_RSA_SHA512},
                 {"pss-sha256", SIGNATURE_PSS_SHA256}, {"pss-sha384", SIGNATURE_PSS_SHA384},
                 {"pss-sha512", SIGNATURE_PSS_SHA512}, {"p256-der", SIGNATURE_P256_DER},
                 {"p256-raw", SIGNATURE_P256_RAW},     {"p384-raw", SIGNATURE_P384_RAW},
                 {"p521-raw", SIGNATURE_P521_RAW},     {"ed25519", SIGNATURE_ED25519}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (slice_equal(name, slice_str(names[i].name))) {
            return names[i].algorithm;
        }
    }
    bail_out("no algorithm %s", (const char *)name.at);
    return SIGNATURE_ED25519;
}

static bool load_key(yyjson_val *root, const char *name, struct public_key *ret_key)
{
    yyjson_val *key = yyjson_obj_get(yyjson_obj_get(root, "keys"), name);
    return public_key_parse(member(key, "text"), ret_key) == NULL;
}

static void test_keys(yyjson_val *root)
{
    size_t i, n;
    yyjson_val *name, *key;
    yyjson_obj_foreach(yyjson_obj_get(root, "keys"), i, n, name, key)
    {
        struct public_key parsed, other;
        uint8_t der[PUBLIC_KEY_SPKI_BYTES_MAX];
        is_str(public_key_parse(member(key, "text"), &parsed), NULL, "%s", yyjson_get_str(name));
        struct slice same = member(key, "same");
        if (same.bytes != 0) {
            ok(load_key(root, (const char *)same.at, &other) && public_key_equal(&parsed, &other),
               "the same key");
        }
        size_t bytes = public_key_write_spki(&parsed, der);
        ok(public_key_spki(slice_of(der, bytes), &other) && public_key_equal(&parsed, &other),
           "written and read again");
        for (size_t cut = 0; cut < bytes; cut++) {
            if (public_key_spki(slice_of(der, cut), &other)) {
                ok(false, "cut after %zu bytes", cut);
            }
        }
    }
    yyjson_arr_foreach(yyjson_obj_get(root, "bad_keys"), i, n, key)
    {
        struct public_key parsed;
        ok(public_key_parse(member(key, "text"), &parsed) != NULL, "refused: %s",
           (const char *)member(key, "note").at);
    }
}

static void test_signatures(yyjson_val *root)
{
    uint8_t message[256], signature[1024];
    struct slice text =
        slice_of(message, bytes_of(member(root, "message_base64"), message, sizeof message));
    struct slice parts[3] = {slice_of(text.at, 5), SLICE_EMPTY,
                             slice_of(text.at + 5, text.bytes - 5)};
    size_t i, n;
    yyjson_val *from;
    yyjson_arr_foreach(yyjson_obj_get(root, "signatures"), i, n, from)
    {
        struct public_key key;
        enum signature_algorithm algorithm = algorithm_of(member(from, "algorithm"));
        size_t bytes = bytes_of(member(from, "signature_base64"), signature, sizeof signature);
        if (!load_key(root, (const char *)member(from, "key").at, &key)) {
            bail_out("no key");
        }
        bool want = slice_equal(member(from, "expect"), SLICE("accept"));
        struct slice given = slice_of(signature, bytes);
        ok(public_key_verify(&key, algorithm, &text, 1, given) == want, "%s %s: %s",
           (const char *)member(from, "key").at, (const char *)member(from, "algorithm").at,
           (const char *)member(from, "note").at);
        ok(public_key_verify(&key, algorithm, parts, 3, given) == want, "in pieces");
        unsigned passed = 0;
        /* The two curves without code of their own take long. */
        bool slow = algorithm == SIGNATURE_P384_RAW || algorithm == SIGNATURE_P521_RAW;
        const size_t rarer = (TAP_SANITIZED ? 5 : 1) * (slow ? 5 : 1);
        const size_t step = rarer * (bytes > 100 ? 37 : 5);
        for (size_t bit = 0; want && bit < 8 * bytes; bit += step) {
            signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
            passed += public_key_verify(&key, algorithm, &text, 1, given);
            signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (size_t bit = 0; want && bit < 8 * text.bytes; bit += rarer * 11) {
            message[bit / 8] ^= (uint8_t)(1 << bit % 8);
            passed += public_key_verify(&key, algorithm, &text, 1, given);
            message[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        if (want) {
            is_int(passed, 0, "no flipped bit passes");
        }
    }
}

static const char *read_leaf(struct slice pem, int64_t now, struct x509_certificate *ret_leaf)
{
    static struct x509_chain chain;
    const char *wrong = x509_chain_read(pem, &chain);
    return wrong ? wrong : x509_chain_leaf(&chain, now, ret_leaf);
}

/* Whom to trust is tested in tls_engine_test.c. */
static void test_certificates(yyjson_val *root)
{
    static struct x509_chain chain;
    yyjson_val *all = yyjson_obj_get(root, "certificates");
    int64_t now = yyjson_get_sint(yyjson_obj_get(root, "certificates_now"));
    struct x509_certificate certificate;
    struct public_key leaf;
    struct slice url;
    if (!load_key(root, "rsa", &leaf)) {
        bail_out("no key");
    }
    is_str(read_leaf(member(all, "leaf"), now, &certificate), NULL, "a leaf");
    ok(public_key_equal(&certificate.key, &leaf), "its key");
    is_int(certificate.not_before_seconds, now - 30 * 86400);
    is_int(certificate.not_after_seconds, now + 3650LL * 86400);
    is_str(read_leaf(member(all, "expired"), now, &certificate), "the certificate has expired");
    is_str(read_leaf(member(all, "future"), now, &certificate), "the certificate is not valid yet");
    is_str(read_leaf(SLICE("hello"), now, &certificate), "not a certificate in PEM");

    is_str(x509_chain_read(member(all, "leaf"), &chain), NULL);
    is_int(chain.count, 1);
    ok(x509_chain_add(&chain, member(all, "intermediate")) && chain.count == 2, "one more as PEM");
    struct slice der = x509_chain_at(&chain, 1);
    ok(x509_chain_add(&chain, der) && slice_equal(x509_chain_at(&chain, 2), der), "and as DER");
    ok(!x509_chain_add(&chain, slice_of(der.at, der.bytes - 1)), "half of one");
    ok(!x509_chain_add(&chain, SLICE("hello")) && chain.count == 3, "none");
    while (chain.count < X509_CHAIN_MAX && x509_chain_add(&chain, der)) {
    }
    ok(chain.count == X509_CHAIN_MAX && !x509_chain_add(&chain, der), "there is room for some");
    ok(!x509_issuer_url(der, &url), "this one does not say where its issuer's is");
    is_str(x509_chain_read(member(root, "certificate_with_issuer"), &chain), NULL);
    ok(x509_issuer_url(x509_chain_at(&chain, 0), &url), "this one does");
    ok(slice_equal(url, SLICE("http://ca.example/ca.cer")), "where");
    der = x509_chain_at(&chain, 0);
    for (size_t bytes = 0; bytes < der.bytes; bytes++) {
        if (x509_issuer_url(slice_of(der.at, bytes), &url)) {
            ok(false, "not from the first %zu bytes", bytes);
        }
    }
}

static void test_sets(void)
{
    static const char text[] =
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"eA\"},"
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\","
        "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},"
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"b\",\"use\":\"sig\",\"alg\":\"EdDSA\","
        "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";
    struct jwk_set *set = NULL;
    is_int(jwk_set_parse(slice_str(text), &set), BK_OK);
    is_int(set->count, 2, "the symmetric key is skipped");
    ok(jwk_set_find(set, SLICE("a"), SIGNATURE_ED25519) == &set->keys[0], "by id");
    ok(jwk_set_find(set, SLICE("a"), SIGNATURE_RSA_SHA256) == NULL, "another algorithm");
    ok(jwk_set_find(set, SLICE("c"), SIGNATURE_ED25519) == NULL, "unknown id");
    ok(jwk_set_find(set, SLICE_EMPTY, SIGNATURE_ED25519) == NULL, "no id and two keys");
    free(set);
    struct buf many;
    buf_init(&many, JWK_TEXT_BYTES_MAX);
    buf_add_str(&many, "{\"keys\":[");
    for (unsigned i = 0; i < 500; i++) {
        buf_printf(&many,
                   "%s{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k%u\","
                   "\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"},{\"kty\":\"oct\"}",
                   i > 0 ? "," : "", i);
    }
    buf_add_str(&many, "]}");
    is_int(jwk_set_parse(buf_slice(&many), &set), BK_OK);
    ok(set->count == 500 && jwk_set_find(set, SLICE("k499"), SIGNATURE_ED25519) != NULL,
       "a publisher of very many keys: all of them");
    free(set);
    buf_fini(&many);
    is_int(jwk_set_parse(SLICE("{\"keys\":[]}"), &set), BK_INVALID);
    /* What is no string has a length all the same, in yyjson's eyes. */
    static const char *const odd[] = {
        "{\"keys\":[{\"kty\":[0,0,0]}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":\"1L8r\",\"e\":[0]}]}",
        "{\"keys\":[{\"kty\":\"RSA\",\"n\":{\"a\":1},\"e\":\"AQAB\"}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":[1,2,3,4,5,6,7],\"x\":[1]}]}",
        "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":[1],\"y\":{}}]}",
        "{\"keys\":[{\"kty\":\"OKP\",\"kid\":[1,2],\"alg\":[1],\"crv\":\"Ed25519\"}]}"};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        is_int(jwk_set_parse(slice_str(odd[i]), &set), BK_INVALID, "%s", odd[i]);
    }
    is_int(jwk_set_parse(SLICE("[]"), &set), BK_INVALID);
    is_int(jwk_set_parse(SLICE("x"), &set), BK_INVALID);
    is_int(jwk_set_parse(SLICE_EMPTY, &set), BK_INVALID);
}

int main(void)
{
    const char *folder = getenv("VECTORS");
    char path[1024];
    yyjson_read_err err;
    snprintf(path, sizeof path, "%s/crypto/public_keys.json", folder ? folder : "tests/vectors");
    yyjson_doc *doc = yyjson_read_file(path, 0, NULL, &err);
    if (doc == NULL) {
        bail_out("%s: %s", path, err.msg);
    }
    test_keys(yyjson_doc_get_root(doc));
    test_signatures(yyjson_doc_get_root(doc));
    test_certificates(yyjson_doc_get_root(doc));
    test_sets();
    yyjson_doc_free(doc);
    return done_testing();
}
