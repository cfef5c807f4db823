/* apply_build.c - what the kinds share while their records are built: sealed values, references,
 * the spec in its one spelling. */
#include "base/assert.h"
#include "base/base64.h"
#include "base/ct.h"
#include "base/json.h"
#include "base/url.h"
#include "hub/resources/apply_build.h"
#include "ring/ring.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- sealed values */

/* Does the stored slot hold this text? */
static bool slot_holds(struct apply *apply, const struct record_slot *slot, struct slice text)
{
    if (slot->sealed.bytes != text.bytes + SEAL_OVERHEAD_BYTES) {
        return false;
    }
    uint8_t *plain = malloc(text.bytes + 1);
    size_t bytes = 0;
    bool same = plain &&
                seal_open(&apply->hub->seal, apply->old.id, slot->field, slot->sealed, plain,
                          &bytes) == BK_OK &&
                bk_ct_equal_slice(slice_of(plain, bytes), text);
    if (plain) {
        bk_wipe(plain, text.bytes);
    }
    free(plain);
    return same;
}

enum bk_err apply_seal(struct apply *apply, struct slice field, struct slice text)
{
    size_t bytes = text.bytes + SEAL_OVERHEAD_BYTES;
    uint8_t *sealed = malloc(bytes);
    if (!sealed) {
        return BK_NO_MEMORY;
    }
    seal_value(&apply->hub->seal, apply->id, field, text, sealed);
    record_slot_add(&apply->slots, field, slice_of(sealed, bytes));
    apply->slot_count++;
    free(sealed);
    return BK_OK;
}

/* The value of a slot: kept when it is "***" or the same as before, else sealed anew. */
enum bk_err apply_value(struct apply *apply, struct apply_work *work, struct slice field,
                        struct slice text, struct json_place place, const char *path)
{
    struct record_slot slot;
    bool stored = apply->existed && record_slot_find(&apply->old, field, &slot);
    bool hidden = slice_equal(text, slice_str(RESOURCE_HIDDEN));
    if (hidden && !stored) {
        apply_wrong(apply, work, place, path,
                    RESOURCE_HIDDEN " stands for a stored value, but there is none");
        return BK_OK;
    }
    if (stored && (hidden || slot_holds(apply, &slot, text))) {
        record_slot_add(&apply->slots, slot.field, slot.sealed);
        apply->slot_count++;
        return BK_OK;
    }
    if (stored) {
        const char *where = arena_string(apply->arena, path);
        apply_diff_add(apply, where ? where : "spec", "\"" RESOURCE_HIDDEN "\"", "\"(changed)\"");
    }
    return apply_seal(apply, field, text);
}
static bool is_hidden(const struct resource_source_secret *secret)
{
    return secret->inline_value && slice_equal(secret->value, slice_str(RESOURCE_HIDDEN));
}

/* A list that became shorter does not say which of its values went: "***" in it may be any. */
void apply_check_kept(struct apply *apply, struct apply_work *work,
                      const struct resource_source_secret *secrets, unsigned count,
                      const char *const *slots, unsigned slot_max, const char *path)
{
    struct record_slot slot;
    bool lost = false;
    for (unsigned i = count; apply->existed && i < slot_max; i++) {
        lost |= record_slot_find(&apply->old, slice_str(slots[i]), &slot);
    }
    for (unsigned i = 0; lost && i < count; i++) {
        if (is_hidden(&secrets[i])) {
            char field[96];
            snprintf(field, sizeof field, "%s[%u].value", path, i);
            apply_wrong(apply, work, secrets[i].place, field,
                        RESOURCE_HIDDEN " may be any of the values that were there before, for the "
                                        "list became shorter: give the one that stays");
            return;
        }
    }
}

/* ---- references */

struct slice address_value(const struct apply_work *work, uint8_t kind, struct slice type,
                           struct key *storage)
{
    storage->bytes = 0;
    if (kind != 0) {
        key_add(storage, &kind, 1);
    }
    key_add_name(storage, work->canvas);
    key_add(storage, work->name.at, work->name.bytes);
    if (type.bytes > 0) {
        key_add(storage, "", 1);
        key_add(storage, type.at, type.bytes);
    }
    return key_slice(storage);
}

