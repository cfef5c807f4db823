/* Description: a journal on its reactor thread over io_uring, while the store thread makes spares,
 * seals, and reads what is durable; then a stop and a start. */
#include "journal/reader.h"
#include "ring/file.h"
#include "directory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

/* Under the sanitizers half as much in half as large segments: as many are made and sealed. */
#define SCALE         (TAP_SANITIZED ? 1U : 2U)
#define RECORDS       (6000U * SCALE)
#define MESSAGE_BYTES 900U
#define LARGE_EVERY   500U
#define LARGE_BYTES   200000U

static char directory[256];
static struct catalog *catalog;
static struct ring *control;
static _Atomic bool control_ready;
static _Atomic bool stop_control;
static _Atomic bool reactor_done;
static _Atomic(struct journal *) shared;

struct reactor {
    struct ring *ring;
    struct journal *journal;
    uint64_t durable;
    unsigned failures;
    uint8_t *large[JOURNAL_LARGE_INFLIGHT];
    uint64_t large_sequence[JOURNAL_LARGE_INFLIGHT];
};

static void fill(uint8_t *at, size_t bytes, uint64_t sequence)
{
    size_t done = 0;
    for (; done < bytes && done < 256; done++) {
        at[done] = (uint8_t)(sequence * 31 + done * 7);
    }
    for (size_t piece; done < bytes; done += piece) { /* it comes again; TSan looks at each write */
        piece = bytes - done < done ? bytes - done : done;
        memcpy(at + done, at, piece);
    }
}

static void committed(void *context, uint64_t durable_through, uint64_t failed_through,
                      enum bk_err err)
{
    struct reactor *reactor = context;
    (void)failed_through;
    reactor->failures += err != BK_OK;
    reactor->durable = durable_through;
    for (unsigned i = 0; i < JOURNAL_LARGE_INFLIGHT; i++) {
        if (reactor->large[i] && reactor->large_sequence[i] <= durable_through) {
            free(reactor->large[i]);
            reactor->large[i] = NULL;
        }
    }
}

static enum bk_err append_large(struct reactor *reactor, uint64_t wanted)
{
    unsigned slot = 0;
    while (slot < JOURNAL_LARGE_INFLIGHT && reactor->large[slot]) {
        slot++;
    }
    if (slot == JOURNAL_LARGE_INFLIGHT) {
        return BK_BUSY;
    }
    uint8_t *buffer = aligned_alloc(4096, 208896);
    fill(buffer + JOURNAL_LARGE_MESSAGE_AT, LARGE_BYTES, wanted);
    struct journal_entry entry = {.type = JOURNAL_ACCEPTED,
                                  .received_ns = ring_wall_ns(reactor->ring),
                                  .fingerprint = {wanted, 1},
                                  .head_bytes = 100,
                                  .body_bytes = LARGE_BYTES - 100};
    uint64_t sequence = 0;
    enum bk_err err = journal_append_large(reactor->journal, &entry, buffer, 208896, &sequence);
    if (err == BK_OK) {
        reactor->large[slot] = buffer;
        reactor->large_sequence[slot] = sequence;
    } else {
        free(buffer);
    }
    return err;
}

static enum bk_err append(struct reactor *reactor, uint64_t wanted)
{
    static uint8_t message[MESSAGE_BYTES];
    if (wanted % LARGE_EVERY == 0) {
        return append_large(reactor, wanted);
    }
    fill(message, sizeof message, wanted);
    struct journal_entry entry = {.type = JOURNAL_ACCEPTED,
                                  .received_ns = ring_wall_ns(reactor->ring),
                                  .fingerprint = {wanted, 1},
                                  .head_bytes = 100,
                                  .body_bytes = MESSAGE_BYTES - 100};
    uint64_t sequence = 0;
    enum bk_err err = journal_append(reactor->journal, &entry, message, NULL, 0, &sequence);
    return err != BK_OK || sequence == wanted ? err : BK_CORRUPT;
}

