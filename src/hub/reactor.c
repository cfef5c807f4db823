#include "hub/reactor.h"

#include "base/limits.h"
#include "base/time.h"
#include "http/client.h"
#include "hub/ingress/counters.h"
#include "net/dns.h"

#include <limits.h>
#include <stdlib.h>

#define HANDLES_OTHER 64U /* being closed, refused, passed on */
#define RING_ENTRIES  2048U
/* After a connection that could not be passed on, for no room, no memory: so long all stay. */
#define PASS_PAUSE_NS ((uint64_t)NS_PER_SECOND)
/* The answers of destinations, when they come fast: one half of those under way. */
#define GATHER_ANSWERS_US 50U

struct reactor {
    struct reactor_config config;
    struct ring *ring;
    struct timer_wheel wheel;
    struct buffers buffers;
    struct journal *journal;
    struct http_server *ingress_server;
    struct http_server *admin_server;
    struct http_client *client;
    struct filter_scratch *scratch;
    struct deliver *deliver; /* NULL: without routes (tests) */
    bool consuming;
    struct list appends;    /* our own events that are not durable yet, in order */
    uint64_t resumed_frame; /* the journal's, when requests that wait were looked at last */
    struct resolver *resolver;
    struct ingress ingress;
    struct metrics_reactor metrics;
    unsigned passing;       /* connections on their way to another core */
    bool cannot_pass;       /* the kernel says */
    uint64_t pass_again_ns; /* what failed lately may work then */
    uint64_t compute_again_ns;
    uint64_t watch_ns; /* config.watch wants to be called then */
    bool draining;
    bool journal_stopped;
    bool stopped;
    bool exit;
};

const char *reactor_listen_text(enum bk_err err)
{
    return err == BK_BUSY ? "in use; is another server running there? Choose another address"
           : err == BK_PERMISSION ? "not allowed for this user; choose a port above 1023, or allow "
                                    "CAP_NET_BIND_SERVICE"
                                  : "cannot listen there; is it an address of this machine?";
}

struct reactor *reactor_make(const struct reactor_config *config)
{
    struct reactor *reactor = calloc(1, sizeof *reactor);
    if (reactor) {
        reactor->config = *config;
        list_init(&reactor->appends);
        reactor->watch_ns = UINT64_MAX;
        ingress_init(&reactor->ingress, &reactor->config.ingress);
        reactor->ingress.metrics = &reactor->metrics;
        __atomic_store_n(&config->peers[config->ingress.id], &reactor->ingress, __ATOMIC_RELEASE);
    }
    return reactor;
}

/* Only what stopped in an orderly way can be closed in one. */
static void reactor_close(struct reactor *reactor)
{
    if (reactor->deliver) {
        deliver_close(reactor->deliver);
    }
    if (reactor->scratch) {
        filter_scratch_close(reactor->scratch);
    }
    journal_close(reactor->journal);
    http_server_close(reactor->ingress_server);
    if (reactor->admin_server) {
        http_server_close(reactor->admin_server);
    }
    http_client_close(reactor->client);
    resolver_close(reactor->resolver);
    buffers_fini(&reactor->buffers);
    ring_close(reactor->ring);
}

void reactor_free(struct reactor *reactor)
{
    if (reactor->stopped) {
        reactor_close(reactor);
    }
    ingress_fini(&reactor->ingress);
    free(reactor);
}

/* ---- the admin listener: hooks as on the other one, the rest for the admin handler */

static uint64_t admin_on_head(void *context, struct http_exchange *exchange,
                              const struct http_head *head)
{
    struct reactor *reactor = context;
    if (ingress_owns(head)) {
        return ingress_on_head(&reactor->ingress, exchange, head);
    }
    return reactor->config.admin_handler.on_head(reactor->config.admin_handler.context, exchange,
                                                 head);
}

static enum http_outcome admin_on_request(void *context, struct http_exchange *exchange,
                                          const struct http_message *message)
{
    struct reactor *reactor = context;
    if (ingress_owns(message->head)) {
        return ingress_on_request(&reactor->ingress, exchange, message);
    }
    return reactor->config.admin_handler.on_request(reactor->config.admin_handler.context, exchange,
                                                    message);
}

/* ---- few connections, many cores: the kernel's hash may give one core most of them, so who
 * accepts one beyond its share passes it on, before a byte is read, to the core that has least. */

struct pass {
    struct ring_op op;
    struct ring_mail mail;
    struct reactor *from, *to;
    struct ring_address peer;
    int32_t handle; /* in the ring of who has it now */
    int32_t there;
};

