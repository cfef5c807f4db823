/* The edges of a server's life: a stop under load, servers that follow each other on the same
 * listening sockets, and more than it can take. Checked:
 *   - drain: a request that was sent before it began, on a connection that was accepted, has its
 * answer, and so has one that comes a moment later on a connection that was not told to close; the
 * cores stop in time;
 *   - hand-over: no connection is refused or reset, no request stays without its answer;
 *   - overload: not more connections than slots, not more memory than allowed; then requests wait,
 * and only after their time is over they are told 503 with Retry-After (peer_sim.c looks at
 * that); a healthy request beside them is answered at once; when the disk moves again all is taken;
 *   - crowded: who is idle in the last slot makes room in five seconds;
 *   - always: what was acknowledged is durable then, and is on the disk once, byte for byte. */
#include "peer_sim.h"
#include "scenario.h"
#include "server_sim.h"

#include "hub/ingress/source_table.h"
#include "hub/metrics.h"
#include "journal/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define EVENTS_MAX       2048U
#define BATCH_MAX        6U
#define SENDERS_MAX      64U
#define IDLERS_MAX       32U
#define HEALTHY_REQUESTS 30U
#define SECRET           "it is a secret"
/* A request on its way that long before the drain has arrived when it begins. */
#define ARRIVES_NS (100 * MS)
/* And a connection that was not told to close has that long for another one. */
#define GRACE_NS (150 * MS)

struct event {
    uint64_t content;
    uint32_t body_bytes;
    char id[24];
    unsigned sent, acked, refused, found;
    uint64_t position;
    bool position_found;
};

struct sender {
    unsigned index;
    unsigned rounds; /* connections that it still opens for new events */
    bool pipelines;
    bool busy;
    uint32_t think_us;
    uint32_t body_bytes_max;
    struct event *events[BATCH_MAX];
    struct buf bytes[BATCH_MAX];
    struct peer_request requests[BATCH_MAX];
    uint64_t sent_ns[BATCH_MAX];
    unsigned count;
};

struct idler {
    struct sim_socket *socket;
    bool answered, over;
};

static struct {
    enum mode { DRAIN, HAND_OVER, OVERLOAD, CROWDED, CALM } mode;
    unsigned cores;
    unsigned conns_max;
    size_t request_bytes_max;
    int sockets[CORES]; /* of hand-overs */
    unsigned socket_count;
    uint64_t drain_ns;             /* when it began; 0 = it did not */
    uint64_t freeze_ns, frozen_ns; /* how long, since when */
    bool tight;                    /* of memory: 503 may come at once */
    bool over;                     /* senders begin nothing new */
} plan;

static struct event events[EVENTS_MAX];
static unsigned event_count;
static struct sender senders[SENDERS_MAX];
static unsigned sender_count;
static struct idler idlers[IDLERS_MAX];
static unsigned idler_count;
static struct scheme *signer;

/* ---- events */

static struct event *event_new(uint32_t body_bytes_max)
{
    bk_assert(event_count < EVENTS_MAX);
    struct event *event = &events[event_count];
    *event = (struct event){.content = sim_random(),
                            .body_bytes = (uint32_t)sim_between(1, body_bytes_max)};
    snprintf(event->id, sizeof event->id, "d-%u", event_count++);
    return event;
}

static void request_make(struct buf *out, const struct event *event)
{
    uint8_t *body = malloc(event->body_bytes + 1);
    bk_assert(body);
    buf_init(out, 1 << 20);
    server_sim_body(event->content, body, event->body_bytes);
    server_sim_sign(out, signer, "alpha", slice_str(event->id), slice_of(body, event->body_bytes));
    buf_printf(out, "Content-Length: %u\r\n\r\n", event->body_bytes);
    buf_add(out, body, event->body_bytes);
    free(body);
    bk_assert(!out->overflow);
}

/* ---- senders: each has one connection at a time, and sends again what was not taken */

static void sender_next(void *context, uint64_t number);

static void acknowledged(struct event *event, struct slice body)
{
    bool duplicate;
    uint64_t packed = server_sim_acknowledged(body, &duplicate);
    sim_check(!event->position || event->position == packed, "%s was stored twice", event->id);
    event->position = packed;
    event->acked++;
}

