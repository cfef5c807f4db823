/* Compiling: rows and their little languages into plans, secrets into keys. Control plane. */
#include "providers/program.h"

#include "base/assert.h"
#include "base/cidr.h"
#include "base/ct.h"
#include "base/hex.h"

#include <stdatomic.h>
#include <stdlib.h>

static bool fail(struct problem *problem, const char *field, const char *message)
{
    *problem = (struct problem){field, message};
    return false;
}

/* ---- formats */

struct placeholder {
    const char *text;
    enum encoding encoding;
};
static const struct placeholder placeholders[] = {
    {"{hex}", ENCODING_HEX},
    {"{base64url}", ENCODING_BASE64URL},
    {"{base64}", ENCODING_BASE64},
};

static struct prefix prefix_of(struct slice text)
{
    struct prefix prefix = {
        .text = text, .least = text.bytes <= sizeof prefix.front ? sizeof prefix.front : SIZE_MAX};
    size_t bytes = text.bytes < sizeof prefix.front ? text.bytes : sizeof prefix.front;
    if (bytes != 0) {
        memcpy(&prefix.front, text.at, bytes);
        memset(&prefix.front_mask, 0xff, bytes);
    }
    return prefix;
}

/* The literal before a placeholder; "[text]" may be left out. */
static bool prefix_parse(struct slice literal, struct prefix *ret_prefix, bool *ret_optional,
                         struct problem *problem)
{
    *ret_prefix = prefix_of(literal);
    *ret_optional = false;
    if (literal.bytes >= 2 && literal.at[0] == '[' && literal.at[literal.bytes - 1] == ']') {
        *ret_prefix = prefix_of(slice_of(literal.at + 1, literal.bytes - 2));
        *ret_optional = true;
    } else if (slice_find(literal, '[') != literal.bytes) {
        return fail(problem, "signature.format", "[ ] may only enclose a whole prefix");
    }
    return true;
}

/* One element at the front of *text, which moves behind it. */
static bool element_parse(struct slice *text, struct lane *lane, struct format *format,
                          struct problem *problem)
{
    struct slice literal = slice_of(text->at, slice_find(*text, '{'));
    struct slice rest = slice_skip(*text, literal.bytes);
    for (size_t i = 0; i < bk_array_length(placeholders); i++) {
        struct slice word = slice_str(placeholders[i].text);
        if (!slice_starts(rest, word)) {
            continue;
        }
        if (lane->used) {
            return fail(problem, "signature.format",
                        "more than one signature; write ... for a list");
        }
        lane->used = true;
        lane->encoding = placeholders[i].encoding;
        *text = slice_skip(rest, word.bytes);
        return prefix_parse(literal, &lane->prefix, &lane->prefix_optional, problem);
    }
    bool first = !lane->used && format->separator == 0;
    if (slice_starts(rest, SLICE("{timestamp}")) && !format->has_timestamp &&
        (literal.bytes != 0 || first)) {
        format->has_timestamp = true;
        format->timestamp_first = literal.bytes == 0;
        format->timestamp_prefix = prefix_of(literal);
        *text = slice_skip(rest, strlen("{timestamp}"));
        return true;
    }
    return fail(problem, "signature.format",
                "expected a prefix and one of {hex} {base64} {base64url} {timestamp}");
}

/* Elements are split at the separator and trimmed before prefixes are looked at. */
static bool prefix_possible(const struct format *format, struct slice prefix)
{
    return slice_find(prefix, format->separator) == prefix.bytes &&
           (prefix.bytes == 0 || (prefix.at[0] != ' ' && prefix.at[0] != '\t'));
}

static bool format_parse(const char *text, enum hmac_algorithm algorithm, enum lane_kind kind,
                         struct format *format, struct problem *problem)
{
    struct lane *lane = &format->lanes[format->lanes[0].used];
    struct slice rest = slice_str(text);
    while (rest.bytes != 0 && !slice_equal(rest, SLICE("..."))) {
        if (!element_parse(&rest, lane, format, problem)) {
            return false;
        }
        if (rest.bytes != 0) {
            uint8_t separator = rest.at[0];
            if (rest.bytes == 1 || (format->separator != 0 && format->separator != separator) ||
                slice_find(SLICE(",; |"), separator) == 4) {
                return fail(problem, "signature.format",
                            "elements are separated by one of , ; | or a blank");
            }
            format->separator = separator;
            rest = slice_skip(rest, 1);
        }
    }
    format->open |= rest.bytes != 0;
    format->signatures_max = format->open ? SIGNATURES_MAX : 1;
    struct slice prefix = lane->prefix.text;
    if (!prefix_possible(format, prefix) ||
        !prefix_possible(format, format->timestamp_prefix.text) ||
        (format->has_timestamp && !format->timestamp_first &&
         slice_starts(prefix, format->timestamp_prefix.text))) {
        return fail(problem, "signature.format",
                    "a prefix has the separator in it, begins with a blank, or is another's");
    }
    if (!lane->used) {
        return fail(problem, "signature.format", "no {hex}, {base64} or {base64url}");
    }
    lane->kind = kind;
    lane->bytes = kind == LANE_ED25519      ? ED25519_SIGNATURE_BYTES
                  : kind == LANE_PUBLIC_KEY ? SIGNATURE_BYTES_MAX
                                            : (uint16_t)hmac_bytes(algorithm);
    return true;
}

/* ---- signed templates */

static const struct {
    const char *text;
    enum op_kind kind;
} op_words[] = {
    {"{body}", OP_BODY},
    {"{id}", OP_ID},
    {"{timestamp}", OP_TIMESTAMP},
    {"{method}", OP_METHOD},
    {"{path}", OP_PATH},
    {"{url}", OP_URL},
    {"{url-unescaped}", OP_URL_UNESCAPED},
    {"{query}", OP_QUERY},
    {"{form}", OP_FORM},
    {"{sha256}", OP_BODY_SHA256},
    {"{secret}", OP_SECRET},
    {"{header:", OP_HEADER},
    {"{/", OP_PLACE},
    {"{?", OP_PLACE},
};

