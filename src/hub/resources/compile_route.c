/* compile_route.c - destinations and routes: their compiled input in the store, and from there to
 * what routes/route_table.h holds. */
#include "base/assert.h"
#include "base/base64.h"
#include "base/ct.h"
#include "base/url.h"
#include "hub/hub_private.h"
#include "hub/resources/pack.h"
#include "providers/scheme.h"
#include "tls/credentials.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- a secret, as in a source's input */

static void pack_secret(struct buf *bytes, const struct source_secret *secret)
{
    buf_add_byte(bytes, secret->by_reference ? 1 : 0);
    if (secret->by_reference) {
        pack_text(bytes, secret->canvas);
        pack_text(bytes, secret->name);
        pack_text(bytes, secret->key);
    } else {
        pack_text(bytes, secret->field);
    }
}

static bool unpack_secret(struct slice *rest, struct source_secret *secret)
{
    uint8_t by_reference;
    if (!unpack_byte(rest, &by_reference) || by_reference > 1) {
        return false;
    }
    *secret = (struct source_secret){.by_reference = by_reference == 1};
    if (!by_reference) {
        return unpack_text(rest, RESOURCE_SECRET_KEY_BYTES_MAX, &secret->field);
    }
    return unpack_text(rest, NAME_BYTES_MAX, &secret->canvas) &&
           unpack_text(rest, NAME_BYTES_MAX, &secret->name) &&
           unpack_text(rest, RESOURCE_SECRET_KEY_BYTES_MAX, &secret->key);
}

/* ---- Destination
 *
 * u8 version | u8 flags | u8 secrets | u8 headers | u8 retries | u64 timeout | u64 concurrency |
 * u64 per second | u64 jitter | url | order key | secrets | headers | retries, u64 each.
 * Version 2, only where spec.tls is there: | for each of its parts u8 present and a text.
 * Version 3, only where spec.format is there: versions 1 and 2 were read before flags had a format,
 * by who would deliver in another one. The parts of spec.tls are behind it if there is any. */

#define DESTINATION_VERSION        1U
#define DESTINATION_VERSION_TLS    2U
#define DESTINATION_VERSION_FORMAT DESTINATION_INPUT_NEWEST
enum {
    DESTINATION_FLAG_UNSIGNED = 1,
    DESTINATION_FLAG_STRICT = 2,
    DESTINATION_FLAG_PRIVATE = 4,
    DESTINATION_FLAG_PAUSED = 8,
    DESTINATION_FLAG_FORMAT = 16 /* times enum destination_format, two bits */
};

/* What may stand there plainly. */
static void pack_open_text(struct buf *bytes, const struct destination_input_text *text)
{
    buf_add_byte(bytes, text->plain ? 1 : 0);
    if (text->plain) {
        pack_text(bytes, text->value);
    } else {
        pack_secret(bytes, &text->secret);
    }
}

static bool unpack_open_text(struct slice *rest, struct destination_input_text *text)
{
    uint8_t plain;
    if (!unpack_byte(rest, &plain) || plain > 1) {
        return false;
    }
    text->plain = plain == 1;
    return text->plain ? unpack_text(rest, UINT16_MAX, &text->value)
                       : unpack_secret(rest, &text->secret);
}

static bool has_tls(const struct destination_input *input)
{
    bool has = false;
    for (unsigned i = 0; i < RESOURCE_TLS_COUNT; i++) {
        has |= input->has_tls[i];
    }
    return has;
}

static void pack_tls(struct buf *bytes, const struct destination_input *input)
{
    for (unsigned i = 0; i < RESOURCE_TLS_COUNT; i++) {
        buf_add_byte(bytes, input->has_tls[i] ? 1 : 0);
        if (input->has_tls[i]) {
            pack_open_text(bytes, &input->tls[i]);
        }
    }
}

static bool unpack_tls(struct slice *rest, struct destination_input *input)
{
    for (unsigned i = 0; i < RESOURCE_TLS_COUNT; i++) {
        uint8_t has;
        if (!unpack_byte(rest, &has) || has > 1) {
            return false;
        }
        input->has_tls[i] = has == 1;
        if (input->has_tls[i] && !unpack_open_text(rest, &input->tls[i])) {
            return false;
        }
    }
    return has_tls(input); /* one spelling only */
}

