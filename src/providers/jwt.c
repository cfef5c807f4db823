/* JSON Web Tokens in a header: OIDC tokens of CI systems and clouds, verified with the keys that
 * their issuer publishes, or, where a row says so, signed with the source's own secret.
 *
 * What is trusted is configuration only: issuer, audience and where keys come from are never taken
 * from the token (`jku`, `x5u`, `jwk` and the like are not looked at), and which algorithms there
 * are does not depend on the key. `none` is no algorithm. RFC 7515, RFC 7519, RFC 8725. */
#include "providers/row_code.h"
#include "providers/verify.h"

#include "base/assert.h"
#include "base/ct.h"
#include "base/glob.h"
#include "base/hex.h"
#include "base/json.h"
#include "base/jwk.h"
#include "base/private_key.h"
#include "base/sha256.h"
#include "providers/key_find.h"
#include "providers/text.h"

#include <math.h>
#include <stdio.h>
#include <yyjson.h>

#define TOKEN_BYTES_MAX    8192U
#define HEADER_BYTES_MAX   768U
#define PAYLOAD_BYTES_MAX  6144U
#define TOKEN_SKEW_SECONDS 60
/* What yyjson takes at most for so many bytes. */
#define ROOM(bytes) (12U * (bytes) + 512U)

struct token {
    struct slice signed_part; /* header.payload */
    struct slice header, payload, signature;
};

static bool take_part(struct slice *text, struct slice *ret_part)
{
    *ret_part = slice_of(text->at, slice_find(*text, '.'));
    *text = slice_skip(*text, ret_part->bytes + 1);
    return ret_part->bytes != 0;
}

static bool token_split(struct slice text, struct token *token)
{
    struct slice rest = text;
    unsigned dots = 0;
    for (size_t i = 0; i < text.bytes; i++) {
        dots += text.at[i] == '.';
    }
    /* RFC 7515: base64url without padding; other readers refuse what has some. */
    if (dots != 2 || text.bytes > TOKEN_BYTES_MAX || slice_find(text, '=') != text.bytes ||
        !take_part(&rest, &token->header) || !take_part(&rest, &token->payload)) {
        return false;
    }
    token->signature = rest;
    token->signed_part = slice_of(text.at, token->header.bytes + 1 + token->payload.bytes);
    return rest.bytes != 0;
}

/* ---- JSON without malloc */

struct json_room {
    yyjson_doc *doc;
    yyjson_val *root;
};

/* `text` is base64url of a JSON object. `plain` and `room` must live as long as the result. */
static bool json_open(struct slice text, uint8_t *plain, size_t plain_bytes, void *room,
                      size_t room_bytes, struct json_room *ret_json)
{
    size_t bytes;
    yyjson_alc allocator;
    if (!base64_decode(text, BASE64_URL, plain, plain_bytes, &bytes) ||
        !yyjson_alc_pool_init(&allocator, room, room_bytes)) {
        return false;
    }
    ret_json->doc = yyjson_read_opts((char *)plain, bytes, 0, &allocator, NULL);
    ret_json->root = yyjson_doc_get_root(ret_json->doc);
    return yyjson_is_obj(ret_json->root);
}

/* The member of this name; NULL when it is not there, or there twice: readers would disagree. */
static yyjson_val *member(yyjson_val *object, struct slice name)
{
    size_t index, max;
    yyjson_val *key, *value, *found = NULL;
    unsigned count = 0;
    yyjson_obj_foreach(object, index, max, key, value)
    {
        if (slice_equal(slice_of(yyjson_get_str(key), yyjson_get_len(key)), name)) {
            found = value;
            count++;
        }
    }
    return count == 1 ? found : NULL;
}

/* ---- claims */

/* A claim's value against a pattern: texts, whole numbers and booleans as they are written, lists
 * by any element. */
static bool value_matches(yyjson_val *value, struct slice pattern)
{
    char text[24];
    size_t index, max;
    yyjson_val *item;
    if (yyjson_is_str(value)) {
        return glob_matches(pattern, json_read_text(value));
    }
    if (yyjson_is_bool(value)) {
        return slice_equal(pattern, yyjson_get_bool(value) ? SLICE("true") : SLICE("false"));
    }
    if (yyjson_is_int(value)) {
        snprintf(text, sizeof text, yyjson_is_uint(value) ? "%llu" : "%lld",
                 (unsigned long long)yyjson_get_uint(value));
        return slice_equal(pattern, slice_str(text));
    }
    bool any = false;
    yyjson_arr_foreach(value, index, max, item)
    {
        any |= yyjson_is_str(item) && glob_matches(pattern, json_read_text(item));
    }
    return any;
}

