/* Description: what a start finds after crashes, cut files, flipped bits, lost and stale files. */
#include "journal_world.h"

#include "base/log.h"
#include "journal/check.h"
#include "journal/index.h"

/* ---- files as blobs */

struct blob {
    char path[512];
    char *bytes;
    size_t size;
};

static void blob_load(struct blob *blob, const struct world *world, const char *name)
{
    world_path(world, blob->path, name);
    enum bk_err err = file_read_all(blob->path, 64 << 20, &blob->bytes, &blob->size);
    bk_assert(err == BK_OK);
}

static void blob_store(const struct blob *blob, const char *bytes, size_t size)
{
    FILE *file = fopen(blob->path, "w");
    bk_assert(file && fwrite(bytes, 1, size, file) == size);
    fclose(file);
}

static void set_byte(const struct blob *blob, size_t at, char byte)
{
    FILE *file = fopen(blob->path, "r+");
    bk_assert(file && fseek(file, (long)at, SEEK_SET) == 0 && fputc(byte, file) != EOF);
    fclose(file);
}

/* Offset behind the last frame, walking as simply as possible. */
static size_t used_end(const struct blob *blob, size_t *ret_last)
{
    size_t at = FORMAT_FRAME_AT;
    uint64_t commit = 0;
    for (;;) {
        const struct format_frame *frame =
            (const struct format_frame *)(const void *)(blob->bytes + at);
        if (at + 4096 > blob->size || frame->magic != FORMAT_FRAME_MAGIC ||
            (commit && frame->commit != commit + 1)) {
            return at;
        }
        commit = frame->commit;
        *ret_last = at;
        at += format_round_block(frame->bytes);
    }
}

/* Recover without writing; how many records are there? */
static enum bk_err look(struct world *world, struct found *ret)
{
    struct catalog_config config = world->config;
    config.read_only = true;
    world->seen_count = world->seen_bad = world->seen_last = world->seen_first = 0;
    enum bk_err err =
        catalog_open(&config, fake_wall_ns, world_seen, world, &world->report, &world->catalog);
    if (err == BK_OK) {
        *ret = world_read(world, 0, NULL);
        catalog_close(world->catalog);
    }
    return err;
}

/* ---- tests */

static void test_truncated(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 27, 3);
    for (uint64_t sequence = 28; sequence <= 30; sequence++) { /* three in the last frame */
        is_int(world_append(&world, 0, sequence, 40), BK_OK);
    }
    world_run(&world);
    world_crash(&world);
    struct blob blob;
    struct found found = {0};
    size_t last = 0;
    blob_load(&blob, &world, "j0-0000000001.log");
    size_t end = used_end(&blob, &last);
    unsigned bad = 0;
    unsigned whole = 0;
    /* Every byte of the last frame, which holds the last three records. */
    const struct format_frame *frame =
        (const struct format_frame *)(const void *)(blob.bytes + last);
    const size_t step = TAP_SANITIZED ? 3 : 1;
    for (size_t size = last + frame->bytes + 8; size >= last; size -= step) {
        if (truncate(blob.path, (off_t)size) != 0) {
            bad++;
        }
        enum bk_err err = look(&world, &found);
        bool right = err == BK_OK && found.wrong == 0 && found.gaps == 0 && found.corrupt == 0 &&
                     (found.count == 27 || found.count == 30) && world.seen_count == found.count &&
                     world.seen_bad == 0;
        bad += !right;
        whole += right && found.count == 30;
    }
    blob_store(&blob, blob.bytes, blob.size);
    is_uint(bad, 0, "cut at each of %u bytes: all but the last frame is there", frame->bytes);
    is_uint(whole, 0, "the last frame is there only with its last block");
    is_int(truncate(blob.path, (off_t)end), 0);
    is_int(look(&world, &found), BK_OK, "cut behind it: perhaps there was more");
    is_uint(found.count, 30);
    blob_store(&blob, blob.bytes, end + FORMAT_BLOCK_BYTES);
    is_int(look(&world, &found), BK_OK);
    is_uint(found.count, 30, "an empty block behind it: nothing is lost");
    is_int(truncate(blob.path, (off_t)last + 100), 0);
    is_int(world_open(&world), BK_OK, "a cut file is not written on");
    world_fill(&world, 0, 28, 40, 1);
    world_crash(&world);
    is_int(look(&world, &found), BK_OK);
    is_uint(found.count, 40);
    is_uint(found.wrong + found.gaps, 0);
    blob_store(&blob, blob.bytes, FORMAT_BLOCK_BYTES);
    is_int(look(&world, &found), BK_CORRUPT, "cut before an end that the next one states: %s",
           world.report.problem);
    blob_store(&blob, blob.bytes, 2000);
    is_int(look(&world, &found), BK_CORRUPT, "without its header a segment is damaged");
    free(blob.bytes);
    world_fini(&world);
}

