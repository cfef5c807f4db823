/* Description: records read back: by position, in both directions, by time, merged, while live. */
#include "journal_world.h"

#include "journal/check.h"

static void test_walks(void)
{
    struct world world;
    world_init(&world, 1, 2 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    int64_t start_ns = fake_wall_ns;
    world_fill(&world, 0, 1, 5000, 30);
    struct found found = world_read(&world, 0, NULL);
    is_uint(found.count, 5000, "forward: all");
    is_uint(found.last, 5000);
    is_uint(found.wrong + found.gaps + found.corrupt, 0);

    struct reader *reader = NULL;
    is_int(reader_open(world.catalog, &reader), BK_OK);
    struct reader_walk walk;
    struct journal_record record;
    reader_walk_begin(&walk, 0, true, UINT64_MAX);
    uint64_t expect = 5000;
    unsigned again = 0;
    unsigned bad = 0;
    enum bk_err err;
    size_t some = 100000;
    do {
        err = reader_next(reader, &walk, &some, &record);
        if (err == BK_AGAIN) {
            again++;
            some = 100000;
        }
        if (err == BK_OK) {
            bad += record.position.sequence != expect-- || !record_right(&record);
        }
    } while (err == BK_OK || err == BK_AGAIN);
    is_int(err, BK_NOT_FOUND);
    is_uint(expect, 0, "backward: all");
    ok(again > 10, "in %u pieces, as the budget says", again);
    is_uint(bad, 0);
    size_t none = 0;
    reader_walk_begin(&walk, 0, false, 2500);
    is_int(reader_next(reader, &walk, &none, &record), BK_AGAIN, "no budget, nothing in memory");

    bad = 0;
    for (unsigned i = 0; i < 300; i++) {
        uint64_t sequence = 1 + next_random() % 5000;
        err = reader_get(reader, (struct journal_position){0, sequence}, &record);
        bad += err != BK_OK || record.position.sequence != sequence || !record_right(&record);
    }
    is_uint(bad, 0, "any one by its position");
    is_int(reader_get(reader, (struct journal_position){0, 5001}, &record), BK_NOT_FOUND);
    is_int(reader_get(reader, (struct journal_position){0, 0}, &record), BK_NOT_FOUND);
    is_int(reader_get(reader, (struct journal_position){77, 1}, &record), BK_NOT_FOUND);
    is_int(reader_get(reader, (struct journal_position){2000, 1}, &record), BK_NOT_FOUND);

    bad = 0;
    for (unsigned i = 0; i < 300; i++) {
        uint64_t sequence = 1 + next_random() % 5000;
        int64_t time_ns = start_ns + (int64_t)(sequence - 1) * 1000000;
        size_t budget = 1 << 24;
        err = reader_walk_begin_time(reader, &walk, 0, false, time_ns);
        bad += err != BK_OK || reader_next(reader, &walk, &budget, &record) != BK_OK ||
               record.position.sequence != sequence;
        err = reader_walk_begin_time(reader, &walk, 0, true, time_ns + 500000);
        bad += err != BK_OK || reader_next(reader, &walk, &budget, &record) != BK_OK ||
               record.position.sequence != sequence;
    }
    is_uint(bad, 0, "from a point in time");
    size_t budget = 1 << 24;
    is_int(reader_walk_begin_time(reader, &walk, 0, false, fake_wall_ns + 1), BK_OK);
    is_int(reader_next(reader, &walk, &budget, &record), BK_NOT_FOUND, "nothing in the future");
    world_fill(&world, 0, 5001, 5001, 1);
    is_int(reader_next(reader, &walk, &budget, &record), BK_OK, "but it will be found");
    is_uint(record.position.sequence, 5001);
    is_int(reader_walk_begin_time(reader, &walk, 0, true, start_ns - 1), BK_OK);
    is_int(reader_next(reader, &walk, &budget, &record), BK_NOT_FOUND, "nothing before the first");
    reader_close(reader);
    world_stop(&world);
    world_fini(&world);
}

/* Steps that are read ahead are shared by walks that come at different times, and leave in any
 * order. */
static void test_walks_in_turn(void)
{
    struct world world;
    world_init(&world, 1, 2 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 9000, 30);
    struct reader *reader = NULL;
    is_int(reader_open(world.catalog, &reader), BK_OK);
    struct reader_walk walks[3];
    struct journal_record record;
    uint64_t expect[3] = {1, 900, 4000};
    unsigned bad = 0;
    for (unsigned i = 0; i < 3; i++) {
        reader_walk_begin(&walks[i], 0, false, expect[i]);
    }
    while (expect[0] <= 9000) {
        unsigned i = (unsigned)(next_random() % 3);
        for (unsigned n = (unsigned)(next_random() % 400); n > 0 && expect[i] <= 9000;
             n--, expect[i]++) {
            size_t budget = 1 << 20;
            bad += reader_next(reader, &walks[i], &budget, &record) != BK_OK ||
                   record.position.sequence != expect[i] || !record_right(&record);
        }
        uint64_t any = 1 + next_random() % 9000;
        bad += reader_get(reader, (struct journal_position){0, any}, &record) != BK_OK ||
               record.position.sequence != any;
    }
    is_uint(bad, 0, "three walks in turn, and single records between");
    reader_close(reader);
    world_stop(&world);
    world_fini(&world);
}

static void test_live(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    struct reader *reader = NULL;
    struct reader_walk walk;
    struct journal_record record;
    size_t budget = 1 << 24;
    is_int(reader_open(world.catalog, &reader), BK_OK);
    reader_walk_begin(&walk, 0, false, 1);
    is_int(reader_next(reader, &walk, &budget, &record), BK_NOT_FOUND, "empty");
    world_fill(&world, 0, 1, 3, 1);
    for (unsigned i = 1; i <= 3; i++) {
        is_int(reader_next(reader, &walk, &budget, &record), BK_OK);
        is_uint(record.position.sequence, i);
    }
    world.rings[0].hold = true;
    is_int(world_append(&world, 0, 4, 700), BK_OK);
    journal_turn(world.journals[0]);
    is_int(reader_next(reader, &walk, &budget, &record), BK_NOT_FOUND, "in flight is not there");
    is_int(reader_get(reader, (struct journal_position){0, 4}, &record), BK_NOT_FOUND);
    fake_complete(&world.rings[0], 0);
    is_int(reader_next(reader, &walk, &budget, &record), BK_OK, "durable is");
    is_uint(record.position.sequence, 4);
    is_uint(record.entry.source, 7);
    is_uint(record.entry.peer.port, 1234);
    ok(record_right(&record));
    world.rings[0].hold = false;
    reader_close(reader);
    world_stop(&world);
    world_fini(&world);
}

static void test_merge(void)
{
    struct world world;
    world_init(&world, 3, 2 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    uint64_t next[3] = {1, 1, 1};
    for (unsigned i = 0; i < 3000; i++) {
        unsigned journal = (unsigned)(next_random() % 3);
        world_fill(&world, journal, next[journal], next[journal], 1);
        next[journal]++;
    }
    struct reader *reader = NULL;
    struct reader_merge merge;
    struct journal_record record;
    is_int(reader_open(world.catalog, &reader), BK_OK);
    for (unsigned backward = 0; backward < 2; backward++) {
        unsigned count = 0;
        unsigned unordered = 0;
        int64_t last_ns = backward ? INT64_MAX : 0;
        enum bk_err err = reader_merge_begin(reader, &merge, backward, backward ? INT64_MAX : 0);
        while (err == BK_OK || err == BK_AGAIN) {
            size_t budget = 300000;
            err = reader_merge_next(reader, &merge, &budget, &record);
            if (err == BK_OK) {
                count++;
                int64_t at = record.entry.received_ns;
                unordered += (backward ? at > last_ns : at < last_ns) || !record_right(&record);
                last_ns = at;
            }
        }
        is_int(err, BK_NOT_FOUND);
        is_uint(count, 3000, "merged %s: all", backward ? "backward" : "forward");
        is_uint(unordered, 0, "in the order of time");
    }
    reader_close(reader);
    world_stop(&world);
    world_fini(&world);
}

/* Overwrite one byte of a file. */
static void damage(const struct world *world, const char *name, long offset)
{
    char path[512];
    world_path(world, path, name);
    FILE *file = fopen(path, "r+");
    fseek(file, offset, SEEK_SET);
    int byte = fgetc(file);
    fseek(file, offset, SEEK_SET);
    fputc(byte ^ 0x10, file);
    fclose(file);
}

static char last_problem[256];
static void on_problem(const struct check_problem *problem, void *context)
{
    (void)context;
    snprintf(last_problem, sizeof last_problem, "%s at %llu: %s", strrchr(problem->path, '/') + 1,
             (unsigned long long)problem->offset, problem->what);
}

static bool on_record(const struct journal_record *record, void *context)
{
    uint64_t *right = context;
    *right += record_right(record);
    return true;
}

static void test_damage(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 3000, 1); /* a frame each: 4 KiB */
    world_stop(&world);
    struct check_totals totals;
    uint64_t right = 0;
    is_int(journal_check(world.directory, on_problem, on_record, &right, &totals), BK_OK);
    is_uint(totals.problems, 0, "%s", last_problem);
    is_uint(totals.records, 3000);
    is_uint(right, 3000, "the check gives every record");
    is_uint(totals.sidecars, totals.segments - totals.spares - 1, "sealed ones have a sidecar");

    damage(&world, "j0-0000000002.log", 4096 * 40 + 300);
    is_int(journal_check(world.directory, on_problem, NULL, NULL, &totals), BK_OK);
    ok(totals.problems >= 1, "the check finds a flipped bit");
    is_uint(totals.records, 2999, "and goes on behind it");
    ok(strstr(last_problem, "j0-0000000002") != NULL, "%s", last_problem);

    is_int(world_open(&world), BK_OK, "a start trusts the sidecar");
    world_run(&world);
    struct found found = world_read(&world, 0, NULL);
    is_uint(found.count, 2999, "a reader finds all others");
    is_uint(found.corrupt, 1, "and reports the damage");
    is_uint(found.gaps, 1);
    is_uint(found.wrong, 0);
    struct reader *reader = NULL;
    struct reader_walk walk;
    struct journal_record record;
    is_int(reader_open(world.catalog, &reader), BK_OK);
    reader_walk_begin(&walk, 0, true, UINT64_MAX);
    unsigned count = 0;
    unsigned corrupt = 0;
    enum bk_err err;
    do {
        size_t budget = 1 << 24;
        err = reader_next(reader, &walk, &budget, &record);
        count += err == BK_OK;
        corrupt += err == BK_CORRUPT;
    } while (err != BK_NOT_FOUND);
    is_uint(count, 2999, "backward too");
    is_uint(corrupt, 1);
    ok(strstr(reader_problem(reader), "at 163840") != NULL, "%s", reader_problem(reader));
    reader_close(reader);
    world_stop(&world);

    char path[512];
    world_path(&world, path, "j0-0000000002.idx");
    ok(unlink(path) == 0);
    is_int(world_open(&world), BK_CORRUPT, "without the sidecar the start finds it and refuses");
    ok(strstr(world.report.problem, "at 163840") != NULL, "%s", world.report.problem);
    world.config.accept_damage = true;
    is_int(world_open(&world), BK_OK, "unless told otherwise");
    is_uint(world.report.records, 2999);
    world_stop(&world);
    world.config.accept_damage = false;
    is_int(world_open(&world), BK_OK, "and then the next start is a normal one");
    is_uint(world_read(&world, 0, NULL).count, 2999);
    world_stop(&world);
    world_fini(&world);
}

int main(void)
{
    test_walks();
    test_walks_in_turn();
    test_live();
    test_merge();
    test_damage();
    return done_testing();
}
