/* Description: many pending retries: a start takes at most 3 s and little memory, however many they
 * are; what is due is found at once, and a destination that is deleted takes its rows along.
 *
 * The times and the memory are those of dispatch_recover() on the real store. The whole process:
 * tests/serial/deliver-retries.t, for which
 *
 *   hub_retries_scale_test --fill DATA COUNT DUE_SECONDS
 *
 * puts retries into the store of a stopped server: of the events whose ids stand on its input, to
 * the destinations d0, d1, ..., one in a hundred due in DUE_SECONDS, the others in an hour and
 * more. */
#include "journal_world.h"

#include "hub/events/attempt.h"
#include "hub/deliveries/deliver.h"
#include "hub/deliveries/dispatch.h"
#include "hub/deliveries/dispatch_private.h"
#include "hub/events/event_id.h"

#include <time.h>

#define DESTINATIONS 10U
#define BATCH        20000U

static unsigned rows_total = 100000; /* BECKET_RETRIES=1000000 for the full size */

/* No delivery is started here. */
void http_call_start(struct http_client *client, struct http_call *call)
{
    (void)client;
    (void)call;
}

void http_call_cancel(struct http_client *client, struct http_call *call)
{
    (void)client;
    (void)call;
}

const char *http_stage_text(enum http_stage stage)
{
    (void)stage;
    return "";
}

static struct world world;
static struct hub *hub;
static struct route_table *routes;
static struct dispatch *dispatch;
static char state[300];

static uint64_t resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%lu %lu", &size, &resident) != 2) {
        resident = 0;
    }
    if (file) {
        fclose(file);
    }
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void put_destination(uint64_t number)
{
    struct destination *destination = calloc(1, sizeof *destination);
    destination->number = number;
    destination->name = SLICE("d");
    destination->concurrency = 16;
    if (route_table_put_destination(routes, destination) != BK_OK) {
        bail_out("no memory");
    }
}

static void open_all(void)
{
    char why[HUB_WHY_BYTES];
    struct hub_config config = {
        .data_directory = state, .public_url = "http://b", .now_ns = fake_wall_ns};
    if (hub_open(&config, &hub, why) != BK_OK || route_table_open(&routes) != BK_OK ||
        world_open(&world) != BK_OK) {
        bail_out("does not open: %s", why);
    }
    for (uint64_t i = 0; i < DESTINATIONS; i++) {
        put_destination(100 + i);
    }
    struct dispatch_config dispatch_config = {.hub = hub,
                                              .catalog = world.catalog,
                                              .routes = routes,
                                              .ring = &world.control,
                                              .cores = 1,
                                              .clock_ms = fake_wall_ns / 1000000};
    if (dispatch_open(&dispatch_config, &dispatch) != BK_OK) {
        bail_out("no memory");
    }
}

static void close_all(void)
{
    dispatch_close(dispatch);
    hub_close(hub);
    route_table_close(routes);
    world_run(&world);
    world_stop(&world);
}

static void fill(void)
{
    static struct retry_row rows[BATCH];
    for (unsigned first = 0; first < rows_total; first += BATCH) {
        for (unsigned i = 0; i < BATCH; i++) {
            uint64_t sequence = first + i + 1;
            rows[i] = (struct retry_row){
                .destination = 100 + sequence % DESTINATIONS,
                .due_ms = fake_wall_ns / 1000000 + 3600000 + (int64_t)(sequence * 7919 % 1000000),
                .position = sequence,
                .number = 3,
                .status = 503,
                .event_ns = fake_wall_ns,
                .source = 7};
        }
        /* One destination after the other, as the counts are looked up. */
        static struct retry_row sorted[BATCH];
        unsigned count = 0;
        for (unsigned d = 0; d < DESTINATIONS; d++) {
            for (unsigned i = 0; i < BATCH; i++) {
                if (rows[i].destination == 100 + d) {
                    sorted[count++] = rows[i];
                }
            }
        }
        if (dispatch_add(dispatch, sorted, count) != BK_OK) {
            bail_out("the store does not take them");
        }
    }
}

/* ---- for the whole process */

#define FILL_EVENTS_MAX 200000U

static struct {
    uint64_t positions[FILL_EVENTS_MAX];
    int64_t times_ms[FILL_EVENTS_MAX];
    size_t event_count;
    uint64_t destinations[DESTINATIONS];
    uint64_t source;
    unsigned first, count;
    int64_t now_ms, due_ms;
} filling;

static enum bk_err fill_batch(struct store_txn *txn, void *context)
{
    enum bk_err err = BK_OK;
    (void)context;
    for (unsigned i = filling.first; err == BK_OK && i < filling.first + filling.count; i++) {
        size_t event = i / DESTINATIONS % filling.event_count;
        bool soon = i / DESTINATIONS % 100 == 0;
        struct retry_row row = {
            .destination = filling.destinations[i % DESTINATIONS],
            .due_ms = soon ? filling.now_ms + filling.due_ms + (int64_t)(i / 1000)
                           : filling.now_ms + 3600000 + (int64_t)(i * 7919ULL % 10000000),
            .position = filling.positions[event],
            .number = 3,
            .status = 503,
            .event_ns = filling.times_ms[event] * 1000000,
            .source = filling.source};
        err = rows_put_retry(txn, &row);
    }
    return err;
}