/* On the thread of the core that it was meant for; `there` is negative when it stayed. */
static void pass_arrived(struct ring_mail *mail)
{
    struct pass *pass = bk_container_of(mail, struct pass, mail);
    if (pass->there >= 0) {
        http_server_adopt(pass->to->ingress_server, pass->there, &pass->peer);
        atomic_fetch_add(&pass->to->ingress.conns, 1);
    }
    atomic_fetch_sub(&pass->to->ingress.arriving, 1);
    free(pass);
}

static void pass_tell(struct pass *pass)
{
    pass->from->passing--;
    pass->mail.run = pass_arrived;
    ring_post(pass->from->ring, pass->to->ring, &pass->mail);
}

static void pass_closed(struct ring_op *op, const struct ring_result *result)
{
    (void)result;
    pass_tell(bk_container_of(op, struct pass, op));
}

static void pass_done(struct ring_op *op, const struct ring_result *result)
{
    struct pass *pass = bk_container_of(op, struct pass, op);
    struct reactor *from = pass->from;
    pass->there = result->value;
    if (result->value >= 0) {
        ring_close_handle(from->ring, &pass->op, pass->handle, pass_closed);
        return;
    }
    /* Only what a kernel never does is never asked of it again; all else passes. */
    from->cannot_pass = result->value == -(int)BK_UNSUPPORTED || result->value == -(int)BK_INVALID;
    from->pass_again_ns = ring_now_ns(from->ring) + PASS_PAUSE_NS;
    http_server_adopt(from->ingress_server, pass->handle, &pass->peer);
    pass_tell(pass);
}

/* The core that has least, if it is enough less than here. */
static struct ingress *less_busy(const struct reactor *reactor)
{
    const struct ingress_config *config = &reactor->config.ingress;
    unsigned here = atomic_load(&reactor->ingress.conns) + atomic_load(&reactor->ingress.arriving);
    unsigned least = here - here / 8;
    struct ingress *found = NULL;
    for (unsigned i = 0; i < config->peer_count && least > 0; i++) {
        struct ingress *peer = __atomic_load_n(&config->peers[i], __ATOMIC_ACQUIRE);
        unsigned load = peer && peer != &reactor->ingress && atomic_load(&peer->open)
                            ? atomic_load(&peer->conns) + atomic_load(&peer->arriving)
                            : UINT_MAX;
        if (load < least) {
            least = load;
            found = peer;
        }
    }
    return found;
}

static bool place_connection(void *context, int32_t handle, const struct ring_address *peer)
{
    struct reactor *reactor = context;
    bool may = !reactor->cannot_pass && ring_now_ns(reactor->ring) >= reactor->pass_again_ns;
    struct ingress *to = may ? less_busy(reactor) : NULL;
    struct pass *pass = to ? calloc(1, sizeof *pass) : NULL;
    if (!pass) {
        atomic_fetch_add(&reactor->ingress.conns, 1); /* until count_turn() counts again */
        return false;
    }
    atomic_fetch_add(&to->arriving, 1);
    if (!atomic_load(&to->open)) { /* it closes meanwhile; else it waits for what arrives */
        atomic_fetch_sub(&to->arriving, 1);
        free(pass);
        return false;
    }
    pass->from = reactor;
    pass->to = bk_container_of(to, struct reactor, ingress);
    pass->peer = *peer;
    pass->handle = handle;
    reactor->passing++;
    ring_pass(reactor->ring, &pass->op, handle, pass->to->ring, pass_done);
    return true;
}

/* ---- opening */

static void resume_parked(struct reactor *reactor)
{
    if (http_server_has_parked(reactor->ingress_server)) {
        http_server_resume(reactor->ingress_server);
    }
    if (reactor->admin_server && http_server_has_parked(reactor->admin_server)) {
        http_server_resume(reactor->admin_server);
    }
}

static void appends_committed(struct reactor *reactor, uint64_t durable_through,
                              uint64_t failed_through, enum bk_err err)
{
    while (!list_empty(&reactor->appends)) {
        struct reactor_append *append =
            bk_container_of(reactor->appends.next, struct reactor_append, node);
        uint64_t sequence = append->position.sequence;
        bool durable = sequence <= durable_through;
        if (!durable && (err == BK_OK || sequence > failed_through)) {
            return;
        }
        list_remove(&append->node);
        append->err = durable ? BK_OK : err;
        append->done(append);
    }
}