static enum bk_err note_reference(struct apply *apply, struct apply_work *work,
                                  const struct apply_reference *reference, struct json_place place,
                                  const char *path)
{
    if (apply->reference_count == APPLY_REFERENCES_MAX) {
        apply_wrong(apply, work, place, path, "more than %u references", APPLY_REFERENCES_MAX);
        return BK_OK;
    }
    apply->references[apply->reference_count++] = *reference;
    return BK_OK;
}

/* Who refers to a Secret can send it anywhere; who refers to an EventSource reads its events, and
 * to a Team its entries: a token that is bound to a canvas refers to those of that canvas only. */
static bool is_shared_with(const struct apply *apply, enum resource_kind kind)
{
    return apply->options->only_canvas.bytes == 0 ||
           (kind != RESOURCE_SECRET && kind != RESOURCE_EVENT_SOURCE && kind != RESOURCE_TEAM);
}

#define WHERE_BYTES 320U

/* Where was looked for it; and that the set has one which the user cannot see. */
static const char *where_told(const struct apply *apply, const struct apply_work *work,
                              enum resource_kind kind, struct slice name, char text[WHERE_BYTES])
{
    if (!is_shared_with(apply, kind)) {
        return " in the canvas that your token is for";
    }
    for (size_t i = 0; i < apply->count; i++) {
        const struct apply_work *other = &apply->works[i];
        if (other->document && other->kind == kind && slice_equal(other->name, name) &&
            !slice_equal(other->canvas, work->canvas)) {
            snprintf(text, WHERE_BYTES,
                     " in canvas \"%.*s\"; the one in \"%.*s\" is that canvas's own: give both the "
                     "same canvasId, or that one none",
                     (int)work->canvas.bytes, (const char *)work->canvas.at,
                     (int)other->canvas.bytes, (const char *)other->canvas.at);
            return text;
        }
    }
    bool is_default = slice_equal(work->canvas, SLICE(RESOURCE_CANVAS_DEFAULT));
    snprintf(text, WHERE_BYTES, " in canvas \"%.*s\" or \"" RESOURCE_CANVAS_DEFAULT "\"",
             (int)work->canvas.bytes, (const char *)work->canvas.at);
    return is_default ? "" : text;
}

/* The canvas a name means: the user's own, else the default one. BK_NOT_FOUND. */
static enum bk_err find_target(struct apply *apply, enum resource_kind kind, struct slice name,
                               struct slice *canvas, struct record *ret_record)
{
    enum bk_err err = hub_record(apply->txn, kind, *canvas, name, ret_record);
    if (err == BK_NOT_FOUND && is_shared_with(apply, kind)) {
        *canvas = slice_str(RESOURCE_CANVAS_DEFAULT);
        err = hub_record(apply->txn, kind, *canvas, name, ret_record);
        err = err == BK_OK && !hub_is_shared(kind, ret_record) ? BK_NOT_FOUND : err;
    }
    return err;
}

void apply_check_domain(struct apply *apply, struct apply_work *work, enum resource_domain domain,
                        struct slice canvas, struct json_place place, const char *path)
{
    bool default_one = slice_equal(canvas, SLICE(RESOURCE_CANVAS_DEFAULT));
    bool right =
        domain == RESOURCE_DOMAIN_ABSENT ||
        (domain == RESOURCE_DOMAIN_CANVAS ? slice_equal(canvas, work->canvas) : default_one);
    if (!right) {
        apply_wrong(apply, work, place, path, "what has this name is of canvas \"%.*s\", not %s",
                    (int)canvas.bytes, (const char *)canvas.at,
                    domain == RESOURCE_DOMAIN_CANVAS ? "of this one" : "the organization's");
    }
}

struct other_canvas {
    size_t skip;
    bool found;
};

/* "canvas \0 name" of a user, behind its kind */
static bool look_for_other_canvas(void *context, struct slice key, struct slice value)
{
    struct other_canvas *other = context;
    struct slice canvas, name;
    (void)value;
    other->found = hub_split(slice_skip(key, other->skip), &canvas, &name) &&
                   !slice_equal(canvas, SLICE(RESOURCE_CANVAS_DEFAULT));
    return !other->found;
}

