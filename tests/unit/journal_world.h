/* journal_world.h - a journal with its catalog over real files and a ring that tests control.
 *
 * The ring here writes to the file when an operation completes, and operations complete when the
 * test says so, in the order it says, or fail. One thread plays reactor and store thread.
 */
#ifndef TESTS_UNIT_JOURNAL_WORLD_H
#define TESTS_UNIT_JOURNAL_WORLD_H

#include "journal/catalog.h"
#include "journal/format.h"
#include "journal/journal.h"
#include "journal/reader.h"
#include "ring/file.h"
#include "directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FAKE_OPS 64U
#define UNUSED   __attribute__((unused))

/* ---- the ring */

struct fake_write {
    struct ring_op *op;
    ring_done_fn *done;
    int32_t handle;
    const void *at;
    size_t bytes;
    uint64_t offset;
};

struct ring {
    struct ring_mail *mail_first;
    struct ring_mail **mail_last;
    struct fake_write writes[FAKE_OPS];
    unsigned write_count;
    struct ring_op *closing[FAKE_OPS];
    unsigned closing_count;
    int files[256];
    bool used[256];
    unsigned inflight_max;
    uint64_t writes_total;
    uint64_t write_bytes;
    uint8_t *buffers;
    bool hold;          /* completions wait for fake_complete() */
    int64_t fail_after; /* this many more writes succeed, then all fail; -1 = none fails */
    int fail_count;     /* how many fail */
    int32_t fail_value; /* what they return */
    bool fail_writes;   /* a failing write reaches the file nevertheless */
};

static uint64_t fake_now_ns = 1000000000ULL;
static int64_t fake_wall_ns = 1700000000LL * 1000000000LL;
static uint64_t fake_random = 88172645463325252ULL;

static uint64_t next_random(void)
{
    fake_random ^= fake_random << 13;
    fake_random ^= fake_random >> 7;
    fake_random ^= fake_random << 17;
    return fake_random;
}

static void fake_init(struct ring *ring)
{
    memset(ring, 0, sizeof *ring);
    ring->mail_last = &ring->mail_first;
    ring->fail_after = -1;
    ring->fail_count = 1 << 30;
    ring->fail_value = -(int32_t)BK_IO;
}

uint64_t ring_now_ns(const struct ring *ring)
{
    (void)ring;
    return fake_now_ns;
}

int64_t ring_wall_ns(const struct ring *ring)
{
    (void)ring;
    return fake_wall_ns;
}

void ring_entropy(void *at, size_t bytes)
{
    uint8_t *out = at;
    for (size_t i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(next_random() >> 24);
    }
}

enum bk_err ring_file_attach(struct ring *ring, int file, int32_t *ret_handle)
{
    for (int i = 0; i < 256; i++) {
        if (!ring->used[i]) {
            ring->used[i] = true;
            ring->files[i] = file;
            *ret_handle = i;
            return BK_OK;
        }
    }
    return BK_NO_DESCRIPTORS;
}

enum bk_err ring_write_buffers(struct ring *ring, unsigned count, size_t bytes, uint8_t **ret_first)
{
    ring->buffers = aligned_alloc(4096, count * bytes);
    memset(ring->buffers, 0xa5, count * bytes); /* whatever is not written shows */
    *ret_first = ring->buffers;
    return BK_OK;
}

/* Frames whose last block has something of others behind their records: what retention has removed
 * would live on there. */
static unsigned fake_unclean;

static void fake_look_behind(const void *at, size_t bytes)
{
    const struct format_frame *frame = at;
    const uint8_t *all = at;
    bool clean = true;
    for (size_t i = frame->magic == FORMAT_FRAME_MAGIC ? frame->bytes : bytes; i < bytes; i++) {
        clean = clean && all[i] == 0;
    }
    fake_unclean += !clean;
}

void ring_write(struct ring *ring, struct ring_op *op, int32_t handle, const void *at, size_t bytes,
                uint64_t offset, int buffer, bool durable, ring_done_fn *done)
{
    (void)buffer;
    (void)durable;
    bk_assert(!op->inflight && ring->write_count < FAKE_OPS && ring->used[handle]);
    bk_assert((uintptr_t)at % 4096 == 0 && bytes % 4096 == 0 && offset % 4096 == 0);
    op->inflight = 1;
    fake_look_behind(at, bytes);
    ring->writes[ring->write_count++] = (struct fake_write){op, done, handle, at, bytes, offset};
    if (ring->write_count > ring->inflight_max) {
        ring->inflight_max = ring->write_count;
    }
}