static void committed(void *context, uint64_t durable_through, uint64_t failed_through,
                      enum bk_err err)
{
    struct reactor *reactor = context;
    ingress_committed(&reactor->ingress, durable_through, failed_through, err);
    appends_committed(reactor, durable_through, failed_through, err);
    resume_parked(reactor);
}

/* Where one listener accepts from: sockets that were made before, or its own. */
struct place {
    const struct ring_address *address;
    bool reuse_port;
    const int *sockets;
    unsigned socket_count;
    struct tls_slot *tls;
    size_t answers_bytes_max;
};

static enum bk_err listen_at(struct reactor *reactor, const struct place *place, unsigned index,
                             int32_t *ret_listener)
{
    struct ring_address address = *place->address;
    return place->socket_count ? ring_listen_on(reactor->ring, place->sockets[index], ret_listener)
                               : ring_listen(reactor->ring, &address, place->reuse_port,
                                             REACTOR_BACKLOG, ret_listener);
}

static enum bk_err open_server(struct reactor *reactor, const struct http_handler *handler,
                               const struct place *place, struct http_server **ret_server,
                               const char **ret_why)
{
    struct http_server_config config = http_server_defaults;
    config.tls = place->tls;
    config.conns_max = reactor->config.conns_max;
    config.exchanges_max = config.conns_max * 2;
    config.conns_per_address = reactor->config.conns_per_address;
    config.answers_bytes_max = place->answers_bytes_max;
    config.idle_timeout_ms =
        reactor->config.idle_timeout_ms ? reactor->config.idle_timeout_ms : config.idle_timeout_ms;
    config.head_timeout_ms =
        reactor->config.head_timeout_ms ? reactor->config.head_timeout_ms : config.head_timeout_ms;
    config.tls_conns_max = config.conns_max;
    if (place->reuse_port && reactor->config.ingress.peer_count > 1) {
        config.place = place_connection;
        config.place_context = reactor;
    }
    struct http_server *server = NULL;
    enum bk_err err = http_server_open(reactor->ring, &reactor->wheel, &reactor->buffers, &config,
                                       handler, &server);
    if (err != BK_OK) {
        *ret_why = "out of memory for connections: lower --connections";
        return err;
    }
    unsigned count = place->socket_count ? place->socket_count : 1;
    for (unsigned i = 0; i < count && err == BK_OK; i++) {
        int32_t listener;
        err = listen_at(reactor, place, i, &listener);
        if (err == BK_OK) {
            http_server_accept(server, listener);
        }
    }
    if (err != BK_OK) {
        *ret_why = reactor_listen_text(err);
    }
    *ret_server = server;
    return err;
}

static enum bk_err open_client(struct reactor *reactor, const char **ret_why)
{
    timer_wheel_init(&reactor->wheel, ring_now_ns(reactor->ring));
    buffers_init(&reactor->buffers, reactor->config.buffers_bytes_max);
    struct resolver_config dns = {
        .ring = reactor->ring,
        .wheel = &reactor->wheel,
        .servers = reactor->config.dns_servers,
        .server_count = reactor->config.dns_server_count,
    };
    enum bk_err err = resolver_open(&dns, &reactor->resolver, ret_why);
    if (err != BK_OK) {
        return err;
    }
    struct http_client_config config = http_client_defaults;
    config.trust = reactor->config.trust;
    config.proxy = reactor->config.proxy;
    config.resolver = reactor->resolver;
    err = http_client_open(reactor->ring, &reactor->wheel, &reactor->buffers, &config,
                           &reactor->client);
    if (err != BK_OK) {
        *ret_why = "out of memory for outgoing connections";
    }
    return err;
}

static enum bk_err open_deliver(struct reactor *reactor, const char **ret_why)
{
    struct deliver_config config = reactor->config.deliver;
    config.proxy = reactor->config.proxy;
    if (!config.routes) {
        return BK_OK;
    }
    enum bk_err err = filter_scratch_open(FILTER_SCRATCH_BYTES, &reactor->scratch);
    if (err == BK_OK) {
        config.ring = reactor->ring;
        config.wheel = &reactor->wheel;
        config.journal = reactor->journal;
        config.client = reactor->client;
        config.scratch = reactor->scratch;
        err = deliver_open(&config, &reactor->deliver);
    }
    if (err != BK_OK) {
        *ret_why = "out of memory for deliveries";
    }
    return err;
}

