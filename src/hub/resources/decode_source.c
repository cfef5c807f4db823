/* decode_source.c - the spec of an EventSource. */
#include "base/assert.h"
#include "base/buf.h"
#include "base/cidr.h"
#include "base/time.h"
#include "hub/resources/compile.h"
#include "hub/resources/decode.h"
#include "providers/scheme.h"

#include <stdio.h>
#include <yyjson.h>

#define TOLERANCE_NS_MAX (7LL * 24 * 3600 * NS_PER_SECOND)
#define DEDUPE_NS_MAX    (30LL * 24 * 3600 * NS_PER_SECOND)
#define PER_SECOND_MAX   10000000U

/* Fields that only a row of the user's own has, and those that rows for tokens of issuers have too.
 */
static const char *const row_fields[] = {"scheme", "algorithm", "signature", "timestamp",
                                         "id",     "type",      "signed",    NULL};
static const char *const token_fields[] = {"issuer",  "audience",     "claims",
                                           "jwksUrl", "allowPrivate", NULL};

static void decode_type(struct decoder *decoder, const struct decode_object *spec,
                        struct resource_event_source *source)
{
    struct slice type = decode_text(decoder, spec, "type");
    source->type = SLICE("generic");
    source->custom = true;
    if (type.bytes == 0 || scheme_is_generic(type)) {
        return;
    }
    source->custom = false;
    const struct scheme_row *row = scheme_row_find(type);
    if (row) {
        source->type = slice_str(scheme_row_name(row));
        return;
    }
    const char *names[256];
    size_t count = 0;
    for (; count < scheme_row_count() && count < bk_array_length(names) - 2; count++) {
        names[count] = scheme_row_name(scheme_row_at(count));
    }
    names[count++] = "generic";
    names[count] = NULL;
    const char *nearest = nearest_word(type, names);
    decode_wrong(decoder, spec, "type", "this version knows no provider of this name%s%s%s",
                 nearest ? "; did you mean " : "", nearest ? nearest : "", nearest ? "?" : "");
    source->type = SLICE_EMPTY;
}

static bool path_valid(struct slice path)
{
    if (path.bytes == 0 || path.bytes > SOURCE_PATH_BYTES_MAX || slice_equal(path, SLICE(".")) ||
        slice_equal(path, SLICE(".."))) {
        return false;
    }
    for (size_t i = 0; i < path.bytes; i++) {
        uint8_t c = ascii_lower(path.at[i]);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
              c == '.' || c == '~')) {
            return false;
        }
    }
    return true;
}

static void decode_path_field(struct decoder *decoder, const struct decode_object *spec,
                              struct resource_event_source *source)
{
    source->path = decode_text(decoder, spec, "path");
    if (source->path.bytes > 0 && !path_valid(source->path)) {
        decode_wrong(decoder, spec, "path",
                     "must be 1 to %u letters, digits, -, _, . or ~: it is what follows /hooks/",
                     SOURCE_PATH_BYTES_MAX);
    }
}

/* valueFrom: {secret: {name, key}} */
static void decode_reference(struct decoder *decoder, const struct decode_object *item,
                             struct resource_source_secret *secret)
{
    static const char *const known[] = {"secret", NULL};
    static const char *const secret_known[] = {"name", "key", "domainType", NULL};
    struct decode_object from = decode_inner(decoder, item, "valueFrom");
    decode_known(decoder, &from, known);
    struct decode_object ref = decode_inner(decoder, &from, "secret");
    decode_known(decoder, &ref, secret_known);
    if (from.value && !decode_field(&from, "secret")) {
        decode_wrong(decoder, &from, "secret", "is missing");
        return;
    }
    secret->ref.name = decode_text(decoder, &ref, "name");
    secret->ref.key = decode_text(decoder, &ref, "key");
    secret->ref.domain = decode_domain(decoder, &ref);
    if (ref.value && !decode_field(&ref, "name")) {
        decode_wrong(decoder, &ref, "name", "is missing");
    } else if (secret->ref.name.bytes > 0 && !resource_name_valid(secret->ref.name)) {
        decode_wrong(decoder, &ref, "name", "is no name of a secret");
    }
    if (ref.value && !decode_field(&ref, "key")) {
        decode_wrong(decoder, &ref, "key", "is missing");
    }
}