/* Not before it has waited for its time, or nothing has been flushed for longer than that. */
static void refused_in_time(const struct sender *sender, unsigned request)
{
    uint64_t now_ns = sim_now_ns();
    bool waited = now_ns - sender->sent_ns[request] >= 4900 * MS;
    bool stands = plan.frozen_ns != 0 && now_ns - plan.frozen_ns >= 9900 * MS;
    sim_check(waited || stands || plan.tight, "503 after %" PRIu64 " ms, frozen for %" PRIu64 " ms",
              (now_ns - sender->sent_ns[request]) / MS,
              plan.frozen_ns ? (now_ns - plan.frozen_ns) / MS : 0);
}

static void sender_answer(void *context, unsigned request, unsigned status, struct slice body,
                          bool sent)
{
    struct sender *sender = context;
    struct event *event = sender->events[request];
    (void)sent;
    sim_log("sender %u, %s: %u", sender->index, event->id, status);
    if (status == 200) {
        acknowledged(event, body);
        return;
    }
    event->refused++;
    sim_check(status == 0 || (status == 503 && plan.freeze_ns != 0), "%s is answered %u: %.*s",
              event->id, status, (int)body.bytes, (const char *)body.at);
    if (status == 503) {
        refused_in_time(sender, request);
    }
}

static void sender_lost(void *context, unsigned request, const struct peer_lost *lost)
{
    const struct sender *sender = context;
    sim_log("sender %u, request %u: no answer, %s, sent %d at %" PRIu64 ", accepted at %" PRIu64,
            sender->index, request, bk_err_name(lost->err), lost->sent, lost->sent_ns,
            lost->accepted_ns);
    bool before = plan.drain_ns != 0 && lost->sent && lost->accepted_ns != 0 &&
                  lost->accepted_ns <= plan.drain_ns;
    if (plan.mode == DRAIN) {
        uint64_t until_ns = plan.drain_ns + GRACE_NS;
        until_ns = sender->pipelines ? plan.drain_ns - ARRIVES_NS : until_ns;
        sim_check(!before || lost->sent_ns > until_ns,
                  "a request was accepted %" PRId64 " us before the drain and has no answer",
                  (int64_t)(plan.drain_ns - lost->sent_ns) / 1000);
        return;
    }
    sim_check(lost->err == BK_OK, "a connection ends with %s", bk_err_name(lost->err));
    sim_check(!lost->sent || sender->pipelines, "a request has no answer");
}

/* Those that were not taken come first in the next batch. */
static void sender_ended(void *context, enum bk_err err)
{
    struct sender *sender = context;
    unsigned kept = 0;
    for (unsigned i = 0; i < sender->count; i++) {
        buf_fini(&sender->bytes[i]);
        struct event *event = sender->events[i];
        if (!event->acked) {
            sender->events[kept++] = event;
        }
    }
    sim_log("sender %u: connection over, %s, %u left", sender->index, bk_err_name(err), kept);
    bool refused = kept > 0 && sender->events[0]->refused > 0 && plan.freeze_ns != 0;
    sender->count = kept;
    sender->busy = false;
    sim_check(err == BK_OK || plan.mode == DRAIN, "a connection ends with %s", bk_err_name(err));
    bool done = sender->rounds == 0 && (kept == 0 || plan.mode == DRAIN);
    if (!plan.over && !done) {
        sender->busy = true;
        sim_at(sim_now_ns() + (refused ? SECOND : sim_below(sender->think_us * US + 1)),
               sender_next, sender, 0);
    }
}

static void batch_fill(struct sender *sender)
{
    unsigned wanted = sender->rounds ? (unsigned)sim_between(1, BATCH_MAX) : sender->count;
    sender->rounds -= sender->rounds > 0;
    while (sender->count < wanted && event_count < EVENTS_MAX) {
        sender->events[sender->count++] = event_new(sender->body_bytes_max);
    }
    for (unsigned i = 0; i < sender->count; i++) {
        sender->events[i]->sent++;
        request_make(&sender->bytes[i], sender->events[i]);
        sender->requests[i] =
            (struct peer_request){.at = sender->bytes[i].at, .bytes = sender->bytes[i].bytes};
    }
}