static int fill_server(const char *data, unsigned total, unsigned due_seconds)
{
    char why[HUB_WHY_BYTES], line[64];
    fake_wall_ns = (int64_t)time(NULL) * 1000000000;
    struct hub_config config = {
        .data_directory = data, .public_url = "http://b", .now_ns = fake_wall_ns};
    if (hub_open(&config, &hub, why) != BK_OK) {
        bail_out("does not open: %s", why);
    }
    while (filling.event_count < FILL_EVENTS_MAX && fgets(line, sizeof line, stdin)) {
        struct journal_position position;
        size_t at = filling.event_count;
        if (event_id_parse(slice_of(line, strcspn(line, "\n")), &position,
                           &filling.times_ms[at])) {
            filling.positions[filling.event_count++] = journal_position_pack(position);
        }
    }
    for (unsigned i = 0; i < DESTINATIONS; i++) {
        char name[8];
        snprintf(name, sizeof name, "d%u", i);
        if (hub_number(hub, RESOURCE_DESTINATION, SLICE(""), slice_str(name),
                       &filling.destinations[i]) != BK_OK) {
            bail_out("no destination %s", name);
        }
    }
    if (filling.event_count == 0 || hub_number(hub, RESOURCE_EVENT_SOURCE, SLICE(""), SLICE("repo"),
                                               &filling.source) != BK_OK) {
        bail_out("no events, or no source");
    }
    filling.now_ms = fake_wall_ns / 1000000;
    filling.due_ms = (int64_t)due_seconds * 1000;
    for (; filling.first < total; filling.first += filling.count) {
        filling.count = total - filling.first < BATCH ? total - filling.first : BATCH;
        if (store_update(hub_store(hub), fill_batch, NULL) != BK_OK) {
            bail_out("the store does not take them");
        }
    }
    hub_close(hub);
    return 0;
}

int main(int count, char **words)
{
    if (count == 5 && strcmp(words[1], "--fill") == 0) {
        return fill_server(words[2], (unsigned)atoi(words[3]), (unsigned)atoi(words[4]));
    }
    const char *wanted = getenv("BECKET_RETRIES");
    if (wanted) {
        rows_total = (unsigned)atoi(wanted) / BATCH * BATCH;
    }
    world_init(&world, 1, 1 << 20);
    snprintf(state, sizeof state, "%s.state", world.directory);
    open_all();
    is_int(dispatch_recover(dispatch), BK_OK);
    double begin = seconds();
    fill();
    diag("%u retries put in %.1f s", rows_total, seconds() - begin);
    is_uint(dispatch_retries(dispatch), rows_total, "all are counted");
    close_all();

    uint64_t before = resident_bytes();
    begin = seconds();
    open_all();
    is_int(dispatch_recover(dispatch), BK_OK, "a start with %u pending retries", rows_total);
    double took = seconds() - begin;
    struct deliver *none[1] = {NULL};
    struct ring *rings[1] = {&world.rings[0]};
    dispatch_started(dispatch, none, rings);
    for (unsigned i = 0; i < 100; i++) {
        dispatch_step(dispatch);
        fake_now_ns += 20000000;
    }
    ok(dispatch_next_ns(dispatch) > fake_now_ns + 3000000000000ULL,
       "and until the first of them is due there is nothing to do");
    int64_t first_ms = INT64_MAX;
    for (uint64_t i = 0; i < DESTINATIONS; i++) {
        struct dispatch_status one;
        (void)dispatch_status(dispatch, 100 + i, &one);
        first_ms = one.next_retry_ms < first_ms ? one.next_retry_ms : first_ms;
    }
    /* The status is by the wall clock, which stands here: that is seen when it is 100 ms. */
    int64_t now_ms = (int64_t)(fake_now_ns / 1000000);
    int64_t soonest_ms = first_ms - fake_wall_ns / 1000000 + now_ms;
    int64_t next_ms = (int64_t)(dispatch_next_ns(dispatch) / 1000000);
    ok(next_ms > soonest_ms - 101 && next_ms < soonest_ms + 101, "it waits for the soonest");
    uint64_t grown = resident_bytes() > before ? resident_bytes() - before : 0;
    is_uint(dispatch_retries(dispatch), rows_total, "all are still there");
    ok(took < 3, "in %.2f s", took);
#if defined(__SANITIZE_ADDRESS__)
    bool measured = false; /* what is freed stays resident */
#else
    bool measured = true;
#endif
    ok(!measured || grown < 40U << 20, "and %.1f MiB more memory", (double)grown / 1048576);
    struct dispatch_status status;
    (void)dispatch_status(dispatch, 100, &status);
    is_uint(status.retries, rows_total / DESTINATIONS, "by destination");
    ok(status.next_retry_ms + now_ms >= fake_wall_ns / 1000000 + 3600000, "the next one is known");

    begin = seconds();
    route_table_remove_destination(routes, 100);
    dispatch_removed(dispatch, 100);
    unsigned steps = 0;
    double slowest = 0;
    while (dispatch_retries(dispatch) > rows_total - rows_total / DESTINATIONS && steps < 100000) {
        double step = seconds();
        dispatch_step(dispatch);
        step = seconds() - step;
        slowest = step > slowest ? step : slowest;
        fake_now_ns += 20000000;
        steps++;
    }
    is_uint(dispatch_retries(dispatch), rows_total - rows_total / DESTINATIONS,
            "a deleted destination's retries go");
    diag("in %u steps, %.1f s, the slowest %.0f ms", steps, seconds() - begin, slowest * 1e3);
    (void)dispatch_status(dispatch, 100, &status);
    is_uint(status.retries, 0);
    close_all();
    test_directory_drop(state);
    world_fini(&world);
    return done_testing();
}
