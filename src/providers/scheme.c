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
    }
}

/* By what is there, not only by whether something is. */
__attribute__((noinline)) static bool selects_text(const struct program *program,
                                                   const struct scheme_request *request)
{
    const struct place *select = &program->select;
    struct slice want = program->select_equals;
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

static inline bool selects(const struct program *program, const struct scheme_request *request)
{
    size_t field = program->select.field;
    if (program->select_slot != 0) {
        return request->slots.at[program->select_slot] != 0;
    }
    return field != 0 && field <= request->slots.field_count && program->select_equals.bytes == 0
               ? request->slots.fields[field].text.bytes != 0
               : selects_text(program, request);
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

/* This way of signing and those behind it, as long as each that is there is wrong. */
RARE static enum scheme_verdict verify_tried(const struct scheme *scheme,
                                             struct scheme_request *request,
                                             struct scheme_answer *ret_answer,
                                             const struct program *program)
{
    enum scheme_verdict verdict = program->verify(scheme, request, ret_answer, program);
    while (verdict == SCHEME_SIGNATURE_WRONG && !program->last && program->row->tries_otherwise) {
        program++;
        if (selects(program, request)) {
            verdict = program->verify(scheme, request, ret_answer, program);
        }
    }
    return verdict;
}

/* ---- what there is to do, of a prepared request: plan->verify */

/* Of its fields those that take part in signatures. */
static inline void find_signed(const struct scheme_plan *plan, struct scheme_request *request)
{
    if (plan->signed_fields > request->slots.field_count) {
        fields_find(&plan->fields, plan->signed_fields, request);
    }
}

/* There may be several ways of signing, and fields of the body in them. */
static enum scheme_verdict verify_chosen(const struct scheme *scheme,
                                         struct scheme_request *request,
                                         struct scheme_answer *ret_answer)
{
    find_signed(scheme->plan, request);
    const struct program *program = select_program(scheme, request);
    return program->tries_otherwise ? verify_tried(scheme, request, ret_answer, program)
                                    : program->verify(scheme, request, ret_answer, program);
}

enum scheme_verdict scheme_verify_next(const struct scheme *scheme, struct scheme_request *request,
                                       struct scheme_answer *ret_answer,
                                       const struct program *program)
{
    return scheme->plan->only == program && !program->last
               ? verify_chosen(scheme, request, ret_answer)
               : SCHEME_SIGNATURE_MISSING;
}

/* The first one, which is nearly always it. */
static enum scheme_verdict verify_only(const struct scheme *scheme, struct scheme_request *request,
                                       struct scheme_answer *ret_answer)
{
    const struct program *only = scheme->plan->only;
    return __builtin_expect(request->slots.at[scheme->plan->only_slot] != 0, 1)
               ? only->verify(scheme, request, ret_answer, only)
               : verify_chosen(scheme, request, ret_answer);
}

/* A handshake may stand before it. */
static enum scheme_verdict verify_all(const struct scheme *scheme, struct scheme_request *request,
                                      struct scheme_answer *ret_answer)
{
    const struct scheme_plan *plan = scheme->plan;
    find_signed(plan, request);
    if (!plan->unsigned_forms || handshake_has_form(request)) {
        enum scheme_verdict verdict =
            handshake_find(scheme, 0, plan->unsigned_count, request, ret_answer);
        if (verdict != SCHEME_GENUINE) {
            return verdict;
        }
    }
    return verify_chosen(scheme, request, ret_answer);
}

/* The first one, unless there is a form with a handshake in it. */
static enum scheme_verdict verify_formless(const struct scheme *scheme,
                                           struct scheme_request *request,
                                           struct scheme_answer *ret_answer)
{
    return handshake_has_form(request) ? verify_all(scheme, request, ret_answer)
                                       : verify_only(scheme, request, ret_answer);
}

plan_verify_fn *scheme_plan_verify(const struct scheme_plan *plan)
{
    if (plan->unsigned_count == 0) {
        return plan->only != NULL ? verify_only : verify_chosen;
    }
    return plan->only != NULL ? verify_formless : verify_all;
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
    return scheme != NULL ? scheme->plan->verify(scheme, &copy, ret_answer) : SCHEME_TYPE_UNKNOWN;
}

/* Not everybody may send, or it is not prepared. */
RARE static enum scheme_verdict verify_longer(const struct scheme *scheme,
                                              struct scheme_request *request,
                                              struct scheme_answer *ret_answer)
{
    const struct scheme *prepared = request->slots.scheme;
    if (scheme->extra_at != 0 && !extra_allows(scheme, request)) {
        return SCHEME_ADDRESS_REFUSED;
    }
    return prepared != NULL ? prepared->plan->verify(prepared, request, ret_answer)
                            : verify_copy(scheme, request, ret_answer);
}

enum scheme_verdict scheme_verify(const struct scheme *scheme, struct scheme_request *request,
                                  struct scheme_answer *ret_answer)
{
    const struct scheme *prepared = request->slots.scheme;
    return __builtin_expect(prepared != NULL && scheme->extra_at == 0, 1)
               ? prepared->plan->verify(prepared, request, ret_answer)
               : verify_longer(scheme, request, ret_answer);
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
