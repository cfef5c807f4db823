/* Description: rows of deliveries in order per key: what a report makes of them, and that a start
 * which reads a report once more, from the journal of whichever core, brings nothing back. */
#include "hub/deliveries/dispatch_private.h"
#include "store/store.h"
#include "tests/directory.h"

#include <unistd.h>

#define DESTINATION 101U
#define BUCKET      7U

/* Of one key, the oldest first; two journals. */
static const struct event {
    uint64_t position;
    int64_t event_ns;
} first = {1ULL << 48 | 10, 1000000}, second = {2ULL << 48 | 20, 2000000},
  third = {1ULL << 48 | 11, 3000000};

static struct store *store;

static enum bk_err apply(struct store_txn *txn, void *context)
{
    return rows_apply_report(txn, context);
}

static struct delivery_report report_of(enum report_kind kind, const struct event *event)
{
    return (struct delivery_report){.kind = kind,
                                    .flags = ATTEMPT_KEYED,
                                    .bucket = BUCKET,
                                    .number = kind == REPORT_WAITS ? 0 : 1,
                                    .status = kind == REPORT_AGAIN ? 500 : 0,
                                    .destination = DESTINATION,
                                    .position = event->position,
                                    .event_ns = event->event_ns};
}

static void tell(struct delivery_report report)
{
    if (store_update(store, apply, &report) != BK_OK) {
        bail_out("the store takes nothing");
    }
}

static int64_t waiting_ms(const struct event *event)
{
    return order_waiting_ms(BUCKET, event->event_ns);
}

/* A try that failed; previous_ms: the row that it was made from, 0 = its lane. */
static struct delivery_report failed(const struct event *event, int64_t previous_ms, int64_t due_ms)
{
    struct delivery_report report = report_of(REPORT_AGAIN, event);
    report.previous_due_ms = previous_ms;
    report.due_ms = due_ms;
    return report;
}

static struct delivery_report delivered(const struct event *event, int64_t previous_ms)
{
    struct delivery_report report = report_of(REPORT_SETTLED, event);
    report.previous_due_ms = previous_ms;
    return report;
}

static struct delivery_report read_again(struct delivery_report report)
{
    report.recovered = true;
    return report;
}

struct rows {
    unsigned count;
    char text[400];
};

static bool add_row(void *context, struct slice key, struct slice value)
{
    struct rows *rows = context;
    struct retry_row row;
    if (!retry_row_decode(key, value, &row)) {
        return true;
    }
    size_t used = strlen(rows->text);
    char due[24] = "waits";
    if (!order_is_waiting(row.due_ms)) {
        snprintf(due, sizeof due, "%lld", (long long)row.due_ms);
    }
    snprintf(rows->text + used, sizeof rows->text - used, "%s%s %s", rows->count++ ? ", " : "",
             row.position == first.position    ? "first"
             : row.position == second.position ? "second"
                                               : "third",
             due);
    return true;
}

/* "HEAD: ROW, ROW" in the order of the rows' times. */
static const char *rows_text(void)
{
    static struct rows rows;
    struct store_txn *txn;
    uint64_t head = 0;
    rows = (struct rows){0};
    if (store_read(store, &txn) != BK_OK || rows_head(txn, DESTINATION, BUCKET, &head) != BK_OK) {
        bail_out("the store cannot be read");
    }
    snprintf(rows.text, sizeof rows.text, "%s: ",
             head == 0                 ? "none"
             : head == first.position  ? "first"
             : head == second.position ? "second"
                                       : "third");
    (void)!store_walk(txn, SLICE("d/"), SLICE_EMPTY, add_row, &rows);
    store_read_end(txn);
    return rows.text;
}

/* The first one fails, two wait; it is delivered with the second one behind it, which fails. */
static void begin(void)
{
    tell(failed(&first, 0, 5000));
    tell(report_of(REPORT_WAITS, &second));
    tell(report_of(REPORT_WAITS, &third));
    is_str(rows_text(), "first: first 5000, second waits, third waits",
           "the others wait behind it");
}

static void end(void)
{
    tell(delivered(&second, 6000));
    is_str(rows_text(), "third: third 1", "settled: the next one goes");
    tell(delivered(&third, 1));
    is_str(rows_text(), "none: ", "all are");
}

/* The try of the one that waited is in another core's journal than what became of it later. A start
 * that reads that journal from further back finds it when the store knows all of it. */
