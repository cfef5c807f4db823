/* The whole path of a webhook: senders, reactors, dedupe table, journal, store thread, through
 * faults and crashes. Checked:
 *   - every answer is well-formed and belongs to a request (peer_sim.c), and says what the request
 * deserves;
 *   - an event that was acknowledged is durable at that moment, and is on the disk after the crash,
 * once, with the bytes that were sent;
 *   - no event is stored twice, none that was not genuine, none that nobody sent;
 *   - a duplicate names its first, which is durable by then, also when the wall clock was set
 * meanwhile, forward or back by months;
 *   - on one connection events are stored in the order in which they were sent;
 *   - a reactor that stopped has given back every connection, buffer, handle and operation. */
#include "peer_sim.h"
#include "scenario.h"
#include "server_sim.h"

#include "hub/ingress/source_table.h"
#include "journal/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SOURCES        3U
#define DELIVERIES_MAX 4096U
#define BATCH_MAX      16U

struct source_spec {
    const char *path;
    const char *type;
    const char *secret;
    uint64_t body_bytes_max;
    bool dedupes;
};

static const struct source_spec specs[SOURCES] = {
    {"alpha", "github", "it is a secret", 1 << 20, true},
    {"beta", "standard-webhooks", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 3000, true},
    {"gamma", "github", "another secret", 1 << 20, false},
};

enum wish {
    WISH_STORED,  /* genuine */
    WISH_FORGED,  /* signature does not fit */
    WISH_UNKNOWN, /* no such source */
    WISH_METHOD,  /* GET on a hook */
    WISH_HEALTH,
    WISH_OVERSIZE, /* over the source's limit */
    WISH_BROKEN    /* no HTTP */
};

/* One event as its sender knows it. */
struct delivery {
    unsigned source;
    enum wish wish;
    uint64_t content;
    uint32_t body_bytes;
    char id[24];
    unsigned sent; /* attempts whose bytes went out, at least in part */
    unsigned acked;
    unsigned firsts;     /* of these, not called duplicates */
    uint64_t position;   /* of the acknowledged event; 0 = none. Without dedupe: of the last one */
    unsigned unanswered; /* attempts that were refused, or whose answer was lost */
    unsigned found;      /* records on the disk */
    bool position_found;
    bool plain; /* its request has a Content-Length, and no Expect */
};

static struct source_garbage *garbage; /* freed when every core has answered a letter */
static struct scheme *signers[SOURCES];
static struct delivery deliveries[DELIVERIES_MAX];
static unsigned delivery_count;
static bool flush_failed; /* in this run, perhaps */

static struct {
    unsigned cores;
    unsigned connections; /* to open in this life */
    bool clean;
    bool calm; /* nothing fails: genuine requests must be stored */
    uint64_t cut_after_ns;
    unsigned conns_max;
    bool flushes; /* what the canary leaves out */
    enum sweep { SWEEP_OFF, SWEEP_NONE, SWEEP_IO, SWEEP_SPACE, SWEEP_CUT, SWEEP_FROZEN } sweep;
    uint64_t sweep_at;    /* which operation of the disk */
    uint64_t freeze_ns;   /* the disk stands still for so long; 0 = never … */
    unsigned freeze_from; /* … before this connection is opened */
    uint64_t patience_ns; /* of senders; 0 = theirs */
    bool patient;         /* the stop waits until the senders have done */
    unsigned jumps;       /* so often the wall clock is still set, running or not */
} plan;

/* ---- sources */

static struct source_change source_change_of(unsigned index)
{
    struct source_change change =
        server_sim_source(index + 1, specs[index].path, specs[index].type, specs[index].secret);
    change.body_bytes_max = specs[index].body_bytes_max;
    change.dedupe_window_ns = specs[index].dedupes ? 24 * HOUR_NS : 0;
    return change;
}

/* ---- requests */

static void body_chunked(struct buf *out, const uint8_t *body, size_t bytes)
{
    size_t at = 0;
    while (at < bytes) {
        size_t chunk = (size_t)sim_between(1, sim_below(4) ? bytes - at : 5);
        chunk = chunk < bytes - at ? chunk : bytes - at;
        buf_printf(out, sim_below(2) ? "%zx\r\n" : "%zX;x=y\r\n", chunk);
        buf_add(out, body + at, chunk);
        buf_add_str(out, "\r\n");
        at += chunk;
    }
    buf_add_str(out, sim_below(2) ? "0\r\n\r\n" : "0\r\nTrailer: x\r\n\r\n");
}

