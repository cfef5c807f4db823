/* provider_calls.h - from a call that an operation wants to a call that a reactor makes.
 *
 * Purpose     The send function of operations_config: takes the URL apart, writes the head with
 *             every byte checked, and brings the answer back.
 * Ownership   The operations' call is copied by calls/outbound.h; a small record per call frees
 *             itself.
 * Threads     The control thread.
 */
#ifndef BECKET_HUB_PROVIDER_CALLS_H
#define BECKET_HUB_PROVIDER_CALLS_H

#include "hub/calls/outbound.h"
#include "hub/metrics.h"
#include "hub/operations/operations.h"

/* Providers, what calls are for, and statuses, of which few occur together. */
#define PROVIDER_CALL_COUNTS_MAX 512U

struct provider_calls {
    struct outbound *outbound;
    struct operations *operations;    /* set when it is open */
    int64_t (*now_ns)(void *context); /* wall clock */
    void *context;
    struct metrics_provider_calls counts[PROVIDER_CALL_COUNTS_MAX]; /* the last takes the rest */
    size_t count_count;
};

/* context = struct provider_calls. */
void provider_calls_send(void *context, struct operation_call *call);

#endif
