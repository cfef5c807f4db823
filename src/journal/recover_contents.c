/* recover_contents.c - what each segment holds: by its sidecar, or by its frames. Where the frames
 * end, an unfinished commit is told from damage by looking at what stands behind. */
#include "base/log.h"
#include "journal/recovery.h"
#include "ring/file.h"

#include <stdlib.h>

#define CONTINUE_BYTES_MIN 65536U   /* with less room a start takes the next segment */
#define SPARE_LOOK_BYTES   1048576U /* behind the first block of a segment that was not opened */
#define TOLD_SHARE         4        /* of the dedupe window: as long as a segment lasts at most */

/* Fingerprints younger than the window are told: of whole segments, by when the next one was begun.
 * A wall clock that was set makes some of these times far apart, or backward: so each counts for no
 * more than a part of the window. Too much is told where all goes slowly; who is told judges by
 * himself what time has passed. */
void choose_told(struct recovery *recovery, struct candidate *list, size_t count)
{
    int64_t window_ns = recovery->catalog->dedupe_window_ns;
    int64_t next_ns = recovery->now_ns, age_ns = 0;
    for (size_t i = count; recovery->seen && window_ns > 0 && i > 0; i--) {
        struct candidate *candidate = &list[i - 1];
        candidate->told = age_ns <= window_ns;
        if (candidate->head.opened) {
            int64_t apart_ns = next_ns - candidate->head.opening.created_ns;
            apart_ns = apart_ns < window_ns / TOLD_SHARE ? apart_ns : window_ns / TOLD_SHARE;
            age_ns += apart_ns > 0 ? apart_ns : 0;
            next_ns = candidate->head.opening.created_ns;
        }
    }
}

static void tell_seen(struct recovery *recovery, uint16_t journal, const struct index_seen *seen,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct journal_seen entry = {
            .fingerprint = {seen[i].fingerprint[0], seen[i].fingerprint[1]},
            .position = {journal, seen[i].sequence},
            .received_ns = seen[i].received_ns};
        recovery->seen(&entry, recovery->context);
    }
}

static enum bk_err use_sidecar(struct recovery *recovery, struct candidate *candidate,
                               struct contents *ret)
{
    struct catalog *catalog = recovery->catalog;
    struct segment *segment = candidate->segment;
    struct index_file file = {0};
    char path[CATALOG_PATH_BYTES];
    catalog_path(catalog, path, "", segment->journal_id, segment->number, ".idx");
    enum bk_err err = index_read(path, candidate->told, &file);
    if (err != BK_OK) {
        return err;
    }
    const struct index_header *header = &file.header;
    bool same = header->uuid[0] == segment->uuid[0] && header->uuid[1] == segment->uuid[1] &&
                header->number == segment->number && header->journal == segment->journal_id &&
                header->segment_bytes == segment->bytes &&
                header->mark_count <= segment->mark_max && header->end <= candidate->file_bytes;
    bool agrees = !candidate->limited || (header->end == candidate->limit_end &&
                                          header->last_commit == candidate->limit_commit);
    if (!same || !agrees) {
        index_file_fini(&file);
        return BK_CORRUPT;
    }
    memcpy(segment->marks, file.marks, header->mark_count * sizeof *file.marks);
    segment->mark_count = header->mark_count;
    segment->first_sequence = header->first_sequence;
    segment->last_sequence = header->last_sequence;
    segment->first_ns = header->first_ns;
    segment->last_ns = header->last_ns;
    segment->durable_bytes = header->end;
    segment->last_commit = header->last_commit;
    segment->state = (enum segment_state)header->state;
    segment->indexed = true;
    recovery->report->records += header->records;
    if (file.seen) {
        tell_seen(recovery, segment->journal_id, file.seen, header->seen_count);
    }
    *ret = (struct contents){.end = header->end,
                             .last_commit = header->last_commit,
                             .next_sequence = header->next_sequence,
                             .last_crc = header->last_crc,
                             .closed = true};
    index_file_fini(&file);
    return BK_OK;
}