static void sender_next(void *context, uint64_t number)
{
    struct sender *sender = context;
    (void)number;
    sender->busy = false;
    if (plan.over) {
        return;
    }
    batch_fill(sender);
    if (!sender->count) {
        return;
    }
    sender->busy = true;
    struct peer_client_config config = {
        .to = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}},
        .requests = sender->requests,
        .count = sender->count,
        .pipeline = sender->pipelines ? BATCH_MAX : 1,
        .piece_bytes = sim_below(3) ? 0 : (size_t)sim_between(1000, 30000),
        .pause_us = sim_below(3) ? 0 : (uint32_t)sim_below(500),
        .polite = true,
        .half_close = sim_below(8) == 0,
        .ret_sent_ns = sender->sent_ns,
        .patience_ns = plan.freeze_ns + 60 * SECOND,
        .context = sender,
        .answer = sender_answer,
        .lost = sender_lost,
        .ended = sender_ended,
    };
    peer_client_start(&config);
}

static void senders_start(unsigned count, unsigned rounds, uint32_t body_bytes_max)
{
    sender_count = count;
    plan.over = false;
    for (unsigned i = 0; i < count; i++) {
        senders[i] = (struct sender){.index = i,
                                     .rounds = rounds,
                                     .pipelines = plan.mode != CALM && i % 4 == 3,
                                     .think_us = (uint32_t)sim_below(20000),
                                     .body_bytes_max = body_bytes_max};
        senders[i].busy = true;
        sim_at(sim_now_ns() + sim_below(20 * MS), sender_next, &senders[i], 0);
    }
}

static bool senders_busy(void)
{
    for (unsigned i = 0; i < sender_count; i++) {
        if (senders[i].busy) {
            return true;
        }
    }
    return false;
}

/* ---- clients that ask for what needs no disk, now and then, on one connection */

struct healthy {
    struct peer_request requests[HEALTHY_REQUESTS];
    uint64_t sent_ns[HEALTHY_REQUESTS];
};

static void healthy_answer(void *context, unsigned request, unsigned status, struct slice body,
                           bool sent)
{
    const struct healthy *healthy = context;
    (void)body, (void)sent;
    uint64_t took_ns = sim_now_ns() - healthy->sent_ns[request];
    sim_check((status == 200 && took_ns < SECOND) || (status == 0 && plan.drain_ns != 0),
              "a healthy request is answered %u after %" PRIu64 " ms", status, took_ns / MS);
}

static void healthy_ended(void *context, enum bk_err err)
{
    sim_check(err == BK_OK || plan.drain_ns != 0, "a healthy connection ends with %s",
              bk_err_name(err));
    free(context);
}

static void healthy_start(uint64_t for_ns)
{
    static const char ask[] = "GET /health/live HTTP/1.1\r\nHost: sim\r\n\r\n";
    struct healthy *healthy = calloc(1, sizeof *healthy);
    bk_assert(healthy);
    for (unsigned i = 0; i < HEALTHY_REQUESTS; i++) {
        healthy->requests[i] =
            (struct peer_request){.at = (const uint8_t *)ask, .bytes = sizeof ask - 1};
    }
    struct peer_client_config config = {
        .to = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}},
        .requests = healthy->requests,
        .count = HEALTHY_REQUESTS,
        .pipeline = 1,
        .polite = true,
        .pause_us = (uint32_t)(2 * for_ns / HEALTHY_REQUESTS / 1000),
        .ret_sent_ns = healthy->sent_ns,
        .patience_ns = 30 * SECOND,
        .context = healthy,
        .answer = healthy_answer,
        .ended = healthy_ended,
    };
    peer_client_start(&config);
}

/* ---- clients that have asked once, and stay */

static void idler_look(void *context)
{
    struct idler *idler = context;
    uint8_t bytes[512];
    while (net_available(idler->socket) > 0) {
        net_read(idler->socket, bytes, sizeof bytes);
        idler->answered = true;
    }
    if (net_eof(idler->socket) || net_reset(idler->socket)) {
        net_notify(idler->socket, NULL, NULL);
        net_close(idler->socket, false);
        idler->over = true;
    }
}