/* Flip one bit at random places. closed: after a clean stop, so that even the last records are
 * known. */
static void flips(bool closed)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 60, 4);
    if (closed) {
        world_stop(&world);
    } else {
        world_crash(&world);
    }
    struct blob blob;
    size_t last = 0;
    blob_load(&blob, &world, "j0-0000000001.log");
    size_t end = used_end(&blob, &last);
    unsigned harmless = 0;
    uint64_t torn = 0;
    unsigned reported = 0;
    unsigned bad = 0;
    const unsigned count = TAP_SANITIZED ? 150 : 400;
    for (unsigned i = 0; i < count; i++) {
        struct found found = {0};
        size_t at = i % 4 == 0 ? last + next_random() % (end - last) : next_random() % end;
        char flip = (char)(1 << (next_random() % 8));
        set_byte(&blob, at, (char)(blob.bytes[at] ^ flip));
        enum bk_err err = look(&world, &found);
        bool in_last = at >= last;
        bool clean = found.wrong == 0 && found.gaps == 0 && found.corrupt == 0;
        if (err == BK_OK && clean && found.count == 60) {
            harmless++;
            torn += world.report.torn_frames;
        } else if (err == BK_OK && clean && found.count == 56 && in_last && !closed &&
                   (world.report.torn_frames > 0 || (at >= last + 8 && at < last + 16))) {
            /* With another uuid it looks like what a recycled file has behind its end. */
            torn++;
        } else if (err == BK_CORRUPT && !in_last && world.report.problem[0] != '\0') {
            reported++;
        } else {
            bad++;
            diag("offset %zu: %s, %u records, torn %u: %s", at, bk_err_name(err),
                 (unsigned)found.count, (unsigned)world.report.torn_frames, world.report.problem);
        }
        set_byte(&blob, at, blob.bytes[at]);
    }
    is_uint(bad, 0, "%u flipped bits%s: %u in padding, %u cut as torn, %u reported", count,
            closed ? " after a clean stop" : "", harmless, (unsigned)torn, reported);
    ok(harmless > 0 && torn > 0 && reported > 0, "each of the three happened");
    free(blob.bytes);
    world_fini(&world);
}

static void test_zeroed_tail(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 60, 1);
    world_crash(&world);
    struct blob blob;
    struct found found = {0};
    size_t last = 0;
    blob_load(&blob, &world, "j0-0000000001.log");
    size_t end = used_end(&blob, &last);
    char *copy = malloc(blob.size);
    unsigned bad = 0;
    for (unsigned i = 0; i < 60; i++) {
        size_t from = 8192 + next_random() % (end - 8192);
        memcpy(copy, blob.bytes, blob.size);
        memset(copy + from, 0, blob.size - from);
        blob_store(&blob, copy, blob.size);
        enum bk_err err = look(&world, &found);
        uint64_t least = (from - 8192) / 4096; /* each in a frame of 4 KiB */
        bad += err != BK_OK || found.wrong + found.gaps + found.corrupt != 0 || found.count < least;
    }
    is_uint(bad, 0, "a tail of zeros: all before it is there");
    blob_store(&blob, blob.bytes, blob.size);
    is_int(world_open(&world), BK_OK);
    world_fill(&world, 0, 61, 61, 1);
    world_stop(&world);
    free(copy);
    free(blob.bytes);
    world_fini(&world);
}

