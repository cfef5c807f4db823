/* journal_bench.c - what it costs to append a webhook, and how fast a journal is on this disk.
 *
 *     build/release/bench/micro/journal_bench [DIRECTORY] [SECONDS]
 *
 * A record is a head of 700 and a body of 1,024 bytes. For each batch size (records per loop turn)
 * one line: records per second, MB per second, nanoseconds of CPU in journal_append (with its copy
 * and CRC), of the whole reactor thread per record, and the commit latency. Goals: 150 ns per
 * append beyond copy and CRC (the first line says what those cost), no allocation.
 */
#include "base/crc32c.h"
#include "base/histogram.h"
#include "journal/catalog.h"
#include "ring/file.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define HEAD_BYTES 700U
#define BODY_BYTES 1024U
#define MESSAGES   512U

static char directory[256];
static struct catalog *catalog;
static struct ring *control;
static _Atomic bool ready;
static _Atomic bool done;
static uint8_t messages[MESSAGES][HEAD_BYTES + BODY_BYTES];

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static void *control_main(void *context)
{
    struct ring_config config = {.entries = 16, .handles_max = 16, .cpu = -1};
    const char *why = "";
    (void)context;
    if (ring_open(&config, &control, &why) != BK_OK) {
        fprintf(stderr, "%s\n", why);
        exit(1);
    }
    catalog_start(catalog, control);
    atomic_store(&ready, true);
    while (!atomic_load(&done)) {
        bool more = catalog_step(catalog, ring_wall_ns(control));
        uint64_t next_ns = ring_now_ns(control) + 1000000000;
        uint64_t paced_ns = catalog_next_ns(catalog);
        ring_turn(control, more ? 0 : paced_ns < next_ns ? paced_ns : next_ns);
    }
    return NULL;
}

static void committed(void *context, uint64_t durable_through, uint64_t failed_through,
                      enum bk_err err)
{
    (void)context;
    (void)durable_through;
    if (err != BK_OK) {
        fprintf(stderr, "failed through %llu: %s\n", (unsigned long long)failed_through,
                bk_err_text(err));
        exit(1);
    }
}

/* Copy and CRC alone, for comparison. */
static void baseline(void)
{
    static uint8_t target[300][2048];
    volatile uint32_t sum = 0;
    double best = 1e9;
    for (unsigned round = 0; round < 20; round++) {
        uint64_t start = clock_ns(CLOCK_MONOTONIC);
        for (unsigned i = 0; i < 300; i++) {
            memcpy(target[i] + 128, messages[i % MESSAGES], HEAD_BYTES + BODY_BYTES);
            sum = sum + crc32c(1, target[i] + 4, 124 + HEAD_BYTES + BODY_BYTES);
        }
        double took = (double)(clock_ns(CLOCK_MONOTONIC) - start) / 300;
        best = took < best ? took : best;
    }
    printf("copy and CRC of one record: %.0f ns\n", best);
}