/* A placeholder at the front of *text, which moves behind it. */
static bool op_parse(struct slice *text, struct op *op, struct problem *problem)
{
    for (size_t i = 0; i < bk_array_length(op_words); i++) {
        struct slice word = slice_str(op_words[i].text);
        if (!slice_starts(*text, word)) {
            continue;
        }
        op->kind = op_words[i].kind;
        bool whole = word.at[word.bytes - 1] == '}';
        *text = slice_skip(*text, op->kind == OP_PLACE ? 1 : word.bytes);
        if (whole) {
            return true;
        }
        op->text = slice_of(text->at, slice_find(*text, '}'));
        /* What has another brace in it was meant otherwise. */
        if (op->text.bytes == 0 || op->text.bytes == text->bytes ||
            slice_find(op->text, '{') != op->text.bytes ||
            (op->kind == OP_HEADER && !row_is_header_name(op->text))) {
            break;
        }
        *text = slice_skip(*text, op->text.bytes + 1);
        return true;
    }
    return fail(problem, "signed",
                "expected {body} {id} {timestamp} {method} {path} {url} {query} {header:Name} "
                "{/pointer} {?name} {form} or {sha256}");
}

static bool ops_parse(const char *template, struct program *program, struct problem *problem)
{
    struct slice text = slice_str(template);
    program->op_count = 0;
    program->signs_id = program->signs_timestamp = false;
    while (text.bytes != 0) {
        struct op op = {.kind = OP_TEXT, .text = slice_of(text.at, slice_find(text, '{'))};
        if (op.text.bytes != 0) {
            text = slice_skip(text, op.text.bytes);
        } else if (!op_parse(&text, &op, problem)) {
            return false;
        }
        bool url = op.kind == OP_URL || op.kind == OP_URL_UNESCAPED;
        if (program->op_count + url >= OPS_MAX) {
            return fail(problem, "signed",
                        "too many pieces: placeholders and the texts between are 16 at most, a "
                        "URL counts twice");
        }
        program->signs_id |= op.kind == OP_ID;
        program->signs_timestamp |= op.kind == OP_TIMESTAMP;
        program->ops[program->op_count++] = op;
        if (url) {
            op.kind = OP_URL_REST;
            program->ops[program->op_count++] = op;
        }
    }
    return true;
}

/* ---- the block */

static struct slice keep(struct block *block, struct slice text)
{
    bk_assert((size_t)(block->end - block->at) >= text.bytes);
    uint8_t *at = block->at;
    if (text.bytes != 0) {
        memcpy(at, text.at, text.bytes);
        block->at += text.bytes;
    }
    return slice_of(at, text.bytes);
}

static struct slice keep_lower(struct block *block, struct slice text)
{
    uint8_t *at = block->at;
    struct slice kept = keep(block, text);
    for (size_t i = 0; i < kept.bytes; i++) {
        at[i] = ascii_lower(at[i]);
    }
    return kept;
}

/* Calls `visit` for every string pointer of a row. */
#define ROW_STRINGS(visit)                                                                         \
    visit(name) visit(title) visit(aliases) visit(documentation) visit(needs) visit(header)        \
        visit(format) visit(format_ed25519) visit(signed_template) visit(body_hash)                \
            visit(timestamp) visit(id) visit(type) visit(account) visit(resource) visit(redact)    \
                visit(sample_type) visit(detect) visit(detect_not) visit(select)                   \
                    visit(select_equals) visit(signing_prefix) visit(issuer) visit(audience)       \
                        visit(claims) visit(jwks_url) visit(body_claim)

/* Room for every string of the row, once. */
static size_t row_text_bytes(const struct scheme_row *row)
{
    size_t bytes = 0;
    if (row == NULL) {
        return 0;
    }
#define VISIT(field) bytes += row->field != NULL ? strlen(row->field) + 1 : 0;
    ROW_STRINGS(VISIT)
#undef VISIT
    for (unsigned i = 0; row->handshakes != NULL && i < ROW_HANDSHAKES_MAX; i++) {
        const struct row_handshake *h = &row->handshakes[i];
        const char *const texts[] = {h->when, h->must, h->learn, h->answer, h->headers};
        for (size_t t = 0; t < bk_array_length(texts); t++) {
            bytes += texts[t] != NULL ? strlen(texts[t]) : 0;
        }
    }
    return bytes;
}

/* A row made at run time is copied whole; its pointers point into itself. */
static const struct scheme_row *keep_row(struct block *block, const struct scheme_row *row)
{
    if (row->block_bytes == 0) {
        return row;
    }
    bk_assert((uintptr_t)block->at % _Alignof(struct scheme_row) == 0);
    struct scheme_row *copy = (struct scheme_row *)(void *)block->at;
    (void)keep(block, slice_of(row, row->block_bytes));
#define VISIT(field)                                                                               \
    copy->field = row->field != NULL ? (const char *)copy + (row->field - (const char *)row) : NULL;
    ROW_STRINGS(VISIT)
#undef VISIT
    return copy;
}

/* ---- places */

static struct slice next_word(struct slice *text)
{
    *text = slice_trim(*text);
    struct slice word = slice_of(text->at, slice_find(*text, ' '));
    *text = slice_skip(*text, word.bytes);
    return word;
}

