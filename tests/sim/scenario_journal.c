/* The journal through crashes. One run is a row of lives on one disk: recover, compare with the
 * model, append under faults, end cleanly or by a power cut. After each crash:
 *   - a record whose commit was reported is there, once, with the same bytes;
 *   - one that was not, or was reported failed, is absent or there once, and stays what it is;
 *   - records are in the order of their numbers, and none is torn or unknown.
 * Also: every record is decided (durable or failed) by the time the journal is idle; after faults
 * end, it accepts again; recovery never calls what a crash left behind damage. */
#include "scenario.h"
#include "sim_internal.h"

#include "journal/catalog.h"
#include "journal/check.h"
#include "journal/journal.h"
#include "journal/reader.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define JOURNALS_MAX 3U
#define SECOND       1000000000ULL
#define DIRECTORY    "data/journal"

/* ---- the model */

enum fate { FATE_OPEN, FATE_ACKED, FATE_FAILED };

struct expected {
    uint64_t sequence;
    uint64_t content; /* seed of the message's bytes */
    struct journal_entry entry;
    enum fate fate;
    uint8_t *buffer; /* lent to the journal */
};

struct model {
    struct expected *records;
    size_t count;
    size_t size;
    size_t decided; /* those before are decided */
    size_t found;   /* while verifying */
    bool first_found;
    size_t seen; /* while recovering: index of the next record that must be reported */
};

static struct model models[JOURNALS_MAX];

struct plan {
    struct catalog_config catalog;
    unsigned journals;
    unsigned records; /* each journal appends so many in a life */
    uint32_t message_max;
    uint32_t large;        /* permille of records that go through journal_append_large */
    uint64_t pause_us;     /* between bursts, at most */
    bool clean;            /* ends with journal_stop, else by a power cut */
    bool reads;            /* the store thread reads meanwhile */
    uint64_t cut_after_ns; /* if not clean and no cut was planned by count: at the latest then */
    bool retention;
    bool must_accept; /* no faults: every append must succeed in the end */
};

static struct plan plan;

/* This runs through most bytes of a run. */
static uint64_t content_next(uint64_t *state)
{
    *state += 0xbf58476d1ce4e5b9ULL;
    return *state ^ *state >> 31;
}

static uint64_t content_state(uint64_t seed)
{
    return seed * 0x9e3779b97f4a7c15ULL + 1;
}

static void content_fill(uint64_t seed, uint8_t *at, size_t bytes)
{
    uint64_t state = content_state(seed), word;
    for (; bytes >= sizeof word; at += sizeof word, bytes -= sizeof word) {
        word = content_next(&state);
        memcpy(at, &word, sizeof word);
    }
    memcpy(at, &state, bytes);
}

static bool content_is(uint64_t seed, const uint8_t *at, size_t bytes)
{
    uint64_t state = content_state(seed), word, differs = 0;
    for (; bytes >= sizeof word; at += sizeof word, bytes -= sizeof word) {
        memcpy(&word, at, sizeof word);
        differs |= word ^ content_next(&state);
    }
    return differs == 0 && memcmp(at, &state, bytes) == 0;
}

static size_t message_bytes(const struct journal_entry *entry)
{
    return (size_t)entry->head_bytes + entry->body_bytes;
}

static struct expected *model_add(struct model *model)
{
    if (model->count == model->size) {
        model->size = model->size ? model->size * 2 : 256;
        model->records = realloc(model->records, model->size * sizeof *model->records);
        bk_assert(model->records);
    }
    struct expected *record = &model->records[model->count++];
    memset(record, 0, sizeof *record);
    return record;
}

/* ---- appending: one thread for each journal */

struct writer {
    uint16_t id;
    struct catalog *catalog;
    struct ring *control;
    struct ring *ring;
    struct journal *journal;
    struct sim_thread *thread;
    struct ring_mail done_mail;
    unsigned appended;
    uint64_t acked_through;
    unsigned refused;
    bool done;
};

