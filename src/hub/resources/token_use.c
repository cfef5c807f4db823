#include "hub/resources/token_use.h"

#include "base/log.h"
#include "base/time.h"
#include "hub/hub_private.h"
#include "store/keys.h"

#include <stdlib.h>

#define STORE_AFTER_NS (2 * NS_PER_SECOND)

int64_t token_use_get(struct store_txn *txn, const uint8_t id[16])
{
    struct key key;
    struct slice value;
    key_token_use(&key, id);
    return store_get(txn, key_slice(&key), &value) == BK_OK && value.bytes == 8
               ? (int64_t)key_get_u64(value.at)
               : 0;
}

enum bk_err token_use_drop(struct store_txn *txn, const uint8_t id[16])
{
    struct key key;
    key_token_use(&key, id);
    return store_delete(txn, key_slice(&key));
}

void token_used(struct hub *hub, const struct token_info *info, int64_t now_ns)
{
    struct token_use use = {.used_ns = now_ns};
    int64_t since_ns = now_ns - info->used_ns; /* below 0: the clock was set back */
    if (since_ns >= 0 && since_ns < TOKEN_USE_NS) {
        return;
    }
    if (!hub->token_uses) {
        hub->token_uses = calloc(1, sizeof *hub->token_uses);
    }
    struct token_uses *uses = hub->token_uses;
    if (!uses) {
        return;
    }
    bool noted = uses->count == TOKEN_USES_PENDING || !hub_id_parse(slice_str(info->id), use.id);
    for (unsigned i = 0; i < uses->count && !noted; i++) {
        noted = memcmp(uses->at[i].id, use.id, sizeof use.id) == 0;
    }
    if (noted) {
        return;
    }
    if (uses->count == 0) {
        uses->due_ns = now_ns + STORE_AFTER_NS;
    }
    uses->at[uses->count++] = use;
}

/* One that was revoked meanwhile gets no row. */
static enum bk_err write_uses(struct store_txn *txn, void *context)
{
    const struct token_uses *uses = context;
    enum bk_err err = BK_OK;
    for (unsigned i = 0; err == BK_OK && i < uses->count; i++) {
        struct key key, by_id;
        struct slice name;
        uint8_t at[8];
        key_tokens_by(&by_id, 'i');
        key_add(&by_id, uses->at[i].id, sizeof uses->at[i].id);
        key_token_use(&key, uses->at[i].id);
        key_put_u64(at, (uint64_t)uses->at[i].used_ns);
        err = store_get(txn, key_slice(&by_id), &name);
        err = err == BK_OK          ? store_put(txn, key_slice(&key), slice_of(at, sizeof at))
              : err == BK_NOT_FOUND ? BK_OK
                                    : err;
    }
    return err;
}

int64_t token_uses_run(struct hub *hub, int64_t now_ns)
{
    struct token_uses *uses = hub->token_uses;
    if (!uses || uses->count == 0) {
        return INT64_MAX;
    }
    int64_t wait_ns = uses->due_ns - now_ns;
    if (wait_ns > 0 && wait_ns <= STORE_AFTER_NS) {
        return uses->due_ns;
    }
    enum bk_err err = store_update(hub->store, write_uses, uses);
    if (err != BK_OK) {
        log_event(LOG_DEBUG, "when tokens were used is not stored",
                  LOG_Z("message", bk_err_text(err)));
    }
    uses->count = 0;
    return INT64_MAX;
}