void decode_secret_source(struct decoder *decoder, const struct decode_object *item,
                          struct resource_source_secret *secret)
{
    static const char *const known[] = {"value", "valueFrom", NULL};
    secret->place = item->place;
    decode_known(decoder, item, known);
    bool value = decode_field(item, "value") != NULL;
    bool from = decode_field(item, "valueFrom") != NULL;
    if (value == from) {
        decode_wrong(decoder, item, NULL, "give either value or valueFrom");
        return;
    }
    if (value) {
        secret->inline_value = true;
        secret->value = decode_secret_text(decoder, item, "value");
    } else {
        decode_reference(decoder, item, secret);
    }
}

unsigned decode_secret_sources(struct decoder *decoder, const struct decode_object *object,
                               unsigned count_max, struct resource_source_secret **ret_secrets)
{
    yyjson_mut_val *list = decode_field(object, "secrets"), *value;
    if (!list) {
        return 0;
    }
    size_t count = yyjson_mut_arr_size(list), index, max;
    if (!yyjson_mut_is_arr(list) || count > count_max || count == 0) {
        decode_wrong(decoder, object, "secrets", "must be a list of 1 to %u secrets", count_max);
        return 0;
    }
    *ret_secrets = arena_take(&decoder->tree->arena, count * sizeof **ret_secrets);
    if (!*ret_secrets) {
        decode_wrong(decoder, object, "secrets", "document too large");
        return 0;
    }
    struct decode_object secrets = {NULL, object, "secrets", json_place(list)};
    yyjson_mut_arr_foreach(list, index, max, value)
    {
        char name[24];
        snprintf(name, sizeof name, "[%u]", (unsigned)index);
        struct decode_object item = {value, &secrets, name, json_place(value)};
        if (!yyjson_mut_is_obj(value)) {
            decode_wrong(decoder, &item, NULL,
                         "must be {value: …} or {valueFrom: {secret: {name, key}}}");
            continue;
        }
        decode_secret_source(decoder, &item, &(*ret_secrets)[index]);
    }
    return (unsigned)count;
}

static struct slice header_of(struct decoder *decoder, const struct decode_object *verification,
                              const char *name, struct slice *ret_field)
{
    static const char *const with_field[] = {"header", "field", NULL};
    struct decode_object place = decode_inner(decoder, verification, name);
    decode_known(decoder, &place, with_field);
    *ret_field = decode_text(decoder, &place, "field");
    return decode_text(decoder, &place, "header");
}

/* type: {header, field | template}; a template is kept as a field, which it cannot be taken for. */
static void decode_type_place(struct decoder *decoder, const struct decode_object *verification,
                              struct resource_event_source *source)
{
    static const char *const known[] = {"header", "field", "template", NULL};
    struct decode_object place = decode_inner(decoder, verification, "type");
    decode_known(decoder, &place, known);
    source->type_header = decode_text(decoder, &place, "header");
    source->type_field = decode_text(decoder, &place, "field");
    struct slice template = decode_text(decoder, &place, "template");
    if (slice_starts(source->type_field, SLICE("{"))) {
        decode_wrong(decoder, &place, "field", "not a JSON pointer; several places are a template");
    }
    if (template.bytes == 0) {
        return;
    }
    if (source->type_header.bytes + source->type_field.bytes > 0) {
        decode_wrong(decoder, &place, "template", "goes alone, without header or field");
    } else if (!slice_starts(template, SLICE("{"))) {
        decode_wrong(decoder, &place, "template", "must be like {header:X-Resource}.{/action}");
    } else {
        source->type_field = template;
    }
}