/* An object of the default canvas becomes that canvas's own. */
static enum bk_err check_others(struct apply *apply, struct apply_work *work)
{
    struct other_canvas other = {.found = false};
    struct key prefix;
    key_users(&prefix, resource_kind_info(work->kind)->key, work->canvas, work->name);
    other.skip = prefix.bytes + 1;
    enum bk_err err =
        store_walk(apply->txn, key_slice(&prefix), SLICE_EMPTY, look_for_other_canvas, &other);
    if (err == BK_OK && other.found) {
        apply_wrong(apply, work, work->document->place, "metadata.domainType",
                    "other canvases use this %s", resource_kind_info(work->kind)->name);
    }
    return err;
}

enum bk_err apply_domain(struct apply *apply, struct apply_work *work)
{
    static const char *const shown[] = {NULL, "\"DOMAIN_TYPE_CANVAS\""};
    enum resource_domain domain = work->document->domain;
    bool own = domain == RESOURCE_DOMAIN_CANVAS;
    bool was = apply->existed && !hub_is_shared(work->kind, &apply->old);
    bool by_default = slice_equal(work->canvas, SLICE(RESOURCE_CANVAS_DEFAULT));
    if (domain == RESOURCE_DOMAIN_ORGANIZATION && !by_default) {
        apply_wrong(apply, work, work->document->place, "metadata.domainType",
                    "what is the organization's has no canvasId: it is in canvas \"default\"");
    }
    if (apply->existed && own != was) {
        apply_diff_add(apply, "metadata.domainType", shown[was], shown[own]);
    }
    if (own) {
        buf_add_slice(&apply->compiled, HUB_OWN_CANVAS);
    }
    return own && by_default && apply->existed && !was ? check_others(apply, work) : BK_OK;
}

enum bk_err apply_refer(struct apply *apply, struct apply_work *work, enum resource_kind kind,
                        struct slice name, struct json_place place, const char *path,
                        struct slice *ret_canvas, struct record *ret_record)
{
    char where[WHERE_BYTES];
    struct record record;
    struct slice canvas = work->canvas;
    if (apply_is_doubtful(apply, kind, canvas, name)) {
        work->failed = true;
        return BK_NOT_FOUND;
    }
    enum bk_err err = find_target(apply, kind, name, &canvas, &record);
    if (err == BK_NOT_FOUND) {
        apply_wrong(apply, work, place, path, "there is no %s \"%.*s\"%s",
                    resource_kind_info(kind)->name, (int)name.bytes, (const char *)name.at,
                    where_told(apply, work, kind, name, where));
        return BK_NOT_FOUND;
    }
    if (err != BK_OK) {
        return err;
    }
    *ret_canvas = canvas;
    if (ret_record) {
        *ret_record = record;
    }
    return note_reference(apply, work, &(struct apply_reference){kind, canvas, name, SLICE_EMPTY},
                          place, path);
}

