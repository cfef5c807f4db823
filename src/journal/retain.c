/* retain.c - what is too old or too much goes: into the pool of spare files, or away in small
 * steps.
 *
 * A file leaves its name first (directory synced), so that no crash can leave half a segment
 * behind. The sidecar stays until the dedupe window of its records has passed.
 */
#include "base/log.h"
#include "journal/catalog_state.h"
#include "ring/file.h"

#include <stdio.h>
#include <stdlib.h>

/* Between two cuts of a large file. */
#define PACE_NS 20000000ULL

static int64_t age_ns(const struct segment *segment)
{
    return segment->first_sequence != 0 ? segment->last_ns : segment->created_ns;
}

/* The oldest segment of a journal, if it may go: it is complete, indexed, and a newer one is really
 * in use (else the journal would forget its sequence numbers). */
static struct segment *removable(struct catalog *catalog, struct catalog_journal *journal)
{
    if (list_empty(&journal->segments)) {
        return NULL;
    }
    struct segment *oldest = bk_container_of(journal->segments.next, struct segment, node);
    bool complete = oldest->state == SEGMENT_SEALED || oldest->state == SEGMENT_ABANDONED;
    if (!complete || !(oldest->indexed || oldest->damaged) || catalog->sealer.segment == oldest) {
        return NULL;
    }
    for (struct list *node = oldest->node.next; node != &journal->segments; node = node->next) {
        const struct segment *newer = bk_container_of(node, const struct segment, node);
        if (newer->state != SEGMENT_ABANDONED &&
            atomic_load_explicit(&newer->durable_bytes, memory_order_acquire) > 0) {
            return oldest;
        }
    }
    return NULL;
}

static struct segment *next_to_remove(struct catalog *catalog, int64_t now_ns)
{
    struct segment *found = NULL;
    for (unsigned id = 0; id < catalog->journals_end; id++) {
        struct catalog_journal *journal = catalog->journals[id];
        struct segment *oldest = journal ? removable(catalog, journal) : NULL;
        if (oldest && (!found || age_ns(oldest) < age_ns(found))) {
            found = oldest;
        }
    }
    if (!found) {
        return NULL;
    }
    if (catalog->retain_ns > 0 && age_ns(found) < now_ns - catalog->retain_ns) {
        return found;
    }
    struct catalog_stats stats;
    catalog_stats(catalog, &stats);
    return catalog->retain_bytes > 0 && stats.file_bytes > catalog->retain_bytes ? found : NULL;
}

static bool pool_wants(const struct catalog *catalog, const struct segment *segment)
{
    const struct catalog_journal *journal = catalog->journals[segment->journal_id];
    return catalog->pool_count < CATALOG_POOL_MAX && segment->bytes == catalog->segment_bytes &&
           journal->writer && journal->rolled;
}

static enum bk_err remember_sidecar(struct catalog *catalog, const struct segment *segment)
{
    struct catalog_orphan *orphan = calloc(1, sizeof *orphan);
    if (!orphan) {
        return BK_NO_MEMORY;
    }
    orphan->journal = segment->journal_id;
    orphan->number = segment->number;
    orphan->last_ns = age_ns(segment);
    list_push_back(&catalog->orphans, &orphan->node);
    return BK_OK;
}

/* Give the file another name. Once only: when the directory then cannot be synced, the next try
 * goes on from there. */
static enum bk_err rename_away(struct catalog *catalog, struct segment *segment)
{
    struct catalog_remover *remover = &catalog->remover;
    char from[CATALOG_PATH_BYTES];
    if (remover->renamed == segment) {
        return BK_OK;
    }
    remover->renamed_keep = pool_wants(catalog, segment);
    catalog_path(catalog, from, "", segment->journal_id, segment->number, ".log");
    if (remover->renamed_keep) {
        char name[FORMAT_NAME_BYTES];
        snprintf(name, sizeof name, "spare-%llu.log", (unsigned long long)catalog->pool_serial);
        catalog_path_name(catalog, remover->renamed_to, name);
    } else {
        catalog_path(catalog, remover->renamed_to, "old-", segment->journal_id, segment->number,
                     ".log");
    }
    enum bk_err err = file_rename(from, remover->renamed_to);
    if (err == BK_OK) {
        remover->renamed = segment;
    }
    return err;
}

