/* apply_destination.c - Destination: its secrets and headers, what a delivery needs of it. */
#include "base/assert.h"
#include "base/json.h"
#include "base/time.h"
#include "hub/resources/apply_build.h"

#include <stdio.h>
#include <yyjson.h>

#define KEY_FIELD SLICE("key") /* the slot of a generated signing secret */

/* ---- the spec in its one spelling */

static void spec_number(struct spec_writer *writer, const char *name, uint64_t number)
{
    spec_name(writer, name);
    buf_printf(writer->json, "%llu", (unsigned long long)number);
}

static void write_text(struct buf *json, const struct resource_text *text)
{
    if (text->plain) {
        json_add_string(json, text->value.value);
    } else {
        spec_secret(json, &text->value);
    }
}

static void write_headers(struct spec_writer *writer,
                          const struct resource_destination *destination)
{
    if (destination->header_count == 0) {
        return;
    }
    spec_open(writer, "headers");
    for (unsigned i = 0; i < destination->header_count; i++) {
        const struct resource_destination_header *header = &destination->headers[i];
        buf_add_str(writer->json, i > 0 ? "," : "");
        json_add_string(writer->json, header->name);
        buf_add_byte(writer->json, ':');
        write_text(writer->json, &header->text);
    }
    spec_close(writer);
}

static void write_tls(struct spec_writer *writer, const struct resource_destination *destination)
{
    bool open = false;
    for (unsigned i = 0; i < RESOURCE_TLS_COUNT; i++) {
        if (!destination->tls[i]) {
            continue;
        }
        if (!open) {
            spec_open(writer, "tls");
        }
        open = true;
        spec_name(writer, resource_tls_names[i]);
        write_text(writer->json, destination->tls[i]);
    }
    if (open) {
        spec_close(writer);
    }
}

static void write_retry(struct spec_writer *writer, const struct resource_destination *destination)
{
    if (!destination->schedule_given && !destination->jitter_given) {
        return;
    }
    spec_open(writer, "retry");
    if (destination->schedule_given) {
        spec_name(writer, "schedule");
        buf_add_byte(writer->json, '[');
        for (unsigned i = 0; i < destination->schedule_count; i++) {
            buf_add_str(writer->json, i > 0 ? "," : "");
            json_add_string(writer->json, destination->schedule[i].text);
        }
        buf_add_byte(writer->json, ']');
    }
    if (destination->jitter_given) {
        spec_name(writer, "jitter");
        buf_printf(writer->json, "%.3g", destination->jitter_permille / 1000.0);
    }
    spec_close(writer);
}

static void write_destination(struct buf *json, const struct resource_destination *destination)
{
    struct spec_writer writer = {json, false};
    buf_add_byte(json, '{');
    spec_text(&writer, "url", destination->url);
    write_headers(&writer, destination);
    spec_open(&writer, "signing");
    spec_text(&writer, "scheme",
              destination->unsigned_ ? SLICE("none") : SLICE("standard-webhooks"));
    if (destination->secret_count > 0) {
        spec_secrets(&writer, destination->secrets, destination->secret_count);
    }
    spec_close(&writer);
    if (destination->format != DESTINATION_ORIGINAL) {
        spec_text(&writer, "format", slice_str(resource_formats[destination->format]));
    }
    write_tls(&writer, destination);
    spec_text(&writer, "timeout", destination->timeout.text);
    write_retry(&writer, destination);
    if (destination->concurrency > 0) {
        spec_number(&writer, "concurrency", destination->concurrency);
    }
    if (destination->per_second > 0) {
        spec_open(&writer, "rateLimit");
        spec_number(&writer, "perSecond", destination->per_second);
        spec_close(&writer);
    }
    if (destination->strict) {
        spec_pair(&writer, "ordering", "mode", SLICE("strict"), "key", destination->order_key);
    }
    if (destination->allow_private) {
        spec_name(&writer, "allowPrivate");
        buf_add_str(json, "true");
    }
    if (destination->paused) {
        spec_name(&writer, "paused");
        buf_add_str(json, "true");
    }
    buf_add_byte(json, '}');
}

