/* Description: the route table gives what the writer put, through replacement and removal, while
 * readers walk; a route that is only replaced is never missed, and one change among a hundred
 * thousand routes costs microseconds. */
#include "base/assert.h"
#include "hub/routes/route_table.h"
#include "tap.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

static struct route_table *table;

static void put_destination(uint64_t number, uint32_t concurrency)
{
    struct destination *destination = calloc(1, sizeof *destination);
    bk_assert(destination);
    destination->number = number;
    destination->concurrency = concurrency;
    bk_assert(route_table_put_destination(table, destination) == BK_OK);
}

static void put_route(uint64_t number, const uint64_t *sources, unsigned source_count,
                      const uint64_t *to, unsigned to_count)
{
    struct route_from from[8];
    for (unsigned i = 0; i < source_count; i++) {
        from[i] = (struct route_from){.source_number = sources[i],
                                      .source_name = SLICE("a source"),
                                      .constant_type = SLICE("push"),
                                      .filters = filter_set_make(NULL, 0, false, NULL, 0)};
        bk_assert(from[i].filters);
    }
    struct route_change change = {.number = number,
                                  .since_ns = (int64_t)number,
                                  .from = from,
                                  .from_count = source_count,
                                  .to = to,
                                  .to_count = to_count};
    bk_assert(route_table_change_route(table, &change) == BK_OK);
}

static void remove_route(uint64_t number)
{
    struct route_change change = {.removed = true, .number = number};
    bk_assert(route_table_change_route(table, &change) == BK_OK);
}

static void collect(void)
{
    struct route_garbage *garbage = route_table_retired(table);
    if (garbage) {
        route_table_free(garbage);
    }
}

/* The numbers of the destinations of a source, as digits in order. */
static const char *targets_of(uint64_t source)
{
    static char text[64];
    unsigned counts[10] = {0};
    size_t bytes = 0;
    const struct route_target *target = route_table_first(table, source);
    for (; target; target = route_target_next(target)) {
        counts[route_target_destination(target)->number % 10]++;
        bk_assert(slice_equal(route_target_source(target), SLICE("a source")));
        bk_assert(slice_equal(route_target_constant_type(target), SLICE("push")));
        bk_assert(route_table_since_ns(table, target) == (int64_t)route_target_route(target));
        bk_assert(route_target_filters(target)->count == 0);
    }
    for (unsigned i = 0; i < 10; i++) {
        for (unsigned k = 0; k < counts[i]; k++) {
            text[bytes++] = (char)('0' + i);
        }
    }
    text[bytes] = '\0';
    return text;
}

static void one_thread(void)
{
    const uint64_t sources[] = {7, 2000}, first[] = {1, 2}, second[] = {2, 3};
    ok(route_table_open(&table) == BK_OK, "opens");
    is_str(targets_of(7), "", "empty");
    ok(!route_table_first(table, UINT64_MAX), "a number no source has");
    ok(!route_table_destination(table, 1), "no destination");
    for (unsigned i = 1; i <= 4; i++) {
        put_destination(i, 10);
    }
    is_uint(route_table_destinations(table), 4, "counted");
    is_uint(route_table_numbers(table), 5, "numbers");
    put_route(10, sources, 2, first, 2);
    is_str(targets_of(7), "12", "one route, two destinations");
    is_str(targets_of(2000), "12", "and from its other source");
    put_route(11, sources, 1, second, 2);
    is_str(targets_of(7), "1223", "two routes");
    is_uint(route_table_routes(table), 2, "counted");
    put_route(10, sources, 1, second, 1);
    is_str(targets_of(7), "223", "replaced by a smaller one");
    is_str(targets_of(2000), "", "its other source is left");
    put_route(10, sources, 2, first, 2);
    is_str(targets_of(7), "1223", "and by a larger one");
    struct destination_state *state = route_table_destination(table, 2)->state;
    atomic_store(&state->words[0], 42);
    put_destination(2, 99);
    is_uint(route_table_destination(table, 2)->concurrency, 99, "a new version");
    ok(route_table_destination(table, 2)->state == state, "keeps its state");
    bool seen = false;
    for (const struct route_target *t = route_table_first(table, 7); t; t = route_target_next(t)) {
        const struct destination *destination = route_target_destination(t);
        seen |= destination->number == 2 && destination->concurrency == 99;
    }
    ok(seen, "which the routes lead to without being changed");
    remove_route(11);
    is_str(targets_of(7), "12", "removed");
    remove_route(11);
    is_uint(route_table_routes(table), 1, "removing twice changes nothing");
    route_table_remove_destination(table, 4);
    ok(!route_table_destination(table, 4), "a destination removed");
    is_uint(route_table_destinations(table), 3, "counted");
    collect();
    ok(!route_table_retired(table), "nothing more to free");
    is_str(targets_of(7), "12", "all is there still");
    route_table_close(table);
}

