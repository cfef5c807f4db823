/* maker.c - spare segments: a file of written zeros with a durable block 0 under its final name.
 *
 * A spare has its number from the start, so files of one journal are numbered without holes and a
 * missing one is noticed. Built as "tmp-" + name, which a start removes; the rename is the last
 * thing that makes it a segment.
 */
#include "base/log.h"
#include "journal/catalog_state.h"
#include "journal/mark.h"
#include "ring/file.h"

#include <stdlib.h>
#include <sys/mman.h>

/* A step of writing zeros: such writes cost by the piece, so few large ones. */
#define ZERO_BYTES      1048576U
#define ZEROS_MAP_BYTES 2097152U
/* Zeros are written at this pace (32 MiB/s), or as fast as the journal's use of the room it has
 * asks for: a commit's flush waits for everything in the device's cache. How much that matters
 * depends on the disk; on a noisy shared one no difference could be measured. */
#define PACE_NS 32000000ULL

enum bk_err maker_init(struct catalog *catalog)
{
    struct catalog_maker *maker = &catalog->maker;
    maker->file = -1;
    maker->block = aligned_alloc(FORMAT_BLOCK_BYTES, FORMAT_BLOCK_BYTES);
    return maker->block ? BK_OK : BK_NO_MEMORY;
}

void maker_fini(struct catalog *catalog)
{
    struct catalog_maker *maker = &catalog->maker;
    if (maker->file >= 0) {
        file_close(maker->file);
    }
    free(maker->block);
    free(maker->zeros);
}

static unsigned spares_of(const struct catalog_journal *journal)
{
    unsigned count = 0;
    for (const struct list *node = journal->segments.next; node != &journal->segments;
         node = node->next) {
        const struct segment *segment = bk_container_of(node, const struct segment, node);
        count += segment->state == SEGMENT_SPARE &&
                 !atomic_load_explicit(&segment->taken, memory_order_relaxed);
    }
    return count;
}

/* The journal that needs a spare most. */
static struct catalog_journal *neediest(struct catalog *catalog)
{
    struct catalog_journal *found = NULL;
    unsigned found_spares = 0;
    for (unsigned id = 0; id < catalog->journals_end; id++) {
        struct catalog_journal *journal = catalog->journals[id];
        if (!journal || !journal->writer || !journal->ring) {
            continue;
        }
        unsigned spares = spares_of(journal);
        if (spares < (journal->rolled ? 2U : 1U) && (!found || spares < found_spares)) {
            found = journal;
            found_spares = spares;
        }
    }
    return found;
}

/* Bytes the journal can still write without a new spare. */
static uint64_t capacity_of(const struct catalog_journal *journal)
{
    uint64_t bytes = 0;
    for (const struct list *node = journal->segments.next; node != &journal->segments;
         node = node->next) {
        const struct segment *segment = bk_container_of(node, const struct segment, node);
        if (segment->state == SEGMENT_LIVE || segment->state == SEGMENT_SPARE) {
            uint64_t used = atomic_load_explicit(&segment->durable_bytes, memory_order_relaxed);
            bytes += segment->bytes > used ? segment->bytes - used : 0;
        }
    }
    return bytes;
}

/* Must zeroing go on at once? The file shall be ready when half of the room there was is used up.
 */
static bool urgent(const struct catalog_maker *maker)
{
    uint64_t left = capacity_of(maker->journal);
    if (maker->capacity < maker->bytes / 8 || left < maker->capacity / 2) {
        return true;
    }
    double used = (double)(maker->capacity - (left < maker->capacity ? left : maker->capacity));
    return (double)maker->zeroed / (double)maker->bytes < 2 * used / (double)maker->capacity;
}

static bool must_wait(const struct catalog *catalog)
{
    const struct catalog_maker *maker = &catalog->maker;
    return maker->state == MAKE_ZERO && catalog_clock(catalog) < maker->pace_ns && !urgent(maker);
}

