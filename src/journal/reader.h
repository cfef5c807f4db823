/* reader.h - read records back: by position, forward, backward, merged over journals by time.
 *
 * Purpose     API, CLI and delivery look at what the journals hold, including the live segment up
 *             to what is durable. Every record's CRC is checked on the way.
 * Threads     The store thread (or the CLI), which owns the catalog.
 * Ownership   A record's message points into the reader's buffer: valid until the next call on
 *             that reader.
 * Blocking    Direct reads (never the page cache: it would slow the writer). Walks stop with
 *             BK_AGAIN when the budget is used up and go on at the next call.
 * Failure     BK_NOT_FOUND not there (any more); BK_CORRUPT with reader_problem(); BK_IO.
 */
#ifndef BECKET_JOURNAL_READER_H
#define BECKET_JOURNAL_READER_H

#include "journal/catalog.h"

struct reader;

struct journal_record {
    struct journal_position position;
    struct journal_entry entry;
    const uint8_t *message; /* head, then body */
};

/* The catalog must outlive the reader. Memory: up to 16 times 0.6 MiB, taken as
 * they are needed; more while it holds a larger record. */
enum bk_err reader_open(struct catalog *catalog, struct reader **ret_reader) BK_MUST_CHECK;
void reader_close(struct reader *reader);
/* File, offset and what is wrong, after BK_CORRUPT. */
const char *reader_problem(const struct reader *reader);

/* One record. BK_NOT_FOUND: never existed, not durable yet, or removed by retention. */
enum bk_err reader_get(struct reader *reader, struct journal_position position,
                       struct journal_record *ret_record) BK_MUST_CHECK;

/* ---- one journal, in the order of its sequence numbers */
struct reader_walk {
    uint16_t journal;
    bool backward;
    uint64_t next; /* the sequence wanted next; 0 at the end of a backward walk */
};
/* From sequence `from` on (included). Forward from 1 = oldest there is; backward from UINT64_MAX =
 * newest. */
void reader_walk_begin(struct reader_walk *walk, uint16_t journal, bool backward, uint64_t from);
/* Like that, from the first record received at or after since_ns (forward) or the last one received
 * at or before (backward), as far as the journal's clock ran forward. Blocking, reads at most one
 * index step. */
enum bk_err reader_walk_begin_time(struct reader *reader, struct reader_walk *walk,
                                   uint16_t journal, bool backward, int64_t time_ns) BK_MUST_CHECK;
/* The next record; *budget (bytes) is reduced by what was read from disk. BK_AGAIN: the budget is
 * used up. BK_NOT_FOUND: end; a forward walk may be continued when more became durable. BK_CORRUPT:
 * damage; call again to go on behind it. */
enum bk_err reader_next(struct reader *reader, struct reader_walk *walk, size_t *budget,
                        struct journal_record *ret_record) BK_MUST_CHECK;

/* ---- all journals merged by received_ns (ties by journal id) */
#define READER_JOURNALS_MAX 64U
struct reader_merge {
    bool backward;
    unsigned count;
    struct reader_walk walks[READER_JOURNALS_MAX];
    int64_t heads_ns[READER_JOURNALS_MAX]; /* time of each walk's next record, once known */
    bool known[READER_JOURNALS_MAX];
    bool ended[READER_JOURNALS_MAX];
};
/* Newest first: backward with time_ns = INT64_MAX. To go on behind a known record, pass its
 * received_ns and skip until its position was seen; or keep the struct: it holds no pointers and
 * can be copied. */
enum bk_err reader_merge_begin(struct reader *reader, struct reader_merge *merge, bool backward,
                               int64_t time_ns) BK_MUST_CHECK;
enum bk_err reader_merge_next(struct reader *reader, struct reader_merge *merge, size_t *budget,
                              struct journal_record *ret_record) BK_MUST_CHECK;

#endif
