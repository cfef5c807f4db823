/* index.c - sidecars of sealed segments. */
#include "journal/index.h"

#include "base/crc32c.h"
#include "ring/file.h"

#include <stdlib.h>

void index_builder_init(struct index_builder *builder)
{
    memset(builder, 0, sizeof *builder);
}

void index_builder_fini(struct index_builder *builder)
{
    free(builder->seen);
    memset(builder, 0, sizeof *builder);
}

static enum bk_err add_seen(struct index_builder *builder, const struct format_record *record)
{
    if (record->type != JOURNAL_ACCEPTED ||
        (record->fingerprint[0] | record->fingerprint[1]) == 0) {
        return BK_OK;
    }
    if (builder->seen_count == builder->seen_max) {
        uint32_t larger = builder->seen_max ? builder->seen_max * 2 : 1024;
        struct index_seen *seen = realloc(builder->seen, (size_t)larger * sizeof *seen);
        if (!seen) {
            return BK_NO_MEMORY;
        }
        builder->seen = seen;
        builder->seen_max = larger;
    }
    builder->seen[builder->seen_count++] = (struct index_seen){
        {record->fingerprint[0], record->fingerprint[1]}, record->sequence, record->received_ns};
    return BK_OK;
}

enum bk_err index_builder_add(struct index_builder *builder, struct segment *segment, bool publish,
                              uint64_t offset, const struct format_frame *frame)
{
    struct format_walk walk;
    const struct format_record *record = NULL;
    int64_t first_ns = 0;
    int64_t last_ns = 0;
    enum bk_err err = BK_OK;
    format_walk_begin(&walk, frame, frame->bytes, segment->seed);
    for (uint32_t i = 0; i < frame->record_count; i++) {
        err = format_walk_next(&walk, false, &record); /* the frame was verified */
        bk_assert(err == BK_OK);
        first_ns = i == 0 ? record->received_ns : first_ns;
        last_ns = record->received_ns;
        err = add_seen(builder, record);
        if (err != BK_OK) {
            return err;
        }
    }
    uint64_t end = offset + format_round_block(frame->bytes);
    if (publish) {
        segment_publish(segment, offset, end, frame->first_sequence,
                        frame->first_sequence + frame->record_count - 1, first_ns, last_ns);
    }
    builder->frames++;
    builder->records += frame->record_count;
    builder->last_commit = frame->commit;
    builder->next_sequence = frame->first_sequence + frame->record_count;
    builder->last_crc = frame->crc;
    builder->last_flags = frame->flags;
    builder->end = end;
    return BK_OK;
}

enum bk_err index_image(const struct index_builder *builder, const struct segment *segment,
                        enum segment_state state, uint8_t **ret_image, size_t *ret_bytes)
{
    uint32_t mark_count = atomic_load_explicit(&segment->mark_count, memory_order_acquire);
    size_t marks_bytes = (size_t)mark_count * sizeof(struct segment_mark);
    size_t seen_bytes = (size_t)builder->seen_count * sizeof(struct index_seen);
    size_t bytes = sizeof(struct index_header) + marks_bytes + seen_bytes;
    uint8_t *image = malloc(bytes);
    if (!image) {
        return BK_NO_MEMORY;
    }
    struct index_header *header = (struct index_header *)(void *)image;
    *header = (struct index_header){.magic = INDEX_MAGIC,
                                    .version = INDEX_VERSION,
                                    .header_bytes = sizeof *header,
                                    .uuid = {segment->uuid[0], segment->uuid[1]},
                                    .number = segment->number,
                                    .segment_bytes = segment->bytes,
                                    .end = builder->end,
                                    .last_commit = builder->last_commit,
                                    .first_sequence = segment->first_sequence,
                                    .last_sequence = segment->last_sequence,
                                    .first_ns = segment->first_ns,
                                    .last_ns = segment->last_ns,
                                    .created_ns = segment->created_ns,
                                    .frames = builder->frames,
                                    .records = builder->records,
                                    .journal = segment->journal_id,
                                    .state = (uint32_t)state,
                                    .mark_count = mark_count,
                                    .seen_count = builder->seen_count,
                                    .next_sequence = builder->next_sequence,
                                    .last_crc = builder->last_crc};
    uint8_t *at = image + sizeof *header;
    memcpy(at, segment->marks, marks_bytes);
    header->marks_crc = crc32c(0, at, marks_bytes);
    at += marks_bytes;
    if (seen_bytes > 0) {
        memcpy(at, builder->seen, seen_bytes);
    }
    header->seen_crc = crc32c(0, at, seen_bytes);
    header->crc = crc32c(0, header, offsetof(struct index_header, crc));
    *ret_image = image;
    *ret_bytes = bytes;
    return BK_OK;
}