/* No crash makes a file shorter: what was behind may have been acknowledged. It cannot be told, and
 * what is there is good: the start goes on, but not without a word; a check counts it as damage. */
static enum bk_err cut_short(struct recovery *recovery, const struct candidate *candidate,
                             uint64_t offset)
{
    char path[CATALOG_PATH_BYTES];
    const struct segment *segment = candidate->segment;
    if (recovery->catalog->audit) {
        return problem_of(
            recovery, segment, offset, BK_CORRUPT,
            "the file is cut short, to %llu of %llu bytes: commits from here on are lost",
            (unsigned long long)candidate->file_bytes, (unsigned long long)segment->bytes);
    }
    catalog_path(recovery->catalog, path, "", segment->journal_id, segment->number, ".log");
    log_event(LOG_ERROR, "journal_cut_short", LOG_Z("file", path), LOG_I("offset", offset),
              LOG_I("bytes", candidate->file_bytes), LOG_I("ofBytes", segment->bytes),
              LOG_Z("what", "no crash does this: events from here on, if there were any, are lost; "
                            "look for a copy of the file"));
    return BK_OK;
}

/* The scan stopped where the commit *expected should stand: the end, an unfinished commit, or
 * damage? *ret_resume: go on there (damage was accepted); *expected is what should stand there.
 * BK_AGAIN, unless it was read once more already: a server may have written it since, and then what
 * says that it was durable. */
static enum bk_err judge_end(struct recovery *recovery, struct candidate *candidate,
                             const struct index_builder *builder, bool again, uint64_t *expected,
                             uint64_t *ret_resume)
{
    struct scan *scan = &recovery->scan;
    struct segment *segment = candidate->segment;
    uint64_t bad = scan->offset;
    struct scan_ahead ahead;
    *ret_resume = 0;
    if (candidate->limited && bad == candidate->limit_end &&
        builder->last_commit == candidate->limit_commit) {
        return BK_OK;
    }
    enum bk_err err = scan_look_ahead(scan, *expected, scan->end, &ahead);
    if (err != BK_OK) {
        return err;
    }
    if (ahead.damage && recovery->catalog->audit && !again) {
        return BK_AGAIN;
    }
    if (candidate->limited || ahead.damage) {
        err = problem_of(recovery, segment, bad, BK_CORRUPT,
                         "commit %llu is damaged: it was durable, as %s says",
                         (unsigned long long)*expected,
                         ahead.damage ? "a later commit in this file" : "the next segment");
        *ret_resume = ahead.resume_at;
        *expected = ahead.resume_commit;
        return err;
    }
    /* An empty block says that nothing came behind; a closing frame, too. */
    if (candidate->file_bytes < segment->bytes && (builder->last_flags & FORMAT_CLOSING) == 0 &&
        (ahead.frames > 0 || ahead.begun || bad + FORMAT_BLOCK_BYTES > candidate->file_bytes)) {
        err = cut_short(recovery, candidate, bad);
        if (err != BK_OK) {
            return err;
        }
    }
    if (ahead.frames > 0 || ahead.begun) {
        recovery->report->torn_frames += ahead.frames > 0 ? ahead.frames : 1;
        recovery->report->torn_bytes +=
            ahead.last_end > bad ? ahead.last_end - bad : FORMAT_BLOCK_BYTES;
        char path[CATALOG_PATH_BYTES];
        catalog_path(recovery->catalog, path, "", segment->journal_id, segment->number, ".log");
        if (!recovery->catalog->audit) {
            log_event(
                LOG_WARN, "journal_torn_tail", LOG_Z("file", path), LOG_I("offset", bad),
                LOG_Z("what", "commits that were not acknowledged before a crash were cut off"));
        }
    }
    return BK_OK;
}

static enum bk_err sidecar_in_the_way(struct recovery *recovery, const struct segment *segment)
{
    return problem_in(recovery, ".idx", segment->journal_id, segment->number, 0, BK_EXISTS,
                      "its place is taken by a directory; remove that, it is made anew");
}

