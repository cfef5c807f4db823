/* Certificates and keys as files give them: PEM, DER, whatever is pasted.
 *
 * Properties: a certificate says the same of itself whole and in pieces; what the trust store takes
 * it takes again, and a failure adds nothing; an identity that opens is for one purpose and has a
 * key; every refusal has words without line breaks. */
#include "base/assert.h"
#include "tls/cert.h"
#include "tls/tls.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_words(const char *why)
{
    size_t bytes = strnlen(why, TLS_WHY_BYTES);
    bk_assert(bytes > 0 && bytes < TLS_WHY_BYTES && !strpbrk(why, "\r\n"));
}

static void check_pieces(struct slice der)
{
    static const struct cert_name name = {.bytes = 9, .at = "a.example"};
    static const struct cert_name address = {.address = true, .bytes = 4, .at = {127, 0, 0, 1}};
    const struct cert_name want = der.bytes % 2 ? name : address;
    struct cert_facts whole, cut;
    memset(&whole, 0, sizeof whole);
    memset(&cut, 0, sizeof cut);
    cert_scan_all(der, &want, &whole);
    bk_assert(strnlen(whole.first_name, sizeof whole.first_name) < sizeof whole.first_name);
    bk_assert(!whole.named || whole.name_count > 0);
    bk_assert(!whole.forbids || whole.constrained);
    for (size_t piece = 1; piece < 40; piece = piece * 3 + 1) {
        struct cert_scan scan;
        cert_scan_begin(&scan, &want);
        for (size_t at = 0; at < der.bytes; at += piece) {
            size_t left = der.bytes - at;
            cert_scan_add(&scan, der.at + at, left < piece ? left : piece);
        }
        cut = *cert_scan_end(&scan);
        bk_assert(cut.whole == whole.whole && cut.named == whole.named &&
                  cut.name_count == whole.name_count && cut.not_after == whole.not_after &&
                  cut.key == whole.key && cut.rsa_bits == whole.rsa_bits &&
                  cut.is_ca == whole.is_ca && cut.may_sign == whole.may_sign &&
                  cut.for_servers == whole.for_servers && cut.for_clients == whole.for_clients &&
                  cut.constrained == whole.constrained && cut.forbids == whole.forbids &&
                  cut.self_issued == whole.self_issued && cut.hash == whole.hash);
    }
}

static void check_trust(struct slice pem)
{
    struct tls_trust *trust;
    char why[TLS_WHY_BYTES] = "";
    bk_assert(tls_trust_open(&trust) == BK_OK);
    if (tls_trust_add_pem(trust, "input", pem, why) == BK_OK) {
        unsigned count = tls_trust_count(trust);
        bk_assert(count > 0);
        bk_assert(tls_trust_add_pem(trust, "again", pem, why) == BK_OK);
        bk_assert(tls_trust_count(trust) == 2 * count);
    } else {
        check_words(why);
        bk_assert(tls_trust_count(trust) == 0);
    }
    tls_trust_close(trust);
}

static void check_identity(struct slice pem)
{
    for (unsigned server = 0; server < 2; server++) {
        struct tls_identity *identity;
        char why[TLS_WHY_BYTES] = "";
        if (tls_identity_open_pem("input", pem, "input", pem, server, &identity, why) == BK_OK) {
            (void)tls_identity_expires(identity);
            tls_identity_close(identity);
        } else {
            check_words(why);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = slice_of(data, size);
    check_pieces(bytes);
    check_trust(bytes);
    check_identity(bytes);
    return 0;
}
