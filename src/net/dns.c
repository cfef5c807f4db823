/* The resolver: a cache of names around c-ares.
 *
 * A name that must be asked for gets two queries, one for each family, which end on their own. Its
 * round is over when both ended; those that wait are answered earlier when one family answered and
 * the other takes too long. c-ares calls back from inside its own functions, also from inside the
 * one that starts a query, so a callback only notes the result; what follows from it is done by
 * settle(), outside of c-ares and outside of resolver_lookup(). */
#include "net/dns.h"

#include "base/assert.h"
#include "base/siphash.h"
#include "base/url.h"

#include <ares.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define SECOND_NS     1000000000ULL
#define NAMES_DEFAULT 1024U
#define TTL_MIN_S     5U
#define TTL_MAX_S     3600U
#define STALE_NS      (3600 * SECOND_NS)
#define ABSENT_NS     (30 * SECOND_NS) /* "no such name" */
#define FAILED_NS     (5 * SECOND_NS)  /* no answer that means anything */
#define SLOW_NS       (SECOND_NS * 3 / 2)
#define WON_NS        (600 * SECOND_NS)
/* After the first family answered, the other one has so long (RFC 8305 section 3). IPv4, which
 * works nearly everywhere, is worth a longer wait. */
#define WAIT_V6_NS (SECOND_NS / 20)
#define WAIT_V4_NS SECOND_NS
/* Names that are being asked for at once, as far as there are descriptors; others wait for their
 * turn. A name that nobody answers for takes as long as a question may, so it is no measure for
 * others: only those that were asked for in the last quarter of a second count as young, and only
 * the young ones are few. Names that were answered for before do not wait for young ones, and have
 * an eighth of all places for themselves; those that nobody answered for the last time go behind
 * all others, and leave a quarter to them. */
#define ASKED_MAX          512U
#define ASKED_MIN          64U
#define ASKED_KNOWN_SHARE  8U
#define YOUNG_MAX          128U
#define YOUNG_DOUBTFUL_MAX 32U
#define YOUNG_NS           (SECOND_NS / 4)
/* Of the process' descriptors, for the questions of one core: two each. */
#define DESCRIPTORS_SHARE 16U
/* So large a part of the names may wait as doubtful ones; others are not asked for at all. */
#define DOUBTFUL_SHARE 2U
/* Answers above come again by TCP; below, they are never cut into fragments. */
#define EDNS_BYTES 1232
/* Each question has a socket, and so a random port, of its own; and what is wrong with an answer is
 * no other question's concern (c-ares gives up a socket that brought garbage). */
#define QUERIES_PER_SOCKET 1
#define TIMEOUT_MS_DEFAULT 1000
#define TRIES_DEFAULT      3

struct entry;

struct query {
    struct entry *entry;
    bool running;
};

enum { V4, V6, FAMILIES };

/* How likely there is an answer. */
enum rank { KNOWN, NEW, DOUBTFUL, RANKS };

/* One name. In `lru` while nothing is asked, else reached through its queries only. */
struct entry {
    struct resolver *resolver;
    struct entry *next; /* in its bucket */
    struct list lru;
    struct list settle;
    struct list turn;  /* in a queue */
    struct list young; /* asked for a moment ago */
    uint64_t young_until_ns;
    enum rank rank; /* while it is asked for */
    struct list waiters;
    struct timer timer; /* the other family is late, or the servers are slow */
    uint64_t hash;
    char name[DNS_NAME_BYTES];
    bool used;
    bool fresh_round; /* a family has answered in this round */
    bool slow;        /* the old addresses serve until this round is over */
    struct query queries[FAMILIES];
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
    struct ring_address addresses[DNS_ADDRESSES_MAX];
};

/* A socket of c-ares. */
struct socket {
    struct ring_op op;
    struct resolver *resolver;
    int os_fd; /* -1 = closed; the place is free once the operation ended too */
    unsigned wanted;
    unsigned armed;
};

