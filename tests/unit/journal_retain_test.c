/* Description: retention by age and size, recycled files, sidecars that outlive their segment. */
#include "journal_world.h"

#include "base/log.h"
#include "journal/check.h"
#include "journal/copy.h"
#include "journal/mark.h"

#define HOUR_NS (3600LL * 1000000000)
#define DAY_NS  (24 * HOUR_NS)

static struct catalog_stats stats_of(const struct world *world)
{
    struct catalog_stats stats;
    catalog_stats(world->catalog, &stats);
    return stats;
}

/* On both clocks. */
static void time_passes(int64_t ns)
{
    fake_wall_ns += ns;
    fake_now_ns += (uint64_t)ns;
}

struct counter {
    const char *prefix;
    const char *suffix;
    unsigned count;
};

static void count_name(const char *name, void *context)
{
    struct counter *counter = context;
    size_t bytes = strlen(name);
    size_t end = strlen(counter->suffix);
    counter->count += strncmp(name, counter->prefix, strlen(counter->prefix)) == 0 &&
                      bytes >= end && strcmp(name + bytes - end, counter->suffix) == 0;
}

static unsigned names_with(const struct world *world, const char *prefix, const char *suffix)
{
    struct counter counter = {prefix, suffix, 0};
    bk_assert(directory_list(world->directory, count_name, &counter) == BK_OK);
    return counter.count;
}

static void test_bytes(void)
{
    struct world world;
    struct found found;
    world_init(&world, 1, 1 << 20);
    world.config.retain_bytes = 8 << 20;
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 8000, 1); /* 31 segments */
    struct catalog_stats stats = stats_of(&world);
    ok(stats.file_bytes <= 8 << 20, "%u MiB of files", (unsigned)(stats.file_bytes >> 20));
    ok(stats.removed_total > 20, "%u removed", (unsigned)stats.removed_total);
    ok(stats.recycled_total > 10, "%u files used again", (unsigned)stats.recycled_total);
    ok(stats.recycled <= 4);
    is_uint(names_with(&world, "j0-", ".log") + names_with(&world, "spare-", ".log"),
            stats.segments + stats.recycled, "nothing else is left");
    found = world_read(&world, 0, NULL);
    is_uint(found.last, 8000);
    is_uint(found.gaps + found.wrong + found.corrupt, 0);
    is_uint(found.last - found.count, stats.removed_records_total, "the oldest are gone");
    struct reader *reader = NULL;
    struct journal_record record;
    is_int(reader_open(world.catalog, &reader), BK_OK);
    is_int(reader_get(reader, (struct journal_position){0, 1}, &record), BK_NOT_FOUND, "removed");
    reader_close(reader);
    /* A recycled file is full of frames of its former life. */
    world_crash(&world);
    is_int(world_open(&world), BK_OK);
    is_uint(world.report.torn_frames, 0, "none of them counts");
    is_uint(world_read(&world, 0, NULL).count, found.count);
    is_uint(world.seen_count, 8000, "the fingerprints of removed segments are still known");
    is_uint(world.seen_bad, 0);
    is_uint(world.seen_first, 1, "oldest first");
    world_fill(&world, 0, 8001, 8100, 1);
    world_stop(&world);
    world_fini(&world);
}

static void test_age(void)
{
    struct world world;
    world_init(&world, 2, 1 << 20);
    world.config.retain_ns = 3 * DAY_NS;
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 1000, 1);
    world_fill(&world, 1, 1, 10, 1);
    unsigned sidecars = names_with(&world, "j0-", ".idx");
    ok(sidecars >= 3);
    time_passes(DAY_NS * 5 / 2);
    world_fill(&world, 0, 1001, 1500, 1);
    uint64_t before = stats_of(&world).removed_total;
    is_uint(before, 0, "nothing is old enough");
    time_passes(DAY_NS);
    world_run(&world);
    struct catalog_stats stats = stats_of(&world);
    ok(stats.removed_total >= 3 && stats.removed_total <= sidecars + 1, "%u removed",
       (unsigned)stats.removed_total);
    is_uint(names_with(&world, "old-", ".log"), 0);
    struct found found = world_read(&world, 0, NULL);
    is_uint(found.last, 1500);
    ok(found.count >= 500, "the young ones stay");
    is_uint(world_read(&world, 1, NULL).count, 10, "a live segment stays whatever its age");
    ok(names_with(&world, "j0-", ".idx") < sidecars + 2,
       "sidecars beyond the dedupe window went, too");
    world_crash(&world);
    is_int(world_open(&world), BK_OK);
    is_uint(world.durable[0], 1500);
    ok(world.seen_count < 1500, "%u fingerprints", (unsigned)world.seen_count);
    world_stop(&world);
    world_fini(&world);
}

