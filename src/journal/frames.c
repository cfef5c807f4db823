/* frames.c - what stands in the writer's queue, and the segments it goes to. */
#include "journal/writer.h"

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
void segment_retire(struct journal *journal, struct segment *segment)
{
    bk_assert(segment->handle >= 0);
    journal->handles_closing++;
    ring_close_handle(journal->ring, &segment->close_op, segment->handle, segment_closed);
}

void journal_spare_run(struct ring_mail *mail)
{
    struct segment *segment = bk_container_of(mail, struct segment, mail);
    struct journal *journal = segment->journal;
    bool unwanted = journal->spare_count == SPARES_MAX || journal->stop == STOPPED;
    segment->unattached =
        !unwanted && ring_file_attach(journal->ring, segment->file, &segment->handle) != BK_OK;
    if (unwanted || segment->unattached) {
        segment->handle = -1;
        segment->mail.run = catalog_retired_run;
        ring_post(journal->ring, catalog_ring(journal->catalog), &segment->mail);
        return;
    }
    journal->spares[journal->spare_count++] = segment;
}

struct frame *frame_push(struct journal *journal, enum frame_kind kind)
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

void push_opening(struct journal *journal, enum format_opening_reason reason, uint32_t previous_crc)
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

void push_closing(struct journal *journal)
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

void close_filling(struct journal *journal)
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
enum bk_err ensure_room(struct journal *journal, uint64_t bytes)
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

__attribute__((noinline)) enum bk_err begin_filling(struct journal *journal, uint64_t record_bytes)
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
