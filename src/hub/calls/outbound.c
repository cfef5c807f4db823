#include "hub/calls/outbound.h"

#include "base/ct.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ANSWER_BYTES_DEFAULT (1U << 20)

struct outbound {
    struct ring *control;
    struct ring *reactor;
    struct http_client *client; /* the reactor's */
    unsigned count;
};

/* Belongs to the control thread, to the reactor from the first letter on, and again to the control
 * thread once that letter came back. */
struct outbound_call {
    struct ring_mail mail;
    struct outbound *outbound;
    struct http_call call;
    struct http_origin origin;
    outbound_done_fn *done;
    void *context;
    size_t map_bytes; /* of all of this: head and body of the answer, the request behind */
    uint32_t body_bytes_max;
    struct http_reply reply;
    struct http_head head;
    uint8_t head_at[HTTP_HEAD_BYTES_MAX];
    uint8_t body_at[];
};

enum bk_err outbound_open(struct ring *control, struct ring *reactor, struct http_client *client,
                          struct outbound **ret_outbound)
{
    struct outbound *outbound = calloc(1, sizeof *outbound);
    if (!outbound) {
        return BK_NO_MEMORY;
    }
    *outbound = (struct outbound){control, reactor, client, 0};
    *ret_outbound = outbound;
    return BK_OK;
}

void outbound_close(struct outbound *outbound)
{
    bk_assert(outbound->count == 0);
    free(outbound);
}

bool outbound_idle(const struct outbound *outbound)
{
    return outbound->count == 0;
}

/* ---- on the control thread again */

static void call_free(struct outbound_call *call)
{
    struct outbound *outbound = call->outbound;

    bk_assert(outbound->count > 0);
    outbound->count--;
    http_origin_give(&call->origin);
    /* Requests carry tokens, and answers too. Untouched pages of the body need no wiping. */
    bk_wipe(call->body_at, call->reply.body.bytes);
    bk_wipe(call->body_at + call->body_bytes_max,
            call->map_bytes - sizeof *call - call->body_bytes_max);
    munmap(call, call->map_bytes);
}

static void call_returned(struct ring_mail *mail)
{
    struct outbound_call *call = bk_container_of(mail, struct outbound_call, mail);
    const struct http_reply *reply = &call->reply;
    struct outbound_answer answer = {
        .err = reply->err,
        .stage = reply->stage,
        .why = reply->why,
        .status = reply->status,
        .head = reply->err == BK_OK ? &call->head : NULL,
        .body = slice_of(call->body_at, reply->body.bytes),
    };

    call->done(call->context, &answer);
    call_free(call);
}

/* ---- on the reactor */

static void call_done(struct http_call *http)
{
    struct outbound_call *call = http->context;
    const struct http_reply *reply = &http->reply;

    call->reply = *reply;
    if (reply->err == BK_OK) {
        memcpy(call->head_at, reply->head->at, reply->head->head_bytes);
        call->head = *reply->head;
        call->head.at = call->head_at;
        if (reply->body.bytes > 0) {
            memcpy(call->body_at, reply->body.at, reply->body.bytes);
        }
    } else {
        call->reply.body.bytes = 0;
    }
    call->mail.run = call_returned;
    ring_post(call->outbound->reactor, call->outbound->control, &call->mail);
}

static void call_arrived(struct ring_mail *mail)
{
    struct outbound_call *call = bk_container_of(mail, struct outbound_call, mail);
    http_call_start(call->outbound->client, &call->call);
}

/* ---- starting */

enum bk_err outbound_call(struct outbound *outbound, const struct outbound_request *request)
{
    uint32_t body_max = request->body_bytes_max ? request->body_bytes_max : ANSWER_BYTES_DEFAULT;
    size_t request_bytes = request->head.bytes + request->body.bytes;

    bk_assert(request->done && request->origin && request->origin->key != 0);
    if (outbound->count >= OUTBOUND_CALLS_MAX) {
        return BK_BUSY;
    }
    if (request->body.bytes > OUTBOUND_REQUEST_BYTES_MAX ||
        request_bytes > OUTBOUND_REQUEST_BYTES_MAX || body_max > OUTBOUND_BODY_BYTES_MAX) {
        return BK_TOO_LARGE;
    }
    size_t map_bytes = sizeof(struct outbound_call) + body_max + request_bytes;
    struct outbound_call *call = mmap(NULL, map_bytes, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (call == MAP_FAILED) {
        return BK_NO_MEMORY;
    }
    uint8_t *copy = call->body_at + body_max;
    memcpy(copy, request->head.at, request->head.bytes);
    if (request->body.bytes > 0) {
        memcpy(copy + request->head.bytes, request->body.at, request->body.bytes);
    }
    call->outbound = outbound;
    http_origin_take(&call->origin, request->origin);
    call->done = request->done;
    call->context = request->context;
    call->map_bytes = map_bytes;
    call->body_bytes_max = body_max;
    call->call = (struct http_call){
        .origin = &call->origin,
        .pieces = {slice_of(copy, request_bytes)},
        .piece_count = 1,
        .head_method = request->head_method,
        .repeatable = request->repeatable,
        .timeout_ms = request->timeout_ms,
        .keep_body_bytes = body_max,
        .body_bytes_max = body_max,
        .done = call_done,
        .context = call,
    };
    outbound->count++;
    call->mail.run = call_arrived;
    ring_post(outbound->control, outbound->reactor, &call->mail);
    return BK_OK;
}
