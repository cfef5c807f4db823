#include "hub/operations/provider_calls.h"

#include "hub/calls/web_call.h"

#include <stdlib.h>

#define ANSWER_BYTES_MAX (8U << 20)

struct pending {
    struct provider_calls *calls;
    struct operation_call *call;
};

static void count(struct provider_calls *calls, const struct operation_call *call, unsigned code)
{
    const char *type = (const char *)call->provider.at; /* static, as the operation is */
    size_t i = 0;
    for (; i < calls->count_count; i++) {
        const struct metrics_provider_calls *at = &calls->counts[i];
        if (at->type == type && at->operation == call->operation && at->code == code) {
            break;
        }
    }
    if (i == PROVIDER_CALL_COUNTS_MAX) {
        i--;
    } else if (i == calls->count_count) {
        calls->counts[calls->count_count++] = (struct metrics_provider_calls){
            .type = type, .operation = call->operation, .code = code};
    }
    calls->counts[i].count++;
}

static void finish(struct pending *pending, const struct operation_answer *answer)
{
    struct provider_calls *calls = pending->calls;
    struct operation_call *call = pending->call;
    free(pending);
    count(calls, call, answer->arrived ? answer->head->status : 0);
    operations_answered(calls->operations, call, answer, calls->now_ns(calls->context));
}

/* Before the request was sent nothing can have come of it. An answer that is too long is so the
 * next time, too, unless it only says that the provider has trouble. */
static enum provider_fault fault_of(const struct outbound_answer *answer)
{
    bool endless = answer->err == BK_TOO_LARGE && answer->status > 0 && answer->status < 500;
    return answer->err == BK_OK                  ? PROVIDER_FAULT_NONE
           : endless                             ? PROVIDER_FAULT_ODD
           : answer->stage == HTTP_STAGE_POLICY  ? PROVIDER_FAULT_BLOCKED
           : answer->stage == HTTP_STAGE_RESOLVE ? PROVIDER_FAULT_UNREACHABLE
           : answer->stage == HTTP_STAGE_CONNECT ? PROVIDER_FAULT_UNREACHABLE
           : answer->stage == HTTP_STAGE_TLS     ? PROVIDER_FAULT_UNREACHABLE
                                                 : PROVIDER_FAULT_DOWN;
}

static void done(void *context, const struct outbound_answer *answer)
{
    struct operation_answer out = {.arrived = answer->err == BK_OK,
                                   .why = answer->why,
                                   .fault = fault_of(answer),
                                   .head = answer->head,
                                   .body = answer->body};
    finish(context, &out);
}

void provider_calls_send(void *context, struct operation_call *call)
{
    struct provider_calls *calls = context;
    struct pending *pending = calloc(1, sizeof *pending);
    const char *why = "out of memory";
    if (pending) {
        pending->calls = calls;
        pending->call = call;
        struct web_call web = {.method = call->method,
                               .url = call->url,
                               .headers = call->headers,
                               .body = call->body,
                               .allow_private = call->allow_private,
                               .repeatable = call->repeatable,
                               .body_bytes_max = ANSWER_BYTES_MAX,
                               .done = done,
                               .context = pending};
        if (web_call_start(calls->outbound, &web, &why) == BK_OK) {
            return;
        }
        finish(pending, &(struct operation_answer){.why = why});
        return;
    }
    operations_answered(calls->operations, call, &(struct operation_answer){.why = why},
                        calls->now_ns(calls->context));
}