static bool place_parse(struct slice word, struct block *block, struct place *ret_place)
{
    *ret_place = (struct place){.kind = PLACE_HEADER, .shown = word};
    if (word.bytes == 0) {
        ret_place->kind = PLACE_NONE;
    } else if (word.at[0] == '/') {
        size_t at = 0;
        while (at + 3 <= word.bytes && memcmp(word.at + at, "/*/", 3) != 0) {
            at++;
        }
        bool each = at + 3 <= word.bytes;
        ret_place->kind = each ? PLACE_EACH : PLACE_FIELD;
        struct json_path inner;
        ret_place->each = each ? slice_skip(word, at + 2) : SLICE_EMPTY;
        return json_path_parse(slice_of(word.at, each ? at : word.bytes), &ret_place->path) &&
               (!each || json_path_parse(ret_place->each, &inner));
    } else if (word.at[0] == '=' || word.at[0] == '?') {
        ret_place->kind = word.at[0] == '=' ? PLACE_CONSTANT : PLACE_FORM;
        ret_place->text = slice_skip(word, 1);
    } else {
        if ((size_t)(block->end - block->at) < word.bytes) {
            return false;
        }
        ret_place->text = keep_lower(block, word);
    }
    return true;
}

bool places_parse(const char *text, struct block *block, struct places *ret_places)
{
    struct slice rest = slice_str(text);
    ret_places->count = 0;
    ret_places->has_form = ret_places->has_field = false;
    while (slice_trim(rest).bytes != 0) {
        struct place *place = &ret_places->at[ret_places->count];
        if (ret_places->count == PLACES_MAX || !place_parse(next_word(&rest), block, place)) {
            return false;
        }
        ret_places->has_form |= place->kind == PLACE_FORM;
        ret_places->has_field |= place->kind == PLACE_FIELD;
        ret_places->count++;
    }
    return true;
}

/* ---- fields */

static bool same_path(const struct json_path *a, const struct json_path *b)
{
    bool same = a->step_count == b->step_count;
    for (unsigned i = 0; same && i < a->step_count; i++) {
        same = slice_equal(a->steps[i], b->steps[i]);
    }
    return same;
}

/* 0 = there is no room for another, or it is no field. */
static uint8_t field_of(struct fields *fields, const struct place *place, bool may_add)
{
    unsigned i = 0;
    while (i < fields->count && !same_path(&fields->paths[i], &place->path)) {
        i++;
    }
    if (place->kind != PLACE_FIELD || i == JSON_PATHS_MAX || (i == fields->count && !may_add)) {
        return 0;
    }
    if (i == fields->count) {
        fields->paths[fields->count++] = place->path;
    }
    return (uint8_t)(i + 1);
}

static void field_add(struct fields *fields, struct place *place)
{
    place->field = field_of(fields, place, true);
}

void fields_add_places(struct fields *fields, struct places *places)
{
    for (unsigned i = 0; i < places->count; i++) {
        field_add(fields, &places->at[i]);
    }
}

/* ---- programs */

/* Of one key: what its algorithm needs. */
static size_t key_bytes(const struct scheme_row *row)
{
    size_t bytes = sizeof(struct slice);
    if (row->kind == ROW_HMAC) {
        bytes = row->algorithm == HMAC_SHA256 ? sizeof(struct hmac_sha256_key)
                                              : sizeof(struct hmac_key);
    } else if (row->kind == ROW_ED25519) {
        bytes = sizeof((struct key *)NULL)->ed25519;
    } else if (row->kind == ROW_PUBLIC_KEY) {
        bytes = public_key_bytes(signature_key_kind(row->signature));
    }
    return (offsetof(struct key, sha256) + bytes + 7) & ~(size_t)7;
}

/* The secrets of both rows become the same keys. */
static bool same_keys(const struct scheme_row *a, const struct scheme_row *b)
{
    if (kind_keeps_text(a->kind) && kind_keeps_text(b->kind)) {
        return true;
    }
    return a->kind == b->kind && a->algorithm == b->algorithm && a->secret == b->secret &&
           (a->format_ed25519 != NULL) == (b->format_ed25519 != NULL);
}

/* The way of signing, at or before `row`, whose keys `row` uses. */
static const struct scheme_row *keys_of(const struct scheme_row *active,
                                        const struct scheme_row *row)
{
    while (!same_keys(active, row)) {
        active = active->otherwise;
    }
    return active;
}

/* For each secret: the bytes of keys in front of those of `row`. */
static size_t keys_before(const struct scheme_row *active, const struct scheme_row *row)
{
    const struct scheme_row *own = keys_of(active, row);
    size_t bytes = 0;
    for (const struct scheme_row *at = active; at != own; at = at->otherwise) {
        bytes += keys_of(active, at) == at ? key_bytes(at) : 0;
    }
    return bytes;
}

/* The first piece of each kind has its place; others are made like those that differ. */
static void parts_assign(struct program *program)
{
    program->body_at = program->timestamp_at = program->id_at = program->url_at = OPS_MAX;
    for (unsigned i = 0; i < program->op_count; i++) {
        enum op_kind kind = program->ops[i].kind;
        uint8_t *at = kind == OP_BODY        ? &program->body_at
                      : kind == OP_TIMESTAMP ? &program->timestamp_at
                      : kind == OP_ID        ? &program->id_at
                      : kind == OP_URL       ? &program->url_at
                                             : NULL;
        if (kind == OP_TEXT) {
            program->parts[i] = program->ops[i].text;
        } else if (at != NULL && *at == OPS_MAX) {
            *at = (uint8_t)i;
        } else if (kind != OP_URL_REST) {
            program->made |= 1U << i;
        }
    }
}

static bool op_places_parse(struct program *program, struct block *block, struct problem *problem)
{
    for (unsigned i = 0; i < program->op_count; i++) {
        struct op *op = &program->ops[i];
        if (op->kind == OP_HEADER) {
            op->text = keep_lower(block, op->text);
        }
        if (op->kind != OP_PLACE) {
            continue;
        }
        op->place = program->op_place_count;
        struct place *place = &program->op_places[op->place];
        if (program->op_place_count == OP_PLACES_MAX || !place_parse(op->text, block, place) ||
            place->kind == PLACE_EACH) {
            return fail(problem, "signed", "too many {/…} and {?…}, or not a JSON pointer");
        }
        program->op_place_count++;
    }
    return true;
}

