/* check.c - recovery without mercy: every segment is read whole, nothing is trusted, nothing
 * written. */
#include "journal/check.h"

#include "journal/catalog_state.h"

struct check {
    struct catalog_audit audit;
    check_problem_fn *problem;
    check_record_fn *record;
    void *context;
    struct check_totals *totals;
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

enum bk_err journal_check(const char *directory, check_problem_fn *problem, check_record_fn *record,
                          void *context, struct check_totals *ret_totals)
{
    struct catalog_config config = {.directory = directory, .read_only = true};
    struct journal_report report = {0};
    struct catalog *catalog = NULL;
    struct check check = {.audit = {.problem = check_problem, .frame = check_frame},
                          .problem = problem,
                          .record = record,
                          .context = context,
                          .totals = ret_totals};
    memset(ret_totals, 0, sizeof *ret_totals);
    enum bk_err err = catalog_new(&config, &catalog);
    if (err != BK_OK) {
        return err;
    }
    catalog->audit = &check.audit;
    err = catalog_recover(catalog, 0, NULL, NULL, &report);
    catalog_each(catalog, count_spare, ret_totals);
    ret_totals->journals = report.journals;
    ret_totals->segments = report.segments;
    ret_totals->sidecars = check.audit.sidecars;
    ret_totals->bytes = report.bytes;
    ret_totals->torn_frames = report.torn_frames;
    ret_totals->torn_bytes = report.torn_bytes;
    catalog_close(catalog);
    return check.audit.stopped ? BK_OK : err;
}
