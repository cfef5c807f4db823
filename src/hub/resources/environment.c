#include "hub/resources/environment.h"

#include "base/json.h"
#include "hub/hub_private.h"
#include "hub/resources/apply.h"

#include <stdio.h>
#include <stdlib.h>

#define DESCRIPTION "from GITPLOY_SLACK_CLIENT_ID"

/* Is there one that somebody else made? */
static enum bk_err is_others(struct hub *hub, bool *ret_others)
{
    struct store_txn *txn;
    struct record record;
    enum bk_err err = store_read(hub->store, &txn);
    if (err != BK_OK) {
        return err;
    }
    err = hub_record(txn, RESOURCE_INTEGRATION, SLICE(RESOURCE_CANVAS_DEFAULT), SLICE("slack"),
                     &record);
    *ret_others = err == BK_OK && !slice_equal(record.description, SLICE(DESCRIPTION));
    store_read_end(txn);
    return err == BK_NOT_FOUND ? BK_OK : err;
}

enum bk_err environment_apply(struct hub *hub, int64_t now_ns, char ret_why[HUB_WHY_BYTES])
{
    const char *id = getenv("GITPLOY_SLACK_CLIENT_ID");
    const char *secret = getenv("GITPLOY_SLACK_CLIENT_SECRET");
    struct apply_outcome outcome;
    struct buf json;
    bool others;
    ret_why[0] = '\0';
    if (!id || !*id || !secret || !*secret) {
        return BK_OK;
    }
    enum bk_err err = is_others(hub, &others);
    if (err != BK_OK || others) {
        return err;
    }
    buf_init(&json, 65536);
    buf_add_str(&json, "{\"kind\":\"Integration\",\"metadata\":{\"name\":\"slack\","
                       "\"description\":\"" DESCRIPTION "\"},\"spec\":{\"type\":\"slack\","
                       "\"auth\":{\"use\":\"AUTH_TYPE_OAUTH\",\"oauth\":{\"clientId\":");
    json_add_string(&json, slice_str(id));
    buf_add_str(&json, ",\"clientSecret\":{\"value\":");
    json_add_string(&json, slice_str(secret));
    buf_add_str(&json, "}}}}}");
    struct apply_options options = {.now_ns = now_ns};
    err = apply_text(hub, buf_slice(&json), &options, &outcome);
    snprintf(ret_why, HUB_WHY_BYTES, "%s", outcome.message ? outcome.message : "");
    apply_outcome_fini(&outcome);
    buf_fini(&json);
    return err;
}
