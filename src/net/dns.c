#include "net/dns_private.h"

#include "base/url.h"

#include <stdio.h>
#include <stdlib.h>

#define NAMES_DEFAULT 1024U
#define ABSENT_NS     (30 * SECOND_NS) /* "no such name" */
#define SLOW_NS       (SECOND_NS * 3 / 2)
#define WON_NS        (600 * SECOND_NS)
#define CONF_PATH     "/etc/resolv.conf"
/* After the first family answered, the other one has so long (RFC 8305 section 3). IPv4, which
 * works nearly everywhere, is worth a longer wait. */
#define WAIT_V6_NS (SECOND_NS / 20)
#define WAIT_V4_NS SECOND_NS

/* ---- answers */

static enum bk_err fail(struct dns_lookup *lookup, enum bk_err err, const char *name,
                        const char *reason)
{
    lookup->err = err;
    lookup->count = 0;
    lookup->stale = false;
    snprintf(lookup->why, sizeof lookup->why, "%.90s: %s", name, reason);
    return err;
}

/* Families take turns, beginning with the one that won last, else with IPv6. */
static void give_addresses(const struct dns_entry *entry, struct dns_lookup *lookup, bool stale)
{
    struct resolver *resolver = entry->resolver;
    uint8_t family = dns_now_ns(resolver) < entry->won_until_ns ? entry->won_family : 6;
    unsigned next[FAMILIES] = {0, 0};
    lookup->err = BK_OK;
    lookup->why[0] = '\0';
    lookup->stale = stale;
    lookup->count = 0;
    while (lookup->count < entry->count) {
        unsigned *from = &next[family == 6 ? V6 : V4];
        while (*from < entry->count && entry->addresses[*from].family != family) {
            ++*from;
        }
        if (*from < entry->count) {
            struct ring_address *to = &lookup->addresses[lookup->count++];
            *to = entry->addresses[(*from)++];
            to->port = lookup->port;
        }
        family = family == 6 ? 4 : 6;
    }
}

/* What is known of a name without asking. BK_AGAIN: nothing that helps. */
static enum bk_err answer(struct dns_entry *entry, struct dns_lookup *lookup)
{
    struct resolver *resolver = entry->resolver;
    uint64_t now_ns = dns_now_ns(resolver);
    if (dns_entry_fresh(entry, now_ns)) {
        give_addresses(entry, lookup, false);
        return BK_OK;
    }
    bool failed = dns_entry_failed(entry, now_ns);
    if ((failed || (entry->slow && dns_entry_asking(entry))) && dns_entry_stale(entry, now_ns)) {
        give_addresses(entry, lookup, true);
        resolver->stats.stale_answers++;
        return BK_OK;
    }
    return failed ? fail(lookup, entry->err, entry->name, entry->reason) : BK_AGAIN;
}

/* Everybody who waits, if they can be answered now. done() may start and cancel lookups, also of
 * this name. Requires: the entry is not in `lru`, so none of these lookups can drive it out. */
static void answer_waiters(struct dns_entry *entry)
{
    bk_assert(!list_linked(&entry->lru));
    while (!list_empty(&entry->waiters)) {
        struct dns_lookup *lookup = bk_container_of(entry->waiters.next, struct dns_lookup, node);
        enum bk_err err = answer(entry, lookup);
        if (err == BK_AGAIN) {
            break;
        }
        *(err == BK_OK ? &entry->resolver->stats.answers : &entry->resolver->stats.failures) += 1;
        list_remove(&lookup->node);
        lookup->done(lookup);
    }
}

/* ---- rounds */

static void round_failed(struct dns_entry *entry)
{
    bool absent = entry->absent == FAMILIES || entry->no_name;
    entry->err = entry->round_err;
    entry->reason = entry->round_reason;
    entry->failed_until_ns = dns_now_ns(entry->resolver) + (absent ? ABSENT_NS : FAILED_NS);
    if (absent) {
        entry->count = 0; /* believed: the old addresses are gone */
    }
}

