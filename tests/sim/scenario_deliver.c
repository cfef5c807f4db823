/* Events from their senders to their receivers: whole cores with routes, the control thread's part
 * of deliveries, a store, receivers that fail in every way and at every moment (sink_sim.c),
 * orderly stops, kills and power cuts. Checked:
 *   - a receiver gets an event's own bytes, under the id that its sender was told, signed, and the
 * same id over all tries; nothing that was never sent;
 *   - every acknowledged event reaches every receiver (one that says 410 only after it is resumed);
 *   - one that took an event, said so and was heard gets it again only after a crash, or a life on
 * a failing disk;
 *   - in order where that is asked for: whoever was acknowledged before another one was sent comes
 * first, on the whole or for each key, also where somebody replays what was not tried yet;
 *   - who asks for a pause (429, 503) has it; who says 410 is left alone;
 *   - also while the wall clock is set forward and back, running and between stop and start, with a
 * journal that keeps little longer than some receivers are away: what is owed stays, what is not
 * goes in its time;
 *   - what stays in memory does not grow with what is owed: slots and buffers all come back, a core
 * stops in time, everything is given back. */
#include "peer_sim.h"
#include "scenario.h"
#include "server_sim.h"
#include "sink_sim.h"
#include "store_sim.h"
#include "tls_sim.h"

#include "base/base64.h"
#include "hub/deliveries/deliver.h"
#include "hub/deliveries/deliveries.h"
#include "hub/deliveries/dispatch.h"
#include "hub/events/event_id.h"
#include "hub/hub_private.h"
#include "hub/ingress/source_table.h"
#include "hub/routes/route_table.h"
#include "tls/credentials.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SINK_PORT  9100U
#define SOURCE     1U
#define FIRST      100U /* number of the first destination */
#define EVENTS_MAX 512U
#define BATCH_MAX  4U
#define KEYS       3U
#define SECRET     "it is a secret"
#define SIGNING    "0123456789abcdef"
#define TRIES      33U

enum manner {
    GOOD,   /* takes everything */
    BAD,    /* every failure there is */
    AWAY,   /* nobody there for a while, then good */
    STRICT, /* one after the other, and some failures */
    KEYED,  /* the same for each key */
    GONE,   /* says 410 until it is resumed */
    MANNERS
};
static const char *const manner_names[MANNERS] = {"good", "bad", "away", "strict", "keyed", "gone"};

/* An event at a receiver. */
struct got {
    unsigned count;
    bool sure;      /* it took it and said so, nothing was in the way */
    bool again;     /* somebody asked for a replay */
    uint64_t at_ns; /* when it took it last */
};

struct event {
    unsigned number, key;
    uint64_t content;
    uint32_t body_bytes;
    uint64_t sent_ns, acked_ns; /* 0 = it was not acknowledged */
    char id[EVENT_ID_BYTES];
    bool has_id;
    struct got got[MANNERS];
};

struct receiver {
    enum manner manner;
    struct sink *sink;
    uint64_t throttled_ns; /* when it said 429 last, in this life; 0 = not */
    uint64_t failed_until_ns;
    unsigned takes, refusals;
};

static struct event events[EVENTS_MAX];
static unsigned event_count;
static struct receiver receivers[MANNERS];
static struct scheme *signer;
static struct hmac_sha256_key signing;
static bool gone_is_back; /* and resumed */
static bool gone_paused;
static uint64_t gone_back_ns;
static uint64_t set_back_ns; /* when the wall clock was, last */

static struct {
    unsigned cores;
    unsigned connections;
    unsigned tls;    /* a bit for each receiver */
    bool crash;      /* this life ends by a kill or a power cut */
    bool calm;       /* the last one: nothing fails any more */
    bool disk_fails; /* the journal or the store may refuse */
    bool net_fails;
    bool store_dead;    /* it takes nothing any more while this life stops */
    bool clocks;        /* the wall clock is set now and then, */
    bool forward;       /* never back, */
    uint64_t retain_ns; /* and the journal keeps events so long, and what is owed */
} plan;

/* What a server has besides when it delivers. */
static struct {
    struct route_table *routes;
    struct dispatch *dispatch;
    struct hub hub;
    struct deliver *delivers[CORES];
    int64_t clock_ms;
    struct route_garbage *garbage;
    bool running;
} outgoing;

/* ---- events and what they look like */