static void test_window(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    world.config.retain_ns = 3600LL * 1000000000;
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 1000, 1);
    time_passes(2 * 3600LL * 1000000000);
    world_fill(&world, 0, 1001, 1300, 1);
    uint64_t gone = stats_of(&world).removed_records_total;
    ok(gone > 500, "%u records removed after an hour", (unsigned)gone);
    world_crash(&world);
    is_int(world_open(&world), BK_OK);
    is_uint(world.seen_count, 1300, "their fingerprints are known for a day");
    world_run(&world);
    world_crash(&world);
    time_passes(DAY_NS - 3600LL * 1000000000);
    is_int(world_open(&world), BK_OK);
    is_uint(world.seen_count, 1300, "a start tells them while no newer segment is there");
    world_run(&world);
    time_passes(4 * HOUR_NS);
    world_run(&world);
    unsigned left = names_with(&world, "j0-", ".idx");
    ok(left <= 3, "%u sidecars left", left);
    catalog_retain(world.catalog, 1, 0);
    world_run(&world);
    struct found found = world_read(&world, 0, NULL);
    is_uint(found.last, 1300, "even with no room at all the last segment in use stays");
    world_stop(&world);
    is_int(world_open(&world), BK_OK);
    is_uint(world.durable[0], 1300);
    world_stop(&world);
    world_fini(&world);
}

static uint64_t removed(struct world *world)
{
    world_run(world);
    return stats_of(world).removed_total;
}

/* A wall clock that is wrong: nothing goes by it until it stood for a while, and then not all at
 * once. */
static void test_clock(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    world.config.retain_ns = 30 * DAY_NS;
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    for (unsigned day = 0; day < 20; day++) { /* a segment a day, about */
        world_fill(&world, 0, day * 1000 + 1, day * 1000 + 1000, 10);
        time_passes(DAY_NS);
    }
    is_uint(removed(&world), 0, "nothing is old");
    fake_wall_ns += 3650 * DAY_NS;
    is_uint(removed(&world), 0, "the clock is set ten years forward: nothing goes");
    time_passes(5 * HOUR_NS);
    is_uint(removed(&world), 0, "also not five hours later");
    fake_wall_ns -= 3650 * DAY_NS;
    time_passes(7 * HOUR_NS);
    is_uint(removed(&world), 0, "it is set right: all is there");
    world_stop(&world);
    fake_wall_ns += 3650 * DAY_NS;
    is_int(world_open(&world), BK_OK);
    is_uint(removed(&world), 0, "a start ten years ahead: nothing goes");
    time_passes(5 * HOUR_NS);
    is_uint(removed(&world), 0, "also not five hours later");
    world_fill(&world, 0, 20001, 20010, 10);
    time_passes(HOUR_NS + HOUR_NS / 10);
    uint64_t first = removed(&world), last = first;
    ok(first >= 1 && first <= 4, "after six hours it begins with the oldest: %u", (unsigned)first);
    unsigned hours = 0;
    for (; hours < 60 && stats_of(&world).sealed > 1; hours++) {
        time_passes(HOUR_NS);
        uint64_t now = removed(&world);
        ok(now - last <= 6, "%u in an hour", (unsigned)(now - last));
        last = now;
    }
    ok(hours >= 15 && hours < 60, "all that was old is gone after %u hours more", hours);
    is_uint(world_read(&world, 0, NULL).last, 20010);
    /* What was received ten years ahead is as old as what came behind it. */
    world_fill(&world, 0, 20011, 21500, 10);
    fake_wall_ns -= 3650 * DAY_NS;
    time_passes(HOUR_NS);
    world_fill(&world, 0, 21501, 21510, 10);
    unsigned sealed = stats_of(&world).sealed;
    ok(sealed >= 1, "%u of another time", sealed);
    for (unsigned day = 0; day < 32; day++) {
        time_passes(DAY_NS);
        world_run(&world);
    }
    is_uint(stats_of(&world).sealed, 0, "it goes in its time");
    world_stop(&world);
    world_fini(&world);
}

