#include "hub/ingress/ingress.h"

#include "base/time.h"
#include "hub/deliveries/request.h"
#include "hub/ingress/accept.h"
#include "hub/ingress/accept_batch.h"
#include "hub/ingress/acknowledge.h"
#include "hub/ingress/answer.h"
#include "hub/ingress/counters.h"
#include "hub/ingress/fixed_paths.h"
#include "hub/ingress/answer_handshake.h"
#include "hub/ingress/key_wait.h"
#include "hub/ingress/rate.h"
#include "hub/ingress/reject.h"
#include "hub/ingress/share.h"

/* ---- whose it is */

static struct slice path_of(const struct http_head *head)
{
    struct slice path, query;
    http_split_target(head, &path, &query);
    return path;
}

bool ingress_owns(const struct http_head *head)
{
    struct hook_address address;
    struct slice path = path_of(head);
    return hook_address(path, &address) || fixed_path_is(path);
}

/* The source at this address, or NULL. */
static const struct source *source_at(const struct ingress *ingress,
                                      const struct hook_address *address)
{
    const struct source *source = source_table_find(ingress->config->sources, address->path);
    bool meant =
        source && (address->spelling == SPELLED_OURS || hook_address_means(address, source));
    return meant ? source : NULL;
}

static bool takes_method(const struct source *source, const struct http_head *head)
{
    return scheme_methods(source->scheme) >> head->method & 1;
}

/* The source of a hook's head, or NULL after an answer. */
static const struct source *find_source(struct ingress *ingress, struct http_exchange *exchange,
                                        const struct http_head *head,
                                        struct hook_address *ret_address)
{
    struct slice path = path_of(head);
    if (head->method >= HTTP_CONNECT && head->method != HTTP_TRACE) {
        /* A method we do not know, or a tunnel, at any address (RFC 9110 9.1). */
        answer_refuse(ingress, exchange, 0, 501, "not_implemented",
                      "this method is not implemented", SLICE_EMPTY);
        return NULL;
    }
    if (!hook_address(path, ret_address)) {
        if (!fixed_path_answer(ingress, exchange, head, path)) {
            answer_refuse(ingress, exchange, 0, 404, "not_found",
                          "nothing is served at this address", SLICE_EMPTY);
        }
        return NULL;
    }
    const struct source *source = source_at(ingress, ret_address);
    if (!source) {
        answer_refuse(ingress, exchange, 0, 404, "not_found", "no such source", SLICE_EMPTY);
        return NULL;
    }
    if (!takes_method(source, head)) {
        answer_method(ingress, exchange, source->number, scheme_methods(source->scheme));
        return NULL;
    }
    return source;
}

/* The same without an answer: NULL where find_source() has one. */
static const struct source *look_for_source(const struct ingress *ingress,
                                            const struct http_head *head,
                                            struct hook_address *ret_address)
{
    const struct source *source =
        hook_address(path_of(head), ret_address) ? source_at(ingress, ret_address) : NULL;
    return source && takes_method(source, head) ? source : NULL;
}

uint64_t ingress_on_head(void *context, struct http_exchange *exchange,
                         const struct http_head *head)
{
    struct ingress *ingress = context;
    struct hook_address address;
    if (fixed_path_takes(head, path_of(head))) {
        return FIXED_PATH_BODY_BYTES_MAX;
    }
    const struct source *source = exchange->comes_whole
                                      ? look_for_source(ingress, head, &address)
                                      : find_source(ingress, exchange, head, &address);
    if (!source) {
        return head->content_length; /* answered, or when the rest is here */
    }
    if (head->content_length > hook_address_body_bytes_max(&address, source)) {
        answer_refuse(ingress, exchange, source->number, 413, "too_large",
                      "the body is over the limit of this address", SLICE_EMPTY);
    }
    return hook_address_body_bytes_max(&address, source);
}

/* ---- is it genuine, and what then */

static void fingerprint_of(struct intake *intake)
{
    const struct scheme_identity *identity = &intake->identity;
    if (__builtin_expect(identity->within.bytes != 0, 0)) {
        dedupe_fingerprint_within(intake->source->number, identity->within, identity->delivery_id,
                                  intake->fingerprint);
    } else {
        dedupe_fingerprint(intake->source->number, identity->delivery_id, intake->fingerprint);
    }
}

/* Its type and delivery id. If it is de-duplicated by that, the table's cache lines arrive while
 * the signature is checked. */
static void identify(struct ingress *ingress, struct intake *intake)
{
    const struct source *source = intake->source;
    scheme_prepare(source->scheme, &intake->request);
    scheme_identify(source->scheme, &intake->request, &intake->identity);
    intake->fingerprint[0] = intake->fingerprint[1] = 0;
    intake->dedupes = source->dedupe_window_ns != 0 && intake->identity.delivery_id.bytes != 0;
    if (intake->dedupes) {
        fingerprint_of(intake);
        dedupe_prefetch(ingress->config->dedupe, intake->fingerprint);
    }
}

static enum http_outcome accept_some(struct ingress *ingress, struct http_exchange *exchange,
                                     struct intake *intake)
{
    const struct source *source = intake->source;
    if (__builtin_expect(scheme_is_batch(source->scheme, &intake->request), 0)) {
        return accept_batch(ingress, exchange, intake);
    }
    if (!intake->dedupes && source->dedupe_window_ns > 0 &&
        scheme_body_is_id(source->scheme, &intake->request)) {
        dedupe_fingerprint(source->number, intake->message->body, intake->fingerprint);
        intake->dedupes = true;
    }
    return accept_event(ingress, exchange, intake, intake->dedupes);
}