/* Its number in front. */
static void body_fill(const struct event *event, uint8_t *at)
{
    int bytes = snprintf((char *)at, 16, "%08u ", event->number);
    server_sim_body(event->content, at + bytes, event->body_bytes - (uint32_t)bytes);
}

static struct event *event_new(void)
{
    bk_assert(event_count < EVENTS_MAX);
    struct event *event = &events[event_count];
    *event = (struct event){.number = event_count++,
                            .key = (unsigned)sim_below(KEYS),
                            .content = sim_random(),
                            .sent_ns = sim_now_ns()};
    /* Some do not fit a slot; where segments are to be filled they are larger. */
    event->body_bytes = plan.clocks ? (uint32_t)sim_between(9, 60000)
                                    : (uint32_t)sim_between(9, sim_below(20) ? 700 : 12000);
    return event;
}

static void request_make(struct buf *out, const struct event *event)
{
    uint8_t *body = malloc(event->body_bytes + 16);
    bk_assert(body);
    buf_init(out, 1 << 20);
    body_fill(event, body);
    server_sim_sign(out, signer, "alpha", SLICE_EMPTY, slice_of(body, event->body_bytes));
    buf_printf(out, "X-Key: k%u\r\nContent-Length: %u\r\n\r\n", event->key, event->body_bytes);
    buf_add(out, body, event->body_bytes);
    free(body);
    bk_assert(!out->overflow);
}

/* ---- what a receiver sees */

static struct slice header(const struct http_head *head, const char *name)
{
    const struct http_header *found = http_find(head, slice_str(name), NULL);
    sim_check(found, "a delivery without %s", name);
    return http_header_value(head, found);
}

static struct event *event_of(struct slice body)
{
    char digits[9];
    sim_check(body.bytes >= 9, "a delivery of %zu bytes", body.bytes);
    memcpy(digits, body.at, 8);
    digits[8] = '\0';
    unsigned number = (unsigned)strtoul(digits, NULL, 10);
    sim_check(number < event_count && events[number].body_bytes == body.bytes,
              "a delivery of an event that nobody sent: %s, %zu bytes", digits, body.bytes);
    uint8_t *want = malloc(body.bytes + 16);
    bk_assert(want);
    body_fill(&events[number], want);
    sim_check(memcmp(want, body.at, body.bytes) == 0, "event %u arrives with other bytes", number);
    free(want);
    return &events[number];
}

static void check_signature(const struct http_head *head, struct slice id, struct slice body)
{
    uint8_t mac[SHA256_BYTES];
    char text[3 + BASE64_ENCODED(SHA256_BYTES) + 1] = "v1,";
    struct slice parts[] = {id, SLICE("."), header(head, "webhook-timestamp"), SLICE("."), body};
    hmac_sha256(&signing, parts, bk_array_length(parts), mac);
    size_t bytes = 3 + base64_encode(mac, sizeof mac, BASE64_STANDARD, text + 3);
    sim_check(slice_equal(header(head, "webhook-signature"), slice_of(text, bytes)),
              "a delivery with a wrong signature");
}

/* Whoever was acknowledged before this one was sent is here already; which of two is
 * older is told by the wall clock, so not where that was set back. */
static void check_order(const struct receiver *receiver, const struct event *event)
{
    for (unsigned i = 0; i < event_count; i++) {
        const struct event *before = &events[i];
        bool first = before->acked_ns != 0 && before->acked_ns < event->sent_ns &&
                     (receiver->manner == STRICT || before->key == event->key) && set_back_ns == 0;
        sim_check(!first || before->got[receiver->manner].count > 0,
                  "%s gets event %u before event %u", manner_names[receiver->manner], event->number,
                  before->number);
    }
}

static void check_pause(struct receiver *receiver)
{
    uint64_t now_ns = sim_now_ns(), since_ns = now_ns - receiver->throttled_ns;
    sim_check(receiver->throttled_ns == 0 || plan.net_fails || since_ns < 1500 * MS ||
                  since_ns > 2900 * MS,
              "%s asked for 3 s and gets a delivery after %" PRIu64 " ms",
              manner_names[receiver->manner], (uint64_t)(since_ns / MS));
}

static enum sink_treat treat_good(void)
{
    return sim_below(3) ? SINK_OK : (enum sink_treat)sim_below(SINK_TAKEN);
}

