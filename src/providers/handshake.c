/* Handshakes: requests that set a hook up, as rows describe them. */
#include "providers/handshake.h"
#include "providers/text.h"
#include "providers/verify.h"

#include "base/assert.h"
#include "base/ct.h"
#include "base/hex.h"

/* Does it give a stranger what our secret makes of words of his? The place of these words, or
 * NULL. A provider that signs bodies with the same secret (X) has made that the signature of a
 * body. So such words must be what no event is (nonce_is), no event is what such words may be, and
 * for a source of type auto, whose secrets are other providers', too, there is no such answer. */
static const struct place *oracle_of(const struct handshake *handshake)
{
    for (unsigned i = 0; handshake->row->is_unsigned && i < handshake->answer.count; i++) {
        const struct piece *piece = &handshake->answer.at[i];
        if (piece->kind == PIECE_HMAC_HEX || piece->kind == PIECE_HMAC_BASE64) {
            return &piece->place;
        }
    }
    return NULL;
}

#define NONCE_BYTES_MAX 256U

/* Neither JSON nor a form. */
static bool nonce_is(struct slice text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        if (!ascii_is_alphanumeric(text.at[i]) && !memchr("-._~+/=", text.at[i], 7)) {
            return false;
        }
    }
    return text.bytes > 0 && text.bytes <= NONCE_BYTES_MAX;
}

/* Could what is signed with this body be such words? Of nothing, if words are signed before it. */
static bool words_sign(const struct scheme *scheme, struct slice body)
{
    return nonce_is(body) || (body.bytes == 0 && scheme->plan->programs[0].op_count > 1);
}

static bool handshake_is(const struct scheme *scheme, const struct handshake *handshake,
                         const struct scheme_request *request)
{
    const struct row_handshake *row = handshake->row;
    if (scheme->of_auto && oracle_of(handshake) != NULL) {
        return false;
    }
    if (row->methods != 0 && !(row->methods >> request->head->method & 1)) {
        return false;
    }
    if (row->learn != NULL && scheme->key_count != 0) {
        return false;
    }
    if (handshake->when.kind == PLACE_NONE) {
        return true;
    }
    if (handshake->when.kind != PLACE_HEADER && request->body.bytes > HANDSHAKE_BODY_BYTES_MAX) {
        return false;
    }
    struct slice found = place_value(&handshake->when, request);
    return handshake->has_equals ? slice_equal(found, handshake->equals) : found.bytes != 0;
}

/* Text of a place, ready to be put into an answer of that form. */
static bool text_of(const struct place *place, const struct scheme_request *request, bool json,
                    struct slice *ret_text)
{
    if (place->kind == PLACE_FIELD) {
        struct json_found found;
        json_scan(request->body, &place->path, 1, &found);
        /* What is echoed must be the value itself, and an escaped string is not. */
        *ret_text = found.text;
        return found.kind == JSON_STRING;
    }
    *ret_text = place_value(place, request);
    if (place->kind == PLACE_FORM && !text_form_decode(*ret_text, ret_text)) {
        return false;
    }
    return !json || text_json_escape(*ret_text, ret_text);
}

/* With the first secret that is a key for MACs. */
static bool mac_of(const struct scheme *scheme, struct slice text, bool hex, struct slice *ret_text)
{
    const struct program *program = &scheme->plan->programs[0];
    uint8_t mac[HMAC_BYTES_MAX];
    uint8_t *out = scratch_take(2 * HMAC_BYTES_MAX);
    for (unsigned k = 0; k < scheme->key_count && program->kind == ROW_HMAC && out != NULL; k++) {
        const struct key *key = scheme_key(scheme, program, k);
        if (key->lane != LANE_MAC) {
            continue;
        }
        size_t bytes = key_mac(program, key, &text, 1, mac);
        if (hex) {
            hex_encode(mac, bytes, (char *)out);
            *ret_text = slice_of(out, 2 * bytes);
        } else {
            *ret_text = slice_of(out, base64_encode(mac, bytes, BASE64_STANDARD, (char *)out));
        }
        return true;
    }
    return false;
}

static bool rate_of(const struct scheme *scheme, struct slice *ret_text)
{
    const struct extra *extra = scheme_extra(scheme);
    uint32_t rate = extra != NULL ? extra->rate_per_minute : 0;
    uint8_t *out = scratch_take(10);
    size_t at = 10;
    *ret_text = SLICE("*");
    if (rate == 0 || out == NULL) {
        return out != NULL;
    }
    for (; rate != 0; rate /= 10) {
        out[--at] = (uint8_t)('0' + rate % 10);
    }
    *ret_text = slice_of(out + at, 10 - at);
    return true;
}

static bool piece_text(const struct scheme *scheme, const struct piece *piece,
                       const struct scheme_request *request, bool json, struct slice *ret_text)
{
    switch (piece->kind) {
    case PIECE_TEXT:
        *ret_text = piece->text;
        return true;
    case PIECE_PLACE:
        return text_of(&piece->place, request, json, ret_text);
    case PIECE_HMAC_HEX:
    case PIECE_HMAC_BASE64:
        return text_of(&piece->place, request, false, ret_text) &&
               mac_of(scheme, *ret_text, piece->kind == PIECE_HMAC_HEX, ret_text);
    case PIECE_RATE:
        return rate_of(scheme, ret_text);
    }
    bk_never("unknown piece");
}

