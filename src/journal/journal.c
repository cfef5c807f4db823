/* journal.c - the writer: records into frames; its life and its numbers.
 *
 * Frames and segments: frames.c; how they get to the disk: commit.c. */
#include "journal/writer.h"

#include "base/crc32c.h"

#include <stdlib.h>

#define LAZY_FLUSHES 8U

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

void note_room(struct journal *journal)
{
    uint64_t bytes = journal->segment ? journal->segment->bytes - journal->next_offset : 0;
    for (unsigned i = 0; i < journal->spare_count; i++) {
        bytes += journal->spares[i]->bytes;
    }
    atomic_store_explicit(&journal->room_bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&journal->failing_until_ns, journal->segment ? 0 : journal->retry_ns,
                          memory_order_relaxed);
}

uint64_t journal_room_bytes(const struct journal *journal)
{
    return atomic_load_explicit(&journal->room_bytes, memory_order_relaxed);
}

enum bk_err journal_refuses(const struct journal *journal, uint64_t now_ns)
{
    if (atomic_load_explicit(&journal->failing_until_ns, memory_order_relaxed) > now_ns) {
        return atomic_load_explicit(&journal->failing_full, memory_order_relaxed) ? BK_NO_SPACE
                                                                                  : BK_IO;
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
