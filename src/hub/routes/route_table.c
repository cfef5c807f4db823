#include "hub/routes/route_table.h"

#include "base/assert.h"
#include "base/ct.h"
#include "hub/deliveries/flow.h"
#include "tls/credentials.h"

#include <stdlib.h>

_Static_assert(sizeof(struct flow_shared) <= sizeof((struct destination_state){0}.words),
               "a destination's state holds a flow");

/* Places are found by number through pages that are made once and stay where they are, so a reader
 * needs no more than two loads, and nothing is ever copied. */
#define PAGE_ENTRIES 1024U
#define PAGES        65536U

/* Where the present version of a destination stands. */
struct place {
    _Atomic(struct destination *) now;
    struct destination_state *state;
};

struct places {
    struct place at[PAGE_ENTRIES];
};

/* The first target of each source. */
struct heads {
    _Atomic(struct route_target *) at[PAGE_ENTRIES];
};

struct route_target {
    _Atomic(struct route_target *) next;
    _Atomic(struct route_target *) *back; /* the writer's: what points here */
    struct place *place;
    const struct filter_set *filters;
    uint64_t route;
    uint64_t source;
    int64_t since_ns;
    struct slice source_name; /* in the route's block */
    struct slice constant_type;
    bool paired; /* the writer's, while it changes the route */
};

/* One version of a route, with its targets in the same block. */
struct route {
    struct route *retired_next;
    struct filter_set **sets;
    unsigned set_count;
    unsigned target_count;
    struct route_target targets[];
};

struct route_table {
    _Atomic(struct places *) places[PAGES];
    _Atomic(struct heads *) heads[PAGES];
    size_t pages_end; /* the writer's: there is none behind */
    _Atomic uint64_t numbers;
    uint64_t destination_count;
    struct route **routes; /* by number */
    size_t routes_size;
    uint64_t route_count;
    struct route *retired_routes;
    struct destination *retired_destinations;
    struct clock_sets clock;
};

struct route_garbage {
    struct route *routes;
    struct destination *destinations;
};

enum bk_err route_table_open(struct route_table **ret_table)
{
    struct route_table *table = calloc(1, sizeof *table);
    if (!table) {
        return BK_NO_MEMORY;
    }
    atomic_init(&table->numbers, 1);
    *ret_table = table;
    return BK_OK;
}

/* ---- freeing */

/* A removed destination takes its state along; a replaced one left it to its successor. */
void destination_free(struct destination *destination)
{
    if (!destination) {
        return;
    }
    if (destination->removed) {
        if (destination->state) {
            free(atomic_load(&destination->state->keys));
        }
        free(destination->state);
    }
    filter_free(destination->order_key);
    http_origin_give(&destination->origin);
    bk_wipe(destination->secrets, sizeof destination->secrets);
    free(destination);
}

static void route_free(struct route *route)
{
    for (unsigned i = 0; i < route->set_count; i++) {
        filter_set_free(route->sets[i]);
    }
    free(route);
}

void route_table_free(struct route_garbage *garbage)
{
    while (garbage->routes) {
        struct route *next = garbage->routes->retired_next;
        route_free(garbage->routes);
        garbage->routes = next;
    }
    while (garbage->destinations) {
        struct destination *next = garbage->destinations->retired_next;
        destination_free(garbage->destinations);
        garbage->destinations = next;
    }
    free(garbage);
}

static void close_places(struct places *places)
{
    for (unsigned i = 0; places && i < PAGE_ENTRIES; i++) {
        struct destination *destination = atomic_load(&places->at[i].now);
        if (destination) {
            destination->removed = true;
            destination_free(destination);
        }
    }
    free(places);
}

void route_table_close(struct route_table *table)
{
    struct route_garbage *garbage = route_table_retired(table);
    if (garbage) {
        route_table_free(garbage);
    }
    for (size_t i = 0; i < table->routes_size; i++) {
        if (table->routes[i]) {
            route_free(table->routes[i]);
        }
    }
    for (size_t i = 0; i < table->pages_end; i++) {
        close_places(atomic_load(&table->places[i]));
        free(atomic_load(&table->heads[i]));
    }
    free(table->routes);
    free(table);
}

/* ---- readers */

