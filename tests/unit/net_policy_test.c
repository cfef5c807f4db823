/* Description: net/policy: both ends of every refused range, what lies beside them, addresses
 * inside addresses, and what allow_private lifts. */
#include "net/policy.h"

#include "net/dns.h"

#include "tap.h"

static struct ring_address parse(const char *text)
{
    struct ring_address address = {.family = 0};
    if (!address_parse(slice_str(text), &address)) {
        bail_out("not an address: %s", text);
    }
    return address;
}

/* v4-mapped as it stands on the wire, which address_parse() would turn into IPv4. */
static struct ring_address mapped(const char *text)
{
    struct ring_address inner = parse(text);
    struct ring_address address = {.family = 6, .at = {[10] = 0xff, [11] = 0xff}};
    memcpy(address.at + 12, inner.at, 4);
    return address;
}

static bool step(struct ring_address *address, int by)
{
    unsigned bytes = address->family == 4 ? 4 : 16;
    for (unsigned i = bytes; i > 0; i--) {
        uint8_t was = address->at[i - 1];
        address->at[i - 1] = (uint8_t)(was + by);
        if (was != (by > 0 ? 0xff : 0)) {
            return true;
        }
    }
    return false; /* there is none beyond */
}

static const struct {
    const char *first, *last, *what;
    bool never;
} ranges[] = {
    {"0.0.0.0", "0.255.255.255", "this host", false},
    {"10.0.0.0", "10.255.255.255", "private (10.", false},
    {"100.64.0.0", "100.127.255.255", "carrier-grade NAT", false},
    {"127.0.0.0", "127.255.255.255", "loopback (127.", false},
    {"169.254.0.0", "169.254.169.253", "link-local (169.", false},
    {"169.254.169.254", "169.254.169.254", "metadata", false},
    {"169.254.169.255", "169.254.255.255", "link-local (169.", false},
    {"172.16.0.0", "172.31.255.255", "private (172.", false},
    {"192.0.0.0", "192.0.0.255", "for protocols (192.", false},
    {"192.0.2.0", "192.0.2.255", "documentation (192.", false},
    {"192.88.99.0", "192.88.99.255", "6to4 relay", false},
    {"192.168.0.0", "192.168.255.255", "private (192.", false},
    {"198.18.0.0", "198.19.255.255", "benchmarks", false},
    {"198.51.100.0", "198.51.100.255", "documentation (198.", false},
    {"203.0.113.0", "203.0.113.255", "documentation (203.", false},
    {"224.0.0.0", "239.255.255.255", "multicast (224.", true},
    {"240.0.0.0", "255.255.255.254", "reserved (240.", false},
    {"255.255.255.255", "255.255.255.255", "broadcast", true},
    {"::", "::", "unspecified", false},
    {"::1", "::1", "loopback (::1)", false},
    {"2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "for protocols (2001:", false},
    {"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation (2001:", false},
    {"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation (3fff:", false},
    {"fc00::", "fd00:ec2::253", "unique local", false},
    {"fd00:ec2::254", "fd00:ec2::254", "metadata", false},
    {"fd00:ec2::255", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique local", false},
    {"fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local (fe80:", false},
    {"fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local", false},
    {"ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "multicast (ff00:", true},
    {"100::", "100::ffff:ffff:ffff:ffff", "outside of", false},
    {"4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "outside of", false},
};

static bool refused(const struct ring_address *address, bool allow_private, const char *what)
{
    char why[POLICY_WHY_BYTES] = "";
    enum bk_err err = policy_check(address, allow_private, why);
    return err == BK_FORBIDDEN && strstr(why, what) != NULL && strlen(why) < sizeof why - 1;
}

static void test_ranges(void)
{
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        struct ring_address first = parse(ranges[i].first), last = parse(ranges[i].last);
        const char *what = ranges[i].what;
        ok(refused(&first, false, what), "%s is refused: %s", ranges[i].first, what);
        ok(refused(&last, false, what), "%s is refused: %s", ranges[i].last, what);
        ok(refused(&first, true, what) == ranges[i].never &&
               refused(&last, true, what) == ranges[i].never,
           "%s with allow_private", ranges[i].never ? "also" : "but not");
        ok(!step(&first, -1) || !refused(&first, false, what) || what[0] == 'o',
           "the one before is something else");
        ok(!step(&last, 1) || !refused(&last, false, what) || what[0] == 'o', "and the one behind");
    }
}

/* Public ones that lie right beside a refused range, and well-known ones. */
static void test_public(void)
{
    static const char *const open[] = {
        "1.0.0.0",         "9.255.255.255",
        "11.0.0.0",        "100.63.255.255",
        "100.128.0.0",     "126.255.255.255",
        "128.0.0.0",       "169.253.255.255",
        "169.255.0.0",     "172.15.255.255",
        "172.32.0.0",      "191.255.255.255",
        "192.0.1.0",       "192.0.1.255",
        "192.0.3.0",       "192.88.98.255",
        "192.88.100.0",    "192.167.255.255",
        "192.169.0.0",     "198.17.255.255",
        "198.20.0.0",      "198.51.99.255",
        "198.51.101.0",    "203.0.112.255",
        "203.0.114.0",     "223.255.255.255",
        "8.8.8.8",         "2000::",
        "2001:200::",      "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db9::",      "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2003::",          "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3fff:1000::",     "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2606:4700::1111",
    };
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++) {
        struct ring_address address = parse(open[i]);
        char why[POLICY_WHY_BYTES] = "";
        ok(policy_check(&address, false, why) == BK_OK, "%s is public %s", open[i], why);
    }
}

static void test_inside(void)
{
    static const struct {
        const char *outer, *inner;
        bool never;
    } cases[] = {
        {"64:ff9b::7f00:1", "127.0.0.1, loopback", false},
        {"64:ff9b::a9fe:a9fe", "169.254.169.254, the metadata", false},
        {"64:ff9b::808:808", "8.8.8.8, public", false},
        {"64:ff9b::e000:1", "224.0.0.1, multicast", true},
        {"64:ff9b:1::a00:1", "10.0.0.1, private", false},
        {"2002:7f00:1::", "127.0.0.1, loopback", false},
        {"2002:c0a8:101::1", "192.168.1.1, private", false},
        {"2002:ffff:ffff::", "255.255.255.255, broadcast", true},
        /* Teredo carries the client's address with its bits turned over. */
        {"2001:0:4136:e378:8000:63bf:80ff:fffe", "127.0.0.1, loopback", false},
        {"2001::1fff:fffe", "224.0.0.1, multicast", true},
        {"::7f00:1", "127.0.0.1, loopback", false},
        {"::ffff:0:7f00:1", "127.0.0.1, loopback", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct ring_address address = parse(cases[i].outer);
        ok(refused(&address, false, cases[i].inner), "%s carries %s", cases[i].outer,
           cases[i].inner);
        ok(refused(&address, true, cases[i].inner) == cases[i].never, "with allow_private %s",
           cases[i].never ? "too" : "not");
    }
    struct ring_address address = mapped("127.0.0.1");
    ok(refused(&address, false, "127.0.0.1, loopback"), "::ffff:7f00:1 carries loopback");
    address = mapped("224.0.0.9");
    ok(refused(&address, true, "224.0.0.9, multicast"), "nothing of multicast is ever allowed");
    address = parse("::ffff:127.0.0.1");
    ok(address.family == 4 && refused(&address, false, "loopback"), "a mapped literal is IPv4");
    address = (struct ring_address){.family = 0};
    ok(refused(&address, true, "not an IP address"), "no family, no connection");
}

/* Both ends of the ranges that carry an address, and what lies beside them. */
static void test_carriers(void)
{
    static const struct {
        const char *address, *what;
    } ends[] = {
        {"::2", "v4-compatible"},
        {"::ffff:ffff", "v4-compatible"},
        {"::1:0:0", "outside of"},
        {"::fffe:ffff:ffff", "outside of"},
        {"::ffff:0:0:0", "v4-translated"},
        {"::ffff:0:ffff:ffff", "v4-translated"},
        {"::ffff:1:0:0", "outside of"},
        {"64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "outside of"},
        {"64:ff9b::", "NAT64 (64:ff9b::/96)"},
        {"64:ff9b::ffff:ffff", "NAT64 (64:ff9b::/96)"},
        {"64:ff9b::1:0:0", "outside of"},
        {"64:ff9b:0:ffff:ffff:ffff:ffff:ffff", "outside of"},
        {"64:ff9b:1::", "local NAT64"},
        {"64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local NAT64"},
        {"64:ff9b:2::", "outside of"},
        {"1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "outside of"},
        {"2001::", "Teredo"},
        {"2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo"},
        {"2002::", "6to4 (2002:"},
        {"2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "6to4 (2002:"},
    };
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        struct ring_address address = parse(ends[i].address);
        ok(refused(&address, false, ends[i].what), "%s: %s", ends[i].address, ends[i].what);
    }
    struct ring_address first = mapped("0.0.0.0"), last = mapped("255.255.255.255");
    ok(refused(&first, false, "v4-mapped") && refused(&last, false, "v4-mapped"), "v4-mapped");
}

static void test_words(void)
{
    char why[POLICY_WHY_BYTES];
    struct ring_address address = parse("169.254.169.254");
    ok(policy_check(&address, false, why) == BK_FORBIDDEN);
    is_str(why, "169.254.169.254 is the metadata service of the cloud: refused unless allowPrivate "
                "is true");
    address = parse("64:ff9b::7f00:1");
    ok(policy_check(&address, false, why) == BK_FORBIDDEN);
    is_str(why,
           "64:ff9b::7f00:1 is NAT64 (64:ff9b::/96), carries 127.0.0.1, loopback (127.0.0.0/8): "
           "refused unless allowPrivate is true");
}

static void test_filter(void)
{
    char why[POLICY_WHY_BYTES] = "";
    struct ring_address list[4] = {parse("10.0.0.1"), parse("8.8.8.8"), parse("::1"),
                                   parse("2606:4700::1111")};
    is_uint(policy_filter(list, 4, false, why), 2, "the private ones are left out");
    ok(list[0].at[0] == 8 && list[1].family == 6, "the others keep their order");
    struct ring_address inner[2] = {parse("127.0.0.1"), parse("10.0.0.1")};
    is_uint(policy_filter(inner, 2, false, why), 0, "none is left");
    ok(strstr(why, "127.0.0.1 is loopback") != NULL, "and the first one's reason is told: %s", why);
    is_uint(policy_filter(inner, 2, true, why), 2, "all, when private ones are allowed");
}

static void test_parse(void)
{
    static const char *const none[] = {
        "",
        "1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "127.0.0.01",
        "1.2.3.4.",
        "1.2.3",
        "1.2.3.4.5",
        "256.0.0.1",
        " 1.2.3.4",
        "1.2.3.4 ",
        "[::1]",
        "fe80::1%eth0",
        ":::",
        "1::2::3",
        "::1.2.3",
        "::g",
        "\xef\xbc\x91.2.3.4",
        "1.2.3.4\n",
    };
    struct ring_address address = {.family = 9};
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        ok(!address_parse(slice_str(none[i]), &address), "\"%s\" is no address", none[i]);
    }
    ok(!address_parse(slice_of("1.2.3.4\0x", 9), &address), "nor what hides behind a zero");
    is_uint(address.family, 9, "and nothing is written then");

    static const char *const this_machine[] = {"127.0.0.1",        "127.255.255.254", "::1",
                                               "::ffff:127.0.0.1", "app.localhost",   "localhost"};
    static const char *const others[] = {
        "128.0.0.1", "::2",          "0.0.0.0",           "127.0.0.1.example.com",
        "127.1",     "notlocalhost", "localhost.example", "::127.0.0.1"};
    for (size_t i = 0; i < sizeof this_machine / sizeof this_machine[0]; i++) {
        ok(dns_is_loopback(this_machine[i]), "%s is this machine", this_machine[i]);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        ok(!dns_is_loopback(others[i]), "%s may be another", others[i]);
    }

    static const struct {
        const char *text, *want;
        uint16_t port;
    } ports[] = {
        {"1.2.3.4", "1.2.3.4", 53},
        {"1.2.3.4:1", "1.2.3.4", 1},
        {"1.2.3.4:65535", "1.2.3.4", 65535},
        {"::1", "::1", 53},
        {"[::1]", "::1", 53},
        {"[::1]:5353", "::1", 5353},
        {"::ffff:1.2.3.4", "1.2.3.4", 53},
        {"2001:DB8:0:0:1::", "2001:db8:0:0:1::", 53},
        {"1.2.3.4:0", NULL, 0},
        {"1.2.3.4:", NULL, 0},
        {"1.2.3.4:65536", NULL, 0},
        {"1.2.3.4:+1", NULL, 0},
        {"1.2.3.4:1x", NULL, 0},
        {"[1.2.3.4]:1", NULL, 0},
        {"[::1", NULL, 0},
        {"[::1]x", NULL, 0},
        {"[::1]:", NULL, 0},
        {"name:53", NULL, 0},
        {"[]", NULL, 0},
        {":53", NULL, 0},
        {"1.2.3.4:000080", NULL, 0},
    };
    for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
        bool parsed = address_parse_port(slice_str(ports[i].text), 53, &address);
        char text[ADDRESS_TEXT_BYTES] = "";
        address_format(&address, text);
        ok(ports[i].want
               ? parsed && strcmp(text, ports[i].want) == 0 && address.port == ports[i].port
               : !parsed,
           "%s", ports[i].text);
    }
    address.family = 0;
    char text[ADDRESS_TEXT_BYTES];
    address_format(&address, text);
    is_str(text, "?", "an unknown family");
}

int main(void)
{
    test_ranges();
    test_public();
    test_inside();
    test_carriers();
    test_words();
    test_filter();
    test_parse();
    return done_testing();
}
