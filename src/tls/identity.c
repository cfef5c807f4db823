#include "tls/private.h"

#include "base/ct.h"
#include "base/private_key.h"
#include "tls/pem_file.h"

#include <stdio.h>
#include <stdlib.h>

static enum bk_err fail_at(const char *name, unsigned line, const char *what, char *ret_why)
{
    snprintf(ret_why, TLS_WHY_BYTES, "%s:%u: %s", name, line, what);
    return BK_INVALID;
}

static enum bk_err no_memory(const char *name, char *ret_why)
{
    snprintf(ret_why, TLS_WHY_BYTES, "%s: out of memory", name);
    return BK_NO_MEMORY;
}

/* ---- the certificate */

/* NULL, or why a peer would (or should) refuse this leaf. */
static const char *unusable(const struct cert_facts *facts, bool for_server)
{
    const char *why = cert_unusable(facts);
    if (why) {
        return why;
    }
    if (facts->weak_hash) {
        return "it is signed with MD5 or SHA-1, which nobody accepts";
    }
    if (facts->has_extended_usage && !(for_server ? facts->for_servers : facts->for_clients)) {
        return for_server ? "it is not for a server (extendedKeyUsage)"
                          : "it is not for a client (extendedKeyUsage)";
    }
    if (facts->has_key_usage && !facts->may_sign) {
        return "its key is not for signatures (keyUsage)";
    }
    return NULL;
}