struct debt {
    uint64_t from; /* what is owed */
    unsigned looks;
    bool looking;
};

static enum catalog_owed owes(void *context, uint16_t journal, uint64_t through)
{
    struct debt *debt = context;
    debt->looks++;
    return debt->looking                           ? CATALOG_LOOKING
           : journal == 0 && debt->from <= through ? CATALOG_OWED
                                                   : CATALOG_FREE;
}

static void test_owed(void)
{
    struct world world;
    struct debt debt = {.from = 2500};
    world_init(&world, 2, 1 << 20);
    world.config.retain_ns = 3 * DAY_NS;
    is_int(world_open(&world), BK_OK);
    catalog_guard(world.catalog, owes, &debt);
    world_run(&world);
    world_fill(&world, 0, 1, 6000, 10);
    world_fill(&world, 1, 1, 6000, 10);
    for (unsigned i = 0; i < 100; i++) {
        time_passes(HOUR_NS);
        world_run(&world);
    }
    struct found found = world_read(&world, 0, NULL);
    ok(found.last - found.count < 2499 && found.last > found.count,
       "what is owed stays, what is older goes: %u went", (unsigned)(found.last - found.count));
    is_uint(stats_of(&world).held, 1, "one journal is held");
    is_uint(stats_of(&world).removed_owed_total, 0);
    struct found other = world_read(&world, 1, NULL);
    ok(other.count < 1500, "the other journal's go");
    unsigned looks = debt.looks;
    world_run(&world);
    is_uint(debt.looks, looks, "not asked again at once");
    debt.from = 4500;
    time_passes(2 * HOUR_NS);
    world_run(&world);
    found = world_read(&world, 0, NULL);
    ok(found.last - found.count >= 2499 && found.last - found.count < 4499, "then more: %u went",
       (unsigned)(found.last - found.count));
    /* By size it goes, and that is counted. */
    debt.looking = true;
    time_passes(HOUR_NS);
    catalog_retain(world.catalog, 1, 3 * DAY_NS);
    uint64_t before = removed(&world);
    is_uint(removed(&world), before, "not while it is looked for");
    debt.looking = false;
    ok(removed(&world) > before, "the size is a limit in any case");
    ok(stats_of(&world).removed_owed_total >= 1, "and says what it took");
    world_stop(&world);
    world_fini(&world);
}

/* The journal's memory of its numbers is its last durable frame: that must not be removed. */
static void test_last_durable(void)
{
    struct world world;
    world_init(&world, 1, 1 << 20);
    world.config.retain_bytes = 1;
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    struct ring *ring = &world.rings[0];
    uint64_t sequence = 1;
    while (journal_stats(world.journals[0])->rolls == 0) {
        bk_assert(world_append(&world, 0, sequence++, 100000) == BK_OK);
        if (journal_stats(world.journals[0])->rolls == 0) {
            world_run(&world);
        }
    }
    while (ring->write_count == 0 || ring->writes[0].offset != FORMAT_FRAME_AT) {
        ring->hold = true; /* all but the opening of the second segment */
        journal_turn(world.journals[0]);
        if (ring->write_count > 0 && ring->writes[0].offset != FORMAT_FRAME_AT) {
            fake_complete(ring, 0);
        }
    }
    world_run(&world); /* seal and remove what may go */
    is_uint(stats_of(&world).sealed, 1, "the first segment is sealed");
    is_uint(stats_of(&world).removed_total, 0, "and stays while the second has nothing durable");
    uint64_t durable = world.durable[0];
    world_crash(&world);
    is_int(world_open(&world), BK_OK);
    is_uint(world.durable[0], durable, "so the numbers go on");
    world_fill(&world, 0, durable + 1, durable + 3, 1);
    is_uint(stats_of(&world).removed_total, 1, "then it goes");
    world_stop(&world);
    world_fini(&world);
}