static void test_missing(void)
{
    struct world world;
    struct found found = {0};
    char path[512];
    char elsewhere[512];
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 2000, 1);
    world_crash(&world);
    uint64_t newest = 0;
    while (true) {
        char name[FORMAT_NAME_BYTES];
        format_name(name, 0, newest + 1, ".idx");
        if (!world_has(&world, name)) {
            break;
        }
        newest++;
    }
    newest++;
    char name[FORMAT_NAME_BYTES];
    format_name(name, 0, newest, ".log");
    world_path(&world, path, name);
    world_path(&world, elsewhere, "elsewhere");
    ok(rename(path, elsewhere) == 0, "take the newest segment away, number %u", (unsigned)newest);
    is_int(look(&world, &found), BK_CORRUPT, "it is missed");
    ok(strstr(world.report.problem, "missing") != NULL, "%s", world.report.problem);
    is_int(world_open(&world), BK_CORRUPT, "and the start refused");
    ok(rename(elsewhere, path) == 0);
    is_int(look(&world, &found), BK_OK, "with it again all is well");
    is_uint(found.count, 2000);

    world_path(&world, path, "j0-0000000002.log");
    ok(rename(path, elsewhere) == 0, "take one from the middle");
    is_int(look(&world, &found), BK_CORRUPT);
    ok(strstr(world.report.problem, "missing") != NULL, "%s", world.report.problem);
    world.config.accept_damage = true;
    is_int(look(&world, &found), BK_OK, "told to go on");
    ok(found.count < 2000 && found.count > 1000 && found.gaps + found.count == 2000);
    world.config.accept_damage = false;
    ok(rename(elsewhere, path) == 0);

    char first[512];
    world_path(&world, first, "j0-0000000001.log");
    struct blob blob;
    blob_load(&blob, &world, "j0-0000000001.log");
    memcpy(blob.path, path, sizeof path);
    char *second = NULL;
    size_t second_bytes = 0;
    is_int(file_read_all(path, 64 << 20, &second, &second_bytes), BK_OK);
    blob_store(&blob, blob.bytes, blob.size);
    is_int(look(&world, &found), BK_CORRUPT, "a copy of another segment in its place");
    blob_store(&blob, second, second_bytes);
    is_int(look(&world, &found), BK_OK);
    free(second);
    free(blob.bytes);
    world_fini(&world);
}

uint32_t crc32c(uint32_t seed, const void *at, size_t bytes);

/* A sidecar that was whole once: its checksums are right. `change` says what else is not. */
static void sidecar_store(const struct blob *blob,
                          void (*change)(struct index_header *header, struct segment_mark *marks))
{
    char *copy = malloc(blob->size);
    struct index_header *header = (struct index_header *)(void *)copy;
    struct segment_mark *marks = (struct segment_mark *)(void *)(header + 1);
    memcpy(copy, blob->bytes, blob->size);
    change(header, marks);
    header->marks_crc = crc32c(0, marks, header->mark_count * sizeof *marks);
    header->crc = crc32c(0, header, offsetof(struct index_header, crc));
    blob_store(blob, copy, blob->size);
    free(copy);
}

static void ends_sooner(struct index_header *header, struct segment_mark *marks)
{
    (void)marks;
    header->last_commit--; /* made before the segment had all of it */
}

static void marks_outside(struct index_header *header, struct segment_mark *marks)
{
    marks[header->mark_count - 1].offset = header->end;
}

static void in_no_state(struct index_header *header, struct segment_mark *marks)
{
    (void)marks;
    header->state = SEGMENT_LIVE;
}