uint64_t maker_next_ns(const struct catalog *catalog)
{
    uint64_t pace_ns = must_wait(catalog) ? catalog->maker.pace_ns : UINT64_MAX;
    uint64_t lend_ns = catalog->maker.lend_ns != 0 ? catalog->maker.lend_ns : UINT64_MAX;
    return pace_ns < lend_ns ? pace_ns : lend_ns;
}

/* Spares that were refused for want of a descriptor: nobody makes others while they are there. */
static void lend_again(struct catalog *catalog)
{
    catalog->maker.lend_ns = 0;
    for (unsigned id = 0; id < catalog->journals_end; id++) {
        struct catalog_journal *journal = catalog->journals[id];
        if (!journal || !journal->ring) {
            continue;
        }
        for (struct list *node = journal->segments.next; node != &journal->segments;
             node = node->next) {
            struct segment *segment = bk_container_of(node, struct segment, node);
            if (segment->state == SEGMENT_SPARE && !segment->journal && segment->unattached) {
                maker_lend(catalog, journal, segment);
            }
        }
    }
}

/* Memory that most never need: the device zeroes by itself, or no file is made. */
static enum bk_err zeros_take(struct catalog_maker *maker)
{
    if (maker->zeros) {
        return BK_OK;
    }
    maker->zeros = aligned_alloc(ZEROS_MAP_BYTES, ZEROS_MAP_BYTES);
    if (!maker->zeros) {
        return BK_NO_MEMORY;
    }
    /* One huge page, where there are any: the kernel then takes it as one piece, not page by page,
     * which was a quarter of the cost of writing zeros. */
    (void)madvise(maker->zeros, ZEROS_MAP_BYTES, MADV_HUGEPAGE);
    memset(maker->zeros, 0, ZERO_BYTES);
    return BK_OK;
}

static enum bk_err begin_new(struct catalog *catalog, const char *path)
{
    struct catalog_maker *maker = &catalog->maker;
    enum bk_err err = file_open(
        path, FILE_READ | FILE_WRITE | FILE_CREATE | FILE_TRUNCATE | FILE_DIRECT, &maker->file);
    if (err == BK_OK) {
        err = file_allocate(maker->file, maker->bytes);
    }
    if (err != BK_OK) {
        return err;
    }
    err = file_zero(maker->file, 0, maker->bytes);
    if (err == BK_OK) {
        maker->state = MAKE_HEADER;
    } else if (err == BK_UNSUPPORTED) {
        maker->state = MAKE_ZERO;
        maker->zeroed = 0;
        err = zeros_take(maker);
    }
    return err;
}

/* A file of another life: block 0 gets a new uuid, so that what it holds is no frame any more. */
static enum bk_err begin_recycled(struct catalog *catalog, const char *path)
{
    struct catalog_maker *maker = &catalog->maker;
    char from[CATALOG_PATH_BYTES];
    catalog_path_name(catalog, from, catalog->pool[--catalog->pool_count]);
    enum bk_err err = file_rename(from, path);
    if (err == BK_OK) {
        err = file_open(path, FILE_READ | FILE_WRITE | FILE_DIRECT, &maker->file);
    }
    if (err == BK_OK) {
        maker->state = MAKE_HEADER;
        maker->recycled = true;
    }
    return err;
}

static enum bk_err begin(struct catalog *catalog, struct catalog_journal *journal)
{
    struct catalog_maker *maker = &catalog->maker;
    char path[CATALOG_PATH_BYTES];
    maker->journal = journal;
    maker->number = journal->next_number;
    maker->bytes = catalog_bytes_of(catalog, maker->number);
    maker->capacity = capacity_of(journal);
    maker->pace_ns = 0;
    maker->recycled = false;
    catalog_path(catalog, path, "tmp-", journal->id, maker->number, ".log");
    if (catalog->pool_count > 0 && maker->bytes == catalog->segment_bytes) {
        return begin_recycled(catalog, path);
    }
    return begin_new(catalog, path);
}

