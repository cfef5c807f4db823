#include "hub/keys/oidc_issuer.h"

#include "base/assert.h"
#include "base/base64.h"
#include "base/ct.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/private_key.h"
#include "base/public_key.h"
#include "base/sha256.h"
#include "hub/hub_private.h"
#include "ring/ring.h"

#include <bearssl.h>
#include <stdio.h>
#include <stdlib.h>

#define KEY_BITS       2048U
#define KEY_EXPONENT   65537U
#define KEY_DER_MAX    2048U
#define RECORD_VERSION 1U
#define RECORD_HEAD    17U /* version, made, signs from */
#define DOCUMENT_BYTES 16384U
#define KEY_FIELD      SLICE("oidc")

struct oidc_key {
    uint64_t number;
    int64_t made_seconds, signs_seconds;
    struct public_key public_key;
    char kid[BASE64_ENCODED(SHA256_BYTES) + 1];
    struct secret der;
};

struct oidc_issuer {
    struct hub *hub;
    char *url;
    unsigned key_count;
    struct oidc_key keys[OIDC_KEYS_MAX]; /* oldest first */
    struct oidc_documents *documents;
};

/* ---- keys */

enum bk_err oidc_key_make(struct secret *ret_key)
{
    static uint8_t private_at[BR_RSA_KBUF_PRIV_SIZE(KEY_BITS)], d[KEY_BITS / 8];
    uint8_t seed[48], public_at[BR_RSA_KBUF_PUB_SIZE(KEY_BITS)], der[KEY_DER_MAX];
    br_hmac_drbg_context random;
    br_rsa_private_key key;
    br_rsa_public_key public_key;
    ring_entropy(seed, sizeof seed);
    br_hmac_drbg_init(&random, &br_sha256_vtable, seed, sizeof seed);
    bk_wipe(seed, sizeof seed);
    bool made = br_rsa_keygen_get_default()(&random.vtable, &key, private_at, &public_key,
                                            public_at, KEY_BITS, KEY_EXPONENT) == 1;
    size_t d_bytes = made ? br_rsa_compute_privexp_get_default()(d, &key, KEY_EXPONENT) : 0;
    size_t bytes = d_bytes ? br_encode_rsa_raw_der(NULL, &key, &public_key, d, d_bytes) : 0;
    enum bk_err err = BK_IO;
    if (bytes != 0 && bytes <= sizeof der) {
        br_encode_rsa_raw_der(der, &key, &public_key, d, d_bytes);
        err = secret_init(ret_key, slice_of(der, bytes));
    }
    bk_wipe(private_at, sizeof private_at);
    bk_wipe(d, sizeof d);
    bk_wipe(der, sizeof der);
    bk_wipe(&random, sizeof random);
    return err;
}

static bool decode(struct slice der, br_skey_decoder_context *decoder)
{
    br_skey_decoder_init(decoder);
    br_skey_decoder_push(decoder, der.at, der.bytes);
    return br_skey_decoder_last_error(decoder) == 0 &&
           br_skey_decoder_key_type(decoder) == BR_KEYTYPE_RSA;
}

/* Public part and id. */
static bool describe(struct oidc_key *key)
{
    br_skey_decoder_context decoder;
    uint8_t modulus[PUBLIC_KEY_RSA_BYTES_MAX], spki[PUBLIC_KEY_SPKI_BYTES_MAX],
        digest[SHA256_BYTES];
    size_t bytes = 0;
    uint32_t exponent = 0;
    if (decode(secret_slice(&key->der), &decoder)) {
        const br_rsa_private_key *rsa = br_skey_decoder_get_rsa(&decoder);
        bytes = private_key_modulus(rsa, modulus);
        exponent = br_rsa_compute_pubexp_get_default()(rsa);
    }
    bk_wipe(&decoder, sizeof decoder);
    uint8_t exponent_at[4] = {(uint8_t)(exponent >> 24), (uint8_t)(exponent >> 16),
                              (uint8_t)(exponent >> 8), (uint8_t)exponent};
    if (bytes == 0 ||
        !public_key_rsa(slice_of(modulus, bytes), slice_of(exponent_at, sizeof exponent_at),
                        &key->public_key)) {
        return false;
    }
    sha256(slice_of(spki, public_key_write_spki(&key->public_key, spki)), digest);
    key->kid[base64_encode(digest, sizeof digest, BASE64_URL, key->kid)] = 0;
    return true;
}