static enum http_outcome take_genuine(struct ingress *ingress, struct http_exchange *exchange,
                                      struct intake *intake)
{
    const struct source *source = intake->source;
    if (__builtin_expect(request_hops(intake->message->head) >= REQUEST_HOPS_MAX, 0)) {
        answer_refuse(
            ingress, exchange, source->number, 508, "loop",
            "it came through becket 16 times: a route leads back to where its events come from",
            SLICE_EMPTY);
        return HTTP_TAKEN;
    }
    if (!rate_allows(source, ring_now_ns(ingress->ring))) {
        answer_refuse(ingress, exchange, source->number, 429, "rate_limited",
                      "over this source's rate limit", SLICE("Retry-After: 1\r\n"));
        return HTTP_TAKEN;
    }
    enum http_outcome outcome = accept_some(ingress, exchange, intake);
    if (outcome == HTTP_LATER) {
        rate_refund(source);
    }
    return outcome;
}

static enum http_outcome take_in(struct ingress *ingress, struct http_exchange *exchange,
                                 struct intake *intake)
{
    const struct source *source = intake->source;
    struct ingress_key_wait *wait = key_wait_of(ingress, exchange, intake);
    if (wait != NULL && key_wait_goes_on(ingress, wait)) {
        return key_wait_later(exchange);
    }
    struct scheme_answer answer;
    enum scheme_verdict verdict = scheme_verify(source->scheme, &intake->request, &answer);
    if (verdict == SCHEME_KEY_WANTED) {
        return key_wait_begin(ingress, exchange, intake, wait);
    }
    key_wait_end(ingress, wait);
    if (verdict == SCHEME_GENUINE) {
        return take_genuine(ingress, exchange, intake);
    }
    if (verdict == SCHEME_HANDSHAKE || verdict == SCHEME_HANDSHAKE_REFUSED) {
        return answer_handshake(ingress, exchange, source->number, verdict, &answer);
    }
    return reject_request(ingress, exchange, intake, verdict);
}

/* ---- requests */

/* Everything up to the signature. False: that is all, and *ret_outcome is what becomes of it. */
static bool intake_begin(struct ingress *ingress, struct http_exchange *exchange,
                         const struct http_message *message, struct intake *intake,
                         enum http_outcome *ret_outcome)
{
    struct hook_address address;
    const struct source *source = find_source(ingress, exchange, message->head, &address);
    *ret_outcome = HTTP_TAKEN;
    if (!source) {
        if (ingress->documents_later) {
            ingress->documents_later = false;
            *ret_outcome =
                http_later(exchange, "unavailable", "these documents are being made, try again");
        }
        return false;
    }
    if (message->body.bytes > hook_address_body_bytes_max(&address, source)) {
        answer_refuse(ingress, exchange, source->number, 413, "too_large",
                      "the body is over the limit of this address", SLICE_EMPTY);
        return false;
    }
    const struct hook_refusal *refusal =
        address.spelling == SPELLED_OURS ? NULL : hook_address_refusal(&address, message->head);
    if (refusal) {
        answer_refuse(ingress, exchange, source->number, refusal->status, refusal->code,
                      refusal->message, SLICE_EMPTY);
        return false;
    }
    if (!share_is_left(ingress, source->number, message)) {
        *ret_outcome = answer_later(exchange); /* before anything is computed for it */
        return false;
    }
    intake->source = source;
    intake->spelling = address.spelling;
    intake->message = message;
    intake->wall_ns = ring_wall_ns(ingress->ring);
    intake->request = (struct scheme_request){
        .head = message->head,
        .body = message->body,
        .base = ingress->config->public_url,
        .now_seconds = intake->wall_ns / NS_PER_SECOND,
        .peer_family = message->peer.family,
        .peer = message->peer.at,
        .keys = &ingress->key_finder,
    };
    identify(ingress, intake);
    return true;
}

enum http_outcome ingress_on_request(void *context, struct http_exchange *exchange,
                                     const struct http_message *message)
{
    struct ingress *ingress = context;
    struct intake intake;
    enum http_outcome outcome;
    return intake_begin(ingress, exchange, message, &intake, &outcome)
               ? take_in(ingress, exchange, &intake)
               : outcome;
}

/* Their signatures are computed in one pass; all else is done for one after the other. */
void ingress_on_two(void *context, struct http_exchange *const exchanges[2],
                    const struct http_message *const messages[2], enum http_outcome ret_outcomes[2])
{
    struct ingress *ingress = context;
    struct intake intakes[2];
    bool goes_on[2];
    for (unsigned i = 0; i < 2; i++) {
        goes_on[i] =
            intake_begin(ingress, exchanges[i], messages[i], &intakes[i], &ret_outcomes[i]);
    }
    if (goes_on[0] && goes_on[1]) {
        scheme_prepare_two(&intakes[0].request, &intakes[1].request);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (goes_on[i]) {
            ret_outcomes[i] = take_in(ingress, exchanges[i], &intakes[i]);
        }
    }
}

/* ---- life */

uint64_t ingress_next_ns(const struct ingress *ingress)
{
    uint64_t flush_ns = acknowledge_next_ns(ingress), keys_ns = key_wait_next_ns(ingress);
    return keys_ns < flush_ns ? keys_ns : flush_ns;
}

void ingress_init(struct ingress *ingress, const struct ingress_config *config)
{
    memset(ingress, 0, sizeof *ingress);
    ingress->config = config;
    ingress->key_finder = (struct key_finder){key_wait_find, ingress};
    acknowledge_init(ingress);
    reject_init(ingress);
}

void ingress_fini(struct ingress *ingress)
{
    filter_scratch_close(ingress->filters);
    acknowledge_fini(ingress);
    counters_free(ingress);
}