static struct writer writers[JOURNALS_MAX];
static unsigned writers_done;

static void writer_done_run(struct ring_mail *mail)
{
    (void)mail;
    writers_done++;
}

static void decide(struct expected *record, enum fate fate)
{
    sim_check(record->fate == FATE_OPEN, "record %" PRIu64 " decided twice", record->sequence);
    record->fate = fate;
    free(record->buffer);
    record->buffer = NULL;
}

static void committed(void *context, uint64_t durable_through, uint64_t failed_through,
                      enum bk_err err)
{
    struct writer *writer = context;
    struct model *model = &models[writer->id];
    sim_check(durable_through >= writer->acked_through, "durable_through went back");
    sim_check(err == BK_OK || failed_through >= durable_through,
              "failed_through is before durable_through");
    sim_check(durable_through <= journal_durable_through(writer->journal),
              "durable_through runs ahead");
    writer->acked_through = durable_through;
    while (model->decided < model->count &&
           model->records[model->decided].sequence <= durable_through) {
        decide(&model->records[model->decided++], FATE_ACKED);
    }
    while (err != BK_OK && model->decided < model->count &&
           model->records[model->decided].sequence <= failed_through) {
        decide(&model->records[model->decided++], FATE_FAILED);
    }
    sim_log("journal %u: durable %" PRIu64 " failed %" PRIu64 " %s", writer->id, durable_through,
            failed_through, bk_err_name(err));
}

static uint32_t message_size(void)
{
    switch (sim_below(8)) {
    case 0:
        return (uint32_t)sim_between(1, 16);
    case 1:
        return (uint32_t)sim_between(1, plan.message_max);
    case 2:
        return (uint32_t)sim_between(3800, 4200);
    default:
        return (uint32_t)sim_between(100, 2000);
    }
}

static void entry_draw(struct writer *writer, struct journal_entry *entry, uint32_t bytes)
{
    static const enum journal_record_type types[] = {
        JOURNAL_ACCEPTED, JOURNAL_ACCEPTED, JOURNAL_ACCEPTED, JOURNAL_REJECTED, JOURNAL_DUPLICATE};
    entry->type = types[sim_below(5)];
    entry->source = sim_between(1, 9);
    entry->received_ns = ring_wall_ns(writer->ring);
    entry->reason = entry->type == JOURNAL_REJECTED ? (uint16_t)sim_between(1, 5) : 0;
    entry->flags = sim_below(4) ? 0 : JOURNAL_BODY_DECODED;
    entry->fingerprint[0] = sim_below(4) ? sim_random() | 1 : 0;
    entry->fingerprint[1] = entry->fingerprint[0] ? sim_random() : 0;
    entry->head_bytes = (uint32_t)sim_between(1, bytes < 16384 ? bytes : 16384);
    entry->body_bytes = bytes - entry->head_bytes;
    entry->peer =
        (struct ring_address){.family = 4, .port = (uint16_t)sim_random(), .at = {127, 0, 0, 1}};
    entry->id_bytes = (uint16_t)sim_below(entry->head_bytes < 20 ? entry->head_bytes + 1 : 20);
    entry->id_at = (uint32_t)sim_below(bytes - entry->id_bytes + 1);
    if (entry->type == JOURNAL_DUPLICATE) {
        entry->original = sim_random() & 0xffffff;
        entry->original_ns = entry->received_ns;
    }
}

static enum bk_err append_small(struct writer *writer, const struct journal_entry *entry,
                                uint64_t content, uint64_t *ret_sequence)
{
    size_t bytes = message_bytes(entry);
    uint8_t *message = malloc(bytes);
    bk_assert(message);
    content_fill(content, message, bytes);
    enum bk_err err = journal_append(writer->journal, entry, message, NULL, 0, ret_sequence);
    free(message); /* it was copied */
    return err;
}

