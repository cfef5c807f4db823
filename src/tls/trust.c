#include "tls/private.h"

#include "base/sha256.h"
#include "tls/pem_file.h"

#include <stdio.h>
#include <stdlib.h>

/* A certificate as a trust anchor is being made of it. */
struct draft {
    br_x509_decoder_context decoder;
    uint8_t *name;
    size_t name_bytes;
    size_t room;
    bool failed;
};

static void draft_name(void *context, const void *at, size_t bytes)
{
    struct draft *draft = context;
    if (draft->failed || draft->name_bytes + bytes > draft->room) {
        draft->failed = true;
        return;
    }
    memcpy(draft->name + draft->name_bytes, at, bytes);
    draft->name_bytes += bytes;
}

/* Copies what BearSSL's decoder holds into *anchor. One malloc for both parts of a key. */
static bool copy_key(const br_x509_pkey *key, br_x509_pkey *ret_key)
{
    bool rsa = key->key_type == BR_KEYTYPE_RSA;
    size_t first = rsa ? key->key.rsa.nlen : key->key.ec.qlen;
    size_t second = rsa ? key->key.rsa.elen : 0;
    uint8_t *at = malloc(first + second);
    if (!at) {
        return false;
    }
    *ret_key = *key;
    memcpy(at, rsa ? key->key.rsa.n : key->key.ec.q, first);
    if (rsa) {
        memcpy(at + first, key->key.rsa.e, second);
        ret_key->key.rsa.n = at;
        ret_key->key.rsa.e = at + first;
    } else {
        ret_key->key.ec.q = at;
    }
    return true;
}

static void free_key(br_x509_pkey *key)
{
    free(key->key_type == BR_KEYTYPE_RSA ? key->key.rsa.n : key->key.ec.q);
}

static bool make_room(struct tls_anchors *trust)
{
    if (trust->count < trust->room) {
        return true;
    }
    unsigned room = trust->room ? trust->room * 2 : 16;
    void *anchors = realloc(trust->anchors, room * sizeof *trust->anchors);
    trust->anchors = anchors ? anchors : trust->anchors;
    void *notes = realloc(trust->notes, room * sizeof *trust->notes);
    trust->notes = notes ? notes : trust->notes;
    trust->room = anchors && notes ? room : trust->room;
    return anchors && notes;
}

/* NULL when it will do, else what is wrong with it. */
static const char *unusable(const struct cert_facts *facts)
{
    const char *why = cert_unusable(facts);
    if (why) {
        return why;
    }
    if (facts->has_key_usage && facts->is_ca && !facts->may_issue) {
        return "its keyUsage does not let it issue certificates";
    }
    return NULL;
}

static void note_digest(struct tls_anchors *trust, struct slice der)
{
    br_sha256_context hash;
    sha256_init(&hash);
    sha256_update(&hash, trust->digest, sizeof trust->digest);
    sha256_update(&hash, der.at, der.bytes);
    sha256_out(&hash, trust->digest);
}

/* NULL, or what is wrong. */
static const char *add_certificate(struct tls_anchors *trust, struct slice der)
{
    struct cert_facts facts;
    cert_scan_all(der, NULL, &facts);
    const char *why = unusable(&facts);
    if (why) {
        return why;
    }
    struct draft draft = {.name = malloc(der.bytes), .room = der.bytes};
    uint8_t *kept = facts.constrained ? malloc(der.bytes) : NULL;
    if (!draft.name || (facts.constrained && !kept) || !make_room(trust)) {
        free(kept);
        free(draft.name);
        return "out of memory";
    }
    br_x509_decoder_init(&draft.decoder, draft_name, &draft);
    br_x509_decoder_push(&draft.decoder, der.at, der.bytes);
    const br_x509_pkey *key = br_x509_decoder_get_pkey(&draft.decoder);
    br_x509_trust_anchor *anchor = &trust->anchors[trust->count];
    if (!key || draft.failed || !copy_key(key, &anchor->pkey)) {
        free(kept);
        free(draft.name);
        return "this certificate cannot be read";
    }
    anchor->dn.data = draft.name;
    anchor->dn.len = draft.name_bytes;
    anchor->flags = br_x509_decoder_isCA(&draft.decoder) ? BR_X509_TA_CA : 0;
    struct tls_anchor_note *note = &trust->notes[trust->count++];
    note->not_before = facts.not_before;
    note->not_after = facts.not_after;
    sha256(slice_of(draft.name, draft.name_bytes), note->name_hash);
    memcpy(note->subject, facts.subject, sizeof note->subject);
    note->constrained = slice_of(kept, kept ? der.bytes : 0);
    if (kept) {
        memcpy(kept, der.at, der.bytes);
    }
    note_digest(trust, der);
    return NULL;
}