/* A claim by its name, or by /step/step where it lies deeper. */
static yyjson_val *claim(yyjson_val *claims, struct slice name)
{
    if (name.bytes == 0 || name.at[0] != '/') {
        return member(claims, name);
    }
    while (name.bytes != 0 && claims != NULL) {
        name = slice_skip(name, 1);
        struct slice step = slice_of(name.at, slice_find(name, '/'));
        claims = yyjson_is_obj(claims) ? member(claims, step) : NULL;
        name = slice_skip(name, step.bytes);
    }
    return claims;
}

/* name=pattern, one a line. */
static bool claims_match(yyjson_val *claims, struct slice wanted)
{
    while (wanted.bytes != 0) {
        struct slice line = slice_of(wanted.at, slice_find(wanted, '\n'));
        struct slice name = slice_of(line.at, slice_find(line, '='));
        yyjson_val *value = claim(claims, name);
        if (value == NULL || !value_matches(value, slice_skip(line, name.bytes + 1))) {
            return false;
        }
        wanted = slice_skip(wanted, line.bytes + 1);
    }
    return true;
}

static bool is_one_of(struct slice text, struct slice words)
{
    while (words.bytes != 0) {
        struct slice word = slice_of(words.at, slice_find(words, ' '));
        if (word.bytes != 0 && slice_equal(word, text)) {
            return true;
        }
        words = slice_skip(words, word.bytes + 1);
    }
    return false;
}

static bool is_audience(const struct scheme_row *row, yyjson_val *value)
{
    struct slice wanted = slice_str(row->audience);
    return yyjson_is_str(value) && (row->one_audience ? slice_equal(json_read_text(value), wanted)
                                                      : is_one_of(json_read_text(value), wanted));
}

static bool audience_matches(const struct scheme_row *row, yyjson_val *claims)
{
    yyjson_val *value = member(claims, SLICE("aud")), *item;
    size_t index, max;
    bool any = is_audience(row, value);
    yyjson_arr_foreach(value, index, max, item)
    {
        any |= is_audience(row, item);
    }
    return any;
}

/* Seconds since 1970, perhaps with a fraction. False: there, but no time. */
static bool time_of(yyjson_val *claims, struct slice name, bool *ret_there, double *ret_seconds)
{
    yyjson_val *value = yyjson_obj_getn(claims, (const char *)name.at, name.bytes);
    *ret_there = value != NULL;
    if (value == NULL) {
        return true;
    }
    *ret_seconds = yyjson_get_num(value);
    return member(claims, name) == value && yyjson_is_num(value) && isfinite(*ret_seconds) &&
           *ret_seconds >= 0;
}

static enum scheme_verdict check_times(const struct scheme *scheme, const struct program *program,
                                       yyjson_val *claims, int64_t now_seconds)
{
    bool has_end, has_start, has_issue, ages = program->row->ages;
    double end = 0, start = 0, issue = 0;
    double now = (double)now_seconds;
    double skew = (double)scheme_tolerance_seconds(scheme, program);
    if (!time_of(claims, SLICE("exp"), &has_end, &end) ||
        !time_of(claims, SLICE("nbf"), &has_start, &start) ||
        !time_of(claims, SLICE("iat"), &has_issue, &issue)) {
        return SCHEME_TIMESTAMP_MALFORMED;
    }
    if (ages ? !has_issue : !has_end && !program->row->hs256) {
        return SCHEME_TIMESTAMP_MISSING;
    }
    if ((has_end && now >= end + skew) || (ages && now > issue + skew)) {
        return SCHEME_TOKEN_EXPIRED;
    }
    bool early = (has_start && now < start - skew) || (has_issue && now < issue - skew);
    return early ? SCHEME_TOKEN_EARLY : SCHEME_GENUINE;
}

static bool body_is_claimed(const struct scheme_row *row, yyjson_val *claims, struct slice body)
{
    uint8_t digest[SHA256_BYTES], given[SHA256_BYTES];
    struct slice text = json_read_text(member(claims, slice_str(row->body_claim)));
    size_t bytes = sizeof given;
    enum base64_alphabet alphabet = row->body_claim_url ? BASE64_URL : BASE64_STANDARD;
    bool good = row->body_claim_base64 ? base64_decode(text, alphabet, given, sizeof given, &bytes)
                                       : hex_decode(text, given, sizeof given);
    sha256(body, digest);
    return good && bytes == sizeof given && memcmp(given, digest, sizeof digest) == 0;
}

