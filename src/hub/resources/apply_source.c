/* apply_source.c - EventSource: its secrets, its path, what the hot path needs of it. */
#include "base/assert.h"
#include "base/hex.h"
#include "base/json.h"
#include "hub/links/link_find.h"
#include "hub/operations/provider_work.h"
#include "hub/resources/apply_build.h"
#include "hub/resources/decode.h"
#include "providers/scheme.h"
#include "ring/ring.h"

#include <stdio.h>
#include <stdlib.h>

#define KEY_FIELD      SLICE("key")          /* the slot of a generated signing key */
#define PREVIOUS_FIELD SLICE("key.previous") /* of the one before, after a rotation */

/* ---- the spec in its one spelling */

/* One or several, as it was given. */
static void write_audience(struct spec_writer *writer, struct slice audience)
{
    if (slice_find(audience, ' ') == audience.bytes) {
        spec_text(writer, "audience", audience);
        return;
    }
    spec_name(writer, "audience");
    for (const char *comma = "["; audience.bytes > 0; comma = ",") {
        struct slice word = slice_of(audience.at, slice_find(audience, ' '));
        buf_add_str(writer->json, comma);
        json_add_string(writer->json, word);
        audience = slice_skip(audience, word.bytes + 1);
    }
    buf_add_byte(writer->json, ']');
}

/* Texts with a blank between, as a list. */
static void write_list(struct spec_writer *writer, const char *name, struct slice text, bool given)
{
    if (!given && text.bytes == 0) {
        return;
    }
    spec_name(writer, name);
    buf_add_byte(writer->json, '[');
    for (bool first = true; text.bytes > 0; first = false) {
        struct slice word = slice_of(text.at, slice_find(text, ' '));
        text = slice_skip(text, word.bytes + 1);
        buf_add_str(writer->json, first ? "" : ",");
        json_add_string(writer->json, word);
    }
    buf_add_byte(writer->json, ']');
}

static void write_three(struct spec_writer *writer, const char *name, const char *const names[3],
                        struct slice first, struct slice second, struct slice third)
{
    if (first.bytes == 0 && second.bytes == 0 && third.bytes == 0) {
        return;
    }
    spec_open(writer, name);
    spec_text(writer, names[0], first);
    spec_text(writer, names[1], second);
    spec_text(writer, names[2], third);
    spec_close(writer);
}

static void write_claims(struct spec_writer *writer, struct slice claims)
{
    if (claims.bytes == 0) {
        return;
    }
    spec_open(writer, "claims");
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
    spec_close(writer);
}

static void write_verification(struct spec_writer *writer,
                               const struct resource_event_source *source)
{
    size_t at = writer->json->bytes;
    bool filled = writer->filled;
    spec_open(writer, "verification");
    spec_text(writer, "scheme", source->scheme);
    spec_text(writer, "algorithm", source->algorithm);
    static const char *const signature[3] = {"header", "field", "format"};
    static const char *const timestamp[3] = {"header", "field", "unit"};
    write_three(writer, "signature", signature, source->signature_header, source->signature_field,
                source->signature_format);
    write_three(writer, "timestamp", timestamp, source->timestamp_header, source->timestamp_field,
                source->timestamp_unit);
    spec_pair(writer, "id", "header", source->id_header, "field", source->id_field);
    const char *field = slice_starts(source->type_field, SLICE("{")) ? "template" : "field";
    spec_pair(writer, "type", "header", source->type_header, field, source->type_field);
    spec_text(writer, "signed", source->signed_template);
    spec_text(writer, "issuer", source->issuer);
    write_audience(writer, source->audience);
    write_claims(writer, source->claims);
    spec_text(writer, "jwksUrl", source->jwks_url);
    if (source->allow_private) {
        spec_name(writer, "allowPrivate");
        buf_add_str(writer->json, "true");
    }
    if (source->secret_count > 0) {
        spec_secrets(writer, source->secrets, source->secret_count);
    }
    if (source->verify_token) {
        spec_name(writer, "verifyToken");
        spec_secret(writer->json, source->verify_token);
    }
    spec_text(writer, "tolerance", source->tolerance_text);
    write_list(writer, "origins", source->origins, false);
    write_list(writer, "allow", source->allow, source->has_allow);
    write_list(writer, "trustedProxies", source->proxies, false);
    if (!writer->filled) { /* nothing in it: take it back */
        writer->json->bytes = at;
        writer->filled = filled;
        return;
    }
    spec_close(writer);
}

