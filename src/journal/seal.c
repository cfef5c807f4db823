/* seal.c - one sealed segment after the other is read once, verified, and gets its sidecar. */
#include "base/log.h"
#include "journal/catalog_state.h"
#include "ring/file.h"

#include <stdlib.h>

/* One read or write of 1 MiB in this time (250 MiB/s), unless segments fill up faster than that. */
#define PACE_NS 4000000ULL

/* Needs a sidecar and has none. The journal has given it back. */
static struct segment *next_unindexed(struct catalog *catalog)
{
    for (unsigned id = 0; id < catalog->journals_end; id++) {
        struct catalog_journal *journal = catalog->journals[id];
        if (!journal) {
            continue;
        }
        for (struct list *node = journal->segments.next; node != &journal->segments;
             node = node->next) {
            struct segment *segment = bk_container_of(node, struct segment, node);
            bool complete = segment->state == SEGMENT_SEALED || segment->state == SEGMENT_ABANDONED;
            if (complete && !segment->indexed && !segment->damaged) {
                return segment;
            }
        }
    }
    return NULL;
}

static void reset(struct catalog_sealer *sealer)
{
    if (sealer->file >= 0) {
        file_close(sealer->file);
        sealer->file = -1;
    }
    if (sealer->scan.buffer_bytes > SCAN_BUFFER_BYTES) {
        scan_fini(&sealer->scan);
    }
    index_builder_fini(&sealer->builder);
    free(sealer->image);
    sealer->image = NULL;
    sealer->segment = NULL;
    sealer->state = SEAL_IDLE;
}

void catalog_seal_fini(struct catalog *catalog)
{
    reset(&catalog->sealer);
    scan_fini(&catalog->sealer.scan);
}

static enum bk_err begin(struct catalog *catalog, struct segment *segment)
{
    struct catalog_sealer *sealer = &catalog->sealer;
    sealer->segment = segment;
    index_builder_init(&sealer->builder);
    enum bk_err err = sealer->scan.buffer ? BK_OK : scan_init(&sealer->scan);
    if (err == BK_OK) {
        err = segment_file(catalog, segment);
    }
    if (err == BK_OK) {
        scan_begin(&sealer->scan, segment->file, segment->uuid, segment->block_crc,
                   segment->durable_bytes);
        sealer->state = SEAL_SCAN;
    }
    return err;
}

/* All frames were read: is it all that was acknowledged? */
static enum bk_err scanned(struct catalog *catalog)
{
    struct catalog_sealer *sealer = &catalog->sealer;
    struct segment *segment = sealer->segment;
    char path[CATALOG_PATH_BYTES];
    if (sealer->builder.end != segment->durable_bytes) {
        catalog_path(catalog, path, "", segment->journal_id, segment->number, ".log");
        log_event(LOG_ERROR, "journal_damage", LOG_Z("file", path),
                  LOG_I("offset", sealer->scan.offset),
                  LOG_Z("hint", "acknowledged records do not read back: check the disk, "
                                "then run becket journal check"));
        segment->damaged = true;
        return BK_CORRUPT;
    }
    segment->last_commit = sealer->builder.last_commit;
    enum bk_err err = index_image(&sealer->builder, segment, segment->state, &sealer->image,
                                  &sealer->image_bytes);
    if (err == BK_OK) {
        catalog_path(catalog, path, "tmp-", segment->journal_id, segment->number, ".idx");
        err = file_open(path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &sealer->file);
    }
    sealer->written = 0;
    sealer->state = SEAL_WRITE;
    return err;
}

static enum bk_err scan_some(struct catalog *catalog)
{
    struct catalog_sealer *sealer = &catalog->sealer;
    uint64_t read_before = sealer->scan.read_bytes;
    enum bk_err err = BK_OK;
    while (err == BK_OK && sealer->scan.read_bytes == read_before) {
        const struct format_frame *frame = NULL;
        uint64_t offset = sealer->scan.offset;
        err = scan_next(&sealer->scan, &frame);
        if (err == BK_OK) {
            err = index_builder_add(&sealer->builder, sealer->segment, false, offset, frame);
        }
    }
    if (err == BK_NOT_FOUND) {
        return scanned(catalog);
    }
    return err == BK_AGAIN ? BK_OK : err;
}

static enum bk_err write_some(struct catalog_sealer *sealer)
{
    size_t left = sealer->image_bytes - sealer->written;
    if (left == 0) {
        enum bk_err err = file_sync(sealer->file);
        sealer->state = SEAL_RENAME;
        return err;
    }
    size_t bytes = left < INDEX_WRITE_BYTES ? left : INDEX_WRITE_BYTES;
    enum bk_err err =
        file_write(sealer->file, sealer->image + sealer->written, bytes, sealer->written);
    sealer->written += bytes;
    return err;
}

static enum bk_err name_it(struct catalog *catalog)
{
    struct segment *segment = catalog->sealer.segment;
    char from[CATALOG_PATH_BYTES];
    char to[CATALOG_PATH_BYTES];
    catalog_path(catalog, from, "tmp-", segment->journal_id, segment->number, ".idx");
    catalog_path(catalog, to, "", segment->journal_id, segment->number, ".idx");
    catalog->sealer.state = SEAL_SYNC;
    return file_rename(from, to);
}

static enum bk_err finish(struct catalog *catalog)
{
    struct segment *segment = catalog->sealer.segment;
    enum bk_err err = directory_sync(catalog->directory);
    if (err == BK_OK) {
        segment->indexed = true;
        catalog->stats.indexed_total++;
        file_close(segment->file); /* there may be hundreds; a reader opens it again */
        segment->file = -1;
        reset(&catalog->sealer);
    }
    return err;
}

/* Another one waits already. */
static bool behind(struct catalog *catalog)
{
    bool indexed = catalog->sealer.segment->indexed;
    catalog->sealer.segment->indexed = true;
    bool more = next_unindexed(catalog) != NULL;
    catalog->sealer.segment->indexed = indexed;
    return more;
}

static bool must_wait(struct catalog *catalog)
{
    const struct catalog_sealer *sealer = &catalog->sealer;
    return (sealer->state == SEAL_SCAN || sealer->state == SEAL_WRITE) &&
           catalog_clock(catalog) < sealer->pace_ns && !behind(catalog);
}

uint64_t seal_next_ns(struct catalog *catalog)
{
    return must_wait(catalog) ? catalog->sealer.pace_ns : UINT64_MAX;
}

bool seal_step(struct catalog *catalog, int64_t now_ns)
{
    struct catalog_sealer *sealer = &catalog->sealer;
    enum bk_err err = BK_OK;
    if (must_wait(catalog)) {
        return false;
    }
    sealer->pace_ns = catalog_clock(catalog) + PACE_NS;
    switch (sealer->state) {
    case SEAL_IDLE: {
        struct segment *segment =
            catalog_due(sealer->retry_ns, now_ns) ? next_unindexed(catalog) : NULL;
        if (!segment) {
            return false;
        }
        err = begin(catalog, segment);
        break;
    }
    case SEAL_SCAN:
        err = scan_some(catalog);
        break;
    case SEAL_WRITE:
        err = write_some(sealer);
        break;
    case SEAL_RENAME:
        err = name_it(catalog);
        break;
    case SEAL_SYNC:
        err = finish(catalog);
        break;
    }
    if (err != BK_OK) { /* without a sidecar the next start only takes longer */
        reset(sealer);
        sealer->retry_ns = now_ns + CATALOG_RETRY_NS;
        catalog->stats.failures_total++;
        return err == BK_CORRUPT;
    }
    return true;
}
