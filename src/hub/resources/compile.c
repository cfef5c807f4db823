#include "hub/resources/compile.h"

#include "base/assert.h"
#include "base/cidr.h"
#include "base/ct.h"
#include "hub/hub_private.h"
#include "hub/resources/pack.h"
#include "providers/provider.h"

#include <stdlib.h>

/* ---- the compiled input
 *
 * u8 version | u8 flags | u8 secrets | i64 tolerance | i64 dedupe | u64 body | u32 per second |
 * path | type | secrets | custom row | with INPUT_OPTIONS: five texts | with INPUT_EVENTS: u8
 * events, filters each | with INPUT_INTEGRATION: canvas, name, resource type, resource. Texts are
 * u16 and the bytes. There is one spelling of each input: a flag stands for something, so what
 * decodes encodes to the same bytes, but for version 1. */

/* Version 1 had the first CUSTOM_TEXTS_1 texts of a custom row only. */
#define INPUT_VERSION SOURCE_INPUT_NEWEST
enum {
    INPUT_CUSTOM = 1,
    INPUT_PATH_GENERATED = 2,
    INPUT_OPTIONS = 4,
    INPUT_ALLOW = 8,
    INPUT_ALLOW_PRIVATE = 16,
    INPUT_EVENTS = 64,
    INPUT_INTEGRATION = 128
};
#define INPUT_ALL                                                                                  \
    (INPUT_CUSTOM | INPUT_PATH_GENERATED | INPUT_OPTIONS | INPUT_ALLOW | INPUT_ALLOW_PRIVATE |     \
     INPUT_EVENTS | INPUT_INTEGRATION)
enum { SECRET_BY_REFERENCE = 1, SECRET_VERIFY_TOKEN = 2 };
#define OPTION_TEXTS   5U
#define CUSTOM_TEXTS   16U
#define CUSTOM_TEXTS_1 11U

static void custom_texts(struct scheme_custom *row, struct slice *ret_texts[CUSTOM_TEXTS])
{
    struct slice *texts[CUSTOM_TEXTS] = {
        &row->scheme,           &row->algorithm,        &row->signature_header,
        &row->signature_format, &row->timestamp_header, &row->id_header,
        &row->type_header,      &row->type_field,       &row->id_field,
        &row->signed_template,  &row->timestamp_unit,   &row->base,
        &row->issuer,           &row->audience,         &row->claims,
        &row->jwks_url};
    memcpy(ret_texts, texts, sizeof texts);
}

static void option_texts(struct source_input *input, struct slice *ret_texts[OPTION_TEXTS])
{
    struct slice *texts[OPTION_TEXTS] = {&input->row.signature_field, &input->row.timestamp_field,
                                         &input->origins, &input->allow, &input->proxies};
    memcpy(ret_texts, texts, sizeof texts);
}

