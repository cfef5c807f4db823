/* Secrets that are sent as they are: tokens, Basic, Bearer. */
#include "providers/handshake.h"
#include "providers/text.h"
#include "providers/verify.h"

#include "base/ct.h"

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
        place_read(IN_ANY, &program->signature, request, SCHEME_SIGNATURE_MISSING, &value);
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

enum scheme_verdict verify_secret(const struct scheme *scheme, struct scheme_request *request,
                                  struct scheme_answer *ret_answer, const struct program *program)
{
    scratch_reset();
    enum scheme_verdict verdict =
        program->kind == ROW_CODE   ? program->row->verify(scheme, program, request, ret_answer)
        : program->kind != ROW_NONE ? verify_token(scheme, program, request)
                                    : SCHEME_GENUINE;
    return verdict == SCHEME_GENUINE && scheme->plan->signed_handshakes
               ? signed_handshakes(scheme, request, ret_answer)
               : verdict;
}