static void test_sidecars(void)
{
    struct world world;
    struct found found = {0};
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 1000, 1);
    world_crash(&world);
    is_int(look(&world, &found), BK_OK);
    uint64_t scanned = world.report.scanned_bytes;
    struct blob blob;
    blob_load(&blob, &world, "j0-0000000002.idx");
    unsigned bad = 0;
    for (unsigned i = 0; i < 100; i += TAP_SANITIZED ? 3 : 1) {
        char kept = blob.bytes[i * blob.size / 100];
        blob.bytes[i * blob.size / 100] = (char)(kept ^ (1 << i % 8));
        blob_store(&blob, blob.bytes, i % 10 == 9 ? blob.size / 2 : blob.size);
        blob.bytes[i * blob.size / 100] = kept;
        bad += look(&world, &found) != BK_OK || found.count != 1000 || found.wrong != 0 ||
               world.seen_count != 1000 || world.seen_bad != 0;
    }
    is_uint(bad, 0, "a damaged sidecar is not believed");
    static void (*const changes[])(struct index_header *, struct segment_mark *) = {
        ends_sooner, marks_outside, in_no_state};
    for (unsigned i = 0; i < bk_array_length(changes); i++) {
        sidecar_store(&blob, changes[i]);
        is_int(look(&world, &found), BK_OK);
        ok(found.count == 1000 && found.wrong == 0 && world.seen_count == 1000 &&
               world.report.scanned_bytes > scanned + 1000000,
           "nor one with good checksums that cannot be right: %u", i);
    }
    blob_store(&blob, blob.bytes, blob.size / 2);
    is_int(look(&world, &found), BK_OK);
    ok(world.report.scanned_bytes > scanned + 1000000, "the segment is read instead");
    char path[512];
    world_path(&world, path, "j0-0000000002.idx");
    ok(unlink(path) == 0, "lost");
    is_int(world_open(&world), BK_OK);
    world_stop(&world);
    ok(world_has(&world, "j0-0000000002.idx"), "made again");
    is_int(look(&world, &found), BK_OK);
    ok(world.report.scanned_bytes < scanned + 100000, "and used");
    /* A version without a right checksum is damage; with one it is from the future. */
    blob.bytes[8] = FORMAT_VERSION;
    blob_store(&blob, blob.bytes, blob.size);
    is_int(look(&world, &found), BK_OK);
    free(blob.bytes);
    world_fini(&world);
}

/* A journal that had no core for a while was sealed; its sidecar must not outlive that. */
static void test_sidecar_of_the_newest(void)
{
    struct world world;
    world_init(&world, 2, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 1, 1, 10, 1);
    world_stop(&world);
    world.config.journals = 1;
    is_int(world_open(&world), BK_OK);
    world_stop(&world);
    struct blob blob;
    blob_load(&blob, &world, "j1-0000000001.idx");
    blob_store(&blob, blob.bytes, blob.size - 1);
    world.config.journals = 2;
    is_int(world_open(&world), BK_OK, "a sidecar that cannot be read");
    is_uint(world.durable[1], 10);
    ok(!world_has(&world, "j1-0000000001.idx"), "is gone before the segment is written on");
    world_fill(&world, 1, 11, 20, 1);
    world_crash(&world);
    is_int(world_open(&world), BK_OK);
    is_uint(world.durable[1], 20);
    world_stop(&world);
    free(blob.bytes);
    world_fini(&world);
}


static void test_newer_version(void)
{
    struct world world;
    struct found found = {0};
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 10, 1);
    world_stop(&world);
    struct blob blob;
    blob_load(&blob, &world, "j0-0000000001.log");
    struct format_segment *block = (struct format_segment *)(void *)blob.bytes;
    block->version = FORMAT_VERSION + 1;
    block->crc = crc32c(0, block, offsetof(struct format_segment, crc));
    blob_store(&blob, blob.bytes, blob.size);
    is_int(world_open(&world), BK_VERSION, "a newer format is refused");
    ok(strstr(world.report.problem, "newer") != NULL, "%s", world.report.problem);
    world.config.accept_damage = true;
    is_int(look(&world, &found), BK_VERSION, "always");
    struct blob after;
    blob_load(&after, &world, "j0-0000000001.log");
    ok(after.size == blob.size && memcmp(after.bytes, blob.bytes, blob.size) == 0,
       "and left alone");
    free(after.bytes);
    free(blob.bytes);
    world_fini(&world);
}

