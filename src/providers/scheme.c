/* Verifying: a compiled scheme over a request. No parsing of rows happens here. */
#include "providers/batch.h"
#include "providers/program.h"

#include "base/assert.h"
#include "base/cidr.h"
#include "base/ct.h"
#include "base/hex.h"
#include "base/time.h"

/* ---- places */

static inline struct slice slot_value(const struct scheme_request *request, size_t slot)
{
    size_t at = request->slots.at[slot];
    return at != 0 ? http_header_value(request->head, &request->head->headers[at - 1])
                   : SLICE_EMPTY;
}

/* The first header of a place's name. */
static inline struct slice header_value(const struct place *place,
                                        const struct scheme_request *request)
{
    if (place->slot != 0) {
        return slot_value(request, place->slot);
    }
    const struct http_header *header = http_find(request->head, place->text, NULL);
    return header != NULL ? http_header_value(request->head, header) : SLICE_EMPTY;
}

/* No form: what looks like a field of one in there may have been written by anybody. */
static inline bool is_json(struct slice body)
{
    return body.bytes != 0 && (body.at[0] == '{' || body.at[0] == '[');
}

struct slice place_value(const struct place *place, const struct scheme_request *request)
{
    struct json_found found;
    struct slice value;
    switch (place->kind) {
    case PLACE_NONE:
        return SLICE_EMPTY;
    case PLACE_HEADER:
        return header_value(place, request);
    case PLACE_FIELD:
        if (place->field != 0 && place->field <= request->slots.field_count) {
            return request->slots.fields[place->field - 1];
        }
        json_scan(request->body, &place->path, 1, &found);
        return found.text;
    case PLACE_EACH:
        json_scan(request->body, &place->path, 1, &found);
        return found.kind == JSON_OTHER ? request->body : SLICE_EMPTY;
    case PLACE_FORM:
        value = text_form_field(text_query(request->head), place->text);
        return value.bytes != 0 || is_json(request->body)
                   ? value
                   : text_form_field(request->body, place->text);
    case PLACE_CONSTANT:
        return place->text;
    }
    bk_never("unknown place");
}

/* ---- time */

int64_t unit_scale(enum row_unit unit)
{
    static const int64_t scales[] = {
        [UNIT_SECONDS] = 1, [UNIT_MS] = 1000, [UNIT_RFC3339] = NS_PER_SECOND};
    return scales[unit];
}