static void write_events(struct spec_writer *writer, const struct resource_event_source *source)
{
    for (unsigned i = 0; i < source->event_count; i++) {
        if (i == 0) {
            spec_name(writer, "events");
        }
        buf_add_str(writer->json, i == 0 ? "[{" : ",{");
        writer->filled = false;
        spec_text(writer, "type", source->events[i].types[0]);
        spec_filters(writer, &source->events[i]);
        buf_add_str(writer->json, i + 1 < source->event_count ? "}" : "}]");
        writer->filled = true;
    }
}

static void write_source(struct buf *json, const struct resource_event_source *source)
{
    struct spec_writer writer = {json, false};
    buf_add_byte(json, '{');
    if (source->integration.bytes > 0) {
        spec_pair(&writer, "integration", "name", source->integration, "", SLICE_EMPTY);
        spec_pair(&writer, "resource", "type", source->resource_type, "name", source->resource);
    } else {
        spec_text(&writer, "type", source->type);
    }
    spec_text(&writer, "path", source->path);
    write_verification(&writer, source);
    write_events(&writer, source);
    spec_pair(&writer, "dedupe", "window", source->dedupe_text, "", SLICE_EMPTY);
    if (source->body_bytes > 0 || source->per_second_given) {
        spec_open(&writer, "limits");
        if (source->body_bytes > 0) {
            spec_name(&writer, "bodyBytes");
            buf_printf(json, "%llu", (unsigned long long)source->body_bytes);
        }
        if (source->per_second_given) {
            spec_name(&writer, "perSecond");
            buf_printf(json, "%u", source->per_second);
        }
        spec_close(&writer);
    }
    buf_add_byte(json, '}');
}
/* ---- secrets, path, the compiled input */

static const char *const slot_names[SECRETS_PER_SOURCE_MAX] = {
    "secrets[0]", "secrets[1]", "secrets[2]", "secrets[3]",
    "secrets[4]", "secrets[5]", "secrets[6]", "secrets[7]"};

/* The secret that the provider brought, now or earlier. */
static enum bk_err keep_learned(struct apply *apply, const struct source_input *old,
                                struct source_input *input)
{
    struct record_slot slot;
    struct slice learned = apply->options->learned;
    bool kept = apply->existed && slice_equal(old->type, input->type) &&
                record_slot_find(&apply->old, LEARNED_FIELD, &slot);
    if (learned.bytes == 0 && !kept) {
        return BK_OK;
    }
    input->secrets[input->secret_count++] = (struct source_secret){.field = LEARNED_FIELD};
    if (learned.bytes > 0) {
        return apply_seal(apply, LEARNED_FIELD, learned);
    }
    record_slot_add(&apply->slots, slot.field, slot.sealed);
    apply->slot_count++;
    return BK_OK;
}

static enum bk_err gather_verify_token(struct apply *apply, struct apply_work *work,
                                       struct source_input *input)
{
    const struct resource_source_secret *secret = work->document->spec.source.verify_token;
    struct source_secret *to = &input->secrets[input->secret_count];
    if (!secret) {
        return BK_OK;
    }
    enum bk_err err = apply_secret_source(apply, work, secret, "verifyToken",
                                          "spec.verification.verifyToken", to);
    to->is_verify_token = true;
    input->secret_count++;
    return err;
}

