/* catalog_state.h - inside the catalog: what catalog.c, recover*.c, maker.c, seal.c and retain.c
 * share. */
#ifndef BECKET_JOURNAL_CATALOG_STATE_H
#define BECKET_JOURNAL_CATALOG_STATE_H

#include "journal/index.h"
#include "journal/scan.h"
#include "journal/segment.h"

#define CATALOG_PATH_BYTES     1024U
#define CATALOG_POOL_MAX       4U           /* recycled files kept for the next spares */
#define CATALOG_RETRY_NS       1000000000LL /* after a failure of the disk */
#define CATALOG_TRUNCATE_BYTES (32ULL << 20)

/* Which segments there have to be (mark.h). */
#define JOURNAL_MARK_NEWEST 3U /* one in use and its spares */
struct journal_mark {
    uint64_t first; /* none before this one; 0 = not known */
    uint64_t last;  /* this one, or a later one */
    /* The low half of the first one's, and of those from the last one back: what no other directory
     * has. The newest have no other that names them yet. 0 = none. */
    uint64_t first_uuid;
    uint64_t last_uuids[JOURNAL_MARK_NEWEST];
};

struct catalog_journal {
    uint16_t id;
    struct journal_mark mark;
    bool writer;          /* a reactor writes it in this run */
    bool rolled;          /* busy enough to have two spares ready */
    struct list segments; /* of struct segment, ascending numbers, any state */
    uint64_t next_number; /* of the next segment file */
    struct ring *ring;    /* once journal_open said hello, until bye */
    void *journal;
    struct journal_start start;
    uint64_t after_sequence; /* from sidecars whose segments are gone; 0 = none */
    uint64_t after_commit;
    _Atomic int spare_err; /* enum bk_err; what an append gets when there is no spare */
    /* What was asked last of what is owed, monotonic. */
    uint64_t owed_through;
    uint64_t owed_until_ns; /* it is owed, and not asked for before */
    uint64_t ask_ns;        /* the next time */
};

/* check.c: recovery that reads everything, changes nothing and stops at no problem. */
struct catalog_audit {
    /* One line about what is wrong in the file at `path`. */
    void (*problem)(struct catalog_audit *audit, const char *path, uint64_t offset, enum bk_err err,
                    const char *what);
    /* A good frame. Return false to stop. */
    bool (*frame)(struct catalog_audit *audit, const struct segment *segment,
                  const struct format_frame *frame);
    /* After its frames: the segment counts up to `end`. NULL: not wanted. An error ends it. */
    enum bk_err (*segment)(struct catalog_audit *audit, const struct segment *segment,
                           uint64_t end);
    unsigned sidecars;
    bool stopped;
};

/* A sidecar whose segment is gone. */
struct catalog_orphan {
    struct list node;
    uint16_t journal;
    uint64_t number;
    int64_t last_ns;
};

struct catalog_maker {
    enum { MAKE_IDLE, MAKE_ZERO, MAKE_HEADER, MAKE_RENAME, MAKE_SYNC } state;
    struct catalog_journal *journal;
    uint64_t number;
    uint64_t bytes;
    uint64_t zeroed;
    uint64_t capacity; /* of the journal when this file was begun: bytes until it needs it */
    uint64_t pace_ns;  /* monotonic: no zeroing before, unless it is urgent */
    struct format_segment *block; /* aligned */
    uint8_t *zeros;               /* 2 MiB, aligned: a huge page; NULL until needed */
    int file;
    bool recycled;
    int64_t retry_ns;
    enum bk_err err;
    uint64_t lend_ns; /* when refused spares are lent again (catalog_clock()); 0 = there are none */
};

struct catalog_sealer {
    enum { SEAL_IDLE, SEAL_SCAN, SEAL_WRITE, SEAL_RENAME, SEAL_SYNC } state;
    struct segment *segment;
    struct scan scan;
    struct index_builder builder;
    uint8_t *image;
    size_t image_bytes;
    size_t written;
    int file;
    uint64_t pace_ns;
    int64_t retry_ns;
};