static void request_post(struct buf *out, const struct delivery *delivery)
{
    uint8_t *body = malloc(delivery->body_bytes + 1);
    bk_assert(body);
    server_sim_body(delivery->content, body, delivery->body_bytes);
    server_sim_sign(out, signers[delivery->source],
                    delivery->wish == WISH_UNKNOWN ? "nobody" : specs[delivery->source].path,
                    slice_str(delivery->id), slice_of(body, delivery->body_bytes));
    if (delivery->wish == WISH_FORGED && delivery->body_bytes) {
        body[sim_below(delivery->body_bytes)] ^= 1;
    }
    if (!delivery->plain && sim_below(8) == 0) {
        buf_add_str(out, "Expect: 100-continue\r\n");
    }
    if (!delivery->plain && sim_below(4) == 0) {
        buf_add_str(out, "Transfer-Encoding: chunked\r\n\r\n");
        body_chunked(out, body, delivery->body_bytes);
    } else {
        buf_printf(out, "Content-Length: %u\r\n\r\n", delivery->body_bytes);
        buf_add(out, body, delivery->body_bytes);
    }
    free(body);
}

static void request_make(struct buf *out, const struct delivery *delivery)
{
    buf_init(out, 4 << 20);
    switch (delivery->wish) {
    case WISH_METHOD:
        buf_printf(out, "GET /hooks/%s HTTP/1.1\r\nHost: sim\r\n\r\n",
                   specs[delivery->source].path);
        break;
    case WISH_HEALTH:
        buf_add_str(out, "GET /health/live HTTP/1.1\r\nHost: sim\r\n\r\n");
        break;
    case WISH_BROKEN:
        buf_add_str(out, "POST /hooks/alpha HTTP/1.1\r\nHost : sim\r\n\r\n");
        break;
    case WISH_STORED:
    case WISH_FORGED:
    case WISH_UNKNOWN:
    case WISH_OVERSIZE:
        request_post(out, delivery);
        break;
    default:
        bk_never("unknown wish");
    }
    bk_assert(!out->overflow);
}

static enum wish wish_draw(void)
{
    static const enum wish wishes[] = {WISH_FORGED, WISH_FORGED,   WISH_UNKNOWN, WISH_METHOD,
                                       WISH_HEALTH, WISH_OVERSIZE, WISH_BROKEN};
    return sim_below(4) ? WISH_STORED : wishes[sim_below(bk_array_length(wishes))];
}

static uint32_t body_draw(enum wish wish, unsigned source)
{
    uint64_t most = specs[source].body_bytes_max;
    if (wish == WISH_OVERSIZE) {
        return (uint32_t)(most + sim_between(1, 20000));
    }
    switch (sim_below(8)) {
    case 0:
        return (uint32_t)sim_between(1, 10);
    case 1:
        return (uint32_t)sim_between(1, most < 300000 ? most : 300000);
    case 2:
        return (uint32_t)sim_between(1, most < 20000 ? most : 20000);
    default:
        return (uint32_t)sim_between(1, most < 1500 ? most : 1500);
    }
}

static struct delivery *delivery_new(void)
{
    bk_assert(delivery_count < DELIVERIES_MAX);
    struct delivery *delivery = &deliveries[delivery_count++];
    memset(delivery, 0, sizeof *delivery);
    delivery->source = (unsigned)sim_below(SOURCES);
    delivery->wish = wish_draw();
    if (plan.jumps > 0 && delivery->source == 1) { /* its signatures hold a time */
        delivery->source = 0;
        delivery->wish = delivery->wish == WISH_OVERSIZE ? WISH_STORED : delivery->wish;
    }
    if (delivery->wish == WISH_OVERSIZE) {
        delivery->source = 1; /* the one with a small limit */
    }
    delivery->content = sim_random();
    delivery->body_bytes = body_draw(delivery->wish, delivery->source);
    snprintf(delivery->id, sizeof delivery->id, "d-%u", delivery_count - 1);
    return delivery;
}

/* ---- answers */

struct batch {
    struct delivery *deliveries[BATCH_MAX];
    struct buf bytes[BATCH_MAX];
    struct peer_request requests[BATCH_MAX];
    unsigned count;
    uint64_t last_position; /* of a first event on this connection */
};

static void acknowledged(struct batch *batch, struct delivery *delivery, struct slice body)
{
    bool duplicate;
    uint64_t packed = server_sim_acknowledged(body, &duplicate);
    struct journal_position position = journal_position_unpack(packed);
    bool dedupes = specs[delivery->source].dedupes;
    sim_check(!duplicate || dedupes, "%s is called a duplicate", delivery->id);
    sim_check(!dedupes || !delivery->position || delivery->position == packed,
              "%s was stored twice", delivery->id);
    if (!duplicate) {
        /* Its answer may overtake, or be overtaken by, those to its duplicates. */
        sim_check(!dedupes || delivery->firsts == 0, "%s: a second one is not called a duplicate",
                  delivery->id);
        delivery->firsts++;
        struct journal_position last = journal_position_unpack(batch->last_position);
        sim_check(!batch->last_position || last.journal != position.journal ||
                      last.sequence < position.sequence,
                  "%s was stored out of order", delivery->id);
        batch->last_position = packed;
    }
    delivery->position = packed;
    delivery->acked++;
}

