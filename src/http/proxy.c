#include "http/proxy.h"

#include "base/base64.h"
#include "base/ct.h"
#include "base/percent.h"
#include "net/address.h"
#include "net/dns.h"

#include <stdio.h>

#define USER_BYTES_MAX 1000U

/* ---- the URL of a proxy */

/* "user:password" with %XX, to the value of Proxy-Authorization. */
static bool parse_user(struct slice text, struct http_proxy_server *server)
{
    uint8_t plain[3 * USER_BYTES_MAX];
    size_t bytes;

    if (text.bytes > sizeof plain || !percent_decode(text, false, plain, &bytes) ||
        bytes + 1 >= USER_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        if (plain[i] < 0x20 || plain[i] == 0x7f) {
            return false;
        }
    }
    if (slice_find(text, ':') == text.bytes) {
        plain[bytes++] = ':';
    }
    _Static_assert(6 + BASE64_ENCODED(USER_BYTES_MAX) <= HTTP_PROXY_AUTHORIZATION_BYTES, "fits");
    memcpy(server->authorization, "Basic ", 6);
    server->authorization_bytes =
        6 + base64_encode(plain, bytes, BASE64_STANDARD, server->authorization + 6);
    bk_wipe(plain, sizeof plain);
    return true;
}

static enum bk_err parse_server(const char *text, struct http_proxy_server *server,
                                const char **ret_why)
{
    struct slice given = slice_str(text);
    char url_text[600];
    struct url url;

    if (given.bytes == 0) {
        return BK_OK;
    }
    size_t colon = slice_find(given, ':'); /* curl and others let the scheme be left out */
    if (slice_starts(slice_skip(given, colon), SLICE("://"))) {
        if (!slice_equal_nocase(slice_of(given.at, colon), SLICE("http"))) {
            *ret_why = "only proxies that are spoken to by plain HTTP (http://) are supported";
            return BK_UNSUPPORTED;
        }
        given = slice_skip(given, colon + 3);
    }
    struct slice authority = slice_of(given.at, slice_find(given, '/'));
    for (size_t i = authority.bytes; i > 0; i--) {
        if (authority.at[i - 1] == '@') {
            if (!parse_user(slice_of(authority.at, i - 1), server)) {
                *ret_why = "the user or password in the proxy's URL is malformed or too long";
                return BK_INVALID;
            }
            given = slice_skip(given, i);
            break;
        }
    }
    int bytes = snprintf(url_text, sizeof url_text, "http://%.*s", (int)given.bytes,
                         (const char *)given.at);
    if (bytes < 0 || (size_t)bytes >= sizeof url_text) {
        *ret_why = "the proxy's URL is too long";
        return BK_INVALID;
    }
    enum bk_err err = url_parse(slice_of(url_text, (size_t)bytes), &url, ret_why);
    if (err != BK_OK) {
        return err;
    }
    if (url.path.bytes > 1 || url.query.bytes > 0) {
        *ret_why = "the proxy's URL has a path";
        return BK_INVALID;
    }
    server->set = true;
    server->port = url.port;
    memcpy(server->host, url.host, sizeof url.host);
    return BK_OK;
}

enum bk_err http_proxy_init(struct http_proxy *ret_proxy, const char *http_url,
                            const char *https_url, const char *except, const char **ret_why)
{
    memset(ret_proxy, 0, sizeof *ret_proxy);
    if (except && strlen(except) >= sizeof ret_proxy->except) {
        *ret_why = "the list of hosts that need no proxy is too long";
        return BK_INVALID;
    }
    if (except) {
        memcpy(ret_proxy->except, except, strlen(except));
    }
    enum bk_err err = parse_server(http_url, &ret_proxy->http, ret_why);
    return err == BK_OK ? parse_server(https_url, &ret_proxy->https, ret_why) : err;
}

void http_proxy_fini(struct http_proxy *proxy)
{
    bk_wipe(proxy, sizeof *proxy);
}

/* ---- who needs none */