static void idler_connected(void *context, uint64_t number, struct sim_socket *socket,
                            enum bk_err err)
{
    static const char ask[] = "GET /health/live HTTP/1.1\r\nHost: sim\r\n\r\n";
    struct idler *idler = context;
    (void)number;
    sim_check(err == BK_OK, "cannot connect: %s", bk_err_name(err));
    idler->socket = socket;
    net_notify(socket, idler_look, idler);
    net_write(socket, ask, sizeof ask - 1);
}

static void idlers_start(unsigned count)
{
    static const struct ring_address to = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}};
    bk_assert(count <= IDLERS_MAX);
    idler_count = count;
    memset(idlers, 0, sizeof idlers);
    for (unsigned i = 0; i < count; i++) {
        net_connect(NULL, &to, idler_connected, &idlers[i], 0);
    }
}

/* ---- clients that send half of a request, and reset */

static void quitter_resets(void *context, uint64_t number)
{
    (void)number;
    net_close(context, true);
}

static void quitter_connected(void *context, uint64_t number, struct sim_socket *socket,
                              enum bk_err err)
{
    static const char half[] =
        "POST /hooks/alpha HTTP/1.1\r\nHost: sim\r\nContent-Length: 9000\r\n\r\nhalf";
    (void)context, (void)number;
    if (err == BK_OK) {
        net_write(socket, half, sizeof half - 1 - (size_t)sim_below(60));
        sim_at(sim_now_ns() + sim_below(3 * MS), quitter_resets, socket, 0);
    }
}

static void quitters_start(unsigned count)
{
    static const struct ring_address to = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}};
    for (unsigned i = 0; i < count; i++) {
        net_connect(NULL, &to, quitter_connected, NULL, 0);
    }
}

static unsigned idlers_that(bool are_over)
{
    unsigned count = 0;
    for (unsigned i = 0; i < idler_count; i++) {
        count += are_over ? idlers[i].over : idlers[i].answered;
    }
    return count;
}

/* ---- the server */

static void core_start(unsigned index)
{
    struct reactor_config config = {
        .durable = true, .conns_max = plan.conns_max, .buffers_bytes_max = plan.request_bytes_max};
    int sockets[CORES];
    for (unsigned i = index; i < plan.socket_count; i += plan.cores) {
        sockets[config.socket_count++] = plan.sockets[i];
    }
    config.sockets = sockets;
    server_sim_start(index, config);
}

static void process_open(void)
{
    server_sim_open(plan.cores, CORES, 24 * HOUR_NS);
    struct source_change change = server_sim_source(1, "alpha", "github", SECRET);
    change.dedupe_window_ns = 24 * HOUR_NS;
    server_sim_put(&change);
    catalog_start(server.catalog, server.ring);
    for (unsigned i = 0; i < plan.cores; i++) {
        core_start(i);
    }
}

/* Bounds hold at every moment. */
static void look_at_cores(void)
{
    for (unsigned i = 0; i < plan.cores; i++) {
        const struct metrics_reactor *metrics = reactor_metrics(server.core[i].reactor);
        sim_check(metrics->connections_ingress <= plan.conns_max,
                  "core %u has %" PRIu64 " connections in %u slots", i,
                  metrics->connections_ingress, plan.conns_max);
        sim_check(metrics->request_bytes <= plan.request_bytes_max,
                  "core %u has taken %" PRIu64 " bytes for requests of %zu", i,
                  metrics->request_bytes, plan.request_bytes_max);
    }
}

static void control_turn(void)
{
    server_sim_turn(ring_now_ns(server.ring) + sim_between(1, 20) * MS);
    look_at_cores();
}

static void control_until(uint64_t until_ns)
{
    while (sim_now_ns() < until_ns) {
        control_turn();
    }
}

static void process_stop(uint64_t within_ns)
{
    plan.drain_ns = sim_now_ns();
    sim_log("the drain begins");
    server_sim_stop(0, 18 * SECOND, within_ns, control_turn);
    server_sim_close();
    sim_log("the process is gone");
}

/* ---- what is on the disk */