static enum bk_err append_large(struct writer *writer, const struct journal_entry *entry,
                                uint64_t content, uint64_t *ret_sequence, uint8_t **ret_buffer)
{
    size_t bytes = (JOURNAL_LARGE_MESSAGE_AT + message_bytes(entry) + 4095) / 4096 * 4096;
    uint8_t *buffer = aligned_alloc(4096, bytes);
    bk_assert(buffer);
    size_t end = JOURNAL_LARGE_MESSAGE_AT + message_bytes(entry);
    memset(buffer, 0xdb, JOURNAL_LARGE_MESSAGE_AT);
    content_fill(content, buffer + JOURNAL_LARGE_MESSAGE_AT, message_bytes(entry));
    memset(buffer + end, 0xdb, bytes - end);
    enum bk_err err = journal_append_large(writer->journal, entry, buffer, bytes, ret_sequence);
    if (err == BK_OK) {
        *ret_buffer = buffer;
    } else {
        free(buffer);
    }
    return err;
}

/* True when the journal took it. */
static bool append_one(struct writer *writer)
{
    struct model *model = &models[writer->id];
    struct journal_entry entry = {.type = JOURNAL_ACCEPTED};
    bool large = sim_chance(plan.large);
    uint32_t bytes = large ? (uint32_t)sim_between(1, 400000) : message_size();
    uint64_t content = sim_random();
    uint64_t sequence = 0;
    uint8_t *buffer = NULL;
    entry_draw(writer, &entry, bytes);
    enum bk_err err = large ? append_large(writer, &entry, content, &sequence, &buffer)
                            : append_small(writer, &entry, content, &sequence);
    if (err != BK_OK) {
        sim_check(err == BK_BUSY || err == BK_NO_SPACE || err == BK_IO, "append says %s",
                  bk_err_name(err));
        sim_check(!plan.must_accept || err == BK_BUSY, "append says %s without a fault",
                  bk_err_name(err));
        writer->refused++;
        return false;
    }
    sim_check(sequence > (model->count ? model->records[model->count - 1].sequence : 0),
              "sequence %" PRIu64 " was used before", sequence);
    *model_add(model) = (struct expected){
        .sequence = sequence, .content = content, .entry = entry, .buffer = buffer};
    writer->appended++;
    return true;
}

static void writer_turn(struct writer *writer, uint64_t deadline_ns)
{
    journal_turn(writer->journal);
    ring_turn(writer->ring, deadline_ns);
}

static bool power_is_cut(void)
{
    return sim_disk_dead();
}

static void writer_append(struct writer *writer)
{
    uint64_t started_ns = ring_now_ns(writer->ring);
    while (writer->appended < plan.records && !power_is_cut()) {
        uint64_t burst = sim_below(4) ? sim_between(1, 3) : sim_between(1, 40);
        bool taken = true;
        while (burst-- > 0 && taken && writer->appended < plan.records) {
            taken = append_one(writer);
        }
        writer_turn(writer, ring_now_ns(writer->ring) +
                                (taken ? sim_below(plan.pause_us * US + 1) : SECOND / 4));
        if (ring_now_ns(writer->ring) > started_ns + 100 * SECOND) {
            sim_check(!plan.must_accept, "journal %u is not done after minutes", writer->id);
            break; /* the disk is full or broken */
        }
    }
}

static void writer_main(void *context)
{
    struct writer *writer = context;
    const char *why = "";
    struct ring_config config = {.entries = 64, .handles_max = 16, .cpu = -1};
    bk_assert(ring_open(&config, &writer->ring, &why) == BK_OK);
    struct journal_config journal = {.id = writer->id,
                                     .ring = writer->ring,
                                     .catalog = writer->catalog,
                                     .durable = true,
                                     .commit = committed,
                                     .context = writer};
    enum bk_err err = journal_open(&journal, &writer->journal);
    sim_check(err == BK_OK, "journal_open: %s", bk_err_name(err));
    writer_append(writer);
    journal_stop(writer->journal);
    uint64_t started_ns = ring_now_ns(writer->ring);
    while (!journal_idle(writer->journal)) {
        writer_turn(writer, ring_now_ns(writer->ring) + SECOND);
        sim_check(ring_now_ns(writer->ring) < started_ns + 600 * SECOND, "journal %u is never idle",
                  writer->id);
    }
    sim_check(models[writer->id].decided == models[writer->id].count,
              "journal %u: idle with undecided records", writer->id);
    journal_close(writer->journal);
    writer->done_mail.run = writer_done_run;
    ring_post(writer->ring, writer->control, &writer->done_mail);
    ring_turn(writer->ring, 0);
    ring_close(writer->ring);
}

