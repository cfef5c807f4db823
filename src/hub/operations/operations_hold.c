#include "hub/operations/operations_private.h"

#include <stdio.h>

static bool is_hold_of(const struct hold *hold, const struct operation *operation)
{
    return slice_equal(operation->integration, slice_str(hold->integration)) &&
           slice_equal(operation->integration_canvas, slice_str(hold->canvas));
}

int64_t held_until(const struct operations *operations, const struct operation *operation,
                   int64_t now_ns)
{
    for (size_t i = 0; i < HOLDS_MAX; i++) {
        const struct hold *hold = &operations->holds[i];
        if (hold->until_ns > now_ns && is_hold_of(hold, operation)) {
            return hold->until_ns;
        }
    }
    return 0;
}

/* In its own place, else in that of the one that ends soonest. */
void hold_integration(struct operations *operations, const struct operation *operation,
                      int64_t until_ns)
{
    struct hold *hold = &operations->holds[0];
    for (size_t i = 0; i < HOLDS_MAX; i++) {
        struct hold *at = &operations->holds[i];
        if (is_hold_of(at, operation)) {
            hold = at;
            break;
        }
        hold = at->until_ns < hold->until_ns ? at : hold;
    }
    snprintf(hold->canvas, sizeof hold->canvas, "%.*s", (int)operation->integration_canvas.bytes,
             (const char *)operation->integration_canvas.at);
    snprintf(hold->integration, sizeof hold->integration, "%.*s", (int)operation->integration.bytes,
             (const char *)operation->integration.at);
    hold->until_ns = until_ns;
}