static bool deserved(const struct delivery *delivery, unsigned status)
{
    switch (delivery->wish) {
    case WISH_STORED:
        return status == 200 || (status == 503 && !plan.calm) || (status == 408 && !plan.calm);
    case WISH_FORGED:
        return status == 401 || status == 408;
    case WISH_UNKNOWN:
        return status == 404 || status == 408;
    case WISH_METHOD:
        return status == 405;
    case WISH_HEALTH:
        return status == 200;
    case WISH_OVERSIZE:
        return status == 413 || status == 408;
    case WISH_BROKEN:
        return status == 400;
    default:
        bk_never("unknown wish");
    }
}

static void batch_answer(void *context, unsigned request, unsigned status, struct slice body,
                         bool sent)
{
    struct batch *batch = context;
    struct delivery *delivery = batch->deliveries[request];
    (void)sent;
    sim_log("%s wish %d: %u %.*s", delivery->id, (int)delivery->wish, status,
            (int)(body.bytes < 60 ? body.bytes : 60), (const char *)body.at);
    delivery->unanswered += status == 0 || status == 503;
    if (status == 0) {
        return;
    }
    /* 408 and 503 (no memory, drain) may come for any request under pressure. */
    sim_check(deserved(delivery, status) || (!plan.calm && (status == 408 || status == 503)),
              "%s (wish %d) is answered %u", delivery->id, (int)delivery->wish, status);
    if (delivery->wish == WISH_STORED && status == 200) {
        acknowledged(batch, delivery, body);
    }
}

static void batch_ended(void *context, enum bk_err err)
{
    struct batch *batch = context;
    sim_log("connection over: %s", bk_err_name(err));
    for (unsigned i = 0; i < batch->count; i++) {
        buf_fini(&batch->bytes[i]);
    }
    free(batch);
}

/* ---- senders */

static struct delivery *delivery_choose(void)
{
    /* A retry of one that was sent before, perhaps at this moment on another connection. */
    if (delivery_count && sim_below(4) == 0) {
        unsigned back = (unsigned)sim_below(delivery_count < 20 ? delivery_count : 20);
        return &deliveries[delivery_count - 1 - back];
    }
    return delivery_new();
}

static void batch_add(struct batch *batch, struct delivery *delivery)
{
    unsigned i = batch->count++;
    batch->deliveries[i] = delivery;
    delivery->sent++;
    request_make(&batch->bytes[i], delivery);
    batch->requests[i] =
        (struct peer_request){.at = batch->bytes[i].at, .bytes = batch->bytes[i].bytes};
}

static void batch_send(struct batch *batch)
{
    bool odd = !plan.calm;
    struct peer_client_config config = {
        .to = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}},
        .requests = batch->requests,
        .count = batch->count,
        .pipeline = sim_below(2) ? 1 : (unsigned)sim_between(1, 40),
        .piece_bytes = sim_below(3) ? 0 : (size_t)sim_between(1, 3000),
        .pause_us = sim_below(3) ? 0 : (uint32_t)sim_below(200),
        .reset = odd && sim_below(4) == 0 ? 100 : 0,
        .half_close = sim_below(4) == 0,
        .read_bytes = sim_below(4) ? 0 : (size_t)sim_between(1, 100),
        .read_pause_us = sim_below(4) ? 0 : (uint32_t)sim_below(2000),
        .patience_ns = plan.patience_ns ? plan.patience_ns : 400 * SECOND,
        .context = batch,
        .answer = batch_answer,
        .ended = batch_ended,
    };
    peer_client_start(&config);
}

static void senders_main(void *context)
{
    (void)context;
    for (unsigned i = 0; i < plan.connections && !sim_disk_dead(); i++) {
        struct batch *batch = calloc(1, sizeof *batch);
        bk_assert(batch);
        if (plan.freeze_ns && i == plan.freeze_from) {
            sim_disk_freeze(plan.freeze_ns);
        }
        unsigned count = (unsigned)sim_between(1, sim_below(3) ? 3 : BATCH_MAX);
        for (unsigned j = 0; j < count; j++) {
            batch_add(batch, delivery_choose());
        }
        batch_send(batch);
        if (sim_below(3) == 0) {
            sim_sleep(sim_below(20000) * US);
        }
    }
}

/* Everything genuine that was never acknowledged, once more. */
static void send_again(void)
{
    for (unsigned i = 0; i < delivery_count; i++) {
        if (deliveries[i].wish == WISH_STORED && !deliveries[i].acked) {
            struct batch *batch = calloc(1, sizeof *batch);
            bk_assert(batch);
            batch_add(batch, &deliveries[i]);
            batch_send(batch);
            sim_sleep(sim_below(3000) * US);
        }
    }
}