static bool in_network(const struct ring_address *address, const struct ring_address *network,
                       unsigned bits)
{
    unsigned bytes = network->family == 6 ? 16 : 4;

    if (address->family != network->family || bits > 8 * bytes) {
        return false;
    }
    unsigned whole = bits / 8;
    uint8_t mask = (uint8_t)(0xff00U >> (bits % 8));
    return memcmp(address->at, network->at, whole) == 0 &&
           (mask == 0 || ((address->at[whole] ^ network->at[whole]) & mask) == 0);
}

static bool parse_number(struct slice text, unsigned max, unsigned *ret_number)
{
    unsigned number = 0;

    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9' || number > max) {
            return false;
        }
        number = number * 10 + (unsigned)(text.at[i] - '0');
    }
    *ret_number = number;
    return text.bytes > 0 && number <= max;
}

static bool matches_address(struct slice pattern, const struct ring_address *address)
{
    struct ring_address network;
    size_t slash = slice_find(pattern, '/');
    unsigned bits = 128;

    if (!address_parse(slice_of(pattern.at, slash), &network)) {
        return false;
    }
    if (slash == pattern.bytes) {
        bits = network.family == 6 ? 128 : 32;
    } else if (!parse_number(slice_skip(pattern, slash + 1), 128, &bits)) {
        return false;
    }
    return in_network(address, &network, bits);
}

/* "example.com", ".example.com" and "*.example.com" are it and all below it. */
static bool matches_name(struct slice pattern, struct slice host)
{
    if (pattern.bytes > 0 && pattern.at[0] == '*') {
        pattern = slice_skip(pattern, 1);
    }
    if (pattern.bytes > 0 && pattern.at[0] == '.') {
        pattern = slice_skip(pattern, 1);
    }
    if (pattern.bytes > 0 && pattern.at[pattern.bytes - 1] == '.') {
        pattern.bytes--;
    }
    if (pattern.bytes == 0 || pattern.bytes > host.bytes) {
        return false;
    }
    size_t before = host.bytes - pattern.bytes;
    return slice_equal_nocase(slice_skip(host, before), pattern) &&
           (before == 0 || host.at[before - 1] == '.');
}

static bool matches(struct slice pattern, const struct http_origin *origin,
                    const struct ring_address *address)
{
    size_t colon = slice_find(pattern, ':');
    bool brackets = pattern.at[0] == '[';
    unsigned port;

    if (slice_equal(pattern, SLICE("*"))) {
        return true;
    }
    if (brackets) {
        size_t close = slice_find(pattern, ']');
        struct slice rest = slice_skip(pattern, close + 1);
        pattern = slice_of(pattern.at + 1, close > 0 ? close - 1 : 0);
        if (rest.bytes > 0 &&
            (rest.at[0] != ':' || !parse_number(slice_skip(rest, 1), UINT16_MAX, &port) ||
             port != origin->port)) {
            return false;
        }
    } else if (colon < pattern.bytes &&
               slice_find(slice_skip(pattern, colon + 1), ':') == pattern.bytes - colon - 1) {
        if (!parse_number(slice_skip(pattern, colon + 1), UINT16_MAX, &port) ||
            port != origin->port) {
            return false;
        }
        pattern.bytes = colon;
    }
    return address ? matches_address(pattern, address)
                   : matches_name(pattern, slice_str(origin->host));
}

const struct http_proxy_server *http_proxy_for(const struct http_proxy *proxy,
                                               const struct http_origin *origin)
{
    const struct http_proxy_server *server = origin->tls ? &proxy->https : &proxy->http;
    struct ring_address literal;
    const struct ring_address *address =
        address_parse(slice_str(origin->host), &literal) ? &literal : NULL;

    if (!server->set || dns_is_loopback(origin->host)) {
        return NULL;
    }
    const char *at = proxy->except;
    while (*at) {
        size_t bytes = strcspn(at, ", \t");
        if (bytes > 0 && matches(slice_of(at, bytes), origin, address)) {
            return NULL;
        }
        at += bytes + (at[bytes] != '\0');
    }
    return server;
}
