/* scan.c - a window of the file moves over its frames; a frame is looked at when it is wholly
 * inside. */
#include "journal/scan.h"

#include "base/pages.h"
#include "ring/file.h"

enum bk_err scan_init(struct scan *scan)
{
    memset(scan, 0, sizeof *scan);
    scan->file = -1;
    scan->buffer_bytes = SCAN_BUFFER_BYTES;
    scan->buffer = pages_map(scan->buffer_bytes);
    return scan->buffer ? BK_OK : BK_NO_MEMORY;
}

void scan_fini(struct scan *scan)
{
    if (scan->buffer) {
        pages_unmap(scan->buffer, scan->buffer_bytes);
        scan->buffer = NULL;
    }
}

static void window_reset(struct scan *scan, uint64_t offset)
{
    bk_assert(offset % FORMAT_BLOCK_BYTES == 0);
    scan->window_at = offset;
    scan->window_bytes = 0;
    scan->at_end = false;
}

void scan_begin(struct scan *scan, int file, const uint64_t uuid[2], uint32_t block_crc,
                uint64_t end)
{
    scan->file = file;
    scan->end = end;
    scan->uuid_low = uuid[0];
    scan->seed = format_seed(uuid);
    scan->offset = FORMAT_FRAME_AT;
    scan->commit = 0;
    scan->chain_crc = block_crc;
    window_reset(scan, scan->offset);
}

/* Room for a frame of this size at the window's start. */
static enum bk_err grow(struct scan *scan, size_t bytes)
{
    bytes += SCAN_READ_BYTES;
    if (bytes <= scan->buffer_bytes) {
        return BK_OK;
    }
    uint8_t *larger = pages_map(bytes);
    if (!larger) {
        return BK_NO_MEMORY;
    }
    memcpy(larger, scan->buffer, scan->window_bytes);
    pages_unmap(scan->buffer, scan->buffer_bytes);
    scan->buffer = larger;
    scan->buffer_bytes = bytes;
    return BK_OK;
}

/* One read behind what the window has; the window starts at scan->offset afterwards. */
static enum bk_err read_more(struct scan *scan)
{
    bk_assert(scan->offset >= scan->window_at);
    uint64_t skip = scan->offset - scan->window_at;
    if (skip >= scan->window_bytes) {
        window_reset(scan, scan->offset);
    } else if (skip > 0) {
        scan->window_bytes -= (size_t)skip;
        memmove(scan->buffer, scan->buffer + skip, scan->window_bytes);
        scan->window_at = scan->offset;
    }
    uint64_t from = scan->window_at + scan->window_bytes;
    uint64_t bytes = SCAN_READ_BYTES;
    if (from + bytes > scan->end) {
        bytes = from < scan->end ? format_round_block(scan->end - from) : 0;
    }
    size_t done = 0;
    enum bk_err err = BK_OK;
    if (bytes > 0) {
        bk_assert(scan->window_bytes + bytes <= scan->buffer_bytes);
        err = file_read(scan->file, scan->buffer + scan->window_bytes, (size_t)bytes, from, &done);
    }
    if (err != BK_OK) {
        return err;
    }
    scan->read_bytes += done;
    scan->at_end = done < SCAN_READ_BYTES;
    scan->window_bytes +=
        done - done % FORMAT_BLOCK_BYTES; /* a cut block holds no good frame: frames are padded */
    return BK_OK;
}

static size_t window_left(const struct scan *scan)
{
    uint64_t skip = scan->offset - scan->window_at;
    return skip < scan->window_bytes ? (size_t)(scan->window_bytes - skip) : 0;
}

static bool frame_fits_chain(const struct scan *scan, const struct format_frame *frame)
{
    if (scan->commit != 0) {
        return frame->commit == scan->commit + 1 && frame->previous_crc == scan->chain_crc;
    }
    if (scan->offset == FORMAT_FRAME_AT) { /* the first one must be the opening */
        return (frame->flags & FORMAT_OPENING) && frame->previous_crc == scan->chain_crc;
    }
    return true;
}

