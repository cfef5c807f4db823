/* reveal.c - the secrets of one object in clear, for administrators; contract in hub/hub.h. */
#include "base/assert.h"
#include "base/json.h"
#include "hub/hub_private.h"
#include "hub/resources/audit.h"

struct reveal {
    struct hub *hub;
    enum resource_kind kind;
    struct slice canvas;
    struct slice name;
    struct slice only_canvas;
    int64_t now_ns;
    struct buf *json;
};

static enum bk_err inputs(enum resource_kind kind, const struct record *record,
                          struct source_secret secrets[SECRETS_PER_SOURCE_MAX], unsigned *ret_count)
{
    union {
        struct source_input source;
        struct destination_input destination;
    } input;
    const struct source_secret *from;
    enum bk_err err;
    if (kind == RESOURCE_EVENT_SOURCE) {
        err = source_input_decode(record->compiled, &input.source);
        from = input.source.secrets;
        *ret_count = err == BK_OK ? input.source.secret_count : 0;
    } else {
        err = destination_input_decode(record->compiled, &input.destination);
        from = input.destination.secrets;
        *ret_count = err == BK_OK ? input.destination.secret_count : 0;
    }
    for (unsigned i = 0; i < *ret_count; i++) {
        secrets[i] = from[i];
    }
    return err;
}

/* Does one come from a Secret of another canvas than the only one? */
static bool is_foreign(const struct reveal *reveal, const struct source_secret *secrets,
                       unsigned count)
{
    bool foreign = false;
    for (unsigned i = 0; reveal->only_canvas.bytes > 0 && i < count; i++) {
        foreign |= secrets[i].by_reference && !slice_equal(secrets[i].canvas, reveal->only_canvas);
    }
    return foreign;
}

static enum bk_err write_secrets(struct compiler *compiler, const struct record *record,
                                 const struct reveal *reveal)
{
    struct source_secret secrets[SECRETS_PER_SOURCE_MAX];
    struct slice texts[SECRETS_PER_SOURCE_MAX], verify_token = SLICE_EMPTY;
    unsigned count;
    enum bk_err err = inputs(reveal->kind, record, secrets, &count);
    if (err == BK_OK) {
        err = is_foreign(reveal, secrets, count)
                  ? BK_FORBIDDEN
                  : compiler_secrets(compiler, record, secrets, count, texts);
    }
    buf_reset(reveal->json); /* a transaction may run again */
    buf_add_str(reveal->json, "{\"secrets\":[");
    const char *comma = "";
    for (unsigned i = 0; err == BK_OK && i < count; i++) {
        if (secrets[i].is_verify_token) {
            verify_token = texts[i];
            continue;
        }
        buf_add_str(reveal->json, comma);
        json_add_string(reveal->json, texts[i]);
        comma = ",";
    }
    buf_add_byte(reveal->json, ']');
    if (verify_token.bytes > 0) {
        buf_add_str(reveal->json, ",\"verifyToken\":");
        json_add_string(reveal->json, verify_token);
    }
    buf_add_byte(reveal->json, '}');
    return err == BK_OK && reveal->json->overflow ? BK_TOO_LARGE : err;
}

static enum bk_err run_reveal(struct store_txn *txn, void *context)
{
    struct reveal *reveal = context;
    struct hub_address address;
    struct record record;
    struct compiler compiler;
    enum bk_err err =
        hub_find_record(txn, reveal->kind, reveal->canvas, reveal->name, &address, &record);
    if (err == BK_OK) {
        err = compiler_init(&compiler, reveal->hub, txn);
    }
    if (err != BK_OK) {
        return err;
    }
    err = write_secrets(&compiler, &record, reveal);
    compiler_fini(&compiler);
    struct audit_change change = {.action = "revealed",
                                  .kind = resource_kind_info(reveal->kind)->name,
                                  .name = address.name,
                                  .canvas = address.canvas,
                                  .now_ns = reveal->now_ns};
    return err == BK_OK ? audit_add(reveal->hub, txn, &change) : err;
}

enum bk_err hub_reveal(struct hub *hub, enum resource_kind kind, struct slice canvas,
                       struct slice name, struct slice only_canvas, int64_t now_ns,
                       struct buf *json)
{
    bk_assert(kind == RESOURCE_EVENT_SOURCE || kind == RESOURCE_DESTINATION);
    struct reveal reveal = {.hub = hub,
                            .kind = kind,
                            .canvas = canvas,
                            .name = name,
                            .only_canvas = only_canvas,
                            .now_ns = now_ns,
                            .json = json};
    enum bk_err err = store_update(hub->store, run_reveal, &reveal);
    if (err != BK_OK) {
        buf_reset(json);
    }
    return err;
}