static inline bool parse_time(enum row_unit unit, struct slice text, int64_t *ret_value)
{
    if (__builtin_expect(unit == UNIT_RFC3339, 0)) {
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

bool unit_parse(enum row_unit unit, struct slice text, int64_t *ret_value)
{
    return parse_time(unit, text, ret_value);
}

static inline enum scheme_verdict check_age(const struct scheme *scheme,
                                            const struct program *program, int64_t value,
                                            int64_t now_seconds)
{
    int64_t scale = program->scale;
    int64_t window = scheme_tolerance_seconds(scheme, program) * scale;
    int64_t age = now_seconds * scale - value;
    if (__builtin_expect((age <= window && age >= -window) || window == 0, 1)) {
        return SCHEME_GENUINE;
    }
    return age > 0 ? SCHEME_STALE : SCHEME_FUTURE;
}

enum scheme_verdict scheme_check_age(const struct scheme *scheme, const struct program *program,
                                     int64_t value, int64_t now_seconds)
{
    return check_age(scheme, program, value, now_seconds);
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

static enum scheme_verdict check_body_time(const struct scheme *scheme,
                                           const struct program *program,
                                           const struct scheme_request *request)
{
    int64_t value;
    enum scheme_verdict verdict = scheme_read_body_time(program, request, &value);
    return verdict == SCHEME_GENUINE
               ? scheme_check_age(scheme, program, value, request->now_seconds)
               : verdict;
}

/* ---- handshakes */

/* Is it one of the handshakes from .. to - 1? Then it is answered, else GENUINE. */
static enum scheme_verdict find_handshake(const struct scheme *scheme, unsigned from, unsigned to,
                                          const struct scheme_request *request,
                                          struct scheme_answer *ret_answer)
{
    scratch_reset();
    for (unsigned i = from; i < to; i++) {
        if (handshake_is(scheme, &scheme->plan->handshakes[i], request)) {
            return handshake_answer(scheme, &scheme->plan->handshakes[i], request, ret_answer);
        }
    }
    return SCHEME_GENUINE;
}

/* Of a genuine request: is it one of those handshakes that are signed? */
static inline enum scheme_verdict signed_handshakes(const struct scheme *scheme,
                                                    const struct scheme_request *request,
                                                    struct scheme_answer *ret_answer)
{
    const struct scheme_plan *plan = scheme->plan;
    if (plan->handshake_count == plan->unsigned_count) {
        return SCHEME_GENUINE;
    }
    /* Nearly always it is another type of event; its last letter is enough to tell. */
    if (plan->told_slot != 0) {
        struct slice is = slot_value(request, plan->told_slot);
        if (is.bytes == 0 || is.at[is.bytes - 1] != plan->told_last) {
            return SCHEME_GENUINE;
        }
    }
    return find_handshake(scheme, plan->unsigned_count, plan->handshake_count, request, ret_answer);
}

/* ---- reading the signature header

   What every webhook runs through is inlined and does without calls; what is rare is not. */

#define RARE   __attribute__((noinline, cold))
#define INLINE __attribute__((always_inline)) static inline

/* What is known of a program when this file is compiled: the functions below are compiled for each
 * of the shapes that most rows have (SHAPES), and for the unknown one, which looks at the program.
 * A known one is HMAC-SHA-256, and all that is read before is in headers with slots. */
struct shape {
    bool known;
    bool list; /* has a separator */
    bool macs; /* has signatures of no other kind */
    enum encoding encoding;
    enum time_from time;
    bool whole; /* the body is signed and nothing else */
};

INLINE bool shape_may_sign_id(struct shape shape)
{
    return !shape.known || shape.time == TIME_PLACE;
}

INLINE enum time_from shape_time(struct shape shape, const struct program *program)
{
    return shape.known ? shape.time : program->time;
}

/* Base 64; signatures of public keys come in any length up to the lane's. */
INLINE bool decode_base64(const struct lane *lane, enum base64_alphabet alphabet, struct slice text,
                          struct signature *to)
{
    size_t bytes = 0;
    bool good = base64_decode(text, alphabet, to->bytes, lane->bytes, &bytes);
    to->count = (uint16_t)bytes;
    return good && (bytes == lane->bytes || (to->lane == LANE_PUBLIC_KEY && bytes != 0));
}

RARE static bool decode_public_hex(const struct lane *lane, struct slice text, struct signature *to)
{
    to->count = (uint16_t)(text.bytes / 2);
    return to->count != 0 && text.bytes / 2 <= lane->bytes &&
           hex_decode(text, to->bytes, to->count);
}

INLINE bool decode(struct shape shape, const struct lane *lane, struct slice text,
                   struct signature *to)
{
    switch (shape.known ? shape.encoding : lane->encoding) {
    case ENCODING_HEX:
        return !shape.known && to->lane == LANE_PUBLIC_KEY
                   ? decode_public_hex(lane, text, to)
                   : hex_decode(text, to->bytes, lane->bytes);
    case ENCODING_BASE64:
        return decode_base64(lane, BASE64_STANDARD, text, to);
    case ENCODING_BASE64URL:
        return decode_base64(lane, BASE64_URL, text, to);
    }
    bk_never("unknown encoding");
}

INLINE bool read_signature(struct shape shape, const struct format *format, const struct lane *lane,
                           struct slice text, struct reading *r)
{
    if (r->signature_count == format->signatures_max) {
        return false;
    }
    struct signature *to = &r->signatures[r->signature_count];
    if (!shape.macs) {
        to->lane = lane->kind;
    }
    if (!decode(shape, lane, text, to)) {
        return format->open;
    }
    r->signature_count++;
    return true;
}

/* Which does not begin as most do. */
RARE static bool read_other_element(const struct format *format, struct slice text,
                                    struct reading *r)
{
    static const struct shape unknown;
    const struct lane *first = &format->lanes[0], *second = &format->lanes[1];
    if (second->used && prefix_is(&second->prefix, text)) {
        text = slice_skip(text, second->prefix.text.bytes);
        return read_signature(unknown, format, second, text, r);
    }
    if (first->prefix_optional) {
        return read_signature(unknown, format, first, text, r);
    }
    if (second->used && second->prefix_optional) {
        return read_signature(unknown, format, second, text, r);
    }
    return format->open;
}

/* One element of the value. False: it makes the whole value malformed. */
INLINE bool read_element(struct shape shape, const struct format *format, struct slice text,
                         struct reading *r)
{
    /* The timestamp first: a signature may have no prefix at all. */
    if ((!shape.known || shape.time == TIME_FORMAT) && format->has_timestamp &&
        (shape.known || !format->timestamp_first || r->timestamp.at == NULL) &&
        prefix_is(&format->timestamp_prefix, text)) {
        bool again = r->timestamp.at != NULL;
        size_t bytes = format->timestamp_prefix.text.bytes;
        r->timestamp = slice_of(text.at + bytes, text.bytes - bytes);
        return !again;
    }
    const struct lane *lane = &format->lanes[0];
    if (prefix_is(&lane->prefix, text)) {
        size_t bytes = lane->prefix.text.bytes;
        text = slice_of(text.at + bytes, text.bytes - bytes);
        return read_signature(shape, format, lane, text, r);
    }
    struct reading copy = *r; /* so that all of it may be in registers otherwise */
    bool good = read_other_element(format, text, &copy);
    r->signature_count = copy.signature_count;
    return good;
}

INLINE enum scheme_verdict read_header(struct shape shape, const struct format *format,
                                       struct reading *r)
{
    struct slice rest = r->header;
    bool good = true;
    if (shape.known ? !shape.list : format->separator == 0) {
        good = read_element(shape, format, rest, r);
        rest.bytes = 0;
    }
    while (rest.bytes != 0 && good) {
        struct slice element = slice_of(rest.at, slice_find(rest, format->separator));
        rest = slice_skip(rest, element.bytes + 1);
        if (element.bytes == 0 || element.at[0] <= ' ' || element.at[element.bytes - 1] <= ' ') {
            element = slice_trim(element);
        }
        good = read_element(shape, format, element, r);
    }
    return good && r->signature_count != 0 ? SCHEME_GENUINE : SCHEME_SIGNATURE_MALFORMED;
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

/* What is at a place that takes part in the signature, when it is no header with a slot. */
RARE static enum scheme_verdict read_other_place(const struct place *place,
                                                 const struct scheme_request *request,
                                                 enum scheme_verdict missing,
                                                 struct slice *ret_value)
{
    if (place->kind == PLACE_HEADER) {
        return scheme_single(request->head, place->text, missing, ret_value);
    }
    *ret_value = place_value(place, request);
    return ret_value->bytes != 0 ? SCHEME_GENUINE : missing;
}

INLINE enum scheme_verdict read_place(struct shape shape, const struct place *place,
                                      const struct scheme_request *request,
                                      enum scheme_verdict missing, struct slice *ret_value)
{
    if (!shape.known && place->slot == 0) {
        struct slice value;
        enum scheme_verdict verdict = read_other_place(place, request, missing, &value);
        *ret_value = value;
        return verdict;
    }
    if (__builtin_expect((request->slots.found & place->twice) != 0, 0)) {
        return SCHEME_SIGNATURE_DOUBLED;
    }
    *ret_value = slot_value(request, place->slot);
    return ret_value->bytes != 0 ? SCHEME_GENUINE : missing;
}

INLINE enum scheme_verdict read_timestamp(struct shape shape, const struct program *program,
                                          const struct scheme_request *request, struct reading *r)
{
    int64_t value;
    if (shape_time(shape, program) == TIME_PLACE) {
        enum scheme_verdict verdict = read_place(shape, &program->timestamp, request,
                                                 SCHEME_TIMESTAMP_MISSING, &r->timestamp);
        if (verdict != SCHEME_GENUINE) {
            return verdict;
        }
    }
    if (!parse_time(program->unit, r->timestamp, &value)) {
        return r->timestamp.bytes == 0 ? SCHEME_TIMESTAMP_MISSING : SCHEME_TIMESTAMP_MALFORMED;
    }
    r->timestamp_value = value;
    return SCHEME_GENUINE;
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

static enum scheme_verdict make_text(const struct program *program, const struct op *op,
                                     const struct scheme_request *request,
                                     const struct slice *parts, struct slice *ret_part)
{
    static const struct shape unknown;
    struct slice target = http_target(request->head);
    switch (op->kind) {
    case OP_URL:
        return computed(text_url(request, ret_part));
    case OP_URL_UNESCAPED:
        return computed(text_url(request, ret_part) && text_url_unescape(ret_part[0], ret_part) &&
                        text_url_unescape(ret_part[1], ret_part + 1));
    case OP_METHOD:
        *ret_part = http_method_text(request->head);
        return SCHEME_GENUINE;
    case OP_PATH:
        *ret_part = slice_of(target.at, slice_find(target, '?'));
        return SCHEME_GENUINE;
    case OP_QUERY:
        *ret_part = text_query(request->head);
        return SCHEME_GENUINE;
    case OP_HEADER:
        /* A header that is not there was signed as the empty text. */
        return scheme_single(request->head, op->text, SCHEME_GENUINE, ret_part);
    case OP_PLACE:
        return read_place(unknown, &program->op_places[op->place], request, SCHEME_GENUINE,
                          ret_part);
    case OP_FORM:
        return computed(text_form_sorted(request->body, ret_part));
    case OP_BODY_SHA256:
        return computed(body_sha256(request->body, ret_part));
    case OP_SECRET:
        *ret_part = SLICE_EMPTY; /* of each key in turn */
        return SCHEME_GENUINE;
    /* Those that are not the first of their kind. */
    case OP_BODY:
        *ret_part = parts[program->body_at];
        return SCHEME_GENUINE;
    case OP_ID:
        *ret_part = parts[program->id_at];
        return SCHEME_GENUINE;
    case OP_TIMESTAMP:
        *ret_part = parts[program->timestamp_at];
        return SCHEME_GENUINE;
    case OP_TEXT:
    case OP_URL_REST:
        return SCHEME_GENUINE;
    }
    bk_never("unknown op");
}

/* Pieces of the signed text that are no text as it is and no place of the request. */
__attribute__((noinline)) static enum scheme_verdict make_texts(
    const struct program *program, const struct scheme_request *request,
    struct slice parts[OPS_MAX])
{
    enum scheme_verdict verdict = SCHEME_GENUINE;
    scratch_reset();
    for (unsigned rest = program->made; rest != 0 && verdict == SCHEME_GENUINE; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctz(rest);
        verdict = make_text(program, &program->ops[i], request, parts, &parts[i]);
    }
    return verdict;
}

/* As many as are copied without a loop. */
#define PARTS_FEW 5U

INLINE enum scheme_verdict read_parts(struct shape shape, const struct program *program,
                                      const struct scheme_request *request, struct reading *r)
{
    if (shape.whole) {
        r->parts[0] = request->body;
        r->part_count = 1;
        return SCHEME_GENUINE;
    }
    r->part_count = program->op_count;
    memcpy(r->parts, program->parts, PARTS_FEW * sizeof *r->parts);
    if (__builtin_expect(program->op_count > PARTS_FEW, 0)) {
        memcpy(r->parts, program->parts, sizeof program->parts);
    }
    if (program->url_at != OPS_MAX) {
        scratch_reset(); /* the same URL with another port may be made there */
        if (!text_url(request, &r->parts[program->url_at])) {
            return SCHEME_BODY_MALFORMED;
        }
    }
    r->parts[program->body_at] = request->body;
    r->parts[program->timestamp_at] = r->timestamp;
    if (shape_may_sign_id(shape)) {
        r->parts[program->id_at] = r->id;
    }
    return program->made != 0 ? make_texts(program, request, r->parts) : SCHEME_GENUINE;
}

/* The body itself is not signed, its hash is. */
RARE static enum scheme_verdict check_body_hash(const struct program *program,
                                                const struct scheme_request *request)
{
    uint8_t want[SHA256_BYTES], is[SHA256_BYTES];
    if (!hex_decode(place_value(&program->body_hash, request), want, sizeof want)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    sha256(request->body, is);
    return bk_ct_equal(want, is, sizeof is) ? SCHEME_GENUINE : SCHEME_SIGNATURE_WRONG;
}

/* By what the event will be known, if not by the id that this program signs: who has one genuine
 * signature must not be able to send it again under other names. */
RARE static bool is_known_by_another(const struct program *program,
                                     const struct scheme_request *request, struct slice id)
{
    static const enum place_kind order[] = {PLACE_HEADER, PLACE_FIELD, PLACE_FORM};
    const struct places *places = &request->slots.scheme->plan->id;
    for (unsigned k = 0; k < bk_array_length(order) && order[k] != program->id.kind; k++) {
        for (unsigned i = 0; i < places->count; i++) {
            struct slice value =
                places->at[i].kind == order[k] ? place_value(&places->at[i], request) : SLICE_EMPTY;
            if (value.bytes != 0 && !slice_equal(value, id)) {
                return true;
            }
        }
    }
    return false;
}

INLINE enum scheme_verdict read_all(struct shape shape, const struct program *program,
                                    const struct scheme_request *request, struct reading *r)
{
    enum time_from time = shape_time(shape, program);
    enum scheme_verdict verdict =
        read_place(shape, &program->signature, request, SCHEME_SIGNATURE_MISSING, &r->header);
    if (verdict == SCHEME_GENUINE) {
        verdict = read_header(shape, &program->format, r);
    }
    if (verdict == SCHEME_GENUINE && (time == TIME_PLACE || time == TIME_FORMAT)) {
        verdict = read_timestamp(shape, program, request, r);
    }
    if (verdict == SCHEME_GENUINE && shape_may_sign_id(shape) && program->signs_id) {
        verdict = read_place(shape, &program->id, request, SCHEME_ID_MISSING, &r->id);
        if (verdict == SCHEME_GENUINE && program->id.kind == PLACE_FORM &&
            is_known_by_another(program, request, r->id)) {
            verdict = SCHEME_BODY_MALFORMED;
        }
    }
    return verdict == SCHEME_GENUINE ? read_parts(shape, program, request, r) : verdict;
}

enum scheme_verdict scheme_read(const struct scheme *scheme, const struct program *program,
                                const struct scheme_request *request,
                                struct signature signatures[SIGNATURES_MAX],
                                struct slice parts[OPS_MAX + 1], struct reading *ret_reading)
{
    bk_assert(kind_signs(program->kind) && request->slots.scheme == scheme);
    *ret_reading = (struct reading){
        .scheme = scheme, .program = program, .signatures = signatures, .parts = parts};
    return read_all((struct shape){.known = false}, program, request, ret_reading);
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
static size_t hash_with(const struct program *program, const struct key *key,
                        const struct slice *parts, unsigned part_count,
                        uint8_t ret_digest[HMAC_BYTES_MAX])
{
    struct slice own[OPS_MAX];
    for (unsigned i = 0; i < part_count; i++) {
        own[i] = program->ops[i].kind == OP_SECRET ? key->token : parts[i];
    }
    return hash_parts(program->algorithm, own, part_count, ret_digest);
}

static inline bool key_signed(const struct program *program, const struct key *key,
                              const struct signature *given, const struct slice *parts,
                              unsigned part_count)
{
    return key->lane == LANE_PUBLIC_KEY
               ? public_key_verify(&key->public_key, program->row->signature, parts, part_count,
                                   slice_of(given->bytes, given->count))
               : ed25519_verify(given->bytes, key->ed25519, parts, part_count);
}

static bool key_matches(const struct program *program, const struct key *key,
                        const struct signature *signatures, unsigned signature_count,
                        const struct slice *parts, unsigned part_count)
{
    uint8_t mac[HMAC_BYTES_MAX];
    size_t bytes = 0;
    if (key->lane == LANE_MAC) {
        bytes = program->kind == ROW_HMAC ? key_mac(program, key, parts, part_count, mac)
                                          : hash_with(program, key, parts, part_count, mac);
    }
    for (unsigned i = 0; i < signature_count; i++) {
        const struct signature *given = &signatures[i];
        if (given->lane == key->lane &&
            (key->lane == LANE_MAC ? bk_ct_equal(mac, given->bytes, bytes)
                                   : key_signed(program, key, given, parts, part_count))) {
            return true;
        }
    }
    return false;
}

static int match_from(unsigned from, const struct scheme *scheme, const struct program *program,
                      const struct signature *signatures, unsigned signature_count,
                      const struct slice *parts, unsigned part_count)
{
    for (unsigned k = from; k < scheme->key_count; k++) {
        if (key_matches(program, scheme_key(scheme, program, k), signatures, signature_count, parts,
                        part_count)) {
            return (int)k;
        }
    }
    return -1;
}

int scheme_match(const struct reading *r)
{
    return match_from(0, r->scheme, r->program, r->signatures, r->signature_count, r->parts,
                      r->part_count);
}

/* The same URL with its default port, or without it. */
static int match_other_port(const struct reading *r)
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

/* When the first key is not one for HMAC-SHA-256 that matches. */
RARE static enum scheme_verdict match_others(bool first_failed, const struct scheme *scheme,
                                             const struct program *program,
                                             const struct signature *signatures,
                                             unsigned signature_count, struct slice *parts)
{
    struct reading r = {.scheme = scheme,
                        .program = program,
                        .signatures = (struct signature *)(uintptr_t)signatures,
                        .signature_count = signature_count,
                        .parts = parts,
                        .part_count = program->op_count};
    if (match_from(first_failed, scheme, program, signatures, signature_count, parts,
                   program->op_count) >= 0 ||
        (program->url_ports && match_other_port(&r) >= 0)) {
        return SCHEME_GENUINE;
    }
    return scheme->key_count != 0 ? SCHEME_SIGNATURE_WRONG : SCHEME_NO_SECRET_YET;
}

INLINE enum scheme_verdict match(struct shape shape, const struct scheme *scheme,
                                 const struct program *program, const struct reading *r)
{
    const struct key *key = shape.known ? (const struct key *)(const void *)scheme->tail
                                        : scheme_key(scheme, program, 0);
    uint8_t mac[SHA256_BYTES];
    bool tried = (shape.known || program->is_sha256) && scheme->key_count != 0 &&
                 (shape.macs || key->lane == LANE_MAC);
    if (__builtin_expect(tried, 1)) {
        unsigned count = shape.known && !shape.list ? 1 : r->signature_count;
        hmac_sha256(&key->sha256, r->parts, r->part_count, mac);
        for (unsigned i = 0; i < count; i++) {
            const struct signature *given = &r->signatures[i];
            if ((shape.macs || given->lane == LANE_MAC) &&
                bk_ct_equal(mac, given->bytes, sizeof mac)) {
                return SCHEME_GENUINE;
            }
        }
    }
    if (shape.macs) {
        for (unsigned i = 0; i < r->signature_count; i++) {
            r->signatures[i].lane = LANE_MAC;
        }
    }
    return match_others(tried, scheme, program, r->signatures, r->signature_count, r->parts);
}

INLINE enum scheme_verdict verify_text(struct shape shape, const struct scheme *scheme,
                                       const struct program *program,
                                       const struct scheme_request *request,
                                       struct scheme_answer *ret_answer)
{
    struct signature signatures[SIGNATURES_MAX];
    struct slice parts[OPS_MAX + 1];
    struct reading r = {.signatures = signatures, .parts = parts};
    enum time_from time = shape_time(shape, program);
    enum scheme_verdict verdict = read_all(shape, program, request, &r);
    if (verdict == SCHEME_GENUINE) {
        verdict = match(shape, scheme, program, &r);
    }
    if (verdict == SCHEME_GENUINE && !shape.known && program->body_hash.kind != PLACE_NONE) {
        verdict = check_body_hash(program, request);
    }
    /* Only now is the time worth anything: it was signed. */
    if (verdict == SCHEME_GENUINE && time != TIME_NONE) {
        verdict = time == TIME_BODY
                      ? check_body_time(scheme, program, request)
                      : check_age(scheme, program, r.timestamp_value, request->now_seconds);
    }
    return verdict == SCHEME_GENUINE ? signed_handshakes(scheme, request, ret_answer) : verdict;
}

/* Name, and the shape in the order of its members. */
#define SHAPES(X)                                                                                  \
    X(verify_any, false, false, false, ENCODING_HEX, TIME_NONE, false)                             \
    X(verify_hex, true, false, true, ENCODING_HEX, TIME_NONE, true)                                \
    X(verify_base64, true, false, true, ENCODING_BASE64, TIME_NONE, true)                          \
    X(verify_base64_text, true, false, true, ENCODING_BASE64, TIME_NONE, false)                    \
    X(verify_hex_body_time, true, false, true, ENCODING_HEX, TIME_BODY, true)                      \
    X(verify_hex_timed, true, false, true, ENCODING_HEX, TIME_PLACE, false)                        \
    X(verify_base64_timed, true, false, true, ENCODING_BASE64, TIME_PLACE, false)                  \
    X(verify_hexes, true, true, true, ENCODING_HEX, TIME_NONE, true)                               \
    X(verify_hexes_timed, true, true, true, ENCODING_HEX, TIME_FORMAT, false)                      \
    X(verify_base64s_timed, true, true, false, ENCODING_BASE64, TIME_PLACE, false)

#define SHAPE_FUNCTION(name, ...)                                                                  \
    static enum scheme_verdict name(                                                               \
        const struct scheme *scheme, const struct scheme_request *request,                         \
        struct scheme_answer *ret_answer, const struct program *program)                           \
    {                                                                                              \
        return verify_text((struct shape){__VA_ARGS__}, scheme, program, request, ret_answer);     \
    }
SHAPES(SHAPE_FUNCTION)

static const struct {
    program_verify_fn *verify;
    struct shape shape;
} shapes[] = {
#define SHAPE_ENTRY(name, ...) {name, {__VA_ARGS__}},
    SHAPES(SHAPE_ENTRY)
#undef SHAPE_ENTRY
};

/* Does the program look so? */
static bool shape_fits(struct shape shape, const struct program *program)
{
    const struct format *format = &program->format;
    bool whole = program->op_count == 1 && program->ops[0].kind == OP_BODY;
    return !shape.known ||
           (program->is_sha256 && program->signature.slot != 0 && program->keys_before == 0 &&
            !format->timestamp_first &&
            shape.list == (format->separator != 0) && (!shape.macs || !format->lanes[1].used) &&
            shape.encoding == format->lanes[0].encoding && shape.time == program->time &&
            (shape.time != TIME_PLACE || program->timestamp.slot != 0) &&
            (!program->signs_id || (shape_may_sign_id(shape) && program->id.slot != 0)) &&
            (!shape.whole || whole) && program->body_hash.kind == PLACE_NONE);
}

static program_verify_fn verify_secret;

program_verify_fn *scheme_verify_fn(const struct program *program)
{
    size_t i = bk_array_length(shapes) - 1;
    if (!kind_signs(program->kind)) {
        return verify_secret;
    }
    while (!shape_fits(shapes[i].shape, program)) {
        i--;
    }
    return shapes[i].verify;
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
    static const struct shape unknown;
    struct slice value, rest;
    if (program->signature.kind == PLACE_EACH) {
        return verify_each(scheme, program, request);
    }
    enum scheme_verdict verdict =
        read_place(unknown, &program->signature, request, SCHEME_SIGNATURE_MISSING, &value);
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

/* ---- the whole */

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
    slots->field_count = 0;
    slots->at[0] = 1; /* always there: plan->only_slot */
    if (slots->scheme != NULL) {
        const struct scheme_plan *plan = slots->scheme->plan;
        slots->found =
            http_locate(request->head, plan->names, plan->tags, plan->name_count, slots->at + 1);
        slots->no_secrets = (slots->found & plan->secret_mask) == plan->secret_none;
    }
}

/* The first `count` fields of the body, in one pass. */
static void fields_find(const struct fields *fields, unsigned count, struct scheme_request *request)
{
    struct json_found found[JSON_PATHS_MAX];
    json_scan(request->body, fields->paths, count, found);
    for (unsigned i = 0; i < count; i++) {
        request->slots.fields[i] = found[i].text;
    }
    request->slots.field_count = (uint8_t)count;
}

static inline bool selects(const struct program *program, const struct scheme_request *request)
{
    const struct place *select = &program->select;
    if (select->kind == PLACE_HEADER && program->select_equals.bytes == 0) {
        return select->slot != 0 ? request->slots.at[select->slot] != 0
                                 : http_find(request->head, select->text, NULL) != NULL;
    }
    struct slice found = place_value(select, request), want = program->select_equals;
    if (want.bytes != 0 && want.at[0] == '*') {
        want = slice_skip(want, 1);
        found = slice_skip(found, found.bytes > want.bytes ? found.bytes - want.bytes : 0);
    }
    return want.bytes != 0 ? slice_equal(found, want) : found.bytes != 0;
}

static inline const struct program *select_program(const struct scheme *scheme,
                                                   const struct scheme_request *request)
{
    const struct program *program = &scheme->plan->programs[0];
    const struct program *last = program + scheme->plan->program_count - 1;
    while (program < last && !selects(program, request)) {
        program++;
    }
    return program;
}

const struct program *scheme_select(const struct scheme *scheme,
                                    const struct scheme_request *request)
{
    return select_program(scheme, request);
}

static enum scheme_verdict verify_secret(const struct scheme *scheme,
                                         const struct scheme_request *request,
                                         struct scheme_answer *ret_answer,
                                         const struct program *program)
{
    scratch_reset();
    enum scheme_verdict verdict =
        program->kind == ROW_CODE   ? program->row->verify(scheme, program, request, ret_answer)
        : program->kind != ROW_NONE ? verify_token(scheme, program, request)
                                    : SCHEME_GENUINE;
    return verdict == SCHEME_GENUINE ? signed_handshakes(scheme, request, ret_answer) : verdict;
}

/* The ways of signing behind `program`, as long as each that is there is wrong. */
RARE static enum scheme_verdict verify_otherwise(const struct scheme *scheme,
                                                 const struct scheme_request *request,
                                                 struct scheme_answer *ret_answer,
                                                 const struct program *program)
{
    const struct program *last = scheme->plan->programs + scheme->plan->program_count - 1;
    enum scheme_verdict verdict = SCHEME_SIGNATURE_WRONG;
    while (verdict == SCHEME_SIGNATURE_WRONG && program < last && program->row->tries_otherwise) {
        program++;
        if (selects(program, request)) {
            verdict = program->verify(scheme, request, ret_answer, program);
        }
    }
    return verdict;
}

/* The whole of it, of a prepared request. */
static inline enum scheme_verdict verify_all(const struct scheme *scheme,
                                             const struct scheme_request *request,
                                             struct scheme_answer *ret_answer)
{
    const struct scheme_plan *plan = scheme->plan;
    if (plan->unsigned_count != 0) {
        enum scheme_verdict verdict =
            find_handshake(scheme, 0, plan->unsigned_count, request, ret_answer);
        if (verdict != SCHEME_GENUINE) {
            return verdict;
        }
    }
    const struct program *program = select_program(scheme, request);
    enum scheme_verdict verdict = program->verify(scheme, request, ret_answer, program);
    return verdict == SCHEME_SIGNATURE_WRONG && program->row->tries_otherwise
               ? verify_otherwise(scheme, request, ret_answer, program)
               : verdict;
}

/* A request that is not prepared, or of whose body several fields are wanted. */
RARE static enum scheme_verdict verify_copy(const struct scheme *scheme,
                                            const struct scheme_request *request,
                                            struct scheme_answer *ret_answer)
{
    struct scheme_request copy = *request;
    bk_assert(request->head != NULL);
    if (copy.slots.scheme == NULL) {
        scheme_prepare(scheme, &copy);
    }
    scheme = copy.slots.scheme;
    if (scheme == NULL) {
        return SCHEME_TYPE_UNKNOWN;
    }
    fields_find(&scheme->plan->fields, scheme->plan->signed_fields, &copy);
    return verify_all(scheme, &copy, ret_answer);
}

/* There is something to do before the signature is looked at. */
__attribute__((noinline)) static enum scheme_verdict verify_longer(
    const struct scheme *scheme, const struct scheme_request *request,
    struct scheme_answer *ret_answer)
{
    const struct scheme *prepared = request->slots.scheme;
    if (scheme->extra_at != 0 && !extra_allows(scheme, request)) {
        return SCHEME_ADDRESS_REFUSED;
    }
    return prepared == NULL || prepared->plan->signed_fields > request->slots.field_count
               ? verify_copy(scheme, request, ret_answer)
               : verify_all(prepared, request, ret_answer);
}

enum scheme_verdict scheme_verify(const struct scheme *scheme, const struct scheme_request *request,
                                  struct scheme_answer *ret_answer)
{
    const struct scheme *prepared = request->slots.scheme;
    if (prepared != NULL && scheme->extra_at == 0) {
        const struct program *only = prepared->plan->only;
        if (only != NULL && request->slots.at[prepared->plan->only_slot] != 0) {
            return only->verify(prepared, request, ret_answer, only);
        }
    }
    return verify_longer(scheme, request, ret_answer);
}

/* ---- identity */

/* Not in a header: in the body, which is looked through once for all that the row wants of it. */
__attribute__((noinline)) static struct slice first_in_body(const struct places *places,
                                                            struct scheme_request *request)
{
    struct slice value = SLICE_EMPTY;
    if (places->has_field && request->slots.field_count == 0) {
        const struct fields *fields = &request->slots.scheme->plan->fields;
        fields_find(fields, fields->count, request);
    }
    for (unsigned form = 0; form < 2; form++) {
        enum place_kind kind = form ? PLACE_FORM : PLACE_FIELD;
        for (unsigned i = 0; i < places->count && value.bytes == 0; i++) {
            if (places->at[i].kind == kind) {
                value = place_value(&places->at[i], request);
            }
        }
    }
    return value;
}

/* Headers first, then fields, then forms. */
static inline struct slice first_of(const struct places *places, struct scheme_request *request)
{
    for (unsigned i = 0; i < places->count; i++) {
        struct slice value = places->at[i].kind == PLACE_HEADER
                                 ? header_value(&places->at[i], request)
                                 : SLICE_EMPTY;
        if (value.bytes != 0) {
            return value;
        }
    }
    return places->has_field || places->has_form ? first_in_body(places, request) : SLICE_EMPTY;
}

static inline void identify(struct scheme_request *request, struct scheme_identity *ret_identity)
{
    const struct scheme_plan *plan = request->slots.scheme->plan;
    ret_identity->type = first_of(&plan->type, request);
    ret_identity->delivery_id = first_of(&plan->id, request);
    ret_identity->within = first_of(&plan->within, request);
}

/* Of a request that is not prepared, and stays so. */
__attribute__((noinline)) static void identify_copy(const struct scheme *scheme,
                                                    const struct scheme_request *request,
                                                    struct scheme_identity *ret_identity)
{
    struct scheme_request copy = *request;
    scheme_prepare(scheme, &copy);
    *ret_identity = (struct scheme_identity){SLICE_EMPTY, SLICE_EMPTY, SLICE_EMPTY};
    if (copy.slots.scheme != NULL) {
        identify(&copy, ret_identity);
    }
}

void scheme_identify(const struct scheme *scheme, struct scheme_request *request,
                     struct scheme_identity *ret_identity)
{
    if (__builtin_expect(request->slots.scheme != NULL, 1)) {
        identify(request, ret_identity);
    } else {
        identify_copy(scheme, request, ret_identity);
    }
}

void scheme_subject(const struct scheme_row *row, const struct scheme_request *request,
                    struct scheme_subject *ret_subject)
{
    uint8_t text[512];
    struct places account, resource;
    struct block block = {text, text + sizeof text};
    struct fields fields = {.count = 0};
    struct scheme_request copy = *request;
    bk_assert(row != NULL && request != NULL && ret_subject != NULL);
    *ret_subject = (struct scheme_subject){SLICE_EMPTY, SLICE_EMPTY};
    if (places_parse(row->account, &block, &account) &&
        places_parse(row->resource, &block, &resource)) {
        fields_add_places(&fields, &account);
        fields_add_places(&fields, &resource);
        fields_find(&fields, fields.count, &copy);
        ret_subject->account = first_of(&account, &copy);
        ret_subject->resource = first_of(&resource, &copy);
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
        if (slot == 0 || request->slots.at[slot] != 0) {
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
