/* recover_missing.c - what has to be there and is not: holes, what a sidecar or a mark remembers,
 * and segments of another directory in the place of ours. */
#include "base/log.h"
#include "journal/mark.h"
#include "journal/recovery.h"
#include "ring/file.h"

enum bk_err check_holes(struct recovery *recovery, const struct candidate *list, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint64_t before = list[i - 1].segment->number;
        uint64_t number = list[i].segment->number;
        if (number != before + 1) {
            enum bk_err err =
                problem_of(recovery, list[i].segment, 0, BK_CORRUPT,
                           "the segment before is missing (number %llu): its records are lost",
                           (unsigned long long)(number - 1));
            if (err != BK_OK) {
                return err;
            }
        }
    }
    return BK_OK;
}

enum bk_err check_last(struct recovery *recovery, const struct name *names, size_t segments,
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

enum bk_err check_own(struct recovery *recovery, const struct candidate *list, size_t count)
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
                : problem_of(recovery, segment, 0, BK_CORRUPT,
                             "it is a segment of another directory: the records of ours are lost");
        if (err != BK_OK) {
            return err;
        }
    }
    return BK_OK;
}

static bool is_there(const struct recovery *recovery, uint16_t journal, uint64_t number)
{
    char path[CATALOG_PATH_BYTES];
    unsigned mode;
    catalog_path(recovery->catalog, path, "", journal, number, ".log");
    return file_mode(path, &mode) == BK_OK;
}

/* names: the segments. What a server did since they were listed is no loss: the mark is read after
 * that, and the newest are looked for once more. */
enum bk_err check_mark(struct recovery *recovery, const struct name *names, size_t segments)
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

enum bk_err check_gone(struct recovery *recovery, uint16_t id)
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

void mark_found(struct recovery *recovery, struct catalog_journal *journal)
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
