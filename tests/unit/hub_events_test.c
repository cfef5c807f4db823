/* Description: searching events over several journals: filters, order, cursors that lose nothing
 * while more arrives, budgets, and an event as JSON. */
#include "journal_world.h"

#include "base/json.h"
#include "hub/events/event_id.h"
#include "hub/events/events.h"
#include "providers/scheme.h"

#define JOURNALS 3U

static struct world world;
static uint64_t appended[JOURNALS];
static const int64_t ms = 1000000;

static struct event_filter everything(void)
{
    return (struct event_filter){.since_ns = INT64_MIN, .until_ns = INT64_MAX};
}

/* One event of type "t0", "t1" …; delivery id "d". */
static void append(unsigned journal, enum journal_record_type type, unsigned kind, const char *body)
{
    char message[2000];
    int head =
        snprintf(message, sizeof message,
                 "POST /hooks/x?y=1 HTTP/1.1\r\nHost: h\r\nX-Type: t%u\r\nX-Id: d\r\nX-Two: a\r\n"
                 "Content-Type: text/plain\r\nx-two: \"b\xff\"\r\n\r\n",
                 kind);
    struct journal_entry entry = {
        .type = type,
        .source = 7,
        .received_ns = fake_wall_ns,
        .reason = type == JOURNAL_REJECTED ? SCHEME_STALE : 0,
        .peer = {.family = 6, .port = 1234, .at = {[15] = 1}},
        .head_bytes = (uint32_t)head,
        .body_bytes = (uint32_t)strlen(body),
        .type_at = (uint32_t)(strstr(message, "t") ? strstr(message, ": t") + 2 - message : 0),
        .type_bytes = 2,
        .id_at = (uint32_t)(strstr(message, "X-Id: ") + 6 - message),
        .id_bytes = 1};
    if (type == JOURNAL_DUPLICATE) {
        entry.original = journal_position_pack((struct journal_position){1, 1});
        entry.original_ns = fake_wall_ns;
    }
    memcpy(message + head, body, strlen(body));
    uint64_t sequence;
    enum bk_err err =
        journal_append(world.journals[journal], &entry, (uint8_t *)message, NULL, 0, &sequence);
    bk_assert(err == BK_OK && sequence == appended[journal] + 1);
    appended[journal]++;
    fake_wall_ns += ms;
}

static void fill(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        append((unsigned)(next_random() % JOURNALS),
               i % 10 == 3 ? JOURNAL_REJECTED : JOURNAL_ACCEPTED, i % 4, "{\"a\":1}");
        if (i % 7 == 0) {
            world_run(&world);
        }
    }
    world_run(&world);
}

struct tally {
    uint64_t next[JOURNALS]; /* sequence expected (forward), or the last one seen (backward) */
    unsigned count, unordered, skipped;
    int64_t last_ns;
};

/* Reads pages of `limit`, each from the cursor of the one before, until the end. */
static void read_pages(struct reader *reader, const struct event_filter *filter, bool forward,
                       unsigned limit, struct buf *cursor, struct tally *tally)
{
    struct event_scan scan;
    struct journal_record record;
    for (;;) {
        unsigned got = 0;
        enum bk_err err =
            event_scan_begin(&scan, world.catalog, reader, filter, forward, buf_slice(cursor));
        bk_assert(err == BK_OK);
        while (got < limit) {
            size_t budget = 3000; /* little: AGAIN comes often */
            err = event_scan_next(&scan, NULL, reader, &budget, &record);
            if (err == BK_AGAIN) {
                continue;
            }
            if (err != BK_OK) {
                break;
            }
            got++;
            tally->count++;
            tally->unordered +=
                tally->last_ns != 0 && (forward ? record.entry.received_ns < tally->last_ns
                                                : record.entry.received_ns > tally->last_ns);
            tally->last_ns = record.entry.received_ns;
            uint64_t *next = &tally->next[record.position.journal];
            if (filter->states == 0 && filter->type.bytes == 0 && forward) {
                tally->skipped += record.position.sequence != *next + 1;
            }
            *next = record.position.sequence;
        }
        bk_assert(err == BK_OK || err == BK_NOT_FOUND);
        buf_reset(cursor);
        event_scan_cursor(&scan, cursor);
        if (got < limit) {
            return;
        }
    }
}