void ring_close_handle(struct ring *ring, struct ring_op *op, int32_t handle, ring_done_fn *done)
{
    bk_assert(ring->used[handle] && ring->closing_count < FAKE_OPS);
    ring->used[handle] = false;
    op->done = done;
    op->inflight = 1;
    ring->closing[ring->closing_count++] = op;
}

void ring_post(struct ring *from, struct ring *target, struct ring_mail *mail)
{
    (void)from;
    mail->next = NULL;
    *target->mail_last = mail;
    target->mail_last = &mail->next;
}

/* Complete write `index` of those in flight. */
static void fake_complete(struct ring *ring, unsigned index)
{
    struct fake_write write = ring->writes[index];
    ring->write_count--;
    memmove(&ring->writes[index], &ring->writes[index + 1],
            (ring->write_count - index) * sizeof ring->writes[0]);
    struct ring_result result = {.value = (int32_t)write.bytes};
    bool fails = ring->fail_after == 0 && ring->fail_count > 0;
    if (ring->fail_after > 0) {
        ring->fail_after--;
    } else if (fails) {
        ring->fail_count--;
        result.value = ring->fail_value;
    }
    if (!fails || ring->fail_writes) {
        enum bk_err err =
            file_write(ring->files[write.handle], write.at, write.bytes, write.offset);
        bk_assert(err == BK_OK);
    }
    ring->writes_total++;
    ring->write_bytes += write.bytes;
    write.op->inflight = 0;
    write.done(write.op, &result);
}

static bool fake_turn(struct ring *ring)
{
    bool any = false;
    struct ring_mail *mail = ring->mail_first;
    ring->mail_first = NULL;
    ring->mail_last = &ring->mail_first;
    while (mail) {
        struct ring_mail *next = mail->next;
        mail->run(mail);
        mail = next;
        any = true;
    }
    while (ring->closing_count > 0) {
        struct ring_op *op = ring->closing[--ring->closing_count];
        struct ring_result result = {0};
        op->inflight = 0;
        op->done(op, &result);
        any = true;
    }
    while (!ring->hold && ring->write_count > 0) {
        fake_complete(ring, 0);
        any = true;
    }
    fake_now_ns += 100000;
    return any;
}

/* ---- journal and catalog */

#define WORLD_JOURNALS 4U

struct world {
    char directory[256];
    struct catalog_config config;
    struct catalog *catalog;
    struct journal_report report;
    struct ring control;
    struct ring rings[WORLD_JOURNALS];
    struct journal *journals[WORLD_JOURNALS];
    uint8_t *buffers;
    uint64_t durable[WORLD_JOURNALS];
    uint64_t failed[WORLD_JOURNALS];
    unsigned failures[WORLD_JOURNALS];
    unsigned writing_at_commit; /* writes under way when it was last called */
    enum bk_err last_err;
    struct context {
        struct world *world;
        unsigned index;
    } contexts[WORLD_JOURNALS];
    uint64_t seen_count;
    uint64_t seen_first;
    uint64_t seen_last;
    uint64_t seen_bad;
};

static void world_commit(void *context, uint64_t durable_through, uint64_t failed_through,
                         enum bk_err err)
{
    struct context *at = context;
    struct world *world = at->world;
    bk_assert(durable_through >= world->durable[at->index]);
    world->durable[at->index] = durable_through;
    world->writing_at_commit = world->rings[at->index].write_count;
    if (err != BK_OK) {
        world->failed[at->index] = failed_through;
        world->failures[at->index]++;
        world->last_err = err;
    }
}

/* A record is a function of its journal and number, so that it can be checked anywhere. */
static void record_fingerprint(unsigned journal, uint64_t sequence, uint64_t ret[2])
{
    ret[0] = sequence * 0x9e3779b97f4a7c15ULL + journal;
    ret[1] = ~sequence;
}

