/* Blocks of addresses: what is one, and what is in it. */
#include "base/cidr.h"
#include "tap.h"

#include <arpa/inet.h>

static const struct {
    const char *block, *address;
    bool inside;
} cases[] = {
    {"192.30.252.0/22", "192.30.252.0", true},
    {"192.30.252.0/22", "192.30.255.255", true},
    {"192.30.252.0/22", "192.30.251.255", false},
    {"192.30.252.0/22", "193.30.252.0", false},
    {"192.30.252.0/22", "::ffff:192.30.252.9", true},
    {"192.30.252.0/22", "::192.30.252.9", false},
    {"10.0.0.1", "10.0.0.1", true},
    {"10.0.0.1", "10.0.0.2", false},
    {"0.0.0.0/0", "255.1.2.3", true},
    {"0.0.0.0/0", "2001:db8::1", false},
    {"::/0", "2001:db8::1", true},
    {"::/0", "1.2.3.4", false},
    {"2606:50c0::/32", "2606:50c0:ffff::1", true},
    {"2606:50c0::/32", "2606:50c1::1", false},
    {"2606:50c0::/33", "2606:50c0:8000::", false},
    {"::ffff:10.0.0.0/104", "10.1.2.3", true},
    {"::ffff:10.0.0.0/104", "11.1.2.3", false},
};

static const char *const wrong[] = {"",
                                    "/8",
                                    "10.0.0.0/33",
                                    "10.0.0.0/",
                                    "10.0.0.0/08",
                                    "10.0.0.0/-1",
                                    "10.0.0.1/24",
                                    "10.0.0/8",
                                    "::/129",
                                    "::1/64",
                                    "10.0.0.0/8x",
                                    "example.org",
                                    " 10.0.0.1",
                                    "10.0.0.1 ",
                                    "10.0.0.0//8",
                                    "2001:db8::/32/1",
                                    "fe80::1%eth0",
                                    "0x0a.0.0.1",
                                    "010.0.0.1",
                                    "10.0.0.0/9999999999999999999999"};

int main(void)
{
    struct cidr cidr;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t address[16];
        bool four = strchr(cases[i].address, ':') == NULL;
        if (inet_pton(four ? AF_INET : AF_INET6, cases[i].address, address) != 1) {
            bail_out("%s", cases[i].address);
        }
        ok(cidr_parse(slice_str(cases[i].block), &cidr), "%s", cases[i].block);
        ok(cidr_contains(&cidr, four ? 4 : 6, address) == cases[i].inside, "%s %s %s",
           cases[i].address, cases[i].inside ? "in" : "not in", cases[i].block);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ok(!cidr_parse(slice_str(wrong[i]), &cidr), "not a block: '%s'", wrong[i]);
    }
    ok(!cidr_parse(slice_of("1.2.3.4\0", 8), &cidr), "not with a NUL behind it");
    return done_testing();
}
