/* Description: the source table finds what the writer put, through growth, moves and removals,
 * while readers look; a source that is never touched is never missing. */
#include "base/assert.h"
#include "hub/ingress/source_table.h"
#include "tap.h"

#include <pthread.h>
#include <stdlib.h>

static struct scheme *any_scheme(size_t *ret_bytes)
{
    struct slice secret = SLICE("a secret");
    struct scheme *scheme;
    const char *message;
    enum bk_err err = scheme_compile(scheme_row_find(SLICE("github")), &secret, 1, -1, &scheme,
                                     ret_bytes, &message);
    bk_assert(err == BK_OK);
    return scheme;
}

static void put(struct source_table *table, uint64_t number, const char *path)
{
    struct source_change change = {
        .number = number, .path = slice_str(path), .body_bytes_max = 1000 + number};
    change.scheme = any_scheme(&change.scheme_bytes);
    bk_assert(source_table_change(table, &change) == BK_OK);
}

static void take_away(struct source_table *table, uint64_t number)
{
    struct source_change change = {.removed = true, .number = number};
    bk_assert(source_table_change(table, &change) == BK_OK);
}

static uint64_t number_at(struct source_table *table, const char *path)
{
    const struct source *source = source_table_find(table, slice_str(path));
    return source ? source->number : 0;
}

static void collect(struct source_table *table)
{
    struct source_garbage *garbage = source_table_retired(table);
    if (garbage) {
        source_table_free(garbage);
    }
}

/* Only a rate limit needs state; turned off and on again it goes on where it was. */
static void rate_state(void)
{
    struct source_table *table;
    bk_assert(source_table_open(&table) == BK_OK);
    const struct source_state *state = NULL;
    for (unsigned version = 0; version < 4; version++) {
        unsigned per_second = version % 2 ? 10 * version : 0;
        struct source_change change = {.number = 3, .path = SLICE("a"), .per_second = per_second};
        change.scheme = any_scheme(&change.scheme_bytes);
        bk_assert(source_table_change(table, &change) == BK_OK);
        const struct source *source = source_table_find(table, SLICE("a"));
        ok((source->interval_ns != 0) == (per_second != 0), "version %u", version);
        ok(version == 0 ? !source->state : source->state && (!state || source->state == state),
           "its state");
        state = source->state;
        collect(table);
    }
    take_away(table, 3);
    collect(table);
    source_table_close(table);
}

static void one_thread(void)
{
    struct source_table *table;
    ok(source_table_open(&table) == BK_OK, "opens");
    is_int(number_at(table, "a"), 0, "empty: not found");
    put(table, 1, "a");
    put(table, 2, "b");
    is_int(number_at(table, "a"), 1, "found");
    put(table, 1, "c");
    is_int(number_at(table, "a"), 0, "moved away");
    is_int(number_at(table, "c"), 1, "moved to");
    put(table, 2, "c2");
    put(table, 1, "b");
    is_int(number_at(table, "b"), 1, "a freed path can be taken");
    take_away(table, 1);
    is_int(number_at(table, "b"), 0, "removed");
    is_int(source_table_count(table), 1, "counted");
    take_away(table, 1);
    is_int(source_table_count(table), 1, "removing twice changes nothing");
    /* A swap of two paths in one apply: the newest owner of a path wins. */
    put(table, 5, "left");
    put(table, 6, "right");
    put(table, 5, "right");
    put(table, 6, "left");
    is_int(number_at(table, "left"), 6, "swapped: left");
    is_int(number_at(table, "right"), 5, "swapped: right");
    collect(table);
    char path[32];
    for (uint64_t i = 10; i < 5000; i++) {
        snprintf(path, sizeof path, "path-%u", (unsigned)i);
        put(table, i, path);
    }
    bool all = true;
    for (uint64_t i = 10; i < 5000; i++) {
        snprintf(path, sizeof path, "path-%u", (unsigned)i);
        all = all && number_at(table, path) == i;
    }
    ok(all, "thousands are all found");
    for (uint64_t i = 10; i < 5000; i += 2) {
        take_away(table, i);
    }
    for (uint64_t i = 10; i < 5000; i++) {
        snprintf(path, sizeof path, "path-%u", (unsigned)i);
        all = all && number_at(table, path) == (i % 2 ? i : 0);
    }
    ok(all, "and half of them after the other half went");
    collect(table);
    source_table_close(table);
}

#define STABLE 200U
static struct source_table *shared;
static _Atomic bool stop;
static _Atomic unsigned missing, wrong;

static void *reader(void *context)
{
    (void)context;
    char path[32];
    for (unsigned i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++) {
        unsigned which = i * 31 % STABLE;
        snprintf(path, sizeof path, "stable-%u", which);
        const struct source *source = source_table_find(shared, slice_str(path));
        if (!source) {
            atomic_fetch_add(&missing, 1);
        } else if (source->number != which + 1 || source->body_bytes_max != 1000 + source->number) {
            atomic_fetch_add(&wrong, 1);
        }
    }
    return NULL;
}

static void readers_and_a_writer(void)
{
    ok(source_table_open(&shared) == BK_OK, "a shared table opens");
    char path[32];
    for (uint64_t i = 0; i < STABLE; i++) {
        snprintf(path, sizeof path, "stable-%u", (unsigned)i);
        put(shared, i + 1, path);
    }
    pthread_t readers[2];
    for (unsigned i = 0; i < 2; i++) {
        pthread_create(&readers[i], NULL, reader, NULL);
    }
    /* Growth, replacement in place, moves and removals all around the stable ones. */
    for (uint64_t i = 0; i < 6000; i++) {
        snprintf(path, sizeof path, "other-%u", (unsigned)(i % 1500));
        put(shared, 1000 + i % 1700, path);
        if (i % 3 == 0) {
            snprintf(path, sizeof path, "stable-%u", (unsigned)(i % STABLE));
            put(shared, i % STABLE + 1, path);
        }
        if (i % 5 == 0) {
            take_away(shared, 1000 + i * 7 % 1700);
        }
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(readers[i], NULL);
    }
    is_int(atomic_load(&missing), 0, "no reader ever missed a source that was there all the time");
    is_int(atomic_load(&wrong), 0, "or found another one in its place");
    collect(shared); /* the grace period: all readers are gone */
    source_table_close(shared);
}

int main(void)
{
    rate_state();
    one_thread();
    readers_and_a_writer();
    return done_testing();
}