/* ---- comparing with what is on the disk */

static void record_compare(const struct journal_record *record, const struct expected *wanted)
{
    const struct journal_entry *a = &record->entry, *b = &wanted->entry;
    uint16_t id = record->position.journal;
    sim_check(a->head_bytes == b->head_bytes && a->body_bytes == b->body_bytes,
              "journal %u record %" PRIu64 ": length", id, wanted->sequence);
    sim_check(content_is(wanted->content, record->message, message_bytes(b)),
              "journal %u record %" PRIu64 ": other bytes", id, wanted->sequence);
    sim_check(a->type == b->type && a->flags == b->flags && a->reason == b->reason &&
                  a->source == b->source && a->received_ns == b->received_ns &&
                  a->fingerprint[0] == b->fingerprint[0] &&
                  a->fingerprint[1] == b->fingerprint[1] && a->id_at == b->id_at &&
                  a->id_bytes == b->id_bytes && a->original == b->original &&
                  a->peer.port == b->peer.port,
              "journal %u record %" PRIu64 ": other fields", id, wanted->sequence);
}

/* Records that are skipped over must not have been acknowledged; with retention, the oldest may be
 * gone. */
static void skip_missing(struct model *model, uint16_t id, size_t to)
{
    for (; model->found < to; model->found++) {
        const struct expected *missing = &model->records[model->found];
        bool retired = plan.retention && !model->first_found;
        sim_check(missing->fate != FATE_ACKED || retired,
                  "journal %u: acknowledged record %" PRIu64 " is lost", id, missing->sequence);
    }
}

/* Records come in order. */
static void record_found(const struct journal_record *record)
{
    uint16_t id = record->position.journal;
    sim_check(id < JOURNALS_MAX, "journal %u was never written", id);
    struct model *model = &models[id];
    size_t at = model->found;
    while (at < model->count && model->records[at].sequence < record->position.sequence) {
        at++;
    }
    sim_check(at < model->count && model->records[at].sequence == record->position.sequence,
              "journal %u: record %" PRIu64 " was never appended, or comes twice or out of order",
              id, record->position.sequence);
    skip_missing(model, id, at);
    record_compare(record, &model->records[at]);
    model->records[at].fate = FATE_ACKED; /* there now, there for ever */
    model->found = at + 1;
    model->first_found = true;
}

static void verify_begin(void)
{
    for (unsigned i = 0; i < JOURNALS_MAX; i++) {
        models[i].found = 0;
        models[i].first_found = false;
    }
}

/* Forget what did not survive. */
static void verify_end(void)
{
    for (uint16_t i = 0; i < JOURNALS_MAX; i++) {
        struct model *model = &models[i];
        skip_missing(model, i, model->count);
        size_t kept = 0;
        for (size_t at = 0; at < model->count; at++) {
            if (model->records[at].fate == FATE_ACKED) {
                model->records[kept++] = model->records[at];
            }
        }
        model->count = model->decided = kept;
    }
}

static void verify_journal(struct reader *reader, uint16_t id)
{
    struct reader_walk walk;
    reader_walk_begin(&walk, id, false, 1);
    for (;;) {
        struct journal_record record;
        size_t budget = (size_t)sim_between(1, 1 << 20);
        enum bk_err err = reader_next(reader, &walk, &budget, &record);
        if (err == BK_NOT_FOUND) {
            return;
        }
        sim_check(err == BK_OK || err == BK_AGAIN, "journal %u: reading: %s %s", id,
                  bk_err_name(err), reader_problem(reader));
        if (err == BK_OK) {
            record_found(&record);
        }
    }
}

