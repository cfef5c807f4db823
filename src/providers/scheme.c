/* Verifying: a compiled scheme over a request. No parsing of rows happens here. */
#include "providers/batch.h"
#include "providers/program.h"

#include "base/assert.h"
#include "base/cidr.h"
#include "base/ct.h"
#include "base/hex.h"
#include "base/time.h"

/* ---- places */

/* The first header of a place's name. */
static inline const struct http_header *place_header(const struct place *place,
                                                     const struct scheme_request *request)
{
    if (place->slot != 0 && request->slots.scheme != NULL) {
        unsigned at = request->slots.at[place->slot - 1];
        return at != 0 ? &request->head->headers[at - 1] : NULL;
    }
    return http_find(request->head, place->text, NULL);
}

struct slice place_value(const struct place *place, const struct scheme_request *request)
{
    const struct http_header *header;
    struct json_found found;
    struct slice value;
    switch (place->kind) {
    case PLACE_NONE:
        return SLICE_EMPTY;
    case PLACE_HEADER:
        header = place_header(place, request);
        return header != NULL ? http_header_value(request->head, header) : SLICE_EMPTY;
    case PLACE_FIELD:
        json_scan(request->body, &place->path, 1, &found);
        return found.text;
    case PLACE_EACH:
        json_scan(request->body, &place->path, 1, &found);
        return found.kind == JSON_OTHER ? request->body : SLICE_EMPTY;
    case PLACE_FORM:
        value = text_form_field(text_query(request->head), place->text);
        return value.bytes != 0 ? value : text_form_field(request->body, place->text);
    case PLACE_CONSTANT:
        return place->text;
    }
    bk_never("unknown place");
}

/* ---- time */

int64_t unit_scale(enum row_unit unit)
{
    switch (unit) {
    case UNIT_SECONDS:
        return 1;
    case UNIT_MS:
        return 1000;
    case UNIT_RFC3339:
        return NS_PER_SECOND;
    }
    bk_never("unknown unit");
}

bool unit_parse(enum row_unit unit, struct slice text, int64_t *ret_value)
{
    if (unit == UNIT_RFC3339) {
        return time_parse_rfc3339(text, ret_value) == BK_OK;
    }
    int64_t value = 0;
    if (text.bytes == 0 || text.bytes > 18) {
        return false;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        unsigned digit = (unsigned)text.at[i] - '0';
        if (digit > 9) {
            return false;
        }
        value = value * 10 + (int64_t)digit;
    }
    *ret_value = value;
    return true;
}

enum scheme_verdict scheme_check_age(const struct scheme *scheme, const struct program *program,
                                     int64_t value, int64_t now_seconds)
{
    int64_t scale = unit_scale(program->unit);
    int64_t window = scheme_tolerance_seconds(scheme, program) * scale;
    int64_t age = now_seconds * scale - value;
    if (window == 0 || (age <= window && age >= -window)) {
        return SCHEME_GENUINE;
    }
    return age > 0 ? SCHEME_STALE : SCHEME_FUTURE;
}

enum scheme_verdict scheme_read_body_time(const struct program *program,
                                          const struct scheme_request *request, int64_t *ret_value)
{
    struct slice text = place_value(&program->timestamp, request);
    if (text.bytes == 0) {
        return SCHEME_TIMESTAMP_MISSING;
    }
    return unit_parse(program->unit, text, ret_value) ? SCHEME_GENUINE : SCHEME_TIMESTAMP_MALFORMED;
}

/* ---- reading the signature header */

/* Base 64; signatures of public keys come in any length up to the lane's. */
static bool decode_base64(const struct lane *lane, enum base64_alphabet alphabet, struct slice text,
                          struct signature *to)
{
    size_t bytes = 0;
    bool good = base64_decode(text, alphabet, to->bytes, lane->bytes, &bytes);
    to->count = (uint16_t)bytes;
    return good && (bytes == lane->bytes || (to->lane == LANE_PUBLIC_KEY && bytes != 0));
}

static bool decode(const struct lane *lane, struct slice text, struct signature *to)
{
    switch (lane->encoding) {
    case ENCODING_HEX:
        to->count = to->lane == LANE_PUBLIC_KEY ? (uint16_t)(text.bytes / 2) : lane->bytes;
        return to->count != 0 && to->count <= lane->bytes && hex_decode(text, to->bytes, to->count);
    case ENCODING_BASE64:
        return decode_base64(lane, BASE64_STANDARD, text, to);
    case ENCODING_BASE64URL:
        return decode_base64(lane, BASE64_URL, text, to);
    }
    bk_never("unknown encoding");
}

/* One element of the value. False: it makes the whole value malformed. */
static bool read_element(const struct format *format, struct slice text, struct reading *r)
{
    if (format->has_timestamp && slice_starts(text, format->timestamp_prefix)) {
        bool again = r->timestamp.at != NULL;
        r->timestamp = slice_of(text.at + format->timestamp_prefix.bytes,
                                text.bytes - format->timestamp_prefix.bytes);
        return !again;
    }
    for (unsigned i = 0; i < LANE_COUNT; i++) {
        const struct lane *lane = &format->lanes[i];
        if (!lane->used || (!slice_starts(text, lane->prefix) && !lane->prefix_optional)) {
            continue;
        }
        bool prefixed = slice_starts(text, lane->prefix);
        if (r->signature_count == SIGNATURES_MAX || (r->signature_count != 0 && !format->open)) {
            return false;
        }
        struct signature *to = &r->signatures[r->signature_count];
        to->lane = (enum lane_kind)i;
        if (!decode(lane, slice_skip(text, prefixed ? lane->prefix.bytes : 0), to)) {
            return format->open;
        }
        r->signature_count++;
        return true;
    }
    return format->open;
}

