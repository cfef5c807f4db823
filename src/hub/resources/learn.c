#include "hub/resources/learn.h"

#include "base/assert.h"
#include "base/log.h"
#include "hub/hub_private.h"
#include "hub/resources/apply.h"

/* Is there a source of this name that waits for its secret? */
static enum bk_err check(struct hub *hub, const struct hub_source_name *name)
{
    struct store_txn *txn;
    struct record record;
    struct source_input input;
    const struct scheme_row *row = scheme_row_find(slice_str(name->type));
    if (!row || !scheme_row_learns(row)) {
        return BK_NOT_FOUND;
    }
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    err = hub_record(txn, RESOURCE_EVENT_SOURCE, slice_str(name->canvas), slice_str(name->name),
                     &record);
    if (err == BK_OK) {
        err = source_input_decode(record.compiled, &input);
    }
    for (unsigned i = 0; err == BK_OK && i < input.secret_count; i++) {
        err = input.secrets[i].is_verify_token ? BK_OK : BK_EXISTS;
    }
    store_read_end(txn);
    return err;
}

/* The source as it is, put again, with the secret. */
static enum bk_err put(struct hub *hub, const struct hub_source_name *name, struct slice secret,
                       int64_t now_ns)
{
    struct buf json;
    struct apply_outcome outcome;
    struct apply_options options = {.mode = APPLY_UPDATE,
                                    .one = true,
                                    .kind = RESOURCE_EVENT_SOURCE,
                                    .canvas = slice_str(name->canvas),
                                    .name = slice_str(name->name),
                                    .now_ns = now_ns,
                                    .learned = secret};
    buf_init(&json, 4U << 20);
    enum bk_err err =
        hub_get_json(hub, RESOURCE_EVENT_SOURCE, options.canvas, options.name, &json, NULL);
    if (err == BK_OK) {
        err = apply_text(hub, buf_slice(&json), &options, &outcome);
        apply_outcome_fini(&outcome);
    }
    buf_fini(&json);
    return err;
}

enum bk_err hub_learn(struct hub *hub, uint64_t source, struct slice secret, int64_t now_ns)
{
    struct hub_source_name name;
    bk_assert(hub && secret.bytes > 0);
    enum bk_err err = hub_source_name(hub, source, &name);
    if (err == BK_OK) {
        err = check(hub, &name);
    }
    if (err == BK_OK) {
        err = put(hub, &name, secret, now_ns);
    }
    if (err == BK_OK) { /* the secret itself is told by hub_reveal() alone */
        log_event(LOG_INFO, "the provider brought its secret", LOG_Z("source", name.name),
                  LOG_Z("type", name.type));
    }
    return err;
}