/* The signature's parts of a program. */
static bool signature_compile(const struct scheme_row *row, struct block *block,
                              struct program *program, struct problem *problem)
{
    const char *format = row->format != NULL           ? row->format
                         : row->kind == ROW_PUBLIC_KEY ? "{base64}"
                                                       : "{hex}";
    const char *template = row->signed_template != NULL ? row->signed_template : "{body}";
    enum lane_kind lane = row->kind == ROW_ED25519      ? LANE_ED25519
                          : row->kind == ROW_PUBLIC_KEY ? LANE_PUBLIC_KEY
                                                        : LANE_MAC;
    if (!format_parse(format, row->algorithm, lane, &program->format, problem) ||
        (row->format_ed25519 != NULL && !format_parse(row->format_ed25519, row->algorithm,
                                                      LANE_ED25519, &program->format, problem)) ||
        !ops_parse(template, program, problem) || !op_places_parse(program, block, problem)) {
        return false;
    }
    if (!place_parse(slice_str(row->timestamp), block, &program->timestamp) ||
        !place_parse(slice_str(row->body_hash), block, &program->body_hash)) {
        return fail(problem, "timestamp.header", "not a header name");
    }
    bool has_place = program->timestamp.kind != PLACE_NONE;
    program->time =
        program->timestamp.kind == PLACE_HEADER || (has_place && program->signs_timestamp)
            ? TIME_PLACE
        : program->format.has_timestamp ? TIME_FORMAT
        : has_place                     ? TIME_BODY
                                        : TIME_NONE;
    if (program->signs_timestamp && program->time == TIME_NONE) {
        return fail(problem, "timestamp.header", "is missing, and `signed` has {timestamp}");
    }
    parts_assign(program);
    struct places ids;
    if (!places_parse(row->id, block, &ids) || (program->signs_id && ids.count == 0)) {
        return fail(problem, "id.header",
                    ids.count == 0 ? "is missing, and `signed` has {id}"
                                   : "not a header name or a JSON pointer");
    }
    if (ids.count != 0) {
        program->id = ids.at[0];
    }
    bool secret = strstr(template, "{secret}") != NULL;
    if (secret != (row->kind == ROW_HASH)) {
        return fail(problem, "signed",
                    secret ? "{secret} is for scheme hash only"
                           : "has no {secret}, so anybody could make it");
    }
    return true;
}

static bool program_compile(const struct scheme_row *active, const struct scheme_row *row,
                            struct block *block, struct program *program, struct problem *problem)
{
    memset(program, 0, sizeof *program);
    program->row = row;
    program->kind = row->kind;
    program->is_sha256 = row->kind == ROW_HMAC && row->algorithm == HMAC_SHA256;
    program->unit = row->unit;
    program->scale = unit_scale(row->unit);
    program->algorithm = row->algorithm;
    program->url_ports = row->url_ports;
    program->tolerance_seconds = scheme_row_tolerance_seconds(row);
    program->key_bytes = (uint16_t)key_bytes(row);
    program->keys_before = (uint16_t)keys_before(active, row);
    if (row->kind == ROW_NONE) {
        return true;
    }
    if (row->header == NULL) {
        return fail(problem, "signature.header", "is missing");
    }
    if (!place_parse(slice_str(row->header), block, &program->signature) ||
        (program->signature.kind == PLACE_EACH && row->kind != ROW_TOKEN) ||
        !place_parse(slice_str(row->select != NULL ? row->select : row->header), block,
                     &program->select)) {
        return fail(problem, "signature.field", "not a JSON pointer of at most four steps");
    }
    program->select_equals = slice_str(row->select_equals);
    if (kind_signs(row->kind)) {
        return signature_compile(row, block, program, problem);
    }
    if (row->kind == ROW_TOKEN && row->format != NULL) {
        struct slice format = slice_str(row->format), word = SLICE("{token}");
        if (format.bytes < word.bytes || format.at[0] == ' ' ||
            !slice_equal(slice_skip(format, format.bytes - word.bytes), word)) {
            return fail(problem, "signature.format", "a token's format is a prefix and {token}");
        }
        program->token_prefix = slice_of(format.at, format.bytes - word.bytes);
    }
    return true;
}

/* ---- secrets */

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
    if (row->kind == ROW_ED25519) {
        return ed25519_key(secret, key);
    }
    if (row->kind == ROW_PUBLIC_KEY) {
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
    key->token = keep(block, secret);
    return NULL;
}

/* NULL, or what is wrong. Where signing tokens are configured, the other secrets would not be
 * enough: they are left out. */
static const char *keys_compile(struct scheme *scheme, const struct program *program,
                                const struct slice *secrets, unsigned secret_count,
                                struct block *block)
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

/* ---- plans */

static void add_secret_name(struct scheme_plan *plan, struct slice lower_name)
{
    for (unsigned i = 0; i < plan->secret_name_count; i++) {
        if (slice_equal(plan->secret_names[i], lower_name)) {
            return;
        }
    }
    bk_assert(plan->secret_name_count < SECRET_NAMES_MAX && lower_name.bytes < 64);
    plan->secret_names[plan->secret_name_count++] = lower_name;
}

static void secret_names_compile(struct scheme_plan *plan, struct block *block)
{
    struct slice extra = slice_str(plan->row->redact);
    add_secret_name(plan, SLICE("authorization"));
    add_secret_name(plan, SLICE("proxy-authorization"));
    add_secret_name(plan, SLICE("cookie"));
    for (unsigned i = 0; i < plan->program_count; i++) {
        const struct place *place = &plan->programs[i].signature;
        if (plan->programs[i].kind != ROW_TOKEN) {
            continue;
        }
        if (place->kind == PLACE_HEADER && place->text.bytes < 64) {
            add_secret_name(plan, place->text);
        } else if (place->kind == PLACE_FORM) {
            plan->secret_fields[plan->secret_field_count++] = place->text;
        }
    }
    while (slice_trim(extra).bytes != 0) {
        add_secret_name(plan, keep_lower(block, next_word(&extra)));
    }
}