static enum scheme_verdict read_header(const struct format *format, struct reading *r)
{
    struct slice rest = r->header;
    if (rest.bytes == 0) {
        return SCHEME_SIGNATURE_MISSING;
    }
    if (format->separator == 0) {
        return read_element(format, rest, r) && r->signature_count == 1
                   ? SCHEME_GENUINE
                   : SCHEME_SIGNATURE_MALFORMED;
    }
    while (rest.bytes != 0) {
        struct slice element = slice_of(rest.at, slice_find(rest, format->separator));
        rest = slice_skip(rest, element.bytes + 1);
        if (!read_element(format, slice_trim(element), r)) {
            return SCHEME_SIGNATURE_MALFORMED;
        }
    }
    return r->signature_count != 0 ? SCHEME_GENUINE : SCHEME_SIGNATURE_MALFORMED;
}

/* A header that takes part in the signature must not be there twice: another reader might take the
 * other one. */
enum scheme_verdict scheme_single(const struct http_head *head, struct slice name,
                                  enum scheme_verdict missing, struct slice *ret_value)
{
    unsigned count;
    const struct http_header *header = http_find(head, name, &count);
    if (count > 1) {
        return SCHEME_SIGNATURE_DOUBLED;
    }
    *ret_value = count == 1 ? http_header_value(head, header) : SLICE_EMPTY;
    return ret_value->bytes != 0 ? SCHEME_GENUINE : missing;
}

/* What is at a place that takes part in the signature. */
static enum scheme_verdict read_place(const struct place *place,
                                      const struct scheme_request *request,
                                      enum scheme_verdict missing, struct slice *ret_value)
{
    if (place->kind == PLACE_HEADER && (place->slot == 0 || request->slots.scheme == NULL)) {
        return scheme_single(request->head, place->text, missing, ret_value);
    }
    if (place->kind == PLACE_HEADER && (request->slots.found >> (15 + place->slot) & 1)) {
        return SCHEME_SIGNATURE_DOUBLED;
    }
    *ret_value = place_value(place, request);
    return ret_value->bytes != 0 ? SCHEME_GENUINE : missing;
}

static enum scheme_verdict read_timestamp(const struct program *program,
                                          const struct scheme_request *request, struct reading *r)
{
    enum scheme_verdict verdict = SCHEME_GENUINE;
    if (program->timestamp.kind == PLACE_HEADER ||
        (program->timestamp.kind != PLACE_NONE && program->signs_timestamp)) {
        verdict = read_place(&program->timestamp, request, SCHEME_TIMESTAMP_MISSING, &r->timestamp);
    } else if (program->format.has_timestamp && r->timestamp.bytes == 0) {
        verdict = SCHEME_TIMESTAMP_MISSING;
    } else if (!program->format.has_timestamp) {
        return SCHEME_GENUINE;
    }
    if (verdict == SCHEME_GENUINE &&
        !unit_parse(program->unit, r->timestamp, &r->timestamp_value)) {
        verdict = SCHEME_TIMESTAMP_MALFORMED;
    }
    return verdict;
}

/* Texts that are computed: they may be too long for that. */
static enum scheme_verdict computed(bool done)
{
    return done ? SCHEME_GENUINE : SCHEME_BODY_MALFORMED;
}

static bool body_sha256(struct slice body, struct slice *ret_text)
{
    uint8_t digest[SHA256_BYTES], *out = scratch_take(2 * SHA256_BYTES);
    if (out != NULL) {
        sha256(body, digest);
        hex_encode(digest, sizeof digest, (char *)out);
    }
    *ret_text = slice_of(out, 2 * SHA256_BYTES);
    return out != NULL;
}

static enum scheme_verdict read_part(const struct program *program, const struct op *op,
                                     const struct scheme_request *request, const struct reading *r,
                                     struct slice *ret_part)
{
    struct slice target = http_target(request->head);
    switch (op->kind) {
    case OP_TEXT:
        *ret_part = op->text;
        return SCHEME_GENUINE;
    case OP_BODY:
        *ret_part = request->body;
        return SCHEME_GENUINE;
    case OP_ID:
        *ret_part = r->id;
        return SCHEME_GENUINE;
    case OP_TIMESTAMP:
        *ret_part = r->timestamp;
        return SCHEME_GENUINE;
    case OP_METHOD:
        *ret_part = http_method_text(request->head);
        return SCHEME_GENUINE;
    case OP_PATH:
        *ret_part = slice_of(target.at, slice_find(target, '?'));
        return SCHEME_GENUINE;
    case OP_URL:
        return computed(text_url(request, ret_part));
    case OP_URL_UNESCAPED:
        return computed(text_url_unescaped(request, ret_part));
    case OP_QUERY:
        *ret_part = text_query(request->head);
        return SCHEME_GENUINE;
    case OP_HEADER:
        /* A header that is not there was signed as the empty text. */
        return scheme_single(request->head, op->text, SCHEME_GENUINE, ret_part);
    case OP_PLACE:
        return read_place(&program->op_places[op->place], request, SCHEME_GENUINE, ret_part);
    case OP_FORM:
        return computed(text_form_sorted(request->body, ret_part));
    case OP_BODY_SHA256:
        return computed(body_sha256(request->body, ret_part));
    case OP_SECRET:
        *ret_part = SLICE_EMPTY; /* of each key in turn */
        return SCHEME_GENUINE;
    }
    bk_never("unknown op");
}