static void verify(struct catalog *catalog)
{
    struct reader *reader = NULL;
    bk_assert(reader_open(catalog, &reader) == BK_OK);
    verify_begin();
    for (uint16_t i = 0; i < plan.journals; i++) {
        verify_journal(reader, i);
    }
    verify_end();
    reader_close(reader);
}

/* ---- recovery */

static void seen_report(const struct journal_seen *seen, void *context)
{
    (void)context;
    sim_check(seen->position.journal < JOURNALS_MAX, "recovery reports journal %u",
              seen->position.journal);
    struct model *model = &models[seen->position.journal];
    size_t at = model->seen;
    while (at < model->count && model->records[at].sequence < seen->position.sequence) {
        at++;
    }
    sim_check(at < model->count && model->records[at].sequence == seen->position.sequence,
              "recovery reports record %" PRIu64 ", which was never appended",
              seen->position.sequence);
    const struct journal_entry *entry = &model->records[at].entry;
    sim_check(entry->type == JOURNAL_ACCEPTED && entry->fingerprint[0] == seen->fingerprint[0] &&
                  entry->fingerprint[1] == seen->fingerprint[1] &&
                  entry->received_ns == seen->received_ns,
              "recovery reports record %" PRIu64 " wrongly", seen->position.sequence);
    for (; model->seen < at; model->seen++) {
        const struct expected *passed = &model->records[model->seen];
        sim_check(plan.retention || passed->fate != FATE_ACKED ||
                      passed->entry.type != JOURNAL_ACCEPTED ||
                      !(passed->entry.fingerprint[0] | passed->entry.fingerprint[1]),
                  "recovery forgot the fingerprint of record %" PRIu64, passed->sequence);
    }
    model->seen = at + 1;
}

static void seen_end(void)
{
    for (unsigned i = 0; i < JOURNALS_MAX; i++) {
        for (; models[i].seen < models[i].count; models[i].seen++) {
            const struct expected *passed = &models[i].records[models[i].seen];
            sim_check(plan.retention || passed->fate != FATE_ACKED ||
                          passed->entry.type != JOURNAL_ACCEPTED ||
                          !(passed->entry.fingerprint[0] | passed->entry.fingerprint[1]),
                      "recovery forgot the fingerprint of record %" PRIu64, passed->sequence);
        }
    }
}

static struct catalog *recover(void)
{
    struct catalog *catalog = NULL;
    struct journal_report report;
    enum bk_err err;
    do {
        for (unsigned i = 0; i < JOURNALS_MAX; i++) {
            models[i].seen = 0;
        }
        err = catalog_open(&plan.catalog, sim_wall_ns(), seen_report, NULL, &report, &catalog);
        bool full = err == BK_NO_SPACE && sim_config()->disk_bytes;
        sim_config()->disk_bytes += full ? 1 << 20 : 0; /* the administrator makes room */
    } while (err == BK_NO_SPACE && sim_config()->disk_bytes);
    sim_check(err == BK_OK, "recovery: %s %s", bk_err_name(err), report.problem);
    seen_end();
    sim_log("recovered: %u segments, %" PRIu64 " records, %" PRIu64 " torn frames, %s",
            report.segments, report.records, report.torn_frames,
            report.clean ? "clean" : "not clean");
    return catalog;
}

static void problem_found(const struct check_problem *problem, void *context)
{
    (void)context;
    sim_fail("journal check: %s at %" PRIu64 ": %s %s", problem->path, problem->offset,
             bk_err_name(problem->err), problem->what);
}

static void check_all(void)
{
    struct check_totals totals;
    enum bk_err err = journal_check(DIRECTORY, problem_found, NULL, NULL, &totals);
    sim_check(err == BK_OK || err == BK_NOT_FOUND, "journal check: %s", bk_err_name(err));
}