enum bk_err scan_next(struct scan *scan, const struct format_frame **ret_frame)
{
    if (scan->offset >= scan->end) {
        return BK_NOT_FOUND;
    }
    if (window_left(scan) < FORMAT_BLOCK_BYTES) {
        enum bk_err err = scan->at_end ? BK_NOT_FOUND : read_more(scan);
        if (err != BK_OK || window_left(scan) >= FORMAT_BLOCK_BYTES) {
            return err == BK_OK ? BK_AGAIN : err;
        }
        return BK_NOT_FOUND;
    }
    const struct format_frame *frame =
        (const struct format_frame *)(const void *)(scan->buffer +
                                                    (scan->offset - scan->window_at));
    if (!format_frame_check(frame, scan->uuid_low, scan->seed) || !frame_fits_chain(scan, frame)) {
        return BK_NOT_FOUND;
    }
    uint64_t disk_bytes = format_round_block(frame->bytes);
    if (disk_bytes > scan->end - scan->offset) {
        return BK_NOT_FOUND;
    }
    if (window_left(scan) < disk_bytes) {
        if (scan->at_end) {
            return BK_NOT_FOUND;
        }
        enum bk_err err = grow(scan, (size_t)disk_bytes);
        if (err == BK_OK) {
            err = read_more(scan);
        }
        return err == BK_OK ? BK_AGAIN : err;
    }
    if (!format_frame_verify(frame, scan->seed)) {
        return BK_NOT_FOUND;
    }
    scan->offset += disk_bytes;
    scan->commit = frame->commit;
    scan->chain_crc = frame->crc;
    *ret_frame = frame;
    return BK_OK;
}

enum bk_err scan_next_blocking(struct scan *scan, const struct format_frame **ret_frame)
{
    enum bk_err err;
    do {
        err = scan_next(scan, ret_frame);
    } while (err == BK_AGAIN);
    return err;
}

enum bk_err scan_look_ahead(struct scan *scan, uint64_t expected_commit, uint64_t limit,
                            struct scan_ahead *ret_ahead)
{
    struct scan_ahead ahead = {0};
    uint8_t *buffer = scan->buffer;
    uint64_t at = scan->offset;
    while (at < limit) {
        uint64_t bytes =
            limit - at < SCAN_READ_BYTES ? format_round_block(limit - at) : SCAN_READ_BYTES;
        size_t done = 0;
        enum bk_err err = file_read(scan->file, buffer, (size_t)bytes, at, &done);
        if (err != BK_OK) {
            return err;
        }
        scan->read_bytes += done;
        for (size_t block = 0; block + sizeof(struct format_frame) <= done;
             block += FORMAT_BLOCK_BYTES) {
            const struct format_frame *frame =
                (const struct format_frame *)(const void *)(buffer + block);
            if (at + block == scan->offset) {
                ahead.begun = frame->uuid_low == scan->uuid_low;
            }
            if (!format_frame_check(frame, scan->uuid_low, scan->seed) ||
                frame->commit < expected_commit) {
                continue;
            }
            ahead.frames++;
            ahead.last_end = at + block + format_round_block(frame->bytes);
            if (at + block > scan->offset && frame->commit > expected_commit &&
                ahead.resume_at == 0) {
                ahead.resume_at = at + block;
                ahead.resume_commit = frame->commit;
            }
            ahead.damage |= frame->durable_commit >= expected_commit;
        }
        if (done < bytes) {
            break;
        }
        at += bytes;
    }
    window_reset(scan, scan->offset);
    *ret_ahead = ahead;
    return BK_OK;
}

void scan_resume(struct scan *scan, uint64_t offset)
{
    bk_assert(offset > scan->offset || scan->commit == 0);
    scan->offset = offset;
    scan->commit = 0;
    window_reset(scan, offset);
}

void scan_again(struct scan *scan)
{
    window_reset(scan, scan->offset);
}

enum bk_err scan_head(struct scan *scan, int file, struct scan_head *ret_head)
{
    size_t done = 0;
    enum bk_err err = file_read(file, scan->buffer, (size_t)2 * FORMAT_BLOCK_BYTES, 0, &done);
    if (err != BK_OK) {
        return err;
    }
    if (done < FORMAT_BLOCK_BYTES) {
        return BK_CORRUPT;
    }
    memcpy(&ret_head->block, scan->buffer, sizeof ret_head->block);
    ret_head->opened = false;
    err = format_segment_check(&ret_head->block);
    if (err != BK_OK || done < 2 * FORMAT_BLOCK_BYTES) {
        return err;
    }
    const struct format_segment *block = &ret_head->block;
    const struct format_frame *frame =
        (const struct format_frame *)(const void *)(scan->buffer + FORMAT_FRAME_AT);
    uint32_t seed = format_seed(block->uuid);
    if (format_frame_check(frame, block->uuid[0], seed) && (frame->flags & FORMAT_OPENING) &&
        frame->previous_crc == block->crc && format_frame_verify(frame, seed)) {
        ret_head->opened = true;
        ret_head->frame = *frame;
        ret_head->opening = *format_frame_opening(frame);
    }
    return BK_OK;
}
