/* reader.c - records are read by index step: all frames between two marks of the sparse index.
 *
 * A step (64 KiB to about 0.6 MiB, or one large record) is read at once, verified, and kept in a
 * slot with the places of its records, so that walks in both directions and several journals at a
 * time are served from memory. Who reads one step behind the other gets several at once.
 */
#include "journal/reader.h"

#include "journal/catalog_state.h"
#include "ring/file.h"

#include <stdio.h>
#include <stdlib.h>

#define SLOTS       16U
#define FILES       8U
#define AHEAD_BYTES 524288U /* no step is added beyond */

/* One index step in memory, or several. */
struct slot {
    uint64_t used; /* tick of the last use; 0 = empty */
    uint16_t journal;
    uint64_t number; /* of the segment */
    uint64_t offset;
    uint64_t bytes; /* up to a mark, or to what was durable: a live segment's last step grows */
    uint8_t *buffer;
    size_t buffer_bytes;
    uint32_t *records; /* offsets into the buffer, ascending sequences */
    uint32_t record_count;
    uint32_t record_max;
    uint64_t bad_offset; /* in the file; 0 = all is well */
};

struct reader_file {
    uint64_t used;
    uint16_t journal;
    uint64_t number;
    int file;
};

struct reader {
    struct catalog *catalog;
    uint64_t tick;
    struct slot slots[SLOTS];
    struct slot *given;       /* where the record came from that a walk was given last, */
    uint32_t given_index;     /* for the next one is most often behind it */
    struct reader_file files[FILES];
    char problem[256];
};

enum bk_err reader_open(struct catalog *catalog, struct reader **ret_reader)
{
    struct reader *reader = calloc(1, sizeof *reader);
    if (!reader) {
        return BK_NO_MEMORY;
    }
    reader->catalog = catalog;
    for (unsigned i = 0; i < FILES; i++) {
        reader->files[i].file = -1;
    }
    *ret_reader = reader;
    return BK_OK;
}

void reader_close(struct reader *reader)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        free(reader->slots[i].buffer);
        free(reader->slots[i].records);
    }
    for (unsigned i = 0; i < FILES; i++) {
        if (reader->files[i].file >= 0) {
            file_close(reader->files[i].file);
        }
    }
    free(reader);
}

const char *reader_problem(const struct reader *reader)
{
    return reader->problem;
}

/* ---- segments and steps */

/* 0 = no records. Loaded before anything else of a live segment. */
static uint64_t last_of(const struct segment *segment)
{
    return atomic_load_explicit(&segment->last_sequence, memory_order_acquire);
}

/* The first segment with a record >= sequence, or (backward) the last one with a record <=
 * sequence. */
static struct segment *segment_for(const struct reader *reader, uint16_t id, uint64_t sequence,
                                   bool backward)
{
    const struct catalog_journal *journal =
        id < FORMAT_JOURNALS_MAX ? reader->catalog->journals[id] : NULL;
    if (!journal) {
        return NULL;
    }
    struct list *node = backward ? journal->segments.prev : journal->segments.next;
    while (node != &journal->segments) {
        struct segment *segment = bk_container_of(node, struct segment, node);
        uint64_t last = last_of(segment);
        if (last != 0 && (backward ? segment->first_sequence <= sequence : last >= sequence)) {
            return segment;
        }
        node = backward ? node->prev : node->next;
    }
    return NULL;
}

