/* Description: deliveries of two cores with their store through failing destinations and crashes:
 * each event reaches each destination that wants it, at least once, under its own id.
 *
 * Journals, catalog, store and route table are the real ones; the ring and the HTTP client are the
 * test's. BECKET_DELIVER_SEEDS=50 for more. */
#include "journal_world.h"

#include "http/parse.h"
#include "hub/events/attempt.h"
#include "hub/deliveries/deliver.h"
#include "hub/deliveries/deliveries.h"
#include "hub/deliveries/dispatch.h"
#include "hub/deliveries/dispatch_private.h"
#include "ring/timer.h"
#include "store/keys.h"

#define CORES      2U
#define SECOND     1000000000ULL
#define EVENTS_MAX 6000U
#define SOURCE     7U
#define CALLS_MAX  4096U
#define KEYS       12U
#define OTHERS     7U
#define STUCK_KEY  3U /* the receiver fails it for long */

/* ---- receivers */

enum manner {
    GOOD,
    FLAKY,
    SLOW,
    DEAD_FOR_A_WHILE,
    ALWAYS_500,
    THROTTLES,
    GONE,
    STRICT,
    KEYED,
    MANNERS
};

static const char *const manner_names[MANNERS] = {
    "good", "flaky",  "slow",          "dead for a while", "always 500", "429 with Retry-After",
    "410",  "strict", "strict per key"};

struct receiver {
    uint8_t got[EVENTS_MAX]; /* 2xx answers by event number */
    uint64_t calls, answers, duplicates;
    uint64_t order_breaks, key_breaks;
    unsigned steps_back[KEYS], last_answer[KEYS]; /* also of what comes again */
    unsigned last_event;
    unsigned last_of_key[KEYS];
    unsigned last_of_other[OTHERS]; /* from changed_at on */
    uint64_t other_breaks;
    unsigned key_inflight[KEYS];
    uint64_t key_overlaps;
    uint32_t attempt_max;
    uint64_t last_call_ns;
    uint64_t throttled_until_ns;
    uint64_t early; /* calls while it had asked to wait */
    unsigned inflight, inflight_max;
};

struct fake_call {
    struct http_call *call;
    uint64_t due_ns;
};

struct http_client {
    struct fake_call calls[CALLS_MAX];
    unsigned count;
};

static struct receiver receivers[MANNERS];
static struct http_client clients[CORES];
static uint64_t alive_at_ns;
static uint64_t stuck_until_ns;
static unsigned changed_at; /* the last event that came while the first key was the one */
static bool lazy;           /* they take their time */
static bool calm;           /* those per key take all but what is stuck */
static bool gone_is_back;
static char ids[EVENTS_MAX][40]; /* the webhook-id under which an event came first */
static unsigned id_mismatches, bad_requests;

static uint32_t random_below(uint32_t bound)
{
    return (uint32_t)(next_random() >> 16) % bound;
}

static enum manner manner_of(const struct http_call *call)
{
    return (enum manner)(call->origin->port - 1000);
}

static unsigned event_of(const struct http_call *call)
{
    struct http_head head;
    if (http_parse_request(call->pieces[0].at, call->pieces[0].bytes, &head) != HTTP_PARSE_DONE) {
        return 0;
    }
    return (unsigned)atoi((const char *)call->pieces[0].at + head.head_bytes + 1);
}

/* What arrived: the event's number is in its body. */
static unsigned receive(const struct http_call *call, bool answered)
{
    struct http_head head;
    struct slice bytes = call->pieces[0];
    struct receiver *receiver = &receivers[manner_of(call)];
    if (call->piece_count != 1 ||
        http_parse_request(bytes.at, bytes.bytes, &head) != HTTP_PARSE_DONE ||
        bytes.bytes != head.head_bytes + head.content_length) {
        bad_requests++;
        return 0;
    }
    unsigned event = (unsigned)atoi((const char *)bytes.at + head.head_bytes + 1);
    const struct http_header *id = http_find(&head, SLICE("webhook-id"), NULL);
    const struct http_header *attempt = http_find(&head, SLICE("becket-attempt"), NULL);
    if (event >= EVENTS_MAX || !id || !attempt) {
        bad_requests++;
        return 0;
    }
    struct slice text = http_header_value(&head, id);
    if (ids[event][0] == '\0') {
        memcpy(ids[event], text.at, text.bytes);
    }
    id_mismatches += !slice_equal(text, slice_str(ids[event]));
    uint32_t number = (uint32_t)atoi((const char *)http_header_value(&head, attempt).at);
    receiver->attempt_max = number > receiver->attempt_max ? number : receiver->attempt_max;
    if (answered) {
        receiver->answers++;
        receiver->duplicates += receiver->got[event] > 0;
        receiver->steps_back[event % KEYS] += event < receiver->last_answer[event % KEYS];
        receiver->last_answer[event % KEYS] = event;
        if (receiver->got[event] == 0) {
            receiver->order_breaks += event < receiver->last_event;
            receiver->last_event = event;
            receiver->key_breaks += event < receiver->last_of_key[event % KEYS];
            receiver->last_of_key[event % KEYS] = event;
            if (event > changed_at) {
                receiver->other_breaks += event < receiver->last_of_other[event % OTHERS];
                receiver->last_of_other[event % OTHERS] = event;
            }
        }
        receiver->got[event] = 1;
    }
    return event;
}

void http_call_start(struct http_client *client, struct http_call *call)
{
    struct receiver *receiver = &receivers[manner_of(call)];
    bk_assert(client->count < CALLS_MAX);
    bk_assert(call->state == 0);
    call->state = 1;
    uint64_t takes_ns = manner_of(call) == SLOW ? 50 * 1000000ULL + random_below(300) * 1000000ULL
                        : lazy                  ? 20 * 1000000ULL
                                                : 100000 + random_below(2000000);
    client->calls[client->count++] = (struct fake_call){call, fake_now_ns + takes_ns};
    receiver->calls++;
    receiver->inflight++;
    receiver->key_overlaps += receiver->key_inflight[event_of(call) % KEYS]++ > 0;
    receiver->early += fake_now_ns < receiver->throttled_until_ns;
    receiver->last_call_ns = fake_now_ns;
    if (receiver->inflight > receiver->inflight_max) {
        receiver->inflight_max = receiver->inflight;
    }
}

static void end_call(struct http_client *client, unsigned index, enum bk_err err, uint16_t status)
{
    static struct http_head head;
    static char retry[64];
    struct http_call *call = client->calls[index].call;
    client->calls[index] = client->calls[--client->count];
    receivers[manner_of(call)].inflight--;
    receivers[manner_of(call)].key_inflight[event_of(call) % KEYS]--;
    call->state = 0;
    memset(&call->reply, 0, sizeof call->reply);
    call->reply.err = err;
    call->reply.status = err == BK_OK ? status : 0;
    call->reply.stage = err == BK_OK ? HTTP_STAGE_DONE : HTTP_STAGE_CONNECT;
    if (err == BK_OK) {
        snprintf(retry, sizeof retry, "HTTP/1.1 %u X\r\n%s\r\n", status,
                 status == 429 ? "Retry-After: 2\r\n" : "");
        bk_assert(http_parse_response((const uint8_t *)retry, strlen(retry), &head) ==
                  HTTP_PARSE_DONE);
        call->reply.head = &head;
        call->reply.body = SLICE("an answer");
    }
    call->done(call);
}

const char *http_stage_text(enum http_stage stage)
{
    return stage == HTTP_STAGE_CONNECT ? "connect" : "done";
}

void http_call_cancel(struct http_client *client, struct http_call *call)
{
    for (unsigned i = 0; i < client->count; i++) {
        if (client->calls[i].call == call) {
            client->calls[i].due_ns = 0; /* ends with BK_CANCELLED in the next step */
        }
    }
}

static void answer(struct http_client *client, unsigned index)
{
    struct http_call *call = client->calls[index].call;
    struct receiver *receiver = &receivers[manner_of(call)];
    uint32_t dice = random_below(100);
    if (client->calls[index].due_ns == 0) {
        end_call(client, index, BK_CANCELLED, 0);
        return;
    }
    switch (manner_of(call)) {
    case GOOD:
    case SLOW:
        receive(call, true);
        end_call(client, index, BK_OK, 200);
        return;
    case FLAKY:
        receive(call, dice < 60);
        end_call(client, index,
                 dice < 60   ? BK_OK
                 : dice < 80 ? BK_OK
                             : BK_TIMEOUT,
                 dice < 60 ? 204 : 502);
        return;
    case DEAD_FOR_A_WHILE:
        if (fake_now_ns < alive_at_ns) {
            end_call(client, index, BK_REFUSED, 0);
        } else {
            receive(call, true);
            end_call(client, index, BK_OK, 200);
        }
        return;
    case ALWAYS_500:
        receive(call, false);
        end_call(client, index, BK_OK, 500);
        return;
    case STRICT:
        dice = fake_now_ns < stuck_until_ns ? 100 : dice;
        receive(call, dice < 80);
        end_call(client, index, BK_OK, dice < 80 ? 200 : 500);
        return;
    case KEYED:
        dice = calm ? 0 : dice;
        if (event_of(call) % KEYS == STUCK_KEY && fake_now_ns < stuck_until_ns) {
            dice = 100;
        }
        receive(call, dice < 90);
        end_call(client, index, BK_OK, dice < 90 ? 200 : 500);
        return;
    case THROTTLES:
        receive(call, dice >= 2);
        if (dice < 2) {
            receiver->throttled_until_ns = fake_now_ns + 2 * SECOND;
        }
        end_call(client, index, BK_OK, dice < 2 ? 429 : 202);
        return;
    case GONE:
        receive(call, gone_is_back);
        end_call(client, index, BK_OK, gone_is_back ? 200 : 410);
        return;
    case MANNERS:
    default:
        bk_never("no such receiver");
    }
}