static void record_check(const struct journal_record *record)
{
    const struct journal_entry *entry = &record->entry;
    char text[24] = "";
    unsigned number = 0;
    if (entry->type != JOURNAL_ACCEPTED) {
        return;
    }
    sim_check(entry->id_bytes < sizeof text, "a record has an odd id");
    memcpy(text, record->message + entry->id_at, entry->id_bytes);
    sim_check(sscanf(text, "d-%u", &number) == 1 && number < event_count, "a record has the id %s",
              text);
    struct event *event = &events[number];
    uint8_t *body = malloc(event->body_bytes + 1);
    bk_assert(body);
    server_sim_body(event->content, body, event->body_bytes);
    sim_check(entry->body_bytes == event->body_bytes &&
                  memcmp(body, record->message + entry->head_bytes, event->body_bytes) == 0,
              "%s has other bytes", event->id);
    free(body);
    sim_check(event->found++ == 0, "%s is on the disk twice", event->id);
    event->position_found = journal_position_pack(record->position) == event->position;
}

static void disk_compare(void)
{
    server_sim_open(plan.cores, CORES, 24 * HOUR_NS);
    server_sim_records(record_check);
    server_sim_close();
    for (unsigned i = 0; i < event_count; i++) {
        const struct event *event = &events[i];
        sim_check(!event->acked || event->position_found,
                  "%s was acknowledged and is not on the disk", event->id);
    }
}

/* ---- runs */

static void begin(enum mode mode)
{
    size_t bytes;
    memset(&plan, 0, sizeof plan);
    plan.mode = mode;
    plan.cores = (unsigned)sim_between(1, CORES);
    plan.conns_max = 64;
    plan.request_bytes_max = 16 << 20;
    event_count = sender_count = idler_count = 0;
    bk_assert(directory_make("data") == BK_OK && directory_sync("") == BK_OK);
    signer = server_sim_scheme("github", SECRET, &bytes);
}

/* Whoever was left over sends again to a healthy server; then the disk is looked at. */
static void end(void)
{
    plan.over = true;
    while (peer_clients()) {
        sim_sleep(100 * MS);
    }
    sim_sleep(SECOND); /* senders that would have gone on */
    plan.mode = CALM;
    plan.freeze_ns = plan.frozen_ns = 0;
    plan.tight = false;
    plan.conns_max = 64;
    plan.request_bytes_max = 16 << 20;
    process_open();
    sender_count = 0;
    plan.over = false;
    struct sender *again = &senders[0];
    for (unsigned i = 0; i < event_count;) {
        *again = (struct sender){.think_us = 100, .body_bytes_max = 100};
        for (; i < event_count && again->count < BATCH_MAX; i++) {
            if (!events[i].acked) {
                again->events[again->count++] = &events[i];
            }
        }
        sender_count = 1;
        again->busy = true;
        sim_at(sim_now_ns(), sender_next, again, 0);
        while (senders_busy()) {
            control_turn();
        }
    }
    plan.over = true;
    process_stop(30 * SECOND);
    if (sim_below(2)) {
        sim_disk_crash();
    } else {
        sim_disk_restart();
    }
    disk_compare();
    for (unsigned i = 0; i < event_count; i++) {
        sim_check(events[i].acked, "a healthy server does not take %s", events[i].id);
    }
    scheme_wipe(signer);
    free(signer);
}

void stop_drain_run(void)
{
    if (sim_below(4)) {
        return; /* of a thousand seeds a quarter is enough */
    }
    begin(DRAIN);
    sim_config()->flush_us = sim_below(3) ? 0 : (uint32_t)sim_below(100000);
    process_open();
    senders_start((unsigned)sim_between(1, 10), 100, sim_below(4) ? 2000 : 60000);
    quitters_start((unsigned)sim_below(5));
    control_until(sim_now_ns() + sim_below(60 * MS));
    process_stop(8 * SECOND); /* less than a request that is half here has */
    sim_config()->flush_us = 0;
    end();
}

