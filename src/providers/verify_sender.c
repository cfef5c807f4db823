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

/* Nothing, or ":" and up to five digits. */
static bool is_port(struct slice text)
{
    bool good = text.bytes == 0 || (text.bytes >= 2 && text.bytes <= 6 && text.at[0] == ':');
    for (size_t i = 1; i < text.bytes; i++) {
        good &= text.at[i] >= '0' && text.at[i] <= '9';
    }
    return good;
}

/* One hop, as proxies write it: an address, perhaps with a port behind it (Azure), IPv6 then in
 * brackets. Without them what is behind the last colon of an IPv6 address is its own. */
static bool parse_hop(struct slice text, struct cidr *ret_address)
{
    struct slice address = text, rest = slice_of(text.at, 0);
    size_t colon = slice_find(text, ':');
    if (text.bytes > 0 && text.at[0] == '[') {
        size_t end = slice_find(text, ']');
        if (end == text.bytes || colon > end) {
            return false;
        }
        address = slice_of(text.at + 1, end - 1);
        rest = slice_skip(text, end + 1);
    } else if (slice_find(text, '.') < colon) {
        address = slice_of(text.at, colon);
        rest = slice_skip(text, colon);
    }
    return slice_find(address, '/') == address.bytes && is_port(rest) &&
           cidr_parse(address, ret_address);
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
        if (!parse_hop(text, ret_address)) {
            return false;
        }
        found = true;
        *ret_foreign =
            !in_ranges(extra->proxies, extra->proxy_count, ret_address->family, ret_address->at);
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