static void measure(struct ring *ring, struct journal *journal, unsigned batch, double seconds)
{
    struct journal_entry entry = {.type = JOURNAL_ACCEPTED,
                                  .source = 1,
                                  .fingerprint = {1, 2},
                                  .head_bytes = HEAD_BYTES,
                                  .body_bytes = BODY_BYTES};
    struct journal_stats before = *journal_stats(journal);
    uint64_t start = clock_ns(CLOCK_MONOTONIC);
    uint64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    uint64_t appending = 0;
    uint64_t count = 0;
    uint64_t busy = 0;
    while ((double)(clock_ns(CLOCK_MONOTONIC) - start) < seconds * 1e9) {
        uint64_t begin = clock_ns(CLOCK_MONOTONIC);
        unsigned done_here = 0;
        uint64_t sequence;
        entry.received_ns = ring_wall_ns(ring);
        while (done_here < batch && journal_append(journal, &entry, messages[count % MESSAGES],
                                                   NULL, 0, &sequence) == BK_OK) {
            done_here++;
            count++;
        }
        appending += done_here == batch ? clock_ns(CLOCK_MONOTONIC) - begin : 0;
        busy += done_here == batch ? 0 : done_here;
        journal_turn(journal);
        ring_turn(ring, ring_now_ns(ring) + 100000000);
    }
    double took = (double)(clock_ns(CLOCK_MONOTONIC) - start) / 1e9;
    cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    const struct journal_stats *after = journal_stats(journal);
    uint64_t commits[24];
    for (unsigned i = 0; i < 24; i++) {
        commits[i] = after->commit_ns_buckets[i] - before.commit_ns_buckets[i];
    }
    printf("batch %4u: %8.0f records/s %6.0f MB/s  append %4.0f ns  thread %5.0f ns/record  "
           "%5.0f commits/s of %.0f records  commit p50 %5.0f us p99 %5.0f us\n",
           batch, (double)count / took, (double)(after->bytes - before.bytes) / took / 1e6,
           (double)appending / (double)(count - busy + 1), (double)cpu / (double)count,
           (double)(after->frames - before.frames) / took,
           (double)count / (double)(after->frames - before.frames + 1),
           (double)histogram_quantile(commits, 24, 14, 0.5) / 1e3,
           (double)histogram_quantile(commits, 24, 14, 0.99) / 1e3);
}

static void remove_entry(const char *name, void *context)
{
    char path[512];
    (void)context;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    (void)unlink(path);
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 3;
    struct catalog_config config = {.journals = 1, .retain_bytes = 3ULL << 30};
    struct journal_report report;
    struct ring_config ring_config = {.entries = 64, .handles_max = 64, .cpu = 0};
    struct ring *ring = NULL;
    struct journal *journal = NULL;
    const char *why = "";
    pthread_t thread;
    snprintf(directory, sizeof directory, "%s/becket-bench-XXXXXX", argc > 1 ? argv[1] : ".");
    if (!mkdtemp(directory)) {
        perror(directory);
        return 1;
    }
    for (unsigned i = 0; i < MESSAGES; i++) {
        ring_entropy(messages[i], sizeof messages[i]);
    }
    baseline();
    config.directory = directory;
    if (catalog_open(&config, (int64_t)clock_ns(CLOCK_REALTIME), NULL, NULL, &report, &catalog) !=
        BK_OK) {
        fprintf(stderr, "%s\n", report.problem);
        return 1;
    }
    pthread_create(&thread, NULL, control_main, NULL);
    while (!atomic_load(&ready)) {
        usleep(1000);
    }
    struct journal_config journal_config = {
        .catalog = catalog, .durable = true, .commit = committed};
    if (ring_open(&ring_config, &ring, &why) != BK_OK) {
        fprintf(stderr, "%s\n", why);
        return 1;
    }
    journal_config.ring = ring;
    if (journal_open(&journal_config, &journal) != BK_OK) {
        return 1;
    }
    static const unsigned batches[] = {1, 10, 40, 120, 250};
    for (unsigned i = 0; i < sizeof batches / sizeof batches[0]; i++) {
        measure(ring, journal, batches[i], seconds);
    }
    journal_stop(journal);
    while (!journal_idle(journal)) {
        journal_turn(journal);
        ring_turn(ring, ring_now_ns(ring) + 10000000);
    }
    journal_close(journal);
    ring_close(ring);
    atomic_store(&done, true);
    pthread_join(thread, NULL);
    struct catalog_stats stats;
    catalog_stats(catalog, &stats);
    printf("%u segments, %llu recycled, %llu removed\n", stats.segments,
           (unsigned long long)stats.recycled_total, (unsigned long long)stats.removed_total);
    catalog_close(catalog);
    (void)(directory_list(directory, remove_entry, NULL) == BK_OK);
    (void)rmdir(directory);
    return 0;
}
