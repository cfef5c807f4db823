/* journal.c - the writer: frames, group commit, acknowledgement in order, rolling and failure.
 *
 * Frames stand in one queue in the order of their records:
 *
 *     frames[head … sent)   in flight, at most two
 *     frames[sent … tail)   closed, waiting; the last one may still be filling
 *
 * A segment's opening frame stands in the same queue and is submitted only when nothing is in
 * flight, so that it can say exactly up to where what came before is durable. Everything else
 * follows from the queue's order.
 */
#include "journal/journal.h"

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/histogram.h"
#include "journal/segment.h"

#include <stdlib.h>

#define FRAME_BYTES_MAX JOURNAL_FRAME_BYTES
#define FRAME_BUFFERS   3U  /* two in flight and one filling */
#define FRAMES_MAX      16U /* power of two >= buffers + large ones + opening + closing */
#define INFLIGHT_MAX    2U
/* A second commit hides the gap between two; a small one only costs a flush. That is nothing where
 * traffic is so thin that the one ahead has this few records: there it saves half of the wait. */
#define SECOND_COMMIT_BYTES 65536U
#define SECOND_AHEAD_MAX    2U
/* How long a commit is held back: a part of a flush. */
#define HOLD_PART         2U
#define HOLD_NS_MAX       1000000ULL
#define HOLD_ANSWERED_MIN 8U      /* few are not worth waiting for, … */
#define HOLD_ANSWERED_MAX 96U     /* … many come in two halves and keep disk and CPU busy, … */
#define HOLD_BYTES_MAX    131072U /* … and a large commit needs no more */
#define HOLD_MISSES_MAX   3U
#define HOLD_PAUSE_FIRST  16U
#define HOLD_PAUSE_LAST   4096U
#define LAZY_FLUSHES      8U
#define SPARES_MAX        4U
#define COMMIT_UNIT_SHIFT 14U /* 16.4 us */
#define BACKOFF_FIRST_NS  1000000000ULL
#define BACKOFF_LAST_NS   32000000000ULL

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
    bool done;
    bool good;
};

/* See hold_begin(). */
struct hold {
    uint64_t flush_ns; /* moving average */
    uint64_t until_ns; /* 0: nothing is held back */
    unsigned target;   /* … until so many records of the frame are waited for */
    unsigned misses;   /* times in a row that they did not come */
    unsigned pause;    /* so many commits are not held back … */
    unsigned pause_next;
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
};

static struct frame *frame_at(struct journal *journal, uint32_t index)
{
    return &journal->frames[index & (FRAMES_MAX - 1)];
}

static unsigned inflight(const struct journal *journal)
{
    return journal->sent - journal->head;
}

/* After `head` or `sent` moved. */
static void note_writing(struct journal *journal)
{
    uint64_t since_ns = inflight(journal) ? frame_at(journal, journal->head)->submitted_ns : 0;
    atomic_store_explicit(&journal->writing_since_ns, since_ns, memory_order_relaxed);
}

/* What others want to know of it, once per turn. */
static void note_room(struct journal *journal)
{
    uint64_t bytes = journal->segment ? journal->segment->bytes - journal->next_offset : 0;
    for (unsigned i = 0; i < journal->spare_count; i++) {
        bytes += journal->spares[i]->bytes;
    }
    atomic_store_explicit(&journal->room_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&journal->failing_until_ns, journal->segment ? 0 : journal->retry_ns,
                          memory_order_relaxed);
}

static uint64_t frame_disk_bytes(const struct frame *frame)
{
    return format_round_block(frame->bytes);
}

/* ---- segments */

static void segment_closed(struct ring_op *op, const struct ring_result *result)
{
    (void)result; /* the descriptor is gone either way */
    struct segment *segment = bk_container_of(op, struct segment, close_op);
    struct journal *journal = segment->journal;
    bk_assert(journal->handles_closing > 0);
    journal->handles_closing--;
    segment->handle = -1;
    segment->mail.run = catalog_retired_run;
    ring_post(journal->ring, catalog_ring(journal->catalog), &segment->mail);
}

/* Give a segment back to the catalog, once its handle is closed. */
static void segment_retire(struct journal *journal, struct segment *segment)
{
    bk_assert(segment->handle >= 0);
    journal->handles_closing++;
    ring_close_handle(journal->ring, &segment->close_op, segment->handle, segment_closed);
}