static void test_pages(struct reader *reader)
{
    static const unsigned limits[] = {1, 7, 1000};
    unsigned total = (unsigned)(appended[0] + appended[1] + appended[2]);
    for (unsigned i = 0; i < 2 * 3; i++) {
        bool forward = i % 2 == 0;
        struct tally tally = {0};
        struct buf cursor;
        struct event_filter filter = everything();
        buf_init(&cursor, 4096);
        read_pages(reader, &filter, forward, limits[i / 2], &cursor, &tally);
        is_uint(tally.count, total, "%s, pages of %u: all", forward ? "forward" : "backward",
                limits[i / 2]);
        is_uint(tally.unordered + tally.skipped, 0, "in order, none left out");
        buf_fini(&cursor);
    }
}

static void test_filters(struct reader *reader, int64_t start_ns)
{
    struct tally tally = {0}, typed = {0}, timed = {0};
    struct buf cursor;
    buf_init(&cursor, 4096);
    struct event_filter filter = everything();
    filter.states = EVENT_STATE(JOURNAL_REJECTED);
    read_pages(reader, &filter, false, 5, &cursor, &tally);
    is_uint(tally.count, 40, "rejected ones: a tenth of 400");
    buf_reset(&cursor);
    filter = everything();
    filter.type = SLICE("t2");
    read_pages(reader, &filter, true, 9, &cursor, &typed);
    is_uint(typed.count, 100, "of one type: a quarter");
    memset(&typed, 0, sizeof typed);
    buf_reset(&cursor);
    filter.type = SLICE("t*");
    read_pages(reader, &filter, false, 9, &cursor, &typed);
    is_uint(typed.count, 400, "of all that begin so");
    memset(&typed, 0, sizeof typed);
    buf_reset(&cursor);
    filter.type = SLICE("t2x*");
    read_pages(reader, &filter, false, 9, &cursor, &typed);
    is_uint(typed.count, 0, "a type that is shorter does not");
    buf_reset(&cursor);
    filter = everything();
    filter.since_ns = start_ns + 100 * ms;
    filter.until_ns = start_ns + 150 * ms;
    read_pages(reader, &filter, true, 9, &cursor, &timed);
    is_uint(timed.count, 50, "since is included, until is not: forward");
    memset(&timed, 0, sizeof timed);
    buf_reset(&cursor);
    read_pages(reader, &filter, false, 9, &cursor, &timed);
    is_uint(timed.count, 50, "backward");
    buf_fini(&cursor);
}

/* Follow while others append. */
static void test_follow(struct reader *reader)
{
    struct tally tally = {0};
    struct buf cursor;
    struct event_filter filter = everything();
    unsigned before = (unsigned)(appended[0] + appended[1] + appended[2]);
    buf_init(&cursor, 4096);
    read_pages(reader, &filter, true, 50, &cursor, &tally);
    is_uint(tally.count, before);
    for (unsigned round = 0; round < 30; round++) {
        fill(11);
        read_pages(reader, &filter, true, 4, &cursor, &tally);
    }
    is_uint(tally.count, before + 330, "following from cursor to cursor");
    is_uint(tally.skipped, 0, "nothing was skipped or came twice");
    buf_fini(&cursor);
}

static void test_cursors(struct reader *reader)
{
    static const char *const bad[] = {
        "x", "AQ", "AQAD", "AgAA", "AQAAA", "!!!!", "AQECAAAAAAAAAAEAAAAAAAAAAQ"};
    struct event_scan scan;
    struct event_filter filter = everything();
    struct buf cursor;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        is_int(
            event_scan_begin(&scan, world.catalog, reader, &filter, i % 2 == 0, slice_str(bad[i])),
            BK_INVALID, "cursor %s", bad[i]);
    }
    buf_init(&cursor, 4096);
    is_int(event_scan_begin(&scan, world.catalog, reader, &filter, true, SLICE_EMPTY), BK_OK);
    event_scan_cursor(&scan, &cursor);
    is_int(event_scan_begin(&scan, world.catalog, reader, &filter, false, buf_slice(&cursor)),
           BK_INVALID, "of the other order");
    is_int(event_scan_begin(&scan, world.catalog, reader, &filter, true, buf_slice(&cursor)),
           BK_OK);
    buf_fini(&cursor);
}

