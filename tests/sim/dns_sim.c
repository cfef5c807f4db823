/* net/dns.h in the simulator: names come from the scenario, and whether a lookup ends at once or
 * later is decided by the seed. What the real resolver keeps to itself (queries, cache) is the unit
 * test's matter; here it is what its callers see: answers now or later, in any order, failures,
 * names that change, lookups that are cancelled. */
#include "dns_sim.h"

#include "net/dns.h"
#include "sim_internal.h"

#include <stdio.h>
#include <stdlib.h>

#define NAMES_MAX 64U

static struct {
    char name[DNS_NAME_BYTES];
    struct ring_address addresses[DNS_ADDRESSES_MAX];
    unsigned count;
    enum bk_err err;
} names[NAMES_MAX];
static unsigned name_count;
static unsigned resolver_count;
static uint32_t delay_us;

/* A lookup that waits. */
struct waiter {
    struct list node;
    struct dns_lookup *lookup;
    struct resolver *resolver;
    struct timer timer;
    char name[DNS_NAME_BYTES];
};

struct resolver {
    struct resolver_config config;
    struct resolver_stats stats;
    struct list waiters;
    struct list answered; /* of lookups, which it makes busy */
    bool stopped;
};

void sim_dns_set(const char *name, const struct ring_address *addresses, unsigned count,
                 enum bk_err err)
{
    unsigned at = 0;
    while (at < name_count && strcmp(names[at].name, name) != 0) {
        at++;
    }
    bk_assert(at < NAMES_MAX && count <= DNS_ADDRESSES_MAX);
    name_count = at == name_count ? at + 1 : name_count;
    snprintf(names[at].name, sizeof names[at].name, "%s", name);
    for (unsigned i = 0; i < count; i++) {
        names[at].addresses[i] = addresses[i];
    }
    names[at].count = count;
    names[at].err = err;
}

void sim_dns_delay(uint32_t delay)
{
    delay_us = delay;
}

static enum bk_err answer(struct dns_lookup *lookup, const char *name)
{
    lookup->count = 0;
    lookup->stale = false;
    lookup->err = BK_NOT_FOUND;
    if (address_parse(slice_str(name), &lookup->addresses[0])) {
        lookup->count = 1;
        lookup->err = BK_OK;
    }
    for (unsigned i = 0; i < name_count; i++) {
        if (strcmp(names[i].name, name) == 0) {
            lookup->err = names[i].err;
            lookup->count = names[i].err == BK_OK ? (uint8_t)names[i].count : 0;
            memcpy(lookup->addresses, names[i].addresses, sizeof names[i].addresses);
        }
    }
    for (unsigned i = 0; i < lookup->count; i++) {
        lookup->addresses[i].port = lookup->port;
    }
    snprintf(lookup->why, sizeof lookup->why, "%.90s%s%s", lookup->err ? name : "",
             lookup->err ? ": " : "", lookup->err ? bk_err_text(lookup->err) : "");
    return lookup->err;
}

static void waiter_free(struct waiter *waiter)
{
    list_remove(&waiter->node);
    timer_stop(waiter->resolver->config.wheel, &waiter->timer);
    list_remove(&waiter->lookup->node);
    free(waiter);
}

static void waiter_due(struct timer *timer)
{
    struct waiter *waiter = bk_container_of(timer, struct waiter, timer);
    struct dns_lookup *lookup = waiter->lookup;
    (void)answer(lookup, waiter->name);
    waiter_free(waiter);
    lookup->done(lookup);
}

enum bk_err resolver_open(const struct resolver_config *config, struct resolver **ret_resolver,
                          const char **ret_why)
{
    struct resolver *resolver = calloc(1, sizeof *resolver);
    bk_assert(resolver);
    (void)ret_why;
    resolver->config = *config;
    list_init(&resolver->waiters);
    list_init(&resolver->answered);
    resolver_count++;
    *ret_resolver = resolver;
    return BK_OK;
}

enum bk_err resolver_lookup(struct resolver *resolver, struct dns_lookup *lookup, struct slice host,
                            uint16_t port, dns_done_fn *done)
{
    char name[DNS_NAME_BYTES];
    struct ring_address literal;
    sim_check(!dns_lookup_busy(lookup), "a lookup was started twice");
    bk_assert(host.bytes < sizeof name && done);
    memcpy(name, host.at, host.bytes);
    name[host.bytes] = '\0';
    lookup->done = done;
    lookup->port = port;
    resolver->stats.lookups++;
    if (resolver->stopped || delay_us == 0 || address_parse(host, &literal) || sim_below(2)) {
        return answer(lookup, name);
    }
    struct waiter *waiter = calloc(1, sizeof *waiter);
    bk_assert(waiter);
    waiter->lookup = lookup;
    waiter->resolver = resolver;
    memcpy(waiter->name, name, sizeof name);
    list_push_back(&resolver->waiters, &waiter->node);
    list_push_back(&resolver->answered, &lookup->node);
    timer_start(resolver->config.wheel, &waiter->timer,
                ring_now_ns(resolver->config.ring) + sim_below(delay_us) * US, waiter_due);
    return BK_AGAIN;
}

static struct waiter *waiter_of(const struct resolver *resolver, const struct dns_lookup *lookup)
{
    struct list *node = resolver->waiters.next;
    while (bk_container_of(node, struct waiter, node)->lookup != lookup) {
        node = node->next;
        bk_assert(node != &resolver->waiters);
    }
    return bk_container_of(node, struct waiter, node);
}

void resolver_cancel(struct resolver *resolver, struct dns_lookup *lookup)
{
    if (dns_lookup_busy(lookup)) {
        waiter_free(waiter_of(resolver, lookup));
    }
}

void resolver_won(struct resolver *resolver, struct slice host, uint8_t family)
{
    (void)resolver, (void)host;
    bk_assert(family == 4 || family == 6);
}

void resolver_reload(struct resolver *resolver)
{
    (void)resolver;
}

void resolver_stop(struct resolver *resolver)
{
    resolver->stopped = true;
    while (!list_empty(&resolver->waiters)) {
        struct waiter *waiter = bk_container_of(resolver->waiters.next, struct waiter, node);
        struct dns_lookup *lookup = waiter->lookup;
        lookup->err = BK_CANCELLED;
        lookup->count = 0;
        snprintf(lookup->why, sizeof lookup->why, "the resolver was stopped");
        waiter_free(waiter);
        lookup->done(lookup);
    }
}

bool resolver_idle(const struct resolver *resolver)
{
    return resolver->stopped;
}

void resolver_close(struct resolver *resolver)
{
    sim_check(list_empty(&resolver->waiters), "a resolver was closed with lookups that wait");
    free(resolver);
    if (--resolver_count == 0) {
        name_count = 0;
        delay_us = 0;
    }
}

const struct resolver_stats *resolver_stats(const struct resolver *resolver)
{
    return &resolver->stats;
}