static const char *const secret_slots[DESTINATION_SECRETS_MAX] = {
    "signing.secrets[0]", "signing.secrets[1]", "signing.secrets[2]", "signing.secrets[3]"};

static enum bk_err gather_secrets(struct apply *apply, struct apply_work *work,
                                  struct destination_input *input)
{
    const struct resource_destination *destination = &work->document->spec.destination;
    enum bk_err err = BK_OK;
    for (unsigned i = 0; err == BK_OK && i < destination->secret_count; i++) {
        char path[64];
        snprintf(path, sizeof path, "spec.%s", secret_slots[i]);
        err = apply_secret_source(apply, work, &destination->secrets[i], secret_slots[i], path,
                                  &input->secrets[i]);
    }
    apply_check_kept(apply, work, destination->secrets, destination->secret_count, secret_slots,
                     DESTINATION_SECRETS_MAX, "spec.signing.secrets");
    input->secret_count = destination->secret_count;
    if (err == BK_OK && destination->generate_key) {
        input->secrets[0] = (struct source_secret){.field = KEY_FIELD};
        input->secret_count = 1;
        err = apply_generate_key(apply, KEY_FIELD, true);
    }
    return err;
}

/* `slot` is where a secret that stands in the document is kept. */
static enum bk_err gather_text(struct apply *apply, struct apply_work *work,
                               const struct resource_text *text, const char *slot, const char *path,
                               struct destination_input_text *to)
{
    *to = (struct destination_input_text){.plain = text->plain, .value = text->value.value};
    if (text->plain) {
        return BK_OK;
    }
    const char *kept = arena_string(apply->arena, slot);
    return kept ? apply_secret_source(apply, work, &text->value, kept, path, &to->secret)
                : BK_NO_MEMORY;
}

static enum bk_err gather_tls(struct apply *apply, struct apply_work *work,
                              struct destination_input *input)
{
    const struct resource_destination *destination = &work->document->spec.destination;
    enum bk_err err = BK_OK;
    for (unsigned i = 0; err == BK_OK && i < RESOURCE_TLS_COUNT; i++) {
        char path[64];
        snprintf(path, sizeof path, "spec.tls.%s", resource_tls_names[i]);
        input->has_tls[i] = destination->tls[i] != NULL;
        if (input->has_tls[i]) {
            err = gather_text(apply, work, destination->tls[i], path + sizeof "spec." - 1, path,
                              &input->tls[i]);
        }
    }
    return err;
}

/* A header's value goes with its name, wherever the header stands among the others; it stays in the
 * slot that it has. */
static const char *header_slot(struct apply *apply, const struct destination_input *old,
                               struct slice name)
{
    for (unsigned i = 0; i < old->header_count; i++) {
        const struct destination_input_header *header = &old->headers[i];
        if (!header->text.plain && !header->text.secret.by_reference &&
            slice_equal_nocase(header->name, name)) {
            return arena_copy(apply->arena, header->text.secret.field.at,
                              header->text.secret.field.bytes);
        }
    }
    char *slot = arena_printf(apply->arena, "headers.%.*s", (int)name.bytes, (const char *)name.at);
    for (char *at = slot; at && *at; at++) {
        *at = (char)ascii_lower((uint8_t)*at);
    }
    return slot;
}

static enum bk_err gather_headers(struct apply *apply, struct apply_work *work,
                                  struct destination_input *input)
{
    const struct resource_destination *destination = &work->document->spec.destination;
    struct destination_input old = {.header_count = 0};
    enum bk_err err = apply->existed ? destination_input_decode(apply->old.compiled, &old) : BK_OK;
    for (unsigned i = 0; err == BK_OK && i < destination->header_count; i++) {
        const struct resource_destination_header *header = &destination->headers[i];
        struct destination_input_header *to = &input->headers[i];
        char path[96];
        to->name = header->name;
        snprintf(path, sizeof path, "spec.headers.%.*s",
                 (int)(header->name.bytes > 60 ? 60 : header->name.bytes),
                 (const char *)header->name.at);
        const char *slot = header_slot(apply, &old, header->name);
        err = slot ? gather_text(apply, work, &header->text, slot, path, &to->text) : BK_NO_MEMORY;
    }
    input->header_count = destination->header_count;
    return err;
}