static enum bk_err zero_some(struct catalog *catalog)
{
    struct catalog_maker *maker = &catalog->maker;
    uint64_t left = maker->bytes - maker->zeroed;
    size_t bytes = (size_t)(left < ZERO_BYTES ? left : ZERO_BYTES);
    enum bk_err err = file_write(maker->file, maker->zeros, bytes, maker->zeroed);
    if (err == BK_OK) {
        maker->zeroed += bytes;
        maker->pace_ns = catalog_clock(catalog) + PACE_NS;
        if (maker->zeroed == maker->bytes) {
            maker->state = MAKE_HEADER;
        }
    }
    return err;
}

static enum bk_err write_header(struct catalog_maker *maker, int64_t now_ns)
{
    uint64_t uuid[2];
    ring_entropy(uuid, sizeof uuid);
    format_segment_init(maker->block, maker->journal->id, maker->number, uuid, maker->bytes,
                        now_ns);
    enum bk_err err = file_write(maker->file, maker->block, sizeof *maker->block, 0);
    if (err == BK_OK) {
        err = file_sync(maker->file);
    }
    if (err == BK_OK) {
        maker->state = MAKE_RENAME;
    }
    return err;
}

static enum bk_err name_it(struct catalog *catalog)
{
    struct catalog_maker *maker = &catalog->maker;
    char from[CATALOG_PATH_BYTES];
    char to[CATALOG_PATH_BYTES];
    catalog_path(catalog, from, "tmp-", maker->journal->id, maker->number, ".log");
    catalog_path(catalog, to, "", maker->journal->id, maker->number, ".log");
    enum bk_err err = file_rename(from, to);
    if (err == BK_OK) {
        maker->journal->next_number++;
        maker->state = MAKE_SYNC;
    }
    return err;
}

/* It is there from now on. */
static void mark_made(struct catalog *catalog, struct catalog_journal *journal)
{
    struct journal_mark now;
    mark_of(journal, &now);
    if (now.first < journal->mark.first) { /* it is being removed */
        now.first = journal->mark.first;
        now.first_uuid = journal->mark.first_uuid;
    }
    journal->mark = now;
    enum bk_err err = mark_write(catalog, journal->id, &journal->mark);
    if (err != BK_OK) { /* an older one is there: it asks for less */
        log_event(LOG_WARN, "journal_mark_failed", LOG_I("journal", journal->id),
                  LOG_Z("error", bk_err_text(err)));
    }
}

static enum bk_err finish(struct catalog *catalog)
{
    struct catalog_maker *maker = &catalog->maker;
    enum bk_err err = directory_sync(catalog->directory);
    struct segment *segment = err == BK_OK ? segment_new(catalog, maker->block) : NULL;
    if (!segment) {
        return err == BK_OK ? BK_NO_MEMORY : err;
    }
    segment->file = maker->file;
    segment->state = SEGMENT_SPARE;
    maker->file = -1;
    maker->state = MAKE_IDLE;
    maker->err = BK_OK;
    list_push_back(&maker->journal->segments, &segment->node);
    catalog->stats.made_total++;
    catalog->stats.recycled_total += maker->recycled;
    atomic_store_explicit(&maker->journal->spare_err, (int)BK_BUSY, memory_order_relaxed);
    mark_made(catalog, maker->journal);
    if (maker->journal->ring) {
        maker_lend(catalog, maker->journal, segment);
    }
    return BK_OK;
}

void maker_lend(struct catalog *catalog, struct catalog_journal *journal, struct segment *segment)
{
    bk_assert(segment->state == SEGMENT_SPARE);
    bk_assert(segment->handle < 0);
    segment->journal = journal->journal;
    segment->mail.run = journal_spare_run;
    ring_post(catalog->control, journal->ring, &segment->mail);
}

/* The file has its name, which may be lost, and could not be removed. Never to be written, it stays
 * in its place until retention takes it: forgotten, it would leave a hole when the next ones are
 * removed. */