/* Text and ${…} of an answer. */
static bool pieces_parse(const char *template, struct block *block, struct pieces *ret_pieces)
{
    static const struct {
        const char *word;
        enum piece_kind kind;
    } words[] = {{"hmac-hex:", PIECE_HMAC_HEX}, {"hmac-base64:", PIECE_HMAC_BASE64}};
    struct slice rest = slice_str(template);
    while (rest.bytes != 0) {
        struct piece *piece = &ret_pieces->at[ret_pieces->count++];
        size_t at = 0;
        while (at < rest.bytes &&
               (rest.at[at] != '$' || at + 1 == rest.bytes || rest.at[at + 1] != '{')) {
            at++;
        }
        if (at != 0) {
            *piece = (struct piece){.kind = PIECE_TEXT, .text = slice_of(rest.at, at)};
            rest = slice_skip(rest, at);
        } else {
            size_t end = slice_find(rest, '}');
            struct slice word = slice_of(rest.at + 2, end - 2);
            rest = slice_skip(rest, end + 1);
            piece->kind = slice_equal(word, SLICE("rate")) ? PIECE_RATE : PIECE_PLACE;
            for (size_t i = 0; i < bk_array_length(words); i++) {
                if (slice_starts(word, slice_str(words[i].word))) {
                    piece->kind = words[i].kind;
                    word = slice_skip(word, strlen(words[i].word));
                }
            }
            if (piece->kind != PIECE_RATE && !place_parse(word, block, &piece->place)) {
                return false;
            }
        }
        if (ret_pieces->count == PIECES_MAX && rest.bytes != 0) {
            return false;
        }
    }
    return true;
}

static void handshakes_compile(struct scheme_plan *plan, struct block *block)
{
    const struct row_handshake *from = plan->row->handshakes;
    /* Those without a signature first. */
    for (unsigned pass = 0; from != NULL && pass < 2; pass++) {
        for (unsigned i = 0; i < ROW_HANDSHAKES_MAX && from[i].when != NULL; i++) {
            if (from[i].is_unsigned != (pass == 0)) {
                continue;
            }
            struct handshake *to = &plan->handshakes[plan->handshake_count++];
            bool good = place_parse(slice_str(from[i].when), block, &to->when) &&
                        place_parse(slice_str(from[i].must), block, &to->must) &&
                        place_parse(slice_str(from[i].learn), block, &to->learn) &&
                        pieces_parse(from[i].answer, block, &to->answer) &&
                        pieces_parse(from[i].headers, block, &to->headers);
            bk_assert(good);
            to->row = &from[i];
            to->has_equals = from[i].equals != NULL;
            to->equals = slice_str(from[i].equals);
            to->must_equal = slice_str(from[i].must_equal);
            to->reply.status = from[i].status != 0 ? from[i].status : 200;
            to->reply.content_type = from[i].content_type;
            plan->unsigned_count += from[i].is_unsigned;
            plan->learns |= from[i].learn != NULL;
        }
    }
}

/* Which of the plan's names; 0 = there is no room for another. */
static uint8_t slot_of(struct scheme_plan *plan, struct slice name)
{
    unsigned i = 0;
    while (i < plan->name_count && !slice_equal(plan->names[i], name)) {
        i++;
    }
    if (i == SCHEME_SLOTS_MAX || name.bytes == 0) {
        return 0;
    }
    if (i == plan->name_count) {
        plan->names[i] = name;
        memset(plan->tags[i], http_name_tag(name.at, name.bytes), sizeof plan->tags[i]);
        plan->name_count++;
    }
    return (uint8_t)(i + 1);
}

static void place_slot(struct scheme_plan *plan, struct place *place)
{
    place->slot = place->kind == PLACE_HEADER ? slot_of(plan, place->text) : 0;
    place->twice = place->slot != 0 ? 1U << (15 + place->slot) : 0;
}

/* Those of the signatures first; a handshake's only where they are looked for anyway. */
static void fields_assign(struct scheme_plan *plan)
{
    for (unsigned i = 0; i < plan->program_count; i++) {
        struct program *program = &plan->programs[i];
        field_add(&plan->fields, &program->select);
        field_add(&plan->fields, &program->signature);
        field_add(&plan->fields, &program->timestamp);
        if (program->signs_id) {
            field_add(&plan->fields, &program->id);
        }
        for (unsigned o = 0; o < program->op_place_count; o++) {
            field_add(&plan->fields, &program->op_places[o]);
        }
    }
    plan->signed_fields = plan->fields.count > 1 ? plan->fields.count : 0;
    fields_add_places(&plan->fields, &plan->id);
    fields_add_places(&plan->fields, &plan->type);
    fields_add_places(&plan->fields, &plan->within);
    for (unsigned i = 0; i < plan->handshake_count; i++) {
        struct place *when = &plan->handshakes[i].when;
        when->field = field_of(&plan->fields, when, false);
    }
}

static void slots_assign(struct scheme_plan *plan)
{
    uint32_t mask = 0;
    bool all = true;
    for (unsigned i = 0; i < plan->program_count; i++) {
        struct program *program = &plan->programs[i];
        place_slot(plan, &program->signature);
        place_slot(plan, &program->timestamp);
        place_slot(plan, &program->id);
        place_slot(plan, &program->select);
    }
    for (unsigned i = 0; i < plan->id.count; i++) {
        place_slot(plan, &plan->id.at[i]);
    }
    for (unsigned i = 0; i < plan->type.count; i++) {
        place_slot(plan, &plan->type.at[i]);
    }
    for (unsigned i = 0; i < plan->handshake_count; i++) {
        place_slot(plan, &plan->handshakes[i].when);
    }
    for (unsigned i = 0; i < plan->secret_name_count; i++) {
        plan->secret_slots[i] = slot_of(plan, plan->secret_names[i]);
        mask |= plan->secret_slots[i] != 0 ? 1U << (plan->secret_slots[i] - 1) : 0;
        all = all && plan->secret_slots[i] != 0;
    }
    bool known = all && plan->secret_field_count == 0;
    plan->secret_mask = known ? mask : 0;
    plan->secret_none = known ? 0 : 1;
}

