#include "hub/ingress/source_table.h"

#include "base/assert.h"

#include <stdlib.h>

/* Slots are written only by the writer. A removed entry leaves TOMB behind, so that a reader's
 * probe goes on; growing the table sweeps them out. */
struct slot {
    _Atomic uint64_t hash;
    _Atomic(struct source *) source;
};

struct slots {
    struct slots *retired_next;
    size_t mask;
    size_t used; /* sources and tombs */
    struct slot at[];
};

struct source_table {
    _Atomic(struct slots *) slots;
    struct source **by_number;
    size_t numbers_size;
    uint64_t count;
    struct source *retired_sources;
    struct slots *retired_slots;
};

struct source_garbage {
    struct source *sources;
    struct slots *slots;
};

static struct source tomb;

#define SLOTS_MIN 64U

/* Not keyed: paths come from administrators, who cannot gain by slowing their own server down. */
static uint64_t hash_path(struct slice path)
{
    const uint64_t prime = 0x9E3779B97F4A7C15ULL;
    uint64_t hash = path.bytes * prime;
    size_t at = 0;
    for (; at + 8 <= path.bytes; at += 8) {
        uint64_t word;
        memcpy(&word, path.at + at, 8);
        hash = (hash ^ word) * prime;
        hash ^= hash >> 29;
    }
    uint64_t rest = 0;
    for (unsigned shift = 0; at < path.bytes; at++, shift += 8) {
        rest |= (uint64_t)path.at[at] << shift;
    }
    hash = (hash ^ rest) * prime;
    return hash ^ hash >> 32;
}

static struct slots *slots_make(size_t size)
{
    struct slots *slots = calloc(1, sizeof *slots + size * sizeof(struct slot));
    if (slots) {
        slots->mask = size - 1;
    }
    return slots;
}

enum bk_err source_table_open(struct source_table **ret_table)
{
    struct source_table *table = calloc(1, sizeof *table);
    struct slots *slots = slots_make(SLOTS_MIN);
    if (!table || !slots) {
        free(table);
        free(slots);
        return BK_NO_MEMORY;
    }
    atomic_init(&table->slots, slots);
    *ret_table = table;
    return BK_OK;
}

/* A removed source takes its state along; a replaced one left it to its successor. */
static void source_free(struct source *source)
{
    if (source->removed) {
        free(source->state);
    }
    filter_sets_free(source->events, source->event_count);
    struct scheme *scheme = (struct scheme *)(uintptr_t)source->scheme;
    scheme_wipe(scheme);
    free(scheme);
    free(source);
}

void source_table_free(struct source_garbage *garbage)
{
    while (garbage->sources) {
        struct source *next = garbage->sources->retired_next;
        source_free(garbage->sources);
        garbage->sources = next;
    }
    while (garbage->slots) {
        struct slots *next = garbage->slots->retired_next;
        free(garbage->slots);
        garbage->slots = next;
    }
    free(garbage);
}

void source_table_close(struct source_table *table)
{
    struct source_garbage *garbage = source_table_retired(table);
    if (garbage) {
        source_table_free(garbage);
    }
    for (size_t i = 0; i < table->numbers_size; i++) {
        if (table->by_number[i]) {
            free(table->by_number[i]->state);
            source_free(table->by_number[i]);
        }
    }
    free(table->by_number);
    free(atomic_load(&table->slots));
    free(table);
}

const struct source *source_table_find(const struct source_table *table, struct slice path)
{
    uint64_t hash = hash_path(path);
    struct slots *slots = atomic_load_explicit(&table->slots, memory_order_acquire);
    for (size_t i = hash & slots->mask;; i = (i + 1) & slots->mask) {
        struct source *source = atomic_load_explicit(&slots->at[i].source, memory_order_acquire);
        if (!source) {
            return NULL;
        }
        if (atomic_load_explicit(&slots->at[i].hash, memory_order_relaxed) != hash ||
            source == &tomb) {
            continue;
        }
        if (source->path_bytes == path.bytes && memcmp(source->path, path.at, path.bytes) == 0) {
            return source;
        }
    }
}

/* ---- the writer */

static struct slot *slot_of_path(struct slots *slots, uint64_t hash, struct slice path)
{
    for (size_t i = hash & slots->mask;; i = (i + 1) & slots->mask) {
        struct source *source = atomic_load_explicit(&slots->at[i].source, memory_order_relaxed);
        if (!source) {
            return NULL;
        }
        if (source != &tomb && source->path_hash == hash && source->path_bytes == path.bytes &&
            memcmp(source->path, path.at, path.bytes) == 0) {
            return &slots->at[i];
        }
    }
}

static void slots_insert(struct slots *slots, struct source *source)
{
    size_t i = source->path_hash & slots->mask;
    while (atomic_load_explicit(&slots->at[i].source, memory_order_relaxed)) {
        i = (i + 1) & slots->mask;
    }
    atomic_store_explicit(&slots->at[i].hash, source->path_hash, memory_order_relaxed);
    atomic_store_explicit(&slots->at[i].source, source, memory_order_release);
    slots->used++;
}

static enum bk_err slots_replace(struct source_table *table, size_t size)
{
    struct slots *slots = atomic_load_explicit(&table->slots, memory_order_relaxed);
    struct slots *larger = slots_make(size);
    if (!larger) {
        return BK_NO_MEMORY;
    }
    for (size_t i = 0; i <= slots->mask; i++) {
        struct source *source = atomic_load_explicit(&slots->at[i].source, memory_order_relaxed);
        if (source && source != &tomb) {
            slots_insert(larger, source);
        }
    }
    atomic_store_explicit(&table->slots, larger, memory_order_release);
    slots->retired_next = table->retired_slots;
    table->retired_slots = slots;
    return BK_OK;
}