/* claims: {name: text, number or true, …}, as name=value lines. */
static void decode_claims(struct decoder *decoder, const struct decode_object *verification,
                          struct resource_event_source *source)
{
    struct decode_object claims = decode_inner(decoder, verification, "claims");
    yyjson_mut_val *key, *value;
    size_t index, max;
    const char *lines = "";
    yyjson_mut_obj_foreach(claims.value, index, max, key, value)
    {
        char number[24] = "";
        const char *name = yyjson_mut_get_str(key);
        const char *text = yyjson_mut_is_str(value)     ? yyjson_mut_get_str(value)
                           : yyjson_mut_is_true(value)  ? "true"
                           : yyjson_mut_is_false(value) ? "false"
                                                        : number;
        if (yyjson_mut_is_uint(value)) {
            snprintf(number, sizeof number, "%llu", (unsigned long long)yyjson_mut_get_uint(value));
        }
        bool whole = !yyjson_mut_is_str(value) || strlen(text) == yyjson_mut_get_len(value);
        if (text[0] == 0 || name[0] == 0 || strpbrk(name, "=\n") || strchr(text, '\n') || !whole) {
            decode_wrong(decoder, &claims, name,
                         "must be a text (* stands for any), a whole number, true or false");
            continue;
        }
        lines = arena_printf(&decoder->tree->arena, "%s%s%s=%s", lines, lines[0] ? "\n" : "", name,
                             text);
        if (!lines) {
            decode_wrong(decoder, verification, "claims", "document too large");
            return;
        }
    }
    source->claims = slice_str(lines);
}

/* A text, or a list of texts. */
static void decode_audience(struct decoder *decoder, const struct decode_object *verification,
                            struct resource_event_source *source)
{
    yyjson_mut_val *list = decode_field(verification, "audience"), *item;
    size_t index, max;
    const char *words = "";
    if (!yyjson_mut_is_arr(list)) {
        source->audience = decode_text(decoder, verification, "audience");
        if (slice_find(source->audience, ' ') < source->audience.bytes) {
            decode_wrong(decoder, verification, "audience",
                         "has a blank: give several as a list of texts");
        }
        return;
    }
    yyjson_mut_arr_foreach(list, index, max, item)
    {
        const char *word = yyjson_mut_get_str(item);
        if (!word || !word[0] || strpbrk(word, " \t\r\n")) {
            decode_wrong(decoder, verification, "audience", "must be a text or a list of texts");
            return;
        }
        words = arena_printf(&decoder->tree->arena, "%s%s%s", words, words[0] ? " " : "", word);
        if (!words) {
            decode_wrong(decoder, verification, "audience", "document too large");
            return;
        }
    }
    source->audience = slice_str(words);
}

static void decode_token(struct decoder *decoder, const struct decode_object *verification,
                         struct resource_event_source *source)
{
    static const char *const https[] = {"issuer", "jwksUrl"};
    source->issuer = decode_text(decoder, verification, "issuer");
    source->jwks_url = decode_text(decoder, verification, "jwksUrl");
    yyjson_mut_val *allow = decode_field(verification, "allowPrivate");
    source->allow_private = yyjson_mut_is_true(allow);
    if (allow && !yyjson_mut_is_bool(allow)) {
        decode_wrong(decoder, verification, "allowPrivate", "must be true or false");
    }
    decode_audience(decoder, verification, source);
    decode_claims(decoder, verification, source);
    const struct slice urls[] = {source->issuer, source->jwks_url};
    for (size_t i = 0; i < bk_array_length(urls); i++) {
        if (urls[i].bytes > 0 && !slice_starts(urls[i], SLICE("https://")) &&
            !slice_starts(urls[i], SLICE("http://"))) {
            decode_wrong(decoder, verification, https[i], "must be an https:// URL");
        }
    }
}

/* timestamp: {header | field, unit} */
static void decode_timestamp(struct decoder *decoder, const struct decode_object *verification,
                             struct resource_event_source *source)
{
    static const char *const known[] = {"header", "field", "unit", NULL};
    struct decode_object place = decode_inner(decoder, verification, "timestamp");
    decode_known(decoder, &place, known);
    source->timestamp_header = decode_text(decoder, &place, "header");
    source->timestamp_field = decode_text(decoder, &place, "field");
    source->timestamp_unit = decode_text(decoder, &place, "unit");
    if (source->timestamp_header.bytes > 0 && source->timestamp_field.bytes > 0) {
        decode_wrong(decoder, &place, "field", "give either header or field");
    }
}

