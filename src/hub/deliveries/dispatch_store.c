/* dispatch_store.c - rows of deliveries in the store (keys: store/keys.h), inside a transaction.
 *
 * Every function gives the same result when it is applied again, so that a start may apply what was
 * committed already.
 */
#include "base/time.h"
#include "hub/deliveries/dispatch_private.h"
#include "store/keys.h"

#define ROW_VERSION  1U
#define RETRY_BYTES  32U
#define DEAD_BYTES   40U
#define CURSOR_BYTES 16U /* and 8 for each settled one */
#define HELD_VERSION 2U  /* a cursor's, with 8 more: the head that failed */

static void put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* ---- how many retries a destination has */

static enum bk_err count_add(struct store_txn *txn, uint64_t destination, int64_t change)
{
    struct key key;
    struct slice value;
    uint8_t at[8];
    uint64_t count = 0;
    key_retry_count(&key, destination);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err == BK_OK && value.bytes == 8) {
        count = key_get_u64(value.at);
    } else if (err != BK_OK && err != BK_NOT_FOUND) {
        return err;
    }
    count = change < 0 && count == 0 ? 0 : count + (uint64_t)change;
    if (count == 0) {
        return store_delete(txn, key_slice(&key));
    }
    key_put_u64(at, count);
    return store_put(txn, key_slice(&key), slice_of(at, sizeof at));
}

/* ---- retries */

enum bk_err rows_put_retry(struct store_txn *txn, const struct retry_row *row)
{
    struct key key;
    struct slice value;
    uint8_t at[RETRY_BYTES] = {ROW_VERSION, row->flags};
    key_retry(&key, row->destination, (uint64_t)row->due_ms, row->position);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err != BK_NOT_FOUND) {
        return err;
    }
    put_u16(at + 2, row->status);
    put_u16(at + 4, (uint16_t)(row->number >> 16));
    put_u16(at + 6, (uint16_t)row->number);
    key_put_u64(at + 8, (uint64_t)row->event_ns);
    key_put_u64(at + 16, row->source);
    key_put_u64(at + 24, (uint64_t)row->pace_us << 32 | row->bucket);
    err = store_put(txn, key_slice(&key), slice_of(at, sizeof at));
    return err == BK_OK ? count_add(txn, row->destination, 1) : err;
}

bool retry_row_decode(struct slice key, struct slice value, struct retry_row *ret_row)
{
    if (key.bytes != 26 || value.bytes != RETRY_BYTES || value.at[0] != ROW_VERSION) {
        return false;
    }
    *ret_row = (struct retry_row){
        .destination = key_get_u64(key.at + 2),
        .due_ms = (int64_t)key_get_u64(key.at + 10),
        .position = key_get_u64(key.at + 18),
        .flags = value.at[1],
        .status = get_u16(value.at + 2),
        .number = (uint32_t)get_u16(value.at + 4) << 16 | get_u16(value.at + 6),
        .event_ns = (int64_t)key_get_u64(value.at + 8),
        .source = key_get_u64(value.at + 16),
        .bucket = (uint16_t)(key_get_u64(value.at + 24) % ORDER_BUCKETS),
        .pace_us = (uint32_t)(key_get_u64(value.at + 24) >> 32),
    };
    return true;
}

/* BK_NOT_FOUND: there is none. */
static enum bk_err take_retry(struct store_txn *txn, uint64_t destination, int64_t due_ms,
                              uint64_t position)
{
    struct key key;
    struct slice value;
    key_retry(&key, destination, (uint64_t)due_ms, position);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err == BK_OK) {
        err = store_delete(txn, key_slice(&key));
    }
    return err == BK_OK ? count_add(txn, destination, -1) : err;
}

enum bk_err rows_move_retry(struct store_txn *txn, const struct retry_row *row, int64_t due_ms)
{
    struct retry_row moved = *row;
    moved.due_ms = due_ms;
    enum bk_err err = take_retry(txn, row->destination, row->due_ms, row->position);
    return err == BK_OK ? rows_put_retry(txn, &moved) : err;
}

