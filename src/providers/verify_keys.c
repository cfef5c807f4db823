/* Signatures against keys, of every kind: what is not a first key of HMAC-SHA-256 that matches. */
#include "providers/text.h"
#include "providers/verify.h"

#include "base/assert.h"
#include "base/ct.h"

static const br_hash_class *hash_class(enum hmac_algorithm algorithm)
{
    switch (algorithm) {
    case HMAC_SHA256:
        return &sha256_class;
    case HMAC_SHA1:
        return &br_sha1_vtable;
    case HMAC_SHA384:
        return &br_sha384_vtable;
    case HMAC_SHA512:
        return &br_sha512_vtable;
    }
    bk_never("unknown algorithm");
}

size_t hash_parts(enum hmac_algorithm algorithm, const struct slice *parts, unsigned part_count,
                  uint8_t ret_digest[HMAC_BYTES_MAX])
{
    br_hash_compat_context context;
    const br_hash_class *class = hash_class(algorithm);
    class->init(&context.vtable);
    for (unsigned i = 0; i < part_count; i++) {
        class->update(&context.vtable, parts[i].at, parts[i].bytes);
    }
    class->out(&context.vtable, ret_digest);
    bk_wipe(&context, sizeof context);
    return hmac_bytes(algorithm);
}

/* The hash with this secret in its place. */
static size_t hash_with(const struct program *program, const struct key *key, struct slice *parts,
                        unsigned part_count, uint8_t ret_digest[HMAC_BYTES_MAX])
{
    parts_show_secret(program, parts, key->token);
    size_t bytes = hash_parts(program->algorithm, parts, part_count, ret_digest);
    parts_show_secret(program, parts, SLICE_EMPTY);
    return bytes;
}

static inline bool key_signed(const struct program *program, const struct key *key,
                              const struct signature *given, const struct slice *parts,
                              unsigned part_count)
{
    return key->lane == LANE_PUBLIC_KEY
               ? public_key_verify(&key->public_key, program->row->signature, parts, part_count,
                                   slice_of(given->bytes, given->count))
               : ed25519_verify(given->bytes, key->ed25519, parts, part_count);
}

static bool key_matches(const struct program *program, const struct key *key,
                        const struct signature *signatures, unsigned signature_count,
                        struct slice *parts, unsigned part_count)
{
    uint8_t mac[HMAC_BYTES_MAX];
    size_t bytes = 0;
    if (key->lane == LANE_MAC) {
        bytes = program->kind == ROW_HMAC ? key_mac(program, key, parts, part_count, mac)
                                          : hash_with(program, key, parts, part_count, mac);
    }
    for (unsigned i = 0; i < signature_count; i++) {
        const struct signature *given = &signatures[i];
        if (given->lane == key->lane &&
            (key->lane == LANE_MAC ? bk_ct_equal(mac, given->bytes, bytes)
                                   : key_signed(program, key, given, parts, part_count))) {
            return true;
        }
    }
    return false;
}

static int match_from(unsigned from, const struct scheme *scheme, const struct program *program,
                      const struct signature *signatures, unsigned signature_count,
                      struct slice *parts, unsigned part_count)
{
    for (unsigned k = from; k < scheme->key_count; k++) {
        if (key_matches(program, scheme_key(scheme, program, k), signatures, signature_count, parts,
                        part_count)) {
            return (int)k;
        }
    }
    return -1;
}

int scheme_match(const struct reading *r)
{
    return match_from(0, r->scheme, r->program, r->signatures, r->signature_count, r->parts,
                      r->part_count);
}

/* The same URL with its default port, or without it. */
static int match_other_port(const struct reading *r)
{
    int index = -1;
    for (unsigned i = 0; i < r->part_count && index < 0; i++) {
        struct slice url = r->parts[i];
        if (r->program->ops[i].kind == OP_URL && text_url_other_port(url, &r->parts[i])) {
            index = scheme_match(r);
            r->parts[i] = url;
        }
    }
    return index;
}

RARE enum scheme_verdict scheme_match_others(bool first_failed, const struct scheme *scheme,
                                             const struct program *program,
                                             const struct signature *signatures,
                                             unsigned signature_count, struct slice *parts)
{
    struct reading r = {.scheme = scheme,
                        .program = program,
                        .signatures = (struct signature *)(uintptr_t)signatures,
                        .signature_count = signature_count,
                        .parts = parts,
                        .part_count = program->op_count};
    if (match_from(first_failed, scheme, program, signatures, signature_count, parts,
                   program->op_count) >= 0 ||
        (program->url_ports && match_other_port(&r) >= 0)) {
        return SCHEME_GENUINE;
    }
    return scheme->key_count != 0 ? SCHEME_SIGNATURE_WRONG : SCHEME_NO_SECRET_YET;
}
