/* catalog.h - all segments of all journals: recovery at start, spares, sealing, retention.
 *
 * Purpose     What the reactors must not do themselves because it blocks: make segment files,
 *             index sealed ones, remove old ones; and knowing which segment holds which record.
 * Threads     catalog_open before any other thread runs; after catalog_start everything is for
 *             the store thread only. Reactors talk to it through journal.h (by mail), never
 *             through this header.
 * Ownership   The catalog owns segment objects and files; a live one is lent to its journal.
 * Retention   By size: while there is more than retain_bytes, the oldest segment goes, whatever it
 *             holds. By age: what is older than retain_ns, but nothing that somebody is owed
 *             (catalog_guard), and only by a wall clock that can be believed: one that ran on
 *             for an eighth of retain_ns (six hours at most) since catalog_start and since it was
 *             set forward. From there on what a day brought takes an hour to go. So a clock that
 *             is wrong for a while removes nothing, one that stays wrong begins with what was the
 *             oldest anyway. A segment is no younger than what was received after it, whatever a
 *             wrong clock wrote into it.
 * Blocking    catalog_step does one bounded step: one system call or at most 1 MiB of disk.
 * Failure     Disk full or broken: spares are tried again every second; the journals answer
 *             BK_NO_SPACE or BK_IO.
 */
#ifndef BECKET_JOURNAL_CATALOG_H
#define BECKET_JOURNAL_CATALOG_H

#include "journal/journal.h"

struct catalog;

struct catalog_config {
    const char *directory; /* made when absent; copied */
    uint16_t journals; /* ids 0 … journals-1 get a writer; others found on disk are read only */
    uint64_t
        segment_bytes; /* multiple of 4096, >= 1 MiB; 0: 128 MiB, or 64 MiB on a small file system.
                        * A journal's first segments are smaller: 1/8, 1/4, 1/2 of it. */
    uint64_t retain_bytes;    /* of all journals together; 0 = no limit */
    int64_t retain_ns;        /* 0 = no limit */
    int64_t dedupe_window_ns; /* fingerprints younger than this, and some older ones, are reported
                               * at start; 0 = none */
    bool read_only;     /* CLI: recover and read, write nothing; catalog_start is not allowed */
    bool accept_damage; /* go on behind damage: what is bad is left out, and recorded. Default:
                           refuse */
};

/* One accepted record that carried a delivery id, oldest first within a journal. */
struct journal_seen {
    uint64_t fingerprint[2];
    struct journal_position position;
    int64_t received_ns;
};
typedef void journal_seen_fn(const struct journal_seen *seen, void *context);

struct journal_report {
    unsigned journals; /* found on disk */
    unsigned segments;
    uint64_t records;       /* in all segments */
    uint64_t bytes;         /* of files */
    uint64_t scanned_bytes; /* read to verify */
    uint64_t torn_frames;   /* unfinished commits that were cut off after a crash */
    uint64_t torn_bytes;
    bool clean;        /* every journal ended with a closing frame */
    char problem[512]; /* BK_CORRUPT, BK_VERSION, …: one line with file, offset and what to do */
};

/* Recover and make the first segments. BK_CORRUPT: damage before the end of a log (report->problem
 * says where); nothing was changed. BK_VERSION: written by a newer becket, untouched. `report` is
 * filled in any case. */
enum bk_err catalog_open(const struct catalog_config *config, int64_t now_ns, journal_seen_fn *seen,
                         void *context, struct journal_report *ret_report,
                         struct catalog **ret_catalog) BK_MUST_CHECK;
void catalog_close(struct catalog *catalog);

/* The ring of the store thread: mail to the journals is sent from it, theirs arrives there. Call
 * before any journal_open(). */
void catalog_start(struct catalog *catalog, struct ring *control);

/* One bounded step of the most urgent work. true: there is more, call again soon. false: nothing to
 * do now; call again after mail, when catalog_next_ns() says so, and at least once a second
 * (retention, another try on a full disk). */
bool catalog_step(struct catalog *catalog, int64_t now_ns);
/* After false: when (monotonic) the next step of paced work is due, UINT64_MAX = none. Making and
 * reading segments is spread out, for every commit's flush waits for what else was written. */
uint64_t catalog_next_ns(struct catalog *catalog);

/* Change retention while running. */
void catalog_retain(struct catalog *catalog, uint64_t retain_bytes, int64_t retain_ns);

/* Is anything up to this sequence of a journal owed to anybody? Asked before a segment goes, again
 * and again while the answer is LOOKING; OWED is asked again after a minute. */
enum catalog_owed { CATALOG_FREE, CATALOG_OWED, CATALOG_LOOKING };
typedef enum catalog_owed catalog_owed_fn(void *context, uint16_t journal, uint64_t through);
/* Without it nothing is. */
void catalog_guard(struct catalog *catalog, catalog_owed_fn *owed, void *context);

enum segment_state {
    SEGMENT_SPARE,    /* ready, not yet written to */
    SEGMENT_LIVE,     /* a journal appends to it */
    SEGMENT_SEALED,   /* complete */
    SEGMENT_ABANDONED /* a flush failed in it: valid up to `durable_bytes` */
};

/* For metrics, `GET /status` and tests. */
struct catalog_segment {
    uint16_t journal;
    uint64_t number;
    enum segment_state state;
    bool indexed;            /* its sidecar is on disk */
    uint64_t first_sequence; /* 0 0: no records */
    uint64_t last_sequence;
    int64_t first_ns;
    int64_t last_ns;
    uint64_t bytes;         /* of the file */
    uint64_t durable_bytes; /* of it in use */
};
typedef void catalog_segment_fn(const struct catalog_segment *segment, void *context);
void catalog_each(const struct catalog *catalog, catalog_segment_fn *each, void *context);

struct catalog_stats {
    unsigned segments, live, sealed, abandoned, spares, recycled;
    uint64_t file_bytes; /* all of them */
    uint64_t used_bytes; /* frames in them */
    uint64_t made_total, recycled_total, removed_total, indexed_total, failures_total;
    uint64_t removed_records_total; /* by retention */
    uint64_t removed_owed_total;    /* segments that went by size although something was owed */
    unsigned held;                  /* journals whose oldest segment stays for that alone */
    int64_t oldest_ns;              /* first record that is still there; 0 = none */
    enum bk_err maker_err;          /* why no spare can be made now, BK_OK else */
};
void catalog_stats(const struct catalog *catalog, struct catalog_stats *ret_stats);

/* Journal ids with at least one segment, ascending. Returns how many there are (may exceed max). */
unsigned catalog_journals(const struct catalog *catalog, uint16_t *ret_ids, unsigned max);

#endif
