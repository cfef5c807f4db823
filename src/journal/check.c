/* check.c - recovery without mercy: every segment is read whole, nothing is trusted, nothing
 * written. */
#include "journal/check.h"

#include "journal/catalog_state.h"

struct check {
    struct catalog_audit audit;
    check_problem_fn *problem;
    check_record_fn *record;
    check_segment_fn *segment;
    void *context;
    struct check_totals *totals;
    struct catalog *catalog;
};

static void check_problem(struct catalog_audit *audit, const char *path, uint64_t offset,
                          enum bk_err err, const char *what)
{
    struct check *check = bk_container_of(audit, struct check, audit);
    struct check_problem problem = {.path = path, .offset = offset, .err = err, .what = what};
    check->totals->problems++;
    if (check->problem) {
        check->problem(&problem, check->context);
    }
}

static bool check_frame(struct catalog_audit *audit, const struct segment *segment,
                        const struct format_frame *frame)
{
    struct check *check = bk_container_of(audit, struct check, audit);
    struct check_totals *totals = check->totals;
    struct format_walk walk;
    const struct format_record *record = NULL;
    totals->frames++;
    format_walk_begin(&walk, frame, frame->bytes, segment->seed);
    while (format_walk_next(&walk, false, &record) == BK_OK) {
        totals->records++;
        totals->accepted += record->type == JOURNAL_ACCEPTED;
        totals->rejected += record->type == JOURNAL_REJECTED;
        totals->duplicates += record->type == JOURNAL_DUPLICATE;
        totals->attempts += record->type == JOURNAL_ATTEMPT;
        if (!check->record) {
            continue;
        }
        struct journal_record view = {.position = {segment->journal_id, record->sequence},
                                      .message = (const uint8_t *)(record + 1)};
        format_record_entry(record, &view.entry);
        if (!check->record(&view, check->context)) {
            return false;
        }
    }
    return true;
}

static void count_spare(const struct catalog_segment *segment, void *context)
{
    struct check_totals *totals = context;
    totals->spares += segment->state == SEGMENT_SPARE;
}

static enum bk_err check_segment(struct catalog_audit *audit, const struct segment *segment,
                                 uint64_t end)
{
    struct check *check = bk_container_of(audit, struct check, audit);
    char path[CATALOG_PATH_BYTES];
    catalog_path(check->catalog, path, "", segment->journal_id, segment->number, ".log");
    struct check_segment view = {.path = path,
                                 .journal = segment->journal_id,
                                 .number = segment->number,
                                 .bytes = segment->bytes > end ? segment->bytes : end,
                                 .end = end};
    return check->segment ? check->segment(&view, check->context) : BK_OK;
}

static enum bk_err check_orphans(struct check *check)
{
    enum bk_err err = BK_OK;
    char path[CATALOG_PATH_BYTES];
    const struct list *orphans = &check->catalog->orphans;
    for (const struct list *node = orphans->next; node != orphans; node = node->next) {
        const struct catalog_orphan *orphan =
            bk_container_of(node, const struct catalog_orphan, node);
        catalog_path(check->catalog, path, "", orphan->journal, orphan->number, ".idx");
        struct check_segment view = {.path = path,
                                     .journal = orphan->journal,
                                     .number = orphan->number,
                                     .sidecar = true};
        err = err == BK_OK ? check->segment(&view, check->context) : err;
    }
    return err;
}

static enum bk_err check_all(struct check *check, const char *directory)
{
    struct catalog_config config = {.directory = directory, .read_only = true};
    struct journal_report report = {0};
    struct check_totals *totals = check->totals;
    memset(totals, 0, sizeof *totals);
    check->audit = (struct catalog_audit){
        .problem = check_problem, .frame = check_frame, .segment = check_segment};
    enum bk_err err = catalog_new(&config, &check->catalog);
    if (err != BK_OK) {
        return err;
    }
    check->catalog->audit = &check->audit;
    err = catalog_recover(check->catalog, 0, NULL, NULL, &report);
    if (err == BK_OK && check->segment) {
        err = check_orphans(check);
    }
    catalog_each(check->catalog, count_spare, totals);
    totals->journals = report.journals;
    totals->segments = report.segments;
    totals->sidecars = check->audit.sidecars;
    totals->bytes = report.bytes;
    totals->torn_frames = report.torn_frames;
    totals->torn_bytes = report.torn_bytes;
    catalog_close(check->catalog);
    return check->audit.stopped ? BK_OK : err;
}

enum bk_err journal_check(const char *directory, check_problem_fn *problem, check_record_fn *record,
                          void *context, struct check_totals *ret_totals)
{
    struct check check = {
        .problem = problem, .record = record, .context = context, .totals = ret_totals};
    return check_all(&check, directory);
}

enum bk_err journal_check_segments(const char *directory, check_problem_fn *problem,
                                   check_segment_fn *segment, void *context,
                                   struct check_totals *ret_totals)
{
    struct check check = {
        .problem = problem, .segment = segment, .context = context, .totals = ret_totals};
    return check_all(&check, directory);
}