static void drop_from(struct tls_anchors *trust, unsigned count)
{
    while (trust->count > count) {
        br_x509_trust_anchor *anchor = &trust->anchors[--trust->count];
        free((uint8_t *)(uintptr_t)trust->notes[trust->count].constrained.at);
        free(anchor->dn.data);
        free_key(&anchor->pkey);
    }
}

static bool is_certificate(const struct pem_block *block)
{
    return strcmp(block->label, "CERTIFICATE") == 0 ||
           strcmp(block->label, "X509 CERTIFICATE") == 0;
}

/* Nobody else has it yet: what is built is changed by nobody but its builder. */
static enum bk_err add_text(struct tls_trust *to, const char *name, struct slice pem, bool lenient,
                            char *ret_why)
{
    struct tls_anchors *trust = to->set;
    struct pem_reader reader;
    struct pem_block block;
    unsigned before = trust->count;
    enum bk_err err;
    pem_file_begin(&reader, name, pem);
    while ((err = pem_file_next(&reader, &block, ret_why)) == BK_OK) {
        const char *why = is_certificate(&block)
                              ? add_certificate(trust, slice_of(block.at, block.bytes))
                              : "this is no certificate";
        pem_block_free(&block);
        if (why && !lenient) {
            snprintf(ret_why, TLS_WHY_BYTES, "%s:%u: %s", name, block.line, why);
            err = BK_INVALID;
            break;
        }
    }
    if (err == BK_NOT_FOUND && trust->count > before) {
        return BK_OK;
    }
    if (err == BK_NOT_FOUND) {
        snprintf(ret_why, TLS_WHY_BYTES, "%s: there is no certificate in it (PEM is wanted)", name);
        err = BK_INVALID;
    }
    drop_from(trust, before);
    return err;
}

enum bk_err tls_trust_open(struct tls_trust **ret_trust)
{
    struct tls_trust *trust = calloc(1, sizeof *trust);
    struct tls_anchors *set = calloc(1, sizeof *set);
    if (!trust || !set) {
        free(trust);
        free(set);
        return BK_NO_MEMORY;
    }
    set->references = 1;
    trust->set = set;
    *ret_trust = trust;
    return BK_OK;
}

void tls_anchors_give(struct tls_anchors *set)
{
    if (set && __atomic_sub_fetch(&set->references, 1, __ATOMIC_ACQ_REL) == 0) {
        drop_from(set, 0);
        free(set->anchors);
        free(set->notes);
        free(set);
    }
}

static void trust_lock(const struct tls_trust *trust)
{
    while (__atomic_test_and_set((uint8_t *)(uintptr_t)&trust->busy, __ATOMIC_ACQUIRE)) {
    }
}

static void trust_unlock(const struct tls_trust *trust)
{
    __atomic_clear((uint8_t *)(uintptr_t)&trust->busy, __ATOMIC_RELEASE);
}

