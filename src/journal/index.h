/* index.h - the sidecar `j<journal>-<number>.idx` of a sealed segment. For src/journal/ only.
 *
 * Purpose     Says how far the segment is valid, so that a start need not read it; holds the sparse
 *             index and the fingerprints of accepted records, which rebuild the dedupe table.
 *             Derived: made again from the segment when it is missing or damaged. Outlives the
 *             segment until the dedupe window has passed.
 * Layout      struct index_header, marks, seen entries. Little-endian, used in place. Own CRC each.
 */
#ifndef BECKET_JOURNAL_INDEX_H
#define BECKET_JOURNAL_INDEX_H

#include "journal/segment.h"

#define INDEX_MAGIC       0x31584449544b4a42ULL /* "BJKTIDX1" */
#define INDEX_VERSION     1U
#define INDEX_WRITE_BYTES 1048576U

struct index_header {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes;
    uint64_t uuid[2];
    uint64_t number;
    uint64_t segment_bytes;
    uint64_t end;            /* valid up to this offset */
    uint64_t last_commit;    /* of the last valid frame */
    uint64_t first_sequence; /* 0 = no records */
    uint64_t last_sequence;
    int64_t first_ns;
    int64_t last_ns;
    int64_t created_ns;
    uint64_t frames;
    uint64_t records;
    uint32_t journal;
    uint32_t state; /* enum segment_state: SEALED or ABANDONED */
    uint32_t mark_count;
    uint32_t seen_count;
    uint64_t next_sequence; /* behind the last record, also without any */
    uint32_t last_crc;      /* header CRC of the last valid frame */
    uint32_t reserved[16];
    uint32_t marks_crc;
    uint32_t seen_crc;
    uint32_t crc; /* over all before */
};
_Static_assert(sizeof(struct index_header) == 224, "sidecar header");

struct index_seen {
    uint64_t fingerprint[2];
    uint64_t sequence;
    int64_t received_ns;
};
_Static_assert(sizeof(struct index_seen) == 32, "sidecar entry");
_Static_assert(sizeof(struct segment_mark) == 24, "sidecar entry");

/* ---- building: one frame after the other */
struct index_builder {
    struct index_seen *seen;
    uint32_t seen_count;
    uint32_t seen_max;
    uint64_t frames;
    uint64_t records;
    uint64_t last_commit;
    uint64_t next_sequence;
    uint32_t last_crc;
    uint64_t end;
    uint32_t last_flags; /* of the last frame: closed cleanly? */
};
void index_builder_init(struct index_builder *builder);
void index_builder_fini(struct index_builder *builder);
/* A good frame at `offset`. publish: also note marks and ranges in the segment (it was not written
 * by this process). */
enum bk_err index_builder_add(struct index_builder *builder, struct segment *segment, bool publish,
                              uint64_t offset, const struct format_frame *frame) BK_MUST_CHECK;

/* The sidecar as one piece of memory, malloc'ed. */
enum bk_err index_image(const struct index_builder *builder, const struct segment *segment,
                        enum segment_state state, uint8_t **ret_image,
                        size_t *ret_bytes) BK_MUST_CHECK;

/* ---- reading */
struct index_file {
    struct index_header header;
    struct segment_mark *marks;
    struct index_seen *seen; /* NULL unless asked for */
    uint8_t *memory;
};
/* BK_NOT_FOUND, BK_CORRUPT, BK_VERSION, BK_IO, BK_NO_MEMORY. */
enum bk_err index_read(const char *path, bool with_seen, struct index_file *ret_file) BK_MUST_CHECK;
void index_file_fini(struct index_file *file);

#endif
