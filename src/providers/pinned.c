#include "providers/pinned.h"

#include "base/assert.h"
#include "providers/keys.h"

/* https://HOST/path on the standard port, with nothing but letters, digits and -._~/?=&%:+ in it;
 * its host. No user, no fragment, no backslash: parsers disagree about these. */
static bool pinned_host(struct slice url, struct slice *ret_host)
{
    bk_assert(ret_host != NULL);
    struct slice scheme = SLICE("https://");
    if (url.bytes > KEY_URL_BYTES_MAX || !slice_starts(url, scheme)) {
        return false;
    }
    for (size_t i = 0; i < url.bytes; i++) {
        if (!ascii_is_alphanumeric(url.at[i]) &&
            (url.at[i] == 0 || !strchr("-._~/?=&%:+", url.at[i]))) {
            return false;
        }
    }
    struct slice rest = slice_skip(url, scheme.bytes);
    *ret_host = slice_of(rest.at, slice_find(rest, '/'));
    return ret_host->bytes != 0 && ret_host->bytes != rest.bytes &&
           slice_find(*ret_host, ':') == ret_host->bytes &&
           slice_find(*ret_host, '?') == ret_host->bytes &&
           slice_find(*ret_host, '%') == ret_host->bytes;
}

/* `text` ends with `ending`, which is taken off. */
static bool cut_end(struct slice *text, struct slice ending)
{
    if (text->bytes < ending.bytes ||
        !slice_equal(slice_skip(*text, text->bytes - ending.bytes), ending)) {
        return false;
    }
    text->bytes -= ending.bytes;
    return true;
}

bool pinned_sns(struct slice url, struct slice *ret_region, bool *ret_china)
{
    struct slice host;
    if (!pinned_host(url, &host) || !slice_starts(host, SLICE("sns."))) {
        return false;
    }
    *ret_china = cut_end(&host, SLICE(".cn"));
    if (!cut_end(&host, SLICE(".amazonaws.com"))) {
        return false;
    }
    struct slice region = slice_skip(host, 4);
    for (size_t i = 0; i < region.bytes; i++) {
        if (!ascii_is_alphanumeric(region.at[i]) && region.at[i] != '-') {
            return false;
        }
    }
    *ret_region = region;
    return region.bytes >= 3 && region.bytes <= PINNED_REGION_BYTES_MAX;
}

bool pinned_one_of(struct slice url, const char *hosts)
{
    struct slice host, rest = slice_str(hosts);
    if (!pinned_host(url, &host)) {
        return false;
    }
    while (rest.bytes != 0) {
        struct slice one = slice_of(rest.at, slice_find(rest, ' '));
        if (slice_equal(one, host)) {
            return true;
        }
        rest = slice_skip(rest, one.bytes + 1);
    }
    return false;
}
