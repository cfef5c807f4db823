/* dispatch_dead.c - dead letters whose events are gone.
 *
 * A dead letter is there to be looked at and replayed. When retention has taken its event there is
 * nothing left to replay: it is kept for a day, to tell what was given up, and then goes, so that
 * the store does not grow for ever by what nobody took. The rows are looked at in parts, all of
 * them behind a start and once an hour.
 */
#include "base/time.h"
#include "hub/deliveries/dispatch_private.h"

#define LOOKS_A_STEP 4096U
#define DROPS_A_STEP 512U
#define STEP_NS      100000000ULL
#define AGAIN_NS     (3600 * (uint64_t)NS_PER_SECOND)
#define TOLD_NS      (24 * 3600 * (int64_t)NS_PER_SECOND)

struct sweep {
    const struct dispatch *dispatch;
    int64_t ended_before_ns;
    uint32_t journal; /* that the oldest record is of; beyond all: none yet */
    uint64_t oldest;
    unsigned look_count, drop_count;
    struct key *next; /* where to go on; empty: that was all */
    struct {
        uint64_t destination, position;
    } drops[DROPS_A_STEP];
};

static bool is_gone(struct sweep *sweep, uint64_t position)
{
    struct journal_position at = journal_position_unpack(position);
    if (at.journal != sweep->journal) { /* the rows of a destination are in this order */
        sweep->journal = at.journal;
        sweep->oldest = dispatch_oldest(sweep->dispatch, at.journal);
    }
    return at.sequence < sweep->oldest;
}

static bool look(void *context, struct slice key, struct slice value)
{
    struct sweep *sweep = context;
    struct dead_row row;
    if (sweep->look_count++ == LOOKS_A_STEP || sweep->drop_count == DROPS_A_STEP) {
        memcpy(sweep->next->at, key.at, key.bytes);
        sweep->next->bytes = key.bytes;
        return false;
    }
    if (dead_row_decode(key, value, &row) && row.ended_ns < sweep->ended_before_ns &&
        is_gone(sweep, row.position)) {
        sweep->drops[sweep->drop_count].destination = row.destination;
        sweep->drops[sweep->drop_count++].position = row.position;
    }
    return true;
}

static enum bk_err drop(struct store_txn *txn, void *context)
{
    const struct sweep *sweep = context;
    enum bk_err err = BK_OK;
    for (unsigned i = 0; err == BK_OK && i < sweep->drop_count; i++) {
        struct key key;
        key_dead(&key, sweep->drops[i].destination, sweep->drops[i].position);
        err = store_delete(txn, key_slice(&key));
    }
    return err;
}

void dead_sweep(struct dispatch *dispatch)
{
    static struct sweep sweep; /* the control thread's */
    struct store *store = hub_store(dispatch->config.hub);
    struct key from = dispatch->dead_next;
    struct store_txn *txn;
    sweep.dispatch = dispatch;
    sweep.ended_before_ns = ring_wall_ns(dispatch->config.ring) - TOLD_NS;
    sweep.journal = UINT32_MAX;
    sweep.look_count = sweep.drop_count = 0;
    sweep.next = &dispatch->dead_next;
    sweep.next->bytes = 0;
    enum bk_err err = store_read(store, &txn);
    if (err == BK_OK) {
        err = store_walk(txn, SLICE("x/"), key_slice(&from), look, &sweep);
        store_read_end(txn);
    }
    if (err == BK_OK && sweep.drop_count > 0) {
        err = store_update(store, drop, &sweep);
    }
    if (err != BK_OK) {
        sweep.next->bytes = 0;
    }
    dispatch->dead_at_ns =
        ring_now_ns(dispatch->config.ring) + (sweep.next->bytes > 0 ? STEP_NS : AGAIN_NS);
}
