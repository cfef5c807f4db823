#include "tls/credentials.h"

#include "base/assert.h"
#include "base/ct.h"
#include "base/sha256.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct tls_credentials {
    atomic_uint references;
    atomic_bool retired;
    struct tls_trust *trust;
    struct tls_identity *identity;
    uint8_t digest[SHA256_BYTES]; /* of the texts */
};

static void digest_text(br_sha256_context *hash, struct slice text)
{
    uint64_t bytes = text.bytes;
    sha256_update(hash, &bytes, sizeof bytes);
    if (text.bytes > 0) {
        sha256_update(hash, text.at, text.bytes);
    }
}

static void digest(const struct tls_credentials_text *text, uint8_t ret_digest[SHA256_BYTES])
{
    br_sha256_context hash;
    sha256_init(&hash);
    digest_text(&hash, text->ca);
    digest_text(&hash, text->certificate);
    digest_text(&hash, text->key);
    sha256_out(&hash, ret_digest);
    bk_wipe(&hash, sizeof hash);
}

static enum bk_err open_trust(struct tls_credentials *credentials, struct slice ca, char *ret_why)
{
    if (ca.bytes == 0) {
        return BK_OK;
    }
    enum bk_err err = tls_trust_open(&credentials->trust);
    if (err != BK_OK) {
        snprintf(ret_why, TLS_WHY_BYTES, TLS_CREDENTIALS_CA ": out of memory");
        return err;
    }
    return tls_trust_add_pem(credentials->trust, TLS_CREDENTIALS_CA, ca, ret_why);
}

static enum bk_err open_identity(struct tls_credentials *credentials,
                                 const struct tls_credentials_text *text, char *ret_why)
{
    if (text->certificate.bytes == 0 && text->key.bytes == 0) {
        return BK_OK;
    }
    if (text->certificate.bytes == 0 || text->key.bytes == 0) {
        snprintf(ret_why, TLS_WHY_BYTES, "%s: is missing: a certificate and its key go together",
                 text->key.bytes == 0 ? TLS_CREDENTIALS_KEY : TLS_CREDENTIALS_CERTIFICATE);
        return BK_INVALID;
    }
    return tls_identity_open_pem(TLS_CREDENTIALS_CERTIFICATE, text->certificate,
                                 TLS_CREDENTIALS_KEY, text->key, false, &credentials->identity,
                                 ret_why);
}

enum bk_err tls_credentials_open(const struct tls_credentials_text *text,
                                 struct tls_credentials **ret_credentials, char *ret_why)
{
    struct tls_credentials *credentials = calloc(1, sizeof *credentials);
    if (!credentials) {
        snprintf(ret_why, TLS_WHY_BYTES, TLS_CREDENTIALS_CA ": out of memory");
        return BK_NO_MEMORY;
    }
    atomic_init(&credentials->references, 1);
    digest(text, credentials->digest);
    enum bk_err err = open_trust(credentials, text->ca, ret_why);
    if (err == BK_OK) {
        err = open_identity(credentials, text, ret_why);
    }
    if (err != BK_OK) {
        tls_credentials_give(credentials);
        return err;
    }
    *ret_credentials = credentials;
    return BK_OK;
}

struct tls_credentials *tls_credentials_take(struct tls_credentials *credentials)
{
    if (credentials) {
        unsigned before =
            atomic_fetch_add_explicit(&credentials->references, 1, memory_order_relaxed);
        bk_assert(before > 0);
    }
    return credentials;
}

void tls_credentials_give(struct tls_credentials *credentials)
{
    if (!credentials) {
        return;
    }
    unsigned before = atomic_fetch_sub_explicit(&credentials->references, 1, memory_order_acq_rel);
    bk_assert(before > 0);
    if (before > 1) {
        return;
    }
    tls_trust_close(credentials->trust);
    tls_identity_close(credentials->identity);
    bk_wipe(credentials, sizeof *credentials);
    free(credentials);
}

void tls_credentials_retire(struct tls_credentials *credentials)
{
    if (credentials) {
        atomic_store_explicit(&credentials->retired, true, memory_order_relaxed);
    }
}

bool tls_credentials_retired(const struct tls_credentials *credentials)
{
    return credentials && atomic_load_explicit(&credentials->retired, memory_order_relaxed);
}

bool tls_credentials_same(const struct tls_credentials *a, const struct tls_credentials *b)
{
    return a == b || (a && b && bk_ct_equal(a->digest, b->digest, sizeof a->digest));
}

const struct tls_trust *tls_credentials_trust(const struct tls_credentials *credentials)
{
    return credentials ? credentials->trust : NULL;
}

const struct tls_identity *tls_credentials_identity(const struct tls_credentials *credentials)
{
    return credentials ? credentials->identity : NULL;
}
