/* The pieces of a signed text that are neither the same for all requests nor a place of the
 * request. */
#include "providers/text.h"
#include "providers/verify.h"

#include "base/assert.h"
#include "base/hex.h"

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
        return place_read(IN_ANY, &program->op_places[op->place], request, SCHEME_GENUINE,
                          ret_part);
    case OP_FORM:
        return computed(text_form_sorted(request->body, ret_part));
    case OP_FORM_FIELD:
        return computed(text_form_alone(request->body, op->text, ret_part));
    case OP_BODY_SHA256:
        return computed(body_sha256(request->body, ret_part));
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
    case OP_SECRET:
    case OP_URL_REST:
        return SCHEME_GENUINE;
    }
    bk_never("unknown op");
}

enum scheme_verdict signed_text_make(const struct program *program,
                                     const struct scheme_request *request,
                                     struct slice parts[OPS_MAX])
{
    enum scheme_verdict verdict = SCHEME_GENUINE;
    for (unsigned rest = program->made; rest != 0 && verdict == SCHEME_GENUINE; rest &= rest - 1) {
        unsigned i = (unsigned)__builtin_ctz(rest);
        verdict = make_text(program, &program->ops[i], request, parts, &parts[i]);
    }
    return verdict;
}
