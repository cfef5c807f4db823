/* A compiled scheme over a request: which scheme, which of its ways of signing, the verdict. No
 * parsing of rows happens here. */
#include "providers/batch.h"
#include "providers/handshake.h"
#include "providers/verify.h"

#include "base/assert.h"
#include "base/ct.h"

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

static inline bool selects(const struct program *program, const struct scheme_request *request)
{
    const struct place *select = &program->select;
    struct slice want = program->select_equals;
    if (select->slot != 0 && want.bytes == 0) {
        return request->slots.at[select->slot] != 0;
    }
    if (select->kind == PLACE_HEADER && want.bytes == 0) {
        return http_find(request->head, select->text, NULL) != NULL;
    }
    struct slice found =
        select->slot != 0 ? slot_value(request, select->slot) : place_known_value(select, request);
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
    while (!program->last && !selects(program, request)) {
        program++;
    }
    return program;
}

const struct program *scheme_select(const struct scheme *scheme,
                                    const struct scheme_request *request)
{
    return select_program(scheme, request);
}

/* The ways of signing behind `program`, as long as each that is there is wrong. */
RARE static enum scheme_verdict verify_otherwise(const struct scheme *scheme,
                                                 const struct scheme_request *request,
                                                 struct scheme_answer *ret_answer,
                                                 const struct program *program)
{
    enum scheme_verdict verdict = SCHEME_SIGNATURE_WRONG;
    while (verdict == SCHEME_SIGNATURE_WRONG && !program->last && program->row->tries_otherwise) {
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
    if (plan->unsigned_count != 0 && (!plan->unsigned_forms || handshake_has_form(request))) {
        enum scheme_verdict verdict =
            handshake_find(scheme, 0, plan->unsigned_count, request, ret_answer);
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

/* The only way of signing, unless there is a form with a handshake in it. */
__attribute__((noinline)) static enum scheme_verdict verify_formless(
    const struct scheme *scheme, const struct scheme_request *request,
    struct scheme_answer *ret_answer)
{
    const struct program *only = scheme->plan->only;
    return handshake_has_form(request) ? verify_all(scheme, request, ret_answer)
                                       : only->verify(scheme, request, ret_answer, only);
}

/* A request that is not prepared, and stays so. */
RARE static enum scheme_verdict verify_copy(const struct scheme *scheme,
                                            const struct scheme_request *request,
                                            struct scheme_answer *ret_answer)
{
    struct scheme_request copy = *request;
    bk_assert(request->head != NULL);
    scheme_prepare(scheme, &copy);
    scheme = copy.slots.scheme;
    if (scheme == NULL) {
        return SCHEME_TYPE_UNKNOWN;
    }
    fields_find(&scheme->plan->fields, scheme->plan->signed_fields, &copy);
    return verify_all(scheme, &copy, ret_answer);
}

/* There is something to do before the signature is looked at. */
__attribute__((noinline)) static enum scheme_verdict verify_longer(const struct scheme *scheme,
                                                                   struct scheme_request *request,
                                                                   struct scheme_answer *ret_answer)
{
    const struct scheme *prepared = request->slots.scheme;
    if (scheme->extra_at != 0 && !extra_allows(scheme, request)) {
        return SCHEME_ADDRESS_REFUSED;
    }
    if (prepared == NULL) {
        return verify_copy(scheme, request, ret_answer);
    }
    if (prepared->plan->signed_fields > request->slots.field_count) {
        fields_find(&prepared->plan->fields, prepared->plan->signed_fields, request);
    }
    return verify_all(prepared, request, ret_answer);
}

enum scheme_verdict scheme_verify(const struct scheme *scheme, struct scheme_request *request,
                                  struct scheme_answer *ret_answer)
{
    const struct scheme *prepared = request->slots.scheme;
    if (prepared != NULL && scheme->extra_at == 0) {
        const struct program *only = prepared->plan->only;
        if (only != NULL && request->slots.at[prepared->plan->only_slot] != 0) {
            return prepared->plan->unsigned_forms
                       ? verify_formless(prepared, request, ret_answer)
                       : only->verify(prepared, request, ret_answer, only);
        }
    }
    return verify_longer(scheme, request, ret_answer);
}

/* ---- what is known of a scheme */

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