static void test_known(void)
{
    begin();
    tell(delivered(&first, 5000));
    is_str(rows_text(), "second: second 1, third waits", "the next one is the head");
    struct delivery_report behind = failed(&second, waiting_ms(&second), 6000);
    tell(behind);
    is_str(rows_text(), "second: second 6000, third waits", "its try, behind the first, failed");
    tell(read_again(behind));
    is_str(rows_text(), "second: second 6000, third waits", "read again by a start: the same");
    tell(delivered(&second, 6000));
    is_str(rows_text(), "third: third 1");
    tell(read_again(behind));
    is_str(rows_text(), "third: third 1", "read again when it was settled: it does not come back");
    tell(delivered(&third, 1));
    tell(read_again(behind));
    is_str(rows_text(), "none: ", "nor when nothing is left");
}

/* The store did not know of it before the crash. */
static void test_unknown(void)
{
    begin();
    struct delivery_report behind = failed(&second, waiting_ms(&second), 6000);
    tell(read_again(delivered(&first, 5000)));
    tell(read_again(behind));
    is_str(rows_text(), "second: second 6000, third waits", "a start: the head's row moves");
    end();
    begin();
    tell(read_again(behind)); /* this core's journal is read before the other one's */
    is_str(rows_text(), "first: first 5000, second waits, third waits",
           "the first one's success comes later: it goes on waiting");
    tell(read_again(delivered(&first, 5000)));
    is_str(rows_text(), "second: second 1, third waits");
    tell(delivered(&second, 1));
    tell(delivered(&third, 1));
    is_str(rows_text(), "none: ");
}

static enum bk_err put(struct store_txn *txn, void *context)
{
    return rows_put_retry(txn, context);
}

/* Asked for in the second 4. */
static void replay(const struct event *event)
{
    struct retry_row row = {.destination = DESTINATION,
                            .due_ms = waiting_ms(event),
                            .position = event->position,
                            .flags = ATTEMPT_KEYED | ATTEMPT_REPLAY,
                            .bucket = BUCKET,
                            .event_ns = event->event_ns,
                            .pace_us = 4000};
    if (store_update(store, put, &row) != BK_OK) {
        bail_out("the store takes nothing");
    }
}

static struct delivery_report replayed(struct delivery_report report, int64_t ended_s)
{
    report.flags |= ATTEMPT_REPLAY;
    report.ended_ns = ended_s * 1000000000;
    return report;
}

/* Delivered, replayed, and a crash before the tries of the first time are behind a checkpoint: they
 * are read again, and end nothing of the replay. */
static void test_replay(void)
{
    struct delivery_report promote = {.kind = REPORT_PROMOTE,
                                      .flags = ATTEMPT_KEYED,
                                      .bucket = BUCKET,
                                      .destination = DESTINATION};
    struct delivery_report before[] = {failed(&first, 0, 5000), report_of(REPORT_WAITS, &second),
                                       delivered(&first, 5000), delivered(&second, 1),
                                       replayed(delivered(&second, 1), 3)};
    for (size_t i = 0; i < 4; i++) {
        tell(before[i]);
    }
    is_str(rows_text(), "none: ", "both were delivered");
    replay(&first);
    replay(&second);
    is_str(rows_text(), "none: first waits, second waits", "and are to be again");
    tell(read_again(delivered(&second, waiting_ms(&second))));
    is_str(rows_text(), "none: first waits, second waits", "a try from before ends no replay");
    tell(promote);
    is_str(rows_text(), "first: first 1, second waits", "the oldest goes first");
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
        tell(read_again(before[i]));
    }
    is_str(rows_text(), "first: first 1, second waits", "nor do all of them");
    struct delivery_report again = replayed(failed(&first, 1, 9000), 5);
    tell(again);
    is_str(rows_text(), "first: first 9000, second waits", "it fails, and the other one waits");
    for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
        tell(read_again(before[i]));
    }
    tell(read_again(again));
    is_str(rows_text(), "first: first 9000, second waits", "still, behind a start");
    tell(read_again(replayed(delivered(&first, 9000), 9)));
    is_str(rows_text(), "none: second waits", "until the replay was taken");
    tell(promote); /* which waits for what is on its way there */
    is_str(rows_text(), "second: second 1", "and the other one goes");
    tell(read_again(replayed(delivered(&second, 1), 3)));
    is_str(rows_text(), "second: second 1", "a replay of before was another one");
    tell(read_again(replayed(delivered(&second, 1), 10)));
    is_str(rows_text(), "none: ", "both were");
}

int main(void)
{
    char directory[200], why[STORE_WHY_BYTES];
    test_directory(directory, sizeof directory, false);
    if (store_open(directory, NULL, &store, why) != BK_OK) {
        bail_out("no store");
    }
    test_known();
    test_unknown();
    test_replay();
    store_close(store);
    test_directory_drop(directory);
    return done_testing();
}