static enum bk_err save_sidecar(struct recovery *recovery, struct segment *segment,
                                const struct index_builder *builder, enum segment_state state)
{
    uint8_t *image = NULL;
    size_t bytes = 0;
    char path[CATALOG_PATH_BYTES];
    segment->state = state;
    if (recovery->catalog->read_only || builder->frames == 0) {
        return BK_OK;
    }
    enum bk_err err = index_image(builder, segment, state, &image, &bytes);
    if (err == BK_OK) {
        catalog_path(recovery->catalog, path, "", segment->journal_id, segment->number, ".idx");
        err = file_replace(path, image, bytes);
        free(image);
    }
    segment->indexed = err == BK_OK;
    if (err == BK_DIRECTORY) {
        return sidecar_in_the_way(recovery, segment);
    }
    /* On a full disk it is made later; a start before then only takes longer. */
    return err == BK_NO_SPACE ? BK_OK : err;
}

static enum bk_err read_frames(struct recovery *recovery, struct candidate *candidate,
                               struct index_builder *builder)
{
    struct segment *segment = candidate->segment;
    struct scan *scan = &recovery->scan;
    uint64_t end = candidate->limited ? candidate->limit_end : segment->bytes;
    enum bk_err err = segment_file(recovery->catalog, segment);
    if (err != BK_OK) {
        return segment_went(recovery, segment) ? BK_OK : err;
    }
    scan_begin(scan, segment->file, segment->uuid, segment->block_crc, end);
    uint64_t expected = builder->last_commit + 1;
    uint64_t again_at = 0;
    for (;;) {
        const struct format_frame *frame = NULL;
        err = scan_next_blocking(scan, &frame);
        if (err == BK_OK) {
            expected = frame->commit + 1;
            uint64_t offset = scan->offset - format_round_block(frame->bytes);
            err = index_builder_add(builder, segment, true, offset, frame);
            struct catalog_audit *audit = recovery->catalog->audit;
            if (audit && err == BK_OK && !audit->frame(audit, segment, frame)) {
                audit->stopped = true;
                return BK_CANCELLED;
            }
        }
        if (err == BK_OK) {
            continue;
        }
        if (err != BK_NOT_FOUND) {
            return err;
        }
        uint64_t resume = 0;
        err = judge_end(recovery, candidate, builder, again_at == scan->offset, &expected, &resume);
        if (err == BK_AGAIN) {
            again_at = scan->offset;
            scan_again(scan);
            continue;
        }
        if (err != BK_OK || resume == 0) {
            return err;
        }
        segment->damaged = true;
        scan_resume(scan, resume);
    }
}

/* check.c: the segment was read; does its sidecar, if there is one, say the same? */
static enum bk_err audit_sidecar(struct recovery *recovery, const struct segment *segment,
                                 bool newest, const struct index_builder *builder)
{
    struct index_file file = {0};
    char path[CATALOG_PATH_BYTES];
    catalog_path(recovery->catalog, path, "", segment->journal_id, segment->number, ".idx");
    enum bk_err err = index_read(path, true, &file);
    if (err == BK_NOT_FOUND) {
        return BK_OK;
    }
    recovery->catalog->audit->sidecars++;
    const char *what = "it is damaged; a start makes it again";
    if (err == BK_OK) {
        bool agrees =
            file.header.uuid[0] == segment->uuid[0] && file.header.end == builder->end &&
            file.header.records == builder->records &&
            file.header.last_commit == builder->last_commit &&
            file.header.seen_count == builder->seen_count &&
            (builder->seen_count == 0 ||
             memcmp(file.seen, builder->seen, builder->seen_count * sizeof *builder->seen) == 0);
        /* A commit that failed may be on the disk all the same. Its records were refused, and the
         * sidecar, which a start believes, ends before it. */
        bool refused = file.header.uuid[0] == segment->uuid[0] &&
                       file.header.state == SEGMENT_ABANDONED && file.header.end < builder->end &&
                       file.header.last_commit < builder->last_commit &&
                       file.header.records <= builder->records;
        /* Read while the server wrote it, and sealed since. */
        bool sealed = newest && file.header.end > builder->end;
        index_file_fini(&file);
        if (agrees || refused || sealed || segment_went(recovery, segment)) {
            return BK_OK;
        }
        err = BK_CORRUPT;
        what = "it does not agree with its segment";
    }
    return problem_in(recovery, ".idx", segment->journal_id, segment->number, 0, err, "%s", what);
}

