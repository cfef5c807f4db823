#include "net/dns_private.h"

#include <stdio.h>

#define TTL_MAX_S 3600U
#define STALE_NS  (3600 * SECOND_NS)

static struct dns_entry **bucket_of(const struct resolver *resolver, uint64_t hash)
{
    return &resolver->buckets[hash & (resolver->bucket_count - 1)];
}

uint64_t dns_hash(const struct resolver *resolver, const char *name)
{
    uint64_t hash[2];
    siphash128(resolver->key, name, strlen(name), hash);
    return hash[0];
}

struct dns_entry *dns_entry_find(const struct resolver *resolver, const char *name, uint64_t hash)
{
    for (struct dns_entry *entry = *bucket_of(resolver, hash); entry; entry = entry->next) {
        if (entry->hash == hash && strcmp(entry->name, name) == 0) {
            return entry;
        }
    }
    return NULL;
}

static void entry_drop(struct resolver *resolver, struct dns_entry *entry)
{
    struct dns_entry **link = bucket_of(resolver, entry->hash);
    while (*link != entry) {
        link = &(*link)->next;
    }
    *link = entry->next;
    entry->used = false;
    resolver->stats.evicted++;
}

/* A place that was never used, else the least recently used one that nobody waits for, those
 * without addresses first; NULL when there is none. */
static struct dns_entry *entry_place(struct resolver *resolver)
{
    if (resolver->entries_used < resolver->config.names_max) {
        struct dns_entry *entry = &resolver->entries[resolver->entries_used++];
        list_init(&entry->waiters);
        return entry;
    }
    struct list *node = list_pop_front(&resolver->spent);
    node = node ? node : list_pop_front(&resolver->lru);
    return node ? bk_container_of(node, struct dns_entry, lru) : NULL;
}

struct dns_entry *dns_entry_make(struct resolver *resolver, const char *name, uint64_t hash)
{
    struct dns_entry *entry = entry_place(resolver);
    if (!entry) {
        return NULL;
    }
    if (entry->used) {
        entry_drop(resolver, entry);
    }
    bk_assert(list_empty(&entry->waiters));
    bk_assert(!list_linked(&entry->settle) && !list_linked(&entry->turn));
    memset(entry, 0, sizeof *entry);
    entry->resolver = resolver;
    entry->used = true;
    entry->hash = hash;
    list_init(&entry->waiters);
    for (unsigned i = 0; i < FAMILIES; i++) {
        entry->queries[i].entry = entry;
    }
    snprintf(entry->name, sizeof entry->name, "%s", name);
    struct dns_entry **bucket = bucket_of(resolver, hash);
    entry->next = *bucket;
    *bucket = entry;
    list_push_back(&resolver->spent, &entry->lru);
    return entry;
}

void dns_entry_touch(struct dns_entry *entry)
{
    struct resolver *resolver = entry->resolver;
    if (list_linked(&entry->lru)) {
        list_remove(&entry->lru);
        list_push_back(entry->count > 0 ? &resolver->lru : &resolver->spent, &entry->lru);
    }
}

bool dns_entry_fresh(const struct dns_entry *entry, uint64_t now_ns)
{
    return entry->count > 0 && now_ns < entry->fresh_until_ns;
}

bool dns_entry_stale(const struct dns_entry *entry, uint64_t now_ns)
{
    return entry->count > 0 && now_ns < entry->fresh_until_ns + STALE_NS;
}

bool dns_entry_failed(const struct dns_entry *entry, uint64_t now_ns)
{
    return entry->err != BK_OK && now_ns < entry->failed_until_ns;
}

void dns_entry_rest(struct dns_entry *entry)
{
    struct resolver *resolver = entry->resolver;
    if (!dns_entry_asking(entry) && !list_linked(&entry->lru)) {
        list_push_back(entry->count > 0 ? &resolver->lru : &resolver->spent, &entry->lru);
    }
}

void dns_entry_add(struct dns_entry *entry, const struct ring_address *address)
{
    for (unsigned i = 0; i < entry->count; i++) {
        if (entry->addresses[i].family == address->family &&
            memcmp(entry->addresses[i].at, address->at, sizeof address->at) == 0) {
            return;
        }
    }
    if (entry->count < DNS_ADDRESSES_MAX) {
        entry->addresses[entry->count++] = *address;
    }
}

void dns_entry_begin_answer(struct dns_entry *entry)
{
    if (!entry->fresh_round) {
        entry->fresh_round = true;
        entry->slow = false;
        entry->count = 0;
        entry->fresh_until_ns = UINT64_MAX;
    }
}

void dns_entry_end_answer(struct dns_entry *entry, uint64_t ttl_s)
{
    ttl_s = ttl_s < TTL_MIN_S ? TTL_MIN_S : ttl_s > TTL_MAX_S ? TTL_MAX_S : ttl_s;
    uint64_t until_ns = dns_now_ns(entry->resolver) + ttl_s * SECOND_NS;
    entry->fresh_until_ns = until_ns < entry->fresh_until_ns ? until_ns : entry->fresh_until_ns;
    entry->err = BK_OK;
    entry->failed_until_ns = 0;
}
