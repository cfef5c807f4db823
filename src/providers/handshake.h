/* handshake.h - requests that set a hook up, as rows describe them. */
#ifndef BECKET_PROVIDERS_HANDSHAKE_H
#define BECKET_PROVIDERS_HANDSHAKE_H

#include "providers/place.h"

/* Is it one of the handshakes from .. to - 1? Then it is answered, else GENUINE. */
enum scheme_verdict handshake_find(const struct scheme *scheme, unsigned from, unsigned to,
                                   const struct scheme_request *request,
                                   struct scheme_answer *ret_answer);

/* Is there a form in the request, in which a handshake could be looked for? */
static inline bool handshake_has_form(const struct scheme_request *request)
{
    struct slice target = http_target(request->head);
    return (request->body.bytes <= HANDSHAKE_BODY_BYTES_MAX && !is_json(request->body)) ||
           slice_find(target, '?') != target.bytes;
}

/* Of a genuine request: is it one of those handshakes that are signed, of which there are some? */
static inline enum scheme_verdict signed_handshakes(const struct scheme *scheme,
                                                    const struct scheme_request *request,
                                                    struct scheme_answer *ret_answer)
{
    const struct scheme_plan *plan = scheme->plan;
    /* Nearly always it is another type of event; its last letter is enough to tell. */
    if (plan->told != NULL) {
        bool in_header = plan->told->slot != 0;
        if (!in_header && request->body.bytes > HANDSHAKE_BODY_BYTES_MAX) {
            return SCHEME_GENUINE;
        }
        struct slice is = in_header ? slot_value(request, plan->told->slot)
                                    : place_known_value(plan->told, request);
        if (is.bytes == 0 || is.at[is.bytes - 1] != plan->told_last) {
            return SCHEME_GENUINE;
        }
    }
    return handshake_find(scheme, plan->unsigned_count, plan->handshake_count, request, ret_answer);
}

#endif