static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* Nanoseconds of a replacement among `count` routes of one source. */
static double change_costs(unsigned count)
{
    const uint64_t source = 1, to = 1;
    bk_assert(route_table_open(&table) == BK_OK);
    put_destination(1, 1);
    for (unsigned i = 0; i < count; i++) {
        put_route(2 + i, &source, 1, &to, 1);
    }
    uint64_t before = cpu_ns();
    for (unsigned i = 0; i < 1000; i++) {
        put_route(2 + i * 7919U % count, &source, 1, &to, 1);
        put_destination(1, i);
    }
    double each = (double)(cpu_ns() - before) / 1000;
    collect();
    route_table_close(table);
    return each;
}

static void many(void)
{
    double few = change_costs(1), most = change_costs(100000);
    diag("a changed route and a changed destination: %.0f ns with 1 route, %.0f ns with 100,000",
         few, most);
    ok(most < 50000, "a change among a hundred thousand routes takes microseconds");
}

/* ---- readers and a writer */

#define ROUTES 50U
static _Atomic bool stop;
static _Atomic unsigned missed, wrong;

static void *reader(void *context)
{
    (void)context;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        bool seen[ROUTES] = {false};
        const struct route_target *target = route_table_first(table, 5);
        for (; target; target = route_target_next(target)) {
            const struct destination *destination = route_target_destination(target);
            if (!destination || destination->number != 1 + route_target_route(target) % 4) {
                atomic_fetch_add(&wrong, 1);
            }
            if (route_target_route(target) - 100 < ROUTES) {
                seen[route_target_route(target) - 100] = true;
            }
        }
        for (unsigned i = 0; i < ROUTES; i++) {
            if (!seen[i]) {
                atomic_fetch_add(&missed, 1);
            }
        }
    }
    return NULL;
}

static void put_mine(uint64_t number)
{
    const uint64_t source = 5, to = 1 + number % 4;
    put_route(number, &source, 1, &to, 1);
}

static void readers_and_a_writer(void)
{
    bk_assert(route_table_open(&table) == BK_OK);
    for (unsigned i = 1; i <= 4; i++) {
        put_destination(i, 1);
    }
    for (unsigned i = 0; i < ROUTES; i++) {
        put_mine(100 + i);
    }
    pthread_t readers[2];
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&readers[i], NULL, reader, NULL);
    }
    for (unsigned i = 0; i < 20000; i++) {
        put_mine(100 + i * 31 % ROUTES);       /* replaced, never gone */
        put_mine(1000 + i % 64);               /* comes and goes */
        remove_route(1000 + i * 7 % 64);
        if (i % 16 == 0) {
            put_destination(1 + i / 16 % 4, i);
        }
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(readers[i], NULL);
    }
    is_int(atomic_load(&missed), 0, "no reader missed a route that was there all the time");
    is_int(atomic_load(&wrong), 0, "or was led elsewhere");
    collect(); /* the grace period: all readers are gone */
    route_table_close(table);
}

int main(void)
{
    one_thread();
    many();
    readers_and_a_writer();
    return done_testing();
}
