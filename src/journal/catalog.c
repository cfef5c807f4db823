/* catalog.c - the list of segments, mail from the journals, and the order of background work. */
#include "journal/catalog.h"

#include "base/log.h"
#include "journal/catalog_state.h"
#include "ring/file.h"

#include <stdio.h>
#include <stdlib.h>

#define SEGMENT_BYTES_DEFAULT    (128ULL << 20)
#define SEGMENT_BYTES_SMALL_DISK (64ULL << 20)
#define SEGMENT_BYTES_MIN        (1ULL << 20)
#define SMALL_DISK_BYTES         (32ULL << 30)
#define SMALL_FREE_BYTES         (10ULL << 30)

/* ---- names and sizes */

void catalog_path_name(const struct catalog *catalog, char ret_path[CATALOG_PATH_BYTES],
                       const char *name)
{
    int count = snprintf(ret_path, CATALOG_PATH_BYTES, "%s/%s", catalog->directory, name);
    bk_assert(count > 0 &&
              (unsigned)count <
                  CATALOG_PATH_BYTES); /* catalog_open checked the directory's length */
}

void catalog_path(const struct catalog *catalog, char ret_path[CATALOG_PATH_BYTES],
                  const char *prefix, uint16_t journal, uint64_t number, const char *suffix)
{
    char name[FORMAT_NAME_BYTES];
    char full[FORMAT_NAME_BYTES + 8];
    format_name(name, journal, number, suffix);
    int count = snprintf(full, sizeof full, "%s%s", prefix, name);
    bk_assert(count > 0 && (size_t)count < sizeof full);
    catalog_path_name(catalog, ret_path, full);
}

uint64_t catalog_bytes_of(const struct catalog *catalog, uint64_t number)
{
    bk_assert(number > 0);
    uint64_t bytes = number < 4 ? catalog->segment_bytes >> (4 - number) : catalog->segment_bytes;
    bytes = bytes < SEGMENT_BYTES_MIN ? SEGMENT_BYTES_MIN : bytes;
    return bytes & ~(uint64_t)(FORMAT_BLOCK_BYTES - 1);
}

static enum bk_err choose_segment_bytes(struct catalog *catalog, uint64_t wanted)
{
    if (wanted != 0) {
        catalog->segment_bytes = wanted;
        return wanted % FORMAT_BLOCK_BYTES == 0 && wanted >= SEGMENT_BYTES_MIN &&
                       wanted <= 1ULL << 40
                   ? BK_OK
                   : BK_INVALID;
    }
    uint64_t free_bytes = 0;
    uint64_t total_bytes = 0;
    enum bk_err err = file_system_space(catalog->directory, &free_bytes, &total_bytes);
    bool small = err == BK_OK && (total_bytes < SMALL_DISK_BYTES || free_bytes < SMALL_FREE_BYTES);
    catalog->segment_bytes = small ? SEGMENT_BYTES_SMALL_DISK : SEGMENT_BYTES_DEFAULT;
    return err;
}

/* ---- objects */

struct catalog_journal *catalog_journal_new(struct catalog *catalog, uint16_t id)
{
    bk_assert(id < FORMAT_JOURNALS_MAX);
    if (!catalog->journals[id]) {
        struct catalog_journal *journal = calloc(1, sizeof *journal);
        if (!journal) {
            return NULL;
        }
        journal->id = id;
        journal->next_number = 1;
        list_init(&journal->segments);
        atomic_init(&journal->spare_err, (int)BK_BUSY);
        catalog->journals[id] = journal;
        catalog->journals_end = id < catalog->journals_end ? catalog->journals_end : id + 1U;
    }
    return catalog->journals[id];
}

struct segment *segment_new(struct catalog *catalog, const struct format_segment *block)
{
    struct segment *segment = calloc(1, sizeof *segment);
    if (!segment) {
        return NULL;
    }
    segment->mark_max = segment_mark_max(block->bytes);
    segment->marks = calloc(segment->mark_max, sizeof *segment->marks);
    if (!segment->marks) {
        free(segment);
        return NULL;
    }
    segment->catalog = catalog;
    segment->file = -1;
    segment->handle = -1;
    segment->journal_id = block->journal;
    segment->number = block->number;
    segment->uuid[0] = block->uuid[0];
    segment->uuid[1] = block->uuid[1];
    segment->seed = format_seed(block->uuid);
    segment->block_crc = block->crc;
    segment->bytes = block->bytes;
    segment->created_ns = block->created_ns;
    segment->state = SEGMENT_SPARE;
    return segment;
}

void segment_free(struct segment *segment)
{
    if (segment->file >= 0) {
        file_close(segment->file);
    }
    free(segment->marks);
    free(segment);
}