/* ---- the server */

static struct server {
    struct world world;
    char state[300];
    struct hub *hub;
    struct route_table *routes;
    struct dispatch *dispatch;
    struct deliver *delivers[CORES];
    struct ring *rings[CORES];
    struct timer_wheel wheels[CORES];
    struct filter_scratch *scratches[CORES];
    uint64_t appended; /* events */
    int64_t clock_ms;
    unsigned gone_calls;
    unsigned first_manner, manners; /* which of them have a destination */
    bool paused_gone;
    bool narrow;     /* one at a time */
    bool moved;      /* all of them have the good one's address */
    bool one_core;   /* takes all events */
    bool all_is_cut; /* what is in flight at a crash did not arrive */
    bool loose;      /* the strict ones are not, just now */
    bool other;      /* the one per key goes by another one, just now */
    bool whole;      /* the one per key has one order for all, just now */
    bool unrouted;   /* nothing leads to any of them */
} server;

static void put_destination_at(uint64_t number, unsigned manner, enum destination_pause pause)
{
    static const uint32_t schedule[] = {50, 100, 200, 400, 800, 1000, 1000, 1000};
    struct destination *destination = calloc(1, sizeof *destination);
    destination->number = number;
    destination->name = slice_str(manner_names[manner]);
    destination->origin.port = (uint16_t)(1000 + (server.moved ? GOOD : manner));
    destination->target = SLICE("/in");
    destination->host_header = SLICE("sink");
    destination->signing = DESTINATION_STANDARD_WEBHOOKS;
    destination->secret_count = 1;
    destination->timeout_ms = 20000;
    memcpy(destination->retry_schedule_ms, schedule, sizeof schedule);
    for (unsigned i = 8; i < DESTINATION_RETRIES_MAX; i++) {
        destination->retry_schedule_ms[i] = 1000;
    }
    destination->retry_count = manner == ALWAYS_500 ? 3 : DESTINATION_RETRIES_MAX;
    destination->jitter_permille = 200;
    destination->concurrency = server.narrow ? 1 : 16;
    destination->pause = pause;
    destination->strict = (manner == STRICT || manner == KEYED) && !server.loose;
    struct filter_error error;
    if (manner == KEYED && !server.whole &&
        filter_compile(server.other ? SLICE("$headers['X-Other']") : SLICE("$headers['X-Key']"),
                       FILTER_DATA, false, &destination->order_key, &error) != BK_OK) {
        bail_out("the key does not compile");
    }
    if (route_table_put_destination(server.routes, destination) != BK_OK) {
        bail_out("no memory");
    }
    if (server.dispatch) {
        dispatch_changed(server.dispatch, number);
    }
}

static void put_destination(unsigned manner, enum destination_pause pause)
{
    put_destination_at(100 + manner, manner, pause);
}

static void put_route(uint64_t number, const uint64_t *to, unsigned to_count)
{
    struct route_from from = {.source_number = SOURCE,
                              .source_name = SLICE("orders"),
                              .filters = filter_set_make(NULL, 0, false, NULL, 0)};
    struct route_change change = {.number = number,
                                  .since_ns = 1,
                                  .from = &from,
                                  .from_count = 1,
                                  .to = to,
                                  .to_count = to_count};
    if (route_table_change_route(server.routes, &change) != BK_OK) {
        bail_out("no memory");
    }
}

static void gone(void *context, uint64_t destination)
{
    (void)context;
    server.gone_calls++;
    server.paused_gone = true;
    put_destination((unsigned)destination - 100, DESTINATION_PAUSED_BY_GONE);
}

static void open_routes(void)
{
    if (route_table_open(&server.routes) != BK_OK) {
        bail_out("no memory");
    }
    server.dispatch = NULL; /* of an earlier life */
    for (unsigned manner = server.first_manner; manner < server.manners; manner++) {
        unsigned routes = server.unrouted ? 0 : manner == GOOD ? 2 : 1;
        put_destination(manner, manner == GONE && server.paused_gone ? DESTINATION_PAUSED_BY_GONE
                                                                     : DESTINATION_RUNNING);
        /* Two routes to the same destination: it gets each event once. */
        for (unsigned twice = 0; twice < routes; twice++) {
            uint64_t to = 100 + manner;
            put_route(500 + 2 * manner + twice, &to, 1);
        }
    }
}

static void open_server(void)
{
    char why[HUB_WHY_BYTES];
    struct hub_config hub_config = {
        .data_directory = server.state, .public_url = "http://b", .now_ns = fake_wall_ns};
    if (hub_open(&hub_config, &server.hub, why) != BK_OK) {
        bail_out("%s", why);
    }
    open_routes();
    if (world_open(&server.world) != BK_OK) {
        bail_out("the journal does not open: %s", server.world.report.problem);
    }
    if (dispatch_clock_begin(server.hub, fake_wall_ns / 1000000, fake_now_ns, &server.clock_ms) !=
        BK_OK) {
        bail_out("no clock");
    }
    struct dispatch_config config = {.hub = server.hub,
                                     .catalog = server.world.catalog,
                                     .routes = server.routes,
                                     .ring = &server.world.control,
                                     .cores = CORES,
                                     .clock_ms = server.clock_ms,
                                     .gone = gone};
    if (dispatch_open(&config, &server.dispatch) != BK_OK ||
        dispatch_recover(server.dispatch) != BK_OK) {
        bail_out("dispatch does not open");
    }
    for (unsigned core = 0; core < CORES; core++) {
        timer_wheel_init(&server.wheels[core], fake_now_ns);
        clients[core].count = 0;
        server.rings[core] = &server.world.rings[core];
        struct deliver_config deliver = {.core = (uint16_t)core,
                                         .cores = CORES,
                                         .ring = server.rings[core],
                                         .wheel = &server.wheels[core],
                                         .journal = server.world.journals[core],
                                         .client = &clients[core],
                                         .routes = server.routes,
                                         .scratch = server.scratches[core],
                                         .control = &server.world.control,
                                         .dispatch = server.dispatch,
                                         .peers = server.delivers,
                                         .clock_ms = server.clock_ms,
                                         .slots = 256};
        deliver.lane_count = dispatch_lanes(server.dispatch, (uint16_t)core, &deliver.lanes);
        if (deliver_open(&deliver, &server.delivers[core]) != BK_OK) {
            bail_out("deliver does not open");
        }
        journal_consume(server.world.journals[core], deliver_consume, server.delivers[core]);
    }
    dispatch_started(server.dispatch, server.delivers, server.rings);
}

static void step(void)
{
    uint64_t before_ns = fake_now_ns;
    for (unsigned core = 0; core < CORES; core++) {
        fake_turn(server.rings[core]);
        timer_wheel_run(&server.wheels[core], fake_now_ns);
        for (unsigned i = clients[core].count; i-- > 0;) {
            if (i < clients[core].count && clients[core].calls[i].due_ns <= fake_now_ns) {
                answer(&clients[core], i);
            }
        }
        deliver_turn(server.delivers[core]);
        journal_turn(server.world.journals[core]);
    }
    fake_turn(&server.world.control);
    catalog_step(server.world.catalog, fake_wall_ns);
    for (unsigned i = 0; i < 8 && dispatch_step(server.dispatch); i++) {
    }
    struct route_garbage *garbage = route_table_retired(server.routes);
    if (garbage) {
        route_table_free(garbage);
    }
    fake_now_ns += 700000;
    fake_wall_ns += (int64_t)(fake_now_ns - before_ns);
}

static uint64_t appended_at; /* the last one's sequence */

static void append(void)
{
    char message[20000];
    unsigned core = server.one_core ? 0 : random_below(CORES);
    uint64_t number = server.appended + 1, sequence = 0;
    unsigned filler = random_below(40) == 0 ? 9000 + random_below(9000) : random_below(300);
    int head = snprintf(message, sizeof message,
                        "POST /hooks/x HTTP/1.1\r\nHost: b\r\nX-Key: k%u\r\nX-Other: o%u\r\n"
                        "Content-Type: text/plain\r\n\r\n",
                        (unsigned)number % KEYS, (unsigned)number % OTHERS);
    int body = snprintf(message + head, sizeof message - (size_t)head, "[%llu] %0*d",
                        (unsigned long long)number, (int)filler, 0);
    struct journal_entry entry = {.type = JOURNAL_ACCEPTED,
                                  .source = SOURCE,
                                  .received_ns = fake_wall_ns,
                                  .head_bytes = (uint32_t)head,
                                  .body_bytes = (uint32_t)body};
    if (journal_append(server.world.journals[core], &entry, (const uint8_t *)message, NULL, 0,
                       &sequence) == BK_OK) {
        server.appended++;
        appended_at = sequence;
    }
}

/* As kill -9: what is in flight is cut; some of it had arrived. */
static uint64_t crash(void)
{
    static __attribute__((used)) void *kept[4096];
    static unsigned kept_count;
    uint64_t inflight = 0;
    for (unsigned core = 0; core < CORES; core++) {
        for (unsigned i = 0; i < clients[core].count; i++) {
            const struct http_call *call = clients[core].calls[i].call;
            bool good = (manner_of(call) == GOOD || manner_of(call) == SLOW) && !server.all_is_cut;
            if (good && random_below(2) == 0) {
                receive(call, true);
            }
            receivers[manner_of(call)].inflight--;
            receivers[manner_of(call)].key_inflight[event_of(call) % KEYS]--;
            inflight++;
        }
        clients[core].count = 0;
        kept[kept_count++ % 4096] = server.delivers[core];
    }
    kept[kept_count++ % 4096] = server.dispatch;
    world_crash(&server.world);
    hub_close(server.hub);
    route_table_close(server.routes);
    return inflight;
}