static void keep_useless(struct catalog *catalog)
{
    struct catalog_maker *maker = &catalog->maker;
    struct segment *segment = segment_new(catalog, maker->block);
    if (segment) {
        segment->state = SEGMENT_ABANDONED;
        segment->indexed = true;
        list_push_back(&maker->journal->segments, &segment->node);
    }
}

/* Nothing of a half-made file stays; the next try starts anew. */
static void give_up(struct catalog *catalog, enum bk_err err, int64_t now_ns)
{
    struct catalog_maker *maker = &catalog->maker;
    if (maker->file >= 0) {
        file_close(maker->file);
        maker->file = -1;
    }
    if (maker->state == MAKE_SYNC) {
        /* It may or may not survive a crash under its final name, unused in either case; use it up.
         */
        char path[CATALOG_PATH_BYTES];
        catalog_path(catalog, path, "", maker->journal->id, maker->number, ".log");
        if (file_unlink(path) == BK_OK) {
            maker->journal->next_number--;
        } else {
            keep_useless(catalog);
        }
    } else {
        char path[CATALOG_PATH_BYTES];
        catalog_path(catalog, path, "tmp-", maker->journal->id, maker->number, ".log");
        (void)(file_unlink(path) == BK_OK); /* perhaps it was not even made */
    }
    if (maker->err != err) {
        log_event(LOG_ERROR, "journal_no_spare", LOG_I("journal", maker->journal->id),
                  LOG_Z("error", bk_err_text(err)));
    }
    maker->state = MAKE_IDLE;
    maker->err = err;
    maker->retry_ns = now_ns + CATALOG_RETRY_NS;
    catalog->stats.failures_total++;
    enum bk_err seen = err == BK_NO_SPACE ? BK_NO_SPACE : BK_IO;
    for (unsigned id = 0; id < FORMAT_JOURNALS_MAX; id++) { /* it is the same disk for all */
        if (catalog->journals[id]) {
            atomic_store_explicit(&catalog->journals[id]->spare_err, (int)seen,
                                  memory_order_relaxed);
        }
    }
}

static enum bk_err advance(struct catalog *catalog, int64_t now_ns)
{
    struct catalog_maker *maker = &catalog->maker;
    switch (maker->state) {
    case MAKE_ZERO:
        return zero_some(catalog);
    case MAKE_HEADER:
        return write_header(maker, now_ns);
    case MAKE_RENAME:
        return name_it(catalog);
    case MAKE_SYNC:
        return finish(catalog);
    case MAKE_IDLE:
        break;
    }
    bk_never("an idle maker has nothing to advance");
}

bool maker_step(struct catalog *catalog, int64_t now_ns)
{
    struct catalog_maker *maker = &catalog->maker;
    enum bk_err err;
    if (maker->lend_ns != 0 && catalog_clock(catalog) >= maker->lend_ns) {
        lend_again(catalog);
    }
    if (maker->state == MAKE_IDLE) {
        if (maker->err != BK_OK && !catalog_due(maker->retry_ns, now_ns)) {
            return false;
        }
        struct catalog_journal *journal = neediest(catalog);
        if (!journal) {
            return false;
        }
        err = begin(catalog, journal);
    } else if (must_wait(catalog)) {
        return false;
    } else {
        err = advance(catalog, now_ns);
    }
    if (err != BK_OK) {
        give_up(catalog, err, now_ns);
        return false;
    }
    return true;
}

enum bk_err maker_make(struct catalog *catalog, struct catalog_journal *journal, int64_t now_ns,
                       struct segment **ret_segment)
{
    struct catalog_maker *maker = &catalog->maker;
    bk_assert(maker->state == MAKE_IDLE);
    enum bk_err err = begin(catalog, journal);
    while (err == BK_OK && maker->state != MAKE_IDLE) {
        err = advance(catalog, now_ns);
    }
    if (err != BK_OK) {
        give_up(catalog, err, now_ns);
        return err;
    }
    *ret_segment = bk_container_of(journal->segments.prev, struct segment, node);
    return BK_OK;
}