/* What a scheme that signs nothing does not look at: whoever writes it believes that it is. */
static void refuse_useless(struct decoder *decoder, const struct decode_object *verification,
                           struct slice scheme)
{
    static const struct {
        const char *scheme, *fields[5];
    } useless[] = {
        {"none", {"signature", "signed", "timestamp", "algorithm", NULL}},
        {"basic", {"signature", "signed", "timestamp", "algorithm", NULL}},
        {"bearer", {"signature", "signed", "timestamp", "algorithm", NULL}},
        {"token", {"signed", "timestamp", "algorithm", NULL}},
        {"jwt", {"signed", "timestamp", NULL}},
    };
    for (size_t i = 0; i < bk_array_length(useless); i++) {
        bool it = slice_equal_nocase(scheme, slice_str(useless[i].scheme));
        for (size_t k = 0; it && useless[i].fields[k]; k++) {
            if (decode_field(verification, useless[i].fields[k])) {
                decode_wrong(decoder, verification, useless[i].fields[k],
                             "scheme %s does not look at it", useless[i].scheme);
            }
        }
    }
}

static void decode_custom(struct decoder *decoder, const struct decode_object *verification,
                          struct resource_event_source *source)
{
    static const char *const signature_known[] = {"header", "field", "format", NULL};
    source->scheme = decode_text(decoder, verification, "scheme");
    source->algorithm = decode_text(decoder, verification, "algorithm");
    refuse_useless(decoder, verification, source->scheme);
    source->signed_template = decode_text(decoder, verification, "signed");
    struct decode_object signature = decode_inner(decoder, verification, "signature");
    decode_known(decoder, &signature, signature_known);
    source->signature_header = decode_text(decoder, &signature, "header");
    source->signature_format = decode_text(decoder, &signature, "format");
    decode_token(decoder, verification, source);
    source->signature_field = decode_text(decoder, &signature, "field");
    if (source->signature_header.bytes > 0 && source->signature_field.bytes > 0) {
        decode_wrong(decoder, &signature, "field", "give either header or field");
    }
    decode_timestamp(decoder, verification, source);
    source->id_header = header_of(decoder, verification, "id", &source->id_field);
    decode_type_place(decoder, verification, source);
}

void source_custom(const struct resource_event_source *source, struct scheme_custom *ret_custom)
{
    bool hmac = source->scheme.bytes == 0 || slice_equal_nocase(source->scheme, SLICE("hmac"));
    /* Superplane's plain webhook, when nothing is said: the prefix may be left out. */
    bool plain = hmac && source->signature_header.bytes == 0 && source->signature_field.bytes == 0;
    *ret_custom = (struct scheme_custom){
        .scheme = source->scheme.bytes ? source->scheme : SLICE("hmac"),
        .algorithm = source->algorithm,
        .signature_header = plain ? SLICE("X-Signature-256") : source->signature_header,
        .signature_format = plain && source->signature_format.bytes == 0 ? SLICE("[sha256=]{hex}")
                                                                         : source->signature_format,
        .timestamp_header = source->timestamp_header,
        .id_header = source->id_header,
        .type_header = source->type_header,
        .type_field = source->type_field,
        .id_field = source->id_field,
        .signed_template = source->signed_template,
        .signature_field = source->signature_field,
        .timestamp_field = source->timestamp_field,
        .timestamp_unit = source->timestamp_unit,
        .base = slice_equal(source->type, SLICE("generic")) ? SLICE_EMPTY : source->type,
        .issuer = source->issuer,
        .allow_private = source->allow_private,
        .audience = source->audience,
        .claims = source->claims,
        .jwks_url = source->jwks_url,
    };
    if (ret_custom->base.bytes > 0) {
        ret_custom->scheme = SLICE("jwt");
        ret_custom->signature_header = SLICE_EMPTY;
        ret_custom->signature_format = SLICE_EMPTY;
    }
}

#define VERIFICATION "spec.verification."

/* Was something said of this field, or of what is in it? */
static bool is_told(const struct decoder *decoder, size_t before, const char *field)
{
    size_t bytes = strcspn(field, ".");
    for (size_t i = before; i < decoder->problems->count; i++) {
        const char *told = decoder->problems->at[i].field;
        if (strncmp(told, VERIFICATION, sizeof VERIFICATION - 1) == 0) {
            told += sizeof VERIFICATION - 1;
            if (strcspn(told, ".") == bytes && strncmp(told, field, bytes) == 0) {
                return true;
            }
        }
    }
    return false;
}