static enum bk_err read_chain(struct tls_identity *identity, const char *name, struct slice pem,
                              bool for_server, char *ret_why)
{
    struct pem_reader reader;
    struct pem_block block;
    enum bk_err err;
    pem_file_begin(&reader, name, pem);
    while ((err = pem_file_next(&reader, &block, ret_why)) == BK_OK) {
        if (strcmp(block.label, "CERTIFICATE") != 0 &&
            strcmp(block.label, "X509 CERTIFICATE") != 0) {
            pem_block_free(&block); /* the key may be in the same file */
            continue;
        }
        struct cert_facts facts;
        cert_scan_all(slice_of(block.at, block.bytes), NULL, &facts);
        const char *why = identity->chain_count == 0 ? unusable(&facts, for_server)
                          : !facts.whole             ? "this is not a well-formed certificate"
                          : identity->chain_count == TLS_CHAIN_MAX
                              ? "too many certificates in one chain"
                              : NULL;
        if (why) {
            pem_block_free(&block);
            return fail_at(name, block.line, why, ret_why);
        }
        if (identity->chain_count == 0) {
            identity->not_after = facts.not_after;
        }
        identity->chain[identity->chain_count++] =
            (br_x509_certificate){.data = block.at, .data_len = block.bytes};
    }
    if (err == BK_NOT_FOUND && identity->chain_count == 0) {
        snprintf(ret_why, TLS_WHY_BYTES, "%s: there is no certificate in it (PEM is wanted)", name);
        return BK_INVALID;
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* ---- the key */

static bool take_rsa(struct tls_identity *identity, const br_rsa_private_key *key)
{
    const unsigned char *parts[] = {key->p, key->q, key->dp, key->dq, key->iq};
    size_t bytes[] = {key->plen, key->qlen, key->dplen, key->dqlen, key->iqlen};
    unsigned char **targets[] = {&identity->rsa.p, &identity->rsa.q, &identity->rsa.dp,
                                 &identity->rsa.dq, &identity->rsa.iq};
    size_t total = 0;
    for (unsigned i = 0; i < 5; i++) {
        total += bytes[i];
    }
    uint8_t *at = malloc(total);
    if (!at) {
        return false;
    }
    identity->rsa = *key;
    identity->key_at = at;
    identity->key_bytes = total;
    for (unsigned i = 0; i < 5; i++) {
        memcpy(at, parts[i], bytes[i]);
        *targets[i] = at;
        at += bytes[i];
    }
    return true;
}

static bool take_ec(struct tls_identity *identity, const br_ec_private_key *key)
{
    uint8_t *at = malloc(key->xlen);
    if (!at) {
        return false;
    }
    memcpy(at, key->x, key->xlen);
    identity->ec = true;
    identity->ec_key = *key;
    identity->ec_key.x = at;
    identity->key_at = at;
    identity->key_bytes = key->xlen;
    return true;
}

static bool is_key(const struct pem_block *block)
{
    size_t bytes = strlen(block->label);
    return bytes >= 11 && strcmp(block->label + bytes - 11, "PRIVATE KEY") == 0;
}

static enum bk_err decode_key(struct tls_identity *identity, const char *name,
                              const struct pem_block *block, char *ret_why)
{
    if (block->encrypted || strcmp(block->label, "ENCRYPTED PRIVATE KEY") == 0) {
        return fail_at(name, block->line,
                       "this key is encrypted; decrypt it first (openssl pkey -in OLD -out NEW)",
                       ret_why);
    }
    br_skey_decoder_context decoder;
    br_skey_decoder_init(&decoder);
    br_skey_decoder_push(&decoder, block->at, block->bytes);
    int type = br_skey_decoder_key_type(&decoder);
    bool taken = type == BR_KEYTYPE_RSA  ? take_rsa(identity, br_skey_decoder_get_rsa(&decoder))
                 : type == BR_KEYTYPE_EC ? take_ec(identity, br_skey_decoder_get_ec(&decoder))
                                         : false;
    bk_wipe(&decoder, sizeof decoder);
    if (!taken && (type == BR_KEYTYPE_RSA || type == BR_KEYTYPE_EC)) {
        return no_memory(name, ret_why);
    }
    return taken ? BK_OK
                 : fail_at(name, block->line, "this key cannot be read; RSA and EC keys can",
                           ret_why);
}

static enum bk_err read_key(struct tls_identity *identity, const char *name, struct slice pem,
                            char *ret_why)
{
    struct pem_reader reader;
    struct pem_block block;
    enum bk_err err;
    pem_file_begin(&reader, name, pem);
    while ((err = pem_file_next(&reader, &block, ret_why)) == BK_OK) {
        if (!is_key(&block)) {
            pem_block_free(&block); /* EC PARAMETERS, certificates */
            continue;
        }
        err = decode_key(identity, name, &block, ret_why);
        pem_block_free(&block);
        return err;
    }
    if (err == BK_NOT_FOUND) {
        snprintf(ret_why, TLS_WHY_BYTES, "%s: there is no private key in it (PEM is wanted)", name);
        err = BK_INVALID;
    }
    return err;
}

/* ---- do they belong together? */

static bool same_rsa(const struct tls_identity *identity, const br_rsa_public_key *public_key)
{
    uint8_t modulus[PUBLIC_KEY_RSA_BYTES_MAX];
    size_t bytes = private_key_modulus(&identity->rsa, modulus);
    struct slice n = public_key_number(slice_of(public_key->n, public_key->nlen));
    return bytes != 0 && slice_equal(slice_of(modulus, bytes), n);
}

static bool same_ec(const struct tls_identity *identity, const br_ec_public_key *public_key)
{
    uint8_t point[BR_EC_KBUF_PUB_MAX_SIZE];
    br_ec_public_key computed;
    size_t bytes = br_ec_compute_pub(br_ec_get_default(), &computed, point, &identity->ec_key);
    return bytes != 0 && identity->ec_key.curve == public_key->curve && bytes == public_key->qlen &&
           memcmp(point, public_key->q, bytes) == 0;
}

/* Also learns how the leaf was signed. */
static bool belongs(struct tls_identity *identity)
{
    br_x509_decoder_context decoder;
    br_x509_decoder_init(&decoder, NULL, NULL);
    br_x509_decoder_push(&decoder, identity->chain[0].data, identity->chain[0].data_len);
    const br_x509_pkey *key = br_x509_decoder_get_pkey(&decoder);
    if (!key) {
        return false;
    }
    identity->issuer_key_type = (unsigned)br_x509_decoder_get_signer_key_type(&decoder);
    if (key->key_type == BR_KEYTYPE_RSA) {
        return !identity->ec && same_rsa(identity, &key->key.rsa);
    }
    return identity->ec && same_ec(identity, &key->key.ec);
}

enum bk_err tls_identity_open_pem(const char *certificate_name, struct slice certificate,
                                  const char *key_name, struct slice key, bool for_server,
                                  struct tls_identity **ret_identity, char *ret_why)
{
    struct tls_identity *identity = calloc(1, sizeof *identity);
    if (!identity) {
        return no_memory(certificate_name, ret_why);
    }
    enum bk_err err = read_chain(identity, certificate_name, certificate, for_server, ret_why);
    if (err == BK_OK) {
        err = read_key(identity, key_name, key, ret_why);
    }
    if (err == BK_OK && !belongs(identity)) {
        snprintf(ret_why, TLS_WHY_BYTES, "%s: this key is not the one of the certificate in %s",
                 key_name, certificate_name);
        err = BK_INVALID;
    }
    if (err != BK_OK) {
        tls_identity_close(identity);
        return err;
    }
    *ret_identity = identity;
    return BK_OK;
}

enum bk_err tls_identity_open_files(const char *certificate_path, const char *key_path,
                                    bool for_server, struct tls_identity **ret_identity,
                                    char *ret_why)
{
    char *certificate = NULL, *key = NULL;
    size_t certificate_bytes = 0, key_bytes = 0;
    enum bk_err err =
        pem_file_read(certificate_path, false, &certificate, &certificate_bytes, ret_why);
    if (err == BK_OK) {
        err = pem_file_read(key_path, true, &key, &key_bytes, ret_why);
    }
    if (err == BK_OK) {
        err = tls_identity_open_pem(certificate_path, slice_of(certificate, certificate_bytes),
                                    key_path, slice_of(key, key_bytes), for_server, ret_identity,
                                    ret_why);
    }
    if (key) {
        bk_wipe(key, key_bytes);
    }
    if (certificate) {
        bk_wipe(certificate, certificate_bytes); /* the key may be in it */
    }
    free(key);
    free(certificate);
    return err;
}

int64_t tls_identity_expires(const struct tls_identity *identity)
{
    return identity->not_after;
}

void tls_identity_close(struct tls_identity *identity)
{
    if (!identity) {
        return;
    }
    for (unsigned i = 0; i < identity->chain_count; i++) {
        free(identity->chain[i].data);
    }
    if (identity->key_at) {
        bk_wipe(identity->key_at, identity->key_bytes);
    }
    free(identity->key_at);
    free(identity);
}