void source_input_encode(const struct source_input *input, struct buf *bytes)
{
    bk_assert(input->secret_count <= SECRETS_PER_SOURCE_MAX);
    buf_add_byte(bytes, INPUT_VERSION);
    struct source_input copy = *input;
    struct slice *options[OPTION_TEXTS];
    bool has_options = input->has_allow;
    option_texts(&copy, options);
    for (unsigned i = 0; i < OPTION_TEXTS; i++) {
        has_options = has_options || options[i]->bytes > 0;
    }
    buf_add_byte(bytes, (uint8_t)((input->custom ? INPUT_CUSTOM : 0) |
                                  (input->path_generated ? INPUT_PATH_GENERATED : 0) |
                                  (has_options ? INPUT_OPTIONS : 0) |
                                  (input->has_allow ? INPUT_ALLOW : 0) |
                                  (input->row.allow_private ? INPUT_ALLOW_PRIVATE : 0) |
                                  (input->event_count > 0 ? INPUT_EVENTS : 0) |
                                  (input->integration.bytes > 0 ? INPUT_INTEGRATION : 0)));
    buf_add_byte(bytes, (uint8_t)input->secret_count);
    pack_u64(bytes, (uint64_t)input->tolerance_seconds);
    pack_u64(bytes, (uint64_t)input->dedupe_window_ns);
    pack_u64(bytes, input->body_bytes);
    pack_u64(bytes, input->per_second);
    pack_text(bytes, input->path);
    pack_text(bytes, input->type);
    for (unsigned i = 0; i < input->secret_count; i++) {
        const struct source_secret *secret = &input->secrets[i];
        buf_add_byte(bytes, (uint8_t)((secret->by_reference ? SECRET_BY_REFERENCE : 0) |
                                      (secret->is_verify_token ? SECRET_VERIFY_TOKEN : 0)));
        if (secret->by_reference) {
            pack_text(bytes, secret->canvas);
            pack_text(bytes, secret->name);
            pack_text(bytes, secret->key);
        } else {
            pack_text(bytes, secret->field);
        }
    }
    if (input->custom) {
        struct scheme_custom row = input->row;
        struct slice *texts[CUSTOM_TEXTS];
        custom_texts(&row, texts);
        for (unsigned i = 0; i < CUSTOM_TEXTS; i++) {
            pack_text(bytes, *texts[i]);
        }
    }
    for (unsigned i = 0; i < OPTION_TEXTS && has_options; i++) {
        pack_text(bytes, *options[i]);
    }
    if (input->event_count > 0) {
        buf_add_byte(bytes, (uint8_t)input->event_count);
    }
    for (unsigned i = 0; i < input->event_count && input->events; i++) {
        filters_input_encode(&input->events[i], bytes);
    }
    if (input->event_count > 0 && !input->events) {
        buf_add_slice(bytes, input->events_packed);
    }
    if (input->integration.bytes > 0) {
        pack_text(bytes, input->integration_canvas);
        pack_text(bytes, input->integration);
        pack_text(bytes, input->resource_type);
        pack_text(bytes, input->resource);
    }
}

/* Only that they can be read; *rest moves behind them. */
static bool take_events(struct slice *rest, struct source_input *input)
{
    struct filters_input filters;
    uint8_t count;
    if (!unpack_byte(rest, &count) || count == 0 || count > RESOURCE_EVENTS_MAX) {
        return false;
    }
    struct slice from = *rest;
    for (unsigned i = 0; i < count; i++) {
        if (!filters_input_decode(rest, &filters)) {
            return false;
        }
    }
    input->event_count = count;
    input->events_packed = slice_of(from.at, from.bytes - rest->bytes);
    return true;
}

static bool take_options(struct slice *rest, uint8_t flags, struct source_input *input)
{
    struct slice *options[OPTION_TEXTS];
    bool filled = (flags & INPUT_ALLOW) != 0;
    input->has_allow = filled;
    input->origins = input->allow = input->proxies = SLICE_EMPTY;
    option_texts(input, options);
    if ((flags & INPUT_OPTIONS) == 0) {
        return !filled;
    }
    for (unsigned i = 0; i < OPTION_TEXTS; i++) {
        if (!unpack_text(rest, UINT16_MAX, options[i])) {
            return false;
        }
        filled = filled || options[i]->bytes > 0;
    }
    return filled;
}

static bool take_integration(struct slice *rest, struct source_input *input)
{
    return unpack_text(rest, NAME_BYTES_MAX, &input->integration_canvas) &&
           unpack_text(rest, NAME_BYTES_MAX, &input->integration) &&
           unpack_text(rest, UINT16_MAX, &input->resource_type) &&
           unpack_text(rest, UINT16_MAX, &input->resource) && input->integration.bytes > 0;
}

static bool take_secret(struct slice *rest, struct source_secret *secret)
{
    uint8_t flags;
    if (!unpack_byte(rest, &flags) || flags > (SECRET_BY_REFERENCE | SECRET_VERIFY_TOKEN)) {
        return false;
    }
    *secret = (struct source_secret){.by_reference = (flags & SECRET_BY_REFERENCE) != 0,
                                     .is_verify_token = (flags & SECRET_VERIFY_TOKEN) != 0};
    if (!secret->by_reference) {
        return unpack_text(rest, RESOURCE_SECRET_KEY_BYTES_MAX, &secret->field);
    }
    return unpack_text(rest, NAME_BYTES_MAX, &secret->canvas) &&
           unpack_text(rest, NAME_BYTES_MAX, &secret->name) &&
           unpack_text(rest, RESOURCE_SECRET_KEY_BYTES_MAX, &secret->key);
}