/* apply_refer() for a key of a Secret, which must be there. */
static enum bk_err apply_refer_secret(struct apply *apply, struct apply_work *work,
                                      const struct resource_secret_ref *ref,
                                      struct json_place place, const char *path,
                                      struct slice *ret_canvas)
{
    char where[WHERE_BYTES];
    struct record record;
    struct slice canvas = work->canvas;
    if (apply_is_doubtful(apply, RESOURCE_SECRET, canvas, ref->name)) {
        work->failed = true;
        return BK_NOT_FOUND;
    }
    enum bk_err err = find_target(apply, RESOURCE_SECRET, ref->name, &canvas, &record);
    if (err == BK_NOT_FOUND) {
        apply_wrong(
            apply, work, place, path, "there is no Secret \"%.*s\"%s (wanted for its key \"%.*s\")",
            (int)ref->name.bytes, (const char *)ref->name.at,
            where_told(apply, work, RESOURCE_SECRET, ref->name, where),
            (int)ref->key.bytes, (const char *)ref->key.at);
        return BK_NOT_FOUND;
    }
    if (err != BK_OK) {
        return err;
    }
    if (work->kind == RESOURCE_INTEGRATION && work->document->domain != RESOURCE_DOMAIN_CANVAS &&
        slice_equal(work->canvas, SLICE(RESOURCE_CANVAS_DEFAULT)) &&
        !hub_is_shared(RESOURCE_SECRET, &record)) {
        apply_wrong(apply, work, place, path,
                    "Secret \"%.*s\" is canvas \"default\"'s own, and the Integration is the "
                    "organization's",
                    (int)ref->name.bytes, (const char *)ref->name.at);
    }
    char storage[RESOURCE_SECRET_KEY_BYTES_MAX + 8];
    struct record_slot slot;
    if (ref->key.bytes > RESOURCE_SECRET_KEY_BYTES_MAX ||
        !record_slot_find(&record, secret_field(ref->key, storage), &slot)) {
        apply_wrong(apply, work, place, path, "Secret \"%.*s\" has no key \"%.*s\"",
                    (int)ref->name.bytes, (const char *)ref->name.at, (int)ref->key.bytes,
                    (const char *)ref->key.at);
        return BK_NOT_FOUND;
    }
    *ret_canvas = canvas;
    apply_check_domain(apply, work, ref->domain, canvas, place, path);
    return note_reference(apply, work,
                          &(struct apply_reference){RESOURCE_SECRET, canvas, ref->name, ref->key},
                          place, path);
}

/* Does a user of this kind use such an object as a link does its team? The reference's key then
 * says whether the team's entries go out by it. */
static bool is_way_out(enum resource_kind user, uint8_t used)
{
    return user == RESOURCE_INTEGRATION_LINK && used == resource_kind_info(RESOURCE_TEAM)->key;
}

/* Both directions: who uses it, and what it uses. The value of the first names the wanted keys. */
static enum bk_err put_reference(struct apply *apply, const struct apply_work *work,
                                 const struct apply_reference *reference)
{
    uint8_t user = resource_kind_info(work->kind)->key;
    uint8_t target = resource_kind_info(reference->kind)->key;
    struct key key;
    struct slice before, keys = reference->key;
    key_users(&key, target, reference->canvas, reference->name);
    key_add_user(&key, user, work->canvas, work->name);
    enum bk_err err = store_get(apply->txn, key_slice(&key), &before);
    if (err != BK_OK && err != BK_NOT_FOUND) {
        return err;
    }
    char text[1024];
    if (err == BK_OK && before.bytes > 0 && before.bytes + 1 + keys.bytes <= sizeof text) {
        memcpy(text, before.at, before.bytes);
        text[before.bytes] = '\0';
        memcpy(text + before.bytes + 1, keys.at, keys.bytes);
        keys = slice_of(text, before.bytes + 1 + keys.bytes);
    }
    err = store_put(apply->txn, key_slice(&key), keys);
    if (err == BK_OK && is_way_out(work->kind, target) && reference->key.bytes > 0) {
        key_ways_out(&key, reference->canvas, reference->name);
        key_add_address(&key, work->canvas, work->name);
        err = store_put(apply->txn, key_slice(&key), SLICE_EMPTY);
    }
    if (err == BK_OK) {
        key_uses(&key, user, work->canvas, work->name);
        key_add_used(&key, target, reference->canvas, reference->name);
        err = store_put(apply->txn, key_slice(&key), SLICE_EMPTY);
    }
    return err;
}

struct uses_walk {
    unsigned count;
    size_t prefix_bytes;
    struct key used[APPLY_REFERENCES_MAX]; /* kind, canvas \0 name */
};

static bool note_use(void *context, struct slice key, struct slice value)
{
    struct uses_walk *walk = context;
    struct key *used = &walk->used[walk->count++];
    (void)value;
    used->bytes = 0;
    key_add(used, key.at + walk->prefix_bytes, key.bytes - walk->prefix_bytes);
    return walk->count < APPLY_REFERENCES_MAX;
}

