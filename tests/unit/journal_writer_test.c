/* Description: the writer: batching, order of acknowledgement, rolling, failures, stop. */
#include "journal_world.h"

static void test_first_commit(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK, "opens in an empty directory");
    is_uint(world.durable[0], 0, "nothing is durable yet");
    world.rings[0].hold = true;
    journal_turn(world.journals[0]);
    is_uint(world.rings[0].write_count, 1, "the opening frame is written at once");
    is_int(world_append(&world, 0, 1, 500), BK_OK);
    journal_turn(world.journals[0]);
    is_uint(world.rings[0].write_count, 2, "a small frame may follow the opening");
    fake_complete(&world.rings[0], 1);
    is_uint(world.durable[0], 0, "not acknowledged before the opening is durable");
    fake_complete(&world.rings[0], 0);
    is_uint(world.durable[0], 1, "now it is");
    is_uint(journal_pending_bytes(world.journals[0]), 0);
    ok(journal_idle(world.journals[0]));
    world.rings[0].hold = false;
    world_run(&world);
    world_stop(&world);
    is_int(world_open(&world), BK_OK, "opens again");
    ok(world.report.clean, "the stop was clean");
    is_uint(world.report.records, 1);
    is_uint(world.seen_count, 1, "the fingerprint comes back");
    is_uint(world.seen_bad, 0);
    is_uint(world.durable[0], 1);
    world_stop(&world);
    world_fini(&world);
}

static void test_commit_rule(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    struct ring *ring = &world.rings[0];
    ring->hold = true;
    uint64_t sequence = 1;
    for (; sequence <= 2; sequence++) {
        is_int(world_append(&world, 0, sequence, 100), BK_OK);
        journal_turn(world.journals[0]);
        is_uint(ring->write_count, sequence, "idle: commit in the same turn; thin: another beside");
    }
    fake_complete(ring, 0);
    fake_complete(ring, 0);
    for (; sequence <= 5; sequence++) {
        is_int(world_append(&world, 0, sequence, 100), BK_OK);
    }
    journal_turn(world.journals[0]);
    is_uint(ring->write_count, 1);
    is_int(world_append(&world, 0, sequence++, 100), BK_OK);
    journal_turn(world.journals[0]);
    is_uint(ring->write_count, 1, "three are under way: gather");
    while (sequence < 7 + 70) {
        is_int(world_append(&world, 0, sequence++, 1000), BK_OK);
    }
    journal_turn(world.journals[0]);
    is_uint(ring->write_count, 2, "64 KiB gathered: a second commit");
    is_int(world_append(&world, 0, sequence, 100000), BK_OK);
    journal_turn(world.journals[0]);
    is_uint(ring->write_count, 2, "never a third");
    fake_complete(ring, 1);
    is_uint(world.durable[0], 2, "the second one is done first: nothing is acknowledged");
    journal_turn(world.journals[0]);
    is_uint(ring->write_count, 1, "and its place is not free either");
    fake_complete(ring, 0);
    is_uint(world.durable[0], sequence - 1, "both are acknowledged, in order");
    is_uint(world.writing_at_commit, 1, "and the next one was sent to the disk before");
    journal_turn(world.journals[0]);
    fake_complete(ring, 0);
    is_uint(world.durable[0], sequence);
    const struct journal_stats *stats = journal_stats(world.journals[0]);
    is_uint(stats->frames, 6);
    is_uint(stats->records, sequence);
    is_uint(ring->inflight_max, 2);
    ring->hold = false;
    world_stop(&world);
    world_fini(&world);
}

/* A record alone, then one with another behind it, on a device that needs `flush_ns` for each; how
 * many of the second ones did not wait for the first. */
