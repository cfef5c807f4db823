/* dns.h - names to addresses, for one core.
 *
 * Purpose     What an HTTP client needs of DNS, never blocking the loop: hosts file, search list,
 *             A and AAAA at once, TCP for long answers (all by c-ares, whose sockets the ring polls
 *             and whose timeouts run on the core's wheel), and around it a cache.
 * Cache       One entry per name, at most config.names_max; the least recently used one leaves,
 *             those without addresses first.
 *             Addresses live as long as DNS says, within 5 s and 1 h. "No such name" is kept 30 s,
 *             a failure (no answer, SERVFAIL) 5 s. Lookups of one name share one query. When the
 *             servers fail, or say nothing for 1.5 s, addresses that expired less than an hour ago
 *             are used again (RFC 8767); a clear "no such name" is believed.
 * Dead ones   A name that nobody answers for keeps no other waiting: after a quarter of a second
 *             its question no longer counts among the few that are asked at once.
 * Order       Families take turns (RFC 8305), IPv6 first, or the family that won the last race to
 *             this host, for 10 minutes: tell it with resolver_won(). Within a family as DNS said.
 *             Once one family has answered, the other one has 50 ms (IPv6) or 1 s (IPv4) to join.
 *             "No such name" of IPv4 is an answer for both (RFC 8020).
 * Ownership   A struct dns_lookup lives in its owner and is busy from a BK_AGAIN until done() runs
 *             or resolver_cancel() returns.
 * Threads     The ring's owner.
 * Hosts file  Read again for each question that is not in the cache: a small blocking read. A name
 *             that is in it is never asked of DNS.
 * Conf        resolv.conf is looked at before a question, at most once a second. When it is another
 *             file than it was, or was written, that is a resolver_reload().
 * Memory      Everything of ours is taken by resolver_open(). A query is c-ares' and allocates, at
 *             most once per name and TTL and never for a webhook that comes in; literal addresses
 *             and cache hits allocate nothing.
 * Not here    Whether an address may be connected to: net/policy.h, asked by who connects.
 */
#ifndef BECKET_NET_DNS_H
#define BECKET_NET_DNS_H

#include "net/address.h"
#include "ring/timer.h"

#define DNS_ADDRESSES_MAX 16U  /* of one name; more are dropped */
#define DNS_NAME_BYTES    254U /* longest name and its zero */
#define DNS_WHY_BYTES     160U
#define DNS_SERVERS_MAX   8U

struct resolver;
struct dns_lookup;
typedef void dns_done_fn(struct dns_lookup *lookup);

struct dns_lookup {
    /* The answer; stays until the next resolver_lookup() with it. */
    enum bk_err err;
    uint8_t count; /* of addresses; 0 on failure */
    bool stale;    /* from an expired entry, for the servers fail */
    struct ring_address addresses[DNS_ADDRESSES_MAX]; /* in the order to try; port as asked for */
    char why[DNS_WHY_BYTES];                          /* one line when err */
    /* The resolver's. */
    struct list node;
    dns_done_fn *done;
    uint16_t port;
};

struct resolver_config {
    struct ring *ring;
    struct timer_wheel *wheel;
    const struct ring_address *servers; /* port set; none: resolv.conf */
    unsigned server_count;
    const char *hosts_path; /* NULL: the system's */
    const char *conf_path;  /* resolv.conf; NULL: the system's */
    unsigned names_max;     /* cache; 0 = 1024 */
    uint32_t timeout_ms;    /* first wait for a server, doubled with each try; 0 = 1000. One whose
                               answers are known has less: five times as long as they take */
    unsigned tries;         /* per server; 0 = 5 */
};

struct resolver_stats {
    uint64_t lookups;
    uint64_t literals, hits, negative_hits; /* answered at once, without asking */
    uint64_t answers, failures, cancelled;  /* the others */
    uint64_t stale_answers;                 /* of hits and answers */
    uint64_t queries;                       /* questions for one family of a name */
    uint64_t shared;                        /* lookups that joined one under way */
    uint64_t evicted;                       /* names driven out of the cache */
};

/* *ret_why: static text. */
enum bk_err resolver_open(const struct resolver_config *config, struct resolver **ret_resolver,
                          const char **ret_why) BK_MUST_CHECK;
/* "localhost", or a name that ends in it (RFC 6761): these never leave the machine. `name` as
 * url_parse_host() gives it. */
static inline bool dns_is_localhost(const char *name)
{
    size_t bytes = strlen(name);
    const char *end = bytes >= 9 ? name + bytes - 9 : NULL;
    return end && strcmp(end, "localhost") == 0 && (end == name || end[-1] == '.');
}
/* Is a connection to this host one to this machine, whoever is asked for the name? */
static inline bool dns_is_loopback(const char *host)
{
    struct ring_address address; /* 127.0.0.1.example.com is a name, and anybody's */
    return address_parse(slice_str(host), &address) ? address_is_loopback(&address)
                                                    : dns_is_localhost(host);
}
/* Look up `host`, read as url_parse_host() reads it, for `port`. "localhost" and what ends in it is
 * this machine (RFC 6761).
 * BK_OK      the answer is in *lookup; done() will not run
 * BK_AGAIN   done() runs later, from a turn of the ring; lookup->err says how it went
 * else       failed now, lookup->err and lookup->why are set; done() will not run:
 *            BK_INVALID no name and no address, BK_NOT_FOUND no such name or no address for it,
 *            BK_UNREACHABLE no server answered, BK_TIMEOUT they did not in time,
 *            BK_PROTOCOL answers that make no sense, BK_BUSY all names_max are being asked for. */
enum bk_err resolver_lookup(struct resolver *resolver, struct dns_lookup *lookup, struct slice host,
                            uint16_t port, dns_done_fn *done) BK_MUST_CHECK;
/* done() will not run. The query goes on for the cache. Nothing happens when it is not busy. */
void resolver_cancel(struct resolver *resolver, struct dns_lookup *lookup);
static inline bool dns_lookup_busy(const struct dns_lookup *lookup)
{
    return list_linked(&lookup->node);
}
/* A connection to `host` over this family (4 or 6) came first. */
void resolver_won(struct resolver *resolver, struct slice host, uint8_t family);
/* Read resolv.conf anew; what is known of names is asked again. Queries under way start again. */
void resolver_reload(struct resolver *resolver);
/* Stop asking: the done() of lookups that wait runs from inside this call, with BK_CANCELLED; later
 * ones fail. Then turn the ring until resolver_idle(), then close. */
void resolver_stop(struct resolver *resolver);
bool resolver_idle(const struct resolver *resolver);
void resolver_close(struct resolver *resolver);
const struct resolver_stats *resolver_stats(const struct resolver *resolver);
/* c-ares': "1.34.8". */
const char *dns_library_version(void);

#endif