void journal_spare_run(struct ring_mail *mail)
{
    struct segment *segment = bk_container_of(mail, struct segment, mail);
    struct journal *journal = segment->journal;
    bool refused = journal->spare_count == SPARES_MAX || journal->stop == STOPPED ||
                   ring_file_attach(journal->ring, segment->file, &segment->handle) != BK_OK;
    if (refused) {
        segment->handle = -1;
        segment->mail.run = catalog_retired_run;
        ring_post(journal->ring, catalog_ring(journal->catalog), &segment->mail);
        return;
    }
    journal->spares[journal->spare_count++] = segment;
}

static struct frame *frame_push(struct journal *journal, enum frame_kind kind)
{
    bk_assert(journal->tail - journal->head < FRAMES_MAX);
    bk_assert(!journal->filling);
    struct frame *frame = frame_at(journal, journal->tail++);
    bk_assert(!ring_op_busy(&frame->op));
    struct segment *segment = journal->segment;
    *frame = (struct frame){.journal = journal,
                            .segment = segment,
                            .kind = kind,
                            .buffer = -1,
                            .bytes = sizeof(struct format_frame),
                            .running_crc = segment->seed,
                            .offset = journal->next_offset,
                            .first_sequence = journal->next_sequence};
    return frame;
}

static void push_opening(struct journal *journal, enum format_opening_reason reason,
                         uint32_t previous_crc)
{
    struct frame *frame = frame_push(journal, FRAME_OPENING);
    frame->at = journal->control_blocks;
    frame->bytes = sizeof(struct format_frame) + sizeof(struct format_opening);
    frame->reason = reason;
    frame->previous_crc = previous_crc;
    frame->closed = true;
    journal->opening_busy = true;
    journal->next_offset += FORMAT_BLOCK_BYTES;
}

static void push_closing(struct journal *journal)
{
    struct frame *frame = frame_push(journal, FRAME_CLOSING);
    frame->at = journal->control_blocks + FORMAT_BLOCK_BYTES;
    frame->bytes = sizeof(struct format_frame) + sizeof(struct format_opening);
    frame->reason = FORMAT_CLOSED;
    frame->closed = true;
    journal->next_offset += FORMAT_BLOCK_BYTES;
}

/* Go on in the next spare. Its opening frame stands in the queue behind what is still to be
 * written. */
static enum bk_err segment_take(struct journal *journal)
{
    if (journal->opening_busy) {
        return BK_BUSY;
    }
    if (!journal->segment && journal->retry_ns > ring_now_ns(journal->ring)) {
        return BK_IO;
    }
    if (journal->spare_count == 0) {
        return catalog_spare_err(journal->catalog, journal->id);
    }
    bool failed = journal->segment == NULL;
    journal->segment = journal->spares[0];
    journal->spare_count--;
    memmove(&journal->spares[0], &journal->spares[1],
            journal->spare_count * sizeof journal->spares[0]);
    atomic_store_explicit(&journal->segment->taken, true, memory_order_relaxed);
    journal->next_offset = FORMAT_FRAME_AT;
    counter_add(&journal->stats.rolls, 1);
    push_opening(journal, failed ? FORMAT_FAILED : FORMAT_ROLLED, journal->segment->block_crc);
    return BK_OK;
}

/* ---- frames */

static void close_filling(struct journal *journal)
{
    struct frame *frame = journal->filling;
    if (frame) {
        bk_assert(frame->record_count > 0);
        frame->closed = true;
        journal->next_offset += frame_disk_bytes(frame);
        journal->filling = NULL;
    }
}

/* Room for a frame of `bytes` in the current segment, or take the next one. */
static enum bk_err ensure_room(struct journal *journal, uint64_t bytes)
{
    uint64_t wanted = format_round_block(bytes);
    if (journal->segment && journal->segment->bytes - journal->next_offset >= wanted) {
        return BK_OK;
    }
    enum bk_err err = segment_take(journal);
    if (err != BK_OK) {
        return err;
    }
    /* The first segments of a journal are small; the one after this is larger. */
    return journal->segment->bytes - journal->next_offset >= wanted ? BK_OK : BK_BUSY;
}

static __attribute__((noinline)) enum bk_err begin_filling(struct journal *journal,
                                                           uint64_t record_bytes)
{
    if (journal->stop != RUNNING) {
        return BK_CLOSED;
    }
    if (journal->fail_err != BK_OK) {
        return journal->fail_err;
    }
    close_filling(journal);
    if (journal->buffers_free == 0) {
        return BK_BUSY;
    }
    enum bk_err err = ensure_room(journal, sizeof(struct format_frame) + record_bytes);
    if (err != BK_OK) {
        return err;
    }
    uint64_t room = journal->segment->bytes - journal->next_offset;
    struct frame *frame = frame_push(journal, FRAME_SMALL);
    frame->buffer = __builtin_ctz(journal->buffers_free);
    journal->buffers_free &= ~(1U << frame->buffer);
    frame->at = journal->buffers + (size_t)frame->buffer * FRAME_BYTES_MAX;
    frame->bytes_max = room < FRAME_BYTES_MAX ? (uint32_t)room : FRAME_BYTES_MAX;
    journal->filling = frame;
    return BK_OK;
}

