/* key_find.h - asking a request's finder for a key, in the words of verdicts. */
#ifndef BECKET_PROVIDERS_KEY_FIND_H
#define BECKET_PROVIDERS_KEY_FIND_H

#include "providers/scheme.h"

/* SCHEME_GENUINE: *ret_key is it. */
static inline enum scheme_verdict key_find(const struct scheme_request *request,
                                           const struct key_want *want,
                                           const struct public_key **ret_key)
{
    if (request->keys == NULL) {
        return SCHEME_KEY_UNAVAILABLE;
    }
    switch (request->keys->find(request->keys->context, want, ret_key)) {
    case KEY_FOUND:
        return SCHEME_GENUINE;
    case KEY_LATER:
        return SCHEME_KEY_WANTED;
    case KEY_UNAVAILABLE:
        return SCHEME_KEY_UNAVAILABLE;
    case KEY_UNKNOWN:
        break;
    }
    return SCHEME_KEY_UNKNOWN;
}

#endif