/* ---- the store: "k/" u64 number -> version, made, signs from, sealed DER */

static void store_key(uint64_t number, struct key *ret_key, uint8_t ret_record[16])
{
    key_start(ret_key, 'k');
    key_add_u64(ret_key, number);
    memset(ret_record, 0, 16);
    key_put_u64(ret_record + 8, number);
}

struct loading {
    struct oidc_issuer *issuer;
    enum bk_err err;
};

static bool load_one(void *context, struct slice key, struct slice value)
{
    struct loading *loading = context;
    struct oidc_issuer *issuer = loading->issuer;
    uint8_t record[16], plain[KEY_DER_MAX];
    struct key again;
    size_t bytes;
    loading->err = BK_CORRUPT;
    if (key.bytes != 10 || value.bytes <= RECORD_HEAD + SEAL_OVERHEAD_BYTES ||
        value.bytes > RECORD_HEAD + SEAL_OVERHEAD_BYTES + sizeof plain ||
        value.at[0] != RECORD_VERSION || issuer->key_count == OIDC_KEYS_MAX) {
        return false;
    }
    struct oidc_key *to = &issuer->keys[issuer->key_count];
    to->number = key_get_u64(key.at + 2);
    to->made_seconds = (int64_t)key_get_u64(value.at + 1);
    to->signs_seconds = (int64_t)key_get_u64(value.at + 9);
    store_key(to->number, &again, record);
    loading->err = seal_open(&issuer->hub->seal, record, KEY_FIELD, slice_skip(value, RECORD_HEAD),
                             plain, &bytes);
    if (loading->err == BK_OK) {
        loading->err = secret_init(&to->der, slice_of(plain, bytes));
        bk_wipe(plain, sizeof plain);
    }
    if (loading->err == BK_OK && !describe(to)) {
        secret_fini(&to->der);
        loading->err = BK_CORRUPT;
    }
    issuer->key_count += loading->err == BK_OK;
    return loading->err == BK_OK;
}

