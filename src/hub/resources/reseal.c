#include "hub/resources/reseal.h"

#include "base/log.h"
#include "base/time.h"
#include "hub/data_key.h"
#include "hub/hub_private.h"
#include "hub/operations/former.h"

#include <stdlib.h>

#define VALUE_BYTES_MAX (32U << 20)
#define RETRY_NS        NS_PER_SECOND

/* In one value: the bytes with every sealed part under the present key, appended to `fresh`.
 * BK_EXISTS: they are so already. */
typedef enum bk_err renew_fn(const struct hub *hub, struct slice key, struct slice value,
                             struct buf *fresh);

struct place {
    char prefix[3];
    renew_fn *renew;
};

struct reseal {
    struct hub *hub;
    bool running;
    bool again;           /* not the first round */
    unsigned place;       /* of places[] */
    struct key from;      /* the last one that was looked at; 0 bytes = none */
    uint64_t round_found; /* in this round */
    uint64_t done, looked, total;
    enum bk_err err; /* of the last step */
    struct key stale[RESEAL_LOOKS];
    unsigned stale_count;
    /* of one step */
    unsigned seen;
    size_t seen_bytes;
    bool full; /* it ended before the place did */
    bool no_memory;
    struct buf fresh;
};

/* ---- values */

/* A sealed part of a value that is already in `fresh`, at this offset. */
static enum bk_err renew_part(const struct hub *hub, const uint8_t record_id[16],
                              struct slice field, struct slice sealed, size_t offset,
                              struct buf *fresh)
{
    return fresh->overflow ? BK_NO_MEMORY
                           : seal_renew(&hub->seal, record_id, field, sealed, fresh->at + offset);
}

static enum bk_err renew_object(const struct hub *hub, struct slice key, struct slice value,
                                struct buf *fresh)
{
    struct record record;
    struct record_slot slot;
    (void)key;
    enum bk_err err = record_decode(value, &record);
    if (err != BK_OK) {
        return err;
    }
    enum bk_err renewed = BK_EXISTS;
    struct slice rest = record.slots;
    buf_add_slice(fresh, value);
    while (record_slot_next(&rest, &slot)) {
        err = renew_part(hub, record.id, slot.field, slot.sealed,
                         (size_t)(slot.sealed.at - value.at), fresh);
        if (err != BK_OK && err != BK_EXISTS) {
            return err;
        }
        renewed = err == BK_OK ? BK_OK : renewed;
    }
    return renewed;
}

/* The rest of the value behind `head` bytes. */
static enum bk_err renew_behind(const struct hub *hub, const uint8_t record_id[16],
                                const char *field, size_t head, struct slice value,
                                struct buf *fresh)
{
    buf_add_slice(fresh, value);
    return value.bytes < head
               ? BK_CORRUPT
               : renew_part(hub, record_id, slice_str(field), slice_skip(value, head), head, fresh);
}

/* "k/" u64: u8 version, i64, i64, sealed for the number (keys/oidc_issuer.c). */
static enum bk_err renew_signing_key(const struct hub *hub, struct slice key, struct slice value,
                                     struct buf *fresh)
{
    uint8_t record_id[16] = {0};
    if (key.bytes != 10) {
        return BK_CORRUPT;
    }
    memcpy(record_id + 8, key.at + 2, 8);
    return renew_behind(hub, record_id, "oidc", 17, value, fresh);
}

/* "J/" 32 bytes: u8 version, i64 end, sealed for the first half of them (people/session.c). */
static enum bk_err renew_sign_in(const struct hub *hub, struct slice key, struct slice value,
                                 struct buf *fresh)
{
    return key.bytes != 34 ? BK_CORRUPT : renew_behind(hub, key.at + 2, "sign-in", 9, value, fresh);
}

/* "y/": 16 id, field \0, u32 bytes, sealed, … (people/people.c). */
static enum bk_err renew_revocation(const struct hub *hub, struct slice key, struct slice value,
                                    struct buf *fresh)
{
    (void)key;
    if (value.bytes < 16) {
        return BK_CORRUPT;
    }
    struct slice rest = slice_skip(value, 16);
    struct slice field = slice_of(rest.at, slice_find(rest, 0));
    if (field.bytes == rest.bytes || rest.bytes - field.bytes < 5) {
        return BK_CORRUPT;
    }
    rest = slice_skip(rest, field.bytes + 1);
    size_t bytes =
        (size_t)rest.at[0] << 24 | (size_t)rest.at[1] << 16 | (size_t)rest.at[2] << 8 | rest.at[3];
    rest = slice_skip(rest, 4);
    if (bytes > rest.bytes) {
        return BK_CORRUPT;
    }
    buf_add_slice(fresh, value);
    return renew_part(hub, value.at, field, slice_of(rest.at, bytes), (size_t)(rest.at - value.at),
                      fresh);
}

static enum bk_err renew_operation(const struct hub *hub, struct slice key, struct slice value,
                                   struct buf *fresh)
{
    (void)key;
    return former_renew(hub, value, fresh);
}

/* In this order: what is moved into another row, is moved to a later one. */
static const struct place places[] = {
    {"o/", renew_object},  {"k/", renew_signing_key}, {"q/", renew_operation},
    {"J/", renew_sign_in}, {"y/", renew_revocation},
};
#define PLACE_COUNT (sizeof places / sizeof places[0])

/* ---- a step */

