/* Description: connections for each peer address: the limit, networks of IPv6, and that nothing is
 * forgotten or kept when addresses come and go. */
#include "http/conn.h"
#include "tap.h"

#define PEERS     200U
#define COUNT_MAX 3U

static struct http_server server;
static unsigned counts[PEERS];

/* Half of them IPv6 networks; `host` is one in it. */
static struct ring_address peer_of(unsigned number, unsigned host)
{
    struct ring_address peer = {.family = number % 2 ? 6 : 4, .port = (uint16_t)(1000 + host)};
    if (peer.family == 6) {
        peer.at[0] = 0x20;
        peer.at[7] = (uint8_t)number; /* the network's last byte */
        peer.at[15] = (uint8_t)host;
    } else {
        peer.at[0] = 10;
        peer.at[3] = (uint8_t)number;
    }
    return peer;
}

static void test_limit(void)
{
    struct ring_address one = peer_of(1, 1), other = peer_of(1, 2), next = peer_of(3, 1);
    struct ring_address local = {.family = 0};
    for (unsigned i = 0; i < COUNT_MAX; i++) {
        ok(address_enter(&server, i % 2 ? &one : &other));
    }
    ok(!address_enter(&server, &one) && !address_enter(&server, &other),
       "addresses of one IPv6 network are one");
    ok(address_enter(&server, &next), "the next network is another");
    ok(address_enter(&server, &local), "who has no address is not counted");
    address_leave(&server, &next);
    address_leave(&server, &local);
    address_leave(&server, &other);
    ok(address_enter(&server, &one) && !address_enter(&server, &one), "one left, one may come");
    for (unsigned i = 0; i < COUNT_MAX; i++) {
        address_leave(&server, &one);
    }
}

/* As many as there can be, so that probes are long and slots move up. */
static void test_many(void)
{
    unsigned wrong = 0;
    uint64_t random = 1;
    for (unsigned round = 0; round < 200000; round++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        unsigned number = (unsigned)(random % PEERS);
        struct ring_address peer = peer_of(number, (unsigned)(random >> 32) % 5);
        if (random >> 60 & 1) {
            bool may = counts[number] < COUNT_MAX;
            wrong += address_enter(&server, &peer) != may;
            counts[number] += may;
        } else if (counts[number] > 0) {
            address_leave(&server, &peer);
            counts[number]--;
        }
    }
    is_uint(wrong, 0, "each address has as many as it may, at any time");
    for (unsigned number = 0; number < PEERS; number++) {
        struct ring_address peer = peer_of(number, 1);
        for (; counts[number] > 0; counts[number]--) {
            address_leave(&server, &peer);
        }
        for (unsigned i = 0; i < COUNT_MAX; i++) {
            wrong += !address_enter(&server, &peer);
        }
        wrong += address_enter(&server, &peer);
    }
    is_uint(wrong, 0, "and nothing is left of those that went");
}

int main(void)
{
    server.config.conns_max = PEERS * COUNT_MAX;
    server.config.conns_per_address = COUNT_MAX;
    if (!addresses_open(&server)) {
        bail_out("no memory");
    }
    test_limit();
    test_many();
    addresses_close(&server);
    return done_testing();
}
