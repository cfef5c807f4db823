/* retain.c - what is too old or too much goes: into the pool of spare files, or away in small
 * steps. The rule is in catalog.h.
 *
 * A file leaves its name first (directory synced), so that no crash can leave half a segment
 * behind. The sidecar stays until the dedupe window of its records has passed.
 */
#include "base/log.h"
#include "journal/catalog_state.h"
#include "journal/mark.h"
#include "ring/file.h"

#include <stdio.h>
#include <stdlib.h>

/* Between two cuts of a large file. */
#define PACE_NS 20000000ULL
/* The wall clock is believed when it stood for this part of what is kept, and no more than this. */
#define STANDS_SHARE  8
#define STANDS_NS_MAX (6 * 3600 * 1000000000LL)
/* Set forward by more than this it begins anew. */
#define JUMP_NS_MAX (60 * 1000000000LL)
/* What took so long to come takes a part of that to go. */
#define AGE_PACE_SHARE 24
#define OWED_AGAIN_NS  60000000000ULL
#define LOOKING_NS     100000000ULL

/* ---- the wall clock */

static int64_t stands_ns(int64_t kept_ns)
{
    return kept_ns / STANDS_SHARE < STANDS_NS_MAX ? kept_ns / STANDS_SHARE : STANDS_NS_MAX;
}

/* A clock that was set forward would make everything old at once: by a fault of the time server, by
 * a machine that was halted, at a start without a battery. It has to stand for a while. */
static void clock_watch(struct catalog *catalog, int64_t now_ns)
{
    struct catalog_remover *remover = &catalog->remover;
    uint64_t steady_ns = catalog_clock(catalog);
    int64_t offset_ns = now_ns - (int64_t)steady_ns;
    int64_t jump_ns = offset_ns - remover->clock_offset_ns;
    int64_t stands = stands_ns(catalog->retain_ns);
    if (!remover->clock_seen || jump_ns > (stands < JUMP_NS_MAX ? stands : JUMP_NS_MAX)) {
        remover->clock_seen = true;
        remover->clock_stands_ns = steady_ns;
    }
    remover->clock_offset_ns = offset_ns;
}

/* When (monotonic) it can be believed for what is kept so long. Never before catalog_start. */
static uint64_t believed_ns(const struct catalog *catalog, int64_t kept_ns)
{
    return catalog->remover.clock_seen
               ? catalog->remover.clock_stands_ns + (uint64_t)stands_ns(kept_ns)
               : UINT64_MAX;
}

/* ---- what goes */

static int64_t last_ns(const struct segment *segment)
{
    return segment->first_sequence != 0 ? segment->last_ns : segment->created_ns;
}