void destination_input_encode(const struct destination_input *input, struct buf *bytes)
{
    bk_assert(input->secret_count <= DESTINATION_SECRETS_MAX);
    bk_assert(input->header_count <= DESTINATION_HEADERS_MAX);
    bk_assert(input->retry_count <= DESTINATION_RETRIES_MAX);
    buf_add_byte(bytes, input->format    ? DESTINATION_VERSION_FORMAT
                        : has_tls(input) ? DESTINATION_VERSION_TLS
                                         : DESTINATION_VERSION);
    buf_add_byte(bytes, (uint8_t)((input->unsigned_ ? DESTINATION_FLAG_UNSIGNED : 0) |
                                  (input->strict ? DESTINATION_FLAG_STRICT : 0) |
                                  (input->allow_private ? DESTINATION_FLAG_PRIVATE : 0) |
                                  (input->paused ? DESTINATION_FLAG_PAUSED : 0) |
                                  (unsigned)input->format * DESTINATION_FLAG_FORMAT));
    buf_add_byte(bytes, (uint8_t)input->secret_count);
    buf_add_byte(bytes, (uint8_t)input->header_count);
    buf_add_byte(bytes, (uint8_t)input->retry_count);
    pack_u64(bytes, input->timeout_ms);
    pack_u64(bytes, input->concurrency);
    pack_u64(bytes, input->per_second);
    pack_u64(bytes, input->jitter_permille);
    pack_text(bytes, input->url);
    pack_text(bytes, input->order_key);
    for (unsigned i = 0; i < input->secret_count; i++) {
        pack_secret(bytes, &input->secrets[i]);
    }
    for (unsigned i = 0; i < input->header_count; i++) {
        const struct destination_input_header *header = &input->headers[i];
        pack_text(bytes, header->name);
        pack_open_text(bytes, &header->text);
    }
    for (unsigned i = 0; i < input->retry_count; i++) {
        pack_u64(bytes, input->retry_schedule_ms[i]);
    }
    if (has_tls(input)) {
        pack_tls(bytes, input);
    }
}

static bool unpack_u32(struct slice *rest, uint32_t *ret_number)
{
    uint64_t number;
    if (!unpack_u64(rest, &number) || number > UINT32_MAX) {
        return false;
    }
    *ret_number = (uint32_t)number;
    return true;
}

static bool unpack_header(struct slice *rest, struct destination_input_header *header)
{
    return unpack_text(rest, UINT16_MAX, &header->name) && unpack_open_text(rest, &header->text);
}

enum bk_err destination_input_decode(struct slice bytes, struct destination_input *ret_input)
{
    struct slice rest = bytes;
    uint8_t version, flags, secrets, headers, retries;
    if (!unpack_byte(&rest, &version) || version < DESTINATION_VERSION ||
        version > DESTINATION_VERSION_FORMAT || !unpack_byte(&rest, &flags) ||
        !unpack_byte(&rest, &secrets) || secrets > DESTINATION_SECRETS_MAX ||
        !unpack_byte(&rest, &headers) || headers > DESTINATION_HEADERS_MAX ||
        !unpack_byte(&rest, &retries) || retries > DESTINATION_RETRIES_MAX ||
        !unpack_u32(&rest, &ret_input->timeout_ms) || !unpack_u32(&rest, &ret_input->concurrency) ||
        !unpack_u32(&rest, &ret_input->per_second) ||
        !unpack_u32(&rest, &ret_input->jitter_permille) ||
        !unpack_text(&rest, URL_BYTES_MAX, &ret_input->url) ||
        !unpack_text(&rest, FILTER_TEXT_BYTES_MAX, &ret_input->order_key) ||
        flags / DESTINATION_FLAG_FORMAT >= DESTINATION_FORMATS) {
        return BK_CORRUPT;
    }
    ret_input->unsigned_ = (flags & DESTINATION_FLAG_UNSIGNED) != 0;
    ret_input->strict = (flags & DESTINATION_FLAG_STRICT) != 0;
    ret_input->allow_private = (flags & DESTINATION_FLAG_PRIVATE) != 0;
    ret_input->paused = (flags & DESTINATION_FLAG_PAUSED) != 0;
    ret_input->format = (enum destination_format)(flags / DESTINATION_FLAG_FORMAT);
    ret_input->secret_count = secrets;
    ret_input->header_count = headers;
    ret_input->retry_count = retries;
    for (unsigned i = 0; i < secrets; i++) {
        if (!unpack_secret(&rest, &ret_input->secrets[i])) {
            return BK_CORRUPT;
        }
    }
    for (unsigned i = 0; i < headers; i++) {
        if (!unpack_header(&rest, &ret_input->headers[i])) {
            return BK_CORRUPT;
        }
    }
    for (unsigned i = 0; i < retries; i++) {
        if (!unpack_u32(&rest, &ret_input->retry_schedule_ms[i])) {
            return BK_CORRUPT;
        }
    }
    memset(ret_input->has_tls, 0, sizeof ret_input->has_tls);
    bool tls = version == DESTINATION_VERSION_TLS ||
               (version == DESTINATION_VERSION_FORMAT && rest.bytes > 0);
    if (tls && !unpack_tls(&rest, ret_input)) {
        return BK_CORRUPT;
    }
    return rest.bytes == 0 ? BK_OK : BK_CORRUPT;
}