struct resolver {
    struct resolver_config config;
    struct ring_address servers[DNS_SERVERS_MAX];
    char *hosts_path;
    ares_channel channel;
    struct timer timer; /* c-ares' next timeout */
    /* One for each question, as many that are closing (a reload), and connections to servers. */
    struct socket *sockets;
    unsigned sockets_max, sockets_used; /* beyond the used ones all are free */
    struct entry *entries;
    unsigned entries_used; /* the others were never */
    struct entry **buckets;
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

static uint64_t now_of(const struct resolver *resolver)
{
    return ring_now_ns(resolver->config.ring);
}

/* ---- sockets of c-ares on the ring */

static void socket_arm(struct socket *socket);

static void process(struct resolver *resolver, int read_fd, int write_fd)
{
    if (resolver->channel) {
        ares_process_fd(resolver->channel, read_fd, write_fd);
    }
}

static void settle(struct resolver *resolver);
static void timeouts_arm(struct resolver *resolver);

static void socket_done(struct ring_op *op, const struct ring_result *result)
{
    struct socket *socket = bk_container_of(op, struct socket, op);
    struct resolver *resolver = socket->resolver;
    socket->armed = 0;
    int fd = socket->os_fd;
    if (fd < 0) {
        return; /* closed meanwhile: only now the place is free */
    }
    if (result->value != -BK_CANCELLED) {
        unsigned ready = result->value >= 0 ? (unsigned)result->value : socket->wanted;
        process(resolver, ready & RING_POLL_READ ? fd : ARES_SOCKET_BAD,
                ready & RING_POLL_WRITE ? fd : ARES_SOCKET_BAD);
    }
    if (result->value >= 0 || result->value == -BK_CANCELLED) {
        socket_arm(socket);
    } /* else it cannot be waited for: c-ares' timeout ends it */
    settle(resolver);
    timeouts_arm(resolver);
}

/* Wait for what c-ares wants of a socket. Waiting for more than that does no harm. */
static void socket_arm(struct socket *socket)
{
    if (socket->os_fd < 0 || !socket->wanted) {
        return;
    }
    if (!ring_op_busy(&socket->op)) {
        socket->armed = socket->wanted;
        ring_poll(socket->resolver->config.ring, &socket->op, socket->os_fd, socket->armed,
                  socket_done);
    } else if (socket->wanted & ~socket->armed) {
        ring_cancel(socket->resolver->config.ring, &socket->op);
    }
}

static struct socket *socket_find(struct resolver *resolver, int os_fd)
{
    for (unsigned i = 0; i < resolver->sockets_used; i++) {
        if (resolver->sockets[i].os_fd == os_fd) {
            return &resolver->sockets[i];
        }
    }
    return NULL;
}

static bool socket_is_free(const struct socket *socket)
{
    return socket->os_fd < 0 && !ring_op_busy(&socket->op);
}

static struct socket *socket_free(struct resolver *resolver)
{
    unsigned *used = &resolver->sockets_used;
    while (*used > 0 && socket_is_free(&resolver->sockets[*used - 1])) {
        --*used;
    }
    for (unsigned i = 0; i < *used; i++) {
        if (socket_is_free(&resolver->sockets[i])) {
            return &resolver->sockets[i];
        }
    }
    return *used < resolver->sockets_max ? &resolver->sockets[*used] : NULL;
}

/* Asked by c-ares for each socket it opens: without a place for it the server counts as refusing.
 */
static int socket_opened(ares_socket_t os_fd, int type, void *context)
{
    (void)os_fd, (void)type;
    return socket_free(context) ? 0 : -1;
}

/* c-ares tells what it waits for; neither = it closes the socket next. */
static void socket_wanted(void *context, ares_socket_t os_fd, int readable, int writable)
{
    struct resolver *resolver = context;
    struct socket *socket = socket_find(resolver, os_fd);
    if (!readable && !writable) {
        if (socket) {
            ring_cancel(resolver->config.ring, &socket->op);
            socket->os_fd = -1;
        }
        return;
    }
    if (!socket) {
        socket = socket_free(resolver);
        resolver->sockets_used += socket == &resolver->sockets[resolver->sockets_used];
    }
    if (socket) {
        socket->os_fd = os_fd;
        socket->wanted = (readable ? RING_POLL_READ : 0) | (writable ? RING_POLL_WRITE : 0);
        socket_arm(socket);
    }
}

static void timeouts_fire(struct timer *timer)
{
    struct resolver *resolver = bk_container_of(timer, struct resolver, timer);
    process(resolver, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    settle(resolver);
    timeouts_arm(resolver);
}

/* After everything that may have changed what c-ares waits for. */
static void timeouts_arm(struct resolver *resolver)
{
    struct timeval left;
    struct timeval *next = resolver->channel ? ares_timeout(resolver->channel, NULL, &left) : NULL;
    uint64_t now_ns = now_of(resolver);
    if (!list_empty(&resolver->settle)) {
        timer_start(resolver->config.wheel, &resolver->timer, now_ns, timeouts_fire);
    } else if (next) {
        uint64_t wait_ns = (uint64_t)next->tv_sec * SECOND_NS + (uint64_t)next->tv_usec * 1000ULL;
        timer_start(resolver->config.wheel, &resolver->timer, now_ns + wait_ns, timeouts_fire);
    } else if (timer_running(&resolver->timer)) {
        timer_stop(resolver->config.wheel, &resolver->timer);
    }
}

/* ---- c-ares */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static int library_status;

static void library_open(void)
{
    library_status = ares_library_init(ARES_LIB_INIT_ALL);
}

static enum bk_err channel_servers(struct resolver *resolver, ares_channel channel)
{
    char text[DNS_SERVERS_MAX * (ADDRESS_TEXT_BYTES + 9)] = "";
    size_t bytes = 0;
    for (unsigned i = 0; i < resolver->config.server_count; i++) {
        const struct ring_address *server = &resolver->servers[i];
        char address[ADDRESS_TEXT_BYTES];
        address_format(server, address);
        bool v6 = server->family == 6;
        int written = snprintf(text + bytes, sizeof text - bytes, "%s%s%s%s:%u", i ? "," : "",
                               v6 ? "[" : "", address, v6 ? "]" : "", (unsigned)server->port);
        bk_assert(written > 0 && (size_t)written < sizeof text - bytes);
        bytes += (size_t)written;
    }
    return bytes == 0 || ares_set_servers_ports_csv(channel, text) == ARES_SUCCESS ? BK_OK
                                                                                   : BK_INVALID;
}

static enum bk_err channel_open(struct resolver *resolver, ares_channel *ret_channel)
{
    struct ares_options options = {
        .flags = ARES_FLAG_EDNS | ARES_FLAG_NOALIASES,
        .timeout =
            (int)(resolver->config.timeout_ms ? resolver->config.timeout_ms : TIMEOUT_MS_DEFAULT),
        .tries = (int)(resolver->config.tries ? resolver->config.tries : TRIES_DEFAULT),
        .ednspsz = EDNS_BYTES,
        .lookups = (char[]){"b"}, /* DNS; we ask the hosts file ourselves, for both families */
        .sock_state_cb = socket_wanted,
        .sock_state_cb_data = resolver,
    };
    int set = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
              ARES_OPT_LOOKUPS | ARES_OPT_SOCK_STATE_CB;
#ifdef ARES_OPT_QUERY_CACHE /* newer than 1.18: ours is the only cache, so that its bounds hold */
    options.qcache_max_ttl = 0;
    set |= ARES_OPT_QUERY_CACHE;
#endif
#ifdef ARES_OPT_UDP_MAX_QUERIES
    options.udp_max_queries = QUERIES_PER_SOCKET;
    set |= ARES_OPT_UDP_MAX_QUERIES;
#endif
#ifdef ARES_OPT_HOSTS_FILE
    if (resolver->hosts_path) {
        options.hosts_path = resolver->hosts_path;
        set |= ARES_OPT_HOSTS_FILE;
    }
#endif
    ares_channel channel = NULL;
    if (ares_init_options(&channel, &options, set) != ARES_SUCCESS) {
        return BK_NO_MEMORY;
    }
    ares_set_socket_callback(channel, socket_opened, resolver);
    enum bk_err err = channel_servers(resolver, channel);
    if (err != BK_OK) {
        ares_destroy(channel);
        return err;
    }
    *ret_channel = channel;
    return BK_OK;
}

/* ---- entries */

static struct entry **bucket_of(const struct resolver *resolver, uint64_t hash)
{
    return &resolver->buckets[hash & (resolver->bucket_count - 1)];
}

static uint64_t hash_of(const struct resolver *resolver, const char *name)
{
    uint64_t hash[2];
    siphash128(resolver->key, name, strlen(name), hash);
    return hash[0];
}

static struct entry *entry_find(const struct resolver *resolver, const char *name, uint64_t hash)
{
    for (struct entry *entry = *bucket_of(resolver, hash); entry; entry = entry->next) {
        if (entry->hash == hash && strcmp(entry->name, name) == 0) {
            return entry;
        }
    }
    return NULL;
}

static void entry_drop(struct resolver *resolver, struct entry *entry)
{
    struct entry **link = bucket_of(resolver, entry->hash);
    while (*link != entry) {
        link = &(*link)->next;
    }
    *link = entry->next;
    entry->used = false;
    resolver->stats.evicted++;
}

/* A place that was never used, else the least recently used one that nobody waits for, those
 * without addresses first; NULL when there is none. */
static struct entry *entry_place(struct resolver *resolver)
{
    if (resolver->entries_used < resolver->config.names_max) {
        struct entry *entry = &resolver->entries[resolver->entries_used++];
        list_init(&entry->waiters);
        return entry;
    }
    struct list *node = list_pop_front(&resolver->spent);
    node = node ? node : list_pop_front(&resolver->lru);
    return node ? bk_container_of(node, struct entry, lru) : NULL;
}

static struct entry *entry_make(struct resolver *resolver, const char *name, uint64_t hash)
{
    struct entry *entry = entry_place(resolver);
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
    struct entry **bucket = bucket_of(resolver, hash);
    entry->next = *bucket;
    *bucket = entry;
    list_push_back(&resolver->spent, &entry->lru);
    return entry;
}

static void entry_touch(struct entry *entry)
{
    struct resolver *resolver = entry->resolver;
    if (list_linked(&entry->lru)) {
        list_remove(&entry->lru);
        list_push_back(entry->count > 0 ? &resolver->lru : &resolver->spent, &entry->lru);
    }
}

static bool entry_asking(const struct entry *entry)
{
    return entry->queries[V4].running || entry->queries[V6].running;
}

static bool entry_fresh(const struct entry *entry, uint64_t now_ns)
{
    return entry->count > 0 && now_ns < entry->fresh_until_ns;
}

static bool entry_stale(const struct entry *entry, uint64_t now_ns)
{
    return entry->count > 0 && now_ns < entry->fresh_until_ns + STALE_NS;
}

static bool entry_failed(const struct entry *entry, uint64_t now_ns)
{
    return entry->err != BK_OK && now_ns < entry->failed_until_ns;
}

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
static void give_addresses(const struct entry *entry, struct dns_lookup *lookup, bool stale)
{
    struct resolver *resolver = entry->resolver;
    uint8_t family = now_of(resolver) < entry->won_until_ns ? entry->won_family : 6;
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
static enum bk_err answer(struct entry *entry, struct dns_lookup *lookup)
{
    struct resolver *resolver = entry->resolver;
    uint64_t now_ns = now_of(resolver);
    if (entry_fresh(entry, now_ns)) {
        give_addresses(entry, lookup, false);
        return BK_OK;
    }
    bool failed = entry_failed(entry, now_ns);
    if ((failed || (entry->slow && entry_asking(entry))) && entry_stale(entry, now_ns)) {
        give_addresses(entry, lookup, true);
        resolver->stats.stale_answers++;
        return BK_OK;
    }
    return failed ? fail(lookup, entry->err, entry->name, entry->reason) : BK_AGAIN;
}

/* Everybody who waits, if they can be answered now. done() may start and cancel lookups, also of
 * this name. Requires: the entry is not in `lru`, so none of these lookups can drive it out. */
static void answer_waiters(struct entry *entry)
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

/* Nothing is asked any more: the place may be used for another name one day. */
static void entry_rest(struct entry *entry)
{
    struct resolver *resolver = entry->resolver;
    if (!entry_asking(entry) && !list_linked(&entry->lru)) {
        list_push_back(entry->count > 0 ? &resolver->lru : &resolver->spent, &entry->lru);
    }
}

/* ---- results of queries */

static void entry_add(struct entry *entry, const struct ring_address *address)
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

static bool address_from_socket(const struct sockaddr *from, struct ring_address *ret_address)
{
    struct ring_address address = {.family = 0};
    if (from->sa_family == AF_INET) {
        address.family = 4;
        memcpy(address.at, &((const struct sockaddr_in *)(const void *)from)->sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(v6);
        address.family = mapped ? 4 : 6;
        memcpy(address.at, v6->s6_addr + (mapped ? 12 : 0), mapped ? 4 : 16);
    }
    *ret_address = address;
    return address.family != 0;
}

/* The first answer of a round takes the place of what was known; the second joins it. */
static void entry_begin_answer(struct entry *entry)
{
    if (!entry->fresh_round) {
        entry->fresh_round = true;
        entry->slow = false;
        entry->count = 0;
        entry->fresh_until_ns = UINT64_MAX;
    }
}

static void entry_end_answer(struct entry *entry, uint64_t ttl_s)
{
    ttl_s = ttl_s < TTL_MIN_S ? TTL_MIN_S : ttl_s > TTL_MAX_S ? TTL_MAX_S : ttl_s;
    uint64_t until_ns = now_of(entry->resolver) + ttl_s * SECOND_NS;
    entry->fresh_until_ns = until_ns < entry->fresh_until_ns ? until_ns : entry->fresh_until_ns;
    entry->err = BK_OK;
    entry->failed_until_ns = 0;
}

static void entry_answered(struct entry *entry, const struct ares_addrinfo *info)
{
    int64_t ttl_s = INT32_MAX;
    entry_begin_answer(entry);
    for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next) {
        struct ring_address address;
        if (node->ai_addr && address_from_socket(node->ai_addr, &address)) {
            entry_add(entry, &address);
        }
        ttl_s = node->ai_ttl < ttl_s ? node->ai_ttl : ttl_s;
    }
    for (const struct ares_addrinfo_cname *cname = info->cnames; cname; cname = cname->next) {
        ttl_s = cname->ttl < ttl_s ? cname->ttl : ttl_s;
    }
    entry_end_answer(entry, ttl_s > 0 ? (uint64_t)ttl_s : 0);
}

static enum bk_err err_from_ares(int status, const char **ret_reason)
{
    switch (status) {
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
        *ret_reason = "no such name in DNS, or it has no address";
        return BK_NOT_FOUND;
    case ARES_ETIMEOUT:
        *ret_reason = "no name server answered in time";
        return BK_TIMEOUT;
    case ARES_ECONNREFUSED:
        *ret_reason = "no name server can be reached";
        return BK_UNREACHABLE;
    case ARES_ESERVFAIL:
        *ret_reason = "the name servers failed (SERVFAIL)";
        return BK_UNREACHABLE;
    case ARES_EREFUSED:
        *ret_reason = "the name servers refused the question";
        return BK_UNREACHABLE;
    case ARES_ENOTIMP:
    case ARES_EFORMERR:
    case ARES_EBADRESP:
        *ret_reason = "the name servers' answer makes no sense";
        return BK_PROTOCOL;
    case ARES_EBADNAME:
    case ARES_EBADSTR:
    case ARES_EBADQUERY:
        *ret_reason = "not a name that DNS can be asked for";
        return BK_INVALID;
    case ARES_ENOMEM:
        *ret_reason = "out of memory while resolving";
        return BK_NO_MEMORY;
    default:
        *ret_reason = "the resolver failed";
        return BK_UNREACHABLE;
    }
}

/* c-ares is done with one family. Called from inside of it. */
static void query_ended(void *context, int status, int timeouts, struct ares_addrinfo *info)
{
    struct query *query = context;
    struct entry *entry = query->entry;
    struct resolver *resolver = entry->resolver;
    (void)timeouts;
    bk_assert(query->running);
    if (resolver->restarting) {
        return; /* it is asked again by the next channel */
    }
    query->running = false;
    if (status == ARES_SUCCESS && info && info->nodes) {
        entry_answered(entry, info);
    } else {
        const char *reason;
        enum bk_err err = err_from_ares(status == ARES_SUCCESS ? ARES_ENODATA : status, &reason);
        if (err == BK_NOT_FOUND) {
            entry->absent++;
        }
        /* A failure says more than an absence. */
        if (entry->round_err == BK_OK || err != BK_NOT_FOUND) {
            entry->round_err = err;
            entry->round_reason = reason;
        }
    }
    if (info) {
        ares_freeaddrinfo(info);
    }
    if (!list_linked(&entry->settle)) {
        list_push_back(&resolver->settle, &entry->settle);
    }
}

/* ---- turns */

static enum rank rank_of(const struct entry *entry)
{
    return entry->err == BK_TIMEOUT ? DOUBTFUL : entry->count > 0 ? KNOWN : NEW;
}

static bool may_ask(const struct resolver *resolver, enum rank rank)
{
    if (rank == KNOWN) {
        return resolver->asked < resolver->asked_max;
    }
    return resolver->young_count < YOUNG_MAX &&
           resolver->asked < resolver->asked_max - resolver->asked_max / ASKED_KNOWN_SHARE &&
           (rank == NEW || (resolver->young_doubtful < YOUNG_DOUBTFUL_MAX &&
                            resolver->asked_doubtful < resolver->asked_max / 4 * 3));
}

static void young_end(struct entry *entry)
{
    struct resolver *resolver = entry->resolver;
    if (list_linked(&entry->young)) {
        list_remove(&entry->young);
        resolver->young_count--;
        resolver->young_doubtful -= entry->rank == DOUBTFUL;
    }
}

static void settle(struct resolver *resolver);

static void young_fire(struct timer *timer)
{
    struct resolver *resolver = bk_container_of(timer, struct resolver, young_timer);
    uint64_t now_ns = now_of(resolver);
    while (!list_empty(&resolver->young)) {
        struct entry *entry = bk_container_of(resolver->young.next, struct entry, young);
        if (entry->young_until_ns > now_ns) {
            timer_start(resolver->config.wheel, timer, entry->young_until_ns, young_fire);
            break;
        }
        young_end(entry);
    }
    settle(resolver);
    timeouts_arm(resolver);
}

static void asked_begin(struct entry *entry)
{
    struct resolver *resolver = entry->resolver;
    resolver->asked++;
    resolver->asked_doubtful += entry->rank == DOUBTFUL;
    entry->young_until_ns = now_of(resolver) + YOUNG_NS;
    list_push_back(&resolver->young, &entry->young);
    resolver->young_count++;
    resolver->young_doubtful += entry->rank == DOUBTFUL;
    if (!timer_running(&resolver->young_timer)) {
        timer_start(resolver->config.wheel, &resolver->young_timer, entry->young_until_ns,
                    young_fire);
    }
}

static void asked_end(struct entry *entry)
{
    struct resolver *resolver = entry->resolver;
    bk_assert(resolver->asked > 0);
    resolver->asked--;
    resolver->asked_doubtful -= entry->rank == DOUBTFUL;
    young_end(entry);
    if (list_empty(&resolver->young)) {
        timer_stop(resolver->config.wheel, &resolver->young_timer);
    }
}

/* Whose turn it is; NULL: nobody's. */
static struct entry *turn_next(struct resolver *resolver)
{
    for (enum rank rank = KNOWN; rank < RANKS; rank++) {
        struct list *node =
            may_ask(resolver, rank) ? list_pop_front(&resolver->queues[rank]) : NULL;
        if (node) {
            resolver->doubtful_waiting -= rank == DOUBTFUL;
            return bk_container_of(node, struct entry, turn);
        }
    }
    return NULL;
}

/* Both families ended. */
static void round_over(struct entry *entry)
{
    struct resolver *resolver = entry->resolver;
    asked_end(entry);
    if (!entry->fresh_round) {
        entry->err = entry->round_err;
        entry->reason = entry->round_reason;
        bool absent = entry->absent == FAMILIES;
        entry->failed_until_ns = now_of(resolver) + (absent ? ABSENT_NS : FAILED_NS);
        if (absent) {
            entry->count = 0; /* believed: the old addresses are gone */
        }
    }
    entry->slow = false;
    if (timer_running(&entry->timer)) {
        timer_stop(resolver->config.wheel, &entry->timer);
    }
}

static void entry_late(struct timer *timer)
{
    struct entry *entry = bk_container_of(timer, struct entry, timer);
    entry->slow = true;
    answer_waiters(entry);
}

/* One family has answered, the other one has not. */
static void round_half(struct entry *entry)
{
    struct resolver *resolver = entry->resolver;
    if (entry->fresh_round) {
        uint64_t wait_ns = entry->queries[V6].running ? WAIT_V6_NS : WAIT_V4_NS;
        timer_start(resolver->config.wheel, &entry->timer, now_of(resolver) + wait_ns, entry_late);
    }
}

/* Returns true when those who wait can be answered. */
static bool entry_settle(struct entry *entry)
{
    list_remove(&entry->settle);
    if (entry_asking(entry)) {
        round_half(entry);
        return false;
    }
    round_over(entry);
    return true;
}

static void queries_start(struct entry *entry);

static void settle(struct resolver *resolver)
{
    for (;;) {
        for (struct entry *next; (next = turn_next(resolver)) != NULL;) {
            asked_begin(next);
            queries_start(next);
        }
        if (list_empty(&resolver->settle)) {
            return;
        }
        struct entry *entry = bk_container_of(resolver->settle.next, struct entry, settle);
        if (entry_settle(entry)) {
            answer_waiters(entry);
            entry_rest(entry);
        }
    }
}

/* ---- asking */

static bool hosts_file(struct entry *entry, int family)
{
    struct hostent *found = NULL;
    if (ares_gethostbyname_file(entry->resolver->channel, entry->name, family, &found) !=
        ARES_SUCCESS) {
        return false;
    }
    entry_begin_answer(entry);
    for (char **at = found->h_addr_list; *at; at++) {
        struct ring_address address = {.family = family == AF_INET ? 4 : 6};
        memcpy(address.at, *at, family == AF_INET ? 4 : 16);
        entry_add(entry, &address);
    }
    ares_free_hostent(found);
    return true;
}

static void queries_start(struct entry *entry)
{
    static const int families[FAMILIES] = {[V4] = AF_INET, [V6] = AF_INET6};
    struct resolver *resolver = entry->resolver;
    /* Both run before either is asked: one may end at once. */
    bool ask[FAMILIES];
    for (unsigned i = 0; i < FAMILIES; i++) {
        ask[i] = entry->queries[i].running;
    }
    for (unsigned i = 0; i < FAMILIES; i++) {
        if (ask[i]) {
            struct ares_addrinfo_hints hints = {
                .ai_family = families[i],
                .ai_socktype = SOCK_STREAM,
                .ai_flags = ARES_AI_NOSORT, /* who connects finds out what is reachable */
            };
            resolver->stats.queries++;
            ares_getaddrinfo(resolver->channel, entry->name, NULL, &hints, query_ended,
                             &entry->queries[i]);
        }
    }
}

/* Too many of those that nobody answered for wait already: it is not asked for now. */
static bool is_hopeless(struct entry *entry)
{
    struct resolver *resolver = entry->resolver;
    if (entry->rank != DOUBTFUL || may_ask(resolver, DOUBTFUL) ||
        resolver->doubtful_waiting < resolver->config.names_max / DOUBTFUL_SHARE) {
        return false;
    }
    entry->failed_until_ns = now_of(resolver) + FAILED_NS;
    return true;
}

/* Ask for a name. Its answer may be there when this returns. */
static void entry_ask(struct entry *entry)
{
    struct resolver *resolver = entry->resolver;
    entry->fresh_round = false;
    entry->slow = false;
    entry->round_err = BK_OK;
    entry->absent = 0;
    bool v4 = hosts_file(entry, AF_INET);
    bool v6 = hosts_file(entry, AF_INET6);
    if (v4 || v6) {
        entry_end_answer(entry, TTL_MIN_S);
        return;
    }
    entry->rank = rank_of(entry);
    if (is_hopeless(entry)) {
        return;
    }
    if (list_linked(&entry->lru)) {
        list_remove(&entry->lru);
    }
    entry->queries[V4].running = entry->queries[V6].running = true;
    if (entry_stale(entry, now_of(resolver))) {
        timer_start(resolver->config.wheel, &entry->timer, now_of(resolver) + SLOW_NS, entry_late);
    }
    if (!may_ask(resolver, entry->rank)) {
        list_push_back(&resolver->queues[entry->rank], &entry->turn);
        resolver->doubtful_waiting += entry->rank == DOUBTFUL;
        return;
    }
    asked_begin(entry);
    queries_start(entry);
    if (!entry_asking(entry)) {
        (void)entry_settle(entry);
        entry_rest(entry);
    }
    timeouts_arm(resolver);
}

/* ---- looking up */

/* RFC 6761: these never leave the machine. */
static bool is_localhost(const char *name)
{
    size_t bytes = strlen(name);
    const char *end = bytes >= 9 ? name + bytes - 9 : NULL;
    return end && strcmp(end, "localhost") == 0 && (end == name || end[-1] == '.');
}

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
    uint64_t hash = hash_of(resolver, name);
    struct entry *entry = entry_find(resolver, name, hash);
    if (!entry) {
        entry = entry_make(resolver, name, hash);
        if (!entry) {
            resolver->stats.failures++;
            return fail(lookup, BK_BUSY, name, "too many names are being resolved");
        }
    }
    entry_touch(entry);
    enum bk_err err = answer(entry, lookup);
    if (err != BK_AGAIN) {
        *(err == BK_OK ? &resolver->stats.hits : &resolver->stats.negative_hits) += 1;
        return err;
    }
    if (entry_asking(entry)) {
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
    if (url.host_kind != URL_HOST_NAME || is_localhost(url.host)) {
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
    struct entry *entry = entry_find(resolver, url.host, hash_of(resolver, url.host));
    if (entry) {
        entry->won_family = family;
        entry->won_until_ns = now_of(resolver) + WON_NS;
    }
}

/* ---- life */

/* Each name that is asked for has two sockets. */
static unsigned asked_most(void)
{
    struct rlimit limit;
    uint64_t fitting = ASKED_MAX;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        fitting = limit.rlim_cur / DESCRIPTORS_SHARE;
    }
    return fitting < ASKED_MIN ? ASKED_MIN : fitting < ASKED_MAX ? (unsigned)fitting : ASKED_MAX;
}

enum bk_err resolver_open(const struct resolver_config *config, struct resolver **ret_resolver,
                          const char **ret_why)
{
    bk_assert(config->server_count <= DNS_SERVERS_MAX);
    pthread_once(&library_once, library_open);
    unsigned names = config->names_max ? config->names_max : NAMES_DEFAULT;
    unsigned buckets = 16;
    while (buckets < names) {
        buckets *= 2;
    }
    unsigned asked_max = asked_most();
    unsigned sockets_max = 2 * asked_max * FAMILIES + 32U;
    struct resolver *resolver = calloc(1, sizeof *resolver);
    struct socket *sockets = calloc(sockets_max, sizeof *sockets);
    struct entry *entries = calloc(names, sizeof *entries);
    struct entry **heads = calloc(buckets, sizeof *heads);
    char *hosts_path = config->hosts_path ? strdup(config->hosts_path) : NULL;
    *ret_why = "out of memory for the resolver";
    if (!resolver || !sockets || !entries || !heads || (config->hosts_path && !hosts_path) ||
        library_status != ARES_SUCCESS) {
        free(resolver), free(sockets), free(entries), free((void *)heads), free(hosts_path);
        return BK_NO_MEMORY;
    }
    resolver->config = *config;
    resolver->config.names_max = names;
    for (unsigned i = 0; i < config->server_count; i++) {
        resolver->servers[i] = config->servers[i];
    }
    resolver->hosts_path = hosts_path;
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
    enum bk_err err = channel_open(resolver, &resolver->channel);
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
    ares_channel channel;
    if (resolver->stopped || channel_open(resolver, &channel) != BK_OK) {
        return; /* the old one goes on */
    }
    resolver->restarting = true;
    ares_destroy(resolver->channel);
    resolver->restarting = false;
    resolver->channel = channel;
    uint64_t now_ns = now_of(resolver);
    for (unsigned i = 0; i < resolver->entries_used; i++) {
        struct entry *entry = &resolver->entries[i];
        entry->failed_until_ns = 0;
        entry->fresh_until_ns = entry->fresh_until_ns < now_ns ? entry->fresh_until_ns : now_ns;
        if (entry_asking(entry) && !list_linked(&entry->turn)) {
            queries_start(entry);
        }
    }
    timeouts_arm(resolver);
}

/* Those that were never asked end as those do whose channel is destroyed. */
static void queues_drop(struct resolver *resolver)
{
    for (enum rank rank = KNOWN; rank < RANKS; rank++) {
        for (struct list *node; (node = list_pop_front(&resolver->queues[rank]));) {
            struct entry *entry = bk_container_of(node, struct entry, turn);
            asked_begin(entry);
            query_ended(&entry->queries[V4], ARES_EDESTRUCTION, 0, NULL);
            query_ended(&entry->queries[V6], ARES_EDESTRUCTION, 0, NULL);
        }
    }
    resolver->doubtful_waiting = 0;
}

void resolver_stop(struct resolver *resolver)
{
    resolver->stopped = true;
    if (resolver->channel) {
        ares_destroy(resolver->channel);
        resolver->channel = NULL;
    }
    queues_drop(resolver);
    for (unsigned i = 0; i < resolver->entries_used; i++) {
        struct entry *entry = &resolver->entries[i];
        for (struct list *node; (node = list_pop_front(&entry->waiters));) {
            struct dns_lookup *lookup = bk_container_of(node, struct dns_lookup, node);
            fail(lookup, BK_CANCELLED, entry->name, "the resolver was stopped");
            resolver->stats.failures++;
            lookup->done(lookup);
        }
    }
    settle(resolver);
    timeouts_arm(resolver);
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
    free(resolver->sockets);
    free(resolver->entries);
    free((void *)resolver->buckets);
    free(resolver);
}

const struct resolver_stats *resolver_stats(const struct resolver *resolver)
{
    return &resolver->stats;
}