enum bk_err segment_file(struct catalog *catalog, struct segment *segment)
{
    if (segment->file >= 0) {
        return BK_OK;
    }
    char path[CATALOG_PATH_BYTES];
    catalog_path(catalog, path, "", segment->journal_id, segment->number, ".log");
    unsigned flags = FILE_READ | FILE_DIRECT | (catalog->read_only ? 0U : (unsigned)FILE_WRITE);
    return file_open(path, flags, &segment->file);
}

/* ---- mail */

void catalog_hello_run(struct ring_mail *mail)
{
    struct catalog_hello *hello = bk_container_of(mail, struct catalog_hello, mail);
    struct catalog *catalog = hello->catalog;
    struct catalog_journal *journal = catalog->journals[hello->id];
    bk_assert(journal && journal->writer);
    if (hello->bye) {
        journal->ring = NULL;
        journal->journal = NULL;
        hello->mail.run = journal_bye_run;
        ring_post(catalog->control, hello->ring, &hello->mail);
        return;
    }
    journal->ring = hello->ring;
    journal->journal = hello->journal;
    journal->start.segment->state = SEGMENT_LIVE;
    for (struct list *node = journal->segments.next; node != &journal->segments;
         node = node->next) {
        struct segment *segment = bk_container_of(node, struct segment, node);
        if (segment->state == SEGMENT_SPARE) {
            maker_lend(catalog, journal, segment);
        }
    }
}

/* What the journal took meanwhile is live. */
static void find_live(struct catalog_journal *journal)
{
    for (struct list *node = journal->segments.prev; node != &journal->segments;
         node = node->prev) {
        struct segment *segment = bk_container_of(node, struct segment, node);
        if (segment->state == SEGMENT_SPARE && atomic_load(&segment->taken)) {
            segment->state = SEGMENT_LIVE;
        }
    }
}

void catalog_retired_run(struct ring_mail *mail)
{
    struct segment *segment = bk_container_of(mail, struct segment, mail);
    struct catalog *catalog = segment->catalog;
    struct catalog_journal *journal = catalog->journals[segment->journal_id];
    segment->journal = NULL;
    if (segment->failed) {
        segment->state = SEGMENT_ABANDONED;
        segment->indexed = atomic_load(&segment->durable_bytes) == 0; /* nothing in it to index */
    } else if (atomic_load(&segment->durable_bytes) == 0) {
        if (segment->unattached) {
            catalog->maker.lend_ns = catalog_clock(catalog) + (uint64_t)CATALOG_RETRY_NS;
        }
        return; /* a spare that was not used */
    } else if (!journal->ring) {
        return; /* after bye: it stays the journal's last one, to go on in after the next start */
    } else {
        segment->state = SEGMENT_SEALED;
    }
    journal->rolled = true;
    find_live(journal);
}

/* ---- for the journals */

const struct journal_start *catalog_journal_start(const struct catalog *catalog, uint16_t id)
{
    bk_assert(id < FORMAT_JOURNALS_MAX && catalog->journals[id]);
    bk_assert(catalog->journals[id]->writer);
    return &catalog->journals[id]->start;
}

struct ring *catalog_ring(const struct catalog *catalog)
{
    bk_assert(catalog->control);
    return catalog->control;
}

enum bk_err catalog_spare_err(const struct catalog *catalog, uint16_t id)
{
    return (enum bk_err)atomic_load_explicit(&catalog->journals[id]->spare_err,
                                             memory_order_relaxed);
}

uint64_t catalog_segment_bytes(const struct catalog *catalog)
{
    return catalog->segment_bytes;
}

/* ---- life cycle */

/* On a full disk what need not be kept goes first: else a server that was stopped there could not
 * start again with a smaller --retain-bytes. Nothing goes by age yet: retain.c. */
static enum bk_err make_first(struct catalog *catalog, struct catalog_journal *journal,
                              int64_t now_ns, struct segment **ret_segment)
{
    enum bk_err err = maker_make(catalog, journal, now_ns, ret_segment);
    while (err == BK_NO_SPACE && retain_step(catalog, now_ns)) {
        while (catalog->remover.state != REMOVE_IDLE && retain_step(catalog, now_ns)) {
        }
        err = maker_make(catalog, journal, now_ns, ret_segment);
    }
    return err;
}

