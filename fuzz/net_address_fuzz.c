/* net_address_fuzz - addresses as text and as bytes. What is read and written again is read the
 * same, also by base/url.h; what may be connected to agrees with a plain list of what is public;
 * and what is allowed without private addresses is allowed with them. The first byte chooses. */
#include "base/assert.h"
#include "base/url.h"
#include "net/policy.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t word_of(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Written as borders, not as prefixes like the table under test. */
static bool public4(uint32_t a)
{
    static const struct {
        uint32_t first, last;
    } closed[] = {
        {0x00000000, 0x00ffffff}, {0x0a000000, 0x0affffff}, {0x64400000, 0x647fffff},
        {0x7f000000, 0x7fffffff}, {0xa9fe0000, 0xa9feffff}, {0xac100000, 0xac1fffff},
        {0xc0000000, 0xc00000ff}, {0xc0000200, 0xc00002ff}, {0xc0586300, 0xc05863ff},
        {0xc0a80000, 0xc0a8ffff}, {0xc6120000, 0xc613ffff}, {0xc6336400, 0xc63364ff},
        {0xcb007100, 0xcb0071ff}, {0xe0000000, 0xffffffff},
    };
    for (size_t i = 0; i < bk_array_length(closed); i++) {
        if (a >= closed[i].first && a <= closed[i].last) {
            return false;
        }
    }
    return true;
}

static bool public6(const uint8_t *at)
{
    uint32_t a = word_of(at);
    return a >= 0x20000000 && a <= 0x3fffffff && !(a >= 0x20010000 && a <= 0x200101ff) &&
           a != 0x20010db8 && a >> 16 != 0x2002 && !(a >= 0x3fff0000 && a <= 0x3fff0fff);
}

static void check_policy(const struct ring_address *address)
{
    char why[POLICY_WHY_BYTES] = "";
    bool open = address->family == 4 ? public4(word_of(address->at)) : public6(address->at);
    bool allowed = policy_check(address, false, why) == BK_OK;
    bk_assert(allowed == open);
    bk_assert(allowed || (why[0] != '\0' && strlen(why) < sizeof why - 1));
    bk_assert(!allowed || policy_check(address, true, why) == BK_OK);
}

static void check_round_trip(const struct ring_address *address)
{
    char text[ADDRESS_TEXT_BYTES];
    struct ring_address again;
    struct url url;
    const char *why = "";
    address_format(address, text);
    bk_assert(address_parse(slice_str(text), &again));
    bk_assert(again.family == address->family && memcmp(again.at, address->at, 16) == 0);
    bk_assert(url_parse_host(slice_str(text), &url, &why) == BK_OK);
    bk_assert(url.host_kind == (address->family == 4 ? URL_HOST_IPV4 : URL_HOST_IPV6));
    bk_assert(memcmp(url.address, address->at, address->family == 4 ? 4 : 16) == 0);
    bk_assert(strcmp(url.host, text) == 0);
}

static void try_text(const uint8_t *data, size_t size)
{
    struct ring_address address = {.family = 0};
    struct ring_address port = {.family = 0};
    /* A copy of its own, so that reading behind the end is seen. */
    uint8_t *copy = malloc(size ? size : 1);
    bk_assert(copy);
    memcpy(copy, data, size);
    struct slice text = slice_of(copy, size);
    bool plain = address_parse(text, &address);
    bool with_port = address_parse_port(text, 53, &port);
    free(copy);
    bk_assert(!plain || (with_port && port.port == 53 && port.family == address.family));
    bk_assert(plain || address.family == 0);
    bk_assert(with_port ? port.port != 0 : port.family == 0);
    if (plain) {
        check_round_trip(&address);
        check_policy(&address);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (size == 0) {
        return 0;
    }
    if (data[0] & 0x80) {
        struct ring_address address = {.family = data[0] & 1 ? 4 : 6};
        size_t bytes = address.family == 4 ? 4 : 16;
        memcpy(address.at, data + 1, size - 1 < bytes ? size - 1 : bytes);
        check_policy(&address);
        /* A mapped address as text is IPv4: struct ring_address has one form for each. */
        if (address.family == 4 || memcmp(address.at, mapped, sizeof mapped) != 0) {
            check_round_trip(&address);
        }
    } else {
        try_text(data + 1, size - 1);
    }
    return 0;
}
