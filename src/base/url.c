#include "base/url.h"

#include "base/hex.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define LABEL_BYTES_MAX 63U

static enum bk_err refuse(const char **ret_why, const char *why)
{
    *ret_why = why;
    return BK_INVALID;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(uint8_t c)
{
    c = ascii_lower(c);
    return c >= 'a' && c <= 'z';
}

/* ---- hosts */

/* The IPv6 text between the brackets. */
static enum bk_err parse_ipv6(struct slice text, struct url *url, const char **ret_why)
{
    char terminated[INET6_ADDRSTRLEN];
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

    if (text.bytes == 0 || text.bytes >= sizeof terminated ||
        memchr(text.at, 0, text.bytes) != NULL) {
        return refuse(ret_why, "the IPv6 address is malformed");
    }
    memcpy(terminated, text.at, text.bytes);
    terminated[text.bytes] = 0;
    if (inet_pton(AF_INET6, terminated, url->address) != 1) {
        return refuse(ret_why, "the IPv6 address is malformed");
    }
    if (memcmp(url->address, mapped, sizeof mapped) == 0) {
        memmove(url->address, url->address + 12, 4);
        memset(url->address + 4, 0, 12);
        url->host_kind = URL_HOST_IPV4;
        (void)inet_ntop(AF_INET, url->address, url->host, sizeof url->host);
        return BK_OK;
    }
    url->host_kind = URL_HOST_IPV6;
    (void)inet_ntop(AF_INET6, url->address, url->host, sizeof url->host);
    return BK_OK;
}

/* One part of an IPv4 address: decimal, octal with a leading 0, hex with 0x. */
static bool parse_part(struct slice part, uint32_t *ret_value)
{
    unsigned base = 10;
    uint64_t value = 0;

    if (part.bytes >= 2 && part.at[0] == '0') {
        bool hex = ascii_lower(part.at[1]) == 'x';
        base = hex ? 16 : 8;
        part = slice_skip(part, hex ? 2 : 1);
    }
    if (part.bytes == 0) {
        return false;
    }
    for (size_t i = 0; i < part.bytes; i++) {
        int digit = hex_digit(part.at[i]);
        if (digit < 0 || (unsigned)digit >= base) {
            return false;
        }
        value = value * base + (unsigned)digit;
        if (value > UINT32_MAX) {
            return false;
        }
    }
    *ret_value = (uint32_t)value;
    return true;
}

/* The last part fills all bytes that are left, as inet_aton() and browsers have it. */
static enum bk_err parse_ipv4(struct slice text, struct url *url, const char **ret_why)
{
    uint32_t address = 0;
    unsigned count = 0;
    bool last = false;

    while (!last) {
        size_t dot = slice_find(text, '.');
        uint32_t value;
        last = dot == text.bytes;
        if (!parse_part(slice_of(text.at, dot), &value) || count == 4) {
            return refuse(ret_why, "the host ends in a number but is no IPv4 address");
        }
        unsigned bits = last ? 32 - 8 * count : 8;
        if (bits < 32 && value >> bits != 0) {
            return refuse(ret_why, "a part of the IPv4 address is too large");
        }
        address = bits == 32 ? value : address << bits | value;
        count++;
        text = slice_skip(text, dot + 1);
    }
    for (unsigned i = 0; i < 4; i++) {
        url->address[i] = (uint8_t)(address >> (24 - 8 * i));
    }
    url->host_kind = URL_HOST_IPV4;
    (void)inet_ntop(AF_INET, url->address, url->host, sizeof url->host);
    return BK_OK;
}

/* Decimal digits, or 0x and anything: then the whole host must be an address. */
static bool is_number(struct slice label)
{
    bool digits = label.bytes > 0;
    for (size_t i = 0; i < label.bytes; i++) {
        digits &= is_digit(label.at[i]);
    }
    return digits || (label.bytes >= 2 && label.at[0] == '0' && ascii_lower(label.at[1]) == 'x');
}

static enum bk_err check_name(struct slice text, struct slice *ret_last, const char **ret_why)
{
    size_t start = 0;