/* Two frames in flight: the first did not reach the disk, the second did. */
static void test_hole_in_flight(void)
{
    struct world world;
    struct found found = {0};
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 5, 1);
    struct ring *ring = &world.rings[0];
    ring->hold = true;
    is_int(world_append(&world, 0, 6, 70000), BK_OK);
    journal_turn(world.journals[0]);
    is_int(world_append(&world, 0, 7, 70000), BK_OK);
    journal_turn(world.journals[0]);
    is_uint(ring->write_count, 2);
    fake_complete(ring, 1);
    is_uint(world.durable[0], 5);
    world_crash(&world);
    is_int(world_open(&world), BK_OK);
    is_uint(world.report.torn_frames, 1, "the second is found and cut off");
    is_uint(world.report.records, 5);
    is_uint(world.durable[0], 5);
    world_fill(&world, 0, 6, 6, 1); /* a small one: what was cut off still stands behind it */
    world_crash(&world);
    is_int(look(&world, &found), BK_OK);
    is_uint(found.count, 6, "what was cut off does not come back");
    is_uint(found.wrong, 0);
    /* A small frame is lost, a large one behind it is not: the restart's opening stands exactly
     * where the lost one was, with its number, and only the chain of checksums tells that the next
     * is stale. */
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    ring->hold = true;
    is_int(world_append(&world, 0, 7, 1000), BK_OK);
    journal_turn(world.journals[0]);
    is_int(world_append(&world, 0, 8, 70000), BK_OK);
    journal_turn(world.journals[0]);
    fake_complete(ring, 1);
    world_crash(&world);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_crash(&world);
    is_int(look(&world, &found), BK_OK);
    is_uint(found.count, 6, "a stale frame in the right place with the right number");
    /* The same through many restarts, each a crash with frames in flight. */
    for (unsigned i = 0; i < 20; i++) {
        is_int(world_open(&world), BK_OK);
        world_run(&world);
        ring->hold = true;
        bk_assert(world_append(&world, 0, 7, 70000) == BK_OK);
        journal_turn(world.journals[0]);
        bk_assert(world_append(&world, 0, 8, 70000) == BK_OK);
        journal_turn(world.journals[0]);
        fake_complete(ring, 1);
        world_crash(&world);
    }
    is_int(world_open(&world), BK_OK);
    struct catalog_stats stats;
    catalog_stats(world.catalog, &stats);
    is_uint(world.report.records, 6);
    is_uint(stats.segments, 2, "restarts go on in the same segment");
    world_fill(&world, 0, 7, 8, 1);
    world_stop(&world);
    world_fini(&world);
}

static void test_damage_in_the_middle(void)
{
    struct world world;
    struct found found = {0};
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 100, 1);
    world_crash(&world);
    struct blob blob;
    blob_load(&blob, &world, "j0-0000000001.log");
    memset(blob.bytes + 8192 + 4096 * 50, 0, 4096 * 10); /* ten acknowledged frames */
    blob_store(&blob, blob.bytes, blob.size);
    is_int(world_open(&world), BK_CORRUPT, "a hole among what was acknowledged is refused");
    ok(strstr(world.report.problem, "at 212992") != NULL, "%s", world.report.problem);
    world.config.accept_damage = true;
    is_int(world_open(&world), BK_OK, "unless told to go on");
    world_run(&world);
    found = world_read(&world, 0, NULL);
    is_uint(found.count, 90, "what is behind the hole is kept");
    is_uint(found.wrong, 0);
    world_fill(&world, 0, 101, 110, 1);
    world_crash(&world);
    world.config.accept_damage = false;
    is_int(look(&world, &found), BK_OK, "the next start does not ask again");
    is_uint(found.count, 100);
    is_uint(found.last, 110);
    free(blob.bytes);
    world_fini(&world);
}

/* Frames one behind the other whose headers are good and whose records are not: each is told once,
 * by its own number, and the reading goes on behind them. */