enum bk_err source_input_decode(struct slice bytes, struct source_input *ret_input)
{
    struct slice rest = bytes;
    uint8_t version, flags, count;
    uint64_t tolerance, dedupe, per_second;
    if (!unpack_byte(&rest, &version) || version == 0 || version > INPUT_VERSION ||
        !unpack_byte(&rest, &flags) || !unpack_byte(&rest, &count) ||
        count > SECRETS_PER_SOURCE_MAX || (flags & ~INPUT_ALL) != 0 ||
        !unpack_u64(&rest, &tolerance) || !unpack_u64(&rest, &dedupe) ||
        !unpack_u64(&rest, &ret_input->body_bytes) || !unpack_u64(&rest, &per_second) ||
        per_second > UINT32_MAX || !unpack_text(&rest, SOURCE_PATH_BYTES_MAX, &ret_input->path) ||
        !unpack_text(&rest, NAME_BYTES_MAX, &ret_input->type)) {
        return BK_CORRUPT;
    }
    ret_input->custom = (flags & INPUT_CUSTOM) != 0;
    ret_input->path_generated = (flags & INPUT_PATH_GENERATED) != 0;
    ret_input->tolerance_seconds = (int64_t)tolerance;
    ret_input->dedupe_window_ns = (int64_t)dedupe;
    ret_input->per_second = (uint32_t)per_second;
    ret_input->secret_count = count;
    for (unsigned i = 0; i < count; i++) {
        if (!take_secret(&rest, &ret_input->secrets[i])) {
            return BK_CORRUPT;
        }
    }
    ret_input->row = (struct scheme_custom){.allow_private = (flags & INPUT_ALLOW_PRIVATE) != 0};
    if (ret_input->custom) {
        struct slice *texts[CUSTOM_TEXTS];
        custom_texts(&ret_input->row, texts);
        for (unsigned i = 0; i < (version == 1 ? CUSTOM_TEXTS_1 : CUSTOM_TEXTS); i++) {
            if (!unpack_text(&rest, UINT16_MAX, texts[i])) {
                return BK_CORRUPT;
            }
        }
    }
    if (!take_options(&rest, flags, ret_input)) {
        return BK_CORRUPT;
    }
    ret_input->events = NULL;
    ret_input->event_count = 0;
    ret_input->events_packed = SLICE_EMPTY;
    if ((flags & INPUT_EVENTS) != 0 && !take_events(&rest, ret_input)) {
        return BK_CORRUPT;
    }
    ret_input->integration_canvas = ret_input->integration = SLICE_EMPTY;
    ret_input->resource_type = ret_input->resource = SLICE_EMPTY;
    if ((flags & INPUT_INTEGRATION) != 0 && !take_integration(&rest, ret_input)) {
        return BK_CORRUPT;
    }
    return rest.bytes == 0 ? BK_OK : BK_CORRUPT;
}

/* ---- compiling */

enum bk_err compiler_init(struct compiler *compiler, struct hub *hub, struct store_txn *txn)
{
    *compiler = (struct compiler){.hub = hub, .txn = txn};
    compiler->text = malloc(SEAL_VALUE_BYTES_MAX);
    compiler->own = malloc(SEAL_VALUE_BYTES_MAX);
    if (!compiler->text || !compiler->own) {
        compiler_fini(compiler);
        return BK_NO_MEMORY;
    }
    return BK_OK;
}

void compiler_fini(struct compiler *compiler)
{
    if (compiler->text) {
        bk_wipe(compiler->text, SEAL_VALUE_BYTES_MAX);
    }
    if (compiler->own) {
        bk_wipe(compiler->own, SEAL_VALUE_BYTES_MAX);
    }
    free(compiler->text);
    free(compiler->own);
    *compiler = (struct compiler){0};
}

struct slice secret_field(struct slice key, char storage[RESOURCE_SECRET_KEY_BYTES_MAX + 8])
{
    bk_assert(key.bytes <= RESOURCE_SECRET_KEY_BYTES_MAX);
    memcpy(storage, "data.", 5);
    if (key.bytes > 0) {
        memcpy(storage + 5, key.at, key.bytes);
    }
    return slice_of(storage, 5 + key.bytes);
}

static bool same(struct slice text, const char *kept)
{
    return slice_equal(text, slice_str(kept));
}

