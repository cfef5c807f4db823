/* destinations.c - what is asked of destinations besides applying them: pause, names; contract in
 * hub/hub.h. */
#include "base/assert.h"
#include "hub/hub_private.h"
#include "hub/resources/audit.h"

#include <stdlib.h>

/* ---- names */

static enum bk_err target_name(struct store_txn *txn, uint64_t number, uint8_t *ret_kind,
                               struct hub_target_name *ret_name)
{
    struct key key;
    struct slice value, canvas, name;
    struct hub_born born;
    key_target(&key, number);
    enum bk_err err = store_get(txn, key_slice(&key), &value);
    if (err != BK_OK) {
        return err;
    }
    if (value.bytes < 1 || !hub_split(slice_skip(value, 1), &canvas, &name)) {
        return BK_CORRUPT;
    }
    *ret_kind = value.at[0];
    slice_keep(canvas, ret_name->canvas, sizeof ret_name->canvas);
    slice_keep(name, ret_name->name, sizeof ret_name->name);
    err = hub_born(txn, canvas, &born);
    ret_name->canvas[0] = number <= born.number ? '\0' : ret_name->canvas[0];
    return err;
}

enum bk_err hub_target_name(struct hub *hub, uint64_t number, struct hub_target_name *ret_name)
{
    struct store_txn *txn;
    uint8_t kind;
    enum bk_err err = store_read(hub->store, &txn);
    if (err == BK_OK) {
        err = target_name(txn, number, &kind, ret_name);
        store_read_end(txn);
    }
    return err;
}

/* ---- pause */

struct pausing {
    struct hub *hub;
    uint64_t number;
    enum destination_pause pause;
    int64_t now_ns;
    bool changed;
    struct destination *destination; /* compiled inside the transaction */
};

/* The record of the destination that has this number now: a deleted one has none, and another may
 * have its name. */
static enum bk_err by_number(struct store_txn *txn, uint64_t number,
                             struct hub_target_name *ret_name, struct record *ret_record)
{
    uint8_t kind = 0;
    enum bk_err err = target_name(txn, number, &kind, ret_name);
    if (err == BK_OK && kind != resource_kind_info(RESOURCE_DESTINATION)->key) {
        err = BK_NOT_FOUND;
    }
    if (err == BK_OK) {
        err = hub_record(txn, RESOURCE_DESTINATION, slice_str(ret_name->canvas),
                         slice_str(ret_name->name), ret_record);
    }
    return err == BK_OK && ret_record->number != number ? BK_NOT_FOUND : err;
}

static enum bk_err write_pause(struct store_txn *txn, const struct pausing *pausing)
{
    struct key key;
    uint8_t value[9];
    key_pause(&key, pausing->number);
    if (pausing->pause == DESTINATION_RUNNING) {
        return store_delete(txn, key_slice(&key));
    }
    value[0] = (uint8_t)pausing->pause;
    key_put_u64(value + 1, (uint64_t)pausing->now_ns);
    return store_put(txn, key_slice(&key), slice_of(value, sizeof value));
}

static enum bk_err compile(struct store_txn *txn, struct pausing *pausing)
{
    struct compiler compiler;
    struct hub_target_name name;
    struct record record;
    const char *message;
    enum bk_err err = by_number(txn, pausing->number, &name, &record);
    if (err != BK_OK) {
        return err;
    }
    err = compiler_init(&compiler, pausing->hub, txn);
    if (err == BK_OK) {
        err = compile_destination(&compiler, slice_str(name.canvas), slice_str(name.name), &record,
                                  &pausing->destination, &message);
        compiler_fini(&compiler);
    }
    return err;
}

static enum bk_err run_pause(struct store_txn *txn, void *context)
{
    struct pausing *pausing = context;
    struct hub_target_name name;
    struct record record;
    struct destination_input input;
    struct pause before;
    destination_free(pausing->destination); /* of an earlier run in a smaller map */
    pausing->destination = NULL;
    pausing->changed = false;
    enum bk_err err = by_number(txn, pausing->number, &name, &record);
    if (err == BK_OK) {
        err = destination_input_decode(record.compiled, &input);
    }
    if (err == BK_OK) {
        err = pause_read(txn, pausing->number, &before);
    }
    if (err != BK_OK) {
        return err;
    }
    if (pausing->pause == DESTINATION_RUNNING && input.paused) {
        return BK_CONFLICT;
    }
    if (before.pause == pausing->pause) {
        return BK_CANCELLED;
    }
    struct audit_change change = {.action =
                                      pausing->pause == DESTINATION_RUNNING ? "resumed" : "paused",
                                  .kind = resource_kind_info(RESOURCE_DESTINATION)->name,
                                  .name = name.name,
                                  .canvas = name.canvas,
                                  .now_ns = pausing->now_ns};
    err = write_pause(txn, pausing);
    if (err == BK_OK) {
        err = audit_add(pausing->hub, txn, &change);
    }
    if (err == BK_OK) {
        err = compile(txn, pausing);
    }
    pausing->changed = err == BK_OK;
    return err;
}

enum bk_err hub_destination_pause(struct hub *hub, uint64_t number, enum destination_pause pause,
                                  int64_t now_ns)
{
    bk_assert(pause != DESTINATION_PAUSED_BY_SPEC);
    struct pausing pausing = {.hub = hub, .number = number, .pause = pause, .now_ns = now_ns};
    enum bk_err err = store_update(hub->store, run_pause, &pausing);
    if (err == BK_OK && pausing.changed && hub->destination_changed) {
        hub->destination_changed(hub->context, number, pausing.destination);
    } else {
        destination_free(pausing.destination);
    }
    return err == BK_CANCELLED ? BK_OK : err;
}
