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

/* The last address of one line that is none of our own proxies, else its first. False: it has none,
 * or what is none. */
static bool last_foreign(const struct extra *extra, struct slice line, struct cidr *ret_address,
                         bool *ret_foreign)
{
    bool found = false;
    *ret_foreign = false;
    while (line.bytes != 0 && !*ret_foreign) {
        size_t from = line.bytes;
        while (from > 0 && line.at[from - 1] != ',') {
            from--;
        }
        struct slice text = slice_trim(slice_of(line.at + from, line.bytes - from));
        line = slice_of(line.at, from > 0 ? from - 1 : 0);
        if (slice_find(text, '/') != text.bytes || !cidr_parse(text, ret_address)) {
            return false;
        }
        found = true;
        *ret_foreign = !in_ranges(extra->proxies, extra->proxy_count, ret_address->family,
                                  ret_address->at);
    }
    return found;
}

/* The last address of X-Forwarded-For that is none of our own proxies: what is before it was
 * written by who we do not know. A proxy may write a line of its own behind those that it got; they
 * are one list (RFC 9110 5.3). */
static bool forwarded(const struct extra *extra, const struct http_head *head,
                      struct cidr *ret_address)
{
    const struct http_header *header = NULL, *lines[HTTP_HEADERS_MAX];
    unsigned count = 0;
    while ((header = http_next(head, SLICE("x-forwarded-for"), header)) != NULL) {
        lines[count++] = header;
    }
    bool found = false, foreign = false;
    while (count > 0 && !foreign) {
        header = lines[--count];
        if (!last_foreign(extra, http_header_value(head, header), ret_address, &foreign)) {
            return false;
        }
        found = true;
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
