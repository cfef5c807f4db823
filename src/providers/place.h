/* place.h - what is at the places of a request that rows name: headers, fields, forms.
 *
 * Here are those functions that every webhook runs through, to be inlined. A request is prepared
 * (scheme_prepare) where a place has a slot.
 */
#ifndef BECKET_PROVIDERS_PLACE_H
#define BECKET_PROVIDERS_PLACE_H

#include "providers/program.h"

/* What every webhook runs through is inlined and does without calls; what is rare is not. */
#define RARE   __attribute__((noinline, cold))
#define INLINE __attribute__((always_inline)) static inline

static inline struct slice slot_value(const struct scheme_request *request, size_t slot)
{
    size_t at = request->slots.at[slot];
    return at != 0 ? http_header_value(request->head, &request->head->headers[at - 1])
                   : SLICE_EMPTY;
}

/* The first header of a place's name. */
static inline struct slice header_value(const struct place *place,
                                        const struct scheme_request *request)
{
    if (place->slot != 0) {
        return slot_value(request, place->slot);
    }
    const struct http_header *header = http_find(request->head, place->text, NULL);
    return header != NULL ? http_header_value(request->head, header) : SLICE_EMPTY;
}

/* No form: what looks like a field of one in there may have been written by anybody. */
static inline bool is_json(struct slice body)
{
    return body.bytes != 0 && (body.at[0] == '{' || body.at[0] == '[');
}

/* What is at a place of the request; empty = nothing. */
struct slice place_value(const struct place *place, const struct scheme_request *request);
/* The only header of this name; `missing` when it is not there or empty. */
enum scheme_verdict scheme_single(const struct http_head *head, struct slice name,
                                  enum scheme_verdict missing, struct slice *ret_value);
/* place_read() of a place that is no header with a slot. */
enum scheme_verdict place_read_other(const struct place *place,
                                     const struct scheme_request *request,
                                     enum scheme_verdict missing, struct slice *ret_value);
/* The first `count` fields of the body, in one pass. */
static inline void fields_find(const struct fields *fields, unsigned count,
                               struct scheme_request *request)
{
    json_scan(request->body, fields->paths, count, request->slots.fields + 1);
    request->slots.field_count = (uint8_t)count;
}

/* The same, without a call for a field that is known. */
static inline struct slice place_known_value(const struct place *place,
                                             const struct scheme_request *request)
{
    return place->field != 0 && place->field <= request->slots.field_count
               ? request->slots.fields[place->field].text
               : place_value(place, request);
}

/* What is known of where a place is: a header with a slot, a field of those that were found. */
enum place_in { IN_ANY, IN_SLOT, IN_FIELD };

/* What is at a place that takes part in the signature: there once, else `missing` or doubled. */
INLINE enum scheme_verdict place_read(enum place_in in, const struct place *place,
                                      const struct scheme_request *request,
                                      enum scheme_verdict missing, struct slice *ret_value)
{
    if (in == IN_FIELD) {
        struct slice text = request->slots.fields[place->field].text;
        *ret_value = slice_of(text.at, text.bytes);
        return ret_value->bytes != 0 ? SCHEME_GENUINE : missing;
    }
    if (in == IN_ANY && place->slot == 0) {
        struct slice value;
        enum scheme_verdict verdict = place_read_other(place, request, missing, &value);
        *ret_value = value;
        return verdict;
    }
    if (__builtin_expect((request->slots.found & place->twice) != 0, 0)) {
        return SCHEME_SIGNATURE_DOUBLED;
    }
    *ret_value = slot_value(request, place->slot);
    return ret_value->bytes != 0 ? SCHEME_GENUINE : missing;
}

#endif
