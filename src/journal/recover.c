/* recover.c - what a start does with the journal directory. The rules are in README.md.
 *
 * Per journal: read block 0 and the opening of every segment; the openings, followed from the
 * newest back, say up to where each segment is to be trusted. Those with a sidecar that agrees are
 * not read. The newest one in use is read whole (and any without sidecar): where it ends, an
 * unfinished commit is told from damage by looking at what stands behind.
 */
#include "base/log.h"
#include "journal/recovery.h"
#include "ring/file.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- problems */

static bool went_meanwhile(const struct recovery *recovery, const char *path)
{
    unsigned mode;
    return recovery->catalog->audit && file_mode(path, &mode) == BK_NOT_FOUND;
}

bool segment_went(const struct recovery *recovery, const struct segment *segment)
{
    char path[CATALOG_PATH_BYTES];
    catalog_path(recovery->catalog, path, "", segment->journal_id, segment->number, ".log");
    return went_meanwhile(recovery, path);
}

__attribute__((format(printf, 5, 0))) enum bk_err problem_at(struct recovery *recovery,
                                                             const char *path, uint64_t offset,
                                                             enum bk_err err, const char *format,
                                                             va_list args)
{
    char what[160];
    vsnprintf(what, sizeof what, format, args);
    if (went_meanwhile(recovery, path)) {
        return BK_OK;
    }
    if (recovery->catalog->audit) {
        recovery->catalog->audit->problem(recovery->catalog->audit, path, offset, err, what);
        return err == BK_CORRUPT || err == BK_VERSION || err == BK_IO ? BK_OK : err;
    }
    bool go_on = recovery->catalog->accept_damage && err == BK_CORRUPT;
    const char *hint = "";
    if (err == BK_CORRUPT && !go_on) {
        hint = "; look with `becket journal check`, restore the file from a copy, or start with "
               "--accept-journal-damage to go on without what is unreadable";
    } else if (err == BK_NOT_FOUND || err == BK_DIRECTORY || err == BK_NOT_A_FILE) {
        hint = "; put the file itself, or a copy of it, in its place";
    }
    char *text = recovery->report->problem;
    if (text[0] == '\0') {
        snprintf(text, sizeof recovery->report->problem, "%.160s: at %llu: %s%.190s", path,
                 (unsigned long long)offset, what, hint);
    }
    log_event(LOG_ERROR, "journal_damage", LOG_Z("file", path), LOG_I("offset", offset),
              LOG_Z("what", what));
    return go_on ? BK_OK : err;
}

__attribute__((format(printf, 7, 8))) enum bk_err problem_in(struct recovery *recovery,
                                                             const char *suffix, uint16_t journal,
                                                             uint64_t number, uint64_t offset,
                                                             enum bk_err err, const char *format,
                                                             ...)
{
    char path[CATALOG_PATH_BYTES];
    va_list args;
    catalog_path(recovery->catalog, path, "", journal, number, suffix);
    va_start(args, format);
    err = problem_at(recovery, path, offset, err, format, args);
    va_end(args);
    return err;
}

/* ---- block 0 and opening of every segment */

static enum bk_err unreadable_head(struct recovery *recovery, struct candidate *candidate,
                                   const struct name *name, enum bk_err err)
{
    struct format_segment *block = &candidate->head.block;
    if (err == BK_VERSION && !recovery->catalog->audit) {
        return problem_in(
            recovery, ".log", name->journal, name->number, 0, err,
            "format version %u was written by a newer becket; this one reads up to %u "
            "and leaves it alone",
            block->version, FORMAT_VERSION);
    }
    const char *what = err == BK_CORRUPT   ? "the header block is damaged"
                       : err == BK_VERSION ? "it was written by a newer becket"
                                           : bk_err_text(err);
    err = problem_in(recovery, ".log", name->journal, name->number, 0, err, "%s", what);
    if (err != BK_OK) {
        return err;
    }
    uint64_t uuid[2] = {0, 0}; /* damage was accepted: it keeps its place, empty */
    format_segment_init(block, name->journal, name->number, uuid, 2 * FORMAT_BLOCK_BYTES,
                        recovery->now_ns);
    candidate->head.opened = false;
    candidate->unreadable = true;
    candidate->empty = true;
    return BK_OK;
}