/* ---- filters */

void filters_input_encode(const struct resource_filters *filters, struct buf *bytes)
{
    buf_add_byte(bytes, filters->any ? 1 : 0);
    buf_add_byte(bytes, (uint8_t)filters->count);
    buf_add_byte(bytes, (uint8_t)filters->type_count);
    for (unsigned i = 0; i < filters->count; i++) {
        buf_add_byte(bytes, (uint8_t)filters->items[i].kind);
        pack_text(bytes, filters->items[i].expression);
    }
    for (unsigned i = 0; i < filters->type_count; i++) {
        pack_text(bytes, filters->types[i]);
    }
}

bool filters_input_decode(struct slice *rest, struct filters_input *ret_input)
{
    uint8_t any, count, type_count;
    if (!unpack_byte(rest, &any) || any > 1 || !unpack_byte(rest, &count) ||
        count > RESOURCE_FILTERS_MAX || !unpack_byte(rest, &type_count) ||
        type_count > RESOURCE_TYPES_MAX) {
        return false;
    }
    ret_input->any = any == 1;
    ret_input->count = count;
    ret_input->type_count = type_count;
    for (unsigned i = 0; i < count; i++) {
        uint8_t kind;
        if (!unpack_byte(rest, &kind) || kind > FILTER_HEADER ||
            !unpack_text(rest, FILTER_TEXT_BYTES_MAX, &ret_input->items[i].expression)) {
            return false;
        }
        ret_input->items[i].kind = (enum filter_kind)kind;
    }
    for (unsigned i = 0; i < type_count; i++) {
        if (!unpack_text(rest, EVENT_TYPE_BYTES_MAX, &ret_input->types[i])) {
            return false;
        }
    }
    return true;
}

enum bk_err filters_compile(const struct filters_input *conditions, const struct slice *types,
                            unsigned type_count, struct filter_set **ret_set)
{
    struct filter *filters[RESOURCE_FILTERS_MAX];
    struct filter_error error;
    enum bk_err err = BK_OK;
    unsigned count = 0;
    for (; err == BK_OK && count < conditions->count; count++) {
        err = filter_compile(conditions->items[count].expression, conditions->items[count].kind,
                             true, &filters[count], &error);
        count -= err == BK_OK ? 0 : 1;
    }
    if (err == BK_OK) {
        *ret_set = filter_set_make(filters, count, conditions->any, types, type_count);
        err = *ret_set ? BK_OK : BK_NO_MEMORY;
    }
    while (err != BK_OK && count > 0) {
        filter_free(filters[--count]);
    }
    return err;
}

/* ---- Route
 *
 * u8 version | u8 from | u8 to | filters | from: canvas, name, types as filters | to: canvas,
 * name */

#define ROUTE_VERSION ROUTE_INPUT_NEWEST