/* A journal goes on in this segment. A sidecar that could not be read just now must not be found by
 * the next start, which would believe it and miss what is written from here on. */
static enum bk_err drop_sidecar(struct recovery *recovery, const struct segment *segment)
{
    struct catalog *catalog = recovery->catalog;
    char path[CATALOG_PATH_BYTES];
    catalog_path(catalog, path, "", segment->journal_id, segment->number, ".idx");
    enum bk_err err = file_unlink(path);
    if (err == BK_NOT_FOUND) {
        return BK_OK;
    }
    if (err == BK_DIRECTORY) {
        return sidecar_in_the_way(recovery, segment);
    }
    return err == BK_OK ? directory_sync(catalog->directory) : err;
}

/* `end` 0: not told by its frames; then all of the file. */
static enum bk_err audit_segment(struct recovery *recovery, const struct candidate *candidate,
                                 uint64_t end)
{
    struct catalog_audit *audit = recovery->catalog->audit;
    return audit && audit->segment
               ? audit->segment(audit, candidate->segment, end > 0 ? end : candidate->file_bytes)
               : BK_OK;
}

static enum bk_err use_frames(struct recovery *recovery, struct candidate *candidate, bool newest,
                              struct contents *ret)
{
    struct segment *segment = candidate->segment;
    struct index_builder builder;
    index_builder_init(&builder);
    enum bk_err err = read_frames(recovery, candidate, &builder);
    if (err == BK_OK) {
        segment->last_commit = builder.last_commit;
        recovery->report->records += builder.records;
        if (candidate->told) {
            tell_seen(recovery, segment->journal_id, builder.seen, builder.seen_count);
        }
        *ret = (struct contents){.end = builder.end,
                                 .last_commit = builder.last_commit,
                                 .next_sequence = builder.next_sequence,
                                 .last_crc = builder.last_crc,
                                 .closed = (builder.last_flags & FORMAT_CLOSING) != 0};
        const struct catalog_journal *journal = recovery->catalog->journals[segment->journal_id];
        bool goes_on = newest && journal->writer && !segment->damaged &&
                       candidate->file_bytes == segment->bytes &&
                       segment->bytes - builder.end >= CONTINUE_BYTES_MIN;
        if (recovery->catalog->audit) {
            err = audit_sidecar(recovery, segment, newest, &builder);
        }
        if (err == BK_OK) {
            err = audit_segment(recovery, candidate, builder.end);
        }
        if (goes_on || (newest && recovery->catalog->read_only)) {
            segment->state = SEGMENT_LIVE;
            err = goes_on ? drop_sidecar(recovery, segment) : err;
        } else if (err == BK_OK) {
            err = save_sidecar(recovery, segment, &builder, SEGMENT_SEALED);
        }
    }
    index_builder_fini(&builder);
    return err;
}

enum bk_err read_contents(struct recovery *recovery, struct candidate *candidate, bool newest,
                          struct contents *ret)
{
    struct segment *segment = candidate->segment;
    memset(ret, 0, sizeof *ret);
    if (candidate->empty) {
        segment->state = SEGMENT_ABANDONED;
        segment->indexed = true;
        return audit_segment(recovery, candidate, 0);
    }
    /* A check reads everything. */
    enum bk_err err =
        recovery->catalog->audit ? BK_NOT_FOUND : use_sidecar(recovery, candidate, ret);
    if (err == BK_VERSION) {
        return problem_of(recovery, segment, 0, err, "its sidecar was written by a newer becket");
    }
    if (err != BK_OK) {
        err = use_frames(recovery, candidate, newest, ret);
    }
    if (!newest && segment->file >= 0) {
        file_close(segment->file);
        segment->file = -1;
    }
    return err;
}