/* When its last record was received, at the latest: what came behind it says so, too. */
static int64_t age_ns(const struct catalog_journal *journal, const struct segment *segment)
{
    int64_t at_ns = last_ns(segment);
    for (const struct list *node = segment->node.next; node != &journal->segments;
         node = node->next) {
        const struct segment *newer = bk_container_of(node, const struct segment, node);
        if (atomic_load_explicit(&newer->last_sequence, memory_order_acquire) != 0) {
            int64_t first = newer->first_ns, last = newer->last_ns;
            at_ns = first < at_ns ? first : at_ns;
            at_ns = last < at_ns ? last : at_ns;
        }
    }
    return at_ns;
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

static struct segment *oldest_of(struct catalog *catalog, unsigned id)
{
    struct catalog_journal *journal = catalog->journals[id];
    return journal ? removable(catalog, journal) : NULL;
}

static enum catalog_owed is_owed(struct catalog *catalog, const struct segment *segment)
{
    struct catalog_journal *journal = catalog->journals[segment->journal_id];
    uint64_t steady_ns = catalog_clock(catalog), through = segment->last_sequence;
    if (!catalog->owed || through == 0) {
        return CATALOG_FREE;
    }
    if (through == journal->owed_through && steady_ns < journal->owed_until_ns) {
        return CATALOG_OWED;
    }
    enum catalog_owed owed = catalog->owed(catalog->owed_context, journal->id, through);
    journal->owed_through = through;
    journal->owed_until_ns = owed == CATALOG_OWED ? steady_ns + OWED_AGAIN_NS : 0;
    journal->ask_ns = owed == CATALOG_LOOKING ? steady_ns + LOOKING_NS : journal->owed_until_ns;
    return owed;
}

static void tell_held(struct catalog *catalog, unsigned held)
{
    if (held > 0 && catalog->stats.held == 0) {
        log_event(LOG_WARN, "the journal keeps what is beyond --retain-age",
                  LOG_Z("why", "destinations or links have yet to be given something of it"),
                  LOG_Z("limit", catalog->retain_bytes > 0 ? "--retain-bytes" : "the disk"));
    }
    catalog->stats.held = held;
}

/* The oldest one beyond its age that nobody is owed anything of. */
static struct segment *past_age(struct catalog *catalog, int64_t now_ns)
{
    struct segment *found = NULL;
    int64_t found_ns = 0;
    unsigned held = 0;
    uint64_t steady_ns = catalog_clock(catalog);
    if (catalog->retain_ns == 0 || steady_ns < catalog->remover.age_from_ns ||
        steady_ns < believed_ns(catalog, catalog->retain_ns)) {
        return NULL;
    }
    for (unsigned id = 0; id < catalog->journals_end; id++) {
        struct segment *oldest = oldest_of(catalog, id);
        int64_t at_ns = oldest ? age_ns(catalog->journals[id], oldest) : INT64_MAX;
        if (at_ns >= now_ns - catalog->retain_ns) {
            continue;
        }
        enum catalog_owed owed = is_owed(catalog, oldest);
        held += owed == CATALOG_OWED;
        if (owed == CATALOG_FREE && (!found || at_ns < found_ns)) {
            found = oldest;
            found_ns = at_ns;
        }
    }
    tell_held(catalog, held);
    return found;
}

/* The oldest of all, if there is more than may be. */
static struct segment *over_size(struct catalog *catalog)
{
    struct segment *found = NULL;
    struct catalog_stats stats;
    catalog_stats(catalog, &stats);
    if (catalog->retain_bytes == 0 || stats.file_bytes <= catalog->retain_bytes) {
        return NULL;
    }
    for (unsigned id = 0; id < catalog->journals_end; id++) {
        struct segment *oldest = oldest_of(catalog, id);
        if (oldest && (!found || age_ns(catalog->journals[id], oldest) <
                                     age_ns(catalog->journals[found->journal_id], found))) {
            found = oldest;
        }
    }
    return found;
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
    orphan->last_ns = age_ns(catalog->journals[segment->journal_id], segment);
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
    struct journal_mark *mark = &catalog->journals[segment->journal_id]->mark;
    enum bk_err err = BK_OK;
    if (mark->first <= segment->number) { /* before its name goes */
        const struct segment *next = bk_container_of(segment->node.next, struct segment, node);
        struct journal_mark now = *mark;
        now.first = next->number;
        now.first_uuid = next->uuid[0];
        err = mark_write(catalog, segment->journal_id, &now);
        *mark = err == BK_OK ? now : *mark;
    }
    if (err == BK_OK) {
        err = rename_away(catalog, segment);
    }
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

static enum bk_err remove_segment(struct catalog *catalog, struct segment *segment, const char *why)
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
              LOG_I("segment", segment->number), LOG_I("last_sequence", segment->last_sequence),
              LOG_Z("why", why));
    list_remove(&segment->node);
    segment_free(segment);
    return BK_OK;
}

/* The next one goes by age after a part of the time that lies between the two. */
static void pace_age(struct catalog *catalog, const struct segment *segment)
{
    const struct list *node = segment->node.next;
    const struct catalog_journal *journal = catalog->journals[segment->journal_id];
    int64_t wait_ns = 0;
    if (node != &journal->segments) {
        const struct segment *next = bk_container_of(node, const struct segment, node);
        wait_ns = (age_ns(journal, next) - age_ns(journal, segment)) / AGE_PACE_SHARE;
    }
    wait_ns = wait_ns < 0 ? 0 : wait_ns;
    wait_ns = wait_ns < stands_ns(catalog->retain_ns) ? wait_ns : stands_ns(catalog->retain_ns);
    catalog->remover.age_from_ns = catalog_clock(catalog) + (uint64_t)wait_ns;
}