static void told_assign(struct scheme_plan *plan)
{
    const struct handshake *last = &plan->handshakes[plan->unsigned_count];
    if (plan->handshake_count == plan->unsigned_count + 1 && last->equals.bytes != 0) {
        plan->told_slot = last->when.slot;
        plan->told_last = last->equals.at[last->equals.bytes - 1];
    }
}

/* Slot 0 is there in every request. */
static void only_assign(struct scheme_plan *plan)
{
    const struct program *first = &plan->programs[0];
    bool single = plan->program_count == 1;
    if (plan->program_count != 0 && plan->unsigned_count == 0 && plan->signed_fields == 0 &&
        !first->row->tries_otherwise &&
        (single || (first->select.slot != 0 && first->select_equals.bytes == 0))) {
        plan->only = first;
        plan->only_slot = single ? 0 : first->select.slot;
    }
}

static bool plan_fill(struct scheme_plan *plan, const struct scheme_row *active,
                      struct block *block, struct problem *problem)
{
    plan->methods = 1U << HTTP_POST | plan->row->methods;
    for (size_t i = 0; i < scheme_rows_count && active->kind == ROW_AUTO; i++) {
        plan->methods |= scheme_rows[i].detect != NULL ? scheme_rows[i].methods : 0;
    }
    for (const struct scheme_row *row = active; row != NULL && row->kind != ROW_AUTO;
         row = row->otherwise) {
        bk_assert(plan->program_count < PROGRAMS_MAX);
        struct program *program = &plan->programs[plan->program_count++];
        if (!program_compile(active, row, block, program, problem)) {
            return false;
        }
    }
    if (!places_parse(active->id, block, &plan->id)) {
        return fail(problem, "id.field", "not a JSON pointer of at most four steps");
    }
    if (!places_parse(active->id_within, block, &plan->within)) {
        return fail(problem, "id.field", "not a JSON pointer of at most four steps");
    }
    if (!places_parse(active->type, block, &plan->type)) {
        return fail(problem, "type.field", "not a JSON pointer of at most four steps");
    }
    for (unsigned i = 0; i < plan->type.count; i++) {
        if (plan->type.at[i].kind == PLACE_CONSTANT) {
            plan->constant_type = plan->type.at[i].text;
        }
    }
    secret_names_compile(plan, block);
    handshakes_compile(plan, block);
    slots_assign(plan);
    fields_assign(plan);
    told_assign(plan);
    for (unsigned i = 0; i < plan->program_count; i++) {
        plan->programs[i].verify = scheme_verify_fn(&plan->programs[i]);
    }
    only_assign(plan);
    return true;
}

static unsigned program_count(const struct scheme_row *active)
{
    unsigned count = 0;
    for (; active != NULL && active->kind != ROW_AUTO; active = active->otherwise) {
        count++;
    }
    return count;
}

static unsigned handshake_count(const struct scheme_row *row)
{
    unsigned count = 0;
    while (row->handshakes != NULL && count < ROW_HANDSHAKES_MAX &&
           row->handshakes[count].when != NULL) {
        count++;
    }
    return count;
}

/* Room for a plan, at most. */
static size_t plan_bytes(const struct scheme_row *row, const struct scheme_row *active)
{
    size_t text = row_text_bytes(row);
    for (const struct scheme_row *at = active; at != NULL; at = at->otherwise) {
        text += 3 * row_text_bytes(at);
    }
    return sizeof(struct scheme_plan) + program_count(active) * sizeof(struct program) +
           handshake_count(row) * sizeof(struct handshake) + row->block_bytes + text;
}

/* Into `bytes` bytes, all zero. `active` is the row itself or its other way of signing. */
static bool plan_init(struct scheme_plan *plan, size_t bytes, const struct scheme_row *row,
                      const struct scheme_row *active, struct problem *problem)
{
    struct block block = {plan->tail, (uint8_t *)plan + bytes};
    plan->programs = (struct program *)(void *)block.at;
    block.at += program_count(active) * sizeof(struct program);
    plan->handshakes = (struct handshake *)(void *)block.at;
    block.at += handshake_count(row) * sizeof(struct handshake);
    plan->row = keep_row(&block, row);
    plan->only_prefix = slice_str(active != row ? row->signing_prefix : NULL);
    return plan_fill(plan, active == row ? plan->row : active, &block, problem);
}

static struct scheme_plan *plan_make(const struct scheme_row *row, const struct scheme_row *active,
                                     struct problem *problem)
{
    size_t bytes = plan_bytes(row, active);
    struct scheme_plan *plan = (struct scheme_plan *)calloc(1, bytes);
    *problem = (struct problem){"verification", "out of memory"};
    if (plan != NULL && !plan_init(plan, bytes, row, active, problem)) {
        free(plan);
        return NULL;
    }
    return plan;
}

struct scheme_plan *scheme_row_plan(const struct scheme_row *row, struct problem *problem)
{
    return plan_make(row, row, problem);
}

/* Of the rows of the table, and of their other ways of signing. Never freed: as constant as they
 * are, and schemes of any age point to them. */
static _Atomic(struct scheme_plan *) plans[SCHEME_ROWS_MAX][2];

static bool is_shared(const struct scheme_row *row)
{
    uintptr_t at = (uintptr_t)row, first = (uintptr_t)scheme_rows;
    return at >= first && at - first < scheme_rows_count * sizeof *row;
}

/* Any thread may be the first to need it. NULL: see *problem. */
static const struct scheme_plan *plan_shared(const struct scheme_row *row,
                                             const struct scheme_row *active,
                                             struct problem *problem)
{
    bk_assert(scheme_rows_count <= SCHEME_ROWS_MAX);
    _Atomic(struct scheme_plan *) *at = &plans[row - scheme_rows][active != row];
    struct scheme_plan *plan = atomic_load_explicit(at, memory_order_acquire);
    if (plan != NULL) {
        return plan;
    }
    plan = plan_make(row, active, problem);
    struct scheme_plan *other = NULL;
    if (plan != NULL && !atomic_compare_exchange_strong_explicit(
                            at, &other, plan, memory_order_acq_rel, memory_order_acquire)) {
        free(plan);
        plan = other;
    }
    return plan;
}