static void senders_again(void *context)
{
    (void)context;
    send_again();
    while (peer_clients()) {
        sim_sleep(SECOND / 10);
    }
    for (unsigned i = 0; i < delivery_count; i++) {
        sim_check(deliveries[i].wish != WISH_STORED || deliveries[i].acked,
                  "a healthy server does not store %s", deliveries[i].id);
    }
}

/* ---- the server */

static void server_open(void)
{
    server_sim_open(plan.cores, (uint16_t)plan.cores, 24 * HOUR_NS);
    for (unsigned i = 0; i < SOURCES; i++) {
        struct source_change change = source_change_of(i);
        server_sim_put(&change);
    }
}

/* ---- sources change while they are used, as after an apply */

static void grace_over(void)
{
    source_table_free(garbage);
    garbage = NULL;
}

static void source_renew(void)
{
    struct source_change change = source_change_of((unsigned)sim_below(SOURCES));
    server_sim_put(&change);
    garbage = source_table_retired(server.sources);
    if (garbage) {
        server_sim_grace(grace_over);
    }
}

static void stopping_turn(void)
{
    server_sim_turn(ring_now_ns(server.ring) + sim_between(1, 20000) * US);
}

static void control_turn(uint64_t cut_ns)
{
    stopping_turn();
    if (!plan.clean && ring_now_ns(server.ring) >= cut_ns) {
        sim_disk_cut();
    }
}

/* ---- what is on the disk */

static struct delivery *delivery_find(struct slice id)
{
    char text[32];
    bk_assert(id.bytes < sizeof text);
    memcpy(text, id.at, id.bytes);
    text[id.bytes] = '\0';
    unsigned number = 0;
    sim_check(sscanf(text, "d-%u", &number) == 1 && number < delivery_count,
              "a record has the id %s", text);
    return &deliveries[number];
}

static void record_check(const struct journal_record *record)
{
    const struct journal_entry *entry = &record->entry;
    if (entry->type != JOURNAL_ACCEPTED) {
        return;
    }
    struct delivery *delivery =
        delivery_find(slice_of(record->message + entry->id_at, entry->id_bytes));
    sim_check(delivery->wish == WISH_STORED, "%s (wish %d) was stored", delivery->id,
              (int)delivery->wish);
    sim_check(entry->source == delivery->source + 1, "%s was stored for source %" PRIu64,
              delivery->id, entry->source);
    sim_check(entry->body_bytes == delivery->body_bytes, "%s has %u bytes, not %u", delivery->id,
              entry->body_bytes, delivery->body_bytes);
    sim_check(server_sim_body_is(delivery->content, record->message + entry->head_bytes,
                                 delivery->body_bytes),
              "%s has other bytes", delivery->id);
    delivery->found++;
    delivery->position_found |= journal_position_pack(record->position) == delivery->position;
    /* Refused by one core after a failed flush (its record may be on the disk all the same, until
     * that journal commits again) and then taken by the other: twice is possible, once for each
     * attempt. */
    unsigned most = !specs[delivery->source].dedupes ? delivery->sent
                    : flush_failed                   ? 1 + delivery->unanswered
                                                     : 1;
    sim_check(delivery->found <= most, "%s is on the disk %u times, sent %u times", delivery->id,
              delivery->found, delivery->sent);
}

static void disk_compare(void)
{
    for (unsigned i = 0; i < delivery_count; i++) {
        deliveries[i].found = 0;
        deliveries[i].position_found = false;
    }
    server_sim_records(record_check);
    for (unsigned i = 0; i < delivery_count; i++) {
        const struct delivery *delivery = &deliveries[i];
        sim_check(!delivery->acked || delivery->position_found,
                  "%s was acknowledged and is not on the disk", delivery->id);
    }
}

/* ---- lives */

static void faults_off(void)
{
    struct sim_config *config = sim_config();
    config->write_fail = config->write_short = config->file_fail = config->disk_slow =
        config->read_fail = 0;
    config->accept_no_descriptors = config->receive_no_buffers = config->connection_reset =
        config->connect_fail = 0;
    sim_disk_fail_at(0, BK_OK);
    sim_disk_cut_at(0);
}

/* One operation of the disk fails, or the power in it; nothing else. */
static void fault_of_sweep(void)
{
    plan.calm = false;
    flush_failed |= plan.sweep == SWEEP_IO || plan.sweep == SWEEP_SPACE;
    if (plan.sweep == SWEEP_CUT) {
        sim_disk_cut_at(plan.sweep_at);
    } else if (plan.sweep != SWEEP_NONE && plan.sweep != SWEEP_FROZEN) {
        sim_disk_fail_at(plan.sweep_at, plan.sweep == SWEEP_IO ? BK_IO : BK_NO_SPACE);
    }
}

