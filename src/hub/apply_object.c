/* apply_object.c - one object: from its document to its record and indexes. */
#include "base/assert.h"
#include "base/base64.h"
#include "base/ct.h"
#include "base/hex.h"
#include "base/json.h"
#include "hub/apply_private.h"
#include "hub/decode.h"
#include "ring/ring.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY_FIELD SLICE("key") /* the slot of a generated signing key */

/* ---- the record before */

enum bk_err apply_load(struct apply *apply, const struct apply_work *work)
{
    struct key key;
    struct slice value;
    key_object(&key, resource_kind_info(work->kind)->key, work->canvas, work->name);
    enum bk_err err = store_get(apply->txn, key_slice(&key), &value);
    apply->existed = err == BK_OK;
    if (err == BK_NOT_FOUND) {
        apply->old = (struct record){0};
        return BK_OK;
    }
    if (err != BK_OK) {
        return err;
    }
    buf_reset(&apply->old_bytes);
    buf_add_slice(&apply->old_bytes, value);
    return apply->old_bytes.overflow ? BK_TOO_LARGE
                                     : record_decode(buf_slice(&apply->old_bytes), &apply->old);
}

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

static enum bk_err add_sealed(struct apply *apply, struct slice field, struct slice text)
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
static enum bk_err add_value(struct apply *apply, struct apply_work *work, struct slice field,
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
    return add_sealed(apply, field, text);
}

/* ---- Secret */

static enum bk_err build_secret(struct apply *apply, struct apply_work *work)
{
    const struct resource_secret *secret = &work->document->spec.secret;
    buf_add_str(&apply->spec, "{\"provider\":\"PROVIDER_LOCAL\",\"local\":{\"data\":{");
    for (size_t i = 0; i < secret->count; i++) {
        const struct resource_secret_item *item = &secret->items[i];
        char storage[RESOURCE_SECRET_KEY_BYTES_MAX + 8];
        char path[RESOURCE_SECRET_KEY_BYTES_MAX + 32];
        snprintf(path, sizeof path, "spec.local.data.%.*s", (int)item->key.bytes,
                 (const char *)item->key.at);
        enum bk_err err = add_value(apply, work, secret_field(item->key, storage), item->value,
                                    item->place, path);
        if (err != BK_OK) {
            return err;
        }
        if (i > 0) {
            buf_add_byte(&apply->spec, ',');
        }
        json_add_string(&apply->spec, item->key);
        buf_add_str(&apply->spec, ":\"" RESOURCE_HIDDEN "\"");
    }
    buf_add_str(&apply->spec, "}}}");
    struct slice rest = apply->old.slots;
    struct record now = {.slots = buf_slice(&apply->slots)};
    struct record_slot slot, found;
    while (apply->existed && record_slot_next(&rest, &slot)) {
        work->keys_dropped |= !record_slot_find(&now, slot.field, &found);
    }
    return BK_OK;
}

/* ---- EventSource: the spec in its one spelling */

struct spec_writer {
    struct buf *json;
    bool filled; /* the object that is open has a member */
};

static void write_name(struct spec_writer *writer, const char *name)
{
    buf_printf(writer->json, "%s\"%s\":", writer->filled ? "," : "", name);
    writer->filled = true;
}

static void write_text(struct spec_writer *writer, const char *name, struct slice text)
{
    if (text.bytes > 0) {
        write_name(writer, name);
        json_add_string(writer->json, text);
    }
}

static void write_open(struct spec_writer *writer, const char *name)
{
    write_name(writer, name);
    buf_add_byte(writer->json, '{');
    writer->filled = false;
}

static void write_close(struct spec_writer *writer)
{
    buf_add_byte(writer->json, '}');
    writer->filled = true;
}

static void write_pair(struct spec_writer *writer, const char *name, const char *first,
                       struct slice first_text, const char *second, struct slice second_text)
{
    if (first_text.bytes == 0 && second_text.bytes == 0) {
        return;
    }
    write_open(writer, name);
    write_text(writer, first, first_text);
    write_text(writer, second, second_text);
    write_close(writer);
}