    for (size_t i = 0; i <= text.bytes; i++) {
        if (i == text.bytes || text.at[i] == '.') {
            if (i == start) {
                return refuse(ret_why, "the host has an empty label");
            }
            if (i - start > LABEL_BYTES_MAX) {
                return refuse(ret_why, "a label of the host is longer than 63 bytes");
            }
            *ret_last = slice_of(text.at + start, i - start);
            start = i + 1;
        } else if (!is_letter(text.at[i]) && !is_digit(text.at[i]) && text.at[i] != '-' &&
                   text.at[i] != '_') {
            return refuse(ret_why, "the host has a byte that is no letter, digit, '-' or '.'"
                                   " (international names must be written as xn--)");
        }
    }
    return BK_OK;
}

static enum bk_err parse_name(struct slice text, struct url *url, const char **ret_why)
{
    struct slice last = SLICE_EMPTY;

    if (text.bytes > 0 && text.at[text.bytes - 1] == '.') {
        text.bytes--;
    }
    if (text.bytes == 0) {
        return refuse(ret_why, "the host is missing");
    }
    if (text.bytes > URL_HOST_BYTES_MAX) {
        return refuse(ret_why, "the host is longer than 253 bytes");
    }
    enum bk_err err = check_name(text, &last, ret_why);
    if (err != BK_OK) {
        return err;
    }
    if (is_number(last)) {
        return parse_ipv4(text, url, ret_why);
    }
    url->host_kind = URL_HOST_NAME;
    for (size_t i = 0; i < text.bytes; i++) {
        url->host[i] = (char)ascii_lower(text.at[i]);
    }
    url->host[text.bytes] = 0;
    return BK_OK;
}

enum bk_err url_parse_host(struct slice text, struct url *ret_url, const char **ret_why)
{
    memset(ret_url->address, 0, sizeof ret_url->address);
    if (text.bytes >= 2 && text.at[0] == '[' && text.at[text.bytes - 1] == ']') {
        return parse_ipv6(slice_of(text.at + 1, text.bytes - 2), ret_url, ret_why);
    }
    if (slice_find(text, ':') < text.bytes) {
        return parse_ipv6(text, ret_url, ret_why);
    }
    return parse_name(text, ret_url, ret_why);
}

/* ---- the rest of a URL */

static enum bk_err parse_port(struct slice text, struct url *url, const char **ret_why)
{
    uint32_t port = 0;

    if (text.bytes == 0 || text.bytes > 5 || text.at[0] == '0') {
        return refuse(ret_why, "the port is not a number from 1 to 65535");
    }
    for (size_t i = 0; i < text.bytes; i++) {
        if (!is_digit(text.at[i])) {
            return refuse(ret_why, "the port is not a number from 1 to 65535");
        }
        port = port * 10 + (uint32_t)(text.at[i] - '0');
    }
    if (port > UINT16_MAX) {
        return refuse(ret_why, "the port is not a number from 1 to 65535");
    }
    url->port = (uint16_t)port;
    return BK_OK;
}

static enum bk_err parse_authority(struct slice text, struct url *url, const char **ret_why)
{
    size_t host_bytes = slice_find(text, ':');

