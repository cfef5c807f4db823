#include "net/address.h"

#include "base/assert.h"

#include <arpa/inet.h>
#include <stdio.h>

bool address_parse(struct slice text, struct ring_address *ret_address)
{
    char copy[ADDRESS_TEXT_BYTES];
    uint8_t at[16] = {0};
    if (text.bytes == 0 || text.bytes >= sizeof copy || memchr(text.at, 0, text.bytes)) {
        return false;
    }
    memcpy(copy, text.at, text.bytes);
    copy[text.bytes] = '\0';
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    struct ring_address address = {.family = 4};
    if (inet_pton(AF_INET, copy, at) == 1) {
        memcpy(address.at, at, 4);
    } else if (inet_pton(AF_INET6, copy, at) != 1) {
        return false;
    } else if (memcmp(at, mapped, sizeof mapped) == 0) {
        memcpy(address.at, at + 12, 4);
    } else {
        address.family = 6;
        memcpy(address.at, at, 16);
    }
    *ret_address = address;
    return true;
}

static bool port_parse(struct slice text, uint16_t *ret_port)
{
    uint32_t port = 0;
    if (text.bytes == 0 || text.bytes > 5) {
        return false;
    }
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
        port = port * 10 + text.at[i] - '0';
    }
    if (port == 0 || port > UINT16_MAX) {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

bool address_parse_port(struct slice text, uint16_t port_default, struct ring_address *ret_address)
{
    struct ring_address address;
    struct slice host = text, rest = SLICE_EMPTY;
    if (text.bytes && text.at[0] == '[') {
        size_t end = slice_find(text, ']');
        if (end == text.bytes) {
            return false;
        }
        host = slice_of(text.at + 1, end - 1);
        rest = slice_skip(text, end + 1);
        if (slice_find(host, ':') == host.bytes) {
            return false; /* brackets are for IPv6 */
        }
    } else {
        size_t colon = slice_find(text, ':');
        struct slice after = slice_skip(text, colon + 1);
        /* One colon parts a port from IPv4; several are IPv6 without a port. */
        if (colon < text.bytes && slice_find(after, ':') == after.bytes) {
            host.bytes = colon;
            rest = slice_skip(text, colon);
            if (rest.bytes == 1) {
                return false;
            }
        }
    }
    uint16_t port = port_default;
    if (!address_parse(host, &address) ||
        (rest.bytes && (rest.at[0] != ':' || !port_parse(slice_skip(rest, 1), &port)))) {
        return false;
    }
    address.port = port;
    *ret_address = address;
    return true;
}

bool address_is_loopback(const struct ring_address *address)
{
    static const uint8_t one[16] = {[15] = 1};
    return address->family == 4 ? address->at[0] == 127 : memcmp(address->at, one, sizeof one) == 0;
}

void address_format(const struct ring_address *address, char ret_text[ADDRESS_TEXT_BYTES])
{
    int family = address->family == 4 ? AF_INET : AF_INET6;
    if ((address->family != 4 && address->family != 6) ||
        !inet_ntop(family, address->at, ret_text, ADDRESS_TEXT_BYTES)) {
        snprintf(ret_text, ADDRESS_TEXT_BYTES, "?");
    }
}