static void write_secrets(struct spec_writer *writer, const struct resource_event_source *source)
{
    write_name(writer, "secrets");
    buf_add_byte(writer->json, '[');
    for (unsigned i = 0; i < source->secret_count; i++) {
        const struct resource_source_secret *secret = &source->secrets[i];
        buf_add_str(writer->json, i > 0 ? "," : "");
        if (secret->inline_value) {
            buf_add_str(writer->json, "{\"value\":\"" RESOURCE_HIDDEN "\"}");
            continue;
        }
        buf_add_str(writer->json, "{\"valueFrom\":{\"secret\":{\"name\":");
        json_add_string(writer->json, secret->ref.name);
        buf_add_str(writer->json, ",\"key\":");
        json_add_string(writer->json, secret->ref.key);
        buf_add_str(writer->json, "}}}");
    }
    buf_add_byte(writer->json, ']');
}

/* One or several, as it was given. */
static void write_audience(struct spec_writer *writer, struct slice audience)
{
    if (slice_find(audience, ' ') == audience.bytes) {
        write_text(writer, "audience", audience);
        return;
    }
    write_name(writer, "audience");
    for (const char *comma = "["; audience.bytes > 0; comma = ",") {
        struct slice word = slice_of(audience.at, slice_find(audience, ' '));
        buf_add_str(writer->json, comma);
        json_add_string(writer->json, word);
        audience = slice_skip(audience, word.bytes + 1);
    }
    buf_add_byte(writer->json, ']');
}

static void write_claims(struct spec_writer *writer, struct slice claims)
{
    if (claims.bytes == 0) {
        return;
    }
    write_open(writer, "claims");
    while (claims.bytes > 0) {
        struct slice line = slice_of(claims.at, slice_find(claims, '\n'));
        size_t name_bytes = slice_find(line, '=');
        buf_add_str(writer->json, writer->filled ? "," : "");
        json_add_string(writer->json, slice_of(line.at, name_bytes));
        buf_add_byte(writer->json, ':');
        json_add_string(writer->json, slice_skip(line, name_bytes + 1));
        writer->filled = true;
        claims = slice_skip(claims, line.bytes + 1);
    }
    write_close(writer);
}

static void write_verification(struct spec_writer *writer,
                               const struct resource_event_source *source)
{
    size_t at = writer->json->bytes;
    bool filled = writer->filled;
    write_open(writer, "verification");
    write_text(writer, "scheme", source->scheme);
    write_text(writer, "algorithm", source->algorithm);
    write_pair(writer, "signature", "header", source->signature_header, "format",
               source->signature_format);
    write_pair(writer, "timestamp", "header", source->timestamp_header, "", SLICE_EMPTY);
    write_pair(writer, "id", "header", source->id_header, "field", source->id_field);
    write_pair(writer, "type", "header", source->type_header, "field", source->type_field);
    write_text(writer, "signed", source->signed_template);
    write_text(writer, "issuer", source->issuer);
    write_audience(writer, source->audience);
    write_claims(writer, source->claims);
    write_text(writer, "jwksUrl", source->jwks_url);
    if (source->secret_count > 0) {
        write_secrets(writer, source);
    }
    write_text(writer, "tolerance", source->tolerance_text);
    if (!writer->filled) { /* nothing in it: take it back */
        writer->json->bytes = at;
        writer->filled = filled;
        return;
    }
    write_close(writer);
}

static void write_source(struct buf *json, const struct resource_event_source *source)
{
    struct spec_writer writer = {json, false};
    buf_add_byte(json, '{');
    write_text(&writer, "type", source->type);
    write_text(&writer, "path", source->path);
    write_verification(&writer, source);
    write_pair(&writer, "dedupe", "window", source->dedupe_text, "", SLICE_EMPTY);
    if (source->body_bytes > 0 || source->per_second_given) {
        write_open(&writer, "limits");
        if (source->body_bytes > 0) {
            write_name(&writer, "bodyBytes");
            buf_printf(json, "%llu", (unsigned long long)source->body_bytes);
        }
        if (source->per_second_given) {
            write_name(&writer, "perSecond");
            buf_printf(json, "%u", source->per_second);
        }
        write_close(&writer);
    }
    buf_add_byte(json, '}');
}

