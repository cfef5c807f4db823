/* Secrets become keys. */
#include "providers/compile.h"

#include "base/assert.h"
#include "base/ct.h"
#include "base/hex.h"

bool row_hash_begins(const struct scheme_row *row)
{
    static const char word[] = "{secret}";
    return row->kind == ROW_HASH && row->algorithm == HMAC_SHA256 && row->signed_template != NULL &&
           strncmp(row->signed_template, word, sizeof word - 1) == 0 &&
           strstr(row->signed_template + sizeof word - 1, word) == NULL;
}

size_t key_bytes(const struct scheme_row *row)
{
    size_t bytes = sizeof(struct slice);
    if (row->kind == ROW_HMAC) {
        bytes = row->algorithm == HMAC_SHA256 ? sizeof(struct hmac_sha256_key)
                                              : sizeof(struct hmac_key);
    } else if (row->kind == ROW_ED25519) {
        bytes = sizeof((struct key *)NULL)->ed25519;
    } else if (row_hash_begins(row)) {
        bytes = sizeof((struct key *)NULL)->hashed;
    } else if (row->secret == SECRET_PUBLIC_KEY) {
        bytes = public_key_bytes(signature_key_kind(row->signature));
    }
    return (offsetof(struct key, sha256) + bytes + 7) & ~(size_t)7;
}

/* The secrets of both rows become the same keys. */
static bool same_keys(const struct scheme_row *a, const struct scheme_row *b)
{
    if (row_keeps_text(a) && row_keeps_text(b)) {
        return row_hash_begins(a) == row_hash_begins(b);
    }
    return a->kind == b->kind && a->algorithm == b->algorithm && a->secret == b->secret &&
           (a->format_ed25519 != NULL) == (b->format_ed25519 != NULL);
}

const struct scheme_row *keys_of(const struct scheme_row *active, const struct scheme_row *row)
{
    while (!same_keys(active, row)) {
        active = active->otherwise;
    }
    return active;
}

size_t keys_before(const struct scheme_row *active, const struct scheme_row *row)
{
    const struct scheme_row *own = keys_of(active, row);
    size_t bytes = 0;
    for (const struct scheme_row *at = active; at != own; at = at->otherwise) {
        bytes += keys_of(active, at) == at ? key_bytes(at) : 0;
    }
    return bytes;
}

static const char *ed25519_key(struct slice text, struct key *key)
{
    size_t bytes = 0;
    bool prefixed = slice_starts(text, SLICE("whpk_"));
    key->lane = LANE_ED25519;
    if (!prefixed && hex_decode(text, key->ed25519, 32)) {
        return NULL;
    }
    text = slice_skip(text, prefixed ? 5 : 0);
    if (!base64_decode(text, BASE64_STANDARD, key->ed25519, 32, &bytes) || bytes != 32) {
        return "an Ed25519 public key is 32 bytes in hex or base64, or whpk_ and base64";
    }
    return NULL;
}

static const char *public_key(enum signature_algorithm algorithm, struct slice text,
                              struct key *key)
{
    struct public_key parsed;
    const char *wrong = public_key_parse(text, &parsed);
    if (wrong != NULL) {
        return wrong;
    }
    if (parsed.kind != signature_key_kind(algorithm)) {
        return signature_key_kind(algorithm) == PUBLIC_KEY_RSA ? "an RSA public key is wanted"
                                                               : "an ECDSA P-256 public key is "
                                                                 "wanted";
    }
    key->lane = LANE_PUBLIC_KEY;
    memcpy(&key->public_key, &parsed, public_key_bytes(signature_key_kind(algorithm)));
    return NULL;
}

static void mac_key(enum hmac_algorithm algorithm, struct slice secret, struct key *key)
{
    key->lane = LANE_MAC;
    if (algorithm == HMAC_SHA256) {
        hmac_sha256_key_init(&key->sha256, secret);
    } else {
        hmac_key_init(&key->other, algorithm, secret);
    }
}