/* ---- schemes */

/* The row whose way of signing these secrets ask for. */
static const struct scheme_row *row_for(const struct scheme_row *row, const struct slice *secrets,
                                        unsigned secret_count)
{
    for (unsigned i = 0; i < secret_count && row->signing_prefix != NULL; i++) {
        if (slice_starts(secrets[i], slice_str(row->signing_prefix))) {
            return row->signing;
        }
    }
    return row;
}

static const char *secrets_wrong(const struct scheme_row *row, const struct slice *secrets,
                                 unsigned secret_count)
{
    if (secret_count == 0 && scheme_row_needs_secret(row) && !scheme_row_learns(row)) {
        return "no secret is configured";
    }
    if (scheme_row_takes_claims(row) && (row->audience == NULL || row->issuer == NULL)) {
        return "issuer or audience is missing: a token made for anybody else would do";
    }
    if (secret_count > SECRETS_PER_SOURCE_MAX) {
        return "too many secrets";
    }
    for (unsigned i = 0; i < secret_count; i++) {
        if (secrets[i].bytes == 0) {
            return "a secret is empty";
        }
    }
    return NULL;
}

/* Bytes of a scheme's keys and their texts. */
static size_t keys_bytes(const struct scheme_row *active, unsigned key_count, size_t secret_bytes)
{
    size_t bytes = 0;
    for (const struct scheme_row *row = active; row != NULL; row = row->otherwise) {
        if (keys_of(active, row) == row) {
            bytes += key_count * key_bytes(row);
            bytes += kind_keeps_text(row->kind) ? secret_bytes : 0;
        }
    }
    return bytes;
}

/* ---- what a source configures besides */

static bool has_extra(const struct scheme_options *options)
{
    return options->verify_token.bytes != 0 || options->origin_count != 0 || options->has_allow ||
           options->rate_per_minute != 0;
}

static size_t extra_bytes(const struct scheme_options *options)
{
    size_t bytes = sizeof(struct extra) + options->verify_token.bytes +
                   options->origin_count * sizeof(struct slice) +
                   (options->allow_count + options->proxy_count) * sizeof(struct cidr) + 16;
    for (unsigned i = 0; i < options->origin_count; i++) {
        bytes += options->origins[i].bytes;
    }
    return has_extra(options) ? bytes : 0;
}

static void extra_fill(struct extra *extra, size_t bytes, const struct scheme_options *options)
{
    struct block block = {(uint8_t *)(extra + 1), (uint8_t *)extra + bytes};
    struct slice *origins = (struct slice *)(void *)block.at;
    block.at += options->origin_count * sizeof *origins;
    for (unsigned i = 0; i < options->origin_count; i++) {
        origins[i] = keep(&block, options->origins[i]);
    }
    *extra = (struct extra){.verify_token = keep(&block, options->verify_token),
                            .origins = origins,
                            .origin_count = options->origin_count,
                            .rate_per_minute = options->rate_per_minute,
                            .has_allow = options->has_allow,
                            .allow_count = options->allow_count,
                            .proxy_count = options->proxy_count};
    size_t each = sizeof(struct cidr);
    extra->allow =
        (const void *)keep(&block, slice_of(options->allow, options->allow_count * each)).at;
    extra->proxies =
        (const void *)keep(&block, slice_of(options->proxies, options->proxy_count * each)).at;
}

static size_t align_16(size_t bytes)
{
    return (bytes + 15) & ~(size_t)15;
}

/* A scheme with room for `own_bytes`, then what else the source configures, then a plan. */
static struct scheme *scheme_take(const struct scheme_row *row, const struct scheme_row *active,
                                  size_t own_bytes, const struct scheme_options *options,
                                  struct problem *problem)
{
    const struct scheme_plan *plan = active == row ? row->kept : NULL;
    if (is_shared(row) && (plan = plan_shared(row, active, problem)) == NULL) {
        return NULL;
    }
    size_t extra = extra_bytes(options);
    size_t extra_at = (own_bytes + 7) & ~(size_t)7;
    size_t bytes = sizeof(struct scheme) + (extra != 0 ? extra_at + extra : own_bytes);
    size_t plan_at = align_16(bytes);
    bytes = plan != NULL ? bytes : plan_at + plan_bytes(row, active);
    *problem = (struct problem){"verification", "out of memory"};
    if (bytes > UINT32_MAX || extra_at / 8 > UINT16_MAX) {
        return NULL;
    }
    struct scheme *scheme = (struct scheme *)calloc(1, bytes);
    if (scheme == NULL) {
        return NULL;
    }
    if (plan == NULL) {
        struct scheme_plan *own = (struct scheme_plan *)(void *)((uint8_t *)scheme + plan_at);
        if (!plan_init(own, bytes - plan_at, row, active, problem)) {
            free(scheme);
            return NULL;
        }
        plan = own;
    }
    scheme->plan = plan;
    scheme->bytes = (uint32_t)bytes;
    scheme->tolerance_seconds = options->tolerance_seconds;
    if (extra != 0) {
        /* 0 means none, so what would begin at the tail begins 8 bytes later: extra has room. */
        scheme->extra_at = (uint16_t)(extra_at / 8 + (extra_at == 0));
        extra_fill((struct extra *)(void *)(scheme->tail + 8U * scheme->extra_at),
                   extra - 8U * (extra_at == 0), options);
    }
    return scheme;
}