void route_input_encode(const struct route_input *input, struct buf *bytes)
{
    buf_add_byte(bytes, ROUTE_VERSION);
    buf_add_byte(bytes, (uint8_t)input->from_count);
    buf_add_byte(bytes, (uint8_t)input->to_count);
    filters_input_encode(input->filters, bytes);
    for (unsigned i = 0; i < input->from_count; i++) {
        pack_text(bytes, input->from[i].canvas);
        pack_text(bytes, input->from[i].name);
        filters_input_encode(input->from[i].types, bytes);
    }
    for (unsigned i = 0; i < input->to_count; i++) {
        pack_text(bytes, input->to[i].canvas);
        pack_text(bytes, input->to[i].name);
    }
}

struct route_reader {
    struct slice rest;
    unsigned from_count;
    unsigned to_count;
};

static bool route_reader_begin(struct slice bytes, struct route_reader *reader,
                               struct filters_input *ret_filters)
{
    uint8_t version, from, to;
    reader->rest = bytes;
    if (!unpack_byte(&reader->rest, &version) || version != ROUTE_VERSION ||
        !unpack_byte(&reader->rest, &from) || from > RESOURCE_ROUTE_ENDS_MAX ||
        !unpack_byte(&reader->rest, &to) || to > RESOURCE_ROUTE_ENDS_MAX) {
        return false;
    }
    reader->from_count = from;
    reader->to_count = to;
    return filters_input_decode(&reader->rest, ret_filters);
}

static bool route_reader_end(struct route_reader *reader, struct slice *ret_canvas,
                             struct slice *ret_name)
{
    return unpack_text(&reader->rest, NAME_BYTES_MAX, ret_canvas) &&
           unpack_text(&reader->rest, NAME_BYTES_MAX, ret_name);
}

/* ---- compiling a destination */

/* whsec_ (may be left out) and base64, as providers/ takes such secrets. */
static bool decode_signing_secret(struct slice text, struct hmac_sha256_key *ret_key)
{
    uint8_t raw[256];
    size_t bytes = 0;
    text = slice_skip(text, slice_starts(text, SLICE("whsec_")) ? 6 : 0);
    bool good = text.bytes <= BASE64_ENCODED(sizeof raw) - 4 &&
                base64_decode(text, BASE64_STANDARD, raw, sizeof raw, &bytes) && bytes >= 16;
    if (good) {
        hmac_sha256_key_init(ret_key, slice_of(raw, bytes));
    }
    bk_wipe(raw, sizeof raw);
    return good;
}

static enum bk_err compile_secrets(struct compiler *compiler, const struct record *record,
                                   const struct destination_input *input,
                                   struct destination *destination, const char **ret_message)
{
    struct slice texts[SECRETS_PER_SOURCE_MAX];
    enum bk_err err =
        compiler_secrets(compiler, record, input->secrets, input->secret_count, texts);
    if (err != BK_OK) {
        *ret_message = "its secret is missing or does not open";
        return err;
    }
    for (unsigned i = 0; i < input->secret_count; i++) {
        if (!decode_signing_secret(texts[i], &destination->secrets[i])) {
            compiler->secret_part = i;
            *ret_message = "a signing secret is whsec_ and base64 of 16 to 256 bytes; `echo "
                           "whsec_$(openssl rand -base64 24)` makes one";
            return BK_INVALID;
        }
    }
    destination->secret_count = input->secret_count;
    return BK_OK;
}

/* The plain ones, or those with values out of secrets. */
static enum bk_err compile_lines(struct compiler *compiler, const struct record *record,
                                 const struct destination_input *input, bool plain,
                                 struct buf *lines, const char **ret_message)
{
    for (unsigned i = 0; i < input->header_count; i++) {
        const struct destination_input_header *header = &input->headers[i];
        struct slice value = header->text.value;
        if (header->text.plain != plain) {
            continue;
        }
        if (!header->text.plain) {
            enum bk_err err = compiler_secrets(compiler, record, &header->text.secret, 1, &value);
            if (err != BK_OK) {
                *ret_message = "the secret of a header is missing or does not open";
                return err;
            }
        }
        if (!http_write_value_fits(value)) {
            *ret_message = "the secret of a header holds what a header cannot";
            return BK_INVALID;
        }
        buf_add_slice(lines, header->name);
        buf_add_str(lines, ": ");
        buf_add_slice(lines, value);
        buf_add_str(lines, "\r\n");
    }
    return lines->overflow ? BK_TOO_LARGE : BK_OK;
}