/* Both families ended. */
static void round_over(struct dns_entry *entry)
{
    struct resolver *resolver = entry->resolver;
    dns_asked_end(entry);
    if (!entry->fresh_round) {
        round_failed(entry);
    }
    entry->slow = false;
    if (timer_running(&entry->timer)) {
        timer_stop(resolver->config.wheel, &entry->timer);
    }
}

static void entry_late(struct timer *timer)
{
    struct dns_entry *entry = bk_container_of(timer, struct dns_entry, timer);
    if (entry->no_name && !entry->fresh_round) {
        round_failed(entry);
    } else {
        entry->slow = true;
    }
    answer_waiters(entry);
}

/* One family has answered, the other one has not. */
static void round_half(struct dns_entry *entry)
{
    struct resolver *resolver = entry->resolver;
    if (entry->fresh_round || entry->no_name) {
        uint64_t wait_ns = entry->queries[V6].running ? WAIT_V6_NS : WAIT_V4_NS;
        timer_start(resolver->config.wheel, &entry->timer, dns_now_ns(resolver) + wait_ns,
                    entry_late);
    }
}

/* Returns true when those who wait can be answered. */
static bool entry_settle(struct dns_entry *entry)
{
    list_remove(&entry->settle);
    if (dns_entry_asking(entry)) {
        round_half(entry);
        return false;
    }
    round_over(entry);
    return true;
}

void dns_settle(struct resolver *resolver)
{
    for (;;) {
        for (struct dns_entry *next; (next = dns_turn_next(resolver)) != NULL;) {
            dns_asked_begin(next);
            dns_queries_start(next);
        }
        if (list_empty(&resolver->settle)) {
            return;
        }
        struct dns_entry *entry = bk_container_of(resolver->settle.next, struct dns_entry, settle);
        if (entry_settle(entry)) {
            answer_waiters(entry);
            dns_entry_rest(entry);
        }
    }
}

/* ---- asking */

/* Ask for a name. Its answer may be there when this returns. */
static void entry_ask(struct dns_entry *entry)
{
    struct resolver *resolver = entry->resolver;
    if (dns_conf_changed(resolver)) {
        resolver_reload(resolver);
    }
    entry->fresh_round = false;
    entry->slow = false;
    entry->round_err = BK_OK;
    entry->absent = 0;
    entry->no_name = false;
    bool v4 = dns_hosts_file(entry, AF_INET);
    bool v6 = dns_hosts_file(entry, AF_INET6);
    if (v4 || v6) {
        dns_entry_end_answer(entry, TTL_MIN_S);
        return;
    }
    entry->rank = dns_rank_of(entry);
    if (dns_hopeless(entry)) {
        return;
    }
    if (list_linked(&entry->lru)) {
        list_remove(&entry->lru);
    }
    entry->queries[V4].running = entry->queries[V6].running = true;
    if (dns_entry_stale(entry, dns_now_ns(resolver))) {
        timer_start(resolver->config.wheel, &entry->timer, dns_now_ns(resolver) + SLOW_NS,
                    entry_late);
    }
    if (!dns_may_ask(resolver, entry->rank)) {
        dns_turn_queue(entry);
        return;
    }
    dns_asked_begin(entry);
    dns_queries_start(entry);
    if (!dns_entry_asking(entry)) {
        (void)entry_settle(entry);
        dns_entry_rest(entry);
    }
    dns_timeouts_arm(resolver);
}

/* ---- looking up */

static enum bk_err give_literal(struct resolver *resolver, struct dns_lookup *lookup,
                                const struct url *url)
{
    lookup->err = BK_OK;
    lookup->why[0] = '\0';
    lookup->stale = false;
    lookup->count = 1;
    resolver->stats.literals++;
    if (url->host_kind == URL_HOST_NAME) {
        lookup->addresses[0] =
            (struct ring_address){.family = 4, .port = lookup->port, .at = {127, 0, 0, 1}};
        lookup->addresses[1] =
            (struct ring_address){.family = 6, .port = lookup->port, .at = {[15] = 1}};
        lookup->count = 2;
        return BK_OK;
    }
    struct ring_address *address = &lookup->addresses[0];
    *address = (struct ring_address){.family = 4, .port = lookup->port};
    address->family = url->host_kind == URL_HOST_IPV4 ? 4 : 6;
    memcpy(address->at, url->address, url->host_kind == URL_HOST_IPV4 ? 4 : 16);
    return BK_OK;
}