static enum bk_err read_head(struct recovery *recovery, const struct name *name,
                             struct candidate *candidate)
{
    struct catalog *catalog = recovery->catalog;
    char path[CATALOG_PATH_BYTES];
    int file = -1;
    catalog_path(catalog, path, "", name->journal, name->number, ".log");
    enum bk_err err = file_open(path, FILE_READ | FILE_DIRECT, &file);
    if (err == BK_OK) {
        err = file_bytes(file, &candidate->file_bytes);
        if (err == BK_OK) {
            err = scan_head(&recovery->scan, file, &candidate->head);
        }
        file_close(file);
    }
    const struct format_segment *block = &candidate->head.block;
    if (err == BK_OK && (block->journal != name->journal || block->number != name->number)) {
        err = BK_CORRUPT; /* a copy under another name */
    }
    if (err != BK_OK) {
        err = unreadable_head(recovery, candidate, name, err);
    }
    if (err != BK_OK) {
        return err;
    }
    candidate->segment = segment_new(catalog, block);
    if (!candidate->segment) {
        return BK_NO_MEMORY;
    }
    struct catalog_journal *journal = catalog->journals[name->journal];
    list_push_back(&journal->segments, &candidate->segment->node);
    journal->next_number = name->number + 1;
    recovery->report->segments++;
    recovery->report->bytes += candidate->file_bytes;
    return BK_OK;
}

/* From the newest opened one back: how far is each valid? */
static enum bk_err follow_openings(struct recovery *recovery, struct candidate *list, size_t newest)
{
    bool known = true;
    const struct format_opening *opening = &list[newest].head.opening;
    uint64_t own = list[newest].segment->number;
    /* A restart that goes on in the same segment is never the first frame, so this names an earlier
     * one. */
    for (size_t i = newest; i-- > 0;) {
        struct candidate *candidate = &list[i];
        uint64_t number = candidate->segment->number;
        if (candidate->unreadable) {
            known = false;
            continue;
        }
        if (known && number > opening->previous_number) {
            candidate->empty = true;
            continue;
        }
        if (known && number == opening->previous_number) {
            candidate->limited = true;
            candidate->limit_end = opening->previous_end;
            candidate->limit_commit = opening->previous_commit;
            if (opening->previous_uuid_low != candidate->segment->uuid[0]) {
                enum bk_err err =
                    problem_of(recovery, candidate->segment, 0, BK_CORRUPT,
                               "segment %llu was written behind another file of this name",
                               (unsigned long long)own);
                if (err != BK_OK) {
                    return err;
                }
                candidate->limited = false;
            }
        }
        known = candidate->head.opened;
        opening = &candidate->head.opening;
        own = number;
    }
    return BK_OK;
}

/* ---- one journal */

static void set_start(struct catalog_journal *journal, const struct candidate *newest,
                      const struct contents *contents)
{
    struct journal_start *start = &journal->start;
    *start = (struct journal_start){.next_sequence = 1, .next_commit = 1, .reason = FORMAT_FIRST};
    if (!newest) {
        if (journal->after_sequence >
            0) { /* all segments are gone, a sidecar remembers the numbers */
            start->reason = FORMAT_RESTART;
            start->next_sequence = journal->after_sequence;
            start->next_commit = journal->after_commit;
        }
        return;
    }
    const struct segment *segment = newest->segment;
    start->reason = FORMAT_RESTART;
    start->next_sequence = contents->next_sequence;
    start->next_commit = contents->last_commit + 1;
    start->valid_number = segment->number;
    start->valid_uuid_low = segment->uuid[0];
    start->valid_commit = contents->last_commit;
    start->valid_end = contents->end;
    if (segment->state == SEGMENT_LIVE && journal->writer) {
        start->segment = newest->segment;
        start->offset = contents->end;
        start->previous_crc = contents->last_crc;
        atomic_store(&newest->segment->taken, true);
    }
}

