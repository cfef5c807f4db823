/* route_table.h - which destinations want the events of a source, for lock-free lookup.
 *
 * Purpose     The hot path asks with the source's number and walks its targets. One change costs
 *             microseconds, with one route or with a hundred thousand: targets of a source are a
 *             linked list, and they point to a destination's place, not to its present version.
 * Threads     One writer (the control thread); any number of readers, which never wait.
 * Life time   A reader may keep what it got until its turn of the loop ends; a delivery keeps the
 *             destination's number. What was replaced is collected (route_table_retired) and freed
 *             once every reactor has passed a turn, as ingress/source_table.h does it.
 */
#ifndef BECKET_HUB_ROUTE_TABLE_H
#define BECKET_HUB_ROUTE_TABLE_H

#include "base/err.h"
#include "hub/clock_sets.h"
#include "hub/routes/destination.h"

struct route_table;
struct route_target;

enum bk_err route_table_open(struct route_table **ret_table) BK_MUST_CHECK;
/* Requires: no readers. Frees everything. */
void route_table_close(struct route_table *table);

/* ---- readers */

/* The targets of a source in no promised order; NULL = no route wants its events. Two routes may
 * lead to the same destination: an event goes to it once, when any of them lets it through. */
const struct route_target *route_table_first(const struct route_table *table,
                                             uint64_t source_number);
const struct route_target *route_target_next(const struct route_target *target);
/* Its present version. NULL: it was removed while this reader stood here, or cannot be used. */
const struct destination *route_target_destination(const struct route_target *target);
/* Never NULL; may be empty, which every event passes. */
const struct filter_set *route_target_filters(const struct route_target *target);
uint64_t route_target_route(const struct route_target *target);
/* Wall clock when this pair began to exist: events from before are not meant. Where that clock was
 * set back behind it, events from after say that they are from before: it counts as made when the
 * clock was set. The writer's thread; who gets events as they come has no need to ask. */
int64_t route_table_since_ns(const struct route_table *table, const struct route_target *target);
/* The event source's name: what filters see as `source`. */
struct slice route_target_source(const struct route_target *target);
/* The type of all its events, where its provider sends one kind only; else empty. */
struct slice route_target_constant_type(const struct route_target *target);

/* By number. NULL: there is none (any more). */
const struct destination *route_table_destination(const struct route_table *table,
                                                  uint64_t number);
/* Above every number that a destination has or had: to walk all, ask for each below it. */
uint64_t route_table_numbers(const struct route_table *table);

/* ---- the writer */

/* A route, compiled: every pair of a `from` and a `to` is one target. */
struct route_from {
    uint64_t source_number;
    struct slice source_name; /* these two are copied */
    struct slice constant_type; /* of all its events; empty = they say */
    struct filter_set *filters; /* of its own; the receiver's */
};
struct route_change {
    bool removed; /* then only the number is set */
    uint64_t number;
    int64_t since_ns;
    const struct route_from *from;
    unsigned from_count;
    const uint64_t *to; /* numbers of destinations */
    unsigned to_count;
};

/* Put a destination in, or its next version (same number). Takes it over, also on BK_NO_MEMORY
 * (then it is freed and the old version stays). */
enum bk_err route_table_put_destination(struct route_table *table,
                                        struct destination *destination) BK_MUST_CHECK;
/* Requires: no route leads to it. */
void route_table_remove_destination(struct route_table *table, uint64_t number);
/* The wall clock was set back (hub/hub.h). */
void route_table_clock_was_set(struct route_table *table, struct clock_sets sets);
/* Takes the filters over, also on BK_NO_MEMORY (then the old version of the route stays). */
enum bk_err route_table_change_route(struct route_table *table,
                                     const struct route_change *change) BK_MUST_CHECK;
uint64_t route_table_destinations(const struct route_table *table);
uint64_t route_table_routes(const struct route_table *table);

/* Everything replaced since the last call; NULL = nothing. */
struct route_garbage;
struct route_garbage *route_table_retired(struct route_table *table);
void route_table_free(struct route_garbage *garbage);

/* A destination that is in no table. */
void destination_free(struct destination *destination);

#endif