static unsigned seconds_of(struct world *world, uint64_t *sequence, unsigned rounds, bool both)
{
    const uint64_t flush_ns = 1000000;
    struct ring *ring = &world->rings[0];
    unsigned seconds = 0;
    for (unsigned i = 0; i < rounds; i++) {
        ring->hold = false;
        world_run(world); /* new files are made, too */
        ring->hold = true;
        bk_assert(world_append(world, 0, (*sequence)++, 100) == BK_OK);
        journal_turn(world->journals[0]);
        fake_now_ns += flush_ns;
        fake_complete(ring, 0);
        bk_assert(world_append(world, 0, (*sequence)++, 100) == BK_OK);
        journal_turn(world->journals[0]);
        fake_now_ns += flush_ns / 4;
        bk_assert(world_append(world, 0, (*sequence)++, 100) == BK_OK);
        journal_turn(world->journals[0]);
        bool second = ring->write_count == 2;
        seconds += second;
        fake_now_ns += flush_ns - flush_ns / 4;
        fake_complete(ring, 0);
        journal_turn(world->journals[0]);
        fake_now_ns += second && both ? flush_ns / 4 : flush_ns;
        while (ring->write_count > 0) { /* now and then a segment is opened, too */
            fake_complete(ring, 0);
        }
    }
    bk_assert(world->durable[0] == *sequence - 1);
    return seconds;
}