static void redact(uint8_t *message, size_t bytes, const struct journal_redaction *redactions,
                   unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        bk_assert((size_t)redactions[i].at + redactions[i].bytes <= bytes);
        memset(message + redactions[i].at, '*', redactions[i].bytes);
    }
}

/* The record at the end of `frame` has its message; finish it. */
static uint64_t finish_record(struct journal *journal, struct frame *frame,
                              const struct journal_entry *entry, struct format_record *record)
{
    uint64_t sequence = journal->next_sequence++;
    uint64_t bytes = format_record_bytes((uint64_t)entry->head_bytes + entry->body_bytes);
    uint32_t crc = format_record_seal(record, entry, sequence, frame->segment->seed);
    frame->running_crc = crc32c(frame->running_crc, &crc, sizeof crc);
    if (frame->record_count++ == 0) {
        frame->first_ns = entry->received_ns;
    }
    frame->last_ns = entry->received_ns;
    frame->bytes += (uint32_t)bytes;
    counter_add(&journal->pending_bytes, bytes);
    return sequence;
}

/* The record goes to the end of the frame that is returned in *ret_frame. */
static inline __attribute__((always_inline)) enum bk_err append(
    struct journal *journal, const struct journal_entry *entry, const uint8_t *message,
    const struct journal_redaction *redactions, unsigned redaction_count, uint64_t *ret_sequence,
    struct frame **ret_frame)
{
    size_t message_bytes = (size_t)entry->head_bytes + entry->body_bytes;
    if (message_bytes > JOURNAL_SMALL_BYTES_MAX) {
        return BK_TOO_LARGE;
    }
    size_t bytes = (size_t)format_record_bytes(message_bytes);
    struct frame *frame = journal->filling;
    if (!frame || bytes > frame->bytes_max - frame->bytes) { /* NULL also when stopping or failed */
        enum bk_err err = begin_filling(journal, bytes);
        if (err != BK_OK) {
            return err;
        }
        frame = journal->filling;
    }
    uint8_t *at = frame->at + frame->bytes;
    memset(at + bytes - FORMAT_RECORD_ALIGN, 0,
           FORMAT_RECORD_ALIGN); /* the padding; the copy covers the rest */
    memcpy(at + sizeof(struct format_record), message, message_bytes);
    redact(at + sizeof(struct format_record), message_bytes, redactions, redaction_count);
    *ret_sequence = finish_record(journal, frame, entry, (struct format_record *)(void *)at);
    *ret_frame = frame;
    return BK_OK;
}

enum bk_err journal_append(struct journal *journal, const struct journal_entry *entry,
                           const uint8_t *message, const struct journal_redaction *redactions,
                           unsigned redaction_count, uint64_t *ret_sequence)
{
    struct frame *frame = NULL;
    enum bk_err err =
        append(journal, entry, message, redactions, redaction_count, ret_sequence, &frame);
    if (err == BK_OK) {
        frame->waited++;
    }
    return err;
}

/* The flush of what nobody waits for takes an eighth of the disk's time at most. */
static uint64_t lazy_wait_ns(const struct journal *journal)
{
    uint64_t ns = journal->hold.flush_ns * LAZY_FLUSHES;
    return ns < JOURNAL_LAZY_NS       ? JOURNAL_LAZY_NS
           : ns < JOURNAL_LAZY_NS_MAX ? ns
                                      : JOURNAL_LAZY_NS_MAX;
}

enum bk_err journal_append_lazy(struct journal *journal, const struct journal_entry *entry,
                                const uint8_t *message, uint64_t *ret_sequence)
{
    struct frame *frame = NULL;
    enum bk_err err = append(journal, entry, message, NULL, 0, ret_sequence, &frame);
    if (err == BK_OK && frame->lazy_ns == 0) {
        frame->lazy_ns = ring_now_ns(journal->ring) + lazy_wait_ns(journal);
    }
    return err;
}

uint64_t journal_record_bytes(uint64_t message_bytes)
{
    return format_record_bytes(message_bytes);
}