/* Open one slot into `to`, which has room for *room bytes. */
static enum bk_err open_slot(struct compiler *compiler, const struct record *record,
                             struct slice field, uint8_t *to, size_t room, size_t *ret_bytes)
{
    struct record_slot slot;
    if (!record_slot_find(record, field, &slot)) {
        return BK_NOT_FOUND;
    }
    if (slot.sealed.bytes > room + SEAL_OVERHEAD_BYTES) {
        return BK_TOO_LARGE;
    }
    return seal_open(&compiler->hub->seal, record->id, field, slot.sealed, to, ret_bytes);
}

/* The referred secret's text, in the cache. */
static enum bk_err look_up(struct compiler *compiler, const struct source_secret *secret)
{
    if (compiler->cached && same(secret->name, compiler->name) &&
        same(secret->key, compiler->key) && same(secret->canvas, compiler->canvas)) {
        return BK_OK;
    }
    compiler->cached = false;
    struct record record;
    enum bk_err err =
        hub_record(compiler->txn, RESOURCE_SECRET, secret->canvas, secret->name, &record);
    char storage[RESOURCE_SECRET_KEY_BYTES_MAX + 8];
    if (err == BK_OK) {
        err = open_slot(compiler, &record, secret_field(secret->key, storage), compiler->text,
                        SEAL_VALUE_BYTES_MAX, &compiler->text_bytes);
    }
    if (err == BK_OK) {
        slice_keep(secret->canvas, compiler->canvas, sizeof compiler->canvas);
        slice_keep(secret->name, compiler->name, sizeof compiler->name);
        slice_keep(secret->key, compiler->key, sizeof compiler->key);
        compiler->cached = true;
    }
    return err;
}

/* All texts of the source's secrets: in `own`, or in the cache when it is one by reference. */
enum bk_err compiler_secrets(struct compiler *compiler, const struct record *record,
                             const struct source_secret *secrets, unsigned count,
                             struct slice *texts)
{
    size_t used = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct source_secret *secret = &secrets[i];
        size_t bytes = 0, room = SEAL_VALUE_BYTES_MAX - used;
        enum bk_err err;
        if (!secret->by_reference) {
            err = open_slot(compiler, record, secret->field, compiler->own + used, room, &bytes);
        } else {
            err = look_up(compiler, secret);
            bytes = compiler->text_bytes;
            if (err == BK_OK && count == 1) {
                texts[i] = slice_of(compiler->text, bytes);
                return BK_OK;
            }
            if (err == BK_OK && bytes > room) {
                err = BK_TOO_LARGE;
            }
            if (err == BK_OK) {
                memcpy(compiler->own + used, compiler->text, bytes);
            }
        }
        if (err != BK_OK) {
            return err;
        }
        texts[i] = slice_of(compiler->own + used, bytes);
        used += bytes;
    }
    return BK_OK;
}

static const struct scheme_row *find_row(struct compiler *compiler, struct slice type)
{
    if (!compiler->row || !same(type, compiler->type)) {
        compiler->row = scheme_row_find(type);
        slice_keep(type, compiler->type, sizeof compiler->type);
    }
    return compiler->row;
}

static struct slice next_word(struct slice *text)
{
    struct slice word = slice_of(text->at, slice_find(*text, ' '));
    *text = slice_skip(*text, word.bytes + 1);
    return word;
}

static unsigned parse_ranges(struct slice text, struct cidr ret_ranges[SCHEME_RANGES_MAX])
{
    unsigned count = 0;
    while (text.bytes > 0 && count < SCHEME_RANGES_MAX) {
        count += cidr_parse(next_word(&text), &ret_ranges[count]);
    }
    return count;
}

/* The row, the secrets that are keys, and what else the source says. */
static enum bk_err bind_with(const struct scheme_row *row, const struct source_input *input,
                             const struct slice *texts, struct source_change *change,
                             const char **ret_message)
{
    struct slice keys[SECRETS_PER_SOURCE_MAX], origins[SCHEME_ORIGINS_MAX], rest = input->origins;
    struct cidr allow[SCHEME_RANGES_MAX], proxies[SCHEME_RANGES_MAX];
    struct scheme_options options = {
        .tolerance_seconds = input->tolerance_seconds,
        .origins = origins,
        .rate_per_minute = input->per_second < UINT32_MAX / 60 ? input->per_second * 60 : 0,
        .has_allow = input->has_allow,
        .allow = allow,
        .allow_count = parse_ranges(input->allow, allow),
        .proxies = proxies,
        .proxy_count = parse_ranges(input->proxies, proxies)};
    unsigned count = 0;
    while (rest.bytes > 0 && options.origin_count < SCHEME_ORIGINS_MAX) {
        origins[options.origin_count++] = next_word(&rest);
    }
    for (unsigned i = 0; i < input->secret_count; i++) {
        if (input->secrets[i].is_verify_token) {
            options.verify_token = texts[i];
        } else {
            keys[count++] = texts[i];
        }
    }
    return scheme_compile_with(row, keys, count, &options, &change->scheme, &change->scheme_bytes,
                               ret_message);
}