/* Take a field out that cannot be, to see whether there is more. False when there is nothing to
 * take out. */
static bool take_out(struct scheme_custom *custom, const char *field)
{
    const struct {
        const char *name;
        struct slice *text, then;
    } fields[] = {{"scheme", &custom->scheme, SLICE("hmac")},
                  {"algorithm", &custom->algorithm, SLICE_EMPTY},
                  {"signature.format", &custom->signature_format, SLICE("{hex}")},
                  {"signature.field", &custom->signature_field, SLICE_EMPTY},
                  {"timestamp.unit", &custom->timestamp_unit, SLICE_EMPTY},
                  {"timestamp.field", &custom->timestamp_field, SLICE_EMPTY},
                  {"id.field", &custom->id_field, SLICE_EMPTY},
                  {"type.field", &custom->type_field, SLICE_EMPTY},
                  {"type.template", &custom->type_field, SLICE_EMPTY},
                  {"signed", &custom->signed_template, SLICE_EMPTY}};
    for (size_t i = 0; i < bk_array_length(fields); i++) {
        if (strcmp(field, fields[i].name) == 0 && !slice_equal(*fields[i].text, fields[i].then)) {
            *fields[i].text = fields[i].then;
            return true;
        }
    }
    return false;
}

static void say_custom(struct decoder *decoder, const struct decode_object *spec,
                       const struct decode_object *verification, const char *field,
                       const char *message)
{
    /* "signature.format": the inner object has the place. */
    const char *dot = strchr(field, '.');
    if (!verification->value) {
        decode_wrong(decoder, spec, "verification", "%s: %s", field, message);
    } else if (!dot) {
        decode_wrong(decoder, verification, field, "%s", message);
    } else {
        char outer[64];
        snprintf(outer, sizeof outer, "%.*s", (int)(dot - field), field);
        struct decode_object inner = decode_inner(decoder, verification, outer);
        decode_wrong(decoder, &inner, dot + 1, "%s", message);
    }
}

/* Is it a row that can be built? What was told since `before` is not told again. */
static void check_custom(struct decoder *decoder, const struct decode_object *spec,
                         const struct decode_object *verification,
                         const struct resource_event_source *source, size_t before)
{
    struct scheme_custom custom;
    bool more = !is_told(decoder, before, "scheme");
    source_custom(source, &custom);
    while (more) {
        struct scheme_row *row = NULL;
        const char *field = NULL, *message = NULL;
        enum bk_err err = scheme_row_custom(&custom, &row, &field, &message);
        scheme_row_free(row);
        if (err == BK_OK) {
            return;
        }
        field = field ? field : "scheme";
        message = message ? message : bk_err_text(err);
        if (!is_told(decoder, before, field)) {
            say_custom(decoder, spec, verification, field, message);
        }
        more = strcmp(field, "scheme") != 0 && take_out(&custom, field);
    }
}

static void check_secrets(struct decoder *decoder, const struct decode_object *spec,
                          const struct decode_object *verification,
                          struct resource_event_source *source)
{
    bool none = slice_equal_nocase(source->scheme, SLICE("none"));
    bool hmac = source->scheme.bytes == 0 || slice_equal_nocase(source->scheme, SLICE("hmac"));
    const struct scheme_row *row = source->custom ? NULL : scheme_row_find(source->type);
    bool token = source->custom &&
                 (slice_equal_nocase(source->scheme, SLICE("jwt")) ||
                  !slice_equal(source->type, SLICE("generic"))) &&
                 source->algorithm.bytes == 0;
    bool needed = source->custom ? !none && !token
                                 : row && scheme_row_needs_secret(row) && !scheme_row_learns(row);
    if (token && decode_field(verification, "secrets")) {
        decode_wrong(decoder, verification, "secrets",
                     "is for algorithm hs256 only; the keys of an issuer are fetched");
    }
    if (decode_field(verification, "secrets") || !needed) {
        if (source->custom && none && decode_field(verification, "secrets")) {
            decode_wrong(decoder, verification, "secrets", "scheme none takes no secret");
        }
        return;
    }
    if (source->custom && hmac) {
        source->generate_key = true;
    } else if (verification->value) {
        decode_wrong(decoder, verification, "secrets", "is missing: what %.*s signs with",
                     (int)source->type.bytes, (const char *)source->type.at);
    } else {
        decode_wrong(decoder, spec, "verification",
                     "is missing: {secrets: [{valueFrom: {secret: {name, key}}}]}");
    }
}