static void stop(void)
{
    dispatch_drain(server.dispatch);
    for (unsigned core = 0; core < CORES; core++) {
        deliver_drain(server.delivers[core], fake_now_ns + SECOND);
    }
    for (unsigned i = 0; i < 20000; i++) {
        step();
        if (deliver_idle(server.delivers[0]) && deliver_idle(server.delivers[1])) {
            break;
        }
    }
    ok(deliver_idle(server.delivers[0]) && deliver_idle(server.delivers[1]), "a drain ends");
    is_uint(deliver_stats(server.delivers[0])->slots_free, 256, "every slot came back");
    is_uint(deliver_stats(server.delivers[1])->slots_free, 256);
    dispatch_flush(server.dispatch);
    for (unsigned core = 0; core < CORES; core++) {
        journal_consume(server.world.journals[core], NULL, NULL);
        deliver_close(server.delivers[core]);
    }
    world_stop(&server.world);
    dispatch_close(server.dispatch);
    hub_close(server.hub);
    route_table_close(server.routes);
}

static void fresh(unsigned manners)
{
    memset(receivers, 0, sizeof receivers);
    memset(ids, 0, sizeof ids);
    id_mismatches = bad_requests = 0;
    gone_is_back = false;
    server.appended = 0;
    server.first_manner = 0;
    server.manners = manners;
    server.gone_calls = 0;
    server.one_core = server.narrow = server.moved = server.all_is_cut = calm = false;
    server.paused_gone = server.loose = server.whole = server.other = server.unrouted = false;
    stuck_until_ns = 0;
    world_init(&server.world, CORES, 8 << 20);
    snprintf(server.state, sizeof server.state, "%s.state", server.world.directory);
}

static void done(void)
{
    test_directory_drop(server.state);
    world_fini(&server.world);
}

static uint64_t missing(enum manner manner)
{
    uint64_t count = 0;
    for (uint64_t i = 1; i <= server.appended; i++) {
        count += receivers[manner].got[i] == 0;
    }
    return count;
}