static enum bk_err compile_headers(struct compiler *compiler, const struct record *record,
                                   const struct destination_input *input, struct buf *lines,
                                   size_t *ret_plain_bytes, const char **ret_message)
{
    enum bk_err err = compile_lines(compiler, record, input, true, lines, ret_message);
    *ret_plain_bytes = lines->bytes;
    return err == BK_OK ? compile_lines(compiler, record, input, false, lines, ret_message) : err;
}

/* Which part the words of tls/credentials.h begin with. */
static enum resource_tls tls_part(const char *why)
{
    unsigned part = 0;
    while (part < RESOURCE_TLS_COUNT &&
           !slice_equal(slice_of(why, strcspn(why, ":")), slice_str(resource_tls_names[part]))) {
        part++;
    }
    return (enum resource_tls)part;
}

/* Plain texts, and the secrets opened all at once: they share the compiler's memory. */
static enum bk_err tls_texts(struct compiler *compiler, const struct record *record,
                             const struct destination_input *input,
                             struct slice texts[RESOURCE_TLS_COUNT])
{
    struct source_secret secrets[RESOURCE_TLS_COUNT];
    struct slice opened[RESOURCE_TLS_COUNT];
    unsigned count = 0;
    for (unsigned i = 0; i < RESOURCE_TLS_COUNT; i++) {
        texts[i] = input->has_tls[i] && input->tls[i].plain ? input->tls[i].value : SLICE_EMPTY;
        if (input->has_tls[i] && !input->tls[i].plain) {
            secrets[count++] = input->tls[i].secret;
        }
    }
    enum bk_err err = compiler_secrets(compiler, record, secrets, count, opened);
    for (unsigned i = RESOURCE_TLS_COUNT; err == BK_OK && i > 0; i--) {
        if (input->has_tls[i - 1] && !input->tls[i - 1].plain) {
            texts[i - 1] = opened[--count];
        }
    }
    return err;
}

static enum bk_err compile_tls(struct compiler *compiler, const struct record *record,
                               const struct destination_input *input,
                               struct destination *destination, const char **ret_message)
{
    struct slice texts[RESOURCE_TLS_COUNT];
    if (!has_tls(input)) {
        return BK_OK;
    }
    enum bk_err err = tls_texts(compiler, record, input, texts);
    if (err != BK_OK) {
        *ret_message = err == BK_TOO_LARGE ? "the secrets of its tls are too long together"
                                           : "a secret of its tls is missing or does not open";
        return err;
    }
    struct tls_credentials_text text = {.ca = texts[RESOURCE_TLS_CA],
                                        .certificate = texts[RESOURCE_TLS_CERTIFICATE],
                                        .key = texts[RESOURCE_TLS_KEY]};
    err = tls_credentials_open(&text, &destination->origin.credentials, compiler->why);
    if (err != BK_OK) {
        compiler->tls_part = tls_part(compiler->why);
        *ret_message = compiler->why;
        return err;
    }
    http_origin_init(&destination->origin);
    return BK_OK;
}

static const uint32_t schedule_default_ms[] = {5000,     30000,    300000,   1800000,  7200000,
                                               18000000, 36000000, 50400000, 72000000, 86400000};
#define JITTER_DEFAULT_PERMILLE 200U

void destination_input_defaults(struct destination_input *input)
{
    _Static_assert(bk_array_length(schedule_default_ms) <= DESTINATION_RETRIES_MAX, "fits");
    input->timeout_ms = DESTINATION_TIMEOUT_DEFAULT_MS;
    input->concurrency = DESTINATION_CONCURRENCY_DEFAULT;
    input->jitter_permille = JITTER_DEFAULT_PERMILLE;
    input->retry_count = bk_array_length(schedule_default_ms);
    memcpy(input->retry_schedule_ms, schedule_default_ms, sizeof schedule_default_ms);
}

