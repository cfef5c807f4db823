/* dns_private.h - what the files of the resolver share; for net/dns*.c only.
 *
 * Purpose     A name that must be asked for gets two queries, one for each family, which end on
 *             their own. Its round is over when both ended; those that wait are answered earlier
 *             when one family answered and the other takes too long.
 * Order       dns.c answers lookups; dns_entry.c is the cache; dns_turns.c says which names are
 *             asked for at once; dns_channel.c joins c-ares with the ring.
 * Settling    c-ares calls back from inside its own functions, also from inside the one that starts
 *             a query, so a callback only notes the result; what follows from it is done by
 *             dns_settle(), outside of c-ares and outside of resolver_lookup().
 */
#ifndef BECKET_NET_DNS_PRIVATE_H
#define BECKET_NET_DNS_PRIVATE_H

#include "base/assert.h"
#include "base/siphash.h"
#include "net/dns.h"

#include <ares.h>

#define SECOND_NS 1000000000ULL
#define TTL_MIN_S 5U
#define FAILED_NS (5 * SECOND_NS) /* no answer that means anything */

struct dns_entry;

struct dns_query {
    struct dns_entry *entry;
    bool running;
};

enum { V4, V6, FAMILIES };

/* How likely there is an answer. */
enum dns_rank { KNOWN, NEW, DOUBTFUL, RANKS };

/* One name. In `lru` while nothing is asked, else reached through its queries only. */
struct dns_entry {
    struct resolver *resolver;
    struct dns_entry *next; /* in its bucket */
    struct list lru;
    struct list settle;
    struct list turn;  /* in a queue */
    struct list young; /* asked for a moment ago */
    uint64_t young_until_ns;
    enum dns_rank rank; /* while it is asked for */
    struct list waiters;
    struct timer timer; /* the other family is late, or the servers are slow */
    uint64_t hash;
    char name[DNS_NAME_BYTES];
    bool used;
    bool fresh_round; /* a family has answered in this round */
    bool slow;        /* the old addresses serve until this round is over */
    struct dns_query queries[FAMILIES];
    /* Addresses, valid while counts say so. */
    uint8_t count;
    uint8_t won_family;
    uint64_t won_until_ns;
    uint64_t fresh_until_ns;
    /* The last round's failure. */
    enum bk_err err;
    const char *reason; /* static */
    uint64_t failed_until_ns;
    /* This round's. */
    enum bk_err round_err;
    const char *round_reason;
    uint8_t absent; /* families for which there is clearly nothing */
    bool no_name;   /* said of IPv4, and so of both (RFC 8020): the other one is not waited for */
    struct ring_address addresses[DNS_ADDRESSES_MAX];
};

/* A socket of c-ares. */
struct dns_socket {
    struct ring_op op;
    struct resolver *resolver;
    int os_fd; /* -1 = closed; the place is free once the operation ended too */
    unsigned wanted;
    unsigned armed;
};

/* Which resolv.conf the channel has read. */
struct dns_conf {
    bool there;
    uint64_t device, number;
    int64_t bytes, written_ns;
};

struct resolver {
    struct resolver_config config;
    struct ring_address servers[DNS_SERVERS_MAX];
    char *hosts_path;
    char *conf_path;
    struct dns_conf conf;
    uint64_t conf_look_ns; /* not looked at before */
    ares_channel channel;
    struct timer timer; /* c-ares' next timeout */
    /* One for each question, as many that are closing (a reload), and connections to servers. */
    struct dns_socket *sockets;
    unsigned sockets_max, sockets_used; /* beyond the used ones all are free */
    struct dns_entry *entries;
    unsigned entries_used; /* the others were never */
    struct dns_entry **buckets;
    unsigned bucket_count;     /* a power of two */
    struct list lru;           /* the front leaves first, */
    struct list spent;         /* and before those the ones without addresses */
    struct list settle;        /* queries ended */
    struct list queues[RANKS]; /* to be asked for when it is their turn */
    unsigned doubtful_waiting;
    unsigned asked, asked_max, asked_doubtful;
    struct list young; /* the oldest first */
    unsigned young_count, young_doubtful;
    struct timer young_timer;
    uint8_t key[SIPHASH_KEY_BYTES];
    bool restarting;
    bool stopped;
    struct resolver_stats stats;
};

static inline uint64_t dns_now_ns(const struct resolver *resolver)
{
    return ring_now_ns(resolver->config.ring);
}

/* ---- dns.c */
/* Queries ended, turns came: whatever follows. */
void dns_settle(struct resolver *resolver);

/* ---- dns_entry.c: the cache */
uint64_t dns_hash(const struct resolver *resolver, const char *name);
struct dns_entry *dns_entry_find(const struct resolver *resolver, const char *name, uint64_t hash);
/* NULL: all are being asked for. */
struct dns_entry *dns_entry_make(struct resolver *resolver, const char *name, uint64_t hash);
/* It was used. */
void dns_entry_touch(struct dns_entry *entry);
/* Nothing is asked any more: the place may be used for another name one day. */
void dns_entry_rest(struct dns_entry *entry);
bool dns_entry_fresh(const struct dns_entry *entry, uint64_t now_ns);
bool dns_entry_stale(const struct dns_entry *entry, uint64_t now_ns);
bool dns_entry_failed(const struct dns_entry *entry, uint64_t now_ns);
static inline bool dns_entry_asking(const struct dns_entry *entry)
{
    return entry->queries[V4].running || entry->queries[V6].running;
}
/* The first answer of a round takes the place of what was known; the second joins it. */
void dns_entry_begin_answer(struct dns_entry *entry);
void dns_entry_add(struct dns_entry *entry, const struct ring_address *address);
void dns_entry_end_answer(struct dns_entry *entry, uint64_t ttl_s);

/* ---- dns_turns.c: who is asked for now */
/* How many names at once: each has two sockets. */
unsigned dns_asked_most(void);
enum dns_rank dns_rank_of(const struct dns_entry *entry);
bool dns_may_ask(const struct resolver *resolver, enum dns_rank rank);
void dns_asked_begin(struct dns_entry *entry);
void dns_asked_end(struct dns_entry *entry);
/* It waits for its turn. */
void dns_turn_queue(struct dns_entry *entry);
/* Whose turn it is; NULL: nobody's. */
struct dns_entry *dns_turn_next(struct resolver *resolver);
/* Too many of those that nobody answered for wait already: it is not asked for now. */
bool dns_hopeless(struct dns_entry *entry);

/* ---- dns_channel.c: c-ares */
enum bk_err dns_channel_open(struct resolver *resolver) BK_MUST_CHECK;
/* resolv.conf anew, and the queries under way. False: there is no memory, the old one goes on. */
bool dns_channel_restart(struct resolver *resolver);
/* resolv.conf is another one than the channel has read; looked at once a second. */
bool dns_conf_changed(struct resolver *resolver);
/* Queries under way end, as failed. */
void dns_channel_close(struct resolver *resolver);
/* The hosts file has this name: its addresses are added. */
bool dns_hosts_file(struct dns_entry *entry, int family);
/* Of both families; they may end at once. */
void dns_queries_start(struct dns_entry *entry);
/* They end as those do whose channel is closed. */
void dns_queries_abandon(struct dns_entry *entry);
/* After everything that may have changed what c-ares waits for. */
void dns_timeouts_arm(struct resolver *resolver);

#endif