static enum bk_err load(struct oidc_issuer *issuer)
{
    struct loading loading = {issuer, BK_OK};
    struct store_txn *txn;
    enum bk_err err = store_read(issuer->hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    err = store_walk(txn, SLICE("k/"), SLICE_EMPTY, load_one, &loading);
    store_read_end(txn);
    return err != BK_OK ? err : loading.err;
}

struct change {
    struct slice key;
    struct slice value; /* empty = delete */
};

static enum bk_err write_change(struct store_txn *txn, void *context)
{
    const struct change *change = context;
    return change->value.bytes != 0 ? store_put(txn, change->key, change->value)
                                    : store_delete(txn, change->key);
}

static enum bk_err save(struct oidc_issuer *issuer, const struct oidc_key *key)
{
    uint8_t value[RECORD_HEAD + SEAL_OVERHEAD_BYTES + KEY_DER_MAX], record[16];
    struct key at;
    store_key(key->number, &at, record);
    value[0] = RECORD_VERSION;
    key_put_u64(value + 1, (uint64_t)key->made_seconds);
    key_put_u64(value + 9, (uint64_t)key->signs_seconds);
    seal_value(&issuer->hub->seal, record, KEY_FIELD, secret_slice(&key->der), value + RECORD_HEAD);
    struct change change = {key_slice(&at),
                            slice_of(value, RECORD_HEAD + SEAL_OVERHEAD_BYTES + key->der.bytes)};
    return store_update(issuer->hub->store, write_change, &change);
}

/* ---- documents */

static void add_number(struct buf *json, const void *at, size_t bytes)
{
    char text[BASE64_ENCODED(PUBLIC_KEY_RSA_BYTES_MAX)];
    buf_add(json, text, base64_encode(at, bytes, BASE64_URL, text));
}

static enum bk_err publish(struct oidc_issuer *issuer)
{
    struct buf json;
    char jwks_uri[1200];
    buf_init(&json, DOCUMENT_BYTES);
    snprintf(jwks_uri, sizeof jwks_uri, "%s/.well-known/jwks.json", issuer->url);
    buf_add_str(&json, "{\"issuer\":");
    json_add_string(&json, slice_str(issuer->url));
    buf_add_str(&json, ",\"jwks_uri\":");
    json_add_string(&json, slice_str(jwks_uri));
    buf_add_str(&json, ",\"id_token_signing_alg_values_supported\":[\"RS256\"],"
                       "\"subject_types_supported\":[\"public\"],"
                       "\"response_types_supported\":[\"id_token\"]}");
    size_t split = json.bytes;
    buf_add_str(&json, "{\"keys\":[");
    for (unsigned i = 0; i < issuer->key_count; i++) {
        const struct oidc_key *key = &issuer->keys[i];
        buf_printf(&json,
                   "%s{\"kty\":\"RSA\",\"use\":\"sig\",\"alg\":\"RS256\",\"kid\":\"%s\",\"n\":\"",
                   i ? "," : "", key->kid);
        add_number(&json, key->public_key.at, key->public_key.bytes);
        buf_add_str(&json, "\",\"e\":\"");
        add_number(&json, key->public_key.exponent, key->public_key.exponent_bytes);
        buf_add_str(&json, "\"}");
    }
    buf_add_str(&json, "]}");
    struct oidc_documents *documents =
        json.overflow ? NULL : malloc(sizeof *documents + json.bytes);
    if (documents != NULL) {
        uint8_t *at = (uint8_t *)(documents + 1);
        memcpy(at, json.at, json.bytes);
        documents->configuration = slice_of(at, split);
        documents->keys = slice_of(at + split, json.bytes - split);
        documents->older = issuer->documents;
        issuer->documents = documents; /* the old one stays: cores may be reading it */
    }
    buf_fini(&json);
    return documents != NULL ? BK_OK : BK_NO_MEMORY;
}

/* ---- life */

enum bk_err oidc_issuer_open(struct hub *hub, const char *public_url, int64_t now_seconds,
                             struct oidc_issuer **ret_issuer)
{
    bk_assert(hub != NULL && public_url != NULL && strlen(public_url) < 1100);
    struct oidc_issuer *issuer = calloc(1, sizeof *issuer);
    if (issuer == NULL) {
        return BK_NO_MEMORY;
    }
    issuer->hub = hub;
    issuer->url = strdup(public_url);
    enum bk_err err = issuer->url != NULL ? load(issuer) : BK_NO_MEMORY;
    if (err == BK_OK) {
        err = publish(issuer);
    }
    if (err == BK_OK) {
        err = oidc_issuer_expire(issuer, now_seconds);
    }
    if (err != BK_OK) {
        oidc_issuer_close(issuer);
        return err;
    }
    *ret_issuer = issuer;
    return BK_OK;
}

void oidc_issuer_close(struct oidc_issuer *issuer)
{
    if (issuer == NULL) {
        return;
    }
    for (unsigned i = 0; i < issuer->key_count; i++) {
        secret_fini(&issuer->keys[i].der);
    }
    for (struct oidc_documents *d = issuer->documents, *older; d != NULL; d = older) {
        older = d->older;
        free(d);
    }
    free(issuer->url);
    free(issuer);
}

unsigned oidc_issuer_key_count(const struct oidc_issuer *issuer)
{
    return issuer->key_count;
}

const struct oidc_documents *oidc_issuer_documents(const struct oidc_issuer *issuer)
{
    return issuer->documents;
}

enum bk_err oidc_issuer_add(struct oidc_issuer *issuer, struct slice der, int64_t now_seconds)
{
    bk_assert(issuer != NULL);
    if (issuer->key_count == OIDC_KEYS_MAX) {
        return BK_BUSY;
    }
    struct oidc_key *key = &issuer->keys[issuer->key_count];
    bool first = issuer->key_count == 0;
    *key = (struct oidc_key){.number = first ? 1 : issuer->keys[issuer->key_count - 1].number + 1,
                             .made_seconds = now_seconds,
                             .signs_seconds =
                                 first ? now_seconds : now_seconds + OIDC_PUBLISH_SECONDS};
    if (der.bytes > KEY_DER_MAX) {
        return BK_INVALID;
    }
    enum bk_err err = secret_init(&key->der, der);
    if (err != BK_OK) {
        return err;
    }
    err = describe(key) ? save(issuer, key) : BK_INVALID;
    if (err != BK_OK) {
        secret_fini(&key->der);
        return err;
    }
    issuer->key_count++;
    return publish(issuer);
}

/* A key is over when the next one has signed for so long. */
enum bk_err oidc_issuer_expire(struct oidc_issuer *issuer, int64_t now_seconds)
{
    bool any = false;
    while (issuer->key_count > 1 &&
           now_seconds >= issuer->keys[1].signs_seconds + OIDC_KEEP_SECONDS) {
        struct key at;
        uint8_t record[16];
        store_key(issuer->keys[0].number, &at, record);
        struct change change = {key_slice(&at), SLICE_EMPTY};
        enum bk_err err = store_update(issuer->hub->store, write_change, &change);
        if (err != BK_OK) {
            return err;
        }
        secret_fini(&issuer->keys[0].der);
        issuer->key_count--;
        memmove(&issuer->keys[0], &issuer->keys[1], issuer->key_count * sizeof issuer->keys[0]);
        any = true;
    }
    return any ? publish(issuer) : BK_OK;
}

/* ---- tokens */

static const struct oidc_key *signing_key(const struct oidc_issuer *issuer, int64_t now_seconds)
{
    const struct oidc_key *found = NULL;
    for (unsigned i = 0; i < issuer->key_count; i++) {
        if (found == NULL || issuer->keys[i].signs_seconds <= now_seconds) {
            found = &issuer->keys[i];
        }
    }
    return found;
}

static void add_encoded(struct buf *text, struct slice part)
{
    uint8_t *at = buf_reserve(text, BASE64_ENCODED(part.bytes) + 1);
    if (at != NULL) {
        text->bytes += base64_encode(part.at, part.bytes, BASE64_URL, (char *)at);
    }
}

static void write_claims(const struct oidc_issuer *issuer, const struct oidc_token *token,
                         int64_t now_seconds, struct buf *json)
{
    int64_t lifetime = token->lifetime_seconds ? token->lifetime_seconds : OIDC_TOKEN_SECONDS;
    uint8_t random[16];
    char id[2 * sizeof random + 1];
    buf_add_str(json, "{\"iss\":");
    json_add_string(json, slice_str(issuer->url));
    buf_add_str(json, ",\"sub\":");
    json_add_string(json, token->subject);
    buf_add_str(json, ",\"aud\":");
    json_add_string(json, token->audience.bytes ? token->audience : SLICE(OIDC_AUDIENCE));
    buf_printf(json, ",\"iat\":%lld,\"nbf\":%lld,\"exp\":%lld", (long long)now_seconds,
               (long long)now_seconds, (long long)(now_seconds + lifetime));
    ring_entropy(random, sizeof random); /* for who takes a token once */
    hex_encode(random, sizeof random, id);
    buf_printf(json, ",\"jti\":\"%.*s\"", (int)sizeof id - 1, id);
    if (token->claims.bytes != 0) {
        buf_add_byte(json, ',');
        buf_add_slice(json, token->claims);
    }
    buf_add_byte(json, '}');
}

static bool sign(const struct oidc_key *key, struct slice text, uint8_t *ret_signature)
{
    br_skey_decoder_context decoder;
    uint8_t digest[SHA256_BYTES];
    sha256(text, digest);
    bool good =
        decode(secret_slice(&key->der), &decoder) &&
        br_rsa_pkcs1_sign_get_default()(BR_HASH_OID_SHA256, digest, sizeof digest,
                                        br_skey_decoder_get_rsa(&decoder), ret_signature) == 1;
    bk_wipe(&decoder, sizeof decoder);
    return good;
}

enum bk_err oidc_issuer_token(struct oidc_issuer *issuer, const struct oidc_token *token,
                              int64_t now_seconds, struct buf *text)
{
    bk_assert(issuer != NULL && token != NULL && text != NULL);
    const struct oidc_key *key = signing_key(issuer, now_seconds);
    uint8_t signature[PUBLIC_KEY_RSA_BYTES_MAX];
    char header[160];
    struct buf claims;
    size_t before = text->bytes;
    if (key == NULL) {
        return BK_NOT_FOUND;
    }
    buf_init(&claims, 8192);
    write_claims(issuer, token, now_seconds, &claims);
    snprintf(header, sizeof header, "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"%s\"}", key->kid);
    add_encoded(text, slice_str(header));
    buf_add_byte(text, '.');
    add_encoded(text, buf_slice(&claims));
    bool good = !claims.overflow && !text->overflow &&
                sign(key, slice_of(text->at + before, text->bytes - before), signature);
    if (good) {
        buf_add_byte(text, '.');
        add_encoded(text, slice_of(signature, key->public_key.bytes));
    }
    buf_fini(&claims);
    return good && !text->overflow ? BK_OK : BK_TOO_LARGE;
}