static enum sink_treat treat_of(const struct receiver *receiver)
{
    bool fails = !plan.calm;
    switch (receiver->manner) {
    case BAD:
        return fails && sim_below(2) ? (enum sink_treat)sim_between(SINK_TAKEN, SINK_GONE - 1)
                                     : treat_good();
    case STRICT:
    case KEYED:
        return fails && sim_below(4) == 0 ? (enum sink_treat)sim_between(SINK_TAKEN, SINK_GONE - 1)
                                          : treat_good();
    case GONE:
        return gone_is_back ? treat_good() : SINK_GONE;
    case GOOD:
    case AWAY:
    case MANNERS:
    default:
        return treat_good();
    }
}

static void take(struct receiver *receiver, struct event *event, bool sure)
{
    struct got *got = &event->got[receiver->manner];
    sim_check(!got->sure, "%s took event %u and said so, and gets it again",
              manner_names[receiver->manner], event->number);
    if (got->count == 0 && (receiver->manner == STRICT || receiver->manner == KEYED)) {
        check_order(receiver, event);
    }
    got->count++;
    got->sure = sure && !plan.net_fails && !got->again;
    got->at_ns = sim_now_ns();
    receiver->takes++;
}

static enum sink_treat request(void *context, const struct http_head *head, struct slice body)
{
    struct receiver *receiver = context;
    struct event *event = event_of(body);
    struct slice id = header(head, "webhook-id");
    struct journal_position position;
    sim_check(event_id_parse(id, &position, NULL), "event %u has an odd id", event->number);
    sim_check(!event->has_id || slice_equal(id, slice_of(event->id, EVENT_ID_BYTES)),
              "event %u arrives as %.*s, and was %.*s", event->number, (int)id.bytes,
              (const char *)id.at, (int)EVENT_ID_BYTES, event->id);
    memcpy(event->id, id.at, EVENT_ID_BYTES);
    event->has_id = true;
    check_signature(head, id, body);
    check_pause(receiver);
    enum sink_treat treat = treat_of(receiver);
    sim_log("%s: event %u, key %u, treated %d", manner_names[receiver->manner], event->number,
            event->key, (int)treat);
    if (treat < SINK_DOUBT) {
        take(receiver, event, treat < SINK_TAKEN);
    } else {
        receiver->refusals++;
    }
    if (treat == SINK_THROTTLED) {
        receiver->throttled_ns = sim_now_ns();
    }
    return treat;
}

/* ---- senders */

struct batch {
    struct event *events[BATCH_MAX];
    struct buf bytes[BATCH_MAX];
    struct peer_request requests[BATCH_MAX];
    unsigned count;
};

static void batch_answer(void *context, unsigned number, unsigned status, struct slice body,
                         bool sent)
{
    struct batch *batch = context;
    struct event *event = batch->events[number];
    static const char start[] = "{\"id\":\"";
    (void)sent;
    sim_check(status == 200 || !plan.calm, "event %u is answered %u", event->number, status);
    if (status != 200) {
        return;
    }
    sim_check(slice_starts(body, SLICE("{\"id\":\"")), "an odd acknowledgement");
    struct slice id = slice_of(body.at + sizeof start - 1, EVENT_ID_BYTES);
    sim_check(!event->has_id || slice_equal(id, slice_of(event->id, EVENT_ID_BYTES)),
              "event %u is acknowledged as another one", event->number);
    memcpy(event->id, id.at, EVENT_ID_BYTES);
    event->has_id = true;
    event->acked_ns = sim_now_ns();
    sim_log("event %u, key %u, is acknowledged by core %.6s", event->number, event->key,
            event->id + 14);
}

static void batch_ended(void *context, enum bk_err err)
{
    struct batch *batch = context;
    (void)err;
    for (unsigned i = 0; i < batch->count; i++) {
        buf_fini(&batch->bytes[i]);
    }
    free(batch);
}

static void batch_send(void)
{
    struct batch *batch = calloc(1, sizeof *batch);
    bk_assert(batch);
    unsigned count = (unsigned)sim_between(1, BATCH_MAX);
    for (unsigned i = 0; i < count; i++) {
        batch->events[i] = event_new();
        request_make(&batch->bytes[i], batch->events[i]);
        batch->requests[i] =
            (struct peer_request){.at = batch->bytes[i].at, .bytes = batch->bytes[i].bytes};
        batch->count++;
    }
    struct peer_client_config config = {
        .to = {.family = 4, .port = PORT, .at = {127, 0, 0, 1}},
        .requests = batch->requests,
        .count = batch->count,
        .pipeline = sim_below(2) ? 1 : BATCH_MAX,
        .patience_ns = 400 * SECOND,
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
        if (event_count + BATCH_MAX <= EVENTS_MAX) {
            batch_send();
        }
        sim_sleep(sim_below(3) ? sim_below(20 * MS) : sim_below(800 * MS));
    }
}