struct catalog_remover {
    enum { REMOVE_IDLE, REMOVE_TRUNCATE, REMOVE_UNLINK } state;
    char path[CATALOG_PATH_BYTES];
    uint64_t bytes;
    uint64_t pace_ns;
    int64_t retry_ns;
    struct segment *renamed; /* whose name is gone, but the directory could not be synced */
    bool renamed_keep;       /* into the pool */
    char renamed_to[CATALOG_PATH_BYTES];
    /* Whether the wall clock can be believed. */
    bool clock_seen;
    int64_t clock_offset_ns;  /* wall minus monotonic, when it was looked at last */
    uint64_t clock_stands_ns; /* monotonic: since when it runs on by itself */
    uint64_t age_from_ns;     /* monotonic: the next one goes by age then */
};

struct catalog {
    char *directory;
    struct ring *control;
    uint64_t segment_bytes;
    uint64_t retain_bytes;
    int64_t retain_ns;
    int64_t dedupe_window_ns;
    bool read_only;
    bool accept_damage;
    struct catalog_audit *audit; /* NULL but in check.c */
    unsigned journals_end;       /* one more than the largest id there is */
    struct catalog_journal *journals[FORMAT_JOURNALS_MAX];
    struct list orphans;
    char pool[CATALOG_POOL_MAX][FORMAT_NAME_BYTES]; /* names of full-sized files for reuse */
    unsigned pool_count;
    uint64_t pool_serial;
    struct catalog_maker maker;
    struct catalog_sealer sealer;
    struct catalog_remover remover;
    catalog_owed_fn *owed; /* NULL: nothing is */
    void *owed_context;
    struct catalog_stats stats; /* only the totals are kept up to date here */
};

/* "directory/prefix" + name of a segment or sidecar. */
void catalog_path(const struct catalog *catalog, char ret_path[CATALOG_PATH_BYTES],
                  const char *prefix, uint16_t journal, uint64_t number, const char *suffix);
void catalog_path_name(const struct catalog *catalog, char ret_path[CATALOG_PATH_BYTES],
                       const char *name);
struct catalog_journal *catalog_journal_new(struct catalog *catalog, uint16_t id);
/* From a checked block 0. Not in any list. NULL: no memory. */
struct segment *segment_new(struct catalog *catalog, const struct format_segment *block);
void segment_free(struct segment *segment);
/* The segment's file for reading (and writing unless read only), opened when it is not. */
enum bk_err segment_file(struct catalog *catalog, struct segment *segment) BK_MUST_CHECK;
/* Size of segment `number` of a journal: they double up to the full size. */
uint64_t catalog_bytes_of(const struct catalog *catalog, uint64_t number);

/* ---- recover.c */
/* A catalog that only reads, with nothing in it yet. */
enum bk_err catalog_new(const struct catalog_config *config,
                        struct catalog **ret_catalog) BK_MUST_CHECK;
enum bk_err catalog_recover(struct catalog *catalog, int64_t now_ns, journal_seen_fn *seen,
                            void *context, struct journal_report *report) BK_MUST_CHECK;

/* ---- maker.c */
enum bk_err maker_init(struct catalog *catalog) BK_MUST_CHECK;
void maker_fini(struct catalog *catalog);
bool maker_step(struct catalog *catalog, int64_t now_ns);
/* When paced work goes on; UINT64_MAX = none waits. */
uint64_t maker_next_ns(const struct catalog *catalog);
/* One segment for this journal, now. */
enum bk_err maker_make(struct catalog *catalog, struct catalog_journal *journal, int64_t now_ns,
                       struct segment **ret_segment) BK_MUST_CHECK;
/* Lend a spare to its journal. */
void maker_lend(struct catalog *catalog, struct catalog_journal *journal, struct segment *segment);

/* ---- seal.c: sidecars */
bool seal_step(struct catalog *catalog, int64_t now_ns);
uint64_t seal_next_ns(struct catalog *catalog);
void catalog_seal_fini(struct catalog *catalog);

/* ---- retain.c */
bool retain_step(struct catalog *catalog, int64_t now_ns);
/* When (monotonic) it has something to do, but for the disk's failures. */
uint64_t retain_next_ns(struct catalog *catalog);

/* Monotonic, for pacing. 0 before catalog_start: then nothing is paced. */
static inline uint64_t catalog_clock(const struct catalog *catalog)
{
    return catalog->control ? ring_now_ns(catalog->control) : 0;
}

/* Wall clocks jump: due also when the time to wait for is implausibly far away. */
static inline bool catalog_due(int64_t retry_ns, int64_t now_ns)
{
    return now_ns >= retry_ns || retry_ns - now_ns > CATALOG_RETRY_NS;
}

#endif
