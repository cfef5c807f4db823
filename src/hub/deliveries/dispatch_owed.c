/* dispatch_owed.c - is anything of a journal owed? Retention by age asks before it removes a
 * segment.
 *
 * Owed is what no checkpoint has looked at yet (behind `through`), what lies behind the cursor of a
 * lane, and every event that a retry is of; all that in rows of the store. These may be a million,
 * so they are walked in parts, lanes before retries: an event goes from its lane to the retries and
 * never back. A row that is put in meanwhile, perhaps in front of the walk, is noted. Dead letters
 * had their chance.
 */
#include "hub/deliveries/dispatch_private.h"

#define ROWS_A_STEP 4096U

struct walk {
    struct dispatch *dispatch;
    unsigned count;
    bool more; /* owed.next is where */
};

static bool is_within(const struct owed_look *look, uint64_t journal, uint64_t sequence)
{
    return journal == look->journal && sequence <= look->through;
}

static bool is_there(const struct dispatch *dispatch, uint64_t destination)
{
    return route_table_destination(dispatch->config.routes, destination) != NULL;
}

/* False: enough for this step. */
static bool goes_on(struct walk *walk, struct slice key)
{
    struct key *next = &walk->dispatch->owed.next;
    if (walk->count++ < ROWS_A_STEP) {
        return true;
    }
    memcpy(next->at, key.at, key.bytes);
    next->bytes = key.bytes;
    walk->more = true;
    return false;
}

static bool look_lane(void *context, struct slice key, struct slice value)
{
    struct walk *walk = context;
    struct owed_look *look = &walk->dispatch->owed;
    struct lane_row row;
    if (!goes_on(walk, key)) {
        return false;
    }
    look->found |= lane_row_decode(key, value, &row) && is_within(look, row.journal, row.cursor) &&
                   is_there(walk->dispatch, row.destination);
    return !look->found;
}

static bool look_retry(void *context, struct slice key, struct slice value)
{
    struct walk *walk = context;
    struct owed_look *look = &walk->dispatch->owed;
    struct retry_row row;
    if (!goes_on(walk, key)) {
        return false;
    }
    if (!retry_row_decode(key, value, &row)) {
        return true;
    }
    struct journal_position at = journal_position_unpack(row.position);
    look->found |=
        is_within(look, at.journal, at.sequence) && is_there(walk->dispatch, row.destination);
    return !look->found;
}

/* What no core has told of yet. */
static enum bk_err look_through(struct owed_look *look, struct store_txn *txn)
{
    uint64_t through = 1;
    enum bk_err err = rows_through(txn, look->journal, &through);
    look->found |= is_within(look, look->journal, through);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

static enum bk_err look_on(struct dispatch *dispatch, struct store_txn *txn, struct walk *walk)
{
    struct owed_look *look = &dispatch->owed;
    bool lanes = look->at == OWED_LANES;
    enum bk_err err = BK_OK;
    if (lanes && look->next.bytes == 0) {
        err = look_through(look, txn);
    }
    if (err == BK_OK && !look->found) {
        err = store_walk(txn, lanes ? SLICE("l/") : SLICE("d/"), key_slice(&look->next),
                         lanes ? look_lane : look_retry, walk);
    }
    return err;
}

bool owed_step(struct dispatch *dispatch)
{
    struct owed_look *look = &dispatch->owed;
    struct walk walk = {.dispatch = dispatch};
    struct store_txn *txn;
    if (look->at == OWED_NONE || look->at == OWED_ANSWERED) {
        return false;
    }
    enum bk_err err = store_read(hub_store(dispatch->config.hub), &txn);
    if (err == BK_OK) {
        err = look_on(dispatch, txn, &walk);
        store_read_end(txn);
    }
    look->found |= err != BK_OK; /* not known */
    if (look->found) {
        look->at = OWED_ANSWERED;
    } else if (!walk.more) {
        look->next.bytes = 0;
        look->at = look->at == OWED_LANES ? OWED_RETRIES : OWED_ANSWERED;
    }
    return true;
}

void owed_note(struct dispatch *dispatch, uint64_t position)
{
    struct owed_look *look = &dispatch->owed;
    struct journal_position at = journal_position_unpack(position);
    if (look->at != OWED_NONE && is_within(look, at.journal, at.sequence)) {
        look->found = true;
    }
}

enum catalog_owed dispatch_owed(void *context, uint16_t journal, uint64_t through)
{
    struct dispatch *dispatch = context;
    struct owed_look *look = &dispatch->owed;
    bool mine = look->journal == journal && look->through == through;
    if (route_table_destinations(dispatch->config.routes) == 0) {
        return CATALOG_FREE;
    }
    if (!dispatch->started) {
        return CATALOG_OWED; /* it drains: the next start asks again */
    }
    if (look->at == OWED_ANSWERED && mine) {
        look->at = OWED_NONE;
        return look->found ? CATALOG_OWED : CATALOG_FREE;
    }
    if (look->at == OWED_NONE || look->at == OWED_ANSWERED) {
        *look = (struct owed_look){.at = OWED_LANES, .journal = journal, .through = through};
    }
    return CATALOG_LOOKING;
}