/* ---- routes */

static void destination_put(enum manner manner)
{
    static const uint32_t schedule[] = {100, 200, 400, 800, 1500};
    struct destination *destination = calloc(1, sizeof *destination);
    struct filter_error error;
    bk_assert(destination);
    destination->number = FIRST + manner;
    destination->name = slice_str(manner_names[manner]);
    destination->origin = (struct http_origin){
        .allow_private = true, .port = (uint16_t)(SINK_PORT + manner), .host = "127.0.0.1"};
    if (plan.tls >> manner & 1) {
        struct tls_credentials_text text = {.ca = tls_sim_ca()};
        char why[TLS_WHY_BYTES];
        destination->origin.tls = true;
        bk_assert(tls_credentials_open(&text, &destination->origin.credentials, why) == BK_OK);
    }
    http_origin_init(&destination->origin);
    destination->target = SLICE("/in");
    destination->host_header = SLICE("sink");
    destination->signing = DESTINATION_STANDARD_WEBHOOKS;
    destination->secrets[0] = signing;
    destination->secret_count = 1;
    destination->timeout_ms = 5000;
    destination->retry_count = TRIES - 1;
    for (unsigned i = 0; i < destination->retry_count; i++) {
        destination->retry_schedule_ms[i] = i < bk_array_length(schedule) ? schedule[i] : 3000;
    }
    destination->jitter_permille = 200;
    destination->concurrency = 16;
    destination->strict = manner == STRICT || manner == KEYED;
    destination->pause =
        manner == GONE && gone_paused ? DESTINATION_PAUSED_BY_GONE : DESTINATION_RUNNING;
    if (manner == KEYED) {
        enum bk_err err = filter_compile(SLICE("$headers['X-Key']"), FILTER_DATA, false,
                                         &destination->order_key, &error);
        sim_check(err == BK_OK, "the key does not compile");
    }
    bk_assert(route_table_put_destination(outgoing.routes, destination) == BK_OK);
    if (outgoing.dispatch) {
        dispatch_changed(outgoing.dispatch, FIRST + manner);
    }
}

static void routes_open(void)
{
    bk_assert(route_table_open(&outgoing.routes) == BK_OK);
    for (unsigned manner = 0; manner < MANNERS; manner++) {
        uint64_t to = FIRST + manner;
        destination_put((enum manner)manner);
        struct route_from from = {.source_number = SOURCE,
                                  .source_name = SLICE("alpha"),
                                  .filters = filter_set_make(NULL, 0, false, NULL, 0)};
        struct route_change change = {.number = 500 + manner,
                                      .since_ns = 1,
                                      .from = &from,
                                      .from_count = 1,
                                      .to = &to,
                                      .to_count = 1};
        bk_assert(route_table_change_route(outgoing.routes, &change) == BK_OK);
    }
}

/* It answered 410. */
static void gone(void *context, uint64_t destination)
{
    (void)context;
    sim_check(destination == FIRST + GONE, "destination %" PRIu64 " is called gone", destination);
    gone_paused = true;
    gone_back_ns = sim_now_ns() + sim_between(1, 5) * SECOND;
    destination_put(GONE);
}

static void gone_resume(void)
{
    if (gone_paused && (plan.calm || sim_now_ns() >= gone_back_ns)) {
        gone_paused = false;
        gone_is_back = true;
        destination_put(GONE);
    }
}

/* ---- the server */

static void core_start(unsigned index)
{
    struct reactor_config config = {
        .durable = true,
        .conns_max = 32,
        .buffers_bytes_max = 16 << 20,
        .deliver = {.core = (uint16_t)index,
                    .cores = (uint16_t)plan.cores,
                    .routes = outgoing.routes,
                    .control = server.ring,
                    .dispatch = outgoing.dispatch,
                    .peers = outgoing.delivers,
                    .clock_ms = outgoing.clock_ms,
                    .slots = (unsigned)sim_between(16, 64)},
    };
    config.deliver.lane_count =
        dispatch_lanes(outgoing.dispatch, (uint16_t)index, &config.deliver.lanes);
    server_sim_start(index, config);
}