static void refuse_fields(struct decoder *decoder, const struct decode_object *verification,
                          const struct resource_event_source *source, const char *const *fields)
{
    for (size_t i = 0; fields[i] && source->type.bytes > 0; i++) {
        if (decode_field(verification, fields[i])) {
            decode_wrong(decoder, verification, fields[i],
                         "only with `type: generic`; %.*s has its own", (int)source->type.bytes,
                         (const char *)source->type.at);
        }
    }
}

/* ---- who may send */

/* A list of texts, as one with blanks between. True when the field is there. */
static bool decode_list(struct decoder *decoder, const struct decode_object *verification,
                        const char *name, unsigned most, struct slice *ret_text)
{
    yyjson_mut_val *list = decode_field(verification, name), *value;
    size_t index, max;
    if (!list) {
        return false;
    }
    struct buf text;
    buf_init(&text, 8192);
    bool good = yyjson_mut_is_arr(list) && yyjson_mut_arr_size(list) <= most;
    yyjson_mut_arr_foreach(list, index, max, value)
    {
        struct slice item = json_text(value);
        good = good && yyjson_mut_is_str(value) && item.bytes > 0 && item.bytes < 256 &&
               slice_find(item, ' ') == item.bytes && slice_find(item, 0) == item.bytes;
        buf_add_str(&text, text.bytes > 0 ? " " : "");
        if (good) {
            buf_add_slice(&text, item);
        }
    }
    char *copy = arena_copy(&decoder->tree->arena, text.at, text.bytes);
    *ret_text = slice_of(copy, copy ? text.bytes : 0);
    if (!good || text.overflow || !copy) {
        decode_wrong(decoder, verification, name, "must be a list of at most %u texts", most);
    }
    buf_fini(&text);
    return true;
}

static void check_ranges(struct decoder *decoder, const struct decode_object *verification,
                         const char *name, struct slice text)
{
    while (text.bytes > 0) {
        struct cidr range;
        struct slice one = slice_of(text.at, slice_find(text, ' '));
        text = slice_skip(text, one.bytes + 1);
        if (!cidr_parse(one, &range)) {
            decode_wrong(decoder, verification, name,
                         "%.*s is no block of addresses, as 192.30.252.0/22 or 2606:50c0::/32",
                         (int)one.bytes, (const char *)one.at);
            return;
        }
    }
}

static void decode_senders(struct decoder *decoder, const struct decode_object *verification,
                           struct resource_event_source *source)
{
    decode_list(decoder, verification, "origins", SCHEME_ORIGINS_MAX, &source->origins);
    source->has_allow =
        decode_list(decoder, verification, "allow", SCHEME_RANGES_MAX, &source->allow);
    decode_list(decoder, verification, "trustedProxies", SCHEME_RANGES_MAX, &source->proxies);
    check_ranges(decoder, verification, "allow", source->allow);
    check_ranges(decoder, verification, "trustedProxies", source->proxies);
    if (source->proxies.bytes > 0 && !source->has_allow) {
        decode_wrong(decoder, verification, "trustedProxies",
                     "only with `allow`: nothing else looks at addresses");
    }
}

static void decode_verify_token(struct decoder *decoder, const struct decode_object *verification,
                                struct resource_event_source *source)
{
    if (!decode_field(verification, "verifyToken")) {
        return;
    }
    if (source->secret_count == SECRETS_PER_SOURCE_MAX) {
        decode_wrong(decoder, verification, "verifyToken", "with at most %u secrets beside it",
                     SECRETS_PER_SOURCE_MAX - 1);
        return;
    }
    struct decode_object item = decode_inner(decoder, verification, "verifyToken");
    source->verify_token = arena_take(&decoder->tree->arena, sizeof *source->verify_token);
    if (!source->verify_token || !item.value) {
        decode_wrong(decoder, verification, "verifyToken",
                     "must be {value: …} or {valueFrom: {secret: {name, key}}}");
        source->verify_token = NULL;
        return;
    }
    *source->verify_token = (struct resource_source_secret){0};
    decode_secret_source(decoder, &item, source->verify_token);
}