/* ---- the store thread */

struct store {
    struct catalog *catalog;
    struct ring *ring;
    struct reader *reader;
    struct reader_walk walk;
};

/* Read some records while they are written: only durable ones, and those right. */
static void store_reads(struct store *store)
{
    uint16_t id = (uint16_t)sim_below(plan.journals);
    struct model *model = &models[id];
    if (!model->count || power_is_cut()) {
        return;
    }
    size_t at = (size_t)sim_below(model->count);
    struct expected wanted = model->records[at];
    struct journal_record record;
    struct journal_position position = {.journal = id, .sequence = wanted.sequence};
    enum bk_err err = reader_get(store->reader, position, &record);
    if (err == BK_OK) {
        record_compare(&record, &wanted);
        sim_check(models[id].records[at].fate != FATE_FAILED,
                  "journal %u: failed record %" PRIu64 " can be read", id, wanted.sequence);
    } else if (err == BK_NOT_FOUND) {
        sim_check(wanted.fate != FATE_ACKED || plan.retention,
                  "journal %u: durable record %" PRIu64 " is not found", id, wanted.sequence);
    } else {
        sim_check(power_is_cut() || sim_config()->read_fail,
                  "journal %u: reading %" PRIu64 ": %s %s", id, wanted.sequence, bk_err_name(err),
                  reader_problem(store->reader));
    }
}

static void store_run(struct store *store, uint64_t cut_ns)
{
    bool more = true;
    while (writers_done < plan.journals) {
        ring_turn(store->ring,
                  more ? 0 : ring_now_ns(store->ring) + sim_between(1, 1000) * 1000 * US);
        if (!plan.clean && ring_now_ns(store->ring) >= cut_ns) {
            sim_disk_cut();
        }
        more = catalog_step(store->catalog, ring_wall_ns(store->ring));
        if (plan.reads && sim_below(8) == 0) {
            store_reads(store);
        }
    }
    ring_turn(store->ring, 0);
    for (unsigned i = 0; i < 50 && catalog_step(store->catalog, ring_wall_ns(store->ring)); i++) {
        ring_turn(store->ring, 0);
    }
}

/* Recover, compare, write, end. Faults are set between recovering and writing by `inject`. */
static void life(void (*inject)(void))
{
    struct store store = {.catalog = recover()};
    const char *why = "";
    struct ring_config config = {.entries = 32, .handles_max = 16, .cpu = -1};
    verify(store.catalog);
    bk_assert(ring_open(&config, &store.ring, &why) == BK_OK);
    bk_assert(reader_open(store.catalog, &store.reader) == BK_OK);
    catalog_start(store.catalog, store.ring);
    inject();
    writers_done = 0;
    memset(writers, 0, sizeof writers);
    for (unsigned i = 0; i < plan.journals; i++) {
        writers[i] =
            (struct writer){.id = (uint16_t)i, .catalog = store.catalog, .control = store.ring};
        writers[i].acked_through = 0;
        writers[i].thread = sim_spawn("writer", writer_main, &writers[i]);
    }
    store_run(&store, ring_now_ns(store.ring) + plan.cut_after_ns);
    for (unsigned i = 0; i < plan.journals; i++) {
        sim_join(writers[i].thread);
        sim_log("journal %u: %u appended, %u refused", i, writers[i].appended, writers[i].refused);
    }
    reader_close(store.reader);
    catalog_close(store.catalog);
    ring_close(store.ring);
}

static void calm(void)
{
    struct sim_config *config = sim_config();
    config->write_fail = config->write_short = config->file_fail = config->read_fail =
        config->disk_slow = 0;
    sim_disk_fail_at(0, BK_OK);
    sim_disk_cut_at(0);
}

static void models_free(void)
{
    for (unsigned i = 0; i < JOURNALS_MAX; i++) {
        for (size_t at = 0; at < models[i].count; at++) {
            free(models[i].records[at].buffer);
        }
        free(models[i].records);
        memset(&models[i], 0, sizeof models[i]);
    }
}

