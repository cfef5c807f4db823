/* writer.h - inside the writer: the queue of frames that journal.c, frames.c and commit.c share.
 *
 *     frames[head … sent)   in flight, at most two
 *     frames[sent … tail)   closed, waiting; the last one may still be filling
 *
 * Frames stand in the order of their records. A segment's opening frame stands in the same queue
 * and is submitted only when nothing is in flight, so that it can say exactly up to where what came
 * before is durable. Everything else follows from the queue's order.
 */
#ifndef BECKET_JOURNAL_WRITER_H
#define BECKET_JOURNAL_WRITER_H

#include "base/assert.h"
#include "base/counter.h"
#include "journal/journal.h"
#include "journal/segment.h"

#define FRAME_BYTES_MAX  JOURNAL_FRAME_BYTES
#define FRAME_BUFFERS    3U  /* two in flight and one filling */
#define FRAMES_MAX       16U /* power of two >= buffers + large ones + opening + closing */
#define SPARES_MAX       4U
#define HOLD_PAUSE_FIRST 16U /* what `pause_next` begins with, and its least */

_Static_assert((FRAMES_MAX & (FRAMES_MAX - 1)) == 0, "used as a mask");
_Static_assert(FRAME_BUFFERS + JOURNAL_LARGE_INFLIGHT + 2 <= FRAMES_MAX,
               "the queue holds all there can be");
_Static_assert(JOURNAL_TOGETHER_BYTES_MAX + sizeof(struct format_frame) <= FRAME_BYTES_MAX,
               "what belongs together fits in an empty frame");
_Static_assert(JOURNAL_SMALL_BYTES_MAX + 1024 < FRAME_BYTES_MAX,
               "a small record fits in an empty frame");

enum frame_kind { FRAME_SMALL, FRAME_LARGE, FRAME_OPENING, FRAME_CLOSING };

struct frame {
    struct ring_op op;
    struct journal *journal;
    struct segment *segment;
    uint8_t *at;
    enum frame_kind kind;
    enum format_opening_reason reason; /* opening and closing frames */
    int buffer;
    uint32_t bytes; /* used so far */
    uint32_t bytes_max;
    uint32_t record_count;
    uint32_t running_crc;
    uint32_t previous_crc; /* opening frames */
    uint64_t offset;
    uint64_t commit;
    uint64_t first_sequence;
    int64_t first_ns;
    int64_t last_ns;
    uint64_t submitted_ns;
    uint64_t lazy_ns; /* filling: no later than this … */
    uint32_t waited;  /* … or at once, for somebody waits for so many records in it */
    bool closed;
    bool beside; /* submitted while another was in flight */
    bool done;
    bool good;
};

/* See commit.c, hold_begin(). */
struct hold {
    uint64_t flush_ns; /* moving average */
    uint64_t until_ns; /* 0: nothing is held back */
    unsigned target;   /* … until so many records of the frame are waited for */
    unsigned misses;   /* times in a row that they did not come */
    unsigned pause;    /* so many commits are not held back … */
    unsigned pause_next;
};

/* See commit.c, overlap_note(). Moving averages of small frames. */
struct overlap {
    uint64_t alone_ns;    /* how long one takes with nothing beside it */
    uint64_t done_ns;     /* when the last frame was acknowledged */
    uint64_t hideable_ns; /* of a second one: how long the one ahead was still under way */
    uint64_t hidden_ns;   /* how much of that it was done sooner for it */
};

enum stop_state { RUNNING, STOPPING, CLOSING_SENT, STOPPED };

struct journal {
    struct ring *ring;
    struct catalog *catalog;
    journal_commit_fn *commit;
    void *context;
    journal_durable_fn *consume; /* NULL: nobody wants the records */
    void *consumer;

    /* Hot: the frame being filled. */
    struct frame *filling; /* NULL: none */
    uint64_t next_sequence;
    uint64_t pending_bytes;
    struct journal_stats stats;
    struct hold hold;
    struct overlap overlap;

    struct frame frames[FRAMES_MAX];
    uint32_t head;
    uint32_t sent;
    uint32_t tail;
    uint32_t large_count;

    uint8_t *buffers;
    uint32_t buffers_free;   /* bit per buffer */
    uint8_t *control_blocks; /* one block for the opening, one for the closing frame */
    bool opening_busy;

    struct segment *segment; /* new frames go here */
    struct segment *live;    /* what is in flight or durable last is here */
    uint64_t next_offset;    /* in `segment`, behind the last closed frame */
    struct segment *spares[SPARES_MAX];
    unsigned spare_count;
    unsigned handles_closing;

    uint64_t next_commit;
    uint64_t valid_number; /* the last durable frame */
    uint64_t valid_uuid_low;
    uint64_t valid_commit;
    uint64_t valid_end;
    uint32_t chain_crc; /* header CRC of the frame submitted last */

    enum bk_err fail_err; /* not BK_OK: a flush failed, waiting for what is still in flight */
    uint64_t backoff_ns;
    uint64_t retry_ns; /* no new segment before */

    enum stop_state stop;
    bool bye_sent;
    bool bye_done;
    struct catalog_hello hello;
    struct catalog_hello bye;

    uint16_t id;
    bool durable;
    _Atomic uint64_t durable_through;
    _Atomic uint64_t writing_since_ns;
    _Atomic uint64_t room_bytes;
    _Atomic uint64_t failing_until_ns; /* no segment is taken before; 0 = one may be */
    _Atomic bool failing_full;         /* the last failure: there was no space for an overwrite */
};

static inline struct frame *frame_at(struct journal *journal, uint32_t index)
{
    return &journal->frames[index & (FRAMES_MAX - 1)];
}

static inline unsigned inflight(const struct journal *journal)
{
    return journal->sent - journal->head;
}

/* After `head` or `sent` moved. */
static inline void note_writing(struct journal *journal)
{
    uint64_t since_ns = inflight(journal) ? frame_at(journal, journal->head)->submitted_ns : 0;
    atomic_store_explicit(&journal->writing_since_ns, since_ns, memory_order_relaxed);
}

static inline uint64_t frame_disk_bytes(const struct frame *frame)
{
    return format_round_block(frame->bytes);
}

/* ---- frames.c: what stands in the queue, and the segments it goes to */
/* The frame that is filling, if there is one, takes no more records. */
void close_filling(struct journal *journal);
/* A new one with room for a record of this size, in the next segment if it must be. */
enum bk_err begin_filling(struct journal *journal, uint64_t record_bytes) BK_MUST_CHECK;
/* Room for a frame of `bytes` in the current segment, or take the next one. */
enum bk_err ensure_room(struct journal *journal, uint64_t bytes) BK_MUST_CHECK;
/* At the tail, where the segment goes on. Nothing may be filling. */
struct frame *frame_push(struct journal *journal, enum frame_kind kind);
void push_opening(struct journal *journal, enum format_opening_reason reason,
                  uint32_t previous_crc);
void push_closing(struct journal *journal);
/* Give a segment back to the catalog, once its handle is closed. */
void segment_retire(struct journal *journal, struct segment *segment);

/* ---- journal.c */
/* What others want to know of it, once per turn. */
void note_room(struct journal *journal);

#endif
