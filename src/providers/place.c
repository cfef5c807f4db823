/* Places of a request that are no headers with a slot. */
#include "providers/place.h"
#include "providers/text.h"

#include "base/assert.h"

struct slice place_value(const struct place *place, const struct scheme_request *request)
{
    struct json_found found;
    struct slice value;
    switch (place->kind) {
    case PLACE_NONE:
        return SLICE_EMPTY;
    case PLACE_HEADER:
        return header_value(place, request);
    case PLACE_FIELD:
        if (place->field != 0 && place->field <= request->slots.field_count) {
            return request->slots.fields[place->field].text;
        }
        json_scan(request->body, &place->path, 1, &found);
        return found.text;
    case PLACE_EACH:
        json_scan(request->body, &place->path, 1, &found);
        return found.kind == JSON_OTHER ? request->body : SLICE_EMPTY;
    case PLACE_FORM:
        value = text_form_field(text_query(request->head), place->text);
        return value.bytes != 0 || is_json(request->body)
                   ? value
                   : text_form_field(request->body, place->text);
    case PLACE_CONSTANT:
        return place->text;
    }
    bk_never("unknown place");
}

/* A header that takes part in the signature must not be there twice: another reader might take the
 * other one. */
enum scheme_verdict scheme_single(const struct http_head *head, struct slice name,
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

RARE enum scheme_verdict place_read_other(const struct place *place,
                                          const struct scheme_request *request,
                                          enum scheme_verdict missing, struct slice *ret_value)
{
    if (place->kind == PLACE_HEADER) {
        return scheme_single(request->head, place->text, missing, ret_value);
    }
    *ret_value = place_value(place, request);
    return ret_value->bytes != 0 ? SCHEME_GENUINE : missing;
}