/* A server that does not know its public URL knows nobody's token as its own. */
static bool url_is_claimed(const struct scheme_row *row, yyjson_val *claims,
                           const struct scheme_request *request)
{
    struct slice text = json_read_text(member(claims, slice_str(row->url_claim))), url[2];
    return text_url(request, url) && text.bytes != 0 && slice_starts(text, url[0]) &&
           slice_equal(slice_skip(text, url[0].bytes), url[1]);
}

/* All but the times. */
static enum scheme_verdict check_claims(const struct scheme_row *row, yyjson_val *claims,
                                        const struct scheme_request *request)
{
    if (row->audience != NULL && !audience_matches(row, claims)) {
        return SCHEME_CLAIM_WRONG;
    }
    if (row->claims != NULL && !claims_match(claims, slice_str(row->claims))) {
        return SCHEME_CLAIM_WRONG;
    }
    if (row->url_claim != NULL && !url_is_claimed(row, claims, request)) {
        return SCHEME_CLAIM_WRONG;
    }
    if (row->body_claim != NULL && !body_is_claimed(row, claims, request->body)) {
        return SCHEME_DIGEST_WRONG;
    }
    return SCHEME_GENUINE;
}

/* ---- signatures */

static enum scheme_verdict check_mac(const struct scheme *scheme, const struct program *program,
                                     const struct token *token, struct slice signature)
{
    bool found = false;
    for (unsigned k = 0; k < scheme->key_count; k++) {
        struct hmac_sha256_key key;
        uint8_t mac[SHA256_BYTES];
        hmac_sha256_key_init(&key, scheme_key(scheme, program, k)->token);
        hmac_sha256(&key, &token->signed_part, 1, mac);
        found |= bk_ct_equal_slice(slice_of(mac, sizeof mac), signature);
        bk_wipe(&key, sizeof key);
    }
    return found ? SCHEME_GENUINE : SCHEME_SIGNATURE_WRONG;
}

/* Configured keys have no names, so each is tried. */
static enum scheme_verdict check_own_keys(const struct scheme *scheme,
                                          const struct program *program, const struct token *token,
                                          struct slice signature)
{
    bool found = false;
    for (unsigned k = 0; k < scheme->key_count && !found; k++) {
        found = public_key_verify(&scheme_key(scheme, program, k)->public_key,
                                  program->row->signature, &token->signed_part, 1, signature);
    }
    return found ? SCHEME_GENUINE : SCHEME_SIGNATURE_WRONG;
}