enum bk_err journal_reserve(struct journal *journal, uint64_t bytes)
{
    struct frame *frame = journal->filling;
    if (bytes > JOURNAL_TOGETHER_BYTES_MAX) {
        return BK_TOO_LARGE;
    }
    return frame && bytes <= frame->bytes_max - frame->bytes ? BK_OK
                                                             : begin_filling(journal, bytes);
}

enum bk_err journal_append_large(struct journal *journal, const struct journal_entry *entry,
                                 uint8_t *buffer, size_t buffer_bytes, uint64_t *ret_sequence)
{
    uint64_t used = sizeof(struct format_frame) +
                    format_record_bytes((uint64_t)entry->head_bytes + entry->body_bytes);
    bk_assert((uintptr_t)buffer % FORMAT_BLOCK_BYTES == 0);
    bk_assert(buffer_bytes >= format_round_block(used));
    /* Block 0 and the opening take one block each. */
    if (used > FORMAT_FRAME_BYTES_MAX ||
        format_round_block(used) >
            catalog_segment_bytes(journal->catalog) - 2 * FORMAT_BLOCK_BYTES) {
        return BK_TOO_LARGE;
    }
    if (journal->stop != RUNNING) {
        return BK_CLOSED;
    }
    if (journal->fail_err != BK_OK) {
        return journal->fail_err;
    }
    if (journal->large_count == JOURNAL_LARGE_INFLIGHT) {
        return BK_BUSY;
    }
    close_filling(journal);
    enum bk_err err = ensure_room(journal, used);
    if (err != BK_OK) {
        return err;
    }
    struct frame *frame = frame_push(journal, FRAME_LARGE);
    frame->at = buffer;
    frame->waited = 1;
    journal->large_count++;
    uint64_t message_end =
        JOURNAL_LARGE_MESSAGE_AT + (uint64_t)entry->head_bytes + entry->body_bytes;
    memset(buffer + message_end, 0, (size_t)(format_round_block(used) - message_end));
    *ret_sequence =
        finish_record(journal, frame, entry,
                      (struct format_record *)(void *)(buffer + sizeof(struct format_frame)));
    frame->closed = true;
    journal->next_offset += frame_disk_bytes(frame);
    return BK_OK;
}

/* ---- holding a commit back
 *
 * Those who get their answers now often send again at once. Without waiting for them, one half of
 * the senders would be in this commit and the other half in the next, for ever; a commit that waits
 * for a part of a flush takes all of them along: fewer flushes, fewer wake-ups. When they do not
 * come, no commit waits for a while, then for longer and longer. */

static void hold_begin(struct journal *journal, unsigned answered)
{
    struct hold *hold = &journal->hold;
    if (answered < HOLD_ANSWERED_MIN || answered > HOLD_ANSWERED_MAX) {
        return;
    }
    if (hold->pause > 0) {
        hold->pause--;
        return;
    }
    uint64_t ns = hold->flush_ns / HOLD_PART;
    unsigned filled = journal->filling ? journal->filling->waited : 0;
    hold->until_ns = ring_now_ns(journal->ring) + (ns < HOLD_NS_MAX ? ns : HOLD_NS_MAX);
    hold->target = filled + answered;
}

static void hold_end(struct hold *hold, unsigned records, uint32_t bytes)
{
    hold->until_ns = 0;
    if (records >= hold->target - hold->target / 8) {
        /* Once is chance: where requests come at their own pace, some come in a bunch. */
        hold->misses = 0;
        hold->pause_next =
            hold->pause_next / 2 > HOLD_PAUSE_FIRST ? hold->pause_next / 2 : HOLD_PAUSE_FIRST;
    } else if (bytes < HOLD_BYTES_MAX && ++hold->misses >= HOLD_MISSES_MAX) {
        hold->misses = 0;
        hold->pause = hold->pause_next;
        hold->pause_next = hold->pause * 2 < HOLD_PAUSE_LAST ? hold->pause * 2 : HOLD_PAUSE_LAST;
    }
}

static bool is_held(const struct journal *journal, const struct frame *frame)
{
    const struct hold *hold = &journal->hold;
    return frame == journal->filling && hold->until_ns > ring_now_ns(journal->ring) &&
           frame->waited < hold->target && frame->bytes < HOLD_BYTES_MAX &&
           journal->stop == RUNNING;
}

unsigned journal_held(const struct journal *journal, uint64_t *ret_ns)
{
    const struct frame *frame = journal->filling;
    const struct hold *hold = &journal->hold;
    uint64_t now_ns = ring_now_ns(journal->ring);
    if (inflight(journal) > 0 || hold->until_ns <= now_ns || journal->stop != RUNNING ||
        (frame && !is_held(journal, frame))) {
        return 0;
    }
    *ret_ns = hold->until_ns - now_ns;
    return hold->target - (frame ? frame->waited : 0);
}