/* The body itself is not signed, its hash is. */
static enum scheme_verdict check_body_hash(const struct program *program,
                                           const struct scheme_request *request)
{
    uint8_t want[SHA256_BYTES], is[SHA256_BYTES];
    if (program->body_hash.kind == PLACE_NONE) {
        return SCHEME_GENUINE;
    }
    if (!hex_decode(place_value(&program->body_hash, request), want, sizeof want)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    sha256(request->body, is);
    return bk_ct_equal(want, is, sizeof is) ? SCHEME_GENUINE : SCHEME_SIGNATURE_WRONG;
}

enum scheme_verdict scheme_read(const struct scheme *scheme, const struct program *program,
                                const struct scheme_request *request, struct reading *r)
{
    bk_assert(kind_signs(program->kind));
    r->scheme = scheme;
    r->program = program;
    r->timestamp = r->id = SLICE_EMPTY;
    r->timestamp_value = 0;
    r->signature_count = r->part_count = 0;
    enum scheme_verdict verdict =
        read_place(&program->signature, request, SCHEME_SIGNATURE_MISSING, &r->header);
    if (verdict == SCHEME_GENUINE) {
        verdict = read_header(&program->format, r);
    }
    if (verdict == SCHEME_GENUINE) {
        verdict = read_timestamp(program, request, r);
    }
    if (verdict == SCHEME_GENUINE && program->signs_id) {
        verdict = read_place(&program->id, request, SCHEME_ID_MISSING, &r->id);
    }
    for (unsigned i = 0; i < program->op_count && verdict == SCHEME_GENUINE; i++) {
        verdict = read_part(program, &program->ops[i], request, r, &r->parts[r->part_count++]);
    }
    return verdict;
}

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
static size_t hash_with(const struct reading *r, const struct key *key,
                        uint8_t ret_digest[HMAC_BYTES_MAX])
{
    struct slice parts[OPS_MAX];
    for (unsigned i = 0; i < r->part_count; i++) {
        parts[i] = r->program->ops[i].kind == OP_SECRET ? key->token : r->parts[i];
    }
    return hash_parts(r->program->algorithm, parts, r->part_count, ret_digest);
}

int scheme_match(const struct reading *r)
{
    const struct program *program = r->program;
    for (unsigned k = 0; k < r->scheme->key_count; k++) {
        const struct key *key = scheme_key(r->scheme, program, k);
        uint8_t mac[HMAC_BYTES_MAX];
        size_t bytes = 0;
        for (unsigned i = 0; i < r->signature_count; i++) {
            const struct signature *given = &r->signatures[i];
            if (given->lane != key->lane) {
                continue;
            }
            if (key->lane == LANE_PUBLIC_KEY) {
                if (public_key_verify(&key->public_key, program->row->signature, r->parts,
                                      r->part_count, slice_of(given->bytes, given->count))) {
                    return (int)k;
                }
                continue;
            }
            if (key->lane == LANE_ED25519) {
                if (ed25519_verify(given->bytes, key->ed25519, r->parts, r->part_count)) {
                    return (int)k;
                }
                continue;
            }
            if (bytes == 0) {
                bytes = program->kind == ROW_HMAC
                            ? key_mac(program, key, r->parts, r->part_count, mac)
                            : hash_with(r, key, mac);
            }
            if (bk_ct_equal(mac, given->bytes, bytes)) {
                return (int)k;
            }
        }
    }
    return -1;
}

/* The same URL with its default port, or without it. */
static int match_other_port(struct reading *r)
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

static enum scheme_verdict verify_signature(const struct scheme *scheme,
                                            const struct program *program,
                                            const struct scheme_request *request)
{
    struct reading r;
    enum scheme_verdict verdict = scheme_read(scheme, program, request, &r);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    if (scheme_match(&r) < 0 && (!program->url_ports || match_other_port(&r) < 0)) {
        return scheme->key_count != 0 ? SCHEME_SIGNATURE_WRONG : SCHEME_NO_SECRET_YET;
    }
    verdict = check_body_hash(program, request);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    /* Only now is the time worth anything: it was signed. */
    if (program->timestamp.kind == PLACE_FIELD && !program->signs_timestamp) {
        verdict = scheme_read_body_time(program, request, &r.timestamp_value);
    } else if (program->timestamp.kind == PLACE_NONE && !program->format.has_timestamp) {
        return SCHEME_GENUINE;
    }
    return verdict == SCHEME_GENUINE
               ? scheme_check_age(scheme, program, r.timestamp_value, request->now_seconds)
               : verdict;
}

/* ---- secrets that are sent as they are */

static enum scheme_verdict match_token(const struct scheme *scheme, const struct program *program,
                                       struct slice given)
{
    bool matches = false;
    for (unsigned k = 0; k < scheme->key_count; k++) {
        matches |= bk_ct_equal_slice(scheme_key(scheme, program, k)->token, given);
    }
    return matches ? SCHEME_GENUINE : SCHEME_SIGNATURE_WRONG;
}

/* "Scheme credentials": the scheme's name in any case, one space. */
bool scheme_credentials(struct slice value, struct slice lower_scheme, struct slice *ret_rest)
{
    if (value.bytes <= lower_scheme.bytes + 1 ||
        !slice_equal_nocase(slice_of(value.at, lower_scheme.bytes), lower_scheme) ||
        value.at[lower_scheme.bytes] != ' ') {
        return false;
    }
    *ret_rest = slice_skip(value, lower_scheme.bytes + 1);
    return true;
}

static enum scheme_verdict verify_basic(const struct scheme *scheme, const struct program *program,
                                        struct slice rest)
{
    uint8_t plain[768];
    size_t bytes;
    if (!base64_decode(rest, BASE64_STANDARD, plain, sizeof plain, &bytes)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    enum scheme_verdict verdict = match_token(scheme, program, slice_of(plain, bytes));
    bk_wipe(plain, sizeof plain);
    return verdict;
}

/* In a list of notifications each has it. */
struct each {
    const struct scheme *scheme;
    const struct program *program;
    enum scheme_verdict verdict;
};

static bool match_each(void *context, const struct json_found *found)
{
    struct each *each = context;
    each->verdict = found->kind == JSON_STRING
                        ? match_token(each->scheme, each->program, found->text)
                        : SCHEME_SIGNATURE_MALFORMED;
    return each->verdict == SCHEME_GENUINE;
}

static enum scheme_verdict verify_each(const struct scheme *scheme, const struct program *program,
                                       const struct scheme_request *request)
{
    struct each each = {scheme, program, SCHEME_SIGNATURE_MISSING};
    const struct place *place = &program->signature;
    struct json_path inner;
    bool whole = json_path_parse(place->each, &inner) &&
                 json_each(request->body, &place->path, &inner, match_each, &each);
    return whole || each.verdict != SCHEME_GENUINE ? each.verdict : SCHEME_BODY_MALFORMED;
}

static enum scheme_verdict verify_token(const struct scheme *scheme, const struct program *program,
                                        const struct scheme_request *request)
{
    struct slice value, rest;
    if (program->signature.kind == PLACE_EACH) {
        return verify_each(scheme, program, request);
    }
    enum scheme_verdict verdict =
        read_place(&program->signature, request, SCHEME_SIGNATURE_MISSING, &value);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    bool basic = program->kind == ROW_BASIC || program->kind == ROW_AUTHORIZATION;
    bool bearer = program->kind == ROW_BEARER || program->kind == ROW_AUTHORIZATION;
    if (basic && scheme_credentials(value, SLICE("basic"), &rest)) {
        return verify_basic(scheme, program, rest);
    }
    if (bearer && scheme_credentials(value, SLICE("bearer"), &rest)) {
        return match_token(scheme, program, rest);
    }
    if (basic || bearer || !slice_starts(value, program->token_prefix)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    value = slice_skip(value, program->token_prefix.bytes);
    if (program->signature.kind == PLACE_FORM && !text_form_decode(value, &value)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    return match_token(scheme, program, value);
}

/* ---- addresses */

static bool in_ranges(const struct cidr *ranges, unsigned count, uint8_t family,
                      const uint8_t *address)
{
    bool inside = false;
    for (unsigned i = 0; i < count; i++) {
        inside |= cidr_contains(&ranges[i], family, address);
    }
    return inside;
}

/* The last address of X-Forwarded-For that is none of our own proxies: what is before it was
 * written by who we do not know. */
static bool forwarded(const struct extra *extra, const struct http_head *head,
                      struct cidr *ret_address)
{
    const struct http_header *header = NULL, *last = NULL;
    while ((header = http_next(head, SLICE("x-forwarded-for"), header)) != NULL) {
        last = header;
    }
    struct slice rest = last != NULL ? http_header_value(head, last) : SLICE_EMPTY;
    bool found = false;
    while (rest.bytes != 0) {
        size_t from = rest.bytes;
        while (from > 0 && rest.at[from - 1] != ',') {
            from--;
        }
        struct slice text = slice_trim(slice_of(rest.at + from, rest.bytes - from));
        rest = slice_of(rest.at, from > 0 ? from - 1 : 0);
        if (slice_find(text, '/') != text.bytes || !cidr_parse(text, ret_address)) {
            return false;
        }
        found = true;
        if (!in_ranges(extra->proxies, extra->proxy_count, ret_address->family, ret_address->at)) {
            break;
        }
    }
    return found;
}

static bool address_allowed(const struct extra *extra, const struct scheme_request *request)
{
    struct cidr address;
    if (request->peer == NULL || request->peer_family == 0) {
        return false;
    }
    uint8_t family = request->peer_family;
    const uint8_t *at = request->peer;
    if (in_ranges(extra->proxies, extra->proxy_count, family, at)) {
        if (!forwarded(extra, request->head, &address)) {
            return false;
        }
        family = address.family;
        at = address.at;
    }
    return in_ranges(extra->allow, extra->allow_count, family, at);
}

/* Does what the source configures besides secrets allow the sender? */
__attribute__((noinline)) static bool extra_allows(const struct scheme *scheme,
                                                   const struct scheme_request *request)
{
    const struct extra *extra = scheme_extra(scheme);
    return !extra->has_allow || address_allowed(extra, request);
}

/* ---- the whole

   Most rows are a MAC over the body with everything in headers (plan->plain, is_named). They go a
   short way, which decides as the long one does and costs what a function written for the provider
   would (bench/rows.c). It takes a prepared request. */

static inline struct slice slot_value(const struct scheme_request *request, uint8_t slot)
{
    unsigned at = request->slots.at[slot - 1];
    return at != 0 ? http_header_value(request->head, &request->head->headers[at - 1])
                   : SLICE_EMPTY;
}

static inline enum scheme_verdict verify_plain(const struct scheme *scheme,
                                               const struct plain *plain,
                                               const struct scheme_request *request)
{
    const struct program *program = &scheme->plan->programs[0];
    uint8_t given[SHA256_BYTES], mac[SHA256_BYTES];
    struct slice value = slot_value(request, plain->slot);
    uint64_t front;
    size_t bytes;
    if (__builtin_expect(request->slots.found >> (15 + plain->slot) & 1, 0)) {
        return SCHEME_SIGNATURE_DOUBLED;
    }
    if (__builtin_expect(value.bytes < plain->prefix_bytes + sizeof front, 0)) {
        return value.bytes == 0 ? SCHEME_SIGNATURE_MISSING : SCHEME_SIGNATURE_MALFORMED;
    }
    memcpy(&front, value.at, sizeof front);
    value = slice_of(value.at + plain->prefix_bytes, value.bytes - plain->prefix_bytes);
    bool good = (front & plain->prefix_mask) == plain->prefix &&
                (plain->hex ? hex_decode(value, given, sizeof given)
                            : base64_decode(value, plain->alphabet, given, sizeof given, &bytes) &&
                                  bytes == sizeof given);
    if (__builtin_expect(!good, 0)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    const uint8_t *at = scheme->tail;
    for (unsigned k = 0; k < scheme->key_count; k++) {
        const struct key *key = (const struct key *)(const void *)at;
        hmac_sha256(&key->sha256, &request->body, 1, mac);
        if (__builtin_expect(bk_ct_equal(mac, given, sizeof mac), 1)) {
            return SCHEME_GENUINE;
        }
        at += program->key_bytes;
    }
    return scheme->key_count != 0 ? SCHEME_SIGNATURE_WRONG : SCHEME_NO_SECRET_YET;
}

const struct scheme *scheme_resolve(const struct scheme *scheme, const struct http_head *head)
{
    if (__builtin_expect(!scheme->is_auto, 1)) {
        return scheme;
    }
    const struct scheme_row *row = scheme_row_detect(head);
    const uint8_t *at = scheme->tail;
    for (unsigned i = 0; i < scheme->key_count && row != NULL; i++) {
        const struct scheme *one = (const struct scheme *)(const void *)at;
        if (one->plan->row == row) {
            return one;
        }
        at += scheme_stride(one);
    }
    return NULL;
}

/* The same for a request that may be prepared. */
static const struct scheme *resolve(const struct scheme *scheme,
                                    const struct scheme_request *request)
{
    return request->slots.scheme != NULL ? request->slots.scheme
                                         : scheme_resolve(scheme, request->head);
}

void scheme_prepare(const struct scheme *scheme, struct scheme_request *request)
{
    struct scheme_slots *slots = &request->slots;
    slots->scheme = scheme_resolve(scheme, request->head);
    if (slots->scheme != NULL) {
        const struct scheme_plan *plan = slots->scheme->plan;
        slots->found =
            http_locate(request->head, plan->names, plan->tags, plan->name_count, slots->at);
        slots->no_secrets = plan->secret_mask != 0 && (slots->found & plan->secret_mask) == 0;
    }
}

static bool selects(const struct program *program, const struct scheme_request *request)
{
    const struct place *select = &program->select;
    if (select->kind == PLACE_HEADER && program->select_equals.bytes == 0) {
        return place_header(select, request) != NULL;
    }
    struct slice found = place_value(select, request);
    return program->select_equals.bytes != 0 ? slice_equal(found, program->select_equals)
                                             : found.bytes != 0;
}

const struct program *scheme_select(const struct scheme *scheme,
                                    const struct scheme_request *request)
{
    const struct program *program = &scheme->plan->programs[0];
    const struct program *last = program + scheme->plan->program_count - 1;
    while (program < last && !selects(program, request)) {
        program++;
    }
    return program;
}

static enum scheme_verdict verify_program(const struct scheme *scheme,
                                          const struct program *program,
                                          const struct scheme_request *request,
                                          struct scheme_answer *ret_answer)
{
    if (kind_signs(program->kind)) {
        return verify_signature(scheme, program, request);
    }
    if (program->kind == ROW_CODE) {
        return program->row->verify(scheme, program, request, ret_answer);
    }
    return program->kind != ROW_NONE ? verify_token(scheme, program, request) : SCHEME_GENUINE;
}

/* Of a genuine request: is it one of those handshakes that are signed? */
__attribute__((noinline)) static enum scheme_verdict
signed_handshakes(const struct scheme *scheme, const struct scheme_request *request,
                  struct scheme_answer *ret_answer)
{
    const struct scheme_plan *plan = scheme->plan;
    scratch_reset();
    for (unsigned i = plan->unsigned_count; i < plan->handshake_count; i++) {
        if (handshake_is(scheme, &plan->handshakes[i], request)) {
            return handshake_answer(scheme, &plan->handshakes[i], request, ret_answer);
        }
    }
    return SCHEME_GENUINE;
}

/* Nearly always it is another type of event; its last letter is enough to tell. */
static inline bool may_be_handshake(const struct scheme_plan *plan,
                                    const struct scheme_request *request)
{
    if (plan->plain.handshake_slot == 0) {
        return plan->handshake_count != 0;
    }
    struct slice is = slot_value(request, plan->plain.handshake_slot);
    return is.bytes != 0 && is.at[is.bytes - 1] == plan->plain.handshake_last;
}

/* The long way. */
__attribute__((noinline)) static enum scheme_verdict
verify_any(const struct scheme *scheme, const struct scheme_request *request,
           struct scheme_answer *ret_answer)
{
    bk_assert(request->head != NULL);
    scheme = resolve(scheme, request);
    if (scheme == NULL) {
        return SCHEME_TYPE_UNKNOWN;
    }
    const struct scheme_plan *plan = scheme->plan;
    scratch_reset();
    for (unsigned i = 0; i < plan->unsigned_count; i++) {
        if (handshake_is(scheme, &plan->handshakes[i], request)) {
            return handshake_answer(scheme, &plan->handshakes[i], request, ret_answer);
        }
    }
    enum scheme_verdict verdict =
        verify_program(scheme, scheme_select(scheme, request), request, ret_answer);
    return verdict == SCHEME_GENUINE ? signed_handshakes(scheme, request, ret_answer) : verdict;
}

enum scheme_verdict scheme_verify(const struct scheme *scheme, const struct scheme_request *request,
                                  struct scheme_answer *ret_answer)
{
    if (__builtin_expect(scheme->extra_at != 0, 0) && !extra_allows(scheme, request)) {
        return SCHEME_ADDRESS_REFUSED;
    }
    const struct scheme *prepared = request->slots.scheme;
    if (__builtin_expect(prepared == NULL || prepared->plan->plain.slot == 0, 0)) {
        return verify_any(scheme, request, ret_answer);
    }
    scheme = prepared;
    const struct scheme_plan *plan = scheme->plan;
    enum scheme_verdict verdict = verify_plain(scheme, &plan->plain, request);
    return verdict == SCHEME_GENUINE && may_be_handshake(plan, request)
               ? signed_handshakes(scheme, request, ret_answer)
               : verdict;
}

/* ---- identity */

static struct slice first_header(const struct places *places, const struct scheme_request *request)
{
    for (unsigned i = 0; i < places->count; i++) {
        if (places->at[i].kind == PLACE_HEADER) {
            const struct http_header *header = place_header(&places->at[i], request);
            if (header != NULL && header->value_bytes != 0) {
                return http_header_value(request->head, header);
            }
        }
    }
    return SLICE_EMPTY;
}

static struct slice first_form(const struct places *places, const struct scheme_request *request)
{
    struct slice found = SLICE_EMPTY;
    for (unsigned i = 0; i < places->count && found.bytes == 0; i++) {
        if (places->at[i].kind == PLACE_FORM) {
            found = place_value(&places->at[i], request);
        }
    }
    return found;
}

static unsigned add_paths(const struct places *places, struct json_path *paths, unsigned count)
{
    for (unsigned i = 0; i < places->count; i++) {
        if (places->at[i].kind == PLACE_FIELD) {
            paths[count++] = places->at[i].path;
        }
    }
    return count;
}

static struct slice first_found(const struct json_found *found, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (found[i].text.bytes != 0) {
            return found[i].text;
        }
    }
    return SLICE_EMPTY;
}

/* Headers first, then forms, then one pass over the body for both. */
static void find_both(const struct places *a, const struct places *b,
                      const struct scheme_request *request, struct slice *ret_a,
                      struct slice *ret_b)
{
    struct json_path paths[2 * PLACES_MAX];
    struct json_found found[2 * PLACES_MAX];
    unsigned of_b = 0, all;
    *ret_b = first_header(b, request);
    *ret_a = first_header(a, request);
    if (ret_b->bytes == 0) {
        of_b = add_paths(b, paths, 0);
    }
    all = ret_a->bytes == 0 ? add_paths(a, paths, of_b) : of_b;
    if (all != 0) {
        json_scan(request->body, paths, all, found);
        if (of_b != 0) {
            *ret_b = first_found(found, of_b);
        }
        if (all != of_b) {
            *ret_a = first_found(found + of_b, all - of_b);
        }
    }
    if (b->has_form && ret_b->bytes == 0) {
        *ret_b = first_form(b, request);
    }
    if (a->has_form && ret_a->bytes == 0) {
        *ret_a = first_form(a, request);
    }
}

__attribute__((noinline)) static void identify_any(const struct scheme *scheme,
                                                   const struct scheme_request *request,
                                                   struct scheme_identity *identity)
{
    scheme = resolve(scheme, request);
    if (scheme != NULL) {
        const struct scheme_plan *plan = scheme->plan;
        find_both(&plan->type, &plan->id, request, &identity->type, &identity->delivery_id);
        if (__builtin_expect(plan->within.count != 0, 0)) {
            static const struct places none;
            struct slice nothing;
            find_both(&none, &plan->within, request, &nothing, &identity->within);
        }
    }
}

void scheme_identify(const struct scheme *scheme, const struct scheme_request *request,
                     struct scheme_identity *ret_identity)
{
    const struct scheme *prepared = request->slots.scheme;
    ret_identity->within = SLICE_EMPTY;
    if (__builtin_expect(prepared != NULL && prepared->plan->is_named, 1)) {
        const struct scheme_plan *plan = prepared->plan;
        ret_identity->type = slot_value(request, plan->type.at[0].slot);
        ret_identity->delivery_id = slot_value(request, plan->id.at[0].slot);
        if (ret_identity->type.bytes != 0 && ret_identity->delivery_id.bytes != 0) {
            return;
        }
    }
    ret_identity->type = ret_identity->delivery_id = SLICE_EMPTY;
    identify_any(scheme, request, ret_identity);
}

void scheme_subject(const struct scheme_row *row, const struct scheme_request *request,
                    struct scheme_subject *ret_subject)
{
    uint8_t text[512];
    struct places account, resource;
    struct block block = {text, text + sizeof text};
    bk_assert(row != NULL && request != NULL && ret_subject != NULL);
    *ret_subject = (struct scheme_subject){SLICE_EMPTY, SLICE_EMPTY};
    if (places_parse(row->account, &block, &account) &&
        places_parse(row->resource, &block, &resource)) {
        find_both(&account, &resource, request, &ret_subject->account, &ret_subject->resource);
    }
}

struct slice scheme_constant_type(const struct scheme *scheme)
{
    return scheme->plan->constant_type;
}

/* ---- the rest */

/* In the order of the head; what is full stays as it is. */
static unsigned add_redaction(struct scheme_redaction *redactions, unsigned count, unsigned max,
                              uint32_t at, uint32_t bytes)
{
    if (count == max || bytes == 0) {
        return count;
    }
    unsigned place = count;
    for (; place > 0 && redactions[place - 1].at > at; place--) {
        redactions[place] = redactions[place - 1];
    }
    redactions[place] = (struct scheme_redaction){at, bytes};
    return count + 1;
}

/* Every header of one name. */
static unsigned redact_name(const struct http_head *head, struct slice name,
                            struct scheme_redaction *redactions, unsigned count, unsigned max)
{
    const struct http_header *header = NULL;
    while ((header = http_next(head, name, header)) != NULL) {
        count = add_redaction(redactions, count, max, header->value_at, header->value_bytes);
    }
    return count;
}

unsigned scheme_redactions(const struct scheme *scheme, const struct scheme_request *request,
                           struct scheme_redaction *ret_redactions, unsigned max)
{
    if (__builtin_expect(request->slots.no_secrets, 1)) {
        return 0;
    }
    unsigned count = 0;
    const struct http_head *head = request->head;
    const struct scheme *one = resolve(scheme, request);
    const struct scheme_plan *plan = one != NULL ? one->plan : scheme->plan;
    for (unsigned i = 0; i < plan->secret_name_count; i++) {
        unsigned slot = request->slots.scheme != NULL ? plan->secret_slots[i] : 0;
        if (slot == 0 || request->slots.at[slot - 1] != 0) {
            count = redact_name(head, plan->secret_names[i], ret_redactions, count, max);
        }
    }
    for (unsigned i = 0; i < plan->secret_field_count; i++) {
        struct slice value = text_form_field(text_query(head), plan->secret_fields[i]);
        if (value.bytes != 0) {
            count = add_redaction(ret_redactions, count, max, (uint32_t)(value.at - head->at),
                                  (uint32_t)value.bytes);
        }
    }
    return count;
}

unsigned scheme_methods(const struct scheme *scheme)
{
    return scheme->plan->methods;
}

const struct scheme_answer *scheme_acknowledgement(const struct scheme *scheme,
                                                   const struct http_head *head)
{
    scheme = scheme_resolve(scheme, head);
    return scheme != NULL ? scheme->plan->row->acknowledgement : NULL;
}

bool scheme_has_delivery_id(const struct scheme *scheme)
{
    return scheme->plan->id.count != 0 || scheme->is_auto;
}

bool scheme_body_is_id(const struct scheme *scheme, const struct scheme_request *request)
{
    scheme = request != NULL ? resolve(scheme, request) : scheme;
    return scheme != NULL && scheme->plan->row->body_is_id;
}

bool scheme_is_batch(const struct scheme *scheme, const struct scheme_request *request)
{
    scheme = resolve(scheme, request);
    return scheme != NULL && scheme->plan->row->batches && batch_is(request->head);
}

const struct scheme_row *scheme_row(const struct scheme *scheme)
{
    return scheme->plan->row;
}

struct slice scheme_challenge(const struct scheme *scheme)
{
    switch ((int)scheme->plan->row->kind) {
    case ROW_BASIC:
        return SLICE("WWW-Authenticate: Basic realm=\"becket\"\r\n");
    case ROW_BEARER:
    case ROW_AUTHORIZATION:
        return SLICE("WWW-Authenticate: Bearer realm=\"becket\"\r\n");
    default:
        return SLICE("WWW-Authenticate: Signature realm=\"becket\"\r\n");
    }
}

bool scheme_signs_url(const struct scheme *scheme)
{
    bool signs = scheme->is_auto;
    for (unsigned p = 0; p < scheme->plan->program_count; p++) {
        const struct program *program = &scheme->plan->programs[p];
        for (unsigned i = 0; i < program->op_count; i++) {
            signs |= program->ops[i].kind == OP_URL || program->ops[i].kind == OP_URL_UNESCAPED;
        }
    }
    return signs;
}

bool scheme_is_learning(const struct scheme *scheme)
{
    return scheme->plan->learns && scheme->key_count == 0;
}

void scheme_wipe(struct scheme *scheme)
{
    if (scheme != NULL) {
        bk_wipe(scheme, scheme->bytes);
    }
}

static const struct {
    const char *name, *text;
} verdicts[SCHEME_VERDICT_COUNT] = {
    [SCHEME_GENUINE] = {"genuine", "the request is genuine"},
    [SCHEME_HANDSHAKE] = {"handshake", "the provider is setting the hook up; answered, not stored"},
    [SCHEME_SIGNATURE_MISSING] = {"signature_missing",
                                  "the signature header is missing or empty: does the sender have "
                                  "a secret configured?"},
    [SCHEME_SIGNATURE_MALFORMED] = {"signature_malformed",
                                    "the signature header does not look as this provider writes "
                                    "it: is the source of the right type?"},
    [SCHEME_SIGNATURE_DOUBLED] = {"signature_doubled",
                                  "a header that takes part in the signature is there twice"},
    [SCHEME_SIGNATURE_WRONG] = {"signature_wrong",
                                "no configured secret matches: another secret, or the body was "
                                "changed on its way"},
    [SCHEME_TIMESTAMP_MISSING] = {"timestamp_missing", "the timestamp is missing"},
    [SCHEME_TIMESTAMP_MALFORMED] = {"timestamp_malformed",
                                    "the timestamp is not written as this provider writes it"},
    [SCHEME_STALE] = {"stale", "the signature is right but too old: a delayed or repeated request, "
                               "or a wrong clock"},
    [SCHEME_FUTURE] = {"future", "the signature is right but from the future: compare the clocks"},
    [SCHEME_ID_MISSING] = {"id_missing", "the delivery id, which is part of what is signed, is "
                                         "missing"},
    [SCHEME_BODY_MALFORMED] = {"body_malformed",
                               "the request is not what its provider sends, or too large to check"},
    [SCHEME_KEY_WANTED] = {"key_wanted", "the sender's key has to be fetched first"},
    [SCHEME_KEY_UNAVAILABLE] = {"key_unavailable",
                                "the sender's key cannot be fetched now, so the signature cannot "
                                "be checked"},
    [SCHEME_KEY_UNKNOWN] = {"key_unknown", "signed with a key that its issuer does not publish, or "
                                           "that lies on a host that is not the provider's"},
    [SCHEME_TOKEN_EXPIRED] = {"token_expired", "the token is genuine but has expired"},
    [SCHEME_TOKEN_EARLY] = {"token_early",
                            "the token is genuine but not valid yet: compare the clocks"},
    [SCHEME_CLAIM_WRONG] = {"claim_wrong",
                            "issuer, audience or another claim of the token is not the one wanted"},
    [SCHEME_DIGEST_WRONG] = {"digest_wrong", "the body is not the one whose digest was signed"},
    [SCHEME_SENDER_REFUSED] = {"sender_refused",
                               "genuine, but from a sender that this source does not name"},
    [SCHEME_HANDSHAKE_REFUSED] = {"handshake_refused",
                                  "who sets the hook up shows another verifyToken, or comes from "
                                  "an origin that is not allowed"},
    [SCHEME_ADDRESS_REFUSED] = {"address_refused",
                                "the sender's address is not in the source's allow list"},
    [SCHEME_NO_SECRET_YET] = {"no_secret_yet",
                              "the provider has not yet brought the secret it signs with"},
    [SCHEME_TYPE_UNKNOWN] = {"type_unknown", "the request looks like no provider that this source "
                                             "has a secret for"},
};

const char *scheme_verdict_text(enum scheme_verdict verdict)
{
    bool known = (unsigned)verdict < SCHEME_VERDICT_COUNT && verdicts[verdict].text != NULL;
    return known ? verdicts[verdict].text : "unknown";
}

const char *scheme_verdict_name(enum scheme_verdict verdict)
{
    bool known = (unsigned)verdict < SCHEME_VERDICT_COUNT && verdicts[verdict].name != NULL;
    return known ? verdicts[verdict].name : "unknown";
}