static const char *base64_key(enum hmac_algorithm algorithm, struct slice text, struct key *key)
{
    uint8_t plain[768];
    size_t bytes = 0;
    text = slice_skip(text, slice_starts(text, SLICE("whsec_")) ? 6 : 0);
    const char *wrong = NULL;
    if (!base64_decode(text, BASE64_STANDARD, plain, sizeof plain, &bytes)) {
        wrong = "the secret is not whsec_ and base64";
    } else if (bytes == 0) {
        wrong = "the secret is empty";
    } else {
        mac_key(algorithm, slice_of(plain, bytes), key);
    }
    bk_wipe(plain, sizeof plain);
    return wrong;
}

static const char *hex_key(enum hmac_algorithm algorithm, struct slice text, struct key *key)
{
    uint8_t plain[256];
    size_t bytes = text.bytes / 2;
    if (text.bytes % 2 != 0 || bytes > sizeof plain || !hex_decode(text, plain, bytes)) {
        return "the secret is not hexadecimal digits";
    }
    mac_key(algorithm, slice_of(plain, bytes), key);
    bk_wipe(plain, sizeof plain);
    return NULL;
}

/* NULL, or what is wrong with the secret. */
static const char *key_compile(const struct program *program, struct slice secret,
                               struct block *block, struct key *key)
{
    const struct scheme_row *row = program->row;
    if (secret.bytes == 0) {
        return "a secret is empty";
    }
    uint8_t last = secret.at[secret.bytes - 1];
    if (row->secret != SECRET_PUBLIC_KEY && (last == '\n' || last == '\r')) {
        return "a secret ends with a line break, which is none of it: write it without (in YAML |- "
               "instead of |)";
    }
    if (row->kind == ROW_ED25519) {
        return ed25519_key(secret, key);
    }
    if (row->secret == SECRET_PUBLIC_KEY) {
        return public_key(row->signature, secret, key);
    }
    if (row->kind == ROW_HMAC && row->secret == SECRET_BASE64) {
        if (!slice_starts(secret, SLICE("whpk_"))) {
            return base64_key(row->algorithm, secret, key);
        }
        return program->row->format_ed25519 != NULL
                   ? ed25519_key(secret, key)
                   : "this provider has no signatures with public keys";
    }
    if (row->kind == ROW_HMAC && row->secret == SECRET_HEX) {
        return hex_key(row->algorithm, secret, key);
    }
    if (row->kind == ROW_HMAC) {
        mac_key(row->algorithm, secret, key);
        return NULL;
    }
    if (row->kind == ROW_BASIC && slice_find(secret, ':') == secret.bytes) {
        return "a secret for Basic authentication is user:password";
    }
    if (row->kind != ROW_BASIC && row->kind != ROW_HASH &&
        slice_trim(secret).bytes != secret.bytes) {
        return "a token that begins or ends with a blank cannot be sent in a header";
    }
    key->lane = LANE_MAC;
    key->token = block_keep(block, secret);
    if (program->hash_begins) {
        sha256_init(&key->hashed.begun);
        sha256_update(&key->hashed.begun, secret.at, secret.bytes);
    }
    return NULL;
}

const char *keys_compile(struct scheme *scheme, const struct program *program,
                         const struct slice *secrets, unsigned secret_count, struct block *block)
{
    unsigned made = 0;
    for (unsigned i = 0; i < secret_count && program->kind != ROW_NONE; i++) {
        if (!slice_starts(secrets[i], scheme->plan->only_prefix)) {
            continue;
        }
        struct key *key = (struct key *)(uintptr_t)scheme_key(scheme, program, made);
        const char *wrong = key_compile(program, secrets[i], block, key);
        if (wrong != NULL) {
            return wrong;
        }
        made++;
    }
    bk_assert(made == scheme->key_count);
    return NULL;
}