/* ---- completion */

static void commit_stats(struct journal *journal, const struct frame *frame)
{
    struct journal_stats *stats = &journal->stats;
    uint64_t took_ns = ring_now_ns(journal->ring) - frame->submitted_ns;
    struct hold *hold = &journal->hold;
    hold->flush_ns = hold->flush_ns ? hold->flush_ns - hold->flush_ns / 8 + took_ns / 8 : took_ns;
    counter_add(&stats->frames, 1);
    counter_add(&stats->records, frame->record_count);
    counter_add(&stats->bytes, frame_disk_bytes(frame));
    counter_add(&stats->commit_ns_sum, took_ns);
    histogram_record(stats->commit_ns_buckets, bk_array_length(stats->commit_ns_buckets),
                     COMMIT_UNIT_SHIFT, took_ns);
    if (frame->record_count > 0) {
        histogram_record(stats->batch_records_buckets,
                         bk_array_length(stats->batch_records_buckets), 0, frame->record_count);
    }
}

/* The frame no longer holds memory of anybody. */
static void frame_release(struct journal *journal, struct frame *frame)
{
    switch (frame->kind) {
    case FRAME_SMALL:
        journal->buffers_free |= 1U << frame->buffer;
        break;
    case FRAME_LARGE:
        bk_assert(journal->large_count > 0);
        journal->large_count--;
        break;
    case FRAME_OPENING:
        journal->opening_busy = false;
        break;
    case FRAME_CLOSING:
        break;
    }
}

/* What became durable goes to who wants it while it still lies in the frame. */
static void frame_consume(struct journal *journal, const struct frame *frame)
{
    struct format_walk walk;
    const struct format_record *record = NULL;
    struct journal_entry entry;
    format_walk_begin(&walk, (const struct format_frame *)(const void *)frame->at, frame->bytes,
                      frame->segment->seed);
    while (format_walk_next(&walk, false, &record) == BK_OK) {
        if (record->type == JOURNAL_ACCEPTED) {
            format_record_entry(record, &entry);
            journal->consume(journal->consumer, record->sequence, &entry,
                             (const uint8_t *)(record + 1));
        }
    }
}

static void frame_acknowledge(struct journal *journal, struct frame *frame)
{
    struct segment *segment = frame->segment;
    bk_assert(segment == journal->live);
    uint64_t end = frame->offset + frame_disk_bytes(frame);
    uint64_t last_sequence = frame->first_sequence + frame->record_count - 1;
    journal->valid_number = segment->number;
    journal->valid_uuid_low = segment->uuid[0];
    journal->valid_commit = frame->commit;
    journal->valid_end = end;
    journal->backoff_ns = 0;
    segment_publish(segment, frame->offset, end, frame->first_sequence, last_sequence,
                    frame->first_ns, frame->last_ns);
    if (frame->record_count > 0) {
        counter_set(&journal->pending_bytes,
                    journal->pending_bytes - (frame->bytes - sizeof(struct format_frame)));
        atomic_store_explicit(&journal->durable_through, last_sequence, memory_order_release);
        if (journal->consume) {
            frame_consume(journal, frame);
        }
    }
    if (frame->kind == FRAME_CLOSING) {
        journal->stop = STOPPED;
    }
    commit_stats(journal, frame);
    frame_release(journal, frame);
}

/* Nothing is in flight any more after a failure: all that was appended is lost, the segment is left
 * for good. */