static void faults_draw(void)
{
    if (plan.sweep != SWEEP_OFF) {
        fault_of_sweep();
        return;
    }
    struct sim_config *config = sim_config();
    bool fail_one = false;
    plan.calm = false;
    switch (sim_below(5)) {
    case 0:
        config->write_fail = (uint32_t)sim_between(1, 100);
        break;
    case 1:
        config->write_short = config->file_fail = (uint32_t)sim_between(1, 50);
        break;
    case 2:
        sim_disk_fail_at(sim_between(1, 60), sim_below(2) ? BK_IO : BK_NO_SPACE);
        fail_one = true;
        break;
    case 3:
        config->disk_slow = 50;
        break;
    default:
        break;
    }
    if (sim_below(2)) {
        config->accept_no_descriptors = config->receive_no_buffers = (uint32_t)sim_below(50);
        config->connection_reset = config->connect_fail = (uint32_t)sim_below(50);
    }
    flush_failed |= config->write_fail || config->write_short || config->file_fail || fail_one;
    if (!plan.clean && sim_below(2)) {
        sim_disk_cut_at(sim_between(1, 100));
    }
}

/* In all no more often than the window has hours, which each may cost. */
static void clock_set(void)
{
    if (plan.jumps > 1) {
        plan.jumps--;
        int64_t days = (int64_t)sim_below(400) - 200;
        sim_log("the wall clock is set by %" PRId64 " days", days);
        sim_wall_jump(days * 24 * HOUR_NS);
    }
}

static void life(sim_thread_fn *senders)
{
    server_open();
    disk_compare();
    catalog_start(server.catalog, server.ring);
    for (unsigned i = 0; i < plan.cores; i++) {
        server_sim_start(i, (struct reactor_config){.durable = plan.flushes,
                                                    .conns_max = plan.conns_max,
                                                    .buffers_bytes_max = 16 << 20});
    }
    if (!plan.calm) {
        faults_draw();
    }
    uint64_t cut_ns = ring_now_ns(server.ring) + plan.cut_after_ns;
    struct sim_thread *thread = sim_spawn("senders", senders, NULL);
    bool early =
        !plan.calm && !plan.patient && sim_below(3) == 0; /* stop while senders are at work */
    while (!sim_thread_ended(thread) || (!early && peer_clients())) {
        control_turn(cut_ns);
        if (sim_below(200) == 0) {
            clock_set();
        }
        if (!garbage && sim_below(20) == 0) {
            source_renew();
        }
    }
    sim_join(thread);
    server_sim_stop(0, 20 * SECOND, SIM_NEVER, stopping_turn);
    server_sim_close(); /* also the listeners, with connections that were never accepted */
    while (peer_clients()) {
        sim_sleep(SECOND);
    }
    faults_off();
    sim_disk_freeze(0);
}

void server_configure(struct sim_config *config)
{
    server_sim_configure(config);
    config->window_bytes = 1U << sim_between(10, 17);
    config->segment_bytes = 1U << sim_between(6, 16);
    config->dribble = sim_below(3) ? 0 : 100;
    config->recv_buffers_max = 1U << sim_between(2, 8);
}

static void lives_begin(void)
{
    bk_assert(directory_make("data") == BK_OK && directory_sync("") == BK_OK);
    delivery_count = 0;
    flush_failed = false;
    plan.sweep = SWEEP_OFF;
    for (unsigned i = 0; i < SOURCES; i++) {
        size_t bytes;
        signers[i] = server_sim_scheme(specs[i].type, specs[i].secret, &bytes);
    }
}

/* A calm life in which senders ask again, and a last look at the disk. */
static void lives_end(void)
{
    plan.clean = plan.calm = true;
    plan.conns_max = 64;
    life(senders_again);
    sim_disk_crash();
    server_open();
    disk_compare();
    server_sim_close();
    for (unsigned i = 0; i < SOURCES; i++) {
        scheme_wipe(signers[i]);
        free(signers[i]);
    }
}

static void lives_run(void)
{
    lives_begin();
    plan.jumps = sim_below(4) == 0 ? 12 : 0;
    unsigned lives = (unsigned)sim_between(1, 3);
    for (unsigned i = 0; i < lives; i++) {
        plan.cores = (unsigned)sim_between(1, CORES);
        plan.connections = (unsigned)sim_between(1, 40);
        plan.clean = sim_below(2) == 0;
        plan.calm = false;
        plan.cut_after_ns = sim_between(1, 200000) * US;
        plan.conns_max = (unsigned)sim_between(2, 64);
        sim_log("life %u: %u cores, %u connections", i, plan.cores, plan.connections);
        life(senders_main);
        if (sim_below(4)) {
            sim_disk_crash();
        } else {
            sim_disk_restart();
        }
        clock_set();
    }
    lives_end();
    plan.jumps = 0;
}