static enum bk_err header_check(const struct index_header *header, size_t got, uint64_t file_size)
{
    if (got < sizeof *header || header->magic != INDEX_MAGIC ||
        header->crc != crc32c(0, header, offsetof(struct index_header, crc))) {
        return BK_CORRUPT;
    }
    if (header->version > INDEX_VERSION) {
        return BK_VERSION;
    }
    uint64_t wanted = sizeof *header + (uint64_t)header->mark_count * sizeof(struct segment_mark) +
                      (uint64_t)header->seen_count * sizeof(struct index_seen);
    bool sane = header->version == INDEX_VERSION && header->header_bytes == sizeof *header &&
                wanted == file_size && header->journal < FORMAT_JOURNALS_MAX &&
                header->number > 0 &&
                header->mark_count <= segment_mark_max(header->segment_bytes) &&
                header->end <= header->segment_bytes &&
                (header->state == SEGMENT_SEALED || header->state == SEGMENT_ABANDONED);
    return sane ? BK_OK : BK_CORRUPT;
}

/* Marks must point into the segment and ascend; readers rely on it. */
static bool marks_sane(const struct index_file *file)
{
    for (uint32_t i = 0; i < file->header.mark_count; i++) {
        const struct segment_mark *mark = &file->marks[i];
        if (mark->offset % FORMAT_BLOCK_BYTES != 0 || mark->offset < FORMAT_FRAME_AT ||
            mark->offset >= file->header.end ||
            (i > 0 && mark->offset <= file->marks[i - 1].offset) ||
            (i > 0 && mark->sequence <= file->marks[i - 1].sequence)) {
            return false;
        }
    }
    return true;
}

static enum bk_err read_body(int source, bool with_seen, struct index_file *file)
{
    size_t marks_bytes = (size_t)file->header.mark_count * sizeof(struct segment_mark);
    size_t seen_bytes = with_seen ? (size_t)file->header.seen_count * sizeof(struct index_seen) : 0;
    size_t done = 0;
    file->memory = malloc(marks_bytes + seen_bytes + 1);
    if (!file->memory) {
        return BK_NO_MEMORY;
    }
    enum bk_err err = file_read(source, file->memory, marks_bytes + seen_bytes,
                                sizeof(struct index_header), &done);
    if (err != BK_OK) {
        return err;
    }
    file->marks = (struct segment_mark *)(void *)file->memory;
    file->seen = with_seen ? (struct index_seen *)(void *)(file->memory + marks_bytes) : NULL;
    if (done != marks_bytes + seen_bytes ||
        crc32c(0, file->memory, marks_bytes) != file->header.marks_crc ||
        (with_seen && crc32c(0, file->memory + marks_bytes, seen_bytes) != file->header.seen_crc)) {
        return BK_CORRUPT;
    }
    return marks_sane(file) ? BK_OK : BK_CORRUPT;
}

enum bk_err index_read(const char *path, bool with_seen, struct index_file *ret_file)
{
    struct index_file file = {0};
    int source = -1;
    uint64_t bytes = 0;
    size_t done = 0;
    enum bk_err err = file_open(path, FILE_READ, &source);
    if (err != BK_OK) {
        return err;
    }
    err = file_bytes(source, &bytes);
    if (err == BK_OK) {
        err = file_read(source, &file.header, sizeof file.header, 0, &done);
    }
    if (err == BK_OK) {
        err = header_check(&file.header, done, bytes);
    }
    if (err == BK_OK) {
        err = read_body(source, with_seen, &file);
    }
    file_close(source);
    if (err != BK_OK) {
        index_file_fini(&file);
        return err;
    }
    *ret_file = file;
    return BK_OK;
}

void index_file_fini(struct index_file *file)
{
    free(file->memory);
    file->memory = NULL;
    file->marks = NULL;
    file->seen = NULL;
}