static struct slice put(uint8_t **at, struct slice text)
{
    uint8_t *copy = *at;
    if (text.bytes > 0) {
        memcpy(copy, text.at, text.bytes);
    }
    *at += text.bytes;
    return slice_of(copy, text.bytes);
}

static struct destination *destination_make(const struct destination_input *input,
                                            const struct url *url, struct slice canvas,
                                            struct slice name, struct slice lines)
{
    char authority[URL_AUTHORITY_BYTES_MAX];
    size_t authority_bytes = url_authority(url->host, url->port, url->tls, false, authority);
    struct destination *destination =
        calloc(1, sizeof *destination + name.bytes + canvas.bytes + lines.bytes + authority_bytes +
                      url->path.bytes + url->query.bytes);
    if (!destination) {
        return NULL;
    }
    uint8_t *at = (uint8_t *)(destination + 1);
    destination->name = put(&at, name);
    destination->canvas = put(&at, canvas);
    destination->header_lines = put(&at, lines);
    destination->host_header = put(&at, slice_of(authority, authority_bytes));
    destination->target = put(&at, url->path); /* the query follows it */
    destination->target.bytes += put(&at, url->query).bytes;
    http_origin_from_url(&destination->origin, url);
    destination->origin.allow_private = input->allow_private;
    http_origin_init(&destination->origin);
    destination->signing = input->unsigned_ ? DESTINATION_UNSIGNED : DESTINATION_STANDARD_WEBHOOKS;
    destination->format = input->format;
    destination->timeout_ms = input->timeout_ms;
    destination->retry_count = input->retry_count;
    memcpy(destination->retry_schedule_ms, input->retry_schedule_ms,
           sizeof destination->retry_schedule_ms);
    destination->jitter_permille = (uint16_t)input->jitter_permille;
    destination->concurrency = input->concurrency;
    destination->per_second = input->per_second;
    destination->strict = input->strict;
    return destination;
}

enum bk_err pause_read(struct store_txn *txn, uint64_t number, struct pause *ret_pause)
{
    struct key key;
    struct slice value;
    *ret_pause = (struct pause){DESTINATION_RUNNING, 0};
    key_pause(&key, number);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err == BK_NOT_FOUND) {
        return BK_OK;
    }
    if (err == BK_OK && (value.bytes != 9 || value.at[0] > DESTINATION_PAUSED_BY_GONE)) {
        err = BK_CORRUPT;
    }
    if (err == BK_OK) {
        ret_pause->pause = (enum destination_pause)value.at[0];
        ret_pause->since_ns = (int64_t)key_get_u64(value.at + 1);
    }
    return err;
}

enum bk_err compile_destination(struct compiler *compiler, struct slice canvas, struct slice name,
                                const struct record *record, struct destination **ret_destination,
                                const char **ret_message)
{
    struct destination_input input;
    struct url url;
    struct buf lines;
    struct pause pause;
    const char *why;
    *ret_message = "its record cannot be read";
    compiler->tls_part = RESOURCE_TLS_COUNT;
    compiler->secret_part = DESTINATION_SECRETS_MAX;
    enum bk_err err = destination_input_decode(record->compiled, &input);
    if (err == BK_OK) {
        err = url_parse(input.url, &url, &why);
    }
    if (err == BK_OK) {
        err = pause_read(compiler->txn, record->number, &pause);
    }
    if (err != BK_OK) {
        return err;
    }
    buf_init(&lines, HTTP_HEAD_BYTES_MAX / 2);
    *ret_message = "its headers are too long together";
    size_t plain_bytes;
    err = compile_headers(compiler, record, &input, &lines, &plain_bytes, ret_message);
    struct destination *destination =
        err == BK_OK ? destination_make(&input, &url, canvas, name, buf_slice(&lines)) : NULL;
    if (lines.bytes > 0) {
        bk_wipe(lines.at, lines.bytes);
    }
    buf_fini(&lines);
    if (!destination) {
        return err == BK_OK ? BK_NO_MEMORY : err;
    }
    destination->secret_lines = slice_skip(destination->header_lines, plain_bytes);
    destination->number = record->number;
    memcpy(destination->id, record->id, sizeof destination->id);
    destination->pause = input.paused ? DESTINATION_PAUSED_BY_SPEC : pause.pause;
    err = compile_secrets(compiler, record, &input, destination, ret_message);
    if (err == BK_OK) {
        err = compile_tls(compiler, record, &input, destination, ret_message);
    }
    if (err == BK_OK && input.order_key.bytes > 0) {
        struct filter_error error;
        *ret_message = "its order key cannot be compiled";
        err = filter_compile(input.order_key, FILTER_DATA, false, &destination->order_key, &error);
    }
    if (err != BK_OK) {
        destination_free(destination);
        return err;
    }
    *ret_destination = destination;
    return BK_OK;
}