/* The last mark with a sequence <= the wanted one; the first when there is none. */
static uint32_t mark_for(const struct segment *segment, uint64_t sequence)
{
    uint32_t low = 0;
    uint32_t high = atomic_load_explicit(&segment->mark_count, memory_order_acquire);
    bk_assert(high > 0);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (segment->marks[middle].sequence <= sequence) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Descriptors are used up: give back the file that was not read for the longest time. */
static bool give_back_one(struct reader *reader)
{
    struct reader_file *oldest = NULL;
    for (unsigned i = 0; i < FILES; i++) {
        struct reader_file *file = &reader->files[i];
        if (file->file >= 0 && (!oldest || file->used < oldest->used)) {
            oldest = file;
        }
    }
    if (oldest) {
        file_close(oldest->file);
        *oldest = (struct reader_file){.file = -1};
    }
    return oldest != NULL;
}

static enum bk_err open_file(struct reader *reader, const struct segment *segment, int *ret_file)
{
    struct reader_file *oldest = &reader->files[0];
    for (unsigned i = 0; i < FILES; i++) {
        struct reader_file *file = &reader->files[i];
        if (file->file >= 0 && file->journal == segment->journal_id &&
            file->number == segment->number) {
            file->used = ++reader->tick;
            *ret_file = file->file;
            return BK_OK;
        }
        oldest = file->used < oldest->used ? file : oldest;
    }
    char path[CATALOG_PATH_BYTES];
    int opened = -1;
    catalog_path(reader->catalog, path, "", segment->journal_id, segment->number, ".log");
    enum bk_err err = file_open(path, FILE_READ | FILE_DIRECT, &opened);
    while (err == BK_NO_DESCRIPTORS && give_back_one(reader)) {
        err = file_open(path, FILE_READ | FILE_DIRECT, &opened);
    }
    if (err != BK_OK) {
        return err;
    }
    if (oldest->file >= 0) {
        file_close(oldest->file);
    }
    *oldest = (struct reader_file){++reader->tick, segment->journal_id, segment->number, opened};
    *ret_file = opened;
    return BK_OK;
}

static enum bk_err slot_reserve(struct slot *slot, size_t bytes)
{
    if (bytes > slot->buffer_bytes) {
        free(slot->buffer);
        slot->buffer = aligned_alloc(FORMAT_BLOCK_BYTES, bytes);
        slot->buffer_bytes = slot->buffer ? bytes : 0;
    }
    return slot->buffer ? BK_OK : BK_NO_MEMORY;
}

static enum bk_err slot_note(struct slot *slot, const struct format_record *record)
{
    if (slot->record_count == slot->record_max) {
        uint32_t larger = slot->record_max ? slot->record_max * 2 : 256;
        uint32_t *records = realloc(slot->records, larger * sizeof *records);
        if (!records) {
            return BK_NO_MEMORY;
        }
        slot->records = records;
        slot->record_max = larger;
    }
    slot->records[slot->record_count++] = (uint32_t)((const uint8_t *)record - slot->buffer);
    return BK_OK;
}

/* All good records of one frame. Of a damaged frame those before the damage: each has its own CRC.
 */
static enum bk_err slot_frame(struct slot *slot, const struct format_frame *frame, uint32_t seed)
{
    struct format_walk walk;
    const struct format_record *record;
    format_walk_begin(&walk, frame, frame->bytes, seed);
    for (;;) {
        enum bk_err err = format_walk_next(&walk, true, &record);
        if (err == BK_OK) {
            err = slot_note(slot, record);
        }
        if (err != BK_OK) {
            return err == BK_NOT_FOUND ? BK_OK : err;
        }
    }
}

static enum bk_err slot_parse(struct slot *slot, const struct segment *segment)
{
    uint64_t at = 0;
    slot->record_count = 0;
    slot->bad_offset = 0;
    while (slot->bytes - at >= FORMAT_BLOCK_BYTES) {
        const struct format_frame *frame =
            (const struct format_frame *)(const void *)(slot->buffer + at);
        bool good = format_frame_check(frame, segment->uuid[0], segment->seed) &&
                    frame->bytes <= slot->bytes - at;
        enum bk_err err = good ? slot_frame(slot, frame, segment->seed) : BK_CORRUPT;
        if (err == BK_NO_MEMORY) {
            return err;
        }
        if (err != BK_OK && slot->bad_offset == 0) {
            slot->bad_offset = slot->offset + at;
        }
        /* Behind a bad header the next frame starts at some block. */
        at += good ? format_round_block(frame->bytes) : FORMAT_BLOCK_BYTES;
    }
    return BK_OK;
}

static enum bk_err slot_load(struct reader *reader, struct slot *slot,
                             const struct segment *segment, uint64_t offset, uint64_t bytes)
{
    int file = -1;
    size_t done = 0;
    slot->used = 0;
    enum bk_err err = open_file(reader, segment, &file);
    if (err == BK_OK) {
        err = slot_reserve(slot, (size_t)bytes);
    }
    if (err == BK_OK) {
        err = file_read(file, slot->buffer, (size_t)bytes, offset, &done);
    }
    if (err != BK_OK) {
        return err;
    }
    slot->journal = segment->journal_id;
    slot->number = segment->number;
    slot->offset = offset;
    slot->bytes = done - done % FORMAT_BLOCK_BYTES;
    err = slot_parse(slot, segment);
    if (err == BK_OK && done < bytes && slot->bad_offset == 0) { /* the file was cut */
        slot->bad_offset = offset + slot->bytes;
    }
    slot->bytes = bytes;
    slot->used = err == BK_OK ? ++reader->tick : 0;
    return err;
}

/* The end of the step at this mark. */
static uint64_t step_end(const struct segment *segment, uint32_t index)
{
    uint32_t count = atomic_load_explicit(&segment->mark_count, memory_order_acquire);
    uint64_t durable = atomic_load_explicit(&segment->durable_bytes, memory_order_acquire);
    return index + 1 < count ? segment->marks[index + 1].offset : durable;
}

static bool slot_is_of(const struct slot *slot, const struct segment *segment)
{
    return slot->used > 0 && slot->journal == segment->journal_id &&
           slot->number == segment->number;
}

/* What is read when this step is missing: also those behind it, if the one before is there. */
static uint64_t read_end(const struct reader *reader, const struct segment *segment,
                         uint32_t index)
{
    uint64_t offset = segment->marks[index].offset;
    uint64_t end = step_end(segment, index);
    bool onward = false;
    for (unsigned i = 0; i < SLOTS && !onward; i++) {
        const struct slot *slot = &reader->slots[i];
        onward = slot_is_of(slot, segment) && slot->offset + slot->bytes == offset;
    }
    uint32_t count = atomic_load_explicit(&segment->mark_count, memory_order_acquire);
    while (onward && ++index < count) {
        uint64_t next = step_end(segment, index);
        if (next - offset > AHEAD_BYTES) {
            break;
        }
        end = next;
    }
    return end;
}

/* The step of a segment that holds (or would hold) this sequence. BK_AGAIN: it had to be read and
 * the budget is used up. */
static enum bk_err step_for(struct reader *reader, const struct segment *segment, uint64_t sequence,
                            size_t *budget, struct slot **ret_slot)
{
    uint32_t index = mark_for(segment, sequence);
    uint64_t offset = segment->marks[index].offset;
    uint64_t end = step_end(segment, index);
    bk_assert(end > offset);
    struct slot *oldest = &reader->slots[0];
    for (unsigned i = 0; i < SLOTS; i++) {
        struct slot *slot = &reader->slots[i];
        bool same = slot_is_of(slot, segment) && slot->offset <= offset &&
                    offset < slot->offset + slot->bytes;
        if (same && end <= slot->offset + slot->bytes) {
            slot->used = ++reader->tick;
            *ret_slot = slot;
            return BK_OK;
        }
        if (same && slot->offset == offset) { /* the live segment's last step, grown meanwhile */
            oldest = slot;
            break;
        }
        oldest = slot->used < oldest->used ? slot : oldest;
    }
    end = read_end(reader, segment, index);
    if (budget) {
        if (*budget == 0) {
            return BK_AGAIN;
        }
        *budget -= *budget < end - offset ? *budget : (size_t)(end - offset);
    }
    enum bk_err err = slot_load(reader, oldest, segment, offset, end - offset);
    if (err == BK_OK) {
        *ret_slot = oldest;
    }
    return err;
}

static const struct format_record *slot_record(const struct slot *slot, uint32_t index)
{
    bk_assert(index < slot->record_count);
    return (const struct format_record *)(const void *)(slot->buffer + slot->records[index]);
}

/* How many records of the slot have a sequence < the given one. */
static uint32_t slot_below(const struct slot *slot, uint64_t sequence)
{
    uint32_t low = 0;
    uint32_t high = slot->record_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (slot_record(slot, middle)->sequence < sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void give(const struct slot *slot, uint32_t index, struct journal_record *ret_record)
{
    const struct format_record *record = slot_record(slot, index);
    ret_record->position = (struct journal_position){slot->journal, record->sequence};
    ret_record->message = (const uint8_t *)(record + 1);
    format_record_entry(record, &ret_record->entry);
}

static enum bk_err damaged(struct reader *reader, const struct slot *slot)
{
    char path[CATALOG_PATH_BYTES];
    catalog_path(reader->catalog, path, "", slot->journal, slot->number, ".log");
    snprintf(reader->problem, sizeof reader->problem, "%.200s: at %llu: damaged frame", path,
             (unsigned long long)slot->bad_offset);
    return BK_CORRUPT;
}

/* ---- one record */

enum bk_err reader_get(struct reader *reader, struct journal_position position,
                       struct journal_record *ret_record)
{
    struct slot *slot = NULL;
    const struct segment *segment = segment_for(reader, position.journal, position.sequence, false);
    if (!segment || segment->first_sequence > position.sequence || position.sequence == 0) {
        return BK_NOT_FOUND;
    }
    enum bk_err err = step_for(reader, segment, position.sequence, NULL, &slot);
    if (err != BK_OK) {
        return err;
    }
    uint32_t index = slot_below(slot, position.sequence);
    if (index == slot->record_count || slot_record(slot, index)->sequence != position.sequence) {
        return slot->bad_offset ? damaged(reader, slot) : BK_NOT_FOUND;
    }
    give(slot, index, ret_record);
    return BK_OK;
}

/* ---- walks */

void reader_walk_begin(struct reader_walk *walk, uint16_t journal, bool backward, uint64_t from)
{
    *walk = (struct reader_walk){.journal = journal, .backward = backward, .next = from};
    if (!backward && from == 0) {
        walk->next = 1;
    }
}

/* The first sequence behind the step that holds `sequence`; 0 = none yet. */
static uint64_t step_after(struct reader *reader, const struct segment *segment, uint64_t sequence)
{
    uint32_t index = mark_for(segment, sequence);
    if (index + 1 < atomic_load_explicit(&segment->mark_count, memory_order_acquire)) {
        return segment->marks[index + 1].sequence;
    }
    const struct segment *next =
        segment_for(reader, segment->journal_id, last_of(segment) + 1, false);
    return next ? next->first_sequence : 0;
}

/* The record behind the one that was given last. */
static bool give_next(struct reader *reader, struct reader_walk *walk,
                      struct journal_record *ret_record)
{
    struct slot *slot = reader->given;
    uint32_t index = reader->given_index + 1;
    if (!slot || slot->used == 0 || slot->journal != walk->journal ||
        index >= slot->record_count || slot_record(slot, index)->sequence != walk->next) {
        return false;
    }
    give(slot, index, ret_record);
    slot->used = ++reader->tick;
    walk->next++;
    reader->given_index = index;
    return true;
}

static enum bk_err next_forward(struct reader *reader, struct reader_walk *walk, size_t *budget,
                                struct journal_record *ret_record)
{
    if (give_next(reader, walk, ret_record)) {
        return BK_OK;
    }
    for (;;) {
        struct slot *slot = NULL;
        const struct segment *segment = segment_for(reader, walk->journal, walk->next, false);
        if (!segment) {
            return BK_NOT_FOUND;
        }
        if (walk->next < segment->first_sequence) {
            walk->next = segment->first_sequence;
        }
        enum bk_err err = step_for(reader, segment, walk->next, budget, &slot);
        if (err != BK_OK) {
            return err;
        }
        uint32_t index = slot_below(slot, walk->next);
        bool found = index < slot->record_count;
        /* Records are numbered without gaps inside a segment: a gap is damage. */
        if (found && (slot->bad_offset == 0 || slot_record(slot, index)->sequence == walk->next)) {
            give(slot, index, ret_record);
            walk->next = ret_record->position.sequence + 1;
            reader->given = slot;
            reader->given_index = index;
            return BK_OK;
        }
        uint64_t after =
            found ? slot_record(slot, index)->sequence : step_after(reader, segment, walk->next);
        bool bad = slot->bad_offset != 0;
        if (after == 0) {
            after = last_of(segment) + 1;
        }
        if (after <= walk->next) { /* grew meanwhile; the next call sees it */
            return BK_NOT_FOUND;
        }
        walk->next = after;
        if (bad) {
            return damaged(reader, slot);
        }
    }
}

static enum bk_err next_backward(struct reader *reader, struct reader_walk *walk, size_t *budget,
                                 struct journal_record *ret_record)
{
    for (;;) {
        struct slot *slot = NULL;
        const struct segment *segment =
            walk->next > 0 ? segment_for(reader, walk->journal, walk->next, true) : NULL;
        if (!segment) {
            walk->next = 0;
            return BK_NOT_FOUND;
        }
        uint64_t last = last_of(segment);
        bool clamped = walk->next > last;
        if (clamped) {
            walk->next = last;
        }
        enum bk_err err = step_for(reader, segment, walk->next, budget, &slot);
        if (err != BK_OK) {
            return err;
        }
        uint32_t below = slot_below(slot, walk->next + 1);
        if (below > 0 &&
            (slot->bad_offset == 0 || slot_record(slot, below - 1)->sequence == walk->next)) {
            give(slot, below - 1, ret_record);
            walk->next = ret_record->position.sequence - 1;
            return BK_OK;
        }
        uint64_t first = segment->marks[mark_for(segment, walk->next)].sequence;
        walk->next = below > 0 ? slot_record(slot, below - 1)->sequence : first - 1;
        if (slot->bad_offset != 0) {
            return damaged(reader, slot);
        }
    }
}

enum bk_err reader_next(struct reader *reader, struct reader_walk *walk, size_t *budget,
                        struct journal_record *ret_record)
{
    return walk->backward ? next_backward(reader, walk, budget, ret_record)
                          : next_forward(reader, walk, budget, ret_record);
}

/* ---- by time */

static struct segment *segment_at_time(const struct reader *reader, uint16_t id, int64_t time_ns,
                                       bool backward)
{
    const struct catalog_journal *journal =
        id < FORMAT_JOURNALS_MAX ? reader->catalog->journals[id] : NULL;
    if (!journal) {
        return NULL;
    }
    struct list *node = backward ? journal->segments.prev : journal->segments.next;
    while (node != &journal->segments) {
        struct segment *segment = bk_container_of(node, struct segment, node);
        if (last_of(segment) != 0 &&
            (backward ? segment->first_ns <= time_ns : segment->last_ns >= time_ns)) {
            return segment;
        }
        node = backward ? node->prev : node->next;
    }
    return NULL;
}

/* The last mark whose first record is older than time_ns (or, backward, not newer). */
static uint32_t mark_at_time(const struct segment *segment, int64_t time_ns, bool backward)
{
    uint32_t low = 0;
    uint32_t high = atomic_load_explicit(&segment->mark_count, memory_order_acquire);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        int64_t at = segment->marks[middle].time_ns;
        if (backward ? at <= time_ns : at < time_ns) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

enum bk_err reader_walk_begin_time(struct reader *reader, struct reader_walk *walk,
                                   uint16_t journal, bool backward, int64_t time_ns)
{
    struct slot *slot = NULL;
    reader_walk_begin(walk, journal, backward, backward ? 0 : UINT64_MAX);
    if (backward ? time_ns == INT64_MAX : time_ns <= 0) {
        walk->next = backward ? UINT64_MAX : 1;
        return BK_OK;
    }
    const struct segment *segment = segment_at_time(reader, journal, time_ns, backward);
    if (!segment) {
        /* Forward: nothing so late yet; what comes next will be. */
        segment = backward ? NULL : segment_for(reader, journal, UINT64_MAX, true);
        walk->next = backward ? 0 : segment ? last_of(segment) + 1 : 1;
        return BK_OK;
    }
    uint32_t mark = mark_at_time(segment, time_ns, backward);
    enum bk_err err = step_for(reader, segment, segment->marks[mark].sequence, NULL, &slot);
    if (err != BK_OK) {
        return err;
    }
    uint32_t index = 0;
    while (index < slot->record_count) {
        int64_t at = slot_record(slot, index)->received_ns;
        if (backward ? at > time_ns : at >= time_ns) {
            break;
        }
        index++;
    }
    if (backward) {
        walk->next =
            index > 0 ? slot_record(slot, index - 1)->sequence : segment->marks[mark].sequence - 1;
    } else {
        uint64_t after = step_after(reader, segment, segment->marks[mark].sequence);
        walk->next = index < slot->record_count ? slot_record(slot, index)->sequence
                     : after != 0               ? after
                                                : last_of(segment) + 1;
    }
    return BK_OK;
}

/* ---- merged */

enum bk_err reader_merge_begin(struct reader *reader, struct reader_merge *merge, bool backward,
                               int64_t time_ns)
{
    uint16_t ids[READER_JOURNALS_MAX];
    memset(merge, 0, sizeof *merge);
    merge->backward = backward;
    unsigned count = catalog_journals(reader->catalog, ids, READER_JOURNALS_MAX);
    merge->count = count < READER_JOURNALS_MAX ? count : READER_JOURNALS_MAX;
    for (unsigned i = 0; i < merge->count; i++) {
        enum bk_err err =
            reader_walk_begin_time(reader, &merge->walks[i], ids[i], backward, time_ns);
        if (err != BK_OK) {
            return err;
        }
    }
    return BK_OK;
}

/* Learn when each walk's next record was received, without moving on. */
static enum bk_err learn_heads(struct reader *reader, struct reader_merge *merge, size_t *budget)
{
    struct journal_record record;
    for (unsigned i = 0; i < merge->count; i++) {
        if (merge->known[i] || merge->ended[i]) {
            continue;
        }
        struct reader_walk ahead = merge->walks[i];
        enum bk_err err = reader_next(reader, &ahead, budget, &record);
        if (err == BK_NOT_FOUND) {
            merge->ended[i] = true;
            continue;
        }
        if (err != BK_OK) {
            merge->walks[i] =
                err == BK_CORRUPT ? ahead : merge->walks[i]; /* the next call goes on behind it */
            return err;
        }
        merge->heads_ns[i] = record.entry.received_ns;
        merge->known[i] = true;
    }
    return BK_OK;
}

enum bk_err reader_merge_next(struct reader *reader, struct reader_merge *merge, size_t *budget,
                              struct journal_record *ret_record)
{
    enum bk_err err = learn_heads(reader, merge, budget);
    if (err != BK_OK) {
        return err;
    }
    unsigned best = READER_JOURNALS_MAX;
    for (unsigned i = 0; i < merge->count; i++) {
        bool better = best == READER_JOURNALS_MAX ||
                      (merge->backward ? merge->heads_ns[i] > merge->heads_ns[best]
                                       : merge->heads_ns[i] < merge->heads_ns[best]);
        if (merge->known[i] && better) {
            best = i;
        }
    }
    if (best == READER_JOURNALS_MAX) {
        /* A forward walk may be continued when more became durable. */
        memset(merge->ended, 0, sizeof merge->ended);
        return BK_NOT_FOUND;
    }
    err = reader_next(reader, &merge->walks[best], budget, ret_record);
    if (err == BK_OK) {
        merge->known[best] = false;
    }
    return err;
}