/* ---- EventSource: references, paths, the compiled input */

/* Which canvas a reference means: the source's own, else the default one. */
static enum bk_err resolve(struct apply *apply, struct apply_work *work,
                           const struct resource_source_secret *secret, const char *path,
                           struct source_secret *ret_secret)
{
    struct record record;
    struct slice canvas = work->canvas;
    enum bk_err err = hub_record(apply->txn, RESOURCE_SECRET, canvas, secret->ref.name, &record);
    if (err == BK_NOT_FOUND) {
        canvas = slice_str(RESOURCE_CANVAS_DEFAULT);
        err = hub_record(apply->txn, RESOURCE_SECRET, canvas, secret->ref.name, &record);
    }
    if (err == BK_NOT_FOUND) {
        apply_wrong(apply, work, secret->place, path,
                    "there is no Secret \"%.*s\" (wanted for its key \"%.*s\")",
                    (int)secret->ref.name.bytes, (const char *)secret->ref.name.at,
                    (int)secret->ref.key.bytes, (const char *)secret->ref.key.at);
        return BK_OK;
    }
    if (err != BK_OK) {
        return err;
    }
    char storage[RESOURCE_SECRET_KEY_BYTES_MAX + 8];
    struct record_slot slot;
    if (secret->ref.key.bytes > RESOURCE_SECRET_KEY_BYTES_MAX ||
        !record_slot_find(&record, secret_field(secret->ref.key, storage), &slot)) {
        apply_wrong(apply, work, secret->place, path, "Secret \"%.*s\" has no key \"%.*s\"",
                    (int)secret->ref.name.bytes, (const char *)secret->ref.name.at,
                    (int)secret->ref.key.bytes, (const char *)secret->ref.key.at);
        return BK_OK;
    }
    *ret_secret = (struct source_secret){.by_reference = true,
                                         .canvas = canvas,
                                         .name = secret->ref.name,
                                         .key = secret->ref.key};
    return BK_OK;
}

static const char *const slot_names[SECRETS_PER_SOURCE_MAX] = {
    "secrets[0]", "secrets[1]", "secrets[2]", "secrets[3]",
    "secrets[4]", "secrets[5]", "secrets[6]", "secrets[7]"};

/* 32 random bytes as padded base64url; the text is the key. */
static enum bk_err generate_key(struct apply *apply)
{
    struct record_slot slot;
    if (apply->existed && record_slot_find(&apply->old, KEY_FIELD, &slot)) {
        record_slot_add(&apply->slots, slot.field, slot.sealed);
        apply->slot_count++;
        return BK_OK;
    }
    uint8_t random[32];
    char text[BASE64_ENCODED(sizeof random) + 1];
    ring_entropy(random, sizeof random);
    size_t bytes = base64_encode(random, sizeof random, BASE64_URL, text);
    while (bytes % 4 != 0) {
        text[bytes++] = '=';
    }
    text[bytes] = '\0';
    enum bk_err err = add_sealed(apply, KEY_FIELD, slice_of(text, bytes));
    if (!apply->options->dry_run) {
        apply->key = arena_copy(apply->arena, text, bytes);
    }
    bk_wipe(random, sizeof random);
    bk_wipe(text, sizeof text);
    return err;
}

static enum bk_err gather_secrets(struct apply *apply, struct apply_work *work,
                                  struct source_input *input)
{
    const struct resource_event_source *source = &work->document->spec.source;
    enum bk_err err = BK_OK;
    for (unsigned i = 0; err == BK_OK && i < source->secret_count; i++) {
        const struct resource_source_secret *secret = &source->secrets[i];
        char path[80];
        if (secret->inline_value) {
            snprintf(path, sizeof path, "spec.verification.%s.value", slot_names[i]);
            input->secrets[i] = (struct source_secret){.field = slice_str(slot_names[i])};
            err = add_value(apply, work, slice_str(slot_names[i]), secret->value, secret->place,
                            path);
        } else {
            snprintf(path, sizeof path, "spec.verification.%s.valueFrom.secret", slot_names[i]);
            err = resolve(apply, work, secret, path, &input->secrets[i]);
        }
    }
    input->secret_count = source->secret_count;
    if (err == BK_OK && source->generate_key) {
        input->secrets[0] = (struct source_secret){.field = KEY_FIELD};
        input->secret_count = 1;
        err = generate_key(apply);
    }
    return err;
}