/* Files of interrupted work are cleared away. */
static void test_rubbish(void)
{
    struct world world;
    char path[512];
    world_init(&world, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_fill(&world, 0, 1, 10, 1);
    world_stop(&world);
    static const char *const names[] = {"tmp-j0-0000000009.log", "old-j0-0000000001.log",
                                        "tmp-j0-0000000001.idx", "spare-3.log"};
    for (unsigned i = 0; i < 4; i++) {
        world_path(&world, path, names[i]);
        FILE *file = fopen(path, "w");
        fputs("half", file);
        fclose(file);
    }
    world_path(&world, path, "notes.txt");
    fclose(fopen(path, "w"));
    is_int(world_open(&world), BK_OK);
    for (unsigned i = 0; i < 4; i++) {
        ok(!world_has(&world, names[i]), "%s is gone", names[i]);
    }
    ok(world_has(&world, "notes.txt"), "what is not ours stays");
    world_stop(&world);
    world_fini(&world);
}

/* ---- what has to be there */

struct names {
    unsigned count;
    char at[100][FORMAT_NAME_BYTES];
};

static void note_log(const char *name, void *context)
{
    struct names *names = context;
    uint16_t journal;
    uint64_t number;
    if (format_name_parse(name, ".log", &journal, &number)) {
        snprintf(names->at[names->count++], FORMAT_NAME_BYTES, "%s", name);
    }
}

static int by_name(const void *left, const void *right)
{
    return strcmp(left, right);
}

static void move(const struct world *world, const char *from, const char *to)
{
    char from_path[512], to_path[512];
    world_path(world, from_path, from);
    world_path(world, to_path, to);
    if (rename(from_path, to_path) != 0) {
        bail_out("%s to %s", from, to);
    }
}

/* Is it told, by a check and by a start? Nothing is changed. */
static bool is_told(struct world *world, const char *what, bool told)
{
    struct check_totals totals;
    bool good = journal_check(world->directory, NULL, NULL, NULL, &totals) == BK_OK &&
                (totals.problems > 0) == told;
    enum bk_err err = world_open_catalog(world);
    bool missing = strstr(world->report.problem, "missing") != NULL;
    if (err == BK_OK) {
        catalog_close(world->catalog);
    }
    good = good && err == (told ? BK_CORRUPT : BK_OK) && missing == told;
    if (!good) {
        diag("%s: check %u, start %d: %s", what, (unsigned)totals.problems, err,
             world->report.problem);
    }
    return good;
}

static void test_missing(void)
{
    struct world world;
    struct names names = {0};
    unsigned told = 0, cut = 0;
    char mark[512], saved[200];
    world_init(&world, 2, 1 << 20);
    world.config.retain_bytes = 9 << 20;
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 1, 1, 10, 1);
    world_fill(&world, 0, 1, 4000, 1);
    world_crash(&world);
    (void)!directory_list(world.directory, note_log, &names);
    qsort(names.at, names.count, FORMAT_NAME_BYTES, by_name);
    world_path(&world, mark, "old-marks-j0");
    ok(names.count > 4 && strcmp(names.at[0], "j0-0000000001.log") != 0 &&
           world_has(&world, "old-marks-j0") && world_has(&world, "old-marks-j1"),
       "%u segments, the first ones are removed", names.count);
    ok(is_told(&world, "whole", false), "nothing is missing");
    for (unsigned i = 0; i < names.count; i++) {
        move(&world, names.at[i], "elsewhere");
        told += is_told(&world, names.at[i], true);
        move(&world, "elsewhere", names.at[i]);
    }
    is_uint(told, names.count, "each that is taken away is missed");
    ok(is_told(&world, "whole", false), "with all of them there it is well");
    struct world other;
    world_init(&other, 1, 1 << 20);
    other.config.retain_bytes = 9 << 20;
    is_int(world_open(&other), BK_OK);
    world_run(&other);
    world_fill(&other, 0, 1, 4000, 1);
    world_crash(&other);
    told = 0;
    for (unsigned i = 0; i < names.count; i++) {
        char from[512], to[512], command[1100];
        world_path(&other, from, names.at[i]);
        world_path(&world, to, names.at[i]);
        move(&world, names.at[i], "elsewhere");
        snprintf(command, sizeof command, "cp %s %s", from, to);
        if (system(command) == 0) {
            enum bk_err err = world_open_catalog(&world);
            told += err == BK_CORRUPT;
            if (err == BK_OK) {
                catalog_close(world.catalog);
                diag("%s of another directory is not told", names.at[i]);
            }
        } else {
            told++; /* of the second journal: the other one has none */
        }
        move(&world, "elsewhere", names.at[i]);
    }
    world_fini(&other);
    is_uint(told, names.count, "so is each of another directory in its place");
    for (unsigned i = 0; i < 3; i++) {
        char hidden[40];
        snprintf(hidden, sizeof hidden, "elsewhere%u", i);
        move(&world, names.at[i], hidden);
    }
    ok(is_told(&world, "head", true), "and so are several");
    FILE *file = fopen(mark, "r");
    size_t bytes = file ? fread(saved, 1, sizeof saved, file) : 0;
    fclose(file);
    unlink(mark);
    ok(is_told(&world, "no mark", false), "as an older becket left it: the names are believed");
    ok(world_has(&world, "old-marks-j0"), "and from then on asked for");
    file = fopen(mark, "w");
    fwrite(saved, 1, bytes, file);
    fclose(file);
    ok(is_told(&world, "head", true), "the mark of before again");
    world.config.accept_damage = true;
    is_int(world_open_catalog(&world), BK_OK, "told to go on");
    catalog_close(world.catalog);
    world.config.accept_damage = false;
    ok(is_told(&world, "accepted", false), "and not asked again");
    for (unsigned i = 0; i < bytes; i++) {
        file = fopen(mark, "w");
        fwrite(saved, 1, i, file);
        fclose(file);
        cut += is_told(&world, "cut", false);
    }
    is_uint(cut, bytes, "a mark that is cut says nothing");
    is_int(world_open_catalog(&world), BK_OK);
    struct journal_mark now = {.first = 1};
    is_int(mark_read(world.catalog, 0, &now), BK_OK, "it is made anew");
    now.first++;
    is_int(mark_write(world.catalog, 0, &now), BK_OK, "as before a removal that did not come");
    catalog_close(world.catalog);
    ok(is_told(&world, "not removed", false), "is well");
    for (unsigned i = 0; i < names.count; i++) {
        char path[512];
        world_path(&world, path, names.at[i]);
        (void)unlink(path);
    }
    for (uint64_t i = 1; i < 60; i++) {
        char name[FORMAT_NAME_BYTES], path[512];
        format_name(name, 0, i, ".idx");
        world_path(&world, path, name);
        (void)unlink(path);
    }
    ok(is_told(&world, "all", true), "a journal that is gone");
    world_fini(&world);
}