const struct route_target *route_table_first(const struct route_table *table,
                                             uint64_t source_number)
{
    if (source_number / PAGE_ENTRIES >= PAGES) {
        return NULL;
    }
    const struct heads *heads =
        atomic_load_explicit(&table->heads[source_number / PAGE_ENTRIES], memory_order_acquire);
    return heads ? atomic_load_explicit(&heads->at[source_number % PAGE_ENTRIES],
                                        memory_order_acquire)
                 : NULL;
}

const struct route_target *route_target_next(const struct route_target *target)
{
    return atomic_load_explicit(&target->next, memory_order_acquire);
}

const struct destination *route_target_destination(const struct route_target *target)
{
    return atomic_load_explicit(&target->place->now, memory_order_acquire);
}

const struct filter_set *route_target_filters(const struct route_target *target)
{
    return target->filters;
}

uint64_t route_target_route(const struct route_target *target)
{
    return target->route;
}

int64_t route_table_since_ns(const struct route_table *table, const struct route_target *target)
{
    return clock_since_ns(table->clock, target->since_ns);
}

void route_table_clock_was_set(struct route_table *table, struct clock_sets sets)
{
    table->clock = sets;
}

struct slice route_target_source(const struct route_target *target)
{
    return target->source_name;
}

struct slice route_target_constant_type(const struct route_target *target)
{
    return target->constant_type;
}

static struct place *find_place(const struct route_table *table, uint64_t number)
{
    if (number / PAGE_ENTRIES >= PAGES) {
        return NULL;
    }
    struct places *places =
        atomic_load_explicit(&table->places[number / PAGE_ENTRIES], memory_order_acquire);
    return places ? &places->at[number % PAGE_ENTRIES] : NULL;
}

const struct destination *route_table_destination(const struct route_table *table, uint64_t number)
{
    const struct place *place = find_place(table, number);
    return place ? atomic_load_explicit(&place->now, memory_order_acquire) : NULL;
}

uint64_t route_table_numbers(const struct route_table *table)
{
    return atomic_load_explicit(&table->numbers, memory_order_acquire);
}

uint64_t route_table_destinations(const struct route_table *table)
{
    return table->destination_count;
}

uint64_t route_table_routes(const struct route_table *table)
{
    return table->route_count;
}

/* ---- the writer: destinations */

static void page_made(struct route_table *table, size_t page)
{
    table->pages_end = page < table->pages_end ? table->pages_end : page + 1;
}

static struct place *make_place(struct route_table *table, uint64_t number)
{
    if (number / PAGE_ENTRIES >= PAGES) {
        return NULL;
    }
    _Atomic(struct places *) *page = &table->places[number / PAGE_ENTRIES];
    if (!atomic_load_explicit(page, memory_order_relaxed)) {
        struct places *places = calloc(1, sizeof *places);
        if (!places) {
            return NULL;
        }
        atomic_store_explicit(page, places, memory_order_release);
        page_made(table, number / PAGE_ENTRIES);
    }
    return find_place(table, number);
}

/* What did not change stays the same object, and with it connections stay warm. */
static void keep_credentials(struct destination *destination, struct destination *old)
{
    struct http_origin *origin = &destination->origin;
    if (origin->credentials && tls_credentials_same(origin->credentials, old->origin.credentials)) {
        http_origin_give(origin);
        origin->credentials = tls_credentials_take(old->origin.credentials);
        http_origin_init(origin);
    }
}

static void retire_destination(struct route_table *table, struct destination *destination)
{
    destination->retired_next = table->retired_destinations;
    table->retired_destinations = destination;
}

static bool make_keys(struct destination_state *state, const struct destination *destination)
{
    if (!destination->order_key || atomic_load(&state->keys)) {
        return true;
    }
    struct order_keys *keys = calloc(1, sizeof *keys);
    atomic_store(&state->keys, keys);
    return keys != NULL;
}

/* Resumed, or it is somewhere else now. */
static bool begins_anew(const struct destination *old, const struct destination *new)
{
    bool resumed = old->pause != DESTINATION_RUNNING && new->pause == DESTINATION_RUNNING;
    return resumed || !http_origin_equal(&old->origin, &new->origin) ||
           !slice_equal(old->target, new->target);
}

