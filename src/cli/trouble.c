#include "cli/trouble.h"

#include "cli/remote.h"

#include <yyjson.h>

void trouble_advice(struct buf *text, yyjson_mut_val *object)
{
    struct slice message = text_at(object, "status.message"),
                 advice = text_at(object, "status.advice");
    buf_add_slice(text, message);
    buf_add_str(text, message.bytes != 0 && advice.bytes != 0 ? "; " : "");
    buf_add_slice(text, advice);
}

void trouble_of_source(struct buf *text, yyjson_mut_val *object)
{
    struct slice refused = text_at(object, "status.lastRefused.at"),
                 accepted = text_at(object, "status.lastAccepted.at");
    size_t before = text->bytes;
    trouble_advice(text, object);
    /* Times of one form: their order is that of their texts. */
    bool since = accepted.bytes == refused.bytes && refused.bytes != 0 &&
                 memcmp(accepted.at, refused.at, refused.bytes) >= 0;
    if (text->bytes == before && refused.bytes != 0 && !since) {
        buf_add_str(text, "refused: ");
        buf_add_slice(text, text_at(object, "status.lastRefused.message"));
    }
}

void trouble_of_destination(struct buf *text, yyjson_mut_val *object)
{
    struct slice reason = text_at(object, "status.reason"),
                 outcome = text_at(object, "status.delivery.lastAttempt.outcome");
    uint64_t waiting = yyjson_mut_get_uint(value_at(object, "status.delivery.retries")) +
                       yyjson_mut_get_uint(value_at(object, "status.delivery.backlog"));
    bool failing = outcome.bytes != 0 && !slice_equal(outcome, SLICE("delivered"));
    if (reason.bytes == 0 && !failing) {
        return;
    }
    buf_add_slice(text,
                  reason.bytes ? reason : text_at(object, "status.delivery.lastAttempt.reason"));
    if (waiting > 0) {
        buf_printf(text, "; %llu wait", (unsigned long long)waiting);
    } else if (reason.bytes == 0 && slice_equal(outcome, SLICE("dead"))) {
        buf_add_str(text, "; given up");
    }
}