static void test_damage_side_by_side(void)
{
    struct world world;
    struct found found = {0};
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 60, 1);
    world_crash(&world);
    struct blob blob;
    blob_load(&blob, &world, "j0-0000000001.log");
    for (size_t frame = 20; frame < 23; frame++) {
        size_t at = 8192 + 4096 * frame + sizeof(struct format_frame) + 8;
        set_byte(&blob, at, (char)(blob.bytes[at] ^ 1));
    }
    struct check_totals totals;
    is_int(journal_check(world.config.directory, NULL, NULL, NULL, &totals), BK_OK);
    is_uint(totals.problems, 3, "three damaged frames side by side are three problems");
    is_uint(totals.records, 57, "and the others are read");
    is_int(world_open(&world), BK_CORRUPT);
    world.config.accept_damage = true;
    is_int(world_open(&world), BK_OK, "a start that accepts the damage comes to an end");
    world_run(&world);
    found = world_read(&world, 0, NULL);
    is_uint(found.count, 57, "and keeps what is good");
    is_uint(found.wrong, 0);
    world_crash(&world);
    free(blob.bytes);
    world_fini(&world);
}

static void test_other_core_count(void)
{
    struct world world;
    world_init(&world, 3, 1 << 20);
    is_int(world_open(&world), BK_OK);
    for (unsigned journal = 0; journal < 3; journal++) {
        world_fill(&world, journal, 1, 50 + journal, 5);
    }
    world_crash(&world);
    world.config.journals = 1;
    is_int(world_open(&world), BK_OK, "fewer cores");
    is_uint(world.report.journals, 3);
    is_uint(world.report.records, 153);
    is_uint(world.seen_count, 153, "fingerprints of all journals");
    is_uint(world_read(&world, 2, NULL).count, 52, "journals without a core are read");
    world_fill(&world, 0, 51, 60, 5);
    world_stop(&world);
    world.config.journals = 4;
    is_int(world_open(&world), BK_OK, "more cores");
    world_run(&world);
    is_uint(world.durable[2], 52, "numbers go on where they were");
    world_fill(&world, 2, 53, 60, 5);
    world_fill(&world, 3, 1, 5, 5);
    is_uint(world_read(&world, 2, NULL).count, 60);
    is_uint(world_read(&world, 2, NULL).gaps, 0);
    world_stop(&world);
    world_fini(&world);
}

/* ---- random crashes */

#define CHAOS_RECORDS 60000U

struct chaos {
    struct world world;
    uint8_t acked[CHAOS_RECORDS];
    uint8_t refused[CHAOS_RECORDS]; /* reported failed: may be there or not, but once it is decided
                                       it stays */
    uint8_t gone[CHAOS_RECORDS];
    uint64_t next;
    uint64_t checked;
    unsigned lost;
    unsigned wrong;
    unsigned revived;
};

static void chaos_note(struct chaos *chaos)
{
    for (uint64_t i = chaos->checked + 1; i <= chaos->world.durable[0]; i++) {
        chaos->acked[i] = !chaos->refused[i];
    }
    if (chaos->world.durable[0] > chaos->checked) {
        chaos->checked = chaos->world.durable[0];
    }
    for (uint64_t i = chaos->checked + 1; i <= chaos->world.failed[0]; i++) {
        chaos->refused[i] = 1;
    }
}

/* What is in flight at a crash reaches the disk wholly, in part, or not. */
static void chaos_tear(struct ring *ring)
{
    for (unsigned i = 0; i < ring->write_count; i++) {
        const struct fake_write *write = &ring->writes[i];
        unsigned how = (unsigned)(next_random() % 4);
        char *mixed = aligned_alloc(4096, write->bytes);
        size_t done = 0;
        bk_assert(file_read(ring->files[write->handle], mixed, write->bytes, write->offset,
                            &done) == BK_OK);
        for (size_t at = 0; at < write->bytes; at += 512) {
            bool keep =
                how == 0 || (how == 1 && next_random() % 2) || (how == 2 && at < write->bytes / 2);
            if (keep) {
                memcpy(mixed + at, (const char *)write->at + at, 512);
            }
        }
        bk_assert(file_write(ring->files[write->handle], mixed, write->bytes, write->offset) ==
                  BK_OK);
        free(mixed);
    }
    ring->write_count = 0;
}