/* A check runs beside the server, which may have opened the segment since its head was read. */
static bool opened_meanwhile(struct recovery *recovery, const struct segment *segment)
{
    struct scan_head now;
    return recovery->catalog->audit && scan_head(&recovery->scan, segment->file, &now) == BK_OK &&
           now.opened;
}

enum bk_err check_spare(struct recovery *recovery, struct candidate *candidate,
                        uint64_t last_commit)
{
    struct segment *segment = candidate->segment;
    struct scan *scan = &recovery->scan;
    struct scan_ahead ahead;
    if (candidate->unreadable) {
        segment->state = SEGMENT_ABANDONED;
        segment->indexed = true;
        return BK_OK;
    }
    enum bk_err err = segment_file(recovery->catalog, segment);
    if (err != BK_OK) {
        return segment_went(recovery, segment) ? BK_OK : err;
    }
    uint64_t limit = segment->bytes < SPARE_LOOK_BYTES ? segment->bytes : SPARE_LOOK_BYTES;
    scan_begin(scan, segment->file, segment->uuid, segment->block_crc, segment->bytes);
    err = scan_look_ahead(scan, last_commit + 1, limit, &ahead);
    if (err == BK_OK && ahead.frames > 0 && opened_meanwhile(recovery, segment)) {
        return BK_OK;
    }
    if (err == BK_OK && ahead.damage) {
        err = problem_of(
            recovery, segment, FORMAT_FRAME_AT, BK_CORRUPT,
            "its opening is damaged: it was durable, as a later commit in this file says");
        segment->state = SEGMENT_ABANDONED;
        segment->indexed = true;
        return err;
    }
    if (err == BK_OK && ahead.frames > 0) {
        recovery->report->torn_frames += ahead.frames;
        recovery->report->torn_bytes += ahead.last_end - FORMAT_FRAME_AT;
    }
    if (candidate->file_bytes != segment->bytes) { /* nobody knows whether it was one */
        segment->state = SEGMENT_ABANDONED;
        segment->indexed = true;
        bool begun = ahead.frames > 0 || ahead.begun ||
                     candidate->file_bytes < FORMAT_FRAME_AT + FORMAT_BLOCK_BYTES;
        return err == BK_OK && begun ? cut_short(recovery, candidate, candidate->file_bytes) : err;
    }
    segment->state = SEGMENT_SPARE;
    return err;
}

enum bk_err read_orphan(struct recovery *recovery, const struct name *name)
{
    struct catalog *catalog = recovery->catalog;
    char path[CATALOG_PATH_BYTES];
    struct index_file file = {0};
    catalog_path(catalog, path, "", name->journal, name->number, ".idx");
    enum bk_err err = index_read(path, true, &file);
    if (catalog->audit) {
        catalog->audit->sidecars++;
    }
    if (err == BK_VERSION || (err == BK_CORRUPT && catalog->audit)) {
        return problem_in(recovery, ".idx", name->journal, name->number, 0, err,
                          err == BK_VERSION ? "it was written by a newer becket" : "it is damaged");
    }
    struct catalog_orphan *orphan = calloc(1, sizeof *orphan);
    if (!orphan) {
        index_file_fini(&file);
        return BK_NO_MEMORY;
    }
    orphan->journal = name->journal;
    orphan->number = name->number;
    if (err == BK_OK) {
        struct catalog_journal *journal = catalog->journals[name->journal];
        journal->after_sequence = file.header.next_sequence;
        journal->after_commit = file.header.last_commit + 1;
        journal->next_number =
            name->number < journal->next_number ? journal->next_number : name->number + 1;
        if (recovery->seen && catalog->dedupe_window_ns > 0) { /* retention removes it in time */
            tell_seen(recovery, name->journal, file.seen, file.header.seen_count);
        }
        orphan->last_ns = file.header.last_ns;
        index_file_fini(&file);
    } else { /* of no more use; the first retention step removes it */
        log_event(LOG_WARN, "journal_sidecar_unreadable", LOG_Z("file", path),
                  LOG_Z("error", bk_err_text(err)));
        orphan->last_ns = INT64_MIN;
    }
    list_push_back(&catalog->orphans, &orphan->node);
    return BK_OK;
}
