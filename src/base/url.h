/* url.h - a strict reader of http:// and https:// URLs.
 *
 * Purpose     One address has one spelling: what leaves here is normalised, so that a policy, a
 *             pool of connections and the Host line all speak of the same server. What two readers
 *             could take differently is refused, with a reason.
 * Accepted    http://host[:port][/path][?query], the scheme in any case. A host is a name of ASCII
 *             letters, digits, '-', '_' and '.', an IPv4 address, or an IPv6 address in brackets.
 * Normalised  The host is in lower case without a trailing dot; IPv4 in decimal, octal or hex, of 1
 *             to 4 parts (2130706433, 0x7f.1, 0177.0.0.1), becomes a.b.c.d, IPv6 its RFC 5952 text
 *             without brackets, a v4-mapped one IPv4. Path and query stay as they are.
 * Refused     User information, fragments, a host that ends in a number but is no IPv4 address,
 *             empty labels, percent signs and bytes above 0x7e in a host (IDN must come as xn--),
 *             zones of IPv6, port 0, an empty port or one with a leading zero or above 65535,
 *             white space, controls, backslashes and other bytes that RFC 3986 forbids anywhere, a
 *             '%' without two hex digits, more than URL_BYTES_MAX.
 * Threads     Pure; any.
 */
#ifndef BECKET_BASE_URL_H
#define BECKET_BASE_URL_H

#include "base/err.h"
#include "base/slice.h"

#define URL_BYTES_MAX 8000U
/* RFC 1035; IPv6 text is shorter. */
#define URL_HOST_BYTES_MAX 253U
/* host, brackets, colon, port, NUL */
#define URL_AUTHORITY_BYTES_MAX (URL_HOST_BYTES_MAX + 9U)

enum url_host_kind { URL_HOST_NAME, URL_HOST_IPV4, URL_HOST_IPV6 };

struct url {
    bool tls; /* https */
    enum url_host_kind host_kind;
    uint16_t port;                     /* 80 or 443 when none was written */
    uint8_t address[16];               /* of an IPv4 (first 4 bytes) or IPv6 host */
    char host[URL_HOST_BYTES_MAX + 1]; /* normalised, no brackets */
    struct slice path;  /* begins with '/'; "/" when none was written. Lives as long as the text */
    struct slice query; /* with its '?', empty when there is none */
};

/* BK_INVALID: *ret_why says what is wrong (static text), *ret_url is undefined. */
enum bk_err url_parse(struct slice text, struct url *ret_url, const char **ret_why) BK_MUST_CHECK;
/* A host alone, normalised as above: "[::1]" and "::1" are the same here. */
enum bk_err url_parse_host(struct slice text, struct url *ret_url,
                           const char **ret_why) BK_MUST_CHECK;
/* One address in two spellings: the host in another case, the scheme's own port named. What is no
 * URL is the same as its very bytes alone. */
bool url_same(struct slice left, struct slice right);
/* host or [host], with :port unless it is the scheme's own, and a NUL: for Host and request lines.
 * `always_port`: for CONNECT. Returns the length. */
size_t url_authority(const char *host, uint16_t port, bool tls, bool always_port,
                     char ret_text[URL_AUTHORITY_BYTES_MAX]);

#endif