/* A small workload, first whole, then with one operation of the disk failing, or the power cut in
 * it: a few points each seed, so that seeds together sweep all. */
void server_sweep_run(void)
{
    lives_begin();
    plan.flushes = true;
    plan.cores = CORES;
    plan.clean = false;
    plan.cut_after_ns = 3600 * SECOND;
    plan.conns_max = 16;
    plan.sweep = SWEEP_NONE;
    uint64_t before = sim_disk_ops();
    for (unsigned i = 0; i < 6; i++) {
        plan.connections = 4;
        plan.calm = false;
        life(senders_main);
        sim_disk_crash();
        uint64_t ops = sim_disk_ops() - before;
        if (i == 0) {
            sim_log("%" PRIu64 " operations to fail", ops);
            before = ops; /* how many there are, from here on */
        }
        plan.sweep = (enum sweep)sim_between(SWEEP_IO, SWEEP_CUT);
        plan.sweep_at = sim_between(1, before + 2);
    }
    plan.sweep = SWEEP_OFF;
    lives_end();
}

/* Those who were refused come again, while it stands still and afterwards. */
static void senders_patient(void *context)
{
    senders_main(context);
    for (unsigned i = 0; i < 2; i++) {
        sim_sleep(sim_between(plan.freeze_ns / 2, plan.freeze_ns));
        send_again();
    }
}

/* The disk stands still, longer than anybody waits, and goes on: every request has its answer in
 * time, and what was refused meanwhile is on the disk once at most, however often it is sent. */
void server_frozen_run(void)
{
    if (sim_below(2)) {
        return; /* of a thousand seeds half is enough */
    }
    lives_begin();
    plan.flushes = true;
    plan.clean = true;
    plan.cut_after_ns = 3600 * SECOND;
    plan.cores = (unsigned)sim_between(1, CORES);
    plan.connections = (unsigned)sim_between(2, 8);
    plan.conns_max = (unsigned)sim_between(2, 32);
    plan.calm = false;
    plan.sweep = SWEEP_FROZEN;
    plan.freeze_from = (unsigned)sim_below(plan.connections);
    plan.freeze_ns = sim_between(1, 60) * SECOND;
    /* Of the flush, of a request that could not be taken, of waiting for a slot. */
    plan.patience_ns = 40 * SECOND;
    life(senders_patient);
    if (sim_below(2)) {
        sim_disk_crash();
    }
    plan.sweep = SWEEP_OFF;
    plan.freeze_ns = plan.patience_ns = 0;
    lives_end();
}

/* ---- slow and hostile senders: each has its time, and a healthy one beside them waits for none of
 * them */

enum slow_kind {
    SLOW_HEAD,    /* byte by byte, for ever */
    SLOW_BODY,    /* below the least rate */
    SLOW_STEADY,  /* above it, for longer than a body has at once */
    SLOW_ENDLESS, /* above it, for longer than any body has */
    SLOW_NOTHING, /* connects, and says nothing */
    SLOW_IDLE,    /* one request, and then nothing */
    SLOW_DEAF,    /* asks and asks, and never reads */
    SLOW_NOBODY,  /* a small body below the least rate, for no source */
    SLOW_HEALTHY, /* behind a request for no source, which comes in pieces */
    SLOW_KINDS_DRAWN = SLOW_HEALTHY,
    SLOW_QUIET, /* beside a loud source */
    SLOW_KINDS
};

struct slow {
    enum slow_kind kind;
    uint64_t began_ns;
    struct batch batch; /* of those who send events */
    struct sim_socket *socket;
    size_t asked; /* bytes */
};

static unsigned slow_open; /* raw ones that were not closed yet */

/* When the server must have said, or done, what it should; ms from the first byte. Who is steady
 * has the pace of chance, half a minute as a rule. */
static const struct slow_time {
    uint64_t from, to;
} slow_times[SLOW_KINDS] = {
    [SLOW_HEAD] = {9000, 13000},     [SLOW_BODY] = {19000, 28000},
    [SLOW_STEADY] = {10000, 300000}, [SLOW_ENDLESS] = {599000, 610000},
    [SLOW_NOTHING] = {74000, 79000}, [SLOW_IDLE] = {74000, 80000},
    [SLOW_DEAF] = {29000, 120000},   [SLOW_NOBODY] = {19000, 28000},
    [SLOW_HEALTHY] = {0, 3000},      [SLOW_QUIET] = {0, 1300},
};