static bool fill(const struct scheme *scheme, const struct pieces *pieces,
                 const struct scheme_request *request, bool json, struct slice *ret_text)
{
    struct slice texts[PIECES_MAX];
    size_t bytes = 0;
    for (unsigned i = 0; i < pieces->count; i++) {
        if (!piece_text(scheme, &pieces->at[i], request, json, &texts[i])) {
            return false;
        }
        bytes += texts[i].bytes;
    }
    if (pieces->count == 1) {
        *ret_text = texts[0];
        return true;
    }
    uint8_t *out = scratch_take(bytes);
    if (out == NULL) {
        return false;
    }
    *ret_text = slice_of(out, bytes);
    for (unsigned i = 0; i < pieces->count; i++) {
        if (texts[i].bytes != 0) {
            memcpy(out, texts[i].at, texts[i].bytes);
            out += texts[i].bytes;
        }
    }
    return true;
}

/* What comes decoded into a header must not end its line. */
static bool is_header_text(struct slice lines)
{
    for (size_t i = 0; i < lines.bytes; i++) {
        bool ends = lines.at[i] == '\r' && i + 1 < lines.bytes && lines.at[i + 1] == '\n';
        i += ends;
        if (!ends && (lines.at[i] < ' ' || lines.at[i] == 127) && lines.at[i] != '\t') {
            return false;
        }
    }
    return true;
}

static bool is_origin(const struct scheme *scheme, struct slice origin)
{
    const struct extra *extra = scheme_extra(scheme);
    bool allowed = extra == NULL || extra->origin_count == 0;
    for (unsigned i = 0; extra != NULL && i < extra->origin_count; i++) {
        allowed |= slice_equal_nocase(extra->origins[i], origin) ||
                   slice_equal(extra->origins[i], SLICE("*"));
    }
    return allowed;
}

/* What must hold besides. */
static bool is_granted(const struct scheme *scheme, const struct handshake *handshake,
                       const struct scheme_request *request)
{
    const struct row_handshake *row = handshake->row;
    const struct extra *extra = scheme_extra(scheme);
    if (row->must_be_origin && !is_origin(scheme, place_value(&handshake->when, request))) {
        return false;
    }
    if (handshake->must.kind == PLACE_NONE) {
        return true;
    }
    struct slice found;
    if (!text_form_decode(place_value(&handshake->must, request), &found)) {
        return false;
    }
    if (row->must_equal != NULL) {
        return slice_equal(found, handshake->must_equal);
    }
    return extra != NULL && extra->verify_token.bytes != 0 &&
           bk_ct_equal_slice(found, extra->verify_token);
}

static enum scheme_verdict handshake_answer(const struct scheme *scheme,
                                            const struct handshake *handshake,
                                            const struct scheme_request *request,
                                            struct scheme_answer *ret_answer)
{
    *ret_answer = handshake->reply;
    if (!is_granted(scheme, handshake, request)) {
        ret_answer->status = handshake->row->refusal != 0 ? handshake->row->refusal : (uint16_t)403;
        ret_answer->content_type = NULL;
        return SCHEME_HANDSHAKE_REFUSED;
    }
    const struct place *words = oracle_of(handshake);
    struct slice text;
    if (words != NULL && (!text_of(words, request, false, &text) || !nonce_is(text))) {
        return SCHEME_BODY_MALFORMED;
    }
    bool json = handshake->reply.content_type != NULL &&
                strcmp(handshake->reply.content_type, "application/json") == 0;
    if (!fill(scheme, &handshake->answer, request, json, &ret_answer->body) ||
        !fill(scheme, &handshake->headers, request, false, &ret_answer->headers) ||
        !is_header_text(ret_answer->headers)) {
        return SCHEME_BODY_MALFORMED;
    }
    if (handshake->learn.kind != PLACE_NONE &&
        (!text_of(&handshake->learn, request, false, &ret_answer->learned) ||
         ret_answer->learned.bytes == 0)) {
        return SCHEME_BODY_MALFORMED;
    }
    return SCHEME_HANDSHAKE;
}

enum scheme_verdict handshake_find(const struct scheme *scheme, unsigned from, unsigned to,
                                   const struct scheme_request *request,
                                   struct scheme_answer *ret_answer)
{
    scratch_reset();
    for (unsigned i = from; i < to; i++) {
        if (handshake_is(scheme, &scheme->plan->handshakes[i], request)) {
            return handshake_answer(scheme, &scheme->plan->handshakes[i], request, ret_answer);
        }
        if (oracle_of(&scheme->plan->handshakes[i]) != NULL && words_sign(scheme, request->body)) {
            return SCHEME_BODY_MALFORMED;
        }
    }
    return SCHEME_GENUINE;
}