static bool is_kept(const struct resource_text *text)
{
    return text && !text->plain && text->value.inline_value &&
           slice_equal(text->value.value, slice_str(RESOURCE_HIDDEN));
}

static bool keeps_any(const struct resource_destination *destination)
{
    bool kept = false;
    for (unsigned i = 0; i < destination->header_count; i++) {
        kept |= is_kept(&destination->headers[i].text);
    }
    for (unsigned i = 0; i < RESOURCE_TLS_COUNT; i++) {
        kept |= is_kept(destination->tls[i]);
    }
    return kept;
}

/* To another server go the values of its headers, and what it proves itself with: whoever says so,
 * but administrators, has to have them. */
static enum bk_err check_address(struct apply *apply, struct apply_work *work)
{
    const struct resource_destination *destination = &work->document->spec.destination;
    struct json_problem problem;
    struct json_tree tree;
    if (!apply->options->below_admin || !apply->existed || !keeps_any(destination)) {
        return BK_OK;
    }
    json_tree_init(&tree);
    enum bk_err err = json_parse(apply->old.spec, &tree, &problem) == BK_OK ? BK_OK : BK_CORRUPT;
    struct slice before = SLICE_EMPTY;
    if (err == BK_OK) {
        before = json_text(yyjson_mut_obj_get(tree.roots[0], "url"));
    }
    if (err == BK_OK && !slice_equal(before, destination->url) &&
        !apply_same_origin(before, destination->url)) {
        struct buf json;
        buf_init(&json, 65536);
        apply_add_attempt(&json, "spec/url", before, destination->url);
        err = apply_refuse(apply, work, &json,
                           "Destination \"%.*s\": at another address it would send its secrets "
                           "elsewhere: give them again, or use a token of role admin",
                           (int)work->name.bytes, (const char *)work->name.at);
        buf_fini(&json);
    }
    json_tree_fini(&tree);
    return err;
}

static enum bk_err destination_build(struct apply *apply, struct apply_work *work)
{
    const struct resource_destination *destination = &work->document->spec.destination;
    struct destination_input input = {.url = destination->url,
                                      .unsigned_ = destination->unsigned_,
                                      .format = destination->format,
                                      .strict = destination->strict,
                                      .allow_private = destination->allow_private,
                                      .paused = destination->paused,
                                      .order_key = destination->order_key};
    destination_input_defaults(&input);
    input.per_second = destination->per_second;
    if (destination->timeout.ns > 0) {
        input.timeout_ms = (uint32_t)(destination->timeout.ns / NS_PER_MS);
    }
    if (destination->concurrency > 0) {
        input.concurrency = destination->concurrency;
    }
    if (destination->jitter_given) {
        input.jitter_permille = destination->jitter_permille;
    }
    if (destination->schedule_given) {
        input.retry_count = destination->schedule_count;
        for (unsigned i = 0; i < input.retry_count; i++) {
            input.retry_schedule_ms[i] = (uint32_t)(destination->schedule[i].ns / NS_PER_MS);
        }
    }
    enum bk_err err = check_address(apply, work);
    if (err == BK_OK) {
        err = gather_secrets(apply, work, &input);
    }
    if (err == BK_OK) {
        err = gather_headers(apply, work, &input);
    }
    if (err == BK_OK) {
        err = gather_tls(apply, work, &input);
    }
    if (err == BK_OK && !work->failed) {
        write_destination(&apply->spec, destination);
        destination_input_encode(&input, &apply->compiled);
    }
    return err;
}

