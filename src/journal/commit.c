/* commit.c - when a frame goes to the disk, and what its end means: group commit, holding back,
 * acknowledgement in order, failure. README.md tells the rules. */
#include "journal/writer.h"

#include "base/crc32c.h"
#include "base/histogram.h"
#include "base/log.h"
#include "journal/catalog_state.h"
#include "ring/file.h"

#define INFLIGHT_MAX 2U
/* A second commit hides the gap between two; a small one only costs a flush. That is nothing where
 * traffic is so thin that the one ahead has this few records: there it saves half of the wait, … */
#define SECOND_COMMIT_BYTES 65536U
#define SECOND_AHEAD_MAX    2U
/* … unless the device flushes one after the other. */
#define SECOND_HIDDEN_PART 4U
#define SECOND_TRY_EACH    32U
#define AVERAGE_OF         16U
/* How long a commit is held back: a part of a flush. */
#define HOLD_PART         2U
#define HOLD_NS_MAX       1000000ULL
#define HOLD_ANSWERED_MIN 8U      /* few are not worth waiting for, … */
#define HOLD_ANSWERED_MAX 96U     /* … many come in two halves and keep disk and CPU busy, … */
#define HOLD_BYTES_MAX    131072U /* … and a large commit needs no more */
#define HOLD_MISSES_MAX   3U
#define HOLD_PAUSE_LAST   4096U
#define COMMIT_UNIT_SHIFT 14U /* 16.4 us */
#define BACKOFF_FIRST_NS  1000000000ULL
#define BACKOFF_LAST_NS   32000000000ULL
#define LOOK_NS           1000000000ULL /* between two looks whether the file is there */

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

/* ---- two at once
 *
 * Where a device works on two flushes at a time, a second commit is done that much sooner. Where it
 * works on one after the other, the second is done no sooner than if it had waited, with more in
 * it, for the first: it only stands in the way of who comes third. What is gained is measured: a
 * second one that had waited would be done a lone flush behind the first. */

static void average_add(uint64_t *average, uint64_t ns)
{
    *average = *average - *average / AVERAGE_OF + ns / AVERAGE_OF;
}

static void overlap_note(struct journal *journal, const struct frame *frame)
{
    struct overlap *overlap = &journal->overlap;
    uint64_t now_ns = ring_now_ns(journal->ring);
    uint64_t ahead_ns = overlap->done_ns;
    overlap->done_ns = now_ns;
    if (frame->kind != FRAME_SMALL || frame->bytes >= SECOND_COMMIT_BYTES) {
        return;
    }
    if (frame->beside && overlap->alone_ns > 0) {
        uint64_t hideable_ns = ahead_ns - frame->submitted_ns;
        uint64_t else_ns = ahead_ns + overlap->alone_ns;
        uint64_t hidden_ns = else_ns > now_ns ? else_ns - now_ns : 0;
        average_add(&overlap->hideable_ns, hideable_ns);
        average_add(&overlap->hidden_ns, hidden_ns < hideable_ns ? hidden_ns : hideable_ns);
    } else if (!frame->beside && inflight(journal) == 1) {
        uint64_t took_ns = now_ns - frame->submitted_ns;
        overlap->alone_ns = overlap->alone_ns ? overlap->alone_ns : took_ns;
        average_add(&overlap->alone_ns, took_ns);
    }
}

/* A device may change its ways: now and then one is tried where it did not pay. */
static bool second_pays(const struct journal *journal)
{
    const struct overlap *overlap = &journal->overlap;
    return overlap->hidden_ns * SECOND_HIDDEN_PART >= overlap->hideable_ns ||
           journal->next_commit % SECOND_TRY_EACH == 0;
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
    overlap_note(journal, frame);
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
    atomic_store_explicit(&journal->failing_full, err == BK_NO_SPACE, memory_order_relaxed);
    journal->fail_err = BK_OK;
    if (journal->stop == CLOSING_SENT) {
        journal->stop = STOPPED;
    }
    journal->commit(journal->context, journal_durable_through(journal), failed_through, err);
}

/* Somebody removed the file that it was written to: it goes with this process. Looked at by the
 * first frame, then once a second; a stat of an open file does not wait for the disk. */
static bool is_gone(const struct frame *frame)
{
    struct segment *segment = frame->segment;
    if (frame->submitted_ns >= segment->look_ns && !segment->gone) {
        char path[CATALOG_PATH_BYTES];
        segment->look_ns = frame->submitted_ns + LOOK_NS;
        catalog_path(segment->catalog, path, "", segment->journal_id, segment->number, ".log");
        segment->gone = file_is_gone(segment->file, path);
        if (segment->gone) {
            log_event(LOG_ERROR, "journal_removed", LOG_Z("file", path),
                      LOG_Z("effect", "somebody removed it while it was in use: its events are "
                                      "lost, and none is accepted into it"));
        }
    }
    return segment->gone;
}

static void submit_waiting(struct journal *journal); /* below: what it submits ends here */

static void frame_written(struct ring_op *op, const struct ring_result *result)
{
    struct frame *frame = bk_container_of(op, struct frame, op);
    struct journal *journal = frame->journal;
    bk_assert(!frame->done);
    frame->done = true;
    frame->good =
        result->value >= 0 && (uint64_t)result->value == frame_disk_bytes(frame) && !is_gone(frame);
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
    frame->beside = inflight(journal) > 0;
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
    bool is_thin =
        ahead->kind == FRAME_OPENING ||
        (ahead->kind == FRAME_SMALL && ahead->waited <= SECOND_AHEAD_MAX && second_pays(journal));
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