/* ---- compiling a route */

/* The type every event of this source has, or empty when events carry their own. */
static struct slice constant_type(const struct record *source)
{
    struct source_input input;
    if (source_input_decode(source->compiled, &input) != BK_OK || input.custom) {
        return SLICE_EMPTY;
    }
    return scheme_row_constant_type(scheme_row_find(input.type));
}

static enum bk_err compile_from(struct compiler *compiler, struct route_reader *reader,
                                const struct filters_input *conditions, struct route_from *from)
{
    struct slice canvas, name;
    struct filters_input types;
    struct record source;
    if (!route_reader_end(reader, &canvas, &name) || !filters_input_decode(&reader->rest, &types)) {
        return BK_CORRUPT;
    }
    enum bk_err err = hub_record(compiler->txn, RESOURCE_EVENT_SOURCE, canvas, name, &source);
    if (err != BK_OK) {
        return err;
    }
    from->source_number = source.number;
    from->source_name = name;
    from->constant_type = constant_type(&source);
    return filters_compile(conditions, types.types, types.type_count, &from->filters);
}

static enum bk_err compile_to(struct compiler *compiler, struct route_reader *reader,
                              uint64_t *ret_number)
{
    struct slice canvas, name;
    struct record destination;
    if (!route_reader_end(reader, &canvas, &name)) {
        return BK_CORRUPT;
    }
    enum bk_err err = hub_record(compiler->txn, RESOURCE_DESTINATION, canvas, name, &destination);
    *ret_number = err == BK_OK ? destination.number : 0;
    return err;
}

void route_change_drop(struct route_change *change)
{
    for (unsigned i = 0; i < change->from_count; i++) {
        filter_set_free(change->from[i].filters);
    }
    change->from_count = 0;
}

enum bk_err compile_route(struct compiler *compiler, const struct record *record,
                          struct arena *arena, struct route_change *ret_change,
                          const char **ret_message)
{
    struct route_reader reader;
    struct filters_input conditions;
    *ret_message = "its record cannot be read";
    if (!route_reader_begin(record->compiled, &reader, &conditions)) {
        return BK_CORRUPT;
    }
    struct route_from *from = arena_take(arena, reader.from_count * sizeof *from);
    uint64_t *to = arena_take(arena, reader.to_count * sizeof *to);
    if (!from || !to) {
        return BK_NO_MEMORY;
    }
    *ret_change = (struct route_change){
        .number = record->number, .since_ns = record->created_ns, .from = from, .to = to};
    enum bk_err err = BK_OK;
    *ret_message = "a source of it is missing, or a filter cannot be compiled";
    for (unsigned i = 0; err == BK_OK && i < reader.from_count; i++) {
        err = compile_from(compiler, &reader, &conditions, &from[i]);
        ret_change->from_count += err == BK_OK ? 1 : 0;
        from[i].source_name =
            slice_of(arena_copy(arena, from[i].source_name.at, from[i].source_name.bytes),
                     from[i].source_name.bytes);
    }
    *ret_message = err == BK_OK ? "a destination of it is missing" : *ret_message;
    for (unsigned i = 0; err == BK_OK && i < reader.to_count; i++) {
        err = compile_to(compiler, &reader, &to[i]);
        ret_change->to_count += err == BK_OK ? 1 : 0;
    }
    if (err == BK_OK && arena->overflow) {
        err = BK_NO_MEMORY;
    }
    if (err != BK_OK) {
        route_change_drop(ret_change);
    }
    return err;
}
