#include "net/policy.h"

#include "base/assert.h"

#include <stdio.h>

/* Whom a range is open to. */
enum reach {
    NEVER,   /* no TCP connection can go there */
    PRIVATE, /* only with allow_private */
    CARRIER, /* the same, and it carries an IPv4 address that is looked at too */
    PUBLIC
};

struct range {
    uint8_t at[16];
    uint8_t bits;
    enum reach reach;
    uint8_t inner_at; /* CARRIER: first byte of the IPv4 address */
    bool inner_flipped;
    const char *what;
};

/* RFC 6890 and the IANA special-purpose registries; the first match counts. */
static const struct range ranges4[] = {
    {{0}, 8, PRIVATE, 0, false, "this host (0.0.0.0/8)"},
    {{10}, 8, PRIVATE, 0, false, "private (10.0.0.0/8)"},
    {{100, 64}, 10, PRIVATE, 0, false, "carrier-grade NAT (100.64.0.0/10)"},
    {{127}, 8, PRIVATE, 0, false, "loopback (127.0.0.0/8)"},
    {{169, 254, 169, 254}, 32, PRIVATE, 0, false, "the metadata service of the cloud"},
    {{169, 254}, 16, PRIVATE, 0, false, "link-local (169.254.0.0/16)"},
    {{172, 16}, 12, PRIVATE, 0, false, "private (172.16.0.0/12)"},
    {{192, 0, 0}, 24, PRIVATE, 0, false, "reserved for protocols (192.0.0.0/24)"},
    {{192, 0, 2}, 24, PRIVATE, 0, false, "for documentation (192.0.2.0/24)"},
    {{192, 88, 99}, 24, PRIVATE, 0, false, "the 6to4 relay (192.88.99.0/24)"},
    {{192, 168}, 16, PRIVATE, 0, false, "private (192.168.0.0/16)"},
    {{198, 18}, 15, PRIVATE, 0, false, "for benchmarks (198.18.0.0/15)"},
    {{198, 51, 100}, 24, PRIVATE, 0, false, "for documentation (198.51.100.0/24)"},
    {{203, 0, 113}, 24, PRIVATE, 0, false, "for documentation (203.0.113.0/24)"},
    {{224}, 4, NEVER, 0, false, "multicast (224.0.0.0/4)"},
    {{255, 255, 255, 255}, 32, NEVER, 0, false, "broadcast"},
    {{240}, 4, PRIVATE, 0, false, "reserved (240.0.0.0/4)"},
    {{0}, 0, PUBLIC, 0, false, "public"},
};

static const struct range ranges6[] = {
    {{0}, 128, PRIVATE, 0, false, "unspecified (::)"},
    {{[15] = 1}, 128, PRIVATE, 0, false, "loopback (::1)"},
    {{[10] = 0xff, [11] = 0xff}, 96, CARRIER, 12, false, "v4-mapped (::ffff:0:0/96)"},
    {{[8] = 0xff, [9] = 0xff}, 96, CARRIER, 12, false, "v4-translated (::ffff:0:0:0/96)"},
    {{0}, 96, CARRIER, 12, false, "v4-compatible (::/96)"},
    {{0x00, 0x64, 0xff, 0x9b}, 96, CARRIER, 12, false, "NAT64 (64:ff9b::/96)"},
    {{0x00, 0x64, 0xff, 0x9b, 0, 1}, 48, CARRIER, 12, false, "local NAT64 (64:ff9b:1::/48)"},
    {{0x20, 0x01}, 32, CARRIER, 12, true, "Teredo (2001::/32)"},
    {{0x20, 0x01}, 23, PRIVATE, 0, false, "reserved for protocols (2001::/23)"},
    {{0x20, 0x01, 0x0d, 0xb8}, 32, PRIVATE, 0, false, "for documentation (2001:db8::/32)"},
    {{0x20, 0x02}, 16, CARRIER, 2, false, "6to4 (2002::/16)"},
    {{0x3f, 0xff}, 20, PRIVATE, 0, false, "for documentation (3fff::/20)"},
    {{0x20}, 3, PUBLIC, 0, false, "public"},
    {{0xfd, 0x00, 0x0e, 0xc2, [14] = 0x02, [15] = 0x54},
     128,
     PRIVATE,
     0,
     false,
     "the metadata service of the cloud"},
    {{0xfc}, 7, PRIVATE, 0, false, "unique local (fc00::/7)"},
    {{0xfe, 0x80}, 10, PRIVATE, 0, false, "link-local (fe80::/10)"},
    {{0xfe, 0xc0}, 10, PRIVATE, 0, false, "site-local (fec0::/10)"},
    {{0xff}, 8, NEVER, 0, false, "multicast (ff00::/8)"},
    {{0}, 0, PRIVATE, 0, false, "outside of the public range 2000::/3"},
};

