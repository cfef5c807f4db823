/* Signatures over a text: read, put together, compared. What every webhook runs through. */
#include "providers/handshake.h"
#include "providers/sent_at.h"
#include "providers/text.h"
#include "providers/verify.h"

#include "base/assert.h"
#include "base/ct.h"
#include "base/hex.h"

/* ---- reading the signature header */

/* What is known of a program when this file is compiled: the functions below are compiled for each
 * of the shapes that most rows have (SHAPES), and for the unknown one, which looks at the program.
 * A known one is HMAC-SHA-256, and all that is read before is in headers with slots. */
struct shape {
    bool known;
    bool list; /* has a separator */
    bool macs; /* has signatures of no other kind */
    enum encoding encoding;
    enum time_from time;
    bool whole;  /* the body is signed and nothing else */
    bool fields; /* not in headers: in fields of the body */
    bool hash;   /* a plain hash that begins with the secret */
};

INLINE bool shape_may_sign_id(struct shape shape)
{
    return !shape.known || shape.time == TIME_PLACE;
}

INLINE bool shape_may_sign_time(struct shape shape)
{
    return !shape.known || shape.time == TIME_PLACE || shape.time == TIME_FORMAT;
}

INLINE enum time_from shape_time(struct shape shape, const struct program *program)
{
    return shape.known ? shape.time : program->time;
}

INLINE enum place_in shape_place(struct shape shape)
{
    return !shape.known ? IN_ANY : shape.fields ? IN_FIELD : IN_SLOT;
}

/* Base 64; signatures of public keys come in any length up to the lane's. */
INLINE bool decode_base64(struct shape shape, const struct lane *lane,
                          enum base64_alphabet alphabet, struct slice text, struct signature *to)
{
    size_t bytes = 0;
    if (shape.macs) { /* of SHA-256 */
        return base64_decode(text, alphabet, to->bytes, SHA256_BYTES, &bytes) &&
               bytes == SHA256_BYTES;
    }
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
                   : hex_decode(text, to->bytes, shape.macs ? SHA256_BYTES : lane->bytes);
    case ENCODING_BASE64:
        return decode_base64(shape, lane, BASE64_STANDARD, text, to);
    case ENCODING_BASE64URL:
        return decode_base64(shape, lane, BASE64_URL, text, to);
    }
    bk_never("unknown encoding");
}

