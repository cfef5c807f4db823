/* format.h - the bytes of a journal segment on disk, and the checks on them. Pure: no I/O.
 *
 * A segment file is `j<journal>-<number>.log`: one header block of 4 KiB, then commit frames,
 * each starting at a multiple of 4 KiB; what is behind the last frame is zero, or stale bytes of
 * a recycled file (another uuid).
 *
 *     block 0     struct format_segment, written and synced before the segment is handed to its
 *                 journal and never again: so a bad header is damage, never a crash.
 *     frame       struct format_frame (64 B), then its body, padded with zeros to 4 KiB.
 *       opening   body = struct format_opening: the first frame of a segment, and the first after
 *                 a restart that goes on in a segment. Says up to where what was written before
 *                 it is to be trusted.
 *       records   body = records, each struct format_record (128 B) + head + body, padded to 16
 *                 B.
 *       closing   body = struct format_opening, written at a clean stop.
 *
 * Checksums   CRC-32C (base/crc32c.h) seeded with the segment's uuid, so bytes of another life of
 *             the file never pass. A record's CRC covers its header and message. A frame's body
 *             CRC is the CRC over its records' CRCs, in order: every byte is summed once, and a
 *             torn frame still shows. A frame's header has its own CRC and names the previous
 *             frame's header CRC, so frames form a chain. Padding is not covered.
 * Trust       A frame also says which commit was known durable when it was written. A bad frame k
 *             followed by a valid frame that says k was durable is damage; without one it is an
 *             unfinished commit.
 * Numbers     Little-endian, naturally aligned, read and written in place.
 * Versions    Magic, version, and the place of block 0's CRC never change. A higher version is
 *             refused.
 */
#ifndef BECKET_JOURNAL_FORMAT_H
#define BECKET_JOURNAL_FORMAT_H

#include "base/assert.h"
#include "journal/journal.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is read in place");

#define FORMAT_BLOCK_BYTES   4096U
#define FORMAT_SEGMENT_MAGIC 0x314c4e524a544b42ULL /* "BKTJRNL1" */
#define FORMAT_FRAME_MAGIC   0x4652544bU           /* "KTRF" */
#define FORMAT_VERSION       2U /* 2: records of type ATTEMPT; version 1 is read and written on */
#define FORMAT_FRAME_AT      FORMAT_BLOCK_BYTES /* the first frame */
#define FORMAT_RECORD_ALIGN  16U
/* Sum of the largest head and body there can be, with room to spare; protects readers from absurd
 * lengths. */
#define FORMAT_FRAME_BYTES_MAX (64U << 20)
#define FORMAT_SEQUENCE_MAX    0xffffffffffffULL
#define FORMAT_JOURNALS_MAX    1024U

struct format_segment {
    uint64_t magic;
    uint32_t version;
    uint32_t block_bytes;
    uint64_t uuid[2];
    uint64_t number; /* of the segment within its journal: 1, 2, 3 … */
    uint64_t bytes;  /* of the file */
    int64_t created_ns;
    uint16_t journal;
    uint8_t reserved[FORMAT_BLOCK_BYTES - 64];
    uint16_t zero;
    uint32_t crc; /* over all before, not seeded */
};

enum { FORMAT_OPENING = 1, FORMAT_CLOSING = 2 };

struct format_frame {
    uint32_t magic;
    uint32_t flags;
    uint64_t uuid_low;
    uint64_t
        commit; /* 1, 2, 3 … per journal, over all segments; gaps only before an opening frame */
    uint64_t durable_commit; /* known durable when this frame was submitted */
    uint64_t first_sequence; /* of its records; without records: the next one to come */
    uint32_t bytes;          /* this header and the body, without padding */
    uint32_t record_count;
    uint32_t body_crc;
    uint32_t
        previous_crc; /* header CRC of the frame before; opening in a new segment: of block 0 */
    uint32_t reserved;
    uint32_t crc; /* over all before, seeded */
};

enum format_opening_reason {
    FORMAT_FIRST = 1,   /* the journal's first segment */
    FORMAT_ROLLED = 2,  /* the previous one was full */
    FORMAT_FAILED = 3,  /* a flush failed in the previous one */
    FORMAT_RESTART = 4, /* the process started again */
    FORMAT_CLOSED = 5   /* in a closing frame */
};

struct format_opening {
    uint32_t reason;
    uint32_t reserved;
    uint64_t previous_number; /* segment of the last durable frame; 0 = none */
    uint64_t previous_uuid_low;
    uint64_t previous_commit; /* its commit number: nothing behind it counts */
    uint64_t previous_end;    /* offset behind it */
    int64_t created_ns;
    uint64_t nonce[2]; /* so that frames written before can never chain behind this one */
    uint8_t padding[64];
};