static void chaos_check(struct chaos *chaos)
{
    static uint8_t present[CHAOS_RECORDS];
    memset(present, 0, sizeof present);
    struct found found = world_read(&chaos->world, 0, present);
    chaos->wrong += (unsigned)found.wrong + (unsigned)found.corrupt;
    for (uint64_t i = 1; i < chaos->next; i++) {
        chaos->lost += chaos->acked[i] && !present[i];
        chaos->revived += chaos->gone[i] && present[i];
        chaos->gone[i] = chaos->gone[i] || !present[i];
        chaos->acked[i] = chaos->acked[i] || present[i];
    }
}

static void chaos_round(struct chaos *chaos)
{
    struct world *world = &chaos->world;
    struct ring *ring = &world->rings[0];
    unsigned steps = (unsigned)(next_random() % 200);
    ring->hold = true;
    if (next_random() % 4 == 0) {
        ring->fail_after = (int64_t)(next_random() % 40);
        ring->fail_count = 1 + (int)(next_random() % 2);
        ring->fail_writes = next_random() % 2;
    }
    for (unsigned i = 0; i < steps; i++) {
        unsigned count = (unsigned)(next_random() % 8);
        while (count-- > 0 && chaos->next < CHAOS_RECORDS) {
            size_t bytes = next_random() % 50 == 0 ? 90000 : record_size(chaos->next);
            if (world_append(world, 0, chaos->next, bytes) != BK_OK) {
                break;
            }
            chaos->next++;
        }
        journal_turn(world->journals[0]);
        while (ring->write_count > 0 && next_random() % 3 != 0) {
            fake_complete(ring, (unsigned)(next_random() % ring->write_count));
            chaos_note(chaos);
            journal_turn(world->journals[0]);
        }
        (void)fake_turn(ring);
        chaos_note(chaos);
        for (unsigned j = 0; j < 4 && next_random() % 2; j++) {
            (void)fake_turn(&world->control);
            (void)catalog_step(world->catalog, fake_wall_ns);
        }
        fake_wall_ns += 1000;
    }
}

static uint64_t torn_total;

static void test_chaos(unsigned seed)
{
    static struct chaos chaos;
    memset(&chaos, 0, sizeof chaos);
    fake_random = 88172645463325252ULL + seed * 7919U;
    world_init(&chaos.world, 1, 1 << 20);
    chaos.next = 1;
    unsigned refused = 0;
    uint64_t torn = 0;
    for (unsigned round = 0; round < 30; round++) {
        enum bk_err err = world_open(&chaos.world);
        if (err != BK_OK) {
            refused++;
            diag("round %u: %s", round, chaos.world.report.problem);
            break;
        }
        torn += chaos.world.report.torn_frames;
        chaos_check(&chaos);
        /* Numbers behind the last one on disk are given again: nobody has heard of them. */
        chaos.next = chaos.world.durable[0] + 1;
        chaos.checked = chaos.world.durable[0];
        memset(chaos.gone + chaos.next, 0, CHAOS_RECORDS - chaos.next);
        memset(chaos.refused + chaos.next, 0, CHAOS_RECORDS - chaos.next);
        chaos_round(&chaos);
        chaos_tear(&chaos.world.rings[0]);
        world_crash(&chaos.world);
    }
    is_uint(refused, 0, "seed %u: every start succeeds", seed);
    is_uint(chaos.lost, 0, "nothing that was acknowledged is lost, %u records",
            (unsigned)chaos.next);
    is_uint(chaos.wrong, 0, "nothing is wrong");
    is_uint(chaos.revived, 0, "what was gone stays gone");
    ok(chaos.next > 500);
    torn_total += torn;
    world_fini(&chaos.world);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_TEXT);
    test_truncated();
    flips(false);
    flips(true);
    test_zeroed_tail();
    test_missing();
    test_sidecars();
    test_sidecar_of_the_newest();
    test_newer_version();
    test_hole_in_flight();
    test_damage_in_the_middle();
    test_damage_side_by_side();
    test_other_core_count();
    const char *seeds = getenv("BECKET_JOURNAL_SEEDS"); /* more of them: set it to a number */
    for (unsigned seed = 1; seed <= (seeds ? (unsigned)strtoul(seeds, NULL, 10) : 2); seed++) {
        test_chaos(seed);
    }
    ok(torn_total > 0, "%u torn frames in all", (unsigned)torn_total);
    return done_testing();
}
