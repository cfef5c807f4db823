/* check.h - `becket journal check` and `dump`: verify every checksum of a journal directory.
 *
 * Purpose     Walks all segments and sidecars without a catalog, changes nothing, and says for
 *             each problem where it is. A torn tail after a crash is not a problem: it is
 *             counted.
 * Threads     Any one thread (CLI). The server may run meanwhile: what is in flight then looks
 *             like a torn tail.
 */
#ifndef BECKET_JOURNAL_CHECK_H
#define BECKET_JOURNAL_CHECK_H

#include "journal/reader.h"

struct check_problem {
    const char *path;
    uint64_t offset;
    enum bk_err err;  /* BK_CORRUPT, BK_VERSION, BK_IO */
    const char *what; /* one line */
};
typedef void check_problem_fn(const struct check_problem *problem, void *context);
/* NULL: check only. Return false to stop. */
typedef bool check_record_fn(const struct journal_record *record, void *context);

struct check_totals {
    unsigned journals, segments, sidecars, spares;
    uint64_t bytes, frames, records, accepted, rejected, duplicates, attempts;
    uint64_t torn_frames, torn_bytes; /* unfinished commits at the end of a log */
    uint64_t problems;
};

/* A segment that was read, or a sidecar that outlived its own. */
struct check_segment {
    const char *path;
    uint16_t journal;
    uint64_t number;
    bool sidecar;
    uint64_t bytes; /* a segment's size; 0 = as it is */
    uint64_t end;   /* behind its last good commit */
};
/* An error ends the check, and is what it returns. */
typedef enum bk_err check_segment_fn(const struct check_segment *segment, void *context);

/* BK_OK also when there are problems (see totals); an error when the directory cannot be read. */
enum bk_err journal_check(const char *directory, check_problem_fn *problem, check_record_fn *record,
                          void *context, struct check_totals *ret_totals) BK_MUST_CHECK;
/* The same, one segment after the other: of a journal with ascending numbers. */
enum bk_err journal_check_segments(const char *directory, check_problem_fn *problem,
                                   check_segment_fn *segment, void *context,
                                   struct check_totals *ret_totals) BK_MUST_CHECK;

#endif