static enum bk_err first_segments(struct catalog *catalog, uint16_t journals, int64_t now_ns)
{
    for (uint16_t id = 0; id < journals; id++) {
        struct catalog_journal *journal = catalog->journals[id];
        if (journal->start.segment) {
            continue;
        }
        struct segment *segment = NULL;
        for (struct list *node = journal->segments.next; node != &journal->segments && !segment;
             node = node->next) {
            struct segment *spare = bk_container_of(node, struct segment, node);
            segment = spare->state == SEGMENT_SPARE ? spare : NULL;
        }
        enum bk_err err = segment ? segment_file(catalog, segment)
                                  : make_first(catalog, journal, now_ns, &segment);
        if (err != BK_OK) {
            return err;
        }
        segment->state = SEGMENT_LIVE;
        atomic_store(&segment->taken, true);
        journal->start.segment = segment;
        journal->start.offset = FORMAT_FRAME_AT;
        journal->start.previous_crc = segment->block_crc;
    }
    return BK_OK;
}

/* The directory's own name must be durable too, also when an earlier process made it. */
static enum bk_err make_directory(const char *path)
{
    char parent[CATALOG_PATH_BYTES];
    const char *slash = strrchr(path, '/');
    size_t bytes = slash ? (size_t)(slash - path) : 0;
    if (bytes >= sizeof parent) {
        return BK_INVALID;
    }
    memcpy(parent, path, bytes);
    parent[bytes] = '\0';
    enum bk_err err = directory_make(path);
    /* Where copies are written, a commit would need room that nobody set aside. */
    if (err == BK_OK && file_in_place(path) == BK_OK) {
        log_event(LOG_DEBUG, "journal files are overwritten in place", LOG_Z("path", path));
    }
    if (err == BK_OK) {
        err = directory_sync(!slash ? "." : bytes ? parent : "/");
    }
    return err;
}

static enum bk_err open_directory(struct catalog *catalog, const struct catalog_config *config)
{
    if (strlen(config->directory) > CATALOG_PATH_BYTES - FORMAT_NAME_BYTES - 16) {
        return BK_TOO_LARGE;
    }
    catalog->directory = strdup(config->directory);
    if (!catalog->directory) {
        return BK_NO_MEMORY;
    }
    enum bk_err err = config->read_only ? BK_OK : make_directory(config->directory);
    if (err == BK_OK) {
        err = choose_segment_bytes(catalog, config->segment_bytes);
    }
    for (uint16_t id = 0; err == BK_OK && id < config->journals; id++) {
        struct catalog_journal *journal = catalog_journal_new(catalog, id);
        if (!journal) {
            return BK_NO_MEMORY;
        }
        journal->writer = !config->read_only;
    }
    return err;
}

enum bk_err catalog_new(const struct catalog_config *config, struct catalog **ret_catalog)
{
    bk_assert(config->journals <= FORMAT_JOURNALS_MAX);
    struct catalog *catalog = calloc(1, sizeof *catalog);
    if (!catalog) {
        return BK_NO_MEMORY;
    }
    list_init(&catalog->orphans);
    catalog->maker.file = -1;
    catalog->sealer.file = -1;
    catalog->retain_bytes = config->retain_bytes;
    catalog->retain_ns = config->retain_ns;
    catalog->dedupe_window_ns = config->dedupe_window_ns;
    catalog->read_only = config->read_only;
    catalog->accept_damage = config->accept_damage;
    enum bk_err err = open_directory(catalog, config);
    if (err == BK_OK) {
        err = maker_init(catalog);
    }
    if (err != BK_OK) {
        catalog_close(catalog);
        return err;
    }
    *ret_catalog = catalog;
    return BK_OK;
}

enum bk_err catalog_open(const struct catalog_config *config, int64_t now_ns, journal_seen_fn *seen,
                         void *context, struct journal_report *ret_report,
                         struct catalog **ret_catalog)
{
    struct catalog *catalog = NULL;
    memset(ret_report, 0, sizeof *ret_report);
    enum bk_err err = catalog_new(config, &catalog);
    if (err == BK_OK) {
        err = catalog_recover(catalog, now_ns, seen, context, ret_report);
    }
    if (err == BK_OK && !config->read_only) {
        err = first_segments(catalog, config->journals, now_ns);
    }
    if (err == BK_OK) {
        *ret_catalog = catalog;
        return BK_OK;
    }
    if (ret_report->problem[0] == '\0') {
        snprintf(ret_report->problem, sizeof ret_report->problem, "%.300s: %s", config->directory,
                 err == BK_EXISTS ? "this is no directory; move it away" : bk_err_text(err));
    }
    if (catalog) {
        catalog_close(catalog);
    }
    return err;
}

