/* The sender's address, where the source has a list of those that may send. */
#include "providers/verify.h"

#include "base/cidr.h"

static bool in_ranges(const struct cidr *ranges, unsigned count, uint8_t family,
                      const uint8_t *address)
{
    bool inside = false;
    for (unsigned i = 0; i < count; i++) {
        inside |= cidr_contains(&ranges[i], family, address);
    }
    return inside;
}

/* The last address of X-Forwarded-For that is none of our own proxies: what is before it was
 * written by who we do not know. */
static bool forwarded(const struct extra *extra, const struct http_head *head,
                      struct cidr *ret_address)
{
    const struct http_header *header = NULL, *last = NULL;
    while ((header = http_next(head, SLICE("x-forwarded-for"), header)) != NULL) {
        last = header;
    }
    struct slice rest = last != NULL ? http_header_value(head, last) : SLICE_EMPTY;
    bool found = false;
    while (rest.bytes != 0) {
        size_t from = rest.bytes;
        while (from > 0 && rest.at[from - 1] != ',') {
            from--;
        }
        struct slice text = slice_trim(slice_of(rest.at + from, rest.bytes - from));
        rest = slice_of(rest.at, from > 0 ? from - 1 : 0);
        if (slice_find(text, '/') != text.bytes || !cidr_parse(text, ret_address)) {
            return false;
        }
        found = true;
        if (!in_ranges(extra->proxies, extra->proxy_count, ret_address->family, ret_address->at)) {
            break;
        }
    }
    return found;
}

static bool address_allowed(const struct extra *extra, const struct scheme_request *request)
{
    struct cidr address;
    if (request->peer == NULL || request->peer_family == 0) {
        return false;
    }
    uint8_t family = request->peer_family;
    const uint8_t *at = request->peer;
    if (in_ranges(extra->proxies, extra->proxy_count, family, at)) {
        if (!forwarded(extra, request->head, &address)) {
            return false;
        }
        family = address.family;
        at = address.at;
    }
    return in_ranges(extra->allow, extra->allow_count, family, at);
}

bool extra_allows(const struct scheme *scheme, const struct scheme_request *request)
{
    const struct extra *extra = scheme_extra(scheme);
    return !extra->has_allow || address_allowed(extra, request);
}