static void end_of_life(bool clean)
{
    calm();
    if (clean && sim_below(2)) {
        sim_disk_restart(); /* the machine goes on, only the process ended */
    } else if (sim_below(4) == 0) {
        sim_disk_restart(); /* kill -9: what completed stays */
    } else {
        sim_disk_crash();
    }
    check_all();
}

static void last_look(void)
{
    struct catalog *catalog = recover();
    verify(catalog);
    catalog_close(catalog);
    models_free();
}

static void prepare(void)
{
    bk_assert(directory_make("data") == BK_OK && directory_sync("") == BK_OK);
    memset(&plan, 0, sizeof plan);
    plan.journals = (unsigned)sim_between(1, JOURNALS_MAX);
    plan.catalog = (struct catalog_config){
        .directory = DIRECTORY,
        .journals = (uint16_t)plan.journals,
        .segment_bytes = sim_between(1, 2) << 20,
        .dedupe_window_ns = (int64_t)(1000 * 3600 * SECOND),
    };
}

/* ---- scenario: lives with random faults */

static void inject_random(void)
{
    struct sim_config *config = sim_config();
    switch (sim_below(6)) {
    case 0:
        config->write_fail = (uint32_t)sim_between(1, 200);
        break;
    case 1:
        config->write_short = (uint32_t)sim_between(1, 200);
        break;
    case 2:
        config->file_fail = (uint32_t)sim_between(1, 300);
        break;
    case 3:
        sim_disk_fail_at(sim_between(1, 60), sim_below(2) ? BK_IO : BK_NO_SPACE);
        break;
    case 4:
        config->write_fail = config->write_short = (uint32_t)sim_between(1, 30);
        config->file_fail = config->read_fail = config->disk_slow = (uint32_t)sim_between(1, 30);
        break;
    default:
        plan.must_accept = config->disk_bytes == 0;
        break;
    }
    config->metadata_unordered &= config->file_fail == 0; /* see inject_storm */
    if (!plan.clean && sim_below(2)) {
        sim_disk_cut_at(sim_between(1, 150));
    }
}

static void life_draw(void)
{
    plan.records = (unsigned)sim_below(sim_below(4) ? 60 : 400);
    plan.message_max = sim_below(3) ? 8000 : JOURNAL_SMALL_BYTES_MAX - 4096;
    plan.large = sim_below(3) ? 0 : 100;
    plan.pause_us = sim_below(3) ? sim_between(1, 3000) : 1;
    plan.clean = sim_below(3) == 0;
    plan.reads = sim_below(2) == 0;
    plan.cut_after_ns = sim_below(2) ? sim_between(1, 300) * 1000 * US : 400 * SECOND;
    plan.must_accept = false;
}

void journal_configure(struct sim_config *config)
{
    config->op_delay_us = (uint32_t)sim_below(200);
    config->mail_delay_us = (uint32_t)sim_below(2000);
    config->turn_batch = (uint32_t)sim_below(5);
    config->disk_us_min = 20;
    config->disk_us_max = 20U << sim_below(8);
    config->disk_zeroes = sim_below(2) == 0;
    config->metadata_unordered = sim_below(3) == 0;
    config->disk_bytes = sim_below(4) ? 0 : sim_between(3, 12) << 20;
}

void journal_run(void)
{
    prepare();
    plan.retention = sim_below(4) == 0;
    plan.catalog.retain_bytes = plan.retention ? sim_between(1, 6) << 20 : 0;
    unsigned lives = (unsigned)sim_between(2, 6);
    for (unsigned i = 0; i < lives; i++) {
        life_draw();
        sim_log("life %u: %u records, %s", i, plan.records, plan.clean ? "clean" : "power cut");
        life(inject_random);
        end_of_life(plan.clean);
        if (sim_below(8) == 0) {
            sim_wall_jump(-(int64_t)(3600 * SECOND));
        }
    }
    /* The last life must be able to write whatever came before, if there is room. */
    life_draw();
    plan.clean = true;
    plan.records = 20;
    sim_config()->disk_bytes = 0;
    plan.must_accept = true;
    life(calm);
    for (unsigned i = 0; i < plan.journals; i++) {
        sim_check(writers[i].appended == 20, "a healthy journal took %u of 20 records",
                  writers[i].appended);
    }
    end_of_life(true);
    last_look();
}