static enum bk_err delete_retry(struct store_txn *txn, uint64_t destination, int64_t due_ms,
                                uint64_t position)
{
    enum bk_err err = take_retry(txn, destination, due_ms, position);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err rows_drop_retry(struct store_txn *txn, const struct retry_row *row)
{
    return delete_retry(txn, row->destination, row->due_ms, row->position);
}

/* ---- dead letters */

static enum bk_err put_dead(struct store_txn *txn, const struct delivery_report *report)
{
    struct key key;
    uint8_t at[DEAD_BYTES + ATTEMPT_WHY_BYTES_MAX] = {ROW_VERSION, report->flags};
    size_t why = strnlen(report->why, sizeof report->why);
    put_u16(at + 2, report->status);
    put_u16(at + 4, (uint16_t)(report->number >> 16));
    put_u16(at + 6, (uint16_t)report->number);
    key_put_u64(at + 8, (uint64_t)report->event_ns);
    key_put_u64(at + 16, report->source);
    key_put_u64(at + 24, (uint64_t)report->ended_ns);
    key_put_u64(at + 32, 0);
    memcpy(at + DEAD_BYTES, report->why, why);
    key_dead(&key, report->destination, report->position);
    return store_put(txn, key_slice(&key), slice_of(at, DEAD_BYTES + why));
}

bool dead_row_decode(struct slice key, struct slice value, struct dead_row *ret_row)
{
    if (key.bytes != 18 || value.bytes < DEAD_BYTES || value.at[0] != ROW_VERSION) {
        return false;
    }
    *ret_row = (struct dead_row){
        .destination = key_get_u64(key.at + 2),
        .position = key_get_u64(key.at + 10),
        .flags = value.at[1],
        .status = get_u16(value.at + 2),
        .number = (uint32_t)get_u16(value.at + 4) << 16 | get_u16(value.at + 6),
        .event_ns = (int64_t)key_get_u64(value.at + 8),
        .source = key_get_u64(value.at + 16),
        .ended_ns = (int64_t)key_get_u64(value.at + 24),
        .why = slice_skip(value, DEAD_BYTES),
    };
    return true;
}

/* ---- what the cores say */

static struct retry_row row_of(const struct delivery_report *report, int64_t due_ms)
{
    return (struct retry_row){.destination = report->destination,
                              .due_ms = due_ms,
                              .position = report->position,
                              .number = report->number,
                              .flags = report->flags,
                              .bucket = report->bucket,
                              .status = report->status,
                              .event_ns = report->event_ns,
                              .source = report->source,
                              .pace_us = retry_is_paced(due_ms) ? report->pace_us : 0};
}

/* ---- order per key: one row of each key is due, its head; the others wait behind it */

#define HEAD_DUE_MS 1 /* now, and before whatever else is due */

static enum bk_err head_get(struct store_txn *txn, const struct delivery_report *report,
                            uint64_t *ret_position)
{
    struct key key;
    struct slice value;
    *ret_position = 0;
    key_bucket(&key, report->destination, report->bucket);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err == BK_OK && value.bytes == 8) {
        *ret_position = key_get_u64(value.at);
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* 0: none. */
static enum bk_err head_set(struct store_txn *txn, const struct delivery_report *report,
                            uint64_t position)
{
    struct key key;
    uint8_t at[8];
    key_bucket(&key, report->destination, report->bucket);
    if (position == 0) {
        return store_delete(txn, key_slice(&key));
    }
    key_put_u64(at, position);
    return store_put(txn, key_slice(&key), slice_of(at, sizeof at));
}

struct search {
    bool found;
    struct retry_row row;
};

static bool first_row(void *context, struct slice key, struct slice value)
{
    struct search *search = context;
    search->found = retry_row_decode(key, value, &search->row);
    return false;
}

/* Of this bucket alone; none is no error. */
static enum bk_err first_waiting(struct store_txn *txn, uint64_t destination, uint16_t bucket,
                                 struct search *search)
{
    enum bk_err err = rows_waiting(txn, destination, bucket, &search->row);
    search->found = err == BK_OK && search->row.bucket == bucket;
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* The head is settled: the oldest one that waits for it is the next. With `known`, only one that
 * came from a lane: what was put in by hand may be younger than those that are on their way here
 * (dispatch_heads.c). */
static enum bk_err head_next(struct store_txn *txn, struct delivery_report *report, bool known)
{
    struct search search = {.found = false};
    enum bk_err err = first_waiting(txn, report->destination, report->bucket, &search);
    bool more = search.found && !(known && search.row.pace_us != 0);
    if (err == BK_OK) {
        err = head_set(txn, report, more ? search.row.position : 0);
    }
    if (err == BK_OK && more) {
        err = delete_retry(txn, search.row.destination, search.row.due_ms, search.row.position);
    }
    if (err == BK_OK && more) {
        search.row.due_ms = HEAD_DUE_MS;
        err = rows_put_retry(txn, &search.row);
        report->promoted = true;
        report->promoted_position = search.row.position;
    }
    return err;
}

static enum bk_err keyed_persist(struct store_txn *txn, struct delivery_report *report,
                                 uint64_t head)
{
    bool waits = report->kind == REPORT_WAITS;
    bool is_head = head == report->position;
    if (is_head && waits) { /* from before a crash */
        return BK_OK;
    }
    bool first = is_head || (head == 0 && !waits && !report->recovered);
    struct retry_row row =
        row_of(report, first ? report->due_ms : order_waiting_ms(report->bucket, report->event_ns));
    enum bk_err err = first && !is_head ? head_set(txn, report, report->position) : BK_OK;
    if (err == BK_OK) {
        err = rows_put_retry(txn, &row);
    }
    /* The one that failed was settled meanwhile, and nothing older is on its way. */
    return err == BK_OK && !first && head == 0 ? head_next(txn, report, false) : err;
}

static enum bk_err keyed_settle(struct store_txn *txn, struct delivery_report *report,
                                uint64_t head)
{
    if (head == report->position) {
        return head_next(txn, report, true);
    }
    return delete_retry(txn, report->destination,
                        order_waiting_ms(report->bucket, report->event_ns), report->position);
}

static enum bk_err count_get(struct store_txn *txn, uint64_t destination, int64_t *ret_count)
{
    struct key key;
    struct slice value;
    key_retry_count(&key, destination);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    *ret_count = err == BK_OK && value.bytes == 8 ? (int64_t)key_get_u64(value.at) : 0;
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* The row that the try was made from goes. */
static enum bk_err keyed_take(struct store_txn *txn, const struct delivery_report *report,
                              uint64_t head, bool *ret_taken)
{
    enum bk_err err = BK_NOT_FOUND;
    *ret_taken = false;
    if (report->previous_due_ms != 0) {
        err = take_retry(txn, report->destination, report->previous_due_ms, report->position);
        *ret_taken = err == BK_OK;
    }
    if ((err == BK_OK || err == BK_NOT_FOUND) && head == report->position &&
        report->kind != REPORT_WAITS) {
        /* It went behind the head, and became it meanwhile: no row of it must stay. */
        err = take_retry(txn, report->destination, HEAD_DUE_MS, report->position);
        *ret_taken = *ret_taken || err == BK_OK;
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

/* A start reads a try whose row is not there: the store knew of it before the crash. It was of one
 * that waited, and maybe there were later ones, which are in another core's journal; or it is of
 * the head, which has another row since, of a later try or of a replay. */
static bool is_known(const struct delivery_report *report, uint64_t head, bool taken)
{
    return report->recovered && !taken &&
           (head == report->position ||
            (report->kind == REPORT_AGAIN && order_is_waiting(report->previous_due_ms)));
}

/* A start reads a try from before a replay was asked for: the row that is there now is the
 * replay's, which nothing has tried yet. A clock that was set back in between repeats it. */
static enum bk_err is_before_replay(struct store_txn *txn, const struct delivery_report *report,
                                    uint64_t head, bool *ret_before)
{
    struct key key;
    struct slice value;
    struct retry_row row;
    *ret_before = false;
    if (!report->recovered) {
        return BK_OK;
    }
    int64_t due_ms =
        head == report->position ? HEAD_DUE_MS : order_waiting_ms(report->bucket, report->event_ns);
    key_retry(&key, report->destination, (uint64_t)due_ms, report->position);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err == BK_OK && retry_row_decode(key_slice(&key), value, &row)) {
        int32_t since_ms = (int32_t)((uint32_t)(report->ended_ns / NS_PER_MS) - row.pace_us);
        *ret_before = (row.flags & ATTEMPT_REPLAY) != 0 &&
                      ((report->flags & ATTEMPT_REPLAY) == 0 || since_ms < 0);
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

static enum bk_err keyed_apply(struct store_txn *txn, struct delivery_report *report)
{
    uint64_t head = 0;
    int64_t before = 0, after = 0;
    bool taken = false, old = false;
    enum bk_err err = count_get(txn, report->destination, &before);
    report->promoted = false;
    if (err == BK_OK) {
        err = head_get(txn, report, &head);
    }
    if (err == BK_OK) {
        err = is_before_replay(txn, report, head, &old);
    }
    if (old) {
        return err;
    }
    if (err == BK_OK) {
        err = keyed_take(txn, report, head, &taken);
    }
    bool persist = report->kind == REPORT_AGAIN || report->kind == REPORT_WAITS;
    if (err == BK_OK && report->kind == REPORT_PROMOTE) {
        err = head == 0 ? head_next(txn, report, false) : BK_OK;
    } else if (err == BK_OK && !is_known(report, head, taken)) {
        err = persist ? keyed_persist(txn, report, head) : keyed_settle(txn, report, head);
    }
    if (err == BK_OK) {
        err = head_get(txn, report, &head);
    }
    if (err == BK_OK) {
        err = count_get(txn, report->destination, &after);
    }
    struct search search = {.found = false};
    if (err == BK_OK && head == 0) {
        err = first_waiting(txn, report->destination, report->bucket, &search);
    }
    report->headless = search.found;
    report->blocks = head != 0 || search.found;
    report->rows_change = (int)(after - before);
    return err;
}

enum bk_err rows_apply_report(struct store_txn *txn, struct delivery_report *report)
{
    enum bk_err err = BK_OK;
    if (report->kind == REPORT_REFUSED) {
        return BK_OK;
    }
    bool keyed = (report->flags & ATTEMPT_KEYED) != 0;
    if (keyed) {
        err = keyed_apply(txn, report);
    } else if (report->previous_due_ms != 0) {
        err = delete_retry(txn, report->destination, report->previous_due_ms, report->position);
    }
    if (err == BK_OK && report->kind == REPORT_AGAIN && !keyed) {
        struct retry_row row = row_of(report, report->due_ms);
        err = rows_put_retry(txn, &row);
    }
    if (err == BK_OK && report->kind == REPORT_DEAD) {
        err = put_dead(txn, report);
    }
    if (err == BK_OK && report->kind == REPORT_SETTLED) { /* a dead one that was replayed */
        struct key key;
        key_dead(&key, report->destination, report->position);
        err = store_delete(txn, key_slice(&key));
    }
    return err;
}

enum bk_err rows_waiting(struct store_txn *txn, uint64_t destination, unsigned bucket,
                         struct retry_row *ret_row)
{
    struct search search = {.found = false};
    struct key prefix, from;
    key_of_destination(&prefix, 'd', destination);
    key_retry(&from, destination, (uint64_t)order_waiting_ms((uint16_t)bucket, 0), 0);
    enum bk_err err = store_walk(txn, key_slice(&prefix), key_slice(&from), first_row, &search);
    if (err == BK_OK && (!search.found || !order_is_waiting(search.row.due_ms))) {
        err = BK_NOT_FOUND;
    }
    if (err == BK_OK) {
        *ret_row = search.row;
    }
    return err;
}

enum bk_err rows_head(struct store_txn *txn, uint64_t destination, uint16_t bucket,
                      uint64_t *ret_position)
{
    struct delivery_report report = {.destination = destination, .bucket = bucket};
    return head_get(txn, &report, ret_position);
}

enum bk_err rows_put_lane(struct store_txn *txn, const struct lane_row *row, const uint64_t *done)
{
    struct key key;
    struct buf value;
    bool held = row->held_sequence >= row->cursor && row->held_number > 0;
    uint8_t at[CURSOR_BYTES + 8] = {held ? HELD_VERSION : ROW_VERSION};
    key_lane(&key, row->destination, row->journal);
    if (row->cursor == 0) {
        return store_delete(txn, key_slice(&key));
    }
    buf_init(&value, sizeof at + 8 * row->done_count);
    put_u16(at + 4, (uint16_t)(row->held_number >> 16));
    put_u16(at + 6, (uint16_t)row->held_number);
    key_put_u64(at + 8, row->cursor);
    key_put_u64(at + CURSOR_BYTES, row->held_sequence);
    buf_add(&value, at, held ? sizeof at : CURSOR_BYTES);
    for (size_t i = 0; i < row->done_count; i++) {
        uint8_t number[8];
        key_put_u64(number, done[i]);
        buf_add(&value, number, sizeof number);
    }
    enum bk_err err =
        value.overflow ? BK_NO_MEMORY : store_put(txn, key_slice(&key), buf_slice(&value));
    buf_fini(&value);
    return err;
}

bool lane_row_decode(struct slice key, struct slice value, struct lane_row *ret_row)
{
    size_t fixed = value.bytes > 0 && value.at[0] == HELD_VERSION ? CURSOR_BYTES + 8 : CURSOR_BYTES;
    if (key.bytes != 12 || value.bytes < fixed ||
        (value.at[0] != ROW_VERSION && value.at[0] != HELD_VERSION) ||
        (value.bytes - fixed) % 8 != 0) {
        return false;
    }
    bool held = fixed > CURSOR_BYTES;
    uint32_t number = (uint32_t)get_u16(value.at + 4) << 16 | get_u16(value.at + 6);
    *ret_row = (struct lane_row){.destination = key_get_u64(key.at + 2),
                                 .journal = get_u16(key.at + 10),
                                 .cursor = key_get_u64(value.at + 8),
                                 .held_sequence = held ? key_get_u64(value.at + CURSOR_BYTES) : 0,
                                 .held_number = held ? number : 0,
                                 .done_count = (value.bytes - fixed) / 8,
                                 .done = value.at + fixed};
    return true;
}

enum bk_err rows_put_through(struct store_txn *txn, uint16_t journal, uint64_t through)
{
    struct key key;
    uint8_t at[8];
    key_through(&key, journal);
    key_put_u64(at, through);
    return store_put(txn, key_slice(&key), slice_of(at, sizeof at));
}

enum bk_err rows_through(struct store_txn *txn, uint16_t journal, uint64_t *ret_through)
{
    struct key key;
    struct slice value;
    key_through(&key, journal);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err == BK_OK && value.bytes != 8) {
        err = BK_CORRUPT;
    }
    if (err == BK_OK) {
        *ret_through = key_get_u64(value.at);
    }
    return err;
}

enum bk_err rows_put_clock(struct store_txn *txn, int64_t now_ms)
{
    uint8_t at[8];
    key_put_u64(at, (uint64_t)now_ms);
    return store_put(txn, KEY_DELIVERIES_CLOCK, slice_of(at, sizeof at));
}

enum bk_err rows_clock(struct store_txn *txn, int64_t *ret_ms)
{
    struct slice value;
    *ret_ms = 0;
    enum bk_err err = store_get(txn, KEY_DELIVERIES_CLOCK, &value);
    if (err == BK_OK && value.bytes == 8) {
        *ret_ms = (int64_t)key_get_u64(value.at);
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err rows_apply_checkpoint(struct store_txn *txn, const struct checkpoint *checkpoint,
                                  const struct route_table *routes)
{
    enum bk_err err = BK_OK;
    for (size_t i = 0; err == BK_OK && i < checkpoint->lane_count; i++) {
        const struct checkpoint_lane *lane = &checkpoint->lanes[i];
        bool there = route_table_destination(routes, lane->destination) != NULL;
        struct lane_row row = {.destination = lane->destination,
                               .journal = lane->journal,
                               .cursor = there ? lane->cursor : 0,
                               .held_sequence = lane->held_sequence,
                               .held_number = lane->held_number,
                               .done_count = lane->done_count};
        err = rows_put_lane(txn, &row, checkpoint->done + lane->done_at);
    }
    return err == BK_OK ? rows_put_through(txn, checkpoint->core, checkpoint->through) : err;
}

/* ---- a destination that was deleted */

#define REMOVE_MAX 512U

struct removal {
    unsigned count;
    struct key keys[REMOVE_MAX];
};

static bool collect(void *context, struct slice key, struct slice value)
{
    struct removal *removal = context;
    (void)value;
    struct key *to = &removal->keys[removal->count++];
    memcpy(to->at, key.at, key.bytes);
    to->bytes = key.bytes;
    return removal->count < REMOVE_MAX;
}

enum bk_err rows_remove(struct store_txn *txn, uint64_t destination, bool *ret_done)
{
    static const char prefixes[] = {'d', 'b', 'x', 'l', 'D'};
    static struct removal removal; /* the control thread's */
    removal.count = 0;
    enum bk_err err = BK_OK;
    for (unsigned i = 0; err == BK_OK && removal.count < REMOVE_MAX && i < sizeof prefixes; i++) {
        struct key prefix;
        key_of_destination(&prefix, prefixes[i], destination);
        err = store_walk(txn, key_slice(&prefix), SLICE_EMPTY, collect, &removal);
    }
    for (unsigned i = 0; err == BK_OK && i < removal.count; i++) {
        err = store_delete(txn, key_slice(&removal.keys[i]));
    }
    *ret_done = removal.count < REMOVE_MAX;
    return err;
}