static void fail_pending(struct journal *journal)
{
    enum bk_err err = journal->fail_err;
    uint64_t failed_through = journal->next_sequence - 1;
    bk_assert(inflight(journal) == 0 || frame_at(journal, journal->head)->done);
    for (uint32_t i = journal->head; i != journal->tail; i++) {
        frame_release(journal, frame_at(journal, i));
    }
    journal->head = journal->sent = journal->tail;
    note_writing(journal);
    journal->filling = NULL;
    counter_set(&journal->pending_bytes, 0);
    if (journal->segment &&
        journal->segment != journal->live) { /* its opening never left the queue */
        bk_assert(journal->spare_count < SPARES_MAX);
        memmove(&journal->spares[1], &journal->spares[0],
                journal->spare_count * sizeof journal->spares[0]);
        journal->spares[0] = journal->segment;
        journal->spare_count++;
        atomic_store_explicit(&journal->segment->taken, false, memory_order_relaxed);
    }
    journal->live->failed = true;
    segment_retire(journal, journal->live);
    journal->live = NULL;
    journal->segment = NULL;
    counter_add(&journal->stats.failures, 1);
    /* The first failure goes on at once; when that fails too, wait longer and longer: each try
     * costs a spare. */
    journal->retry_ns = journal->backoff_ns ? ring_now_ns(journal->ring) + journal->backoff_ns : 0;
    uint64_t longer = journal->backoff_ns ? journal->backoff_ns * 2 : BACKOFF_FIRST_NS;
    journal->backoff_ns = longer < BACKOFF_LAST_NS ? longer : BACKOFF_LAST_NS;
    journal->fail_err = BK_OK;
    if (journal->stop == CLOSING_SENT) {
        journal->stop = STOPPED;
    }
    journal->commit(journal->context, journal_durable_through(journal), failed_through, err);
}

static void submit_waiting(struct journal *journal); /* below: what it submits ends here */

static void frame_written(struct ring_op *op, const struct ring_result *result)
{
    struct frame *frame = bk_container_of(op, struct frame, op);
    struct journal *journal = frame->journal;
    bk_assert(!frame->done);
    frame->done = true;
    frame->good = result->value >= 0 && (uint64_t)result->value == frame_disk_bytes(frame);
    if (!frame->good && journal->fail_err == BK_OK) {
        journal->fail_err = result->value == -(int32_t)BK_NO_SPACE ? BK_NO_SPACE : BK_IO;
        close_filling(journal); /* no appends until the failure is dealt with */
    }
    uint64_t before = journal_durable_through(journal);
    unsigned answered = 0;
    while (journal->head != journal->sent && frame_at(journal, journal->head)->good) {
        answered += frame_at(journal, journal->head)->waited;
        frame_acknowledge(journal, frame_at(journal, journal->head));
        journal->head++;
    }
    note_writing(journal);
    uint64_t through = journal_durable_through(journal);
    if (through != before) {
        if (inflight(journal) == 0) {
            hold_begin(journal, answered);
        }
        submit_waiting(journal); /* the disk works while these get their answers */
        journal->commit(journal->context, through, through, BK_OK);
    }
    if (journal->fail_err != BK_OK) {
        for (uint32_t i = journal->head; i != journal->sent; i++) {
            if (!frame_at(journal, i)->done) {
                return; /* its memory is still being read */
            }
        }
        fail_pending(journal);
    }
}

/* ---- submission */

static void fill_opening(struct journal *journal, struct frame *frame)
{
    struct format_opening *opening =
        (struct format_opening *)(void *)(frame->at + sizeof(struct format_frame));
    memset(frame->at, 0, FORMAT_BLOCK_BYTES);
    opening->reason = frame->reason;
    opening->previous_number = journal->valid_number;
    opening->previous_uuid_low = journal->valid_uuid_low;
    opening->previous_commit = journal->valid_commit;
    opening->previous_end = journal->valid_end;
    opening->created_ns = ring_wall_ns(journal->ring);
    ring_entropy(opening->nonce, sizeof opening->nonce);
    frame->running_crc = crc32c(frame->segment->seed, opening, sizeof *opening);
}

static void submit(struct journal *journal, struct frame *frame)
{
    struct segment *segment = frame->segment;
    uint64_t disk_bytes = frame_disk_bytes(frame);
    if (frame->kind == FRAME_OPENING) {
        bk_assert(inflight(journal) == 0);
        if (journal->live && journal->live != segment) {
            segment_retire(journal, journal->live);
        }
        journal->live = segment;
        journal->chain_crc = frame->previous_crc;
    }
    if (frame->kind == FRAME_OPENING || frame->kind == FRAME_CLOSING) {
        fill_opening(journal, frame);
    } else {
        memset(frame->at + frame->bytes, 0, (size_t)(disk_bytes - frame->bytes));
    }
    bk_assert(segment == journal->live);
    bk_assert(frame->offset + disk_bytes <= segment->bytes);
    frame->commit = journal->next_commit++;
    struct format_frame *header = (struct format_frame *)(void *)frame->at;
    *header = (struct format_frame){.magic = FORMAT_FRAME_MAGIC,
                                    .flags = frame->kind == FRAME_OPENING   ? FORMAT_OPENING
                                             : frame->kind == FRAME_CLOSING ? FORMAT_CLOSING
                                                                            : 0,
                                    .uuid_low = segment->uuid[0],
                                    .commit = frame->commit,
                                    .durable_commit = journal->valid_commit,
                                    .first_sequence = frame->first_sequence,
                                    .bytes = frame->bytes,
                                    .record_count = frame->record_count,
                                    .body_crc = frame->running_crc,
                                    .previous_crc = journal->chain_crc};
    journal->chain_crc = format_frame_seal(header, segment->seed);
    frame->submitted_ns = ring_now_ns(journal->ring);
    journal->sent++;
    note_writing(journal);
    ring_write(journal->ring, &frame->op, segment->handle, frame->at, (size_t)disk_bytes,
               frame->offset, frame->buffer, journal->durable, frame_written);
}