static void test_json(struct reader *reader)
{
    struct journal_record record;
    struct buf json;
    char id[EVENT_ID_BYTES];
    append(0, JOURNAL_DUPLICATE, 1, "");
    append(0, JOURNAL_REJECTED, 1, "body");
    world_run(&world);
    buf_init(&json, 1 << 20);
    is_int(reader_get(reader, (struct journal_position){0, appended[0]}, &record), BK_OK);
    event_id_format(record.position, record.entry.received_ns, id);
    is_int(event_get(reader, slice_of(id, sizeof id), &record), BK_OK);
    event_json(NULL, &record, &json);
    const char *text = buf_text(&json);
    char want[1000];
    snprintf(want, sizeof want,
             "{\"id\":\"%.30s\",\"source\":\"7\",\"provider\":\"\",\"type\":\"t1\",\"deliveryId\":"
             "\"d\",\"receivedAt\":\"",
             id);
    ok(strncmp(text, want, strlen(want)) == 0, "begins as it should");
    snprintf(want, sizeof want,
             "\"state\":\"rejected\",\"reason\":\"stale\",\"message\":\"%s\",\"method\":\"POST\","
             "\"target\":"
             "\"/hooks/x?y=1\",\"contentType\":\"text/"
             "plain\",\"headers\":{\"Host\":\"h\",\"X-Type\":\"t1\","
             "\"X-Id\":\"d\",\"X-Two\":\"a, "
             "\\\"b\xef\xbf\xbd\\\"\",\"Content-Type\":\"text/plain\"},\"headerLines\":["
             "\"Host: h\",\"X-Type: t1\",\"X-Id: d\",\"X-Two: a\","
             "\"Content-Type: text/plain\",\"x-two: \\\"b\xef\xbf\xbd\\\"\"],\"size\":4,"
             "\"remote\":\"[::1]:1234\"}",
             scheme_verdict_text(SCHEME_STALE));
    ok(strstr(text, want) != NULL && strcmp(strstr(text, "\"state\""), want) == 0, "and ends");
    is_bytes(event_body(&record).at, event_body(&record).bytes, "body", 4);
    struct json_tree tree;
    struct json_problem problem;
    json_tree_init(&tree);
    is_int(json_parse(buf_slice(&json), &tree, &problem), BK_OK, "is JSON");
    json_tree_fini(&tree);
    buf_reset(&json);
    is_int(reader_get(reader, (struct journal_position){0, appended[0] - 1}, &record), BK_OK);
    event_json(NULL, &record, &json);
    ok(strstr(buf_text(&json), "\"state\":\"duplicate\",\"reason\":\"\",\"duplicateOf\":\"evt_") !=
       NULL);
    buf_fini(&json);
    id[10] = id[10] == 'Z' ? 'Y' : 'Z'; /* another time than the record has */
    is_int(event_get(reader, slice_of(id, sizeof id), &record), BK_NOT_FOUND);
    is_int(event_get(reader, SLICE("evt_nonsense"), &record), BK_INVALID);
}

int main(void)
{
    struct reader *reader = NULL;
    world_init(&world, JOURNALS, 2 << 20);
    is_int(world_open(&world), BK_OK);
    world_run(&world);
    int64_t start_ns = fake_wall_ns;
    fill(400);
    is_int(reader_open(world.catalog, &reader), BK_OK);
    test_pages(reader);
    test_filters(reader, start_ns);
    test_follow(reader);
    test_cursors(reader);
    test_json(reader);
    reader_close(reader);
    world_stop(&world);
    world_fini(&world);
    return done_testing();
}
