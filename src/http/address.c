/* address.c - how many connections each peer address has, where that is limited.
 *
 * A hash table with open addressing, twice as large as there can be connections, so that a probe is
 * short; nothing is allocated while it runs. Of an IPv6 address the network part of 64 bits counts,
 * for who has one address there has all of them.
 */
#include "http/conn.h"

#include "base/siphash.h"

#include <sys/mman.h>

struct address_count {
    uint8_t at[8];
    uint8_t family; /* 0 = free */
    uint32_t count;
};

struct addresses {
    uint8_t key[SIPHASH_KEY_BYTES];
    size_t mask;
    unsigned count_max;
    struct address_count slots[];
};

static size_t bytes_for(size_t slots)
{
    return sizeof(struct addresses) + slots * sizeof(struct address_count);
}

bool addresses_open(struct http_server *server)
{
    if (!server->config.conns_per_address) {
        return true;
    }
    size_t slots = 16;
    while (slots < 2 * (size_t)server->config.conns_max) {
        slots *= 2;
    }
    void *map = mmap(NULL, bytes_for(slots), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) {
        return false;
    }
    server->addresses = map;
    server->addresses->mask = slots - 1;
    server->addresses->count_max = server->config.conns_per_address;
    ring_entropy(server->addresses->key, sizeof server->addresses->key);
    return true;
}

void addresses_close(struct http_server *server)
{
    if (server->addresses) {
        munmap(server->addresses, bytes_for(server->addresses->mask + 1));
    }
}

static struct address_count wanted(const struct ring_address *peer)
{
    struct address_count address = {.family = peer->family};
    memcpy(address.at, peer->at, peer->family == 6 ? 8 : 4);
    return address;
}

static size_t home_of(const struct addresses *addresses, const struct address_count *address)
{
    uint64_t hash[2];
    siphash128(addresses->key, address->at, sizeof address->at, hash);
    return (size_t)hash[0] & addresses->mask;
}

static struct address_count *find(struct addresses *addresses, const struct address_count *address)
{
    size_t i = home_of(addresses, address);
    for (;; i = (i + 1) & addresses->mask) {
        struct address_count *slot = &addresses->slots[i];
        if (slot->family == 0 ||
            (slot->family == address->family && memcmp(slot->at, address->at, 8) == 0)) {
            return slot;
        }
    }
}

bool address_enter(struct http_server *server, const struct ring_address *peer)
{
    struct addresses *addresses = server->addresses;
    if (!addresses || peer->family == 0) {
        return true;
    }
    struct address_count address = wanted(peer);
    struct address_count *slot = find(addresses, &address);
    if (slot->family == 0) {
        *slot = address;
    }
    if (slot->count == addresses->count_max) {
        return false;
    }
    slot->count++;
    return true;
}

/* Those behind a freed slot that could not be found any more move up. */
static void remove_slot(struct addresses *addresses, struct address_count *slot)
{
    size_t hole = (size_t)(slot - addresses->slots);
    for (size_t i = hole;;) {
        i = (i + 1) & addresses->mask;
        struct address_count *next = &addresses->slots[i];
        if (next->family == 0) {
            break;
        }
        size_t home = home_of(addresses, next);
        if (((i - home) & addresses->mask) >= ((i - hole) & addresses->mask)) {
            addresses->slots[hole] = *next;
            hole = i;
        }
    }
    addresses->slots[hole] = (struct address_count){.family = 0};
}

void address_leave(struct http_server *server, const struct ring_address *peer)
{
    struct addresses *addresses = server->addresses;
    if (!addresses || peer->family == 0) {
        return;
    }
    struct address_count address = wanted(peer);
    struct address_count *slot = find(addresses, &address);
    bk_assert(slot->family != 0 && slot->count > 0);
    if (--slot->count == 0) {
        remove_slot(addresses, slot);
    }
}