/* The path: as given; else the generated one it has; else a new one of 128 random bits. */
static enum bk_err choose_path(struct apply *apply, struct apply_work *work,
                               const struct source_input *old, struct source_input *input)
{
    const struct resource_event_source *source = &work->document->spec.source;
    input->path = source->path;
    if (source->path.bytes == 0) {
        input->path_generated = true;
        if (apply->existed && old->path_generated) {
            input->path = old->path;
        } else {
            uint8_t random[16];
            char text[33];
            ring_entropy(random, sizeof random);
            hex_encode(random, sizeof random, text);
            input->path = slice_of(arena_copy(apply->arena, text, 32), 32);
        }
    }
    char *copy = arena_copy(apply->arena, input->path.at, input->path.bytes);
    if (!input->path.at || !copy) {
        return BK_NO_MEMORY;
    }
    work->path = slice_of(copy, input->path.bytes);
    work->path_new = !apply->existed || !slice_equal(old->path, input->path);
    return BK_OK;
}

static enum bk_err build_source(struct apply *apply, struct apply_work *work,
                                const struct source_input *old, struct source_input *input)
{
    const struct resource_event_source *source = &work->document->spec.source;
    *input = (struct source_input){.type = source->type,
                                   .custom = source->custom,
                                   .tolerance_seconds = source->tolerance_seconds,
                                   .dedupe_window_ns = source->dedupe_window_ns,
                                   .body_bytes = source->body_bytes,
                                   .per_second = source->per_second};
    if (source->custom) {
        source_custom(source, &input->row);
    }
    enum bk_err err = gather_secrets(apply, work, input);
    if (err == BK_OK) {
        err = choose_path(apply, work, old, input);
    }
    if (err == BK_OK && !work->failed) {
        write_source(&apply->spec, source);
        source_input_encode(input, &apply->compiled);
    }
    return err;
}

/* ---- indexes */

static enum bk_err put_references(struct apply *apply, const struct apply_work *work,
                                  const struct source_input *input, bool remove)
{
    for (unsigned i = 0; i < input->secret_count; i++) {
        const struct source_secret *secret = &input->secrets[i];
        if (!secret->by_reference) {
            continue;
        }
        struct key key;
        key_users(&key, resource_kind_info(RESOURCE_SECRET)->key, secret->canvas, secret->name);
        key_add_user(&key, resource_kind_info(work->kind)->key, work->canvas, work->name);
        enum bk_err err = remove ? store_delete(apply->txn, key_slice(&key))
                                 : store_put(apply->txn, key_slice(&key), SLICE_EMPTY);
        if (err != BK_OK) {
            return err;
        }
    }
    return BK_OK;
}