static size_t record_message(unsigned journal, uint64_t sequence, size_t bytes, uint8_t *ret)
{
    uint64_t state = sequence * 0x2545f4914f6cdd1dULL + journal + 1;
    for (size_t at = 0; at < bytes; at += sizeof state) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(ret + at, &state, bytes - at < sizeof state ? bytes - at : sizeof state);
    }
    return bytes;
}

UNUSED static void world_seen(const struct journal_seen *seen, void *context)
{
    struct world *world = context;
    uint64_t want[2];
    record_fingerprint(seen->position.journal, seen->position.sequence, want);
    world->seen_count++;
    world->seen_first = world->seen_first ? world->seen_first : seen->position.sequence;
    world->seen_bad += seen->fingerprint[0] != want[0] || seen->fingerprint[1] != want[1];
    world->seen_last = seen->position.sequence;
}

static void world_init(struct world *world, uint16_t journals, uint64_t segment_bytes)
{
    memset(world, 0, sizeof *world);
    test_directory(world->directory, sizeof world->directory, true);
    world->config = (struct catalog_config){.directory = world->directory,
                                            .journals = journals,
                                            .segment_bytes = segment_bytes,
                                            .dedupe_window_ns = 24LL * 3600 * 1000000000};
}

static enum bk_err world_open_catalog(struct world *world)
{
    world->seen_count = world->seen_first = world->seen_last = world->seen_bad = 0;
    return catalog_open(&world->config, fake_wall_ns, world_seen, world, &world->report,
                        &world->catalog);
}

static enum bk_err world_open(struct world *world)
{
    enum bk_err err = world_open_catalog(world);
    if (err != BK_OK) {
        return err;
    }
    fake_init(&world->control);
    catalog_start(world->catalog, &world->control);
    for (unsigned i = 0; i < world->config.journals; i++) {
        fake_init(&world->rings[i]);
        world->contexts[i] = (struct context){world, i};
        struct journal_config config = {.id = (uint16_t)i,
                                        .ring = &world->rings[i],
                                        .catalog = world->catalog,
                                        .durable = true,
                                        .commit = world_commit,
                                        .context = &world->contexts[i]};
        err = journal_open(&config, &world->journals[i]);
        bk_assert(err == BK_OK);
        world->durable[i] = journal_durable_through(world->journals[i]);
        world->failed[i] = 0;
        world->failures[i] = 0;
    }
    return BK_OK;
}

/* Everything that can happen, until nothing does. */
UNUSED static void world_run(struct world *world)
{
    bool more = true;
    for (unsigned i = 0; more && i < 1000000; i++) {
        more = false;
        for (unsigned j = 0; j < world->config.journals; j++) {
            if (world->journals[j]) {
                journal_turn(world->journals[j]);
                more |= fake_turn(&world->rings[j]);
            }
        }
        more |= fake_turn(&world->control);
        more |= catalog_step(world->catalog, fake_wall_ns);
        uint64_t next_ns = catalog_next_ns(world->catalog);
        bool soon = next_ns < fake_now_ns + 50000000ULL;
        if (!more && soon) { /* paced work: time passes */
            fake_now_ns = next_ns > fake_now_ns ? next_ns : fake_now_ns;
            more = true;
        }
    }
    bk_assert(!more);
}

UNUSED static enum bk_err world_append(struct world *world, unsigned journal, uint64_t sequence,
                                       size_t bytes)
{
    static uint8_t message[JOURNAL_SMALL_BYTES_MAX + 1];
    struct journal_entry entry = {.type = JOURNAL_ACCEPTED,
                                  .source = 7,
                                  .received_ns = fake_wall_ns,
                                  .peer = {.family = 4, .port = 1234, .at = {127, 0, 0, 1}},
                                  .head_bytes = (uint32_t)(bytes / 3),
                                  .body_bytes = (uint32_t)(bytes - bytes / 3)};
    record_fingerprint(journal, sequence, entry.fingerprint);
    record_message(journal, sequence, bytes, message);
    uint64_t got = 0;
    enum bk_err err = journal_append(world->journals[journal], &entry, message, NULL, 0, &got);
    bk_assert(err != BK_OK || got == sequence);
    return err;
}

/* Sizes vary with the number, too. */
UNUSED static size_t record_size(uint64_t sequence)
{
    return 200 + (size_t)(sequence * 7919 % 1700);
}