static void decode_verification(struct decoder *decoder, const struct decode_object *spec,
                                struct resource_event_source *source)
{
    static const char *const known[] = {"secrets",        "tolerance",    "scheme",   "algorithm",
                                        "signature",      "timestamp",    "id",       "type",
                                        "signed",         "verifyToken",  "origins",  "allow",
                                        "trustedProxies", "issuer",       "audience", "claims",
                                        "jwksUrl",        "allowPrivate", NULL};
    struct decode_object verification = decode_inner(decoder, spec, "verification");
    size_t before = decoder->problems->count + decoder->problems->dropped;
    decode_known(decoder, &verification, known);
    source->secret_count =
        decode_secret_sources(decoder, &verification, SECRETS_PER_SOURCE_MAX, &source->secrets);
    decode_verify_token(decoder, &verification, source);
    decode_senders(decoder, &verification, source);
    int64_t ns = 0;
    source->tolerance_seconds = -1;
    if (decode_duration(decoder, &verification, "tolerance", NS_PER_SECOND, TOLERANCE_NS_MAX, &ns,
                        &source->tolerance_text)) {
        source->tolerance_seconds = ns / NS_PER_SECOND;
    }
    const struct scheme_row *row = source->custom ? NULL : scheme_row_find(source->type);
    if (row && scheme_row_takes_claims(row)) {
        refuse_fields(decoder, &verification, source, row_fields);
        decode_token(decoder, &verification, source);
        source->custom = true;
        check_custom(decoder, spec, &verification, source, before);
    } else if (!source->custom) {
        refuse_fields(decoder, &verification, source, row_fields);
        refuse_fields(decoder, &verification, source, token_fields);
    } else {
        decode_custom(decoder, &verification, source);
        check_custom(decoder, spec, &verification, source, before);
    }
    check_secrets(decoder, spec, &verification, source);
}

static void decode_limits(struct decoder *decoder, const struct decode_object *spec,
                          struct resource_event_source *source)
{
    static const char *const known[] = {"bodyBytes", "perSecond", NULL};
    static const char *const dedupe_known[] = {"window", NULL};
    struct decode_object limits = decode_inner(decoder, spec, "limits");
    struct decode_object dedupe = decode_inner(decoder, spec, "dedupe");
    decode_known(decoder, &limits, known);
    decode_known(decoder, &dedupe, dedupe_known);
    uint64_t number = 0;
    if (decode_number(decoder, &limits, "bodyBytes", 1, BODY_BYTES_MAX, &number)) {
        source->body_bytes = number;
    }
    if (decode_number(decoder, &limits, "perSecond", 0, PER_SECOND_MAX, &number)) {
        source->per_second_given = true;
        source->per_second = (uint32_t)number;
    }
    source->dedupe_window_ns = -1;
    int64_t ns = 0;
    if (decode_duration(decoder, &dedupe, "window", 0, DEDUPE_NS_MAX, &ns, &source->dedupe_text)) {
        source->dedupe_window_ns = ns;
    }
}

/* Fields of the interface that this version cannot honour: better refused than ignored. */
static void refuse_later(struct decoder *decoder, const struct decode_object *spec)
{
    static const char *const later[] = {"schedule"};
    for (size_t i = 0; i < bk_array_length(later); i++) {
        if (decode_field(spec, later[i])) {
            decode_wrong(decoder, spec, later[i], "is not supported by this version");
        }
    }
}

void decode_event_source(struct decoder *decoder, const struct decode_object *spec,
                         struct resource_event_source *ret_source)
{
    static const char *const known[] = {
        "type",     "path",     "verification", "dedupe", "limits", "events", "integration",
        "resource", "schedule", "semaphore",    "github", "gitlab", NULL};
    decode_known(decoder, spec, known);
    refuse_later(decoder, spec);
    decode_type(decoder, spec, ret_source);
    decode_path_field(decoder, spec, ret_source);
    decode_limits(decoder, spec, ret_source);
    decode_events(decoder, spec, ret_source);
    decode_source_integration(decoder, spec, ret_source);
    if (!decode_field(spec, "integration")) {
        decode_verification(decoder, spec, ret_source);
    }
}