enum bk_err route_table_put_destination(struct route_table *table, struct destination *destination)
{
    struct place *place = make_place(table, destination->number);
    struct destination *old =
        place ? atomic_load_explicit(&place->now, memory_order_relaxed) : NULL;
    if (place && !old) {
        place->state = calloc(1, sizeof *place->state);
    }
    if (!place || !place->state || !make_keys(place->state, destination)) {
        if (place && !old) {
            free(place->state);
            place->state = NULL;
        }
        destination->removed = false;
        destination_free(destination);
        return BK_NO_MEMORY;
    }
    if (old) {
        keep_credentials(destination, old);
        if (begins_anew(old, destination)) {
            flow_lift((struct flow_shared *)(void *)place->state->words);
        }
    }
    destination->state = place->state;
    destination->version = old ? old->version + 1 : 1;
    destination->removed = false;
    atomic_store_explicit(&place->now, destination, memory_order_release);
    if (old) {
        if (old->origin.credentials != destination->origin.credentials) {
            tls_credentials_retire(old->origin.credentials);
        }
        retire_destination(table, old);
        return BK_OK;
    }
    table->destination_count++;
    if (destination->number >= atomic_load_explicit(&table->numbers, memory_order_relaxed)) {
        atomic_store_explicit(&table->numbers, destination->number + 1, memory_order_release);
    }
    return BK_OK;
}

void route_table_remove_destination(struct route_table *table, uint64_t number)
{
    struct place *place = find_place(table, number);
    struct destination *old =
        place ? atomic_load_explicit(&place->now, memory_order_relaxed) : NULL;
    if (old) {
        atomic_store_explicit(&place->now, NULL, memory_order_release);
        place->state = NULL;
        old->removed = true;
        tls_credentials_retire(old->origin.credentials);
        table->destination_count--;
        retire_destination(table, old);
    }
}

/* ---- the writer: routes */

static _Atomic(struct route_target *) *make_head(struct route_table *table, uint64_t source)
{
    if (source / PAGE_ENTRIES >= PAGES) {
        return NULL;
    }
    _Atomic(struct heads *) *page = &table->heads[source / PAGE_ENTRIES];
    struct heads *heads = atomic_load_explicit(page, memory_order_relaxed);
    if (!heads) {
        heads = calloc(1, sizeof *heads);
        if (!heads) {
            return NULL;
        }
        atomic_store_explicit(page, heads, memory_order_release);
        page_made(table, source / PAGE_ENTRIES);
    }
    return &heads->at[source % PAGE_ENTRIES];
}

static bool routes_room(struct route_table *table, uint64_t number)
{
    if (number < table->routes_size) {
        return true;
    }
    size_t size = table->routes_size ? table->routes_size : 64;
    while (size <= number) {
        size *= 2;
    }
    struct route **grown = realloc(table->routes, size * sizeof(struct route *));
    if (!grown) {
        return false;
    }
    memset(grown + table->routes_size, 0, (size - table->routes_size) * sizeof(struct route *));
    table->routes = grown;
    table->routes_size = size;
    return true;
}

static struct slice put_text(uint8_t **at, struct slice text)
{
    uint8_t *copy = *at;
    if (text.bytes > 0) {
        memcpy(copy, text.at, text.bytes);
    }
    *at += text.bytes;
    return slice_of(copy, text.bytes);
}