static void *reactor_main(void *context)
{
    struct reactor *reactor = context;
    struct ring_config config = {.entries = 64, .handles_max = 64, .cpu = -1};
    const char *why = "";
    while (!atomic_load(&control_ready)) {
        usleep(1000);
    }
    if (ring_open(&config, &reactor->ring, &why) != BK_OK) {
        bail_out("ring_open: %s", why);
    }
    struct journal_config journal_config = {.ring = reactor->ring,
                                            .catalog = catalog,
                                            .durable = true,
                                            .commit = committed,
                                            .context = reactor};
    if (journal_open(&journal_config, &reactor->journal) != BK_OK) {
        bail_out("journal_open");
    }
    atomic_store(&shared, reactor->journal);
    uint64_t next = journal_durable_through(reactor->journal) + 1;
    uint64_t last = next + RECORDS;
    while (next < last || !journal_idle(reactor->journal)) {
        enum bk_err err = BK_OK;
        for (unsigned i = 0; i < 20 && next < last && err == BK_OK; i++) {
            err = append(reactor, next);
            next += err == BK_OK;
        }
        if (err != BK_OK && err != BK_BUSY) {
            reactor->failures++;
            break;
        }
        journal_turn(reactor->journal);
        ring_turn(reactor->ring, ring_now_ns(reactor->ring) + 1000000);
    }
    atomic_store(&reactor_done, true);
    while (!atomic_load(&stop_control)) { /* the reader still asks this journal */
        ring_turn(reactor->ring, ring_now_ns(reactor->ring) + 1000000);
    }
    journal_stop(reactor->journal);
    while (!journal_idle(reactor->journal)) {
        journal_turn(reactor->journal);
        ring_turn(reactor->ring, ring_now_ns(reactor->ring) + 1000000);
    }
    journal_close(reactor->journal);
    atomic_store(&shared, NULL);
    ring_close(reactor->ring);
    return NULL;
}

/* The store thread's part: everything that becomes durable is found, in order, and right. */
static unsigned read_along(struct reader *reader, struct reader_walk *walk, uint64_t *next)
{
    static uint8_t want[LARGE_BYTES];
    struct journal_record record;
    unsigned bad = 0;
    size_t budget = 1 << 20;
    struct journal *journal = atomic_load(&shared);
    uint64_t durable = journal ? journal_durable_through(journal) : 0;
    while (reader_next(reader, walk, &budget, &record) == BK_OK) {
        size_t bytes = (size_t)record.entry.head_bytes + record.entry.body_bytes;
        fill(want, bytes, record.position.sequence);
        bad += record.position.sequence != *next;
        bad += memcmp(record.message, want, bytes) != 0;
        *next = record.position.sequence + 1;
    }
    return bad + (budget > 0 && *next <= durable);
}

static void round_trip(uint64_t first)
{
    struct catalog_config config = {.directory = directory,
                                    .journals = 1,
                                    .segment_bytes = SCALE << 20,
                                    .dedupe_window_ns = 1LL << 60};
    struct journal_report report;
    struct ring_config ring_config = {.entries = 16, .handles_max = 16, .cpu = -1};
    const char *why = "";
    struct reactor reactor = {0};
    pthread_t thread;
    if (ring_open(&ring_config, &control, &why) != BK_OK) {
        skip_all("io_uring: %s", why);
    }
    atomic_store(&stop_control, false);
    atomic_store(&control_ready, false);
    atomic_store(&reactor_done, false);
    is_int(catalog_open(&config, ring_wall_ns(control), NULL, NULL, &report, &catalog), BK_OK);
    is_uint(report.records, first - 1);
    ok(report.clean);
    catalog_start(catalog, control);
    pthread_create(&thread, NULL, reactor_main, &reactor);
    atomic_store(&control_ready, true);
    struct reader *reader = NULL;
    struct reader_walk walk;
    is_int(reader_open(catalog, &reader), BK_OK);
    reader_walk_begin(&walk, 0, false, 1);
    uint64_t next = 1;
    unsigned bad = 0;
    while (!atomic_load(&reactor_done) || next < first + RECORDS) {
        bool more = catalog_step(catalog, ring_wall_ns(control));
        bad += read_along(reader, &walk, &next);
        if (bad > 0) {
            break;
        }
        ring_turn(control, more ? 0 : ring_now_ns(control) + 1000000);
    }
    is_uint(bad, 0, "read along while it was written");
    is_uint(next, first + RECORDS);
    struct catalog_stats stats;
    atomic_store(&stop_control, true);
    while (atomic_load(&shared)) {
        ring_turn(control, ring_now_ns(control) + 1000000);
    }
    pthread_join(thread, NULL);
    ring_turn(control, ring_now_ns(control) + 1000000);
    catalog_stats(catalog, &stats);
    is_uint(reactor.failures, 0);
    is_uint(reactor.durable, first + RECORDS - 1);
    ok(stats.segments > 4, "%u segments", stats.segments);
    reader_close(reader);
    catalog_close(catalog);
    ring_close(control);
}

static void remove_entry(const char *name, void *context)
{
    char path[512];
    (void)context;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    (void)unlink(path);
}

int main(void)
{
    test_directory(directory, sizeof directory, true);
    round_trip(1);
    round_trip(1 + RECORDS);
    (void)(directory_list(directory, remove_entry, NULL) == BK_OK);
    (void)rmdir(directory);
    return done_testing();
}