/* A copy is started like what it was copied from: sidecars go along, those that agree. */
static void test_copied(void)
{
    struct world world, copy;
    struct check_totals totals;
    struct journal_report report;
    char path[512];
    world_init(&world, 1, 1 << 20);
    world_init(&copy, 1, 1 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    world_fill(&world, 0, 1, 3000, 1);
    world_stop(&world);
    is_int(world_open(&world), BK_OK);
    report = world.report;
    world_stop(&world);
    unsigned sidecars = names_with(&world, "j0-", ".idx");
    ok(sidecars > 5 && report.scanned_bytes < 4 << 20, "%u sidecars, %u bytes read at a start",
       sidecars, (unsigned)report.scanned_bytes);
    is_int(journal_copy(world.directory, copy.directory, COPY_WRITTEN, NULL, NULL, &totals), BK_OK);
    is_uint(names_with(&copy, "j0-", ".idx"), sidecars, "all are copied");
    is_int(world_open(&copy), BK_OK);
    ok(copy.report.scanned_bytes <= report.scanned_bytes, "no more is read");
    is_uint(world_read(&copy, 0, NULL).count, 3000);
    is_uint(copy.seen_count, 3000, "all ids are known");
    world_stop(&copy);
    world_fini(&copy);

    world_init(&copy, 1, 1 << 20);
    world_path(&world, path, "j0-0000000002.idx");
    FILE *file = fopen(path, "r+");
    fputs("damage", file);
    fclose(file);
    is_int(journal_copy(world.directory, copy.directory, COPY_WRITTEN, NULL, NULL, &totals), BK_OK);
    is_uint(names_with(&copy, "j0-", ".idx"), sidecars - 1, "but not a damaged one");
    is_int(world_open(&copy), BK_OK);
    is_uint(copy.seen_count, 3000, "which is made again");
    world_stop(&copy);
    world_fini(&copy);
    world_fini(&world);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_TEXT);
    test_bytes();
    test_age();
    test_window();
    test_clock();
    test_owed();
    test_last_durable();
    test_rubbish();
    test_missing();
    test_copied();
    return done_testing();
}