static enum bk_err lookup_name(struct resolver *resolver, struct dns_lookup *lookup,
                               const char *name)
{
    uint64_t hash = dns_hash(resolver, name);
    struct dns_entry *entry = dns_entry_find(resolver, name, hash);
    if (!entry) {
        entry = dns_entry_make(resolver, name, hash);
        if (!entry) {
            resolver->stats.failures++;
            return fail(lookup, BK_BUSY, name, "too many names are being resolved");
        }
    }
    dns_entry_touch(entry);
    enum bk_err err = answer(entry, lookup);
    if (err != BK_AGAIN) {
        *(err == BK_OK ? &resolver->stats.hits : &resolver->stats.negative_hits) += 1;
        return err;
    }
    if (dns_entry_asking(entry)) {
        resolver->stats.shared++;
    } else {
        entry_ask(entry);
        err = answer(entry, lookup);
        if (err != BK_AGAIN) {
            *(err == BK_OK ? &resolver->stats.answers : &resolver->stats.failures) += 1;
            return err;
        }
    }
    list_push_back(&entry->waiters, &lookup->node);
    return BK_AGAIN;
}

enum bk_err resolver_lookup(struct resolver *resolver, struct dns_lookup *lookup, struct slice host,
                            uint16_t port, dns_done_fn *done)
{
    bk_assert(!dns_lookup_busy(lookup));
    bk_assert(done);
    lookup->done = done;
    lookup->port = port;
    resolver->stats.lookups++;
    struct url url;
    const char *reason;
    if (url_parse_host(host, &url, &reason) != BK_OK) {
        char shown[64];
        snprintf(shown, sizeof shown, "%.*s", (int)(host.bytes < 60 ? host.bytes : 60),
                 host.bytes ? (const char *)host.at : "");
        resolver->stats.failures++;
        return fail(lookup, BK_INVALID, shown, reason);
    }
    if (url.host_kind != URL_HOST_NAME || dns_is_localhost(url.host)) {
        return give_literal(resolver, lookup, &url);
    }
    if (resolver->stopped) {
        resolver->stats.failures++;
        return fail(lookup, BK_CANCELLED, url.host, "the resolver was stopped");
    }
    return lookup_name(resolver, lookup, url.host);
}

void resolver_cancel(struct resolver *resolver, struct dns_lookup *lookup)
{
    if (dns_lookup_busy(lookup)) {
        list_remove(&lookup->node);
        resolver->stats.cancelled++;
    }
}

void resolver_won(struct resolver *resolver, struct slice host, uint8_t family)
{
    struct url url;
    const char *reason;
    bk_assert(family == 4 || family == 6);
    if (url_parse_host(host, &url, &reason) != BK_OK || url.host_kind != URL_HOST_NAME) {
        return;
    }
    struct dns_entry *entry = dns_entry_find(resolver, url.host, dns_hash(resolver, url.host));
    if (entry) {
        entry->won_family = family;
        entry->won_until_ns = dns_now_ns(resolver) + WON_NS;
    }
}

/* ---- life */

