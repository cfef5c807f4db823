/* segment.h - one segment file, as the catalog and its journal share it. For src/journal/ only.
 *
 * Ownership   The catalog's. A SPARE or LIVE one is lent to its journal by mail (`mail` travels
 *             both ways), which gives it back when it is full, failed or closed; until then only
 *             the journal touches `handle`.
 * Threads     What never changes after the file was made is read by both. What the journal
 *             publishes is atomic; each value is written only by the reactor while the segment is
 *             lent (segment_publish).
 */
#ifndef BECKET_JOURNAL_SEGMENT_H
#define BECKET_JOURNAL_SEGMENT_H

#include "base/list.h"
#include "journal/catalog.h"
#include "journal/format.h"

#include <stdatomic.h>

/* Sparse index: one entry for at least this many bytes of frames. */
#define SEGMENT_MARK_BYTES 65536U

struct segment_mark {
    uint64_t sequence; /* of the first record of the frame at `offset` */
    uint64_t offset;
    int64_t time_ns; /* when that record was received */
};

struct segment {
    struct ring_mail mail;
    struct list node; /* the catalog's, also while it is lent */
    struct catalog *catalog;
    void *journal;  /* where a spare goes (struct journal) */
    int file;       /* FILE_DIRECT; -1 = not open */
    int32_t handle; /* in the journal's ring; -1 = not attached */
    struct ring_op close_op;

    uint16_t journal_id;
    uint64_t number;
    uint64_t uuid[2];
    uint32_t seed;
    uint32_t block_crc; /* of block 0 */
    uint64_t bytes;
    int64_t created_ns;

    /* The journal's, published. */
    _Atomic bool taken;              /* frames go here, or will; a spare is one that is not taken */
    _Atomic uint64_t durable_bytes;  /* behind the last durable frame; 0 = not even an opening */
    _Atomic uint64_t first_sequence; /* 0 = no records yet */
    _Atomic uint64_t last_sequence;
    _Atomic int64_t first_ns;
    _Atomic int64_t last_ns;
    _Atomic uint32_t mark_count;
    uint32_t mark_max;
    struct segment_mark *marks;

    /* The journal's own. */
    uint64_t look_ns; /* whether the file is there, not again before */
    bool gone;        /* somebody removed it: nothing is acknowledged in it */

    /* The catalog's. */
    enum segment_state state;
    bool indexed;
    bool damaged;         /* does not read back as far as it should */
    uint64_t last_commit; /* of the last valid frame; sealed and abandoned ones */
    bool failed;          /* set by the journal before it gives it back: a flush failed, … */
    bool unattached;      /* … or there was no handle for a spare */
};

/* Where a journal goes on: made by recovery, taken by journal_open. */
struct journal_start {
    struct segment *segment; /* to go on in, or an unused one */
    uint64_t offset;         /* FORMAT_FRAME_AT: unused */
    uint64_t next_sequence;
    uint64_t next_commit;
    uint32_t previous_crc; /* of the last valid frame in `segment`, or of its block 0 */
    enum format_opening_reason reason;
    uint64_t valid_number; /* the last durable frame: its segment … */
    uint64_t valid_uuid_low;
    uint64_t valid_commit; /* … its commit number … */
    uint64_t valid_end;    /* … and the offset behind it */
};

static inline uint32_t segment_mark_max(uint64_t bytes)
{
    return (uint32_t)(bytes / SEGMENT_MARK_BYTES) + 2;
}

/* Note that a frame is durable. Reactor or recovery. The order is what readers rely on: who sees a
 * mark or a last sequence also sees at least that many durable bytes. */
static inline void segment_publish(struct segment *segment, uint64_t offset, uint64_t end,
                                   uint64_t first_sequence, uint64_t last_sequence,
                                   int64_t first_ns, int64_t last_ns)
{
    atomic_store_explicit(&segment->durable_bytes, end, memory_order_release);
    if (last_sequence < first_sequence) {
        return; /* no records */
    }
    uint32_t count = atomic_load_explicit(&segment->mark_count, memory_order_relaxed);
    bool far = count == 0 || offset - segment->marks[count - 1].offset >= SEGMENT_MARK_BYTES;
    if (far && count < segment->mark_max) {
        segment->marks[count] = (struct segment_mark){first_sequence, offset, first_ns};
        atomic_store_explicit(&segment->mark_count, count + 1, memory_order_release);
    }
    if (count == 0) {
        atomic_store_explicit(&segment->first_ns, first_ns, memory_order_relaxed);
        atomic_store_explicit(&segment->first_sequence, first_sequence, memory_order_relaxed);
    }
    atomic_store_explicit(&segment->last_ns, last_ns, memory_order_relaxed);
    atomic_store_explicit(&segment->last_sequence, last_sequence, memory_order_release);
}

/* ---- catalog.c, for the writer */
/* Any thread, before the store thread runs: where journal `id` goes on. */
const struct journal_start *catalog_journal_start(const struct catalog *catalog, uint16_t id);
struct ring *catalog_ring(const struct catalog *catalog);
/* Any thread: why there is no spare. BK_BUSY: one is being made. */
enum bk_err catalog_spare_err(const struct catalog *catalog, uint16_t id);
/* Largest record a segment of full size takes. */
uint64_t catalog_segment_bytes(const struct catalog *catalog);

/* Mail from a journal to the catalog. */
struct catalog_hello {
    struct ring_mail mail;
    struct catalog *catalog;
    void *journal;
    struct ring *ring;
    uint16_t id;
    bool bye; /* the journal is closing: send no more spares */
};
void catalog_hello_run(struct ring_mail *mail); /* on the store thread */
void catalog_retired_run(
    struct ring_mail *mail); /* on the store thread: mail of a segment that is given back */
/* ---- the writer, for catalog.c: on the reactor */
void journal_spare_run(struct ring_mail *mail); /* mail of a segment */
void journal_bye_run(
    struct ring_mail *mail); /* the catalog's answer to bye: no spare is under way any more */

#endif
