/* scan.h - read the frames of one segment file in order and check them. For src/journal/ only.
 *
 * Blocking    Direct reads of at most 1 MiB each; scan_next does at most one and then says
 *             BK_AGAIN.
 * Memory      2 MiB, more once a larger frame was looked at; a huge page where there is one, which
 *             the kernel takes as one piece for a direct read.
 */
#ifndef BECKET_JOURNAL_SCAN_H
#define BECKET_JOURNAL_SCAN_H

#include "journal/format.h"

#define SCAN_READ_BYTES   1048576U
#define SCAN_BUFFER_BYTES ((size_t)2 * SCAN_READ_BYTES)

struct scan {
    int file;
    uint64_t end; /* offset behind the last frame that may count */
    uint64_t uuid_low;
    uint32_t seed;
    uint64_t offset;     /* of the next frame */
    uint64_t commit;     /* of the last good frame; 0 = any may come first */
    uint32_t chain_crc;  /* header CRC of the last good frame */
    uint64_t read_bytes; /* so far, all in all */
    uint8_t *buffer;
    size_t buffer_bytes;
    uint64_t window_at;  /* file offset of buffer[0] */
    size_t window_bytes; /* filled */
    bool at_end;         /* the file ends with the window */
};

/* Memory only. */
enum bk_err scan_init(struct scan *scan) BK_MUST_CHECK;
void scan_fini(struct scan *scan);

/* From a segment's first frame. `end`: not beyond this. */
void scan_begin(struct scan *scan, int file, const uint64_t uuid[2], uint32_t block_crc,
                uint64_t end);
/* The next good frame, whole, in the scan's memory until the next call. BK_AGAIN: call again.
 * BK_NOT_FOUND: at scan->offset is no good frame: the end, an unfinished commit or damage. BK_IO.
 */
enum bk_err scan_next(struct scan *scan, const struct format_frame **ret_frame) BK_MUST_CHECK;
/* The same without stopping in between. */
enum bk_err scan_next_blocking(struct scan *scan,
                               const struct format_frame **ret_frame) BK_MUST_CHECK;

/* After BK_NOT_FOUND: what stands behind the bad place, up to `limit`? */
struct scan_ahead {
    bool damage;          /* a frame says that the commit which should stand here was durable */
    unsigned frames;      /* headers of this segment's frames that were found */
    uint64_t resume_at;   /* the first behind the bad place with a higher commit; 0 = none … */
    uint64_t resume_commit; /* … and its commit, by its header alone */
    uint64_t last_end;    /* behind the last one found; 0 = none */
    bool begun;           /* at the bad place itself something of this segment was begun */
};
/* Blocking, 1 MiB at a time. expected_commit: of the frame that should stand at scan->offset. */
enum bk_err scan_look_ahead(struct scan *scan, uint64_t expected_commit, uint64_t limit,
                            struct scan_ahead *ret_ahead) BK_MUST_CHECK;
/* Read what stands at scan->offset once more: it may have been written meanwhile. */
void scan_again(struct scan *scan);
/* Go on behind damage at ahead->resume_at. */
void scan_resume(struct scan *scan, uint64_t offset);

/* Read and check block 0. *ret_frame_ok: the first frame is a good opening, copied to the two
 * others. */
struct scan_head {
    struct format_segment block;
    bool opened;
    struct format_frame frame;
    struct format_opening opening;
};
enum bk_err scan_head(struct scan *scan, int file, struct scan_head *ret_head) BK_MUST_CHECK;

#endif
