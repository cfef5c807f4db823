/* recover.c - what a start does with the journal directory. The rules are in README.md.
 *
 * Per journal: read block 0 and the opening of every segment; the openings, followed from the
 * newest back, say up to where each segment is to be trusted. Those with a sidecar that agrees are
 * not read. The newest one in use is read whole (and any without sidecar): where it ends, an
 * unfinished commit is told from damage by looking at what stands behind.
 */
#include "base/log.h"
#include "journal/catalog_state.h"
#include "journal/mark.h"
#include "ring/file.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CONTINUE_BYTES_MIN 65536U   /* with less room a start takes the next segment */
#define SPARE_LOOK_BYTES   1048576U /* behind the first block of a segment that was not opened */
#define TOLD_SHARE         4        /* of the dedupe window: as long as a segment lasts at most */

/* One segment while recovery looks at it. */
struct candidate {
    struct segment *segment;
    struct scan_head head;
    uint64_t file_bytes;
    bool limited; /* a later opening says how far it is valid: */
    uint64_t limit_end;
    uint64_t limit_commit;
    bool empty;      /* … or that nothing in it is */
    bool unreadable; /* accepted damage of block 0 */
    bool told;       /* its fingerprints are */
};

struct recovery {
    struct catalog *catalog;
    struct journal_report *report;
    int64_t now_ns;
    journal_seen_fn *seen;
    void *context;
    struct scan scan;
    enum bk_err err; /* of the listing callback */
    struct name {
        uint16_t journal;
        uint64_t number;
        bool sidecar;
    } * names;
    size_t name_count;
    size_t name_max;
    bool marked[FORMAT_JOURNALS_MAX]; /* there is a mark's file */
    char (*rubbish)[FORMAT_NAME_BYTES];
    size_t rubbish_count;
    size_t rubbish_max;
};

/* ---- problems */

/* A check runs beside the server, which may have removed the file since the directory was read. */
static bool went_meanwhile(const struct recovery *recovery, const char *path)
{
    unsigned mode;
    return recovery->catalog->audit && file_mode(path, &mode) == BK_NOT_FOUND;
}

static bool segment_went(const struct recovery *recovery, const struct segment *segment)
{
    char path[CATALOG_PATH_BYTES];
    catalog_path(recovery->catalog, path, "", segment->journal_id, segment->number, ".log");
    return went_meanwhile(recovery, path);
}

/* Report damage in a file that is there. BK_OK when the caller shall go on behind it. */
__attribute__((format(printf, 5, 0))) static enum bk_err problem_at(
    struct recovery *recovery, const char *path, uint64_t offset, enum bk_err err,
    const char *format, va_list args)
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

/* The same, in `<journal>-<number><suffix>`. */
__attribute__((format(printf, 7, 8))) static enum bk_err problem_in(
    struct recovery *recovery, const char *suffix, uint16_t journal, uint64_t number,
    uint64_t offset, enum bk_err err, const char *format, ...)
{
    char path[CATALOG_PATH_BYTES];
    va_list args;
    catalog_path(recovery->catalog, path, "", journal, number, suffix);
    va_start(args, format);
    err = problem_at(recovery, path, offset, err, format, args);
    va_end(args);
    return err;
}

#define problem(recovery, segment, offset, err, ...)                                               \
    problem_in((recovery), ".log", (segment)->journal_id, (segment)->number, (offset), (err),      \
               __VA_ARGS__)

/* ---- the directory */

static void *grow_list(void *list, size_t *max, size_t count, size_t bytes)
{
    if (count < *max) {
        return list;
    }
    size_t larger = *max ? *max * 2 : 64;
    void *grown = realloc(list, larger * bytes);
    if (grown) {
        *max = larger;
    }
    return grown;
}