void stop_hand_over_run(void)
{
    struct ring_address address = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}};
    if (sim_below(4)) {
        return; /* of a thousand seeds a quarter is enough */
    }
    begin(HAND_OVER);
    sim_config()->flush_us = sim_below(3) ? 0 : (uint32_t)sim_below(20000);
    plan.socket_count = plan.cores;
    for (unsigned i = 0; i < plan.socket_count; i++) {
        plan.sockets[i] = sim_listen(&address, true, 1024);
    }
    process_open();
    senders_start((unsigned)sim_between(1, 8), 20, sim_below(4) ? 2000 : 60000);
    unsigned times = (unsigned)sim_between(1, 2);
    for (unsigned i = 0; i < times; i++) {
        control_until(sim_now_ns() + sim_below(50 * MS));
        process_stop(10 * SECOND);
        sim_sleep(sim_below(300 * MS));
        process_open();
    }
    control_until(sim_now_ns() + 50 * MS);
    for (unsigned i = 0; i < sender_count; i++) {
        senders[i].rounds = 0;
    }
    while (senders_busy()) {
        control_turn();
    }
    process_stop(10 * SECOND);
    sim_config()->flush_us = 0;
    end();
    for (unsigned i = 0; i < plan.socket_count; i++) {
        sim_listen_close(plan.sockets[i]);
    }
    plan.socket_count = 0;
}

void stop_overload_run(void)
{
    if (sim_below(32)) {
        return; /* of a thousand seeds thirty are enough */
    }
    begin(OVERLOAD);
    plan.conns_max = (unsigned)sim_between(6, 20);
    plan.tight = sim_below(3) == 0;
    plan.request_bytes_max = plan.tight ? 1 << 20 : 16 << 20;
    plan.freeze_ns = sim_between(1, 25) * SECOND;
    process_open();
    /* Two slots on the way to the healthy ones. */
    unsigned slots = plan.cores * plan.conns_max;
    senders_start((unsigned)sim_between(2, slots - 2), 2, 60000);
    healthy_start(plan.freeze_ns);
    healthy_start(plan.freeze_ns);
    control_until(sim_now_ns() + sim_below(60 * MS));
    sim_disk_freeze(plan.freeze_ns);
    plan.frozen_ns = sim_now_ns();
    sim_log("frozen for %" PRIu64 " ms", plan.freeze_ns / MS);
    /* More than there are slots. */
    unsigned more = (unsigned)sim_between(0, SENDERS_MAX - sender_count);
    for (unsigned i = 0; i < more; i++) {
        struct sender *sender = &senders[sender_count];
        *sender = (struct sender){.index = sender_count++, .rounds = 1, .body_bytes_max = 60000};
        sender->busy = true;
        sim_at(sim_now_ns() + sim_below(2 * SECOND), sender_next, sender, 0);
    }
    while (senders_busy()) {
        control_turn();
    }
    plan.over = true;
    plan.mode = DRAIN;
    process_stop(30 * SECOND);
    end();
}

/* All slots are taken by connections between requests. */
void stop_crowded_run(void)
{
    if (sim_below(8)) {
        return; /* of a thousand seeds an eighth is enough */
    }
    begin(CROWDED);
    plan.conns_max = (unsigned)sim_between(2, IDLERS_MAX / CORES);
    process_open();
    idlers_start(plan.cores * plan.conns_max);
    uint64_t until_ns = sim_now_ns() + 12 * SECOND; /* some core may have too many of them */
    while (idlers_that(false) < idler_count) {
        control_turn();
        sim_check(sim_now_ns() < until_ns, "%u of %u idle clients were never answered",
                  idler_count - idlers_that(false), idler_count);
    }
    uint64_t began_ns = sim_now_ns();
    senders_start((unsigned)sim_between(1, plan.conns_max), 1, 2000);
    while (senders_busy()) {
        control_turn();
        sim_check(sim_now_ns() - began_ns < 13 * SECOND, "who is idle makes no room");
    }
    process_stop(10 * SECOND);
    while (idlers_that(true) < idler_count) {
        sim_sleep(100 * MS);
    }
    end();
}

void stop_configure(struct sim_config *config)
{
    server_sim_configure(config);
    config->window_bytes = 1U << sim_between(13, 17);
    config->segment_bytes = 1U << sim_between(10, 16);
    config->reset_unseen = sim_below(2) ? 0 : 300;
}