struct tls_anchors *tls_trust_take(const struct tls_trust *trust)
{
    trust_lock(trust);
    struct tls_anchors *set = trust->set;
    __atomic_add_fetch(&set->references, 1, __ATOMIC_RELAXED);
    trust_unlock(trust);
    return set;
}

bool tls_trust_put(struct tls_trust *trust, struct tls_trust *fresh)
{
    bool other = memcmp(trust->set->digest, fresh->set->digest, sizeof fresh->set->digest) != 0;
    if (other) {
        trust_lock(trust);
        struct tls_anchors *old = trust->set;
        trust->set = fresh->set;
        fresh->set = old;
        trust_unlock(trust);
    }
    tls_trust_close(fresh);
    return other;
}

void tls_trust_close(struct tls_trust *trust)
{
    if (trust) {
        tls_anchors_give(trust->set);
        free(trust);
    }
}

unsigned tls_trust_count(const struct tls_trust *trust)
{
    struct tls_anchors *set = tls_trust_take(trust);
    unsigned count = set->count;
    tls_anchors_give(set);
    return count;
}

enum bk_err tls_trust_add_pem(struct tls_trust *trust, const char *name, struct slice pem,
                              char *ret_why)
{
    return add_text(trust, name, pem, false, ret_why);
}

static enum bk_err add_file(struct tls_trust *trust, const char *path, bool lenient, char *ret_why)
{
    char *text;
    size_t bytes;
    enum bk_err err = pem_file_read(path, false, &text, &bytes, ret_why);
    if (err == BK_OK) {
        err = add_text(trust, path, slice_of(text, bytes), lenient, ret_why);
        free(text);
    }
    return err;
}

enum bk_err tls_trust_add_file(struct tls_trust *trust, const char *path, char *ret_why)
{
    return add_file(trust, path, false, ret_why);
}

enum bk_err tls_trust_add_system(struct tls_trust *trust, char *ret_why)
{
    static const char *const places[] = {
        "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Alpine, Arch */
        "/etc/pki/tls/certs/ca-bundle.crt",                  /* Fedora, RHEL */
        "/etc/ssl/ca-bundle.pem",                            /* SUSE */
        "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* RHEL 7 and later */
        "/etc/ssl/cert.pem",                                 /* Alpine, BSD */
    };
    const char *given = getenv("SSL_CERT_FILE");
    if (given && *given) {
        return add_file(trust, given, true, ret_why);
    }
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        enum bk_err err = add_file(trust, places[i], true, ret_why);
        if (err != BK_NOT_FOUND) {
            return err;
        }
    }
    snprintf(
        ret_why, TLS_WHY_BYTES,
        "no system store of certificates (%s and the like); install ca-certificates, or name a "
        "file with --ca-file",
        places[0]);
    return BK_NOT_FOUND;
}

bool tls_anchors_current(const struct tls_anchors *trust, const uint8_t name_hash[32],
                         int64_t now_seconds)
{
    bool known = false;
    for (unsigned i = 0; i < trust->count; i++) {
        const struct tls_anchor_note *note = &trust->notes[i];
        if ((trust->anchors[i].flags & BR_X509_TA_CA) &&
            memcmp(note->name_hash, name_hash, 32) == 0) {
            if (note->not_before <= now_seconds && now_seconds <= note->not_after) {
                return true;
            }
            known = true;
        }
    }
    return !known; /* believed directly: its own dates were checked */
}

bool tls_anchors_permit(const struct tls_anchors *trust, const uint8_t name_hash[32],
                        const struct cert_name *want)
{
    for (unsigned i = 0; i < trust->count; i++) {
        const struct tls_anchor_note *note = &trust->notes[i];
        if (note->constrained.bytes > 0 && (trust->anchors[i].flags & BR_X509_TA_CA) &&
            memcmp(note->name_hash, name_hash, 32) == 0) {
            struct cert_facts facts;
            cert_scan_all(note->constrained, want, &facts);
            if (facts.forbids) {
                return false;
            }
        }
    }
    return true;
}
