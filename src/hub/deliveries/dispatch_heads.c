/* dispatch_heads.c - order per key: keys of which some wait in the store and none is the first.
 *
 * A replay puts them there so. And a crash can leave such: the letter that says who failed is lost,
 * those of later events are not. The oldest of those that wait becomes the head as soon as no
 * letter of the key is on its way and no core owes an older event of it. No letters leave such
 * while the server runs, for the control thread takes those of a key in the order in which they
 * were sent.
 */
#include "base/array.h"
#include "base/assert.h"
#include "hub/deliveries/dispatch_private.h"

#include <stdlib.h>

#define LOOK_NS      10000000ULL
#define LOOK_NS_MAX  (16 * LOOK_NS) /* nothing moved: a paused destination may owe for days */
#define LOOKS_A_STEP 256U

bool heads_reserve(struct dispatch *dispatch, size_t count)
{
    return array_reserve((void **)&dispatch->headless, &dispatch->headless_size,
                         dispatch->headless_count + count, sizeof *dispatch->headless);
}

static bool note(struct dispatch *dispatch, uint64_t destination, uint16_t bucket)
{
    if (!heads_reserve(dispatch, 1)) {
        return false;
    }
    dispatch->headless[dispatch->headless_count++] = (struct headless){destination, bucket};
    return true;
}

void heads_expect(struct dispatch *dispatch, uint64_t destination, uint16_t bucket)
{
    bool noted = false;
    for (size_t i = 0; !noted && i < dispatch->headless_count; i++) {
        const struct headless *one = &dispatch->headless[i];
        noted = one->destination == destination && one->bucket == bucket;
    }
    noted = noted || note(dispatch, destination, bucket);
    bk_assert(noted);
    dispatch->heads_at_ns = 0;
    dispatch->heads_moved = true;
}

struct order_keys *heads_keys(const struct dispatch *dispatch, uint64_t number)
{
    const struct destination *destination =
        route_table_destination(dispatch->config.routes, number);
    return destination ? atomic_load(&destination->state->keys) : NULL;
}

static enum bk_err find_of(struct dispatch *dispatch, struct store_txn *txn, uint64_t number,
                           struct order_keys *keys)
{
    struct retry_row row;
    uint64_t head = 0;
    enum bk_err err = BK_OK;
    for (unsigned bucket = 0; err == BK_OK && bucket < ORDER_BUCKETS; bucket = row.bucket + 1U) {
        err = rows_waiting(txn, number, bucket, &row);
        if (err == BK_OK) {
            err = rows_head(txn, number, row.bucket, &head);
        }
        if (err != BK_OK) {
            break;
        }
        if (head == 0 && keys) {
            atomic_store(&keys->rows[row.bucket], true);
        }
        if (head == 0) {
            err = note(dispatch, number, row.bucket) ? BK_OK : BK_NO_MEMORY;
        }
    }
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err heads_find(struct dispatch *dispatch)
{
    struct store_txn *txn;
    enum bk_err err = store_read(hub_store(dispatch->config.hub), &txn);
    if (err != BK_OK) {
        return err;
    }
    for (size_t i = 0; err == BK_OK && i < dispatch->fares_size; i++) {
        const struct fare *fare = &dispatch->fares[i];
        if (fare->number != 0 && fare->retries > 0 && !fare->removed) {
            err = find_of(dispatch, txn, fare->number, heads_keys(dispatch, fare->number));
        }
    }
    store_read_end(txn);
    return err;
}

bool heads_owed(const struct dispatch *dispatch, uint64_t number, uint16_t bucket, int64_t event_ns)
{
    const struct destination *destination =
        route_table_destination(dispatch->config.routes, number);
    const struct order_keys *keys = heads_keys(dispatch, number);
    bool owed = false;
    for (unsigned core = 0; destination && core < dispatch->config.cores; core++) {
        int64_t of_key = keys ? atomic_load(&keys->oldest_ns[core][bucket]) : 0;
        int64_t of_any = atomic_load(&destination->state->oldest_ns[core]);
        owed |= (of_key != 0 && of_key <= event_ns) || (of_any != 0 && of_any <= event_ns);
    }
    return owed;
}

/* A later one may be under way from a lane, and is the last of its key that goes so; or some went
 * behind the last head. */
static bool is_clear(const struct dispatch *dispatch, struct order_keys *keys,
                     const struct headless *one)
{
    const struct fare *fare = fare_find(dispatch, one->destination);
    if (!keys) {
        return !fare || fare->flying == 0;
    }
    atomic_store(&keys->rows[one->bucket], true);
    return keys->out[one->bucket] == 0 && atomic_load(&keys->flying[one->bucket]) == 0;
}

/* False: it has a head, or nothing waits any more. */
static bool look_at(struct dispatch *dispatch, struct store_txn *txn, const struct headless *one)
{
    struct order_keys *keys = heads_keys(dispatch, one->destination);
    struct retry_row row;
    uint64_t head = 0;
    if (!route_table_destination(dispatch->config.routes, one->destination)) {
        return false;
    }
    enum bk_err err = rows_head(txn, one->destination, one->bucket, &head);
    if (err == BK_OK && head == 0) {
        err = rows_waiting(txn, one->destination, one->bucket, &row);
    }
    if (head != 0 || err == BK_NOT_FOUND || (err == BK_OK && row.bucket != one->bucket)) {
        return false;
    }
    if (err == BK_OK && (!keys || atomic_load(&keys->mail[one->bucket]) == 0) &&
        !heads_owed(dispatch, one->destination, one->bucket, row.event_ns) &&
        is_clear(dispatch, keys, one)) {
        struct delivery_report report = {.kind = REPORT_PROMOTE,
                                         .flags = ATTEMPT_KEYED,
                                         .bucket = one->bucket,
                                         .destination = one->destination};
        (void)!dispatch_queue_own(dispatch, &report); /* else the next look */
    }
    return true;
}

void heads_mend(struct dispatch *dispatch)
{
    uint64_t now_ns = ring_now_ns(dispatch->config.ring);
    struct store_txn *txn;
    dispatch->heads_at_ns = now_ns + LOOK_NS;
    if (store_read(hub_store(dispatch->config.hub), &txn) != BK_OK) {
        return;
    }
    for (unsigned i = 0; i < LOOKS_A_STEP && dispatch->heads_next < dispatch->headless_count; i++) {
        struct headless *one = &dispatch->headless[dispatch->heads_next];
        if (look_at(dispatch, txn, one)) {
            dispatch->heads_next++;
        } else { /* their order does not matter */
            *one = dispatch->headless[--dispatch->headless_count];
            dispatch->heads_moved = true;
        }
    }
    store_read_end(txn);
    if (dispatch->heads_next < dispatch->headless_count) {
        dispatch->heads_at_ns = now_ns;
    } else {
        bool longer = !dispatch->heads_moved && dispatch->heads_pause_ns > 0;
        uint64_t pause_ns = longer ? 2 * dispatch->heads_pause_ns : LOOK_NS;
        dispatch->heads_pause_ns = pause_ns < LOOK_NS_MAX ? pause_ns : LOOK_NS_MAX;
        dispatch->heads_at_ns = now_ns + dispatch->heads_pause_ns;
        dispatch->heads_moved = false;
        dispatch->heads_next = 0;
    }
}