/* Only records that nobody waits for, and not for long. */
static bool may_wait(const struct journal *journal, const struct frame *frame)
{
    return frame == journal->filling && frame->waited == 0 && journal->stop == RUNNING &&
           frame->bytes < SECOND_COMMIT_BYTES && ring_now_ns(journal->ring) < frame->lazy_ns;
}

/* May the next frame start now? */
static bool may_submit(struct journal *journal, const struct frame *frame)
{
    unsigned busy = inflight(journal);
    if (may_wait(journal, frame)) {
        return false;
    }
    if (busy == 0) {
        if (is_held(journal, frame)) {
            return false;
        }
        if (journal->hold.until_ns != 0) {
            hold_end(&journal->hold, frame->waited, frame->bytes);
        }
        return true;
    }
    if (busy == INFLIGHT_MAX || frame->kind == FRAME_OPENING || frame->kind == FRAME_CLOSING) {
        return false;
    }
    const struct frame *ahead = frame_at(journal, journal->head);
    bool is_thin = ahead->kind == FRAME_OPENING ||
                   (ahead->kind == FRAME_SMALL && ahead->waited <= SECOND_AHEAD_MAX);
    return frame->closed || frame->bytes >= SECOND_COMMIT_BYTES || is_thin;
}

static void submit_waiting(struct journal *journal)
{
    while (journal->sent != journal->tail && journal->fail_err == BK_OK) {
        struct frame *frame = frame_at(journal, journal->sent);
        if (!may_submit(journal, frame)) {
            break;
        }
        if (frame == journal->filling) {
            close_filling(journal);
        }
        submit(journal, frame);
    }
}

/* After journal_stop: closing frame, then everything goes back to the catalog. */
static void stop_turn(struct journal *journal)
{
    if (!journal->bye_sent) {
        journal->bye_sent = true;
        journal->bye = (struct catalog_hello){.mail.run = catalog_hello_run,
                                              .catalog = journal->catalog,
                                              .journal = journal,
                                              .ring = journal->ring,
                                              .id = journal->id,
                                              .bye = true};
        ring_post(journal->ring, catalog_ring(journal->catalog), &journal->bye.mail);
    }
    if (journal->head != journal->tail) {
        return;
    }
    if (journal->stop == STOPPING) {
        bool room = journal->segment &&
                    journal->segment->bytes - journal->next_offset >= FORMAT_BLOCK_BYTES;
        journal->stop = room ? CLOSING_SENT : STOPPED;
        if (room) {
            push_closing(journal);
            return;
        }
    }
    if (journal->stop == STOPPED) {
        if (journal->live) {
            segment_retire(journal, journal->live);
            journal->live = NULL;
            journal->segment = NULL;
        }
        while (journal->spare_count > 0) {
            segment_retire(journal, journal->spares[--journal->spare_count]);
        }
    }
}

void journal_turn(struct journal *journal)
{
    if (journal->stop != RUNNING) {
        stop_turn(journal);
    }
    submit_waiting(journal);
    note_room(journal);
}

uint64_t journal_next_ns(const struct journal *journal)
{
    const struct frame *frame = journal->filling;
    if (!frame || inflight(journal) > 0 || journal->fail_err != BK_OK) {
        return UINT64_MAX;
    }
    if (frame->waited == 0) {
        return frame->lazy_ns;
    }
    return is_held(journal, frame) ? journal->hold.until_ns : UINT64_MAX;
}

uint64_t journal_filling_from(const struct journal *journal)
{
    return journal->filling ? journal->filling->first_sequence : journal->next_sequence;
}

bool journal_writing(const struct journal *journal)
{
    return inflight(journal) > 0;
}

void journal_consume(struct journal *journal, journal_durable_fn *consume, void *context)
{
    journal->consume = consume;
    journal->consumer = context;
}

/* ---- views */

size_t journal_pending_bytes(const struct journal *journal)
{
    return (size_t)counter_read(&journal->pending_bytes);
}