enum bk_err apply_drop_references(struct apply *apply, const struct apply_work *work)
{
    struct uses_walk *walk = calloc(1, sizeof *walk);
    uint8_t user = resource_kind_info(work->kind)->key;
    struct key prefix, key;
    if (!walk) {
        return BK_NO_MEMORY;
    }
    key_uses(&prefix, user, work->canvas, work->name);
    walk->prefix_bytes = prefix.bytes;
    enum bk_err err = store_walk(apply->txn, key_slice(&prefix), SLICE_EMPTY, note_use, walk);
    for (unsigned i = 0; err == BK_OK && i < walk->count; i++) {
        struct slice used = key_slice(&walk->used[i]), canvas, name;
        if (used.bytes < 2 || !hub_split(slice_skip(used, 1), &canvas, &name)) {
            err = BK_CORRUPT;
            break;
        }
        key_users(&key, used.at[0], canvas, name);
        key_add_user(&key, user, work->canvas, work->name);
        err = store_delete(apply->txn, key_slice(&key));
        if (err == BK_OK && is_way_out(work->kind, used.at[0])) {
            key_ways_out(&key, canvas, name);
            key_add_address(&key, work->canvas, work->name);
            err = store_delete(apply->txn, key_slice(&key));
        }
        if (err == BK_OK) {
            key = prefix;
            key_add(&key, used.at, used.bytes);
            err = store_delete(apply->txn, key_slice(&key));
        }
    }
    free(walk);
    return err;
}

enum bk_err apply_put_references(struct apply *apply, const struct apply_work *work)
{
    enum bk_err err = apply->existed ? apply_drop_references(apply, work) : BK_OK;
    for (unsigned i = 0; err == BK_OK && i < apply->reference_count; i++) {
        err = put_reference(apply, work, &apply->references[i]);
    }
    return err;
}

/* ---- keys that we make */

/* 32 random bytes as padded base64url; the text is the key. */
enum bk_err apply_generate_key(struct apply *apply, struct slice field, bool whsec)
{
    struct record_slot slot;
    if (apply->existed && apply->options->key == APPLY_KEY_KEEP &&
        record_slot_find(&apply->old, field, &slot)) {
        record_slot_add(&apply->slots, slot.field, slot.sealed);
        apply->slot_count++;
        return BK_OK;
    }
    uint8_t random[32];
    char text[6 + BASE64_ENCODED(sizeof random) + 1] = "whsec_";
    ring_entropy(random, sizeof random);
    size_t bytes = whsec ? 6 : 0;
    bytes +=
        base64_encode(random, sizeof random, whsec ? BASE64_STANDARD : BASE64_URL, text + bytes);
    while (!whsec && bytes % 4 != 0) {
        text[bytes++] = '=';
    }
    text[bytes] = '\0';
    enum bk_err err = apply_seal(apply, field, slice_of(text, bytes));
    if (apply->existed && record_slot_find(&apply->old, field, &slot)) {
        apply_diff_add(apply, "key", "\"" RESOURCE_HIDDEN "\"", "\"(changed)\"");
    }
    if (!apply->options->dry_run) {
        apply->key = arena_copy(apply->arena, text, bytes);
    }
    bk_wipe(random, sizeof random);
    bk_wipe(text, sizeof text);
    return err;
}

enum bk_err apply_previous_key(struct apply *apply, struct slice field, struct slice previous,
                               bool *ret_kept)
{
    struct record_slot slot;
    bool rotate = apply->options->key == APPLY_KEY_ROTATE;
    *ret_kept = apply->existed && apply->options->key != APPLY_KEY_REPLACE &&
                record_slot_find(&apply->old, rotate ? field : previous, &slot);
    if (!*ret_kept) {
        return BK_OK;
    }
    if (!rotate) {
        record_slot_add(&apply->slots, slot.field, slot.sealed);
        apply->slot_count++;
        return BK_OK;
    }
    uint8_t text[256];
    size_t bytes;
    if (slot.sealed.bytes > sizeof text) {
        return BK_CORRUPT;
    }
    enum bk_err err = seal_open(&apply->hub->seal, apply->old.id, field, slot.sealed, text, &bytes);
    if (err == BK_OK) {
        err = apply_seal(apply, previous, slice_of(text, bytes));
    }
    bk_wipe(text, sizeof text);
    return err;
}