enum bk_err resolver_open(const struct resolver_config *config, struct resolver **ret_resolver,
                          const char **ret_why)
{
    bk_assert(config->server_count <= DNS_SERVERS_MAX);
    unsigned names = config->names_max ? config->names_max : NAMES_DEFAULT;
    unsigned buckets = 16;
    while (buckets < names) {
        buckets *= 2;
    }
    unsigned asked_max = dns_asked_most();
    unsigned sockets_max = 2 * asked_max * FAMILIES + 32U;
    struct resolver *resolver = calloc(1, sizeof *resolver);
    struct dns_socket *sockets = calloc(sockets_max, sizeof *sockets);
    struct dns_entry *entries = calloc(names, sizeof *entries);
    struct dns_entry **heads = calloc(buckets, sizeof *heads);
    char *hosts_path = config->hosts_path ? strdup(config->hosts_path) : NULL;
    char *conf_path = strdup(config->conf_path ? config->conf_path : CONF_PATH);
    *ret_why = "out of memory for the resolver";
    if (!resolver || !sockets || !entries || !heads || (config->hosts_path && !hosts_path) ||
        !conf_path) {
        free(resolver), free(sockets), free(entries), free((void *)heads);
        free(hosts_path), free(conf_path);
        return BK_NO_MEMORY;
    }
    resolver->config = *config;
    resolver->config.names_max = names;
    for (unsigned i = 0; i < config->server_count; i++) {
        resolver->servers[i] = config->servers[i];
    }
    resolver->hosts_path = hosts_path;
    resolver->conf_path = conf_path;
    resolver->sockets = sockets;
    resolver->sockets_max = sockets_max;
    resolver->asked_max = asked_max;
    resolver->entries = entries;
    resolver->buckets = heads;
    resolver->bucket_count = buckets;
    ring_entropy(resolver->key, sizeof resolver->key);
    list_init(&resolver->lru);
    list_init(&resolver->spent);
    list_init(&resolver->settle);
    list_init(&resolver->young);
    for (unsigned i = 0; i < RANKS; i++) {
        list_init(&resolver->queues[i]);
    }
    for (unsigned i = 0; i < sockets_max; i++) {
        sockets[i].resolver = resolver;
        sockets[i].os_fd = -1;
    }
    enum bk_err err = dns_channel_open(resolver);
    if (err != BK_OK) {
        *ret_why = err == BK_INVALID ? "c-ares does not take these name servers"
                                     : "c-ares does not start: out of memory, or no name servers";
        resolver_close(resolver);
        return err;
    }
    *ret_resolver = resolver;
    return BK_OK;
}

void resolver_reload(struct resolver *resolver)
{
    if (resolver->stopped || !dns_channel_restart(resolver)) {
        return;
    }
    uint64_t now_ns = dns_now_ns(resolver);
    for (unsigned i = 0; i < resolver->entries_used; i++) {
        struct dns_entry *entry = &resolver->entries[i];
        entry->failed_until_ns = 0;
        entry->fresh_until_ns = entry->fresh_until_ns < now_ns ? entry->fresh_until_ns : now_ns;
        if (dns_entry_asking(entry) && !list_linked(&entry->turn)) {
            dns_queries_start(entry);
        }
    }
    dns_timeouts_arm(resolver);
}

/* Those that were never asked end as those do whose channel is closed. */
static void queues_drop(struct resolver *resolver)
{
    for (enum dns_rank rank = KNOWN; rank < RANKS; rank++) {
        for (struct list *node; (node = list_pop_front(&resolver->queues[rank]));) {
            struct dns_entry *entry = bk_container_of(node, struct dns_entry, turn);
            dns_asked_begin(entry);
            dns_queries_abandon(entry);
        }
    }
    resolver->doubtful_waiting = 0;
}

void resolver_stop(struct resolver *resolver)
{
    resolver->stopped = true;
    dns_channel_close(resolver);
    queues_drop(resolver);
    for (unsigned i = 0; i < resolver->entries_used; i++) {
        struct dns_entry *entry = &resolver->entries[i];
        for (struct list *node; (node = list_pop_front(&entry->waiters));) {
            struct dns_lookup *lookup = bk_container_of(node, struct dns_lookup, node);
            fail(lookup, BK_CANCELLED, entry->name, "the resolver was stopped");
            resolver->stats.failures++;
            lookup->done(lookup);
        }
    }
    dns_settle(resolver);
    dns_timeouts_arm(resolver);
}

bool resolver_idle(const struct resolver *resolver)
{
    for (unsigned i = 0; i < resolver->sockets_max; i++) {
        if (ring_op_busy(&resolver->sockets[i].op)) {
            return false;
        }
    }
    return resolver->channel == NULL;
}

void resolver_close(struct resolver *resolver)
{
    bk_assert(resolver_idle(resolver));
    free(resolver->hosts_path);
    free(resolver->conf_path);
    free(resolver->sockets);
    free(resolver->entries);
    free((void *)resolver->buckets);
    free(resolver);
}

const struct resolver_stats *resolver_stats(const struct resolver *resolver)
{
    return &resolver->stats;
}

const char *dns_library_version(void)
{
    return ares_version(NULL);
}