/* Append records first … last, running whenever the journal is busy. */
UNUSED static void world_fill(struct world *world, unsigned journal, uint64_t first, uint64_t last,
                              unsigned per_commit)
{
    unsigned waiting = 0;
    for (uint64_t sequence = first; sequence <= last; sequence++) {
        enum bk_err err = world_append(world, journal, sequence, record_size(sequence));
        for (unsigned tries = 0; err == BK_BUSY && tries < 1000; tries++) {
            world_run(world);
            err = world_append(world, journal, sequence, record_size(sequence));
        }
        bk_assert(err == BK_OK);
        fake_wall_ns += 1000000;
        if (++waiting == per_commit) {
            world_run(world);
            waiting = 0;
        }
    }
    world_run(world);
}

/* As a crash: what is in flight is lost. The journals stay allocated, for writes may point into
 * them. */
UNUSED static void world_crash(struct world *world)
{
    static __attribute__((used)) void *kept[4096];
    static unsigned kept_count;
    for (unsigned i = 0; i < world->config.journals; i++) {
        free(world->rings[i].buffers);
        kept[kept_count++ % 4096] = world->journals[i];
    }
    catalog_close(world->catalog);
    world->catalog = NULL;
    memset(world->journals, 0, sizeof world->journals);
}

UNUSED static void world_stop(struct world *world)
{
    for (unsigned i = 0; i < world->config.journals; i++) {
        journal_stop(world->journals[i]);
    }
    world_run(world);
    for (unsigned i = 0; i < world->config.journals; i++) {
        ok(journal_idle(world->journals[i]), "journal %u is idle after it was stopped", i);
        journal_close(world->journals[i]);
        free(world->rings[i].buffers);
        world->journals[i] = NULL;
    }
    world_run(world);
    catalog_close(world->catalog);
    world->catalog = NULL;
}

UNUSED static void world_path(const struct world *world, char ret_path[512], const char *name)
{
    snprintf(ret_path, 512, "%s/%s", world->directory, name);
}

UNUSED static bool world_has(const struct world *world, const char *name)
{
    char path[512];
    world_path(world, path, name);
    return access(path, F_OK) == 0;
}

/* What a reader finds in one journal, from the first record to the last. */
struct found {
    uint64_t count;
    uint64_t last;
    uint64_t wrong;   /* content is not what was appended */
    uint64_t gaps;    /* sequences left out */
    uint64_t corrupt; /* reported damage */
};

UNUSED static bool record_right(const struct journal_record *record)
{
    static uint8_t want[1 << 21];
    size_t bytes = (size_t)record->entry.head_bytes + record->entry.body_bytes;
    uint64_t fingerprint[2];
    record_message(record->position.journal, record->position.sequence, bytes, want);
    record_fingerprint(record->position.journal, record->position.sequence, fingerprint);
    return memcmp(record->message, want, bytes) == 0 &&
           record->entry.fingerprint[0] == fingerprint[0] &&
           record->entry.fingerprint[1] == fingerprint[1];
}

/* present: if given, a byte per sequence is set. */
UNUSED static struct found world_read(struct world *world, uint16_t journal, uint8_t *present)
{
    struct found found = {0};
    struct reader *reader = NULL;
    struct reader_walk walk;
    struct journal_record record;
    enum bk_err err = reader_open(world->catalog, &reader);
    bk_assert(err == BK_OK);
    reader_walk_begin(&walk, journal, false, 1);
    do {
        size_t budget = 1 << 20;
        err = reader_next(reader, &walk, &budget, &record);
        if (err == BK_OK) {
            found.gaps += found.last != 0 ? record.position.sequence - found.last - 1 : 0;
            found.count++;
            found.last = record.position.sequence;
            found.wrong += !record_right(&record);
            if (present) {
                present[record.position.sequence] = 1;
            }
        }
        found.corrupt += err == BK_CORRUPT;
    } while (err == BK_OK || err == BK_AGAIN || err == BK_CORRUPT);
    bk_assert(err == BK_NOT_FOUND);
    reader_close(reader);
    return found;
}

static void remove_entry(const char *name, void *context)
{
    char path[512];
    world_path(context, path, name);
    (void)unlink(path);
}

static void world_fini(struct world *world)
{
    (void)(directory_list(world->directory, remove_entry, world) == BK_OK);
    (void)rmdir(world->directory);
}

#endif