static void slow_in_time(const struct slow *slow, const char *what)
{
    uint64_t took_ns = sim_now_ns() - slow->began_ns;
    const struct slow_time *time = &slow_times[slow->kind];
    sim_check(took_ns >= time->from * 1000 * US && took_ns <= time->to * 1000 * US,
              "kind %d: %s after %" PRIu64 " ms", (int)slow->kind, what, took_ns / 1000000);
}

static void slow_answer(void *context, unsigned request, unsigned status, struct slice body,
                        bool sent)
{
    struct slow *slow = context;
    struct delivery *delivery = slow->batch.deliveries[request];
    bool in_time = slow->kind == SLOW_STEADY || slow->kind >= SLOW_HEALTHY;
    unsigned wanted = !in_time ? 408 : delivery->wish == WISH_UNKNOWN ? 404 : 200;
    (void)sent;
    sim_check(status == wanted, "kind %d is answered %u", (int)slow->kind, status);
    slow_in_time(slow, "answered");
    delivery->unanswered += status != 200;
    if (status == 200) {
        acknowledged(&slow->batch, delivery, body);
    }
}

static void slow_ended(void *context, enum bk_err err)
{
    struct slow *slow = context;
    (void)err;
    for (unsigned i = 0; i < slow->batch.count; i++) {
        buf_fini(&slow->batch.bytes[i]);
    }
    free(slow);
}

static void slow_add(struct batch *batch, enum wish wish, uint32_t body_bytes)
{
    struct delivery *delivery = delivery_new();
    delivery->source = 0;
    delivery->wish = wish;
    delivery->body_bytes = body_bytes;
    delivery->plain = wish == WISH_UNKNOWN;
    batch_add(batch, delivery);
}

/* A head that never ends; else a plain webhook. */
static void slow_request(struct slow *slow, uint32_t body_bytes)
{
    struct batch *batch = &slow->batch;
    if (slow->kind == SLOW_HEALTHY) {
        slow_add(batch, WISH_UNKNOWN, (uint32_t)sim_below(15000));
    }
    slow_add(batch, slow->kind == SLOW_NOBODY ? WISH_UNKNOWN : WISH_STORED, body_bytes);
    if (slow->kind == SLOW_HEAD) {
        buf_reset(&batch->bytes[0]);
        buf_add_str(&batch->bytes[0], "POST /hooks/alpha HTTP/1.1\r\nHost: sim\r\nX: ");
        for (unsigned i = 0; i < 1000; i++) {
            buf_add_byte(&batch->bytes[0], 'x');
        }
        batch->requests[0] =
            (struct peer_request){.at = batch->bytes[0].at, .bytes = batch->bytes[0].bytes};
    }
}

static void slow_send(enum slow_kind kind)
{
    static const struct {
        uint32_t body_bytes;
        size_t piece_bytes; /* in a second, at most */
    } pace[SLOW_KINDS] = {
        [SLOW_HEAD] = {1, 2},           [SLOW_BODY] = {30000, 300},
        [SLOW_STEADY] = {120000, 4000}, [SLOW_ENDLESS] = {1 << 20, 1500},
        [SLOW_NOBODY] = {9000, 300},    [SLOW_HEALTHY] = {800, 3000},
        [SLOW_QUIET] = {800, 100000},
    };
    struct slow *slow = calloc(1, sizeof *slow);
    bk_assert(slow);
    slow->kind = kind;
    slow->began_ns = sim_now_ns();
    slow_request(slow, pace[kind].body_bytes);
    struct peer_client_config config = {
        .to = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}},
        .requests = slow->batch.requests,
        .count = slow->batch.count,
        .pipeline = slow->batch.count,
        .piece_bytes = pace[kind].piece_bytes,
        .pause_us = kind >= SLOW_HEALTHY ? 0 : 1000000,
        .patience_ns = 700 * SECOND,
        .context = slow,
        .answer = slow_answer,
        .ended = slow_ended,
    };
    peer_client_start(&config);
}

/* Those who are no HTTP clients: what the server does with them is all that counts. */
static void slow_look(void *context)
{
    struct slow *slow = context;
    uint8_t bytes[512];
    if (slow->kind == SLOW_DEAF) {
        static const char ask[] = "GET /nobody HTTP/1.1\r\nHost: sim\r\n\r\n";
        while (!net_broken(slow->socket) && net_room(slow->socket) >= sizeof ask - 1) {
            net_write(slow->socket, ask, sizeof ask - 1);
            slow->asked += sizeof ask - 1;
        }
        sim_check(slow->asked < 4 << 20, "a client that reads nothing is read for ever");
    } else {
        while (net_available(slow->socket) > 0) {
            net_read(slow->socket, bytes, sizeof bytes);
        }
    }
    if (net_eof(slow->socket) || net_reset(slow->socket) || net_broken(slow->socket)) {
        slow_in_time(slow, "closed");
        net_notify(slow->socket, NULL, NULL);
        net_close(slow->socket, true);
        slow_open--;
        free(slow);
    }
}

