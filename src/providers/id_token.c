#include "providers/id_token.h"

#include "base/base64.h"
#include "base/ct.h"
#include "providers/row_code.h"

#include <stdlib.h>
#include <yyjson.h>

#define TOKEN_BYTES_MAX 8192U

static const char *words_of(enum scheme_verdict verdict)
{
    switch ((int)verdict) {
    case SCHEME_SIGNATURE_WRONG:
        return "the ID token's signature is wrong";
    case SCHEME_CLAIM_WRONG:
        return "the ID token is another issuer's, or for another client";
    case SCHEME_TIMESTAMP_MISSING:
    case SCHEME_TIMESTAMP_MALFORMED:
        return "the ID token does not say until when it is good";
    case SCHEME_TOKEN_EXPIRED:
        return "the ID token is too old";
    case SCHEME_TOKEN_EARLY:
        return "the ID token is from the future: is the clock right?";
    case SCHEME_KEY_WANTED:
        return "the issuer's keys are being fetched";
    case SCHEME_KEY_UNAVAILABLE:
        return "the issuer's keys cannot be fetched";
    case SCHEME_KEY_UNKNOWN:
        return "the issuer publishes no such key as the ID token is signed with";
    default:
        return "the ID token is malformed, or signed in a way that is not taken";
    }
}

/* The claims, of a token whose form was checked. */
static yyjson_mut_val *claims_of(struct slice token, struct json_tree *tree)
{
    struct json_problem problem;
    struct slice rest = slice_skip(token, slice_find(token, '.') + 1);
    struct slice payload = slice_of(rest.at, slice_find(rest, '.'));
    size_t bytes;
    uint8_t *text = arena_take(&tree->arena, BASE64_DECODED_MAX(payload.bytes) + 1);
    return text &&
                   base64_decode(payload, BASE64_URL, text, BASE64_DECODED_MAX(payload.bytes),
                                 &bytes) &&
                   json_parse(slice_of(text, bytes), tree, &problem) == BK_OK
               ? tree->roots[0]
               : NULL;
}

/* Of several audiences, or where it is told: it was made for this client (3.1.3.7, 3 to 5). */
static bool is_for(yyjson_mut_val *claims, struct slice client_id)
{
    yyjson_mut_val *party = yyjson_mut_obj_get(claims, "azp");
    yyjson_mut_val *audience = yyjson_mut_obj_get(claims, "aud");
    if (party) {
        return slice_equal(json_text(party), client_id);
    }
    return !yyjson_mut_is_arr(audience) || yyjson_mut_arr_size(audience) == 1;
}

static const char *wrong_of(yyjson_mut_val *claims, const struct id_token_rules *rules)
{
    struct slice nonce = json_text(yyjson_mut_obj_get(claims, "nonce"));
    if (!is_for(claims, slice_str(rules->client_id))) {
        return "the ID token was made for another client";
    }
    if (rules->nonce.bytes == 0 || !bk_ct_equal_slice(nonce, rules->nonce)) {
        return "the ID token is not of this sign-in: its nonce is another one";
    }
    if (!yyjson_mut_is_num(yyjson_mut_obj_get(claims, "iat"))) {
        return "the ID token does not say when it was made";
    }
    if (json_text(yyjson_mut_obj_get(claims, "sub")).bytes == 0) {
        return "the ID token does not say who signed in";
    }
    return NULL;
}

enum scheme_verdict id_token_check(struct slice token, const struct id_token_rules *rules,
                                   struct json_tree *tree, yyjson_mut_val **ret_claims,
                                   const char **ret_why)
{
    struct scheme_row row = {.issuer = rules->issuer,
                             .audience = rules->client_id,
                             .one_audience = true,
                             .allow_private = rules->allow_private};
    struct scheme_request request = {.now_seconds = rules->now_seconds, .keys = rules->keys};
    enum scheme_verdict verdict = jwt_check(&row, &request, token);
    if (verdict != SCHEME_GENUINE) {
        *ret_why = words_of(verdict);
        return verdict;
    }
    yyjson_mut_val *claims = claims_of(token, tree);
    *ret_why = yyjson_mut_is_obj(claims) ? wrong_of(claims, rules) : words_of(SCHEME_VERDICT_COUNT);
    if (*ret_why) {
        return SCHEME_CLAIM_WRONG;
    }
    *ret_claims = claims;
    return SCHEME_GENUINE;
}
