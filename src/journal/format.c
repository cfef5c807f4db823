/* format.c - making and checking what is on disk. */
#include "journal/format.h"

#include "base/crc32c.h"

#include <stdio.h>

void format_segment_init(struct format_segment *block, uint16_t journal, uint64_t number,
                         const uint64_t uuid[2], uint64_t bytes, int64_t created_ns)
{
    bk_assert(number > 0);
    bk_assert(bytes % FORMAT_BLOCK_BYTES == 0);
    memset(block, 0, sizeof *block);
    block->magic = FORMAT_SEGMENT_MAGIC;
    block->version = FORMAT_VERSION;
    block->block_bytes = FORMAT_BLOCK_BYTES;
    block->uuid[0] = uuid[0];
    block->uuid[1] = uuid[1];
    block->number = number;
    block->bytes = bytes;
    block->created_ns = created_ns;
    block->journal = journal;
    block->crc = crc32c(0, block, offsetof(struct format_segment, crc));
}

enum bk_err format_segment_check(const struct format_segment *block)
{
    if (block->magic != FORMAT_SEGMENT_MAGIC ||
        block->crc != crc32c(0, block, offsetof(struct format_segment, crc))) {
        return BK_CORRUPT;
    }
    if (block->version > FORMAT_VERSION) {
        return BK_VERSION;
    }
    bool sane = block->version >= 1 && block->block_bytes == FORMAT_BLOCK_BYTES &&
                block->number > 0 && block->journal < FORMAT_JOURNALS_MAX &&
                block->bytes % FORMAT_BLOCK_BYTES == 0 && block->bytes >= 2 * FORMAT_BLOCK_BYTES;
    return sane ? BK_OK : BK_CORRUPT;
}

static bool record_sane(const struct format_record *record, uint64_t message_bytes)
{
    for (unsigned i = 0; i < JOURNAL_TYPE_MORE; i++) {
        const struct journal_type_part *part = &record->type_more[i];
        if ((uint64_t)part->at + part->bytes > message_bytes) {
            return false;
        }
    }
    return record->type >= JOURNAL_ACCEPTED && record->type <= JOURNAL_ATTEMPT &&
           (uint64_t)record->type_at + record->type_bytes <= message_bytes &&
           (uint64_t)record->id_at + record->id_bytes <= message_bytes;
}

uint32_t format_record_seal(struct format_record *record, const struct journal_entry *entry,
                            uint64_t sequence, uint32_t seed)
{
    record->type = (uint8_t)entry->type;
    record->flags = entry->flags;
    record->reason = entry->reason;
    record->sequence = sequence;
    record->source = entry->source;
    record->received_ns = entry->received_ns;
    record->fingerprint[0] = entry->fingerprint[0];
    record->fingerprint[1] = entry->fingerprint[1];
    record->original = entry->original;
    record->original_ns = entry->original_ns;
    record->head_bytes = entry->head_bytes;
    record->body_bytes = entry->body_bytes;
    record->type_at = entry->type_at;
    record->id_at = entry->id_at;
    record->type_bytes = entry->type_bytes;
    record->id_bytes = entry->id_bytes;
    record->peer_port = entry->peer.port;
    record->peer_family = entry->peer.family;
    record->reserved8 = 0;
    memcpy(record->peer_at, entry->peer.at, sizeof record->peer_at);
    memcpy(record->type_more, entry->type_more, sizeof record->type_more);
    record->reserved = 0;
    size_t bytes = sizeof *record + (size_t)entry->head_bytes + entry->body_bytes;
    /* What the reader would call damaged must not be written. */
    bk_assert(record_sane(record, (uint64_t)entry->head_bytes + entry->body_bytes));
    record->crc =
        crc32c(seed, (const uint8_t *)record + sizeof record->crc, bytes - sizeof record->crc);
    return record->crc;
}

uint32_t format_frame_seal(struct format_frame *frame, uint32_t seed)
{
    frame->crc = crc32c(seed, frame, offsetof(struct format_frame, crc));
    return frame->crc;
}

bool format_frame_check(const struct format_frame *frame, uint64_t uuid_low, uint32_t seed)
{
    if (frame->magic != FORMAT_FRAME_MAGIC || frame->uuid_low != uuid_low ||
        frame->crc != crc32c(seed, frame, offsetof(struct format_frame, crc))) {
        return false;
    }
    if (frame->bytes < sizeof *frame || frame->bytes > FORMAT_FRAME_BYTES_MAX ||
        frame->commit == 0 || frame->durable_commit >= frame->commit ||
        frame->first_sequence == 0 || frame->first_sequence > FORMAT_SEQUENCE_MAX) {
        return false;
    }
    if (frame->flags & (FORMAT_OPENING | FORMAT_CLOSING)) {
        return frame->record_count == 0 &&
               frame->bytes == sizeof *frame + sizeof(struct format_opening);
    }
    return frame->flags == 0 && frame->record_count > 0;
}