/* What a start reads of the journals; a disk that fails then is not this scenario's matter. */
static void dispatch_begin(void)
{
    struct dispatch_config config = {.hub = &outgoing.hub,
                                     .catalog = server.catalog,
                                     .routes = outgoing.routes,
                                     .ring = server.ring,
                                     .cores = (uint16_t)plan.cores,
                                     .clock_ms = outgoing.clock_ms,
                                     .gone = gone};
    bk_assert(dispatch_open(&config, &outgoing.dispatch) == BK_OK);
    enum bk_err err = dispatch_recover(outgoing.dispatch);
    sim_check(err == BK_OK, "deliveries do not recover: %s", bk_err_name(err));
}

static void server_open(void)
{
    memset(&outgoing, 0, sizeof outgoing);
    outgoing.hub.store = store_sim();
    routes_open();
    server_sim_open(plan.cores, CORES, 1);
    struct source_change change = server_sim_source(SOURCE, "alpha", "github", SECRET);
    server_sim_put(&change);
    enum bk_err err = dispatch_clock_begin(&outgoing.hub, ring_wall_ns(server.ring) / (int64_t)MS,
                                           ring_now_ns(server.ring), &outgoing.clock_ms);
    bk_assert(err == BK_OK);
    dispatch_begin();
    if (plan.clocks) {
        catalog_retain(server.catalog, 0, (int64_t)plan.retain_ns);
        catalog_guard(server.catalog, dispatch_owed, outgoing.dispatch);
    }
    catalog_start(server.catalog, server.ring);
    for (unsigned i = 0; i < plan.cores; i++) {
        core_start(i);
    }
    struct ring *rings[CORES] = {server.core[0].ring, server.core[1].ring};
    dispatch_started(outgoing.dispatch, outgoing.delivers, rings);
    outgoing.running = true;
}

static void server_close(void)
{
    ring_turn(server.ring, 0); /* the last mail */
    dispatch_flush(outgoing.dispatch);
    server_sim_free_cores();
    dispatch_close(outgoing.dispatch);
    server_sim_close();
    route_table_close(outgoing.routes);
}

/* ---- the control thread */

static void grace_over(void)
{
    route_table_free(outgoing.garbage);
    outgoing.garbage = NULL;
}

static void grace_begin(void)
{
    outgoing.garbage = route_table_retired(outgoing.routes);
    if (outgoing.garbage) {
        server_sim_grace(grace_over);
    }
}

static void clock_set(void)
{
    int64_t days = (int64_t)sim_below(400) - 200;
    days = days < 0 && plan.forward ? -days : days;
    int64_t by_ns = (sim_below(2) ? days * 86400 : days) * (int64_t)SECOND;
    sim_log("the wall clock is set by %" PRId64 " s", by_ns / (int64_t)SECOND);
    sim_wall_jump(by_ns);
    set_back_ns = by_ns < 0 ? sim_now_ns() : set_back_ns;
}

/* Somebody wants an event again, at a rate or not, where there is an order: it comes behind what
 * came before it. */
static void replay_one(void)
{
    unsigned last = sim_below(2) && event_count > 8 ? 8 : event_count;
    struct event *event = &events[event_count - 1 - sim_below(last)];
    struct got *got = &event->got[sim_below(2) ? STRICT : KEYED];
    struct replay replay = {.to = FIRST + (uint64_t)(got - event->got),
                            .per_second = (uint32_t)sim_below(4) * 10};
    struct reader *reader;
    struct journal_position position;
    struct journal_record record;
    if (event->acked_ns == 0) {
        return;
    }
    bk_assert(event_id_parse(slice_of(event->id, EVENT_ID_BYTES), &position, NULL));
    bk_assert(reader_open(server.catalog, &reader) == BK_OK);
    if (reader_get(reader, position, &record) == BK_OK &&
        replay_event(outgoing.dispatch, &replay, &record) == BK_OK) {
        sim_log("event %u, key %u, once more for %s, %u a second", event->number, event->key,
                manner_names[got - event->got], replay.per_second);
        got->again = true;
        got->sure = false;
    }
    free(replay.targets);
    reader_close(reader);
}