INLINE bool read_signature(struct shape shape, const struct format *format, const struct lane *lane,
                           struct slice text, struct reading *r)
{
    if ((!shape.known || shape.list) && r->signature_count == format->signatures_max) {
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

INLINE enum scheme_verdict read_timestamp(struct shape shape, const struct program *program,
                                          const struct scheme_request *request, struct reading *r)
{
    int64_t value;
    if (shape_time(shape, program) == TIME_PLACE) {
        enum scheme_verdict verdict = place_read(shape_place(shape), &program->timestamp, request,
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

/* With its escapes undone. */
RARE static bool unescape(const struct program *program, struct slice *url)
{
    struct slice text = *url;
    if (!program->scratches) {
        scratch_reset();
    }
    return text_url_unescape(text, url);
}

/* The URL, in two pieces of which the second may be empty. What stands before the request's target
 * is the server's own address, which has no escapes. */
INLINE bool read_url(const struct program *program, const struct scheme_request *request,
                     struct slice url[2])
{
    if (!text_url(request, url)) {
        return false;
    }
    struct slice *last = &url[url[1].bytes != 0];
    return !program->url_unescapes || slice_find(*last, '%') == last->bytes ||
           unescape(program, last);
}

/* Pieces of the request's first line, and such as have to be made. */
INLINE enum scheme_verdict read_request_line(const struct program *program,
                                             const struct scheme_request *request,
                                             struct slice parts[OPS_MAX + 1])
{
    if (program->scratches) {
        scratch_reset();
    }
    if (program->url_at != OPS_MAX && !read_url(program, request, &parts[program->url_at])) {
        return SCHEME_BODY_MALFORMED;
    }
    if (program->method_at != OPS_MAX) {
        parts[program->method_at] = http_method_text(request->head);
    }
    return program->made != 0 ? signed_text_make(program, request, parts) : SCHEME_GENUINE;
}

static inline struct slice *part_at(struct slice *parts, size_t offset)
{
    return (struct slice *)(void *)((uint8_t *)parts + offset);
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
    *part_at(r->parts, program->body_offset) = request->body;
    if (shape_may_sign_time(shape)) {
        *part_at(r->parts, program->timestamp_offset) = r->timestamp;
    }
    if (shape_may_sign_id(shape)) {
        *part_at(r->parts, program->id_offset) = r->id;
    }
    return program->of_request ? read_request_line(program, request, r->parts) : SCHEME_GENUINE;
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

INLINE enum scheme_verdict read_all(struct shape shape, const struct program *program,
                                    const struct scheme_request *request, struct reading *r)
{
    enum time_from time = shape_time(shape, program);
    enum scheme_verdict verdict = place_read(shape_place(shape), &program->signature, request,
                                             SCHEME_SIGNATURE_MISSING, &r->header);
    if (verdict == SCHEME_GENUINE) {
        verdict = read_header(shape, &program->format, r);
    }
    if (verdict == SCHEME_GENUINE && (time == TIME_PLACE || time == TIME_FORMAT)) {
        verdict = read_timestamp(shape, program, request, r);
    }
    if (verdict == SCHEME_GENUINE && shape_may_sign_id(shape) && program->signs_id) {
        verdict = place_read(shape_place(shape), &program->id, request, SCHEME_ID_MISSING, &r->id);
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

INLINE enum scheme_verdict match(struct shape shape, const struct scheme *scheme,
                                 const struct program *program,
                                 const struct scheme_request *request, const struct reading *r)
{
    const struct key *key = shape.known && !shape.hash
                                ? (const struct key *)(const void *)scheme->tail
                                : scheme_key(scheme, program, 0);
    uint8_t own[SHA256_BYTES];
    const uint8_t *mac = own;
    unsigned count = shape.known && !shape.list ? 1 : r->signature_count;
    bool tried = (shape.known || program->is_sha256) && scheme->key_count != 0 &&
                 (shape.macs || key->lane == LANE_MAC);
    if (__builtin_expect(tried, 1)) {
        if (shape.hash) {
            sha256_out_with(&key->hashed.begun, r->parts + 1, r->part_count - 1, own);
        } else if (shape.known && request->mac_key == key) {
            mac = request->mac;
        } else {
            hmac_sha256(&key->sha256, r->parts, r->part_count, own);
        }
        for (unsigned i = 0; i < count; i++) {
            const struct signature *given = &r->signatures[i];
            if ((shape.macs || given->lane == LANE_MAC) &&
                bk_ct_equal(mac, given->bytes, sizeof own)) {
                return SCHEME_GENUINE;
            }
        }
    }
    if (shape.macs) {
        for (unsigned i = 0; i < count; i++) {
            r->signatures[i].lane = LANE_MAC;
        }
    }
    return scheme_match_others(tried, scheme, program, r->signatures, count, r->parts);
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

INLINE enum scheme_verdict verify_text(struct shape shape, const struct scheme *scheme,
                                       const struct program *program,
                                       struct scheme_request *request,
                                       struct scheme_answer *ret_answer)
{
    if (shape.fields && scheme->plan->signed_fields > request->slots.field_count) {
        fields_find(&scheme->plan->fields, scheme->plan->signed_fields, request);
    }
    struct signature signatures[SIGNATURES_MAX];
    struct slice parts[OPS_MAX + 1];
    struct reading r = {.signatures = signatures, .parts = parts};
    enum time_from time = shape_time(shape, program);
    enum scheme_verdict verdict = read_all(shape, program, request, &r);
    if (shape.fields && __builtin_expect(verdict == SCHEME_SIGNATURE_MISSING, 0)) {
        return scheme_verify_next(scheme, request, ret_answer, program);
    }
    if (verdict == SCHEME_GENUINE) {
        verdict = match(shape, scheme, program, request, &r);
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
    return verdict == SCHEME_GENUINE && scheme->plan->signed_handshakes
               ? signed_handshakes(scheme, request, ret_answer)
               : verdict;
}

/* Name, and the shape in the order of its members. */
#define SHAPES(X)                                                                                  \
    X(verify_any, false, false, false, ENCODING_HEX, TIME_NONE, false, false, false)               \
    X(verify_hex, true, false, true, ENCODING_HEX, TIME_NONE, true, false, false)                  \
    X(verify_base64, true, false, true, ENCODING_BASE64, TIME_NONE, true, false, false)            \
    X(verify_base64_text, true, false, true, ENCODING_BASE64, TIME_NONE, false, false, false)      \
    X(verify_hex_body_time, true, false, true, ENCODING_HEX, TIME_BODY, true, false, false)        \
    X(verify_hex_timed, true, false, true, ENCODING_HEX, TIME_PLACE, false, false, false)          \
    X(verify_base64_timed, true, false, true, ENCODING_BASE64, TIME_PLACE, false, false, false)    \
    X(verify_hexes, true, true, true, ENCODING_HEX, TIME_NONE, true, false, false)                 \
    X(verify_hexes_timed, true, true, true, ENCODING_HEX, TIME_FORMAT, false, false, false)        \
    X(verify_base64s_timed, true, true, false, ENCODING_BASE64, TIME_PLACE, false, false, false)   \
    X(verify_hex_fields, true, false, true, ENCODING_HEX, TIME_PLACE, false, true, false)          \
    X(verify_hash, true, false, true, ENCODING_HEX, TIME_NONE, false, false, true)

#define SHAPE_FUNCTION(name, ...)                                                                  \
    static enum scheme_verdict name(const struct scheme *scheme, struct scheme_request *request,   \
                                    struct scheme_answer *ret_answer,                              \
                                    const struct program *program)                                 \
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

bool scheme_finds_fields(const struct program *program)
{
    return program->verify == verify_hex_fields;
}

static bool is_in(struct shape shape, const struct place *place)
{
    return (shape.fields ? place->field : place->slot) != 0;
}

/* Does the program look so? */
static bool shape_fits(struct shape shape, const struct program *program)
{
    const struct format *format = &program->format;
    bool whole = program->op_count == 1 && program->ops[0].kind == OP_BODY;
    return !shape.known ||
           ((shape.hash ? program->hash_begins : program->is_sha256) &&
            is_in(shape, &program->signature) && (shape.hash || program->keys_before == 0) &&
            !format->timestamp_first && shape.list == (format->separator != 0) &&
            (!shape.macs || !format->lanes[1].used) &&
            shape.encoding == format->lanes[0].encoding && shape.time == program->time &&
            (shape.time != TIME_PLACE || is_in(shape, &program->timestamp)) &&
            (!shape.fields || program->signature.field != program->timestamp.field) &&
            (!program->signs_timestamp || shape_may_sign_time(shape)) &&
            (!program->signs_id || (shape_may_sign_id(shape) && is_in(shape, &program->id))) &&
            (!shape.whole || whole) && program->body_hash.kind == PLACE_NONE);
}

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

/* ---- two at once */

bool scheme_is_plain(const struct program *program)
{
    return kind_signs(program->kind) && program->verify != verify_any && program->is_sha256 &&
           program->signature.slot != 0 && program->time != TIME_FORMAT && !program->of_request;
}

/* What match() will want of a program that is plain: the first key, over the same parts. */
static const struct key *plain_text(const struct scheme_request *request,
                                    struct slice parts[OPS_MAX + 1],
                                    struct hmac_sha256_text *ret_text)
{
    static const struct shape unknown;
    const struct scheme *scheme = request->slots.scheme;
    const struct program *only = scheme != NULL ? scheme->plan->only : NULL;
    if (only == NULL || !only->plain || request->slots.at[scheme->plan->only_slot] == 0 ||
        scheme->key_count == 0 || scheme->extra_at != 0) {
        return NULL;
    }
    const struct key *key = (const struct key *)(const void *)scheme->tail;
    size_t timestamp = only->timestamp.slot, id = only->id.slot;
    struct reading r = {.parts = parts,
                        .timestamp = timestamp != 0 ? slot_value(request, timestamp) : SLICE_EMPTY,
                        .id = id != 0 ? slot_value(request, id) : SLICE_EMPTY};
    if (key->lane != LANE_MAC || read_parts(unknown, only, request, &r) != SCHEME_GENUINE) {
        return NULL;
    }
    *ret_text = (struct hmac_sha256_text){&key->sha256, parts, r.part_count};
    return key;
}

void scheme_prepare_two(struct scheme_request *a, struct scheme_request *b)
{
    struct slice parts_a[OPS_MAX + 1], parts_b[OPS_MAX + 1];
    struct hmac_sha256_text texts[2];
    const struct key *key_a = plain_text(a, parts_a, &texts[0]);
    const struct key *key_b = key_a != NULL ? plain_text(b, parts_b, &texts[1]) : NULL;
    if (key_b != NULL) {
        hmac_sha256_two(texts, a->mac, b->mac);
        a->mac_key = key_a;
        b->mac_key = key_b;
    }
}