static void slow_connected(void *context, uint64_t number, struct sim_socket *socket,
                           enum bk_err err)
{
    struct slow *slow = context;
    (void)number;
    sim_check(err == BK_OK, "cannot connect: %s", bk_err_name(err));
    slow->socket = socket;
    slow->began_ns = sim_now_ns();
    net_notify(socket, slow_look, slow);
    if (slow->kind == SLOW_IDLE) {
        static const char ask[] = "GET /health/live HTTP/1.1\r\nHost: sim\r\n\r\n";
        net_write(socket, ask, sizeof ask - 1);
    }
    slow_look(slow);
}

static void slow_connect(enum slow_kind kind)
{
    static const struct ring_address to = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}};
    struct slow *slow = calloc(1, sizeof *slow);
    bk_assert(slow);
    slow->kind = kind;
    slow_open++;
    net_connect(NULL, &to, slow_connected, slow, 0);
}

static void senders_slow(void *context)
{
    (void)context;
    slow_open = 0;
    /* Together they ask for more than there is room for. */
    for (unsigned i = 0, deaf = sim_below(3) ? 0 : 40; i < deaf; i++) {
        slow_connect(SLOW_DEAF);
    }
    for (unsigned i = 0; i < 6; i++) {
        enum slow_kind kind = (enum slow_kind)sim_below(SLOW_KINDS_DRAWN);
        kind = kind == SLOW_ENDLESS && i > 0 ? SLOW_BODY : kind; /* it takes many steps */
        if (kind == SLOW_NOTHING || kind == SLOW_IDLE || kind == SLOW_DEAF) {
            slow_connect(kind);
        } else {
            slow_send(kind);
        }
        sim_sleep(sim_below(3000) * 1000 * US);
        slow_send(SLOW_HEALTHY);
    }
    while (peer_clients() || slow_open) {
        sim_sleep(SECOND);
    }
}

void server_slow_configure(struct sim_config *config)
{
    server_configure(config);
    /* Rates are what is looked at here: the network is not slower than the senders. */
    config->dribble = config->receive_cut = 0;
    config->window_bytes = 1U << 16;
    config->segment_bytes = 1U << 12;
}

void server_slow_run(void)
{
    if (sim_below(4)) {
        return; /* of a thousand seeds a quarter is enough */
    }
    lives_begin();
    plan.flushes = plan.clean = plan.calm = true;
    plan.cores = (unsigned)sim_between(1, CORES);
    plan.connections = 0;
    plan.cut_after_ns = 3600 * SECOND;
    plan.conns_max = 64;
    life(senders_slow);
    lives_end();
}

/* ---- one source floods a slow disk, another has an event now and then */

static void loud_send(void)
{
    struct batch *batch = calloc(1, sizeof *batch);
    bk_assert(batch);
    for (unsigned i = 0; i < 3; i++) {
        struct delivery *delivery = delivery_new();
        delivery->source = 2;
        delivery->wish = WISH_STORED;
        delivery->body_bytes = (uint32_t)sim_between(30000, 100000);
        batch_add(batch, delivery);
    }
    struct peer_client_config config = {
        .to = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}},
        .requests = batch->requests,
        .count = batch->count,
        .pipeline = BATCH_MAX,
        .patience_ns = 60 * SECOND,
        .context = batch,
        .answer = batch_answer,
        .ended = batch_ended,
    };
    peer_client_start(&config);
}

static void senders_loud(void *context)
{
    (void)context;
    sim_config()->flush_us = 200000; /* six of them are time enough */
    for (unsigned i = 0; i < 60; i++) {
        loud_send();
    }
    for (unsigned i = 0; i < 12; i++) {
        sim_sleep(sim_below(100000) * US);
        slow_send(SLOW_QUIET);
    }
}

void server_loud_run(void)
{
    if (sim_below(24)) {
        return; /* of a thousand seeds forty are enough */
    }
    lives_begin();
    plan.flushes = plan.clean = true;
    plan.sweep = SWEEP_FROZEN; /* no fault is drawn */
    plan.cores = (unsigned)sim_between(1, CORES);
    plan.connections = 0;
    plan.cut_after_ns = 3600 * SECOND;
    plan.conns_max = 128;
    plan.calm = false;
    plan.patient = true;
    life(senders_loud);
    sim_config()->flush_us = 0;
    plan.patient = false;
    plan.sweep = SWEEP_OFF;
    lives_end();
}

void server_run(void)
{
    plan.flushes = true;
    lives_run();
}

/* --durability=none: what was acknowledged is lost in a crash. */
void canary_ack_run(void)
{
    plan.flushes = false;
    lives_run();
}