/* Everything that can fail, before anything is changed. */
static struct route *route_make(struct route_table *table, const struct route_change *change)
{
    unsigned count = change->from_count * change->to_count;
    size_t bytes = sizeof(struct route) + count * sizeof(struct route_target) +
                   change->from_count * sizeof(struct filter_set *);
    size_t text = bytes;
    for (unsigned i = 0; i < change->from_count; i++) {
        bytes += change->from[i].source_name.bytes + change->from[i].constant_type.bytes;
    }
    struct route *route = calloc(1, bytes);
    if (!route || !routes_room(table, change->number)) {
        free(route);
        return NULL;
    }
    uint8_t *texts = (uint8_t *)route + text;
    route->sets = (struct filter_set **)(void *)&route->targets[count];
    for (unsigned i = 0; i < change->from_count; i++) {
        const struct route_from *from = &change->from[i];
        route->sets[route->set_count++] = from->filters;
        if (!make_head(table, from->source_number)) {
            route->set_count = 0; /* the caller frees them */
            free(route);
            return NULL;
        }
        struct slice name = put_text(&texts, from->source_name);
        struct slice type = put_text(&texts, from->constant_type);
        for (unsigned k = 0; k < change->to_count; k++) {
            struct route_target *target = &route->targets[route->target_count++];
            target->place = make_place(table, change->to[k]);
            if (!target->place) {
                route->set_count = 0;
                free(route);
                return NULL;
            }
            target->filters = from->filters;
            target->route = change->number;
            target->source = from->source_number;
            target->since_ns = change->since_ns;
            target->source_name = name;
            target->constant_type = type;
        }
    }
    return route;
}

/* Publish a target between `back` and `next`. */
static void link_target(struct route_target *target, _Atomic(struct route_target *) *back,
                        struct route_target *next)
{
    atomic_store_explicit(&target->next, next, memory_order_relaxed);
    target->back = back;
    if (next) {
        next->back = &target->next;
    }
    atomic_store_explicit(back, target, memory_order_release);
}

static void unlink_target(struct route_target *target)
{
    struct route_target *next = atomic_load_explicit(&target->next, memory_order_relaxed);
    if (next) {
        next->back = target->back;
    }
    atomic_store_explicit(target->back, next, memory_order_release);
}

/* The old target that a new one takes the place of: of the same source, best with the same
 * destination. A reader then meets the old one or the new one, never neither. */
static struct route_target *find_pair(struct route *old, const struct route_target *target,
                                      bool same_place)
{
    for (unsigned i = 0; old && i < old->target_count; i++) {
        struct route_target *candidate = &old->targets[i];
        if (!candidate->paired && candidate->source == target->source &&
            (!same_place || candidate->place == target->place)) {
            return candidate;
        }
    }
    return NULL;
}

static void replace_targets(struct route_table *table, struct route *old, struct route *route)
{
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned i = 0; i < route->target_count; i++) {
            struct route_target *target = &route->targets[i];
            struct route_target *pair = target->back ? NULL : find_pair(old, target, pass == 0);
            if (pair) {
                pair->paired = true;
                link_target(target, pair->back,
                            atomic_load_explicit(&pair->next, memory_order_relaxed));
            }
        }
    }
    for (unsigned i = 0; i < route->target_count; i++) {
        struct route_target *target = &route->targets[i];
        if (!target->back) {
            _Atomic(struct route_target *) *head = make_head(table, target->source);
            link_target(target, head, atomic_load_explicit(head, memory_order_relaxed));
        }
    }
}

static void retire_route(struct route_table *table, struct route *route)
{
    for (unsigned i = 0; i < route->target_count; i++) {
        if (!route->targets[i].paired) {
            unlink_target(&route->targets[i]);
        }
    }
    route->retired_next = table->retired_routes;
    table->retired_routes = route;
}

enum bk_err route_table_change_route(struct route_table *table, const struct route_change *change)
{
    struct route *old = change->number < table->routes_size ? table->routes[change->number] : NULL;
    if (change->removed) {
        if (old) {
            table->routes[change->number] = NULL;
            table->route_count--;
            retire_route(table, old);
        }
        return BK_OK;
    }
    struct route *route = route_make(table, change);
    if (!route) {
        for (unsigned i = 0; i < change->from_count; i++) {
            filter_set_free(change->from[i].filters);
        }
        return BK_NO_MEMORY;
    }
    replace_targets(table, old, route);
    table->routes[change->number] = route;
    if (old) {
        retire_route(table, old);
    } else {
        table->route_count++;
    }
    return BK_OK;
}

struct route_garbage *route_table_retired(struct route_table *table)
{
    if (!table->retired_routes && !table->retired_destinations) {
        return NULL;
    }
    struct route_garbage *garbage = calloc(1, sizeof *garbage);
    if (garbage) {
        garbage->routes = table->retired_routes;
        garbage->destinations = table->retired_destinations;
        table->retired_routes = NULL;
        table->retired_destinations = NULL;
    }
    return garbage;
}