    if (slice_find(text, '@') < text.bytes) {
        return refuse(ret_why, "a user name or password in the URL is not accepted");
    }
    if (text.bytes > 0 && text.at[0] == '[') {
        size_t close = slice_find(text, ']');
        host_bytes = close + 1;
        if (close == text.bytes || (host_bytes < text.bytes && text.at[host_bytes] != ':')) {
            return refuse(ret_why, "the IPv6 address is malformed");
        }
    }
    if (host_bytes < text.bytes) {
        enum bk_err err = parse_port(slice_skip(text, host_bytes + 1), url, ret_why);
        if (err != BK_OK) {
            return err;
        }
    }
    return url_parse_host(slice_of(text.at, host_bytes), url, ret_why);
}

/* Bytes that RFC 3986 lets stand in a path or a query, '%' apart. */
static bool is_path_byte(uint8_t c)
{
    return is_letter(c) || is_digit(c) || (c != 0 && strchr("-._~!$&'()*+,;=:@/", c) != NULL);
}

static enum bk_err check_path(struct slice text, bool query, const char **ret_why)
{
    for (size_t i = 0; i < text.bytes; i++) {
        uint8_t c = text.at[i];
        if (c == '%') {
            if (text.bytes - i < 3 || hex_digit(text.at[i + 1]) < 0 ||
                hex_digit(text.at[i + 2]) < 0) {
                return refuse(ret_why, "a '%' is not followed by two hex digits");
            }
        } else if (c == '#') {
            return refuse(ret_why, "a fragment ('#') is not accepted");
        } else if (!is_path_byte(c) && !(query && (c == '?' || c == '[' || c == ']'))) {
            return refuse(ret_why, "the path has a byte that must be written as %XX");
        }
    }
    return BK_OK;
}

static bool take_scheme(struct slice *text, struct url *url)
{
    static const struct slice https = SLICE("https://");
    static const struct slice http = SLICE("http://");

    url->tls = slice_starts_nocase(*text, https);
    const struct slice *scheme = url->tls ? &https : &http;
    if (!slice_starts_nocase(*text, *scheme)) {
        return false;
    }
    *text = slice_skip(*text, scheme->bytes);
    return true;
}

enum bk_err url_parse(struct slice text, struct url *ret_url, const char **ret_why)
{
    memset(ret_url, 0, sizeof *ret_url);
    if (text.bytes > URL_BYTES_MAX) {
        return refuse(ret_why, "the URL is longer than 8000 bytes");
    }
    if (!take_scheme(&text, ret_url)) {
        return refuse(ret_why, "the URL must begin with http:// or https://");
    }
    size_t authority_bytes = 0;
    while (authority_bytes < text.bytes && text.at[authority_bytes] != '/' &&
           text.at[authority_bytes] != '?' && text.at[authority_bytes] != '#') {
        authority_bytes++;
    }
    ret_url->port = ret_url->tls ? 443 : 80;
    enum bk_err err = parse_authority(slice_of(text.at, authority_bytes), ret_url, ret_why);
    if (err != BK_OK) {
        return err;
    }
    text = slice_skip(text, authority_bytes);
    size_t path_bytes = slice_find(text, '?');
    ret_url->path = path_bytes > 0 ? slice_of(text.at, path_bytes) : SLICE("/");
    ret_url->query = slice_skip(text, path_bytes);
    err = check_path(ret_url->path, false, ret_why);
    return err == BK_OK ? check_path(ret_url->query, true, ret_why) : err;
}

bool url_same(struct slice left, struct slice right)
{
    struct url a, b;
    const char *why;
    if (slice_equal(left, right) || url_parse(left, &a, &why) != BK_OK ||
        url_parse(right, &b, &why) != BK_OK) {
        return slice_equal(left, right);
    }
    return a.tls == b.tls && a.port == b.port && strcmp(a.host, b.host) == 0 &&
           slice_equal(a.path, b.path) && slice_equal(a.query, b.query);
}

size_t url_authority(const char *host, uint16_t port, bool tls, bool always_port,
                     char ret_text[URL_AUTHORITY_BYTES_MAX])
{
    bool brackets = strchr(host, ':') != NULL;
    int bytes = snprintf(ret_text, URL_AUTHORITY_BYTES_MAX, "%s%.*s%s", brackets ? "[" : "",
                         (int)URL_HOST_BYTES_MAX, host, brackets ? "]" : "");
    if (always_port || port != (tls ? 443 : 80)) {
        bytes += snprintf(ret_text + bytes, URL_AUTHORITY_BYTES_MAX - (size_t)bytes, ":%u",
                          (unsigned)port);
    }
    return (size_t)bytes;
}