static enum scheme_verdict check_signature(const struct scheme *scheme,
                                           const struct program *program,
                                           const struct scheme_request *request,
                                           const struct token *token, yyjson_val *header)
{
    const struct scheme_row *row = program->row;
    struct slice name = json_read_text(member(header, SLICE("alg")));
    struct slice kid = json_read_text(member(header, SLICE("kid")));
    uint8_t bytes[SIGNATURE_BYTES_MAX];
    size_t count;
    /* `crit` names what must be understood, and we understand nothing of that kind. */
    if (yyjson_obj_get(header, "crit") != NULL || kid.bytes > JWK_KID_BYTES_MAX ||
        (kid.bytes == 0 && yyjson_obj_get(header, "kid") != NULL) ||
        !base64_decode(token->signature, BASE64_URL, bytes, sizeof bytes, &count)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    struct slice signature = slice_of(bytes, count);
    if (row->hs256) {
        return slice_equal(name, SLICE("HS256")) ? check_mac(scheme, program, token, signature)
                                                 : SCHEME_SIGNATURE_MALFORMED;
    }
    struct key_want want = {.form = row->jwks_url != NULL ? KEY_SET : KEY_ISSUER,
                            .url = slice_str(row->jwks_url != NULL ? row->jwks_url : row->issuer),
                            .kid = kid,
                            .allow_private = row->allow_private,
                            .now_seconds = request->now_seconds};
    if (!jwk_algorithm(name, &want.algorithm)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    if (row->secret == SECRET_PUBLIC_KEY) {
        return want.algorithm == row->signature ? check_own_keys(scheme, program, token, signature)
                                                : SCHEME_SIGNATURE_MALFORMED;
    }
    const struct public_key *key;
    enum scheme_verdict verdict = key_find(request, &want, &key);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    return public_key_verify(key, want.algorithm, &token->signed_part, 1, signature)
               ? SCHEME_GENUINE
               : SCHEME_SIGNATURE_WRONG;
}

static enum scheme_verdict check_token(const struct scheme *scheme, const struct program *program,
                                       const struct scheme_request *request,
                                       const struct token *token)
{
    uint8_t header_at[HEADER_BYTES_MAX], payload_at[PAYLOAD_BYTES_MAX];
    _Alignas(16) uint8_t header_room[ROOM(HEADER_BYTES_MAX)], room[ROOM(PAYLOAD_BYTES_MAX)];
    struct json_room header, payload;
    const struct scheme_row *row = program->row;
    if (!json_open(token->header, header_at, sizeof header_at, header_room, sizeof header_room,
                   &header) ||
        !json_open(token->payload, payload_at, sizeof payload_at, room, sizeof room, &payload)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    /* Before a key is looked for: another issuer's token is none of ours. */
    if (row->issuer != NULL &&
        !slice_equal(json_read_text(member(payload.root, SLICE("iss"))), slice_str(row->issuer))) {
        return SCHEME_CLAIM_WRONG;
    }
    enum scheme_verdict verdict = check_signature(scheme, program, request, token, header.root);
    if (verdict == SCHEME_GENUINE) {
        verdict = check_claims(row, payload.root, request);
    }
    return verdict == SCHEME_GENUINE
               ? check_times(scheme, program, payload.root, request->now_seconds)
               : verdict;
}

enum scheme_verdict jwt_verify(const struct scheme *scheme, const struct program *program,
                               const struct scheme_request *request,
                               struct scheme_answer *ret_answer)
{
    struct slice value, text;
    struct token token;
    (void)ret_answer;
    enum scheme_verdict verdict =
        place_read_other(&program->signature, request, SCHEME_SIGNATURE_MISSING, &value);
    if (verdict != SCHEME_GENUINE) {
        return verdict;
    }
    /* The row's format is the word before the token, Bearer where the header is Authorization and
     * the row does not say that there is none (""). */
    const char *word = program->row->format;
    text = value;
    if (word == NULL && slice_equal(program->signature.text, SLICE("authorization"))) {
        word = "bearer";
    }
    if ((word != NULL && *word != 0 && !scheme_credentials(value, slice_str(word), &text)) ||
        !token_split(text, &token)) {
        return SCHEME_SIGNATURE_MALFORMED;
    }
    return check_token(scheme, program, request, &token);
}

enum scheme_verdict jwt_check(const struct scheme_row *row, const struct scheme_request *request,
                              struct slice text)
{
    static const struct scheme scheme = {.tolerance_seconds = TOKEN_SKEW_SECONDS};
    struct program program = {.row = row};
    struct token token;
    bk_assert(row->issuer != NULL && row->audience != NULL && !row->hs256);
    return token_split(text, &token) ? check_token(&scheme, &program, request, &token)
                                     : SCHEME_SIGNATURE_MALFORMED;
}

/* ---- the other direction */

static void add_claim(struct buf *json, struct slice name, struct slice value)
{
    buf_add_str(json, json->bytes > 1 ? "," : "");
    json_add_string(json, name);
    buf_add_byte(json, ':');
    json_add_string(json, value);
}

/* What the row wants to see; a pattern's stars stand for nothing. False: it wants what is not
 * written here. */
static bool add_claims(struct buf *json, struct slice wanted)
{
    char value[256];
    while (wanted.bytes != 0) {
        struct slice line = slice_of(wanted.at, slice_find(wanted, '\n'));
        struct slice name = slice_of(line.at, slice_find(line, '='));
        struct slice pattern = slice_skip(line, name.bytes + 1);
        size_t bytes = 0;
        if (name.bytes == 0 || name.at[0] == '/' || pattern.bytes > sizeof value) {
            return false;
        }
        for (size_t i = 0; i < pattern.bytes; i++) {
            value[bytes] = (char)pattern.at[i];
            bytes += pattern.at[i] != '*';
        }
        add_claim(json, name, slice_of(value, bytes));
        wanted = slice_skip(wanted, line.bytes + 1);
    }
    return true;
}

static bool add_payload(const struct scheme_row *row, const struct scheme_send *send,
                        struct slice body, struct buf *json)
{
    buf_add_byte(json, '{');
    if (row->issuer != NULL) {
        add_claim(json, SLICE("iss"), slice_str(row->issuer));
    }
    if (row->audience != NULL) {
        struct slice words = slice_str(row->audience);
        add_claim(json, SLICE("aud"), slice_of(words.at, slice_find(words, ' ')));
    }
    if (row->url_claim != NULL) {
        add_claim(json, slice_str(row->url_claim), send->url);
    }
    if (row->body_claim != NULL) {
        uint8_t digest[SHA256_BYTES];
        char text[2 * SHA256_BYTES];
        size_t bytes = sizeof text;
        sha256(body, digest);
        if (row->body_claim_base64) {
            bytes = base64_encode(digest, sizeof digest,
                                  row->body_claim_url ? BASE64_URL : BASE64_STANDARD, text);
        } else {
            hex_encode(digest, sizeof digest, text);
        }
        add_claim(json, slice_str(row->body_claim), slice_of(text, bytes));
    }
    bool good = row->claims == NULL || add_claims(json, slice_str(row->claims));
    buf_printf(json, "%s\"iat\":%lld,\"exp\":%lld}", json->bytes > 1 ? "," : "",
               (long long)send->now_seconds, (long long)send->now_seconds + 300);
    return good;
}

static void add_encoded(struct buf *token, struct slice part)
{
    char text[BASE64_ENCODED(PAYLOAD_BYTES_MAX)];
    size_t bytes = part.bytes < PAYLOAD_BYTES_MAX ? part.bytes : PAYLOAD_BYTES_MAX;
    buf_add(token, text, base64_encode(part.at, bytes, BASE64_URL, text));
}

static enum signature_algorithm own_algorithm(const struct private_key *key, const char **ret_name)
{
    switch (key->kind) {
    case PUBLIC_KEY_RSA:
        *ret_name = "RS256";
        return SIGNATURE_RSA_SHA256;
    case PUBLIC_KEY_P256:
        *ret_name = "ES256";
        return SIGNATURE_P256_RAW;
    default:
        *ret_name = "EdDSA";
        return SIGNATURE_ED25519;
    }
}

enum bk_err jwt_sign(const struct scheme *scheme, const struct program *program,
                     const struct scheme_send *send, struct slice body, struct buf *ret_value)
{
    const struct scheme_row *row = program->row;
    const char *name = "HS256";
    enum signature_algorithm algorithm = SIGNATURE_RSA_SHA256;
    uint8_t signature[SIGNATURE_BYTES_MAX];
    struct buf token, part;
    size_t bytes = 0;
    if (row->hs256 ? scheme->key_count == 0 : send->private_key == NULL) {
        return BK_UNSUPPORTED;
    }
    if (!row->hs256) {
        algorithm = own_algorithm(send->private_key, &name);
    }
    buf_init(&token, TOKEN_BYTES_MAX);
    buf_init(&part, PAYLOAD_BYTES_MAX);
    buf_printf(&part, "{\"alg\":\"%s\",\"typ\":\"JWT\"", name);
    if (send->key_id.bytes != 0) {
        add_claim(&part, SLICE("kid"), send->key_id);
    }
    buf_add_byte(&part, '}');
    add_encoded(&token, buf_slice(&part));
    buf_add_byte(&token, '.');
    part.bytes = 0;
    bool good = add_payload(row, send, body, &part);
    add_encoded(&token, buf_slice(&part));
    if (row->hs256) {
        struct hmac_sha256_key key;
        struct slice text = buf_slice(&token);
        hmac_sha256_key_init(&key, scheme_key(scheme, program, 0)->token);
        hmac_sha256(&key, &text, 1, signature);
        bk_wipe(&key, sizeof key);
        bytes = SHA256_BYTES;
    } else {
        bytes = private_key_sign(send->private_key, algorithm, buf_slice(&token), signature);
    }
    buf_add_byte(&token, '.');
    add_encoded(&token, slice_of(signature, bytes));
    good = good && bytes != 0 && !token.overflow && !part.overflow;
    if (good) {
        bool bearer = slice_equal(program->signature.text, SLICE("authorization"));
        const char *word = row->format != NULL ? row->format : bearer ? "Bearer" : "";
        buf_printf(ret_value, "%s%s", word, *word ? " " : "");
        buf_add_slice(ret_value, buf_slice(&token));
    }
    buf_fini(&token);
    buf_fini(&part);
    return good ? BK_OK : BK_UNSUPPORTED;
}