/* Behind the deliveries, whose events it tells apart from others by a bit. */
static void consume_with_feed(void *context, uint64_t sequence, const struct journal_entry *entry,
                              const uint8_t *message)
{
    struct reactor *reactor = context;
    if (reactor->consuming) {
        deliver_consume(reactor->deliver, sequence, entry, message);
    }
    link_feed_look(reactor->config.feed, sequence, entry->source);
}

unsigned reactor_handles_beside(void)
{
    return http_client_defaults.conns_max + HANDLES_OTHER;
}

static enum bk_err reactor_open(struct reactor *reactor, const char **ret_why)
{
    struct ring_config ring_config = {
        .entries = RING_ENTRIES,
        .handles_max = reactor->config.conns_max + reactor_handles_beside(),
        .handles_spare = http_server_defaults.held_max,
        .recv_buffers = RECV_BUFFERS_PER_CORE,
        .recv_buffer_bytes = RECV_BUFFER_BYTES,
        .cpu = reactor->config.cpu,
        .rings = reactor->config.deliver.cores,
    };
    enum bk_err err = ring_open(&ring_config, &reactor->ring, ret_why);
    if (err != BK_OK) {
        return err;
    }
    err = open_client(reactor, ret_why);
    if (err != BK_OK) {
        return err;
    }
    reactor->ingress.ring = reactor->ring;
    reactor->ingress.quarantine_ns = ring_now_ns(reactor->ring);
    struct journal_config journal_config = {
        .id = reactor->config.ingress.id,
        .ring = reactor->ring,
        .catalog = reactor->config.catalog,
        .durable = reactor->config.durable,
        .commit = committed,
        .context = reactor,
    };
    err = journal_open(&journal_config, &reactor->journal);
    if (err != BK_OK) {
        *ret_why =
            err == BK_NO_MEMORY ? "no memory for journal frames; give the process more memory"
                                : "the journal cannot be opened for writing";
        return err;
    }
    reactor->ingress.journal = reactor->journal;
    if (reactor->config.feed) {
        atomic_store(&reactor->config.feed->looked, journal_durable_through(reactor->journal));
        journal_consume(reactor->journal, consume_with_feed, reactor);
    }
    err = open_deliver(reactor, ret_why);
    if (err != BK_OK) {
        return err;
    }
    struct http_handler hooks = {&reactor->ingress, ingress_on_head, ingress_on_request,
                                 ingress_on_two};
    const struct reactor_config *config = &reactor->config;
    struct place place = {&config->listen, true, config->sockets, config->socket_count,
                          config->tls, http_server_defaults.answers_bytes_max};
    err = open_server(reactor, &hooks, &place, &reactor->ingress_server, ret_why);
    if (err == BK_OK && config->admin) {
        struct http_handler admin = {reactor, admin_on_head, admin_on_request, NULL};
        place = (struct place){&config->admin_listen, false, config->admin_sockets,
                               config->admin_socket_count, config->admin_tls,
                               config->admin_answers_bytes_max};
        err = open_server(reactor, &admin, &place, &reactor->admin_server, ret_why);
    }
    return err;
}

/* ---- stopping */

void reactor_drain(struct reactor *reactor, uint64_t deliver_until_ns, uint64_t answer_until_ns)
{
    if (reactor->draining || !reactor->ingress_server) {
        return;
    }
    reactor->draining = true;
    atomic_store(&reactor->ingress.open, false);
    reactor->ingress.give_up_ns = answer_until_ns;
    http_server_drain(reactor->ingress_server);
    if (reactor->admin_server) {
        http_server_drain(reactor->admin_server);
    }
    http_client_drain(reactor->client);
    if (reactor->deliver) {
        deliver_drain(reactor->deliver, deliver_until_ns);
    }
}

void reactor_exit(struct reactor *reactor)
{
    reactor->exit = true;
}

void reactor_resume(struct reactor *reactor)
{
    reactor->ingress.growth_asked = false;
    ingress_keys_changed(&reactor->ingress);
    resume_parked(reactor);
}

void reactor_forget(struct reactor *reactor)
{
    http_client_forget(reactor->client);
}

void reactor_when_settled(struct reactor *reactor, struct ingress_settled *settled,
                          void (*done)(struct ingress_settled *settled))
{
    ingress_when_settled(&reactor->ingress, settled, done);
}

void reactor_append(struct reactor *reactor, struct reactor_append *append)
{
    uint64_t sequence;
    append->err = reactor->journal_stopped ? BK_CLOSED
                                           : journal_append(reactor->journal, &append->entry,
                                                            append->message, NULL, 0, &sequence);
    if (append->err != BK_OK) {
        append->done(append);
        return;
    }
    append->position = (struct journal_position){journal_id(reactor->journal), sequence};
    list_push_back(&reactor->appends, &append->node);
}