static enum bk_err destination_refer(struct apply *apply, struct apply_work *work)
{
    const struct resource_destination *destination = &work->document->spec.destination;
    enum bk_err err = BK_OK;
    for (unsigned i = 0; err == BK_OK && i < destination->secret_count; i++) {
        char path[64];
        snprintf(path, sizeof path, "spec.%s", secret_slots[i]);
        err = apply_look_secret(apply, work, &destination->secrets[i], path);
    }
    for (unsigned i = 0; err == BK_OK && i < destination->header_count; i++) {
        const struct resource_destination_header *header = &destination->headers[i];
        char path[96];
        snprintf(path, sizeof path, "spec.headers.%.*s",
                 (int)(header->name.bytes > 60 ? 60 : header->name.bytes),
                 (const char *)(header->name.at ? header->name.at : (const uint8_t *)""));
        err =
            header->text.plain ? BK_OK : apply_look_secret(apply, work, &header->text.value, path);
    }
    for (unsigned i = 0; err == BK_OK && i < RESOURCE_TLS_COUNT; i++) {
        const struct resource_text *text = destination->tls[i];
        char path[64];
        snprintf(path, sizeof path, "spec.tls.%s", resource_tls_names[i]);
        err = text && !text->plain ? apply_look_secret(apply, work, &text->value, path) : BK_OK;
    }
    return err;
}

/* ---- indexes, compiling */

static enum bk_err destination_index(struct apply *apply, struct apply_work *work, uint64_t number)
{
    struct key key, value;
    work->users_indifferent = true; /* routes lead to its place, whatever stands there */
    if (apply->existed) {
        return BK_OK;
    }
    key_target(&key, number);
    return store_put(apply->txn, key_slice(&key),
                     address_value(work, resource_kind_info(work->kind)->key, SLICE_EMPTY, &value));
}

static enum bk_err destination_unindex(struct apply *apply, struct apply_work *work)
{
    struct key key;
    struct apply_target *target = apply_add_target(apply);
    (void)work;
    if (!target) {
        return BK_NO_MEMORY;
    }
    target->kind = RESOURCE_DESTINATION;
    target->number = apply->old.number;
    target->removed = true;
    key_pause(&key, apply->old.number);
    return store_delete(apply->txn, key_slice(&key));
}

static void wrong_spec(struct apply *apply, struct apply_work *blame, const char *message)
{
    const struct resource_document *document = blame->document;
    const struct resource_destination *destination = &document->spec.destination;
    enum resource_tls part = apply->compiler.tls_part;
    unsigned secret = apply->compiler.secret_part;
    const struct resource_text *text = part < RESOURCE_TLS_COUNT ? destination->tls[part] : NULL;
    struct json_place place = document->spec_place;
    char field[64] = "spec";
    if (text) {
        place = text->value.place;
        snprintf(field, sizeof field, "spec.tls.%s", resource_tls_names[part]);
    } else if (secret < destination->secret_count) {
        place = destination->secrets[secret].place;
        snprintf(field, sizeof field, "spec.%s", secret_slots[secret]);
    }
    apply_wrong(apply, blame, place, field, "%s", message);
}

static enum bk_err destination_compile(struct apply *apply, struct slice canvas, struct slice name,
                                       struct apply_work *blame, bool own)
{
    struct record record;
    const char *message = NULL;
    enum bk_err err = hub_record(apply->txn, RESOURCE_DESTINATION, canvas, name, &record);
    struct apply_target *target = err == BK_OK ? apply_add_target(apply) : NULL;
    if (!target) {
        return err == BK_OK ? BK_NO_MEMORY : err;
    }
    target->kind = RESOURCE_DESTINATION;
    target->number = record.number;
    err = compile_destination(&apply->compiler, canvas, name, &record, &target->destination,
                              &message);
    if (err == BK_OK) {
        return BK_OK;
    }
    apply->target_count--;
    if (err == BK_NO_MEMORY) {
        return err;
    }
    if (own) {
        wrong_spec(apply, blame, message);
    } else {
        apply_wrong(apply, blame, blame->document->spec_place, "spec.local.data",
                    "Destination \"%.*s\" cannot use it any more: %s", (int)name.bytes,
                    (const char *)name.at, message);
    }
    return BK_OK;
}

const struct apply_kind apply_destination_kind = {.build = destination_build,
                                                  .refer = destination_refer,
                                                  .index = destination_index,
                                                  .unindex = destination_unindex,
                                                  .compile = destination_compile,
                                                  .numbered = true};