static bool look_at_one(void *context, struct slice key, struct slice value)
{
    struct reseal *reseal = context;
    if (slice_equal(key, key_slice(&reseal->from))) {
        return true; /* where the step before ended */
    }
    buf_reset(&reseal->fresh);
    enum bk_err err = places[reseal->place].renew(reseal->hub, key, value, &reseal->fresh);
    if (err == BK_NO_MEMORY || reseal->fresh.overflow) {
        reseal->no_memory = true; /* passed over, it would be lost with the key before */
        return false;
    }
    reseal->from.bytes = 0;
    key_add(&reseal->from, key.at, key.bytes);
    if (err == BK_OK) {
        reseal->stale[reseal->stale_count++] = reseal->from;
    } else if (err != BK_EXISTS) {
        log_event(LOG_ERROR, "a record cannot be sealed anew, and is left as it is",
                  LOG_Z("place", places[reseal->place].prefix), LOG_Z("why", bk_err_text(err)));
    }
    reseal->seen++;
    reseal->seen_bytes += value.bytes;
    reseal->full = reseal->seen == RESEAL_LOOKS || reseal->seen_bytes >= RESEAL_BYTES;
    return !reseal->full;
}

/* Again, in the transaction: it may have changed since. */
static enum bk_err renew_stale(struct store_txn *txn, void *context)
{
    struct reseal *reseal = context;
    for (unsigned i = 0; i < reseal->stale_count; i++) {
        struct slice key = key_slice(&reseal->stale[i]), value;
        enum bk_err err = store_get(txn, key, &value);
        if (err == BK_NOT_FOUND) {
            continue;
        }
        buf_reset(&reseal->fresh);
        if (err == BK_OK) {
            err = places[reseal->place].renew(reseal->hub, key, value, &reseal->fresh);
        }
        if (err == BK_OK) {
            err = reseal->fresh.overflow ? BK_NO_MEMORY
                                         : store_put(txn, key, buf_slice(&reseal->fresh));
        }
        if (err != BK_OK && err != BK_EXISTS) {
            return err;
        }
    }
    return BK_OK;
}

static enum bk_err step(struct reseal *reseal)
{
    struct store_txn *txn;
    struct key from = reseal->from;
    enum bk_err err = store_read(reseal->hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    reseal->stale_count = reseal->seen = 0;
    reseal->seen_bytes = 0;
    reseal->full = reseal->no_memory = false;
    err = store_walk(txn, slice_str(places[reseal->place].prefix), key_slice(&from), look_at_one,
                     reseal);
    store_read_end(txn);
    if (err == BK_OK && reseal->no_memory) {
        err = BK_NO_MEMORY;
    }
    if (err == BK_OK && reseal->stale_count > 0) {
        err = store_update(reseal->hub->store, renew_stale, reseal);
    }
    if (err != BK_OK) {
        reseal->from = from;
        return err;
    }
    reseal->looked += reseal->again ? 0 : reseal->seen;
    reseal->done += reseal->stale_count;
    reseal->round_found += reseal->stale_count;
    if (!reseal->full) {
        reseal->place++;
        reseal->from.bytes = 0;
    }
    return BK_OK;
}

/* ---- rounds */

static bool count_one(void *context, struct slice key, struct slice value)
{
    uint64_t *count = context;
    (void)key, (void)value;
    ++*count;
    return true;
}

static enum bk_err begin(struct reseal *reseal)
{
    struct store_txn *txn;
    enum bk_err err = store_read(reseal->hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    reseal->total = reseal->looked = reseal->done = 0;
    for (unsigned i = 0; err == BK_OK && i < PLACE_COUNT; i++) {
        err = store_walk(txn, slice_str(places[i].prefix), SLICE_EMPTY, count_one, &reseal->total);
    }
    store_read_end(txn);
    reseal->running = err == BK_OK;
    reseal->again = false;
    reseal->place = 0;
    reseal->from.bytes = 0;
    reseal->round_found = 0;
    return err;
}

/* A round is over. */
static enum bk_err end_round(struct reseal *reseal)
{
    if (reseal->round_found > 0) {
        reseal->place = 0;
        reseal->round_found = 0;
        reseal->again = true;
        return BK_OK;
    }
    enum bk_err err = data_key_forget_before(reseal->hub);
    if (err == BK_OK) {
        reseal->running = false;
        log_event(LOG_INFO, "all secrets are sealed under the new key; the one before is forgotten",
                  LOG_I("records", reseal->done));
    }
    return err;
}

int64_t reseal_run(struct reseal *reseal, int64_t now_ns)
{
    if (!reseal->hub->seal.has_before) {
        return INT64_MAX;
    }
    enum bk_err err = !reseal->running               ? begin(reseal)
                      : reseal->place == PLACE_COUNT ? end_round(reseal)
                                                     : step(reseal);
    if (err != BK_OK && err != reseal->err) {
        log_event(LOG_WARN, "secrets are not sealed anew for now", LOG_Z("why", bk_err_text(err)));
    }
    reseal->err = err;
    return err == BK_OK ? now_ns : now_ns + RETRY_NS;
}

void reseal_stats(const struct reseal *reseal, struct reseal_stats *ret_stats)
{
    *ret_stats = (struct reseal_stats){.running = reseal->hub->seal.has_before,
                                       .done = reseal->done,
                                       .total = reseal->total,
                                       .looked = reseal->looked,
                                       .err = reseal->err};
}

/* ---- life */

enum bk_err reseal_open(struct hub *hub, struct reseal **ret_reseal)
{
    struct reseal *reseal = calloc(1, sizeof *reseal);
    if (!reseal) {
        return BK_NO_MEMORY;
    }
    reseal->hub = hub;
    buf_init(&reseal->fresh, VALUE_BYTES_MAX);
    *ret_reseal = reseal;
    return BK_OK;
}

void reseal_close(struct reseal *reseal)
{
    if (reseal) {
        buf_fini(&reseal->fresh);
        free(reseal);
    }
}