static void control_turn(void)
{
    if (plan.clocks && sim_below(200) == 0) {
        clock_set();
    }
    bool more = dispatch_step(outgoing.dispatch);
    if (outgoing.running) {
        gone_resume();
        if (event_count > 0 && sim_below(100) == 0) {
            replay_one();
        }
        if (!outgoing.garbage) {
            grace_begin();
        }
    }
    uint64_t next_ns = ring_now_ns(server.ring) + 100 * MS;
    uint64_t dispatch_ns = dispatch_next_ns(outgoing.dispatch);
    next_ns = dispatch_ns < next_ns ? dispatch_ns : next_ns;
    server_sim_turn(more ? 0 : next_ns);
}

static void cores_stop(void)
{
    /* Deliveries are cut after half a second, whatever receivers do. */
    uint64_t most = plan.store_dead ? 15 : plan.disk_fails || plan.crash ? 120 : 8;
    dispatch_drain(outgoing.dispatch);
    server_sim_stop(500 * MS, 20 * SECOND, most * SECOND, control_turn);
    for (unsigned i = 0; i < plan.cores; i++) {
        const struct deliver_stats *stats = deliver_stats(outgoing.delivers[i]);
        sim_check(stats->slots_free > 0, "core %u has no slot left", i);
    }
}

/* ---- lives */

static void faults_draw(void)
{
    struct sim_config *config = sim_config();
    plan.disk_fails = sim_below(3) == 0;
    plan.net_fails = sim_below(2) == 0;
    if (plan.disk_fails) {
        config->write_fail = config->write_short = (uint32_t)sim_below(20);
        config->disk_slow = (uint32_t)sim_below(20);
    }
    store_sim_faults(plan.disk_fails ? (uint32_t)sim_below(300) : 0, (uint32_t)sim_below(3000));
    if (plan.net_fails) {
        config->connection_reset = config->connect_fail = (uint32_t)sim_below(100);
        config->receive_no_buffers = (uint32_t)sim_below(50);
    }
    for (unsigned i = 0; i < MANNERS; i++) {
        bool fails = i == BAD || i == STRICT || i == KEYED;
        sink_failing(receivers[i].sink, fails ? (uint32_t)sim_below(300) : 0);
        receivers[i].throttled_ns = 0;
    }
    sink_down(receivers[AWAY].sink, sim_below(2) == 0);
}

static void faults_off(void)
{
    struct sim_config *config = sim_config();
    config->write_fail = config->write_short = config->disk_slow = 0;
    config->connection_reset = config->connect_fail = config->receive_no_buffers = 0;
    store_sim_faults(0, 1000);
    plan.disk_fails = plan.net_fails = false;
    for (unsigned i = 0; i < MANNERS; i++) {
        sink_failing(receivers[i].sink, 0);
        sink_down(receivers[i].sink, false);
        receivers[i].throttled_ns = 0;
    }
}

/* What was heard just before the end may be sent again; after a crash, and where attempts could not
 * be kept, everything of this life. */
static void forget_sure(uint64_t begin_ns, uint64_t end_ns)
{
    uint64_t since_ns = plan.disk_fails ? begin_ns
                        : plan.crash    ? (end_ns > 5 * SECOND ? end_ns - 5 * SECOND : 0)
                                        : end_ns;
    for (unsigned i = 0; i < event_count; i++) {
        for (unsigned manner = 0; manner < MANNERS; manner++) {
            struct got *got = &events[i].got[manner];
            got->sure = got->sure && got->at_ns + SECOND < since_ns;
        }
    }
}

static unsigned owed(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < event_count; i++) {
        for (unsigned manner = 0; events[i].acked_ns != 0 && manner < MANNERS; manner++) {
            count += events[i].got[manner].count == 0;
        }
    }
    return count;
}

/* What nobody is owed goes, in its time; deliveries may have been in no checkpoint before. */
static void retention_check(void)
{
    struct catalog_stats stats;
    uint64_t until_ns = sim_now_ns() + 400 * SECOND;
    plan.clocks = false; /* it stands now, ahead of all that was received */
    sim_wall_jump(HOUR_NS * 24 * 10000);
    do {
        control_turn();
        catalog_stats(server.catalog, &stats);
    } while (stats.sealed > 0 && sim_now_ns() < until_ns);
    sim_log("%" PRIu64 " segments were removed", stats.removed_total);
    sim_check(stats.sealed == 0, "%u segments stay that nobody is owed", stats.sealed);
    plan.clocks = true;
}

