/* What a request is called: event type, delivery id, whose event it is. */
#include "providers/compile.h"
#include "providers/verify.h"

#include "base/assert.h"
#include "base/event_type.h"

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

/* The id that the request's way of signing signs, if it does; without it, it will not be genuine.
 */
__attribute__((noinline)) static struct slice signed_id(struct scheme_request *request)
{
    const struct scheme *scheme = request->slots.scheme;
    const struct fields *fields = &scheme->plan->fields;
    if (fields->count > request->slots.field_count) {
        fields_find(fields, fields->count, request);
    }
    const struct program *program = scheme_select(scheme, request);
    struct slice id = program->signs_id ? place_known_value(&program->id, request) : SLICE_EMPTY;
    return id.bytes != 0 ? id : first_of(&scheme->plan->id, request);
}

/* A type in several places: of what is joined, the first of these must be there. */
__attribute__((noinline)) static void joined_type(const struct places *places,
                                                  struct scheme_request *request,
                                                  struct scheme_identity *ret_identity)
{
    const struct fields *fields = &request->slots.scheme->plan->fields;
    if (fields->count > request->slots.field_count) {
        fields_find(fields, fields->count, request);
    }
    for (unsigned i = 0; i < places->count; i++) {
        const struct place *place = &places->at[i];
        bool first = place->joint == 0, begun = ret_identity->type.bytes != 0;
        if (first == begun) {
            if (first) {
                return; /* the next one is another way */
            }
            continue;
        }
        struct slice value = place_known_value(place, request);
        if (first) {
            ret_identity->type = value;
        } else if (value.bytes != 0) {
            ret_identity->more[ret_identity->more_count++] =
                (struct scheme_type_part){value, place->joint};
        }
    }
}

static inline void identify(struct scheme_request *request, struct scheme_identity *ret_identity)
{
    const struct scheme_plan *plan = request->slots.scheme->plan;
    ret_identity->more_count = 0;
    if (__builtin_expect(plan->type.joined, 0)) {
        ret_identity->type = SLICE_EMPTY;
        joined_type(&plan->type, request, ret_identity);
    } else {
        ret_identity->type = first_of(&plan->type, request);
    }
    ret_identity->delivery_id =
        plan->id_is_signed ? signed_id(request) : first_of(&plan->id, request);
    ret_identity->within = first_of(&plan->within, request);
}

/* Of a request that is not prepared, and stays so. */
__attribute__((noinline)) static void identify_copy(const struct scheme *scheme,
                                                    const struct scheme_request *request,
                                                    struct scheme_identity *ret_identity)
{
    struct scheme_request copy = *request;
    scheme_prepare(scheme, &copy);
    *ret_identity = (struct scheme_identity){.type = SLICE_EMPTY};
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

struct slice scheme_type_text(const struct scheme *scheme, const struct scheme_identity *identity,
                              uint8_t room[EVENT_TYPE_BYTES_MAX])
{
    struct slice text = identity->type.bytes != 0 ? identity->type : scheme->plan->constant_type;
    if (identity->more_count == 0) {
        return slice_of(text.at,
                        text.bytes < EVENT_TYPE_BYTES_MAX ? text.bytes : EVENT_TYPE_BYTES_MAX);
    }
    size_t bytes = event_type_add(room, 0, 0, text);
    for (unsigned i = 0; i < identity->more_count; i++) {
        bytes = event_type_add(room, bytes, identity->more[i].joint, identity->more[i].text);
    }
    return slice_of(room, bytes);
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