static enum bk_err recover_segments(struct recovery *recovery, struct catalog_journal *journal,
                                    struct candidate *list, size_t count)
{
    struct contents contents = {0};
    size_t opened = 0; /* how many up to and with the newest opened one */
    for (size_t i = 0; i < count; i++) {
        opened = list[i].head.opened ? i + 1 : opened;
    }
    enum bk_err err = check_holes(recovery, list, count);
    if (err == BK_OK && count > 0) {
        err = check_own(recovery, list, count);
    }
    if (err == BK_OK && opened > 0) {
        err = follow_openings(recovery, list, opened - 1);
    }
    for (size_t i = 0; i < opened && err == BK_OK; i++) {
        err = read_contents(recovery, &list[i], i + 1 == opened, &contents);
    }
    for (size_t i = opened; i < count && err == BK_OK; i++) {
        err = check_spare(recovery, &list[i], contents.last_commit);
    }
    if (err == BK_OK && opened > 0 && !recovery->catalog->read_only &&
        list[opened - 1].segment->file >= 0) {
        /* What was read may so far be only in the device's cache. Before anything is built on it,
         * it must be durable: a sender that tries again is told "known already". */
        err = file_sync(list[opened - 1].segment->file);
    }
    if (err == BK_OK) {
        recovery->report->clean = recovery->report->clean && (opened == 0 || contents.closed);
        set_start(journal, opened > 0 ? &list[opened - 1] : NULL, &contents);
    }
    return err;
}

/* names: all of one journal, segments by number, then sidecars by number. */
static enum bk_err recover_journal(struct recovery *recovery, const struct name *names,
                                   size_t count)
{
    size_t segments = 0;
    while (segments < count && !names[segments].sidecar) {
        segments++;
    }
    struct catalog_journal *journal = catalog_journal_new(recovery->catalog, names[0].journal);
    struct candidate *list = calloc(segments + 1, sizeof *list);
    enum bk_err err = journal && list ? BK_OK : BK_NO_MEMORY;
    recovery->report->journals += segments > 0;
    for (size_t i = 0; i < segments && err == BK_OK; i++) {
        err = read_head(recovery, &names[i], &list[i]);
    }
    if (err == BK_OK) {
        choose_told(recovery, list, segments);
    }
    size_t at = 0;
    for (size_t i = segments; i < count && err == BK_OK; i++) {
        while (at < segments && names[at].number < names[i].number) {
            at++;
        }
        if (at == segments || names[at].number != names[i].number) {
            err = read_orphan(recovery, &names[i]);
        }
    }
    if (err == BK_OK) {
        err = check_last(recovery, names, segments, count);
    }
    if (err == BK_OK) {
        err = check_mark(recovery, names, segments);
    }
    if (err == BK_OK) {
        err = recover_segments(recovery, journal, list, segments);
    }
    free(list);
    return err;
}

enum bk_err catalog_recover(struct catalog *catalog, int64_t now_ns, journal_seen_fn *seen,
                            void *context, struct journal_report *report)
{
    struct recovery recovery = {
        .catalog = catalog, .report = report, .now_ns = now_ns, .seen = seen, .context = context};
    report->clean = true;
    enum bk_err err = scan_init(&recovery.scan);
    if (err == BK_OK && !catalog->read_only) {
        /* A process that was killed may have given names that are not durable yet. What goes into
         * these files from here on would be lost with them. */
        err = directory_sync(catalog->directory);
    }
    if (err == BK_OK) {
        err = list_names(&recovery);
    }
    for (unsigned id = 0; id < FORMAT_JOURNALS_MAX && err == BK_OK; id++) {
        if (catalog->journals[id]) {
            set_start(catalog->journals[id], NULL, NULL);
        }
    }
    for (size_t i = 0; i < recovery.name_count && err == BK_OK;) {
        size_t end = i;
        while (end < recovery.name_count &&
               recovery.names[end].journal == recovery.names[i].journal) {
            end++;
        }
        err = recover_journal(&recovery, recovery.names + i, end - i);
        i = end;
    }
    for (unsigned id = 0; id < FORMAT_JOURNALS_MAX && err == BK_OK; id++) {
        err = check_gone(&recovery, (uint16_t)id);
    }
    for (unsigned id = 0; id < catalog->journals_end && err == BK_OK && !catalog->read_only; id++) {
        if (catalog->journals[id]) {
            mark_found(&recovery, catalog->journals[id]);
        }
    }
    report->scanned_bytes = recovery.scan.read_bytes;
    if (err == BK_OK && !catalog->read_only) {
        remove_rubbish(&recovery);
    }
    scan_fini(&recovery.scan);
    free(recovery.names);
    free(recovery.rubbish);
    return err;
}