static void life(void)
{
    server_open();
    uint64_t begin_ns = sim_now_ns();
    if (!plan.calm) {
        faults_draw();
    }
    struct sim_thread *senders = sim_spawn("senders", senders_main, NULL);
    uint64_t end_ns = begin_ns + sim_between(10, sim_below(4) ? 6000 : 20000) * MS;
    while (!sim_thread_ended(senders) ||
           (plan.calm ? owed() > 0 || peer_clients() > 0 : sim_now_ns() < end_ns)) {
        control_turn();
        if (!plan.calm && sim_now_ns() >= end_ns) {
            break;
        }
        sim_check(!plan.calm || sim_now_ns() < begin_ns + 600 * SECOND,
                  "%u deliveries are owed, although all is well", owed());
    }
    if (plan.clocks && plan.calm) {
        retention_check();
    }
    end_ns = sim_now_ns();
    if (plan.crash) {
        sim_disk_cut();
    }
    while (!sim_thread_ended(senders)) {
        control_turn();
    }
    sim_join(senders);
    outgoing.running = false;
    plan.store_dead = plan.disk_fails && sim_below(2);
    if (plan.store_dead) {
        store_sim_faults(1000, 1000);
    }
    cores_stop();
    server_close();
    forget_sure(begin_ns, end_ns);
    faults_off();
    while (peer_clients()) {
        sim_sleep(SECOND);
    }
}

void deliver_run(void)
{
    size_t bytes;
    bk_assert(directory_make("data") == BK_OK && directory_sync("") == BK_OK);
    store_sim_begin();
    event_count = 0;
    gone_is_back = gone_paused = false;
    set_back_ns = 0;
    memset(&plan, 0, sizeof plan);
    memset(receivers, 0, sizeof receivers);
    hmac_sha256_key_init(&signing, SLICE(SIGNING));
    signer = server_sim_scheme("github", SECRET, &bytes);
    plan.tls = sim_below(8) == 0 ? (unsigned)sim_below(1U << MANNERS) : 0;
    if (plan.tls) { /* its certificates are from a later year */
        sim_wall_jump(4 * 365 * 86400 * (int64_t)SECOND);
        tls_sim_begin();
    }
    for (unsigned i = 0; i < MANNERS; i++) {
        receivers[i].manner = (enum manner)i;
        struct sink_config config = {.port = (uint16_t)(SINK_PORT + i),
                                     .tls = plan.tls >> i & 1,
                                     .request = request,
                                     .context = &receivers[i]};
        receivers[i].sink = sink_open(&config);
    }
    plan.clocks = plan.tls == 0 && sim_below(16) == 0;
    plan.forward = sim_below(2) == 0;
    plan.retain_ns = sim_between(2, 20) * SECOND;
    plan.cores = (unsigned)sim_between(1, CORES);
    unsigned lives = (unsigned)sim_between(1, 2);
    for (unsigned i = 0; i < lives; i++) {
        plan.connections = (unsigned)sim_between(1, sim_below(4) ? 4 : 12);
        if (plan.clocks) {
            plan.connections = (unsigned)sim_between(20, 50);
            clock_set();
        }
        plan.crash = sim_below(2) == 0;
        sim_log("life %u: %u cores, %u connections%s", i, plan.cores, plan.connections,
                plan.crash ? ", crashes" : "");
        life();
        if (plan.crash && sim_below(2)) {
            sim_disk_crash();
        } else {
            sim_disk_restart();
        }
        store_sim_crash();
    }
    plan.crash = false;
    plan.calm = true;
    plan.connections = 2;
    life();
    for (unsigned i = 0; i < MANNERS; i++) {
        sink_close(receivers[i].sink);
    }
    uint64_t until_ns = sim_now_ns() + 60 * SECOND;
    while (sinks_connections() > 0 && sim_now_ns() < until_ns) {
        sim_sleep(100 * MS);
    }
    sim_check(sinks_connections() == 0, "receivers still have %u connections", sinks_connections());
    sim_sleep(SECOND);
    scheme_wipe(signer);
    free(signer);
    store_sim_end();
}

void deliver_configure(struct sim_config *config)
{
    server_sim_configure(config);
    config->window_bytes = 1U << sim_between(12, 17);
    config->segment_bytes = 1U << sim_between(8, 16);
    config->dribble = sim_below(8) ? 0 : 50;
}