/* ---- scenario: a disk on which making and removing segments fails all the time, with retention at
 * work */

static void inject_storm(void)
{
    /* Two spares whose directory sync and removal both fail, the first name lost, the second kept:
     * then an unused file stands behind a hole, which must be called damage, as it looks like a
     * lost segment. */
    sim_config()->metadata_unordered = false;
    sim_config()->file_fail = (uint32_t)sim_between(100, 500);
    sim_config()->write_fail = sim_below(2) ? 0 : (uint32_t)sim_between(1, 100);
}

void journal_storm_run(void)
{
    prepare();
    plan.journals = 1;
    plan.catalog.journals = 1;
    plan.catalog.segment_bytes = 1 << 20;
    plan.retention = true;
    unsigned lives = (unsigned)sim_between(3, 8);
    for (unsigned i = 0; i < lives; i++) {
        life_draw();
        plan.records = (unsigned)sim_between(20, 200);
        plan.message_max = 60000;
        plan.large = 150;
        plan.catalog.retain_bytes = sim_between(1, 3) << 20;
        life(inject_storm);
        end_of_life(plan.clean);
    }
    last_look();
}

/* ---- scenario: a small workload, once for each operation of the disk, with only that one failing
 * or the power cut in it */

enum sweep_kind { SWEEP_NONE, SWEEP_IO, SWEEP_NO_SPACE, SWEEP_CUT, SWEEP_KINDS };

static struct {
    enum sweep_kind kind;
    uint64_t at;
    uint64_t ops; /* of the last run */
} sweep;

static void inject_sweep(void)
{
    sweep.ops = sim_disk_ops();
    switch (sweep.kind) {
    case SWEEP_IO:
        sim_disk_fail_at(sweep.at, BK_IO);
        break;
    case SWEEP_NO_SPACE:
        sim_disk_fail_at(sweep.at, BK_NO_SPACE);
        break;
    case SWEEP_CUT:
        sim_disk_cut_at(sweep.at);
        break;
    case SWEEP_NONE:
    case SWEEP_KINDS:
        break;
    default:
        bk_never("unknown kind of sweep");
    }
}

static void sweep_once(void)
{
    plan.clean = sweep.kind != SWEEP_CUT;
    plan.cut_after_ns = 400 * SECOND;
    plan.must_accept = false;
    plan.records = 12;
    life(inject_sweep);
    sweep.ops = sim_disk_ops() - sweep.ops;
    calm();
    sim_disk_crash();
    check_all();
}

void journal_sweep_configure(struct sim_config *config)
{
    config->disk_us_min = 50;
    config->disk_us_max = 200;
    config->disk_zeroes = true;
    config->metadata_unordered = sim_below(2) == 0;
}

void journal_sweep_run(void)
{
    prepare();
    plan.journals = 1;
    plan.catalog.journals = 1;
    plan.catalog.segment_bytes = 1 << 20;
    plan.catalog.retain_bytes = 8 << 20;
    plan.retention = true; /* keeps the disk small over the many runs */
    plan.message_max = 60000;
    plan.pause_us = 300;
    sweep.kind = SWEEP_NONE;
    sweep_once();
    uint64_t ops = sweep.ops;
    sim_log("%" PRIu64 " operations to fail", ops);
    /* A few of them each seed, so that seeds together sweep all. */
    for (unsigned i = 0; i < 12; i++) {
        sweep.kind = (enum sweep_kind)sim_between(SWEEP_IO, SWEEP_CUT);
        sweep.at = sim_between(1, ops + 2);
        sweep_once();
    }
    last_look();
}