/* "canvas \0 name", with a kind in front or a type behind. */
static struct slice address_value(const struct apply_work *work, uint8_t kind, struct slice type,
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

static enum bk_err put_id(struct apply *apply, const struct apply_work *work)
{
    struct key key, value;
    key_id(&key, apply->id);
    return store_put(
        apply->txn, key_slice(&key),
        address_value(work, resource_kind_info(work->kind)->key, SLICE_EMPTY, &value));
}

static enum bk_err put_source_indexes(struct apply *apply, const struct apply_work *work,
                                      const struct source_input *old,
                                      const struct source_input *input, uint64_t number)
{
    struct key key, value;
    enum bk_err err = BK_OK;
    if (apply->existed) {
        err = put_references(apply, work, old, true);
        if (err == BK_OK && work->path_new) {
            key_path(&key, old->path);
            err = store_delete(apply->txn, key_slice(&key));
        }
    }
    if (err == BK_OK) {
        err = put_references(apply, work, input, false);
    }
    if (err == BK_OK && !(apply->existed && slice_equal(old->type, input->type))) {
        key_number(&key, number);
        err = store_put(apply->txn, key_slice(&key),
                        address_value(work, 0, input->type, &value));
    }
    return err;
}

/* ---- putting */

static enum bk_err put_record(struct apply *apply, struct apply_work *work,
                              const struct source_input *old, const struct source_input *input)
{
    bool source = work->kind == RESOURCE_EVENT_SOURCE;
    struct record record = {.kind = resource_kind_info(work->kind)->key,
                            .slot_count = apply->slot_count,
                            .number = apply->existed ? apply->old.number
                                      : source       ? ++apply->number
                                                     : 0,
                            .revision = ++apply->revision,
                            .created_ns = apply->existed ? apply->old.created_ns
                                                         : apply->options->now_ns,
                            .updated_ns = apply->options->now_ns,
                            .compiled = buf_slice(&apply->compiled),
                            .slots = buf_slice(&apply->slots),
                            .description = work->document->description,
                            .spec = buf_slice(&apply->spec)};
    memcpy(record.id, apply->id, sizeof record.id);
    struct key key;
    buf_reset(&apply->bytes);
    record_encode(&record, &apply->bytes);
    if (apply->bytes.overflow) {
        return BK_TOO_LARGE;
    }
    key_object(&key, record.kind, work->canvas, work->name);
    enum bk_err err = store_put(apply->txn, key_slice(&key), buf_slice(&apply->bytes));
    if (err == BK_OK && !apply->existed) {
        err = put_id(apply, work);
    }
    if (err == BK_OK && source) {
        err = put_source_indexes(apply, work, old, input, record.number);
    }
    work->changed = true;
    work->result->revision = record.revision;
    return err;
}

static bool unchanged(const struct apply *apply, const struct apply_work *work)
{
    return apply->existed && slice_equal(apply->old.spec, buf_slice(&apply->spec)) &&
           slice_equal(apply->old.slots, buf_slice(&apply->slots)) &&
           slice_equal(apply->old.compiled, buf_slice(&apply->compiled)) &&
           slice_equal(apply->old.description, work->document->description);
}

static const char *string_json(struct apply *apply, struct slice text)
{
    struct buf json;
    buf_init(&json, 16384);
    json_add_string(&json, text);
    const char *copy = arena_string(apply->arena, buf_text(&json));
    buf_fini(&json);
    return copy;
}

static void describe(struct apply *apply, struct apply_work *work)
{
    struct apply_result *result = work->result;
    struct slice spec = buf_slice(&apply->spec);
    if (!apply->existed) {
        apply_diff_add(apply, "spec", NULL, arena_copy(apply->arena, spec.at, spec.bytes));
    } else if (result->action == APPLY_UPDATED) {
        apply_diff_specs(apply, apply->old.spec, spec);
        struct slice before = apply->old.description, after = work->document->description;
        if (!slice_equal(before, after)) {
            apply_diff_add(apply, "metadata.description",
                           before.bytes ? string_json(apply, before) : NULL,
                           after.bytes ? string_json(apply, after) : NULL);
        }
    }
    result->diffs = apply->diffs;
    result->diff_count = apply->diff_count;
    result->key = apply->key;
    /* A dry run must not tell an unguessable path: the real one will be another. */
    bool invented = work->kind == RESOURCE_EVENT_SOURCE && apply->options->dry_run &&
                    work->path_new && work->document->spec.source.path.bytes == 0;
    if (work->kind == RESOURCE_EVENT_SOURCE && !invented) {
        result->url = arena_printf(apply->arena, "%s/hooks/%.*s", apply->hub->public_url,
                                   (int)work->path.bytes, (const char *)work->path.at);
    }
    hub_id_text(apply->id, result->id);
}

static void scratch_reset(struct apply *apply)
{
    buf_reset(&apply->spec);
    buf_reset(&apply->slots);
    buf_reset(&apply->compiled);
    apply->slot_count = 0;
    apply->key = NULL;
    apply->diffs = NULL;
    apply->diff_count = apply->diff_size = 0;
}

/* Mode and If-Match. */
static enum bk_err check_existing(struct apply *apply, const struct apply_work *work)
{
    const struct apply_options *options = apply->options;
    const char *kind = resource_kind_info(work->kind)->name;
    int bytes = (int)work->name.bytes;
    const char *name = (const char *)work->name.at;
    if (options->mode == APPLY_CREATE && apply->existed) {
        return apply_fail(apply, BK_EXISTS, "%s \"%.*s\" is already there", kind, bytes, name);
    }
    if (options->mode == APPLY_UPDATE && !apply->existed) {
        return apply_fail(apply, BK_NOT_FOUND, "there is no %s \"%.*s\"", kind, bytes, name);
    }
    if (options->if_match_given && apply->old.revision != options->if_match) {
        return apply_fail(apply, BK_CONFLICT,
                          "%s \"%.*s\" is at revision %llu, not %llu: read it again", kind, bytes,
                          name, (unsigned long long)apply->old.revision,
                          (unsigned long long)options->if_match);
    }
    return BK_OK;
}

enum bk_err apply_put(struct apply *apply, struct apply_work *work)
{
    struct source_input old = {0}, input;
    scratch_reset(apply);
    enum bk_err err = apply_load(apply, work);
    if (err == BK_OK) {
        err = check_existing(apply, work);
    }
    if (err != BK_OK) {
        return err;
    }
    if (apply->existed) {
        memcpy(apply->id, apply->old.id, sizeof apply->id);
        work->result->revision = apply->old.revision;
    } else {
        hub_id_make(apply->id);
    }
    if (work->kind == RESOURCE_SECRET) {
        err = build_secret(apply, work);
    } else if (work->kind == RESOURCE_EVENT_SOURCE) {
        if (apply->existed) {
            err = source_input_decode(apply->old.compiled, &old);
        }
        err = err == BK_OK ? build_source(apply, work, &old, &input) : err;
    } else {
        bk_assert(work->kind == RESOURCE_CANVAS);
        buf_add_str(&apply->spec, "{}");
    }
    if (err != BK_OK || work->failed) {
        return err;
    }
    if (apply->spec.overflow || apply->slots.overflow || apply->compiled.overflow) {
        return apply_fail(apply, BK_TOO_LARGE, "%s \"%.*s\" is too large",
                          resource_kind_info(work->kind)->name, (int)work->name.bytes,
                          (const char *)work->name.at);
    }
    if (unchanged(apply, work)) {
        work->result->action = APPLY_UNCHANGED;
    } else {
        work->result->action = apply->existed ? APPLY_UPDATED : APPLY_CREATED;
        err = put_record(apply, work, &old, &input);
    }
    describe(apply, work);
    return err;
}

/* ---- removing */

enum bk_err apply_remove(struct apply *apply, struct apply_work *work)
{
    struct source_input old;
    struct key key;
    scratch_reset(apply);
    enum bk_err err = apply_load(apply, work);
    if (err != BK_OK) {
        return err;
    }
    bk_assert(apply->existed);
    if (work->kind == RESOURCE_EVENT_SOURCE) {
        err = source_input_decode(apply->old.compiled, &old);
        if (err == BK_OK) {
            err = put_references(apply, work, &old, true);
        }
        if (err == BK_OK) {
            key_path(&key, old.path);
            err = store_delete(apply->txn, key_slice(&key));
            char *path = arena_copy(apply->arena, old.path.at, old.path.bytes);
            work->path = slice_of(path, path ? old.path.bytes : 0);
        }
    }
    if (err == BK_OK) {
        key_id(&key, apply->old.id);
        err = store_delete(apply->txn, key_slice(&key));
    }
    if (err == BK_OK) {
        key_object(&key, resource_kind_info(work->kind)->key, work->canvas, work->name);
        err = store_delete(apply->txn, key_slice(&key));
    }
    work->changed = true;
    work->number = apply->old.number;
    memcpy(work->id, apply->old.id, sizeof work->id);
    work->result->action = APPLY_DELETED;
    work->result->revision = apply->old.revision;
    hub_id_text(apply->old.id, work->result->id);
    apply_diff_add(apply, "spec",
                   arena_copy(apply->arena, apply->old.spec.at, apply->old.spec.bytes), NULL);
    work->result->diffs = apply->diffs;
    work->result->diff_count = apply->diff_count;
    return err;
}
