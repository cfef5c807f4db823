#include "hub/ingress/answer_handshake.h"

#include "hub/ingress/answer.h"
#include "hub/ingress/counters.h"

#include <stdlib.h>

/* The answer of a handshake, while the control thread keeps the secret it brought. */
struct learning {
    struct learn_request request;
    struct ingress *ingress;
    struct http_exchange *exchange;
    uint64_t number;
    uint16_t status;
    uint16_t header_bytes;
    char headers[LEARN_SECRET_BYTES_MAX + 64];
};

static void learned(struct learn_request *request)
{
    struct learning *learning = request->owner;
    struct slice headers = slice_of(learning->headers, learning->header_bytes);
    if (request->err == BK_OK) {
        count_answer(learning->ingress, learning->number, learning->status);
        http_answer(learning->exchange, learning->status, NULL, headers, SLICE_EMPTY);
    } else if (request->err == BK_EXISTS) {
        answer_refuse(learning->ingress, learning->exchange, learning->number, 401, "secret_known",
                      "this source has its secret and takes no other",
                      SLICE("WWW-Authenticate: Signature realm=\"becket\"\r\n"));
    } else {
        answer_busy(learning->ingress, learning->exchange, learning->number);
    }
    explicit_bzero(learning, sizeof *learning);
    free(learning);
}

static void learn(struct ingress *ingress, struct http_exchange *exchange, uint64_t number,
                  const struct scheme_answer *answer)
{
    struct learning *learning = ingress->config->learn ? calloc(1, sizeof *learning) : NULL;
    if (!learning || answer->learned.bytes > LEARN_SECRET_BYTES_MAX ||
        answer->headers.bytes > sizeof learning->headers) {
        free(learning);
        answer_busy(ingress, exchange, number);
        return;
    }
    learning->request.owner = learning;
    learning->request.done = learned;
    learning->request.home = ingress->ring;
    learning->request.source = number;
    learning->request.secret_bytes = (uint16_t)answer->learned.bytes;
    memcpy(learning->request.secret, answer->learned.at, answer->learned.bytes);
    learning->ingress = ingress;
    learning->exchange = exchange;
    learning->number = number;
    learning->status = answer->status;
    learning->header_bytes = (uint16_t)answer->headers.bytes;
    if (answer->headers.bytes) {
        memcpy(learning->headers, answer->headers.at, answer->headers.bytes);
    }
    ingress->config->learn(ingress->config->context, &learning->request);
}

enum http_outcome answer_handshake(struct ingress *ingress, struct http_exchange *exchange,
                                   uint64_t number, enum scheme_verdict verdict,
                                   const struct scheme_answer *answer)
{
    if (verdict == SCHEME_HANDSHAKE && answer->confirm.bytes != 0 && ingress->config->confirm) {
        ingress->config->confirm(ingress->config->context, answer->confirm);
    }
    if (verdict == SCHEME_HANDSHAKE_REFUSED) {
        answer_refuse(ingress, exchange, number, answer->status, scheme_verdict_name(verdict),
                      scheme_verdict_text(verdict), SLICE_EMPTY);
    } else if (answer->learned.bytes) {
        learn(ingress, exchange, number, answer);
    } else {
        count_answer(ingress, number, answer->status);
        http_answer(exchange, answer->status, answer->content_type, answer->headers, answer->body);
    }
    return HTTP_TAKEN;
}