static void drain_step(struct reactor *reactor)
{
    bool idle = reactor->passing == 0 && atomic_load(&reactor->ingress.arriving) == 0 &&
                http_server_idle(reactor->ingress_server) &&
                (!reactor->admin_server || http_server_idle(reactor->admin_server)) &&
                (!reactor->deliver || deliver_idle(reactor->deliver)) &&
                http_client_idle(reactor->client);
    if (idle && !reactor->journal_stopped) {
        reactor->journal_stopped = true;
        resolver_stop(reactor->resolver);
        journal_stop(reactor->journal);
        journal_turn(reactor->journal);
    }
    if (reactor->journal_stopped && !reactor->stopped && journal_idle(reactor->journal) &&
        resolver_idle(reactor->resolver)) {
        reactor->stopped = true; /* the journal stays: metrics and other cores' letters read it */
        reactor->config.stopped(reactor->config.context, reactor);
    }
}

/* ---- the loop */

static void count_tls(struct reactor *reactor)
{
    uint64_t counts[METRICS_TLS_COUNT] = {0};
    const struct http_server *servers[] = {reactor->ingress_server, reactor->admin_server};
    for (unsigned i = 0; i < 2 && servers[i]; i++) {
        const struct http_server_stats *stats = http_server_stats(servers[i]);
        counts[METRICS_TLS_FULL] += stats->tls_handshakes - stats->tls_resumed;
        counts[METRICS_TLS_RESUMED] += stats->tls_resumed;
        counts[METRICS_TLS_FAILED] += stats->tls_failed;
    }
    for (unsigned i = 0; i < METRICS_TLS_COUNT; i++) {
        counter_set(&reactor->metrics.tls_handshakes[i], counts[i]);
    }
}

static void count_turn(struct reactor *reactor)
{
    struct metrics_reactor *metrics = &reactor->metrics;
    const struct ring_stats *stats = ring_stats(reactor->ring);
    unsigned conns = http_server_stats(reactor->ingress_server)->conns_open;
    counter_set(&metrics->connections_ingress, conns);
    atomic_store_explicit(&reactor->ingress.conns, conns, memory_order_relaxed);
    if (reactor->admin_server) {
        counter_set(&metrics->connections_admin,
                    http_server_stats(reactor->admin_server)->conns_open);
    }
    if (reactor->config.tls) {
        count_tls(reactor);
    }
    counter_set(&metrics->ring_enters, stats->enters);
    counter_set(&metrics->recv_no_buffers, stats->recv_no_buffers);
    counter_set(&metrics->request_bytes, reactor->buffers.bytes_taken);
}

static uint64_t next_ns(struct reactor *reactor)
{
    uint64_t timer_ns = timer_wheel_next_ns(&reactor->wheel);
    uint64_t next_ns = timer_ns < reactor->watch_ns ? timer_ns : reactor->watch_ns;
    if (!reactor->stopped) {
        uint64_t journal_ns = journal_next_ns(reactor->journal);
        uint64_t ingress_ns = ingress_next_ns(&reactor->ingress);
        next_ns = journal_ns < next_ns ? journal_ns : next_ns;
        next_ns = ingress_ns < next_ns ? ingress_ns : next_ns;
    }
    return next_ns;
}

/* From the first destination on deliveries take what became durable. Looked at before a turn's
 * completions, so an event that was posted behind an apply's answer is never missed. */
static void consume_when_wanted(struct reactor *reactor)
{
    if (reactor->deliver && !reactor->consuming &&
        route_table_numbers(reactor->config.deliver.routes) > 1) {
        reactor->consuming = true;
        if (!reactor->config.feed) {
            journal_consume(reactor->journal, deliver_consume, reactor->deliver);
        }
    }
}

/* Handshakes that wait for their turn. */
static bool has_work(const struct reactor *reactor)
{
    return reactor->config.tls &&
           (http_server_has_work(reactor->ingress_server) ||
            (reactor->admin_server && http_server_has_work(reactor->admin_server)));
}

/* Wake up for several completions at once where nothing is gained by waking up for each: while a
 * commit is held back for those who got their answers, and while destinations answer fast. Never
 * while requests come beside a commit: such a wait sleeps over the commit's own completion. */