void format_walk_begin(struct format_walk *walk, const struct format_frame *frame, uint64_t bytes,
                       uint32_t seed)
{
    bk_assert(bytes >= frame->bytes);
    *walk = (struct format_walk){.at = (const uint8_t *)frame,
                                 .bytes = frame->bytes,
                                 .offset = sizeof *frame,
                                 .sequence = frame->first_sequence,
                                 .left = frame->record_count,
                                 .seed = seed,
                                 .running_crc = seed};
}

enum bk_err format_walk_next(struct format_walk *walk, bool verify,
                             const struct format_record **ret_record)
{
    if (walk->left == 0) {
        return BK_NOT_FOUND;
    }
    if (walk->bytes - walk->offset < sizeof(struct format_record)) {
        return BK_CORRUPT;
    }
    const struct format_record *record =
        (const struct format_record *)(const void *)(walk->at + walk->offset);
    uint64_t message_bytes = (uint64_t)record->head_bytes + record->body_bytes;
    uint64_t bytes = format_record_bytes(message_bytes);
    if (bytes > walk->bytes - walk->offset || record->sequence != walk->sequence ||
        !record_sane(record, message_bytes)) {
        return BK_CORRUPT;
    }
    if (verify &&
        record->crc != crc32c(walk->seed, (const uint8_t *)record + sizeof record->crc,
                              sizeof *record + (size_t)message_bytes - sizeof record->crc)) {
        return BK_CORRUPT;
    }
    walk->running_crc = crc32c(walk->running_crc, &record->crc, sizeof record->crc);
    walk->offset += bytes;
    walk->sequence++;
    walk->left--;
    *ret_record = record;
    return BK_OK;
}

bool format_frame_verify(const struct format_frame *frame, uint32_t seed)
{
    if (frame->record_count == 0) {
        return frame->body_crc == crc32c(seed, frame + 1, frame->bytes - sizeof *frame);
    }
    struct format_walk walk;
    const struct format_record *record;
    enum bk_err err;
    format_walk_begin(&walk, frame, frame->bytes, seed);
    do {
        err = format_walk_next(&walk, true, &record);
    } while (err == BK_OK);
    return err == BK_NOT_FOUND && walk.offset == frame->bytes &&
           walk.running_crc == frame->body_crc;
}

void format_record_entry(const struct format_record *record, struct journal_entry *ret_entry)
{
    *ret_entry =
        (struct journal_entry){.type = (enum journal_record_type)record->type,
                               .flags = record->flags,
                               .reason = record->reason,
                               .source = record->source,
                               .received_ns = record->received_ns,
                               .fingerprint = {record->fingerprint[0], record->fingerprint[1]},
                               .original = record->original,
                               .original_ns = record->original_ns,
                               .peer = {.family = record->peer_family, .port = record->peer_port},
                               .head_bytes = record->head_bytes,
                               .body_bytes = record->body_bytes,
                               .type_at = record->type_at,
                               .type_bytes = record->type_bytes,
                               .id_bytes = record->id_bytes,
                               .id_at = record->id_at};
    memcpy(ret_entry->peer.at, record->peer_at, sizeof record->peer_at);
    memcpy(ret_entry->type_more, record->type_more, sizeof record->type_more);
}

void format_name(char ret_name[FORMAT_NAME_BYTES], uint16_t journal, uint64_t number,
                 const char *suffix)
{
    int count = snprintf(ret_name, FORMAT_NAME_BYTES, "j%u-%010llu%s", journal,
                         (unsigned long long)number, suffix);
    bk_assert(count > 0 && (size_t)count < FORMAT_NAME_BYTES);
}

/* Decimal digits, at least one; stops behind them. */
static bool parse_number(const char **text, uint64_t max, uint64_t *ret_number)
{
    const char *at = *text;
    uint64_t number = 0;
    while (*at >= '0' && *at <= '9') {
        number = number * 10 + (uint64_t)(*at - '0');
        if (number > max) {
            return false;
        }
        at++;
    }
    bool any = at != *text;
    *text = at;
    *ret_number = number;
    return any;
}

bool format_name_parse(const char *name, const char *suffix, uint16_t *ret_journal,
                       uint64_t *ret_number)
{
    uint64_t journal = 0;
    uint64_t number = 0;
    const char *at = name;
    if (*at++ != 'j' || !parse_number(&at, FORMAT_JOURNALS_MAX - 1, &journal) || *at++ != '-' ||
        !parse_number(&at, 1ULL << 48, &number) || number == 0 || strcmp(at, suffix) != 0) {
        return false;
    }
    char again[FORMAT_NAME_BYTES]; /* exactly one spelling per segment */
    format_name(again, (uint16_t)journal, number, suffix);
    if (strcmp(again, name) != 0) {
        return false;
    }
    *ret_journal = (uint16_t)journal;
    *ret_number = number;
    return true;
}