void catalog_close(struct catalog *catalog)
{
    catalog_seal_fini(catalog);
    maker_fini(catalog);
    for (unsigned id = 0; id < catalog->journals_end; id++) {
        struct catalog_journal *journal = catalog->journals[id];
        struct list *node;
        while (journal && (node = list_pop_front(&journal->segments)) != NULL) {
            segment_free(bk_container_of(node, struct segment, node));
        }
        free(journal);
    }
    struct list *node;
    while ((node = list_pop_front(&catalog->orphans)) != NULL) {
        free(bk_container_of(node, struct catalog_orphan, node));
    }
    free(catalog->directory);
    free(catalog);
}

void catalog_start(struct catalog *catalog, struct ring *control)
{
    bk_assert(!catalog->read_only);
    catalog->control = control;
}

bool catalog_step(struct catalog *catalog, int64_t now_ns)
{
    bk_assert(!catalog->read_only);
    /* A journal without a spare refuses events; a segment without a sidecar costs time at the next
     * start; the rest can wait. Removing goes first only when the disk is full. */
    if (catalog->maker.err == BK_NO_SPACE && retain_step(catalog, now_ns)) {
        return true;
    }
    return maker_step(catalog, now_ns) || seal_step(catalog, now_ns) ||
           retain_step(catalog, now_ns);
}

uint64_t catalog_next_ns(struct catalog *catalog)
{
    uint64_t next_ns = maker_next_ns(catalog);
    uint64_t seal_ns = seal_next_ns(catalog);
    uint64_t retain_ns = retain_next_ns(catalog);
    next_ns = seal_ns < next_ns ? seal_ns : next_ns;
    return retain_ns < next_ns ? retain_ns : next_ns;
}

void catalog_retain(struct catalog *catalog, uint64_t retain_bytes, int64_t retain_ns)
{
    catalog->retain_bytes = retain_bytes;
    catalog->retain_ns = retain_ns;
}

void catalog_guard(struct catalog *catalog, catalog_owed_fn *owed, void *context)
{
    catalog->owed = owed;
    catalog->owed_context = context;
}

/* ---- views */

void catalog_each(const struct catalog *catalog, catalog_segment_fn *each, void *context)
{
    for (unsigned id = 0; id < catalog->journals_end; id++) {
        const struct catalog_journal *journal = catalog->journals[id];
        if (!journal) {
            continue;
        }
        for (const struct list *node = journal->segments.next; node != &journal->segments;
             node = node->next) {
            const struct segment *segment = bk_container_of(node, const struct segment, node);
            uint64_t durable = atomic_load_explicit(&segment->durable_bytes, memory_order_acquire);
            bool live = segment->state == SEGMENT_SPARE && atomic_load(&segment->taken);
            struct catalog_segment view = {.journal = segment->journal_id,
                                           .number = segment->number,
                                           .state = live ? SEGMENT_LIVE : segment->state,
                                           .indexed = segment->indexed,
                                           .first_sequence = segment->first_sequence,
                                           .last_sequence = segment->last_sequence,
                                           .first_ns = segment->first_ns,
                                           .last_ns = segment->last_ns,
                                           .bytes = segment->bytes,
                                           .durable_bytes = durable};
            each(&view, context);
        }
    }
}

static void count_segment(const struct catalog_segment *segment, void *context)
{
    struct catalog_stats *stats = context;
    stats->segments++;
    stats->live += segment->state == SEGMENT_LIVE;
    stats->sealed += segment->state == SEGMENT_SEALED;
    stats->abandoned += segment->state == SEGMENT_ABANDONED;
    stats->spares += segment->state == SEGMENT_SPARE;
    stats->file_bytes += segment->bytes;
    stats->used_bytes += segment->durable_bytes;
    if (segment->first_sequence != 0 &&
        (stats->oldest_ns == 0 || segment->first_ns < stats->oldest_ns)) {
        stats->oldest_ns = segment->first_ns;
    }
}

void catalog_stats(const struct catalog *catalog, struct catalog_stats *ret_stats)
{
    *ret_stats = catalog->stats;
    ret_stats->segments = ret_stats->live = ret_stats->sealed = ret_stats->abandoned =
        ret_stats->spares = 0;
    ret_stats->file_bytes = ret_stats->used_bytes = 0;
    ret_stats->oldest_ns = 0;
    catalog_each(catalog, count_segment, ret_stats);
    ret_stats->recycled = catalog->pool_count;
    ret_stats->file_bytes += catalog->pool_count * catalog->segment_bytes;
    ret_stats->maker_err = catalog->maker.err;
}

unsigned catalog_journals(const struct catalog *catalog, uint16_t *ret_ids, unsigned max)
{
    unsigned count = 0;
    for (unsigned id = 0; id < catalog->journals_end; id++) {
        if (catalog->journals[id] && !list_empty(&catalog->journals[id]->segments)) {
            if (count < max) {
                ret_ids[count] = (uint16_t)id;
            }
            count++;
        }
    }
    return count;
}