static enum bk_err gather_secrets(struct apply *apply, struct apply_work *work,
                                  const struct source_input *old, struct source_input *input)
{
    const struct resource_event_source *source = &work->document->spec.source;
    enum bk_err err = BK_OK;
    for (unsigned i = 0; err == BK_OK && i < source->secret_count; i++) {
        char path[80];
        snprintf(path, sizeof path, "spec.verification.%s", slot_names[i]);
        err = apply_secret_source(apply, work, &source->secrets[i], slot_names[i], path,
                                  &input->secrets[i]);
    }
    apply_check_kept(apply, work, source->secrets, source->secret_count, slot_names,
                     SECRETS_PER_SOURCE_MAX, "spec.verification.secrets");
    input->secret_count = source->secret_count;
    if (err == BK_OK && source->generate_key) {
        input->secrets[0] = (struct source_secret){.field = KEY_FIELD};
        input->secret_count = 1;
        err = apply_generate_key(apply, KEY_FIELD, false);
        bool kept = false;
        err = err == BK_OK ? apply_previous_key(apply, KEY_FIELD, PREVIOUS_FIELD, &kept) : err;
        if (kept) {
            input->secrets[input->secret_count++] = (struct source_secret){.field = PREVIOUS_FIELD};
        }
    }
    const struct scheme_row *row = source->custom ? NULL : scheme_row_find(source->type);
    if (err == BK_OK && row && scheme_row_learns(row) && source->secret_count == 0) {
        err = keep_learned(apply, old, input);
    }
    return err == BK_OK ? gather_verify_token(apply, work, input) : err;
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

/* The integration says which provider it is; the resource must be of its kind. */
/* A repository, or what holds many of them. */
static bool watches(const struct provider *provider, struct slice type)
{
    return slice_equal(type, slice_str(provider->resource_type)) ||
           (provider->wide_type && slice_equal(type, slice_str(provider->wide_type)));
}

static enum bk_err choose_integration(struct apply *apply, struct apply_work *work,
                                      struct source_input *input)
{
    const struct resource_event_source *source = &work->document->spec.source;
    struct slice canvas, type;
    struct record record;
    enum bk_err err =
        apply_refer(apply, work, RESOURCE_INTEGRATION, source->integration,
                    source->integration_place, "spec.integration.name", &canvas, &record);
    if (err != BK_OK) {
        return err == BK_NOT_FOUND ? BK_OK : err;
    }
    apply_check_domain(apply, work, source->integration_domain, canvas, source->integration_place,
                       "spec.integration.domainType");
    err = provider_work_type(record.spec, apply->arena, &type);
    const struct provider *provider = err == BK_OK ? provider_find(type) : NULL;
    if (err != BK_OK) {
        return err;
    }
    if (!provider || !provider->plans[PROVIDER_HOOK_ENSURE].steps) {
        apply_wrong(apply, work, source->integration_place, "spec.integration.name",
                    "an integration of type %.*s makes no hooks", (int)type.bytes,
                    (const char *)type.at);
    } else if (!watches(provider, source->resource_type)) {
        apply_wrong(apply, work, work->document->spec_place, "spec.resource.type",
                    "must be %s%s%s for %s", provider->resource_type,
                    provider->wide_type ? " or " : "",
                    provider->wide_type ? provider->wide_type : "", provider->title);
    }
    input->type = type;
    input->custom = false;
    input->tolerance_seconds = -1;
    input->integration_canvas = canvas;
    input->integration = source->integration;
    input->resource_type = source->resource_type;
    input->resource = source->resource;
    return BK_OK;
}

static enum bk_err source_build(struct apply *apply, struct apply_work *work)
{
    const struct resource_event_source *source = &work->document->spec.source;
    struct source_input *old = &apply->source_old, *input = &apply->source_new;
    enum bk_err err = BK_OK;
    *old = (struct source_input){0};
    if (apply->existed) {
        err = source_input_decode(apply->old.compiled, old);
        if (err != BK_OK) {
            return err;
        }
    }
    *input = (struct source_input){.type = source->type,
                                   .custom = source->custom,
                                   .tolerance_seconds = source->tolerance_seconds,
                                   .dedupe_window_ns = source->dedupe_window_ns,
                                   .body_bytes = source->body_bytes,
                                   .per_second = source->per_second,
                                   .origins = source->origins,
                                   .has_allow = source->has_allow,
                                   .allow = source->allow,
                                   .proxies = source->proxies,
                                   .events = source->events,
                                   .event_count = source->event_count};
    if (source->integration.bytes > 0) {
        err = choose_integration(apply, work, input);
    } else if (source->custom) {
        source_custom(source, &input->row);
    }
    if (err == BK_OK) {
        err = gather_secrets(apply, work, old, input);
    }
    if (err == BK_OK) {
        err = choose_path(apply, work, old, input);
    }
    if (err == BK_OK && !work->failed) {
        write_source(&apply->spec, source);
        source_input_encode(input, &apply->compiled);
    }
    return err;
}

static enum bk_err source_refer(struct apply *apply, struct apply_work *work)
{
    const struct resource_event_source *source = &work->document->spec.source;
    enum bk_err err = apply_look_object(apply, work, RESOURCE_INTEGRATION, source->integration,
                                        source->integration_place, "spec.integration.name");
    for (unsigned i = 0; err == BK_OK && i < source->secret_count; i++) {
        char path[80];
        snprintf(path, sizeof path, "spec.verification.%s", slot_names[i]);
        err = apply_look_secret(apply, work, &source->secrets[i], path);
    }
    return err == BK_OK && source->verify_token
               ? apply_look_secret(apply, work, source->verify_token,
                                   "spec.verification.verifyToken")
               : err;
}

/* ---- indexes */

static enum bk_err source_index(struct apply *apply, struct apply_work *work, uint64_t number)
{
    const struct source_input *old = &apply->source_old, *input = &apply->source_new;
    struct key key, value;
    enum bk_err err = BK_OK;
    if (apply->existed && work->path_new) {
        key_path(&key, old->path);
        err = store_delete(apply->txn, key_slice(&key));
    }
    if (err == BK_OK && (old->integration.bytes > 0 || input->integration.bytes > 0)) {
        err = provider_work_source_changed(apply, work, old, input);
    }
    if (link_source_is_wide(input->type, input->path) && !apply->options->dry_run) {
        link_note_source(apply->hub, number);
    }
    work->users_indifferent = apply->existed && slice_equal(old->type, input->type);
    if (err == BK_OK && !work->users_indifferent) {
        key_number(&key, number);
        err = store_put(apply->txn, key_slice(&key), address_value(work, 0, input->type, &value));
    }
    return err;
}

static enum bk_err source_unindex(struct apply *apply, struct apply_work *work)
{
    struct source_input old;
    struct key key;
    enum bk_err err = source_input_decode(apply->old.compiled, &old);
    if (err == BK_OK) {
        key_path(&key, old.path);
        err = store_delete(apply->txn, key_slice(&key));
        char *path = arena_copy(apply->arena, old.path.at, old.path.bytes);
        work->path = slice_of(path, path ? old.path.bytes : 0);
    }
    if (err == BK_OK && old.integration.bytes > 0) {
        err = provider_work_source_removed(apply, work, &old);
    }
    if (err == BK_OK) {
        struct source_change change = {.removed = true,
                                       .number = apply->old.number,
                                       .path = work->path,
                                       .name = work->name,
                                       .canvas = work->canvas};
        memcpy(change.id, apply->old.id, sizeof change.id);
        err = apply_add_change(apply, &change);
    }
    return err;
}

/* ---- compiling */

/* blame: what it refers to, and what changed. */
static enum bk_err follow_integration(struct apply *apply, struct slice canvas, struct slice name,
                                      struct apply_work *blame)
{
    struct record record;
    if (blame->kind != RESOURCE_INTEGRATION || (!blame->moved && !blame->retyped)) {
        return BK_OK;
    }
    if (blame->retyped) {
        apply_wrong(apply, blame, blame->document->spec_place, "spec.type",
                    "cannot change while EventSource \"%.*s\" has its webhook through it: make "
                    "another integration",
                    (int)name.bytes, (const char *)name.at);
        return BK_OK;
    }
    enum bk_err err = hub_record(apply->txn, RESOURCE_EVENT_SOURCE, canvas, name, &record);
    if (err != BK_OK) {
        return err;
    }
    /* The record lies in the map, which moves under writes. */
    char *compiled = arena_copy(apply->arena, record.compiled.at, record.compiled.bytes);
    record.compiled = slice_of(compiled, compiled ? record.compiled.bytes : 0);
    return compiled ? provider_work_source_moved(apply, canvas, name, &record) : BK_NO_MEMORY;
}

static enum bk_err source_compile(struct apply *apply, struct slice canvas, struct slice name,
                                  struct apply_work *blame, bool own)
{
    struct record record;
    struct source_change change;
    const char *message = NULL;
    enum bk_err err = own ? BK_OK : follow_integration(apply, canvas, name, blame);
    if (err == BK_OK) {
        err = hub_record(apply->txn, RESOURCE_EVENT_SOURCE, canvas, name, &record);
    }
    if (err != BK_OK) {
        return err;
    }
    err = compiler_run(&apply->compiler, canvas, name, &record, &change, &message);
    if (err == BK_OK) {
        err = apply_add_change(apply, &change);
        if (err != BK_OK) {
            filter_sets_free(change.events, change.event_count);
            scheme_wipe(change.scheme);
            free(change.scheme);
        }
        return err;
    }
    if (err == BK_NO_MEMORY) {
        return err;
    }
    if (own) {
        apply_wrong(apply, blame, blame->document->spec_place, "spec.verification.secrets", "%s",
                    message);
    } else {
        apply_wrong(apply, blame, blame->document->spec_place, "spec.local.data",
                    "EventSource \"%.*s\" cannot use it any more: %s", (int)name.bytes,
                    (const char *)name.at, message);
    }
    return BK_OK;
}

const struct apply_kind apply_source_kind = {.build = source_build,
                                             .refer = source_refer,
                                             .index = source_index,
                                             .unindex = source_unindex,
                                             .compile = source_compile,
                                             .numbered = true};
