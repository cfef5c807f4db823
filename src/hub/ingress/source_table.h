/* source_table.h - every event source, compiled, for lock-free lookup by path.
 *
 * Purpose     The hot path finds the source of /hooks/{path} with one hash and one compare, with
 *             one source or with a million, and an apply costs the reactors nothing.
 * Threads     One writer (the control thread); any number of readers.
 * Life time   A `struct source` is immutable but for its counters of the rate limit. A reader may
 *             keep the pointer until its turn of the loop ends. Replaced ones are freed after a
 *             grace period: the writer collects them (source_table_retired), lets every reader
 *             answer a mail, then frees them.
 */
#ifndef BECKET_HUB_SOURCE_TABLE_H
#define BECKET_HUB_SOURCE_TABLE_H

#include "base/err.h"
#include "hub/resources/compile.h"

#include <stdatomic.h>

/* Shared by the successive versions of one source, from the first that has a rate limit on. */
struct source_state {
    _Atomic uint64_t arrival_ns; /* rate limit: theoretical arrival time (GCRA) */
};

struct source {
    uint64_t number;
    uint64_t path_hash;
    const struct scheme *scheme; /* owned */
    size_t scheme_bytes;
    struct source_state *state; /* not NULL where interval_ns is not 0 */
    uint64_t body_bytes_max;
    int64_t dedupe_window_ns;   /* 0 = off */
    uint64_t interval_ns;       /* rate limit: one event each; 0 = none */
    struct filter_set **events; /* owned: which events are taken; none = all */
    unsigned event_count;
    struct source *retired_next; /* the writer's, as is `removed` */
    bool removed;
    uint16_t path_bytes;
    char path[];
};

struct source_table;

enum bk_err source_table_open(struct source_table **ret_table) BK_MUST_CHECK;
/* Requires: no readers. Frees everything. */
void source_table_close(struct source_table *table);

/* Reader: NULL = no such source. Never blocks. */
const struct source *source_table_find(const struct source_table *table, struct slice path);

/* Writer: room for so many, before they come one after the other at a start. */
enum bk_err source_table_reserve(struct source_table *table, uint64_t sources) BK_MUST_CHECK;
/* Writer: apply one change; takes its scheme and events. BK_NO_MEMORY: the old version stays. */
enum bk_err source_table_change(struct source_table *table,
                                const struct source_change *change) BK_MUST_CHECK;
uint64_t source_table_count(const struct source_table *table);

/* Writer: everything replaced since the last call; free it with source_table_free once all readers
 * have passed a turn. NULL = nothing. */
struct source_garbage;
struct source_garbage *source_table_retired(struct source_table *table);
void source_table_free(struct source_garbage *garbage);

#endif
