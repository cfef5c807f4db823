#include "http/handshakes.h"

#include <string.h>

void handshakes_init(struct handshakes *handshakes, const uint8_t key[SIPHASH_KEY_BYTES])
{
    memset(handshakes, 0, sizeof *handshakes);
    for (unsigned i = 0; i < HANDSHAKE_GROUPS; i++) {
        list_init(&handshakes->groups[i].begun);
        list_init(&handshakes->groups[i].fresh);
    }
    list_init(&handshakes->further);
    memcpy(handshakes->key, key, sizeof handshakes->key);
}

/* Who has one IPv6 address of a network has all of them. */
static uint8_t group_of(const struct handshakes *handshakes, const struct ring_address *peer)
{
    uint64_t hash[2];
    siphash128(handshakes->key, peer->at, peer->family == 6 ? 8 : 4, hash);
    return (uint8_t)(hash[0] % HANDSHAKE_GROUPS);
}

void handshake_begin(struct handshakes *handshakes, struct handshake *handshake,
                     const struct ring_address *peer)
{
    *handshake = (struct handshake){.group = group_of(handshakes, peer)};
    struct handshake_group *group = &handshakes->groups[handshake->group];
    list_push_back(&group->begun, &handshake->node);
    group->count++;
    handshakes->count++;
}

static void leave_line(struct handshakes *handshakes, struct handshake *handshake)
{
    if (list_linked(&handshake->line)) {
        list_remove(&handshake->line);
        handshakes->fresh_count -= !handshake->answered;
    }
}

void handshake_end(struct handshakes *handshakes, struct handshake *handshake)
{
    if (!list_linked(&handshake->node)) {
        return;
    }
    leave_line(handshakes, handshake);
    list_remove(&handshake->node);
    bk_assert(handshakes->groups[handshake->group].count > 0);
    handshakes->groups[handshake->group].count--;
    handshakes->count--;
}

void handshake_wait(struct handshakes *handshakes, struct handshake *handshake)
{
    bk_assert(list_linked(&handshake->node));
    if (list_linked(&handshake->line)) {
        return;
    }
    struct list *fresh = &handshakes->groups[handshake->group].fresh;
    list_push_back(handshake->answered ? &handshakes->further : fresh, &handshake->line);
    handshakes->fresh_count += !handshake->answered;
}

bool handshakes_wait(const struct handshakes *handshakes)
{
    return handshakes->fresh_count > 0 || !list_empty(&handshakes->further);
}

static struct list *next_line(struct handshakes *handshakes)
{
    if (!list_empty(&handshakes->further)) {
        return handshakes->further.next;
    }
    bk_assert(handshakes->fresh_count > 0);
    struct list *fresh;
    do {
        handshakes->turn = (handshakes->turn + 1) % HANDSHAKE_GROUPS;
        fresh = &handshakes->groups[handshakes->turn].fresh;
    } while (list_empty(fresh));
    return fresh->prev;
}

struct handshake *handshakes_next(struct handshakes *handshakes)
{
    if (!handshakes_wait(handshakes)) {
        return NULL;
    }
    struct handshake *handshake = bk_container_of(next_line(handshakes), struct handshake, line);
    leave_line(handshakes, handshake);
    return handshake;
}

struct handshake *handshakes_oldest(const struct handshakes *handshakes)
{
    const struct handshake_group *largest = &handshakes->groups[0];
    for (unsigned i = 1; i < HANDSHAKE_GROUPS; i++) {
        const struct handshake_group *group = &handshakes->groups[i];
        largest = group->count > largest->count ? group : largest;
    }
    return largest->count ? bk_container_of(largest->begun.next, struct handshake, node) : NULL;
}