struct format_record {
    uint32_t crc; /* over the rest of this header and the message, seeded */
    uint8_t type;
    uint8_t flags;
    uint16_t reason;
    uint64_t sequence;
    uint64_t source;
    int64_t received_ns;
    uint64_t fingerprint[2];
    uint64_t original;
    int64_t original_ns;
    uint32_t head_bytes;
    uint32_t body_bytes;
    uint32_t type_at;
    uint32_t id_at;
    uint16_t type_bytes;
    uint16_t id_bytes;
    uint16_t peer_port;
    uint8_t peer_family;
    uint8_t reserved8;
    uint8_t peer_at[16];
    struct journal_type_part type_more[JOURNAL_TYPE_MORE]; /* 0 in records of earlier versions */
    uint64_t reserved;
};

_Static_assert(sizeof(struct format_segment) == FORMAT_BLOCK_BYTES, "block 0");
_Static_assert(offsetof(struct format_segment, crc) == FORMAT_BLOCK_BYTES - 4,
               "place of block 0's CRC");
_Static_assert(sizeof(struct format_frame) == 64, "frame header");
_Static_assert(offsetof(struct format_frame, crc) == 60, "frame header");
_Static_assert(sizeof(struct format_opening) == 128, "opening");
_Static_assert(sizeof(struct format_record) == 128, "record header");
_Static_assert(offsetof(struct format_record, peer_at) == 88, "record header");
_Static_assert(sizeof(struct format_frame) + sizeof(struct format_record) ==
                   JOURNAL_LARGE_MESSAGE_AT,
               "where a large message starts");

static inline uint64_t format_round_block(uint64_t bytes)
{
    return (bytes + FORMAT_BLOCK_BYTES - 1) & ~(uint64_t)(FORMAT_BLOCK_BYTES - 1);
}

/* Record header, message and padding. */
static inline uint64_t format_record_bytes(uint64_t message_bytes)
{
    return (sizeof(struct format_record) + message_bytes + FORMAT_RECORD_ALIGN - 1) &
           ~(uint64_t)(FORMAT_RECORD_ALIGN - 1);
}

static inline uint32_t format_seed(const uint64_t uuid[2])
{
    return (uint32_t)(uuid[1] ^ uuid[1] >> 32) | 1U;
}

/* ---- block 0 */
void format_segment_init(struct format_segment *block, uint16_t journal, uint64_t number,
                         const uint64_t uuid[2], uint64_t bytes, int64_t created_ns);
/* BK_OK; BK_VERSION; BK_CORRUPT (also: not a segment at all). */
enum bk_err format_segment_check(const struct format_segment *block) BK_MUST_CHECK;

/* ---- writing */
/* Fill the header from the entry; the message is already behind it (padding too). Returns the
 * record's CRC. */
uint32_t format_record_seal(struct format_record *record, const struct journal_entry *entry,
                            uint64_t sequence, uint32_t seed);
/* All other fields are set; adds the CRC and returns it. */
uint32_t format_frame_seal(struct format_frame *frame, uint32_t seed);

/* ---- reading */
/* Only the header: magic, uuid, its CRC, sane lengths. */
bool format_frame_check(const struct format_frame *frame, uint64_t uuid_low, uint32_t seed);

/* Walk over the records of a frame. */
struct format_walk {
    const uint8_t *at; /* the frame */
    uint64_t bytes;    /* of the frame in memory */
    uint64_t offset;   /* of the next record within the frame */
    uint64_t sequence; /* of the next record */
    uint32_t left;     /* records */
    uint32_t seed;
    uint32_t running_crc;
};
/* The frame's header has been checked and `bytes` (>= frame->bytes) of it are in memory. */
void format_walk_begin(struct format_walk *walk, const struct format_frame *frame, uint64_t bytes,
                       uint32_t seed);
/* The next record, its lengths checked, and with verify also its CRC. BK_NOT_FOUND: no more.
 * BK_CORRUPT. */
enum bk_err format_walk_next(struct format_walk *walk, bool verify,
                             const struct format_record **ret_record) BK_MUST_CHECK;
/* Header (already checked) and body of a frame that is wholly in memory. */
bool format_frame_verify(const struct format_frame *frame, uint32_t seed);
/* The opening in a checked frame with FORMAT_OPENING or FORMAT_CLOSING. */
static inline const struct format_opening *format_frame_opening(const struct format_frame *frame)
{
    return (const struct format_opening *)(const void *)(frame + 1);
}

void format_record_entry(const struct format_record *record, struct journal_entry *ret_entry);

/* ---- names */
#define FORMAT_NAME_BYTES 40U
/* "j3-0000000012.log" */
void format_name(char ret_name[FORMAT_NAME_BYTES], uint16_t journal, uint64_t number,
                 const char *suffix);
/* false: not such a name. */
bool format_name_parse(const char *name, const char *suffix, uint16_t *ret_journal,
                       uint64_t *ret_number);

#endif