/* What the disk has no room for, nobody can be given. */
static enum bk_err remove_by_size(struct catalog *catalog, struct segment *segment,
                                  enum catalog_owed owed)
{
    uint16_t journal = segment->journal_id;
    uint64_t through = segment->last_sequence;
    enum bk_err err = remove_segment(catalog, segment, "--retain-bytes");
    if (err == BK_OK && owed == CATALOG_OWED) {
        catalog->stats.removed_owed_total++;
        log_event(LOG_ERROR, "events went that destinations or links have yet to be given",
                  LOG_Z("why", "there is no room for more: --retain-bytes"),
                  LOG_I("journal", journal), LOG_I("last_sequence", through));
    }
    return err;
}

/* false: there is nothing to remove. */
static bool remove_next(struct catalog *catalog, int64_t now_ns, enum bk_err *ret_err)
{
    struct segment *old = past_age(catalog, now_ns);
    if (old) {
        pace_age(catalog, old);
        *ret_err = remove_segment(catalog, old, "--retain-age");
        return true;
    }
    struct segment *over = over_size(catalog);
    enum catalog_owed owed = over ? is_owed(catalog, over) : CATALOG_LOOKING;
    if (!over || (owed == CATALOG_LOOKING && catalog->maker.err != BK_NO_SPACE)) {
        return false;
    }
    *ret_err = remove_by_size(catalog, over, owed);
    return true;
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
    if (catalog_clock(catalog) < believed_ns(catalog, catalog->dedupe_window_ns)) {
        return false;
    }
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

/* When the oldest of a journal has its age, or is to be asked for again. */
static uint64_t age_due_ns(struct catalog *catalog, unsigned id)
{
    uint64_t steady_ns = catalog_clock(catalog), due_ns = steady_ns;
    const struct segment *oldest = oldest_of(catalog, id);
    if (!oldest || catalog->retain_ns == 0 || !catalog->control) {
        return UINT64_MAX;
    }
    const struct catalog_journal *journal = catalog->journals[id];
    int64_t wait_ns = age_ns(journal, oldest) + catalog->retain_ns - ring_wall_ns(catalog->control);
    uint64_t believed = believed_ns(catalog, catalog->retain_ns);
    uint64_t from_ns = catalog->remover.age_from_ns;
    due_ns += wait_ns > 0 ? (uint64_t)wait_ns : 0;
    due_ns = due_ns > believed ? due_ns : believed;
    due_ns = due_ns > from_ns ? due_ns : from_ns;
    if (!catalog_due(catalog->remover.retry_ns, ring_wall_ns(catalog->control))) {
        due_ns = due_ns > steady_ns + CATALOG_RETRY_NS ? due_ns : steady_ns + CATALOG_RETRY_NS;
    }
    bool asked = journal->owed_through == oldest->last_sequence;
    return asked && journal->ask_ns > due_ns ? journal->ask_ns : due_ns;
}

uint64_t retain_next_ns(struct catalog *catalog)
{
    uint64_t next_ns = UINT64_MAX;
    if (must_wait(catalog)) {
        return catalog->remover.pace_ns;
    }
    for (unsigned id = 0; id < catalog->journals_end; id++) {
        uint64_t due_ns = age_due_ns(catalog, id);
        next_ns = due_ns < next_ns ? due_ns : next_ns;
    }
    return next_ns;
}

bool retain_step(struct catalog *catalog, int64_t now_ns)
{
    struct catalog_remover *remover = &catalog->remover;
    enum bk_err err = BK_OK;
    if (catalog->control) {
        clock_watch(catalog, now_ns);
    }
    if (!catalog_due(remover->retry_ns, now_ns) || must_wait(catalog)) {
        return false;
    }
    remover->pace_ns = catalog_clock(catalog) + PACE_NS;
    switch (remover->state) {
    case REMOVE_IDLE:
        if (!remove_next(catalog, now_ns, &err)) {
            return remove_sidecar(catalog, now_ns);
        }
        break;
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