static enum bk_err slots_room(struct source_table *table)
{
    struct slots *slots = atomic_load_explicit(&table->slots, memory_order_relaxed);
    if ((slots->used + 1) * 2 <= slots->mask + 1) {
        return BK_OK;
    }
    /* Twice as many when there are no tombs, and the same when there are mostly tombs. */
    size_t size = SLOTS_MIN;
    while (size < (table->count + 1) * 3) {
        size *= 2;
    }
    return slots_replace(table, size);
}

enum bk_err source_table_reserve(struct source_table *table, uint64_t sources)
{
    struct slots *slots = atomic_load_explicit(&table->slots, memory_order_relaxed);
    size_t size = SLOTS_MIN;
    while (size < sources * 2) {
        size *= 2;
    }
    return size > slots->mask + 1 ? slots_replace(table, size) : BK_OK;
}

static enum bk_err numbers_room(struct source_table *table, uint64_t number)
{
    if (number < table->numbers_size) {
        return BK_OK;
    }
    size_t size = table->numbers_size ? table->numbers_size : 64;
    while (size <= number) {
        size *= 2;
    }
    struct source **grown = realloc(table->by_number, size * sizeof(struct source *));
    if (!grown) {
        return BK_NO_MEMORY;
    }
    memset(grown + table->numbers_size, 0, (size - table->numbers_size) * sizeof(struct source *));
    table->by_number = grown;
    table->numbers_size = size;
    return BK_OK;
}

static void retire(struct source_table *table, struct source *source)
{
    source->retired_next = table->retired_sources;
    table->retired_sources = source;
}

static void unlink_path(struct source_table *table, struct source *source)
{
    struct slots *slots = atomic_load_explicit(&table->slots, memory_order_relaxed);
    struct slot *slot =
        slot_of_path(slots, source->path_hash, slice_of(source->path, source->path_bytes));
    if (slot && atomic_load_explicit(&slot->source, memory_order_relaxed) == source) {
        atomic_store_explicit(&slot->source, &tomb, memory_order_release);
    }
}

static struct source *source_make(const struct source_change *change, struct source_state *state)
{
    struct source *source = calloc(1, sizeof *source + change->path.bytes);
    if (source) {
        source->number = change->number;
        source->path_hash = hash_path(change->path);
        source->scheme = change->scheme;
        source->scheme_bytes = change->scheme_bytes;
        source->state = state;
        source->events = change->events;
        source->event_count = change->event_count;
        source->body_bytes_max = change->body_bytes_max;
        source->dedupe_window_ns = change->dedupe_window_ns;
        source->interval_ns = change->per_second ? 1000000000ULL / change->per_second : 0;
        source->path_bytes = (uint16_t)change->path.bytes;
        memcpy(source->path, change->path.at, change->path.bytes);
    }
    return source;
}

static enum bk_err source_put(struct source_table *table, const struct source_change *change)
{
    enum bk_err err = numbers_room(table, change->number);
    if (err == BK_OK) {
        err = slots_room(table);
    }
    if (err != BK_OK) {
        return err;
    }
    struct source *old = table->by_number[change->number];
    struct source_state *kept = old ? old->state : NULL, *made = NULL;
    if (!kept && change->per_second) {
        made = calloc(1, sizeof *made);
        if (!made) {
            return BK_NO_MEMORY;
        }
    }
    struct source *source = source_make(change, kept ? kept : made);
    if (!source) {
        free(made);
        return BK_NO_MEMORY;
    }
    struct slots *slots = atomic_load_explicit(&table->slots, memory_order_relaxed);
    struct slot *slot =
        slot_of_path(slots, source->path_hash, slice_of(source->path, source->path_bytes));
    if (slot) {
        /* In place: a reader sees the old or the new one, never none. */
        atomic_store_explicit(&slot->source, source, memory_order_release);
    } else {
        slots_insert(slots, source);
    }
    if (old) {
        unlink_path(table, old);
        retire(table, old);
    } else {
        table->count++;
    }
    table->by_number[change->number] = source;
    return BK_OK;
}

enum bk_err source_table_change(struct source_table *table, const struct source_change *change)
{
    if (!change->removed) {
        enum bk_err err = source_put(table, change);
        if (err != BK_OK) {
            filter_sets_free(change->events, change->event_count);
            scheme_wipe(change->scheme);
            free(change->scheme);
        }
        return err;
    }
    struct source *old =
        change->number < table->numbers_size ? table->by_number[change->number] : NULL;
    if (old) {
        unlink_path(table, old);
        table->by_number[change->number] = NULL;
        table->count--;
        old->removed = true;
        retire(table, old);
    }
    return BK_OK;
}

uint64_t source_table_count(const struct source_table *table)
{
    return table->count;
}

struct source_garbage *source_table_retired(struct source_table *table)
{
    if (!table->retired_sources && !table->retired_slots) {
        return NULL;
    }
    struct source_garbage *garbage = calloc(1, sizeof *garbage);
    if (garbage) {
        garbage->sources = table->retired_sources;
        garbage->slots = table->retired_slots;
        table->retired_sources = NULL;
        table->retired_slots = NULL;
    }
    return garbage;
}