static void test_overlap(void)
{
    struct world world;
    world_init(&world, 1, 32 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    uint64_t sequence = 1;
    is_uint(seconds_of(&world, &sequence, 100, true), 100, "two flushes at once: nobody waits");
    (void)seconds_of(&world, &sequence, 100, false);
    unsigned seconds = seconds_of(&world, &sequence, 320, false);
    ok(seconds > 0 && seconds <= 40, "one after the other: a few try (%u of 320)", seconds);
    (void)seconds_of(&world, &sequence, 640, true);
    is_uint(seconds_of(&world, &sequence, 100, true), 100, "at once again: this is noticed");
    world.rings[0].hold = false;
    world_run(&world);
    world_stop(&world);
    world_fini(&world);
}

static void test_busy(void)
{
    struct world world;
    world_init(&world, 1, 8 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world.rings[0].hold = true;
    uint64_t sequence = 1;
    enum bk_err err;
    while ((err = world_append(&world, 0, sequence, 100000)) == BK_OK) {
        sequence++;
        journal_turn(world.journals[0]);
    }
    is_int(err, BK_BUSY, "three frames are full: busy");
    is_uint(sequence, 8, "one and one record in flight, five in the third frame");
    is_uint(journal_pending_bytes(world.journals[0]), 7 * format_record_bytes(100000));
    is_int(world_append(&world, 0, sequence, JOURNAL_SMALL_BYTES_MAX + 1), BK_TOO_LARGE);
    world.rings[0].hold = false;
    world_run(&world);
    is_uint(world.durable[0], sequence - 1);
    is_int(world_append(&world, 0, sequence, 100000), BK_OK, "goes on after the commit");
    world_stop(&world);
    world_fini(&world);
}

static void test_roll(void)
{
    struct world world;
    world_init(&world, 2, 2 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 6000, 40);
    world_fill(&world, 1, 1, 10, 1);
    is_uint(world.durable[0], 6000);
    ok(journal_stats(world.journals[0])->rolls >= 3, "rolled");
    struct catalog_stats stats;
    catalog_stats(world.catalog, &stats);
    is_uint(stats.live, 2, "one live segment per journal");
    is_uint(stats.spares, 3, "two spares for the busy one, one for the other");
    is_uint(stats.indexed_total, stats.sealed, "all sealed ones have a sidecar");
    ok(stats.sealed >= 3);
    world_crash(&world);
    is_int(world_open(&world), BK_OK, "opens again");
    is_uint(world.report.records, 6010);
    is_uint(world.seen_count, 6010, "all fingerprints");
    is_uint(world.seen_bad, 0);
    is_uint(world.report.torn_frames, 0);
    ok(!world.report.clean, "not a clean stop");
    is_uint(world.durable[0], 6000);
    is_uint(world.durable[1], 10);
    world_fill(&world, 0, 6001, 9000, 40);
    world_stop(&world);
    world_fini(&world);
}

static void test_failure(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 10, 1);
    struct ring *ring = &world.rings[0];
    ring->hold = true;
    is_int(world_append(&world, 0, 11, 70000), BK_OK);
    journal_turn(world.journals[0]);
    is_int(world_append(&world, 0, 12, 70000), BK_OK);
    journal_turn(world.journals[0]);
    is_uint(ring->write_count, 2);
    is_int(world_append(&world, 0, 13, 1000), BK_OK);
    ring->fail_after = 0;
    ring->fail_count = 1;
    ring->fail_writes = true; /* the bytes are there, only the flush failed */
    fake_complete(ring, 0);
    is_uint(world.failures[0], 0, "not reported while the other one is in flight");
    uint64_t sequence = 0;
    struct journal_entry entry = {.type = JOURNAL_ACCEPTED, .head_bytes = 4};
    is_int(journal_append(world.journals[0], &entry, (const uint8_t *)"head", NULL, 0, &sequence),
           BK_IO, "no appends meanwhile");
    fake_complete(ring, 0);
    is_uint(world.failures[0], 1);
    is_uint(world.durable[0], 10, "durable up to the failed one");
    is_uint(world.failed[0], 13, "failed up to the last appended");
    is_int(world.last_err, BK_IO);
    is_uint(journal_pending_bytes(world.journals[0]), 0);
    ring->hold = false;
    is_int(world_append(&world, 0, 14, 1000), BK_OK,
           "goes on in the spare, numbers are not used again");
    world_run(&world);
    is_uint(world.durable[0], 14);
    struct catalog_stats stats;
    catalog_stats(world.catalog, &stats);
    is_uint(stats.abandoned, 1);
    world_crash(&world);
    is_int(world_open(&world), BK_OK);
    is_uint(world.report.records, 11, "the failed ones are gone");
    is_uint(world.seen_count, 11);
    is_uint(world.seen_last, 14);
    world_fill(&world, 0, 15, 20, 1);
    world_crash(&world);
    char path[512];
    world_path(&world, path, "j0-0000000001.idx");
    ok(unlink(path) == 0, "the abandoned segment has a sidecar");
    is_int(world_open(&world), BK_OK, "and is read again without it");
    is_uint(world.seen_count, 17, "they do not come back then either");
    world_stop(&world);
    world_fini(&world);
}

static void test_failing_disk(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    struct ring *ring = &world.rings[0];
    ring->fail_after = 0;
    ring->fail_value = 0; /* short */
    uint64_t sequence = 1;
    unsigned accepted = 0;
    unsigned refused = 0;
    for (unsigned i = 0; i < 1000; i++) {
        enum bk_err err = world_append(&world, 0, sequence, 5000);
        accepted += err == BK_OK;
        refused += err == BK_IO;
        sequence += err == BK_OK;
        world_run(&world);
        fake_now_ns += 10000000; /* 10 s in all */
        fake_wall_ns += 10000000;
    }
    is_uint(world.durable[0], 0, "nothing is acknowledged");
    is_uint(accepted + refused, 1000);
    ok(accepted <= 6 && accepted >= 4, "%u tries in ten seconds", accepted);
    is_uint(world.failures[0], accepted);
    ring->fail_after = -1;
    fake_now_ns += 40000000000ULL;
    is_int(world_append(&world, 0, sequence, 1000), BK_OK, "the disk is back: no restart needed");
    world_run(&world);
    is_uint(world.durable[0], sequence);
    world_crash(&world);
    is_int(world_open(&world), BK_OK);
    is_uint(world.report.records, 1);
    is_uint(world.durable[0], sequence);
    world_stop(&world);
    world_fini(&world);
}

static void test_large(void)
{
    struct world world;
    world_init(&world, 1, 8 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    size_t bytes = 900000;
    uint8_t *buffers[10];
    unsigned queued = 0;
    enum bk_err err = BK_OK;
    world.rings[0].hold = true;
    uint64_t sequence = 1;
    is_int(world_append(&world, 0, sequence++, 1000), BK_OK);
    for (; queued < 10 && err == BK_OK; queued++) {
        buffers[queued] = aligned_alloc(4096, 1 << 20);
        memset(buffers[queued], 0xee, 1 << 20);
        record_message(0, sequence, bytes, buffers[queued] + JOURNAL_LARGE_MESSAGE_AT);
        struct journal_entry entry = {.type = JOURNAL_ACCEPTED,
                                      .received_ns = fake_wall_ns,
                                      .head_bytes = 500,
                                      .body_bytes = (uint32_t)bytes - 500};
        record_fingerprint(0, sequence, entry.fingerprint);
        uint64_t got = 0;
        err = journal_append_large(world.journals[0], &entry, buffers[queued], 1 << 20, &got);
        ok(err != BK_OK || got == sequence);
        sequence += err == BK_OK;
        journal_turn(world.journals[0]);
        while (err == BK_BUSY && world.rings[0].write_count > 0) {
            fake_complete(&world.rings[0], 0);
            journal_turn(world.journals[0]);
        }
    }
    is_int(err, BK_BUSY, "not more than may be queued, or no larger segment yet");
    is_uint(world.rings[0].inflight_max, 2);
    world.rings[0].hold = false;
    world_run(&world);
    is_uint(world.durable[0], sequence - 1);
    struct journal_entry entry = {.type = JOURNAL_ACCEPTED, .head_bytes = 1, .body_bytes = 9 << 20};
    uint8_t *huge = aligned_alloc(4096, 10 << 20);
    uint64_t got = 0;
    is_int(journal_append_large(world.journals[0], &entry, huge, 10 << 20, &got), BK_TOO_LARGE,
           "larger than a segment");
    free(huge);
    for (unsigned i = 0; i < queued; i++) {
        free(buffers[i]);
    }
    is_int(world_append(&world, 0, sequence, 1000), BK_OK);
    world_run(&world);
    world_crash(&world);
    is_int(world_open(&world), BK_OK);
    is_uint(world.report.records, sequence);
    is_uint(world.seen_bad, 0);
    world_stop(&world);
    world_fini(&world);
}

static void test_no_spare(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    /* The store thread does not run. */
    uint64_t sequence = 1;
    enum bk_err err = BK_OK;
    while (sequence < 1000) {
        err = world_append(&world, 0, sequence, 50000);
        if (err != BK_OK) {
            journal_turn(world.journals[0]);
            if (!fake_turn(&world.rings[0])) {
                break;
            }
        }
        sequence += err == BK_OK;
    }
    is_int(err, BK_BUSY, "no spare yet: busy, %u records in", (unsigned)sequence);
    is_uint(world.durable[0], sequence - 1, "all others are durable");
    world_run(&world);
    is_int(world_append(&world, 0, sequence, 50000), BK_OK, "a spare came");
    world_run(&world);
    is_uint(world.durable[0], sequence);
    world_stop(&world);
    world_fini(&world);
}

static void test_redaction(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    struct journal_entry entry = {.type = JOURNAL_REJECTED, .reason = 3, .head_bytes = 20};
    struct journal_redaction redactions[] = {{5, 3}, {18, 2}};
    uint64_t sequence = 0;
    is_int(journal_append(world.journals[0], &entry, (const uint8_t *)"abcdeSECfghijklmnoSE",
                          redactions, 2, &sequence),
           BK_OK);
    world_run(&world);
    world_crash(&world);
    char path[512];
    char *text = NULL;
    size_t bytes = 0;
    world_path(&world, path, "j0-0000000001.log");
    is_int(file_read_all(path, 4 << 20, &text, &bytes), BK_OK);
    ok(memmem(text, bytes, "abcde***fghijklmno**", 20) != NULL, "secrets are blanked");
    ok(memmem(text, bytes, "SEC", 3) == NULL);
    free(text);
    world_fini(&world);
}

/* ---- records that nobody waits for, and the consumer of durable ones */

struct consumed {
    unsigned count;
    uint64_t last;
    uint64_t bytes;
    bool bad;
};

static void consume(void *context, uint64_t sequence, const struct journal_entry *entry,
                    const uint8_t *message)
{
    struct consumed *consumed = context;
    static uint8_t want[1 << 20];
    size_t bytes = (size_t)entry->head_bytes + entry->body_bytes;
    record_message(0, sequence, bytes, want);
    consumed->bad |= entry->type != JOURNAL_ACCEPTED || sequence <= consumed->last ||
                     memcmp(want, message, bytes) != 0;
    consumed->count++;
    consumed->last = sequence;
    consumed->bytes += bytes;
}

static void test_consume(void)
{
    struct world world;
    struct consumed consumed = {0};
    world_init(&world, 1, 32 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    is_int(world_append(&world, 0, 1, 300), BK_OK);
    world_run(&world);
    journal_consume(world.journals[0], consume, &consumed);
    for (uint64_t sequence = 2; sequence < 10; sequence++) {
        is_int(world_append(&world, 0, sequence, record_size(sequence)), BK_OK);
    }
    struct journal_entry other = {.type = JOURNAL_REJECTED, .reason = 3, .head_bytes = 4};
    uint64_t sequence = 0;
    is_int(journal_append(world.journals[0], &other, (const uint8_t *)"abcd", NULL, 0, &sequence),
           BK_OK);
    is_uint(consumed.count, 0, "nothing before it is durable");
    world_run(&world);
    is_uint(consumed.count, 8, "accepted records are handed on, once, and no others");
    is_uint(consumed.last, 9);
    struct journal_entry large = {.type = JOURNAL_ACCEPTED, .head_bytes = 10, .body_bytes = 200000};
    uint8_t *buffer = aligned_alloc(4096, 50 * 4096);
    record_message(0, 11, 200010, buffer + JOURNAL_LARGE_MESSAGE_AT);
    is_int(journal_append_large(world.journals[0], &large, buffer, 50 * 4096, &sequence), BK_OK);
    world_run(&world);
    is_uint(consumed.count, 9, "a large record, too, while its buffer is there");
    ok(!consumed.bad, "each with its own bytes, in order");
    world.rings[0].fail_after = 0;
    world.rings[0].fail_count = 1;
    is_int(world_append(&world, 0, 12, 300), BK_OK);
    world_run(&world);
    is_uint(consumed.count, 9, "what is not durable is not handed on");
    journal_consume(world.journals[0], NULL, NULL);
    is_int(world_append(&world, 0, 13, 300), BK_OK);
    world_run(&world);
    is_uint(consumed.count, 9, "until nobody wants them");
    free(buffer);
    world_stop(&world);
    world_fini(&world);
}

static void test_lazy(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    struct journal *journal = world.journals[0];
    struct journal_entry attempt = {.type = JOURNAL_ATTEMPT, .head_bytes = 8};
    uint64_t sequence = 0, writes = world.rings[0].writes_total;
    is_uint(journal_next_ns(journal), UINT64_MAX, "nothing to wake up for");
    is_int(journal_append_lazy(journal, &attempt, (const uint8_t *)"12345678", &sequence), BK_OK);
    is_uint(sequence, 1);
    uint64_t due_ns = journal_next_ns(journal);
    is_uint(due_ns, fake_now_ns + JOURNAL_LAZY_NS, "it may wait");
    journal_turn(journal);
    ok(!journal_writing(journal), "a record that nobody waits for starts no commit");
    ok(!journal_idle(journal));
    is_int(world_append(&world, 0, 2, 100), BK_OK);
    journal_turn(journal);
    ok(journal_writing(journal), "another record takes it along");
    is_uint(journal_next_ns(journal), UINT64_MAX);
    world_run(&world);
    is_uint(world.rings[0].writes_total, writes + 1, "in the same write");
    is_uint(world.durable[0], 2);
    is_int(journal_append_lazy(journal, &attempt, (const uint8_t *)"12345678", &sequence), BK_OK);
    fake_now_ns = journal_next_ns(journal) - 1;
    journal_turn(journal);
    ok(!journal_writing(journal));
    fake_now_ns++;
    journal_turn(journal);
    ok(journal_writing(journal), "but not for long");
    world_run(&world);
    is_uint(world.durable[0], 3);
    is_int(journal_append_lazy(journal, &attempt, (const uint8_t *)"12345678", &sequence), BK_OK);
    fake_now_ns = journal_next_ns(journal);
    journal_turn(journal);
    is_int(world_append(&world, 0, 5, 100), BK_OK);
    journal_turn(journal);
    is_uint(world.rings[0].write_count, 2, "nor does it stand in front of another");
    fake_now_ns += 40000000;
    world_run(&world);
    is_uint(world.durable[0], 5);
    is_int(journal_append_lazy(journal, &attempt, (const uint8_t *)"12345678", &sequence), BK_OK);
    due_ns = journal_next_ns(journal);
    ok(due_ns > fake_now_ns + JOURNAL_LAZY_NS && due_ns <= fake_now_ns + JOURNAL_LAZY_NS_MAX,
       "on a slow disk it waits longer: %llu us",
       (unsigned long long)(due_ns - fake_now_ns) / 1000);
    world_stop(&world);
    is_int(world_open(&world), BK_OK);
    is_uint(world.durable[0], 6, "a clean stop writes them");
    is_uint(world.seen_count, 2, "and attempts are not taken for events");
    world_run(&world);
    world_stop(&world);
    world_fini(&world);
}

/* A commit of `count` records that takes 4 ms. */
static void commit_slowly(struct world *world, uint64_t *sequence, unsigned count)
{
    struct ring *ring = &world->rings[0];
    for (unsigned i = 0; i < count; i++) {
        is_int(world_append(world, 0, (*sequence)++, 100), BK_OK);
    }
    fake_now_ns += 1000000; /* whatever was held back is over */
    journal_turn(world->journals[0]);
    is_uint(ring->write_count, 1);
    fake_now_ns += 4000000;
    fake_complete(ring, 0);
}

static void test_hold(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    struct journal *journal = world.journals[0];
    struct ring *ring = &world.rings[0];
    uint64_t sequence = 1, left_ns = 0;
    ring->hold = true;
    for (unsigned i = 0; i < 30; i++) {
        commit_slowly(&world, &sequence, 4);
    }
    is_int(world_append(&world, 0, sequence++, 100), BK_OK);
    is_uint(journal_held(journal, &left_ns), 0, "few that were answered are not waited for");
    commit_slowly(&world, &sequence, 29);

    is_uint(journal_held(journal, &left_ns), 30,
            "thirty were answered: all of them are waited for");
    is_uint(journal_next_ns(journal), UINT64_MAX);
    is_int(world_append(&world, 0, sequence++, 100), BK_OK);
    journal_turn(journal);
    is_uint(ring->write_count, 0, "the first that is back waits for the others");
    is_uint(journal_held(journal, &left_ns), 29);
    ok(left_ns > 500000 && left_ns <= 1000000, "for half a flush, a millisecond at most");
    is_uint(journal_next_ns(journal), fake_now_ns + left_ns, "and then wakes up");
    for (unsigned i = 0; i < 29; i++) {
        is_int(world_append(&world, 0, sequence++, 100), BK_OK);
    }
    journal_turn(journal);
    is_uint(ring->write_count, 1, "all are back: commit");
    fake_now_ns += 4000000;
    fake_complete(ring, 0);

    for (unsigned i = 0; i < 3; i++) {
        is_int(world_append(&world, 0, sequence++, 100), BK_OK);
        journal_turn(journal);
        is_uint(ring->write_count, 0);
        fake_now_ns = journal_next_ns(journal);
        journal_turn(journal);
        is_uint(ring->write_count, 1, "time is over");
        for (unsigned k = 0; k < 29; k++) {
            is_int(world_append(&world, 0, sequence++, 100), BK_OK);
        }
        fake_now_ns += 4000000;
        fake_complete(ring, 0);
        journal_turn(journal);
        fake_now_ns += 2000000;
        journal_turn(journal);
        fake_complete(ring, 0);
    }
    commit_slowly(&world, &sequence, 30);
    is_int(world_append(&world, 0, sequence++, 100), BK_OK);
    is_uint(journal_held(journal, &left_ns), 0, "they did not come: no more waiting, for a while");
    journal_turn(journal);
    is_uint(ring->write_count, 1);
    fake_complete(ring, 0);
    for (unsigned i = 0; i < 20; i++) { /* the pause is over */
        commit_slowly(&world, &sequence, 30);
    }
    is_uint(journal_held(journal, &left_ns), 30, "thirty again are waited for");
    commit_slowly(&world, &sequence, 100);
    is_uint(journal_held(journal, &left_ns), 0, "a hundred are not: they fill a frame anyway");
    ring->hold = false;
    world_stop(&world);
    world_fini(&world);
}

int main(void)
{
    test_hold();
    test_consume();
    test_lazy();
    test_first_commit();
    test_commit_rule();
    test_overlap();
    test_busy();
    test_roll();
    test_failure();
    test_failing_disk();
    test_large();
    test_no_spare();
    test_redaction();
    is_uint(fake_unclean, 0, "behind the records of a frame are zeros, to the end of its block");
    return done_testing();
}