static bool in_range(const struct range *range, const uint8_t *at)
{
    unsigned whole = range->bits / 8, rest = range->bits % 8;
    uint8_t mask = (uint8_t)(0xff00U >> rest);
    return memcmp(range->at, at, whole) == 0 &&
           (rest == 0 || ((range->at[whole] ^ at[whole]) & mask) == 0);
}

static const struct range *range_of(const struct ring_address *address)
{
    /* The last row of each table holds everything. */
    const struct range *range = address->family == 4 ? ranges4 : ranges6;
    while (!in_range(range, address->at)) {
        range++;
    }
    return range;
}

static struct ring_address inner_of(const struct range *range, const struct ring_address *outer)
{
    struct ring_address inner = {.family = 4};
    for (unsigned i = 0; i < 4; i++) {
        uint8_t byte = outer->at[range->inner_at + i];
        inner.at[i] = range->inner_flipped ? (uint8_t)~byte : byte;
    }
    return inner;
}

static enum bk_err refuse(const struct ring_address *address, const struct range *range,
                          const struct range *inner, char ret_why[POLICY_WHY_BYTES])
{
    char text[ADDRESS_TEXT_BYTES], inner_text[ADDRESS_TEXT_BYTES] = "";
    address_format(address, text);
    if (inner) {
        struct ring_address carried = inner_of(range, address);
        address_format(&carried, inner_text);
    }
    bool never = range->reach == NEVER || (inner && inner->reach == NEVER);
    snprintf(ret_why, POLICY_WHY_BYTES, "%s is %s%s%s%s%s: %s", text, range->what,
             inner ? ", carries " : "", inner_text, inner ? ", " : "", inner ? inner->what : "",
             never ? "no connection can go there" : "refused unless allowPrivate is true");
    return BK_FORBIDDEN;
}

enum bk_err policy_check(const struct ring_address *address, bool allow_private,
                         char ret_why[POLICY_WHY_BYTES])
{
    if (address->family != 4 && address->family != 6) {
        snprintf(ret_why, POLICY_WHY_BYTES, "not an IP address");
        return BK_FORBIDDEN;
    }
    const struct range *range = range_of(address);
    const struct range *inner = NULL;
    if (range->reach == CARRIER) {
        struct ring_address carried = inner_of(range, address);
        inner = range_of(&carried);
        bk_assert(inner->reach != CARRIER);
    }
    bool never = range->reach == NEVER || (inner && inner->reach == NEVER);
    if (range->reach == PUBLIC || (allow_private && !never)) {
        return BK_OK;
    }
    return refuse(address, range, inner, ret_why);
}

unsigned policy_filter(struct ring_address *addresses, unsigned count, bool allow_private,
                       char ret_why[POLICY_WHY_BYTES])
{
    char why[POLICY_WHY_BYTES] = "";
    unsigned kept = 0;
    for (unsigned i = 0; i < count; i++) {
        if (policy_check(&addresses[i], allow_private, why) == BK_OK) {
            addresses[kept++] = addresses[i];
        } else if (i == 0) {
            memcpy(ret_why, why, sizeof why);
        }
    }
    return kept;
}