static enum bk_err take_away(struct catalog *catalog, struct segment *segment)
{
    struct catalog_remover *remover = &catalog->remover;
    enum bk_err err = rename_away(catalog, segment);
    if (err == BK_OK) {
        err = directory_sync(catalog->directory);
    }
    if (err != BK_OK) {
        return err;
    }
    remover->renamed = NULL;
    if (remover->renamed_keep) {
        snprintf(catalog->pool[catalog->pool_count++], FORMAT_NAME_BYTES, "spare-%llu.log",
                 (unsigned long long)catalog->pool_serial++);
    } else {
        memcpy(remover->path, remover->renamed_to, sizeof remover->path);
        remover->bytes = segment->bytes;
        remover->state = REMOVE_TRUNCATE;
    }
    return BK_OK;
}

static enum bk_err remove_segment(struct catalog *catalog, struct segment *segment)
{
    enum bk_err err = take_away(catalog, segment);
    if (err == BK_OK && segment->indexed && segment->durable_bytes > 0) {
        err = remember_sidecar(catalog, segment);
    }
    if (err != BK_OK) {
        return err;
    }
    catalog->stats.removed_total++;
    if (segment->first_sequence != 0) {
        catalog->stats.removed_records_total +=
            segment->last_sequence - segment->first_sequence + 1;
    }
    log_event(LOG_INFO, "journal_segment_removed", LOG_I("journal", segment->journal_id),
              LOG_I("segment", segment->number), LOG_I("last_sequence", segment->last_sequence));
    list_remove(&segment->node);
    segment_free(segment);
    return BK_OK;
}

/* A large file is cut shorter and shorter: unlinking it at once can stall the file system. */
static enum bk_err truncate_some(struct catalog_remover *remover)
{
    int file = -1;
    enum bk_err err = file_open(remover->path, FILE_WRITE, &file);
    if (err != BK_OK) {
        return err;
    }
    remover->bytes =
        remover->bytes > CATALOG_TRUNCATE_BYTES ? remover->bytes - CATALOG_TRUNCATE_BYTES : 0;
    err = file_truncate(file, remover->bytes);
    file_close(file);
    if (remover->bytes == 0) {
        remover->state = REMOVE_UNLINK;
    }
    return err;
}

static bool remove_sidecar(struct catalog *catalog, int64_t now_ns)
{
    for (struct list *node = catalog->orphans.next; node != &catalog->orphans; node = node->next) {
        struct catalog_orphan *orphan = bk_container_of(node, struct catalog_orphan, node);
        if (orphan->last_ns >= now_ns - catalog->dedupe_window_ns) {
            continue;
        }
        char path[CATALOG_PATH_BYTES];
        catalog_path(catalog, path, "", orphan->journal, orphan->number, ".idx");
        list_remove(&orphan->node);
        free(orphan);
        if (file_unlink(path) != BK_OK) {
            catalog->stats.failures_total++; /* the next start finds it again */
        }
        return true;
    }
    return false;
}

static bool must_wait(const struct catalog *catalog)
{
    return catalog->remover.state == REMOVE_TRUNCATE && catalog->maker.err != BK_NO_SPACE &&
           catalog_clock(catalog) < catalog->remover.pace_ns;
}

uint64_t retain_next_ns(const struct catalog *catalog)
{
    return must_wait(catalog) ? catalog->remover.pace_ns : UINT64_MAX;
}

bool retain_step(struct catalog *catalog, int64_t now_ns)
{
    struct catalog_remover *remover = &catalog->remover;
    enum bk_err err = BK_OK;
    if (!catalog_due(remover->retry_ns, now_ns) || must_wait(catalog)) {
        return false;
    }
    remover->pace_ns = catalog_clock(catalog) + PACE_NS;
    switch (remover->state) {
    case REMOVE_IDLE: {
        struct segment *segment = next_to_remove(catalog, now_ns);
        if (!segment) {
            return remove_sidecar(catalog, now_ns);
        }
        err = remove_segment(catalog, segment);
        break;
    }
    case REMOVE_TRUNCATE:
        err = truncate_some(remover);
        break;
    case REMOVE_UNLINK:
        err = file_unlink(remover->path);
        remover->state = REMOVE_IDLE;
        break;
    }
    if (err != BK_OK) {
        log_event(LOG_WARN, "journal_remove_failed", LOG_Z("error", bk_err_text(err)));
        remover->state = REMOVE_IDLE;
        remover->retry_ns = now_ns + CATALOG_RETRY_NS;
        catalog->stats.failures_total++;
        return false;
    }
    return true;
}
