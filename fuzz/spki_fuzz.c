/* spki_fuzz - keys of others in any form: PEM, SubjectPublicKeyInfo, JWK, JWK set, certificate.
 *
 * Properties: what is taken can be written and read again as the same key; a signature of junk
 * never verifies; every prefix of a DER key is refused. The first byte picks the reader. */
#include "base/assert.h"
#include "base/jwk.h"
#include "base/pem.h"
#include "base/x509.h"

#include <stdlib.h>

static void check_key(const struct public_key *key, struct slice junk)
{
    uint8_t der[PUBLIC_KEY_SPKI_BYTES_MAX];
    struct public_key again;
    size_t bytes = public_key_write_spki(key, der);
    bk_assert(public_key_spki(slice_of(der, bytes), &again) && public_key_equal(key, &again));
    for (unsigned a = SIGNATURE_RSA_SHA1; a <= SIGNATURE_ED25519; a++) {
        struct slice part = SLICE("text");
        if (junk.bytes <= SIGNATURE_BYTES_MAX) {
            bk_assert(!public_key_verify(key, (enum signature_algorithm)a, &part, 1, junk));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct public_key key;
    struct x509_certificate certificate;
    static struct x509_chain chain;
    struct slice url;
    struct jwk_set *set = NULL;
    if (size < 1) {
        return 0;
    }
    struct slice text = slice_of(data + 1, size - 1);
    switch (data[0] % 5) {
    case 0:
        if (public_key_parse(text, &key) == NULL) {
            check_key(&key, text);
        }
        break;
    case 1:
        if (public_key_spki(text, &key)) {
            check_key(&key, text);
            bk_assert(!public_key_spki(slice_of(text.at, text.bytes - 1), &key));
        }
        break;
    case 2:
        if (x509_parse(text, &certificate)) {
            check_key(&certificate.key, text);
        }
        if (x509_issuer_url(text, &url)) {
            bk_assert(url.at >= text.at && url.at + url.bytes <= text.at + text.bytes);
            bk_assert(slice_starts(url, SLICE("http")));
        }
        break;
    case 3:
        if (jwk_set_parse(text, &set) == BK_OK) {
            for (unsigned i = 0; i < set->count; i++) {
                check_key(&set->keys[i].key, text);
            }
            free(set);
        }
        break;
    default:
        if (x509_chain_read(text, &chain) == NULL &&
            x509_chain_leaf(&chain, 1767225600, &certificate) == NULL) {
            check_key(&certificate.key, text);
            bk_assert(chain.count == X509_CHAIN_MAX ||
                      x509_chain_add(&chain, x509_chain_at(&chain, 0)));
        }
        break;
    }
    return 0;
}