/* NULL, or what is wrong with a secret. */
static const char *keys_fill(struct scheme *scheme, const struct scheme_row *active,
                             const struct slice *secrets, unsigned secret_count)
{
    const struct scheme_plan *plan = scheme->plan;
    struct block block = {scheme->tail + keys_bytes(active, scheme->key_count, 0),
                          (uint8_t *)scheme + scheme->bytes};
    const char *wrong = NULL;
    const struct scheme_row *row = plan->programs[0].row;
    for (unsigned i = 0; wrong == NULL && i < plan->program_count; i++, row = row->otherwise) {
        if (keys_of(plan->programs[0].row, row) == row) {
            wrong = keys_compile(scheme, &plan->programs[i], secrets, secret_count, &block);
        }
    }
    return wrong;
}

static struct scheme *scheme_build(const struct scheme_row *row, const struct slice *secrets,
                                   unsigned secret_count, const struct scheme_options *options,
                                   struct problem *problem)
{
    const struct scheme_row *active = row_for(row, secrets, secret_count);
    struct slice only_prefix = slice_str(active != row ? row->signing_prefix : NULL);
    unsigned key_count = 0;
    size_t secret_bytes = 0;
    for (unsigned i = 0; i < secret_count && active->kind != ROW_NONE; i++) {
        bool used = slice_starts(secrets[i], only_prefix);
        key_count += used;
        secret_bytes += used ? secrets[i].bytes : 0;
    }
    struct scheme *scheme =
        scheme_take(row, active, keys_bytes(active, key_count, secret_bytes), options, problem);
    if (scheme == NULL) {
        return NULL;
    }
    scheme->key_count = (uint8_t)key_count;
    problem->message = keys_fill(scheme, active, secrets, secret_count);
    if (problem->message != NULL) {
        scheme_wipe(scheme);
        free(scheme);
        return NULL;
    }
    return scheme;
}

/* ---- type auto: one scheme for each provider that can be told by its headers */

/* A scheme that moved: what points into it must move too. */
static void move_texts(struct scheme *scheme, const struct scheme *from)
{
    ptrdiff_t by = (const uint8_t *)scheme - (const uint8_t *)from;
    const struct scheme_row *active = scheme->plan->programs[0].row;
    for (unsigned i = 0; i < scheme->plan->program_count; i++) {
        const struct program *program = &scheme->plan->programs[i];
        bool own = keys_of(active, program->row) == program->row;
        for (unsigned k = 0; k < scheme->key_count && own && kind_keeps_text(program->kind); k++) {
            ((struct key *)(uintptr_t)scheme_key(scheme, program, k))->token.at += by;
        }
    }
    struct extra *extra = (struct extra *)(uintptr_t)scheme_extra(scheme);
    if (extra != NULL) {
        extra->verify_token.at += extra->verify_token.at != NULL ? by : 0;
    }
}

static struct scheme *auto_build(const struct scheme_row *row, const struct slice *secrets,
                                 unsigned secret_count, const struct scheme_options *options,
                                 struct problem *problem)
{
    struct scheme *all[SCHEME_ROWS_MAX], *scheme = NULL;
    struct scheme_options inner = {.tolerance_seconds = options->tolerance_seconds,
                                   .verify_token = options->verify_token};
    unsigned count = 0;
    size_t bytes = 0;
    for (size_t i = 0; i < scheme_rows_count; i++) {
        const struct scheme_row *one = &scheme_rows[i];
        if (one->detect == NULL) {
            continue;
        }
        all[count] = scheme_build(one, secrets, secret_count, &inner, problem);
        /* A secret that is not of this provider's kind: it is none of its. */
        if (all[count] != NULL) {
            bytes += scheme_stride(all[count++]);
        }
    }
    if (count == 0) {
        problem->message = "no provider takes these secrets";
    } else {
        scheme = scheme_take(row, row, bytes, options, problem);
    }
    uint8_t *at = scheme != NULL ? scheme->tail : NULL;
    for (unsigned i = 0; i < count; i++) {
        if (scheme != NULL) {
            memcpy(at, all[i], all[i]->bytes);
            move_texts((struct scheme *)(void *)at, all[i]);
            at += scheme_stride(all[i]);
        }
        scheme_wipe(all[i]);
        free(all[i]);
    }
    if (scheme != NULL) {
        scheme->is_auto = true;
        scheme->key_count = (uint8_t)count;
    }
    return scheme;
}

/* ---- the whole */

enum bk_err scheme_compile_with(const struct scheme_row *row, const struct slice *secrets,
                                unsigned secret_count, const struct scheme_options *options,
                                struct scheme **ret_scheme, size_t *ret_bytes,
                                const char **ret_message)
{
    bk_assert(row != NULL && options != NULL && ret_scheme != NULL && ret_bytes != NULL &&
              ret_message != NULL);
    bk_assert(options->origin_count <= SCHEME_ORIGINS_MAX &&
              options->allow_count <= SCHEME_RANGES_MAX &&
              options->proxy_count <= SCHEME_RANGES_MAX);
    struct problem problem = {"verification", NULL};
    *ret_scheme = NULL;
    *ret_bytes = 0;
    *ret_message = secrets_wrong(row, secrets, secret_count);
    if (*ret_message != NULL) {
        return BK_INVALID;
    }
    struct scheme *scheme = row->kind == ROW_AUTO
                                ? auto_build(row, secrets, secret_count, options, &problem)
                                : scheme_build(row, secrets, secret_count, options, &problem);
    if (scheme == NULL) {
        *ret_message = problem.message;
        return BK_INVALID;
    }
    *ret_scheme = scheme;
    *ret_bytes = scheme->bytes;
    return BK_OK;
}

enum bk_err scheme_compile(const struct scheme_row *row, const struct slice *secrets,
                           unsigned secret_count, int64_t tolerance_seconds,
                           struct scheme **ret_scheme, size_t *ret_bytes, const char **ret_message)
{
    struct scheme_options options = {.tolerance_seconds = tolerance_seconds};
    return scheme_compile_with(row, secrets, secret_count, &options, ret_scheme, ret_bytes,
                               ret_message);
}