const struct journal_stats *journal_stats(const struct journal *journal)
{
    return &journal->stats;
}

uint16_t journal_id(const struct journal *journal)
{
    return journal->id;
}

uint64_t journal_durable_through(const struct journal *journal)
{
    return atomic_load_explicit(&journal->durable_through, memory_order_acquire);
}

uint64_t journal_room_bytes(const struct journal *journal)
{
    return atomic_load_explicit(&journal->room_bytes, memory_order_relaxed);
}

enum bk_err journal_refuses(const struct journal *journal, uint64_t now_ns)
{
    if (atomic_load_explicit(&journal->failing_until_ns, memory_order_relaxed) > now_ns) {
        return BK_IO;
    }
    if (journal_room_bytes(journal) >= JOURNAL_ROOM_LEAST) {
        return BK_OK;
    }
    enum bk_err err = catalog_spare_err(journal->catalog, journal->id);
    return err == BK_BUSY ? BK_OK : err;
}

uint64_t journal_writing_since_ns(const struct journal *journal)
{
    return atomic_load_explicit(&journal->writing_since_ns, memory_order_relaxed);
}

bool journal_idle(const struct journal *journal)
{
    if (journal->head != journal->tail) {
        return false;
    }
    if (journal->stop == RUNNING) {
        return true;
    }
    return journal->stop == STOPPED && !journal->live && journal->spare_count == 0 &&
           journal->handles_closing == 0 && journal->bye_done;
}

/* ---- life cycle */

static enum bk_err take_memory(struct journal *journal)
{
    enum bk_err err =
        ring_write_buffers(journal->ring, FRAME_BUFFERS, FRAME_BYTES_MAX, &journal->buffers);
    if (err != BK_OK) {
        return err;
    }
    journal->buffers_free = (1U << FRAME_BUFFERS) - 1;
    journal->control_blocks = aligned_alloc(FORMAT_BLOCK_BYTES, (size_t)2 * FORMAT_BLOCK_BYTES);
    return journal->control_blocks ? BK_OK : BK_NO_MEMORY;
}

static void say_hello(struct journal *journal)
{
    journal->hello = (struct catalog_hello){.mail.run = catalog_hello_run,
                                            .catalog = journal->catalog,
                                            .journal = journal,
                                            .ring = journal->ring,
                                            .id = journal->id};
    ring_post(journal->ring, catalog_ring(journal->catalog), &journal->hello.mail);
}

enum bk_err journal_open(const struct journal_config *config, struct journal **ret_journal)
{
    bk_assert(config->ring && config->catalog && config->commit);
    const struct journal_start *start = catalog_journal_start(config->catalog, config->id);
    struct journal *journal = calloc(1, sizeof *journal);
    if (!journal) {
        return BK_NO_MEMORY;
    }
    journal->ring = config->ring;
    journal->catalog = config->catalog;
    journal->commit = config->commit;
    journal->context = config->context;
    journal->id = config->id;
    journal->durable = config->durable;
    journal->hold.pause_next = HOLD_PAUSE_FIRST;
    enum bk_err err = take_memory(journal);
    if (err == BK_OK) {
        err = ring_file_attach(config->ring, start->segment->file, &start->segment->handle);
    }
    if (err != BK_OK) {
        free(journal->control_blocks);
        free(journal);
        return err;
    }
    journal->segment = start->segment;
    journal->segment->journal = journal;
    journal->live = journal->segment;
    journal->next_offset = start->offset;
    journal->next_sequence = start->next_sequence;
    journal->next_commit = start->next_commit;
    journal->valid_number = start->valid_number;
    journal->valid_uuid_low = start->valid_uuid_low;
    journal->valid_commit = start->valid_commit;
    journal->valid_end = start->valid_end;
    atomic_init(&journal->durable_through, start->next_sequence - 1);
    push_opening(journal, start->reason, start->previous_crc);
    note_room(journal);
    say_hello(journal);
    *ret_journal = journal;
    return BK_OK;
}

void journal_bye_run(struct ring_mail *mail)
{
    struct catalog_hello *bye = bk_container_of(mail, struct catalog_hello, mail);
    struct journal *journal = bye->journal;
    journal->bye_done = true;
}

void journal_stop(struct journal *journal)
{
    if (journal->stop == RUNNING) {
        close_filling(journal);
        journal->stop = STOPPING;
    }
}

void journal_close(struct journal *journal)
{
    bk_assert(journal->head == journal->tail || journal->stop == RUNNING);
    bk_assert(inflight(journal) == 0);
    free(journal->control_blocks);
    free(journal);
}
