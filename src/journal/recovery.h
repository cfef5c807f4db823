/* recovery.h - inside a start: what the files recover*.c share. recover.c tells the order.
 *
 * Errors      What is wrong with a file goes through problem_of(): logged, and told in the report
 *             or to the check. The call says whether to go on: BK_OK, or the error to stop with.
 */
#ifndef BECKET_JOURNAL_RECOVERY_H
#define BECKET_JOURNAL_RECOVERY_H

#include "journal/catalog_state.h"

#include <stdarg.h>

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

/* What is known of a segment after its sidecar or its frames were read. */
struct contents {
    uint64_t end;
    uint64_t last_commit;
    uint64_t next_sequence; /* 0 = unknown */
    uint32_t last_crc;
    bool closed;
};

/* ---- recover.c */
/* What is wrong in a file that is there. BK_OK when the caller shall go on behind it. */
__attribute__((format(printf, 5, 0))) enum bk_err problem_at(struct recovery *recovery,
                                                             const char *path, uint64_t offset,
                                                             enum bk_err err, const char *format,
                                                             va_list args) BK_MUST_CHECK;
/* The same, in `<journal>-<number><suffix>`. */
__attribute__((format(printf, 7, 8))) enum bk_err problem_in(struct recovery *recovery,
                                                             const char *suffix, uint16_t journal,
                                                             uint64_t number, uint64_t offset,
                                                             enum bk_err err, const char *format,
                                                             ...) BK_MUST_CHECK;

#define problem_of(recovery, segment, offset, err, ...)                                            \
    problem_in((recovery), ".log", (segment)->journal_id, (segment)->number, (offset), (err),      \
               __VA_ARGS__)
/* A check runs beside the server, which may have removed the file since the directory was read. */
bool segment_went(const struct recovery *recovery, const struct segment *segment);

/* ---- recover_names.c */
/* All segments, sidecars and marks, sorted; what was being made or removed is set aside. */
enum bk_err list_names(struct recovery *recovery) BK_MUST_CHECK;
void remove_rubbish(struct recovery *recovery);

/* ---- recover_contents.c */
/* Whose fingerprints are told: of segments younger than the window. */
void choose_told(struct recovery *recovery, struct candidate *list, size_t count);
/* Of one that was opened. `newest`: the journal may go on in it. */
enum bk_err read_contents(struct recovery *recovery, struct candidate *candidate, bool newest,
                          struct contents *ret) BK_MUST_CHECK;
/* Behind the newest one: spares, made and never written, or with an opening that was never
 * finished. */
enum bk_err check_spare(struct recovery *recovery, struct candidate *candidate,
                        uint64_t last_commit) BK_MUST_CHECK;
/* A sidecar that outlived its segment: fingerprints only. */
enum bk_err read_orphan(struct recovery *recovery, const struct name *name) BK_MUST_CHECK;

/* ---- recover_missing.c */
enum bk_err check_holes(struct recovery *recovery, const struct candidate *list,
                        size_t count) BK_MUST_CHECK;
/* One of another directory in the place of ours: what it says is true, and is not ours. At least
 * one. */
enum bk_err check_own(struct recovery *recovery, const struct candidate *list,
                      size_t count) BK_MUST_CHECK;
/* A sidecar behind the last segment there is: its segment was not removed by retention, which
 * begins in front. names: of one journal, segments first. */
enum bk_err check_last(struct recovery *recovery, const struct name *names, size_t segments,
                       size_t count) BK_MUST_CHECK;
/* What the mark knows and the names lack. names: the segments. */
enum bk_err check_mark(struct recovery *recovery, const struct name *names,
                       size_t segments) BK_MUST_CHECK;
/* Of a journal that there is nothing else of. */
enum bk_err check_gone(struct recovery *recovery, uint16_t id) BK_MUST_CHECK;
/* All was understood: what is there has to be there from now on. */
void mark_found(struct recovery *recovery, struct catalog_journal *journal);

#endif