static bool run_until_all(enum manner manner, uint64_t seconds)
{
    uint64_t end_ns = fake_now_ns + seconds * SECOND;
    while (fake_now_ns < end_ns) {
        step();
        if (missing(manner) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- tests */

static void test_live(void)
{
    fresh(1);
    open_server();
    for (unsigned i = 0; i < 2000; i++) {
        append();
        if (i % 5 == 0) {
            step();
        }
    }
    ok(run_until_all(GOOD, 60), "every event arrives");
    is_uint(receivers[GOOD].duplicates, 0, "once, though two routes lead there");
    ok(receivers[GOOD].inflight_max <= 16, "never more than the limit at once");
    struct dispatch_status status = {0};
    for (unsigned i = 0; i < 2000 && status.outcomes[TARGET_DELIVERED] < 2000; i++) {
        step();
        (void)dispatch_status(server.dispatch, 100, &status);
    }
    is_uint(status.outcomes[TARGET_DELIVERED], 2000, "and is counted");
    ok(!status.behind && status.retries == 0 && !status.open && status.last_status == 200);
    stop();
    uint64_t calls = receivers[GOOD].calls;
    open_server();
    for (unsigned i = 0; i < 2000; i++) {
        step();
    }
    is_uint(receivers[GOOD].calls, calls, "a restart repeats nothing");
    append();
    ok(run_until_all(GOOD, 10), "and goes on");
    stop();
    is_uint(id_mismatches + bad_requests, 0, "every request is whole, with the event's id");
    done();
}

static void test_failures(void)
{
    fresh(STRICT);
    open_server();
    alive_at_ns = fake_now_ns + 20 * SECOND;
    for (unsigned i = 0; i < 1500; i++) {
        append();
        if (i % 3 == 0) {
            step();
        }
    }
    ok(run_until_all(GOOD, 60), "the good one gets all, whatever the others do");
    ok(fake_now_ns < alive_at_ns, "soon");
    uint64_t dead_calls = receivers[DEAD_FOR_A_WHILE].calls;
    while (fake_now_ns + SECOND / 10 < alive_at_ns) {
        step();
    }
    ok(receivers[DEAD_FOR_A_WHILE].calls < dead_calls + 8,
       "a dead destination costs a probe per interval: %llu calls",
       (unsigned long long)receivers[DEAD_FOR_A_WHILE].calls);
    is_uint(server.gone_calls > 0, 1, "410 pauses");
    uint64_t gone_calls = receivers[GONE].calls;
    ok(run_until_all(DEAD_FOR_A_WHILE, 120), "when it comes back it gets everything");
    ok(run_until_all(SLOW, 1200), "the slow one, too");
    ok(run_until_all(FLAKY, 600), "and the flaky one");
    ok(run_until_all(THROTTLES, 600), "and the one that throttles");
    is_uint(receivers[GONE].calls, gone_calls, "nothing goes to who is gone");
    ok(receivers[THROTTLES].early <= 4, "Retry-After is honoured: %llu early calls",
       (unsigned long long)receivers[THROTTLES].early);
    is_uint(receivers[GOOD].duplicates + receivers[FLAKY].duplicates + receivers[SLOW].duplicates +
                receivers[DEAD_FOR_A_WHILE].duplicates + receivers[THROTTLES].duplicates,
            0, "nothing twice");
    ok(receivers[FLAKY].attempt_max > 2);
    ok(receivers[ALWAYS_500].attempt_max <= 4, "never more tries than the schedule has");
    gone_is_back = true;
    server.paused_gone = false;
    put_destination(GONE, DESTINATION_RUNNING);
    ok(run_until_all(GONE, 600), "resumed, it gets all that waited");
    stop();
    is_uint(id_mismatches + bad_requests, 0);
    done();
}

static void test_dead_letter(void)
{
    struct dispatch_status status = {0};
    fresh(ALWAYS_500 + 1);
    open_server();
    append();
    for (unsigned i = 0; i < 10000 && status.outcomes[TARGET_DEAD] == 0; i++) {
        step();
        (void)dispatch_status(server.dispatch, 100 + ALWAYS_500, &status);
    }
    is_uint(receivers[ALWAYS_500].calls, 4, "one try and three more");
    is_uint(status.outcomes[TARGET_FAILED], 3);
    is_uint(status.outcomes[TARGET_DEAD], 1, "then it is dead");
    is_uint(status.retries, 0);
    is_uint(status.last_status, 500);
    ok(strstr(status.last_why, "500") != NULL, "%s", status.last_why);
    struct retry_row again = {.destination = 100 + ALWAYS_500,
                              .due_ms = 1,
                              .position = journal_position_pack((struct journal_position){0, 1}),
                              .flags = ATTEMPT_REPLAY,
                              .source = SOURCE};
    again.position = journal_durable_through(server.world.journals[1]) >= 1 /* the event's core */
                         ? journal_position_pack((struct journal_position){1, 1})
                         : again.position;
    is_int(dispatch_add(server.dispatch, &again, 1), BK_OK);
    for (unsigned i = 0; i < 1000 && receivers[ALWAYS_500].calls < 5; i++) {
        step();
    }
    is_uint(receivers[ALWAYS_500].calls, 5, "a replay tries again");
    stop();
    done();
}

static void hold_disks(bool hold)
{
    for (unsigned core = 0; core < CORES; core++) {
        server.rings[core]->hold = hold;
    }
}

static void steps_until(uint64_t end_ns)
{
    while (fake_now_ns < end_ns) {
        step();
    }
}

/* ---- no memory for what the control thread has to say itself */

#ifdef __SANITIZE_ADDRESS__
#define HAS_MALLOC 0 /* the sanitizer's */
#elif defined(__has_feature)
#define HAS_MALLOC !__has_feature(address_sanitizer)
#else
#define HAS_MALLOC 1
#endif

static bool no_reports;
static unsigned refused_reports;

#if HAS_MALLOC
void *__libc_malloc(size_t bytes); /* glibc's own */

void *malloc(size_t bytes)
{
    bool refused = no_reports && bytes == sizeof(struct delivery_report);
    refused_reports += refused;
    return refused ? NULL : __libc_malloc(bytes);
}
#endif

static void test_no_memory(void)
{
    struct dispatch_status status = {0};
    struct retry_row lost = {.destination = 100 + GOOD,
                             .due_ms = 1,
                             .position = journal_position_pack((struct journal_position){0, 9999}),
                             .flags = ATTEMPT_REPLAY,
                             .source = SOURCE};
    if (!HAS_MALLOC) {
        skip("memory cannot be refused here");
        return;
    }
    fresh(GOOD + 1);
    open_server();
    no_reports = true;
    is_int(dispatch_add(server.dispatch, &lost, 1), BK_OK, "a row whose event is gone");
    steps_until(fake_now_ns + SECOND);
    (void)dispatch_status(server.dispatch, 100 + GOOD, &status);
    ok(refused_reports > 1 && refused_reports < 100 && status.retries == 1,
       "without memory it stays, and is looked at again: %u times", refused_reports);
    no_reports = false;
    steps_until(fake_now_ns + SECOND);
    (void)dispatch_status(server.dispatch, 100 + GOOD, &status);
    is_uint(status.retries, 0, "with memory it becomes a dead letter");
    stop();
    done();
}

/* ---- a rate that was asked for holds behind an outage, too */

static uint64_t answers_in(uint64_t ns)
{
    uint64_t before = receivers[GOOD].answers;
    steps_until(fake_now_ns + ns);
    return receivers[GOOD].answers - before;
}

static void pass_minutes(void)
{
    fake_now_ns += 600 * SECOND;
    fake_wall_ns += 600 * (int64_t)SECOND;
}

/* Every event once more, for one destination (0: every one that wants it); 0: as fast as it goes.
 */
static void replay_to(uint64_t to, uint32_t per_second)
{
    struct reader *journals;
    struct event_filter filter = {.since_ns = INT64_MIN, .until_ns = INT64_MAX};
    if (reader_open(server.world.catalog, &journals) != BK_OK) {
        bail_out("no memory");
    }
    struct replay replay = {.to = to, .per_second = per_second};
    is_int(replay_begin(&replay, server.dispatch, server.world.catalog, journals, &filter), BK_OK);
    while (replay_step(&replay, server.dispatch, journals, 1 << 20) == BK_AGAIN) {
    }
    reader_close(journals);
}

static void replay_all(uint32_t per_second)
{
    replay_to(0, per_second);
}

static void test_rate_behind_outage(void)
{
    fresh(GOOD + 1);
    open_server();
    for (unsigned i = 0; i < 1000; i++) {
        append();
        step();
    }
    ok(run_until_all(GOOD, 60));
    uint64_t answers = receivers[GOOD].answers;
    replay_all(100);
    steps_until(fake_now_ns + SECOND);
    crash();
    pass_minutes();
    open_server();
    uint64_t first = answers_in(SECOND), second = answers_in(SECOND);
    ok(first >= 80 && first <= 140 && second >= 80 && second <= 120,
       "behind ten minutes without the server, at the rate: %llu and %llu in a second",
       (unsigned long long)first, (unsigned long long)second);
    put_destination(GOOD, DESTINATION_PAUSED_BY_HAND);
    steps_until(fake_now_ns + SECOND / 10);
    pass_minutes();
    put_destination(GOOD, DESTINATION_RUNNING);
    first = answers_in(SECOND), second = answers_in(SECOND);
    ok(first >= 80 && first <= 140 && second >= 80 && second <= 120,
       "and behind a pause: %llu and %llu", (unsigned long long)first, (unsigned long long)second);
    steps_until(fake_now_ns + 10 * SECOND);
    ok(receivers[GOOD].answers >= answers + 1000 && dispatch_retries(server.dispatch) == 0,
       "all of it comes");
    stop();
    done();
}

/* In order, what was never tried does not come by a replay ahead of what came earlier. */
static void test_rate_in_order(void)
{
    fresh(STRICT + 1);
    server.first_manner = STRICT;
    server.one_core = true;
    open_server();
    put_destination(STRICT, DESTINATION_PAUSED_BY_HAND);
    for (unsigned i = 0; i < 300; i++) {
        append();
        step();
    }
    struct retry_row row = {.destination = 100 + STRICT,
                            .due_ms = RETRY_PACED_MS + dispatch_clock_ms(server.dispatch),
                            .position = journal_position_pack((struct journal_position){0, 290}),
                            .flags = ATTEMPT_REPLAY,
                            .event_ns = fake_wall_ns,
                            .source = SOURCE};
    is_int(dispatch_add(server.dispatch, &row, 1), BK_OK);
    put_destination(STRICT, DESTINATION_RUNNING);
    ok(run_until_all(STRICT, 600));
    steps_until(fake_now_ns + 2 * SECOND);
    is_uint(receivers[STRICT].order_breaks, 0, "in order");
    is_uint(receivers[STRICT].answers, 301, "and what is replayed comes behind that once more");
    stop();
    done();
}

static void replay_one(unsigned manner, uint64_t sequence, int64_t received_ns, int64_t in_ms)
{
    struct retry_row row = {.destination = 100 + manner,
                            .due_ms = RETRY_PACED_MS + dispatch_clock_ms(server.dispatch) + in_ms,
                            .position =
                                journal_position_pack((struct journal_position){0, sequence}),
                            .flags = ATTEMPT_REPLAY,
                            .event_ns = received_ns,
                            .source = SOURCE};
    is_int(dispatch_add(server.dispatch, &row, 1), BK_OK);
}

/* The same for each key: not ahead of what is queued, nor of what waits behind one that fails. */
static void test_rate_of_key(void)
{
    int64_t received_ns = 0;
    fresh(KEYED + 1);
    server.first_manner = KEYED;
    calm = server.one_core = server.narrow = true;
    open_server();
    for (unsigned i = 0; i < 40; i++) {
        append();
        fake_wall_ns += 1000;
    }
    received_ns = fake_wall_ns - 1000;
    step();
    replay_one(KEYED, appended_at, received_ns, 0);
    ok(run_until_all(KEYED, 60));
    steps_until(fake_now_ns + SECOND);
    is_uint(receivers[KEYED].key_breaks, 0, "what is queued in memory goes first");
    is_uint(receivers[KEYED].answers, 41, "and is followed by the replay");
    stuck_until_ns = fake_now_ns + 3 * SECOND;
    while (server.appended % KEYS != STUCK_KEY || server.appended < 80) {
        append();
        received_ns = fake_wall_ns;
        step();
        step();
    }
    replay_one(KEYED, appended_at, received_ns, 3001);
    ok(run_until_all(KEYED, 60));
    steps_until(fake_now_ns + SECOND);
    is_uint(receivers[KEYED].key_breaks, 0, "and so does what waits in the store");
    is_uint(dispatch_retries(server.dispatch), 0);
    stop();
    done();
}

/* Of both cores, through failures, pauses and crashes. */
static void test_rate_of_keys(unsigned seed)
{
    fake_random = 88172645463325252ULL + (seed + 5000) * 0x9e3779b97f4a7c15ULL;
    next_random();
    fresh(KEYED + 1);
    server.first_manner = KEYED;
    server.whole = seed % 3 == 2;
    open_server();
    stuck_until_ns = fake_now_ns + 2 * SECOND;
    for (unsigned i = 0; i < 600; i++) {
        append(); /* to either core; the one before was acknowledged */
        step();
        step();
        if (i % 100 == 50) {
            replay_to(100 + KEYED, 50U << random_below(5));
            put_destination(KEYED, DESTINATION_PAUSED_BY_HAND);
        }
        if (i % 100 == 80) {
            put_destination(KEYED, DESTINATION_RUNNING);
            is_int(dispatch_hurry(server.dispatch, 100 + KEYED), BK_OK);
        }
        if (i == 270) {
            crash();
            open_server();
        }
    }
    for (unsigned i = 0; i < 200000 && dispatch_retries(server.dispatch) > 0; i++) {
        step();
    }
    ok(run_until_all(KEYED, 600), "seed %u: all arrive (missing %llu)", seed,
       (unsigned long long)missing(KEYED));
    is_uint(dispatch_retries(server.dispatch), 0, "nothing is left in the store");
    is_uint(receivers[KEYED].key_breaks, 0, "each key in order");
    is_uint(receivers[KEYED].key_overlaps, 0, "one at a time");
    if (server.whole) {
        is_uint(receivers[KEYED].order_breaks, 0, "all in one order");
    }
    is_uint(id_mismatches + bad_requests, 0);
    stop();
    done();
}

/* One order for all: also behind an outage the rate is what was asked for. */
static void test_rate_of_order(void)
{
    fresh(STRICT + 1);
    server.first_manner = STRICT;
    open_server();
    for (unsigned i = 0; i < 200; i++) {
        append();
        step();
        step();
    }
    ok(run_until_all(STRICT, 600));
    replay_to(100 + STRICT, 20);
    stuck_until_ns = fake_now_ns + 5 * SECOND;
    steps_until(stuck_until_ns);
    uint64_t answers = receivers[STRICT].answers;
    steps_until(fake_now_ns + 4 * SECOND);
    answers = receivers[STRICT].answers - answers;
    ok(answers >= 10 && answers <= 90,
       "behind an outage at the rate, in order: %llu in four seconds", (unsigned long long)answers);
    for (unsigned i = 0; i < 200000 && dispatch_retries(server.dispatch) > 0; i++) {
        step();
    }
    is_uint(dispatch_retries(server.dispatch), 0, "all of it comes");
    is_uint(receivers[STRICT].inflight_max, 1, "one at a time");
    stop();
    done();
}

/* One at a time: the next ones are at hand, and do not wait for a commit each. */
static void test_narrow_rows(void)
{
    fresh(GOOD + 1);
    server.narrow = server.one_core = true;
    open_server();
    for (unsigned i = 0; i < 2000; i++) {
        append();
        step();
    }
    ok(run_until_all(GOOD, 60));
    uint64_t answers = receivers[GOOD].answers;
    replay_all(0);
    uint64_t count = answers_in(2 * SECOND);
    ok(count > 700, "one at a time, from the store: %llu in two seconds",
       (unsigned long long)count);
    steps_until(fake_now_ns + 20 * SECOND);
    is_uint(receivers[GOOD].answers, answers + 2000, "each once");
    is_uint(receivers[GOOD].inflight_max, 1);
    stop();
    done();
}

static uint64_t commits_so_far(void)
{
    struct store_stats stats;
    store_stats(hub_store(server.hub), &stats);
    return stats.commits;
}

/* In one order, of both cores' journals, to a destination that no route leads to: the next ones go
 * with the first, too, whosever they are. */
static void test_ordered_rows(void)
{
    fresh(KEYED + 1);
    server.first_manner = KEYED;
    calm = server.whole = server.unrouted = true;
    open_server();
    for (unsigned i = 0; i < 2000; i++) {
        append();
        step();
    }
    steps_until(fake_now_ns + SECOND / 10);
    replay_to(100 + KEYED, 0);
    steps_until(fake_now_ns + SECOND); /* until the cores have told how far they looked */
    uint64_t answers = receivers[KEYED].answers, commits = commits_so_far();
    ok(run_until_all(KEYED, 60), "all of it comes");
    answers = receivers[KEYED].answers - answers;
    commits = commits_so_far() - commits;
    ok(answers > 1000 && commits * 5 < answers,
       "one after the other, of both cores: %llu in %llu commits", (unsigned long long)answers,
       (unsigned long long)commits);
    is_uint(receivers[KEYED].answers, 2000, "each once");
    is_uint(receivers[KEYED].inflight_max, 1);
    is_uint(receivers[KEYED].order_breaks, 0, "in order");
    stop();
    done();
}

/* A first try that failed becomes a row when its record is in the journal: by it a start knows that
 * the event is owed once, by the row, and no longer by the lane. */
static void test_recorded(void)
{
    fresh(ALWAYS_500 + 1);
    server.first_manner = ALWAYS_500;
    open_server();
    append();
    for (unsigned i = 0; i < 10000 && receivers[ALWAYS_500].calls == 0; i++) {
        step();
    }
    hold_disks(true);
    for (unsigned i = 0; i < 10000 && clients[0].count + clients[1].count > 0; i++) {
        step();
    }
    uint64_t failed_ns = fake_now_ns;
    steps_until(failed_ns + SECOND / 1000 * 150);
    is_uint(dispatch_retries(server.dispatch), 0, "no row while the disk keeps the record");
    hold_disks(false);
    steps_until(failed_ns + SECOND / 1000 * 195);
    is_uint(dispatch_retries(server.dispatch), 1, "soon after the record is there, the row");
    stop();
    done();
}

/* Retention by size does not wait for a destination that is paused, and its status says so. */
static void test_lost_while_paused(void)
{
    struct dispatch_status status = {0};
    fresh(GOOD + 1);
    server.one_core = true;
    server.world.config.segment_bytes = 1 << 20;
    server.world.config.retain_bytes = 4 << 20;
    open_server();
    put_destination(GOOD, DESTINATION_PAUSED_BY_HAND);
    for (unsigned i = 0; i < 2000; i++) {
        append();
        step();
    }
    steps_until(fake_now_ns + 6 * SECOND);
    (void)dispatch_status(server.dispatch, 100 + GOOD, &status);
    uint64_t lost = status.lost;
    ok(lost > 500 && lost < 2000, "what it was owed is lost while it is paused: %llu",
       (unsigned long long)lost);
    put_destination(GOOD, DESTINATION_RUNNING);
    steps_until(fake_now_ns + 6 * SECOND);
    (void)dispatch_status(server.dispatch, 100 + GOOD, &status);
    is_uint(receivers[GOOD].answers + status.lost, 2000, "the rest arrives");
    is_uint(status.lost, lost, "and nothing is counted twice");
    stop();
    done();
}

/* More destinations than there are slots, that answer and are owed a lot, and one that was never
 * tried. */
static void test_crowd(void)
{
    enum { CROWD = 140 };
    uint64_t crowd[CROWD], new = 100 + DEAD_FOR_A_WHILE;
    fresh(0);
    server.one_core = true;
    open_server();
    for (unsigned i = 0; i < CROWD; i++) {
        crowd[i] = 1000 + i;
        put_destination_at(crowd[i], GOOD, DESTINATION_RUNNING);
    }
    put_route(500, crowd, CROWD);
    alive_at_ns = 0;
    lazy = true;
    for (unsigned i = 0; i < 60; i++) {
        append();
        step();
    }
    steps_until(fake_now_ns + SECOND / 10);
    put_destination_at(new, DEAD_FOR_A_WHILE, DESTINATION_RUNNING);
    put_route(501, &new, 1);
    append();
    uint64_t until_ns = fake_now_ns + SECOND / 10;
    while (receivers[DEAD_FOR_A_WHILE].calls == 0 && fake_now_ns < until_ns) {
        step();
    }
    uint64_t left = CROWD * server.appended - receivers[GOOD].answers;
    ok(receivers[DEAD_FOR_A_WHILE].calls == 1 && left > CROWD * 10,
       "it is tried while all the others are owed more: %llu", (unsigned long long)left);
    lazy = false;
    for (unsigned i = 0; i < 100000 && receivers[GOOD].answers < CROWD * server.appended; i++) {
        step();
    }
    is_uint(receivers[GOOD].answers, CROWD * server.appended, "which get all that they are owed");
    stop();
    done();
}

/* ---- finding and replaying */

static struct reader *reader;

static unsigned count_items(enum delivery_state state, uint64_t destination, uint64_t event,
                            struct delivery_item *ret_last)
{
    struct delivery_filter filter = {.state = state,
                                     .destination = destination,
                                     .event = event,
                                     .since_ns = INT64_MIN,
                                     .until_ns = INT64_MAX};
    struct delivery_walk walk;
    unsigned count = 0;
    struct buf cursor;
    buf_init(&cursor, 4096);
    for (;;) { /* a new walk for each item: cursors carry everything */
        size_t budget = 1 << 20;
        if (delivery_walk_begin(&walk, reader, &filter, buf_slice(&cursor)) != BK_OK) {
            ok(false, "a cursor of ours is refused");
            break;
        }
        enum bk_err err = delivery_walk_next(&walk, server.hub, reader, &budget, ret_last);
        if (err != BK_OK) {
            is_int(err, BK_NOT_FOUND);
            break;
        }
        count++;
        buf_reset(&cursor);
        delivery_walk_cursor(&walk, &cursor);
    }
    buf_fini(&cursor);
    return count;
}

static void test_deliveries(void)
{
    struct delivery_item item = {0};
    struct dispatch_status status = {0};
    fresh(ALWAYS_500 + 1);
    alive_at_ns = UINT64_MAX;
    open_server();
    append();
    append();
    for (unsigned i = 0; i < 10000 && status.outcomes[TARGET_DEAD] < 2; i++) {
        step();
        (void)dispatch_status(server.dispatch, 100 + ALWAYS_500, &status);
    }
    for (unsigned i = 0; i < 1000; i++) {
        step();
    }
    if (reader_open(server.world.catalog, &reader) != BK_OK) {
        bail_out("no memory");
    }
    is_uint(count_items(DELIVERY_DELIVERED, 100 + GOOD, 0, &item), 2, "two were delivered");
    ok(item.status == 200 && item.number == 1 && item.answer.bytes == 9 && item.took_us < 3000000);
    is_uint(count_items(DELIVERY_ANY, 100 + GOOD, journal_position_pack(item.event), &item), 1,
            "one of them is this event's");
    (void)dispatch_status(server.dispatch, 100 + DEAD_FOR_A_WHILE, &status);
    ok(status.retries > 0);
    is_uint(count_items(DELIVERY_PENDING, 100 + DEAD_FOR_A_WHILE, 0, &item), status.retries,
            "retries are found as pending");
    ok(item.next_due_ms > 0 && item.status == 0);
    is_uint(count_items(DELIVERY_FAILED, 100 + ALWAYS_500, 0, &item), 6, "each failed try");
    is_int(item.status, 500);
    is_uint(count_items(DELIVERY_DEAD, 100 + ALWAYS_500, 0, &item), 2, "and dead letters");
    struct buf json;
    buf_init(&json, 65536);
    delivery_json(server.hub, server.routes, &item, &json);
    ok(strstr(buf_text(&json), "\"destination\":\"always 500\"") != NULL, "%s", buf_text(&json));
    buf_reset(&json);
    destination_status_json(server.dispatch,
                            route_table_destination(server.routes, 100 + ALWAYS_500), &json);
    ok(strstr(buf_text(&json), "\"outcome\":") != NULL, "%s", buf_text(&json));
    buf_fini(&json);
    struct delivery_walk walk;
    struct delivery_filter filter = {.since_ns = INT64_MIN, .until_ns = INT64_MAX};
    is_int(delivery_walk_begin(&walk, reader, &filter, SLICE("nonsense")), BK_INVALID,
           "a cursor that is none");
    is_int(delivery_walk_begin(&walk, reader, &filter, SLICE("cg")), BK_INVALID);
    struct replay replay = {.dry_run = true, .left = 1};
    is_int(replay_letters(&replay, server.dispatch, reader, &filter, SLICE_EMPTY), BK_OK);
    is_int(replay_step(&replay, server.dispatch, reader, 1 << 20), BK_OK);
    ok(replay.deliveries == 1 && replay.left == 0, "a part of the dead letters");
    struct buf cursor;
    buf_init(&cursor, 1024);
    delivery_walk_cursor(&replay.walk, &cursor);
    replay.left = 2;
    is_int(replay_letters(&replay, server.dispatch, reader, &filter, buf_slice(&cursor)), BK_OK);
    is_int(replay_step(&replay, server.dispatch, reader, 1 << 20), BK_OK);
    ok(replay.deliveries == 1 && replay.left == 1, "and the rest");
    replay.left = 2;
    replay.sources_canvas = SLICE("another");
    is_int(replay_letters(&replay, server.dispatch, reader, &filter, SLICE_EMPTY), BK_OK);
    is_int(replay_step(&replay, server.dispatch, reader, 1 << 20), BK_OK);
    ok(replay.deliveries == 0 && replay.gone == 2, "an event that is not to be had is counted");
    uint64_t calls = receivers[ALWAYS_500].calls;
    replay = (struct replay){.left = UINT64_MAX};
    is_int(replay_letters(&replay, server.dispatch, reader, &filter, SLICE_EMPTY), BK_OK);
    is_int(replay_step(&replay, server.dispatch, reader, 1 << 20), BK_OK);
    for (unsigned i = 0; i < 1000; i++) {
        step();
    }
    ok(receivers[ALWAYS_500].calls > calls, "each goes to where it was to go");
    buf_fini(&cursor);
    reader_close(reader);
    stop();
    done();
}

static void test_replay(void)
{
    fresh(GOOD + 1);
    open_server();
    for (unsigned i = 0; i < 500; i++) {
        append();
        step();
    }
    ok(run_until_all(GOOD, 60));
    for (unsigned i = 0; i < 1000; i++) {
        step();
    }
    if (reader_open(server.world.catalog, &reader) != BK_OK) {
        bail_out("no memory");
    }
    struct event_filter filter = {.since_ns = INT64_MIN, .until_ns = INT64_MAX};
    struct replay replay = {.dry_run = true};
    enum bk_err err = replay_begin(&replay, server.dispatch, server.world.catalog, reader, &filter);
    while (err == BK_OK &&
           (err = replay_step(&replay, server.dispatch, reader, 1 << 20)) == BK_AGAIN) {
        err = BK_OK;
    }
    is_uint(replay.events, 500, "a dry run counts");
    is_uint(replay.deliveries, 500);
    uint64_t answers = receivers[GOOD].answers;
    for (unsigned i = 0; i < 500; i++) {
        step();
    }
    is_uint(receivers[GOOD].answers, answers, "and sends nothing");
    replay = (struct replay){.to = 100 + GOOD, .per_second = 100};
    is_int(replay_begin(&replay, server.dispatch, server.world.catalog, reader, &filter), BK_OK);
    while (replay_step(&replay, server.dispatch, reader, 1 << 20) == BK_AGAIN) {
    }
    uint64_t began_ns = fake_now_ns;
    while (fake_now_ns < began_ns + 2 * SECOND) {
        step();
    }
    uint64_t sent = receivers[GOOD].answers - answers;
    ok(sent > 150 && sent < 250, "at the rate that was asked for: %llu in 2 s",
       (unsigned long long)sent);
    while (fake_now_ns < began_ns + 7 * SECOND) {
        step();
    }
    is_uint(receivers[GOOD].answers, answers + 500, "each once");
    is_uint(id_mismatches, 0, "under its own id");
    replay = (struct replay){.to = 9999};
    is_int(replay_begin(&replay, server.dispatch, server.world.catalog, reader, &filter),
           BK_NOT_FOUND, "no such destination");
    reader_close(reader);
    stop();
    done();
}

static void test_crashes(unsigned seed)
{
    fake_random = 88172645463325252ULL + seed * 0x9e3779b97f4a7c15ULL;
    next_random();
    fresh(DEAD_FOR_A_WHILE + 1);
    open_server();
    alive_at_ns = fake_now_ns + 4 * SECOND;
    uint64_t cut = 0;
    for (unsigned round = 0; round < 12; round++) {
        unsigned steps = 1 + random_below(1500);
        for (unsigned i = 0; i < steps; i++) {
            for (unsigned n = random_below(3); n > 0 && server.appended < 120 * (round + 1U); n--) {
                append();
            }
            step();
        }
        /* Only what is durable counts: let the appended become so. */
        for (unsigned i = 0; i < 4; i++) {
            step();
        }
        if (round % 4 == 3) {
            stop();
        } else {
            cut += crash();
        }
        open_server();
    }
    bool all = run_until_all(GOOD, 60) && run_until_all(FLAKY, 600) && run_until_all(SLOW, 1200) &&
               run_until_all(DEAD_FOR_A_WHILE, 600);
    ok(all,
       "seed %u: every event reaches every destination through 9 crashes (%llu events, missing "
       "%llu %llu %llu %llu)",
       seed, (unsigned long long)server.appended, (unsigned long long)missing(GOOD),
       (unsigned long long)missing(FLAKY), (unsigned long long)missing(SLOW),
       (unsigned long long)missing(DEAD_FOR_A_WHILE));
    uint64_t duplicates = receivers[GOOD].duplicates + receivers[FLAKY].duplicates +
                          receivers[SLOW].duplicates + receivers[DEAD_FOR_A_WHILE].duplicates;
    /* And those whose attempt was not on the disk yet: up to 50 ms of it. */
    uint64_t recent = 9 * 200;
    ok(duplicates <= cut + recent, "seed %u: %llu duplicates, %llu were in flight when it was cut",
       seed, (unsigned long long)duplicates, (unsigned long long)cut);
    is_uint(id_mismatches + bad_requests, 0, "always under the same id");
    stop();
    done();
}

static void test_order(unsigned seed)
{
    fake_random = 88172645463325252ULL + (seed + 1000) * 0x9e3779b97f4a7c15ULL;
    next_random();
    fresh(STRICT + 1);
    server.first_manner = STRICT;
    open_server();
    for (unsigned i = 0; i < 600; i++) {
        append(); /* to either core; the one before was acknowledged */
        step();
        step();
        if (i == 200) {
            crash();
            open_server();
        } else if (i == 400) {
            stop();
            open_server();
        }
    }
    ok(run_until_all(STRICT, 3000), "seed %u: all arrive (missing %llu)", seed,
       (unsigned long long)missing(STRICT));
    is_uint(receivers[STRICT].order_breaks, 0, "in the order in which they were acknowledged");
    is_uint(receivers[STRICT].inflight_max, 1, "one at a time, over both cores");
    ok(receivers[STRICT].attempt_max > 1, "though some failed");
    is_uint(id_mismatches + bad_requests, 0);
    stop();
    done();
}

static uint64_t missing_but(unsigned key)
{
    uint64_t count = 0;
    for (uint64_t i = 1; i <= server.appended; i++) {
        count += receivers[KEYED].got[i] == 0 && i % KEYS != key;
    }
    return count;
}

/* One key's head fails for long, through a crash and a stop: the others go on, in order. */
static void test_keys(unsigned seed)
{
    fake_random = 88172645463325252ULL + (seed + 2000) * 0x9e3779b97f4a7c15ULL;
    next_random();
    fresh(KEYED + 1);
    server.first_manner = KEYED;
    open_server();
    stuck_until_ns = UINT64_MAX;
    for (unsigned i = 0; i < 1200; i++) {
        append(); /* to either core; the one before was acknowledged */
        step();
        step();
        if (i == 400) {
            crash();
            open_server();
        } else if (i == 800) {
            stop();
            open_server();
        }
    }
    for (unsigned i = 0; i < 300000 && missing_but(STUCK_KEY) > 0; i++) {
        step();
    }
    struct dispatch_status status = {0};
    is_uint(missing_but(STUCK_KEY), 0, "seed %u: all of the other keys arrive", seed);
    is_uint(missing(KEYED), 100, "and none of the one that fails");
    for (unsigned i = 0; i < 2000; i++) {
        step();
    }
    (void)dispatch_status(server.dispatch, 100 + KEYED, &status);
    ok(status.retries == 100 && status.backlog == 0 && !status.behind && status.queued <= 1,
       "which wait in the store: %llu there, %llu in the journal, %u in memory",
       (unsigned long long)status.retries, (unsigned long long)status.backlog, status.queued);
    crash();
    open_server();
    stuck_until_ns = 0;
    ok(run_until_all(KEYED, 600), "until it takes them (missing %llu)",
       (unsigned long long)missing(KEYED));
    is_uint(receivers[KEYED].key_breaks, 0, "each key in order");
    is_uint(receivers[KEYED].key_overlaps, 0, "one at a time");
    ok(receivers[KEYED].order_breaks > 0 && receivers[KEYED].inflight_max > 1,
       "several keys at once: %u", receivers[KEYED].inflight_max);
    is_uint(id_mismatches + bad_requests, 0);
    for (unsigned i = 0; i < 2000; i++) {
        step();
    }
    (void)dispatch_status(server.dispatch, 100 + KEYED, &status);
    is_uint(status.retries, 0, "nothing is left in the store");
    stop();
    done();
}

#define DAY_NS (86400 * (int64_t)SECOND)

/* Somebody sets the wall clock while retries wait. */
static void test_clock(void)
{
    static const int64_t jumps[] = {-2 * DAY_NS, 2 * DAY_NS, -3600 * (int64_t)SECOND};
    fresh(THROTTLES + 1);
    open_server();
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned n = 0; n < 100; n++) {
            append();
            step();
        }
        alive_at_ns = fake_now_ns + SECOND;
        steps_until(fake_now_ns + SECOND / 10);
        uint64_t calls = receivers[DEAD_FOR_A_WHILE].calls;
        fake_wall_ns += jumps[i];
        steps_until(fake_now_ns + SECOND / 50);
        ok(receivers[DEAD_FOR_A_WHILE].calls <= calls + 4, "%lld s: no retry is brought forward",
           (long long)(jumps[i] / (int64_t)SECOND));
        ok(run_until_all(DEAD_FOR_A_WHILE, 30) && run_until_all(FLAKY, 60) &&
               run_until_all(THROTTLES, 60),
           "nor back");
    }
    ok(receivers[THROTTLES].early <= 4, "Retry-After holds: %llu early calls",
       (unsigned long long)receivers[THROTTLES].early);
    is_uint(receivers[FLAKY].duplicates + receivers[DEAD_FOR_A_WHILE].duplicates, 0);
    stop();
    done();
}

/* The same between a stop and a start. */
static void test_clock_restart(void)
{
    static const int64_t jumps[] = {-2 * DAY_NS, 2 * DAY_NS, -3600 * (int64_t)SECOND};
    fresh(DEAD_FOR_A_WHILE + 1);
    server.first_manner = DEAD_FOR_A_WHILE;
    open_server();
    for (unsigned i = 0; i < 6; i++) {
        alive_at_ns = UINT64_MAX;
        append();
        append();
        steps_until(fake_now_ns + SECOND);
        ok(dispatch_retries(server.dispatch) > 0, "retries wait");
        if (i % 2 == 0) {
            stop();
        } else {
            crash();
        }
        fake_wall_ns += jumps[i / 2];
        alive_at_ns = 0;
        open_server();
        ok(run_until_all(DEAD_FOR_A_WHILE, 5), "%lld s while it is %s: tried when they were to be",
           (long long)(jumps[i / 2] / (int64_t)SECOND), i % 2 == 0 ? "stopped" : "killed");
    }
    is_uint(receivers[DEAD_FOR_A_WHILE].duplicates, 0);
    stop();
    done();
}

/* A resume moves a retry; the record of its try, behind no checkpoint yet, must not bring it back
 * where it was. */
static void test_moved_retry(void)
{
    fresh(DEAD_FOR_A_WHILE + 1);
    server.first_manner = DEAD_FOR_A_WHILE;
    server.one_core = true;
    open_server();
    alive_at_ns = UINT64_MAX;
    append();
    steps_until(fake_now_ns + SECOND / 20);
    is_uint(dispatch_retries(server.dispatch), 1, "it failed, and waits");
    put_destination(DEAD_FOR_A_WHILE, DESTINATION_PAUSED_BY_HAND);
    is_int(dispatch_hurry(server.dispatch, 100 + DEAD_FOR_A_WHILE), BK_OK);
    steps_until(fake_now_ns + SECOND / 20);
    crash();
    alive_at_ns = 0;
    open_server();
    is_uint(dispatch_retries(server.dispatch), 1, "as one");
    steps_until(fake_now_ns + 5 * SECOND);
    is_uint(receivers[DEAD_FOR_A_WHILE].answers, 1, "and comes once");
    is_uint(receivers[DEAD_FOR_A_WHILE].duplicates, 0);
    is_uint(dispatch_retries(server.dispatch), 0);
    stop();
    done();
}

static enum bk_err put_dead_letter(struct store_txn *txn, void *report)
{
    return rows_apply_report(txn, report);
}

/* The store may know of a dead letter, of whose last try a disk lost the record. */
static void test_dead_unrecorded(void)
{
    fresh(GOOD + 1);
    server.one_core = true;
    open_server();
    put_destination(GOOD, DESTINATION_PAUSED_BY_HAND);
    append();
    append();
    steps_until(fake_now_ns + SECOND);
    struct delivery_report report = {.kind = REPORT_DEAD,
                                     .number = 1,
                                     .destination = 100 + GOOD,
                                     .source = SOURCE,
                                     .position =
                                         journal_position_pack((struct journal_position){0, 1})};
    is_int(store_update(hub_store(server.hub), put_dead_letter, &report), BK_OK);
    crash();
    open_server();
    put_destination(GOOD, DESTINATION_RUNNING);
    steps_until(fake_now_ns + 10 * SECOND);
    is_uint(receivers[GOOD].answers, 1, "its lane owes the other one only");
    is_uint(receivers[GOOD].got[1], 0);
    stop();
    done();
}

/* A start with the clock ten years ahead: what is asked for then is not due in ten years when it is
 * right again. */
static void test_clock_ahead(void)
{
    static const int64_t ahead_ns = 3650 * DAY_NS;
    struct dispatch_status status;
    fresh(GOOD + 1);
    server.one_core = true;
    open_server();
    append();
    ok(run_until_all(GOOD, 60));
    stop();
    fake_wall_ns += ahead_ns;
    open_server();
    struct retry_row row = {.destination = 100 + GOOD,
                            .due_ms = dispatch_clock_ms(server.dispatch) + 3600000,
                            .position = journal_position_pack((struct journal_position){0, 1}),
                            .flags = ATTEMPT_REPLAY,
                            .event_ns = fake_wall_ns,
                            .source = 1};
    is_int(dispatch_add(server.dispatch, &row, 1), BK_OK);
    crash();
    fake_wall_ns -= ahead_ns;
    open_server();
    uint64_t answers = receivers[GOOD].answers;
    steps_until(fake_now_ns + SECOND);
    is_uint(receivers[GOOD].answers, answers, "not yet");
    (void)dispatch_status(server.dispatch, 100 + GOOD, &status);
    int64_t wait_ms = status.next_retry_ms - fake_wall_ns / 1000000;
    ok(wait_ms > 3000000 && wait_ms < 3601000, "the status says so, by the clock as it is: %lld s",
       (long long)wait_ms / 1000);
    steps_until(fake_now_ns + 1799 * SECOND);
    steps_until(fake_now_ns + 1810 * SECOND);
    is_uint(receivers[GOOD].answers, answers + 1, "then it comes");
    stop();
    done();
}

/* What was delivered from the store, and is in no journal yet when it is cut, comes again: the key
 * goes back to there, once, and not to what its lanes still owe. */
static void test_keys_cut(void)
{
    fresh(KEYED + 1);
    server.first_manner = KEYED;
    calm = server.one_core = true;
    open_server();
    append(); /* the next checkpoint is half a second after this one's */
    steps_until(fake_now_ns + SECOND);
    stuck_until_ns = UINT64_MAX;
    while (server.appended < 50 * KEYS) {
        append();
        fake_wall_ns += 1000;
        if (server.appended % 10 == 0) {
            step();
        }
    }
    for (unsigned i = 0; i < 1000 && dispatch_retries(server.dispatch) < 50; i++) {
        step();
    }
    is_uint(dispatch_retries(server.dispatch), 50, "all of one key are in the store");
    stuck_until_ns = 0;
    for (unsigned i = 0; i < 1000 && missing(KEYED) > 48; i++) { /* the others go behind these */
        step();
    }
    hold_disks(true);
    for (unsigned i = 0; i < 1000 && missing(KEYED) > 20; i++) {
        step();
    }
    ok(missing(KEYED) <= 20, "most of them are delivered, %llu are missing,",
       (unsigned long long)missing(KEYED));
    steps_until(fake_now_ns + 30 * SECOND / 1000);
    hold_disks(false);
    crash();
    open_server();
    ok(run_until_all(KEYED, 60), "and all, after a crash");
    steps_until(fake_now_ns + 2 * SECOND);
    is_uint(dispatch_retries(server.dispatch), 0);
    ok(receivers[KEYED].duplicates > 0, "%llu come again, in order",
       (unsigned long long)receivers[KEYED].duplicates);
    is_uint(receivers[KEYED].steps_back[STUCK_KEY], 1, "behind one step back");
    is_uint(receivers[KEYED].key_breaks + receivers[KEYED].key_overlaps, 0);
    stop();
    done();
}

/* A burst that falls behind, with keys that fail, hang together and come back. */
static void test_keys_behind(unsigned seed)
{
    fake_random = 88172645463325252ULL + (seed + 3000) * 0x9e3779b97f4a7c15ULL;
    next_random();
    fresh(KEYED + 1);
    server.first_manner = KEYED;
    open_server();
    stuck_until_ns = fake_now_ns + 20 * SECOND;
    for (unsigned i = 0; i < 3000; i++) {
        append();
        fake_wall_ns += 1000; /* who came first is known */
        if (i % 20 == 0) {
            step();
        }
        if (i == 1500) {
            for (unsigned n = 0; n < 4; n++) { /* only what is durable counts */
                step();
            }
            crash();
            open_server();
        }
        if (i == 700 || i == 2200) { /* and an apply changes its mind */
            server.whole = i == 700;
            put_destination(KEYED, DESTINATION_RUNNING);
        }
    }
    ok(run_until_all(KEYED, 300), "seed %u: a burst: all arrive (missing %llu)", seed,
       (unsigned long long)missing(KEYED));
    is_uint(id_mismatches + bad_requests, 0);
    stop();
    done();
}

/* The key becomes another one while a backlog waits: in memory, in the journal and, behind one that
 * fails, in the store. */
static void test_key_changed(unsigned seed)
{
    fake_random = 88172645463325252ULL + (seed + 4000) * 0x9e3779b97f4a7c15ULL;
    next_random();
    fresh(KEYED + 1);
    server.first_manner = KEYED;
    open_server();
    stuck_until_ns = UINT64_MAX;
    changed_at = EVENTS_MAX;
    for (unsigned i = 0; i < 1500; i++) {
        append();
        fake_wall_ns += 1000;
        if (i % 20 == 0) {
            step();
        }
        if (i == 800) {
            server.other = true;
            put_destination(KEYED, DESTINATION_RUNNING);
            changed_at = (unsigned)server.appended;
            stuck_until_ns = fake_now_ns + 5 * SECOND;
        }
    }
    if (seed % 2 == 0) {
        steps_until(fake_now_ns + SECOND);
        crash();
        open_server();
    }
    uint64_t duplicates = receivers[KEYED].duplicates;
    ok(run_until_all(KEYED, 300), "seed %u: another key: all arrive (missing %llu)", seed,
       (unsigned long long)missing(KEYED));
    is_uint(receivers[KEYED].other_breaks, 0, "the new ones in order by it");
    ok(seed % 2 == 0 || duplicates == 0, "once");
    steps_until(fake_now_ns + 2 * SECOND);
    is_uint(dispatch_retries(server.dispatch), 0, "nothing is left in the store");
    changed_at = EVENTS_MAX;
    stop();
    done();
}

/* What is queued is queued anew, by the new key, and does not go through the store. */
static void test_key_queued(void)
{
    uint64_t rows = 0;
    fresh(KEYED + 1);
    server.first_manner = KEYED;
    calm = server.narrow = true;
    open_server();
    for (unsigned i = 0; i < 40; i++) {
        append();
        fake_wall_ns += 1000;
    }
    step();
    step();
    server.other = true;
    put_destination(KEYED, DESTINATION_RUNNING);
    for (unsigned i = 0; i < 1000; i++) {
        step();
        rows = dispatch_retries(server.dispatch) > rows ? dispatch_retries(server.dispatch) : rows;
    }
    ok(missing(KEYED) == 0 && rows == 0, "another key: what is queued goes by it (rows %llu)",
       (unsigned long long)rows);
    is_uint(receivers[KEYED].duplicates, 0);
    calm = false;
    stop();
    done();
}

/* What is queued on one core goes back to the journal, beside what is under way: the other core's
 * later events of a key wait for it there as well. */
static void test_key_requeued(void)
{
    fresh(KEYED + 1);
    server.first_manner = KEYED;
    calm = lazy = true;
    open_server();
    for (unsigned i = 0; i < 400; i++) {
        append(); /* to either core; the one before was acknowledged */
        step();
        step();
        if (i % 40 == 39) {
            put_destination(KEYED, DESTINATION_RUNNING);
        }
    }
    lazy = false;
    ok(run_until_all(KEYED, 60), "another version: all arrive (missing %llu)",
       (unsigned long long)missing(KEYED));
    is_uint(receivers[KEYED].key_breaks, 0, "each key in order");
    is_uint(receivers[KEYED].key_overlaps, 0, "one at a time");
    stop();
    done();
}

/* A crash left one that waits in the store and no head, and an apply says that there is no key. */
static enum bk_err put_waiting(struct store_txn *txn, void *context)
{
    struct retry_row row = {.destination = 100 + KEYED,
                            .due_ms = order_waiting_ms(5, fake_wall_ns),
                            .position = *(uint64_t *)context,
                            .flags = ATTEMPT_KEYED,
                            .bucket = 5,
                            .event_ns = fake_wall_ns,
                            .source = SOURCE};
    return rows_put_retry(txn, &row);
}

static void test_key_gone(void)
{
    fresh(KEYED + 1);
    server.first_manner = KEYED;
    calm = server.one_core = true;
    open_server();
    put_destination(KEYED, DESTINATION_PAUSED_BY_HAND);
    append();
    append();
    steps_until(fake_now_ns + SECOND);
    uint64_t second = journal_position_pack((struct journal_position){0, 2});
    is_int(store_update(hub_store(server.hub), put_waiting, &second), BK_OK);
    crash();
    server.whole = true;
    open_server();
    ok(run_until_all(KEYED, 10), "a key that is none any more: all arrive (missing %llu)",
       (unsigned long long)missing(KEYED));
    steps_until(fake_now_ns + 2 * SECOND);
    is_uint(receivers[KEYED].duplicates + dispatch_retries(server.dispatch), 0, "once");
    calm = false;
    stop();
    done();
}

/* The head of a strict order goes on counting over a crash and a stop. */
static void test_held_number(void)
{
    fake_random = 88172645463325252ULL; /* a crash just behind an answer forgets it */
    fresh(STRICT + 1);
    server.first_manner = STRICT;
    open_server();
    stuck_until_ns = UINT64_MAX;
    append();
    step();
    step();
    append();
    for (unsigned round = 0; round < 4; round++) {
        uint64_t calls = receivers[STRICT].calls + 3;
        for (unsigned i = 0; i < 20000 && receivers[STRICT].calls < calls; i++) {
            step();
        }
        /* As far as the journal, or as a checkpoint. */
        for (unsigned i = 0; i < (round == 2 ? 1000U : 12U); i++) {
            step();
        }
        is_uint(receivers[STRICT].attempt_max, receivers[STRICT].calls, "try %llu is number %u",
                (unsigned long long)receivers[STRICT].calls, receivers[STRICT].attempt_max);
        if (round == 1) {
            stop();
        } else {
            crash();
        }
        open_server();
    }
    stuck_until_ns = 0;
    ok(run_until_all(STRICT, 60), "then both arrive");
    is_uint(receivers[STRICT].order_breaks, 0);
    stop();
    done();
}

/* An apply may change the ordering while deliveries are in flight. */
static void test_switch(void)
{
    fresh(STRICT + 1);
    server.first_manner = STRICT;
    server.loose = true;
    open_server();
    for (unsigned i = 0; i < 1500; i++) {
        append();
        if (i % 2 == 0) {
            step();
        }
        if (i % 100 == 99) {
            server.loose = !server.loose;
            put_destination(STRICT, DESTINATION_RUNNING);
        }
    }
    ok(run_until_all(STRICT, 3000), "ordering switched on and off: all arrive (missing %llu)",
       (unsigned long long)missing(STRICT));
    ok(receivers[STRICT].inflight_max > 1, "several at once while it was off");
    is_uint(receivers[STRICT].duplicates, 0);
    stop();
    done();
}

/* A request in a queue was built for an address: after an apply it is not sent there any more. */
static void test_moved(void)
{
    fresh(SLOW + 1);
    server.first_manner = SLOW;
    open_server();
    for (unsigned i = 0; i < 60; i++) {
        append();
    }
    for (unsigned i = 0; i < 20; i++) {
        step();
    }
    uint64_t calls = receivers[SLOW].calls;
    ok(calls > 0 && calls < 40, "some are in flight, others queued");
    server.moved = true;
    put_destination(SLOW, DESTINATION_RUNNING);
    for (unsigned i = 0; i < 5000; i++) {
        step();
    }
    is_uint(receivers[SLOW].calls, calls, "a new address: nothing more goes to the old one");
    is_uint(receivers[SLOW].answers + receivers[GOOD].answers, 60, "the rest goes to the new one");
    stop();
    done();
}

/* Whoever leads a destination elsewhere, for it is gone, is not told that by a try from before. */
static void test_moved_when_gone(void)
{
    fresh(GONE + 1);
    server.first_manner = GONE;
    open_server();
    append();
    for (unsigned i = 0; i < 1000 && clients[0].count + clients[1].count == 0; i++) {
        step();
    }
    server.moved = true;
    put_destination(GONE, DESTINATION_RUNNING);
    steps_until(fake_now_ns + 2 * SECOND);
    is_uint(receivers[GONE].calls, 1, "a try was on its way to the old address");
    is_uint(server.gone_calls, 0, "which says that it is gone: the new one is not paused");
    is_uint(receivers[GOOD].answers, 1, "and gets the event");
    stop();
    done();
}

/* What was delivered before a crash is known until the lane has passed it, also when it caught up
 * and is left to the journal once more. */
static void test_done_before(void)
{
    struct dispatch_status status = {.behind = true};
    fresh(SLOW + 1);
    server.first_manner = SLOW;
    server.all_is_cut = true;
    open_server();
    for (unsigned i = 0; i < 28; i++) {
        append();
    }
    unsigned quiet = 0;
    uint64_t before = 0;
    for (unsigned i = 0; i < 2000 && (quiet < 20 || before < 4); i++, quiet++) {
        step();
        quiet = receivers[SLOW].answers == before ? quiet : 0;
        before = receivers[SLOW].answers;
    }
    uint64_t answers = receivers[SLOW].answers;
    ok(answers < 28 && crash() > 0, "%llu were delivered", (unsigned long long)answers);
    server.narrow = true;
    open_server();
    for (unsigned i = 0; i < 2000 && status.behind; i++) {
        step();
        (void)dispatch_status(server.dispatch, 100 + SLOW, &status);
        status.behind |= status.queued == 0;
    }
    ok(!status.behind && missing(SLOW) > 2, "after the start it has caught up");
    put_destination(SLOW, DESTINATION_PAUSED_BY_HAND);
    for (unsigned i = 0; i < 20; i++) {
        step();
    }
    server.narrow = false;
    put_destination(SLOW, DESTINATION_RUNNING);
    ok(run_until_all(SLOW, 60));
    for (unsigned i = 0; i < 3000; i++) {
        step();
    }
    is_uint(receivers[SLOW].duplicates, 0, "nothing that was delivered comes again");
    stop();
    done();
}

/* Also a journal whose events nobody wants is not read from the beginning after a crash. */
static void test_unwanted(void)
{
    struct journal_entry entry = {.type = JOURNAL_ACCEPTED, .source = SOURCE + 1};
    static const char head[] = "POST /hooks/y HTTP/1.1\r\nHost: b\r\n\r\n";
    uint64_t sequence = 0, through = 0;
    struct store_txn *txn;
    fresh(GOOD + 1);
    open_server();
    entry.head_bytes = sizeof head - 1;
    while (sequence < DELIVER_THROUGH_RECORDS + 1000) {
        entry.received_ns = fake_wall_ns;
        for (unsigned i = 0; i < 64; i++) {
            (void)!journal_append(server.world.journals[0], &entry, (const uint8_t *)head, NULL, 0,
                                  &sequence);
        }
        step();
    }
    for (unsigned i = 0; i < 1500; i++) {
        step();
    }
    struct key key;
    struct slice value;
    key_through(&key, 0);
    if (store_read(hub_store(server.hub), &txn) == BK_OK) {
        if (store_get(txn, key_slice(&key), &value) == BK_OK && value.bytes == 8) {
            through = key_get_u64(value.at);
        }
        store_read_end(txn);
    }
    ok(through >= DELIVER_THROUGH_RECORDS, "what was looked at is kept: through %llu",
       (unsigned long long)through);
    stop();
    done();
}

int main(void)
{
    for (unsigned core = 0; core < CORES; core++) {
        if (filter_scratch_open(FILTER_SCRATCH_BYTES, &server.scratches[core]) != BK_OK) {
            bail_out("no memory");
        }
    }
    test_live();
    test_failures();
    test_dead_letter();
    test_recorded();
    test_no_memory();
    test_rate_behind_outage();
    test_rate_in_order();
    test_rate_of_key();
    test_rate_of_order();
    test_narrow_rows();
    test_ordered_rows();
    test_lost_while_paused();
    test_clock();
    test_clock_restart();
    test_moved_retry();
    test_dead_unrecorded();
    test_clock_ahead();
    test_keys_cut();
    test_crowd();
    test_key_queued();
    test_key_requeued();
    test_key_gone();
    test_deliveries();
    test_replay();
    test_switch();
    test_moved();
    test_moved_when_gone();
    test_done_before();
    test_unwanted();
    test_held_number();
    const char *seeds = getenv("BECKET_DELIVER_SEEDS");
    unsigned count = seeds ? (unsigned)atoi(seeds) : 2;
    for (unsigned seed = 1; seed <= count; seed++) {
        test_order(seed);
        test_keys(seed);
        test_keys_behind(seed);
        test_key_changed(seed);
        test_crashes(seed);
        test_rate_of_keys(seed);
    }
    for (unsigned core = 0; core < CORES; core++) {
        filter_scratch_close(server.scratches[core]);
    }
    return done_testing();
}