static bool starts(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* What a start removes: files that were being made or being removed. */
static void note_rubbish(struct recovery *recovery, const char *name)
{
    if (strlen(name) >= FORMAT_NAME_BYTES) {
        return;
    }
    void *list = grow_list(recovery->rubbish, &recovery->rubbish_max, recovery->rubbish_count,
                           FORMAT_NAME_BYTES);
    if (!list) {
        recovery->err = BK_NO_MEMORY;
        return;
    }
    recovery->rubbish = list;
    memcpy(recovery->rubbish[recovery->rubbish_count++], name, strlen(name) + 1);
}

static void note_pool(struct recovery *recovery, const char *name)
{
    struct catalog *catalog = recovery->catalog;
    char path[CATALOG_PATH_BYTES];
    int file = -1;
    uint64_t bytes = 0;
    bool fits = false;
    if (strlen(name) < FORMAT_NAME_BYTES && catalog->pool_count < CATALOG_POOL_MAX) {
        catalog_path_name(catalog, path, name);
        if (file_open(path, FILE_READ, &file) == BK_OK) {
            fits = file_bytes(file, &bytes) == BK_OK && bytes == catalog->segment_bytes;
            file_close(file);
        }
    }
    if (!fits) {
        note_rubbish(recovery, name);
        return;
    }
    unsigned long long serial = strtoull(name + strlen("spare-"), NULL, 10);
    if (serial >= catalog->pool_serial) {
        catalog->pool_serial = serial + 1;
    }
    memcpy(catalog->pool[catalog->pool_count++], name, strlen(name) + 1);
}

static void note_name(const char *name, void *context)
{
    struct recovery *recovery = context;
    struct name found = {0};
    if (recovery->err != BK_OK) {
        return;
    }
    if (mark_name_parse(name, &found.journal)) {
        recovery->marked[found.journal] = true;
        return;
    }
    if (starts(name, "tmp-") || starts(name, "old-")) {
        note_rubbish(recovery, name);
        return;
    }
    if (starts(name, "spare-")) {
        note_pool(recovery, name);
        return;
    }
    if (!format_name_parse(name, ".log", &found.journal, &found.number)) {
        if (!format_name_parse(name, ".idx", &found.journal, &found.number)) {
            return; /* somebody else's file */
        }
        found.sidecar = true;
    }
    void *list =
        grow_list(recovery->names, &recovery->name_max, recovery->name_count, sizeof found);
    if (!list) {
        recovery->err = BK_NO_MEMORY;
        return;
    }
    recovery->names = list;
    recovery->names[recovery->name_count++] = found;
}

static int compare_names(const void *left, const void *right)
{
    const struct name *a = left;
    const struct name *b = right;
    if (a->journal != b->journal) {
        return a->journal < b->journal ? -1 : 1;
    }
    if (a->sidecar != b->sidecar) {
        return a->sidecar ? 1 : -1;
    }
    return a->number < b->number ? -1 : a->number > b->number;
}

static enum bk_err list_names(struct recovery *recovery)
{
    enum bk_err err = directory_list(recovery->catalog->directory, note_name, recovery);
    if (err == BK_OK) {
        err = recovery->err;
    }
    if (err == BK_OK && recovery->name_count > 1) {
        qsort(recovery->names, recovery->name_count, sizeof *recovery->names, compare_names);
    }
    return err;
}

static void remove_rubbish(struct recovery *recovery)
{
    for (size_t i = 0; i < recovery->rubbish_count; i++) {
        char path[CATALOG_PATH_BYTES];
        catalog_path_name(recovery->catalog, path, recovery->rubbish[i]);
        enum bk_err err = file_unlink(path);
        if (err != BK_OK) { /* costs space until the next start */
            log_event(LOG_WARN, "journal_remove_failed", LOG_Z("file", path),
                      LOG_Z("error", bk_err_text(err)));
        }
    }
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

static enum bk_err check_holes(struct recovery *recovery, const struct candidate *list,
                               size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint64_t before = list[i - 1].segment->number;
        uint64_t number = list[i].segment->number;
        if (number != before + 1) {
            enum bk_err err =
                problem(recovery, list[i].segment, 0, BK_CORRUPT,
                        "the segment before is missing (number %llu): its records are lost",
                        (unsigned long long)(number - 1));
            if (err != BK_OK) {
                return err;
            }
        }
    }
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
                    problem(recovery, candidate->segment, 0, BK_CORRUPT,
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

/* ---- contents */

/* Fingerprints younger than the window are told: of whole segments, by when the next one was begun.
 * A wall clock that was set makes some of these times far apart, or backward: so each counts for no
 * more than a part of the window. Too much is told where all goes slowly; who is told judges by
 * himself what time has passed. */
static void choose_told(struct recovery *recovery, struct candidate *list, size_t count)
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

/* What is known of a segment after its sidecar or its frames were read. */
struct contents {
    uint64_t end;
    uint64_t last_commit;
    uint64_t next_sequence; /* 0 = unknown */
    uint32_t last_crc;
    bool closed;
    bool torn;
};

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
        return problem(
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
        err = problem(recovery, segment, bad, BK_CORRUPT,
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
    uint64_t torn_before = recovery->report->torn_frames;
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
                                 .closed = (builder.last_flags & FORMAT_CLOSING) != 0,
                                 .torn = recovery->report->torn_frames != torn_before};
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

static enum bk_err read_contents(struct recovery *recovery, struct candidate *candidate,
                                 bool newest, struct contents *ret)
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
        return problem(recovery, segment, 0, err, "its sidecar was written by a newer becket");
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

/* Behind the newest one: spares, made and never written, or with an opening that was never
 * finished. */
static enum bk_err check_spare(struct recovery *recovery, struct candidate *candidate,
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
        err =
            problem(recovery, segment, FORMAT_FRAME_AT, BK_CORRUPT,
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

/* One of another directory in the place of ours: what it says is true, and is not ours. */
static enum bk_err check_own(struct recovery *recovery, const struct candidate *list, size_t count)
{
    struct journal_mark mark;
    uint16_t id = list[0].segment->journal_id;
    if (!recovery->marked[id] || mark_read(recovery->catalog, id, &mark) != BK_OK) {
        return BK_OK;
    }
    for (size_t i = 0; i < count; i++) {
        const struct segment *segment = list[i].segment;
        enum bk_err err =
            mark_agrees(&mark, segment) || list[i].unreadable
                ? BK_OK
                : problem(recovery, segment, 0, BK_CORRUPT,
                          "it is a segment of another directory: the records of ours are lost");
        if (err != BK_OK) {
            return err;
        }
    }
    return BK_OK;
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

/* A sidecar that outlived its segment: fingerprints only. */
static enum bk_err read_orphan(struct recovery *recovery, const struct name *name)
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

/* A sidecar behind the last segment there is: its segment was not removed by retention, which
 * begins in front. */
static enum bk_err check_last(struct recovery *recovery, const struct name *names, size_t segments,
                              size_t count)
{
    if (segments == 0 || segments == count ||
        names[count - 1].number <= names[segments - 1].number) {
        return BK_OK;
    }
    return problem_in(recovery, ".log", names[0].journal, names[segments - 1].number, 0, BK_CORRUPT,
                      "the segment behind it is missing (number %llu), its sidecar is there: "
                      "records are lost",
                      (unsigned long long)names[count - 1].number);
}

/* ---- segments that have to be there (mark.h) */

static bool is_there(const struct recovery *recovery, uint16_t journal, uint64_t number)
{
    char path[CATALOG_PATH_BYTES];
    unsigned mode;
    catalog_path(recovery->catalog, path, "", journal, number, ".log");
    return file_mode(path, &mode) == BK_OK;
}

/* names: the segments. What a server did since they were listed is no loss: the mark is read after
 * that, and the newest are looked for once more. */
static enum bk_err check_mark(struct recovery *recovery, const struct name *names, size_t segments)
{
    struct journal_mark mark;
    uint16_t id = names[0].journal;
    if (segments == 0 || !recovery->marked[id] ||
        mark_read(recovery->catalog, id, &mark) != BK_OK) {
        return BK_OK;
    }
    uint64_t first = names[0].number, last = names[segments - 1].number;
    enum bk_err err = BK_OK;
    if (first > mark.first) {
        err = problem_in(recovery, ".log", id, first, 0, BK_CORRUPT,
                         "segments before it are missing (from number %llu), which retention did "
                         "not remove: their records are lost",
                         (unsigned long long)mark.first);
    }
    if (err == BK_OK && last < mark.last && !is_there(recovery, id, mark.last)) {
        err = problem_in(recovery, ".log", id, last, 0, BK_CORRUPT,
                         "segments behind it are missing (up to number %llu): their records are "
                         "lost",
                         (unsigned long long)mark.last);
    }
    return err;
}

__attribute__((format(printf, 3, 4))) static enum bk_err problem_of_mark(struct recovery *recovery,
                                                                         uint16_t journal,
                                                                         const char *format, ...)
{
    char path[CATALOG_PATH_BYTES];
    va_list args;
    mark_path(recovery->catalog, journal, path);
    va_start(args, format);
    enum bk_err err = problem_at(recovery, path, 0, BK_CORRUPT, format, args);
    va_end(args);
    return err;
}

/* Of a journal that there is nothing else of. */
static enum bk_err check_gone(struct recovery *recovery, uint16_t id)
{
    struct journal_mark mark;
    struct catalog_journal *journal = recovery->catalog->journals[id];
    if (!recovery->marked[id] || (journal && !list_empty(&journal->segments)) ||
        mark_read(recovery->catalog, id, &mark) != BK_OK || mark.last == 0 ||
        is_there(recovery, id, mark.last)) {
        return BK_OK;
    }
    return problem_of_mark(recovery, id,
                           "all segments of the journal are missing (up to number %llu): their "
                           "records are lost",
                           (unsigned long long)mark.last);
}

/* All was understood: what is there has to be there from now on. */
static void mark_found(struct recovery *recovery, struct catalog_journal *journal)
{
    struct journal_mark on_disk = {.first = 0};
    if (list_empty(&journal->segments)) {
        return;
    }
    mark_of(journal, &journal->mark);
    enum bk_err err = mark_read(recovery->catalog, journal->id, &on_disk);
    if (err == BK_OK && memcmp(&on_disk, &journal->mark, sizeof on_disk) == 0) {
        return;
    }
    err = mark_write(recovery->catalog, journal->id, &journal->mark);
    if (err != BK_OK) {
        log_event(LOG_WARN, "journal_mark_failed", LOG_I("journal", journal->id),
                  LOG_Z("error", bk_err_text(err)));
    }
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
