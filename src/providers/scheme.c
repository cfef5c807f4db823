/* Verifying: a compiled scheme over a request. No parsing of rows happens here. */
#include "providers/program.h"

#include "base/assert.h"
#include "base/ct.h"
#include "base/hex.h"
#include "base/time.h"

/* ---- places */

static struct slice query_of(const struct http_head *head)
{
    struct slice target = http_target(head);
    return slice_skip(target, slice_find(target, '?') + 1);
}

/* Value of `name` among name=value pairs joined by &; as sent, nothing is decoded. */
static struct slice form_field(struct slice form, struct slice name)
{
    while (form.bytes != 0) {
        struct slice pair = slice_of(form.at, slice_find(form, '&'));
        if (slice_starts(pair, name) && pair.bytes > name.bytes && pair.at[name.bytes] == '=') {
            return slice_skip(pair, name.bytes + 1);
        }
        form = slice_skip(form, pair.bytes + 1);
    }
    return SLICE_EMPTY;
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
        header = http_find(request->head, place->text, NULL);
        return header != NULL ? http_header_value(request->head, header) : SLICE_EMPTY;
    case PLACE_FIELD:
        json_scan(request->body, &place->path, 1, &found);
        return found.text;
    case PLACE_FORM:
        value = form_field(query_of(request->head), place->text);
        return value.bytes != 0 ? value : form_field(request->body, place->text);
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

static bool decode(const struct lane *lane, struct slice text, uint8_t out[64])
{
    size_t bytes = 0;
    switch (lane->encoding) {
    case ENCODING_HEX:
        return hex_decode(text, out, lane->bytes);
    case ENCODING_BASE64:
        return base64_decode(text, BASE64_STANDARD, out, lane->bytes, &bytes) &&
               bytes == lane->bytes;
    case ENCODING_BASE64URL:
        return base64_decode(text, BASE64_URL, out, lane->bytes, &bytes) && bytes == lane->bytes;
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
        if (!decode(lane, slice_skip(text, prefixed ? lane->prefix.bytes : 0), to->bytes)) {
            return format->open;
        }
        to->lane = (enum lane_kind)i;
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
static enum scheme_verdict find_single(const struct http_head *head, struct slice name,
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

static enum scheme_verdict read_timestamp(const struct program *program,
                                          const struct scheme_request *request, struct reading *r)
{
    enum scheme_verdict verdict = SCHEME_GENUINE;
    if (program->timestamp.kind == PLACE_HEADER) {
        verdict = find_single(request->head, program->timestamp.text, SCHEME_TIMESTAMP_MISSING,
                              &r->timestamp);
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

static enum scheme_verdict read_id(const struct program *program,
                                   const struct scheme_request *request, struct reading *r)
{
    if (!program->signs_id) {
        return SCHEME_GENUINE;
    }
    if (program->id.kind == PLACE_HEADER) {
        return find_single(request->head, program->id.text, SCHEME_ID_MISSING, &r->id);
    }
    r->id = place_value(&program->id, request);
    return r->id.bytes != 0 ? SCHEME_GENUINE : SCHEME_ID_MISSING;
}

static enum scheme_verdict read_part(const struct op *op, const struct scheme_request *request,
                                     const struct reading *r, struct slice *ret_part)
{
    struct slice target = http_target(request->head);
    enum scheme_verdict verdict;
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
        *ret_part = request->url;
        return SCHEME_GENUINE;
    case OP_QUERY:
        *ret_part = query_of(request->head);
        return SCHEME_GENUINE;
    case OP_HEADER:
        /* A header that is not there was signed as the empty text. */
        verdict = find_single(request->head, op->text, SCHEME_GENUINE, ret_part);
        return verdict;
    }
    bk_never("unknown op");
}

enum scheme_verdict scheme_read(const struct scheme *scheme, const struct program *program,
                                const struct scheme_request *request, struct reading *r)
{
    bk_assert(program->kind == ROW_HMAC || program->kind == ROW_ED25519);
    r->scheme = scheme;
    r->program = program;
    r->timestamp = r->id = SLICE_EMPTY;
    r->timestamp_value = 0;
    r->signature_count = r->part_count = 0;
    enum scheme_verdict verdict =
        find_single(request->head, program->header, SCHEME_SIGNATURE_MISSING, &r->header);
    if (verdict == SCHEME_GENUINE) {
        verdict = read_header(&program->format, r);
    }
    if (verdict == SCHEME_GENUINE) {
        verdict = read_timestamp(program, request, r);
    }
    if (verdict == SCHEME_GENUINE) {
        verdict = read_id(program, request, r);
    }
    for (unsigned i = 0; i < program->op_count && verdict == SCHEME_GENUINE; i++) {
        verdict = read_part(&program->ops[i], request, r, &r->parts[r->part_count++]);
    }
    return verdict;
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
            if (key->lane == LANE_ED25519) {
                if (ed25519_verify(given->bytes, key->ed25519, r->parts, r->part_count)) {
                    return (int)k;
                }
                continue;
            }
            if (bytes == 0) {
                bytes = key_mac(program, key, r->parts, r->part_count, mac);
            }
            if (bk_ct_equal(mac, given->bytes, bytes)) {
                return (int)k;
            }
        }
    }
    return -1;
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
    if (scheme_match(&r) < 0) {
        return SCHEME_SIGNATURE_WRONG;
    }
    /* Only now is the time worth anything: it was signed. */
    if (program->timestamp.kind == PLACE_FIELD) {
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
static bool credentials(struct slice value, struct slice lower_scheme, struct slice *ret_rest)
{
    if (value.bytes <= lower_scheme.bytes + 1 ||
        !slice_equal_nocase(slice_of(value.at, lower_scheme.bytes), lower_scheme) ||
        value.at[lower_scheme.bytes] != ' ') {
        return false;
    }
    *ret_rest = slice_skip(value, lower_scheme.bytes + 1);
    return true;
}

static enum scheme_verdict verify_token(const struct scheme *scheme, const struct program *program,
                                        const struct http_head *head)
{
    struct slice value, rest;
    enum scheme_verdict verdict =
        find_single(head, program->header, SCHEME_SIGNATURE_MISSING, &value);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    if (program->kind == ROW_TOKEN) {
        if (!slice_starts(value, program->token_prefix)) {
            return SCHEME_SIGNATURE_MALFORMED;
        }
        return match_token(scheme, program, slice_skip(value, program->token_prefix.bytes));
    }
    if (program->kind == ROW_BEARER) {
        return credentials(value, SLICE("bearer"), &rest) ? match_token(scheme, program, rest)
                                                          : SCHEME_SIGNATURE_MALFORMED;
    }
    uint8_t plain[768];
    size_t bytes;
    if (!credentials(value, SLICE("basic"), &rest) ||
        !base64_decode(rest, BASE64_STANDARD, plain, sizeof plain, &bytes)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    verdict = match_token(scheme, program, slice_of(plain, bytes));
    bk_wipe(plain, sizeof plain);
    return verdict;
}

/* ---- handshakes */

static bool is_handshake(const struct handshake *handshake, const struct scheme_request *request)
{
    if (handshake->when.kind != PLACE_HEADER && request->body.bytes > HANDSHAKE_BODY_BYTES_MAX) {
        return false;
    }
    return slice_equal(place_value(&handshake->when, request), handshake->equals);
}

static enum scheme_verdict answer_handshake(const struct handshake *handshake,
                                            const struct scheme_request *request,
                                            struct scheme_answer *ret_answer)
{
    *ret_answer = handshake->reply;
    if (handshake->answer.kind == PLACE_FIELD) {
        struct json_found found;
        json_scan(request->body, &handshake->answer.path, 1, &found);
        /* What is echoed must be the value itself, and an escaped string is not. */
        if (found.kind != JSON_STRING) {
            return SCHEME_BODY_MALFORMED;
        }
        ret_answer->body = found.text;
    } else {
        ret_answer->body = place_value(&handshake->answer, request);
    }
    return SCHEME_HANDSHAKE;
}

const struct program *scheme_select(const struct scheme *scheme, const struct http_head *head)
{
    const struct program *first = &scheme->plan->programs[0];
    bool other = scheme->plan->program_count == 2 && http_find(head, first->select, NULL) == NULL;
    return other ? first + 1 : first;
}

enum scheme_verdict scheme_verify(const struct scheme *scheme, const struct scheme_request *request,
                                  struct scheme_answer *ret_answer)
{
    bk_assert(scheme != NULL && request != NULL && request->head != NULL && ret_answer != NULL);
    for (unsigned i = 0; i < scheme->plan->unsigned_count; i++) {
        if (is_handshake(&scheme->plan->handshakes[i], request)) {
            return answer_handshake(&scheme->plan->handshakes[i], request, ret_answer);
        }
    }
    const struct program *program = scheme_select(scheme, request->head);
    enum scheme_verdict verdict = SCHEME_GENUINE;
    if (program->kind == ROW_HMAC || program->kind == ROW_ED25519) {
        verdict = verify_signature(scheme, program, request);
    } else if (program->kind != ROW_NONE) {
        verdict = verify_token(scheme, program, request->head);
    }
    for (unsigned i = scheme->plan->unsigned_count;
         i < scheme->plan->handshake_count && verdict == SCHEME_GENUINE; i++) {
        if (is_handshake(&scheme->plan->handshakes[i], request)) {
            verdict = answer_handshake(&scheme->plan->handshakes[i], request, ret_answer);
        }
    }
    return verdict;
}

/* ---- identity */

static struct slice first_header(const struct places *places, const struct http_head *head)
{
    for (unsigned i = 0; i < places->count; i++) {
        if (places->at[i].kind == PLACE_HEADER) {
            const struct http_header *header = http_find(head, places->at[i].text, NULL);
            if (header != NULL && header->value_bytes != 0) {
                return http_header_value(head, header);
            }
        }
    }
    return SLICE_EMPTY;
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

void scheme_identify(const struct scheme *scheme, const struct scheme_request *request,
                     struct scheme_identity *ret_identity)
{
    bk_assert(scheme != NULL && request != NULL && ret_identity != NULL);
    struct json_path paths[2 * PLACES_MAX];
    struct json_found found[2 * PLACES_MAX];
    unsigned ids = 0, all;
    ret_identity->delivery_id = first_header(&scheme->plan->id, request->head);
    ret_identity->type = first_header(&scheme->plan->type, request->head);
    if (ret_identity->delivery_id.bytes == 0) {
        ids = add_paths(&scheme->plan->id, paths, 0);
    }
    all = ret_identity->type.bytes == 0 ? add_paths(&scheme->plan->type, paths, ids) : ids;
    if (all == 0) {
        return;
    }
    json_scan(request->body, paths, all, found);
    if (ids != 0) {
        ret_identity->delivery_id = first_found(found, ids);
    }
    if (all != ids) {
        ret_identity->type = first_found(found + ids, all - ids);
    }
}

struct slice scheme_constant_type(const struct scheme *scheme)
{
    return scheme->plan->constant_type;
}

/* ---- the rest */

unsigned scheme_redactions(const struct scheme *scheme, const struct http_head *head,
                           struct scheme_redaction *ret_redactions, unsigned max)
{
    bk_assert(scheme != NULL && head != NULL && (max == 0 || ret_redactions != NULL));
    unsigned count = 0;
    for (unsigned i = 0; i < scheme->plan->secret_name_count; i++) {
        struct slice name = scheme->plan->secret_names[i];
        const struct http_header *header = NULL;
        while (count < max && (header = http_next(head, name, header)) != NULL) {
            if (header->value_bytes == 0) {
                continue;
            }
            unsigned place = count++; /* in the order of the head */
            for (; place > 0 && ret_redactions[place - 1].at > header->value_at; place--) {
                ret_redactions[place] = ret_redactions[place - 1];
            }
            ret_redactions[place] =
                (struct scheme_redaction){header->value_at, header->value_bytes};
        }
    }
    return count;
}

unsigned scheme_methods(const struct scheme *scheme)
{
    return scheme->plan->methods;
}

const struct scheme_answer *scheme_acknowledgement(const struct scheme *scheme)
{
    return scheme->plan->row->acknowledgement;
}

bool scheme_has_delivery_id(const struct scheme *scheme)
{
    return scheme->plan->id.count != 0;
}

const struct scheme_row *scheme_row(const struct scheme *scheme)
{
    return scheme->plan->row;
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
    [SCHEME_BODY_MALFORMED] = {"body_malformed", "the body is not what the handshake needs"},
};

const char *scheme_verdict_text(enum scheme_verdict verdict)
{
    return (unsigned)verdict < SCHEME_VERDICT_COUNT ? verdicts[verdict].text : "unknown";
}

const char *scheme_verdict_name(enum scheme_verdict verdict)
{
    return (unsigned)verdict < SCHEME_VERDICT_COUNT ? verdicts[verdict].name : "unknown";
}