static enum bk_err bind_row(struct compiler *compiler, const struct source_input *input,
                            const struct slice *texts, struct source_change *change,
                            const char **ret_message)
{
    struct scheme_row *own = NULL;
    const struct scheme_row *row;
    const char *field = NULL;
    if (input->custom) {
        enum bk_err err = scheme_row_custom(&input->row, &own, &field, ret_message);
        if (err != BK_OK) {
            return err;
        }
        row = own;
    } else {
        row = find_row(compiler, input->type);
    }
    if (!row) {
        *ret_message = "this version knows no provider of this name";
        return BK_UNSUPPORTED;
    }
    enum bk_err err = bind_with(row, input, texts, change, ret_message);
    scheme_row_free(own);
    return err;
}

static enum bk_err compile_events(const struct source_input *input, struct source_change *change)
{
    const struct provider *provider = provider_find(input->type);
    struct slice rest = input->events_packed;
    struct filters_input filters;
    enum bk_err err = BK_OK;
    if (input->event_count == 0) {
        return BK_OK;
    }
    change->events = calloc(input->event_count, sizeof(struct filter_set *));
    err = change->events ? BK_OK : BK_NO_MEMORY;
    for (unsigned i = 0; err == BK_OK && i < input->event_count; i++) {
        bool decoded = filters_input_decode(&rest, &filters);
        for (unsigned t = 0; decoded && provider && provider->event_type && t < filters.type_count;
             t++) {
            filters.types[t] = provider->event_type(filters.types[t]);
        }
        err = decoded
                  ? filters_compile(&filters, filters.types, filters.type_count, &change->events[i])
                  : BK_CORRUPT;
        change->event_count += err == BK_OK ? 1 : 0;
    }
    return err;
}

enum bk_err compiler_run(struct compiler *compiler, struct slice canvas, struct slice name,
                         const struct record *record, struct source_change *ret_change,
                         const char **ret_message)
{
    struct source_input input;
    struct slice texts[SECRETS_PER_SOURCE_MAX];
    *ret_message = "its record cannot be read";
    enum bk_err err = source_input_decode(record->compiled, &input);
    if (err != BK_OK) {
        return err;
    }
    *ret_change = (struct source_change){.number = record->number,
                                         .path = input.path,
                                         .name = name,
                                         .canvas = canvas,
                                         .type = input.type,
                                         .body_bytes_max = input.body_bytes ? input.body_bytes
                                                                            : BODY_BYTES_DEFAULT,
                                         .per_second = input.per_second};
    memcpy(ret_change->id, record->id, sizeof ret_change->id);
    err = compiler_secrets(compiler, record, input.secrets, input.secret_count, texts);
    if (err == BK_OK) {
        *ret_message = NULL;
        err = bind_row(compiler, &input, texts, ret_change, ret_message);
    } else {
        *ret_message = err == BK_TOO_LARGE ? "its secrets are too long together"
                                           : "its secret is missing or does not open";
    }
    if (err == BK_OK) {
        bool has_id = scheme_has_delivery_id(ret_change->scheme) ||
                      scheme_body_is_id(ret_change->scheme, NULL);
        ret_change->dedupe_window_ns = input.dedupe_window_ns >= 0 ? input.dedupe_window_ns
                                       : has_id                    ? SOURCE_DEDUPE_WINDOW_DEFAULT_NS
                                                                   : 0;
        *ret_message = "its events cannot be compiled";
        err = compile_events(&input, ret_change);
    }
    if (err != BK_OK && ret_change->scheme) {
        filter_sets_free(ret_change->events, ret_change->event_count);
        scheme_wipe(ret_change->scheme);
        free(ret_change->scheme);
    }
    if (err != BK_OK && !*ret_message) {
        *ret_message = bk_err_text(err);
    }
    return err;
}
