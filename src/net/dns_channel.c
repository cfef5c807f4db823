#include "net/dns_private.h"

#include "base/time.h"

#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>

/* Answers above come again by TCP; below, they are never cut into fragments. */
#define EDNS_BYTES 1232
/* Each question has a socket, and so a random port, of its own; and what is wrong with an answer is
 * no other question's concern (c-ares gives up a socket that brought garbage). */
#define QUERIES_PER_SOCKET 1
#define CONF_LOOK_NS       SECOND_NS
/* c-ares waits for a server as long as its answers of late let expect, at least a quarter of a
 * second: one that answers at once out of its cache has so little for a name that it must find out.
 * With five tries, each twice as long as the one before, that name has five seconds. */
#define TIMEOUT_MS_DEFAULT 1000
#define TIMEOUT_MS_MAX     3000
#define TRIES_DEFAULT      5

/* ---- its sockets on the ring */

static void socket_done(struct ring_op *op, const struct ring_result *result);

static void process(struct resolver *resolver, int read_fd, int write_fd)
{
    if (resolver->channel) {
        ares_process_fd(resolver->channel, read_fd, write_fd);
    }
}

/* Wait for what c-ares wants of a socket. Waiting for more than that does no harm. */
static void socket_arm(struct dns_socket *socket)
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

static void socket_done(struct ring_op *op, const struct ring_result *result)
{
    struct dns_socket *socket = bk_container_of(op, struct dns_socket, op);
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
    dns_settle(resolver);
    dns_timeouts_arm(resolver);
}

static struct dns_socket *socket_find(struct resolver *resolver, int os_fd)
{
    for (unsigned i = 0; i < resolver->sockets_used; i++) {
        if (resolver->sockets[i].os_fd == os_fd) {
            return &resolver->sockets[i];
        }
    }
    return NULL;
}

static bool socket_is_free(const struct dns_socket *socket)
{
    return socket->os_fd < 0 && !ring_op_busy(&socket->op);
}

static struct dns_socket *socket_free(struct resolver *resolver)
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
    struct dns_socket *socket = socket_find(resolver, os_fd);
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
    dns_settle(resolver);
    dns_timeouts_arm(resolver);
}

void dns_timeouts_arm(struct resolver *resolver)
{
    struct timeval left;
    struct timeval *next = resolver->channel ? ares_timeout(resolver->channel, NULL, &left) : NULL;
    uint64_t now_ns = dns_now_ns(resolver);
    if (!list_empty(&resolver->settle)) {
        timer_start(resolver->config.wheel, &resolver->timer, now_ns, timeouts_fire);
    } else if (next) {
        uint64_t wait_ns = (uint64_t)next->tv_sec * SECOND_NS + (uint64_t)next->tv_usec * 1000ULL;
        timer_start(resolver->config.wheel, &resolver->timer, now_ns + wait_ns, timeouts_fire);
    } else if (timer_running(&resolver->timer)) {
        timer_stop(resolver->config.wheel, &resolver->timer);
    }
}

/* ---- its life */

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

static struct dns_conf conf_of(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return (struct dns_conf){.there = false};
    }
    return (struct dns_conf){.there = true,
                             .device = status.st_dev,
                             .number = status.st_ino,
                             .bytes = status.st_size,
                             .written_ns =
                                 status.st_mtim.tv_sec * NS_PER_SECOND + status.st_mtim.tv_nsec};
}

bool dns_conf_changed(struct resolver *resolver)
{
    uint64_t now_ns = dns_now_ns(resolver);
    if (now_ns < resolver->conf_look_ns) {
        return false;
    }
    struct dns_conf now = conf_of(resolver->conf_path), was = resolver->conf;
    resolver->conf_look_ns = now_ns + CONF_LOOK_NS;
    return now.there != was.there || now.device != was.device || now.number != was.number ||
           now.bytes != was.bytes || now.written_ns != was.written_ns;
}