static void gather(struct reactor *reactor)
{
    unsigned count = 0, us = 0;
    uint64_t held_ns = 0;
    if (!reactor->stopped) {
        unsigned held = journal_held(reactor->journal, &held_ns);
        unsigned answers = reactor->deliver ? deliver_gather(reactor->deliver) : 0;
        count = held > 0 ? held : answers;
        us = held > 0 ? (unsigned)(held_ns / 1000) : GATHER_ANSWERS_US;
    }
    ring_gather(reactor->ring, count > 1 ? count : 0, count > 1 ? us : 0);
}

/* A step of a handshake takes as long as a thousand turns. So it comes when nothing else waits, or
 * when all else has had as long as the last one took: computing gets one half of the time at most,
 * and a flood of handshakes does not stand before a commit's completion. What the others wait for,
 * a commit and answers, is on its way before; what comes of the step follows with the next turn. */
static void compute(struct reactor *reactor)
{
    uint64_t began_ns = ring_clock_ns(reactor->ring);
    if (ring_behind(reactor->ring) && began_ns < reactor->compute_again_ns) {
        return;
    }
    ring_submit(reactor->ring);
    http_server_compute(reactor->ingress_server);
    if (reactor->admin_server) {
        http_server_compute(reactor->admin_server);
    }
    if (!reactor->stopped) {
        journal_turn(reactor->journal); /* of requests that came with the end of a handshake */
    }
    uint64_t ended_ns = ring_clock_ns(reactor->ring);
    reactor->compute_again_ns = ended_ns + (ended_ns - began_ns);
}

static void reactor_turn(struct reactor *reactor)
{
    consume_when_wanted(reactor);
    gather(reactor);
    ring_turn(reactor->ring, has_work(reactor) ? 0 : next_ns(reactor));
    http_server_received(reactor->ingress_server);
    uint64_t now_ns = ring_now_ns(reactor->ring);
    timer_wheel_run(&reactor->wheel, now_ns);
    if (reactor->config.watch) {
        reactor->watch_ns = reactor->config.watch(reactor->config.admin_handler.context, now_ns);
    }
    if (!reactor->stopped) {
        bool stalled = reactor->ingress.stalled;
        ingress_turn(&reactor->ingress);
        if (reactor->ingress.stalled && !stalled) {
            resume_parked(reactor); /* to be told so, too */
        }
        if (!journal_writing(reactor->journal)) {
            /* No commit will: they may wait for what came without one, a spare segment. */
            resume_parked(reactor);
        }
        journal_turn(reactor->journal);
        uint64_t frame = journal_filling_from(reactor->journal);
        if (frame != reactor->resumed_frame) {
            reactor->resumed_frame = frame;
            resume_parked(reactor); /* some wait for the next frame */
        }
    }
    http_server_flush(reactor->ingress_server);
    if (reactor->admin_server) {
        http_server_flush(reactor->admin_server);
    }
    if (!reactor->stopped) {
        journal_turn(reactor->journal); /* requests that waited behind the answers just sent */
    }
    if (reactor->deliver) {
        deliver_turn(reactor->deliver);
    }
    http_client_flush(reactor->client);
    if (has_work(reactor)) {
        compute(reactor);
    }
    count_turn(reactor);
    metrics_observe(&reactor->metrics.turn_ns, ring_clock_ns(reactor->ring) - now_ns,
                    METRICS_TIME_SHIFT);
}

void reactor_run(struct reactor *reactor)
{
    const char *why = "";
    enum bk_err err = reactor_open(reactor, &why);
    atomic_store(&reactor->ingress.open, err == BK_OK);
    reactor->config.opened(reactor->config.context, reactor, err, why);
    if (err != BK_OK) {
        return;
    }
    while (!reactor->exit) {
        reactor_turn(reactor);
        if (reactor->draining) {
            drain_step(reactor);
        }
    }
}

struct ring *reactor_ring(const struct reactor *reactor)
{
    return reactor->ring;
}

const struct deliver *reactor_deliver(const struct reactor *reactor)
{
    return reactor->deliver;
}

struct resolver *reactor_resolver(const struct reactor *reactor)
{
    return reactor->resolver;
}

struct http_client *reactor_client(const struct reactor *reactor)
{
    return reactor->client;
}

struct journal *reactor_journal(const struct reactor *reactor)
{
    return reactor->journal;
}

const struct metrics_reactor *reactor_metrics(const struct reactor *reactor)
{
    return &reactor->metrics;
}

const struct metrics_source *reactor_source_metrics(const struct reactor *reactor, uint64_t number)
{
    return counters_read(&reactor->ingress, number);
}