enum bk_err apply_secret_source(struct apply *apply, struct apply_work *work,
                                const struct resource_source_secret *secret, const char *field,
                                const char *path, struct source_secret *ret_secret)
{
    struct slice canvas;
    char where[200];
    if (secret->inline_value) {
        snprintf(where, sizeof where, "%s.value", path);
        *ret_secret = (struct source_secret){.field = slice_str(field)};
        return apply_value(apply, work, slice_str(field), secret->value, secret->place, where);
    }
    snprintf(where, sizeof where, "%s.valueFrom.secret", path);
    enum bk_err err = apply_refer_secret(apply, work, &secret->ref, secret->place, where, &canvas);
    if (err == BK_OK) {
        *ret_secret = (struct source_secret){.by_reference = true,
                                             .canvas = canvas,
                                             .name = secret->ref.name,
                                             .key = secret->ref.key};
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* ---- addresses */

bool apply_same_origin(struct slice a, struct slice b)
{
    struct url left, right;
    const char *why;
    return url_parse(a, &left, &why) == BK_OK && url_parse(b, &right, &why) == BK_OK &&
           left.tls == right.tls && left.port == right.port && strcmp(left.host, right.host) == 0;
}

/* ---- the spec in its one spelling */

void spec_name(struct spec_writer *writer, const char *name)
{
    buf_printf(writer->json, "%s\"%s\":", writer->filled ? "," : "", name);
    writer->filled = true;
}

void spec_text(struct spec_writer *writer, const char *name, struct slice text)
{
    if (text.bytes > 0) {
        spec_name(writer, name);
        json_add_string(writer->json, text);
    }
}

void spec_open(struct spec_writer *writer, const char *name)
{
    spec_name(writer, name);
    buf_add_byte(writer->json, '{');
    writer->filled = false;
}

void spec_close(struct spec_writer *writer)
{
    buf_add_byte(writer->json, '}');
    writer->filled = true;
}

void spec_pair(struct spec_writer *writer, const char *name, const char *first,
               struct slice first_text, const char *second, struct slice second_text)
{
    if (first_text.bytes == 0 && second_text.bytes == 0) {
        return;
    }
    spec_open(writer, name);
    spec_text(writer, first, first_text);
    spec_text(writer, second, second_text);
    spec_close(writer);
}

static void spec_secret_ref(struct buf *json, const struct resource_secret_ref *ref)
{
    buf_add_str(json, "{\"valueFrom\":{\"secret\":{\"name\":");
    json_add_string(json, ref->name);
    buf_add_str(json, ",\"key\":");
    json_add_string(json, ref->key);
    buf_add_str(json, "}}}");
}

void spec_secret(struct buf *json, const struct resource_source_secret *secret)
{
    if (secret->inline_value) {
        buf_add_str(json, "{\"value\":\"" RESOURCE_HIDDEN "\"}");
    } else {
        spec_secret_ref(json, &secret->ref);
    }
}

void spec_secrets(struct spec_writer *writer, const struct resource_source_secret *secrets,
                  unsigned count)
{
    spec_name(writer, "secrets");
    buf_add_byte(writer->json, '[');
    for (unsigned i = 0; i < count; i++) {
        buf_add_str(writer->json, i > 0 ? "," : "");
        spec_secret(writer->json, &secrets[i]);
    }
    buf_add_byte(writer->json, ']');
}

void spec_filters(struct spec_writer *writer, const struct resource_filters *filters)
{
    for (unsigned i = 0; i < filters->count; i++) {
        bool header = filters->items[i].kind == FILTER_HEADER;
        if (i == 0) {
            spec_name(writer, "filters");
        }
        buf_printf(writer->json,
                   "%s{\"type\":\"FILTER_TYPE_%s\",\"%s\":{\"expression\":", i > 0 ? "," : "[",
                   header ? "HEADER" : "DATA", header ? "header" : "data");
        json_add_string(writer->json, filters->items[i].expression);
        buf_add_str(writer->json, i + 1 < filters->count ? "}}" : "}}]");
    }
    if (filters->any) {
        spec_text(writer, "filterOperator", SLICE("FILTER_OPERATOR_OR"));
    }
}