static enum bk_err channel_open(struct resolver *resolver, ares_channel *ret_channel)
{
    struct dns_conf conf = conf_of(resolver->conf_path); /* before it is read */
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
#ifdef ARES_OPT_MAXTIMEOUTMS
    options.maxtimeout = options.timeout > TIMEOUT_MS_MAX ? options.timeout : TIMEOUT_MS_MAX;
    set |= ARES_OPT_MAXTIMEOUTMS;
#endif
#ifdef ARES_OPT_UDP_MAX_QUERIES
    options.udp_max_queries = QUERIES_PER_SOCKET;
    set |= ARES_OPT_UDP_MAX_QUERIES;
#endif
#ifdef ARES_OPT_RESOLVCONF
    options.resolvconf_path = resolver->conf_path;
    set |= ARES_OPT_RESOLVCONF;
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
    resolver->conf = conf;
    *ret_channel = channel;
    return BK_OK;
}

enum bk_err dns_channel_open(struct resolver *resolver)
{
    pthread_once(&library_once, library_open);
    return library_status == ARES_SUCCESS ? channel_open(resolver, &resolver->channel)
                                          : BK_NO_MEMORY;
}

bool dns_channel_restart(struct resolver *resolver)
{
    ares_channel channel;
    if (channel_open(resolver, &channel) != BK_OK) {
        return false;
    }
    resolver->restarting = true;
    ares_destroy(resolver->channel);
    resolver->restarting = false;
    resolver->channel = channel;
    return true;
}

void dns_channel_close(struct resolver *resolver)
{
    if (resolver->channel) {
        ares_destroy(resolver->channel);
        resolver->channel = NULL;
    }
}

/* ---- queries and their results */

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

static void entry_answered(struct dns_entry *entry, const struct ares_addrinfo *info)
{
    int64_t ttl_s = INT32_MAX;
    dns_entry_begin_answer(entry);
    for (const struct ares_addrinfo_node *node = info->nodes; node; node = node->ai_next) {
        struct ring_address address;
        if (node->ai_addr && address_from_socket(node->ai_addr, &address)) {
            dns_entry_add(entry, &address);
        }
        ttl_s = node->ai_ttl < ttl_s ? node->ai_ttl : ttl_s;
    }
    for (const struct ares_addrinfo_cname *cname = info->cnames; cname; cname = cname->next) {
        ttl_s = cname->ttl < ttl_s ? cname->ttl : ttl_s;
    }
    dns_entry_end_answer(entry, ttl_s > 0 ? (uint64_t)ttl_s : 0);
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
    struct dns_query *query = context;
    struct dns_entry *entry = query->entry;
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
        /* Servers are known that say "no such name" of IPv6 only (RFC 4074 4.2): not believed. */
        bool no_name = status == ARES_ENOTFOUND && query == &entry->queries[V4];
        if (err == BK_NOT_FOUND) {
            entry->absent++;
        }
        /* A failure says more than an absence, and the first one more than a silence behind it. */
        if (no_name || entry->round_err == BK_OK ||
            (entry->round_err == BK_NOT_FOUND && !entry->no_name)) {
            entry->round_err = err;
            entry->round_reason = reason;
        }
        entry->no_name |= no_name;
    }
    if (info) {
        ares_freeaddrinfo(info);
    }
    if (!list_linked(&entry->settle)) {
        list_push_back(&resolver->settle, &entry->settle);
    }
}

bool dns_hosts_file(struct dns_entry *entry, int family)
{
    struct hostent *found = NULL;
    if (ares_gethostbyname_file(entry->resolver->channel, entry->name, family, &found) !=
        ARES_SUCCESS) {
        return false;
    }
    dns_entry_begin_answer(entry);
    for (char **at = found->h_addr_list; *at; at++) {
        struct ring_address address = {.family = family == AF_INET ? 4 : 6};
        memcpy(address.at, *at, family == AF_INET ? 4 : 16);
        dns_entry_add(entry, &address);
    }
    ares_free_hostent(found);
    return true;
}

void dns_queries_start(struct dns_entry *entry)
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

void dns_queries_abandon(struct dns_entry *entry)
{
    query_ended(&entry->queries[V4], ARES_EDESTRUCTION, 0, NULL);
    query_ended(&entry->queries[V6], ARES_EDESTRUCTION, 0, NULL);
}
